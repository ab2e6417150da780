/** Two calls with one idempotency key: the second waits for the first, and acts only if the first did not. */
import { randomUUID } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import { type Arena, at, holdOf, nth, openArena } from '../races/rivals.ts';
import type { Claims } from '../setup/db.ts';
import { inLockStep } from '../setup/lockstep.ts';

let arena: Arena;
let admin: Claims;
beforeAll(async () => {
  arena = await openArena(2, 2);
  admin = { sub: arena.admin, org_id: arena.organizationId };
});

const hold = 'select public.hold_sessions($1, $2) as outcome';

let day = 0;
/** A hold of a slot of its own, and a key. */
function request(person = 0): { body: string; key: string } {
  day += 1;
  const window = at(day, 600);
  const body = holdOf(nth(arena.therapists, person), nth(arena.clients, person), window);
  return { body: JSON.stringify(body), key: randomUUID() };
}

describe('the second call with a key', () => {
  it('waits for the first, and answers as it did when that has committed', async () => {
    const { body, key } = request();
    await inLockStep({ first: admin, second: admin }, async ({ first, second }) => {
      await first.does('begin');
      const [{ outcome }] = (await first.does(hold, [body, key])) as [
        { outcome: { ok: boolean; body: object } },
      ];
      expect(outcome.ok).toBe(true);
      const waiting = await second.waitsFor(first, hold, [body, key]);
      expect(waiting.on).toBe('advisory');
      await first.does('commit');
      const { rows: [again] = [] } = await waiting.ends();
      expect(again.outcome).toMatchObject({ ok: true, replayed: true, body: outcome.body });
    });
  });

  it('waits for the first, and acts itself when that is rolled back', async () => {
    const { body, key } = request();
    await inLockStep({ first: admin, second: admin }, async ({ first, second }) => {
      await first.does('begin');
      await first.does(hold, [body, key]);
      const waiting = await second.waitsFor(first, hold, [body, key]);
      await first.does('rollback');
      expect(await waiting.ends()).toMatchObject({ rows: [{ outcome: { ok: true, replayed: false } }] });
    });
  });

  it('waits for nobody when the key is another', async () => {
    const [mine, yours] = [request(0), request(1)];
    await inLockStep({ first: admin, second: admin }, async ({ first, second }) => {
      await first.does('begin');
      await first.does(hold, [mine.body, mine.key]);
      await second.does(hold, [yours.body, yours.key]);
      await first.does('commit');
    });
  });
});
