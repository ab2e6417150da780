-- Purpose: the ground every later migration stands on.
-- Objects: schemas private, audit and reports; the extensions; strict default privileges; public.time_zones;
--          the enumerated types; the errors that leave the database; private.publish, which makes the API's functions.
-- Watch for: nothing below is granted by default. A table or function without an explicit grant reaches nobody,
--            and that is meant.

create schema if not exists extensions;
create extension if not exists btree_gist with schema extensions;
create extension if not exists pgcrypto with schema extensions;

create schema private;
comment on schema private is
  'Never exposed by the API: SECURITY DEFINER functions, claims, idempotency keys. API roles have no USAGE here.';
create schema audit;
comment on schema audit is 'Append-only events: who did what, when, to which rows.';
create schema reports;
comment on schema reports is 'security_invoker views for clinic admins, each leading with organization_id.';

revoke all on schema private, audit, reports from public;
grant usage on schema audit, reports to authenticated, service_role;

-- Functions are executable by PUBLIC and tables in public by the API roles unless this is taken away first.
alter default privileges revoke execute on functions from public;
alter default privileges in schema public revoke all on tables from anon, authenticated, service_role;
alter default privileges in schema public revoke all on sequences from anon, authenticated, service_role;
alter default privileges in schema public revoke all on functions from anon, authenticated, service_role;

create type public.member_role as enum ('client', 'therapist', 'admin', 'super_admin');
comment on type public.member_role is 'What a member may do in one organization.';

create type public.session_status as enum ('scheduled', 'in_progress', 'completed', 'cancelled', 'no_show');
comment on type public.session_status is
  'scheduled -> in_progress -> completed; scheduled or in_progress -> cancelled or no_show. Nothing else.';

create type public.hold_status as enum ('held', 'confirmed', 'released', 'expired');
comment on type public.hold_status is
  'held -> confirmed, released or expired. A held row past expires_at is expired whether or not anybody wrote it down.';

create type public.resource_kind as enum ('therapist', 'client', 'room');
comment on type public.resource_kind is 'What can be claimed for a range of time.';

create type public.cancellation_attribution as enum ('staff', 'client', 'unknown');
comment on type public.cancellation_attribution is 'On whose side a cancellation arose.';

create type public.availability_exception_kind as enum ('time_off', 'extra_hours');
comment on type public.availability_exception_kind is 'A dated change to a therapist''s weekly hours.';

create table public.time_zones (
  name text primary key check (name <> '')
);
comment on table public.time_zones is
  'IANA time zone names this database accepts. Postgres itself accepts nonsense such as foo3bar (read as a POSIX '
  'zone), so a zone is valid only when it stands here. Names that Postgres reads as a fixed abbreviation (CET, EET, MET, '
  'WET, EST) are left out: in summer it would be an hour off.';

insert into public.time_zones (name)
select zone.name
from pg_catalog.pg_timezone_names as zone
where zone.name !~ '^(posix|right)/'
  and zone.name not in ('Factory', 'localtime', 'posixrules')
  and (
    zone.name in ('UTC', 'GMT', 'UCT', 'Zulu')
    or upper(zone.name) not in (select abbreviation.abbrev from pg_catalog.pg_timezone_abbrevs as abbreviation)
  );

alter table public.time_zones enable row level security;
create policy time_zones_select on public.time_zones for select to authenticated using (true);
comment on policy time_zones_select on public.time_zones is 'Reference data: every signed-in user may list zones.';
grant select on public.time_zones to authenticated, service_role;

create function private.raise_refusal(status integer, code text, message text, detail text default null)
returns void
language plpgsql
set search_path = ''
as $$
begin
  raise exception using
    errcode = 'PT' || status,
    message = raise_refusal.message,
    detail = coalesce(raise_refusal.detail, ''),
    hint = raise_refusal.code;
end
$$;
comment on function private.raise_refusal(integer, text, text, text) is
  'Raises SQLSTATE PT<status>, which PostgREST answers as that HTTP status; the hint carries the contract''s code. '
  'For authentication, malformed input and infrastructure only: business refusals are returned, so that their audit '
  'event survives.';

create function private.raise_invalid(issues jsonb, code text default 'VALIDATION_FAILED')
returns void
language plpgsql
set search_path = ''
as $$
begin
  raise exception using
    errcode = 'PT400',
    message = format('%s: %s', coalesce(nullif(issues -> 0 ->> 'path', ''), 'request'), issues -> 0 ->> 'message'),
    detail = issues::text,
    hint = raise_invalid.code;
end
$$;
comment on function private.raise_invalid(jsonb, text) is
  'Refuses malformed input: issues is [{path, message}], path being the dotted name of the field.';

create function private.issue(path text, message text)
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
begin
  return jsonb_build_array(jsonb_build_object('path', path, 'message', message));
end
$$;
comment on function private.issue(text, text) is 'One validation issue, as an array so that issues concatenate.';

create type private.rule as (path text, message text, is_broken boolean);
comment on type private.rule is 'A rule of a request: which field it is of, what it says, and whether it is broken.';

create function private.require(rules private.rule[])
returns void
language plpgsql
set search_path = ''
as $$
declare
  issues jsonb;
