import { callOutcome } from './callOutcome.ts';
import type { Database } from './database.types.ts';
import type { ReadOptions } from './readRest.ts';
import type { BookingDetails } from './sessionHolds.ts';
import { checkGiven } from './sessionsApiError.ts';
import type { RpcCaller } from './supabaseClient.ts';

/** Which sessions get which code. */
export interface RecodeRequest extends ReadOptions {
  /** 1 to 1,000 ids of sessions that are scheduled or in progress. */
  readonly sessionIds: readonly string[];
  readonly cptCode: string;
  /** For admins: `authorization` (units, and what the payer pays for) and `concurrency`, with a reason that is audited. */
  readonly override?: BookingDetails['override'];
}

/** What {@link recodeSessions} did. */
export interface RecodeResponse {
  readonly cptCode: string;
  readonly recodedCount: number;
  /** The rules that the override really set aside. */
  readonly overridden: readonly ('authorization' | 'concurrency')[];
  /** The sessions as they are now, by start. */
  readonly sessions: readonly Database['public']['Tables']['sessions']['Row'][];
}

/**
 * Gives booked sessions another service code, all of them or none: when a code ends, or was booked by mistake. What a hold
 * asks is asked anew: the code's days, who may render it, units, and what may run at the same time. Modifiers become those
 * that the payer wants.
 *
 * @param supabase - a supabase-js client
 * @param payload - the sessions and the code; see {@link RecodeRequest}
 * @returns the sessions as they are now
 * @throws SessionsApiError 409 `AUTHORIZATION_EXCEEDED` with `shortages`, `CONCURRENT_SERVICE_NOT_ALLOWED` with `conflicts`
 *   (each has a `sessionId`), `SESSION_BEING_MOVED` with `retryAfter`, `STATUS_NOT_ALLOWED`
 * @throws SessionsApiError 403 for sessions that are not the caller's, or a code that a therapist may not render
 * @throws SessionsApiError 400 for a code that is not valid on a session's day
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const sessionIds = (await fetchSessionsToRecode(supabase)).map(({ session_id }) => session_id);
 * const { recodedCount } = await recodeSessions(supabase, { sessionIds, cptCode: '97153' });
 * ```
 */
export async function recodeSessions(supabase: RpcCaller, payload: RecodeRequest): Promise<RecodeResponse> {
  checkGiven(payload);
  const { override } = payload;
  const request = {
    session_ids: payload.sessionIds,
    cpt_code: payload.cptCode,
    override: override && { reason: override.reason, rules: override.rules && [...override.rules] },
  };
  return await callOutcome<RecodeResponse>(supabase, 'recode_sessions', { request }, payload);
}
