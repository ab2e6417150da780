/**
 * Sessions in lock step: one does something, another has to wait for it, and the test goes on when the server itself
 * says that it waits. No sleep stands for a proof: a statement that should wait and does not, and one that should not
 * wait and does, fail the test within milliseconds.
 *
 * @example
 * await inLockStep({ anna: admin, ben: admin }, async ({ anna, ben }) => {
 *   await anna.does('begin');
 *   await anna.does('select public.hold_sessions($1)', [request]);
 *   const hold = await ben.waitsFor(anna, 'select public.hold_sessions($1) as outcome', [request]);
 *   expect(hold.on).toBe('advisory');
 *   await anna.does('commit');
 *   expect(await hold.ends()).toMatchObject({ rows: [{ outcome: { code: 'THERAPIST_HOLD_CONFLICT' } }] });
 * });
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type pg from 'pg';
import { borrow, type Claims, connectAs, giveBack } from './db.ts';

/** How a statement ended: with rows, or with an error of the database. */
export interface Ending {
  // biome-ignore lint/suspicious/noExplicitAny: tests assert the shape they expect of each row
  rows?: any[];
  sqlstate?: string;
  message?: string;
}

/** A statement that waits. */
export interface Waiting {
  /** What it waits for, as `pg_locks` calls it: `advisory`, `transactionid` (somebody's row), `tuple`, `relation` … */
  on: string;
  /** Waits until it has ended. What it waits for must be over by then, or end by a time-out of the database. */
  ends(): Promise<Ending>;
}

/** One session. */
export interface Actor {
  /** Runs a statement that waits for no other session here. @throws Error when it does, or when the database refuses */
  does(statement: string, values?: unknown[]): Promise<NonNullable<Ending['rows']>>;
  /** Starts a statement and returns when the server shows it waiting. @throws Error when it ends without having waited */
  waitsFor(other: Actor, statement: string, values?: unknown[]): Promise<Waiting>;
  /**
   * Runs a statement that may give way to others: the database lets it wait for a moment only, which may be over before
   * anybody has seen it wait.
   */
  tries(statement: string, values?: unknown[]): Promise<Ending>;
}

/** Who a session is: a signed-in person, a backend with the secret key, or the schema's owner. */
export type As = Claims | 'service_role' | 'owner';

class Session implements Actor {
  readonly name: string;
  readonly pid: number;
  private readonly client: pg.Client;
  private readonly observer: Observer;
  /** Statements that have not ended. */
  private running = 0;

  constructor(name: string, pid: number, client: pg.Client, observer: Observer) {
    this.name = name;
    this.pid = pid;
    this.client = client;
    this.observer = observer;
  }

  async does(statement: string, values: unknown[] = []) {
    const ending = await this.observer.watch(this, this.start(statement, values), async () => {
      const waiting = await this.observer.waitOf(this);
      if (!waiting) return false;
      throw new Error(
        `${this.name} had to wait for ${waiting.behind.join(' and ')} (${waiting.on}): ${statement}`,
      );
    });
    if (ending === undefined) throw new Error('unreachable');
    if (ending.sqlstate) throw new Error(`${this.name}: ${ending.sqlstate} ${ending.message}: ${statement}`);
    return ending.rows ?? [];
  }

  async waitsFor(other: Actor, statement: string, values: unknown[] = []): Promise<Waiting> {
    const running = this.start(statement, values);
    let on = '';
    const early = await this.observer.watch(this, running, async () => {
      const waiting = await this.observer.waitOf(this);
      if (!waiting?.behind.includes((other as Session).name)) return false;
      on = waiting.on;
      return true;
    });
    if (early)
      throw new Error(`${this.name} did not wait but ended with ${JSON.stringify(early)}: ${statement}`);
    return { on, ends: () => running };
  }

  tries(statement: string, values: unknown[] = []): Promise<Ending> {
    return this.start(statement, values);
  }

