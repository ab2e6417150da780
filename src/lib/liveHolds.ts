import { inChunks, type ReadOptions, read, readWholeList } from './readRest.ts';
import { readScope } from './scheduleQueries.ts';
import { checkGiven } from './sessionsApiError.ts';
import { type TableReader, tableOf } from './supabaseClient.ts';

/** A slot that is held, by whomever the reader may see. */
export interface LiveHold {
  readonly id: string;
  /** The key of the whole hold, to release it by. */
  readonly batchKey: string;
  readonly therapistId: string;
  readonly clientId: string | null;
  /** The start (an instant). */
  readonly startTime: string;
  /** The end (an instant). */
  readonly endTime: string;
  /** When the slot is free again, by the server's clock (an instant). */
  readonly expiresAt: string;
  /** Whether the reader made it. */
  readonly isOwn: boolean;
}

/**
 * The holds that are alive in a span of time: a therapist's own, for an admin the clinic's.
 *
 * @param supabase - a supabase-js client
 * @param query - the span (instants), and for admins whose
 * @returns the held slots, by start; none for a parent
 * @throws SessionsApiError 401 without a session, 403 `ORGANIZATION_REQUIRED`
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const holds = await fetchLiveHolds(supabase, { from: '2026-11-30T08:00:00Z', to: '2026-12-07T08:00:00Z' });
 * holds.filter(({ isOwn }) => isOwn).length; // how many I could still confirm
 * ```
 */
export async function fetchLiveHolds(
  supabase: TableReader,
  query: ReadOptions & { readonly from: string; readonly to: string; readonly therapistId?: string | null },
): Promise<LiveHold[]> {
  checkGiven(query);
  const { organizationId, role, userId } = await readScope(supabase, query.accessToken);
  if (role === 'client') return [];
  const therapistId = role === 'therapist' ? userId : query.therapistId;
  const slots = await readWholeList<HeldSlot>(
    () =>
      tableOf(supabase, 'session_holds')
        .select('id, batch_id, client_id, start_time, end_time')
        .eq('organization_id', organizationId)
        .eq('status', 'held')
        .lt('start_time', query.to)
        .gt('end_time', query.from)
        .order('start_time')
        .order('id'),
    query,
    supabase,
  );
  const batches = new Map<string, Batch>();
  for (const ids of inChunks([...new Set(slots.map(({ batch_id }) => batch_id))])) {
    let asked = tableOf(supabase, 'hold_batches')
      .select('*')
      .eq('organization_id', organizationId)
      .in('id', ids)
      // The database's clock: this device's may be wrong.
      .gt('expires_at', 'now');
    if (therapistId) asked = asked.eq('therapist_id', therapistId);
    for (const batch of await read<Batch[]>(asked, query, supabase)) batches.set(batch.id, batch);
  }
  return slots.flatMap((slot) => {
    const batch = batches.get(slot.batch_id);
    if (!batch) return [];
    return {
      id: slot.id,
      batchKey: batch.hold_key,
      therapistId: batch.therapist_id,
      clientId: slot.client_id ?? batch.client_id ?? '',
      startTime: slot.start_time,
      endTime: slot.end_time,
      expiresAt: batch.expires_at,
      isOwn: batch.created_by === userId,
    };
  });
}

interface HeldSlot {
  readonly id: string;
  readonly batch_id: string;
  readonly client_id: string | null;
  readonly start_time: string;
  readonly end_time: string;
}

interface Batch {
  readonly id: string;
  readonly hold_key: string;
  readonly therapist_id: string;
  /** Of a hold for one client. */
  readonly client_id?: string | null;
  readonly expires_at: string;
  readonly created_by: string;
}
