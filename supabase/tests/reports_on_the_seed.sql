-- Each report says of the seed what is known of it, and shows a reader no other clinic. What the seed's past weeks hold
-- does not depend on the day: four weeks, three days each, one no-show and one cancellation a therapist.
begin;
select plan(60);
select tests.open_clinic();

-- A seeded person's view of a report: its rows as JSON.
create function pg_temp.see(email text, query text) returns jsonb language sql as $$
  select tests.call('super', format('select coalesce(jsonb_agg(to_jsonb(report)), %L) from (%s) as report', '[]', query),
    (select jsonb_build_object('sub', member.user_id, 'org_id', member.organization_id, 'user_role', member.role)
      from public.memberships as member join auth.users as person on person.id = member.user_id where person.email = see.email))
$$;
create temporary table past on commit drop as
-- From the seed's own week: Monday may have come since it was written, or be in one clinic's zone already.
select
  date_trunc('week', min(start_time) filter (where id::text like 'a%') at time zone 'America/Los_Angeles')::date - 28 as monday,
  date_trunc('week', min(start_time) filter (where id::text like 'b%') at time zone 'America/New_York')::date - 28 as harbors
from public.sessions where id::text like '%-9200-%';
grant select on past to public;
-- What became of this week's sessions depends on the day this runs, so they are counted and taken off.
create temporary table this_week on commit drop as
select therapist.display_name as therapist_name, session.status, session.cpt_code,
  extract(epoch from session.end_time - session.start_time) / 3600 as hours, session.group_key, session.organization_id,
  date_trunc('month', session.start_time at time zone organization.time_zone)::date as month
from public.sessions as session
join public.organizations as organization on organization.id = session.organization_id
join public.therapists as therapist on therapist.id = session.therapist_id
where session.id::text like '%-9200-%';
grant select on this_week to public;

-- Utilization
select is(
  pg_temp.see('admin@brightpath.test', $$
    select therapist_name, sum(available_hours) as available, sum(booked_hours) as booked, sum(attended_hours) as attended
    from reports.therapist_utilization, past
    where week_start >= past.monday and week_start < past.monday + 28
    group by therapist_name order by therapist_name$$),
  '[{"therapist_name": "Avery Bell", "available": 200.00, "booked": 28.00, "attended": 28.00},
    {"therapist_name": "Jordan Reyes", "available": 200.00, "booked": 36.00, "attended": 36.00},
    {"therapist_name": "Robin Tate", "available": 200.00, "booked": 24.00, "attended": 24.00}]',
  'four weeks of fifty hours, as far as they were booked'
);
select is(
  pg_temp.see('admin@brightpath.test', $$
    select utilization_percent from reports.therapist_utilization, past
    where week_start = past.monday and therapist_name = 'Jordan Reyes'$$),
  '[{"utilization_percent": 20.0}]', 'ten hours of fifty are 20 %'
);
insert into public.availability_exceptions (organization_id, therapist_id, kind, starts_at, ends_at)
select therapist.organization_id, therapist.id, item.kind::public.availability_exception_kind,
  (past.monday + item.day + item.starts) at time zone therapist.time_zone, (past.monday + item.day + item.ends) at time zone therapist.time_zone
from public.therapists as therapist, past,
  (values ('time_off', 0, time '00:00', time '24:00'), ('extra_hours', 5, '09:00', '13:00')) as item (kind, day, starts, ends)
where therapist.display_name = 'Jordan Reyes';
select is(
  pg_temp.see('admin@brightpath.test', $$
    select available_hours from reports.therapist_utilization, past where week_start = past.monday and therapist_name = 'Jordan Reyes'$$),
  '[{"available_hours": 44.00}]', 'time off and extra hours count'
);

