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
      -- AMA CPT again; commercial plans ask for no electronic visit verification.
      (commercial_id, 'midpoint', '95', false, false),
      -- Medicaid programs commonly add up a day's minutes of a code; electronic visit verification as in Colorado and
      -- Florida.
      (medicaid_id, 'midpoint_daily', '95', true, true)
  ) as rule (payer_id, rounding, telehealth_modifier, authorization_required, evv_required);

  insert into public.payer_code_rules (
    organization_id, payer_id, cpt_code, modifiers, is_covered, excluded_places, authorization_required, valid_from
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
    -- Commercial plans authorize treatment before it begins, for six months at a time; an assessment needs none.
    case when payer.id = commercial_id and code.cpt_code in ('97153', '97155') then true end,
    add_default_payers.valid_from
  from (values (default_id), (tricare_id), (commercial_id), (medicaid_id)) as payer (id)
  cross join (
    values
      ('97151', '{assistant,qhp}'::text[]), ('97152', '{technician,assistant,qhp}'),
      ('97153', '{technician,assistant,qhp}'), ('97154', '{technician,assistant,qhp}'),
      ('97155', '{assistant,qhp}'), ('97156', '{assistant,qhp}'), ('97157', '{assistant,qhp}'),
      ('97158', '{assistant,qhp}'), ('0362T', '{}'), ('0373T', '{}')
  ) as code (cpt_code, levels);

  insert into public.unit_limits (
    organization_id, payer_id, cpt_codes, period, week_starts_on, max_units, effect, valid_from
  )
  select add_default_payers.organization_id, payer.id, array[edit.cpt_code], 'day', 7, edit.max_units, 'warn',
    add_default_payers.valid_from
  from (values (default_id), (tricare_id), (commercial_id), (medicaid_id)) as payer (id)
  cross join (
    values
      -- Medically Unlikely Edits, practitioner set of 2021. CMS publishes new ones every quarter. They warn: an appeal may
      -- be paid.
      ('97151', 8), ('97152', 16), ('97153', 32), ('97154', 18), ('97155', 24), ('97156', 16), ('97157', 16),
      ('97158', 16), ('0362T', 16), ('0373T', 24)
  ) as edit (cpt_code, max_units)
  -- Two differ; they follow.
  where (payer.id, edit.cpt_code) not in ((tricare_id, '97155'), (medicaid_id, '97151'))
  union all
  select add_default_payers.organization_id, limited.*, add_default_payers.valid_from
  from (
    values
      -- TRICARE Operations Manual, chapter 18, section 3: 97155 at most 2 hours a day.
      (tricare_id, '{97155}'::text[], 'day'::public.limit_period, 7, 8, 'warn'::public.limit_effect),
      -- Medicaid's edit of 97151 differs from Medicare's: Medicaid NCCI edits, practitioner set.
      (medicaid_id, '{97151}', 'day', 7, 32, 'warn'),
      -- Texas Medicaid Provider Procedures Manual (Autism Services): 32 units a day over all treatment codes.
      (medicaid_id, '{97153,97154,97155,97158}', 'day', 7, 32, 'refuse'),
      -- An example of a weekly cap: 40 hours of one-to-one treatment in a week from Sunday. Programs differ, and many set
      -- it on each authorization instead.
      (medicaid_id, '{97153}', 'week', 7, 160, 'refuse')
  ) as limited (payer_id, cpt_codes, period, week_starts_on, max_units, effect);

  insert into public.payer_concurrency_rules (
    organization_id, payer_id, first_code, second_code, allowed, valid_from
  )
  select add_default_payers.organization_id, rule.payer_id, rule.first_code, rule.second_code, rule.allowed,
    add_default_payers.valid_from
  from (
    values
      -- Commercial reimbursement policies, such as Optum's for behavioral health, pay these side by side.
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
