/** When the database cannot answer in time the request has not happened, and the answer says to send it again. */
import type pg from 'pg';
import { afterEach, beforeAll, describe, expect, it, vi } from 'vitest';
import { connect, connectAs, withConnection } from '../setup/db.ts';
import { brokenInvariants } from '../setup/invariants.ts';
import { type Arena, alone, at, holding, holdOf, nth, openArena } from './rivals.ts';

let arena: Arena;
let request: object;

beforeAll(async () => {
  arena = await openArena(1, 1);
  request = holdOf(nth(arena.therapists, 0), nth(arena.clients, 0), at(1, 600));
});

/** How many rows the clinic has that a request could have left. */
async function leftovers(): Promise<number> {
  return withConnection(async (client) => {
    expect(await brokenInvariants(client, arena.organizationId)).toEqual([]);
    const { rows } = await client.query(
      `select (select count(*) from public.hold_batches where organization_id = $1)::int
        + (select count(*) from private.claims where organization_id = $1)::int
        + (select count(*) from private.idempotency_keys where organization_id = $1)::int as count`,
      [arena.organizationId],
    );
    return rows[0].count;
  });
}

/** The therapist's and the client's locks, ascending: as every path takes them. */
async function keys(client: pg.Client): Promise<string[]> {
  const { rows } = await client.query(
    `select hashtextextended(encode(sha256(uuid_send($1::uuid) || uuid_send(id)), 'hex'), 0)::text as key
    from unnest($2::uuid[]) as id`,
    [arena.organizationId, [nth(arena.therapists, 0), nth(arena.clients, 0)]],
  );
  return rows.map(({ key }) => key).sort((a, b) => (BigInt(a) < BigInt(b) ? -1 : 1));
}

/** Waits until somebody else waits for a lock that this connection has. */
async function isWaitedFor(client: pg.Client): Promise<void> {
  await vi.waitFor(
    async () => {
      const { rows } = await client.query(
        'select from pg_catalog.pg_locks where not granted and pg_backend_pid() = any (pg_blocking_pids(pid))',
      );
      expect(rows).not.toEqual([]);
    },
    { timeout: 60_000, interval: 20 },
  );
}

/** Holds, as an admin, with some setting of the connection; the error it ends with. What the server logs goes to `log`. */
async function holdWith(
  setting: string,
  log: string[] = [],
): Promise<{ code?: string; hint?: string; detail?: string; message: string } | null> {
  const client = await connect();
  client.on('notice', ({ message }) => log.push(message ?? ''));
  try {
    await client.query(setting);
    await client.query('set client_min_messages = log');
    await client.query(
      "select set_config('request.jwt.claims', $1, false), set_config('role', 'authenticated', false)",
      [JSON.stringify({ sub: arena.admin, role: 'authenticated', org_id: arena.organizationId })],
    );
    const { sql, values } = holding(request, 'busy');
    await client.query(sql, values);
    return null;
  } catch (error) {
    const { code, hint, detail, message } = error as pg.DatabaseError;
    return { ...(code && { code }), ...(hint && { hint }), ...(detail && { detail }), message };
  } finally {
    await client.end();
  }
}

const busy = {
  code: 'PT503',
  hint: 'DATABASE_BUSY',
  detail: expect.stringMatching(/^\d+$/),
  message: expect.not.stringMatching(/lock|deadlock|timeout|statement/i),
};

describe('somebody else keeps the therapist and does not let go', () => {
  let other: pg.Client;
  afterEach(async () => {
    await other.query('rollback');
    await other.end();
    expect(await leftovers()).toBe(0);
  });

  it('a statement that times out is answered as busy', async () => {
    other = await connect();
    await other.query('begin');
    for (const key of await keys(other)) await other.query('select pg_advisory_xact_lock($1)', [key]);
    const log: string[] = [];
    // Long enough for a busy machine to have got as far as the lock.
    expect(await holdWith("set statement_timeout = '3s'", log)).toMatchObject(busy);
    // The server's log names both: what gave way, and what the other one runs.
    const told = log.find((line) => line.startsWith('gave way: '));
    expect(told).toMatch(/^gave way: 57014 .* while running \[\d+\] .*hold_sessions/s);
    expect(told).toMatch(/beside it .*pg_advisory_xact_lock/s);
  });

  it('so is one that waits too long for a lock', async () => {
    other = await connect();
    await other.query('begin');
    for (const key of await keys(other)) await other.query('select pg_advisory_xact_lock($1)', [key]);
    expect(await holdWith("set statement_timeout = '30s'")).toMatchObject(busy);
  });

  it('so is the victim of a deadlock, which somebody provokes by locking in the wrong order', async () => {
    other = await connectAs('supabase_admin');
    // Then the hold is the one that finds the deadlock, and gives way.
    await other.query("set deadlock_timeout = '1h'");
    await other.query('begin');
    const [first, second] = await keys(other);
    await other.query('select pg_advisory_xact_lock($1)', [second]);
    const waiting = holdWith("set statement_timeout = '30s'");
    await isWaitedFor(other);
    const [answer] = await Promise.all([
      waiting,
      other.query('select pg_advisory_xact_lock($1)', [first]).catch(() => null),
    ]);
    expect(answer).toMatchObject(busy);
  });
});

it('sent again, with the same key, it succeeds: a busy answer keeps no key', async () => {
  expect(await alone(arena, holding(request, 'busy'))).toMatchObject({ ok: true, replayed: false });
});
