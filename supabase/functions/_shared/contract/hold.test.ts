import { describe, expect, it } from 'vitest';
import { parseHold } from './hold.ts';

const id = (n: number) => `00000000-0000-0000-0000-${String(n).padStart(12, '0')}`;

/** A Monday, 10:00–11:00 in Los Angeles, in winter. */
const monday = {
  therapist_id: id(1),
  client_id: id(2),
  start_time: '2026-12-07T10:00:00-08:00',
  end_time: '2026-12-07T11:00:00-08:00',
  start_time_offset_minutes: -480,
  end_time_offset_minutes: -480,
  time_zone: 'America/Los_Angeles',
};

function window(start: string, end: string, extra: object = {}) {
  return {
    start_time: start,
    end_time: end,
    start_time_offset_minutes: -480,
    end_time_offset_minutes: -480,
    ...extra,
  };
}

function accepted(extra: object = {}) {
  const parsed = parseHold({ ...monday, ...extra });
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
  return parsed.value.request;
}

function issuesOf(extra: object) {
  const parsed = parseHold({ ...monday, ...extra });
  if (parsed.ok) throw new Error('was accepted');
  expect(parsed.code).toBe('VALIDATION_FAILED');
  return parsed.issues;
}

function pathsOf(extra: object) {
  return issuesOf(extra).map(({ path }) => path);
}

