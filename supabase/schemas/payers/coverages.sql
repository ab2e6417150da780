-- Purpose: who pays for a client, and when.
-- Objects: client_coverages; private.service_date, private.primary_payer, private.covers.

create table public.client_coverages (
  organization_id uuid not null,
  id uuid not null default gen_random_uuid(),
  client_id uuid not null,
  payer_id uuid not null,
  priority smallint not null default 1 check (priority between 1 and 9),
  valid_from date not null,
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
grant execute on function private.service_zone(uuid, uuid) to authenticated, service_role;

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

create function private.covers(organization_id uuid, client_id uuid, payer_id uuid, on_date date)
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  return exists (
    select from public.client_coverages as coverage
    where coverage.organization_id = covers.organization_id and coverage.client_id = covers.client_id
      and coverage.payer_id = covers.payer_id
      and on_date between coverage.valid_from and coalesce(coverage.valid_to, 'infinity')
  );
end
$$;
comment on function private.covers(uuid, uuid, uuid, date) is 'Whether a payer covers a client on a day, first or after others.';

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
  with check (organization_id = (select private.organization_as('admin')));
create policy role_scoped_select_update on public.client_coverages for update to authenticated
  using (organization_id = (select private.organization_as('admin')))
  with check (organization_id = (select private.organization_as('admin')));
comment on policy role_scoped_select on public.client_coverages is
  'Admins read all coverages, a therapist those of their caseload.';
comment on policy role_scoped_select_insert on public.client_coverages is 'Admins enter who pays for a client.';
comment on policy role_scoped_select_update on public.client_coverages is 'Admins end or correct a coverage.';
grant select,
  insert (organization_id, id, client_id, payer_id, priority, valid_from, valid_to),
  update (priority, valid_from, valid_to)
  on public.client_coverages to authenticated;
grant select, insert, update on public.client_coverages to service_role;
