/** `createScheduleFeed` on a stack without Realtime: it looks every so often. */
import { afterEach, beforeAll, expect, it, vi } from 'vitest';
import { WebSocketServer } from 'ws';
import {
  bookSession,
  cancelSessions,
  createScheduleFeed,
  type FeedStatus,
  type ScheduleChanges,
  type ScheduleFeed,
  type ScheduleFeedOptions,
} from '../../src/lib/index.ts';
import { stack } from '../setup/stack.ts';
import { anonymousClient, type Clinic, clientOf, nextSession, openClinic, plusDays } from './clinic.ts';
import { startFaultyProxy } from './faulty-proxy.ts';

/** How long a feed may take to notice: a loaded machine needs long, and an idle one does not wait. */
const WAIT = { timeout: 60_000, interval: 20 };

let clinic: Clinic;
let supabase: Awaited<ReturnType<typeof clientOf>>;
let feed: ScheduleFeed | undefined;
beforeAll(async () => {
  clinic = await openClinic();
  supabase = await clientOf(clinic.rbt);
});
afterEach(() => feed?.close());

function follow(options: Partial<ScheduleFeedOptions> = {}, client = supabase) {
  const seen: { count: number; changes: ScheduleChanges }[] = [];
  feed = createScheduleFeed(client, {
    query: { from: new Date().toISOString(), to: plusDays(new Date().toISOString(), 365), limit: 2 },
    onChange: (sessions, changes) => seen.push({ count: sessions.length, changes }),
    pollIntervalMs: 100,
    ...options,
  });
  return { feed, seen };
}

it('tells of what is there, what comes, what changes and what goes', async () => {
  const { seen } = follow();
  await vi.waitFor(() => expect(seen).toHaveLength(1), WAIT);
  expect(seen[0]).toMatchObject({ count: 0 });

  const { sessions } = await bookSession(supabase, {
    session: nextSession(clinic),
    recurrence: { rule: 'FREQ=WEEKLY;COUNT=3' },
    timeZone: 'UTC',
  });
  await vi.waitFor(() => expect(seen.at(-1)?.changes.added).toHaveLength(3), WAIT);
  expect(seen.at(-1)).toMatchObject({ count: 3, changes: { changed: [], removed: [] } });

  const [first] = sessions;
  await cancelSessions(supabase, { sessionIds: [first?.id ?? ''] });
  await vi.waitFor(
    () => expect(seen.at(-1)?.changes.changed).toMatchObject([{ id: first?.id, status: 'cancelled' }]),
    WAIT,
  );
});

it('of scheduled sessions only loses one that is cancelled', async () => {
  const from = new Date().toISOString();
  const { seen } = follow({
    query: { from, to: plusDays(from, 365), clientId: clinic.clients[0], statuses: ['scheduled'] },
  });
  const { session } = await bookSession(supabase, { session: nextSession(clinic), timeZone: 'UTC' });
  await vi.waitFor(
    () => expect(seen.flatMap(({ changes }) => changes.added).map(({ id }) => id)).toContain(session.id),
    WAIT,
  );
  await cancelSessions(supabase, { sessionIds: [session.id] });
  await vi.waitFor(() => expect(seen.at(-1)?.changes.removed).toMatchObject([{ id: session.id }]), WAIT);
});

it('looks at once when told to', async () => {
  const { feed: slow, seen } = follow({ pollIntervalMs: 600_000 });
  await vi.waitFor(() => expect(seen).toHaveLength(1), WAIT);
  await bookSession(supabase, { session: nextSession(clinic), timeZone: 'UTC' });
  await slow.refresh();
  expect(seen).toHaveLength(2);
});

it('says nothing more once it is closed, not even of the reading that is under way', async () => {
  // It looks when it is told to, so that no look of its own comes between the booking and the end.
  const { feed: closed, seen } = follow({ pollIntervalMs: 600_000 });
  await vi.waitFor(() => expect(seen).toHaveLength(1), WAIT);
  await bookSession(supabase, { session: nextSession(clinic), timeZone: 'UTC' });
  const reading = closed.refresh();
  closed.close();
  await reading;
  await closed.refresh();
  expect(seen).toHaveLength(1);
});

