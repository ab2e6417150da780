-- Two clinics in different time zones, for development, the demo and the tests. Every password: demo-password-1234.
-- Ids are fixed; dates follow the current week, so that there is always a past and a future.

insert into auth.users (
  instance_id, id, aud, role, email, encrypted_password, email_confirmed_at, raw_app_meta_data, raw_user_meta_data,
  created_at, updated_at, confirmation_token, recovery_token, email_change, email_change_token_new
)
select
  '00000000-0000-0000-0000-000000000000', person.id, 'authenticated', 'authenticated', person.email,
  extensions.crypt('demo-password-1234', extensions.gen_salt('bf')), now(),
  '{"provider": "email", "providers": ["email"]}', '{}', now(), now(), '', '', '', ''
from (
  values
    ('a0000000-0000-4000-8000-000000000001'::uuid, 'super@brightpath.test'),
    ('a0000000-0000-4000-8000-000000000002', 'admin@brightpath.test'),
    ('a0000000-0000-4000-8000-000000000003', 'bcba@brightpath.test'),
    ('a0000000-0000-4000-8000-000000000004', 'rbt@brightpath.test'),
    ('a0000000-0000-4000-8000-000000000005', 'rbt2@brightpath.test'),
    ('a0000000-0000-4000-8000-000000000006', 'parent@brightpath.test'),
    ('b0000000-0000-4000-8000-000000000002', 'admin@harbor.test'),
    ('b0000000-0000-4000-8000-000000000003', 'bcba@harbor.test'),
    ('b0000000-0000-4000-8000-000000000004', 'rbt@harbor.test'),
    ('b0000000-0000-4000-8000-000000000006', 'parent@harbor.test'),
    ('c0000000-0000-4000-8000-000000000001', 'nobody@example.test')
) as person (id, email);

insert into auth.identities (id, provider_id, user_id, identity_data, provider, last_sign_in_at, created_at, updated_at)
select
  person.id, person.id::text, person.id,
  jsonb_build_object('sub', person.id, 'email', person.email, 'email_verified', true), 'email', now(), now(), now()
from auth.users as person
where person.id::text ~ '^[abc]0000000-0000-4000-8000-';

-- What `npm run keys:rotate -- --install` does in production: here for the development master key, which everybody knows.
insert into private.attestation_keys (id, key)
values ('local-development', decode('02f99b49beb3c4206e7f0e9da7e5249912d7d54b05d88fcbb7de97b48052a9a0', 'hex'));

insert into public.organizations (id, name, time_zone)
values
  ('a0000000-0000-4000-8000-0000000000a0', 'Bright Path ABA', 'America/Los_Angeles'),
  ('b0000000-0000-4000-8000-0000000000b0', 'Harbor Behavioral', 'America/New_York');

insert into public.memberships (organization_id, user_id, role, permissions)
values
  ('a0000000-0000-4000-8000-0000000000a0', 'a0000000-0000-4000-8000-000000000001', 'super_admin', '{view_clients}'),
  ('a0000000-0000-4000-8000-0000000000a0', 'a0000000-0000-4000-8000-000000000002', 'admin', '{view_clients}'),
  ('a0000000-0000-4000-8000-0000000000a0', 'a0000000-0000-4000-8000-000000000003', 'therapist', '{view_clients}'),
  ('a0000000-0000-4000-8000-0000000000a0', 'a0000000-0000-4000-8000-000000000004', 'therapist', '{view_clients}'),
  ('a0000000-0000-4000-8000-0000000000a0', 'a0000000-0000-4000-8000-000000000005', 'therapist', '{view_clients}'),
  ('a0000000-0000-4000-8000-0000000000a0', 'a0000000-0000-4000-8000-000000000006', 'client', '{}'),
  ('b0000000-0000-4000-8000-0000000000b0', 'b0000000-0000-4000-8000-000000000002', 'admin', '{view_clients}'),
  ('b0000000-0000-4000-8000-0000000000b0', 'b0000000-0000-4000-8000-000000000003', 'therapist', '{view_clients}'),
  ('b0000000-0000-4000-8000-0000000000b0', 'b0000000-0000-4000-8000-000000000004', 'therapist', '{view_clients}'),
  ('b0000000-0000-4000-8000-0000000000b0', 'b0000000-0000-4000-8000-000000000006', 'client', '{}');

