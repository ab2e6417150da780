-- A meeting of a series is changed alone, with those that follow or with all; somebody is away, the clinic closes, and other
-- times are offered for what cannot be.
begin;
select plan(50);
select tests.open_clinic();

create function tests.staff(person text, request jsonb) returns jsonb language sql as $$
  select tests.call(person, format('select public.add_staff_time(%L)', request)) $$;
create function tests.change_staff(person text, request jsonb) returns jsonb language sql as $$
  select tests.call(person, format('select public.change_staff_time(%L)', request)) $$;
create function tests.cancel_staff(person text, request jsonb) returns jsonb language sql as $$
  select tests.call(person, format('select public.cancel_staff_time(%L)', request)) $$;
create function tests.meeting(names text[], starts timestamptz, minutes integer default 60, extra jsonb default '{}') returns jsonb language sql as $$
  select jsonb_build_object('kind', 'meeting', 'therapist_ids', (select jsonb_agg(tests.id(name)) from unnest(names) as name))
    || tests.occurrence(starts, minutes) || extra $$;
create function tests.weekly(names text[], hour text, days integer[]) returns jsonb language sql as $$
  select tests.staff('admin', tests.meeting(names, tests.at(days[1], hour)) || jsonb_build_object('recurrence', '{"rule": "FREQ=WEEKLY"}'::jsonb, 'occurrences',
    (select jsonb_agg(tests.occurrence(tests.at(day, hour)) order by day) from unnest(days) as day))) -> 'body' $$;
create function tests.hours(series jsonb) returns text[] language sql as $$
  select array_agg(case when cancelled_at is null then to_char(start_time at time zone 'UTC', 'HH24:MI') else 'cancelled' end order by start_time)
  from public.staff_times where series_id = (series ->> 'seriesId')::uuid $$;
