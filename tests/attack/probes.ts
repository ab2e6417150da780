/**
 * What an attacker tries who has more than a browser: SQL as a user, two connections at once, or the database itself. Each
 * probe leaves everything as it was, and reports what should not have been possible.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import pg from 'pg';
import type { Stack } from '../../local/stack.ts';
import type { Found } from './oracles.ts';
import { BRIGHT, type World } from './world.ts';

const RBT = 'a0000000-0000-4000-8000-000000000004';
const PARENT = 'a0000000-0000-4000-8000-000000000006';

type Probe = (db: pg.Client, world: World, found: Found, stack: Stack) => Promise<void>;

/** Becomes a user, as the REST service does, until the transaction ends. */
async function become(db: pg.ClientBase, sub: string): Promise<void> {
  const claims = JSON.stringify({ sub, org_id: BRIGHT, role: 'authenticated' });
  await db.query(
    "select set_config('request.jwt.claims', $1, true), set_config('role', 'authenticated', true)",
    [claims],
  );
}

/** Runs, and undoes whatever was done. */
async function undone(db: pg.ClientBase, begin: string, run: () => Promise<void>): Promise<void> {
  await db.query(begin);
  try {
    await run();
  } finally {
    await db.query('rollback');
  }
}

/** How a statement ended: `ok`, the code of a refusal, or the SQLSTATE. */
async function ending(db: pg.ClientBase, statement: string, values: unknown[] = []): Promise<string> {
  try {
    const { rows } = await db.query(statement, values);
    const outcome = rows[0]?.outcome;
    return outcome?.ok === false ? outcome.code : 'ok';
  } catch (error) {
    return (error as pg.DatabaseError).code ?? String(error);
  }
}

async function withAnother<T>(stack: Stack, use: (db: pg.Client) => Promise<T>): Promise<T> {
  const db = new pg.Client({ connectionString: stack.dbUrl });
  await db.connect();
  try {
    return await use(db);
  } finally {
    await db.end();
  }
}

/** A hold that the technician of the seed may have. */
async function ownHold(db: pg.ClientBase): Promise<string> {
  let hold = {};
  await undone(db, 'begin', async () => {
    await become(db, RBT);
    const { rows } = await db.query<{ client_id: string; start_time: string; end_time: string }>(
      `select client_id, to_json(start_time) as start_time, to_json(start_time + interval '1 hour') as end_time
        from public.caseloads
        cross join lateral public.find_open_slots($2, now() + interval '2 days', now() + interval '40 days', 60, client_id) as slot
        where organization_id = $1 and therapist_id = $2
        order by slot.start_time, client_id limit 1`,
      [BRIGHT, RBT],
    );
    hold = { therapist_id: RBT, time_zone: 'UTC', ...rows[0] };
  });
  return JSON.stringify(hold);
}

/** Edits of the audit that `audit.verify()` must name. */
const forgeries: Record<string, string> = {
  'with the id of a genuine event, at another time': `
    insert into audit.events
    select (jsonb_populate_record(event, jsonb_build_object('recorded_at', event.recorded_at - interval '1 second', 'action', 'note.read'))).*
    from audit.events as event where organization_id = $1 limit 1`,
  'as of years ago': `
    insert into audit.events
    select (jsonb_populate_record(event, jsonb_build_object('id', gen_random_uuid(), 'recorded_at', timestamptz '2021-01-01Z'))).*
    from audit.events as event where organization_id = $1 limit 1`,
};
const removals: Record<string, string> = {
  'the head of a chain was removed': 'delete from audit.chains where organization_id = $1',
  'an event was deleted, and all time written down as archived': `
    with gone as (delete from audit.events where organization_id = $1 and action like 'session.%' returning 1)
    insert into audit.archives (from_time, to_time, archived_at, location, events, digest)
    select '-infinity', 'infinity', now(), 'x', count(*), sha256('') from gone`,
};

const forgedAudit: Probe = async (db, _world, found) => {
  for (const [what, statement] of [...Object.entries(forgeries), ...Object.entries(removals)])
    await undone(db, 'begin', async () => {
      for (const table of ['events', 'seals', 'chains', 'archives'])
        await db.query(`alter table audit.${table} disable trigger user`);
      await db.query('alter table audit.archives drop constraint if exists archives_one_past_quarter');
      const done = await ending(db, statement, [BRIGHT]);
      if (done !== 'ok') throw new Error(`${what}: ${done}`);
      const { rows } = await db.query('select problem from audit.verify()');
      if (rows.length === 0) found(`the audit does not see an event forged: ${what}`, statement, '');
    });
};

