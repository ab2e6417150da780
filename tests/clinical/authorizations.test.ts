/** Nobody takes units that are not there, however many ask at once; and none are ever lost. */
import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import type pg from 'pg';
import { beforeAll, describe, expect, it } from 'vitest';
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
  tally,
} from '../races/rivals.ts';
import { beginSession } from '../setup/begin-session.ts';
import { withConnection } from '../setup/db.ts';
import { brokenInvariants } from '../setup/invariants.ts';

let arena: Arena;
beforeAll(async () => {
  arena = await openArena(20, 30);
});

async function authorize(client: string, units: number): Promise<void> {
  await withConnection(async (connection) => {
    const payer = randomUUID();
    await connection.query('insert into public.payers (organization_id, id, name) values ($1, $2, $3)', [
      arena.organizationId,
      payer,
      `Payer ${payer}`,
    ]);
    await connection.query(
      `with granted as (
          insert into public.authorizations (organization_id, client_id, payer_id, approved_units, starts_on, ends_on)
          values ($1, $2, $3, $4, current_date - 90, current_date + 600)
          returning organization_id, id
        )
        insert into public.authorization_codes (organization_id, authorization_id, cpt_code)
        select organization_id, id, '97153' from granted`,
      [arena.organizationId, client, payer, units],
    );
  });
}

interface Balance {
  approved_units: number;
  used_units: number;
  scheduled_units: number;
  held_units: number;
  left_units: number;
}

async function balanceOf(connection: pg.Client, client: string): Promise<Balance> {
  const { rows } = await connection.query<Balance>(
    `select approved_units, used_units, scheduled_units, held_units, left_units
      from reports.authorization_balances where organization_id = $1 and client_id = $2`,
    [arena.organizationId, client],
  );
  const [found] = rows;
  if (!found) throw new Error('no authorization');
  return found;
}

/** Lets live holds run out: the clock cannot be moved, so their expiry is. */
async function expire(batchIds: string[] | null, client: string): Promise<void> {
  await withConnection((connection) =>
    connection.query(
      `update public.hold_batches set expires_at = clock_timestamp() - interval '1 second'
        where organization_id = $1 and expires_at > clock_timestamp()
          and id in (select batch_id from public.session_holds where client_id = $2)
          and ($3::uuid[] is null or id = any ($3))`,
      [arena.organizationId, client, batchIds],
    ),
  );
}

describe('twenty holds of four units for twelve that are left', patience, () => {
  it('are three, also once those have expired', async () => {
    const client = nth(arena.clients, 0);
    await authorize(client, 12);
    for (const day of [1, 2]) {
      // Twenty therapists and twenty different hours: nothing is in the way but the units.
      const attempts = arena.therapists.map((therapist, index) =>
        holding(
          holdOf(therapist, client, at(day * 10, index * 60), {
            session_type: 'individual',
          }),
        ),
      );
      let results = await race(arena, attempts);
      // Where the machine is slow some give up waiting (503) and ask again, as the client library does.
      const isBusy = (index: number) => nth(results, index).sqlstate === 'PT503';
      for (let busy = attempts.filter((_, index) => isBusy(index)); busy.length > 0; ) {
        const again = await race(arena, busy);
        results = [...results.filter(({ sqlstate }) => sqlstate !== 'PT503'), ...again];
        busy = busy.filter((_, index) => nth(again, index).sqlstate === 'PT503');
      }
      expect(tally(results)).toEqual({ ok: 3, AUTHORIZATION_EXCEEDED: 17 });
      expect(await withConnection((connection) => balanceOf(connection, client))).toMatchObject({
        held_units: 12,
        left_units: 0,
      });
      await expire(null, client);
      expect(await withConnection((connection) => balanceOf(connection, client))).toMatchObject({
        held_units: 0,
        left_units: 12,
      });
    }
  });
});

