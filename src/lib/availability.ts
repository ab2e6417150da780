import { callOutcome } from './callOutcome.ts';
import type { Database, Json } from './database.types.ts';
import type { TouchedHolds } from './leaving.ts';
import { type ReadOptions, read, readWholeList } from './readRest.ts';
import { readScope } from './scheduleQueries.ts';
import { checkGiven, SessionsApiError } from './sessionsApiError.ts';
import { type RpcCaller, type TableReader, tableOf } from './supabaseClient.ts';

/** The days of a week, as weekly hours name them. */
export const WEEKDAYS = [
  'monday',
  'tuesday',
  'wednesday',
  'thursday',
  'friday',
  'saturday',
  'sunday',
] as const;
/** A day of the week. */
export type Weekday = (typeof WEEKDAYS)[number];

/** When somebody works, week by week: local times of their own zone, `HH:mm`. A day that is missing is a day off. */
export type WeeklyHours = Partial<
  Record<Weekday, readonly { readonly start: string; readonly end: string }[]>
>;

/** Time off or extra hours, as stored. */
export type AvailabilityException = Database['public']['Tables']['availability_exceptions']['Row'];

/** What lies outside new hours. It stays until somebody moves or cancels it. */
export interface TouchedByHours {
  /** How many sessions to come. */
  readonly touched: number;
  /** The first hundred of them, the earliest first. */
  readonly touchedSessionIds: readonly string[];
  /** How many live holds. They can still be confirmed. */
  readonly touchedHolds: number;
  /** When the last of them expires; null when there is none. */
  readonly touchedHoldsUntil: string | null;
}

type Availability = TableReader;

/**
 * Sets when a therapist works, week by week.
 *
 * @param supabase - a supabase-js client
 * @param payload - the hours, and for admins whose; see {@link WeeklyHours}
 * @returns how many sessions to come lie outside these hours, the first hundred of them, and live holds there
 * @throws SessionsApiError 400 for hours that overlap or end before they begin, 403 when they are not the caller's to set
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const { touched } = await setWeeklyHours(supabase, { hours: { monday: [{ start: '08:00', end: '12:30' }] } });
 * if (touched > 0) console.log(`${touched} sessions lie outside of them`);
 * ```
 */
export async function setWeeklyHours(
  supabase: RpcCaller,
  payload: ReadOptions & { readonly hours: WeeklyHours; readonly therapistId?: string },
): Promise<TouchedByHours> {
  checkGiven(payload);
  return await callOutcome<TouchedByHours>(
    supabase,
    'set_availability_hours',
    { availability_hours: payload.hours as Json, therapist_id: payload.therapistId },
    payload,
  );
}

/**
 * Weekly hours in a line; days with the same hours are named together.
 *
 * @param hours - the hours, or null for somebody who may be booked at any time
 * @returns such as `Mon – Fri 08:00–18:00`
 * @example
 * ```ts
 * const day = [{ start: '08:00', end: '12:00' }];
 * hoursInWords({ monday: day, tuesday: day, friday: day }); // 'Mon – Tue 08:00–12:00; Fri 08:00–12:00'
 * ```
 */
export function hoursInWords(hours: WeeklyHours | null): string {
  if (!hours) return 'no hours set: can be booked at any time';
  const runs: { from: string; to: string; text: string }[] = [];
  for (const day of WEEKDAYS) {
    const name = `${day[0]?.toUpperCase()}${day.slice(1, 3)}`;
    const text = (hours[day] ?? []).map(({ start, end }) => `${start}–${end}`).join(', ');
    const last = runs.at(-1);
    if (last?.text === text) last.to = name;
    else runs.push({ from: name, to: name, text });
  }
  const written = runs
    .filter(({ text }) => text)
    .map(({ from, to, text }) => `${from === to ? from : `${from} – ${to}`} ${text}`);
  return written.join('; ') || 'does not work at present';
}

/**
 * Time off and extra hours that touch a span of time.
 *
 * @param supabase - a supabase-js client
 * @param query - the span (instants), and whose; of everybody within reach when absent
 * @returns the entries, by start
 * @throws SessionsApiError 401 without a session, 403 `ORGANIZATION_REQUIRED`
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const week = weekBounds('2026-12-01', 'America/Los_Angeles');
 * const entries = await fetchAvailabilityExceptions(supabase, { ...week, therapistId });
 * entries.filter(({ kind }) => kind === 'time_off').length; // how often the therapist is away
 * ```
 */
