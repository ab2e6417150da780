import type { SupabaseClient } from '@supabase/supabase-js';
import { type CptMetadata, deriveCptMetadata } from '../../supabase/functions/_shared/cpt.ts';
import type { Occurrence } from '../../supabase/functions/_shared/recurrence.ts';
import type { BookSessionRequest } from './bookSession.ts';
import { type CallOptions, newIdempotencyKey } from './callEdge.ts';
import { type ClockReading, clockReading, countdown } from './countdown.ts';
import { generateOccurrences } from './generateOccurrences.ts';
import { previewOccurrences } from './previewSeries.ts';
import { assertSessionCompleteness } from './sessionCompleteness.ts';
import {
  type ConfirmResponse,
  cancelSessionHold,
  confirmSessionBooking,
  type HoldResponse,
  requestSessionHold,
} from './sessionHolds.ts';
import { invalidArgument } from './sessionsApiError.ts';

/** What {@link holdBooking} holds: as for `bookSession`, for new sessions. */
export type HoldBookingRequest = Omit<BookSessionRequest, 'occurrences'>;

/** A booking that is held, and waits for somebody's yes. */
export interface HeldBooking {
  readonly hold: HoldResponse;
  /** What is held, in order. */
  readonly occurrences: readonly Occurrence[];
  /** What `onConflict: 'skip'` left out; else empty. */
  readonly skipped: readonly Occurrence[];
  readonly cpt: CptMetadata;
  /** Whole seconds until the hold ends, safe against a wrong clock of the device and against sleep. */
  secondsLeft(): number;
  /**
   * Turns the hold into sessions. Repeating it answers the same sessions.
   * @throws SessionsApiError 410 `HOLD_EXPIRED` when it came too late; nothing is booked then
   */
  confirm(options?: Pick<CallOptions, 'signal' | 'retry'>): Promise<ConfirmResponse>;
  /** Gives the times back. Doing so again is harmless. */
  release(options?: Pick<CallOptions, 'signal' | 'retry'>): Promise<void>;
}

/**
 * Holds a session or a series while somebody is asked, such as a parent on the phone; `bookSession` holds and confirms in
 * one go.
 *
 * @param supabase - a supabase-js client
 * @param payload - the booking; see {@link HoldBookingRequest}
 * @returns the held booking, to confirm or to release
 * @throws SessionsApiError 409 with `conflicts` and `alternatives` for what is blocked; 400 with `issues`
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const held = await holdBooking(supabase, {
 *   session: {
 *     therapist_id: therapistId,
 *     client_id: clientId,
 *     start_time: '2026-12-01T18:00:00Z',
 *     end_time: '2026-12-01T19:00:00Z',
 *   },
 *   timeZone: 'America/Los_Angeles',
 *   holdSeconds: 300,
 * });
 * if (held.secondsLeft() > 0) await held.confirm();
 * ```
 */
export async function holdBooking(
  supabase: Pick<SupabaseClient, 'functions' | 'rpc'>,
  payload: HoldBookingRequest,
): Promise<HeldBooking> {
  assertSessionCompleteness(payload.session);
  const { session, timeZone, holdSeconds = 300, accessToken, signal, retry } = payload;
  const recurrence = payload.recurrence ?? session.recurrence ?? null;
  const all = generateOccurrences(session, recurrence, { timeZone });
  const { wanted, skipped } = await withoutBlocked(supabase, payload, all);
  const first = wanted[0];
  if (!first) throw invalidArgument([{ path: 'recurrence', message: 'must leave at least one free date' }]);
  const cpt = deriveCptMetadata(payload);
  const idempotencyKey = payload.idempotencyKey ?? newIdempotencyKey();
  const sent: ClockReading = clockReading();
  const hold = await requestSessionHold(supabase, {
    ...payload,
    holdSeconds,
    therapistId: session.therapist_id,
    clientId: session.client_id,
    sessionType: session.session_type,
    cptCode: cpt.code,
    startTime: first.startTime,
    endTime: first.endTime,
    startTimeOffsetMinutes: first.startOffsetMinutes,
    endTimeOffsetMinutes: first.endOffsetMinutes,
    recurrence: null,
    occurrences: wanted.map(windowOf),
    idempotencyKey,
  });
  const left = countdown(holdSeconds, sent);
  return {
    hold,
    occurrences: wanted,
    skipped,
    cpt,
    secondsLeft: () => left.secondsLeft(),
    confirm: (options) => {
      const occurrences = wanted.map((occurrence, index) => ({
        ...windowOf(occurrence),
        holdKey: hold.holds[index]?.holdKey ?? hold.holdKey,
        session: { ...session, start_time: occurrence.startTime, end_time: occurrence.endTime },
      }));
      const [top] = occurrences as [(typeof occurrences)[number]];
      return confirmSessionBooking(supabase, {
        ...{ ...top, holdKey: hold.holdKey, occurrences, timeZone },
        ...{ cpt: { code: cpt.code, modifiers: cpt.modifiers }, idempotencyKey, accessToken },
        ...{ signal: options?.signal ?? signal, retry: options?.retry ?? retry },
      });
    },
    release: async (options) => {
      await cancelSessionHold(supabase, { holdKey: hold.holdKey, accessToken, retry, ...options });
    },
  };
}

async function withoutBlocked(
  supabase: Pick<SupabaseClient, 'rpc'>,
  payload: HoldBookingRequest,
  all: readonly Occurrence[],
): Promise<{ wanted: readonly Occurrence[]; skipped: readonly Occurrence[] }> {
  if (payload.onConflict !== 'skip' || all.length < 2) return { wanted: all, skipped: [] };
  const preview = await previewOccurrences(supabase, payload, all);
  return {
    wanted: preview.filter(({ blockedBy }) => blockedBy === null),
    skipped: preview.filter(({ blockedBy }) => blockedBy !== null),
  };
}

function windowOf({ startTime, endTime, startOffsetMinutes, endOffsetMinutes, timeZone }: Occurrence) {
  return {
    ...{ startTime, endTime, timeZone },
    ...{ startTimeOffsetMinutes: startOffsetMinutes, endTimeOffsetMinutes: endOffsetMinutes },
  };
}
