import type { Weekday } from './availability.ts';
import { callOutcome } from './callOutcome.ts';
import type { Database } from './database.types.ts';
import { generateOccurrences, type RecurrenceInput } from './generateOccurrences.ts';
import { inChunks, type ReadOptions, readWholeList } from './readRest.ts';
import { readScope } from './scheduleQueries.ts';
import { checkGiven } from './sessionsApiError.ts';
import { type RpcCaller, type TableReader, tableOf } from './supabaseClient.ts';

type Row = Database['public']['Tables']['staff_times']['Row'];
type Member = Database['public']['Tables']['staff_time_members']['Row'];

/** What therapists do when they are with no client. */
export type StaffTimeKind = Row['kind'];

/** One staff time, as an answer tells it. Times are instants. */
export interface StaffTime {
  readonly id: string;
  readonly kind: StaffTimeKind;
  readonly startTime: string;
  readonly endTime: string;
  /** Equal for all that were entered together; null for one alone. */
  readonly seriesId: string | null;
}

/** What {@link addStaffTime} enters. */
export interface StaffTimeRequest extends ReadOptions {
  readonly kind: StaffTimeKind;
  /** Whose time it takes, up to 100; absent: the caller's own. Therapists may name themselves only. */
  readonly therapistIds?: readonly string[] | null;
  readonly roomId?: string | null;
  /** The first one: instants with an offset or `Z`. */
  readonly startTime: string;
  readonly endTime: string;
  /** The IANA zone it is meant in. */
  readonly timeZone: string;
  /** A series, expanded in local civil time; see `generateOccurrences`. */
  readonly recurrence?: RecurrenceInput | null;
  /** For admins: why it may lie outside hours, in time off or in a closure. */
  readonly overrideReason?: string | null;
  /** Makes a retry safe: the same key with the same request has one effect. */
  readonly idempotencyKey?: string | null;
}

/**
 * Enters time without a client: a meeting, supervision, a drive, documentation, training or a break. It blocks every
 * therapist it names, and its room, or nobody.
 *
 * @param supabase - a supabase-js client
 * @param payload - what, whose and when; see {@link StaffTimeRequest}
 * @returns what was entered, in order
 * @throws SessionsApiError 409 such as `THERAPIST_CONFLICT`, `THERAPIST_HOLD_CONFLICT`, `ROOM_CONFLICT` or
 *   `OUTSIDE_AVAILABILITY`; each of `conflicts` has the `therapistId` that was asked for, `alternatives` are when all can
 * @throws SessionsApiError 400 for a time that cannot be, 403 when it is not the caller's time to take
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const { staffTimes } = await addStaffTime(supabase, {
 *   kind: 'meeting',
 *   therapistIds: [therapistId],
 *   startTime: '2026-12-01T09:00:00-08:00',
 *   endTime: '2026-12-01T10:00:00-08:00',
 *   timeZone: 'America/Los_Angeles',
 *   recurrence: { rule: 'FREQ=WEEKLY;COUNT=10' },
 * });
 * ```
 */
export async function addStaffTime(
  supabase: RpcCaller,
  payload: StaffTimeRequest,
): Promise<{ readonly staffTimes: StaffTime[]; readonly seriesId: string | null }> {
  checkGiven(payload);
  const { recurrence } = payload;
  const occurrences = generateOccurrences(
    { start_time: payload.startTime, end_time: payload.endTime },
    recurrence,
    { timeZone: payload.timeZone },
  );
  const [first] = occurrences;
  const request = {
    kind: payload.kind,
    therapist_ids: payload.therapistIds,
    room_id: payload.roomId,
    time_zone: first?.timeZone ?? payload.timeZone,
    start_time: first?.startTime ?? payload.startTime,
    end_time: first?.endTime ?? payload.endTime,
    ...(recurrence && {
      occurrences: occurrences.map(({ startTime, endTime }) => ({
        start_time: startTime,
        end_time: endTime,
      })),
      recurrence: {
        rule: recurrence.rule,
        count: recurrence.count,
        until: recurrence.until,
        exceptions: recurrence.exceptions,
        time_zone: recurrence.timeZone,
      },
    }),
    ...(payload.overrideReason && { override: { reason: payload.overrideReason } }),
  };
  return await callOutcome(
    supabase,
    'add_staff_time',
    { request, idempotency_key: payload.idempotencyKey ?? null },
    payload,
  );
}

/**
 * Which staff times: one by its id, alone (`this`, the default), with those of its series that follow, or with all that are
 * to come; or those of a series from a moment on (an instant; absent: from now).
 */
export type StaffTimeTarget =
  | {
      readonly staffTimeId: string;
      readonly scope?: 'this' | 'following' | 'all';
      readonly seriesId?: never;
      readonly from?: never;
    }
  | {
      readonly seriesId: string;
      readonly from?: string | null;
      readonly staffTimeId?: never;
      readonly scope?: never;
    };

