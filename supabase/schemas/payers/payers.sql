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
  valid_from date not null,
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
  authorization_required boolean,
  valid_from date not null,
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
create index payer_code_rules_payer_idx on public.payer_code_rules (organization_id, payer_id);

create table public.payer_concurrency_rules (
  organization_id uuid not null,
  id uuid not null default gen_random_uuid(),
  payer_id uuid not null,
  first_code text not null check (first_code ~ '^[0-9A-Z]{5}$'),
  second_code text not null check (second_code ~ '^[0-9A-Z]{5}$'),
  allowed boolean not null,
  valid_from date not null,
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

create type private.payer_terms as (
  rounding public.unit_rounding,
  authorization_required boolean,
  evv_required boolean,
  is_covered boolean,
  unit_minutes integer
);
comment on type private.payer_terms is 'What a payer asks for a code on a day, and the minutes of one of its units.';

create function private.payer_rule(organization_id uuid, payer_id uuid, cpt_code text, on_date date)
returns private.payer_terms
language plpgsql
stable
set search_path = ''
as $$
declare
  terms private.payer_terms;
begin
  select
    coalesce(code_rule.rounding, rule.rounding, 'midpoint'),
    coalesce(code_rule.authorization_required, rule.authorization_required, false),
    coalesce(rule.evv_required, false),
    coalesce(code_rule.is_covered, true),
    coalesce(service.unit_minutes, 15)
  into terms
  from (values (payer_rule.payer_id)) as payer (id)
  left join public.payer_rules as rule
    on rule.organization_id = payer_rule.organization_id
    and rule.payer_id = payer.id
    and daterange(rule.valid_from, rule.valid_to, '[]') @> on_date
  left join public.payer_code_rules as code_rule
    on code_rule.organization_id = payer_rule.organization_id
    and code_rule.payer_id = payer.id
    and code_rule.cpt_code = payer_rule.cpt_code
    and daterange(code_rule.valid_from, code_rule.valid_to, '[]') @> on_date
  left join public.service_codes as service
    on service.code = payer_rule.cpt_code
    and (service.organization_id is null or service.organization_id = payer_rule.organization_id)
    and on_date between service.valid_from and coalesce(service.valid_to, 'infinity');
  return terms;
end
$$;
comment on function private.payer_rule(uuid, uuid, text, date) is
  'A payer''s rule for a code on a day, defaults filled in, also for no payer.';

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
declare
  wanted jsonb;
  names text[] := '{}';
begin
  select code_rule.modifiers into wanted
  from public.payer_code_rules as code_rule
  where code_rule.organization_id = default_modifiers.organization_id
    and code_rule.payer_id = default_modifiers.payer_id
    and code_rule.cpt_code = default_modifiers.cpt_code
    and daterange(code_rule.valid_from, code_rule.valid_to, '[]') @> on_date;
  if found then
    names := array(select jsonb_array_elements_text(wanted -> private.provider_level(credential)::text));
  end if;
  if private.place_of(location_type) = 'telehealth' then
    names := names || (
      select coalesce(rule.telehealth_modifier, case when rule.payer_id is null then '95' end)
      from (values (1)) as once
      left join public.payer_rules as rule
        on rule.organization_id = default_modifiers.organization_id
        and rule.payer_id = default_modifiers.payer_id
        and daterange(rule.valid_from, rule.valid_to, '[]') @> on_date
    );
  end if;
  if cardinality(names) = 0 then
    return names;
  end if;
  return array(
    select modifier.name
    from unnest(names) with ordinality as modifier (name, position)
    where modifier.name is not null
    group by modifier.name
    order by min(modifier.position)
    limit 4
  );
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
grant select on public.payers to authenticated;
grant insert (organization_id, id, name), update (name, deleted_at) on public.payers to authenticated;
grant select, insert, update on public.payers to service_role;

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
grant select on public.payer_rules to authenticated;
grant
  insert (organization_id, id, payer_id, rounding, telehealth_modifier, authorization_required, evv_required,
    valid_from, valid_to),
  update (rounding, telehealth_modifier, authorization_required, evv_required, valid_from, valid_to)
  on public.payer_rules to authenticated;
grant select, insert, update on public.payer_rules to service_role;

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
grant select on public.payer_code_rules to authenticated;
grant
  insert (organization_id, id, payer_id, cpt_code, rounding, modifiers, is_covered, excluded_places,
    authorization_required, valid_from, valid_to),
  update (rounding, modifiers, is_covered, excluded_places, authorization_required, valid_from, valid_to)
  on public.payer_code_rules to authenticated;
grant select, insert, update on public.payer_code_rules to service_role;

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
grant select on public.payer_concurrency_rules to authenticated;
grant
  insert (organization_id, id, payer_id, first_code, second_code, allowed, valid_from, valid_to),
  update (allowed, valid_from, valid_to)
  on public.payer_concurrency_rules to authenticated;
grant select, insert, update on public.payer_concurrency_rules to service_role;
