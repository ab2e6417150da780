import type { SupabaseClient } from '@supabase/supabase-js';
import { pause } from './callEdge.ts';
import {
  type ClientSessionsQuery,
  fetchAllPages,
  fetchClientSessions,
  fetchSchedule,
  readScope,
  type ScheduleQuery,
  type SessionRow,
} from './scheduleQueries.ts';

/** What changed between two looks at a schedule. */
export interface ScheduleChanges {
  readonly added: readonly SessionRow[];
  readonly changed: readonly SessionRow[];
  /** Sessions that are no longer part of the schedule, such as those moved out of its span. */
  readonly removed: readonly SessionRow[];
}

/** How a schedule is followed. */
export interface ScheduleFeedOptions {
  /** The schedule: of `/schedule`, or with a `clientId` of `/clients/:clientId`. All of its pages are read. */
  readonly query: Omit<ScheduleQuery, 'cursor' | 'signal'> | Omit<ClientSessionsQuery, 'cursor' | 'signal'>;
  /** Called with the first reading and after each change. The changes of the first reading are all `added`. */
  readonly onChange: (sessions: readonly SessionRow[], changes: ScheduleChanges) => void;
  /** Told when a reading fails; the feed goes on and tries again. */
  readonly onError?: (error: unknown) => void;
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
  supabase: Pick<SupabaseClient, 'from' | 'auth' | 'channel' | 'removeChannel' | 'realtime'>,
  options: ScheduleFeedOptions,
): ScheduleFeed {
  const ended = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, ended.signal]) : ended.signal;
  const { query, onChange, onError, pollIntervalMs = 15_000, recheckIntervalMs = 300_000 } = options;
  let mode: ScheduleFeed['mode'] = 'connecting';
  let known: Map<string, SessionRow> | null = null;
  let reading: Promise<void> | null = null;
  let again = false;
  let channel: ReturnType<SupabaseClient['channel']> | null = null;

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
          if (!signal.aborted) onError?.(error);
        }
      } while (again && !signal.aborted);
      reading = null;
    })();
    return reading;
  }

  async function listen(): Promise<void> {
    const scope = await readScope(supabase, query.accessToken);
    if (signal.aborted) return;
    if (query.accessToken) await supabase.realtime.setAuth(query.accessToken);
    let settling: ReturnType<typeof setTimeout> | undefined;
    channel = supabase
      .channel(`schedule:${scope.organizationId}:${Math.random().toString(36).slice(2)}`, {
        // Joined is not enough: only a server that does follow the table lets the looking become rare.
        config: { postgres_changes_options: { wait: true } },
      })
      .on(
        'postgres_changes',
        {
          event: '*',
          schema: 'public',
          table: 'sessions',
          filter:
            scope.role === 'therapist'
              ? `therapist_id=eq.${scope.userId}`
              : `organization_id=eq.${scope.organizationId}`,
        },
        () => {
          clearTimeout(settling);
          settling = setTimeout(() => void (signal.aborted || refresh()), SETTLE_MS);
        },
      )
      .subscribe((status) => {
        if (signal.aborted) return;
        const listening = status === 'SUBSCRIBED';
        // What happened while the channel was down is only seen by looking.
        if (listening && mode !== 'realtime') void refresh();
        mode = listening ? 'realtime' : 'polling';
      });
  }

  async function run(): Promise<void> {
    await refresh();
    listen().catch(() => {
      mode = 'polling';
    });
    while (!signal.aborted) {
      const looked = Date.now();
      const due = () => Date.now() - looked >= (mode === 'realtime' ? recheckIntervalMs : pollIntervalMs);
      while (!due()) await pause(Math.min(pollIntervalMs, recheckIntervalMs), signal);
      await refresh();
    }
  }

  signal.addEventListener('abort', () => channel && void supabase.removeChannel(channel), { once: true });
  run().catch((error: unknown) => {
    if (!signal.aborted) onError?.(error);
  });
  return {
    get mode() {
      return mode;
    },
    refresh,
    close: () => ended.abort(),
  };
}
