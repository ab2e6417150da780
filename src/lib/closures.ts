import { callOutcome } from './callOutcome.ts';
import type { Database } from './database.types.ts';
import type { LeavingOptions, Touched, TouchedHolds } from './leaving.ts';
import { type ReadOptions, read, readWholeList } from './readRest.ts';
import { readScope } from './scheduleQueries.ts';
import { checkGiven } from './sessionsApiError.ts';
import { type RpcCaller, type TableReader, tableOf } from './supabaseClient.ts';

/** A row of `public.organization_closures`. */
export type Closure = Database['public']['Tables']['organization_closures']['Row'];

/** When a clinic closes: whole days of its own zone, or from one instant to another. */
export type ClosureRequest = LeavingOptions & {
  /** What staff call it, such as `Winter break`. No names of clients. */
  readonly name: string;
} & (
    | {
        /** The first whole day, `YYYY-MM-DD`. */
        readonly fromDate: string;
        /** The last whole day; the first when absent. */
        readonly toDate?: string;
        readonly from?: never;
        readonly to?: never;
      }
    | { readonly from: string; readonly to: string; readonly fromDate?: never; readonly toDate?: never }
  );

/**
 * Closes the clinic, as an admin: nobody is booked or offered anything then, and series go around it.
 *
 * @param supabase - a supabase-js client
 * @param payload - when, what it is called, and what becomes of what is booked; see {@link ClosureRequest}
 * @returns the closure, and what it touches
 * @throws SessionsApiError 400 for times that cannot be, 403 for who is no admin
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const { touched } = await addClosure(supabase, { name: 'Winter break', fromDate: '2026-12-24', toDate: '2026-12-31' });
 * if (touched > 0) console.log(`${touched} sessions are booked then`);
 * ```
 */
export async function addClosure(
  supabase: RpcCaller,
  payload: ClosureRequest,
): Promise<
  Touched & TouchedHolds & { readonly closureId: string; readonly startsAt: string; readonly endsAt: string }
> {
  checkGiven(payload);
  const request = {
    name: payload.name,
    from_date: payload.fromDate,
    to_date: payload.toDate,
    start_time: payload.from,
    end_time: payload.to,
    cancel_sessions: payload.cancelSessions,
    reason: payload.reason,
  };
  return await callOutcome(supabase, 'add_closure', { request }, payload);
}

/**
 * The closures that touch a span of time, by start. Every member reads them, families too.
 *
 * @param supabase - a supabase-js client
 * @param query - the span (instants)
 * @returns the closures
 * @throws SessionsApiError 401 without a session, 403 `ORGANIZATION_REQUIRED`
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const closures = await fetchClosures(supabase, weekBounds('2026-12-21', 'America/Los_Angeles'));
 * closures.map(({ name }) => name);
 * ```
 */
export async function fetchClosures(
  supabase: TableReader,
  query: ReadOptions & { readonly from: string; readonly to: string },
): Promise<Closure[]> {
  checkGiven(query);
  const { organizationId } = await readScope(supabase, query.accessToken);
  return await readWholeList<Closure>(
    () =>
      tableOf(supabase, 'organization_closures')
        .select('*')
        .eq('organization_id', organizationId)
        .lt('starts_at', query.to)
        .gt('ends_at', query.from)
        .order('starts_at')
        .order('id'),
    query,
    supabase,
  );
}

/**
 * Takes a closure back, as an admin. What it cancelled stays cancelled; its time goes to the waitlist.
 *
 * @param supabase - a supabase-js client
 * @param payload - the closure's id
 * @throws SessionsApiError 401 without a session, 403 `ORGANIZATION_REQUIRED`
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const { closureId } = await addClosure(supabase, { name: 'Snow', fromDate: '2026-12-01' });
 * await removeClosure(supabase, { closureId });
 * ```
 */
export async function removeClosure(
  supabase: TableReader,
  payload: ReadOptions & { readonly closureId: string },
): Promise<void> {
  checkGiven(payload);
  const { organizationId } = await readScope(supabase, payload.accessToken);
  await read(
    tableOf(supabase, 'organization_closures')
      .delete()
      .eq('organization_id', organizationId)
      .eq('id', payload.closureId)
      .select('id'),
    payload,
    supabase,
  );
}
