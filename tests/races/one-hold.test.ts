/** Several people act on one hold, or one session, at once: something happens once, and everybody is told what. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { withConnection } from '../setup/db.ts';
import { brokenInvariants } from '../setup/invariants.ts';
import {
  type Arena,
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
  releasing,
  rounds,
  tally,
  type Window,
} from './rivals.ts';

let arena: Arena;
let therapist: string;
let client: string;
/** Every round has a day of its own. */
let day = 0;

async function moveIn(): Promise<void> {
  arena = await openArena(4, 4);
  therapist = nth(arena.therapists, 0);
  client = nth(arena.clients, 0);
  day = 0;
}

beforeEach(moveIn);
afterEach(async () => {
  expect(await withConnection((connection) => brokenInvariants(connection, arena.organizationId))).toEqual(
    [],
  );
});

async function eachRound(run: (round: number) => Promise<void>): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    day += 10;
    // Nobody books more than two years ahead.
    if (day > 700) await moveIn();
    await run(round);
  }
}

async function hold(
  occurrences: (Window & { session_id?: string })[] = [at(day, 600)],
  extra: object = {},
): Promise<Held> {
  // Which session moves is said of each occurrence, not above them.
  const { session_id: _, ...first } = nth(occurrences, 0);
  return (await alone(arena, holding(holdOf(therapist, client, first, { occurrences, ...extra })))).body;
}

async function book(occurrences = [at(day, 600)]): Promise<{ id: string }[]> {
  return (await alone(arena, confirming(confirmationOf(therapist, client, await hold(occurrences))))).body
    .sessions;
}

async function query<T extends object>(sql: string, values: unknown[]): Promise<T[]> {
  return withConnection(async (connection) => (await connection.query(sql, values)).rows as T[]);
}

const times = <T>(count: number, make: (index: number) => T) =>
  Array.from({ length: count }, (_, index) => make(index));

