import { describe, expect, it } from 'vitest';
import { interpret } from './outcome.ts';

const raised = (status: number, error: object) => interpret({ status, data: null, error });
const returned = (data: unknown) => interpret({ status: 200, data, error: null });

describe('an outcome', () => {
  it('of success carries its body, and whether it is a replay', () => {
    expect(returned({ ok: true, status: 200, body: { holdKey: 'k' } })).toEqual({
      kind: 'success',
      status: 200,
      data: { holdKey: 'k' },
      replayed: false,
    });
    expect(returned({ ok: true, status: 200, replayed: true, body: {} })).toMatchObject({ replayed: true });
  });

  it('of conflict keeps the hints', () => {
    const hints = {
      retryAfter: '2026-12-07T18:00:00Z',
      retryAfterSeconds: 12.2,
      conflicts: [{}],
      alternatives: [{}],
    };
    expect(
      returned({ ok: false, status: 409, code: 'THERAPIST_HOLD_CONFLICT', detail: 'Taken.', ...hints }),
    ).toEqual({
      kind: 'conflict',
      code: 'THERAPIST_HOLD_CONFLICT',
      detail: 'Taken.',
      ...hints,
      retryAfterSeconds: 13,
    });
  });

  it('of conflict about units says which are short', () => {
    const shortages = [{ occurrenceIndex: 0, limit: 'week', neededUnits: 8, leftUnits: 4 }];
    expect(returned({ ok: false, status: 409, code: 'AUTHORIZATION_EXCEEDED', shortages })).toMatchObject({
      kind: 'conflict',
      shortages,
    });
  });

  it('of a caller who asks too much says when to come back', () => {
    const limited = { ok: false, status: 429, code: 'TOO_MANY_REQUESTS' };
    expect(returned({ ...limited, retryAfterSeconds: 11.5 })).toEqual({
      kind: 'limited',
      retryAfterSeconds: 12,
    });
    expect(returned(limited)).toEqual({ kind: 'limited', retryAfterSeconds: 1 });
    expect(returned({ ...limited, retryAfterSeconds: 86_400 })).toEqual({
      kind: 'limited',
      retryAfterSeconds: 3_600,
    });
  });

  it('of conflict without hints says there are none', () => {
    expect(
      returned({ ok: false, status: 409, code: 'HOLD_MISMATCH', detail: 'Differs.', retryAfter: null }),
    ).toEqual({
      kind: 'conflict',
      code: 'HOLD_MISMATCH',
      detail: 'Differs.',
      retryAfter: null,
      retryAfterSeconds: null,
      conflicts: [],
      alternatives: [],
    });
  });

  it('computes the seconds to wait when the database did not', () => {
    const retryAfter = '2026-12-07T18:00:00.000Z';
    const data = { ok: false, status: 409, code: 'CLIENT_HOLD_CONFLICT', retryAfter };
    const at = (now: string) => interpret({ status: 200, data, error: null }, Date.parse(now));
    expect(at('2026-12-07T17:59:30.500Z')).toMatchObject({ retryAfterSeconds: 30 });
    expect(at('2026-12-07T18:00:10Z')).toMatchObject({ retryAfterSeconds: 1 });
  });

  it.each([
    ['HOLD_EXPIRED', 410],
    ['FORBIDDEN', 403],
    ['IDEMPOTENCY_KEY_REUSED', 422],
  ])('%s is a refusal', (code, status) => {
    expect(returned({ ok: false, status, code, detail: 'Why.' })).toEqual({
      kind: 'refused',
      code,
      detail: 'Why.',
    });
  });

  it.each([null, 'ok', {}, { ok: true }, { ok: false }, { ok: false, code: 'NO_SUCH_CODE' }])(
    'that is not one is unexpected: %j',
    (data) => expect(returned(data).kind).toBe('unexpected'),
  );
});

