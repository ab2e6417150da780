-- A code has a first and a last day, and a clinic may have codes of its own. Nothing is written under a code that is unknown
-- or not valid on its day; what is booked beyond a code's end is listed.
begin;
select plan(60);
select tests.open_clinic();
select tests.open_clinic('other ');

create function pg_temp.add_code(person text, code text, first_day text, last_day text default null, levels text default '{technician}', session_type text default null)
returns text language sql as $$
  select tests.error_code(person, format(
    'insert into public.service_codes (organization_id, code, description, levels, valid_from, valid_to, session_type) values (%L, %L, %L, %L, %L, %L, %L)',
    tests.id(case when person like 'other %' then 'other clinic' else 'clinic' end), code, 'A service', levels, first_day, last_day, session_type))
$$;
create function pg_temp.write(code text, day date, therapist text default 'bcba') returns text language sql as $$
  select tests.error_code('postgres', format(
    'insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code) values (%L, %L, %L, %L, %L, %L, %L)',
    tests.id('clinic'), tests.id(therapist), tests.id('ann'), (day + time '10:00') at time zone 'America/Los_Angeles',
    (day + time '11:00') at time zone 'America/Los_Angeles', 'UTC', code))
$$;

-- Codes that everybody has
select is(pg_temp.write('0373T', '2026-12-31'), null, 'the T codes can be used on the last day of 2026');
select is(pg_temp.write('0373T', '2027-01-01'), '23514', 'and not on the next');
select is(
  (private.service_code_on(tests.id('clinic'), '0373T', private.service_date(tests.id('clinic'), tests.id('ann'), '2027-01-01T07:30Z'))).code,
  '0373T', 'the day is the clinic''s: at half past seven in London it is still 2026 there');
select is(pg_temp.write('97153', '2018-12-31'), '23514', 'nor before its first day');
select is(pg_temp.write('ZZZZZ', '2026-12-30'), '23514', 'nor is a code that nobody knows');
select is(tests.error_code('postgres', format($$update public.sessions set start_time = start_time + interval '1 day', end_time = end_time + interval '1 day'
  where organization_id = %L and cpt_code = '0373T'$$, tests.id('clinic'))), '23514', 'a session cannot be moved beyond its code''s end');
select is(tests.error_code('postgres', format($$update public.sessions set cpt_code = 'ZZZZZ' where organization_id = %L and cpt_code = '0373T'$$, tests.id('clinic'))),
  '23514', 'nor rewritten to one that nobody knows');
select is(private.service_code(tests.id('clinic'), null, ' Supervision ', '2026-12-01'), '97155', 'a session type means a code');
select is(private.service_code(tests.id('clinic'), null, 'Supervision', '2018-12-01'), null, 'while that code is valid');

-- Codes of one's own
select is(pg_temp.add_code('super', 'H2019', '2026-01-01', '2026-12-31', '{technician,qhp}', 'skills'), null, 'a super_admin enters a code of the clinic''s own');
select is(pg_temp.add_code('super', 'H2019', '2027-01-01', null, '{qhp}'), null, 'and its next version');
select is(pg_temp.add_code('super', 'H2019', '2026-12-31', '2027-02-01'), '23P01', 'two versions never share a day');
select is(pg_temp.add_code('super', '97153', '2027-01-01'), '23P01', 'nor does it share one with a code that everybody has');
select is(pg_temp.add_code('super', 'H0031', '2027-01-01', null, '{qhp}', 'individual'), '23P01', 'a session type means one code a day');
select is(pg_temp.add_code('admin', 'H0031', '2027-01-01'), '42501', 'an admin enters none');
select is(pg_temp.add_code('rbt', 'H0031', '2027-01-01'), '42501', 'nor does a therapist');
select is(tests.error_code('super', format($$insert into public.service_codes (organization_id, code, description, levels, valid_from) values (%L, 'H0031', 'x', '{qhp}', '2027-01-01')$$, tests.id('other clinic'))), '42501', 'nobody for another clinic');
select is(tests.error_code('super', $$insert into public.service_codes (code, description, levels, valid_from) values ('H0031', 'x', '{qhp}', '2027-01-01')$$), '42501', 'or for everybody');
select is(pg_temp.add_code('super', 'H31', '2027-01-01'), '23514', 'a code has five characters');
select is(pg_temp.add_code('super', 'H0031', '2027-01-01', '2026-12-31'), '23514', 'and ends after it begins');
select is(pg_temp.add_code('super', 'H0031', '2027-01-01', null, '{}'), '23514', 'and somebody may render it');
select is(pg_temp.add_code('other super', 'H2019', '2026-06-01'), null, 'what one clinic enters binds no other');
select is(tests.rows('rbt', $$select 1 from public.service_codes where code = 'H2019'$$), 2::bigint, 'staff read the clinic''s own versions');
select is(tests.rows('other rbt', $$select 1 from public.service_codes where code = 'H2019'$$), 1::bigint, 'and those of no other clinic');
select is(
  (select array_agg(distinct ordinal) from public.service_codes where organization_id = tests.id('clinic') and code = 'H2019'),
  array[31::smallint], 'all versions of a code have one number');
