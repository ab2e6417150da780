import { describe, expect, it, vi } from 'vitest';
import {
  expandRecurrence,
  type Occurrence,
  type Recurrence,
  RecurrenceError,
} from '../../supabase/functions/_shared/recurrence.ts';

const LA = 'America/Los_Angeles';
const NY = 'America/New_York';

function expand(startTime: string, rule: string, more: Partial<Recurrence> = {}, minutes = 60): Occurrence[] {
  const endTime = new Date(Date.parse(startTime) + minutes * 60_000).toISOString();
  return expandRecurrence({ startTime, endTime }, { rule, timeZone: LA, ...more });
}
const starts = (occurrences: Occurrence[]) =>
  occurrences.map(({ startTime }) => startTime.replace(':00.000Z', 'Z'));
const days = (occurrences: Occurrence[]) =>
  occurrences.map(({ startTime, startOffsetMinutes }) =>
    new Date(Date.parse(startTime) + startOffsetMinutes * 60_000).toISOString().slice(0, 10),
  );

/** The error a rule is refused with, as `code field part`. */
function refusal(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof RecurrenceError)
      return [error.code, error.field, error.part].filter(Boolean).join(' ');
    throw error;
  }
  return 'accepted';
}

describe('10:00 stays 10:00', () => {
  it('in Los Angeles across the autumn change', () => {
    expect(starts(expand('2025-10-29T10:00:00-07:00', 'FREQ=WEEKLY;COUNT=2'))).toEqual([
      '2025-10-29T17:00Z',
      '2025-11-05T18:00Z',
    ]);
  });

  it('in New York across the spring change', () => {
    expect(starts(expand('2025-03-02T14:00:00Z', 'FREQ=WEEKLY;COUNT=3', { timeZone: NY }))).toEqual([
      '2025-03-02T14:00Z',
      '2025-03-09T13:00Z',
      '2025-03-16T13:00Z',
    ]);
  });

  it('with the offsets of each side, in minutes east of UTC', () => {
    const offsets = expand('2025-10-29T10:00:00-07:00', 'FREQ=WEEKLY;COUNT=2').map((occurrence) => [
      occurrence.startOffsetMinutes,
      occurrence.endOffsetMinutes,
    ]);
    expect(offsets).toEqual([
      [-420, -420],
      [-480, -480],
    ]);
  });

  it('and an occurrence lasts as long as the first one did, also over a change', () => {
    const [, across] = expand('2025-10-26T07:30:00Z', 'FREQ=WEEKLY;COUNT=2', {}, 180);
    expect(across).toMatchObject({
      startTime: '2025-11-02T07:30:00.000Z',
      endTime: '2025-11-02T10:30:00.000Z',
      startOffsetMinutes: -420,
      endOffsetMinutes: -480,
    });
  });
});

describe('a local time the clocks skip or repeat', () => {
  it('moves forward by the gap, says so, and only on that day', () => {
    const series = expand('2026-03-07T02:30:00-08:00', 'FREQ=DAILY;COUNT=3');
    expect(starts(series)).toEqual(['2026-03-07T10:30Z', '2026-03-08T10:30Z', '2026-03-09T09:30Z']);
    expect(series.map(({ nonexistent }) => nonexistent)).toEqual([false, true, false]);
  });

  it('moves by half an hour on Lord Howe', () => {
    const series = expand('2025-10-03T15:45:00Z', 'FREQ=DAILY;COUNT=2', { timeZone: 'Australia/Lord_Howe' });
    expect(series[1]).toMatchObject({
      startTime: '2025-10-04T15:45:00.000Z',
      startOffsetMinutes: 660,
      nonexistent: true,
    });
  });

  it('is the first of the two, and says so', () => {
    const series = expand('2025-11-01T01:30:00-07:00', 'FREQ=DAILY;COUNT=3');
    expect(starts(series)).toEqual(['2025-11-01T08:30Z', '2025-11-02T08:30Z', '2025-11-03T09:30Z']);
    expect(series.map(({ ambiguous }) => ambiguous)).toEqual([false, true, false]);
  });

  it('stays the second of the two where the caller chose it as the first start', () => {
    const series = expand('2025-11-02T01:30:00-08:00', 'FREQ=DAILY;COUNT=2');
    expect(starts(series)).toEqual(['2025-11-02T09:30Z', '2025-11-03T09:30Z']);
    expect(series[0]?.ambiguous).toBe(true);
  });
});

