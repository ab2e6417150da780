/** A series of 52 is changed from one session on while others book where it goes, and cancel what it is made of. */
import { beforeEach, describe, expect, it } from 'vitest';
import { type Claims, withConnection } from '../setup/db.ts';
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
  race,
  rounds,
  tally,
} from './rivals.ts';

const WEEKS = 52;
/** The session from which on the series changes. */
const FROM = 8;
const SHIFT = 150;

let arena: Arena;
let therapist: string;
let client: string;
let seriesId: string;
let sessions: { id: string; start_time: string }[];

beforeEach(async () => {
  arena = await openArena(2, 30);
  therapist = nth(arena.therapists, 0);
  client = nth(arena.clients, 0);
  const windows = Array.from({ length: WEEKS }, (_, week) => at(1 + 7 * week, 600));
  const recurrence = { rule: 'FREQ=WEEKLY', count: WEEKS };
  const held = await alone(
    arena,
    holding(holdOf(therapist, client, at(1, 600), { occurrences: windows, recurrence })),
  );
  const booked = await alone(arena, confirming(confirmationOf(therapist, client, held.body)));
  sessions = booked.body.sessions;
  seriesId = booked.body.session.series_id;
});

const following = (change: object = { shift_minutes: SHIFT }, from = nth(sessions, FROM).start_time) => ({
  series: { series_id: seriesId, scope: 'following', from, change },
});
const extending = (count: number): Attempt => ({
  sql: 'select public.extend_series($1) as outcome',
  values: [JSON.stringify({ series_id: seriesId, count })],
});

/** By how many minutes each session that stands is away from where it was booked, from the first that changes on. */
async function shifts(): Promise<number[]> {
  return await withConnection(async (db) => {
    const { rows } = await db.query(
      'select id, start_time from public.sessions where series_id = $1 and status = $2',
      [seriesId, 'scheduled'],
    );
    const now = new Map(rows.map(({ id, start_time }) => [id, (start_time as Date).getTime()]));
    return sessions
      .slice(FROM)
      .flatMap(({ id, start_time }) =>
        now.has(id) ? [((now.get(id) as number) - Date.parse(start_time)) / 60_000] : [],
      );
  });
}

const broken = () => withConnection((db) => brokenInvariants(db, arena.organizationId));

describe('a series of 52, changed from one session on', () => {
  it('against 20 bookings and cancellations ends whole, and each change is answered again by its key', async () => {
    for (let round = 0; round < rounds; round += 1) {
      const change = { shift_minutes: SHIFT + 90 * round };
      // Those who come first take a place that the series wants; some weeks are cancelled meanwhile.
      const from = (await shifts())[0] ?? 0;
      const request = following(
        { shift_minutes: change.shift_minutes - from },
        new Date(Date.parse(nth(sessions, FROM).start_time) + from * 60_000).toISOString(),
      );
      const before = await shifts();
      const key = `change ${round}`;
      const results = await race(arena, [
        ...Array.from({ length: 3 }, () => holding(request, key)),
        ...Array.from({ length: 20 }, (_, index) => ({
          ...holding(
            holdOf(
              therapist,
              nth(arena.clients, 1 + index),
              at(1 + 7 * (FROM + index), 600 + change.shift_minutes + 30 - (index % 3) * 15),
              { hold_seconds: 30 },
            ),
          ),
          // Half of the rounds they are early, half late.
          delay: round % 2 === 0 ? 15 + index : 0,
        })),
        ...[1, 2].map((index) => ({
          ...cancelling([nth(sessions, FROM + 10 * round + index * 3).id]),
          delay: index * 10,
        })),
      ]);
      expect(results.filter(({ sqlstate }) => sqlstate)).toEqual([]);
      expect(new Set(await shifts())).toEqual(new Set(before));
      const [held, ...copies] = results.slice(0, 3).map(({ outcome }) => outcome);
      if (held?.ok) {
        // One change, however often it was asked for.
        for (const copy of copies)
          expect(copy).toMatchObject({ ok: true, body: { holdKey: held.body.holdKey } });
        const confirmation = confirmationOf(therapist, client, held.body as Held);
        const settled = await race(arena, [
          confirming(confirmation, `confirm ${round}`),
          confirming(confirmation, `confirm ${round}`),
          { ...cancelling([nth(sessions, FROM + 10 * round + 1).id]), delay: 5 },
        ]);
        expect(settled.filter(({ sqlstate }) => sqlstate)).toEqual([]);
        const moved = settled.slice(0, 2).map(({ outcome }) => outcome?.code ?? 'ok');
        expect([
          ['ok', 'ok'],
          ['SESSION_NOT_MOVABLE', 'SESSION_NOT_MOVABLE'],
        ]).toContainEqual(moved);
        // What could not be moved any more was let go, and its key with it: the same request holds what is left.
        expect(await alone(arena, holding(request, key))).toMatchObject({
          ok: true,
          replayed: moved[0] === 'ok',
        });
      } else {
        for (const copy of [held, ...copies])
          expect(['THERAPIST_HOLD_CONFLICT', 'SESSION_NOT_MOVABLE']).toContain(copy?.code);
      }
      expect(new Set(await shifts()).size).toBe(1);
      expect(await broken()).toEqual([]);
      await withConnection(async (db) => {
        await db.query(`select set_config('request.jwt.claims', $1, false)`, [
          JSON.stringify({ sub: arena.admin, role: 'authenticated', org_id: arena.organizationId }),
        ]);
        await db.query(
          `select public.release_hold(jsonb_build_object('hold_key', batch.hold_key)) from public.hold_batches as batch
            where organization_id = $1 and exists (
              select from public.session_holds as hold where hold.batch_id = batch.id and hold.status = 'held')`,
          [arena.organizationId],
        );
      });
    }
  });

  it('by many at once is changed by one of them', async () => {
    const results = await race(
      arena,
      Array.from({ length: 12 }, (_, index) => holding(following({ shift_minutes: 15 + index }))),
    );
    expect(tally(results)).toEqual({ ok: 1, SESSION_BEING_MOVED: 11 });
    expect(await broken()).toEqual([]);
  });

  it('and extended by several at once goes on without a gap or a repeat', async () => {
    const results = await race(arena, [
      ...Array.from({ length: 5 }, () => extending(2)),
      holding(following()),
    ]);
    expect(tally(results)).toEqual({ ok: 6 });
    const starts = await withConnection(async (db) => {
      const { rows } = await db.query(
        'select start_time from public.sessions where series_id = $1 order by start_time',
        [seriesId],
      );
      return rows.map(({ start_time }) => (start_time as Date).toISOString());
    });
    expect(starts).toEqual(Array.from({ length: WEEKS + 10 }, (_, week) => at(1 + 7 * week, 600).start_time));
    expect(await broken()).toEqual([]);
  });
});

