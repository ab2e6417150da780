import { parseTemporal } from '../../supabase/functions/_shared/civil-time.ts';
import type { Database } from './database.types.ts';
import { type ReadOptions, readRows } from './readRest.ts';
import type { Role } from './routeGuards.ts';
import { checkGiven, invalidArgument, SessionsApiError } from './sessionsApiError.ts';
import { type SessionHolder, type TableReader, tableOf } from './supabaseClient.ts';

/** A row of `public.sessions`, as stored. */
export type SessionRow = Database['public']['Tables']['sessions']['Row'];
/** Where a session stands. */
export type SessionStatus = SessionRow['status'];

/** The part of a supabase-js client the reads use. */
export type ScheduleReader = TableReader;

/** A span of time to read, and which page of it. */
export interface ScheduleRange extends ReadOptions {
  /** Sessions that start at or after this instant (ISO 8601). */
  readonly from: string;
  /** Sessions that start before this instant. */
  readonly to: string;
  /** Only sessions of these statuses; all when absent or empty. */
  readonly statuses?: readonly SessionStatus[];
  /** Sessions a page, 1–1000. Default 200. */
  readonly limit?: number;
  /** `nextCursor` of the page before. */
  readonly cursor?: string | null;
}

/** What {@link fetchSchedule} reads. */
export interface ScheduleQuery extends ScheduleRange {
  /** For admins: one therapist's schedule. A therapist always gets their own, and may name only themselves. */
  readonly therapistId?: string | null;
}

/** What {@link fetchClientSessions} reads. */
export interface ClientSessionsQuery extends ScheduleRange {
  readonly clientId: string;
}

/** Some sessions, by start, and where to go on. */
export interface SchedulePage {
  readonly sessions: SessionRow[];
  /** Pass it as `cursor` for the next page; null when this is the last. */
  readonly nextCursor: string | null;
}

/** Who reads, by the JWT. */
export interface Scope {
  readonly userId: string;
  readonly organizationId: string;
  readonly role: Role;
}

/**
 * A page of the schedule for `/schedule`: the sessions of the JWT's organization that start in a span of time; for a
 * therapist, their own. The filters repeat what row-level security enforces, so that the planner can use an index on
 * them and a policy's mistake shows no stranger's session.
 *
 * @param supabase - a supabase-js client
 * @param query - the span, and for admins whose schedule; see {@link ScheduleQuery}
 * @returns the sessions, by start, and a cursor when there are more
 * @throws SessionsApiError 401 without a session, 403 `ORGANIZATION_REQUIRED` or `FORBIDDEN`, 400 for a malformed query
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const { sessions, nextCursor } = await fetchSchedule(supabase, {
 *   from: '2026-11-30T08:00:00Z',
 *   to: '2026-12-07T08:00:00Z',
 *   statuses: ['scheduled', 'in_progress'],
 * });
 * ```
 */
export async function fetchSchedule(supabase: ScheduleReader, query: ScheduleQuery): Promise<SchedulePage> {
  checkGiven(query);
  const scope = await readScope(supabase, query.accessToken);
  return await fetchPage(supabase, query, scope, { therapist_id: therapistOf(scope, query.therapistId) });
}

/**
 * A page of one client's sessions for `/clients/:clientId`: of the JWT's organization, and for a therapist only those
 * they give themselves.
 *
 * @param supabase - a supabase-js client
 * @param query - the client and the span; see {@link ClientSessionsQuery}
 * @returns the sessions, by start, and a cursor when there are more; none for a client out of scope
 * @throws SessionsApiError 401 without a session, 403 `ORGANIZATION_REQUIRED`, 400 for a malformed query
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const { sessions } = await fetchClientSessions(supabase, {
 *   clientId,
 *   from: '2026-09-01T00:00:00Z',
 *   to: '2026-12-01T00:00:00Z',
 * });
 * ```
 */
export async function fetchClientSessions(
  supabase: ScheduleReader,
  query: ClientSessionsQuery,
): Promise<SchedulePage> {
  checkGiven(query);
  const scope = await readScope(supabase, query.accessToken);
  return await fetchPage(supabase, query, scope, {
    therapist_id: therapistOf(scope, null),
    client_id: query.clientId,
  });
}

/**
 * All pages of a query, one after the other.
 *
 * @param fetchOne - a function that reads one page, given its cursor
 * @returns all sessions
 * @throws whatever `fetchOne` throws
 * @example
 * ```ts
 * const week = { from: '2026-11-30T08:00:00Z', to: '2026-12-07T08:00:00Z' };
 * const sessions = await fetchAllPages((cursor) => fetchSchedule(supabase, { ...week, cursor }));
 * ```
 */