describe('a hold request', () => {
  it('is handed on with defaults filled in and instants in UTC', () => {
    expect(accepted()).toEqual({
      therapist_id: id(1),
      client_id: id(2),
      time_zone: 'America/Los_Angeles',
      hold_seconds: 300,
      start_time: '2026-12-07T18:00:00.000Z',
      end_time: '2026-12-07T19:00:00.000Z',
      start_time_offset_minutes: -480,
      end_time_offset_minutes: -480,
      recurrence: null,
    });
  });

  it('means the same whichever way its instants, ids and empty fields are written', () => {
    const upper = 'ABCDEF00-0000-4000-8000-00000000000A';
    const one = accepted({ room_id: upper, session_type: null, cpt_code: ' 97153 ' });
    const other = accepted({
      room_id: upper.toLowerCase(),
      start_time: '2026-12-07T18:00Z',
      end_time: '2026-12-07T19:00:00.000000+00:00',
      session_type: '  ',
      cpt_code: '97153',
      hold_seconds: 300,
      occurrences: [],
      recurrence: null,
      unknown: { field: true },
    });
    expect(JSON.stringify(other)).toBe(JSON.stringify(one));
  });

  it.each([
    '2026-12-07T18:00Z',
    '2026-12-07T10:00:00-08:00',
    '2026-12-07T10:00:00.000000000-0800',
    '2026-12-07T18:00:00+00',
    '2026-12-07T23:30:00+05:30',
    '2026-12-08T08:00:00+14:00',
  ])('may write an instant as %s', (start_time) => {
    expect(accepted({ start_time }).start_time).toBe('2026-12-07T18:00:00.000Z');
  });

  it.each(['000500', '0001', '000000001', '1239'])(
    'may not write an instant finer than a millisecond: .%s',
    (fraction) => {
      const [issue] = issuesOf({ start_time: `2026-12-07T18:00:00.${fraction}Z` });
      expect(issue).toEqual({ path: 'start_time', message: 'must not be finer than a millisecond' });
    },
  );

  it('takes blank text in an optional field for "not given"', () => {
    const blanks = [
      'session_id',
      'cpt_code',
      'group_id',
      'room_id',
      'hold_seconds',
      'override',
      'recurrence',
    ];
    for (const blank of ['', '  ']) {
      const filled = Object.fromEntries(blanks.map((name) => [name, blank]));
      expect(JSON.stringify(accepted(filled))).toBe(JSON.stringify(accepted()));
    }
  });

  it('leaves offsets to the database: whether they are right, and what they are when left out', () => {
    expect(accepted({ start_time_offset_minutes: 480 })).toMatchObject({ start_time_offset_minutes: 480 });
    const none = accepted({ start_time_offset_minutes: undefined, end_time_offset_minutes: null });
    expect(none.start_time_offset_minutes).toBeUndefined();
    expect(none.end_time_offset_minutes).toBeUndefined();
  });

  it('counts characters as the database does: two UTF-16 units may be one', () => {
    expect(accepted({ session_type: '😀'.repeat(64) })).toMatchObject({ session_type: '😀'.repeat(64) });
    expect(pathsOf({ session_type: '😀'.repeat(65) })).toEqual(['session_type']);
  });

  it('may say which rules it overrides', () => {
    const override = { reason: 'Family asked', rules: ['availability', 'concurrency'] };
    expect(accepted({ override }).override).toEqual(override);
    expect(pathsOf({ override: { ...override, rules: ['everything'] } })).toEqual(['override.rules.0']);
    expect(pathsOf({ override: { ...override, rules: [] } })).toEqual(['override.rules']);
  });

  it('may name every rule, also those that are never set aside', () => {
    const rules = ['availability', 'authorization', 'concurrency', 'credential', 'travel'];
    expect(accepted({ override: { reason: 'Family asked', rules } }).override).toMatchObject({ rules });
    expect(pathsOf({ override: { reason: 'Family asked', rules: [...rules, 'travel'] } })).toEqual([
      'override.rules',
    ]);
  });

  it.each([
    ['therapist_id', 'not-a-uuid'],
    ['therapist_id', undefined],
    ['therapist_id', 7],
    ['client_id', '00000000-0000-0000-0000-00000000000'],
    ['client_id', ''],
    ['session_id', 'x'],
    ['room_id', "'; drop table sessions; --"],
    ['group_id', {}],
    ['start_time', 'tomorrow'],
    ['start_time', 'infinity'],
    ['start_time', '2026-12-07T10:00:00'],
    ['start_time', '2026-12-07'],
    ['start_time', '2026-02-30T10:00:00Z'],
    ['start_time', '2026-12-07T24:00:00Z'],
    ['start_time', '2026-12-07T10:00:60Z'],
    ['start_time', '2026-12-07T10:00:00+25:00'],
    ['start_time', '+275760-09-13T00:00:00Z'],
    ['start_time', '0001-01-01T00:00:00Z'],
    ['start_time', '9999-12-31T23:59:59Z'],
    ['start_time', '2026-12-07T10:00:00Z\u0000'],
    ['start_time', 1_796_666_400_000],
    ['end_time', null],
    ['time_zone', '+08:00'],
    ['time_zone', 'America/Los_Angeles\u0000'],
    ['time_zone', '../../etc/passwd'],
    ['time_zone', 'A'.repeat(100_000)],
    ['time_zone', undefined],
    ['start_time_offset_minutes', '-480'],
    ['start_time_offset_minutes', -480.5],
    ['hold_seconds', -1],
    ['hold_seconds', 29],
    ['hold_seconds', 901],
    ['hold_seconds', 30.5],
    ['hold_seconds', '300'],
    ['hold_seconds', Number.POSITIVE_INFINITY],
    ['hold_seconds', Number.NaN],
    ['buffer_before_minutes', -1],
    ['buffer_after_minutes', 241],
    ['session_type', 'x'.repeat(65)],
    ['session_type', 'indi\u0000vidual'],
    ['session_type', '\ud800'],
    ['cpt_code', '9715'],
    ['override', 'please'],
    ['occurrences', 'many'],
    ['occurrences', Array(367).fill(null)],
    ['recurrence', 'FREQ=DAILY'],
  ])('with %s = %j is refused, naming the field', (field, value) => {
    expect(pathsOf({ [field]: value })).toEqual([field]);
  });

  it.each([
    ['a window in the past', { start_time: '2001-01-01T10:00:00Z', end_time: '2001-01-01T11:00:00Z' }],
    ['an end before the start', { end_time: '2001-01-01T11:00:00Z' }],
    ['a zone that may exist', { time_zone: 'Mars/Olympus_Mons' }],
    ['a group of one client twice', { client_ids: [id(3), id(3)], group_id: id(4) }],
    [
      'occurrences that overlap',
      {
        occurrences: [window(monday.start_time, monday.end_time), window(monday.start_time, monday.end_time)],
      },
    ],
  ])('leaves to the database what fields mean: %s', (_, extra) => {
    expect(accepted(extra)).toBeDefined();
  });

  it('needs a reason to override', () => {
    expect(pathsOf({ override: {} })).toEqual(['override.reason']);
    expect(pathsOf({ override: { reason: '  ' } })).toEqual(['override.reason']);
    expect(accepted({ override: { reason: ' Parent asked ' } })).toMatchObject({
      override: { reason: 'Parent asked' },
    });
  });
});

