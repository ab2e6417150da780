import type { Occurrence } from '../../supabase/functions/_shared/recurrence.ts';
import { asHeld, type BookingPlan, type PlannedOccurrence, windowsOf } from './bookingPlan.ts';
import type { BookingClient, BookSessionRequest, WantedService } from './bookSession.ts';
import type { FunctionsCaller } from './callEdge.ts';
import type { Database } from './database.types.ts';
import { type BlockedBy, previewOccurrences } from './previewSeries.ts';
import { inChunks, readAllRows } from './readRest.ts';
import { readScope } from './scheduleQueries.ts';
import { cancelSessionHold, type HoldResponse, requestSessionHold } from './sessionHolds.ts';
import { SessionsApiError } from './sessionsApiError.ts';
import { type TableReader, tableOf } from './supabaseClient.ts';

/** An occurrence that was left out, and why. */
export interface SkippedOccurrence extends Occurrence {
  /** What was in the way; null when it has gone since, and a booking is repeated that once met it. */
  readonly blockedBy: BlockedBy | null;
  readonly by: 'session' | 'hold' | null;
}

/** A booking, and the key of what it is meant for. */
type Intent = BookSessionRequest & { readonly idempotencyKey: string };

/** What of a plan is held. */
export interface HeldPlan {
  readonly hold: HoldResponse;
  readonly occurrences: readonly PlannedOccurrence[];
  readonly skipped: SkippedOccurrence[];
}

/** How often `skip` looks again when rivals book while it does. */
const MAX_ROUNDS = 4;

/**
 * Holds a plan: all of it, or with `onConflict: 'skip'` what of it is free. Each round asks for fewer occurrences than the
 * one before, so it is another request, with a key of its own that is derived from the intent's.
 *
 * @param isRepeatable - whether the app knows the intent's key, so that this may be a repeat of an earlier call
 */
export async function holdPlan(
  supabase: BookingClient,
  intent: Intent,
  plan: BookingPlan,
  service: WantedService | null,
  isRepeatable: boolean,
): Promise<HeldPlan> {
  const ask = (wanted: readonly PlannedOccurrence[]) => requestHold(supabase, intent, plan, service, wanted);
  let wanted = plan.occurrences;
  const skipped: SkippedOccurrence[] = [];
  for (let round = 1; ; round += 1) {
    try {
      return { ...heldAs(wanted, await ask(wanted)), skipped: inOrder(skipped) };
    } catch (error) {
      const mayskip =
        intent.onConflict === 'skip' && error instanceof SessionsApiError && error.status === 409;
      if (!mayskip) throw error;
      const blocked = await blockedOccurrences(supabase, intent, service, wanted, error);
      if (round === 1 && isRepeatable) {
        // What is in the way may be what an earlier call with this key has booked.
        const earlier = await heldBefore(supabase, intent, plan, ask);
        if (earlier) return { ...earlier, skipped: leftOut(plan, earlier.occurrences, blocked) };
      }
      if (round >= MAX_ROUNDS || blocked.size === 0 || blocked.size >= wanted.length) throw error;
      skipped.push(...blocked.values());
      wanted = wanted.filter((occurrence) => !blocked.has(occurrence));
    }
  }
}

/** What is held, and whether the database's clocks were others: dates of a rule are turned into instants by them. */
function heldAs(
  wanted: readonly PlannedOccurrence[],
  hold: HoldResponse,
): Pick<HeldPlan, 'hold' | 'occurrences'> {
  const occurrences = asHeld(wanted, hold.holds);
  const differ = occurrences.some((occurrence, index) => occurrence !== wanted[index]);
  return { hold: differ ? { ...hold, zoneRulesDiffer: true } : hold, occurrences };
}

function inOrder(skipped: readonly SkippedOccurrence[]): SkippedOccurrence[] {
  return [...skipped].sort((a, b) => a.index - b.index);
}

function requestHold(
  supabase: FunctionsCaller,
  intent: Intent,
  plan: BookingPlan,
  service: WantedService | null,
  wanted: readonly PlannedOccurrence[],
): Promise<HoldResponse> {
  const { session, accessToken, signal, retry, onRetry } = intent;
  const [only, ...others] = wanted;
  return requestSessionHold(supabase, {
    therapistId: session.therapist_id,
    clientId: session.client_id,
    ...windowsOf(session, plan, wanted),
    sessionId: others.length === 0 ? only?.sessionId : null,
    holdSeconds: intent.holdSeconds,
    sessionType: service?.sessionType,
    cptCode: service?.cpt.code,
    roomId: intent.roomId,
    groupId: intent.groupId,
    clientIds: intent.clientIds,
    bufferBeforeMinutes: intent.bufferBeforeMinutes,
    bufferAfterMinutes: intent.bufferAfterMinutes,
    override: intent.override,
    accessToken,
    signal,
    retry,
    onRetry,
    idempotencyKey: keyOf(intent.idempotencyKey, plan, wanted),
  });
}

/** The key of a round: the intent's own for all of the plan, else one that says which part of it is asked for. */
function keyOf(key: string, plan: BookingPlan, wanted: readonly PlannedOccurrence[]): string {
  if (wanted.length === plan.occurrences.length) return key;
  // FNV-1a, for keys that differ; whether the request is the same is the endpoint's to judge.
  let hash = 0x811c9dc5;
  for (const { index } of wanted) hash = Math.imul(hash ^ (index + 1), 0x01000193) >>> 0;
  return `${key.slice(0, 220)}:skip-${wanted.length}-${hash.toString(36)}`;
}

