import { pause } from './callEdge.ts';
import { followTable, hasRealtime } from './realtime.ts';
import {
  type ClientSessionsQuery,
  fetchAllPages,
  fetchClientSessions,
  fetchSchedule,
  readScope,
  type ScheduleQuery,
  type SessionRow,
} from './scheduleQueries.ts';
import { checkGiven } from './sessionsApiError.ts';
import type { RealtimeFollower, TableReader } from './supabaseClient.ts';

/** What changed between two looks at a schedule. */
export interface ScheduleChanges {
  readonly added: readonly SessionRow[];
  readonly changed: readonly SessionRow[];
  /** Sessions that are no longer part of the schedule, such as those moved out of its span. */
  readonly removed: readonly SessionRow[];
}

/**
 * How a feed is doing.
 * - `connecting`: it has not read yet.
 * - `connected`: Realtime tells of changes.
 * - `polling`: it looks every so often.
 * - `lost`: the last reading failed; what is shown is as old as the last `onRead`.
 * - `recovered`: a reading succeeded after one that failed. `connected` or `polling` follows at once.
 */
export type FeedStatus = 'connecting' | 'connected' | 'polling' | 'lost' | 'recovered';

/** How a schedule is followed. */
export interface ScheduleFeedOptions {
  /** The schedule: of `/schedule`, or with a `clientId` of `/clients/:clientId`. All of its pages are read. */
  readonly query: Omit<ScheduleQuery, 'cursor' | 'signal'> | Omit<ClientSessionsQuery, 'cursor' | 'signal'>;
  /** Called with the first reading and after each change. The changes of the first reading are all `added`. */
  readonly onChange: (sessions: readonly SessionRow[], changes: ScheduleChanges) => void;
  /** Called after each reading that succeeded, also when nothing changed: how old what is shown is. */
  readonly onRead?: (readAt: Date) => void;
  /** Told when a reading fails; the feed goes on and tries again. */
  readonly onError?: (error: unknown) => void;
  /** Told when the feed is doing otherwise than before. */
  readonly onStatus?: (status: FeedStatus) => void;
  /** `false`: never use Realtime. Default: wherever it is there. */
  readonly realtime?: boolean;
  /** Milliseconds between looks where there is no Realtime. Default 15 000. */
  readonly pollIntervalMs?: number;
  /** Milliseconds between looks while Realtime tells of changes, in case it misses one. Default 300 000. */
  readonly recheckIntervalMs?: number;
  /** Ends the feed, as `close()` does. */
  readonly signal?: AbortSignal;
}

/** A schedule being followed. */
export interface ScheduleFeed {
  /** How changes are noticed right now. */
  readonly mode: 'connecting' | 'realtime' | 'polling';
  /** How the feed is doing right now; see {@link FeedStatus}. */
  readonly status: FeedStatus;
  /** Looks now, e.g. after a booking of one's own. Resolves when `onChange` has been called, if there was a change. */
  refresh(): Promise<void>;
  /** Ends the feed. No callback is called afterwards. */
  close(): void;
}

/** Events within this time lead to one look. */
const SETTLE_MS = 150;

/**
 * Follows a schedule: by Realtime where it is there, by looking every few seconds where it is not (a local stack, a
 * blocked WebSocket). Realtime only says *that* something changed; what the user sees is always read anew under
 * row-level security, so no session reaches anybody through the channel.
 *
 * @param supabase - a supabase-js client
 * @param options - what to follow and whom to tell; see {@link ScheduleFeedOptions}
 * @returns the feed; it has begun
 * @example
 * ```ts
 * const feed = createScheduleFeed(supabase, {
 *   query: { from: '2026-11-30T08:00:00Z', to: '2026-12-07T08:00:00Z' },
 *   onChange: (sessions, { added }) => console.log(sessions.length, 'sessions,', added.length, 'of them new'),
 * });
 * feed.close();
 * ```
 */