describe('in lock step', () => {
  const hold = 'select public.hold_sessions($1) as outcome';
  let admin: Claims;
  beforeEach(() => {
    admin = { sub: arena.admin, org_id: arena.organizationId };
  });

  it('a change waits for a cancellation of one of its sessions, and leaves that one', async () => {
    await inLockStep({ canceller: admin, mover: admin }, async ({ canceller, mover }) => {
      await canceller.does('begin');
      await canceller.does('select public.cancel_sessions($1)', [
        JSON.stringify({ session_ids: [nth(sessions, FROM + 3).id] }),
      ]);
      const waiting = await mover.waitsFor(canceller, hold, [JSON.stringify(following())]);
      await canceller.does('commit');
      const { rows } = await waiting.ends();
      expect(rows?.[0].outcome.ok).toBe(true);
      expect(rows?.[0].outcome.body.holds).toHaveLength(WEEKS - FROM - 1);
    });
  });

  it('a change waits for another that is being confirmed, and builds on it', async () => {
    const held = await alone(arena, holding(following({ shift_minutes: 60 })));
    await inLockStep({ first: admin, second: admin }, async ({ first, second }) => {
      await first.does('begin');
      await first.does('select public.confirm_sessions($1)', [
        JSON.stringify(confirmationOf(therapist, client, held.body)),
      ]);
      const all = { series: { series_id: seriesId, scope: 'all', change: { shift_minutes: 30 } } };
      const waiting = await second.waitsFor(first, hold, [JSON.stringify(all)]);
      await first.does('commit');
      const { rows } = await waiting.ends();
      const starts = rows?.[0].outcome.body.holds.map((each: { startTime: string }) =>
        each.startTime.slice(11, 16),
      );
      expect(starts).toEqual([
        ...Array.from({ length: FROM }, () => '10:30'),
        ...Array.from({ length: WEEKS - FROM }, () => '11:30'),
      ]);
    });
  });

  it('an extension waits for another, and begins where it ended', async () => {
    await inLockStep({ first: admin, second: admin }, async ({ first, second }) => {
      const { sql, values } = extending(1);
      await first.does('begin');
      await first.does(sql, values);
      const waiting = await second.waitsFor(first, sql, values);
      await first.does('commit');
      const { rows } = await waiting.ends();
      expect(Date.parse(rows?.[0].outcome.body.sessions[0].start_time)).toBe(
        Date.parse(at(1 + 7 * (WEEKS + 1), 600).start_time),
      );
    });
  });
});
