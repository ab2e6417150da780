-- What every object of the schema must be, asked of the catalog, so that a new one is asked too.
begin;
select plan(24);

create temporary table relations on commit drop as
select class.oid, class.oid::regclass::text as name, class.relkind, class.relrowsecurity, class.reloptions, class.relispartition, namespace.nspname as schema
from pg_class as class
join pg_namespace as namespace on namespace.oid = class.relnamespace
where namespace.nspname in ('public', 'private', 'audit', 'reports') and class.relkind in ('r', 'p', 'v', 'm', 'S', 'f')
  -- What extensions bring is theirs.
  and not exists (select 1 from pg_depend where classid = 'pg_class'::regclass and objid = class.oid and deptype = 'e');
create temporary table functions on commit drop as
select function.oid, function.oid::regprocedure::text as name, function.prosecdef, function.proconfig, function.proacl, function.provolatile,
  function.proowner, namespace.nspname as schema
from pg_proc as function
join pg_namespace as namespace on namespace.oid = function.pronamespace
where namespace.nspname in ('public', 'private', 'audit', 'reports')
  and not exists (select 1 from pg_depend where classid = 'pg_proc'::regclass and objid = function.oid and deptype = 'e');

-- Tables
select is_empty($$ select name from relations where relkind in ('r', 'p') and not relrowsecurity $$, 'every table has row-level security, partitions too');
select is_empty($$ select name from relations where relkind in ('r', 'p') and not exists (select 1 from pg_policy where polrelid = relations.oid) $$,
  'and a policy: a deny-all is written down');
select is_empty($$
  select relation.name, role.name, command.name from relations as relation
  cross join (values ('authenticated'), ('service_role'), ('anon')) as role (name)
  cross join (values ('r'), ('a'), ('w'), ('d')) as command (name)
  where relation.relkind in ('r', 'p') and (
    select count(*) from pg_policy where polrelid = relation.oid and polpermissive and polcmd in (command.name::"char", '*')
      and (polroles = '{0}' or role.name::regrole = any (polroles))) > 1 $$, 'at most one permissive policy for each table, role and command');
select is_empty($$ select polrelid::regclass, polname from pg_policy join relations on relations.oid = polrelid
  where coalesce(pg_get_expr(polqual, polrelid), '') || coalesce(pg_get_expr(polwithcheck, polrelid), '') ~ '(?<!SELECT )(auth\.(uid|jwt|role)|private\.[a-z_]+)\(' $$,
  'policies call functions in a subselect, once a statement');
select is_empty($$ select name from relations where relkind in ('v', 'm') and not coalesce(reloptions::text ~ 'security_invoker=(true|on|1)', false) $$,
  'views are security_invoker');
select is_empty($$ select name from relations where relkind in ('r', 'p', 'v') and obj_description(oid, 'pg_class') is null $$, 'every table and view has a comment');
select is_empty($$
  select conrelid::regclass, conname from pg_constraint join relations on relations.oid = conrelid
  where contype = 'f' and not exists (
    select 1 from pg_index where indrelid = conrelid and indisvalid
      and (string_to_array(indkey::text, ' ')::smallint[])[1:cardinality(conkey)] @> conkey
      and (string_to_array(indkey::text, ' ')::smallint[])[1:cardinality(conkey)] <@ conkey) $$,
  'every foreign key is covered by an index with the same leading columns');
-- service_codes has rows that are every organization's.
select is_empty($$ select name from relations where relkind in ('r', 'p') and not relispartition and name <> 'service_codes'
  and exists (select 1 from pg_attribute where attrelid = oid and attname = 'organization_id' and not attisdropped and not attnotnull) $$,
  'no row of a clinic is without its clinic: organization_id is never null');
select is_empty($$
  select conrelid::regclass, attname from pg_constraint
  cross join lateral unnest(conkey) as key (attnum)
  join pg_attribute on attrelid = conrelid and pg_attribute.attnum = key.attnum
  where contype = 'x' and connamespace::regnamespace::text in ('public', 'private') and not attnotnull $$,
  'columns of an exclusion constraint are not null: a null would conflict with nothing');