describe('the parts of a rule', () => {
  it.each<[string, string, string[]]>([
    [
      'every other week, the week beginning on Monday',
      'FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=MO',
      ['2026-08-04', '2026-08-09', '2026-08-18', '2026-08-23'],
    ],
    [
      'every other week, the week beginning on Sunday',
      'FREQ=WEEKLY;INTERVAL=2;COUNT=4;BYDAY=TU,SU;WKST=SU',
      ['2026-08-04', '2026-08-16', '2026-08-18', '2026-08-30'],
    ],
    ['the second Tuesday', 'FREQ=MONTHLY;BYDAY=2TU;COUNT=2', ['2026-08-11', '2026-09-08']],
    ['the last Friday', 'FREQ=MONTHLY;BYDAY=-1FR;COUNT=2', ['2026-08-28', '2026-09-25']],
    [
      'every Monday and the second Tuesday of a month',
      'FREQ=MONTHLY;BYDAY=MO,2TU;COUNT=3',
      ['2026-08-10', '2026-08-11', '2026-08-17'],
    ],
    [
      'the last day of the month',
      'FREQ=MONTHLY;BYMONTHDAY=-1;COUNT=3',
      ['2026-08-31', '2026-09-30', '2026-10-31'],
    ],
    ['Friday the 13th', 'FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13;COUNT=2', ['2026-11-13', '2027-08-13']],
    [
      'only the months that have a fifth Monday',
      'FREQ=MONTHLY;BYDAY=5MO;COUNT=3',
      ['2026-08-31', '2026-11-30', '2027-03-29'],
    ],
    [
      'workdays',
      'FREQ=DAILY;BYDAY=MO,TU,WE,TH,FR;COUNT=5',
      ['2026-08-04', '2026-08-05', '2026-08-06', '2026-08-07', '2026-08-10'],
    ],
    [
      'lower case, RRULE: in front, a semicolon at the end',
      'rrule:freq=weekly;count=2;',
      ['2026-08-04', '2026-08-11'],
    ],
  ])('%s', (_, rule, wanted) => {
    expect(days(expand('2026-08-04T10:00:00-07:00', rule))).toEqual(wanted);
  });

  it('the 31st passes over the months without one', () => {
    expect(days(expand('2026-01-31T10:00:00-08:00', 'FREQ=MONTHLY;COUNT=3'))).toEqual([
      '2026-01-31',
      '2026-03-31',
      '2026-05-31',
    ]);
  });

  it('a start the rule does not match is no occurrence', () => {
    expect(days(expand('2026-08-05T10:00:00-07:00', 'FREQ=WEEKLY;BYDAY=MO;COUNT=2'))).toEqual([
      '2026-08-10',
      '2026-08-17',
    ]);
  });

  it('the day is the local one, also where UTC is a day further', () => {
    expect(days(expand('2026-08-04T20:00:00-07:00', 'FREQ=WEEKLY;BYDAY=TU;COUNT=2'))).toEqual([
      '2026-08-04',
      '2026-08-11',
    ]);
  });
});

