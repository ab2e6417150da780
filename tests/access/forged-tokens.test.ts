/**
 * Tokens nobody issued, and real ones bent to more than they grant, on every surface that takes one: REST, Auth and the
 * edge functions. Each is refused, or opens nothing that its user could not open anyway.
 */
import { createHmac, generateKeyPairSync, sign } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { type Clinic, openClinic } from '../functions/clinic.ts';
import { stack } from '../setup/stack.ts';

let clinic: Clinic;
let stranger: Clinic;

beforeAll(async () => {
  [clinic, stranger] = await Promise.all([openClinic(), openClinic()]);
});

const encoded = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
const now = () => Math.floor(Date.now() / 1000);

/** The admin's claims, as Auth writes them. */
const claims = (changes: Record<string, unknown> = {}) => ({
  ...JSON.parse(Buffer.from(clinic.admin.token.split('.')[1] ?? '', 'base64url').toString()),
  iat: now(),
  exp: now() + 3600,
  ...changes,
});

const header = (changes: object = {}) => ({ alg: 'HS256', typ: 'JWT', kid: stack.jwtKeyId, ...changes });

function hmac(head: object, body: object, key: string, hash = 'sha256'): string {
  const text = `${encoded(head)}.${encoded(body)}`;
  return `${text}.${createHmac(hash, key).update(text).digest('base64url')}`;
}

/** Signed with the project's own key: what only Auth, or whoever stole the key, can make. */
const genuine = (changes: Record<string, unknown> = {}) => hmac(header(), claims(changes), stack.jwtSecret);

const wrongKey = 'another-secret-of-at-least-thirty-two-characters';

function ownKeyPair(head: object): string {
  const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const text = `${encoded(head)}.${encoded(claims())}`;
  const signature = sign('sha256', Buffer.from(text), { key: privateKey, dsaEncoding: 'ieee-p1363' });
  return `${text}.${signature.toString('base64url')}`;
}

const forgeries: [string, () => string][] = [
  ['with another key and the right key id', () => hmac(header(), claims(), wrongKey)],
  ['with an empty key', () => hmac(header(), claims(), '')],
  ['with the key id as the key', () => hmac(header(), claims(), stack.jwtKeyId)],
  ['with the publishable key', () => hmac(header(), claims(), stack.publishableKey)],
  ['with a key pair of one’s own', () => ownKeyPair(header({ alg: 'ES256' }))],
  [
    'with a key that it brings along',
    () =>
      hmac(
        header({ jwk: { kty: 'oct', k: Buffer.from(wrongKey).toString('base64url') } }),
        claims(),
        wrongKey,
      ),
  ],
  ['by nobody (alg none)', () => `${encoded(header({ alg: 'none' }))}.${encoded(claims())}.`],
  ['by nobody (alg None, a signature kept)', () => hmac(header({ alg: 'None' }), claims(), wrongKey)],
  [
    'and then changed',
    () => {
      const [head, , signature] = genuine().split('.');
      return `${head}.${encoded(claims({ user_role: 'super_admin' }))}.${signature}`;
    },
  ],
  ['and has lost its signature', () => genuine().split('.').slice(0, 2).join('.').concat('.')],
  [
    'by another issuer, with its key',
    () => hmac(header(), claims({ iss: 'https://other.supabase.co/auth/v1' }), wrongKey),
  ],
  ['as service_role, with another key', () => hmac(header(), claims({ role: 'service_role' }), wrongKey)],
  ['as postgres, with another key', () => hmac(header(), claims({ role: 'postgres' }), wrongKey)],
  ['an hour ago: it has expired', () => genuine({ iat: now() - 7200, exp: now() - 3600 })],
];

type Answer = { status: number; text: string };

async function get(path: string, token: string, init: RequestInit = {}): Promise<Answer> {
  const response = await fetch(`${stack.apiUrl}${path}`, {
    ...init,
    headers: {
      apikey: stack.publishableKey,
      'content-type': 'application/json',
      authorization: `Bearer ${token}`,
    },
  });
  return { status: response.status, text: await response.text() };
}
const readTable = (token: string, table: string) => get(`/rest/v1/${table}?select=*`, token);
const callFunction = (token: string, body: object) =>
  get('/functions/v1/sessions-cancel', token, { method: 'POST', body: JSON.stringify(body) });

