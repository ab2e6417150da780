import { describe, expect, it } from 'vitest';
import { parseCancel } from './cancel.ts';

const id = (n: number) => `00000000-0000-0000-0000-${String(n).padStart(12, '0')}`;

function accepted(body: object) {
  const parsed = parseCancel(body);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
  return parsed.value;
}

function pathsOf(body: unknown) {
  const parsed = parseCancel(body);
  if (parsed.ok) throw new Error('was accepted');
  expect(parsed.code).toBe('VALIDATION_FAILED');
  return parsed.issues.map(({ path }) => path);
}

describe('a cancellation', () => {
  it('with a hold key releases, and ignores why', () => {
    expect(
      accepted({ hold_key: id(1), reason: 'changed our mind', session_ids: null, all_therapists: false }),
    ).toEqual({
      rpc: 'release_hold',
      request: { hold_key: id(1) },
    });
  });

  it('without one cancels sessions, each counted once', () => {
    expect(
      accepted({ session_ids: [id(2), id(2)], reason: ' Ill ', cancellation_attribution: 'client' }),
    ).toEqual({
      rpc: 'cancel_sessions',
      request: { session_ids: [id(2)], reason: 'Ill', cancellation_attribution: 'client' },
    });
    expect(
      accepted({ date: '2026-11-01', time_zone: 'America/Los_Angeles', all_therapists: true }).request,
    ).toEqual({
      date: '2026-11-01',
      time_zone: 'America/Los_Angeles',
      all_therapists: true,
    });
  });

  it('must say what to cancel', () => {
    const ways = ['hold_key', 'session_ids', 'series_id', 'date'];
    expect(pathsOf({})).toEqual(ways);
    expect(pathsOf({ hold_key: ' ' })).toEqual(ways);
    expect(pathsOf({ therapist_id: id(1), time_zone: 'UTC' })).toEqual(ways);
  });

  it('takes a hold key that is blank for none', () => {
    for (const hold_key of [null, '', ' ']) {
      expect(accepted({ hold_key, session_ids: [id(1)] }).rpc).toBe('cancel_sessions');
    }
  });

  it('may be of a series, from a moment on', () => {
    const request = { series_id: id(1), from: '2026-12-07T10:00:00-08:00' };
    expect(accepted(request)).toMatchObject({
      rpc: 'cancel_sessions',
      request: { series_id: id(1), from: '2026-12-07T18:00:00.000Z' },
    });
  });

  it('may be of several local days', () => {
    const days = { from_date: '2026-12-24', to_date: '2027-01-01', time_zone: 'UTC' };
    expect(accepted(days).request).toEqual(days);
  });

  it('may not take an empty list of sessions for the whole day', () => {
    expect(pathsOf({ session_ids: [], date: '2026-11-01', time_zone: 'UTC' })).toEqual(['session_ids']);
  });

  it.each(['session_ids', 'series_id', 'from', 'date', 'from_date', 'therapist_id', 'all_therapists'])(
    'with a hold key may not have %s',
    (field) => {
      expect(pathsOf({ hold_key: id(1), [field]: true })).toEqual([field]);
    },
  );

  it.each([
    ['hold_key', { hold_key: 'abc' }],
    ['session_ids', { session_ids: 'abc' }],
    ['session_ids', { session_ids: Array(1001).fill(id(1)) }],
    ['session_ids.1', { session_ids: [id(1), 'abc'] }],
    ['date', { date: '2026-02-29', time_zone: 'UTC' }],
    ['date', { date: '2026-11-01T00:00:00Z', time_zone: 'UTC' }],
    ['time_zone', { date: '2026-11-01' }],
    ['time_zone', { date: '2026-11-01', time_zone: '+08:00' }],
    ['therapist_id', { session_ids: [id(1)], therapist_id: 'abc' }],
    ['all_therapists', { session_ids: [id(1)], all_therapists: 'yes' }],
    ['all_therapists', { date: '2026-11-01', time_zone: 'UTC', therapist_id: id(1), all_therapists: true }],
    ['reason', { session_ids: [id(1)], reason: 'x'.repeat(501) }],
    ['reason', { session_ids: [id(1)], reason: 'a\u0000b' }],
    ['cancellation_attribution', { session_ids: [id(1)], cancellation_attribution: 'dog' }],
  ])('is refused at %s', (path, body) => {
    expect(pathsOf(body)).toEqual([path]);
  });
});
