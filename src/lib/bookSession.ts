import type { SupabaseClient } from '@supabase/supabase-js';
import {
  type CptMetadata,
  deriveCptMetadata,
  type PayerRules,
} from '../../supabase/functions/_shared/cpt.ts';
import type { Occurrence } from '../../supabase/functions/_shared/recurrence.ts';
import { type CallOptions, newIdempotencyKey, outcomeIsUnknown } from './callEdge.ts';
import { generateOccurrences, type RecurrenceInput } from './generateOccurrences.ts';
import { type BlockedBy, previewOccurrences } from './previewSeries.ts';
import { assertSessionCompleteness } from './sessionCompleteness.ts';
import {
  type BookingDetails,
  type ConfirmResponse,
  confirmSessionBooking,
  type HoldResponse,
  releaseAfterFailure,
  requestSessionHold,
  type SessionInput,
} from './sessionHolds.ts';
import { invalidArgument, SessionsApiError } from './sessionsApiError.ts';

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
  /** The billing code and modifiers, when not those of the session's type. */
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

/** An occurrence that was left out, and why. */
export interface SkippedOccurrence extends Occurrence {
  readonly blockedBy: BlockedBy;
  readonly by: 'session' | 'hold' | null;
}

/** A finished booking. */
export interface BookSessionResult extends ConfirmResponse {
  /** The hold the sessions were made from. */
  readonly hold: HoldResponse;
  /** What the first session is billed as. Units are each session's own. */
  readonly cpt: CptMetadata;
  /** The booked occurrences, in the order of `sessions`. */
  readonly occurrences: Occurrence[];
  /** What `onConflict: 'skip'` left out; else empty. */
  readonly skipped: SkippedOccurrence[];
}

type BookedOccurrence = Occurrence & { readonly sessionId?: string | null };

/** How often `skip` looks again when rivals book while it does. */
const SKIP_ROUNDS = 4;

