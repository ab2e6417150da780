/**
 * `npm run keys:rotate`: installs the attestation keys, wraps every data key anew with the active master key, and on
 * demand starts new data keys. docs/key-rotation.md says when, and what comes before and after.
 *
 * Environment: `DATABASE_URL` (as the owner, `postgres`), `PHI_MASTER_KEYS` and `PHI_MASTER_KEY_ID` as in the functions'
 * secrets, the old master keys included.
 *
 * - `--install` only installs the attestation keys, which the database needs before the functions use a master key.
 * - `--new-data-keys` also starts a new data key for each organization; the old ones still open what they sealed.
 * - `--check` changes nothing: says which master keys are in use, and fails when something is missing.
 * - `--organization <id>` does one organization only.
 *
 * What cannot be done for one organization does not keep the others waiting: it is reported at the end, with exit code 1.
 */
import { parseArgs } from 'node:util';
import type pg from 'pg';
import {
  attestationKeys,
  dataKeyProof,
  type MasterKeys,
  newDataKey,
  openDataKey,
  parseMasterKeys,
  rewrapDataKey,
} from '../supabase/functions/_shared/master-keys.ts';
import { connectAsOwner, ownerAddress } from './owner-database.ts';

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

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

/** An organization that is not there would be done at once, and say that all is well. */
async function requireOrganization(client: pg.Client, id: string | undefined): Promise<void> {
  if (id === undefined) return;
  const { rowCount } = await client.query('select from public.organizations where id = $1', [id]);
  if (rowCount === 0) throw new Error(`--organization: there is no organization ${id}`);
}

/** What could not be done, in sentences for the operator. They name ids, never key material. */
type Problems = string[];

/**
 * Installs the attestation keys of these master keys and retires those of others, unless a data key is still wrapped by
 * their master key: then the secrets given are not all there are.
 */
async function installAttestationKeys(client: pg.Client, json: string | undefined): Promise<Problems> {
  const problems: Problems = [];
  const derived = await attestationKeys(json);
  for (const [id, key] of derived) {
    await client.query(
      'insert into private.attestation_keys (id, key) values ($1, $2) on conflict (id) do nothing',
      [id, Buffer.from(key)],
    );
    const { rowCount } = await client.query(
      'update private.attestation_keys set retired_at = null where id = $1 and key = $2',
      [id, Buffer.from(key)],
    );
    if (rowCount !== 1)
      problems.push(
        `master key ${id}: another attestation key of that id is installed. Give the master key another id`,
      );
  }
  await client.query(
    `update private.attestation_keys as installed set retired_at = clock_timestamp()
      where installed.id <> all ($1) and installed.retired_at is null
        and not exists (select from private.data_keys as used where used.master_key_id = installed.id)`,
    [[...derived.keys()]],
  );
  return problems;
}

/** What `--check` finds of the attestation keys. */
async function missingAttestationKeys(client: pg.Client, json: string | undefined): Promise<Problems> {
  const derived = await attestationKeys(json);
  const { rows } = await client.query<{ id: string; key: Buffer }>(
    'select id, key from private.attestation_keys where retired_at is null',
  );
  const installed = new Map(rows.map(({ id, key }) => [id, key]));
  return [...derived]
    .filter(([id, key]) => !installed.get(id)?.equals(key))
    .map(([id]) => `master key ${id}: its attestation key is not installed. Run keys:rotate -- --install`);
}

/** Which of these data keys open, and why the others do not. */
async function sorted(
  masters: MasterKeys,
  rows: DataKeyRow[],
): Promise<{ good: DataKeyRow[]; problems: Problems }> {
  const good: DataKeyRow[] = [];
  const problems: Problems = [];
  for (const row of rows) {
    try {
      await openDataKey(masters, row.organization_id, { keyId: row.id, wrappedKey: row.wrapped_key });
      good.push(row);
    } catch (error) {
      problems.push(`organization ${row.organization_id}: ${(error as Error).message}`);
    }
  }
  return { good, problems };
}

