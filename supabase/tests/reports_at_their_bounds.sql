-- Where a report begins and ends: months, weeks and days of the clinic's clocks, what is over and what is not, whose is whose.
begin;
select plan(38);
select tests.open_clinic();
select tests.open_clinic('other ');
select tests.add_payers();
select tests.prove_rows();

create function pg_temp.see(person text, query text) returns jsonb language sql as $$
  select tests.call(person, format('select coalesce(jsonb_agg(to_jsonb(report)), %L) from (%s) as report', '[]', query)) $$;
-- A session as history may have left it, at a time of the clinic's clocks.
create function pg_temp.session(name text, therapist text, client text, starts timestamp, status text default 'completed', minutes integer default 60) returns void language plpgsql as $$
begin
  alter table public.sessions disable trigger user;
  insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, civil_start, cpt_code, cpt_modifiers, status, location_type)
  values (tests.id('clinic'), tests.id(name), tests.id(therapist), tests.id(client), starts at time zone 'America/Los_Angeles',
    starts at time zone 'America/Los_Angeles' + make_interval(mins => minutes), 'America/Los_Angeles', starts, '97153', '{}', status::public.session_status, 'clinic');
  alter table public.sessions enable trigger user;
end $$;

-- Midnight of the clinic parts months and weeks: a minute before and the instant itself, on Thursday and on Sunday.
select pg_temp.session('last of April', 'rbt', 'ann', '2026-04-30 23:00', minutes => 30), pg_temp.session('first of May', 'rbt', 'ann', '2026-05-01 00:00', minutes => 30),
  pg_temp.session('last of May', 'rbt', 'ann', '2026-05-31 23:00', minutes => 30), pg_temp.session('first of June', 'rbt2', 'ben', '2026-06-01 00:00');
select is(pg_temp.see('admin', 'select therapist_name, month, booked from reports.attendance order by month, therapist_name'),
  '[{"therapist_name": "rbt", "month": "2026-04-01", "booked": 1}, {"therapist_name": "rbt", "month": "2026-05-01", "booked": 2}, {"therapist_name": "rbt2", "month": "2026-06-01", "booked": 1}]',
  'each session counts in one month, from midnight on');
select is(pg_temp.see('admin', 'select min(month) as first, max(month) as last, count(*) from reports.months'), '[{"first": "2026-04-01", "last": "2026-06-01", "count": 3}]', 'from the first to the last');
select is(pg_temp.see('admin', $$ select starts_at = '2026-05-01T07:00Z' and ends_at = '2026-06-01T07:00Z' as is_so from reports.months where month = '2026-05-01' $$), '[{"is_so": true}]', 'as long as the clinic''s clocks have it');
select is(pg_temp.see('admin', $$ select starts_at = '2026-04-27T07:00Z' and ends_at = '2026-05-04T07:00Z' as is_so from reports.weeks where week_start = '2026-04-27' $$), '[{"is_so": true}]', 'so are weeks');
select is(pg_temp.see('admin', $$ select week_start, sum(attended_hours) as hours from reports.therapist_utilization where attended_hours > 0 group by 1 order by 1 $$),
  '[{"week_start": "2026-04-27", "hours": 1.00}, {"week_start": "2026-05-25", "hours": 0.50}, {"week_start": "2026-06-01", "hours": 1.00}]', 'each session in one of them');
select is(pg_temp.see('admin', 'select distinct session_id from reports.billable_visits')::text like '%' || tests.id(name) || '%', true, format('the %s is billed', name))
from unnest(array['last of April', 'first of May', 'last of May', 'first of June']) as name;
select is(pg_temp.see('admin', 'select session_id, count(*) from reports.billable_visits group by 1 having count(*) > 1'), '[]', 'once');
select is(pg_temp.see('admin', 'select distinct therapist_name, client_reference from reports.billable_visits order by 1'),
  '[{"therapist_name": "rbt", "client_reference": "ann"}, {"therapist_name": "rbt2", "client_reference": "ben"}]', 'by whom and for whom');

