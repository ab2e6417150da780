/** Timing of operations: closed loops of a number of connections, in slices that take turns. */
import pg from 'pg';

/** What one case achieved. Times in milliseconds. */
export interface Timing {
  perSecond: number;
  p50: number;
  p95: number;
  count: number;
}

/** One call of an operation on one connection; the number differs with each call. */
export type Operation = (client: pg.Client, call: number) => Promise<unknown>;

/** Nearest-rank quantile of unsorted numbers. */
export function quantile(values: number[], fraction: number): number {
  const sorted = [...values].sort((left, right) => left - right);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * fraction))] ?? Number.NaN;
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

let calls = 0;

async function slice(clients: pg.Client[], operation: Operation, milliseconds: number): Promise<number[]> {
  const end = performance.now() + milliseconds;
  const times: number[] = [];
  await Promise.all(
    clients.map(async (client) => {
      while (performance.now() < end) {
        const start = performance.now();
        await operation(client, calls++);
        times.push(performance.now() - start);
      }
    }),
  );
  return times;
}

/**
 * Measures several operations on the same number of connections. They take turns in short slices, so that what else the
 * machine does falls on all of them alike: compare within one run, never between runs.
 *
 * @param seconds total time of each operation
 */
export async function compare<Name extends string>(
  url: string,
  connections: number,
  operations: Record<Name, { prepare?: (client: pg.Client) => Promise<unknown>; run: Operation }>,
  { seconds, slices = 4 }: { seconds: number; slices?: number },
): Promise<Record<Name, Timing>> {
  const names = Object.keys(operations) as Name[];
  const pools = new Map<Name, pg.Client[]>();
  for (const name of names)
    pools.set(name, await openConnections(url, connections, operations[name].prepare));
  const times = new Map<Name, number[]>(names.map((name) => [name, []]));
  const spent = new Map<Name, number>(names.map((name) => [name, 0]));
  try {
    // Plans and caches first.
    for (const name of names) await slice(pools.get(name) ?? [], operations[name].run, 300);
    for (let turn = 0; turn < slices; turn++)
      for (const name of names) {
        const start = performance.now();
        times
          .get(name)
          ?.push(...(await slice(pools.get(name) ?? [], operations[name].run, (seconds * 1000) / slices)));
        spent.set(name, (spent.get(name) ?? 0) + performance.now() - start);
      }
  } finally {
    await Promise.all([...pools.values()].flat().map((client) => client.end()));
  }
  return Object.fromEntries(
    names.map((name) => {
      const own = times.get(name) ?? [];
      return [
        name,
        {
          perSecond: own.length / ((spent.get(name) ?? 1) / 1000),
          p50: quantile(own, 0.5),
          p95: quantile(own, 0.95),
          count: own.length,
        },
      ];
    }),
  ) as Record<Name, Timing>;
}
