-- Purpose: the most units a day, a week, a month or an authorization, as payers and their authorizations write them.
-- Objects: unit_limits, private.limit_window.
-- Watch for: quotes.sql counts them, from the ledger. A limit changes what is booked from now on, never what is booked.

create type public.limit_scope as enum ('client', 'client_and_therapist', 'therapist');
comment on type public.limit_scope is
  'Whose units a limit counts: a client''s, a client''s with one therapist, or a therapist''s with all clients of the payer.';
create type public.limit_period as enum ('day', 'week', 'month', 'authorization');
comment on type public.limit_period is
  'Within what a limit counts: a local day, a week from week_starts_on, a calendar month, or all days of its authorization.';
create type public.limit_effect as enum ('warn', 'refuse');
comment on type public.limit_effect is
  'warn: a hold or a completion beyond it says so; refuse: it is AUTHORIZATION_EXCEEDED, which an admin may override.';

create table public.unit_limits (
  organization_id uuid not null,
  id uuid not null default gen_random_uuid(),
  authorization_id uuid,
  payer_id uuid,
  cpt_codes text[] not null check (cardinality(cpt_codes) between 1 and 50),
  per public.limit_scope not null default 'client',
  period public.limit_period not null,
  week_starts_on smallint not null default 7 check (week_starts_on between 1 and 7),
  max_units integer not null check (max_units > 0),
  effect public.limit_effect not null default 'refuse',
  valid_from date not null default '2000-01-01',
  valid_to date check (valid_to >= valid_from),
  created_at timestamptz not null default now(),
  primary key (organization_id, id),
  foreign key (organization_id, authorization_id) references public.authorizations (organization_id, id),
  foreign key (organization_id, payer_id) references public.payers (organization_id, id),
  constraint unit_limits_of_one check (num_nonnulls(authorization_id, payer_id) = 1),
  constraint unit_limits_period_of_authorization check (period <> 'authorization' or authorization_id is not null)
);
comment on table public.unit_limits is
  'The most units of some codes, together, within a period: of an authorization, or of all clients of a payer. Never '
  'deleted: a limit ends with valid_to.';
comment on column public.unit_limits.cpt_codes is 'Whose units are counted together. Of an authorization: some or all of its codes.';
comment on column public.unit_limits.week_starts_on is 'The first day of a week, 1 Monday to 7 Sunday. Only for weeks.';
comment on column public.unit_limits.max_units is 'Reached is allowed, beyond is not.';
comment on column public.unit_limits.valid_from is
  'The first day of service it applies to. A period that began before counts whole.';
comment on column public.unit_limits.valid_to is 'The last day of service it applies to; null while it lasts.';
create index unit_limits_authorization_idx on public.unit_limits (organization_id, authorization_id)
  where authorization_id is not null;
create index unit_limits_payer_idx on public.unit_limits (organization_id, payer_id) where payer_id is not null;

create trigger refuse_delete before delete or truncate on public.unit_limits
  for each statement execute function private.refuse_delete();
create trigger z_audit after insert or update on public.unit_limits
  for each row execute function private.audit_rule_change('unit_limit');

create function private.guard_unit_limit()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  stranger text;
begin
  if tg_op = 'UPDATE' and (new.organization_id, new.id, new.authorization_id, new.payer_id, new.cpt_codes, new.per, new.period)
    is distinct from (old.organization_id, old.id, old.authorization_id, old.payer_id, old.cpt_codes, old.per, old.period)
  then
    raise exception using
      errcode = 'check_violation',
      message = 'whose, of which codes and of which period a limit is never changes',
      hint = 'End this limit and enter another.';
  end if;
  select named.code into stranger
  from unnest(new.cpt_codes) as named (code)
  where named.code is null or not case
    when new.authorization_id is not null then exists (
      select from public.authorization_codes as granted
      where granted.organization_id = new.organization_id and granted.authorization_id = new.authorization_id
        and granted.cpt_code = named.code
    )
    else exists (
      select from public.service_codes as known
      where known.code = named.code and (known.organization_id is null or known.organization_id = new.organization_id)
    )
  end
  limit 1;
  if found then
    perform private.refuse_other_clinic(new.organization_id, tg_table_name);
    raise exception using
      errcode = 'check_violation',
      constraint = 'unit_limits_codes',
      schema = 'public',
      table = 'unit_limits',
      column = 'cpt_codes',
      message = format('cpt_codes: %s is none of the %s', coalesce(stranger, 'null'),
        case when new.authorization_id is not null then 'authorization''s codes' else 'service codes' end),
      hint = 'A limit of an authorization is of its codes; see authorization_codes.';
  end if;
  return new;
end
$$;
comment on function private.guard_unit_limit() is
  'Trigger: a limit is of codes that its authorization has, or, of a payer, of known ones; and stays what it is of.';
create trigger a_guard_unit_limit before insert or update on public.unit_limits
  for each row execute function private.guard_unit_limit();

alter table public.unit_limits enable row level security;
create policy role_scoped_select on public.unit_limits for select to authenticated
  using (
    organization_id = (select private.organization_as('therapist'))
    and (
      payer_id is not null
      or exists (
        select from public.authorizations as approval
        where approval.organization_id = unit_limits.organization_id and approval.id = unit_limits.authorization_id
      )
    )
  );
create policy role_scoped_select_insert on public.unit_limits for insert to authenticated
  with check (
    organization_id = (select private.organization_as('admin'))
    and (payer_id is null or (select private.active_role()) = 'super_admin')
  );
create policy role_scoped_select_update on public.unit_limits for update to authenticated
  using (
    organization_id = (select private.organization_as('admin'))
    and (payer_id is null or (select private.active_role()) = 'super_admin')
  )
  with check (
    organization_id = (select private.organization_as('admin'))
    and (payer_id is null or (select private.active_role()) = 'super_admin')
  );
comment on policy role_scoped_select on public.unit_limits is
  'Staff read the limits of payers; who may read an authorization reads its limits.';
comment on policy role_scoped_select_insert on public.unit_limits is
  'Admins enter the limits of authorizations, a super_admin those of payers.';
comment on policy role_scoped_select_update on public.unit_limits is
  'Admins edit the limits of authorizations, a super_admin those of payers.';
grant select,
  insert (organization_id, id, authorization_id, payer_id, cpt_codes, per, period, week_starts_on, max_units, effect,
    valid_from, valid_to),
  update (week_starts_on, max_units, effect, valid_from, valid_to)
  on public.unit_limits to authenticated;
grant select, insert, update on public.unit_limits to service_role;

create function private.limit_window(period public.limit_period, week_starts_on integer, on_date date)
returns daterange
language plpgsql
immutable
set search_path = ''
as $$
declare
  first_date date;
begin
  case period
    when 'day' then
      return daterange(on_date, on_date + 1);
    when 'week' then
      first_date := on_date - (extract(isodow from on_date)::integer - week_starts_on + 7) % 7;
      return daterange(first_date, first_date + 7);
    when 'month' then
      first_date := date_trunc('month', on_date::timestamp)::date;
      return daterange(first_date, (first_date + interval '1 month')::date);
    else
      return null;
  end case;
end
$$;
comment on function private.limit_window(public.limit_period, integer, date) is
  'The days that a limit counts together with this one: civil days, so a change of clocks makes no week longer. Null for '
  'the period of an authorization.';