describe('rivals for the last units of a limit', { timeout: 240_000 }, () => {
  const rivals = 6;
  /** Whom a limit may count: rivals of one client, of a therapist, of the two. */
  const people: Record<string, (index: number) => { therapist: number; client: number }> = {
    client: (index) => ({ therapist: index, client: 0 }),
    therapist: (index) => ({ therapist: 0, client: index }),
    client_and_therapist: () => ({ therapist: 0, client: 0 }),
  };
  const limits = [
    ...['client', 'client_and_therapist'].flatMap((per) =>
      ['day', 'week', 'month', 'authorization'].map((period) => ({ of: 'an authorization', per, period })),
    ),
    ...Object.keys(people).flatMap((per) =>
      ['day', 'week', 'month'].map((period) => ({ of: 'a payer', per, period })),
    ),
  ];

  it.each(limits)('of $of, per $per and $period: two of six get them', async ({ of, per, period }) => {
    arena = await openArena(rivals, rivals);
    const { organizationId } = arena;
    await withConnection(async (connection) => {
      const payer = randomUUID();
      await connection.query('insert into public.payers (organization_id, id, name) values ($1, $2, $3)', [
        ...[organizationId, payer, `Payer ${payer}`],
      ]);
      await connection.query(
        `insert into public.client_coverages (organization_id, client_id, payer_id, valid_from)
          select $1, id, $2, '2020-01-01' from unnest($3::uuid[]) as id`,
        [organizationId, payer, arena.clients],
      );
      const authorization = randomUUID();
      await connection.query(
        `insert into public.authorizations (organization_id, id, client_id, payer_id, approved_units, starts_on, ends_on)
          values ($1, $2, $3, $4, 5000, current_date - 90, current_date + 600)`,
        [organizationId, authorization, nth(arena.clients, 0), payer],
      );
      await connection.query(
        `insert into public.authorization_codes (organization_id, authorization_id, cpt_code)
          select $1, $2, unnest(array['97153', '97152'])`,
        [organizationId, authorization],
      );
      await connection.query(
        `insert into public.unit_limits (organization_id, authorization_id, payer_id, cpt_codes, per, period, max_units)
          values ($1, $2, $3, '{97153,97152}', $4, $5, 8)`,
        [
          ...[organizationId, of === 'a payer' ? null : authorization, of === 'a payer' ? payer : null],
          ...[per, period],
        ],
      );
    });
    // Six hours of one day, four units each of eight.
    const attempts = Array.from({ length: rivals }, (_, index) => {
      const { therapist, client } = people[per]?.(index) ?? { therapist: 0, client: 0 };
      return holding(
        holdOf(nth(arena.therapists, therapist), nth(arena.clients, client), at(8, index * 60), {
          cpt_code: index % 2 === 0 ? '97153' : '97152',
        }),
      );
    });
    let results = await race(arena, attempts);
    for (let round = 0; round < 10; round++) {
      // Where the machine is slow some give up waiting (503) and ask again, as the client library does.
      const busy = attempts.filter((_, index) => results[index]?.sqlstate === 'PT503');
      if (busy.length === 0) break;
      const again = await race(arena, busy);
      let next = 0;
      results = results.map((result) => (result.sqlstate === 'PT503' ? (again[next++] ?? result) : result));
    }
    expect(tally(results)).toEqual({ ok: 2, AUTHORIZATION_EXCEEDED: 4 });
  });
});

const runs = Number(process.env.MODEL_RUNS ?? 20);

