import type { SupabaseClient } from '@supabase/supabase-js';
import type { Database } from './database.types.ts';
import { type ReadOptions, read } from './readRest.ts';
import { readScope } from './scheduleQueries.ts';
import { invalidArgument, SessionsApiError } from './sessionsApiError.ts';

/** A row of `public.waitlist_entries`, as stored. */
export type WaitlistEntry = Database['public']['Tables']['waitlist_entries']['Row'];

/** The part of a supabase-js client the waitlist uses. */
export type WaitlistClient = Pick<SupabaseClient, 'from' | 'auth'>;

/** Who waits for what. */
export interface WaitlistRequest extends ReadOptions {
  readonly clientId: string;
  /** The service, such as `97153`. */
  readonly cptCode: string;
  /** The spans of time (instants) a slot must lie in. */
  readonly windows: readonly { readonly from: string; readonly to: string }[];
  /** Only slots of this therapist; absent: of any who has the client on her caseload. */
  readonly therapistId?: string | null;
  /** How long it should be, 15–720; absent: as long as the slot is. */
  readonly minutes?: number | null;
  /** 1 is asked first, 9 last; default 5. Among equals, who has waited longest. */
  readonly priority?: number;
}

/**
 * Puts a client on the waitlist, as an admin: a slot that a cancellation frees is held for the first entry it suits, for
 * 15 minutes, as an ordinary hold.
 *
 * @param supabase - a supabase-js client
 * @param payload - who waits for what; see {@link WaitlistRequest}
 * @returns the entry as stored
 * @throws SessionsApiError 400 without a window, 401 without a session, 403 for who is no admin
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const entry = await joinWaitlist(supabase, {
 *   clientId,
 *   cptCode: '97153',
 *   windows: [{ from: '2026-12-01T16:00:00Z', to: '2026-12-01T23:00:00Z' }],
 *   minutes: 60,
 * });
 * ```
 */
export async function joinWaitlist(
  supabase: WaitlistClient,
  payload: WaitlistRequest,
): Promise<WaitlistEntry> {
  if (payload.windows.length === 0) {
    throw invalidArgument([{ path: 'windows', message: 'must have at least one span of time' }]);
  }
  const { organizationId } = await readScope(supabase, payload.accessToken);
  const [entry] = await read<WaitlistEntry[]>(
    supabase
      .from('waitlist_entries')
      .insert({
        organization_id: organizationId,
        client_id: payload.clientId,
        therapist_id: payload.therapistId ?? null,
        cpt_code: payload.cptCode,
        windows: `{${payload.windows.map(({ from, to }) => `["${from}","${to}")`).join(',')}}`,
        minutes: payload.minutes ?? null,
        priority: payload.priority ?? 5,
      })
      .select(),
    payload,
  );
  if (!entry) throw unanswered('The entry was not returned.');
  return entry;
}

/** An entry that waits, and what it is offered. */
export interface WaitingEntry {
  readonly entry: WaitlistEntry;
  /** The live hold that is offered to it: confirm it by its key before it expires. */
  readonly offer: {
    readonly holdKey: string;
    readonly therapistId: string;
    readonly startTime: string;
    readonly endTime: string;
    readonly timeZone: string;
    readonly expiresAt: string;
    /** The group the place is in; null: a slot of its own. */
    readonly groupId: string | null;
  } | null;
}

/**
 * The open entries of the waitlist, most urgent first, each with the hold it is offered now. An admin sees all, a
 * therapist those of her caseload.
 *
 * @param supabase - a supabase-js client
 * @param query - whose token, and a signal
 * @returns the entries and their offers
 * @throws SessionsApiError 401 without a session, 403 `ORGANIZATION_REQUIRED`
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * for (const { entry, offer } of await fetchWaitlist(supabase)) {
 *   if (offer) console.log(entry.client_id, 'may have', offer.startTime, 'until', offer.expiresAt);
 * }
 * ```
 */
export async function fetchWaitlist(
  supabase: WaitlistClient,
  query: ReadOptions = {},
): Promise<WaitingEntry[]> {
  const { organizationId } = await readScope(supabase, query.accessToken);
  const entries = await read<WaitlistEntry[]>(
    supabase
      .from('waitlist_entries')
      .select('*')
      .eq('organization_id', organizationId)
      .is('closed_at', null)
      .order('priority')
      .order('created_at')
      .order('id'),
    query,
  );
  const batchIds = entries.flatMap(({ offered_batch_id }) => offered_batch_id ?? []);
  if (batchIds.length === 0) return entries.map((entry) => ({ entry, offer: null }));
  const [batches, holds] = await Promise.all([
    read<Database['public']['Tables']['hold_batches']['Row'][]>(
      supabase
        .from('hold_batches')
        .select('*')
        .eq('organization_id', organizationId)
        .in('id', batchIds)
        .gt('expires_at', new Date().toISOString()),
      query,
    ),
    read<Database['public']['Tables']['session_holds']['Row'][]>(
      supabase
        .from('session_holds')
        .select('*')
        .eq('organization_id', organizationId)
        .in('batch_id', batchIds)
        .eq('status', 'held'),
      query,
    ),
  ]);
  return entries.map((entry) => {
    const batch = batches.find(({ id }) => id === entry.offered_batch_id);
    const hold = holds.find(({ batch_id }) => batch_id === entry.offered_batch_id);
    if (!batch || !hold) return { entry, offer: null };
    const offer = {
      holdKey: batch.hold_key,
      therapistId: batch.therapist_id,
      startTime: hold.start_time,
      endTime: hold.end_time,
      timeZone: hold.time_zone,
      expiresAt: batch.expires_at,
      groupId: hold.group_id,
    };
    return { entry, offer };
  });
}

/**
 * Takes a client off the waitlist, as an admin: the entry is closed, never deleted. A hold it is offered lives on until it
 * is confirmed, released or expires.
 *
 * @param supabase - a supabase-js client
 * @param payload - the entry's id
 * @returns the entry as stored
 * @throws SessionsApiError 401 without a session, 403 for an entry that is not the caller's to close, or does not exist
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const [first] = await fetchWaitlist(supabase);
 * if (first) await leaveWaitlist(supabase, { entryId: first.entry.id });
 * ```
 */
export async function leaveWaitlist(
  supabase: WaitlistClient,
  payload: ReadOptions & { readonly entryId: string },
): Promise<WaitlistEntry> {
  const { organizationId } = await readScope(supabase, payload.accessToken);
  const [entry] = await read<WaitlistEntry[]>(
    supabase
      .from('waitlist_entries')
      .update({ closed_at: new Date().toISOString() })
      .eq('organization_id', organizationId)
      .eq('id', payload.entryId)
      .select(),
    payload,
  );
  if (!entry) throw unanswered('There is no such entry, or it is not yours to close.');
  return entry;
}

function unanswered(message: string): SessionsApiError {
  return new SessionsApiError({ status: 403, code: 'FORBIDDEN', message });
}
