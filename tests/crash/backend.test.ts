/**
 * `kill -9` of a connection's process, in the middle of what it does: the server then throws everybody out and recovers.
 * What was acknowledged is there. What was not is there whole, or not at all: holds, confirmations, cancellations, imports
 * and completions alike.
 */
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { expect, it } from 'vitest';
import { type Arena, at, confirmationOf, holdOf, nth, openArena } from '../races/rivals.ts';
import { withConnection } from '../setup/db.ts';
import { brokenInvariants } from '../setup/invariants.ts';
import { signNotes } from '../setup/signing.ts';
import { stack } from '../setup/stack.ts';

const WORKERS = 6;
const KILLS = 4;
const SERIES = 5;
const IMPORTED = 20;
const HOUR = 3_600_000;

/** Something that was asked for, what of it there is to find, and whether the answer came. */
interface Deed {
  what: string;
  /** Counts what is there of it. */
  query: string;
  values: unknown[];
  /** How many there are when it was done. */
  whole: number;
  acknowledged: boolean;
}

/** A connection as the admin; until the server is there again. */
async function connected(arena: Arena): Promise<pg.Client> {
  for (const giveUp = Date.now() + 60_000; ; ) {
    const client = new pg.Client({ connectionString: stack.dbUrl });
    client.on('error', () => {});
    try {
      await client.connect();
      await client.query(
        "select set_config('request.jwt.claims', $1, false), set_config('role', 'authenticated', false)",
        [JSON.stringify({ sub: arena.admin, role: 'authenticated', org_id: arena.organizationId })],
      );
      return client;
    } catch (error) {
      if (Date.now() > giveUp) throw error;
      await sleep(50);
    }
  }
}

/** Asks again when the database was too busy, which does nothing: on a slow machine an import keeps the others waiting. */
async function patiently(db: pg.Client, sql: string, values: unknown[]) {
  for (;;)
    try {
      return (await db.query(sql, values)).rows[0].outcome;
    } catch (error) {
      if ((error as pg.DatabaseError).code !== 'PT503') throw error;
    }
}

/** Sessions of a worker's own, in progress, over and signed: they can be completed. */
async function givenVisits(arena: Arena, worker: number, many: number): Promise<string[]> {
  const ids = Array.from({ length: many }, () => randomUUID());
  const begins = Math.floor(Date.now() / HOUR - 24 * 20) * HOUR;
  await withConnection(async (db) => {
    await db.query(
      `insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code, location_type)
      select $1, made.id, $3, $4, $5::timestamptz + made.index * interval '1 hour',
        $5::timestamptz + (made.index + 1) * interval '1 hour', 'UTC', '97153', 'clinic'
      from unnest($2::uuid[]) with ordinality as made (id, index)`,
      [
        arena.organizationId,
        ids,
        nth(arena.therapists, worker),
        nth(arena.clients, worker),
        new Date(begins),
      ],
    );
    await db.query("update public.sessions set status = 'in_progress' where id = any ($1)", [ids]);
    await db.query(
      `insert into public.session_visits (organization_id, session_id, actual_start_time, actual_end_time)
      select organization_id, id, start_time, end_time from public.sessions where id = any ($1)`,
      [ids],
    );
    await signNotes(db, arena.organizationId, ids);
  });
  return ids;
}

