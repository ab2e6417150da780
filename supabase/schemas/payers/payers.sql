-- Purpose: the services a clinic renders, who pays for them, and each payer's rules, as data.
-- Objects: service_codes; payers, payer_rules, payer_code_rules, payer_concurrency_rules, client_coverages; what they
--          mean for a service: units, payer of the day, lanes.
-- Watch for: every rule has a first and a last day, and no two versions of one rule share a day. A service is judged by
--            the rules of the day it is rendered on, never by today's.

create type public.unit_rounding as enum ('midpoint', 'floor', 'ceil', 'cms_pooled');
comment on type public.unit_rounding is
  'How a payer rounds minutes to 15-minute units. midpoint: from the 8th minute on; cms_pooled: the day''s minutes of '
  'all timed codes together.';

-- Services ---------------------------------------------------------------------------------------------------------

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

create table public.service_codes (
  code text primary key check (code ~ '^[0-9A-Z]{5}$'),
  ordinal smallint not null unique check (ordinal between 1 and 99),
  description text not null check (length(description) between 1 and 200),
  qhp_only boolean not null,
  min_clients smallint not null default 1 check (min_clients >= 1),
  max_clients smallint not null default 1,
  session_type text unique check (session_type = lower(session_type)),
  lanes int4multirange not null generated always as (private.pair_lanes(ordinal)) stored,
  check (max_clients >= min_clients)
);
comment on table public.service_codes is
  'Adaptive-behavior services, timed in units of 15 minutes. Descriptions are this product''s own: the CPT descriptors '
  'are the AMA''s.';
comment on column public.service_codes.ordinal is 'The code''s number in lanes; never changes once it has been used.';
comment on column public.service_codes.qhp_only is 'Only a qualified professional may render it; a technician may not.';
comment on column public.service_codes.session_type is 'The session type that means this code when none is named.';
comment on column public.service_codes.lanes is 'Its lanes where no payer allows it beside another; see private.pair_lanes.';

insert into public.service_codes (code, ordinal, description, qhp_only, min_clients, max_clients, session_type)
values
  ('97151', 1, 'Assessment and treatment planning', true, 1, 1, 'assessment'),
  ('97152', 2, 'Supporting assessment by a technician', false, 1, 1, null),
  ('97153', 3, 'One-to-one treatment by protocol', false, 1, 1, 'individual'),
  ('97154', 4, 'Group treatment by protocol', false, 2, 8, 'group'),
  ('97155', 5, 'Treatment with protocol modification', true, 1, 1, null),
  ('97156', 6, 'Guidance for a family', true, 1, 1, 'consultation'),
  ('97157', 7, 'Guidance for a group of families', true, 2, 8, null),
  ('97158', 8, 'Group treatment with protocol modification', true, 2, 8, null),
  ('0362T', 9, 'Supporting assessment of severe behavior', true, 1, 1, null),
  ('0373T', 10, 'Treatment of severe behavior', true, 1, 1, null);

alter table public.service_codes enable row level security;
create policy service_codes_select on public.service_codes for select to authenticated using (true);
comment on policy service_codes_select on public.service_codes is 'Reference data: every signed-in user may list services.';
grant select on public.service_codes to authenticated, service_role;

create function private.service_code(cpt_code text, session_type text)
returns text
language plpgsql
stable
set search_path = ''
as $$
begin
  return coalesce(cpt_code, (
    select service.code
    from public.service_codes as service
    where service.session_type = lower(btrim(service_code.session_type))
  ));
end
$$;
comment on function private.service_code(text, text) is
  'The code a booking names: outright, or by its session type. Null when it names no service.';

create function private.billed_code(cpt_code text, session_type text)
returns text
language plpgsql
stable
set search_path = ''
as $$
begin
  return coalesce(private.service_code(cpt_code, session_type), '97153');
end
$$;
comment on function private.billed_code(text, text) is
  'The code a booking is billed as, as deriveCptMetadata derives it: without any, one-to-one treatment.';

create function private.may_render(organization_id uuid, therapist_id uuid, cpt_code text)
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  return cpt_code is null or not exists (
    select 1
    from public.service_codes as service
    join public.therapists as therapist
      on therapist.organization_id = may_render.organization_id and therapist.id = may_render.therapist_id
    where service.code = may_render.cpt_code
      and service.qhp_only
      and therapist.credential = 'RBT'
  );
end
$$;
comment on function private.may_render(uuid, uuid, text) is
  'False where a technician (RBT) would render a code that is a qualified professional''s. What an assistant (BCaBA) '
  'may bill differs by payer, and is not refused here.';

-- Payers and their rules -----------------------------------------------------------------------------------------------

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
  rounding public.unit_rounding not null default 'midpoint',
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
create index payer_rules_payer_idx on public.payer_rules (organization_id, payer_id);

