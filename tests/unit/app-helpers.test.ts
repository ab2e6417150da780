/** What an app needs beside the calls: local times, countdowns, words and CSV. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import {
  agendaDays,
  civilOf,
  clinicTimes,
  clockReading,
  closedBlocks,
  countdown,
  dayBounds,
  englishMessages,
  explainRefusal,
  instantOf,
  messageOf,
  plusDays,
  rangesOf,
  type SessionRow,
  SessionsApiError,
  type StaffTimeRow,
  staffTimeBlocks,
  toCsv,
  weekBounds,
} from '../../src/lib/index.ts';
import { ERROR_CODES } from '../../supabase/functions/_shared/contract/codes.ts';

const LA = 'America/Los_Angeles';
const refusal = (details: Partial<ConstructorParameters<typeof SessionsApiError>[0]>) =>
  new SessionsApiError({ status: 409, code: 'THERAPIST_CONFLICT', message: 'for the developer', ...details });

describe('times at which nobody can be booked', () => {
  const times = clinicTimes(LA, 'en-US');
  it('are closures, by name, and the hour that clocks skip, on the day they do', () => {
    const closure = {
      id: 'c1',
      name: 'Staff day',
      starts_at: '2027-03-13T08:00:00Z',
      ends_at: '2027-03-14T08:00:00Z',
    };
    const { days } = weekBounds('2027-03-14', LA);
    expect(closedBlocks([closure], days, times)).toMatchObject([
      { title: 'Closed: Staff day', start: '2027-03-13T00:00:00', end: '2027-03-14T00:00:00' },
      { start: '2027-03-14T02:00:00', end: '2027-03-14T03:00:00', background: true },
    ]);
    expect(closedBlocks([], weekBounds('2027-11-07', LA).days, times)).toEqual([]);
  });
  it('are also skipped at midnight, and by half an hour', () => {
    const skipped = (zone: string, day: string) =>
      closedBlocks([], [day], clinicTimes(zone)).map(({ start, end }) => [start.slice(11), end.slice(11)]);
    expect(skipped('America/Santiago', '2027-09-05')).toEqual([['00:00:00', '01:00:00']]);
    expect(skipped('Australia/Lord_Howe', '2027-10-03')).toEqual([['02:00:00', '02:30:00']]);
  });
});

describe('time without a client', () => {
  const times = clinicTimes(LA, 'en-US');
  const therapistById = new Map([
    ['A', { display_name: 'Ann' }],
    ['B', { display_name: 'Bo' }],
  ]);
  const naming = { times, nameOf: () => 'C-1', therapistById, showTherapist: true };
  const meeting = {
    ...{ id: 'm', kind: 'meeting', series_id: null, therapist_ids: ['A', 'B'] },
    ...{ start_time: '2027-03-14T09:30:00Z', end_time: '2027-03-14T10:30:00Z' },
  } as unknown as StaffTimeRow;
  const session = {
    ...{ id: 's', status: 'scheduled', client_id: 'C', therapist_id: 'A', series_id: 'x', group_id: null },
    ...{ start_time: '2027-03-14T18:00:00Z', end_time: '2027-03-14T19:00:00Z' },
  } as unknown as SessionRow;

  it('is a block of each who takes part where they have columns, and as long as it lasts', () => {
    const blocks = staffTimeBlocks([meeting], { ...naming, showTherapist: false }, true);
    // Clocks skip an hour in it: it lasts an hour, and ends at what would have been half past two.
    const span = {
      id: 'staff:m',
      start: '2027-03-14T01:30:00',
      end: '2027-03-14T02:30:00',
      title: 'Meeting',
    };
    expect(blocks).toMatchObject([
      { ...span, column: 'A' },
      { ...span, column: 'B' },
    ]);
  });

  it('is one block elsewhere, which says whose it is', () => {
    const [block, ...more] = staffTimeBlocks([meeting], naming, false);
    expect(more).toEqual([]);
    expect(block?.detail).toMatch(/ · Ann · Bo$/);
    expect(block?.column).toBeUndefined();
  });

  it('stands among the sessions of its day, by time', () => {
    const days = [...agendaDays([session], [meeting], naming)];
    expect(days).toMatchObject([
      [
        '2027-03-14',
        [
          { id: 'staff:m', title: 'Meeting', whose: 'Ann, Bo', kind: 'staff', status: '', repeats: false },
          { id: 's', title: 'C-1', whose: 'Ann', kind: 'scheduled', status: 'booked', repeats: true },
        ],
      ],
    ]);
  });
});

describe('local time', () => {
  it('is an instant, on either side of a change of clocks', () => {
    expect(instantOf('2027-03-13T10:00', LA)).toMatchObject({
      instant: '2027-03-13T18:00:00.000Z',
      offsetMinutes: -480,
    });
    expect(instantOf('2027-03-15T10:00', LA)).toMatchObject({
      instant: '2027-03-15T17:00:00.000Z',
      offsetMinutes: -420,
    });
  });
  it('that clocks skip or show twice is said to be so', () => {
    expect(instantOf('2027-03-14T02:30', LA)).toMatchObject({
      kind: 'nonexistent',
      instant: '2027-03-14T10:30:00.000Z',
    });
    expect(instantOf('2026-11-01T01:30', LA)).toMatchObject({
      kind: 'ambiguous',
      instant: '2026-11-01T08:30:00.000Z',
    });
  });
  it('comes back from an instant', () => {
    for (const local of ['2026-12-01T10:00:00', '2027-07-01T23:59:00'])
      expect(civilOf(instantOf(local, LA).instant, LA)).toBe(local);
  });
  it('makes weeks of 167, 168 and 169 hours, from Monday', () => {
    const hours = (date: string) => {
      const { from, to } = weekBounds(date, LA);
      return (Date.parse(to) - Date.parse(from)) / 3_600_000;
    };
    expect([hours('2027-03-10'), hours('2027-03-17'), hours('2026-11-01')]).toEqual([167, 168, 169]);
    expect(weekBounds('2026-11-01', LA).days).toEqual(
      [0, 1, 2, 3, 4, 5, 6].map((day) => plusDays('2026-10-26', day)),
    );
    expect(dayBounds('2026-12-31', LA).to).toBe('2027-01-01T08:00:00.000Z');
  });
  it('that is none, or of no zone, names the argument', () => {
    for (const wrong of [
      () => instantOf('2026-02-30T10:00', LA),
      () => instantOf('2026-12-01T10:00Z', LA),
      () => civilOf('tomorrow', LA),
      () => weekBounds('2026-13-01', LA),
      () => dayBounds('2026-12-01', 'Mars/Olympus'),
    ])
      expect(wrong).toThrowError(
        expect.objectContaining({
          status: 400,
          issues: [expect.objectContaining({ path: expect.any(String) })],
        }),
      );
  });
});

describe('a countdown', () => {
  afterEach(() => vi.useRealTimers());
  const started = () => {
    vi.useFakeTimers({ toFake: ['Date', 'performance'] });
    return countdown(300, clockReading());
  };
  it('counts whole seconds down to 0 and stays there', () => {
    const left = started();
    vi.advanceTimersByTime(1_500);
    expect(left.secondsLeft()).toBe(298);
    vi.advanceTimersByTime(300_000);
    expect(left.secondsLeft()).toBe(0);
  });
  it('is not longer when the clock is set back, nor when the machine slept', () => {
    const left = started();
    vi.advanceTimersByTime(60_000);
    vi.setSystemTime(Date.now() - 3_600_000);
    expect(left.secondsLeft()).toBe(240);
    // Sleep: the wall clock has gone on, the monotonic one has not.
    vi.setSystemTime(Date.now() + 3_600_000 + 200_000);
    expect(left.secondsLeft()).toBe(40);
  });
});

describe('words', () => {
  it.each(Object.keys(ERROR_CODES))('there are some for %s, without the code in them', (code) => {
    const text = messageOf(refusal({ code: code as keyof typeof ERROR_CODES }));
    expect(text).toBe(englishMessages[code as keyof typeof englishMessages]);
    expect(text).toMatch(/^[A-Z][^_]*[.]$/);
  });
  it('may be others', () => {
    expect(messageOf(refusal({ code: 'HOLD_EXPIRED' }), { HOLD_EXPIRED: 'Vorbei.' })).toBe('Vorbei.');
    expect(messageOf(new Error('x'))).toMatch(/went wrong/);
  });
  it('say once what one hold is in the way of, and that it may be worth waiting', () => {
    const hold = {
      occurrenceIndex: 0,
      blockedBy: 'hold',
      startTime: '2026-12-01T18:00:00Z',
      endTime: '2026-12-01T19:00:00Z',
      expiresAt: '2026-12-01T00:22:00Z',
    } as const;
    const said = explainRefusal(
      refusal({
        code: 'THERAPIST_HOLD_CONFLICT',
        retryAfterSeconds: 90,
        conflicts: [
          { ...hold, resource: 'therapist' },
          { ...hold, resource: 'client' },
        ],
      }),
      { timeZone: LA, locale: 'en-US' },
    );
    expect(said).toMatchObject({
      heading: 'This time is being held',
      retryAfterSeconds: 90,
      blockedDates: 1,
    });
    expect(said.reasons.map((reason) => reason.replace(/\s/g, ' '))).toEqual([
      'Somebody is holding this time until 4:22 PM.',
    ]);
  });
  it('name the therapist who has a session, and never whose it is', () => {
    const said = explainRefusal(
      refusal({
        conflicts: [
          {
            occurrenceIndex: 0,
            resource: 'therapist',
            blockedBy: 'session',
            startTime: '2026-12-01T18:30:00Z',
            endTime: '2026-12-01T19:30:00Z',
          },
        ],
      }),
      { timeZone: LA, locale: 'en-US', therapistName: 'Robin Tate' },
    );
    expect(said.reasons[0]?.replace(/\s/g, ' ')).toBe('Robin Tate has a session, 10:30 – 11:30 AM.');
    expect(said.retryAfterSeconds).toBeNull();
  });
});

describe('reasons that are nobody’s session', () => {
  const window = { startTime: '2026-12-01T18:00:00Z', endTime: '2026-12-01T19:00:00Z' };
  const shortage = { occurrenceIndex: 1, cptCode: '97153', date: '2026-12-08', neededUnits: 4, leftUnits: 2 };
  it.each([
    [
      'hours',
      { conflicts: [{ occurrenceIndex: 0, resource: 'therapist', blockedBy: 'availability', ...window }] },
      'Robin does not work then, 10:00 – 11:00 AM.',
    ],
    [
      'a closure',
      { conflicts: [{ occurrenceIndex: 0, resource: 'therapist', blockedBy: 'closure', ...window }] },
      'The clinic is closed, 10:00 – 11:00 AM.',
    ],
    [
      'units',
      { shortages: [{ ...shortage, limit: 'week' }] },
      '97153: 2 units left in the week of 2026-12-08, 4 needed.',
    ],
    ['a date', { shortages: [{ ...shortage, limit: 'dates' }] }, '97153 is not authorized on 2026-12-08.'],
    ['coverage', { shortages: [{ ...shortage, limit: 'coverage' }] }, 'No coverage on 2026-12-08.'],
  ] as const)('%s', (_, details, sentence) => {
    const said = explainRefusal(refusal({ code: 'OUTSIDE_AVAILABILITY', ...details }), {
      timeZone: LA,
      locale: 'en-US',
      therapistName: 'Robin',
    });
    expect(said.reasons.map((reason) => reason.replace(/\s/g, ' '))).toEqual([sentence]);
    expect(said.blockedDates).toBe(1);
  });
});

describe('alternatives', () => {
  const at = (time: string) => ({ startTime: `2026-12-25T${time}:00Z`, endTime: `2026-12-25T${time}:30Z` });
  it('that follow each other are one choice, the nearest first', () => {
    const ranges = rangesOf([at('17:00'), at('16:45'), at('16:30'), at('10:00')]);
    expect(ranges.map(({ starts }) => starts.map(({ startTime }) => startTime.slice(11, 16)))).toEqual([
      ['16:30', '16:45', '17:00'],
      ['10:00'],
    ]);
    expect(rangesOf([])).toEqual([]);
  });
});

describe('CSV', () => {
  it('quotes what has to be, and disarms what a spreadsheet would run', () => {
    const rows = [{ name: '=HYPERLINK("x")', hours: -2, note: 'a "b", c\nd' }];
    expect(toCsv(rows)).toBe('name,hours,note\r\n"\'=HYPERLINK(""x"")",-2,"a ""b"", c\nd"\r\n');
    expect(toCsv([], ['a'])).toBe('a\r\n');
    for (const text of ['+1+1', '-1+1', '@A1', '\t=1', '\n=1', '＝1', '－1', '-1.2.3'])
      expect([text, toCsv([{ text }])]).toEqual([text, toCsv([{ text: `'${text}` }])]);
  });

  it('leaves numbers numbers, also those written as text', () => {
    expect(toCsv([{ left: -4, units: '-4', hours: '-0.25' }])).toBe('left,units,hours\r\n-4,-4,-0.25\r\n');
  });
});
