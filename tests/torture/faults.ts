/** What goes wrong meanwhile. */
import { readFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import type { Stack } from '../../local/stack.ts';
import type { Tally } from './history.ts';
import type { Pooler } from './pooler.ts';
import { random, weighted } from './random.ts';

/** When the product may answer with 5xx, or not at all: milliseconds since the epoch. */
export interface Outage {
  kind: string;
  from: number;
  to: number;
}

async function childrenOf(pid: number): Promise<number[]> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, 'utf8').catch(() => '');
  return text.split(' ').map(Number).filter(Boolean);
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // Gone already.
  }
}

/** Ends a connection without waiting for a server that is gone: what it left over may hold the connection for ever. */
export async function hangUp(client: pg.Client): Promise<void> {
  await Promise.race([client.end().catch(() => {}), sleep(2000)]);
}

/** Picks a backend that is inside a transaction of the torture, or null. */
async function busyBackend(dbUrl: string): Promise<number | null> {
  const client = new pg.Client({
    connectionString: dbUrl,
    connectionTimeoutMillis: 3000,
    query_timeout: 5000,
  });
  client.on('error', () => {});
  try {
    await client.connect();
    const { rows } = await client.query(`
      select pid from pg_catalog.pg_stat_activity
      where backend_type = 'client backend' and xact_start is not null and pid <> pg_backend_pid()
      order by random() limit 1`);
    return rows[0]?.pid ?? null;
  } catch {
    return null;
  } finally {
    await hangUp(client);
  }
}

/**
 * Breaks something every few seconds until `running` says no.
 *
 * - `postgres`: kill -9 of the server and all its processes, then a restart, which recovers from the log
 * - `postmaster`: kill -9 of the first process only; the others finish what they are at
 * - `backend`: kill -9 of one connection's process; the server throws everybody out and recovers
 * - `terminated`: `pg_terminate_backend` of somebody in a transaction
 * - `functions`: kill -9 of the process that serves the functions
 * - `pooler`: kill -9 of the pooler
 */
export async function breakThings(options: {
  seed: number;
  stack: Stack;
  pooler: Pooler | null;
  http: boolean;
  faults: Tally;
  outages: Outage[];
  running: () => boolean;
  say: (line: string) => void;
  /** Before the database dies, with it the statistics. */
  beforeCrash: () => Promise<void>;
}): Promise<void> {
  const { seed, stack, pooler, http, faults, outages, running, say } = options;
  for (let number = 0; ; number++) {
    const chance = random(seed, 'fault', number);
    const until = Date.now() + chance.integer(2500, 6000);
    while (Date.now() < until && running()) await sleep(100);
    if (!running()) return;
    const kind = weighted(chance, {
      ...{ postgres: 3, postmaster: 2, backend: 3, terminated: 4 },
      functions: http ? 3 : 0,
      pooler: pooler ? 2 : 0,
    });
    const outage: Outage = { kind, from: Date.now(), to: Number.POSITIVE_INFINITY };
    outages.push(outage);
    if (kind === 'postgres' || kind === 'postmaster') {
      await options.beforeCrash();
      const { postgres } = stack.pids;
      const victims = kind === 'postgres' ? await childrenOf(postgres) : [];
      for (const pid of [postgres, ...victims]) kill(pid);
      await stack.restartDatabase();
    } else if (kind === 'backend' || kind === 'terminated') {
      await options.beforeCrash();
      const pid = await busyBackend(stack.dbUrl);
      if (pid === null) {
        outages.pop();
        continue;
      }
      if (kind === 'backend') kill(pid);
      else {
        const client = new pg.Client({
          connectionString: stack.dbUrl,
          connectionTimeoutMillis: 3000,
          query_timeout: 5000,
        });
        client.on('error', () => {});
        await client.connect().catch(() => {});
        await client.query('select pg_terminate_backend($1)', [pid]).catch(() => {});
        await hangUp(client);
      }
    } else if (kind === 'functions') {
      if (stack.pids.functions) kill(stack.pids.functions);
      await stack.restartFunctions();
    } else await pooler?.crash();
    outage.to = Date.now();
    faults.add(kind);
    say(`fault: ${kind} (back after ${outage.to - outage.from} ms)`);
  }
}
