import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { createClient, FunctionRegion } from '@supabase/supabase-js';
import { describe, expect, it } from 'vitest';
import { isAllowedOrigin, setPreflightHeaders } from './cors.ts';

/** Headers that a browser sends without asking, or sets by itself. */
const UNASKED = [
  'accept',
  'accept-encoding',
  'accept-language',
  'connection',
  'content-length',
  'host',
  'sec-fetch-mode',
  'user-agent',
];

it('a page may send every header that supabase-js sends to a function, a region and a key included', async () => {
  let sent: string[] = [];
  const server = createServer((request, response) => {
    sent = Object.keys(request.headers);
    response.setHeader('content-type', 'application/json').end('{}');
  });
  await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
  const supabase = createClient(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, 'key', {
    auth: { persistSession: false },
  });
  const { error } = await supabase.functions.invoke('sessions-hold', {
    ...{ body: {}, region: FunctionRegion.UsEast1 },
    headers: { 'idempotency-key': 'once', 'x-correlation-id': 'one' },
  });
  server.close();
  expect(error).toBeNull();
  expect(sent).toEqual(expect.arrayContaining(['x-region', 'x-client-info', 'apikey', 'authorization']));
  const headers = new Headers({ 'Access-Control-Allow-Origin': 'http://localhost:5173' });
  setPreflightHeaders(headers);
  const allowed = headers.get('Access-Control-Allow-Headers')?.toLowerCase().split(/, */) ?? [];
  expect(sent.filter((name) => !UNASKED.includes(name) && !allowed.includes(name))).toEqual([]);
});

describe('an origin', () => {
  it.each(['http://localhost:5173', 'https://localhost', 'http://127.0.0.1:3000', 'http://[::1]:8080'])(
    'on the developer’s machine is allowed while no list is set: %s',
    (origin) => expect(isAllowedOrigin(origin, undefined)).toBe(true),
  );

  it.each([
    'https://evil.example',
    'http://localhost.evil.example',
    'http://127.0.0.1.evil.example',
    'null',
    '',
  ])('elsewhere is not: %j', (origin) => {
    expect(isAllowedOrigin(origin, undefined)).toBe(false);
    expect(isAllowedOrigin(origin, ' ')).toBe(false);
  });

  it('must be on the list, exactly, once there is one', () => {
    const list = 'https://app.example, https://admin.example/';
    expect(isAllowedOrigin('https://app.example', list)).toBe(true);
    expect(isAllowedOrigin('https://admin.example', list)).toBe(true);
    for (const origin of [
      'http://app.example',
      'https://app.example:8443',
      'https://app.example.evil.example',
      'http://localhost:5173',
      'null',
    ]) {
      expect(isAllowedOrigin(origin, list)).toBe(false);
    }
  });
});