-- Who cancelled, and how late.
select pg_temp.session(name, 'bcba', 'ben', '2026-05-12 10:00'::timestamp + day * interval '1 day', 'cancelled')
from (values ('own', 0), ('by another', 1), ('by nobody known', 2), ('just in time', 3), ('late', 4)) as gone (name, day);
insert into public.session_cancellations (organization_id, session_id, attribution, cancelled_at, cancelled_by)
select session.organization_id, session.id, 'staff', session.start_time - gone.notice, gone.actor
from (values
  ('own', interval '3 days', tests.id('bcba')), ('by another', '3 days', tests.id('admin')), ('by nobody known', '3 days', null),
  ('just in time', '24 hours', tests.id('admin')), ('late', '23 hours 59 minutes', tests.id('admin'))
) as gone (name, notice, actor)
join public.sessions as session on session.id = tests.id(gone.name);
select is(pg_temp.see('admin', $$ select cancelled, cancelled_by_therapist, cancelled_by_clinic, cancelled_late from reports.attendance where therapist_name = 'bcba' and month = '2026-05-01' $$),
  '[{"cancelled": 5, "cancelled_by_therapist": 1, "cancelled_by_clinic": 4, "cancelled_late": 1}]', 'what nobody is known to have cancelled was the clinic; a day before is in time');

-- Where midnight comes twice, months and days begin at the first: Havana, 1 November 2026.
update public.organizations set time_zone = 'America/Havana' where id = tests.id('clinic');
insert into public.clients (organization_id, id, reference) values (tests.id('clinic'), tests.id('night owl'), 'owl');
select pg_temp.session('at the first midnight', 'bcba', 'night owl', timestamptz '2026-11-01 04:15Z' at time zone 'America/Los_Angeles', minutes => 30);
select is(pg_temp.see('admin', $$select month, booked from reports.attendance where therapist_name = 'bcba' and month > '2026-06-01' and month < '2026-12-01'$$),
  '[{"month": "2026-11-01", "booked": 1}]', 'a session after the first midnight is of the new month');
select is((select starts_at from reports.months where organization_id = tests.id('clinic') and month = '2026-11-01'), timestamptz '2026-11-01 04:00Z', 'which begins at it');
select is((select ends_at from reports.months where organization_id = tests.id('clinic') and month = '2026-10-01'), timestamptz '2026-11-01 04:00Z', 'where the month before it ends');
update public.organizations set time_zone = 'America/Los_Angeles' where id = tests.id('clinic');

-- Booked twice: what is, and what only looks so.
select is(pg_temp.see('admin', 'select 1 from reports.double_bookings'), '[]', 'nobody is booked twice');
select tests.book('rbt', 'rbt', 'ann', tests.at(1));
alter table public.sessions drop constraint sessions_no_therapist_overlap;
alter table public.sessions disable trigger user;
insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, cpt_modifiers, status)
select tests.id('clinic'), tests.id('twice ' || status), tests.id('rbt'), tests.id('dan'), tests.at(1, starts), tests.at(1, starts) + interval '1 hour', 'UTC', '{}', status::public.session_status
from (values ('cancelled', '09:30'), ('no_show', '10:30')) as other (status, starts);
select is(pg_temp.see('admin', 'select 1 from reports.double_bookings'), '[]', 'nor beside what was cancelled or missed, be it before or after');
update public.sessions set status = 'scheduled' where id = tests.id('twice cancelled');
select is(pg_temp.see('admin', 'select session_id, other_session_id from reports.double_bookings'),
  (select jsonb_build_array(jsonb_build_object('session_id', tests.id('twice cancelled'), 'other_session_id', id)) from public.sessions where client_id = tests.id('ann') and start_time = tests.at(1)),
  'two at once are told once, the earlier first');
update public.sessions set status = 'cancelled' where id = tests.id('twice cancelled');
alter table public.sessions enable trigger user;
alter table public.staff_times disable trigger user;
alter table public.staff_time_members disable trigger user;
insert into public.staff_times (organization_id, id, kind, start_time, end_time, time_zone, cancelled_at)
values (tests.id('clinic'), tests.id('meeting'), 'meeting', tests.at(1, '10:15'), tests.at(1, '10:45'), 'UTC', now());
insert into public.staff_time_members (organization_id, staff_time_id, therapist_id) values (tests.id('clinic'), tests.id('meeting'), tests.id('rbt'));
select is(pg_temp.see('admin', 'select 1 from reports.double_bookings'), '[]', 'a cancelled meeting takes nobody''s time');
update public.staff_times set cancelled_at = null where id = tests.id('meeting');
select is(jsonb_array_length(pg_temp.see('admin', 'select 1 from reports.double_bookings')), 1, 'any other does');
delete from public.staff_time_members where staff_time_id = tests.id('meeting');
alter table public.staff_times enable trigger user;
alter table public.staff_time_members enable trigger user;

-- Whose record.
select tests.hold('rbt2', tests.request('rbt2', 'ben', tests.at(4)));
select tests.book('rbt2', 'rbt2', 'ben', tests.at(5));
select is((select array_agg(distinct record_id order by record_id) from reports.client_record_access where client_id = tests.id('ann')),
  (select array_agg(id order by id) from (select id from public.sessions where client_id = tests.id('ann') and start_time = tests.at(1) union select tests.id('ann')) as own (id)),
  'a client''s record has their events, and no other''s');
