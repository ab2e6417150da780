import {
  type CptMetadata,
  deriveCptMetadata,
  type PayerRules,
} from '../../supabase/functions/_shared/cpt.ts';
import type { Occurrence } from '../../supabase/functions/_shared/recurrence.ts';
import { type BookingPlan, bookingPlan, type PlannedOccurrence } from './bookingPlan.ts';
import { type CallOptions, type FunctionsCaller, newIdempotencyKey, outcomeIsUnknown } from './callEdge.ts';
import type { RecurrenceInput } from './generateOccurrences.ts';
import type { SessionRow } from './scheduleQueries.ts';
import { assertSessionCompleteness } from './sessionCompleteness.ts';
import {
  type BookingDetails,
  type ConfirmRequest,
  type ConfirmResponse,
  type CptInput,
  confirmSessionBooking,
  type HoldResponse,
  releaseAfterFailure,
  type SessionInput,
} from './sessionHolds.ts';
import { checkGiven } from './sessionsApiError.ts';
import { type HeldPlan, holdPlan, type SkippedOccurrence } from './skipBlocked.ts';
import type { RpcCaller, TableReader } from './supabaseClient.ts';

/** What {@link bookSession} books. */
export interface BookSessionRequest extends BookingDetails, CallOptions {
  /** Who and when. With an `id`, that session is moved instead of a new one made. */
  readonly session: SessionInput & { readonly recurrence?: RecurrenceInput | null };
  /** The rule of a series; `session.recurrence` when absent. */
  readonly recurrence?: RecurrenceInput | null;
  /** The IANA zone of the booking, unless the recurrence names one. */
  readonly timeZone: string;
  /** Minutes east of UTC at the session's start. Worked out from the zone when absent, else checked against it. */
  readonly startTimeOffsetMinutes?: number | null;
  /** Minutes east of UTC at the session's end. */
  readonly endTimeOffsetMinutes?: number | null;
  /**
   * The billing code and modifiers, when not those of the session's type. Without modifiers the database stores those the
   * payer wants; an empty list is none. In a move: the service the sessions are to have from now on; without a code they
   * keep code, modifiers and type.
   */
  readonly overrides?: {
    readonly cptCode?: string | null;
    readonly modifiers?: readonly string[] | null;
  } | null;
  /** The payer's rules for modifiers and units. */
  readonly payerRules?: PayerRules | null;
  /** The credential of who renders, such as `RBT`: payers want modifiers by level. */
  readonly credential?: string | null;
  /**
   * The windows of the series, instead of a recurrence: to move a series, one `sessionId` each.
   */
  readonly occurrences?: readonly {
    readonly startTime: string;
    readonly endTime: string;
    readonly sessionId?: string;
  }[];
  /**
   * What to do when some occurrences are blocked: `refuse` (the default) books nothing and throws the 409; `skip`
   * books the free ones and returns the others in `skipped`.
   */
  readonly onConflict?: 'refuse' | 'skip';
  /**
   * Told when a booking failed and its hold could not be released either; the hold then expires by itself. Without it
   * a warning is written to the console.
   */
  readonly onReleaseError?: (error: unknown, holdKey: string) => void;
}

/** A finished booking. */
export interface BookSessionResult extends ConfirmResponse {
  /** The hold the sessions were made from. */
  readonly hold: HoldResponse;
  /** What the first session is billed as. Units are each session's own. */
  readonly cpt: CptMetadata;
  /** The booked occurrences, in the order of `sessions`; of a group, each once. */
  readonly occurrences: Occurrence[];
  /** What `onConflict: 'skip'` left out; else empty. */
  readonly skipped: SkippedOccurrence[];
  /**
   * The database has other rules for the zone than this device. 10:00 was booked at 10:00 by the database's rules, which
   * is another instant than this device would have said: show `sessions` in their own `time_zone` with care.
   */
  readonly zoneRulesDiffer: boolean;
}

/** The part of a supabase-js client that booking uses. */
export type BookingClient = FunctionsCaller & RpcCaller & Partial<TableReader>;

/** How long a booking's own hold lives: it confirms at once, so that a rival is not told to wait for minutes. */
const HOLD_SECONDS = 30;

/**
 * Books a session or a series: checks it, derives its billing, expands it, holds every occurrence, confirms them.
 * Either all of it is booked or, after a failure or an abort, nothing is and no hold stays behind.
 *
 * Repeating a call with the same `idempotencyKey` answers the booking made before, with `onConflict: 'skip'` too. When an
 * answer is lost, this call itself asks again; should it be aborted when the booking is already made, it returns the booking.
 *
 * @param supabase - a supabase-js client
 * @param payload - the booking; see {@link BookSessionRequest}
 * @returns the sessions as stored, the hold, the billing and what was left out
 * @throws SessionsApiError 400 with `issues` for what cannot be booked; 409 with `conflicts`, `alternatives` and
 *   `retryAfter` for what is blocked; any other answer of the endpoints; status 0 when none came
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const { sessions, skipped } = await bookSession(supabase, {
 *   session: {
 *     therapist_id: therapistId,
 *     client_id: clientId,
 *     start_time: '2026-12-01T18:00:00Z',
 *     end_time: '2026-12-01T19:00:00Z',
 *     session_type: 'individual',
 *     location_type: 'clinic',
 *   },
 *   recurrence: { rule: 'FREQ=WEEKLY;COUNT=12', exceptions: ['2026-12-29'] },
 *   timeZone: 'America/Los_Angeles',
 *   onConflict: 'skip',
 * });
 * ```
 */
