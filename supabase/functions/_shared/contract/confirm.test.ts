import { describe, expect, it } from 'vitest';
import { parseConfirm } from './confirm.ts';

const id = (n: number) => `00000000-0000-0000-0000-${String(n).padStart(12, '0')}`;

const session = {
  therapist_id: id(1),
  client_id: id(2),
  start_time: '2026-12-07T10:00:00-08:00',
  end_time: '2026-12-07T11:00:00-08:00',
};
const confirmation = {
  hold_key: id(3),
  session,
  start_time_offset_minutes: -480,
  end_time_offset_minutes: -480,
  time_zone: 'America/Los_Angeles',
};

function accepted(extra: object = {}) {
  const parsed = parseConfirm({ ...confirmation, ...extra });
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.issues));
  return parsed.value.request;
}

function refused(body: object) {
  const parsed = parseConfirm(body);
  if (parsed.ok) throw new Error('was accepted');
  return { code: parsed.code, paths: parsed.issues.map(({ path }) => path) };
}

describe('a confirmation', () => {
  it('is handed on in UTC, each occurrence complete', () => {
    const request = accepted({
      cpt: { code: '97153', modifiers: ['hq', 'HQ'] },
      occurrences: [{ ...confirmation, time_zone: undefined, hold_key: id(4) }],
    });
    expect(request).toMatchObject({
      session: { start_time: '2026-12-07T18:00:00.000Z' },
      occurrences: [
        {
          hold_key: id(4),
          cpt: { code: '97153', modifiers: ['HQ'] },
          time_zone: 'America/Los_Angeles',
          session: { end_time: '2026-12-07T19:00:00.000Z' },
        },
      ],
    });
  });

  it('tells modifiers that are not given from none', () => {
    expect(accepted({ cpt: { code: '97153' } })).toHaveProperty('cpt', { code: '97153' });
    expect(accepted({ cpt: { code: '97153', modifiers: null } })).toHaveProperty('cpt', { code: '97153' });
    expect(accepted({ cpt: { code: '97153', modifiers: [] } })).toMatchObject({ cpt: { modifiers: [] } });
  });

  it('names everything that is missing', () => {
    expect(refused({})).toEqual({
      code: 'MISSING_FIELDS',
      paths: ['hold_key', 'session', 'time_zone'],
    });
    expect(refused({ ...confirmation, hold_key: ' ' })).toEqual({
      code: 'MISSING_FIELDS',
      paths: ['hold_key'],
    });
    expect(
      refused({ ...confirmation, session: { ...session, client_id: null, start_time: undefined } }),
    ).toEqual({
      code: 'MISSING_FIELDS',
      paths: ['session.client_id', 'session.start_time'],
    });
    expect(refused({ ...confirmation, occurrences: [{ ...confirmation, hold_key: undefined }] })).toEqual({
      code: 'MISSING_FIELDS',
      paths: ['occurrences.0.hold_key'],
    });
  });

  it.each([
    ['hold_key', { hold_key: 'abc' }],
    ['session', { session: 'abc' }],
    ['session.id', { session: { ...session, id: 'abc' } }],
    ['session.session_type', { session: { ...session, session_type: '\u0000' } }],
    ['session.location_type', { session: { ...session, location_type: 'x'.repeat(65) } }],
    ['cpt.code', { cpt: { code: '!' } }],
    ['cpt.modifiers', { cpt: { code: '97153', modifiers: ['A1', 'A2', 'A3', 'A4', 'A5'] } }],
    ['cpt.modifiers.0', { cpt: { code: '97153', modifiers: ['telehealth'] } }],
    ['time_zone', { time_zone: '+08:00' }],
    ['start_time_offset_minutes', { start_time_offset_minutes: 900 }],
    ['occurrences', { occurrences: Array(367).fill(confirmation) }],
    ['occurrences.0', { occurrences: [7] }],
  ])('is refused at %s', (path, extra) => {
    expect(refused({ ...confirmation, ...extra })).toEqual({ code: 'VALIDATION_FAILED', paths: [path] });
  });

  it.each([
    ['notes', { notes: 'Played with blocks' }],
    ['session.notes', { session: { ...session, notes: { text: 'x' } } }],
    ['occurrences.0.notes', { occurrences: [{ ...confirmation, notes: 'x' }] }],
    [
      'occurrences.0.session.notes',
      { occurrences: [{ ...confirmation, session: { ...session, notes: 'x' } }] },
    ],
  ])('carries no notes: %s is refused', (path, extra) => {
    expect(refused({ ...confirmation, ...extra })).toEqual({ code: 'VALIDATION_FAILED', paths: [path] });
  });

  it.each([null, '', ' \n', undefined])('takes the note %j for none', (notes) => {
    const given = accepted({
      notes,
      session: { ...session, notes },
      occurrences: [{ ...confirmation, notes, session: { ...session, notes } }],
    });
    expect(JSON.stringify(given)).not.toContain('notes');
  });

  it('leaves the offsets to the database, both their value and their absence', () => {
    expect(accepted({ start_time_offset_minutes: 480 })).toMatchObject({ start_time_offset_minutes: 480 });
    expect(accepted({ start_time_offset_minutes: undefined }).start_time_offset_minutes).toBeUndefined();
  });
});
