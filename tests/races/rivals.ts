/** Many people at once: a clinic made for it, and fresh connections that all start on one signal. */
import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { addClinic, members } from '../setup/clinics.ts';
import { withConnection } from '../setup/db.ts';
import { stack } from '../setup/stack.ts';
import { midnight } from '../setup/today.ts';

/** Rounds of each race: few, since every round opens and warms its connections anew; `RACE_ROUNDS=150` for a long run. */
export const rounds = Number(process.env.RACE_ROUNDS ?? 2);
/** How long a race may take on a machine that is busy with others. */
export const patience = { timeout: 120_000 + rounds * 60_000 };
/** Rivals in a round. */
export const crowd = Number(process.env.RACE_CROWD ?? 60);

/** A clinic with as many people as a race needs. Nobody keeps hours; `admin` may book everybody. */
export interface Arena {
  organizationId: string;
  admin: string;
  therapists: string[];
  clients: string[];
}

/** Makes one. Its people never sign in: they act over SQL. */
export async function openArena(therapists: number, clients: number): Promise<Arena> {
  const arena: Arena = {
    organizationId: randomUUID(),
    admin: randomUUID(),
    therapists: Array.from({ length: therapists }, () => randomUUID()),
    clients: Array.from({ length: clients }, () => randomUUID()),
  };
  await withConnection((db) =>
    addClinic(db, {
      id: arena.organizationId,
      memberships: [...members('admin', [arena.admin]), ...members('therapist', arena.therapists)],
      therapists: arena.therapists.map((id) => ({ id })),
      clients: arena.clients.map((id) => ({ id })),
    }),
  );
  return arena;
}

/** The n-th element, which must exist. */
export function nth<T>(list: readonly T[], index: number): T {
  const found = list[index % list.length];
  if (found === undefined) throw new Error(`nothing at ${index}`);
  return found;
}

/** A window of UTC time: days from tomorrow, minutes from its midnight. */
export function at(day: number, minute: number, minutes = 60) {
  const start = midnight + (day + 1) * 86_400_000 + minute * 60_000;
  return {
    start_time: new Date(start).toISOString(),
    end_time: new Date(start + minutes * 60_000).toISOString(),
    start_time_offset_minutes: 0,
    end_time_offset_minutes: 0,
  };
}

export type Window = ReturnType<typeof at>;

/** The body of a hold. */
export function holdOf(therapist: string, client: string, window: Window, extra: object = {}) {
  return { therapist_id: therapist, client_id: client, time_zone: 'UTC', ...window, ...extra };
}

/** The data of a successful hold. */
export interface Held {
  holdKey: string;
  holdId: string;
  expiresAt: string;
  holds: { holdKey: string; holdId: string; startTime: string; endTime: string }[];
}

/** The body that confirms a hold as it was held. */
export function confirmationOf(therapist: string, client: string, held: Held) {
  const each = held.holds.map(({ holdKey, startTime, endTime }) => ({
    hold_key: holdKey,
    session: { therapist_id: therapist, client_id: client, start_time: startTime, end_time: endTime },
    start_time_offset_minutes: 0,
    end_time_offset_minutes: 0,
    time_zone: 'UTC',
  }));
  return { ...nth(each, 0), hold_key: held.holdKey, occurrences: each };
}

/** What an RPC returns. */
export interface Outcome {
  ok: boolean;
  status: number;
  code?: string;
  replayed?: boolean;
  retryAfter?: string | null;
  conflicts?: { occurrenceIndex: number; resource: string; blockedBy: string }[];
  // biome-ignore lint/suspicious/noExplicitAny: tests assert the shape they expect of each body
  body?: any;
}

/** How one rival fared: an outcome, or the SQLSTATE of an error. */
export interface Result {
  outcome?: Outcome;
  sqlstate?: string;
  message?: string;
}

/** A statement somebody wants to run. `role` is who: a signed-in admin, or a backend. */
export interface Attempt {
  sql: string;
  values?: unknown[];
  role?: 'authenticated' | 'service_role';
  /** Milliseconds after the start signal. */
  delay?: number;
}

