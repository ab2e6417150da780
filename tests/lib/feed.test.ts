/** `createScheduleFeed` on a stack without Realtime: it looks every so often. */
import { afterEach, beforeAll, expect, it, vi } from 'vitest';
import { WebSocketServer } from 'ws';
import {
  bookSession,
  cancelSessions,
  createScheduleFeed,
  type ScheduleChanges,
  type ScheduleFeed,
  type ScheduleFeedOptions,
} from '../../src/lib/index.ts';
import { stack } from '../setup/stack.ts';
import { anonymousClient, type Clinic, clientOf, nextSession, openClinic, plusDays } from './clinic.ts';
import { startFaultyProxy } from './faulty-proxy.ts';

let clinic: Clinic;
let supabase: Awaited<ReturnType<typeof clientOf>>;
let feed: ScheduleFeed | undefined;
beforeAll(async () => {
  clinic = await openClinic();
  supabase = await clientOf(clinic.rbt);
});
afterEach(() => feed?.close());

/** Waits for something that comes without being asked for, however busy the machine is. */
const soon = (check: () => void) => vi.waitFor(check, { timeout: 60_000, interval: 25 });

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
  await soon(() => expect(seen).toHaveLength(1));
  expect(seen[0]).toMatchObject({ count: 0 });

  const { sessions } = await bookSession(supabase, {
    session: nextSession(clinic),
    recurrence: { rule: 'FREQ=WEEKLY;COUNT=3' },
    timeZone: 'UTC',
  });
  await soon(() => expect(seen.at(-1)?.changes.added).toHaveLength(3));
  expect(seen.at(-1)).toMatchObject({ count: 3, changes: { changed: [], removed: [] } });

  const [first] = sessions;
  await cancelSessions(supabase, { sessionIds: [first?.id ?? ''] });
  await soon(() =>
    expect(seen.at(-1)?.changes.changed).toMatchObject([{ id: first?.id, status: 'cancelled' }]),
  );
});

it('of scheduled sessions only loses one that is cancelled', async () => {
  const from = new Date().toISOString();
  const { seen } = follow({
    query: { from, to: plusDays(from, 365), clientId: clinic.clients[0], statuses: ['scheduled'] },
  });
  const { session } = await bookSession(supabase, { session: nextSession(clinic), timeZone: 'UTC' });
  await soon(() =>
    expect(seen.flatMap(({ changes }) => changes.added).map(({ id }) => id)).toContain(session.id),
  );
  await cancelSessions(supabase, { sessionIds: [session.id] });
  await soon(() => expect(seen.at(-1)?.changes.removed).toMatchObject([{ id: session.id }]));
});

it('looks at once when told to', async () => {
  const { feed: slow, seen } = follow({ pollIntervalMs: 60_000 });
  await soon(() => expect(seen).toHaveLength(1));
  await bookSession(supabase, { session: nextSession(clinic), timeZone: 'UTC' });
  await slow.refresh();
  expect(seen).toHaveLength(2);
});

it('says nothing more once it is closed', async () => {
  const { feed: closed, seen } = follow();
  await soon(() => expect(seen).toHaveLength(1));
  closed.close();
  await bookSession(supabase, { session: nextSession(clinic), timeZone: 'UTC' });
  await new Promise((resolve) => setTimeout(resolve, 400));
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
  await soon(() => expect(errors.length).toBeGreaterThan(1));
  expect(errors[0]).toMatchObject({ code: 'UNAUTHENTICATED' });
});

it('falls back to looking where there is no Realtime', async () => {
  const { feed: polling } = follow();
  await soon(() => expect(polling.mode).toBe('polling'));
});

/**
 * What Realtime does on the wire, as far as a feed sees it: the local stack has none. `follows` says whether the table is
 * enabled for it; `tell` reports a change the way the platform does.
 */
async function startRealtime(follows: boolean) {
  const proxy = await startFaultyProxy(stack.apiUrl);
  const sockets = new WebSocketServer({ noServer: true });
  const joined: { topic: string; filter: string | undefined; send: (message: unknown[]) => void }[] = [];
  proxy.server.on('upgrade', (request, socket, head) => {
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
    await soon(() => expect(live.mode).toBe('realtime'));
    expect(realtime.joined.map(({ filter }) => filter)).toEqual([`therapist_id=eq.${clinic.rbt.id}`]);

    const { session } = await bookSession(supabase, { session: nextSession(clinic), timeZone: 'UTC' });
    realtime.tell({ id: 'of-another-clinic', client_id: 'somebody' });
    await soon(() => expect(seen.at(-1)?.changes.added.map(({ id }) => id)).toEqual([session.id]));
    expect(JSON.stringify(seen)).not.toContain('of-another-clinic');
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
    await soon(() => expect(polling.mode).toBe('polling'));
    const { session } = await bookSession(supabase, { session: nextSession(clinic), timeZone: 'UTC' });
    await soon(() => expect(seen.at(-1)?.changes.added.map(({ id }) => id)).toEqual([session.id]));
  } finally {
    feed?.close();
    await realtime.close();
  }
});
