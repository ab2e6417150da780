import {
  isKnownTimeZone,
  offsetMinutesAt,
  parseTemporal,
} from '../../supabase/functions/_shared/civil-time.ts';
import type {
  CancelData,
  HoldData,
  Issue,
  OverrideRule,
  ReleaseData,
} from '../../supabase/functions/_shared/contract/types.ts';
import {
  type CallOptions,
  callEdge,
  type FunctionsCaller,
  newIdempotencyKey,
  outcomeIsUnknown,
  type RetryOptions,
} from './callEdge.ts';
import type { SessionRow } from './scheduleQueries.ts';
import { checkGiven, invalidArgument, SessionsApiError } from './sessionsApiError.ts';

/** A window of time and, optionally, its offsets. */
export interface WindowRequest {
  /** The start, an instant in ISO 8601. */
  readonly startTime: string;
  /** The end, an instant in ISO 8601, at most 12 hours later. */
  readonly endTime: string;
  /** Minutes east of UTC at the start (Los Angeles in winter: −480). Worked out from the zone when absent. */
  readonly startTimeOffsetMinutes?: number;
  /** Minutes east of UTC at the end. Worked out from the zone when absent. */
  readonly endTimeOffsetMinutes?: number;
}

/** One window of a series to hold. */
export interface HoldOccurrenceRequest extends WindowRequest {
  /** The IANA zone of its offsets; the request's own when absent. */
  readonly timeZone?: string;
  /** The session this occurrence moves, with its group if it has one. Either all occurrences move a session or none does. */
  readonly sessionId?: string | null;
}

/** A recurrence for the endpoint to expand. See `generateOccurrences` for what the fields mean. */
export interface RecurrenceRequest {
  readonly rule: string;
  readonly count?: number | null;
  readonly until?: string | null;
  readonly exceptions?: readonly string[] | null;
  readonly timeZone?: string | null;
}

/** What can be said about a booking besides who and when. */
export interface BookingDetails {
  /** How long the slot is kept, in seconds, 30–900. Default 300. */
  readonly holdSeconds?: number;
  /** The room. Absent from a move: the room the sessions are in; `null`: no room. */
  readonly roomId?: string | null;
  /** The group the client joins, at the group's own time. Excludes `clientIds`. */
  readonly groupId?: string | null;
  /** All clients of a new group, 2 to 8, the session's own client among them: one session for each of them. */
  readonly clientIds?: readonly string[] | null;
  /** Minutes kept free before each start, such as travel time. Absent: 0, or in a move as the sessions have it. */
  readonly bufferBeforeMinutes?: number;
  /** Minutes kept free after each end. Absent: 0, or in a move as the sessions have it. */
  readonly bufferAfterMinutes?: number;
  /** For admins: hold in spite of an overridable refusal. The reason is audited. */
  readonly override?: {
    readonly reason: string;
    /**
     * Only these rules; absent: every rule that can be overridden. `credential` and `travel` are never set aside. The
     * hold's `overridden` tells which ones it took.
     */
    readonly rules?: readonly OverrideRule[] | null;
  } | null;
}

/** What {@link requestSessionHold} holds. */
export interface HoldRequest extends WindowRequest, BookingDetails, CallOptions {
  readonly therapistId: string;
  readonly clientId: string;
  /** The IANA zone of the offsets. */
  readonly timeZone: string;
  /** The session to move, when there is one window. A member of a group stands for the whole group. */
  readonly sessionId?: string | null;
  readonly sessionType?: string | null;
  readonly cptCode?: string | null;
  /** The windows of a series. Absent or empty: the window above is the only one. Excludes `recurrence`. */
  readonly occurrences?: readonly HoldOccurrenceRequest[];
  readonly recurrence?: RecurrenceRequest | null;
}

/** A hold: the batch key, which stands for all occurrences, and one hold for each, in request order. */
export interface HoldResponse extends HoldData {
  /**
   * The database has other rules for the zone than this device (a law that changed, a device not updated). The times held
   * are those at which the zone's clocks, by the database's rules, show what this device meant: confirm what `holds` says.
   */
  readonly zoneRulesDiffer?: boolean;
}

/** A session as it is to be booked, by the names of its row. */
export interface SessionInput {
  readonly therapist_id: string;
  readonly client_id: string;
  /** The start, an instant in ISO 8601. */
  readonly start_time: string;
  /** The end, an instant in ISO 8601. */
  readonly end_time: string;
  /** The session being moved. */
  readonly id?: string | null;
  /** Such as `individual`, `group`, `assessment`, `consultation`. */
  readonly session_type?: string | null;
  /** Such as `clinic`, `home`, `telehealth`. */
  readonly location_type?: string | null;
}

