/** Holes to plant before an attack, each of which it must find: so that a clean run means something. */

import pg from 'pg';

/** SQL that opens the hole, as the owner. */
export const plants: Record<string, string> = {
  'a policy that forgets the clinic': `
    alter policy role_scoped_select on public.clients using (true)`,
  'dates without bounds': `
    do $$ declare found record; begin
      for found in select conname, conrelid::regclass as relation from pg_constraint where coninhcount = 0 and conname like '%\\_in\\_reason' loop
        execute format('alter table %s drop constraint %I', found.relation, found.conname);
      end loop;
    end $$`,
  'a refusal keeps every id': `
    create or replace function private.trace_ids(ids uuid[]) returns uuid[]
    language plpgsql immutable set search_path = '' as $$ begin return (select array_agg(id) from unnest(ids) as id, generate_series(1, 1000)); end $$`,
};

/** Opens a hole. @throws Error when there is no such plant */
export async function plant(dbUrl: string, name: string): Promise<void> {
  const sql = plants[name];
  if (!sql) throw new Error(`No such plant; there are: ${Object.keys(plants).join(', ')}`);
  const client = new pg.Client({ connectionString: dbUrl });
  await client.connect();
  try {
    await client.query(sql);
  } finally {
    await client.end();
  }
}