/**
 * Books a session or a series: checks it, derives its billing, expands it, holds every occurrence, confirms them.
 * Either all of it is booked or, after a failure or an abort, nothing is and no hold stays behind.
 *
 * Repeating a call with the same `idempotencyKey` answers the booking made before. When an answer is lost, this call
 * itself asks again; should it be aborted when the booking is already made, it returns the booking.
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
  supabase: Pick<SupabaseClient, 'functions' | 'rpc'>,
  payload: BookSessionRequest,
): Promise<BookSessionResult> {
  assertSessionCompleteness(payload?.session);
  const cpt = deriveCptMetadata(payload);
  const all = occurrencesOf(payload);
  const idempotencyKey = payload.idempotencyKey ?? newIdempotencyKey();
  const { hold, occurrences, skipped } = await holdOccurrences(
    supabase,
    { ...payload, idempotencyKey },
    cpt,
    all,
  );
  const confirmed = await confirmOrRelease(supabase, { ...payload, idempotencyKey }, cpt, hold, occurrences);
  return { ...confirmed, hold, cpt, occurrences: occurrences.map(reindexed), skipped };
}

function occurrencesOf(payload: BookSessionRequest): BookedOccurrence[] {
  const recurrence = payload.recurrence ?? payload.session.recurrence ?? null;
  const options = {
    timeZone: payload.timeZone,
    startOffsetMinutes: payload.startTimeOffsetMinutes,
    endOffsetMinutes: payload.endTimeOffsetMinutes,
  };
  const listed = payload.occurrences ?? [];
  if (listed.length > 0 && recurrence) {
    const message = 'must not accompany occurrences: give the windows or the rule, not both';
    throw invalidArgument([{ path: 'recurrence', message }]);
  }
  const occurrences: BookedOccurrence[] =
    listed.length > 0
      ? listed.flatMap(({ startTime, endTime, sessionId }) =>
          generateOccurrences({ start_time: startTime, end_time: endTime }, null, {
            timeZone: payload.timeZone,
          }).map((occurrence) => ({ ...occurrence, sessionId })),
        )
      : generateOccurrences(payload.session, recurrence, options);
  if (occurrences.length === 0) {
    throw invalidArgument([{ path: 'recurrence.rule', message: 'must leave at least one occurrence' }]);
  }
  const { id } = payload.session;
  if (id && listed.length === 0) {
    if (occurrences.length > 1) {
      const message = 'moves one session: to move a series, give occurrences with a sessionId each';
      throw invalidArgument([{ path: 'session.id', message }]);
    }
    return occurrences.map((occurrence) => ({ ...occurrence, sessionId: id }));
  }
  return occurrences.map(reindexed);
}

function reindexed<Value extends Occurrence>(occurrence: Value, index: number): Value {
  return { ...occurrence, index };
}

interface Held {
  readonly hold: HoldResponse;
  readonly occurrences: readonly BookedOccurrence[];
  readonly skipped: SkippedOccurrence[];
}

async function holdOccurrences(
  supabase: Pick<SupabaseClient, 'functions' | 'rpc'>,
  payload: BookSessionRequest & { readonly idempotencyKey: string },
  cpt: CptMetadata,
  all: readonly BookedOccurrence[],
): Promise<Held> {
  let wanted = all;
  const skipped: SkippedOccurrence[] = [];
  for (let round = 1; ; round += 1) {
    try {
      const hold = await requestHold(supabase, payload, cpt, wanted, round);
      return { hold, occurrences: wanted, skipped: skipped.sort((a, b) => a.index - b.index) };
    } catch (error) {
      const mayskip =
        payload.onConflict === 'skip' && error instanceof SessionsApiError && error.status === 409;
      if (!mayskip || round >= SKIP_ROUNDS) throw error;
      const blocked = await blockedOccurrences(supabase, payload, wanted, error);
      if (blocked.size === 0 || blocked.size >= wanted.length) throw error;
      skipped.push(...blocked.values());
      wanted = wanted.filter((_, index) => !blocked.has(index));
    }
  }
}

function requestHold(
  supabase: Pick<SupabaseClient, 'functions'>,
  payload: BookSessionRequest & { readonly idempotencyKey: string },
  cpt: CptMetadata,
  occurrences: readonly BookedOccurrence[],
  round: number,
): Promise<HoldResponse> {
  const first = occurrences[0] as BookedOccurrence;
  const windows = occurrences.map((occurrence) => ({
    startTime: occurrence.startTime,
    endTime: occurrence.endTime,
    startTimeOffsetMinutes: occurrence.startOffsetMinutes,
    endTimeOffsetMinutes: occurrence.endOffsetMinutes,
    timeZone: occurrence.timeZone,
    sessionId: occurrence.sessionId,
  }));
  return requestSessionHold(supabase, {
    therapistId: payload.session.therapist_id,
    clientId: payload.session.client_id,
    startTime: first.startTime,
    endTime: first.endTime,
    startTimeOffsetMinutes: first.startOffsetMinutes,
    endTimeOffsetMinutes: first.endOffsetMinutes,
    timeZone: first.timeZone,
    holdSeconds: payload.holdSeconds,
    sessionType: payload.session.session_type,
    cptCode: cpt.code,
    roomId: payload.roomId,
    groupId: payload.groupId,
    bufferBeforeMinutes: payload.bufferBeforeMinutes,
    bufferAfterMinutes: payload.bufferAfterMinutes,
    override: payload.override,
    occurrences: windows,
    accessToken: payload.accessToken,
    signal: payload.signal,
    retry: payload.retry,
    // What is asked for changes with each round of skipping, and so must the key.
    idempotencyKey:
      round === 1 ? payload.idempotencyKey : `${payload.idempotencyKey.slice(0, 240)}:skip-${round}`,
  });
}

/** Which of the wanted occurrences a 409 is about, by their place among them. */
async function blockedOccurrences(
  supabase: Pick<SupabaseClient, 'rpc'>,
  payload: BookSessionRequest,
  wanted: readonly BookedOccurrence[],
  refusal: SessionsApiError,
): Promise<Map<number, SkippedOccurrence>> {
  const blocked = new Map<number, SkippedOccurrence>();
  for (const { occurrenceIndex, resource, blockedBy } of refusal.conflicts) {
    const occurrence = wanted[occurrenceIndex];
    if (!occurrence || blocked.has(occurrenceIndex)) continue;
    blocked.set(occurrenceIndex, { ...occurrence, blockedBy: resource, by: blockedBy });
  }
  if (blocked.size > 0) return blocked;
  // A refusal that lists no claims, such as outside the therapist's hours: ask which occurrences it is about.
  const preview = await previewOccurrences(supabase, { ...payload, recurrence: null }, wanted);
  for (const [index, { blockedBy, by }] of preview.entries()) {
    const occurrence = wanted[index];
    if (occurrence && blockedBy) blocked.set(index, { ...occurrence, blockedBy, by });
  }
  return blocked;
}

async function confirmOrRelease(
  supabase: Pick<SupabaseClient, 'functions'>,
  payload: BookSessionRequest & { readonly idempotencyKey: string },
  cpt: CptMetadata,
  hold: HoldResponse,
  occurrences: readonly BookedOccurrence[],
): Promise<ConfirmResponse> {
  const { session, accessToken, idempotencyKey, retry, signal } = payload;
  const windows = occurrences.map((occurrence, index) => ({
    holdKey: hold.holds[index]?.holdKey ?? hold.holdKey,
    session: {
      ...session,
      id: occurrence.sessionId,
      start_time: occurrence.startTime,
      end_time: occurrence.endTime,
    },
    startTimeOffsetMinutes: occurrence.startOffsetMinutes,
    endTimeOffsetMinutes: occurrence.endOffsetMinutes,
    timeZone: occurrence.timeZone,
  }));
  const [first] = windows as [(typeof windows)[number]];
  const request = {
    ...first,
    holdKey: hold.holdKey,
    cpt: { code: cpt.code, modifiers: cpt.modifiers },
    occurrences: windows,
    accessToken,
    idempotencyKey,
  };
  try {
    return await confirmSessionBooking(supabase, { ...request, signal, retry });
  } catch (error) {
    const released = await release(supabase, payload, hold.holdKey);
    if (released || !outcomeIsUnknown(error)) throw error;
    // Nothing was left to release and no answer came: the booking may be made. Asking once more, by key, tells.
    try {
      return await confirmSessionBooking(supabase, {
        ...request,
        retry: { attempts: 2, attemptTimeoutMs: 5_000 },
      });
    } catch {
      throw error;
    }
  }
}

/** Gives the batch back; a failure to do so is reported, not thrown, so that the first error stays the one seen. */
async function release(
  supabase: Pick<SupabaseClient, 'functions'>,
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