-- Attendance
select is(
  pg_temp.see('admin@harbor.test', $$
    select therapist_name, sum(booked) as booked, sum(attended) - (
        select count(*) from this_week
        where this_week.therapist_name = attendance.therapist_name and status = 'completed'
          and this_week.month <= (select harbors from past) + 27
      ) as attended, sum(no_shows) as no_shows, sum(cancelled) as cancelled,
      sum(cancelled_by_client) as by_client, sum(cancelled_by_therapist) as by_therapist, sum(cancelled_late) as late
    from reports.attendance
    where month <= (select harbors from past) + 27
    group by therapist_name having sum(booked) > 0 order by therapist_name$$) #- '{0,booked}' #- '{1,booked}',
  '[{"therapist_name": "Casey Lind", "attended": 14, "no_shows": 1, "cancelled": 1, "by_client": 1, "by_therapist": 0, "late": 1},
    {"therapist_name": "Morgan Shaw", "attended": 10, "no_shows": 1, "cancelled": 1, "by_client": 1, "by_therapist": 0, "late": 1}]',
  'of what was booked, what was attended, missed and cancelled, and by whom'
);
select is(
  pg_temp.see('admin@brightpath.test', $$
    select cancelled_for, notice_hours, reason from reports.cancellations, past
    where start_time < past.monday + 28 and therapist_id = 'a0000000-0000-4000-8000-000000000004'$$),
  '[{"cancelled_for": "client", "notice_hours": 20.0, "reason": "Family asked to cancel"}]',
  'each cancellation, with its notice'
);
select is(
  (select pg_temp.see('admin@brightpath.test', $$
    select sum(due)::integer - (
        select count(*) from this_week where organization_id::text like 'a%' and status in ('completed', 'no_show')
      ) as due,
      sum(no_shows)::integer - (
        select count(*) from this_week where organization_id::text like 'a%' and status = 'no_show'
      ) as no_shows
    from reports.no_show_rates$$)),
  '[{"due": 51, "no_shows": 3}]', 'three of fifty-one sessions were missed'
);

-- Proofs
select is(pg_temp.see('admin@brightpath.test', 'select * from reports.double_bookings'), '[]', 'nobody is booked twice');
select is(pg_temp.see('admin@harbor.test', 'select * from reports.double_bookings'), '[]', 'in neither clinic');
alter table public.sessions drop constraint sessions_no_therapist_overlap;
alter table public.sessions disable trigger c_settle_inserted;
insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone)
select organization_id, therapist_id, client_id, start_time + interval '30 minutes', end_time, time_zone
from public.sessions where id = 'a0000000-0000-4000-9000-000400000000';
alter table public.sessions enable trigger c_settle_inserted;
select is(
  pg_temp.see('admin@brightpath.test', 'select resource, overlap_end - overlap_start as overlap from reports.double_bookings order by resource'),
  '[{"resource": "client", "overlap": "01:30:00"}, {"resource": "therapist", "overlap": "01:30:00"}]',
  'and if somebody were, it would be here'
);

insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone)
values ('a0000000-0000-4000-8000-0000000000a0', tests.id('autumn night'), 'a0000000-0000-4000-8000-000000000004',
  'a0000000-0000-4000-8000-000000000101', '2025-11-02T00:30-07:00', '2025-11-02T02:30-08:00', 'America/Los_Angeles');
select is(
  pg_temp.see('admin@brightpath.test', 'select local_start, local_end, elapsed_minutes, clock_minutes from reports.clock_change_sessions'),
  '[{"local_start": "2025-11-02T00:30:00", "local_end": "2025-11-02T02:30:00", "elapsed_minutes": 180, "clock_minutes": 120}]',
  'the night clocks go back, two hours on the wall are three'
);