it('reports a reading that fails and goes on', async () => {
  const errors: unknown[] = [];
  feed = createScheduleFeed(anonymousClient(), {
    query: { from: new Date().toISOString(), to: plusDays(new Date().toISOString(), 7) },
    onChange: () => undefined,
    onError: (error) => errors.push(error),
    pollIntervalMs: 50,
  });
  await vi.waitFor(() => expect(errors.length).toBeGreaterThan(1), WAIT);
  expect(errors[0]).toMatchObject({ code: 'UNAUTHENTICATED' });
});

it('is lost while nothing answers, and says when it has recovered', async () => {
  const proxy = await startFaultyProxy(stack.apiUrl);
  try {
    const statuses: FeedStatus[] = [];
    let reads = 0;
    follow(
      { onStatus: (status) => statuses.push(status), onRead: () => (reads += 1), realtime: false },
      await clientOf(clinic.rbt, proxy.url),
    );
    await vi.waitFor(() => expect(statuses).toEqual(['polling']), WAIT);
    expect(reads).toBeGreaterThan(0);
    proxy.restFate = () => 'lose-request';
    await vi.waitFor(() => expect(statuses).toEqual(['polling', 'lost']), WAIT);
    proxy.restFate = () => 'pass';
    await vi.waitFor(() => expect(statuses).toEqual(['polling', 'lost', 'recovered', 'polling']), WAIT);
  } finally {
    feed?.close();
    await proxy.close();
  }
});

it('has one reading under way at a time, and reads once more for whoever asked meanwhile', async () => {
  const proxy = await startFaultyProxy(stack.apiUrl);
  try {
    let [underWay, most, asked] = [0, 0, 0];
    proxy.onRest = (answered) => {
      underWay += 1;
      asked += 1;
      most = Math.max(most, underWay);
      void answered.then(() => (underWay -= 1));
    };
    const { feed: busy } = follow(
      { pollIntervalMs: 600_000, realtime: false },
      await clientOf(clinic.rbt, proxy.url),
    );
    await busy.refresh();
    const before = asked;
    await Promise.all(Array.from({ length: 10 }, () => busy.refresh()));
    expect(most).toBe(1);
    // A look has as many requests as the schedule has pages: ten wishes are two looks, not ten.
    expect(asked - before).toBeLessThanOrEqual(2 * before);
  } finally {
    feed?.close();
    await proxy.close();
  }
});

it('opens no WebSocket where nothing answers for Realtime, nor when told not to', async () => {
  const proxy = await startFaultyProxy(stack.apiUrl);
  let upgrades = 0;
  const pings: string[] = [];
  proxy.server.on('upgrade', (_, socket) => {
    upgrades += 1;
    socket.destroy();
  });
  proxy.realtimeStatus = (path) => {
    pings.push(path);
    return 404;
  };
  try {
    const client = await clientOf(clinic.rbt, proxy.url);
    const { feed: polling, seen } = follow({}, client);
    await vi.waitFor(() => expect(pings).toHaveLength(1), WAIT);
    await vi.waitFor(() => expect(seen).toHaveLength(1), WAIT);
    await bookSession(supabase, { session: nextSession(clinic), timeZone: 'UTC' });
    await vi.waitFor(() => expect(seen).toHaveLength(2), WAIT);
    expect(polling.status).toBe('polling');
    polling.close();

    const { seen: again } = follow({ realtime: false }, client);
    await vi.waitFor(() => expect(again).toHaveLength(1), WAIT);
    expect(pings).toHaveLength(1);
    expect(upgrades).toBe(0);
  } finally {
    feed?.close();
    await proxy.close();
  }
});

it('falls back to looking where there is no Realtime', async () => {
  const { feed: polling } = follow();
  await vi.waitFor(() => expect(polling.mode).toBe('polling'), WAIT);
});

/**
 * What Realtime does on the wire, as far as a feed sees it: the local stack has none. `follows` says whether the table is
 * enabled for it; `tell` reports a change the way the platform does.
 */