-- A view asks for the keys of events, as reports do: nobody names the function itself.
do $$ begin execute format(
  'create temporary view found with (security_invoker = true) as select asked.clinic, event.id from (values (%L, %L::uuid), (%L, %L)) as asked (clinic, id), private.events_of(asked.id, %L::uuid[]) as event',
  '', tests.id('clinic'), 'other ', tests.id('other clinic'), array[tests.id('ann'), tests.id('other ann')]);
end $$;
grant select on found to public;
create function pg_temp.found(person text, clinic text) returns bigint language sql as $$
  select (tests.call(person, format('select to_jsonb(count(*)) from pg_temp.found where clinic = %L', clinic)))::text::bigint $$;
select cmp_ok(pg_temp.found('admin', ''), '>', 0::bigint, 'an admin finds the events of their clinic');
select is(pg_temp.found(person, clinic), 0::bigint, format('%s finds none of the %sclinic', person, clinic))
from (values ('admin', 'other '), ('other admin', ''), ('rbt', ''), ('parent', '')) as reader (person, clinic);

-- A day of holds is the clinic's, and what lives has not expired.
update public.organizations set time_zone = case
  when (now() at time zone 'Pacific/Kiritimati')::date <> (now() at time zone 'UTC')::date then 'Pacific/Kiritimati' else 'Pacific/Pago_Pago'
end where id = tests.id('clinic');
create temporary table local on commit drop as select time_zone, (now() at time zone time_zone)::date as today from public.organizations where id = tests.id('clinic');
grant select on local to public;
select is((select bool_and(day = today) from reports.hold_funnel, local where organization_id = tests.id('clinic')), true, 'what was held today was held today');
select is((select array[sum(held), sum(confirmed), sum(live), sum(expired)] from reports.hold_funnel where organization_id = tests.id('clinic')), array[3, 2, 1, 0]::bigint[], 'three holds: two confirmed, one alive');
alter table public.hold_batches disable trigger user;
update public.hold_batches set created_at = ((local.today + time '00:00') at time zone local.time_zone) - interval '1 second' from local where organization_id = tests.id('clinic') and therapist_id = tests.id('rbt');
alter table public.hold_batches enable trigger user;
select is((select array_agg(day - today order by day) from reports.hold_funnel, local where organization_id = tests.id('clinic') and held > 0), array[-1, 0], 'what was held a second before midnight was held yesterday');

-- What waits for billing is over. What goes on, and what is held, is not.
select pg_temp.session('going on', 'bcba', 'cat', (now() - interval '30 minutes') at time zone 'America/Los_Angeles', 'in_progress');
select pg_temp.session('over', 'bcba', 'cat', (now() - interval '90 minutes') at time zone 'America/Los_Angeles', 'scheduled');
select is(pg_temp.see('admin', format('select session_id from reports.unbilled where session_id in (%L, %L)', tests.id('going on'), tests.id('over'))),
  jsonb_build_array(jsonb_build_object('session_id', tests.id('over'))), 'what is over and not completed is unbilled, what goes on is not');
alter table public.authorization_units disable trigger user;
insert into public.authorization_units (organization_id, owner_id, client_id, therapist_id, cpt_code, service_date, total_units, units, state, expires_at)
select tests.id('clinic'), tests.id('beyond ' || state), tests.id('cat'), tests.id('bcba'), '97153', current_date, 4, 0, state::public.unit_state, case state when 'held' then now() + interval '5 minutes' end
from unnest(array['held', 'scheduled', 'used']) as state;
select is(pg_temp.see('admin', 'select state from reports.services_beyond_authorization order by state'), '[{"state": "scheduled"}, {"state": "used"}]', 'what is held only is beyond no authorization yet');
delete from public.authorization_units where owner_id in (tests.id('beyond held'), tests.id('beyond scheduled'), tests.id('beyond used'));

-- An authorization is listed until its last day, and an alert comes on its day.
alter table public.authorizations disable trigger user;
create temporary table day on commit drop as select private.service_date(tests.id('clinic'), null, now()) as today;
grant select on day to public;
insert into public.authorizations (organization_id, id, client_id, payer_id, approved_units, starts_on, ends_on)
select tests.id('clinic'), tests.id('ends in ' || days), tests.id('ann'), tests.id('open'), 40, today - 100, today + days from day, unnest(array[-1, 0, 14, 15, 60, 61]) as days;
select is(pg_temp.see('admin', 'select days_to_end, alert_days from reports.authorization_pace order by 1'),
  '[{"days_to_end": 0, "alert_days": 14}, {"days_to_end": 14, "alert_days": 14}, {"days_to_end": 15, "alert_days": 30}, {"days_to_end": 60, "alert_days": 60}, {"days_to_end": 61, "alert_days": null}]',
  'from sixty days before to the last day itself');
