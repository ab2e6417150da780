/** Sixty people want what only one can have. Each round opens fresh connections: a warm pool would hide the race. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { withConnection } from '../setup/db.ts';
import { brokenInvariants } from '../setup/invariants.ts';
import {
  type Arena,
  at,
  crowd,
  holding,
  holdOf,
  inserting,
  nth,
  openArena,
  patience,
  type Result,
  race,
  rounds,
  tally,
} from './rivals.ts';

let arena: Arena;
/** Every round has a day of its own. */
let day = 0;

beforeEach(async () => {
  arena = await openArena(crowd, crowd);
  day = 0;
});
afterEach(async () => {
  expect(await withConnection((client) => brokenInvariants(client, arena.organizationId))).toEqual([]);
});

const everyone = Array.from({ length: crowd }, (_, index) => index);
const won = ({ outcome }: Result) => outcome?.ok === true;

/** Sixty new connections are dear. */
const half = Math.ceil(rounds / 2);

async function eachRound(run: () => Promise<void>): Promise<void> {
  for (let round = 0; round < half; round++) {
    day += 1;
    await run();
  }
}

describe('sixty fresh connections', patience, () => {
  it('for the same hour of one therapist: one has it, the others are told when to try again', async () => {
    await eachRound(async () => {
      const window = at(day, 600);
      const results = await race(
        arena,
        everyone.map((index) => holding(holdOf(nth(arena.therapists, 0), nth(arena.clients, index), window))),
      );
      expect(tally(results)).toEqual({ ok: 1, THERAPIST_HOLD_CONFLICT: crowd - 1 });
      const held = results.find(won)?.outcome?.body;
      for (const { outcome } of results.filter((result) => !won(result)))
        expect(outcome).toMatchObject({
          status: 409,
          retryAfter: held.expiresAt,
          conflicts: [{ resource: 'therapist', blockedBy: 'hold' }],
        });
    });
  });

  it('for overlapping hours that start one after the other: nobody is refused without a reason', async () => {
    await eachRound(async () => {
      const windows = everyone.map((index) => at(day, 300 + index * 7));
      const results = await race(
        arena,
        everyone.map((index) =>
          holding(holdOf(nth(arena.therapists, 0), nth(arena.clients, index), nth(windows, index))),
        ),
      );
      const counts = tally(results);
      expect(Object.keys(counts).sort()).toEqual(['THERAPIST_HOLD_CONFLICT', 'ok']);
      const winners = everyone.filter((index) => won(nth(results, index)));
      const overlaps = (one: number, other: number) => Math.abs(one - other) * 7 < 60;
      for (const winner of winners)
        expect(winners.filter((other) => other !== winner && overlaps(winner, other))).toEqual([]);
      for (const loser of everyone.filter((index) => !winners.includes(index)))
        expect(winners.some((winner) => overlaps(winner, loser))).toBe(true);
    });
  });

  it('for one client with sixty therapists: she is booked once', async () => {
    await eachRound(async () => {
      const results = await race(
        arena,
        everyone.map((index) =>
          holding(
            holdOf(nth(arena.therapists, index), nth(arena.clients, 0), at(day, 600 + (index % 5) * 10)),
          ),
        ),
      );
      expect(tally(results)).toEqual({ ok: 1, CLIENT_HOLD_CONFLICT: crowd - 1 });
    });
  });

  it('for crossing pairs of two therapists and two clients: two of them, who share nobody', async () => {
    await eachRound(async () => {
      const pairs = [
        [0, 0],
        [1, 0],
        [0, 1],
        [1, 1],
      ] as const;
      const results = await race(
        arena,
        everyone.map((index) => {
          const [therapist, client] = nth(pairs, index);
          return holding(
            holdOf(
              nth(arena.therapists, therapist),
              nth(arena.clients, client),
              at(day, 600 + (index % 7) * 5),
            ),
          );
        }),
      );
      const winners = everyone.filter((index) => won(nth(results, index))).map((index) => nth(pairs, index));
      expect(winners.map(([therapist]) => therapist).sort()).toEqual([0, 1]);
      expect(winners.map(([, client]) => client).sort()).toEqual([0, 1]);
      const { ok, THERAPIST_HOLD_CONFLICT = 0, CLIENT_HOLD_CONFLICT = 0, ...others } = tally(results);
      expect(others).toEqual({});
      expect([ok, THERAPIST_HOLD_CONFLICT + CLIENT_HOLD_CONFLICT]).toEqual([2, crowd - 2]);
    });
  });

  it('for series that cross each other, in every order of their dates: one whole series', async () => {
    await eachRound(async () => {
      const first = day;
      day += 12;
      const results = await race(
        arena,
        everyone.map((index) => {
          const dates = Array.from({ length: 12 }, (_, position) =>
            at(first + ((position * 5 + index) % 12), 600 + (index % 6) * 9),
          );
          return holding(
            holdOf(nth(arena.therapists, index % 3), nth(arena.clients, 0), nth(dates, 0), {
              occurrences: dates,
            }),
          );
        }),
      );
      const { ok, ...refused } = tally(results);
      expect(ok).toBe(1);
      expect(Object.keys(refused).every((code) => code.endsWith('_HOLD_CONFLICT'))).toBe(true);
    });
  });

  it('half of them holding, half inserting sessions directly: one of all, the others typed', async () => {
    await eachRound(async () => {
      const results = await race(
        arena,
        everyone.map((index) => {
          const window = at(day, 600 + (index % 6) * 9);
          const [therapist, client] = [
            nth(arena.therapists, index % 2 ? 0 : index),
            nth(arena.clients, index % 2 ? index : 0),
          ];
          // All of them meet: odd ones want therapist 0, even ones client 0; number 0 wants both.
          return index % 4 < 2
            ? holding(holdOf(therapist, client, window))
            : inserting(arena.organizationId, therapist, client, window);
        }),
      );
      const counts = tally(results);
      expect(
        Object.keys(counts).filter(
          (code) => code !== 'ok' && code !== '23P01' && !code.endsWith('_CONFLICT'),
        ),
      ).toEqual([]);
      // One for the therapist and one for the client; or number 0, who is both.
      expect(counts.ok).toBe(won(nth(results, 0)) ? 1 : 2);
    });
  });
});
