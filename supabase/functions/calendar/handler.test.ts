import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { handleCalendar } from './handler.ts';

const get = (path: string, method = 'GET') =>
  handleCalendar(new Request(`http://127.0.0.1${path}`, { method }));

/** What every answer says to caches, other sites and search engines. */
const quiet = {
  'cache-control': 'private, no-cache',
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
  'x-robots-tag': 'noindex',
};

beforeAll(async () => {
  // A port nobody listens at: the database is out of reach.
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  vi.stubEnv('SUPABASE_URL', `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  vi.stubEnv('SUPABASE_SECRET_KEYS', '{"default":"sb_secret_test"}');
  await new Promise((resolve) => server.close(resolve));
});
afterAll(() => vi.unstubAllEnvs());

it.each(['POST', 'PUT', 'DELETE', 'OPTIONS'])('a calendar is only read: %s', async (method) => {
  const response = await get('/calendar/token.ics', method);
  expect(response.status).toBe(405);
  expect(Object.fromEntries(response.headers)).toMatchObject({ ...quiet, allow: 'GET, HEAD' });
});

it.each(['/calendar/', '/calendar/token', '/calendar/a/b.ics', `/calendar/${'x'.repeat(201)}.ics`])(
  'what is no address of a calendar is not looked up: %.40s',
  async (path) => {
    const response = await get(path);
    expect(response.status).toBe(404);
    expect(Object.fromEntries(response.headers)).toMatchObject(quiet);
  },
);

it('a calendar that cannot be read just now is not gone: programs come back for it', async () => {
  const log = vi.spyOn(console, 'error').mockImplementation(() => undefined);
  const response = await get('/calendar/token.ics');
  expect(response.status).toBe(503);
  expect(Object.fromEntries(response.headers)).toMatchObject({ ...quiet, 'retry-after': '60' });
  expect(await response.json()).toEqual({
    ...{ type: 'about:blank', title: 'Service Unavailable', status: 503 },
    detail: 'The calendar cannot be read just now.',
  });
  expect(JSON.stringify(log.mock.calls)).not.toContain('token.ics');
  log.mockRestore();
});