insert into public.authorization_units (organization_id, owner_id, client_id, therapist_id, cpt_code, service_date, authorization_id, total_units, units, state, expires_at)
select tests.id('clinic'), gen_random_uuid(), tests.id('ann'), tests.id('bcba'), '97153', today, tests.id('ends in 60'), units, units, state::public.unit_state, now() + ends_in
from day, (values ('held', 3, interval '5 minutes'), ('held', 5, '-1 second'), ('scheduled', 7, null), ('used', 11, null)) as entry (state, units, ends_in);
select is(pg_temp.see('admin', format('select used_units, scheduled_units, held_units, left_units, taken_percent from reports.authorization_balances where authorization_id = %L', tests.id('ends in 60'))),
  '[{"used_units": 11, "scheduled_units": 7, "held_units": 3, "left_units": 19, "taken_percent": 52.5}]', 'what is held is not left, until it expires');

-- What a month of supervision still needs.
create temporary table month on commit drop as select date_trunc('month', (now() at time zone time_zone))::date as first, (now() at time zone time_zone)::date as today from public.organizations where id = tests.id('clinic');
select pg_temp.session('ten hours', 'rbt', 'cat', now() at time zone 'America/Los_Angeles', 'scheduled', 600);
select is(pg_temp.see('admin', $$ select booked_hours, hours_needed, contacts_needed, days_left from reports.supervision_needed where therapist_name = 'rbt' $$),
  jsonb_build_array(jsonb_build_object('booked_hours', 10.00, 'hours_needed', 0.50, 'contacts_needed', 2, 'days_left', (first + interval '1 month')::date - today - 1)),
  'of what is booked, too, until the last day of the month') from month;
update public.therapists set deleted_at = now() where organization_id = tests.id('clinic') and id = tests.id('rbt');
select is(pg_temp.see('admin', $$ select 1 from reports.supervision_needed where therapist_name = 'rbt' $$), '[]', 'and of nobody who has left');
update public.therapists set deleted_at = null where organization_id = tests.id('clinic') and id = tests.id('rbt');

-- A visit that ends early is off its booking as one that ends late is.
select pg_temp.session('cut short', 'rbt2', 'cat', '2026-05-20 10:00');
alter table public.session_visits disable trigger user;
insert into public.session_visits (organization_id, session_id, actual_start_time, actual_end_time, units)
select organization_id, id, start_time, end_time - interval '16 minutes', 3 from public.sessions where id = tests.id('cut short');
select is(pg_temp.see('admin', format('select detail from reports.visit_problems where session_id = %L and problem = %L', tests.id('cut short'), 'off_the_booking')),
  '[{"detail": "began 0 and ended -16 minutes after it was booked for"}]', 'sixteen minutes early are told');
update public.session_visits set actual_end_time = actual_end_time + interval '1 minute' where session_id = tests.id('cut short');
select is(pg_temp.see('admin', format('select detail from reports.visit_problems where session_id = %L and problem = %L', tests.id('cut short'), 'off_the_booking')), '[]', 'fifteen are not');

-- A code ends on the client's day.
insert into public.service_codes (organization_id, code, description, levels, valid_from) values (tests.id('clinic'), 'H2019', 'Skills', '{technician,qhp}', '2020-01-01');
update public.organizations set time_zone = 'Pacific/Pago_Pago' where id = tests.id('clinic');
insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code)
values (tests.id('clinic'), tests.id('last day'), tests.id('bcba'), tests.id('dan'), tests.at(20, '05:00'), tests.at(20, '06:00'), 'UTC', 'H2019'),
  (tests.id('clinic'), tests.id('day after'), tests.id('bcba'), tests.id('dan'), tests.at(20, '12:00'), tests.at(20, '13:00'), 'UTC', 'H2019');
update public.service_codes set valid_to = tests.at(19)::date where organization_id = tests.id('clinic') and code = 'H2019';
select is(pg_temp.see('admin', $$ select session_id from reports.schedule_problems where problem = 'code_ended' $$), jsonb_build_array(jsonb_build_object('session_id', tests.id('day after'))),
  'five o''clock of UTC is the evening before in Pago Pago');

select * from finish();
rollback;