select is((select count(*) from pg_constraint where contype = 'x' and conrelid = 'private.claims'::regclass and not condeferrable), 1::bigint,
  'the claims'' constraint is immediate, since "on conflict" needs it');
select matches((select pg_get_constraintdef(oid) from pg_constraint where contype = 'x' and conrelid = 'public.sessions'::regclass),
  'WHERE .*cancelled.*no_show', 'the sessions'' constraint lets go of what is cancelled or missed');

-- What the API writes is refused in words; see refused_rows.sql.
select is_empty($$
  select conrelid::regclass, conname from pg_constraint
  where contype in ('c', 'x') and connamespace = 'public'::regnamespace and obj_description(oid, 'pg_constraint') is null
    and exists (select from pg_trigger where tgrelid = conrelid and tgname = 'zz_refuse_broken_row') $$,
  'each check and exclusion constraint of a table that the API writes says in its comment what is right');
select is_empty($$
  select relations.name from relations where relkind in ('r', 'p') and schema = 'public' and not relispartition
    and exists (
      select from unnest(array['authenticated', 'service_role']) as role (name), unnest(array['INSERT', 'UPDATE']) as command (name)
      where has_any_column_privilege(role.name, relations.oid, command.name))
    and (select count(*) from pg_trigger where tgrelid = relations.oid and tgname in ('zz_refuse_broken_row', 'A_refuse_broken_reference')) <> 2 $$,
  'each table that the API writes has the triggers that say it');

-- Functions
select is_empty($$ select name from functions where not coalesce(proconfig::text ~ 'search_path=', false) $$, 'every function sets its search_path');
select is_empty($$ select name from functions where obj_description(oid, 'pg_proc') is null $$, 'every function has a comment');
select is_empty($$ select name from functions where schema in ('public', 'reports') and prosecdef $$, 'functions of the API run as their caller');
select is_empty($$ select name from functions where has_function_privilege('anon', oid, 'execute') $$, 'anon may call none');
select is_empty($$ select name from functions cross join lateral aclexplode(coalesce(proacl, acldefault('f', proowner))) as grant_
  where grant_.grantee = 0 $$, 'nor is any granted to everybody');
select is_empty($$ select functions.name from functions join pg_proc on pg_proc.oid = functions.oid
  where prosrc like '%lock_not_available or deadlock_detected%then%' and prosrc not like '%raise_busy(sqlstate, sqlerrm)%'
    and functions.name <> 'private.offer_all_freed_slots(integer)' $$,
  'whichever gives way to others says in the log to whom; the sweeper alone comes again in silence');

select is_empty($$ select functions.name from functions join pg_proc on pg_proc.oid = functions.oid
  where prorettype = 'trigger'::regtype and prosrc ~* '\mexecute\M' $$, 'no trigger makes statements anew for each row: that took a bulk write thirty times as long');

-- Grants
select is_empty($$ select name, privilege from relations, unnest(array['select', 'insert', 'update', 'references']) as privilege
  where relkind in ('r', 'p', 'v', 'm') and has_any_column_privilege('anon', oid, privilege) $$, 'anon is granted no table');
select is_empty($$ select name, role from relations, unnest(array['anon', 'authenticated', 'service_role']) as role
  where relkind in ('r', 'p') and has_table_privilege(role, oid, 'truncate, trigger, references') $$, 'no API role truncates or hangs on triggers');
select is_empty($$ select role from unnest(array['anon', 'authenticated', 'service_role']) as role where has_schema_privilege(role, 'private', 'usage, create') $$,
  'no API role enters the private schema');

-- Triggers that keep records
select is_empty($$
  select name from relations
  where relkind in ('r', 'p') and name in ('sessions', 'session_holds', 'hold_batches', 'session_cancellations', 'clients', 'audit.events',
    'private.session_note_versions', 'private.client_detail_versions')
    and (not exists (select 1 from pg_trigger where tgrelid = relations.oid and tgtype & 8 > 0 and tgname like 'refuse%')
      or not exists (select 1 from pg_trigger where tgrelid = relations.oid and tgtype & 32 > 0 and tgname like 'refuse%')) $$,
  'medical and audit rows refuse DELETE and TRUNCATE');

select * from finish();
rollback;
