-- Purpose: the roles a Supabase project comes with, so that migrations and the API meet the same privileges here as on
-- the platform. Runs once, as the bootstrap superuser supabase_admin, before any migration.
-- Objects: roles postgres, anon, authenticated, service_role, authenticator, supabase_auth_admin; the owner of the
-- database and of schema extensions.
-- Watch: nobody the project uses is a superuser. A migration that needs one fails here, as it would on the platform.

-- Passwords are stored with few SCRAM rounds (see local/postgres.ts): they are public constants of a loopback server.
create role postgres login createdb createrole replication bypassrls password 'postgres';
create role anon nologin;
create role authenticated nologin;
create role service_role nologin bypassrls;
create role authenticator login noinherit password 'postgres';
create role supabase_auth_admin login noinherit createrole password 'postgres';

-- PostgREST connects as authenticator and becomes one of these three for each request, nothing else.
grant anon, authenticated, service_role to authenticator;

-- postgres may impersonate them (Studio, pgTAP) and hand them on, as on the platform.
grant anon, authenticated, service_role, authenticator to postgres with admin option;
grant pg_monitor, pg_read_all_data, pg_signal_backend to postgres;

-- The platform's limits for requests through the API; they keep a waiting request from waiting for ever.
alter role authenticator set statement_timeout = '8s';
alter role authenticator set lock_timeout = '8s';
alter role anon set statement_timeout = '3s';
alter role authenticated set statement_timeout = '8s';

alter role postgres set search_path = "$user", public, extensions;
alter role supabase_auth_admin set search_path = auth;
alter role supabase_auth_admin set idle_in_transaction_session_timeout = 60000;

alter database postgres owner to postgres;
grant temporary on database postgres to anon, authenticated, service_role;
