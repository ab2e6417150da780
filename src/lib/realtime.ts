import type { RealtimeFollower } from './supabaseClient.ts';

/** A subscription to the changes of a table. */
interface Channel {
  on(
    type: 'postgres_changes',
    filter: { event: '*'; schema: string; table: string; filter: string },
    callback: () => void,
  ): Channel;
  subscribe(callback: (status: string) => void): Channel;
}

/** What a subscription tells. */
export interface ChangesListener {
  /** Something changed in the table. What is not told: it is read anew, under row-level security. */
  readonly onChange: () => void;
  /** Whether changes are told from now on. */
  readonly onState: (isTold: boolean) => void;
}

/** How often joining may fail before it is given up: each failure is an error in the browser's console. */
const MOST_FAILURES = 3;

/**
 * Whether a project has Realtime. Where nothing answers for it, a WebSocket would be tried for ever, each time with an
 * error in the browser's console. Anything unclear counts as there: the subscription itself then tells.
 *
 * @param supabase - a supabase-js client
 * @param signal - ends the question
 */
export async function hasRealtime(
  { realtime }: Pick<RealtimeFollower, 'realtime'>,
  signal: AbortSignal,
): Promise<boolean> {
  const base = /^ws(s?:\/\/.+?)\/websocket\/?$/.exec(realtime.endPoint ?? '')?.[1];
  if (base === undefined) return true;
  // In the URL, as the WebSocket itself sends it: a header would cost a preflight.
  const key = realtime.apiKey ? `?apikey=${encodeURIComponent(realtime.apiKey)}` : '';
  const status = await fetch(`http${base}/api/ping${key}`, { signal }).then(
    async (response) => {
      await response.body?.cancel();
      return response.status;
    },
    () => null,
  );
  return status !== 404;
}

/**
 * Subscribes to the changes of a table.
 *
 * @param supabase - a supabase-js client
 * @param what - the table, and the filter of the rows
 * @param listener - whom to tell
 * @param signal - ends the subscription
 * @returns when the subscription is over: given up, or ended by the signal
 */
export async function followTable(
  supabase: RealtimeFollower,
  what: { table: string; filter: string; accessToken: string | undefined },
  { onChange, onState }: ChangesListener,
  signal: AbortSignal,
): Promise<void> {
  if (signal.aborted) return;
  const { realtime } = supabase as { realtime: { setAuth(token: string): PromiseLike<unknown> } };
  if (what.accessToken) await realtime.setAuth(what.accessToken);
  const client = supabase as {
    channel(name: string, options: object): Channel;
    removeChannel(channel: Channel): PromiseLike<unknown>;
  };
  const channel = client.channel(`${what.table}:${crypto.getRandomValues(new Uint32Array(2)).join('')}`, {
    // Joined is not enough: only a server that does follow the table lets the looking become rare.
    config: { postgres_changes_options: { wait: true } },
  });
  let failures = 0;
  await new Promise<void>((resolve) => {
    signal.addEventListener('abort', () => resolve(), { once: true });
    channel
      .on(
        'postgres_changes',
        { event: '*', schema: 'public', table: what.table, filter: what.filter },
        onChange,
      )
      .subscribe((status) => {
        if (signal.aborted) return;
        const isTold = status === 'SUBSCRIBED';
        failures = isTold ? 0 : failures + 1;
        onState(isTold);
        if (failures >= MOST_FAILURES) resolve();
      });
  });
  await client.removeChannel(channel);
}