describe('listed occurrences', () => {
  const first = window(monday.start_time, monday.end_time);
  const second = window('2026-12-14T10:00:00-08:00', '2026-12-14T11:00:00-08:00');

  it('take the place of the window at the top, in their own order', () => {
    const request = accepted({ occurrences: [second, first] });
    expect(request.start_time).toBeUndefined();
    expect(request.occurrences).toMatchObject([
      { start_time: '2026-12-14T18:00:00.000Z', time_zone: 'America/Los_Angeles' },
      { start_time: '2026-12-07T18:00:00.000Z', time_zone: 'America/Los_Angeles' },
    ]);
  });

  it('are each refused by path', () => {
    const bad = { ...second, end_time: 'noon', start_time_offset_minutes: 841 };
    expect(pathsOf({ occurrences: [first, bad] })).toEqual([
      'occurrences.1.end_time',
      'occurrences.1.start_time_offset_minutes',
    ]);
  });

  it('need no window at the top, which is needed without them', () => {
    const none = { start_time: undefined, end_time: undefined };
    expect(accepted({ ...none, occurrences: [first] }).occurrences).toHaveLength(1);
    expect(pathsOf({ ...none, occurrences: [] })).toEqual(['start_time', 'end_time']);
    expect(pathsOf({ ...none, recurrence: { rule: 'FREQ=WEEKLY;COUNT=2' } })).toEqual([
      'start_time',
      'end_time',
    ]);
  });

  it('exclude a recurrence, but an empty list does not', () => {
    const recurrence = { rule: 'FREQ=WEEKLY;COUNT=2' };
    expect(pathsOf({ occurrences: [first], recurrence })).toEqual(['recurrence']);
    expect(accepted({ occurrences: [], recurrence }).occurrences).toHaveLength(2);
  });

  it('name the sessions they move, or one stands at the top', () => {
    const moved = (n: number, each: object) => ({ ...each, session_id: id(n) });
    expect(accepted({ occurrences: [moved(8, first), moved(9, second)] }).occurrences).toMatchObject([
      { session_id: id(8) },
      { session_id: id(9) },
    ]);
    expect(accepted({ session_id: id(8) }).session_id).toBe(id(8));
    expect(accepted({ session_id: id(8), occurrences: [first] })).toMatchObject({ session_id: id(8) });
  });

  it('may be 366', () => {
    const daily = Array.from({ length: 366 }, (_, day) => ({
      start_time: new Date(Date.UTC(2027, 0, 1 + day, 10)).toISOString(),
      end_time: new Date(Date.UTC(2027, 0, 1 + day, 11)).toISOString(),
      start_time_offset_minutes: 0,
      end_time_offset_minutes: 0,
      time_zone: 'UTC',
    }));
    expect(accepted({ occurrences: daily }).occurrences).toHaveLength(366);
  });
});

