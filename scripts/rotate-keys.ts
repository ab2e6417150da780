/**
 * `npm run keys:rotate`: wraps every data key anew with the active master key, and on demand starts new data keys.
 * docs/key-rotation.md says when, and what comes before and after.
 *
 * Environment: `DATABASE_URL` (as the owner, `postgres`), `PHI_MASTER_KEYS` and `PHI_MASTER_KEY_ID` as in the functions'
 * secrets, the old master keys included.
 *
 * - `--new-data-keys` also starts a new data key for each organization; the old ones still open what they sealed.
 * - `--check` changes nothing: says which master keys are in use, and fails when a data key opens with none of them.
 * - `--organization <id>` does one organization only.
 */
import { parseArgs } from 'node:util';
import pg from 'pg';
import {
  type MasterKeys,
  newDataKey,
  openDataKey,
  parseMasterKeys,
  rewrapDataKey,
} from '../supabase/functions/_shared/master-keys.ts';

/** A row of `private.data_keys`. */
type DataKeyRow = {
  organization_id: string;
  id: string;
  wrapped_key: string;
  master_key_id: string;
  retired_at: Date | null;
};

async function transaction<T>(client: pg.Client, run: () => Promise<T>): Promise<T> {
  await client.query('begin');
  try {
    const result = await run();
    await client.query('commit');
    return result;
  } catch (error) {
    await client.query('rollback');
    throw error;
  }
}

async function dataKeys(client: pg.Client, organizationId: string | undefined): Promise<DataKeyRow[]> {
  const { rows } = await client.query<DataKeyRow>(
    `select organization_id, id, wrapped_key, master_key_id, retired_at
      from private.data_keys
      where $1::uuid is null or organization_id = $1
      order by organization_id, created_at`,
    [organizationId ?? null],
  );
  return rows;
}

/** Opens each key, so that nothing is changed unless everything can be. */
async function unopenable(masters: MasterKeys, rows: DataKeyRow[]): Promise<string[]> {
  const problems: string[] = [];
  for (const { organization_id, id, wrapped_key } of rows) {
    try {
      await openDataKey(masters, organization_id, { keyId: id, wrappedKey: wrapped_key });
    } catch (error) {
      problems.push(`organization ${organization_id}: ${(error as Error).message}`);
    }
  }
  return problems;
}

async function rewrap(client: pg.Client, masters: MasterKeys, row: DataKeyRow): Promise<boolean> {
  const fresh = await rewrapDataKey(masters, row.organization_id, {
    keyId: row.id,
    wrappedKey: row.wrapped_key,
  });
  // Another run may have been here meanwhile: then its wrapping stays.
  const { rowCount } = await client.query(
    `update private.data_keys set wrapped_key = $1, rewrapped_at = clock_timestamp()
      where organization_id = $2 and id = $3 and wrapped_key = $4`,
    [fresh.wrappedKey, row.organization_id, row.id, row.wrapped_key],
  );
  return rowCount === 1;
}

async function replace(client: pg.Client, masters: MasterKeys, row: DataKeyRow): Promise<boolean> {
  const fresh = await newDataKey(masters, row.organization_id);
  return transaction(client, async () => {
    const { rowCount } = await client.query(
      `update private.data_keys set retired_at = clock_timestamp()
        where organization_id = $1 and id = $2 and retired_at is null`,
      [row.organization_id, row.id],
    );
    if (rowCount !== 1) return false;
    await client.query(
      'insert into private.data_keys (organization_id, id, wrapped_key) values ($1, $2, $3)',
      [row.organization_id, fresh.keyId, fresh.wrappedKey],
    );
    return true;
  });
}

function use(rows: DataKeyRow[]): string {
  const counts = new Map<string, number>();
  for (const { master_key_id } of rows) counts.set(master_key_id, (counts.get(master_key_id) ?? 0) + 1);
  return [...counts].map(([id, count]) => `${id} wraps ${count}`).join(', ') || 'there are no data keys yet';
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      'new-data-keys': { type: 'boolean', default: false },
      check: { type: 'boolean', default: false },
      organization: { type: 'string' },
    },
  });
  const { DATABASE_URL, PHI_MASTER_KEYS, PHI_MASTER_KEY_ID } = process.env;
  if (!DATABASE_URL) throw new Error('DATABASE_URL is not set');
  const masters = await parseMasterKeys(PHI_MASTER_KEYS, PHI_MASTER_KEY_ID);

  const client = new pg.Client({ connectionString: DATABASE_URL });
  await client.connect();
  try {
    const rows = await dataKeys(client, values.organization);
    const problems = await unopenable(masters, rows);
    if (problems.length > 0)
      throw new Error(
        ['Nothing was changed. Add the master keys that are missing:', ...problems].join('\n  '),
      );
    if (values.check) {
      console.log(`All ${rows.length} data keys open: ${use(rows)}. New ones use ${masters.activeId}.`);
      return;
    }

    let rewrapped = 0;
    for (const row of rows.filter(({ master_key_id }) => master_key_id !== masters.activeId))
      if (await rewrap(client, masters, row)) rewrapped++;
    let started = 0;
    if (values['new-data-keys'])
      for (const row of rows.filter(({ retired_at }) => retired_at === null))
        if (await replace(client, masters, row)) started++;

    console.log(`Wrapped ${rewrapped} data keys anew with ${masters.activeId}; started ${started} new ones.`);
    console.log(`In use now: ${use(await dataKeys(client, values.organization))}.`);
  } finally {
    await client.end();
  }
}

try {
  await main();
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