export async function bookSession(
  supabase: BookingClient,
  payload: BookSessionRequest,
): Promise<BookSessionResult> {
  checkGiven(payload, 'session');
  const booking = await holdWanted(supabase, { holdSeconds: HOLD_SECONDS, ...payload });
  const confirmed = await confirmOrRelease(supabase, booking);
  const { hold, skipped, occurrences } = booking.held;
  return {
    ...confirmed,
    hold,
    cpt: {
      ...(booking.service?.metadata ?? billingOf(confirmed.session, payload)),
      modifiers: [...confirmed.session.cpt_modifiers],
    },
    occurrences: occurrences.map(({ sessionId: _, ...occurrence }, index) => ({ ...occurrence, index })),
    skipped,
    zoneRulesDiffer: hold.zoneRulesDiffer ?? false,
  };
}

/** A booking that is held and not yet confirmed. */
export interface WantedBooking {
  /** What was asked for, and the key it is asked for by. */
  readonly intent: BookSessionRequest & { readonly idempotencyKey: string };
  /** Null for a move that keeps the service. */
  readonly service: WantedService | null;
  readonly held: HeldPlan;
}

/** Checks a booking, works out what it means and holds it. */
export async function holdWanted(
  supabase: BookingClient,
  payload: BookSessionRequest,
): Promise<WantedBooking> {
  assertSessionCompleteness(payload?.session);
  const plan = bookingPlan(payload);
  const service = serviceOf(payload, plan);
  const intent = { ...payload, idempotencyKey: payload.idempotencyKey ?? newIdempotencyKey() };
  const isRepeatable = payload.idempotencyKey !== undefined;
  return { intent, service, held: await holdPlan(supabase, intent, plan, service, isRepeatable) };
}

/** The service a booking asks for. */
export interface WantedService {
  readonly sessionType: string | null | undefined;
  readonly cpt: CptInput;
  readonly metadata: CptMetadata;
}

/** The service to ask for. A move asks for none unless it is told to: the sessions keep theirs. */
function serviceOf(payload: BookSessionRequest, { isMove }: BookingPlan): WantedService | null {
  if (isMove && !payload.overrides?.cptCode?.trim()) return null;
  const metadata = deriveCptMetadata(payload);
  const { code, modifiers } = metadata;
  // What the caller did not choose is the database's to choose: it knows payer, credential and day.
  const cpt = payload.overrides?.modifiers ? { code, modifiers } : { code };
  return { sessionType: payload.session.session_type, cpt, metadata };
}

/** What a session that kept its service is billed as. */
function billingOf(session: SessionRow, { payerRules }: BookSessionRequest): CptMetadata {
  const overrides = { cptCode: session.cpt_code, modifiers: session.cpt_modifiers };
  return deriveCptMetadata({ session, overrides, payerRules });
}

/** The confirmation of what is held. */
export function confirmationOf({ intent, service, held }: WantedBooking): ConfirmRequest {
  const { session, accessToken, idempotencyKey, retry, signal, onRetry } = intent;
  const { hold, occurrences } = held;
  const windows = hold.holds.map((slot, index) => {
    const occurrence = occurrences[index] as PlannedOccurrence;
    return {
      holdKey: slot.holdKey,
      session: {
        therapist_id: session.therapist_id,
        client_id: session.client_id,
        id: occurrence.sessionId,
        // What is held decides: the database's rules for the zone may be others than this device's.
        start_time: slot.startTime,
        end_time: slot.endTime,
        session_type: service?.sessionType,
        location_type: session.location_type,
      },
      startTimeOffsetMinutes: occurrence.startOffsetMinutes,
      endTimeOffsetMinutes: occurrence.endOffsetMinutes,
      timeZone: occurrence.timeZone,
    };
  });
  const [first] = windows as [(typeof windows)[number]];
  return {
    ...first,
    holdKey: hold.holdKey,
    cpt: service?.cpt,
    occurrences: windows,
    ...{ accessToken, idempotencyKey, retry, signal, onRetry },
  };
}

async function confirmOrRelease(supabase: FunctionsCaller, booking: WantedBooking): Promise<ConfirmResponse> {
  const request = confirmationOf(booking);
  try {
    return await confirmSessionBooking(supabase, request);
  } catch (error) {
    const released = await release(supabase, booking.intent, booking.held.hold.holdKey);
    if (released || !outcomeIsUnknown(error)) throw error;
    // Nothing was left to release and no answer came: the booking may be made. Asking once more, by key, tells.
    try {
      return await confirmSessionBooking(supabase, {
        ...request,
        signal: undefined,
        retry: { attempts: 2, attemptTimeoutMs: 5_000 },
      });
    } catch {
      throw error;
    }
  }
}

/** Gives the batch back; a failure to do so is reported, not thrown, so that the first error stays the one seen. */
async function release(
  supabase: FunctionsCaller,
  { accessToken, onReleaseError }: BookSessionRequest,
  holdKey: string,
): Promise<boolean> {
  try {
    return (await releaseAfterFailure(supabase, holdKey, accessToken)).released;
  } catch (error) {
    if (onReleaseError) onReleaseError(error, holdKey);
    else console.warn('A hold could not be released after its booking failed; it will expire.', error);
    return false;
  }
}
