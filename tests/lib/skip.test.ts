/** `bookSession` with `onConflict: 'skip'`: what it leaves out, and that its key repeats it. */
import { beforeAll, beforeEach, expect, it } from 'vitest';
import {
  type BookSessionRequest,
  bookSession,
  cancelSessions,
  SessionsApiError,
} from '../../src/lib/index.ts';
import { stack } from '../setup/stack.ts';
import { type Clinic, clientOf, LA, nextSession, openClinic, plusDays, stateOf } from './clinic.ts';
import { type FaultyProxy, startFaultyProxy } from './faulty-proxy.ts';

let clinic: Clinic;
let proxy: FaultyProxy;
let supabase: Awaited<ReturnType<typeof clientOf>>;

beforeAll(async () => {
  clinic = await openClinic();
  proxy = await startFaultyProxy(stack.apiUrl);
  supabase = await clientOf(clinic.rbt, proxy.url);
  return () => proxy.close();
});
beforeEach(() => {
  proxy.calls.length = 0;
  proxy.fate = () => 'pass';
});

/** A weekly series of four whose second week is taken, and its booking. */
async function withTakenWeek(extra: Partial<BookSessionRequest> = {}) {
  const session = nextSession(clinic);
  const taken = {
    ...session,
    start_time: plusDays(session.start_time, 7),
    end_time: plusDays(session.end_time, 7),
  };
  const { session: inTheWay } = await bookSession(supabase, { session: taken, timeZone: 'UTC' });
  proxy.calls.length = 0;
  const booking: BookSessionRequest = {
    session,
    recurrence: { rule: 'FREQ=WEEKLY;COUNT=4' },
    timeZone: 'UTC',
    onConflict: 'skip',
    idempotencyKey: crypto.randomUUID(),
    ...extra,
  };
  return { booking, inTheWay };
}

const ids = ({ sessions }: { sessions: readonly { id: string }[] }) => sessions.map(({ id }) => id);
const keysOf = (name: string) => proxy.calls.filter((call) => call.name === name).map(({ key }) => key);

it('repeated by its key answers the booking made before, and what it left out', async () => {
  const { booking } = await withTakenWeek();
  const first = await bookSession(supabase, booking);
  const before = await stateOf(clinic);
  const again = await bookSession(supabase, booking);
  expect(again).toEqual(first);
  expect(first.skipped).toMatchObject([{ index: 1, blockedBy: 'therapist', by: 'session' }]);
  expect(await stateOf(clinic)).toEqual(before);
});

it('repeated after what was in the way has gone still answers the booking made before', async () => {
  const { booking, inTheWay } = await withTakenWeek();
  const first = await bookSession(supabase, booking);
  await cancelSessions(supabase, { sessionIds: [inTheWay.id] });
  const before = await stateOf(clinic);
  const again = await bookSession(supabase, booking);
  expect(ids(again)).toEqual(ids(first));
  expect(again.skipped).toMatchObject([{ index: 1, blockedBy: null, by: null }]);
  expect(await stateOf(clinic)).toEqual(before);
});

it('asks in each round with another key, derived from its own', async () => {
  const { booking } = await withTakenWeek();
  await bookSession(supabase, booking);
  const keys = keysOf('sessions-hold');
  expect(keys[0]).toBe(booking.idempotencyKey);
  expect(keys[1]).toContain(booking.idempotencyKey);
  expect(new Set(keys).size).toBe(keys.length);
});

it('goes on where an earlier call stopped between hold and confirm', async () => {
  const { booking } = await withTakenWeek({ retry: { attempts: 1 } });
  // The page is closed in the middle: neither the confirmation nor the release arrives.
  proxy.fate = (name) => (name === 'sessions-hold' ? 'pass' : 'lose-request');
  await expect(bookSession(supabase, { ...booking, onReleaseError: () => undefined })).rejects.toThrow();
  proxy.fate = () => 'pass';
  const { sessions, skipped } = await bookSession(supabase, booking);
  expect(sessions).toHaveLength(3);
  expect(skipped).toMatchObject([{ index: 1 }]);
});

it('with another key, what it booked itself is in the way', async () => {
  const { booking } = await withTakenWeek();
  await bookSession(supabase, booking);
  const again = bookSession(supabase, { ...booking, idempotencyKey: crypto.randomUUID() });
  await expect(again).rejects.toMatchObject({ status: 409, code: 'THERAPIST_CONFLICT' });
  await expect(again).rejects.toBeInstanceOf(SessionsApiError);
});

it('an occurrence that the clocks moved is left out by the rule as by hand', async () => {
  // 02:30 in Los Angeles on the second Sunday of next March, when the clocks go from 02:00 to 03:00.
  const march = Date.UTC(new Date().getUTCFullYear() + 1, 2, 1);
  const sunday = march + (((7 - new Date(march).getUTCDay()) % 7) + 7) * 86_400_000;
  const spring = new Date(sunday + 10.5 * 3_600_000).toISOString();
  const hourLater = (instant: string) => new Date(Date.parse(instant) + 3_600_000).toISOString();
  const start_time = plusDays(spring, -1);
  const session = { ...nextSession(clinic), start_time, end_time: hourLater(start_time) };
  await bookSession(supabase, {
    session: { ...session, start_time: spring, end_time: hourLater(spring) },
    timeZone: LA,
  });
  const { sessions, skipped } = await bookSession(supabase, {
    session,
    recurrence: { rule: 'FREQ=DAILY;COUNT=3' },
    timeZone: LA,
    onConflict: 'skip',
  });
  expect(skipped).toMatchObject([{ index: 1, nonexistent: true }]);
  expect(sessions.map(({ start_time }) => new Date(start_time).toISOString())).toEqual([
    start_time,
    new Date(Date.parse(spring) + 23 * 3_600_000).toISOString(),
  ]);
});
