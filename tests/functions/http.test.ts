/** What every function owes its callers, over HTTP. */
import { connect } from 'node:net';
import { corsHeaders } from '@supabase/supabase-js/cors';
import { SignJWT } from 'jose';
import { beforeAll, describe, expect, it } from 'vitest';
import { stack } from '../setup/stack.ts';
import {
  addUser,
  type Clinic,
  call,
  countRows,
  type FunctionName,
  holdOf,
  openClinic,
  window,
} from './clinic.ts';

const names: FunctionName[] = [
  'sessions-hold',
  'sessions-confirm',
  'sessions-cancel',
  'session-notes',
  'client-details',
];
const url = (name: FunctionName) => `${stack.apiUrl}/functions/v1/${name}`;

let clinic: Clinic;
beforeAll(async () => {
  clinic = await openClinic();
});

function expectProblem(answer: Awaited<ReturnType<typeof call>>, status: number, code: string) {
  expect(answer.body).toMatchObject({
    status,
    code,
    success: false,
    requestId: answer.headers.get('x-request-id'),
  });
  expect(answer.status).toBe(status);
  expect(answer.headers.get('content-type')).toBe('application/problem+json');
  expect(answer.body.error).toBe(answer.body.detail);
  expect(answer.body.type).toMatch(/^urn:/);
  expect(answer.body.title).not.toBe('');
}

describe.each(names)('%s', (name) => {
  it.each(['GET', 'PUT', 'PATCH', 'DELETE'])('refuses %s', async (method) => {
    const response = await fetch(url(name), { method });
    expect(response.status).toBe(405);
    expect(response.headers.get('allow')).toMatch(/^POST/);
    expect(await response.json()).toMatchObject({ code: 'METHOD_NOT_ALLOWED', success: false });
  });

  it('answers a browser’s preflight', async () => {
    const response = await fetch(url(name), {
      method: 'OPTIONS',
      headers: { origin: 'http://localhost:5173', 'access-control-request-method': 'POST' },
    });
    expect(response.status).toBe(204);
    expect(response.headers.get('access-control-allow-origin')).toBe('http://localhost:5173');
    expect(response.headers.get('access-control-allow-headers')).toBe(
      `${corsHeaders['Access-Control-Allow-Headers']}, x-region, idempotency-key, x-request-id, x-correlation-id`,
    );
  });

  it('lets a browser read its errors, from an allowed origin only', async () => {
    const allowed = await call(name, clinic.rbt, '{', { origin: 'http://127.0.0.1:3000' });
    expect(allowed.headers.get('access-control-allow-origin')).toBe('http://127.0.0.1:3000');
    expect(allowed.headers.get('access-control-expose-headers')).toBe(
      'Date, Retry-After, Idempotency-Key, Idempotent-Replay, X-Request-Id',
    );
    const foreign = await call(name, clinic.rbt, '{', { origin: 'https://evil.example' });
    expect(foreign.headers.get('access-control-allow-origin')).toBeNull();
  });

  it('refuses what is not JSON, naming the body', async () => {
    for (const body of ['', '{', '[]', 'null', new Blob([new Uint8Array([0xff, 0xfe])])]) {
      const answer = await call(name, clinic.rbt, body);
      expectProblem(answer, 400, 'INVALID_JSON');
      expect(answer.body.issues).toMatchObject([{ path: 'body' }]);
    }
  });

  it('answers 10 MB with a clean 413', async () => {
    expectProblem(await call(name, clinic.rbt, ' '.repeat(10 * 1024 * 1024)), 413, 'BODY_TOO_LARGE');
  });

  it('keeps the caller’s request id, or makes one', async () => {
    expect(
      (await call(name, clinic.rbt, '{', { 'x-request-id': 'web-42' })).headers.get('x-request-id'),
    ).toBe('web-42');
    expect((await call(name, clinic.rbt, '{')).headers.get('x-request-id')).toMatch(/^[0-9a-f-]{36}$/);
  });

  it('asks for a token', async () => {
    expectProblem(await call(name, null, {}), 401, 'UNAUTHENTICATED');
  });

  it('asks for an organization', async () => {
    const body = {
      'sessions-hold': holdOf(clinic.rbt, clinic.clients[0], window(1, 10)),
      'sessions-confirm': {
        hold_key: clinic.rbt.id,
        session: holdOf(clinic.rbt, clinic.clients[0], window(1, 10)),
        ...window(1, 10),
        time_zone: 'UTC',
      },
      'sessions-cancel': { hold_key: clinic.rbt.id },
      'session-notes': { action: 'read', session_id: clinic.rbt.id },
      'client-details': { action: 'read', client_ids: [clinic.clients[0]] },
    }[name];
    expectProblem(await call(name, await addUser('nobody'), body), 403, 'ORGANIZATION_REQUIRED');
  });
});

describe('a body larger than it says', () => {
  it('is counted as it arrives, and still gets its answer', async () => {
    const { hostname, port } = new URL(stack.apiUrl);
    const answer = await new Promise<string>((resolve, reject) => {
      const socket = connect(Number(port), hostname);
      let text = '';
      socket.setEncoding('utf8').on('data', (chunk) => {
        text += chunk;
        if (text.includes('\r\n\r\n') && text.includes('}')) socket.destroy();
      });
      socket.on('close', () => resolve(text)).on('error', reject);
      socket.write(
        `POST /functions/v1/sessions-hold HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${clinic.rbt.token}\r\n` +
          'Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n',
      );
      const chunk = ' '.repeat(65_536);
      for (let sent = 0; sent < 24; sent++) socket.write(`10000\r\n${chunk}\r\n`);
      socket.write('0\r\n\r\n');
    });
    expect(answer).toMatch(/^HTTP\/1\.1 413 /);
    expect(answer).toContain('BODY_TOO_LARGE');
  });
});

