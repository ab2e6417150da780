import { callOutcome } from './callOutcome.ts';
import type { Database } from './database.types.ts';
import { type ReadOptions, readWholeList } from './readRest.ts';
import { readScope } from './scheduleQueries.ts';
import { checkGiven } from './sessionsApiError.ts';
import { type RpcCaller, type TableReader, tableOf } from './supabaseClient.ts';

/** A row of `public.calendar_feeds`: that there is one, never its secret. */
export type CalendarFeedRow = Database['public']['Tables']['calendar_feeds']['Row'];

/** A calendar feed that was just made. */
export interface CalendarFeed {
  readonly feedId: string;
  /** The secret of its address. It is told this once. */
  readonly token: string;
  /** Where it is read, on the project's origin: `/functions/v1/calendar/<token>.ics`. */
  readonly path: string;
}

/**
 * Makes a secret address at which a calendar program reads the caller's sessions: a therapist's own, or those of the
 * clients a parent stands for. It says when they are, not with whom or where.
 *
 * @param supabase - a supabase-js client
 * @param options - token and signal
 * @returns the feed and its secret
 * @throws SessionsApiError 403 for somebody who is neither therapist nor client, 400 when there are 10 already
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const { path } = await createCalendarFeed(supabase);
 * const address = new URL(path, 'https://your-project.supabase.co').href.replace(/^https:/, 'webcal:');
 * ```
 */
export async function createCalendarFeed(
  supabase: RpcCaller,
  options: ReadOptions = {},
): Promise<CalendarFeed> {
  checkGiven(options);
  return await callOutcome<CalendarFeed>(supabase, 'create_calendar_feed', {}, options);
}

/**
 * The calendar feeds that are live: the caller's own, or for an admin everybody's.
 *
 * @param supabase - a supabase-js client
 * @param options - token and signal
 * @returns the feeds, oldest first
 * @throws SessionsApiError 401 without a session, 403 `ORGANIZATION_REQUIRED`
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * const feeds = await fetchCalendarFeeds(supabase);
 * feeds.length; // how many calendars read along
 * ```
 */
export async function fetchCalendarFeeds(
  supabase: TableReader,
  options: ReadOptions = {},
): Promise<CalendarFeedRow[]> {
  checkGiven(options);
  const { organizationId } = await readScope(supabase, options.accessToken);
  return await readWholeList<CalendarFeedRow>(
    () =>
      tableOf(supabase, 'calendar_feeds')
        .select('*')
        .eq('organization_id', organizationId)
        .is('revoked_at', null)
        .order('created_at')
        .order('id'),
    options,
    supabase,
  );
}

/**
 * Ends a calendar feed at once: its address answers as one that never was.
 *
 * @param supabase - a supabase-js client
 * @param payload - the feed's id; see {@link fetchCalendarFeeds}
 * @returns since when it is ended
 * @throws SessionsApiError 403 when it is not the caller's, nor, for an admin, the organization's
 * @throws the signal's reason when aborted
 * @example
 * ```ts
 * for (const { id } of await fetchCalendarFeeds(supabase)) await revokeCalendarFeed(supabase, { feedId: id });
 * ```
 */
export async function revokeCalendarFeed(
  supabase: RpcCaller,
  payload: ReadOptions & { readonly feedId: string },
): Promise<{ readonly feedId: string; readonly revokedAt: string }> {
  checkGiven(payload);
  return await callOutcome(
    supabase,
    'revoke_calendar_feed',
    { request: { feed_id: payload.feedId } },
    payload,
  );
}