insert into public.therapists (organization_id, id, display_name, credential, specialties, time_zone, availability_hours)
select
  person.organization_id::uuid, person.id::uuid, person.display_name, person.credential, person.specialties::text[],
  organization.time_zone,
  '{
    "monday": [{"start": "08:00", "end": "18:00"}],
    "tuesday": [{"start": "08:00", "end": "18:00"}],
    "wednesday": [{"start": "08:00", "end": "18:00"}],
    "thursday": [{"start": "08:00", "end": "18:00"}],
    "friday": [{"start": "08:00", "end": "18:00"}]
  }'
from (
  values
    ('a0000000-0000-4000-8000-0000000000a0', 'a0000000-0000-4000-8000-000000000003', 'Avery Bell', 'BCBA', '{assessment,parent training}'),
    ('a0000000-0000-4000-8000-0000000000a0', 'a0000000-0000-4000-8000-000000000004', 'Robin Tate', 'RBT', '{early intervention}'),
    ('a0000000-0000-4000-8000-0000000000a0', 'a0000000-0000-4000-8000-000000000005', 'Jordan Reyes', 'RBT', '{social skills}'),
    ('b0000000-0000-4000-8000-0000000000b0', 'b0000000-0000-4000-8000-000000000003', 'Morgan Shaw', 'BCBA-D', '{severe behavior}'),
    ('b0000000-0000-4000-8000-0000000000b0', 'b0000000-0000-4000-8000-000000000004', 'Casey Lind', 'RBT', '{early intervention}')
) as person (organization_id, id, display_name, credential, specialties)
join public.organizations as organization on organization.id = person.organization_id::uuid;

insert into public.clients (organization_id, id, reference)
select 'a0000000-0000-4000-8000-0000000000a0'::uuid, ('a0000000-0000-4000-8000-0000000001' || lpad(number::text, 2, '0'))::uuid,
  'BP-' || lpad(number::text, 4, '0')
from generate_series(1, 6) as number
union all
select 'b0000000-0000-4000-8000-0000000000b0'::uuid, ('b0000000-0000-4000-8000-0000000001' || lpad(number::text, 2, '0'))::uuid,
  'HB-' || lpad(number::text, 4, '0')
from generate_series(1, 4) as number;

insert into public.client_users (organization_id, client_id, user_id)
values
  ('a0000000-0000-4000-8000-0000000000a0', 'a0000000-0000-4000-8000-000000000101', 'a0000000-0000-4000-8000-000000000006'),
  ('b0000000-0000-4000-8000-0000000000b0', 'b0000000-0000-4000-8000-000000000101', 'b0000000-0000-4000-8000-000000000006');

insert into public.rooms (organization_id, id, name)
values
  ('a0000000-0000-4000-8000-0000000000a0', 'a0000000-0000-4000-8000-000000000201', 'Sunflower'),
  ('a0000000-0000-4000-8000-0000000000a0', 'a0000000-0000-4000-8000-000000000202', 'Cedar'),
  ('b0000000-0000-4000-8000-0000000000b0', 'b0000000-0000-4000-8000-000000000201', 'Lighthouse');

-- The BCBA of each clinic works with every client; technicians with half of them each, or with all in the small clinic.
insert into public.caseloads (organization_id, therapist_id, client_id)
select therapist.organization_id, therapist.id, client.id
from public.therapists as therapist
join public.clients as client on client.organization_id = therapist.organization_id
where therapist.credential <> 'RBT'
  or therapist.id = 'b0000000-0000-4000-8000-000000000004'
  or (therapist.id = 'a0000000-0000-4000-8000-000000000004' and client.reference <= 'BP-0003')
  or (therapist.id = 'a0000000-0000-4000-8000-000000000005' and client.reference > 'BP-0003');

-- Sessions: four weeks back and two ahead, each therapist on Mondays, Wednesdays and Fridays with the clients of her
-- caseload in turn. Civil times in the clinic's zone, so that 09:00 is 09:00 on either side of a change of clocks.
insert into public.sessions (
  organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, session_type, location_type, cpt_code
)
select
  therapist.organization_id,
  -- The same session keeps its id from week to week of the seed: clinic, therapist, week and day.
  (left(therapist.id::text, 1) || '0000000-0000-4000-9000-' || right(therapist.id::text, 4)
    || lpad((week.number + 4)::text, 4, '0') || lpad(day.number::text, 4, '0'))::uuid,
  therapist.id,
  caseload.client_ids[1 + (week.number + 4 + day.number) % cardinality(caseload.client_ids)],
  (monday.date + week.number * 7 + day.number + slot.starts) at time zone therapist.time_zone,
  (monday.date + week.number * 7 + day.number + slot.starts + interval '2 hours') at time zone therapist.time_zone,
  therapist.time_zone,
  case when therapist.credential = 'RBT' then 'individual' else 'consultation' end,
  'clinic',
  case when therapist.credential = 'RBT' then '97153' else '97156' end