/** Which of the wanted occurrences a 409 is about, and what blocks them. */
async function blockedOccurrences(
  supabase: BookingClient,
  intent: Intent,
  service: WantedService | null,
  wanted: readonly PlannedOccurrence[],
  refusal: SessionsApiError,
): Promise<Map<PlannedOccurrence, SkippedOccurrence>> {
  const blocked = new Map<PlannedOccurrence, SkippedOccurrence>();
  const note = (index: number, blockedBy: BlockedBy, by: SkippedOccurrence['by']) => {
    const occurrence = wanted[index];
    if (!occurrence || blocked.has(occurrence)) return;
    const { sessionId: _, ...rest } = occurrence;
    blocked.set(occurrence, { ...rest, blockedBy, by });
  };
  for (const { occurrenceIndex, resource, blockedBy } of refusal.conflicts) {
    if (blockedBy === 'availability' || blockedBy === 'closure') note(occurrenceIndex, blockedBy, null);
    else note(occurrenceIndex, resource, blockedBy);
  }
  for (const { occurrenceIndex } of refusal.shortages) note(occurrenceIndex, 'authorization', null);
  if (blocked.size > 0) return blocked;
  // A refusal that says of no occurrence what is in its way: ask which it is about.
  const request = { ...intent, recurrence: null, cptCode: service?.cpt.code };
  const preview = await previewOccurrences(supabase, request, wanted);
  for (const [index, { blockedBy, by }] of preview.entries()) if (blockedBy) note(index, blockedBy, by);
  return blocked;
}

/** The occurrences of a plan that an earlier call left out. */
function leftOut(
  plan: BookingPlan,
  booked: readonly PlannedOccurrence[],
  blocked: ReadonlyMap<PlannedOccurrence, SkippedOccurrence>,
): SkippedOccurrence[] {
  const indexes = new Set(booked.map(({ index }) => index));
  return plan.occurrences
    .filter(({ index }) => !indexes.has(index))
    .map((occurrence) => {
      const { sessionId: _, ...rest } = occurrence;
      return blocked.get(occurrence) ?? { ...rest, blockedBy: null, by: null };
    });
}

type Batch = Database['public']['Tables']['hold_batches']['Row'];
type Hold = Database['public']['Tables']['session_holds']['Row'];

/** Keys lapse after a day; twice that allows for a clock that is off. */
const KEYS_LIVE_MS = 2 * 86_400_000;

/**
 * What an earlier call with this key has held of the plan, if it has. Which part that was, only the holds themselves tell:
 * each of the caller's own that is a part of the plan is asked for anew by its key. The answer is the same hold when it
 * was made by that key; anything else made meanwhile is given back.
 */
async function heldBefore(
  supabase: BookingClient,
  intent: Intent,
  plan: BookingPlan,
  ask: (wanted: readonly PlannedOccurrence[]) => Promise<HoldResponse>,
): Promise<Pick<HeldPlan, 'hold' | 'occurrences'> | null> {
  if (!supabase.from || !supabase.auth) return null;
  const reader = supabase as TableReader;
  for (const [batchId, starts] of await ownHolds(reader, intent)) {
    const wanted = plan.occurrences.filter(({ startTime }) => starts.has(Date.parse(startTime)));
    if (wanted.length === 0 || wanted.length !== starts.size || wanted.length === plan.occurrences.length)
      continue;
    const hold = await ask(wanted).catch((error: unknown) => {
      intent.signal?.throwIfAborted();
      // Refused: that hold belongs to another intent.
      if (error instanceof SessionsApiError && (error.status === 409 || error.status === 422)) return null;
      throw error;
    });
    if (hold?.holdId === batchId) return heldAs(wanted, hold);
    if (hold) await cancelSessionHold(supabase, { holdKey: hold.holdKey, accessToken: intent.accessToken });
  }
  return null;
}

/** The starts of each hold the caller has made lately with this therapist, newest first. */
async function ownHolds(reader: TableReader, intent: Intent): Promise<[string, Set<number>][]> {
  const { userId, organizationId } = await readScope(reader, intent.accessToken);
  const batches = await readAllRows<Batch>(
    (after) => {
      const query = tableOf(reader, 'hold_batches')
        .select('*')
        .eq('organization_id', organizationId)
        .eq('therapist_id', intent.session.therapist_id)
        .eq('created_by', userId)
        .gte('created_at', new Date(Date.now() - KEYS_LIVE_MS).toISOString())
        .order('id');
      return after ? query.gt('id', after.id) : query;
    },
    intent,
    reader,
  );
  const starts = new Map<string, Set<number>>();
  for (const { id } of batches.sort((a, b) => Date.parse(b.created_at) - Date.parse(a.created_at)))
    starts.set(id, new Set());
  for (const ids of inChunks([...starts.keys()])) {
    const holds = await readAllRows<Hold>(
      (after) => {
        const query = tableOf(reader, 'session_holds')
          .select('*')
          .eq('organization_id', organizationId)
          .in('batch_id', ids)
          .order('id');
        return after ? query.gt('id', after.id) : query;
      },
      intent,
      reader,
    );
    for (const hold of holds) starts.get(hold.batch_id)?.add(Date.parse(hold.start_time));
  }
  return [...starts];
}