describe('the end of a rule', () => {
  const from = (rule: string, more?: Partial<Recurrence>) =>
    days(expand('2026-08-04T18:00:00-07:00', rule, more));
  const two = ['2026-08-04', '2026-08-11'];

  it.each([
    ['a date: that whole local day', 'UNTIL=20260811', two],
    ['a local time: up to and including it', 'UNTIL=20260811T180000', two],
    ['a local time just before', 'UNTIL=20260811T175959', two.slice(0, 1)],
    ['an instant: up to and including it', 'UNTIL=20260812T010000Z', two],
    ['an instant just before', 'UNTIL=20260812T005959Z', two.slice(0, 1)],
  ])('UNTIL is %s', (_, until, wanted) => expect(from(`FREQ=WEEKLY;${until}`)).toEqual(wanted));

  it('is honoured at the end of the year (20251231T235959Z)', () => {
    expect(days(expand('2025-12-17T10:00:00-08:00', 'FREQ=WEEKLY;UNTIL=20251231T235959Z'))).toEqual([
      '2025-12-17',
      '2025-12-24',
      '2025-12-31',
    ]);
  });

  it('may be given beside the rule', () => {
    expect(from('FREQ=WEEKLY', { count: 2 })).toEqual(two);
    expect(from('FREQ=WEEKLY', { until: '2026-08-11' })).toEqual(two);
    expect(from('FREQ=WEEKLY', { until: '2026-08-12T01:00:00Z' })).toEqual(two);
  });

  it('is the earliest of those given', () => {
    expect(from('FREQ=WEEKLY;COUNT=9', { count: 2 })).toEqual(two);
    expect(from('FREQ=WEEKLY;COUNT=2', { count: 9 })).toEqual(two);
    expect(from('FREQ=WEEKLY;COUNT=9;UNTIL=20260811')).toEqual(two);
    expect(from('FREQ=WEEKLY;UNTIL=20261231', { until: '2026-08-11' })).toEqual(two);
  });

  it('before the start leaves nothing', () => expect(from('FREQ=WEEKLY;UNTIL=20260803')).toEqual([]));
});

it('a rule that a calendar folded is the same rule (RFC 5545 §3.1)', () => {
  const folded = [
    'FREQ=WEEKLY;\r\n COUNT=2',
    'RRULE:FREQ=WEE\n\tKLY;COUNT=2',
    ' FREQ=WEEKLY;COUNT\r\n =2\r\n',
  ];
  const plain = expand('2026-08-04T18:00:00-07:00', 'FREQ=WEEKLY;COUNT=2');
  for (const rule of folded) expect(expand('2026-08-04T18:00:00-07:00', rule)).toEqual(plain);
});

describe('exceptions', () => {
  const without = (...exceptions: string[]) =>
    days(expand('2026-08-04T18:00:00-07:00', 'FREQ=WEEKLY;COUNT=3', { exceptions }));

  it('count: COUNT=3 with one exception is two occurrences', () => {
    expect(without('2026-08-11')).toEqual(['2026-08-04', '2026-08-18']);
  });

  it('are dates, local times or instants, and may be of the first occurrence', () => {
    expect(without('2026-08-04T18:00', '20260812T010000Z')).toEqual(['2026-08-18']);
    expect(without('2026-08-11T18:00:00-07:00')).toEqual(['2026-08-04', '2026-08-18']);
  });

  it('name a start that the clocks moved by the rule’s time, by the time it was moved to, or by its instant', () => {
    // 02:30 on 8 March 2026 is skipped in Los Angeles: the occurrence is at 03:30, which is 10:30Z.
    const around = (...exceptions: string[]) =>
      days(expand('2026-03-07T02:30:00-08:00', 'FREQ=DAILY;COUNT=3', { exceptions }));
    for (const exception of ['2026-03-08T02:30', '2026-03-08T03:30:00', '20260308T103000Z', '2026-03-08'])
      expect(around(exception), exception).toEqual(['2026-03-07', '2026-03-09']);
    for (const exception of ['2026-03-08T01:30', '2026-03-08T04:30', '20260308T093000Z'])
      expect(around(exception), exception).toHaveLength(3);
  });

  it('that meet nothing are ignored', () => {
    expect(without('2026-08-12', '2026-08-11T10:00', '2026-12-25')).toHaveLength(3);
  });

  it('renumber what is left', () => {
    const left = expand('2026-08-04T18:00:00-07:00', 'FREQ=WEEKLY;COUNT=3', { exceptions: ['2026-08-04'] });
    expect(left.map(({ index }) => index)).toEqual([0, 1]);
  });
});

