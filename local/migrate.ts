/** Fills a new cluster: the platform's baseline, then the project's migrations and seed by the `supabase` CLI. */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import pg from 'pg';
import { StackError } from './ports.ts';
import { databaseUrl, packageFolder } from './settings.ts';

const baselineFolder = fileURLToPath(new URL('./baseline', import.meta.url));

async function sqlFiles(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch(() => [] as string[]);
  return names
    .filter((name) => name.endsWith('.sql'))
    .sort()
    .map((name) => join(folder, name));
}

/**
 * Makes the roles, schemas and default privileges a hosted project starts with.
 * @param port of a server whose cluster has just been initialised
 */
export async function applyBaseline(port: number): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl(port, 'supabase_admin') });
  await client.connect();
  try {
    for (const file of await sqlFiles(baselineFolder)) {
      await client.query('begin');
      await client.query(await readFile(file, 'utf8'));
      await client.query('commit');
    }
  } finally {
    await client.end();
  }
}

/** Versions of the migrations in `supabase/migrations` that the database does not have yet. */
async function pendingMigrations(root: string, port: number): Promise<string[]> {
  const files = await sqlFiles(join(root, 'supabase', 'migrations'));
  const versions = files.map((file) => file.slice(dirname(file).length + 1).split('_')[0] ?? '');
  const client = new pg.Client({ connectionString: databaseUrl(port) });
  await client.connect();
  try {
    const known = await client.query<{ exists: boolean }>(
      `select to_regclass('supabase_migrations.schema_migrations') is not null as exists`,
    );
    if (!known.rows[0]?.exists) return versions;
    const applied = await client.query<{ version: string }>(
      'select version from supabase_migrations.schema_migrations',
    );
    const have = new Set(applied.rows.map((row) => row.version));
    return versions.filter((version) => !have.has(version));
  } finally {
    await client.end();
  }
}

/** SQL without what the CLI leaves out where it cuts a migration into its statements. */
const withoutGaps = (sql: string) => sql.replace(/[\s;]+/g, '');

/**
 * Files of `supabase/migrations` whose text is another than the one that the database once ran. The CLI goes by their
 * versions alone, so it does not run them again.
 */
export async function changedMigrations(root: string, port: number): Promise<string[]> {
  const client = new pg.Client({ connectionString: databaseUrl(port) });
  await client.connect();
  try {
    const { rows } = await client.query<{ version: string; ran: string }>(
      `select version, array_to_string(statements, '') as ran from supabase_migrations.schema_migrations
        where statements is not null`,
    );
    const ran = new Map(rows.map((row) => [row.version, withoutGaps(row.ran)]));
    const changed: string[] = [];
    for (const file of await sqlFiles(join(root, 'supabase', 'migrations'))) {
      const before = ran.get(basename(file).split('_')[0] ?? '');
      if (before !== undefined && before !== withoutGaps(await readFile(file, 'utf8')))
        changed.push(basename(file));
    }
    return changed;
  } finally {
    await client.end();
  }
}

/** Path of the `supabase` command that `npm ci` installed. */
function cliPath(): string {
  return join(packageFolder('supabase/package.json'), '..', '.bin', 'supabase');
}

/**
 * Applies what is pending with `supabase db push`, the command that deploys to production too.
 * @param options.seed also run the seed files of `config.toml`
 * @throws StackError with the CLI's own words
 */
export async function migrate(options: {
  root: string;
  port: number;
  seed: boolean;
  say: (line: string) => void;
}): Promise<void> {
  const pending = await pendingMigrations(options.root, options.port);
  if (pending.length === 0) return;
  options.say(
    `Applying ${pending.length} migration${pending.length === 1 ? '' : 's'} with the supabase CLI …`,
  );
  const result = await execa(
    cliPath(),
    [
      ...['db', 'push', '--yes', '--include-all', `--remote=${databaseUrl(options.port)}`],
      ...['--workdir', options.root],
      ...(options.seed ? ['--include-seed'] : []),
    ],
    {
      reject: false,
      all: true,
      stdin: 'ignore',
      env: {
        PGSSLMODE: 'disable',
        SUPABASE_TELEMETRY_DISABLED: '1',
        SUPABASE_NO_UPDATE_NOTIFIER: '1',
        DO_NOT_TRACK: '1',
      },
    },
  );
  if (result.failed) throw new StackError(`supabase db push failed:\n${result.all ?? result.message}`);
}

/** Today where the seed's clinics are: its sessions lie around their current week. */
const seedsDay = () =>
  ['America/Los_Angeles', 'America/New_York'].map((timeZone) =>
    new Date().toLocaleDateString('en-CA', { timeZone }),
  );

/**
 * A name for the state that baseline, migrations and seed produce: it changes when any of them does, and with every day
 * of the seed's clinics.
 */
export async function schemaFingerprint(root: string, seed: boolean): Promise<string> {
  const files = [
    ...(await sqlFiles(baselineFolder)),
    ...(await sqlFiles(join(root, 'supabase', 'migrations'))),
    join(root, 'supabase', 'config.toml'),
    join(root, 'supabase', 'seed.sql'),
    join(root, 'package-lock.json'),
  ];
  const hash = createHash('sha256').update(`${process.platform} ${process.arch} seed=${seed} ${seedsDay()}`);
  // Names without folders: copies of the project that have the same files share a template.
  for (const file of files)
    hash.update(`${basename(file)}\0`).update(await readFile(file).catch(() => 'absent'));
  return hash.digest('hex').slice(0, 16);
}
