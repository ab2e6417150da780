import { callRpc, type ReadOptions } from './readRest.ts';
import { checkGiven } from './sessionsApiError.ts';
import type { RpcCaller } from './supabaseClient.ts';

/** What {@link findSubstitutes} looks for. */
export interface SubstitutesQuery extends ReadOptions {
  /** The session that somebody else should take. A member of a group stands for the whole group. */
  readonly sessionId: string;
  /** Also list therapists who do not have the client on their caseload, after those who do. */
  readonly includeOffCaseload?: boolean;
}

/** A therapist who could take the session. */
export interface Substitute {
  readonly therapistId: string;
  readonly name: string;
  /** `RBT`, `BCaBA`, `BCBA` or `BCBA-D`. */
  readonly credential: string;
  /** Whether they have the client, or every client of the group, on their caseload. */
  readonly onCaseload: boolean;
  /** How many clients they have on their caseload. */
  readonly caseload: number;
  /** What they have booked in the week of the session, in minutes; the week is the organization's, from Monday. */
  readonly bookedMinutes: number;
}

/**
 * Who could take a session when its therapist cannot: therapists who are free then, work then, and may render the service.
 * Whoever has less booked that week comes first. Nothing is held: move the session to one of them with `bookSession` or
 * `requestSessionHold`.
 *
 * @param supabase - a supabase-js client
 * @param query - which session; see {@link SubstitutesQuery}
 * @returns the therapists, best first; none for a session that is over or cancelled
 * @throws SessionsApiError 403 for a session that is neither the caller's nor, for an admin, the organization's
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const [best] = await findSubstitutes(supabase, { sessionId });
 * best?.name; // who has the least to do among those who know the client
 * ```
 */
export async function findSubstitutes(supabase: RpcCaller, query: SubstitutesQuery): Promise<Substitute[]> {
  checkGiven(query);
  const { sessionId, includeOffCaseload, ...options } = query;
  return await callRpc<Substitute[]>(
    supabase,
    'find_substitutes',
    { request: { session_id: sessionId, include_off_caseload: includeOffCaseload ?? false } },
    options,
  );
}
