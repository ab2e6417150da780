/** A therapist is ill, and a substitute is found for a day of eight clients, while others want the substitute's time. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { withConnection } from '../setup/db.ts';
import { brokenInvariants } from '../setup/invariants.ts';
import { inLockStep } from '../setup/lockstep.ts';
import {
  type Arena,
  type Attempt,
  alone,
  at,
  cancelling,
  confirmationOf,
  confirming,
  type Held,
  holding,
  holdOf,
  nth,
  openArena,
  patience,
  race,
  rounds,
  tally,
} from './rivals.ts';

const CLIENTS = 8;
let arena: Arena;
let day = 0;
beforeEach(async () => {
  arena = await openArena(3, CLIENTS + 20);
});
afterEach(async () => {
  expect(await withConnection((client) => brokenInvariants(client, arena.organizationId))).toEqual([]);
});

const absent = () => nth(arena.therapists, 0);
const substitute = () => nth(arena.therapists, 1);

/** Eight clients, one after the other, with the therapist who will be ill. */
async function bookDay(): Promise<string[]> {
  const ids: string[] = [];
  for (let index = 0; index < CLIENTS; index++) {
    const client = nth(arena.clients, index);
    const held = await alone(arena, holding(holdOf(absent(), client, at(day, 480 + 60 * index))));
    const booked = await alone(arena, confirming(confirmationOf(absent(), client, held.body)));
    ids.push(booked.body.session.id);
  }
  return ids;
}

const handing = (to: string, extra: object = {}): Attempt => ({
  sql: 'select public.hold_reassignment($1) as outcome',
  values: [
    JSON.stringify({
      therapist_id: absent(),
      from: at(day, 0).start_time,
      to: at(day + 1, 0).start_time,
      to_therapist_id: to,
      ...extra,
    }),
  ],
});

interface Handed extends Omit<Held, 'holds'> {
  holds: (Held['holds'][number] & { sessionId: string; clientId: string; timeZone: string })[];
  skipped: { sessionId: string }[];
}

/** Confirms a hand-over by its one key. */
function taking(to: string, held: Handed): Attempt {
  const occurrences = held.holds.map((hold) => ({
    hold_key: hold.holdKey,
    time_zone: hold.timeZone,
    session: {
      id: hold.sessionId,
      therapist_id: to,
      client_id: hold.clientId,
      start_time: hold.startTime,
      end_time: hold.endTime,
    },
  }));
  return confirming({ ...nth(occurrences, 0), hold_key: held.holdKey, occurrences } as never);
}

/** With whom the day's sessions are, counted. */
async function therapistsOf(sessions: string[]): Promise<Record<string, number>> {
  const { rows } = await withConnection((client) =>
    client.query('select therapist_id from public.sessions where organization_id = $1 and id = any ($2)', [
      arena.organizationId,
      sessions,
    ]),
  );
  const counts: Record<string, number> = {};
  for (const { therapist_id } of rows) counts[therapist_id] = (counts[therapist_id] ?? 0) + 1;
  return counts;
}

