-- A refused request gets other times at which the same request would succeed right now: near, on the quarter hour, in the
-- therapist's hours, and the whole series of it.
begin;
select plan(28);
select tests.open_clinic();

create function tests.alternatives(request jsonb, person text default 'rbt') returns timestamptz[] language sql as $$
  select array(select (item ->> 'startTime')::timestamptz from jsonb_array_elements(
    tests.call(person, format('select public.find_alternatives(%L)', request))) as item) $$;
-- The same request at another first start, the series shifted in civil time.
create function tests.shifted(request jsonb, start timestamptz) returns jsonb language sql as $$
  with item as (
    select position, occurrence, occurrence ->> 'time_zone' as zone,
      ((occurrence ->> 'start_time')::timestamptz at time zone (occurrence ->> 'time_zone')) - first_value((occurrence ->> 'start_time')::timestamptz at time zone (occurrence ->> 'time_zone')) over (order by position)
        + (start at time zone (occurrence ->> 'time_zone')) as civil,
      (occurrence ->> 'end_time')::timestamptz - (occurrence ->> 'start_time')::timestamptz as lasts
    from jsonb_array_elements(coalesce(nullif(request -> 'occurrences', 'null'), jsonb_build_array(request))) with ordinality as element (occurrence, position)
  )
  select request || jsonb_build_object('occurrences', jsonb_agg(
    tests.occurrence(civil at time zone zone, (extract(epoch from lasts) / 60)::integer, zone) order by position))
  from item $$;
-- How many of the offers can be held, each tried by itself.
create function tests.holdable(request jsonb, starts timestamptz[], person text default 'rbt') returns bigint language plpgsql as $$
declare
  start timestamptz;
  outcome jsonb;
  held bigint := 0;
