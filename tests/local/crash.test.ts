/**
 * Killing the database while many ask: whoever asks is told, whoever asks later is served, and nothing is thrown where
 * nobody can catch it, which would end the stack and fails this run.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { type Stack, startStack } from '../../local/stack.ts';

/** Asks for rows and for tokens until told to stop, from so many callers at once. Counts the statuses. */
function askers(stack: Stack, many: number): { stop: () => Promise<Map<string, number>> } {
  let isAsking = true;
  const statuses = new Map<string, number>();
  const ask = async (signIn: boolean) => {
    const response = await fetch(
      signIn
        ? `${stack.apiUrl}/auth/v1/token?grant_type=password`
        : `${stack.apiUrl}/rest/v1/organizations?select=id,name,therapists(id)`,
      {
        headers: { apikey: stack.secretKey, 'content-type': 'application/json' },
        ...(signIn
          ? {
              method: 'POST',
              body: JSON.stringify({ email: 'admin@harbor.test', password: 'demo-password-1234' }),
            }
          : {}),
        signal: AbortSignal.timeout(60_000),
      },
    ).catch((error: Error) => error);
    const status = response instanceof Error ? response.name : String(response.status);
    if (response instanceof Response) await response.text();
    const name = `${signIn ? 'auth' : 'rest'} ${status}`;
    statuses.set(name, (statuses.get(name) ?? 0) + 1);
    if (status !== '200') await sleep(20);
  };
  const all = Promise.all(
    Array.from({ length: many }, async (_, number) => {
      while (isAsking) await ask(number % 4 === 0);
    }),
  );
  return {
    async stop() {
      isAsking = false;
      await all;
      return statuses;
    },
  };
}

test('the stack outlives a database that is killed again and again', async () => {
  const stack = await startStack({ functions: false });
  try {
    const asking = askers(stack, 24);
    for (let kill = 0; kill < 6; kill++) {
      await sleep(300 + 40 * kill);
      process.kill(stack.pids.postgres, 'SIGKILL');
      await sleep(30 * (kill % 3));
      await stack.restartDatabase();
    }
    const statuses = await asking.stop();
    const again = () =>
      fetch(`${stack.apiUrl}/rest/v1/organizations?select=id`, { headers: { apikey: stack.secretKey } });
    await expect.poll(async () => (await again()).status, { timeout: 60_000 }).toBe(200);
    // More at once than there are connections: none may have been lost.
    const after = await Promise.all(Array.from({ length: 20 }, again));

    expect(after.map(({ status }) => status)).toEqual(Array(20).fill(200));
    expect(
      [...statuses.keys()].filter((name) => !/^(rest (200|503)|auth (200|500|503))$/.test(name)),
    ).toEqual([]);
  } finally {
    await stack.stop();
  }
});

test('a database that crashes is reported once, and the rest ends', async () => {
  const reasons: string[] = [];
  let crashed = () => {};
  const crash = new Promise<void>((resolve) => {
    crashed = resolve;
  });
  const stack = await startStack({
    supervise: true,
    onCrash: (reason) => {
      reasons.push(reason);
      crashed();
    },
  });
  const { functions } = stack.pids;
  const asking = askers(stack, 24);
  await sleep(300);

  process.kill(stack.pids.postgres, 'SIGKILL');
  await crash;
  await stack.stop();
  await asking.stop();

  expect(reasons).toEqual(['The database was ended by SIGKILL']);
  await expect(fetch(stack.apiUrl)).rejects.toThrow();
  expect(() => process.kill(functions ?? 0, 0)).toThrow('ESRCH');
});
