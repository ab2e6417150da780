/**
 * A new series is expanded by `expandRecurrence`, and one that goes on by the database: both mean the same days by a rule,
 * and leave out the same exceptions.
 */
import fc from 'fast-check';
import type pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { expandRecurrence } from '../../supabase/functions/_shared/recurrence.ts';
import { connect } from '../setup/db.ts';

const DAY = 86_400_000;
const WEEKDAYS = ['MO', 'TU', 'WE', 'TH', 'FR', 'SA', 'SU'];

let client: pg.Client;
beforeAll(async () => {
  client = await connect();
});
afterAll(() => client.end());

const weekday = fc.constantFrom(...WEEKDAYS);
const someOf = (item: fc.Arbitrary<string>) => fc.uniqueArray(item, { maxLength: 4 });
const monthDay = fc
  .tuple(fc.integer({ min: 1, max: 31 }), fc.constantFrom('', '-', '+'))
  .map(([day, sign]) => `${sign}${day}`);
const numbered = fc
  .tuple(fc.constantFrom('', '1', '2', '+3', '4', '5', '-1', '-2', '-5'), weekday)
  .map(([n, day]) => `${n}${day}`);
const list = (name: string, items: string[]) => (items.length > 0 ? [`${name}=${items.join(',')}`] : []);

const frequency = fc.oneof(
  someOf(weekday).map((byDay) => ['FREQ=WEEKLY', ...list('BYDAY', byDay)]),
  fc
    .tuple(someOf(weekday), someOf(monthDay))
    .map(([byDay, byMonthDay]) => ['FREQ=DAILY', ...list('BYDAY', byDay), ...list('BYMONTHDAY', byMonthDay)]),
  fc
    .tuple(someOf(numbered), someOf(monthDay))
    .map(([byDay, byMonthDay]) => [
      'FREQ=MONTHLY',
      ...list('BYDAY', byDay),
      ...list('BYMONTHDAY', byMonthDay),
    ]),
);
const rules = fc
  .tuple(
    frequency,
    fc.option(fc.integer({ min: 1, max: 9 })),
    fc.option(weekday),
    fc.constantFrom('', 'RRULE:', 'rrule:'),
  )
  .map(([parts, interval, wkst, prefix]) => {
    const rule = [
      ...parts,
      ...(interval ? [`INTERVAL=${interval}`] : []),
      ...(wkst ? [`WKST=${wkst}`] : []),
    ].join(';');
    return prefix === 'rrule:' ? `${prefix}${rule.toLowerCase()} ` : `${prefix}${rule}`;
  });

/** An exception of a day, in one of the ways a caller may write it; some of them miss the session of that day. */
const written = (iso: string) => [
  iso.slice(0, 10),
  iso.slice(0, 10).replaceAll('-', ''),
  iso.slice(0, 16),
  iso.slice(0, 19).replaceAll(/[-:]/g, ''),
  iso,
  `${iso.slice(0, 19).replaceAll(/[-:]/g, '')}Z`,
  iso.replace('T10:00:00.000Z', 'T02:00:00-08:00'),
  iso.replace('T10', 'T11'),
];

/** How a rule may end. A series that goes on does so behind its end, by the same days. */
const ends = fc.constantFrom(
  ...[
    '',
    ';COUNT=1',
    ';COUNT=52',
    ';UNTIL=20260101',
    ';UNTIL=20270301T100000',
    ';UNTIL=20270301T180000Z',
    ';',
  ],
);

const cases = fc.record({
  rule: rules,
  end: ends,
  first: fc.integer({ min: 0, max: 1460 }).map((day) => Date.UTC(2026, 0, 1, 10) + day * DAY),
  days: fc.integer({ min: 0, max: 364 }),
  exceptions: fc.array(fc.tuple(fc.nat({ max: 60 }), fc.nat({ max: 7 })), { maxLength: 20 }),
});

it('a rule means the same days to both', { timeout: 120_000 }, async () => {
  let seen = 0;
  await fc.assert(
    fc.asyncProperty(cases, async ({ rule, end, first, days, exceptions }) => {
      const iso = (day: number) => new Date(first + day * DAY).toISOString();
      const left = exceptions.map(([day, form]) => written(iso(day))[form] as string);
      const starts = expandRecurrence(
        { startTime: iso(0), endTime: new Date(first + 3_600_000).toISOString() },
        { rule, until: iso(days).slice(0, 10), exceptions: left, timeZone: 'UTC' },
      );
      seen += starts.length;
      const { rows } = await client.query(
        `select array(
          select day::text from unnest(private.rule_days($1, $2, daterange($2, $3, '[]'))) as day
          where not private.is_excepted($4, day + time '10:00', 'UTC') order by day
        ) as days`,
        [`${rule.trim()}${end}`, iso(0).slice(0, 10), iso(days).slice(0, 10), JSON.stringify(left)],
      );
      expect(rows[0].days, rule).toEqual(starts.map(({ startTime }) => startTime.slice(0, 10)));
    }),
    { numRuns: 400 },
  );
  expect(seen).toBeGreaterThan(400);
});

