-- Weekly hours in the therapist's own zone, time off, extra hours, and an admin's override with its reason.
begin;
select plan(68);
select tests.open_clinic();

update public.therapists set time_zone = 'America/Los_Angeles', availability_hours = '{
  "monday": [{"start": "08:00", "end": "12:00"}, {"start": "13:00", "end": "18:00"}],
  "tuesday": [{"start": "20:00", "end": "24:00"}], "wednesday": [{"start": "00:00", "end": "02:00"}]}'
where organization_id = tests.id('clinic') and id = tests.id('rbt');

-- The Mondays before and after clocks change in Los Angeles.
create temporary table mondays on commit drop as
select min(monday) filter (where tests.offset_of(monday::timestamp at time zone zone, zone) <> tests.offset_of((monday + 7)::timestamp at time zone zone, zone)) as before
from (select 'America/Los_Angeles' as zone) as here,
generate_series(date_trunc('week', now() at time zone 'America/Los_Angeles' + interval '14 days'), now()::timestamp + interval '390 days', interval '7 days') as weeks (moment),
lateral (select moment::date as monday) as the;
create function tests.local(day date, clock text) returns timestamptz language sql stable as $$
  select (day + clock::time) at time zone 'America/Los_Angeles' $$;
create function tests.verdict(starts timestamptz, minutes integer, extra jsonb default '{}', person text default 'rbt') returns text language plpgsql as $$
declare
  outcome jsonb := tests.hold(person, tests.request('rbt', 'ann', starts, minutes, extra));
