-- The payers that a new clinic is given say what their sources say, row by row: the sources are named beside the rows.
begin;
select plan(12);
select tests.open_clinic();
select private.add_default_payers(tests.id('clinic'));
create function pg_temp.payer(name text) returns uuid language sql stable as $$
  select id from public.payers as payer where payer.organization_id = tests.id('clinic') and payer.name = $1
$$;

select results_eq(
  $$select name, rounding::text, telehealth_modifier, authorization_required, evv_required
    from public.payer_rules as rule join public.payers as payer on payer.id = rule.payer_id
    where rule.organization_id = tests.id('clinic') order by name$$,
  $$values ('Default', 'midpoint', '95', false, false), ('Example Commercial Plan', 'midpoint', '95', false, false),
    ('Example Medicaid Program', 'midpoint_daily', '95', true, true), ('TRICARE', 'midpoint', 'GT', true, false)$$,
  'how they round, what telehealth is called, what must be authorized and verified'
);

-- TRICARE, Autism Care Demonstration
select results_eq(
  $$select cpt_code, is_covered, excluded_places from public.payer_code_rules where payer_id = pg_temp.payer('TRICARE') order by cpt_code$$,
  $$values ('0362T', false, '{}'::text[]), ('0373T', false, '{}'), ('97151', true, '{telehealth}'), ('97152', false, '{}'),
    ('97153', true, '{telehealth}'), ('97154', false, '{}'), ('97155', true, '{telehealth}'), ('97156', true, '{}'),
    ('97157', true, '{}'), ('97158', true, '{}')$$,
  'TRICARE covers 97151, 97153 and 97155 to 97158, three of them only in person'
);
select results_eq(
  $$select first_code || ' ' || second_code, allowed from public.payer_concurrency_rules where payer_id = pg_temp.payer('TRICARE') order by 1$$,
  $$values ('97151 97153', true), ('97151 97155', false), ('97151 97156', true), ('97151 97157', true), ('97151 97158', true),
    ('97153 97155', false), ('97153 97156', true), ('97153 97157', true), ('97153 97158', false),
    ('97155 97156', true), ('97155 97157', true), ('97155 97158', false),
    ('97156 97157', false), ('97156 97158', true), ('97157 97158', true)$$,
  'and says of each pair of these whether it is paid at once'
);

-- The others
select results_eq(
  $$select name, string_agg(first_code || ' ' || second_code, ', ' order by first_code, second_code), bool_and(allowed)
    from public.payer_concurrency_rules as rule join public.payers as payer on payer.id = rule.payer_id
    where rule.organization_id = tests.id('clinic') and name <> 'TRICARE' group by name order by name$$,
  $$values ('Default', '97153 97155, 97153 97156, 97154 97155', true), ('Example Commercial Plan', '97153 97155, 97153 97156, 97154 97155', true)$$,
  'commercial plans pay three pairs at once, the Medicaid program none'
);
select is(
  (select count(*) from public.payer_code_rules where organization_id = tests.id('clinic') and payer_id <> pg_temp.payer('TRICARE')
    and (not is_covered or excluded_places <> '{}')), 0::bigint, 'they cover every code everywhere'
);
select is(
  (select array_agg(cpt_code order by cpt_code) from public.payer_code_rules where payer_id = pg_temp.payer('Example Commercial Plan') and authorization_required),
  array['97153', '97155'], 'the commercial plan authorizes treatment'
);
select results_eq(
  $$select cpt_code, modifiers from public.payer_code_rules where payer_id = pg_temp.payer('Example Commercial Plan') and cpt_code in ('97153', '97154', '97156', '0373T') order by cpt_code$$,
  $$values ('0373T', '{}'::jsonb), ('97153', '{"technician": ["HM"], "assistant": ["HN"], "qhp": ["HO"]}'),
    ('97154', '{"technician": ["HM", "HQ"], "assistant": ["HN", "HQ"], "qhp": ["HO", "HQ"]}'), ('97156', '{"assistant": ["HN"], "qhp": ["HO"]}')$$,
  'its modifiers tell the level of who renders, and a group'
);
select is(
  (select count(*) from public.payer_code_rules where organization_id = tests.id('clinic') and modifiers <> '{}'
    and payer_id in (pg_temp.payer('TRICARE'), pg_temp.payer('Default'))), 0::bigint, 'TRICARE and a payer nobody knows want none'
);

-- Limits: Medically Unlikely Edits of a day warn; what a program refuses is refused
create function pg_temp.daily(payer text) returns table (codes text, units integer) language sql stable as $$
  select array_to_string(cpt_codes, ','), max_units from public.unit_limits where payer_id = pg_temp.payer(payer) and period = 'day' and effect = 'warn' order by 1
$$;
select results_eq(
  $$select * from pg_temp.daily('Default')$$,
  $$values ('0362T', 16), ('0373T', 24), ('97151', 8), ('97152', 16), ('97153', 32), ('97154', 18), ('97155', 24), ('97156', 16),
    ('97157', 16), ('97158', 16)$$,
  'the units of a day that Medicare thinks likely'
);
select is(
  (select array_agg(concat_ws(' ', payer.name, other.codes, other.units) order by payer.name, other.codes)
    from unnest(array['TRICARE', 'Example Commercial Plan', 'Example Medicaid Program']) as payer (name)
    cross join lateral pg_temp.daily(payer.name) as other
    where (other.codes, other.units) not in (select * from pg_temp.daily('Default'))),
  array['Example Medicaid Program 97151 32', 'TRICARE 97155 8'], 'two payers differ, in one code each'
);
select results_eq(
  $$select name, array_to_string(cpt_codes, ','), per::text, period::text, week_starts_on::integer, max_units
    from public.unit_limits as limited join public.payers as payer on payer.id = limited.payer_id
    where limited.organization_id = tests.id('clinic') and effect = 'refuse' order by period$$,
  $$values ('Example Medicaid Program', '97153,97154,97155,97158', 'client', 'day', 7, 32), ('Example Medicaid Program', '97153', 'client', 'week', 7, 160)$$,
  'the Medicaid program caps a day over four codes, and the week of one'
);
select is(
  (select count(*) from public.payers where organization_id = tests.id('clinic') and name not in ('Default', 'TRICARE') and name not like 'Example %'),
  0::bigint, 'whoever is made up is called an example'
);

select * from finish();
rollback;
