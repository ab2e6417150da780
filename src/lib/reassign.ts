import type { HoldData, OverrideRule } from '../../supabase/functions/_shared/contract/types.ts';
import { newIdempotencyKey } from './callEdge.ts';
import { callOutcome } from './callOutcome.ts';
import type { ReadOptions } from './readRest.ts';
import type { SessionRow } from './scheduleQueries.ts';
import { type ConfirmResponse, cancelSessionHold, confirmSessionBooking } from './sessionHolds.ts';
import type { BlockedSession } from './sessionsApiError.ts';
import { checkGiven } from './sessionsApiError.ts';
import type { FunctionsCaller, RpcCaller } from './supabaseClient.ts';

/** Which sessions go, and to whom. */
export type ReassignmentRequest = ReadOptions &
  (
    | {
        /** The sessions, up to 366. A member of a group stands for the whole group. */
        readonly sessionIds: readonly string[];
        readonly therapistId?: never;
        readonly from?: never;
        readonly to?: never;
      }
    | {
        /** Whose sessions to come go: those that start from `from` until before `to` (instants). */
        readonly therapistId: string;
        readonly from: string;
        readonly to: string;
        readonly sessionIds?: never;
      }
  ) & {
    readonly toTherapistId: string;
    /** `refuse` (the default): all or nothing; `skip`: whatever can go. */
    readonly onConflict?: 'refuse' | 'skip';
    /** How long they are held, in seconds, 30–900. */
    readonly holdSeconds?: number;
    /** In spite of an overridable refusal; the reason is audited. */
    readonly override?: {
      readonly reason: string;
      readonly rules?: readonly OverrideRule[] | null;
    } | null;
    /** Makes a retry safe: the same key with the same request answers the same hold. */
    readonly idempotencyKey?: string | null;
  };

/** One session that is held for the other therapist. */
export interface HeldReassignment {
  readonly holdKey: string;
  readonly sessionId: string;
  /** Of a group: one of its clients. */
  readonly clientId: string;
  /** All clients of a group. */
  readonly clientIds?: readonly string[];
  readonly startTime: string;
  readonly endTime: string;
  /** The IANA zone it was booked in. */
  readonly timeZone: string;
  /** Who has it until the hold is confirmed. */
  readonly previousTherapistId: string;
}

/** What {@link holdReassignment} holds. */
export interface ReassignmentHold extends Omit<HoldData, 'holds'> {
  readonly holds: readonly HeldReassignment[];
  /** With `skip`: which sessions cannot go, and why. */
  readonly skipped: readonly BlockedSession[];
}

/**
 * Holds sessions of one or many clients for another therapist, as an admin: the day of somebody who is ill. Times, rooms
 * and buffers stay as they are; groups go whole. Until it is confirmed nothing changes.
 *
 * @param supabase - a supabase-js client
 * @param payload - which sessions, and to whom; see {@link ReassignmentRequest}
 * @returns the key to confirm all of it by, and each session
 * @throws SessionsApiError 409 with `blocked` (each session that cannot go, and why) and, when waiting helps, `retryAfter`;
 *   403 `FORBIDDEN` for who is no admin, 400 with `issues`
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const held = await holdReassignment(supabase, {
 *   therapistId,
 *   from: '2026-12-01T00:00:00-08:00',
 *   to: '2026-12-02T00:00:00-08:00',
 *   toTherapistId,
 * });
 * held.holds.length; // shown to whoever decides, then
 * await confirmReassignment(supabase, { hold: held, toTherapistId });
 * ```
 */
export async function holdReassignment(
  supabase: RpcCaller,
  payload: ReassignmentRequest,
): Promise<ReassignmentHold> {
  checkGiven(payload);
  const request = {
    session_ids: payload.sessionIds,
    therapist_id: payload.therapistId,
    from: payload.from,
    to: payload.to,
    to_therapist_id: payload.toTherapistId,
    on_conflict: payload.onConflict,
    hold_seconds: payload.holdSeconds,
    override: payload.override,
  };
  const args = { request, idempotency_key: payload.idempotencyKey ?? null };
  return await callOutcome<ReassignmentHold>(supabase, 'hold_reassignment', args, payload);
}

/**
 * Carries a hand-over out: every session that was held goes to the other therapist, by one key.
 *
 * @param supabase - a supabase-js client
 * @param payload - what {@link holdReassignment} gave, and to whom it goes
 * @returns the sessions as stored, those of groups included
 * @throws SessionsApiError 409 `SESSION_NOT_MOVABLE` when one was cancelled or begun meanwhile (none goes then), 410
 *   `HOLD_EXPIRED`
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const held = await holdReassignment(supabase, { sessionIds: [sessionId], toTherapistId });
 * const { sessions } = await confirmReassignment(supabase, { hold: held, toTherapistId });
 * ```
 */
export async function confirmReassignment(
  supabase: FunctionsCaller,
  payload: ReadOptions & {
    readonly hold: Pick<ReassignmentHold, 'holdKey' | 'holds'>;
    readonly toTherapistId: string;
    readonly idempotencyKey?: string;
  },
): Promise<ConfirmResponse> {
  checkGiven(payload, 'hold');
  const { hold, toTherapistId, ...options } = payload;
  const occurrences = hold.holds.map((held) => ({
    holdKey: held.holdKey,
    timeZone: held.timeZone,
    session: {
      id: held.sessionId,
      therapist_id: toTherapistId,
      client_id: held.clientId,
      start_time: held.startTime,
      end_time: held.endTime,
    },
  }));
  const [first] = occurrences;
  if (!first) throw new TypeError('The hold has no sessions.');
  return await confirmSessionBooking(supabase, {
    ...options,
    ...first,
    holdKey: hold.holdKey,
    occurrences,
  });
}

/**
 * Hands sessions over at once: holds them and confirms, or lets the hold go.
 *
 * @param supabase - a supabase-js client
 * @param payload - which sessions, and to whom; see {@link ReassignmentRequest}
 * @returns the sessions as stored, and those that were skipped
 * @throws SessionsApiError as {@link holdReassignment} and {@link confirmReassignment}
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const { skipped } = await reassignSessions(supabase, {
 *   sessionIds: [sessionId],
 *   toTherapistId,
 *   onConflict: 'skip',
 * });
 * skipped.map(({ sessionId, detail }) => `${sessionId}: ${detail}`);
 * ```
 */
export async function reassignSessions(
  supabase: RpcCaller & FunctionsCaller,
  payload: ReassignmentRequest,
): Promise<{ readonly sessions: readonly SessionRow[]; readonly skipped: readonly BlockedSession[] }> {
  checkGiven(payload);
  const { accessToken, signal, toTherapistId } = payload;
  const key = payload.idempotencyKey ?? newIdempotencyKey();
  const hold = await holdReassignment(supabase, {
    ...payload,
    idempotencyKey: key,
    // It is confirmed at once: nobody else needs to wait longer when that fails.
    holdSeconds: payload.holdSeconds ?? 30,
  });
  try {
    const idempotencyKey = `${key.slice(0, 240)}:confirm`;
    const { sessions } = await confirmReassignment(supabase, {
      ...{ accessToken, signal },
      ...{ hold, toTherapistId, idempotencyKey },
    });
    return { sessions, skipped: hold.skipped };
  } catch (error) {
    await cancelSessionHold(supabase, { accessToken, holdKey: hold.holdKey }).catch(() => undefined);
    throw error;
  }
}
