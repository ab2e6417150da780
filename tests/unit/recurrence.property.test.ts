/**
 * Compares `expandRecurrence` with an expansion written only here, over Temporal: it builds each day, week and month
 * of a rule by RFC 5545's table instead of filtering days, and knows nothing of rrule or date-fns-tz.
 */
import fc from 'fast-check';
import { Temporal } from 'temporal-polyfill';
import { expect, it } from 'vitest';
import { expandRecurrence, RecurrenceError } from '../../supabase/functions/_shared/recurrence.ts';

const DAYS = ['MO', 'TU', 'WE', 'TH', 'FR', 'SA', 'SU'];
const ZONES = [
  'America/Los_Angeles',
  'America/New_York',
  'America/St_Johns',
  'America/Phoenix',
  'America/Havana',
  'America/Sao_Paulo',
  'Africa/Casablanca',
  'Africa/Cairo',
  'Asia/Kathmandu',
  'Asia/Kolkata',
  'Asia/Gaza',
  'Asia/Tehran',
  'Australia/Adelaide',
  'Australia/Eucla',
  'Australia/Lord_Howe',
  'Europe/Dublin',
  'Europe/London',
  'Pacific/Apia',
  'Pacific/Auckland',
  'Pacific/Chatham',
  'Pacific/Kiritimati',
  'UTC',
];

type Case = {
  zone: string;
  start: Temporal.ZonedDateTime;
  freq: 'DAILY' | 'WEEKLY' | 'MONTHLY';
  interval: number;
  wkst: number | null;
  byDay: { day: number; nth: number }[];
  byMonthDay: number[];
  count: number | null;
  until: { form: 'date' | 'local' | 'instant'; at: Temporal.ZonedDateTime } | null;
  boundsOutside: boolean;
};

const basic = (text: string) => text.replace(/[-:]/g, '').replace(/\.\d+/, '');

function untilText({ form, at }: NonNullable<Case['until']>): string {
  if (form === 'date') return basic(at.toPlainDate().toString());
  if (form === 'local') return basic(at.toPlainDateTime().toString({ smallestUnit: 'second' }));
  return basic(at.toInstant().toString({ smallestUnit: 'second' }));
}

function ruleText(rule: Case): string {
  const parts = [`FREQ=${rule.freq}`];
  if (rule.interval > 1) parts.push(`INTERVAL=${rule.interval}`);
  if (rule.byDay.length)
    parts.push(`BYDAY=${rule.byDay.map(({ day, nth }) => `${nth || ''}${DAYS[day]}`).join(',')}`);
  if (rule.byMonthDay.length) parts.push(`BYMONTHDAY=${rule.byMonthDay.join(',')}`);
  if (rule.wkst !== null) parts.push(`WKST=${DAYS[rule.wkst]}`);
  if (!rule.boundsOutside && rule.count !== null) parts.push(`COUNT=${rule.count}`);
  if (!rule.boundsOutside && rule.until !== null) parts.push(`UNTIL=${untilText(rule.until)}`);
  return parts.join(';');
}

/** The dates of the rule's n-th period, in order. */
function datesOfPeriod(rule: Case, n: number): Temporal.PlainDate[] {
  const first = rule.start.toPlainDate();
  const onDay = (date: Temporal.PlainDate) =>
    rule.byDay.length === 0 || rule.byDay.some(({ day }) => day === date.dayOfWeek - 1);
  if (rule.freq === 'DAILY') {
    const date = first.add({ days: n * rule.interval });
    const monthDays = rule.byMonthDay.map((day) => (day > 0 ? day : date.daysInMonth + day + 1));
    return onDay(date) && (monthDays.length === 0 || monthDays.includes(date.day)) ? [date] : [];
  }
  if (rule.freq === 'WEEKLY') {
    const weekStart = first.subtract({ days: (first.dayOfWeek - 1 - (rule.wkst ?? 0) + 7) % 7 });
    const week = weekStart.add({ weeks: n * rule.interval });
    const days = rule.byDay.length ? rule.byDay.map(({ day }) => day) : [first.dayOfWeek - 1];
    return sorted(days.map((day) => week.add({ days: (day - (rule.wkst ?? 0) + 7) % 7 })));
  }
  const month = first.toPlainYearMonth().add({ months: n * rule.interval });
  const at = (day: number) => (day >= 1 && day <= month.daysInMonth ? [month.toPlainDate({ day })] : []);
  const nthDays = rule.byDay.flatMap(({ day, nth }) => {
    const firstSuch = 1 + ((day + 1 - month.toPlainDate({ day: 1 }).dayOfWeek + 7) % 7);
    const all = [0, 7, 14, 21, 28]
      .map((more) => firstSuch + more)
      .filter((each) => each <= month.daysInMonth);
    if (nth === 0) return all.flatMap(at);
    const chosen = all.at(nth > 0 ? nth - 1 : nth);
    return chosen === undefined ? [] : at(chosen);
  });
  const monthDays = rule.byMonthDay.flatMap((day) => at(day > 0 ? day : month.daysInMonth + day + 1));
  if (rule.byDay.length && rule.byMonthDay.length) {
    return sorted(nthDays.filter((date) => monthDays.some((other) => other.equals(date))));
  }
  if (rule.byDay.length) return sorted(nthDays);
  if (rule.byMonthDay.length) return sorted(monthDays);
  return at(first.day);
}

