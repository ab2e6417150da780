import type { SeriesScope } from '../../supabase/functions/_shared/contract/types.ts';
import type { Weekday } from './availability.ts';
import {
  type CallOptions,
  type FunctionsCaller,
  newIdempotencyKey,
  outcomeIsUnknown,
  repeated,
} from './callEdge.ts';
import { callOutcome } from './callOutcome.ts';
import type { Database } from './database.types.ts';
import type { BlockedBy, BlockingReason } from './previewSeries.ts';
import { callRpc, type ReadOptions, readAllRows, readWholeList } from './readRest.ts';
import { readScope, type SessionRow } from './scheduleQueries.ts';
import {
  type BookingDetails,
  type ConfirmResponse,
  confirmSessionBooking,
  type HoldResponse,
  holdOrAbandon,
  releaseAfterFailure,
} from './sessionHolds.ts';
import { checkGiven, invalidArgument } from './sessionsApiError.ts';
import { type RpcCaller, type TableReader, tableOf } from './supabaseClient.ts';

/** What becomes of sessions of a series; what is left out stays as each session has it. */
export interface SeriesChange {
  /** Minutes later by the clocks, or earlier when negative. Excludes `weekday` and `localStart`. */
  readonly shiftMinutes?: number;
  /** The day of the same week, which begins on Monday. */
  readonly weekday?: Weekday;
  /** The new start by the clocks, such as `16:30`: the same in winter and summer. */
  readonly localStart?: string;
  /** How long each is from then on, 1–720. */
  readonly durationMinutes?: number;
  readonly therapistId?: string;
  /** `null`: no room. Absent: the room the sessions are in. */
  readonly roomId?: string | null;
}

/** Which sessions of a series change, and how. */
export interface SeriesChangeRequest
  extends CallOptions,
    Pick<BookingDetails, 'holdSeconds' | 'bufferBeforeMinutes' | 'bufferAfterMinutes' | 'override'> {
  readonly seriesId: string;
  /** One session, it and those after it, or all that are to come. What has begun, ended or been cancelled stays. */
  readonly scope: SeriesScope;
  /** The start of the session, or of the first of those that change. Not with `all`. */
  readonly from?: string;
  readonly change: SeriesChange;
  /** Only sessions of this therapist; needed where the sessions have several and `change` names none. */
  readonly therapistId?: string;
  /** By whose clocks the change is meant; those of each session when absent. */
  readonly timeZone?: string;
  /** The service from then on; it stays when absent. */
  readonly cptCode?: string | null;
}

/** A held change: what goes where, and the keys to confirm or release it by. */
export interface HeldSeriesChange extends HoldResponse {
  readonly series: NonNullable<HoldResponse['series']>;
}

/** Where a session of a series would go, and whether it could. */
export interface PreviewedChange {
  /** Its place among those that change, from 0: the `occurrenceIndex` of a conflict. */
  readonly index: number;
  readonly startTime: string;
  readonly endTime: string;
  /** What is in the way, or null. */
  readonly blockedBy: BlockedBy | null;
  readonly by: 'session' | 'hold' | null;
  /** Everything in the way, the worst first. */
  readonly reasons: readonly BlockingReason[];
}

/** A series: what was asked when it was booked, what was changed of it since, and its sessions. */
export interface Series {
  readonly series: Database['public']['Tables']['session_series']['Row'];
  /** Confirmed changes and extensions, the earliest first; empty for parents. */
  readonly changes: Database['public']['Views']['series_changes']['Row'][];
  /** By start, whatever became of them. */
  readonly sessions: SessionRow[];
}

/** How far a series goes on. One of `until`, `count` and `authorizationEnd`. */
export interface ExtendSeriesRequest extends CallOptions {
  readonly seriesId: string;
  /** A local day, `YYYY-MM-DD`, this included. */
  readonly until?: string;
  /** So many more sessions. */
  readonly count?: number;
  /** As long as the authorization lasts that the next session draws on. */
  readonly authorizationEnd?: boolean;
  /** `refuse` (the default) adds all or nothing; `skip` what is free. */
  readonly onConflict?: 'refuse' | 'skip';
  /** With whom; the therapist of the last session when absent. */
  readonly therapistId?: string;
  readonly override?: BookingDetails['override'];
}

/** The sessions that were added. */
export interface ExtendSeriesResponse {
  readonly seriesId: string;
  readonly sessions: SessionRow[];
  /** What `onConflict: 'skip'` left out, and why. */
  readonly skipped: readonly Omit<PreviewedChange, 'index'>[];
}

function changeBody(series: SeriesChangeRequest) {
  const { change, override } = series;
  return {
    series: {
      series_id: series.seriesId,
      scope: series.scope,
      from: series.from,
      change: {
        shift_minutes: change.shiftMinutes,
        weekday: change.weekday,
        local_start: change.localStart,
        duration_minutes: change.durationMinutes,
        therapist_id: change.therapistId,
        room_id: change.roomId,
      },
    },
    therapist_id: series.therapistId,
    time_zone: series.timeZone,
    cpt_code: series.cptCode,
    hold_seconds: series.holdSeconds,
    buffer_before_minutes: series.bufferBeforeMinutes,
    buffer_after_minutes: series.bufferAfterMinutes,
    override: override && { reason: override.reason, rules: override.rules && [...override.rules] },
  };
}

