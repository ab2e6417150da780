import { describe, expect, it } from 'vitest';
import { generateOccurrences, type RecurrenceInput, SessionsApiError } from '../../src/lib/index.ts';

const session = { start_time: '2025-10-29T10:00:00-07:00', end_time: '2025-10-29T11:00:00-07:00' };
const LA = { timeZone: 'America/Los_Angeles' };
const starts = (recurrence: RecurrenceInput | null, options = LA) =>
  generateOccurrences(session, recurrence, options).map(({ startTime }) => startTime);

describe('the occurrences of a session', () => {
  it('are itself without a recurrence, in UTC and with its offsets', () => {
    expect(generateOccurrences(session, null, LA)).toEqual([
      {
        index: 0,
        startTime: '2025-10-29T17:00:00.000Z',
        endTime: '2025-10-29T18:00:00.000Z',
        startOffsetMinutes: -420,
        endOffsetMinutes: -420,
        timeZone: 'America/Los_Angeles',
        nonexistent: false,
        ambiguous: false,
      },
    ]);
  });

  it('stay at 10:00 when the clocks change', () => {
    expect(starts({ rule: 'FREQ=WEEKLY;COUNT=2' })).toEqual([
      '2025-10-29T17:00:00.000Z',
      '2025-11-05T18:00:00.000Z',
    ]);
  });

  it('follow the recurrence’s own zone before the booking’s', () => {
    const [, second] = starts({ rule: 'FREQ=WEEKLY;COUNT=2', timeZone: 'America/Phoenix' });
    expect(second).toBe('2025-11-05T17:00:00.000Z');
  });

  it('take count, until and exceptions from beside the rule', () => {
    expect(starts({ rule: 'FREQ=DAILY', count: 3, exceptions: ['2025-10-30'] })).toHaveLength(2);
    expect(starts({ rule: 'FREQ=DAILY', until: '2025-10-31' })).toHaveLength(3);
    expect(starts({ rule: 'FREQ=DAILY', count: 1, exceptions: ['2025-10-29'] })).toEqual([]);
  });
});

describe('a mistake is a SessionsApiError that names the field', () => {
  it.each<[string, RecurrenceInput | null, object]>([
    ['recurrence.rule', { rule: 'FREQ=WEEKLY' }, LA],
    ['recurrence.rule', { rule: 'FREQ=YEARLY;COUNT=1' }, LA],
    ['recurrence.count', { rule: 'FREQ=DAILY', count: -1 }, LA],
    ['recurrence.until', { rule: 'FREQ=DAILY', until: 'x' }, LA],
    ['recurrence.exceptions.0', { rule: 'FREQ=DAILY;COUNT=2', exceptions: ['x'] }, LA],
    ['recurrence.time_zone', { rule: 'FREQ=DAILY;COUNT=2', timeZone: 'Mars' }, LA],
    ['time_zone', null, { timeZone: 'foo3bar' }],
    // The sign of Date.prototype.getTimezoneOffset, which is the usual mistake.
    ['start_time_offset_minutes', null, { ...LA, startOffsetMinutes: 420 }],
    ['end_time_offset_minutes', null, { ...LA, startOffsetMinutes: -420, endOffsetMinutes: -480 }],
  ])('%s', (path, recurrence, options) => {
    let error: unknown;
    try {
      generateOccurrences(session, recurrence, options as typeof LA);
    } catch (thrown) {
      error = thrown;
    }
    expect(error).toBeInstanceOf(SessionsApiError);
    expect(error).toMatchObject({ status: 400, code: 'VALIDATION_FAILED', issues: [{ path }] });
  });

  it('of the times too', () => {
    const at = (extra: object) => () => generateOccurrences({ ...session, ...extra }, null, LA);
    expect(at({ start_time: 'soon' })).toThrow(/session\.start_time/);
    expect(at({ end_time: session.start_time })).toThrow(/session\.end_time/);
  });
});
