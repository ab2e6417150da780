/** Series from an app: changed, looked at, continued, cancelled and read, with answers that get lost. */
import { beforeEach, describe, expect, it } from 'vitest';
import {
  bookSession,
  cancelSessionHold,
  cancelSessions,
  changeSeries,
  confirmSeriesChange,
  extendSeries,
  fetchSeries,
  holdSeriesChange,
  previewSeriesChange,
  SessionsApiError,
} from '../../src/lib/index.ts';
import { type Clinic, clientOf, nextSession, openClinic, plusDays, stateOf } from './clinic.ts';

let clinic: Clinic;
let supabase: Awaited<ReturnType<typeof clientOf>>;

beforeEach(async () => {
  clinic = await openClinic();
  supabase = await clientOf(clinic.rbt);
});

const WEEK = 7;

/** A weekly series by UTC's clocks, which never change. */
async function bookWeekly(count: number) {
  const session = nextSession(clinic);
  const { sessions } = await bookSession(supabase, {
    session,
    recurrence: { rule: 'FREQ=WEEKLY', count },
    timeZone: 'UTC',
  });
  const starts = Array.from({ length: count }, (_, week) => plusDays(session.start_time, WEEK * week));
  return { session, sessions, starts, seriesId: sessions[0]?.series_id as string };
}

/** Minutes after another instant. */
const later = (instant: string, minutes: number) =>
  new Date(Date.parse(instant) + minutes * 60_000).toISOString();

const startsOf = async (seriesId: string) =>
  (await fetchSeries(supabase, { seriesId }))?.sessions
    .filter(({ status }) => status === 'scheduled')
    .map(({ start_time }) => new Date(start_time).toISOString());

async function refused(promise: Promise<unknown>): Promise<SessionsApiError> {
  const error = await promise.then(
    () => 'resolved',
    (reason: unknown) => reason,
  );
  if (!(error instanceof SessionsApiError))
    throw new Error(`expected a SessionsApiError, not ${String(error)}`);
  return error;
}

describe('a change of a series', () => {
  it('is made at once, of the following sessions', async () => {
    const { seriesId, starts, sessions } = await bookWeekly(4);
    const answer = await changeSeries(supabase, {
      ...{ seriesId, scope: 'following', from: starts[2] as string },
      change: { shiftMinutes: 30 },
    });
    expect(answer.sessions.map(({ id }) => id)).toEqual(sessions.slice(2).map(({ id }) => id));
    expect(answer.hold.series).toMatchObject({ seriesId, scope: 'following' });
    expect(await startsOf(seriesId)).toEqual(starts.map((start, index) => later(start, index < 2 ? 0 : 30)));
    expect(await stateOf(clinic)).toMatchObject({ liveHolds: 0 });
  });

  it('is held, shown and confirmed, or let go', async () => {
    const { seriesId, starts, sessions } = await bookWeekly(3);
    const all = { seriesId, scope: 'all', change: { durationMinutes: 45 } } as const;
    const held = await holdSeriesChange(supabase, all);
    expect(held.holds.map(({ sessionId, previousStartTime }) => [sessionId, previousStartTime])).toEqual(
      sessions.map(({ id }, index) => [id, starts[index]]),
    );
    await cancelSessionHold(supabase, { holdKey: held.holdKey });
    expect((await refused(confirmSeriesChange(supabase, { held }))).code).toBe('HOLD_NOT_FOUND');
    const again = await holdSeriesChange(supabase, all);
    const first = await confirmSeriesChange(supabase, { held: again });
    expect((await confirmSeriesChange(supabase, { held: again })).sessions).toEqual(first.sessions);
    expect(
      first.sessions.map(
        ({ start_time, end_time }) => (Date.parse(end_time) - Date.parse(start_time)) / 60_000,
      ),
    ).toEqual([45, 45, 45]);
  });

  it('repeated by its key is made once', async () => {
    const { seriesId, starts } = await bookWeekly(2);
    const payload = {
      seriesId,
      scope: 'all',
      change: { shiftMinutes: 15 },
      idempotencyKey: seriesId,
    } as const;
    const first = await changeSeries(supabase, payload);
    const second = await changeSeries(supabase, payload);
    expect(second.sessions).toEqual(first.sessions);
    expect(await startsOf(seriesId)).toEqual(starts.map((start) => later(start, 15)));
  });

  it('that is blocked says of which session, and leaves nothing', async () => {
    const { seriesId, starts, sessions } = await bookWeekly(3);
    const rival = nextSession(clinic, { client: clinic.clients[1] });
    const at = later(starts[1] as string, 120);
    await bookSession(supabase, {
      session: { ...rival, start_time: at, end_time: later(at, 60) },
      timeZone: 'UTC',
    });
    const change = { seriesId, scope: 'all', change: { shiftMinutes: 90 } } as const;
    const preview = await previewSeriesChange(supabase, change);
    expect(preview.map(({ blockedBy }) => blockedBy)).toEqual([null, 'therapist', null]);
    const error = await refused(changeSeries(supabase, change));
    expect(error).toMatchObject({ status: 409, code: 'THERAPIST_CONFLICT' });
    expect(error.conflicts.map(({ sessionId }) => sessionId)).toEqual([sessions[1]?.id]);
    expect(await startsOf(seriesId)).toEqual(starts);
    expect(await stateOf(clinic)).toMatchObject({ liveHolds: 0 });
  });

  it('that cannot be asked names the field', async () => {
    const { seriesId, starts } = await bookWeekly(2);
    const from = later(starts[1] as string, 1);
    const error = await refused(
      changeSeries(supabase, { seriesId, scope: 'following', from, change: { shiftMinutes: 15 } }),
    );
    expect(error).toMatchObject({ status: 400, issues: [{ path: 'series.from' }] });
  });
});

