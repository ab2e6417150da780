import type { ReadOptions } from './readRest.ts';
import { fetchReport, type ReportRow } from './reports.ts';
import { checkGiven } from './sessionsApiError.ts';
import type { SchemaReader } from './supabaseClient.ts';

/** Which months a report is read for. */
export interface MonthsQuery extends ReadOptions {
  /** The first day of the first month, `YYYY-MM-01`. */
  readonly from: string;
  /** The first day of the month after the last, `YYYY-MM-01`. */
  readonly to: string;
}

/**
 * The lines of claims: each attended visit with payer, code, modifiers, place, whole minutes and units.
 *
 * @param supabase - a supabase-js client
 * @param query - the months; see {@link MonthsQuery}
 * @returns the visits of the caller's clinic, or a therapist's own
 * @throws SessionsApiError 401 without a session, 403 `ORGANIZATION_REQUIRED`
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const lines = await fetchBillableVisits(supabase, { from: '2026-11-01', to: '2026-12-01' });
 * ```
 */
export async function fetchBillableVisits(
  supabase: SchemaReader,
  query: MonthsQuery,
): Promise<ReportRow<'billable_visits'>[]> {
  checkGiven(query);
  return fetchReport(supabase, 'billable_visits', { ...query, by: 'month' });
}

/**
 * What is over and cannot be billed yet, and why.
 *
 * @param supabase - a supabase-js client
 * @param query - the months; see {@link MonthsQuery}
 * @returns a row for each session, with its reasons
 * @throws SessionsApiError 401 without a session, 403 `ORGANIZATION_REQUIRED`
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const waiting = await fetchUnbilled(supabase, { from: '2026-11-01', to: '2026-12-01' });
 * const unsigned = waiting.filter(({ reasons }) => reasons?.includes('unsigned'));
 * ```
 */
export async function fetchUnbilled(
  supabase: SchemaReader,
  query: MonthsQuery,
): Promise<ReportRow<'unbilled'>[]> {
  checkGiven(query);
  return fetchReport(supabase, 'unbilled', { ...query, by: 'month' });
}

/**
 * What a payer or an auditor would object to in completed visits.
 *
 * @param supabase - a supabase-js client
 * @param query - the months; see {@link MonthsQuery}
 * @returns a row for each visit and problem
 * @throws SessionsApiError 401 without a session, 403 `ORGANIZATION_REQUIRED`
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const problems = await fetchVisitProblems(supabase, { from: '2026-11-01', to: '2026-12-01' });
 * ```
 */
export async function fetchVisitProblems(
  supabase: SchemaReader,
  query: MonthsQuery,
): Promise<ReportRow<'visit_problems'>[]> {
  checkGiven(query);
  return fetchReport(supabase, 'visit_problems', { ...query, by: 'month' });
}

/**
 * Sessions to come that could not be booked any more as things stand now: somebody was archived or left, hours or closures
 * changed, a code or an authorization ended.
 *
 * @param supabase - a supabase-js client
 * @param query - from and until which start (instants); all that are to come when absent
 * @returns a row for each session and cause, the earliest first; a therapist's own
 * @throws SessionsApiError 401 without a session, 403 `ORGANIZATION_REQUIRED`
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const problems = await fetchScheduleProblems(supabase, { to: '2026-12-01T00:00:00Z' });
 * const orphaned = problems.filter(({ problem }) => problem === 'therapist_left');
 * ```
 */
export async function fetchScheduleProblems(
  supabase: SchemaReader,
  query: ReadOptions & { readonly from?: string; readonly to?: string } = {},
): Promise<ReportRow<'schedule_problems'>[]> {
  checkGiven(query);
  return fetchReport(supabase, 'schedule_problems', { ...query, by: 'start_time' });
}

/**
 * Authorizations that have not ended: what is used and booked of each, when it runs out, and the nearest alert.
 *
 * @param supabase - a supabase-js client
 * @param options - token and signal; see {@link ReadOptions}
 * @returns a row for each authorization the caller may see, by its end
 * @throws SessionsApiError 401 without a session, 403 `ORGANIZATION_REQUIRED`
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const urgent = (await fetchAuthorizationPace(supabase)).filter(({ alert_days }) => alert_days === 14);
 * ```
 */
export async function fetchAuthorizationPace(
  supabase: SchemaReader,
  options: ReadOptions = {},
): Promise<ReportRow<'authorization_pace'>[]> {
  checkGiven(options);
  return fetchReport(supabase, 'authorization_pace', { ...options, by: 'ends_on' });
}

/**
 * What supervision each technician still needs this month. Read it as an admin: technicians do not see their supervisors'
 * sessions.
 *
 * @param supabase - a supabase-js client
 * @param options - token and signal; see {@link ReadOptions}
 * @returns a row for each technician with hours this month
 * @throws SessionsApiError 401 without a session, 403 `ORGANIZATION_REQUIRED`
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const short = (await fetchSupervisionNeeded(supabase)).filter(({ hours_needed }) => Number(hours_needed) > 0);
 * ```
 */
export async function fetchSupervisionNeeded(
  supabase: SchemaReader,
  options: ReadOptions = {},
): Promise<ReportRow<'supervision_needed'>[]> {
  checkGiven(options);
  return fetchReport(supabase, 'supervision_needed', { ...options, by: 'therapist_id' });
}

/**
 * Sessions still to be rendered whose code is not valid on their day, such as after a change of the code set.
 *
 * @param supabase - a supabase-js client
 * @param options - token and signal; see {@link ReadOptions}
 * @returns a row for each session, by start
 * @throws SessionsApiError 401 without a session, 403 `ORGANIZATION_REQUIRED`
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const sessionIds = (await fetchSessionsToRecode(supabase)).map(({ session_id }) => session_id);
 * ```
 */
export async function fetchSessionsToRecode(
  supabase: SchemaReader,
  options: ReadOptions = {},
): Promise<ReportRow<'sessions_to_recode'>[]> {
  checkGiven(options);
  return fetchReport(supabase, 'sessions_to_recode', { ...options, by: 'start_time' });
}
