/**
 * A stack whose statistics only the test changes: its autovacuum is off, and no other file writes to it. Plans, and with
 * them the rows that calls read, are then the same in every run.
 */
import pg from 'pg';
import { databaseUrl } from '../../local/settings.ts';
import { type Stack, startStack } from '../../local/stack.ts';

/** Starts one with the schema alone; stop it. */
export async function startQuietStack(): Promise<Stack> {
  const stack = await startStack({ api: false, seed: false });
  await withOwner(stack, async (db) => {
    await db.query('alter system set autovacuum = off');
    await db.query('select pg_reload_conf()');
    // A worker that had begun before ends its work first.
    for (let running = 1; running > 0; )
      running = (
        await db.query("select from pg_catalog.pg_stat_activity where backend_type = 'autovacuum worker'")
      ).rows.length;
  }).catch(async (error) => {
    await stack.stop();
    throw error;
  });
  return stack;
}

/** Uses a connection of the server's owner, whom nothing is refused. */
export async function withOwner<T>(stack: Stack, use: (db: pg.Client) => Promise<T>): Promise<T> {
  const db = new pg.Client({ connectionString: databaseUrl(stack.dbPort, 'supabase_admin') });
  await db.connect();
  return use(db).finally(() => db.end());
}