export async function fetchAvailabilityExceptions(
  supabase: Availability,
  query: ReadOptions & { readonly from: string; readonly to: string; readonly therapistId?: string | null },
): Promise<AvailabilityException[]> {
  checkGiven(query);
  const { organizationId } = await readScope(supabase, query.accessToken);
  return await readWholeList(
    () => {
      const asked = tableOf(supabase, 'availability_exceptions')
        .select('*')
        .eq('organization_id', organizationId)
        .lt('starts_at', query.to)
        .gt('ends_at', query.from);
      const some = query.therapistId ? asked.eq('therapist_id', query.therapistId) : asked;
      return some.order('starts_at').order('id');
    },
    query,
    supabase,
  );
}

/**
 * Enters time off or extra hours. Sessions that are booked stay as they are.
 *
 * @param supabase - a supabase-js client
 * @param payload - whose, from when to when (instants), and which of the two
 * @returns the entry as stored
 * @throws SessionsApiError 403 when it is not the caller's to enter
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * await addAvailabilityException(supabase, {
 *   therapistId,
 *   kind: 'time_off',
 *   from: '2026-12-24T08:00:00Z',
 *   to: '2026-12-25T08:00:00Z',
 * });
 * ```
 */
export async function addAvailabilityException(
  supabase: Availability,
  payload: ReadOptions & {
    readonly therapistId: string;
    readonly kind: AvailabilityException['kind'];
    readonly from: string;
    readonly to: string;
  },
): Promise<AvailabilityException> {
  checkGiven(payload);
  const { organizationId } = await readScope(supabase, payload.accessToken);
  const [entry] = await read<AvailabilityException[]>(
    tableOf(supabase, 'availability_exceptions')
      .insert({
        organization_id: organizationId,
        therapist_id: payload.therapistId,
        kind: payload.kind,
        starts_at: payload.from,
        ends_at: payload.to,
      })
      .select(),
    payload,
    supabase,
  );
  if (!entry) throw new SessionsApiError({ status: 403, code: 'FORBIDDEN', message: 'Nothing was stored.' });
  return entry;
}

/** Whose time off, and when. */
export interface TimeOffRequest extends ReadOptions {
  /** For admins: whose; the caller's own when absent. */
  readonly therapistId?: string;
  /** The first whole day, `YYYY-MM-DD`, in the therapist's own zone. */
  readonly fromDate: string;
  /** The last whole day; the first when absent. */
  readonly toDate?: string;
  /** Also cancel what is booked there, in the same transaction. */
  readonly cancelSessions?: boolean;
  /** Why, for those who are cancelled. */
  readonly reason?: string;
}

/** Time off as entered, and what it touches. */
export interface TimeOff extends TouchedHolds {
  readonly exceptionId: string;
  readonly startsAt: string;
  readonly endsAt: string;
  /** How many booked sessions lie in it. */
  readonly touched: number;
  /** How many of them were cancelled. */
  readonly cancelled: number;
  /** How many staff times lie in it, and how many of them ended; a meeting of others goes on without them. */
  readonly touchedStaffTimes: number;
  readonly cancelledStaffTimes: number;
}

/**
 * Enters whole days off, and says which sessions that touches.
 *
 * @param supabase - a supabase-js client
 * @param payload - whose, when, and whether to cancel; see {@link TimeOffRequest}
 * @returns the entry, and how many sessions it touches
 * @throws SessionsApiError 400 for days that are in the past or out of order, 403 when it is not the caller's to enter
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const { cancelled } = await addTimeOff(supabase, { therapistId, fromDate: '2026-12-01', cancelSessions: true });
 * cancelled; // how many sessions were cancelled with it
 * ```
 */
export async function addTimeOff(supabase: RpcCaller, payload: TimeOffRequest): Promise<TimeOff> {
  checkGiven(payload);
  const request = {
    therapist_id: payload.therapistId,
    from_date: payload.fromDate,
    to_date: payload.toDate,
    cancel_sessions: payload.cancelSessions,
    reason: payload.reason,
  };
  return await callOutcome<TimeOff>(supabase, 'add_time_off', { request }, payload);
}

/**
 * Takes an entry of time off or extra hours back.
 *
 * @param supabase - a supabase-js client
 * @param payload - the entry's id
 * @throws SessionsApiError 401 without a session, 403 `ORGANIZATION_REQUIRED`
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const week = weekBounds('2026-12-01', 'America/Los_Angeles');
 * const [first] = await fetchAvailabilityExceptions(supabase, { ...week, therapistId });
 * if (first) await removeAvailabilityException(supabase, { id: first.id });
 * ```
 */
export async function removeAvailabilityException(
  supabase: Availability,
  payload: ReadOptions & { readonly id: string },
): Promise<void> {
  checkGiven(payload);
  const { organizationId } = await readScope(supabase, payload.accessToken);
  await read(
    tableOf(supabase, 'availability_exceptions')
      .delete()
      .eq('organization_id', organizationId)
      .eq('id', payload.id)
      .select('id'),
    payload,
    supabase,
  );
}
