import type { CptMetadata } from '../../supabase/functions/_shared/cpt.ts';
import type { Occurrence } from '../../supabase/functions/_shared/recurrence.ts';
import { type BookingClient, type BookSessionRequest, confirmationOf, holdWanted } from './bookSession.ts';
import type { CallOptions } from './callEdge.ts';
import { type ClockReading, clockReading, countdown } from './countdown.ts';
import {
  type ConfirmResponse,
  cancelSessionHold,
  confirmSessionBooking,
  type HoldResponse,
} from './sessionHolds.ts';
import { checkGiven } from './sessionsApiError.ts';
import type { SkippedOccurrence } from './skipBlocked.ts';

/** How long a person may take to say yes, in seconds. */
const HOLD_SECONDS = 300;

/** What {@link holdBooking} holds: as for `bookSession`. */
export type HoldBookingRequest = Omit<BookSessionRequest, 'onReleaseError'>;

/** A booking that is held, and waits for somebody's yes. */
export interface HeldBooking {
  readonly hold: HoldResponse;
  /** What is held, in order. */
  readonly occurrences: readonly Occurrence[];
  /** What `onConflict: 'skip'` left out; else empty. */
  readonly skipped: readonly SkippedOccurrence[];
  /** What the first session is to be billed as; null for a move, which keeps what the session has. */
  readonly cpt: CptMetadata | null;
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
  supabase: BookingClient,
  payload: HoldBookingRequest,
): Promise<HeldBooking> {
  checkGiven(payload, 'session');
  const sent: ClockReading = clockReading();
  const booking = await holdWanted(supabase, { holdSeconds: HOLD_SECONDS, ...payload });
  const { hold, occurrences, skipped } = booking.held;
  const { accessToken, retry } = payload;
  const left = countdown(hold.secondsLeft, sent);
  return {
    hold,
    occurrences,
    skipped,
    cpt: booking.service?.metadata ?? null,
    secondsLeft: () => left.secondsLeft(),
    confirm: (options) => confirmSessionBooking(supabase, { ...confirmationOf(booking), ...options }),
    release: async (options) => {
      await cancelSessionHold(supabase, { holdKey: hold.holdKey, accessToken, retry, ...options });
    },
  };
}