from public.therapists as therapist
cross join lateral (
  select date_trunc('week', now() at time zone therapist.time_zone)::date as date
) as monday
cross join generate_series(-4, 2) as week (number)
cross join (values (0), (2), (4)) as day (number)
cross join lateral (
  select case when therapist.credential = 'RBT' then time '08:00' else time '16:00' end as starts
) as slot
cross join lateral (
  select array_agg(caseload.client_id order by caseload.client_id) as client_ids
  from public.caseloads as caseload
  where caseload.organization_id = therapist.organization_id and caseload.therapist_id = therapist.id
) as caseload
where week.number <> 0;

-- What has passed was completed, but for one no-show and one cancellation by the client in each therapist's past.
update public.sessions set status = 'in_progress' where end_time < now() and id::text !~ '(00010002|00020004)$';
update public.sessions set status = 'completed' where status = 'in_progress';
update public.sessions set status = 'no_show' where end_time < now() and id::text ~ '00010002$' and status = 'scheduled';
insert into public.session_cancellations (organization_id, session_id, attribution, reason, cancelled_at, cancelled_by_role)
select session.organization_id, session.id, 'client', 'Family asked to cancel', session.start_time - interval '20 hours', 'admin'
from public.sessions as session
where session.end_time < now() and session.id::text ~ '00020004$' and session.status = 'scheduled';
update public.sessions as session set status = 'cancelled'
where exists (
  select 1 from public.session_cancellations as cancellation
  where cancellation.organization_id = session.organization_id and cancellation.session_id = session.id
);

-- Payers, and three clients whose services they pay for and limit. Everybody above has no payer: no limit.
do $$
begin
  perform private.add_default_payers(organization.id) from public.organizations as organization;
end
$$;

insert into public.clients (organization_id, id, reference)
values
  ('a0000000-0000-4000-8000-0000000000a0', 'a0000000-0000-4000-8000-000000000107', 'BP-0007'),
  ('a0000000-0000-4000-8000-0000000000a0', 'a0000000-0000-4000-8000-000000000108', 'BP-0008'),
  ('b0000000-0000-4000-8000-0000000000b0', 'b0000000-0000-4000-8000-000000000105', 'HB-0005');
insert into public.caseloads (organization_id, therapist_id, client_id)
values
  ('a0000000-0000-4000-8000-0000000000a0', 'a0000000-0000-4000-8000-000000000003', 'a0000000-0000-4000-8000-000000000107'),
  ('a0000000-0000-4000-8000-0000000000a0', 'a0000000-0000-4000-8000-000000000005', 'a0000000-0000-4000-8000-000000000107'),
  ('a0000000-0000-4000-8000-0000000000a0', 'a0000000-0000-4000-8000-000000000003', 'a0000000-0000-4000-8000-000000000108'),
  ('a0000000-0000-4000-8000-0000000000a0', 'a0000000-0000-4000-8000-000000000005', 'a0000000-0000-4000-8000-000000000108'),
  ('b0000000-0000-4000-8000-0000000000b0', 'b0000000-0000-4000-8000-000000000004', 'b0000000-0000-4000-8000-000000000105');

insert into public.client_coverages (organization_id, client_id, payer_id, valid_from)
select payer.organization_id, covered.client_id::uuid, payer.id, date '2020-01-01'
from (
  values
    ('a0000000-0000-4000-8000-000000000107', 'TRICARE'),
    ('a0000000-0000-4000-8000-000000000108', 'Example Commercial Plan'),
    ('b0000000-0000-4000-8000-000000000105', 'Example Medicaid Program')
) as covered (client_id, payer_name)
join public.clients as client on client.id = covered.client_id::uuid
join public.payers as payer
  on payer.organization_id = client.organization_id and payer.name = covered.payer_name;

-- Six months each, begun six weeks ago.
insert into public.authorizations (
  organization_id, id, client_id, payer_id, reference, approved_units, starts_on, ends_on
)
select
  coverage.organization_id, granted.id::uuid, coverage.client_id, coverage.payer_id, granted.reference,
  granted.units, monday.date - 42, (monday.date - 42 + interval '6 months' - interval '1 day')::date
