-- Modifiers follow the payer, the code and the level of who renders, then the place; and not every payer pays for every code
-- at every place. The payers that a clinic begins with say what their sources say.
begin;
select plan(42);
select tests.open_clinic();
select private.add_default_payers(tests.id('clinic'));

create function pg_temp.payer(name text) returns uuid language sql as $$
  select id from public.payers where organization_id = tests.id('clinic') and payers.name = payer.name
$$;
create function pg_temp.modifiers(payer text, code text, credential text, place text, day date default '2026-12-01') returns text language sql as $$
  select array_to_string(private.default_modifiers(tests.id('clinic'), pg_temp.payer(payer), code, credential, place, day), ' ')
$$;

select is(pg_temp.modifiers(payer, code, credential, place), wanted, format('%s, %s by %s at %s', payer, code, credential, place))
from (values
  ('Example Commercial Plan', '97153', 'RBT', 'clinic', 'HM'),
  ('Example Commercial Plan', '97153', 'BCaBA', 'clinic', 'HN'),
  ('Example Commercial Plan', '97153', 'BCBA', 'clinic', 'HO'),
  ('Example Commercial Plan', '97153', 'BCBA-D', 'Tele-health', 'HO 95'),
  ('Example Commercial Plan', '97156', 'BCaBA', 'clinic', 'HN'),
  ('Example Commercial Plan', '97156', 'BCBA', 'clinic', 'HO'),
  ('Example Commercial Plan', '97154', 'RBT', 'home', 'HM HQ'),
  ('Example Commercial Plan', '97155', 'RBT', 'clinic', ''),
  ('Example Medicaid Program', '97154', 'RBT', 'clinic', 'HM'),
  ('TRICARE', '97156', 'BCBA', 'home_virtual', 'GT'),
  ('TRICARE', '97153', 'RBT', 'clinic', ''),
  ('Default', '97154', 'RBT', 'clinic', ''),
  ('Default', '97156', 'BCBA', 'remote', '95'),
  ('nobody', '97156', 'BCBA', 'virtual', '95'),
  ('nobody', '97154', 'BCBA', 'hotel', ''),
  ('nobody', '97154', 'BCBA', 'hostelemental', ''),
  ('nobody', '97154', 'BCBA', null, '')
) as example (payer, code, credential, place, wanted);

-- At most four, in the payer's order, each once
update public.payer_code_rules set modifiers = '{"technician": ["U1", "95", "U3", "U4"]}', valid_to = '2026-12-31'
where organization_id = tests.id('clinic') and payer_id = pg_temp.payer('TRICARE') and cpt_code = '97156';
update public.payer_rules set telehealth_modifier = '95' where organization_id = tests.id('clinic') and payer_id = pg_temp.payer('TRICARE');
select is(pg_temp.modifiers('TRICARE', '97156', 'RBT', 'virtual'), 'U1 95 U3 U4', 'each once, where it stands first');
update public.payer_rules set telehealth_modifier = 'GT' where organization_id = tests.id('clinic') and payer_id = pg_temp.payer('TRICARE');
select is(pg_temp.modifiers('TRICARE', '97156', 'RBT', 'virtual'), 'U1 95 U3 U4', 'four at most');
update public.payer_rules set telehealth_modifier = null where organization_id = tests.id('clinic') and payer_id = pg_temp.payer('TRICARE');
select is(pg_temp.modifiers('TRICARE', '97153', 'RBT', 'virtual'), '', 'a payer may want none for telehealth');
select is(pg_temp.modifiers('TRICARE', '97156', 'RBT', 'clinic', '2027-01-01'), '', 'the rules are the day''s');

-- A rule for a code goes before that of its payer, where it says something.
insert into public.payers (organization_id, name) values (tests.id('clinic'), 'Strict');
insert into public.payer_rules (organization_id, payer_id, rounding, authorization_required, valid_from)
values (tests.id('clinic'), pg_temp.payer('Strict'), 'floor', true, '2020-01-01');
insert into public.payer_code_rules (organization_id, payer_id, cpt_code, rounding, authorization_required, valid_from)
values (tests.id('clinic'), pg_temp.payer('Strict'), '97152', 'ceil', false, '2020-01-01'), (tests.id('clinic'), pg_temp.payer('Strict'), '97151', null, null, '2020-01-01');
select is((select concat_ws(' ', rounding, authorization_required) from private.payer_rule(tests.id('clinic'), pg_temp.payer('Strict'), code, '2026-12-01')), wanted, format('the terms of %s', code))
from (values ('97152', 'ceil f'), ('97151', 'floor t'), ('97155', 'floor t')) as rule (code, wanted);

-- What a rule may say
select is(
  tests.error_code('super', format('update public.payer_code_rules set modifiers = %L where payer_id = %L', modifiers, pg_temp.payer('Default'))), wanted, what)
from (values
  ('{"technician": ["HM"], "qhp": []}', null, 'levels with lists'),
  ('["HM"]', '23514', 'a list without levels is refused'),
  ('{"RBT": ["HM"]}', '23514', 'so is a level that is none'),
  ('{"qhp": ["HOO"]}', '23514', 'a modifier that is none'),
  ('{"qhp": ["ho"]}', '23514', 'one in lower case'),
  ('{"qhp": "HO"}', '23514', 'one that is no list'),
  ('{"qhp": ["A1", "A2", "A3", "A4", "A5"]}', '23514', 'and a fifth')
) as rule (modifiers, wanted, what);
select is(tests.error_code('super', format('update public.payer_code_rules set excluded_places = %L where payer_id = %L', '{telehealth,school}', pg_temp.payer('Default'))), null, 'places');
select is(tests.error_code('super', format('update public.payer_code_rules set excluded_places = %L where payer_id = %L', '{Virtual}', pg_temp.payer('Default'))), '23514', 'have one name each');

-- What payers do not pay for
select is(private.coverage_gap(tests.id('clinic'), pg_temp.payer(payer), code, place, '2026-12-01'), wanted, format('%s, %s at %s: %s', payer, code, place, coalesce(wanted, 'paid')))
from (values
  ('TRICARE', '97152', 'clinic', 'code'), ('TRICARE', '0373T', 'clinic', 'code'), ('TRICARE', '97153', 'clinic', null),
  ('TRICARE', '97153', 'Virtual', 'place'), ('TRICARE', '97155', 'telehealth', 'place'), ('TRICARE', '97156', 'telehealth', null),
  ('nobody', '97153', 'telehealth', null)
) as example (payer, code, place, wanted);
select is(
  (select array_agg(concat_ws(' ', payer.name, rule.cpt_codes[1], rule.max_units) order by payer.name, rule.cpt_codes[1])
    from public.unit_limits as rule join public.payers as payer on payer.id = rule.payer_id
    where rule.organization_id = tests.id('clinic') and rule.cpt_codes in ('{97151}', '{97155}') and rule.period = 'day'
      and payer.name <> 'Default'),
  array['Example Commercial Plan 97151 8', 'Example Commercial Plan 97155 24', 'Example Medicaid Program 97151 32', 'Example Medicaid Program 97155 24',
    'TRICARE 97151 8', 'TRICARE 97155 8'], 'daily limits are each payer''s');
select is(
  (select array_agg(first_code || '+' || second_code order by first_code, second_code) from public.payer_concurrency_rules
    where payer_id = pg_temp.payer('Example Commercial Plan') and allowed),
  array['97153+97155', '97153+97156', '97154+97155'], 'and so is what may run at once');

select * from finish();
rollback;
