/** The local stack must be as strict as a hosted project: what passes here has to pass there. */
import { SignJWT } from 'jose';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { connect, withConnection } from '../setup/db.ts';
import { stack } from '../setup/stack.ts';

const claims = { sub: 'a0000000-0000-4000-8000-000000000003', role: 'authenticated' };

/** Signs a token as the stack does, unless told otherwise. */
function token(
  payload: Record<string, unknown>,
  { secret = stack.jwtSecret, expires = '1h' }: { secret?: string; expires?: string | number } = {},
): Promise<string> {
  return new SignJWT(payload)
    .setProtectedHeader({ alg: 'HS256', kid: stack.jwtKeyId })
    .setExpirationTime(expires)
    .sign(new TextEncoder().encode(secret));
}

async function rest(
  path: string,
  { headers = {}, ...init }: RequestInit & { headers?: Record<string, string> } = {},
): Promise<{ status: number; body: { code?: string; message?: string } & Record<string, unknown> }> {
  const response = await fetch(`${stack.apiUrl}/rest/v1/${path}`, {
    ...init,
    headers: { apikey: stack.publishableKey, 'content-type': 'application/json', ...headers },
  });
  return { status: response.status, body: await response.json() };
}

describe('roles', () => {
  test('nobody the project connects as is a superuser', async () => {
    const { rows } = await withConnection((client) =>
      client.query("select rolname from pg_roles where rolsuper and rolname not like 'pg\\_%' order by 1"),
    );
    expect(rows).toEqual([{ rolname: 'supabase_admin' }]);
  });

  test('the REST layer may become anon, authenticated or service_role, and nobody else', async () => {
    const { rows } = await withConnection((client) =>
      client.query<{ role: string }>(
        "select rolname as role from pg_roles where pg_has_role('authenticator', oid, 'set') order by 1",
      ),
    );
    expect(rows.map(({ role }) => role)).toEqual(['anon', 'authenticated', 'authenticator', 'service_role']);
  });
});

test('a numeric column is numbers in JSON, with and without decimals, as PostgREST writes it', async () => {
  const client = await connect();
  try {
    await client.query(`
      create table public.strictness_numbers (id integer primary key, value numeric, many numeric(10, 2), large bigint);
      grant select on public.strictness_numbers to service_role;
      insert into public.strictness_numbers values (1, 7.5, 30, 5000000000), (2, 30.0, 0.10, 1), (3, null, -4, null)`);
    await client.query("notify pgrst, 'reload schema'");
    const read = () =>
      rest('strictness_numbers?select=value,many,large&order=id', { headers: { apikey: stack.secretKey } });
    await vi.waitFor(async () => expect((await read()).status).toBe(200), { timeout: 60_000, interval: 100 });
    expect((await read()).body).toEqual([
      { value: 7.5, many: 30, large: 5_000_000_000 },
      { value: 30, many: 0.1, large: 1 },
      { value: null, many: -4, large: null },
    ]);
  } finally {
    await client.query("drop table if exists public.strictness_numbers; notify pgrst, 'reload schema'");
    await client.end();
  }
});