describe('a recurrence', () => {
  it('is of the caller’s clocks: where they are believed to differ, its dates keep the hour that was meant', () => {
    const request = accepted({
      start_time_offset_minutes: -420,
      recurrence: { rule: 'FREQ=WEEKLY;COUNT=2' },
    });
    expect(request.occurrences).toMatchObject([
      { start_time: '2026-12-07T18:00:00.000Z', start_time_offset_minutes: -420 },
      { local_start: '2026-12-14T11:00:00' },
    ]);
  });

  const recurring = (recurrence: object, extra: object = {}) => ({ recurrence, ...extra });

  it('is expanded in local time: 10:00 stays 10:00 when the clocks change', () => {
    const request = accepted({
      start_time: '2026-10-26T10:00:00-07:00',
      end_time: '2026-10-26T11:00:00-07:00',
      start_time_offset_minutes: -420,
      end_time_offset_minutes: -420,
      recurrence: { rule: 'FREQ=WEEKLY;COUNT=2' },
    });
    // The window itself is an instant; of later dates the database knows best what the clocks show when.
    expect(request.occurrences).toMatchObject([
      { start_time: '2026-10-26T17:00:00.000Z', start_time_offset_minutes: -420 },
      { local_start: '2026-11-02T10:00:00' },
    ]);
    expect(request).toMatchObject({
      start_time: '2026-10-26T17:00:00.000Z',
      end_time: '2026-10-26T18:00:00.000Z',
    });
    expect(request.recurrence).toEqual({ rule: 'FREQ=WEEKLY;COUNT=2', time_zone: 'America/Los_Angeles' });
  });

  it.each([
    ['recurrence.rule', { rule: 'FREQ=WEEKLY' }],
    ['recurrence.rule', { rule: 'FREQ=HOURLY;COUNT=3' }],
    ['recurrence.rule', { rule: 'every monday' }],
    ['recurrence.rule', { rule: 'FREQ=DAILY;COUNT=520' }],
    ['recurrence.rule', { rule: '' }],
    ['recurrence.rule', {}],
    ['recurrence.rule', { rule: 'FREQ=WEEKLY;COUNT=1', exceptions: ['2026-12-07'] }],
    ['recurrence.count', { rule: 'FREQ=WEEKLY', count: 0 }],
    ['recurrence.count', { rule: 'FREQ=WEEKLY', count: 367 }],
    ['recurrence.until', { rule: 'FREQ=WEEKLY', until: 'never' }],
    ['recurrence.time_zone', { rule: 'FREQ=WEEKLY;COUNT=2', time_zone: 'foo3bar' }],
    ['recurrence.exceptions.1', { rule: 'FREQ=WEEKLY;COUNT=2', exceptions: ['2026-12-14', 'Christmas'] }],
    ['recurrence.exceptions', { rule: 'FREQ=WEEKLY;COUNT=2', exceptions: Array(1001).fill('2026-12-14') }],
  ])('is refused at %s when it is %j', (path, recurrence) => {
    expect(pathsOf(recurring(recurrence))).toEqual([path]);
  });
});

describe('a change of a series', () => {
  const change = { series_id: id(1), scope: 'all', change: { shift_minutes: 30 } };
  const parsed = (body: object) => {
    const answer = parseHold(body);
    return answer.ok ? answer.value.request : answer.issues.map(({ path }) => path);
  };

  it('needs neither people nor a window: the database works them out', () => {
    expect(parsed({ series: change })).toEqual({ series: change, hold_seconds: 300 });
  });

  it('keeps a room of null apart from none that is named', () => {
    const unroomed = { ...change, change: { room_id: null } };
    expect(parsed({ series: unroomed })).toEqual({ series: unroomed, hold_seconds: 300 });
  });

  it.each(['start_time', 'occurrences', 'recurrence', 'session_id', 'client_ids', 'room_id'])(
    'excludes %s',
    (field) => {
      expect(parsed({ series: change, [field]: [field] })).toEqual([field]);
      // What a form left empty is not given.
      expect(parsed({ series: change, [field]: ' ' })).toMatchObject({ series: change });
    },
  );

  it('that is blank or null is none', () => {
    for (const series of [null, '', ' ']) expect(accepted({ series })).not.toHaveProperty('series');
  });
});
