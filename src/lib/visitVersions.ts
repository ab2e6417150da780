import type { Database } from './database.types.ts';
import { type ReadOptions, readWholeList } from './readRest.ts';
import { readScope } from './scheduleQueries.ts';
import { checkGiven } from './sessionsApiError.ts';
import { type TableReader, tableOf } from './supabaseClient.ts';

/** What a visit was before a correction, and why it was corrected. */
export type VisitVersion = Database['public']['Tables']['visit_versions']['Row'];

/**
 * What was corrected in a visit, oldest first: admins see their clinic's, therapists those of their own sessions.
 *
 * @param supabase - a supabase-js client
 * @param query - the session
 * @returns the versions before each correction; the one that counts now is one further
 * @throws SessionsApiError 401 without a session, 403 `ORGANIZATION_REQUIRED`
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const before = await fetchVisitVersions(supabase, { sessionId });
 * await correctVisit(supabase, { sessionId, baseVersion: before.length + 1, reasonCode: 'by_mistake', undo: 'completion' });
 * ```
 */
export async function fetchVisitVersions(
  supabase: TableReader,
  query: ReadOptions & { readonly sessionId: string },
): Promise<VisitVersion[]> {
  checkGiven(query);
  const { organizationId } = await readScope(supabase, query.accessToken);
  return await readWholeList<VisitVersion>(
    () =>
      tableOf(supabase, 'visit_versions')
        .select('*')
        .eq('organization_id', organizationId)
        .eq('session_id', query.sessionId)
        .order('version'),
    query,
    supabase,
  );
}