export const holding = (request: object, key: string | null = null): Attempt => ({
  sql: 'select public.hold_sessions($1, $2) as outcome',
  values: [JSON.stringify(request), key],
});
export const confirming = (request: object, key: string | null = null): Attempt => ({
  sql: 'select public.confirm_sessions($1, $2) as outcome',
  values: [JSON.stringify(request), key],
});
export const releasing = (holdKey: string): Attempt => ({
  sql: 'select public.release_hold($1) as outcome',
  values: [JSON.stringify({ hold_key: holdKey })],
});
export const cancelling = (sessionIds: string[]): Attempt => ({
  sql: 'select public.cancel_sessions($1) as outcome',
  values: [JSON.stringify({ session_ids: sessionIds })],
});
/** A session written past the booking functions, as a backend does. */
export const inserting = (
  organizationId: string,
  therapist: string,
  client: string,
  window: Window,
): Attempt => ({
  sql: `insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone)
    values ($1, $2, $3, $4, $5, 'UTC')`,
  values: [organizationId, therapist, client, window.start_time, window.end_time],
  role: 'service_role',
});

/** How many deadlocks the database has met: the booking functions turn them into PT503. */
async function deadlocks(): Promise<number> {
  const { rows } = await withConnection((client) =>
    client.query(
      'select deadlocks::integer as count from pg_catalog.pg_stat_database where datname = current_database()',
    ),
  );
  return rows[0].count;
}

/**
 * Sends a statement as a client does that is told the database is busy: again. On a machine that is busy enough, the last
 * of sixty waits longer than the five seconds after which the database says so.
 */
async function sendAgain(client: pg.Client, { sql, values }: Attempt): Promise<Result> {
  for (let tries = 1; ; tries++)
    try {
      const { rows } = await client.query(sql, values);
      return { outcome: rows[0]?.outcome };
    } catch (error) {
      const { code, message } = error as pg.DatabaseError;
      if (code !== 'PT503' || tries === 30) return { sqlstate: code ?? 'unknown', message };
    }
}

async function freshConnection(): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: stack.dbUrl });
  await client.connect();
  return client;
}

/** Makes a connection one of somebody of the arena. */
async function actAs(
  client: pg.Client,
  arena: Arena,
  role: Attempt['role'] = 'authenticated',
): Promise<pg.Client> {
  const claims = {
    sub: arena.admin,
    role: 'authenticated',
    org_id: arena.organizationId,
    user_role: 'admin',
  };
  // A backend without a token says whose rows it writes: it waits for the others instead of giving way to them.
  await client.query(
    `select set_config('request.jwt.claims', $1, false), set_config('therapist_sessions.organization', $3, false),
      set_config('role', $2, false)`,
    [
      JSON.stringify(role === 'authenticated' ? claims : { role }),
      role,
      role === 'authenticated' ? '' : arena.organizationId,
    ],
  );
  return client;
}

/**
 * Opens a fresh connection for every attempt, then lets all of them go at once, each in its own transaction.
 * @throws Error when the database met a deadlock meanwhile
 */
export async function race(arena: Arena, attempts: Attempt[]): Promise<Result[]> {
  const connections = await Promise.all(
    attempts.map(async ({ role }) => actAs(await freshConnection(), arena, role)),
  );
  try {
    const before = await deadlocks();
    const results = await Promise.all(
      attempts.map(async (attempt, index): Promise<Result> => {
        if (attempt.delay) await new Promise((resolve) => setTimeout(resolve, attempt.delay));
        return sendAgain(nth(connections, index), attempt);
      }),
    );
    await Promise.all(connections.map((client) => client.end()));
    const met = (await deadlocks()) - before;
    if (met > 0) throw new Error(`the database met ${met} deadlocks`);
    return results;
  } finally {
    await Promise.all(connections.map((client) => client.end()));
  }
}

/** Connections whose attempt is over: what a new one has to learn before its first answer takes longer than the answer. */
const idle = new Set<pg.Client>();

/** Runs one attempt by itself and returns its outcome. */
export async function alone(arena: Arena, attempt: Attempt): Promise<Outcome> {
  const [known] = idle;
  if (known) idle.delete(known);
  // It ends with the worker, or with the database before.
  const client = known ?? (await freshConnection());
  if (!known) client.on('error', () => {}).on('end', () => idle.delete(client));
  const { outcome, sqlstate, message } = await sendAgain(await actAs(client, arena, attempt.role), attempt);
  if (outcome) idle.add(client);
  else await client.end();
  if (!outcome) throw new Error(`${sqlstate}: ${message}`);
  return outcome;
}

/** The codes of a round, counted: `{ ok: 1, THERAPIST_HOLD_CONFLICT: 59 }`. */
export function tally(results: Result[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { outcome, sqlstate } of results) {
    const code = sqlstate ?? (outcome === undefined || outcome.ok ? 'ok' : (outcome.code ?? 'none'));
    counts[code] = (counts[code] ?? 0) + 1;
  }
  return counts;
}