describe('a day of eight clients goes to a substitute', patience, () => {
  it('whole or not at all, while twenty others want single hours of the substitute', async () => {
    for (let round = 0; round < rounds; round++) {
      day += 2;
      const sessions = await bookDay();
      const rivals = Array.from(
        { length: 20 },
        (_, index): Attempt => ({
          ...holding(
            holdOf(substitute(), nth(arena.clients, CLIENTS + index), at(day, 480 + 25 * index, 45)),
          ),
          delay: index % 3,
        }),
      );
      const [handed, ...others] = await race(arena, [
        { ...handing(substitute()), delay: round % 3 },
        ...rivals,
      ]);
      const outcome = handed?.outcome;
      if (!outcome) throw new Error(`${handed?.sqlstate}: ${handed?.message}`);
      if (outcome.ok) {
        const confirmed = await alone(arena, taking(substitute(), outcome.body as unknown as Handed));
        expect(confirmed).toMatchObject({ ok: true });
        expect(await therapistsOf(sessions)).toEqual({ [substitute()]: CLIENTS });
        expect(tally(others).ok ?? 0).toBe(0);
      } else {
        expect(outcome.code).toMatch(/^THERAPIST_(HOLD_)?CONFLICT$/);
        expect(await therapistsOf(sessions)).toEqual({ [absent()]: CLIENTS });
        expect(tally(others).ok).toBeGreaterThan(0);
      }
      expect(
        Object.keys(tally(others)).filter((code) => !/^(ok|THERAPIST_HOLD_CONFLICT)$/.test(code)),
      ).toEqual([]);
    }
  });

  it('to one of two substitutes, never to both', async () => {
    for (let round = 0; round < rounds; round++) {
      day += 2;
      const sessions = await bookDay();
      const results = await race(arena, [
        ...Array.from({ length: 5 }, () => handing(substitute())),
        ...Array.from({ length: 5 }, () => handing(nth(arena.therapists, 2))),
      ]);
      expect(tally(results)).toEqual({ ok: 1, SESSION_BEING_MOVED: 9 });
      const winner = results.findIndex(({ outcome }) => outcome?.ok);
      const to = winner < 5 ? substitute() : nth(arena.therapists, 2);
      await alone(arena, taking(to, results[winner]?.outcome?.body as unknown as Handed));
      expect(await therapistsOf(sessions)).toEqual({ [to]: CLIENTS });
    }
  });

  it('as far as it can be had, while some of it is cancelled and moved by others', async () => {
    for (let round = 0; round < rounds; round++) {
      day += 2;
      const sessions = await bookDay();
      const [, moved] = sessions;
      const client = nth(arena.clients, 1);
      const results = await race(arena, [
        handing(substitute(), { on_conflict: 'skip' }),
        cancelling([nth(sessions, 0)]),
        holding(holdOf(absent(), client, at(day, 1080), { session_id: moved })),
      ]);
      expect(Object.keys(tally(results)).filter((code) => !/^(ok|SESSION_BEING_MOVED)$/.test(code))).toEqual(
        [],
      );
      const handed = results[0]?.outcome?.body as unknown as Handed;
      const ids = handed.holds.map(({ sessionId }) => sessionId);
      expect(ids.length).toBeGreaterThanOrEqual(CLIENTS - 2);
      const confirmed = await alone(arena, taking(substitute(), handed));
      // A session that was cancelled after it was held stops the move, which settles whole.
      const stopped = ids.includes(nth(sessions, 0)) && results[1]?.outcome?.ok === true;
      expect(confirmed).toMatchObject(stopped ? { code: 'SESSION_NOT_MOVABLE' } : { ok: true });
      expect((await therapistsOf(sessions))[substitute()] ?? 0).toBe(stopped ? 0 : ids.length);
    }
  });
});

it('a day whose session is handed to another meanwhile goes without that session', async () => {
  day += 1;
  const [first, ...others] = await bookDay();
  const third = nth(arena.therapists, 2);
  const one = await alone(arena, {
    sql: 'select public.hold_reassignment($1) as outcome',
    values: [JSON.stringify({ session_ids: [first], to_therapist_id: third })],
  });
  const admin = { sub: arena.admin, org_id: arena.organizationId };
  const confirmed = taking(third, one.body as unknown as Handed);
  const day_ = handing(substitute());
  await inLockStep({ taker: admin, giver: admin }, async ({ taker, giver }) => {
    await taker.does('begin');
    await taker.does(confirmed.sql, confirmed.values);
    // The whole day is asked for while the first session is not yet another's.
    const waiting = await giver.waitsFor(taker, day_.sql, day_.values);
    await taker.does('commit');
    const ended = await waiting.ends();
    expect(ended).toMatchObject({ rows: [{ outcome: { ok: true } }] });
    const [{ outcome }] = ended.rows as [{ outcome: { body: Handed } }];
    expect(outcome.body.holds.map(({ sessionId }) => sessionId).sort()).toEqual([...others].sort());
  });
});
