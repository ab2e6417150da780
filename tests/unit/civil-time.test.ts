import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import { Temporal } from 'temporal-polyfill';
import { describe, expect, it } from 'vitest';
import {
  civilDayBounds,
  formatCivil,
  fromCivil,
  isKnownTimeZone,
  offsetMinutesAt,
  parseTemporal,
  toCivil,
} from '../../supabase/functions/_shared/civil-time.ts';

const iso = (instant: number) => new Date(instant).toISOString();
const civil = (text: string) => {
  const parsed = parseTemporal(text);
  if (parsed?.kind !== 'local') throw new Error(text);
  return parsed.civil;
};

describe('a civil time becomes an instant', () => {
  it.each([
    ['America/Los_Angeles', '2025-11-05T10:00', '2025-11-05T18:00:00.000Z', 'unique'],
    ['America/Los_Angeles', '2026-03-08T02:30', '2026-03-08T10:30:00.000Z', 'nonexistent'],
    ['America/Los_Angeles', '2026-03-08T03:00', '2026-03-08T10:00:00.000Z', 'unique'],
    ['America/Los_Angeles', '2025-11-02T01:30', '2025-11-02T08:30:00.000Z', 'ambiguous'],
    ['America/Los_Angeles', '2025-11-02T02:00', '2025-11-02T10:00:00.000Z', 'unique'],
    ['Australia/Lord_Howe', '2025-10-05T02:15', '2025-10-04T15:45:00.000Z', 'nonexistent'],
    ['Australia/Lord_Howe', '2026-04-05T01:45', '2026-04-04T14:45:00.000Z', 'ambiguous'],
    ['Asia/Kathmandu', '2026-01-01T09:00', '2026-01-01T03:15:00.000Z', 'unique'],
    ['Pacific/Chatham', '2026-04-05T03:00', '2026-04-04T13:15:00.000Z', 'ambiguous'],
    ['America/Havana', '2026-03-08T00:30', '2026-03-08T05:30:00.000Z', 'nonexistent'],
    ['Pacific/Apia', '2011-12-30T10:00', '2011-12-30T20:00:00.000Z', 'nonexistent'],
    ['America/Phoenix', '2026-03-08T02:30', '2026-03-08T09:30:00.000Z', 'unique'],
  ])('%s %s is %s (%s)', (zone, local, instant, kind) => {
    expect({
      instant: iso(fromCivil(civil(local), zone).instant),
      kind: fromCivil(civil(local), zone).kind,
    }).toEqual({
      instant,
      kind,
    });
  });

  it('as Temporal has it, around every change of every zone in 2025 and 2026', () => {
    let changes = 0;
    for (const zone of Intl.supportedValuesOf('timeZone')) {
      let at = Temporal.Instant.from('2025-01-01T00:00Z').toZonedDateTimeISO(zone);
      for (;;) {
        const next = at.getTimeZoneTransition('next');
        if (!next || next.year > 2026) break;
        changes += 1;
        for (const minutes of [-91, -61, -60, -59, -30, -1, 0, 1, 29, 30, 59, 60, 61, 91]) {
          const local = next.toPlainDateTime().add({ minutes });
          const wanted = local.toZonedDateTime(zone, { disambiguation: 'compatible' }).epochMilliseconds;
          const found = fromCivil(civil(local.toString()), zone).instant;
          if (found !== wanted)
            expect([zone, local.toString(), iso(found)]).toEqual([zone, local.toString(), iso(wanted)]);
          const instant = next.epochMilliseconds + minutes * 60_000;
          const shown = Temporal.Instant.fromEpochMilliseconds(instant)
            .toZonedDateTimeISO(zone)
            .toPlainDateTime();
          if (formatCivil(toCivil(instant, zone)) !== shown.toString({ smallestUnit: 'second' })) {
            expect([zone, formatCivil(toCivil(instant, zone))]).toEqual([zone, shown.toString()]);
          }
        }
        at = next;
      }
    }
    expect(changes).toBeGreaterThan(300);
  }, 60_000);

  it('and no zone changes twice within the 5 days for which one reading of its offset is trusted', () => {
    const shortest = Intl.supportedValuesOf('timeZone').flatMap((zone) => {
      const gaps: { days: number; zone: string }[] = [];
      let last = Temporal.Instant.from('2015-01-01T00:00Z')
        .toZonedDateTimeISO(zone)
        .getTimeZoneTransition('next');
      while (last && last.year < 2042) {
        const next = last.getTimeZoneTransition('next');
        if (next) gaps.push({ days: (next.epochMilliseconds - last.epochMilliseconds) / 86_400_000, zone });
        last = next;
      }
      return gaps.filter(({ days }) => days <= 6);
    });
    expect(shortest).toEqual([]);
  }, 60_000);
});

