/** One torture from start to verdict. */
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { databaseUrl } from '../../local/settings.ts';
import { type Stack, startStack } from '../../local/stack.ts';
import { check, type Violation } from './checker.ts';
import { breakThings, hangUp, type Outage } from './faults.ts';
import { type Call, Tally } from './history.ts';
import { plants } from './plants.ts';
import { startPooler } from './pooler.ts';
import { type Shared, work } from './workload.ts';
import { createWorld } from './world.ts';

/** What to do. */
export interface Options {
  /** Decides every worker's every choice and every fault; who is faster is left to the machine. */
  seed: number;
  /** How long to go on, in seconds. */
  seconds: number;
  /** Ends earlier, after so many calls. */
  calls?: number;
  /** How many call at once. Default 12. */
  workers?: number;
  /** Default true. */
  faults?: boolean;
  /** Call over HTTP too. Default true. */
  http?: boolean;
  /** Put a pooler in between, if there is one. Default true. */
  pool?: boolean;
  /** Name of a bug to plant. */
  plant?: string;
  /** Stop and check after every so many calls, until what catches the planted bug has caught it. */
  checkEvery?: number;
  say?: (line: string) => void;
}

/** What came of it. */
export interface Report {
  options: Options;
  /** `hold sql ok` → how many. */
  answers: Map<string, number>;
  faults: Map<string, number>;
  /** Connections cut during a statement, by transport. */
  drops: Map<string, number>;
  calls: number;
  seconds: number;
  /** Calls a second, minute by minute. */
  pace: number[];
  deadlocks: number;
  /** Milliseconds of calls that no fault touched. */
  latency: { p50: number; p99: number; worst: number };
  /** `null`: pgbouncer is not installed. */
  pooler: boolean | null;
  tables: Record<string, number>;
  checkSeconds: number;
  violations: Violation[];
  history: Call[];
}

async function connected(url: string): Promise<pg.Client> {
  for (let attempt = 1; ; attempt++) {
    const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5000 });
    client.on('error', () => {});
    try {
      await client.connect();
      return client;
    } catch (error) {
      await client.end().catch(() => {});
      if (attempt >= 60) throw error;
      await sleep(250);
    }
  }
}