describe('a forged token', () => {
  const secret = () => new TextEncoder().encode(stack.jwtSecret);
  const encoded = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');

  function signed(claims: object, { key = secret(), kid = stack.jwtKeyId, expires = '1h' } = {}) {
    return new SignJWT({
      sub: clinic.rbt.id,
      role: 'authenticated',
      aud: 'authenticated',
      org_id: clinic.organizationId,
      ...claims,
    })
      .setProtectedHeader({ alg: 'HS256', kid, typ: 'JWT' })
      .setIssuedAt()
      .setExpirationTime(expires)
      .sign(key);
  }

  it('is not needed: one signed with the project’s key works', async () => {
    expect(
      (await call('sessions-cancel', { token: await signed({}) }, { hold_key: clinic.rbt.id })).status,
    ).toBe(200);
  });

  it.each([
    [
      'signed with another key',
      () => signed({}, { key: new TextEncoder().encode('another-secret-of-at-least-32-characters') }),
    ],
    ['of an unknown key id', () => signed({}, { kid: 'other' })],
    ['that has expired', () => signed({}, { expires: '-1m' })],
    ['for another audience', () => signed({ aud: 'somebody-else' })],
    ['for other audiences', () => signed({ aud: ['somebody', 'else'] })],
    ['of role service_role', () => signed({ role: 'service_role' })],
    ['of role anon', () => signed({ role: 'anon' })],
    ['of role postgres', () => signed({ role: 'postgres' })],
    ['of no user', () => signed({ sub: undefined })],
    [
      'without a signature',
      async () => `${encoded({ alg: 'none', kid: stack.jwtKeyId })}.${(await signed({})).split('.')[1]}.`,
    ],
    [
      'whose payload was changed',
      async () => {
        const [header, , signature] = clinic.rbt.token.split('.');
        return [
          header,
          encoded({ sub: clinic.admin.id, role: 'authenticated', org_id: clinic.organizationId, exp: 4e9 }),
          signature,
        ].join('.');
      },
    ],
    ['that is the publishable key', async () => stack.publishableKey],
    ['that is the secret key', async () => stack.secretKey],
  ])('%s is refused', async (_, make) => {
    expectProblem(
      await call('sessions-cancel', { token: await make() }, { hold_key: clinic.rbt.id }),
      401,
      'UNAUTHENTICATED',
    );
  });

  it('that names another organization opens nothing there', async () => {
    const stranger = await openClinic();
    const token = await signed({ sub: stranger.admin.id, user_role: 'super_admin' });
    expectProblem(
      await call('sessions-hold', { token }, holdOf(clinic.rbt, clinic.clients[0], window(1, 10))),
      403,
      'FORBIDDEN',
    );
  });
});

describe('hostile input', () => {
  it('gets a 4xx that names the field, and leaves no row behind', async () => {
    const good = holdOf(clinic.rbt, clinic.clients[0], window(2, 10));
    const bad: [string, object][] = [
      ['therapist_id', { therapist_id: 'not-a-uuid' }],
      ['client_id', { client_id: 42 }],
      ['session_type', { session_type: 'a\u0000b' }],
      ['start_time', { start_time: '9999-12-31T23:59:59Z' }],
      ['start_time', { start_time: '0001-01-01T00:00:00Z' }],
      ['start_time', window(-3, 10)],
      ['end_time', { end_time: good.start_time }],
      ['end_time', window(2, 10, 13)],
      ['end_time', window(731, 10)],
      ['time_zone', { time_zone: 'foo3bar' }],
      [
        'time_zone',
        { time_zone: 'america/los_angeles', start_time_offset_minutes: -480, end_time_offset_minutes: -480 },
      ],
      ['start_time_offset_minutes', { start_time_offset_minutes: 60 }],
      ['hold_seconds', { hold_seconds: -300 }],
      ['hold_seconds', { hold_seconds: 300.5 }],
      ['occurrences', { occurrences: Array(367).fill(window(2, 10)) }],
      ['occurrences.1.start_time', { occurrences: [window(2, 10), window(2, 10)] }],
      ['recurrence.rule', { recurrence: { rule: 'FREQ=DAILY' } }],
    ];
    const before = await countRows(clinic.organizationId);
    for (const [path, extra] of bad) {
      const answer = await call(
        'sessions-hold',
        clinic.rbt,
        { ...good, ...extra },
        { 'idempotency-key': 'hostile' },
      );
      const named = answer.body.issues?.map((issue: { path: string }) => issue.path);
      expect([path, answer.status, named?.includes(path)]).toEqual([path, 400, true]);
    }
    expect(await countRows(clinic.organizationId)).toEqual(before);
  });

  it('in the idempotency key is refused by the header’s name', async () => {
    const answer = await call(
      'sessions-cancel',
      clinic.rbt,
      { hold_key: clinic.rbt.id },
      { 'idempotency-key': 'x'.repeat(256) },
    );
    expectProblem(answer, 400, 'VALIDATION_FAILED');
    expect(answer.body.issues).toMatchObject([{ path: 'Idempotency-Key' }]);
  });
});
