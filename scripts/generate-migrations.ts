/**
 * Writes the baseline migration from `supabase/schemas`, in the order of `[db.migrations] schema_paths` in
 * `supabase/config.toml`; with `--check`, fails when the file in the repository differs or a schema file is not listed.
 *
 * Until the first release the schema files are the only SQL that people edit, and the baseline is their concatenation.
 */
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { parse } from 'smol-toml';

const supabase = fileURLToPath(new URL('../supabase', import.meta.url));
const target = `${supabase}/migrations/20261101000000_baseline.sql`;

/** Files of the schema in the order in which they are applied, relative to `supabase`. */
async function schemaPaths(): Promise<string[]> {
  const config = parse(await readFile(`${supabase}/config.toml`, 'utf8')) as {
    db: { migrations: { schema_paths: string[] } };
  };
  const listed = config.db.migrations.schema_paths.map((path) => path.replace(/^\.\//, ''));
  const present = (await readdir(`${supabase}/schemas`, { recursive: true }))
    .filter((name) => name.endsWith('.sql'))
    .map((name) => `schemas/${name}`);
  const unlisted = present.filter((path) => !listed.includes(path));
  if (unlisted.length > 0) {
    throw new Error(`not in schema_paths of supabase/config.toml: ${unlisted.join(', ')}`);
  }
  return listed;
}

async function baseline(): Promise<string> {
  const files = await schemaPaths();
  const texts = await Promise.all(
    files.map(
      async (path) => `-- === ${path} ===\n\n${(await readFile(`${supabase}/${path}`, 'utf8')).trim()}\n`,
    ),
  );
  return [
    '-- The whole schema. Generated from supabase/schemas by `npm run migrations`: edit the files there, not this one.\n',
    ...texts,
  ].join('\n');
}

/** Writes the baseline migration when it differs from the schema files. @returns whether it did */
export async function writeBaseline(): Promise<boolean> {
  const generated = await baseline();
  if (generated === (await stored())) return false;
  await writeFile(target, generated);
  return true;
}

async function stored(): Promise<string> {
  return readFile(target, 'utf8').catch(() => '');
}

if (import.meta.main) {
  if (!process.argv.includes('--check')) {
    await writeBaseline();
  } else if ((await stored()) !== (await baseline())) {
    console.error('The baseline migration is not what supabase/schemas says: run `npm run migrations`.');
    process.exitCode = 1;
  }
}
