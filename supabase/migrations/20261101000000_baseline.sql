-- The whole schema. Generated from supabase/schemas by `npm run migrations`: edit the files there, not this one.

-- === schemas/foundations/foundations.sql ===

-- Purpose: the ground every later migration stands on.
-- Objects: schemas private, audit and reports; the extensions; strict default privileges; public.time_zones;
--          the enumerated types; the errors that leave the database.
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

-- === schemas/tenancy/tenancy.sql ===

-- Purpose: organizations and the people in them, each kept apart from every other organization.
-- Objects: organizations, memberships, active_organizations, therapists, clients, caseloads, client_users, rooms,
--          availability_exceptions; the functions policies ask who is calling.
-- Watch for: the JWT's org_id only chooses the tenant; the membership row decides. Removing the row takes effect on
--            the caller's next statement, whatever her token says.

create table public.organizations (
  id uuid primary key default gen_random_uuid(),
  name text not null check (length(name) between 1 and 200),
  time_zone text not null references public.time_zones (name),
  correction_days smallint not null default 3 check (correction_days between 0 and 365),
  created_at timestamptz not null default now()
);
comment on column public.organizations.correction_days is
  'For how many days after completion a therapist may correct a visit of their own; after that only an admin does.';
comment on table public.organizations is 'A clinic: the tenant. Its id leads every key of every other table.';
create index organizations_time_zone_idx on public.organizations (time_zone);

create function private.words_are_valid(words text[], most integer, pattern text)
returns boolean
language plpgsql
immutable
set search_path = ''
as $$
begin
  return coalesce(array_ndims(words), 1) = 1
    and cardinality(words) <= most
    and not exists (select 1 from unnest(words) as word (value) where word.value is null or word.value !~ pattern);
end
$$;
comment on function private.words_are_valid(text[], integer, text) is
  'Whether a list is a plain one, has at most so many words, and each of them, none null, has this form.';
grant execute on function private.words_are_valid(text[], integer, text) to authenticated, service_role;

create table public.memberships (
  organization_id uuid not null references public.organizations (id),
  user_id uuid not null references auth.users (id),
  role public.member_role not null,
  permissions text[] not null default '{}'
    constraint memberships_permissions_valid check (private.words_are_valid(permissions, 20, '^[a-z][a-z_]{0,63}$')),
  created_at timestamptz not null default now(),
  primary key (organization_id, user_id)
);
comment on table public.memberships is
  'Who belongs to which organization, and as what. This row decides access. A user who is a member anywhere cannot be '
  'deleted from Auth: remove her from her organizations first, so that the audit says who did.';
comment on column public.memberships.permissions is
  'Extra permissions beyond the role: view_clients opens the app''s client pages, view_audit the audit to a compliance '
  'officer who is not an admin.';
create index memberships_user_id_idx on public.memberships (user_id);

create table private.active_organizations (
  user_id uuid primary key references auth.users (id) on delete cascade,
  organization_id uuid not null,
  foreign key (organization_id, user_id) references public.memberships (organization_id, user_id) on delete cascade
);
comment on table private.active_organizations is
  'Which of her organizations a user works in; the access-token hook writes it into the JWT as org_id.';
create index active_organizations_membership_idx on private.active_organizations (organization_id, user_id);

create function private.availability_hours_are_valid(hours jsonb)
returns boolean
language plpgsql
immutable
set search_path = ''
as $$
begin
  return hours is null or (
    jsonb_typeof(hours) = 'object'
    and not exists (
      select 1
      from jsonb_each(case jsonb_typeof(hours) when 'object' then hours else '{}'::jsonb end) as day (name, windows)
      where day.name not in ('monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday')
        or jsonb_typeof(day.windows) <> 'array'
        or jsonb_array_length(case jsonb_typeof(day.windows) when 'array' then day.windows else '[]'::jsonb end) > 12
        or exists (
          select 1
          from jsonb_array_elements(case jsonb_typeof(day.windows) when 'array' then day.windows else '[]'::jsonb end)
            as item (value)
          where jsonb_typeof(item.value) <> 'object'
            or case jsonb_typeof(item.value) when 'object' then item.value - 'start' - 'end' <> '{}' end
            or coalesce(item.value ->> 'start', '') !~ '^([01][0-9]|2[0-3]):[0-5][0-9]$'
            or coalesce(item.value ->> 'end', '') !~ '^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$'
            or (item.value ->> 'start') collate "C" >= (item.value ->> 'end') collate "C"
        )
    )
  );
end
$$;
comment on function private.availability_hours_are_valid(jsonb) is
  'True for null (no limit) or {"monday": [{"start": "08:00", "end": "18:00"}], ...}: lower-case English day names, '
  'civil times HH:MM in the therapist''s zone, end after start, 24:00 allowed as an end, at most 12 windows a day.';
grant execute on function private.availability_hours_are_valid(jsonb) to authenticated, service_role;

create table public.therapists (
  organization_id uuid not null references public.organizations (id),
  id uuid not null references auth.users (id),
  display_name text not null check (length(display_name) between 1 and 200),
  credential text not null default 'RBT' check (credential in ('RBT', 'BCaBA', 'BCBA', 'BCBA-D')),
  specialties text[] not null default '{}'
    constraint therapists_specialties_valid check (private.words_are_valid(specialties, 50, '^\S(.{0,98}\S)?$')),
  time_zone text not null references public.time_zones (name),
  availability_hours jsonb,
  deleted_at timestamptz,
  created_at timestamptz not null default now(),
  primary key (organization_id, id),
  constraint availability_hours_valid check (private.availability_hours_are_valid(availability_hours))
);
comment on table public.therapists is 'Rendering providers. A therapist''s id is her auth user''s id.';
comment on column public.therapists.availability_hours is
  'Weekly windows in civil time of time_zone; null means no limit. See private.availability_hours_are_valid.';
comment on column public.therapists.credential is 'RBT is a technician, BCaBA an assistant, BCBA and BCBA-D a QHP.';
create index therapists_id_idx on public.therapists (id);
create index therapists_time_zone_idx on public.therapists (time_zone);

create table public.clients (
  organization_id uuid not null references public.organizations (id),
  id uuid not null default gen_random_uuid(),
  reference text not null check (length(reference) between 1 and 64),
  time_zone text references public.time_zones (name),
  has_payer boolean not null default false,
  deleted_at timestamptz,
  created_at timestamptz not null default now(),
  primary key (organization_id, id),
  unique (organization_id, reference)
);
create index clients_time_zone_idx on public.clients (time_zone) where time_zone is not null;
comment on table public.clients is
  'People who receive therapy. Holds nothing that identifies them: names and contacts are encrypted elsewhere.';
comment on column public.clients.reference is 'The clinic''s own file number; not a name.';
comment on column public.clients.time_zone is
  'Where the client receives care; null: where the organization is. The date of a service is the local one here.';
comment on column public.clients.has_payer is
  'Whether the client ever had a coverage or an authorization: without, no units are counted. Kept by triggers.';
comment on column public.clients.deleted_at is 'Archived since. Medical records are never deleted.';

create table public.caseloads (
  organization_id uuid not null,
  therapist_id uuid not null,
  client_id uuid not null,
  created_at timestamptz not null default now(),
  primary key (organization_id, therapist_id, client_id),
  foreign key (organization_id, therapist_id) references public.therapists (organization_id, id),
  foreign key (organization_id, client_id) references public.clients (organization_id, id)
);
comment on table public.caseloads is 'Which therapist works with which client; a therapist books for these only.';
create index caseloads_client_idx on public.caseloads (organization_id, client_id);

create table public.client_users (
  organization_id uuid not null,
  client_id uuid not null,
  user_id uuid not null,
  created_at timestamptz not null default now(),
  primary key (organization_id, client_id, user_id),
  foreign key (organization_id, client_id) references public.clients (organization_id, id),
  foreign key (organization_id, user_id) references public.memberships (organization_id, user_id) on delete cascade
);
comment on table public.client_users is 'Which users (parents, guardians, the client herself) may see a client.';
create index client_users_user_idx on public.client_users (organization_id, user_id);

create table public.rooms (
  organization_id uuid not null references public.organizations (id),
  id uuid not null default gen_random_uuid(),
  name text not null check (length(name) between 1 and 100),
  deleted_at timestamptz,
  created_at timestamptz not null default now(),
  primary key (organization_id, id),
  unique (organization_id, name)
);
comment on table public.rooms is 'Places that can be claimed together with a therapist and a client.';

create table public.availability_exceptions (
  organization_id uuid not null,
  id uuid not null default gen_random_uuid(),
  therapist_id uuid not null,
  kind public.availability_exception_kind not null,
  starts_at timestamptz not null check (isfinite(starts_at)),
  ends_at timestamptz not null check (isfinite(ends_at)),
  created_at timestamptz not null default now(),
  primary key (organization_id, id),
  foreign key (organization_id, therapist_id) references public.therapists (organization_id, id),
  check (ends_at > starts_at)
);
comment on table public.availability_exceptions is
  'Dated changes to the weekly hours: [starts_at, ends_at) is off, or is worked in addition. Time off wins.';
create index availability_exceptions_therapist_idx
  on public.availability_exceptions (organization_id, therapist_id, ends_at);

-- Who is calling -----------------------------------------------------------------------------------------------

create function private.claimed_organization_id()
returns uuid
language plpgsql
stable
set search_path = ''
as $$
begin
  return (auth.jwt() ->> 'org_id')::uuid;
exception
  -- A malformed claim is no claim.
  when invalid_text_representation then return null;
end
$$;
comment on function private.claimed_organization_id() is
  'The organization the token asks for; null when it names none. Grants nothing by itself.';

-- The next ones run once a statement in most policies. PL/pgSQL, since its plans are kept for the connection's life while
-- an SQL function that may not be inlined is planned at every call; and the token is read once in each.

create function private.active_organization_id()
returns uuid
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  claims jsonb := auth.jwt();
begin
  return (
    select membership.organization_id
    from public.memberships as membership
    where membership.organization_id = (claims ->> 'org_id')::uuid
      and membership.user_id = (claims ->> 'sub')::uuid
  );
exception
  when invalid_text_representation then return null;
end
$$;
comment on function private.active_organization_id() is
  'The organization the caller works in now: the token''s choice, if the membership row stands. Null otherwise.';

create function private.active_role()
returns public.member_role
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  claims jsonb := auth.jwt();
begin
  return (
    select membership.role
    from public.memberships as membership
    where membership.organization_id = (claims ->> 'org_id')::uuid
      and membership.user_id = (claims ->> 'sub')::uuid
  );
exception
  when invalid_text_representation then return null;
end
$$;
comment on function private.active_role() is
  'The caller''s role in her active organization, from the membership row; null when she is not a member.';

create function private.is_admin()
returns boolean
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
  return coalesce(private.active_role() in ('admin', 'super_admin'), false);
end
$$;
comment on function private.is_admin() is 'Whether the caller is an admin or super_admin of her active organization.';

create function private.has_permission(permission text)
returns boolean
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
  return exists (
    select 1
    from public.memberships as membership
    where membership.organization_id = private.claimed_organization_id()
      and membership.user_id = auth.uid()
      and has_permission.permission = any (membership.permissions)
  );
end
$$;
comment on function private.has_permission(text) is
  'Whether the caller''s membership of her active organization carries an extra permission.';

create function private.member_ids()
returns uuid[]
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
  return array(
    select membership.user_id
    from public.memberships as membership
    where membership.organization_id = private.active_organization_id()
  );
end
$$;
comment on function private.member_ids() is 'The members of the caller''s active organization.';

create function private.own_client_ids()
returns uuid[]
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
  return array(
    select client_user.client_id
    from public.client_users as client_user
    where client_user.organization_id = private.active_organization_id()
      and client_user.user_id = auth.uid()
  );
end
$$;
comment on function private.own_client_ids() is 'The clients a user of role client stands for.';

create function private.caseload_client_ids()
returns uuid[]
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
  return array(
    select caseload.client_id
    from public.caseloads as caseload
    where caseload.organization_id = private.active_organization_id()
      and caseload.therapist_id = auth.uid()
  );
end
$$;
comment on function private.caseload_client_ids() is 'The clients on the calling therapist''s caseload.';

grant execute on function
  private.claimed_organization_id(), private.active_organization_id(), private.active_role(), private.is_admin(),
  private.has_permission(text), private.member_ids(), private.own_client_ids(), private.caseload_client_ids()
to authenticated, service_role;

-- Row-level security ----------------------------------------------------------------------------------------------
-- One permissive policy for each command; each function call stands in a subselect so that it runs once a statement.

alter table public.organizations enable row level security;
create policy member_select on public.organizations for select to authenticated
  using (id = (select private.active_organization_id()));
create policy member_select_update on public.organizations for update to authenticated
  using (id = (select private.active_organization_id()) and (select private.active_role()) = 'super_admin')
  with check (id = (select private.active_organization_id()) and (select private.active_role()) = 'super_admin');
grant select, update (name, time_zone, correction_days) on public.organizations to authenticated;
grant select, insert, update on public.organizations to service_role;

alter table public.memberships enable row level security;
create policy role_scoped_select on public.memberships for select to authenticated
  using (
    user_id = (select auth.uid())
    or (organization_id = (select private.active_organization_id()) and (select private.is_admin()))
  );
create policy role_scoped_select_insert on public.memberships for insert to authenticated
  with check (
    organization_id = (select private.active_organization_id())
    and (select private.active_role()) = 'super_admin'
  );
create policy role_scoped_select_update on public.memberships for update to authenticated
  using (
    organization_id = (select private.active_organization_id())
    and (select private.active_role()) = 'super_admin'
  )
  with check (
    organization_id = (select private.active_organization_id())
    and (select private.active_role()) = 'super_admin'
  );
create policy role_scoped_select_delete on public.memberships for delete to authenticated
  using (
    organization_id = (select private.active_organization_id())
    and (select private.active_role()) = 'super_admin'
  );
grant select, insert (organization_id, user_id, role, permissions), update (role, permissions), delete
  on public.memberships to authenticated;
grant select, insert, update, delete on public.memberships to service_role;

alter table private.active_organizations enable row level security;
create policy deny_all on private.active_organizations using (false);

alter table public.therapists enable row level security;
create policy role_scoped_select on public.therapists for select to authenticated
  using (
    organization_id = (select private.active_organization_id())
    and (
      (select private.is_admin())
      or ((select private.active_role()) = 'therapist' and id = (select auth.uid()))
    )
  );
create policy role_scoped_select_insert on public.therapists for insert to authenticated
  with check (
    organization_id = (select private.active_organization_id())
    and (select private.is_admin())
    and id = any ((select private.member_ids())::uuid[])
  );
create policy role_scoped_select_update on public.therapists for update to authenticated
  using (organization_id = (select private.active_organization_id()) and (select private.is_admin()))
  with check (organization_id = (select private.active_organization_id()) and (select private.is_admin()));
grant select,
  insert (organization_id, id, display_name, credential, specialties, time_zone, availability_hours),
  update (display_name, credential, specialties, time_zone, availability_hours, deleted_at)
  on public.therapists to authenticated;
grant select, insert, update on public.therapists to service_role;

alter table public.clients enable row level security;
create policy role_scoped_select on public.clients for select to authenticated
  using (
    organization_id = (select private.active_organization_id())
    and (
      (select private.is_admin())
      or ((select private.active_role()) = 'therapist' and id = any ((select private.caseload_client_ids())::uuid[]))
      or ((select private.active_role()) = 'client' and id = any ((select private.own_client_ids())::uuid[]))
    )
  );
create policy role_scoped_select_insert on public.clients for insert to authenticated
  with check (organization_id = (select private.active_organization_id()) and (select private.is_admin()));
create policy role_scoped_select_update on public.clients for update to authenticated
  using (organization_id = (select private.active_organization_id()) and (select private.is_admin()))
  with check (organization_id = (select private.active_organization_id()) and (select private.is_admin()));
grant select, insert (organization_id, id, reference), update (reference, deleted_at)
  on public.clients to authenticated;
grant select, insert, update on public.clients to service_role;

alter table public.caseloads enable row level security;
create policy role_scoped_select on public.caseloads for select to authenticated
  using (
    organization_id = (select private.active_organization_id())
    and (
      (select private.is_admin())
      or ((select private.active_role()) = 'therapist' and therapist_id = (select auth.uid()))
    )
  );
create policy role_scoped_select_insert on public.caseloads for insert to authenticated
  with check (organization_id = (select private.active_organization_id()) and (select private.is_admin()));
create policy role_scoped_select_delete on public.caseloads for delete to authenticated
  using (organization_id = (select private.active_organization_id()) and (select private.is_admin()));
grant select, insert (organization_id, therapist_id, client_id), delete on public.caseloads to authenticated;
grant select, insert, delete on public.caseloads to service_role;

alter table public.client_users enable row level security;
create policy role_scoped_select on public.client_users for select to authenticated
  using (
    organization_id = (select private.active_organization_id())
    and (
      (select private.is_admin())
      or ((select private.active_role()) = 'client' and user_id = (select auth.uid()))
    )
  );
create policy role_scoped_select_insert on public.client_users for insert to authenticated
  with check (organization_id = (select private.active_organization_id()) and (select private.is_admin()));
create policy role_scoped_select_delete on public.client_users for delete to authenticated
  using (organization_id = (select private.active_organization_id()) and (select private.is_admin()));
grant select, insert (organization_id, client_id, user_id), delete on public.client_users to authenticated;
grant select, insert, delete on public.client_users to service_role;

alter table public.rooms enable row level security;
create policy role_scoped_select on public.rooms for select to authenticated
  using (organization_id = (select private.active_organization_id()) and (select private.active_role()) <> 'client');
create policy role_scoped_select_insert on public.rooms for insert to authenticated
  with check (organization_id = (select private.active_organization_id()) and (select private.is_admin()));
create policy role_scoped_select_update on public.rooms for update to authenticated
  using (organization_id = (select private.active_organization_id()) and (select private.is_admin()))
  with check (organization_id = (select private.active_organization_id()) and (select private.is_admin()));
grant select, insert (organization_id, id, name), update (name, deleted_at) on public.rooms to authenticated;
grant select, insert, update on public.rooms to service_role;

alter table public.availability_exceptions enable row level security;
create policy role_scoped_select on public.availability_exceptions for select to authenticated
  using (
    organization_id = (select private.active_organization_id())
    and (
      (select private.is_admin())
      or ((select private.active_role()) = 'therapist' and therapist_id = (select auth.uid()))
    )
  );
create policy role_scoped_select_insert on public.availability_exceptions for insert to authenticated
  with check (
    organization_id = (select private.active_organization_id())
    and (
      (select private.is_admin())
      or ((select private.active_role()) = 'therapist' and therapist_id = (select auth.uid()))
    )
  );
create policy role_scoped_select_delete on public.availability_exceptions for delete to authenticated
  using (
    organization_id = (select private.active_organization_id())
    and (
      (select private.is_admin())
      or ((select private.active_role()) = 'therapist' and therapist_id = (select auth.uid()))
    )
  );
grant select, insert (organization_id, therapist_id, kind, starts_at, ends_at), delete
  on public.availability_exceptions to authenticated;
grant select, insert, update, delete on public.availability_exceptions to service_role;

comment on policy member_select on public.organizations is
  'A member reads the organization she works in now.';
comment on policy member_select_update on public.organizations is
  'A super_admin changes the settings of her organization.';
comment on policy role_scoped_select on public.memberships is
  'Everybody reads her own memberships, to choose among them; admins those of their organization.';
comment on policy role_scoped_select_insert on public.memberships is
  'A super_admin adds members to her organization.';
comment on policy role_scoped_select_update on public.memberships is
  'A super_admin changes roles and permissions in her organization.';
comment on policy role_scoped_select_delete on public.memberships is
  'A super_admin removes members of her organization.';
comment on policy deny_all on private.active_organizations is
  'Read and written by functions only.';
comment on policy role_scoped_select on public.therapists is
  'A therapist reads her own profile, admins all of the organization.';
comment on policy role_scoped_select_insert on public.therapists is
  'Admins make profiles, for members of their organization.';
comment on policy role_scoped_select_update on public.therapists is
  'Admins change and archive profiles; a therapist her hours, with set_availability_hours.';
comment on policy role_scoped_select on public.clients is
  'A therapist reads her caseload, a parent the clients she stands for, admins all.';
comment on policy role_scoped_select_insert on public.clients is
  'Admins open a client''s file.';
comment on policy role_scoped_select_update on public.clients is
  'Admins change and archive it.';
comment on policy role_scoped_select on public.caseloads is
  'A therapist reads her own caseload, admins all.';
comment on policy role_scoped_select_insert on public.caseloads is
  'Admins assign clients to therapists.';
comment on policy role_scoped_select_delete on public.caseloads is
  'Admins end an assignment.';
comment on policy role_scoped_select on public.client_users is
  'A parent reads whom she stands for, admins all.';
comment on policy role_scoped_select_insert on public.client_users is
  'Admins give a parent access to a client.';
comment on policy role_scoped_select_delete on public.client_users is
  'Admins take it away.';
comment on policy role_scoped_select on public.rooms is
  'Staff read the organization''s rooms.';
comment on policy role_scoped_select_insert on public.rooms is
  'Admins add rooms.';
comment on policy role_scoped_select_update on public.rooms is
  'Admins rename and archive them.';
comment on policy role_scoped_select on public.availability_exceptions is
  'A therapist reads her own, admins all.';
comment on policy role_scoped_select_insert on public.availability_exceptions is
  'A therapist adds her own, admins anybody''s.';
comment on policy role_scoped_select_delete on public.availability_exceptions is
  'A therapist withdraws her own, admins anybody''s.';

-- Medical rows are archived, never deleted -------------------------------------------------------------------------

create function private.refuse_delete()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  raise exception using
    errcode = 'restrict_violation',
    message = format('rows of %I.%I are records and cannot be deleted', tg_table_schema, tg_table_name),
    hint = 'Archive the row instead (deleted_at, or a final status).';
end
$$;
comment on function private.refuse_delete() is
  'Trigger: refuses DELETE and TRUNCATE of records that law requires to be kept (45 CFR 164.316(b)(2)).';

create trigger refuse_delete before delete on public.clients
  for each row execute function private.refuse_delete();
create trigger refuse_truncate before truncate on public.clients
  for each statement execute function private.refuse_delete();
create trigger refuse_delete before delete on public.therapists
  for each row execute function private.refuse_delete();
create trigger refuse_truncate before truncate on public.therapists
  for each statement execute function private.refuse_delete();
create trigger refuse_delete before delete on public.organizations
  for each row execute function private.refuse_delete();
create trigger refuse_truncate before truncate on public.organizations
  for each statement execute function private.refuse_delete();

-- === schemas/payers/units.sql ===

-- Purpose: billable units: whole minutes, and how a payer rounds them.
-- Objects: unit_rounding; private.billable_minutes, private.billable_units, private.day_units.
-- Watch for: seconds are cut once, by private.billable_minutes, before anything is rounded. The functions here are pure
--            arithmetic and the same as units.ts. A booking asks for units by itself (private.billable_units); what was
--            rendered is rounded by the day where the payer says so (private.day_units). Nothing else rounds.

create type public.unit_rounding as enum ('midpoint', 'midpoint_daily', 'floor', 'ceil', 'cms_pooled');
comment on type public.unit_rounding is
  'How a payer rounds minutes to units. midpoint: each visit by itself, from the 8th minute of a 15-minute unit on; '
  'midpoint_daily: the minutes of one client, provider, code and day together, then midpoint; floor: only whole units; '
  'ceil: every begun unit; cms_pooled: the minutes of all codes of one client, provider and day together.';

create function private.billable_minutes(start_time timestamptz, end_time timestamptz)
returns integer
language plpgsql
immutable
set search_path = ''
as $$
begin
  return floor(extract(epoch from end_time - start_time) / 60);
end
$$;
comment on function private.billable_minutes(timestamptz, timestamptz) is
  'The whole minutes between two instants: seconds are cut, never rounded.';

create function private.billable_units(
  minutes numeric,
  rounding public.unit_rounding default 'midpoint',
  unit_minutes integer default 15
)
returns integer
language plpgsql
immutable
set search_path = ''
as $$
declare
  whole constant integer := floor(minutes);
begin
  return case rounding
    when 'floor' then whole / unit_minutes
    when 'ceil' then (whole + unit_minutes - 1) / unit_minutes
    else (whole + (unit_minutes - 1) / 2) / unit_minutes
  end;
end
$$;
comment on function private.billable_units(numeric, public.unit_rounding, integer) is
  'The units of one service''s minutes, as the only one of its day. Begun minutes do not count. The same as billableUnits '
  'in units.ts, by one table of cases.';

create type private.rendered_service as (
  session_id uuid,
  client_id uuid,
  therapist_id uuid,
  service_date date,
  payer_id uuid,
  cpt_code text,
  start_time timestamptz,
  minutes integer,
  rounding public.unit_rounding,
  unit_minutes integer
);
comment on type private.rendered_service is
  'One client''s service as it was rendered: whole minutes, and how the payer of that day rounds them.';

create function private.day_units(services private.rendered_service[])
returns table (
  session_id uuid,
  client_id uuid,
  therapist_id uuid,
  service_date date,
  payer_id uuid,
  cpt_code text,
  minutes integer,
  units integer
)
language sql
immutable
set search_path = ''
begin atomic
  with service as (
    select
      item.*,
      -- Only a payer's 15-minute codes are pooled: the rule is of those.
      item.rounding = 'cms_pooled' and item.unit_minutes = 15 as is_pooled,
      sum(item.minutes) over (
        partition by item.client_id, item.therapist_id, item.service_date, item.cpt_code, item.rounding, item.unit_minutes
        order by item.start_time, item.session_id
        rows unbounded preceding
      ) as minutes_so_far
    from unnest(day_units.services) as item
  ),
  pooled as (
    select
      code.*,
      code.minutes / 15 + case
        when row_number() over (
          partition by code.client_id, code.therapist_id, code.service_date
          order by code.minutes % 15 desc, code.first_start, code.cpt_code collate "C"
        ) <= private.billable_units(sum(code.minutes) over of_day) - sum(code.minutes / 15) over of_day
        then 1
        else 0
      end as units
    from (
      select
        service.client_id, service.therapist_id, service.service_date, service.cpt_code,
        sum(service.minutes)::integer as minutes, min(service.start_time) as first_start
      from service
      where service.is_pooled
      group by service.client_id, service.therapist_id, service.service_date, service.cpt_code
    ) as code
    window of_day as (partition by code.client_id, code.therapist_id, code.service_date)
  )
  select
    service.session_id, service.client_id, service.therapist_id, service.service_date, service.payer_id,
    service.cpt_code, service.minutes,
    -- What the visit adds to the visits of its code before it that day.
    case
      when service.is_pooled then
        case
          when service.minutes_so_far = pooled.minutes then pooled.units
          else least(pooled.units, private.billable_units(service.minutes_so_far))
        end
        - case
          when service.minutes_so_far - service.minutes = pooled.minutes then pooled.units
          else least(pooled.units, private.billable_units(service.minutes_so_far - service.minutes))
        end
      when service.rounding = 'midpoint_daily' then
        private.billable_units(service.minutes_so_far, service.rounding, service.unit_minutes)
        - private.billable_units(service.minutes_so_far - service.minutes, service.rounding, service.unit_minutes)
      else private.billable_units(service.minutes, service.rounding, service.unit_minutes)
    end
  from service
  left join pooled
    on service.is_pooled
    and pooled.client_id = service.client_id
    and pooled.therapist_id = service.therapist_id
    and pooled.service_date = service.service_date
    and pooled.cpt_code = service.cpt_code;
end;
comment on function private.day_units(private.rendered_service[]) is
  'The units of each rendered service: by itself, or, for midpoint_daily and cms_pooled, its share of the day''s, so that '
  'the shares add up to the day''s units. Give it whole days. Pooled as CMS says (Medicare Claims Processing Manual, '
  'chapter 5, section 20.2): all minutes rounded once, each code gets its whole units, what is left goes to those with '
  'the most minutes over, then to the earliest. The same as dayUnits in units.ts.';

grant execute on function
  private.billable_units(numeric, public.unit_rounding, integer),
  private.day_units(private.rendered_service[])
to authenticated, service_role;

-- === schemas/payers/service_codes.sql ===

-- Purpose: the services a clinic renders, each with its first and last day.
-- Objects: service_codes; which code a booking names, what it is on a day, who may render it.
-- Watch for: a row without an organization is everybody's; an organization adds its own beside them. On any day a code
--            has one version for an organization, and all its versions have one ordinal, so that two services on either
--            side of a change still share their lanes. TypeScript's table is generated: `npm run service-codes`.

create type public.provider_level as enum ('technician', 'assistant', 'qhp');
comment on type public.provider_level is
  'Who renders: a technician (RBT), an assistant (BCaBA), a qualified health care professional (BCBA, BCBA-D).';

create function private.provider_level(credential text)
returns public.provider_level
language plpgsql
immutable
set search_path = ''
as $$
begin
  return case credential
    when 'RBT' then 'technician'
    when 'BCaBA' then 'assistant'
    when 'BCBA' then 'qhp'
    when 'BCBA-D' then 'qhp'
  end;
end
$$;
comment on function private.provider_level(text) is
  'The level of a credential as therapists have it; null for any other. The same as providerLevel in cpt.ts.';
grant execute on function private.provider_level(text) to authenticated, service_role;

create function private.pair_lanes(ordinal integer)
returns int4multirange
language plpgsql
immutable
set search_path = ''
as $$
begin
  return (
    select range_agg(lane.range)
    from (
      select int4range(lower.ordinal * 100 + pair_lanes.ordinal, lower.ordinal * 100 + pair_lanes.ordinal + 1) as range
      from generate_series(1, pair_lanes.ordinal - 1) as lower (ordinal)
      union all
      select int4range(pair_lanes.ordinal * 100 + pair_lanes.ordinal, pair_lanes.ordinal * 100 + 100)
    ) as lane
  );
end
$$;
comment on function private.pair_lanes(integer) is
  'The lanes of a code that may run beside no other: one for each pair it belongs to. The pair of ordinals i <= j is '
  'lane 100 i + j, so two codes share exactly the lane of their pair, and a code shares its own with itself.';

create function private.organizations_of(organization_id uuid)
returns numrange
language plpgsql
immutable
set search_path = ''
as $$
declare
  number numeric := 0;
  digits text := replace(organization_id::text, '-', '');
begin
  if organization_id is null then
    return '(,)';
  end if;
  for part in 0..3 loop
    number := number * 4294967296 + ('x' || substr(digits, part * 8 + 1, 8))::bit(32)::bigint;
  end loop;
  return numrange(number, number, '[]');
end
$$;
comment on function private.organizations_of(uuid) is
  'Whose a row is, as a range of numbers: one organization''s, or for null everybody''s. So a constraint can compare an '
  'organization''s rows with everybody''s, and never with another organization''s.';

-- Whoever writes a row computes its lanes and whose it is.
grant execute on function private.pair_lanes(integer), private.organizations_of(uuid) to authenticated, service_role;

create table public.service_codes (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid references public.organizations (id),
  code text not null check (code ~ '^[0-9A-Z]{5}$'),
  ordinal smallint not null check (ordinal between 1 and 99),
  description text not null check (length(description) between 1 and 200),
  levels public.provider_level[] not null check (cardinality(levels) > 0 and array_position(levels, null) is null),
  unit_minutes smallint not null default 15 check (unit_minutes between 1 and 480),
  min_clients smallint not null default 1 check (min_clients >= 1),
  max_clients smallint not null default 1,
  supervises boolean not null default true,
  session_type text check (session_type = lower(btrim(session_type)) and session_type <> ''),
  valid_from date not null check (isfinite(valid_from)),
  valid_to date check (valid_to >= valid_from),
  lanes int4multirange not null generated always as (private.pair_lanes(ordinal)) stored,
  check (max_clients >= min_clients),
  constraint service_codes_one_version_a_day exclude using gist (
    private.organizations_of(organization_id) with &&, code with =, daterange(valid_from, valid_to, '[]') with &&
  ),
  constraint service_codes_one_ordinal_a_code exclude using gist (
    private.organizations_of(organization_id) with &&, code with =, ordinal with <>
  ),
  constraint service_codes_one_code_an_ordinal exclude using gist (
    private.organizations_of(organization_id) with &&, ordinal with =, code with <>
  ),
  constraint service_codes_one_code_a_session_type exclude using gist (
    private.organizations_of(organization_id) with &&, lower(session_type) with =,
    daterange(valid_from, valid_to, '[]') with &&
  ) where (session_type is not null)
);
comment on table public.service_codes is
  'Services by code, each version between two days. Descriptions are this product''s own: the CPT descriptors are the '
  'AMA''s.';
comment on column public.service_codes.organization_id is 'Whose own code it is; null: everybody''s.';
comment on column public.service_codes.ordinal is 'The code''s number in lanes: given when it is entered, the same for all its versions.';
comment on column public.service_codes.levels is
  'Who may render it. What an assistant may bill differs by payer: that is the payer''s rule, not this one.';
comment on column public.service_codes.unit_minutes is 'The minutes of one unit.';
comment on column public.service_codes.min_clients is 'The fewest clients (for 97157: families) it is for; more than one: a group.';
comment on column public.service_codes.max_clients is 'The most clients (for 97157: families) it is for.';
comment on column public.service_codes.supervises is
  'Whether a supervisor who renders it beside a technician supervises them: guidance of a family does not.';
comment on column public.service_codes.session_type is 'The session type that means this code when none is named.';
comment on column public.service_codes.valid_to is 'The last day; null while it lasts. What is booked later: reports.sessions_to_recode.';
comment on column public.service_codes.lanes is 'Its lanes where no payer allows it beside another; see private.pair_lanes.';
create index service_codes_organization_idx on public.service_codes (organization_id);
create index service_codes_code_idx on public.service_codes (code);

create function private.number_service_code()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  -- Two codes entered at once would take one number: the constraint would refuse the second.
  perform pg_advisory_xact_lock(hashtextextended('service_codes', 0));
  new.ordinal := coalesce(
    new.ordinal,
    (
      select known.ordinal
      from public.service_codes as known
      where known.code = new.code
        and (known.organization_id is null or new.organization_id is null or known.organization_id = new.organization_id)
      limit 1
    ),
    -- Everybody's from 1, an organization's own from 31, so that neither takes what the other will need.
    (
      select 1 + coalesce(max(known.ordinal), case when new.organization_id is null then 0 else 30 end)
      from public.service_codes as known
      where known.organization_id is not distinct from new.organization_id
        and (known.ordinal > 30) = (new.organization_id is not null)
    )
  );
  return new;
end
$$;
comment on function private.number_service_code() is 'Trigger: a code takes the number it has, or the next one.';
create trigger a_number_service_code before insert on public.service_codes
  for each row execute function private.number_service_code();

-- Treatment codes since 1 January 2019; the T codes since 1 July 2014. The CPT Editorial Panel has accepted the deletion
-- of both T codes for 1 January 2027 (meeting of September 2025).
insert into public.service_codes (
  code, ordinal, description, levels, min_clients, max_clients, supervises, session_type, valid_from, valid_to
)
values
  ('97151', 1, 'Assessment and treatment planning', '{assistant,qhp}', 1, 1, true, 'assessment', '2019-01-01', null),
  ('97152', 2, 'Supporting assessment by a technician', '{technician,assistant,qhp}', 1, 1, true, null, '2019-01-01', null),
  ('97153', 3, 'One-to-one treatment by protocol', '{technician,assistant,qhp}', 1, 1, true, 'individual', '2019-01-01', null),
  ('97154', 4, 'Group treatment by protocol', '{technician,assistant,qhp}', 2, 8, true, 'group', '2019-01-01', null),
  ('97155', 5, 'Treatment with protocol modification', '{assistant,qhp}', 1, 1, true, 'supervision', '2019-01-01', null),
  ('97156', 6, 'Guidance for a family', '{assistant,qhp}', 1, 1, false, 'consultation', '2019-01-01', null),
  ('97157', 7, 'Guidance for a group of families', '{assistant,qhp}', 2, 8, false, null, '2019-01-01', null),
  ('97158', 8, 'Group treatment with protocol modification', '{assistant,qhp}', 2, 8, true, null, '2019-01-01', null),
  ('0362T', 9, 'Supporting assessment of severe behavior', '{assistant,qhp}', 1, 1, true, null, '2014-07-01', '2026-12-31'),
  ('0373T', 10, 'Treatment of severe behavior', '{assistant,qhp}', 1, 1, true, null, '2014-07-01', '2026-12-31');

alter table public.service_codes enable row level security;
create policy service_codes_select on public.service_codes for select to authenticated
  using (organization_id is null or organization_id = (select private.active_organization_id()));
create policy service_codes_insert on public.service_codes for insert to authenticated
  with check (
    organization_id = (select private.active_organization_id()) and (select private.active_role()) = 'super_admin'
  );
create policy service_codes_update on public.service_codes for update to authenticated
  using (organization_id = (select private.active_organization_id()) and (select private.active_role()) = 'super_admin')
  with check (
    organization_id = (select private.active_organization_id()) and (select private.active_role()) = 'super_admin'
  );
comment on policy service_codes_select on public.service_codes is
  'Every signed-in user may list the services everybody has, and members their organization''s own.';
comment on policy service_codes_insert on public.service_codes is 'A super_admin adds codes of their organization.';
comment on policy service_codes_update on public.service_codes is 'A super_admin ends a code of their organization, or says who may render it.';
grant select,
  insert (organization_id, code, description, levels, unit_minutes, min_clients, max_clients, supervises,
    session_type, valid_from, valid_to),
  update (description, levels, valid_to)
  on public.service_codes to authenticated;
grant select, insert, update on public.service_codes to service_role;

-- What a code is, on a day -----------------------------------------------------------------------------------------------

create function private.service_code_on(organization_id uuid, code text, on_date date)
returns public.service_codes
language plpgsql
stable
set search_path = ''
as $$
declare
  found public.service_codes;
begin
  select service.* into found
  from public.service_codes as service
  where service.code = service_code_on.code
    and (service.organization_id is null or service.organization_id = service_code_on.organization_id)
    and on_date >= service.valid_from
    and on_date <= coalesce(service.valid_to, 'infinity');
  return found;
end
$$;
comment on function private.service_code_on(uuid, text, date) is
  'A code''s version on a day, everybody''s or the organization''s own; null when the code is unknown or not valid then.';
grant execute on function private.service_code_on(uuid, text, date) to authenticated, service_role;

create function private.service_code(organization_id uuid, cpt_code text, session_type text, on_date date)
returns text
language plpgsql
stable
set search_path = ''
as $$
begin
  if cpt_code is not null or session_type is null then
    return cpt_code;
  end if;
  return (
    select service.code
    from public.service_codes as service
    where service.session_type = lower(btrim(service_code.session_type))
      and (service.organization_id is null or service.organization_id = service_code.organization_id)
      and on_date >= service.valid_from
      and on_date <= coalesce(service.valid_to, 'infinity')
  );
end
$$;
comment on function private.service_code(uuid, text, text, date) is
  'The code a booking names on a day: outright, or by its session type. Null when it names no service.';

create function private.billed_code(organization_id uuid, cpt_code text, session_type text, on_date date)
returns text
language plpgsql
stable
set search_path = ''
as $$
begin
  return coalesce(private.service_code(organization_id, cpt_code, session_type, on_date), '97153');
end
$$;
comment on function private.billed_code(uuid, text, text, date) is
  'The code a booking is billed as, as deriveCptMetadata derives it: without any, one-to-one treatment.';

create function private.service_code_at(
  organization_id uuid,
  client_id uuid,
  cpt_code text,
  session_type text,
  start_time timestamptz
)
returns text
language plpgsql
stable
set search_path = ''
as $$
begin
  -- The day decides only what a session type means: who names a code needs no look at the zone.
  if cpt_code is not null or session_type is null then
    return cpt_code;
  end if;
  return private.service_code(
    organization_id, null, session_type, private.service_date(organization_id, client_id, start_time)
  );
end
$$;
comment on function private.service_code_at(uuid, uuid, text, text, timestamptz) is
  'The code a client''s booking names, on the day of service that its start means. Null when it names no service.';

create function private.billed_code_at(
  organization_id uuid,
  client_id uuid,
  cpt_code text,
  session_type text,
  start_time timestamptz
)
returns text
language plpgsql
stable
set search_path = ''
as $$
begin
  return coalesce(private.service_code_at(organization_id, client_id, cpt_code, session_type, start_time), '97153');
end
$$;
comment on function private.billed_code_at(uuid, uuid, text, text, timestamptz) is
  'The code a client''s booking is billed as, on the day of service that its start means; see private.billed_code.';

create function private.may_render_each(organization_id uuid, therapist_id uuid, cpt_codes text[], on_dates date[])
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  return not exists (
    with version as materialized (
      select known.code, greatest(known.valid_from, held.valid_from) as valid_from,
        least(coalesce(known.valid_to, 'infinity'), coalesce(held.valid_to, 'infinity')) as valid_to
      from public.service_codes as known
      left join public.therapist_credentials as held
        on held.organization_id = may_render_each.organization_id and held.therapist_id = may_render_each.therapist_id
      where known.code = any (cpt_codes)
        and (known.organization_id is null or known.organization_id = may_render_each.organization_id)
        -- Whoever is no therapist has no credential.
        and (held.level is null or held.level = any (known.levels))
    )
    select from unnest(cpt_codes, on_dates) as service (code, date)
    where service.code is not null and not exists (
      select from version
      where version.code = service.code
        and (service.date is null or service.date between version.valid_from and version.valid_to)
    )
  );
end
$$;
comment on function private.may_render_each(uuid, uuid, text[], date[]) is
  'Whether a therapist may render each code on its day, with the level they have on that day; without a day, any version of '
  'it at any level of theirs. Nobody renders a code that is unknown. Whoever is no therapist is judged elsewhere.';

create function private.may_render(organization_id uuid, therapist_id uuid, cpt_code text, on_date date)
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  return cpt_code is null or private.may_render_each(organization_id, therapist_id, array[cpt_code], array[on_date]);
end
$$;
comment on function private.may_render(uuid, uuid, text, date) is
  'Whether a therapist''s level may render a code on a day; without a day, any version of it.';

-- === schemas/payers/payers.sql ===

-- Purpose: who pays for services, and each payer's rules, as data.
-- Objects: payers, payer_rules, payer_code_rules, payer_concurrency_rules; private.payer_rule.
-- Watch for: every rule has a first and a last day, and no two versions of one rule share a day. A service is judged by
--            the rules of the day it is rendered on, never by today's.

create function private.modifiers_are_valid(modifiers jsonb)
returns boolean
language plpgsql
immutable
set search_path = ''
as $$
begin
  return jsonb_typeof(modifiers) = 'object'
    and not exists (
      select 1
      from jsonb_each(case jsonb_typeof(modifiers) when 'object' then modifiers else '{}'::jsonb end) as level (name, list)
      where level.name not in ('technician', 'assistant', 'qhp')
        or jsonb_typeof(level.list) <> 'array'
        or jsonb_array_length(case jsonb_typeof(level.list) when 'array' then level.list else '[]'::jsonb end) > 4
        or exists (
          select 1
          from jsonb_array_elements(case jsonb_typeof(level.list) when 'array' then level.list else '[]'::jsonb end)
            as item (value)
          where jsonb_typeof(item.value) <> 'string' or item.value #>> '{}' !~ '^[0-9A-Z]{2}$'
        )
    );
end
$$;
comment on function private.modifiers_are_valid(jsonb) is
  'True for {"technician": ["HM"], "assistant": ["HN"], "qhp": ["HO"]}: levels, and for each at most four modifiers.';
grant execute on function private.modifiers_are_valid(jsonb) to authenticated, service_role;

create function private.place_of(location_type text)
returns text
language plpgsql
immutable
set search_path = ''
as $$
begin
  -- A word that begins so: "Tele-health", "home_virtual", "Remote (home)"; not "hotel".
  if location_type ~* '(^|[^a-z0-9])(tele|virtual|remote)' then
    return 'telehealth';
  end if;
  return nullif(lower(btrim(location_type)), '');
end
$$;
comment on function private.place_of(text) is
  'The place as payers'' rules name it: telehealth for whatever is tele..., virtual or remote, else the location type in '
  'lower case. The same as isTelehealth in cpt.ts.';
grant execute on function private.place_of(text) to authenticated, service_role;

create function private.places_are_valid(places text[])
returns boolean
language plpgsql
immutable
security definer
set search_path = ''
as $$
begin
  return array_position(places, null) is null
    and not exists (select 1 from unnest(places) as place where place is distinct from private.place_of(place));
end
$$;
comment on function private.places_are_valid(text[]) is 'True for places as private.place_of names them.';
grant execute on function private.places_are_valid(text[]) to authenticated, service_role;

create table public.payers (
  organization_id uuid not null references public.organizations (id),
  id uuid not null default gen_random_uuid(),
  name text not null check (length(name) between 1 and 200),
  deleted_at timestamptz,
  created_at timestamptz not null default now(),
  primary key (organization_id, id),
  unique (organization_id, name)
);
comment on table public.payers is 'Who pays for services: insurers and programs, as one organization deals with them.';

create table public.payer_rules (
  organization_id uuid not null,
  id uuid not null default gen_random_uuid(),
  payer_id uuid not null,
  rounding public.unit_rounding not null default 'midpoint_daily',
  telehealth_modifier text default '95' check (telehealth_modifier ~ '^[0-9A-Z]{2}$'),
  authorization_required boolean not null default false,
  evv_required boolean not null default false,
  valid_from date not null check (isfinite(valid_from)),
  valid_to date check (valid_to >= valid_from),
  primary key (organization_id, id),
  foreign key (organization_id, payer_id) references public.payers (organization_id, id),
  constraint payer_rules_one_version_a_day exclude using gist (
    organization_id with =, payer_id with =, daterange(valid_from, valid_to, '[]') with &&
  )
);
comment on table public.payer_rules is 'What a payer wants of every service. One version for each span of days.';
comment on column public.payer_rules.authorization_required is
  'Whether services without any authorization are refused. A code with an authorization is always held to it.';
comment on column public.payer_rules.evv_required is
  'Electronic visit verification: completing needs service, individual, date, location, provider, begin and end.';
comment on column public.payer_rules.valid_to is 'The last day; null while it lasts.';
comment on column public.payer_rules.rounding is
  'Of codes without a rule of their own. Default midpoint_daily, the norm of Medicaid programs.';
create index payer_rules_payer_idx on public.payer_rules (organization_id, payer_id);

create table public.payer_code_rules (
  organization_id uuid not null,
  id uuid not null default gen_random_uuid(),
  payer_id uuid not null,
  cpt_code text not null check (cpt_code ~ '^[0-9A-Z]{5}$'),
  rounding public.unit_rounding,
  modifiers jsonb not null default '{}' check (private.modifiers_are_valid(modifiers)),
  is_covered boolean not null default true,
  excluded_places text[] not null default '{}' check (private.places_are_valid(excluded_places)),
  max_daily_units smallint check (max_daily_units > 0),
  authorization_required boolean,
  valid_from date not null check (isfinite(valid_from)),
  valid_to date check (valid_to >= valid_from),
  primary key (organization_id, id),
  foreign key (organization_id, payer_id) references public.payers (organization_id, id),
  constraint payer_code_rules_one_version_a_day exclude using gist (
    organization_id with =, payer_id with =, cpt_code with =, daterange(valid_from, valid_to, '[]') with &&
  )
);
comment on table public.payer_code_rules is 'What a payer wants of one code. Null: as payer_rules says.';
comment on column public.payer_code_rules.modifiers is
  'By the level of who renders, in the payer''s order: {"technician": ["HM"], "assistant": ["HN"], "qhp": ["HO"]}.';
comment on column public.payer_code_rules.is_covered is 'False: the payer does not pay for this code at all.';
comment on column public.payer_code_rules.excluded_places is
  'Places where the payer does not pay for this code, as private.place_of names them: {telehealth}.';
comment on column public.payer_code_rules.max_daily_units is
  'The most units a day and client, such as the Medically Unlikely Edits. Exceeding it warns; an appeal may be paid.';
create index payer_code_rules_payer_idx on public.payer_code_rules (organization_id, payer_id);

create table public.payer_concurrency_rules (
  organization_id uuid not null,
  id uuid not null default gen_random_uuid(),
  payer_id uuid not null,
  first_code text not null check (first_code ~ '^[0-9A-Z]{5}$'),
  second_code text not null check (second_code ~ '^[0-9A-Z]{5}$'),
  allowed boolean not null,
  valid_from date not null check (isfinite(valid_from)),
  valid_to date check (valid_to >= valid_from),
  primary key (organization_id, id),
  foreign key (organization_id, payer_id) references public.payers (organization_id, id),
  check (first_code < second_code),
  constraint payer_concurrency_rules_one_version_a_day exclude using gist (
    organization_id with =, payer_id with =, first_code with =, second_code with =,
    daterange(valid_from, valid_to, '[]') with &&
  )
);
comment on table public.payer_concurrency_rules is
  'Which two services one client may receive at the same time. A pair without a rule is not allowed.';
create index payer_concurrency_rules_payer_idx on public.payer_concurrency_rules (organization_id, payer_id);

create function private.payer_rule(organization_id uuid, payer_id uuid, cpt_code text, on_date date)
returns table (
  rounding public.unit_rounding,
  max_daily_units smallint,
  authorization_required boolean,
  evv_required boolean,
  is_covered boolean
)
language plpgsql
stable
rows 1
set search_path = ''
as $$
#variable_conflict use_column
begin
  return query
  select
    coalesce(code_rule.rounding, rule.rounding, 'midpoint'),
    code_rule.max_daily_units,
    coalesce(code_rule.authorization_required, rule.authorization_required, false),
    coalesce(rule.evv_required, false),
    coalesce(code_rule.is_covered, true)
  from (values (payer_rule.payer_id)) as payer (id)
  left join public.payer_rules as rule
    on rule.organization_id = payer_rule.organization_id
    and rule.payer_id = payer.id
    and daterange(rule.valid_from, rule.valid_to, '[]') @> on_date
  left join public.payer_code_rules as code_rule
    on code_rule.organization_id = payer_rule.organization_id
    and code_rule.payer_id = payer.id
    and code_rule.cpt_code = payer_rule.cpt_code
    and daterange(code_rule.valid_from, code_rule.valid_to, '[]') @> on_date;
end
$$;
comment on function private.payer_rule(uuid, uuid, text, date) is
  'A payer''s rule for a code on a day, defaults filled in: one row always, also for no payer.';

create function private.default_modifiers(
  organization_id uuid,
  payer_id uuid,
  cpt_code text,
  credential text,
  location_type text,
  on_date date
)
returns text[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return coalesce((
    select array_agg(modifier.name order by modifier.position)
    from (
      select listed.name, min(listed.position) as position
      from (
        select item.name, item.position
        from public.payer_code_rules as code_rule
        cross join lateral jsonb_array_elements_text(
          code_rule.modifiers -> private.provider_level(default_modifiers.credential)::text
        ) with ordinality as item (name, position)
        where code_rule.organization_id = default_modifiers.organization_id
          and code_rule.payer_id = default_modifiers.payer_id
          and code_rule.cpt_code = default_modifiers.cpt_code
          and daterange(code_rule.valid_from, code_rule.valid_to, '[]') @> on_date
        union all
        select coalesce(rule.telehealth_modifier, case when rule.payer_id is null then '95' end), 5
        from (values (1)) as once
        left join public.payer_rules as rule
          on rule.organization_id = default_modifiers.organization_id
          and rule.payer_id = default_modifiers.payer_id
          and daterange(rule.valid_from, rule.valid_to, '[]') @> on_date
        where private.place_of(default_modifiers.location_type) = 'telehealth'
      ) as listed (name, position)
      where listed.name is not null
      group by listed.name
      order by position
      limit 4
    ) as modifier
  ), '{}');
end
$$;
comment on function private.default_modifiers(uuid, uuid, text, text, text, date) is
  'The modifiers of a service when its caller gives none: what the payer of that day wants for the code and the level of '
  'who renders, then the place''s (95 for telehealth, unless the payer says otherwise); at most four, each once. The same '
  'as deriveCptMetadata.';

create function private.coverage_gap(
  organization_id uuid,
  payer_id uuid,
  cpt_code text,
  location_type text,
  on_date date
)
returns text
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    select case
      when not code_rule.is_covered then 'code'
      when private.place_of(coverage_gap.location_type) = any (code_rule.excluded_places) then 'place'
    end
    from public.payer_code_rules as code_rule
    where code_rule.organization_id = coverage_gap.organization_id
      and code_rule.payer_id = coverage_gap.payer_id
      and code_rule.cpt_code = coverage_gap.cpt_code
      and daterange(code_rule.valid_from, code_rule.valid_to, '[]') @> on_date
  );
end
$$;
comment on function private.coverage_gap(uuid, uuid, text, text, date) is
  'Why a payer does not pay for a code at a place on a day: code (never), place (not there); null when it does.';

-- Row-level security: staff read, a super_admin edits ------------------------------------------------------------------

alter table public.payers enable row level security;
create policy role_scoped_select on public.payers for select to authenticated
  using (organization_id = (select private.active_organization_id()) and (select private.active_role()) <> 'client');
create policy role_scoped_select_insert on public.payers for insert to authenticated
  with check (
    organization_id = (select private.active_organization_id()) and (select private.active_role()) = 'super_admin'
  );
create policy role_scoped_select_update on public.payers for update to authenticated
  using (organization_id = (select private.active_organization_id()) and (select private.active_role()) = 'super_admin')
  with check (
    organization_id = (select private.active_organization_id()) and (select private.active_role()) = 'super_admin'
  );
comment on policy role_scoped_select on public.payers is 'Staff read payers and their rules.';
comment on policy role_scoped_select_insert on public.payers is 'A super_admin enters payers and their rules.';
comment on policy role_scoped_select_update on public.payers is 'A super_admin edits payers and their rules.';
grant select, insert, update on public.payers to service_role;
grant select on public.payers to authenticated;

alter table public.payer_rules enable row level security;
create policy role_scoped_select on public.payer_rules for select to authenticated
  using (organization_id = (select private.active_organization_id()) and (select private.active_role()) <> 'client');
create policy role_scoped_select_insert on public.payer_rules for insert to authenticated
  with check (
    organization_id = (select private.active_organization_id()) and (select private.active_role()) = 'super_admin'
  );
create policy role_scoped_select_update on public.payer_rules for update to authenticated
  using (organization_id = (select private.active_organization_id()) and (select private.active_role()) = 'super_admin')
  with check (
    organization_id = (select private.active_organization_id()) and (select private.active_role()) = 'super_admin'
  );
comment on policy role_scoped_select on public.payer_rules is 'Staff read payers and their rules.';
comment on policy role_scoped_select_insert on public.payer_rules is 'A super_admin enters payers and their rules.';
comment on policy role_scoped_select_update on public.payer_rules is 'A super_admin edits payers and their rules.';
grant select, insert, update on public.payer_rules to service_role;
grant select on public.payer_rules to authenticated;

alter table public.payer_code_rules enable row level security;
create policy role_scoped_select on public.payer_code_rules for select to authenticated
  using (organization_id = (select private.active_organization_id()) and (select private.active_role()) <> 'client');
create policy role_scoped_select_insert on public.payer_code_rules for insert to authenticated
  with check (
    organization_id = (select private.active_organization_id()) and (select private.active_role()) = 'super_admin'
  );
create policy role_scoped_select_update on public.payer_code_rules for update to authenticated
  using (organization_id = (select private.active_organization_id()) and (select private.active_role()) = 'super_admin')
  with check (
    organization_id = (select private.active_organization_id()) and (select private.active_role()) = 'super_admin'
  );
comment on policy role_scoped_select on public.payer_code_rules is 'Staff read payers and their rules.';
comment on policy role_scoped_select_insert on public.payer_code_rules is 'A super_admin enters payers and their rules.';
comment on policy role_scoped_select_update on public.payer_code_rules is 'A super_admin edits payers and their rules.';
grant select, insert, update on public.payer_code_rules to service_role;
grant select on public.payer_code_rules to authenticated;

alter table public.payer_concurrency_rules enable row level security;
create policy role_scoped_select on public.payer_concurrency_rules for select to authenticated
  using (organization_id = (select private.active_organization_id()) and (select private.active_role()) <> 'client');
create policy role_scoped_select_insert on public.payer_concurrency_rules for insert to authenticated
  with check (
    organization_id = (select private.active_organization_id()) and (select private.active_role()) = 'super_admin'
  );
create policy role_scoped_select_update on public.payer_concurrency_rules for update to authenticated
  using (organization_id = (select private.active_organization_id()) and (select private.active_role()) = 'super_admin')
  with check (
    organization_id = (select private.active_organization_id()) and (select private.active_role()) = 'super_admin'
  );
comment on policy role_scoped_select on public.payer_concurrency_rules is 'Staff read payers and their rules.';
comment on policy role_scoped_select_insert on public.payer_concurrency_rules is 'A super_admin enters payers and their rules.';
comment on policy role_scoped_select_update on public.payer_concurrency_rules is 'A super_admin edits payers and their rules.';
grant select, insert, update on public.payer_concurrency_rules to service_role;
grant select on public.payer_concurrency_rules to authenticated;

grant insert (organization_id, id, name), update (name, deleted_at) on public.payers to authenticated;
grant
  insert (organization_id, id, payer_id, rounding, telehealth_modifier, authorization_required, evv_required,
    valid_from, valid_to),
  update (rounding, telehealth_modifier, authorization_required, evv_required, valid_from, valid_to)
  on public.payer_rules to authenticated;
grant
  insert (organization_id, id, payer_id, cpt_code, rounding, modifiers, is_covered, excluded_places, max_daily_units,
    authorization_required, valid_from, valid_to),
  update (rounding, modifiers, is_covered, excluded_places, max_daily_units, authorization_required, valid_from,
    valid_to)
  on public.payer_code_rules to authenticated;
grant
  insert (organization_id, id, payer_id, first_code, second_code, allowed, valid_from, valid_to),
  update (allowed, valid_from, valid_to)
  on public.payer_concurrency_rules to authenticated;

-- === schemas/payers/coverages.sql ===

-- Purpose: who pays for a client, and when.
-- Objects: client_coverages; private.service_date, private.primary_payer.

create table public.client_coverages (
  organization_id uuid not null,
  id uuid not null default gen_random_uuid(),
  client_id uuid not null,
  payer_id uuid not null,
  priority smallint not null default 1 check (priority between 1 and 9),
  valid_from date not null check (isfinite(valid_from)),
  valid_to date check (valid_to >= valid_from),
  created_at timestamptz not null default now(),
  primary key (organization_id, id),
  foreign key (organization_id, client_id) references public.clients (organization_id, id),
  foreign key (organization_id, payer_id) references public.payers (organization_id, id),
  constraint client_coverages_one_a_priority_and_day exclude using gist (
    organization_id with =, client_id with =, priority with =, daterange(valid_from, valid_to, '[]') with &&
  )
);
comment on table public.client_coverages is
  'Who pays for a client, and when. Holds no member number: identifying details are encrypted elsewhere.';
comment on column public.client_coverages.priority is '1 pays first; its rules round and authorize the client''s services.';
create index client_coverages_client_idx on public.client_coverages (organization_id, client_id);
create index client_coverages_payer_idx on public.client_coverages (organization_id, payer_id);

create function private.service_zone(organization_id uuid, client_id uuid)
returns text
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    select coalesce(client.time_zone, organization.time_zone)
    from public.organizations as organization
    left join public.clients as client
      on client.organization_id = organization.id and client.id = service_zone.client_id
    where organization.id = service_zone.organization_id
  );
end
$$;
comment on function private.service_zone(uuid, uuid) is
  'The zone whose local date, at its start, is the date of a client''s service: the client''s, else the organization''s.';

create function private.service_date(organization_id uuid, client_id uuid, start_time timestamptz)
returns date
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
  return (start_time at time zone private.service_zone(organization_id, client_id))::date;
end
$$;
comment on function private.service_date(uuid, uuid, timestamptz) is
  'The date of a service: the local one, at its start, where the client receives care. Never the caller''s. Runs as its '
  'owner, so that reports may call it.';
grant execute on function private.service_date(uuid, uuid, timestamptz) to authenticated, service_role;

create function private.primary_payer(organization_id uuid, client_id uuid, on_date date)
returns uuid
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    select coverage.payer_id
    from public.client_coverages as coverage
    where coverage.organization_id = primary_payer.organization_id
      and coverage.client_id = primary_payer.client_id
      and on_date >= coverage.valid_from
      and on_date <= coalesce(coverage.valid_to, 'infinity')
    order by coverage.priority
    limit 1
  );
end
$$;
comment on function private.primary_payer(uuid, uuid, date) is 'Who pays first for a client on a day; null when nobody is known.';

alter table public.client_coverages enable row level security;
create policy role_scoped_select on public.client_coverages for select to authenticated
  using (
    organization_id = (select private.active_organization_id())
    and (
      (select private.is_admin())
      or (
        (select private.active_role()) = 'therapist'
        and client_id = any ((select private.caseload_client_ids())::uuid[])
      )
    )
  );
create policy role_scoped_select_insert on public.client_coverages for insert to authenticated
  with check (organization_id = (select private.active_organization_id()) and (select private.is_admin()));
create policy role_scoped_select_update on public.client_coverages for update to authenticated
  using (organization_id = (select private.active_organization_id()) and (select private.is_admin()))
  with check (organization_id = (select private.active_organization_id()) and (select private.is_admin()));
comment on policy role_scoped_select on public.client_coverages is
  'Admins read all coverages, a therapist those of their caseload.';
comment on policy role_scoped_select_insert on public.client_coverages is 'Admins enter who pays for a client.';
comment on policy role_scoped_select_update on public.client_coverages is 'Admins end or correct a coverage.';
grant select,
  insert (organization_id, id, client_id, payer_id, priority, valid_from, valid_to),
  update (priority, valid_from, valid_to)
  on public.client_coverages to authenticated;
grant select, insert, update on public.client_coverages to service_role;

-- === schemas/payers/lanes.sql ===

-- Purpose: which services one client may receive at the same time, as lanes of claims.
-- Objects: private.client_lanes.
-- Watch for: two claims of one client conflict exactly when their lanes meet; see private.pair_lanes.

create function private.client_lanes(
  organization_id uuid,
  client_id uuid,
  cpt_code text,
  start_time timestamptz,
  end_time timestamptz
)
returns int4multirange
language plpgsql
stable
set search_path = ''
as $$
declare
  service record;
  days daterange;
  allowed int4multirange;
begin
  if cpt_code is null then
    return '{[0,2147483647)}';
  end if;
  -- All versions of a code have one number, so any will do.
  select candidate.ordinal, candidate.lanes into service
  from public.service_codes as candidate
  where candidate.code = cpt_code
    and (candidate.organization_id is null or candidate.organization_id = client_lanes.organization_id)
  limit 1;
  if not found then
    return '{[0,2147483647)}';
  end if;
  if not exists (
    select 1
    from public.client_coverages as coverage
    where coverage.organization_id = client_lanes.organization_id and coverage.client_id = client_lanes.client_id
  ) then
    return service.lanes;
  end if;

  -- Days are the organization's, so that two overlapping services look at one day in common.
  select daterange(
    (start_time at time zone organization.time_zone)::date,
    (end_time at time zone organization.time_zone)::date, '[]'
  ) into days
  from public.organizations as organization
  where organization.id = client_lanes.organization_id;

  -- A pair gives up its lane when, on each of the days, there is a payer and every payer of the client allows it.
  select range_agg(int4range(pair.lane, pair.lane + 1)) into allowed
  from (
    select least(service.ordinal, other.ordinal) * 100 + greatest(service.ordinal, other.ordinal) as lane
    from generate_series(lower(days), upper(days) - 1, interval '1 day') as day (date)
    left join public.client_coverages as coverage
      on coverage.organization_id = client_lanes.organization_id
      and coverage.client_id = client_lanes.client_id
      and daterange(coverage.valid_from, coverage.valid_to, '[]') @> day.date::date
    cross join (
      select distinct known.code, known.ordinal
      from public.service_codes as known
      where known.organization_id is null or known.organization_id = client_lanes.organization_id
    ) as other
    left join public.payer_concurrency_rules as rule
      on rule.organization_id = coverage.organization_id
      and rule.payer_id = coverage.payer_id
      and rule.first_code = least(client_lanes.cpt_code, other.code)
      and rule.second_code = greatest(client_lanes.cpt_code, other.code)
      and daterange(rule.valid_from, rule.valid_to, '[]') @> day.date::date
    where other.code <> client_lanes.cpt_code
    group by other.ordinal
    having bool_and(coalesce(rule.allowed, false))
  ) as pair;
  return service.lanes - coalesce(allowed, '{}');
end
$$;
comment on function private.client_lanes(uuid, uuid, text, timestamptz, timestamptz) is
  'The lanes of a client''s claim: those of the code''s pairs, but for pairs that every payer of the client allows. '
  'All lanes for a booking that names no known service: what it may run beside is not known. Without a payer nothing '
  'is allowed.';

-- === schemas/payers/payer_templates.sql ===

-- Purpose: payers to begin with.
-- Objects: private.add_default_payers.
-- Watch for: these rows are examples, each with its source. Payers change their rules: compare them with the payer's own
--            manual before you bill by them, and enter what differs as a new version.

create function private.add_default_payers(organization_id uuid, valid_from date default '2020-01-01')
returns void
language plpgsql
set search_path = ''
as $$
#variable_conflict use_column
declare
  default_id uuid := gen_random_uuid();
  tricare_id uuid := gen_random_uuid();
  commercial_id uuid := gen_random_uuid();
  medicaid_id uuid := gen_random_uuid();
begin
  insert into public.payers (organization_id, id, name)
  values
    (add_default_payers.organization_id, default_id, 'Default'),
    (add_default_payers.organization_id, tricare_id, 'TRICARE'),
    (add_default_payers.organization_id, commercial_id, 'Example Commercial Plan'),
    (add_default_payers.organization_id, medicaid_id, 'Example Medicaid Program');

  insert into public.payer_rules (
    organization_id, payer_id, rounding, telehealth_modifier, authorization_required, evv_required, valid_from
  )
  select add_default_payers.organization_id, rule.*, add_default_payers.valid_from
  from (
    values
      -- AMA CPT: a unit of time is attained when its midpoint is passed; modifier 95 for synchronous telemedicine.
      (default_id, 'midpoint'::public.unit_rounding, '95', false, false),
      -- TRICARE Operations Manual, chapter 18, section 3 (Autism Care Demonstration): all services are authorized; GT.
      (tricare_id, 'midpoint', 'GT', true, false),
      (commercial_id, 'midpoint', '95', false, false),
      -- Medicaid programs commonly add up a day's minutes of a code; electronic visit verification as in Colorado and
      -- Florida. Weekly caps (such as 104 units of 97153) stand on each authorization.
      (medicaid_id, 'midpoint_daily', '95', true, true)
  ) as rule (payer_id, rounding, telehealth_modifier, authorization_required, evv_required);

  insert into public.payer_code_rules (
    organization_id, payer_id, cpt_code, modifiers, is_covered, excluded_places, max_daily_units,
    authorization_required, valid_from
  )
  select
    add_default_payers.organization_id, payer.id, code.cpt_code,
    -- Levels as several commercial and Medicaid payers write them: HM below a bachelor's degree, HN bachelor, HO master.
    -- HQ marks a group setting.
    case
      when payer.id not in (commercial_id, medicaid_id) or code.levels = '{}' then '{}'
      else (
        select jsonb_object_agg(level.name, to_jsonb(array_remove(array[
          level.modifier, case when payer.id = commercial_id and code.cpt_code = '97154' then 'HQ' end
        ], null)))
        from (values ('technician', 'HM'), ('assistant', 'HN'), ('qhp', 'HO')) as level (name, modifier)
        where level.name = any (code.levels)
      )
    end,
    -- TRICARE covers 97151, 97153 and 97155 to 97158 only.
    not (payer.id = tricare_id and code.cpt_code in ('97152', '97154', '0362T', '0373T')),
    -- TRICARE: 97151, 97153 and 97155 are rendered in person.
    case when payer.id = tricare_id and code.cpt_code in ('97151', '97153', '97155') then '{telehealth}' else '{}' end::text[],
    case
      -- TRICARE: 97155 at most 2 hours a day. Medicaid's edit of 97151 differs from Medicare's.
      when payer.id = tricare_id and code.cpt_code = '97155' then 8
      when payer.id = medicaid_id and code.cpt_code = '97151' then 32
      else code.max_daily_units
    end,
    case when payer.id = commercial_id and code.cpt_code in ('97153', '97155') then true end,
    add_default_payers.valid_from
  from (values (default_id), (tricare_id), (commercial_id), (medicaid_id)) as payer (id)
  cross join (
    values
      -- Medically Unlikely Edits, practitioner set of 2021. CMS publishes new ones every quarter.
      ('97151', '{assistant,qhp}'::text[], 8), ('97152', '{technician,assistant,qhp}', 16),
      ('97153', '{technician,assistant,qhp}', 32), ('97154', '{technician,assistant,qhp}', 18),
      ('97155', '{assistant,qhp}', 24), ('97156', '{assistant,qhp}', 16), ('97157', '{assistant,qhp}', 16),
      ('97158', '{assistant,qhp}', 16), ('0362T', '{}', 16), ('0373T', '{}', 24)
  ) as code (cpt_code, levels, max_daily_units);

  insert into public.payer_concurrency_rules (
    organization_id, payer_id, first_code, second_code, allowed, valid_from
  )
  select add_default_payers.organization_id, rule.payer_id, rule.first_code, rule.second_code, rule.allowed,
    add_default_payers.valid_from
  from (
    values
      -- Commercial reimbursement policies, such as Optum's, pay these side by side.
      (default_id, '97153', '97155', true),
      (default_id, '97153', '97156', true),
      (default_id, '97154', '97155', true),
      (commercial_id, '97153', '97155', true),
      (commercial_id, '97153', '97156', true),
      (commercial_id, '97154', '97155', true),
      -- TRICARE Operations Manual, chapter 18, section 3: concurrent billing.
      (tricare_id, '97151', '97153', true),
      (tricare_id, '97151', '97155', false),
      (tricare_id, '97151', '97156', true),
      (tricare_id, '97151', '97157', true),
      (tricare_id, '97151', '97158', true),
      (tricare_id, '97153', '97155', false),
      (tricare_id, '97153', '97156', true),
      (tricare_id, '97153', '97157', true),
      (tricare_id, '97153', '97158', false),
      (tricare_id, '97155', '97156', true),
      (tricare_id, '97155', '97157', true),
      (tricare_id, '97155', '97158', false),
      (tricare_id, '97156', '97157', false),
      (tricare_id, '97156', '97158', true),
      (tricare_id, '97157', '97158', true)
      -- The Medicaid program has none: what is not allowed is refused.
  ) as rule (payer_id, first_code, second_code, allowed);
end
$$;
comment on function private.add_default_payers(uuid, date) is
  'Gives an organization four payers to begin with: a plausible default, TRICARE, and examples of a commercial plan and '
  'of a Medicaid program. Rules are data from there on: check them against the payers'' own manuals, and edit.';

-- === schemas/audit/audit.sql ===

-- Purpose: an append-only, tamper-evident record of who did what, when, to which rows, and with what outcome.
-- Objects: audit.events (partitioned by quarter), audit.seals, audit.chains, private.record_event,
--          audit.ensure_partitions. What proves them is in proof.sql, the list of all actions in actions.sql.
-- Watch for: events are written in the transaction of what they describe, and sealed into a hash chain when it commits.
--            Nothing here is granted for writing: only SECURITY DEFINER functions and triggers record, and they take
--            the actor from the JWT, never from a caller. The limit of the proof: an owner of the database can rewrite a
--            whole chain. Export checkpoints to where she cannot.

create table audit.events (
  organization_id uuid not null,
  id uuid not null default gen_random_uuid(),
  chain_id uuid not null,
  occurred_at timestamptz not null,
  recorded_at timestamptz not null default clock_timestamp(),
  actor_user_id uuid,
  actor_role text,
  actor_session_id text,
  database_user text not null default session_user,
  action text not null check (action ~ '^[a-z_]+\.[a-z_]+$'),
  entity text not null,
  entity_ids uuid[] not null,
  outcome text not null default 'ok' check (outcome in ('ok', 'refused')),
  code text,
  before jsonb,
  after jsonb,
  details jsonb,
  request_id text,
  primary key (organization_id, recorded_at, id),
  check ((outcome = 'refused') = (code is not null))
) partition by range (recorded_at);
comment on table audit.events is
  'One event for each hold, refusal, confirmation, cancellation and change; a batch is one event that lists its ids. '
  'Events keep no foreign keys: they survive whatever they describe.';
comment on column audit.events.chain_id is
  'The hash chain that seals this event: the therapist whose time a booking has locked, else the actor.';
comment on column audit.events.occurred_at is 'When it happened; for an expiry, the hold''s expires_at.';
comment on column audit.events.recorded_at is 'When it was written down.';
comment on column audit.events.database_user is 'The login role of the connection: tells SQL sessions from the API.';
comment on column audit.events.request_id is 'The X-Request-Id of the call, for matching with logs.';
create index events_entity_ids_idx on audit.events using gin (entity_ids);

create table audit.seals (
  organization_id uuid not null,
  chain_id uuid not null,
  seq bigint not null check (seq > 0),
  event_id uuid not null,
  event_recorded_at timestamptz not null,
  sealed_at timestamptz not null,
  digest bytea not null,
  hash bytea not null,
  primary key (organization_id, chain_id, seq)
);
comment on table audit.seals is
  'The hash chains. digest is the SHA-256 of the event; hash is the SHA-256 of the previous hash, this digest and sealed_at. '
  'Kept when old events are archived, so that the chain stays whole.';
comment on column audit.seals.sealed_at is
  'When the transaction committed, by the database''s clock. An event that was recorded at another time was planted.';
create index seals_event_recorded_at_idx on audit.seals using brin (event_recorded_at);
create unique index seals_event_id_idx on audit.seals (organization_id, event_id);

create table audit.chains (
  organization_id uuid not null,
  chain_id uuid not null,
  seq bigint not null,
  hash bytea not null,
  primary key (organization_id, chain_id)
);
comment on table audit.chains is 'The head of each chain: its last seq and hash.';

create function audit.refuse_change()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  raise exception using
    errcode = 'restrict_violation',
    message = 'audit events are append-only',
    hint = 'Record a further event instead.';
end
$$;
comment on function audit.refuse_change() is 'Trigger: refuses UPDATE, DELETE and TRUNCATE of the audit, whoever asks.';

create trigger refuse_change before update or delete on audit.events
  for each row execute function audit.refuse_change();
create trigger refuse_truncate before truncate on audit.events
  for each statement execute function audit.refuse_change();
create trigger refuse_change before update or delete on audit.seals
  for each row execute function audit.refuse_change();
create trigger refuse_truncate before truncate on audit.seals
  for each statement execute function audit.refuse_change();
create trigger refuse_delete before delete on audit.chains
  for each row execute function audit.refuse_change();
create trigger refuse_truncate before truncate on audit.chains
  for each statement execute function audit.refuse_change();

create function audit.digest(event jsonb)
returns bytea
language plpgsql
immutable
set search_path = ''
as $$
begin
  return sha256(convert_to(event::text, 'UTF8'));
end
$$;
comment on function audit.digest(jsonb) is 'SHA-256 of an event''s row as jsonb (canonical text), instants in UTC.';

create function audit.link(previous_hash bytea, digest bytea, sealed_at timestamptz)
returns bytea
language plpgsql
immutable
set search_path = ''
as $$
begin
  return sha256(coalesce(previous_hash, '') || digest || timestamptz_send(sealed_at));
end
$$;
comment on function audit.link(bytea, bytea, timestamptz) is
  'The hash of a seal: of the hash before it (null for the first of a chain), the event''s digest and when it was sealed.';

create function audit.seal_event()
returns trigger
language plpgsql
security definer
set search_path = ''
set timezone = 'UTC'
as $$
#variable_conflict use_column
declare
  event_digest bytea := sha256(convert_to(to_jsonb(new)::text, 'UTF8'));  -- audit.digest, without a call
  sealed_at timestamptz := clock_timestamp();
  suffix bytea := event_digest || timestamptz_send(sealed_at);  -- audit.link, without a call
begin
  -- What is recorded is recorded now. A minute for clocks that are set meanwhile; an hour, since audit.verify counts it.
  if new.recorded_at not between now() - interval '1 minute' and sealed_at + interval '1 minute'
    or new.recorded_at < sealed_at - interval '1 hour'
    -- A hold that nobody looked at is told later, and dated to its expiry.
    or new.occurred_at not between timestamptz '2000-01-01 00:00Z' and sealed_at + interval '1 minute'
  then
    raise exception using
      errcode = 'restrict_violation',
      message = 'audit events are recorded as they happen',
      hint = 'Neither earlier nor later events can be written; split transactions that take longer than an hour.';
  end if;
  -- Runs when the transaction commits, after every other lock: whoever holds a head waits for nothing more, and a
  -- transaction has one chain only, so heads can neither hold up bookings nor deadlock with them.
  with head as (
    insert into audit.chains as chain (organization_id, chain_id, seq, hash)
    values (new.organization_id, new.chain_id, 1, sha256(suffix))
    on conflict (organization_id, chain_id)
    do update set seq = chain.seq + 1, hash = sha256(chain.hash || suffix)
    returning seq, hash
  )
  insert into audit.seals (
    organization_id, chain_id, seq, event_id, event_recorded_at, sealed_at, digest, hash
  )
  select new.organization_id, new.chain_id, head.seq, new.id, new.recorded_at, sealed_at, event_digest, head.hash
  from head;
  return null;
end
$$;
comment on function audit.seal_event() is
  'Constraint trigger, at commit: links the event into its chain, and refuses one that pretends to be of another time.';

create constraint trigger seal_event after insert on audit.events
  deferrable initially deferred
  for each row execute function audit.seal_event();

-- Partitions -----------------------------------------------------------------------------------------------------------

create function audit.guard_partition(partition_name text)
returns void
language plpgsql
set search_path = ''
as $$
begin
  -- TRUNCATE triggers and row security are not inherited: without these a partition could be emptied or read directly.
  execute format(
    'create trigger refuse_truncate before truncate on audit.%I for each statement execute function audit.refuse_change()',
    partition_name
  );
  execute format('alter table audit.%I enable row level security', partition_name);
  execute format('create policy deny_all on audit.%I using (false)', partition_name);
  execute format('comment on table audit.%I is %L', partition_name, 'A partition of audit.events.');
end
$$;
comment on function audit.guard_partition(text) is 'Gives a partition of events what it does not inherit.';

create table audit.events_default partition of audit.events default;
select audit.guard_partition('events_default');

create function audit.ensure_partitions(quarters_ahead integer default 2)
returns integer
language plpgsql
set search_path = ''
as $$
declare
  quarter date;
  name text;
  created integer := 0;
begin
  for quarter in
    select series.quarter::date
    from generate_series(
      date_trunc('quarter', now() at time zone 'UTC'),
      date_trunc('quarter', now() at time zone 'UTC') + make_interval(months => 3 * quarters_ahead),
      interval '3 months'
    ) as series (quarter)
  loop
    name := 'events_' || to_char(quarter, 'YYYY_"q"Q');
    continue when to_regclass('audit.' || name) is not null;
    -- Postgres makes no partition whose rows lie elsewhere already. What was written while this quarter had none stays in
    -- the default partition, and with it the rest of the quarter; the following ones get theirs.
    continue when exists (
      select 1
      from audit.events_default as stray
      where stray.recorded_at >= quarter::timestamp at time zone 'UTC'
        and stray.recorded_at < (quarter + interval '3 months')::timestamp at time zone 'UTC'
    );
    execute format(
      'create table audit.%I partition of audit.events for values from (%L) to (%L)',
      name, quarter::timestamp at time zone 'UTC', (quarter + interval '3 months')::timestamp at time zone 'UTC'
    );
    perform audit.guard_partition(name);
    created := created + 1;
  end loop;
  return created;
end
$$;
comment on function audit.ensure_partitions(integer) is
  'Creates the quarterly partitions from this quarter on, as far as they are missing. Run it once a quarter (pg_cron, or '
  'any scheduler); until it runs, events go to the default partition and no booking stops.';
select audit.ensure_partitions();

-- Access and recording -------------------------------------------------------------------------------------------------

alter table audit.events enable row level security;
create policy role_scoped_select on audit.events for select to authenticated
  using (
    organization_id = (select private.active_organization_id())
    and ((select private.is_admin()) or (select private.has_permission('view_audit')))
  );
comment on policy role_scoped_select on audit.events is
  'Admins, and members with the permission view_audit, read their organization''s events.';
alter table audit.seals enable row level security;
create policy role_scoped_select on audit.seals for select to authenticated
  using (
    organization_id = (select private.active_organization_id())
    and ((select private.is_admin()) or (select private.has_permission('view_audit')))
  );
comment on policy role_scoped_select on audit.seals is
  'Admins, and members with the permission view_audit, read their organization''s seals.';
alter table audit.chains enable row level security;
create policy role_scoped_select on audit.chains for select to authenticated
  using (
    organization_id = (select private.active_organization_id())
    and ((select private.is_admin()) or (select private.has_permission('view_audit')))
  );
comment on policy role_scoped_select on audit.chains is
  'Admins, and members with the permission view_audit, read their organization''s chain heads.';
grant select on audit.events, audit.seals, audit.chains to authenticated, service_role;

create function private.record_event(
  organization_id uuid,
  action text,
  entity text,
  entity_ids uuid[],
  occurred_at timestamptz,
  therapist_id uuid default null,
  actor_role text default null,
  outcome text default 'ok',
  code text default null,
  before jsonb default null,
  after jsonb default null,
  details jsonb default null
)
returns void
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  actor_id uuid := auth.uid();
  chain_id uuid := coalesce(
    nullif(current_setting('therapist_sessions.audit_chain', true), '')::uuid,
    record_event.therapist_id, actor_id, '00000000-0000-0000-0000-000000000000'
  );
begin
  if actor_role is null and actor_id is not null then
    select membership.role::text into actor_role
    from public.memberships as membership
    where membership.organization_id = record_event.organization_id and membership.user_id = actor_id;
  end if;
  -- The first event of a transaction chooses its chain, for all of them.
  perform set_config('therapist_sessions.audit_chain', chain_id::text, true);
  insert into audit.events (
    organization_id, chain_id, occurred_at, actor_user_id, actor_role, actor_session_id,
    action, entity, entity_ids, outcome, code, before, after, details, request_id
  )
  values (
    record_event.organization_id, chain_id, record_event.occurred_at, actor_id,
    coalesce(record_event.actor_role, auth.role()),
    auth.jwt() ->> 'session_id',
    record_event.action, record_event.entity, record_event.entity_ids, record_event.outcome, record_event.code,
    record_event.before, record_event.after, record_event.details,
    nullif(current_setting('therapist_sessions.request_id', true), '')
  );
end
$$;
comment on function private.record_event(
  uuid, text, text, uuid[], timestamptz, uuid, text, text, text, jsonb, jsonb, jsonb
) is
  'Writes one event in the current transaction. The actor is the JWT''s user, role and session; for SQL connections '
  'the database user. therapist_id names the therapist whose lock is held, whose chain then takes the event.';

-- === schemas/calendar/sessions.sql ===

-- Purpose: sessions, the series and groups they belong to, and how they end.
-- Objects: session_groups, session_series, sessions, session_cancellations, and who may see and write them.
-- Watch for: a group owns the therapist, the room, the times and the buffers of all its members. Two sessions of one
--            therapist overlap only inside one group. The claims (claims.sql) decide the same for clients, rooms and
--            holds; the exclusion constraint here is the calendar's own.

create table public.session_groups (
  organization_id uuid not null,
  id uuid not null default gen_random_uuid(),
  therapist_id uuid not null,
  room_id uuid,
  start_time timestamptz not null,
  end_time timestamptz not null,
  buffer_before_minutes smallint not null default 0 check (buffer_before_minutes between 0 and 240),
  buffer_after_minutes smallint not null default 0 check (buffer_after_minutes between 0 and 240),
  created_at timestamptz not null default now(),
  primary key (organization_id, id),
  unique (organization_id, id, therapist_id, start_time, end_time),
  foreign key (organization_id, therapist_id) references public.therapists (organization_id, id),
  foreign key (organization_id, room_id) references public.rooms (organization_id, id),
  constraint session_groups_times check (
    start_time >= '2000-01-01' and end_time < '2100-01-01' and end_time > start_time
  )
);
comment on table public.session_groups is
  'A group session: one therapist at one time with several clients. Fixes therapist, room, buffers and times of all its '
  'members, and claims the therapist and the room for them.';
create index session_groups_therapist_idx on public.session_groups (organization_id, therapist_id);
create index session_groups_room_idx on public.session_groups (organization_id, room_id) where room_id is not null;

create table public.session_series (
  organization_id uuid not null,
  id uuid not null default gen_random_uuid(),
  therapist_id uuid not null,
  client_id uuid not null,
  recurrence_rule text check (length(recurrence_rule) <= 1000),
  recurrence jsonb check (jsonb_typeof(recurrence) = 'object'),
  -- squawk-ignore prefer-timestamp-tz
  civil_start timestamp,
  time_zone text not null references public.time_zones (name),
  created_by uuid,
  created_at timestamptz not null default now(),
  primary key (organization_id, id),
  foreign key (organization_id, therapist_id) references public.therapists (organization_id, id),
  foreign key (organization_id, client_id) references public.clients (organization_id, id)
);
comment on table public.session_series is 'Sessions that were booked together, and the rule they came from.';
comment on column public.session_series.recurrence_rule is
  'The RRULE as asked for (RFC 5545 section 3.3.10); null for a list of dates.';
comment on column public.session_series.recurrence is
  'The whole recurrence as asked for: {rule, count, until, exceptions, time_zone}; null for a list of dates.';
comment on column public.session_series.civil_start is 'The first start in civil time of time_zone.';
create index session_series_therapist_idx on public.session_series (organization_id, therapist_id);
create index session_series_client_idx on public.session_series (organization_id, client_id);
create index session_series_time_zone_idx on public.session_series (time_zone);

create table public.sessions (
  organization_id uuid not null,
  id uuid not null default gen_random_uuid(),
  therapist_id uuid not null,
  client_id uuid not null,
  start_time timestamptz not null,
  end_time timestamptz not null,
  status public.session_status not null default 'scheduled',
  time_zone text not null references public.time_zones (name),
  -- squawk-ignore prefer-timestamp-tz
  civil_start timestamp not null default '2000-01-01',
  session_type text check (length(session_type) between 1 and 64),
  location_type text check (length(location_type) between 1 and 64),
  cpt_code text check (cpt_code ~ '^[0-9A-Z]{5}$'),
  cpt_modifiers text[] not null default '{}' check (cardinality(cpt_modifiers) <= 4),
  lanes int4multirange not null default '{[0,2147483647)}',
  series_id uuid,
  group_id uuid,
  group_key uuid not null generated always as (coalesce(group_id, id)) stored,
  room_id uuid,
  buffer_before_minutes smallint not null default 0,
  buffer_after_minutes smallint not null default 0,
  created_by uuid default auth.uid(),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (organization_id, id),
  foreign key (organization_id, therapist_id) references public.therapists (organization_id, id),
  foreign key (organization_id, client_id) references public.clients (organization_id, id),
  foreign key (organization_id, room_id) references public.rooms (organization_id, id),
  foreign key (organization_id, series_id) references public.session_series (organization_id, id),
  -- Deferrable, so that a group and its members may change in two statements.
  constraint sessions_at_the_place_of_their_group
    foreign key (organization_id, group_id, therapist_id, start_time, end_time)
    references public.session_groups (organization_id, id, therapist_id, start_time, end_time)
    on update cascade deferrable initially immediate,
  constraint sessions_times check (
    start_time >= '2000-01-01' and end_time < '2100-01-01' and end_time > start_time
    and end_time - start_time <= interval '12 hours'
  ),
  constraint sessions_buffers check (
    buffer_before_minutes between 0 and 240 and buffer_after_minutes between 0 and 240
  ),
  -- The room and the buffers of a group stand on the group, once: copies in its members could disagree.
  constraint sessions_place_of_group check (
    group_id is null or (room_id is null and buffer_before_minutes = 0 and buffer_after_minutes = 0)
  ),
  constraint sessions_lanes check (not isempty(lanes) and not lower_inf(lanes) and not upper_inf(lanes)),
  -- Deferrable, so that one UPDATE may move a whole series onto places its siblings are leaving.
  constraint sessions_no_therapist_overlap exclude using gist (
    organization_id with =,
    therapist_id with =,
    -- Before group_key: the index orders a therapist's sessions by time, and a look at one hour reads few of them.
    tstzrange(start_time, end_time, '[)') with &&,
    group_key with <>
  ) where (status not in ('cancelled', 'no_show')) deferrable initially immediate
);
comment on table public.sessions is 'Appointments of one therapist with one client. Times are instants, [start, end).';
comment on column public.sessions.id is 'A session booked through a hold keeps the id of its hold.';
comment on column public.sessions.time_zone is 'The IANA zone the appointment was made in: its civil time is local to it.';
comment on column public.sessions.civil_start is
  'The civil start it was booked for, in time_zone: derived when it is written. When a law changes the zone, start_time '
  'shows another.';
comment on column public.sessions.lanes is
  'What of the client''s time it takes: two services that a payer lets run at once share no lane. Decided when service '
  'and time were chosen; a change of the payers'' rules writes it anew.';
comment on column public.sessions.group_key is
  'Equal for the members of one group, else the row''s own id: rows with equal keys may overlap for one therapist.';
comment on column public.sessions.room_id is 'Null for a member of a group: the room is the group''s.';
comment on column public.sessions.buffer_before_minutes is
  'Minutes before the start that the therapist needs, such as travel. 0 for a member of a group: see the group.';
comment on column public.sessions.buffer_after_minutes is
  'Minutes after the end that the therapist needs. 0 for a member of a group: see the group.';
create index sessions_therapist_start_idx on public.sessions (organization_id, therapist_id, start_time);
create index sessions_client_start_idx on public.sessions (organization_id, client_id, start_time);
create index sessions_start_idx on public.sessions (organization_id, start_time);
create index sessions_series_idx on public.sessions (organization_id, series_id) where series_id is not null;
create index sessions_room_idx on public.sessions (organization_id, room_id) where room_id is not null;
create index sessions_group_idx
  on public.sessions (organization_id, group_id, therapist_id, start_time, end_time) where group_id is not null;
create index sessions_time_zone_idx on public.sessions (time_zone);

create table public.session_cancellations (
  organization_id uuid not null,
  session_id uuid not null,
  attribution public.cancellation_attribution not null default 'unknown',
  reason text check (length(reason) between 1 and 500),
  cancelled_at timestamptz not null default clock_timestamp(),
  cancelled_by uuid,
  cancelled_by_role text,
  primary key (organization_id, session_id),
  foreign key (organization_id, session_id) references public.sessions (organization_id, id)
);
comment on table public.session_cancellations is
  'Why, by whom and when a session was cancelled. Apart from sessions, since clients may not read it.';

create trigger refuse_delete before delete on public.sessions
  for each row execute function private.refuse_delete();
create trigger refuse_truncate before truncate on public.sessions
  for each statement execute function private.refuse_delete();
create trigger refuse_delete before delete on public.session_cancellations
  for each row execute function private.refuse_delete();
create trigger refuse_truncate before truncate on public.session_cancellations
  for each statement execute function private.refuse_delete();

-- Row-level security -----------------------------------------------------------------------------------------------

-- The token's organization is enough in these policies: every branch below asks the membership row for a role.
alter table public.sessions enable row level security;
create policy sessions_scoped_access on public.sessions for select to authenticated
  using (
    organization_id = (select private.claimed_organization_id())
    and (
      (therapist_id = (select auth.uid()) and (select private.active_role()) = 'therapist')
      or (select private.is_admin())
      or ((select private.active_role()) = 'client' and client_id = any ((select private.own_client_ids())::uuid[]))
    )
  );
create policy sessions_scoped_access_insert on public.sessions for insert to authenticated
  with check (
    organization_id = (select private.active_organization_id())
    and (
      (select private.is_admin())
      or (
        (select private.active_role()) = 'therapist'
        and therapist_id = (select auth.uid())
        and client_id = any ((select private.caseload_client_ids())::uuid[])
      )
    )
    and exists (
      select 1
      from public.therapists as therapist
      join public.clients as client on client.organization_id = therapist.organization_id
      where therapist.organization_id = sessions.organization_id
        and therapist.id = sessions.therapist_id
        and client.id = sessions.client_id
        and therapist.deleted_at is null
        and client.deleted_at is null
    )
  );
create policy sessions_scoped_access_update on public.sessions for update to authenticated
  using (
    organization_id = (select private.claimed_organization_id())
    and (
      (therapist_id = (select auth.uid()) and (select private.active_role()) = 'therapist')
      or (select private.is_admin())
    )
  )
  with check (
    organization_id = (select private.claimed_organization_id())
    and (
      (therapist_id = (select auth.uid()) and (select private.active_role()) = 'therapist')
      or (select private.is_admin())
    )
  );
grant select,
  insert (organization_id, therapist_id, client_id, start_time, end_time, time_zone, session_type, location_type,
    cpt_code, cpt_modifiers, group_id, room_id, buffer_before_minutes, buffer_after_minutes),
  update (therapist_id, start_time, end_time, time_zone, session_type, location_type, status,
    cpt_code, cpt_modifiers, room_id, buffer_before_minutes, buffer_after_minutes)
  on public.sessions to authenticated;
grant select, insert, update on public.sessions to service_role;

alter table public.session_series enable row level security;
create policy sessions_scoped_access on public.session_series for select to authenticated
  using (
    organization_id = (select private.claimed_organization_id())
    and (
      ((select private.active_role()) = 'therapist' and (
        therapist_id = (select auth.uid())
        -- Sessions change hands; the series they came from does not.
        or exists (
          select 1
          from public.sessions as session
          where session.organization_id = session_series.organization_id
            and session.series_id = session_series.id
            and session.therapist_id = (select auth.uid())
        )
      ))
      or (select private.is_admin())
      or ((select private.active_role()) = 'client' and client_id = any ((select private.own_client_ids())::uuid[]))
    )
  );
grant select on public.session_series to authenticated, service_role;

alter table public.session_groups enable row level security;
create policy sessions_scoped_access on public.session_groups for select to authenticated
  using (
    organization_id = (select private.claimed_organization_id())
    and (
      (therapist_id = (select auth.uid()) and (select private.active_role()) = 'therapist')
      or (select private.is_admin())
    )
  );
create policy sessions_scoped_access_insert on public.session_groups for insert to authenticated
  with check (
    organization_id = (select private.claimed_organization_id())
    and (
      (therapist_id = (select auth.uid()) and (select private.active_role()) = 'therapist')
      or (select private.is_admin())
    )
  );
grant select, insert (organization_id, id, therapist_id, room_id, start_time, end_time, buffer_before_minutes, buffer_after_minutes)
  on public.session_groups to authenticated;
grant select, insert, update on public.session_groups to service_role;

alter table public.session_cancellations enable row level security;
create policy sessions_scoped_access on public.session_cancellations for select to authenticated
  using (
    organization_id = (select private.active_organization_id())
    and (
      (select private.is_admin())
      or exists (
        select 1
        from public.sessions as session
        where session.organization_id = session_cancellations.organization_id
          and session.id = session_cancellations.session_id
          and session.therapist_id = (select auth.uid())
          and (select private.active_role()) = 'therapist'
      )
    )
  );
grant select on public.session_cancellations to authenticated, service_role;

comment on policy sessions_scoped_access on public.sessions is
  'A therapist reads her own sessions, a parent those of the clients she stands for, admins all of the organization.';
comment on policy sessions_scoped_access_insert on public.sessions is
  'A therapist books her own time for her caseload, admins anybody''s; nobody books the archived.';
comment on policy sessions_scoped_access_update on public.sessions is
  'A therapist changes her own sessions, and gives none away; admins all of the organization.';
comment on policy sessions_scoped_access on public.session_series is 'Whoever may see the sessions may see their series.';
comment on policy sessions_scoped_access on public.session_groups is 'A therapist reads her own groups, admins all.';
comment on policy sessions_scoped_access_insert on public.session_groups is 'A therapist makes her own groups, admins anybody''s.';
comment on policy sessions_scoped_access on public.session_cancellations is
  'A therapist reads why her own sessions were cancelled, admins all; clients do not.';

-- === schemas/calendar/holds.sql ===

-- Purpose: what is held for a few minutes, and by which keys it is confirmed or let go.
-- Objects: hold_batches (one call of sessions-hold), session_holds (one client of one occurrence).
-- Watch for: a hold and the session it becomes share one id. Rows are never deleted; a hold past its batch's expires_at is
--            expired whether or not anybody has written it down.

create table public.hold_batches (
  organization_id uuid not null,
  id uuid not null default gen_random_uuid(),
  hold_key uuid not null default gen_random_uuid(),
  therapist_id uuid not null,
  room_id uuid,
  session_type text,
  cpt_code text,
  time_zone text not null,
  buffer_before_minutes smallint not null default 0,
  buffer_after_minutes smallint not null default 0,
  recurrence jsonb,
  override_reason text,
  override_rules text[],
  is_move boolean not null default false,
  keeps_places boolean not null default false,
  series_id uuid,
  series_change jsonb,
  expires_at timestamptz not null check (isfinite(expires_at)),
  created_by uuid not null,
  created_at timestamptz not null,
  primary key (organization_id, id),
  unique (organization_id, hold_key),
  foreign key (organization_id, therapist_id) references public.therapists (organization_id, id),
  foreign key (organization_id, room_id) references public.rooms (organization_id, id),
  foreign key (organization_id, series_id) references public.session_series (organization_id, id)
);
comment on table public.hold_batches is
  'What one call of sessions-hold asked for and got: one hold, or a whole series. Never deleted.';
comment on column public.hold_batches.hold_key is 'Whoever may book and knows the key may confirm or release the batch.';
comment on column public.hold_batches.recurrence is 'The recurrence as asked for: {rule, count, until, exceptions, time_zone}.';
comment on column public.hold_batches.override_rules is
  'Which rules an admin set aside, with override_reason; null with a reason: all that can be.';
comment on column public.hold_batches.keeps_places is
  'A move that leaves each session its own room and buffers: only the therapist changes.';
comment on column public.hold_batches.is_move is 'Every occurrence is a new place for an existing session. A move settles whole.';
comment on column public.hold_batches.series_id is 'The series that the batch changes or extends; see booking/series.sql.';
comment on column public.hold_batches.series_change is
  'What was asked of that series: {scope, from, …} of a change, {until, count, through, …} of an extension.';
create index hold_batches_series_idx on public.hold_batches (organization_id, series_id) where series_id is not null;
create index hold_batches_therapist_idx on public.hold_batches (organization_id, therapist_id);
create index hold_batches_room_idx on public.hold_batches (organization_id, room_id) where room_id is not null;

create table public.session_holds (
  organization_id uuid not null,
  id uuid not null default gen_random_uuid(),
  batch_id uuid not null,
  occurrence_index smallint not null,
  hold_key uuid not null,
  client_id uuid not null,
  group_id uuid,
  session_id uuid,
  start_time timestamptz not null,
  end_time timestamptz not null,
  time_zone text not null,
  -- squawk-ignore prefer-timestamp-tz
  civil_start timestamp not null,
  lanes int4multirange not null,
  status public.hold_status not null default 'held',
  settled_at timestamptz,
  settled_xid xid8,
  primary key (organization_id, id),
  unique (organization_id, batch_id, occurrence_index, client_id),
  foreign key (organization_id, batch_id) references public.hold_batches (organization_id, id),
  foreign key (organization_id, client_id) references public.clients (organization_id, id),
  foreign key (organization_id, session_id) references public.sessions (organization_id, id),
  constraint session_holds_shape check (
    end_time > start_time and occurrence_index between 0 and 365
    and not isempty(lanes) and not lower_inf(lanes) and not upper_inf(lanes)
    and (status = 'held') = (settled_at is null) and (settled_at is null) = (settled_xid is null)
  )
);
comment on table public.session_holds is
  'One client of one held occurrence. It lives while its status is held and its batch''s expires_at lies ahead. Its id '
  'becomes the session''s. Never deleted.';
comment on column public.session_holds.hold_key is 'The key of the occurrence: all its clients have the same.';
comment on column public.session_holds.group_id is
  'The group to join, or the one that confirming makes. A move names none: its sessions keep theirs.';
comment on column public.session_holds.session_id is 'The session this moves; null for a new booking.';
comment on column public.session_holds.civil_start is 'The civil start that was asked for, in time_zone.';
comment on column public.session_holds.settled_at is 'When it was confirmed, released, or first seen to have expired.';
comment on column public.session_holds.settled_xid is 'The transaction that settled it.';
create index session_holds_key_idx on public.session_holds (organization_id, hold_key);
create index session_holds_client_idx on public.session_holds (organization_id, client_id);
create index session_holds_group_idx on public.session_holds (organization_id, group_id) where group_id is not null;
create index session_holds_session_idx on public.session_holds (organization_id, session_id) where session_id is not null;
-- One move hold at a time for a session: two would each believe the old slot theirs to give up.
create unique index session_holds_one_live_move_idx
  on public.session_holds (organization_id, session_id) where session_id is not null and status = 'held';

create function private.guard_hold_change()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  if old.status <> 'held' or to_jsonb(new) - array['status', 'settled_at', 'settled_xid']
    <> to_jsonb(old) - array['status', 'settled_at', 'settled_xid'] then
    raise exception using
      errcode = 'check_violation',
      message = 'a hold changes only once: from held to confirmed, released or expired',
      hint = 'Release it and hold anew.';
  end if;
  return new;
end
$$;
comment on function private.guard_hold_change() is
  'Trigger: a hold''s content is fixed, and it settles once. The booking functions only settle, so it is asked of others.';
create trigger guard_hold_change before update on public.session_holds
  for each row
  when (private.is_direct_write())
  execute function private.guard_hold_change();
create trigger refuse_delete before delete on public.session_holds
  for each row execute function private.refuse_delete();
create trigger refuse_truncate before truncate on public.session_holds
  for each statement execute function private.refuse_delete();
create trigger refuse_delete before delete on public.hold_batches
  for each row execute function private.refuse_delete();
create trigger refuse_truncate before truncate on public.hold_batches
  for each statement execute function private.refuse_delete();

alter table public.hold_batches enable row level security;
create policy sessions_scoped_access on public.hold_batches for select to authenticated
  using (
    organization_id = (select private.claimed_organization_id())
    and (
      (therapist_id = (select auth.uid()) and (select private.active_role()) = 'therapist')
      or (select private.is_admin())
    )
  );
comment on policy sessions_scoped_access on public.hold_batches is 'A therapist reads their own holds, admins all.';
grant select on public.hold_batches to authenticated, service_role;

alter table public.session_holds enable row level security;
create policy sessions_scoped_access on public.session_holds for select to authenticated
  using (
    organization_id = (select private.active_organization_id())
    and (
      -- For an admin that is all of them: no need to look at each one's batch.
      (select private.is_admin())
      or exists (
        select 1
        from public.hold_batches as batch
        where batch.organization_id = session_holds.organization_id and batch.id = session_holds.batch_id
      )
    )
  );
comment on policy sessions_scoped_access on public.session_holds is 'Whoever may see the batch may see its holds.';
grant select on public.session_holds to authenticated, service_role;

-- === schemas/calendar/locks.sql ===

-- Purpose: one order of locks for every way to a booking.
-- Objects: share_organization, take_organization, lock_resources, lock_sessions, and the trigger function of direct writes.
-- Watch for: the order is  1 the organization   2 the idempotency key   3 groups by id   4 sessions by id
--            5 resources, ascending   6 hold batches by id   7 claims   8 audit heads, at commit.
--            Booking functions share the organization; a direct write (REST, SQL) takes it alone before it has locked a
--            row. So a direct write may lock rows and people in any order, and still nobody waits in a circle.

create function private.organization_lock_key(organization_id uuid)
returns bigint
language plpgsql
immutable
set search_path = ''
as $$
begin
  -- Of a SHA-256, so that nobody can choose an id whose lock is another organization's.
  return hashtextextended(encode(sha256(uuid_send(organization_id)), 'hex'), 2);
end
$$;
comment on function private.organization_lock_key(uuid) is 'The advisory lock of one organization.';

create function private.share_organization(organization_id uuid)
returns void
language plpgsql
set search_path = ''
as $$
begin
  -- Against direct writes, which meet rows and resources in any order. Booking functions share it among themselves.
  perform pg_advisory_xact_lock_shared(private.organization_lock_key(organization_id));
end
$$;
comment on function private.share_organization(uuid) is 'First lock of every booking function.';

create function private.take_organization(organization_id uuid)
returns void
language plpgsql
set search_path = ''
as $$
begin
  -- Alone in the organization, a writer of many rows needs no lock for each of a thousand people.
  perform pg_advisory_xact_lock(private.organization_lock_key(organization_id));
end
$$;
comment on function private.take_organization(uuid) is 'First lock of a direct write, and of a cancellation of many sessions.';

create function private.lock_resources(organization_id uuid, resource_ids uuid[])
returns void
language plpgsql
set search_path = ''
as $$
begin
  -- Two claimants of one resource would wait for each other inside the exclusion check, crosswise for overlapping
  -- windows or for therapist and client: deadlocks, and rounds of a minute. One lock a resource, always ascending,
  -- lets them queue instead. Statements after this one see what the previous holder committed.
  perform pg_advisory_xact_lock(ascending.key)
  from (
    -- Of a SHA-256: ids that an admin of one clinic chooses cannot be aimed at the lock of another's therapist.
    select distinct hashtextextended(
      encode(sha256(uuid_send(lock_resources.organization_id) || uuid_send(resource.id)), 'hex'), 0
    ) as key
    from unnest(resource_ids) as resource (id)
    where resource.id is not null
    order by key
  ) as ascending;
end
$$;
comment on function private.lock_resources(uuid, uuid[]) is
  'Takes the transaction-scoped lock of each resource (therapists, clients, rooms), ascending; nulls are skipped.';

create function private.lock_sessions(organization_id uuid, session_ids uuid[])
returns void
language plpgsql
set search_path = ''
as $$
begin
  -- A second move, a cancellation or a start of the same session would act on a state that this one is changing.
  perform from (
    select distinct named.id from unnest(session_ids) as named (id) order by named.id
  ) as ordered
  cross join lateral (
    select from public.sessions as session
    where session.organization_id = lock_sessions.organization_id and session.id = ordered.id
    for no key update
  ) as locked;
end
$$;
comment on function private.lock_sessions(uuid, uuid[]) is 'Locks these sessions'' rows, by id; unknown ids are skipped.';

-- Direct writes ----------------------------------------------------------------------------------------------------
-- A booking function says so with the setting therapist_sessions.within, and runs as the owner of the tables: triggers
-- of direct writes look at both, so that no other role can pass for a booking function. (A function cannot carry the
-- setting as its own SET clause: only a superuser may define one with a setting of the product's own.)

create function private.enter_booking()
returns text
language plpgsql
set search_path = ''
as $$
declare
  former constant text := coalesce(current_setting('therapist_sessions.within', true), '');
begin
  perform set_config('therapist_sessions.within', 'booking', true);
  return former;
end
$$;
comment on function private.enter_booking() is
  'From here on the triggers of direct writes stay quiet. Returns what to hand to private.leave_booking.';

create function private.leave_booking(outcome jsonb, former text default '')
returns jsonb
language plpgsql
set search_path = ''
as $$
begin
  perform set_config('therapist_sessions.within', former, true);
  if current_setting('therapist_sessions.freed', true) = 'yes' and outcome is not null then
    perform set_config('therapist_sessions.freed', '', true);
    outcome := outcome || '{"freed": true}';
  end if;
  return outcome;
end
$$;
comment on function private.leave_booking(jsonb, text) is
  'Ends what private.enter_booking began: later statements of the transaction are direct writes again. Passes the outcome '
  'on, with freed: true when it left something for the waitlist, so that the caller calls offer_freed_slots next.';
grant execute on function private.leave_booking(jsonb, text) to authenticated, service_role;

create function private.refuse_derived_write()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  raise exception using
    errcode = 'restrict_violation',
    message = format('rows of %I.%I follow from bookings and are written by them alone', tg_table_schema, tg_table_name),
    hint = 'Write the session, the group or the hold instead.';
end
$$;
comment on function private.refuse_derived_write() is
  'Trigger: refuses what the owner of the database writes to rows that are derived. Moving expires_at alone is allowed.';

create function private.take_written_organization()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  organization_id uuid := coalesce(
    private.claimed_organization_id(), nullif(current_setting('therapist_sessions.organization', true), '')::uuid
  );
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    -- An older snapshot would not see what others have booked since.
    raise exception using
      errcode = 'invalid_transaction_state',
      message = 'sessions are written in READ COMMITTED',
      hint = 'Begin the transaction without an isolation level.';
  end if;
  -- Before the statement has locked a row. A writer without a token who names no organization is met row by row, in
  -- private.take_row_organization.
  if organization_id is not null then
    perform private.take_organization(organization_id);
  end if;
  return null;
end
$$;
comment on function private.take_written_organization() is
  'Trigger: a direct write has its organization to itself until it commits. Without a token (service_role, SQL) the '
  'organization may be named first: select set_config(''therapist_sessions.organization'', ''<id>'', true).';

create function private.take_row_organization(organization_id uuid)
returns boolean
language plpgsql
set search_path = ''
-- A writer who updates has the row's lock by now, and a booking may wait for that row while this waits for it: then the
-- writer who named no organization gives way, long before a deadlock is looked for.
set lock_timeout = '500ms'
as $$
begin
  if auth.role() = 'authenticated' then
    -- Of any other row, row-level security refuses the write; nobody makes another clinic wait by naming it.
    return coalesce(private.active_organization_id() = organization_id, false);
  elsif private.claimed_organization_id() = organization_id then
    return true;
  end if;
  perform private.take_organization(organization_id);
  return true;
exception
  when lock_not_available then
    raise exception using
      errcode = 'PT503',
      message = 'bookings of this organization are under way: repeat the statement',
      hint = 'To wait for them instead, name the organization first: select set_config(''therapist_sessions.organization'', ''<id>'', true)';
end
$$;
comment on function private.take_row_organization(uuid) is
  'The organization of a row that is written directly, for the writer alone; for a user it is that of the token, taken '
  'before the statement. False: the row is another organization''s, and row-level security refuses it.';

-- === schemas/payers/authorizations.sql ===

-- Purpose: what payers have authorized, and a ledger of the units that bookings take of it.
-- Objects: authorizations, authorization_units, and who may see and write them. units.sql has what writes the ledger.
-- Watch for: an authorization belongs to one client, and whoever takes units of it holds that client's advisory lock, or
--            has the organization alone. A hold's entry counts until its expires_at and not a moment longer, swept or not.

create table public.authorizations (
  organization_id uuid not null,
  id uuid not null default gen_random_uuid(),
  client_id uuid not null,
  payer_id uuid not null,
  reference text check (length(reference) between 1 and 64),
  cpt_code text not null check (cpt_code ~ '^[0-9A-Z]{5}$'),
  approved_units integer not null check (approved_units > 0),
  booked_units integer not null default 0 check (booked_units >= 0),
  starts_on date not null check (starts_on >= '2000-01-01'),
  ends_on date not null check (ends_on >= starts_on and ends_on < '2100-01-01'),
  created_at timestamptz not null default now(),
  primary key (organization_id, id),
  foreign key (organization_id, client_id) references public.clients (organization_id, id),
  foreign key (organization_id, payer_id) references public.payers (organization_id, id),
  constraint authorizations_one_a_day exclude using gist (
    organization_id with =, client_id with =, payer_id with =, cpt_code with =,
    daterange(starts_on, ends_on, '[]') with &&
  )
-- A clinic with forty of them is analysed too: without statistics every hold costs several times as much.
) with (fillfactor = 70, autovacuum_analyze_threshold = 5, autovacuum_analyze_scale_factor = 0.02);
comment on table public.authorizations is
  'Units of a code that a payer grants a client between two dates, both included. Never deleted.';
comment on column public.authorizations.booked_units is
  'Scheduled and used units: the sum of its entries that are not holds. Written behind the client''s lock.';
comment on column public.authorizations.reference is 'The payer''s number of the authorization.';
create index authorizations_client_idx on public.authorizations (organization_id, client_id, cpt_code);
create index authorizations_payer_idx on public.authorizations (organization_id, payer_id);

create type public.unit_state as enum ('held', 'scheduled', 'used');
comment on type public.unit_state is 'A hold holds units, a confirmation schedules them, a completion uses them.';

create table public.authorization_units (
  organization_id uuid not null,
  owner_id uuid not null,
  client_id uuid not null,
  cpt_code text not null,
  service_date date not null,
  authorization_id uuid,
  total_units integer not null check (total_units >= 0),
  units integer not null check (units >= 0),
  state public.unit_state not null,
  expires_at timestamptz check (isfinite(expires_at)),
  primary key (organization_id, owner_id),
  foreign key (organization_id, client_id) references public.clients (organization_id, id),
  foreign key (organization_id, authorization_id) references public.authorizations (organization_id, id),
  check (units <= total_units),
  check (units = 0 or authorization_id is not null),
  check ((state = 'held') = (expires_at is not null))
);
comment on table public.authorization_units is
  'One entry for each booking of a client whose units are limited. approved = used + scheduled + held + left, always: '
  'what goes beyond, by an override, is in total_units and not in units. Given back: the entry is gone (the audit '
  'keeps what was).';
comment on column public.authorization_units.owner_id is 'The session or the hold, which share an id as claims do.';
comment on column public.authorization_units.total_units is 'What the service takes.';
comment on column public.authorization_units.units is
  'What counts against the authorization. For a hold that moves a session: what the move takes in addition to what the '
  'session has now; it is counted anew whenever the session changes.';
comment on column public.authorization_units.expires_at is 'A hold''s entry counts for nothing from here on.';
-- Two indexes that share no entry. A look for holds cannot use the other, however long an authorization's ledger is and
-- whatever the planner believes of it.
create index authorization_units_authorization_idx
  on public.authorization_units (organization_id, authorization_id) where state <> 'held';
-- Live holds only: a range of expires_at, so that what has lapsed unseen costs nothing.
create index authorization_units_held_idx
  on public.authorization_units (organization_id, authorization_id, expires_at) where state = 'held';
create index authorization_units_client_idx on public.authorization_units (organization_id, client_id, cpt_code);

create trigger refuse_delete before delete on public.authorizations
  for each row execute function private.refuse_delete();
create trigger refuse_truncate before truncate on public.authorizations
  for each statement execute function private.refuse_delete();
create trigger refuse_delete before delete on public.client_coverages
  for each row execute function private.refuse_delete();
create trigger refuse_truncate before truncate on public.client_coverages
  for each statement execute function private.refuse_delete();

-- Audit of what rules bookings ------------------------------------------------------------------------------------------

create function private.audit_rule_change()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  entity constant text := tg_argv[0];
begin
  perform private.record_event(
    new.organization_id,
    entity || case tg_op when 'INSERT' then '.created' else '.changed' end,
    entity, array[new.id], clock_timestamp(),
    before => case when tg_op = 'UPDATE' then to_jsonb(old) - 'organization_id' end,
    after => to_jsonb(new) - 'organization_id'
  );
  return null;
end
$$;
comment on function private.audit_rule_change() is
  'Trigger: one event for each payer, rule, coverage or authorization that is entered or changed.';

create trigger z_audit after insert or update on public.payers
  for each row execute function private.audit_rule_change('payer');
create trigger z_audit after insert or update on public.payer_rules
  for each row execute function private.audit_rule_change('payer_rule');
create trigger z_audit after insert or update on public.payer_code_rules
  for each row execute function private.audit_rule_change('payer_code_rule');
create trigger z_audit after insert or update on public.payer_concurrency_rules
  for each row execute function private.audit_rule_change('payer_concurrency_rule');
create trigger z_audit after insert or update on public.client_coverages
  for each row execute function private.audit_rule_change('coverage');
create trigger z_audit after insert on public.authorizations
  for each row execute function private.audit_rule_change('authorization');
-- What bookings take of it is in their own events.
create trigger z_audit_update after update on public.authorizations
  for each row
  when ((new.reference, new.approved_units, new.starts_on, new.ends_on, new.payer_id)
    is distinct from (old.reference, old.approved_units, old.starts_on, old.ends_on, old.payer_id))
  execute function private.audit_rule_change('authorization');

-- Row-level security -----------------------------------------------------------------------------------------------------

alter table public.authorizations enable row level security;
create policy role_scoped_select on public.authorizations for select to authenticated
  using (
    organization_id = (select private.active_organization_id())
    and (
      (select private.is_admin())
      or (
        (select private.active_role()) = 'therapist'
        and client_id = any ((select private.caseload_client_ids())::uuid[])
      )
    )
  );
create policy role_scoped_select_insert on public.authorizations for insert to authenticated
  with check (organization_id = (select private.active_organization_id()) and (select private.is_admin()));
create policy role_scoped_select_update on public.authorizations for update to authenticated
  using (organization_id = (select private.active_organization_id()) and (select private.is_admin()))
  with check (organization_id = (select private.active_organization_id()) and (select private.is_admin()));
comment on policy role_scoped_select on public.authorizations is
  'Admins read all authorizations, a therapist those of her caseload.';
comment on policy role_scoped_select_insert on public.authorizations is 'Admins enter authorizations.';
comment on policy role_scoped_select_update on public.authorizations is 'Admins change units and dates; what is booked is counted anew.';
grant select,
  insert (organization_id, id, client_id, payer_id, reference, cpt_code, approved_units, starts_on, ends_on),
  update (reference, approved_units, starts_on, ends_on)
  on public.authorizations to authenticated;
grant select, insert, update on public.authorizations to service_role;

alter table public.authorization_units enable row level security;
create policy role_scoped_select on public.authorization_units for select to authenticated
  using (
    organization_id = (select private.active_organization_id())
    and (
      (select private.is_admin())
      or (
        (select private.active_role()) = 'therapist'
        and client_id = any ((select private.caseload_client_ids())::uuid[])
      )
    )
  );
comment on policy role_scoped_select on public.authorization_units is
  'As authorizations. Nobody writes the ledger but the booking functions and triggers.';
grant select on public.authorization_units to authenticated, service_role;

-- === schemas/payers/service_code_guards.sql ===

-- Purpose: nothing is written under a code that is unknown, or not valid on its day.
-- Objects: what guards sessions and payers' rules; the audit of service_codes.
-- Watch for: a code may end while bookings lie beyond its end: they stay, and reports.sessions_to_recode lists them. They
--            cannot be moved, nor others made, until they have another code.

create function private.guard_service_code()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  date constant date := private.service_date(new.organization_id, new.client_id, new.start_time);
begin
  if (private.service_code_on(new.organization_id, new.cpt_code, date)).code is null then
    raise exception using
      errcode = 'check_violation',
      constraint = 'service_code_valid',
      schema = 'public',
      table = 'sessions',
      column = 'cpt_code',
      message = format('%s is no service code on %s', new.cpt_code, date),
      hint = 'Choose a code that is valid on the day of service, or enter it in service_codes.';
  end if;
  return new;
end
$$;
comment on function private.guard_service_code() is 'Trigger: a session''s code is known, and valid on its day.';
create trigger a_guard_code_inserted before insert on public.sessions
  for each row when (new.cpt_code is not null) execute function private.guard_service_code();
create trigger a_guard_code_updated before update on public.sessions
  for each row when (
    new.cpt_code is not null
    and (new.cpt_code, new.start_time) is distinct from (old.cpt_code, old.start_time)
  ) execute function private.guard_service_code();

create function private.guard_rule_codes()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  unknown text;
begin
  select named.code into unknown
  from (
    select coalesce(to_jsonb(new) ->> 'cpt_code', to_jsonb(new) ->> 'first_code') as code
    union all
    select to_jsonb(new) ->> 'second_code'
  ) as named
  where named.code is not null
    and not exists (
      select 1
      from public.service_codes as known
      where known.code = named.code and (known.organization_id is null or known.organization_id = new.organization_id)
    )
  limit 1;
  if unknown is not null then
    raise exception using
      errcode = 'foreign_key_violation',
      schema = 'public',
      table = tg_table_name,
      message = format('%s is no service code', unknown),
      hint = 'Enter it in service_codes first.';
  end if;
  return new;
end
$$;
comment on function private.guard_rule_codes() is 'Trigger: a payer''s rule is of codes that are known.';
create trigger a_guard_rule_codes before insert on public.payer_code_rules
  for each row execute function private.guard_rule_codes();
create trigger a_guard_rule_codes before insert on public.payer_concurrency_rules
  for each row execute function private.guard_rule_codes();

create trigger refuse_delete before delete on public.service_codes
  for each row execute function private.refuse_delete();
create trigger refuse_truncate before truncate on public.service_codes
  for each statement execute function private.refuse_delete();
-- Everybody's codes come with the schema: no organization's audit has them.
create trigger z_audit after insert or update on public.service_codes
  for each row when (new.organization_id is not null) execute function private.audit_rule_change('service_code');

-- === schemas/calendar/claims.sql ===

-- Purpose: one table of claims that decides every overlap, and the functions that make it say what the rows say.
-- Objects: private.claims; claimed, places_of, claims_of; move_claims; sync_claims, take_claims, remove_stale, expire_batches.
-- Watch for: a claim is never an independent fact: it is what private.claims_of says of sessions, groups and holds. The
--            constraint has no key that exempts anybody. A hold that moves sessions claims only its new places minus what
--            its sessions have now, so nothing old is ever rewritten; whoever changes one of those sessions recomputes
--            both in the same transaction. A claim with expires_at in the past claims nothing: whoever wants its place
--            removes it, behind the lock of the resource.

create domain private.claimed_lanes as int4multirange
  check (not isempty(value) and not lower_inf(value) and not upper_inf(value));
create domain private.claimed_range as tstzrange
  check (not isempty(value) and isfinite(lower(value)) and isfinite(upper(value)));

create table private.claims (
  organization_id uuid not null,
  owner_id uuid not null,
  resource_kind public.resource_kind not null,
  resource_id uuid not null,
  during private.claimed_range not null,
  lanes private.claimed_lanes not null,
  expires_at timestamptz,
  primary key (organization_id, owner_id, resource_id, during),
  -- Never deferrable: "on conflict do nothing" needs an immediate arbiter.
  constraint claims_no_overlap exclude using gist (
    organization_id with =, resource_id with =, during with &&, resource_kind with =, lanes with &&
  )
) with (fillfactor = 80);
comment on table private.claims is
  'Time taken on a therapist, a client or a room, by a session or by a hold. This one constraint decides every overlap.';
comment on column private.claims.owner_id is
  'A session or a hold owns its client''s claim; its place (the group, else itself) the therapist''s and the room''s; the '
  'batch of a move what its new places take beyond what its sessions have.';
comment on column private.claims.during is 'The claimed instants, [start, end); a therapist''s includes the buffers.';
comment on column private.claims.lanes is
  'Two claims conflict when they share a lane. All lanes unless payer rules allow the services to run at once.';
comment on column private.claims.expires_at is 'Null for a session. A hold''s claim counts for nothing from here on.';
alter table private.claims enable row level security;
create policy deny_all on private.claims using (false);
create trigger refuse_derived_write
  before insert or delete or update of organization_id, owner_id, resource_kind, resource_id, during, lanes on private.claims
  for each statement
  when (private.is_direct_write())
  execute function private.refuse_derived_write();
create trigger refuse_truncate before truncate on private.claims
  for each statement execute function private.refuse_derived_write();

create type private.place as (
  owner_id uuid,
  place_id uuid,
  therapist_id uuid,
  room_id uuid,
  buffer_before_minutes smallint,
  buffer_after_minutes smallint,
  client_id uuid,
  lanes int4multirange,
  start_time timestamptz,
  end_time timestamptz,
  expires_at timestamptz
);
comment on type private.place is
  'What one booking stands on. owner_id owns the client''s claim (null: none), place_id the therapist''s and the room''s '
  '(null: somebody else of the group does).';

create function private.claimed(organization_id uuid, places private.place[])
returns private.claims[]
language plpgsql
immutable
set search_path = ''
as $$
begin
  return array(
    select row(
      claimed.organization_id, claim.owner_id, claim.resource_kind, claim.resource_id, claim.during, claim.lanes,
      place.expires_at
    )::private.claims
    from unnest(places) as place
    cross join lateral (
      values
        (
          'therapist'::public.resource_kind, place.place_id, place.therapist_id,
          tstzrange(
            place.start_time - place.buffer_before_minutes * interval '1 minute',
            place.end_time + place.buffer_after_minutes * interval '1 minute', '[)'
          ),
          '{[0,2147483647)}'::int4multirange
        ),
        ('room', place.place_id, place.room_id, tstzrange(place.start_time, place.end_time, '[)'), '{[0,2147483647)}'),
        ('client', place.owner_id, place.client_id, tstzrange(place.start_time, place.end_time, '[)'), place.lanes)
    ) as claim (resource_kind, owner_id, resource_id, during, lanes)
    where claim.owner_id is not null and claim.resource_id is not null
  );
end
$$;
comment on function private.claimed(uuid, private.place[]) is
  'The one place that says what a booking claims: its therapist with buffers, its room, its client.';

create function private.places_of(organization_id uuid, owner_ids uuid[])
returns private.place[]
language plpgsql
stable
set search_path = ''
as $$
begin
  -- Each look-up is by primary key or by an index of one id, whatever the planner believes of the array's length. An id
  -- is a session, a hold, a staff time, or a group; of a group that confirming will make, the first member's hold speaks.
  return array(
    select row(
      session.id, case when session.group_id is null then session.id end, session.therapist_id, session.room_id,
      session.buffer_before_minutes, session.buffer_after_minutes, session.client_id, session.lanes,
      session.start_time, session.end_time, null
    )::private.place
    from unnest(owner_ids) as owner (id)
    cross join lateral (
      select known.* from public.sessions as known
      where known.organization_id = places_of.organization_id and known.id = owner.id offset 0
    ) as session
    where session.status not in ('cancelled', 'no_show')
    union all
    select row(
      null, known.id, known.therapist_id, known.room_id, known.buffer_before_minutes, known.buffer_after_minutes,
      null, null, known.start_time, known.end_time, lives.until
    )::private.place
    from unnest(owner_ids) as owner (id)
    cross join lateral (
      select found.* from public.session_groups as found
      where found.organization_id = places_of.organization_id and found.id = owner.id offset 0
    ) as known
    cross join lateral private.group_lives_until(places_of.organization_id, known.id) as lives (until)
    where lives.until > '-infinity'
    union all
    select row(
      hold.id, case when hold.group_id is null then hold.id end, batch.therapist_id, batch.room_id,
      batch.buffer_before_minutes, batch.buffer_after_minutes, hold.client_id, hold.lanes, hold.start_time, hold.end_time,
      batch.expires_at
    )::private.place
    from unnest(owner_ids) as owner (id)
    cross join lateral (
      select found.* from public.session_holds as found
      where found.organization_id = places_of.organization_id and found.id = owner.id
        and found.status = 'held' and found.session_id is null offset 0
    ) as hold
    cross join lateral (
      select known.* from public.hold_batches as known
      where known.organization_id = places_of.organization_id and known.id = hold.batch_id offset 0
    ) as batch
    union all
    select row(
      null, owner.id, batch.therapist_id, batch.room_id, batch.buffer_before_minutes, batch.buffer_after_minutes,
      null, null, hold.start_time, hold.end_time, batch.expires_at
    )::private.place
    from unnest(owner_ids) as owner (id)
    cross join lateral (
      -- Found first, then sorted: in the order of ids, the planner would read all holds there are for the first.
      select found.* from (
        select known.* from public.session_holds as known
        where known.organization_id = places_of.organization_id and known.group_id = owner.id and known.status = 'held'
          and not exists (
            select from public.session_groups as made
            where made.organization_id = places_of.organization_id and made.id = owner.id
          )
        offset 0
      ) as found
      order by found.id
      limit 1
    ) as hold
    cross join lateral (
      select known.* from public.hold_batches as known
      where known.organization_id = places_of.organization_id and known.id = hold.batch_id offset 0
    ) as batch
    union all
    -- A staff time takes each of its therapists, and its room once.
    select row(
      null, taken.id, member.therapist_id, case when member.is_first is not false then taken.room_id end, 0, 0, null, null,
      taken.start_time, taken.end_time, null
    )::private.place
    from unnest(owner_ids) as owner (id)
    cross join lateral (
      select known.* from public.staff_times as known
      where known.organization_id = places_of.organization_id and known.id = owner.id offset 0
    ) as taken
    left join lateral (
      select known.therapist_id, row_number() over (order by known.therapist_id) = 1 as is_first
      from public.staff_time_members as known
      where known.organization_id = places_of.organization_id and known.staff_time_id = owner.id
    ) as member on true
    where taken.cancelled_at is null
  );
end
$$;
comment on function private.places_of(uuid, uuid[]) is 'Where these sessions, holds and groups stand, as their rows say.';

create function private.group_lives_until(organization_id uuid, group_id uuid)
returns timestamptz
language plpgsql
stable
set search_path = ''
as $$
begin
  -- The place is the group's while one member is left; after that as long as somebody holds a place in it.
  if exists (
    select from public.sessions as member
    where member.organization_id = group_lives_until.organization_id and member.group_id = group_lives_until.group_id
      and member.status not in ('cancelled', 'no_show')
  ) then
    return 'infinity';
  end if;
  return coalesce((
    select max(batch.expires_at)
    from public.session_holds as hold
    join public.hold_batches as batch on batch.organization_id = hold.organization_id and batch.id = hold.batch_id
    where hold.organization_id = group_lives_until.organization_id and hold.group_id = group_lives_until.group_id
      and hold.status = 'held'
  ), '-infinity');
end
$$;
comment on function private.group_lives_until(uuid, uuid) is
  'infinity while the group has a member; else when the last hold of a place in it expires; -infinity when nobody is left.';

-- Moves ------------------------------------------------------------------------------------------------------------

create type private.cell as (resource_kind public.resource_kind, resource_id uuid, times tstzmultirange, lanes int4multirange);
comment on type private.cell is 'An area of one resource: all these times, on each of these lanes.';

create function private.cells_of(claims private.claims[])
returns private.cell[]
language plpgsql
immutable
set search_path = ''
as $$
begin
  return array(
    select row(claim.resource_kind, claim.resource_id, range_agg(claim.during::tstzrange), claim.lanes)::private.cell
    from unnest(claims) as claim
    group by claim.resource_kind, claim.resource_id, claim.lanes
  );
end
$$;
comment on function private.cells_of(private.claims[]) is 'Claims as areas, one for each resource and set of lanes.';

create function private.subtract_cells(wanted private.cell[], own private.cell[])
returns private.cell[]
language plpgsql
immutable
set search_path = ''
as $$
declare
  taken private.cell;
begin
  -- One pass for each distinct set of lanes of a resource, mostly one: ranges are subtracted whole, n log n in their number.
  foreach taken in array own loop
    wanted := array(
      select row(cell.resource_kind, cell.resource_id, part.times, part.lanes)::private.cell
      from unnest(wanted) as cell
      cross join lateral (
        select (cell.resource_kind, cell.resource_id) = (taken.resource_kind, taken.resource_id) as is_same
      ) as resource
      cross join lateral (
        values
          (case when resource.is_same then cell.times - taken.times else cell.times end, cell.lanes),
          (case when resource.is_same then cell.times * taken.times else '{}' end, cell.lanes - taken.lanes)
      ) as part (times, lanes)
      where not isempty(part.times) and not isempty(part.lanes)
    );
  end loop;
  return wanted;
end
$$;
comment on function private.subtract_cells(private.cell[], private.cell[]) is 'What of the wanted areas lies outside the own ones.';

create function private.move_claims(organization_id uuid, batch_ids uuid[])
returns private.claims[]
language plpgsql
stable
set search_path = ''
as $$
declare
  move record;
  claims private.claims[] := '{}';
begin
  -- One pass for each batch, mostly one: its new places minus what its sessions have now.
  for move in
    select batch.id, batch.expires_at, places.wanted, places.own_ids
    from unnest(batch_ids) as named (id)
    cross join lateral (
      select known.* from public.hold_batches as known
      where known.organization_id = move_claims.organization_id and known.id = named.id and known.is_move offset 0
    ) as batch
    cross join lateral (
      select
        array_agg(row(
          hold.id, coalesce(session.group_id, hold.id), batch.therapist_id,
          case when batch.keeps_places then kept.room_id else batch.room_id end,
          case when batch.keeps_places then kept.buffer_before_minutes else batch.buffer_before_minutes end,
          case when batch.keeps_places then kept.buffer_after_minutes else batch.buffer_after_minutes end, hold.client_id, hold.lanes, hold.start_time, hold.end_time, batch.expires_at
        )::private.place) as wanted,
        array_agg(session.id) || array_agg(distinct session.group_id) filter (where session.group_id is not null) as own_ids
      from (
        select known.* from public.session_holds as known
        where known.organization_id = move_claims.organization_id and known.batch_id = batch.id and known.status = 'held'
        offset 0
      ) as hold
      cross join lateral (
        select known.* from public.sessions as known
        where known.organization_id = move_claims.organization_id and known.id = hold.session_id offset 0
      ) as session
      -- Of a group, its row has the room and the buffers.
      cross join lateral (
        select coalesce(max(known.room_id::text)::uuid, session.room_id) as room_id,
          coalesce(max(known.buffer_before_minutes), session.buffer_before_minutes) as buffer_before_minutes,
          coalesce(max(known.buffer_after_minutes), session.buffer_after_minutes) as buffer_after_minutes
        from public.session_groups as known
        where batch.keeps_places and known.organization_id = move_claims.organization_id and known.id = session.group_id
      ) as kept
    ) as places
    where places.wanted is not null
  loop
    claims := claims || array(
      select row(
        move_claims.organization_id, move.id, cell.resource_kind, cell.resource_id, piece.during, cell.lanes,
        move.expires_at
      )::private.claims
      from unnest(private.subtract_cells(
        private.cells_of(private.claimed(organization_id, move.wanted)),
        private.cells_of(private.claimed(organization_id, private.places_of(organization_id, move.own_ids)))
      )) as cell
      cross join lateral unnest(cell.times) as piece (during)
    );
  end loop;
  return claims;
end
$$;
comment on function private.move_claims(uuid, uuid[]) is
  'What the moves of these batches claim: their new places minus what their sessions claim now.';

-- Keeping the table true -------------------------------------------------------------------------------------------

create function private.claims_of(organization_id uuid, owner_ids uuid[], as_of timestamptz)
returns private.claims[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return array(
    select row(
      claim.organization_id, claim.owner_id, claim.resource_kind, claim.resource_id, claim.during, claim.lanes,
      nullif(claim.expires_at, 'infinity')
    )::private.claims
    from unnest(
      private.claimed(organization_id, private.places_of(organization_id, owner_ids))
      || private.move_claims(organization_id, owner_ids)
    ) as claim
    where claim.expires_at is null or claim.expires_at > as_of
  );
end
$$;
comment on function private.claims_of(uuid, uuid[], timestamptz) is
  'What the rows of these owners claim: a pure function of them and of the time.';

create function private.claim_dependents(organization_id uuid, session_ids uuid[], former_group_ids uuid[] default '{}')
returns uuid[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return array(
    select unnest(former_group_ids)
    union
    select session.group_id
    from unnest(session_ids) as named (id)
    cross join lateral (
      select known.group_id from public.sessions as known
      where known.organization_id = claim_dependents.organization_id and known.id = named.id offset 0
    ) as session
    where session.group_id is not null
    union
    -- A move that gives up one of these places claims what it wants beyond them.
    select move.batch_id
    from unnest(session_ids) as named (id)
    cross join lateral (
      select hold.batch_id from public.session_holds as hold
      where hold.organization_id = claim_dependents.organization_id and hold.session_id = named.id and hold.status = 'held'
      offset 0
    ) as move
  );
end
$$;
comment on function private.claim_dependents(uuid, uuid[], uuid[]) is
  'Whose claims depend on these sessions beside their own: their groups (the former ones too) and their live moves.';

create function private.take_claims(claims private.claims[])
returns bigint
language plpgsql
set search_path = ''
as $$
declare
  taken bigint;
begin
  -- The constraint decides, whatever was seen before: "on conflict do nothing" neither raises nor stalls.
  insert into private.claims select claim.* from unnest(claims) as claim on conflict do nothing;
  get diagnostics taken = row_count;
  return taken;
end
$$;
comment on function private.take_claims(private.claims[]) is
  'Inserts the claims that conflict with nothing and returns their number. Call it with the resources locked.';

create function private.give_up_claims(claims private.claims[])
returns void
language plpgsql
set search_path = ''
as $$
begin
  delete from private.claims as claim
  using unnest(claims) as given
  where claim.organization_id = given.organization_id and claim.owner_id = given.owner_id
    and claim.resource_id = given.resource_id and claim.during = given.during
    -- A joiner's group has a claim of its own with the same owner: only what was taken just now goes.
    and claim.expires_at is not distinct from given.expires_at;
end
$$;
comment on function private.give_up_claims(private.claims[]) is 'Undoes private.take_claims, for a request that is refused.';

create function private.expire_batches(organization_id uuid, batch_ids uuid[], as_of timestamptz)
returns void
language plpgsql
security definer
set search_path = ''
as $$
declare
  observed record;
begin
  for observed in
    with stale as (
      select batch.id, batch.expires_at
      from public.hold_batches as batch
      where batch.organization_id = expire_batches.organization_id
        and batch.id = any (expire_batches.batch_ids)
        and batch.expires_at <= as_of
      order by batch.id
      -- Two claimants may meet one stale hold on different resources, each holding what the other wants next: whoever
      -- comes second passes over what the first is already writing down, rather than wait for it.
      for update skip locked
    ),
    expired as (
      update public.session_holds as hold
      set status = 'expired', settled_at = as_of, settled_xid = pg_current_xact_id()
      from stale
      where hold.organization_id = expire_batches.organization_id and hold.batch_id = stale.id and hold.status = 'held'
      returning hold.id, hold.batch_id, stale.expires_at
    ),
    given_back as (
      delete from public.authorization_units as entry
      using expired
      cross join lateral (
        select known.ctid from public.authorization_units as known
        where known.organization_id = expire_batches.organization_id and known.owner_id = expired.id offset 0
      ) as found
      where entry.ctid = found.ctid
    )
    select expired.batch_id, expired.expires_at, array_agg(expired.id order by expired.id) as hold_ids
    from expired
    group by expired.batch_id, expired.expires_at
  loop
    perform private.record_event(
      organization_id, 'hold.expired', 'hold', observed.hold_ids, observed.expires_at,
      before => '{"status": "held"}', after => '{"status": "expired"}',
      details => jsonb_build_object('batchId', observed.batch_id)
    );
  end loop;
end
$$;
comment on function private.expire_batches(uuid, uuid[], timestamptz) is
  'Writes down that these batches have expired, where they have: once each, with one event dated to the expiry. The '
  'event''s actor is whoever first observed it. Their claims go when somebody wants their place, or with the sweep.';

create function private.remove_stale(organization_id uuid, claims private.claims[], as_of timestamptz)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  owner_ids uuid[];
begin
  -- Only what lies on resources that the caller has locked: that is where the wanted claims are.
  with gone as (
    delete from private.claims as stale
    using unnest(claims) as wanted
    where stale.organization_id = remove_stale.organization_id
      and stale.resource_id = wanted.resource_id
      and stale.resource_kind = wanted.resource_kind
      and stale.during && wanted.during
      and stale.lanes && wanted.lanes
      and stale.expires_at <= as_of
    returning stale.owner_id
  )
  select array_agg(distinct gone.owner_id) into owner_ids from gone;
  if owner_ids is null then
    return false;
  end if;
  perform private.expire_batches(organization_id, owner_ids || array(
    select hold.batch_id
    from unnest(owner_ids) as owner (id)
    cross join lateral (
      select held.batch_id from public.session_holds as held
      where held.organization_id = remove_stale.organization_id and held.id = owner.id
      union all
      select held.batch_id from public.session_holds as held
      where held.organization_id = remove_stale.organization_id and held.group_id = owner.id and held.status = 'held'
    ) as hold
  ), as_of);
  return true;
end
$$;
comment on function private.remove_stale(uuid, private.claims[], timestamptz) is
  'Removes expired claims that stand where these are wanted, and writes down that their holds have expired. False: none.';

create function private.drop_claims(organization_id uuid, owner_ids uuid[], as_of timestamptz)
returns void
language plpgsql
set search_path = ''
as $$
declare
  freed private.claims[];
begin
  with gone as (
    delete from private.claims as claim
    using unnest(owner_ids) as owner (id)
    cross join lateral (
      select known.ctid from private.claims as known
      where known.organization_id = drop_claims.organization_id and known.owner_id = owner.id offset 0
    ) as found
    where claim.ctid = found.ctid
    returning claim.*
  )
  select coalesce(array_agg(row(gone.*)::private.claims), '{}') into freed from gone;
  perform private.queue_freed(organization_id, freed, '{}', as_of);
end
$$;
comment on function private.drop_claims(uuid, uuid[], timestamptz) is
  'Removes the claims of owners that have ended: they claim nothing, as private.claims_of would say.';

create function private.sync_claims(organization_id uuid, owner_ids uuid[], as_of timestamptz default clock_timestamp())
returns boolean
language plpgsql
security definer
set search_path = ''
as $$
declare
  expected private.claims[] := private.claims_of(organization_id, owner_ids, as_of);
  current private.claims[];
  surplus private.claims[];
  missing private.claims[];
begin
  current := array(
    select row(claim.*)::private.claims
    from (select distinct named.id from unnest(owner_ids) as named (id)) as owner
    cross join lateral (
      select known.* from private.claims as known
      where known.organization_id = sync_claims.organization_id and known.owner_id = owner.id offset 0
    ) as claim
  );
  -- Differences of whole rows, sorted or hashed: n log n in their number.
  surplus := array(select claim from unnest(current) as claim except select claim from unnest(expected) as claim);
  missing := array(select claim from unnest(expected) as claim except select claim from unnest(current) as claim);
  perform private.give_up_claims(surplus);
  perform private.queue_freed(organization_id, surplus, missing, as_of);
  if missing = '{}' or private.take_claims(missing) = cardinality(missing) then
    return true;
  end if;
  -- Something is in the way. If it has expired it goes, now that its resource is locked.
  perform private.remove_stale(organization_id, missing, as_of);
  perform private.take_claims(missing);
  return not exists (
    select from unnest(missing) as claim
    -- A move that expires just now may already be making room for somebody, on people who are not locked here.
    where (claim.expires_at is null or claim.expires_at > clock_timestamp())
      and not exists (
        select from private.claims as known
        where known.organization_id = claim.organization_id and known.owner_id = claim.owner_id
          and known.resource_id = claim.resource_id and known.during = claim.during
      )
  );
end
$$;
comment on function private.sync_claims(uuid, uuid[], timestamptz) is
  'Makes the claims of these owners what their rows say. False: somebody alive is in the way, and the caller refuses. '
  'Call it with the resources locked, or alone in the organization.';

-- === schemas/booking/callers.sql ===

-- Purpose: who is calling, and whom they may book.
-- Objects: private.actor, require_actor, begin_booking, who_may_book, may_book.
-- Watch for: the JWT only chooses the organization; the membership row decides. What decides a booking is read behind the
--            locks, authority included: a member who is removed while they wait no longer books.

create type private.actor as (
  user_id uuid,
  organization_id uuid,
  role public.member_role
);
comment on type private.actor is 'The caller, from the JWT, and their role, from the membership row.';

create function private.require_actor()
returns private.actor
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  actor private.actor;
begin
  select auth.uid(), private.claimed_organization_id() into actor.user_id, actor.organization_id;
  if actor.user_id is null then
    perform private.raise_refusal(401, 'UNAUTHENTICATED', 'Sign in first: this call needs a user''s access token.');
  elsif actor.organization_id is null then
    perform private.raise_refusal(
      403, 'ORGANIZATION_REQUIRED', 'Your access token names no organization. Join or choose one and sign in again.'
    );
  end if;
  select membership.role into actor.role
  from public.memberships as membership
  where membership.organization_id = actor.organization_id and membership.user_id = actor.user_id;
  if actor.role is null then
    perform private.raise_refusal(403, 'FORBIDDEN', 'You are not a member of this organization.');
  end if;
  return actor;
end
$$;
comment on function private.require_actor() is
  'The caller, or PT401 UNAUTHENTICATED, PT403 ORGANIZATION_REQUIRED or PT403 FORBIDDEN.';

create function private.begin_booking(request_id text)
returns private.actor
language plpgsql
set search_path = ''
as $$
begin
  perform set_config('therapist_sessions.request_id', coalesce(left(request_id, 128), ''), true);
  if current_setting('transaction_isolation') <> 'read committed' then
    -- An older snapshot would not see what the previous holder of a lock has committed: units could be taken twice.
    perform private.raise_refusal(400, 'VALIDATION_FAILED', 'Bookings run in READ COMMITTED, one transaction each.');
  end if;
  perform private.enter_booking();
  return private.require_actor();
end
$$;
comment on function private.begin_booking(text) is
  'The caller of a booking function, before it takes any lock; see private.require_actor. The public wrapper ends it with '
  'private.leave_booking.';

create function private.may_ask(actor private.actor, therapist_id uuid)
returns boolean
language plpgsql
immutable
set search_path = ''
as $$
begin
  return actor.role in ('admin', 'super_admin') or (actor.role = 'therapist' and actor.user_id = therapist_id);
end
$$;
comment on function private.may_ask(private.actor, uuid) is
  'Whether the caller may book this therapist at all. Asked before any lock is taken, so that nobody makes others wait for '
  'what they may not do; private.who_may_book asks again behind the locks.';

create type private.booker as (
  role public.member_role,
  allowed boolean,
  has_payer boolean
);
comment on type private.booker is 'What private.who_may_book says.';

create function private.who_may_book(actor private.actor, therapist_id uuid, client_ids uuid[], room_id uuid)
returns private.booker
language plpgsql
stable
set search_path = ''
as $$
#variable_conflict use_column
declare
  booker private.booker;
begin
  select
    case when actor.user_id is null then 'admin' else member.role end,
    therapist.id is not null
      and renders.role is not null
      and clients.all_there
      and (who_may_book.room_id is null or room.id is not null)
      and (
        actor.user_id is null
        or member.role in ('admin', 'super_admin')
        or (member.role = 'therapist' and therapist.id = actor.user_id and clients.all_on_caseload)
      ),
    clients.has_payer
  into booker.role, booker.allowed, booker.has_payer
  from (values (1)) as once
  left join public.memberships as member
    on member.organization_id = actor.organization_id and member.user_id = actor.user_id
  left join public.therapists as therapist
    on therapist.organization_id = actor.organization_id
    and therapist.id = who_may_book.therapist_id
    and therapist.deleted_at is null
  left join public.memberships as renders
    on renders.organization_id = actor.organization_id and renders.user_id = therapist.id and renders.role <> 'client'
  left join public.rooms as room
    on room.organization_id = actor.organization_id and room.id = who_may_book.room_id and room.deleted_at is null
  cross join lateral (
    select
      bool_and(client.id is not null) as all_there,
      bool_and(caseload.client_id is not null) as all_on_caseload,
      bool_or(client.has_payer) as has_payer
    from unnest(client_ids) as asked (id)
    left join lateral (
      select known.id, known.has_payer from public.clients as known
      where known.organization_id = actor.organization_id and known.id = asked.id and known.deleted_at is null offset 0
    ) as client on true
    left join lateral (
      select known.client_id from public.caseloads as known
      where known.organization_id = actor.organization_id and known.therapist_id = who_may_book.therapist_id
        and known.client_id = asked.id
      offset 0
    ) as caseload on true
  ) as clients;
  if booker.role is null then
    -- They were a member when the call began.
    perform private.raise_refusal(403, 'FORBIDDEN', 'You are not a member of this organization.');
  end if;
  return booker;
end
$$;
comment on function private.who_may_book(private.actor, uuid, uuid[], uuid) is
  'Whether the caller may book this therapist with these clients in this room, in one look. Therapists book their own time '
  'for their caseload, admins anybody; nobody books the archived, or a therapist whose membership ended or does not '
  'render. An actor without a user is the clinic itself (the waitlist). has_payer: whether units may be counted for any '
  'of the clients.';

create function private.may_book(actor private.actor, therapist_id uuid, client_id uuid, room_id uuid default null)
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  return coalesce((private.who_may_book(actor, therapist_id, array[client_id], room_id)).allowed, false);
end
$$;
comment on function private.may_book(private.actor, uuid, uuid, uuid) is 'As private.who_may_book, for one client.';

-- === schemas/booking/outcome.sql ===

-- Purpose: what a booking function answers, and the few errors that leave the database.
-- Objects: success, refusal, refuse, iso, raise_busy.
-- Watch for: a business refusal is returned, never raised, so that its audit event survives.

create function private.iso(instant timestamptz)
returns text
language plpgsql
immutable
set search_path = ''
as $$
begin
  return to_char(instant at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"');
end
$$;
comment on function private.iso(timestamptz) is 'An instant as JavaScript''s toISOString writes it: UTC, milliseconds.';

create function private.status_of(code text)
returns integer
language plpgsql
immutable
set search_path = ''
as $$
begin
  return case
    when code = 'FORBIDDEN' then 403
    when code in ('HOLD_NOT_FOUND', 'HOLD_EXPIRED') then 410
    when code = 'IDEMPOTENCY_KEY_REUSED' then 422
    else 409
  end;
end
$$;
comment on function private.status_of(text) is 'The HTTP status of a refusal''s code.';

create function private.refusal(
  status integer,
  code text,
  detail text,
  retry_after timestamptz default null,
  conflicts jsonb default '[]',
  alternatives jsonb default '[]'
)
returns jsonb
language plpgsql
volatile
set search_path = ''
as $$
begin
  return jsonb_build_object('ok', false, 'status', status, 'code', code, 'detail', detail)
    || case
      when status = 409 then jsonb_build_object(
        'retryAfter', private.iso(retry_after),
        'retryAfterSeconds', case
          when retry_after is not null
            then greatest(1, ceil(extract(epoch from retry_after - clock_timestamp())))::integer
        end,
        'conflicts', conflicts,
        'alternatives', alternatives
      )
      else '{}'::jsonb
    end;
end
$$;
comment on function private.refusal(integer, text, text, timestamptz, jsonb, jsonb) is
  'A business refusal as it is returned, never raised. retry_after is when all holds in the way will have cleared.';

create function private.success(body jsonb)
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
begin
  return jsonb_build_object('ok', true, 'status', 200, 'replayed', false, 'body', body);
end
$$;
comment on function private.success(jsonb) is 'A successful outcome; body is the data of the HTTP answer.';

create function private.refuse(
  actor private.actor,
  action text,
  entity_ids uuid[],
  code text,
  detail text,
  therapist_id uuid default null,
  retry_after timestamptz default null,
  conflicts jsonb default null,
  details jsonb default '{}',
  more jsonb default '{}'
)
returns jsonb
language plpgsql
set search_path = ''
as $$
begin
  return coalesce(
    private.note_refusal(
      actor.organization_id, action,
      case when action like 'hold.%' or action like 'confirmation.%' then 'hold' else 'session' end,
      entity_ids, code, actor.role::text, therapist_id,
      nullif(jsonb_strip_nulls(details || jsonb_build_object('conflicts', conflicts) || more), '{}'),
      may_never => actor.role = 'client'
    ),
    private.refusal(private.status_of(code), code, detail, retry_after, coalesce(conflicts, '[]')) || more
  );
end
$$;
comment on function private.refuse(
  private.actor, text, uuid[], text, text, uuid, timestamptz, jsonb, jsonb, jsonb
) is
  'Refuses: one audit event (action, with details and conflicts) and the outcome, or TOO_MANY_REQUESTS for a caller who '
  'was refused too often. therapist_id: whose lock is held. more: what belongs in the answer beside, such as shortages.';

create function private.raise_busy(state text default null, message text default null)
returns void
language plpgsql
set search_path = ''
as $$
declare
  others text;
begin
  if state is not null then
    -- The caller hears only that the database is busy; who was in whose way belongs in the server's log.
    select string_agg(format('[%s] %s', other.pid, left(other.query, 300)), '; ') into others
    from pg_catalog.pg_stat_activity as other
    where other.datname = current_database() and other.pid <> pg_backend_pid() and other.state <> 'idle'
      and other.backend_type = 'client backend';
    raise log 'booking gave way: % % while running [%] %; beside it %', state, message, pg_backend_pid(),
      left(current_query(), 300), coalesce(others, 'nobody');
  end if;
  perform private.raise_refusal(503, 'DATABASE_BUSY', 'The database is busy. Send the same request again.', '1');
end
$$;
comment on function private.raise_busy(text, text) is
  'What lock time-outs (55P03), deadlocks (40P01), serialization failures (40001) and cancelled statements (57014) '
  'leave as: PT503, with the seconds to wait as its detail. Nothing of the request has happened. The log gets the '
  'statements that met. Callers: state is SQLSTATE, message SQLERRM.';

create type private.cause as (
  code text,
  detail text,
  retry_after timestamptz,
  conflicts jsonb
);
comment on type private.cause is 'Why a request is refused; no code: it is not.';

-- === schemas/booking/idempotency.sql ===

-- Purpose: a retried request has one effect, and gets the first answer again.
-- Objects: private.idempotency_keys, private.find_replay, private.keep_answer.
-- Watch for: a key is stored in the transaction of its effect, only when the request succeeded. Refusals keep no key.

create table private.idempotency_keys (
  organization_id uuid not null references public.organizations (id),
  user_id uuid not null,
  endpoint text not null check (endpoint in (
    'sessions-hold', 'sessions-confirm', 'sessions-cancel', 'session-notes', 'client-details', 'add-staff-time',
    'extend-series'
  )),
  idempotency_key text not null check (length(idempotency_key) between 1 and 255),
  fingerprint bytea not null,
  status smallint not null,
  response jsonb not null,
  hold_batch_id uuid,
  created_at timestamptz not null,
  primary key (organization_id, user_id, endpoint, idempotency_key)
);
comment on table private.idempotency_keys is
  'Answers to be replayed, scoped to organization, user and endpoint, for 24 hours. Holds no PHI.';
comment on column private.idempotency_keys.fingerprint is 'SHA-256 of the validated, defaulted, expanded request.';
comment on column private.idempotency_keys.hold_batch_id is
  'The batch a sessions-hold answer speaks of: the key lapses once any of that batch is released or expires unconfirmed.';
create index idempotency_keys_created_at_idx on private.idempotency_keys (created_at);
alter table private.idempotency_keys enable row level security;
create policy deny_all on private.idempotency_keys using (false);

create function private.fingerprint(request jsonb)
returns bytea
language plpgsql
immutable
set search_path = ''
as $$
begin
  return sha256(convert_to(request::text, 'UTF8'));
end
$$;
comment on function private.fingerprint(jsonb) is 'SHA-256 of a normalised request; jsonb text is canonical.';

create function private.find_replay(
  organization_id uuid,
  user_id uuid,
  endpoint text,
  idempotency_key text,
  fingerprint bytea
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  kept private.idempotency_keys;
  as_of timestamptz;
begin
  if idempotency_key is null then
    return null;
  end if;
  if length(idempotency_key) not between 1 and 255 then
    perform private.raise_invalid(private.issue('Idempotency-Key', 'must have 1 to 255 characters'));
  end if;

  -- Two duplicates in flight would both find no kept answer and both take effect: the second waits here until the
  -- first has committed, and then finds its answer. First lock of every path.
  perform pg_advisory_xact_lock(
    hashtextextended(format('%s/%s/%s/%s', organization_id, user_id, endpoint, idempotency_key), 1)
  );
  as_of := clock_timestamp();

  select * into kept
  from private.idempotency_keys as candidate
  where candidate.organization_id = find_replay.organization_id
    and candidate.user_id = find_replay.user_id
    and candidate.endpoint = find_replay.endpoint
    and candidate.idempotency_key = find_replay.idempotency_key;
  if not found then
    return null;
  end if;

  if kept.created_at <= as_of - interval '24 hours'
    -- A replay never hands out a key that is over: once any of the hold was released or has expired, it is made anew.
    or (kept.hold_batch_id is not null and exists (
      select 1
      from public.session_holds as hold
      join public.hold_batches as batch
        on batch.organization_id = hold.organization_id and batch.id = hold.batch_id
      where hold.organization_id = kept.organization_id
        and hold.batch_id = kept.hold_batch_id
        and (hold.status in ('released', 'expired') or (hold.status = 'held' and batch.expires_at <= as_of))
    ))
  then
    delete from private.idempotency_keys as lapsed
    where lapsed.organization_id = kept.organization_id
      and lapsed.user_id = kept.user_id
      and lapsed.endpoint = kept.endpoint
      and lapsed.idempotency_key = kept.idempotency_key;
    return null;
  end if;

  if kept.fingerprint <> find_replay.fingerprint then
    return jsonb_build_object(
      'ok', false, 'status', 422, 'code', 'IDEMPOTENCY_KEY_REUSED',
      'detail', 'This Idempotency-Key was used for a different request. Send a new key with a new request.'
    );
  end if;
  return jsonb_build_object('ok', true, 'status', kept.status, 'replayed', true, 'body', kept.response);
end
$$;
comment on function private.find_replay(uuid, uuid, text, text, bytea) is
  'The kept answer for this key, the 422 outcome when the key belongs to another request, or null: then go on, and '
  'the key is locked until the transaction ends.';

create function private.keep_answer(
  organization_id uuid,
  user_id uuid,
  endpoint text,
  idempotency_key text,
  fingerprint bytea,
  response jsonb,
  hold_batch_id uuid default null
)
returns void
language plpgsql
set search_path = ''
as $$
#variable_conflict use_column
begin
  insert into private.idempotency_keys (
    organization_id, user_id, endpoint, idempotency_key, fingerprint, status, response, hold_batch_id, created_at
  )
  select keep_answer.organization_id, keep_answer.user_id, keep_answer.endpoint, keep_answer.idempotency_key,
    keep_answer.fingerprint, 200, keep_answer.response, keep_answer.hold_batch_id, clock_timestamp()
  where keep_answer.idempotency_key is not null;
end
$$;
comment on function private.keep_answer(uuid, uuid, text, text, bytea, jsonb, uuid) is
  'Stores a successful answer under its key, in the transaction of its effect. Without a key: nothing.';

-- === schemas/booking/field_checks.sql ===

-- Purpose: checks of single fields, for the RPCs that read their requests field by field.
-- Objects: uuid_issue, text_issue, integer_issue, instant_issue, zone_issue.
-- Watch for: the booking requests do not use these; they are typed rows (request_types.sql).

create function private.trimmed(value text)
returns text
language plpgsql
immutable
set search_path = ''
as $$
begin
  return btrim(value, E' \t\n\r\f\v');
end
$$;
comment on function private.trimmed(text) is 'A text without the white space around it; btrim alone takes only spaces away.';

create function private.uuid_issue(path text, value jsonb, required boolean)
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
begin
  return case
    when value is null or value = 'null' then case when required then private.issue(path, 'is required') end
    when jsonb_typeof(value) <> 'string'
      or (value #>> '{}') !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
      then private.issue(path, 'must be a UUID')
  end;
end
$$;

create function private.text_issue(path text, value jsonb, required boolean, max_length integer, pattern text default null)
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
begin
  return case
    when value is null or value = 'null' then case when required then private.issue(path, 'is required') end
    when jsonb_typeof(value) <> 'string' then private.issue(path, 'must be a string')
    when private.trimmed(value #>> '{}') = '' then private.issue(path, 'must not be empty')
    when length(value #>> '{}') > max_length then private.issue(path, format('must have at most %s characters', max_length))
    when (value #>> '{}') !~ pattern then private.issue(path, 'has a form that is not accepted')
  end;
end
$$;

create function private.integer_issue(path text, value jsonb, required boolean, minimum integer, maximum integer)
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
begin
  return case
    when value is null or value = 'null' then case when required then private.issue(path, 'is required') end
    when jsonb_typeof(value) <> 'number' or (value #>> '{}') !~ '^-?[0-9]{1,9}$'
      then private.issue(path, 'must be a whole number')
    when (value #>> '{}')::integer not between minimum and maximum
      then private.issue(path, format('must be between %s and %s', minimum, maximum))
  end;
end
$$;

create function private.instant_pattern()
returns text
language plpgsql
immutable
set search_path = ''
as $$
begin
  return '^(19|2[0-9])\d{2}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,9})?)?(Z|[+-](0\d|1[0-5]):?[0-5]\d)$';
end
$$;
comment on function private.instant_pattern() is
  'ISO 8601 instants with an explicit offset. Postgres itself would also read now, tomorrow or infinity.';

create function private.instant_issue(path text, value jsonb)
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
begin
  if value is null or value = 'null' then
    return private.issue(path, 'is required');
  end if;
  if jsonb_typeof(value) <> 'string' or (value #>> '{}') !~ private.instant_pattern() then
    return private.issue(path, 'must be an ISO 8601 instant with Z or an offset, such as 2026-03-02T18:00:00Z');
  end if;
  -- What is left are days that do not exist, such as 30 February.
  perform (value #>> '{}')::timestamptz;
  return null;
exception
  when datetime_field_overflow or invalid_datetime_format then
    return private.issue(path, 'is not a date that exists');
end
$$;
comment on function private.uuid_issue(text, jsonb, boolean) is 'Issues of a UUID field; null when it has none.';
comment on function private.text_issue(text, jsonb, boolean, integer, text) is 'Issues of a text field; null when it has none.';
comment on function private.integer_issue(text, jsonb, boolean, integer, integer) is 'Issues of a whole number; null when it has none.';
comment on function private.instant_issue(text, jsonb) is
  'Issues of an instant; null when it has none. Only explicit offsets: Postgres would read now, tomorrow or infinity.';

create function private.zone_issue(path text, value jsonb, required boolean)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return case
    when value is null or value = 'null' then case when required then private.issue(path, 'is required') end
    when jsonb_typeof(value) <> 'string'
      or not exists (select 1 from public.time_zones as zone where zone.name = value #>> '{}')
      then private.issue(path, 'must be an IANA time zone, such as America/Los_Angeles')
  end;
end
$$;
comment on function private.zone_issue(text, jsonb, boolean) is 'Issues of a time zone name; null when it has none.';

-- === schemas/booking/request_types.sql ===

-- Purpose: the bodies of sessions-hold, sessions-confirm and sessions-cancel as typed rows. The domains are the bounds of
--          each field and stand nowhere else in SQL; the comment on a domain is the message of the 400.
-- Objects: the domains, private.hold_request, private.confirm_request, private.cancel_request and what they are made of;
--          private.read_request and the typed readers.
-- Watch for: a new field of a request is a new attribute of its type, and nothing more. zod has the same bounds
--            (`functions/_shared/contract`); a property test sends the same bodies to both. Unknown fields are ignored,
--            null equals absent, and a blank text is not given. Rules across fields are in slots.sql.

create function private.tidy(value text)
returns text
language plpgsql
immutable
set search_path = ''
as $$
begin
  return nullif(btrim(value, U&' \0009\000A\000B\000C\000D\00A0\1680\2000\2001\2002\2003\2004\2005\2006\2007\2008\2009\200A\2028\2029\202F\205F\3000\FEFF'), '');
end
$$;
comment on function private.tidy(text) is
  'A text without the white space around it, null when nothing is left. White space is what JavaScript''s trim removes.';

create domain private.hold_seconds as integer check (value between 30 and 900);
comment on domain private.hold_seconds is 'must be a whole number from 30 to 900';

create domain private.buffer_minutes as smallint check (value between 0 and 240);
comment on domain private.buffer_minutes is 'must be a whole number from 0 to 240';

create domain private.offset_minutes as smallint check (value between -840 and 840);
comment on domain private.offset_minutes is 'must be a whole number from -840 to 840: minutes east of UTC';

create domain private.occurrence_count as smallint check (value between 1 and 366);
comment on domain private.occurrence_count is 'must be a whole number from 1 to 366';

create domain private.cpt_code as text check (value ~ '^[ \t\n\v\f\r]*[0-9A-Za-z]{5}[ \t\n\v\f\r]*$');
comment on domain private.cpt_code is 'must be a service code of five letters and digits, like 97153';

create domain private.cpt_modifier as text check (value ~ '^[ \t\n\v\f\r]*[0-9A-Za-z]{2}[ \t\n\v\f\r]*$');
comment on domain private.cpt_modifier is 'must be two letters or digits, like HQ';

create domain private.cpt_modifiers as private.cpt_modifier[] check (cardinality(value) <= 4);
comment on domain private.cpt_modifiers is 'must have at most 4 items';

create domain private.short_text as text check (length(value) <= 64);
comment on domain private.short_text is 'must be text of at most 64 characters';

create domain private.reason as text check (length(value) <= 500);
comment on domain private.reason is 'must be text of at most 500 characters';

create domain private.override_reason as text check (length(value) <= 500 and (value is null or private.tidy(value) is not null));
comment on domain private.override_reason is 'must be text of 1 to 500 characters';

create domain private.override_rule as text
  check (value in ('availability', 'authorization', 'concurrency'));
comment on domain private.override_rule is
  'must be "availability", "authorization" or "concurrency": who may render a service, and travel, are never set aside';

create domain private.override_rules as private.override_rule[] check (cardinality(value) between 1 and 3);
comment on domain private.override_rules is 'must have 1 to 3 items';

create domain private.no_text as text check (private.tidy(value) is null);
comment on domain private.no_text is 'is not accepted here: session notes are saved, encrypted, through session-notes';

-- No check may be false of null: a field left out is null. isfinite fails for days that do not exist.
-- What Postgres itself reads as a time is far wider: now, tomorrow, infinity, or 10:00 in the zone of the server.
create domain private.instant as text check (
  case
    -- As JavaScript writes it. A regular expression would cost more than everything else that is read of a request.
    when translate(value, '123456789', '000000000') = '0000-00-00T00:00:00.000Z' then
      value >= '20' collate "C" and value < '22' collate "C"
      and substr(value, 12, 2) < '24' collate "C" and substr(value, 18, 2) < '60' collate "C"
    else value ~ '^2[01][0-9]{2}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,3}0{0,6})?)?(Z|[+-](0[0-9]|1[0-3])(:?[0-5][0-9])?|[+-]14(:?00)?)$'
  end
  and isfinite(value::timestamptz)
);
comment on domain private.instant is
  'must be an ISO 8601 instant that exists, of the years 2000 to 2199, to the millisecond at most, with Z or an explicit '
  'offset, like 2026-03-09T10:00:00-07:00';

create domain private.civil_time as text check (
  value ~ '^2[01][0-9]{2}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,3}0{0,6})?)?$'
  and isfinite(value::timestamp)
);
comment on domain private.civil_time is
  'must be a local date and time that exist, of the years 2000 to 2199, to the millisecond at most, without a zone, '
  'like 2026-03-09T10:00';

create domain private.civil_date as text check (value ~ '^2[01][0-9]{2}-[0-9]{2}-[0-9]{2}$' and isfinite(value::date));
comment on domain private.civil_date is 'must be a date that exists, of the years 2000 to 2199, like 2026-03-09';

-- Whether there is such a zone, public.time_zones says; see slots.sql.
create domain private.zone_name as text check (value ~ '^[A-Za-z]' and length(value) <= 64);
comment on domain private.zone_name is 'must be an IANA time zone, like America/Los_Angeles';

create domain private.recurrence_rule as text check (length(value) <= 1000 and (value is null or private.tidy(value) is not null));
comment on domain private.recurrence_rule is 'must be text of 1 to 1000 characters';

create domain private.recurrence_day as text check (length(value) <= 40 and (value is null or private.tidy(value) is not null));
comment on domain private.recurrence_day is 'must be text of 1 to 40 characters';

create domain private.recurrence_days as private.recurrence_day[] check (cardinality(value) <= 1000);
comment on domain private.recurrence_days is 'must have at most 1000 items';

create domain private.member_ids as uuid[] check (cardinality(value) <= 8);
comment on domain private.member_ids is 'must have at most 8 items';

create domain private.session_ids as uuid[] check (cardinality(value) between 1 and 1000);
comment on domain private.session_ids is 'must have 1 to 1000 items';

-- sessions-hold

create type private.occurrence_request as (
  start_time private.instant,
  end_time private.instant,
  start_time_offset_minutes private.offset_minutes,
  end_time_offset_minutes private.offset_minutes,
  time_zone private.zone_name,
  session_id uuid,
  local_start private.civil_time
);
comment on type private.occurrence_request is
  'One occurrence of sessions-hold: start_time and end_time, or local_start, the civil start in time_zone (left out: the '
  'request''s), which lasts as long as the window at the top.';

create domain private.occurrence_requests as private.occurrence_request[] check (cardinality(value) <= 366);
comment on domain private.occurrence_requests is 'must have at most 366 items';

create type private.override_request as (
  reason private.override_reason,
  rules private.override_rules
);
comment on type private.override_request is 'Why an admin books in spite of rules, and which; without rules: any.';

create type private.recurrence_request as (
  rule private.recurrence_rule,
  count private.occurrence_count,
  until private.recurrence_day,
  exceptions private.recurrence_days,
  time_zone private.zone_name
);
comment on type private.recurrence_request is
  'The rule that was asked for. Whoever calls the database expands it: what is booked are the occurrences beside it.';

create type private.hold_request as (
  therapist_id uuid,
  client_id uuid,
  client_ids private.member_ids,
  group_id uuid,
  room_id uuid,
  session_id uuid,
  cpt_code private.cpt_code,
  session_type private.short_text,
  time_zone private.zone_name,
  start_time private.instant,
  end_time private.instant,
  start_time_offset_minutes private.offset_minutes,
  end_time_offset_minutes private.offset_minutes,
  hold_seconds private.hold_seconds,
  buffer_before_minutes private.buffer_minutes,
  buffer_after_minutes private.buffer_minutes,
  occurrences private.occurrence_requests,
  recurrence private.recurrence_request,
  override private.override_request
);
comment on type private.hold_request is 'The body of sessions-hold, each field within its bounds.';

-- sessions-hold, for sessions of a series

create domain private.series_scope as text check (value in ('this', 'following', 'all'));
comment on domain private.series_scope is 'must be "this", "following" or "all"';

create domain private.weekday as text
  check (value in ('monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday'));
comment on domain private.weekday is 'must be an English weekday in lower case, like "monday"';

create domain private.time_of_day as text check (value ~ '^([01][0-9]|2[0-3]):[0-5][0-9]$');
comment on domain private.time_of_day is 'must be a local time of day from 00:00 to 23:59, like 16:30';

create domain private.shift_minutes as integer check (value between -40320 and 40320);
comment on domain private.shift_minutes is 'must be a whole number from -40320 to 40320';

create domain private.session_minutes as integer check (value between 1 and 720);
comment on domain private.session_minutes is 'must be a whole number from 1 to 720';

create type private.series_change as (
  shift_minutes private.shift_minutes,
  weekday private.weekday,
  local_start private.time_of_day,
  duration_minutes private.session_minutes,
  therapist_id uuid,
  room_id uuid
);
comment on type private.series_change is
  'What becomes of sessions of a series; what is left out stays. A room_id of null, named, is no room.';

create type private.series_part as (
  series_id uuid,
  scope private.series_scope,
  "from" private.instant,
  change private.series_change
);
comment on type private.series_part is 'Which sessions of a series change, and how. from: the start of one of them.';

create type private.series_request as (
  therapist_id uuid,
  client_id uuid,
  time_zone private.zone_name,
  hold_seconds private.hold_seconds,
  session_type private.short_text,
  cpt_code private.cpt_code,
  buffer_before_minutes private.buffer_minutes,
  buffer_after_minutes private.buffer_minutes,
  override private.override_request,
  series private.series_part
);
comment on type private.series_request is
  'The body of sessions-hold that changes sessions of a series. therapist_id: only sessions of this therapist; time_zone: '
  'whose clocks the change is meant by, left out: those of each session.';

-- extend_series

create domain private.on_conflict as text check (value in ('refuse', 'skip'));
comment on domain private.on_conflict is 'must be "refuse" or "skip"';

create type private.extend_request as (
  series_id uuid,
  until private.civil_date,
  count private.occurrence_count,
  authorization_end boolean,
  on_conflict private.on_conflict,
  therapist_id uuid,
  override private.override_request
);
comment on type private.extend_request is 'The request of extend_series: how far a series goes on.';

-- sessions-confirm

create type private.session_request as (
  id uuid,
  therapist_id uuid,
  client_id uuid,
  start_time private.instant,
  end_time private.instant,
  session_type private.short_text,
  location_type private.short_text,
  notes private.no_text
);
comment on type private.session_request is 'A session as sessions-confirm describes it. id: the session being moved.';

create type private.cpt_request as (
  code private.cpt_code,
  modifiers private.cpt_modifiers
);
comment on type private.cpt_request is 'A service code and its modifiers, as sessions-confirm names them.';

create type private.confirm_occurrence as (
  hold_key uuid,
  session private.session_request,
  cpt private.cpt_request,
  start_time_offset_minutes private.offset_minutes,
  end_time_offset_minutes private.offset_minutes,
  time_zone private.zone_name,
  notes private.no_text
);
comment on type private.confirm_occurrence is 'One occurrence of sessions-confirm, by its own key.';

create domain private.confirm_occurrences as private.confirm_occurrence[] check (cardinality(value) <= 366);
comment on domain private.confirm_occurrences is 'must have at most 366 items';

create type private.confirm_request as (
  hold_key uuid,
  session private.session_request,
  cpt private.cpt_request,
  start_time_offset_minutes private.offset_minutes,
  end_time_offset_minutes private.offset_minutes,
  time_zone private.zone_name,
  occurrences private.confirm_occurrences,
  notes private.no_text
);
comment on type private.confirm_request is 'The body of sessions-confirm, each field within its bounds.';

-- sessions-cancel

create type private.release_request as (
  hold_key uuid
);
comment on type private.release_request is 'The body of sessions-cancel that lets a hold go.';

create type private.cancel_request as (
  session_ids private.session_ids,
  series_id uuid,
  "from" private.instant,
  date private.civil_date,
  from_date private.civil_date,
  to_date private.civil_date,
  time_zone private.zone_name,
  therapist_id uuid,
  all_therapists boolean,
  reason private.reason,
  cancellation_attribution public.cancellation_attribution
);
comment on type private.cancel_request is 'The body of sessions-cancel that names sessions, each field within its bounds.';

-- Reading ----------------------------------------------------------------------------------------------------------------

-- start_session, complete_session, mark_no_show

create type private.visit_request as (
  session_id uuid,
  actual_start_time private.instant,
  actual_end_time private.instant,
  other_day_reason private.reason,
  overlap_reason private.reason
);
comment on type private.visit_request is
  'What is recorded of a visit. other_day_reason: why it began on another local day than it was booked for; overlap_reason: '
  'why an admin lets it overlap another visit.';

-- correct_visit

create domain private.record_version as integer check (value between 1 and 1000000);
comment on domain private.record_version is 'must be a whole number from 1 to 1000000';

create domain private.correction_undo as text check (value in ('completion', 'start', 'no_show'));
comment on domain private.correction_undo is 'must be "completion", "start" or "no_show"';

create domain private.correction_reason as text
  check (value in ('wrong_time', 'wrong_service', 'wrong_place', 'by_mistake', 'payer_request', 'other'));
comment on domain private.correction_reason is
  'must be "wrong_time", "wrong_service", "wrong_place", "by_mistake", "payer_request" or "other"';

create type private.correction_request as (
  session_id uuid,
  base_version private.record_version,
  actual_start_time private.instant,
  actual_end_time private.instant,
  other_day_reason private.reason,
  overlap_reason private.reason,
  cpt_code private.cpt_code,
  modifiers private.cpt_modifiers,
  location_type private.short_text,
  undo private.correction_undo,
  reason_code private.correction_reason,
  remark private.reason
);
comment on type private.correction_request is 'The request of correct_visit: what changes, on top of which version, and why.';

-- hold_reassignment

create domain private.handed_ids as uuid[] check (cardinality(value) between 1 and 366);
comment on domain private.handed_ids is 'must have 1 to 366 items';

create type private.reassignment_request as (
  session_ids private.handed_ids,
  therapist_id uuid,
  "from" private.instant,
  "to" private.instant,
  to_therapist_id uuid,
  on_conflict private.on_conflict,
  hold_seconds private.hold_seconds,
  override private.override_request
);
comment on type private.reassignment_request is 'The request of hold_reassignment, each field within its bounds.';

create function private.base_type(type_id oid)
returns pg_catalog.pg_type
language sql
stable
set search_path = ''
begin atomic
  with recursive unwrapped as (
    select t.oid, t.typbasetype from pg_catalog.pg_type as t where t.oid = base_type.type_id
    union all
    select t.oid, t.typbasetype from unwrapped join pg_catalog.pg_type as t on t.oid = unwrapped.typbasetype
  )
  select t from pg_catalog.pg_type as t join unwrapped on unwrapped.oid = t.oid where unwrapped.typbasetype = 0;
end;
comment on function private.base_type(oid) is 'The type below the domains over it.';

create function private.json_type(type_id oid)
returns text
language sql
stable
set search_path = ''
begin atomic
  select case
    when base.typtype = 'c' then 'object'
    when base.typcategory = 'A' then 'array'
    when base.typcategory = 'N' then 'number'
    when base.typcategory = 'B' then 'boolean'
    else 'string'
  end
  from private.base_type(json_type.type_id) as base;
end;
comment on function private.json_type(oid) is 'The JSON type that a value of this type is written as.';

create function private.mistyped_fields(type_id oid, path text default '@')
returns text
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    select string_agg(found.condition, ' || ' order by field.attnum)
    from private.base_type(type_id) as base
    join pg_catalog.pg_attribute as field on field.attrelid = base.typrelid and not field.attisdropped
    cross join lateral private.base_type(field.atttypid) as of
    cross join lateral (
      select format('%s."%s"', path, field.attname) as path, private.json_type(field.atttypid) as type
    ) as at
    -- The elements of a list, else the field itself.
    cross join lateral (
      select
        case when at.type = 'array' then of.typelem else field.atttypid end as type_id,
        case when at.type = 'array' then at.path || '[*]' else at.path end as path
    ) as item
    cross join lateral (
      select concat_ws(
        ' || ',
        case when at.type = 'array' then format('%s.type() != "array"', at.path) end,
        format('%s.type() != "%s"', item.path, private.json_type(item.type_id)),
        case when item.type_id = 'pg_catalog.uuid'::regtype
          -- Postgres also reads braces, and hyphens left out.
          then format('exists(%s ? (!(@ like_regex "^.{8}-.{4}-.{4}-.{4}-.{12}$")))', item.path) end,
        private.mistyped_fields(item.type_id, item.path)
      ) as condition
    ) as found
  );
end
$$;
comment on function private.mistyped_fields(oid, text) is
  'The part of a jsonpath that finds a field of this composite type whose JSON type is not the type''s: null for other types. '
  'jsonb_populate_record alone would take "300" for 300 and 97153 for a text.';

create function private.value_issues(path text, given jsonb, type_id oid)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
  base pg_catalog.pg_type := private.base_type(type_id);
  message constant text := coalesce(
    case when type_id <> base.oid then obj_description(type_id, 'pg_type') end,
    case
      when base.oid = 'pg_catalog.uuid'::regtype then 'must be a UUID'
      when base.typtype = 'e' then 'must be ' || (
        select string_agg(format('"%s"', label.enumlabel), ' or ' order by label.enumsortorder)
        from pg_catalog.pg_enum as label where label.enumtypid = base.oid
      )
      when private.json_type(type_id) = 'boolean' then 'must be true or false'
      else 'is not acceptable'
    end
  );
  found jsonb;
begin
  if jsonb_typeof(given) <> private.json_type(type_id) then
    return private.issue(path, case private.json_type(type_id)
      when 'array' then 'must be a list'
      when 'object' then 'must be an object'
      else message
    end);
  elsif base.typtype = 'c' then
    select jsonb_agg(issue.value order by field.attnum) into found
    from pg_catalog.pg_attribute as field
    cross join lateral jsonb_array_elements(private.value_issues(
      concat_ws('.', nullif(path, ''), field.attname), given -> field.attname, field.atttypid
    )) as issue (value)
    where field.attrelid = base.typrelid and not field.attisdropped and given -> field.attname <> 'null';
    return coalesce(found, '[]');
  elsif base.oid = 'pg_catalog.uuid'::regtype and (given #>> '{}') !~ '^.{8}-.{4}-.{4}-.{4}-.{12}$' then
    return private.issue(path, message);
  elsif base.typcategory = 'A' then
    select jsonb_agg(issue.value order by item.position) into found
    from jsonb_array_elements(given) with ordinality as item (value, position)
    cross join lateral jsonb_array_elements(
      private.value_issues(concat_ws('.', path, item.position - 1), item.value, base.typelem)
    ) as issue (value);
    if found is not null then
      return found;
    end if;
  end if;
  begin
    execute format(
      'select x.value from jsonb_to_record($1) as x (value %s)', format_type(type_id, null)
    ) using jsonb_build_object('value', given);
    return '[]';
  exception
    when data_exception or integrity_constraint_violation then
      return private.issue(path, message);
  end;
end
$$;
comment on function private.value_issues(text, jsonb, oid) is
  'What keeps a JSON value from being of this type, as [{path, message}]. Slow: only on the way to a 400.';

create function private.name_bad_fields(request jsonb, base anyelement)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  if jsonb_typeof(request) is distinct from 'object' then
    return private.issue('', 'must be a JSON object');
  end if;
  return jsonb_path_query_array(private.value_issues('', request, pg_typeof(base)), '$[0 to 49]');
end
$$;
comment on function private.name_bad_fields(jsonb, anyelement) is
  'The fields that keep a request from being of this type: at most 50, which is enough to mend a form.';

create function private.without_blanks(given jsonb, depth integer default 0)
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
begin
  return case
    -- Nothing that a request has lies deeper.
    when depth > 4 then given
    when jsonb_typeof(given) = 'object' then (
      select coalesce(jsonb_object_agg(field.key, private.without_blanks(field.value, depth + 1)), '{}')
      from jsonb_each(given) as field
      where jsonb_typeof(field.value) <> 'string' or private.tidy(field.value #>> '{}') is not null
    )
    when jsonb_typeof(given) = 'array' then (
      select coalesce(jsonb_agg(private.without_blanks(item.value, depth + 1) order by item.position), '[]')
      from jsonb_array_elements(given) with ordinality as item (value, position)
    )
    else given
  end;
end
$$;
comment on function private.without_blanks(jsonb, integer) is
  'A request without fields of blank text, whatever they are of: forms send an empty text for what was left empty.';

create function private.read_request(request jsonb, base anyelement, mistyped jsonpath)
returns anyelement
language plpgsql
stable
set search_path = ''
as $$
declare
  fewer jsonb;
begin
  begin
    request := jsonb_strip_nulls(request);
    if jsonb_typeof(request) = 'object' and not request @? mistyped then
      return jsonb_populate_record(base, request);
    end if;
  exception
    when data_exception or integrity_constraint_violation or statement_too_complex then null;
  end;
  fewer := private.without_blanks(request);
  if fewer <> request then
    return private.read_request(fewer, base, mistyped);
  end if;
  perform private.raise_invalid(private.name_bad_fields(request, base));
end
$$;
comment on function private.read_request(jsonb, anyelement, jsonpath) is
  'A request as the row of its type, or PT400 that names the fields. mistyped finds a field whose JSON type is wrong; it is '
  'made from the type, see private.mistyped_fields.';

-- The jsonpath of each type, made once from the catalog: making it for each request would cost more than the request.
do $make$
declare
  name text;
begin
  foreach name in array array[
    'hold_request', 'series_request', 'extend_request', 'confirm_request', 'release_request', 'cancel_request',
    'visit_request', 'correction_request',
    'reassignment_request'
  ] loop
    execute format(
      $function$
        create function private.mistyped_%1$s() returns jsonpath
        language plpgsql immutable set search_path = '' as $body$ begin return %2$L; end $body$
      $function$,
      name, format('$ ? (%s)', private.mistyped_fields(format('private.%I', name)::regtype))
    );
    execute format(
      'comment on function private.mistyped_%1$s() is %2$L',
      name, format('Finds a field of private.%s whose JSON type is wrong. Made from the type.', name)
    );
  end loop;
end
$make$;

create function private.read_hold_request(request jsonb)
returns private.hold_request
language plpgsql
stable
set search_path = ''
as $$
declare
  wanted private.hold_request := private.read_request(request, null::private.hold_request, private.mistyped_hold_request());
begin
  wanted.hold_seconds := coalesce(wanted.hold_seconds, 300);
  if wanted.cpt_code is not null then
    wanted.cpt_code := upper(private.tidy(wanted.cpt_code));
  end if;
  if wanted.session_type is not null then
    wanted.session_type := private.tidy(wanted.session_type);
  end if;
  if wanted.client_ids = '{}' then
    wanted.client_ids := null;
  end if;
  if wanted.occurrences = '{}' then
    wanted.occurrences := null;
  end if;
  return wanted;
end
$$;
comment on function private.read_hold_request(jsonb) is
  'Reads the body of sessions-hold, defaulted: 300 seconds, codes in upper case, blank texts and empty lists null. PT400 '
  'names every field that is out of its bounds.';

create function private.read_confirm_request(request jsonb)
returns private.confirm_request
language plpgsql
stable
set search_path = ''
as $$
declare
  wanted private.confirm_request :=
    private.read_request(request, null::private.confirm_request, private.mistyped_confirm_request());
begin
  if wanted.occurrences = '{}' then
    wanted.occurrences := null;
  end if;
  return wanted;
end
$$;
comment on function private.read_confirm_request(jsonb) is
  'Reads the body of sessions-confirm. PT400 names every field that is out of its bounds.';

create function private.read_release_request(request jsonb)
returns private.release_request
language plpgsql
stable
set search_path = ''
as $$
declare
  wanted private.release_request :=
    private.read_request(request, null::private.release_request, private.mistyped_release_request());
begin
  if wanted.hold_key is null then
    perform private.raise_invalid(private.issue('hold_key', 'is required'));
  end if;
  return wanted;
end
$$;
comment on function private.read_release_request(jsonb) is 'Reads the body of sessions-cancel that lets a hold go, or PT400.';

create function private.read_visit_request(request jsonb)
returns private.visit_request
language plpgsql
stable
set search_path = ''
as $$
declare
  wanted private.visit_request := private.read_request(request, null::private.visit_request, private.mistyped_visit_request());
begin
  if wanted.session_id is null then
    perform private.raise_invalid(private.issue('session_id', 'is required'));
  end if;
  return wanted;
end
$$;
comment on function private.read_visit_request(jsonb) is
  'Reads the request of start_session, complete_session and mark_no_show, or PT400.';

create function private.read_correction_request(request jsonb)
returns private.correction_request
language plpgsql
stable
set search_path = ''
as $$
declare
  wanted private.correction_request :=
    private.read_request(request, null::private.correction_request, private.mistyped_correction_request());
  changes constant boolean := num_nonnulls(
    wanted.actual_start_time, wanted.actual_end_time, wanted.other_day_reason, wanted.cpt_code, wanted.modifiers,
    wanted.location_type
  ) > 0;
  issues jsonb;
begin
  select jsonb_agg(jsonb_build_object('path', rule.path, 'message', rule.message)) into issues
  from (
    values
      ('session_id', 'is required', wanted.session_id is null),
      ('base_version', 'is required', wanted.base_version is null),
      ('reason_code', 'is required', wanted.reason_code is null),
      ('remark', 'is required when reason_code is "other"',
        wanted.reason_code = 'other' and private.tidy(wanted.remark) is null),
      ('undo', 'stands alone: correct other facts in a request of their own', wanted.undo is not null and changes),
      ('', 'names nothing to correct', wanted.undo is null and not changes)
  ) as rule (path, message, is_broken)
  where rule.is_broken;
  if issues is not null then
    perform private.raise_invalid(issues);
  end if;
  return wanted;
end
$$;
comment on function private.read_correction_request(jsonb) is 'Reads the request of correct_visit, or PT400.';

-- === schemas/booking/slots.sql ===

-- Purpose: what a request asks for, as rows: one slot for each client and occurrence of a hold, one listing for each
--          occurrence of a confirmation. Every rule across fields of a request is here, once, and every 400 names all that
--          is wrong.
-- Objects: private.slot, private.slots_of; private.listing, private.listed_of; private.read_cancel_request;
--          private.instant_at, private.zone_offset.
-- Watch for: the database is the only judge of zones: an offset that a caller sends is compared, never used. slots_of
--            looks at the clock, so it comes after the idempotency look-up.

create function private.zone_offset(instant timestamptz, zone text)
returns integer
language plpgsql
stable
set search_path = ''
as $$
begin
  return (extract(epoch from (instant at time zone zone) - (instant at time zone 'UTC')) / 60)::integer;
end
$$;
comment on function private.zone_offset(timestamptz, text) is
  'The zone''s offset at an instant in minutes east of UTC: Los Angeles in winter is -480.';

create function private.instant_at(civil timestamp, zone text)
returns timestamptz
language plpgsql
stable
set search_path = ''
as $$
declare
  -- Postgres moves a time that clocks skip forward by the gap, but takes the second of two.
  latest constant timestamptz := civil at time zone zone;
  day_before constant timestamptz := latest - interval '24 hours';
  earlier constant timestamptz :=
    (civil - ((day_before at time zone zone) - (day_before at time zone 'UTC'))) at time zone 'UTC';
begin
  return case when earlier < latest and earlier at time zone zone = civil then earlier else latest end;
end
$$;
comment on function private.instant_at(timestamp, text) is
  'The instant at which the clocks of a zone show a civil time: the first where they show it twice; where they skip it, '
  'the instant that is later by the gap (RFC 5545, section 3.3.5). No zone changes its clocks twice within 24 hours.';

create function private.offset_issue(path text, instant timestamptz, zone text)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
  expected constant integer := private.zone_offset(instant, zone);
begin
  return jsonb_build_array(jsonb_build_object(
    'path', path,
    'message', format('must be %s, the offset of %s then, in minutes east of UTC', expected, zone),
    'expected', expected
  ));
end
$$;
comment on function private.offset_issue(text, timestamptz, text) is
  'The issue of an offset that is not the zone''s, with the one that is (expected).';

-- sessions-hold --------------------------------------------------------------------------------------------------------

create type private.slot as (
  hold_id uuid,
  occurrence_index smallint,
  hold_key uuid,
  client_id uuid,
  group_id uuid,
  session_id uuid,
  start_time timestamptz,
  end_time timestamptz,
  time_zone text,
  -- squawk-ignore prefer-timestamp-tz
  civil_start timestamp,
  lanes int4multirange,
  cpt_code text,
  service_date date
);
comment on type private.slot is
  'One client of one occurrence of a hold. hold_key is the occurrence''s. civil_start is the local time that was meant: '
  'where clocks skip it, start_time is later. cpt_code and service_date: what private.with_services says, null before.';

create function private.names_service(slots private.slot[])
returns boolean
language plpgsql
immutable
set search_path = ''
as $$
begin
  return case
    when cardinality(slots) = 1 then slots[1].cpt_code is not null
    else exists (select from unnest(slots) as slot where slot.cpt_code is not null)
  end;
end
$$;
comment on function private.names_service(private.slot[]) is
  'Whether any of these slots has a service; see private.with_services. A booking without one has nothing to render, and '
  'no day on which its code must be valid.';

create function private.window_issues(
  slot private.slot,
  listed boolean,
  start_offset integer,
  end_offset integer,
  as_of timestamptz
)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
  issues jsonb;
  path constant text := case when listed then 'occurrences.' || slot.occurrence_index || '.' else '' end;
begin
  if slot.start_time is null and slot.civil_start is null then
    issues := private.issue(path || 'start_time', 'is required');
  elsif slot.start_time < as_of then
    issues := private.issue(path || 'start_time', 'is in the past');
  end if;
  if slot.end_time is null and (slot.civil_start is null or slot.time_zone is not null) then
    issues := coalesce(issues, '[]') || private.issue(path || 'end_time', 'is required');
  elsif slot.end_time <= slot.start_time then
    issues := coalesce(issues, '[]') || private.issue(path || 'end_time', 'must be after start_time');
  elsif slot.end_time - slot.start_time > interval '12 hours' then
    issues := coalesce(issues, '[]') || private.issue(path || 'end_time', 'must be at most 12 hours after start_time');
  elsif slot.end_time > as_of + interval '17520 hours' then
    issues := coalesce(issues, '[]') || private.issue(path || 'end_time', 'is more than 730 days ahead');
  end if;
  if start_offset is not null and start_offset <> private.zone_offset(slot.start_time, slot.time_zone) then
    issues := coalesce(issues, '[]')
      || private.offset_issue(path || 'start_time_offset_minutes', slot.start_time, slot.time_zone);
  end if;
  if end_offset is not null and end_offset <> private.zone_offset(slot.end_time, slot.time_zone) then
    issues := coalesce(issues, '[]')
      || private.offset_issue(path || 'end_time_offset_minutes', slot.end_time, slot.time_zone);
  end if;
  return issues;
end
$$;
comment on function private.window_issues(private.slot, boolean, integer, integer, timestamptz) is
  'What is wrong with when one occurrence is, as [{path, message}]; null when nothing is. 730 days are 17520 hours. listed: '
  'the slot is one of the request''s occurrences, not the window at its top.';

create function private.overlap_issues(slots private.slot[], buffer_minutes integer)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    select coalesce(jsonb_agg(
      jsonb_build_object(
        'path', format('occurrences.%s.start_time', item.occurrence_index),
        'message', 'overlaps another occurrence of the same request, buffers included'
      )
      order by item.occurrence_index
    ), '[]')
    from (
      select
        placed.occurrence_index,
        placed.start_time,
        max(placed.end_time) over (
          order by placed.start_time, placed.occurrence_index rows between unbounded preceding and 1 preceding
        ) + make_interval(mins => buffer_minutes) as busy_until
      from (
        select distinct slot.occurrence_index, slot.start_time, slot.end_time from unnest(slots) as slot
      ) as placed
    ) as item
    where item.busy_until > item.start_time
  );
end
$$;
comment on function private.overlap_issues(private.slot[], integer) is
  'The occurrences that overlap an earlier one of the same request: they would conflict with themselves. buffer_minutes is '
  'what is kept free before each start and after each end together.';

create function private.move_issues(session_id uuid, places private.occurrence_request[])
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
  issues jsonb;
begin
  select jsonb_agg(jsonb_build_object('path', item.path, 'message', case
    when item.session_id is null then 'is required: either every occurrence moves a session or none does'
    else 'must not repeat: one session has one place'
  end) order by item.position) into issues
  from (
    select
      format('occurrences.%s.session_id', place.position - 1) as path,
      place.position,
      place.session_id,
      count(place.session_id) over () as moves,
      row_number() over (partition by place.session_id order by place.position) as turn
    from unnest(places) with ordinality
      as place (start_time, end_time, start_offset, end_offset, time_zone, session_id, local_start, position)
  ) as item
  where item.moves > 0 and (item.session_id is null or item.turn > 1)
    and (cardinality(places) > 1 or item.session_id is not null);
  return coalesce(issues, '[]') || case
    when session_id is null then '[]'
    when cardinality(places) > 1
      then private.issue('session_id', 'must be given per occurrence when there are several occurrences')
    when places[1].session_id <> session_id
      then private.issue('session_id', 'must not differ from occurrences.0.session_id')
    else '[]'
  end;
end
$$;
comment on function private.move_issues(uuid, private.occurrence_request[]) is
  'What is wrong with the sessions that listed occurrences move. session_id is the one at the top of the request.';

create function private.request_issues(wanted private.hold_request)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
  issues jsonb := '[]';
  places constant integer := coalesce(cardinality(wanted.occurrences), 1);
  members constant integer := coalesce(cardinality(wanted.client_ids), 1);
  moving boolean := wanted.session_id is not null;
begin
  if wanted.therapist_id is null then
    issues := issues || private.issue('therapist_id', 'is required');
  end if;
  if wanted.client_id is null then
    issues := issues || private.issue('client_id', 'is required');
  end if;
  if wanted.time_zone is null then
    issues := issues || private.issue('time_zone', 'is required');
  end if;
  if wanted.override is distinct from null and (wanted.override).reason is null then
    issues := issues || private.issue('override.reason', 'is required');
  end if;
  if wanted.recurrence is distinct from null and (wanted.recurrence).rule is null then
    issues := issues || private.issue('recurrence.rule', 'is required');
  end if;
  if wanted.occurrences is not null then
    if wanted.end_time::timestamptz <= wanted.start_time::timestamptz then
      issues := issues || private.issue('end_time', 'must be after start_time');
    end if;
    issues := issues || private.move_issues(wanted.session_id, wanted.occurrences);
    moving := moving or exists (select from unnest(wanted.occurrences) as place where place.session_id is not null);
  end if;
  if wanted.client_ids is not null then
    if (select count(distinct member.id) from unnest(wanted.client_ids) as member (id)) < members then
      issues := issues || private.issue('client_ids', 'must not name a client twice');
    end if;
    if wanted.client_id <> all (wanted.client_ids) then
      issues := issues || private.issue('client_ids', 'must have client_id among them');
    end if;
    if members * places > 366 then
      issues := issues || private.issue('client_ids', 'times the occurrences must be at most 366');
    end if;
    if moving then
      issues := issues || private.issue(
        'client_ids', 'is for new bookings: a group moves whole when one member''s session_id is named');
    end if;
  end if;
  if wanted.group_id is not null and (wanted.client_ids is not null or moving or places > 1) then
    issues := issues || private.issue('group_id', 'is for one client who joins one occurrence of a group');
  end if;
  return issues;
end
$$;
comment on function private.request_issues(private.hold_request) is
  'What is wrong with a hold beside when it is: fields that are missing, and fields that exclude each other.';

create function private.series_slots(
  wanted private.hold_request,
  zone text,
  as_of timestamptz,
  out slots private.slot[],
  out issues jsonb
)
language plpgsql
volatile
set search_path = ''
as $$
declare
  usual_length constant interval := wanted.end_time::timestamptz - wanted.start_time::timestamptz;
begin
  select
    array_agg(at.slot order by place.position),
    jsonb_path_query_array(jsonb_agg(wrong.issues order by place.position) filter (where wrong.issues <> '[]'), '$[*][*]')
  into slots, issues
  from unnest(wanted.occurrences) with ordinality
    as place (start_time, end_time, start_offset, end_offset, time_zone, session_id, local_start, position)
  cross join lateral (
    select case
      when place.time_zone is null or place.time_zone = zone then zone
      else (select known.name from public.time_zones as known where known.name = place.time_zone)
    end as name
    offset 0
  ) as own
  cross join lateral (
    select coalesce(place.start_time::timestamptz, private.instant_at(place.local_start::timestamp, own.name)) as start_time
    offset 0
  ) as begins
  cross join lateral (
    select row(
      gen_random_uuid(), place.position - 1, gen_random_uuid(), wanted.client_id, wanted.group_id,
      coalesce(place.session_id, wanted.session_id), begins.start_time,
      coalesce(place.end_time::timestamptz, case when place.local_start is not null then begins.start_time + usual_length end),
      own.name, coalesce(place.local_start::timestamp, begins.start_time at time zone own.name), '{[0,2147483647)}',
      null, null
    )::private.slot as slot
    -- Not merged into the query, which would make another slot wherever it is mentioned.
    offset 0
  ) as at
  cross join lateral (
    select coalesce(private.window_issues(at.slot, true, place.start_offset, place.end_offset, as_of), '[]')
      || case
        when place.time_zone is not null and own.name is null then private.issue(
          format('occurrences.%s.time_zone', place.position - 1), 'must be a known IANA time zone, like America/Los_Angeles')
        else '[]'
      end
      || case
        when place.local_start is not null and place.start_time is not null then private.issue(
          format('occurrences.%s.start_time', place.position - 1), 'must not accompany local_start')
        else '[]'
      end as issues
  ) as wrong;
end
$$;
comment on function private.series_slots(private.hold_request, text, timestamptz) is
  'The slots of listed occurrences for the request''s client, and what is wrong with when they are (null: nothing). One with '
  'a local_start and no end lasts as long as the window at the top. zone is the request''s own, null when it is unknown.';

create function private.slots_of(wanted private.hold_request, as_of timestamptz)
returns private.slot[]
language plpgsql
volatile
set search_path = ''
as $$
declare
  issues jsonb := private.request_issues(wanted);
  zone text;
  slots private.slot[];
  one private.slot;
  found record;
begin
  select known.name into zone from public.time_zones as known where known.name = wanted.time_zone;
  if zone is null and wanted.time_zone is not null then
    issues := issues || private.issue('time_zone', 'must be a known IANA time zone, like America/Los_Angeles');
  end if;

  if wanted.occurrences is null then
    one := row(
      gen_random_uuid(), 0, gen_random_uuid(), wanted.client_id, wanted.group_id, wanted.session_id, wanted.start_time::timestamptz,
      wanted.end_time::timestamptz, zone, wanted.start_time::timestamptz at time zone zone, '{[0,2147483647)}', null,
      null
    );
    slots := array[one];
    issues := issues || coalesce(private.window_issues(
      one, false, wanted.start_time_offset_minutes, wanted.end_time_offset_minutes, as_of), '[]');
  else
    found := private.series_slots(wanted, zone, as_of);
    slots := found.slots;
    issues := issues || coalesce(found.issues, private.overlap_issues(
      slots, coalesce(wanted.buffer_before_minutes, 0) + coalesce(wanted.buffer_after_minutes, 0)));
  end if;
  if issues <> '[]' then
    perform private.raise_invalid(jsonb_path_query_array(issues, '$[0 to 49]'));
  end if;

  if cardinality(wanted.client_ids) > 1 then
    slots := array(
      select row(
        gen_random_uuid(), slot.occurrence_index, slot.hold_key, member.id, slot.group_id, slot.session_id,
        slot.start_time, slot.end_time, slot.time_zone, slot.civil_start, slot.lanes, null, null
      )::private.slot
      from (
        select
          place.occurrence_index, place.hold_key, gen_random_uuid() as group_id, place.session_id,
          place.start_time, place.end_time, place.time_zone, place.civil_start, place.lanes
        from unnest(slots) as place
        -- One group for all clients of an occurrence.
        offset 0
      ) as slot
      cross join unnest(wanted.client_ids) with ordinality as member (id, position)
      order by slot.occurrence_index, member.position
    );
  end if;
  return slots;
end
$$;
comment on function private.slots_of(private.hold_request, timestamptz) is
  'What a hold asks for: one slot for each occurrence and client, in request order, all lanes; a new group for each '
  'occurrence when there are several clients. PT400 names everything that is wrong, at most 50 issues. as_of is the clock, '
  'read after the idempotency look-up.';

-- sessions-confirm ------------------------------------------------------------------------------------------------------

create type private.listing as (
  occurrence_index smallint,
  hold_key uuid,
  therapist_id uuid,
  client_id uuid,
  start_time timestamptz,
  end_time timestamptz,
  time_zone text,
  session_id uuid,
  session_type text,
  location_type text,
  cpt_code text,
  cpt_modifiers text[]
);
comment on type private.listing is 'One occurrence as sessions-confirm describes it.';

create function private.listing_issues(
  path text, place private.confirm_occurrence, zone text, needs_zone boolean, out issues jsonb, out code text
)
language plpgsql
stable
set search_path = ''
as $$
declare
  session constant private.session_request := place.session;
begin
  issues := '[]';
  if place.session is not distinct from null then
    issues := private.issue(path || 'session', 'is required');
  else
    issues := case when session.therapist_id is null
        then private.issue(path || 'session.therapist_id', 'is required') else '[]' end
      || case when session.client_id is null then private.issue(path || 'session.client_id', 'is required') else '[]' end
      || case when session.start_time is null then private.issue(path || 'session.start_time', 'is required') else '[]' end
      || case when session.end_time is null then private.issue(path || 'session.end_time', 'is required') else '[]' end;
  end if;
  if place.hold_key is null then
    issues := private.issue(path || 'hold_key', 'is required') || issues;
  end if;
  if place.cpt is distinct from null and (place.cpt).code is null then
    issues := issues || private.issue(path || 'cpt.code', 'is required');
  end if;
  if needs_zone and place.time_zone is null then
    issues := issues || private.issue(path || 'time_zone', 'is required');
  end if;
  if issues <> '[]' then
    code := 'MISSING_FIELDS';
  end if;
  if place.time_zone is not null and zone is null then
    issues := issues || private.issue(path || 'time_zone', 'must be a known IANA time zone, like America/Los_Angeles');
  end if;
  if session.end_time::timestamptz <= session.start_time::timestamptz then
    issues := issues || private.issue(path || 'session.end_time', 'must be after start_time');
    code := coalesce(code, 'INVALID_RANGE');
  end if;
  if place.start_time_offset_minutes is not null
    and place.start_time_offset_minutes <> private.zone_offset(session.start_time::timestamptz, zone)
  then
    issues := issues
      || private.offset_issue(path || 'start_time_offset_minutes', session.start_time::timestamptz, zone);
  end if;
  if place.end_time_offset_minutes is not null
    and place.end_time_offset_minutes <> private.zone_offset(session.end_time::timestamptz, zone)
  then
    issues := issues || private.offset_issue(path || 'end_time_offset_minutes', session.end_time::timestamptz, zone);
  end if;
end
$$;
comment on function private.listing_issues(text, private.confirm_occurrence, text, boolean) is
  'What is wrong with one occurrence of a confirmation, and the code of its 400. zone is its zone when it is known.';

create function private.modifiers_of(cpt private.cpt_request)
returns text[]
language plpgsql
immutable
set search_path = ''
as $$
begin
  return case when cpt.modifiers is not null then array(
    select upper(private.tidy(modifier.value))
    from unnest(cpt.modifiers) with ordinality as modifier (value, position)
    group by 1
    order by min(modifier.position)
  ) end;
end
$$;
comment on function private.modifiers_of(private.cpt_request) is
  'The modifiers in upper case and in order, each once; null when they are not given. An empty list: none are wanted.';

create function private.listing_at(
  occurrence_index integer, hold_key uuid, session private.session_request, cpt private.cpt_request, zone text
)
returns private.listing
language plpgsql
stable
set search_path = ''
as $$
declare
  listing private.listing;
begin
  listing.occurrence_index := occurrence_index;
  listing.hold_key := hold_key;
  listing.therapist_id := session.therapist_id;
  listing.client_id := session.client_id;
  listing.start_time := session.start_time::timestamptz;
  listing.end_time := session.end_time::timestamptz;
  listing.time_zone := zone;
  listing.session_id := session.id;
  if session.session_type is not null then
    listing.session_type := private.tidy(session.session_type);
  end if;
  if session.location_type is not null then
    listing.location_type := private.tidy(session.location_type);
  end if;
  if cpt.code is not null then
    listing.cpt_code := upper(private.tidy(cpt.code));
    listing.cpt_modifiers := private.modifiers_of(cpt);
  end if;
  return listing;
end
$$;
comment on function private.listing_at(integer, uuid, private.session_request, private.cpt_request, text) is
  'One occurrence of a confirmation as it is compared with what was held.';

create function private.listed_of(wanted private.confirm_request)
returns private.listing[]
language plpgsql
stable
set search_path = ''
as $$
declare
  zone text;
  top constant private.confirm_occurrence := row(
    wanted.hold_key, wanted.session, wanted.cpt, wanted.start_time_offset_minutes, wanted.end_time_offset_minutes,
    wanted.time_zone, null
  );
  listed private.listing[];
  codes text[];
  wrong jsonb;
  found record;
begin
  select known.name into zone from public.time_zones as known where known.name = wanted.time_zone;
  found := private.listing_issues('', top, zone, true);
  wrong := found.issues;
  codes := array[found.code];
  if wanted.occurrences is null then
    listed := array[private.listing_at(0, wanted.hold_key, wanted.session, wanted.cpt, zone)];
  else
    select
      array_agg(private.listing_at(
        (place.position - 1)::integer, place.hold_key, place.session,
        case when place.cpt is distinct from null then place.cpt else wanted.cpt end, coalesce(known.name, zone)
      ) order by place.position),
      wrong || jsonb_path_query_array(jsonb_agg(of.issues order by place.position), '$[*][*]'),
      codes || array_agg(of.code)
    into listed, wrong, codes
    from unnest(wanted.occurrences) with ordinality
      as place (hold_key, session, cpt, start_offset, end_offset, time_zone, notes, position)
    left join public.time_zones as known on known.name = place.time_zone
    cross join lateral private.listing_issues(
      format('occurrences.%s.', place.position - 1),
      row(place.hold_key, place.session, place.cpt, place.start_offset, place.end_offset, place.time_zone, null),
      case when place.time_zone is null then zone else known.name end, false
    ) as of;
  end if;
  if wrong <> '[]' then
    perform private.raise_invalid(jsonb_path_query_array(wrong, '$[0 to 49]'), case
      when 'MISSING_FIELDS' = any (codes) then 'MISSING_FIELDS'
      when 'INVALID_RANGE' = any (codes) then 'INVALID_RANGE'
      else 'VALIDATION_FAILED'
    end);
  end if;
  return listed;
end
$$;
comment on function private.listed_of(private.confirm_request) is
  'What a confirmation lists: its occurrences in request order, or the one session at the top; a service named at the top '
  'counts for those that name none. PT400 with code MISSING_FIELDS, INVALID_RANGE or VALIDATION_FAILED names everything '
  'that is wrong, at most 50 issues. Looks at no clock.';

-- sessions-cancel -------------------------------------------------------------------------------------------------------

create function private.read_cancel_request(request jsonb)
returns private.cancel_request
language plpgsql
stable
set search_path = ''
as $$
declare
  wanted private.cancel_request :=
    private.read_request(request, null::private.cancel_request, private.mistyped_cancel_request());
  by_days constant boolean := wanted.date is not null or wanted.from_date is not null or wanted.to_date is not null;
  issues jsonb := '[]';
begin
  if wanted.session_ids is null and wanted.series_id is null and not by_days then
    issues := issues || private.issue('session_ids', 'is required: give session_ids, series_id, date, or from_date and to_date');
  end if;
  if wanted."from" is not null and wanted.series_id is null then
    issues := issues || private.issue('from', 'goes with series_id');
  end if;
  if wanted.date is not null and (wanted.from_date is not null or wanted.to_date is not null) then
    issues := issues || private.issue('date', 'must not accompany from_date and to_date');
  end if;
  if (wanted.from_date is null) <> (wanted.to_date is null) then
    issues := issues || private.issue(
      case when wanted.from_date is null then 'from_date' else 'to_date' end, 'is required: from_date and to_date go together');
  elsif wanted.to_date::date < wanted.from_date::date then
    issues := issues || private.issue('to_date', 'must not be before from_date');
  elsif wanted.to_date::date - wanted.from_date::date > 366 then
    issues := issues || private.issue('to_date', 'must be at most 366 days after from_date');
  end if;
  if by_days and wanted.time_zone is null then
    issues := issues || private.issue('time_zone', 'is required with date, and with from_date and to_date');
  elsif wanted.time_zone is not null
    and not exists (select from public.time_zones as known where known.name = wanted.time_zone)
  then
    issues := issues || private.issue('time_zone', 'must be a known IANA time zone, like America/Los_Angeles');
  end if;
  if wanted.all_therapists and wanted.therapist_id is not null then
    issues := issues || private.issue('all_therapists', 'must not be true when therapist_id names one therapist');
  end if;
  if issues <> '[]' then
    perform private.raise_invalid(issues);
  end if;

  wanted.all_therapists := coalesce(wanted.all_therapists, false);
  wanted.cancellation_attribution := coalesce(wanted.cancellation_attribution, 'unknown');
  if wanted.reason is not null then
    wanted.reason := private.tidy(wanted.reason);
  end if;
  if wanted.session_ids is not null then
    wanted.session_ids := array(select distinct named.id from unnest(wanted.session_ids) as named (id) order by named.id);
  end if;
  return wanted;
end
$$;
comment on function private.read_cancel_request(jsonb) is
  'Reads the body of sessions-cancel that names sessions, each id once; attribution unknown and all_therapists false when '
  'they are left out. PT400 names every field that is wrong.';

-- === schemas/payers/ledger.sql ===

-- Purpose: what bookings ask of authorizations, get, keep and give back.
-- Objects: quote_units (the one computation), shortages_of, warnings of units; enter, schedule, move, use, give back;
--          settle_units for direct writes; recount_units when an authorization or a coverage changes.
-- Watch for: everything here runs behind the client's lock, or alone in the organization. A quote is made once for a
--            request, and its entries are written from it. authorizations.booked_units moves with every entry that is
--            not a hold's.

create type private.service as (
  owner_id uuid,
  occurrence_index integer,
  client_id uuid,
  cpt_code text,
  start_time timestamptz,
  end_time timestamptz,
  replaces_id uuid,
  total_units integer
);
comment on type private.service is
  'One service of one client. replaces_id: the session a hold moves; total_units: when known better than by the times.';

create type private.quote as (
  owner_id uuid,
  occurrence_index integer,
  client_id uuid,
  cpt_code text,
  service_date date,
  authorization_id uuid,
  approved_units integer,
  left_units integer,
  total_units integer,
  needed_units integer,
  granted_units integer,
  shortage text,
  rounding public.unit_rounding,
  max_daily_units integer,
  replaces_id uuid
);
comment on type private.quote is
  'What a service takes (total), asks of its authorization (needed: less by what a moved session has already) and gets. '
  'left_units: of the authorization, before the request. shortage: which limit it meets, null when it gets all it needs.';

create type private.moved_session as (hold_id uuid, session_id uuid);
comment on type private.moved_session is 'A session, and the hold that moves it.';

create function private.quote_units(organization_id uuid, services private.service[], as_of timestamptz)
returns private.quote[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return array(
    with asked as (
      select service.owner_id, service.occurrence_index, service.client_id, service.cpt_code, service.start_time,
        service.replaces_id, day.date, payer.id as payer_id, rule.rounding, rule.max_daily_units, rule.authorization_required,
        rule.is_covered,
        coalesce(service.total_units, private.billable_units(
          floor(extract(epoch from service.end_time - service.start_time) / 60), rule.rounding
        )) as total_units
      from unnest(services) as service
      cross join lateral (
        select from public.clients as known
        where known.organization_id = quote_units.organization_id and known.id = service.client_id and known.has_payer
        offset 0
      ) as client
      cross join lateral (
        select private.service_date(quote_units.organization_id, service.client_id, service.start_time) as date
      ) as day
      cross join lateral (
        select private.primary_payer(quote_units.organization_id, service.client_id, day.date) as id
      ) as payer
      cross join lateral private.payer_rule(quote_units.organization_id, payer.id, service.cpt_code, day.date) as rule
    ),
    -- Subselects and limits, not joins: each is one look into an index, whatever the planner believes of the array's length.
    found as (
      select asked.*, approval.id as authorization_id, approval.approved_units,
        approval.approved_units - approval.booked_units - (
          select coalesce(sum(held.units), 0)
          from public.authorization_units as held
          where held.organization_id = quote_units.organization_id and held.authorization_id = approval.id
            and held.state = 'held' and held.expires_at > as_of
        ) as left_units,
        asked.total_units - coalesce((
          select least(replaced.units, asked.total_units)
          from (
            -- By its key alone: nothing here may lead into the authorization's whole ledger.
            select entry.units, entry.authorization_id
            from public.authorization_units as entry
            where entry.organization_id = quote_units.organization_id and entry.owner_id = asked.replaces_id
            offset 0
          ) as replaced
          where replaced.authorization_id = approval.id
        ), 0) as needed_units,
        case
          when asked.payer_id is null and exists (
            select from public.client_coverages as ever
            where ever.organization_id = quote_units.organization_id and ever.client_id = asked.client_id
          ) then 'coverage'
          when not asked.is_covered then 'coverage'
          when approval.id is null and (asked.authorization_required or exists (
            select from public.authorizations as any_date
            where any_date.organization_id = quote_units.organization_id and any_date.client_id = asked.client_id
              and any_date.cpt_code = asked.cpt_code
          )) then 'dates'
        end as shortage
      from asked
      left join lateral (
        select candidate.id, candidate.approved_units, candidate.booked_units
        from public.authorizations as candidate
        where candidate.organization_id = quote_units.organization_id
          and candidate.client_id = asked.client_id
          and candidate.cpt_code = asked.cpt_code
          and asked.date between candidate.starts_on and candidate.ends_on
          -- Of a payer who covers that date; of a client nobody ever covered, whatever was authorized.
          and (candidate.payer_id = asked.payer_id or exists (
            select from public.client_coverages as coverage
            where coverage.organization_id = quote_units.organization_id and coverage.client_id = asked.client_id
              and coverage.payer_id = candidate.payer_id
              and asked.date between coverage.valid_from and coalesce(coverage.valid_to, 'infinity')
          ) or not exists (
            select from public.client_coverages as ever
            where ever.organization_id = quote_units.organization_id and ever.client_id = asked.client_id
          ))
        order by candidate.ends_on, candidate.id
        limit 1
      ) as approval on true
    ),
    granted as (
      select found.*, case when found.authorization_id is null or found.shortage = 'coverage' then 0 else greatest(0, least(
        found.needed_units,
        found.left_units - coalesce(sum(found.needed_units) over (
          partition by found.authorization_id order by found.start_time, found.owner_id
          rows between unbounded preceding and 1 preceding
        ), 0)
      )) end::integer as granted_units
      from found
    )
    select row(
      granted.owner_id, granted.occurrence_index, granted.client_id, granted.cpt_code, granted.date,
      granted.authorization_id, granted.approved_units, granted.left_units, granted.total_units,
      case when granted.authorization_id is null and granted.shortage is null then 0 else granted.needed_units end,
      granted.granted_units,
      coalesce(granted.shortage, case
        when granted.authorization_id is not null and granted.granted_units < granted.needed_units then 'total'
      end),
      granted.rounding, granted.max_daily_units, granted.replaces_id
    )::private.quote
    from granted
    order by granted.start_time, granted.owner_id
  );
end
$$;
comment on function private.quote_units(uuid, private.service[], timestamptz) is
  'What these services ask of their clients'' authorizations and would get now, earliest first: one row for each service '
  'of a client who ever had a payer. An authorization counts when its payer covers the client on the date of service; '
  'of several the one that ends first. A code that the payer of that day does not pay for is not covered. Booked units stand on the authorization; only live holds are summed. Services '
  'without a limit need and get 0.';

create function private.shortages_of(quotes private.quote[])
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
begin
  return (
    select jsonb_agg(
      jsonb_build_object(
        'occurrenceIndex', quote.occurrence_index, 'clientId', quote.client_id, 'cptCode', quote.cpt_code,
        'date', quote.service_date, 'limit', quote.shortage, 'neededUnits', quote.needed_units,
        'leftUnits', quote.granted_units
      )
      order by quote.occurrence_index, quote.client_id
    )
    from unnest(quotes) as quote
    where quote.shortage is not null
  );
end
$$;
comment on function private.shortages_of(private.quote[]) is
  'The shortages[] of AUTHORIZATION_EXCEEDED, null when every service gets what it needs. leftUnits: what is left for it '
  'after the earlier occurrences.';

create function private.unit_warnings(organization_id uuid, quotes private.quote[], as_of timestamptz)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return coalesce((
    select jsonb_agg(
      jsonb_build_object(
        'code', 'AUTHORIZATION_NEARLY_USED', 'authorizationId', balance.authorization_id, 'cptCode', balance.cpt_code,
        'approvedUnits', balance.approved_units, 'leftUnits', balance.left_units
      )
      order by balance.first_date, balance.authorization_id
    )
    from (
      select quote.authorization_id, min(quote.cpt_code) as cpt_code, min(quote.approved_units) as approved_units,
        min(quote.left_units) - sum(quote.granted_units) as left_units, min(quote.service_date) as first_date
      from unnest(quotes) as quote
      where quote.authorization_id is not null
      group by quote.authorization_id
    ) as balance
    where balance.left_units <= 0.1 * balance.approved_units
  ), '[]') || case
    when exists (select from unnest(quotes) as quote where quote.max_daily_units is not null)
      then private.daily_limit_warnings(organization_id, quotes, as_of)
    else '[]'
  end;
end
$$;
comment on function private.unit_warnings(uuid, private.quote[], timestamptz) is
  'One warning for each authorization that is 90 % or more taken with these services, and for each client, day and code '
  'beyond a payer''s daily limit. Limits of a day warn, they do not block.';

create function private.daily_limit_warnings(organization_id uuid, quotes private.quote[], as_of timestamptz)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return coalesce((
    select jsonb_agg(
      jsonb_build_object(
        'code', 'DAILY_LIMIT_EXCEEDED', 'cptCode', given.cpt_code, 'date', given.service_date,
        'units', given.units, 'maxDailyUnits', given.max_daily_units
      )
      order by given.service_date, given.client_id
    )
    from (
      select asked.*, asked.asked_units + private.units_of_day(
        daily_limit_warnings.organization_id, asked.client_id, asked.cpt_code, asked.service_date, asked.rounding,
        asked.own_ids, as_of
      ) as units
      from (
        select quote.client_id, quote.cpt_code, quote.service_date, min(quote.max_daily_units) as max_daily_units,
          min(quote.rounding) as rounding, sum(quote.total_units)::integer as asked_units,
          array_agg(quote.owner_id) || array_remove(array_agg(quote.replaces_id), null) as own_ids
        from unnest(quotes) as quote
        where quote.max_daily_units is not null
        group by quote.client_id, quote.cpt_code, quote.service_date
      ) as asked
    ) as given
    where given.units > given.max_daily_units
  ), '[]');
end
$$;
comment on function private.daily_limit_warnings(uuid, private.quote[], timestamptz) is
  'One warning for each client, day and code of these services that would exceed the payer''s daily limit.';

create function private.has_payer(organization_id uuid, client_ids uuid[])
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  return exists (
    select from public.clients as client
    where client.organization_id = has_payer.organization_id and client.id = any (client_ids) and client.has_payer
  );
end
$$;
comment on function private.has_payer(uuid, uuid[]) is
  'Whether any of these clients ever had a coverage or an authorization: without, no units are counted.';

create function private.units_of_day(
  organization_id uuid,
  client_id uuid,
  cpt_code text,
  service_date date,
  rounding public.unit_rounding,
  except_ids uuid[],
  as_of timestamptz
)
returns integer
language plpgsql
stable
set search_path = ''
as $$
declare
  zone constant text := private.service_zone(organization_id, client_id);
  day constant tstzrange := tstzrange(private.start_of_day(service_date, zone), private.start_of_day(service_date + 1, zone), '[)');
begin
  return (
    select coalesce(sum(private.billable_units(
      floor(extract(epoch from booked.end_time - booked.start_time) / 60), units_of_day.rounding
    )), 0)
    from (
      select session.start_time, session.end_time
      from public.sessions as session
      where session.organization_id = units_of_day.organization_id
        and session.client_id = units_of_day.client_id
        and session.start_time >= lower(day) and session.start_time < upper(day)
        and session.status not in ('cancelled', 'no_show')
        and private.billed_code(
          units_of_day.organization_id, session.cpt_code, session.session_type, units_of_day.service_date
        ) = units_of_day.cpt_code
        and session.id <> all (except_ids)
      union all
      select hold.start_time, hold.end_time
      from public.session_holds as hold
      join public.hold_batches as batch on batch.organization_id = hold.organization_id and batch.id = hold.batch_id
      where hold.organization_id = units_of_day.organization_id
        and hold.client_id = units_of_day.client_id
        and hold.start_time >= lower(day) and hold.start_time < upper(day)
        and hold.status = 'held' and batch.expires_at > as_of and hold.session_id is null
        and private.service_code(
          units_of_day.organization_id, batch.cpt_code, batch.session_type, units_of_day.service_date
        ) = units_of_day.cpt_code
        and hold.id <> all (except_ids)
    ) as booked
  );
end
$$;
comment on function private.units_of_day(uuid, uuid, text, date, public.unit_rounding, uuid[], timestamptz) is
  'Units of a code that a client has on a local day, live holds counted, apart from those in except_ids.';

-- The ledger -------------------------------------------------------------------------------------------------------

create function private.add_booked_units(organization_id uuid, entries public.authorization_units[], factor integer)
returns void
language plpgsql
set search_path = ''
as $$
begin
  update public.authorizations as approval
  set booked_units = approval.booked_units + factor * changed.units
  from (
    select entry.authorization_id as id, sum(entry.units) as units
    from unnest(entries) as entry
    where entry.state <> 'held' and entry.units > 0
    group by entry.authorization_id
  ) as changed
  where approval.organization_id = add_booked_units.organization_id and approval.id = changed.id;
end
$$;
comment on function private.add_booked_units(uuid, public.authorization_units[], integer) is
  'Adds (factor 1) or takes away (-1) the units of these entries, those of holds excepted, from their authorizations.';

create function private.enter_units(
  organization_id uuid,
  quotes private.quote[],
  state public.unit_state,
  expires_at timestamptz default null
)
returns void
language plpgsql
set search_path = ''
as $$
declare
  entries public.authorization_units[];
begin
  entries := array(
    select row(
      enter_units.organization_id, quote.owner_id, quote.client_id, quote.cpt_code, quote.service_date,
      quote.authorization_id, quote.total_units, quote.granted_units, enter_units.state, enter_units.expires_at
    )::public.authorization_units
    from unnest(quotes) as quote
    where quote.authorization_id is not null or quote.shortage is not null
  );
  if entries <> '{}' then
    insert into public.authorization_units select entry.* from unnest(entries) as entry;
    if state <> 'held' then
      perform private.add_booked_units(organization_id, entries, 1);
    end if;
  end if;
end
$$;
comment on function private.enter_units(uuid, private.quote[], public.unit_state, timestamptz) is
  'Enters what these services were granted; what goes beyond, by an override, is in total_units only.';

create function private.give_back_units(organization_id uuid, owner_ids uuid[])
returns public.authorization_units[]
language plpgsql
set search_path = ''
as $$
declare
  entries public.authorization_units[];
begin
  with gone as (
    delete from public.authorization_units as entry
    using (select distinct named.id from unnest(owner_ids) as named (id)) as owner
    cross join lateral (
      select known.ctid from public.authorization_units as known
      where known.organization_id = give_back_units.organization_id and known.owner_id = owner.id offset 0
    ) as found
    where entry.ctid = found.ctid
    returning entry.*
  )
  select array_agg(row(gone.*)::public.authorization_units) into entries from gone;
  if entries is not null then
    perform private.add_booked_units(organization_id, entries, -1);
  end if;
  return coalesce(entries, '{}');
end
$$;
comment on function private.give_back_units(uuid, uuid[]) is
  'Deletes the entries of these sessions and holds, and returns them; the audit keeps what was.';

create function private.schedule_units(organization_id uuid, hold_ids uuid[])
returns void
language plpgsql
set search_path = ''
as $$
declare
  entries public.authorization_units[];
begin
  with taken as (
    update public.authorization_units as entry
    set state = 'scheduled', expires_at = null
    from (select distinct named.id from unnest(hold_ids) as named (id)) as owner
    cross join lateral (
      select known.ctid from public.authorization_units as known
      where known.organization_id = schedule_units.organization_id and known.owner_id = owner.id offset 0
    ) as found
    where entry.ctid = found.ctid and entry.state = 'held'
    returning entry.*
  )
  select array_agg(row(taken.*)::public.authorization_units) into entries from taken;
  if entries is not null then
    perform private.add_booked_units(organization_id, entries, 1);
  end if;
end
$$;
comment on function private.schedule_units(uuid, uuid[]) is 'What these holds held, their sessions have scheduled.';

create function private.move_units(organization_id uuid, moved private.moved_session[])
returns void
language plpgsql
set search_path = ''
as $$
declare
  before public.authorization_units[];
  held public.authorization_units[];
begin
  -- What the hold took in addition, and what the session had: together they are what the session has now.
  with gone as (
    delete from public.authorization_units as entry
    using unnest(moved) as one
    cross join lateral (values (one.hold_id), (one.session_id)) as owner (id)
    cross join lateral (
      select known.ctid from public.authorization_units as known
      where known.organization_id = move_units.organization_id and known.owner_id = owner.id offset 0
    ) as found
    where entry.ctid = found.ctid
    returning entry.*
  )
  select
    array_agg(row(gone.*)::public.authorization_units) filter (where gone.state <> 'held'),
    array_agg(row(gone.*)::public.authorization_units) filter (where gone.state = 'held')
  into before, held
  from gone;
  if before is not null then
    perform private.add_booked_units(organization_id, before, -1);
  end if;
  if held is null then
    return;
  end if;
  held := array(
    select row(
      entry.organization_id, one.session_id, entry.client_id, entry.cpt_code, entry.service_date, entry.authorization_id,
      entry.total_units,
      entry.units + case when former.authorization_id = entry.authorization_id
        then least(former.units, entry.total_units) else 0 end,
      'scheduled', null
    )::public.authorization_units
    from unnest(held) as entry
    join unnest(moved) as one on one.hold_id = entry.owner_id
    left join unnest(before) as former on former.owner_id = one.session_id
  );
  insert into public.authorization_units select entry.* from unnest(held) as entry;
  perform private.add_booked_units(organization_id, held, 1);
end
$$;
comment on function private.move_units(uuid, private.moved_session[]) is
  'The units of sessions that a hold moves: what the hold took for them, in addition to what they had.';

create function private.use_units(organization_id uuid, session_id uuid, used_units integer)
returns void
language plpgsql
set search_path = ''
as $$
declare
  entry public.authorization_units;
  left_units integer;
begin
  select known.* into entry
  from public.authorization_units as known
  where known.organization_id = use_units.organization_id and known.owner_id = use_units.session_id;
  if not found then
    return;
  end if;
  perform private.give_back_units(organization_id, array[session_id]);
  -- What was rendered beyond what is left is entered as beyond it: it happened.
  select approval.approved_units - approval.booked_units - coalesce((
    select sum(held.units) from public.authorization_units as held
    where held.organization_id = approval.organization_id and held.authorization_id = approval.id
      and held.state = 'held' and held.expires_at > clock_timestamp()
  ), 0) into left_units
  from public.authorizations as approval
  where approval.organization_id = use_units.organization_id and approval.id = entry.authorization_id;
  entry.total_units := used_units;
  entry.units := case when entry.authorization_id is null then 0 else greatest(0, least(used_units, left_units)) end;
  entry.state := 'used';
  entry.expires_at := null;
  insert into public.authorization_units values (entry.*);
  perform private.add_booked_units(organization_id, array[entry], 1);
end
$$;
comment on function private.use_units(uuid, uuid, integer) is
  'A completed session uses the units of its actual minutes: fewer give the rest back, more take what is left.';

create function private.use_units_of_day(completed public.sessions)
returns integer
language plpgsql
set search_path = ''
as $$
declare
  day record;
  taken integer;
begin
  -- Where a payer rounds by the day, a completed visit may change the units of the others. Those that give back come first,
  -- so that those that take find what is left.
  for day in
    select visit.session_id, visit.units
    from private.visit_units(
      completed.organization_id, completed.client_id,
      private.service_date(completed.organization_id, completed.client_id, completed.start_time)
    ) as visit
    left join public.authorization_units as entry
      on entry.organization_id = completed.organization_id and entry.owner_id = visit.session_id
    left join public.session_visits as recorded
      on recorded.organization_id = completed.organization_id and recorded.session_id = visit.session_id
    where visit.session_id = completed.id or visit.units <> entry.total_units or visit.units <> recorded.units
    order by visit.units - entry.total_units, visit.session_id
  loop
    update public.session_visits as visit
    set units = day.units
    where visit.organization_id = completed.organization_id and visit.session_id = day.session_id
      and visit.units <> day.units;
    perform private.use_units(completed.organization_id, day.session_id, day.units);
    if day.session_id = completed.id then
      taken := day.units;
    end if;
  end loop;
  return taken;
end
$$;
comment on function private.use_units_of_day(public.sessions) is
  'A session that has just been completed uses its units, and the client''s other completed visits of that day have theirs '
  'corrected, as reports.units_by_code_and_payer counts them. Returns the session''s own.';

-- When rows change under the ledger ----------------------------------------------------------------------------------

create function private.services_of_sessions(organization_id uuid, session_ids uuid[])
returns private.service[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return array(
    select row(
      session.id, 0, session.client_id,
      private.billed_code_at(
        session.organization_id, session.client_id, session.cpt_code, session.session_type, session.start_time
      ),
      session.start_time, session.end_time, null, visit.units
    )::private.service
    from unnest(session_ids) as named (id)
    cross join lateral (
      select known.* from public.sessions as known
      where known.organization_id = services_of_sessions.organization_id and known.id = named.id offset 0
    ) as session
    left join public.session_visits as visit
      on visit.organization_id = session.organization_id and visit.session_id = session.id
      and session.status = 'completed'
    where session.status not in ('cancelled', 'no_show')
  );
end
$$;
comment on function private.services_of_sessions(uuid, uuid[]) is
  'What these sessions take: by their times, or, once completed, by what was rendered.';

create function private.services_of_holds(organization_id uuid, hold_ids uuid[])
returns private.service[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return array(
    select row(
      hold.id, hold.occurrence_index, hold.client_id,
      private.billed_code_at(
        hold.organization_id, hold.client_id, coalesce(batch.cpt_code, moved.cpt_code),
        coalesce(batch.session_type, moved.session_type), hold.start_time
      ),
      hold.start_time, hold.end_time, hold.session_id, null
    )::private.service
    from unnest(hold_ids) as named (id)
    join public.session_holds as hold
      on hold.organization_id = services_of_holds.organization_id and hold.id = named.id
    join public.hold_batches as batch on batch.organization_id = hold.organization_id and batch.id = hold.batch_id
    left join public.sessions as moved
      on moved.organization_id = hold.organization_id and moved.id = hold.session_id
    where hold.status = 'held' and batch.expires_at > clock_timestamp()
      -- A hold that names no service takes its units when it is confirmed; a move whose session has begun cannot confirm.
      and (moved.status = 'scheduled' or hold.session_id is null
        and (batch.cpt_code is not null or batch.session_type is not null))
  );
end
$$;
comment on function private.services_of_holds(uuid, uuid[]) is 'What these live holds take.';

create function private.enter_sessions(organization_id uuid, quotes private.quote[])
returns void
language plpgsql
set search_path = ''
as $$
begin
  perform private.enter_units(enter_sessions.organization_id, array_agg(quote order by quote.owner_id), entry.state)
  from unnest(quotes) as quote
  join public.sessions as session
    on session.organization_id = enter_sessions.organization_id and session.id = quote.owner_id
  cross join lateral (
    select case session.status when 'completed' then 'used' else 'scheduled' end::public.unit_state as state
  ) as entry
  group by entry.state;
end
$$;
comment on function private.enter_sessions(uuid, private.quote[]) is
  'Enters what sessions take: used once completed, else scheduled.';

create function private.enter_holds_anew(organization_id uuid, hold_ids uuid[])
returns void
language plpgsql
set search_path = ''
as $$
declare
  quotes private.quote[];
begin
  quotes := private.quote_units(
    organization_id, private.services_of_holds(organization_id, hold_ids), clock_timestamp()
  );
  perform private.enter_units(enter_holds_anew.organization_id, array_agg(quote), 'held', batch.expires_at)
  from unnest(quotes) as quote
  join public.session_holds as hold
    on hold.organization_id = enter_holds_anew.organization_id and hold.id = quote.owner_id
  join public.hold_batches as batch on batch.organization_id = hold.organization_id and batch.id = hold.batch_id
  group by batch.id, batch.expires_at;
end
$$;
comment on function private.enter_holds_anew(uuid, uuid[]) is
  'Enters what these live holds take, after what they depend on has changed: as much of it as is left.';

create function private.settle_units(organization_id uuid, session_ids uuid[])
returns void
language plpgsql
security definer
set search_path = ''
as $$
declare
  move_ids uuid[];
  former public.authorization_units[];
  quotes private.quote[];
begin
  -- Without a payer no units are counted: most statements end here.
  if not exists (
    select from unnest(session_ids) as named (id)
    cross join lateral (
      select known.client_id from public.sessions as known
      where known.organization_id = settle_units.organization_id and known.id = named.id offset 0
    ) as session
    cross join lateral (
      select known.has_payer from public.clients as known
      where known.organization_id = settle_units.organization_id and known.id = session.client_id offset 0
    ) as client
    where client.has_payer
  ) then
    return;
  end if;
  -- What a live move takes is the difference to what its session has, and that is changing: both are counted anew.
  move_ids := array(
    select hold.id from public.session_holds as hold
    where hold.organization_id = settle_units.organization_id
      and hold.session_id = any (session_ids) and hold.status = 'held'
  );
  former := private.give_back_units(organization_id, session_ids || move_ids);
  quotes := private.quote_units(
    organization_id, private.services_of_sessions(organization_id, session_ids), clock_timestamp()
  );
  if private.shortages_of(array(
    select quote from unnest(quotes) as quote
    join public.sessions as session
      on session.organization_id = settle_units.organization_id and session.id = quote.owner_id
    -- What was rendered happened, whatever was authorized; and what an admin booked beyond it goes on as it was.
    where session.status <> 'completed' and not exists (
      select from unnest(former) as entry
      where (entry.owner_id, entry.cpt_code, entry.service_date, entry.total_units)
        = (quote.owner_id, quote.cpt_code, quote.service_date, quote.total_units)
    )
  )) is not null then
    raise exception using
      errcode = 'check_violation',
      constraint = 'authorization_exceeded',
      schema = 'public',
      table = 'authorization_units',
      message = 'the payer''s authorization has too few units left, or does not cover the date',
      hint = 'Book through sessions-hold, where an admin may override with a reason.';
  end if;
  perform private.enter_sessions(organization_id, quotes);
  if move_ids <> '{}' then
    perform private.enter_holds_anew(organization_id, move_ids);
  end if;
end
$$;
comment on function private.settle_units(uuid, uuid[]) is
  'Gives sessions that were written directly the units they take now, or raises check_violation (23514), which undoes the write.';

create function private.reenter_units(organization_id uuid, session_ids uuid[], hold_ids uuid[])
returns void
language plpgsql
set search_path = ''
as $$
begin
  perform private.give_back_units(organization_id, session_ids || hold_ids);
  perform private.enter_sessions(organization_id, private.quote_units(
    organization_id, private.services_of_sessions(organization_id, session_ids), clock_timestamp()
  ));
  perform private.enter_holds_anew(organization_id, hold_ids);
end
$$;
comment on function private.reenter_units(uuid, uuid[], uuid[]) is
  'Counts what these sessions take anew, earliest first, and live holds after them. What is not covered is entered as beyond it.';

create function private.recount_units(organization_id uuid, client_id uuid)
returns void
language plpgsql
security definer
set search_path = ''
as $$
declare
  session_ids uuid[];
  hold_ids uuid[];
begin
  session_ids := array(
    select session.id
    from public.sessions as session
    where session.organization_id = recount_units.organization_id
      and session.client_id = recount_units.client_id
      and session.status not in ('cancelled', 'no_show')
  );
  hold_ids := array(
    select hold.id from public.session_holds as hold
    where hold.organization_id = recount_units.organization_id
      and hold.client_id = recount_units.client_id
      and hold.status = 'held'
  );
  perform private.reenter_units(organization_id, session_ids, hold_ids);
end
$$;
comment on function private.recount_units(uuid, uuid) is
  'Counts what a client has booked anew, earliest first, and live holds after it, when an authorization or a coverage '
  'changed. What is not covered stays booked, or held, and is entered as beyond it.';

create function private.recount_after_change()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  former constant text := private.enter_booking();
begin
  update public.clients as client
  set has_payer = true
  where client.organization_id = new.organization_id and client.id = new.client_id and not client.has_payer;
  perform private.recount_units(new.organization_id, new.client_id);
  perform private.leave_booking(null, former);
  return null;
end
$$;
comment on function private.recount_after_change() is 'Trigger: a client''s units follow their authorizations and coverages.';

create function private.guard_authorization()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  if not private.take_row_organization(new.organization_id) then
    return new;
  end if;
  if tg_op = 'UPDATE' and (new.organization_id, new.id, new.client_id, new.cpt_code)
    is distinct from (old.organization_id, old.id, old.client_id, old.cpt_code)
  then
    raise exception using
      errcode = 'check_violation',
      message = 'organization_id, id, client_id and cpt_code of an authorization never change',
      hint = 'End this authorization and enter another.';
  end if;
  return new;
end
$$;
comment on function private.guard_authorization() is 'Trigger: an authorization changes with its organization to itself.';

create function private.guard_coverage()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  if not private.take_row_organization(new.organization_id) then
    return new;
  end if;
  return new;
end
$$;
comment on function private.guard_coverage() is 'Trigger: a coverage changes with its organization to itself.';

create trigger a_take_organization before insert or update on public.authorizations
  for each statement
  when (private.is_direct_write())
  execute function private.take_written_organization();
create trigger b_guard_authorization before insert or update of organization_id, id, client_id, cpt_code, payer_id,
  approved_units, starts_on, ends_on on public.authorizations
  for each row execute function private.guard_authorization();
create trigger c_recount after insert or update of approved_units, starts_on, ends_on, payer_id on public.authorizations
  for each row execute function private.recount_after_change();
create trigger a_take_organization before insert or update on public.client_coverages
  for each statement
  when (private.is_direct_write())
  execute function private.take_written_organization();
create trigger b_guard_coverage before insert or update on public.client_coverages
  for each row execute function private.guard_coverage();
create trigger c_recount after insert or update on public.client_coverages
  for each row execute function private.recount_after_change();

create trigger refuse_derived_write
  before insert or delete or update of organization_id, owner_id, client_id, cpt_code, service_date, authorization_id, total_units,
    units, state on public.authorization_units
  for each statement
  when (private.is_direct_write())
  execute function private.refuse_derived_write();
create trigger refuse_truncate before truncate on public.authorization_units
  for each statement execute function private.refuse_derived_write();

-- === schemas/payers/concurrency.sql ===

-- Purpose: bookings follow a change of payers' rules about services that may run at once.
-- Objects: relane_clients and the triggers that call it.
-- Watch for: a change is refused while bookings overlap that it would no longer allow: move or cancel those first, or let
--            the new version begin on a later day.

create function private.relane_clients(organization_id uuid, client_ids uuid[])
returns void
language plpgsql
security definer
set search_path = ''
as $$
declare
  former constant text := private.enter_booking();
  owner_ids uuid[];
begin
  with relaned as (
    update public.sessions as session
    set lanes = private.client_lanes(
      session.organization_id, session.client_id,
      private.service_code_at(
        session.organization_id, session.client_id, session.cpt_code, session.session_type, session.start_time
      ),
      session.start_time, session.end_time
    )
    where session.organization_id = relane_clients.organization_id
      and session.client_id = any (client_ids)
      and session.end_time > now()
      and session.status not in ('cancelled', 'no_show', 'completed')
      -- What an admin let run beside another service, with a reason, goes on as it was allowed.
      and not exists (
        select from public.session_holds as hold
        join public.hold_batches as batch on batch.organization_id = hold.organization_id and batch.id = hold.batch_id
        where hold.organization_id = session.organization_id and session.id in (hold.id, hold.session_id)
          and hold.status = 'confirmed' and private.overrides(batch, 'concurrency')
      )
    returning session.id
  ),
  held as (
    update public.session_holds as hold
    set lanes = private.client_lanes(
      hold.organization_id, hold.client_id,
      -- What is moved stays the service it is, unless the hold said otherwise.
      private.service_code_at(
        hold.organization_id, hold.client_id,
        coalesce(batch.cpt_code, (select moved.cpt_code from public.sessions as moved
          where moved.organization_id = hold.organization_id and moved.id = hold.session_id)),
        coalesce(batch.session_type, (select moved.session_type from public.sessions as moved
          where moved.organization_id = hold.organization_id and moved.id = hold.session_id)),
        hold.start_time
      ),
      hold.start_time, hold.end_time
    )
    from public.hold_batches as batch
    where hold.organization_id = relane_clients.organization_id
      and hold.client_id = any (client_ids)
      and hold.status = 'held'
      and batch.organization_id = hold.organization_id and batch.id = hold.batch_id
      and not private.overrides(batch, 'concurrency')
    returning hold.id, hold.batch_id
  )
  select array(select relaned.id from relaned union select held.id from held union select held.batch_id from held)
  into owner_ids;
  if not private.sync_claims(organization_id, owner_ids) then
    raise exception using
      errcode = 'restrict_violation',
      message = 'bookings of a client overlap that this change would no longer allow',
      hint = 'Move or cancel one of each pair first, or let the change begin on a later day.';
  end if;
  perform private.leave_booking(null, former);
end
$$;
comment on function private.relane_clients(uuid, uuid[]) is
  'Gives what these clients have ahead the lanes of today''s rules, or refuses with restrict_violation (23001).';

create function private.relane_after_coverage()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.relane_clients(new.organization_id, array[new.client_id]);
  return null;
end
$$;
comment on function private.relane_after_coverage() is 'Trigger: a client''s bookings follow their payers'' rules.';
create trigger b_relane after insert or update on public.client_coverages
  for each row execute function private.relane_after_coverage();

create function private.relane_after_rule()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.relane_clients(new.organization_id, array(
    select distinct coverage.client_id
    from public.client_coverages as coverage
    where coverage.organization_id = new.organization_id and coverage.payer_id = new.payer_id
  ));
  return null;
end
$$;
comment on function private.relane_after_rule() is 'Trigger: the bookings of a payer''s clients follow its rules.';
create trigger a_take_organization before insert or update on public.payer_concurrency_rules
  for each statement
  when (private.is_direct_write())
  execute function private.take_written_organization();
create trigger a_guard_rule before insert or update on public.payer_concurrency_rules
  for each row execute function private.guard_coverage();
create trigger b_relane after insert or update on public.payer_concurrency_rules
  for each row execute function private.relane_after_rule();

-- === schemas/booking/closures.sql ===

-- Purpose: days and hours on which a whole organization is closed.
-- Objects: organization_closures; add_closure, which says what a closure touches and may cancel it.
-- Watch for: what can be booked follows from these rows through private.outside_availability; nothing is copied.

create table public.organization_closures (
  organization_id uuid not null references public.organizations (id),
  id uuid not null default gen_random_uuid(),
  name text not null check (length(name) between 1 and 100 and name = btrim(name)),
  starts_at timestamptz not null check (starts_at >= '2000-01-01' and starts_at < '2100-01-01'),
  ends_at timestamptz not null check (ends_at > '2000-01-01' and ends_at <= '2100-01-01'),
  created_at timestamptz not null default now(),
  primary key (organization_id, id),
  check (ends_at > starts_at and ends_at - starts_at <= interval '400 days')
);
comment on table public.organization_closures is
  'A clinic is closed from starts_at until ends_at: nobody can be booked then, whatever their hours say.';
comment on column public.organization_closures.name is 'What staff call it, such as Winter break. No names of clients.';
create index organization_closures_ends_at_idx on public.organization_closures (organization_id, ends_at);

alter table public.organization_closures enable row level security;
create policy member_select on public.organization_closures for select to authenticated
  using (
    organization_id = (select private.active_organization_id()) and (select private.active_role()) is not null
  );
comment on policy member_select on public.organization_closures is
  'Every member reads when the organization is closed, families too.';
create policy member_select_insert on public.organization_closures for insert to authenticated
  with check (organization_id = (select private.active_organization_id()) and (select private.is_admin()));
comment on policy member_select_insert on public.organization_closures is 'Admins close the organization.';
create policy member_select_update on public.organization_closures for update to authenticated
  using (organization_id = (select private.active_organization_id()) and (select private.is_admin()))
  with check (organization_id = (select private.active_organization_id()) and (select private.is_admin()));
comment on policy member_select_update on public.organization_closures is 'Admins correct a closure.';
create policy member_select_delete on public.organization_closures for delete to authenticated
  using (organization_id = (select private.active_organization_id()) and (select private.is_admin()));
comment on policy member_select_delete on public.organization_closures is 'Admins withdraw a closure.';
grant select, insert (organization_id, id, name, starts_at, ends_at), update (name, starts_at, ends_at), delete
  on public.organization_closures to authenticated;
grant select, insert, update, delete on public.organization_closures to service_role;

-- Closing, and what it touches -------------------------------------------------------------------------------------

create type private.closing_request as (
  span tstzrange,
  cancels boolean,
  reason text
);
comment on type private.closing_request is 'A time nobody, or one therapist, is to be booked in, and what to do with sessions there.';

create function private.parse_closing(request jsonb, zone text)
returns private.closing_request
language plpgsql
stable
set search_path = ''
as $$
declare
  parsed private.closing_request;
  by_days boolean := coalesce(request -> 'from_date', 'null') <> 'null';
  date_form constant text := '^2[01]\d{2}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$';
  found jsonb;
begin
  if request is null or jsonb_typeof(request) <> 'object' then
    perform private.raise_invalid(private.issue('', 'must be a JSON object'));
  end if;
  found := coalesce(private.text_issue('from_date', request -> 'from_date', false, 10, date_form), '[]')
    || coalesce(private.text_issue('to_date', request -> 'to_date', false, 10, date_form), '[]')
    || coalesce(private.text_issue('reason', request -> 'reason', false, 500), '[]')
    || case
      when coalesce(jsonb_typeof(request -> 'cancel_sessions'), 'null') not in ('boolean', 'null')
        then private.issue('cancel_sessions', 'must be true or false')
      else '[]'
    end
    || case
      when by_days and coalesce(request -> 'start_time', request -> 'end_time', 'null') <> 'null'
        then private.issue('start_time', 'excludes from_date: name days or instants')
      when by_days then '[]'
      else coalesce(private.instant_issue('start_time', request -> 'start_time'), '[]')
        || coalesce(private.instant_issue('end_time', request -> 'end_time'), '[]')
    end;
  if found <> '[]' then
    perform private.raise_invalid(found);
  end if;

  if by_days then
    begin
      parsed.span := tstzrange(
        private.start_of_day((request ->> 'from_date')::date, zone),
        private.start_of_day(coalesce(request ->> 'to_date', request ->> 'from_date')::date + 1, zone), '[)'
      );
    exception
      when data_exception then
        perform private.raise_invalid(private.issue('to_date', 'must be a date that exists, and not before from_date'));
    end;
  elsif (request ->> 'end_time')::timestamptz > (request ->> 'start_time')::timestamptz then
    parsed.span := tstzrange((request ->> 'start_time')::timestamptz, (request ->> 'end_time')::timestamptz, '[)');
  else
    perform private.raise_invalid(private.issue('end_time', 'must be after start_time'));
  end if;
  if isempty(parsed.span) then
    perform private.raise_invalid(private.issue('to_date', 'must not be before from_date'));
  elsif not parsed.span <@ tstzrange('2000-01-01', '2100-01-01')
    or upper(parsed.span) - lower(parsed.span) > interval '400 days'
  then
    perform private.raise_invalid(private.issue(
      case when by_days then 'to_date' else 'end_time' end, 'must be at most 400 days later, and before the year 2100'
    ));
  end if;
  parsed.cancels := coalesce((request ->> 'cancel_sessions')::boolean, false);
  parsed.reason := private.trimmed(request ->> 'reason');
  return parsed;
end
$$;
comment on function private.parse_closing(jsonb, text) is
  'Reads a time to be closed: from_date and to_date, whole local days, the last included; or start_time and end_time, '
  'instants. cancel_sessions and reason say what becomes of the sessions there. Raises PT400.';

create function private.future_sessions(organization_id uuid, therapist_id uuid, span tstzrange)
returns uuid[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return array(
    select session.id
    from public.sessions as session
    where session.organization_id = future_sessions.organization_id
      and (future_sessions.therapist_id is null or session.therapist_id = future_sessions.therapist_id)
      -- No session is longer than 12 hours, so that the index on its start finds it.
      and session.start_time > greatest(lower(span) - interval '12 hours', clock_timestamp() - interval '12 hours')
      and session.start_time < upper(span)
      and session.end_time > greatest(lower(span), clock_timestamp())
      and session.status = 'scheduled'
    order by session.id
  );
end
$$;
comment on function private.future_sessions(uuid, uuid, tstzrange) is
  'The scheduled sessions, not over yet, that lie in a span at least in part: of one therapist, or with null of everybody.';

create function private.cancel_touched(session_ids uuid[], reason text, request_id text)
returns integer
language plpgsql
set search_path = ''
as $$
declare
  asked_ids uuid[];
  outcome jsonb;
  cancelled integer := 0;
begin
  -- A call takes a thousand ids.
  for asked_ids in
    select array_agg(asked.id order by asked.id)
    from unnest(session_ids) with ordinality as asked (id, position)
    group by (asked.position - 1) / 1000
    order by (asked.position - 1) / 1000
  loop
    outcome := private.cancel_sessions(
      jsonb_build_object('session_ids', asked_ids, 'reason', reason, 'cancellation_attribution', 'staff'), null, request_id
    );
    cancelled := cancelled + (outcome #>> '{body,summary,cancelledCount}')::integer;
  end loop;
  return cancelled;
end
$$;
comment on function private.cancel_touched(uuid[], text, text) is
  'Cancels what a closing touches, for the caller, by the clinic. Returns how many.';

create function private.add_closure(request jsonb, request_id text)
returns jsonb
language plpgsql
security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '5s'
as $$
#variable_conflict use_column
declare
  actor private.actor;
  wanted private.closing_request;
  found jsonb;
  new_id uuid := gen_random_uuid();
  touched_ids uuid[];
  cancelled integer := 0;
begin
  perform set_config('therapist_sessions.request_id', coalesce(left(request_id, 128), ''), true);
  actor := private.require_actor();
  if actor.role not in ('admin', 'super_admin') then
    return private.refusal(403, 'FORBIDDEN', 'Only an admin may close the organization.');
  end if;
  found := private.text_issue('name', request -> 'name', true, 100);
  if found is not null then
    perform private.raise_invalid(found);
  end if;
  wanted := private.parse_closing(request, (
    select organization.time_zone from public.organizations as organization where organization.id = actor.organization_id
  ));

  -- Alone, so that no booking is made meanwhile that this would not count.
  perform private.take_organization(actor.organization_id);
  insert into public.organization_closures (organization_id, id, name, starts_at, ends_at)
  values (
    actor.organization_id, new_id, private.trimmed(request ->> 'name'), lower(wanted.span), upper(wanted.span)
  );
  touched_ids := private.future_sessions(actor.organization_id, null, wanted.span);
  if wanted.cancels then
    cancelled := private.cancel_touched(touched_ids, wanted.reason, request_id);
  end if;
  return private.success(jsonb_build_object(
    'closureId', new_id, 'startsAt', private.iso(lower(wanted.span)), 'endsAt', private.iso(upper(wanted.span)),
    'touched', cardinality(touched_ids), 'cancelled', cancelled
  ));
exception
  when lock_not_available or deadlock_detected or serialization_failure or query_canceled then
    perform private.raise_busy(sqlstate, sqlerrm);
end
$$;
comment on function private.add_closure(jsonb, text) is 'See the public wrapper.';
grant execute on function private.add_closure(jsonb, text) to authenticated;

create function public.add_closure(request jsonb, request_id text default null)
returns jsonb
language sql
volatile
set search_path = ''
begin atomic
  select private.leave_booking(private.add_closure(add_closure.request, add_closure.request_id));
end;
comment on function public.add_closure(jsonb, text) is
  'Closes the organization, for admins: {name, from_date, to_date?} for whole days of its zone, the last included, or '
  '{name, start_time, end_time} for instants; cancel_sessions: true also cancels the sessions there, with reason. '
  'Answers {closureId, startsAt, endsAt, touched, cancelled}: touched is how many future sessions lie in it.';
grant execute on function public.add_closure(jsonb, text) to authenticated;

create function private.add_time_off(request jsonb, request_id text)
returns jsonb
language plpgsql
security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '5s'
as $$
#variable_conflict use_column
declare
  actor private.actor;
  wanted private.closing_request;
  found jsonb;
  absent_id uuid;
  zone text;
  new_id uuid := gen_random_uuid();
  touched_ids uuid[];
  cancelled integer := 0;
begin
  perform set_config('therapist_sessions.request_id', coalesce(left(request_id, 128), ''), true);
  actor := private.require_actor();
  found := private.uuid_issue('therapist_id', request -> 'therapist_id', false);
  if found is not null then
    perform private.raise_invalid(found);
  end if;
  absent_id := coalesce((request ->> 'therapist_id')::uuid, actor.user_id);
  select therapist.time_zone into zone
  from public.therapists as therapist
  where therapist.organization_id = actor.organization_id
    and therapist.id = absent_id
    and (actor.role in ('admin', 'super_admin') or (actor.role = 'therapist' and therapist.id = actor.user_id));
  if zone is null then
    return private.refusal(403, 'FORBIDDEN', 'You may not enter time off for this therapist.');
  end if;
  wanted := private.parse_closing(request, zone);

  -- Alone, so that no booking is made meanwhile that this would not count.
  perform private.take_organization(actor.organization_id);
  insert into public.availability_exceptions (organization_id, id, therapist_id, kind, starts_at, ends_at)
  values (actor.organization_id, new_id, absent_id, 'time_off', lower(wanted.span), upper(wanted.span));
  touched_ids := private.future_sessions(actor.organization_id, absent_id, wanted.span);
  if wanted.cancels then
    cancelled := private.cancel_touched(touched_ids, wanted.reason, request_id);
  end if;
  return private.success(jsonb_build_object(
    'exceptionId', new_id, 'startsAt', private.iso(lower(wanted.span)), 'endsAt', private.iso(upper(wanted.span)),
    'touched', cardinality(touched_ids), 'cancelled', cancelled
  ));
exception
  when lock_not_available or deadlock_detected or serialization_failure or query_canceled then
    perform private.raise_busy(sqlstate, sqlerrm);
end
$$;
comment on function private.add_time_off(jsonb, text) is 'See the public wrapper.';
grant execute on function private.add_time_off(jsonb, text) to authenticated;

create function public.add_time_off(request jsonb, request_id text default null)
returns jsonb
language sql
volatile
set search_path = ''
begin atomic
  select private.leave_booking(private.add_time_off(add_time_off.request, add_time_off.request_id));
end;
comment on function public.add_time_off(jsonb, text) is
  'Enters time off of a therapist (therapist_id; left out: the caller): {from_date, to_date?} for whole days of their '
  'zone, the last included, or {start_time, end_time} for instants; cancel_sessions: true also cancels their sessions '
  'there, with reason. Answers {exceptionId, startsAt, endsAt, touched, cancelled}.';
grant execute on function public.add_time_off(jsonb, text) to authenticated;

-- === schemas/booking/availability.sql ===

-- Purpose: whether a therapist can be booked at a time: weekly hours, dated changes of them, closures of the clinic.
-- Objects: private.zone_periods; private.outside_availability, the one rule of placement in time; private.is_open, its
--          fast yes or no.
-- Watch for: weekly hours are civil time in the therapist's zone. 08:00 stays 08:00 across a change of clocks, an hour
--            that comes twice is worked twice, and an hour that clocks skip is not worked.

create function private.zone_periods(zone text, span tstzrange)
returns table (during tstzrange, utc_offset interval)
language plpgsql
stable
rows 3
set search_path = ''
as $$
begin
  return query
  with sample as (
    select
      moment.at,
      local.utc_offset,
      lag(local.utc_offset) over (order by moment.at) as earlier_offset
    from generate_series(
      date_bin('1 hour', lower(span), '2000-01-01 00:00+00'), upper(span) + interval '24 hours', interval '24 hours'
    ) as moment (at)
    cross join lateral (select (moment.at at time zone zone) - (moment.at at time zone 'UTC') as utc_offset) as local
  ),
  begin_of_period as (
    -- The last of the samples' hours, then of that hour's minutes, that still has the earlier offset, and one on.
    select minute.at, sample.utc_offset
    from sample
    cross join lateral (
      select min(hours.at) as at
      from generate_series(sample.at - interval '23 hours', sample.at, interval '1 hour') as hours (at)
      where (hours.at at time zone zone) - (hours.at at time zone 'UTC') = sample.utc_offset
    ) as hour
    cross join lateral (
      select min(minutes.at) as at
      from generate_series(hour.at - interval '59 minutes', hour.at, interval '1 minute') as minutes (at)
      where (minutes.at at time zone zone) - (minutes.at at time zone 'UTC') = sample.utc_offset
    ) as minute
    where sample.utc_offset <> sample.earlier_offset
    union all
    (select '-infinity'::timestamptz, sample.utc_offset from sample order by sample.at limit 1)
  )
  select
    tstzrange(
      nullif(period.at, '-infinity'), lead(period.at) over (order by period.at), '[)'
    ),
    period.utc_offset
  from begin_of_period as period;
end
$$;
comment on function private.zone_periods(text, tstzrange) is
  'The stretches of a span in which a zone keeps one offset, civil time minus UTC: one, or one more for each change of '
  'clocks. The first has no lower and the last no upper bound.';

create function private.civil_range(during tstzrange, utc_offset interval)
returns tsrange
language plpgsql
immutable
set search_path = ''
as $$
begin
  return tsrange(
    (lower(during) at time zone 'UTC') + utc_offset, (upper(during) at time zone 'UTC') + utc_offset,
    (case when lower_inc(during) then '[' else '(' end) || (case when upper_inc(during) then ']' else ')' end)
  );
end
$$;
comment on function private.civil_range(tstzrange, interval) is
  'A stretch of time by the clock on the wall, where one offset holds.';

create function private.outside_availability(organization_id uuid, therapist_id uuid, spans tstzrange[])
returns table (occurrence_index integer, what text, during tstzrange)
language plpgsql
stable
rows 10
set search_path = ''
as $$
#variable_conflict use_column
declare
  zone text;
  hours jsonb;
  whole tstzrange := (select range_merge(range_agg(span)) from unnest(spans) as span);
begin
  select therapist.time_zone, therapist.availability_hours into zone, hours
  from public.therapists as therapist
  where therapist.organization_id = outside_availability.organization_id
    and therapist.id = outside_availability.therapist_id;

  return query
  select (asked.position - 1)::integer, 'closure', asked.span * tstzrange(closure.starts_at, closure.ends_at, '[)')
  from unnest(spans) with ordinality as asked (span, position)
  join public.organization_closures as closure
    on closure.organization_id = outside_availability.organization_id
    and closure.ends_at > lower(asked.span)
    and closure.starts_at < upper(asked.span)
  union all
  select (asked.position - 1)::integer, 'time_off', asked.span * tstzrange(dated.starts_at, dated.ends_at, '[)')
  from unnest(spans) with ordinality as asked (span, position)
  join public.availability_exceptions as dated
    on dated.organization_id = outside_availability.organization_id
    and dated.therapist_id = outside_availability.therapist_id
    and dated.kind = 'time_off'
    and dated.ends_at > lower(asked.span)
    and dated.starts_at < upper(asked.span);

  if hours is null then
    return;
  end if;
  return query
  with period as materialized (
    select * from private.zone_periods(zone, whole)
  ),
  weekly as materialized (
    select
      array_position(
        array['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday'], day.name
      ) as isodow,
      (item.value ->> 'start')::time as from_time,
      (item.value ->> 'end')::time as to_time
    from jsonb_each(hours) as day (name, windows)
    cross join lateral jsonb_array_elements(day.windows) as item (value)
  )
  select (asked.position - 1)::integer, 'availability', closed.during
  from unnest(spans) with ordinality as asked (span, position)
  cross join lateral (
    select coalesce(range_agg(open.during), '{}') as during
    from (
      select part.during * tstzrange(
        (day.at + weekly.from_time - period.utc_offset) at time zone 'UTC',
        (day.at + weekly.to_time - period.utc_offset) at time zone 'UTC', '[)'
      ) as during
      from period
      cross join lateral (select period.during * asked.span as during) as part
      cross join lateral generate_series(
        date_trunc('day', (lower(part.during) at time zone 'UTC') + period.utc_offset),
        (upper(part.during) at time zone 'UTC') + period.utc_offset, interval '1 day'
      ) as day (at)
      join weekly on weekly.isodow = extract(isodow from day.at)
      union all
      select tstzrange(dated.starts_at, dated.ends_at, '[)')
      from public.availability_exceptions as dated
      where dated.organization_id = outside_availability.organization_id
        and dated.therapist_id = outside_availability.therapist_id
        and dated.kind = 'extra_hours'
        and dated.ends_at > lower(asked.span)
        and dated.starts_at < upper(asked.span)
    ) as open
  ) as worked
  cross join lateral unnest(tstzmultirange(asked.span) - worked.during) as closed (during);
end
$$;
comment on function private.outside_availability(uuid, uuid, tstzrange[]) is
  'Where these spans cannot be booked with the therapist, and why: the clinic is closed (closure), time off (time_off), '
  'outside weekly and extra hours (availability). occurrence_index counts the spans from 0; during is the part of the '
  'span. No row: all of it can. A therapist without weekly hours has no limit by hours, yet has time off and closures. '
  'Time off wins over extra hours, a closure over everything. Buffers may reach outside.';

create function private.is_open(organization_id uuid, therapist_id uuid, spans tstzrange[])
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  -- Most requests lie in one weekly window of their own day, and nothing dated touches them: one look, without the
  -- periods of a zone. Whatever is less plain is looked at closely.
  return (
    select
      not exists (
        select 1
        from public.availability_exceptions as dated
        join unnest(spans) as asked (span) on dated.ends_at > lower(asked.span) and dated.starts_at < upper(asked.span)
        where dated.organization_id = therapist.organization_id
          and dated.therapist_id = therapist.id
          and dated.kind = 'time_off'
      ) and not exists (
        select 1
        from public.organization_closures as closure
        join unnest(spans) as asked (span)
          on closure.ends_at > lower(asked.span) and closure.starts_at < upper(asked.span)
        where closure.organization_id = therapist.organization_id
      ) and (
        therapist.availability_hours is null or not exists (
          select 1
          from unnest(spans) as asked (span)
          cross join lateral (
            select lower(asked.span) at time zone therapist.time_zone as starts,
              upper(asked.span) at time zone therapist.time_zone as ends
          ) as civil
          -- Clocks that change in between make it longer or shorter than it is.
          where civil.ends - civil.starts <> upper(asked.span) - lower(asked.span)
            or not exists (
              select 1
              from jsonb_array_elements(
                therapist.availability_hours
                  -> (array['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday'])
                    [extract(isodow from civil.starts)::integer]
              ) as weekly (span)
              where civil.starts::time >= (weekly.span ->> 'start')::time
                and civil.starts::date + (weekly.span ->> 'end')::time >= civil.ends
            )
        )
      )
    from public.therapists as therapist
    where therapist.organization_id = is_open.organization_id and therapist.id = is_open.therapist_id
  ) or not exists (
    select 1 from private.outside_availability(is_open.organization_id, is_open.therapist_id, spans)
  );
end
$$;
comment on function private.is_open(uuid, uuid, tstzrange[]) is
  'Whether private.outside_availability has nothing to say of these spans, at a fraction of its cost when that is so.';

-- === schemas/booking/placement.sql ===

-- Purpose: may this stand here? One answer for holds, moves, groups, offers and direct writes.
-- Objects: placement_issue; move_issue, join_issue; group_issue; written_session_issue.
-- Watch for: a new refusal of a placement is one more branch of placement_issue, and every path has it. Each function
--            returns no code when nothing stands in the way. Call them behind the locks.

create function private.overrides(batch public.hold_batches, rule text)
returns boolean
language plpgsql
immutable
set search_path = ''
as $$
begin
  return batch.override_reason is not null and (batch.override_rules is null or rule = any (batch.override_rules));
end
$$;
comment on function private.overrides(public.hold_batches, text) is
  'Whether an admin set this rule aside for the batch: availability, authorization or concurrency.';

create function private.group_size_limit()
returns integer
language plpgsql
stable
set search_path = ''
as $$
begin
  return (select max(service.max_clients) from public.service_codes as service);
end
$$;
comment on function private.group_size_limit() is 'How many clients a group may have: what the largest group service allows.';

create function private.service_issue(organization_id uuid, cpt_code text, on_date date, clients integer)
returns text
language plpgsql
stable
set search_path = ''
as $$
declare
  service public.service_codes := private.service_code_on(organization_id, cpt_code, on_date);
begin
  return case
    when service.code is null then format('%s is no service code on %s', cpt_code, on_date)
    when clients > 1 and service.max_clients = 1 then format('%s is a service for one client, not for a group', cpt_code)
    when clients = 1 and service.min_clients > 1 then format('%s is a service for a group, not for one client', cpt_code)
    when clients not between service.min_clients and service.max_clients
      then format('%s is for %s to %s clients', cpt_code, service.min_clients, service.max_clients)
  end;
end
$$;
comment on function private.service_issue(uuid, text, date, integer) is
  'What forbids this code on this day for so many clients at once; null: nothing.';

create function private.placement_issue(
  booker private.booker,
  actor private.actor,
  batch public.hold_batches,
  slots private.slot[],
  spans tstzrange[]
)
returns private.cause
language plpgsql
stable
set search_path = ''
as $$
declare
  cause private.cause;
begin
  if booker.allowed is not true then
    cause.code := 'FORBIDDEN';
    cause.detail := 'You may not book this therapist, client or room.';
  elsif batch.override_reason is not null and booker.role not in ('admin', 'super_admin') then
    cause.code := 'FORBIDDEN';
    cause.detail := 'Only an admin may override.';
  elsif private.names_service(slots) and not private.may_render_each(
    actor.organization_id, batch.therapist_id, array(select slot.cpt_code from unnest(slots) as slot),
    array(select slot.service_date from unnest(slots) as slot)
  ) then
    cause.code := 'FORBIDDEN';
    cause.detail := 'A technician may not render this service: it is a qualified professional''s.';
  elsif not private.overrides(batch, 'availability')
    and not private.is_open(actor.organization_id, batch.therapist_id, spans)
  then
    cause.code := 'OUTSIDE_AVAILABILITY';
    cause.detail := 'The therapist does not work then, or the clinic is closed. Choose an alternative, or have an admin override.';
    cause.conflicts := private.availability_conflicts(actor.organization_id, batch.therapist_id, spans);
  end if;
  return cause;
end
$$;
comment on function private.placement_issue(private.booker, private.actor, public.hold_batches, private.slot[], tstzrange[]) is
  'What forbids these spans to be booked, the most important first. booker: what private.who_may_book says.';

create function private.availability_conflicts(organization_id uuid, therapist_id uuid, spans tstzrange[])
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    select jsonb_agg(
      jsonb_build_object(
        'occurrenceIndex', closed.occurrence_index,
        'resource', 'therapist',
        'blockedBy', case closed.what when 'closure' then 'closure' else 'availability' end,
        'startTime', private.iso(lower(closed.during)),
        'endTime', private.iso(upper(closed.during))
      )
      order by closed.occurrence_index, closed.during
    )
    from private.outside_availability(organization_id, therapist_id, spans) as closed
  );
end
$$;
comment on function private.availability_conflicts(uuid, uuid, tstzrange[]) is
  'The conflicts[] of a request outside hours, in time off or in a closure, one for each occurrence and stretch.';

create function private.move_issue(
  actor private.actor,
  booker private.booker,
  client_id uuid,
  named_ids uuid[],
  as_of timestamptz
)
returns private.cause
language plpgsql
stable
set search_path = ''
as $$
declare
  cause private.cause;
  moved record;
begin
  select
    count(session.id) as count,
    bool_and(session.client_id = coalesce(move_issue.client_id, session.client_id)) as of_client,
    bool_and(booker.role <> 'therapist' or session.therapist_id = actor.user_id) as in_scope,
    array_agg(session.group_id) filter (where session.group_id is not null) as group_ids
  into moved
  from unnest(named_ids) as named (id)
  cross join lateral (
    select known.* from public.sessions as known
    where known.organization_id = actor.organization_id and known.id = named.id offset 0
  ) as session;
  if moved.count < cardinality(named_ids) or not moved.in_scope then
    cause.code := 'FORBIDDEN';
    cause.detail := 'A session to be moved does not exist or is not yours.';
    return cause;
  elsif not moved.of_client then
    cause.code := 'CLIENT_MISMATCH';
    cause.detail := 'A session to be moved belongs to another client.';
    return cause;
  end if;

  select
    bool_and(session.status = 'scheduled') as all_scheduled,
    max(batch.expires_at) filter (where batch.expires_at > as_of) as moved_until
  into moved
  from (
    select unnest(named_ids) as id
    union
    select member.id
    from public.sessions as member
    where member.organization_id = actor.organization_id and member.group_id = any (moved.group_ids)
      and member.status not in ('cancelled', 'no_show')
  ) as named
  cross join lateral (
    select known.* from public.sessions as known
    where known.organization_id = actor.organization_id and known.id = named.id offset 0
  ) as session
  left join public.session_holds as hold
    on hold.organization_id = session.organization_id and hold.session_id = session.id and hold.status = 'held'
  left join public.hold_batches as batch on batch.organization_id = hold.organization_id and batch.id = hold.batch_id;
  if not moved.all_scheduled then
    cause.code := 'SESSION_NOT_MOVABLE';
    cause.detail := 'Only scheduled sessions can be moved. Reload them and try again.';
    return cause;
  elsif moved.moved_until is not null then
    cause.code := 'SESSION_BEING_MOVED';
    cause.detail := 'Somebody is moving this session. Try again when their hold has ended.';
    cause.retry_after := moved.moved_until;
    return cause;
  end if;

  select max(batch.expires_at) into cause.retry_after
  from public.sessions as session
  join public.session_holds as hold
    on hold.organization_id = session.organization_id and hold.group_id = session.group_id and hold.status = 'held'
  join public.hold_batches as batch on batch.organization_id = hold.organization_id and batch.id = hold.batch_id
  where session.organization_id = actor.organization_id and session.id = any (named_ids) and batch.expires_at > as_of;
  if cause.retry_after is not null then
    cause.code := 'THERAPIST_HOLD_CONFLICT';
    cause.detail := 'A place in this group is being booked. Retry at retryAfter.';
  end if;
  return cause;
end
$$;
comment on function private.move_issue(private.actor, private.booker, uuid, uuid[], timestamptz) is
  'What forbids these sessions to be moved: they are somebody else''s, not scheduled any more, being moved, or of a group '
  'that somebody is joining. named_ids: those the request names, one for each occurrence. client_id null: of several clients.';

create function private.join_issue(
  actor private.actor,
  slot private.slot,
  therapist_id uuid,
  as_of timestamptz
)
returns private.cause
language plpgsql
stable
set search_path = ''
as $$
declare
  cause private.cause;
  member_ids uuid[];
begin
  member_ids := array(
    select member.id
    from public.session_groups as known
    join public.sessions as member
      on member.organization_id = known.organization_id and member.group_id = known.id
      and member.status not in ('cancelled', 'no_show')
    where known.organization_id = actor.organization_id
      and known.id = slot.group_id
      and known.therapist_id = join_issue.therapist_id
      and known.start_time = slot.start_time
      and known.end_time = slot.end_time
  );
  if member_ids = '{}' then
    perform private.raise_invalid(private.issue('group_id', 'names no group of this therapist at this time'));
  end if;
  cause.retry_after := private.live_move_of(actor.organization_id, member_ids, as_of);
  if cause.retry_after is not null then
    cause.code := 'SESSION_BEING_MOVED';
    cause.detail := 'Somebody is moving this group. Try again when their hold has ended.';
  elsif cardinality(member_ids) + private.group_joiners(actor.organization_id, slot.group_id, as_of)
    >= private.group_size_limit()
  then
    cause.code := 'GROUP_FULL';
    cause.detail := format('The group has %s clients already.', private.group_size_limit());
  end if;
  return cause;
end
$$;
comment on function private.join_issue(private.actor, private.slot, uuid, timestamptz) is
  'What forbids one more client to join this group: it is being moved, or full, places that are held counted. PT400 when '
  'there is no such group of the therapist at this time.';

create function private.group_joiners(organization_id uuid, group_id uuid, as_of timestamptz)
returns integer
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    select count(*)
    from public.session_holds as hold
    join public.hold_batches as batch on batch.organization_id = hold.organization_id and batch.id = hold.batch_id
    where hold.organization_id = group_joiners.organization_id
      and hold.group_id = group_joiners.group_id
      and hold.status = 'held'
      and batch.expires_at > as_of
  );
end
$$;
comment on function private.group_joiners(uuid, uuid, timestamptz) is 'How many live holds there are of places in this group.';

create type private.broken_rule as (rule text, message text, hint text);
comment on type private.broken_rule is 'Why a direct write is refused; no rule: it is not. The rule is the constraint of the error.';

create function private.written_session_issue(
  written public.sessions,
  before public.sessions,
  places_anew boolean,
  by_user boolean
)
returns private.broken_rule
language plpgsql
stable
set search_path = ''
as $$
declare
  broken private.broken_rule;
  -- service_role and SQL are asked what holds for everybody, as if the clinic itself booked.
  actor constant private.actor := row(
    case when by_user then auth.uid() end, written.organization_id, case when by_user then private.active_role() end
  );
  on_date constant date := private.service_date(written.organization_id, written.client_id, written.start_time);
  code constant text := private.service_code(
    written.organization_id, written.cpt_code, written.session_type, on_date
  );
  -- Without a name it is billed as one-to-one treatment, which no group is. The members come one by one: two at least.
  billed constant text := private.billed_code(
    written.organization_id, written.cpt_code, written.session_type, on_date
  );
  companions constant integer := case when written.group_id is null then 1 else 2 end;
  as_of constant timestamptz := clock_timestamp();
  room_id uuid := written.room_id;
  members integer := 0;
  payment_gap text;
begin
  if written.group_id is not null then
    select known.room_id into room_id
    from public.session_groups as known
    where known.organization_id = written.organization_id and known.id = written.group_id;
    select count(*) into members
    from public.sessions as member
    where member.organization_id = written.organization_id
      and member.group_id = written.group_id
      and member.id <> written.id
      and member.status not in ('cancelled', 'no_show');
  end if;
  if before is null or (on_date, billed, written.location_type) is distinct from (
    private.service_date(before.organization_id, before.client_id, before.start_time),
    private.billed_code(before.organization_id, before.cpt_code, before.session_type, on_date), before.location_type
  ) then
    payment_gap := private.coverage_gap(
      written.organization_id, private.primary_payer(written.organization_id, written.client_id, on_date), billed,
      written.location_type, on_date
    );
  end if;

  if (places_anew or before is null)
    and (private.who_may_book(actor, written.therapist_id, array[written.client_id], room_id)).allowed is not true
  then
    broken.rule := 'session_bookable';
    broken.message := 'this therapist, client or room cannot be booked: archived, without a membership that renders, or not the caller''s to book';
    broken.hint := 'Therapists book their own time for their caseload; admins anybody who is not archived.';
  elsif private.service_issue(written.organization_id, billed, on_date, companions) is not null then
    broken.rule := 'session_service';
    broken.message := private.service_issue(written.organization_id, billed, on_date, companions);
    broken.hint := 'Group services are booked with a group_id, other services without; a code is valid between its dates.';
  elsif code is not null and not private.may_render(written.organization_id, written.therapist_id, code, on_date) then
    broken.rule := 'technician_cannot_render';
    broken.message := 'a technician cannot render a service that is a qualified professional''s';
    broken.hint := 'Book it with a BCBA, or book another service.';
  elsif payment_gap is not null then
    broken.rule := 'session_paid';
    broken.message := case payment_gap
      when 'place' then format('the payer of that day does not pay for %s at this place', billed)
      else format('the payer of that day does not pay for %s', billed)
    end;
    broken.hint := 'Book through sessions-hold, where an admin may override with a reason.';
  elsif written.group_id is not null
    and members + 1 + private.group_joiners(written.organization_id, written.group_id, as_of) > private.group_size_limit()
  then
    -- A place that is held is taken: its hold confirms, always.
    broken.rule := 'group_of_at_most_eight';
    broken.message := format('a group has at most %s clients', private.group_size_limit());
    broken.hint := 'Make a second group, or wait until the places that are held have expired.';
  elsif (
    before is null or (written.cpt_code, written.session_type, written.group_id)
      is distinct from (before.cpt_code, before.session_type, before.group_id)
  ) and private.live_move_of(written.organization_id, written.id || array(
    select member.id from public.sessions as member
    where member.organization_id = written.organization_id and member.group_id = written.group_id
  ), as_of) is not null
  then
    broken.rule := 'session_being_moved';
    broken.message := 'the session, or its group, is being moved: service and members stay as they are until that hold ends';
    broken.hint := 'Confirm or release the hold first, or wait until it has expired.';
  elsif by_user and places_anew and (
    written.start_time < as_of or written.end_time > as_of + interval '730 days'
  ) then
    broken.rule := 'session_in_bookable_time';
    broken.message := 'a session is booked from now on, at most 730 days ahead';
    broken.hint := 'Choose another time. What was rendered already is entered by an operator or an import.';
  elsif by_user and places_anew and not private.is_open(
    written.organization_id, written.therapist_id, array[tstzrange(written.start_time, written.end_time, '[)')]
  ) then
    broken.rule := 'outside_availability';
    broken.message := 'the therapist does not work then, or the clinic is closed';
    broken.hint := 'Book through sessions-hold, where an admin may override with a reason.';
  end if;
  return broken;
end
$$;
comment on function private.written_session_issue(public.sessions, public.sessions, boolean, boolean) is
  'What forbids this session to be written directly. before: the row it replaces, null for a new one. by_user: written by '
  'a signed-in user, who may also not place it in the past, too far ahead, or outside hours. No rule: nothing does.';

-- === schemas/booking/conflicts.sql ===

-- Purpose: what is in the way of a request, and how it is told.
-- Objects: find_conflicts, conflict_code.
-- Watch for: conflicts say when and by which kind of booking, never whose.

create type private.obstacle as (
  conflicts jsonb,
  retry_after timestamptz,
  has_stale boolean,
  concurrent_lanes int4multirange
);
comment on type private.obstacle is 'What private.find_conflicts says.';

create function private.find_conflicts(
  slots private.slot[],
  wanted private.claims[],
  own_ids uuid[],
  as_of timestamptz
)
returns private.obstacle
language plpgsql
stable
set search_path = ''
as $$
declare
  obstacle private.obstacle;
  -- By id, so that what is found is not compared with every occurrence.
  indexes constant jsonb := (
    select jsonb_object_agg(owner.id, owner.occurrence_index)
    from (
      select slot.hold_id as id, slot.occurrence_index from unnest(slots) as slot
      union
      select slot.group_id, slot.occurrence_index from unnest(slots) as slot where slot.group_id is not null
    ) as owner
  );
begin
  -- One look at everything in the way: what lives is a conflict, what has expired is to be removed.
  select
    jsonb_agg(
      jsonb_strip_nulls(jsonb_build_object(
        'occurrenceIndex', found.occurrence_index,
        'resource', found.resource_kind,
        'blockedBy', case when found.expires_at is null then 'session' else 'hold' end,
        'startTime', private.iso(lower(found.overlap)),
        'endTime', private.iso(upper(found.overlap)),
        'expiresAt', private.iso(found.expires_at)
      ))
      order by found.occurrence_index, found.resource_kind
    ) filter (where found.is_alive and found.place = 1),
    case when bool_and(found.expires_at is not null) filter (where found.is_alive)
      then max(found.expires_at) filter (where found.is_alive)
    end,
    coalesce(bool_or(not found.is_alive), false),
    case when bool_and(found.is_pair) filter (where found.is_alive)
      then range_agg(found.lanes) filter (where found.is_alive)
    end
  into obstacle.conflicts, obstacle.retry_after, obstacle.has_stale, obstacle.concurrent_lanes
  from (
    select
      claim.lanes::int4multirange * want.lanes::int4multirange as lanes,
      -- Two different services share the lane of their pair and no other; see private.pair_lanes.
      upper(claim.lanes::int4multirange * want.lanes::int4multirange) - lower(claim.lanes::int4multirange * want.lanes::int4multirange) = 1
        and lower(claim.lanes::int4multirange * want.lanes::int4multirange) / 100
          <> lower(claim.lanes::int4multirange * want.lanes::int4multirange) % 100 as is_pair,
      owner.occurrence_index,
      want.resource_kind,
      claim.expires_at,
      claim.during::tstzrange * want.during::tstzrange as overlap,
      claim.expires_at is null or claim.expires_at > as_of as is_alive,
      row_number() over (
        partition by owner.occurrence_index, want.resource_kind
        order by claim.expires_at is null or claim.expires_at > as_of desc, claim.expires_at desc nulls first
      ) as place
    from unnest(wanted) as want
    cross join lateral (
      select known.* from private.claims as known
      where known.organization_id = want.organization_id
        and known.resource_id = want.resource_id
        and known.during && want.during
        and known.resource_kind = want.resource_kind
        and known.lanes && want.lanes
        and known.owner_id <> all (own_ids)
    ) as claim
    cross join lateral (
      select (indexes ->> want.owner_id::text)::smallint as occurrence_index
    ) as owner
    where owner.occurrence_index is not null
  ) as found;
  return obstacle;
end
$$;
comment on function private.find_conflicts(private.slot[], private.claims[], uuid[], timestamptz) is
  'What is in the way of these claims, apart from what own_ids own. conflicts: one for each occurrence and resource, a '
  'session before a hold, else the hold that expires last; times are the overlap with the request; null when nothing is. '
  'retry_after: when all of them clear, null when a session is among them. has_stale: something expired is in the way. '
  'concurrent_lanes: when nothing but other services of the client is, the lanes of those pairs.';

create function private.conflict_code(conflicts jsonb, concurrent_lanes int4multirange default null)
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
begin
  return case
    when concurrent_lanes is not null then
      '{"code": "CONCURRENT_SERVICE_NOT_ALLOWED",
        "detail": "The client has another service then, and not every payer of theirs is known to allow the two at once."}'
    when conflicts @> '[{"resource": "therapist", "blockedBy": "session"}]' then
      '{"code": "THERAPIST_CONFLICT", "detail": "The therapist already has a session then. Choose an alternative."}'
    when conflicts @> '[{"resource": "client", "blockedBy": "session"}]' then
      '{"code": "CLIENT_CONFLICT", "detail": "The client already has a session then. Choose an alternative."}'
    when conflicts @> '[{"resource": "therapist", "blockedBy": "hold"}]' then
      '{"code": "THERAPIST_HOLD_CONFLICT",
        "detail": "The therapist''s time is held by another booking. Retry at retryAfter, or choose an alternative."}'
    when conflicts @> '[{"resource": "client", "blockedBy": "hold"}]' then
      '{"code": "CLIENT_HOLD_CONFLICT",
        "detail": "The client''s time is held by another booking. Retry at retryAfter, or choose an alternative."}'
    else
      '{"code": "ROOM_CONFLICT", "detail": "The room is taken then. Choose another room or an alternative."}'
  end::jsonb;
end
$$;
comment on function private.conflict_code(jsonb, int4multirange) is
  'Code and detail for a set of conflicts: sessions before holds, therapist before client.';

-- === schemas/booking/hold.sql ===

-- Purpose: sessions-hold. Claims a slot, or a whole series, for a few minutes; or new places for existing sessions.
-- Objects: place_hold, the one way to a hold (new booking, series, group, join, move, offer), and its steps.
-- Watch for: every path reads top to bottom: read, lock, who, where, claims, units, write, answer. Everything decisive is
--            read behind the locks. A refusal gives up the claims that were tried, the one thing written before it.

create function private.new_batch(
  actor private.actor,
  wanted private.hold_request,
  is_move boolean,
  as_of timestamptz
)
returns public.hold_batches
language plpgsql
volatile
set search_path = ''
as $$
declare
  batch public.hold_batches;
begin
  batch.organization_id := actor.organization_id;
  batch.id := gen_random_uuid();
  batch.hold_key := gen_random_uuid();
  batch.therapist_id := wanted.therapist_id;
  batch.room_id := wanted.room_id;
  batch.session_type := wanted.session_type;
  batch.cpt_code := wanted.cpt_code;
  batch.time_zone := wanted.time_zone;
  batch.buffer_before_minutes := coalesce(wanted.buffer_before_minutes, 0);
  batch.buffer_after_minutes := coalesce(wanted.buffer_after_minutes, 0);
  if wanted.recurrence is distinct from null then
    batch.recurrence := jsonb_strip_nulls(to_jsonb(wanted.recurrence));
  end if;
  batch.override_reason := private.tidy((wanted.override).reason);
  batch.override_rules := (wanted.override).rules::text[];
  batch.is_move := is_move;
  -- A move of several clients' sessions names none.
  batch.keeps_places := is_move and wanted.client_id is null;
  batch.expires_at := date_trunc('milliseconds', as_of) + wanted.hold_seconds * interval '1 second';
  batch.created_by := coalesce(actor.user_id, wanted.therapist_id);
  batch.created_at := as_of;
  return batch;
end
$$;
comment on function private.new_batch(private.actor, private.hold_request, boolean, timestamptz) is
  'The batch a request would make: what its occurrences have in common.';

create function private.lock_moved(organization_id uuid, session_ids uuid[])
returns uuid[]
language plpgsql
set search_path = ''
as $$
declare
  group_ids uuid[] := array(
    select distinct session.group_id
    from unnest(session_ids) as named (id)
    join public.sessions as session on session.organization_id = lock_moved.organization_id and session.id = named.id
    where session.group_id is not null
    order by session.group_id
  );
begin
  -- A client who joins a group shares its row (lock_group) until they have: so the members are all there when it moves.
  perform from unnest(group_ids) as named (id)
  cross join lateral (
    select from public.session_groups as known
    where known.organization_id = lock_moved.organization_id and known.id = named.id
    for update
  ) as locked;
  perform private.lock_sessions(organization_id, session_ids || array(
    select member.id from public.sessions as member
    where member.organization_id = lock_moved.organization_id and member.group_id = any (group_ids)
  ));
  return array(
    select distinct resource.id
    from public.sessions as session
    left join public.session_groups as known
      on known.organization_id = session.organization_id and known.id = session.group_id
    cross join lateral unnest(array[session.therapist_id, session.client_id, session.room_id, known.room_id]) as resource (id)
    where session.organization_id = lock_moved.organization_id
      -- Who has left a group is not moved with it, and nobody waits for them.
      and (
        session.id = any (session_ids)
        or session.group_id = any (group_ids) and session.status not in ('cancelled', 'no_show')
      )
      and resource.id is not null
  );
end
$$;
comment on function private.lock_moved(uuid, uuid[]) is
  'Locks sessions that move, with the groups they are in: groups by id, then sessions by id. Returns whom and what they '
  'take now, to be locked next.';

create function private.lock_group(organization_id uuid, group_id uuid)
returns void
language plpgsql
set search_path = ''
as $$
begin
  -- Whoever moves the group takes its row whole before they look who is in it: a joiner must not slip in between.
  perform from public.session_groups as known
  where known.organization_id = lock_group.organization_id and known.id = lock_group.group_id
  for share;
end
$$;
comment on function private.lock_group(uuid, uuid) is 'Keeps a group where it is until the transaction ends.';

create function private.with_moved(organization_id uuid, slots private.slot[])
returns private.slot[]
language plpgsql
volatile
set search_path = ''
as $$
begin
  -- Naming one member of a group stands for all who still come.
  return array(
    select row(
      case when member.id = slot.session_id then slot.hold_id else gen_random_uuid() end, slot.occurrence_index,
      slot.hold_key, member.client_id, null, member.id, slot.start_time, slot.end_time, slot.time_zone, slot.civil_start,
      slot.lanes, null, null
    )::private.slot
    from unnest(slots) as slot
    cross join lateral (
      select known.* from public.sessions as known
      where known.organization_id = with_moved.organization_id and known.id = slot.session_id offset 0
    ) as named
    cross join lateral (
      select named.id, named.client_id
      union
      select mate.id, mate.client_id
      from public.sessions as mate
      where mate.organization_id = with_moved.organization_id and mate.group_id = named.group_id
        and mate.status not in ('cancelled', 'no_show')
    ) as member
    order by slot.occurrence_index, member.id <> slot.session_id, member.id
  );
end
$$;
comment on function private.with_moved(uuid, private.slot[]) is
  'The slots of a move with one for each member of a group that moves, the named one first. Unknown sessions are left out.';

create function private.keep_place(
  batch public.hold_batches,
  wanted private.hold_request,
  names_room boolean,
  slots private.slot[]
)
returns public.hold_batches
language plpgsql
stable
set search_path = ''
as $$
declare
  has record;
  issues jsonb;
begin
  if batch.keeps_places then
    if cardinality(slots) > 366 then
      perform private.raise_invalid(private.issue('session_ids', 'must stand for at most 366 sessions, those of all members counted'));
    end if;
    return batch;
  end if;
  select
    (array_agg(coalesce(known.room_id, session.room_id)))[1] as room_id,
    count(distinct coalesce(known.room_id::text, session.room_id::text, '')) > 1 as rooms_differ,
    min(greatest(known.buffer_before_minutes, session.buffer_before_minutes)) as buffer_before,
    max(greatest(known.buffer_before_minutes, session.buffer_before_minutes)) as longest_before,
    min(greatest(known.buffer_after_minutes, session.buffer_after_minutes)) as buffer_after,
    max(greatest(known.buffer_after_minutes, session.buffer_after_minutes)) as longest_after
  into has
  from unnest(slots) as slot
  cross join lateral (
    select moved.* from public.sessions as moved
    where moved.organization_id = batch.organization_id and moved.id = slot.session_id offset 0
  ) as session
  left join public.session_groups as known
    on known.organization_id = session.organization_id and known.id = session.group_id;
  if not names_room then
    batch.room_id := has.room_id;
  end if;
  batch.buffer_before_minutes := coalesce(wanted.buffer_before_minutes, has.buffer_before, 0);
  batch.buffer_after_minutes := coalesce(wanted.buffer_after_minutes, has.buffer_after, 0);
  issues := case when not names_room and has.rooms_differ
      then private.issue('room_id', 'must be named, or null for none: the sessions are in different rooms') else '[]' end
    || case when wanted.buffer_before_minutes is null and has.buffer_before < has.longest_before
      then private.issue('buffer_before_minutes', 'must be named: the sessions'' differ') else '[]' end
    || case when wanted.buffer_after_minutes is null and has.buffer_after < has.longest_after
      then private.issue('buffer_after_minutes', 'must be named: the sessions'' differ') else '[]' end
    || case when cardinality(slots) > 366
      then private.issue('occurrences', 'must move at most 366 sessions, those of all members counted') else '[]' end;
  if issues = '[]' and batch.buffer_before_minutes + batch.buffer_after_minutes > 0 then
    issues := private.overlap_issues(
      array(
        select (array_agg(slot order by slot.client_id))[1]
        from unnest(slots) as slot group by slot.occurrence_index order by slot.occurrence_index
      ),
      batch.buffer_before_minutes + batch.buffer_after_minutes
    );
  end if;
  if issues <> '[]' then
    perform private.raise_invalid(issues);
  end if;
  return batch;
end
$$;
comment on function private.keep_place(public.hold_batches, private.hold_request, boolean, private.slot[]) is
  'What a move does not name stays as its sessions have it: room and buffers, where they agree; PT400 where they do not.';

create function private.with_services(organization_id uuid, slots private.slot[], cpt_code text, session_type text)
returns private.slot[]
language plpgsql
stable
set search_path = ''
as $$
begin
  if cardinality(slots) = 1 and slots[1].session_id is null then
    if cpt_code is not null or session_type is not null then
      slots[1].service_date := private.service_date(organization_id, slots[1].client_id, slots[1].start_time);
      slots[1].cpt_code := private.service_code(organization_id, cpt_code, session_type, slots[1].service_date);
    end if;
    return slots;
  end if;
  return array(
    with zone as materialized (
      select client.id, private.service_zone(with_services.organization_id, client.id) as name
      from (select distinct slot.client_id as id from unnest(slots) as slot) as client
    )
    select row(
      slot.hold_id, slot.occurrence_index, slot.hold_key, slot.client_id, slot.group_id, slot.session_id,
      slot.start_time, slot.end_time, slot.time_zone, slot.civil_start, slot.lanes,
      coalesce(
        private.service_code(with_services.organization_id, with_services.cpt_code, with_services.session_type, day.date),
        -- What is moved stays the service it is, unless the request says otherwise.
        (
          select private.service_code(moved.organization_id, moved.cpt_code, moved.session_type, day.date)
          from public.sessions as moved
          where moved.organization_id = with_services.organization_id and moved.id = slot.session_id
        )
      ),
      day.date
    )::private.slot
    from unnest(slots) with ordinality as slot (
      hold_id, occurrence_index, hold_key, client_id, group_id, session_id, start_time, end_time, time_zone,
      civil_start, lanes, cpt_code, service_date, position
    )
    join zone on zone.id = slot.client_id
    cross join lateral (select (slot.start_time at time zone zone.name)::date as date offset 0) as day
    order by slot.position
  );
end
$$;
comment on function private.with_services(uuid, private.slot[], text, text) is
  'The slots with the day of service and the code that this code or session type means then; of a move, else what the '
  'moved session is. No code: the booking names no service.';

create function private.with_lanes(organization_id uuid, slots private.slot[], lifted int4multirange default '{}')
returns private.slot[]
language plpgsql
stable
set search_path = ''
as $$
begin
  if cardinality(slots) = 1 then
    slots[1].lanes := private.client_lanes(
      organization_id, slots[1].client_id, slots[1].cpt_code, slots[1].start_time, slots[1].end_time
    ) - lifted;
    return slots;
  end if;
  return array(
    select row(
      slot.hold_id, slot.occurrence_index, slot.hold_key, slot.client_id, slot.group_id, slot.session_id,
      slot.start_time, slot.end_time, slot.time_zone, slot.civil_start,
      private.client_lanes(
        with_lanes.organization_id, slot.client_id, slot.cpt_code, slot.start_time, slot.end_time
      ) - lifted,
      slot.cpt_code, slot.service_date
    )::private.slot
    from unnest(slots) as slot
  );
end
$$;
comment on function private.with_lanes(uuid, private.slot[], int4multirange) is
  'The slots with the lanes their clients'' payers leave them for their services, less those an admin lifts.';

create function private.places_of_slots(batch public.hold_batches, slots private.slot[], is_joining boolean)
returns private.place[]
language plpgsql
immutable
set search_path = ''
as $$
begin
  if cardinality(slots) = 1 then
    return array[row(
      slots[1].hold_id, case when not is_joining then coalesce(slots[1].group_id, slots[1].hold_id) end,
      batch.therapist_id, batch.room_id, batch.buffer_before_minutes, batch.buffer_after_minutes, slots[1].client_id,
      slots[1].lanes, slots[1].start_time, slots[1].end_time, batch.expires_at
    )::private.place];
  end if;
  return array(
    select row(
      slot.hold_id,
      -- The clients of one occurrence stand on one place.
      case when slot.is_first then coalesce(slot.group_id, slot.hold_id) end,
      batch.therapist_id, batch.room_id, batch.buffer_before_minutes, batch.buffer_after_minutes, slot.client_id,
      slot.lanes, slot.start_time, slot.end_time, batch.expires_at
    )::private.place
    from (
      select each.*, row_number() over (partition by each.occurrence_index order by each.position) = 1 as is_first
      from unnest(slots) with ordinality as each (
        hold_id, occurrence_index, hold_key, client_id, group_id, session_id, start_time, end_time, time_zone,
        civil_start, lanes, cpt_code, service_date, position
      )
    ) as slot
  );
end
$$;
comment on function private.places_of_slots(public.hold_batches, private.slot[], boolean) is
  'Where a request would stand. A client who joins a group takes nothing but their own time: the place is the group''s.';

create function private.kept_places(batch public.hold_batches, slots private.slot[])
returns private.place[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return array(
    select row(
      slot.hold_id, case when slot.is_first then slot.hold_id end, batch.therapist_id, coalesce(known.room_id, session.room_id),
      greatest(known.buffer_before_minutes, session.buffer_before_minutes),
      greatest(known.buffer_after_minutes, session.buffer_after_minutes), slot.client_id, slot.lanes, slot.start_time,
      slot.end_time, batch.expires_at
    )::private.place
    from (
      select each.*, row_number() over (partition by each.occurrence_index order by each.position) = 1 as is_first
      from unnest(slots) with ordinality as each (
        hold_id, occurrence_index, hold_key, client_id, group_id, session_id, start_time, end_time, time_zone,
        civil_start, lanes, cpt_code, service_date, position
      )
    ) as slot
    cross join lateral (
      select moved.* from public.sessions as moved
      where moved.organization_id = batch.organization_id and moved.id = slot.session_id offset 0
    ) as session
    left join public.session_groups as known
      on known.organization_id = session.organization_id and known.id = session.group_id
  );
end
$$;
comment on function private.kept_places(public.hold_batches, private.slot[]) is
  'Where sessions would stand that go to the batch''s therapist and keep their rooms and buffers.';

create function private.spans_of(slots private.slot[])
returns tstzrange[]
language plpgsql
immutable
set search_path = ''
as $$
begin
  if cardinality(slots) = 1 then
    return array[tstzrange(slots[1].start_time, slots[1].end_time, '[)')];
  end if;
  return array(
    select tstzrange(min(slot.start_time), min(slot.end_time), '[)')
    from unnest(slots) as slot
    group by slot.occurrence_index
    order by slot.occurrence_index
  );
end
$$;
comment on function private.spans_of(private.slot[]) is 'The windows of the occurrences, in order.';

create function private.services_of_slots(slots private.slot[])
returns private.service[]
language plpgsql
immutable
set search_path = ''
as $$
begin
  return array(
    select row(
      slot.hold_id, slot.occurrence_index, slot.client_id, coalesce(slot.cpt_code, '97153'), slot.start_time,
      slot.end_time, slot.session_id, null
    )::private.service
    from unnest(slots) as slot
    where slot.cpt_code is not null or slot.session_id is not null
  );
end
$$;
comment on function private.services_of_slots(private.slot[]) is
  'The services of a request, for its units. A hold that names no service takes its units when it is confirmed as one.';

create function private.write_hold(batch public.hold_batches, slots private.slot[])
returns void
language plpgsql
set search_path = ''
as $$
begin
  with written as (insert into public.hold_batches values (batch.*))
  insert into public.session_holds (
    organization_id, id, batch_id, occurrence_index, hold_key, client_id, group_id, session_id, start_time, end_time,
    time_zone, civil_start, lanes
  )
  select batch.organization_id, slot.hold_id, batch.id, slot.occurrence_index, slot.hold_key, slot.client_id,
    slot.group_id, slot.session_id, slot.start_time, slot.end_time, slot.time_zone, slot.civil_start, slot.lanes
  from unnest(slots) as slot;
end
$$;
comment on function private.write_hold(public.hold_batches, private.slot[]) is 'Writes a batch and its holds.';

create function private.held_answer(batch public.hold_batches, slots private.slot[])
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
  until constant text := private.iso(batch.expires_at);
  holds jsonb;
begin
  if cardinality(slots) = 1 and slots[1].group_id is null then
    holds := jsonb_build_array(jsonb_build_object(
      'holdKey', slots[1].hold_key, 'holdId', slots[1].hold_id, 'startTime', private.iso(slots[1].start_time),
      'endTime', private.iso(slots[1].end_time), 'expiresAt', until
    ));
  else
    select jsonb_agg(held.answer order by held.occurrence_index) into holds
    from (
      select slot.occurrence_index,
        -- As they were asked for: the client that was named first.
        jsonb_build_object(
          'holdKey', min(slot.hold_key::text), 'holdId', (array_agg(slot.hold_id order by slot.position))[1],
          -- As private.iso, without a call for each.
          'startTime', to_char(min(slot.start_time) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
          'endTime', to_char(min(slot.end_time) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
          'expiresAt', until
        ) || case
          when min(coalesce(slot.group_id, moved.group_id)::text) is not null then jsonb_build_object(
            'groupId', min(coalesce(slot.group_id, moved.group_id)::text),
            'clientIds', jsonb_agg(slot.client_id order by slot.position)
          )
          else '{}'::jsonb
        end as answer
      from unnest(slots) with ordinality as slot (
        hold_id, occurrence_index, hold_key, client_id, group_id, session_id, start_time, end_time, time_zone,
        civil_start, lanes, cpt_code, service_date, position
      )
      left join public.sessions as moved
        on moved.organization_id = batch.organization_id and moved.id = slot.session_id
      group by slot.occurrence_index
    ) as held;
  end if;
  return jsonb_build_object('holdKey', batch.hold_key, 'holdId', batch.id, 'expiresAt', until, 'holds', holds);
end
$$;
comment on function private.held_answer(public.hold_batches, private.slot[]) is
  'The body of a hold: one of holds[] for each occurrence, in request order; that of a group lists its clients.';

create function private.hold_facts(wanted private.hold_request, slots private.slot[])
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return jsonb_strip_nulls(jsonb_build_object(
    'therapistId', wanted.therapist_id,
    'clientId', wanted.client_id,
    'clientIds', wanted.client_ids,
    'groupId', wanted.group_id,
    'roomId', wanted.room_id,
    'occurrences', case
      when cardinality(slots) = 1 then jsonb_build_array(jsonb_build_array(
        private.iso(slots[1].start_time), private.iso(slots[1].end_time)
      ))
      else (
        select jsonb_agg(distinct jsonb_build_array(
          to_char(slot.start_time at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
          to_char(slot.end_time at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
        ))
        from unnest(slots) as slot
      )
    end,
    'sessionIds', case when slots[1].session_id is not null then (
      select jsonb_agg(slot.session_id) from unnest(slots) as slot
    ) end
  ));
end
$$;
comment on function private.hold_facts(private.hold_request, private.slot[]) is
  'What of a hold belongs in an audit event: no PHI.';

create function private.claim_slots(
  batch public.hold_batches,
  slots private.slot[],
  is_joining boolean,
  as_of timestamptz,
  out lifted int4multirange,
  out placed private.slot[],
  out obstacle private.obstacle
)
language plpgsql
set search_path = ''
as $$
declare
  own_ids uuid[] := '{}';
  claims private.claims[];
  taken bigint;
begin
  placed := private.with_lanes(batch.organization_id, slots);
  claims := private.claimed(batch.organization_id, case
    when batch.keeps_places then private.kept_places(batch, placed)
    else private.places_of_slots(batch, placed, is_joining)
  end);
  if batch.is_move then
    -- A move takes its claims when its rows are there: what it wants beyond what its sessions have.
    own_ids := array(
      select unnest(array[session.id, session.group_id])
      from unnest(slots) as slot
      join public.sessions as session on session.organization_id = batch.organization_id and session.id = slot.session_id
    );
  else
    taken := private.take_claims(claims);
    if taken = cardinality(claims) then
      return;
    elsif taken > 0 then
      perform private.give_up_claims(claims);
    end if;
  end if;

  obstacle := private.find_conflicts(placed, claims, array_remove(own_ids, null), as_of);
  if obstacle.concurrent_lanes is not null and private.overrides(batch, 'concurrency') then
    -- The pairs in the way give up their lanes, for this hold only: everything else still blocks it.
    lifted := obstacle.concurrent_lanes;
    placed := private.with_lanes(batch.organization_id, slots, lifted);
    claims := private.claimed(batch.organization_id, case
    when batch.keeps_places then private.kept_places(batch, placed)
    else private.places_of_slots(batch, placed, is_joining)
  end);
    obstacle := private.find_conflicts(placed, claims, array_remove(own_ids, null), as_of);
  end if;
  if obstacle.conflicts is not null then
    return;
  end if;
  if obstacle.has_stale then
    perform private.remove_stale(batch.organization_id, claims, as_of);
  end if;
  if not batch.is_move and private.take_claims(claims) < cardinality(claims) then
    perform private.raise_busy();
  end if;
end
$$;
comment on function private.claim_slots(public.hold_batches, private.slot[], boolean, timestamptz) is
  'Takes the claims of a request, or says what is in the way (obstacle.conflicts). placed: the slots with their lanes; '
  'lifted: the lanes an admin set aside for them.';

create function private.place_hold(
  actor private.actor,
  wanted private.hold_request,
  slots private.slot[],
  names_room boolean default true,
  details jsonb default '{}'
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  moving constant boolean := slots[1].session_id is not null;
  joining constant boolean := wanted.group_id is not null;
  named_ids uuid[] := '{}';
  client_ids uuid[] := coalesce(wanted.client_ids, array[wanted.client_id]);
  resource_ids uuid[] := '{}';
  batch public.hold_batches := private.new_batch(actor, wanted, moving, clock_timestamp());
  booker private.booker;
  issue private.cause;
  claim record;
  services private.service[];
  quotes private.quote[];
  shortages jsonb;
  overridden text[] := '{}';
  body jsonb;
  as_of timestamptz;
begin
  if moving then
    named_ids := array(select slot.session_id from unnest(slots) as slot);
    resource_ids := private.lock_moved(actor.organization_id, named_ids);
    slots := private.with_moved(actor.organization_id, slots);
    client_ids := case when batch.keeps_places then '{}' else client_ids end
      || array(select slot.client_id from unnest(slots) as slot);
    batch := private.keep_place(batch, wanted, names_room, slots);
  elsif joining then
    perform private.lock_group(actor.organization_id, wanted.group_id);
  end if;
  perform private.lock_resources(
    actor.organization_id, client_ids || resource_ids || array[wanted.therapist_id, batch.room_id]
  );
  as_of := clock_timestamp();
  batch.expires_at := date_trunc('milliseconds', as_of) + wanted.hold_seconds * interval '1 second';
  batch.created_at := as_of;

  booker := private.who_may_book(actor, wanted.therapist_id, client_ids, batch.room_id);
  slots := private.with_services(actor.organization_id, slots, wanted.cpt_code, wanted.session_type);
  if booker.allowed and private.names_service(slots) then
    perform private.require_service(actor.organization_id, slots, wanted.cpt_code, wanted.session_type, joining);
  end if;
  issue := private.placement_issue(booker, actor, batch, slots, private.spans_of(slots));
  if issue.code is null and moving then
    issue := private.move_issue(actor, booker, wanted.client_id, named_ids, as_of);
  elsif issue.code is null and joining then
    issue := private.join_issue(actor, slots[1], wanted.therapist_id, as_of);
  end if;
  if issue.code is not null then
    return private.refuse(
      actor, 'hold.refused', named_ids, issue.code, issue.detail, wanted.therapist_id,
      issue.retry_after, issue.conflicts,
      jsonb_build_object('request', private.hold_facts(wanted, slots))
    );
  end if;
  claim := private.claim_slots(batch, slots, joining, as_of);
  if (claim.obstacle).conflicts is not null then
    body := private.conflict_code((claim.obstacle).conflicts, (claim.obstacle).concurrent_lanes);
    return private.refuse(
      actor, 'hold.refused', named_ids, body ->> 'code', body ->> 'detail', wanted.therapist_id,
      (claim.obstacle).retry_after, (claim.obstacle).conflicts,
      jsonb_build_object('request', private.hold_facts(wanted, slots))
    );
  end if;
  slots := claim.placed;

  services := case when booker.has_payer then private.services_of_slots(slots) end;
  if services <> '{}' then
    quotes := private.quote_units(actor.organization_id, services, as_of);
    shortages := private.shortages_of(quotes);
  end if;
  if shortages is not null and not private.overrides(batch, 'authorization') then
    if not moving then
      perform private.give_up_claims(
        private.claimed(actor.organization_id, private.places_of_slots(batch, slots, joining))
      );
    end if;
    return private.refuse(
      actor, 'hold.refused', named_ids, 'AUTHORIZATION_EXCEEDED',
      'The payer''s authorization has too few units left, or does not cover the dates: see shortages. An admin may override.',
      wanted.therapist_id,
      details => jsonb_build_object('request', private.hold_facts(wanted, slots)),
      more => jsonb_build_object('shortages', shortages)
    );
  end if;

  if moving then
    -- An expired move of these sessions still stands as held, if nobody has looked at it since.
    perform private.expire_batches(actor.organization_id, array(
      select hold.batch_id from public.session_holds as hold
      where hold.organization_id = actor.organization_id
        and hold.session_id = any (array(select slot.session_id from unnest(slots) as slot)) and hold.status = 'held'
    ), as_of);
  end if;
  perform private.write_hold(batch, slots);
  if moving and not private.sync_claims(actor.organization_id, array[batch.id], as_of) then
    perform private.raise_busy();
  end if;
  body := private.held_answer(batch, slots);
  if quotes is not null then
    perform private.enter_units(actor.organization_id, quotes, 'held', batch.expires_at);
    body := body || private.warnings_in(private.unit_warnings(actor.organization_id, quotes, as_of));
  end if;

  perform private.record_event(
    actor.organization_id, 'hold.acquired', 'hold', array(select slot.hold_id from unnest(slots) as slot), as_of,
    therapist_id => wanted.therapist_id,
    actor_role => actor.role::text,
    after => private.hold_facts(wanted, slots),
    details => details || jsonb_build_object('batchId', batch.id, 'expiresAt', private.iso(batch.expires_at))
  );
  if batch.override_reason is not null then
    overridden := private.record_overrides(actor, batch, slots, shortages is not null, claim.lifted is not null, as_of);
    body := body || jsonb_build_object('overridden', overridden);
  end if;
  return private.success(body);
end
$$;
comment on function private.place_hold(private.actor, private.hold_request, private.slot[], boolean, jsonb) is
  'The one way to a hold: sessions-hold, moves, groups, joining and the waitlist''s offers. Holds every slot or none.';

create function private.warnings_in(warnings jsonb)
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
begin
  return case when warnings = '[]' then '{}'::jsonb else jsonb_build_object('warnings', warnings) end;
end
$$;
comment on function private.warnings_in(jsonb) is 'Warnings as they stand in an answer: left out when there are none.';

create function private.require_service(
  organization_id uuid,
  slots private.slot[],
  cpt_code text,
  session_type text,
  is_joining boolean
)
returns void
language plpgsql
stable
set search_path = ''
as $$
declare
  issues jsonb;
begin
  select jsonb_agg(jsonb_build_object(
    'path', case when slots[1].occurrence_index = slots[cardinality(slots)].occurrence_index then 'cpt_code'
      else format('occurrences.%s', found.occurrence_index) end,
    'message', found.issue
  ) order by found.occurrence_index) into issues
  from (
    select occurrence.occurrence_index, case
      when private.service_code(
        require_service.organization_id, require_service.cpt_code, require_service.session_type, occurrence.date
      ) is not null then private.service_issue(
        require_service.organization_id, occurrence.code, occurrence.date, occurrence.clients::integer
      )
      -- What is moved stays the service it is, and does not leave the days of its code.
      when (private.service_code_on(require_service.organization_id, occurrence.code, occurrence.date)).code is null
        then format('%s is no service code on %s', occurrence.code, occurrence.date)
    end as issue
    from (
      select slot.occurrence_index, min(slot.cpt_code) as code, min(slot.service_date) as date,
        count(*) + case when is_joining then 1 else 0 end as clients
      from unnest(slots) as slot
      where slot.cpt_code is not null
      group by slot.occurrence_index
    ) as occurrence
  ) as found
  where found.issue is not null;
  if issues is not null then
    perform private.raise_invalid(issues);
  end if;
end
$$;
comment on function private.require_service(uuid, private.slot[], text, text, boolean) is
  'PT400 for each occurrence whose service is unknown or not valid on its day, or for fewer or more clients. A client who '
  'joins is one beside another. cpt_code and session_type: what the request names.';

create function private.record_overrides(
  actor private.actor,
  batch public.hold_batches,
  slots private.slot[],
  over_units boolean,
  over_lanes boolean,
  as_of timestamptz
)
returns text[]
language plpgsql
set search_path = ''
as $$
declare
  actions text[] := array_remove(array[
    case when private.overrides(batch, 'availability')
      and not private.is_open(batch.organization_id, batch.therapist_id, private.spans_of(slots)) then 'override.availability' end,
    case when over_units then 'override.authorization' end,
    case when over_lanes then 'override.concurrency' end
  ], null);
begin
  perform private.record_event(
    batch.organization_id, rule.action, 'hold', array(select slot.hold_id from unnest(slots) as slot), as_of,
    therapist_id => batch.therapist_id,
    actor_role => actor.role::text,
    details => jsonb_build_object('batchId', batch.id, 'reason', batch.override_reason)
  )
  from unnest(actions) as rule (action);
  return array(select split_part(rule.action, '.', 2) from unnest(actions) as rule (action));
end
$$;
comment on function private.record_overrides(
  private.actor, public.hold_batches, private.slot[], boolean, boolean, timestamptz
) is 'Which rules the hold really set aside, one audit event for each.';

create function private.hold_fingerprint(wanted private.hold_request, names_room boolean)
returns bytea
language plpgsql
volatile
set search_path = ''
as $$
begin
  -- Of what it means, not of how it is written: the slots, without asking the clock, and what is not in them.
  return private.fingerprint(
    to_jsonb(wanted) - array['occurrences', 'start_time', 'end_time', 'start_time_offset_minutes',
      'end_time_offset_minutes', 'time_zone', 'session_id']
    || jsonb_build_object(
      -- A move that does not name a room keeps the sessions' own.
      'keepsRoom', not names_room and (wanted.session_id is not null or exists (
        select from unnest(wanted.occurrences) as place where place.session_id is not null
      )),
      'slots', (
      select jsonb_agg(
        jsonb_build_array(slot.client_id, slot.session_id, slot.start_time, slot.end_time, slot.time_zone)
        order by slot.occurrence_index, slot.client_id
      )
      from unnest(private.slots_of(wanted, null)) as slot
      )
    )
  );
end
$$;
comment on function private.hold_fingerprint(private.hold_request, boolean) is
  'The fingerprint of a hold: the same for the same request, however its times are written.';

create function private.hold_sessions(request jsonb, idempotency_key text, request_id text)
returns jsonb
language plpgsql
security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '5s'
set plan_cache_mode = 'force_generic_plan'
as $$
declare
  actor private.actor := private.begin_booking(request_id);
  wanted private.hold_request;
  names_room constant boolean := request ? 'room_id';
  fingerprint bytea;
  outcome jsonb;
begin
  if request ? 'series' and private.changes_series(request) then
    return private.hold_series(actor, request, idempotency_key);
  end if;
  wanted := private.read_hold_request(request);
  if not private.may_ask(actor, wanted.therapist_id) then
    return private.refuse(actor, 'hold.refused', '{}', 'FORBIDDEN', 'You may not book this therapist, client or room.');
  end if;
  perform private.share_organization(actor.organization_id);
  if idempotency_key is not null then
    fingerprint := private.hold_fingerprint(wanted, names_room);
    outcome := private.find_replay(actor.organization_id, actor.user_id, 'sessions-hold', idempotency_key, fingerprint);
  end if;
  if outcome is null then
    outcome := private.place_hold(actor, wanted, private.slots_of(wanted, clock_timestamp()), names_room);
    if idempotency_key is not null and (outcome ->> 'ok')::boolean then
      perform private.keep_answer(
        actor.organization_id, actor.user_id, 'sessions-hold', idempotency_key, fingerprint, outcome -> 'body',
        (outcome #>> '{body,holdId}')::uuid
      );
    end if;
  end if;
  return outcome;
exception
  when lock_not_available or deadlock_detected or serialization_failure or query_canceled then
    perform private.raise_busy(sqlstate, sqlerrm);
end
$$;
comment on function private.hold_sessions(jsonb, text, text) is
  'Holds every occurrence of the request, or none. Returns an outcome; see docs/codes.md for its codes. Raises PT400 '
  'for malformed input, PT401 and PT403 for the caller, PT503 when the database is busy.';
grant execute on function private.hold_sessions(jsonb, text, text) to authenticated;

-- === schemas/booking/recurrence.sql ===

-- Purpose: which days a recurrence rule means, for a series that goes on after it was booked.
-- Objects: rule_days, is_excepted.
-- Watch for: a new series is expanded by whoever calls the database (`functions/_shared/recurrence.ts`), which also refuses
--            rules it does not know. A property test compares the days of both.

create function private.rule_days(rule text, first_day date, span daterange)
returns date[]
language plpgsql
immutable
set search_path = ''
as $$
declare
  weekdays constant text[] := '{MO,TU,WE,TH,FR,SA,SU}';
  line constant text := regexp_replace(upper(regexp_replace(rule, '\s', '', 'g')), '^RRULE:', '');
  parts constant jsonb := (
    select jsonb_object_agg(split_part(piece.text, '=', 1), split_part(piece.text, '=', 2))
    from string_to_table(line, ';') as piece (text)
    where piece.text <> ''
  );
  frequency constant text := parts ->> 'FREQ';
  step integer;
  week_start constant integer := array_position(weekdays, coalesce(parts ->> 'WKST', 'MO'));
  by_day text[] := string_to_array(parts ->> 'BYDAY', ',');
  by_month_day integer[];
begin
  -- Here, where what is no number is caught.
  step := coalesce((parts ->> 'INTERVAL')::integer, 1);
  by_month_day := string_to_array(parts ->> 'BYMONTHDAY', ',')::integer[];
  if (frequency in ('DAILY', 'WEEKLY', 'MONTHLY') and step > 0 and week_start > 0) is not true then
    return null;
  end if;
  -- What the rule does not say comes from the first day (RFC 5545, section 3.3.10).
  if frequency = 'WEEKLY' and by_day is null then
    by_day := array[weekdays[extract(isodow from first_day)::integer]];
  elsif frequency = 'MONTHLY' and by_day is null and by_month_day is null then
    by_month_day := array[extract(day from first_day)::integer];
  end if;
  return array(
    select day.date
    from generate_series(lower(span)::timestamp, (upper(span) - 1)::timestamp, interval '1 day') as moment (at)
    cross join lateral (
      select
        moment.at::date as date,
        extract(day from moment.at)::integer as from_start,
        extract(day from moment.at)::integer
          - extract(day from date_trunc('month', moment.at) + interval '1 month' - interval '1 day')::integer - 1 as from_end,
        weekdays[extract(isodow from moment.at)::integer] as weekday
    ) as day
    where day.date >= first_day
      and case frequency
        when 'DAILY' then (day.date - first_day) % step = 0
        -- 3 January 2000 was a Monday.
        when 'WEEKLY' then (
          floor((day.date - date '2000-01-03' - (week_start - 1)) / 7.0)
          - floor((first_day - date '2000-01-03' - (week_start - 1)) / 7.0)
        )::integer % step = 0
        else (
          (extract(year from day.date) - extract(year from first_day)) * 12
          + extract(month from day.date) - extract(month from first_day)
        )::integer % step = 0
      end
      and (by_month_day is null or day.from_start = any (by_month_day) or day.from_end = any (by_month_day))
      and (by_day is null or exists (
        select from unnest(by_day) as by (text)
        where right(by.text, 2) = day.weekday
          and coalesce(nullif(left(by.text, -2), '')::integer, 0)
            in (0, ceil(day.from_start / 7.0)::integer, -ceil(-day.from_end / 7.0)::integer)
      ))
    order by day.date
  );
exception
  when data_exception then
    return null;
end
$$;
comment on function private.rule_days(text, date, daterange) is
  'The days of a span that a rule means when it began on first_day; its COUNT and UNTIL are not looked at. Null: it is no '
  'rule of DAILY, WEEKLY or MONTHLY that can be read.';

create function private.is_excepted(exceptions jsonb, civil timestamp, zone text)
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  return exists (
    select from jsonb_array_elements_text(exceptions) as item (value)
    cross join lateral (select btrim(item.value) as text) as exception
    where case
      when exception.text ~ '^\d{4}-?\d\d-?\d\d$' then exception.text::date = civil::date
      when exception.text ~* '^[-\d]+t[\d:.]+$' then exception.text::timestamp = civil
      else exception.text::timestamptz = private.instant_at(civil, zone)
    end
  );
exception
  when data_exception then
    return false;
end
$$;
comment on function private.is_excepted(jsonb, timestamp, text) is
  'Whether the exceptions of a recurrence (dates, local times, instants) leave out a civil start.';

-- === schemas/booking/series.sql ===

-- Purpose: sessions of a series change together: this one, this and the following ones, or all that are to come.
-- Objects: series_changes, what was changed and by whom; read_series_request, series_sessions, changed_civil, series_move,
--          hold_series.
-- Watch for: a change is a move of these sessions through private.place_hold, and nothing else: here it is only worked out
--            which sessions go where. The hold's batch remembers what was asked, so a confirmed batch is the record of the
--            change. Which sessions those are is read again behind their locks.

create view public.series_changes with (security_invoker = true) as
select
  batch.organization_id, batch.series_id, batch.id as batch_id, batch.series_change as change, settled.changed_at,
  batch.created_by as changed_by
from public.hold_batches as batch
cross join lateral (
  select max(hold.settled_at) as changed_at
  from public.session_holds as hold
  where hold.organization_id = batch.organization_id and hold.batch_id = batch.id and hold.status = 'confirmed'
) as settled
where batch.series_id is not null and settled.changed_at is not null;
comment on view public.series_changes is
  'What was changed of series since they were booked, extensions among it: one row for each confirmed change.';
comment on column public.series_changes.change is
  'As asked: {scope, from, shift_minutes, weekday, local_start, duration_minutes, therapist_id, room_id}, or what '
  'extend_series was asked for.';
grant select on public.series_changes to authenticated, service_role;

create function private.read_series_request(request jsonb)
returns private.series_request
language plpgsql
stable
set search_path = ''
as $$
declare
  wanted private.series_request :=
    private.read_request(request, null::private.series_request, private.mistyped_series_request());
  part constant private.series_part := wanted.series;
  change constant private.series_change := part.change;
  issues jsonb;
begin
  select jsonb_agg(jsonb_build_object('path', rule.path, 'message', rule.message)) into issues
  from (
    select field.key as path, 'must not accompany series' as message, field.value not in ('null', '""', '[]') as is_broken
    from jsonb_each(request) as field
    where field.key in ('start_time', 'end_time', 'start_time_offset_minutes', 'end_time_offset_minutes', 'session_id',
      'client_ids', 'group_id', 'room_id', 'occurrences', 'recurrence')
    union all
    values
      ('series.series_id', 'is required', part.series_id is null),
      ('series.scope', 'is required', part.scope is null),
      ('series.from', 'is required: the start of the session, or of the first one, that changes',
        part."from" is null and part.scope in ('this', 'following')),
      ('series.from', 'must not accompany scope "all"', part."from" is not null and part.scope = 'all'),
      ('series.change', 'is required', jsonb_typeof(request #> '{series,change}') is distinct from 'object'),
      ('series.change', 'names nothing that changes',
        jsonb_typeof(request #> '{series,change}') = 'object' and not private.names_room(request) and num_nonnulls(change.shift_minutes, change.weekday, change.local_start,
          change.duration_minutes, change.therapist_id) = 0),
      ('series.change.shift_minutes', 'must not accompany weekday or local_start',
        change.shift_minutes is not null and num_nonnulls(change.weekday, change.local_start) > 0),
      ('override.reason', 'is required', wanted.override is distinct from null and (wanted.override).reason is null),
      ('time_zone', 'must be a known IANA time zone, like America/Los_Angeles',
        not exists (select from public.time_zones as known where known.name = wanted.time_zone) and wanted.time_zone is not null)
  ) as rule (path, message, is_broken)
  where rule.is_broken;
  if issues is not null then
    perform private.raise_invalid(issues);
  end if;
  wanted.hold_seconds := coalesce(wanted.hold_seconds, 300);
  wanted.cpt_code := upper(private.tidy(wanted.cpt_code));
  wanted.session_type := private.tidy(wanted.session_type);
  return wanted;
end
$$;
comment on function private.read_series_request(jsonb) is
  'Reads the body of sessions-hold that changes sessions of a series, or PT400.';

create function private.changes_series(request jsonb)
returns boolean
language plpgsql
immutable
set search_path = ''
as $$
begin
  return jsonb_typeof(request) = 'object' and jsonb_typeof(request -> 'series') <> 'null'
    and private.tidy(request ->> 'series') is not null;
end
$$;
comment on function private.changes_series(jsonb) is
  'Whether a body of sessions-hold changes a series. Null and blank are not given.';

create function private.names_room(request jsonb)
returns boolean
language plpgsql
immutable
set search_path = ''
as $$
begin
  return case when jsonb_typeof(request #> '{series,change}') = 'object'
    then request #> '{series,change}' ? 'room_id' else false end;
end
$$;
comment on function private.names_room(jsonb) is 'Whether a change of a series says which room: null is none.';

create function private.changed_civil(civil timestamp, change private.series_change)
returns timestamp
language plpgsql
immutable
set search_path = ''
as $$
declare
  day date := civil::date;
begin
  if change.shift_minutes is not null then
    return civil + make_interval(mins => change.shift_minutes);
  end if;
  if change.weekday is not null then
    day := date_trunc('week', civil)::date - 1 + array_position(
      '{monday,tuesday,wednesday,thursday,friday,saturday,sunday}'::text[], change.weekday::text
    );
  end if;
  return day + coalesce(change.local_start::time, civil::time);
end
$$;
comment on function private.changed_civil(timestamp, private.series_change) is
  'Where a change puts a civil start. A weekday is that of the same week, which begins on Monday (ISO 8601).';

create function private.series_sessions(actor private.actor, series_id uuid, therapist_id uuid default null)
returns public.sessions[]
language plpgsql
stable
set search_path = ''
as $$
begin
  if actor.role = 'client' then
    return '{}';
  end if;
  return array(
    select session
    from public.sessions as session
    where session.organization_id = actor.organization_id and session.series_id = series_sessions.series_id
      and (actor.role <> 'therapist' or session.therapist_id = actor.user_id)
      and (series_sessions.therapist_id is null or session.therapist_id = series_sessions.therapist_id)
    order by session.start_time, session.id
  );
end
$$;
comment on function private.series_sessions(private.actor, uuid, uuid) is
  'The sessions of a series that are the caller''s to change, whatever became of them, by time; of one therapist when one '
  'is named. Empty for a series that is not theirs, of another organization, or unknown.';

create type private.series_move as (
  issue private.cause,
  request private.hold_request,
  sessions public.sessions[]
);
comment on type private.series_move is
  'A change of a series, worked out: the move of sessions that it is, one occurrence for each, by time. issue: why it is '
  'none.';

create function private.series_move(
  actor private.actor,
  wanted private.series_request,
  among uuid[] default null
)
returns private.series_move
language plpgsql
stable
set search_path = ''
as $$
declare
  part constant private.series_part := wanted.series;
  since constant timestamptz := part."from"::timestamptz;
  known public.sessions[] := private.series_sessions(actor, part.series_id, wanted.therapist_id);
  move private.series_move;
  request private.hold_request;
  as_of constant timestamptz := clock_timestamp();
begin
  if known = '{}' then
    move.issue := row('FORBIDDEN', 'You may not book this therapist, client or room.', null, null);
    return move;
  elsif since > known[cardinality(known)].start_time then
    perform private.raise_invalid(private.issue('series.from', 'is after the last session of the series'));
  elsif part.scope = 'this' and not exists (select from unnest(known) as session where session.start_time = since) then
    perform private.raise_invalid(private.issue('series.from', 'is the start of no session of the series'));
  end if;
  -- What has begun, ended or been cancelled stays as it is.
  move.sessions := array(
    select session
    from unnest(known) as session
    where session.status = 'scheduled' and (among is null or session.id = any (among))
      and case part.scope
        when 'this' then session.start_time = since
        when 'following' then session.start_time >= greatest(since, as_of)
        else session.start_time >= as_of
      end
    order by session.start_time, session.id
  );
  if move.sessions = '{}' then
    move.issue := row('SESSION_NOT_MOVABLE', 'None of these sessions can be moved any more. Reload them and try again.', null, null);
    return move;
  elsif cardinality(move.sessions) > 366 then
    perform private.raise_invalid(private.issue('series.scope', 'must not be more than 366 sessions: begin with a later one'));
  elsif (part.change).therapist_id is null and (
    select count(distinct session.therapist_id) from unnest(move.sessions) as session
  ) > 1 then
    perform private.raise_invalid(private.issue(
      'series.change.therapist_id', 'must be named, or therapist_id at the top: the sessions are with different therapists'));
  end if;

  request.therapist_id := coalesce((part.change).therapist_id, move.sessions[1].therapist_id);
  request.client_id := coalesce(wanted.client_id, move.sessions[1].client_id);
  request.room_id := (part.change).room_id;
  request.cpt_code := wanted.cpt_code;
  request.session_type := wanted.session_type;
  request.time_zone := coalesce(wanted.time_zone, move.sessions[1].time_zone);
  request.hold_seconds := wanted.hold_seconds;
  request.buffer_before_minutes := wanted.buffer_before_minutes;
  request.buffer_after_minutes := wanted.buffer_after_minutes;
  request.override := wanted.override;
  request.occurrences := private.changed_occurrences(move.sessions, part.change, wanted.time_zone);
  move.request := request;
  return move;
end
$$;
comment on function private.series_move(private.actor, private.series_request, uuid[]) is
  'Works out a change of a series: the sessions that change and the move they make. among: only those. PT400 where the '
  'series has no such sessions, or they do not go together.';

create function private.changed_occurrences(sessions public.sessions[], change private.series_change, time_zone text)
returns private.occurrence_requests
language plpgsql
stable
set search_path = ''
as $$
begin
  return array(
    select row(
      -- Of a time that clocks show twice or skip, the instant that it is.
      case when private.instant_at(becomes.civil, zone.name) <> begins.at then private.iso(begins.at) end,
      private.iso(begins.at + coalesce(make_interval(mins => change.duration_minutes), session.end_time - session.start_time)),
      null, null, zone.name, session.id,
      case when private.instant_at(becomes.civil, zone.name) = begins.at
        then to_char(becomes.civil, 'YYYY-MM-DD"T"HH24:MI:SS.MS') end
    )::private.occurrence_request
    from unnest(sessions) as session
    cross join lateral (select coalesce(changed_occurrences.time_zone, session.time_zone) as name) as zone
    cross join lateral (
      select case when zone.name = session.time_zone then session.civil_start
        else session.start_time at time zone zone.name end as civil
    ) as was
    cross join lateral (select private.changed_civil(was.civil, change) as civil offset 0) as becomes
    cross join lateral (
      select case when becomes.civil = was.civil then session.start_time
        else private.instant_at(becomes.civil, zone.name) end as at
      offset 0
    ) as begins
    order by session.start_time, session.id
  );
end
$$;
comment on function private.changed_occurrences(public.sessions[], private.series_change, text) is
  'New places of sessions, in civil time: 16:00 stays 16:00 across a change of clocks. A time that does not change keeps its '
  'instant. time_zone: whose clocks count; null: those of each session.';

create function private.series_issues(issues jsonb, sessions public.sessions[])
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
begin
  return (
    select jsonb_agg(case
      when place.index is not null then jsonb_build_object('path', 'series.change', 'message', format(
        'puts the session at %s where its %s %s', private.iso(sessions[place.index::integer + 1].start_time),
        coalesce(place.field, 'service'), issue.value ->> 'message'
      ))
      when issue.value ->> 'path' in ('room_id', 'therapist_id')
        then issue.value || jsonb_build_object('path', 'series.change.' || (issue.value ->> 'path'))
      when issue.value ->> 'path' = 'occurrences' then issue.value || '{"path": "series.scope"}'
      else issue.value
    end order by issue.position)
    from jsonb_array_elements(issues) with ordinality as issue (value, position)
    cross join lateral (
      select found.part[1] as index, found.part[2] as field
      from (select regexp_match(issue.value ->> 'path', '^occurrences\.(\d+)(?:\.(\w+))?') as part) as found
    ) as place
  );
end
$$;
comment on function private.series_issues(jsonb, public.sessions[]) is
  'Names what is wrong with a move by what was asked of the series: the caller has sent no occurrences.';

create function private.hold_move(
  actor private.actor,
  move private.series_move,
  names_room boolean,
  details jsonb
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  found text;
begin
  return private.place_hold(
    actor, move.request, private.slots_of(move.request, clock_timestamp()), names_room, details
  );
exception
  when sqlstate 'PT400' then
    get stacked diagnostics found = pg_exception_detail;
    perform private.raise_invalid(private.series_issues(found::jsonb, move.sessions));
end
$$;
comment on function private.hold_move(private.actor, private.series_move, boolean, jsonb) is
  'Holds the move that a change of a series is.';

create function private.told_by_session(outcome jsonb, sessions public.sessions[])
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
declare
  name text;
begin
  foreach name in array array['conflicts', 'shortages'] loop
    if jsonb_typeof(outcome -> name) = 'array' then
      outcome := jsonb_set(outcome, array[name], (
        select coalesce(jsonb_agg(
          item.value || jsonb_build_object('sessionId', sessions[(item.value ->> 'occurrenceIndex')::integer + 1].id)
          order by item.position
        ), '[]')
        from jsonb_array_elements(outcome -> name) with ordinality as item (value, position)
      ));
    end if;
  end loop;
  return outcome;
end
$$;
comment on function private.told_by_session(jsonb, public.sessions[]) is
  'A refusal whose conflicts and shortages name the sessions they are about.';

create function private.held_series(body jsonb, move private.series_move, part private.series_part)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return body || jsonb_build_object(
    'series', jsonb_build_object(
      'seriesId', part.series_id, 'scope', part.scope, 'therapistId', (move.request).therapist_id,
      'clientId', (move.request).client_id
    ),
    'holds', (
      select jsonb_agg(held.value || jsonb_build_object(
        'sessionId', session.id,
        'timeZone', place.time_zone,
        'previousStartTime', private.iso(session.start_time),
        'previousEndTime', private.iso(session.end_time)
      ) order by held.position)
      from jsonb_array_elements(body -> 'holds') with ordinality as held (value, position)
      cross join lateral (select (move.sessions[held.position::integer]).*) as session
      cross join lateral (select ((move.request).occurrences[held.position::integer]).time_zone) as place
    )
  );
end
$$;
comment on function private.held_series(jsonb, private.series_move, private.series_part) is
  'The answer to a change of a series: which session goes where, with all that confirming asks for.';

create function private.hold_series(actor private.actor, request jsonb, idempotency_key text)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  wanted constant private.series_request := private.read_series_request(request);
  part constant private.series_part := wanted.series;
  names_room constant boolean := private.names_room(request);
  change constant jsonb := jsonb_strip_nulls(to_jsonb(part.change))
    || case when names_room then jsonb_build_object('room_id', (part.change).room_id) else '{}' end;
  fingerprint bytea;
  outcome jsonb;
  move private.series_move;
begin
  perform private.share_organization(actor.organization_id);
  if idempotency_key is not null then
    -- Of what was asked: once it is confirmed, the same request would mean other places.
    fingerprint := private.fingerprint(to_jsonb(wanted) || jsonb_build_object('change', change));
    outcome := private.find_replay(actor.organization_id, actor.user_id, 'sessions-hold', idempotency_key, fingerprint);
    if outcome is not null then
      return outcome;
    end if;
  end if;
  move := private.series_move(actor, wanted);
  if (move.issue).code is null then
    -- Another change, or a cancellation, may be under way: where the sessions are is read once it is over. A session that
    -- comes into reach meanwhile is not among those that are locked, and stays.
    perform private.lock_moved(actor.organization_id, private.ids_of(move.sessions));
    move := private.series_move(actor, wanted, private.ids_of(move.sessions));
  end if;
  if (move.issue).code is not null then
    return private.refuse(actor, 'hold.refused', '{}', (move.issue).code, (move.issue).detail);
  end if;
  outcome := private.hold_move(
    actor, move, names_room, jsonb_build_object('seriesId', part.series_id, 'scope', part.scope)
  );
  if not (outcome ->> 'ok')::boolean then
    return private.told_by_session(outcome, move.sessions);
  end if;
  update public.hold_batches as batch
  set series_id = part.series_id,
    series_change = jsonb_strip_nulls(jsonb_build_object(
      'scope', part.scope, 'from', private.iso(part."from"::timestamptz), 'time_zone', wanted.time_zone
    )) || change
  where batch.organization_id = actor.organization_id and batch.id = (outcome #>> '{body,holdId}')::uuid;
  outcome := jsonb_set(outcome, '{body}', private.held_series(outcome -> 'body', move, part));
  if idempotency_key is not null then
    perform private.keep_answer(
      actor.organization_id, actor.user_id, 'sessions-hold', idempotency_key, fingerprint, outcome -> 'body',
      (outcome #>> '{body,holdId}')::uuid
    );
  end if;
  return outcome;
end
$$;
comment on function private.hold_series(private.actor, jsonb, text) is
  'sessions-hold with series: holds new places for this session of a series, this and the following ones, or all that are '
  'to come. All or nothing; confirmed as a move.';

create function private.ids_of(sessions public.sessions[])
returns uuid[]
language plpgsql
immutable
set search_path = ''
as $$
begin
  return array(select session.id from unnest(sessions) as session);
end
$$;
comment on function private.ids_of(public.sessions[]) is 'The ids of sessions.';

create function private.asked_move(actor private.actor, request jsonb)
returns private.series_move
language plpgsql
stable
set search_path = ''
as $$
declare
  move private.series_move := private.series_move(actor, private.read_series_request(request));
begin
  if (move.issue).code = 'FORBIDDEN' then
    perform private.raise_refusal(403, 'FORBIDDEN', (move.issue).detail);
  elsif (move.issue).code is not null then
    perform private.raise_invalid(private.issue('series', 'has no session that can be moved any more'));
  end if;
  return move;
end
$$;
comment on function private.asked_move(private.actor, jsonb) is
  'The move that a change of a series would be, for who asks whether it can be had.';

-- === schemas/booking/confirm.sql ===

-- Purpose: sessions-confirm. Turns a live hold into sessions, or into the moves it was made for.
-- Objects: find_batch, holds_of_key, hold_state, listing_issue, make_sessions, move_sessions, confirm_hold, confirm_sessions.
-- Watch for: a live hold confirms, always; an unconfirmed one at or after expires_at never does, swept or not. A new
--            session takes its hold's id, so its claims stay where they are and only lose their expiry. A move settles
--            whole: its places depend on each other.

create function private.find_batch(actor private.actor, hold_key uuid)
returns public.hold_batches
language plpgsql
stable
set search_path = ''
as $$
declare
  batch public.hold_batches;
begin
  select known.* into batch
  from public.hold_batches as known
  where known.organization_id = actor.organization_id and known.hold_key = find_batch.hold_key;
  if not found then
    select known.* into batch
    from (
      select hold.batch_id
      from public.session_holds as hold
      where hold.organization_id = actor.organization_id and hold.hold_key = find_batch.hold_key
      limit 1
    ) as named
    join public.hold_batches as known on known.organization_id = actor.organization_id and known.id = named.batch_id;
  end if;
  if not private.may_ask(actor, batch.therapist_id) then
    return null;
  end if;
  return batch;
end
$$;
comment on function private.find_batch(private.actor, uuid) is
  'The batch that this key, or one of its occurrences'' keys, belongs to; null when it is unknown, or not the caller''s to '
  'use. A batch never changes.';

create function private.holds_of_key(batch public.hold_batches, hold_key uuid)
returns public.session_holds[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return array(
    select hold
    from public.session_holds as hold
    where hold.organization_id = batch.organization_id and hold.batch_id = batch.id
      and (batch.hold_key = holds_of_key.hold_key or hold.hold_key = holds_of_key.hold_key or batch.is_move)
    order by hold.occurrence_index, hold.client_id
  );
end
$$;
comment on function private.holds_of_key(public.hold_batches, uuid) is
  'The holds a key stands for, as they are now: a batch''s key for all, an occurrence''s for its own, except that a move is '
  'always whole.';

create function private.hold_state(batch public.hold_batches, holds public.session_holds[], as_of timestamptz)
returns text
language plpgsql
immutable
set search_path = ''
as $$
begin
  return (
    select case
      when bool_and(hold.status = 'released') then 'released'
      when bool_or(hold.status = 'expired' or (hold.status = 'held' and batch.expires_at <= as_of)) then 'expired'
      when bool_or(hold.status = 'held') then 'live'
      else 'confirmed'
    end
    from unnest(holds) as hold
  );
end
$$;
comment on function private.hold_state(public.hold_batches, public.session_holds[], timestamptz) is
  'What became of these holds by now: released, expired, live (some of it is yet to be confirmed) or confirmed.';

create function private.is_listed_as_held(
  batch public.hold_batches,
  holds public.session_holds[],
  listed private.listing[],
  top private.session_request
)
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  return cardinality(listed) = cardinality(holds) and top.therapist_id = batch.therapist_id and array(
    select row(
      -- A lone occurrence may be listed by its batch's key.
      case when item.hold_key = batch.hold_key then holds[1].hold_key else item.hold_key end, item.client_id,
      item.therapist_id, item.start_time, item.end_time, item.session_id,
      coalesce(item.session_type, batch.session_type), coalesce(item.cpt_code, batch.cpt_code)
    )
    from unnest(listed) as item
    order by 1
  ) = array(
    select row(
      hold.hold_key, hold.client_id, batch.therapist_id, hold.start_time, hold.end_time, null::uuid, batch.session_type,
      batch.cpt_code
    )
    from unnest(holds) as hold
    where hold.status <> 'released'
    order by 1
  ) and top.client_id in (select hold.client_id from unnest(holds) as hold);
end
$$;
comment on function private.is_listed_as_held(
  public.hold_batches, public.session_holds[], private.listing[], private.session_request
) is
  'Whether a confirmation lists every client of every occurrence exactly as it was held. False says nothing: the same may '
  'be listed in other words, see private.listing_issue.';

create function private.listing_issue(
  batch public.hold_batches,
  holds public.session_holds[],
  listed private.listing[],
  top private.session_request
)
returns private.cause
language plpgsql
stable
set search_path = ''
as $$
declare
  cause private.cause;
  keys uuid[];
  fields text[];
begin
  if private.is_listed_as_held(batch, holds, listed, top) then
    return cause;
  end if;
  -- Something differs, or is described in other words.
  keys := array(select distinct hold.hold_key from unnest(holds) as hold where hold.status <> 'released');
  -- A lone occurrence may be listed by its batch's key.
  if cardinality(keys) = 1 then
    listed := array(
      select row(
        item.occurrence_index, case when item.hold_key = batch.hold_key then keys[1] else item.hold_key end,
        item.therapist_id, item.client_id, item.start_time, item.end_time, item.time_zone, item.session_id,
        item.session_type, item.location_type, item.cpt_code, item.cpt_modifiers
      )::private.listing
      from unnest(listed) as item
    );
  end if;
  if exists (
    select from unnest(listed) as item
    where item.hold_key <> all (keys || batch.hold_key) and not exists (
      select from public.session_holds as other
      where other.organization_id = batch.organization_id and other.hold_key = item.hold_key and other.status <> 'released'
    )
  ) then
    cause := row('HOLD_NOT_FOUND', 'An occurrence lists a hold that is not there, or was released. Hold the time again.', null, null);
    return cause;
  end if;

  select array_agg(distinct difference.field order by difference.field) into fields
  from unnest(listed) as item
  join unnest(holds) as hold on hold.hold_key = item.hold_key and hold.status <> 'released'
  left join lateral (
    select known.cpt_code, known.session_type from public.sessions as known
    where known.organization_id = batch.organization_id and known.id = hold.session_id offset 0
  ) as moved on true
  cross join lateral (
    select coalesce(batch.cpt_code, moved.cpt_code) as cpt_code, coalesce(batch.session_type, moved.session_type) as session_type
  ) as held
  cross join lateral (
    values
      ('therapist_id', item.therapist_id <> batch.therapist_id or top.therapist_id <> batch.therapist_id),
      ('start_time', item.start_time <> hold.start_time),
      ('end_time', item.end_time <> hold.end_time),
      ('id', item.session_id is not null and item.session_id is distinct from
        coalesce(hold.session_id, case when hold.status = 'confirmed' then hold.id end)),
      ('session_type', lower(item.session_type) <> lower(batch.session_type)),
      -- What was named when it was held stays so; a hold that named no service leaves the choice open.
      ('cpt', item.cpt_code <> batch.cpt_code
        or private.service_code_at(
          batch.organization_id, hold.client_id, coalesce(item.cpt_code, held.cpt_code),
          coalesce(item.session_type, held.session_type), hold.start_time
        ) <> private.service_code_at(
          batch.organization_id, hold.client_id, held.cpt_code, held.session_type, hold.start_time
        ))
  ) as difference (field, differs)
  where difference.differs
    and (difference.field <> 'id' or hold.client_id = item.client_id);
  if fields is not null then
    cause.code := 'HOLD_MISMATCH';
    cause.detail := format('What is confirmed differs from what was held in %s. Confirm it exactly as held.', array_to_string(fields, ', '));
  elsif exists (
    select from unnest(listed) as item
    where item.hold_key = any (keys) and not exists (
      select from unnest(holds) as hold where hold.hold_key = item.hold_key and hold.client_id = item.client_id
    )
  ) or top.client_id not in (select hold.client_id from unnest(holds) as hold) then
    cause.code := 'CLIENT_MISMATCH';
    cause.detail := 'The hold is for another client.';
  elsif (select count(distinct item.hold_key) from unnest(listed) as item where item.hold_key = any (keys)) < cardinality(keys)
    or (select count(distinct (item.hold_key, item.client_id)) from unnest(listed) as item) < cardinality(listed)
    or exists (select from unnest(listed) as item where item.hold_key <> all (keys))
  then
    cause.code := 'HOLD_MISMATCH';
    cause.detail := 'Confirm every occurrence of this hold, each once: occurrences lists too few, one of them twice, or another hold''s.';
  end if;
  return cause;
end
$$;
comment on function private.listing_issue(
  public.hold_batches, public.session_holds[], private.listing[], private.session_request
) is
  'Whether a confirmation lists what is held: every occurrence once (of a group one client or all), as it was held. The '
  'detail names the fields that differ.';

create type private.confirmed_slot as (
  hold public.session_holds,
  cpt_code text,
  session_type text,
  location_type text,
  cpt_modifiers text[],
  path text,
  service_date date,
  service_code text,
  is_service_held boolean
);
comment on type private.confirmed_slot is
  'A hold to be confirmed, and what its session is to be: service_code is the service it names on its day, moved sessions '
  'those they have; is_service_held: the hold named it. path: where the request describes it.';

create function private.confirmed_slots(
  batch public.hold_batches,
  holds public.session_holds[],
  listed private.listing[],
  is_listed boolean,
  has_payer boolean
)
returns private.confirmed_slot[]
language plpgsql
stable
set search_path = ''
as $$
declare
  by_client jsonb;
  by_key jsonb;
begin
  -- A look into an object, not a search of the listing for each occurrence. Of a group one client may be listed for all.
  if cardinality(listed) > 1 then
    select jsonb_object_agg(listing.hold_key::text || listing.client_id::text, listing.position),
      jsonb_object_agg(listing.hold_key, listing.position)
    into by_client, by_key
    from unnest(listed) with ordinality as listing (
      occurrence_index, hold_key, therapist_id, client_id, start_time, end_time, time_zone, session_id, session_type,
      location_type, cpt_code, cpt_modifiers, position
    );
  end if;
  return array(
    select row(
      hold, service.cpt_code, service.session_type, place.location_type,
      coalesce(item.cpt_modifiers, case
        -- A move that names no code leaves the modifiers as they are. Nobody asks for any but a payer, or a place.
        when (not batch.is_move or service.cpt_code is not null)
          and (confirmed_slots.has_payer or private.place_of(place.location_type) = 'telehealth')
        then private.default_modifiers(
          batch.organization_id, private.primary_payer(batch.organization_id, hold.client_id, day.date),
          coalesce(service.code, '97153'), private.credential_on(batch.organization_id, batch.therapist_id, day.date),
          place.location_type, day.date
        )
      end),
      case when is_listed then format('occurrences.%s.', item.occurrence_index) else '' end, day.date, service.code,
      private.service_code(batch.organization_id, batch.cpt_code, batch.session_type, day.date) is not null
    )::private.confirmed_slot
    from unnest(holds) as hold
    cross join lateral (
      select (listed[coalesce(
        by_client ->> (hold.hold_key::text || hold.client_id::text), by_client ->> (batch.hold_key::text || hold.client_id::text),
        by_key ->> hold.hold_key::text, by_key ->> batch.hold_key::text, '1'
      )::integer]).*
    ) as item
    cross join lateral (
      select private.service_date(batch.organization_id, hold.client_id, hold.start_time) as date offset 0
    ) as day
    left join lateral (
      select known.cpt_code, known.session_type, known.location_type from public.sessions as known
      where known.organization_id = batch.organization_id and known.id = hold.session_id offset 0
    ) as moved on true
    cross join lateral (
      select named.cpt_code, named.session_type, private.service_code(
        batch.organization_id, coalesce(named.cpt_code, moved.cpt_code), coalesce(named.session_type, moved.session_type),
        day.date
      ) as code
      from (
        select coalesce(item.cpt_code, batch.cpt_code) as cpt_code,
          coalesce(item.session_type, batch.session_type) as session_type
      ) as named
      offset 0
    ) as service
    cross join lateral (select coalesce(item.location_type, moved.location_type) as location_type) as place
    where hold.status = 'held'
    order by hold.occurrence_index, hold.client_id
  );
end
$$;
comment on function private.confirmed_slots(
  public.hold_batches, public.session_holds[], private.listing[], boolean, boolean
) is
  'What is to be confirmed, with the service each occurrence is confirmed as, and with modifiers where the caller gave '
  'none: what the payer of the day wants for the code, the credential of that day and the place. is_listed: the request '
  'lists occurrences. has_payer: a client of it ever had a payer.';

create function private.require_payment(batch public.hold_batches, slots private.confirmed_slot[])
returns void
language plpgsql
stable
set search_path = ''
as $$
declare
  issues jsonb;
begin
  select jsonb_agg(jsonb_build_object(
    'path', slot.path || case gap.reason when 'place' then 'session.location_type' else 'cpt.code' end,
    'message', case gap.reason
      when 'place' then format('is a place where the payer of that day does not pay for %s', slot.code)
      else format('%s is a service that the payer of that day does not pay for', slot.code)
    end
  ) order by slot.position) into issues
  from (
    select each.path, (each.hold).client_id, coalesce(each.service_code, '97153') as code, each.location_type,
      each.service_date, each.position
    from unnest(slots) with ordinality as each (
      hold, cpt_code, session_type, location_type, cpt_modifiers, path, service_date, service_code, is_service_held,
      position
    )
  ) as slot
  cross join lateral (
    select private.coverage_gap(
      batch.organization_id, private.primary_payer(batch.organization_id, slot.client_id, slot.service_date), slot.code,
      slot.location_type, slot.service_date
    ) as reason
  ) as gap
  where gap.reason is not null;
  if issues is not null then
    perform private.raise_invalid(jsonb_path_query_array(issues, '$[0 to 49]'));
  end if;
end
$$;
comment on function private.require_payment(public.hold_batches, private.confirmed_slot[]) is
  'PT400 for each occurrence that the payer of its day does not pay for: not at all (cpt.code), or not at its place '
  '(session.location_type).';

create function private.confirmed_service_issue(batch public.hold_batches, slots private.confirmed_slot[])
returns private.cause
language plpgsql
stable
set search_path = ''
as $$
declare
  cause private.cause;
  issues jsonb;
begin
  select jsonb_agg(jsonb_build_object('path', found.path || 'cpt.code', 'message', found.issue) order by found.path)
  into issues
  from (
    select occurrence.path, case
      -- What is moved stays the service it is, and does not leave the days of its code.
      when batch.is_move then case
        when (private.service_code_on(batch.organization_id, occurrence.code, occurrence.date)).code is null
          then format('%s is no service code on %s', occurrence.code, occurrence.date)
      end
      else private.service_issue(batch.organization_id, occurrence.code, occurrence.date, occurrence.clients)
    end as issue
    from (
      select min(slot.path) as path, service.code, min(slot.service_date) as date,
        count(*)::integer + case when exists (
          select from public.session_groups as known
          where known.organization_id = batch.organization_id and known.id = asked.group_id
        ) then 1 else 0 end as clients
      from unnest(slots) as slot
      cross join lateral (select (slot.hold).occurrence_index, (slot.hold).group_id) as asked
      -- Without a name it is billed as one-to-one treatment, which no group is. A client who joins is one beside another.
      cross join lateral (
        select coalesce(slot.service_code, case when not batch.is_move then '97153' end) as code
      ) as service
      where service.code is not null
      group by asked.occurrence_index, asked.group_id, service.code
    ) as occurrence
  ) as found
  where found.issue is not null;
  if issues is not null then
    perform private.raise_invalid(jsonb_path_query_array(issues, '$[0 to 49]'));
  end if;
  if exists (select from unnest(slots) as slot where slot.service_code is not null) and not private.may_render_each(
    batch.organization_id, batch.therapist_id, array(select slot.service_code from unnest(slots) as slot),
    array(select slot.service_date from unnest(slots) as slot)
  ) then
    cause.code := 'FORBIDDEN';
    cause.detail := 'A technician may not render this service: it is a qualified professional''s.';
  end if;
  return cause;
end
$$;
comment on function private.confirmed_service_issue(public.hold_batches, private.confirmed_slot[]) is
  'Whether the therapist may render what is confirmed; PT400 for each occurrence whose service is unknown that day, or for '
  'fewer or more clients than there are.';

create function private.make_series(actor private.actor, batch public.hold_batches, holds public.session_holds[], as_of timestamptz)
returns boolean
language plpgsql
set search_path = ''
as $$
begin
  if batch.series_id is not null then
    return true;
  elsif (select count(distinct hold.occurrence_index) from public.session_holds as hold
    where hold.organization_id = batch.organization_id and hold.batch_id = batch.id) = 1 then
    return false;
  end if;
  insert into public.session_series (
    organization_id, id, therapist_id, client_id, recurrence_rule, recurrence, civil_start, time_zone, created_by, created_at
  )
  select batch.organization_id, private.series_id(batch.id, hold.client_id), batch.therapist_id, hold.client_id,
    batch.recurrence ->> 'rule', batch.recurrence, min(hold.civil_start), batch.time_zone, actor.user_id, as_of
  from unnest(holds) as hold
  group by hold.client_id
  on conflict do nothing;
  return true;
end
$$;
comment on function private.make_series(private.actor, public.hold_batches, public.session_holds[], timestamptz) is
  'One series for each client of a batch of several occurrences, with the rule that was asked for; a batch that extends a '
  'series makes none. False: there is none.';

create function private.series_id(batch_id uuid, client_id uuid)
returns uuid
language plpgsql
immutable
set search_path = ''
as $$
begin
  return md5(batch_id::text || client_id::text)::uuid;
end
$$;
comment on function private.series_id(uuid, uuid) is 'The series of one client of a batch.';

create function private.make_sessions(
  actor private.actor,
  batch public.hold_batches,
  slots private.confirmed_slot[],
  as_of timestamptz
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  has_groups constant boolean := (slots[1].hold).group_id is not null;
  in_series constant boolean := (slots[1].hold).occurrence_index > 0 or cardinality(slots) > 1 or batch.series_id is not null;
  is_series boolean := false;
  made jsonb;
begin
  if in_series then
    is_series := private.make_series(actor, batch, array(select (slot.hold) from unnest(slots) as slot), as_of);
  end if;
  if has_groups then
    insert into public.session_groups (
      organization_id, id, therapist_id, room_id, start_time, end_time, buffer_before_minutes, buffer_after_minutes
    )
    select distinct batch.organization_id, (slot.hold).group_id, batch.therapist_id, batch.room_id,
      (slot.hold).start_time, (slot.hold).end_time, batch.buffer_before_minutes, batch.buffer_after_minutes
    from unnest(slots) as slot
    on conflict do nothing;
  end if;
  with written as (
    insert into public.sessions (
      organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, civil_start, session_type,
      location_type, cpt_code, cpt_modifiers, lanes, series_id, group_id, room_id, buffer_before_minutes,
      buffer_after_minutes, created_by, created_at, updated_at
    )
    select
      batch.organization_id, (slot.hold).id, batch.therapist_id, (slot.hold).client_id, (slot.hold).start_time,
      (slot.hold).end_time, (slot.hold).time_zone, (slot.hold).civil_start, slot.session_type, slot.location_type,
      slot.cpt_code, coalesce(slot.cpt_modifiers, '{}'),
      case when slot.is_service_held then (slot.hold).lanes else private.client_lanes(
        batch.organization_id, (slot.hold).client_id, slot.service_code, (slot.hold).start_time, (slot.hold).end_time
      ) end,
      case
        when batch.series_id is not null then private.extended_series(batch, (slot.hold).client_id)
        when is_series then private.series_id(batch.id, (slot.hold).client_id)
      end,
      (slot.hold).group_id,
      case when not has_groups then batch.room_id end,
      case when has_groups then 0 else batch.buffer_before_minutes end,
      case when has_groups then 0 else batch.buffer_after_minutes end,
      actor.user_id, as_of, as_of
    from unnest(slots) as slot
    returning *
  ),
  kept as (
    -- The claims stay where they are: they lose their expiry, and the client's the lanes that the service leaves free.
    update private.claims as claim
    set expires_at = null, lanes = case when claim.resource_kind = 'client' then written.lanes else claim.lanes end
    from written
    cross join lateral (
      select known.ctid from private.claims as known
      where known.organization_id = batch.organization_id and known.owner_id in (written.id, written.group_id)
        and (known.resource_kind <> 'client' or known.owner_id = written.id)
        and known.expires_at is not null
      offset 0
    ) as found
    where claim.ctid = found.ctid
  )
  select jsonb_agg(to_jsonb(written) order by written.start_time, written.client_id) into made from written;
  return made;
end
$$;
comment on function private.make_sessions(private.actor, public.hold_batches, private.confirmed_slot[], timestamptz) is
  'Writes the sessions of held occurrences, their groups and series. Returns their rows.';

create function private.handed_modifiers(session public.sessions, therapist_id uuid, service_code text, on_date date)
returns text[]
language plpgsql
stable
set search_path = ''
as $$
declare
  payer_id constant uuid := private.primary_payer(session.organization_id, session.client_id, on_date);
  code constant text := coalesce(service_code, '97153');
begin
  -- Modifiers that somebody chose stay.
  return case
    when session.cpt_modifiers = coalesce(private.default_modifiers(
      session.organization_id, payer_id, code,
      private.credential_on(session.organization_id, session.therapist_id, on_date), session.location_type, on_date
    ), '{}') then coalesce(private.default_modifiers(
      session.organization_id, payer_id, code,
      private.credential_on(session.organization_id, handed_modifiers.therapist_id, on_date), session.location_type, on_date
    ), '{}')
    else session.cpt_modifiers
  end;
end
$$;
comment on function private.handed_modifiers(public.sessions, uuid, text, date) is
  'The modifiers of a session that another therapist is to render: those the payer wants for their level, where it had those '
  'for its own therapist''s.';

create function private.move_sessions(batch public.hold_batches, slots private.confirmed_slot[], as_of timestamptz)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  session_ids uuid[] := array(select (slot.hold).session_id from unnest(slots) as slot);
  group_ids uuid[] := array(
    select distinct session.group_id from public.sessions as session
    where session.organization_id = batch.organization_id and session.id = any (session_ids) and session.group_id is not null
  );
begin
  if group_ids <> '{}' then
    perform private.keep_ended_members(batch.organization_id, group_ids);
  end if;
  set constraints public.sessions_no_therapist_overlap, public.sessions_at_the_place_of_their_group deferred;
  update public.sessions as session
  set
    therapist_id = batch.therapist_id,
    start_time = (slot.hold).start_time,
    end_time = (slot.hold).end_time,
    time_zone = (slot.hold).time_zone,
    civil_start = (slot.hold).civil_start,
    lanes = (slot.hold).lanes,
    room_id = case
      when batch.keeps_places then session.room_id
      when session.group_id is null then batch.room_id
    end,
    buffer_before_minutes = case
      when batch.keeps_places then session.buffer_before_minutes
      when session.group_id is null then batch.buffer_before_minutes else 0
    end,
    buffer_after_minutes = case
      when batch.keeps_places then session.buffer_after_minutes
      when session.group_id is null then batch.buffer_after_minutes else 0
    end,
    session_type = coalesce(slot.session_type, session.session_type),
    location_type = coalesce(slot.location_type, session.location_type),
    cpt_code = coalesce(slot.cpt_code, session.cpt_code),
    cpt_modifiers = coalesce(slot.cpt_modifiers, case
      when session.therapist_id <> batch.therapist_id
        then private.handed_modifiers(session, batch.therapist_id, slot.service_code, slot.service_date)
      else session.cpt_modifiers
    end),
    updated_at = as_of
  from unnest(slots) as slot
  where session.organization_id = batch.organization_id and session.id = (slot.hold).session_id;
  if group_ids <> '{}' then
    update public.session_groups as known
    set therapist_id = batch.therapist_id, start_time = place.start_time, end_time = place.end_time,
      room_id = case when batch.keeps_places then known.room_id else batch.room_id end,
      buffer_before_minutes =
        case when batch.keeps_places then known.buffer_before_minutes else batch.buffer_before_minutes end,
      buffer_after_minutes = case when batch.keeps_places then known.buffer_after_minutes else batch.buffer_after_minutes end
    from (
      select distinct session.group_id, session.start_time, session.end_time
      from public.sessions as session
      where session.organization_id = batch.organization_id and session.id = any (session_ids)
    ) as place
    where known.organization_id = batch.organization_id and known.id = place.group_id;
  end if;
  set constraints public.sessions_no_therapist_overlap, public.sessions_at_the_place_of_their_group immediate;
  if not private.sync_claims(
    batch.organization_id, session_ids || private.claim_dependents(batch.organization_id, session_ids, group_ids) || batch.id
  ) then
    perform private.raise_busy();
  end if;
  return (
    select jsonb_agg(to_jsonb(session) order by session.start_time, session.client_id)
    from public.sessions as session
    where session.organization_id = batch.organization_id and session.id = any (session_ids)
  );
end
$$;
comment on function private.move_sessions(public.hold_batches, private.confirmed_slot[], timestamptz) is
  'Carries out a move: sessions and groups go to the places that were held, with their claims. Returns the rows.';

create function private.confirm_hold(
  actor private.actor,
  wanted private.confirm_request,
  listed private.listing[]
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  batch constant public.hold_batches := private.find_batch(actor, wanted.hold_key);
  held record;
  holds public.session_holds[];
  resource_ids uuid[] := '{}';
  booker private.booker;
  cause private.cause;
  slots private.confirmed_slot[];
  services private.service[];
  quotes private.quote[];
  before jsonb;
  made jsonb;
  as_of timestamptz;
begin
  if batch.id is null then
    return private.refuse(actor, 'confirmation.refused', '{}', 'HOLD_NOT_FOUND', 'There is no such hold. Hold the time again.');
  end if;
  select array_agg(distinct hold.client_id) as client_ids,
    array_agg(distinct hold.group_id) filter (where hold.group_id is not null) as group_ids,
    array_agg(hold.session_id) filter (where hold.session_id is not null) as session_ids
  into held
  from public.session_holds as hold
  where hold.organization_id = batch.organization_id and hold.batch_id = batch.id;
  if batch.is_move then
    resource_ids := private.lock_moved(batch.organization_id, held.session_ids);
  elsif held.group_ids is not null then
    perform private.lock_group(batch.organization_id, named.id) from unnest(held.group_ids) as named (id);
  end if;
  -- Whoever claims this time once the hold has expired must see either the hold or the sessions, never neither.
  perform private.lock_resources(
    batch.organization_id, held.client_ids || resource_ids || array[batch.therapist_id, batch.room_id]
  );
  as_of := clock_timestamp();
  -- A release, or another confirmation, may have settled it while this waited.
  holds := private.holds_of_key(batch, wanted.hold_key);

  case private.hold_state(batch, holds, as_of)
    when 'released' then
      cause := row('HOLD_NOT_FOUND', 'The hold was released. Hold the time again.', null, null);
    when 'expired' then
      perform private.expire_batches(batch.organization_id, array[batch.id], as_of);
      cause := row('HOLD_EXPIRED', 'The hold has expired. Hold the time again.', null, null);
    when 'confirmed' then
      cause := private.listing_issue(batch, holds, listed, wanted.session);
      if cause.code is null then
        return private.success(private.confirmed_answer(holds, (wanted.session).client_id));
      end if;
    else
      booker := private.who_may_book(actor, batch.therapist_id, held.client_ids, batch.room_id);
      if booker.allowed is not true then
        cause := row('FORBIDDEN', 'You may no longer book this therapist, client or room.', null, null);
      else
        cause := private.listing_issue(batch, holds, listed, wanted.session);
      end if;
  end case;
  if cause.code is null then
    slots := private.confirmed_slots(batch, holds, listed, wanted.occurrences is not null, booker.has_payer);
    cause := private.confirmed_service_issue(batch, slots);
  end if;
  if cause.code is null and batch.is_move and exists (
    select from unnest(slots) as slot
    join public.sessions as session on session.organization_id = batch.organization_id and session.id = (slot.hold).session_id
    where session.status <> 'scheduled'
  ) then
    cause := row('SESSION_NOT_MOVABLE', 'A session to be moved has been started, cancelled or completed meanwhile.', null, null);
  end if;
  if cause.code is not null then
    return private.refuse_confirmation(actor, batch, holds, cause);
  end if;

  if booker.has_payer and not private.overrides(batch, 'authorization') then
    perform private.require_payment(batch, slots);
  end if;
  if booker.has_payer and not batch.is_move then
    -- Where the hold named no service, now it is known, and its units are taken.
    services := array(
      select row(
        (slot.hold).id, (slot.hold).occurrence_index, (slot.hold).client_id, coalesce(slot.service_code, '97153'),
        (slot.hold).start_time, (slot.hold).end_time, null, null
      )::private.service
      from unnest(slots) as slot
      where not slot.is_service_held
    );
  end if;
  if services <> '{}' then
    quotes := private.quote_units(batch.organization_id, services, as_of);
    if private.shortages_of(quotes) is not null and not private.overrides(batch, 'authorization') then
      cause := row('AUTHORIZATION_EXCEEDED',
        'The payer''s authorization has too few units left for this service, or does not cover the dates: see shortages. '
        'The hold stands; an admin may hold anew with an override.', null, null);
      return private.refuse_confirmation(
        actor, batch, holds, cause, jsonb_build_object('shortages', private.shortages_of(quotes))
      );
    end if;
  end if;

  update public.session_holds as each
  set status = 'confirmed', settled_at = as_of, settled_xid = pg_current_xact_id()
  where each.organization_id = batch.organization_id
    and each.id = any (array(select (slot.hold).id from unnest(slots) as slot));
  if batch.is_move then
    before := private.facts_of_sessions(batch.organization_id, array(select (slot.hold).session_id from unnest(slots) as slot));
    made := private.move_sessions(batch, slots, as_of);
    if booker.has_payer then
      perform private.move_units(batch.organization_id, array(
        select row((slot.hold).id, (slot.hold).session_id)::private.moved_session from unnest(slots) as slot
      ));
    end if;
  else
    made := private.make_sessions(actor, batch, slots, as_of);
    if quotes is not null then
      perform private.enter_units(batch.organization_id, quotes, 'scheduled');
    end if;
    if booker.has_payer and cardinality(services) < cardinality(slots) then
      perform private.schedule_units(batch.organization_id, array(select (slot.hold).id from unnest(slots) as slot));
    end if;
  end if;
  perform private.close_waitlist_entry(batch.organization_id, batch.id, as_of);
  perform private.record_event(
    batch.organization_id, 'hold.confirmed', 'session', array(
      select (item.value ->> 'id')::uuid from jsonb_array_elements(made) as item (value)
    ), as_of,
    therapist_id => batch.therapist_id,
    actor_role => actor.role::text,
    before => before,
    after => private.facts_of_rows(made),
    details => jsonb_build_object('batchId', batch.id)
  );
  return private.success(private.confirmed_body(made, holds, (wanted.session).client_id));
end
$$;
comment on function private.confirm_hold(private.actor, private.confirm_request, private.listing[]) is
  'Confirms what the key stands for, or refuses and changes nothing.';

create function private.refuse_confirmation(
  actor private.actor,
  batch public.hold_batches,
  holds public.session_holds[],
  cause private.cause,
  more jsonb default '{}'
)
returns jsonb
language plpgsql
set search_path = ''
as $$
begin
  return private.refuse(
    actor, 'confirmation.refused', array(select hold.id from unnest(holds) as hold), cause.code, cause.detail,
    batch.therapist_id, details => jsonb_build_object('batchId', batch.id), more => more
  );
end
$$;
comment on function private.refuse_confirmation(
  private.actor, public.hold_batches, public.session_holds[], private.cause, jsonb
) is 'The outcome of a refused confirmation, and its audit event. The hold stays as it is.';

create function private.rounded_minutes(start_time timestamptz, end_time timestamptz)
returns integer
language plpgsql
immutable
set search_path = ''
as $$
begin
  return floor((extract(epoch from end_time - start_time) / 60 + 7) / 15)::integer * 15;
end
$$;
comment on function private.rounded_minutes(timestamptz, timestamptz) is
  'A duration in minutes, rounded to 15-minute units by midpoint: 0-7 -> 0, 8-22 -> 15, 23-37 -> 30 (CMS, Medicare '
  'Claims Processing Manual, chapter 5, section 20.2).';

create function private.confirmed_answer(holds public.session_holds[], named_id uuid)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return private.confirmed_body((
    select jsonb_agg(to_jsonb(session))
    from unnest(holds) as hold
    join public.sessions as session
      on session.organization_id = hold.organization_id and session.id = coalesce(hold.session_id, hold.id)
    where hold.status = 'confirmed'
  ), holds, named_id);
end
$$;
comment on function private.confirmed_answer(public.session_holds[], uuid) is
  'The body of a confirmation that has taken place already: the sessions as they are now.';

create function private.confirmed_body(made jsonb, holds public.session_holds[], named_id uuid)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
  sessions jsonb := made;
begin
  if jsonb_array_length(made) > 1 then
    -- In the order in which they were asked for; of a group, the client that was named first.
    select jsonb_agg(item.value order by hold.occurrence_index, hold.client_id <> named_id, hold.client_id) into sessions
    from jsonb_array_elements(made) as item (value)
    join unnest(holds) as hold on coalesce(hold.session_id, hold.id)::text = item.value ->> 'id';
  end if;
  return jsonb_build_object(
    'sessions', sessions,
    'session', sessions -> 0,
    'roundedDurationMinutes', private.rounded_minutes(
      (sessions #>> '{0,start_time}')::timestamptz, (sessions #>> '{0,end_time}')::timestamptz
    )
  );
end
$$;
comment on function private.confirmed_body(jsonb, public.session_holds[], uuid) is 'The body of a confirmation, its rows in request order.';

create function private.confirm_sessions(request jsonb, idempotency_key text, request_id text)
returns jsonb
language plpgsql
security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '5s'
set plan_cache_mode = 'force_generic_plan'
as $$
declare
  actor private.actor := private.begin_booking(request_id);
  wanted private.confirm_request := private.read_confirm_request(request);
  listed private.listing[] := private.listed_of(wanted);
  fingerprint bytea;
  outcome jsonb;
begin
  if actor.role = 'client' then
    return private.refuse(actor, 'confirmation.refused', '{}', 'FORBIDDEN', 'Your role may not book sessions.');
  end if;
  perform private.share_organization(actor.organization_id);
  if idempotency_key is not null then
    fingerprint := private.fingerprint(jsonb_build_object(
      'holdKey', wanted.hold_key, 'occurrences', to_jsonb(listed), 'therapistId', (wanted.session).therapist_id,
      'clientId', (wanted.session).client_id
    ));
    outcome := private.find_replay(actor.organization_id, actor.user_id, 'sessions-confirm', idempotency_key, fingerprint);
    if outcome is not null then
      return outcome;
    end if;
  end if;
  outcome := private.confirm_hold(actor, wanted, listed);
  if idempotency_key is not null and (outcome ->> 'ok')::boolean then
    perform private.keep_answer(
      actor.organization_id, actor.user_id, 'sessions-confirm', idempotency_key, fingerprint, outcome -> 'body'
    );
  end if;
  return outcome;
exception
  when lock_not_available or deadlock_detected or serialization_failure or query_canceled then
    perform private.raise_busy(sqlstate, sqlerrm);
end
$$;
comment on function private.confirm_sessions(jsonb, text, text) is
  'Turns every hold the key stands for into a session, or carries out its move, or changes nothing. Confirming again '
  'answers with the same sessions. Returns an outcome; raises PT400, PT401, PT403, PT503.';
grant execute on function private.confirm_sessions(jsonb, text, text) to authenticated;

-- === schemas/booking/release.sql ===

-- Purpose: lets a hold go.
-- Objects: release_hold.
-- Watch for: a move is let go whole, since its places depend on each other.

create function private.release_hold(request jsonb, idempotency_key text, request_id text)
returns jsonb
language plpgsql
security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '5s'
set plan_cache_mode = 'force_generic_plan'
as $$
declare
  actor private.actor := private.begin_booking(request_id);
  wanted private.release_request := private.read_release_request(request);
  fingerprint constant bytea := private.fingerprint(jsonb_build_object('holdKey', wanted.hold_key));
  batch public.hold_batches;
  holds public.session_holds[];
  outcome jsonb;
  as_of timestamptz;
  released public.session_holds[];
  body jsonb := '{"released": false}';
begin
  perform private.share_organization(actor.organization_id);
  outcome := private.find_replay(actor.organization_id, actor.user_id, 'sessions-cancel', idempotency_key, fingerprint);
  if outcome is not null then
    return outcome;
  end if;
  batch := private.find_batch(actor, wanted.hold_key);
  if batch.id is not null then
    holds := private.holds_of_key(batch, wanted.hold_key);
    -- Claims go only under their resources' locks: a claimant between check and insert must not lose its footing. Moved
    -- sessions have clients of the batch, so that whoever changes them meets this here.
    perform private.lock_resources(
      batch.organization_id,
      array[batch.therapist_id, batch.room_id] || array(select each.client_id from unnest(holds) as each)
    );
    as_of := clock_timestamp();
    perform private.expire_batches(batch.organization_id, array[batch.id], as_of);
    with gone as (
      update public.session_holds as each
      set status = 'released', settled_at = as_of, settled_xid = pg_current_xact_id()
      from public.hold_batches as known
      where each.organization_id = batch.organization_id
        and each.id = any (array(select named.id from unnest(holds) as named))
        and each.status = 'held'
        and known.organization_id = batch.organization_id and known.id = batch.id and known.expires_at > as_of
      returning each.*
    )
    select array_agg(row(gone.*)::public.session_holds order by gone.occurrence_index, gone.client_id) into released
    from gone;
  end if;

  if released is not null then
    if not private.sync_claims(batch.organization_id, batch.id || array(
      select unnest(array_remove(array[each.id, each.group_id], null)) from unnest(released) as each
    ), as_of) then
      perform private.raise_busy();
    end if;
    perform private.give_back_units(batch.organization_id, array(select each.id from unnest(released) as each));
    perform private.reopen_waitlist_entry(batch.organization_id, batch.id);
    perform private.record_event(
      actor.organization_id, 'hold.released', 'hold', array(select each.id from unnest(released) as each), as_of,
      therapist_id => batch.therapist_id,
      actor_role => actor.role::text,
      before => '{"status": "held"}', after => '{"status": "released"}',
      details => jsonb_build_object('batchId', batch.id)
    );
    body := jsonb_build_object('released', true, 'hold', private.released_answer(batch, released, wanted.hold_key));
  end if;
  perform private.keep_answer(
    actor.organization_id, actor.user_id, 'sessions-cancel', idempotency_key, fingerprint, body
  );
  return private.success(body);
exception
  when lock_not_available or deadlock_detected or serialization_failure or query_canceled then
    perform private.raise_busy(sqlstate, sqlerrm);
end
$$;
comment on function private.release_hold(jsonb, text, text) is
  'Lets a hold or a whole batch go: released is true the first time, then false; false too for a key that is unknown, '
  'foreign, expired or confirmed. Returns an outcome; raises PT400, PT401, PT403, PT503.';
grant execute on function private.release_hold(jsonb, text, text) to authenticated;

create function private.released_answer(batch public.hold_batches, released public.session_holds[], hold_key uuid)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return jsonb_build_object(
    'holdKey', hold_key,
    'holdId', case when batch.hold_key = hold_key then batch.id else released[1].id end,
    'therapistId', batch.therapist_id,
    'clientId', released[1].client_id,
    'startTime', private.iso(released[1].start_time),
    'endTime', private.iso(released[1].end_time),
    'expiresAt', private.iso(batch.expires_at),
    'holds', (
      select jsonb_agg(
        jsonb_build_object(
          'holdKey', one.hold_key, 'holdId', one.id, 'startTime', private.iso(one.start_time),
          'endTime', private.iso(one.end_time)
        )
        order by one.occurrence_index
      )
      from (
        select distinct on (each.occurrence_index) each.* from unnest(released) as each
        order by each.occurrence_index, each.client_id
      ) as one
    )
  );
end
$$;
comment on function private.released_answer(public.hold_batches, public.session_holds[], uuid) is
  'The hold that was let go: key, id, therapist, client, first window, expiry, and each occurrence.';

-- === schemas/booking/cancel.sql ===

-- Purpose: sessions-cancel. Cancels sessions by id, by series, by local days, or their intersection.
-- Objects: end_sessions, which no-shows use too; cancel_sessions.
-- Watch for: an id out of scope refuses the whole request; the reason never touches clinical notes.

create function private.start_of_day(day date, zone text)
returns timestamptz
language plpgsql
stable
set search_path = ''
as $$
begin
  -- Where midnight comes twice (Havana, the Azores), Postgres would take the second; where clocks skip it, it takes the
  -- moment after the gap.
  return (
    select min(candidate.instant)
    from unnest(array['0', '30 minutes', '1 hour', '2 hours']::interval[]) as earlier (shift)
    cross join lateral (select (day::timestamp at time zone zone) - earlier.shift as instant) as candidate
    where earlier.shift = interval '0' or candidate.instant at time zone zone = day::timestamp
  );
end
$$;
comment on function private.start_of_day(date, text) is 'The first instant of a local day.';

create function private.facts_of_sessions(organization_id uuid, session_ids uuid[])
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return private.facts_of_rows((
    select jsonb_agg(to_jsonb(session) order by session.start_time, session.id)
    from unnest(session_ids) as named (id)
    cross join lateral (
      select known.* from public.sessions as known
      where known.organization_id = facts_of_sessions.organization_id and known.id = named.id offset 0
    ) as session
  ));
end
$$;
comment on function private.facts_of_sessions(uuid, uuid[]) is 'What of these sessions belongs in an audit event.';

create function private.facts_of_rows(rows jsonb)
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
begin
  return (
    select jsonb_agg(jsonb_strip_nulls(
      item.value - array['organization_id', 'group_key', 'lanes', 'created_at', 'created_by', 'updated_at']
    ) order by item.position)
    from jsonb_array_elements(rows) with ordinality as item (value, position)
    where item.value <> 'null'
  );
end
$$;
comment on function private.facts_of_rows(jsonb) is 'What of these rows of sessions belongs in an audit event.';

create function private.end_sessions(
  actor private.actor,
  session_ids uuid[],
  status public.session_status,
  as_of timestamptz,
  details jsonb default null
)
returns void
language plpgsql
set search_path = ''
as $$
declare
  after jsonb;
  before jsonb;
  therapist_id uuid;
  has_payer boolean;
  dependents uuid[];
begin
  if session_ids = '{}' then
    return;
  end if;
  with ended as (
    update public.sessions as session
    set status = end_sessions.status, updated_at = as_of
    from unnest(session_ids) as named (id)
    cross join lateral (
      select known.ctid, known.status, client.has_payer
      from public.sessions as known
      join public.clients as client on client.organization_id = known.organization_id and client.id = known.client_id
      where known.organization_id = actor.organization_id and known.id = named.id
      offset 0
    ) as was
    where session.ctid = was.ctid
    returning session.start_time, session.id, session.therapist_id, was.has_payer, to_jsonb(session) as row, was.status
  )
  select
    jsonb_agg(ended.row order by ended.start_time, ended.id),
    jsonb_agg(ended.row || jsonb_build_object('status', ended.status) order by ended.start_time, ended.id),
    min(ended.therapist_id::text)::uuid, bool_or(ended.has_payer)
  into after, before, therapist_id, has_payer
  from ended;
  after := private.facts_of_rows(after);
  before := private.facts_of_rows(before);

  dependents := private.claim_dependents(actor.organization_id, session_ids);
  perform private.drop_claims(actor.organization_id, session_ids, as_of);
  if dependents <> '{}' and not private.sync_claims(actor.organization_id, dependents) then
    perform private.raise_busy();
  end if;
  if has_payer then
    -- A move whose session has ended cannot confirm, and takes nothing.
    perform private.give_back_units(actor.organization_id, session_ids || array(
      select hold.id from public.session_holds as hold
      where hold.organization_id = actor.organization_id and hold.session_id = any (session_ids) and hold.status = 'held'
    ));
  end if;
  perform private.record_event(
    actor.organization_id, 'session.' || status, 'session', array(
      select (item.value ->> 'id')::uuid from jsonb_array_elements(after) as item (value)
    ), as_of,
    therapist_id => therapist_id,
    actor_role => actor.role::text,
    before => before,
    after => after,
    details => details
  );
end
$$;
comment on function private.end_sessions(private.actor, uuid[], public.session_status, timestamptz, jsonb) is
  'Cancels sessions, or marks them missed: their time is free at once, their units are given back, one event. Call it with '
  'rows and resources locked.';

create function private.cancel_targets(actor private.actor, wanted private.cancel_request, day tstzrange)
returns uuid[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return array(
    select session.id
    from public.sessions as session
    where session.organization_id = actor.organization_id
      and session.start_time >= lower(day) and session.start_time < upper(day)
      and (wanted.all_therapists or session.therapist_id = wanted.therapist_id or wanted.series_id is not null)
      and (wanted.therapist_id is null or session.therapist_id = wanted.therapist_id)
      and (wanted.series_id is null or session.series_id = wanted.series_id)
  );
end
$$;
comment on function private.cancel_targets(private.actor, private.cancel_request, tstzrange) is
  'The sessions of a therapist''s days, or of a series, that start in a span.';

create function private.cancel_sessions(request jsonb, idempotency_key text, request_id text)
returns jsonb
language plpgsql
security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '5s'
set plan_cache_mode = 'force_generic_plan'
as $$
declare
  actor private.actor := private.begin_booking(request_id);
  wanted private.cancel_request := private.read_cancel_request(request);
  fingerprint bytea;
  outcome jsonb;
  day tstzrange := tstzrange('-infinity', 'infinity', '[)');
  target_ids uuid[];
  as_of timestamptz;
  summary jsonb;
begin
  if actor.role = 'therapist' and wanted.therapist_id is null and not wanted.all_therapists
    and (wanted.date is not null or wanted.from_date is not null or wanted.series_id is not null)
  then
    wanted.therapist_id := actor.user_id;
  elsif actor.role in ('admin', 'super_admin') and wanted.session_ids is null and wanted.series_id is null
    and wanted.therapist_id is null and not wanted.all_therapists
  then
    perform private.raise_invalid(private.issue('therapist_id', 'is required with date, unless all_therapists is true'));
  end if;
  if actor.role = 'client'
    or (actor.role = 'therapist' and (wanted.all_therapists or wanted.therapist_id <> actor.user_id))
    or (wanted.therapist_id is not null and not exists (
      select from public.therapists as therapist
      where therapist.organization_id = actor.organization_id and therapist.id = wanted.therapist_id
    ))
    or (wanted.series_id is not null and private.series_sessions(actor, wanted.series_id) = '{}')
  then
    return private.refuse_cancellation(actor, wanted.session_ids);
  end if;
  if wanted."from" is not null and not exists (
    select from unnest(private.series_sessions(actor, wanted.series_id)) as session
    where session.start_time >= wanted."from"::timestamptz
  ) then
    perform private.raise_invalid(private.issue('from', 'is after the last session of the series'));
  end if;
  if wanted.date is not null or wanted.from_date is not null then
    -- Local days, 23 or 25 hours long where clocks change.
    day := tstzrange(
      private.start_of_day(coalesce(wanted.date, wanted.from_date)::date, wanted.time_zone),
      private.start_of_day(coalesce(wanted.date, wanted.to_date)::date + 1, wanted.time_zone), '[)'
    );
  end if;
  if wanted."from" is not null then
    day := day * tstzrange(wanted."from"::timestamptz, 'infinity', '[)');
  end if;

  -- Which sessions a day has is looked at once before the locks, to know which locks; what is written, again behind them.
  target_ids := coalesce(wanted.session_ids, private.cancel_targets(actor, wanted, day));
  if cardinality(target_ids) > 200 then
    -- A clinic's day: alone in the organization it needs no lock for each of a thousand people.
    perform private.take_organization(actor.organization_id);
  else
    perform private.share_organization(actor.organization_id);
  end if;
  if idempotency_key is not null then
    fingerprint := private.fingerprint(to_jsonb(wanted));
    outcome := private.find_replay(actor.organization_id, actor.user_id, 'sessions-cancel', idempotency_key, fingerprint);
    if outcome is not null then
      return outcome;
    end if;
  end if;
  if cardinality(target_ids) > 200 then
    perform private.lock_sessions(actor.organization_id, target_ids);
  else
    -- A claimant waiting for this time must find either the session or its freed slot.
    perform private.lock_resources(actor.organization_id, private.lock_targets(actor.organization_id, target_ids));
  end if;
  as_of := clock_timestamp();
  if not private.may_cancel(actor, wanted.session_ids) then
    return private.refuse_cancellation(actor, wanted.session_ids);
  end if;

  with target as (
    select session.id, session.status
    from unnest(target_ids) as named (id)
    cross join lateral (
      select known.* from public.sessions as known
      where known.organization_id = actor.organization_id and known.id = named.id offset 0
    ) as session
    where session.start_time <@ day
      and (wanted.therapist_id is null or session.therapist_id = wanted.therapist_id)
      and (wanted.series_id is null or session.series_id = wanted.series_id)
  )
  select jsonb_build_object(
    'cancelledCount', count(*) filter (where target.status in ('scheduled', 'in_progress')),
    'alreadyCancelledCount', count(*) filter (where target.status = 'cancelled'),
    'nonCancellableCount', count(*) filter (where target.status in ('completed', 'no_show')),
    'totalCount', count(*),
    'cancelledSessionIds',
      coalesce(jsonb_agg(target.id order by target.id) filter (where target.status in ('scheduled', 'in_progress')), '[]'),
    'alreadyCancelledSessionIds',
      coalesce(jsonb_agg(target.id order by target.id) filter (where target.status = 'cancelled'), '[]'),
    'nonCancellableSessionIds',
      coalesce(jsonb_agg(target.id order by target.id) filter (where target.status in ('completed', 'no_show')), '[]')
  ) into summary
  from target;
  target_ids := array(select item.value::uuid from jsonb_array_elements_text(summary -> 'cancelledSessionIds') as item (value));

  insert into public.session_cancellations (
    organization_id, session_id, attribution, reason, cancelled_at, cancelled_by, cancelled_by_role
  )
  select actor.organization_id, named.id, wanted.cancellation_attribution, wanted.reason, as_of, actor.user_id, actor.role::text
  from unnest(target_ids) as named (id);
  perform private.end_sessions(actor, target_ids, 'cancelled', as_of);

  if idempotency_key is not null then
    perform private.keep_answer(
      actor.organization_id, actor.user_id, 'sessions-cancel', idempotency_key, fingerprint,
      jsonb_build_object('summary', summary)
    );
  end if;
  return private.success(jsonb_build_object('summary', summary));
exception
  when lock_not_available or deadlock_detected or serialization_failure or query_canceled then
    perform private.raise_busy(sqlstate, sqlerrm);
end
$$;
comment on function private.cancel_sessions(jsonb, text, text) is
  'Cancels the named sessions, those of a series from a moment on, those of local days, or their intersection, as far as '
  'they are scheduled or in progress, and says which were not. Returns an outcome; raises PT400, PT401, PT403, PT503.';
grant execute on function private.cancel_sessions(jsonb, text, text) to authenticated;

create function private.lock_targets(organization_id uuid, session_ids uuid[])
returns uuid[]
language plpgsql
set search_path = ''
as $$
begin
  perform private.lock_sessions(organization_id, session_ids);
  return array(
    select distinct resource.id
    from unnest(session_ids) as named (id)
    cross join lateral (
      select known.* from public.sessions as known
      where known.organization_id = lock_targets.organization_id and known.id = named.id offset 0
    ) as session
    left join public.session_groups as of_group
      on of_group.organization_id = session.organization_id and of_group.id = session.group_id
    cross join lateral unnest(array[session.therapist_id, session.client_id, session.room_id, of_group.room_id]) as resource (id)
    where resource.id is not null
  );
end
$$;
comment on function private.lock_targets(uuid, uuid[]) is
  'Locks the rows of sessions that are to end, and returns whose time they take, to be locked next.';

create function private.may_cancel(actor private.actor, session_ids uuid[])
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  -- Behind the locks, the membership again: who was removed meanwhile cancels nothing.
  return exists (
    select from public.memberships as member
    where member.organization_id = actor.organization_id and member.user_id = actor.user_id and member.role = actor.role
  ) and (session_ids is null or not exists (
    select from unnest(session_ids) as named (id)
    where not exists (
      select from (
        select known.therapist_id from public.sessions as known
        where known.organization_id = actor.organization_id and known.id = named.id offset 0
      ) as session
      where actor.role <> 'therapist' or session.therapist_id = actor.user_id
    )
  ));
end
$$;
comment on function private.may_cancel(private.actor, uuid[]) is
  'Whether every session that is named exists and is the caller''s to cancel.';

create function private.refuse_cancellation(actor private.actor, session_ids uuid[])
returns jsonb
language plpgsql
set search_path = ''
as $$
begin
  return private.refuse(
    actor, 'cancellation.refused', session_ids, 'FORBIDDEN',
    'You may not cancel every session this names. Nothing was cancelled.'
  );
end
$$;
comment on function private.refuse_cancellation(private.actor, uuid[]) is
  'The outcome of a refused cancellation, and its audit event.';

-- === schemas/booking/extend_series.sql ===

-- Purpose: a series goes on: by its rule, and as it was changed since.
-- Objects: series_pattern, extension_days, extended_series, extend_series.
-- Watch for: it is the hold and the confirmation of new sessions in one transaction, as of any others. The rule is followed
--            as it was asked for, and each of its days then meets every change of "following" or "all", in their order. A
--            session that was moved by itself changes nothing of that.

create type private.series_pattern as (
  rule text,
  exceptions jsonb,
  civil_start timestamp,
  time_zone text,
  through date,
  changes private.series_change[],
  duration interval,
  last public.sessions,
  client_ids uuid[],
  room_id uuid,
  buffer_before_minutes smallint,
  buffer_after_minutes smallint
);
comment on type private.series_pattern is
  'What a series does: its rule and what it makes of the rule''s days (changes, duration). through: the last day of the rule '
  'that was booked; last: its last session that stands; client_ids: everybody of its group who is in a series.';

create function private.read_extend_request(request jsonb)
returns private.extend_request
language plpgsql
stable
set search_path = ''
as $$
declare
  wanted private.extend_request :=
    private.read_request(request, null::private.extend_request, private.mistyped_extend_request());
  issues jsonb := '[]';
begin
  if wanted.series_id is null then
    issues := issues || private.issue('series_id', 'is required');
  end if;
  if num_nonnulls(wanted.until, wanted.count, nullif(wanted.authorization_end, false)) <> 1 then
    issues := issues || private.issue('until', 'is required: give until, count, or authorization_end: true, and one of them');
  end if;
  if wanted.override is distinct from null and (wanted.override).reason is null then
    issues := issues || private.issue('override.reason', 'is required');
  end if;
  if issues <> '[]' then
    perform private.raise_invalid(issues);
  end if;
  wanted.on_conflict := coalesce(wanted.on_conflict, 'refuse');
  return wanted;
end
$$;
comment on function private.read_extend_request(jsonb) is 'Reads the request of extend_series, or PT400.';

create function private.series_pattern(actor private.actor, wanted private.extend_request)
returns private.series_pattern
language plpgsql
stable
set search_path = ''
as $$
declare
  pattern private.series_pattern;
  known constant public.sessions[] := private.series_sessions(actor, wanted.series_id);
  first_batch uuid;
  held record;
begin
  select session into pattern.last
  from unnest(known) as session
  order by session.status in ('cancelled', 'no_show'), session.start_time desc, session.id
  limit 1;
  if known = '{}' then
    return null;
  end if;
  select coalesce(series.recurrence ->> 'rule', series.recurrence_rule), series.recurrence -> 'exceptions', series.civil_start,
    coalesce(series.recurrence ->> 'time_zone', series.time_zone)
  into pattern.rule, pattern.exceptions, pattern.civil_start, pattern.time_zone
  from public.session_series as series
  where series.organization_id = actor.organization_id and series.id = wanted.series_id;
  -- What was held first is what was asked, wherever its sessions are now. A series that was written directly has no holds.
  select max(hold.civil_start)::date as through,
    (array_agg(hold.end_time - hold.start_time order by hold.civil_start desc))[1] as duration
  into held
  from public.sessions as session
  join public.session_holds as hold on hold.organization_id = session.organization_id and hold.id = session.id
  join public.hold_batches as batch on batch.organization_id = hold.organization_id and batch.id = hold.batch_id
  where session.organization_id = actor.organization_id and session.series_id = wanted.series_id and batch.series_id is null;
  select
    greatest(held.through, max((change.change ->> 'through')::date)),
    coalesce(array_agg(
      jsonb_populate_record(null::private.series_change, change.change) order by change.changed_at
    ) filter (where change.change ->> 'scope' in ('following', 'all')), '{}')
  into pattern.through, pattern.changes
  from public.series_changes as change
  where change.organization_id = actor.organization_id and change.series_id = wanted.series_id;
  pattern.through := coalesce(pattern.through, (select max(session.civil_start)::date from unnest(known) as session));
  pattern.civil_start := coalesce(pattern.civil_start, known[1].civil_start);
  pattern.duration := coalesce(
    (
      select make_interval(mins => change.duration_minutes)
      from unnest(pattern.changes) with ordinality
        as change (shift_minutes, weekday, local_start, duration_minutes, therapist_id, room_id, position)
      where change.duration_minutes is not null
      order by change.position desc
      limit 1
    ),
    held.duration, (pattern.last).end_time - (pattern.last).start_time
  );
  pattern.client_ids := array(
    select mate.client_id
    from public.sessions as mate
    where mate.organization_id = actor.organization_id and mate.group_id = (pattern.last).group_id
      and mate.series_id is not null and mate.status not in ('cancelled', 'no_show')
    order by mate.client_id
  );
  select coalesce(known_group.room_id, (pattern.last).room_id),
    greatest(known_group.buffer_before_minutes, (pattern.last).buffer_before_minutes),
    greatest(known_group.buffer_after_minutes, (pattern.last).buffer_after_minutes)
  into pattern.room_id, pattern.buffer_before_minutes, pattern.buffer_after_minutes
  from (values (1)) as once
  left join public.session_groups as known_group
    on known_group.organization_id = actor.organization_id and known_group.id = (pattern.last).group_id;
  return pattern;
end
$$;
comment on function private.series_pattern(private.actor, private.extend_request) is
  'What a series does, as far as it is the caller''s; null when it is not.';

create type private.extension_day as (day date, civil timestamp, start_time timestamptz);
comment on type private.extension_day is 'A day of a rule, and when the session of it begins.';

create function private.extension_days(pattern private.series_pattern, as_of timestamptz)
returns private.extension_day[]
language plpgsql
stable
set search_path = ''
as $$
declare
  days constant date[] := private.rule_days(
    pattern.rule, pattern.civil_start::date, daterange(pattern.through + 1, (as_of at time zone pattern.time_zone)::date + 731)
  );
begin
  if days is null then
    return null;
  end if;
  return array(
    with recursive changed as (
      select day.date as day, day.date + pattern.civil_start::time as civil, 0 as changes
      from unnest(days) as day (date)
      where not private.is_excepted(pattern.exceptions, day.date + pattern.civil_start::time, pattern.time_zone)
      union all
      select changed.day, private.changed_civil(changed.civil, pattern.changes[changed.changes + 1]), changed.changes + 1
      from changed
      where changed.changes < cardinality(pattern.changes)
    )
    select row(changed.day, changed.civil, begins.at)::private.extension_day
    from changed
    cross join lateral (select private.instant_at(changed.civil, pattern.time_zone) as at offset 0) as begins
    where changed.changes = cardinality(pattern.changes) and begins.at > as_of
    order by changed.day
  );
end
$$;
comment on function private.extension_days(private.series_pattern, timestamptz) is
  'The days on which a series would go on, within the time that can be booked. Null: it has no rule that can be read.';

create function private.authorization_end(
  actor private.actor,
  pattern private.series_pattern,
  next private.extension_day,
  as_of timestamptz,
  out ends_on date,
  out shortages jsonb
)
language plpgsql
stable
set search_path = ''
as $$
declare
  session constant public.sessions := pattern.last;
  on_date constant date := private.service_date(actor.organization_id, session.client_id, next.start_time);
  quotes constant private.quote[] := private.quote_units(actor.organization_id, array[row(
    session.id, 0, session.client_id,
    private.billed_code(actor.organization_id, session.cpt_code, session.session_type, on_date),
    next.start_time, next.start_time + pattern.duration, null, null
  )::private.service], as_of);
begin
  select max(approval.ends_on) into ends_on
  from unnest(quotes) as quote
  join public.authorizations as approval
    on approval.organization_id = actor.organization_id and approval.id = quote.authorization_id;
  shortages := private.shortages_of(quotes);
end
$$;
comment on function private.authorization_end(private.actor, private.series_pattern, private.extension_day, timestamptz) is
  'The last day of the authorization that the next session of a series draws on, or what is short of it.';

create function private.extension_of(
  actor private.actor,
  wanted private.extend_request,
  pattern private.series_pattern,
  as_of timestamptz,
  out days private.extension_day[],
  out issue private.cause,
  out shortages jsonb
)
language plpgsql
stable
set search_path = ''
as $$
declare
  possible constant private.extension_day[] := private.extension_days(pattern, as_of);
  until date := wanted.until::date;
  found record;
begin
  if pattern.rule is null or possible is null then
    perform private.raise_invalid(private.issue('series_id', 'is a series without a rule that could go on: book the dates'));
  elsif until > (as_of at time zone pattern.time_zone)::date + 730 then
    perform private.raise_invalid(private.issue('until', 'is more than 730 days ahead'));
  elsif wanted.count > cardinality(possible) then
    perform private.raise_invalid(private.issue('count', format(
      'must be at most %s: more would be more than 730 days ahead', cardinality(possible))));
  elsif wanted.authorization_end and possible <> '{}' then
    found := private.authorization_end(actor, pattern, possible[1], as_of);
    until := found.ends_on;
    if until is null and found.shortages is not null then
      issue := row('AUTHORIZATION_EXCEEDED', 'No authorization covers the next session of this series: see shortages.', null, null);
      shortages := found.shortages;
      return;
    elsif until is null then
      perform private.raise_invalid(private.issue('authorization_end', 'must not be asked for: no authorization counts these sessions'));
    end if;
  end if;
  days := case when wanted.count is not null then possible[1:wanted.count::integer] else array(
    select row(next.day, next.civil, next.start_time)::private.extension_day
    from unnest(possible) as next
    where next.civil::date <= until
    order by next.day
  ) end;
  if days = '{}' then
    perform private.raise_invalid(private.issue(
      case when wanted.until is null then 'series_id' else 'until' end, 'leaves nothing to add to the series'));
  elsif cardinality(days) * greatest(cardinality(pattern.client_ids), 1) > 366 then
    perform private.raise_invalid(private.issue(
      case when wanted.count is null then 'until' else 'count' end,
      'must add at most 366 sessions, those of all members of a group counted'));
  end if;
end
$$;
comment on function private.extension_of(private.actor, private.extend_request, private.series_pattern, timestamptz) is
  'The days that are to be added to a series, or why there are none; PT400 for what cannot be asked.';

create function private.extension_request(
  wanted private.extend_request,
  pattern private.series_pattern,
  days private.extension_day[]
)
returns private.hold_request
language plpgsql
stable
set search_path = ''
as $$
declare
  request private.hold_request;
begin
  request.therapist_id := coalesce(wanted.therapist_id, (pattern.last).therapist_id);
  request.client_id := (pattern.last).client_id;
  request.client_ids := case when cardinality(pattern.client_ids) > 1 then pattern.client_ids end;
  request.room_id := pattern.room_id;
  request.cpt_code := (pattern.last).cpt_code;
  request.session_type := (pattern.last).session_type;
  request.time_zone := pattern.time_zone;
  request.hold_seconds := 30;
  request.buffer_before_minutes := pattern.buffer_before_minutes;
  request.buffer_after_minutes := pattern.buffer_after_minutes;
  request.override := wanted.override;
  request.occurrences := array(
    select row(
      null, private.iso(day.start_time + pattern.duration), null, null, pattern.time_zone, null,
      to_char(day.civil, 'YYYY-MM-DD"T"HH24:MI:SS.MS')
    )::private.occurrence_request
    from unnest(days) as day
    order by day.day
  );
  return request;
end
$$;
comment on function private.extension_request(private.extend_request, private.series_pattern, private.extension_day[]) is
  'The hold of the sessions that are to be added: who, where and for what as in the last session of the series.';

create function private.extended_series(batch public.hold_batches, client_id uuid)
returns uuid
language plpgsql
stable
set search_path = ''
as $$
begin
  return coalesce((
    select mate.series_id
    from public.sessions as lead
    join public.sessions as mate on mate.organization_id = lead.organization_id and mate.group_id = lead.group_id
    where lead.organization_id = batch.organization_id and lead.series_id = batch.series_id
      and mate.client_id = extended_series.client_id and mate.series_id is not null
    order by lead.start_time desc
    limit 1
  ), batch.series_id);
end
$$;
comment on function private.extended_series(public.hold_batches, uuid) is
  'The series that a client''s new sessions belong to: in a group each client has a series of their own.';

create function private.book_extension(
  actor private.actor,
  wanted private.extend_request,
  pattern private.series_pattern,
  days private.extension_day[],
  skipped_days private.extension_day[]
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  request constant private.hold_request := private.extension_request(wanted, pattern, days);
  outcome jsonb;
  found text;
begin
  outcome := private.place_hold(
    actor, request, private.slots_of(request, clock_timestamp()), true, jsonb_build_object('seriesId', wanted.series_id)
  );
  if not (outcome ->> 'ok')::boolean then
    return outcome;
  end if;
  update public.hold_batches as batch
  set series_id = wanted.series_id, series_change = jsonb_strip_nulls(jsonb_build_object(
    'until', wanted.until, 'count', wanted.count, 'authorization_end', wanted.authorization_end,
    'through', (select max(next.day) from unnest(days || skipped_days) as next)
  ))
  where batch.organization_id = actor.organization_id and batch.id = (outcome #>> '{body,holdId}')::uuid;
  outcome := private.confirm_hold(actor, confirmation.request, private.listed_of(confirmation.request))
  from (
    select row(
      (outcome #>> '{body,holdKey}')::uuid, (array_agg(place.session))[1], null, null, null, request.time_zone,
      array_agg(row(place.hold_key, place.session, null, null, null, null, null)::private.confirm_occurrence), null
    )::private.confirm_request as request
    from (
      select (held.value ->> 'holdKey')::uuid as hold_key, row(
        null, request.therapist_id, request.client_id, held.value ->> 'startTime', held.value ->> 'endTime', null,
        (pattern.last).location_type, null
      )::private.session_request as session
      from jsonb_array_elements(outcome #> '{body,holds}') as held (value)
    ) as place
  ) as confirmation;
  if not (outcome ->> 'ok')::boolean then
    -- The hold is undone with its claims, as if it had never been.
    raise sqlstate 'PTUND';
  end if;
  return outcome;
exception
  when sqlstate 'PTUND' then
    return private.refuse(
      actor, 'hold.refused', '{}', outcome ->> 'code', outcome ->> 'detail', request.therapist_id,
      more => case when outcome ? 'shortages' then jsonb_build_object('shortages', outcome -> 'shortages') else '{}' end
    );
  when sqlstate 'PT400' then
    get stacked diagnostics found = pg_exception_detail;
    perform private.raise_invalid((
      select jsonb_agg(case when place.index is null then issue.value else jsonb_build_object(
        'path', 'series_id', 'message', format(
          'has a session on %s whose %s %s', days[place.index + 1].day, coalesce(place.field, 'service'),
          issue.value ->> 'message'
        )
      ) end)
      from jsonb_array_elements(found::jsonb) as issue (value)
      cross join lateral (
        select (part.found)[1]::integer as index, (part.found)[2] as field
        from (select regexp_match(issue.value ->> 'path', '^occurrences\.(\d+)(?:\.(\w+))?') as found) as part
      ) as place
    ));
end
$$;
comment on function private.book_extension(
  private.actor, private.extend_request, private.series_pattern, private.extension_day[], private.extension_day[]
) is
  'Holds and confirms the sessions that are added to a series, or refuses and leaves nothing. skipped_days: those that are '
  'left out.';

create function private.blocked_days(actor private.actor, request private.hold_request)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    select jsonb_object_agg(occurrence.value ->> 'index', occurrence.value - 'index')
    from jsonb_array_elements(private.preview_series(jsonb_strip_nulls(to_jsonb(request))) -> 'occurrences') as occurrence (value)
    where occurrence.value -> 'blockedBy' <> 'null'
  );
end
$$;
comment on function private.blocked_days(private.actor, private.hold_request) is
  'Which occurrences of a hold are blocked, by their index, and by what.';

create function private.extend_series(request jsonb, idempotency_key text, request_id text)
returns jsonb
language plpgsql
security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '5s'
set plan_cache_mode = 'force_generic_plan'
as $$
declare
  actor private.actor := private.begin_booking(request_id);
  wanted constant private.extend_request := private.read_extend_request(request);
  pattern private.series_pattern;
  resource_ids uuid[];
  added record;
  blocked jsonb := '{}';
  skipped jsonb := '[]';
  days private.extension_day[];
  fingerprint bytea;
  outcome jsonb;
begin
  perform private.share_organization(actor.organization_id);
  if idempotency_key is not null then
    fingerprint := private.fingerprint(to_jsonb(wanted));
    outcome := private.find_replay(actor.organization_id, actor.user_id, 'extend-series', idempotency_key, fingerprint);
    if outcome is not null then
      return outcome;
    end if;
  end if;
  pattern := private.series_pattern(actor, wanted);
  if pattern is null or (pattern.last).id is null then
    return private.refuse(actor, 'hold.refused', '{}', 'FORBIDDEN', 'You may not book this therapist, client or room.');
  end if;
  resource_ids := private.extension_resources(wanted, pattern);
  -- Another extension, or a change that is being confirmed, is over once these people are free: then it is looked again
  -- where the series ends.
  perform private.lock_resources(actor.organization_id, resource_ids);
  pattern := private.series_pattern(actor, wanted);
  if (pattern.last).id is null or private.extension_resources(wanted, pattern) <> resource_ids then
    perform private.raise_busy();
  end if;
  added := private.extension_of(actor, wanted, pattern, clock_timestamp());
  if (added.issue).code is not null then
    return private.refuse(
      actor, 'hold.refused', '{}', (added.issue).code, (added.issue).detail, (pattern.last).therapist_id,
      more => jsonb_build_object('shortages', added.shortages)
    );
  end if;
  days := added.days;
  if wanted.on_conflict = 'skip' then
    blocked := coalesce(private.blocked_days(actor, private.extension_request(wanted, pattern, days)), '{}');
    days := array(
      select row(day.day, day.civil, day.start_time)::private.extension_day
      from unnest(added.days) with ordinality as day (day, civil, start_time, position)
      where not blocked ? (day.position - 1)::text
      order by day.position
    );
    select coalesce(jsonb_agg(one.value order by one.key::integer), '[]') into skipped from jsonb_each(blocked) as one;
  end if;
  outcome := private.book_extension(actor, wanted, pattern, case when days = '{}' then added.days else days end, added.days);
  if not (outcome ->> 'ok')::boolean then
    return outcome;
  end if;
  outcome := private.success(jsonb_build_object(
    'seriesId', wanted.series_id, 'sessions', outcome #> '{body,sessions}', 'skipped', skipped
  ));
  if idempotency_key is not null then
    perform private.keep_answer(
      actor.organization_id, actor.user_id, 'extend-series', idempotency_key, fingerprint, outcome -> 'body'
    );
  end if;
  return outcome;
exception
  when lock_not_available or deadlock_detected or serialization_failure or query_canceled then
    perform private.raise_busy(sqlstate, sqlerrm);
end
$$;
comment on function private.extend_series(jsonb, text, text) is
  'Adds sessions to the end of a series, all or nothing, or those that are free. Returns an outcome; raises PT400, PT401, '
  'PT403, PT503.';
grant execute on function private.extend_series(jsonb, text, text) to authenticated;

create function private.extension_resources(wanted private.extend_request, pattern private.series_pattern)
returns uuid[]
language plpgsql
immutable
set search_path = ''
as $$
begin
  return array_remove(
    array[coalesce(wanted.therapist_id, (pattern.last).therapist_id), (pattern.last).client_id, pattern.room_id]
      || pattern.client_ids, null
  );
end
$$;
comment on function private.extension_resources(private.extend_request, private.series_pattern) is
  'Whose time an extension takes.';

-- === schemas/booking/move_group.sql ===

-- Purpose: moves a whole group in one call.
-- Objects: move_group: the hold and the confirmation of a move of one of its members, in one transaction.
-- Watch for: there is no second way to move a group; this is sessions-hold and sessions-confirm.

create function private.move_group(request jsonb, request_id text)
returns jsonb
language plpgsql
security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '5s'
set plan_cache_mode = 'force_generic_plan'
as $$
declare
  actor private.actor := private.begin_booking(request_id);
  wanted private.hold_request;
  named_id constant uuid := private.group_named(request);
  lead record;
  outcome jsonb;
begin
  select known.therapist_id, member.id, member.client_id into lead
  from public.session_groups as known
  join public.sessions as member
    on member.organization_id = known.organization_id and member.group_id = known.id
    and member.status not in ('cancelled', 'no_show')
  where known.organization_id = actor.organization_id and known.id = named_id
    and private.may_ask(actor, known.therapist_id)
  order by member.id
  limit 1;
  if lead.id is null then
    return private.refuse(actor, 'hold.refused', '{}', 'FORBIDDEN', 'This group is not yours to move.');
  end if;
  wanted := private.read_hold_request(
    (request - array['client_ids', 'occurrences', 'recurrence', 'group_id', 'cpt_code', 'session_type'])
    || jsonb_build_object(
      'therapist_id', coalesce(request -> 'therapist_id', to_jsonb(lead.therapist_id)),
      'client_id', lead.client_id,
      'session_id', lead.id
    )
  );
  perform private.share_organization(actor.organization_id);
  outcome := private.place_hold(
    actor, wanted, private.slots_of(wanted, clock_timestamp()), request ? 'room_id'
  );
  if not (outcome ->> 'ok')::boolean then
    return outcome;
  end if;
  outcome := private.confirm_hold(actor, moved.request, private.listed_of(moved.request))
  from (
    select row(
      (outcome #>> '{body,holdKey}')::uuid,
      row(lead.id, wanted.therapist_id, wanted.client_id, wanted.start_time, wanted.end_time, null, null, null)::private.session_request,
      null, null, null, wanted.time_zone, null, null
    )::private.confirm_request as request
  ) as moved;
  if not (outcome ->> 'ok')::boolean then
    perform private.raise_busy();
  end if;
  return private.success(jsonb_build_object('groupId', named_id, 'sessions', outcome #> '{body,sessions}'));
exception
  when lock_not_available or deadlock_detected or serialization_failure or query_canceled then
    perform private.raise_busy(sqlstate, sqlerrm);
end
$$;
comment on function private.move_group(jsonb, text) is
  'Holds and confirms the move of a group in one transaction. Refusals are those of sessions-hold.';
grant execute on function private.move_group(jsonb, text) to authenticated;

create function private.group_named(request jsonb)
returns uuid
language plpgsql
immutable
set search_path = ''
as $$
declare
  found jsonb;
begin
  if request is null or jsonb_typeof(request) <> 'object' then
    perform private.raise_invalid(private.issue('', 'must be a JSON object'));
  end if;
  found := private.uuid_issue('group_id', request -> 'group_id', true);
  if found is not null then
    perform private.raise_invalid(found);
  end if;
  return (request ->> 'group_id')::uuid;
end
$$;
comment on function private.group_named(jsonb) is 'The group_id of a request, or PT400.';

-- === schemas/booking/zone_rules.sql ===

-- Purpose: a zone's law has changed; what was booked for 10:00 is at 10:00 again.
-- Objects: sessions_off_their_time, resync_conflicts, resync_zone; reports.moved_by_zone_rules lists what it would move.
-- Watch for: what was meant is civil_start; start_time is what the rules of that day made of it. A session whose clocks show
--            its civil_start is right, and so is one whose civil_start clocks skip, moved on by the gap.

create type private.resynced_session as (
  id uuid, group_id uuid, start_time timestamptz, end_time timestamptz, new_start_time timestamptz, new_end_time timestamptz
);
comment on type private.resynced_session is 'A session that is off the civil time it was booked for, and where that time is now.';

create function private.sessions_off_their_time(organization_id uuid, zone text, as_of timestamptz)
returns private.resynced_session[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return array(
    select row(
      session.id, session.group_id, session.start_time, session.end_time, meant.start_time,
      meant.start_time + (session.end_time - session.start_time)
    )::private.resynced_session
    from public.sessions as session
    cross join lateral (
      select private.instant_at(session.civil_start, session.time_zone) as start_time offset 0
    ) as meant
    where session.organization_id = sessions_off_their_time.organization_id
      and session.time_zone = zone
      and session.start_time > as_of
      and session.status = 'scheduled'
      and session.start_time at time zone session.time_zone <> session.civil_start
      and meant.start_time <> session.start_time
    order by session.start_time, session.id
  );
end
$$;
comment on function private.sessions_off_their_time(uuid, text, timestamptz) is
  'The future sessions of a zone that no longer show the civil time they were booked for, and where it is.';

create function private.resync_conflicts(
  organization_id uuid,
  moved private.resynced_session[],
  as_of timestamptz
)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
  owner_ids constant uuid[] := array(
    select each.id from unnest(moved) as each
    union
    select each.group_id from unnest(moved) as each where each.group_id is not null
  );
begin
  return (
    with place as materialized (
      select each.id, each.group_id, (row_number() over (order by each.new_start_time, each.id) - 1)::integer as position
      from unnest(moved) as each
    ),
    owner as materialized (
      select place.id as owner_id, place.id as session_id, place.position from place
      union all
      select place.group_id, (array_agg(place.id order by place.position))[1], min(place.position)
      from place where place.group_id is not null group by place.group_id
    )
    select jsonb_agg(
      jsonb_strip_nulls(jsonb_build_object(
        'occurrenceIndex', owner.position,
        'sessionId', owner.session_id,
        'resource', want.resource_kind,
        'blockedBy', case when claim.expires_at is null then 'session' else 'hold' end,
        'startTime', private.iso(lower(claim.during * want.during)),
        'endTime', private.iso(upper(claim.during * want.during)),
        'expiresAt', private.iso(claim.expires_at)
      ))
      order by owner.position, want.resource_kind, lower(claim.during)
    )
    from (
      select each.owner_id, each.resource_kind, each.resource_id, each.during::tstzrange as during, each.lanes
      from unnest(private.claims_of(organization_id, owner_ids, as_of)) as each
    ) as want
    join owner on owner.owner_id = want.owner_id
    cross join lateral (
      select known.during::tstzrange as during, known.expires_at
      from private.claims as known
      where known.organization_id = resync_conflicts.organization_id
        and known.resource_id = want.resource_id
        and known.resource_kind = want.resource_kind
        and known.during && want.during
        and known.lanes && want.lanes
        and known.owner_id <> all (owner_ids)
        and (known.expires_at is null or known.expires_at > as_of)
      offset 0
    ) as claim
  );
end
$$;
comment on function private.resync_conflicts(uuid, private.resynced_session[], timestamptz) is
  'What is in the way of these sessions at their new places, where their rows already are: a conflict for each session and '
  'resource, as in a 409 of a hold, with sessionId. occurrenceIndex counts the sessions by their new start.';

create function private.resync_issue(organization_id uuid, moved private.resynced_session[], as_of timestamptz)
returns private.cause
language plpgsql
stable
set search_path = ''
as $$
declare
  cause private.cause;
  session_ids constant uuid[] := array(select each.id from unnest(moved) as each);
begin
  select max(batch.expires_at) into cause.retry_after
  from public.session_holds as hold
  join public.hold_batches as batch on batch.organization_id = hold.organization_id and batch.id = hold.batch_id
  where hold.organization_id = resync_issue.organization_id
    and hold.status = 'held'
    and batch.expires_at > as_of
    and (hold.session_id = any (session_ids) or hold.group_id = any (array(select each.group_id from unnest(moved) as each)));
  if cause.retry_after is not null then
    cause.code := 'SESSION_BEING_MOVED';
    cause.detail := 'Somebody is moving one of these sessions, or joining its group. Try again when their hold has ended.';
    return cause;
  end if;
  -- A group is in one place: all who come are booked for the same civil time of this zone, or nobody moves.
  select jsonb_agg(jsonb_build_object(
    'occurrenceIndex', 0, 'sessionId', member.id, 'resource', 'client', 'blockedBy', 'session',
    'startTime', private.iso(member.start_time), 'endTime', private.iso(member.end_time)
  ) order by member.start_time, member.id) into cause.conflicts
  from public.sessions as member
  where member.organization_id = resync_issue.organization_id
    and member.group_id = any (array(select each.group_id from unnest(moved) as each))
    and member.status not in ('cancelled', 'no_show')
    and not exists (
      select from unnest(moved) as each
      where each.id = member.id and each.new_start_time = all (
        select mate.new_start_time from unnest(moved) as mate where mate.group_id = member.group_id
      )
    );
  if cause.conflicts is not null then
    cause.code := 'SESSION_NOT_MOVABLE';
    cause.detail := 'A group has members who were booked for other civil times, or in another zone. Move it by hand first.';
  end if;
  return cause;
end
$$;
comment on function private.resync_issue(uuid, private.resynced_session[], timestamptz) is
  'What forbids these sessions to go back to their civil times: one is being moved, or a group would be torn apart.';

create function private.resync_zone(zone text, request_id text)
returns jsonb
language plpgsql
security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '5s'
as $$
declare
  actor constant private.actor := private.begin_booking(request_id);
  moved private.resynced_session[];
  session_ids uuid[];
  group_ids uuid[];
  before jsonb;
  conflicts jsonb;
  cause private.cause;
  as_of timestamptz;
begin
  if actor.role <> 'super_admin' then
    return private.refuse(actor, 'session.refused', '{}', 'FORBIDDEN', 'Only a super_admin moves a zone''s sessions.',
      details => '{"attempted": "resync_zone"}');
  elsif not exists (select from public.time_zones as known where known.name = resync_zone.zone) then
    perform private.raise_invalid(private.issue('zone', 'must be an IANA time zone'));
  end if;
  -- Alone, so that nothing is booked meanwhile that would be in the way, or by the old rules.
  perform private.take_organization(actor.organization_id);
  as_of := clock_timestamp();
  moved := private.sessions_off_their_time(actor.organization_id, zone, as_of);
  session_ids := array(select each.id from unnest(moved) as each);
  group_ids := array(select distinct each.group_id from unnest(moved) as each where each.group_id is not null);
  perform private.lock_moved(actor.organization_id, session_ids);
  cause := private.resync_issue(actor.organization_id, moved, as_of);
  if cause.code is null then
    begin
      perform private.keep_ended_members(actor.organization_id, group_ids);
      select coalesce(jsonb_agg(to_jsonb(session)), '[]') into before
      from public.sessions as session
      where session.organization_id = actor.organization_id and session.id = any (session_ids);
      set constraints public.sessions_no_therapist_overlap, public.sessions_at_the_place_of_their_group deferred;
      update public.sessions as session
      set start_time = each.new_start_time, end_time = each.new_end_time, updated_at = as_of
      from unnest(moved) as each
      where session.organization_id = actor.organization_id and session.id = each.id;
      update public.session_groups as known
      set start_time = each.new_start_time, end_time = each.new_end_time
      from unnest(moved) as each
      where known.organization_id = actor.organization_id and known.id = each.group_id;
      conflicts := private.resync_conflicts(actor.organization_id, moved, as_of);
      if conflicts is not null then
        raise exclusion_violation;
      end if;
      set constraints public.sessions_no_therapist_overlap, public.sessions_at_the_place_of_their_group immediate;
      perform private.settle_written(actor.organization_id, session_ids, group_ids, session_ids);
      perform private.audit_written(actor.organization_id, before, (
        select coalesce(jsonb_agg(to_jsonb(session)), '[]')
        from public.sessions as session
        where session.organization_id = actor.organization_id and session.id = any (session_ids)
      ));
    exception
      when exclusion_violation then
        cause.code := private.conflict_code(coalesce(conflicts, '[]')) ->> 'code';
        cause.detail := 'Other bookings are where these sessions belong: see conflicts. Move or cancel them first.';
        cause.conflicts := conflicts;
      when check_violation then
        cause.code := 'AUTHORIZATION_EXCEEDED';
        cause.detail := 'A session would take units on a day on which none are left. Move it by hand first.';
    end;
  end if;
  if cause.code is not null then
    return private.refuse(actor, 'session.refused', session_ids, cause.code, cause.detail, retry_after => cause.retry_after,
      conflicts => cause.conflicts, details => jsonb_build_object('attempted', 'resync_zone', 'zone', zone));
  end if;
  perform private.record_event(actor.organization_id, 'session.zone_resynced', 'session', session_ids, as_of,
    actor_role => actor.role::text, details => jsonb_build_object('zone', zone, 'moved', cardinality(session_ids)));
  return private.success(jsonb_build_object(
    'zone', zone, 'movedCount', cardinality(session_ids), 'movedSessionIds', to_jsonb(session_ids)
  ));
exception
  when lock_not_available or deadlock_detected or serialization_failure or query_canceled then
    perform private.raise_busy(sqlstate, sqlerrm);
end
$$;
comment on function private.resync_zone(text, text) is 'See the public wrapper.';
grant execute on function private.resync_zone(text, text) to authenticated;

create function public.resync_zone(zone text, request_id text default null)
returns jsonb
language sql
volatile
set search_path = ''
begin atomic
  select private.leave_booking(private.resync_zone(resync_zone.zone, resync_zone.request_id));
end;
comment on function public.resync_zone(text, text) is
  'For a super_admin, after the law of a zone has changed and the database knows: moves every future session of that zone '
  'back to the civil time it was booked for, its group with it; reports.moved_by_zone_rules lists them. All or nothing: '
  '409 with conflicts, each with sessionId, when something else is there. Hours and closures are not asked anew. Answers '
  '{zone, movedCount, movedSessionIds}; nothing to move is 0.';
grant execute on function public.resync_zone(text, text) to authenticated;

-- === schemas/booking/waitlist.sql ===

-- Purpose: time that becomes free is offered to a client who waits for it, as a hold of its own.
-- Objects: waitlist_entries; freed_slots, the queue; queue_freed, wake_slots; offer_freed_slot; offer_freed_slots for the
--          caller.
-- Watch for: whoever frees a place only writes it into the queue; the offer is made in a transaction of its own (called by
--            the edge functions after they have answered, by a schedule, by anybody of the staff). An offer made by the
--            canceller would lock the waiting client after the canceller's own people. An offer is an ordinary hold: it
--            obeys every rule, and confirming it books.
--            A slot leaves the queue when it is booked, begins, is taken by somebody else, or nobody is left who could
--            want it. While somebody may want it later it is asleep, and whatever may change that wakes it.
--            The locks of the queue: a slot, then entries. Nobody waits for a slot that is locked.

create table public.waitlist_entries (
  organization_id uuid not null references public.organizations (id),
  id uuid not null default gen_random_uuid(),
  client_id uuid not null,
  therapist_id uuid,
  cpt_code text not null check (cpt_code ~ '^[0-9A-Z]{5}$'),
  windows tstzmultirange not null,
  minutes smallint check (minutes between 15 and 720),
  priority smallint not null default 5 check (priority between 1 and 9),
  state text not null default 'waiting' check (state in ('waiting', 'offered', 'booked', 'closed')),
  offered_batch_id uuid,
  offered_at timestamptz,
  closed_at timestamptz,
  created_at timestamptz not null default clock_timestamp(),
  primary key (organization_id, id),
  foreign key (organization_id, client_id) references public.clients (organization_id, id),
  foreign key (organization_id, therapist_id) references public.therapists (organization_id, id),
  foreign key (organization_id, offered_batch_id) references public.hold_batches (organization_id, id),
  constraint waitlist_entries_windows check (
    not isempty(windows) and not lower_inf(windows) and not upper_inf(windows)
    and lower(windows) >= '2000-01-01' and upper(windows) <= '2100-01-01'
  ),
  constraint waitlist_entries_state check (
    (offered_batch_id is null) = (offered_at is null)
    and (state in ('booked', 'closed')) = (closed_at is not null)
    and (state not in ('offered', 'booked') or offered_batch_id is not null)
  )
);
comment on table public.waitlist_entries is
  'Who would take a slot that becomes free: for which service, when, how urgently. Never deleted: closed.';
comment on column public.waitlist_entries.therapist_id is 'Null: any therapist who has the client on their caseload.';
comment on column public.waitlist_entries.windows is 'The instants within which a slot would suit.';
comment on column public.waitlist_entries.minutes is 'How long it should be; null: as long as the slot is.';
comment on column public.waitlist_entries.priority is '1 is asked first; among equals, who has waited longest.';
comment on column public.waitlist_entries.state is
  'waiting; offered (a hold lives for it); booked (the offer was confirmed) and closed, which nobody offers to any more.';
comment on column public.waitlist_entries.offered_batch_id is 'The last offer.';
comment on column public.waitlist_entries.closed_at is 'Since when nobody waits any more.';
create index waitlist_entries_client_idx on public.waitlist_entries (organization_id, client_id);
create index waitlist_entries_therapist_idx on public.waitlist_entries (organization_id, therapist_id)
  where therapist_id is not null;
create index waitlist_entries_offered_batch_idx on public.waitlist_entries (organization_id, offered_batch_id)
  where offered_batch_id is not null;
create index waitlist_entries_open_idx on public.waitlist_entries (organization_id, priority, created_at)
  where state in ('waiting', 'offered');

create table private.freed_slots (
  organization_id uuid not null,
  id bigint generated always as identity,
  therapist_id uuid not null,
  room_id uuid,
  group_id uuid,
  start_time timestamptz not null,
  end_time timestamptz not null check (end_time > start_time),
  declined_ids uuid[] not null default '{}',
  blocked_ids uuid[] not null default '{}',
  blocked_until timestamptz,
  is_asleep boolean not null default false,
  offered_batch_id uuid,
  freed_at timestamptz not null default clock_timestamp(),
  primary key (organization_id, id)
);
comment on table private.freed_slots is
  'Time of a therapist, or a place in a group, that became free while somebody waits. private.offer_freed_slot drains it.';
comment on column private.freed_slots.declined_ids is
  'Entries that let this slot go, or cannot have it: they are not asked again.';
comment on column private.freed_slots.blocked_ids is
  'Entries that could not have it for now, because of a hold, of hours or of a closure: they are asked again.';
comment on column private.freed_slots.blocked_until is
  'When the last of the holds that were in the way expires; null: none was.';
comment on column private.freed_slots.is_asleep is
  'Nobody can have it now, somebody may later. It is not offered until something wakes it, or blocked_until has come.';
comment on column private.freed_slots.offered_batch_id is 'The last offer, which may have lapsed; null: to be offered.';
create index freed_slots_therapist_idx on private.freed_slots (organization_id, therapist_id);
create index freed_slots_offered_batch_idx on private.freed_slots (organization_id, offered_batch_id)
  where offered_batch_id is not null;
alter table private.freed_slots enable row level security;
create policy deny_all on private.freed_slots using (false);

create function private.close_with_date()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  if new.closed_at is not null and new.state in ('waiting', 'offered') then
    new.state := 'closed';
  elsif new.state = 'closed' and new.closed_at is null then
    new.closed_at := clock_timestamp();
  end if;
  return new;
end
$$;
comment on function private.close_with_date() is 'Trigger: an entry that gets a closing date is closed.';
create trigger b_close_with_date before insert or update on public.waitlist_entries
  for each row execute function private.close_with_date();
create trigger a_take_organization before insert or update on public.waitlist_entries
  for each statement
  when (private.is_direct_write())
  execute function private.take_written_organization();

alter table public.waitlist_entries enable row level security;
create policy role_scoped_select on public.waitlist_entries for select to authenticated
  using (
    organization_id = (select private.active_organization_id())
    and (
      (select private.is_admin())
      or (
        (select private.active_role()) = 'therapist'
        and client_id = any ((select private.caseload_client_ids())::uuid[])
      )
    )
  );
create policy role_scoped_select_insert on public.waitlist_entries for insert to authenticated
  with check (organization_id = (select private.active_organization_id()) and (select private.is_admin()));
create policy role_scoped_select_update on public.waitlist_entries for update to authenticated
  using (organization_id = (select private.active_organization_id()) and (select private.is_admin()))
  with check (organization_id = (select private.active_organization_id()) and (select private.is_admin()));
comment on policy role_scoped_select on public.waitlist_entries is
  'Admins read the whole list, a therapist the entries of their caseload.';
comment on policy role_scoped_select_insert on public.waitlist_entries is 'Admins put clients on the list.';
comment on policy role_scoped_select_update on public.waitlist_entries is 'Admins change what a client waits for, or close it.';
grant select,
  insert (organization_id, id, client_id, therapist_id, cpt_code, windows, minutes, priority),
  update (therapist_id, cpt_code, windows, minutes, priority, closed_at)
  on public.waitlist_entries to authenticated;
grant select, insert, update on public.waitlist_entries to service_role;
create trigger refuse_delete before delete on public.waitlist_entries
  for each row execute function private.refuse_delete();
create trigger refuse_truncate before truncate on public.waitlist_entries
  for each statement execute function private.refuse_delete();
create trigger z_audit after insert or update on public.waitlist_entries
  for each row execute function private.audit_rule_change('waitlist_entry');

-- The queue --------------------------------------------------------------------------------------------------------

create function private.queue_freed(
  organization_id uuid,
  surplus private.claims[],
  missing private.claims[],
  as_of timestamptz
)
returns void
language plpgsql
set search_path = ''
as $$
begin
  if surplus = '{}' or not exists (
    select from public.waitlist_entries as entry
    where entry.organization_id = queue_freed.organization_id and entry.state in ('waiting', 'offered')
  ) then
    return;
  end if;
  insert into private.freed_slots (organization_id, therapist_id, room_id, start_time, end_time)
  select queue_freed.organization_id, gone.resource_id, room.resource_id, lower(slot.during), upper(slot.during)
  from unnest(surplus) as gone
  left join lateral (
    select other.resource_id from unnest(surplus) as other
    where other.owner_id = gone.owner_id and other.resource_kind = 'room' limit 1
  ) as room on true
  left join public.sessions as session
    on session.organization_id = queue_freed.organization_id and session.id = gone.owner_id
  -- The time that was booked: what was claimed less the travel around it, and less what the same change claims anew.
  cross join lateral unnest(
    tstzmultirange(tstzrange(
      lower(gone.during) + coalesce(session.buffer_before_minutes, 0) * interval '1 minute',
      greatest(upper(gone.during) - coalesce(session.buffer_after_minutes, 0) * interval '1 minute', lower(gone.during)), '[)'
    )) - coalesce((
      select range_agg(kept.during::tstzrange) from unnest(missing) as kept where kept.resource_id = gone.resource_id
    ), '{}')
  ) as slot (during)
  where gone.resource_kind = 'therapist' and lower(slot.during) > as_of
    -- An offer that is let go, and time that is to be offered anyway, are in the queue already.
    and not exists (
      select from private.freed_slots as known
      left join public.session_holds as hold
        on hold.organization_id = known.organization_id and hold.batch_id = known.offered_batch_id
      where known.organization_id = queue_freed.organization_id and known.therapist_id = gone.resource_id
        and known.start_time <= lower(slot.during) and known.end_time >= upper(slot.during) and known.group_id is null
        and (known.offered_batch_id is null or hold.id = gone.owner_id)
    );
  -- A member who leaves a group that goes on frees a place in it.
  insert into private.freed_slots (organization_id, therapist_id, room_id, group_id, start_time, end_time)
  select queue_freed.organization_id, known.therapist_id, known.room_id, known.id, known.start_time, known.end_time
  from unnest(surplus) as gone
  join public.sessions as session
    on session.organization_id = queue_freed.organization_id and session.id = gone.owner_id
  join public.session_groups as known
    on known.organization_id = session.organization_id and known.id = session.group_id
  where gone.resource_kind = 'client' and known.start_time > as_of and session.status = 'cancelled'
    and private.group_lives_until(queue_freed.organization_id, known.id) = 'infinity';
  perform private.wake_slots_of(organization_id, array(
    select gone.resource_id from unnest(surplus) as gone where gone.resource_kind <> 'room'
  ));
  perform set_config('therapist_sessions.freed', 'yes', true);
end
$$;
comment on function private.queue_freed(uuid, private.claims[], private.claims[], timestamptz) is
  'Queues what a change of claims set free, if anybody waits in this organization.';

create function private.wake_slots_of(organization_id uuid, resource_ids uuid[])
returns void
language plpgsql
set search_path = ''
as $$
begin
  update private.freed_slots as slot
  set is_asleep = false, blocked_ids = '{}', blocked_until = null
  from (
    select asleep.id
    from private.freed_slots as asleep
    where asleep.organization_id = wake_slots_of.organization_id and asleep.is_asleep and asleep.blocked_ids <> '{}'
      and (
        asleep.therapist_id = any (resource_ids)
        or exists (
          select from public.waitlist_entries as entry
          where entry.organization_id = asleep.organization_id and entry.id = any (asleep.blocked_ids)
            and entry.client_id = any (resource_ids)
        )
      )
    -- An offer that has a slot in hand waits for the locks of the people that are freed here, then looks itself.
    for no key update skip locked
  ) as awake
  where slot.organization_id = wake_slots_of.organization_id and slot.id = awake.id;
end
$$;
comment on function private.wake_slots_of(uuid, uuid[]) is
  'Something of these therapists and clients is free again: slots that somebody could not have for now are offered anew.';

create function private.close_waitlist_entry(organization_id uuid, batch_id uuid, as_of timestamptz)
returns void
language plpgsql
set search_path = ''
as $$
begin
  delete from private.freed_slots as slot
  where slot.organization_id = close_waitlist_entry.organization_id
    and slot.offered_batch_id = close_waitlist_entry.batch_id;
  if found then
    update public.waitlist_entries as entry
    set state = 'booked', closed_at = coalesce(entry.closed_at, as_of)
    where entry.organization_id = close_waitlist_entry.organization_id
      and entry.offered_batch_id = close_waitlist_entry.batch_id;
  end if;
end
$$;
comment on function private.close_waitlist_entry(uuid, uuid, timestamptz) is 'An offer that is confirmed ends the waiting.';

create function private.reopen_waitlist_entry(organization_id uuid, batch_id uuid)
returns void
language plpgsql
set search_path = ''
as $$
begin
  -- The slot goes to the next in line, also when its entry has been closed meanwhile.
  update private.freed_slots as slot
  set offered_batch_id = null, declined_ids = slot.declined_ids || array(
    select entry.id from public.waitlist_entries as entry
    where entry.organization_id = slot.organization_id and entry.offered_batch_id = slot.offered_batch_id
  )
  where slot.organization_id = reopen_waitlist_entry.organization_id
    and slot.offered_batch_id = reopen_waitlist_entry.batch_id;
  if found then
    update public.waitlist_entries as entry
    set state = 'waiting'
    where entry.organization_id = reopen_waitlist_entry.organization_id
      and entry.offered_batch_id = reopen_waitlist_entry.batch_id
      and entry.state = 'offered';
    perform set_config('therapist_sessions.freed', 'yes', true);
  end if;
end
$$;
comment on function private.reopen_waitlist_entry(uuid, uuid) is
  'An offer that was let go, or has lapsed: the client waits again, and the slot is offered to the next.';

create function private.wake_for_entry()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  update private.freed_slots as slot
  set is_asleep = false
  from (
    select asleep.id
    from private.freed_slots as asleep
    where asleep.organization_id = new.organization_id and asleep.is_asleep
      and new.id <> all (asleep.declined_ids)
      and private.entry_suits(asleep, new)
    -- An offer that has a slot in hand locks the entries before it puts the slot to sleep: it sees what is written here.
    for no key update skip locked
  ) as awake
  where slot.organization_id = new.organization_id and slot.id = awake.id;
  return null;
end
$$;
comment on function private.wake_for_entry() is
  'Trigger: who begins to wait, or waits for something else, may want a slot that nobody could have.';

create function private.wake_for_hours()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  changed_id constant uuid := coalesce(new.organization_id, old.organization_id);
begin
  -- Also a slot that an offer has in hand, which was refused by the hours as they were: this waits for the offer to end.
  update private.freed_slots as slot
  set is_asleep = false, blocked_ids = '{}', blocked_until = null
  from (
    select queued.id
    from private.freed_slots as queued
    where queued.organization_id = changed_id and queued.offered_batch_id is null
    order by queued.id
    for no key update
  ) as awake
  where slot.organization_id = changed_id and slot.id = awake.id;
  return null;
end
$$;
comment on function private.wake_for_hours() is
  'Trigger: a closure or time off that is withdrawn, and new hours, open time that could not be offered.';
create trigger d_wake_slots after update or delete on public.organization_closures
  for each row execute function private.wake_for_hours();
create trigger d_wake_slots after update or delete on public.availability_exceptions
  for each row execute function private.wake_for_hours();
create trigger d_wake_slots_for_extra_hours after insert on public.availability_exceptions
  for each row when (new.kind = 'extra_hours') execute function private.wake_for_hours();
create trigger d_wake_slots after update on public.therapists
  for each row
  when ((new.availability_hours, new.time_zone) is distinct from (old.availability_hours, old.time_zone))
  execute function private.wake_for_hours();

-- Offers -----------------------------------------------------------------------------------------------------------

create function private.entry_suits(slot private.freed_slots, entry public.waitlist_entries)
returns boolean
language plpgsql
stable
set search_path = ''
as $$
declare
  during constant tstzrange := tstzrange(
    slot.start_time, coalesce(slot.start_time + entry.minutes * interval '1 minute', slot.end_time), '[)'
  );
begin
  return coalesce(entry.therapist_id, slot.therapist_id) = slot.therapist_id
    and upper(during) <= slot.end_time
    and entry.windows @> during
    and (slot.group_id is null or upper(during) = slot.end_time)
    and exists (
      select from public.caseloads as caseload
      where caseload.organization_id = slot.organization_id and caseload.therapist_id = slot.therapist_id
        and caseload.client_id = entry.client_id
    )
    -- A place in a group is of the group's service, a slot of its own of one that is for one client.
    and case
      when slot.group_id is null then private.service_issue(
        slot.organization_id, entry.cpt_code,
        private.service_date(slot.organization_id, entry.client_id, slot.start_time), 1
      ) is null
      else entry.cpt_code = (
        select private.billed_code_at(
          mate.organization_id, entry.client_id, mate.cpt_code, mate.session_type, mate.start_time
        )
        from public.sessions as mate
        where mate.organization_id = slot.organization_id and mate.group_id = slot.group_id
          and mate.status not in ('cancelled', 'no_show')
        limit 1
      )
    end;
end
$$;
comment on function private.entry_suits(private.freed_slots, public.waitlist_entries) is
  'Whether a slot is what an entry waits for: its therapist, its time, its service, on the caseload.';
create trigger d_wake_slots after insert or update on public.waitlist_entries
  for each row when (new.state = 'waiting') execute function private.wake_for_entry();

create function private.next_in_line(slot private.freed_slots)
returns public.waitlist_entries
language plpgsql
volatile
set search_path = ''
as $$
declare
  entry public.waitlist_entries;
begin
  select candidate.* into entry
  from public.waitlist_entries as candidate
  where candidate.organization_id = slot.organization_id
    and candidate.state = 'waiting'
    and candidate.id <> all (slot.declined_ids || slot.blocked_ids)
    and private.entry_suits(slot, candidate)
  order by candidate.priority, candidate.created_at, candidate.id
  limit 1
  -- Two slots freed at once would both be offered to whoever waits longest. The second offer waits for the first to end
  -- rather than pass over its entry: the first may be refused, and this slot be the one they get.
  for no key update;
  return entry;
end
$$;
comment on function private.next_in_line(private.freed_slots) is
  'Who is asked for this slot: whom it suits, by priority and then by how long they have waited. Locks the entry.';

create function private.who_may_want(slot private.freed_slots)
returns text[]
language plpgsql
volatile
set search_path = ''
as $$
declare
  states text[];
begin
  -- Shared until this transaction ends: whoever lets one of these offers go waits, then finds the slot asleep and wakes it.
  select array_agg(locked.state) into states
  from (
    select candidate.state
    from public.waitlist_entries as candidate
    where candidate.organization_id = slot.organization_id
      and candidate.state in ('waiting', 'offered')
      and candidate.id <> all (slot.declined_ids || slot.blocked_ids)
      and private.entry_suits(slot, candidate)
    order by candidate.id
    for share
  ) as locked;
  return coalesce(states, '{}');
end
$$;
comment on function private.who_may_want(private.freed_slots) is
  'The states of the entries that a slot would suit: offered, while they have another offer; waiting, for those who began '
  'to wait just now.';

create function private.reopen_lapsed_offers(organization_id uuid, most integer default 50)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  lapsed record;
begin
  select array_agg(distinct batch.id) as batch_ids,
    array_agg(distinct batch.therapist_id) || array_agg(distinct batch.room_id) || array_agg(distinct hold.client_id) as resource_ids
  into lapsed
  from (
    select slot.offered_batch_id as id
    from private.freed_slots as slot
    join public.hold_batches as known
      on known.organization_id = slot.organization_id and known.id = slot.offered_batch_id
    where slot.organization_id = reopen_lapsed_offers.organization_id and known.expires_at <= clock_timestamp()
    limit most
  ) as offer
  join public.hold_batches as batch
    on batch.organization_id = reopen_lapsed_offers.organization_id and batch.id = offer.id
  join public.session_holds as hold on hold.organization_id = batch.organization_id and hold.batch_id = batch.id;
  if lapsed.batch_ids is null then
    return false;
  end if;
  -- Who confirms an offer in its last moment has these locks until the slot has left the queue and the entry is booked.
  perform private.lock_resources(organization_id, lapsed.resource_ids);
  perform private.expire_batches(organization_id, lapsed.batch_ids, clock_timestamp());
  perform private.reopen_waitlist_entry(reopen_lapsed_offers.organization_id, batch.id)
  from unnest(lapsed.batch_ids) as batch (id);
  return true;
end
$$;
comment on function private.reopen_lapsed_offers(uuid, integer) is
  'Offers that nobody took in time: their slots are to be offered to the next. Locks the people of the offers, so it is a '
  'transaction of its own. False: there are none.';

create function private.offer_slot(slot private.freed_slots, entry public.waitlist_entries)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  wanted private.hold_request;
  outcome jsonb;
  batch_id uuid;
begin
  wanted.therapist_id := slot.therapist_id;
  wanted.client_id := entry.client_id;
  wanted.room_id := case when slot.group_id is null then (
    select room.id from public.rooms as room
    where room.organization_id = slot.organization_id and room.id = slot.room_id and room.deleted_at is null
  ) end;
  wanted.group_id := slot.group_id;
  wanted.cpt_code := entry.cpt_code;
  wanted.time_zone := (select known.time_zone from public.organizations as known where known.id = slot.organization_id);
  wanted.start_time := private.iso(slot.start_time);
  wanted.end_time := private.iso(coalesce(slot.start_time + entry.minutes * interval '1 minute', slot.end_time));
  wanted.hold_seconds := 900;
  begin
    outcome := private.place_hold(
      row(null, slot.organization_id, 'admin')::private.actor, wanted, private.slots_of(wanted, clock_timestamp()),
      details => jsonb_build_object('waitlistEntryId', entry.id)
    );
  exception
    -- The group has moved or ended since, or the service is none any more: nobody made a malformed request, and a slot
    -- that cannot be had must not keep the slots behind it from being offered.
    when sqlstate 'PT400' then
      outcome := '{"ok": false}';
  end;

  if (outcome ->> 'ok')::boolean then
    batch_id := (outcome #>> '{body,holdId}')::uuid;
    update public.waitlist_entries as offered
    set state = 'offered', offered_batch_id = batch_id, offered_at = clock_timestamp()
    where offered.organization_id = entry.organization_id and offered.id = entry.id;
    update private.freed_slots as offered
    set offered_batch_id = batch_id
    where offered.organization_id = slot.organization_id and offered.id = slot.id;
    return true;
  elsif outcome ->> 'code' = 'ROOM_CONFLICT' and outcome ->> 'retryAfter' is null then
    -- The room is somebody else's by now, the therapist's time may still be had.
    update private.freed_slots as passed
    set room_id = null
    where passed.organization_id = slot.organization_id and passed.id = slot.id;
  elsif outcome ->> 'retryAfter' is not null or outcome ->> 'code' = 'OUTSIDE_AVAILABILITY' then
    update private.freed_slots as passed
    set blocked_ids = passed.blocked_ids || entry.id,
      blocked_until = greatest(passed.blocked_until, (outcome ->> 'retryAfter')::timestamptz)
    where passed.organization_id = slot.organization_id and passed.id = slot.id;
  else
    update private.freed_slots as passed
    set declined_ids = passed.declined_ids || entry.id
    where passed.organization_id = slot.organization_id and passed.id = slot.id;
  end if;
  return false;
end
$$;
comment on function private.offer_slot(private.freed_slots, public.waitlist_entries) is
  'Holds a slot for an entry, by the ordinary way to a hold, or passes over the entry: for now when what is in the way may '
  'go, else for good. Both rows are locked by the caller.';

create function private.is_to_offer(slot private.freed_slots)
returns boolean
language plpgsql
volatile
set search_path = ''
as $$
begin
  return slot.offered_batch_id is null
    and (not slot.is_asleep or coalesce(slot.blocked_until <= clock_timestamp(), false));
end
$$;
comment on function private.is_to_offer(private.freed_slots) is
  'Whether a slot is to be offered now: it has no offer, and is not asleep, or what was in its way has expired.';

create function private.offer_next(organization_id uuid)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  slot private.freed_slots;
  entry public.waitlist_entries;
  wanted_by text[];
  offered boolean := false;
begin
  perform private.share_organization(organization_id);
  if not private.reopen_lapsed_offers(organization_id) then
    delete from private.freed_slots as past
    using (
      select begun.id from private.freed_slots as begun
      where begun.organization_id = offer_next.organization_id and begun.offered_batch_id is null
        and begun.start_time <= clock_timestamp()
      for update skip locked
    ) as over
    where past.organization_id = offer_next.organization_id and past.id = over.id;

    select queued.* into slot
    from private.freed_slots as queued
    where queued.organization_id = offer_next.organization_id and private.is_to_offer(queued)
    order by queued.id
    limit 1
    for update skip locked;
  end if;
  if slot.id is not null then
    if slot.blocked_until <= clock_timestamp() then
      slot.blocked_ids := '{}';
      slot.blocked_until := null;
    end if;
    -- One entry's row, then one place's people, in the order of every path. Whoever cannot have the slot is passed over,
    -- and the next is asked in a transaction of their own.
    entry := private.next_in_line(slot);
    if entry.id is null then
      wanted_by := private.who_may_want(slot);
    end if;
    if wanted_by = '{}' and slot.blocked_ids = '{}' then
      delete from private.freed_slots as unwanted
      where unwanted.organization_id = slot.organization_id and unwanted.id = slot.id;
    else
      update private.freed_slots as known
      set is_asleep = entry.id is null and 'waiting' <> all (wanted_by), blocked_ids = slot.blocked_ids,
        blocked_until = slot.blocked_until
      where known.organization_id = slot.organization_id and known.id = slot.id;
    end if;
    if entry.id is not null then
      offered := private.offer_slot(slot, entry);
    end if;
  end if;
  return jsonb_build_object('offered', offered, 'pending', (
    select count(*)
    from private.freed_slots as queued
    left join public.hold_batches as batch
      on batch.organization_id = queued.organization_id and batch.id = queued.offered_batch_id
    where queued.organization_id = offer_next.organization_id
      and (private.is_to_offer(queued) or batch.expires_at <= clock_timestamp())
  ));
end
$$;
comment on function private.offer_next(uuid) is
  'One step of the queue: offers that lapsed are reopened, or one freed slot is offered to the next in line, put to sleep '
  'or given up. Call it in a transaction of its own.';

create function private.offer_freed_slot(organization_id uuid)
returns jsonb
language plpgsql
security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '5s'
set plan_cache_mode = 'force_generic_plan'
as $$
begin
  perform private.enter_booking();
  return private.offer_next(organization_id);
exception
  when lock_not_available or deadlock_detected or serialization_failure or query_canceled then
    perform private.raise_busy(sqlstate, sqlerrm);
end
$$;
comment on function private.offer_freed_slot(uuid) is
  'One step of an organization''s queue: {offered, pending}. Call it until pending is 0, each time in a transaction of its '
  'own.';

create function private.offer_freed_slots(request_id text)
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
  actor private.actor := private.begin_booking(request_id);
begin
  if actor.role = 'client' then
    perform private.raise_refusal(403, 'FORBIDDEN', 'Only staff offer freed slots.');
  end if;
  return private.offer_freed_slot(actor.organization_id);
end
$$;
comment on function private.offer_freed_slots(text) is 'As private.offer_freed_slot, for the caller''s organization.';
grant execute on function private.offer_freed_slots(text) to authenticated;

-- === schemas/booking/sweep.sql ===

-- Purpose: housekeeping of what has expired, and offers that nobody has looked at.
-- Objects: sweep_expired_holds.
-- Watch for: correctness never waits for it. Expired holds block nobody whether or not the sweeper runs.

-- Nearly free to maintain, since holds expire in the order they were made.
create index hold_batches_expires_at_idx on public.hold_batches using brin (expires_at);

create function private.sweep_expired_holds(most integer default 500, lookback interval default interval '1 day')
returns integer
language plpgsql
security definer
set search_path = ''
as $$
declare
  swept record;
  total integer := 0;
  former constant text := private.enter_booking();
begin
  for swept in
    select batch.organization_id, array_agg(distinct batch.id) as batch_ids,
      array_agg(distinct hold.id) || array_remove(array_agg(distinct hold.group_id), null) || array_agg(distinct batch.id) as owner_ids,
      array_agg(distinct batch.therapist_id) || array_agg(distinct batch.room_id) || array_agg(distinct hold.client_id) as resource_ids
    from (
      select candidate.organization_id, candidate.id, candidate.therapist_id, candidate.room_id
      from public.hold_batches as candidate
      where candidate.expires_at <= clock_timestamp()
        and candidate.expires_at > clock_timestamp() - lookback
        and exists (
          select from public.session_holds as hold
          where hold.organization_id = candidate.organization_id and hold.batch_id = candidate.id and hold.status = 'held'
        )
      order by candidate.expires_at
      limit most
    ) as batch
    join public.session_holds as hold on hold.organization_id = batch.organization_id and hold.batch_id = batch.id
    group by batch.organization_id
    order by batch.organization_id
  loop
    perform private.share_organization(swept.organization_id);
    -- Like any claimant, the sweeper removes claims only of resources it has locked.
    perform private.lock_resources(swept.organization_id, swept.resource_ids);
    perform private.expire_batches(swept.organization_id, swept.batch_ids, clock_timestamp());
    perform private.sync_claims(swept.organization_id, swept.owner_ids);
    total := total + cardinality(swept.batch_ids);
  end loop;
  perform private.leave_booking(null, former);
  return total;
end
$$;
comment on function private.sweep_expired_holds(integer, interval) is
  'Writes down expiries nobody has met yet and removes their claims: keeps tables small and the audit complete. Optional. Looks '
  'back as far as lookback: run it with a longer one after a pause.';

create function private.offer_all_freed_slots(most integer default 100)
returns integer
language plpgsql
security definer
set search_path = ''
set timezone = 'UTC'
-- Here one transaction makes several offers, and locks people in no order. It gives way long before a deadlock is looked
-- for: what it could not have is offered at the next run.
set lock_timeout = '100ms'
as $$
declare
  former constant text := private.enter_booking();
  offered integer := 0;
  waiting record;
  step jsonb;
begin
  for waiting in
    select queue.organization_id
    from (select distinct slot.organization_id from private.freed_slots as slot) as queue
    order by random()
  loop
    for turn in 1..most loop
      begin
        step := private.offer_next(waiting.organization_id);
      exception
        when lock_not_available or deadlock_detected or sqlstate 'PT503' then
          step := '{"pending": 0}';
      end;
      offered := offered + case when (step ->> 'offered')::boolean then 1 else 0 end;
      exit when (step ->> 'pending')::integer = 0;
    end loop;
  end loop;
  perform private.leave_booking(null, former);
  return offered;
end
$$;
comment on function private.offer_all_freed_slots(integer) is
  'Freed slots of each organization, for a schedule: what REST, SQL, closures and time off freed, and offers that lapsed. '
  'most: how many steps for each organization. Returns how many offers it made.';

-- === schemas/calendar/direct_writes.sql ===

-- Purpose: sessions, groups and what rules them, written directly (REST, SQL, Studio), obey the same rules as bookings.
-- Objects: session_change_issue (the status machine), prepare_session, settle_written and the triggers that call them.
-- Watch for: the triggers here are for direct writes only; the booking functions decide the same rules by the same
--            functions. Users (role authenticated) may write what they could book; service_role and SQL may also place
--            in the past and outside hours. Everything else holds for everybody.

create function private.refuse_write(rule text, message text, hint text)
returns void
language plpgsql
set search_path = ''
as $$
begin
  raise exception using
    errcode = 'check_violation',
    constraint = refuse_write.rule,
    schema = 'public',
    table = 'sessions',
    message = refuse_write.message,
    hint = refuse_write.hint;
end
$$;
comment on function private.refuse_write(text, text, text) is
  'Refuses a direct write with check_violation (23514), naming the rule as its constraint.';

create function private.session_change_issue(old public.sessions, new public.sessions)
returns private.broken_rule
language plpgsql
stable
set search_path = ''
as $$
declare
  broken private.broken_rule;
  moved constant boolean := (
    new.therapist_id, new.start_time, new.end_time, new.room_id, new.buffer_before_minutes, new.buffer_after_minutes,
    new.group_id
  ) is distinct from (
    old.therapist_id, old.start_time, old.end_time, old.room_id, old.buffer_before_minutes, old.buffer_after_minutes,
    old.group_id
  );
begin
  if (new.organization_id, new.id, new.client_id) is distinct from (old.organization_id, old.id, old.client_id) then
    broken.rule := 'session_identity';
    broken.message := 'organization_id, id and client_id of a session never change';
    broken.hint := 'Cancel this session and book another.';
  elsif new.status <> old.status and not (
    (old.status = 'scheduled' and new.status in ('in_progress', 'cancelled', 'no_show'))
    or (old.status = 'in_progress' and new.status in ('completed', 'cancelled', 'no_show'))
  ) then
    broken.rule := 'session_status';
    broken.message := format('a session cannot go from %s to %s', old.status, new.status);
    broken.hint := 'Allowed: scheduled -> in_progress -> completed; scheduled or in_progress -> cancelled or no_show.';
  elsif new.status <> old.status and new.status = 'in_progress' and old.start_time > clock_timestamp() + interval '12 hours' then
    broken.rule := 'session_not_today';
    broken.message := 'a session begins at most 12 hours before the time it is booked for';
    broken.hint := 'Move it first.';
  elsif new.status <> old.status and new.status = 'no_show' and old.start_time > clock_timestamp() then
    broken.rule := 'session_not_begun';
    broken.message := 'a session that has not begun cannot be missed yet';
    broken.hint := 'Cancel it.';
  elsif moved and old.status <> 'scheduled'
    -- A cancelled member goes where its group goes, by the foreign key, or stays behind in a group of its own.
    and not (old.status in ('cancelled', 'no_show') and new.group_id is not null) then
    broken.rule := 'session_not_movable';
    broken.message := format('a session that is %s cannot be moved', old.status);
    broken.hint := 'Only scheduled sessions move; book a new session instead.';
  elsif old.status = 'completed' and (
    new.cpt_code, new.cpt_modifiers, new.session_type, new.location_type, new.time_zone, new.lanes
  ) is distinct from (
    old.cpt_code, old.cpt_modifiers, old.session_type, old.location_type, old.time_zone, old.lanes
  ) then
    broken.rule := 'session_frozen';
    broken.message := 'the record of a completed session does not change';
    broken.hint := 'What was rendered is corrected, with a reason, through correct_visit.';
  end if;
  return broken;
end
$$;
comment on function private.session_change_issue(public.sessions, public.sessions) is
  'What forbids this change of a session: its identity, the status machine, or that it has begun or is completed.';

create function private.live_move_of(organization_id uuid, session_ids uuid[], as_of timestamptz)
returns timestamptz
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    select max(batch.expires_at)
    from unnest(session_ids) as named (id)
    join public.session_holds as hold
      on hold.organization_id = live_move_of.organization_id and hold.session_id = named.id and hold.status = 'held'
    join public.hold_batches as batch on batch.organization_id = hold.organization_id and batch.id = hold.batch_id
    where batch.expires_at > as_of
  );
end
$$;
comment on function private.live_move_of(uuid, uuid[], timestamptz) is
  'When the live move of any of these sessions ends; null when none is being moved.';

create function private.id_is_taken(organization_id uuid, id uuid)
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  -- Claims are known by their owner's id: two owners of one id would share a claim, and could be booked at once.
  return exists (
    -- By the primary key, whatever the planner believes.
    select from (select hold.organization_id, hold.id from public.session_holds as hold where (hold.organization_id, hold.id) = (id_is_taken.organization_id, id_is_taken.id) limit 1) as found
  ) or exists (
    -- By the primary key, whatever the planner believes.
    select from (select known.organization_id, known.id from public.session_groups as known where (known.organization_id, known.id) = (id_is_taken.organization_id, id_is_taken.id) limit 1) as found
  ) or exists (
    -- By the primary key, whatever the planner believes.
    select from (select batch.organization_id, batch.id from public.hold_batches as batch where (batch.organization_id, batch.id) = (id_is_taken.organization_id, id_is_taken.id) limit 1) as found
  ) or exists (
    -- By the primary key, whatever the planner believes.
    select from (select session.organization_id, session.id from public.sessions as session where (session.organization_id, session.id) = (id_is_taken.organization_id, id_is_taken.id) limit 1) as found
  ) or exists (
    -- By the primary key, whatever the planner believes.
    select from (select known.organization_id, known.id from public.staff_times as known where (known.organization_id, known.id) = (id_is_taken.organization_id, id_is_taken.id) limit 1) as found
  );
end
$$;
comment on function private.id_is_taken(uuid, uuid) is
  'Whether a session, a group, a hold, a batch or a staff time of the organization has this id.';

create function private.prepare_session()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  issue private.broken_rule;
  places_anew boolean := true;
  serves_anew boolean := true;
  is_elsewhere boolean := true;
begin
  if not private.take_row_organization(new.organization_id) then
    return new;
  end if;
  new.updated_at := clock_timestamp();
  if tg_op = 'INSERT' then
    new.created_at := new.updated_at;
  end if;
  if tg_op = 'UPDATE' then
    issue := private.session_change_issue(old, new);
    places_anew := (
      new.therapist_id, new.client_id, new.start_time, new.end_time, new.room_id, new.group_id, new.time_zone,
      new.buffer_before_minutes, new.buffer_after_minutes
    ) is distinct from (
      old.therapist_id, old.client_id, old.start_time, old.end_time, old.room_id, old.group_id, old.time_zone,
      old.buffer_before_minutes, old.buffer_after_minutes
    );
    serves_anew := (new.cpt_code, new.session_type) is distinct from (old.cpt_code, old.session_type);
    is_elsewhere := new.location_type is distinct from old.location_type;
    new.created_at := old.created_at;
    new.created_by := old.created_by;
  elsif new.status <> 'scheduled' then
    perform private.refuse_write('session_status', format('a session begins as scheduled, not %s', new.status),
      'Insert it as scheduled, then change its status.');
  elsif private.id_is_taken(new.organization_id, new.id) then
    raise exception using
      errcode = 'unique_violation', message = 'this id belongs to a hold or a group', hint = 'Leave the id out.';
  end if;
  if (new.start_time >= '2000-01-01' and new.end_time < '2100-01-01' and new.end_time > new.start_time) is not true then
    -- The table's own checks refuse it, and say why.
    new.civil_start := '2000-01-01';
    new.lanes := '{[0,2147483647)}';
    return new;
  end if;
  if issue.rule is not null then
    perform private.refuse_write(issue.rule, issue.message, issue.hint);
  end if;

  if (places_anew or serves_anew or is_elsewhere) and new.status not in ('cancelled', 'no_show') then
    issue := private.written_session_issue(
      new, case when tg_op = 'UPDATE' then old end, places_anew, auth.role() = 'authenticated'
    );
    if issue.rule = 'session_bookable' and auth.role() = 'authenticated' then
      raise exception using errcode = 'insufficient_privilege', message = issue.message, hint = issue.hint;
    elsif issue.rule is not null then
      perform private.refuse_write(issue.rule, issue.message, issue.hint);
    end if;
  end if;
  if places_anew or serves_anew then
    if tg_op = 'INSERT' or (new.start_time, new.time_zone) is distinct from (old.start_time, old.time_zone) then
      new.civil_start := new.start_time at time zone new.time_zone;
    end if;
    new.lanes := private.client_lanes(
      new.organization_id, new.client_id,
      private.service_code_at(new.organization_id, new.client_id, new.cpt_code, new.session_type, new.start_time),
      new.start_time, new.end_time
    );
  end if;
  return new;
end
$$;
comment on function private.prepare_session() is
  'Trigger: the rules of a session that is written directly, and the facts that are derived from it.';

create function private.settle_written(
  organization_id uuid,
  moved_ids uuid[],
  former_group_ids uuid[],
  served_ids uuid[]
)
returns void
language plpgsql
security definer
set search_path = ''
as $$
declare
  former constant text := private.enter_booking();
begin
  if moved_ids <> '{}' and not private.sync_claims(
    organization_id, moved_ids || private.claim_dependents(organization_id, moved_ids, former_group_ids)
  ) then
    raise exception using
      errcode = 'exclusion_violation',
      constraint = 'claims_no_overlap',
      schema = 'private',
      table = 'claims',
      message = 'the session overlaps another booking or hold of the same therapist, client or room',
      hint = 'Choose another time, or wait until the hold in the way has expired.';
  end if;
  if served_ids <> '{}' then
    perform private.settle_units(organization_id, served_ids);
  end if;
  perform private.leave_booking(null, former);
end
$$;
comment on function private.settle_written(uuid, uuid[], uuid[], uuid[]) is
  'Gives sessions that were written directly exactly their claims and their units, or raises, which undoes the write. '
  'moved_ids: whose claims may have changed; served_ids: whose units may have.';

create function private.settle_inserted()
returns trigger
language plpgsql
security definer
set search_path = ''
set plan_cache_mode = 'force_generic_plan'
as $$
begin
  perform private.settle_written(written.organization_id, written.ids, '{}', written.ids),
    private.audit_written(written.organization_id, '[]', written.rows)
  from (
    select session.organization_id, array_agg(session.id) as ids, jsonb_agg(to_jsonb(session)) as rows
    from new_rows as session
    group by session.organization_id
  ) as written;
  return null;
end
$$;
comment on function private.settle_inserted() is 'Trigger: sessions inserted directly claim their time and take their units, or fail.';

create function private.settle_updated()
returns trigger
language plpgsql
security definer
set search_path = ''
set plan_cache_mode = 'force_generic_plan'
as $$
begin
  -- Old and new rows meet by set operations, sorted or hashed: a join would be planned for the few rows of the first
  -- statement, and grow with the square of a clinic's day.
  perform private.settle_written(
      written.organization_id, array(
        select moved.id
        from (
          select session.id, session.therapist_id, session.start_time, session.end_time, session.room_id, session.group_id,
            session.buffer_before_minutes, session.buffer_after_minutes, session.lanes,
            session.status in ('cancelled', 'no_show') as has_ended
          from new_rows as session
          where session.organization_id = written.organization_id
          except
          select session.id, session.therapist_id, session.start_time, session.end_time, session.room_id, session.group_id,
            session.buffer_before_minutes, session.buffer_after_minutes, session.lanes,
            session.status in ('cancelled', 'no_show')
          from old_rows as session
          where session.organization_id = written.organization_id
        ) as moved
      ),
      written.group_ids,
      array(
        select served.id
        from (
          select session.id, session.start_time, session.end_time, session.status, session.cpt_code, session.session_type
          from new_rows as session
          where session.organization_id = written.organization_id
          except
          select session.id, session.start_time, session.end_time, session.status, session.cpt_code, session.session_type
          from old_rows as session
          where session.organization_id = written.organization_id
        ) as served
      )
    ),
    private.audit_written(written.organization_id, written.before, (
      select jsonb_agg(to_jsonb(session)) from new_rows as session where session.organization_id = written.organization_id
    ))
  from (
    select session.organization_id, jsonb_agg(to_jsonb(session)) as before,
      coalesce(array_agg(distinct session.group_id) filter (where session.group_id is not null), '{}') as group_ids
    from old_rows as session
    group by session.organization_id
  ) as written;
  return null;
end
$$;
comment on function private.settle_updated() is 'Trigger: sessions changed directly claim their new time or none; units follow.';

create function private.guard_group()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  if not private.take_row_organization(new.organization_id) then
    return new;
  end if;
  if (tg_op = 'INSERT' or new.id <> old.id) and private.id_is_taken(new.organization_id, new.id) then
    raise exception using
      errcode = 'unique_violation', message = 'this id belongs to a session or a hold', hint = 'Leave the id out.';
  elsif tg_op = 'UPDATE' and exists (
    select from public.session_holds as hold
    join public.hold_batches as batch on batch.organization_id = hold.organization_id and batch.id = hold.batch_id
    where hold.organization_id = new.organization_id
      and hold.status = 'held'
      and batch.expires_at > clock_timestamp()
      and (hold.group_id = new.id or hold.session_id in (
        select member.id from public.sessions as member
        where member.organization_id = new.organization_id and member.group_id = new.id
      ))
  ) then
    perform private.refuse_write('group_being_booked',
      'a place in the group is held, or the group is being moved: it stays where it is until that hold ends',
      'Confirm or release the hold first, or wait until it has expired.');
  end if;
  return new;
end
$$;
comment on function private.guard_group() is 'Trigger: a group that is being joined or moved through a hold is not moved directly.';

create function private.keep_ended_members(organization_id uuid, group_ids uuid[])
returns void
language plpgsql
security definer
set search_path = ''
as $$
declare
  before jsonb;
  former text;
begin
  select jsonb_agg(to_jsonb(member)) into before
  from public.sessions as member
  where member.organization_id = keep_ended_members.organization_id and member.group_id = any (group_ids)
    and member.status in ('cancelled', 'no_show');
  if before is null then
    return;
  end if;
  former := private.enter_booking();
  -- Reports keep the time a cancelled member was booked for, and what notice was given: the ended members of a group that
  -- moves are split off into a group of their own, at the old time.
  with ended as (
    select moved.id, gen_random_uuid() as former_id
    from public.session_groups as moved
    where moved.organization_id = keep_ended_members.organization_id and moved.id = any (group_ids)
      and exists (
        select from public.sessions as member
        where member.organization_id = moved.organization_id and member.group_id = moved.id
          and member.status in ('cancelled', 'no_show')
      )
  ),
  former as (
    insert into public.session_groups (
      organization_id, id, therapist_id, room_id, start_time, end_time, buffer_before_minutes, buffer_after_minutes
    )
    select moved.organization_id, ended.former_id, moved.therapist_id, moved.room_id, moved.start_time, moved.end_time,
      moved.buffer_before_minutes, moved.buffer_after_minutes
    from ended
    join public.session_groups as moved
      on moved.organization_id = keep_ended_members.organization_id and moved.id = ended.id
  )
  update public.sessions as member
  set group_id = ended.former_id
  from ended
  where member.organization_id = keep_ended_members.organization_id
    and member.group_id = ended.id
    and member.status in ('cancelled', 'no_show');
  perform private.audit_written(organization_id, before, (
    select jsonb_agg(to_jsonb(member))
    from jsonb_array_elements(before) as item (value)
    join public.sessions as member
      on member.organization_id = keep_ended_members.organization_id and member.id = (item.value ->> 'id')::uuid
  ));
  perform private.leave_booking(null, former);
end
$$;
comment on function private.keep_ended_members(uuid, uuid[]) is
  'Before these groups move: their cancelled and missed members stay behind, in a group at the old time.';

create function private.leave_ended_members()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.keep_ended_members(new.organization_id, array[new.id]);
  return new;
end
$$;
comment on function private.leave_ended_members() is 'Trigger: see private.keep_ended_members.';

create function private.settle_groups()
returns trigger
language plpgsql
security definer
set search_path = ''
set plan_cache_mode = 'force_generic_plan'
as $$
begin
  perform private.settle_written(written.organization_id, array(
    select member.id from public.sessions as member
    where member.organization_id = written.organization_id and member.group_id = any (written.ids)
  ), written.ids, '{}')
  from (
    select known.organization_id, array_agg(known.id) as ids from new_rows as known group by known.organization_id
  ) as written;
  return null;
end
$$;
comment on function private.settle_groups() is 'Trigger: a group that was moved directly claims its new place, with its members.';

create trigger a_take_organization before insert or update on public.sessions
  for each statement
  when (private.is_direct_write())
  execute function private.take_written_organization();
create trigger b_prepare_session before insert or update on public.sessions
  for each row
  when (private.is_direct_write())
  execute function private.prepare_session();
create trigger c_settle_inserted after insert on public.sessions
  referencing new table as new_rows for each statement
  when (private.is_direct_write())
  execute function private.settle_inserted();
create trigger c_settle_updated after update on public.sessions
  referencing old table as old_rows new table as new_rows for each statement
  when (private.is_direct_write())
  execute function private.settle_updated();

create trigger a_take_organization before insert or update on public.session_groups
  for each statement
  when (private.is_direct_write())
  execute function private.take_written_organization();
create trigger b_guard_group before insert or update on public.session_groups
  for each row
  when (private.is_direct_write())
  execute function private.guard_group();
create trigger c_leave_ended_members before update on public.session_groups
  for each row
  when (
    private.is_direct_write()
    and (new.therapist_id, new.start_time, new.end_time) is distinct from (old.therapist_id, old.start_time, old.end_time)
  )
  execute function private.leave_ended_members();
create trigger d_settle_groups after update on public.session_groups
  referencing new table as new_rows for each statement
  when (private.is_direct_write())
  execute function private.settle_groups();

-- === schemas/calendar/session_audit.sql ===

-- Purpose: sessions that are written directly leave the same record as bookings.
-- Objects: audit_written; what a direct cancellation stores.
-- Watch for: one event for each statement, organization and kind of change. The booking functions write their own.

create function private.audit_written(organization_id uuid, before jsonb, after jsonb)
returns void
language plpgsql
security definer
set search_path = ''
as $$
begin
  insert into public.session_cancellations (organization_id, session_id, cancelled_by, cancelled_by_role)
  select audit_written.organization_id, changed.id, auth.uid(), coalesce(private.active_role()::text, session_user)
  from private.changed_sessions(audit_written.before, audit_written.after) as changed
  where changed.action = 'session.cancelled'
  on conflict do nothing;

  perform private.record_event(
    audit_written.organization_id, changed.action, 'session', array_agg(changed.id order by changed.start_time, changed.id),
    clock_timestamp(),
    therapist_id => min(changed.therapist_id)::uuid,
    before => case when audit_written.before <> '[]' then jsonb_agg(changed.before order by changed.start_time, changed.id) end,
    after => jsonb_agg(changed.after order by changed.start_time, changed.id)
  )
  from private.changed_sessions(audit_written.before, audit_written.after) as changed
  group by changed.action;
end
$$;
comment on function private.audit_written(uuid, jsonb, jsonb) is
  'Records what a direct statement did to sessions: one event for each kind of change, before -> after.';

create function private.changed_sessions(old_rows jsonb, new_rows jsonb)
returns table (id uuid, action text, therapist_id text, start_time text, before jsonb, after jsonb)
language plpgsql
immutable
set search_path = ''
as $$
#variable_conflict use_column
begin
  -- Rows meet by grouping, sorted or hashed: a join would be planned for the few rows of the first statement.
  return query
  with version as (
    select item.value ->> 'id' as id, jsonb_agg(item.value) filter (where not item.is_after) -> 0 as before,
      jsonb_agg(item.value) filter (where item.is_after) -> 0 as after
    from (
      select each.value, false as is_after from jsonb_array_elements(changed_sessions.old_rows) as each (value)
      union all
      select each.value, true from jsonb_array_elements(changed_sessions.new_rows) as each (value)
    ) as item
    group by item.value ->> 'id'
  )
  select version.id::uuid,
    case
      when version.before is null then 'session.inserted'
      when version.after ->> 'status' <> version.before ->> 'status' then 'session.' || (version.after ->> 'status')
      when place.after is distinct from place.before then 'session.moved'
      else 'session.changed'
    end,
    version.after ->> 'therapist_id', version.after ->> 'start_time', facts.before, facts.after
  from version
  cross join lateral (
    select
      private.facts_of_rows(jsonb_build_array(version.before)) -> 0 as before,
      private.facts_of_rows(jsonb_build_array(version.after)) -> 0 as after
  ) as facts
  cross join lateral (
    select
      array[version.before ->> 'therapist_id', version.before ->> 'start_time', version.before ->> 'end_time', version.before ->> 'room_id'] as before,
      array[version.after ->> 'therapist_id', version.after ->> 'start_time', version.after ->> 'end_time', version.after ->> 'room_id'] as after
  ) as place
  where version.before is null or facts.before is distinct from facts.after;
end
$$;
comment on function private.changed_sessions(jsonb, jsonb) is
  'What a statement changed: each session with its facts before and after, and what to call it. Unchanged ones are left out.';

-- === schemas/staff/staff_time.sql ===

-- Purpose: time of therapists without a client: meetings, supervision, drives, documentation, training, breaks.
-- Objects: staff_times, staff_time_members; who may see them; what a direct write of them obeys.
-- Watch for: one staff time owns the claims of all its therapists and of its room (private.places_of), under the one
--            constraint of private.claims. So a meeting of five blocks five or nobody. It has no text of its own: a title
--            would soon name a client. The RPCs that users call are in staff_time_booking.sql.

create type public.staff_time_kind as enum ('meeting', 'supervision', 'drive', 'documentation', 'training', 'break');
comment on type public.staff_time_kind is 'What therapists do when they are with no client. None of it is billed.';

create table public.staff_times (
  organization_id uuid not null references public.organizations (id),
  id uuid not null default gen_random_uuid(),
  kind public.staff_time_kind not null,
  start_time timestamptz not null,
  end_time timestamptz not null,
  time_zone text not null references public.time_zones (name),
  -- squawk-ignore prefer-timestamp-tz
  civil_start timestamp not null default '2000-01-01',
  room_id uuid,
  series_id uuid,
  cancelled_at timestamptz,
  created_by uuid default auth.uid(),
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  primary key (organization_id, id),
  foreign key (organization_id, room_id) references public.rooms (organization_id, id),
  constraint staff_times_times check (
    start_time >= '2000-01-01' and end_time < '2100-01-01' and end_time > start_time
    and end_time - start_time <= interval '12 hours'
  )
);
comment on table public.staff_times is
  'Time in which therapists are with no client. It blocks all of its members and its room. Never deleted: cancelled.';
comment on column public.staff_times.time_zone is 'The IANA zone it was entered in: its civil time is local to it.';
comment on column public.staff_times.civil_start is 'The civil start it was entered for, in time_zone.';
comment on column public.staff_times.series_id is 'Equal for all that were entered together; null for one alone.';
comment on column public.staff_times.cancelled_at is 'Since when it blocks nobody. A cancelled one stays as it is.';
create index staff_times_start_idx on public.staff_times (organization_id, start_time);
create index staff_times_room_idx on public.staff_times (organization_id, room_id) where room_id is not null;
create index staff_times_series_idx on public.staff_times (organization_id, series_id) where series_id is not null;
create index staff_times_time_zone_idx on public.staff_times (time_zone);

create table public.staff_time_members (
  organization_id uuid not null,
  staff_time_id uuid not null,
  therapist_id uuid not null,
  primary key (organization_id, staff_time_id, therapist_id),
  foreign key (organization_id, staff_time_id) references public.staff_times (organization_id, id),
  foreign key (organization_id, therapist_id) references public.therapists (organization_id, id)
);
comment on table public.staff_time_members is 'The therapists whose time a staff time takes.';
create index staff_time_members_therapist_idx on public.staff_time_members (organization_id, therapist_id);

create trigger refuse_delete before delete on public.staff_times
  for each row execute function private.refuse_delete();
create trigger refuse_truncate before truncate on public.staff_times
  for each statement execute function private.refuse_delete();
create trigger refuse_truncate before truncate on public.staff_time_members
  for each statement execute function private.refuse_delete();

alter table public.staff_time_members enable row level security;
create policy sessions_scoped_access on public.staff_time_members for select to authenticated
  using (
    organization_id = (select private.claimed_organization_id())
    and (
      (therapist_id = (select auth.uid()) and (select private.active_role()) = 'therapist')
      or (select private.is_admin())
    )
  );
comment on policy sessions_scoped_access on public.staff_time_members is
  'A therapist sees that they take part, and not who else does; admins see all.';
grant select on public.staff_time_members to authenticated;
grant select, insert, delete on public.staff_time_members to service_role;

alter table public.staff_times enable row level security;
create policy sessions_scoped_access on public.staff_times for select to authenticated
  using (
    organization_id = (select private.claimed_organization_id())
    and (
      (select private.is_admin())
      or (
        (select private.active_role()) = 'therapist'
        and exists (
          select 1
          from public.staff_time_members as member
          where member.organization_id = staff_times.organization_id
            and member.staff_time_id = staff_times.id
            and member.therapist_id = (select auth.uid())
        )
      )
    )
  );
comment on policy sessions_scoped_access on public.staff_times is
  'A therapist reads the staff times they take part in, admins all. Families read none.';
grant select on public.staff_times to authenticated;
grant select, insert, update on public.staff_times to service_role;

-- What holds of every staff time ----------------------------------------------------------------------------------------

create function private.staff_time_issue(
  organization_id uuid,
  therapist_ids uuid[],
  room_id uuid,
  out rule text,
  out message text
)
language plpgsql
stable
set search_path = ''
as $$
begin
  if exists (
    select from unnest(therapist_ids) as named (id)
    where not exists (
      select from public.therapists as therapist
      join public.memberships as member
        on member.organization_id = therapist.organization_id and member.user_id = therapist.id and member.role <> 'client'
      where therapist.organization_id = staff_time_issue.organization_id and therapist.id = named.id
        and therapist.deleted_at is null
    )
  ) then
    rule := 'staff_time_bookable';
    message := 'a therapist of this staff time is archived, or has no membership that renders';
  elsif staff_time_issue.room_id is not null and not exists (
    select from public.rooms as room
    where room.organization_id = staff_time_issue.organization_id and room.id = staff_time_issue.room_id
      and room.deleted_at is null
  ) then
    rule := 'staff_time_bookable';
    message := 'the room of this staff time is archived, or there is none';
  end if;
end
$$;
comment on function private.staff_time_issue(uuid, uuid[], uuid) is
  'What forbids these therapists and this room to be taken by a staff time, whoever writes it; no rule: nothing does.';

create function private.staff_time_facts(organization_id uuid, staff_time_ids uuid[])
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    select jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
      'id', known.id, 'kind', known.kind, 'start_time', known.start_time, 'end_time', known.end_time,
      'time_zone', known.time_zone, 'room_id', known.room_id, 'series_id', known.series_id,
      'cancelled_at', known.cancelled_at, 'therapist_ids', members.ids
    )) order by known.start_time, known.id)
    from unnest(staff_time_ids) as named (id)
    cross join lateral (
      select found.* from public.staff_times as found
      where found.organization_id = staff_time_facts.organization_id and found.id = named.id offset 0
    ) as known
    cross join lateral (
      select jsonb_agg(member.therapist_id order by member.therapist_id) as ids
      from public.staff_time_members as member
      where member.organization_id = staff_time_facts.organization_id and member.staff_time_id = named.id
    ) as members
  );
end
$$;
comment on function private.staff_time_facts(uuid, uuid[]) is 'What of these staff times belongs in an audit event.';

-- Direct writes (service_role, SQL) ---------------------------------------------------------------------------------------

create function private.prepare_staff_time()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.take_row_organization(new.organization_id);
  if tg_op = 'INSERT' then
    if private.id_is_taken(new.organization_id, new.id) then
      raise exception using
        errcode = 'unique_violation', message = 'this id belongs to a session, a hold or a group', hint = 'Leave the id out.';
    end if;
  elsif (new.organization_id, new.id) is distinct from (old.organization_id, old.id) or old.cancelled_at is not null then
    raise exception using
      errcode = 'check_violation', constraint = 'staff_time_identity', schema = 'public', table = 'staff_times',
      message = 'a staff time keeps its id, and a cancelled one stays as it is',
      hint = 'Enter another one.';
  else
    new.created_at := old.created_at;
    new.created_by := old.created_by;
    new.updated_at := clock_timestamp();
  end if;
  new.civil_start := case
    -- The table's own checks refuse the others, and say why.
    when new.start_time >= '2000-01-01' and new.end_time < '2100-01-01'
      and new.time_zone in (select zone.name from public.time_zones as zone)
      then new.start_time at time zone new.time_zone
    else '2000-01-01'
  end;
  return new;
end
$$;
comment on function private.prepare_staff_time() is
  'Trigger: what a staff time that is written directly may be, and what is derived from it.';

create function private.prepare_staff_time_member()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  member public.staff_time_members := case when tg_op = 'DELETE' then old else new end;
begin
  perform private.take_row_organization(member.organization_id);
  if tg_op = 'UPDATE' or exists (
    select from public.staff_times as known
    where known.organization_id = member.organization_id and known.id = member.staff_time_id
      and known.cancelled_at is not null
  ) then
    raise exception using
      errcode = 'check_violation', constraint = 'staff_time_identity', schema = 'public', table = 'staff_time_members',
      message = 'a member of a staff time is added or removed, and a cancelled staff time stays as it is',
      hint = 'Delete the row and insert another.';
  end if;
  return member;
end
$$;
comment on function private.prepare_staff_time_member() is
  'Trigger: who takes part in a staff time is written directly only while it is not cancelled.';

create function private.settle_staff_times(organization_id uuid, staff_time_ids uuid[])
returns void
language plpgsql
security definer
set search_path = ''
as $$
declare
  issue record;
  former text;
begin
  select found.rule, found.message into issue
  from unnest(staff_time_ids) as named (id)
  join public.staff_times as known
    on known.organization_id = settle_staff_times.organization_id and known.id = named.id and known.cancelled_at is null
  cross join lateral private.staff_time_issue(known.organization_id, array(
    select member.therapist_id from public.staff_time_members as member
    where member.organization_id = known.organization_id and member.staff_time_id = known.id
  ), known.room_id) as found
  where found.rule is not null
  limit 1;
  if issue.rule is not null then
    raise exception using
      errcode = 'check_violation', constraint = issue.rule, schema = 'public', table = 'staff_times',
      message = issue.message, hint = 'Only therapists and rooms that can be booked take part.';
  end if;
  former := private.enter_booking();
  if not private.sync_claims(organization_id, staff_time_ids) then
    raise exception using
      errcode = 'exclusion_violation', constraint = 'claims_no_overlap', schema = 'private', table = 'claims',
      message = 'the staff time overlaps a session, a hold or another staff time of one of its therapists or of its room',
      hint = 'Choose another time, or wait until the hold in the way has expired.';
  end if;
  perform private.leave_booking(null, former);
end
$$;
comment on function private.settle_staff_times(uuid, uuid[]) is
  'Gives staff times that were written directly exactly their claims, or raises, which undoes the write.';

create function private.settle_written_staff_times()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.settle_staff_times(written.organization_id, written.ids),
    private.record_event(
      written.organization_id, written.action, 'staff_time', written.ids, clock_timestamp(),
      after => private.staff_time_facts(written.organization_id, written.ids)
    )
  from (
    select known.organization_id, array_agg(known.id order by known.start_time, known.id) as ids, case
      when tg_op = 'INSERT' then 'staff_time.added'
      when known.cancelled_at is not null then 'staff_time.cancelled'
      else 'staff_time.changed'
    end as action
    from new_rows as known
    group by 1, 3
  ) as written;
  return null;
end
$$;
comment on function private.settle_written_staff_times() is
  'Trigger: staff times that were written directly claim their time, or fail; one audit event for each kind of change.';

create function private.settle_staff_time_members()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.settle_staff_times(written.organization_id, written.ids),
    private.record_event(
      written.organization_id, 'staff_time.changed', 'staff_time', written.ids, clock_timestamp(),
      after => private.staff_time_facts(written.organization_id, written.ids)
    )
  from (
    select member.organization_id, array_agg(distinct member.staff_time_id) as ids
    from member_rows as member
    group by member.organization_id
  ) as written;
  return null;
end
$$;
comment on function private.settle_staff_time_members() is
  'Trigger: who was added to a staff time directly is blocked by it, and who was removed is free.';

create trigger a_take_organization before insert or update on public.staff_times
  for each statement
  when (current_setting('therapist_sessions.within', true) is distinct from 'booking' or current_user <> 'postgres')
  execute function private.take_written_organization();
create trigger b_prepare_staff_time before insert or update on public.staff_times
  for each row
  when (current_setting('therapist_sessions.within', true) is distinct from 'booking' or current_user <> 'postgres')
  execute function private.prepare_staff_time();
create trigger c_settle_inserted after insert on public.staff_times
  referencing new table as new_rows for each statement
  when (current_setting('therapist_sessions.within', true) is distinct from 'booking' or current_user <> 'postgres')
  execute function private.settle_written_staff_times();
create trigger c_settle_updated after update on public.staff_times
  referencing new table as new_rows for each statement
  when (current_setting('therapist_sessions.within', true) is distinct from 'booking' or current_user <> 'postgres')
  execute function private.settle_written_staff_times();

create trigger a_take_organization before insert or update or delete on public.staff_time_members
  for each statement
  when (current_setting('therapist_sessions.within', true) is distinct from 'booking' or current_user <> 'postgres')
  execute function private.take_written_organization();
create trigger b_prepare_member before insert or update or delete on public.staff_time_members
  for each row
  when (current_setting('therapist_sessions.within', true) is distinct from 'booking' or current_user <> 'postgres')
  execute function private.prepare_staff_time_member();
create trigger c_settle_inserted after insert on public.staff_time_members
  referencing new table as member_rows for each statement
  when (current_setting('therapist_sessions.within', true) is distinct from 'booking' or current_user <> 'postgres')
  execute function private.settle_staff_time_members();
create trigger c_settle_deleted after delete on public.staff_time_members
  referencing old table as member_rows for each statement
  when (current_setting('therapist_sessions.within', true) is distinct from 'booking' or current_user <> 'postgres')
  execute function private.settle_staff_time_members();

-- === schemas/staff/staff_time_booking.sql ===

-- Purpose: entering, changing and cancelling time without a client.
-- Objects: add_staff_time, change_staff_time, cancel_staff_time, and what they have in common.
-- Watch for: the times of a request are read by private.slots_of, the reader of sessions-hold, so zones, offsets and the
--            bounds of a booking are the same. A refusal comes before anything is written. Hours, time off and closures
--            count as for a session, and an admin may override them with a reason.

create domain private.staff_ids as uuid[] check (cardinality(value) between 1 and 100);
comment on domain private.staff_ids is 'must have 1 to 100 items';
create domain private.staff_time_ids as uuid[] check (cardinality(value) between 1 and 1000);
comment on domain private.staff_time_ids is 'must have 1 to 1000 items';
create domain private.clock_time as text check (value ~ '^([01][0-9]|2[0-3]):[0-5][0-9]$');
comment on domain private.clock_time is 'must be a local time of day, like 09:30';
create domain private.minutes_long as smallint check (value between 1 and 720);
comment on domain private.minutes_long is 'must be a whole number from 1 to 720';

create type private.staff_time_request as (
  kind public.staff_time_kind,
  therapist_ids private.staff_ids,
  room_id uuid,
  time_zone private.zone_name,
  start_time private.instant,
  end_time private.instant,
  start_time_offset_minutes private.offset_minutes,
  end_time_offset_minutes private.offset_minutes,
  occurrences private.occurrence_requests,
  recurrence private.recurrence_request,
  override private.override_request
);
comment on type private.staff_time_request is 'The request of add_staff_time, each field within its bounds.';

create type private.staff_time_change as (
  staff_time_id uuid,
  series_id uuid,
  "from" private.instant,
  kind public.staff_time_kind,
  therapist_ids private.staff_ids,
  room_id uuid,
  start_time private.instant,
  end_time private.instant,
  local_start private.clock_time,
  duration_minutes private.minutes_long,
  override private.override_request
);
comment on type private.staff_time_change is 'The request of change_staff_time: which ones, and what of them changes.';

create type private.staff_time_end as (
  staff_time_ids private.staff_time_ids,
  series_id uuid,
  "from" private.instant
);
comment on type private.staff_time_end is 'The request of cancel_staff_time.';

do $make$
declare
  name text;
begin
  foreach name in array array['staff_time_request', 'staff_time_change', 'staff_time_end'] loop
    execute format(
      $function$
        create function private.mistyped_%1$s() returns jsonpath
        language plpgsql immutable set search_path = '' as $body$ begin return %2$L; end $body$
      $function$,
      name, format('$ ? (%s)', private.mistyped_fields(format('private.%I', name)::regtype))
    );
    execute format(
      'comment on function private.mistyped_%1$s() is %2$L',
      name, format('Finds a field of private.%s whose JSON type is wrong. Made from the type.', name)
    );
  end loop;
end
$make$;

create type private.staff_plan as (
  id uuid,
  occurrence_index smallint,
  kind public.staff_time_kind,
  start_time timestamptz,
  end_time timestamptz,
  time_zone text,
  -- squawk-ignore prefer-timestamp-tz
  civil_start timestamp,
  room_id uuid,
  therapist_ids uuid[]
);
comment on type private.staff_plan is 'One staff time as it would be.';

-- What may be where ------------------------------------------------------------------------------------------------------

create function private.staff_claims(organization_id uuid, plans private.staff_plan[])
returns private.claims[]
language plpgsql
immutable
set search_path = ''
as $$
begin
  return private.claimed(organization_id, array(
    select row(
      null, plan.id, member.id, case when member.position = 1 then plan.room_id end, 0, 0, null, null, plan.start_time,
      plan.end_time, null
    )::private.place
    from unnest(plans) as plan
    cross join lateral unnest(plan.therapist_ids) with ordinality as member (id, position)
  ));
end
$$;
comment on function private.staff_claims(uuid, private.staff_plan[]) is
  'What staff times claim: each of their therapists, and their room once.';

create function private.staff_obstacle(
  organization_id uuid,
  plans private.staff_plan[],
  as_of timestamptz,
  out conflicts jsonb,
  out retry_after timestamptz
)
language plpgsql
stable
set search_path = ''
as $$
declare
  own_ids constant uuid[] := array(select plan.id from unnest(plans) as plan);
  indexes constant jsonb := (select jsonb_object_agg(plan.id, plan.occurrence_index) from unnest(plans) as plan);
begin
  select
    jsonb_agg(found.conflict order by found.occurrence_index, found.resource_kind, found.resource_id)
      filter (where found.place = 1 and found.rank <= 1000),
    case when bool_and(found.expires_at is not null) then max(found.expires_at) end
  into conflicts, retry_after
  from (
    select blocked.*,
      dense_rank() over (order by blocked.occurrence_index, blocked.resource_kind, blocked.resource_id) as rank,
      jsonb_strip_nulls(jsonb_build_object(
        'occurrenceIndex', blocked.occurrence_index,
        'resource', blocked.resource_kind,
        'therapistId', case when blocked.resource_kind = 'therapist' then blocked.resource_id end,
        'blockedBy', case when blocked.expires_at is null then 'session' else 'hold' end,
        'startTime', private.iso(lower(blocked.overlap)),
        'endTime', private.iso(upper(blocked.overlap)),
        'expiresAt', private.iso(blocked.expires_at)
      )) as conflict
    from (
      select (indexes ->> want.owner_id::text)::integer as occurrence_index, want.resource_kind, want.resource_id,
        claim.expires_at, claim.during::tstzrange * want.during::tstzrange as overlap,
        row_number() over (
          partition by want.owner_id, want.resource_kind, want.resource_id order by claim.expires_at desc nulls first
        ) as place
      from unnest(private.staff_claims(staff_obstacle.organization_id, plans)) as want
      cross join lateral (
        select known.* from private.claims as known
        where known.organization_id = want.organization_id
          and known.resource_id = want.resource_id
          and known.during && want.during
          and known.resource_kind = want.resource_kind
          and (known.expires_at is null or known.expires_at > as_of)
          and known.owner_id <> all (own_ids)
        offset 0
      ) as claim
    ) as blocked
  ) as found;
end
$$;
comment on function private.staff_obstacle(uuid, private.staff_plan[], timestamptz) is
  'What is in the way of staff times: one conflict for each occurrence and therapist or room, a session before a hold. It '
  'says which of the therapists that were asked for, never whose booking it is. At most 1000.';

create function private.refuse_staff_time(
  actor private.actor,
  staff_time_ids uuid[],
  code text,
  detail text,
  retry_after timestamptz default null,
  conflicts jsonb default null
)
returns jsonb
language plpgsql
set search_path = ''
as $$
begin
  return coalesce(
    private.note_refusal(
      actor.organization_id, 'staff_time.refused', 'staff_time', staff_time_ids, code, actor.role::text,
      details => case when conflicts is not null
        then jsonb_build_object('conflicts', jsonb_path_query_array(conflicts, '$[0 to 19]')) end,
      may_never => actor.role = 'client'
    ),
    private.refusal(private.status_of(code), code, detail, retry_after, coalesce(conflicts, '[]'))
  );
end
$$;
comment on function private.refuse_staff_time(private.actor, uuid[], text, text, timestamptz, jsonb) is
  'Refuses a request about staff times: one audit event, and the outcome.';

create function private.may_take_time(actor private.actor, therapist_ids uuid[])
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  return exists (
    select from public.memberships as member
    where member.organization_id = actor.organization_id and member.user_id = actor.user_id
      and (
        member.role in ('admin', 'super_admin')
        or (member.role = 'therapist' and therapist_ids <@ array[actor.user_id])
      )
  );
end
$$;
comment on function private.may_take_time(private.actor, uuid[]) is
  'Whether the caller disposes of the time of these therapists: a therapist of their own, an admin of everybody''s. Read '
  'from the membership row, behind the locks too.';

create function private.staff_availability(
  organization_id uuid,
  plans private.staff_plan[],
  out conflicts jsonb,
  out is_open boolean
)
language plpgsql
stable
set search_path = ''
as $$
begin
  select coalesce(bool_and(asked.is_open), true), jsonb_path_query_array(
    jsonb_agg(private.availability_conflicts(staff_availability.organization_id, asked.therapist_id, asked.spans))
      filter (where not asked.is_open), '$[*][*]'
  )
  into is_open, conflicts
  from (
    select wanted.therapist_id, wanted.spans,
      private.is_open(staff_availability.organization_id, wanted.therapist_id, wanted.spans) as is_open
    from (
      select member.id as therapist_id,
        array_agg(tstzrange(plan.start_time, plan.end_time, '[)') order by plan.occurrence_index) as spans
      from unnest(plans) as plan
      cross join lateral unnest(plan.therapist_ids) as member (id)
      group by member.id
    ) as wanted
  ) as asked;
end
$$;
comment on function private.staff_availability(uuid, private.staff_plan[]) is
  'Whether each therapist works when their staff times are, by the rule of bookings; conflicts says where not.';

create function private.staff_placement_issue(
  actor private.actor,
  plans private.staff_plan[],
  reason text,
  as_of timestamptz
)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
  obstacle record;
  availability record;
  code jsonb;
begin
  if exists (
    select from (
      select distinct plan.therapist_ids, plan.room_id from unnest(plans) as plan
    ) as wanted
    cross join lateral private.staff_time_issue(actor.organization_id, wanted.therapist_ids, wanted.room_id) as issue
    where issue.rule is not null or not private.may_take_time(actor, wanted.therapist_ids)
  ) or (reason is not null and actor.role not in ('admin', 'super_admin')) then
    return '{"code": "FORBIDDEN", "detail": "You may not take the time of these therapists, this room, or override."}';
  end if;
  availability := private.staff_availability(actor.organization_id, plans);
  if not availability.is_open and reason is null then
    return jsonb_build_object(
      'code', 'OUTSIDE_AVAILABILITY', 'conflicts', availability.conflicts,
      'detail', 'A therapist does not work then, or the clinic is closed. An admin may override with a reason.'
    );
  end if;
  obstacle := private.staff_obstacle(actor.organization_id, plans, as_of);
  if obstacle.conflicts is not null then
    code := private.conflict_code(obstacle.conflicts);
    return code || jsonb_build_object('conflicts', obstacle.conflicts, 'retryAfter', obstacle.retry_after);
  end if;
  return jsonb_build_object('overridden', not availability.is_open);
end
$$;
comment on function private.staff_placement_issue(private.actor, private.staff_plan[], text, timestamptz) is
  'What forbids staff times to be placed here, as {code, detail, conflicts, retryAfter}; no code: nothing does, and '
  'overridden says whether the reason set hours or closures aside. Call it behind the locks.';

create function private.write_staff_claims(organization_id uuid, plans private.staff_plan[], as_of timestamptz)
returns void
language plpgsql
set search_path = ''
as $$
begin
  perform private.remove_stale(organization_id, private.staff_claims(organization_id, plans), as_of);
  if not private.sync_claims(organization_id, array(select plan.id from unnest(plans) as plan), as_of) then
    perform private.raise_busy();
  end if;
end
$$;
comment on function private.write_staff_claims(uuid, private.staff_plan[], timestamptz) is
  'Takes the claims of staff times whose rows are written and whose way was found free.';

create function private.staff_answer(organization_id uuid, staff_time_ids uuid[])
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return jsonb_build_object('staffTimes', (
    select coalesce(jsonb_agg(jsonb_build_object(
      'id', known.id, 'kind', known.kind, 'startTime', private.iso(known.start_time),
      'endTime', private.iso(known.end_time), 'seriesId', known.series_id
    ) order by named.position), '[]')
    from unnest(staff_time_ids) with ordinality as named (id, position)
    cross join lateral (
      select found.* from public.staff_times as found
      where found.organization_id = staff_answer.organization_id and found.id = named.id offset 0
    ) as known
  ));
end
$$;
comment on function private.staff_answer(uuid, uuid[]) is 'The body of an answer about staff times, in the order asked.';

create function private.record_staff_override(
  actor private.actor,
  staff_time_ids uuid[],
  reason text,
  as_of timestamptz
)
returns void
language plpgsql
set search_path = ''
as $$
begin
  perform private.record_event(
    actor.organization_id, 'override.availability', 'staff_time', staff_time_ids, as_of,
    actor_role => actor.role::text, details => jsonb_build_object('reason', reason)
  );
end
$$;
comment on function private.record_staff_override(private.actor, uuid[], text, timestamptz) is
  'The audit event of staff times that an admin placed outside hours or in a closure.';

-- Entering -----------------------------------------------------------------------------------------------------------------

create function private.read_staff_time_request(request jsonb, actor private.actor)
returns private.staff_time_request
language plpgsql
stable
set search_path = ''
as $$
declare
  wanted private.staff_time_request :=
    private.read_request(request, null::private.staff_time_request, private.mistyped_staff_time_request());
  issues jsonb := '[]';
begin
  if wanted.therapist_ids is null and actor.role = 'therapist' then
    wanted.therapist_ids := array[actor.user_id];
  end if;
  if wanted.occurrences = '{}' then
    wanted.occurrences := null;
  end if;
  if wanted.kind is null then
    issues := issues || private.issue('kind', 'is required');
  end if;
  if wanted.therapist_ids is null then
    issues := issues || private.issue('therapist_ids', 'is required');
  elsif (select count(distinct named.id) from unnest(wanted.therapist_ids) as named (id)) < cardinality(wanted.therapist_ids) then
    issues := issues || private.issue('therapist_ids', 'must not name a therapist twice');
  elsif cardinality(wanted.therapist_ids) * coalesce(cardinality(wanted.occurrences), 1) > 5000 then
    issues := issues || private.issue('therapist_ids', 'times the occurrences must be at most 5000');
  end if;
  if exists (select from unnest(wanted.occurrences) as place where place.session_id is not null) then
    issues := issues || private.issue('occurrences', 'must not name sessions: nothing is moved');
  end if;
  if issues <> '[]' then
    perform private.raise_invalid(issues);
  end if;
  return wanted;
end
$$;
comment on function private.read_staff_time_request(jsonb, private.actor) is
  'Reads the request of add_staff_time, or PT400. A therapist who names nobody means themselves.';

create function private.staff_slots(wanted private.staff_time_request, as_of timestamptz)
returns private.slot[]
language plpgsql
volatile
set search_path = ''
as $$
declare
  placed private.hold_request;
begin
  -- A request of sessions-hold with the same times; it is read, not held. Who it is for does not matter here.
  placed.therapist_id := wanted.therapist_ids[1];
  placed.client_id := wanted.therapist_ids[1];
  placed.time_zone := wanted.time_zone;
  placed.start_time := wanted.start_time;
  placed.end_time := wanted.end_time;
  placed.start_time_offset_minutes := wanted.start_time_offset_minutes;
  placed.end_time_offset_minutes := wanted.end_time_offset_minutes;
  placed.occurrences := wanted.occurrences;
  placed.recurrence := wanted.recurrence;
  placed.override := wanted.override;
  return private.slots_of(placed, as_of);
end
$$;
comment on function private.staff_slots(private.staff_time_request, timestamptz) is
  'When the staff times of a request are: read as sessions-hold reads times, or PT400.';

create function private.add_staff_time(request jsonb, idempotency_key text, request_id text)
returns jsonb
language plpgsql
security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '5s'
as $$
declare
  actor private.actor := private.begin_booking(request_id);
  wanted private.staff_time_request := private.read_staff_time_request(request, actor);
  reason constant text := private.tidy((wanted.override).reason);
  fingerprint bytea;
  outcome jsonb;
  plans private.staff_plan[];
  new_ids uuid[];
  series_id uuid;
  issue jsonb;
  body jsonb;
  as_of timestamptz;
begin
  if not private.may_take_time(actor, wanted.therapist_ids) then
    return private.refuse_staff_time(actor, '{}', 'FORBIDDEN', 'You may not take the time of these therapists.');
  end if;
  perform private.share_organization(actor.organization_id);
  if idempotency_key is not null then
    fingerprint := private.fingerprint(to_jsonb(wanted));
    outcome := private.find_replay(actor.organization_id, actor.user_id, 'add-staff-time', idempotency_key, fingerprint);
    if outcome is not null then
      return outcome;
    end if;
  end if;
  plans := array(
    select row(
      slot.hold_id, slot.occurrence_index, wanted.kind, slot.start_time, slot.end_time, slot.time_zone, slot.civil_start,
      wanted.room_id, wanted.therapist_ids
    )::private.staff_plan
    from unnest(private.staff_slots(wanted, clock_timestamp())) as slot
    order by slot.occurrence_index
  );
  -- A rival for any of these people, or the room, waits here and then finds what this has taken.
  perform private.lock_resources(actor.organization_id, wanted.therapist_ids || wanted.room_id);
  as_of := clock_timestamp();
  issue := private.staff_placement_issue(actor, plans, reason, as_of);
  if issue ? 'code' then
    return private.refuse_staff_time(
      actor, '{}', issue ->> 'code', issue ->> 'detail', (issue ->> 'retryAfter')::timestamptz, issue -> 'conflicts'
    );
  end if;

  new_ids := array(select plan.id from unnest(plans) as plan);
  series_id := case when cardinality(plans) > 1 then gen_random_uuid() end;
  insert into public.staff_times (
    organization_id, id, kind, start_time, end_time, time_zone, civil_start, room_id, series_id, created_by, created_at,
    updated_at
  )
  select actor.organization_id, plan.id, plan.kind, plan.start_time, plan.end_time, plan.time_zone, plan.civil_start,
    plan.room_id, series_id, actor.user_id, as_of, as_of
  from unnest(plans) as plan;
  insert into public.staff_time_members (organization_id, staff_time_id, therapist_id)
  select actor.organization_id, plan.id, member.id
  from unnest(plans) as plan
  cross join lateral unnest(plan.therapist_ids) as member (id);
  perform private.write_staff_claims(actor.organization_id, plans, as_of);
  perform private.record_event(
    actor.organization_id, 'staff_time.added', 'staff_time', new_ids, as_of,
    actor_role => actor.role::text,
    after => private.staff_time_facts(actor.organization_id, new_ids),
    details => nullif(jsonb_strip_nulls(jsonb_build_object('recurrence', to_jsonb(wanted.recurrence))), '{}')
  );
  if (issue -> 'overridden')::boolean then
    perform private.record_staff_override(actor, new_ids, reason, as_of);
  end if;
  body := private.staff_answer(actor.organization_id, new_ids) || jsonb_build_object('seriesId', series_id);
  perform private.keep_answer(
    actor.organization_id, actor.user_id, 'add-staff-time', idempotency_key, fingerprint, body
  );
  return private.success(body);
exception
  when lock_not_available or deadlock_detected or serialization_failure or query_canceled then
    perform private.raise_busy(sqlstate, sqlerrm);
end
$$;
comment on function private.add_staff_time(jsonb, text, text) is 'See the public wrapper.';
grant execute on function private.add_staff_time(jsonb, text, text) to authenticated;

create function public.add_staff_time(request jsonb, idempotency_key text default null, request_id text default null)
returns jsonb
language sql
volatile
set search_path = ''
begin atomic
  select private.leave_booking(
    private.add_staff_time(add_staff_time.request, add_staff_time.idempotency_key, add_staff_time.request_id)
  );
end;
comment on function public.add_staff_time(jsonb, text, text) is
  'Enters time without a client, one or a series, for one therapist or several, all or nothing: {kind, therapist_ids?, '
  'room_id?, time_zone, start_time, end_time, occurrences?, recurrence?, override?}. kind is meeting, supervision, drive, '
  'documentation, training or break; therapist_ids are up to 100, left out: the caller; times are those of sessions-hold, '
  'with recurrence expanded into occurrences. Outcome body: {staffTimes: [{id, kind, startTime, endTime, seriesId}], '
  'seriesId}. 409 as sessions-hold, each conflict with the therapistId that was asked for.';
grant execute on function public.add_staff_time(jsonb, text, text) to authenticated;

-- Changing and cancelling --------------------------------------------------------------------------------------------------

create function private.staff_targets(
  actor private.actor,
  staff_time_ids uuid[],
  of_series uuid,
  from_time timestamptz
)
returns uuid[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return array(
    select known.id from public.staff_times as known
    where known.organization_id = actor.organization_id and known.id = any (staff_time_ids)
    union
    select known.id from public.staff_times as known
    where known.organization_id = actor.organization_id and known.series_id = of_series and known.start_time >= from_time
  );
end
$$;
comment on function private.staff_targets(private.actor, uuid[], uuid, timestamptz) is
  'The staff times that are named, or those of a series from a moment on.';

create function private.lock_staff_times(organization_id uuid, staff_time_ids uuid[], more_ids uuid[] default '{}')
returns void
language plpgsql
set search_path = ''
as $$
begin
  -- Two changes of one staff time would each compute its new place from the old one: the second waits, and reads anew.
  perform from (
    select distinct named.id from unnest(staff_time_ids) as named (id) order by named.id
  ) as ordered
  cross join lateral (
    select from public.staff_times as known
    where known.organization_id = lock_staff_times.organization_id and known.id = ordered.id
    for no key update
  ) as locked;
  -- Whoever waits for this time must find either the staff time or the slot it left.
  perform private.lock_resources(organization_id, more_ids || array(
    select member.therapist_id from public.staff_time_members as member
    where member.organization_id = lock_staff_times.organization_id and member.staff_time_id = any (staff_time_ids)
    union
    select known.room_id from public.staff_times as known
    where known.organization_id = lock_staff_times.organization_id and known.id = any (staff_time_ids)
  ));
end
$$;
comment on function private.lock_staff_times(uuid, uuid[], uuid[]) is
  'Locks staff times by id, then the therapists and rooms they take now, and more_ids.';

create function private.may_change_staff_times(actor private.actor, staff_time_ids uuid[])
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  return private.may_take_time(actor, array(
    select distinct member.therapist_id from public.staff_time_members as member
    where member.organization_id = actor.organization_id and member.staff_time_id = any (staff_time_ids)
  ));
end
$$;
comment on function private.may_change_staff_times(private.actor, uuid[]) is
  'Whether all these staff times are the caller''s to change: a therapist changes what they alone take part in.';

create function private.read_staff_time_change(request jsonb)
returns private.staff_time_change
language plpgsql
stable
set search_path = ''
as $$
declare
  wanted private.staff_time_change :=
    private.read_request(request, null::private.staff_time_change, private.mistyped_staff_time_change());
  issues jsonb;
begin
  select jsonb_agg(jsonb_build_object('path', rule.path, 'message', rule.message)) into issues
  from (
    values
      ('staff_time_id', 'is required, or series_id: one of them', num_nonnulls(wanted.staff_time_id, wanted.series_id) <> 1),
      ('from', 'goes with series_id', wanted."from" is not null and wanted.series_id is null),
      ('start_time', 'is for one staff time: name local_start for a series',
        wanted.start_time is not null and wanted.series_id is not null),
      ('end_time', 'goes with start_time', (wanted.start_time is null) <> (wanted.end_time is null)),
      ('local_start', 'excludes start_time',
        wanted.start_time is not null and num_nonnulls(wanted.local_start, wanted.duration_minutes) > 0),
      ('therapist_ids', 'must not name a therapist twice', (
        select count(distinct named.id) < count(*) from unnest(wanted.therapist_ids) as named (id)
      )),
      ('override.reason', 'is required', wanted.override is distinct from null and (wanted.override).reason is null),
      ('', 'names nothing to change', not request ?| array[
        'kind', 'therapist_ids', 'room_id', 'start_time', 'end_time', 'local_start', 'duration_minutes'])
  ) as rule (path, message, is_broken)
  where rule.is_broken;
  if issues is not null then
    perform private.raise_invalid(issues);
  end if;
  return wanted;
end
$$;
comment on function private.read_staff_time_change(jsonb) is 'Reads the request of change_staff_time, or PT400.';

create function private.changed_plans(
  organization_id uuid,
  staff_time_ids uuid[],
  wanted private.staff_time_change,
  names_room boolean
)
returns private.staff_plan[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return array(
    select row(
      known.id, row_number() over (order by known.start_time, known.id) - 1, coalesce(wanted.kind, known.kind),
      begins.at, coalesce(wanted.end_time::timestamptz, begins.at + coalesce(
        make_interval(mins => wanted.duration_minutes), known.end_time - known.start_time
      )),
      known.time_zone,
      case when wanted.local_start is not null then civil.start
        when wanted.start_time is not null then begins.at at time zone known.time_zone else known.civil_start end,
      case when names_room then wanted.room_id else known.room_id end,
      coalesce(wanted.therapist_ids::uuid[], array(
        select member.therapist_id from public.staff_time_members as member
        where member.organization_id = known.organization_id and member.staff_time_id = known.id
        order by member.therapist_id
      ))
    )::private.staff_plan
    from public.staff_times as known
    cross join lateral (select known.civil_start::date + wanted.local_start::time as start) as civil
    cross join lateral (
      select coalesce(
        wanted.start_time::timestamptz, private.instant_at(civil.start, known.time_zone), known.start_time
      ) as at
      offset 0
    ) as begins
    where known.organization_id = changed_plans.organization_id and known.id = any (staff_time_ids)
      and known.cancelled_at is null
    order by known.start_time, known.id
  );
end
$$;
comment on function private.changed_plans(uuid, uuid[], private.staff_time_change, boolean) is
  'The staff times as they would be. A new local_start is civil time of each one''s own zone, so 09:00 stays 09:00 when '
  'clocks change.';

create function private.moved_plans(organization_id uuid, plans private.staff_plan[])
returns private.staff_plan[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return array(
    select plan
    from unnest(plans) as plan
    join public.staff_times as known
      on known.organization_id = moved_plans.organization_id and known.id = plan.id
    where (known.start_time, known.end_time) is distinct from (plan.start_time, plan.end_time)
      or known.room_id is distinct from plan.room_id
      or array(
        select member.therapist_id from public.staff_time_members as member
        where member.organization_id = known.organization_id and member.staff_time_id = known.id
        order by member.therapist_id
      ) is distinct from array(select member.id from unnest(plan.therapist_ids) as member (id) order by member.id)
  );
end
$$;
comment on function private.moved_plans(uuid, private.staff_plan[]) is
  'Those that would take another time, therapist or room than they do now.';

create function private.require_staff_windows(moved private.staff_plan[], plans private.staff_plan[], as_of timestamptz)
returns void
language plpgsql
stable
set search_path = ''
as $$
declare
  slots private.slot[] := array(
    select row(
      plan.id, plan.occurrence_index, plan.id, null, null, null, plan.start_time, plan.end_time, plan.time_zone,
      plan.civil_start, '{[0,2147483647)}', null, null
    )::private.slot
    from unnest(plans) as plan
  );
  issues jsonb;
begin
  select jsonb_path_query_array(jsonb_agg(wrong.issues), '$[*][*]') into issues
  from unnest(slots) as slot
  cross join lateral (select private.window_issues(slot, cardinality(plans) > 1, null, null, as_of) as issues) as wrong
  where wrong.issues is not null and slot.hold_id = any (array(select plan.id from unnest(moved) as plan));
  if cardinality(plans) > 1 then
    issues := coalesce(issues, '[]') || private.overlap_issues(slots, 0);
  end if;
  if issues <> '[]' then
    perform private.raise_invalid(jsonb_path_query_array(issues, '$[0 to 49]'));
  end if;
end
$$;
comment on function private.require_staff_windows(private.staff_plan[], private.staff_plan[], timestamptz) is
  'PT400 when what is moved would be in the past, too long or too far ahead, or the series would overlap itself.';

create function private.write_staff_change(actor private.actor, plans private.staff_plan[], as_of timestamptz)
returns void
language plpgsql
set search_path = ''
as $$
begin
  update public.staff_times as known
  set kind = plan.kind, start_time = plan.start_time, end_time = plan.end_time, civil_start = plan.civil_start,
    room_id = plan.room_id, updated_at = as_of
  from unnest(plans) as plan
  where known.organization_id = actor.organization_id and known.id = plan.id;
  delete from public.staff_time_members as member
  using unnest(plans) as plan
  where member.organization_id = actor.organization_id and member.staff_time_id = plan.id
    and member.therapist_id <> all (plan.therapist_ids);
  insert into public.staff_time_members (organization_id, staff_time_id, therapist_id)
  select actor.organization_id, plan.id, member.id
  from unnest(plans) as plan
  cross join lateral unnest(plan.therapist_ids) as member (id)
  on conflict do nothing;
  perform private.write_staff_claims(actor.organization_id, plans, as_of);
end
$$;
comment on function private.write_staff_change(private.actor, private.staff_plan[], timestamptz) is
  'Writes staff times as they are to be, their members and their claims.';

create function private.change_staff_time(request jsonb, request_id text)
returns jsonb
language plpgsql
security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '5s'
as $$
declare
  actor private.actor := private.begin_booking(request_id);
  wanted private.staff_time_change := private.read_staff_time_change(request);
  reason constant text := private.tidy((wanted.override).reason);
  from_time constant timestamptz := coalesce(wanted."from"::timestamptz, clock_timestamp());
  target_ids uuid[] := private.staff_targets(actor, array[wanted.staff_time_id], wanted.series_id, from_time);
  plans private.staff_plan[];
  moved private.staff_plan[];
  before jsonb;
  issue jsonb := '{}';
  as_of timestamptz;
begin
  if target_ids = '{}' or not private.may_change_staff_times(actor, target_ids) then
    return private.refuse_staff_time(actor, array_remove(array[wanted.staff_time_id], null), 'FORBIDDEN',
      'There is no such staff time, or it is not yours to change.');
  end if;
  perform private.share_organization(actor.organization_id);
  perform private.lock_staff_times(
    actor.organization_id, target_ids, coalesce(wanted.therapist_ids::uuid[], '{}') || wanted.room_id
  );
  as_of := clock_timestamp();
  plans := private.changed_plans(actor.organization_id, target_ids, wanted, request ? 'room_id');
  if plans = '{}' then
    return private.refuse_staff_time(actor, target_ids, 'SESSION_NOT_MOVABLE', 'This staff time is cancelled.');
  elsif not private.may_change_staff_times(actor, target_ids) then
    return private.refuse_staff_time(actor, target_ids, 'FORBIDDEN', 'This staff time is not yours to change any more.');
  end if;
  moved := private.moved_plans(actor.organization_id, plans);
  perform private.require_staff_windows(moved, plans, as_of);
  if moved <> '{}' then
    issue := private.staff_placement_issue(actor, moved, reason, as_of);
    if issue ? 'code' then
      return private.refuse_staff_time(
        actor, target_ids, issue ->> 'code', issue ->> 'detail', (issue ->> 'retryAfter')::timestamptz, issue -> 'conflicts'
      );
    end if;
  end if;
  target_ids := array(select plan.id from unnest(plans) as plan order by plan.occurrence_index);
  before := private.staff_time_facts(actor.organization_id, target_ids);
  perform private.write_staff_change(actor, plans, as_of);
  perform private.record_event(
    actor.organization_id, 'staff_time.changed', 'staff_time', target_ids, as_of,
    actor_role => actor.role::text,
    before => before,
    after => private.staff_time_facts(actor.organization_id, target_ids)
  );
  if (issue -> 'overridden')::boolean then
    perform private.record_staff_override(actor, target_ids, reason, as_of);
  end if;
  return private.success(private.staff_answer(actor.organization_id, target_ids));
exception
  when lock_not_available or deadlock_detected or serialization_failure or query_canceled then
    perform private.raise_busy(sqlstate, sqlerrm);
end
$$;
comment on function private.change_staff_time(jsonb, text) is 'See the public wrapper.';
grant execute on function private.change_staff_time(jsonb, text) to authenticated;

create function public.change_staff_time(request jsonb, request_id text default null)
returns jsonb
language sql
volatile
set search_path = ''
begin atomic
  select private.leave_booking(private.change_staff_time(change_staff_time.request, change_staff_time.request_id));
end;
comment on function public.change_staff_time(jsonb, text) is
  'Changes one staff time, or those of a series from a moment on: {staff_time_id} or {series_id, from?} (left out: from '
  'now), and any of {kind, therapist_ids, room_id, local_start (HH:MM), duration_minutes, override}; start_time and '
  'end_time for one alone. All or nothing. Outcome body: {staffTimes: [{id, kind, startTime, endTime, seriesId}]}.';
grant execute on function public.change_staff_time(jsonb, text) to authenticated;

create function private.cancel_staff_time(request jsonb, request_id text)
returns jsonb
language plpgsql
security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '5s'
as $$
declare
  actor private.actor := private.begin_booking(request_id);
  wanted private.staff_time_end :=
    private.read_request(request, null::private.staff_time_end, private.mistyped_staff_time_end());
  from_time constant timestamptz := coalesce(wanted."from"::timestamptz, clock_timestamp());
  target_ids uuid[];
  cancelled_ids uuid[];
  before jsonb;
  as_of timestamptz;
begin
  if num_nonnulls(wanted.staff_time_ids, wanted.series_id) <> 1 then
    perform private.raise_invalid(private.issue('staff_time_ids', 'is required, or series_id: one of them'));
  elsif wanted."from" is not null and wanted.series_id is null then
    perform private.raise_invalid(private.issue('from', 'goes with series_id'));
  end if;
  target_ids := private.staff_targets(actor, wanted.staff_time_ids, wanted.series_id, from_time);
  if target_ids = '{}' or not target_ids @> coalesce(wanted.staff_time_ids::uuid[], '{}')
    or not private.may_change_staff_times(actor, target_ids)
  then
    return private.refuse_staff_time(actor, coalesce(wanted.staff_time_ids, '{}'), 'FORBIDDEN',
      'You may not cancel every staff time this names. Nothing was cancelled.');
  end if;
  perform private.share_organization(actor.organization_id);
  perform private.lock_staff_times(actor.organization_id, target_ids);
  as_of := clock_timestamp();
  if not private.may_change_staff_times(actor, target_ids) then
    return private.refuse_staff_time(actor, target_ids, 'FORBIDDEN',
      'You may not cancel every staff time this names. Nothing was cancelled.');
  end if;
  cancelled_ids := array(
    select known.id from public.staff_times as known
    where known.organization_id = actor.organization_id and known.id = any (target_ids) and known.cancelled_at is null
    order by known.start_time, known.id
  );
  if cancelled_ids <> '{}' then
    before := private.staff_time_facts(actor.organization_id, cancelled_ids);
    update public.staff_times as known
    set cancelled_at = as_of, updated_at = as_of
    where known.organization_id = actor.organization_id and known.id = any (cancelled_ids);
    perform private.sync_claims(actor.organization_id, cancelled_ids, as_of);
    perform private.record_event(
      actor.organization_id, 'staff_time.cancelled', 'staff_time', cancelled_ids, as_of,
      actor_role => actor.role::text,
      before => before,
      after => private.staff_time_facts(actor.organization_id, cancelled_ids)
    );
  end if;
  return private.success(jsonb_build_object(
    'cancelledCount', cardinality(cancelled_ids),
    'alreadyCancelledCount', cardinality(target_ids) - cardinality(cancelled_ids),
    'cancelledIds', to_jsonb(cancelled_ids)
  ));
exception
  when lock_not_available or deadlock_detected or serialization_failure or query_canceled then
    perform private.raise_busy(sqlstate, sqlerrm);
end
$$;
comment on function private.cancel_staff_time(jsonb, text) is 'See the public wrapper.';
grant execute on function private.cancel_staff_time(jsonb, text) to authenticated;

create function public.cancel_staff_time(request jsonb, request_id text default null)
returns jsonb
language sql
volatile
set search_path = ''
begin atomic
  select private.leave_booking(private.cancel_staff_time(cancel_staff_time.request, cancel_staff_time.request_id));
end;
comment on function public.cancel_staff_time(jsonb, text) is
  'Cancels staff times: {staff_time_ids} or {series_id, from?} (left out: from now). Their time is free at once. Outcome '
  'body: {cancelledCount, alreadyCancelledCount, cancelledIds}.';
grant execute on function public.cancel_staff_time(jsonb, text) to authenticated;

-- === schemas/booking/api.sql ===

-- Purpose: the booking functions that the API exposes.
-- Objects: hold_sessions, confirm_sessions, release_hold, cancel_sessions, extend_series, move_group, offer_freed_slots.
-- Watch for: each is a SECURITY INVOKER wrapper around its private function, which checks the caller and explains itself.

create function public.hold_sessions(request jsonb, idempotency_key text default null, request_id text default null)
returns jsonb
language sql
volatile
set search_path = ''
begin atomic
  select private.leave_booking(
    private.hold_sessions(hold_sessions.request, hold_sessions.idempotency_key, hold_sessions.request_id)
  );
end;
comment on function public.hold_sessions(jsonb, text, text) is
  'Claims a slot or a series for a few minutes. request is the body of sessions-hold with recurrence expanded.';
grant execute on function public.hold_sessions(jsonb, text, text) to authenticated;

create function public.confirm_sessions(request jsonb, idempotency_key text default null, request_id text default null)
returns jsonb
language sql
volatile
set search_path = ''
begin atomic
  select private.leave_booking(
    private.confirm_sessions(confirm_sessions.request, confirm_sessions.idempotency_key, confirm_sessions.request_id)
  );
end;
comment on function public.confirm_sessions(jsonb, text, text) is
  'Turns a live hold into sessions. request is the body of sessions-confirm.';
grant execute on function public.confirm_sessions(jsonb, text, text) to authenticated;

create function public.release_hold(request jsonb, idempotency_key text default null, request_id text default null)
returns jsonb
language sql
volatile
set search_path = ''
begin atomic
  select private.leave_booking(
    private.release_hold(release_hold.request, release_hold.idempotency_key, release_hold.request_id)
  );
end;
comment on function public.release_hold(jsonb, text, text) is 'Lets a hold go. request is {hold_key}.';
grant execute on function public.release_hold(jsonb, text, text) to authenticated;

create function public.cancel_sessions(request jsonb, idempotency_key text default null, request_id text default null)
returns jsonb
language sql
volatile
set search_path = ''
begin atomic
  select private.leave_booking(
    private.cancel_sessions(cancel_sessions.request, cancel_sessions.idempotency_key, cancel_sessions.request_id)
  );
end;
comment on function public.cancel_sessions(jsonb, text, text) is
  'Cancels sessions by id and/or by local day. request is the body of sessions-cancel.';
grant execute on function public.cancel_sessions(jsonb, text, text) to authenticated;

create function public.extend_series(request jsonb, idempotency_key text default null, request_id text default null)
returns jsonb
language sql
volatile
set search_path = ''
begin atomic
  select private.leave_booking(
    private.extend_series(extend_series.request, extend_series.idempotency_key, extend_series.request_id)
  );
end;
comment on function public.extend_series(jsonb, text, text) is
  'Adds sessions to the end of a series, by its rule and what was changed of it since. request is {series_id, until | count '
  '| authorization_end: true, on_conflict?: "refuse" | "skip", therapist_id?, override?}: until a local day, this included; '
  'so many sessions; or as long as the authorization of the next one lasts. Outcome body: {seriesId, sessions, skipped: '
  '[{startTime, endTime, blockedBy, by, reasons}]}. All or nothing, or with "skip" what is free. Refusals are those of '
  'sessions-hold.';
grant execute on function public.extend_series(jsonb, text, text) to authenticated;

create function public.move_group(request jsonb, request_id text default null)
returns jsonb
language sql
volatile
set search_path = ''
begin atomic
  select private.leave_booking(private.move_group(move_group.request, move_group.request_id));
end;
comment on function public.move_group(jsonb, text) is
  'Moves a group with all its clients, at once and without a hold. request is {group_id, start_time, end_time, '
  'start_time_offset_minutes, end_time_offset_minutes, time_zone, therapist_id?, room_id?, override?}. Outcome body: '
  '{groupId, sessions}. Refusals are those of sessions-hold.';
grant execute on function public.move_group(jsonb, text) to authenticated;

create function public.offer_freed_slots(request_id text default null)
returns jsonb
language sql
volatile
set search_path = ''
begin atomic
  select private.leave_booking(private.offer_freed_slots(offer_freed_slots.request_id));
end;
comment on function public.offer_freed_slots(text) is
  'Offers one slot that became free to the next on the waitlist: {offered, pending}. Called after a cancellation, a move or '
  'a release until pending is 0; also for staff to call.';
grant execute on function public.offer_freed_slots(text) to authenticated;

-- === schemas/booking/free_time.sql ===

-- Purpose: when a booking could start. What find_open_slots, find_alternatives and preview_series have in common.
-- Objects: private.asked_booking, private.free_starts, private.services_available.
-- Watch for: what is listed as free must be what a hold grants, and the other way round. Hours, time off and closures
--            are private.outside_availability's, lanes private.client_lanes', units those of the hold: nothing of it is
--            judged anew here.

create type private.asked_place as (
  occurrence_index integer,
  client_id uuid,
  cpt_code text,
  start_time timestamptz,
  end_time timestamptz,
  time_zone text,
  session_id uuid
);
comment on type private.asked_place is
  'One occurrence for one client. cpt_code: the service that is named, or null; session_id: the session it moves.';

create type private.asked_booking as (
  therapist_id uuid,
  room_id uuid,
  buffer_before interval,
  buffer_after interval,
  own_ids uuid[],
  places private.asked_place[],
  is_fixed boolean
);
comment on type private.asked_booking is
  'A booking that somebody asks about. own_ids: owners of claims that are not in its way; is_fixed: it has no other '
  'time, since the client joins a group at the group''s.';

create function private.asked_booking(actor private.actor, request jsonb)
returns private.asked_booking
language plpgsql
volatile
set search_path = ''
as $$
declare
  of_series constant boolean := request ? 'series' and private.changes_series(request);
  wanted private.hold_request := case
    when of_series then (private.asked_move(actor, request)).request else private.read_hold_request(request)
  end;
  slots private.slot[] := private.slots_of(wanted, clock_timestamp());
  named_ids constant uuid[] := array(select slot.session_id from unnest(slots) as slot where slot.session_id is not null);
  batch public.hold_batches := private.new_batch(actor, wanted, named_ids <> '{}', clock_timestamp());
  asked private.asked_booking;
begin
  if named_ids <> '{}' then
    slots := private.with_moved(actor.organization_id, slots);
    batch := private.keep_place(
      batch, wanted, case when of_series then private.names_room(request) else request ? 'room_id' end, slots
    );
  end if;
  slots := private.with_services(actor.organization_id, slots, wanted.cpt_code, wanted.session_type);
  asked.therapist_id := batch.therapist_id;
  asked.room_id := batch.room_id;
  asked.buffer_before := make_interval(mins => batch.buffer_before_minutes);
  asked.buffer_after := make_interval(mins => batch.buffer_after_minutes);
  asked.is_fixed := wanted.group_id is not null;
  asked.own_ids := array(
    select unnest(array_remove(array[session.id, session.group_id], null))
    from public.sessions as session
    where session.organization_id = actor.organization_id
      and session.id = any (array(select slot.session_id from unnest(slots) as slot))
    union
    -- A client who joins stands where the group stands.
    select wanted.group_id where wanted.group_id is not null
  );
  asked.places := array(
    select row(
      slot.occurrence_index, slot.client_id, slot.cpt_code, slot.start_time, slot.end_time, slot.time_zone, slot.session_id
    )::private.asked_place
    from unnest(slots) as slot
    order by slot.occurrence_index, slot.client_id
  );
  if not private.may_ask(actor, asked) or exists (
    select from unnest(named_ids) as named (id)
    where not exists (
      select from public.sessions as session
      where session.organization_id = actor.organization_id
        and session.id = named.id
        and (actor.role <> 'therapist' or session.therapist_id = actor.user_id)
    )
  ) then
    perform private.raise_refusal(403, 'FORBIDDEN', 'You may not book this therapist, client or room.');
  end if;
  perform private.require_service(actor.organization_id, slots, wanted.cpt_code, wanted.session_type, asked.is_fixed);
  if not private.may_render_each(
    actor.organization_id, asked.therapist_id, array(select slot.cpt_code from unnest(slots) as slot),
    array(select slot.service_date from unnest(slots) as slot)
  ) then
    perform private.raise_refusal(403, 'FORBIDDEN', 'You may not book this therapist, client or room.');
  end if;
  return asked;
end
$$;
comment on function private.asked_booking(private.actor, jsonb) is
  'The body of sessions-hold as a question. Raises PT400 as the hold would, and PT403 where the caller may not hold it.';

create function private.may_ask(actor private.actor, asked private.asked_booking)
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  return not exists (
    select 1
    from (select distinct place.client_id from unnest(asked.places) as place) as member
    where not private.may_book(actor, asked.therapist_id, member.client_id, asked.room_id)
  );
end
$$;
comment on function private.may_ask(private.actor, private.asked_booking) is
  'Whether the caller may book this therapist with every one of these clients. Who may not book somebody does not learn '
  'when they are busy.';

-- Lanes by day -----------------------------------------------------------------------------------------------------

create function private.lane_periods(organization_id uuid, client_id uuid, cpt_code text, span tstzrange)
returns table (during tstzrange, lanes int4multirange)
language plpgsql
stable
rows 1
set search_path = ''
as $$
#variable_conflict use_column
declare
  zone text;
  days daterange;
begin
  if lane_periods.cpt_code is null then
    return query select tstzrange(null, null), '{[0,2147483647)}'::int4multirange;
    return;
  end if;
  select organization.time_zone into zone
  from public.organizations as organization
  where organization.id = lane_periods.organization_id;
  days := daterange((lower(span) at time zone zone)::date, (upper(span) at time zone zone)::date, '[]');

  return query
  with coverage as materialized (
    select known.payer_id, known.valid_from, known.valid_to
    from public.client_coverages as known
    where known.organization_id = lane_periods.organization_id and known.client_id = lane_periods.client_id
  ),
  first_day as (
    select lower(days) as day
    union
    select edge.day
    from (
      select unnest(array[coverage.valid_from, coverage.valid_to + 1]) as day
      from coverage
      union all
      select unnest(array[rule.valid_from, rule.valid_to + 1])
      from coverage
      join public.payer_concurrency_rules as rule
        on rule.organization_id = lane_periods.organization_id and rule.payer_id = coverage.payer_id
      where lane_periods.cpt_code in (rule.first_code, rule.second_code)
    ) as edge
    where edge.day > lower(days) and edge.day < upper(days)
  )
  select
    tstzrange(
      case when period.day > lower(days) then private.start_of_day(period.day, zone) end,
      private.start_of_day(period.next_day, zone), '[)'
    ),
    private.client_lanes(lane_periods.organization_id, lane_periods.client_id, lane_periods.cpt_code, noon.at, noon.at)
  from (
    select first_day.day, lead(first_day.day) over (order by first_day.day) as next_day from first_day
  ) as period
  cross join lateral (select (period.day + time '12:00') at time zone zone as at) as noon;
end
$$;
comment on function private.lane_periods(uuid, uuid, text, tstzrange) is
  'The lanes of a service of one client, by stretches of days in which no coverage and no rule of its payers begins or '
  'ends. A booking has the lanes of every stretch it touches, its end included.';

-- Free starts ------------------------------------------------------------------------------------------------------

create function private.free_starts(
  organization_id uuid,
  asked private.asked_booking,
  client_ids uuid[],
  cpt_codes text[],
  duration interval,
  spans tstzmultirange,
  as_of timestamptz
)
returns tstzmultirange
language plpgsql
stable
set search_path = ''
set enable_seqscan = off
as $$
begin
  -- Each thing in the way rules out a stretch of starts. They are put together once and taken away once, so that the work
  -- grows with what stands in the calendar, not with the starts there could be.
  return spans - (
    with part as materialized (
      select
        span.starts,
        tstzrange(
          lower(span.starts) - asked.buffer_before, upper(span.starts) + duration + asked.buffer_after, '[]'
        ) as reach
      from unnest(spans) as span (starts)
    ),
    resource as materialized (
      select
        'therapist'::public.resource_kind as kind, asked.therapist_id as id,
        int4multirange(int4range(0, 2147483647)) as lanes, tstzrange(null, null) as during,
        asked.buffer_before as before, asked.buffer_after as after
      union all
      select 'room', asked.room_id, int4multirange(int4range(0, 2147483647)), tstzrange(null, null), interval '0', interval '0'
      where asked.room_id is not null
      union all
      select 'client', member.id, period.lanes, period.during, interval '0', interval '0'
      from unnest(client_ids, cpt_codes) as member (id, code)
      cross join lateral private.lane_periods(
        free_starts.organization_id, member.id, member.code,
        (select tstzrange(min(lower(part.reach)), max(upper(part.reach)), '[]') from part)
      ) as period
    ),
    blocked as (
      select
        tstzrange(lower(claim.during) - duration - resource.after, upper(claim.during) + resource.before, '()')
        -- Only starts whose booking touches the days of these lanes.
        * tstzrange(lower(resource.during) - duration, upper(resource.during), '[)') as starts
      from part
      cross join resource
      -- Kept apart, so that the index is asked for each stretch and person, whatever the planner expects of their number.
      cross join lateral (
        select busy.during
        from private.claims as busy
        where busy.organization_id = free_starts.organization_id
          and busy.resource_id = resource.id
          and busy.during && part.reach
          and busy.resource_kind = resource.kind
          and busy.lanes && resource.lanes
          and (busy.expires_at is null or busy.expires_at > as_of)
          and (asked.own_ids is null or busy.owner_id <> all (asked.own_ids))
        offset 0
      ) as claim
      union all
      select tstzrange(lower(closed.during) - duration, upper(closed.during), '()')
      from private.outside_availability(
        free_starts.organization_id, asked.therapist_id,
        array(select tstzrange(lower(part.starts), upper(part.starts) + duration, '[)') from part)
      ) as closed
    )
    select coalesce(range_agg(blocked.starts), '{}') from blocked
  );
end
$$;
comment on function private.free_starts(uuid, private.asked_booking, uuid[], text[], interval, tstzmultirange, timestamptz) is
  'The starts within spans at which a booking of this length is in nobody''s way: claims, lanes, hours, time off and '
  'closures. client_ids and cpt_codes: whose time it takes and for which service each. Units are not looked at.';

-- Units and days of a service ----------------------------------------------------------------------------------------

create function private.services_available(
  organization_id uuid,
  therapist_id uuid,
  places private.asked_place[],
  as_of timestamptz
)
returns boolean[]
language plpgsql
stable
set search_path = ''
as $$
declare
  quotes private.quote[];
begin
  -- The one place where reading ahead asks for units: the same function that decides for a hold.
  quotes := private.quote_units(organization_id, array(
    select row(
      -- Owners in the order of the places: what is asked for first is granted first.
      ('00000000-0000-0000-0000-' || lpad(place.position::text, 12, '0'))::uuid, place.occurrence_index,
      place.client_id, coalesce(place.cpt_code, '97153'), place.start_time, place.end_time, place.session_id, null
    )::private.service
    from unnest(places) with ordinality
      as place (occurrence_index, client_id, cpt_code, start_time, end_time, time_zone, session_id, position)
    -- A booking that names no service takes its units when it is confirmed as one. What is moved has them.
    where place.cpt_code is not null or place.session_id is not null
  ), as_of);
  return array(
    with place as materialized (
      select asked.cpt_code, asked.position,
        private.service_date(services_available.organization_id, asked.client_id, asked.start_time) as date
      from unnest(places) with ordinality
        as asked (occurrence_index, client_id, cpt_code, start_time, end_time, time_zone, session_id, position)
    ),
    service as materialized (
      select named.cpt_code, named.date,
        private.may_render(
          services_available.organization_id, services_available.therapist_id, named.cpt_code, named.date
        ) as is_valid
      from (select distinct place.cpt_code, place.date from place where place.cpt_code is not null) as named
    )
    select coalesce(service.is_valid, true) and not exists (
      select from unnest(quotes) as quote
      where quote.owner_id = ('00000000-0000-0000-0000-' || lpad(place.position::text, 12, '0'))::uuid
        and quote.shortage is not null
    )
    from place
    left join service on service.cpt_code = place.cpt_code and service.date = place.date
    order by place.position
  );
end
$$;
comment on function private.services_available(uuid, uuid, private.asked_place[], timestamptz) is
  'Whether each of these places, all asked for together, would get its units now, and lies on a day on which its code is '
  'valid and the therapist''s to render.';

-- === schemas/booking/open_slots.sql ===

-- Purpose: which times are free, before anybody holds anything.
-- Objects: find_open_slots.
-- Watch for: it is stable and can be called with GET, so it may be answered by a replica: a slot listed as free can be
--            gone a moment later, and only holding it decides. It sees exactly what a hold would see.

create function private.open_slots_issues(
  organization_id uuid,
  therapist_id uuid,
  from_time timestamptz,
  to_time timestamptz,
  duration_minutes integer,
  time_zone text,
  buffer_before_minutes integer,
  buffer_after_minutes integer,
  cpt_code text,
  client_ids uuid[]
)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return case when therapist_id is null then private.issue('therapist_id', 'is required') else '[]' end
    || case
      when from_time is null or not isfinite(from_time) then private.issue('from_time', 'is required')
      else '[]'
    end
    || case
      when to_time is null or not isfinite(to_time) then private.issue('to_time', 'is required')
      when to_time <= from_time then private.issue('to_time', 'must be after from_time')
      when isfinite(from_time) and to_time > from_time + interval '62 days'
        then private.issue('to_time', 'must be at most 62 days after from_time')
      else '[]'
    end
    || case
      when coalesce(duration_minutes, 0) not between 1 and 720
        then private.issue('duration_minutes', 'must be between 1 and 720')
      else '[]'
    end
    || case
      when coalesce(buffer_before_minutes, 0) not between 0 and 240
        then private.issue('buffer_before_minutes', 'must be between 0 and 240')
      else '[]'
    end
    || case
      when coalesce(buffer_after_minutes, 0) not between 0 and 240
        then private.issue('buffer_after_minutes', 'must be between 0 and 240')
      else '[]'
    end
    || case
      when cardinality(client_ids) > 8
        then private.issue('client_ids', 'must be at most 8 clients')
      else '[]'
    end
    || case
      when cpt_code is null then '[]'
      when not exists (
        select 1
        from public.service_codes as service
        where service.code = cpt_code
          and (service.organization_id is null or service.organization_id = open_slots_issues.organization_id)
      )
        then private.issue('cpt_code', 'is no service code that is known here')
      when cardinality(client_ids) > 0 and not exists (
        select 1
        from public.service_codes as service
        where service.code = cpt_code
          and (service.organization_id is null or service.organization_id = open_slots_issues.organization_id)
          and cardinality(client_ids) between service.min_clients and service.max_clients
      )
        then private.issue('client_ids', 'are fewer or more clients than this service is for')
      else '[]'
    end
    || coalesce(private.zone_issue('time_zone', to_jsonb(time_zone), false), '[]');
end
$$;
comment on function private.open_slots_issues(
  uuid, uuid, timestamptz, timestamptz, integer, text, integer, integer, text, uuid[]
) is 'What is wrong with a question of find_open_slots.';

create function private.without_service(
  organization_id uuid,
  therapist_id uuid,
  starts tstzmultirange,
  client_ids uuid[],
  cpt_code text,
  duration interval,
  as_of timestamptz
)
returns tstzmultirange
language plpgsql
stable
set search_path = ''
as $$
declare
  days tstzrange[];
  places private.asked_place[];
  granted boolean[];
begin
  if cpt_code is null then
    return '{}';
  end if;
  -- Units and codes go by the date of service, so that one start stands for its day. First all days together: what is granted
  -- beside the days before it is granted alone. The others are asked one by one.
  select
    array_agg(day.during order by day.at, day.client_id),
    array_agg(
      row(
        0, day.client_id, without_service.cpt_code, day.start, day.start + duration, null, null
      )::private.asked_place
      order by day.at, day.client_id
    )
  into days, places
  from (
    select distinct on (member.id, date.at)
      member.id as client_id, date.at, date.during, lower(date.during * run.starts) as start
    from unnest(client_ids) as member (id)
    cross join lateral private.service_zone(without_service.organization_id, member.id) as zone
    cross join unnest(starts) as run (starts)
    cross join lateral (
      select local.at, tstzrange(
        private.start_of_day(local.at::date, zone), private.start_of_day(local.at::date + 1, zone), '[)'
      ) as during
      from generate_series(
        date_trunc('day', lower(run.starts) at time zone zone), upper(run.starts) at time zone zone, interval '1 day'
      ) as local (at)
    ) as date
    where date.during && run.starts
    order by member.id, date.at
  ) as day;
  granted := private.services_available(organization_id, therapist_id, places, as_of);
  return coalesce((
    select range_agg(asked.during)
    from unnest(days, granted) with ordinality as asked (during, granted, position)
    where not asked.granted
      and not (private.services_available(organization_id, therapist_id, array[places[asked.position]], as_of))[1]
  ), '{}');
end
$$;
comment on function private.without_service(uuid, uuid, tstzmultirange, uuid[], text, interval, timestamptz) is
  'The days, of those on which a booking may start, on which a client has too few units left for this service, or it is no '
  'service of this therapist.';

create function private.find_open_slots(
  therapist_id uuid,
  from_time timestamptz,
  to_time timestamptz,
  duration_minutes integer,
  client_id uuid,
  room_id uuid,
  time_zone text,
  buffer_before_minutes integer,
  buffer_after_minutes integer,
  cpt_code text,
  client_ids uuid[]
)
returns table (start_time timestamptz, end_time timestamptz)
language plpgsql
stable
security definer
set search_path = ''
set plan_cache_mode = 'force_generic_plan'
as $$
#variable_conflict use_column
declare
  actor private.actor := private.require_actor();
  members constant uuid[] := array(
    select distinct member.id
    from unnest(find_open_slots.client_ids || find_open_slots.client_id) as member (id)
    where member.id is not null
  );
  found jsonb := private.open_slots_issues(
    actor.organization_id, therapist_id, from_time, to_time, duration_minutes, time_zone, buffer_before_minutes,
    buffer_after_minutes, cpt_code, members
  ) || case
    when array_position(find_open_slots.client_ids, null) is not null then private.issue('client_ids', 'must not be null')
    else '[]'
  end;
  as_of timestamptz := statement_timestamp();
  duration interval;
  zone text;
  asked private.asked_booking;
  span tstzrange;
  free tstzmultirange;
begin
  if found <> '[]' then
    perform private.raise_invalid(found);
  end if;
  select coalesce(find_open_slots.time_zone, therapist.time_zone) into zone
  from public.therapists as therapist
  -- Whoever has left renders nothing any more.
  join public.memberships as membership
    on membership.organization_id = therapist.organization_id
    and membership.user_id = therapist.id
    and membership.role <> 'client'
  where therapist.organization_id = actor.organization_id
    and therapist.id = find_open_slots.therapist_id
    and therapist.deleted_at is null
    and (actor.role in ('admin', 'super_admin') or (actor.role = 'therapist' and therapist.id = actor.user_id));
  if zone is null then
    perform private.raise_refusal(403, 'FORBIDDEN', 'You may not see this therapist''s calendar.');
  end if;
  asked.therapist_id := find_open_slots.therapist_id;
  asked.room_id := find_open_slots.room_id;
  asked.buffer_before := make_interval(mins => coalesce(buffer_before_minutes, 0));
  asked.buffer_after := make_interval(mins => coalesce(buffer_after_minutes, 0));
  asked.places := array(
    select row(0, member.id, find_open_slots.cpt_code, null, null, null, null)::private.asked_place
    from unnest(members) as member (id)
  );
  if not private.may_ask(actor, asked)
    or (members <> '{}' and not private.may_render(actor.organization_id, asked.therapist_id, find_open_slots.cpt_code, null))
    or (room_id is not null and not exists (
    select 1
    from public.rooms as room
    where room.organization_id = actor.organization_id and room.id = find_open_slots.room_id and room.deleted_at is null
  )) then
    perform private.raise_refusal(403, 'FORBIDDEN', 'You may not book this client, room or service.');
  end if;

  -- What a hold would refuse is not listed: the past, and what lies more than 730 days ahead.
  duration := make_interval(mins => duration_minutes);
  if greatest(from_time, as_of) > least(to_time, as_of + interval '730 days') - duration then
    return;
  end if;
  span := tstzrange(greatest(from_time, as_of), least(to_time, as_of + interval '730 days') - duration, '[]');
  free := private.free_starts(
    actor.organization_id, asked, members, array_fill(find_open_slots.cpt_code, array[cardinality(members)]),
    duration, tstzmultirange(span), as_of
  );
  free := free - private.without_service(
    actor.organization_id, asked.therapist_id, free, members, find_open_slots.cpt_code, duration, as_of
  );

  -- An hour that comes twice has its quarters twice, one that clocks skip has none.
  return query
  select slot.at, slot.at + duration
  from private.zone_periods(zone, span) as period
  join unnest(free) as run (starts) on run.starts && period.during
  cross join lateral (select period.during * run.starts as starts) as part
  cross join lateral (select private.civil_range(part.starts, period.utc_offset) as starts) as civil
  cross join lateral generate_series(
    date_bin('15 minutes', lower(civil.starts), '2000-01-01'), upper(civil.starts), interval '15 minutes'
  ) as grid (at)
  cross join lateral (select (grid.at - period.utc_offset) at time zone 'UTC' as at) as slot
  where grid.at <@ civil.starts
  order by slot.at;
end
$$;
comment on function private.find_open_slots(
  uuid, timestamptz, timestamptz, integer, uuid, uuid, text, integer, integer, text, uuid[]
) is 'See the public wrapper.';
grant execute on function private.find_open_slots(
  uuid, timestamptz, timestamptz, integer, uuid, uuid, text, integer, integer, text, uuid[]
) to authenticated;

create function public.find_open_slots(
  therapist_id uuid,
  from_time timestamptz,
  to_time timestamptz,
  duration_minutes integer,
  client_id uuid default null,
  room_id uuid default null,
  time_zone text default null,
  buffer_before_minutes integer default 0,
  buffer_after_minutes integer default 0,
  cpt_code text default null,
  client_ids uuid[] default null
)
returns table (start_time timestamptz, end_time timestamptz)
language sql
stable
set search_path = ''
begin atomic
  select slot.start_time, slot.end_time
  from private.find_open_slots(
    find_open_slots.therapist_id, find_open_slots.from_time, find_open_slots.to_time,
    find_open_slots.duration_minutes, find_open_slots.client_id, find_open_slots.room_id,
    find_open_slots.time_zone, find_open_slots.buffer_before_minutes, find_open_slots.buffer_after_minutes,
    find_open_slots.cpt_code, find_open_slots.client_ids
  ) as slot;
end;
comment on function public.find_open_slots(
  uuid, timestamptz, timestamptz, integer, uuid, uuid, text, integer, integer, text, uuid[]
) is
  'Every start on the 15-minute civil grid between two instants (at most 62 days apart) at which a hold of '
  'duration_minutes would be granted to the therapist and, when given, the client or clients (client_ids: a group), the '
  'room and the service (cpt_code: what may run beside it, and whose units). time_zone is the grid''s, by default the '
  'therapist''s.';
grant execute on function public.find_open_slots(
  uuid, timestamptz, timestamptz, integer, uuid, uuid, text, integer, integer, text, uuid[]
) to authenticated;

-- === schemas/booking/alternatives.sql ===

-- Purpose: which other times a refused request could have.
-- Objects: find_alternatives.
-- Watch for: it is asked after the hold was refused and its locks are gone, so that no rival waits while it is computed.

create function private.first_instant(civil timestamp, zone text)
returns timestamptz
language plpgsql
stable
set search_path = ''
as $$
begin
  -- Where a time comes twice, Postgres would take the second.
  return (
    select min(candidate.instant)
    from unnest(array['0', '30 minutes', '1 hour', '2 hours']::interval[]) as earlier (shift)
    cross join lateral (select (civil at time zone zone) - earlier.shift as instant) as candidate
    where earlier.shift = interval '0' or candidate.instant at time zone zone = civil
  );
end
$$;
comment on function private.first_instant(timestamp, text) is
  'The instant of a civil time, the first where clocks show it twice, as the client library has it.';

create type private.shift_candidate as (
  start_time timestamptz,
  shift interval,
  run bigint,
  service_days integer
);
comment on type private.shift_candidate is
  'Another first start. shift: how far the whole series moves in civil time; run: the free stretch it lies in; '
  'service_days: equal for shifts that leave every occurrence on the same day of service, and so take the same units.';

create function private.shifted_places(places private.asked_place[], shift interval, first_start timestamptz)
returns private.asked_place[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return array(
    select row(
      place.occurrence_index, place.client_id, place.cpt_code, at.start_time,
      at.start_time + (place.end_time - place.start_time), place.time_zone, place.session_id
    )::private.asked_place
    from unnest(places) with ordinality
      as place (occurrence_index, client_id, cpt_code, start_time, end_time, time_zone, session_id, position)
    cross join lateral (
      select case
        when place.occurrence_index = 0 then first_start
        else private.first_instant((place.start_time at time zone place.time_zone) + shift, place.time_zone)
      end as start_time
    ) as at
    order by place.position
  );
end
$$;
comment on function private.shifted_places(private.asked_place[], interval, timestamptz) is
  'A series moved in civil time; as long as before, each. Its first start is given, for clocks may show it twice.';

create function private.overlaps_itself(places private.asked_place[], buffers interval)
returns boolean
language plpgsql
immutable
set search_path = ''
as $$
begin
  return exists (
    select 1
    from (
      select item.start_time, max(item.end_time) over (
        order by item.start_time rows between unbounded preceding and 1 preceding
      ) as busy_until
      from (select distinct place.occurrence_index, place.start_time, place.end_time from unnest(places) as place) as item
    ) as ordered
    where ordered.busy_until + buffers > ordered.start_time
  );
end
$$;
comment on function private.overlaps_itself(private.asked_place[], interval) is
  'Whether two occurrences of one request overlap, with the buffers between them: a hold of it is malformed.';

create function private.service_day_edges(organization_id uuid, asked private.asked_booking, reach interval)
returns timestamp[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return array(
    with place as materialized (
      select distinct item.start_time, item.time_zone, item.client_id from unnest(asked.places) as item
    ),
    zone as materialized (
      select distinct private.service_zone(service_day_edges.organization_id, member.client_id) as name
      from (select distinct place.client_id from place) as member
    ),
    occurrence as (
      select distinct place.start_time, place.time_zone from place
    ),
    -- The first instant of each day of the zone, by number from the first.
    day as materialized (
      select zone.name as zone, min(local.at)::date as first_day,
        array_agg(private.start_of_day(local.at::date, zone.name) order by local.at) as starts
      from zone
      cross join (
        select min(occurrence.start_time) - reach as since, max(occurrence.start_time) + reach as until from occurrence
      ) as span
      cross join lateral generate_series(
        date_trunc('day', span.since at time zone zone.name), span.until at time zone zone.name, interval '1 day'
      ) as local (at)
      group by zone.name
    )
    select distinct timestamp '2000-01-01'
      + ((day.starts[near.day - day.first_day + 1] at time zone occurrence.time_zone)
        - (occurrence.start_time at time zone occurrence.time_zone))
    from day
    cross join occurrence
    cross join lateral (
      select ((occurrence.start_time - reach) at time zone day.zone)::date + number as day
      from generate_series(0, 2 * extract(day from reach)::integer) as number
    ) as near
    where near.day >= day.first_day
      and near.day - day.first_day < cardinality(day.starts)
    order by 1
  );
end
$$;
comment on function private.service_day_edges(uuid, private.asked_booking, interval) is
  'The shifts, as timestamps from 2000 on, at which an occurrence comes to another date of service.';

create function private.shift_candidates(
  organization_id uuid,
  asked private.asked_booking,
  service_day_edges timestamp[],
  as_of timestamptz
)
returns setof private.shift_candidate
language plpgsql
stable
rows 100
set search_path = ''
set enable_mergejoin = off
as $$
declare
  reach constant interval := '14 days';
  -- Shifts are written as timestamps, counted from here: ranges of them are exact, and Postgres knows how to intersect them.
  origin constant timestamp := '2000-01-01';
  all_shifts constant tsrange := tsrange(origin - reach, origin + reach, '[]');
  is_tight boolean := private.overlaps_itself(asked.places, interval '3 hours');
begin
  return query
  with occurrence as materialized (
    select
      place.occurrence_index as index, place.start_time, place.end_time - place.start_time as duration, place.time_zone,
      place.start_time at time zone place.time_zone as civil,
      array_agg(place.client_id order by place.client_id) as client_ids,
      array_agg(place.cpt_code order by place.client_id) as cpt_codes
    from unnest(asked.places) as place
    group by place.occurrence_index, place.start_time, place.end_time, place.time_zone
  ),
  -- Occurrences that differ in nothing but their time are free at the same starts.
  alike as materialized (
    select occurrence.duration, occurrence.client_ids, occurrence.cpt_codes, range_agg(tstzrange(
      greatest(occurrence.start_time - reach - interval '3 hours', as_of),
      least(occurrence.start_time + reach + interval '3 hours', as_of + interval '730 days' - occurrence.duration), '[]'
    )) as spans
    from occurrence
    where occurrence.start_time + reach + interval '3 hours' >= as_of
      and occurrence.start_time - reach - interval '3 hours' <= as_of + interval '730 days' - occurrence.duration
    group by occurrence.duration, occurrence.client_ids, occurrence.cpt_codes
  ),
  free as materialized (
    select alike.duration, alike.client_ids, alike.cpt_codes, run.starts
    from alike
    cross join lateral unnest(private.free_starts(
      shift_candidates.organization_id, asked, alike.client_ids, alike.cpt_codes, alike.duration, alike.spans, as_of
    )) as run (starts)
  ),
  period as materialized (
    select
      zone.name, part.during, part.utc_offset,
      -- Where an hour comes twice, the second passes are left to the first occurrence; see below.
      greatest(
        lower(part.during),
        ((lag(upper(part.during)) over by_time at time zone 'UTC') + lag(part.utc_offset) over by_time - part.utc_offset)
          at time zone 'UTC'
      ) as first_pass
    from (
      select occurrence.time_zone as name, tstzrange(
        min(occurrence.start_time) - reach - interval '3 hours', max(occurrence.start_time) + reach + interval '3 hours'
      ) as span
      from occurrence
      group by occurrence.time_zone
    ) as zone
    cross join lateral private.zone_periods(zone.name, zone.span) as part
    window by_time as (partition by zone.name order by lower(part.during) nulls first)
  ),
  possible as materialized (
    select occurrence.index, found.*
    from occurrence
    left join lateral (
      select shifted.shifts, period.utc_offset
      from free
      join period
        on period.name = occurrence.time_zone
        and period.during && free.starts
      cross join lateral (
        select free.starts * case
          when occurrence.index = 0 then period.during
          else tstzrange(period.first_pass, upper(period.during), '[)')
        end as starts
      ) as part
      cross join lateral (select private.civil_range(part.starts, period.utc_offset) as starts) as civil
      cross join lateral (
        select all_shifts * tsrange(
          origin + (lower(civil.starts) - occurrence.civil), origin + (upper(civil.starts) - occurrence.civil),
          (case when lower_inc(civil.starts) then '[' else '(' end) || (case when upper_inc(civil.starts) then ']' else ')' end)
        ) as shifts
      ) as shifted
      where free.duration = occurrence.duration
        and free.client_ids = occurrence.client_ids
        and free.cpt_codes is not distinct from occurrence.cpt_codes
        and free.starts && tstzrange(
          occurrence.start_time - reach - interval '3 hours', occurrence.start_time + reach + interval '3 hours'
        )
        and not isempty(part.starts)
        and not isempty(shifted.shifts)
    ) as found on true
  ),
  others as materialized (
    select coalesce(range_intersect_agg(each.shifts), tsmultirange(all_shifts)) as shifts
    from (
      select coalesce(range_agg(possible.shifts), '{}') as shifts
      from possible
      where possible.index > 0
      group by possible.index
    ) as each
  ),
  -- The quarter hours of the first occurrence, in every pass of an hour.
  start as (
    select
      (grid.civil - possible.utc_offset) at time zone 'UTC' as start_time,
      grid.civil - occurrence.civil as shift
    from possible
    join occurrence on occurrence.index = 0
    cross join others
    cross join lateral unnest(others.shifts * tsmultirange(possible.shifts)) as run (shifts)
    cross join lateral generate_series(
      date_bin('15 minutes', occurrence.civil + (lower(run.shifts) - origin), '2000-01-01'),
      occurrence.civil + (upper(run.shifts) - origin), interval '15 minutes'
    ) as grid (civil)
    where possible.index = 0
      and origin + (grid.civil - occurrence.civil) <@ run.shifts
  ),
  numbered as (
    select start.*, sum(start.begins_run) over (order by start.start_time) as run,
      coalesce(width_bucket(origin + start.shift, nullif(service_day_edges, '{}')), 0) as service_days
    from (
      select start.*, case
        when start.start_time - lag(start.start_time) over (order by start.start_time) <= interval '15 minutes' then 0
        else 1
      end as begins_run
      from start
    ) as start
  ),
  ranked as (
    select numbered.*, row_number() over (
      partition by numbered.run, numbered.service_days
      order by greatest(numbered.shift, -numbered.shift), numbered.shift, numbered.start_time
    ) as place
    from numbered
  )
  select ranked.start_time, ranked.shift, ranked.run, ranked.service_days
  from ranked
  where ranked.place <= 2 or is_tight
  order by greatest(ranked.shift, -ranked.shift), ranked.shift, ranked.start_time;
end
$$;
comment on function private.shift_candidates(uuid, private.asked_booking, timestamp[], timestamptz) is
  'Where the whole series could be moved, as far as people, room, hours and closures go: nearest first, the nearest two '
  'of each free stretch and each choice of days (all of them where occurrences lie so near that a change of clocks could '
  'make them overlap). Every start that a claim, an hour off or a gap of the clocks rules out for one occurrence is taken '
  'away as a range of shifts, so that the work grows with what stands in the calendar, not with the grid.';

create function private.find_alternatives(organization_id uuid, asked private.asked_booking, as_of timestamptz)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
  buffers interval := asked.buffer_before + asked.buffer_after;
  duration interval;
  -- A service has its units and its days; without one nothing depends on the day.
  by_day boolean := exists (
    select from unnest(asked.places) as place where place.cpt_code is not null or place.session_id is not null
  );
  edges timestamp[];
  candidate private.shift_candidate;
  places private.asked_place[];
  -- What is known by now of the services on a choice of days, and how many of a run were offered.
  available jsonb := '{}';
  offered jsonb := '{}';
  found jsonb := '[]';
begin
  if asked.is_fixed then
    return found;
  end if;
  select place.end_time - place.start_time into duration
  from unnest(asked.places) as place
  where place.occurrence_index = 0
  limit 1;
  if by_day then
    edges := private.service_day_edges(organization_id, asked, '15 days');
  end if;
  for candidate in
    select * from private.shift_candidates(organization_id, asked, edges, as_of)
  loop
    continue when (offered ->> candidate.run::text)::integer >= 2
      or available -> candidate.service_days::text = 'false';
    places := private.shifted_places(asked.places, candidate.shift, candidate.start_time);
    continue when private.overlaps_itself(places, buffers);
    if by_day and not available ? candidate.service_days::text then
      available := available || jsonb_build_object(
        candidate.service_days, true = all (private.services_available(organization_id, asked.therapist_id, places, as_of))
      );
      continue when available -> candidate.service_days::text = 'false';
    end if;
    offered := offered || jsonb_build_object(candidate.run, coalesce((offered ->> candidate.run::text)::integer, 0) + 1);
    found := found || jsonb_build_object(
      'startTime', private.iso(candidate.start_time), 'endTime', private.iso(candidate.start_time + duration)
    );
    exit when jsonb_array_length(found) = 5;
  end loop;
  return found;
end
$$;
comment on function private.find_alternatives(uuid, private.asked_booking, timestamptz) is
  'Up to five other first windows, nearest start first, on a 15-minute civil grid within 14 days, at which the whole '
  'request, shifted in civil time, would succeed right now; at most two of one free stretch. [] when there is none.';

create function private.find_alternatives(request jsonb)
returns jsonb
language plpgsql
stable
security definer
set search_path = ''
set plan_cache_mode = 'force_generic_plan'
set timezone = 'UTC'
as $$
declare
  actor private.actor := private.require_actor();
begin
  return private.find_alternatives(actor.organization_id, private.asked_booking(actor, request), statement_timestamp());
end
$$;
comment on function private.find_alternatives(jsonb) is 'See the public wrapper.';
grant execute on function private.find_alternatives(jsonb) to authenticated;

create function public.find_alternatives(request jsonb)
returns jsonb
language sql
stable
set search_path = ''
begin atomic
  select private.find_alternatives(find_alternatives.request);
end;
comment on function public.find_alternatives(jsonb) is
  'For the body of a refused sessions-hold: [{startTime, endTime}], at most five other first windows, nearest first and '
  'at most two of one free stretch, at which the same request would succeed right now. A series moves whole, in civil '
  'time; a civil time that clocks show twice is the first, but for the first occurrence, whose instant is given.';
grant execute on function public.find_alternatives(jsonb) to authenticated;

-- === schemas/booking/preview.sql ===

-- Purpose: which dates of a series can be had, and what is in the way of the others.
-- Objects: preview_series.
-- Watch for: looking changes nothing, and holds nothing: another may book between the look and the hold.

create function private.claims_in_the_way(organization_id uuid, asked private.asked_booking, as_of timestamptz)
returns table (occurrence_index integer, resource_kind public.resource_kind, during tstzrange, expires_at timestamptz)
language plpgsql
stable
set search_path = ''
set enable_seqscan = off
as $$
#variable_conflict use_column
begin
  return query
  with place as materialized (
    select * from unnest(asked.places)
  ),
  lane as materialized (
    select service.client_id, service.cpt_code, period.during, period.lanes
    from (
      select place.client_id, place.cpt_code, tstzrange(min(place.start_time), max(place.end_time), '[]') as span
      from place
      group by place.client_id, place.cpt_code
    ) as service
    cross join lateral private.lane_periods(
      claims_in_the_way.organization_id, service.client_id, service.cpt_code, service.span
    ) as period
  ),
  needed as (
    select distinct place.occurrence_index, 'therapist'::public.resource_kind as kind, asked.therapist_id as id,
      tstzrange(place.start_time - asked.buffer_before, place.end_time + asked.buffer_after, '[)') as during,
      '{[0,2147483647)}'::int4multirange as lanes
    from place
    union all
    select distinct place.occurrence_index, 'room'::public.resource_kind, asked.room_id, tstzrange(place.start_time, place.end_time, '[)'),
      '{[0,2147483647)}'::int4multirange
    from place
    where asked.room_id is not null
    union all
    select place.occurrence_index, 'client', place.client_id, tstzrange(place.start_time, place.end_time, '[)'), lane.lanes
    from place
    join lane
      on lane.client_id = place.client_id
      and lane.cpt_code is not distinct from place.cpt_code
      and lane.during && tstzrange(place.start_time, place.end_time, '[]')
  )
  select needed.occurrence_index, needed.kind, claim.during * needed.during, claim.expires_at
  from needed
  cross join lateral (
    select busy.during, busy.expires_at
    from private.claims as busy
    where busy.organization_id = claims_in_the_way.organization_id
      and busy.resource_id = needed.id
      and busy.during && needed.during
      and busy.resource_kind = needed.kind
      and busy.lanes && needed.lanes
      and (busy.expires_at is null or busy.expires_at > as_of)
      and busy.owner_id <> all (asked.own_ids)
    offset 0
  ) as claim;
end
$$;
comment on function private.claims_in_the_way(uuid, private.asked_booking, timestamptz) is
  'What sessions and live holds take of the time that is asked for, by occurrence; expires_at is null for a session.';

create function private.preview_series(request jsonb)
returns jsonb
language plpgsql
stable
security definer
set search_path = ''
set plan_cache_mode = 'force_generic_plan'
set timezone = 'UTC'
as $$
declare
  actor private.actor := private.require_actor();
  as_of timestamptz := statement_timestamp();
  asked private.asked_booking;
begin
  asked := private.asked_booking(actor, request);
  return jsonb_build_object('occurrences', (
    with occurrence as (
      select distinct place.occurrence_index as index, place.start_time, place.end_time from unnest(asked.places) as place
    ),
    reason as (
      select closed.occurrence_index as index,
        case closed.what when 'closure' then 'closure' else 'availability' end as what,
        null as by, closed.during, null::timestamptz as expires_at,
        case closed.what when 'closure' then 1 else 2 end as weight
      from private.outside_availability(actor.organization_id, asked.therapist_id, array(
        select tstzrange(occurrence.start_time, occurrence.end_time, '[)') from occurrence order by occurrence.index
      )) as closed
      union all
      select claim.occurrence_index, claim.resource_kind::text,
        case when claim.expires_at is null then 'session' else 'hold' end, claim.during, claim.expires_at,
        case when claim.expires_at is null then 3 else 6 end
          + case claim.resource_kind when 'therapist' then 0 when 'client' then 1 else 2 end
      from private.claims_in_the_way(actor.organization_id, asked, as_of) as claim
      union all
      select place.occurrence_index, 'authorization', null, tstzrange(place.start_time, place.end_time, '[)'), null, 9
      from unnest(asked.places, private.services_available(actor.organization_id, asked.therapist_id, asked.places, as_of))
        as place (occurrence_index, client_id, cpt_code, start_time, end_time, time_zone, session_id, is_available)
      where not place.is_available
    ),
    -- For each kind of reason one: a session before a hold, else the hold that expires last.
    told as (
      select distinct on (reason.index, reason.what) reason.*
      from reason
      order by reason.index, reason.what, reason.weight, reason.expires_at desc, lower(reason.during)
    )
    select jsonb_agg(
      jsonb_build_object(
        'index', occurrence.index,
        'startTime', private.iso(occurrence.start_time),
        'endTime', private.iso(occurrence.end_time),
        'blockedBy', occurrence.reasons #> '{0,what}',
        'by', occurrence.reasons #> '{0,by}',
        'reasons', occurrence.reasons
      )
      order by occurrence.index
    )
    from (
      -- Occurrences meet their reasons by grouping: a join would be planned for few of both.
      select line.index, min(line.start_time) as start_time, min(line.end_time) as end_time,
        coalesce(jsonb_agg(line.reason order by line.weight) filter (where line.reason is not null), '[]') as reasons
      from (
        select occurrence.index, occurrence.start_time, occurrence.end_time, null::jsonb as reason, null::integer as weight
        from occurrence
        union all
        select told.index, null, null, jsonb_build_object(
          'what', told.what, 'by', told.by,
          'startTime', private.iso(lower(told.during)), 'endTime', private.iso(upper(told.during)),
          'expiresAt', private.iso(told.expires_at)
        ), told.weight
        from told
      ) as line
      group by line.index
    ) as occurrence
  ));
end
$$;
comment on function private.preview_series(jsonb) is 'See the public wrapper.';
grant execute on function private.preview_series(jsonb) to authenticated;

create function public.preview_series(request jsonb)
returns jsonb
language sql
stable
set search_path = ''
begin atomic
  select private.preview_series(preview_series.request);
end;
comment on function public.preview_series(jsonb) is
  'For the body of sessions-hold, without holding: {occurrences: [{index, startTime, endTime, blockedBy, by, reasons}]}. '
  'reasons: [{what, by, startTime, endTime, expiresAt}], the worst first, what being closure, availability, therapist, '
  'client, room or authorization (too few units are left, those of the dates before counted), by session or hold, and '
  'the times the part of the occurrence. blockedBy and by are those of the first, null when the date is free.';
grant execute on function public.preview_series(jsonb) to authenticated;

-- === schemas/booking/substitutes.sql ===

-- Purpose: who could take a session when its therapist cannot.
-- Objects: find_substitutes.
-- Watch for: it only looks. Whoever is listed is held like anybody else, by moving the session to them.

create function private.find_substitutes(request jsonb)
returns jsonb
language plpgsql
stable
security definer
set search_path = ''
set timezone = 'UTC'
as $$
declare
  actor private.actor := private.require_actor();
  found jsonb := coalesce(private.uuid_issue('session_id', request -> 'session_id', true), '[]')
    || case
      when coalesce(jsonb_typeof(request -> 'include_off_caseload'), 'null') not in ('boolean', 'null')
        then private.issue('include_off_caseload', 'must be true or false')
      else '[]'
    end;
  as_of timestamptz := statement_timestamp();
  absent public.sessions;
  code text;
  on_date date;
  client_ids uuid[];
  span tstzrange;
  busy tstzrange;
  week tstzrange;
begin
  if found <> '[]' then
    perform private.raise_invalid(found);
  end if;
  select session.* into absent
  from public.sessions as session
  where session.organization_id = actor.organization_id
    and session.id = (request ->> 'session_id')::uuid
    and (actor.role in ('admin', 'super_admin') or (actor.role = 'therapist' and session.therapist_id = actor.user_id));
  if absent.id is null then
    perform private.raise_refusal(403, 'FORBIDDEN', 'You may not look for somebody to take this session.');
  elsif absent.status <> 'scheduled' or absent.start_time < as_of then
    return '[]';
  end if;

  on_date := private.service_date(absent.organization_id, absent.client_id, absent.start_time);
  code := private.service_code(absent.organization_id, absent.cpt_code, absent.session_type, on_date);
  -- A group goes over whole, with everybody who still comes.
  client_ids := array(
    select member.client_id
    from public.sessions as member
    where member.organization_id = absent.organization_id
      and (member.id = absent.id or member.group_id = absent.group_id)
      and member.status not in ('cancelled', 'no_show')
  );
  span := tstzrange(absent.start_time, absent.end_time, '[)');
  -- The buffers of a group stand on the group.
  select tstzrange(
    absent.start_time - make_interval(mins => greatest(absent.buffer_before_minutes, max(known.buffer_before_minutes))),
    absent.end_time + make_interval(mins => greatest(absent.buffer_after_minutes, max(known.buffer_after_minutes))), '[)'
  ) into busy
  from public.session_groups as known
  where known.organization_id = absent.organization_id and known.id = absent.group_id;
  select tstzrange(
    private.start_of_day(local.monday, organization.time_zone),
    private.start_of_day(local.monday + 7, organization.time_zone), '[)'
  ) into week
  from public.organizations as organization
  cross join lateral (
    select date_trunc('week', absent.start_time at time zone organization.time_zone)::date as monday
  ) as local
  where organization.id = absent.organization_id;

  return coalesce((
    select jsonb_agg(
      jsonb_build_object(
        'therapistId', candidate.id,
        'name', candidate.display_name,
        'credential', candidate.credential,
        'onCaseload', candidate.knows_all,
        'caseload', candidate.caseload,
        'bookedMinutes', candidate.booked_minutes
      )
      order by candidate.knows_all desc, candidate.booked_minutes, candidate.caseload, candidate.display_name, candidate.id
    )
    from (
      select
        therapist.id, therapist.display_name, therapist.credential,
        (
          select count(*)
          from public.caseloads as caseload
          where caseload.organization_id = therapist.organization_id
            and caseload.therapist_id = therapist.id
            and caseload.client_id = any (client_ids)
        ) = cardinality(client_ids) as knows_all,
        (
          select count(*)
          from public.caseloads as caseload
          join public.clients as client
            on client.organization_id = caseload.organization_id and client.id = caseload.client_id
          where caseload.organization_id = therapist.organization_id
            and caseload.therapist_id = therapist.id
            and client.deleted_at is null
        ) as caseload,
        (
          -- The members of a group are one hour of work.
          select coalesce(sum(extract(epoch from upper(work.during) - lower(work.during)) / 60), 0)::integer
          from (
            select unnest(range_agg(tstzrange(session.start_time, session.end_time, '[)'))) as during
            from public.sessions as session
            where session.organization_id = therapist.organization_id
              and session.therapist_id = therapist.id
              and session.start_time >= lower(week)
              and session.start_time < upper(week)
              and session.status not in ('cancelled', 'no_show')
          ) as work
        ) as booked_minutes
      from public.therapists as therapist
      join public.memberships as membership
        on membership.organization_id = therapist.organization_id
        and membership.user_id = therapist.id
        and membership.role <> 'client'
      where therapist.organization_id = absent.organization_id
        and therapist.id <> absent.therapist_id
        and therapist.deleted_at is null
        and private.may_render(therapist.organization_id, therapist.id, code, on_date)
        and not exists (
          select 1
          from private.claims as claim
          where claim.organization_id = therapist.organization_id
            and claim.resource_id = therapist.id
            and claim.during && busy
            and claim.resource_kind = 'therapist'
            and (claim.expires_at is null or claim.expires_at > as_of)
        )
        and private.is_open(therapist.organization_id, therapist.id, array[span])
    ) as candidate
    where candidate.knows_all or (request ->> 'include_off_caseload')::boolean
  ), '[]');
end
$$;
comment on function private.find_substitutes(jsonb) is 'See the public wrapper.';
grant execute on function private.find_substitutes(jsonb) to authenticated;

create function public.find_substitutes(request jsonb)
returns jsonb
language sql
stable
set search_path = ''
begin atomic
  select private.find_substitutes(find_substitutes.request);
end;
comment on function public.find_substitutes(jsonb) is
  'Who could take a session to come: {session_id, include_off_caseload?} gives [{therapistId, name, credential, onCaseload, '
  'caseload, bookedMinutes}]. Therapists who are free then, buffers included, work then, may render the service, and have '
  'the client on their caseload, all clients of a group; with include_off_caseload the others too, after them. Whoever has '
  'less booked that week comes first, then whoever has fewer clients. For admins, and for the therapist of the session.';
grant execute on function public.find_substitutes(jsonb) to authenticated;

-- === schemas/booking/reassign.sql ===

-- Purpose: sessions of many clients go to another therapist together, as on the day somebody is ill.
-- Objects: hold_reassignment; read_reassignment_request, sessions_to_hand, reassignment_slots, reassignment_issues.
-- Watch for: it is a move of these sessions through private.place_hold, confirmed by sessions-confirm with one key. Here it
--            is only worked out which sessions go, and which of them cannot: by the functions that place_hold asks, behind
--            the locks that it takes. Times, rooms and buffers stay as they are, and groups go whole.

create function private.read_reassignment_request(request jsonb)
returns private.reassignment_request
language plpgsql
stable
set search_path = ''
as $$
declare
  wanted private.reassignment_request := private.read_request(
    request, null::private.reassignment_request, private.mistyped_reassignment_request()
  );
  issues jsonb;
begin
  select jsonb_agg(jsonb_build_object('path', rule.path, 'message', rule.message)) into issues
  from (
    values
      ('to_therapist_id', 'is required', wanted.to_therapist_id is null),
      ('to_therapist_id', 'must be another therapist', wanted.to_therapist_id = wanted.therapist_id),
      ('session_ids', 'is required: give session_ids, or therapist_id with from and to',
        wanted.session_ids is null and wanted.therapist_id is null),
      ('session_ids', 'must not accompany therapist_id, from and to', wanted.session_ids is not null
        and num_nonnulls(wanted.therapist_id, wanted."from", wanted."to") > 0),
      ('from', 'is required with therapist_id', wanted.therapist_id is not null and wanted."from" is null),
      ('to', 'is required with therapist_id', wanted.therapist_id is not null and wanted."to" is null),
      ('to', 'must be after from', wanted."to"::timestamptz <= wanted."from"::timestamptz),
      ('override.reason', 'is required',
        wanted.override is distinct from null and (wanted.override).reason is null)
  ) as rule (path, message, is_broken)
  where rule.is_broken;
  if issues is not null then
    perform private.raise_invalid(issues);
  end if;
  wanted.hold_seconds := coalesce(wanted.hold_seconds, 300);
  wanted.on_conflict := coalesce(wanted.on_conflict, 'refuse');
  if wanted.session_ids is not null then
    wanted.session_ids := array(select distinct named.id from unnest(wanted.session_ids) as named (id) order by named.id);
  end if;
  return wanted;
end
$$;
comment on function private.read_reassignment_request(jsonb) is
  'Reads the request of hold_reassignment, defaulted: 300 seconds, refuse. PT400 names every field that is wrong.';

create function private.sessions_to_hand(organization_id uuid, wanted private.reassignment_request)
returns public.sessions[]
language plpgsql
volatile
set search_path = ''
as $$
begin
  -- One member stands for a group.
  return array(
    select session
    from (
      select distinct on (found.group_key) found.*
      from public.sessions as found
      where found.organization_id = sessions_to_hand.organization_id
        and case
          when wanted.session_ids is not null then found.id = any (wanted.session_ids)
          else found.therapist_id = wanted.therapist_id
            and found.start_time >= greatest(wanted."from"::timestamptz, clock_timestamp())
            and found.start_time < wanted."to"::timestamptz
            and found.status = 'scheduled'
        end
      order by found.group_key, found.status <> 'scheduled', found.id
    ) as session
    order by session.start_time, session.id
    limit 367
  );
end
$$;
comment on function private.sessions_to_hand(uuid, private.reassignment_request) is
  'The sessions a hand-over is of, by time: the named ones, or those to come of a therapist that start in a span.';

create function private.reassignment_slots(sessions public.sessions[])
returns private.slot[]
language plpgsql
volatile
set search_path = ''
as $$
begin
  return array(
    select row(
      gen_random_uuid(), session.position - 1, gen_random_uuid(), session.client_id, null, session.id, session.start_time,
      session.end_time, session.time_zone, session.civil_start, '{[0,2147483647)}', null, null
    )::private.slot
    from (
      select listed.*, row_number() over (order by listed.start_time, listed.id) as position
      from unnest(sessions) as listed
    ) as session
    order by session.position
  );
end
$$;
comment on function private.reassignment_slots(public.sessions[]) is 'One slot for each session, at the time that it has.';

create function private.reassignment_issues(
  actor private.actor,
  batch public.hold_batches,
  leads private.slot[],
  as_of timestamptz
)
returns table (occurrence_index integer, code text, detail text, retry_after timestamptz, conflicts jsonb, weight integer)
language plpgsql
volatile
set search_path = ''
as $$
#variable_conflict use_column
declare
  slots constant private.slot[] := private.with_lanes(actor.organization_id, private.with_services(
    actor.organization_id, private.with_moved(actor.organization_id, leads), null, null
  ));
  claims constant private.claims[] := private.claimed(actor.organization_id, private.kept_places(batch, slots));
  own_ids constant uuid[] := array(
    select unnest(array_remove(array[session.id, session.group_id], null))
    from unnest(slots) as slot
    join public.sessions as session on session.organization_id = batch.organization_id and session.id = slot.session_id
  );
  booker constant private.booker := row(actor.role, true, null);
begin
  return query
  select slot.occurrence_index::integer, 'FORBIDDEN', 'The therapist may not take this client, or is not bookable.',
    null::timestamptz, null::jsonb, 1
  from unnest(slots) as slot
  where not private.may_book(actor, batch.therapist_id, slot.client_id)
  union all
  select slot.occurrence_index::integer, 'SESSION_NOT_MOVABLE', 'The therapist has this session already.', null, null, 2
  from unnest(leads) as slot
  join public.sessions as session on session.organization_id = batch.organization_id and session.id = slot.session_id
  where session.therapist_id = batch.therapist_id
  union all
  select slot.occurrence_index::integer, 'SESSION_NOT_MOVABLE', 'The session has begun.', null, null, 2
  from unnest(leads) as slot
  where slot.start_time < as_of
  union all
  select slot.occurrence_index::integer, issue.code, issue.detail, issue.retry_after, issue.conflicts, 2
  from unnest(leads) as slot
  cross join lateral private.move_issue(actor, booker, null, array[slot.session_id], as_of) as issue
  where issue.code is not null
  union all
  select slot.occurrence_index::integer, 'SESSION_NOT_MOVABLE',
    format('%s is no service code on %s: recode the session first.', slot.cpt_code, slot.service_date), null, null, 2
  from unnest(slots) as slot
  where slot.cpt_code is not null
    and (private.service_code_on(actor.organization_id, slot.cpt_code, slot.service_date)).code is null
  union all
  select slot.occurrence_index::integer, 'FORBIDDEN', 'The therapist''s level may not render this service.', null, null, 3
  from unnest(slots) as slot
  where not private.may_render(actor.organization_id, batch.therapist_id, slot.cpt_code, slot.service_date)
  union all
  select (closed.value ->> 'occurrenceIndex')::integer, 'OUTSIDE_AVAILABILITY',
    'The therapist does not work then, or the clinic is closed.', null, jsonb_build_array(closed.value), 4
  from jsonb_array_elements(case when not private.overrides(batch, 'availability') then
    private.availability_conflicts(actor.organization_id, batch.therapist_id, private.spans_of(slots))
  end) as closed (value)
  union all
  select met.occurrence_index, met.told ->> 'code', met.told ->> 'detail', met.retry_after, met.conflicts,
    case when met.retry_after is null then 5 else 6 end
  from (
    select (found.value ->> 'occurrenceIndex')::integer as occurrence_index, jsonb_agg(found.value) as conflicts,
      private.conflict_code(jsonb_agg(found.value)) as told,
      case when bool_and(found.value ->> 'blockedBy' = 'hold') then max((found.value ->> 'expiresAt')::timestamptz) end
        as retry_after
    from jsonb_array_elements((private.find_conflicts(slots, claims, own_ids, as_of)).conflicts) as found (value)
    group by 1
  ) as met
  union all
  -- Sessions of two therapists at one time: the earlier one is taken.
  select placed.occurrence_index, 'THERAPIST_CONFLICT', 'Another of these sessions is at the same time.', null, null, 5
  from (
    select slot.occurrence_index::integer as occurrence_index, lower(claim.during) as busy_from,
      max(upper(claim.during)) over (
        order by lower(claim.during), slot.occurrence_index rows between unbounded preceding and 1 preceding
      ) as busy_until
    from unnest(claims) as claim
    join unnest(slots) as slot on slot.hold_id = claim.owner_id
    where claim.resource_kind = 'therapist'
  ) as placed
  where placed.busy_until > placed.busy_from;
end
$$;
comment on function private.reassignment_issues(private.actor, public.hold_batches, private.slot[], timestamptz) is
  'What forbids each of these sessions to go to the batch''s therapist; the lightest weight weighs most. Units are asked by '
  'the hold itself.';

create function private.held_reassignment(body jsonb, sessions public.sessions[], skipped jsonb)
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
begin
  return body || jsonb_build_object(
    'skipped', skipped,
    'holds', (
      select jsonb_agg(held.value || jsonb_build_object(
        'sessionId', session.id, 'clientId', session.client_id, 'previousTherapistId', session.therapist_id,
        'timeZone', session.time_zone
      ) order by held.position)
      from jsonb_array_elements(body -> 'holds') with ordinality as held (value, position)
      cross join lateral (select (sessions[held.position::integer]).*) as session
    )
  );
end
$$;
comment on function private.held_reassignment(jsonb, public.sessions[], jsonb) is
  'The answer to a hand-over: which session each hold is of, with all that confirming asks for, and which were skipped.';

create function private.blocked_sessions(
  actor private.actor,
  batch public.hold_batches,
  sessions public.sessions[],
  as_of timestamptz
)
returns jsonb
language plpgsql
volatile
set search_path = ''
as $$
begin
  return (
    select coalesce(jsonb_agg(
      jsonb_build_object(
        'sessionId', sessions[worst.occurrence_index + 1].id,
        'occurrenceIndex', worst.occurrence_index,
        'code', worst.code,
        'detail', worst.detail,
        'retryAfter', private.iso(worst.retry_after),
        'conflicts', private.told_by_session(
          jsonb_build_object('conflicts', coalesce(worst.conflicts, '[]')), sessions
        ) -> 'conflicts'
      )
      order by worst.weight, worst.occurrence_index
    ), '[]')
    from (
      select issue.occurrence_index, (array_agg(issue.code order by issue.weight))[1] as code,
        (array_agg(issue.detail order by issue.weight))[1] as detail,
        case when bool_and(issue.retry_after is not null) then max(issue.retry_after) end as retry_after,
        jsonb_path_query_array(jsonb_agg(issue.conflicts) filter (where issue.conflicts is not null), '$[*][*]') as conflicts,
        min(issue.weight) as weight
      from private.reassignment_issues(actor, batch, private.reassignment_slots(sessions), as_of) as issue
      group by issue.occurrence_index
    ) as worst
  );
end
$$;
comment on function private.blocked_sessions(private.actor, public.hold_batches, public.sessions[], timestamptz) is
  'Those of the sessions that cannot go, each with the reason that weighs most and everything in its way.';

create function private.refuse_reassignment(
  actor private.actor,
  wanted private.reassignment_request,
  sessions public.sessions[],
  blocked jsonb
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  retry_after timestamptz;
begin
  select case when bool_and(item.value ->> 'retryAfter' is not null) then max((item.value ->> 'retryAfter')::timestamptz) end
  into retry_after
  from jsonb_array_elements(blocked) as item (value);
  return private.refuse(
    actor, 'hold.refused', array(select session.id from unnest(sessions) as session), blocked #>> '{0,code}',
    format('%s of %s sessions cannot go to this therapist; nothing was held. %s', jsonb_array_length(blocked),
      cardinality(sessions), blocked #>> '{0,detail}'),
    wanted.to_therapist_id, retry_after,
    jsonb_path_query_array(blocked, '$[*].conflicts[*]'),
    jsonb_build_object('toTherapistId', wanted.to_therapist_id),
    jsonb_build_object('blocked', (
      select jsonb_agg(item.value - 'occurrenceIndex' order by item.position)
      from jsonb_array_elements(blocked) with ordinality as item (value, position)
    ))
  );
end
$$;
comment on function private.refuse_reassignment(private.actor, private.reassignment_request, public.sessions[], jsonb) is
  'The outcome of a hand-over that is refused whole: the reason that weighs most, and blocked, each session with its own.';

create function private.place_reassignment(
  actor private.actor,
  wanted private.reassignment_request,
  sessions public.sessions[]
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  hold private.hold_request;
  batch public.hold_batches;
  blocked jsonb;
  outcome jsonb;
  as_of timestamptz;
begin
  hold.therapist_id := wanted.to_therapist_id;
  hold.hold_seconds := wanted.hold_seconds;
  hold.override := wanted.override;
  hold.time_zone := sessions[1].time_zone;
  -- Those locks that the hold itself will take, and in its order: what is decided here still holds there.
  perform private.lock_resources(actor.organization_id, wanted.to_therapist_id || private.lock_moved(
    actor.organization_id, array(select session.id from unnest(sessions) as session)
  ));
  as_of := clock_timestamp();
  sessions := array(
    select known
    from unnest(sessions) as session
    join public.sessions as known on known.organization_id = actor.organization_id and known.id = session.id
    -- What another call has handed over, moved away or cancelled meanwhile is not of this day any more.
    where wanted.session_ids is not null or (
      known.therapist_id = wanted.therapist_id and known.status = 'scheduled'
      and known.start_time >= wanted."from"::timestamptz and known.start_time < wanted."to"::timestamptz
    )
    order by known.start_time, known.id
  );
  batch := private.new_batch(actor, hold, true, as_of);
  blocked := private.blocked_sessions(actor, batch, sessions, as_of);
  loop
    if blocked <> '[]' and wanted.on_conflict = 'refuse' or jsonb_array_length(blocked) >= cardinality(sessions) then
      if sessions = '{}' then
        blocked := '[{"code": "SESSION_NOT_MOVABLE", "detail": "There is nothing to hand over.", "conflicts": []}]';
      end if;
      return private.refuse_reassignment(actor, wanted, sessions, blocked);
    end if;
    outcome := private.place_hold(
      actor, hold, private.reassignment_slots(private.sessions_but(sessions, blocked)), true,
      jsonb_build_object('fromTherapistId', wanted.therapist_id)
    );
    exit when (outcome ->> 'ok')::boolean or outcome -> 'shortages' is null;
    -- Units are what only the hold itself asks for, all together. What is short does not go.
    outcome := private.told_by_session(outcome, private.sessions_but(sessions, blocked));
    exit when wanted.on_conflict = 'refuse';
    blocked := blocked || (
      select jsonb_agg(distinct jsonb_build_object(
        'sessionId', item.value -> 'sessionId', 'code', 'AUTHORIZATION_EXCEEDED',
        'detail', 'Too few units are left for this service.', 'retryAfter', null, 'conflicts', jsonb_build_array()
      ))
      from jsonb_array_elements(outcome -> 'shortages') as item (value)
    );
  end loop;
  if not (outcome ->> 'ok')::boolean then
    return outcome;
  end if;
  return jsonb_set(outcome, '{body}', private.held_reassignment(
    outcome -> 'body', private.sessions_but(sessions, blocked), (
      select coalesce(jsonb_agg(item.value - 'occurrenceIndex' order by item.position), '[]')
      from jsonb_array_elements(blocked) with ordinality as item (value, position)
    )
  ));
end
$$;
comment on function private.place_reassignment(private.actor, private.reassignment_request, public.sessions[]) is
  'Holds the sessions for the other therapist: all of them, or with skip those that can go.';

create function private.sessions_but(sessions public.sessions[], blocked jsonb)
returns public.sessions[]
language plpgsql
immutable
set search_path = ''
as $$
begin
  return array(
    select session
    from unnest(sessions) as session
    where not exists (
      select from jsonb_array_elements(blocked) as item (value) where item.value ->> 'sessionId' = session.id::text
    )
    order by session.start_time, session.id
  );
end
$$;
comment on function private.sessions_but(public.sessions[], jsonb) is 'The sessions but those that cannot go, by time.';

create function private.hold_reassignment(request jsonb, idempotency_key text, request_id text)
returns jsonb
language plpgsql
security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '5s'
set plan_cache_mode = 'force_generic_plan'
as $$
declare
  actor private.actor := private.begin_booking(request_id);
  wanted private.reassignment_request := private.read_reassignment_request(request);
  sessions public.sessions[];
  fingerprint bytea;
  outcome jsonb;
begin
  if actor.role not in ('admin', 'super_admin') then
    return private.refuse(actor, 'hold.refused', '{}', 'FORBIDDEN', 'Only an admin hands sessions over.');
  end if;
  perform private.share_organization(actor.organization_id);
  if idempotency_key is not null then
    fingerprint := private.fingerprint(to_jsonb(wanted));
    outcome := private.find_replay(actor.organization_id, actor.user_id, 'sessions-hold', idempotency_key, fingerprint);
    if outcome is not null then
      return outcome;
    end if;
  end if;
  sessions := private.sessions_to_hand(actor.organization_id, wanted);
  if cardinality(wanted.session_ids) > (
    select count(*) from public.sessions as known
    where known.organization_id = actor.organization_id and known.id = any (wanted.session_ids)
  ) then
    return private.refuse(
      actor, 'hold.refused', '{}', 'FORBIDDEN', 'A session to be handed over does not exist or is not yours.'
    );
  elsif cardinality(sessions) > 366 then
    perform private.raise_invalid(private.issue('to', 'must leave at most 366 sessions: hand over a shorter time'));
  end if;
  outcome := private.place_reassignment(actor, wanted, sessions);
  if idempotency_key is not null and (outcome ->> 'ok')::boolean then
    perform private.keep_answer(
      actor.organization_id, actor.user_id, 'sessions-hold', idempotency_key, fingerprint, outcome -> 'body',
      (outcome #>> '{body,holdId}')::uuid
    );
  end if;
  return outcome;
exception
  when lock_not_available or deadlock_detected or serialization_failure or query_canceled then
    perform private.raise_busy(sqlstate, sqlerrm);
end
$$;
comment on function private.hold_reassignment(jsonb, text, text) is 'See the public wrapper.';
grant execute on function private.hold_reassignment(jsonb, text, text) to authenticated;

create function public.hold_reassignment(request jsonb, idempotency_key text default null, request_id text default null)
returns jsonb
language sql
volatile
set search_path = ''
begin atomic
  select private.leave_booking(private.hold_reassignment(
    hold_reassignment.request, hold_reassignment.idempotency_key, hold_reassignment.request_id
  ));
end;
comment on function public.hold_reassignment(jsonb, text, text) is
  'Holds sessions of one or many clients for another therapist, for admins: {session_ids} or {therapist_id, from, to} (the '
  'sessions to come that start in this span), and {to_therapist_id, on_conflict?, hold_seconds?, override?}. Times, rooms '
  'and buffers stay, groups go whole. Answers as sessions-hold, with sessionId, clientId, clientIds and timeZone of each '
  'hold; sessions-confirm with the one holdKey carries it out. A session that cannot go refuses all (409, blocked says which '
  'and why), or with on_conflict "skip" is left out and listed in skipped.';
grant execute on function public.hold_reassignment(jsonb, text, text) to authenticated;

-- === schemas/tenancy/access_token_hook.sql ===

-- Purpose: which organization a user works in, written into her access token.
-- Objects: private.custom_access_token_hook, public.set_active_organization.
-- Watch for: the role claim stays what Auth made it (authenticated). org_id and user_role stand beside it and choose;
--            the membership row decides.

create function private.custom_access_token_hook(event jsonb)
returns jsonb
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  chosen record;
begin
  select membership.organization_id, membership.role into chosen
  from public.memberships as membership
  left join private.active_organizations as active
    on active.user_id = membership.user_id and active.organization_id = membership.organization_id
  where membership.user_id = (event ->> 'user_id')::uuid
  order by active.user_id is null, membership.created_at, membership.organization_id
  limit 1;

  return jsonb_set(event, '{claims}', (coalesce(event -> 'claims', '{}') - 'org_id' - 'user_role') || case
    when chosen.organization_id is null then '{}'::jsonb
    else jsonb_build_object('org_id', chosen.organization_id, 'user_role', chosen.role)
  end);
end
$$;
comment on function private.custom_access_token_hook(jsonb) is
  'Auth calls this when it issues a token. Adds org_id (the active organization, else the earliest joined) and '
  'user_role; a user without membership gets neither.';

do $$
begin
  if exists (select 1 from pg_catalog.pg_roles where rolname = 'supabase_auth_admin') then
    grant usage on schema private to supabase_auth_admin;
    grant execute on function private.custom_access_token_hook(jsonb) to supabase_auth_admin;
  end if;
end
$$;

create function private.set_active_organization(organization_id uuid)
returns void
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
begin
  if auth.uid() is null then
    perform private.raise_refusal(401, 'UNAUTHENTICATED', 'Sign in first.');
  end if;
  if not exists (
    select 1
    from public.memberships as membership
    where membership.organization_id = set_active_organization.organization_id and membership.user_id = auth.uid()
  ) then
    perform private.raise_refusal(403, 'FORBIDDEN', 'You are not a member of this organization.');
  end if;
  insert into private.active_organizations (user_id, organization_id)
  values (auth.uid(), set_active_organization.organization_id)
  on conflict (user_id) do update set organization_id = excluded.organization_id;
end
$$;
comment on function private.set_active_organization(uuid) is 'Chooses the caller''s active organization; see the public wrapper.';
grant execute on function private.set_active_organization(uuid) to authenticated;

create function public.set_active_organization(organization_id uuid)
returns void
language sql
volatile
set search_path = ''
begin atomic
  select private.set_active_organization(set_active_organization.organization_id);
end;
comment on function public.set_active_organization(uuid) is
  'Chooses which of her organizations the caller works in. Refresh the session afterwards: the next token carries it.';
grant execute on function public.set_active_organization(uuid) to authenticated;

-- === schemas/clinical/attestation.sql ===

-- Purpose: proof that the edge functions made a row, which the database can check itself.
-- Objects: private.attestation_keys, private.proof_holds, private.knows_proof_key.
-- Watch for: the database cannot open what the functions seal, so it could not tell a sealed note from random bytes. A
--            proof is a MAC that only the functions, the operator and this table can make: its key is derived from a
--            master key, one way, and installed with `npm run keys:rotate -- --install`. No API role reads the table, and
--            nothing returns its keys. An owner of the database can read them: against her, see docs/audit-trail.md.

create table private.attestation_keys (
  id text primary key check (id ~ '^[A-Za-z0-9_-]{1,64}$'),
  key bytea not null check (length(key) = 32),
  installed_at timestamptz not null default clock_timestamp(),
  installed_by text not null default session_user,
  retired_at timestamptz
);
comment on table private.attestation_keys is
  'The keys of proofs, each derived from the master key of the same id by HKDF-SHA256. Never shown through the API.';
comment on column private.attestation_keys.retired_at is
  'Since when it proves nothing new. What it proved before stays. Null: in use.';
alter table private.attestation_keys enable row level security;
create policy deny_all on private.attestation_keys using (false);

create function private.guard_attestation_key()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  if (new.id, new.key, new.installed_at, new.installed_by)
    is distinct from (old.id, old.key, old.installed_at, old.installed_by)
  then
    raise exception using errcode = 'check_violation', message = 'an attestation key is only retired, or used again';
  end if;
  return new;
end
$$;
comment on function private.guard_attestation_key() is 'Trigger: of an attestation key only its retirement changes.';
create trigger guard_attestation_key before update on private.attestation_keys
  for each row execute function private.guard_attestation_key();
create trigger refuse_delete before delete on private.attestation_keys
  for each row execute function private.refuse_delete();
create trigger refuse_truncate before truncate on private.attestation_keys
  for each statement execute function private.refuse_delete();

create function private.knows_proof_key(proof text)
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  return exists (
    select 1
    from private.attestation_keys as candidate
    where candidate.id = split_part(proof, '.', 2) and candidate.retired_at is null
  );
end
$$;
comment on function private.knows_proof_key(text) is
  'Whether the key that a proof names is installed and in use. If not, the operator has to install it.';

create function private.proof_holds(proof text, statement text[])
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  if proof is null or proof !~ '^tsp1\.[A-Za-z0-9_-]{1,64}\.[A-Za-z0-9_-]{43}$' or array_position(statement, null) > 0 then
    return false;
  end if;
  -- Digests are compared, so that the time of a comparison says nothing of the right MAC.
  return exists (
    select 1
    from private.attestation_keys as candidate
    where candidate.id = split_part(proof, '.', 2)
      and candidate.retired_at is null
      and sha256(extensions.hmac(convert_to(lower('tsp1|' || array_to_string(statement, '|')), 'UTF8'), candidate.key, 'sha256'))
        = sha256(decode(translate(split_part(proof, '.', 3), '-_', '+/') || '=', 'base64'))
  );
end
$$;
comment on function private.proof_holds(text, text[]) is
  'Whether a proof, tsp1.<key id>.<HMAC-SHA-256 in base64url>, is of this statement: the table, then what identifies and '
  'makes up the row, none of which may contain a |.';

create function private.text_digest(content text)
returns text
language plpgsql
immutable
set search_path = ''
as $$
begin
  return encode(sha256(convert_to(content, 'UTF8')), 'hex');
end
$$;
comment on function private.text_digest(text) is 'SHA-256 of a text, in hex.';

-- === schemas/clinical/data_keys.sql ===

-- Purpose: the keys that seal PHI, as the database may know them: wrapped.
-- Objects: private.data_keys, private.is_sealed, private.active_data_key, private.unproven, start_data_key.
-- Watch for: edge functions seal and open; the database sees neither plaintext nor a usable key. A wrapped key opens only
--            with a master key from the functions' secrets. Keys are never deleted: old content, and the audit events
--            that hold its ciphertext, need them as long as they are kept (docs/key-rotation.md).

create table private.data_keys (
  organization_id uuid not null references public.organizations (id),
  id uuid not null,
  wrapped_key text not null,
  proof text not null,
  master_key_id text not null generated always as (split_part(wrapped_key, '.', 2)) stored,
  created_at timestamptz not null default clock_timestamp(),
  created_by uuid default auth.uid(),
  rewrapped_at timestamptz,
  retired_at timestamptz,
  primary key (organization_id, id),
  -- twk1.<master key id>.<96-bit nonce>.<64-byte key and 16-byte tag>, the last two in base64url without padding.
  constraint data_keys_wrapped check (wrapped_key ~ '^twk1\.[A-Za-z0-9_-]{1,64}\.[A-Za-z0-9_-]{16}\.[A-Za-z0-9_-]{107}$')
);
comment on table private.data_keys is
  'Each organization''s data keys, wrapped by a master key that this database never sees. One is active; retired ones '
  'still open what they sealed.';
comment on column private.data_keys.proof is
  'Made by whoever holds a master key, over organization, id and wrapped_key: nobody else starts or wraps a data key.';
comment on column private.data_keys.master_key_id is 'Which master key wraps it now.';
comment on column private.data_keys.retired_at is 'Since when it seals nothing new. Null: the active key.';
create unique index data_keys_active_idx on private.data_keys (organization_id) where retired_at is null;
comment on index private.data_keys_active_idx is
  'One active key for each organization: of two functions that make the first key at once, one wins.';
alter table private.data_keys enable row level security;
create policy deny_all on private.data_keys using (false);

create function private.data_key_statement(data_key private.data_keys)
returns text[]
language plpgsql
immutable
set search_path = ''
as $$
begin
  return array['data_keys', data_key.organization_id::text, data_key.id::text, private.text_digest(data_key.wrapped_key)];
end
$$;
comment on function private.data_key_statement(private.data_keys) is 'What the proof of a data key is made over.';

create function private.guard_data_key()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  if (tg_op = 'INSERT' or (new.wrapped_key, new.proof) is distinct from (old.wrapped_key, old.proof))
    and not private.proof_holds(new.proof, private.data_key_statement(new))
  then
    raise exception using
      errcode = 'check_violation',
      constraint = 'data_keys_proof',
      schema = 'private',
      table = 'data_keys',
      message = 'a data key is started and wrapped by who holds a master key';
  elsif tg_op = 'INSERT' then
    return new;
  elsif (new.organization_id, new.id, new.created_at, new.created_by)
    is distinct from (old.organization_id, old.id, old.created_at, old.created_by)
  then
    raise exception using errcode = 'check_violation', message = 'a data key may only be wrapped anew or retired';
  elsif old.retired_at is not null and new.retired_at is distinct from old.retired_at then
    raise exception using errcode = 'check_violation', message = 'a retired data key stays retired';
  end if;
  return new;
end
$$;
comment on function private.guard_data_key() is 'Trigger: a data key comes with its proof, and is wrapped anew or retired; nothing else of it changes.';
create trigger guard_data_key before insert or update on private.data_keys
  for each row execute function private.guard_data_key();
create trigger refuse_delete before delete on private.data_keys
  for each row execute function private.refuse_delete();
create trigger refuse_truncate before truncate on private.data_keys
  for each statement execute function private.refuse_delete();

create function private.record_data_key_change()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  perform private.record_event(
    new.organization_id,
    case
      when tg_op = 'INSERT' then 'data_key.created'
      when new.retired_at is distinct from old.retired_at then 'data_key.retired'
      else 'data_key.rewrapped'
    end,
    'data_key', array[new.id], clock_timestamp(),
    before => case
      when tg_op = 'UPDATE' then jsonb_build_object('masterKeyId', old.master_key_id, 'retiredAt', old.retired_at)
    end,
    after => jsonb_build_object('masterKeyId', new.master_key_id, 'retiredAt', new.retired_at)
  );
  return null;
end
$$;
comment on function private.record_data_key_change() is
  'Trigger: one event for each key made, wrapped anew or retired. Not the key, wrapped or otherwise.';
create trigger record_data_key_change after insert or update on private.data_keys
  for each row execute function private.record_data_key_change();

create function private.is_sealed(ciphertext text, data_key_id uuid)
returns boolean
language plpgsql
immutable
set search_path = ''
as $$
begin
  return length(ciphertext) <= 400000
    and ciphertext ~ ('^tsb1\.' || data_key_id::text || '\.[A-Za-z0-9_-]{16}\.[A-Za-z0-9_-]{22,}$');
end
$$;
comment on function private.is_sealed(text, uuid) is
  'Whether a text is an envelope sealed with this data key: tsb1.<data key id>.<96-bit nonce>.<ciphertext and tag>, the '
  'last two in base64url without padding. What a column of sealed content admits; never plaintext.';

create function private.active_data_key(organization_id uuid)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    select jsonb_build_object('keyId', data_key.id, 'wrappedKey', data_key.wrapped_key)
    from private.data_keys as data_key
    where data_key.organization_id = active_data_key.organization_id and data_key.retired_at is null
  );
end
$$;
comment on function private.active_data_key(uuid) is
  'The wrapped key that seals an organization''s new content, {keyId, wrappedKey}; null before the first is made.';

create function private.sealed_issue(path text, value jsonb, organization_id uuid)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return case
    when value is null or value = 'null' then private.issue(path, 'is required')
    when jsonb_typeof(value) <> 'string'
      or not exists (
        select 1
        from private.data_keys as data_key
        where data_key.organization_id = sealed_issue.organization_id
          -- A request that fetched the key just before it was retired may still finish.
          and (data_key.retired_at is null or data_key.retired_at > clock_timestamp() - interval '1 minute')
          and data_key.id::text = split_part(value #>> '{}', '.', 2)
          and private.is_sealed(value #>> '{}', data_key.id)
      )
      then private.issue(path, 'must be sealed with the organization''s active data key')
  end;
end
$$;
comment on function private.sealed_issue(text, jsonb, uuid) is
  'Issues of a field that must be an envelope of this organization; null when it has none.';

create function private.proof_issue(value jsonb)
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
begin
  return private.text_issue('proof', value, true, 128, '^tsp1\.[A-Za-z0-9_-]{1,64}\.[A-Za-z0-9_-]{43}$');
end
$$;
comment on function private.proof_issue(jsonb) is 'Issues of a proof''s form; null when it has none.';

create function private.unproven(proof text)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return case
    when private.knows_proof_key(proof) then private.refusal(
      403, 'FORBIDDEN', 'Sealed content is saved through the edge functions, which prove that they sealed it.'
    )
    else private.refusal(
      500, 'CONTENT_UNREADABLE', 'The attestation key of these functions is not installed in the database: run keys:rotate.'
    )
  end;
end
$$;
comment on function private.unproven(text) is
  'The outcome of a request whose proof does not hold: 403, or 500 when the operator has not installed its key.';

create function private.start_data_key(request jsonb, request_id text)
returns jsonb
language plpgsql
security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '5s'
as $$
declare
  actor private.actor;
  found jsonb;
  made private.data_keys;
begin
  perform set_config('therapist_sessions.request_id', coalesce(left(request_id, 128), ''), true);
  actor := private.require_actor();
  if request is null or jsonb_typeof(request) <> 'object' then
    perform private.raise_invalid(private.issue('', 'must be a JSON object'));
  end if;
  found := coalesce(private.uuid_issue('key_id', request -> 'key_id', true), '[]')
    || coalesce(private.text_issue(
      'wrapped_key', request -> 'wrapped_key', true, 256,
      '^twk1\.[A-Za-z0-9_-]{1,64}\.[A-Za-z0-9_-]{16}\.[A-Za-z0-9_-]{107}$'
    ), '[]')
    || coalesce(private.proof_issue(request -> 'proof'), '[]');
  if found <> '[]' then
    perform private.raise_invalid(found);
  end if;
  if actor.role = 'client' then
    return coalesce(
      private.note_refusal(
        actor.organization_id, 'data_key.refused', 'data_key', '{}', 'FORBIDDEN', actor_role => actor.role::text
      ),
      private.refusal(403, 'FORBIDDEN', 'Only staff seal content.')
    );
  end if;
  made.organization_id := actor.organization_id;
  made.id := (request ->> 'key_id')::uuid;
  made.wrapped_key := request ->> 'wrapped_key';
  made.proof := request ->> 'proof';
  if not private.proof_holds(made.proof, private.data_key_statement(made)) then
    return coalesce(
      private.note_refusal(
        actor.organization_id, 'data_key.refused', 'data_key', '{}', private.unproven(made.proof) ->> 'code',
        actor_role => actor.role::text
      ),
      private.unproven(made.proof)
    );
  end if;

  -- Two functions that need an organization's first key would each seal with their own: the second waits here for the
  -- first, inserts nothing, and is given the first one's key.
  insert into private.data_keys (organization_id, id, wrapped_key, proof)
  values (made.organization_id, made.id, made.wrapped_key, made.proof)
  on conflict do nothing;
  return private.success(jsonb_build_object('key', private.active_data_key(actor.organization_id)));
exception
  when lock_not_available or deadlock_detected or serialization_failure or query_canceled then
    perform private.raise_busy();
end
$$;
comment on function private.start_data_key(jsonb, text) is
  'Keeps an organization''s first data key, and answers the one that seals from now on: this one, or another function''s '
  'that was sooner. Staff only, and only with the proof of the functions. An organization that has an active key keeps it: keys:rotate starts the next.';
grant execute on function private.start_data_key(jsonb, text) to authenticated;

create function public.start_data_key(request jsonb, request_id text default null)
returns jsonb
language sql
volatile
set search_path = ''
begin atomic
  select private.start_data_key(start_data_key.request, start_data_key.request_id);
end;
comment on function public.start_data_key(jsonb, text) is
  'For the edge functions: keeps an organization''s first data key, wrapped. request is {key_id, wrapped_key, proof}.';
grant execute on function public.start_data_key(jsonb, text) to authenticated;

-- === schemas/clinical/session_notes.sql ===

-- Purpose: session notes, sealed by the session-notes edge function, signed by the rendering provider, never changed.
-- Objects: private.session_note_versions, public.session_note_states; prepare_note, save_note_draft, sign_note,
--          amend_note, read_note, note_history.
-- Watch for: a note is its versions, and a version is inserted once: draft, draft, signed, amended, amended. There is no
--            table grant on them: every read goes through a function that records it. Only the rendering provider
--            writes; admins read. The triggers hold the rules against direct SQL as well.

create table private.session_note_versions (
  organization_id uuid not null,
  session_id uuid not null,
  id uuid not null,
  version bigint not null check (version > 0),
  status text not null check (status in ('draft', 'signed', 'amended')),
  data_key_id uuid not null,
  ciphertext text not null,
  proof text not null,
  saved_by uuid not null,
  saved_at timestamptz not null default clock_timestamp(),
  signed_at timestamptz,
  credential text,
  attested jsonb,
  primary key (organization_id, id),
  unique (organization_id, session_id, version),
  foreign key (organization_id, session_id) references public.sessions (organization_id, id),
  foreign key (organization_id, data_key_id) references private.data_keys (organization_id, id),
  foreign key (organization_id, saved_by) references public.therapists (organization_id, id),
  constraint session_note_versions_sealed check (private.is_sealed(ciphertext, data_key_id)),
  constraint session_note_versions_signature check (
    (status = 'draft') = (signed_at is null)
    and (status = 'draft') = (credential is null)
    and (status = 'draft') = (attested is null)
  )
);
comment on table private.session_note_versions is
  'Every version of every session note, sealed. Rows are inserted and never changed; drafts go 30 days after the signature. Contents, participants and reasons '
  'for amendments are inside the envelope.';
comment on column private.session_note_versions.id is
  'Made before sealing: the envelope is bound to it, to the session, the organization and this column.';
comment on column private.session_note_versions.proof is
  'Made by the edge function that sealed and, for a signature, checked the content: over this row, its session, status, '
  'version, author, attested facts and ciphertext. Checked before a row is kept, so random bytes are no signature.';
comment on column private.session_note_versions.signed_at is
  'When saved_by, the rendering provider, signed this version, with the credential she had then.';
comment on column private.session_note_versions.attested is
  'The facts of the visit that they signed for: private.facts_of_visit.';
create index session_note_versions_data_key_idx on private.session_note_versions (organization_id, data_key_id);
create index session_note_versions_saved_by_idx on private.session_note_versions (organization_id, saved_by);
alter table private.session_note_versions enable row level security;
create policy deny_all on private.session_note_versions using (false);

create table public.session_note_states (
  organization_id uuid not null,
  session_id uuid not null,
  version bigint not null,
  status text not null check (status in ('draft', 'signed', 'amended', 'needs_amendment')),
  signed_by uuid,
  credential text,
  signed_at timestamptz,
  updated_at timestamptz not null,
  primary key (organization_id, session_id),
  foreign key (organization_id, session_id) references public.sessions (organization_id, id),
  constraint session_note_states_signature check (
    (status = 'draft') = (signed_at is null) and (signed_at is null) = (signed_by is null)
  )
);
comment on table public.session_note_states is
  'Whether a session has a note, and whether it is signed; nothing of what it says. Kept by a trigger, for reports and '
  'for completing sessions. Apart from sessions, since clients may not read it.';
comment on column public.session_note_states.status is
  'That of its latest version; needs_amendment when the visit was corrected after that was signed.';
alter table public.session_note_states enable row level security;
create policy sessions_scoped_access on public.session_note_states for select to authenticated
  using (
    organization_id = (select private.active_organization_id())
    and (
      (select private.is_admin())
      or exists (
        select 1
        from public.sessions as session
        where session.organization_id = session_note_states.organization_id
          and session.id = session_note_states.session_id
          and session.therapist_id = (select auth.uid())
          and (select private.active_role()) = 'therapist'
      )
    )
  );
comment on policy sessions_scoped_access on public.session_note_states is
  'Admins see their organization''s; therapists those of their own sessions.';
grant select on public.session_note_states to authenticated, service_role;

create function private.refuse_update()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  raise exception using
    errcode = 'restrict_violation',
    message = format('rows of %I.%I are versions and never change', tg_table_schema, tg_table_name),
    hint = 'Insert a further version instead.';
end
$$;
comment on function private.refuse_update() is 'Trigger: refuses UPDATE of rows that are versions of a record.';

create function private.note_statement(note private.session_note_versions)
returns text[]
language plpgsql
immutable
set search_path = ''
as $$
begin
  return array[
    'session_note_versions', note.organization_id::text, note.session_id::text, note.id::text, note.status,
    note.version::text, note.saved_by::text, coalesce(private.text_digest(note.attested::text), 'draft'),
    private.text_digest(note.ciphertext)
  ];
end
$$;
comment on function private.note_statement(private.session_note_versions) is
  'What the proof of a version of a note is made over.';

create function private.facts_of_visit(session public.sessions, begun timestamptz, ended timestamptz)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return jsonb_build_object(
    'therapistId', session.therapist_id, 'clientId', session.client_id,
    'cptCode', private.service_code(
      session.organization_id, session.cpt_code, session.session_type,
      private.service_date(session.organization_id, session.client_id, session.start_time)
    ),
    'cptModifiers', session.cpt_modifiers, 'locationType', session.location_type, 'timeZone', session.time_zone,
    'actualStartTime', private.iso(begun), 'actualEndTime', private.iso(ended)
  );
end
$$;
comment on function private.facts_of_visit(public.sessions, timestamptz, timestamptz) is
  'What the signature of a note stands for: who rendered what to whom, where, from when until when.';

create function private.session_facts(session public.sessions)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
  visit record;
begin
  select known.actual_start_time, known.actual_end_time into visit
  from public.session_visits as known
  where known.organization_id = session.organization_id and known.session_id = session.id;
  if session.status = 'completed' and visit.actual_end_time is null then
    -- Completed by an operator who recorded no times: it went as it was booked.
    return private.facts_of_visit(session, session.start_time, session.end_time);
  end if;
  return private.facts_of_visit(session, visit.actual_start_time, visit.actual_end_time);
end
$$;
comment on function private.session_facts(public.sessions) is
  'private.facts_of_visit of a session''s visit as it is recorded now; times that are not known yet are null.';

create function private.attested_facts(organization_id uuid, session_id uuid)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    select note.attested
    from private.session_note_versions as note
    where note.organization_id = attested_facts.organization_id and note.session_id = attested_facts.session_id
      and note.status <> 'draft'
    order by note.version desc
    limit 1
  );
end
$$;
comment on function private.attested_facts(uuid, uuid) is 'What the latest signature of a session''s note stands for; null without one.';

create function private.differing_facts(attested jsonb, facts jsonb)
returns text[]
language plpgsql
immutable
set search_path = ''
as $$
begin
  return array(
    -- The names of columns, by which requests call them.
    select lower(regexp_replace(fact.key, '([A-Z])', '_\1', 'g'))
    from jsonb_each(facts) as fact
    where fact.value is distinct from attested -> fact.key
    order by fact.key
  );
end
$$;
comment on function private.differing_facts(jsonb, jsonb) is
  'Which facts of a visit are not as they were signed, by their columns'' names. Empty: all are.';

create function private.undocumentable(session public.sessions, status text)
returns text
language plpgsql
stable
set search_path = ''
as $$
begin
  return case
    when status = 'draft' and session.status in ('cancelled', 'no_show')
      then format('The session is %s: it takes no notes.', session.status)
    when status = 'signed' and session.status not in ('in_progress', 'completed')
      then format('The session is %s: its note can be signed once the visit has ended.', session.status)
    when status <> 'draft' and session.status = 'in_progress'
      and private.session_facts(session) ->> 'actualEndTime' is null
      then 'When the visit ended is not recorded: end the session, then sign its note.'
  end;
end
$$;
comment on function private.undocumentable(public.sessions, text) is
  'Why the note of a session takes no version of this status now; null when it does.';

create function private.guard_note_version()
returns trigger
language plpgsql
set search_path = ''
as $$
declare
  session public.sessions;
  latest record;
begin
  -- Two savers of one note would both take the next version, and a session could end while its note is being signed.
  select * into session
  from public.sessions as candidate
  where candidate.organization_id = new.organization_id and candidate.id = new.session_id
  for no key update;

  select max(note.version) as version, coalesce(bool_or(note.status <> 'draft'), false) as is_signed into latest
  from private.session_note_versions as note
  where note.organization_id = new.organization_id and note.session_id = new.session_id;

  if new.version <> coalesce(latest.version, 0) + 1 then
    raise exception using errcode = 'check_violation', message = 'versions of a note follow one another without a gap';
  elsif latest.is_signed and new.status <> 'amended' then
    raise exception using errcode = 'check_violation', message = 'a signed note is only amended';
  elsif not latest.is_signed and new.status = 'amended' then
    raise exception using errcode = 'check_violation', message = 'only a signed note is amended';
  elsif new.saved_by is distinct from session.therapist_id then
    raise exception using errcode = 'check_violation', message = 'only the rendering provider writes and signs a note';
  elsif private.undocumentable(session, new.status) is not null then
    raise exception using errcode = 'check_violation', message = private.undocumentable(session, new.status);
  elsif new.status <> 'draft' and new.attested is distinct from private.session_facts(session) then
    raise exception using errcode = 'check_violation', message = 'a signature attests the visit as it is recorded';
  elsif not private.proof_holds(new.proof, private.note_statement(new)) then
    raise exception using
      errcode = 'check_violation',
      constraint = 'session_note_versions_proof',
      schema = 'private',
      table = 'session_note_versions',
      message = 'a version of a note needs the proof of the function that sealed it';
  end if;
  return new;
end
$$;
comment on function private.guard_note_version() is
  'Trigger: drafts until signed, amendments after that, each by the session''s therapist and with its proof; '
  'signed once the end of the visit is known, and for the visit as it is recorded then.';

create function private.record_note_version()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  earlier private.session_note_versions;
begin
  insert into public.session_note_states as state (
    organization_id, session_id, version, status, signed_by, credential, signed_at, updated_at
  )
  values (
    new.organization_id, new.session_id, new.version, new.status,
    case when new.status <> 'draft' then new.saved_by end, new.credential, new.signed_at, new.saved_at
  )
  on conflict (organization_id, session_id) do update
  set version = excluded.version, status = excluded.status, signed_by = excluded.signed_by,
    credential = excluded.credential, signed_at = excluded.signed_at, updated_at = excluded.updated_at;

  select * into earlier
  from private.session_note_versions as note
  where note.organization_id = new.organization_id
    and note.session_id = new.session_id
    and note.version = new.version - 1;
  perform private.record_event(
    new.organization_id,
    case new.status when 'draft' then 'note.saved' when 'signed' then 'note.signed' else 'note.amended' end,
    'note', array[new.session_id, new.id], new.saved_at,
    before => case when earlier.id is not null then private.note_facts(earlier) end,
    after => private.note_facts(new) || jsonb_build_object('ciphertext', new.ciphertext)
  );
  return null;
end
$$;
comment on function private.record_note_version() is
  'Trigger: brings session_note_states up to date and records one event. The event keeps the new version''s ciphertext, '
  'and of the old one its id and digest, which its own event keeps in full.';

create function private.guard_note_removal()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  if old.status <> 'draft' or not exists (
    select 1
    from private.session_note_versions as note
    where note.organization_id = old.organization_id
      and note.session_id = old.session_id
      and note.status = 'signed'
      and note.signed_at < clock_timestamp() - interval '30 days'
  ) then
    raise exception using
      errcode = 'restrict_violation',
      message = 'versions of notes are records and cannot be deleted',
      hint = 'Only drafts go, when the note has been signed for 30 days: see private.sweep_drafts.';
  end if;
  return old;
end
$$;
comment on function private.guard_note_removal() is
  'Trigger: of a note''s versions only drafts are removed, 30 days after it was signed.';

create function private.record_note_removal()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.record_event(
    removed.organization_id, 'note.drafts_removed', 'note', array[removed.session_id] || removed.ids, clock_timestamp(),
    before => removed.facts
  )
  from (
    select draft.organization_id, draft.session_id, array_agg(draft.id order by draft.version) as ids,
      jsonb_agg(jsonb_build_object('versionId', draft.id, 'version', draft.version, 'sha256', private.text_digest(draft.ciphertext))
        order by draft.version) as facts
    from old_rows as draft
    group by draft.organization_id, draft.session_id
  ) as removed;
  return null;
end
$$;
comment on function private.record_note_removal() is
  'Trigger: one event for each note whose drafts were removed. Their ciphertext is in the events of their saving.';

create function private.guard_note_state()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  -- Depth 1 is this trigger alone: nobody but the trigger on the versions is writing.
  if pg_trigger_depth() < 2 then
    raise exception using
      errcode = 'restrict_violation',
      message = 'the state of a note follows its versions',
      hint = 'Save, sign or amend the note.';
  end if;
  return new;
end
$$;
comment on function private.guard_note_state() is
  'Trigger: nobody writes the state of a note by hand, so that "signed" always means that there is a signed version.';

create function private.note_facts(note private.session_note_versions)
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
begin
  return jsonb_build_object(
    'versionId', note.id, 'version', note.version, 'status', note.status, 'dataKeyId', note.data_key_id,
    'sha256', encode(sha256(convert_to(note.ciphertext, 'UTF8')), 'hex')
  ) || case
    when note.status = 'draft' then '{}'::jsonb
    else jsonb_build_object(
      'signedBy', note.saved_by, 'credential', note.credential, 'signedAt', private.iso(note.signed_at),
      'attested', note.attested
    )
  end;
end
$$;
comment on function private.note_facts(private.session_note_versions) is
  'What the audit says of a version: which it is, the SHA-256 of its ciphertext, and its signature.';

create trigger a_guard_note_version before insert on private.session_note_versions
  for each row execute function private.guard_note_version();
create trigger record_note_version after insert on private.session_note_versions
  for each row execute function private.record_note_version();
create trigger refuse_update before update on private.session_note_versions
  for each row execute function private.refuse_update();
create trigger refuse_delete before delete on private.session_note_versions
  for each row execute function private.guard_note_removal();
create trigger record_note_removal after delete on private.session_note_versions
  referencing old table as old_rows
  for each statement execute function private.record_note_removal();
create trigger refuse_truncate before truncate on private.session_note_versions
  for each statement execute function private.refuse_delete();
create trigger guard_note_state before insert or update on public.session_note_states
  for each row execute function private.guard_note_state();
create trigger refuse_delete before delete on public.session_note_states
  for each row execute function private.refuse_delete();
create trigger refuse_truncate before truncate on public.session_note_states
  for each statement execute function private.refuse_delete();

-- Requests -----------------------------------------------------------------------------------------------------------

create function private.refuse_note(
  actor private.actor, session_id uuid, attempted text, status integer, code text, detail text
)
returns jsonb
language plpgsql
set search_path = ''
as $$
begin
  return coalesce(
    private.note_refusal(
      actor.organization_id, 'note.refused', 'note', array[session_id], refuse_note.code,
      actor_role => actor.role::text,
      details => jsonb_build_object('attempted', attempted),
      may_never => actor.role = 'client'
    ),
    private.refusal(refuse_note.status, refuse_note.code, refuse_note.detail)
  );
end
$$;
comment on function private.refuse_note(private.actor, uuid, text, integer, text, text) is
  'The outcome of a refused request about a note, and its audit event; 429 instead of both when there were too many.';

create function private.note_session(actor private.actor, session_id uuid, writing boolean)
returns public.sessions
language plpgsql
stable
set search_path = ''
as $$
declare
  session public.sessions;
begin
  select candidate.* into session
  from public.sessions as candidate
  where candidate.organization_id = actor.organization_id
    and candidate.id = note_session.session_id
    and actor.role <> 'client'
    and (candidate.therapist_id = actor.user_id or (actor.role in ('admin', 'super_admin') and not writing))
    and (not writing or exists (
      select 1
      from public.therapists as therapist
      where therapist.organization_id = actor.organization_id
        and therapist.id = actor.user_id
        and therapist.deleted_at is null
    ));
  return session;
end
$$;
comment on function private.note_session(private.actor, uuid, boolean) is
  'The session, if the caller may read its note (her own session, or any as admin) or write it (her own only, whatever '
  'her role). A row of nulls otherwise: whether the session exists is not told.';

create function private.parse_note_request(request jsonb, organization_id uuid, is_write boolean)
returns uuid
language plpgsql
stable
set search_path = ''
as $$
declare
  found jsonb;
begin
  if request is null or jsonb_typeof(request) <> 'object' then
    perform private.raise_invalid(private.issue('', 'must be a JSON object'));
  end if;
  found := coalesce(private.uuid_issue('session_id', request -> 'session_id', true), '[]')
    || coalesce(private.integer_issue('version', request -> 'version', false, 1, 1000000), '[]')
    || coalesce(private.text_issue('purpose', request -> 'purpose', false, 16, '^(reading|signing)$'), '[]')
    || coalesce(private.text_issue(
      'attempted', request -> 'attempted', false, 16, '^(save_draft|sign|amend)$'), '[]')
    || case
      when is_write then coalesce(private.uuid_issue('id', request -> 'id', true), '[]')
        || coalesce(private.integer_issue('base_version', request -> 'base_version', true, 0, 1000000), '[]')
        || coalesce(private.sealed_issue('ciphertext', request -> 'ciphertext', organization_id), '[]')
        || coalesce(private.text_issue('content_mac', request -> 'content_mac', true, 64, '^[0-9a-f]{64}$'), '[]')
        || coalesce(private.text_issue('facts_digest', request -> 'facts_digest', false, 64, '^[0-9a-f]{64}$'), '[]')
        || coalesce(private.proof_issue(request -> 'proof'), '[]')
      else '[]'
    end;
  if found <> '[]' then
    perform private.raise_invalid(found);
  end if;
  return (request ->> 'session_id')::uuid;
end
$$;
comment on function private.parse_note_request(jsonb, uuid, boolean) is
  'Checks the fields of a request about a note and returns its session_id. Raises PT400.';

create function private.note_answer(note private.session_note_versions)
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
begin
  return jsonb_build_object(
    'sessionId', note.session_id, 'versionId', note.id, 'version', note.version, 'status', note.status,
    'savedBy', note.saved_by, 'savedAt', private.iso(note.saved_at),
    'signature', case
      when note.status <> 'draft' then jsonb_build_object(
        'signedBy', note.saved_by, 'credential', note.credential, 'signedAt', private.iso(note.signed_at),
        'attested', note.attested
      )
    end
  );
end
$$;
comment on function private.note_answer(private.session_note_versions) is 'A version as it is answered, without its content.';

create function private.prepare_note(request jsonb, request_id text)
returns jsonb
language plpgsql
security definer
set search_path = ''
set timezone = 'UTC'
as $$
declare
  actor private.actor;
  wanted_id uuid;
  session public.sessions;
begin
  perform set_config('therapist_sessions.request_id', coalesce(left(request_id, 128), ''), true);
  actor := private.require_actor();
  wanted_id := private.parse_note_request(request, actor.organization_id, false);
  session := private.note_session(actor, wanted_id, true);
  if session.id is null then
    return private.refuse_note(
      actor, wanted_id, coalesce(request ->> 'attempted', 'write'), 403, 'FORBIDDEN',
      'Only the session''s therapist writes and signs its note.'
    );
  end if;
  return private.success(jsonb_build_object(
    'organizationId', actor.organization_id,
    'authorId', actor.user_id,
    'session', private.session_facts(session),
    'factsDigest', private.text_digest(private.session_facts(session)::text),
    'key', private.active_data_key(actor.organization_id)
  ));
end
$$;
comment on function private.prepare_note(jsonb, text) is
  'What sealing a note takes: the wrapped active key (null before an organization''s first), the facts of the session and '
  'their digest, which a signature stands for, and who signs. '
  'Only for the session''s therapist; others are refused, and that is recorded.';
grant execute on function private.prepare_note(jsonb, text) to authenticated;

create function private.save_note(status text, request jsonb, idempotency_key text, request_id text)
returns jsonb
language plpgsql
security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '5s'
as $$
declare
  actor private.actor;
  wanted_id uuid;
  base_version integer;
  attempted text := case save_note.status when 'draft' then 'save_draft' when 'signed' then 'sign' else 'amend' end;
  fingerprint bytea;
  outcome jsonb;
  session public.sessions;
  latest private.session_note_versions;
  saved private.session_note_versions;
  as_of timestamptz;
begin
  perform set_config('therapist_sessions.request_id', coalesce(left(request_id, 128), ''), true);
  actor := private.require_actor();
  wanted_id := private.parse_note_request(request, actor.organization_id, true);
  base_version := (request ->> 'base_version')::integer;
  session := private.note_session(actor, wanted_id, true);
  if session.id is null then
    return private.refuse_note(
      actor, wanted_id, attempted, 403, 'FORBIDDEN', 'Only the session''s therapist writes and signs its note.'
    );
  end if;
  -- Each sealing gives another ciphertext: what makes two requests the same is the keyed digest of their content.
  fingerprint := private.fingerprint(jsonb_build_object(
    'attempted', attempted, 'sessionId', wanted_id, 'baseVersion', base_version, 'contentMac', request ->> 'content_mac'
  ));
  outcome := private.find_replay(actor.organization_id, actor.user_id, 'session-notes', idempotency_key, fingerprint);
  if outcome is not null then
    return outcome;
  end if;

  -- Two savers of one note would both build on the same version, and a session could be cancelled while it is signed for.
  perform 1
  from public.sessions as candidate
  where candidate.organization_id = actor.organization_id and candidate.id = wanted_id
  for no key update;
  as_of := clock_timestamp();
  -- Asked again: she may have been removed, or the session given to somebody else, while this waited.
  actor := private.require_actor();
  session := private.note_session(actor, wanted_id, true);
  if session.id is null then
    return private.refuse_note(
      actor, wanted_id, attempted, 403, 'FORBIDDEN', 'Only the session''s therapist writes and signs its note.'
    );
  end if;
  select * into latest
  from private.session_note_versions as note
  where note.organization_id = actor.organization_id and note.session_id = wanted_id
  order by note.version desc
  limit 1;

  if latest.status in ('signed', 'amended') and save_note.status <> 'amended' then
    return private.refuse_note(
      actor, wanted_id, attempted, 409, 'NOTE_SIGNED', 'The note is signed and no longer changes. Amend it instead.'
    );
  elsif latest.status is distinct from 'signed' and latest.status is distinct from 'amended'
    and save_note.status = 'amended'
  then
    return private.refuse_note(
      actor, wanted_id, attempted, 409, 'NOTE_NOT_SIGNED', 'Only a signed note is amended. Save a draft, or sign it.'
    );
  elsif base_version <> coalesce(latest.version, 0) then
    return private.refuse_note(
      actor, wanted_id, attempted, 409, 'NOTE_VERSION_CONFLICT',
      format('The note is at version %s, not %s. Read it again and save on top of it.', coalesce(latest.version, 0), base_version)
    );
  elsif private.undocumentable(session, save_note.status) is not null then
    return private.refuse_note(
      actor, wanted_id, attempted, 409, 'SESSION_NOT_DOCUMENTABLE', private.undocumentable(session, save_note.status)
    );
  end if;

  saved.organization_id := actor.organization_id;
  saved.session_id := wanted_id;
  saved.id := (request ->> 'id')::uuid;
  saved.version := coalesce(latest.version, 0) + 1;
  saved.status := save_note.status;
  saved.data_key_id := split_part(request ->> 'ciphertext', '.', 2)::uuid;
  saved.ciphertext := request ->> 'ciphertext';
  saved.proof := request ->> 'proof';
  saved.saved_by := actor.user_id;
  saved.saved_at := as_of;
  if save_note.status <> 'draft' then
    saved.signed_at := as_of;
    saved.credential := (
      select therapist.credential
      from public.therapists as therapist
      where therapist.organization_id = actor.organization_id and therapist.id = actor.user_id
    );
    saved.attested := private.session_facts(session);
    if request ->> 'facts_digest' is distinct from private.text_digest(saved.attested::text) then
      return private.refuse_note(
        actor, wanted_id, attempted, 409, 'NOTE_VERSION_CONFLICT',
        'The session has changed since the note was checked against it. Read both again, then sign.'
      );
    end if;
  end if;
  if not private.proof_holds(saved.proof, private.note_statement(saved)) then
    outcome := private.unproven(saved.proof);
    return private.refuse_note(
      actor, wanted_id, attempted, (outcome ->> 'status')::integer, outcome ->> 'code', outcome ->> 'detail'
    );
  end if;
  insert into private.session_note_versions select saved.*;

  outcome := jsonb_build_object('note', private.note_answer(saved));
  perform private.keep_answer(
    actor.organization_id, actor.user_id, 'session-notes', idempotency_key, fingerprint, outcome
  );
  return private.success(outcome);
exception
  when unique_violation then
    perform private.raise_invalid(private.issue('id', 'is the id of an earlier version'));
  when lock_not_available or deadlock_detected or serialization_failure or query_canceled then
    perform private.raise_busy();
end
$$;
comment on function private.save_note(text, jsonb, text, text) is
  'Adds a version to a note: a draft, the signed one, or an amendment, which is signed as it is made. base_version is the '
  'version it builds on, 0 for none. Returns an outcome; raises PT400, PT401, PT403, PT503.';

create function private.save_note_draft(request jsonb, idempotency_key text, request_id text)
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
begin
  return private.save_note('draft', request, idempotency_key, request_id);
end
$$;
create function private.sign_note(request jsonb, idempotency_key text, request_id text)
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
begin
  return private.save_note('signed', request, idempotency_key, request_id);
end
$$;
create function private.amend_note(request jsonb, idempotency_key text, request_id text)
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
begin
  return private.save_note('amended', request, idempotency_key, request_id);
end
$$;
comment on function private.save_note_draft(jsonb, text, text) is 'See private.save_note.';
comment on function private.sign_note(jsonb, text, text) is 'See private.save_note.';
comment on function private.amend_note(jsonb, text, text) is 'See private.save_note.';
grant execute on function
  private.save_note_draft(jsonb, text, text), private.sign_note(jsonb, text, text), private.amend_note(jsonb, text, text)
to authenticated;

create function private.read_note(request jsonb, request_id text)
returns jsonb
language plpgsql
security definer
set search_path = ''
set timezone = 'UTC'
as $$
declare
  actor private.actor;
  wanted_id uuid;
  session public.sessions;
  exceeded jsonb;
  note private.session_note_versions;
begin
  perform set_config('therapist_sessions.request_id', coalesce(left(request_id, 128), ''), true);
  actor := private.require_actor();
  wanted_id := private.parse_note_request(request, actor.organization_id, false);
  exceeded := private.check_rate('reads');
  if exceeded is not null then
    return exceeded;
  end if;
  session := private.note_session(actor, wanted_id, false);
  if session.id is null then
    return private.refuse_note(
      actor, wanted_id, 'read', 403, 'FORBIDDEN', 'Notes are read by the session''s therapist and by admins.'
    );
  end if;
  select * into note
  from private.session_note_versions as candidate
  where candidate.organization_id = actor.organization_id
    and candidate.session_id = wanted_id
    and (request ->> 'version' is null or candidate.version = (request ->> 'version')::integer)
  order by candidate.version desc
  limit 1;
  if note.id is null then
    return private.refuse_note(
      actor, wanted_id, 'read', 404, 'NOTE_NOT_FOUND', 'The session has no note, or not in that version.'
    );
  end if;
  perform private.record_event(
    actor.organization_id, 'note.read', 'note', array[wanted_id, note.id], clock_timestamp(),
    actor_role => actor.role::text,
    details => jsonb_build_object('version', note.version, 'purpose', coalesce(request ->> 'purpose', 'reading'))
  );
  return private.success(jsonb_build_object(
    'organizationId', actor.organization_id,
    'note', private.note_answer(note),
    'ciphertext', note.ciphertext,
    'keys', (
      select jsonb_agg(jsonb_build_object('keyId', data_key.id, 'wrappedKey', data_key.wrapped_key))
      from private.data_keys as data_key
      where data_key.organization_id = actor.organization_id and data_key.id = note.data_key_id
    )
  ));
end
$$;
comment on function private.read_note(jsonb, text) is
  'A version of a note, the newest unless told, sealed, with the wrapped key that opens it. Recorded, refusals included.';
grant execute on function private.read_note(jsonb, text) to authenticated;

create function private.note_history(request jsonb, request_id text)
returns jsonb
language plpgsql
security definer
set search_path = ''
set timezone = 'UTC'
as $$
declare
  actor private.actor;
  wanted_id uuid;
  session public.sessions;
  exceeded jsonb;
begin
  perform set_config('therapist_sessions.request_id', coalesce(left(request_id, 128), ''), true);
  actor := private.require_actor();
  wanted_id := private.parse_note_request(request, actor.organization_id, false);
  exceeded := private.check_rate('reads');
  if exceeded is not null then
    return exceeded;
  end if;
  session := private.note_session(actor, wanted_id, false);
  if session.id is null then
    return private.refuse_note(
      actor, wanted_id, 'history', 403, 'FORBIDDEN', 'Notes are read by the session''s therapist and by admins.'
    );
  end if;
  perform private.record_event(
    actor.organization_id, 'note.history_read', 'note', array[wanted_id], clock_timestamp(),
    actor_role => actor.role::text
  );
  return private.success(jsonb_build_object(
    'sessionId', wanted_id,
    'versions', coalesce((
      select jsonb_agg(private.note_answer(note) order by note.version)
      from private.session_note_versions as note
      where note.organization_id = actor.organization_id and note.session_id = wanted_id
    ), '[]')
  ));
end
$$;
comment on function private.note_history(jsonb, text) is
  'The versions of a note, oldest first: who saved and signed each, and when; not what they say. Recorded.';
grant execute on function private.note_history(jsonb, text) to authenticated;

-- What the edge function calls ---------------------------------------------------------------------------------------

create function public.prepare_note(request jsonb, request_id text default null)
returns jsonb
language sql
volatile
set search_path = ''
begin atomic
  select private.prepare_note(prepare_note.request, prepare_note.request_id);
end;
create function public.save_note_draft(request jsonb, idempotency_key text default null, request_id text default null)
returns jsonb
language sql
volatile
set search_path = ''
begin atomic
  select private.save_note_draft(save_note_draft.request, save_note_draft.idempotency_key, save_note_draft.request_id);
end;
create function public.sign_note(request jsonb, idempotency_key text default null, request_id text default null)
returns jsonb
language sql
volatile
set search_path = ''
begin atomic
  select private.sign_note(sign_note.request, sign_note.idempotency_key, sign_note.request_id);
end;
create function public.amend_note(request jsonb, idempotency_key text default null, request_id text default null)
returns jsonb
language sql
volatile
set search_path = ''
begin atomic
  select private.amend_note(amend_note.request, amend_note.idempotency_key, amend_note.request_id);
end;
create function public.read_note(request jsonb, request_id text default null)
returns jsonb
language sql
volatile
set search_path = ''
begin atomic
  select private.read_note(read_note.request, read_note.request_id);
end;
create function public.note_history(request jsonb, request_id text default null)
returns jsonb
language sql
volatile
set search_path = ''
begin atomic
  select private.note_history(note_history.request, note_history.request_id);
end;
comment on function public.prepare_note(jsonb, text) is
  'For the edge function: what sealing a note takes. request is {session_id, attempted?}.';
comment on function public.save_note_draft(jsonb, text, text) is
  'For the edge function: keeps a sealed draft. request is {session_id, base_version, id, ciphertext, '
  'content_mac, facts_digest, proof}.';
comment on function public.sign_note(jsonb, text, text) is
  'For the edge function: keeps the signed version. request is {session_id, base_version, id, ciphertext, '
  'content_mac, facts_digest, proof}.';
comment on function public.amend_note(jsonb, text, text) is
  'For the edge function: keeps an amendment. request is {session_id, base_version, id, ciphertext, '
  'content_mac, facts_digest, proof}.';
comment on function public.read_note(jsonb, text) is
  'For the edge function: a version of a note, sealed. request is {session_id, version?, purpose?}. Recorded.';
comment on function public.note_history(jsonb, text) is
  'The versions of a session''s note, without their content. request is {session_id}. Recorded.';
grant execute on function
  public.prepare_note(jsonb, text), public.save_note_draft(jsonb, text, text), public.sign_note(jsonb, text, text),
  public.amend_note(jsonb, text, text), public.read_note(jsonb, text), public.note_history(jsonb, text)
to authenticated;

-- === schemas/clinical/client_details.sql ===

-- Purpose: what identifies a client (name, birth date, contacts, guardians, address), sealed by the client-details edge
--          function, every version kept.
-- Objects: private.client_detail_versions; prepare_client_details, save_client_details, read_client_details.
-- Watch for: no table grant; every read goes through a function that records it. Admins write; therapists read their
--            caseload's, users of role client their own.

create table private.client_detail_versions (
  organization_id uuid not null,
  client_id uuid not null,
  id uuid not null,
  version bigint not null check (version > 0),
  data_key_id uuid not null,
  ciphertext text not null,
  proof text not null,
  saved_by uuid not null,
  saved_at timestamptz not null default clock_timestamp(),
  primary key (organization_id, id),
  unique (organization_id, client_id, version),
  foreign key (organization_id, client_id) references public.clients (organization_id, id),
  foreign key (organization_id, data_key_id) references private.data_keys (organization_id, id),
  constraint client_detail_versions_sealed check (private.is_sealed(ciphertext, data_key_id))
);
comment on table private.client_detail_versions is
  'Every version of every client''s identifying details, sealed as one JSON. Rows are inserted and never changed.';
comment on column private.client_detail_versions.id is
  'Made before sealing: the envelope is bound to it, to the client, the organization and this column.';
comment on column private.client_detail_versions.proof is
  'Made by the edge function that sealed the content, over this row, its client, version, author and ciphertext.';
create index client_detail_versions_data_key_idx on private.client_detail_versions (organization_id, data_key_id);
alter table private.client_detail_versions enable row level security;
create policy deny_all on private.client_detail_versions using (false);

create function private.client_detail_statement(detail private.client_detail_versions)
returns text[]
language plpgsql
immutable
set search_path = ''
as $$
begin
  return array[
    'client_detail_versions', detail.organization_id::text, detail.client_id::text, detail.id::text, detail.version::text,
    detail.saved_by::text, private.text_digest(detail.ciphertext)
  ];
end
$$;
comment on function private.client_detail_statement(private.client_detail_versions) is
  'What the proof of a version of a client''s details is made over.';

create function private.guard_client_detail_version()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  -- Two savers of one client's details would both take the next version.
  perform 1
  from public.clients as client
  where client.organization_id = new.organization_id and client.id = new.client_id
  for no key update;
  if new.version <> 1 + (
    select count(*)
    from private.client_detail_versions as earlier
    where earlier.organization_id = new.organization_id and earlier.client_id = new.client_id
  ) then
    raise exception using
      errcode = 'check_violation', message = 'versions of a client''s details follow one another without a gap';
  elsif not private.proof_holds(new.proof, private.client_detail_statement(new)) then
    raise exception using
      errcode = 'check_violation',
      constraint = 'client_detail_versions_proof',
      schema = 'private',
      table = 'client_detail_versions',
      message = 'a version of a client''s details needs the proof of the function that sealed it';
  end if;
  return new;
end
$$;
comment on function private.guard_client_detail_version() is 'Trigger: versions are 1, 2, 3 and so on for each client, each with its proof.';

create function private.client_detail_facts(detail private.client_detail_versions)
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
begin
  return jsonb_build_object(
    'versionId', detail.id, 'version', detail.version, 'dataKeyId', detail.data_key_id,
    'sha256', encode(sha256(convert_to(detail.ciphertext, 'UTF8')), 'hex')
  );
end
$$;
comment on function private.client_detail_facts(private.client_detail_versions) is
  'What the audit says of a version: which it is, and the SHA-256 of its ciphertext.';

create function private.record_client_detail_version()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  earlier private.client_detail_versions;
begin
  select * into earlier
  from private.client_detail_versions as detail
  where detail.organization_id = new.organization_id
    and detail.client_id = new.client_id
    and detail.version = new.version - 1;
  perform private.record_event(
    new.organization_id, 'client_details.saved', 'client', array[new.client_id, new.id], new.saved_at,
    before => case when earlier.id is not null then private.client_detail_facts(earlier) end,
    after => private.client_detail_facts(new) || jsonb_build_object('ciphertext', new.ciphertext)
  );
  return null;
end
$$;
comment on function private.record_client_detail_version() is
  'Trigger: one event for each version, with its ciphertext; of the version before, its id and digest.';

create trigger a_guard_client_detail_version before insert on private.client_detail_versions
  for each row execute function private.guard_client_detail_version();
create trigger record_client_detail_version after insert on private.client_detail_versions
  for each row execute function private.record_client_detail_version();
create trigger refuse_update before update on private.client_detail_versions
  for each row execute function private.refuse_update();
create trigger refuse_delete before delete on private.client_detail_versions
  for each row execute function private.refuse_delete();
create trigger refuse_truncate before truncate on private.client_detail_versions
  for each statement execute function private.refuse_delete();

-- Requests -----------------------------------------------------------------------------------------------------------

create function private.refuse_client_details(
  actor private.actor, client_ids uuid[], attempted text, status integer, code text, detail text
)
returns jsonb
language plpgsql
set search_path = ''
as $$
begin
  return coalesce(
    private.note_refusal(
      actor.organization_id, 'client_details.refused', 'client', client_ids, refuse_client_details.code,
      actor_role => actor.role::text,
      details => jsonb_build_object('attempted', attempted),
      may_never => attempted = 'save' and actor.role not in ('admin', 'super_admin')
    ),
    private.refusal(refuse_client_details.status, refuse_client_details.code, refuse_client_details.detail)
  );
end
$$;
comment on function private.refuse_client_details(private.actor, uuid[], text, integer, text, text) is
  'The outcome of a refused request about clients'' details, and its audit event.';

create function private.readable_client_ids(actor private.actor, client_ids uuid[])
returns uuid[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return array(
    select client.id
    from public.clients as client
    where client.organization_id = actor.organization_id
      and client.id = any (client_ids)
      and (
        actor.role in ('admin', 'super_admin')
        or (actor.role = 'therapist' and exists (
          select 1
          from public.caseloads as caseload
          where caseload.organization_id = client.organization_id
            and caseload.therapist_id = actor.user_id
            and caseload.client_id = client.id
        ))
        or (actor.role = 'client' and exists (
          select 1
          from public.client_users as client_user
          where client_user.organization_id = client.organization_id
            and client_user.client_id = client.id
            and client_user.user_id = actor.user_id
        ))
      )
  );
end
$$;
comment on function private.readable_client_ids(private.actor, uuid[]) is
  'Which of these clients'' details the caller may read: admins all, therapists their caseload''s, clients their own.';

create function private.detail_answer(detail private.client_detail_versions)
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
begin
  return jsonb_build_object(
    'clientId', detail.client_id, 'versionId', detail.id, 'version', detail.version,
    'savedAt', private.iso(detail.saved_at)
  );
end
$$;
comment on function private.detail_answer(private.client_detail_versions) is
  'A version as it is answered, without its content. Not who saved it: parents read this too.';

create function private.prepare_client_details(request jsonb, request_id text)
returns jsonb
language plpgsql
security definer
set search_path = ''
set timezone = 'UTC'
as $$
declare
  actor private.actor;
  found jsonb;
  wanted_id uuid;
begin
  perform set_config('therapist_sessions.request_id', coalesce(left(request_id, 128), ''), true);
  actor := private.require_actor();
  if request is null or jsonb_typeof(request) <> 'object' then
    perform private.raise_invalid(private.issue('', 'must be a JSON object'));
  end if;
  found := private.uuid_issue('client_id', request -> 'client_id', true);
  if found is not null then
    perform private.raise_invalid(found);
  end if;
  wanted_id := (request ->> 'client_id')::uuid;
  if actor.role not in ('admin', 'super_admin')
    or cardinality(private.readable_client_ids(actor, array[wanted_id])) = 0
  then
    return private.refuse_client_details(
      actor, array[wanted_id], 'save', 403, 'FORBIDDEN', 'Only admins save the details of their organization''s clients.'
    );
  end if;
  return private.success(jsonb_build_object(
    'organizationId', actor.organization_id,
    'authorId', actor.user_id,
    'key', private.active_data_key(actor.organization_id)
  ));
end
$$;
comment on function private.prepare_client_details(jsonb, text) is
  'What sealing a client''s details takes: the wrapped active key (null before an organization''s first). Admins only; '
  'others are refused, and that is recorded.';
grant execute on function private.prepare_client_details(jsonb, text) to authenticated;

create function private.save_client_details(request jsonb, idempotency_key text, request_id text)
returns jsonb
language plpgsql
security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '5s'
as $$
declare
  actor private.actor;
  found jsonb;
  wanted_id uuid;
  base_version integer;
  fingerprint bytea;
  outcome jsonb;
  latest_version integer;
  saved private.client_detail_versions;
begin
  perform set_config('therapist_sessions.request_id', coalesce(left(request_id, 128), ''), true);
  actor := private.require_actor();
  if request is null or jsonb_typeof(request) <> 'object' then
    perform private.raise_invalid(private.issue('', 'must be a JSON object'));
  end if;
  found := coalesce(private.uuid_issue('client_id', request -> 'client_id', true), '[]')
    || coalesce(private.uuid_issue('id', request -> 'id', true), '[]')
    || coalesce(private.integer_issue('base_version', request -> 'base_version', true, 0, 1000000), '[]')
    || coalesce(private.sealed_issue('ciphertext', request -> 'ciphertext', actor.organization_id), '[]')
    || coalesce(private.text_issue('content_mac', request -> 'content_mac', true, 64, '^[0-9a-f]{64}$'), '[]')
    || coalesce(private.proof_issue(request -> 'proof'), '[]');
  if found <> '[]' then
    perform private.raise_invalid(found);
  end if;
  wanted_id := (request ->> 'client_id')::uuid;
  base_version := (request ->> 'base_version')::integer;
  if actor.role not in ('admin', 'super_admin')
    or cardinality(private.readable_client_ids(actor, array[wanted_id])) = 0
  then
    return private.refuse_client_details(
      actor, array[wanted_id], 'save', 403, 'FORBIDDEN', 'Only admins save the details of their organization''s clients.'
    );
  end if;
  -- Each sealing gives another ciphertext: what makes two requests the same is the keyed digest of their content.
  fingerprint := private.fingerprint(jsonb_build_object(
    'clientId', wanted_id, 'baseVersion', base_version, 'contentMac', request ->> 'content_mac'
  ));
  outcome := private.find_replay(actor.organization_id, actor.user_id, 'client-details', idempotency_key, fingerprint);
  if outcome is not null then
    return outcome;
  end if;

  -- Two savers of one client's details would both build on the same version.
  perform 1
  from public.clients as client
  where client.organization_id = actor.organization_id and client.id = wanted_id
  for no key update;
  -- Asked again: she may have been removed or demoted while this waited.
  actor := private.require_actor();
  if actor.role not in ('admin', 'super_admin')
    or cardinality(private.readable_client_ids(actor, array[wanted_id])) = 0
  then
    return private.refuse_client_details(
      actor, array[wanted_id], 'save', 403, 'FORBIDDEN', 'Only admins save the details of their organization''s clients.'
    );
  end if;
  select coalesce(max(detail.version), 0) into latest_version
  from private.client_detail_versions as detail
  where detail.organization_id = actor.organization_id and detail.client_id = wanted_id;
  if base_version <> latest_version then
    return private.refuse_client_details(
      actor, array[wanted_id], 'save', 409, 'DETAILS_VERSION_CONFLICT',
      format('The details are at version %s, not %s. Read them again and save on top.', latest_version, base_version)
    );
  end if;

  saved.organization_id := actor.organization_id;
  saved.client_id := wanted_id;
  saved.id := (request ->> 'id')::uuid;
  saved.version := latest_version + 1;
  saved.data_key_id := split_part(request ->> 'ciphertext', '.', 2)::uuid;
  saved.ciphertext := request ->> 'ciphertext';
  saved.proof := request ->> 'proof';
  saved.saved_by := actor.user_id;
  saved.saved_at := clock_timestamp();
  if not private.proof_holds(saved.proof, private.client_detail_statement(saved)) then
    outcome := private.unproven(saved.proof);
    return private.refuse_client_details(
      actor, array[wanted_id], 'save', (outcome ->> 'status')::integer, outcome ->> 'code', outcome ->> 'detail'
    );
  end if;
  insert into private.client_detail_versions select saved.*;

  outcome := jsonb_build_object('client', private.detail_answer(saved));
  perform private.keep_answer(
    actor.organization_id, actor.user_id, 'client-details', idempotency_key, fingerprint, outcome
  );
  return private.success(outcome);
exception
  when unique_violation then
    perform private.raise_invalid(private.issue('id', 'is the id of an earlier version'));
  when lock_not_available or deadlock_detected or serialization_failure or query_canceled then
    perform private.raise_busy();
end
$$;
comment on function private.save_client_details(jsonb, text, text) is
  'Adds a version to a client''s details. base_version is the version it builds on, 0 for none. Admins only. Returns an '
  'outcome; raises PT400, PT401, PT403, PT503.';
grant execute on function private.save_client_details(jsonb, text, text) to authenticated;

create function private.read_client_details(request jsonb, request_id text)
returns jsonb
language plpgsql
security definer
set search_path = ''
set timezone = 'UTC'
as $$
declare
  actor private.actor;
  found jsonb;
  wanted_ids uuid[];
  exceeded jsonb;
  body jsonb;
begin
  perform set_config('therapist_sessions.request_id', coalesce(left(request_id, 128), ''), true);
  actor := private.require_actor();
  if request is null or jsonb_typeof(request) <> 'object' then
    perform private.raise_invalid(private.issue('', 'must be a JSON object'));
  end if;
  if coalesce(jsonb_typeof(request -> 'client_ids'), 'null') <> 'array' then
    perform private.raise_invalid(private.issue('client_ids', 'must be a list'));
  elsif jsonb_array_length(request -> 'client_ids') not between 1 and 100 then
    perform private.raise_invalid(private.issue('client_ids', 'must have 1 to 100 ids'));
  end if;
  select coalesce(jsonb_agg(issue.value order by item.position), '[]')
    || coalesce(private.integer_issue('version', request -> 'version', false, 1, 1000000), '[]')
  into found
  from jsonb_array_elements(request -> 'client_ids') with ordinality as item (value, position)
  cross join lateral jsonb_array_elements(
    private.uuid_issue('client_ids.' || (item.position - 1), item.value, true)
  ) as issue (value);
  if request ->> 'version' is not null and jsonb_array_length(request -> 'client_ids') > 1 then
    found := found || private.issue('version', 'goes with one client');
  end if;
  if found <> '[]' then
    perform private.raise_invalid(found);
  end if;
  wanted_ids := array(
    select item.value::uuid
    from jsonb_array_elements_text(request -> 'client_ids') with ordinality as item (value, position)
    group by item.value::uuid
    order by min(item.position)
  );

  exceeded := private.check_rate('reads');
  if exceeded is not null then
    return exceeded;
  end if;
  if not private.readable_client_ids(actor, wanted_ids) @> wanted_ids then
    return private.refuse_client_details(
      actor, wanted_ids, 'read', 403, 'FORBIDDEN', 'You may not read the details of every client this names.'
    );
  end if;

  with chosen as (
    select item.position, item.client_id, detail
    from unnest(wanted_ids) with ordinality as item (client_id, position)
    left join lateral (
      select version.*
      from private.client_detail_versions as version
      where version.organization_id = actor.organization_id
        and version.client_id = item.client_id
        and (request ->> 'version' is null or version.version = (request ->> 'version')::integer)
      order by version.version desc
      limit 1
    ) as detail on true
  )
  select jsonb_build_object(
    'organizationId', actor.organization_id,
    'clients', jsonb_agg(
      jsonb_build_object(
        'clientId', chosen.client_id, 'versionId', (chosen.detail).id, 'version', (chosen.detail).version,
        'savedAt', private.iso((chosen.detail).saved_at), 'ciphertext', (chosen.detail).ciphertext
      )
      order by chosen.position
    ),
    'keys', coalesce((
      select jsonb_agg(jsonb_build_object('keyId', data_key.id, 'wrappedKey', data_key.wrapped_key))
      from private.data_keys as data_key
      where data_key.organization_id = actor.organization_id
        and data_key.id in (select (used.detail).data_key_id from chosen as used)
    ), '[]')
  ) into body
  from chosen;

  perform private.record_event(
    actor.organization_id, 'client_details.read', 'client', wanted_ids, clock_timestamp(),
    actor_role => actor.role::text,
    details => jsonb_build_object('versionIds', jsonb_path_query_array(body, '$.clients[*].versionId'))
  );
  return private.success(body);
end
$$;
comment on function private.read_client_details(jsonb, text) is
  'The details of 1 to 100 clients, sealed, with the wrapped keys that open them; nulls where none were saved. One id out '
  'of scope refuses the whole request. Recorded, refusals included.';
grant execute on function private.read_client_details(jsonb, text) to authenticated;

-- What the edge function calls ---------------------------------------------------------------------------------------

create function public.prepare_client_details(request jsonb, request_id text default null)
returns jsonb
language sql
volatile
set search_path = ''
begin atomic
  select private.prepare_client_details(prepare_client_details.request, prepare_client_details.request_id);
end;
create function public.save_client_details(request jsonb, idempotency_key text default null, request_id text default null)
returns jsonb
language sql
volatile
set search_path = ''
begin atomic
  select private.save_client_details(
    save_client_details.request, save_client_details.idempotency_key, save_client_details.request_id
  );
end;
create function public.read_client_details(request jsonb, request_id text default null)
returns jsonb
language sql
volatile
set search_path = ''
begin atomic
  select private.read_client_details(read_client_details.request, read_client_details.request_id);
end;
comment on function public.prepare_client_details(jsonb, text) is
  'For the edge function: what sealing a client''s details takes. request is {client_id}.';
comment on function public.save_client_details(jsonb, text, text) is
  'For the edge function: keeps a version of a client''s details, sealed. request is {client_id, base_version, id, '
  'ciphertext, content_mac, proof}.';
comment on function public.read_client_details(jsonb, text) is
  'For the edge function: clients'' details, sealed. request is {client_ids, version?}. Recorded.';
grant execute on function
  public.prepare_client_details(jsonb, text), public.save_client_details(jsonb, text, text),
  public.read_client_details(jsonb, text)
to authenticated;

-- === schemas/members/members.sql ===

-- Purpose: who joins, changes role and leaves; what people may do with their own rows; an event for each such change.
-- Objects: add_member, change_member, remove_member, my_organizations, own_therapists, set_availability_hours; the
--          guards of memberships; audit triggers on organizations, memberships, therapists, clients, caseloads,
--          client_users, rooms, availability_exceptions, organization_closures, session_groups.
-- Watch for: the triggers, not the functions, keep the rules and write the events, so direct SQL and REST leave exactly
--            the same trail.

-- Membership rules -------------------------------------------------------------------------------------------------

create function private.guard_membership()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  raise exception using
    errcode = 'restrict_violation',
    message = 'organization_id and user_id of a membership never change',
    hint = 'Remove this member and add the other.';
end
$$;
comment on function private.guard_membership() is
  'Trigger: a membership stays one person''s in one organization, so that its history is hers.';
create trigger guard_membership before update on public.memberships
  for each row
  when ((new.organization_id, new.user_id) is distinct from (old.organization_id, old.user_id))
  execute function private.guard_membership();

create function private.keep_a_super_admin()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  affected uuid[];
begin
  affected := array(
    select distinct old_row.organization_id from old_rows as old_row where old_row.role = 'super_admin'
  );
  if affected = '{}' then
    return null;
  end if;

  -- Two super_admins who demote each other at the same moment would each still see the other one. Writing the
  -- organization's row lets the second wait, then look again (or fail with 40001 in stricter isolation).
  update public.organizations as organization
  set name = organization.name
  from (
    select locked.id from public.organizations as locked where locked.id = any (affected) order by locked.id for no key update
  ) as ordered
  where organization.id = ordered.id;

  if exists (
    select 1
    from unnest(affected) as organization (id)
    where not exists (
      select 1
      from public.memberships as membership
      where membership.organization_id = organization.id and membership.role = 'super_admin'
    )
  ) then
    raise exception using
      errcode = 'restrict_violation',
      constraint = 'memberships_keep_a_super_admin',
      schema = 'public',
      table = 'memberships',
      message = 'an organization keeps at least one super_admin',
      hint = 'Make somebody else super_admin first.';
  end if;
  return null;
end
$$;
comment on function private.keep_a_super_admin() is
  'Trigger: the last super_admin of an organization is neither removed nor demoted, also not by SQL.';
create trigger a_keep_a_super_admin_update after update on public.memberships
  referencing old table as old_rows
  for each statement execute function private.keep_a_super_admin();
create trigger a_keep_a_super_admin_delete after delete on public.memberships
  referencing old table as old_rows
  for each statement execute function private.keep_a_super_admin();
create trigger refuse_truncate before truncate on public.memberships
  for each statement execute function private.refuse_delete();
create trigger refuse_truncate before truncate on public.caseloads
  for each statement execute function private.refuse_delete();
create trigger refuse_truncate before truncate on public.client_users
  for each statement execute function private.refuse_delete();

-- Events -----------------------------------------------------------------------------------------------------------

create function private.row_ids(changed jsonb, id_columns text[])
returns uuid[]
language plpgsql
immutable
set search_path = ''
as $$
begin
  return array(
    select (changed ->> item.name)::uuid
    from unnest(id_columns) with ordinality as item (name, position)
    order by item.position
  );
end
$$;
comment on function private.row_ids(jsonb, text[]) is 'The values of a row''s id columns, in their order.';

create function private.audit_rows()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  entity text := tg_argv[0];
  id_columns text[] := string_to_array(tg_argv[1], ',');
  tenant_column text := case when tg_table_name = 'organizations' then 'id' else 'organization_id' end;
  changes jsonb;
begin
  if tg_op = 'INSERT' then
    select jsonb_agg(jsonb_build_object('after', to_jsonb(new_row))) into changes from new_rows as new_row;
  elsif tg_op = 'DELETE' then
    select jsonb_agg(jsonb_build_object('before', to_jsonb(old_row))) into changes from old_rows as old_row;
  else
    select jsonb_agg(jsonb_build_object('before', to_jsonb(old_row), 'after', to_jsonb(new_row))) into changes
    from old_rows as old_row
    full join new_rows as new_row
      on to_jsonb(old_row) -> tenant_column = to_jsonb(new_row) -> tenant_column
      and private.row_ids(to_jsonb(old_row), id_columns) = private.row_ids(to_jsonb(new_row), id_columns)
    where to_jsonb(old_row) is distinct from to_jsonb(new_row);
  end if;

  perform private.record_event(
    event.organization_id, entity || '.' || event.kind, entity, event.ids, clock_timestamp(),
    before => event.before, after => event.after
  )
  from (
    select
      change.organization_id,
      change.kind,
      array(
        select distinct id.value
        from unnest(array_agg(change.sort_key)) as listed (ids)
        cross join lateral unnest(string_to_array(listed.ids, ',')::uuid[]) as id (value)
        order by id.value
      ) as ids,
      nullif(jsonb_agg(change.before order by change.sort_key), '[null]') as before,
      nullif(jsonb_agg(change.after order by change.sort_key), '[null]') as after
    from (
      select
        (coalesce(item.value -> 'after', item.value -> 'before') ->> tenant_column)::uuid as organization_id,
        array_to_string(
          private.row_ids(coalesce(item.value -> 'after', item.value -> 'before'), id_columns), ','
        ) as sort_key,
        item.value -> 'before' as before,
        item.value -> 'after' as after,
        case
          when item.value -> 'before' is null then 'added'
          when item.value -> 'after' is null then 'removed'
          when item.value #>> '{before,deleted_at}' is null and item.value #>> '{after,deleted_at}' is not null
            then 'archived'
          when item.value #>> '{before,deleted_at}' is not null and item.value #>> '{after,deleted_at}' is null
            then 'restored'
          else 'changed'
        end as kind
      from jsonb_array_elements(changes) as item (value)
    ) as change
    group by change.organization_id, change.kind
  ) as event;
  return null;
end
$$;
comment on function private.audit_rows() is
  'Trigger: one event a statement, organization and kind (added, changed, archived, restored, removed), with the rows '
  'before and after. Arguments: the entity''s name, and the columns that name it beside the organization.';

do $$
declare
  audited record;
begin
  -- The same three triggers each; a list reads better than 27 statements.
  for audited in
    select *
    from (
      values
        ('organizations', 'organization', 'id'),
        ('memberships', 'membership', 'user_id'),
        ('therapists', 'therapist', 'id'),
        ('clients', 'client', 'id'),
        ('caseloads', 'caseload', 'therapist_id,client_id'),
        ('client_users', 'client_user', 'client_id,user_id'),
        ('rooms', 'room', 'id'),
        ('availability_exceptions', 'availability_exception', 'id'),
        ('organization_closures', 'organization_closure', 'id'),
        ('session_groups', 'session_group', 'id')
    ) as list (table_name, entity, id_columns)
  loop
    execute format(
      'create trigger z_audit_insert after insert on public.%I referencing new table as new_rows '
      'for each statement execute function private.audit_rows(%L, %L)',
      audited.table_name, audited.entity, audited.id_columns
    );
    execute format(
      'create trigger z_audit_update after update on public.%I referencing old table as old_rows new table as new_rows '
      'for each statement execute function private.audit_rows(%L, %L)',
      audited.table_name, audited.entity, audited.id_columns
    );
    execute format(
      'create trigger z_audit_delete after delete on public.%I referencing old table as old_rows '
      'for each statement execute function private.audit_rows(%L, %L)',
      audited.table_name, audited.entity, audited.id_columns
    );
  end loop;
end
$$;

-- Member management ------------------------------------------------------------------------------------------------

create function private.member_answer(member public.memberships)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return private.success(jsonb_build_object(
    'organizationId', member.organization_id, 'userId', member.user_id, 'role', member.role,
    'permissions', member.permissions, 'createdAt', private.iso(member.created_at)
  ));
end
$$;
comment on function private.member_answer(public.memberships) is 'The outcome of a change of members: the row as it is now.';

create function private.refuse_member(actor private.actor, user_id uuid, status integer, code text, detail text)
returns jsonb
language plpgsql
set search_path = ''
as $$
begin
  return coalesce(
    private.note_refusal(
      actor.organization_id, 'membership.refused', 'membership', array_remove(array[user_id], null), refuse_member.code,
      actor_role => actor.role::text,
      may_never => actor.role <> 'super_admin'
    ),
    private.refusal(status, refuse_member.code, detail)
  );
end
$$;
comment on function private.refuse_member(private.actor, uuid, integer, text, text) is
  'The outcome of a refused change of members, and its audit event.';

create function private.add_member(user_id uuid, role public.member_role, permissions text[])
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
  actor private.actor := private.require_actor();
  member public.memberships;
begin
  if user_id is null or role is null then
    perform private.raise_invalid(
      private.issue(case when user_id is null then 'user_id' else 'role' end, 'is required'), 'MISSING_FIELDS'
    );
  elsif not private.words_are_valid(coalesce(add_member.permissions, '{}'), 20, '^[a-z][a-z_]{0,63}$') then
    perform private.raise_invalid(private.issue('permissions', 'must be at most 20 names such as view_audit'));
  elsif actor.role <> 'super_admin' then
    return private.refuse_member(actor, user_id, 403, 'FORBIDDEN', 'Only a super_admin manages members.');
  elsif not exists (select 1 from auth.users as person where person.id = add_member.user_id) then
    return private.refuse_member(actor, null, 404, 'USER_NOT_FOUND', 'There is no such user. Invite her first.');
  end if;

  insert into public.memberships as existing (organization_id, user_id, role, permissions)
  values (
    actor.organization_id, add_member.user_id, add_member.role, coalesce(add_member.permissions, '{}')
  )
  on conflict do nothing
  returning existing.* into member;
  if member.user_id is null then
    return private.refuse_member(actor, user_id, 409, 'ALREADY_A_MEMBER', 'She is a member already: change her role.');
  end if;
  return private.member_answer(member);
end
$$;
comment on function private.add_member(uuid, public.member_role, text[]) is 'See the public wrapper.';

create function private.change_member(user_id uuid, role public.member_role, permissions text[])
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
  actor private.actor := private.require_actor();
  member public.memberships;
begin
  if user_id is null then
    perform private.raise_invalid(private.issue('user_id', 'is required'), 'MISSING_FIELDS');
  elsif not private.words_are_valid(coalesce(change_member.permissions, '{}'), 20, '^[a-z][a-z_]{0,63}$') then
    perform private.raise_invalid(private.issue('permissions', 'must be at most 20 names such as view_audit'));
  elsif actor.role <> 'super_admin' then
    return private.refuse_member(actor, user_id, 403, 'FORBIDDEN', 'Only a super_admin manages members.');
  end if;

  begin
    update public.memberships as existing
    set
      role = coalesce(change_member.role, existing.role),
      permissions = coalesce(change_member.permissions, existing.permissions)
    where existing.organization_id = actor.organization_id and existing.user_id = change_member.user_id
    returning existing.* into member;
  exception
    when restrict_violation then
      return private.refuse_member(
        actor, user_id, 409, 'LAST_SUPER_ADMIN', 'The organization needs a super_admin: appoint another one first.'
      );
  end;
  if member.user_id is null then
    return private.refuse_member(actor, user_id, 404, 'MEMBER_NOT_FOUND', 'She is not a member of this organization.');
  end if;
  return private.member_answer(member);
end
$$;
comment on function private.change_member(uuid, public.member_role, text[]) is 'See the public wrapper.';

create function private.remove_member(user_id uuid)
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
  actor private.actor := private.require_actor();
  member public.memberships;
begin
  if user_id is null then
    perform private.raise_invalid(private.issue('user_id', 'is required'), 'MISSING_FIELDS');
  elsif actor.role <> 'super_admin' then
    return private.refuse_member(actor, user_id, 403, 'FORBIDDEN', 'Only a super_admin manages members.');
  end if;

  begin
    delete from public.memberships as existing
    where existing.organization_id = actor.organization_id and existing.user_id = remove_member.user_id
    returning existing.* into member;
  exception
    when restrict_violation then
      return private.refuse_member(
        actor, user_id, 409, 'LAST_SUPER_ADMIN', 'The organization needs a super_admin: appoint another one first.'
      );
  end;
  if member.user_id is null then
    return private.refuse_member(actor, user_id, 404, 'MEMBER_NOT_FOUND', 'She is not a member of this organization.');
  end if;
  return private.member_answer(member);
end
$$;
comment on function private.remove_member(uuid) is 'See the public wrapper.';

grant execute on function
  private.add_member(uuid, public.member_role, text[]), private.change_member(uuid, public.member_role, text[]),
  private.remove_member(uuid)
to authenticated;

create function public.add_member(user_id uuid, role public.member_role, permissions text[] default '{}')
returns jsonb
language sql
volatile
set search_path = ''
begin atomic
  select private.add_member(add_member.user_id, add_member.role, add_member.permissions);
end;
comment on function public.add_member(uuid, public.member_role, text[]) is
  'A super_admin adds a user, whom an invitation has made, to her organization. Refused: FORBIDDEN, USER_NOT_FOUND, '
  'ALREADY_A_MEMBER. Takes an id, not an address, since looking addresses up would tell who uses other clinics.';

create function public.change_member(
  user_id uuid, role public.member_role default null, permissions text[] default null
)
returns jsonb
language sql
volatile
set search_path = ''
begin atomic
  select private.change_member(change_member.user_id, change_member.role, change_member.permissions);
end;
comment on function public.change_member(uuid, public.member_role, text[]) is
  'A super_admin changes a member''s role or permissions; null leaves them. It holds from the member''s next statement. '
  'Refused: FORBIDDEN, MEMBER_NOT_FOUND, LAST_SUPER_ADMIN.';

create function public.remove_member(user_id uuid)
returns jsonb
language sql
volatile
set search_path = ''
begin atomic
  select private.remove_member(remove_member.user_id);
end;
comment on function public.remove_member(uuid) is
  'A super_admin removes a member: from her next statement on she reads and writes nothing here, whatever her token '
  'says. Her records stay; a parent''s access to clients ends with it. Refused: FORBIDDEN, MEMBER_NOT_FOUND, LAST_SUPER_ADMIN.';

grant execute on function
  public.add_member(uuid, public.member_role, text[]), public.change_member(uuid, public.member_role, text[]),
  public.remove_member(uuid)
to authenticated;

-- One's own ----------------------------------------------------------------------------------------------------------

create function private.my_organizations()
returns table (
  organization_id uuid, name text, time_zone text, role public.member_role, permissions text[], is_active boolean
)
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
  return query
  select organization.id, organization.name, organization.time_zone, membership.role, membership.permissions,
    coalesce(organization.id = private.claimed_organization_id(), false)
  from public.memberships as membership
  join public.organizations as organization on organization.id = membership.organization_id
  where membership.user_id = auth.uid()
  order by organization.name, organization.id;
end
$$;
comment on function private.my_organizations() is 'See the public wrapper.';
grant execute on function private.my_organizations() to authenticated;

create function public.my_organizations()
returns table (
  organization_id uuid, name text, time_zone text, role public.member_role, permissions text[], is_active boolean
)
language sql
stable
set search_path = ''
begin atomic
  select mine.organization_id, mine.name, mine.time_zone, mine.role, mine.permissions, mine.is_active
  from private.my_organizations() as mine;
end;
comment on function public.my_organizations() is
  'The caller''s organizations, to choose among with set_active_organization; is_active is the one her token names.';
grant execute on function public.my_organizations() to authenticated;

create function private.own_therapists()
returns table (id uuid, display_name text)
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  tenant uuid := private.active_organization_id();
  own uuid[] := case when private.active_role() = 'client' then private.own_client_ids() else '{}' end;
begin
  return query
  select therapist.id, therapist.display_name
  from public.therapists as therapist
  where therapist.organization_id = tenant
    and (
      exists (
        select 1
        from public.caseloads as caseload
        where caseload.organization_id = tenant
          and caseload.therapist_id = therapist.id
          and caseload.client_id = any (own)
      )
      or exists (
        select 1
        from public.sessions as session
        where session.organization_id = tenant
          and session.client_id = any (own)
          and session.therapist_id = therapist.id
      )
    )
  order by therapist.display_name, therapist.id;
end
$$;
comment on function private.own_therapists() is 'See the public wrapper.';
grant execute on function private.own_therapists() to authenticated;

create function public.own_therapists()
returns table (id uuid, display_name text)
language sql
stable
set search_path = ''
begin atomic
  select own.id, own.display_name from private.own_therapists() as own;
end;
comment on function public.own_therapists() is
  'For a user of role client: the names of the therapists who work, or have worked, with the clients she stands for. '
  'Row-level security hides no columns, so parents read this rather than the table, which has more.';
grant execute on function public.own_therapists() to authenticated;

create function private.set_availability_hours(availability_hours jsonb, therapist_id uuid)
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
  actor private.actor := private.require_actor();
  wanted uuid := coalesce(set_availability_hours.therapist_id, actor.user_id);
  hours jsonb := nullif(set_availability_hours.availability_hours, 'null');
  changed uuid;
begin
  if not private.availability_hours_are_valid(hours) then
    perform private.raise_invalid(private.issue(
      'availability_hours',
      'must be null or {"monday": [{"start": "08:00", "end": "18:00"}], ...}, with at most 12 windows a day'
    ));
  end if;
  if actor.role in ('admin', 'super_admin') or (actor.role = 'therapist' and wanted = actor.user_id) then
    update public.therapists as therapist
    set availability_hours = hours
    where therapist.organization_id = actor.organization_id and therapist.id = wanted and therapist.deleted_at is null
    returning therapist.id into changed;
  end if;
  if changed is null then
    return coalesce(
      private.note_refusal(
        actor.organization_id, 'therapist.refused', 'therapist', array[wanted], 'FORBIDDEN',
        actor_role => actor.role::text,
        may_never => actor.role = 'client'
      ),
      private.refusal(403, 'FORBIDDEN', 'You may not change this therapist''s hours.')
    );
  end if;
  return private.success(jsonb_build_object('therapistId', changed, 'availabilityHours', hours));
end
$$;
comment on function private.set_availability_hours(jsonb, uuid) is 'See the public wrapper.';
grant execute on function private.set_availability_hours(jsonb, uuid) to authenticated;

create function public.set_availability_hours(availability_hours jsonb, therapist_id uuid default null)
returns jsonb
language sql
volatile
set search_path = ''
begin atomic
  select private.set_availability_hours(
    set_availability_hours.availability_hours, set_availability_hours.therapist_id
  );
end;
comment on function public.set_availability_hours(jsonb, uuid) is
  'A therapist sets her own weekly hours (civil time of her zone; null for no limit), an admin anybody''s. The only '
  'columns of her profile that a therapist writes herself. Refused: FORBIDDEN.';
grant execute on function public.set_availability_hours(jsonb, uuid) to authenticated;

-- === schemas/audit/audit_reads.sql ===

-- Purpose: the audit, for those who must read and prove it: compliance officers, admins, super_admins.
-- Objects: session_history, verify_audit, audit_checkpoint.
-- Watch for: schema audit is not exposed. These functions are the way to it over REST, each for the caller's
--            organization only; the views of schema reports read the same events under their own policies.

create function private.session_history(session_id uuid)
returns table (
  occurred_at timestamptz,
  recorded_at timestamptz,
  action text,
  outcome text,
  code text,
  actor_user_id uuid,
  actor_role text,
  actor_session_id text,
  database_user text,
  request_id text,
  before jsonb,
  after jsonb,
  details jsonb,
  event_id uuid,
  chain_id uuid,
  seq bigint,
  hash text,
  problem text
)
language plpgsql
stable
security definer
set search_path = ''
set timezone = 'UTC'
as $$
#variable_conflict use_column
declare
  actor private.actor := private.require_actor();
  names uuid[];
begin
  if not private.is_admin() and not private.has_permission('view_audit') then
    perform private.raise_refusal(403, 'FORBIDDEN', 'Only admins and members with view_audit read the audit.');
  end if;
  perform private.require_rate('refusals');

  -- A session keeps the id of the hold it was booked through; the holds that moved it have ids of their own.
  names := session_history.session_id || array(
    select hold.id
    from public.session_holds as hold
    where hold.organization_id = actor.organization_id and hold.session_id = session_history.session_id
  );

  return query
  select
    event.occurred_at, event.recorded_at, event.action, event.outcome, event.code,
    event.actor_user_id, event.actor_role, event.actor_session_id, event.database_user, event.request_id,
    case when jsonb_typeof(event.before) = 'array' then event.before -> place.position else event.before end,
    case when jsonb_typeof(event.after) = 'array' then event.after -> place.position else event.after end,
    event.details, event.id, event.chain_id, seal.seq, encode(seal.hash, 'hex'),
    case
      when seal.seq is null then 'the event is not sealed'
      else audit.seal_problem(seal, previous, event, false)
    end
  from audit.events as event
  cross join lateral (
    -- A batch's event lists its ids, and what became of each, in the same order.
    select (array_position(event.entity_ids, session_history.session_id) - 1) as position
  ) as place
  left join audit.seals as seal
    on seal.organization_id = event.organization_id
    and seal.event_id = event.id
    and seal.event_recorded_at = event.recorded_at
  left join audit.seals as previous
    on previous.organization_id = seal.organization_id
    and previous.chain_id = seal.chain_id
    and previous.seq = seal.seq - 1
  where event.organization_id = actor.organization_id
    and event.entity_ids && names
  order by event.recorded_at, event.id;
end
$$;
comment on function private.session_history(uuid) is 'See the public wrapper.';
grant execute on function private.session_history(uuid) to authenticated;

create function public.session_history(session_id uuid)
returns table (
  occurred_at timestamptz,
  recorded_at timestamptz,
  action text,
  outcome text,
  code text,
  actor_user_id uuid,
  actor_role text,
  actor_session_id text,
  database_user text,
  request_id text,
  before jsonb,
  after jsonb,
  details jsonb,
  event_id uuid,
  chain_id uuid,
  seq bigint,
  hash text,
  problem text
)
language sql
stable
set search_path = ''
begin atomic
  select
    history.occurred_at, history.recorded_at, history.action, history.outcome, history.code, history.actor_user_id,
    history.actor_role, history.actor_session_id, history.database_user, history.request_id, history.before,
    history.after, history.details, history.event_id, history.chain_id, history.seq, history.hash,
    history.problem
  from private.session_history(session_history.session_id) as history;
end;
comment on function public.session_history(uuid) is
  'Everything that happened to a session, oldest first: its hold, confirmation, moves, status changes, notes saved, '
  'signed and read, refusals. before and after are this session''s part of the event; notes appear as ciphertext. seq and '
  'hash are the event''s place in its chain; problem says what is wrong with the event or its seal, null when nothing is. For admins and members with the permission view_audit. An id of another '
  'organization has no history here.';
grant execute on function public.session_history(uuid) to authenticated;

create function private.audit_checkpoint()
returns jsonb
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  actor private.actor := private.require_actor();
begin
  if actor.role <> 'super_admin' then
    perform private.raise_refusal(403, 'FORBIDDEN', 'Only a super_admin exports a checkpoint of the audit.');
  end if;
  return audit.checkpoint(actor.organization_id);
end
$$;
comment on function private.audit_checkpoint() is 'See the public wrapper.';
grant execute on function private.audit_checkpoint() to authenticated;

create function public.audit_checkpoint()
returns jsonb
language sql
stable
set search_path = ''
begin atomic
  select private.audit_checkpoint();
end;
comment on function public.audit_checkpoint() is
  'The heads of all of the organization''s audit chains, for a super_admin to keep outside this database. '
  'verify_audit compares with it.';
grant execute on function public.audit_checkpoint() to authenticated;

create function private.verify_audit(checkpoint jsonb)
returns table (chain_id uuid, seq bigint, event_id uuid, problem text)
language plpgsql
stable
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  actor private.actor := private.require_actor();
begin
  if actor.role <> 'super_admin' then
    perform private.raise_refusal(403, 'FORBIDDEN', 'Only a super_admin verifies the audit.');
  elsif checkpoint is not null and audit.checkpoint_is_valid(checkpoint) is not true then
    perform private.raise_invalid(private.issue('checkpoint', 'must be what audit_checkpoint returned'));
  end if;
  return query
  select found.chain_id, found.seq, found.event_id, found.problem
  from audit.verify(actor.organization_id) as found
  union all
  select compared.chain_id, compared.seq, null::uuid, compared.problem
  from (
    -- Of her organization only, whatever it was taken of.
    select verify_audit.checkpoint || jsonb_build_object('organizationId', actor.organization_id) as kept
    where verify_audit.checkpoint is not null
  ) as given
  cross join lateral audit.verify_checkpoint(given.kept) as compared
  where compared.organization_id = actor.organization_id
  order by 1, 2;
end
$$;
comment on function private.verify_audit(jsonb) is 'See the public wrapper.';
grant execute on function private.verify_audit(jsonb) to authenticated;

create function public.verify_audit(checkpoint jsonb default null)
returns table (chain_id uuid, seq bigint, event_id uuid, problem text)
language sql
stable
set search_path = ''
begin atomic
  select verified.chain_id, verified.seq, verified.event_id, verified.problem
  from private.verify_audit(verify_audit.checkpoint) as verified;
end;
comment on function public.verify_audit(jsonb) is
  'Recomputes every chain of the organization''s audit and names the first bad event of each; with a checkpoint that was '
  'kept elsewhere, also what was cut off or rewritten before it. No row: all is as it was written. For a super_admin.';
grant execute on function public.verify_audit(jsonb) to authenticated;

-- === schemas/audit/optional_platform.sql ===

-- Purpose: what the platform offers beyond Postgres, used where it is present and needed nowhere.
-- Objects: a Realtime publication of sessions; pg_cron schedules.
-- Watch for: correctness never waits for any of it. Where pg_cron is turned on later, run the two schedules by hand
--            (docs/deploying.md).

do $$
begin
  -- Sessions carry no PHI; row security decides who receives which change.
  if exists (select 1 from pg_catalog.pg_publication where pubname = 'supabase_realtime')
    and not exists (
      select 1
      from pg_catalog.pg_publication_tables
      where pubname = 'supabase_realtime' and schemaname = 'public' and tablename = 'sessions'
    )
  then
    alter publication supabase_realtime add table public.sessions;
  end if;

  if exists (select 1 from pg_catalog.pg_extension where extname = 'pg_cron') then
    perform cron.schedule('sweep-expired-holds', '* * * * *', 'select private.sweep_expired_holds()');
    perform cron.schedule('offer-freed-slots', '* * * * *', 'select private.offer_all_freed_slots()');
    perform cron.schedule('sweep', '15 * * * *', 'select private.sweep()');
  end if;
end
$$;

-- === schemas/clinical/lifecycle.sql ===

-- Purpose: a session begins, ends and is billed by the times it really had; it completes only when its record is whole.
-- Objects: session_visits; private.whole_minute, check_visit, completion_gaps; start_session, end_session, complete_session,
--          mark_no_show.
-- Watch for: a visit begins, ends, is signed and is completed, in this order: what is signed is what was rendered, so the
--            end is known first. Users of the API complete a session only with what domain rules and its payer ask for, whether through
--            complete_session or by a direct update. Operators (SQL, service_role) may enter history as it was.

create function private.whole_minute(instant timestamptz)
returns timestamptz
language plpgsql
immutable
set search_path = ''
as $$
begin
  return date_bin('1 minute', instant, '2000-01-01T00:00:00Z');
end
$$;
comment on function private.whole_minute(timestamptz) is
  'An instant without its seconds: the times of a visit are whole minutes. They are cut before anything is rounded.';

create table public.session_visits (
  organization_id uuid not null,
  session_id uuid not null,
  actual_start_time timestamptz not null check (isfinite(actual_start_time)),
  actual_end_time timestamptz check (isfinite(actual_end_time) and actual_end_time > actual_start_time),
  units integer check (units >= 0),
  other_day_reason text check (length(other_day_reason) between 1 and 500),
  overlap_reason text check (length(overlap_reason) between 1 and 500),
  started_by uuid,
  completed_by uuid,
  recorded_at timestamptz not null default clock_timestamp(),
  primary key (organization_id, session_id),
  foreign key (organization_id, session_id) references public.sessions (organization_id, id),
  constraint session_visits_units check (units is null or actual_end_time is not null),
  constraint session_visits_length check (actual_end_time - actual_start_time <= interval '16 hours')
);
comment on table public.session_visits is
  'When a session really began and ended: the begin and end that electronic visit verification asks for. Apart from '
  'sessions, since clients may not read it.';
comment on column public.session_visits.units is
  'Units of the actual minutes as the payer rounds, null until it is completed: of a payer who rounds by the day, this visit''s share of the day''s.';
comment on column public.session_visits.actual_start_time is 'When it began: a whole minute, like its end.';
comment on column public.session_visits.other_day_reason is
  'Why it began on another local day than it was booked for; null when it did not.';
comment on column public.session_visits.overlap_reason is
  'Why an admin let it overlap another visit of its therapist or client; null when it does not.';
alter table public.session_visits enable row level security;
create policy sessions_scoped_access on public.session_visits for select to authenticated
  using (
    organization_id = (select private.active_organization_id())
    and (
      (select private.is_admin())
      or exists (
        select 1
        from public.sessions as session
        where session.organization_id = session_visits.organization_id
          and session.id = session_visits.session_id
          and session.therapist_id = (select auth.uid())
          and (select private.active_role()) = 'therapist'
      )
    )
  );
comment on policy sessions_scoped_access on public.session_visits is
  'Admins see their organization''s; therapists those of their own sessions.';
grant select on public.session_visits to authenticated, service_role;
create trigger refuse_delete before delete on public.session_visits
  for each row
  -- correct_visit takes back a start, and keeps what was as a version.
  when (private.is_direct_write())
  execute function private.refuse_delete();
create trigger refuse_truncate before truncate on public.session_visits
  for each statement execute function private.refuse_delete();

create function private.cut_seconds()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  new.actual_start_time := private.whole_minute(new.actual_start_time);
  new.actual_end_time := private.whole_minute(new.actual_end_time);
  return new;
end
$$;
comment on function private.cut_seconds() is 'Trigger: the times of a visit are whole minutes, whoever enters them.';
create trigger cut_seconds before insert or update on public.session_visits
  for each row execute function private.cut_seconds();

create function private.session_payer_rule(session public.sessions)
returns table (
  rounding public.unit_rounding,
  max_daily_units smallint,
  authorization_required boolean,
  evv_required boolean
)
language plpgsql
stable
set search_path = ''
as $$
declare
  date constant date := private.service_date(session.organization_id, session.client_id, session.start_time);
begin
  return query
  select rule.rounding, rule.max_daily_units, rule.authorization_required, rule.evv_required
  from private.payer_rule(
    session.organization_id,
    private.primary_payer(session.organization_id, session.client_id, date),
    private.billed_code(session.organization_id, session.cpt_code, session.session_type, date), date
  ) as rule;
end
$$;
comment on function private.session_payer_rule(public.sessions) is 'The rule of the payer who pays first for this session.';

create function private.completion_gaps(session public.sessions, begun timestamptz, ended timestamptz)
returns jsonb
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  date constant date := private.service_date(session.organization_id, session.client_id, session.start_time);
  code constant text := private.service_code(session.organization_id, session.cpt_code, session.session_type, date);
  note public.session_note_states;
  differing text[];
begin
  select known.* into note
  from public.session_note_states as known
  where known.organization_id = session.organization_id and known.session_id = session.id;
  if note.status in ('signed', 'amended') and begun is not null and ended is not null then
    differing := private.differing_facts(
      private.attested_facts(session.organization_id, session.id), private.facts_of_visit(session, begun, ended)
    );
  end if;
  return (
    select jsonb_agg(
      jsonb_strip_nulls(jsonb_build_object('field', gap.field, 'message', gap.message, 'differs', gap.differs))
      order by gap.position
    )
    from (
      values
        (1, 'location_type', 'Where the session took place is not recorded.', session.location_type is null, null::text[]),
        (2, 'cpt_code', 'The session names no service.', code is null, null),
        (3, 'note', 'The session has no note.', note.session_id is null, null),
        (4, 'signature', 'The note is not signed by the rendering provider, with their credential.',
          note.session_id is not null and (
            note.status = 'draft' or note.credential is null or note.signed_by is distinct from session.therapist_id
          ), null),
        (5, 'signature', 'The visit was corrected after its note was signed: the note must be amended.',
          note.status = 'needs_amendment', null),
        (6, 'signature',
          format('The note was signed for something else: %s. Amend the note, or correct the visit.', array_to_string(differing, ', ')),
          differing <> '{}', differing),
        (7, 'actual_start_time', 'When the visit began is not recorded.', begun is null, null),
        (8, 'actual_end_time', 'When the visit ended is not recorded.', ended is null, null),
        (9, 'clients', 'The service is for more clients, or fewer, than attend.', (
          select count(*)
          from public.sessions as member
          where member.organization_id = session.organization_id
            and member.status not in ('cancelled', 'no_show')
            and (member.id = session.id or member.group_id = session.group_id)
        ) not between (
          select known.min_clients from private.service_code_on(session.organization_id, code, date) as known
        ) and (
          select known.max_clients from private.service_code_on(session.organization_id, code, date) as known
        ), null)
    ) as gap (position, field, message, is_open, differs)
    where gap.is_open
  );
end
$$;
comment on function private.completion_gaps(public.sessions, timestamptz, timestamptz) is
  'What a session still lacks to be completed with these times, as [{field, message, differs?}]; null when nothing. '
  'Participants, narrative, response and progress are in the note, which cannot be signed without them. differs: what is '
  'not as it was signed.';

create function private.guard_completion()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  visit public.session_visits;
  gaps jsonb;
begin
  if new.status = 'completed' and old.status <> 'completed' and auth.role() = 'authenticated' then
    select known.* into visit
    from public.session_visits as known
    where known.organization_id = new.organization_id and known.session_id = new.id;
    gaps := private.completion_gaps(new, visit.actual_start_time, visit.actual_end_time);
    if gaps is not null then
      raise exception using
        errcode = 'check_violation',
        constraint = 'session_incomplete',
        schema = 'public',
        table = 'sessions',
        message = 'the session cannot be completed yet: ' || (gaps -> 0 ->> 'message'),
        detail = gaps::text,
        hint = 'Call complete_session, which lists what is missing.';
    end if;
  end if;
  return new;
end
$$;
comment on function private.guard_completion() is 'Trigger: a user completes a session only when its record is whole.';
create trigger a_guard_completion before update of status on public.sessions
  for each row
  -- complete_session has asked already, for the times that it is given.
  when (current_setting('therapist_sessions.within', true) is distinct from 'booking' or current_user <> 'postgres')
  execute function private.guard_completion();

-- Requests ---------------------------------------------------------------------------------------------------------------

create function private.session_row(organization_id uuid, session_id uuid)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    select to_jsonb(session) from public.sessions as session
    where session.organization_id = session_row.organization_id and session.id = session_row.session_id
  );
end
$$;
comment on function private.session_row(uuid, uuid) is 'A session''s row as it is now.';

create function private.record_status(actor private.actor, session public.sessions, before jsonb, as_of timestamptz)
returns void
language plpgsql
set search_path = ''
as $$
begin
  perform private.record_event(
    actor.organization_id, 'session.' || session.status, 'session', array[session.id], as_of,
    therapist_id => session.therapist_id, actor_role => actor.role::text,
    before => before, after => private.facts_of_rows(jsonb_build_array(to_jsonb(session)))
  );
end
$$;
comment on function private.record_status(private.actor, public.sessions, jsonb, timestamptz) is
  'The audit event of a session that was started or completed.';

create function private.check_visit(
  session public.sessions,
  begun timestamptz,
  ended timestamptz,
  other_day_reason text,
  as_of timestamptz
)
returns void
language plpgsql
stable
set search_path = ''
as $$
declare
  booked_date constant date := private.service_date(session.organization_id, session.client_id, session.start_time);
  begun_date constant date := private.service_date(session.organization_id, session.client_id, begun);
begin
  if begun > as_of or ended > as_of then
    perform private.raise_invalid(
      private.issue(case when begun > as_of then 'actual_start_time' else 'actual_end_time' end, 'is in the future')
    );
  elsif ended <= begun or ended - begun > interval '16 hours' then
    perform private.raise_invalid(
      private.issue('actual_end_time', 'must be after actual_start_time, by at most 16 hours'), 'INVALID_RANGE'
    );
  elsif begun_date <> booked_date and other_day_reason is null then
    perform private.raise_invalid(private.issue(
      'other_day_reason',
      format('is required: the visit began on %s, and is booked for %s. Correct actual_start_time, or say why', begun_date, booked_date)
    ));
  end if;
end
$$;
comment on function private.check_visit(public.sessions, timestamptz, timestamptz, text, timestamptz) is
  'Raises PT400 unless a visit can have had these times: past, in order, at most 16 hours, begun on the local day it was '
  'booked for unless a reason is given. Unknown times (null) pass.';

create function private.visit_overlap_refusal(
  actor private.actor,
  session public.sessions,
  other_visits jsonb,
  attempted text,
  overlap_reason text
)
returns jsonb
language plpgsql
set search_path = ''
as $$
begin
  if overlap_reason is not null and actor.role not in ('admin', 'super_admin') then
    return private.refuse(
      actor, 'session.refused', array[session.id], 'FORBIDDEN', 'Only an admin lets visits overlap.', session.therapist_id,
      details => jsonb_build_object('attempted', attempted)
    );
  elsif other_visits is not null and overlap_reason is null then
    return private.refuse(
      actor, 'session.refused', array[session.id], 'VISIT_OVERLAPS',
      'The visit overlaps another one of the same therapist, or of the same client in services that exclude each other: see overlaps.',
      session.therapist_id, details => jsonb_build_object('attempted', attempted),
      more => jsonb_build_object('overlaps', other_visits)
    );
  end if;
  return null;
end
$$;
comment on function private.visit_overlap_refusal(private.actor, public.sessions, jsonb, text, text) is
  'The refusal of a visit that overlaps others without an admin''s reason; null when there is none.';

create function private.record_overlap(
  actor private.actor,
  session public.sessions,
  other_visits jsonb,
  overlap_reason text,
  as_of timestamptz
)
returns void
language plpgsql
set search_path = ''
as $$
begin
  perform private.record_event(
    actor.organization_id, 'override.visit_overlap', 'session', array[session.id], as_of,
    therapist_id => session.therapist_id, actor_role => actor.role::text,
    details => jsonb_build_object('reason', overlap_reason, 'overlaps', other_visits)
  );
end
$$;
comment on function private.record_overlap(private.actor, public.sessions, jsonb, text, timestamptz) is
  'The audit event of a visit that an admin let overlap others.';

create function private.begin_visit(
  actor private.actor, session public.sessions, wanted private.visit_request, as_of timestamptz
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  before constant jsonb := private.facts_of_rows(jsonb_build_array(to_jsonb(session)));
  begun constant timestamptz := private.whole_minute(coalesce(wanted.actual_start_time::timestamptz, as_of));
begin
  if session.start_time > as_of + interval '12 hours' then
    return private.refuse(
      actor, 'session.refused', array[session.id], 'NOT_TODAY',
      'A session begins at most 12 hours before the time it is booked for. Move it first.', session.therapist_id,
      details => '{"attempted": "start"}'
    );
  end if;
  perform private.check_visit(session, begun, null, wanted.other_day_reason, as_of);
  insert into public.session_visits (organization_id, session_id, actual_start_time, other_day_reason, started_by)
  values (actor.organization_id, session.id, begun, wanted.other_day_reason, actor.user_id);
  update public.sessions as changed
  set status = 'in_progress', updated_at = as_of
  where changed.organization_id = actor.organization_id and changed.id = session.id
  returning * into session;
  perform private.record_status(actor, session, before, as_of);
  return private.success(jsonb_build_object('session', to_jsonb(session), 'actualStartTime', private.iso(begun)));
end
$$;
comment on function private.begin_visit(private.actor, public.sessions, private.visit_request, timestamptz) is
  'What start_session does once the session and its people are locked.';

create function private.end_visit(
  actor private.actor, session public.sessions, wanted private.visit_request, as_of timestamptz
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  before public.session_visits;
  visit public.session_visits;
begin
  select known.* into before
  from public.session_visits as known
  where known.organization_id = actor.organization_id and known.session_id = session.id;
  visit := before;
  visit.organization_id := actor.organization_id;
  visit.session_id := session.id;
  visit.actual_start_time := private.whole_minute(coalesce(wanted.actual_start_time::timestamptz, before.actual_start_time));
  visit.actual_end_time := private.whole_minute(coalesce(wanted.actual_end_time::timestamptz, as_of));
  visit.other_day_reason := coalesce(wanted.other_day_reason, before.other_day_reason);
  visit.recorded_at := as_of;
  if visit.actual_start_time is null then
    perform private.raise_invalid(private.issue('actual_start_time', 'is required: when the visit began is not recorded'));
  end if;
  perform private.check_visit(session, visit.actual_start_time, visit.actual_end_time, visit.other_day_reason, as_of);
  insert into public.session_visits select visit.*
  on conflict (organization_id, session_id) do update
  set actual_start_time = excluded.actual_start_time, actual_end_time = excluded.actual_end_time,
    other_day_reason = excluded.other_day_reason, recorded_at = excluded.recorded_at;
  perform private.record_event(
    actor.organization_id, 'visit.ended', 'session', array[session.id], as_of,
    therapist_id => session.therapist_id, actor_role => actor.role::text,
    before => private.visit_facts(session, before), after => private.visit_facts(session, visit)
  );
  return private.success(jsonb_build_object(
    'session', to_jsonb(session), 'actualStartTime', private.iso(visit.actual_start_time),
    'actualEndTime', private.iso(visit.actual_end_time)
  ));
end
$$;
comment on function private.end_visit(private.actor, public.sessions, private.visit_request, timestamptz) is
  'What end_session does once the session and its people are locked.';

create function private.finish_visit(
  actor private.actor, session public.sessions, wanted private.visit_request, as_of timestamptz
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  before constant jsonb := private.facts_of_rows(jsonb_build_array(to_jsonb(session)));
  visit public.session_visits;
  missing jsonb;
  other_visits jsonb;
  refusal jsonb;
  completed public.sessions := session;
begin
  select candidate.* into visit
  from public.session_visits as candidate
  where candidate.organization_id = actor.organization_id and candidate.session_id = session.id;
  visit.organization_id := actor.organization_id;
  visit.session_id := session.id;
  visit.actual_start_time := private.whole_minute(coalesce(wanted.actual_start_time::timestamptz, visit.actual_start_time));
  visit.actual_end_time := private.whole_minute(coalesce(wanted.actual_end_time::timestamptz, visit.actual_end_time));
  visit.other_day_reason := coalesce(wanted.other_day_reason, visit.other_day_reason);
  perform private.check_visit(session, visit.actual_start_time, visit.actual_end_time, visit.other_day_reason, as_of);
  missing := private.completion_gaps(session, visit.actual_start_time, visit.actual_end_time);
  if missing is not null then
    return private.refuse(
      actor, 'session.refused', array[session.id], 'SESSION_INCOMPLETE', 'The session cannot be completed yet: see missing.',
      session.therapist_id, details => '{"attempted": "complete"}', more => jsonb_build_object('missing', missing)
    );
  end if;
  completed.status := 'completed';
  other_visits := private.visits_in_the_way(
    private.claims_of_visit(completed, visit.actual_start_time, visit.actual_end_time), actor
  );
  refusal := private.visit_overlap_refusal(actor, session, other_visits, 'complete', private.tidy(wanted.overlap_reason));
  if refusal is not null then
    return refusal;
  end if;

  visit.overlap_reason := case when other_visits is not null then private.tidy(wanted.overlap_reason) end;
  visit.units := (
    select private.billable_units(private.billable_minutes(visit.actual_start_time, visit.actual_end_time), rule.rounding)
    from private.session_payer_rule(session) as rule
  );
  visit.completed_by := actor.user_id;
  visit.recorded_at := clock_timestamp();
  insert into public.session_visits select visit.*
  on conflict (organization_id, session_id) do update
  set actual_start_time = excluded.actual_start_time, actual_end_time = excluded.actual_end_time, units = excluded.units,
    other_day_reason = excluded.other_day_reason, overlap_reason = excluded.overlap_reason,
    completed_by = excluded.completed_by, recorded_at = excluded.recorded_at;
  update public.sessions as changed
  set status = 'completed', updated_at = as_of
  where changed.organization_id = actor.organization_id and changed.id = session.id
  returning * into completed;
  if not private.sync_visit_claims(actor.organization_id, array[session.id]) then
    -- Only a visit that was written without these locks; asked again, it is found above.
    raise exception using errcode = 'serialization_failure', message = 'a visit appeared that was not there before';
  end if;
  perform private.record_status(actor, completed, before, as_of);
  if visit.overlap_reason is not null then
    perform private.record_overlap(actor, completed, other_visits, visit.overlap_reason, as_of);
  end if;
  return private.success(jsonb_build_object(
    'session', to_jsonb(completed), 'actualStartTime', private.iso(visit.actual_start_time),
    'actualEndTime', private.iso(visit.actual_end_time), 'units', private.use_units_of_day(completed),
    'version', private.visit_version(actor.organization_id, session.id)
  ));
end
$$;
comment on function private.finish_visit(private.actor, public.sessions, private.visit_request, timestamptz) is
  'What complete_session does once the session and its people are locked.';

create function private.change_lifecycle(action text, request jsonb, request_id text)
returns jsonb
language plpgsql
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '5s'
as $$
declare
  actor private.actor := private.begin_booking(request_id);
  wanted private.visit_request := private.read_visit_request(request);
  session public.sessions;
  as_of timestamptz;
begin
  perform private.share_organization(actor.organization_id);
  -- A cancellation, a move or a second completion would act on the state this one is changing.
  select candidate.* into session
  from public.sessions as candidate
  where candidate.organization_id = actor.organization_id
    and candidate.id = wanted.session_id
    and (actor.role in ('admin', 'super_admin') or (actor.role = 'therapist' and candidate.therapist_id = actor.user_id))
  for no key update;
  if session.id is null then
    return private.refuse(
      actor, 'session.refused', array[wanted.session_id], 'FORBIDDEN', 'This session is not yours to change.',
      details => jsonb_build_object('attempted', action)
    );
  end if;
  -- A hold that reads the units left, while these are given back or used, would read what is no longer so; and two visits
  -- of one person that overlap would both be completed.
  perform private.lock_resources(
    actor.organization_id, private.lock_targets(actor.organization_id, array[session.id])
  );
  as_of := clock_timestamp();

  if session.status::text <> (case when action in ('end', 'complete') then 'in_progress' else 'scheduled' end)
    and not (action = 'no_show' and session.status = 'in_progress')
  then
    return private.refuse(
      actor, 'session.refused', array[session.id], 'STATUS_NOT_ALLOWED',
      format('A session that is %s cannot do this. Reload it.', session.status),
      session.therapist_id, details => jsonb_build_object('attempted', action)
    );
  elsif action = 'no_show' and session.start_time > as_of then
    return private.refuse(
      actor, 'session.refused', array[session.id], 'STATUS_NOT_ALLOWED',
      'A session that has not begun cannot be missed yet: cancel it.', session.therapist_id,
      details => jsonb_build_object('attempted', action)
    );
  elsif action = 'no_show' then
    perform private.end_sessions(actor, array[session.id], 'no_show', as_of);
    return private.success(jsonb_build_object('session', private.session_row(actor.organization_id, session.id)));
  end if;
  wanted.other_day_reason := private.tidy(wanted.other_day_reason);
  return case action
    when 'start' then private.begin_visit(actor, session, wanted, as_of)
    when 'end' then private.end_visit(actor, session, wanted, as_of)
    else private.finish_visit(actor, session, wanted, as_of)
  end;
exception
  when lock_not_available or deadlock_detected or serialization_failure or query_canceled then
    perform private.raise_busy(sqlstate, sqlerrm);
end
$$;
comment on function private.change_lifecycle(text, jsonb, text) is
  'Starts, ends or completes a session, or marks it missed. Returns an outcome; raises PT400, PT401, PT403, PT503.';

create function private.start_session(request jsonb, request_id text)
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
begin
  return private.change_lifecycle('start', request, request_id);
end
$$;
comment on function private.start_session(jsonb, text) is 'See the public wrapper.';
grant execute on function private.start_session(jsonb, text) to authenticated;

create function public.start_session(request jsonb, request_id text default null)
returns jsonb
language sql
volatile
set search_path = ''
begin atomic
  select private.leave_booking(private.start_session(start_session.request, start_session.request_id));
end;
comment on function public.start_session(jsonb, text) is
  'scheduled -> in_progress. request is {session_id, actual_start_time?, other_day_reason?}; without a time, now. Seconds '
  'are cut. Outcome body: {session, actualStartTime}. PT400 for a time ahead, or on another local day than booked without '
  'other_day_reason. 403 FORBIDDEN; 409 STATUS_NOT_ALLOWED, NOT_TODAY (over 12 hours before its time).';
grant execute on function public.start_session(jsonb, text) to authenticated;

create function private.end_session(request jsonb, request_id text)
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
begin
  return private.change_lifecycle('end', request, request_id);
end
$$;
comment on function private.end_session(jsonb, text) is 'See the public wrapper.';
grant execute on function private.end_session(jsonb, text) to authenticated;

create function public.end_session(request jsonb, request_id text default null)
returns jsonb
language sql
volatile
set search_path = ''
begin atomic
  select private.leave_booking(private.end_session(end_session.request, end_session.request_id));
end;
comment on function public.end_session(jsonb, text) is
  'Records when the visit of a session in progress ended, so that its note can be signed. request is {session_id, '
  'actual_start_time?, actual_end_time?, other_day_reason?}; without an end, now; a visit documented late gives both times. '
  'Seconds are cut. May be repeated until the session is completed; a note that is signed by then must be amended. Outcome '
  'body: {session, actualStartTime, actualEndTime}. PT400 for times ahead, out of order, over 16 hours, or on another local '
  'day than booked without other_day_reason. 403 FORBIDDEN; 409 STATUS_NOT_ALLOWED.';
grant execute on function public.end_session(jsonb, text) to authenticated;

create function private.complete_session(request jsonb, request_id text)
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
begin
  return private.change_lifecycle('complete', request, request_id);
end
$$;
comment on function private.complete_session(jsonb, text) is 'See the public wrapper.';
grant execute on function private.complete_session(jsonb, text) to authenticated;

create function public.complete_session(request jsonb, request_id text default null)
returns jsonb
language sql
volatile
set search_path = ''
begin atomic
  select private.leave_booking(private.complete_session(complete_session.request, complete_session.request_id));
end;
comment on function public.complete_session(jsonb, text) is
  'in_progress -> completed. request is {session_id, actual_start_time?, actual_end_time?, other_day_reason?, '
  'overlap_reason?}; times left out are those that start_session and end_session recorded. Outcome body: {session, '
  'actualStartTime, actualEndTime, units, version}. PT400 for times ahead, out of order, over 16 hours, or on another local '
  'day than booked without other_day_reason. 409 SESSION_INCOMPLETE lists in missing, as [{field, message, differs?}], what '
  'the record lacks: location_type, cpt_code, note, signature, actual_start_time, actual_end_time, clients; differs of '
  'signature names what is not as it was signed: therapist_id, client_id, cpt_code, cpt_modifiers, location_type, time_zone, '
  'actual_start_time, actual_end_time. 409 '
  'VISIT_OVERLAPS lists in overlaps, as [{resource, sessionId, startTime, endTime}], the completed visits of its therapist or '
  'client that it overlaps in actual time; an admin lets it overlap with overlap_reason.';
grant execute on function public.complete_session(jsonb, text) to authenticated;

create function private.mark_no_show(request jsonb, request_id text)
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
begin
  return private.change_lifecycle('no_show', request, request_id);
end
$$;
comment on function private.mark_no_show(jsonb, text) is 'See the public wrapper.';
grant execute on function private.mark_no_show(jsonb, text) to authenticated;

create function public.mark_no_show(request jsonb, request_id text default null)
returns jsonb
language sql
volatile
set search_path = ''
begin atomic
  select private.leave_booking(private.mark_no_show(mark_no_show.request, mark_no_show.request_id));
end;
comment on function public.mark_no_show(jsonb, text) is
  'The client did not come: scheduled or in_progress -> no_show, once the start has passed. request is {session_id}. '
  'Gives the units back.';
grant execute on function public.mark_no_show(jsonb, text) to authenticated;

-- === schemas/clinical/visit_claims.sql ===

-- Purpose: nobody renders two visits at once: completed visits claim the time they really took.
-- Objects: private.visit_claims; claims_of_visit, visit_claims_of, visits_in_the_way, sync_visit_claims.
-- Watch for: like private.claims, these follow from rows: from completed sessions and their visits. Bookings claim the
--            booked times in private.claims; here are the actual ones, so that a visit that ran long meets the next one
--            when it is completed, and not the booking of somebody else. A visit that an admin let overlap claims what
--            nobody else claims.

create table private.visit_claims (
  organization_id uuid not null,
  session_id uuid not null,
  group_key uuid not null,
  resource_kind public.resource_kind not null check (resource_kind in ('therapist', 'client')),
  resource_id uuid not null,
  during private.claimed_range not null,
  lanes private.claimed_lanes not null,
  primary key (organization_id, session_id, resource_kind, during, lanes),
  foreign key (organization_id, session_id) references public.sessions (organization_id, id),
  -- Never deferrable: "on conflict do nothing" needs an immediate arbiter.
  constraint visits_no_overlap exclude using gist (
    organization_id with =, resource_id with =, during with &&, resource_kind with =, lanes with &&, group_key with <>
  )
);
comment on table private.visit_claims is
  'The actual time of completed visits, on their therapist and their client. This one constraint decides that no two '
  'visits of one therapist overlap, and no two of one client in services that the payers forbid together.';
comment on column private.visit_claims.group_key is 'Equal for the members of one group, who share their therapist.';
comment on column private.visit_claims.during is
  'From its actual begin to its actual end, [begin, end); as it was booked where nobody recorded an end.';
comment on column private.visit_claims.lanes is
  'All lanes of a therapist; of a client the session''s: services that the payers allow at once share none.';
alter table private.visit_claims enable row level security;
create policy deny_all on private.visit_claims using (false);
create trigger refuse_derived_write before insert or update or delete on private.visit_claims
  for each statement
  when (current_setting('therapist_sessions.within', true) is distinct from 'booking')
  execute function private.refuse_derived_write();
create trigger refuse_truncate before truncate on private.visit_claims
  for each statement execute function private.refuse_derived_write();

create index session_visits_overlap_idx on public.session_visits (organization_id, session_id)
  where overlap_reason is not null;

create function private.claims_of_visit(session public.sessions, begun timestamptz, ended timestamptz)
returns private.visit_claims[]
language plpgsql
immutable
set search_path = ''
as $$
declare
  during tstzrange;
begin
  if session.status <> 'completed' then
    return '{}';
  end if;
  during := case
    when ended is null then tstzrange(session.start_time, session.end_time, '[)') else tstzrange(begun, ended, '[)')
  end;
  return array[
    row(
      session.organization_id, session.id, session.group_key, 'therapist', session.therapist_id, during,
      '{[0,2147483647)}'::int4multirange
    ),
    row(
      session.organization_id, session.id, session.group_key, 'client', session.client_id, during, session.lanes
    )
  ]::private.visit_claims[];
end
$$;
comment on function private.claims_of_visit(public.sessions, timestamptz, timestamptz) is
  'What a visit claims: its therapist and its client, once it is completed. Without an end, the times it was booked for.';

create function private.visit_claims_of(organization_id uuid, session_ids uuid[])
returns private.visit_claims[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return array(
    select claim
    from unnest(session_ids) as named (id)
    cross join lateral (
      select known from public.sessions as known
      where known.organization_id = visit_claims_of.organization_id and known.id = named.id offset 0
    ) as session
    left join lateral (
      select known.actual_start_time, known.actual_end_time from public.session_visits as known
      where known.organization_id = visit_claims_of.organization_id and known.session_id = named.id offset 0
    ) as visit on true
    cross join lateral unnest(private.claims_of_visit(
      session.known, visit.actual_start_time, visit.actual_end_time
    )) as claim
  );
end
$$;
comment on function private.visit_claims_of(uuid, uuid[]) is 'What the visits of these sessions claim, as their rows say.';

create function private.visits_in_the_way(wanted private.visit_claims[], actor private.actor)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    select jsonb_agg(
      jsonb_build_object(
        'resource', claim.resource_kind,
        -- Two therapists may treat one client: which visit of somebody else it is, is not told.
        'sessionId', case when actor.role in ('admin', 'super_admin') or session.therapist_id = actor.user_id then other.session_id end,
        'startTime', private.iso(greatest(lower(claim.during), lower(other.during))),
        'endTime', private.iso(least(upper(claim.during), upper(other.during)))
      )
      order by claim.resource_kind, lower(other.during), other.session_id
    )
    from unnest(wanted) as claim
    cross join lateral (
      select known.session_id, known.during from private.visit_claims as known
      where known.organization_id = claim.organization_id
        and known.resource_id = claim.resource_id
        and known.resource_kind = claim.resource_kind
        and known.during && claim.during
        and known.lanes && claim.lanes
        and known.group_key <> claim.group_key
      offset 0
    ) as other
    join public.sessions as session
      on session.organization_id = claim.organization_id and session.id = other.session_id
  );
end
$$;
comment on function private.visits_in_the_way(private.visit_claims[], private.actor) is
  'The visits that overlap these claims, as [{resource, sessionId, startTime, endTime}]: which person would be in two '
  'places, and when. sessionId is null unless the caller may read that session. Null: nothing is in the way.';

create function private.claim_leftovers(organization_id uuid, session_ids uuid[], resource_ids uuid[])
returns void
language plpgsql
set search_path = ''
as $$
declare
  wanted record;
begin
  -- One by one, since two that were let overlap may want the same time; there are few of them.
  for wanted in
    select claim.session_id, claim.group_key, array_agg(row(
      claim.resource_kind, claim.resource_id, tstzmultirange(claim.during::tstzrange), claim.lanes
    )::private.cell) as cells
    from unnest(private.visit_claims_of(organization_id, session_ids)) as claim
    where claim.resource_id = any (resource_ids)
    group by claim.session_id, claim.group_key
    order by claim.session_id
  loop
    insert into private.visit_claims
    select claim_leftovers.organization_id, wanted.session_id, wanted.group_key, cell.resource_kind, cell.resource_id,
      piece.during, cell.lanes
    from unnest(private.subtract_cells(wanted.cells, array(
      select row(known.resource_kind, known.resource_id, tstzmultirange(known.during::tstzrange), known.lanes)::private.cell
      from unnest(wanted.cells) as cell
      join private.visit_claims as known
        on known.organization_id = claim_leftovers.organization_id
        and known.resource_id = cell.resource_id
        and known.resource_kind = cell.resource_kind
        and known.during && range_merge(cell.times)
      where known.group_key <> wanted.group_key or known.session_id = wanted.session_id
    ))) as cell
    cross join lateral unnest(cell.times) as piece (during);
  end loop;
end
$$;
comment on function private.claim_leftovers(uuid, uuid[], uuid[]) is
  'Visits that an admin let overlap claim what nobody else claims of these people''s time.';

create function private.sync_visit_claims(organization_id uuid, session_ids uuid[])
returns boolean
language plpgsql
security definer
set search_path = ''
as $$
declare
  wanted private.visit_claims[];
  former private.visit_claims[];
  let_overlap uuid[];
  taken bigint;
begin
  with gone as (
    delete from private.visit_claims as claim
    using (select distinct named.id from unnest(session_ids) as named (id)) as owner
    where claim.organization_id = sync_visit_claims.organization_id and claim.session_id = owner.id
    returning claim.*
  )
  select array_agg(row(gone.*)::private.visit_claims) into former from gone;

  let_overlap := array(
    select visit.session_id from public.session_visits as visit
    where visit.organization_id = sync_visit_claims.organization_id and visit.overlap_reason is not null
      and visit.session_id = any (session_ids)
  );
  wanted := private.visit_claims_of(organization_id, array(
    select unnest(session_ids) except select unnest(let_overlap)
  ));
  -- The constraint decides, whatever was seen before.
  insert into private.visit_claims select claim.* from unnest(wanted) as claim on conflict do nothing;
  get diagnostics taken = row_count;
  if taken < cardinality(wanted) then
    return false;
  end if;
  if let_overlap <> '{}' then
    perform private.claim_leftovers(organization_id, let_overlap, array(
      select claim.resource_id from unnest(private.visit_claims_of(organization_id, let_overlap)) as claim
    ));
  end if;
  if former is not null then
    -- What others were let overlap with may be gone: the time is theirs now.
    perform private.claim_leftovers(
      sync_visit_claims.organization_id, array_agg(visit.session_id),
      array(select gone.resource_id from unnest(former) as gone)
    )
    from public.session_visits as visit
    join public.sessions as session
      on session.organization_id = visit.organization_id and session.id = visit.session_id
    where visit.organization_id = sync_visit_claims.organization_id
      and visit.overlap_reason is not null
      and visit.session_id <> all (session_ids)
      and exists (
        select from unnest(former) as gone
        where gone.resource_id in (session.therapist_id, session.client_id)
          and gone.during && tstzrange(visit.actual_start_time, visit.actual_end_time, '[)')
      )
    having count(*) > 0;
  end if;
  return true;
end
$$;
comment on function private.sync_visit_claims(uuid, uuid[]) is
  'Makes the claims of these sessions'' visits what their rows say. False: another visit is in the way, and the caller '
  'undoes what it wrote. Call it with the resources locked, or alone in the organization.';

create function private.settle_visits(organization_id uuid, session_ids uuid[])
returns void
language plpgsql
security definer
set search_path = ''
as $$
declare
  former constant text := private.enter_booking();
begin
  if not private.sync_visit_claims(organization_id, session_ids) then
    raise exception using
      errcode = 'exclusion_violation',
      constraint = 'visits_no_overlap',
      schema = 'private',
      table = 'visit_claims',
      message = 'the visit overlaps another completed visit of the same therapist or client in actual time',
      hint = 'Correct the times of one of them. An admin may let them overlap, with a reason, through complete_session or correct_visit.';
  end if;
  perform private.leave_booking(null, former);
end
$$;
comment on function private.settle_visits(uuid, uuid[]) is
  'Gives visits that were written directly exactly their claims, or raises exclusion_violation (23P01), which undoes the write.';

create function private.settle_completed()
returns trigger
language plpgsql
security definer
set search_path = ''
set plan_cache_mode = 'force_generic_plan'
as $$
begin
  perform private.settle_visits(written.organization_id, written.ids)
  from (
    select completed.organization_id, array_agg(completed.id) as ids
    from (
      select session.organization_id, session.id from new_rows as session where session.status = 'completed'
      except
      select session.organization_id, session.id from old_rows as session where session.status = 'completed'
    ) as completed
    group by completed.organization_id
  ) as written;
  return null;
end
$$;
comment on function private.settle_completed() is 'Trigger: sessions completed directly claim the time of their visits, or fail.';
create trigger d_settle_completed after update on public.sessions
  referencing old table as old_rows new table as new_rows for each statement
  when (current_setting('therapist_sessions.within', true) is distinct from 'booking' or current_user <> 'postgres')
  execute function private.settle_completed();

create function private.guard_visit()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  if (new.organization_id, new.session_id) is distinct from (old.organization_id, old.session_id) and tg_op = 'UPDATE' then
    raise exception using
      errcode = 'check_violation', message = 'organization_id and session_id of a visit never change',
      hint = 'Correct the visit through correct_visit.';
  end if;
  perform private.take_row_organization(new.organization_id);
  return new;
end
$$;
comment on function private.guard_visit() is
  'Trigger: a visit that is written directly stays its session''s, and its organization is the writer''s alone.';
create trigger a_take_organization before insert or update on public.session_visits
  for each statement
  when (current_setting('therapist_sessions.within', true) is distinct from 'booking' or current_user <> 'postgres')
  execute function private.take_written_organization();
create trigger b_guard_visit before insert or update on public.session_visits
  for each row
  when (current_setting('therapist_sessions.within', true) is distinct from 'booking' or current_user <> 'postgres')
  execute function private.guard_visit();

create function private.settle_written_visits()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.settle_visits(written.organization_id, written.ids)
  from (
    select visit.organization_id, array_agg(visit.session_id) as ids from new_rows as visit group by visit.organization_id
  ) as written;
  return null;
end
$$;
comment on function private.settle_written_visits() is 'Trigger: visits whose times are written directly claim them, or fail.';
create trigger c_settle_inserted after insert on public.session_visits
  referencing new table as new_rows for each statement
  when (current_setting('therapist_sessions.within', true) is distinct from 'booking' or current_user <> 'postgres')
  execute function private.settle_written_visits();
create trigger c_settle_updated after update on public.session_visits
  referencing new table as new_rows for each statement
  when (current_setting('therapist_sessions.within', true) is distinct from 'booking' or current_user <> 'postgres')
  execute function private.settle_written_visits();

-- === schemas/clinical/corrections.sql ===

-- Purpose: a completed record changes in one way: corrected, with a reason, by an admin or soon after by its therapist.
-- Objects: visit_versions (what was before each correction), private.visit_version; correct_visit.
-- Watch for: the rows of session_visits and sessions are what holds now. A version says what they were before it, and
--            version 1 is what was completed first. Units follow in the same transaction, and a note that was signed for
--            something else waits to be amended.

create table public.visit_versions (
  organization_id uuid not null,
  session_id uuid not null,
  version integer not null check (version > 0),
  status public.session_status not null,
  actual_start_time timestamptz,
  actual_end_time timestamptz,
  units integer,
  other_day_reason text,
  overlap_reason text,
  cpt_code text,
  cpt_modifiers text[] not null,
  location_type text,
  undo text check (undo in ('completion', 'start', 'no_show')),
  reason_code text not null
    check (reason_code in ('wrong_time', 'wrong_service', 'wrong_place', 'by_mistake', 'payer_request', 'other')),
  remark text check (length(remark) between 1 and 500),
  corrected_by uuid not null,
  corrected_at timestamptz not null,
  primary key (organization_id, session_id, version),
  foreign key (organization_id, session_id) references public.sessions (organization_id, id)
);
comment on table public.visit_versions is
  'What a visit was before each correction, and why it was corrected. Rows are inserted by correct_visit and never change.';
comment on column public.visit_versions.undo is 'The step that was taken back; null when facts were corrected.';
alter table public.visit_versions enable row level security;
create policy sessions_scoped_access on public.visit_versions for select to authenticated
  using (
    organization_id = (select private.active_organization_id())
    and (
      (select private.is_admin())
      or exists (
        select 1
        from public.sessions as session
        where session.organization_id = visit_versions.organization_id
          and session.id = visit_versions.session_id
          and session.therapist_id = (select auth.uid())
          and (select private.active_role()) = 'therapist'
      )
    )
  );
comment on policy sessions_scoped_access on public.visit_versions is
  'Admins see their organization''s; therapists those of their own sessions.';
grant select on public.visit_versions to authenticated, service_role;
create trigger refuse_update before update on public.visit_versions
  for each row execute function private.refuse_update();
create trigger refuse_delete before delete on public.visit_versions
  for each row execute function private.refuse_delete();
create trigger refuse_truncate before truncate on public.visit_versions
  for each statement execute function private.refuse_delete();

create function private.visit_version(organization_id uuid, session_id uuid)
returns integer
language plpgsql
stable
set search_path = ''
as $$
begin
  return 1 + coalesce((
    select max(known.version) from public.visit_versions as known
    where known.organization_id = visit_version.organization_id and known.session_id = visit_version.session_id
  ), 0);
end
$$;
comment on function private.visit_version(uuid, uuid) is 'The version of a visit as it is now: 1 until it is corrected.';

create function private.ask_for_amendment()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  update public.session_note_states as note
  set status = 'needs_amendment', updated_at = new.corrected_at
  from public.sessions as session
  left join public.session_visits as visit
    on visit.organization_id = session.organization_id and visit.session_id = session.id
  where note.organization_id = new.organization_id and note.session_id = new.session_id
    and note.status in ('signed', 'amended')
    and session.organization_id = new.organization_id and session.id = new.session_id
    and (
      session.cpt_code, session.cpt_modifiers, session.location_type, visit.actual_start_time, visit.actual_end_time
    ) is distinct from (
      new.cpt_code, new.cpt_modifiers, new.location_type, new.actual_start_time, new.actual_end_time
    );
  return null;
end
$$;
comment on function private.ask_for_amendment() is
  'Trigger: a signed note stands for the facts of its visit. When a correction changed one, the note waits to be amended.';
create trigger ask_for_amendment after insert on public.visit_versions
  for each row execute function private.ask_for_amendment();

create function private.visit_facts(session public.sessions, visit public.session_visits)
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
begin
  return private.facts_of_rows(jsonb_build_array(to_jsonb(session) || jsonb_build_object(
    'actual_start_time', visit.actual_start_time, 'actual_end_time', visit.actual_end_time, 'units', visit.units
  )));
end
$$;
comment on function private.visit_facts(public.sessions, public.session_visits) is 'What of a visit belongs in its audit event.';

create function private.rewrite_session(before public.sessions, after public.sessions, as_of timestamptz)
returns private.obstacle
language plpgsql
set search_path = ''
as $$
declare
  place private.place;
  slot private.slot;
  obstacle private.obstacle;
begin
  update public.sessions as session
  set status = after.status, cpt_code = after.cpt_code, cpt_modifiers = after.cpt_modifiers,
    location_type = after.location_type, lanes = after.lanes, updated_at = as_of
  where session.organization_id = after.organization_id and session.id = after.id;
  if (after.status, after.lanes) is distinct from (before.status, before.lanes)
    and not private.sync_claims(after.organization_id, after.id || private.claim_dependents(after.organization_id, array[after.id]))
  then
    raise exception using errcode = 'exclusion_violation';
  end if;
  return null;
exception
  when exclusion_violation then
    -- The update is undone; what is in its way is told as a booking would be.
    place := row(
      after.id, after.group_key, after.therapist_id, after.room_id, after.buffer_before_minutes, after.buffer_after_minutes,
      after.client_id, after.lanes, after.start_time, after.end_time, null
    );
    if after.group_id is not null then
      select known.room_id, known.buffer_before_minutes, known.buffer_after_minutes
      into place.room_id, place.buffer_before_minutes, place.buffer_after_minutes
      from public.session_groups as known
      where known.organization_id = after.organization_id and known.id = after.group_id;
    end if;
    slot.hold_id := after.id;
    slot.group_id := after.group_id;
    slot.occurrence_index := 0;
    obstacle := private.find_conflicts(
      array[slot], private.claimed(after.organization_id, array[place]), array[after.id, after.group_key], as_of
    );
    obstacle.conflicts := coalesce(obstacle.conflicts, '[]');
    return obstacle;
end
$$;
comment on function private.rewrite_session(public.sessions, public.sessions, timestamptz) is
  'Gives a session its corrected status, service and place, with the claims of those; or says what stands in its way, and '
  'leaves everything as it was. No conflicts: it is done. Call it with the row and the resources locked.';

create function private.corrected_session(session public.sessions, wanted private.correction_request)
returns public.sessions
language plpgsql
stable
set search_path = ''
as $$
declare
  on_date constant date := private.service_date(session.organization_id, session.client_id, session.start_time);
  code constant text := upper(private.tidy(wanted.cpt_code));
  modifiers constant text[] := private.modifiers_of(row(wanted.cpt_code, wanted.modifiers));
  members integer := 1;
  issue text;
begin
  if wanted.undo is not null then
    session.status := case
      when wanted.undo = 'completion' then 'in_progress'
      when wanted.undo = 'no_show' and exists (
        select from public.session_visits as visit
        where visit.organization_id = session.organization_id and visit.session_id = session.id
      ) then 'in_progress'
      else 'scheduled'
    end;
    if wanted.undo = 'no_show' then
      -- The payers' rules may have changed while it claimed nothing.
      session.lanes := private.client_lanes(
        session.organization_id, session.client_id,
        private.service_code(session.organization_id, session.cpt_code, session.session_type, on_date),
        session.start_time, session.end_time
      );
    end if;
    return session;
  end if;
  session.location_type := coalesce(private.tidy(wanted.location_type), session.location_type);
  if code is distinct from session.cpt_code and code is not null then
    if session.group_id is not null then
      members := (
        select count(*) from public.sessions as member
        where member.organization_id = session.organization_id and member.group_id = session.group_id
          and member.status not in ('cancelled', 'no_show')
      );
    end if;
    issue := coalesce(
      private.service_issue(session.organization_id, code, on_date, members),
      case when not private.may_render(session.organization_id, session.therapist_id, code, on_date)
        then 'a technician cannot render a service that is a qualified professional''s' end
    );
    if issue is not null then
      perform private.raise_invalid(private.issue('cpt_code', issue));
    end if;
    session.cpt_code := code;
    session.lanes := private.client_lanes(
      session.organization_id, session.client_id, code, session.start_time, session.end_time
    );
    -- Another service without modifiers has those its payer wants, as when it is booked.
    session.cpt_modifiers := private.default_modifiers(
      session.organization_id, private.primary_payer(session.organization_id, session.client_id, on_date), code,
      private.credential_on(session.organization_id, session.therapist_id, on_date), session.location_type, on_date
    );
  end if;
  session.cpt_modifiers := coalesce(modifiers, session.cpt_modifiers, '{}');
  return session;
end
$$;
comment on function private.corrected_session(public.sessions, private.correction_request) is
  'The session as a correction wants it; PT400 for a service that cannot have been rendered.';

create function private.corrected_visit(
  session public.sessions,
  visit public.session_visits,
  wanted private.correction_request,
  as_of timestamptz
)
returns public.session_visits
language plpgsql
stable
set search_path = ''
as $$
begin
  if wanted.undo = 'start' then
    return null;
  elsif wanted.undo is not null then
    -- When it ended stays: what was signed still is.
    visit.units := null;
    visit.overlap_reason := null;
    return visit;
  end if;
  visit.organization_id := session.organization_id;
  visit.session_id := session.id;
  visit.actual_start_time := private.whole_minute(
    coalesce(wanted.actual_start_time::timestamptz, visit.actual_start_time, session.start_time)
  );
  visit.actual_end_time := private.whole_minute(
    coalesce(wanted.actual_end_time::timestamptz, visit.actual_end_time, session.end_time)
  );
  visit.other_day_reason := coalesce(private.tidy(wanted.other_day_reason), visit.other_day_reason);
  -- When it was first recorded, for the days within which the therapist may correct it.
  visit.recorded_at := coalesce(visit.recorded_at, session.end_time);
  perform private.check_visit(
    session, visit.actual_start_time, visit.actual_end_time, visit.other_day_reason, as_of
  );
  select private.billable_units(extract(epoch from visit.actual_end_time - visit.actual_start_time) / 60, rule.rounding)
  into visit.units
  from private.session_payer_rule(session) as rule;
  return visit;
end
$$;
comment on function private.corrected_visit(public.sessions, public.session_visits, private.correction_request, timestamptz) is
  'The visit as a correction wants it, with its units; null when its start is undone. session: corrected already. PT400 for '
  'times it cannot have had.';

create function private.correction_issue(
  actor private.actor,
  session public.sessions,
  visit public.session_visits,
  wanted private.correction_request,
  as_of timestamptz
)
returns private.cause
language plpgsql
stable
set search_path = ''
as $$
declare
  cause private.cause;
  days constant integer := (
    select organization.correction_days from public.organizations as organization
    where organization.id = session.organization_id
  );
  version constant integer := private.visit_version(session.organization_id, session.id);
begin
  if actor.role = 'therapist' and as_of > days * interval '1 day' + (
    case when visit.actual_end_time is not null then visit.recorded_at else session.end_time end
  ) then
    cause.code := 'FORBIDDEN';
    cause.detail := format('After %s days only an admin corrects a visit.', days);
  elsif wanted.base_version <> version then
    cause.code := 'VISIT_VERSION_CONFLICT';
    cause.detail := format('The visit is at version %s, not %s. Read it again, then correct it.', version, wanted.base_version);
  elsif session.status::text <> (
    case wanted.undo when 'start' then 'in_progress' when 'no_show' then 'no_show' else 'completed' end
  ) then
    cause.code := 'STATUS_NOT_ALLOWED';
    cause.detail := format('A session that is %s cannot be corrected like this. Reload it.', session.status);
  elsif wanted.undo = 'no_show' and session.group_id is not null and private.group_size_limit() < 1
    + private.group_joiners(session.organization_id, session.group_id, as_of) + (
      select count(*) from public.sessions as member
      where member.organization_id = session.organization_id and member.group_id = session.group_id
        and member.status not in ('cancelled', 'no_show')
    )
  then
    cause.code := 'GROUP_FULL';
    cause.detail := 'The place in the group was given away.';
  end if;
  return cause;
end
$$;
comment on function private.correction_issue(
  private.actor, public.sessions, public.session_visits, private.correction_request, timestamptz
) is 'Who may not correct a visit any more, or not in the state it is in. No code: nothing stands in the way.';

create function private.write_correction(
  actor private.actor,
  session public.sessions,
  visit public.session_visits,
  corrected public.session_visits,
  wanted private.correction_request,
  as_of timestamptz
)
returns integer
language plpgsql
set search_path = ''
as $$
begin
  if corrected.session_id is null then
    delete from public.session_visits as known
    where known.organization_id = session.organization_id and known.session_id = session.id;
  else
    insert into public.session_visits select corrected.*
    on conflict (organization_id, session_id) do update
    set actual_start_time = excluded.actual_start_time, actual_end_time = excluded.actual_end_time,
      units = excluded.units, other_day_reason = excluded.other_day_reason, overlap_reason = excluded.overlap_reason;
  end if;
  -- After the rows have changed: its trigger compares what was with what is.
  insert into public.visit_versions (
    organization_id, session_id, version, status, actual_start_time, actual_end_time, units, other_day_reason,
    overlap_reason, cpt_code, cpt_modifiers, location_type, undo, reason_code, remark, corrected_by, corrected_at
  )
  values (
    session.organization_id, session.id, wanted.base_version, session.status, visit.actual_start_time,
    visit.actual_end_time, visit.units, visit.other_day_reason, visit.overlap_reason, session.cpt_code,
    session.cpt_modifiers, session.location_type, wanted.undo, wanted.reason_code, private.tidy(wanted.remark), actor.user_id, as_of
  );
  -- What a live move takes is the difference to what its session has: both are counted anew.
  perform private.reenter_units(session.organization_id, array[session.id], array(
    select hold.id from public.session_holds as hold
    where hold.organization_id = session.organization_id and hold.session_id = session.id and hold.status = 'held'
  ));
  return private.use_units_of_day(session);
end
$$;
comment on function private.write_correction(
  private.actor, public.sessions, public.session_visits, public.session_visits, private.correction_request, timestamptz
) is
  'Writes a corrected visit, keeps what was before as a version, and counts its units anew: what goes beyond the '
  'authorization is entered as beyond it. Returns its units, null when it is not completed any more.';

create function private.correct_visit(request jsonb, request_id text)
returns jsonb
language plpgsql
security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '5s'
as $$
declare
  actor private.actor := private.begin_booking(request_id);
  wanted private.correction_request := private.read_correction_request(request);
  session public.sessions;
  after public.sessions;
  visit public.session_visits;
  corrected public.session_visits;
  cause private.cause;
  obstacle private.obstacle;
  claims private.visit_claims[];
  other_visits jsonb;
  refusal jsonb;
  as_of timestamptz;
begin
  perform private.share_organization(actor.organization_id);
  -- A second correction, or a completion, would act on the state this one is changing.
  select candidate.* into session
  from public.sessions as candidate
  where candidate.organization_id = actor.organization_id
    and candidate.id = wanted.session_id
    and (actor.role in ('admin', 'super_admin') or (actor.role = 'therapist' and candidate.therapist_id = actor.user_id))
  for no key update;
  if session.id is null then
    return private.refuse(
      actor, 'session.refused', array[wanted.session_id], 'FORBIDDEN', 'This session is not yours to correct.',
      details => '{"attempted": "correct"}'
    );
  end if;
  -- A hold that reads the units left, or the free time, would read what is no longer so.
  perform private.lock_resources(
    actor.organization_id, private.lock_targets(actor.organization_id, array[session.id])
  );
  as_of := clock_timestamp();
  -- Asked again: they may have been removed while this waited.
  actor := private.require_actor();
  select known.* into visit
  from public.session_visits as known
  where known.organization_id = actor.organization_id and known.session_id = session.id;
  cause := private.correction_issue(actor, session, visit, wanted, as_of);
  if cause.code is not null then
    return private.refuse(
      actor, 'session.refused', array[session.id], cause.code, cause.detail, session.therapist_id,
      details => '{"attempted": "correct"}'
    );
  end if;

  after := private.corrected_session(session, wanted);
  corrected := private.corrected_visit(after, visit, wanted, as_of);
  if after = session and corrected is not distinct from visit and wanted.undo is null then
    perform private.raise_invalid(private.issue('', 'changes nothing: the visit is recorded like this already'));
  end if;
  -- What an admin let overlap stays let while its time, its people and its service stay.
  claims := private.claims_of_visit(after, corrected.actual_start_time, corrected.actual_end_time);
  if claims <> private.claims_of_visit(session, visit.actual_start_time, visit.actual_end_time) then
    other_visits := private.visits_in_the_way(claims, actor);
    refusal := private.visit_overlap_refusal(actor, session, other_visits, 'correct', private.tidy(wanted.overlap_reason));
    if refusal is not null then
      return refusal;
    end if;
    corrected.overlap_reason := case when other_visits is not null then private.tidy(wanted.overlap_reason) end;
  end if;
  obstacle := private.rewrite_session(session, after, as_of);
  if obstacle.conflicts is not null then
    cause := jsonb_populate_record(null::private.cause, private.conflict_code(obstacle.conflicts, obstacle.concurrent_lanes));
    return private.refuse(
      actor, 'session.refused', array[session.id], cause.code, cause.detail, session.therapist_id, obstacle.retry_after,
      obstacle.conflicts, details => '{"attempted": "correct"}'
    );
  end if;
  corrected.units := private.write_correction(actor, session, visit, corrected, wanted, as_of);
  if not private.sync_visit_claims(actor.organization_id, array[session.id]) then
    -- Only a visit that was written without these locks; asked again, it is found above.
    raise exception using errcode = 'serialization_failure', message = 'a visit appeared that was not there before';
  elsif other_visits is not null then
    perform private.record_overlap(actor, after, other_visits, corrected.overlap_reason, as_of);
  end if;
  after.updated_at := as_of;
  perform private.record_event(
    actor.organization_id, 'visit.corrected', 'session', array[session.id], as_of,
    therapist_id => session.therapist_id, actor_role => actor.role::text,
    before => private.visit_facts(session, visit), after => private.visit_facts(after, corrected),
    details => jsonb_strip_nulls(jsonb_build_object(
      'version', wanted.base_version + 1, 'reasonCode', wanted.reason_code, 'undo', wanted.undo
    ))
  );
  return private.success(jsonb_build_object(
    'session', private.session_row(actor.organization_id, session.id), 'version', wanted.base_version + 1,
    'actualStartTime', private.iso(corrected.actual_start_time), 'actualEndTime', private.iso(corrected.actual_end_time),
    'units', corrected.units, 'noteStatus', (
      select note.status from public.session_note_states as note
      where note.organization_id = actor.organization_id and note.session_id = session.id
    )
  ));
exception
  when lock_not_available or deadlock_detected or serialization_failure or query_canceled then
    perform private.raise_busy(sqlstate, sqlerrm);
end
$$;
comment on function private.correct_visit(jsonb, text) is 'See the public wrapper.';
grant execute on function private.correct_visit(jsonb, text) to authenticated;

create function public.correct_visit(request jsonb, request_id text default null)
returns jsonb
language sql
volatile
set search_path = ''
begin atomic
  select private.leave_booking(private.correct_visit(correct_visit.request, correct_visit.request_id));
end;
comment on function public.correct_visit(jsonb, text) is
  'Corrects a completed visit, or takes one step back. request is {session_id, base_version, actual_start_time?, '
  'actual_end_time?, other_day_reason?, overlap_reason?, cpt_code?, modifiers?, location_type?, undo?: "completion" | "start" | "no_show", '
  'reason_code: "wrong_time" | "wrong_service" | "wrong_place" | "by_mistake" | "payer_request" | "other", remark?}; undo '
  'stands without other changes, "other" needs a remark. base_version: 1 until the visit is corrected, then the version of '
  'the last answer. An admin, or its therapist within organizations.correction_days of completion. Outcome body: {session, '
  'version, actualStartTime, actualEndTime, units, noteStatus}; noteStatus needs_amendment: a signed fact has changed. 403 '
  'FORBIDDEN; 409 VISIT_VERSION_CONFLICT, STATUS_NOT_ALLOWED, VISIT_OVERLAPS as complete_session, and for an undone no-show whose time was given away the '
  'conflicts of a booking, or GROUP_FULL.';
grant execute on function public.correct_visit(jsonb, text) to authenticated;

-- === schemas/payers/credentials.sql ===

-- Purpose: which credential a therapist had on a day.
-- Objects: therapist_credentials; private.credential_on.
-- Watch for: therapists.credential is today's. What is judged by the day of service (modifiers, supervision) asks here, so
--            that a promotion changes nothing of the months before it.

create table public.therapist_credentials (
  organization_id uuid not null,
  therapist_id uuid not null,
  credential text not null check (credential in ('RBT', 'BCaBA', 'BCBA', 'BCBA-D')),
  valid_from date not null check (isfinite(valid_from)),
  valid_to date check (valid_to >= valid_from),
  level public.provider_level not null generated always as (private.provider_level(credential)) stored,
  primary key (organization_id, therapist_id, valid_from),
  foreign key (organization_id, therapist_id) references public.therapists (organization_id, id),
  constraint therapist_credentials_one_a_day exclude using gist (
    organization_id with =, therapist_id with =, daterange(valid_from, valid_to, '[]') with &&
  )
);
comment on table public.therapist_credentials is
  'Each therapist''s credentials, by local day. Kept by a trigger on therapists; an operator may correct the days.';
comment on column public.therapist_credentials.valid_to is 'The last day; null for the one they have.';

create function private.keep_credential()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  today constant date := private.service_date(new.organization_id, null, clock_timestamp());
begin
  if tg_op = 'INSERT' then
    -- What they were before they were entered is not known otherwise.
    insert into public.therapist_credentials (organization_id, therapist_id, credential, valid_from)
    values (new.organization_id, new.id, new.credential, date '2000-01-01');
    return null;
  end if;
  update public.therapist_credentials as known
  set valid_to = today - 1
  where known.organization_id = new.organization_id
    and known.therapist_id = new.id
    and known.valid_to is null
    and known.valid_from < today;
  insert into public.therapist_credentials as known (organization_id, therapist_id, credential, valid_from)
  values (new.organization_id, new.id, new.credential, today)
  on conflict (organization_id, therapist_id, valid_from) do update
  set credential = excluded.credential;
  return null;
end
$$;
comment on function private.keep_credential() is 'Trigger: a changed credential counts from today on, in the organization''s zone.';
create trigger c_keep_entered_credential after insert on public.therapists
  for each row execute function private.keep_credential();
create trigger c_keep_changed_credential after update on public.therapists
  for each row when (new.credential is distinct from old.credential) execute function private.keep_credential();

create function private.credential_on(organization_id uuid, therapist_id uuid, on_date date)
returns text
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    select known.credential
    from public.therapist_credentials as known
    where known.organization_id = credential_on.organization_id
      and known.therapist_id = credential_on.therapist_id
      and on_date >= known.valid_from
      and on_date <= coalesce(known.valid_to, 'infinity')
  );
end
$$;
comment on function private.credential_on(uuid, uuid, date) is 'The credential a therapist had on a day; null before they were known.';

alter table public.therapist_credentials enable row level security;
create policy role_scoped_select on public.therapist_credentials for select to authenticated
  using (
    organization_id = (select private.active_organization_id())
    and (
      (select private.is_admin())
      or ((select private.active_role()) = 'therapist' and therapist_id = (select auth.uid()))
    )
  );
comment on policy role_scoped_select on public.therapist_credentials is 'As therapists: admins read all, therapists their own.';
grant select on public.therapist_credentials to authenticated, service_role;

-- === schemas/audit/proof.sql ===

-- Purpose: what shows that the audit is as it was written, and what an archive took over.
-- Objects: audit.verify, audit.checkpoint, audit.verify_checkpoint, audit.checkpoint_is_valid; audit.archives,
--          audit.archive_quarter.
-- Watch for: docs/audit-trail.md has a table of what each of these says of each kind of edit; tests/audit tries them all.
--            What an owner of the database can do unseen is in that table too: keep checkpoints where she cannot reach.

create table audit.archives (
  from_time timestamptz not null,
  to_time timestamptz not null,
  archived_at timestamptz not null default now(),
  location text not null check (location <> ''),
  events bigint not null,
  digest bytea not null,
  primary key (from_time),
  -- A span that reached further would excuse events that nobody archived.
  constraint archives_one_past_quarter check (
    (from_time at time zone 'UTC') = date_trunc('quarter', from_time at time zone 'UTC')
    and (to_time at time zone 'UTC') = (from_time at time zone 'UTC') + interval '3 months'
    and to_time <= archived_at
  )
);
comment on table audit.archives is
  'Quarters whose events were moved to an archive, and where. Their seals stay. Keep events at least six years (45 CFR '
  '164.316(b)(2)(i)), longer where a state asks for it.';
comment on column audit.archives.events is 'How many events the quarter had.';
comment on column audit.archives.digest is 'Of all their seals, see audit.span_digest.';
alter table audit.archives enable row level security;
create policy deny_all on audit.archives using (false);
comment on policy deny_all on audit.archives is 'Written by whoever archives, as the owner.';

create function audit.span_digest(from_time timestamptz, to_time timestamptz)
returns table (events bigint, digest bytea)
language plpgsql
stable
set search_path = ''
as $$
begin
  return query
  select coalesce(sum(chain.events), 0)::bigint,
    sha256(coalesce(string_agg(chain.digest, '' order by chain.organization_id, chain.chain_id), ''))
  from (
    select seal.organization_id, seal.chain_id, count(*) as events,
      sha256(string_agg(seal.digest, '' order by seal.seq)) as digest
    from audit.seals as seal
    where seal.event_recorded_at >= from_time and seal.event_recorded_at < to_time
    group by seal.organization_id, seal.chain_id
  ) as chain;
end
$$;
comment on function audit.span_digest(timestamptz, timestamptz) is
  'How many events were sealed of those recorded in a span, and a digest of their digests, chain by chain.';

create function audit.guard_archive()
returns trigger
language plpgsql
set search_path = ''
set timezone = 'UTC'
as $$
begin
  new.archived_at := now();
  -- Only what is here, whole, can be taken away: otherwise this row would excuse what somebody deleted before.
  if exists (
    select 1
    from audit.seals as seal
    left join audit.events as event
      on event.organization_id = seal.organization_id
      and event.recorded_at = seal.event_recorded_at
      and event.id = seal.event_id
    where seal.event_recorded_at >= new.from_time
      and seal.event_recorded_at < new.to_time
      and (event.id is null or audit.digest(to_jsonb(event)) <> seal.digest)
  ) then
    raise exception using
      errcode = 'restrict_violation',
      message = 'events of this quarter are missing or changed',
      hint = 'See audit.verify(). Archive a quarter before its partition is detached, with audit.archive_quarter.';
  end if;
  select span.events, span.digest into new.events, new.digest from audit.span_digest(new.from_time, new.to_time) as span;
  return new;
end
$$;
comment on function audit.guard_archive() is
  'Trigger: an archive takes over a quarter whose events are all here and as they were sealed, and says how many.';
create trigger guard_archive before insert on audit.archives
  for each row execute function audit.guard_archive();
create trigger refuse_change before update or delete on audit.archives
  for each row execute function audit.refuse_change();
create trigger refuse_truncate before truncate on audit.archives
  for each statement execute function audit.refuse_change();

create function audit.archive_quarter(quarter date, location text)
returns text
language plpgsql
set search_path = ''
as $$
declare
  begins timestamptz := quarter::timestamp at time zone 'UTC';
  partition text := 'events_' || to_char(quarter, 'YYYY_"q"Q');
begin
  if to_regclass('audit.' || partition) is null then
    raise exception using errcode = 'undefined_table', message = format('there is no partition audit.%s', partition);
  end if;
  insert into audit.archives (from_time, to_time, location)
  values (begins, (quarter + interval '3 months')::timestamp at time zone 'UTC', archive_quarter.location);
  execute format('alter table audit.events detach partition audit.%I', partition);
  return 'audit.' || partition;
end
$$;
comment on function audit.archive_quarter(date, text) is
  'Records that a quarter''s events are kept at location, and detaches their partition, whose name it returns. Write the '
  'archive first; drop the table when the archive has been read back.';

create function audit.seal_problem(seal audit.seals, previous audit.seals, event audit.events, is_archived boolean)
returns text
language plpgsql
stable
set search_path = ''
set timezone = 'UTC'
as $$
begin
  return case
    when seal.seq <> coalesce(previous.seq, 0) + 1 then 'a seal before this one is missing'
    when seal.hash <> audit.link(previous.hash, seal.digest, seal.sealed_at) then 'the seal was changed'
    when event.id is null and not is_archived then 'the event is missing'
    when event.id is not null and audit.digest(to_jsonb(event)) <> seal.digest then 'the event was changed'
    when event.id is not null and event.chain_id <> seal.chain_id then 'the event is sealed in another chain'
    when seal.event_recorded_at
      not between seal.sealed_at - interval '61 minutes' and seal.sealed_at + interval '1 minute'
      then 'the event is not of the time when it was sealed'
    when seal.sealed_at < previous.sealed_at - interval '1 minute' then 'the seal is older than the one before it'
  end;
end
$$;
comment on function audit.seal_problem(audit.seals, audit.seals, audit.events, boolean) is
  'What is wrong with a seal, given the one before it in its chain and its event (nulls where there is none), or null.';

create function audit.verify(only_organization_id uuid default null)
returns table (organization_id uuid, chain_id uuid, seq bigint, event_id uuid, problem text)
language plpgsql
stable
set search_path = ''
set timezone = 'UTC'
as $$
#variable_conflict use_column
begin
  return query
  with archive as materialized (
    select kept.from_time, kept.to_time,
      -- Asked here as well: whoever plants an archive may have dropped the constraint first.
      kept.to_time = ((kept.from_time at time zone 'UTC') + interval '3 months') at time zone 'UTC'
        and kept.to_time <= kept.archived_at
        and kept.archived_at <= clock_timestamp()
        and (span.events, span.digest) = (kept.events, kept.digest) as is_whole
    from audit.archives as kept
    cross join lateral audit.span_digest(kept.from_time, kept.to_time) as span
  ),
  link as (
    select seal, lag(seal) over (partition by seal.organization_id, seal.chain_id order by seal.seq) as previous
    from audit.seals as seal
    where only_organization_id is null or seal.organization_id = only_organization_id
  ),
  finding as (
    select (link.seal).organization_id, (link.seal).chain_id, (link.seal).seq, (link.seal).event_id,
      audit.seal_problem(link.seal, link.previous, event, event.id is null and exists (
        select 1
        from archive
        where archive.is_whole
          and (link.seal).event_recorded_at >= archive.from_time
          and (link.seal).event_recorded_at < archive.to_time
      )) as problem
    from link
    left join audit.events as event
      on event.organization_id = (link.seal).organization_id
      and event.recorded_at = (link.seal).event_recorded_at
      and event.id = (link.seal).event_id
    union all
    select
      coalesce(newest.organization_id, head.organization_id), coalesce(newest.chain_id, head.chain_id), newest.seq, null,
      case
        when head.seq is null then 'the head of the chain is missing'
        when newest.seq is null or newest.seq < head.seq then 'the newest events of the chain are missing'
        else 'the head of the chain was changed'
      end
    from (
      select distinct on (seal.organization_id, seal.chain_id) seal.organization_id, seal.chain_id, seal.seq, seal.hash
      from audit.seals as seal
      order by seal.organization_id, seal.chain_id, seal.seq desc
    ) as newest
    full join audit.chains as head
      on head.organization_id = newest.organization_id and head.chain_id = newest.chain_id
    where (only_organization_id is null or coalesce(newest.organization_id, head.organization_id) = only_organization_id)
      and (head.seq, head.hash) is distinct from (newest.seq, newest.hash)
    union all
    -- By time as well as by id: a copy of a genuine event under another time has no seal.
    select event.organization_id, event.chain_id, null, event.id, 'the event is not sealed'
    from audit.events as event
    where (only_organization_id is null or event.organization_id = only_organization_id)
      and not exists (
        select 1
        from audit.seals as seal
        where seal.organization_id = event.organization_id
          and seal.event_id = event.id
          and seal.event_recorded_at = event.recorded_at
      )
    union all
    select null, null, null, null,
      format('the archive of %s does not account for its events', coalesce(archive.from_time::text, 'no time'))
    from archive
    where not archive.is_whole and only_organization_id is null
  )
  select distinct on (finding.organization_id, finding.chain_id, finding.problem)
    finding.organization_id, finding.chain_id, finding.seq, finding.event_id, finding.problem
  from finding
  where finding.problem is not null
  order by finding.organization_id, finding.chain_id, finding.problem, finding.seq nulls last;
end
$$;
comment on function audit.verify(uuid) is
  'Checks every chain, or those of one organization, and names the first event of each for each kind of problem. No row: '
  'nothing was changed, as far as the chains themselves can tell; compare with a checkpoint kept elsewhere for the rest.';

create function audit.checkpoint(only_organization_id uuid default null)
returns jsonb
language plpgsql
stable
set search_path = ''
set timezone = 'UTC'
as $$
begin
  return jsonb_build_object(
    'takenAt', statement_timestamp(),
    'organizationId', only_organization_id,
    'heads', coalesce((
      select jsonb_agg(
        jsonb_build_object(
          'organizationId', head.organization_id, 'chainId', head.chain_id, 'seq', head.seq,
          'hash', encode(head.hash, 'hex')
        )
        order by head.organization_id, head.chain_id
      )
      from audit.chains as head
      where only_organization_id is null or head.organization_id = only_organization_id
    ), '[]'),
    'archives', coalesce((
      select jsonb_agg(
        jsonb_build_object(
          'fromTime', archive.from_time, 'location', archive.location, 'events', archive.events,
          'digest', encode(archive.digest, 'hex')
        )
        order by archive.from_time
      )
      from audit.archives as archive
      where only_organization_id is null
    ), '[]')
  );
end
$$;
comment on function audit.checkpoint(uuid) is
  'All chain heads and archives, or the heads of one organization, to be kept where an owner of this database cannot '
  'reach: what came before them can then no longer be removed, rewritten or added to unnoticed.';

create function audit.checkpoint_is_valid(checkpoint jsonb)
returns boolean
language plpgsql
immutable
set search_path = ''
as $$
begin
  return jsonb_typeof(checkpoint) = 'object'
    and jsonb_typeof(checkpoint -> 'heads') is not distinct from 'array'
    and coalesce(checkpoint ->> 'takenAt', '') ~ '^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(\+00:00|Z)$'
    and not jsonb_path_exists(checkpoint -> 'heads', '$[*] ? (!(
      @.organizationId like_regex "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
      && @.chainId like_regex "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$"
      && @.hash like_regex "^[0-9a-f]{64}$"
      && @.seq > 0 && @.seq < 1000000000000 && @.seq.floor() == @.seq
    ))')
    and (checkpoint ->> 'takenAt')::timestamptz is not null;
exception
  when others then return false;
end
$$;
comment on function audit.checkpoint_is_valid(jsonb) is 'Whether a JSON has the form of what audit.checkpoint returned.';

create function audit.verify_checkpoint(checkpoint jsonb)
returns table (organization_id uuid, chain_id uuid, seq bigint, problem text)
language plpgsql
stable
set search_path = ''
as $$
#variable_conflict use_column
begin
  if not audit.checkpoint_is_valid(checkpoint) then
    raise exception using errcode = 'invalid_parameter_value', message = 'this is not a checkpoint';
  end if;
  return query
  with head as materialized (
    select kept."organizationId" as organization_id, kept."chainId" as chain_id, kept.seq, kept.hash
    from jsonb_to_recordset(checkpoint -> 'heads') as kept ("organizationId" uuid, "chainId" uuid, seq bigint, hash text)
  ),
  archive as (
    select kept."fromTime" as from_time, kept.location, kept.digest
    from jsonb_to_recordset(coalesce(checkpoint -> 'archives', '[]'))
      as kept ("fromTime" timestamptz, location text, digest text)
  )
  select head.organization_id, head.chain_id, head.seq,
    case when seal.seq is null then 'events up to the checkpoint are missing' else 'the chain was rewritten' end
  from head
  left join audit.seals as seal
    on seal.organization_id = head.organization_id and seal.chain_id = head.chain_id and seal.seq = head.seq
  where seal.seq is null or encode(seal.hash, 'hex') <> head.hash
  union all
  -- A minute for transactions that had sealed, and not committed, when it was taken.
  select seal.organization_id, seal.chain_id, min(seal.seq), 'events from before the checkpoint were added after it'
  from audit.seals as seal
  left join head on head.organization_id = seal.organization_id and head.chain_id = seal.chain_id
  where seal.sealed_at < (checkpoint ->> 'takenAt')::timestamptz - interval '1 minute'
    and seal.seq > coalesce(head.seq, 0)
    and (checkpoint ->> 'organizationId' is null or seal.organization_id = (checkpoint ->> 'organizationId')::uuid)
  group by seal.organization_id, seal.chain_id
  union all
  select null, null, null, format('the archive of the quarter from %s is another', archive.from_time::date)
  from archive
  left join audit.archives as present on present.from_time = archive.from_time
  where (present.location, encode(present.digest, 'hex')) is distinct from (archive.location, archive.digest)
  order by 1, 2;
end
$$;
comment on function audit.verify_checkpoint(jsonb) is
  'Compares the chains with an exported checkpoint. No row: everything up to it is as it was, and nothing was added to it.';

-- === schemas/audit/actions.sql ===

-- Purpose: every action an audit event can have, in one place, with what it means.
-- Objects: audit.actions.
-- Watch for: tests/audit/actions.test.ts finds the actions that functions and triggers write, and fails when one of them is
--            not here, or one here is written by nothing. `npm run audit-docs` writes the list into docs/audit-trail.md.

create table audit.actions (
  action text primary key check (action ~ '^[a-z_]+\.[a-z_]+$'),
  meaning text not null
);
comment on table audit.actions is 'What each action of an audit event means. Refused ones say why in code.';
alter table audit.actions enable row level security;
create policy actions_select on audit.actions for select to authenticated using (true);
comment on policy actions_select on audit.actions is 'Reference data: every signed-in user may read what actions mean.';
grant select on audit.actions to authenticated, service_role;

insert into audit.actions (action, meaning)
values
  ('hold.acquired', 'A slot or series was held; an offer of the waitlist is one too.'),
  ('hold.refused', 'A hold was refused.'),
  ('hold.confirmed', 'A hold became sessions, or moved them.'),
  ('hold.released', 'Holds were given up before they ended.'),
  ('hold.expired', 'A hold ended unconfirmed: occurred_at says when, recorded_at when somebody first met it.'),
  ('confirmation.refused', 'A confirmation was refused.'),
  ('cancellation.refused', 'A cancellation was refused.'),
  ('override.availability', 'An admin booked outside the hours, with a reason.'),
  ('override.authorization', 'An admin booked beyond an authorization, with a reason.'),
  ('override.concurrency', 'An admin booked two services of one client at once, with a reason.'),
  ('override.visit_overlap', 'An admin let a visit overlap others in actual time, with a reason.'),
  ('session.inserted', 'A session was written directly rather than through a hold.'),
  ('session.moved', 'The time, people or room of a session changed.'),
  ('session.changed', 'Something else of a session changed.'),
  ('session.in_progress', 'A session began.'),
  ('visit.ended', 'When the visit of a session in progress ended was recorded.'),
  ('session.completed', 'A session was completed.'),
  ('session.cancelled', 'A session was cancelled.'),
  ('session.no_show', 'The client did not come.'),
  ('staff_time.added', 'Time without a client was entered.'),
  ('staff_time.changed', 'Time without a client was moved, or somebody takes part or not any more.'),
  ('staff_time.cancelled', 'Time without a client was cancelled.'),
  ('staff_time.refused', 'A request about time without a client was refused.'),
  ('visit.corrected', 'A visit was corrected, or a step was taken back (details.undo); visit_versions has what was.'),
  ('session.zone_resynced', 'A zone''s future sessions went back to their civil times (details.zone).'),
  ('session.refused', 'A start, a completion, a no-show, a correction or a resync was refused (details.attempted).'),
  ('note.saved', 'A draft of a note was saved.'),
  ('note.signed', 'A note was signed.'),
  ('note.amended', 'A signed note was amended.'),
  ('note.read', 'A note was read, or opened to be signed (details.purpose).'),
  ('note.history_read', 'The list of a note''s versions was read.'),
  ('note.refused', 'A request about a note was refused (details.attempted).'),
  ('note.drafts_removed', 'Drafts older than a signed version were removed; their ciphertext stays in note.saved.'),
  ('client_details.saved', 'Who a client is was saved.'),
  ('client_details.read', 'Who clients are was read.'),
  ('client_details.refused', 'A request about clients details was refused.'),
  ('data_key.created', 'A data key was started.'),
  ('data_key.rewrapped', 'A data key was wrapped anew.'),
  ('data_key.retired', 'A data key seals nothing new any more.'),
  ('data_key.refused', 'A data key was refused.'),
  ('membership.refused', 'A change of members was refused.'),
  ('therapist.refused', 'A change of a therapist''s hours was refused.'),
  ('organization.added', 'An organization was added.'),
  ('organization.changed', 'An organization was changed.'),
  ('membership.added', 'A membership was added.'),
  ('membership.changed', 'A membership was changed.'),
  ('membership.removed', 'A membership was removed.'),
  ('therapist.added', 'A therapist''s profile was added.'),
  ('therapist.changed', 'A therapist''s profile was changed.'),
  ('therapist.archived', 'A therapist''s profile was archived.'),
  ('therapist.restored', 'A therapist''s profile was taken out of the archive.'),
  ('client.added', 'A client''s file was added.'),
  ('client.changed', 'A client''s file was changed.'),
  ('client.archived', 'A client''s file was archived.'),
  ('client.restored', 'A client''s file was taken out of the archive.'),
  ('caseload.added', 'An assignment of a client to a therapist was added.'),
  ('caseload.changed', 'An assignment of a client to a therapist was changed.'),
  ('caseload.removed', 'An assignment of a client to a therapist was removed.'),
  ('client_user.added', 'A parent''s access to a client was added.'),
  ('client_user.changed', 'A parent''s access to a client was changed.'),
  ('client_user.removed', 'A parent''s access to a client was removed.'),
  ('room.added', 'A room was added.'),
  ('room.changed', 'A room was changed.'),
  ('room.archived', 'A room was archived.'),
  ('room.restored', 'A room was taken out of the archive.'),
  ('room.removed', 'A room was removed.'),
  ('availability_exception.added', 'Time off or extra hours was added.'),
  ('availability_exception.changed', 'Time off or extra hours was changed.'),
  ('availability_exception.removed', 'Time off or extra hours was removed.'),
  ('session_group.added', 'A group was added.'),
  ('session_group.changed', 'A group was changed.'),
  ('session_group.removed', 'A group was removed.'),
  ('organization_closure.added', 'A closure of the clinic was added.'),
  ('organization_closure.changed', 'A closure of the clinic was changed.'),
  ('organization_closure.removed', 'A closure of the clinic was removed.'),
  ('payer.created', 'A payer was entered.'),
  ('payer.changed', 'A payer was changed.'),
  ('service_code.created', 'A service code of the organization''s own was entered.'),
  ('service_code.changed', 'A service code of the organization''s own was changed.'),
  ('payer_rule.created', 'A payer''s rule was entered.'),
  ('payer_rule.changed', 'A payer''s rule was changed.'),
  ('payer_code_rule.created', 'A payer''s rule for a code was entered.'),
  ('payer_code_rule.changed', 'A payer''s rule for a code was changed.'),
  ('payer_concurrency_rule.created', 'A payer''s rule for two services at once was entered.'),
  ('payer_concurrency_rule.changed', 'A payer''s rule for two services at once was changed.'),
  ('coverage.created', 'A client''s coverage was entered.'),
  ('coverage.changed', 'A client''s coverage was changed.'),
  ('authorization.created', 'An authorization was entered.'),
  ('authorization.changed', 'An authorization was changed.'),
  ('waitlist_entry.created', 'An entry of the waitlist was entered.'),
  ('waitlist_entry.changed', 'An entry of the waitlist was changed.');

-- === schemas/audit/refusals.sql ===

-- Purpose: refused requests, and reads of what is sealed, leave a bounded trace and come at a bounded rate.
-- Objects: private.rate_limits, private.note_refusal, private.check_rate, private.require_rate, private.trace_ids.
-- Watch for: the audit itself is what is counted: a caller's refusals, or reads, of the last minute, by an index that has
--            nothing else. A booking that succeeds neither writes nor reads anything for it. Calls that raise (malformed
--            input, no membership) leave nothing and are not counted; limits before the database are the gateway's.

create table private.rate_limits (
  kind text primary key check (kind in ('refusals', 'reads')),
  per_minute integer not null check (per_minute between 1 and 1000000)
);
comment on table private.rate_limits is
  'How many a caller may have in any 60 seconds: refused requests, reads of sealed content. The operator changes them.';
insert into private.rate_limits (kind, per_minute) values ('refusals', 1000), ('reads', 300);
alter table private.rate_limits enable row level security;
create policy deny_all on private.rate_limits using (false);
comment on policy deny_all on private.rate_limits is 'Read by functions, written by the operator.';

create index events_refusals_idx on audit.events (actor_user_id, recorded_at) where outcome = 'refused';
create index events_reads_idx on audit.events (actor_user_id, recorded_at)
  where action in ('note.read', 'note.history_read', 'client_details.read');

create function private.check_rate(kind text)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
  caller_id uuid := auth.uid();
  as_of timestamptz := clock_timestamp();
  most integer;
  earliest timestamptz;
begin
  -- Nobody who signs in: SQL and the secret key are not limited.
  if caller_id is null then
    return null;
  end if;
  select rate_limit.per_minute into most from private.rate_limits as rate_limit where rate_limit.kind = check_rate.kind;
  -- The most-th newest of the last minute: once it is a minute old, there is room for one more.
  if check_rate.kind = 'refusals' then
    select event.recorded_at into earliest
    from audit.events as event
    where event.actor_user_id = caller_id
      and event.outcome = 'refused'
      and event.recorded_at > as_of - interval '1 minute'
    order by event.recorded_at desc
    offset most - 1
    limit 1;
  else
    select event.recorded_at into earliest
    from audit.events as event
    where event.actor_user_id = caller_id
      and event.action in ('note.read', 'note.history_read', 'client_details.read')
      and event.recorded_at > as_of - interval '1 minute'
    order by event.recorded_at desc
    offset most - 1
    limit 1;
  end if;
  if earliest is null then
    return null;
  end if;
  return jsonb_build_object(
    'ok', false, 'status', 429, 'code', 'TOO_MANY_REQUESTS',
    'detail', 'Too many requests of yours were refused, or read sealed content, in the last minute.',
    'retryAfterSeconds', greatest(1, ceil(extract(epoch from earliest + interval '1 minute' - as_of)))::integer
  );
end
$$;
comment on function private.check_rate(text) is
  'The outcome TOO_MANY_REQUESTS, with the seconds to wait, for a caller who had too many refusals or reads (the argument) '
  'in the last minute; null for everybody else.';

create function private.require_rate(kind text)
returns void
language plpgsql
stable
set search_path = ''
as $$
declare
  exceeded jsonb := private.check_rate(kind);
begin
  if exceeded is not null then
    perform private.raise_refusal(429, exceeded ->> 'code', exceeded ->> 'detail', exceeded ->> 'retryAfterSeconds');
  end if;
end
$$;
comment on function private.require_rate(text) is
  'As private.check_rate, for functions that return rows: raises PT429, with the seconds to wait as its detail.';

create function private.trace_ids(ids uuid[])
returns uuid[]
language plpgsql
immutable
set search_path = ''
as $$
begin
  return coalesce(ids[1:5], '{}');
end
$$;
comment on function private.trace_ids(uuid[]) is 'The first few ids of a refused request: enough to find it by.';

create function private.note_refusal(
  organization_id uuid,
  action text,
  entity text,
  entity_ids uuid[],
  code text,
  actor_role text default null,
  therapist_id uuid default null,
  details jsonb default null,
  may_never boolean default false
)
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
  exceeded jsonb := private.check_rate('refusals');
  named integer := coalesce(cardinality(entity_ids), 0);
  kept uuid[] := case when may_never then '{}' else private.trace_ids(entity_ids) end;
begin
  if exceeded is not null then
    return exceeded;
  end if;
  perform private.record_event(
    note_refusal.organization_id, note_refusal.action, note_refusal.entity, kept, clock_timestamp(),
    therapist_id => note_refusal.therapist_id,
    actor_role => note_refusal.actor_role,
    outcome => 'refused',
    code => note_refusal.code,
    details => case
      when named > cardinality(kept) then coalesce(note_refusal.details, '{}') || jsonb_build_object('named', named)
      else note_refusal.details
    end
  );
  return null;
end
$$;
comment on function private.note_refusal(uuid, text, text, uuid[], text, text, uuid, jsonb, boolean) is
  'Writes the event of a refused request, with at most five of the ids it named and how many there were; none of a role '
  'that may never do this (may_never). Null, or the outcome TOO_MANY_REQUESTS to answer instead: then nothing is written. '
  'Use it as: return coalesce(private.note_refusal(…), private.refusal(…)).';

-- === schemas/audit/sweeping.sql ===

-- Purpose: what has served its time goes, so that nothing grows without end.
-- Objects: private.sweep_idempotency_keys, private.sweep_drafts, private.sweep. Expired holds: booking/sweep.sql.
-- Watch for: correctness never waits for any of it: expired holds block nobody, lapsed keys replay nothing. private.sweep does
--            all of it, a little at a time: by pg_cron where that is there, else by `npm run sweep` from any scheduler.

create function private.sweep_idempotency_keys(most integer default 10000)
returns integer
language plpgsql
security definer
set search_path = ''
as $$
declare
  removed integer;
begin
  delete from private.idempotency_keys as lapsed
  where lapsed.ctid = any (array(
    select candidate.ctid
    from private.idempotency_keys as candidate
    -- They replay for 24 hours; an hour more for requests on their way.
    where candidate.created_at < clock_timestamp() - interval '25 hours'
    order by candidate.created_at
    limit most
    for update skip locked
  ));
  get diagnostics removed = row_count;
  return removed;
end
$$;
comment on function private.sweep_idempotency_keys(integer) is 'Removes kept answers that are replayed no longer.';

create function private.sweep_drafts(most integer default 1000, older_than interval default interval '30 days')
returns integer
language plpgsql
security definer
set search_path = ''
as $$
declare
  removed integer;
begin
  delete from private.session_note_versions as draft
  where (draft.organization_id, draft.id) in (
    select candidate.organization_id, candidate.id
    from private.session_note_versions as candidate
    join public.session_note_states as state
      on state.organization_id = candidate.organization_id and state.session_id = candidate.session_id
    where candidate.status = 'draft'
      and state.status <> 'draft'
      -- The trigger on the versions asks for no less.
      and state.signed_at < clock_timestamp() - greatest(older_than, interval '30 days')
    limit most
    for update of candidate skip locked
  );
  get diagnostics removed = row_count;
  return removed;
end
$$;
comment on function private.sweep_drafts(integer, interval) is
  'Removes the drafts of notes that were signed long ago, 30 days at least. The audit keeps their ciphertext.';

create function private.sweep()
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
begin
  return jsonb_build_object(
    'expiredHolds', private.sweep_expired_holds(),
    'idempotencyKeys', private.sweep_idempotency_keys(),
    'offers', private.offer_all_freed_slots(),
    'drafts', private.sweep_drafts(),
    'partitions', audit.ensure_partitions()
  );
end
$$;
comment on function private.sweep() is
  'Everything that wants doing now and then, a limited amount of each: call it again until it returns zeros.';

-- === schemas/audit/bounds.sql ===

-- Purpose: every date and time in the database is one that can be: from 2000 until 2100.
-- Objects: a check constraint <table>_<column>_in_reason on each column of a date, time or range of them.
-- Watch for: one session in the year 294276 breaks every report of its clinic. This file comes last, so that a new table has
--            its bounds without being told; bounds_of_rows.sql fails if a column has none. Narrower windows, such as how far
--            ahead somebody may book, are rules of their own. Every check of a table is read again by every statement that
--            writes it, so what follows from bounded facts, or from the clock, is not checked twice.

do $$
declare
  found record;
begin
  for found in
    select
      relation.relnamespace::regnamespace as schema_name, relation.relname as table_name, attribute.attname as column_name,
      attribute.atttypid::regtype::text as type
    from pg_catalog.pg_attribute as attribute
    join pg_catalog.pg_class as relation on relation.oid = attribute.attrelid
    where relation.relnamespace::regnamespace::text in ('public', 'private', 'audit')
      and relation.relkind in ('r', 'p')
      and not relation.relispartition
      and attribute.attnum > 0
      and not attribute.attisdropped
      and attribute.attgenerated = ''
      and attribute.atttypid::regtype::text in (
        'date', 'timestamp with time zone', 'timestamp without time zone', 'tstzrange', 'tstzmultirange', 'daterange',
        'datemultirange'
      )
      -- A quarter, and nothing else.
      and relation.oid <> 'audit.archives'::regclass
      -- sessions_times bounds a session; the rest of its times follow from these, and from the clock.
      and relation.oid <> 'public.sessions'::regclass
      -- Nobody but the booking functions writes them.
      and relation.oid not in (
        'public.hold_batches'::regclass, 'public.session_holds'::regclass, 'public.session_cancellations'::regclass,
        'private.claims'::regclass, 'public.authorization_units'::regclass
      )
      -- The seal of an event is refused unless its times are those of now; see audit.seal_event.
      and relation.oid not in ('audit.events'::regclass, 'audit.seals'::regclass)
    order by 1, 2, attribute.attnum
  loop
    execute format(
      case
        when found.type like '%range' then 'alter table %1$s.%2$I add constraint %3$I check (%4$I <@ %5$s(%6$L, %7$L))'
        else 'alter table %1$s.%2$I add constraint %3$I check (%4$I >= %6$L and %4$I < %7$L)'
      end,
      found.schema_name, found.table_name, found.table_name || '_' || found.column_name || '_in_reason', found.column_name,
      replace(found.type, 'multirange', 'range'),
      case when found.type like '%stamp%' or found.type like 'tstz%' then '2000-01-01T00:00:00Z' else '2000-01-01' end,
      case when found.type like '%stamp%' or found.type like 'tstz%' then '2100-01-01T00:00:00Z' else '2100-01-01' end
    );
  end loop;
end
$$;

-- === schemas/reports/weeks.sql ===

-- Purpose: the weeks that other reports count in.
-- Objects: reports.weeks.
-- Watch for: every report is security_invoker and leads with organization_id, so a reader sees what the tables' policies
--            let them see: an admin their organization, a therapist their own, the operator (postgres) everybody's. Weeks
--            and months are the organization's, and come from a calendar joined to the data by instants: a filter on
--            week_start or month reads that span by index, not the table.

create view reports.weeks
with (security_invoker = true)
as
select
  organization.id as organization_id,
  week.start::date as week_start,
  week.start at time zone organization.time_zone as starts_at,
  (week.start + interval '7 days') at time zone organization.time_zone as ends_at
from public.organizations as organization
cross join lateral (
  select
    (
      select session.start_time
      from public.sessions as session
      where session.organization_id = organization.id
      order by session.start_time
      limit 1
    ) as first,
    (
      select session.start_time
      from public.sessions as session
      where session.organization_id = organization.id
      order by session.start_time desc
      limit 1
    ) as last
) as booked
cross join lateral generate_series(
  date_trunc('week', booked.first at time zone organization.time_zone),
  booked.last at time zone organization.time_zone,
  interval '1 week'
) as week (start);
comment on view reports.weeks is
  'The weeks, Monday to Sunday in the organization''s zone, from its first session to its last.';
grant select on reports.weeks to authenticated, service_role;

-- === schemas/reports/months.sql ===

-- Purpose: the months that other reports count in.
-- Objects: reports.months.

create view reports.months
with (security_invoker = true)
as
select
  organization.id as organization_id,
  month.start::date as month,
  month.start at time zone organization.time_zone as starts_at,
  (month.start + interval '1 month') at time zone organization.time_zone as ends_at
from public.organizations as organization
cross join lateral (
  select
    (
      select session.start_time
      from public.sessions as session
      where session.organization_id = organization.id
      order by session.start_time
      limit 1
    ) as first,
    (
      select session.start_time
      from public.sessions as session
      where session.organization_id = organization.id
      order by session.start_time desc
      limit 1
    ) as last
) as booked
cross join lateral generate_series(
  date_trunc('month', booked.first at time zone organization.time_zone),
  booked.last at time zone organization.time_zone,
  interval '1 month'
) as month (start);
comment on view reports.months is
  'The months, in the organization''s zone, from its first session to its last; month is the first day.';
grant select on reports.months to authenticated, service_role;

-- === schemas/reports/therapist_utilization.sql ===

-- Purpose: how much of the hours a therapist works is booked.
-- Objects: reports.therapist_utilization; docs/reports.md tells how to read it.

create view reports.therapist_utilization
with (security_invoker = true)
as
select
  week.organization_id,
  week.week_start,
  therapist.id as therapist_id,
  therapist.display_name as therapist_name,
  hours.available as available_hours,
  booked.hours as booked_hours,
  booked.attended_hours,
  staff.hours as non_billable_hours,
  round(100 * booked.hours / nullif(hours.available, 0), 1) as utilization_percent
from reports.weeks as week
join public.therapists as therapist on therapist.organization_id = week.organization_id
cross join lateral (
  select case
    when therapist.availability_hours is not null then coalesce((
      select round(sum(extract(epoch from upper(span) - lower(span))) / 3600, 2)
      from (
        select
          coalesce(range_agg(tstzrange(
            (day.date + (item.value ->> 'start')::time) at time zone therapist.time_zone,
            greatest(
              (day.date + (item.value ->> 'start')::time) at time zone therapist.time_zone,
              (day.date + (item.value ->> 'end')::time) at time zone therapist.time_zone
            ), '[)'
          )), '{}') as windows
        from generate_series(0, 6) as nth (day)
        -- Days are dates: a timestamp would be read in the zone of whoever asks.
        cross join lateral (select week.week_start + nth.day as date) as day
        cross join lateral jsonb_array_elements(
          therapist.availability_hours
            -> (array['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday'])
              [extract(isodow from day.date)::integer]
        ) as item (value)
      ) as weekly
      cross join lateral (
        select
          coalesce(range_agg(tstzrange(dated.starts_at, dated.ends_at)) filter (where dated.kind = 'extra_hours'), '{}')
            as extra,
          coalesce(range_agg(tstzrange(dated.starts_at, dated.ends_at)) filter (where dated.kind = 'time_off'), '{}')
            as off
        from public.availability_exceptions as dated
        where dated.organization_id = therapist.organization_id
          and dated.therapist_id = therapist.id
          and dated.ends_at > week.starts_at
          and dated.starts_at < week.ends_at
      ) as dated
      cross join lateral unnest(
        ((weekly.windows + dated.extra * tstzmultirange(tstzrange(week.starts_at, week.ends_at))) - dated.off)
          -- Whoever was archived works no hours from then on.
          * tstzmultirange(tstzrange(null, therapist.deleted_at))
      ) as span
    ), 0)
  end as available
) as hours
cross join lateral (
  select
    round(coalesce(sum(visit.hours), 0), 2) as hours,
    round(coalesce(sum(visit.hours) filter (where visit.is_attended), 0), 2) as attended_hours
  from (
    -- A group is one hour of its therapist's, however many clients come.
    select
      max(extract(epoch from session.end_time - session.start_time) / 3600) as hours,
      bool_or(session.status = 'completed') as is_attended
    from public.sessions as session
    where session.organization_id = week.organization_id
      and session.therapist_id = therapist.id
      and session.start_time >= week.starts_at
      and session.start_time < week.ends_at
      and session.status not in ('cancelled', 'no_show')
    group by session.group_key
  ) as visit
) as booked
cross join lateral (
  select round(coalesce(sum(extract(epoch from taken.end_time - taken.start_time) / 3600), 0), 2) as hours
  from public.staff_times as taken
  join public.staff_time_members as member
    on member.organization_id = taken.organization_id
    and member.staff_time_id = taken.id
    and member.therapist_id = therapist.id
  where taken.organization_id = week.organization_id
    and taken.start_time >= week.starts_at
    and taken.start_time < week.ends_at
    and taken.cancelled_at is null
) as staff
where therapist.deleted_at is null
  or therapist.deleted_at > week.starts_at
  or booked.hours > 0
  or staff.hours > 0;
comment on view reports.therapist_utilization is
  'How much of the hours a therapist works is booked, how much was attended, and how much went to time without a client, '
  'which nobody pays for, week by week.';
grant select on reports.therapist_utilization to authenticated, service_role;

-- === schemas/reports/attendance.sql ===

-- Purpose: what became of the sessions that were booked.
-- Objects: reports.attendance; docs/reports.md tells how to read it.

create view reports.attendance
with (security_invoker = true)
as
select
  month.organization_id,
  month.month,
  therapist.id as therapist_id,
  therapist.display_name as therapist_name,
  counted.*
from reports.months as month
join public.therapists as therapist on therapist.organization_id = month.organization_id
cross join lateral (
  select
    count(*)::integer as booked,
    (count(*) filter (where session.status = 'completed'))::integer as attended,
    (count(*) filter (where session.status in ('scheduled', 'in_progress')))::integer as open,
    (count(*) filter (where session.status = 'no_show'))::integer as no_shows,
    (count(*) filter (where session.status = 'cancelled'))::integer as cancelled,
    (count(*) filter (where cancellation.attribution = 'client'))::integer as cancelled_by_client,
    (count(*) filter (
      where cancellation.attribution = 'staff' and cancellation.cancelled_by = session.therapist_id
    ))::integer as cancelled_by_therapist,
    (count(*) filter (
      where cancellation.attribution = 'staff' and cancellation.cancelled_by is distinct from session.therapist_id
    ))::integer as cancelled_by_clinic,
    (count(*) filter (where cancellation.attribution = 'unknown'))::integer as cancelled_by_unknown,
    (count(*) filter (
      where cancellation.cancelled_at > session.start_time - interval '24 hours'
    ))::integer as cancelled_late
  from public.sessions as session
  left join public.session_cancellations as cancellation
    on cancellation.organization_id = session.organization_id
    and cancellation.session_id = session.id
    and session.status = 'cancelled'
  where session.organization_id = month.organization_id
    and session.therapist_id = therapist.id
    and session.start_time >= month.starts_at
    and session.start_time < month.ends_at
) as counted
where counted.booked > 0;
comment on view reports.attendance is
  'What became of the sessions that were booked: attended, missed, cancelled by whom, late (less than 24 hours'' notice).';
grant select on reports.attendance to authenticated, service_role;

-- === schemas/reports/cancellations.sql ===

-- Purpose: each cancelled session, and how much notice was given.
-- Objects: reports.cancellations; docs/reports.md tells how to read it.

create view reports.cancellations
with (security_invoker = true)
as
select
  session.organization_id,
  session.start_time,
  session.start_time at time zone organization.time_zone as local_start,
  session.id as session_id,
  session.therapist_id,
  therapist.display_name as therapist_name,
  session.client_id,
  client.reference as client_reference,
  case
    when cancellation.attribution = 'client' then 'client'
    when cancellation.attribution = 'staff' and cancellation.cancelled_by = session.therapist_id then 'therapist'
    when cancellation.attribution = 'staff' then 'clinic'
    else 'unknown'
  end as cancelled_for,
  cancellation.cancelled_at,
  cancellation.cancelled_by,
  round((extract(epoch from session.start_time - cancellation.cancelled_at) / 3600)::numeric, 1) as notice_hours,
  cancellation.reason
from public.sessions as session
join public.organizations as organization on organization.id = session.organization_id
left join public.therapists as therapist
  on therapist.organization_id = session.organization_id and therapist.id = session.therapist_id
left join public.clients as client on client.organization_id = session.organization_id and client.id = session.client_id
join public.session_cancellations as cancellation
  on cancellation.organization_id = session.organization_id and cancellation.session_id = session.id
where session.status = 'cancelled';
comment on view reports.cancellations is
  'Each cancelled session: on whose side, by whom, with how many hours'' notice (negative: after its start), and why.';
grant select on reports.cancellations to authenticated, service_role;

-- === schemas/reports/no_show_rates.sql ===

-- Purpose: how often a client did not come.
-- Objects: reports.no_show_rates; docs/reports.md tells how to read it.

create view reports.no_show_rates
with (security_invoker = true)
as
select
  month.organization_id,
  month.month,
  client.id as client_id,
  client.reference as client_reference,
  counted.due,
  counted.no_shows,
  round(100.0 * counted.no_shows / counted.due, 1) as no_show_percent
from reports.months as month
join public.clients as client on client.organization_id = month.organization_id
cross join lateral (
  select
    count(*)::integer as due,
    (count(*) filter (where session.status = 'no_show'))::integer as no_shows
  from public.sessions as session
  where session.organization_id = month.organization_id
    and session.client_id = client.id
    and session.start_time >= month.starts_at
    and session.start_time < month.ends_at
    and session.status in ('completed', 'no_show')
) as counted
where counted.due > 0;
comment on view reports.no_show_rates is 'How often a client did not come to the sessions they were due at: those attended and those missed.';
grant select on reports.no_show_rates to authenticated, service_role;

-- === schemas/reports/hold_funnel.sql ===

-- Purpose: what became of the holds made on a day.
-- Objects: reports.hold_funnel; docs/reports.md tells how to read it.

create index hold_batches_created_at_idx on public.hold_batches (organization_id, created_at);
create index events_refused_holds_idx on audit.events (organization_id, recorded_at) where action = 'hold.refused';

create view reports.hold_funnel
with (security_invoker = true)
as
select
  organization.id as organization_id,
  day.start::date as day,
  counted.held,
  counted.confirmed,
  counted.released,
  counted.expired,
  counted.live,
  refused.requests as refused_requests,
  round(100.0 * counted.confirmed / nullif(counted.held, 0), 1) as confirmed_percent
from public.organizations as organization
cross join lateral (
  select least(
    (
      select batch.created_at
      from public.hold_batches as batch
      where batch.organization_id = organization.id
      order by batch.created_at
      limit 1
    ),
    (
      select event.recorded_at
      from audit.events as event
      where event.organization_id = organization.id
      order by event.recorded_at
      limit 1
    )
  ) as first
) as begun
cross join lateral generate_series(
  date_trunc('day', begun.first at time zone organization.time_zone),
  now() at time zone organization.time_zone,
  interval '1 day'
) as day (start)
cross join lateral (
  select
    day.start at time zone organization.time_zone as starts_at,
    (day.start + interval '1 day') at time zone organization.time_zone as ends_at
) as span
cross join lateral (
  select
    count(*)::integer as held,
    (count(*) filter (where hold.status = 'confirmed'))::integer as confirmed,
    (count(*) filter (where hold.status = 'released'))::integer as released,
    (count(*) filter (
      where hold.status = 'expired' or (hold.status = 'held' and batch.expires_at <= clock_timestamp())
    ))::integer as expired,
    (count(*) filter (where hold.status = 'held' and batch.expires_at > clock_timestamp()))::integer as live
  from public.hold_batches as batch
  join public.session_holds as hold on hold.organization_id = batch.organization_id and hold.batch_id = batch.id
  where batch.organization_id = organization.id
    and batch.created_at >= span.starts_at
    and batch.created_at < span.ends_at
) as counted
cross join lateral (
  select count(*)::integer as requests
  from audit.events as event
  where event.organization_id = organization.id
    and event.recorded_at >= span.starts_at
    and event.recorded_at < span.ends_at
    and event.action = 'hold.refused'
) as refused
where counted.held > 0 or refused.requests > 0;
comment on view reports.hold_funnel is
  'What became of the holds made on a day, occurrence by occurrence, and how many requests for a hold were refused.';
grant select on reports.hold_funnel to authenticated, service_role;

-- === schemas/reports/double_bookings.sql ===

-- Purpose: proof that nobody is booked twice.
-- Objects: reports.double_bookings; reports.staff_time_resources; docs/reports.md tells how to read it.

grant execute on function
  private.client_lanes(uuid, uuid, text, timestamptz, timestamptz), private.service_code(uuid, text, text, date),
  private.service_code_at(uuid, uuid, text, text, timestamptz)
to authenticated, service_role;

create view reports.staff_time_resources
with (security_invoker = true)
as
select known.organization_id, known.id, known.start_time, known.end_time, 'therapist' as resource, member.therapist_id as resource_id
from public.staff_times as known
join public.staff_time_members as member
  on member.organization_id = known.organization_id and member.staff_time_id = known.id
where known.cancelled_at is null
union all
select known.organization_id, known.id, known.start_time, known.end_time, 'room', known.room_id
from public.staff_times as known
where known.cancelled_at is null and known.room_id is not null;
comment on view reports.staff_time_resources is
  'What time without a client takes: a row for each therapist and for the room. Cancelled ones take nothing.';
grant select on reports.staff_time_resources to authenticated, service_role;

create view reports.double_bookings
with (security_invoker = true)
as
select
  first.organization_id,
  first.start_time,
  first.start_time at time zone organization.time_zone as local_start,
  overlap.resource,
  overlap.resource_id,
  coalesce(therapist.display_name, client.reference, room.name) as resource_name,
  first.id as session_id,
  overlap.id as other_session_id,
  overlap.start_time as overlap_start,
  least(first.end_time, overlap.end_time) as overlap_end
from public.sessions as first
join public.organizations as organization on organization.id = first.organization_id
cross join lateral (
  select 'therapist' as resource, first.therapist_id as resource_id, other.id, other.start_time, other.end_time
  from public.sessions as other
  where other.organization_id = first.organization_id
    and other.therapist_id = first.therapist_id
    and other.start_time >= first.start_time
    and other.start_time < first.end_time
    and (other.start_time, other.id) > (first.start_time, first.id)
    and other.group_key <> first.group_key
    and other.status not in ('cancelled', 'no_show')
  union all
  select 'client', first.client_id, other.id, other.start_time, other.end_time
  from public.sessions as other
  where other.organization_id = first.organization_id
    and other.client_id = first.client_id
    and other.start_time >= first.start_time
    and other.start_time < first.end_time
    and (other.start_time, other.id) > (first.start_time, first.id)
    and other.status not in ('cancelled', 'no_show')
    and private.client_lanes(
        first.organization_id, first.client_id,
        private.service_code_at(first.organization_id, first.client_id, first.cpt_code, first.session_type, first.start_time),
        first.start_time, first.end_time
      ) && private.client_lanes(
        other.organization_id, other.client_id,
        private.service_code_at(other.organization_id, other.client_id, other.cpt_code, other.session_type, other.start_time),
        other.start_time, other.end_time
      )
    and not exists (
      select 1
      from audit.events as event
      where event.organization_id = first.organization_id
        and event.entity_ids && array[first.id, other.id]
        and event.action = 'override.concurrency'
    )
  union all
  select 'room', first.room_id, other.id, other.start_time, other.end_time
  from public.sessions as other
  where other.organization_id = first.organization_id
    and other.room_id = first.room_id
    and other.start_time >= first.start_time
    and other.start_time < first.end_time
    and (other.start_time, other.id) > (first.start_time, first.id)
    and other.group_key <> first.group_key
    and other.status not in ('cancelled', 'no_show')
  union all
  select taken.resource, taken.resource_id, taken.id, greatest(taken.start_time, first.start_time), taken.end_time
  from reports.staff_time_resources as taken
  where taken.organization_id = first.organization_id
    and taken.resource_id in (first.therapist_id, first.room_id)
    -- None is longer than 12 hours.
    and taken.start_time > first.start_time - interval '12 hours'
    and taken.start_time < first.end_time
    and taken.end_time > first.start_time
) as overlap
left join public.therapists as therapist
  on overlap.resource = 'therapist' and therapist.organization_id = first.organization_id
  and therapist.id = overlap.resource_id
left join public.clients as client
  on overlap.resource = 'client' and client.organization_id = first.organization_id and client.id = overlap.resource_id
left join public.rooms as room
  on overlap.resource = 'room' and room.organization_id = first.organization_id and room.id = overlap.resource_id
where first.status not in ('cancelled', 'no_show')
union all
select
  first.organization_id,
  first.start_time,
  first.start_time at time zone organization.time_zone,
  first.resource,
  first.resource_id,
  coalesce(therapist.display_name, room.name),
  first.id,
  other.id,
  other.start_time,
  least(first.end_time, other.end_time)
from reports.staff_time_resources as first
join public.organizations as organization on organization.id = first.organization_id
join reports.staff_time_resources as other
  on other.organization_id = first.organization_id
  and other.resource_id = first.resource_id
  and other.start_time >= first.start_time
  and other.start_time < first.end_time
  and (other.start_time, other.id) > (first.start_time, first.id)
left join public.therapists as therapist
  on therapist.organization_id = first.organization_id and therapist.id = first.resource_id
left join public.rooms as room on room.organization_id = first.organization_id and room.id = first.resource_id;
comment on view reports.double_bookings is
  'Proof that there are none: every two sessions of one therapist, client or room that overlap and may not. Members of a '
  'group share their therapist; a client''s services may run at once where the payers allow it or an admin overrode. '
  'Time without a client is looked at too. Computed from the rows alone, apart from the claims that prevent it.';
grant select on reports.double_bookings to authenticated, service_role;

-- === schemas/reports/clock_change_sessions.sql ===

-- Purpose: sessions during which the clocks changed.
-- Objects: reports.clock_change_sessions; docs/reports.md tells how to read it.

create view reports.clock_change_sessions
with (security_invoker = true)
as
select
  session.organization_id,
  session.start_time,
  session.id as session_id,
  therapist.display_name as therapist_name,
  client.reference as client_reference,
  session.time_zone,
  session.start_time at time zone session.time_zone as local_start,
  session.end_time at time zone session.time_zone as local_end,
  (extract(epoch from session.end_time - session.start_time) / 60)::integer as elapsed_minutes,
  (extract(epoch from (session.end_time at time zone session.time_zone) - (session.start_time at time zone session.time_zone))
    / 60)::integer as clock_minutes
from public.sessions as session
left join public.therapists as therapist
  on therapist.organization_id = session.organization_id and therapist.id = session.therapist_id
left join public.clients as client on client.organization_id = session.organization_id and client.id = session.client_id
where (session.end_time at time zone session.time_zone) - (session.start_time at time zone session.time_zone)
  <> session.end_time - session.start_time;
comment on view reports.clock_change_sessions is
  'Sessions during which the clocks changed, so that the time on the wall is not the time that passed. elapsed_minutes is '
  'what is billed.';
grant select on reports.clock_change_sessions to authenticated, service_role;

-- === schemas/reports/series_start_times.sql ===

-- Purpose: did a series keep its hour when the clocks changed?
-- Objects: reports.series_start_times; docs/reports.md tells how to read it.

create view reports.series_start_times
with (security_invoker = true)
as
select
  session.organization_id,
  session.series_id,
  min(therapist.display_name) as therapist_name,
  min(client.reference) as client_reference,
  session.time_zone,
  (session.start_time at time zone session.time_zone)::time as local_start,
  count(*)::integer as sessions,
  array_agg(distinct (extract(epoch from
    (session.start_time at time zone session.time_zone) - (session.start_time at time zone 'UTC')) / 60)::integer)
    as utc_offsets_minutes
from public.sessions as session
left join public.therapists as therapist
  on therapist.organization_id = session.organization_id and therapist.id = session.therapist_id
left join public.clients as client on client.organization_id = session.organization_id and client.id = session.client_id
where session.series_id is not null
group by session.organization_id, session.series_id, session.time_zone,
  (session.start_time at time zone session.time_zone)::time;
comment on view reports.series_start_times is
  'The local times at which a series starts: one row for a series that kept its hour, with two offsets where it crossed a '
  'change of clocks. A second row is an occurrence that was moved.';
grant select on reports.series_start_times to authenticated, service_role;

-- === schemas/reports/moved_by_zone_rules.sql ===

-- Purpose: which future sessions are no longer at the time they were booked for, since a zone's law has changed?
-- Objects: reports.moved_by_zone_rules; docs/reports.md tells how to read it.

create view reports.moved_by_zone_rules
with (security_invoker = true)
as
select
  session.organization_id,
  session.start_time,
  session.id as session_id,
  therapist.display_name as therapist_name,
  client.reference as client_reference,
  session.time_zone,
  session.civil_start as booked_for,
  session.start_time at time zone session.time_zone as shows_now,
  (extract(epoch from (session.start_time at time zone session.time_zone) - session.civil_start) / 60)::integer as minutes_off
from public.sessions as session
left join public.therapists as therapist
  on therapist.organization_id = session.organization_id and therapist.id = session.therapist_id
left join public.clients as client on client.organization_id = session.organization_id and client.id = session.client_id
where session.start_time > now()
  and session.status = 'scheduled'
  and session.start_time at time zone session.time_zone <> session.civil_start
  -- A time that clocks skip is moved on by the gap, as it was when it was booked.
  and session.civil_start at time zone session.time_zone <> session.start_time;
comment on view reports.moved_by_zone_rules is
  'Future sessions whose clocks no longer show the civil time they were booked for: the law of their zone has changed since. '
  'resync_zone moves them back.';
grant select on reports.moved_by_zone_rules to authenticated, service_role;

-- === schemas/reports/rendered_services.sql ===

-- Purpose: what was rendered, in whole minutes, and how its payer rounds: what units are computed from.
-- Objects: private.is_staff, private.rendered_services, private.visit_units.
-- Watch for: the report of units and the ledger both ask private.rendered_services, so that they cannot differ. It runs as
--            its owner, since row security would ask who is calling in every look-up of a rule; a view that calls it
--            passes only the sessions that its reader may see, and readers cannot call it themselves.

create function private.is_staff()
returns boolean
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
  return current_setting('role') not in ('anon', 'authenticated') or coalesce(private.active_role() <> 'client', false);
end
$$;
comment on function private.is_staff() is
  'Whether the reader works in a clinic, or is the operator: what payers pay for, and actual times, are staff''s.';

create function private.rendered_services(organization_id uuid, session_ids uuid[])
returns setof private.rendered_service
language plpgsql
stable
security definer
set search_path = ''
as $$
#variable_conflict use_column
begin
  if not private.is_staff() then
    return;
  end if;
  return query
  with visit as materialized (
    select
      session.id, session.client_id, session.therapist_id, session.start_time, day.date,
      coalesce(
        session.cpt_code,
        private.billed_code(session.organization_id, null, session.session_type, day.date)
      ) as code,
      private.billable_minutes(
        coalesce(actual.actual_start_time, session.start_time), coalesce(actual.actual_end_time, session.end_time)
      ) as minutes
    from unnest(rendered_services.session_ids) as wanted (id)
    join public.sessions as session
      on session.organization_id = rendered_services.organization_id and session.id = wanted.id
    left join public.session_visits as actual
      on actual.organization_id = session.organization_id
      and actual.session_id = session.id
      and actual.actual_end_time is not null
    cross join lateral (
      select private.service_date(session.organization_id, session.client_id, session.start_time) as date
    ) as day
    where session.status = 'completed'
  ),
  paid as materialized (
    select
      day.client_id, day.date,
      private.primary_payer(rendered_services.organization_id, day.client_id, day.date) as payer_id
    from (select distinct visit.client_id, visit.date from visit) as day
  ),
  service as materialized (
    select visit.*, paid.payer_id
    from visit
    join paid on paid.client_id = visit.client_id and paid.date = visit.date
  ),
  ruled as materialized (
    select
      asked.payer_id, asked.code, asked.date, rule.rounding,
      coalesce((
        private.service_code_on(rendered_services.organization_id, asked.code, asked.date)
      ).unit_minutes, 15)::integer as unit_minutes
    from (select distinct service.payer_id, service.code, service.date from service) as asked
    cross join lateral private.payer_rule(
      rendered_services.organization_id, asked.payer_id, asked.code, asked.date
    ) as rule
  )
  select
    service.id, service.client_id, service.therapist_id, service.date, service.payer_id, service.code,
    service.start_time, service.minutes, ruled.rounding, ruled.unit_minutes
  from service
  join ruled
    on ruled.code = service.code
    and ruled.date = service.date
    and ruled.payer_id is not distinct from service.payer_id;
end
$$;
comment on function private.rendered_services(uuid, uuid[]) is
  'Those of these sessions that are completed, with what private.day_units needs: the local day, who pays first that day, '
  'the code, the whole minutes (the actual ones where they are recorded) and how that payer rounds.';
grant execute on function private.rendered_services(uuid, uuid[]) to authenticated, service_role;

create function private.visit_units(organization_id uuid, client_id uuid, service_date date)
returns table (session_id uuid, units integer)
language plpgsql
stable
set search_path = ''
as $$
#variable_conflict use_column
begin
  return query
  select day.session_id, day.units
  from private.day_units(array(
    select service::private.rendered_service
    from private.rendered_services(visit_units.organization_id, array(
      select session.id
      from public.sessions as session
      where session.organization_id = visit_units.organization_id
        and session.client_id = visit_units.client_id
        and session.start_time >= (visit_units.service_date - 1)::timestamptz
        and session.start_time < (visit_units.service_date + 2)::timestamptz
    )) as service
    where service.service_date = visit_units.service_date
  )) as day;
end
$$;
comment on function private.visit_units(uuid, uuid, date) is
  'The units of each completed visit of a client on a local day. A completion or correction may change those of the other '
  'visits of the day too, where the payer rounds by the day.';

-- === schemas/reports/billable_visits.sql ===

-- Purpose: attended visits as lines of a claim.
-- Objects: reports.billable_visits; docs/reports.md tells how to read it.

create view reports.billable_visits
with (security_invoker = true)
as
select
  month.organization_id,
  month.month,
  line.service_date,
  line.session_id,
  line.therapist_id,
  visit.therapist_name,
  line.client_id,
  visit.client_reference,
  line.payer_id,
  visit.payer_name,
  line.cpt_code,
  visit.cpt_modifiers,
  visit.location_type,
  line.minutes,
  line.units
from reports.months as month
cross join lateral private.day_units(array(
  select service::private.rendered_service
  from private.rendered_services(month.organization_id, array(
    select session.id
    from public.sessions as session
    where session.organization_id = month.organization_id
      and session.start_time >= month.starts_at
      and session.start_time < month.ends_at
      and session.status = 'completed'
  )) as service
)) as line
-- One row by its key, whatever the planner believes of how many there are.
cross join lateral (
  select
    session.cpt_modifiers,
    session.location_type,
    (
      select therapist.display_name
      from public.therapists as therapist
      where therapist.organization_id = month.organization_id and therapist.id = line.therapist_id
    ) as therapist_name,
    (
      select client.reference
      from public.clients as client
      where client.organization_id = month.organization_id and client.id = line.client_id
    ) as client_reference,
    (
      select payer.name
      from public.payers as payer
      where payer.organization_id = month.organization_id and payer.id = line.payer_id
    ) as payer_name
  from public.sessions as session
  where session.organization_id = month.organization_id and session.id = line.session_id
  offset 0
) as visit;
comment on view reports.billable_visits is
  'Attended sessions as lines of a claim: payer of the day, code, modifiers, place, whole minutes and units, rounded as '
  'that payer rounds. Where a payer rounds by the day, a visit has its share of the day''s units.';
grant select on reports.billable_visits to authenticated, service_role;

-- === schemas/reports/units_by_code_and_payer.sql ===

-- Purpose: how many units are to be billed, by month, payer and code.
-- Objects: reports.units_by_code_and_payer; docs/reports.md tells how to read it.

create view reports.units_by_code_and_payer
with (security_invoker = true)
as
select
  visit.organization_id,
  visit.month,
  visit.payer_name,
  visit.cpt_code,
  count(*)::integer as sessions,
  sum(visit.minutes)::integer as minutes,
  sum(visit.units)::integer as units
from reports.billable_visits as visit
group by visit.organization_id, visit.month, visit.payer_id, visit.payer_name, visit.cpt_code;
comment on view reports.units_by_code_and_payer is
  'Attended sessions as units to be billed, by the actual times where they are known, rounded as each payer rounds on the '
  'day of service. payer_name is null for clients without a coverage.';
grant select on reports.units_by_code_and_payer to authenticated, service_role;

-- === schemas/reports/sessions_to_recode.sql ===

-- Purpose: what is booked under a code that is not valid on its day.
-- Objects: reports.sessions_to_recode; docs/reports.md tells how to read it.

create view reports.sessions_to_recode
with (security_invoker = true)
as
select
  session.organization_id,
  session.start_time,
  day.date as service_date,
  session.id as session_id,
  session.therapist_id,
  therapist.display_name as therapist_name,
  session.client_id,
  client.reference as client_reference,
  session.cpt_code,
  ended.valid_to as code_ended_on
from public.sessions as session
join public.therapists as therapist
  on therapist.organization_id = session.organization_id and therapist.id = session.therapist_id
join public.clients as client on client.organization_id = session.organization_id and client.id = session.client_id
cross join lateral (
  select private.service_date(session.organization_id, session.client_id, session.start_time) as date
) as day
left join lateral (
  select max(version.valid_to) as valid_to
  from public.service_codes as version
  where version.code = session.cpt_code
    and (version.organization_id is null or version.organization_id = session.organization_id)
    and version.valid_to < day.date
) as ended on true
where session.cpt_code is not null
  and session.status in ('scheduled', 'in_progress')
  -- What is older is not to be rendered any more.
  and session.start_time > now() - interval '60 days'
  and (private.service_code_on(session.organization_id, session.cpt_code, day.date)).code is null;
comment on view reports.sessions_to_recode is
  'Sessions still to be rendered (from 60 days ago on) whose code is not valid on their day: it has ended by then (code_ended_on), or it has not '
  'begun. They need another code before they can be completed or moved.';
grant select on reports.sessions_to_recode to authenticated, service_role;

-- === schemas/reports/authorization_balances.sql ===

-- Purpose: how much of each authorization is used, scheduled, held and left.
-- Objects: reports.authorization_balances; docs/reports.md tells how to read it.

create view reports.authorization_balances
with (security_invoker = true)
as
select
  approval.organization_id,
  approval.id as authorization_id,
  approval.client_id,
  client.reference as client_reference,
  payer.name as payer_name,
  approval.cpt_code,
  approval.starts_on,
  approval.ends_on,
  approval.approved_units,
  taken.used_units,
  taken.scheduled_units,
  taken.held_units,
  approval.approved_units - taken.used_units - taken.scheduled_units - taken.held_units as left_units,
  round(100.0 * (taken.used_units + taken.scheduled_units + taken.held_units) / approval.approved_units, 1) as taken_percent
from public.authorizations as approval
join public.clients as client on client.organization_id = approval.organization_id and client.id = approval.client_id
join public.payers as payer on payer.organization_id = approval.organization_id and payer.id = approval.payer_id
cross join lateral (
  select
    coalesce(sum(entry.units) filter (where entry.state = 'used'), 0)::integer as used_units,
    coalesce(sum(entry.units) filter (where entry.state = 'scheduled'), 0)::integer as scheduled_units,
    (
      select coalesce(sum(held.units), 0)
      from public.authorization_units as held
      where held.organization_id = approval.organization_id and held.authorization_id = approval.id
        and held.state = 'held' and held.expires_at > clock_timestamp()
    )::integer as held_units
  from public.authorization_units as entry
  where entry.organization_id = approval.organization_id and entry.authorization_id = approval.id
    and entry.state <> 'held'
) as taken;
comment on view reports.authorization_balances is
  'How much of each authorization is used, scheduled, held and left. approved = used + scheduled + held + left.';
grant select on reports.authorization_balances to authenticated, service_role;

-- === schemas/reports/services_beyond_authorization.sql ===

-- Purpose: what no authorization covers whole.
-- Objects: reports.services_beyond_authorization; docs/reports.md tells how to read it.

create index authorization_units_beyond_idx on public.authorization_units (organization_id, service_date)
  where units < total_units and state <> 'held';

create view reports.services_beyond_authorization
with (security_invoker = true)
as
select
  entry.organization_id,
  entry.service_date,
  entry.owner_id as session_id,
  therapist.display_name as therapist_name,
  entry.client_id,
  client.reference as client_reference,
  entry.cpt_code,
  entry.state,
  entry.authorization_id,
  entry.total_units,
  entry.total_units - entry.units as units_beyond
from public.authorization_units as entry
left join public.clients as client on client.organization_id = entry.organization_id and client.id = entry.client_id
left join public.sessions as session on session.organization_id = entry.organization_id and session.id = entry.owner_id
left join public.therapists as therapist
  on therapist.organization_id = session.organization_id and therapist.id = session.therapist_id
where entry.units < entry.total_units
  and entry.state <> 'held';
comment on view reports.services_beyond_authorization is
  'Booked or rendered services that no authorization covers whole: overridden, or longer than they were booked for.';
grant select on reports.services_beyond_authorization to authenticated, service_role;

-- === schemas/reports/authorization_pace.sql ===

-- Purpose: will an authorization last until its end, and when must the next be asked for?
-- Objects: reports.authorization_pace; docs/reports.md tells how to read it.

create view reports.authorization_pace
with (security_invoker = true)
as
select
  balance.organization_id,
  balance.authorization_id,
  balance.client_id,
  balance.client_reference,
  balance.payer_name,
  balance.cpt_code,
  balance.starts_on,
  balance.ends_on,
  balance.approved_units,
  balance.used_units,
  balance.scheduled_units,
  balance.held_units,
  balance.left_units,
  -- Used evenly, this much of it would be used by the end of today.
  round(
    balance.approved_units::numeric
    * greatest(0, least(today.date, balance.ends_on) - balance.starts_on + 1) / (balance.ends_on - balance.starts_on + 1)
  )::integer as expected_units,
  round(pace.units / 4.0, 1) as weekly_units,
  ahead.runs_out_on,
  balance.ends_on - today.date as days_to_end,
  alert.days as alert_days
from reports.authorization_balances as balance
cross join lateral (
  select private.service_date(balance.organization_id, null, now()) as date
) as today
cross join lateral (
  select coalesce(sum(entry.units), 0)::integer as units
  from public.authorization_units as entry
  where entry.organization_id = balance.organization_id
    and entry.authorization_id = balance.authorization_id
    and entry.state = 'used'
    and entry.service_date > today.date - 28
    and entry.service_date <= today.date
) as pace
cross join lateral (
  select case
    when balance.approved_units <= balance.used_units then today.date
    -- As many days from now as the rest lasts, at what the last four weeks used a day; not told when that is after its end.
    when pace.units > 0
      and ceil((balance.approved_units - balance.used_units) * 28.0 / pace.units) <= balance.ends_on - today.date
    then today.date + ceil((balance.approved_units - balance.used_units) * 28.0 / pace.units)::integer
  end as runs_out_on
) as ahead
cross join lateral (
  select min(step.days) as days
  from (values (14), (30), (60)) as step (days)
  where least(balance.ends_on, ahead.runs_out_on) - today.date <= step.days
) as alert
where balance.ends_on >= today.date;
comment on view reports.authorization_pace is
  'Authorizations that have not ended: what is used and booked of each, what would be used by today at an even pace, the '
  'units a week of the last four weeks, the day it runs out at that pace, and an alert at 60, 30 and 14 days before it '
  'ends or runs out.';
grant select on reports.authorization_pace to authenticated, service_role;

-- === schemas/reports/supervision_months.sql ===

-- Purpose: how much each technician worked and was supervised, month by month.
-- Objects: reports.supervision_months, which supervision_share and supervision_needed read.
-- Watch for: a contact is time that a supervisor (BCaBA, BCBA, BCBA-D on that day) and a technician were with the same
--            client. The level is the one of the day of service; see therapist_credentials.

create view reports.supervision_months
with (security_invoker = true)
as
select
  month.organization_id,
  month.month,
  therapist.id as therapist_id,
  therapist.display_name as therapist_name,
  round(direct.hours, 2) as direct_hours,
  round(direct.booked_hours, 2) as booked_hours,
  round(direct.supervised_hours, 2) as supervised_hours,
  direct.contacts,
  direct.observed_contacts,
  direct.individual_contacts,
  round(100 * direct.supervised_hours / nullif(direct.hours, 0), 1) as supervised_percent,
  direct.hours > 0
    and direct.supervised_hours >= 0.05 * direct.hours
    and direct.contacts >= 2
    and direct.observed_contacts >= 1
    and direct.individual_contacts >= 1 as is_sufficient
from reports.months as month
cross join lateral (
  with visit as materialized (
    select
      session.therapist_id,
      session.client_id,
      case
        when session.status <> 'completed' then tstzrange(session.start_time, session.end_time)
        else tstzrange(
          coalesce(actual.actual_start_time, session.start_time), coalesce(actual.actual_end_time, session.end_time)
        )
      end as during,
      session.status = 'completed' as is_attended,
      known.level,
      session.start_time >= month.starts_at and session.start_time < month.ends_at as is_this_month,
      -- A supervisor who guides the family does not supervise whoever treats the child meanwhile.
      not exists (
        select 1
        from public.service_codes as service
        where not service.supervises
          and (
            service.code = session.cpt_code
            or (session.cpt_code is null and service.session_type = lower(btrim(session.session_type)))
          )
          and (service.organization_id is null or service.organization_id = session.organization_id)
          and day.date >= service.valid_from
          and day.date <= coalesce(service.valid_to, 'infinity')
      ) as supervises
    from public.organizations as organization
    join public.sessions as session on session.organization_id = organization.id
    left join public.session_visits as actual
      on actual.organization_id = session.organization_id
      and actual.session_id = session.id
      and actual.actual_end_time is not null
    cross join lateral (select (session.start_time at time zone organization.time_zone)::date as date) as day
    join public.therapist_credentials as known
      on known.organization_id = session.organization_id
      and known.therapist_id = session.therapist_id
      and day.date >= known.valid_from
      and day.date <= coalesce(known.valid_to, 'infinity')
    where organization.id = month.organization_id
      and session.start_time >= month.starts_at - interval '1 day'
      and session.start_time < month.ends_at + interval '1 day'
      and (session.status = 'completed' or (session.status in ('scheduled', 'in_progress') and session.end_time > now()))
  ),
  attended as materialized (select visit.* from visit where visit.is_attended),
  -- While a supervisor and a technician were with the same client.
  beside as materialized (
    select treatment.therapist_id, supervision.therapist_id as supervisor_id, treatment.during * supervision.during as during
    from attended as treatment
    join attended as supervision on supervision.client_id = treatment.client_id and supervision.during && treatment.during
    where treatment.is_this_month
      and treatment.level = 'technician'
      and supervision.level in ('assistant', 'qhp')
      and supervision.supervises
  ),
  -- Times that touch are one contact.
  contact as (
    select met.therapist_id, met.supervisor_id, span.during
    from (
      select beside.therapist_id, beside.supervisor_id, range_agg(beside.during) as during
      from beside
      group by beside.therapist_id, beside.supervisor_id
    ) as met
    cross join lateral unnest(met.during) as span (during)
  ),
  counted as (
    select
      contact.therapist_id,
      count(*)::integer as contacts,
      count(*) filter (where not exists (
        select 1
        from beside
        where beside.supervisor_id = contact.supervisor_id
          and beside.therapist_id <> contact.therapist_id
          and beside.during && contact.during
      ))::integer as individual_contacts
    from contact
    group by contact.therapist_id
  ),
  worked as (
    select
      visit.therapist_id,
      coalesce(range_agg(visit.during) filter (where visit.is_attended), '{}') as during,
      coalesce(range_agg(visit.during) filter (where not visit.is_attended), '{}') as booked
    from visit
    where visit.is_this_month and visit.level = 'technician'
    group by visit.therapist_id
  ),
  supervised as (
    select beside.therapist_id, range_agg(beside.during) as during
    from beside
    group by beside.therapist_id
  )
  select
    worked.therapist_id,
    coalesce((
      select sum(extract(epoch from upper(span) - lower(span))) / 3600 from unnest(worked.during) as span
    ), 0) as hours,
    coalesce((
      select sum(extract(epoch from upper(span) - lower(span))) / 3600 from unnest(worked.booked) as span
    ), 0) as booked_hours,
    coalesce((
      select sum(extract(epoch from upper(span) - lower(span))) / 3600 from unnest(supervised.during) as span
    ), 0) as supervised_hours,
    coalesce(counted.contacts, 0) as contacts,
    -- Who is with the technician and their client sees them work.
    coalesce(counted.contacts, 0) as observed_contacts,
    coalesce(counted.individual_contacts, 0) as individual_contacts
  from worked
  left join supervised on supervised.therapist_id = worked.therapist_id
  left join counted on counted.therapist_id = worked.therapist_id
) as direct
join public.therapists as therapist
  on therapist.organization_id = month.organization_id and therapist.id = direct.therapist_id;
comment on view reports.supervision_months is
  'Each technician''s month: hours attended and still booked, hours and contacts supervised. A group, and two supervisors '
  'at once, count once; times that touch are one contact.';
grant select on reports.supervision_months to authenticated, service_role;

-- === schemas/reports/supervision_share.sql ===

-- Purpose: is every technician supervised enough?
-- Objects: reports.supervision_share; docs/reports.md tells how to read it.
-- Watch for: the rule is the BACB's (RBT Handbook, ongoing supervision): at least 5 % of the month's direct hours, in at
--            least two real-time contacts, one of them seeing the technician work, one of them for this technician alone.

create view reports.supervision_share
with (security_invoker = true)
as
select
  supervision.organization_id,
  supervision.month,
  supervision.therapist_id,
  supervision.therapist_name,
  supervision.direct_hours,
  supervision.supervised_hours,
  supervision.contacts,
  supervision.observed_contacts,
  supervision.individual_contacts,
  supervision.supervised_percent,
  supervision.is_sufficient
from reports.supervision_months as supervision
where supervision.direct_hours > 0;
comment on view reports.supervision_share is
  'How much of a technician''s attended time a BCaBA, BCBA or BCBA-D was there too, with the same client. A group, and two '
  'supervisors at once, count once. Enough is 5 % of the month in at least 2 contacts, one observed and one individual.';
grant select on reports.supervision_share to authenticated, service_role;

-- === schemas/reports/supervision_needed.sql ===

-- Purpose: what supervision does each technician still need this month?
-- Objects: reports.supervision_needed; docs/reports.md tells how to read it.

create view reports.supervision_needed
with (security_invoker = true)
as
select
  supervision.organization_id,
  supervision.month,
  supervision.therapist_id,
  supervision.therapist_name,
  supervision.direct_hours,
  supervision.booked_hours,
  supervision.supervised_hours,
  greatest(0, round(
    0.05 * (supervision.direct_hours + supervision.booked_hours) - supervision.supervised_hours, 2
  )) as hours_needed,
  greatest(0, 2 - supervision.contacts) as contacts_needed,
  supervision.observed_contacts = 0 as needs_observed_contact,
  supervision.individual_contacts = 0 as needs_individual_contact,
  (supervision.month + interval '1 month')::date - today.date - 1 as days_left
from public.organizations as organization
cross join lateral (select (now() at time zone organization.time_zone)::date as date) as today
join reports.supervision_months as supervision
  on supervision.organization_id = organization.id
  and supervision.month = date_trunc('month', today.date::timestamp)::date
join public.therapists as therapist
  on therapist.organization_id = supervision.organization_id and therapist.id = supervision.therapist_id
where therapist.deleted_at is null
  and therapist.credential = 'RBT';
comment on view reports.supervision_needed is
  'What each technician still needs this month if the rest of it goes as booked: hours to 5 % of attended and booked time, '
  'contacts to 2, an observed and an individual one.';
grant select on reports.supervision_needed to authenticated, service_role;

-- === schemas/reports/unsigned_notes.sql ===

-- Purpose: sessions that are over and have no signed note.
-- Objects: reports.unsigned_notes; docs/reports.md tells how to read it.

create view reports.unsigned_notes
with (security_invoker = true)
as
select
  session.organization_id,
  session.start_time,
  session.start_time at time zone organization.time_zone as local_start,
  session.id as session_id,
  session.therapist_id,
  therapist.display_name as therapist_name,
  session.client_id,
  client.reference as client_reference,
  session.status as session_status,
  coalesce(note.status, 'none') as note_status,
  greatest(0, floor(extract(epoch from now() - session.end_time) / 86400))::integer as days_overdue
from public.sessions as session
join public.organizations as organization on organization.id = session.organization_id
left join public.clients as client on client.organization_id = session.organization_id and client.id = session.client_id
join public.therapists as therapist
  on therapist.organization_id = session.organization_id and therapist.id = session.therapist_id
left join public.session_note_states as note
  on note.organization_id = session.organization_id and note.session_id = session.id
where session.end_time < now()
  and session.status in ('scheduled', 'in_progress', 'completed')
  and coalesce(note.status, 'none') not in ('signed', 'amended');
comment on view reports.unsigned_notes is
  'Sessions whose time is over and whose note is missing or not signed, with the days since.';
grant select on reports.unsigned_notes to authenticated, service_role;

-- === schemas/reports/visit_problems.sql ===

-- Purpose: what a biller or an auditor would object to in a completed visit.
-- Objects: private.signature_differs, private.visit_problems, reports.visit_problems; docs/reports.md tells how to read it.
-- Watch for: a new problem is one more branch of private.visit_problems. It runs as its owner and is told only sessions
--            that the reader may see, as private.rendered_services is.

create function private.signature_differs(organization_id uuid, session_id uuid)
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    select private.attested_facts(session.organization_id, session.id) <> private.session_facts(session)
    from public.sessions as session
    where session.organization_id = signature_differs.organization_id and session.id = signature_differs.session_id
  );
end
$$;
comment on function private.signature_differs(uuid, uuid) is
  'Whether what was signed is not what the session says now; null without a signature.';

create function private.visit_overlaps(organization_id uuid, session_ids uuid[])
returns table (session_id uuid, other_session_id uuid, problem text)
language plpgsql
stable
set search_path = ''
set plan_cache_mode = 'force_custom_plan'
as $$
#variable_conflict use_column
begin
  return query
  with visit as materialized (
    select
      session.id, session.therapist_id, session.client_id, session.group_id, session.cpt_code, session.session_type,
      session.start_time, session.end_time, session.id = any (visit_overlaps.session_ids) as is_asked,
      tstzrange(
        coalesce(actual.actual_start_time, session.start_time), coalesce(actual.actual_end_time, session.end_time)
      ) as during
    from public.sessions as session
    left join public.session_visits as actual
      on actual.organization_id = session.organization_id
      and actual.session_id = session.id
      and actual.actual_end_time is not null
    where session.organization_id = visit_overlaps.organization_id
      and session.status = 'completed'
      -- A visit lies within a day of what was booked.
      and session.start_time between (
        select min(asked.start_time) - interval '2 days'
        from public.sessions as asked
        where asked.organization_id = visit_overlaps.organization_id and asked.id = any (visit_overlaps.session_ids)
      ) and (
        select max(asked.start_time) + interval '2 days'
        from public.sessions as asked
        where asked.organization_id = visit_overlaps.organization_id and asked.id = any (visit_overlaps.session_ids)
      )
  )
  select asked.id, other.id, 'therapist_overlaps'
  from visit as asked
  join visit as other on other.therapist_id = asked.therapist_id and other.during && asked.during
  where asked.is_asked
    and other.id <> asked.id
    and (other.group_id is null or other.group_id is distinct from asked.group_id)
  union all
  select asked.id, other.id, 'client_overlaps'
  from visit as asked
  join visit as other on other.client_id = asked.client_id and other.during && asked.during
  where asked.is_asked
    and other.id <> asked.id
    and private.client_lanes(
      visit_overlaps.organization_id, asked.client_id,
      private.billed_code(
        visit_overlaps.organization_id, asked.cpt_code, asked.session_type,
        private.service_date(visit_overlaps.organization_id, asked.client_id, asked.start_time)
      ), asked.start_time, asked.end_time
    ) && private.client_lanes(
      visit_overlaps.organization_id, other.client_id,
      private.billed_code(
        visit_overlaps.organization_id, other.cpt_code, other.session_type,
        private.service_date(visit_overlaps.organization_id, other.client_id, other.start_time)
      ), other.start_time, other.end_time
    );
end
$$;
comment on function private.visit_overlaps(uuid, uuid[]) is
  'Which completed sessions these overlap in actual time: of one therapist, but for members of one group, and of one client '
  'where the payers do not allow the two services at once.';

create function private.visit_problems(organization_id uuid, session_ids uuid[])
returns table (session_id uuid, service_date date, payer_id uuid, problem text, detail text)
language plpgsql
stable
security definer
set search_path = ''
set plan_cache_mode = 'force_custom_plan'
as $$
#variable_conflict use_column
begin
  if not private.is_staff() then
    return;
  end if;
  return query
  with visit as materialized (
    select
      session.*, service.service_date, service.payer_id, service.cpt_code as billed_code,
      actual.actual_start_time is not null as has_begin, actual.actual_end_time is not null as has_end,
      case when actual.actual_end_time is null then session.start_time else actual.actual_start_time end as begun,
      coalesce(actual.actual_end_time, session.end_time) as ended,
      coalesce(note.status, 'none') as note_status
    from private.rendered_services(visit_problems.organization_id, visit_problems.session_ids) as service
    join public.sessions as session
      on session.organization_id = visit_problems.organization_id and session.id = service.session_id
    left join public.session_visits as actual
      on actual.organization_id = session.organization_id and actual.session_id = session.id
    left join public.session_note_states as note
      on note.organization_id = session.organization_id and note.session_id = session.id
  ),
  ruled as materialized (
    select
      asked.*, rule.evv_required,
      private.coverage_gap(
        visit_problems.organization_id, asked.payer_id, asked.billed_code, asked.location_type, asked.service_date
      ) as gap,
      (private.service_code_on(visit_problems.organization_id, asked.billed_code, asked.service_date)).code is not null
        as is_valid,
      private.service_code(
        visit_problems.organization_id, asked.cpt_code, asked.session_type, asked.service_date
      ) is not null as is_named
    from (
      select distinct
        visit.payer_id, visit.billed_code, visit.location_type, visit.service_date, visit.cpt_code, visit.session_type
      from visit
    ) as asked
    cross join lateral private.payer_rule(
      visit_problems.organization_id, asked.payer_id, asked.billed_code, asked.service_date
    ) as rule
  ),
  judged as materialized (
    select
      visit.*, ruled.gap, ruled.is_valid,
      case when ruled.evv_required then array_remove(array[
        -- The elements of the 21st Century Cures Act, section 12006; individual, date and provider no session can lack.
        case when not ruled.is_named then 'service' end,
        case when visit.location_type is null then 'location' end,
        case when not visit.has_begin then 'begin' end,
        case when not visit.has_end then 'end' end
      ], null) else '{}' end as missing,
      round(extract(epoch from visit.begun - visit.start_time) / 60)::integer as late_minutes,
      round(extract(epoch from visit.ended - visit.end_time) / 60)::integer as over_minutes,
      private.service_date(visit.organization_id, visit.client_id, visit.begun) as begun_on
    from visit
    join ruled on (
      ruled.payer_id, ruled.billed_code, ruled.location_type, ruled.service_date, ruled.cpt_code, ruled.session_type
    ) is not distinct from (
      visit.payer_id, visit.billed_code, visit.location_type, visit.service_date, visit.cpt_code, visit.session_type
    ) and ruled.service_date = visit.service_date and ruled.billed_code = visit.billed_code
  )
  select judged.id, judged.service_date, judged.payer_id, overlap.problem, 'with session ' || overlap.other_session_id
  from private.visit_overlaps(visit_problems.organization_id, visit_problems.session_ids) as overlap
  join judged on judged.id = overlap.session_id
  union all
  select judged.id, judged.service_date, judged.payer_id, simple.problem, simple.detail
  from judged
  cross join lateral (
    values
      ('off_the_day', judged.begun_on <> judged.service_date, 'began on ' || judged.begun_on),
      ('off_the_booking', abs(judged.late_minutes) > 15 or abs(judged.over_minutes) > 15,
        format('began %s and ended %s minutes after it was booked for', judged.late_minutes, judged.over_minutes)),
      ('unsigned', judged.note_status not in ('signed', 'amended'), 'note: ' || judged.note_status),
      ('code_not_covered', judged.gap = 'code', judged.billed_code),
      ('place_not_covered', judged.gap = 'place', judged.billed_code || ' at ' || judged.location_type),
      ('code_not_valid', not judged.is_valid, judged.billed_code || ' is no code on ' || judged.service_date),
      ('evv_incomplete', judged.missing <> '{}', array_to_string(judged.missing, ', '))
  ) as simple (problem, is_so, detail)
  where simple.is_so
  union all
  select judged.id, judged.service_date, judged.payer_id, 'signature_differs', 'what was signed is not what the session says'
  from judged
  where judged.note_status in ('signed', 'amended') and private.signature_differs(judged.organization_id, judged.id)
  union all
  select judged.id, judged.service_date, judged.payer_id, 'units_beyond',
    format('%s of %s units', entry.total_units - entry.units, entry.total_units)
  from judged
  join public.authorization_units as entry
    on entry.organization_id = judged.organization_id and entry.owner_id = judged.id and entry.units < entry.total_units
  union all
  select judged.id, judged.service_date, judged.payer_id, 'no_coverage', 'nobody covers the client on ' || judged.service_date
  from judged
  where judged.payer_id is null
    and exists (
      select 1
      from public.client_coverages as any_date
      where any_date.organization_id = judged.organization_id and any_date.client_id = judged.client_id
    );
end
$$;
comment on function private.visit_problems(uuid, uuid[]) is 'What a payer or an auditor would object to in those of these sessions that are completed.';
grant execute on function private.visit_problems(uuid, uuid[]) to authenticated, service_role;

create view reports.visit_problems
with (security_invoker = true)
as
select
  month.organization_id,
  month.month,
  found.service_date,
  found.session_id,
  visit.therapist_id,
  visit.therapist_name,
  visit.client_id,
  visit.client_reference,
  found.payer_id,
  found.problem,
  found.detail
from reports.months as month
cross join lateral private.visit_problems(month.organization_id, array(
  select session.id
  from public.sessions as session
  where session.organization_id = month.organization_id
    and session.start_time >= month.starts_at
    and session.start_time < month.ends_at
    and session.status = 'completed'
)) as found
cross join lateral (
  select
    session.therapist_id,
    session.client_id,
    (
      select therapist.display_name
      from public.therapists as therapist
      where therapist.organization_id = session.organization_id and therapist.id = session.therapist_id
    ) as therapist_name,
    (
      select client.reference
      from public.clients as client
      where client.organization_id = session.organization_id and client.id = session.client_id
    ) as client_reference
  from public.sessions as session
  where session.organization_id = month.organization_id and session.id = found.session_id
  offset 0
) as visit;
comment on view reports.visit_problems is
  'Completed visits that a payer or an auditor would object to, one row a problem: overlaps, times off the day or off the '
  'booking (more than 15 minutes), missing or differing signatures, units beyond the authorization, what is not covered, '
  'and missing elements of electronic visit verification.';
grant select on reports.visit_problems to authenticated, service_role;

-- === schemas/reports/schedule_problems.sql ===

-- Purpose: booked sessions that could not be booked any more as things stand now.
-- Objects: private.schedule_problems, reports.schedule_problems; docs/reports.md tells how to read it.
-- Watch for: it asks the functions that a hold asks, once for a therapist or a day where that is enough. It runs as its
--            owner and is told only sessions that the reader may see, as private.visit_problems is.

create function private.unit_problems(organization_id uuid, session_ids uuid[])
returns table (session_id uuid, problem text, detail text)
language plpgsql
stable
set search_path = ''
as $$
#variable_conflict use_column
declare
  services private.service[];
begin
  -- Each stands where a move of it to its own time would stand: what it has already, it need not ask for again.
  services := array(
    select jsonb_populate_record(service, jsonb_build_object(
      'replaces_id', service.owner_id,
      'occurrence_index', row_number() over (order by service.start_time, service.owner_id) - 1
    ))
    from unnest(private.services_of_sessions(unit_problems.organization_id, unit_problems.session_ids)) as service
    order by service.start_time, service.owner_id
  );
  return query
  select services[1 + (shortage.value ->> 'occurrenceIndex')::integer].owner_id,
    case shortage.value ->> 'limit'
      when 'coverage' then 'no_coverage'
      when 'dates' then 'not_authorized'
      else 'over_limit'
    end,
    case shortage.value ->> 'limit'
      when 'coverage' then format('nobody covers the client on %s', shortage.value ->> 'date')
      when 'dates' then format('no authorization for %s on %s', shortage.value ->> 'cptCode', shortage.value ->> 'date')
      else format(
        '%s: %s more units of %s are needed, %s are left', shortage.value ->> 'limit', shortage.value ->> 'neededUnits',
        shortage.value ->> 'cptCode', shortage.value ->> 'leftUnits'
      )
    end
  from jsonb_array_elements(private.shortages_of(
    private.quote_units(unit_problems.organization_id, services, clock_timestamp())
  )) as shortage (value);
end
$$;
comment on function private.unit_problems(uuid, uuid[]) is
  'Which of these sessions their clients'' payers do not pay for whole: by the same quote that a hold gets.';

create function private.schedule_problems(organization_id uuid, session_ids uuid[])
returns table (session_id uuid, problem text, detail text)
language plpgsql
stable
security definer
set search_path = ''
set timezone = 'UTC'
set plan_cache_mode = 'force_custom_plan'
as $$
#variable_conflict use_column
begin
  if not private.is_staff() then
    return;
  end if;
  return query
  with client as materialized (
    select known.id, known.deleted_at, known.has_payer,
      private.service_zone(schedule_problems.organization_id, known.id) as zone
    from public.clients as known
    where known.organization_id = schedule_problems.organization_id
  ),
  booked as materialized (
    select session.id, session.therapist_id, session.client_id, session.start_time, session.end_time,
      session.cpt_code, session.session_type, coalesce(known.room_id, session.room_id) as room_id,
      client.deleted_at is not null as client_archived, client.has_payer,
      (session.start_time at time zone client.zone)::date as date
    from (select distinct named.id from unnest(session_ids) as named (id)) as named
    join public.sessions as session
      on session.organization_id = schedule_problems.organization_id and session.id = named.id
    join client on client.id = session.client_id
    left join public.session_groups as known
      on known.organization_id = session.organization_id and known.id = session.group_id
  ),
  service as materialized (
    select asked.*, named.code,
      named.code is not null
        and (private.service_code_on(schedule_problems.organization_id, named.code, asked.date)).code is null as has_ended
    from (select distinct booked.cpt_code, booked.session_type, booked.date from booked) as asked
    cross join lateral (
      select private.service_code(
        schedule_problems.organization_id, asked.cpt_code, asked.session_type, asked.date
      ) as code
      offset 0
    ) as named
  ),
  placed as materialized (
    select booked.*, service.code, service.has_ended
    from booked
    join service on service.date = booked.date
      and coalesce(service.cpt_code, '') = coalesce(booked.cpt_code, '')
      and coalesce(service.session_type, '') = coalesce(booked.session_type, '')
  ),
  therapist as materialized (
    -- Most therapists have no session outside their hours or beyond their level: one look for all of theirs.
    select worked.id, worked.session_ids, worked.spans,
      private.is_open(schedule_problems.organization_id, worked.id, worked.spans) as is_open,
      private.may_render_each(schedule_problems.organization_id, worked.id, worked.codes, worked.dates) as renders_all
    from (
      select placed.therapist_id as id, array_agg(placed.id order by placed.id) as session_ids,
        array_agg(tstzrange(placed.start_time, placed.end_time, '[)') order by placed.id) as spans,
        array_agg(placed.code order by placed.id) filter (where not placed.has_ended) as codes,
        array_agg(placed.date order by placed.id) filter (where not placed.has_ended) as dates
      from placed
      group by placed.therapist_id
    ) as worked
  ),
  short as materialized (
    -- The ledger knows who is short. Who has no entry is asked where a rule may have changed since.
    select placed.id, entry.owner_id is not null as is_known, placed.client_id, placed.date,
      coalesce(placed.code, '97153') as code
    from placed
    left join public.authorization_units as entry
      on entry.organization_id = schedule_problems.organization_id and entry.owner_id = placed.id
    where placed.has_payer and (entry.owner_id is null or entry.units < entry.total_units)
  ),
  ruled as materialized (
    select payer.client_id, payer.date, payer.code
    from (
      select asked.client_id, asked.date, asked.code,
        private.primary_payer(schedule_problems.organization_id, asked.client_id, asked.date) as id
      from (select distinct short.client_id, short.date, short.code from short where not short.is_known) as asked
      offset 0
    ) as payer
    cross join lateral private.payer_rule(
      schedule_problems.organization_id, payer.id, payer.code, payer.date
    ) as rule
    where rule.authorization_required or payer.id is null
  )
  select placed.id, simple.problem, simple.detail
  from placed
  left join public.therapists as known
    on known.organization_id = schedule_problems.organization_id and known.id = placed.therapist_id
  left join public.memberships as renders
    on renders.organization_id = schedule_problems.organization_id and renders.user_id = placed.therapist_id
    and renders.role <> 'client'
  left join public.rooms as room
    on room.organization_id = schedule_problems.organization_id and room.id = placed.room_id
  left join public.caseloads as caseload
    on caseload.organization_id = schedule_problems.organization_id and caseload.therapist_id = placed.therapist_id
    and caseload.client_id = placed.client_id
  cross join lateral (
    values
      ('client_archived', placed.client_archived, 'the client is archived'),
      ('therapist_archived', known.deleted_at is not null, 'the therapist is archived'),
      ('room_archived', room.deleted_at is not null, room.name || ' is archived'),
      ('therapist_left', renders.user_id is null, 'the therapist is no member any more, or is one who does not render'),
      ('code_ended', placed.has_ended, format('%s is no service code on %s', placed.code, placed.date)),
      ('off_caseload', caseload.client_id is null, 'the client is not on the therapist''s caseload')
  ) as simple (problem, is_so, detail)
  where simple.is_so
  union all
  select closed.session_id, closed.problem,
    format('from %s to %s', private.iso(min(lower(closed.during))), private.iso(max(upper(closed.during))))
  from (
    select therapist.session_ids[1 + found.occurrence_index] as session_id,
      case found.what when 'availability' then 'outside_hours' else found.what end as problem, found.during
    from therapist
    cross join lateral private.outside_availability(
      schedule_problems.organization_id, therapist.id, therapist.spans
    ) as found
    where not therapist.is_open
  ) as closed
  group by closed.session_id, closed.problem
  union all
  select placed.id, 'not_renderable', format('the therapist''s level may not render %s', placed.code)
  from placed
  join therapist on therapist.id = placed.therapist_id
  where case
    when therapist.renders_all or placed.code is null or placed.has_ended then false
    else not private.may_render(schedule_problems.organization_id, placed.therapist_id, placed.code, placed.date)
  end
  union all
  select found.session_id, found.problem, found.detail
  from (
    select array_agg(short.id) as session_ids
    from short
    where short.is_known or exists (
      select from ruled where (ruled.client_id, ruled.date, ruled.code) = (short.client_id, short.date, short.code)
    )
  ) as unpaid
  cross join lateral private.unit_problems(schedule_problems.organization_id, unpaid.session_ids) as found
  where unpaid.session_ids is not null;
end
$$;
comment on function private.schedule_problems(uuid, uuid[]) is
  'Why those of these sessions that are booked could not be booked any more, one row for each session and cause.';
grant execute on function private.schedule_problems(uuid, uuid[]) to authenticated, service_role;

create view reports.schedule_problems
with (security_invoker = true)
as
select
  organization.id as organization_id,
  booked.start_time,
  booked.start_time at time zone organization.time_zone as local_start,
  found.session_id,
  booked.therapist_id,
  booked.therapist_name,
  booked.client_id,
  booked.client_reference,
  found.problem,
  found.detail
from public.organizations as organization
cross join lateral private.schedule_problems(organization.id, array(
  select session.id
  from public.sessions as session
  where session.organization_id = organization.id
    and session.start_time > now()
    and session.status = 'scheduled'
)) as found
cross join lateral (
  -- Looked up for each row that was found, not joined the other way round, which would look for problems once a session.
  select
    session.start_time,
    session.therapist_id,
    session.client_id,
    (
      select therapist.display_name
      from public.therapists as therapist
      where therapist.organization_id = session.organization_id and therapist.id = session.therapist_id
    ) as therapist_name,
    (
      select client.reference
      from public.clients as client
      where client.organization_id = session.organization_id and client.id = session.client_id
    ) as client_reference
  from public.sessions as session
  where session.organization_id = organization.id and session.id = found.session_id
  offset 0
) as booked;
comment on view reports.schedule_problems is
  'Sessions to come that could not be booked any more as things stand now, one row for each session and cause: client, '
  'therapist or room archived, therapist no member who renders, outside hours, time off, closure, not renderable, code '
  'ended, no coverage, not authorized, over a limit, off the caseload.';
grant select on reports.schedule_problems to authenticated, service_role;

-- === schemas/reports/evv_gaps.sql ===

-- Purpose: which elements of electronic visit verification a completed visit lacks.
-- Objects: reports.evv_gaps; docs/reports.md tells how to read it.

create view reports.evv_gaps
with (security_invoker = true)
as
select
  problem.organization_id,
  problem.month,
  problem.service_date,
  problem.session_id,
  problem.therapist_id,
  problem.therapist_name,
  problem.client_id,
  problem.client_reference,
  payer.name as payer_name,
  string_to_array(problem.detail, ', ') as missing
from reports.visit_problems as problem
left join public.payers as payer
  on payer.organization_id = problem.organization_id and payer.id = problem.payer_id
where problem.problem = 'evv_incomplete';
comment on view reports.evv_gaps is
  'Completed visits of payers who want electronic visit verification, and which of its elements they lack: service, '
  'location, begin, end. Individual, date and provider no session can be without.';
grant select on reports.evv_gaps to authenticated, service_role;

-- === schemas/reports/unbilled.sql ===

-- Purpose: sessions that are over and cannot be billed yet, and why.
-- Objects: reports.unbilled; docs/reports.md tells how to read it.

create view reports.unbilled
with (security_invoker = true)
as
select
  month.organization_id,
  month.month,
  (session.start_time at time zone organization.time_zone)::date as service_date,
  session.id as session_id,
  session.therapist_id,
  therapist.display_name as therapist_name,
  session.client_id,
  client.reference as client_reference,
  array['not_completed'] as reasons,
  floor(extract(epoch from now() - session.end_time) / 86400)::integer as days_waiting
from reports.months as month
join public.organizations as organization on organization.id = month.organization_id
join public.sessions as session
  on session.organization_id = month.organization_id
  and session.start_time >= month.starts_at
  and session.start_time < month.ends_at
left join public.therapists as therapist
  on therapist.organization_id = session.organization_id and therapist.id = session.therapist_id
left join public.clients as client on client.organization_id = session.organization_id and client.id = session.client_id
where session.status in ('scheduled', 'in_progress')
  and session.end_time < now()
union all
select
  problem.organization_id, problem.month, problem.service_date, problem.session_id, problem.therapist_id,
  problem.therapist_name, problem.client_id, problem.client_reference,
  array_agg(distinct problem.problem order by problem.problem),
  (now()::date - problem.service_date)::integer
from reports.visit_problems as problem
-- Lateness is to be explained, not to be waited for.
where problem.problem <> 'off_the_booking'
group by
  problem.organization_id, problem.month, problem.service_date, problem.session_id, problem.therapist_id,
  problem.therapist_name, problem.client_id, problem.client_reference;
comment on view reports.unbilled is
  'Sessions whose time is over and that cannot be billed yet: not completed, or completed with something a payer would '
  'object to (see visit_problems), with the days since.';
grant select on reports.unbilled to authenticated, service_role;

-- === schemas/reports/events_of.sql ===

-- Purpose: finding the audit events of a record by index, also under row-level security.
-- Objects: private.events_of.

create function private.events_of(organization_id uuid, entity_ids uuid[])
returns table (recorded_at timestamptz, id uuid)
language plpgsql
stable
security definer
rows 50
set search_path = ''
set plan_cache_mode = 'force_custom_plan'
as $$
#variable_conflict use_column
begin
  -- Whom the events' own policy lets nothing through finds no keys either.
  if current_setting('role') in ('anon', 'authenticated') and not (
    organization_id = private.active_organization_id() and (private.is_admin() or private.has_permission('view_audit'))
  ) then
    return;
  end if;
  return query
  select event.recorded_at, event.id
  from audit.events as event
  where event.organization_id = events_of.organization_id
    and event.entity_ids && events_of.entity_ids;
end
$$;
comment on function private.events_of(uuid, uuid[]) is
  'The keys of the events that name any of these ids. Row security would keep a reader from their index: && is not '
  'leakproof, so it is tried only on what the policy has let through. Whoever uses the keys reads the events under it.';
grant execute on function private.events_of(uuid, uuid[]) to authenticated, service_role;

-- === schemas/reports/session_audit_trail.sql ===

-- Purpose: everything that happened to one session.
-- Objects: reports.session_audit_trail; docs/reports.md tells how to read it.

create view reports.session_audit_trail
with (security_invoker = true)
as
select
  session.organization_id,
  session.id as session_id,
  event.occurred_at,
  event.occurred_at at time zone organization.time_zone as local_time,
  event.recorded_at,
  event.action,
  event.outcome,
  event.code,
  event.actor_user_id,
  actor.display_name as actor_name,
  event.actor_role,
  event.database_user,
  event.request_id,
  case when jsonb_typeof(event.before) = 'array' then event.before -> place.position else event.before end as before,
  case when jsonb_typeof(event.after) = 'array' then event.after -> place.position else event.after end as after,
  event.details
from public.sessions as session
join public.organizations as organization on organization.id = session.organization_id
cross join lateral private.events_of(session.organization_id, array[session.id]) as found
join audit.events as event
  on event.organization_id = session.organization_id
  and event.recorded_at = found.recorded_at
  and event.id = found.id
left join public.therapists as actor
  on actor.organization_id = session.organization_id and actor.id = event.actor_user_id
cross join lateral (select array_position(event.entity_ids, session.id) - 1 as position) as place;
comment on view reports.session_audit_trail is
  'Everything that happened to a session, from the hold it was booked through: who, when, what, from what to what. Of a '
  'batch''s event only what concerns this session. Filter by session_id.';
grant select on reports.session_audit_trail to authenticated, service_role;

-- === schemas/reports/client_record_access.sql ===

-- Purpose: who read or changed a client's record.
-- Objects: reports.client_record_access; docs/reports.md tells how to read it.

create view reports.client_record_access
with (security_invoker = true)
as
select
  client.organization_id,
  client.id as client_id,
  client.reference as client_reference,
  event.occurred_at,
  event.occurred_at at time zone organization.time_zone as local_time,
  event.action,
  event.outcome,
  event.actor_user_id,
  actor.display_name as actor_name,
  event.actor_role,
  event.database_user,
  event.entity,
  record.id as record_id,
  event.request_id
from public.clients as client
join public.organizations as organization on organization.id = client.organization_id
cross join lateral (
  select array_append(array_agg(session.id), client.id) as ids
  from public.sessions as session
  where session.organization_id = client.organization_id and session.client_id = client.id
) as own
cross join lateral private.events_of(client.organization_id, own.ids) as found
join audit.events as event
  on event.organization_id = client.organization_id
  and event.recorded_at = found.recorded_at
  and event.id = found.id
left join public.therapists as actor
  on actor.organization_id = client.organization_id and actor.id = event.actor_user_id
cross join lateral (
  select named.id
  from unnest(event.entity_ids) as named (id)
  where named.id = any (own.ids)
) as record;
comment on view reports.client_record_access is
  'Who read or changed anything of a client''s record: the details, the sessions, their notes (45 CFR 164.312(b)). Filter '
  'by client_id.';
grant select on reports.client_record_access to authenticated, service_role;
