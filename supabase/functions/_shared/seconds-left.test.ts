import { expect, it } from 'vitest';
import { withSecondsLeft } from './seconds-left.ts';

const now = Date.parse('2026-12-07T18:00:00Z');
const held = (data: object, replayed = false) =>
  withSecondsLeft({ kind: 'success', status: 200, replayed, data }, now);

it('stands beside each expiry of a hold', () => {
  const expiresAt = '2026-12-07T18:05:00.000Z';
  expect(held({ expiresAt, holds: [{ holdKey: 'k', expiresAt }] })).toMatchObject({
    data: { expiresAt, secondsLeft: 300, holds: [{ holdKey: 'k', expiresAt, secondsLeft: 300 }] },
  });
});

it('stands beside the expiry of a hold in the way, and not beside a session', () => {
  const conflicts = [{ blockedBy: 'hold', expiresAt: '2026-12-07T18:00:01.200Z' }, { blockedBy: 'session' }];
  const refusal = { code: 'THERAPIST_HOLD_CONFLICT', detail: '', alternatives: [] } as const;
  const answer = {
    kind: 'conflict',
    ...refusal,
    retryAfter: null,
    retryAfterSeconds: null,
    conflicts,
  } as const;
  expect(withSecondsLeft({ ...answer, conflicts: [...conflicts], alternatives: [] }, now)).toMatchObject({
    conflicts: [{ secondsLeft: 2 }, { blockedBy: 'session' }],
  });
});

it('is the database’s own count, except in a replay, which was counted at another time', () => {
  const counted = { expiresAt: '2026-12-07T18:05:00Z', secondsLeft: 299 };
  expect(held(counted)).toMatchObject({ data: { secondsLeft: 299 } });
  expect(held({ ...counted, secondsLeft: 900 }, true)).toMatchObject({ data: { secondsLeft: 300 } });
});

it('is never negative', () => {
  expect(held({ expiresAt: '2026-12-07T17:00:00Z' })).toMatchObject({ data: { secondsLeft: 0 } });
});
