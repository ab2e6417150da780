-- Purpose: the schemas, extensions and default privileges a project starts with.
-- Objects: grants on public; schema extensions with pgcrypto and uuid-ossp; the schema cache's event triggers.
-- Watch: there are deliberately no default privileges for anon, authenticated and service_role. Since 30 October 2026
-- new tables, sequences and functions reach none of them without an explicit grant. Postgres' own default, EXECUTE to
-- PUBLIC on new functions, stays as it is on the platform, so that a forgotten revoke is found here.

grant usage on schema public to anon, authenticated, service_role;
grant all on schema public to postgres;

create schema extensions authorization postgres;
grant usage on schema extensions to anon, authenticated, service_role, supabase_auth_admin;

create extension pgcrypto with schema extensions;
create extension "uuid-ossp" with schema extensions;

-- The REST layer keeps the schema in memory, as PostgREST does; these tell it to read it again after DDL.
create function extensions.pgrst_ddl_watch() returns event_trigger
language plpgsql
set search_path = ''
as $$
begin
  notify pgrst, 'reload schema';
end
$$;
comment on function extensions.pgrst_ddl_watch() is 'Asks the REST layer to read the schema again after DDL.';

create event trigger pgrst_ddl_watch on ddl_command_end execute function extensions.pgrst_ddl_watch();
create event trigger pgrst_drop_watch on sql_drop execute function extensions.pgrst_ddl_watch();