async function rewrap(client: pg.Client, masters: MasterKeys, row: DataKeyRow): Promise<boolean> {
  const fresh = await rewrapDataKey(masters, row.organization_id, {
    keyId: row.id,
    wrappedKey: row.wrapped_key,
  });
  // Another run may have been here meanwhile: then its wrapping stays.
  const { rowCount } = await client.query(
    `update private.data_keys set wrapped_key = $1, proof = $5, rewrapped_at = clock_timestamp()
      where organization_id = $2 and id = $3 and wrapped_key = $4`,
    [
      fresh.wrappedKey,
      row.organization_id,
      row.id,
      row.wrapped_key,
      await dataKeyProof(masters, row.organization_id, fresh),
    ],
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
      'insert into private.data_keys (organization_id, id, wrapped_key, proof) values ($1, $2, $3, $4)',
      [
        row.organization_id,
        fresh.keyId,
        fresh.wrappedKey,
        await dataKeyProof(masters, row.organization_id, fresh),
      ],
    );
    return true;
  });
}

function use(rows: DataKeyRow[]): string {
  const counts = new Map<string, number>();
  for (const { master_key_id } of rows) counts.set(master_key_id, (counts.get(master_key_id) ?? 0) + 1);
  return [...counts].map(([id, count]) => `${id} wraps ${count}`).join(', ') || 'there are no data keys yet';
}

/** Runs one step for each row; what fails for one is reported and does not stop the rest. */
async function each(
  rows: DataKeyRow[],
  problems: Problems,
  step: (row: DataKeyRow) => Promise<boolean>,
): Promise<number> {
  let done = 0;
  for (const row of rows) {
    try {
      if (await step(row)) done++;
    } catch (error) {
      problems.push(`organization ${row.organization_id}: data key ${row.id}: ${(error as Error).message}`);
    }
  }
  return done;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      'new-data-keys': { type: 'boolean', default: false },
      check: { type: 'boolean', default: false },
      install: { type: 'boolean', default: false },
      organization: { type: 'string' },
    },
  });
  const { PHI_MASTER_KEYS, PHI_MASTER_KEY_ID } = process.env;
  const { organization } = values;
  if (organization !== undefined && !UUID.test(organization))
    throw new Error(`--organization must be the id of an organization, a UUID, not "${organization}"`);
  const address = ownerAddress();
  const masters = await parseMasterKeys(PHI_MASTER_KEYS, PHI_MASTER_KEY_ID);
  if (masters.hasDevelopmentKey && !isLocal(address))
    throw new Error('The development master key is public: take it out of PHI_MASTER_KEYS.');

  const client = await connectAsOwner();
  try {
    await requireOrganization(client, organization);
    if (values.install) {
      report(await installAttestationKeys(client, PHI_MASTER_KEYS));
      console.log(`Installed the attestation keys of ${[...masters.byId.keys()].join(', ')}.`);
      return;
    }
    const rows = await dataKeys(client, organization);
    const { good, problems } = await sorted(masters, rows);
    if (values.check) {
      problems.push(...(await missingAttestationKeys(client, PHI_MASTER_KEYS)));
      if (problems.length === 0)
        console.log(`All ${rows.length} data keys open: ${use(rows)}. New ones use ${masters.activeId}.`);
      report(problems);
      return;
    }

    problems.push(...(await installAttestationKeys(client, PHI_MASTER_KEYS)));
    const stale = good.filter(({ master_key_id }) => master_key_id !== masters.activeId);
    const rewrapped = await each(stale, problems, (row) => rewrap(client, masters, row));
    const active = values['new-data-keys'] ? good.filter(({ retired_at }) => retired_at === null) : [];
    const started = await each(active, problems, (row) => replace(client, masters, row));
    console.log(`Wrapped ${rewrapped} data keys anew with ${masters.activeId}; started ${started} new ones.`);
    console.log(`In use now: ${use(await dataKeys(client, organization))}.`);
    report(problems);
  } finally {
    await client.end();
  }
}

/** Whether a database is a developer's own. */
function isLocal(url: string): boolean {
  return URL.canParse(url) && ['127.0.0.1', 'localhost', '[::1]'].includes(new URL(url).hostname);
}

/** Says what could not be done, and makes the command fail. */
function report(problems: Problems): void {
  if (problems.length === 0) return;
  console.error(['These need you, the rest is done:', ...problems].join('\n  '));
  process.exitCode = 1;
}

try {
  await main();
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
