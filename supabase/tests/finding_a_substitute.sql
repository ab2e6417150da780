-- A therapist is ill: who of the others could take her session.
begin;
select plan(34);
select tests.open_clinic();
select tests.open_clinic('other ');

create function tests.substitutes(person text, session uuid, extra jsonb default '{}') returns text[] language plpgsql as $$
begin
  return array(
    select (select name from unnest(array['rbt', 'rbt2', 'bcba', 'other rbt']) as name where tests.id(name) = (item ->> 'therapistId')::uuid)
    from jsonb_array_elements(tests.call(person, format('select public.find_substitutes(%L)', jsonb_build_object('session_id', session) || extra)))
      with ordinality as element (item, position)
    order by position);
end $$;

-- What is said of one of them.
create function tests.of_therapist(session uuid, therapist text, what text) returns text language sql as $$
  select item ->> what from jsonb_array_elements(tests.call('admin', format('select public.find_substitutes(%L)', jsonb_build_object('session_id', session, 'include_off_caseload', true)))) as item
  where (item ->> 'therapistId')::uuid = tests.id(therapist) $$;

create temporary table visit on commit drop as select tests.book('rbt', 'rbt', 'ann', tests.at(1)) as id;
do $$ begin perform tests.book('rbt2', 'rbt2', 'ben', tests.at(1, '14:00')); end $$;
select is(tests.substitutes('admin', id), '{bcba,rbt2}', 'who has less to do that week comes first, and not the one who is ill') from visit;
select is(tests.substitutes('rbt', id), '{bcba,rbt2}', 'she may look herself') from visit;
select is(tests.call('admin', format('select public.find_substitutes(%L)', jsonb_build_object('session_id', id))) #> '{1}',
  jsonb_build_object('therapistId', tests.id('rbt2'), 'name', (select display_name from public.therapists where id = tests.id('rbt2') and organization_id = tests.id('clinic')),
    'credential', 'RBT', 'onCaseload', true, 'caseload', 2, 'bookedMinutes', 60), 'with what one chooses by') from visit;

