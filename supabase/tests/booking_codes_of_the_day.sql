-- A booking is of the code that counts on its day: what a session type means, who may render it and whether there is such a
-- code are asked for each day of service, the clinic's own codes among them.
begin;
select plan(21);
select tests.open_clinic();

-- Until day 5 'skills' is H2019 and H2030 is anybody's; from day 6 'skills' is H2020 and H2030 a professional's.
insert into public.service_codes (organization_id, code, description, levels, session_type, valid_from, valid_to)
values
  (tests.id('clinic'), 'H2019', 'Skills training', '{technician,qhp}', 'skills', '2026-01-01', tests.at(5)::date),
  (tests.id('clinic'), 'H2020', 'Skills training', '{technician,qhp}', 'skills', tests.at(6)::date, null),
  (tests.id('clinic'), 'H2030', 'Training', '{technician,qhp}', null, '2026-01-01', tests.at(5)::date),
  (tests.id('clinic'), 'H2030', 'Training', '{qhp}', null, tests.at(6)::date, null);
select tests.add_payers();
select tests.cover('ann', 'open');
select tests.authorize('ann', code, 8) from unnest(array['H2019', 'H2020']) as code;

create function pg_temp.complaint(call text, body jsonb) returns text language sql as $$
  select string_agg(issue ->> 'path', ' ')
  from jsonb_array_elements((tests.error('rbt', format('select public.%I(%L)', call, body)) ->> 'details')::jsonb) as issue
$$;

-- A session type means what it means on the day.
create temporary table held on commit drop as
select tests.hold('rbt', tests.series('rbt', 'ann', array[tests.at(4), tests.at(7)], 60, '{"session_type": "Skills"}')) as outcome;
select is(outcome ->> 'ok', 'true', 'one series may lie on both sides of a change') from held;
select is(tests.balance('ann', 'H2019') || ' ' || tests.balance('ann', 'H2020'), '0/0/4/4 0/0/4/4', 'each day takes the units of its own code');
select is(tests.confirm('rbt', tests.confirmation(outcome, 'rbt', 'ann')) ->> 'ok', 'true', 'and is confirmed so') from held;
select is(tests.balance('ann', 'H2019') || ' ' || tests.balance('ann', 'H2020'), '0/4/0/4 0/4/0/4', 'with those units');
select is(
  (select array_agg(lanes::int4multirange order by start_time) from public.sessions where organization_id = tests.id('clinic')),
  array[private.client_lanes(tests.id('clinic'), tests.id('ann'), 'H2019', tests.at(4), tests.at(4)),
    private.client_lanes(tests.id('clinic'), tests.id('ann'), 'H2020', tests.at(7), tests.at(7))],
  'beside what that code may run');
insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone, session_type)
values (tests.id('clinic'), tests.id('rbt'), tests.id('ann'), tests.at(7, '14:00'), tests.at(7, '15:00'), 'UTC', 'skills');
select is(tests.balance('ann', 'H2020'), '0/8/0/0', 'what is written directly takes them too');
select is(
  tests.hold('rbt', tests.request('rbt', 'ann', tests.at(8), 60, '{"session_type": "skills"}')) ->> 'code',
  'AUTHORIZATION_EXCEEDED', 'and is counted by the next hold');

-- A code that is unknown, or not of that day, is a mistake in the request, never a matter of who asks.
select is(pg_temp.complaint('hold_sessions', tests.request('rbt', 'ben', tests.at(4), 60, '{"cpt_code": "ZZZZZ"}')), 'cpt_code', 'a code that nobody knows');
select is(
  pg_temp.complaint('hold_sessions', tests.series('rbt', 'ben', array[tests.at(4), tests.at(8)], 60, '{"cpt_code": "H2019"}')),
  'occurrences.1', 'a code that has ended by the second day');
select is(
  pg_temp.complaint('preview_series', tests.series('rbt', 'ben', array[tests.at(4), tests.at(8)], 60, '{"cpt_code": "H2019"}')),
  'occurrences.1', 'a preview says the same');