begin
  if outcome ->> 'ok' = 'true' then perform tests.release(person, outcome #>> '{body,holdKey}'); end if;
  return coalesce(outcome ->> 'code', 'held');
end $$;

select is(tests.verdict(tests.local(before + day, clock), minutes), verdict, format('%s + %s, %s minutes: %s', clock, day, minutes, verdict))
from mondays cross join (values
  (0, '08:00', 240, 'held'), (7, '08:00', 240, 'held'), (0, '07:45', 60, 'OUTSIDE_AVAILABILITY'), (7, '07:45', 60, 'OUTSIDE_AVAILABILITY'),
  (7, '09:00', 60, 'held'), (0, '11:30', 60, 'OUTSIDE_AVAILABILITY'), (0, '11:30', 120, 'OUTSIDE_AVAILABILITY'), (0, '13:00', 300, 'held'),
  (0, '17:30', 31, 'OUTSIDE_AVAILABILITY'), (1, '20:00', 360, 'held'), (1, '23:00', 120, 'held'), (1, '23:00', 181, 'OUTSIDE_AVAILABILITY'),
  (3, '10:00', 30, 'OUTSIDE_AVAILABILITY'), (-1, '10:00', 30, 'OUTSIDE_AVAILABILITY')
) as try (day, clock, minutes, verdict);
select is(tests.hold('rbt', tests.series('rbt', 'ann', array[tests.local(before, '09:00'), tests.local(before + 1, '09:00')])) ->> 'code',
  'OUTSIDE_AVAILABILITY', 'a series fits whole, or not') from mondays;
select is(tests.verdict(tests.local(before, '08:00'), 60, '{"buffer_before_minutes": 30}'), 'held', 'travel time may lie outside the hours') from mondays;

-- Dated changes.
insert into public.availability_exceptions (organization_id, therapist_id, kind, starts_at, ends_at)
select tests.id('clinic'), tests.id('rbt'), kind::public.availability_exception_kind, tests.local(before + day, starts), tests.local(before + day, ends)
from mondays cross join (values ('time_off', 0, '10:00', '11:00'), ('extra_hours', 3, '10:00', '12:00'), ('extra_hours', 0, '10:30', '12:30')) as dated (kind, day, starts, ends);
select is(tests.verdict(tests.local(before + day, clock), minutes), verdict, what)
from mondays cross join (values
  (0, '10:30', 30, 'OUTSIDE_AVAILABILITY', 'time off, even in extra hours'), (0, '09:30', 31, 'OUTSIDE_AVAILABILITY', 'nor into it'),
  (0, '09:00', 60, 'held', 'up to it'), (0, '11:00', 90, 'held', 'extra hours join the weekly ones'), (3, '10:00', 120, 'held', 'a day that is usually off'),
  (10, '10:00', 60, 'OUTSIDE_AVAILABILITY', 'but not every week')
) as try (day, clock, minutes, verdict, what);

-- The override.
select is(tests.verdict(tests.local(before + 3, '20:00'), 60, '{"override": {"reason": " Only time the family has "}}', 'admin'), 'held', 'an admin overrides with a reason') from mondays;
select results_eq($$ select action, details ->> 'reason', actor_role from audit.events where organization_id = tests.id('clinic') and action like 'override%' $$,
  $$ values ('override.availability', 'Only time the family has', 'admin') $$, 'which is audited');
select is(tests.verdict(tests.local(before + 3, '10:00'), 60, '{"override": {"reason": "Not needed"}}', 'admin'), 'held', 'an override where none is needed') from mondays;
select is((select count(*) from audit.events where organization_id = tests.id('clinic') and action like 'override%'), 1::bigint, 'is no override');
select is(tests.verdict(tests.local(before + 3, '20:00'), 60, '{}', 'admin'), 'OUTSIDE_AVAILABILITY', 'without a reason an admin is refused as well') from mondays;
create temporary table overridden on commit drop as
select tests.hold('admin', tests.request('rbt', 'ann', tests.local(before + 3, '20:00'), 60, '{"override": {"reason": "Family"}}')) as outcome from mondays;
select is(tests.confirm('admin', jsonb_build_object('hold_key', outcome #> '{body,holdKey}', 'session', jsonb_build_object(
    'therapist_id', tests.id('rbt'), 'client_id', tests.id('ann'), 'start_time', outcome #> '{body,holds,0,startTime}', 'end_time', outcome #> '{body,holds,0,endTime}'),
  'start_time_offset_minutes', 0, 'end_time_offset_minutes', 0, 'time_zone', 'UTC')) ->> 'ok', 'true', 'and what was overridden confirms') from overridden;
select is(tests.hold('admin', tests.request('rbt', 'ben', tests.local(before + 3, '20:00'), 60, '{"override": {"reason": "Me too"}}')) ->> 'code', 'THERAPIST_CONFLICT',
  'no override books anybody twice') from mondays;

-- No hours, no limit; no weekday, no work.
update public.therapists set availability_hours = null where organization_id = tests.id('clinic') and id = tests.id('rbt');
select is(tests.verdict(tests.local(before + 6, '03:00'), 60), 'held', 'a therapist without hours has no limit') from mondays;
update public.therapists set availability_hours = '{}' where organization_id = tests.id('clinic') and id = tests.id('rbt');
select is(tests.verdict(tests.local(before, '09:00'), 60), 'OUTSIDE_AVAILABILITY', 'empty hours are hours in which nobody works') from mondays;

-- Time off of somebody without hours counts all the same.
update public.therapists set availability_hours = null where organization_id = tests.id('clinic') and id = tests.id('rbt');
select is(tests.verdict(tests.local(before, '10:00'), 60), 'OUTSIDE_AVAILABILITY', 'a therapist without hours has time off') from mondays;
select is(tests.verdict(tests.local(before, '11:00'), 60), 'held', 'and is free beside it') from mondays;

-- Closures of the clinic.
insert into public.organization_closures (organization_id, name, starts_at, ends_at)
select tests.id('clinic'), 'Staff day', tests.local(before + 8, '12:00'), tests.local(before + 8, '15:00') from mondays;
insert into public.availability_exceptions (organization_id, therapist_id, kind, starts_at, ends_at)
select tests.id('clinic'), tests.id('rbt'), 'extra_hours', tests.local(before + 8, '12:00'), tests.local(before + 8, '15:00') from mondays;
select is(tests.verdict(tests.local(before + 8, clock), minutes), verdict, what)
from mondays cross join (values
  ('11:00', 60, 'held', 'up to a closure'), ('15:00', 60, 'held', 'and from its end on'), ('11:30', 60, 'OUTSIDE_AVAILABILITY', 'not into it'),
  ('13:00', 30, 'OUTSIDE_AVAILABILITY', 'nor in it, hours or none, extra hours or not'), ('11:00', 300, 'OUTSIDE_AVAILABILITY', 'nor across it')
) as try (clock, minutes, verdict, what);
select results_eq(
  format($$ select occurrence_index, what, lower(during), upper(during) from private.outside_availability(%L, %L, array[
    tstzrange(%L, %L), tstzrange(%L, %L), tstzrange(%L, %L)]) order by 1, 2 $$,
    tests.id('clinic'), tests.id('rbt'), tests.local(before + 9, '09:00'), tests.local(before + 9, '10:00'),
    tests.local(before + 8, '11:00'), tests.local(before + 8, '13:00'), tests.local(before, '09:30'), tests.local(before, '10:30')),
  format($$ values (1, 'closure', %L::timestamptz, %L::timestamptz), (2, 'time_off', %L, %L) $$,
    tests.local(before + 8, '12:00'), tests.local(before + 8, '13:00'), tests.local(before, '10:00'), tests.local(before, '10:30')),
  'what is outside is told by occurrence, with the part that is') from mondays;

-- The night in which clocks go back: an hour is worked twice, at both instants; the night they go forward: an hour is not.
create temporary table nights on commit drop as
select min(day) filter (where hours > 24) as long, min(day) filter (where hours < 24) as short
from generate_series(current_date + 30, current_date + 395, interval '1 day') as days (moment), lateral (
  select moment::date as day, extract(epoch from (moment::timestamp + interval '1 day') at time zone 'America/Los_Angeles'
    - moment::timestamp at time zone 'America/Los_Angeles') / 3600 as hours) as the;
update public.therapists set availability_hours = '{"sunday": [{"start": "01:30", "end": "02:30"}]}'
where organization_id = tests.id('clinic') and id = tests.id('rbt');
select is(tests.verdict(tests.local(long, '00:00') + past, minutes), verdict, format('%s after the midnight before clocks go back, %s minutes: %s', past, minutes, verdict))
from nights cross join (values
  (interval '1 hour 15 minutes', 30, 'OUTSIDE_AVAILABILITY'), (interval '1 hour 30 minutes', 30, 'held'), (interval '1 hour 45 minutes', 30, 'OUTSIDE_AVAILABILITY'),
  (interval '2 hours 30 minutes', 60, 'held'), (interval '2 hours 15 minutes', 30, 'OUTSIDE_AVAILABILITY')
) as try (past, minutes, verdict);
select is(tests.verdict(tests.local(short, '00:00') + past, minutes), verdict, format('%s after the midnight before clocks go forward, %s minutes: %s', past, minutes, verdict))
from nights cross join (values
  (interval '1 hour 30 minutes', 30, 'held'), (interval '2 hours', 15, 'OUTSIDE_AVAILABILITY'), (interval '1 hour 45 minutes', 30, 'OUTSIDE_AVAILABILITY')
) as try (past, minutes, verdict);

-- The database checks what is stored.
select is(tests.error_code('admin', format('update public.therapists set availability_hours = %L where id = %L', hours, tests.id('rbt'))), '23514',
  'these are no hours: ' || hours)
from unnest(array['[]', '7', '"monday"', 'null', '{"Monday": []}', '{"funday": []}', '{"monday": {}}', '{"monday": [7]}', '{"monday": [[]]}', '{"monday": null}',
  '{"monday": [{"start": "9:00", "end": "10:00"}]}', '{"monday": [{"start": "10:00", "end": "09:00"}]}', '{"monday": [{"start": "10:00", "end": "10:00"}]}',
  '{"monday": [{"start": "10:00"}]}', '{"monday": [{"start": "24:00", "end": "24:00"}]}', '{"monday": [{"start": "10:00", "end": "24:01"}]}',
  '{"monday": [{"start": 8, "end": 9}]}', '{"monday": [{"start": ["08:00"], "end": "09:00"}]}', '{"monday": [{"start": "08:00\n", "end": "09:00"}]}']) as hours;

-- The weekday is that of the therapist's zone: Tuesday afternoon in Los Angeles is Wednesday in UTC.
update public.therapists set time_zone = 'America/Los_Angeles', availability_hours = '{"wednesday": [{"start": "16:00", "end": "20:00"}]}'
where organization_id = tests.id('clinic') and id = tests.id('rbt2');
create function pg_temp.opens(weekday integer) returns boolean language sql as $$
  select private.is_open(tests.id('clinic'), tests.id('rbt2'), array[tstzrange(start, start + interval '1 hour')])
  from (select (date_trunc('week', tests.at(20)::date::timestamp) + (weekday - 1) * interval '1 day' + time '17:00') at time zone 'America/Los_Angeles' as start) as asked
$$;
select is(pg_temp.opens(2), false, 'Tuesday afternoon is not Wednesday');
select is(pg_temp.opens(3), true, 'Wednesday afternoon is');

select * from finish();
rollback;
