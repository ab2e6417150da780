import type { HoldWarning, Shortage } from '../../supabase/functions/_shared/contract/types.ts';
import { callOutcome } from './callOutcome.ts';
import type { Database } from './database.types.ts';
import type { ReadOptions } from './readRest.ts';
import { checkGiven } from './sessionsApiError.ts';
import type { RpcCaller } from './supabaseClient.ts';

type Row = Database['public']['Tables']['sessions']['Row'];

/** Which session, and whose token changes it. */
export interface SessionChange extends ReadOptions {
  readonly sessionId: string;
}

/** What {@link startSession} records. */
export interface StartRequest extends SessionChange {
  /** When it really began (an instant, seconds are cut); now when absent. */
  readonly actualStartTime?: string | null;
  /** Why it began on another local day than it was booked for; required then, at most 500 characters. */
  readonly otherDayReason?: string | null;
}

/** What {@link endSession} records. */
export interface EndRequest extends SessionChange {
  /** When it really began, for a visit documented late (an instant, seconds are cut); as recorded when absent. */
  readonly actualStartTime?: string | null;
  /** When it really ended (an instant, seconds are cut); now when absent. */
  readonly actualEndTime?: string | null;
  /** Why it began on another local day than it was booked for; required then, at most 500 characters. */
  readonly otherDayReason?: string | null;
}

/** What {@link completeSession} completes: the visit as it was recorded and signed. */
export interface CompleteRequest extends SessionChange {
  /** Why it overlaps another visit in actual time; only an admin lets it, at most 500 characters. */
  readonly overlapReason?: string | null;
}

/** A session that has begun. */
export interface StartResponse {
  readonly session: Row;
  readonly actualStartTime: string;
}

/** A session whose visit is over. */
export interface EndResponse extends StartResponse {
  readonly actualEndTime: string;
}

/** What a visit took beyond an authorization or a limit: it happened, and is entered as beyond it. */
export interface ExceededWarning extends Omit<Shortage, 'occurrenceIndex'> {
  readonly code: 'AUTHORIZATION_EXCEEDED';
}

/** What is told of a visit though it is completed; live holds are counted. */
export type VisitWarning = HoldWarning | ExceededWarning;

/** A session that is completed, and what it took. */
export interface CompleteResponse extends EndResponse {
  /** Units of the actual minutes, as the payer rounds. */
  readonly units: number;
  /** Absent when there are none. */
  readonly warnings?: readonly VisitWarning[];
  /** The version of the visit, which {@link correctVisit} builds on. */
  readonly version: number;
}

/** Why a visit is corrected. */
export type CorrectionReason =
  | 'wrong_time'
  | 'wrong_service'
  | 'wrong_place'
  | 'wrong_people'
  | 'by_mistake'
  | 'payer_request'
  | 'other';

/** What {@link correctVisit} changes; what is left out stays. */
export interface CorrectionRequest extends SessionChange {
  /** The version it builds on: 1 until the visit is corrected, then that of the last answer. */
  readonly baseVersion: number;
  readonly reasonCode: CorrectionReason;
  /** In words, at most 500 characters; `other` needs them. */
  readonly remark?: string | null;
  /** Instants; seconds are cut. */
  readonly actualStartTime?: string | null;
  readonly actualEndTime?: string | null;
  /** Why it began on another local day than it was booked for; required then. */
  readonly otherDayReason?: string | null;
  /** Why it overlaps another visit in actual time; only an admin lets it. */
  readonly overlapReason?: string | null;
  /** Who rendered it: an admin's to correct, and not that of one member of a group. */
  readonly therapistId?: string | null;
  /** Whom it was for: an admin's to correct. */
  readonly clientId?: string | null;
  /** Another code has the modifiers that the payer wants for it, unless `modifiers` are given; so have other people. */
  readonly cptCode?: string | null;
  readonly modifiers?: readonly string[] | null;
  readonly locationType?: string | null;
  /** Takes back one step that was made by mistake, and changes nothing else. */
  readonly undo?: 'completion' | 'start' | 'no_show' | null;
}

/** A visit as it is after its correction. */
export interface CorrectionResponse {
  readonly session: Row;
  readonly version: number;
  /** Null once the start was taken back. */
  readonly actualStartTime: string | null;
  /** Null once the start was taken back. */
  readonly actualEndTime: string | null;
  /** Null once the completion was taken back. */
  readonly units: number | null;
  /** Absent when there are none. */
  readonly warnings?: readonly VisitWarning[];
  /** `needs_amendment` when a fact that was signed has changed; null without a note. */
  readonly noteStatus: string | null;
}

/**
 * Marks a session as begun: `scheduled` → `in_progress`.
 *
 * It is sent once and has no idempotency key: asked again, a session that has begun answers `STATUS_NOT_ALLOWED`.
 *
 * @param supabase - a supabase-js client
 * @param payload - the session, and when it began; see {@link StartRequest}
 * @returns the session as stored, and when it began
 * @throws SessionsApiError 409 `STATUS_NOT_ALLOWED` unless it is scheduled, `NOT_TODAY` more than 12 hours before its time, 403 when it is not the caller's to change, 400
 *   for a time that lies ahead, or on another local day than booked without a reason
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const { session, actualStartTime } = await startSession(supabase, { sessionId });
 * ```
 */
export async function startSession(supabase: RpcCaller, payload: StartRequest): Promise<StartResponse> {
  checkGiven(payload);
  const request = {
    session_id: payload.sessionId,
    actual_start_time: payload.actualStartTime,
    other_day_reason: payload.otherDayReason,
  };
  return await callOutcome<StartResponse>(supabase, 'start_session', { request }, payload);
}