async function startRealtime(follows: boolean) {
  const proxy = await startFaultyProxy(stack.apiUrl);
  const sockets = new WebSocketServer({ noServer: true });
  const joined: { topic: string; filter: string | undefined; send: (message: unknown[]) => void }[] = [];
  let isDown = false;
  proxy.server.on('upgrade', (request, socket, head) => {
    if (isDown) return void socket.destroy();
    sockets.handleUpgrade(request, socket, head, (connection) => {
      const send = (message: unknown[]) => connection.send(JSON.stringify(message));
      connection.on('message', (data) => {
        const [joinRef, ref, topic, event, payload] = JSON.parse(String(data));
        const reply = (status: string, response: object) =>
          send([joinRef, ref, topic, 'phx_reply', { status, response }]);
        if (event !== 'phx_join') return reply('ok', {});
        if (!follows) return reply('error', { reason: 'RealtimeDisabledForConfiguration: sessions' });
        const [wanted] = payload.config.postgres_changes;
        joined.push({ topic, filter: wanted.filter, send });
        reply('ok', { postgres_changes: [{ id: 7, ...wanted }] });
      });
    });
  });
  return {
    url: proxy.url,
    joined,
    tell: (record: object) => {
      for (const { topic, send } of joined) {
        const data = {
          type: 'INSERT',
          schema: 'public',
          table: 'sessions',
          columns: [],
          record,
          errors: null,
        };
        send([null, null, topic, 'postgres_changes', { ids: [7], data }]);
      }
    },
    /** Ends all connections and takes no new ones until `restore`. */
    drop: () => {
      isDown = true;
      joined.length = 0;
      for (const client of sockets.clients) client.terminate();
    },
    restore: () => {
      isDown = false;
    },
    close: async () => {
      for (const client of sockets.clients) client.terminate();
      await proxy.close();
    },
  };
}

it('looks when Realtime tells of a change, and shows what is read, not what was told', async () => {
  const realtime = await startRealtime(true);
  try {
    const following = await clientOf(clinic.rbt, realtime.url);
    const { feed: live, seen } = follow({ pollIntervalMs: 60_000 }, following);
    await vi.waitFor(() => expect(live.mode).toBe('realtime'), WAIT);
    expect(realtime.joined.map(({ filter }) => filter)).toEqual([`therapist_id=eq.${clinic.rbt.id}`]);

    const { session } = await bookSession(supabase, { session: nextSession(clinic), timeZone: 'UTC' });
    realtime.tell({ id: 'of-another-clinic', client_id: 'somebody' });
    await vi.waitFor(
      () => expect(seen.at(-1)?.changes.added.map(({ id }) => id)).toEqual([session.id]),
      WAIT,
    );
    expect(JSON.stringify(seen)).not.toContain('of-another-clinic');
  } finally {
    feed?.close();
    await realtime.close();
  }
});

it('looks at once when the channel comes back: what happened meanwhile was told to nobody', async () => {
  const realtime = await startRealtime(true);
  try {
    const statuses: FeedStatus[] = [];
    const following = await clientOf(clinic.rbt, realtime.url);
    const { feed: live, seen } = follow(
      { pollIntervalMs: 600_000, onStatus: (status) => statuses.push(status) },
      following,
    );
    await vi.waitFor(() => expect(live.mode).toBe('realtime'), WAIT);
    realtime.drop();
    await vi.waitFor(() => expect(live.mode).toBe('polling'), WAIT);
    const { session } = await bookSession(supabase, { session: nextSession(clinic), timeZone: 'UTC' });
    realtime.restore();
    await vi.waitFor(
      () => expect(seen.at(-1)?.changes.added.map(({ id }) => id)).toEqual([session.id]),
      WAIT,
    );
    // The look of the channel that is back may be a reconnected poll's as well: the status follows.
    await vi.waitFor(() => expect(statuses).toEqual(['polling', 'connected', 'polling', 'connected']), WAIT);
  } finally {
    feed?.close();
    await realtime.close();
  }
});

it('looks every so often where Realtime does not follow the table', async () => {
  const realtime = await startRealtime(false);
  try {
    const following = await clientOf(clinic.rbt, realtime.url);
    const { feed: polling, seen } = follow({}, following);
    await vi.waitFor(() => expect(polling.mode).toBe('polling'), WAIT);
    const { session } = await bookSession(supabase, { session: nextSession(clinic), timeZone: 'UTC' });
    await vi.waitFor(
      () => expect(seen.at(-1)?.changes.added.map(({ id }) => id)).toEqual([session.id]),
      WAIT,
    );
  } finally {
    feed?.close();
    await realtime.close();
  }
});
