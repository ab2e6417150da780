/** What a stranger can do to the local stack by asking badly. */
import { once } from 'node:events';
import { connect as open, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { withConnection } from '../setup/db.ts';
import { stack } from '../setup/stack.ts';

const sockets: Socket[] = [];
afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy();
});

/** Begins a request to a function, and never ends its body. */
async function unfinished(): Promise<Socket> {
  const socket = open(stack.apiPort, '127.0.0.1');
  sockets.push(socket);
  socket.on('error', () => {});
  await once(socket, 'connect');
  socket.write(
    `POST /functions/v1/sessions-hold HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{`,
  );
  return socket;
}

const ask = () => fetch(`${stack.apiUrl}/functions/v1/sessions-hold`, { method: 'POST', body: '{}' });

async function token(): Promise<string> {
  const response = await fetch(`${stack.apiUrl}/auth/v1/token?grant_type=password`, {
    method: 'POST',
    headers: { apikey: stack.publishableKey, 'content-type': 'application/json' },
    body: JSON.stringify({ email: 'nobody@example.test', password: 'demo-password-1234' }),
  });
  return ((await response.json()) as { access_token: string }).access_token;
}

describe('bodies that never end', () => {
  it('keep nobody from the functions, neither while they last nor when they have gone', async () => {
    const open = await Promise.all(Array.from({ length: 300 }, unfinished));
    expect((await ask()).status).toBe(401);
    for (const socket of open) socket.destroy();
    expect((await ask()).status).toBe(401);
  });
});

describe('Auth', () => {
  const auth = async (path: string, body: object, headers: Record<string, string> = {}, method = 'POST') => {
    const response = await fetch(`${stack.apiUrl}/auth/v1/${path}`, {
      method,
      headers: { apikey: stack.publishableKey, 'content-type': 'application/json', ...headers },
      body: JSON.stringify(body),
    });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  };

  it.each([
    ['signup', { email: 'stranger@example.test', password: 'long-enough-1234' }],
    ['signup', { data: {} }],
    ['otp', { email: 'stranger@example.test', create_user: true }],
    ['otp', { email: 'Stranger@Example.test' }],
    ['otp', { phone: '+15550000000', create_user: true }],
    ['magiclink', { email: 'stranger@example.test' }],
  ])('makes no user by %s of %j, for nobody signs up', async (path, body) => {
    const answer = await auth(path, body);
    expect([answer.status, answer.body.error_code]).toEqual([422, 'signup_disabled']);
    const { rows } = await withConnection((client) =>
      client.query(
        "select from auth.users where email ilike 'stranger@%' or phone like '%15550000000' or is_anonymous",
      ),
    );
    expect(rows).toEqual([]);
  });

  it('still sends somebody who was invited a code', async () => {
    expect((await auth('otp', { email: 'nobody@example.test', create_user: false })).status).toBe(200);
  });

  it('keeps metadata an object, also in the token', async () => {
    const bearer = { authorization: `Bearer ${await token()}` };
    const changed = await auth('user', { data: { theme: 'dark' } }, bearer, 'PUT');
    expect(changed.body.user_metadata).toMatchObject({ theme: 'dark' });
    const { rows } = await withConnection((client) =>
      client.query(
        "select jsonb_typeof(raw_user_meta_data) as type from auth.users where email = 'nobody@example.test'",
      ),
    );
    expect(rows).toEqual([{ type: 'object' }]);
    const [, payload = ''] = (await token()).split('.');
    const claims = JSON.parse(Buffer.from(payload, 'base64url').toString());
    expect(claims.user_metadata).toMatchObject({ theme: 'dark' });
  });
});

describe('a body that Auth cannot use', () => {
  it.each([
    [JSON.stringify({ data: { note: '\0' } })],
    [JSON.stringify({ data: { note: '\ud800' } })],
    [JSON.stringify({ data: 'text' })],
    [JSON.stringify({ data: [] })],
    ['null'],
    ['[]'],
    ['1'],
  ])('is a 400: %s', async (body) => {
    const response = await fetch(`${stack.apiUrl}/auth/v1/user`, {
      method: 'PUT',
      headers: {
        apikey: stack.publishableKey,
        authorization: `Bearer ${await token()}`,
        'content-type': 'application/json',
      },
      body,
    });
    expect([response.status, (await response.json()).error_code]).toEqual([400, 'validation_failed']);
  });

  it.each(['signup', 'otp', 'magiclink'])(
    'is a 400 of %s too, before anybody looks who that is',
    async (way) => {
      const response = await fetch(`${stack.apiUrl}/auth/v1/${way}`, {
        method: 'POST',
        headers: { apikey: stack.publishableKey, 'content-type': 'application/json' },
        body: JSON.stringify({ email: '\0', create_user: true }),
      });
      expect([response.status, (await response.json()).error_code]).toEqual([400, 'validation_failed']);
    },
  );
});

describe('fields of another type than text', () => {
  it.each([
    ['token?grant_type=password', { email: { a: 1 }, password: 'x' }],
    ['token?grant_type=password', { email: 5, password: 'x' }],
    ['token?grant_type=refresh_token', { refresh_token: [] }],
    ['recover', { email: 5 }],
    ['verify', { type: 'email', email: 'rbt@brightpath.test', token: {} }],
  ])('are a 400 of %s: %j', async (way, body) => {
    const response = await fetch(`${stack.apiUrl}/auth/v1/${way}`, {
      method: 'POST',
      headers: { apikey: stack.publishableKey, 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    expect([response.status, (await response.json()).error_code]).toEqual([400, 'validation_failed']);
  });
});

it('the address of the stack shows the web app, whatever kind of answer is asked for', async () => {
  for (const accept of ['text/html', '*/*']) {
    const response = await fetch(stack.apiUrl, { headers: { accept } });
    expect([response.status, response.headers.get('content-type')]).toEqual([
      200,
      'text/html; charset=utf-8',
    ]);
  }
});

describe('JSON without end', () => {
  const deep = `{"request": ${'['.repeat(100_000)}${']'.repeat(100_000)}}`;
  it.each([
    ['POST', 'rpc/preview_series'],
    ['POST', 'rooms'],
    ['PATCH', 'rooms?name=eq.x'],
  ])('is a 400: %s %s', async (method, path) => {
    const response = await fetch(`${stack.apiUrl}/rest/v1/${path}`, {
      method,
      headers: {
        apikey: stack.publishableKey,
        authorization: `Bearer ${await token()}`,
        'content-type': 'application/json',
      },
      body: deep,
    });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ code: 'PGRST102' });
  });

  it('is a 400 from the functions too', async () => {
    const response = await fetch(`${stack.apiUrl}/functions/v1/sessions-hold`, {
      method: 'POST',
      headers: { authorization: `Bearer ${await token()}` },
      body: `{"therapist_id": ${'['.repeat(100_000)}${']'.repeat(100_000)}}`,
    });
    expect(response.status).toBe(400);
  });
});