from (
  values
    ('a0000000-0000-4000-8000-000000000301', 'a0000000-0000-4000-8000-000000000107', 'T-1001', 160),
    ('a0000000-0000-4000-8000-000000000302', 'a0000000-0000-4000-8000-000000000107', 'T-1002', 24),
    ('a0000000-0000-4000-8000-000000000303', 'a0000000-0000-4000-8000-000000000108', 'G-2001', 640),
    ('a0000000-0000-4000-8000-000000000304', 'a0000000-0000-4000-8000-000000000108', 'G-2002', 80),
    ('b0000000-0000-4000-8000-000000000301', 'b0000000-0000-4000-8000-000000000105', 'D-3001', 64)
) as granted (id, client_id, reference, units)
join public.client_coverages as coverage on coverage.client_id = granted.client_id::uuid
join public.organizations as organization on organization.id = coverage.organization_id
cross join lateral (
  select date_trunc('week', now() at time zone organization.time_zone)::date as date
) as monday;
insert into public.authorization_codes (organization_id, authorization_id, cpt_code)
select approval.organization_id, approval.id, granted.cpt_code
from (
  values
    ('T-1001', '97153'), ('T-1002', '97155'), ('G-2001', '97153'), ('G-2002', '97155'), ('D-3001', '97153')
) as granted (reference, cpt_code)
join public.authorizations as approval on approval.reference = granted.reference;

-- Their sessions, in the same weeks as the others': treatment on Tuesdays, supervision on Thursdays for one, and for the
-- other, whose payer allows it, at the same time as the treatment.
insert into public.sessions (
  organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, session_type, location_type, cpt_code,
  cpt_modifiers
)
select
  therapist.organization_id,
  (left(therapist.id::text, 1) || '0000000-0000-4000-9100-' || right(therapist.id::text, 3) || right(plan.client_id, 3)
    || lpad((week.number + 4)::text, 3, '0') || lpad(plan.day::text, 3, '0'))::uuid,
  therapist.id,
  plan.client_id::uuid,
  (monday.date + week.number * 7 + plan.day + plan.starts) at time zone therapist.time_zone,
  (monday.date + week.number * 7 + plan.day + plan.ends) at time zone therapist.time_zone,
  therapist.time_zone, plan.session_type, 'clinic', plan.cpt_code, plan.modifiers::text[]
from (
  values
    ('a0000000-0000-4000-8000-000000000005', 'a0000000-0000-4000-8000-000000000107', 1, time '09:00', time '11:00', 'individual', '97153', '{}'),
    ('a0000000-0000-4000-8000-000000000003', 'a0000000-0000-4000-8000-000000000107', 3, '10:00', '11:00', 'supervision', '97155', '{}'),
    ('a0000000-0000-4000-8000-000000000005', 'a0000000-0000-4000-8000-000000000108', 1, '13:00', '15:00', 'individual', '97153', '{HM}'),
    ('a0000000-0000-4000-8000-000000000003', 'a0000000-0000-4000-8000-000000000108', 1, '14:00', '15:00', 'supervision', '97155', '{HO}'),
    ('b0000000-0000-4000-8000-000000000004', 'b0000000-0000-4000-8000-000000000105', 3, '13:00', '15:00', 'individual', '97153', '{HM}')
) as plan (therapist_id, client_id, day, starts, ends, session_type, cpt_code, modifiers)
join public.therapists as therapist on therapist.id = plan.therapist_id::uuid
cross join lateral (
  select date_trunc('week', now() at time zone therapist.time_zone)::date as date
) as monday
cross join generate_series(-4, 2) as week (number)
where week.number <> 0;
update public.sessions set status = 'in_progress' where end_time < now() and status = 'scheduled' and id::text like '%-9100-%';
update public.sessions set status = 'completed' where status = 'in_progress' and id::text like '%-9100-%';

-- A client whose authorization is nearly used up: 23 of 25 units.
insert into public.clients (organization_id, id, reference)
values ('a0000000-0000-4000-8000-0000000000a0', 'a0000000-0000-4000-8000-000000000109', 'BP-0009');
insert into public.caseloads (organization_id, therapist_id, client_id)
values
  ('a0000000-0000-4000-8000-0000000000a0', 'a0000000-0000-4000-8000-000000000003', 'a0000000-0000-4000-8000-000000000109'),
  ('a0000000-0000-4000-8000-0000000000a0', 'a0000000-0000-4000-8000-000000000004', 'a0000000-0000-4000-8000-000000000109');