export function createScheduleFeed(
  supabase: TableReader & RealtimeFollower,
  options: ScheduleFeedOptions,
): ScheduleFeed {
  checkGiven(options);
  const ended = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, ended.signal]) : ended.signal;
  const { query, onChange, onError, pollIntervalMs = 15_000, recheckIntervalMs = 300_000 } = options;
  let isTold = false;
  let hasFailed = false;
  let status: FeedStatus = 'connecting';
  let known: Map<string, SessionRow> | null = null;
  let reading: Promise<void> | null = null;
  let again = false;

  function say(next: FeedStatus): void {
    if (signal.aborted || next === status) return;
    status = next;
    options.onStatus?.(next);
  }
  const sayHowItFollows = () => say(isTold ? 'connected' : 'polling');

  async function readOnce(): Promise<void> {
    const rows = await fetchAllPages((cursor) =>
      'clientId' in query
        ? fetchClientSessions(supabase, { ...query, cursor, signal })
        : fetchSchedule(supabase, { ...query, cursor, signal }),
    );
    if (signal.aborted) return;
    const next = new Map(rows.map((row) => [row.id, row]));
    const before = known ?? new Map<string, SessionRow>();
    const changes = {
      added: rows.filter(({ id }) => !before.has(id)),
      changed: rows.filter(
        (row) => before.has(row.id) && JSON.stringify(before.get(row.id)) !== JSON.stringify(row),
      ),
      removed: [...before.values()].filter(({ id }) => !next.has(id)),
    };
    const isFirst = known === null;
    known = next;
    options.onRead?.(new Date());
    if (hasFailed) say('recovered');
    hasFailed = false;
    sayHowItFollows();
    if (isFirst || changes.added.length + changes.changed.length + changes.removed.length > 0)
      onChange(rows, changes);
  }

  /** One reading at a time; a wish that comes meanwhile is served by one more. */
  function refresh(): Promise<void> {
    if (reading) again = true;
    reading ??= (async () => {
      do {
        again = false;
        try {
          await readOnce();
        } catch (error) {
          if (signal.aborted) break;
          hasFailed = true;
          say('lost');
          onError?.(error);
        }
      } while (again && !signal.aborted);
      reading = null;
    })();
    return reading;
  }

  /** Listens to Realtime, and tries again later when it is given up. */
  async function listen(): Promise<void> {
    let settling: ReturnType<typeof setTimeout> | undefined;
    while (!signal.aborted && (await hasRealtime(supabase, signal))) {
      const { role, userId, organizationId } = await readScope(supabase, query.accessToken);
      const filter =
        role === 'therapist' ? `therapist_id=eq.${userId}` : `organization_id=eq.${organizationId}`;
      await followTable(
        supabase,
        { table: 'sessions', filter, accessToken: query.accessToken },
        {
          onChange: () => {
            clearTimeout(settling);
            settling = setTimeout(() => void (signal.aborted || refresh()), SETTLE_MS);
          },
          onState: (told) => {
            // What happened while nobody told is only seen by looking.
            if (told && !isTold) void refresh();
            isTold = told;
            if (!hasFailed) sayHowItFollows();
          },
        },
        signal,
      );
      isTold = false;
      await pause(recheckIntervalMs, signal);
    }
  }

  async function run(): Promise<void> {
    await refresh();
    if (options.realtime !== false) listen().catch(() => undefined);
    while (!signal.aborted) {
      const looked = Date.now();
      const due = () => Date.now() - looked >= (isTold ? recheckIntervalMs : pollIntervalMs);
      while (!due()) await pause(Math.min(pollIntervalMs, recheckIntervalMs), signal);
      await refresh();
    }
  }

  // A browser says when it is online again; until the next look would take a while.
  if (typeof globalThis.addEventListener === 'function')
    globalThis.addEventListener('online', () => void refresh(), { signal });
  run().catch((error: unknown) => {
    if (!signal.aborted) onError?.(error);
  });
  return {
    get mode() {
      if (status === 'connecting') return 'connecting';
      return isTold ? 'realtime' : 'polling';
    },
    get status() {
      return status;
    },
    refresh,
    close: () => ended.abort(),
  };
}