describe('the device’s own zone makes no difference', () => {
  const script = fileURLToPath(new URL('./civil-time.device.ts', import.meta.url));
  const run = (TZ: string) =>
    execFileSync(process.execPath, [script], { env: { ...process.env, TZ }, encoding: 'utf8' });
  const inUtc = run('Etc/UTC');
  it.each([
    'UTC',
    'America/Los_Angeles',
    'America/New_York',
    'Europe/London',
    'Australia/Lord_Howe',
    'Asia/Kathmandu',
  ])('in %s', (device) => {
    expect(run(device)).toBe(inUtc);
  });
});

describe('offsets', () => {
  it('are minutes east of UTC', () => {
    expect(offsetMinutesAt('America/Los_Angeles', new Date('2025-12-01T00:00Z'))).toBe(-480);
    expect(offsetMinutesAt('America/Los_Angeles', new Date('2025-07-01T00:00Z'))).toBe(-420);
    expect(offsetMinutesAt('Australia/Lord_Howe', Date.parse('2025-12-01T00:00Z'))).toBe(660);
    expect(offsetMinutesAt('Asia/Kathmandu', Date.parse('2025-12-01T00:00Z'))).toBe(345);
  });

  it('change at the very millisecond the clocks do', () => {
    const change = Date.parse('2026-03-08T10:00:00Z');
    expect(offsetMinutesAt('America/Los_Angeles', change - 1)).toBe(-480);
    expect(offsetMinutesAt('America/Los_Angeles', change)).toBe(-420);
  });

  it('are refused for what is no zone or no instant', () => {
    expect(() => offsetMinutesAt('foo3bar', 0)).toThrow(RangeError);
    expect(() => offsetMinutesAt('UTC', Number.NaN)).toThrow(RangeError);
  });
});

describe('a day', () => {
  it.each([
    ['America/Los_Angeles', '2025-11-02', 25],
    ['America/Los_Angeles', '2026-03-08', 23],
    ['America/Los_Angeles', '2026-03-09', 24],
    ['America/Havana', '2026-03-08', 23],
    ['Australia/Lord_Howe', '2025-10-05', 23.5],
  ])('in %s on %s has %s hours', (zone, date, hours) => {
    const { start, end } = civilDayBounds(date, zone);
    expect((end - start) / 3_600_000).toBe(hours);
  });
});

describe('zone names', () => {
  it.each([
    'America/Los_Angeles',
    'UTC',
    'Etc/GMT+5',
    'America/Argentina/Buenos_Aires',
    'America/Port-au-Prince',
  ])('%s is one', (name) => expect(isKnownTimeZone(name)).toBe(true));
  it.each([
    'foo3bar',
    '',
    'Z',
    '+05:00',
    '-0800',
    'America/',
    'America/Los Angeles',
    'Mars/Phobos',
    'a'.repeat(100),
    null,
    5,
  ])('%s is none', (name) => expect(isKnownTimeZone(name)).toBe(false));
});

describe('dates and times are read', () => {
  it.each([
    ['2025-11-05', { kind: 'date', civil: Date.UTC(2025, 10, 5) }],
    ['20251105', { kind: 'date', civil: Date.UTC(2025, 10, 5) }],
    ['2025-11-05T10:00', { kind: 'local', civil: Date.UTC(2025, 10, 5, 10) }],
    ['20251105T100000', { kind: 'local', civil: Date.UTC(2025, 10, 5, 10) }],
    ['20251105T180000Z', { kind: 'instant', instant: Date.UTC(2025, 10, 5, 18) }],
    ['2025-11-05T10:00:00.250-08:00', { kind: 'instant', instant: Date.UTC(2025, 10, 5, 18, 0, 0, 250) }],
    ['2025-11-05T23:45:00+05:45', { kind: 'instant', instant: Date.UTC(2025, 10, 5, 18) }],
  ])('%s', (text, read) => expect(parseTemporal(text)).toEqual(read));

  it.each([
    '2025-02-30',
    '2025-13-01',
    '2025-11-05T24:00',
    '2025-11-05T10',
    '2025-1105',
    '1969-12-31',
    'tomorrow',
    '',
    ' ',
  ])('but not “%s”', (text) => expect(parseTemporal(text)).toBeNull());

  it('whatever is thrown at it', () => {
    fc.assert(fc.property(fc.string(), (text) => void parseTemporal(text)));
    fc.assert(
      fc.property(
        fc.date({ min: new Date('1970-01-02'), max: new Date('9999-01-01'), noInvalidDate: true }),
        (date) => {
          expect(parseTemporal(date.toISOString())).toEqual({ kind: 'instant', instant: date.getTime() });
        },
      ),
    );
  });
});