insert into public.client_coverages (organization_id, client_id, payer_id, valid_from)
select known.organization_id, 'a0000000-0000-4000-8000-000000000109', known.payer_id, date '2020-01-01'
from public.client_coverages as known
where known.client_id = 'a0000000-0000-4000-8000-000000000108';
insert into public.authorizations (
  organization_id, id, client_id, payer_id, reference, approved_units, starts_on, ends_on
)
select
  coverage.organization_id, 'a0000000-0000-4000-8000-000000000305', coverage.client_id, coverage.payer_id, 'G-2003',
  25, monday.date - 42, monday.date + 34
from public.client_coverages as coverage
cross join lateral (
  select date_trunc('week', now() at time zone 'America/Los_Angeles')::date as date
) as monday
where coverage.client_id = 'a0000000-0000-4000-8000-000000000109';
insert into public.authorization_codes (organization_id, authorization_id, cpt_code)
values ('a0000000-0000-4000-8000-0000000000a0', 'a0000000-0000-4000-8000-000000000305', '97153');
insert into public.sessions (
  organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, session_type, location_type, cpt_code,
  cpt_modifiers
)
select
  therapist.organization_id,
  ('a0000000-0000-4000-9100-004109' || lpad((plan.week + 4)::text, 3, '0') || '001')::uuid,
  therapist.id, 'a0000000-0000-4000-8000-000000000109',
  (monday.date + plan.week * 7 + 1 + time '09:00') at time zone therapist.time_zone,
  (monday.date + plan.week * 7 + 1 + time '09:00' + plan.length) at time zone therapist.time_zone,
  therapist.time_zone, 'individual', 'home', '97153', '{HM}'
from public.therapists as therapist
cross join lateral (
  select date_trunc('week', now() at time zone therapist.time_zone)::date as date
) as monday
cross join (
  values (-2, interval '2 hours'), (-1, interval '2 hours'), (1, interval '105 minutes')
) as plan (week, length)
where therapist.id = 'a0000000-0000-4000-8000-000000000004';
update public.sessions set status = 'in_progress' where end_time < now() and status = 'scheduled' and id::text like '%-9100-004109%';
update public.sessions set status = 'completed' where status = 'in_progress' and id::text like '%-9100-004109%';

-- This week, Monday to Friday, so that a schedule is full on any day. Nobody here has a payer.
insert into public.sessions (
  organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, session_type, location_type, cpt_code, room_id
)
select
  therapist.organization_id,
  (left(therapist.id::text, 1) || '0000000-0000-4000-9200-' || right(therapist.id::text, 4) || '0000'
    || lpad((day.number * 10 + slot.number)::text, 4, '0'))::uuid,
  therapist.id,
  caseload.client_ids[1 + (day.number + slot.number) % cardinality(caseload.client_ids)],
  (monday.date + day.number + slot.starts) at time zone therapist.time_zone,
  (monday.date + day.number + slot.ends) at time zone therapist.time_zone,
  therapist.time_zone,
  case when slot.is_technician then 'individual' else 'consultation' end,
  case slot.number when 2 then 'home' when 4 then 'telehealth' else 'clinic' end,
  case when slot.is_technician then '97153' else '97156' end,
  case when slot.number = 1 and therapist.display_name = 'Robin Tate' then 'a0000000-0000-4000-8000-000000000201'::uuid end
from public.therapists as therapist
cross join lateral (
  select date_trunc('week', now() at time zone therapist.time_zone)::date as date
) as monday
cross join generate_series(0, 4) as day (number)
join (
  values
    (1, true, time '08:00', time '10:00'), (2, true, '10:30', '12:00'), (3, true, '13:00', '15:00'),
    (4, false, '15:30', '16:30'), (5, false, '17:00', '18:00')
) as slot (number, is_technician, starts, ends) on slot.is_technician = (therapist.credential = 'RBT')
cross join lateral (
  select array_agg(caseload.client_id order by caseload.client_id) as client_ids
  from public.caseloads as caseload
  where caseload.organization_id = therapist.organization_id
    and caseload.therapist_id = therapist.id
    and not exists (
      select 1 from public.client_coverages as coverage
      where coverage.organization_id = caseload.organization_id and coverage.client_id = caseload.client_id
    )
) as caseload
-- Wednesday afternoon is the group's, Friday noon is free for the demo of a booking.
where not (therapist.display_name = 'Jordan Reyes' and day.number = 2 and slot.number = 3)
  and not (day.number = 4 and slot.number = 2);