const derivedRows: Probe = async (db, _world, found) => {
  for (const table of ['private.claims', 'public.authorization_units'])
    await undone(db, 'begin', async () => {
      const done = await ending(db, `delete from ${table} where organization_id = $1`, [BRIGHT]);
      if (done === 'ok') found(`the owner deletes ${table} unhindered`, '', '');
    });
};

const oldSnapshots: Probe = async (db, _world, found) => {
  const hold = await ownHold(db);
  for (const isolation of ['repeatable read', 'serializable'])
    await undone(db, `begin isolation level ${isolation}`, async () => {
      await become(db, RBT);
      const done = await ending(db, 'select public.hold_sessions($1) as outcome', [hold]);
      if (done === 'ok') found(`a booking is decided by an old snapshot (${isolation})`, hold, done);
    });
};

const foreseeableLocks: Probe = async (db, world, found) => {
  const [therapist = ''] = world.therapists;
  await undone(db, 'begin', async () => {
    await db.query('select private.lock_resources($1, array[$2::uuid])', [BRIGHT, therapist]);
    const { rows } = await db.query(
      `select lock.key from (
          select (classid::bigint << 32 | objid::bigint) as key
          from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()
        ) as lock
        where lock.key in (
          select hash from unnest(array[$1 || $2, $1 || ':' || $2, $1 || '/' || $2, $2]) as text,
            lateral (values (hashtextextended(text, 0)), (hashtextextended(text, 1)), (hashtext(text)::bigint)) as each (hash)
          union all select uuid_hash_extended($2::uuid, 0))`,
      [BRIGHT, therapist],
    );
    if (rows.length > 0) found('an id that an admin chooses chooses a lock', '', rows);
  });
};

const authorityBehindTheLock: Probe = async (db, _world, found, stack) => {
  const hold = await ownHold(db);
  await withAnother(stack, async (booker) => {
    await undone(db, 'begin', async () => {
      const { rows: pids } = await booker.query('select pg_backend_pid() as pid');
      await db.query('select private.lock_resources($1, array[$2::uuid])', [BRIGHT, RBT]);
      await booker.query('begin');
      await become(booker, RBT);
      const waiting = ending(booker, 'select public.hold_sessions($1) as outcome', [hold]);
      let over = false;
      void waiting.finally(() => {
        over = true;
      });
      while (!over) {
        const { rows } = await db.query('select cardinality(pg_blocking_pids($1)) > 0 as waits', [
          pids[0].pid,
        ]);
        if (rows[0].waits) break;
      }
      await db.query(
        "update public.memberships set role = 'client' where organization_id = $1 and user_id = $2",
        [BRIGHT, RBT],
      );
      await db.query('commit');
      const done = await waiting;
      if (done === 'ok') found('whoever lost their role while they waited still books', hold, done);
      await booker.query('rollback');
    });
    await db.query(
      "update public.memberships set role = 'therapist' where organization_id = $1 and user_id = $2",
      [BRIGHT, RBT],
    );
  });
};