begin
  select jsonb_agg(jsonb_build_object('path', rule.path, 'message', rule.message)) into issues
  from unnest(rules) as rule
  where rule.is_broken;
  if issues is not null then
    perform private.raise_invalid(issues);
  end if;
end
$$;
comment on function private.require(private.rule[]) is 'PT400 that names every rule that is broken.';

create function private.is_direct_write()
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  return current_setting('therapist_sessions.within', true) is distinct from 'booking' or current_user <> 'postgres';
end
$$;
comment on function private.is_direct_write() is
  'Whether a row is being written by somebody else than a booking function, which says so with a setting (see '
  'private.enter_booking) and runs as the owner of the tables. Triggers of direct writes ask it.';
grant execute on function private.is_direct_write() to authenticated, service_role;

-- What apps may call -----------------------------------------------------------------------------------------------
-- A function of the API is written once, in private, as SECURITY DEFINER. Apps have no USAGE on private: they call its
-- namesake in public, a SECURITY INVOKER function with the same arguments that does nothing but pass them on. A booking
-- function is written without the settings, the caller and the errors that all of them have: private.publish_booking adds them.

create function private.publish(
  name text,
  about text,
  caller text default 'authenticated',
  answer text default '%s',
  function_name text default null,
  first_argument text default null
)
returns void
language plpgsql
set search_path = ''
as $$
declare
  known pg_catalog.pg_proc;
  passed_on text;
  arguments text;
begin
  select candidate.* into strict known from pg_catalog.pg_proc as candidate
  where candidate.pronamespace = 'private'::regnamespace
    and candidate.proname = coalesce(publish.function_name, publish.name)
    -- What takes its caller as an argument is for other functions; see private.publish_booking.
    and candidate.proargnames[1] is distinct from 'actor';
  arguments := pg_get_function_arguments(known.oid);
  if first_argument is not null then
    arguments := regexp_replace(arguments, '^[^,]+, ', '');
  end if;
  passed_on := format('private.%I(%s)', known.proname, concat_ws(', ', quote_literal(first_argument), (
    select string_agg(format('%I.%I', publish.name, argument.name), ', ' order by argument.position)
    from unnest(known.proargnames) with ordinality as argument (name, position)
    where argument.position <= known.pronargs and (first_argument is null or argument.position > 1)
  )));
  execute format(
    'create function public.%I(%s) returns %s language sql %s set search_path = '''' begin atomic select %s; end',
    name, arguments, pg_get_function_result(known.oid),
    case known.provolatile when 's' then 'stable' else 'volatile' end,
    case when known.proretset then 'given.* from ' || passed_on || ' as given' else format(answer, passed_on) end
  );
  execute format('comment on function public.%I is %L', name, about);
  execute format('grant execute on function public.%I, %s to %I', name, known.oid::regprocedure, caller);
  if obj_description(known.oid, 'pg_proc') is null then
    execute format('comment on function %s is %L', known.oid::regprocedure, 'What public.' || name || ' does.');
  end if;
end
$$;
comment on function private.publish(text, text, text, text, text, text) is
  'Lets apps call the function private.<name> as public.<name>. about is its documentation; caller the role that may call '
  'it; answer what becomes of its outcome. function_name: the private function where it has another name, and '
  'first_argument what it is given before the arguments of apps, where several names stand for one function.';

create function private.publish_booking(
  name text, about text, function_name text default null, first_argument text default null
)
returns void
language plpgsql
set search_path = ''
as $$
declare
  written pg_catalog.pg_proc;
  arguments text;
begin
  select known.* into written from pg_catalog.pg_proc as known
  where known.pronamespace = 'private'::regnamespace and known.proname = publish_booking.name
    and known.proargnames[1] = 'actor';
  if found then
    if obj_description(written.oid, 'pg_proc') is null then
      execute format('comment on function %s is %L', written.oid::regprocedure, 'What public.' || name || ' does.');
    end if;
    arguments := replace(pg_get_function_arguments(written.oid), 'actor private.actor', '');
    execute format(
      $function$
        create function private.%1$I(%2$s) returns jsonb language plpgsql security definer
        set search_path = '' set timezone = 'UTC' set lock_timeout = '5s' set plan_cache_mode = 'force_generic_plan'
        as $body$
        begin
          return private.%1$I(%3$s);
        exception
          when lock_not_available or deadlock_detected or serialization_failure or query_canceled then
            perform private.raise_busy(sqlstate, sqlerrm);
        end
        $body$
      $function$,
      name, concat_ws(', ', nullif(ltrim(arguments, ', '), ''), 'request_id text default null'),
      array_to_string('private.begin_booking(request_id)'::text || written.proargnames[2:], ', ')
    );
  end if;
  perform private.publish(
    name, about, answer => 'private.leave_booking(%s)', function_name => function_name, first_argument => first_argument
  );
end
$$;
comment on function private.publish_booking(text, text, text, text) is
  'Publishes a booking function. What private.<name>(actor, ...) does, it does for the caller, who is asked first: with the '
  'settings of every booking, with PT503 where it gives way to others, and ended by private.leave_booking.';