-- Authorizations and units
select is(
  pg_temp.see('admin@brightpath.test', $$
    select client_reference, payer_name, cpt_codes, approved_units, used_units, scheduled_units, held_units, left_units, taken_percent
    from reports.authorization_balances order by client_reference, cpt_codes$$),
  '[{"client_reference": "BP-0007", "payer_name": "TRICARE", "cpt_codes": ["97153"], "approved_units": 160, "used_units": 32, "scheduled_units": 16, "held_units": 0, "left_units": 112, "taken_percent": 30.0},
    {"client_reference": "BP-0007", "payer_name": "TRICARE", "cpt_codes": ["97155"], "approved_units": 24, "used_units": 16, "scheduled_units": 8, "held_units": 0, "left_units": 0, "taken_percent": 100.0},
    {"client_reference": "BP-0008", "payer_name": "Example Commercial Plan", "cpt_codes": ["97153"], "approved_units": 640, "used_units": 32, "scheduled_units": 16, "held_units": 0, "left_units": 592, "taken_percent": 7.5},
    {"client_reference": "BP-0008", "payer_name": "Example Commercial Plan", "cpt_codes": ["97155"], "approved_units": 80, "used_units": 16, "scheduled_units": 8, "held_units": 0, "left_units": 56, "taken_percent": 30.0},
    {"client_reference": "BP-0009", "payer_name": "Example Commercial Plan", "cpt_codes": ["97153"], "approved_units": 25, "used_units": 16, "scheduled_units": 7, "held_units": 0, "left_units": 2, "taken_percent": 92.0}]',
  'what each authorization has used, scheduled, held and left'
);
select is(
  pg_temp.see('rbt2@brightpath.test', 'select client_reference from reports.authorization_balances group by 1 order by 1'),
  '[{"client_reference": "BP-0007"}, {"client_reference": "BP-0008"}]', 'a therapist sees their caseload''s'
);
select is(
  pg_temp.see('rbt@brightpath.test', 'select client_reference from reports.authorization_balances'),
  '[{"client_reference": "BP-0009"}]', 'and no others');
select is(
  pg_temp.see('admin@brightpath.test', $$
    select payer_name, cpt_code, sum(sessions) as sessions, sum(units) as units from reports.units_by_code_and_payer
    where payer_name is not null group by 1, 2 order by 1, 2$$),
  '[{"payer_name": "Example Commercial Plan", "cpt_code": "97153", "sessions": 6, "units": 48},
    {"payer_name": "Example Commercial Plan", "cpt_code": "97155", "sessions": 4, "units": 16},
    {"payer_name": "TRICARE", "cpt_code": "97153", "sessions": 4, "units": 32},
    {"payer_name": "TRICARE", "cpt_code": "97155", "sessions": 4, "units": 16}]',
  'units to be billed, by payer and code'
);
select is(pg_temp.see('admin@brightpath.test', 'select * from reports.services_beyond_authorization'), '[]', 'nothing is beyond an authorization');

-- Each payer's rounding, also pooled: 7 minutes each of two codes are one unit
update public.payer_rules as rule set rounding = 'cms_pooled', authorization_required = false
from public.payers as payer where payer.id = rule.payer_id and payer.name = 'Example Medicaid Program'
  and payer.organization_id = 'b0000000-0000-4000-8000-0000000000b0';
insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code)
select 'b0000000-0000-4000-8000-0000000000b0', 'b0000000-0000-4000-8000-000000000003', 'b0000000-0000-4000-8000-000000000105',
  '2024-03-05T15:00Z'::timestamptz + make_interval(mins => start), '2024-03-05T15:07Z'::timestamptz + make_interval(mins => start),
  'America/New_York', code
from (values (0, '97155'), (10, '97156')) as visit (start, code);
update public.sessions set status = 'in_progress' where start_time between '2024-03-05' and '2024-03-06';
update public.sessions set status = 'completed' where start_time between '2024-03-05' and '2024-03-06';
select is(
  pg_temp.see('admin@harbor.test', $$
    select cpt_code, minutes, units from reports.units_by_code_and_payer where month = '2024-03-01' order by cpt_code$$),
  '[{"cpt_code": "97155", "units": 1, "minutes": 7}, {"cpt_code": "97156", "units": 0, "minutes": 7}]',
  'a payer that pools the day gets its day pooled'
);

