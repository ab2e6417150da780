import { callRpc, LEAST_MAX_ROWS, type ReadOptions } from './readRest.ts';
import { checkGiven } from './sessionsApiError.ts';
import type { RpcCaller } from './supabaseClient.ts';

/** What {@link findOpenSlots} looks for. */
export interface OpenSlotsQuery extends ReadOptions {
  readonly therapistId: string;
  /** The beginning of the span (an instant). */
  readonly from: string;
  /** The end of the span (an instant), at most 62 days later. */
  readonly to: string;
  /** How long the slot must be. */
  readonly minutes: number;
  /** Also the client must be free. */
  readonly clientId?: string | null;
  /** For a group: all of these clients must be free. */
  readonly clientIds?: readonly string[] | null;
  /** Also the room must be free. */
  readonly roomId?: string | null;
  /** The service, such as `97155`: what the payer lets run beside it is not in the way, and its units must be left. */
  readonly cptCode?: string | null;
  /** Minutes the therapist needs free before the start, such as travel. */
  readonly bufferBeforeMinutes?: number | null;
  /** Minutes the therapist needs free after the end. */
  readonly bufferAfterMinutes?: number | null;
  /** The zone of the 15-minute grid; the therapist's when absent. */
  readonly timeZone?: string | null;
}

/** A start at which a booking would succeed right now. */
export interface OpenSlot {
  /** The start (an instant). */
  readonly startTime: string;
  /** The end (an instant). */
  readonly endTime: string;
}

/**
 * The starts on a 15-minute grid at which a hold would be granted now: to the therapist, and to the client, the room and
 * the service where they are named. Only a hold keeps a slot.
 *
 * @param supabase - a supabase-js client
 * @param query - whose time, when, and how long; see {@link OpenSlotsQuery}
 * @returns the slots, by start
 * @throws SessionsApiError 400 for a span that is too long, 403 for a therapist or client who is not the caller's to book
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const slots = await findOpenSlots(supabase, {
 *   therapistId,
 *   clientId,
 *   from: '2026-12-01T08:00:00Z',
 *   to: '2026-12-02T08:00:00Z',
 *   minutes: 60,
 * });
 * slots[0]?.startTime; // the first start that is free
 * ```
 */
export async function findOpenSlots(supabase: RpcCaller, query: OpenSlotsQuery): Promise<OpenSlot[]> {
  checkGiven(query);
  const slots: OpenSlot[] = [];
  let from = query.from;
  for (;;) {
    const args = {
      therapist_id: query.therapistId,
      from_time: from,
      to_time: query.to,
      duration_minutes: query.minutes,
      ...(query.clientId && { client_id: query.clientId }),
      ...(query.clientIds && { client_ids: query.clientIds }),
      ...(query.roomId && { room_id: query.roomId }),
      ...(query.cptCode && { cpt_code: query.cptCode }),
      ...(query.bufferBeforeMinutes && { buffer_before_minutes: query.bufferBeforeMinutes }),
      ...(query.bufferAfterMinutes && { buffer_after_minutes: query.bufferAfterMinutes }),
      ...(query.timeZone && { time_zone: query.timeZone }),
    };
    const rows = await callRpc<{ start_time: string; end_time: string }[]>(
      supabase,
      'find_open_slots',
      args,
      query,
    );
    slots.push(...rows.map(({ start_time, end_time }) => ({ startTime: start_time, endTime: end_time })));
    const last = slots.at(-1);
    // The server may have given fewer than there are: the rest begins after the last.
    if (!last || rows.length < LEAST_MAX_ROWS) return slots;
    const next = Date.parse(last.startTime) + 60_000;
    if (next >= Date.parse(query.to)) return slots;
    from = new Date(next).toISOString();
  }
}
