/** How many rows the statements inside a call read: a measure of its cost that no clock and no load changes. */
import pg from 'pg';
import { at, signIn } from '../../bench/clinic.ts';
import { mustSucceed, rpc } from '../../bench/measure.ts';
import { confirmRequest, holdRequest, sessionIds } from '../../bench/requests.ts';
import { databaseUrl } from '../../local/settings.ts';

interface PlanNode {
  'Actual Rows'?: number;
  'Actual Loops'?: number;
  'Rows Removed by Filter'?: number;
  'Rows Removed by Join Filter'?: number;
  'Rows Removed by Index Recheck'?: number;
  Plans?: PlanNode[];
}

/** Rows read by each statement that ran, by its text. */
export type Work = Map<string, number>;

/** Rows that pass through a plan's nodes or are thrown away by them, and how often each node ran. */
function rowsOf(node: PlanNode): number {
  const each =
    1 +
    (node['Actual Rows'] ?? 0) +
    (node['Rows Removed by Filter'] ?? 0) +
    (node['Rows Removed by Join Filter'] ?? 0) +
    (node['Rows Removed by Index Recheck'] ?? 0);
  return each * (node['Actual Loops'] ?? 0) + (node.Plans ?? []).reduce((sum, plan) => sum + rowsOf(plan), 0);
}

/** A connection that tells of every plan it executes, those inside functions included. */
export class ExplainedConnection {
  readonly #client: pg.Client;
  #work: Work = new Map();

  private constructor(client: pg.Client) {
    this.#client = client;
    client.on('notice', ({ message }) => {
      const start = message?.indexOf('plan:') ?? -1;
      if (!message || start < 0) return;
      const { 'Query Text': text, Plan: plan } = JSON.parse(message.slice(start + 'plan:'.length)) as {
        'Query Text': string;
        Plan: PlanNode;
      };
      this.#work.set(text, (this.#work.get(text) ?? 0) + rowsOf(plan));
    });
  }

  /**
   * Opens a connection; end it.
   *
   * @param organization whose admin makes the calls; null for the tables' owner
   */
  static async open(organization: number | null, port: number): Promise<ExplainedConnection> {
    // Only a superuser may load the module; the calls themselves are made as somebody else.
    const client = new pg.Client({ connectionString: databaseUrl(port, 'supabase_admin') });
    await client.connect();
    const opened = new ExplainedConnection(client);
    try {
      await client.query(`
        load 'auto_explain';
        set auto_explain.log_min_duration = 0;
        set auto_explain.log_analyze = on;
        set auto_explain.log_timing = off;
        set auto_explain.log_nested_statements = on;
        set auto_explain.log_format = json;
        set auto_explain.log_level = notice`);
      if (organization === null) await client.query('set role postgres');
      else await signIn(client, organization);
    } catch (error) {
      await client.end();
      throw error;
    }
    return opened;
  }

  /** Runs something on the connection, and counts what its statements read. */
  async count<T>(run: (client: pg.Client) => Promise<T>): Promise<{ result: T; work: Work }> {
    this.#work = new Map();
    const result = await run(this.#client);
    return { result, work: this.#work };
  }

  async end(): Promise<void> {
    await this.#client.end();
  }
}

/** Rows read by all statements together. */
export const total = (work: Work): number => [...work.values()].reduce((sum, rows) => sum + rows, 0);

/** Statements that read fewer rows than this at the largest size are left out: their growth is chance. */
const WORTH_A_LOOK = 1000;
/** How much more than n log n is let pass: plans differ a little between sizes. */
const MARGIN = 1.2;

/**
 * Statements whose rows grow faster than n log n, from the smallest size to the largest and in the last step, each as a
 * sentence; the call as a whole stands first.
 */
export function fasterThanNLogN(measured: { size: number; work: Work }[]): string[] {
  const [first, before, last] = [measured[0], measured.at(-2), measured.at(-1)];
  if (!first || !before || !last) throw new Error('growth is measured at two sizes or more');
  const nLogN = (size: number): number => size * Math.log2(size);
  const found: string[] = [];
  const judge = (name: string, rowsAt: (work: Work) => number) => {
    if (rowsAt(last.work) < WORTH_A_LOOK) return;
    const grows = [first, before].every(
      // A statement that is new, as another plan's, may have read a row of each already.
      ({ size, work }) =>
        rowsAt(last.work) / Math.max(rowsAt(work), size) > (nLogN(last.size) / nLogN(size)) * MARGIN,
    );
    if (!grows) return;
    const rows = measured.map(({ size, work }) => `${size}: ${rowsAt(work)} rows`).join(', ');
    found.push(`${rows} by ${name.replaceAll(/\s+/g, ' ').trim().slice(0, 240)}`);
  };
  judge('the whole call', total);
  for (const text of last.work.keys()) judge(text, (work) => work.get(text) ?? 0);
  return found;
}

/** Calls before counting: a connection keeps the plans of its first calls, which are of small requests. */
export const SMALL_CALLS = 8;

/**
 * What one half hour on an evening takes to hold, confirm, refuse and cancel, on a connection whose plans have settled.
 *
 * @param service of the booking, as in a request
 */
export async function workOfOneBooking(
  organization: number,
  { therapist, client, port }: { therapist: number; client: number; port: number },
  service: { cpt_code?: string } = {},
): Promise<Map<string, Work>> {
  const own = await ExplainedConnection.open(organization, port);
  const works = new Map<string, Work>();
  const count = async <T>(name: string, run: (connected: pg.Client) => Promise<T>) => {
    const { result, work } = await own.count(run);
    works.set(name, work);
    return result;
  };
  try {
    for (let turn = 0; turn < SMALL_CALLS; turn++) {
      const start = at(20 + turn, 18 * 60);
      const wanted = { therapist, client, start, end: start + 30 * 60_000 };
      const request = holdRequest(organization, wanted, service);
      const held = await count('hold', (connected) => mustSucceed(connected, 'hold_sessions', request));
      const confirmation = confirmRequest(request, held);
      const made = await count('confirm', (connected) =>
        mustSucceed(connected, 'confirm_sessions', confirmation),
      );
      const refused = await count('refused', (connected) => rpc(connected, 'hold_sessions', request));
      if (refused.ok) throw new Error('the same time was held twice');
      const ids = { session_ids: sessionIds(made) };
      await count('cancel', (connected) => mustSucceed(connected, 'cancel_sessions', ids));
    }
  } finally {
    await own.end();
  }
  return works;
}

/** Calls of which `after` reads more rows than `factor` times `before`, and a few. */
export function moreThan(
  factor: number,
  before: Map<string, Work>,
  after: Map<string, Work>,
): { call: string; before: number; after: number; most: string }[] {
  return [...before].flatMap(([call, work]) => {
    const rows = { before: total(work), after: total(after.get(call) ?? new Map()) };
    const [most = '', read = 0] = [...(after.get(call) ?? [])].sort((a, b) => b[1] - a[1])[0] ?? [];
    const named = `${read} rows by ${most.replaceAll(/\s+/g, ' ').trim().slice(0, 240)}`;
    return rows.after > rows.before * factor + 20 ? [{ call, ...rows, most: named }] : [];
  });
}
