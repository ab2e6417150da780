/** No call costs more than n log n in the size of its request, its day, its ledger or its calendar. */
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  type Appointment,
  adminId,
  at,
  book,
  clientId,
  createClinic,
  midnight,
  organizationId,
  therapistId,
  workingDays,
} from '../../bench/clinic.ts';
import { mustSucceed, rpc } from '../../bench/measure.ts';
import { CODE, confirmRequest, holdRequest, sessionIds } from '../../bench/requests.ts';
import type { Stack } from '../../local/stack.ts';
import {
  ExplainedConnection,
  fasterThanNLogN,
  moreThan,
  SMALL_CALLS,
  total,
  type Work,
  workOfOneBooking,
} from './plans.ts';
import { startQuietStack, withOwner } from './quiet-stack.ts';

const ORGANIZATION = 70;
const THERAPISTS = 30;
const CLINIC = { therapists: THERAPISTS, clientsPerTherapist: 8, withPayer: 4 };
/** A tenth as large. */
const SMALL_ORGANIZATION = 71;
const SMALL_CLINIC = { ...CLINIC, therapists: 3 };
const HALF_HOUR = 30 * 60_000;

const SERIES = [26, 52, 104, 208];
const DAYS = [50, 100, 200];
const LEDGERS = [25, 50, 100, 200];
const CALENDARS = [75, 150, 300, 600];
/** Therapists by what they are for: the first ones for series, then one for each ledger and each calendar. */
const LEDGER_THERAPIST = (index: number): number => 10 + index;
const CALENDAR_THERAPIST = (index: number): number => 14 + index;
const PAYER_CLIENT = 0;
const PLAIN_CLIENT = 4;

let stack: Stack;
let connection: ExplainedConnection;

beforeAll(async () => {
  stack = await startQuietStack();
  await withOwner(stack, async (db) => {
    await createClinic(db, ORGANIZATION, CLINIC);
    await createClinic(db, SMALL_ORGANIZATION, SMALL_CLINIC);
    const booked: Appointment[] = [
      ...LEDGERS.flatMap((entries, index) => workingDays(LEDGER_THERAPIST(index), [0], -28, entries)),
      // Clients without a payer, so that the calendar is long and no ledger is.
      ...CALENDARS.flatMap((sessions, index) =>
        workingDays(CALENDAR_THERAPIST(index), [PLAIN_CLIENT], 1, sessions),
      ),
    ];
    await book(db, ORGANIZATION, booked);
    // Each was held once: of tables that are empty, any index looks as good as any other.
    await db.query(
      `with batch as (
          insert into public.hold_batches (organization_id, id, therapist_id, time_zone, expires_at, created_by, created_at)
          select organization_id, gen_random_uuid(), therapist_id, 'UTC', now(), $2, now() - interval '1 minute'
          from public.sessions where organization_id = $1
          returning organization_id, id
        ),
        numbered as (select *, row_number() over (order by id) from batch)
      insert into public.session_holds (
        organization_id, id, batch_id, occurrence_index, hold_key, client_id, start_time, end_time, time_zone, civil_start, lanes,
        status, settled_at, settled_xid
      )
      select session.organization_id, session.id, numbered.id, 0, gen_random_uuid(), session.client_id, session.start_time,
        session.end_time, 'UTC', session.civil_start, session.lanes, 'confirmed', now(), pg_current_xact_id()
      from (
        select *, row_number() over (order by id) from public.sessions where organization_id = $1
      ) as session
      join numbered using (row_number)`,
      [organizationId(ORGANIZATION), adminId(ORGANIZATION)],
    );
    await db.query('analyze');
  });
  connection = await ExplainedConnection.open(ORGANIZATION, stack.dbPort);
});

afterAll(async () => {
  await connection?.end();
  await stack?.stop();
});

/** Work of the same call at several sizes, on a connection that has made small ones before. */
async function measure(
  sizes: number[],
  call: (client: pg.Client, size: number, turn: number) => Promise<unknown>,
  small = 1,
): Promise<{ size: number; work: Work }[]> {
  for (let turn = 0; turn < SMALL_CALLS; turn++)
    await connection.count((client) => call(client, small, turn));
  const measured: { size: number; work: Work }[] = [];
  for (const [index, size] of sizes.entries()) {
    const { work } = await connection.count((client) => call(client, size, SMALL_CALLS + index));
    measured.push({ size, work });
  }
  return measured;
}

/** A daily series of half hours at night, which nobody else books; each turn has an hour and a therapist of its own. */
const nightly = (occurrences: number, turn: number) =>
  holdRequest(
    ORGANIZATION,
    {
      therapist: turn % 10,
      client: PAYER_CLIENT,
      start: at(7, Math.floor(turn / 10) * 30),
      end: at(7, Math.floor(turn / 10) * 30) + HALF_HOUR,
    },
    { occurrences, stepDays: 1, cpt_code: CODE },
  );