/** A billing code and at most four modifiers. */
export interface CptInput {
  readonly code: string;
  /** Left out: those the payer of that day wants for the code, the credential and the place. Empty: none. */
  readonly modifiers?: readonly string[] | null;
}

/** One held occurrence to confirm. */
export interface ConfirmOccurrenceRequest {
  readonly holdKey: string;
  readonly session: SessionInput;
  /** The request's own when absent. */
  readonly cpt?: CptInput | null;
  readonly startTimeOffsetMinutes?: number;
  readonly endTimeOffsetMinutes?: number;
  readonly timeZone?: string;
}

/** What {@link confirmSessionBooking} turns into sessions. */
export interface ConfirmRequest extends CallOptions {
  /** The batch key, or the key of a batch's only occurrence. */
  readonly holdKey: string;
  readonly session: SessionInput;
  readonly cpt?: CptInput | null;
  readonly startTimeOffsetMinutes?: number;
  readonly endTimeOffsetMinutes?: number;
  /** The IANA zone of the offsets. */
  readonly timeZone: string;
  /** Every held occurrence exactly once. Absent or empty: the session above is the only one. */
  readonly occurrences?: readonly ConfirmOccurrenceRequest[];
}

/** The booked sessions: rows in snake_case, as stored. */
export interface ConfirmResponse {
  /** The first occurrence's. */
  readonly session: SessionRow;
  /** All, in the order the occurrences were held; of a group that moved, the named member's first. */
  readonly sessions: SessionRow[];
  /** Elapsed minutes of the first session, rounded to whole 15-minute units. */
  readonly roundedDurationMinutes: number;
}

/** What {@link cancelSessionHold} gives back. */
export interface ReleaseRequest extends CallOptions {
  /** A batch key, which stands for all its occurrences, or the key of one occurrence. */
  readonly holdKey: string;
}

/** `released` is false when there was nothing left to give back. */
export type ReleaseResponse = ReleaseData;

/** Which sessions {@link cancelSessions} cancels: by id, by series, by local days, or what all that is named has in common. */
export interface CancelRequest extends CallOptions {
  readonly sessionIds?: readonly string[];
  /** The sessions of a series: all, or with `from` the later ones. */
  readonly seriesId?: string;
  /** With `seriesId`: its sessions that start at this instant or after it. */
  readonly from?: string;
  /** A local day, `YYYY-MM-DD`: the sessions that start in it. Needs `timeZone`. */
  readonly date?: string;
  /** Several local days, with `toDate`: the first of them. Needs `timeZone`. */
  readonly fromDate?: string;
  /** The last of them, at most 366 days later. */
  readonly toDate?: string;
  /** The IANA zone in which the days are meant. */
  readonly timeZone?: string;
  /** For admins: whose day. */
  readonly therapistId?: string;
  /** For admins: everybody's day. */
  readonly allTherapists?: boolean;
  /** Why, at most 500 characters. Kept beside the session, never in its notes. */
  readonly reason?: string;
  /** Who called it off. */
  readonly cancellationAttribution?: 'staff' | 'client' | 'unknown';
}

/** Counts and ids of what was cancelled, what already was, and what can no longer be. */
export type CancelResponse = CancelData;

/** How hard the clean-up after a failure tries, so that the caller learns of the failure soon. */
const CLEANUP: RetryOptions = { attempts: 3, baseDelayMs: 200, maxDelayMs: 2_000, attemptTimeoutMs: 5_000 };

/**
 * Claims a slot, or a whole series, for a few minutes, before any session exists. All or nothing.
 *
 * When no answer comes, or the call is aborted, a hold that was made all the same is released before the promise
 * rejects (as far as the endpoint can be reached; else it expires).
 *
 * @param supabase - a supabase-js client
 * @param payload - who, when, for how long; see {@link HoldRequest}
 * @returns the keys to confirm or release it by
 * @throws SessionsApiError 409 with `conflicts`, `alternatives` and, when waiting helps, `retryAfter`; 400 with `issues`;
 *   any other answer of the endpoint
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const hold = await requestSessionHold(supabase, {
 *   therapistId,
 *   clientId,
 *   startTime: '2026-12-01T18:00:00Z',
 *   endTime: '2026-12-01T19:00:00Z',
 *   timeZone: 'America/Los_Angeles',
 *   holdSeconds: 120,
 * });
 * hold.expiresAt; // until then the slot is kept
 * ```
 */
