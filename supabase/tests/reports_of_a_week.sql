-- What reports count once, and on whose side a cancellation is.
begin;
select plan(13);
select tests.open_clinic();
update public.organizations set time_zone = 'UTC' where id = tests.id('clinic');
update public.therapists set time_zone = 'UTC' where organization_id = tests.id('clinic');

create function pg_temp.hours(what text) returns text language plpgsql as $$
declare
  found text;
begin
  execute format('select %I::text from reports.therapist_utilization where therapist_id = %L and tests.at(1) >= week_start and tests.at(1) < week_start + 7', what, tests.id('rbt')) into found;
  return found;
end $$;

insert into public.session_groups (organization_id, id, therapist_id, start_time, end_time) values (tests.id('clinic'), tests.id('group'), tests.id('rbt'), tests.at(1), tests.at(1, '12:00'));
insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code, group_id)
select tests.id('clinic'), tests.id('rbt'), tests.id(client), tests.at(1), tests.at(1, '12:00'), 'UTC', '97154', tests.id('group') from unnest(array['ann', 'ben', 'cat']) as client;
select is(pg_temp.hours('booked_hours'), '2.00', 'a group of three is two hours of its therapist''s, not six');

select tests.call('admin', format('select public.add_staff_time(%L)', jsonb_build_object('kind', 'meeting', 'therapist_ids', jsonb_build_array(tests.id('rbt')), 'time_zone', 'UTC',
  'start_time', tests.at(1, clock), 'end_time', tests.at(1, clock) + interval '90 minutes'))) from unnest(array['13:00', '15:00']) as clock;
select is(pg_temp.hours('non_billable_hours'), '3.00', 'two meetings are time that is not billed');
select tests.call('admin', format('select public.cancel_staff_time(%L)', jsonb_build_object('staff_time_id', id))) from public.staff_times where start_time = tests.at(1, '15:00');
select is(pg_temp.hours('non_billable_hours'), '1.50', 'one that is cancelled is none');

-- Seven mornings of four hours. One of them the clinic is closed, and the therapist was away for an hour of it anyway.
update public.therapists set availability_hours = (
  select jsonb_object_agg(day, '[{"start": "08:00", "end": "12:00"}]'::jsonb)
  from unnest(array['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday']) as day
) where id = tests.id('rbt');
insert into public.availability_exceptions (organization_id, therapist_id, kind, starts_at, ends_at)
values (tests.id('clinic'), tests.id('rbt'), 'time_off', tests.at(1, '11:00'), tests.at(1, '13:00'));
insert into public.organization_closures (organization_id, name, starts_at, ends_at)
values (tests.id('clinic'), 'Snow', tests.at(1, '00:00'), tests.at(2, '00:00'));
select is(pg_temp.hours('available_hours'), '24.00', 'while the clinic is closed nobody works');

-- A therapist who lives a day ahead or behind works the hours of the clinic's week, and time off lessens the week it is in:
-- Monday morning in Auckland is Sunday of the week before at a clinic on the other side of the date line.
create function pg_temp.mornings_of(clinic_zone text, therapist_zone text, weekday text) returns numeric[] language plpgsql as $$
declare
  monday constant date := date_trunc('week', tests.at(14) at time zone clinic_zone)::date;
  morning timestamptz;
begin
  update public.organizations set time_zone = clinic_zone where id = tests.id('other clinic');
  update public.therapists set time_zone = therapist_zone, availability_hours = jsonb_build_object(weekday, '[{"start": "08:00", "end": "12:00"}]'::jsonb)
  where organization_id = tests.id('other clinic') and id = tests.id('other rbt');
  delete from public.availability_exceptions where organization_id = tests.id('other clinic');
  select (day.at::date + time '08:00') at time zone therapist_zone into morning
  from generate_series(monday - 3, monday + 9, interval '1 day') as day (at)
  where trim(lower(to_char(day.at, 'day'))) = weekday
    and ((day.at::date + time '08:00') at time zone therapist_zone at time zone clinic_zone)::date between monday and monday + 6;
  insert into public.availability_exceptions (organization_id, therapist_id, kind, starts_at, ends_at)
  values (tests.id('other clinic'), tests.id('other rbt'), 'time_off', morning, morning + interval '3 hours');
  return array(
    select available_hours from reports.therapist_utilization
    where organization_id = tests.id('other clinic') and therapist_id = tests.id('other rbt')
      and week_start between monday - 7 and monday + 7 order by week_start
  );
