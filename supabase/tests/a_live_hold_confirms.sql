-- A live hold confirms, whatever a clinic changes about codes, payers, hours and closures between the hold and the
-- confirmation. What was not held yet, such as a service that only the confirmation names, is asked then.
begin;
select plan(38);
select tests.open_clinic();
select tests.add_payers();
select tests.cover('ann', 'open');
insert into public.service_codes (organization_id, code, description, levels, valid_from, session_type, min_clients, max_clients)
values (tests.id('clinic'), 'H2019', 'Skills', '{technician,qhp}', '2020-01-01', 'skills', 1, 1),
  (tests.id('clinic'), 'H2014', 'Skills of a group', '{technician,qhp}', '2020-01-01', null, 2, 8),
  (tests.id('clinic'), 'H0032', 'Plans', '{technician,qhp}', '2020-01-01', 'planning', 1, 1);
select tests.authorize('ann', '97153', 40);
create temporary table story (name text primary key, request jsonb, held jsonb);

create function pg_temp.hold(name text, request jsonb) returns text language plpgsql as $$
declare
  held jsonb := tests.hold('admin', request);
begin
  insert into story values (name, request, held);
  return held ->> 'ok';
end
$$;
create function pg_temp.confirm(of_hold text, extra jsonb default '{}') returns text language plpgsql as $$
declare
  outcome jsonb;
begin
  select tests.call('admin', format('select public.confirm_sessions(%L)', tests.confirmation(held, therapist.name, client.name, extra))) into outcome
  from story
  join unnest(array['bcba', 'rbt', 'rbt2']) as therapist (name) on tests.id(therapist.name)::text = request ->> 'therapist_id'
  join unnest(array['ann', 'ben']) as client (name) on tests.id(client.name)::text = request ->> 'client_id'
  where story.name = of_hold;
  return coalesce(outcome ->> 'code', outcome ->> 'ok');
exception
  when sqlstate 'PT400' then
    return 'VALIDATION_FAILED';
