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
    const issues = [{ path: 'start_time', message: 'must not be in the past' }];
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

  it.each([
    [0, { code: '', message: 'TypeError: fetch failed' }],
    [500, { code: '40P01', message: 'deadlock detected' }],
    [500, { code: '57014', message: 'canceling statement due to statement timeout' }],
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
