-- A country changes its clocks, and the database learns of it: sessions keep the civil time they were booked for, a report
-- lists those whose clocks show another one now, and resync_zone moves them back, all or none.
begin;
select plan(43);
select tests.open_clinic();
select tests.open_clinic('other ');

create function pg_temp.shows(day integer, clock text default '10:00') returns timestamptz language sql stable as $$
  select (tests.at(day)::date + clock::time) at time zone 'America/Vancouver'
$$;
-- A session at a time of Vancouver's clocks, unless another zone is named.
create function pg_temp.made(name text, day integer, clock text default '10:00', zone text default 'America/Vancouver', clinic text default '')
returns uuid language sql as $$
  insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone)
  values (tests.id(clinic || 'clinic'), tests.id(name), tests.id(clinic || 'rbt'), tests.id(clinic || 'ann'),
    pg_temp.shows(day, clock), pg_temp.shows(day, clock) + interval '1 hour', zone)
  returning id
$$;
-- The law changes: what the clocks show now is an hour less than what they showed when these were booked.
create function pg_temp.law_changes(variadic names text[]) returns void language sql as $$
  update public.sessions set civil_start = civil_start + interval '1 hour' where id = any (array(select tests.id(name) from unnest(names) as name))
$$;
create function pg_temp.off(person text) returns text[] language sql as $$
  select array(select jsonb_array_elements_text(tests.call(person, $q$
    select coalesce(jsonb_agg(concat_ws(' ', booked_for::time, shows_now::time, minutes_off) order by start_time), '[]') from reports.moved_by_zone_rules $q$)))
$$;
create function pg_temp.resync(person text default 'super', zone text default 'America/Vancouver') returns jsonb language sql as $$
  select tests.call(person, format('select public.resync_zone(%L)', zone))
$$;
create function pg_temp.clock_of(name text) returns time language sql as $$
  select (start_time at time zone time_zone)::time from public.sessions where id = tests.id(name)
$$;

do $$ begin
  perform pg_temp.made('first', 1), pg_temp.made('second', 2), pg_temp.made('third', 3), pg_temp.made('elsewhere', 4, zone => 'UTC'),
    pg_temp.made('of another clinic', 1, clinic => 'other '), pg_temp.made('cancelled', 5), pg_temp.made('gone by', -60);
  update public.sessions set status = 'cancelled' where id = tests.id('cancelled');
end $$;
create temporary table held on commit drop as
select tests.hold('admin', tests.request('bcba', 'ann', pg_temp.shows(6)) || tests.occurrence(pg_temp.shows(6), 60, 'America/Vancouver')) as outcome;

select is((select civil_start from public.sessions where id = tests.id('first')), tests.at(1)::date + time '10:00',
  'a session keeps the civil time it was booked for');
