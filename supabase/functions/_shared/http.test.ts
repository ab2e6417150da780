import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createClient, FunctionRegion } from '@supabase/supabase-js';
import { corsHeaders } from '@supabase/supabase-js/cors';
import { generateKeyPair, SignJWT, UnsecuredJWT } from 'jose';
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { handleCancel } from '../sessions-cancel/handler.ts';
import { handleConfirm } from '../sessions-confirm/handler.ts';
import { handleHold } from '../sessions-hold/handler.ts';
import { problem } from './contract/problem.ts';

const url = 'http://127.0.0.1/functions/v1/sessions-hold';
const user = '00000000-0000-4000-8000-000000000001';
const secret = crypto.getRandomValues(new Uint8Array(32));
const jwks = {
  keys: [{ kty: 'oct', alg: 'HS256', kid: 'current', k: Buffer.from(secret).toString('base64url') }],
};

/** A port nobody listens at: the functions under test find their database out of reach. */
let closedPort: number;

beforeAll(async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  closedPort = (server.address() as AddressInfo).port;
  await new Promise((resolve) => server.close(resolve));
  vi.stubEnv('SUPABASE_URL', `http://127.0.0.1:${closedPort}`);
  vi.stubEnv('SUPABASE_PUBLISHABLE_KEYS', '{"default":"sb_publishable_test"}');
  vi.stubEnv('SUPABASE_JWKS', JSON.stringify(jwks));
});
afterAll(() => vi.unstubAllEnvs());
afterEach(() => vi.restoreAllMocks());

function token(
  claims: object = {},
  { key = secret as Uint8Array | CryptoKey, alg = 'HS256', kid = 'current', expires = '1h' } = {},
) {
  return new SignJWT({ role: 'authenticated', sub: user, ...claims })
    .setProtectedHeader({ alg, kid })
    .setExpirationTime(expires)
    .sign(key);
}

const handlers = {
  'sessions-hold': handleHold,
  'sessions-confirm': handleConfirm,
  'sessions-cancel': handleCancel,
};

async function send(body: BodyInit | null, headers: Record<string, string> = {}, handler = handleHold) {
  const init = {
    method: 'POST',
    body,
    headers: { authorization: `Bearer ${await token()}`, ...headers },
    duplex: 'half',
  };
  return handler(new Request(url, init));
}

async function failure(response: Response) {
  expect(response.headers.get('content-type')).toBe('application/problem+json');
  expect(response.headers.get('cache-control')).toBe('no-store');
  const body = await response.json();
  expect(problem.safeParse(body).error).toBeUndefined();
  expect(body).toMatchObject({
    status: response.status,
    error: body.detail,
    requestId: response.headers.get('x-request-id'),
  });
  return body;
}

const listed = (header: string | null | undefined) =>
  (header ?? '').split(',').map((name) => name.trim().toLowerCase());
const allowedHeaders = (response: Response) => listed(response.headers.get('access-control-allow-headers'));

const release = JSON.stringify({ hold_key: user });

describe.each(Object.entries(handlers))('%s', (_, handler) => {
  it.each(['GET', 'PUT', 'PATCH', 'DELETE', 'HEAD'])('refuses %s and says what it allows', async (method) => {
    const response = await handler(new Request(url, { method }));
    expect(response.status).toBe(405);
    expect(response.headers.get('allow')).toBe('POST, OPTIONS');
    expect(await failure(response)).toMatchObject({ code: 'METHOD_NOT_ALLOWED' });
  });

  it('answers a preflight without a token', async () => {
    const headers = { origin: 'http://localhost:5173', 'access-control-request-method': 'POST' };
    const response = await handler(new Request(url, { method: 'OPTIONS', headers }));
    expect(response.status).toBe(204);
    expect(Object.fromEntries(response.headers)).toMatchObject({
      'access-control-allow-origin': 'http://localhost:5173',
      'access-control-allow-methods': 'POST, OPTIONS',
      'access-control-expose-headers': 'Date, Retry-After, Idempotency-Key, Idempotent-Replay, X-Request-Id',
      vary: 'Origin',
    });
    const own = ['x-region', 'idempotency-key', 'x-request-id', 'x-correlation-id'];
    expect(allowedHeaders(response)).toEqual([
      ...listed(corsHeaders['Access-Control-Allow-Headers']),
      ...own,
    ]);
  });

  it('names every problem of an empty object by field', async () => {
    const response = await send('{}', {}, handler);
    expect(response.status).toBe(400);
    const { issues, detail } = await failure(response);
    expect(issues.length).toBeGreaterThan(1);
    expect(detail).toBe(`${issues[0].path} ${issues[0].message} (and ${issues.length - 1} more)`);
  });
});