function sorted(dates: Temporal.PlainDate[]): Temporal.PlainDate[] {
  const unique = new Map(dates.map((date) => [date.toString(), date]));
  return [...unique.values()].sort(Temporal.PlainDate.compare);
}

/** The expected starts, or why there are none. */
function expected(rule: Case): string[] | 'TOO_MANY_OCCURRENCES' | 'SERIES_TOO_LONG' {
  const starts: string[] = [];
  const first = rule.start.toPlainDate();
  let firstMatch: Temporal.PlainDate | null = null;
  for (let period = 0; ; period += 1) {
    for (const date of datesOfPeriod(rule, period)) {
      if (Temporal.PlainDate.compare(date, first) < 0) continue;
      const local = date.toPlainDateTime(rule.start.toPlainTime());
      const zoned = date.equals(first)
        ? rule.start
        : local.toZonedDateTime(rule.zone, { disambiguation: 'compatible' });
      if (rule.until) {
        const { form, at } = rule.until;
        if (form === 'date' && Temporal.PlainDate.compare(date, at.toPlainDate()) > 0) return starts;
        if (form === 'local' && Temporal.PlainDateTime.compare(local, at.toPlainDateTime()) > 0)
          return starts;
        if (form === 'instant' && Temporal.ZonedDateTime.compare(zoned, at) > 0) return starts;
      }
      // A rule is followed for eight years.
      if (first.until(date).days > 2922) return 'SERIES_TOO_LONG';
      firstMatch ??= date;
      if (firstMatch.until(date).days > 730) return 'SERIES_TOO_LONG';
      if (starts.length === 366) return 'TOO_MANY_OCCURRENCES';
      starts.push(new Date(zoned.epochMilliseconds).toISOString());
      if (starts.length === rule.count) return starts;
    }
    const unit = ({ DAILY: 'days', WEEKLY: 'weeks', MONTHLY: 'months' } as const)[rule.freq];
    const reached = first.add({ [unit]: period * rule.interval });
    if (
      rule.until &&
      Temporal.PlainDate.compare(reached, rule.until.at.toPlainDate().add({ months: 2 })) > 0
    ) {
      return starts;
    }
    // Nothing ends a rule that stopped matching: eight years on, all that could still match has.
    const passed = rule.freq === 'DAILY' ? period : rule.freq === 'WEEKLY' ? period * 7 : period * 28;
    if (passed * rule.interval > 2922) return 'SERIES_TOO_LONG';
  }
}

/** Half of the starts lie some weeks before a change of the zone’s clocks, at about the time of day it happens. */
const start = fc
  .record({
    zone: fc.constantFrom(...ZONES),
    minute: fc.integer({
      min: Date.parse('2024-01-01T00:00Z') / 60_000,
      max: Date.parse('2031-01-01T00:00Z') / 60_000,
    }),
    nearChange: fc.option(
      fc.record({
        minutes: fc.integer({ min: -75, max: 75 }),
        weeks: fc.integer({ min: 0, max: 6 }),
        disambiguation: fc.constantFrom<'earlier' | 'later'>('earlier', 'later'),
      }),
      { freq: 1 },
    ),
    roundTo: fc.constantFrom(1, 15, 30),
  })
  .map(({ zone, minute, nearChange, roundTo }) => {
    let at = Temporal.Instant.fromEpochMilliseconds(minute * 60_000).toZonedDateTimeISO(zone);
    const change = nearChange && at.getTimeZoneTransition('next');
    if (change) {
      const { minutes, weeks, disambiguation } = nearChange;
      const lastBefore = change.subtract({ nanoseconds: 1 }).toPlainDateTime().add({ nanoseconds: 1 });
      at = lastBefore.add({ minutes }).subtract({ weeks }).toZonedDateTime(zone, { disambiguation });
    }
    return {
      zone,
      start: at.round({ smallestUnit: 'minute', roundingIncrement: roundTo, roundingMode: 'floor' }),
    };
  });