describe('whatever is done with bookings', { timeout: 60_000 + runs * 9000 }, () => {
  /** One step: what, with which of the open holds or sessions, and how long. */
  const step = fc.record({
    what: fc.constantFrom(
      'hold',
      'confirm',
      'release',
      'expire',
      'cancel',
      'start',
      'complete',
      'miss',
      'move',
      'move',
      'rewrite',
      'rewrite',
      'recode',
    ),
    which: fc.nat(20),
    units: fc.integer({ min: 1, max: 8 }),
  });
  const approved = 24;

  it('used + scheduled + held + left = approved, and every unit is where the model has it', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(step, { minLength: 4, maxLength: 14 }), async (steps) => {
        // A clinic of its own, so that a walk can be walked again, as shrinking does.
        arena = await openArena(1, 1);
        const client = nth(arena.clients, 0);
        const therapist = nth(arena.therapists, 0);
        await authorize(client, approved);
        const holds = new Map<string, { held: Held; units: number; moves?: string }>();
        const sessions = new Map<string, { status: string; units: number }>();
        const total = (items: Iterable<{ units: number }>) =>
          [...items].reduce((sum, { units }) => sum + units, 0);
        const isScheduled = (id: string) => sessions.get(id)?.status === 'scheduled';
        /** A move takes what its place needs beyond what its session has, as long as it can confirm. */
        const held = () =>
          [...holds.values()].reduce((sum, { units, moves }) => {
            if (moves === undefined) return sum + units;
            return isScheduled(moves) ? sum + Math.max(0, units - (sessions.get(moves)?.units ?? 0)) : sum;
          }, 0);
        const taken = () => held() + total(sessions.values());
        let day = 1;

        await withConnection(async (connection) => {
          for (const { what, which, units } of steps) {
            day += 1;
            const hold = [...holds.values()][which % Math.max(1, holds.size)];
            const scheduled = [...sessions].filter(([, { status }]) => status === 'scheduled');
            const session = scheduled[which % Math.max(1, scheduled.length)];
            if (what === 'hold') {
              const outcome = await alone(
                arena,
                holding(holdOf(therapist, client, at(day, 600, units * 15), { session_type: 'individual' })),
              );
              expect(outcome.ok).toBe(taken() + units <= approved);
              if (outcome.ok) holds.set(outcome.body.holdKey, { held: outcome.body, units });
            } else if (what === 'move' && session) {
              const [id, known] = session;
              if ([...holds.values()].some(({ moves }) => moves === id)) continue;
              const more = Math.max(0, units - known.units);
              const outcome = await alone(
                arena,
                holding(holdOf(therapist, client, at(day, 600, units * 15), { session_id: id })),
              );
              expect(outcome.ok).toBe(taken() + more <= approved);
              if (outcome.ok) holds.set(outcome.body.holdKey, { held: outcome.body, units, moves: id });
            } else if (what === 'rewrite' && session) {
              // Past the booking functions, also while its move is held.
              const [id, known] = session;
              const before = known.units;
              const window = at(day, 600, units * 15);
              sessions.set(id, { ...known, units });
              const fits = taken() <= approved;
              if (!fits) sessions.set(id, { ...known, units: before });
              const failed = await connection
                .query('update public.sessions set start_time = $2, end_time = $3 where id = $1', [
                  id,
                  window.start_time,
                  window.end_time,
                ])
                .then(
                  () => null,
                  ({ code }) => code,
                );
              expect(failed).toBe(fits ? null : '23514');
            } else if (what === 'recode' && session) {
              const [id] = session;
              const isMoved = [...holds.values()].some(({ moves }) => moves === id);
              const failed = await connection
                .query("update public.sessions set cpt_code = '97152' where id = $1", [id])
                .then(
                  () => null,
                  ({ constraint }) => constraint,
                );
              expect(failed).toBe(isMoved ? 'session_being_moved' : null);
              if (!isMoved)
                await connection.query("update public.sessions set cpt_code = '97153' where id = $1", [id]);
            } else if (what === 'confirm' && hold) {
              const outcome = await alone(arena, confirming(confirmationOf(therapist, client, hold.held)));
              const moved = hold.moves === undefined ? undefined : sessions.get(hold.moves);
              if (moved && moved.status !== 'scheduled') {
                expect(outcome.code).toBe('SESSION_NOT_MOVABLE');
                continue;
              }
              expect(outcome.ok).toBe(true);
              const [booked] = outcome.body.sessions;
              const minutes = (Date.parse(booked.end_time) - Date.parse(booked.start_time)) / 60_000;
              sessions.set(booked.id, { status: 'scheduled', units: minutes / 15 });
              holds.delete(hold.held.holdKey);
            } else if (what === 'release' && hold) {
              await alone(arena, releasing(hold.held.holdKey));
              holds.delete(hold.held.holdKey);
            } else if (what === 'expire' && hold) {
              await expire([hold.held.holdId], client);
              holds.delete(hold.held.holdKey);
            } else if (session && (what === 'cancel' || what === 'miss' || what === 'start')) {
              const [id, known] = session;
              if (what === 'cancel') await alone(arena, cancelling([id]));
              else await beginSession(connection, id, what === 'miss' ? 'no_show' : 'in_progress');
              sessions.set(id, {
                status: what === 'start' ? 'in_progress' : 'ended',
                units: what === 'start' ? known.units : 0,
              });
            } else if (what === 'complete') {
              const begun = [...sessions].find(([, { status }]) => status === 'in_progress');
              if (!begun) continue;
              const [id, known] = begun;
              const others = taken() - known.units;
              await connection.query(
                `update public.session_visits
                  set actual_end_time = actual_start_time + greatest(1, 15 * $2::integer) * interval '1 minute' where session_id = $1`,
                [id, units],
              );
              await connection.query("update public.sessions set status = 'completed' where id = $1", [id]);
              sessions.set(id, { status: 'completed', units: Math.min(units, approved - others) });
            }

            const balance = await balanceOf(connection, client);
            const of = (...statuses: string[]) =>
              total([...sessions.values()].filter(({ status }) => statuses.includes(status)));
            expect(balance).toEqual({
              approved_units: approved,
              used_units: of('completed'),
              scheduled_units: of('scheduled', 'in_progress'),
              held_units: held(),
              left_units: approved - taken(),
            });
            expect(await brokenInvariants(connection, arena.organizationId)).toEqual([]);
          }
        });
      }),
      { numRuns: runs },
    );
  });
});