it('a browser may send every header that supabase-js sends', async () => {
  let sent: string[] = [];
  const server = createServer((request, response) => {
    sent = Object.keys(request.headers);
    response.writeHead(200, { 'content-type': 'application/json' }).end('{}');
  }).listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  try {
    const supabase = createClient(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, 'key', {
      auth: { persistSession: false, autoRefreshToken: false },
    });
    const headers = { 'Idempotency-Key': 'k', 'X-Request-Id': 'r', 'X-Correlation-Id': 'c' };
    const region = FunctionRegion.UsWest1;
    await supabase.functions.invoke('sessions-hold', { body: { a: 1 }, headers, region });
  } finally {
    server.closeAllConnections();
    server.close();
  }
  expect(sent).toContain('x-region');
  // What the HTTP client of Node adds by itself; a browser's page does not set these.
  const transport = /^(host|connection|content-length|accept.*|user-agent|sec-fetch-.*|transfer-encoding)$/;
  const allowed = allowedHeaders(
    await handleHold(new Request(url, { method: 'OPTIONS', headers: { origin: 'http://localhost:5173' } })),
  );
  expect(sent.filter((name) => !transport.test(name) && !allowed.includes(name))).toEqual([]);
});

describe('an origin', () => {
  it('that is not allowed gets no CORS headers, neither on preflights nor on answers', async () => {
    for (const method of ['OPTIONS', 'POST']) {
      const response = await handleHold(
        new Request(url, { method, headers: { origin: 'https://evil.example' } }),
      );
      expect([...response.headers.keys()].filter((name) => name.startsWith('access-control'))).toEqual([]);
      expect(response.headers.get('vary')).toBe('Origin');
    }
  });

  it('that is allowed can read errors too', async () => {
    vi.stubEnv('ALLOWED_ORIGINS', 'https://app.example');
    try {
      const allowed = await send('{', { origin: 'https://app.example' });
      expect(allowed.headers.get('access-control-allow-origin')).toBe('https://app.example');
      const local = await send('{', { origin: 'http://localhost:5173' });
      expect(local.headers.get('access-control-allow-origin')).toBeNull();
    } finally {
      vi.stubEnv('ALLOWED_ORIGINS', undefined);
    }
  });
});

describe('a caller', () => {
  async function status(authorization: string | undefined) {
    const headers: Record<string, string> = authorization === undefined ? {} : { authorization };
    const response = await handleHold(new Request(url, { method: 'POST', body: release, headers }));
    if (response.status === 401) {
      expect(await failure(response)).toMatchObject({ code: 'UNAUTHENTICATED' });
      expect(response.headers.get('www-authenticate')).toBe('Bearer');
    }
    return response.status;
  }

  it('with a valid token comes as far as the checks of the body', async () => {
    for (const scheme of ['Bearer', 'bearer', 'BEARER', 'Bearer ']) {
      expect(await status(`${scheme} ${await token()}`)).toBe(400);
    }
  });

  it('without a token, or with something else in its place, is refused', async () => {
    for (const value of [
      undefined,
      '',
      'Bearer',
      'Bearer ',
      'Bearer x',
      'Bearer a.b.c',
      'Basic dXNlcjpwYXNz',
      'Bearer sb_publishable_test',
      `Bearer ${'x'.repeat(5000)}`,
    ]) {
      expect(await status(value)).toBe(401);
    }
  });

  it('with a forged token is refused', async () => {
    const { privateKey } = await generateKeyPair('ES256');
    const unsigned = new UnsecuredJWT({ role: 'authenticated', sub: user }).setExpirationTime('1h').encode();
    const [, payload, signature] = (await token()).split('.');
    const header = (fields: object) => Buffer.from(JSON.stringify(fields)).toString('base64url');
    const forged = {
      'wrong key, right kid': await token({}, { key: new Uint8Array(32).fill(7) }),
      'unknown kid': await token({}, { kid: 'other' }),
      'no kid': await new SignJWT({ role: 'authenticated', sub: user })
        .setProtectedHeader({ alg: 'HS256' })
        .setExpirationTime('1h')
        .sign(secret),
      'another algorithm, right kid': await token({}, { key: privateKey, alg: 'ES256' }),
      'no signature': unsigned,
      'alg none with the right kid': `${header({ alg: 'none', kid: 'current' })}.${payload}.`,
      'alg none keeping the signature': `${header({ alg: 'none', kid: 'current' })}.${payload}.${signature}`,
      'changed payload': [
        header({ alg: 'HS256', kid: 'current' }),
        Buffer.from(JSON.stringify({ sub: user, role: 'authenticated', exp: 9e9 })).toString('base64url'),
        signature,
      ].join('.'),
      expired: await token({}, { expires: '-1m' }),
      'not yet valid': await token({ nbf: Math.floor(Date.now() / 1000) + 3600 }),
      'role service_role': await token({ role: 'service_role' }),
      'role anon': await token({ role: 'anon' }),
      'no role': await token({ role: undefined }),
      'no subject': await token({ sub: undefined }),
      'a subject that is no user id': await token({ sub: 'admin' }),
    };
    for (const [how, each] of Object.entries(forged))
      expect([how, await status(`Bearer ${each}`)]).toEqual([how, 401]);
  });
});