const weekday = fc.integer({ min: 0, max: 6 });
const cases: fc.Arbitrary<Case> = start.chain(({ zone, start: at }) =>
  fc.constantFrom<Case['freq']>('DAILY', 'WEEKLY', 'MONTHLY').chain((freq) =>
    fc
      .record({
        interval: fc.oneof({ weight: 3, arbitrary: fc.constant(1) }, fc.integer({ min: 1, max: 13 })),
        wkst: fc.option(weekday),
        byDay: fc.array(
          fc.record({
            day: weekday,
            nth:
              freq === 'MONTHLY'
                ? fc.constantFrom<number>(0, 0, 1, 2, 3, 4, 5, -1, -2, -5)
                : fc.constant<number>(0),
          }),
          { maxLength: 4 },
        ),
        byMonthDay:
          freq === 'WEEKLY'
            ? fc.constant<number[]>([])
            : fc.array(fc.constantFrom<number>(1, 2, 7, 13, 15, 28, 29, 30, 31, -1, -2, -30, -31), {
                maxLength: 3,
              }),
        count: fc.option(fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 300, max: 400 }))),
        until: fc.option(
          fc.record({
            form: fc.constantFrom<'date' | 'local' | 'instant'>('date', 'local', 'instant'),
            at: fc
              .record({
                days: fc.oneof(fc.integer({ min: 0, max: 120 }), fc.integer({ min: -3, max: 760 })),
                minutes: fc.constantFrom(-60, -1, 0, 0, 0, 1, 60, 600),
              })
              .map(({ days, minutes }) => at.add({ days }).add({ minutes })),
          }),
        ),
        boundsOutside: fc.boolean(),
      })
      .filter(({ count, until }) => count !== null || until !== null)
      .map((rest) => ({ ...rest, zone, start: at, freq })),
  ),
);

function run(rule: Case, exceptions: string[] = []) {
  const length = { minutes: 90 };
  const outside = rule.boundsOutside ? { count: rule.count, until: rule.until && untilText(rule.until) } : {};
  return expandRecurrence(
    {
      startTime: rule.start.toInstant().toString(),
      endTime: rule.start.add(length).toInstant().toString(),
    },
    { rule: ruleText(rule), timeZone: rule.zone, exceptions, ...outside },
  );
}

type Tally = { lists: number; refused: number; nonexistent: number; ambiguous: number };

/** Expands a rule both ways and compares every field of every occurrence. */
function compare(rule: Case, tally: Tally): void {
  const wanted = expected(rule);
  if (typeof wanted === 'string') {
    tally.refused += 1;
    expect(() => run(rule)).toThrow(expect.objectContaining({ name: 'RecurrenceError', code: wanted }));
    return;
  }
  const found = run(rule);
  expect(found.map(({ startTime }) => startTime)).toEqual(wanted);
  tally.lists += 1;
  for (const [index, occurrence] of found.entries()) {
    const begins = Temporal.Instant.from(occurrence.startTime).toZonedDateTimeISO(rule.zone);
    const ends = begins.add({ minutes: 90 });
    const local = begins.toPlainDate().toPlainDateTime(rule.start.toPlainTime());
    const twice =
      local.toZonedDateTime(rule.zone, { disambiguation: 'earlier' }).epochMilliseconds !==
      local.toZonedDateTime(rule.zone, { disambiguation: 'later' }).epochMilliseconds;
    const skipped = !begins.toPlainTime().equals(rule.start.toPlainTime());
    expect(occurrence).toEqual({
      index,
      startTime: occurrence.startTime,
      endTime: new Date(begins.epochMilliseconds + 90 * 60_000).toISOString(),
      startOffsetMinutes: begins.offsetNanoseconds / 6e10,
      endOffsetMinutes: ends.offsetNanoseconds / 6e10,
      timeZone: rule.zone,
      nonexistent: skipped,
      ambiguous: twice && !skipped,
    });
    tally.nonexistent += Number(occurrence.nonexistent);
    tally.ambiguous += Number(occurrence.ambiguous);
  }
}

/** `MORE_CASES=10` draws ten times as many. */
const more = Number(process.env.MORE_CASES ?? 1);