describe('a raised error', () => {
  it('about input names the fields', () => {
    const issues = [
      { path: 'start_time', message: 'must not be in the past' },
      { path: 'start_time_offset_minutes', message: 'does not match', expected: -420 },
    ];
    const error = { code: 'PT400', message: 'x', details: JSON.stringify(issues), hint: 'VALIDATION_FAILED' };
    expect(raised(400, error)).toEqual({ kind: 'invalid', code: 'VALIDATION_FAILED', issues });
    expect(raised(400, { ...error, hint: 'INVALID_RANGE' })).toMatchObject({ code: 'INVALID_RANGE' });
    expect(raised(400, { ...error, details: 'not json' })).toEqual({
      kind: 'invalid',
      code: 'VALIDATION_FAILED',
      issues: [{ path: 'body', message: 'x' }],
    });
  });

  it('about the caller says who may', () => {
    expect(raised(401, { code: 'PT401', message: 'Who?' })).toMatchObject({ code: 'UNAUTHENTICATED' });
    expect(raised(403, { code: 'PT403', message: 'No.', hint: 'ORGANIZATION_REQUIRED' })).toMatchObject({
      code: 'ORGANIZATION_REQUIRED',
    });
    expect(raised(403, { code: 'PT403', message: 'No.' })).toMatchObject({
      code: 'FORBIDDEN',
      detail: 'No.',
    });
    expect(raised(401, { code: 'PGRST303', message: 'JWT expired' })).toMatchObject({
      code: 'UNAUTHENTICATED',
    });
  });

  it('about a busy database says when to come back', () => {
    expect(raised(503, { code: 'PT503', details: '3' })).toEqual({ kind: 'busy', retryAfterSeconds: 3 });
    for (const details of ['', null, 'soon', '-5', '1e999']) {
      expect(raised(503, { code: 'PT503', details })).toMatchObject({ kind: 'busy' });
    }
  });

  it('about a caller who asks too much says when to come back', () => {
    expect(raised(429, { code: 'PT429', details: '7' })).toEqual({ kind: 'limited', retryAfterSeconds: 7 });
    expect(raised(429, { code: 'PT429', details: null })).toEqual({ kind: 'limited', retryAfterSeconds: 1 });
  });

  it.each([
    [0, { code: '', message: 'TypeError: fetch failed' }],
    [500, { code: '55P03', message: 'canceling statement due to lock timeout' }],
    [500, { code: '40P01', message: 'deadlock detected' }],
    [500, { code: '40001', message: 'could not serialize access due to concurrent update' }],
    [500, { code: '57014', message: 'canceling statement due to statement timeout' }],
    [500, { code: '57P01', message: 'terminating connection due to administrator command' }],
    [500, { code: '57P02', message: 'terminating connection due to crash of another server process' }],
    [500, { code: '57P03', message: 'the database system is starting up' }],
    [500, { code: '53300', message: 'sorry, too many clients already' }],
    [500, { code: 'PGRST000', message: 'Could not connect with the database' }],
    [500, { code: 'PGRST002', message: 'Could not query the database for the schema cache' }],
    [500, { code: 'PGRST003', message: 'Timed out acquiring connection from connection pool' }],
    [408, { message: '' }],
    [429, { message: 'Too many requests' }],
    [500, { code: '08006', message: 'connection failure' }],
    [503, { code: 'PGRST001', message: 'Database client error' }],
    [502, { message: '<html>Bad gateway</html>' }],
    [504, { message: '' }],
  ])('of status %i and %j is a busy database too', (status, error) => {
    expect(raised(status, error)).toEqual({ kind: 'busy', retryAfterSeconds: 1 });
  });

  it('that nobody foresaw shows nothing of itself', () => {
    const secret = 'duplicate key value violates unique constraint "clients_pkey" (Jane Doe)';
    const error = { code: '23505', message: secret, details: secret, hint: secret };
    expect(raised(409, error)).toEqual({ kind: 'unexpected', errorClass: '23505' });
    expect(raised(500, { code: secret, message: secret })).toEqual({
      kind: 'unexpected',
      errorClass: 'HTTP 500',
    });
  });
});
