-- Which booked sessions could not be booked any more: one row for each session and cause, by what a hold would ask.
begin;
select plan(28);
select is((select count(*) from reports.schedule_problems), 0::bigint, 'the seed has none');
select tests.open_clinic();
select tests.open_clinic('other ');
select tests.add_payers();
update public.therapists set time_zone = 'UTC' where organization_id = tests.id('clinic');

-- What there is now, as somebody sees it: 'rbt ann time_off' for each row.
create function pg_temp.problems(person text default 'admin') returns text[] language sql as $$
  select array(select jsonb_array_elements_text(tests.call(person, $q$
    select coalesce(jsonb_agg(concat_ws(' ', coalesce(problem.therapist_name, '?'), coalesce(problem.client_reference, '?'), problem.problem)
      order by problem.start_time, problem.therapist_name, problem.client_reference, problem.problem), '[]')
    from reports.schedule_problems as problem$q$)))
$$;
create temporary table booked on commit drop as
select tests.book('admin', 'rbt', 'ann', tests.at(1)) as id, tests.book('admin', 'bcba', 'ben', tests.at(1, '14:00')) as other_id;
select tests.book('admin', 'rbt', 'ben', tests.at(3));
select tests.cancel('admin', jsonb_build_object('session_ids', array[tests.book('admin', 'rbt', 'ann', tests.at(2))]));
select is(pg_temp.problems(), '{}', 'what is booked as it should be is no problem');

-- People, rooms
savepoint before;
update public.clients set deleted_at = now() where organization_id = tests.id('clinic') and id = tests.id('ann');
select is(pg_temp.problems(), '{rbt ann client_archived}', 'a client is archived: what is to come, not what is cancelled');
rollback to before;
update public.therapists set deleted_at = now() where organization_id = tests.id('clinic') and id = tests.id('rbt');
select is(pg_temp.problems(), '{rbt ann therapist_archived,rbt ben therapist_archived}', 'a therapist is');
select is(pg_temp.problems('rbt'), '{rbt ann therapist_archived,rbt ben therapist_archived}', 'a therapist sees their own');
select is(pg_temp.problems('bcba'), '{}', 'and nobody else''s');
select is(pg_temp.problems('parent'), '{}', 'a parent sees none');
select is(pg_temp.problems('other admin'), '{}', 'nor does another clinic');
rollback to before;
update public.memberships set role = 'client' where organization_id = tests.id('clinic') and user_id = tests.id('rbt');
select is(pg_temp.problems(), '{rbt ann therapist_left,rbt ben therapist_left}', 'a therapist whose role does not render any more');
delete from public.memberships where organization_id = tests.id('clinic') and user_id = tests.id('rbt');
select is(pg_temp.problems(), '{rbt ann therapist_left,rbt ben therapist_left}', 'or who left');
rollback to before;
update public.sessions set room_id = tests.id('blue') where id = (select id from booked);
update public.rooms set deleted_at = now() where organization_id = tests.id('clinic') and id = tests.id('blue');
select is(pg_temp.problems(), '{rbt ann room_archived}', 'a room is archived');
rollback to before;
delete from public.caseloads where organization_id = tests.id('clinic') and therapist_id = tests.id('rbt') and client_id = tests.id('ben');
select is(pg_temp.problems(), '{rbt ben off_caseload}', 'a client is no more on the caseload');
rollback to before;

-- Time
update public.therapists set availability_hours = jsonb_build_object(
  lower(trim(to_char(tests.at(1), 'Day'))), '[{"start": "08:00", "end": "10:30"}]'::jsonb, lower(trim(to_char(tests.at(3), 'Day'))), '[{"start": "08:00", "end": "18:00"}]'::jsonb
) where organization_id = tests.id('clinic') and id = tests.id('rbt');
select is(pg_temp.problems(), '{rbt ann outside_hours}', 'hours that end before the session does');
select is(
  (select detail from reports.schedule_problems where organization_id = tests.id('clinic')),
  format('from %s to %s', private.iso(tests.at(1, '10:30')), private.iso(tests.at(1, '11:00'))), 'with the part that lies outside'
);
rollback to before;
insert into public.availability_exceptions (organization_id, therapist_id, kind, starts_at, ends_at)
values (tests.id('clinic'), tests.id('rbt'), 'time_off', tests.at(1, '00:00'), tests.at(2, '00:00'));
insert into public.organization_closures (organization_id, name, starts_at, ends_at)
values (tests.id('clinic'), 'Snow', tests.at(1, '09:00'), tests.at(1, '15:00'));
select is(pg_temp.problems(), '{rbt ann closure,rbt ann time_off,bcba ben closure}', 'time off and a closure, a row each');
rollback to before;