const locksOfTheUnauthorized: Probe = async (db, world, found, stack) => {
  const session = world.sessions[0]?.id;
  const { full } = world;
  const calls: Record<string, object> = {
    move_group: {
      group_id: full.group_id,
      start_time: full.start_time,
      end_time: full.end_time,
      time_zone: 'UTC',
    },
    cancel_sessions: { session_ids: [session] },
    extend_series: { series_id: full.group_id, count: 1 },
    save_note_draft: {
      ...{ session_id: session, base_version: 0, id: full.group_id, content_mac: '0'.repeat(64) },
      ciphertext: `tsb1.${world.keyId}.AAAAAAAAAAAAAAAA.${'A'.repeat(40)}`,
      proof: `tsp1.local-development.${'A'.repeat(43)}`,
    },
    start_session: { session_id: session },
    mark_no_show: { session_id: session },
  };
  await withAnother(stack, async (caller) => {
    await undone(db, 'begin', async () => {
      await db.query('select private.take_organization($1)', [BRIGHT]);
      await db.query('select from public.session_groups where organization_id = $1 for update', [BRIGHT]);
      await db.query('select from public.sessions where organization_id = $1 for update', [BRIGHT]);
      const { rows: pids } = await caller.query('select pg_backend_pid() as pid');
      for (const [name, request] of Object.entries(calls))
        await undone(caller, 'begin', async () => {
          await become(caller, PARENT);
          let over = false;
          const running = ending(caller, `select public.${name}($1) as outcome`, [
            JSON.stringify(request),
          ]).finally(() => {
            over = true;
          });
          while (!over) {
            const { rows } = await db.query('select cardinality(pg_blocking_pids($1)) > 0 as waits', [
              pids[0].pid,
            ]);
            if (!rows[0].waits) continue;
            found('somebody who may never do it waits for a lock', name, '');
            await db.query('select pg_cancel_backend($1)', [pids[0].pid]);
            break;
          }
          await running;
        });
    });
  });
};

const refusalsWithoutEnd: Probe = async (db, world, found) => {
  await undone(db, 'begin', async () => {
    await db.query('update private.rate_limits set per_minute = 3');
    await become(db, PARENT);
    const request = JSON.stringify({ session_ids: [world.sessions[0]?.id] });
    let last = '';
    for (let time = 0; time < 8; time++)
      last = await ending(db, 'select public.cancel_sessions($1) as outcome', [request]);
    if (last !== 'TOO_MANY_REQUESTS') found('nobody is refused too often', request, last);
  });
};

const leftovers: Probe = async (db, _world, found) => {
  await undone(db, 'begin', async () => {
    await db.query(
      `insert into private.idempotency_keys (organization_id, user_id, endpoint, idempotency_key, fingerprint, status, response, created_at)
        values ($1, $2, 'sessions-hold', 'left over', '', 200, '{}', now() - interval '3 days')`,
      [BRIGHT, RBT],
    );
    await db.query('select private.sweep()');
    const { rows } = await db.query(
      "select from private.idempotency_keys where idempotency_key = 'left over'",
    );
    if (rows.length > 0) found('kept answers stay for ever', '', '');
  });
};

const bodiesWithoutEnd: Probe = async (_db, _world, found, stack) => {
  const { hostname, port } = new URL(stack.apiUrl);
  const ask = (signal: AbortSignal) =>
    fetch(`${stack.apiUrl}/functions/v1/sessions-hold`, { method: 'POST', body: '{}', signal }).then(
      ({ status }) => status,
      () => 0,
    );
  /** Asks beside three hundred bodies: 0 when one of those was given up before there was an answer. */
  const askBeside = async () => {
    const given = new AbortController();
    const sockets: Socket[] = [];
    // One after the other, so that they are taken in before the question.
    for (let number = 0; number < 300; number++) {
      const socket = connect(Number(port), hostname);
      sockets.push(socket.on('error', () => {}).on('data', () => given.abort()));
      await once(socket, 'connect');
      socket.write(
        'POST /functions/v1/sessions-hold HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{',
      );
    }
    const status = await ask(AbortSignal.any([given.signal, AbortSignal.timeout(60_000)]));
    for (const socket of sockets) socket.destroy();
    return status;
  };
  // Bodies are given up after five seconds. A machine may be so busy that an answer takes as long, but not each time.
  const during = (await askBeside()) || (await askBeside());
  const afterwards = await ask(AbortSignal.timeout(60_000));
  if (during !== 401 || afterwards !== 401)
    found('bodies that never end keep everybody from the functions', '', `${during}, ${afterwards}`);
};

const probes: Record<string, Probe> = {
  forgedAudit,
  derivedRows,
  oldSnapshots,
  foreseeableLocks,
  authorityBehindTheLock,
  locksOfTheUnauthorized,
  refusalsWithoutEnd,
  leftovers,
  bodiesWithoutEnd,
};

/** Runs every probe. */
export async function probe(db: pg.Client, world: World, found: Found, stack: Stack): Promise<void> {
  for (const [name, run] of Object.entries(probes))
    try {
      await run(db, world, found, stack);
    } catch (error) {
      found(`probe ${name} could not be run`, '', String(error));
    }
}