insert into public.session_groups (organization_id, id, therapist_id, room_id, start_time, end_time)
select
  therapist.organization_id, 'a0000000-0000-4000-8000-000000000401', therapist.id, 'a0000000-0000-4000-8000-000000000202',
  (monday.date + 2 + time '13:00') at time zone therapist.time_zone,
  (monday.date + 2 + time '14:30') at time zone therapist.time_zone
from public.therapists as therapist
cross join lateral (
  select date_trunc('week', now() at time zone therapist.time_zone)::date as date
) as monday
where therapist.display_name = 'Avery Bell';
insert into public.sessions (
  organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, session_type, location_type, cpt_code, group_id
)
select
  gathering.organization_id, ('a0000000-0000-4000-9200-00030000090' || member.number)::uuid, gathering.therapist_id,
  ('a0000000-0000-4000-8000-00000000010' || member.number)::uuid, gathering.start_time, gathering.end_time,
  'America/Los_Angeles', 'group', 'clinic', '97158', gathering.id
from public.session_groups as gathering
cross join generate_series(4, 6) as member (number);

-- A weekly series of half a year, which passes a change of clocks, and keeps its hour.
insert into public.session_series (organization_id, id, therapist_id, client_id, recurrence_rule, time_zone)
values (
  'a0000000-0000-4000-8000-0000000000a0', 'a0000000-0000-4000-8000-000000000501', 'a0000000-0000-4000-8000-000000000005',
  'a0000000-0000-4000-8000-000000000104', 'FREQ=WEEKLY;COUNT=26', 'America/Los_Angeles'
);
insert into public.sessions (
  organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, session_type, location_type, cpt_code, series_id
)
select
  series.organization_id, ('a0000000-0000-4000-9200-00050000' || (8000 + week.number))::uuid, series.therapist_id, series.client_id,
  (monday.date + week.number * 7 + 3 + time '15:15') at time zone series.time_zone,
  (monday.date + week.number * 7 + 3 + time '16:15') at time zone series.time_zone,
  series.time_zone, 'individual', 'clinic', '97153', series.id
from public.session_series as series
cross join lateral (
  select date_trunc('week', now() at time zone series.time_zone)::date as date
) as monday
cross join generate_series(0, 25) as week (number);

-- What of it has passed: one did not come, one family cancelled, one is still here, the rest was completed.
insert into public.session_cancellations (organization_id, session_id, attribution, reason, cancelled_at, cancelled_by_role)
select session.organization_id, session.id, 'client', 'Ill', session.start_time - interval '5 hours', 'admin'
from public.sessions as session
where session.id = 'a0000000-0000-4000-9200-000500000003';
update public.sessions as session set status = 'cancelled' where session.id = 'a0000000-0000-4000-9200-000500000003';
update public.sessions set status = 'no_show'
where end_time < now() and status = 'scheduled' and id = 'a0000000-0000-4000-9200-000400000001';
update public.sessions set status = 'in_progress' where start_time < now() and status = 'scheduled' and id::text like '%-9200-%';
update public.sessions set status = 'completed' where end_time < now() and status = 'in_progress' and id::text like '%-9200-%';

insert into public.availability_exceptions (organization_id, therapist_id, kind, starts_at, ends_at)
select
  therapist.organization_id, therapist.id, 'time_off', (monday.date + 4 + time '15:00') at time zone therapist.time_zone,
  (monday.date + 5 + time '00:00') at time zone therapist.time_zone
from public.therapists as therapist
cross join lateral (
  select date_trunc('week', now() at time zone therapist.time_zone)::date as date
) as monday
where therapist.display_name = 'Robin Tate';

insert into public.waitlist_entries (organization_id, client_id, therapist_id, cpt_code, windows, minutes, priority)
select
  'a0000000-0000-4000-8000-0000000000a0', waiting.client_id::uuid, waiting.therapist_id::uuid, '97153',
  tstzmultirange(tstzrange(now(), (monday.date + 14 + time '00:00') at time zone 'America/Los_Angeles')), waiting.minutes, waiting.priority
from (
  values
    ('a0000000-0000-4000-8000-000000000105', null, 60, 3),
    ('a0000000-0000-4000-8000-000000000102', 'a0000000-0000-4000-8000-000000000004', 90, 5)
) as waiting (client_id, therapist_id, minutes, priority)
cross join lateral (
  select date_trunc('week', now() at time zone 'America/Los_Angeles')::date as date
) as monday;
