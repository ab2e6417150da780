-- Purpose: payers to begin with.
-- Objects: private.add_default_payers.

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