-- Busy, away, closed, gone.
create temporary table hold on commit drop as select tests.hold('bcba', tests.request('bcba', 'ben', tests.at(1, '11:00'))) as held;
select is(tests.substitutes('admin', id), '{bcba,rbt2}', 'whoever has something right after it is free') from visit;
do $$ begin perform tests.release('bcba', held #>> '{body,holdKey}') from hold; end $$;
do $$ begin perform tests.hold('bcba', tests.request('bcba', 'ben', tests.at(1, '11:15'), 60, '{"buffer_before_minutes": 30}')); end $$;
select is(tests.substitutes('admin', id), '{rbt2}', 'whoever has a hold, with its travel, is not') from visit;
savepoint before;
insert into public.availability_exceptions (organization_id, therapist_id, kind, starts_at, ends_at)
values (tests.id('clinic'), tests.id('rbt2'), 'time_off', tests.at(1, '10:30'), tests.at(1, '11:30'));
select is(tests.substitutes('admin', id), '{}', 'nor whoever is away') from visit;
rollback to before;
insert into public.organization_closures (organization_id, name, starts_at, ends_at) values (tests.id('clinic'), 'Closed', tests.at(1, '10:30'), tests.at(1, '11:30'));
select is(tests.substitutes('admin', id), '{}', 'nor anybody when the clinic is closed') from visit;
rollback to before;
update public.therapists set time_zone = 'UTC', availability_hours = '{}' where organization_id = tests.id('clinic') and id = tests.id('rbt2');
select is(tests.substitutes('admin', id), '{}', 'nor whoever does not work then') from visit;
rollback to before;
update public.memberships set role = 'client' where organization_id = tests.id('clinic') and user_id = tests.id('rbt2');
select is(tests.substitutes('admin', id), '{}', 'nor whoever is no therapist any more') from visit;
rollback to before;
update public.therapists set deleted_at = now() where organization_id = tests.id('clinic') and id = tests.id('rbt2');
select is(tests.substitutes('admin', id), '{}', 'nor the archived') from visit;
rollback to before;
delete from public.caseloads where organization_id = tests.id('clinic') and therapist_id = tests.id('rbt2') and client_id = tests.id('ann');
select is(tests.substitutes('admin', id), '{}', 'nor, unless one asks, whoever does not know the client') from visit;
select is(tests.substitutes('admin', id, '{"include_off_caseload": true}'), '{rbt2}', 'who is listed when one asks') from visit;
rollback to before;

-- A group is an hour of work, and whoever takes one knows all of its clients. Archived clients are no work.
create temporary table grouped on commit drop as
select (tests.confirm('rbt2', tests.confirmation(held, 'rbt2', 'ann') || '{"cpt": {"code": "97154"}}') #>> '{body,sessions,0,id}')::uuid as id
from tests.hold('rbt2', tests.request('rbt2', 'ann', tests.at(1, '17:00'), 60,
  jsonb_build_object('cpt_code', '97154', 'client_ids', jsonb_build_array(tests.id('ann'), tests.id('ben'))))) as held;
select is(tests.of_therapist(id, 'rbt2', 'bookedMinutes'), '120', 'two clients at once are one hour of work') from visit;
delete from public.caseloads where organization_id = tests.id('clinic') and therapist_id = tests.id('bcba') and client_id = tests.id('ben');
select is(tests.substitutes('admin', id), '{rbt}', 'a group goes to whoever knows all of its clients') from grouped;
select is(tests.of_therapist(id, 'bcba', 'onCaseload'), 'false', 'of the others it is said that they do not') from grouped;
select is(tests.of_therapist(id, 'rbt', 'caseload'), '2', 'a caseload is counted') from grouped;
update public.clients set deleted_at = now() where organization_id = tests.id('clinic') and id = tests.id('dan');
insert into public.caseloads (organization_id, therapist_id, client_id) values (tests.id('clinic'), tests.id('rbt'), tests.id('cat'));
update public.clients set deleted_at = now() where organization_id = tests.id('clinic') and id = tests.id('cat');
select is(tests.of_therapist(id, 'rbt', 'caseload'), '2', 'without the archived') from grouped;
rollback to before;

-- The absent therapist's buffers go over with the session.
create temporary table travelled on commit drop as
select (tests.confirm('rbt', tests.confirmation(held, 'rbt', 'ann')) #>> '{body,session,id}')::uuid as id
from tests.hold('rbt', tests.request('rbt', 'ann', tests.at(3), 60, '{"buffer_before_minutes": 30}')) as held;
do $$ begin perform tests.book('bcba', 'bcba', 'ben', tests.at(3, '08:45')); end $$;
select is(tests.substitutes('admin', id), '{rbt2}', 'whoever comes from elsewhere too late is not listed') from travelled;
rollback to before;

-- The week is the clinic's: its Sunday evening is Monday in UTC.
create temporary table evening on commit drop as
select date_trunc('week', tests.at(14) at time zone 'UTC') at time zone 'UTC' + interval '3 hours' as starts;
create temporary table sunday on commit drop as select tests.book('rbt', 'rbt', 'ann', starts) as id from evening;
do $$ begin
  perform tests.book('bcba', 'bcba', 'ben', starts - interval '3 days' + interval '14 hours') from evening;
  perform tests.book('rbt2', 'rbt2', 'ben', starts + interval '3 days' + interval '14 hours') from evening;
end $$;
select is(array[tests.of_therapist(id, 'bcba', 'bookedMinutes'), tests.of_therapist(id, 'rbt2', 'bookedMinutes')], '{60,0}', 'what lies before a Sunday is of its week, what lies after it is not') from sunday;
rollback to before;

-- Time without a client is work too.
select tests.call('admin', format('select public.add_staff_time(%L)', '{"kind": "meeting"}'::jsonb || tests.occurrence(tests.at(1, '16:00'), 90) || jsonb_build_object('therapist_ids', jsonb_build_array(tests.id('bcba')))));
do $$ begin perform tests.release('bcba', hold_key::text) from public.hold_batches where therapist_id = tests.id('bcba') and organization_id = tests.id('clinic'); end $$;
select is(tests.substitutes('admin', id), '{rbt2,bcba}', 'who has a meeting has more to do') from visit;
select tests.call('admin', format('select public.cancel_staff_time(%L)', jsonb_build_object('staff_time_ids', (select jsonb_agg(staff_times.id) from public.staff_times where organization_id = tests.id('clinic')))));
select is(tests.substitutes('admin', id), '{bcba,rbt2}', 'unless it is cancelled') from visit;
select tests.call('admin', format('select public.add_staff_time(%L)', '{"kind": "meeting"}'::jsonb || tests.occurrence(tests.at(8, '16:00'), 90) || jsonb_build_object('therapist_ids', jsonb_build_array(tests.id('bcba')))));
select is(tests.substitutes('admin', id), '{bcba,rbt2}', 'or in another week') from visit;
rollback to before;

-- Whoever is offered can be had: units may be limited for a therapist, or for a client with one.
select tests.add_payers();
insert into public.client_coverages (organization_id, client_id, payer_id, valid_from)
select tests.id('clinic'), tests.id(client), tests.id('open'), '2020-01-01' from unnest(array['ann', 'ben']) as client;
select tests.book('rbt2', 'rbt2', 'ben', tests.at(1, '18:00'));
create function tests.hand_over(session uuid, therapist text) returns text language sql as $$
  select coalesce(answer ->> 'code', 'ok') from tests.call('admin', format('select public.hold_reassignment(%L)', jsonb_build_object('session_ids', jsonb_build_array(session), 'to_therapist_id', tests.id(therapist)))) as answer $$;
insert into public.unit_limits (organization_id, payer_id, cpt_codes, per, period, max_units) values (tests.id('clinic'), tests.id('open'), '{97153}', 'therapist', 'day', 12);
select is(tests.substitutes('admin', id), '{rbt2}', 'who has units left that day is listed') from visit;
select tests.book('rbt2', 'rbt2', 'ben', tests.at(1, '20:00'));
select is(tests.substitutes('admin', id), '{}', 'who has none left is not') from visit;
select is(tests.hand_over(id, 'rbt2'), 'AUTHORIZATION_EXCEEDED', 'nor could they have it') from visit;
update public.unit_limits set max_units = 16 where payer_id = tests.id('open');
select is(tests.substitutes('admin', id), '{rbt2}', 'when more is allowed they are listed again') from visit;
select is(tests.hand_over(id, 'rbt2'), 'ok', 'and have it') from visit;
rollback to before;

-- What only a qualified professional may render.
create temporary table guidance on commit drop as
select (tests.confirm('bcba', tests.confirmation(held, 'bcba', 'ann') || '{"cpt": {"code": "97155"}}') #>> '{body,sessions,0,id}')::uuid as id
from tests.hold('bcba', tests.request('bcba', 'ann', tests.at(2), 60, '{"cpt_code": "97155"}')) as held;
select is(tests.substitutes('admin', id), '{}', 'no technician takes what only a professional may render') from guidance;
update public.therapists set credential = 'BCBA' where organization_id = tests.id('clinic') and id = tests.id('rbt2');
select is(tests.substitutes('admin', id), '{rbt2}', 'a professional does') from guidance;

-- Over, or somebody else's.
do $$ begin perform tests.cancel('bcba', jsonb_build_object('session_ids', jsonb_build_array(id))) from guidance; end $$;
select is(tests.substitutes('admin', id), '{}', 'a cancelled session needs nobody') from guidance;
select is(tests.error_code(person, format('select public.find_substitutes(%L)', jsonb_build_object('session_id', id))), 'PT403', format('%s may not look', person))
from visit, unnest(array['rbt2', 'parent', 'other admin']) as person;
select is((tests.error('admin', $$ select public.find_substitutes('{"session_id": "x"}') $$) ->> 'details')::jsonb #>> '{0,path}', 'session_id', 'a malformed question is told so');

select * from finish();
rollback;
