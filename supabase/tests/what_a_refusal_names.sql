-- A refusal says which: the occurrence, whose time, the client, the limit, the field.
begin;
select plan(15);
select tests.open_clinic();
update public.organizations set time_zone = 'UTC' where id = tests.id('clinic');
select tests.add_payers();

-- Hours, time off and closures: each occurrence that is outside, by what, and the part of it.
update public.therapists set time_zone = 'UTC', availability_hours = (
  select jsonb_object_agg(day, '[{"start": "08:00", "end": "18:00"}]'::jsonb)
  from unnest(array['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday']) as day)
where organization_id = tests.id('clinic') and id = tests.id('rbt');
insert into public.availability_exceptions (organization_id, therapist_id, kind, starts_at, ends_at)
values (tests.id('clinic'), tests.id('rbt'), 'time_off', tests.at(2, '09:30'), tests.at(2, '10:30'));
insert into public.organization_closures (organization_id, name, starts_at, ends_at)
values (tests.id('clinic'), 'Snow day', tests.at(3, '10:45'), tests.at(3, '12:00'));
create function pg_temp.outside(occurrence integer, blocked_by text, starts timestamptz, ends timestamptz) returns jsonb language sql as $$
  select jsonb_build_object('occurrenceIndex', occurrence, 'resource', 'therapist', 'blockedBy', blocked_by, 'startTime', private.iso(starts), 'endTime', private.iso(ends))
$$;
create temporary table refused on commit drop as
select tests.hold('rbt', tests.series('rbt', 'ann', array[tests.at(1), tests.at(2), tests.at(3), tests.at(4, '17:30')])) as answer;
select is(answer ->> 'code', 'OUTSIDE_AVAILABILITY', 'three of four are outside') from refused;
select is(answer -> 'conflicts', jsonb_build_array(pg_temp.outside(1, 'availability', tests.at(2), tests.at(2, '10:30')),
  pg_temp.outside(2, 'closure', tests.at(3, '10:45'), tests.at(3, '11:00')), pg_temp.outside(3, 'availability', tests.at(4, '18:00'), tests.at(4, '18:30'))),
  'and each is named, with what it is outside of and the part that is') from refused;
select is(answer -> 'retryAfter', 'null', 'waiting is of no use') from refused;

-- Units: the client of a group who is short, with the limit.
select tests.cover(client, 'open') from unnest(array['ann', 'ben']) as client;
select tests.authorize('ann', '97154', 40), tests.authorize('ben', '97154', 6);
create temporary table short on commit drop as
select tests.hold('rbt', tests.series('rbt', 'ann', array[tests.at(10), tests.at(11)], 60, jsonb_build_object('cpt_code', '97154',
  'client_ids', jsonb_build_array(tests.id('ann'), tests.id('ben'))))) as answer;
select is(answer -> 'shortages', jsonb_build_array(jsonb_build_object('occurrenceIndex', 1, 'clientId', tests.id('ben'), 'cptCode', '97154', 'date', tests.at(11)::date, 'limit', 'total',
  'neededUnits', 4, 'leftUnits', 2)), 'who of a group is short is named, with the occurrence, the day, the limit and both numbers') from short;
select is(tests.hold('rbt', tests.request('rbt', 'ben', tests.at(110), 60, '{"cpt_code": "97153"}')) #>> '{shortages,0,limit}', null, 'a service that asks for no authorization is not short');
update public.client_coverages set valid_to = tests.at(20)::date where client_id = tests.id('ann');
select is((tests.hold('rbt', tests.request('rbt', 'ann', tests.at(30), 60, '{"cpt_code": "97153"}')) #> '{shortages,0}') - array['neededUnits', 'leftUnits'],
  jsonb_build_object('occurrenceIndex', 0, 'clientId', tests.id('ann'), 'cptCode', '97153', 'date', tests.at(30)::date, 'limit', 'coverage'), 'nobody pays on a day after the last coverage');

-- Another service of the client.
select tests.cover('cat', 'strict');
insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code)
values (tests.id('clinic'), tests.id('rbt'), tests.id('cat'), tests.at(6, '10:30'), tests.at(6, '11:30'), 'UTC', '97153');
select is(array[answer -> 'code', answer -> 'conflicts'], array['"CONCURRENT_SERVICE_NOT_ALLOWED"'::jsonb, jsonb_build_array(jsonb_build_object(
  'occurrenceIndex', 1, 'resource', 'client', 'blockedBy', 'session', 'startTime', private.iso(tests.at(6, '10:30')), 'endTime', private.iso(tests.at(6, '11:00'))))],
  'a pair that may not run at once is told by its occurrence')
from (select tests.hold('admin', tests.series('bcba', 'cat', array[tests.at(5), tests.at(6)], 60, '{"cpt_code": "97155"}')) as answer) as asked;

-- What a confirmation has otherwise than the hold.
create temporary table good on commit drop as
select tests.confirmation(held, 'rbt', 'ann', '{"cpt": {"code": "97153"}}') as body
from tests.hold('rbt', tests.series('rbt', 'ann', array[tests.at(12), tests.at(13)], 60, '{"cpt_code": "97153", "session_type": "individual"}')) as held;
select is(tests.confirm('admin', differs.body) ->> 'detail', 'What is confirmed differs from what was held in ' || differs.fields || '. Confirm it exactly as held.', 'it names ' || differs.fields)
from good, lateral (values
  ('therapist_id', jsonb_set(body, '{occurrences,0,session,therapist_id}', to_jsonb(tests.id('rbt2')))),
  ('start_time', jsonb_set(body, '{occurrences,1,session,start_time}', to_jsonb(tests.at(13, '09:45')))),
  ('end_time', jsonb_set(body, '{occurrences,1,session,end_time}', to_jsonb(tests.at(13, '11:15')))),
  ('cpt', body || '{"cpt": {"code": "97155"}}'),
  ('session_type', jsonb_set(body, '{occurrences,0,session,session_type}', '"assessment"')),
  ('id', jsonb_set(body, '{occurrences,0,session,id}', to_jsonb(gen_random_uuid())))
) as differs (fields, body);
select matches(tests.confirm('admin', body #- '{occurrences,1}') ->> 'detail', 'every occurrence of this hold, each once', 'or says that some are not listed') from good;
select is(tests.confirm('rbt', body) ->> 'ok', 'true', 'the hold is alive after all this') from good;

select * from finish();
rollback;