/** What the server's log says of deadlocks: functions that catch the error hide who waited for what. */
class DeadlockLog {
  /** Who has waited for a second, and where, up to each deadlock. */
  readonly reports: string[][] = [];
  #waits: string[][] = [];
  #current: string[] | undefined;
  read(line: string): void {
    if (/ LOG: {2}process \d+ (still waiting|detected deadlock)/.test(line)) {
      this.#current = [line];
      this.#waits.push(this.#current);
      if (this.#waits.length > 8) this.#waits.shift();
      if (line.includes('detected deadlock')) this.reports.push(...this.#waits.splice(0));
    } else if (/ (DETAIL|CONTEXT|STATEMENT): |^\t/.test(line)) this.#current?.push(line);
    else this.#current = undefined;
  }
  static async turnOn(dbPort: number): Promise<void> {
    const admin = await connected(databaseUrl(dbPort, 'supabase_admin'));
    await admin.query('alter database postgres set log_lock_waits = on');
    await admin.end();
  }
}

/** Counts deadlocks across crashes, which reset the statistics. */
class DeadlockCounter {
  readonly #url: string;
  #before = 0;
  #current = 0;
  constructor(url: string) {
    this.#url = url;
  }
  async look(): Promise<void> {
    const client = new pg.Client({
      connectionString: this.#url,
      connectionTimeoutMillis: 2000,
      query_timeout: 5000,
    });
    client.on('error', () => {});
    try {
      await client.connect();
      const { rows } = await client.query(
        'select deadlocks::integer as deadlocks from pg_catalog.pg_stat_database where datname = current_database()',
      );
      const found = rows[0]?.deadlocks ?? 0;
      if (found < this.#current) this.#before += this.#current;
      this.#current = found;
    } catch {
      // Down just now.
    } finally {
      await hangUp(client);
    }
  }
  get total(): number {
    return this.#before + this.#current;
  }
}

function paceOf(history: Call[], started: number): number[] {
  const minutes = Map.groupBy(history, ({ endedAt }) => Math.floor((endedAt - started) / 60_000));
  const last = (history.at(-1)?.endedAt ?? started) - started;
  return [...minutes]
    .sort(([a], [b]) => a - b)
    .map(([minute, calls]) => calls.length / Math.min(60, Math.max(1, last / 1000 - minute * 60)));
}

function latencyOf(history: Call[], outages: Outage[]): Report['latency'] {
  const times = history
    .filter(
      ({ startedAt, endedAt, answer }) =>
        answer.type !== 'lost' &&
        answer.type !== 'unknown' &&
        !outages.some(({ from, to }) => startedAt < to + 5000 && endedAt > from - 500),
    )
    .map(({ startedAt, endedAt }) => endedAt - startedAt)
    .sort((a, b) => a - b);
  const at = (part: number) => times[Math.min(times.length - 1, Math.floor(part * times.length))] ?? 0;
  return { p50: at(0.5), p99: at(0.99), worst: times.at(-1) ?? 0 };
}

/** Waits until no transaction of the run is left: a dropped connection's statement may still be at it. */
async function settled(db: pg.Client): Promise<void> {
  for (let waited = 0; waited < 20_000; waited += 100) {
    const { rows } = await db.query(`
      select count(*)::integer as busy from pg_catalog.pg_stat_activity
      where backend_type = 'client backend' and xact_start is not null and pid <> pg_backend_pid()`);
    if (rows[0].busy === 0) return;
    await sleep(100);
  }
  throw new Error('transactions are still open 20 seconds after the last call');
}

/**
 * Runs on a stack of its own, and always stops it.
 *
 * @example
 * const { violations } = await torture({ seed: 42, seconds: 60 });
 */
export async function torture(options: Options): Promise<Report> {
  const { seed, seconds, workers = 12, http = true, say = () => {} } = options;
  const plant = options.plant === undefined ? undefined : plants[options.plant];
  if (options.plant !== undefined && !plant)
    throw new Error(`There is no such bug: ${options.plant}. There are: ${Object.keys(plants).join(', ')}.`);
  say('starting a stack …');
  const log = new DeadlockLog();
  const stack = await startStack({ functions: http, onLog: (_source, line) => log.read(line) });
  try {
    return await on(stack, log, { ...options, http, workers }, plant, seconds, seed, say);
  } finally {
    await stack.stop();
  }
}

async function on(
  stack: Stack,
  log: DeadlockLog,
  options: Options & { http: boolean; workers: number },
  plant: (typeof plants)[string] | undefined,
  seconds: number,
  seed: number,
  say: (line: string) => void,
): Promise<Report> {
  const pooler = (options.pool ?? true) ? await startPooler(stack.dbPort, 4) : null;
  try {
    if (pooler === null && (options.pool ?? true))
      say('pgbouncer is not installed: no pooler in between (set PGBOUNCER to its path, or install it)');
    await DeadlockLog.turnOn(stack.dbPort);
    const setUp = await connected(stack.dbUrl);
    const clinics = await createWorld(setUp, seed);
    if (plant) {
      say(`planted: ${plant.what}`);
      await plant.plant?.(setUp);
    }
    await setUp.end();

    const started = Date.now();
    const end = options.calls ?? Number.POSITIVE_INFINITY;
    let limit = Math.min(options.checkEvery ?? end, end);
    let admitted = 0;
    const failures: unknown[] = [];
    const inTime = () => Date.now() - started < seconds * 1000;
    const running = () => inTime() && admitted < limit && failures.length === 0;
    const shared: Shared = {
      ...{ seed, clinics, http: options.http, pool: pooler !== null, running },
      target: {
        dbUrl: stack.dbUrl,
        poolUrl: pooler?.url ?? null,
        apiUrl: stack.apiUrl,
        publishableKey: stack.publishableKey,
        secretKey: stack.secretKey,
      },
      history: [],
      tally: new Tally(),
      drops: new Tally(),
      holds: [],
      sessions: [],
      groups: [],
      waiting: [],
      away: new Set(),
      over: new Set(),
      alarms: [],
      admit: () => running() && admitted++ < limit,
      numbers: Array.from({ length: options.workers }, () => 0),
    };
    const faults = new Tally();
    const outages: Outage[] = [];
    const counter = new DeadlockCounter(stack.dbUrl);
    const elapsed = () => {
      const whole = Math.floor((Date.now() - started) / 1000);
      return `[${String(Math.floor(whole / 60)).padStart(2, '0')}:${String(whole % 60).padStart(2, '0')}]`;
    };
    let reported = started;
    const watching = (async () => {
      while (running()) {
        await sleep(500);
        await counter.look();
        if (Date.now() - reported < 5000) continue;
        reported = Date.now();
        const broken = [...faults.counts.values()].reduce((sum, count) => sum + count, 0);
        const dropped = [...shared.drops.counts.values()].reduce((sum, count) => sum + count, 0);
        say(`${elapsed()} ${shared.history.length} calls, ${broken} faults, ${dropped} dropped connections`);
      }
    })();
    const workAll = () =>
      Promise.all(
        Array.from({ length: options.workers }, (_, worker) =>
          work(shared, worker).catch((error) => failures.push(error)),
        ),
      );
    const working = workAll();
    if (options.faults ?? true)
      await breakThings({
        ...{ seed, stack, pooler, http: options.http, faults, outages, running },
        say: (line) => say(`${elapsed()} ${line}`),
        beforeCrash: () => counter.look(),
      });
    await Promise.all([working, watching]);
    if (failures.length > 0) throw failures[0];

    say(`${elapsed()} checking …`);
    const db = await connected(stack.dbUrl);
    try {
      const { history, alarms } = shared;
      const checkAll = async () => {
        await settled(db);
        await counter.look();
        await plant?.afterwards?.(db);
        const deadlocks = {
          count: counter.total,
          reports: log.reports.map((lines) => lines.join('\n      ')),
        };
        return check({ db, clinics, history, outages, deadlocks, alarms });
      };
      let took = (Date.now() - started) / 1000;
      let checking = Date.now();
      let violations = await checkAll();
      const isCaught = () => violations.some(({ rule }) => plant?.caughtBy.test(rule));
      while (options.checkEvery && !isCaught() && inTime() && limit < end) {
        limit = Math.min(limit + options.checkEvery, end);
        await workAll();
        if (failures.length > 0) throw failures[0];
        took = (Date.now() - started) / 1000;
        checking = Date.now();
        violations = await checkAll();
      }
      const { rows } = await db.query(`
        select (select count(*) from public.sessions)::integer as sessions,
          (select count(*) from public.hold_batches)::integer as hold_batches,
          (select count(*) from public.session_holds)::integer as session_holds,
          (select count(*) from private.claims)::integer as claims,
          (select count(*) from private.idempotency_keys)::integer as idempotency_keys,
          (select count(*) from audit.events)::integer as audit_events`);
      return {
        ...{ options, violations, history, tables: rows[0], seconds: took },
        ...{ answers: shared.tally.counts, faults: faults.counts, drops: shared.drops.counts },
        pace: paceOf(history, started),
        ...{ calls: history.length, deadlocks: counter.total, latency: latencyOf(history, outages) },
        pooler: (options.pool ?? true) ? pooler !== null || null : false,
        checkSeconds: (Date.now() - checking) / 1000,
      };
    } finally {
      await db.end();
    }
  } finally {
    await pooler?.stop();
  }
}
