/** A retried request has one effect and gets the first answer again. */
import { randomUUID } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  type Answer,
  type Clinic,
  call,
  confirmationOf,
  countRows,
  expire,
  hold,
  holdOf,
  openClinic,
  window,
} from './clinic.ts';

let clinic: Clinic;
let day = 0;
beforeAll(async () => {
  clinic = await openClinic();
});

const rbtHold = (hour: number, extra: object = {}) =>
  holdOf(clinic.rbt, clinic.clients[0], window(day, hour), extra);
const withKey = (key: string) => ({ 'idempotency-key': key });

function expectReplay(answer: Answer, first: Answer, key: string) {
  expect(answer.status).toBe(first.status);
  expect(answer.body).toEqual(first.body);
  expect(answer.headers.get('idempotent-replay')).toBe('true');
  expect(answer.headers.get('idempotency-key')).toBe(key);
}

describe('an idempotency key', () => {
  it('replays the answer to the same request, however it is written', async () => {
    day += 1;
    const key = randomUUID();
    const first = await call('sessions-hold', clinic.rbt, rbtHold(10), withKey(key));
    expect([first.status, first.headers.get('idempotent-replay')]).toEqual([200, null]);
    expectReplay(await call('sessions-hold', clinic.rbt, rbtHold(10), withKey(key)), first, key);

    const { start_time, end_time, ...rest } = rbtHold(10);
    const local = (instant: string) =>
      new Date(Date.parse(instant) + 3_600_000).toISOString().replace('Z', '+01:00');
    const respelled = {
      unknown: 'field',
      ...rest,
      hold_seconds: 300,
      session_type: null,
      therapist_id: clinic.rbt.id.toUpperCase(),
      start_time: local(start_time),
      end_time: local(end_time),
    };
    expectReplay(await call('sessions-hold', clinic.rbt, respelled, withKey(key)), first, key);
  });

  it('is refused for another request', async () => {
    day += 1;
    const key = randomUUID();
    await call('sessions-hold', clinic.rbt, rbtHold(10), withKey(key));
    const answer = await call('sessions-hold', clinic.rbt, rbtHold(12), withKey(key));
    expect(answer.status).toBe(422);
    expect(answer.body).toMatchObject({ code: 'IDEMPOTENCY_KEY_REUSED' });
    expect(answer.headers.get('idempotent-replay')).toBeNull();
    const release = { hold_key: randomUUID() };
    expect((await call('sessions-cancel', clinic.rbt, release, withKey(key))).status).toBe(200);
    const cancellation = { session_ids: [randomUUID()] };
    expect((await call('sessions-cancel', clinic.rbt, cancellation, withKey(key))).status).toBe(422);
  });

  it('belongs to one user: another’s is her own', async () => {
    day += 1;
    const key = randomUUID();
    await call('sessions-hold', clinic.rbt, rbtHold(10), withKey(key));
    const other = await call(
      'sessions-hold',
      clinic.bcba,
      holdOf(clinic.bcba, clinic.clients[1], window(day, 10)),
      withKey(key),
    );
    expect([other.status, other.headers.get('idempotent-replay')]).toEqual([200, null]);
  });

  it('has one effect for twenty duplicates at once', async () => {
    day += 1;
    const key = randomUUID();
    const before = await countRows(clinic.organizationId);
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => call('sessions-hold', clinic.rbt, rbtHold(10), withKey(key))),
    );
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200));
    expect(new Set(answers.map(({ body }) => body.data.holdKey)).size).toBe(1);
    expect(answers.filter(({ headers }) => headers.get('idempotent-replay') === 'true')).toHaveLength(19);
    const after = await countRows(clinic.organizationId);
    expect(after.batches).toBe((before.batches ?? 0) + 1);
  });

  it('of a refused request can be used again', async () => {
    day += 1;
    const key = randomUUID();
    const { holdKey } = await hold(clinic.rbt, rbtHold(10));
    expect((await call('sessions-hold', clinic.rbt, rbtHold(10), withKey(key))).status).toBe(409);
    expect(
      (await call('sessions-hold', clinic.rbt, { ...rbtHold(10), hold_seconds: 1 }, withKey(key))).status,
    ).toBe(400);
    await call('sessions-cancel', clinic.rbt, { hold_key: holdKey });
    const answer = await call('sessions-hold', clinic.rbt, rbtHold(10), withKey(key));
    expect([answer.status, answer.headers.get('idempotent-replay')]).toEqual([200, null]);
  });

  it('of a hold lapses with the hold: a retry gets no dead keys', async () => {
    day += 1;
    const key = randomUUID();
    const first = await call('sessions-hold', clinic.rbt, rbtHold(10), withKey(key));
    await expire(first.body.data.holdId);
    const second = await call('sessions-hold', clinic.rbt, rbtHold(10), withKey(key));
    expect([second.status, second.headers.get('idempotent-replay')]).toEqual([200, null]);
    expect(second.body.data.holdKey).not.toBe(first.body.data.holdKey);
  });

  it('takes the only occurrence of a hold for the same, listed or not, by either key', async () => {
    day += 1;
    const key = randomUUID();
    const body = rbtHold(10);
    const held = await hold(clinic.rbt, body);
    const { occurrences, ...unlisted } = confirmationOf(body, held);
    const first = await call('sessions-confirm', clinic.rbt, unlisted, withKey(key));
    expect(first.status).toBe(200);
    expectReplay(
      await call('sessions-confirm', clinic.rbt, { ...unlisted, occurrences }, withKey(key)),
      first,
      key,
    );
    const byBatch = occurrences.map((each) => ({ ...each, hold_key: held.holdKey }));
    expectReplay(
      await call('sessions-confirm', clinic.rbt, { ...unlisted, occurrences: byBatch }, withKey(key)),
      ...([first, key] as const),
    );
    const unknown = occurrences.map((each) => ({ ...each, hold_key: randomUUID() }));
    const other = await call(
      'sessions-confirm',
      clinic.rbt,
      { ...unlisted, occurrences: unknown },
      withKey(key),
    );
    expect([other.status, other.body.code]).toEqual([422, 'IDEMPOTENCY_KEY_REUSED']);
  });

  it('replays confirmations and cancellations too', async () => {
    day += 1;
    const body = rbtHold(10);
    const confirmation = confirmationOf(body, await hold(clinic.rbt, body));
    const key = randomUUID();
    const confirmed = await call('sessions-confirm', clinic.rbt, confirmation, withKey(key));
    expect(confirmed.status).toBe(200);
    expectReplay(await call('sessions-confirm', clinic.rbt, confirmation, withKey(key)), confirmed, key);

    const cancellation = { session_ids: [confirmed.body.data.session.id] };
    const cancelled = await call('sessions-cancel', clinic.rbt, cancellation, withKey(key));
    expect(cancelled.body.data.summary.cancelledCount).toBe(1);
    expectReplay(await call('sessions-cancel', clinic.rbt, cancellation, withKey(key)), cancelled, key);
  });
});