create table public.payer_code_rules (
  organization_id uuid not null,
  id uuid not null default gen_random_uuid(),
  payer_id uuid not null,
  cpt_code text not null check (cpt_code ~ '^[0-9A-Z]{5}$'),
  rounding public.unit_rounding,
  modifiers text[] not null default '{}' check (cardinality(modifiers) <= 4),
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
comment on column public.payer_code_rules.max_daily_units is
  'The most units a day and client, such as the Medically Unlikely Edits. Exceeding it warns; an appeal may be paid.';
create index payer_code_rules_payer_idx on public.payer_code_rules (organization_id, payer_id);

create table public.payer_concurrency_rules (
  organization_id uuid not null,
  id uuid not null default gen_random_uuid(),
  payer_id uuid not null,
  first_code text not null references public.service_codes (code),
  second_code text not null references public.service_codes (code),
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
create index payer_concurrency_rules_first_code_idx on public.payer_concurrency_rules (first_code);
create index payer_concurrency_rules_second_code_idx on public.payer_concurrency_rules (second_code);

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

-- What the rules mean for one service ------------------------------------------------------------------------------------

create function private.billable_units(minutes numeric, rounding public.unit_rounding default 'midpoint')
returns integer
language plpgsql
immutable
set search_path = ''
as $$
begin
  return case rounding
    when 'floor' then floor(minutes / 15)
    when 'ceil' then ceil(minutes / 15)
    else floor((floor(minutes) + 7) / 15)
  end;
end
$$;
comment on function private.billable_units(numeric, public.unit_rounding) is
  'The 15-minute units of one session''s minutes. cms_pooled gives what the session would have as the only one of its '
  'day. The same as billableUnits in units.ts, by one table of cases.';

create function private.pool_units(codes text[], minutes numeric[])
returns table (code text, units integer)
language plpgsql
immutable
set search_path = ''
as $$
#variable_conflict use_column
begin
  return query
  with service as (
    select item.code, sum(item.minutes) as minutes, min(item.position) as position
    from unnest(pool_units.codes, pool_units.minutes) with ordinality as item (code, minutes, position)
    group by item.code
  ),
  day as (
    select private.billable_units(sum(service.minutes)) - sum(floor(service.minutes / 15)) as units_over from service
  ),
  ranked as (
    select
      service.code, service.position, floor(service.minutes / 15) as whole,
      row_number() over (order by service.minutes % 15 desc, service.position) as place
    from service
  )
  select ranked.code, (ranked.whole + case when ranked.place <= day.units_over then 1 else 0 end)::integer
  from ranked
  cross join day
  order by ranked.position;
end
$$;
comment on function private.pool_units(text[], numeric[]) is
  'The units of one client''s and provider''s day by CMS''s rule (Medicare Claims Processing Manual, chapter 5, section '
  '20.2): all minutes rounded once; each code gets its whole units, what is left goes to those with the most minutes '
  'over. The same as poolUnits in units.ts.';

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

create function private.payer_rule(organization_id uuid, payer_id uuid, cpt_code text, on_date date)
returns table (
  rounding public.unit_rounding,
  modifiers text[],
  max_daily_units smallint,
  authorization_required boolean,
  evv_required boolean
)
language plpgsql
stable
set search_path = ''
as $$
#variable_conflict use_column
begin
  return query
  select
    coalesce(code_rule.rounding, rule.rounding, 'midpoint'),
    coalesce(code_rule.modifiers, '{}'),
    code_rule.max_daily_units,
    coalesce(code_rule.authorization_required, rule.authorization_required, false),
    coalesce(rule.evv_required, false)
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
  select candidate.ordinal, candidate.lanes into service
  from public.service_codes as candidate
  where candidate.code = cpt_code;
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
    cross join public.service_codes as other
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

-- Row-level security: staff read, a super_admin edits rules, admins keep coverages --------------------------------------

alter table public.payers enable row level security;
alter table public.payer_rules enable row level security;
alter table public.payer_code_rules enable row level security;
alter table public.payer_concurrency_rules enable row level security;

do $$
declare
  table_name text;
begin
  foreach table_name in array array['payers', 'payer_rules', 'payer_code_rules', 'payer_concurrency_rules'] loop
    execute format(
      'create policy role_scoped_select on public.%I for select to authenticated using ('
      'organization_id = (select private.active_organization_id()) and (select private.active_role()) <> ''client'')',
      table_name
    );
    execute format(
      'create policy role_scoped_select_insert on public.%I for insert to authenticated with check ('
      'organization_id = (select private.active_organization_id()) and (select private.active_role()) = ''super_admin'')',
      table_name
    );
    execute format(
      'create policy role_scoped_select_update on public.%I for update to authenticated using ('
      'organization_id = (select private.active_organization_id()) and (select private.active_role()) = ''super_admin'') '
      'with check ('
      'organization_id = (select private.active_organization_id()) and (select private.active_role()) = ''super_admin'')',
      table_name
    );
    execute format(
      'comment on policy role_scoped_select on public.%I is ''Staff read payers and their rules.''', table_name
    );
    execute format(
      'comment on policy role_scoped_select_insert on public.%I is ''A super_admin enters payers and their rules.''', table_name
    );
    execute format(
      'comment on policy role_scoped_select_update on public.%I is ''A super_admin edits payers and their rules.''', table_name
    );
    execute format('grant select, insert, update on public.%I to service_role', table_name);
    execute format('grant select on public.%I to authenticated', table_name);
  end loop;
end
$$;
grant insert (organization_id, id, name), update (name, deleted_at) on public.payers to authenticated;
grant
  insert (organization_id, id, payer_id, rounding, telehealth_modifier, authorization_required, evv_required,
    valid_from, valid_to),
  update (rounding, telehealth_modifier, authorization_required, evv_required, valid_from, valid_to)
  on public.payer_rules to authenticated;
grant
  insert (organization_id, id, payer_id, cpt_code, rounding, modifiers, max_daily_units, authorization_required,
    valid_from, valid_to),
  update (rounding, modifiers, max_daily_units, authorization_required, valid_from, valid_to)
  on public.payer_code_rules to authenticated;
grant
  insert (organization_id, id, payer_id, first_code, second_code, allowed, valid_from, valid_to),
  update (allowed, valid_from, valid_to)
  on public.payer_concurrency_rules to authenticated;

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
  'Admins read all coverages, a therapist those of her caseload.';
comment on policy role_scoped_select_insert on public.client_coverages is 'Admins enter who pays for a client.';
comment on policy role_scoped_select_update on public.client_coverages is 'Admins end or correct a coverage.';
grant select,
  insert (organization_id, id, client_id, payer_id, priority, valid_from, valid_to),
  update (priority, valid_from, valid_to)
  on public.client_coverages to authenticated;
grant select, insert, update on public.client_coverages to service_role;

-- A beginning --------------------------------------------------------------------------------------------------------

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
begin
  insert into public.payers (organization_id, id, name)
  values
    (add_default_payers.organization_id, default_id, 'Default'),
    (add_default_payers.organization_id, tricare_id, 'TRICARE'),
    (add_default_payers.organization_id, commercial_id, 'Great Lakes Health Plan');

  insert into public.payer_rules (
    organization_id, payer_id, rounding, telehealth_modifier, authorization_required, evv_required, valid_from
  )
  values
    (add_default_payers.organization_id, default_id, 'midpoint', '95', false, false, add_default_payers.valid_from),
    (add_default_payers.organization_id, tricare_id, 'midpoint', 'GT', true, false, add_default_payers.valid_from),
    (add_default_payers.organization_id, commercial_id, 'midpoint', '95', false, true, add_default_payers.valid_from);

  -- Daily limits are the Medically Unlikely Edits; the commercial plan wants modifiers for the level of the provider.
  insert into public.payer_code_rules (
    organization_id, payer_id, cpt_code, modifiers, max_daily_units, authorization_required, valid_from
  )
  select
    add_default_payers.organization_id, payer.id, code.cpt_code,
    case when payer.id = commercial_id then code.modifiers else '{}' end,
    code.max_daily_units,
    case when payer.id = commercial_id and code.cpt_code in ('97153', '97155') then true end,
    add_default_payers.valid_from
  from (values (default_id), (tricare_id), (commercial_id)) as payer (id)
  cross join (
    values
      ('97151', '{HO}'::text[], 8), ('97152', '{HM}', 16), ('97153', '{HM}', 32), ('97154', '{HM}', 18),
      ('97155', '{HO}', 24), ('97156', '{HO}', 16), ('97157', '{HO}', 16), ('97158', '{HO}', 16),
      ('0362T', '{}', 16), ('0373T', '{}', 24)
  ) as code (cpt_code, modifiers, max_daily_units);

  insert into public.payer_concurrency_rules (
    organization_id, payer_id, first_code, second_code, allowed, valid_from
  )
  select add_default_payers.organization_id, rule.payer_id, rule.first_code, rule.second_code, rule.allowed,
    add_default_payers.valid_from
  from (
    values
      (default_id, '97153', '97155', true),
      (default_id, '97153', '97156', true),
      (commercial_id, '97153', '97155', true),
      (commercial_id, '97153', '97156', true),
      (commercial_id, '97151', '97153', true),
      -- TRICARE Operations Manual, Autism Care Demonstration: concurrent billing.
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
  ) as rule (payer_id, first_code, second_code, allowed);
end
$$;
comment on function private.add_default_payers(uuid, date) is
  'Gives an organization three payers to begin with: a plausible default, TRICARE, and a commercial plan. Rules are data '
  'from there on: check them against the payers'' own manuals, and edit.';