  private start(statement: string, values: unknown[]): Promise<Ending> {
    this.running += 1;
    return this.client
      .query(statement, values)
      .finally(() => {
        this.running -= 1;
      })
      .then(
        ({ rows }) => ({ rows }),
        ({ code, message }: pg.DatabaseError) => ({ sqlstate: code ?? 'unknown', message }),
      );
  }

  async close(): Promise<void> {
    if (this.running === 0) return giveBack(this.client);
    await this.observer.cancel(this.pid);
    await this.client.end();
  }
}

/** Connections of observers that have looked. They end with the worker, or with the database before. */
const observers = new Set<pg.Client>();

/** Sees who waits for whom, on a connection of its own. */
class Observer {
  readonly sessions: Session[] = [];
  private readonly client: pg.Client;

  static async open(): Promise<Observer> {
    const [known] = observers;
    if (known) {
      observers.delete(known);
      return new Observer(known);
    }
    const client = await connectAs('supabase_admin');
    client.on('error', () => {}).on('end', () => observers.delete(client));
    // Lets the sessions choose how soon the database looks for deadlocks, which is a superuser's to say.
    await client.query('grant set on parameter deadlock_timeout to postgres');
    return new Observer(client);
  }

  constructor(client: pg.Client) {
    this.client = client;
  }

  /** Looks, until the statement ends or `seen` says that this was it. @returns how it ended, if it did */
  async watch(
    session: Session,
    running: Promise<Ending>,
    seen: () => Promise<boolean>,
  ): Promise<Ending | undefined> {
    let ending: Ending | undefined;
    void running.then((how) => {
      ending = how;
    });
    // The database's own time-outs end a statement long before; this is for one that nothing ends.
    for (const giveUp = Date.now() + 60_000; Date.now() < giveUp; ) {
      await Promise.race([running, sleep(4)]);
      if (ending) return ending;
      if (await seen()) return undefined;
    }
    throw new Error(`${session.name} neither ended nor waited for the session it should have waited for`);
  }

  /** What a session waits for, and whom of the others; null when it does not wait for any of them. */
  async waitOf({ pid }: Session): Promise<{ on: string; behind: string[] } | null> {
    const { rows } = await this.client.query<{ behind: number[]; on: string | null }>(
      `select pg_blocking_pids($1) as behind,
        (select locktype from pg_catalog.pg_locks where pid = $1 and not granted) as on`,
      [pid],
    );
    const behind = this.sessions.filter((each) => rows[0]?.behind.includes(each.pid)).map(({ name }) => name);
    return behind.length > 0 && rows[0]?.on ? { on: rows[0].on, behind } : null;
  }

  async cancel(pid: number): Promise<void> {
    await this.client.query('select pg_cancel_backend($1)', [pid]);
  }

  close(): void {
    observers.add(this.client);
  }
}

/** Opens a session for each name, hands them to `use`, and ends them, whatever they are doing then. */
export async function inLockStep<Name extends string>(
  who: Record<Name, As>,
  use: (actors: Record<Name, Actor>) => Promise<void>,
): Promise<void> {
  const observer = await Observer.open();
  try {
    const actors: Partial<Record<Name, Actor>> = {};
    for (const [name, as] of Object.entries<As>(who) as [Name, As][])
      actors[name] = await openSession(name, as, observer);
    await use(actors as Record<Name, Actor>);
  } finally {
    for (const session of observer.sessions) await session.close();
    observer.close();
  }
}

async function openSession(name: string, as: As, observer: Observer): Promise<Session> {
  const client = await borrow();
  // A cycle is reported by the session that sees it, and not resolved by the database first.
  await client.query("set deadlock_timeout = '1h'");
  const { rows } = await client.query('select pg_backend_pid() as pid');
  const session = new Session(name, rows[0].pid, client, observer);
  observer.sessions.push(session);
  if (as === 'owner') return session;
  const claims = as === 'service_role' ? { role: as } : { role: 'authenticated', ...as };
  await client.query("select set_config('request.jwt.claims', $1, false), set_config('role', $2, false)", [
    JSON.stringify(claims),
    claims.role,
  ]);
  return session;
}