describe('a series', () => {
  /** What earlier calls have left to be confirmed, cancelled or refused, by size and turn. */
  const held = new Map<
    string,
    { request: ReturnType<typeof nightly>; body: Awaited<ReturnType<typeof mustSucceed>> }
  >();
  const made = new Map<string, string[]>();
  const seriesIds = new Map<string, string>();
  const nameOf = (size: number, turn: number) => `${size} ${turn}`;

  it('is held', async () => {
    const measured = await measure(SERIES, async (client, size, turn) => {
      const request = nightly(size, turn);
      held.set(nameOf(size, turn), { request, body: await mustSucceed(client, 'hold_sessions', request) });
    });
    expect(fasterThanNLogN(measured)).toEqual([]);
  });

  it('is confirmed', async () => {
    const measured = await measure(SERIES, async (client, size, turn) => {
      const hold = held.get(nameOf(size, turn));
      if (!hold) throw new Error('nothing was held');
      const request = confirmRequest(hold.request, hold.body);
      const body = await mustSucceed(client, 'confirm_sessions', request);
      made.set(nameOf(size, turn), sessionIds(body));
      seriesIds.set(nameOf(size, turn), body.session?.series_id ?? '');
    });
    expect(fasterThanNLogN(measured)).toEqual([]);
  });

  it('is changed whole', async () => {
    const measured = await measure(SERIES, async (client, size, turn) => {
      await client.query('begin');
      const series_id = seriesIds.get(nameOf(size, turn));
      // A session that was booked alone is no series.
      if (series_id) {
        const series = { series_id, scope: 'all', change: { duration_minutes: 20 } };
        await mustSucceed(client, 'hold_sessions', { series });
      }
      await client.query('rollback');
    });
    expect(fasterThanNLogN(measured)).toEqual([]);
  });

  it('goes on', async () => {
    const recurrence = { rule: 'FREQ=DAILY', count: 2 };
    let series_id = '';
    await connection.count(async (client) => {
      const request = { ...nightly(2, 60), recurrence };
      const body = await mustSucceed(client, 'hold_sessions', request);
      const booked = await mustSucceed(client, 'confirm_sessions', confirmRequest(request, body));
      series_id = booked.session?.series_id ?? '';
    });
    const measured = await measure(SERIES, async (client, size) => {
      await client.query('begin');
      await mustSucceed(client, 'extend_series', { series_id, count: size });
      await client.query('rollback');
    });
    expect(fasterThanNLogN(measured)).toEqual([]);
  });

  it.each(['hold_sessions', 'find_alternatives', 'preview_series'])('is in the way of %s', async (name) => {
    const measured = await measure(SERIES, async (client, size, turn) => {
      const outcome = await rpc(client, name, nightly(size, turn));
      if (name === 'hold_sessions') expect(outcome.ok).toBe(false);
    });
    expect(fasterThanNLogN(measured)).toEqual([]);
  });

  it('is cancelled by its ids', async () => {
    const measured = await measure(SERIES, (client, size, turn) =>
      mustSucceed(client, 'cancel_sessions', { session_ids: made.get(nameOf(size, turn)) }),
    );
    expect(fasterThanNLogN(measured)).toEqual([]);
  });
});

describe('rows written directly', () => {
  const insert = (client: pg.Client, size: number, turn: number) =>
    client.query({
      name: 'insert',
      text: `
        insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone, session_type)
        select $1, $2, $3, at, at + interval '30 minutes', 'UTC', 'individual'
        from unnest($4::timestamptz[]) as at`,
      values: [
        organizationId(ORGANIZATION),
        therapistId(ORGANIZATION, turn % 10),
        clientId(ORGANIZATION, turn % 10, 0),
        nights(size, turn),
      ],
    });
  const nights = (size: number, turn: number): Date[] =>
    Array.from({ length: size }, (_, day) => new Date(at(7 + day, 240 + Math.floor(turn / 10) * 30)));

  it('are inserted', async () => {
    const measured = await measure(SERIES, async (client, size, turn) => {
      await client.query('begin');
      await insert(client, size, turn);
      await client.query('rollback');
    });
    expect(fasterThanNLogN(measured)).toEqual([]);
  });

  it('are moved by half an hour', async () => {
    const measured = await measure(SERIES, async (client, size, turn) => {
      await client.query('begin');
      await insert(client, size, turn);
      await client.query({
        name: 'move',
        text: `
          update public.sessions set start_time = start_time + interval '30 minutes', end_time = end_time + interval '30 minutes'
          where organization_id = $1 and therapist_id = $2 and start_time = any ($3)`,
        values: [organizationId(ORGANIZATION), therapistId(ORGANIZATION, turn % 10), nights(size, turn)],
      });
      await client.query('rollback');
    });
    expect(fasterThanNLogN(measured)).toEqual([]);
  });
});

