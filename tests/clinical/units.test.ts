/** Units mean the same in TypeScript, in SQL and in the reports: tables of cases, and days at random. */
import fc from 'fast-check';
import type pg from 'pg';
import { describe, expect, it } from 'vitest';
import cases from '../../supabase/functions/_shared/units.cases.json' with { type: 'json' };
import {
  billableUnits,
  dayUnits,
  poolUnits,
  type RenderedService,
  type UnitRounding,
} from '../../supabase/functions/_shared/units.ts';
import { withConnection } from '../setup/db.ts';

const modes = [
  'midpoint',
  'midpoint_daily',
  'floor',
  'ceil',
  'cms_pooled',
] as const satisfies readonly UnitRounding[];

/** One client's and provider's day: services of these minutes, one after the other. */
function dayOf(services: [string, number][], rounding: UnitRounding): RenderedService[] {
  return services.map(([code, minutes], index) => ({
    sessionId: `00000000-0000-4000-8000-${String(index).padStart(12, '0')}`,
    clientId: '00000000-0000-4000-8000-00000000000c',
    therapistId: '00000000-0000-4000-8000-00000000000d',
    date: '2026-12-01',
    startTime: new Date(Date.UTC(2026, 11, 1, 8 + index)),
    ...{ code, minutes, rounding },
  }));
}

async function unitsInSql(minutes: number[], rounding: UnitRounding): Promise<number[]> {
  return withConnection(async (client) => {
    const { rows } = await client.query(
      `select private.billable_units(minutes, $2) as units
        from unnest($1::numeric[]) with ordinality as item (minutes, position) order by position`,
      [minutes, rounding],
    );
    return rows.map(({ units }) => units);
  });
}

async function dayInSql(client: pg.ClientBase, services: RenderedService[]): Promise<Map<string, number>> {
  const { rows } = await client.query(
    `select session_id, units from private.day_units(array(
      select row(session_id, client_id, therapist_id, date, null, code, start_time, floor(minutes), rounding, unit_minutes)
        ::private.rendered_service
      from jsonb_to_recordset($1) as service (session_id uuid, client_id uuid, therapist_id uuid, date date, code text,
        start_time timestamptz, minutes numeric, rounding public.unit_rounding, unit_minutes integer)
    )) order by session_id`,
    [
      JSON.stringify(
        services.map((each) => ({
          ...{ session_id: each.sessionId, client_id: each.clientId, therapist_id: each.therapistId },
          ...{ date: each.date, code: each.code, start_time: each.startTime, minutes: each.minutes },
          ...{ rounding: each.rounding, unit_minutes: each.unitMinutes ?? 15 },
        })),
      ),
    ],
  );
  return new Map(rows.map(({ session_id, units }) => [session_id, units]));
}

const bySession = (units: Map<string, number>) => [...units].sort(([a], [b]) => (a < b ? -1 : 1));

describe.each(modes)('minutes rounded by %s', (rounding) => {
  const minutes = cases.sessions.map((each) => each.minutes);
  const units = cases.sessions.map((each) => each[rounding]);
  it('in TypeScript', () => {
    expect(minutes.map((each) => billableUnits(each, rounding))).toEqual(units);
  });
  it('in SQL', async () => {
    expect(await unitsInSql(minutes, rounding)).toEqual(units);
  });
});

describe('a day that is pooled', () => {
  it.each(cases.pooled)('by code: $services', async ({ services, units }) => {
    const listed = (services as [string, number][]).map(([code, minutes]) => ({ code, minutes }));
    expect(poolUnits(listed)).toEqual(Object.fromEntries(units));
    const day = dayOf(services as [string, number][], 'cms_pooled');
    const shares = await withConnection((client) => dayInSql(client, day));
    const byCode: Record<string, number> = {};
    for (const { code, sessionId } of day)
      byCode[code] = (byCode[code] ?? 0) + (shares.get(sessionId) ?? Number.NaN);
    expect(byCode).toEqual(Object.fromEntries(units));
  });
});

describe('the visits of a day share its units', () => {
  it.each(cases.shares)('by $rounding: $services', async ({ services, units, rounding }) => {
    const day = dayOf(services as [string, number][], rounding as UnitRounding);
    const inOrder = (shares: Map<string, number>) => day.map(({ sessionId }) => shares.get(sessionId));
    expect(inOrder(dayUnits(day))).toEqual(units);
    expect(inOrder(await withConnection((client) => dayInSql(client, day)))).toEqual(units);
  });

  const service = fc.record({
    client: fc.nat(1),
    therapist: fc.nat(1),
    day: fc.nat(1),
    code: fc.constantFrom('97153', '97155', '97156', 'H2019'),
    hour: fc.nat(3),
    /** Seconds, half minutes among them. */
    seconds: fc.oneof(
      fc.nat(4 * 3600),
      fc.nat(480).map((half) => half * 30),
    ),
    unitMinutes: fc.constantFrom(15, 15, 15, 30, 60),
  });
  const id = (kind: number, number: number) =>
    `0000000${kind}-0000-4000-8000-${String(number).padStart(12, '0')}`;
  const days = fc
    .tuple(fc.constantFrom(...modes), fc.array(service, { maxLength: 14 }))
    .map(([rounding, services]): RenderedService[] =>
      services.map((each, index) => ({
        ...{ sessionId: id(1, index), clientId: id(2, each.client), therapistId: id(3, each.therapist) },
        ...{
          date: `2026-12-0${each.day + 1}`,
          startTime: new Date(Date.UTC(2026, 11, each.day + 1, each.hour)),
        },
        ...{ code: each.code, minutes: each.seconds / 60, rounding, unitMinutes: each.unitMinutes },
      })),
    );

  it('alike in TypeScript and in SQL, at random', async () => {
    await withConnection((client) =>
      fc.assert(
        fc.asyncProperty(days, async (services) => {
          expect(bySession(await dayInSql(client, services))).toEqual(bySession(dayUnits(services)));
        }),
        { numRuns: 200 },
      ),
    );
  });

  it('none is negative, and midpoint_daily and cms_pooled add up to the day’s', () => {
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom('97153', '97155'), fc.nat(90)), { maxLength: 8 }),
        (list) => {
          const shares = [...dayUnits(dayOf(list, 'cms_pooled')).values()];
          expect(Math.min(0, ...shares)).toBe(0);
          expect(shares.reduce((sum, each) => sum + each, 0)).toBe(
            billableUnits(list.reduce((sum, [, minutes]) => sum + minutes, 0)),
          );
          const one = list.map(([, minutes]): [string, number] => ['97153', minutes]);
          const daily = [...dayUnits(dayOf(one, 'midpoint_daily')).values()];
          expect(Math.min(0, ...daily)).toBe(0);
          expect(daily.reduce((sum, each) => sum + each, 0)).toBe(
            billableUnits(list.reduce((sum, [, minutes]) => sum + minutes, 0)),
          );
        },
      ),
    );
  });
});