/**
 * Holds new places for sessions of a series: this one, this and the following ones, or all that are to come. All or
 * nothing; the old places are kept until the change is confirmed.
 *
 * @param supabase - a supabase-js client
 * @param payload - which sessions, and what changes; see {@link SeriesChangeRequest}
 * @returns which session goes where (`holds`), and the keys to confirm or release it by
 * @throws SessionsApiError 409 with `conflicts` and `shortages`, each with the `sessionId` it is about, and `alternatives`
 *   for the first session; `SESSION_NOT_MOVABLE` when none can be moved any more; 400 with `issues`, also when `from` is
 *   after the last session; 403 for a series that is not the caller's
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const held = await holdSeriesChange(supabase, {
 *   seriesId,
 *   scope: 'following',
 *   from: '2026-12-01T18:00:00Z',
 *   change: { weekday: 'thursday', localStart: '16:00' },
 * });
 * held.holds.map(({ sessionId, previousStartTime, startTime }) => [sessionId, previousStartTime, startTime]);
 * await confirmSeriesChange(supabase, { held });
 * ```
 */
export async function holdSeriesChange(
  supabase: FunctionsCaller,
  payload: SeriesChangeRequest,
): Promise<HeldSeriesChange> {
  checkGiven(payload, 'change');
  payload.signal?.throwIfAborted();
  const idempotencyKey = payload.idempotencyKey ?? newIdempotencyKey();
  const options = { ...payload, idempotencyKey };
  return (await holdOrAbandon(supabase, changeBody(payload), options)) as HeldSeriesChange;
}

/**
 * Carries out a held change of a series. The hold's own answer is all it needs; doing so again answers the same sessions.
 *
 * @param supabase - a supabase-js client
 * @param payload - what {@link holdSeriesChange} answered
 * @returns the sessions as stored, in their new places
 * @throws SessionsApiError 410 `HOLD_EXPIRED` when it came too late, 409 `SESSION_NOT_MOVABLE` when one of them was
 *   cancelled or begun meanwhile; nothing has moved then
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const held = await holdSeriesChange(supabase, { seriesId, scope: 'all', change: { shiftMinutes: 30 } });
 * const { sessions } = await confirmSeriesChange(supabase, { held });
 * ```
 */
export async function confirmSeriesChange(
  supabase: FunctionsCaller,
  payload: CallOptions & { readonly held: HeldSeriesChange },
): Promise<ConfirmResponse> {
  checkGiven(payload, 'held');
  const { held, ...options } = payload;
  const { therapistId, clientId } = held.series;
  const occurrences = held.holds.map(({ holdKey, sessionId, startTime, endTime, timeZone }) => ({
    holdKey,
    session: {
      ...{ id: sessionId, therapist_id: therapistId, client_id: clientId },
      ...{ start_time: startTime, end_time: endTime },
    },
    timeZone,
  }));
  const [first] = occurrences;
  const timeZone = first?.timeZone;
  if (!first || !timeZone)
    throw invalidArgument([{ path: 'held', message: 'must be what holdSeriesChange answered' }]);
  return await confirmSessionBooking(supabase, {
    ...options,
    holdKey: held.holdKey,
    session: first.session,
    timeZone,
    occurrences,
  });
}

/**
 * Changes sessions of a series at once: holds the change and confirms it. Either all of them change, or nothing does and
 * no hold stays behind.
 *
 * @param supabase - a supabase-js client
 * @param payload - which sessions, and what changes; see {@link SeriesChangeRequest}
 * @returns the sessions as stored, in their new places, and the hold they went by
 * @throws SessionsApiError as {@link holdSeriesChange} and {@link confirmSeriesChange}
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const { sessions } = await changeSeries(supabase, {
 *   seriesId,
 *   scope: 'following',
 *   from: '2026-12-01T18:00:00Z',
 *   change: { therapistId },
 * });
 * ```
 */
export async function changeSeries(
  supabase: FunctionsCaller,
  payload: SeriesChangeRequest,
): Promise<ConfirmResponse & { readonly hold: HeldSeriesChange }> {
  checkGiven(payload, 'change');
  const idempotencyKey = payload.idempotencyKey ?? newIdempotencyKey();
  const { accessToken, retry, signal, onRetry } = payload;
  const hold = await holdSeriesChange(supabase, { holdSeconds: 30, ...payload, idempotencyKey });
  const confirmation = { held: hold, accessToken, idempotencyKey, retry, signal, onRetry };
  try {
    return { ...(await confirmSeriesChange(supabase, confirmation)), hold };
  } catch (error) {
    const { released } = await releaseAfterFailure(supabase, hold.holdKey, accessToken).catch(() => ({
      released: false,
    }));
    if (released || !outcomeIsUnknown(error)) throw error;
    // Nothing was left to release and no answer came: the change may be made. Asking once more, by key, tells.
    const again = { ...confirmation, signal: undefined, retry: { attempts: 2, attemptTimeoutMs: 5_000 } };
    return await confirmSeriesChange(supabase, again).then(
      (confirmed) => ({ ...confirmed, hold }),
      () => {
        throw error;
      },
    );
  }
}