-- Services
create temporary table guidance on commit drop as
select tests.confirm('bcba', tests.confirmation(held, 'bcba', 'ann') || '{"cpt": {"code": "97155"}}') #>> '{body,session,id}' as id
from tests.hold('bcba', tests.request('bcba', 'ann', tests.at(5), 60, '{"cpt_code": "97155"}')) as held;
savepoint guided;
update public.therapists set credential = 'RBT' where organization_id = tests.id('clinic') and id = tests.id('bcba');
select is(pg_temp.problems(), '{bcba ann not_renderable}', 'a level that may not render what is booked');
rollback to guided;
insert into public.service_codes (organization_id, code, description, levels, unit_minutes, valid_from)
values (tests.id('clinic'), 'H2019', 'Skills', '{technician,assistant,qhp}', 30, '2020-01-01');
select tests.confirm('rbt', tests.confirmation(held, 'rbt', 'ann') || '{"cpt": {"code": "H2019"}}') ->> 'ok'
from tests.hold('rbt', tests.request('rbt', 'ann', tests.at(6), 60, '{"cpt_code": "H2019"}')) as held;
update public.service_codes set valid_to = (tests.at(5))::date where code = 'H2019';
select is(pg_temp.problems(), '{rbt ann code_ended}', 'a code that has ended by then, and no other row for it');
rollback to guided;

-- Units
select tests.cover('ann', 'open');
select is(pg_temp.problems(), '{}', 'a payer who wants no authorization');
insert into public.payer_rules (organization_id, payer_id, rounding, authorization_required, valid_from) values (tests.id('clinic'), tests.id('open'), 'midpoint', true, '2020-01-01');
select is(pg_temp.problems(), '{rbt ann not_authorized,bcba ann not_authorized}', 'a payer who wants one from now on');
select tests.authorize('ann', '97153', 3);
select is(pg_temp.problems(), '{rbt ann over_limit,bcba ann not_authorized}', 'an authorization that has too few units, for one of them');
select is((select detail from reports.schedule_problems where organization_id = tests.id('clinic') and problem = 'over_limit'),
  'total: 4 units of 97153 are needed, 3 are left', 'with what is short');
update public.authorizations set approved_units = 40 where organization_id = tests.id('clinic');
select tests.authorize('ann', '97155', 40);
select is(pg_temp.problems(), '{}', 'authorized, there is none');
update public.authorizations set ends_on = tests.at(4)::date where organization_id = tests.id('clinic');
select is(pg_temp.problems(), '{bcba ann not_authorized}', 'an authorization that ends before the session');
update public.client_coverages set valid_to = tests.at(4)::date where organization_id = tests.id('clinic');
select is(pg_temp.problems(), '{bcba ann no_coverage}', 'a coverage that does');
rollback to guided;

-- A group, what has begun, what is over
insert into public.session_groups (organization_id, id, therapist_id, start_time, end_time, room_id)
values (tests.id('clinic'), tests.id('group'), tests.id('rbt'), tests.at(8), tests.at(8, '11:00'), tests.id('blue'));
insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone, group_id, session_type)
select tests.id('clinic'), tests.id('rbt'), tests.id(client), tests.at(8), tests.at(8, '11:00'), 'UTC', tests.id('group'), 'group' from unnest(array['ann', 'ben']) as client;
update public.rooms set deleted_at = now() where organization_id = tests.id('clinic') and id = tests.id('blue');
select is(pg_temp.problems(), '{rbt ann room_archived,rbt ben room_archived}', 'the room of a group is its members''');
rollback to guided;
insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone)
values (tests.id('clinic'), tests.id('rbt2'), tests.id('ann'), now() - interval '1 hour', now() + interval '1 hour', 'UTC');
update public.therapists set deleted_at = now() where organization_id = tests.id('clinic') and id = tests.id('rbt2');
select is(pg_temp.problems(), '{}', 'what has begun is not to come');
update public.sessions set status = 'cancelled' where organization_id = tests.id('clinic') and id = (select id from booked);
update public.clients set deleted_at = now() where organization_id = tests.id('clinic') and id = tests.id('ann');
select is(pg_temp.problems(), '{bcba ann client_archived}', 'and what is cancelled is no problem');
select is(tests.error_code('anon', 'select from reports.schedule_problems'), '42501', 'nobody reads it without signing in');

select * from finish();
rollback;
