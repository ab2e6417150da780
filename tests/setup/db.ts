/** SQL connections for tests: fresh ones, as the schema's owner or as a signed-in person. */
import pg from 'pg';
import { stack } from './stack.ts';

/** Claims of an access token; the database reads `sub`, `role`, `org_id`, `user_role` and `session_id`. */
export interface Claims {
  sub: string;
  role?: 'authenticated' | 'anon' | 'service_role';
  org_id?: string;
  user_role?: string;
  session_id?: string;
  [claim: string]: unknown;
}

/**
 * Opens a new connection as `postgres` (owner, bypasses RLS). Close it with `end()`.
 * Race tests need fresh connections: a warm pool hides the effect.
 */
export async function connect(): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: stack.dbUrl });
  await client.connect();
  return client;
}

/** Opens a new connection as another role that can log in, such as the superuser `supabase_admin`. */
export async function connectAs(role: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: stack.dbUrl.replace('//postgres:', `//${role}:`) });
  await client.connect();
  return client;
}

/** Connections that were lent and came back. They end with the worker, or with the database before. */
const idle = new Set<pg.Client>();

/** Ends what a borrower may have begun, forgets what they set, and counts what they met: races ask for deadlocks of others. */
const CLEAN =
  'rollback; reset session authorization; reset role; reset all; unlisten *; discard temp; select pg_stat_force_next_flush()';

/** Lends a connection as `postgres`: one that was lent before, if there is one. Give it back, or end it. */
export async function borrow(): Promise<pg.Client> {
  const [known] = idle;
  if (known) {
    idle.delete(known);
    return known;
  }
  const client = await connect();
  return client.on('error', () => {}).on('end', () => idle.delete(client));
}

/** Takes a connection back that no statement runs on. */
export async function giveBack(client: pg.Client): Promise<void> {
  try {
    await client.query(CLEAN);
    idle.add(client);
  } catch {
    await client.end();
  }
}

/**
 * Lends a connection to `use`. What a new one has to learn of the schema takes longer than most of what tests ask. Where it
 * must be a new one, `connect`.
 */
export async function withConnection<T>(use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = await borrow();
  try {
    const result = await use(client);
    await giveBack(client);
    return result;
  } catch (error) {
    await client.end();
    throw error;
  }
}

/**
 * Makes the rest of the current transaction run as a signed-in person: role and `request.jwt.claims`, as PostgREST
 * sets them. Begin a transaction first; both settings end with it.
 */
export async function asUser(client: pg.ClientBase, claims: Claims): Promise<void> {
  const role = claims.role ?? 'authenticated';
  await client.query("select set_config('request.jwt.claims', $1, true), set_config('role', $2, true)", [
    JSON.stringify({ ...claims, role }),
    role,
  ]);
}

/**
 * Runs one transaction as a signed-in person and commits it; an error rolls it back.
 *
 * @example
 * const outcome = await transactionAs(client, { sub: rbt, org_id: brightPath }, () =>
 *   client.query('select public.hold_sessions($1) as outcome', [request]));
 */
export async function transactionAs<T>(
  client: pg.ClientBase,
  claims: Claims,
  run: () => Promise<T>,
): Promise<T> {
  await client.query('begin');
  try {
    await asUser(client, claims);
    const result = await run();
    await client.query('commit');
    return result;
  } catch (error) {
    await client.query('rollback');
    throw error;
  }
}