describe('what cannot be booked is refused, naming the field', () => {
  it.each([
    ['FREQ=WEEKLY', 'UNBOUNDED_RULE rule'],
    ['FREQ=YEARLY;COUNT=2', 'UNSUPPORTED_RULE rule FREQ'],
    ['FREQ=SECONDLY;COUNT=2', 'UNSUPPORTED_RULE rule FREQ'],
    ['FREQ=MONTHLY;BYDAY=MO;BYSETPOS=1;COUNT=2', 'UNSUPPORTED_RULE rule BYSETPOS'],
    ['FREQ=DAILY;BYHOUR=9,10;COUNT=2', 'UNSUPPORTED_RULE rule BYHOUR'],
    ['FREQ=MONTHLY;BYMONTH=2;BYMONTHDAY=30;COUNT=2', 'UNSUPPORTED_RULE rule BYMONTH'],
    ['RRULE:FREQ=DAILY;COUNT=2\nRDATE:20260101T100000Z', 'UNSUPPORTED_RULE rule RDATE'],
    ['DTSTART:20260101T100000Z\nRRULE:FREQ=DAILY;COUNT=2', 'UNSUPPORTED_RULE rule DTSTART'],
    ['FREQ=FORTNIGHTLY;COUNT=2', 'INVALID_RULE rule FREQ'],
    ['COUNT=2', 'INVALID_RULE rule FREQ'],
    ['every Tuesday', 'INVALID_RULE rule RRULE'],
    ['', 'INVALID_RULE rule'],
    ['FREQ=DAILY;COUNT=0', 'INVALID_RULE rule COUNT'],
    ['FREQ=DAILY;COUNT=-3', 'INVALID_RULE rule COUNT'],
    ['FREQ=DAILY;COUNT=2;COUNT=3', 'INVALID_RULE rule COUNT'],
    ['FREQ=DAILY;INTERVAL=0;COUNT=2', 'INVALID_RULE rule INTERVAL'],
    ['FREQ=DAILY;INTERVAL=1.5;COUNT=2', 'INVALID_RULE rule INTERVAL'],
    ['FREQ=WEEKLY;BYDAY=2TU;COUNT=2', 'INVALID_RULE rule BYDAY'],
    ['FREQ=WEEKLY;BYDAY=XX;COUNT=2', 'INVALID_RULE rule BYDAY'],
    ['FREQ=MONTHLY;BYDAY=6MO;COUNT=2', 'INVALID_RULE rule BYDAY'],
    ['FREQ=WEEKLY;BYMONTHDAY=1;COUNT=2', 'INVALID_RULE rule BYMONTHDAY'],
    ['FREQ=MONTHLY;BYMONTHDAY=32;COUNT=2', 'INVALID_RULE rule BYMONTHDAY'],
    ['FREQ=DAILY;UNTIL=20260230', 'INVALID_RULE rule UNTIL'],
    ['FREQ=DAILY;UNTIL=tomorrow', 'INVALID_RULE rule UNTIL'],
    ['FREQ=DAILY;WKST=1;COUNT=2', 'INVALID_RULE rule WKST'],
    ['FREQ=DAILY;FOO=1;COUNT=2', 'INVALID_RULE rule FOO'],
    ['FREQ=DAILY;COUNT=367', 'TOO_MANY_OCCURRENCES rule COUNT'],
    ['FREQ=DAILY;UNTIL=20991231', 'TOO_MANY_OCCURRENCES rule UNTIL'],
    ['FREQ=WEEKLY;COUNT=106', 'SERIES_TOO_LONG rule'],
    ['FREQ=WEEKLY;UNTIL=99991231T235959Z', 'SERIES_TOO_LONG rule'],
  ])('%s', (rule, wanted) => {
    expect(refusal(() => expand('2026-08-04T10:00:00-07:00', rule))).toBe(wanted);
  });

  it.each<[string, Partial<Recurrence>, string]>([
    ['a count of 0', { count: 0 }, 'INVALID_COUNT count'],
    ['half a count', { count: 1.5 }, 'INVALID_COUNT count'],
    ['an until that is no date', { until: 'never' }, 'INVALID_UNTIL until'],
    [
      'an exception that is no date',
      { count: 2, exceptions: ['2026-08-11', 'x'] },
      'INVALID_EXCEPTION exceptions.1',
    ],
    ['an unknown zone', { count: 2, timeZone: 'foo3bar' }, 'INVALID_TIME_ZONE timeZone'],
    ['too many by the count beside the rule', { count: 367 }, 'TOO_MANY_OCCURRENCES count'],
  ])('%s', (_, more, wanted) => {
    expect(refusal(() => expand('2026-08-04T10:00:00-07:00', 'FREQ=DAILY', more))).toBe(wanted);
  });

  it('a window that is none', () => {
    const rule = { rule: 'FREQ=DAILY;COUNT=2', timeZone: LA };
    const at = (startTime: string, endTime: string) =>
      refusal(() => expandRecurrence({ startTime, endTime }, rule));
    expect(at('2026-08-04T10:00', '2026-08-04T18:00:00Z')).toBe('INVALID_WINDOW startTime');
    expect(at('2026-08-04T18:00:00Z', '2026-02-30T18:00:00Z')).toBe('INVALID_WINDOW endTime');
    expect(at('2026-08-04T18:00:00Z', '2026-08-04T18:00:00Z')).toBe('INVALID_WINDOW endTime');
  });

  it('but 366 daily occurrences, and the 730th day, are within bounds', () => {
    expect(expand('2026-08-04T10:00:00-07:00', 'FREQ=DAILY;COUNT=366')).toHaveLength(366);
    expect(expand('2026-08-04T10:00:00-07:00', 'FREQ=DAILY;INTERVAL=730;COUNT=2')).toHaveLength(2);
    expect(refusal(() => expand('2026-08-04T10:00:00-07:00', 'FREQ=DAILY;INTERVAL=731;COUNT=2'))).toBe(
      'SERIES_TOO_LONG rule',
    );
  });
});

