/**
 * A year of a clinic: visits of several payers, a code that gives way to another on 1 January, corrections, a coverage that
 * is entered late. At its end the ledger and the report say what counting the raw rows by other means says, to the unit.
 *
 * `npm test` has a small clinic; `YEAR_VISITS=10000 npx vitest run tests/clinical/a-year.test.ts` a whole one.
 */
import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { addClinic, members } from '../setup/clinics.ts';
import { connect } from '../setup/db.ts';
import { brokenInvariants } from '../setup/invariants.ts';

const VISITS = Number(process.env.YEAR_VISITS ?? 480);
const ZONE = 'America/New_York';
const TIMEOUT = { timeout: 60_000 + VISITS * 120 };
/** Clients of a therapist: each has two hours of the day, and a visit in each. */
const SLOTS = 4;
const CLIENTS = Math.max(SLOTS * 3, Math.round(VISITS / 100));
const MINUTE = 60_000;

/** Numbers at random, the same in every run. */
function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) | 0;
    return Math.floor(((state >>> 0) / 2 ** 32) * below);
  };
}
const chance = random(7);

/** Working days from July 2025 to June 2026. */
const days = Array.from({ length: 365 }, (_, day) => new Date(Date.UTC(2025, 6, 1 + day)))
  .filter((day) => day.getUTCDay() % 6 !== 0)
  .map((day) => day.toISOString().slice(0, 10));

const clinic = randomUUID();
const admin = randomUUID();
const therapists = Array.from({ length: Math.ceil(CLIENTS / SLOTS) }, () => randomUUID());
const clients = Array.from({ length: CLIENTS }, () => randomUUID());
const payers = { daily: randomUUID(), floor: randomUUID(), each: randomUUID() };
const payerIds = Object.values(payers);
const at = <T>(list: readonly T[], index: number): T => list[index % list.length] as T;

let db: pg.Client;
beforeAll(async () => {
  db = await connect();
});
afterAll(() => db.end());

const run = (text: string, ...values: unknown[]) => db.query(text, [clinic, ...values]);
async function inChunks<T>(items: readonly T[], each: (chunk: T[]) => Promise<unknown>): Promise<void> {
  for (let from = 0; from < items.length; from += 400) await each(items.slice(from, from + 400));
}

/** Calls a function as the clinic's admin. */
async function asAdmin(
  text: string,
  request: object,
): Promise<{ ok: boolean; code?: string; body: { recodedCount?: number } }> {
  await db.query('begin');
  try {
    await db.query(
      "select set_config('request.jwt.claims', $1, true), set_config('role', 'authenticated', true)",
      [JSON.stringify({ sub: admin, role: 'authenticated', org_id: clinic })],
    );
    const { rows } = await db.query(`select ${text} as outcome`, [JSON.stringify(request)]);
    return rows[0].outcome;
  } finally {
    await db.query('commit');
  }
}

interface Planned {
  id: string;
  client: number;
  date: string;
  hour: number;
  code: string;
}

