/** Timing of booking calls: on one connection, on many, and what is made of the times. */
import pg from 'pg';
import { type Appointment, signIn } from './clinic.ts';
import { confirmRequest, holdRequest, type Outcome, sessionIds } from './requests.ts';

/** Nearest-rank quantile of unsorted numbers. */
export function quantile(values: number[], fraction: number): number {
  const sorted = [...values].sort((left, right) => left - right);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * fraction))] ?? Number.NaN;
}

/** Times in milliseconds, by what was timed. */
export class Times {
  readonly #times = new Map<string, number[]>();
  /** Runs something and notes how long it took. */
  async of<T>(what: string, run: () => Promise<T>): Promise<T> {
    const start = performance.now();
    const result = await run();
    this.add(what, performance.now() - start);
    return result;
  }
  /** Notes a time. */
  add(what: string, milliseconds: number): void {
    this.#times.set(what, [...(this.#times.get(what) ?? []), milliseconds]);
  }
  count(what: string): number {
    return this.#times.get(what)?.length ?? 0;
  }
  p50(what: string): number {
    return quantile(this.#times.get(what) ?? [], 0.5);
  }
  p95(what: string): number {
    return quantile(this.#times.get(what) ?? [], 0.95);
  }
  worst(what: string): number {
    return Math.max(...(this.#times.get(what) ?? []));
  }
  /** Median and 95th percentile, for a table. */
  text(what: string): string {
    return `p50 ${this.p50(what).toFixed(2)} ms, p95 ${this.p95(what).toFixed(2)} ms`;
  }
}

/** Opens connections and prepares each. */
export async function openConnections(
  url: string,
  count: number,
  prepare: (client: pg.Client) => Promise<unknown> = async () => undefined,
): Promise<pg.Client[]> {
  return Promise.all(
    Array.from({ length: count }, async () => {
      const client = new pg.Client({ connectionString: url });
      await client.connect();
      await prepare(client);
      return client;
    }),
  );
}

/** Opens a connection, hands it over and closes it again. */
export async function withConnection<T>(
  url: string,
  prepare: (client: pg.Client) => Promise<unknown>,
  use: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const [client] = await openConnections(url, 1, prepare);
  if (!client) throw new Error('no connection');
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}

/** Connections signed in as the admin of an organization. */
export const asAdminOf =
  (organization: number) =>
  (client: pg.ClientBase): Promise<void> =>
    signIn(client, organization);

/** Calls an RPC by a prepared statement. */
export async function rpc(client: pg.ClientBase, name: string, request: unknown): Promise<Outcome> {
  const { rows } = await client.query({
    name,
    text: `select public.${name}($1) as outcome`,
    values: [request],
  });
  return rows[0].outcome as Outcome;
}

/** As {@link rpc}, for a call that has to succeed. */
export async function mustSucceed(
  client: pg.ClientBase,
  name: string,
  request: unknown,
): Promise<Outcome['body']> {
  const outcome = await rpc(client, name, request);
  if (!outcome.ok) throw new Error(`${name} was refused: ${JSON.stringify(outcome).slice(0, 500)}`);
  return outcome.body;
}

/**
 * Books a free time and cancels it again, so that ledger and calendar stay as they were: `hold`, `confirm`, `refused`
 * (the same hold once more) and `cancel` are timed.
 */
export async function bookOnce(
  client: pg.ClientBase,
  organization: number,
  free: Appointment,
  times: Times,
  {
    refuse = false,
    ...more
  }: { refuse?: boolean; occurrences?: number; stepDays?: number; cpt_code?: string } = {},
): Promise<void> {
  const request = holdRequest(organization, free, more);
  const held = await times.of('hold', () => mustSucceed(client, 'hold_sessions', request));
  const confirmation = confirmRequest(request, held);
  const made = await times.of('confirm', () => mustSucceed(client, 'confirm_sessions', confirmation));
  if (refuse) {
    const refused = await times.of('refused', () => rpc(client, 'hold_sessions', request));
    if (refused.ok) throw new Error('the same time was held twice');
  }
  const ids = { session_ids: sessionIds(made) };
  await times.of('cancel', () => mustSucceed(client, 'cancel_sessions', ids));
}

/** One call on one connection of several. */
export type Operation = (client: pg.Client, times: Times) => Promise<unknown>;

/**
 * Measures operations, each on the same number of connections in a closed loop. They take turns in short slices, so
 * that what else the machine does falls on all of them alike: compare within one run, never between runs.
 *
 * @param seconds total time of each operation
 * @returns of each operation its times, and calls in a second
 */
export async function compare<Name extends string>(
  url: string,
  connections: number,
  operations: Record<Name, { prepare: (client: pg.Client) => Promise<unknown>; run: Operation }>,
  { seconds, slices = 4 }: { seconds: number; slices?: number },
): Promise<Record<Name, { times: Times; perSecond: number }>> {
  const names = Object.keys(operations) as Name[];
  const pools = new Map<Name, pg.Client[]>();
  const results = new Map(names.map((name) => [name, { times: new Times(), calls: 0, spent: 0 }]));
  const slice = async (name: Name, milliseconds: number, times: Times): Promise<number> => {
    const end = performance.now() + milliseconds;
    let calls = 0;
    await Promise.all(
      (pools.get(name) ?? []).map(async (client) => {
        while (performance.now() < end) {
          await operations[name].run(client, times);
          calls++;
        }
      }),
    );
    return calls;
  };
  try {
    for (const name of names)
      pools.set(name, await openConnections(url, connections, operations[name].prepare));
    // Plans and caches first.
    for (const name of names) await slice(name, 400, new Times());
    for (let turn = 0; turn < slices; turn++)
      for (const name of names) {
        const result = results.get(name);
        if (!result) continue;
        const start = performance.now();
        result.calls += await slice(name, (seconds * 1000) / slices, result.times);
        result.spent += performance.now() - start;
      }
  } finally {
    await Promise.all([...pools.values()].flat().map((client) => client.end()));
  }
  return Object.fromEntries(
    [...results].map(([name, { times, calls, spent }]) => [
      name,
      { times, perSecond: (calls / spent) * 1000 },
    ]),
  ) as Record<Name, { times: Times; perSecond: number }>;
}

/** Repeats something until it has run often or long enough, at least twice. */
export async function repeat(
  run: () => Promise<unknown>,
  { atMost, seconds }: { atMost: number; seconds: number },
): Promise<void> {
  const end = performance.now() + seconds * 1000;
  for (let turn = 0; turn < atMost && (turn < 2 || performance.now() < end); turn++) await run();
}