export async function requestSessionHold(
  supabase: FunctionsCaller,
  payload: HoldRequest,
): Promise<HoldResponse> {
  checkGiven(payload);
  const idempotencyKey = payload.idempotencyKey ?? newIdempotencyKey();
  const body = holdBody(payload);
  payload.signal?.throwIfAborted();
  try {
    return await holdOrAbandon(supabase, body, { ...payload, idempotencyKey });
  } catch (error) {
    const meant = error instanceof SessionsApiError ? byTheDatabasesClocks(payload, body, error) : null;
    if (!meant) throw error;
    // Another request, so another key: the first may have been answered before the database's rules changed.
    const key = `${idempotencyKey.slice(0, 250)}:zone`;
    const hold = await holdOrAbandon(supabase, meant, { ...payload, idempotencyKey: key });
    return { ...hold, zoneRulesDiffer: true };
  }
}

/** Holds; when no answer comes, makes sure that no hold stays behind. */
export async function holdOrAbandon(
  supabase: FunctionsCaller,
  body: object,
  options: CallOptions & { readonly idempotencyKey: string },
): Promise<HoldResponse> {
  try {
    return await callEdge<HoldData>(supabase, 'sessions-hold', body, options);
  } catch (error) {
    if (outcomeIsUnknown(error)) await abandonHold(supabase, body, options);
    throw error;
  }
}

/**
 * Turns a live hold into sessions. Confirming the same hold again with the same contents answers the same sessions.
 *
 * @param supabase - a supabase-js client
 * @param payload - the hold's key and what was held; see {@link ConfirmRequest}
 * @returns the sessions as stored
 * @throws SessionsApiError 409 `HOLD_MISMATCH` or `CLIENT_MISMATCH` (the hold stays alive), `SESSION_NOT_MOVABLE`;
 *   410 `HOLD_EXPIRED` or `HOLD_NOT_FOUND`; 400 `MISSING_FIELDS` or `INVALID_RANGE`; any other answer of the endpoint
 * @throws the signal's reason when aborted; the hold is then the caller's to release
 * @example
 * ```ts
 * const { session } = await confirmSessionBooking(supabase, {
 *   holdKey: hold.holdKey,
 *   session: {
 *     therapist_id: therapistId,
 *     client_id: clientId,
 *     start_time: '2026-12-01T18:00:00Z',
 *     end_time: '2026-12-01T19:00:00Z',
 *   },
 *   timeZone: 'America/Los_Angeles',
 * });
 * session.id;
 * ```
 */
export async function confirmSessionBooking(
  supabase: FunctionsCaller,
  payload: ConfirmRequest,
): Promise<ConfirmResponse> {
  checkGiven(payload);
  const idempotencyKey = payload.idempotencyKey ?? newIdempotencyKey();
  return await callEdge<ConfirmResponse>(supabase, 'sessions-confirm', confirmBody(payload), {
    ...payload,
    idempotencyKey,
  });
}

/**
 * Gives a held slot back. Doing so again, or with a key that is not one's own, answers `released: false`.
 *
 * @param supabase - a supabase-js client
 * @param payload - the hold's key; see {@link ReleaseRequest}
 * @returns whether this call gave the slot back
 * @throws SessionsApiError when the endpoint refuses or cannot be reached
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const { released } = await cancelSessionHold(supabase, { holdKey: hold.holdKey });
 * ```
 */
export async function cancelSessionHold(
  supabase: FunctionsCaller,
  payload: ReleaseRequest,
): Promise<ReleaseResponse> {
  checkGiven(payload);
  const body = { hold_key: payload.holdKey };
  const idempotencyKey = payload.idempotencyKey ?? newIdempotencyKey();
  return await callEdge<ReleaseData>(supabase, 'sessions-cancel', body, { ...payload, idempotencyKey });
}

/**
 * Cancels booked sessions. An id outside the caller's scope refuses the whole request; one that is already cancelled or
 * can no longer be is reported in the summary.
 *
 * @param supabase - a supabase-js client
 * @param payload - which sessions, why, and who called it off; see {@link CancelRequest}
 * @returns what was cancelled and what was not
 * @throws SessionsApiError 403 for sessions out of scope, 400 when nothing says which; any other answer
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const { summary } = await cancelSessions(supabase, {
 *   date: '2026-12-24',
 *   timeZone: 'America/Los_Angeles',
 *   reason: 'Clinic closed',
 *   cancellationAttribution: 'staff',
 * });
 * summary.cancelledSessionIds;
 * ```
 */
