-- Time without a client that is written by SQL follows the same rules, and what is changed of a meeting leaves the rest of it.
begin;
select plan(35);
select tests.open_clinic();

create function pg_temp.staff(person text, what text, request jsonb) returns jsonb language sql as $$
  select tests.call(person, format('select public.%s_staff_time(%L)', what, request)) $$;
create function pg_temp.met(name text, names text[], starts timestamptz, room text default null) returns void language sql as $$
  insert into public.staff_times (organization_id, id, kind, start_time, end_time, time_zone, room_id)
  values (tests.id('clinic'), tests.id(name), 'meeting', starts, starts + interval '1 hour', 'UTC', tests.id(room));
  insert into public.staff_time_members (organization_id, staff_time_id, therapist_id)
  select tests.id('clinic'), tests.id(name), tests.id(therapist) from unnest(names) as therapist $$;
create function pg_temp.last_event() returns text language sql as $$
  select concat_ws(' ', action, jsonb_array_length(after #> '{0,therapist_ids}')) from audit.events
  where organization_id = tests.id('clinic') and entity = 'staff_time' order by recorded_at desc limit 1 $$;
create function pg_temp.members(name text) returns bigint language sql as $$
  select count(*) from public.staff_time_members where staff_time_id = tests.id(name) $$;
create function pg_temp.free(therapist text, starts timestamptz) returns boolean language sql as $$
  select not exists (select from private.claims where organization_id = tests.id('clinic') and resource_id = tests.id(therapist) and during @> starts) $$;

select pg_temp.met('jour fixe', '{bcba,rbt}', tests.at(1), 'blue');
select is(pg_temp.last_event(), 'staff_time.changed 2', 'who takes part is in the record');
select is((select bool_or(pg_temp.free(therapist, tests.at(1))) from unnest(array['bcba', 'rbt', 'blue']) as therapist), false, 'it takes everybody''s time, and the room');

-- The law of its zone has changed since: what does not move keeps the civil time it was entered for.
alter table public.staff_times disable trigger user;
update public.staff_times set civil_start = civil_start + interval '1 hour' where id = tests.id('jour fixe');
alter table public.staff_times enable trigger user;
update public.staff_times set kind = 'training' where id = tests.id('jour fixe');
select is((select civil_start from public.staff_times where id = tests.id('jour fixe')), (tests.at(1) at time zone 'UTC') + interval '1 hour', 'a change of its kind leaves its civil time');
update public.staff_times set kind = 'meeting' where id = tests.id('jour fixe');

-- Who reads it.
select is(tests.rows(person, 'select 1 from public.staff_times'), rows, format('%s reads %s', person, rows))
from (values ('admin', 1::bigint), ('rbt', 1), ('rbt2', 0), ('parent', 0)) as reader (person, rows);
select is(tests.rows(person, 'select 1 from public.staff_time_members'), rows, format('%s reads %s of those who take part', person, rows))
from (values ('admin', 2::bigint), ('rbt', 1), ('rbt2', 0), ('parent', 0)) as reader (person, rows);

-- Somebody leaves it.
delete from public.staff_time_members where staff_time_id = tests.id('jour fixe') and therapist_id = tests.id('rbt');
select is(pg_temp.last_event(), 'staff_time.changed 1', 'who leaves it is in the record');
select ok(pg_temp.free('rbt', tests.at(1)), 'their time is free');
select ok(not pg_temp.free('bcba', tests.at(1)), 'that of the others is not');

-- It is cancelled, and stays as it is.
update public.staff_times set cancelled_at = now() where id = tests.id('jour fixe');
select is(pg_temp.last_event(), 'staff_time.cancelled 1', 'a cancellation is recorded as one');
select ok(pg_temp.free('bcba', tests.at(1)), 'and frees its time');
select is(tests.error_code('service_role', format('update public.staff_times set %s where id = %L', change, tests.id('jour fixe'))), '23514', format('then nobody writes %s', change))
from unnest(array['kind = ''drive''', 'cancelled_at = null']) as change;
select is(tests.error_code('service_role', format('insert into public.staff_time_members (organization_id, staff_time_id, therapist_id) values (%L, %L, %L)',
  tests.id('clinic'), tests.id('jour fixe'), tests.id('rbt'))), '23514', 'nobody joins it');
select is(tests.error_code('service_role', format('delete from public.staff_time_members where staff_time_id = %L', tests.id('jour fixe'))), '23514', 'and nobody leaves it');

-- The archived take no part.
update public.therapists set deleted_at = now() where organization_id = tests.id('clinic') and id = tests.id('rbt2');
select is(tests.error_code('postgres', format('select pg_temp.met(''late'', ''{rbt2}'', %L)', tests.at(2))), '23514', 'an archived therapist takes no part');
update public.therapists set deleted_at = null where organization_id = tests.id('clinic') and id = tests.id('rbt2');

-- A change names what is to change; the rest stays.
select pg_temp.met('team', '{bcba,rbt,rbt2}', tests.at(3), 'blue');
select is(pg_temp.staff('admin', 'change', jsonb_build_object('staff_time_id', tests.id('team'), 'kind', 'training')) ->> 'ok', 'true', 'what it is called changes');
select is((select room_id from public.staff_times where id = tests.id('team')), tests.id('blue'), 'where it is does not');
select is(pg_temp.staff('admin', 'change', jsonb_build_object('staff_time_id', tests.id('team'), 'therapist_ids', array[tests.id('bcba'), tests.id('rbt')])) ->> 'ok', 'true', 'one is left out');
select is(pg_temp.members('team'), 2::bigint, 'and takes part no more');
select ok(pg_temp.free('rbt2', tests.at(3)), 'with their time');
select is((select start_time from public.staff_times where id = tests.id('team')), tests.at(3), 'when it is has not changed');
select is(pg_temp.staff('rbt', 'change', jsonb_build_object('staff_time_id', tests.id('team'), 'kind', 'drive')) ->> 'code', 'FORBIDDEN', 'one of several does not change it for the others');
select is(pg_temp.staff('rbt', 'add', jsonb_build_object('kind', 'meeting', 'therapist_ids', array[tests.id('rbt'), tests.id('rbt2')]) || tests.occurrence(tests.at(4))) ->> 'code',
  'FORBIDDEN', 'nor enters time of others beside their own');

-- A series over a change of clocks keeps its hour by the clock, wherever it is moved.
create temporary table shift on commit drop as
select min(moment::date) as day
from generate_series(current_date + 60, current_date + 425, interval '1 day') as days (moment)
where tests.offset_of(moment::timestamp at time zone 'America/Los_Angeles', 'America/Los_Angeles')
  <> tests.offset_of((moment::timestamp + interval '1 day') at time zone 'America/Los_Angeles', 'America/Los_Angeles');
create temporary table weekly on commit drop as
select pg_temp.staff('admin', 'add', jsonb_build_object('kind', 'supervision', 'therapist_ids', array[tests.id('bcba')], 'recurrence', '{"rule": "FREQ=WEEKLY"}'::jsonb)
  || tests.occurrence((day - 7 + time '23:00') at time zone 'America/Los_Angeles', 30, 'America/Los_Angeles')
  || jsonb_build_object('occurrences', (select jsonb_agg(tests.occurrence((day - 7 + 7 * week + time '23:00') at time zone 'America/Los_Angeles', 30, 'America/Los_Angeles') order by week)
    from generate_series(0, 1) as week))) as outcome
from shift;
select is(pg_temp.staff('admin', 'change', jsonb_build_object('series_id', outcome #> '{body,seriesId}', 'local_start', '01:30')) ->> 'ok', 'true', 'a series moves to another hour') from weekly;
select is((select array_agg((start_time at time zone time_zone)::time order by start_time) from public.staff_times where kind = 'supervision'), '{01:30,01:30}', 'the same by the clock before and after');

-- Somebody leaves the clinic: a meeting of others goes on without them, their own ends.
select pg_temp.met('of three', '{bcba,rbt,rbt2}', tests.at(10)), pg_temp.met('alone', '{rbt2}', tests.at(11));
select is(tests.call('admin', format('select public.archive(%L)', jsonb_build_object('therapist_id', tests.id('rbt2'), 'cancel_sessions', true))) #>> '{body,touchedStaffTimes}', '2', 'two meetings are touched');
select is(array[pg_temp.members('of three'), (select count(*) from public.staff_times where id = tests.id('of three') and cancelled_at is null)], array[2, 1]::bigint[], 'one goes on with the others');
select is((select count(*) from public.staff_times where id = tests.id('alone') and cancelled_at is null), 0::bigint, 'the other is over');
select is_empty('select * from tests.broken_claims()', 'claims are what the rows say');

select * from finish();
rollback;
