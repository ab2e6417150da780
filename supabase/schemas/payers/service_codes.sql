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
  valid_from date not null,
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
  perform private.refuse_other_clinic(new.organization_id, tg_table_name);
  -- Two codes entered at once would take one number: the constraint would refuse the second. Clinics number their own
  -- apart from each other, and from what is everybody's, and wait for nobody else.
  perform pg_advisory_xact_lock(
    hashtextextended(encode(sha256(convert_to(format('service_codes/%s', new.organization_id), 'UTF8')), 'hex'), 3)
  );
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
  with check (organization_id = (select private.organization_as('super_admin')));
create policy service_codes_update on public.service_codes for update to authenticated
  using (organization_id = (select private.organization_as('super_admin')))
  with check (organization_id = (select private.organization_as('super_admin')));
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
    -- A type goes on to mean its last code: once that has ended it is a code to be replaced, not another service.
    order by service.valid_from desc
    limit 1
  );
end
$$;
comment on function private.service_code(uuid, text, text, date) is
  'The code a booking names on a day: outright, or by its session type, which means the last code it has had by then. Null '
  'when it names no service. Whether the code is valid that day: private.service_code_on.';
grant execute on function private.service_code(uuid, text, text, date) to authenticated, service_role;

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

create function private.may_render_each(
  organization_id uuid,
  therapist_id uuid,
  cpt_codes text[],
  on_dates date[],
  clients integer[] default null
)
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  return not exists (
    with version as materialized (
      select known.code, known.min_clients, known.max_clients, greatest(known.valid_from, held.valid_from) as valid_from,
        least(coalesce(known.valid_to, 'infinity'), coalesce(held.valid_to, 'infinity')) as valid_to
      from public.service_codes as known
      left join public.therapist_credentials as held
        on held.organization_id = may_render_each.organization_id and held.therapist_id = may_render_each.therapist_id
      where known.code = any (cpt_codes)
        and (known.organization_id is null or known.organization_id = may_render_each.organization_id)
        -- Whoever is no therapist has no credential.
        and (held.level is null or held.level = any (known.levels))
    )
    select from unnest(cpt_codes, on_dates, clients) as service (code, date, clients)
    where service.code is not null and not exists (
      select from version
      where version.code = service.code
        and (service.date is null or service.date between version.valid_from and version.valid_to)
        and (service.clients is null or service.clients between version.min_clients and version.max_clients)
    )
  );
end
$$;
comment on function private.may_render_each(uuid, uuid, text[], date[], integer[]) is
  'Whether a therapist may render each code on its day, with the level they have on that day; without a day, any version of '
  'it at any level of theirs. clients: for how many at once, when that is asked. Nobody renders a code that is unknown. '
  'Whoever is no therapist is judged elsewhere.';

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

create function private.may_render_held(organization_id uuid, therapist_id uuid, cpt_code text, on_date date)
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  return exists (
    select from (
      select known.levels from public.service_codes as known
      where known.code = cpt_code
        and (known.organization_id is null or known.organization_id = may_render_held.organization_id)
      order by known.valid_from <= on_date desc, known.valid_from desc
      limit 1
    ) as version
    left join public.therapist_credentials as had
      on had.organization_id = may_render_held.organization_id and had.therapist_id = may_render_held.therapist_id
    where had.level is null
      or had.level = any (version.levels) and on_date between had.valid_from and coalesce(had.valid_to, 'infinity')
  );
end
$$;
comment on function private.may_render_held(uuid, uuid, text, date) is
  'Whether a therapist''s level on a day may render a code that may have ended by then, as its last version says: for what is '
  'held already.';