/**
 * Records when the visit of a session in progress ended: then its note can be signed. It may be repeated until the session
 * is completed; a note that is signed by then must be amended. A visit that is documented late gives both times.
 *
 * @param supabase - a supabase-js client
 * @param payload - the session, and when it ended; see {@link EndRequest}
 * @returns the session as stored, and its actual times
 * @throws SessionsApiError 409 `STATUS_NOT_ALLOWED` unless it is in progress, 403 when it is not the caller's to change, 400
 *   for times ahead, out of order, over 16 hours, or on another local day than booked without a reason
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const { actualEndTime } = await endSession(supabase, { sessionId });
 * ```
 */
export async function endSession(supabase: RpcCaller, payload: EndRequest): Promise<EndResponse> {
  checkGiven(payload);
  const request = {
    session_id: payload.sessionId,
    actual_start_time: payload.actualStartTime,
    actual_end_time: payload.actualEndTime,
    other_day_reason: payload.otherDayReason,
  };
  return await callOutcome<EndResponse>(supabase, 'end_session', { request }, payload);
}

/**
 * Completes a session: `in_progress` → `completed`, as it was recorded and as its note was signed. Its units are those of the
 * actual minutes, and are used of its authorization.
 *
 * @param supabase - a supabase-js client
 * @param payload - the session; see {@link CompleteRequest}
 * @returns the session as stored, its actual times and its units
 * @throws SessionsApiError 409 `SESSION_INCOMPLETE` while its record lacks something, each in `issues` by its field
 *   (`note`, `signature`, `location_type`, `cpt_code`, `clients`, `actual_start_time`, `actual_end_time`); a signature that is
 *   of something else says what differs
 * @throws SessionsApiError 409 `VISIT_OVERLAPS` when its therapist, or its client in a service that excludes this one, has
 *   a completed visit at that time: `overlaps` names each
 * @throws SessionsApiError 409 `STATUS_NOT_ALLOWED` unless it is in progress, 403 when it is not the caller's to change
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * try {
 *   const { units } = await completeSession(supabase, { sessionId });
 *   console.log(`${units} units`);
 * } catch (error) {
 *   if (!(error instanceof SessionsApiError) || error.code !== 'SESSION_INCOMPLETE') throw error;
 *   for (const { path, message } of error.issues) console.log(path, message); // note: The session has no note.
 * }
 * ```
 */
export async function completeSession(
  supabase: RpcCaller,
  payload: CompleteRequest,
): Promise<CompleteResponse> {
  checkGiven(payload);
  const request = {
    session_id: payload.sessionId,
    overlap_reason: payload.overlapReason,
  };
  return await callOutcome<CompleteResponse>(supabase, 'complete_session', { request }, payload);
}

/**
 * Notes that the client did not come: `scheduled` or `in_progress` → `no_show`, once the start has passed. The units go
 * back to the authorization.
 *
 * @param supabase - a supabase-js client
 * @param payload - the session; see {@link SessionChange}
 * @returns the session as stored
 * @throws SessionsApiError 409 `STATUS_NOT_ALLOWED` before its start or once it is over, 403 when it is not the caller's to
 *   change
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const { session } = await markNoShow(supabase, { sessionId });
 * ```
 */
export async function markNoShow(
  supabase: RpcCaller,
  payload: SessionChange,
): Promise<{ readonly session: Row }> {
  checkGiven(payload);
  const request = { session_id: payload.sessionId };
  return await callOutcome(supabase, 'mark_no_show', { request }, payload);
}

/**
 * Corrects a completed visit, or takes back a completion, a start or a no-show that was a mistake. What was before is kept
 * in `visit_versions`; units move along, beyond the authorization when too few are left.
 *
 * @param supabase - a supabase-js client
 * @param payload - the session, what changes, on top of which version, and why; see {@link CorrectionRequest}
 * @returns the visit as it is now
 * @throws SessionsApiError 409 `VISIT_VERSION_CONFLICT` when somebody corrected it meanwhile, `STATUS_NOT_ALLOWED` when it is
 *   not in the state the correction is of, `VISIT_OVERLAPS` as {@link completeSession} answers it, and a code such as
 *   `CLIENT_CONFLICT` when the time of a no-show was given away, or the person it is corrected to is booked elsewhere then
 * @throws SessionsApiError 403 when it is not the caller's, or no longer: therapists correct their own visits for
 *   `organizations.correction_days` days and never its people, admins always; 400 as {@link endSession}
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const { version, units, noteStatus } = await correctVisit(supabase, {
 *   sessionId,
 *   baseVersion: 1,
 *   actualEndTime: '2026-03-09T18:45:00Z',
 *   reasonCode: 'wrong_time',
 * });
 * if (noteStatus === 'needs_amendment') console.log('The note must be amended.');
 * ```
 */
export async function correctVisit(
  supabase: RpcCaller,
  payload: CorrectionRequest,
): Promise<CorrectionResponse> {
  checkGiven(payload);
  const request = {
    session_id: payload.sessionId,
    base_version: payload.baseVersion,
    actual_start_time: payload.actualStartTime,
    actual_end_time: payload.actualEndTime,
    other_day_reason: payload.otherDayReason,
    overlap_reason: payload.overlapReason,
    therapist_id: payload.therapistId,
    client_id: payload.clientId,
    cpt_code: payload.cptCode,
    modifiers: payload.modifiers,
    location_type: payload.locationType,
    undo: payload.undo,
    reason_code: payload.reasonCode,
    remark: payload.remark,
  };
  return await callOutcome<CorrectionResponse>(supabase, 'correct_visit', { request }, payload);
}