const ZONES = ['America/Los_Angeles', 'Europe/London', 'Australia/Lord_Howe', 'America/Santiago', 'UTC'];

it('a time of day means the same instants to both, also where clocks skip it or show it twice', {
  timeout: 120_000,
}, async () => {
  const kinds = new Set<string>();
  for (const timeZone of ZONES) {
    for (let minutes = 0; minutes < 24 * 60; minutes += 30) {
      const clock = new Date(minutes * 60_000).toISOString().slice(11, 16);
      const { rows: begins } = await client.query(
        "select private.iso(private.instant_at('2027-01-05'::date + $1::time, $2)) as at",
        [clock, timeZone],
      );
      const start = begins[0].at as string;
      const starts = expandRecurrence(
        { startTime: start, endTime: new Date(Date.parse(start) + 3_600_000).toISOString() },
        { rule: 'FREQ=DAILY;COUNT=360', timeZone },
      );
      for (const { nonexistent, ambiguous } of starts)
        kinds.add(nonexistent ? 'skipped' : ambiguous ? 'twice' : 'once');
      const { rows } = await client.query(
        `select array(
          select private.iso(private.instant_at(day + $1::time, $2))
          from unnest(private.rule_days('FREQ=DAILY', '2027-01-05', daterange('2027-01-05', '2027-12-31', '[]'))) as day
          order by day
        ) as starts`,
        [clock, timeZone],
      );
      expect(rows[0].starts.slice(0, 360), `${clock} ${timeZone}`).toEqual(
        starts.map(({ startTime }) => startTime),
      );
    }
  }
  expect([...kinds].sort()).toEqual(['once', 'skipped', 'twice']);
});

it.each([
  // Clocks go from 02:00 to 03:00 on 14 March 2027, and from 02:00 back to 01:00 on 7 November.
  [
    '2027-03-14',
    '02:30',
    ['2027-03-14T02:30', '20270314T033000', '2027-03-14T10:30:00Z', '2027-03-14T03:30:00-07:00'],
  ],
  [
    '2027-11-07',
    '01:30',
    ['2027-11-07T01:30', '20271107T013000', '2027-11-07T08:30:00Z', '2027-11-07T01:30:00-07:00'],
  ],
])(
  'an exception of %s at %s leaves out what the clocks moved, however it is written',
  async (day, clock, written) => {
    const timeZone = 'America/Los_Angeles';
    const [first] = (
      await client.query('select private.iso(private.instant_at($1::date - 7 + $2::time, $3)) as at', [
        ...[day, clock, timeZone],
      ])
    ).rows;
    for (const exception of written) {
      const starts = expandRecurrence(
        { startTime: first.at, endTime: new Date(Date.parse(first.at) + 3_600_000).toISOString() },
        { rule: 'FREQ=WEEKLY;COUNT=3', exceptions: [exception], timeZone },
      );
      const { rows } = await client.query(
        'select private.is_excepted($1, $2::date + $3::time, $4) as left_out',
        [...[JSON.stringify([exception]), day, clock, timeZone]],
      );
      expect([exception, starts.length, rows[0].left_out]).toEqual([exception, 2, true]);
    }
  },
);

it.each([
  '',
  'every other Tuesday',
  'FREQ=YEARLY',
  'FREQ=WEEKLY;INTERVAL=0',
  'FREQ=WEEKLY;INTERVAL=x',
  'FREQ=MONTHLY;BYDAY=xMO',
  'FREQ=WEEKLY;WKST=XX',
  'FREQ=MONTHLY;BYDAY=MO;BYSETPOS=1',
  'FREQ=DAILY;BYMONTH=6',
  'FREQ=WEEKLY;BYMONTHDAY=6',
])('of what is no rule it can follow the database says so: %s', async (rule) => {
  const { rows } = await client.query(
    "select private.rule_days($1, date '2027-01-04', daterange('2027-01-04', '2027-03-01')) is null as unknown",
    [rule],
  );
  expect(rows).toEqual([{ unknown: true }]);
});
