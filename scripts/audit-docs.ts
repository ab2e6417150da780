/**
 * Writes the two generated tables of docs/audit-trail.md: what each check says of each edit (`tests/audit/edits.ts`), and
 * what each action means (`supabase/schemas/audit/actions.sql`). With `--check`, fails when the page has others.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { actionsTable, editsTable } from '../tests/audit/tables.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const page = `${root}/docs/audit-trail.md`;

async function actions(): Promise<{ action: string; meaning: string }[]> {
  const sql = await readFile(`${root}/supabase/schemas/audit/actions.sql`, 'utf8');
  return [...sql.matchAll(/^ {2}\('([^']+)', '((?:[^']|'')+)'\)/gm)].map(([, action = '', meaning = '']) => ({
    action,
    meaning: meaning.replaceAll("''", "'"),
  }));
}

/** Replaces what stands between `<!-- name -->` and `<!-- /name -->`. */
function withTable(text: string, name: string, table: string): string {
  const between = new RegExp(`(<!-- ${name} -->\\n)[^]*?(\\n<!-- /${name} -->)`);
  if (!between.test(text)) throw new Error(`docs/audit-trail.md has no <!-- ${name} -->`);
  return text.replace(between, (_all, begin: string, end: string) => `${begin}${table}${end}`);
}

const current = await readFile(page, 'utf8');
const text = withTable(withTable(current, 'edits', editsTable()), 'actions', actionsTable(await actions()));
if (!process.argv.includes('--check')) await writeFile(page, text);
else if (current !== text) {
  console.error('The tables of docs/audit-trail.md are out of date: run npm run audit-docs.');
  process.exitCode = 1;
}
