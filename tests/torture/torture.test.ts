/** A short torture in every run of the tests, and proof that the checker sees what it is for. */
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { describe, expect, test } from 'vitest';
import { plants } from './plants.ts';
import { findPooler } from './pooler.ts';
import { random } from './random.ts';
import { torture } from './run.ts';

test('eight seconds of bookings, retries, crashes and cut connections leave nothing wrong', async () => {
  const main = fileURLToPath(new URL('./main.ts', import.meta.url));
  // As a process of its own: what is thrown where nobody catches it ends it. This seed kills the server after three seconds
  // and a connection's process after six.
  const run = await execa(process.execPath, [main, '--minutes', '0.135', '--seed', '2'], {
    reject: false,
    all: true,
  });
  expect(run.exitCode, run.all).toBe(0);
  expect(/^ +\d+ {2}pool$/m.test(run.all), 'calls through pgbouncer, where it is installed').toBe(
    (await findPooler()) !== null,
  );
}, 300_000);

describe('the checker catches', () => {
  // The three that matter most; `npm run torture -- --plants` plants all of them.
  test.each(['drop-constraint', 'no-lock', 'no-key-check'])(
    '%s',
    async (name) => {
      const { violations } = await torture({
        // Ends at the check that catches it. Which one that is depends on who meets whom, so there are many.
        ...{ seed: 42, seconds: 240, calls: 50_000, checkEvery: 250, plant: name },
        ...{ faults: false, http: false, pool: false },
      });
      expect(violations.map(({ rule }) => rule)).toContainEqual(
        expect.stringMatching(plants[name]?.caughtBy ?? /./),
      );
    },
    600_000,
  );
});

test('one seed makes the same choices', () => {
  const draw = () => {
    const chance = random(42, 'worker', 1, 'call', 7);
    return [chance.next(), chance.integer(1, 6), chance.pick(['a', 'b', 'c']), chance.uuid()];
  };
  expect(draw()).toEqual(draw());
  expect(random(43, 'worker', 1, 'call', 7).uuid()).not.toBe(random(42, 'worker', 1, 'call', 7).uuid());
});
