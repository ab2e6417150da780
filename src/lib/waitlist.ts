import { parseTemporal } from '../../supabase/functions/_shared/civil-time.ts';
import type { Issue } from '../../supabase/functions/_shared/contract/types.ts';
import type { CallOptions } from './callEdge.ts';
import type { Database } from './database.types.ts';
import { inChunks, type ReadOptions, read, readAllRows } from './readRest.ts';
import { readScope } from './scheduleQueries.ts';
import { type ConfirmResponse, confirmSessionBooking } from './sessionHolds.ts';
import { checkGiven, invalidArgument, SessionsApiError } from './sessionsApiError.ts';
import { type FunctionsCaller, type TableReader, tableOf } from './supabaseClient.ts';

/** A row of `public.waitlist_entries`, as stored. */
export type WaitlistEntry = Database['public']['Tables']['waitlist_entries']['Row'];

/** The part of a supabase-js client the waitlist uses. */
export type WaitlistClient = TableReader;

/** Who waits for what. */
export interface WaitlistRequest extends ReadOptions {
  readonly clientId: string;
  /** The service, such as `97153`. */
  readonly cptCode: string;
  /** The spans of time (instants) a slot must lie in. */
  readonly windows: readonly { readonly from: string; readonly to: string }[];
  /** Only slots of this therapist; absent: of any who has the client on their caseload. */
  readonly therapistId?: string | null;
  /** How long it should be, 15–720; absent: as long as the slot is. */
  readonly minutes?: number | null;
  /** 1 is asked first, 9 last; default 5. Among equals, who has waited longest. */
  readonly priority?: number;
}

/** Most spans of time one entry may have. */
const MAX_WINDOWS = 100;

/**
 * Puts a client on the waitlist, as an admin: a slot that a cancellation frees is held for the first entry it suits, for
 * 15 minutes, as an ordinary hold.
 *
 * @param supabase - a supabase-js client
 * @param payload - who waits for what; see {@link WaitlistRequest}
 * @returns the entry as stored
 * @throws SessionsApiError 400 `VALIDATION_FAILED` with an issue for each field that cannot be (`windows.0.from` …), 401
 *   without a session, 403 for who is no admin
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
  checkGiven(payload);
  const issues = issuesOf(payload);
  if (issues.length > 0) throw invalidArgument(issues);
  const { organizationId } = await readScope(supabase, payload.accessToken);
  const [entry] = await read<WaitlistEntry[]>(
    tableOf(supabase, 'waitlist_entries')
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
    supabase,
  );
  if (!entry) throw unanswered('The entry was not returned.');
  return entry;
}

function issuesOf({ windows, minutes, priority, cptCode }: WaitlistRequest): Issue[] {
  const issues: Issue[] = [];
  const report = (path: string, message: string) => issues.push({ path, message });
  const isWhole = (value: number, min: number, max: number) =>
    Number.isInteger(value) && value >= min && value <= max;
  if (!Array.isArray(windows) || windows.length === 0) {
    report('windows', 'must have at least one span of time');
    return issues;
  }
  if (windows.length > MAX_WINDOWS) report('windows', `must have at most ${MAX_WINDOWS} spans of time`);
  for (const [index, window] of windows.slice(0, MAX_WINDOWS).entries()) {
    const [from, to] = [parseTemporal(window?.from), parseTemporal(window?.to)];
    const message = 'must be an ISO 8601 instant with Z or an explicit offset';
    if (from?.kind !== 'instant') report(`windows.${index}.from`, message);
    if (to?.kind !== 'instant') report(`windows.${index}.to`, message);
    if (from?.kind === 'instant' && to?.kind === 'instant' && to.instant <= from.instant)
      report(`windows.${index}.to`, 'must be after from');
  }
  if (!/^[0-9A-Z]{5}$/.test(cptCode ?? ''))
    report('cptCode', 'must be a service code of five letters and digits, like 97153');
  if (minutes !== null && minutes !== undefined && !isWhole(minutes, 15, 720))
    report('minutes', 'must be a whole number from 15 to 720');
  if (priority !== undefined && !isWhole(priority, 1, 9))
    report('priority', 'must be a whole number from 1 to 9');
  return issues;
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
  checkGiven(query);
  const { organizationId } = await readScope(supabase, query.accessToken);
  const entries = await readAllRows<WaitlistEntry>(
    (after) => {
      const open = tableOf(supabase, 'waitlist_entries')
        .select('*')
        .eq('organization_id', organizationId)
        .is('closed_at', null)
        .order('priority')
        .order('created_at')
        .order('id');
      return after ? open.or(laterInLine(after)) : open;
    },
    query,
    supabase,
  );
  const offered = entries.flatMap(({ offered_batch_id }) => offered_batch_id ?? []);
  const batches = new Map<string, Batch>();
  const holds = new Map<string, Hold>();
  for (const ids of inChunks(offered)) {
    const of = (table: 'hold_batches' | 'session_holds', column: string) =>
      tableOf(supabase, table).select('*').eq('organization_id', organizationId).in(column, ids);
    const [live, held] = await Promise.all([
      // The database's clock: this device's may be wrong.
      read<Batch[]>(of('hold_batches', 'id').gt('expires_at', 'now'), query, supabase),
      read<Hold[]>(of('session_holds', 'batch_id').eq('status', 'held'), query, supabase),
    ]);
    for (const batch of live) batches.set(batch.id, batch);
    for (const hold of held) holds.set(hold.batch_id, hold);
  }
  return entries.map((entry) => {
    const batch = batches.get(entry.offered_batch_id ?? '');
    const hold = holds.get(entry.offered_batch_id ?? '');
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

type Batch = Database['public']['Tables']['hold_batches']['Row'];
type Hold = Database['public']['Tables']['session_holds']['Row'];

/** The filter for the entries behind one: by priority, then by how long they wait. */
function laterInLine({ priority, created_at, id }: WaitlistEntry): string {
  // In a URL, the `+` of an offset would be read as a space.
  const since = `"${created_at.replace(/\+00:00$/, 'Z')}"`;
  return [
    `priority.gt.${priority}`,
    `and(priority.eq.${priority},created_at.gt.${since})`,
    `and(priority.eq.${priority},created_at.eq.${since},id.gt.${id})`,
  ].join(',');
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
  checkGiven(payload);
  const { organizationId } = await readScope(supabase, payload.accessToken);
  const [entry] = await read<WaitlistEntry[]>(
    tableOf(supabase, 'waitlist_entries')
      .update({ closed_at: new Date().toISOString() })
      .eq('organization_id', organizationId)
      .eq('id', payload.entryId)
      .select(),
    payload,
    supabase,
  );
  if (!entry) throw unanswered('There is no such entry, or it is not yours to close.');
  return entry;
}