create function tests.nth(series jsonb, nth integer) returns jsonb language sql as $$ select jsonb_build_object('staff_time_id', series #> array['staffTimes', nth::text, 'id']) $$;

-- This one, this and the following, all.
create temporary table met on commit drop as select tests.weekly(array['bcba', 'rbt'], '09:00', array[1, 8, 15, 22]) as series;
select is(tests.change_staff('admin', tests.nth(series, 1) || '{"local_start": "10:00"}') ->> 'ok', 'true', 'one of a series changes') from met;
select is(tests.hours(series), '{09:00,10:00,09:00,09:00}', 'alone, unless more is said') from met;
select tests.change_staff('admin', tests.nth(series, 2) || '{"local_start": "11:00", "scope": "following"}') from met;
select is(tests.hours(series), '{09:00,10:00,11:00,11:00}', 'with those that follow') from met;
select is(jsonb_array_length(tests.change_staff('admin', tests.nth(series, 3) || '{"local_start": "12:00", "scope": "all"}') #> '{body,staffTimes}'), 4, 'or all of them') from met;
select is(tests.hours(series), '{12:00,12:00,12:00,12:00}', 'whichever is named') from met;
select tests.change_staff('admin', tests.nth(series, 0) || '{"local_start": "12:30", "scope": "this"}') from met;
select is(tests.hours(series), '{12:30,12:00,12:00,12:00}', 'and this is one alone') from met;
select is(tests.cancel_staff('admin', tests.nth(series, 2) || '{"scope": "following"}') #>> '{body,cancelledCount}', '2', 'so they are cancelled') from met;
select is(tests.hours(series), '{12:30,12:00,cancelled,cancelled}', 'from one on') from met;
select is(tests.cancel_staff('admin', tests.nth(series, 1)) #>> '{body,cancelledCount}', '1', 'or one alone') from met;
select is(tests.cancel_staff('admin', tests.nth(series, 3) || '{"scope": "all"}') -> 'body' ->> 'alreadyCancelledCount', '3', 'or all') from met;
select is(tests.hours(series), '{cancelled,cancelled,cancelled,cancelled}', 'that are left') from met;
select is(tests.cancel_staff('rbt', tests.nth(series, 1) || '{"scope": "all"}') ->> 'code', 'FORBIDDEN', 'a therapist cancels none of others in any scope') from met;
select is((tests.error('admin', format('select public.%I(%L)', function, request)) ->> 'details')::jsonb #>> '{0,path}', path, format('%s names %s: %s', function, path, request))
from met cross join lateral (values
  ('change_staff_time', tests.nth(series, 1) || '{"kind": "break", "scope": "some"}', 'scope'),
  ('change_staff_time', jsonb_build_object('series_id', series -> 'seriesId', 'kind', 'break', 'scope', 'all'), 'scope'),
  ('change_staff_time', tests.nth(series, 1) || tests.occurrence(tests.at(1)) || '{"scope": "all"}', 'start_time'),
  ('change_staff_time', tests.nth(series, 1) || '{"weekday": "someday"}', 'weekday'),
  ('change_staff_time', tests.nth(series, 1) || '{"weekday": "friday", "shift_minutes": 15}', 'shift_minutes'),
  ('change_staff_time', tests.nth(series, 1) || tests.occurrence(tests.at(1)) || '{"weekday": "friday"}', 'start_time'),
  ('cancel_staff_time', jsonb_build_object('series_id', series -> 'seriesId', 'scope', 'all'), 'scope'),
  ('cancel_staff_time', jsonb_build_object('series_id', series -> 'seriesId') || tests.nth(series, 1), 'staff_time_ids')
) as bad (function, request, path);

-- Another weekday, as sessions of a series change: the day of the same week, which begins on Monday.
create temporary table by_weekday on commit drop as
select tests.weekly(array['bcba', 'rbt'], '15:00', array[70, 77, 84]) as series,
  case extract(isodow from tests.at(70)) when 3 then 'thursday' else 'wednesday' end as weekday,
  case extract(isodow from tests.at(70)) when 3 then 3 else 2 end as days;
create function tests.days(series jsonb) returns timestamp[] language sql as $$
  select array_agg(start_time at time zone 'UTC' order by start_time) from public.staff_times where series_id = (series ->> 'seriesId')::uuid $$;
select is(tests.change_staff('admin', tests.nth(series, 1) || jsonb_build_object('scope', 'following', 'weekday', weekday, 'local_start', '14:00')) ->> 'ok',
  'true', 'those that follow change their weekday') from by_weekday;
select is(tests.days(series), array[tests.at(70, '15:00') at time zone 'UTC'] || array(
    select date_trunc('week', tests.at(day) at time zone 'UTC') + days * interval '1 day' + interval '14 hours' from unnest(array[77, 84]) as day),
  'each to the day of its own week, the first stays') from by_weekday;
select is(tests.change_staff('admin', tests.nth(series, 1) || '{"scope": "following", "shift_minutes": -30}') ->> 'ok', 'true', 'or they are shifted') from by_weekday;
select is(tests.hours(series), '{15:00,13:30,13:30}', 'by minutes') from by_weekday;
select is_empty('select * from tests.broken_claims()', 'their claims follow');

-- What is offered can be had.
select tests.book('rbt', 'rbt', 'ann', tests.at(30, '09:00'));
select tests.book('bcba', 'bcba', 'ben', tests.at(30, '10:00'));
create temporary table refused on commit drop as select tests.staff('admin', tests.meeting(array['bcba', 'rbt'], tests.at(30, '09:00'))) as outcome;
select is(outcome #> '{alternatives,0}', jsonb_build_object('startTime', private.iso(tests.at(30, '08:00')), 'endTime', private.iso(tests.at(30, '09:00'))), 'another time is when both are free') from refused;
select is((select count(*) from jsonb_array_elements(outcome -> 'alternatives')), 4::bigint, 'at most two of each time that is free') from refused;
select is(tests.staff('admin', tests.meeting(array['bcba', 'rbt'], (item ->> 'startTime')::timestamptz)) ->> 'ok', 'true', format('%s can be had', item ->> 'startTime'))
from refused, jsonb_array_elements(outcome -> 'alternatives') with ordinality as offered (item, position) where position in (1, 4);
create temporary table late on commit drop as select tests.weekly(array['bcba', 'rbt'], '15:00', array[44, 51]) as series;
select tests.book('rbt', 'rbt', 'ann', tests.at(51, '16:00'));
create temporary table later on commit drop as
select tests.change_staff('admin', tests.nth(series, 0) || '{"local_start": "16:30", "scope": "all"}') as outcome from late;
select is(outcome ->> 'code', 'THERAPIST_CONFLICT', 'a series is in somebody''s way at one of its dates') from later;
select is((select array_agg(distinct (item ->> 'startTime')::timestamptz::date) from jsonb_array_elements(outcome -> 'alternatives') as item), array[tests.at(44)::date], 'it is offered another time of day') from later;
select is(tests.change_staff('admin', tests.nth(series, 0) || jsonb_build_object('scope', 'all', 'local_start', to_char((outcome #>> '{alternatives,0,startTime}')::timestamptz at time zone 'UTC', 'HH24:MI'))) ->> 'ok', 'true', 'which it can have') from late, later;

-- Its own old place is free to it, its room is asked for, and everybody's hours.
create temporary table own on commit drop as select tests.staff('bcba', tests.occurrence(tests.at(55)) || '{"kind": "documentation"}') #>> '{body,staffTimes,0,id}' as id;
select tests.book('bcba', 'bcba', 'ben', tests.at(55, '11:00'));
select is(tests.change_staff('bcba', jsonb_build_object('staff_time_id', id) || jsonb_build_object('start_time', private.iso(tests.at(55, '11:00')), 'end_time', private.iso(tests.at(55, '12:00')))) #>> '{alternatives,0,startTime}',
  private.iso(tests.at(55)), 'where it stands is where it could be') from own;
select tests.staff('rbt2', tests.occurrence(tests.at(55, '15:00')) || jsonb_build_object('kind', 'training', 'room_id', tests.id('blue')));
select is(tests.staff('rbt', tests.occurrence(tests.at(55, '15:00')) || jsonb_build_object('kind', 'training', 'room_id', tests.id('blue'))) #>> '{alternatives,0,startTime}',
  private.iso(tests.at(55, '14:00')), 'and when its room is free');
select tests.book('bcba', 'bcba', 'ben', tests.at(57));
insert into public.availability_exceptions (organization_id, therapist_id, kind, starts_at, ends_at) values
  (tests.id('clinic'), tests.id('bcba'), 'time_off', tests.at(57, '11:00'), tests.at(57, '14:00')), (tests.id('clinic'), tests.id('rbt2'), 'time_off', tests.at(57, '07:00'), tests.at(57, '10:00'));
select is(tests.staff('admin', tests.meeting(array['bcba', 'rbt2'], tests.at(57))) #>> '{alternatives,0,startTime}', private.iso(tests.at(57, '06:00')), 'when all of them work');

-- Somebody is away, and a meeting goes on without them; the clinic closes.
create temporary table planned on commit drop as
select (tests.staff('admin', tests.meeting(array['bcba', 'rbt'], tests.at(60))) #>> '{body,staffTimes,0,id}')::uuid as together,
  (tests.staff('rbt', tests.occurrence(tests.at(60, '12:00')) || '{"kind": "drive"}') #>> '{body,staffTimes,0,id}')::uuid as alone;
select tests.staff('rbt', tests.occurrence(tests.at(62)) || '{"kind": "drive"}');
create temporary table away on commit drop as
select tests.call('admin', format('select public.add_time_off(%L)', jsonb_build_object('therapist_id', tests.id('rbt'), 'from_date', tests.at(60)::date, 'to_date', tests.at(60)::date) || extra)) -> 'body' as body, extra <> '{}' as cancels
from unnest(array['{}', '{"cancel_sessions": true}']::jsonb[]) as extra;
select is(body -> 'touchedStaffTimes', '2', 'time off says what else it touches') from away where not cancels;
select is(body -> 'touchedStaffTimeIds', jsonb_build_array(together, alone), 'which that is') from away, planned where not cancels;
select is(body -> 'cancelledStaffTimes', '2', 'and ends it when asked') from away where cancels;
select is((select cancelled_at is null from public.staff_times where id = together), true, 'a meeting goes on') from planned;
select is((select array_agg(therapist_id) from public.staff_time_members where staff_time_id = together), array[tests.id('bcba')], 'without who is away') from planned;
select is((select cancelled_at is not null from public.staff_times where id = alone), true, 'what they would have done alone is cancelled') from planned;
select is_empty('select * from tests.broken_claims()', 'claims are what the rows say');
select is(tests.call('admin', format('select public.add_closure(%L)', jsonb_build_object('name', 'Closed', 'from_date', tests.at(60)::date, 'cancel_sessions', true))) #> '{body,cancelledStaffTimes}', '1', 'a closure ends the rest');
select is((select cancelled_at is not null from public.staff_times where id = together), true, 'for everybody') from planned;
select is(tests.call('admin', format('select public.archive(%L)', jsonb_build_object('therapist_id', tests.id('rbt'), 'cancel_sessions', true))) #>> '{body,touchedStaffTimes}',
  (select count(*)::text from public.staff_times as taken join public.staff_time_members as member on member.staff_time_id = taken.id where member.therapist_id = tests.id('rbt') and taken.cancelled_at is null and taken.start_time > now()),
  'what an archived therapist was to do is counted') from planned;
select is_empty(format('select from public.staff_time_members as member join public.staff_times as taken on taken.id = member.staff_time_id where member.therapist_id = %L and taken.cancelled_at is null and taken.start_time > now()', tests.id('rbt')), 'and ended');
select is_empty('select * from tests.broken_claims()', 'claims still are what the rows say');

-- It counts as work.
insert into public.staff_times (organization_id, id, kind, start_time, end_time, time_zone) values
  (tests.id('clinic'), tests.id('long ago'), 'break', tests.at(-300), tests.at(-300, '11:00'), 'UTC'),
  (tests.id('clinic'), tests.id('over'), 'break', now() - interval '3 hours', now() - interval '2 hours', 'UTC'),
  (tests.id('clinic'), tests.id('going on'), 'break', now() - interval '1 hour', now() + interval '1 hour', 'UTC');
select is(tests.call('admin', format('select public.add_closure(%L)', jsonb_build_object('name', 'Fire', 'start_time', private.iso(now() - interval '4 hours'), 'end_time', private.iso(now() + interval '2 hours')))) #> '{body,touchedStaffTimeIds}',
  jsonb_build_array(tests.id('going on')), 'what is over is not touched by a closure, what is going on is');
select is((select min(week_start) from reports.weeks where organization_id = tests.id('clinic')) <= tests.at(-300)::date, true, 'weeks begin with the first staff time');
select is((select max(week_start) from reports.weeks where organization_id = tests.id('clinic')) >= (select (max(start_time) - interval '7 days')::date from public.staff_times where organization_id = tests.id('clinic')), true, 'weeks go on as long as there is staff time');

select * from finish();
rollback;
