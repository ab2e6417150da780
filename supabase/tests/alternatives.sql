-- A refused request gets other times at which the same request would succeed right now: near, on the quarter hour, in the
-- therapist's hours, at most two of one free stretch, and the whole series of it.
begin;
select plan(52);
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

-- 'held of offered': how many alternatives there are, and how many of them can be held.
create function tests.offers(request jsonb, person text default 'rbt') returns text language sql as $$
  select format('%s of %s', tests.holdable(request, starts, person), cardinality(starts)) from tests.alternatives(request, person) as starts $$;

-- One hour, taken.
do $$ begin perform tests.book('rbt', 'rbt', 'ben', tests.at(1, '10:00')); end $$;
create temporary table one on commit drop as select tests.request('rbt', 'ann', tests.at(1, '10:00')) as request;
select is(tests.alternatives(request), array[tests.at(1, '09:00'), tests.at(1, '11:00'), tests.at(1, '08:45'), tests.at(1, '11:15')],
  'the nearest quarter hours, the earlier first where two are as near, two of each free stretch') from one;
select matches(tests.offers(request), '^([1-5]) of \1$', 'each can be held') from one;
select is(tests.alternatives(request || tests.occurrence(tests.at(1, '10:07'))), array[tests.at(1, '11:00'), tests.at(1, '09:00'), tests.at(1, '11:15'), tests.at(1, '08:45')],
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
select matches(tests.offers(request || change), '^([1-5]) of \1$', format('each can be held, with %s', change))
from one, unnest(array['{}', '{"buffer_before_minutes": 20}', jsonb_build_object('room_id', tests.id('blue'))]::jsonb[]) as change;
do $$ begin perform tests.expire(tests.hold('rbt', tests.request('rbt', 'ben', tests.at(1, '14:00'), 240))); end $$;
select is((tests.alternatives(tests.request('rbt', 'ann', tests.at(1, '14:30'))))[1], tests.at(1, '14:30'), 'expired holds do not count');

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
select matches(tests.offers(request, 'rbt2'), '^([1-5]) of \1$', 'each can be held') from hourly;
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
select matches(tests.offers(request, 'bcba'), '^([1-5]) of \1$', 'each can be held whole') from weekly;
select matches(tests.offers(backwards.request, 'bcba'), '^([1-5]) of \1$', 'also when the list runs backwards')
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
select matches(tests.offers(request, 'bcba'), '^([1-5]) of \1$', 'what lies around it can be held') from around;

-- Near now, the past is not offered; near the horizon, nothing beyond it. An offer that begins in a moment may have begun
-- before it is tried: such a moment is let pass.
do $$ declare next_quarter timestamptz := date_bin('15 minutes', clock_timestamp(), '2000-01-01') + interval '15 minutes';
begin
  if next_quarter < clock_timestamp() + interval '20 seconds' then perform pg_sleep_until(next_quarter); end if;
end $$;
create temporary table soon on commit drop as
select tests.request('rbt', 'ann', date_bin('15 minutes', now(), '2000-01-01') + interval '30 minutes') as request;
do $$ begin perform tests.book('rbt', 'rbt', 'ben', (select (request ->> 'start_time')::timestamptz from soon)); end $$;
select is((select count(*) from unnest(tests.alternatives(request)) as start where start < clock_timestamp()), 0::bigint, 'never in the past') from soon;
select matches(tests.offers(request), '^([1-5]) of \1$', 'each can be held, though half of the day is gone') from soon;
create temporary table soon_series on commit drop as
select tests.series('rbt', 'ann', array[date_bin('15 minutes', now(), '2000-01-01') + interval '3 days 30 minutes', date_bin('15 minutes', now(), '2000-01-01') + interval '30 minutes'], 60) as request;
select matches(tests.offers(request), '^([1-5]) of \1$', 'nor any of a series that is listed last date first') from soon_series;
-- The therapist is busy right after what is asked for, and the list runs backwards: what is left lies further off.
update public.therapists set availability_hours = null where organization_id = tests.id('clinic') and id = tests.id('rbt2');
do $$ begin
  perform tests.book('rbt2', 'rbt2', 'ben', start, 720)
  from generate_series(date_bin('15 minutes', now(), '2000-01-01') + interval '3 days 30 minutes', now() + interval '3 days 12 hours', interval '12 hours') as start;
end $$;
create temporary table busy_series on commit drop as
select tests.series('rbt2', 'ann', array[date_bin('15 minutes', now(), '2000-01-01') + interval '3 days 30 minutes', date_bin('15 minutes', now(), '2000-01-01') + interval '30 minutes'], 60) as request;
select matches(tests.offers(request, 'rbt2'), '^([1-5]) of \1$', 'nor does the past use up the offers') from busy_series;
create temporary table far on commit drop as
select tests.request('rbt', 'ann', date_bin('15 minutes', now(), '2000-01-01') + interval '729 days 20 hours') as request;
do $$ begin perform tests.book('rbt', 'rbt', 'ben', (select (request ->> 'start_time')::timestamptz - interval '1 hour' from far), 180); end $$;
select matches(tests.offers(request), '^([1-5]) of \1$', 'and at the far end none beyond 730 days') from far;
create temporary table last on commit drop as
select tests.request('rbt', 'ann', date_bin('15 minutes', now(), '2000-01-01') + interval '729 days 23 hours') as request;
do $$ begin perform tests.book('rbt', 'rbt', 'ben', (select (request ->> 'start_time')::timestamptz from last)); end $$;
select matches(tests.offers(request), '^([1-5]) of \1$', 'nor when the last hour is taken') from last;

-- The service: lanes, units, and the end of an authorization.
update public.organizations set time_zone = 'UTC' where id = tests.id('clinic');
select tests.add_payers();
select tests.cover('ann', 'open');
select tests.authorize('ann', '97153', 40, 12);
do $$ begin
  update public.therapists set time_zone = 'UTC', availability_hours = (
    select jsonb_object_agg(day, '[{"start": "08:00", "end": "12:00"}]'::jsonb)
    from unnest(array['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday']) as day)
  where organization_id = tests.id('clinic') and id in (tests.id('rbt'), tests.id('bcba'));
  perform tests.hold('rbt', tests.request('rbt', 'ann', tests.at(9, '08:00'), 60, '{"cpt_code": "97153", "hold_seconds": 900}'));
end $$;
create temporary table served on commit drop as
select tests.request('bcba', 'ann', tests.at(9, '08:30'), 60, '{"cpt_code": "97155"}') as supervision,
  tests.request('bcba', 'ann', tests.at(9, '08:30'), 60, '{"cpt_code": "97153"}') as treatment,
  tests.request('rbt', 'ann', tests.at(13, '10:00'), 60, '{"cpt_code": "97153"}') as beyond,
  tests.request('rbt', 'ann', tests.at(9, '11:00'), 600, '{"cpt_code": "97153"}') as too_long,
  tests.series('rbt', 'ann', array(select tests.at(day, '10:00') from generate_series(9, 12) as day), 60, '{"cpt_code": "97153"}') as daily,
  tests.series('rbt', 'ann', array(select tests.at(day, '09:00') from generate_series(4, 8) as day), 120, '{"cpt_code": "97153"}') as short;
select is((tests.alternatives(supervision, 'bcba'))[1], tests.at(9, '08:30'), 'what may run beside it is not in the way') from served;
select is((tests.alternatives(treatment, 'bcba'))[1], tests.at(9, '09:00'), 'the same service is') from served;
select is(tests.hold('rbt', beyond) ->> 'code', 'AUTHORIZATION_EXCEEDED', 'after the end of an authorization nothing can be had') from served;
select is(tests.alternatives(beyond), array[tests.at(11, '11:00'), tests.at(11, '10:45'), tests.at(10, '11:00'), tests.at(10, '10:45'), tests.at(9, '11:00')],
  'so its last days are offered, the nearest first') from served;
select is(tests.offers(beyond), '5 of 5', 'and each of them can be held') from served;
select is(tests.alternatives(too_long), '{}'::timestamptz[], 'what takes more units than are left is offered nowhere') from served;
select is((tests.alternatives(daily))[1], tests.at(8, '11:00'), 'a series moves before the end as a whole') from served;
select is(tests.offers(daily), '5 of 5', 'where it can be held') from served;
select is(tests.hold('rbt', short) ->> 'code', 'AUTHORIZATION_EXCEEDED', 'a series that takes more than is left') from served;
select is(tests.alternatives(short), '{}'::timestamptz[], 'has no place, though each of its dates had one') from served;

-- Closures, and an hour that comes twice.
insert into public.organization_closures (organization_id, name, starts_at, ends_at) values (tests.id('clinic'), 'Closed', tests.at(20, '00:00'), tests.at(22, '00:00'));
select is((tests.alternatives(tests.request('rbt', 'ben', tests.at(20, '10:00'))))[1:4], array[tests.at(19, '11:00'), tests.at(19, '10:45'), tests.at(22, '08:00'), tests.at(22, '08:15')],
  'a closure offers what lies around it');
update public.therapists set time_zone = 'America/Los_Angeles', availability_hours = '{"sunday": [{"start": "01:00", "end": "02:00"}]}' where organization_id = tests.id('clinic') and id = tests.id('rbt2');
create temporary table night on commit drop as
select tests.request('rbt2', 'cat', hour) || tests.occurrence(hour - interval '1 hour', 60, 'America/Los_Angeles') as request, hour from twice;
select is((tests.alternatives(request, 'admin'))[1:2], array[hour, hour + interval '1 hour'], 'an hour that comes twice is offered at both of its instants') from night;
do $$ begin perform tests.hold('admin', tests.request('rbt2', 'dan', (select hour from night), 60)); end $$;
select is((tests.alternatives(request, 'admin'))[1], hour + interval '1 hour', 'or at the second, when that is what is left') from night;
select matches(tests.offers(request, 'admin'), '^([1-5]) of \1$', 'each can be held') from night;

update public.therapists set availability_hours = null where organization_id = tests.id('clinic') and id = tests.id('rbt2');
create temporary table nights on commit drop as
select tests.request('rbt2', 'cat', hour) || jsonb_build_object('occurrences', jsonb_build_array(
  tests.occurrence(((hour at time zone 'America/Los_Angeles') - interval '7 days') at time zone 'America/Los_Angeles', 30, 'America/Los_Angeles'),
  tests.occurrence(hour, 30, 'America/Los_Angeles'))) as request,
  ((hour at time zone 'America/Los_Angeles') - interval '7 days') at time zone 'America/Los_Angeles' as first from twice;
select is((tests.alternatives(request, 'admin'))[1:3], array[first - interval '30 minutes', first - interval '45 minutes', first + interval '1 hour'], 'later dates of a series are at the first of the two instants, free or not') from nights;

-- A code's last day, and a request that lies beyond it.
insert into public.service_codes (organization_id, code, description, levels, valid_from, valid_to)
values (tests.id('clinic'), 'H2019', 'Own service', '{technician,assistant,qhp}', '2020-01-01', tests.at(40)::date);
do $$ begin perform tests.hold('admin', tests.request('rbt2', 'dan', tests.at(40, '22:00'), 120)); end $$;
select is((tests.alternatives(tests.request('rbt2', 'cat', tests.at(40, '23:00'), 60, '{"cpt_code": "H2019"}'), 'admin'))[1:2], array[tests.at(40, '21:00'), tests.at(40, '20:45')],
  'nothing is offered after the last day of a code');
select is(tests.error_code('admin', format('select public.find_alternatives(%L)', tests.request('rbt2', 'cat', tests.at(41), 60, '{"cpt_code": "H2019"}'))), 'PT400',
  'what is no service on its day is malformed, as for a hold');

create temporary table own on commit drop as
select (tests.confirm('admin', tests.confirmation(held, 'rbt2', 'cat') || '{"cpt": {"code": "H2019"}}') #>> '{body,sessions,0,id}')::uuid as id
from tests.hold('admin', tests.request('rbt2', 'cat', tests.at(38), 60, '{"cpt_code": "H2019"}')) as held;
select is(tests.error_code('admin', format('select public.hold_sessions(%L)', tests.request('rbt2', 'cat', tests.at(41), 60, jsonb_build_object('session_id', id)))), 'PT400',
  'nor is a session moved beyond the last day of its code') from own;
select is(tests.hold('admin', tests.request('rbt2', 'cat', tests.at(40), 60, jsonb_build_object('session_id', id))) ->> 'ok', 'true', 'up to it, it is') from own;

-- A group is offered times at which all of it is free, a place in a group none but the group's.
update public.therapists set time_zone = 'UTC', availability_hours = null where organization_id = tests.id('clinic') and id = tests.id('rbt2');
do $$ begin perform tests.book('bcba', 'bcba', 'ben', tests.at(30, '09:00')); end $$;
create temporary table together on commit drop as
select tests.request('rbt2', 'ann', tests.at(30, '09:00'), 60, jsonb_build_object('cpt_code', '97154', 'client_ids', jsonb_build_array(tests.id('ann'), tests.id('ben')))) as request;
select is((tests.alternatives(request, 'rbt2'))[1:2], array[tests.at(30, '08:00'), tests.at(30, '10:00')], 'a group is offered what all of its clients have free') from together;
select is(tests.error_code('rbt2', format('select public.find_alternatives(%L)', request || jsonb_build_object('client_ids', jsonb_build_array(tests.id('ann'), tests.id('cat'))))), 'PT403',
  'nobody learns when a client is free whom they may not book, be it the second of a group') from together;
create temporary table grouped on commit drop as select tests.hold('rbt2', jsonb_set(request, '{start_time}', to_jsonb(tests.at(31, '09:00'))) || jsonb_build_object('end_time', tests.at(31, '10:00'))) as held from together;
select is(tests.alternatives(tests.request('rbt2', 'ann', tests.at(31, '09:00'), 60, jsonb_build_object('group_id', held #> '{body,holds,0,groupId}')), 'rbt2'), '{}'::timestamptz[],
  'a place in a group has no other time') from grouped;

-- Two dates so near to each other that a move may bring them together are looked at one by one, and yet no more than two
-- of a stretch are offered.
do $$ begin perform tests.book('bcba', 'bcba', 'ben', tests.at(33, '11:00')); end $$;
create temporary table tight on commit drop as select tests.series('rbt', 'ben', array[tests.at(33, '09:00'), tests.at(33, '11:00')]) as request;
update public.therapists set availability_hours = null where organization_id = tests.id('clinic') and id = tests.id('rbt');
select is(tests.alternatives(request), array[tests.at(33, '08:00'), tests.at(33, '10:00'), tests.at(33, '07:45'), tests.at(33, '12:00'), tests.at(33, '12:15')],
  'two dates of one morning are offered two starts of each free stretch') from tight;

-- Who may ask.
select is(tests.error_code(person, format('select public.find_alternatives(%L)', request)), 'PT403', format('%s may not ask for others'' calendars', person))
from one, unnest(array['rbt2', 'parent']) as person;

select * from finish();
rollback;
