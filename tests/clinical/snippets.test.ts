/** Every report has a view, a snippet and a section in the docs, under one name; and every snippet runs as it stands. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { withConnection } from '../setup/db.ts';

const folder = fileURLToPath(new URL('../../supabase/snippets/', import.meta.url));
const snippets = readdirSync(folder).sort();
const docs = readFileSync(fileURLToPath(new URL('../../docs/reports.md', import.meta.url)), 'utf8');
/** Views that others are built on. */
const bases = ['months', 'named_sessions', 'staff_time_resources', 'supervision_months', 'weeks'];

/** Takes on a role itself, as the operator. */
const asOperator = 'as_one_of_the_clinic.sql';

/** How many rows a snippet's query gives a user of the seed, over the API's role and row-level security. */
async function rowsFor(email: string, file: string): Promise<number> {
  return withConnection(async (client) => {
    await client.query('set default_transaction_read_only = on');
    if (file !== asOperator)
      await client.query(
        `select set_config('role', 'authenticated', false),
            set_config('request.jwt.claims', jsonb_build_object(
              'role', 'authenticated', 'sub', member.user_id, 'org_id', member.organization_id)::text, false)
          from public.memberships as member join auth.users as person on person.id = member.user_id
          where person.email = $1`,
        [email],
      );
    const results = (await client.query(readFileSync(folder + file, 'utf8'))) as unknown;
    const selects = ([results].flat() as { command: string; rowCount: number }[]).filter(
      ({ command }) => command === 'SELECT',
    );
    return selects.at(-1)?.rowCount ?? 0;
  });
}

describe('snippets', () => {
  it.each(snippets)('%s shows an admin something of the seed', async (file) => {
    expect(await rowsFor('admin@brightpath.test', file)).toBeGreaterThan(0);
  });

  it.each(snippets.filter((file) => file !== asOperator))(
    '%s shows another clinic’s admin nothing of it',
    async (file) => {
      expect(await rowsFor('admin@harbor.test', file)).toBe(0);
    },
  );

  it('and docs have the views’ names', async () => {
    const views = await withConnection(async (client) => {
      const { rows } = await client.query(
        "select viewname from pg_views where schemaname = 'reports' order by 1",
      );
      return rows.map(({ viewname }) => viewname as string).filter((name) => !bases.includes(name));
    });
    expect(snippets.filter((file) => file !== asOperator)).toEqual(views.map((name) => `${name}.sql`));
    expect([...docs.matchAll(/^## `(\w+)`/gm)].map(([, name]) => name).sort()).toEqual(views);
  });
});