/**
 * The spans of time an entry waits for.
 *
 * @param entry - an entry of the waitlist
 * @returns its windows as instants, in order
 * @example
 * ```ts
 * waitedFor({ windows: '{["2026-12-01 16:00:00+00","2026-12-01 23:00:00+00")}' });
 * // [{ from: '2026-12-01T16:00:00.000Z', to: '2026-12-01T23:00:00.000Z' }]
 * ```
 */
export function waitedFor(entry: { readonly windows: unknown }): { from: string; to: string }[] {
  const instant = (text: string) =>
    new Date(text.replace(' ', 'T').replace(/([+-]\d\d)$/, '$1:00')).toISOString();
  const spans = String(entry.windows).matchAll(/\["?([^",]+)"?,"?([^")]+)"?\)/g);
  return [...spans].map(([, from = '', to = '']) => ({ from: instant(from), to: instant(to) }));
}

/**
 * Books the slot an entry of the waitlist is offered.
 *
 * @param supabase - a supabase-js client
 * @param waiting - the entry with its offer
 * @param options - token, signal and retries
 * @returns the session
 * @throws SessionsApiError 410 when the offer has ended
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const [first] = (await fetchWaitlist(supabase)).filter(({ offer }) => offer !== null);
 * if (first) await bookOffer(supabase, first);
 * ```
 */
export async function bookOffer(
  supabase: FunctionsCaller,
  waiting: WaitingEntry,
  options: CallOptions = {},
): Promise<ConfirmResponse> {
  checkGiven(waiting, 'entry');
  const { entry, offer } = waiting;
  if (!offer)
    throw new SessionsApiError({ status: 410, code: 'HOLD_NOT_FOUND', message: 'Nothing is offered.' });
  const session = {
    therapist_id: offer.therapistId,
    client_id: entry.client_id,
    start_time: offer.startTime,
    end_time: offer.endTime,
  };
  const cpt = { code: entry.cpt_code };
  const { holdKey, timeZone } = offer;
  return await confirmSessionBooking(supabase, { ...options, holdKey, session, timeZone, cpt });
}

function unanswered(message: string): SessionsApiError {
  return new SessionsApiError({ status: 403, code: 'FORBIDDEN', message });
}