export async function cancelSessions(
  supabase: FunctionsCaller,
  payload: CancelRequest,
): Promise<CancelResponse> {
  checkGiven(payload);
  const body = {
    session_ids: payload.sessionIds && [...payload.sessionIds],
    series_id: payload.seriesId,
    from: payload.from,
    date: payload.date,
    from_date: payload.fromDate,
    to_date: payload.toDate,
    time_zone: payload.timeZone,
    therapist_id: payload.therapistId,
    all_therapists: payload.allTherapists,
    reason: payload.reason,
    cancellation_attribution: payload.cancellationAttribution,
  };
  const idempotencyKey = payload.idempotencyKey ?? newIdempotencyKey();
  return await callEdge<CancelData>(supabase, 'sessions-cancel', body, { ...payload, idempotencyKey });
}

/**
 * Releases a hold that may have been made without the caller learning of it: asks again with the same key, which
 * answers with that hold (or makes it, had the request never arrived), and gives it back. Best effort: a hold that
 * cannot be reached expires.
 */
async function abandonHold(
  supabase: FunctionsCaller,
  body: object,
  { accessToken, idempotencyKey }: CallOptions & { readonly idempotencyKey: string },
): Promise<void> {
  try {
    const hold = await callEdge<HoldData>(supabase, 'sessions-hold', body, {
      accessToken,
      idempotencyKey,
      retry: CLEANUP,
    });
    await cancelSessionHold(supabase, { holdKey: hold.holdKey, accessToken, retry: CLEANUP });
  } catch {
    // Refused: there is no hold. Out of reach: it expires.
  }
}

/** The patience of a release that follows a failure. */
export function releaseAfterFailure(
  supabase: FunctionsCaller,
  holdKey: string,
  accessToken: string | undefined,
): Promise<ReleaseResponse> {
  return cancelSessionHold(supabase, { holdKey, accessToken, retry: CLEANUP });
}

/** The body of `sessions-hold`. */
export type HoldBody = ReturnType<typeof holdBody>;

/** The body of `sessions-hold` for a payload, with the offsets this device believes in. */
export function holdBody(payload: HoldRequest) {
  const { timeZone, override } = payload;
  const occurrences = payload.occurrences ?? [];
  return {
    therapist_id: payload.therapistId,
    client_id: payload.clientId,
    ...windowBody(payload, timeZone, ''),
    time_zone: timeZone,
    session_id: payload.sessionId,
    hold_seconds: payload.holdSeconds,
    session_type: payload.sessionType,
    cpt_code: payload.cptCode,
    client_ids: payload.clientIds && [...payload.clientIds],
    group_id: payload.groupId,
    room_id: payload.roomId,
    buffer_before_minutes: payload.bufferBeforeMinutes,
    buffer_after_minutes: payload.bufferAfterMinutes,
    override: override && { reason: override.reason, rules: override.rules && [...override.rules] },
    ...(occurrences.length > 0 && {
      occurrences: occurrences.map((occurrence, index) => ({
        ...windowBody(occurrence, occurrence.timeZone ?? timeZone, `occurrences.${index}.`),
        time_zone: occurrence.timeZone,
        session_id: occurrence.sessionId,
      })),
    }),
    ...(payload.recurrence && {
      recurrence: {
        rule: payload.recurrence.rule,
        count: payload.recurrence.count,
        until: payload.recurrence.until,
        exceptions: payload.recurrence.exceptions && [...payload.recurrence.exceptions],
        time_zone: payload.recurrence.timeZone,
      },
    }),
  };
}

type WindowBody = ReturnType<typeof windowBody>;

/**
 * The same request at the instants at which the zone's clocks, by the database's rules, show what they were to show by this
 * device's; null when that is not why it was refused. Offsets that the app itself gave are its own claim, and stay.
 */
