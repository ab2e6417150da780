-- A clinic closes for days or hours, a therapist takes time off: both say what they touch, and cancel it when asked.
begin;
select plan(81);
select tests.open_clinic();
select tests.open_clinic('other ');
update public.organizations set time_zone = 'America/Los_Angeles' where id = tests.id('clinic');

create function tests.close(person text, request jsonb) returns jsonb language sql as $$
  select tests.call(person, format('select public.add_closure(%L)', request)) $$;
create function tests.leave(person text, request jsonb) returns jsonb language sql as $$
  select tests.call(person, format('select public.add_time_off(%L)', request)) $$;
-- A day of the story by its date.
create function tests.day(number integer) returns date language sql stable as $$ select (tests.at(number) at time zone 'UTC')::date $$;
create function tests.local(number integer, clock text) returns timestamptz language sql stable as $$
  select (tests.day(number) + clock::time) at time zone 'America/Los_Angeles' $$;

do $$ begin
  perform tests.book('rbt', 'rbt', 'ann', tests.local(1, '09:00'));
  perform tests.book('bcba', 'bcba', 'ben', tests.local(1, '23:30'), 60);
  perform tests.book('rbt', 'rbt', 'ann', tests.local(2, '23:30'), 60);
  perform tests.book('rbt', 'rbt', 'ben', tests.local(3, '00:30'));
  perform tests.cancel('rbt', jsonb_build_object('session_ids', jsonb_build_array(tests.book('rbt', 'rbt', 'ben', tests.local(1, '15:00')))));
end $$;