describe('work', () => {
  /** How often a calendar field of a date is read meanwhile: a measure of the days looked at that no busy machine changes. */
  const daysRead = (run: () => unknown) => {
    const readers = (['getUTCDay', 'getUTCDate', 'getUTCMonth'] as const).map((name) =>
      vi.spyOn(Date.prototype, name),
    );
    try {
      run();
      return readers.reduce((sum, reader) => sum + reader.mock.calls.length, 0);
    } finally {
      for (const reader of readers) reader.mockRestore();
    }
  };

  it('grows no faster than the series', () => {
    const read = (count: number) =>
      daysRead(() => expand('2026-08-04T10:00:00-07:00', `FREQ=DAILY;COUNT=${count}`));
    expect(read(180)).toBeGreaterThan(0);
    expect(read(360)).toBeLessThanOrEqual(2.1 * read(180));
  });

  // A walk to the year 9999, where rrule ends by itself, looks at millions of days.
  it.each([
    'FREQ=MONTHLY;BYMONTHDAY=31;INTERVAL=12;COUNT=3',
    'FREQ=DAILY;INTERVAL=7;BYDAY=MO;UNTIL=99991231',
    'FREQ=DAILY;INTERVAL=1000;COUNT=366',
    'FREQ=MONTHLY;INTERVAL=1000;BYDAY=5MO;UNTIL=99991231',
    'FREQ=MONTHLY;BYDAY=1MO;BYMONTHDAY=31;COUNT=1',
  ])('a rule that never matches again is given up within its two years: %s', (rule) => {
    let refused = '';
    const read = daysRead(() => {
      refused = refusal(() => expand('2026-02-03T10:00:00-08:00', rule));
    });
    expect(refused).toBe('SERIES_TOO_LONG rule');
    expect(read).toBeGreaterThan(0);
    expect(read).toBeLessThan(10_000);
  });
});