select is(pg_temp.write('H2019', '2026-12-29', 'rbt'), null, 'it is booked like any other');
select is(private.may_render(tests.id('clinic'), tests.id('rbt'), 'H2019', '2026-12-31'), true, 'who may render it');
select is(private.may_render(tests.id('clinic'), tests.id('rbt'), 'H2019', '2027-01-01'), false, 'is the version''s of the day');
select is(private.may_render(tests.id('clinic'), tests.id('bcba'), 'ZZZZZ', '2027-01-01'), false, 'nobody renders what nobody knows');
select is(tests.error_code('postgres', 'delete from public.service_codes'), '23001', 'codes are never deleted');
select is(
  (select array_agg(action order by recorded_at, action) from audit.events where organization_id = tests.id('clinic') and entity = 'service_code'),
  array['service_code.created', 'service_code.created'], 'what a clinic enters is in its audit');

-- What is booked beyond a code's end
insert into public.service_codes (organization_id, code, description, levels, valid_from)
values (tests.id('clinic'), 'H0032', 'Plans', '{technician}', '2020-01-01');
select is(pg_temp.write('H0032', current_date + 10, 'rbt'), null, 'a code may end under what is booked');
update public.service_codes set valid_to = current_date - 10 where organization_id = tests.id('clinic') and code = 'H0032';
select is(
  tests.call('admin', $$select jsonb_agg(jsonb_build_array(service_date, therapist_name, client_reference, cpt_code, code_ended_on)) from reports.sessions_to_recode$$),
  jsonb_build_array(jsonb_build_array(current_date + 10, 'rbt', 'ann', 'H0032', current_date - 10)), 'a session beyond its code''s end is listed');
select is(tests.rows('rbt', 'select 1 from reports.sessions_to_recode'), 1::bigint, 'to whom it concerns');
select is(tests.rows('rbt2', 'select 1 from reports.sessions_to_recode'), 0::bigint, 'and no other therapist');

-- Rules are of codes that are known
insert into public.payers (organization_id, id, name) values (tests.id('clinic'), tests.id('payer'), 'A payer');
select is(tests.error_code('super', format($$insert into public.payer_code_rules (organization_id, payer_id, cpt_code, valid_from) values (%L, %L, 'ZZZZZ', '2026-01-01')$$,
  tests.id('clinic'), tests.id('payer'))), '23503', 'a payer has no rule for a code that nobody knows');
select is(tests.error_code('super', format($$insert into public.payer_concurrency_rules (organization_id, payer_id, first_code, second_code, allowed, valid_from) values (%L, %L, '97153', 'ZZZZZ', true, '2026-01-01')$$,
  tests.id('clinic'), tests.id('payer'))), '23503', 'nor for a pair with one');
select is(tests.error_code('super', format($$insert into public.payer_concurrency_rules (organization_id, payer_id, first_code, second_code, allowed, valid_from) values (%L, %L, '97153', 'H2019', true, '2026-01-01')$$,
  tests.id('clinic'), tests.id('payer'))), null, 'a clinic''s own code may be in a pair');

-- What is booked follows a new version: its minutes of a unit, and what a session type means.
select tests.add_payers(), tests.cover('ben', 'open');
insert into public.service_codes (organization_id, code, description, levels, valid_from) values (tests.id('clinic'), 'H2014', 'Skills', '{technician,qhp}', '2020-01-01');
insert into public.payer_code_rules (organization_id, payer_id, cpt_code, modifiers, valid_from) select tests.id('clinic'), tests.id('open'), code, jsonb_build_object('qhp', array[modifier]), '2020-01-01'
from (values ('H2014', 'U1'), ('97153', 'HO')) as rule (code, modifier);
select tests.authorize('ben', 'H2014', 40), tests.authorize('ben', '97153', 40);
create function pg_temp.booked(service jsonb, day integer) returns text language sql as $$
  select tests.confirm('admin', tests.confirmation(held, 'bcba', 'ben')) #>> '{body,session,cpt_modifiers}'
  from tests.hold('admin', tests.request('bcba', 'ben', tests.at(day), 60, service)) as held $$;
