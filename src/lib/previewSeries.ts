import { deriveCptMetadata } from '../../supabase/functions/_shared/cpt.ts';
import type { Occurrence } from '../../supabase/functions/_shared/recurrence.ts';
import { generateOccurrences, type RecurrenceInput } from './generateOccurrences.ts';
import { callRpc } from './readRest.ts';
import { assertSessionCompleteness } from './sessionCompleteness.ts';
import { type BookingDetails, holdBody, type SessionInput } from './sessionHolds.ts';
import { checkGiven } from './sessionsApiError.ts';
import type { RpcCaller } from './supabaseClient.ts';

/** What is in the way of an occurrence. */
export type BlockedBy = 'therapist' | 'client' | 'room' | 'availability' | 'closure' | 'authorization';

/** One thing in the way of an occurrence. Never whose session or hold it is. */
export interface BlockingReason {
  readonly what: BlockedBy;
  /** What takes the time of a person or a room; null for `availability`, `closure` and `authorization`. */
  readonly by: 'session' | 'hold' | null;
  /** The part of the occurrence it is in the way of, as ISO 8601 instants. */
  readonly startTime: string;
  readonly endTime: string;
  /** When the hold in the way lapses; null for everything else. */
  readonly expiresAt: string | null;
}

/** An occurrence, and whether it could be held right now. */
export interface PreviewedOccurrence extends Occurrence {
  /** What is in the way, or null when the occurrence could be held. */
  readonly blockedBy: BlockedBy | null;
  /** What takes it: a booked session, a hold that may yet lapse, or null. */
  readonly by: 'session' | 'hold' | null;
  /** Everything in the way, the worst first: `blockedBy` and `by` are the first of these. */
  readonly reasons: readonly BlockingReason[];
}

/** A series to look at. */
export interface PreviewRequest extends Omit<BookingDetails, 'holdSeconds'> {
  readonly session: SessionInput;
  readonly recurrence?: RecurrenceInput | null;
  /** The service, when not that of the session's type: what a payer allows at once depends on it. */
  readonly cptCode?: string | null;
  /** The IANA zone of the series. */
  readonly timeZone: string;
  /** The user's JWT, when it is not the client's own session that asks. */
  readonly accessToken?: string;
  readonly signal?: AbortSignal;
}

/**
 * The occurrences of a series and which of them are blocked, by what, without holding anything: as a hold of the same
 * service would find it. Another user may book between the look and the booking: only a hold keeps a slot.
 *
 * @param supabase - a supabase-js client
 * @param payload - the series; see {@link PreviewRequest}
 * @returns every occurrence, in order; never whose session or hold is in the way
 * @throws SessionsApiError 400 for a series that cannot be booked at all, 403 when the caller may not book it
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const preview = await previewSeries(supabase, {
 *   session: { therapist_id: therapistId, client_id: clientId, start_time: '2026-12-01T18:00:00Z', end_time: '2026-12-01T19:00:00Z' },
 *   recurrence: { rule: 'FREQ=WEEKLY;COUNT=12' },
 *   timeZone: 'America/Los_Angeles',
 * });
 * preview.filter(({ blockedBy }) => blockedBy === null).length; // how many of the 12 are free
 * ```
 */
export async function previewSeries(
  supabase: RpcCaller,
  payload: PreviewRequest,
): Promise<PreviewedOccurrence[]> {
  checkGiven(payload, 'session');
  assertSessionCompleteness(payload.session);
  const occurrences = generateOccurrences(payload.session, payload.recurrence, payload);
  const { session } = payload;
  const overrides = { cptCode: payload.cptCode };
  // Whoever moves a session keeps its service unless they say otherwise.
  const cptCode = session.id ? payload.cptCode : deriveCptMetadata({ session, overrides }).code;
  return await previewOccurrences(supabase, { ...payload, cptCode }, occurrences);
}

/** What `preview_series` answers. */
interface PreviewAnswer {
  readonly occurrences: readonly {
    readonly index: number;
    readonly blockedBy: BlockedBy | null;
    readonly by?: 'session' | 'hold' | null;
    readonly reasons?: readonly BlockingReason[];
  }[];
}

/** {@link previewSeries} for occurrences that are known already. */
export async function previewOccurrences(
  supabase: RpcCaller,
  payload: PreviewRequest,
  occurrences: readonly (Occurrence & { readonly sessionId?: string | null })[],
): Promise<PreviewedOccurrence[]> {
  const [first] = occurrences;
  if (!first) return [];
  const { session, signal, accessToken, ...details } = payload;
  const request = holdBody({
    ...details,
    recurrence: null,
    therapistId: session.therapist_id,
    clientId: session.client_id,
    sessionId: occurrences.length === 1 ? session.id : null,
    sessionType: session.id ? null : session.session_type,
    startTime: first.startTime,
    endTime: first.endTime,
    occurrences: occurrences.map(({ startTime, endTime, timeZone, sessionId }) => ({
      startTime,
      endTime,
      timeZone,
      sessionId,
    })),
  });
  const answer = await callRpc<PreviewAnswer>(
    supabase,
    'preview_series',
    { request },
    { accessToken, signal },
  );
  const found = new Map(answer.occurrences.map((occurrence) => [occurrence.index, occurrence]));
  return occurrences.map((occurrence, index) => ({
    ...occurrence,
    blockedBy: found.get(index)?.blockedBy ?? null,
    by: found.get(index)?.by ?? null,
    reasons: found.get(index)?.reasons ?? [],
  }));
}
