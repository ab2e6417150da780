import { callOutcome } from './callOutcome.ts';
import { callRpc, type ReadOptions } from './readRest.ts';
import { checkGiven } from './sessionsApiError.ts';
import type { RpcCaller } from './supabaseClient.ts';

/** A client, a therapist or a room: one of the three. */
export type Archivable =
  | { readonly clientId: string; readonly therapistId?: never; readonly roomId?: never }
  | { readonly therapistId: string; readonly clientId?: never; readonly roomId?: never }
  | { readonly roomId: string; readonly clientId?: never; readonly therapistId?: never };

/** What becomes of the sessions that a change leaves behind. */
export interface LeavingOptions extends ReadOptions {
  /** Cancels them in the same transaction; they stay as they are when absent. */
  readonly cancelSessions?: boolean;
  /** Why, kept with each cancellation; at most 500 characters. */
  readonly reason?: string | null;
}

/** What a change leaves behind. */
export interface Touched {
  /** How many sessions to come it touches. */
  readonly touched: number;
  /** How many of them it cancelled. */
  readonly cancelled: number;
  /** The first hundred of them, the earliest first. */
  readonly touchedSessionIds: readonly string[];
  /** How many staff times to come it touches: those of a therapist, or in a room. */
  readonly touchedStaffTimes: number;
  /** How many of them it ended: cancelled, or, where others take part, left to them. */
  readonly cancelledStaffTimes: number;
  readonly touchedStaffTimeIds: readonly string[];
}

/** Bookings that are being made where somebody closes the clinic or takes time off. */
export interface TouchedHolds {
  /** How many live holds lie there, as many as the sessions they would become. They can still be confirmed. */
  readonly touchedHolds: number;
  /** When the last of them expires; null when there is none. Look again then. */
  readonly touchedHoldsUntil: string | null;
  /** How many of them were let go, with the sessions that were cancelled. */
  readonly releasedHolds: number;
}

/**
 * Archives a client, a therapist or a room, as an admin: nobody books them from then on. What is booked stays, unless it is
 * to be cancelled.
 *
 * @param supabase - a supabase-js client
 * @param payload - who or what, and what becomes of the sessions to come; see {@link LeavingOptions}
 * @returns how many sessions are to come, and which
 * @throws SessionsApiError 403 for who is no admin, or what is not of their organization; 400 with `issues`
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const { touched } = await archive(supabase, { clientId });
 * if (touched > 0) console.log(`${touched} sessions are still booked`);
 * ```
 */
export async function archive(
  supabase: RpcCaller,
  payload: Archivable & LeavingOptions,
): Promise<Touched & { readonly archivedAt: string }> {
  checkGiven(payload);
  const request = { ...named(payload), cancel_sessions: payload.cancelSessions, reason: payload.reason };
  return await callOutcome<Touched & { readonly archivedAt: string }>(
    supabase,
    'archive',
    { request },
    payload,
  );
}

/** A credential, as therapists have it. */
export type Credential = 'RBT' | 'BCaBA' | 'BCBA' | 'BCBA-D';

/**
 * Changes a therapist's credential from today on, as an admin.
 *
 * @param supabase - a supabase-js client
 * @param payload - whose, to what, and what becomes of sessions that the new level may not render
 * @returns how many sessions to come the new level may not render, and which
 * @throws SessionsApiError 403 for who is no admin, or no therapist of their organization; 400 with `issues`
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * await setCredential(supabase, { therapistId, credential: 'BCBA' });
 * ```
 */
export async function setCredential(
  supabase: RpcCaller,
  payload: LeavingOptions & { readonly therapistId: string; readonly credential: Credential },
): Promise<Touched> {
  checkGiven(payload);
  const request = {
    therapist_id: payload.therapistId,
    credential: payload.credential,
    cancel_sessions: payload.cancelSessions,
    reason: payload.reason,
  };
  return await callOutcome<Touched>(supabase, 'set_credential', { request }, payload);
}

/** A session to come. */
export interface TouchedSession {
  readonly sessionId: string;
  readonly startTime: string;
  readonly endTime: string;
  readonly therapistId: string;
  readonly clientId: string;
}

/**
 * All sessions to come of a client, a therapist or a room, however many, as an admin.
 *
 * @param supabase - a supabase-js client
 * @param query - whose
 * @returns the sessions, the earliest first
 * @throws SessionsApiError 403 for who is no admin
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const left = await fetchTouchedSessions(supabase, { therapistId });
 * left[0]?.startTime;
 * ```
 */
export async function fetchTouchedSessions(
  supabase: RpcCaller,
  query: Archivable & ReadOptions,
): Promise<TouchedSession[]> {
  checkGiven(query);
  const listed: TouchedSession[] = [];
  for (let after: string | null = null; ; ) {
    const request: object = { ...named(query), limit: 500, after };
    const page: { sessions: TouchedSession[]; next: string | null } = await callRpc(
      supabase,
      'touched_sessions',
      { request },
      query,
    );
    listed.push(...page.sessions);
    if (page.next === null) return listed;
    after = page.next;
  }
}

const named = ({ clientId, therapistId, roomId }: Archivable) => ({
  client_id: clientId,
  therapist_id: therapistId,
  room_id: roomId,
});