-- Days.
create temporary table closed on commit drop as
select tests.close('admin', jsonb_build_object('name', ' Winter break ', 'from_date', tests.day(1), 'to_date', tests.day(2))) as outcome;
select is(outcome #>> '{body,touched}', '3', 'a closure says how many sessions to come it touches, if only in part; the cancelled do not count') from closed;
select is(jsonb_array_length(outcome #> '{body,touchedSessionIds}'), 3, 'which they are') from closed;
select is(outcome #>> '{body,cancelled}', '0', 'and leaves them, unless it is told to cancel') from closed;
select is(array[outcome #>> '{body,startsAt}', outcome #>> '{body,endsAt}']::timestamptz[], array[tests.local(1, '00:00'), tests.local(3, '00:00')],
  'days are those of the clinic''s zone, the last included') from closed;
select results_eq($$ select name from public.organization_closures where organization_id = tests.id('clinic') $$, $$ values ('Winter break') $$, 'under its name');
select results_eq($$ select action, actor_role, entity_ids[1]::text from audit.events where organization_id = tests.id('clinic') and action like '%closure%' $$,
  $$ select 'organization_closure.added', 'admin', outcome #>> '{body,closureId}' from closed $$, 'which is in the audit');
select is(tests.hold('rbt', tests.request('rbt', 'ben', tests.local(2, '12:00'))) ->> 'code', 'OUTSIDE_AVAILABILITY', 'nobody is held in it');
select is(tests.hold('admin', tests.request('rbt2', 'ben', tests.local(2, '12:00'))) ->> 'code', 'OUTSIDE_AVAILABILITY', 'by an admin either');
select is(tests.hold('rbt', tests.series('rbt', 'ben', array[tests.local(4, '12:00'), tests.local(2, '12:00')])) ->> 'code', 'OUTSIDE_AVAILABILITY', 'nor a series with a date in it');
select is(tests.hold('other rbt', tests.request('other rbt', 'other ann', tests.local(2, '12:00')) || jsonb_build_object('client_id', tests.id('other ann'))) ->> 'ok', 'true', 'another clinic goes on');
select is(jsonb_array_length(tests.call('rbt', format($$ select coalesce(jsonb_agg(start_time), '[]') from public.find_open_slots(%L, %L, %L, 60) $$,
  tests.id('rbt'), tests.local(1, '00:00'), tests.local(3, '01:00')))), 0, 'it has no open slots');
select is((select count(*) from jsonb_array_elements(tests.call('rbt', format('select public.find_alternatives(%L)', tests.request('rbt', 'ben', tests.local(2, '12:00'))))) as item
  where tstzrange((item ->> 'startTime')::timestamptz, (item ->> 'endTime')::timestamptz) && tstzrange(tests.local(1, '00:00'), tests.local(3, '00:00'))), 0::bigint, 'and no alternatives');
select is(tests.call('rbt', format('select public.preview_series(%L)', tests.series('rbt', 'ben', array[tests.local(2, '12:00'), tests.local(4, '12:00')]))) #> '{occurrences,0,blockedBy}',
  '"closure"', 'a preview says so');
select is(tests.rows('admin', format('delete from public.organization_closures where id = %L', outcome #>> '{body,closureId}')), 1::bigint, 'an admin withdraws it') from closed;
select is(tests.hold('rbt', tests.request('rbt', 'ben', tests.local(2, '12:00'))) ->> 'ok', 'true', 'and the time is free again');

-- Hours, cancelling what is there.
select is((tests.close('admin', jsonb_build_object('name', 'Repairs', 'start_time', tests.local(1, '08:00'), 'end_time', tests.local(1, '23:45'), 'cancel_sessions', true, 'reason', 'No heating'))
  #> '{body}') - 'closureId' - 'startsAt' - 'endsAt' - 'touchedSessionIds' - 'touchedStaffTimeIds' - '{touchedHolds,touchedHoldsUntil,releasedHolds}'::text[], '{"touched": 2, "cancelled": 2, "touchedStaffTimes": 0, "cancelledStaffTimes": 0}', 'a closure of hours may cancel what it touches');
select results_eq($$ select status::text, cancellation.reason, cancellation.attribution::text from public.sessions as session
    join public.session_cancellations as cancellation on cancellation.session_id = session.id
    where session.organization_id = tests.id('clinic') and session.start_time in (tests.local(1, '09:00'), tests.local(1, '23:30')) $$,
  $$ values ('cancelled', 'No heating', 'staff'), ('cancelled', 'No heating', 'staff') $$, 'by the clinic, with the reason');
select is_empty('select * from tests.broken_claims()', 'and their time is free');

-- Time off.
select is((tests.leave('rbt', jsonb_build_object('from_date', tests.day(2))) #> '{body}') - 'exceptionId' - 'startsAt' - 'endsAt' - 'touchedSessionIds' - 'touchedStaffTimeIds' - '{touchedHolds,touchedHoldsUntil,releasedHolds}'::text[], '{"touched": 1, "cancelled": 0, "touchedStaffTimes": 0, "cancelledStaffTimes": 0}',
  'a therapist''s time off says what it touches');
select is((tests.leave('admin', jsonb_build_object('therapist_id', tests.id('rbt'), 'start_time', tests.local(2, '20:00'), 'end_time', tests.local(3, '04:00'), 'cancel_sessions', true))
  #> '{body}') - 'exceptionId' - 'startsAt' - 'endsAt' - 'touchedSessionIds' - 'touchedStaffTimeIds' - '{touchedHolds,touchedHoldsUntil,releasedHolds}'::text[], '{"touched": 2, "cancelled": 2, "touchedStaffTimes": 0, "cancelledStaffTimes": 0}', 'an admin enters it for anybody, and may cancel what it touches');
select is(tests.hold('rbt', tests.request('rbt', 'ben', tests.local(3, '01:00'))) ->> 'code', 'OUTSIDE_AVAILABILITY', 'nobody is held in it');
select is(tests.leave('rbt', jsonb_build_object('therapist_id', tests.id('bcba'), 'from_date', tests.day(2))) ->> 'code', 'FORBIDDEN', 'a therapist enters her own only');
select is(tests.leave('parent', jsonb_build_object('from_date', tests.day(2))) ->> 'code', 'FORBIDDEN', 'a parent none');
select is(tests.leave('admin', jsonb_build_object('therapist_id', tests.id('other rbt'), 'from_date', tests.day(2))) ->> 'code', 'FORBIDDEN', 'and nobody in another clinic');

-- Who may.
select is(tests.close(person, jsonb_build_object('name', 'Party', 'from_date', tests.day(9))) ->> 'code', 'FORBIDDEN', format('%s does not close the clinic', person))
from unnest(array['rbt', 'parent']) as person;
select is(tests.rows(person, $$ select from public.organization_closures where name = 'Repairs' $$), seen, format('%s sees %s of its closures', person, seen))
from (values ('rbt', 1::bigint), ('parent', 1), ('other admin', 0)) as try (person, seen);
select is(tests.error_code('rbt', format($$ insert into public.organization_closures (organization_id, name, starts_at, ends_at) values (%L, 'Mine', '2027-01-01Z', '2027-01-02Z') $$, tests.id('clinic'))),
  '42501', 'a therapist does not write one past the function');

-- What is no closure.
select is((tests.error('admin', format('select public.add_closure(%L)', '{"name": "x"}'::jsonb || wrong)) ->> 'details')::jsonb #>> '{0,path}', path, format('%s: %s', wrong, path))
from (values
  ('{"name": null, "from_date": "2027-01-01"}'::jsonb, 'name'), ('{"name": "  ", "from_date": "2027-01-01"}', 'name'), ('{"from_date": "2027-02-30"}', 'from_date'),
  ('{"from_date": "2027-01-02", "to_date": "2027-01-01"}', 'to_date'), ('{"from_date": "2027-01-02", "to_date": "2029-01-01"}', 'to_date'), ('{}', 'start_time'),
  ('{"start_time": "2027-01-02T10:00:00Z", "end_time": "2027-01-02T10:00:00Z"}', 'end_time'), ('{"from_date": "2027-01-02", "cancel_sessions": "yes"}', 'cancel_sessions'),
  ('{"from_date": "2199-01-02"}', 'to_date')
) as try (wrong, path);

-- Whose time off it is, and where a closure ends.
insert into public.availability_exceptions (organization_id, therapist_id, kind, starts_at, ends_at) values (tests.id('clinic'), tests.id('rbt2'), 'time_off', tests.at(30), tests.at(31));
insert into public.organization_closures (organization_id, name, starts_at, ends_at) values (tests.id('clinic'), 'Short', tests.at(32), tests.at(32, '11:00'));
select is(tests.call(person, format('select public.preview_series(%L)', tests.request(person, 'ann', starts, 30))) #>> '{occurrences,0,blockedBy}', expected, format('a preview of %s says so', starts))
from (values ('rbt2', tests.at(30, '12:00'), 'availability'), ('bcba', tests.at(30, '12:00'), null), ('rbt', tests.at(32, '09:30'), null), ('rbt', tests.at(32, '10:45'), 'closure'), ('rbt', tests.at(32, '11:00'), null))
  as start (person, starts, expected);
select is(tests.hold(person, tests.request(person, 'ann', tests.at(30, '12:00'))) ->> 'code', expected, format('%s, while rbt2 is away', person))
from (values ('rbt2', 'OUTSIDE_AVAILABILITY'), ('bcba', null)) as worker (person, expected);
select is(tests.hold('rbt', tests.request('rbt', 'ann', tests.at(32, clock), 30)) ->> 'code', expected, format('at %s', clock))
from (values ('09:30', null), ('09:45', 'OUTSIDE_AVAILABILITY'), ('10:45', 'OUTSIDE_AVAILABILITY'), ('11:00', null)) as start (clock, expected);
-- A session is touched by what begins before it ends; a day has the hours it has; a closure has an end.
select tests.book('bcba', 'bcba', 'ann', tests.at(34, '09:30'));
select is(tests.close('admin', jsonb_build_object('name', 'Power cut', 'start_time', tests.at(34, starts), 'end_time', tests.at(34, '12:00'))) #> '{body,touched}', to_jsonb(touched), format('closed from %s', starts))
from (values ('10:30', 0), ('10:00', 1)) as closing (starts, touched);
select is(extract(epoch from (body ->> 'endsAt')::timestamptz - (body ->> 'startsAt')::timestamptz)::integer / 3600, hours, format('%s has %s hours', day, hours))
from (values ('2027-03-14', 23), ('2027-11-07', 25), ('2027-07-04', 24)) as long (day, hours)
cross join lateral (select tests.close('admin', jsonb_build_object('name', 'Day', 'from_date', day)) -> 'body' as body) as closed;
select is(tests.error_code('admin', format('select public.add_closure(%L)', jsonb_build_object('name', 'Long', 'start_time', tests.at(100), 'end_time', tests.at(100) + long))), expected, format('closed for %s', long))
from (values (interval '400 days', null), (interval '400 days 1 minute', 'PT400')) as closing (long, expected);
select is(tests.error_code('admin', format('select public.add_closure(%L)', jsonb_build_object('name', 'Last', 'start_time', '2099-12-31T10:00:00Z', 'end_time', ends_at))), expected, format('closed until %s', ends_at))
from (values ('2099-12-31T23:59:00Z', null), ('2100-01-01T00:00:00Z', 'PT400')) as closing (ends_at, expected);

update public.therapists set time_zone = 'Asia/Tokyo' where organization_id = tests.id('clinic') and id = tests.id('rbt');
select is(tests.leave('rbt', jsonb_build_object('from_date', '2027-06-01')) #>> '{body,startsAt}', '2027-05-31T15:00:00.000Z', 'days off are those of the therapist''s zone');

-- 400 days of the calendar, across three changes of clocks.
select is(tests.error_code('admin', format('select public.add_closure(%L)', jsonb_build_object('name', 'Long', 'from_date', '2031-10-15', 'to_date', last_day))), expected, format('closed until %s', last_day))
from (values ('2032-11-17', null), ('2032-11-18', 'PT400')) as closing (last_day, expected);
delete from public.organization_closures where organization_id = tests.id('clinic') and name = 'Long';

-- Live holds: they confirm, so whoever closes is told of them; or lets them go with what is booked.
create temporary table holding (name text primary key, held jsonb) on commit drop;
insert into holding
select 'single', tests.hold('rbt', tests.request('rbt', 'ben', tests.local(60, '09:00')))
union all select 'series', tests.hold('admin', tests.series('bcba', 'ann', array[tests.local(60, '11:00'), tests.local(67, '11:00')]))
union all select 'group', tests.hold('admin', tests.request('rbt2', 'cat', tests.local(60, '13:00'), 60, jsonb_build_object('client_ids', array[tests.id('cat'), tests.id('dan')], 'cpt_code', '97154', 'hold_seconds', 900)))
union all select 'move', tests.hold('admin', tests.request('rbt', 'ann', tests.local(60, '15:00'), 60, jsonb_build_object('session_id', tests.book('admin', 'rbt', 'ann', tests.local(62, '15:00')))))
union all select 'expired', tests.hold('rbt', tests.request('rbt', 'ben', tests.local(60, '17:00')))
union all select 'elsewhere', tests.hold('rbt', tests.request('rbt', 'ben', tests.local(61, '09:00')));
select tests.expire(held) from holding where name = 'expired';
create function pg_temp.holds_of(outcome jsonb) returns jsonb language sql as $$
  select jsonb_build_array(outcome #> '{body,touchedHolds}', outcome #> '{body,releasedHolds}', outcome #> '{body,touchedHoldsUntil}')
$$;
create function pg_temp.state(hold_name text) returns text language sql as $$
  select string_agg(distinct hold.status::text, ' ') from public.session_holds as hold join holding on hold.batch_id = (held #>> '{body,holdId}')::uuid where name = hold_name
$$;
select is(pg_temp.holds_of(tests.leave('rbt', jsonb_build_object('start_time', tests.local(60, '08:00'), 'end_time', tests.local(60, '18:00')))),
  (select jsonb_build_array(2, 0, held #> '{body,expiresAt}') from holding where name = 'move'), 'time off tells of the therapist''s live holds, and until when they can be confirmed');
select is(pg_temp.holds_of(tests.close('admin', jsonb_build_object('name', 'Snow', 'from_date', tests.day(60)))),
  (select jsonb_build_array(5, 0, held #> '{body,expiresAt}') from holding where name = 'group'), 'a closure of everybody''s, each client counted; what has expired or is elsewhere does not count');
select is(tests.confirm('rbt', tests.confirmation(held, 'rbt', 'ben')) ->> 'ok', 'true', 'they confirm') from holding where name = 'single';
select is((tests.close('admin', jsonb_build_object('name', 'More snow', 'from_date', tests.day(60), 'cancel_sessions', true)) -> 'body') - 'closureId' - 'startsAt' - 'endsAt' - 'touchedSessionIds' - 'touchedHoldsUntil',
  '{"touched": 1, "cancelled": 1, "touchedStaffTimes": 0, "cancelledStaffTimes": 0, "touchedStaffTimeIds": [], "touchedHolds": 4, "releasedHolds": 4}', 'who cancels what is booked lets go of what is held');
select is((select jsonb_object_agg(name, pg_temp.state(name)) from holding), '{"single": "confirmed", "series": "held released", "group": "released", "move": "released", "expired": "held", "elsewhere": "held"}',
  'of a series only the date that is closed, a group and a move whole');
select is(tests.confirm('admin', tests.confirmation(held, 'rbt', 'ann')) ->> 'code', 'HOLD_NOT_FOUND', 'and it confirms no more') from holding where name = 'move';
select is((select status::text from public.sessions where organization_id = tests.id('clinic') and start_time = tests.local(62, '15:00')), 'scheduled', 'the session that was to be moved stays where it is');
select is(tests.confirm('rbt', tests.confirmation(held, 'rbt', 'ben')) ->> 'ok', 'true', 'elsewhere life goes on') from holding where name = 'elsewhere';
select is((select count(*) from audit.events where organization_id = tests.id('clinic') and action = 'hold.released' and actor_user_id = tests.id('admin')), 3::bigint, 'each is in the audit');
select is(pg_temp.holds_of(tests.close('admin', jsonb_build_object('name', 'Quiet', 'from_date', tests.day(70), 'cancel_sessions', true))), '[0, 0, null]', 'where nothing is held nothing is told');
select is(pg_temp.holds_of(tests.close('other admin', jsonb_build_object('name', 'Quiet', 'from_date', tests.day(61), 'cancel_sessions', true))), '[0, 0, null]', 'nor of another clinic');
create temporary table whole on commit drop as select tests.hold('admin', tests.series('bcba', 'ann', array[tests.local(80, '11:00'), tests.local(81, '11:00'), tests.local(82, '11:00')])) as held;
select is(pg_temp.holds_of(tests.close('admin', jsonb_build_object('name', 'Flood', 'from_date', tests.day(80), 'to_date', tests.day(83), 'cancel_sessions', true))),
  (select jsonb_build_array(3, 3, held #> '{body,expiresAt}') from whole), 'a series that is held within the closure goes');
select is((select string_agg(distinct hold.status::text, ' ') from public.session_holds as hold join whole on hold.batch_id = (held #>> '{body,holdId}')::uuid), 'released', 'with all its dates');
select results_eq($$ select cardinality(event.entity_ids) from audit.events as event join whole on event.details ->> 'batchId' = held #>> '{body,holdId}' where event.action = 'hold.released' $$,
  '{3}'::integer[], 'at once: it is one event');
select is_empty('select * from tests.broken_claims()', 'and the claims are sound');

-- What only touches a span is not in it; a move is let go whole; what has begun goes on, and what is over stays.
delete from public.organization_closures where organization_id = tests.id('clinic');
delete from public.availability_exceptions where organization_id = tests.id('clinic');
insert into holding values
  ('beside', tests.hold('admin', tests.request('rbt', 'ann', tests.local(75, '09:00'), 60, '{"hold_seconds": 900}'))),
  ('before', tests.hold('admin', tests.request('rbt', 'ann', tests.local(75, '11:00'), 60, '{"hold_seconds": 900}')));
select is(pg_temp.holds_of(tests.leave('admin', jsonb_build_object('therapist_id', tests.id('rbt'), 'start_time', tests.local(75, '10:00'), 'end_time', tests.local(75, '11:00')))),
  '[0, 0, null]', 'holds that end as the time off begins, or begin as it ends, are not touched');
create temporary table moving on commit drop as
select tests.book('admin', 'bcba', 'ben', array[tests.local(81, '09:00'), tests.local(82, '09:00')]) as ids;
insert into holding select 'moves', tests.hold('admin', tests.series('bcba', 'ben', array[tests.local(83, '09:00'), tests.local(84, '09:00')], 60,
  jsonb_build_object('occurrences', jsonb_build_array(
    tests.occurrence(tests.local(83, '09:00'), extra => jsonb_build_object('session_id', ids[1])),
    tests.occurrence(tests.local(84, '09:00'), extra => jsonb_build_object('session_id', ids[2])))))) from moving;
select is(tests.close('admin', jsonb_build_object('name', 'Flood', 'from_date', tests.day(83), 'cancel_sessions', true)) #>> '{body,releasedHolds}', '1', 'one of two sessions would have moved into a closed day');
select is(pg_temp.state('moves'), 'released', 'their move is let go whole');
insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone)
select tests.id('clinic'), tests.id(name), tests.id('rbt2'), tests.id(client), date_trunc('minute', now()) + starts, date_trunc('minute', now()) + starts + interval '1 hour', 'UTC'
from (values ('over', 'cat', interval '-3 hours'), ('under way', 'cat', interval '-10 minutes'), ('to come', 'dan', interval '1 hour')) as session (name, client, starts);
update public.sessions set status = 'in_progress' where id = tests.id('under way');
select is(tests.close('admin', jsonb_build_object('name', 'Fire', 'start_time', date_trunc('minute', now()) - interval '5 hours', 'end_time', date_trunc('minute', now()) + interval '3 hours')) #> '{body,touchedSessionIds}',
  jsonb_build_array(tests.id('to come')), 'a closure of now touches what is to come');

select * from finish();
rollback;