/** What {@link changeStaffTime} changes; what is left out stays. */
export type StaffTimeChange = ReadOptions &
  StaffTimeTarget & {
    readonly kind?: StaffTimeKind;
    readonly therapistIds?: readonly string[];
    /** Null: no room any more. */
    readonly roomId?: string | null;
    /** For one alone: its new start and end. */
    readonly startTime?: string;
    readonly endTime?: string;
    /** Minutes later by the clocks, or earlier when negative. Excludes `weekday` and `localStart`. */
    readonly shiftMinutes?: number;
    /** The day of the same week (Monday to Sunday), of each. */
    readonly weekday?: Weekday;
    /** The local time of day it begins, `HH:mm`, on the days it has; civil time, so it stays when clocks change. */
    readonly localStart?: string;
    readonly durationMinutes?: number;
    /** For admins: why it may lie outside hours, in time off or in a closure. */
    readonly overrideReason?: string | null;
  };

/**
 * Changes one staff time, or those of a series from a moment on, all or nothing.
 *
 * @param supabase - a supabase-js client
 * @param payload - which, and what changes; see {@link StaffTimeChange}
 * @returns them as they are now
 * @throws SessionsApiError as {@link addStaffTime}; 409 `SESSION_NOT_MOVABLE` when it is cancelled
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * // From next week on, half an hour later.
 * await changeStaffTime(supabase, { seriesId, from: '2026-12-07T00:00:00-08:00', localStart: '09:30' });
 * ```
 */
export async function changeStaffTime(
  supabase: RpcCaller,
  payload: StaffTimeChange,
): Promise<{ readonly staffTimes: StaffTime[] }> {
  checkGiven(payload);
  const request = {
    ...targetOf(payload),
    kind: payload.kind,
    therapist_ids: payload.therapistIds,
    ...(payload.roomId !== undefined && { room_id: payload.roomId }),
    start_time: payload.startTime,
    end_time: payload.endTime,
    shift_minutes: payload.shiftMinutes,
    weekday: payload.weekday,
    local_start: payload.localStart,
    duration_minutes: payload.durationMinutes,
    ...(payload.overrideReason && { override: { reason: payload.overrideReason } }),
  };
  return await callOutcome(supabase, 'change_staff_time', { request }, payload);
}

function targetOf({ staffTimeId, scope, seriesId, from }: StaffTimeTarget): object {
  return staffTimeId !== undefined ? { staff_time_id: staffTimeId, scope } : { series_id: seriesId, from };
}

/**
 * Cancels staff times: their time is free at once.
 *
 * @param supabase - a supabase-js client
 * @param payload - their ids, one and how much of its series, or a series and the moment from which on (an instant;
 *   absent: from now)
 * @returns how many were cancelled now and before
 * @throws SessionsApiError 403 unless all of them are the caller's to cancel; then none is cancelled
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const { cancelledCount } = await cancelStaffTime(supabase, { seriesId });
 * ```
 */
export async function cancelStaffTime(
  supabase: RpcCaller,
  payload: ReadOptions & (StaffTimeTarget | { readonly staffTimeIds: readonly string[] }),
): Promise<{
  readonly cancelledCount: number;
  readonly alreadyCancelledCount: number;
  readonly cancelledIds: string[];
}> {
  checkGiven(payload);
  const request = 'staffTimeIds' in payload ? { staff_time_ids: payload.staffTimeIds } : targetOf(payload);
  return await callOutcome(supabase, 'cancel_staff_time', { request }, payload);
}

/** A row of `public.staff_times`, and whose time it takes as far as the reader may know: therapists see themselves only. */
export type StaffTimeRow = Row & { readonly therapist_ids: readonly string[] };

/**
 * The staff times that begin in a span of time and are not cancelled: for a therapist those they take part in, for an
 * admin all, or one therapist's.
 *
 * @param supabase - a supabase-js client
 * @param query - the span (instants), and for admins whose
 * @returns the rows, by start
 * @throws SessionsApiError 401 without a session, 403 `ORGANIZATION_REQUIRED`
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const times = await fetchStaffTimes(supabase, weekBounds('2026-12-01', 'America/Los_Angeles'));
 * times.filter(({ kind }) => kind === 'meeting').length; // how many meetings the week has
 * ```
 */
export async function fetchStaffTimes(
  supabase: TableReader,
  query: ReadOptions & { readonly from: string; readonly to: string; readonly therapistId?: string | null },
): Promise<StaffTimeRow[]> {
  checkGiven(query);
  const { organizationId } = await readScope(supabase, query.accessToken);
  const rows = await readWholeList<Row>(
    () =>
      tableOf(supabase, 'staff_times')
        .select('*')
        .eq('organization_id', organizationId)
        .gte('start_time', query.from)
        .lt('start_time', query.to)
        .is('cancelled_at', null)
        .order('start_time')
        .order('id'),
    query,
    supabase,
  );
  const members = new Map<string, string[]>();
  for (const ids of inChunks(rows.map(({ id }) => id))) {
    const found = await readWholeList<Member>(
      () =>
        tableOf(supabase, 'staff_time_members')
          .select('*')
          .eq('organization_id', organizationId)
          .in('staff_time_id', ids)
          .order('staff_time_id')
          .order('therapist_id'),
      query,
      supabase,
    );
    for (const { staff_time_id: id, therapist_id } of found)
      members.set(id, [...(members.get(id) ?? []), therapist_id]);
  }
  return rows
    .map((row) => ({ ...row, therapist_ids: members.get(row.id) ?? [] }))
    .filter(({ therapist_ids }) => !query.therapistId || therapist_ids.includes(query.therapistId));
}