select is(civil_start, tests.at(6)::date + time '10:00', 'as its hold does') from public.session_holds, held where id = (outcome #>> '{body,holds,0,holdId}')::uuid;
select is(tests.confirm('admin', tests.confirmation(outcome, 'bcba', 'ann')) ->> 'ok', 'true', 'and the session it becomes') from held;
select is(pg_temp.off('admin'), '{}', 'none is off its time');
select is(pg_temp.resync() -> 'body', jsonb_build_object('zone', 'America/Vancouver', 'movedCount', 0, 'movedSessionIds', '[]'::jsonb), 'so none moves');

select pg_temp.law_changes('first', 'second', 'third', 'elsewhere', 'of another clinic', 'cancelled', 'gone by');
select is((pg_temp.off('admin'))[1:3], array_fill('11:00:00 10:00:00 -60'::text, array[3]),
  'the report lists what is to come and was booked for another time');
select is(cardinality(pg_temp.off('admin')), 4, 'of every zone of the clinic');
select is(cardinality(pg_temp.off('rbt')), 4, 'a therapist reads their own');
select is(pg_temp.off('rbt2'), '{}', 'and no other''s');

-- Who may, and what is a zone.
select is(pg_temp.resync('admin') ->> 'code', 'FORBIDDEN', 'an admin moves no zone');
select is(pg_temp.resync('rbt') ->> 'code', 'FORBIDDEN', 'nor does a therapist');
select is(tests.error('super', $$ select public.resync_zone('CET') $$) #>> '{details}', '[{"path": "zone", "message": "must be an IANA time zone"}]', 'CET is no zone');
select is(tests.error_code('super', 'select public.resync_zone(null)'), 'PT400', 'nor is nothing');

-- Something else is there: nobody moves.
create temporary table before on commit drop as select tests.footprint() as footprint;
do $$ begin
  perform tests.book('rbt', 'rbt', 'ben', pg_temp.shows(2, '11:30'), 60);
  update before set footprint = tests.footprint();
end $$;
create temporary table refused on commit drop as select pg_temp.resync() as outcome;
select is(outcome ->> 'code', 'THERAPIST_CONFLICT', 'what is in the way refuses it') from refused;
select is(outcome -> 'conflicts', jsonb_build_array(jsonb_build_object(
    'occurrenceIndex', 1, 'sessionId', tests.id('second'), 'resource', 'therapist', 'blockedBy', 'session',
    'startTime', private.iso(pg_temp.shows(2, '11:30')), 'endTime', private.iso(pg_temp.shows(2, '12:00')))),
  'each conflict is told, with its session') from refused;
select is(tests.footprint(), footprint, 'nothing has moved') from before;
select is((select details ->> 'attempted' from audit.events where action = 'session.refused' and code = 'THERAPIST_CONFLICT'), 'resync_zone', 'the refusal is recorded');
update public.sessions set status = 'cancelled' where client_id = tests.id('ben') and organization_id = tests.id('clinic');

-- While somebody moves one of them, it stays.
create temporary table move on commit drop as
select tests.hold('rbt', tests.request('rbt', 'ann', tests.at(9)) || jsonb_build_object('session_id', tests.id('third'))) as outcome;
select is(pg_temp.resync() ->> 'code', 'SESSION_BEING_MOVED', 'a session that somebody is moving keeps all of them where they are');
select isnt(pg_temp.resync() ->> 'retryAfter', null, 'until that hold has ended');
do $$ begin perform tests.release('rbt', outcome #>> '{body,holdKey}') from move; end $$;

-- Now they move, and what follows from them.
create temporary table done on commit drop as select pg_temp.resync() as outcome;
select is(outcome -> 'body', jsonb_build_object('zone', 'America/Vancouver', 'movedCount', 3,
  'movedSessionIds', jsonb_build_array(tests.id('first'), tests.id('second'), tests.id('third'))), 'all of the zone move') from done;
select is(array[pg_temp.clock_of('first'), pg_temp.clock_of('second'), pg_temp.clock_of('third')], array['11:00', '11:00', '11:00']::time[],
  'to the civil time they were booked for');
select is((select end_time - start_time from public.sessions where id = tests.id('first')), interval '1 hour', 'as long as they were');
select is_empty('select * from tests.broken_claims()', 'their claims go with them');
select is(tests.hold('rbt', tests.request('rbt', 'ben', pg_temp.shows(1, '10:00'))) ->> 'ok', 'true', 'the old time is free');
select is(tests.hold('rbt', tests.request('rbt', 'ben', pg_temp.shows(1, '11:30'))) ->> 'code', 'THERAPIST_CONFLICT', 'the new one is not');
select is(cardinality(pg_temp.off('admin')), 1, 'what is of another zone is still off');
select is(pg_temp.resync() #>> '{body,movedCount}', '0', 'a second call moves nothing');
select is((select array[pg_temp.clock_of('of another clinic'), pg_temp.clock_of('cancelled'), pg_temp.clock_of('gone by')]), array['10:00', '10:00', '10:00']::time[],
  'other clinics, cancelled sessions and the past stay as they are');
select is((select array_agg(entity_ids::text || (details ->> 'zone') order by recorded_at) from audit.events where action = 'session.zone_resynced' and cardinality(entity_ids) > 0),
  array[array[tests.id('first'), tests.id('second'), tests.id('third')]::text || 'America/Vancouver'], 'one event tells of it');
select is((select count(*) from audit.events, unnest(entity_ids) as moved (id) where action = 'session.moved' and moved.id in (tests.id('first'), tests.id('second'), tests.id('third'))),
  3::bigint, 'and the record of each session of its move');

-- A time that clocks skip stays where it was put. A hold that has expired keeps nobody from moving.
create temporary table skipped on commit drop as
select min(moment::date) + time '02:30' as civil
from generate_series(current_date + 60, current_date + 425, interval '1 day') as days (moment)
where (moment::date + time '02:30') at time zone 'America/Los_Angeles' at time zone 'America/Los_Angeles' <> moment::date + time '02:30';
insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone)
select tests.id('clinic'), tests.id('skipped'), tests.id('rbt'), tests.id('ann'), civil at time zone 'America/Los_Angeles', civil at time zone 'America/Los_Angeles' + interval '1 hour', 'America/Los_Angeles'
from skipped;
update public.sessions set civil_start = (select civil from skipped) where id = tests.id('skipped');
select is(pg_temp.resync(zone => 'America/Los_Angeles') #>> '{body,movedCount}', '0', 'what was booked for a time that clocks skip is where it belongs');
select is((select count(*) from reports.moved_by_zone_rules where session_id = tests.id('skipped')), 0::bigint, 'and is in no report');
do $$ begin
  perform pg_temp.made('fourth', 15);
  perform tests.expire(tests.hold('rbt', tests.request('rbt', 'ben', pg_temp.shows(15, '11:00'))));
end $$;
select pg_temp.law_changes('fourth');
select is(pg_temp.resync() #>> '{body,movedCount}', '1', 'a hold that has expired is in nobody''s way');
select is_empty('select * from tests.broken_claims()', 'and its claims are gone');

-- A session that is moved was booked for its new time from then on.
do $$ begin
  perform pg_temp.made('fifth', 17);
  perform tests.confirm('rbt', jsonb_set(jsonb_set(tests.confirmation(held, 'rbt', 'ann'), '{session,id}', to_jsonb(tests.id('fifth'))), '{occurrences,0,session,id}', to_jsonb(tests.id('fifth'))))
  from tests.hold('rbt', tests.request('rbt', 'ann', tests.at(18, '15:00'), 60, jsonb_build_object('session_id', tests.id('fifth')))) as held;
end $$;
select is((select array[start_time = tests.at(18, '15:00'), civil_start = start_time at time zone time_zone] from public.sessions where id = tests.id('fifth')), '{t,t}',
  'a session that is moved is booked for its new time');

-- A group moves whole or not at all.
insert into public.session_groups (organization_id, id, therapist_id, start_time, end_time)
values (tests.id('clinic'), tests.id('group'), tests.id('bcba'), pg_temp.shows(12), pg_temp.shows(12, '11:00'));
insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, group_id, cpt_code)
select tests.id('clinic'), tests.id(client || ' in the group'), tests.id('bcba'), tests.id(client), pg_temp.shows(12), pg_temp.shows(12, '11:00'),
  'America/Vancouver', tests.id('group'), '97154' from unnest(array['ann', 'ben']) as client;
select pg_temp.law_changes('ann in the group');
create temporary table torn on commit drop as select pg_temp.resync() as outcome;
select is(outcome ->> 'code', 'SESSION_NOT_MOVABLE', 'members who were booked for different times are not torn apart') from torn;
select is(jsonb_path_query_array(outcome, '$.conflicts[*].sessionId'), to_jsonb((select array_agg(id order by id) from unnest(array[tests.id('ann in the group'), tests.id('ben in the group')]) as id
  where id = tests.id('ben in the group'))), 'the member who stays is named') from torn;
select is(jsonb_path_query_array(outcome, '$.conflicts[*].occurrenceIndex'), '[0]', 'at the place of the group''s first member who would move') from torn;
select pg_temp.law_changes('ben in the group');
select is(pg_temp.resync() #>> '{body,movedCount}', '2', 'a group moves with all its members');
select is((select start_time from public.session_groups where id = tests.id('group')), pg_temp.shows(12, '11:00'), 'and stands where they stand');

-- What would be rendered on a day that no authorization covers.
select tests.add_payers(), tests.cover('ann', 'open'), tests.authorize('ann', array['97153'], 400, tests.at(-100)::date, tests.at(20)::date);
insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone)
select tests.id('clinic'), tests.id('late'), tests.id('rbt'), tests.id('ann'), midnight - interval '30 minutes', midnight + interval '30 minutes', 'America/Vancouver'
from (select tests.at(21)::date::timestamp at time zone 'America/Los_Angeles' as midnight) as clinic;
select pg_temp.law_changes('late');
create temporary table short on commit drop as select pg_temp.resync() as outcome;
select is(outcome ->> 'code', 'AUTHORIZATION_EXCEEDED', 'nobody is moved to a day that no authorization covers') from short;
select is(outcome -> 'shortages', jsonb_build_array(jsonb_build_object('occurrenceIndex', 0, 'sessionId', tests.id('late'), 'clientId', tests.id('ann'), 'cptCode', '97153',
  'date', tests.at(21)::date, 'limit', 'dates', 'neededUnits', 4, 'leftUnits', 0)), 'the shortage is told as a hold tells it, with its session') from short;

-- A clinic with years of bookings has more sessions than a hold has occurrences.
select is((private.resync_obstacle(tests.id('clinic'), array(
    select row(gen_random_uuid(), null, at, at, at, at + interval '1 hour')::private.resynced_session
    from generate_series(1, 32769) as number, lateral (select tests.at(0) + number * interval '1 hour' as at) as start), now())).conflicts,
  null, 'nothing is in the way of 32,769 sessions, which are counted all the same');

select * from finish();
rollback;
