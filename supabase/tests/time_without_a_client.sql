-- Meetings, drives, breaks: time of therapists without a client, entered by themselves or by an admin, takes their time as a
-- session does.
begin;
select plan(65);
select tests.open_clinic();
select tests.open_clinic('other ');

create function tests.staff(person text, request jsonb) returns jsonb language sql as $$
  select tests.call(person, format('select public.add_staff_time(%L)', request)) $$;
create function tests.change_staff(person text, request jsonb) returns jsonb language sql as $$
  select tests.call(person, format('select public.change_staff_time(%L)', request)) $$;
create function tests.cancel_staff(person text, request jsonb) returns jsonb language sql as $$
  select tests.call(person, format('select public.cancel_staff_time(%L)', request)) $$;
create function tests.meeting(names text[], starts timestamptz, minutes integer default 60, extra jsonb default '{}') returns jsonb language sql as $$
  select jsonb_build_object('kind', 'meeting', 'therapist_ids', (select jsonb_agg(tests.id(name)) from unnest(names) as name))
    || tests.occurrence(starts, minutes) || extra $$;

-- All or nothing.
select tests.book('rbt2', 'rbt2', 'ann', tests.at(1));
create temporary table refused on commit drop as
select tests.staff('admin', tests.meeting(array['bcba', 'rbt', 'rbt2'], tests.at(1))) as outcome;
select is(outcome ->> 'code', 'THERAPIST_CONFLICT', 'a meeting is refused when one of three has a session then') from refused;
select is(outcome -> 'conflicts', jsonb_build_array(jsonb_build_object(
  'occurrenceIndex', 0, 'resource', 'therapist', 'blockedBy', 'session', 'therapistId', tests.id('rbt2'),
  'startTime', private.iso(tests.at(1)), 'endTime', private.iso(tests.at(1, '11:00')))),
  'it says which of those asked for, and not with whom') from refused;
select is(outcome -> 'retryAfter', 'null'::jsonb, 'waiting would be useless') from refused;
select is((select count(*) from public.staff_times where organization_id = tests.id('clinic')), 0::bigint, 'nothing of it is written');
select is(tests.hold('bcba', tests.request('bcba', 'ann', tests.at(1, '12:00'))) ->> 'ok', 'true', 'and nobody is blocked');

create temporary table met on commit drop as
select tests.staff('admin', tests.meeting(array['bcba', 'rbt', 'rbt2'], tests.at(2), 60, jsonb_build_object('room_id', tests.id('blue')))) as outcome;
select is(outcome ->> 'ok', 'true', 'a meeting of three is entered by an admin') from met;
select is((outcome #> '{body,staffTimes,0}') - 'id', jsonb_build_object('kind', 'meeting', 'startTime', private.iso(tests.at(2)),
  'endTime', private.iso(tests.at(2, '11:00')), 'seriesId', null), 'and told when it is') from met;
select is(tests.hold('rbt', tests.request('rbt', 'ann', tests.at(2, '10:30'))) ->> 'code', 'THERAPIST_CONFLICT', 'it blocks one');
select is(tests.hold('bcba', tests.request('bcba', 'ben', tests.at(2, '10:30'))) ->> 'code', 'THERAPIST_CONFLICT', 'and another');
select is(tests.hold('rbt', tests.request('rbt', 'ann', tests.at(2, '11:00'))) ->> 'ok', 'true', 'back to back is allowed');
select is((tests.hold('rbt', tests.request('rbt', 'ann', tests.at(2, '10:30')))) #>> '{conflicts,0,blockedBy}', 'session', 'a hold is told of something booked, no more');
select is((tests.hold('rbt', tests.request('rbt', 'ann', tests.at(2, '10:30')))) -> 'conflicts' @> '[{"kind": "meeting"}]', false, 'not of what kind');
select is(tests.staff('admin', tests.meeting(array['rbt'], tests.at(2, '10:59'))) ->> 'code', 'THERAPIST_CONFLICT', 'two staff times of one therapist do not overlap');
select is(tests.error_code('service_role', format($$ insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone)
  values (%L, %L, %L, %L, %L, 'UTC') $$, tests.id('clinic'), tests.id('rbt'), tests.id('ben'), tests.at(2), tests.at(2, '11:00'))), '23P01', 'a session written directly meets it too');
select is(tests.call('rbt', format($$ select coalesce(jsonb_agg(start_time), '[]') from public.find_open_slots(%L, %L, %L, 60) $$, tests.id('rbt'), tests.at(2, '09:30'), tests.at(2, '11:30'))),
  '[]'::jsonb, 'no open slot lies in it');
select is((select count(*) from jsonb_array_elements(tests.call('rbt', format('select public.find_alternatives(%L)', tests.request('rbt', 'ben', tests.at(2))))) as item
  where tstzrange((item ->> 'startTime')::timestamptz, (item ->> 'endTime')::timestamptz) && tstzrange(tests.at(2), tests.at(2, '11:00'))), 0::bigint, 'no alternative either');