describe('a body', () => {
  it.each([
    ['empty', '', 'must be a JSON object, not empty'],
    ['blank', ' \n', 'must be a JSON object, not empty'],
    ['cut off', '{"hold_key": "', 'is not valid JSON'],
    ['not JSON', 'hold_key=1', 'is not valid JSON'],
    ['a list', '[]', 'must be a JSON object'],
    ['a string', '"hold"', 'must be a JSON object'],
    ['null', 'null', 'must be a JSON object'],
    ['not UTF-8', new Uint8Array([0x7b, 0xff, 0xfe, 0x7d]), 'must be UTF-8 text'],
    ['a binary string of nulls', new Uint8Array(64), 'is not valid JSON'],
    ['deeply nested', '['.repeat(500_000), 'is not valid JSON'],
    ['deeply nested objects', '{"a":'.repeat(150_000), 'is not valid JSON'],
  ])('that is %s is refused as JSON, and told why', async (_, body, message) => {
    const response = await send(body);
    expect(response.status).toBe(400);
    expect(await failure(response)).toMatchObject({
      code: 'INVALID_JSON',
      issues: [{ path: 'body', message }],
    });
  });

  it('of a mebibyte is read, one byte more is not', async () => {
    const padded = (bytes: number) => `{}${' '.repeat(bytes - 2)}`;
    expect((await send(padded(1_048_576))).status).toBe(400);
    const response = await send(padded(1_048_577));
    expect(response.status).toBe(413);
    expect(await failure(response)).toMatchObject({ code: 'BODY_TOO_LARGE' });
  });

  it('is counted as it arrives: without a length, or with a lying one', async () => {
    let chunks = 0;
    const endless = () =>
      new ReadableStream<Uint8Array>({
        pull(controller) {
          chunks += 1;
          if (chunks > 160) controller.close();
          else controller.enqueue(new Uint8Array(65_536).fill(0x20));
        },
      });
    expect((await send(endless())).status).toBe(413);
    chunks = 0;
    expect((await send(endless(), { 'content-length': '2' })).status).toBe(413);
    expect((await send('{}', { 'content-length': '99999999999' })).status).toBe(413);
  });

  it('is fully read before a refusal, so that the answer arrives', async () => {
    const size = 10 * 1_048_576;
    let read = 0;
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        read += 65_536;
        if (read > size) controller.close();
        else controller.enqueue(new Uint8Array(65_536));
      },
    });
    expect((await send(body, { authorization: 'Bearer x' })).status).toBe(401);
    expect(read).toBeGreaterThan(size);
  });
});

describe('a request id', () => {
  it('is the caller’s when it is a sane one', async () => {
    const response = await send('{}', { 'x-request-id': 'web-42.a_b' });
    expect(response.headers.get('x-request-id')).toBe('web-42.a_b');
  });

  it.each(['', 'a b', 'x'.repeat(129), '<script>', '"'])('is a new one instead of %j', async (given) => {
    const response = await send('{}', { 'x-request-id': given });
    expect(response.headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
  });
});

describe('an idempotency key', () => {
  it('is repeated in the answer, also in a refusal', async () => {
    expect((await send('{}', { 'idempotency-key': 'intent-1' })).headers.get('idempotency-key')).toBe(
      'intent-1',
    );
    expect(
      (await send('{}', { 'idempotency-key': '~'.repeat(255) })).headers.get('idempotency-key'),
    ).toHaveLength(255);
  });

  it.each(['', 'a b', 'x'.repeat(256), 'é', 'a\tb'])(
    'that is %j is refused by the header’s name',
    async (key) => {
      const response = await send('{}', { 'idempotency-key': key });
      expect(response.status).toBe(400);
      expect(response.headers.get('idempotency-key')).toBeNull();
      expect(await failure(response)).toMatchObject({
        code: 'VALIDATION_FAILED',
        issues: [{ path: 'Idempotency-Key' }],
      });
    },
  );
});

describe('a database out of reach', () => {
  it('is busy: try again with the same key', async () => {
    const response = await send(release, { 'idempotency-key': 'again' }, handleCancel);
    expect(response.status).toBe(503);
    expect(response.headers.get('retry-after')).toBe('1');
    expect(response.headers.get('idempotency-key')).toBe('again');
    expect(await failure(response)).toMatchObject({ code: 'DATABASE_BUSY', retryAfterSeconds: 1 });
  });

  it('of which the project’s address is unknown is an error of ours, and the log says no more than its kind', async () => {
    const log = vi.spyOn(console, 'error').mockImplementation(() => {});
    vi.stubEnv('SUPABASE_PUBLISHABLE_KEYS', '{}');
    try {
      const response = await send(release, { 'x-request-id': 'r-1' }, handleCancel);
      expect(response.status).toBe(500);
      expect(await failure(response)).toMatchObject({ code: 'INTERNAL_ERROR' });
      expect(log.mock.calls).toEqual([
        ['{"level":"error","event":"unexpected_answer","requestId":"r-1","errorClass":"EnvError"}'],
      ]);
    } finally {
      vi.stubEnv('SUPABASE_PUBLISHABLE_KEYS', '{"default":"sb_publishable_test"}');
    }
  });
});