describe('a series', () => {
  it('goes on, is cancelled from a moment on, and tells what was asked and what changed', async () => {
    const { seriesId, starts, session } = await bookWeekly(2);
    const more = await extendSeries(supabase, { seriesId, count: 2 });
    expect(more.sessions.map(({ start_time }) => new Date(start_time).toISOString())).toEqual([
      ...[plusDays(session.start_time, 2 * WEEK), plusDays(session.start_time, 3 * WEEK)],
    ]);
    await changeSeries(supabase, { seriesId, scope: 'all', change: { shiftMinutes: 15 } });
    const from = later(plusDays(session.start_time, 3 * WEEK), 15);
    const { summary } = await cancelSessions(supabase, { seriesId, from });
    expect(summary.cancelledCount).toBe(1);
    const found = await fetchSeries(supabase, { seriesId });
    expect(found?.series).toMatchObject({ recurrence: { rule: 'FREQ=WEEKLY', count: 2 }, time_zone: 'UTC' });
    expect(found?.changes.map(({ change }) => change)).toMatchObject([
      { count: 2 },
      { scope: 'all', shift_minutes: 15 },
    ]);
    expect(found?.sessions).toHaveLength(4);
    expect(await startsOf(seriesId)).toHaveLength(3);
    expect(starts).toHaveLength(2);
  });

  it('is not there for others', async () => {
    const { seriesId } = await bookWeekly(2);
    const other = await clientOf(clinic.bcba);
    expect(await fetchSeries(other, { seriesId })).toBeNull();
    expect((await refused(extendSeries(other, { seriesId, count: 1 }))).status).toBe(403);
    expect((await refused(cancelSessions(other, { seriesId }))).status).toBe(403);
  });
});

it('an extension whose answer was lost is asked for again by its key, and made once', async () => {
  const { seriesId } = await bookWeekly(2);
  let lost = 0;
  const flaky = {
    auth: supabase.auth,
    rpc: (name: never, args: never) => {
      const call = supabase.rpc(name, args);
      if (lost > 0) return call;
      // It arrives, and its answer does not.
      lost += 1;
      const error = { message: 'fetch failed', code: '' };
      return Object.assign(
        Promise.resolve(call).then(() => ({ data: null, error, status: 0 })),
        { setHeader: () => flaky.rpc, abortSignal: () => flaky.rpc },
      );
    },
  };
  const { sessions } = await extendSeries(flaky, { seriesId, count: 1, retry: { baseDelayMs: 1 } });
  expect(lost).toBe(1);
  expect(sessions).toHaveLength(1);
  expect(await startsOf(seriesId)).toHaveLength(3);
});
