/** The reports of units, recomputed in TypeScript from raw rows: visits that begin and end at any second. */
import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import type pg from 'pg';
import { beforeAll, expect, it } from 'vitest';
import { dayUnits, type UnitRounding } from '../../supabase/functions/_shared/units.ts';
import { type Arena, nth, openArena } from '../races/rivals.ts';
import { withConnection } from '../setup/db.ts';

const modes: UnitRounding[] = ['midpoint', 'midpoint_daily', 'floor', 'ceil', 'cms_pooled'];

let arena: Arena;
beforeAll(async () => {
  arena = await openArena(2, modes.length + 1);
});

/** A completed visit: hour of the day it was booked for, and the seconds it really took from there. */
interface Visit {
  client: number;
  therapist: number;
  day: number;
  hour: number;
  late: number;
  seconds: number;
  code: string;
}

const visits = fc.uniqueArray(
  fc.record({
    client: fc.nat(modes.length),
    therapist: fc.nat(1),
    day: fc.integer({ min: 1, max: 3 }),
    hour: fc.integer({ min: 1, max: 20 }),
    late: fc.nat(900),
    seconds: fc.oneof(
      fc.integer({ min: 60, max: 7200 }),
      fc.integer({ min: 2, max: 240 }).map((half) => half * 30),
    ),
    code: fc.constantFrom('97151', '97155', '97156'),
  }),
  // Nobody is in two places: one visit an hour, of all.
  { selector: ({ day, hour }) => `${day}/${hour}`, minLength: 1, maxLength: 40 },
);

/** Enters visits as an operator enters history: those that ran into the next are let. */
async function enter(client: pg.ClientBase, list: Visit[]): Promise<void> {
  const rows = list.map((visit) => {
    const start = Date.UTC(2024, 4, visit.day, visit.hour);
    return {
      ...{ id: randomUUID(), code: visit.code },
      ...{ therapist: nth(arena.therapists, visit.therapist), client: nth(arena.clients, visit.client) },
      ...{ start: new Date(start), end: new Date(start + 3_600_000) },
      ...{
        begun: new Date(start + visit.late * 1000),
        ended: new Date(start + (visit.late + visit.seconds) * 1000),
      },
    };
  });
  const item = `jsonb_to_recordset($2) as item (id uuid, code text, therapist uuid, client uuid, start timestamptz,
    "end" timestamptz, begun timestamptz, ended timestamptz)`;
  const values = [arena.organizationId, JSON.stringify(rows)];
  await client.query(
    `insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code)
      select $1, id, therapist, client, start, "end", 'UTC', code from ${item}`,
    values,
  );
  await client.query(
    `insert into public.session_visits (organization_id, session_id, actual_start_time, actual_end_time, units, overlap_reason)
      select $1, id, begun, ended, 0, 'as it was entered' from ${item}`,
    values,
  );
  for (const status of ['in_progress', 'completed'])
    await client.query(
      `update public.sessions set status = $3 where organization_id = $1 and id in (select id from ${item})`,
      [...values, status],
    );
}

it('units are those of the raw rows, however each payer rounds, once seconds are cut', async () => {
  await withConnection(async (client) => {
    // Who renders is judged by the day, and these visits are of days gone by.
    for (const table of ['therapists', 'therapist_credentials'])
      await client.query(`update public.${table} set credential = 'BCBA' where organization_id = $1`, [
        arena.organizationId,
      ]);
    // The last client has no payer.
    for (const [index, rounding] of modes.entries()) {
      const payer = randomUUID();
      await client.query('insert into public.payers (organization_id, id, name) values ($1, $2, $3)', [
        ...[arena.organizationId, payer, rounding],
      ]);
      await client.query(
        'insert into public.payer_rules (organization_id, payer_id, rounding, valid_from) values ($1, $2, $3, $4)',
        [arena.organizationId, payer, rounding, '2020-01-01'],
      );
      await client.query(
        'insert into public.client_coverages (organization_id, client_id, payer_id, valid_from) values ($1, $2, $3, $4)',
        [arena.organizationId, nth(arena.clients, index), payer, '2020-01-01'],
      );
    }
    await fc.assert(
      fc.asyncProperty(visits, async (list) => {
        await client.query('begin');
        try {
          await enter(client, list);
          const { rows: raw } = await client.query<{
            id: string;
            client_id: string;
            therapist_id: string;
            code: string;
            start_time: Date;
            begun: Date;
            ended: Date;
          }>(
            `select session.id, session.client_id, session.therapist_id, session.cpt_code as code, session.start_time,
              visit.actual_start_time as begun, visit.actual_end_time as ended
            from public.sessions as session
            join public.session_visits as visit on visit.session_id = session.id
            where session.organization_id = $1`,
            [arena.organizationId],
          );
          const expected = dayUnits(
            raw.map((row) => ({
              ...{ sessionId: row.id, clientId: row.client_id, therapistId: row.therapist_id },
              ...{
                date: row.start_time.toISOString().slice(0, 10),
                code: row.code,
                startTime: row.start_time,
              },
              minutes: (row.ended.getTime() - row.begun.getTime()) / 60_000,
              rounding: modes[arena.clients.indexOf(row.client_id)] ?? 'midpoint',
            })),
          );
          const { rows: lines } = await client.query<{ session_id: string; units: number }>(
            'select session_id, units from reports.billable_visits where organization_id = $1 order by session_id',
            [arena.organizationId],
          );
          expect(lines.map(({ session_id, units }) => [session_id, units])).toEqual(
            [...expected].sort(([a], [b]) => (a < b ? -1 : 1)),
          );
          const { rows: sums } = await client.query(
            'select sum(units)::integer as units, sum(sessions)::integer as sessions from reports.units_by_code_and_payer where organization_id = $1',
            [arena.organizationId],
          );
          expect(sums).toEqual([
            { units: [...expected.values()].reduce((sum, units) => sum + units, 0), sessions: raw.length },
          ]);
          // What the ledger is told of one client's day is the same.
          const { rows: days } = await client.query<{ session_id: string; units: number }>(
            `select day.session_id, day.units
            from (select distinct client_id, service_date from reports.billable_visits where organization_id = $1) as visit
            cross join lateral private.visit_units($1, array[visit.client_id], array[visit.service_date]) as day order by 1`,
            [arena.organizationId],
          );
          expect(days).toEqual(lines);
        } finally {
          await client.query('rollback');
        }
      }),
      { numRuns: 25 },
    );
  });
});