-- Supervision
select is(
  pg_temp.see('admin@brightpath.test', $$
    select therapist_name, sum(direct_hours) - coalesce((
        select sum(hours) from this_week where this_week.therapist_name = share.therapist_name and status = 'completed'
      ), 0) as direct, sum(supervised_hours) as supervised, sum(contacts) as contacts,
      sum(individual_contacts) as individual
    from reports.supervision_share as share group by 1 order by 1$$),
  '[{"therapist_name": "Jordan Reyes", "direct": 36.00, "supervised": 4.00, "contacts": 4, "individual": 4},
    {"therapist_name": "Robin Tate", "direct": 24.00, "supervised": 0.00, "contacts": 0, "individual": 0}]',
  'four hours of a BCBA beside one technician, none beside the other'
);
select is(
  pg_temp.see('admin@brightpath.test', $$select distinct is_sufficient from reports.supervision_share where therapist_name = 'Robin Tate'$$),
  '[{"is_sufficient": false}]', 'which is not enough'
);

-- What is not yet ready for a claim
select is(
  pg_temp.see('admin@brightpath.test', $$
    select problem, count(*) - (
        select count(*) from this_week where organization_id::text like 'a%' and status = 'completed'
      ) as visits from reports.visit_problems group by 1$$),
  '[{"visits": 48, "problem": "unsigned"}]', 'every attended visit of one clinic lacks a signature, and nothing else'
);
select is(
  pg_temp.see('admin@harbor.test', $$
    select client_reference, payer_name, missing, count(*) as visits from reports.evv_gaps
    where month <> '2024-03-01' group by 1, 2, 3$$),
  '[{"client_reference": "HB-0005", "payer_name": "Example Medicaid Program", "missing": ["begin", "end"], "visits": 4}]',
  'the other''s Medicaid visits lack the times they began and ended'
);
select is(
  pg_temp.see('admin@harbor.test', $$
    select reasons, count(*) as visits from reports.unbilled, past where service_date between past.harbors and past.harbors + 27
    group by 1 order by 1$$),
  '[{"reasons": ["evv_incomplete", "unsigned"], "visits": 4}, {"reasons": ["unsigned"], "visits": 20}]', 'so none of them can be billed yet'
);
select is(
  pg_temp.see('admin@brightpath.test', $$
    select client_reference, cpt_codes, approved_units, used_units, left_units,
      expected_units = round(approved_units::numeric * ((now() at time zone 'America/Los_Angeles')::date - starts_on + 1)
        / (ends_on - starts_on + 1)) as is_even
    from reports.authorization_pace order by client_reference, cpt_codes$$),
  '[{"client_reference": "BP-0007", "cpt_codes": ["97153"], "approved_units": 160, "used_units": 32, "left_units": 112, "is_even": true},
    {"client_reference": "BP-0007", "cpt_codes": ["97155"], "approved_units": 24, "used_units": 16, "left_units": 0, "is_even": true},
    {"client_reference": "BP-0008", "cpt_codes": ["97153"], "approved_units": 640, "used_units": 32, "left_units": 592, "is_even": true},
    {"client_reference": "BP-0008", "cpt_codes": ["97155"], "approved_units": 80, "used_units": 16, "left_units": 56, "is_even": true},
    {"client_reference": "BP-0009", "cpt_codes": ["97153"], "approved_units": 25, "used_units": 16, "left_units": 2, "is_even": true}]',
  'each authorization beside what an even pace would have used'
);
select is(pg_temp.see('admin@brightpath.test', 'select * from reports.sessions_to_recode'), '[]', 'no code ends before what is booked');

-- Who has left works no hours
update public.therapists set deleted_at = (past.monday + 7 + interval '2 days') at time zone 'America/Los_Angeles' from past where display_name = 'Robin Tate';
select is(
  pg_temp.see('admin@brightpath.test', $$
    select week_start - past.monday as day, available_hours from reports.therapist_utilization, past
    where therapist_name = 'Robin Tate' and week_start >= past.monday and (week_start < past.monday + 14 or booked_hours = 0) order by week_start$$),
  '[{"day": 0, "available_hours": 50.00}, {"day": 7, "available_hours": 20.00}]',
  'an archived therapist has hours until the day they left, and no empty weeks after it'
);
update public.therapists set deleted_at = null where display_name = 'Robin Tate';

