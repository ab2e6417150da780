/** Every report has a view, a snippet and a section in the docs, under one name; and every snippet runs as it stands. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { withConnection } from '../setup/db.ts';

const folder = fileURLToPath(new URL('../../supabase/snippets/', import.meta.url));
const snippets = readdirSync(folder).sort();
const docs = readFileSync(fileURLToPath(new URL('../../docs/reports.md', import.meta.url)), 'utf8');
/** Views that others are built on. */
const bases = ['months', 'rendered_services', 'weeks'];

describe('snippets', () => {
  it.each(snippets)('%s runs as it stands', async (file) => {
    await withConnection(async (client) => {
      await client.query('set default_transaction_read_only = on');
      await client.query(readFileSync(folder + file, 'utf8'));
    });
  });

  it('and docs have the views’ names', async () => {
    const views = await withConnection(async (client) => {
      const { rows } = await client.query(
        "select viewname from pg_views where schemaname = 'reports' order by 1",
      );
      return rows.map(({ viewname }) => viewname as string).filter((name) => !bases.includes(name));
    });
    expect(snippets.filter((file) => file !== 'as_one_of_the_clinic.sql')).toEqual(
      views.map((name) => `${name}.sql`),
    );
    expect([...docs.matchAll(/^## `(\w+)`/gm)].map(([, name]) => name).sort()).toEqual(views);
  });
});
