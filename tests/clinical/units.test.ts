/** Units mean the same in TypeScript and in SQL: one table of cases, and days at random. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import cases from '../../supabase/functions/_shared/units.cases.json' with { type: 'json' };
import { billableUnits, poolUnits, type UnitRounding } from '../../supabase/functions/_shared/units.ts';
import { withConnection } from '../setup/db.ts';

const modes = ['midpoint', 'floor', 'ceil', 'cms_pooled'] as const satisfies readonly UnitRounding[];

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

async function daysInSql(days: [string, number][][]): Promise<[string, number][][]> {
  return withConnection(async (client) => {
    const found: [string, number][][] = [];
    for (const day of days) {
      const { rows } = await client.query('select code, units from private.pool_units($1, $2)', [
        day.map(([code]) => code),
        day.map(([, minutes]) => minutes),
      ]);
      found.push(rows.map(({ code, units }) => [code, units]));
    }
    return found;
  });
}

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
  const days = cases.days.map((day) => day.services as [string, number][]);
  it.each(cases.days)('in TypeScript: $services', ({ services, units }) => {
    const pooled = poolUnits(
      services.map(([code, minutes]) => ({ code: `${code}`, minutes: Number(minutes) })),
    );
    expect(pooled).toEqual(Object.fromEntries(units));
  });
  it('in SQL', async () => {
    expect(await daysInSql(days)).toEqual(cases.days.map((day) => day.units));
  });
  it('is the same in both, at random', async () => {
    const day = fc.array(fc.tuple(fc.constantFrom('97153', '97155', '97156', 'H2019'), fc.nat(200)), {
      minLength: 1,
      maxLength: 8,
    });
    const sample = fc.sample(day, 100);
    expect((await daysInSql(sample)).map((units) => Object.fromEntries(units))).toEqual(
      sample.map((services) => poolUnits(services.map(([code, minutes]) => ({ code, minutes })))),
    );
  });
});