it('expands random rules as Temporal and RFC 5545’s table do', () => {
  const tally: Tally = { lists: 0, refused: 0, nonexistent: 0, ambiguous: 0 };
  fc.assert(
    fc.property(cases, (rule) => compare(rule, tally)),
    { numRuns: 1000 * more },
  );
  expect(tally.lists).toBeGreaterThan(650 * more);
  expect(tally.refused).toBeGreaterThan(15 * more);
}, 300_000);

it('does so for series that meet a change of the clocks at the very hour it happens', () => {
  const tally: Tally = { lists: 0, refused: 0, nonexistent: 0, ambiguous: 0 };
  const changing = ZONES.filter(
    (zone) =>
      Temporal.Instant.from('2026-01-01T00:00Z').toZonedDateTimeISO(zone).getTimeZoneTransition('next') !==
      null,
  );
  const series = fc
    .record({
      zone: fc.constantFrom(...changing),
      skipChanges: fc.integer({ min: 0, max: 5 }),
      minutes: fc.integer({ min: -75, max: 75 }),
      freq: fc.constantFrom<'DAILY' | 'WEEKLY'>('DAILY', 'WEEKLY'),
      before: fc.integer({ min: 0, max: 8 }),
      interval: fc.constantFrom(1, 1, 2),
    })
    .map(({ zone, skipChanges, minutes, freq, before, interval }): Case => {
      let change = Temporal.Instant.from('2026-01-01T00:00Z').toZonedDateTimeISO(zone);
      for (let passed = 0; passed <= skipChanges; passed += 1)
        change = change.getTimeZoneTransition('next') ?? change;
      const lastBefore = change.subtract({ nanoseconds: 1 }).toPlainDateTime().add({ nanoseconds: 1 });
      const unit = freq === 'DAILY' ? 'days' : 'weeks';
      const local = lastBefore.add({ minutes }).subtract({ [unit]: before * interval });
      return {
        zone,
        start: local.toZonedDateTime(zone, { disambiguation: 'later' }),
        freq,
        interval,
        wkst: null,
        byDay: [],
        byMonthDay: [],
        count: 12,
        until: null,
        boundsOutside: false,
      };
    });
  fc.assert(
    fc.property(series, (rule) => compare(rule, tally)),
    { numRuns: 400 * more },
  );
  expect(tally).toMatchObject({ lists: 400 * more, refused: 0 });
  expect(tally.nonexistent).toBeGreaterThan(40 * more);
  expect(tally.ambiguous).toBeGreaterThan(40 * more);
}, 300_000);

it('leaves out exactly the exceptions, in whatever form they are named', () => {
  fc.assert(
    fc.property(
      cases,
      fc.array(fc.record({ which: fc.nat(), form: fc.constantFrom('date', 'local', 'instant') }), {
        maxLength: 5,
      }),
      (rule, picks) => {
        fc.pre(typeof expected(rule) !== 'string');
        const all = run(rule);
        fc.pre(all.length > 0);
        const out = new Set<string>();
        const exceptions = picks.map(({ which, form }) => {
          const { startTime } = all[which % all.length] ?? { startTime: '' };
          out.add(startTime);
          const at = Temporal.Instant.from(startTime).toZonedDateTimeISO(rule.zone);
          if (form === 'date') return at.toPlainDate().toString();
          return form === 'local' ? at.toPlainDateTime().toString() : startTime;
        });
        expect(run(rule, exceptions).map(({ startTime }) => startTime)).toEqual(
          all.map(({ startTime }) => startTime).filter((startTime) => !out.has(startTime)),
        );
      },
    ),
    { numRuns: 200 * more },
  );
}, 300_000);

it('answers any text for a rule with occurrences or a typed refusal', () => {
  const pieces = fc.oneof(
    fc.string(),
    fc.constantFrom(
      'FREQ=DAILY',
      'FREQ=MONTHLY',
      'COUNT=5',
      'INTERVAL=999',
      'BYDAY=5MO',
      'BYMONTHDAY=31',
      'UNTIL=99991231',
    ),
  );
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 6 }), (texts) => {
      try {
        expandRecurrence(
          { startTime: '2026-02-10T18:00:00Z', endTime: '2026-02-10T19:00:00Z' },
          { rule: texts.join(';'), timeZone: 'America/Los_Angeles' },
        );
      } catch (error) {
        expect(error).toBeInstanceOf(RecurrenceError);
      }
    }),
    { numRuns: 500 * more },
  );
}, 300_000);