describe('a token signed', () => {
  it('by Auth works everywhere', async () => {
    const { token } = clinic.admin;
    expect((await readTable(token, 'clients')).status).toBe(200);
    expect((await get('/auth/v1/user', token)).status).toBe(200);
    expect((await callFunction(token, { hold_key: clinic.admin.id })).status).toBe(200);
  });

  it.each(forgeries)('%s is refused by REST', async (_, forge) => {
    const token = forge();
    for (const answer of [
      await readTable(token, 'clients'),
      await get('/rest/v1/rpc/my_organizations', token, { method: 'POST', body: '{}' }),
      await get(`/rest/v1/clients?id=eq.${clinic.clients[0]}`, token, {
        method: 'PATCH',
        body: '{"reference": "taken"}',
      }),
    ]) {
      expect(answer.status).toBe(401);
      expect(answer.text).not.toContain(clinic.organizationId);
    }
  });

  it.each(forgeries)('%s is refused by Auth', async (_, forge) => {
    const answer = await get('/auth/v1/user', forge());
    expect([401, 403]).toContain(answer.status);
    expect(answer.text).not.toContain(clinic.admin.email);
  });

  it.each(forgeries)('%s is refused by the functions', async (_, forge) => {
    const answer = await callFunction(forge(), { hold_key: clinic.admin.id });
    expect(answer.status).toBe(401);
    expect(JSON.parse(answer.text)).toMatchObject({ success: false, code: 'UNAUTHENTICATED' });
  });
});

describe('a token with the project’s own signature', () => {
  it('for a database role the API does not have is refused', async () => {
    for (const role of ['postgres', 'supabase_admin', 'authenticator', 'supabase_auth_admin', 'nobody']) {
      expect({ role, status: (await readTable(genuine({ role }), 'clients')).status }).toEqual({
        role,
        status: 401,
      });
      expect((await callFunction(genuine({ role }), { hold_key: clinic.admin.id })).status).toBe(401);
    }
  });

  it('for service_role is no person: functions refuse it, and it cannot act as the user it names', async () => {
    const token = genuine({ role: 'service_role' });
    expect((await callFunction(token, { hold_key: clinic.admin.id })).status).toBe(401);
    const rpc = await get('/rest/v1/rpc/cancel_sessions', token, {
      method: 'POST',
      body: JSON.stringify({ request: { session_ids: [clinic.admin.id] } }),
    });
    expect(rpc.status).toBe(403);
  });

  it('that names another organization reads and writes nothing there', async () => {
    const token = genuine({ org_id: stranger.organizationId, user_role: 'super_admin' });
    for (const table of ['clients', 'therapists', 'sessions', 'organizations', 'rooms']) {
      expect({ table, ...(await readTable(token, table)) }).toEqual({ table, status: 200, text: '[]' });
    }
    const answer = await callFunction(token, { session_ids: [stranger.clients[0]] });
    expect(answer.status).toBe(403);
  });

  it('that claims a higher role, or says so in metadata, has the role of the membership', async () => {
    const raised = {
      user_role: 'super_admin',
      app_metadata: { role: 'super_admin', user_role: 'super_admin' },
      user_metadata: { org_id: stranger.organizationId, user_role: 'super_admin' },
    };
    const answer = await get('/rest/v1/rpc/add_member', genuine(raised), {
      method: 'POST',
      body: JSON.stringify({ user_id: stranger.rbt.id, role: 'super_admin' }),
    });
    expect(JSON.parse(answer.text)).toMatchObject({ ok: false, code: 'FORBIDDEN' });
    const clients = JSON.parse((await readTable(genuine(raised), 'clients')).text) as { id: string }[];
    expect(clients.map(({ id }) => id).sort()).toEqual([...clinic.clients].sort());
  });

  it('whose organization or user is nonsense opens nothing, and breaks nothing', async () => {
    for (const bent of [
      { org_id: "'; drop table clients" },
      { org_id: 7 },
      { org_id: null },
      { org_id: [] },
    ]) {
      expect(await readTable(genuine(bent), 'clients')).toEqual({ status: 200, text: '[]' });
    }
    const answer = await readTable(genuine({ sub: 'not-a-uuid' }), 'clients');
    expect(answer.status).toBeLessThan(500);
    expect(answer.text).not.toContain(clinic.organizationId);
  });
});