it('kill -9 of a connection’s process', { timeout: 300_000 }, async () => {
  const arena = await openArena(WORKERS, WORKERS);
  const { organizationId } = arena;
  const prepared: string[][] = [];
  for (let worker = 0; worker < WORKERS; worker++) prepared.push(await givenVisits(arena, worker, 60));
  const deeds: Deed[] = [];
  let acknowledged = 0;
  let killed = 0;
  const cutOff = () => deeds.some((deed) => !deed.acknowledged);
  const isOver = () => killed >= KILLS && acknowledged >= 40 * KILLS;

  const work = async (worker: number) => {
    const visits = nth(prepared, worker);
    const [therapist, client] = [nth(arena.therapists, worker), nth(arena.clients, worker)];
    let db = await connected(arena);
    /** Asks, and remembers what was to come of it. Null: there was no answer. */
    const ask = async (rpc: string, request: object, query: string, values: unknown[], whole: number) => {
      const deed: Deed = {
        what: rpc,
        query,
        values: [organizationId, ...values],
        whole,
        acknowledged: false,
      };
      deeds.push(deed);
      try {
        const outcome = await patiently(db, `select public.${rpc}($1) as outcome`, [JSON.stringify(request)]);
        expect(outcome, rpc).toMatchObject({ ok: true });
        deed.acknowledged = true;
        acknowledged += 1;
        return outcome.body;
      } catch (error) {
        // Nobody else wants what a worker wants: only the end of the connection is no answer.
        if ((error as pg.DatabaseError).severity === 'ERROR' || !(error instanceof Error)) throw error;
        if (error.name === 'AssertionError') throw error;
        await db.end().catch(() => {});
        db = await connected(arena);
        return null;
      }
    };
    for (let day = 1; !isOver() && day < 600; day++) {
      const windows = Array.from({ length: SERIES }, (_, index) => at(day, 480 + 60 * index));
      const span = [therapist, windows[0]?.start_time, windows.at(-1)?.end_time];
      const between = 'therapist_id = $2 and start_time >= $3 and end_time <= $4';
      const held = await ask(
        'hold_sessions',
        { ...holdOf(therapist, client, nth(windows, 0)), occurrences: windows },
        `select count(*)::int as count from public.session_holds as hold where organization_id = $1 and batch_id in (
          select id from public.hold_batches where therapist_id = $2) and start_time >= $3 and end_time <= $4`,
        span,
        SERIES,
      );
      const booked =
        held &&
        (await ask(
          'confirm_sessions',
          confirmationOf(therapist, client, held),
          `select count(*)::int as count from public.sessions where organization_id = $1 and ${between}`,
          span,
          SERIES,
        ));
      if (booked)
        await ask(
          'cancel_sessions',
          { session_ids: booked.sessions.map(({ id }: { id: string }) => id) },
          `select count(*)::int as count from public.sessions where organization_id = $1 and ${between} and status = 'cancelled'`,
          span,
          SERIES,
        );
      const name = `${worker}/${day}/`;
      const rows = Array.from({ length: IMPORTED }, (_, index) => ({
        ...{ external_id: `${name}${index}`, therapist_id: therapist, client_id: client, time_zone: 'UTC' },
        start_time: at(day, 840 + 20 * index, 20).start_time,
        end_time: at(day, 840 + 20 * index, 20).end_time,
      }));
      await ask(
        'import_sessions',
        { rows },
        `select count(session.id)::int as count from private.imported_sessions as known
          join public.sessions as session on session.id = known.session_id
          where known.organization_id = $1 and known.external_id like $2`,
        [`${name}%`],
        IMPORTED,
      );
      const visit = visits.pop();
      if (visit)
        await ask(
          'complete_session',
          { session_id: visit, other_day_reason: 'documented late' },
          "select count(*)::int as count from public.sessions where organization_id = $1 and id = $2 and status = 'completed'",
          [visit],
          1,
        );
    }
    await db.end().catch(() => {});
  };

  const kill = async () => {
    for (const giveUp = Date.now() + 240_000; (killed < KILLS || !cutOff()) && Date.now() < giveUp; ) {
      await sleep(5);
      if (acknowledged < 40 * killed + 20) continue;
      const watcher = await connected(arena);
      // One that is busy; which one, and with what, is left to the machine.
      const { rows } = await watcher
        .query(
          "reset role; select pid from pg_catalog.pg_stat_activity where state = 'active' and query like 'select public.%'",
        )
        .then((results) => (results as unknown as pg.QueryResult<{ pid: number }>[])[1] ?? { rows: [] });
      const victim = rows[Math.floor(Math.random() * rows.length)];
      await watcher.end();
      if (!victim) continue;
      try {
        process.kill(victim.pid, 'SIGKILL');
        killed += 1;
      } catch {
        // It has ended by itself.
      }
    }
  };
  await Promise.all([kill(), ...Array.from({ length: WORKERS }, (_, worker) => work(worker))]);
  expect(killed).toBeGreaterThanOrEqual(KILLS);

  const after = await connected(arena);
  await after.query('reset role');
  try {
    const lost: string[] = [];
    for (const { what, query, values, whole, acknowledged } of deeds) {
      const { rows } = await after.query(query, values);
      const { count } = rows[0];
      if (count !== whole && (acknowledged || count !== 0))
        lost.push(`${what}: ${count} of ${whole}${acknowledged ? ', acknowledged' : ''}`);
    }
    expect(lost).toEqual([]);
    expect(cutOff()).toBe(true);
    expect(new Set(deeds.map(({ what }) => what)).size).toBe(5);
    expect(await brokenInvariants(after, organizationId)).toEqual([]);
    const { rows: found } = await after.query('select * from audit.verify($1)', [organizationId]);
    expect(found).toEqual([]);
  } finally {
    await after.end();
  }
  // The rest of the stack has its connections again.
  await expect
    .poll(
      async () =>
        (
          await fetch(`${stack.apiUrl}/rest/v1/organizations?select=id`, {
            headers: { apikey: stack.secretKey },
          })
        ).status,
      { timeout: 60_000 },
    )
    .toBe(200);
});
