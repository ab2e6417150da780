-- What is listed as free can be held; what is not listed cannot.
begin;
select plan(75);
select tests.open_clinic();
select tests.open_clinic('other ');

create function tests.slots(person text, therapist text, from_time timestamptz, to_time timestamptz, minutes integer, extra text default '')
returns timestamptz[] language plpgsql as $$
begin
  return array(select (item #>> '{}')::timestamptz from jsonb_array_elements(tests.call(person, format(
    'select coalesce(jsonb_agg(start_time order by start_time), ''[]'') from public.find_open_slots(%L, %L, %L, %s%s)',
    tests.id(therapist), from_time, to_time, minutes, extra))) as item);
end $$;
create function tests.can_hold(request jsonb, person text default 'rbt') returns boolean language plpgsql as $$
declare
  outcome jsonb := tests.hold(person, request);
begin
  if outcome ->> 'ok' = 'true' then perform tests.release(person, outcome #>> '{body,holdKey}'); end if;
  return outcome ->> 'ok' = 'true';
end $$;

-- A day with hours, time off, sessions of both people, a hold and a room.
update public.therapists set time_zone = 'UTC', availability_hours = (
  select jsonb_object_agg(day, '[{"start": "08:00", "end": "16:00"}]'::jsonb)
  from unnest(array['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday']) as day)
where organization_id = tests.id('clinic') and id = tests.id('rbt');
insert into public.availability_exceptions (organization_id, therapist_id, kind, starts_at, ends_at)
values (tests.id('clinic'), tests.id('rbt'), 'time_off', tests.at(1, '12:00'), tests.at(1, '12:30'));
do $$ begin
  perform tests.book('rbt', 'rbt', 'ben', tests.at(1, '09:00'));
  perform tests.book('bcba', 'bcba', 'ann', tests.at(1, '10:20'), 25);
  perform tests.hold('rbt', tests.request('rbt', 'ben', tests.at(1, '14:00'), 60, jsonb_build_object('room_id', tests.id('blue'), 'buffer_after_minutes', 20)));
  perform tests.hold('bcba', tests.request('bcba', 'ben', tests.at(1, '08:00'), 30, jsonb_build_object('room_id', tests.id('blue'))));
end $$;

-- Every quarter hour of the day and of two hours around it, listed or not, is tried with a hold.
create temporary table tries (what text, extra text, change jsonb) on commit drop;
insert into tries values
  ('therapist alone', format(', client_id => %L', tests.id('ann')), '{}'),
  ('with a room', format(', client_id => %L, room_id => %L', tests.id('ann'), tests.id('blue')), jsonb_build_object('room_id', tests.id('blue'))),
  ('with buffers', format(', client_id => %L, buffer_before_minutes => 15, buffer_after_minutes => 20', tests.id('ann')), '{"buffer_before_minutes": 15, "buffer_after_minutes": 20}');
select is(
  tests.slots('rbt', 'rbt', tests.at(1, '06:00'), tests.at(1, '18:00'), minutes, extra),
  array(select start from generate_series(tests.at(1, '06:00'), tests.at(1, '18:00') - make_interval(mins => minutes), interval '15 minutes') as start
    where tests.can_hold(tests.request('rbt', 'ann', start, minutes, change))),
  format('%s minutes, %s: what is listed is exactly what can be held', minutes, what)
)
from tries, unnest(array[30, 60, 90]) as minutes;

-- Limits of the question.
select is(tests.slots('rbt', 'rbt', tests.at(2, '08:10'), tests.at(2, '09:00'), 30), array[tests.at(2, '08:15'), tests.at(2, '08:30')],
  'slots lie on the quarter hour, whole within the question');
select is(tests.slots('rbt', 'rbt', now() - interval '2 days', now(), 30), '{}'::timestamptz[], 'the past has no slots');
select is((select count(*) from unnest(tests.slots('rbt2', 'rbt2', now() - interval '1 hour', now() + interval '1 hour', 15)) as start where start < now()), 0::bigint, 'nor its remains');
select is((select count(*) from unnest(tests.slots('rbt2', 'rbt2', now() + interval '729 days', now() + interval '740 days', 60)) as start
  where start + interval '60 minutes' > clock_timestamp() + interval '730 days'), 0::bigint, 'nor what lies beyond 730 days, which no hold can have');
select cmp_ok(cardinality(tests.slots('rbt2', 'rbt2', now() + interval '729 days', now() + interval '740 days', 60)), '>', 80, 'though up to there it does');

-- A grid of civil time: quarter hours in the zone, none of them in a gap.
update public.therapists set time_zone = 'America/Los_Angeles', availability_hours = '{"sunday": [{"start": "00:00", "end": "06:00"}]}'
where organization_id = tests.id('clinic') and id = tests.id('rbt2');
create temporary table gap on commit drop as
select min(moment::date) as day from generate_series(current_date + 30, current_date + 395, interval '1 day') as days (moment)
where tests.offset_of((moment::timestamp + interval '1 day') at time zone 'America/Los_Angeles', 'America/Los_Angeles')
  > tests.offset_of(moment::timestamp at time zone 'America/Los_Angeles', 'America/Los_Angeles');
select is(array(select to_char(start at time zone 'America/Los_Angeles', 'HH24:MI') from unnest(tests.slots('rbt2', 'rbt2',
    (day + time '01:00') at time zone 'America/Los_Angeles', (day + time '04:00') at time zone 'America/Los_Angeles', 60)) as start order by start),
  array['01:00', '01:15', '01:30', '01:45', '03:00'], 'no slot at an hour that does not exist, but across it') from gap;
select is((select count(*) from unnest(tests.slots('rbt2', 'rbt2', (day + time '00:00') at time zone 'America/Los_Angeles', (day + time '06:00') at time zone 'America/Los_Angeles', 300))), 1::bigint,
  'six civil hours have five on that day') from gap;
select is((tests.slots('rbt2', 'rbt2', (day + time '00:00') at time zone 'America/Los_Angeles', (day + time '06:00') at time zone 'America/Los_Angeles', 30, ', time_zone => ''Asia/Kathmandu'''))[1],
  (day + time '00:00') at time zone 'America/Los_Angeles', 'another zone''s grid can be asked for') from gap;

-- An hour that comes twice is listed twice, each time an instant that can be held; a window inside a gap is none.
create temporary table again on commit drop as
select min(moment::date) as day from generate_series(current_date + 30, current_date + 395, interval '1 day') as days (moment)
where tests.offset_of((moment::timestamp + interval '1 day') at time zone 'America/Los_Angeles', 'America/Los_Angeles')
  < tests.offset_of(moment::timestamp at time zone 'America/Los_Angeles', 'America/Los_Angeles');
create function tests.midnight(day date) returns timestamptz language sql stable as $$ select day::timestamp at time zone 'America/Los_Angeles' $$;
select is(tests.slots('rbt2', 'rbt2', tests.midnight(day), tests.midnight(day) + interval '4 hours', 30),
  array(select tests.midnight(day) + make_interval(mins => 15 * number) from generate_series(0, 14) as number), 'seven hours are worked in six') from again;
select is((select count(*) from unnest(tests.slots('rbt2', 'rbt2', tests.midnight(day), tests.midnight(day) + interval '4 hours', 30)) as start
  where to_char(start at time zone 'America/Los_Angeles', 'HH24:MI') = '01:30'), 2::bigint, 'one o''clock thirty is listed at both instants') from again;
select is(tests.hold('rbt2', tests.request('rbt2', 'ann', tests.midnight(day) + interval '90 minutes', 30) || tests.occurrence(tests.midnight(day) + interval '90 minutes', 30, 'America/Los_Angeles')) ->> 'ok', 'true',
  'and the first of them can be held') from again;
update public.therapists set availability_hours = '{"sunday": [{"start": "02:00", "end": "02:30"}]}' where organization_id = tests.id('clinic') and id = tests.id('rbt2');
select is(tests.slots('rbt2', 'rbt2', tests.midnight(day), tests.midnight(day) + interval '6 hours', 15), '{}'::timestamptz[], 'hours that clocks skip are none') from gap;

-- The clinic's closures, and time off of somebody without hours.
update public.therapists set time_zone = 'UTC', availability_hours = null where organization_id = tests.id('clinic') and id = tests.id('rbt2');
insert into public.organization_closures (organization_id, name, starts_at, ends_at) values (tests.id('clinic'), 'Fire drill', tests.at(3, '10:05'), tests.at(3, '10:20'));
insert into public.availability_exceptions (organization_id, therapist_id, kind, starts_at, ends_at) values (tests.id('clinic'), tests.id('rbt2'), 'time_off', tests.at(3, '11:00'), tests.at(3, '12:00'));
select is(tests.slots('rbt2', 'rbt2', tests.at(3, '09:00'), tests.at(3, '13:00'), 30),
  array(select tests.at(3, clock) from unnest(array['09:00', '09:15', '09:30', '10:30', '12:00', '12:15', '12:30']) as clock), 'closures and time off have no slots');

-- Several clients: everybody is asked, and everybody must be free.
select is(
  tests.slots('rbt', 'rbt', tests.at(1, '06:00'), tests.at(1, '18:00'), 30, format(', client_ids => %L', array[tests.id('ann'), tests.id('ben')])),
  array(select start from generate_series(tests.at(1, '06:00'), tests.at(1, '17:30'), interval '15 minutes') as start
    where tests.can_hold(tests.request('rbt', 'ann', start, 30, jsonb_build_object('client_ids', jsonb_build_array(tests.id('ann'), tests.id('ben')), 'cpt_code', '97154')))),
  'for a group what is listed is exactly what can be held');

-- The service: what may run beside it, and whose units.
select tests.add_payers();
select tests.cover('ann', 'open');
select tests.cover('ben', 'strict');
do $$ begin
  perform tests.confirm('rbt', tests.confirmation(held, 'rbt', client) || '{"cpt": {"code": "97153"}}')
  from unnest(array['ann', 'ben']) with ordinality as item (client, place)
  cross join lateral tests.hold('rbt', tests.request('rbt', client, tests.at(5, '10:00') + place * interval '2 hours' - interval '2 hours', 60, '{"cpt_code": "97153"}')) as held;
end $$;
select is(tests.slots('bcba', 'bcba', tests.at(5, '09:00'), tests.at(5, '14:00'), 60, format(', client_id => %L, cpt_code => %L', tests.id(client), code)) @> array[tests.at(5, clock)], listed, what)
from (values
  ('ann', '97155', '10:30', true, 'a supervisor may come into a session where the payer lets the two run at once'), ('ann', '97153', '10:30', false, 'for the same service she may not'),
  ('ann', null, '10:30', false, 'nor without a service'), ('ben', '97155', '12:15', false, 'nor where the payer says no')
) as try (client, code, clock, listed, what);
select is(
  tests.slots('bcba', 'bcba', tests.at(5, '09:00'), tests.at(5, '14:00'), 45, format(', client_id => %L, cpt_code => %L', tests.id(client), '97155')),
  array(select start from generate_series(tests.at(5, '09:00'), tests.at(5, '13:15'), interval '15 minutes') as start
    where tests.can_hold(tests.request('bcba', client, start, 45, '{"cpt_code": "97155"}'), 'bcba')),
  format('%s: what is listed for the service is exactly what can be held', client)) from unnest(array['ann', 'ben']) as client;

update public.organizations set time_zone = 'UTC' where id = tests.id('clinic');
select tests.authorize('cat', '97153', 20, 8);
select tests.cover('cat', 'open');
do $$ begin perform tests.hold('admin', tests.request('rbt2', 'cat', tests.at(6, '10:00'), 240, '{"cpt_code": "97153"}')); end $$;
create function tests.days(slots timestamptz[]) returns text[] language sql stable as $$
  select coalesce(array_agg(day::text order by day), '{}') from (select distinct extract(day from slot - tests.at(0, '00:00')) as day from unnest(slots) as slot) as found $$;
select is(tests.days(tests.slots('admin', 'rbt2', tests.at(5, '00:00'), tests.at(11, '00:00'), minutes, format(', client_id => %L, cpt_code => %L', tests.id('cat'), '97153'))), days, what)
from (values
  (60, '{5,6,7}'::text[], 'the last day of an authorization is listed, the day after is not'), (75, '{}', 'nor anything that takes more units than are left')
) as try (minutes, days, what);
select is(tests.days(tests.slots('admin', 'rbt2', tests.at(5, '00:00'), tests.at(11, '00:00'), 75, format(', client_id => %L, cpt_code => %L', tests.id('cat'), '97152'))), '{5,6,7,8,9,10}',
  'a service without an authorization of its own has no limit here');

-- A clinic's own service, to its last day.
insert into public.service_codes (organization_id, code, description, levels, valid_from, valid_to)
values (tests.id('clinic'), 'H2019', 'Own service', '{technician,assistant,qhp}', '2020-01-01', tests.at(7)::date);
select is(tests.days(tests.slots('admin', 'rbt2', tests.at(5, '00:00'), tests.at(11, '00:00'), 60, format(', client_id => %L, cpt_code => %L', tests.id('dan'), 'H2019'))), '{5,6,7}',
  'a service is listed to the last day of its code');
select is((tests.hold('admin', tests.request('rbt2', 'dan', tests.at(7, '12:00'), 60, '{"cpt_code": "H2019"}'))) ->> 'ok', 'true', 'on which it can be held');

-- At midnight another payer begins, who lets nobody in: what reaches into that day is theirs to judge.
update public.client_coverages set valid_to = tests.at(14)::date where client_id = tests.id('ann');
insert into public.client_coverages (organization_id, client_id, payer_id, priority, valid_from) values (tests.id('clinic'), tests.id('ann'), tests.id('strict'), 1, tests.at(15)::date);
do $$ begin
  perform tests.confirm('rbt2', tests.confirmation(held, 'rbt2', 'ann') || '{"cpt": {"code": "97153"}}')
  from tests.hold('rbt2', tests.request('rbt2', 'ann', tests.at(14, '22:30'), 105, '{"cpt_code": "97153"}')) as held;
end $$;
create temporary table midnight on commit drop as
select tests.slots('bcba', 'bcba', tests.at(14, '22:00'), tests.at(15, '02:00'), 45, format(', client_id => %L, cpt_code => %L', tests.id('ann'), '97155')) as listed;
select is(listed, array(select start from generate_series(tests.at(14, '22:00'), tests.at(15, '01:15'), interval '15 minutes') as start
  where tests.can_hold(tests.request('bcba', 'ann', start, 45, '{"cpt_code": "97155"}'), 'bcba')), 'around it, too, what is listed is exactly what can be held') from midnight;
select ok(tests.at(14, '22:30') = any (listed), 'before midnight she may come in') from midnight;
select ok(tests.at(14, '23:30') <> all (listed), 'but not to stay beyond it') from midnight;

-- A rule ends, or a coverage, and nothing begins: from the next day on what ran beside another service may not.
select tests.cover('dan', 'open');
do $$ begin
  perform tests.confirm('admin', tests.confirmation(held, 'rbt2', 'dan') || '{"cpt": {"code": "97153"}}')
  from unnest(array[17, 18]) as day
  cross join lateral tests.hold('admin', tests.request('rbt2', 'dan', tests.at(day), 60, '{"cpt_code": "97153"}')) as held;
end $$;
create function tests.beside(day integer) returns boolean[] language plpgsql as $$
begin
  return array[
    tests.at(day, '10:30') = any (tests.slots('admin', 'bcba', tests.at(16, '12:00'), tests.at(19, '12:00'), 45, format(', client_id => %L, cpt_code => %L', tests.id('dan'), '97155'))),
    tests.can_hold(tests.request('bcba', 'dan', tests.at(day, '10:30'), 45, '{"cpt_code": "97155"}'), 'admin')];
end $$;
savepoint lasting;
update public.payer_concurrency_rules set valid_to = tests.at(17)::date where payer_id = tests.id('open');
select is(tests.beside(day), array[day = 17, day = 17], format('day %s: what a rule allows to its last day is listed as long as it can be held', day)) from unnest(array[17, 18]) as day;
rollback to lasting;
insert into public.client_coverages (organization_id, client_id, payer_id, priority, valid_from, valid_to)
values (tests.id('clinic'), tests.id('dan'), tests.id('strict'), 2, '2020-01-01', tests.at(17)::date);
select is(tests.beside(day), array[day = 18, day = 18], format('day %s: so is what a second payer forbids to theirs', day)) from unnest(array[17, 18]) as day;

-- Wrong questions.
create function tests.complaint(arguments text, person text default 'rbt') returns text language plpgsql as $$
declare
  failure jsonb := tests.error(person, format('select * from public.find_open_slots(%s)', arguments));
begin
  return case failure ->> 'code' when 'PT400' then (failure ->> 'details')::jsonb #>> '{0,path}' else failure ->> 'code' end;
end $$;
select is(tests.complaint(format('%L, %s', tests.id('rbt'), arguments)), path, arguments || ': ' || path)
from (values
  ('''2027-01-02'', ''2027-01-01'', 60', 'to_time'), ('''2027-01-01'', ''2027-05-01'', 60', 'to_time'), ('''-infinity'', ''2027-01-01'', 60', 'from_time'),
  ('''2027-01-01'', ''infinity'', 60', 'to_time'), ('null, ''2027-01-01'', 60', 'from_time'), ('''2027-01-01'', null, 60', 'to_time'),
  ('''2027-01-01'', ''2027-01-02'', 0', 'duration_minutes'), ('''2027-01-01'', ''2027-01-02'', 721', 'duration_minutes'), ('''2027-01-01'', ''2027-01-02'', null', 'duration_minutes'),
  ('''2027-01-01'', ''2027-01-02'', 60, cpt_code => ''11111''', 'cpt_code'), ('''2027-01-01'', ''2027-01-02'', 60, client_ids => array[null::uuid]', 'client_ids'),
  ('''2027-01-01'', ''2027-01-02'', 60, client_ids => array(select gen_random_uuid() from generate_series(1, 9))', 'client_ids'),
  ('''2027-01-01'', ''2027-01-02'', 60, cpt_code => ''97153'', client_ids => array(select gen_random_uuid() from generate_series(1, 2))', 'client_ids'),
  ('''2027-01-01'', ''2027-01-02'', 60, time_zone => ''foo3bar''', 'time_zone'), ('''2027-01-01'', ''2027-01-02'', 60, buffer_before_minutes => -1', 'buffer_before_minutes')
) as wrong (arguments, path);

-- Whose calendar.
select is(tests.complaint(format('%L, %L, %L, 60', tests.id(therapist), tests.at(1), tests.at(2)), person), 'PT403', format('%s may not look at %s', person, therapist))
from (values ('rbt', 'rbt2'), ('parent', 'rbt'), ('admin', 'other rbt'), ('rbt', 'nobody')) as try (person, therapist);
select is(tests.complaint(format('%L, %L, %L, 60, client_id => %L', tests.id('rbt'), tests.at(1), tests.at(2), tests.id(client))), 'PT403',
  format('nor for %s, whom she could not book then', client)) from unnest(array['cat', 'other ann', 'nobody']) as client;
select is(tests.complaint(format('%L, %L, %L, 60, client_ids => %L', tests.id('rbt'), tests.at(1), tests.at(2), array[tests.id('ann'), tests.id('cat')])), 'PT403',
  'nor for several of whom she could not book one');
select is(tests.complaint(format('%L, %L, %L, 60, cpt_code => %L', tests.id('rbt'), tests.at(1), tests.at(2), '97155')), null, 'a service alone, without a client, may be asked for');
select is(tests.complaint(format('%L, %L, %L, 60, client_id => %L, cpt_code => %L', tests.id('rbt'), tests.at(1), tests.at(2), tests.id('ann'), '97155')), 'PT403',
  'nor for a service that a technician may not render');
select is(tests.complaint(format('%L, %L, %L, 60, room_id => %L', tests.id('rbt'), tests.at(1), tests.at(2), tests.id('other blue'))), 'PT403', 'nor for a room of another clinic');
update public.rooms set deleted_at = now() where organization_id = tests.id('clinic') and id = tests.id('green');
select is(tests.complaint(format('%L, %L, %L, 60, room_id => %L', tests.id('rbt'), tests.at(1), tests.at(2), tests.id('green'))), 'PT403', 'nor for an archived one');
-- Sixty-two days, by the calendar or by the clock, also across a change of clocks.
select is(tests.complaint(format('%L, %L, %L, 60, time_zone => %L', tests.id('rbt'), starts at time zone zone, ends at time zone zone, zone)), path,
  format('a question from %s to %s in %s', starts, ends, zone))
from (values
  (timestamp '2027-02-01 00:00', timestamp '2027-04-04 00:00', 'UTC', null), ('2027-02-01 00:00', '2027-04-04 00:01', 'UTC', 'to_time'),
  ('2027-10-01 00:00', '2027-12-02 00:00', 'America/Los_Angeles', null), ('2027-10-01 00:00', '2027-12-02 00:01', 'America/Los_Angeles', 'to_time'),
  ('2027-02-01 00:00', '2027-04-04 01:00', 'America/Los_Angeles', null), ('2027-02-01 00:00', '2027-04-04 01:01', 'America/Los_Angeles', 'to_time')
) as span (starts, ends, zone, path);
update public.therapists set time_zone = 'America/Los_Angeles' where organization_id = tests.id('clinic') and id = tests.id('rbt');
select is(tests.complaint(format('%L, %L, %L, 60', tests.id('rbt'), timestamp '2027-10-01 00:00' at time zone 'America/Los_Angeles', timestamp '2027-12-02 00:00' at time zone 'America/Los_Angeles')), null,
  'without a zone the days are the therapist''s');

select * from finish();
rollback;