end $$;
select tests.open_clinic('other ');
-- Weeks are listed from the first session of the clinic to its last.
insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone)
select tests.id('other clinic'), tests.id('other bcba'), tests.id('other ann'), tests.at(day), tests.at(day, '11:00'), 'UTC' from unnest(array[1, 28]) as day;
select is(pg_temp.mornings_of('America/Los_Angeles', 'Pacific/Auckland', 'monday'), array[4, 1, 4]::numeric[], 'time off on a Monday that is the clinic''s Sunday');
select is(pg_temp.mornings_of('Pacific/Kiritimati', 'Pacific/Pago_Pago', 'sunday'), array[4, 1, 4]::numeric[], 'time off on a Sunday that is the clinic''s Monday');

-- On whose side a session was cancelled, and with how much notice.
create temporary table gone on commit drop as
select who, side, tests.book('admin', 'rbt', 'ann', tests.at(day, clock)) as id
from (values ('rbt', 'staff', 3, '10:00'), ('admin', 'staff', 4, '10:00'), ('admin', 'client', 5, '10:00'), ('admin', 'unknown', 6, '10:00')) as by (who, side, day, clock);
select tests.cancel(who, jsonb_build_object('session_ids', array[id], 'cancellation_attribution', side)) from gone;
select is((select array_agg(cancelled_for order by start_time) from reports.cancellations join gone on gone.id = session_id), '{therapist,clinic,client,unknown}',
  'the therapist''s own, the clinic''s, the client''s, and nobody knows whose');
select is((select bool_and(notice_hours = round((extract(epoch from report.start_time - report.cancelled_at) / 3600)::numeric, 1)) from reports.cancellations as report), true, 'notice is until the start');

-- A hold that ran out counts as expired before anybody sweeps.
select tests.expire(tests.hold('rbt', tests.request('rbt', 'ben', tests.at(20))));
select tests.hold('rbt', tests.request('rbt', 'ben', tests.at(21)));
select is((select array[expired, live] from reports.hold_funnel where organization_id = tests.id('clinic') order by day desc limit 1), array[1, 1], 'one has expired, unswept, and one lives');
select is_empty('select * from tests.broken_claims()', 'the claims are sound');

-- The hours that can be worked are those that can be booked, also while clocks change.
update public.organizations set time_zone = 'America/Los_Angeles' where id = tests.id('clinic');
update public.therapists set time_zone = 'America/Los_Angeles', availability_hours = '{"sunday": [{"start": "01:00", "end": "01:45"}, {"start": "02:30", "end": "04:00"}]}'
where organization_id = tests.id('clinic') and id = tests.id('rbt');
insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone)
select tests.id('clinic'), tests.id('rbt2'), tests.id('ann'), day + time '12:00', day + time '13:00', 'UTC'
from unnest(array['2031-03-09', '2031-11-02', '2031-07-06']::date[]) as day;
select is((select available_hours from reports.therapist_utilization where therapist_id = tests.id('rbt') and sunday between week_start and week_start + 6), hours, format('%s: %s', sunday, title))
from (values
  (date '2031-07-06', 2.25, 'a Sunday as any other'), ('2031-11-02', 3.00, 'an hour that comes twice is worked twice'), ('2031-03-09', 1.75, 'one that clocks skip is not')
) as day (sunday, hours, title);

select * from finish();
rollback;