it('a clinic’s day is cancelled', async () => {
  const FIRST_DAY = 300;
  const days = [...Array.from({ length: SMALL_CALLS }, () => 1), ...DAYS];
  await withOwner(stack, async (db) => {
    for (const [index, sessions] of days.entries())
      await book(
        db,
        ORGANIZATION,
        Array.from({ length: sessions }, (_, number) => {
          const slot = Math.floor(number / THERAPISTS);
          const start = at(FIRST_DAY + index, slot * 30);
          return { therapist: number % THERAPISTS, client: slot % 8, start, end: start + HALF_HOUR };
        }),
      );
    await db.query('analyze');
  });
  const measured = await measure(DAYS, async (client, size, turn) => {
    const date = new Date(midnight(FIRST_DAY + turn)).toISOString().slice(0, 10);
    const { summary } = await mustSucceed(client, 'cancel_sessions', {
      date,
      time_zone: 'UTC',
      all_therapists: true,
    });
    expect(summary?.cancelledCount).toBe(size);
  });
  expect(fasterThanNLogN(measured)).toEqual([]);
});

describe('one booking reads no more, however much there is already:', () => {
  const payer = { client: PAYER_CLIENT, service: { cpt_code: CODE } };
  const plain = { client: PLAIN_CLIENT, service: {} };
  const last = <T>(items: readonly T[]): number => items.length - 1;

  it.each([
    [
      'in the ledger',
      { organization: ORGANIZATION, therapist: LEDGER_THERAPIST(0), ...payer },
      { organization: ORGANIZATION, therapist: LEDGER_THERAPIST(last(LEDGERS)), ...payer },
    ],
    [
      'in the calendar',
      { organization: ORGANIZATION, therapist: CALENDAR_THERAPIST(0), ...plain },
      { organization: ORGANIZATION, therapist: CALENDAR_THERAPIST(last(CALENDARS)), ...plain },
    ],
    [
      'in the clinic',
      { organization: SMALL_ORGANIZATION, therapist: 0, ...payer },
      { organization: ORGANIZATION, therapist: 0, ...payer },
    ],
  ])('%s', async (_, few, many) => {
    const before = await workOfOneBooking(few.organization, { ...few, port: stack.dbPort }, few.service);
    const after = await workOfOneBooking(many.organization, { ...many, port: stack.dbPort }, many.service);
    expect(moreThan(1.1, before, after)).toEqual([]);
  });
});

it('open slots are found in a longer time, in a full calendar', async () => {
  const measured = await measure([7, 14, 28, 56], (client, days) =>
    client.query({
      name: 'slots',
      text: 'select * from public.find_open_slots($1, $2, $3, 60, $4)',
      values: [
        therapistId(ORGANIZATION, CALENDAR_THERAPIST(CALENDARS.length - 1)),
        new Date(midnight(8)),
        new Date(midnight(8 + days)),
        clientId(ORGANIZATION, CALENDAR_THERAPIST(CALENDARS.length - 1), 0),
      ],
    }),
  );
  expect(fasterThanNLogN(measured)).toEqual([]);
});

it('time off is entered without reading the calendars of others', async () => {
  const request = {
    therapist_id: therapistId(ORGANIZATION, 0),
    start_time: new Date(midnight(8)).toISOString(),
    end_time: new Date(midnight(15)).toISOString(),
  };
  const [measured] = await measure([1], (client) => mustSucceed(client, 'add_time_off', request));
  expect(total(measured?.work ?? new Map())).toBeLessThan(300);
});

it('the problems of a longer schedule are found', async () => {
  const measured = await measure(CALENDARS, async (client, sessions) => {
    // The view is of all that is to come; of some of it, only its owner may ask.
    await client.query('reset role');
    await client.query({
      name: 'problems',
      text: `
        select found.problem from private.schedule_problems($1, array(
          select session.id from public.sessions as session
          where session.organization_id = $1 and session.start_time > now() and session.status = 'scheduled'
          order by session.start_time, session.id limit $2
        )) as found`,
      values: [organizationId(ORGANIZATION), sessions],
    });
    await client.query('set role authenticated');
  });
  expect(fasterThanNLogN(measured)).toEqual([]);
  // 10,000 sessions within a second are a hundred rows for each, whatever else a clinic has.
  const { size, work } = measured.at(-1) as { size: number; work: Work };
  expect(total(work) / size).toBeLessThan(120);
});