-- Records
select is(
  pg_temp.see('admin@harbor.test', $$
    select therapist_name, note_status, count(*) as sessions from reports.unsigned_notes, past
    where start_time >= past.harbors and start_time < past.harbors + 28 group by 1, 2 order by 1$$),
  '[{"therapist_name": "Casey Lind", "note_status": "none", "sessions": 14}, {"therapist_name": "Morgan Shaw", "note_status": "none", "sessions": 10}]',
  'none of the attended sessions has a note'
);
create temporary table noted on commit drop as
select organization_id, session_id, therapist_id, (array['draft', 'signed', 'needs_amendment', 'amended'])[row_number() over (order by session_id)] as status
from reports.unsigned_notes where organization_id = 'b0000000-0000-4000-8000-0000000000b0' order by session_id limit 4;
-- As if notes had been written: their states follow them otherwise.
alter table public.session_note_states disable trigger user;
insert into public.session_note_states (organization_id, session_id, version, updated_at, status, signed_by, signed_at, credential)
select organization_id, session_id, 1, now(), status, case when status <> 'draft' then therapist_id end, case when status <> 'draft' then now() end,
  case when status <> 'draft' then 'RBT' end from noted;
select is((select array_agg(status order by status) from noted join reports.unsigned_notes using (organization_id, session_id)),
  array['draft', 'needs_amendment'], 'a draft is not signed, nor is a note that waits to be amended; one that was amended is');
delete from public.session_note_states where session_id in (select session_id from noted);
alter table public.session_note_states enable trigger user;
select is(
  pg_temp.see('admin@brightpath.test', $$
    select action, jsonb_typeof(after) as after, after ->> 'status' as status from reports.session_audit_trail
    where session_id = 'a0000000-0000-4000-9000-000400020004' order by recorded_at$$),
  '[{"action": "session.inserted", "after": "object", "status": "scheduled"}, {"action": "session.cancelled", "after": "object", "status": "cancelled"}]',
  'the story of one session, its own part of each batch'
);
select ok(
  pg_temp.see('admin@brightpath.test', $$
    select record_id, action from reports.client_record_access where client_id = 'a0000000-0000-4000-8000-000000000101'$$)
    @> '[{"record_id": "a0000000-0000-4000-9000-000400020004", "action": "session.cancelled"}]',
  'whatever was done to a client''s sessions is access to their record'
);

-- Holds, in a clinic of this story
select tests.hold('rbt', tests.request('rbt', 'ann', tests.at(1)));
select tests.hold('rbt', tests.request('rbt', 'ann', tests.at(1)));
select tests.book('rbt', 'rbt', 'ann', array[tests.at(2), tests.at(3)]);
select tests.release('rbt', tests.hold('rbt', tests.request('rbt', 'ann', tests.at(4))) #>> '{body,holdKey}');
select tests.expire(tests.hold('rbt', tests.request('rbt', 'ann', tests.at(5))));
select is(
  tests.call('admin', $$select to_jsonb(funnel) - 'organization_id' - 'day' from reports.hold_funnel as funnel$$),
  '{"held": 5, "confirmed": 2, "released": 1, "expired": 1, "live": 1, "refused_requests": 1, "confirmed_percent": 40.0}',
  'of five held occurrences two were confirmed; one request was refused'
);
select is(
  tests.call('admin', $$select jsonb_agg(jsonb_build_array(sessions, utc_offsets_minutes)) from reports.series_start_times$$),
  '[[2, [0]]]', 'a series keeps its hour'
);

-- One tenant only
select is(
  tests.call('admin', format('select count(*) from reports.%I where organization_id <> %L', view_name, tests.id('clinic'))),
  '0', format('%s shows no other clinic', view_name)
)
from (select relname as view_name from pg_class where relnamespace = 'reports'::regnamespace and relkind = 'v' order by 1) as views;
select is(
  (select array_agg(relname::text) from pg_class
    where relnamespace = 'reports'::regnamespace and relkind = 'v' and not coalesce(reloptions @> '{security_invoker=true}', false)),
  null, 'every report runs as its reader'
);

select * from finish();
rollback;
