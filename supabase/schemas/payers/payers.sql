-- Purpose: who pays for services, and each payer's rules, as data.
-- Objects: payers, payer_rules, payer_code_rules, payer_concurrency_rules; private.payer_rule.
-- Watch for: every rule has a first and a last day, and no two versions of one rule share a day. A service is judged by
--            the rules of the day it is rendered on, never by today's.

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
rows 1
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
grant execute on function private.payer_rule(uuid, uuid, text, date) to authenticated, service_role;

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
  insert (organization_id, id, payer_id, cpt_code, rounding, modifiers, max_daily_units, authorization_required,
    valid_from, valid_to),
  update (rounding, modifiers, max_daily_units, authorization_required, valid_from, valid_to)
  on public.payer_code_rules to authenticated;
grant
  insert (organization_id, id, payer_id, first_code, second_code, allowed, valid_from, valid_to),
  update (allowed, valid_from, valid_to)
  on public.payer_concurrency_rules to authenticated;
