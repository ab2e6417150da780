import { callOutcome } from './callOutcome.ts';
import type { Database } from './database.types.ts';
import type { LeavingOptions, Touched } from './leaving.ts';
import { type ReadOptions, readWholeList } from './readRest.ts';
import type { Role } from './routeGuards.ts';
import { readScope } from './scheduleQueries.ts';
import { checkGiven } from './sessionsApiError.ts';
import { type RpcCaller, type TableReader, tableOf } from './supabaseClient.ts';

/** Somebody's membership of the clinic, as stored. */
export type Member = Database['public']['Tables']['memberships']['Row'];

/** Whose membership, and what it is to be. What is left out of a change stays. */
export interface MemberChange extends ReadOptions {
  readonly userId: string;
  readonly role?: Role;
  /** Texts beside the role, such as `view_clients`. */
  readonly permissions?: readonly string[];
}

/**
 * Who belongs to the clinic: for admins all, for everybody else themselves.
 *
 * @param supabase - a supabase-js client
 * @param query - whose token
 * @returns the memberships, by when they began
 * @throws SessionsApiError 401 without a session, 403 `ORGANIZATION_REQUIRED`
 * @example
 * ```ts
 * (await fetchMembers(supabase)).filter(({ role }) => role === 'super_admin').length;
 * ```
 */
export async function fetchMembers(supabase: TableReader, query: ReadOptions = {}): Promise<Member[]> {
  checkGiven(query);
  const { organizationId } = await readScope(supabase, query.accessToken);
  return await readWholeList<Member>(
    () =>
      tableOf(supabase, 'memberships')
        .select('*')
        .eq('organization_id', organizationId)
        .order('created_at')
        .order('user_id'),
    query,
    supabase,
  );
}

/**
 * Makes a user a member of the clinic, as a super admin. They need an account: your backend invites them.
 *
 * @param supabase - a supabase-js client
 * @param payload - the user's id, the role and permissions; see {@link MemberChange}
 * @throws SessionsApiError 403 for who is no super admin, 404 `USER_NOT_FOUND`, 409 `ALREADY_A_MEMBER`
 * @example
 * ```ts
 * await addMember(supabase, { userId: therapistId, role: 'therapist' });
 * ```
 */
export async function addMember(
  supabase: RpcCaller,
  payload: MemberChange & { readonly role: Role },
): Promise<void> {
  checkGiven(payload);
  await callOutcome(supabase, 'add_member', argumentsOf(payload), payload);
}

/**
 * Gives a member another role or other permissions, as a super admin. It holds from the next statement. A role that renders
 * nothing leaves the member's sessions behind.
 *
 * @param supabase - a supabase-js client
 * @param payload - the member and what changes, and what becomes of the sessions; see {@link MemberChange}
 * @returns how many sessions to come it touches, and which
 * @throws SessionsApiError 403 for who is no super admin, 404 `MEMBER_NOT_FOUND`, 409 `LAST_SUPER_ADMIN`
 * @example
 * ```ts
 * await changeMember(supabase, { userId: therapistId, permissions: ['view_clients'] });
 * ```
 */
export async function changeMember(
  supabase: RpcCaller,
  payload: MemberChange & LeavingOptions,
): Promise<Touched> {
  checkGiven(payload);
  const args = { ...argumentsOf(payload), ...leavingOf(payload) };
  return await callOutcome<Touched>(supabase, 'change_member', args, payload);
}

/**
 * Ends a membership, as a super admin. Notes and profile stay, and sessions to come unless they are to be cancelled.
 *
 * @param supabase - a supabase-js client
 * @param payload - the member, and what becomes of their sessions to come
 * @returns how many sessions to come they leave behind, and which
 * @throws SessionsApiError 403 for who is no super admin, 404 `MEMBER_NOT_FOUND`, 409 `LAST_SUPER_ADMIN`
 * @example
 * ```ts
 * const { touchedSessionIds } = await removeMember(supabase, { userId: therapistId });
 * await reassignSessions(supabase, { sessionIds: touchedSessionIds, toTherapistId });
 * ```
 */
export async function removeMember(
  supabase: RpcCaller,
  payload: Pick<MemberChange, 'userId'> & LeavingOptions,
): Promise<Touched> {
  checkGiven(payload);
  const args = { user_id: payload.userId, ...leavingOf(payload) };
  return await callOutcome<Touched>(supabase, 'remove_member', args, payload);
}

function leavingOf({ cancelSessions, reason }: LeavingOptions): object {
  return { ...(cancelSessions && { cancel_sessions: true }), ...(reason && { reason }) };
}

function argumentsOf({ userId, role, permissions }: MemberChange): object {
  return { user_id: userId, ...(role && { role }), ...(permissions && { permissions }) };
}