export async function fetchAllPages(
  fetchOne: (cursor: string | null) => Promise<SchedulePage>,
): Promise<SessionRow[]> {
  const sessions: SessionRow[] = [];
  let cursor: string | null = null;
  do {
    const page: SchedulePage = await fetchOne(cursor);
    sessions.push(...page.sessions);
    cursor = page.nextCursor;
  } while (cursor !== null);
  return sessions;
}

/**
 * Who the JWT says is asking. It only chooses the filters: what may be read is the database's to decide, by membership.
 *
 * @param supabase - a supabase-js client
 * @param accessToken - a JWT, when not the client's own session's
 * @returns user, organization and role
 * @throws SessionsApiError 401 `UNAUTHENTICATED` without a token, 403 `ORGANIZATION_REQUIRED` without an organization
 * @example
 * ```ts
 * const { organizationId, role } = await readScope(supabase);
 * ```
 */
export async function readScope(
  supabase: { readonly auth: Pick<SessionHolder, 'getSession'> },
  accessToken?: string,
): Promise<Scope> {
  const token = accessToken ?? (await supabase.auth.getSession()).data.session?.access_token;
  const claims = token ? claimsOf(token) : null;
  const userId = claims?.sub;
  if (!claims || typeof userId !== 'string') {
    throw new SessionsApiError({ status: 401, code: 'UNAUTHENTICATED', message: 'Nobody is signed in.' });
  }
  const { org_id: organizationId, user_role: role } = claims;
  if (typeof organizationId !== 'string' || !isRole(role)) {
    throw new SessionsApiError({
      status: 403,
      code: 'ORGANIZATION_REQUIRED',
      message: 'The access token names no organization: the user belongs to none, or none is active.',
    });
  }
  return { userId, organizationId, role };
}

function isRole(role: unknown): role is Role {
  return role === 'client' || role === 'therapist' || role === 'admin' || role === 'super_admin';
}

function claimsOf(token: string): Record<string, unknown> | null {
  try {
    const payload = (token.split('.')[1] ?? '').replaceAll('-', '+').replaceAll('_', '/');
    const bytes = Uint8Array.from(atob(payload), (character) => character.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    return null;
  }
}

function therapistOf(scope: Scope, wanted: string | null | undefined): string | null {
  if (scope.role !== 'therapist') return wanted ?? null;
  if (wanted && wanted !== scope.userId) {
    throw new SessionsApiError({
      status: 403,
      code: 'FORBIDDEN',
      message: 'A therapist reads their own schedule only.',
    });
  }
  return scope.userId;
}

async function fetchPage(
  supabase: ScheduleReader,
  range: ScheduleRange,
  { organizationId }: Scope,
  filters: { readonly therapist_id?: string | null; readonly client_id?: string },
): Promise<SchedulePage> {
  const limit = range.limit ?? 200;
  if (!Number.isInteger(limit) || limit < 1 || limit > 1000) {
    throw invalidArgument([{ path: 'limit', message: 'must be a whole number from 1 to 1000' }]);
  }
  const after = range.cursor ? cursorFrom(range.cursor) : null;
  const from = after ?? { start: instant(range.from, 'from'), id: null };
  const to = instant(range.to, 'to');
  const { rows: sessions, more } = await readRows<SessionRow>(
    (last) => {
      const { start, id } = last ? { start: instant(last.start_time, 'cursor'), id: last.id } : from;
      let query = tableOf(supabase, 'sessions')
        .select('*')
        .eq('organization_id', organizationId)
        .gte('start_time', start)
        .lt('start_time', to);
      for (const [column, value] of Object.entries(filters)) if (value) query = query.eq(column, value);
      if (range.statuses?.length) query = query.in('status', [...range.statuses]);
      // Rows of the cursor's own instant come again in part: those up to its id.
      if (id) query = query.or(`start_time.gt.${start},id.gt.${id}`);
      return query.order('start_time').order('id');
    },
    limit,
    range,
    supabase,
  );
  const last = sessions.at(-1);
  return {
    sessions,
    nextCursor: more && last ? `${instant(last.start_time, 'cursor')}~${last.id}` : null,
  };
}

/** An instant in UTC to the microsecond, so that it stands in a query as the database wrote it, without a `+`. */
function instant(text: string, path: string): string {
  const parsed = parseTemporal(text);
  if (parsed?.kind !== 'instant') {
    throw invalidArgument([{ path, message: 'must be an ISO 8601 instant with Z or an explicit offset' }]);
  }
  const micros = (/[.,](\d{1,6})/.exec(text)?.[1] ?? '').padEnd(6, '0');
  return `${new Date(parsed.instant).toISOString().slice(0, 19)}.${micros}Z`;
}

function cursorFrom(cursor: string): { start: string; id: string } {
  const [start = '', id = ''] = cursor.split('~');
  if (!/^[0-9a-f-]{36}$/i.test(id)) {
    throw invalidArgument([{ path: 'cursor', message: 'must be the nextCursor of a page' }]);
  }
  return { start: instant(start, 'cursor'), id };
}
