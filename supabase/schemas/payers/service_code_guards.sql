-- Purpose: nothing is written under a code that is unknown, or not valid on its day.
-- Objects: what guards sessions and payers' rules; the audit of service_codes.
-- Watch for: a code may end while bookings lie beyond its end: they stay, and reports.sessions_to_recode lists them. They
--            cannot be moved, nor others made, until they have another code. A live hold still confirms.

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
    perform private.refuse_other_clinic(new.organization_id, tg_table_name);
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
-- Bookings and imports have asked for this day already, when they asked who may render it: bookings at the hold.
create trigger a_guard_code_inserted before insert on public.sessions
  for each row when (new.cpt_code is not null and private.is_direct_write())
  execute function private.guard_service_code();
create trigger a_guard_code_updated before update on public.sessions
  for each row when (
    -- What is completed changes through correct_visit alone, which asks for the day on which the visit began. A move asked
    -- when it was held.
    new.cpt_code is not null and old.status <> 'completed' and private.is_direct_write()
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
    perform private.refuse_other_clinic(new.organization_id, tg_table_name);
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
comment on function private.guard_rule_codes() is 'Trigger: a payer''s rule or authorization is of codes that are known.';
create trigger a_guard_rule_codes before insert on public.payer_code_rules
  for each row execute function private.guard_rule_codes();
create trigger a_guard_rule_codes before insert on public.payer_concurrency_rules
  for each row execute function private.guard_rule_codes();
create trigger a_guard_rule_codes before insert on public.authorization_codes
  for each row execute function private.guard_rule_codes();

create trigger refuse_delete before delete or truncate on public.service_codes
  for each statement execute function private.refuse_delete();
-- Everybody's codes come with the schema: no organization's audit has them.
create trigger z_audit after insert or update on public.service_codes
  for each row when (new.organization_id is not null) execute function private.audit_rule_change('service_code');