describe('a new table or function', () => {
  let client: Awaited<ReturnType<typeof connect>>;
  beforeAll(async () => {
    client = await connect();
    await client.query(`
      create table public.strictness_probe (id integer);
      create function public.strictness_raise(request jsonb) returns jsonb language plpgsql set search_path = '' as $$
        begin raise exception using errcode = request ->> 'code', message = 'raised'; end $$;
      create function public.strictness_echo(request jsonb) returns jsonb language sql set search_path = '' as $$
        select jsonb_build_object('request', request, 'type', jsonb_typeof(request), 'role', current_user,
          'sub', auth.uid(), 'claims', auth.jwt() ->> 'org_id', 'method', current_setting('request.method')) $$;
      create function public.strictness_secret() returns integer language sql set search_path = '' as 'select 1';
      grant execute on function public.strictness_raise, public.strictness_echo to anon, authenticated, service_role;`);
    // The schema is read again when the database says so.
    await vi.waitFor(async () => expect((await rest('rpc/strictness_echo?request={}')).status).toBe(200), {
      timeout: 60_000,
      interval: 200,
    });
  });
  afterAll(async () => {
    await client.query(
      `drop table public.strictness_probe;
       drop function public.strictness_raise, public.strictness_echo, public.strictness_secret`,
    );
    await client.end();
  });

  test('reaches no API role without a grant', async () => {
    for (const key of [stack.publishableKey, stack.secretKey]) {
      const { status, body } = await rest('strictness_probe', { headers: { apikey: key } });
      expect({ status, code: body.code }).toEqual({
        status: key === stack.secretKey ? 403 : 401,
        code: '42501',
      });
    }
  });

  test('gets its JSON argument as JSON, and the claims of the caller', async () => {
    const authorization = `Bearer ${await token({ ...claims, org_id: 'here' })}`;
    const { body } = await rest('rpc/strictness_echo', {
      method: 'POST',
      headers: { authorization },
      body: JSON.stringify({ request: { a: [1] } }),
    });
    expect(body).toEqual({
      ...{ request: { a: [1] }, type: 'object', role: 'authenticated' },
      ...{ sub: claims.sub, claims: 'here', method: 'POST' },
    });
  });

  test('called with the secret key, runs as service_role', async () => {
    const { body } = await rest('rpc/strictness_echo', {
      method: 'POST',
      headers: { apikey: stack.secretKey },
      body: '{"request": 1}',
    });
    expect(body).toMatchObject({ role: 'service_role', sub: null });
  });

  test.for([
    ['PT409', 409],
    ['PT503', 503],
    ['P0001', 400],
    ['23505', 409],
    ['23P01', 400],
    ['40P01', 500],
    ['55P03', 500],
    ['22P02', 400],
  ] as const)('that raises %s answers %i, as PostgREST does', async ([code, status]) => {
    const answer = await rest('rpc/strictness_raise', {
      method: 'POST',
      body: JSON.stringify({ request: { code } }),
    });
    expect(answer).toEqual({ status, body: { code, message: 'raised', details: null, hint: null } });
  });
});

describe('a request', () => {
  test('without a key, or with an unknown one, is a 401', async () => {
    const none = await fetch(`${stack.apiUrl}/rest/v1/sessions`);
    expect(none.status).toBe(401);
    const wrong = await rest('sessions', { headers: { apikey: 'sb_publishable_unknown' } });
    expect(wrong.status).toBe(401);
  });

  test.for([
    ['no JWT', async () => 'garbage'],
    [
      'signed with another secret',
      () => token(claims, { secret: 'another-secret-of-at-least-32-characters' }),
    ],
    ['expired', () => token(claims, { expires: Math.floor(Date.now() / 1000) - 60 })],
    ['for a role the API does not have', () => token({ ...claims, role: 'postgres' })],
    ['unsigned', async () => `${btoa('{"alg":"none"}')}.${btoa(JSON.stringify(claims))}.`],
  ] as [string, () => Promise<string>][])('with a token that is %s is a 401', async ([, make]) => {
    const { status } = await rest('sessions', { headers: { authorization: `Bearer ${await make()}` } });
    expect(status).toBe(401);
  });

  test('cannot reach schemas that are not exposed', async () => {
    for (const schema of ['private', 'audit', 'auth', 'extensions']) {
      const { status } = await rest('users', {
        headers: { 'accept-profile': schema, apikey: stack.secretKey },
      });
      expect(status).toBe(406);
    }
  });
});

test('signing keys that are secrets are not published', async () => {
  const response = await fetch(`${stack.apiUrl}/auth/v1/.well-known/jwks.json`);
  expect(await response.json()).toEqual({ keys: [] });
});
