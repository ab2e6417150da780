-- A day begins at its first moment and ends at the next day's, in every zone: also where midnight comes twice (the
-- Azores, Havana) or not at all (Cairo, Beirut), and where clocks change by half an hour or by two.
begin;
select plan(27);
select tests.open_clinic();

-- In each zone the days on which its clocks change, within the time that can be booked.
create temporary table days on commit drop as
select zone, moment::date as day,
  tests.offset_of(((moment + interval '1 day')::timestamp) at time zone zone, zone) - tests.offset_of(moment::timestamp at time zone zone, zone) as change
from unnest(array['Atlantic/Azores', 'America/Havana', 'Africa/Cairo', 'Asia/Beirut', 'Australia/Lord_Howe', 'Antarctica/Troll', 'Africa/Casablanca',
  'America/Los_Angeles', 'Pacific/Chatham']) as zone,
generate_series(current_date::timestamp + interval '10 days', current_date::timestamp + interval '390 days', interval '1 day') as moments (moment)
where tests.offset_of(((moment + interval '26 hours')::timestamp) at time zone zone, zone) <> tests.offset_of((moment - interval '2 hours') at time zone zone, zone)
  and exists (select 1 from public.time_zones where name = zone);

-- Around the beginning and the end of each of them a session of a quarter of an hour every half hour, and which of them
-- start on that day, told by their own local date rather than by where the day begins.
create function tests.misses(zone text, day date) returns bigint language plpgsql as $$
declare
  cancelled jsonb;
  misses bigint;
begin
  begin
    insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone)
    select tests.id('clinic'), tests.id('rbt'), tests.id('ann'), start, start + interval '15 minutes', zone
    from unnest(array[day, day + 1]) as midnight,
      generate_series((midnight::timestamp at time zone zone) - interval '3 hours', (midnight::timestamp at time zone zone) + interval '3 hours', interval '30 minutes') as start;
    cancelled := tests.cancel('rbt', jsonb_build_object('date', day, 'time_zone', zone)) #> '{body,summary,cancelledSessionIds}';
    select count(*) into misses
    from public.sessions as session
    where session.organization_id = tests.id('clinic')
      and ((session.start_time at time zone zone)::date = day) is distinct from (cancelled @> to_jsonb(session.id));
    raise exception using errcode = 'ZZ001';
  exception when sqlstate 'ZZ001' then
    return misses;
  end;
end $$;
select is((select max(tests.misses(days.zone, days.day)) from days where days.zone = zones.zone), 0::bigint, format('in %s a day is all that starts on it', zones.zone))
from (select distinct zone from days) as zones order by zones.zone;
select cmp_ok((select count(distinct zone) from days), '>=', 7::bigint, 'clocks change in most of these');

-- A request may be made in any zone there is, with its own offset and no other: every tenth is held, all are read as a hold reads them.
create function tests.refused_zones(wrong integer) returns text[] language plpgsql as $$
declare
  zone text;
  number bigint;
  start timestamptz := tests.at(3);
  request jsonb;
  outcome jsonb;
  refused text[] := '{}';
begin
  for zone, number in select name, row_number() over (order by name) from public.time_zones order by name loop
    begin
      request := tests.request('rbt', 'ann', start) || tests.occurrence(start, 60, zone)
        || jsonb_build_object('start_time_offset_minutes', tests.offset_of(start, zone) + wrong);
      perform private.slots_of(private.read_hold_request(request), clock_timestamp());
      if number % 10 = 0 then
        outcome := tests.hold('rbt', request);
        perform tests.release('rbt', outcome #>> '{body,holdKey}');
      end if;
    exception when sqlstate 'PT400' then
      refused := refused || zone;
    end;
  end loop;
  return refused;
end $$;
select cmp_ok((select count(*) from public.time_zones), '>', 400::bigint, 'there are hundreds of zones');
select is(tests.refused_zones(0), '{}', 'each is taken with its own offset');
select is(cardinality(tests.refused_zones(15)), (select count(*)::integer from public.time_zones), 'and with no other');

-- Across the change itself: what is at the end of a session is its own offset.
create temporary table across on commit drop as
select zone, day, change, ((day + time '23:30') at time zone zone) - interval '24 hours' as evening from days where change <> 0;
select is(
  (select count(*) from across where tests.hold('rbt', tests.request('rbt', 'ann', evening) || tests.occurrence(evening, 720, zone)) ->> 'ok' is null), 0::bigint,
  'a night across a change of clocks has two offsets');
select is(tests.error_code('rbt', format('select public.hold_sessions(%L)', tests.request('rbt', 'ben', night) || tests.occurrence(night, 360, zone)
    || jsonb_build_object('end_time_offset_minutes', tests.offset_of(night, zone)))), 'PT400', 'and the end does not have that of its start')
from (select zone, (day + time '00:00') at time zone zone - interval '1 hour' as night from days where zone = 'America/Los_Angeles' and change <> 0 limit 1) as one;

-- Zones Postgres would take, and this does not.
select is(tests.error_code('rbt', format('select public.hold_sessions(%L)', tests.request('rbt', 'ben', tests.at(5)) || jsonb_build_object('time_zone', zone))), 'PT400',
  format('%s is no zone', zone))
from unnest(array['foo3bar', 'UTC+3', 'PST', 'utc', '<+03>-3', 'posix/UTC']) as zone;

-- Of the two instants of a time that comes twice it is the first; of none, the one after the gap.
select is(private.start_of_day(day, zone), instant, format('midnight of %s in %s', day, zone))
from (values
  ('America/Havana', date '2027-11-07', timestamptz '2027-11-07 04:00Z'), ('Atlantic/Azores', '2027-10-31', '2027-10-31 00:00Z'),
  ('Asia/Beirut', '2027-03-28', '2027-03-27 22:00Z')
) as midnight (zone, day, instant);
select is(private.instant_at(civil, zone), instant, format('%s in %s', civil, zone))
from (values
  ('America/Los_Angeles', timestamp '2027-11-07 01:30', timestamptz '2027-11-07 08:30Z'),
  ('Australia/Lord_Howe', '2027-04-04 01:45', '2027-04-03 14:45Z'), ('America/Havana', '2027-11-07 00:30', '2027-11-07 04:30Z')
) as twice (zone, civil, instant);

select * from finish();
rollback;