/**
 * Where the sessions of a series would go, and which of them could not, without holding anything.
 *
 * @param supabase - a supabase-js client
 * @param payload - which sessions, and what would change; see {@link SeriesChangeRequest}
 * @returns every session that would change, by its time now
 * @throws SessionsApiError 400 for what cannot be asked, 403 for a series that is not the caller's
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const preview = await previewSeriesChange(supabase, { seriesId, scope: 'all', change: { shiftMinutes: 30 } });
 * preview.filter(({ blockedBy }) => blockedBy !== null); // what is in the way
 * ```
 */
export async function previewSeriesChange(
  supabase: RpcCaller,
  payload: SeriesChangeRequest,
): Promise<PreviewedChange[]> {
  checkGiven(payload, 'change');
  const request = changeBody(payload);
  const { accessToken, signal } = payload;
  const answer = await callRpc<{ readonly occurrences: PreviewedChange[] }>(
    supabase,
    'preview_series',
    { request },
    { accessToken, signal },
  );
  return answer.occurrences;
}

/**
 * Adds sessions to the end of a series, by its rule and what was changed of it since: to a day, so many, or as long as
 * the authorization lasts.
 *
 * @param supabase - a supabase-js client
 * @param payload - the series, and how far it goes on; see {@link ExtendSeriesRequest}
 * @returns the new sessions, and what was left out
 * @throws SessionsApiError 409 with `conflicts` or `shortages` by occurrence, those of the dates that would be added; 400
 *   for a series without a rule, an end that leaves nothing to add, more than 366 or beyond 730 days; 403 for a series that
 *   is not the caller's
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const { sessions, skipped } = await extendSeries(supabase, { seriesId, until: '2027-05-31', onConflict: 'skip' });
 * ```
 */
export async function extendSeries(
  supabase: RpcCaller,
  payload: ExtendSeriesRequest,
): Promise<ExtendSeriesResponse> {
  checkGiven(payload);
  const { override } = payload;
  const request = {
    series_id: payload.seriesId,
    until: payload.until,
    count: payload.count,
    authorization_end: payload.authorizationEnd,
    on_conflict: payload.onConflict,
    therapist_id: payload.therapistId,
    override: override && { reason: override.reason, rules: override.rules && [...override.rules] },
  };
  const args = { request, idempotency_key: payload.idempotencyKey ?? newIdempotencyKey() };
  return await repeated(
    supabase,
    () => callOutcome<ExtendSeriesResponse>(supabase, 'extend_series', args, payload),
    payload,
  );
}

/**
 * A series: its rule as it was asked for, what was changed of it since, and its sessions.
 *
 * @param supabase - a supabase-js client
 * @param query - which series
 * @returns the series, or null when there is none within the caller's reach
 * @throws SessionsApiError 401 without a session, 403 `ORGANIZATION_REQUIRED`
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const found = await fetchSeries(supabase, { seriesId });
 * found?.series.recurrence; // { rule: 'FREQ=WEEKLY;BYDAY=TU', until: '2027-05-31' }
 * ```
 */
export async function fetchSeries(
  supabase: TableReader,
  query: ReadOptions & { readonly seriesId: string },
): Promise<Series | null> {
  checkGiven(query);
  const { organizationId, userId, role } = await readScope(supabase, query.accessToken);
  const [series] = await readWholeList<Series['series']>(
    () =>
      tableOf(supabase, 'session_series')
        .select('*')
        .eq('organization_id', organizationId)
        .eq('id', query.seriesId)
        .order('id'),
    query,
    supabase,
  );
  if (!series) return null;
  const [changes, sessions] = await Promise.all([
    readWholeList<Series['changes'][number]>(
      () =>
        tableOf(supabase, 'series_changes')
          .select('*')
          .eq('organization_id', organizationId)
          .eq('series_id', query.seriesId)
          .order('changed_at'),
      query,
      supabase,
    ),
    readAllRows<SessionRow>(
      (after) => {
        let asked = tableOf(supabase, 'sessions')
          .select('*')
          .eq('organization_id', organizationId)
          .eq('series_id', query.seriesId);
        if (role === 'therapist') asked = asked.eq('therapist_id', userId);
        if (after) asked = asked.gt('id', after.id);
        return asked.order('id');
      },
      query,
      supabase,
    ),
  ]);
  sessions.sort((a, b) => Date.parse(a.start_time) - Date.parse(b.start_time));
  return { series, changes, sessions };
}