select is(pg_temp.booked('{"cpt_code": "H2014"}', 20), '["U1"]', 'an hour is booked');
select is(tests.balance('ben', 'H2014'), '0/4/0/36', 'of four units');
select tests.hold('admin', tests.request('bcba', 'ben', tests.at(21), 60, '{"cpt_code": "H2014"}'));
update public.service_codes set valid_to = tests.at(15)::date where organization_id = tests.id('clinic') and code = 'H2014';
select is(tests.rows('super', format('insert into public.service_codes (organization_id, code, description, levels, unit_minutes, valid_from) values (%L, %L, %L, %L, 30, %L)',
  tests.id('clinic'), 'H2014', 'Skills', '{qhp}', tests.at(16)::date)), 1::bigint, 'from another day on a unit has half an hour');
select is(tests.balance('ben', 'H2014'), '0/2/2/36', 'then it is two, and what is held is counted likewise');
select is(tests.rows('super', format('update public.service_codes set valid_to = %L where code = %L and unit_minutes = 30', tests.at(17)::date, 'H2014')), 1::bigint, 'that version ends before it');
select is(tests.balance('ben', 'H2014'), '0/4/4/32', 'then it is four again');
select is(pg_temp.booked('{"session_type": "talk"}', 22), '["HO"]', 'a type that means no code is booked as treatment');
select is(tests.balance('ben'), '0/4/0/36', 'and takes its units');
insert into public.service_codes (organization_id, code, description, levels, session_type, valid_from) values (tests.id('clinic'), 'H0031', 'Talk', '{qhp}', 'talk', '2020-01-01');
select is(tests.balance('ben'), '0/0/0/40', 'once it means one it is that');
select is((select cpt_modifiers from public.sessions where client_id = tests.id('ben') and start_time = tests.at(22)), '{}', 'with its modifiers');
select is_empty('select * from tests.broken_claims()', 'and its claims');
select is(tests.error('service_role', format('update public.service_codes set %I = %L where organization_id = %L and code = %L', kept.of_column, kept.value, tests.id('clinic'), 'H0031')) ->> 'code', '23514',
  kept.of_column || ' of a version stays')
from (values ('code', 'H0032'), ('unit_minutes', '30'), ('session_type', 'chat'), ('valid_from', '2021-01-01'), ('ordinal', '77'), ('organization_id', tests.id('other clinic')::text)) as kept (of_column, value);

-- So does what names no code: a type goes on to mean its last code, whose next version need not name the type.
select tests.cover('ann', 'open');
insert into public.service_codes (organization_id, code, description, levels, session_type, valid_from) values (tests.id('clinic'), 'H2021', 'Coaching', '{qhp}', 'coaching', '2020-01-01');
select tests.authorize(client, 'H2021', 40) from unnest('{ann,ben}'::text[]) as client;
select pg_temp.booked('{"session_type": "Coaching"}', 24);
select tests.confirm('admin', tests.confirmation(held, 'bcba', 'ann')) from tests.hold('admin', tests.request('bcba', 'ann', tests.at(10), 60, '{"session_type": "Coaching"}')) as held;
select tests.hold('admin', tests.request('bcba', 'ann', tests.at(25), 60, jsonb_build_object('session_id', (
  select id from public.sessions where client_id = tests.id('ann') and start_time = tests.at(10)))));
create function pg_temp.coached() returns text language sql as $$ select tests.balance('ben', 'H2021') || ' ' || tests.balance('ann', 'H2021') $$;
select is(pg_temp.coached(), '0/4/0/36 0/4/0/36', 'an hour of a type is four units, and no more when it moves');
update public.service_codes set valid_to = tests.at(15)::date where organization_id = tests.id('clinic') and code = 'H2021';
insert into public.service_codes (organization_id, code, description, levels, unit_minutes, valid_from) values (tests.id('clinic'), 'H2021', 'Coaching', '{qhp}', 10, tests.at(16)::date);
select is(pg_temp.coached(), '0/6/0/34 0/4/2/34', 'six of the next version, and a move from a day of the former takes the other two');
update public.service_codes set valid_to = tests.at(17)::date where organization_id = tests.id('clinic') and code = 'H2021' and unit_minutes = 10;
select is(pg_temp.coached(), '0/4/0/36 0/4/0/36', 'four again once that version ends before them');
select pg_temp.booked('{"session_type": "chat"}', 26);
select is(tests.balance('ben'), '0/4/0/36', 'what is booked as treatment, for want of a code,');
update public.service_codes set valid_to = tests.at(15)::date where organization_id is null and code = '97153';
insert into public.service_codes (code, description, levels, unit_minutes, valid_from) values ('97153', 'Treatment', '{technician,qhp}', 30, tests.at(16)::date);
select is(tests.balance('ben'), '0/2/0/38', 'follows another version of that');

select * from finish();
rollback;