describe('a year', TIMEOUT, () => {
  const planned: Planned[] = clients.flatMap((_, client) => {
    const order = days.map((date) => ({ date, rank: chance(1_000_000) })).sort((a, b) => a.rank - b.rank);
    return order.slice(0, Math.round(VISITS / CLIENTS / 2)).flatMap(({ date }) =>
      [0, 1].map((visit) => ({
        id: randomUUID(),
        ...{ client, date, hour: 8 + (client % SLOTS) * 2 + visit },
        code: at(['97153', '97153', '97155', 'H2019'], chance(4)),
      })),
    );
  });

  it('is booked, recoded, rendered and corrected', async () => {
    await addClinic(db, {
      id: clinic,
      time_zone: ZONE,
      memberships: [...members('super_admin', [admin]), ...members('therapist', therapists)],
      therapists: therapists.map((id) => ({ id, credential: 'BCBA' })),
      clients: clients.map((id) => ({ id })),
      payers: payerIds.map((id) => ({ id })),
      payer_rules: [
        { payer_id: payers.daily, rounding: 'midpoint_daily' },
        { payer_id: payers.floor, rounding: 'floor' },
        { payer_id: payers.each, rounding: 'midpoint' },
      ],
      payer_code_rules: [{ payer_id: payers.floor, cpt_code: '97155', rounding: 'ceil' }],
      // Insurance changes at New Year for some, in the middle of March for others.
      client_coverages: clients.flatMap((client_id, index) => {
        const changes = at([null, '2026-01-01', '2026-03-15'], index);
        const first = { client_id, payer_id: at(payerIds, index), valid_from: '2025-01-01' };
        if (changes === null) return [first];
        const ends = new Date(Date.parse(changes) - 86_400_000).toISOString().slice(0, 10);
        return [
          { ...first, valid_to: ends },
          { client_id, payer_id: at(payerIds, index + 1), valid_from: changes },
        ];
      }),
    });
    await run(
      `insert into public.service_codes (organization_id, code, description, levels, unit_minutes, valid_from)
        values ($1, 'H2019', 'Skills', '{qhp}', 30, '2020-01-01')`,
    );
    // Of each payer a small authorization that ends at the end of the year, and a large supplemental one beside it.
    await run(
      `with granted as (
          insert into public.authorizations (organization_id, client_id, payer_id, approved_units, starts_on, ends_on)
          select $1, coverage.client_id, coverage.payer_id, size.units, date '2025-01-01', size.ends_on
          from public.client_coverages as coverage
          cross join (values (25, date '2025-12-31'), (40, date '2026-06-30'), (5000, date '2026-12-31')) as size (units, ends_on)
          where coverage.organization_id = $1
          returning organization_id, id
        )
        insert into public.authorization_codes (organization_id, authorization_id, cpt_code)
        select organization_id, id, code from granted cross join unnest(array['97153', '97155']) as code`,
    );
    await run(
      `insert into public.unit_limits (organization_id, payer_id, cpt_codes, period, max_units)
        select $1, id, '{97153,97155}', 'week', 200 from unnest($2::uuid[]) as id`,
      payerIds,
    );
    const insert = (rows: Planned[]) =>
      run(
        `insert into public.sessions (
            organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code, location_type
          )
          select $1, id, therapist, client, starts, starts + interval '45 minutes', $6, code, 'clinic'
          from unnest($2::uuid[], $3::uuid[], $4::uuid[], $5::timestamp[], $7::text[])
            as planned (id, therapist, client, civil, code)
          cross join lateral (select civil at time zone $6::text as starts) as instant`,
        rows.map(({ id }) => id),
        rows.map(({ client }) => at(therapists, Math.floor(client / SLOTS))),
        rows.map(({ client }) => at(clients, client)),
        rows.map(({ date, hour }) => `${date} ${String(hour).padStart(2, '0')}:00`),
        ZONE,
        rows.map(({ code }) => code),
      );
    await inChunks(planned, insert);

    // On 1 January a code gives way to another, under sessions that are booked already.
    await run(
      "update public.service_codes set valid_to = '2025-12-31' where organization_id = $1 and code = 'H2019'",
    );
    await run(
      `insert into public.service_codes (organization_id, code, description, levels, unit_minutes, valid_from)
        values ($1, 'H2020', 'Skills', '{qhp}', 15, '2026-01-01')`,
    );
    const beyond = planned.filter(({ code, date }) => code === 'H2019' && date >= '2026-01-01');
    expect(beyond.length).toBeGreaterThan(0);
    await inChunks(beyond, async (chunk) => {
      const request = { session_ids: chunk.map(({ id }) => id), cpt_code: 'H2020' };
      expect(await asAdmin('public.recode_sessions($1)', request)).toMatchObject({
        ...{ ok: true, body: { recodedCount: chunk.length } },
      });
    });

    // Visits begin up to nine minutes late and last from five minutes to three quarters of an hour.
    await inChunks(planned, async (chunk) => {
      const ids = chunk.map(({ id }) => id);
      await run(
        "update public.sessions set status = 'in_progress' where organization_id = $1 and id = any ($2)",
        ids,
      );
      await run(
        `insert into public.session_visits (organization_id, session_id, actual_start_time, actual_end_time)
          select $1, session.id, session.start_time + late * interval '1 minute',
            session.start_time + (late + minutes) * interval '1 minute'
          from unnest($2::uuid[], $3::integer[], $4::integer[]) as visit (id, late, minutes)
          join public.sessions as session on session.organization_id = $1 and session.id = visit.id`,
        ids,
        ids.map(() => chance(10)),
        ids.map(() => 5 + chance(41)),
      );
      await run(
        "update public.sessions set status = 'completed' where organization_id = $1 and id = any ($2)",
        ids,
      );
    });

    // One visit in twenty was recorded wrong: too long, or as another code.
    const wrong = planned.filter((_, index) => index % 20 === 0);
    for (const [index, { id, date, hour, code }] of wrong.entries()) {
      const { rows } = await run(
        'select start_time from public.sessions where organization_id = $1 and id = $2',
        id,
      );
      const begin = rows[0].start_time.getTime();
      const isTreatment = code === '97153';
      const correction =
        index % 2 === 0 && isTreatment
          ? { cpt_code: '97155', reason_code: 'wrong_service' }
          : {
              actual_start_time: new Date(begin + 10 * MINUTE).toISOString(),
              actual_end_time: new Date(begin + (18 + chance(37)) * MINUTE).toISOString(),
              reason_code: 'wrong_time',
            };
      const outcome = await asAdmin('public.correct_visit($1)', {
        session_id: id,
        base_version: 1,
        ...correction,
      });
      expect(outcome, `${date} ${hour}:00`).toMatchObject({ ok: true });
    }

    // The clinic learns late that a client was with another payer since May: what is completed is counted anew.
    const late = clients.filter((_, index) => index % 3 === 2);
    await run(
      `update public.client_coverages set valid_to = '2026-04-30'
        where organization_id = $1 and client_id = any ($2) and valid_to is null`,
      late,
    );
    await run(
      `insert into public.client_coverages (organization_id, client_id, payer_id, valid_from)
        select $1, id, $3, '2026-05-01' from unnest($2::uuid[]) as id`,
      late,
      payers.floor,
    );
  });

  it('may learn late how a payer rounds', async () => {
    await run(
      "update public.payer_rules set valid_to = '2026-01-31' where organization_id = $1 and payer_id = $2",
      payers.each,
    );
    await run(
      `insert into public.payer_rules (organization_id, payer_id, rounding, valid_from) values ($1, $2, 'ceil', '2026-02-01')`,
      payers.each,
    );
  });

  it('ends with a ledger and a report that say what the raw rows say', async () => {
    const { rows: visits } = await run(
      `select session.id, session.client_id as client, session.therapist_id as therapist, session.cpt_code as code,
          visit.actual_start_time as begun, visit.actual_end_time as ended
        from public.sessions as session
        join public.session_visits as visit on visit.organization_id = session.organization_id and visit.session_id = session.id
        where session.organization_id = $1 and session.status = 'completed'`,
    );
    expect(visits.length).toBe(planned.length);
    const { rows: coverages } = await run(
      `select client_id as client, payer_id as payer, valid_from::text as since, coalesce(valid_to::text, '9999') as until
        from public.client_coverages where organization_id = $1`,
    );
    const dayOf = new Intl.DateTimeFormat('en-CA', { timeZone: ZONE, dateStyle: 'short' });
    const units = (minutes: number, mode: string, unit: number) =>
      mode === 'ceil'
        ? Math.ceil(minutes / unit)
        : Math.floor((minutes + (mode === 'floor' ? 0 : unit === 15 ? 7 : 14)) / unit);
    const lines = visits.map((visit) => {
      const date = dayOf.format(visit.begun);
      const payer = coverages.find(
        ({ client, since, until }) => client === visit.client && since <= date && date <= until,
      )?.payer;
      const minutes = (visit.ended - visit.begun) / MINUTE;
      return { ...visit, date, payer, minutes, unit: visit.code === 'H2019' ? 30 : 15 };
    });
    /** Units by month, payer and code: by the day where the payer says so, else each visit by itself. */
    const expected = new Map<string, number>();
    const add = ({ date, payer, code }: (typeof lines)[number], more: number) => {
      const key = [date.slice(0, 7), payer, code].join(' ');
      expected.set(key, (expected.get(key) ?? 0) + more);
    };
    const daily = Map.groupBy(
      lines.filter(({ payer }) => payer === payers.daily),
      ({ client, therapist, date, code }) => [client, therapist, date, code].join(' '),
    );
    for (const day of daily.values()) {
      const [first] = day;
      add(
        first,
        units(
          day.reduce((sum, { minutes }) => sum + minutes, 0),
          'midpoint',
          first.unit,
        ),
      );
    }
    for (const line of lines)
      if (line.payer === payers.floor)
        add(line, units(line.minutes, line.code === '97155' ? 'ceil' : 'floor', line.unit));
      else if (line.payer === payers.each)
        add(line, units(line.minutes, line.date < '2026-02-01' ? 'midpoint' : 'ceil', line.unit));
    const sorted = (entries: Iterable<readonly [string, number]>) => [...entries].sort();
    const nonZero = sorted([...expected].filter(([, sum]) => sum > 0));

    const { rows: reported } = await run(
      `select to_char(report.month, 'YYYY-MM') || ' ' || payer.id || ' ' || report.cpt_code as key, report.units
        from reports.units_by_code_and_payer as report
        join public.payers as payer on payer.organization_id = report.organization_id and payer.name = report.payer_name
        where report.organization_id = $1 and report.units > 0`,
    );
    expect(sorted(reported.map(({ key, units: sum }) => [key, sum] as const))).toEqual(nonZero);

    const { rows: entered } = await run(
      `select to_char(service_date, 'YYYY-MM') || ' ' || payer_id || ' ' || cpt_code as key, sum(total_units)::integer as units
        from public.authorization_units where organization_id = $1 and state = 'used' group by 1 having sum(total_units) > 0`,
    );
    expect(sorted(entered.map(({ key, units: sum }) => [key, sum] as const))).toEqual(nonZero);
  });

  it('and no unit is taken twice, from a payer who does not cover the day, or of another code', async () => {
    expect(await brokenInvariants(db, clinic)).toEqual([]);
    const { rows } = await run(
      `select entry.owner_id, entry.service_date, entry.cpt_code
        from public.authorization_units as entry
        join public.authorizations as approval
          on approval.organization_id = entry.organization_id and approval.id = entry.authorization_id
        where entry.organization_id = $1 and not (
          entry.service_date between approval.starts_on and approval.ends_on
          and exists (
            select from public.authorization_codes as granted
            where granted.authorization_id = approval.id and granted.cpt_code = entry.cpt_code
          )
          and exists (
            select from public.client_coverages as coverage
            where coverage.client_id = entry.client_id and coverage.payer_id = approval.payer_id
              and entry.service_date between coverage.valid_from and coalesce(coverage.valid_to, 'infinity')
          )
        )`,
    );
    expect(rows).toEqual([]);
    const { rows: split } = await run(
      'select count(distinct owner_id)::integer as visits from public.authorization_units where organization_id = $1 and part > 0',
    );
    expect(split[0].visits).toBeGreaterThan(0);
  });
});
