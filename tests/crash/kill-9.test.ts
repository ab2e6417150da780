/**
 * The power goes, in the middle of 200 bookings over HTTP. Afterwards every answered 200 is there, nothing is half-made,
 * and sending the rest again, with the same keys, books each of them exactly once.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Stack, startStack } from '../../local/stack.ts';
import { at, confirmationOf, type Held, holdOf, nth } from '../races/rivals.ts';
import { brokenInvariants } from '../setup/invariants.ts';

const brightPath = 'a0000000-0000-4000-8000-0000000000a0';
const therapists = [3, 4, 5].map((number) => `a0000000-0000-4000-8000-00000000000${number}`);
const clients = [1, 2, 3].map((number) => `a0000000-0000-4000-8000-00000000010${number}`);

/** One of the bookings: a series of three, held and confirmed. */
interface Booking {
  therapist: string;
  client: string;
  held?: Held;
  sessionIds?: string[];
}

let stack: Stack;
let token: string;

beforeAll(async () => {
  stack = await startStack();
  await withDatabase((client) =>
    client.query('update public.therapists set availability_hours = null where organization_id = $1', [
      brightPath,
    ]),
  );
  const response = await fetch(`${stack.apiUrl}/auth/v1/token?grant_type=password`, {
    method: 'POST',
    headers: { apikey: stack.publishableKey, 'content-type': 'application/json' },
    body: JSON.stringify({ email: 'admin@brightpath.test', password: 'demo-password-1234' }),
  });
  token = ((await response.json()) as { access_token: string }).access_token;
});
afterAll(() => stack?.stop());

async function withDatabase<T>(use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: stack.dbUrl });
  // A server that is killed ends its connections with an error nobody waits for.
  client.on('error', () => {});
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}

/** The data of a 200; null for any failure, which must be a typed one unless the connection broke. */
async function call<T>(name: string, body: object, key: string): Promise<T | null> {
  let response: Response;
  let text: string;
  try {
    response = await fetch(`${stack.apiUrl}/functions/v1/${name}`, {
      method: 'POST',
      headers: {
        apikey: stack.publishableKey,
        authorization: `Bearer ${token}`,
        'content-type': 'application/json',
        'idempotency-key': key,
      },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(30_000),
    });
    text = await response.text();
  } catch {
    return null;
  }
  if (response.status === 200) return (JSON.parse(text) as { data: T }).data;
  // The booking itself is never refused: nobody else wants these times.
  expect(response.status, text).toBeGreaterThanOrEqual(500);
  expect(text).not.toMatch(/postgres|relation|constraint|ECONN|terminat|pg_|stack/i);
  return null;
}

/** Books what is not booked yet, as a client that keeps its keys does; false when anything failed. */
async function book(booking: Booking, index: number, round: string): Promise<boolean> {
  const windows = [0, 1, 2].map((week) => at(40 + Math.floor(index / 3) + week * 70, 600));
  const { therapist, client } = booking;
  if (!booking.held) {
    const body = holdOf(therapist, client, nth(windows, 0), { occurrences: windows, hold_seconds: 900 });
    const held = await call<Held>('sessions-hold', body, `${round}-hold-${index}`);
    if (!held) return false;
    booking.held = held;
  }
  if (!booking.sessionIds) {
    const confirmed = await call<{ sessions: { id: string }[] }>(
      'sessions-confirm',
      confirmationOf(therapist, client, booking.held),
      `${round}-confirm-${index}`,
    );
    if (!confirmed) return false;
    booking.sessionIds = confirmed.sessions.map(({ id }) => id);
  }
  return true;
}

/** Everything that was answered with a 200 is in the tables, and nothing that should not be. */
async function expectNothingLost(bookings: Booking[]): Promise<void> {
  await withDatabase(async (client) => {
    expect(await brokenInvariants(client)).toEqual([]);
    const held = bookings.flatMap((booking) => booking.held?.holds.map(({ holdId }) => holdId) ?? []);
    const { rows: holds } = await client.query(
      'select count(*)::int as count from public.session_holds where id = any ($1)',
      [held],
    );
    expect(holds).toEqual([{ count: held.length }]);
    const booked = bookings.flatMap(({ sessionIds }) => sessionIds ?? []);
    const { rows: sessions } = await client.query(
      "select count(*)::int as count from public.sessions where id = any ($1) and status = 'scheduled'",
      [booked],
    );
    expect(sessions).toEqual([{ count: booked.length }]);
  });
}

/** Books 200 series, kills something when a third of them are done, repairs it, and books the rest. */
async function through(round: string, kill: () => void, repair: () => Promise<void>): Promise<void> {
  const bookings: Booking[] = Array.from({ length: 200 }, (_, index) => ({
    therapist: nth(therapists, index),
    client: nth(clients, index),
  }));
  const begun = new Date();
  let started = 0;
  let done = 0;
  let killed = false;
  const work = async () => {
    while (started < bookings.length) {
      const index = started++;
      if (await book(nth(bookings, index), index, round)) done += 1;
      if (done >= 60 && !killed) {
        killed = true;
        kill();
      }
      // While everything is down the rest would be over in a moment.
      if (killed) await sleep(5);
    }
  };
  await Promise.all(Array.from({ length: 12 }, work));
  await repair();
  const answered = bookings.filter(({ sessionIds }) => sessionIds).length;
  expect(answered).toBeGreaterThanOrEqual(60);
  expect(answered).toBeLessThan(200);
  await expectNothingLost(bookings);

  // The client sends again what was not answered: with the same keys, so that nothing happens twice.
  for (let attempt = 0; attempt < 20 && bookings.some(({ sessionIds }) => !sessionIds); attempt++) {
    const left = [...bookings.entries()].filter(([, { sessionIds }]) => !sessionIds);
    const again = async () => {
      for (let next = left.shift(); next; next = left.shift()) {
        const [index, booking] = next;
        if (!(await book(booking, index, round))) await sleep(100);
      }
    };
    await Promise.all(Array.from({ length: 8 }, again));
  }
  expect(bookings.filter(({ sessionIds }) => !sessionIds)).toEqual([]);
  await expectNothingLost(bookings);
  await withDatabase(async (client) => {
    const { rows } = await client.query(
      `select count(distinct batch.id)::int as batches, count(session.id)::int as sessions
        from public.hold_batches as batch
        join public.session_holds as hold on hold.batch_id = batch.id
        left join public.sessions as session on session.id = hold.id
        where batch.created_at >= $1`,
      [begun],
    );
    expect(rows).toEqual([{ batches: 200, sessions: 600 }]);
    // The next round books the same times.
    await client.query(
      "update public.sessions set status = 'cancelled' where start_time > now() + interval '30 days'",
    );
  });
}

it('kill -9 of the database', { timeout: 300_000 }, async () => {
  await through(
    'database',
    () => process.kill(stack.pids.postgres, 'SIGKILL'),
    () => stack.restartDatabase(),
  );
});

it('kill -9 of the functions', { timeout: 300_000 }, async () => {
  await through(
    'functions',
    () => process.kill(stack.pids.functions ?? 0, 'SIGKILL'),
    () => stack.restartFunctions(),
  );
});
