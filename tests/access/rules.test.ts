/**
 * What a schema on Supabase must not have, asked of the catalog. `supabase db advisors` (in `npm run check`) has most of
 * Splinter's rules, for the schemas it looks at; here are those it lacks (0025 to 0029), and the rest for every schema of
 * the project, private ones too. The numbers are Splinter's: https://supabase.github.io/splinter/
 */
import { readFile } from 'node:fs/promises';
import { parse } from 'smol-toml';
import { expect, it } from 'vitest';
import { withConnection } from '../setup/db.ts';

const config = parse(await readFile(new URL('../../supabase/config.toml', import.meta.url), 'utf8')) as {
  api: { schemas: string[]; auto_expose_new_tables: boolean };
};

const ours = ['public', 'private', 'audit', 'reports'];

/** Each finds what offends; `$1` is the project's schemas, `$2` those the API exposes. */
const rules: Record<string, string> = {
  '0001 foreign keys have an index that begins with their columns': `
    select foreign_key.conrelid::regclass || '.' || foreign_key.conname as offends
    from pg_constraint as foreign_key
    where foreign_key.contype = 'f' and foreign_key.connamespace::regnamespace::text = any ($1) and $2::text[] is not null
      and not exists (
        select from pg_index as index
        where index.indrelid = foreign_key.conrelid
          and (index.indkey::int2[])[0:cardinality(foreign_key.conkey) - 1] @> foreign_key.conkey
      )`,
  '0002 no view or function of the API shows auth.users': `
    select distinct view.oid::regclass::text as offends
    from pg_depend as dependency
    join pg_rewrite as rule on rule.oid = dependency.objid
    join pg_class as view on view.oid = rule.ev_class
    where dependency.refobjid = 'auth.users'::regclass and view.relnamespace::regnamespace::text = any ($2) and $1::text[] is not null`,
  '0003 policies ask who is calling once a statement, not once a row': `
    select schemaname || '.' || tablename || ': ' || policyname as offends
    from pg_policies
    where schemaname = any ($1) and $2::text[] is not null
      and regexp_replace(
        coalesce(qual, '') || coalesce(with_check, ''), '\\( ?SELECT (auth|private)\\.\\w+\\(([^()]|\\([^()]*\\))*\\)', '', 'gi'
      ) ~ '(auth|private)\\.\\w+\\('`,
  '0004 every table has a primary key': `
    select class.oid::regclass::text as offends from pg_class as class
    where class.relkind in ('r', 'p') and class.relnamespace::regnamespace::text = any ($1) and $2::text[] is not null
      and not exists (select from pg_index where indrelid = class.oid and indisprimary)`,
  '0006 there is one permissive policy for a table, role and command': `
    select schemaname || '.' || tablename || ' ' || command as offends
    from pg_policies
    cross join lateral unnest(case cmd when 'ALL' then array['SELECT', 'INSERT', 'UPDATE', 'DELETE'] else array[cmd] end) as command
    where schemaname = any ($1) and $2::text[] is not null and permissive = 'PERMISSIVE'
    group by schemaname, tablename, command having count(*) > 1`,
  '0007, 0008, 0013 every table has row security, and a policy': `
    select class.oid::regclass::text as offends from pg_class as class
    where class.relkind in ('r', 'p') and class.relnamespace::regnamespace::text = any ($1) and $2::text[] is not null
      and (not class.relrowsecurity or not exists (select from pg_policy where polrelid = class.oid))`,
  '0009 no two indexes are the same': `
    select min(indexrelid::regclass::text) as offends from pg_index
    where indrelid in (select oid from pg_class where relnamespace::regnamespace::text = any ($1)) and $2::text[] is not null
    group by indrelid, indkey::text, indclass::text, indisunique, pg_get_expr(indpred, indrelid), pg_get_expr(indexprs, indrelid)
    having count(*) > 1`,
  '0010 views run with the rights of who reads them': `
    select class.oid::regclass::text as offends from pg_class as class
    where class.relkind = 'v' and class.relnamespace::regnamespace::text = any ($1) and $2::text[] is not null
      and not coalesce(class.reloptions, '{}') && array['security_invoker=true', 'security_invoker=on']`,
  '0011 every function has an empty search path': `
    select routine.oid::regprocedure::text as offends from pg_proc as routine
    where routine.pronamespace::regnamespace::text = any ($1) and $2::text[] is not null
      and not exists (select from pg_depend where objid = routine.oid and deptype = 'e')
      and not coalesce(routine.proconfig, '{}') @> array['search_path=""']`,
  '0014 extensions are in schema extensions': `
    select extname as offends from pg_extension
    where extnamespace::regnamespace::text = any ($1) and $2::text[] is not null`,
  '0015 no policy believes what users write about themselves': `
    select schemaname || '.' || tablename || ': ' || policyname as offends from pg_policies
    where schemaname = any ($1) and $2::text[] is not null and coalesce(qual, '') || coalesce(with_check, '') ~ 'user_metadata'`,
  '0016, 0017 no materialized view or foreign table is in the API': `
    select class.oid::regclass::text as offends from pg_class as class
    where class.relkind in ('m', 'f') and class.relnamespace::regnamespace::text = any ($2) and $1::text[] is not null`,
  '0024 no policy lets everybody write': `
    select schemaname || '.' || tablename || ': ' || policyname as offends from pg_policies
    where schemaname = any ($1) and $2::text[] is not null and permissive = 'PERMISSIVE' and cmd <> 'SELECT'
      and (btrim(coalesce(qual, '')) in ('true', '(true)') or btrim(coalesce(with_check, '')) in ('true', '(true)'))`,
  '0025 no public bucket can be listed': `
    select class.oid::regclass::text as offends from pg_class as class
    join pg_policy as policy on policy.polrelid = class.oid
    where class.relnamespace::regnamespace::text = 'storage' and class.relname = 'objects'
      and policy.polcmd in ('r', '*') and $1::text[] is not null and $2::text[] is not null`,
  '0026 anon reads no table, so that pg_graphql shows it none': `
    select class.oid::regclass || '.' || attname as offends
    from pg_class as class join pg_attribute on attrelid = class.oid and attnum > 0 and not attisdropped
    where class.relkind in ('r', 'v', 'm', 'f', 'p') and class.relnamespace::regnamespace::text = any ($1) and $2::text[] is not null
      and has_column_privilege('anon', class.oid, attnum, 'SELECT, INSERT, UPDATE')`,
  '0027 pg_graphql is not installed: it would describe every table to every user': `
    select extname as offends from pg_extension where extname = 'pg_graphql' and $1::text[] is not null and $2::text[] is not null`,
  '0028 anon executes no function': `
    select routine.oid::regprocedure::text as offends from pg_proc as routine
    where routine.pronamespace::regnamespace::text = any ($1) and $2::text[] is not null
      and has_function_privilege('anon', routine.oid, 'EXECUTE')`,
  '0029 no SECURITY DEFINER function is in the API': `
    select routine.oid::regprocedure::text as offends from pg_proc as routine
    where routine.prosecdef and routine.pronamespace::regnamespace::text = any ($2) and $1::text[] is not null
      and has_function_privilege('authenticated', routine.oid, 'EXECUTE')`,
  'nothing is granted to PUBLIC': `
    select class.oid::regclass::text as offends from pg_class as class, aclexplode(class.relacl) as grant_item
    where class.relnamespace::regnamespace::text = any ($1) and grant_item.grantee = 0 and $2::text[] is not null
    union all
    select routine.oid::regprocedure::text from pg_proc as routine,
      aclexplode(coalesce(routine.proacl, acldefault('f', routine.proowner))) as grant_item
    where routine.pronamespace::regnamespace::text = any ($1) and grant_item.grantee = 0
      and not exists (select from pg_depend where objid = routine.oid and deptype = 'e')`,
  'nobody may hand on what was granted to her': `
    select class.oid::regclass::text as offends from pg_class as class, aclexplode(class.relacl) as grant_item
    where class.relnamespace::regnamespace::text = any ($1) and grant_item.is_grantable and grant_item.grantee <> class.relowner
      and $2::text[] is not null`,
  'every table that the API writes leaves an event for each command': `
    select class.oid::regclass || ' ' || command.name as offends
    from pg_class as class
    cross join (values ('INSERT', 4), ('UPDATE', 16), ('DELETE', 8)) as command (name, bit)
    where class.relkind in ('r', 'p') and class.relnamespace::regnamespace::text = any ($1) and $2::text[] is not null
      and exists (
        select from unnest(array['authenticated', 'service_role']) as role
        where case command.name
          when 'DELETE' then has_table_privilege(role, class.oid, 'DELETE')
          else has_any_column_privilege(role, class.oid, command.name)
        end
      )
      and not exists (
        select from pg_trigger as trigger join pg_proc as routine on routine.oid = trigger.tgfoid
        where trigger.tgrelid = class.oid and trigger.tgtype & command.bit > 0 and (routine.prosrc ~ 'record_event' or routine.prosrc ~ 'audit_written')
      )`,
  'everything has a comment: tables, views, functions, policies': `
    select class.oid::regclass::text as offends from pg_class as class
    where class.relkind in ('r', 'p', 'v', 'm') and class.relnamespace::regnamespace::text = any ($1) and $2::text[] is not null
      and obj_description(class.oid, 'pg_class') is null
    union all
    select routine.oid::regprocedure::text from pg_proc as routine
    where routine.pronamespace::regnamespace::text = any ($1) and obj_description(routine.oid, 'pg_proc') is null
      and not exists (select from pg_depend where objid = routine.oid and deptype = 'e')
    union all
    select policy.polrelid::regclass || ': ' || policy.polname from pg_policy as policy
    join pg_class as class on class.oid = policy.polrelid
    where class.relnamespace::regnamespace::text = any ($1) and obj_description(policy.oid, 'pg_policy') is null
      and policy.polname <> 'deny_all'`,
};

it.each(Object.entries(rules))('%s', async (_, query) => {
  const offenders = await withConnection((client) => client.query(query, [ours, config.api.schemas]));
  expect(offenders.rows.map(({ offends }) => offends)).toEqual([]);
});

it('what is new in the API is granted to nobody until somebody grants it', async () => {
  expect(config.api).toMatchObject({ auto_expose_new_tables: false });
  const granted = await withConnection(async (client) => {
    await client.query('begin');
    await client.query('create table public.brand_new (id int primary key)');
    await client.query(
      "create function public.brand_new() returns int language sql set search_path = '' as 'select 1'",
    );
    const { rows } = await client.query(
      `select role from unnest(array['anon', 'authenticated', 'service_role']) as role
        where has_table_privilege(role, 'public.brand_new', 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
          or has_function_privilege(role, 'public.brand_new()', 'EXECUTE')`,
    );
    await client.query('rollback');
    return rows;
  });
  expect(granted).toEqual([]);
});

it('the API exposes public and reports, never private or audit', () => {
  expect([...config.api.schemas].sort()).toEqual(['public', 'reports']);
});
