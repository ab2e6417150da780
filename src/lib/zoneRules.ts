import type { Conflict } from '../../supabase/functions/_shared/contract/types.ts';
import { callRpc, type ReadOptions } from './readRest.ts';
import { fetchReport, type ReportRow } from './reports.ts';
import { checkGiven, SessionsApiError } from './sessionsApiError.ts';
import type { RpcCaller, SchemaReader } from './supabaseClient.ts';

/** Which zone is moved, and whose token moves it. */
export interface ResyncRequest extends ReadOptions {
  /** An IANA name, such as `America/Vancouver`. */
  readonly zone: string;
}

/** What {@link resyncZone} did. */
export interface ResyncResponse {
  readonly zone: string;
  readonly movedCount: number;
  /** By their new start. */
  readonly movedSessionIds: readonly string[];
}

/** What is in the way of a session that would move: `conflicts` of the error that {@link resyncZone} throws. */
export interface ResyncConflict extends Conflict {
  /** The session that would move there; `occurrenceIndex` counts them by their new start. */
  readonly sessionId: string;
}

/** What {@link resyncZone} is told by the database. */
type Outcome =
  | { readonly ok: true; readonly body: ResyncResponse }
  | {
      readonly ok: false;
      readonly status: number;
      readonly code: SessionsApiError['code'];
      readonly detail: string;
      readonly retryAfter?: string | null;
      readonly retryAfterSeconds?: number | null;
      readonly conflicts?: readonly ResyncConflict[];
    };

/**
 * Future sessions that no longer show the civil time they were booked for, since the law of their zone has changed.
 *
 * @param supabase - a supabase-js client
 * @param options - token and signal; see {@link ReadOptions}
 * @returns a row for each session, by start: `booked_for` and `shows_now` are civil times of `time_zone`
 * @throws SessionsApiError 401 without a session, 403 `ORGANIZATION_REQUIRED`
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const zones = new Set((await fetchMovedByZoneRules(supabase)).map(({ time_zone }) => time_zone));
 * ```
 */
export async function fetchMovedByZoneRules(
  supabase: SchemaReader,
  options: ReadOptions = {},
): Promise<ReportRow<'moved_by_zone_rules'>[]> {
  checkGiven(options);
  return fetchReport(supabase, 'moved_by_zone_rules', { ...options, by: 'start_time' });
}

/**
 * Moves every future session of a zone back to the civil time it was booked for, all or nothing: 10:00 is 10:00 again.
 * For a super_admin, after the database has learned of the zone's new law.
 *
 * @param supabase - a supabase-js client
 * @param payload - the zone; see {@link ResyncRequest}
 * @returns which sessions moved; none when all are at their time
 * @throws SessionsApiError 409 with `conflicts`, each a {@link ResyncConflict}, when something else is there; `SESSION_BEING_MOVED`
 *   with `retryAfter` while somebody moves one of them; `SESSION_NOT_MOVABLE` when a group would be torn apart
 * @throws SessionsApiError 403 for anybody but a super_admin, 400 for a name that is no zone
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const { movedCount } = await resyncZone(supabase, { zone: 'America/Vancouver' });
 * ```
 */
export async function resyncZone(supabase: RpcCaller, payload: ResyncRequest): Promise<ResyncResponse> {
  checkGiven(payload);
  const outcome = await callRpc<Outcome>(supabase, 'resync_zone', { zone: payload.zone }, payload);
  if (outcome.ok) return outcome.body;
  const { detail, ...problem } = outcome;
  throw new SessionsApiError({ ...problem, message: detail });
}