begin
  foreach start in array starts loop
    outcome := tests.hold(person, tests.shifted(request, start));
    if outcome ->> 'ok' = 'true' then
      held := held + 1;
      perform tests.release(person, outcome #>> '{body,holdKey}');
    end if;
  end loop;
  return held;
end $$;

-- One hour, taken.
do $$ begin perform tests.book('rbt', 'rbt', 'ben', tests.at(1, '10:00')); end $$;
create temporary table one on commit drop as select tests.request('rbt', 'ann', tests.at(1, '10:00')) as request;
select is(tests.alternatives(request), array[tests.at(1, '09:00'), tests.at(1, '11:00'), tests.at(1, '08:45'), tests.at(1, '11:15'), tests.at(1, '08:30')],
  'the nearest quarter hours, the earlier first where two are as near') from one;
select is(tests.holdable(request, tests.alternatives(request)), 5::bigint, 'each can be held') from one;
select is(tests.alternatives(request || tests.occurrence(tests.at(1, '10:07'))), array[tests.at(1, '11:00'), tests.at(1, '09:00'), tests.at(1, '11:15'), tests.at(1, '08:45'), tests.at(1, '11:30')],
  'on the grid, also for a request that is not') from one;

-- Everybody's claims count: the client's elsewhere, holds, rooms, buffers.
do $$ begin
  perform tests.book('bcba', 'bcba', 'ann', tests.at(1, '08:00'), 120);
  perform tests.hold('rbt', tests.request('rbt', 'ben', tests.at(1, '11:30')));
end $$;
select is((tests.alternatives(request))[1:2], array[tests.at(1, '12:30'), tests.at(1, '12:45')], 'the client''s sessions elsewhere and holds are respected') from one;
select is((tests.alternatives(request || '{"buffer_before_minutes": 20}'))[1:2], array[tests.at(1, '07:00'), tests.at(1, '13:00')], 'so are buffers') from one;
do $$ begin perform tests.hold('rbt2', tests.request('rbt2', 'ben', tests.at(1, '13:00'), 60, jsonb_build_object('room_id', tests.id('blue')))); end $$;
select is((tests.alternatives(request || jsonb_build_object('room_id', tests.id('blue'))))[1:2], array[tests.at(1, '07:00'), tests.at(1, '06:45')], 'and rooms') from one;
select is(tests.holdable(request || change, tests.alternatives(request || change)), 5::bigint, format('each can be held, with %s', change))
from one, unnest(array['{}', '{"buffer_before_minutes": 20}', jsonb_build_object('room_id', tests.id('blue'))]::jsonb[]) as change;
do $$ begin perform tests.expire(tests.hold('rbt', tests.request('rbt', 'ben', tests.at(1, '14:00'), 240))); end $$;
select ok(tests.at(1, '14:00') = any (tests.alternatives(tests.request('rbt', 'ann', tests.at(1, '12:00')))) or
  cardinality(tests.alternatives(tests.request('rbt', 'ann', tests.at(1, '12:00')))) = 5, 'expired holds do not count');

-- Moving: its own place does not count against it.
create temporary table mine on commit drop as select tests.book('rbt', 'rbt', 'ann', tests.at(3)) as id;
do $$ begin perform tests.book('rbt', 'rbt', 'ben', tests.at(3, '12:00')); end $$;
select is((tests.alternatives(tests.request('rbt', 'ann', tests.at(3, '11:30'), 60, jsonb_build_object('session_id', id))))[1], tests.at(3, '11:00'),
  'a move may be offered a place right beside the old one') from mine;
select is((tests.alternatives(tests.request('rbt', 'ann', tests.at(3, '11:45'), 60, jsonb_build_object('session_id', id))))[1:2],
  array[tests.at(3, '11:00'), tests.at(3, '10:45')], 'or over it') from mine;

-- Weekly hours.
update public.therapists set time_zone = 'America/Los_Angeles', availability_hours = '{"monday": [{"start": "08:00", "end": "10:00"}], "friday": [{"start": "08:00", "end": "09:00"}]}'
where organization_id = tests.id('clinic') and id = tests.id('rbt2');
create temporary table week on commit drop as
select (date_trunc('week', now() at time zone 'America/Los_Angeles') + interval '42 days')::date as monday;
create temporary table hourly on commit drop as
select tests.request('rbt2', 'ann', (monday + time '12:00') at time zone 'America/Los_Angeles') as request, monday from week;
select is((tests.alternatives(request, 'rbt2'))[1:2], array[(monday + time '09:00') at time zone 'America/Los_Angeles', (monday + time '08:45') at time zone 'America/Los_Angeles'],
  'only hours in which the therapist works') from hourly;
select is((select count(*) from unnest(tests.alternatives(request || jsonb_build_object('end_time', (monday + time '14:00') at time zone 'America/Los_Angeles'), 'rbt2')) as start
  where extract(isodow from start at time zone 'America/Los_Angeles') <> 1), 0::bigint, 'two hours fit on Mondays only') from hourly;
select is(tests.holdable(request, tests.alternatives(request, 'rbt2'), 'rbt2'), 5::bigint, 'each can be held') from hourly;
select is(tests.alternatives(request || jsonb_build_object('end_time', (monday + time '15:00') at time zone 'America/Los_Angeles'), 'rbt2'), '{}'::timestamptz[],
  'where three hours never fit, nothing is offered') from hourly;
select ok((select bool_and(abs(extract(epoch from start - (request ->> 'start_time')::timestamptz)) <= 14 * 86400 + 3600)
  from unnest(tests.alternatives(request, 'rbt2')) as start), 'nothing further than 14 days') from hourly;

-- A series across a change of clocks moves as a whole, in civil time.
create temporary table change on commit drop as
select min(moment::date) as day
from generate_series(current_date + 30, current_date + 395, interval '1 day') as days (moment)
where tests.offset_of(moment::timestamp at time zone 'America/New_York', 'America/New_York')
  <> tests.offset_of((moment::timestamp + interval '1 day') at time zone 'America/New_York', 'America/New_York');
create temporary table weekly on commit drop as
select tests.request('bcba', 'ben', (day - 10 + time '09:00') at time zone 'America/New_York', 90) || jsonb_build_object('time_zone', 'America/New_York', 'occurrences', (
    select jsonb_agg(tests.occurrence((day - 10 + 7 * week + time '09:00') at time zone 'America/New_York', 90, 'America/New_York') order by week) from generate_series(0, 5) as week)) as request, day
from change;
do $$ begin perform tests.book('bcba', 'bcba', 'ann', (select (day - 10 + 14 + time '09:00') at time zone 'America/New_York' from change)); end $$;
select is((tests.alternatives(request, 'bcba'))[1:2], array[(day - 10 + time '10:00') at time zone 'America/New_York', (day - 10 + time '10:15') at time zone 'America/New_York'],
  'a series is offered first starts at which all of it is free') from weekly;
select is(tests.holdable(request, tests.alternatives(request, 'bcba'), 'bcba'), 5::bigint, 'each can be held whole') from weekly;
select is(tests.holdable(backwards.request, tests.alternatives(backwards.request, 'bcba'), 'bcba'), 5::bigint, 'also when the list runs backwards')
from weekly cross join lateral (
  select request || jsonb_build_object('occurrences', (select jsonb_agg(item order by position desc) from jsonb_array_elements(request -> 'occurrences') with ordinality as element (item, position))) as request
) as backwards;

-- A session in the hour that comes twice ends, by the clock on the wall, before it begins.
create temporary table twice on commit drop as
select min(moment::date)::timestamp at time zone 'America/Los_Angeles' + interval '1 hour' as hour
from generate_series(current_date + 30, current_date + 395, interval '1 day') as days (moment)
where tests.offset_of(moment::timestamp at time zone 'America/Los_Angeles', 'America/Los_Angeles')
  > tests.offset_of((moment::timestamp + interval '1 day') at time zone 'America/Los_Angeles', 'America/Los_Angeles');
do $$ begin perform tests.book('bcba', 'bcba', 'ben', (select hour + interval '45 minutes' from twice), 30); end $$;
create temporary table around on commit drop as
select tests.request('bcba', 'ann', hour) || tests.occurrence(hour + interval '45 minutes', 15, 'America/Los_Angeles') as request from twice;
select is(tests.holdable(request, tests.alternatives(request, 'bcba'), 'bcba'), 5::bigint, 'what lies around it can be held') from around;

-- Near now, the past is not offered; near the horizon, nothing beyond it.
create temporary table soon on commit drop as
select tests.request('rbt', 'ann', date_bin('15 minutes', now(), '2000-01-01') + interval '30 minutes') as request;
do $$ begin perform tests.book('rbt', 'rbt', 'ben', (select (request ->> 'start_time')::timestamptz from soon)); end $$;
select is((select count(*) from unnest(tests.alternatives(request)) as start where start < clock_timestamp()), 0::bigint, 'never in the past') from soon;
select is(tests.holdable(request, tests.alternatives(request)), 5::bigint, 'each can be held, though half of the day is gone') from soon;
create temporary table soon_series on commit drop as
select tests.series('rbt', 'ann', array[date_bin('15 minutes', now(), '2000-01-01') + interval '3 days 30 minutes', date_bin('15 minutes', now(), '2000-01-01') + interval '30 minutes'], 60) as request;
select is(tests.holdable(request, tests.alternatives(request)), 5::bigint, 'nor any of a series that is listed last date first') from soon_series;
-- The therapist is busy right after what is asked for, and the list runs backwards: what is left lies further off.
update public.therapists set availability_hours = null where organization_id = tests.id('clinic') and id = tests.id('rbt2');
do $$ begin
  perform tests.book('rbt2', 'rbt2', 'ben', start, 720)
  from generate_series(date_bin('15 minutes', now(), '2000-01-01') + interval '3 days 30 minutes', now() + interval '3 days 12 hours', interval '12 hours') as start;
end $$;
create temporary table busy_series on commit drop as
select tests.series('rbt2', 'ann', array[date_bin('15 minutes', now(), '2000-01-01') + interval '3 days 30 minutes', date_bin('15 minutes', now(), '2000-01-01') + interval '30 minutes'], 60) as request;
select is(tests.holdable(request, tests.alternatives(request, 'rbt2'), 'rbt2'), 5::bigint, 'nor does the past use up the offers') from busy_series;
create temporary table far on commit drop as
select tests.request('rbt', 'ann', date_bin('15 minutes', now(), '2000-01-01') + interval '729 days 20 hours') as request;
do $$ begin perform tests.book('rbt', 'rbt', 'ben', (select (request ->> 'start_time')::timestamptz - interval '1 hour' from far), 180); end $$;
select is(tests.holdable(request, tests.alternatives(request)), 5::bigint, 'and at the far end none beyond 730 days') from far;

-- Who may ask.
select is(tests.error_code(person, format('select public.find_alternatives(%L)', request)), 'PT403', format('%s may not ask for others'' calendars', person))
from one, unnest(array['rbt2', 'parent']) as person;

select * from finish();
rollback;