function byTheDatabasesClocks(
  payload: HoldRequest,
  body: HoldBody,
  refusal: SessionsApiError,
): HoldBody | null {
  const { issues } = refusal;
  const expected = new Map(issues.map(({ path, expected }) => [path, expected]));
  const areOffsets = issues.every(
    ({ path, expected }) => expected !== undefined && /(^|\.)(start|end)_time_offset_minutes$/.test(path),
  );
  const windows: readonly WindowRequest[] = [payload, ...(payload.occurrences ?? [])];
  const own = windows.every(
    ({ startTimeOffsetMinutes, endTimeOffsetMinutes }) =>
      startTimeOffsetMinutes === undefined && endTimeOffsetMinutes === undefined,
  );
  if (refusal.status !== 400 || issues.length === 0 || !areOffsets || !own) return null;
  const shifted = <Window extends WindowBody>(window: Window, path: string): Window => {
    const right = expected.get(`${path}start_time_offset_minutes`) ?? window.start_time_offset_minutes;
    const shift = (window.start_time_offset_minutes - right) * 60_000;
    const moved = (text: string) => new Date(Date.parse(text) + shift).toISOString();
    return {
      ...window,
      start_time: moved(window.start_time),
      end_time: moved(window.end_time),
      start_time_offset_minutes: right,
      // An end that lies beyond a change of the clocks has an offset of its own.
      end_time_offset_minutes:
        expected.get(`${path}end_time_offset_minutes`) ??
        right + window.end_time_offset_minutes - window.start_time_offset_minutes,
    };
  };
  return {
    ...shifted(body, ''),
    ...(body.occurrences && {
      occurrences: body.occurrences.map((occurrence, index) => shifted(occurrence, `occurrences.${index}.`)),
    }),
  };
}

function confirmBody(payload: ConfirmRequest) {
  const { timeZone } = payload;
  const occurrences = payload.occurrences ?? [];
  const one = (request: Omit<ConfirmOccurrenceRequest, 'timeZone'>, zone: string, path: string) => {
    const { start_time, end_time, ...offsets } = windowBody(
      {
        startTime: request.session.start_time,
        endTime: request.session.end_time,
        startTimeOffsetMinutes: request.startTimeOffsetMinutes,
        endTimeOffsetMinutes: request.endTimeOffsetMinutes,
      },
      zone,
      path,
    );
    return {
      hold_key: request.holdKey,
      session: { ...sessionBody(request.session, path), start_time, end_time },
      cpt: request.cpt && {
        code: request.cpt.code,
        ...(request.cpt.modifiers && { modifiers: [...request.cpt.modifiers] }),
      },
      ...offsets,
    };
  };
  return {
    ...one(payload, timeZone, ''),
    time_zone: timeZone,
    ...(occurrences.length > 0 && {
      occurrences: occurrences.map((occurrence, index) => ({
        ...one(occurrence, occurrence.timeZone ?? timeZone, `occurrences.${index}.`),
        time_zone: occurrence.timeZone,
      })),
    }),
  };
}

/** Only what confirming takes. Notes would be refused by the endpoint, and are better not sent at all. */
function sessionBody(session: SessionInput & { readonly notes?: unknown }, path: string) {
  const { notes } = session;
  const isBlank = notes === undefined || notes === null || (typeof notes === 'string' && notes.trim() === '');
  if (!isBlank) {
    const message = 'is not accepted here: session notes are saved, encrypted, through session-notes';
    throw invalidArgument([{ path: `${path}session.notes`, message }]);
  }
  return {
    therapist_id: session.therapist_id,
    client_id: session.client_id,
    id: session.id,
    session_type: session.session_type,
    location_type: session.location_type,
  };
}

function windowBody(window: WindowRequest, timeZone: string, path: string) {
  const issues: Issue[] = [];
  if (!isKnownTimeZone(timeZone))
    issues.push({ path: `${path}time_zone`, message: 'must be a known IANA time zone' });
  const instantOf = (text: string, field: string) => {
    const parsed = parseTemporal(text);
    if (parsed?.kind === 'instant') return parsed.instant;
    issues.push({
      path: `${path}${field}`,
      message: 'must be an ISO 8601 instant with Z or an explicit offset',
    });
    return 0;
  };
  const start = instantOf(window.startTime, 'start_time');
  const end = instantOf(window.endTime, 'end_time');
  if (issues.length > 0) throw invalidArgument(issues);
  return {
    start_time: window.startTime,
    end_time: window.endTime,
    start_time_offset_minutes: window.startTimeOffsetMinutes ?? offsetMinutesAt(timeZone, start),
    end_time_offset_minutes: window.endTimeOffsetMinutes ?? offsetMinutesAt(timeZone, end),
  };
}
