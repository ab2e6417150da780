-- Who may render a service is judged by the credential of the day it is rendered on, on every way.
begin;
select plan(16);
select tests.open_clinic();

-- A technician who becomes a BCBA on day 10, and a BCBA who was a technician until day 10 of the month before last.
update public.therapist_credentials set valid_to = tests.at(9)::date
where organization_id = tests.id('clinic') and therapist_id = tests.id('rbt');
insert into public.therapist_credentials (organization_id, therapist_id, credential, valid_from)
values (tests.id('clinic'), tests.id('rbt'), 'BCBA', tests.at(10)::date);
update public.therapist_credentials set credential = 'RBT', valid_to = tests.at(-80)::date
where organization_id = tests.id('clinic') and therapist_id = tests.id('bcba');
insert into public.therapist_credentials (organization_id, therapist_id, credential, valid_from)
values (tests.id('clinic'), tests.id('bcba'), 'BCBA', tests.at(-79)::date);

create function pg_temp.holds(day integer) returns text language sql as $$
  select coalesce(outcome ->> 'code', 'held')
  from tests.hold('rbt', tests.request('rbt', 'ann', tests.at(day), 60, '{"cpt_code": "97155"}')) as outcome
$$;
select is(pg_temp.holds(9), 'FORBIDDEN', 'a technician does not hold it for the day before');
select is(pg_temp.holds(10), 'held', 'but for the day of the promotion');
select is(tests.hold('rbt', tests.series('rbt', 'ann', array[tests.at(9, '12:00'), tests.at(10, '12:00')], 60) || '{"cpt_code": "97155"}') ->> 'code',
  'FORBIDDEN', 'a series needs the level on each of its days');
select is(tests.hold('rbt', tests.series('rbt', 'ann', array[tests.at(11, '12:00'), tests.at(12, '12:00')], 60) || '{"cpt_code": "97155"}') ->> 'ok',
  'true', 'which it has later');

-- What is offered.
create function pg_temp.slots(day integer) returns bigint language sql as $$
  select (tests.call('rbt', format(
    'select to_jsonb(count(*)) from public.find_open_slots(therapist_id => %L, client_id => %L, from_time => %L, to_time => %L, duration_minutes => 60, cpt_code => ''97155'')',
    tests.id('rbt'), tests.id('ann'), tests.at(day, '14:00'), tests.at(day, '16:00'))))::text::bigint
$$;
select is(pg_temp.slots(9), 0::bigint, 'no slot is open for it on the day before');
select cmp_ok(pg_temp.slots(10), '>', 0::bigint, 'but on the day of the promotion');

-- Confirmed as it, though held for any service.
create temporary table held (day integer, outcome jsonb) on commit drop;
insert into held select day, tests.hold('rbt', tests.request('rbt', 'ann', tests.at(day, '16:00'))) from unnest(array[8, 13]) as day;
create function pg_temp.confirms(day integer) returns text language sql as $$
  select coalesce(answer ->> 'code', 'confirmed')
  from held, lateral tests.confirm('rbt', jsonb_set(tests.confirmation(held.outcome, 'rbt', 'ann'), '{occurrences,0,cpt}', '{"code": "97155"}')) as answer
  where held.day = confirms.day
$$;
select is(pg_temp.confirms(8), 'FORBIDDEN', 'a technician does not confirm it for a day before');
select is(pg_temp.confirms(13), 'confirmed', 'but for a day after');

-- Written directly, also for days gone by.
create function pg_temp.writes(person text, day integer) returns text language plpgsql as $$
begin
  insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code)
  values (tests.id('clinic'), tests.id(person), tests.id('ben'), tests.at(day, '17:00'), tests.at(day, '18:00'), 'UTC', '97155');
  return 'written';
exception when check_violation then
  return 'refused';
end $$;
select is(pg_temp.writes('rbt', 9), 'refused', 'nor is it written for the day before');
select is(pg_temp.writes('rbt', 10), 'written', 'but for the day of the promotion');
select is(pg_temp.writes('bcba', -80), 'refused', 'nor for a day on which a BCBA of today was a technician');
select is(pg_temp.writes('bcba', -79), 'written', 'but for the day after');

-- A move takes the service to its new day.
select is(tests.hold('rbt', tests.request('rbt', 'ann', tests.at(7), 60, jsonb_build_object('session_id', (
    select id from public.sessions where client_id = tests.id('ann') and start_time = tests.at(13, '16:00'))))) ->> 'code',
  'FORBIDDEN', 'it does not move to a day before');
select is(tests.hold('rbt', tests.request('rbt', 'ann', tests.at(14), 60, jsonb_build_object('session_id', (
    select id from public.sessions where client_id = tests.id('ann') and start_time = tests.at(13, '16:00'))))) ->> 'ok',
  'true', 'but to one after');

-- A level that is entered counts from the clinic's day on, wherever UTC's may be; corrected on that day it is the corrected one.
update public.organizations set time_zone = case
  when (now() at time zone 'Pacific/Kiritimati')::date <> (now() at time zone 'UTC')::date then 'Pacific/Kiritimati' else 'Pacific/Pago_Pago'
end where id = tests.id('clinic');
create function pg_temp.level(days integer) returns text language sql as $$
  select private.credential_on(tests.id('clinic'), tests.id('rbt2'), (now() at time zone time_zone)::date + days) from public.organizations where id = tests.id('clinic') $$;
update public.therapists set credential = 'BCBA' where organization_id = tests.id('clinic') and id = tests.id('rbt2');
select is(array[pg_temp.level(-1), pg_temp.level(0), pg_temp.level(1)], '{RBT,BCBA,BCBA}', 'a new level counts from today on');
update public.therapists set credential = 'BCaBA' where organization_id = tests.id('clinic') and id = tests.id('rbt2');
select is(array[pg_temp.level(-1), pg_temp.level(0), pg_temp.level(1)], '{RBT,BCaBA,BCaBA}', 'what is corrected on the same day is corrected for it');

select * from finish();
rollback;
