/** The documents name only what is there: database objects, schema files, columns, constraints and settings, and headings of each other. */
import { existsSync } from 'node:fs';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../../', import.meta.url));

async function filesBelow(folder: string, extension: RegExp): Promise<string[]> {
  const names = await readdir(join(root, folder), { recursive: true });
  return names
    .filter((name) => extension.test(name) && !/(^|\/)(node_modules|dist)\//.test(name))
    .map((name) => join(folder, name));
}

const read = (name: string) => readFile(join(root, name), 'utf8');

/** A decision that was replaced speaks of what was there then. */
const isHistory = (text: string) => /^\*Replaced by /m.test(text);

/** The anchors that a page's headings get. */
async function headingsOf(name: string): Promise<Set<string>> {
  const headings = [...(await read(name)).matchAll(/^#+ (.+)$/gm)].map((match) => match[1] ?? '');
  return new Set(
    headings.map((heading) =>
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}

const schemaFiles = await filesBelow('supabase/schemas', /\.sql$/);
const schema = (await Promise.all(schemaFiles.map(read))).join('\n');
const objects = new Set([
  ...[
    ...schema.matchAll(
      /^create (?:or replace )?(?:function|table|view|type|domain)(?: if not exists)? (\w+\.\w+)/gm,
    ),
  ].map((match) => match[1]),
  ...[...schema.matchAll(/^select private\.publish(?:_booking)?\('(\w+)'/gm)].map(
    (match) => `public.${match[1]}`,
  ),
]);

const documents: [name: string, text: string][] = [];
for (const name of [
  'README.md',
  'AGENTS.md',
  'SECURITY.md',
  'CHANGELOG.md',
  'bench/README.md',
  'examples/web/README.md',
  'tests/torture/README.md',
  ...(await filesBelow('docs', /\.md$/)),
]) {
  const text = await read(name);
  if (!isHistory(text)) documents.push([name, text]);
}

/** Everything that looks like a name in SQL, in the functions, in the library and in the tools, and how the files are called. */
const words = new Set<string>();
for (const folder of [
  'supabase',
  'src',
  'local',
  'scripts',
  'examples/web/src',
  'tests/rules',
  'tests/torture',
])
  for (const name of await filesBelow(folder, /\.(sql|ts|tsx|toml|json)$/))
    for (const [word] of `${name} ${await read(name)}`.matchAll(/[a-z][a-z0-9]*(?:_[a-z0-9]+)+/g))
      words.add(word);

/** What the page on adding a table has its reader make. */
const EXAMPLES = ['public.travel_rates'];

function unknownObjects(text: string): string[] {
  const named = [...text.matchAll(/(?<![\w./-])(?:private|public|audit|reports)\.[a-z][a-z0-9_]*/g)].map(
    ([name]) => name.replace(/_\d{4}_q\d$/, '').replace(/_id_seq$/, ''),
  );
  return named.filter(
    (name) => !/\.(md|ts|tsx|sql)$/.test(name) && !EXAMPLES.includes(name) && !objects.has(name),
  );
}

function unknownFiles(text: string): string[] {
  const named = [...text.matchAll(/supabase\/schemas\/[\w/]+\.sql/g)].map(([path]) => path);
  return named.filter((path) => !existsSync(join(root, path)));
}

function unknownWords(text: string): string[] {
  const code = [...text.matchAll(/`([^`\n]+)`/g)].map((match) => match[1] ?? '');
  const named = code.flatMap((part) => [
    ...part.matchAll(/(?<![\w./-])[a-z][a-z0-9]*(?:_[a-z0-9]+)+(?!\w)/g),
  ]);
  return named.map(([name]) => name).filter((name) => !words.has(name) && !/_\d{4}_q\d$/.test(name));
}

describe('what the documents name', () => {
  it.each(documents)('%s names only tables, views and functions that exist', (_name, text) => {
    expect(unknownObjects(text)).toEqual([]);
  });

  it.each(documents)('%s names only schema files that exist', (_name, text) => {
    expect(unknownFiles(text)).toEqual([]);
  });

  it.each(documents)('%s names, in code type, nothing that no file of the product knows', (_name, text) => {
    expect(unknownWords(text)).toEqual([]);
  });

  it.each(documents)('%s links to headings that are there', async (name, text) => {
    const links = [...text.matchAll(/\]\(([^)#\s:]*)#([^)\s]+)\)/g)];
    const missing: string[] = [];
    for (const [link, path, anchor] of links) {
      const target = path ? join(dirname(name), path) : name;
      if (!(await headingsOf(target)).has(anchor ?? '')) missing.push(link);
    }
    expect(missing).toEqual([]);
  });

  it('docs/architecture.md maps every schema file', async () => {
    const text = await read('docs/architecture.md');
    const missing = schemaFiles.filter(
      (path) => !text.includes(path) && !path.startsWith('supabase/schemas/reports/'),
    );
    expect(missing).toEqual([]);
  });

  it('would see what is gone', () => {
    expect(unknownObjects('ask `private.claims` or `private.lane_overrides(uuid)`')).toEqual([
      'private.lane_overrides',
    ]);
    expect(unknownFiles('see `supabase/schemas/booking/requests.sql`')).toEqual([
      'supabase/schemas/booking/requests.sql',
    ]);
    expect(unknownWords('`group_id` and `expected_claims_of_yore`')).toEqual(['expected_claims_of_yore']);
  });

  it('knows the schema', () => {
    for (const name of ['private.claims', 'private.sync_claims', 'public.hold_sessions', 'reports.unbilled'])
      expect(objects).toContain(name);
  });
});