create temporary table open_hold on commit drop as
select tests.hold('rbt', tests.series('rbt', 'ben', array[tests.at(4, '12:00'), tests.at(9)])) as outcome;
select is(
  pg_temp.complaint('confirm_sessions', tests.confirmation(outcome, 'rbt', 'ben', '{"cpt": {"code": "H2019"}}')
    || jsonb_build_object('occurrences', (
      select jsonb_agg(item || '{"cpt": {"code": "H2019"}}')
      from jsonb_array_elements(tests.confirmation(outcome, 'rbt', 'ben') -> 'occurrences') as item
    ))),
  'occurrences.1.cpt.code', 'a confirmation that names it names the occurrence') from open_hold;
select is(
  pg_temp.complaint('confirm_sessions', tests.confirmation(outcome, 'rbt', 'ben') || jsonb_build_object('occurrences', (
    select jsonb_agg(item || '{"cpt": {"code": "ZZZZZ"}}')
    from jsonb_array_elements(tests.confirmation(outcome, 'rbt', 'ben') -> 'occurrences') as item
  ))),
  'occurrences.0.cpt.code occurrences.1.cpt.code', 'and each of them') from open_hold;
insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code)
values (tests.id('clinic'), tests.id('early'), tests.id('rbt'), tests.id('ben'), tests.at(3), tests.at(3, '11:00'), 'UTC', 'H2019');
select is(
  pg_temp.complaint('hold_sessions', tests.request('rbt', 'ben', tests.at(10), 60, jsonb_build_object('session_id', tests.id('early')))),
  'cpt_code', 'a session is not moved beyond the end of its code');

-- Who may render a code is asked of the day.
create function pg_temp.training(therapist text, days integer[]) returns text language sql as $$
  select coalesce(outcome ->> 'code', 'held') from tests.hold('admin', tests.series(therapist, 'ben', array(
    select tests.at(day, '16:00') from unnest(days) as day), 60, '{"cpt_code": "H2030"}')) as outcome
$$;
select is(pg_temp.training('rbt', '{4}'), 'held', 'a technician renders it while it is theirs');
select is(pg_temp.training('rbt', '{8}'), 'FORBIDDEN', 'and not afterwards');
select is(pg_temp.training('rbt', '{3,8}'), 'FORBIDDEN', 'nor in a series of which one day is too late');
select is(pg_temp.training('bcba', '{3,8}'), 'held', 'a professional does');
create temporary table training on commit drop as
select tests.hold('rbt', tests.series('rbt', 'ben', array[tests.at(2), tests.at(11)])) as outcome;
select is(tests.confirm('rbt', tests.confirmation(outcome, 'rbt', 'ben') || jsonb_build_object('occurrences', (
    select jsonb_agg(item || '{"cpt": {"code": "H2030"}}')
    from jsonb_array_elements(tests.confirmation(outcome, 'rbt', 'ben') -> 'occurrences') as item
  ))) ->> 'code', 'FORBIDDEN', 'a confirmation asks too') from training;
select is(tests.error_code('postgres', format(
  'insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code) values (%L, %L, %L, %L, %L, %L, %L)',
  tests.id('clinic'), tests.id('rbt'), tests.id('ben'), tests.at(12), tests.at(12, '11:00'), 'UTC', 'H2030')), '23514', 'so does a direct write');
select is(tests.rows('admin', format('select * from public.find_open_slots(%L, %L, %L, 60, client_id => %L, cpt_code => %L)',
  tests.id('rbt'), tests.at(1, '00:00'), tests.at(1, '20:00'), tests.id('ben'), 'H2030')) > 0, true, 'slots are listed while it is theirs');
select is(tests.rows('admin', format('select * from public.find_open_slots(%L, %L, %L, 60, client_id => %L, cpt_code => %L)',
  tests.id('rbt'), tests.at(13, '08:00'), tests.at(13, '20:00'), tests.id('ben'), 'H2030')), 0::bigint, 'and not afterwards');

select * from finish();
rollback;