end
$$;
create function pg_temp.session_of(of_hold text) returns public.sessions language sql as $$
  select session from public.sessions as session
  join story on session.id in ((held #>> '{body,holds,0,holdId}')::uuid, (request ->> 'session_id')::uuid)
  where story.name = of_hold
$$;

-- What is booked, to be moved
create temporary table booked on commit drop as
select name, (tests.confirm('admin', tests.confirmation(
  tests.hold('admin', tests.request('rbt', 'ann', tests.at(day), 60, service)), 'rbt', 'ann')) #>> '{body,session,id}')::uuid as id
from (values ('coded', 40, '{"cpt_code": "H2019"}'::jsonb), ('typed', 41, '{"session_type": "skills"}'), ('paid', 42, '{"cpt_code": "97153"}'), ('unnamed', 43, '{}'))
  as place (name, day, service);
select is(count(id), 4::bigint, 'four sessions are booked') from booked;

select is(pg_temp.hold('code', tests.request('rbt', 'ann', tests.at(1), 60, '{"cpt_code": "H2019"}')), 'true', 'a code is held');
select is(pg_temp.hold('type', tests.request('rbt', 'ann', tests.at(2), 60, '{"session_type": "Skills"}')), 'true', 'a session type that means a code');
select is(pg_temp.hold('series', tests.series('rbt', 'ann', array[tests.at(3), tests.at(4)], 60, '{"cpt_code": "H2019"}')), 'true', 'a series');
select is(pg_temp.hold('group', tests.request('rbt', 'ann', tests.at(5), 60, jsonb_build_object('cpt_code', 'H2014',
  'client_ids', array[tests.id('ann'), tests.id('ben')]))), 'true', 'a group');
select is(pg_temp.hold('moved code', tests.request('rbt', 'ann', tests.at(6), 60, jsonb_build_object('session_id', (select id from booked where name = 'coded')))), 'true', 'a move');
select is(pg_temp.hold('moved type', tests.request('rbt', 'ann', tests.at(7), 60, jsonb_build_object('session_id', (select id from booked where name = 'typed')))), 'true', 'a move of a session type');
select is(pg_temp.hold('paid', tests.request('rbt', 'ann', tests.at(8), 60, '{"cpt_code": "97153"}')), 'true', 'a service that a payer pays for');
select is(pg_temp.hold('moved paid', tests.request('rbt', 'ann', tests.at(9), 60, jsonb_build_object('session_id', (select id from booked where name = 'paid')))), 'true', 'the move of one');
select is(pg_temp.hold('moved unnamed', tests.request('rbt', 'ann', tests.at(10), 60, jsonb_build_object('session_id', (select id from booked where name = 'unnamed')))), 'true', 'the move of one that names no service');
select is(pg_temp.hold('none', tests.request('rbt', 'ben', tests.at(11))), 'true', 'and time for which no service is named yet');
select is(pg_temp.hold('new meaning', tests.request('rbt', 'ann', tests.at(12), 60, '{"session_type": "reading"}')), 'true', 'nor by a session type that means none');
select is(pg_temp.hold('level', tests.request('rbt', 'ann', tests.at(13), 60, '{"cpt_code": "H0032"}')), 'true', 'a service of technicians');
select is(pg_temp.hold('ended level', tests.request('rbt', 'ann', tests.at(14), 60, '{"cpt_code": "H0032"}')), 'true', 'and once more');
select is(pg_temp.hold('closed', tests.request('rbt', 'ben', tests.at(15), 60, '{"cpt_code": "97153"}')), 'true', 'a day on which the clinic is open');

-- Codes change.
update public.service_codes set valid_to = tests.at(-20)::date where organization_id = tests.id('clinic') and code in ('H2019', 'H2014');
select is(tests.error_code('admin', format('select public.hold_sessions(%L)', tests.request('rbt', 'ann', tests.at(20), 60, '{"cpt_code": "H2019"}'))), 'PT400',
  'a code that has ended is held by nobody');
select is(tests.error_code('admin', format('select public.hold_sessions(%L)', tests.request('rbt', 'ann', tests.at(20), 60, '{"session_type": "skills"}'))), 'PT400',
  'nor is the session type that meant it');
select is(pg_temp.confirm('code'), 'true', 'who holds it confirms it');
select is((pg_temp.session_of('code')).cpt_code, 'H2019', 'as what was held');
select is(pg_temp.confirm('type'), 'true', 'also by its session type');
select is((pg_temp.session_of('type')).lanes, (pg_temp.session_of('code')).lanes, 'with the lanes of the code that the type meant');
select is(pg_temp.confirm('series'), 'true', 'the whole series');
select is(pg_temp.confirm('group'), 'true', 'the group');
select is(pg_temp.confirm('moved code'), 'true', 'the move');
select is((pg_temp.session_of('moved code')).start_time, tests.at(6), 'to where it was held');
select is(pg_temp.confirm('moved type'), 'true', 'and that of a session type');
select is(
  (select array_agg(distinct cpt_code) from reports.sessions_to_recode where organization_id = tests.id('clinic')), array['H2014', 'H2019'],
  'what is booked beyond the end of its code is listed');
select is((select count(*) from reports.sessions_to_recode where session_id in ((pg_temp.session_of('type')).id, (pg_temp.session_of('moved type')).id)), 2::bigint,
  'by its session type too');
select is(pg_temp.confirm('none', '{"cpt": {"code": "H2019"}}'), 'VALIDATION_FAILED', 'a service that is named only now must be valid now');

-- A session type gets a meaning: the hold named no service.
insert into public.service_codes (organization_id, code, description, levels, valid_from, session_type)
values (tests.id('clinic'), 'H0031', 'Reading', '{technician,qhp}', '2020-01-01', 'reading');
select is(pg_temp.confirm('new meaning'), 'true', 'what a session type means by now is what is confirmed');
select isnt((pg_temp.session_of('new meaning')).lanes, '{[0,2147483647)}', 'and leaves the other lanes free');

-- Who may render is asked of everybody, until the last moment.
update public.service_codes set levels = '{qhp}' where organization_id = tests.id('clinic') and code = 'H0032';
select is(pg_temp.confirm('level'), 'FORBIDDEN', 'a service that is no technician''s any more is not confirmed for one');
update public.service_codes set valid_to = tests.at(-20)::date where organization_id = tests.id('clinic') and code = 'H0032';
select is(pg_temp.confirm('ended level'), 'FORBIDDEN', 'nor once it has ended');

-- Payers change, and the clinic closes.
update public.client_coverages set valid_to = tests.at(-20)::date where organization_id = tests.id('clinic');
update public.authorizations set ends_on = tests.at(-20)::date, approved_units = 1 where organization_id = tests.id('clinic');
insert into public.payer_rules (organization_id, payer_id, authorization_required, valid_from) values (tests.id('clinic'), tests.id('open'), true, '2020-01-01');
insert into public.client_coverages (organization_id, client_id, payer_id, valid_from) values (tests.id('clinic'), tests.id('ann'), tests.id('strict'), tests.at(-19)::date);
insert into public.payer_code_rules (organization_id, payer_id, cpt_code, is_covered, valid_from)
values (tests.id('clinic'), tests.id('strict'), '97153', false, '2020-01-01');
select is(pg_temp.confirm('paid'), 'true', 'a coverage and an authorization that end, and a payer who pays for it no longer, take nothing from a hold');
select is(pg_temp.confirm('moved paid'), 'true', 'nor from a move');
select is(pg_temp.confirm('moved unnamed'), 'true', 'whether or not its service has a name');
insert into public.organization_closures (organization_id, name, starts_at, ends_at) values (tests.id('clinic'), 'Snow day', tests.at(15, '00:00'), tests.at(16, '00:00'));
insert into public.availability_exceptions (organization_id, therapist_id, kind, starts_at, ends_at) values (tests.id('clinic'), tests.id('rbt'), 'time_off', tests.at(15, '00:00'), tests.at(16, '00:00'));
select is(pg_temp.confirm('closed'), 'true', 'a closure and time off neither');
select set_eq(
  $$select distinct problem from reports.schedule_problems where session_id = (pg_temp.session_of('closed')).id$$, array['closure', 'time_off'],
  'the report of the schedule names them');

select * from finish();
rollback;
