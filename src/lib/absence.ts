import { callOutcome } from './callOutcome.ts';
import type { ReadOptions } from './readRest.ts';
import type { RpcCaller } from './supabaseClient.ts';

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
export interface TimeOff {
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
  const request = {
    therapist_id: payload.therapistId,
    from_date: payload.fromDate,
    to_date: payload.toDate,
    cancel_sessions: payload.cancelSessions,
    reason: payload.reason,
  };
  return await callOutcome<TimeOff>(supabase, 'add_time_off', { request }, payload);
}