describe('at once', patience, () => {
  it('20 parallel duplicates with one key: one effect, 19 replays of its answer', async () => {
    await eachRound(async (round) => {
      const request = holdOf(therapist, client, at(day, 600), {
        occurrences: times(5, (index) => at(day + index, 600)),
      });
      const results = await race(
        arena,
        times(20, () => holding(request, `key of round ${round}`)),
      );
      expect(tally(results)).toEqual({ ok: 20 });
      expect(results.filter(({ outcome }) => outcome?.replayed).length).toBe(19);
      expect(new Set(results.map(({ outcome }) => JSON.stringify(outcome?.body))).size).toBe(1);

      const confirmation = confirmationOf(therapist, client, nth(results, 0).outcome?.body);
      const confirmed = await race(
        arena,
        times(20, () => confirming(confirmation, `key of round ${round}`)),
      );
      expect(tally(confirmed)).toEqual({ ok: 20 });
      expect(confirmed.filter(({ outcome }) => outcome?.replayed).length).toBe(19);
      expect(new Set(confirmed.map(({ outcome }) => JSON.stringify(outcome?.body))).size).toBe(1);
      expect(
        await query(
          'select count(*)::int as sessions from public.sessions where organization_id = $1 and start_time >= $2',
          [arena.organizationId, at(day, 0).start_time],
        ),
      ).toEqual([{ sessions: 5 }]);
    });
  });

  it('20 different requests under one key: one is held, the others are told the key is taken', async () => {
    await eachRound(async (round) => {
      const results = await race(
        arena,
        times(20, (index) => holding(holdOf(therapist, client, at(day, index * 60)), `shared key ${round}`)),
      );
      expect(tally(results)).toEqual({ ok: 1, IDEMPOTENCY_KEY_REUSED: 19 });
    });
  });

  it('many confirm without a key: one session, and everybody has it', async () => {
    await eachRound(async () => {
      const confirmation = confirmationOf(therapist, client, await hold());
      const results = await race(
        arena,
        times(20, () => confirming(confirmation)),
      );
      expect(tally(results)).toEqual({ ok: 20 });
      expect(new Set(results.map(({ outcome }) => outcome?.body.session.id)).size).toBe(1);
    });
  });

  it('some confirm and some release: either all find a session, or the hold is gone for all', async () => {
    await eachRound(async () => {
      const held = await hold([at(day, 600), at(day + 1, 600)]);
      const confirmation = confirmationOf(therapist, client, held);
      const results = await race(
        arena,
        times(20, (index) => (index % 2 ? confirming(confirmation) : releasing(held.holdKey))),
      );
      const confirmed = results.filter((_, index) => index % 2);
      const released = results
        .filter((_, index) => index % 2 === 0)
        .filter(({ outcome }) => outcome?.body.released === true);
      if (released.length > 0) {
        expect(released.length).toBe(1);
        expect(tally(confirmed)).toEqual({ HOLD_NOT_FOUND: 10 });
      } else expect(tally(confirmed)).toEqual({ ok: 10 });
    });
  });

  it('a confirmation at the very end of its hold, and a rival who waits for it: one of them has the time', async () => {
    await eachRound(async (round) => {
      const held = await hold();
      const rest = 40 + (round % 5) * 20;
      await query(
        `with soon as (select clock_timestamp() + $2::int * interval '1 millisecond' as moment),
          batch as (update public.hold_batches set expires_at = moment from soon where id = $1)
        update private.claims set expires_at = moment from soon, public.session_holds as hold
        where hold.batch_id = $1 and owner_id in (hold.id, hold.group_id, hold.batch_id)`,
        // The rivals' connections open first.
        [held.holdId, rest + 150],
      );
      const results = await race(arena, [
        { ...confirming(confirmationOf(therapist, client, held)), delay: rest },
        ...times(6, (index) => ({
          ...holding(holdOf(therapist, nth(arena.clients, 1), at(day, 630))),
          delay: rest - 30 + index * 15,
        })),
      ]);
      const [confirmed, ...rivals] = results;
      const sessions = await query('select id from public.sessions where id = $1', [
        nth(held.holds, 0).holdId,
      ]);
      if (confirmed?.outcome?.ok) {
        expect(sessions.length).toBe(1);
        expect(tally(rivals).ok).toBeUndefined();
      } else {
        expect(confirmed?.outcome).toMatchObject({ status: 410, code: 'HOLD_EXPIRED' });
        expect(sessions.length).toBe(0);
        expect(tally(rivals).ok ?? 0).toBeLessThanOrEqual(1);
      }
      expect(rivals.filter(({ sqlstate }) => sqlstate)).toEqual([]);
    });
  });

  it('a cancellation while a move confirms: the session ends up cancelled, wherever it got to', async () => {
    await eachRound(async () => {
      const sessions = await book([at(day, 600), at(day + 1, 600)]);
      const moved = sessions.map(({ id }, index) => ({ ...at(day + 1 + index, 600), session_id: id }));
      const held = await hold(moved);
      const results = await race(arena, [
        confirming(confirmationOf(therapist, client, held)),
        cancelling(sessions.map(({ id }) => id)),
        cancelling([nth(sessions, 1).id]),
        confirming(confirmationOf(therapist, client, held)),
      ]);
      for (const index of [0, 3])
        expect(['ok', 'SESSION_NOT_MOVABLE']).toContain(nth(results, index).outcome?.code ?? 'ok');
      expect(nth(results, 1).outcome?.ok).toBe(true);
      const rows = await query<{ status: string }>('select status from public.sessions where id = any ($1)', [
        sessions.map(({ id }) => id),
      ]);
      expect(rows.map(({ status }) => status)).toEqual(['cancelled', 'cancelled']);
    });
  });

  it('two who move the same sessions, and one who writes them directly: one move at a time', async () => {
    await eachRound(async () => {
      const sessions = await book([at(day, 600), at(day + 1, 600)]);
      const move = (shift: number) =>
        holding(
          holdOf(therapist, client, at(day, 600), {
            occurrences: sessions.map(({ id }, index) => ({
              ...at(day + 1 - index, 600 + shift),
              session_id: id,
            })),
          }),
        );
      const results = await race(arena, [
        ...times(8, (index) => move(index * 5)),
        ...times(4, () => ({
          // In the order every path locks sessions in; a plan's own order could cross a mover's.
          sql: `
            with locked as (
              select id from public.sessions where id = any ($1) order by id for no key update
            )
            update public.sessions as session
            set location_type = coalesce(session.location_type, '') || 'x'
            from locked
            where session.id = locked.id`,
          values: [sessions.map(({ id }) => id)],
          role: 'service_role' as const,
        })),
      ]);
      const moves = tally(results.slice(0, 8));
      expect(moves).toEqual({ ok: 1, SESSION_BEING_MOVED: 7 });
      expect(results.slice(8).filter(({ sqlstate }) => sqlstate)).toEqual([]);
      const held = nth(
        results.filter(({ outcome }) => outcome?.ok),
        0,
      ).outcome?.body;
      expect((await alone(arena, confirming(confirmationOf(therapist, client, held)))).ok).toBe(true);
    });
  });

  it('everybody takes over an expired series at once, each another date of it: all get their date', async () => {
    await eachRound(async () => {
      const held = await hold(times(8, (index) => at(day + index, 600)));
      await query(
        `with batch as (update public.hold_batches set expires_at = clock_timestamp() - interval '1 second' where id = $1)
        update private.claims set expires_at = clock_timestamp() - interval '1 second'
        from public.session_holds as hold where hold.batch_id = $1 and owner_id in (hold.id, hold.group_id, hold.batch_id)`,
        [held.holdId],
      );
      const results = await race(arena, [
        // One half with the therapist, the other with the client: they share no lock but the stale holds.
        ...times(8, (index) =>
          holding(
            holdOf(
              index % 2 ? therapist : nth(arena.therapists, 1),
              index % 2 ? nth(arena.clients, 1) : client,
              at(day + index, 600),
            ),
          ),
        ),
        confirming(confirmationOf(therapist, client, held)),
        releasing(held.holdKey),
      ]);
      expect(tally(results)).toEqual({ ok: 9, HOLD_EXPIRED: 1 });
      expect(nth(results, 9).outcome?.body).toEqual({ released: false });
    });
  });
});