select is(tests.call('rbt', format('select public.preview_series(%L)', tests.series('rbt', 'ben', array[tests.at(2), tests.at(4)]))) #>> '{occurrences,0,blockedBy}', 'therapist', 'a preview says so');
select is(tests.hold('admin', tests.request('rbt2', 'ben', tests.at(2, '09:30'), 90, jsonb_build_object('room_id', tests.id('blue')))) ->> 'code', 'THERAPIST_CONFLICT', 'its room is taken with it');
select is_empty('select * from tests.broken_claims()', 'claims are what the rows say');
select is((select jsonb_agg(to_jsonb(entry)) from reports.double_bookings as entry where organization_id = tests.id('clinic')), null, 'nobody is booked twice');
select results_eq($$ select action, outcome, entity, cardinality(entity_ids), after #> '{0,therapist_ids}' is not null from audit.events where organization_id = tests.id('clinic') and action like 'staff_time.%' order by recorded_at $$,
  $$ values ('staff_time.refused', 'refused', 'staff_time', 0, false), ('staff_time.added', 'ok', 'staff_time', 1, true), ('staff_time.refused', 'refused', 'staff_time', 0, false) $$, 'each is one event');

-- What is held.
select tests.hold('rbt', tests.request('rbt', 'ann', tests.at(3)));
create temporary table waits on commit drop as select tests.staff('admin', tests.meeting(array['bcba', 'rbt'], tests.at(3))) as outcome;
select is(outcome ->> 'code', 'THERAPIST_HOLD_CONFLICT', 'a hold is in the way of a meeting') from waits;
select is((outcome ->> 'retryAfter')::timestamptz, (outcome #>> '{conflicts,0,expiresAt}')::timestamptz, 'until it expires') from waits;

-- A series.
create temporary table weekly on commit drop as
select tests.staff('bcba', tests.occurrence(tests.at(7), 30) || jsonb_build_object('kind', 'documentation', 'recurrence', '{"rule": "FREQ=WEEKLY;COUNT=3"}'::jsonb,
  'occurrences', jsonb_build_array(tests.occurrence(tests.at(7), 30), tests.occurrence(tests.at(14), 30), tests.occurrence(tests.at(21), 30)))) as outcome;
select is(jsonb_array_length(outcome #> '{body,staffTimes}'), 3, 'a therapist enters a series of their own, and need not say whose') from weekly;
select is((select count(distinct series_id) from public.staff_times where kind = 'documentation' and organization_id = tests.id('clinic')), 1::bigint, 'they belong together');
select is((select details #>> '{recurrence,rule}' from audit.events where action = 'staff_time.added' and cardinality(entity_ids) = 3), 'FREQ=WEEKLY;COUNT=3', 'the event keeps the rule');
select tests.book('bcba', 'bcba', 'ann', tests.at(14, '12:00'));
select is(tests.change_staff('bcba', jsonb_build_object('series_id', outcome #> '{body,seriesId}', 'local_start', '12:00')) ->> 'code', 'THERAPIST_CONFLICT', 'a series moves whole or not at all') from weekly;
select is((select array_agg(start_time order by start_time) from public.staff_times where kind = 'documentation' and organization_id = tests.id('clinic')), array[tests.at(7), tests.at(14), tests.at(21)], 'it stays where it was');
select is(tests.change_staff('bcba', jsonb_build_object('series_id', outcome #> '{body,seriesId}', 'from', private.iso(tests.at(10)), 'local_start', '10:15', 'duration_minutes', 45)) ->> 'ok', 'true', 'this and following move, over their own old places') from weekly;
select is((select array_agg(start_time order by start_time) from public.staff_times where kind = 'documentation' and organization_id = tests.id('clinic')), array[tests.at(7), tests.at(14, '10:15'), tests.at(21, '10:15')], 'the earlier ones stay');
select is(tests.cancel_staff('bcba', jsonb_build_object('series_id', outcome #> '{body,seriesId}', 'from', private.iso(tests.at(20)))) #>> '{body,cancelledCount}', '1', 'the rest of a series is cancelled') from weekly;
select is(tests.hold('bcba', tests.request('bcba', 'ben', tests.at(21, '10:15'))) ->> 'ok', 'true', 'and its time is free at once');
select is(tests.error('bcba', format('select public.change_staff_time(%L)', jsonb_build_object('series_id', outcome #> '{body,seriesId}', 'kind', 'break', 'from', private.iso(tests.at(20))))) is null
  and (select kind::text from public.staff_times where start_time = tests.at(21, '10:15')) = 'documentation', true, 'a cancelled one stays as it is') from weekly;

-- One is changed and cancelled.
select is(tests.change_staff('admin', jsonb_build_object('staff_time_id', outcome #> '{body,staffTimes,0,id}', 'therapist_ids', jsonb_build_array(tests.id('bcba'), tests.id('rbt')))) ->> 'ok', 'true', 'somebody need not come') from met;
select is(tests.hold('admin', tests.request('rbt2', 'ben', tests.at(2))) ->> 'ok', 'true', 'and is free');
select is(tests.change_staff('admin', jsonb_build_object('staff_time_id', outcome #> '{body,staffTimes,0,id}', 'therapist_ids', jsonb_build_array(tests.id('bcba'), tests.id('rbt2')))) ->> 'code', 'THERAPIST_HOLD_CONFLICT', 'who is held meanwhile is not asked back') from met;
select is(tests.change_staff('admin', jsonb_build_object('staff_time_id', outcome #> '{body,staffTimes,0,id}', 'start_time', private.iso(tests.at(2, '10:30')), 'end_time', private.iso(tests.at(2, '11:30')))) ->> 'code', 'THERAPIST_HOLD_CONFLICT', 'it does not move onto a hold') from met;
select is(tests.change_staff('admin', jsonb_build_object('staff_time_id', outcome #> '{body,staffTimes,0,id}', 'start_time', private.iso(tests.at(2, '09:30')), 'end_time', private.iso(tests.at(2, '10:30')))) ->> 'ok', 'true', 'it moves over its own old place') from met;
select is_empty('select * from tests.broken_claims()', 'claims follow');
select results_eq($$ select before #>> '{0,start_time}' = after #>> '{0,start_time}' from audit.events where action = 'staff_time.changed' and before #>> '{0,kind}' = 'meeting' order by recorded_at $$,
  $$ values (true), (false) $$, 'the events say from what to what');
select is(tests.cancel_staff('rbt', jsonb_build_object('staff_time_ids', jsonb_build_array(outcome #> '{body,staffTimes,0,id}'))) ->> 'code', 'FORBIDDEN', 'a therapist does not cancel a meeting of others') from met;
select is(tests.cancel_staff('admin', jsonb_build_object('staff_time_ids', jsonb_build_array(outcome #> '{body,staffTimes,0,id}'))) -> 'body' ->> 'cancelledCount', '1', 'an admin does') from met;
select is(tests.cancel_staff('admin', jsonb_build_object('staff_time_ids', jsonb_build_array(outcome #> '{body,staffTimes,0,id}'))) -> 'body' ->> 'alreadyCancelledCount', '1', 'once') from met;
select is(tests.change_staff('admin', jsonb_build_object('staff_time_id', outcome #> '{body,staffTimes,0,id}', 'kind', 'break')) ->> 'code', 'SESSION_NOT_MOVABLE', 'a cancelled one is not changed') from met;
select is_empty('select * from tests.broken_claims()', 'and claims nothing');

-- Who may.
select is(tests.staff(person, tests.meeting(names, tests.at(30))) ->> 'code', 'FORBIDDEN', format('%s does not take the time of %s', person, names))
from (values ('rbt', array['bcba']), ('rbt', array['rbt', 'bcba']), ('parent', array['rbt']), ('admin', array['other rbt']), ('admin', array['parent']), ('other admin', array['rbt'])) as try (person, names);
select is(tests.rows(person, 'select from public.staff_times'), seen, format('%s sees %s staff times', person, seen))
from (values ('admin', 4::bigint), ('bcba', 4), ('rbt', 1), ('rbt2', 0), ('parent', 0), ('other admin', 0)) as try (person, seen);
select is(tests.rows('rbt', 'select from public.staff_time_members'), 1::bigint, 'a therapist does not see who else takes part');

-- Hours and closures.
insert into public.organization_closures (organization_id, name, starts_at, ends_at) values (tests.id('clinic'), 'Training day', tests.at(40, '00:00'), tests.at(41, '00:00'));
select is(tests.staff('admin', tests.meeting(array['bcba'], tests.at(40))) #>> '{conflicts,0,blockedBy}', 'closure', 'a closed clinic has no meetings');
select is(tests.staff('admin', tests.meeting(array['bcba'], tests.at(40), 60, '{"override": {"reason": "Training"}}')) ->> 'ok', 'true', 'unless an admin says why');
select is((select details ->> 'reason' from audit.events where action = 'override.availability' and entity = 'staff_time'), 'Training', 'which is in the audit');

-- Directly.
select is(tests.error_code('admin', format($$ insert into public.staff_times (organization_id, kind, start_time, end_time, time_zone) values (%L, 'break', %L, %L, 'UTC') $$,
  tests.id('clinic'), tests.at(50), tests.at(50, '11:00'))), '42501', 'users write none past the functions');
insert into public.staff_times (organization_id, id, kind, start_time, end_time, time_zone) values (tests.id('clinic'), tests.id('break'), 'break', tests.at(50), tests.at(50, '11:00'), 'UTC');
insert into public.staff_time_members values (tests.id('clinic'), tests.id('break'), tests.id('rbt'));
select is(tests.hold('rbt', tests.request('rbt', 'ann', tests.at(50))) ->> 'code', 'THERAPIST_CONFLICT', 'what SQL writes blocks');
update public.therapists set deleted_at = now() where organization_id = tests.id('clinic') and id = tests.id('rbt2');
select is(tests.error('service_role', format('insert into public.staff_time_members values (%L, %L, %L)', tests.id('clinic'), tests.id('break'), tests.id('rbt2'))) ->> 'code', '23514', 'nobody archived takes part');
select is_empty('select * from tests.broken_claims()', 'claims are what the rows say, whoever wrote them');

select * from finish();
rollback;
