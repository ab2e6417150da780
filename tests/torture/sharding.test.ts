/** What `docs/scaling.md` says about splitting by tenant, read from the catalog. */
import { expect, test } from 'vitest';
import { withConnection } from '../setup/db.ts';

/** Keys of our schemas that do not begin with the organization, as `table: definition`. */
async function keysAcrossTenants(types: string[]): Promise<string[]> {
  return withConnection(async (client) => {
    const { rows } = await client.query(
      `select relation.relnamespace::regnamespace || '.' || relation.relname || ': ' || pg_get_constraintdef(c.oid) as key
        from pg_catalog.pg_constraint as c
        join pg_catalog.pg_class as relation on relation.oid = c.conrelid
        join pg_catalog.pg_attribute as a on a.attrelid = relation.oid and a.attnum = c.conkey[1]
        where relation.relnamespace = any ('{public,private,audit}'::regnamespace[])
          and not relation.relispartition and c.contype = any ($1) and a.attname <> 'organization_id'
        order by 1`,
      [types],
    );
    return rows.map(({ key }) => key);
  });
}

test('every key begins with the organization, but for organizations themselves and what all of them share', async () => {
  const shared =
    /^public\.(organizations|time_zones|service_codes): |^private\.(active_organizations|attestation_keys|rate_limits): |^audit\.(archives|actions): /;
  expect((await keysAcrossTenants(['p', 'u', 'x'])).filter((key) => !shared.test(key))).toEqual([]);
});

test('no row points into another tenant: foreign keys without the organization lead to reference tables or to Auth', async () => {
  const outside = / REFERENCES (public\.)?(time_zones|service_codes)\(| REFERENCES auth\.users\(id\)/;
  expect((await keysAcrossTenants(['f'])).filter((key) => !outside.test(key))).toEqual([]);
});
