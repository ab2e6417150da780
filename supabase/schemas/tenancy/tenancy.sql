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
language sql
immutable
set search_path = ''
return coalesce(array_ndims(words), 1) = 1
  and cardinality(words) <= most
  and not exists (select 1 from unnest(words) as word (value) where word.value is null or word.value !~ pattern);
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
language sql
immutable
set search_path = ''
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
  starts_at timestamptz not null,
  ends_at timestamptz not null,
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

create function private.refuse_other_clinic(organization_id uuid, table_name name)
returns void
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
  -- Whoever has become a user, as the REST service does; claims alone do not bring row-level security with them.
  if current_setting('role') = 'authenticated' and private.active_organization_id() is distinct from organization_id then
    raise insufficient_privilege using message = format('new row violates row-level security policy for table "%s"', table_name);
  end if;
end
$$;
comment on function private.refuse_other_clinic(uuid, name) is
  'Refuses a user who is about to write a row of a clinic that is not theirs, in the words of row-level security. A trigger '
  'that comes before it says nothing else of such a row: its own words would tell what the other clinic has. It does not '
  'leave the row to the policies, which judge by the start of the statement: somebody may have been removed since.';

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

create function private.organization_as(at_least public.member_role)
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
      and membership.role >= at_least
  );
exception
  when invalid_text_representation then return null;
end
$$;
comment on function private.organization_as(public.member_role) is
  'The caller''s active organization if their role there is this one or a higher one: client, therapist, admin, super_admin. '
  'Null otherwise. Policies name it alone: each connection reads the policies of every table that it uses.';

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
  private.organization_as(public.member_role),
  private.has_permission(text), private.member_ids(), private.own_client_ids(), private.caseload_client_ids()
to authenticated, service_role;

-- Row-level security ----------------------------------------------------------------------------------------------
-- One permissive policy for each command; each function call stands in a subselect so that it runs once a statement.

alter table public.organizations enable row level security;
create policy member_select on public.organizations for select to authenticated
  using (id = (select private.active_organization_id()));
create policy member_select_update on public.organizations for update to authenticated
  using (id = (select private.organization_as('super_admin')))
  with check (id = (select private.organization_as('super_admin')));
grant select, update (name, time_zone, correction_days) on public.organizations to authenticated;
grant select, insert, update on public.organizations to service_role;

alter table public.memberships enable row level security;
create policy role_scoped_select on public.memberships for select to authenticated
  using (
    user_id = (select auth.uid())
    or organization_id = (select private.organization_as('admin'))
  );
create policy role_scoped_select_insert on public.memberships for insert to authenticated
  with check (organization_id = (select private.organization_as('super_admin')));
create policy role_scoped_select_update on public.memberships for update to authenticated
  using (organization_id = (select private.organization_as('super_admin')))
  with check (organization_id = (select private.organization_as('super_admin')));
create policy role_scoped_select_delete on public.memberships for delete to authenticated
  using (organization_id = (select private.organization_as('super_admin')));
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
    organization_id = (select private.organization_as('admin'))
    and id = any ((select private.member_ids())::uuid[])
  );
create policy role_scoped_select_update on public.therapists for update to authenticated
  using (organization_id = (select private.organization_as('admin')))
  with check (organization_id = (select private.organization_as('admin')));
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
  with check (organization_id = (select private.organization_as('admin')));
create policy role_scoped_select_update on public.clients for update to authenticated
  using (organization_id = (select private.organization_as('admin')))
  with check (organization_id = (select private.organization_as('admin')));
grant select, insert (organization_id, id, reference, time_zone), update (reference, time_zone, deleted_at)
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
  with check (organization_id = (select private.organization_as('admin')));
create policy role_scoped_select_delete on public.caseloads for delete to authenticated
  using (organization_id = (select private.organization_as('admin')));
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
  with check (organization_id = (select private.organization_as('admin')));
create policy role_scoped_select_delete on public.client_users for delete to authenticated
  using (organization_id = (select private.organization_as('admin')));
grant select, insert (organization_id, client_id, user_id), delete on public.client_users to authenticated;
grant select, insert, delete on public.client_users to service_role;

alter table public.rooms enable row level security;
create policy role_scoped_select on public.rooms for select to authenticated
  using (organization_id = (select private.organization_as('therapist')));
create policy role_scoped_select_insert on public.rooms for insert to authenticated
  with check (organization_id = (select private.organization_as('admin')));
create policy role_scoped_select_update on public.rooms for update to authenticated
  using (organization_id = (select private.organization_as('admin')))
  with check (organization_id = (select private.organization_as('admin')));
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

create function private.refuse_update()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  raise exception using
    errcode = 'restrict_violation',
    message = format('rows of %I.%I are records and never change', tg_table_schema, tg_table_name),
    hint = 'What has versions takes a further one.';
end
$$;
comment on function private.refuse_update() is 'Trigger: refuses UPDATE of rows that are records, or versions of one.';

create function private.refuse_write()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  raise exception using errcode = tg_argv[0], message = tg_argv[1], hint = coalesce(tg_argv[2], '');
end
$$;
comment on function private.refuse_write() is
  'Trigger: refuses a write that its condition finds. Arguments: the SQLSTATE''s name, the message and, if any, the hint.';

create trigger refuse_delete before delete or truncate on public.clients
  for each statement execute function private.refuse_delete();
create trigger refuse_delete before delete or truncate on public.therapists
  for each statement execute function private.refuse_delete();
create trigger refuse_delete before delete or truncate on public.organizations
  for each statement execute function private.refuse_delete();
