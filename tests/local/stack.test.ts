/** The stack itself: what happens when ports are taken and when processes die. */

import { once } from 'node:events';
import { appendFile, chmod, cp, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createClient } from '@supabase/supabase-js';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { claimPort } from '../../local/ports.ts';
import { projectRoot } from '../../local/settings.ts';
import { type Stack, startStack } from '../../local/stack.ts';

const password = 'demo-password-1234';
/** As long as a busy machine needs; an idle one does not wait. */
const PATIENTLY = { timeout: 60_000 };

test('a port in use is reported in one line that names the port and the variable', async () => {
  const taken = createServer().listen(0, '127.0.0.1');
  await once(taken, 'listening');
  const { port } = taken.address() as AddressInfo;
  try {
    await expect(startStack({ apiPort: port })).rejects.toThrow(
      `Port ${port} (API) is already in use. Set API_PORT to another port.`,
    );
    await expect(startStack({ dbPort: port })).rejects.toThrow(
      `Port ${port} (database) is already in use. Set DB_PORT to another port.`,
    );
  } finally {
    taken.close();
  }
});

test('one port for the API and the database is refused before anything is made', async () => {
  const port = await claimPort(0, 'test', 'TEST_PORT');
  await expect(startStack({ apiPort: port, dbPort: port })).rejects.toThrow(
    `API_PORT and DB_PORT are both ${port}. Set one of them to another port.`,
  );
});

test('a data folder in which nothing can be written is reported in one line', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'no-folder-'));
  const taken = join(folder, 'taken');
  await writeFile(taken, 'a file, where the folder would be');
  try {
    const starting = startStack({ dataDir: join(taken, 'pgdata') });
    await expect(starting).rejects.toThrow(
      `The database is kept in ${taken}, where nothing can be written (EEXIST).`,
    );
  } finally {
    await rm(folder, { recursive: true });
  }
});

test('a kept database whose migration has changed since is told of in one line', async () => {
  const root = await mkdtemp(join(tmpdir(), 'kept-'));
  const migrations = join(root, 'supabase', 'migrations');
  /** What is said of a start that has to do with changed migrations. */
  const start = async () => {
    const said: string[] = [];
    const dataDir = join(root, 'data', 'pgdata');
    const stack = await startStack({
      ...{ root, dataDir, durable: false, seed: false, api: false },
      ...{ quiet: false, say: (line: string) => said.push(line) },
    });
    await stack.stop();
    return said.filter((line) => line.includes('changed'));
  };
  try {
    // The server may run as another user.
    await chmod(root, 0o755);
    await mkdir(join(root, 'supabase'));
    for (const name of ['config.toml', 'migrations'])
      await cp(join(projectRoot, 'supabase', name), join(root, 'supabase', name), { recursive: true });
    expect(await start()).toEqual([]);
    const [name = ''] = await readdir(migrations);
    await appendFile(join(migrations, name), 'create table public.later ();\n');
    expect(await start()).toEqual([
      `${name} has changed since this database was made, which stays as it was: npm run reset makes it anew.`,
    ]);
  } finally {
    await rm(root, { recursive: true });
  }
});

describe('a stack beside the others', () => {
  let stack: Stack;
  const client = () => createClient(stack.apiUrl, stack.publishableKey, { auth: { persistSession: false } });

  beforeAll(async () => {
    stack = await startStack();
  });
  afterAll(() => stack.stop());

  test('signs in, and refreshes, with a key id and the claims of the hook', async () => {
    const { auth } = client();
    const signedIn = await auth.signInWithPassword({ email: 'bcba@brightpath.test', password });
    const refreshed = await auth.refreshSession();
    for (const { data, error } of [signedIn, refreshed]) {
      expect(error).toBeNull();
      const token = data.session?.access_token ?? '';
      expect(decodeProtectedHeader(token)).toMatchObject({ alg: 'HS256', kid: stack.jwtKeyId });
      expect(decodeJwt(token)).toMatchObject({
        ...{ iss: `${stack.apiUrl}/auth/v1`, role: 'authenticated', aal: 'aal1', user_role: 'therapist' },
        org_id: 'a0000000-0000-4000-8000-0000000000a0',
      });
    }
    expect((await auth.getUser()).data.user?.email).toBe('bcba@brightpath.test');
  });

  test('lets nobody sign up', async () => {
    const { error } = await client().auth.signUp({ email: 'new@example.test', password });
    expect(error?.code).toBe('signup_disabled');
  });

  test('answers a body of 10 MB that a function refuses unread', async () => {
    const response = await fetch(`${stack.apiUrl}/functions/v1/sessions-hold`, {
      method: 'POST',
      body: 'x'.repeat(10 * 1024 * 1024),
    });
    expect([401, 413]).toContain(response.status);
    expect(response.headers.get('content-type')).toContain('json');
  });

  test('comes back after kill -9 of the database', async () => {
    process.kill(stack.pids.postgres, 'SIGKILL');
    const key = { headers: { apikey: stack.secretKey } };
    const down = await fetch(`${stack.apiUrl}/rest/v1/organizations?select=id`, key);
    expect([200, 503]).toContain(down.status);
    await down.body?.cancel();
    await stack.restartDatabase();
    await expect
      .poll(
        async () => (await client().auth.signInWithPassword({ email: 'admin@harbor.test', password })).error,
        PATIENTLY,
      )
      .toBeNull();
    await expect
      .poll(
        async () => (await fetch(`${stack.apiUrl}/rest/v1/organizations?select=id`, key)).status,
        PATIENTLY,
      )
      .toBe(200);
  });

  test('comes back after kill -9 of the functions', async () => {
    process.kill(stack.pids.functions ?? 0, 'SIGKILL');
    const hold = () => fetch(`${stack.apiUrl}/functions/v1/sessions-hold`, { method: 'GET' });
    await expect.poll(async () => (await hold()).status, PATIENTLY).toBe(503);
    await stack.restartFunctions();
    expect((await hold()).status).toBe(405);
  });
});
