-- How much a technician was supervised: attended time once, contacts as they were, levels of the day.
begin;
select plan(30);
select tests.open_clinic();
insert into public.memberships (organization_id, user_id, role)
select tests.id('clinic'), tests.add_user(name), 'therapist' from unnest(array['bcaba', 'bcba2']) as name;
insert into public.therapists (organization_id, id, display_name, credential, time_zone)
select tests.id('clinic'), tests.id(name), name, credential, 'UTC' from (values ('bcaba', 'BCaBA'), ('bcba2', 'BCBA-D')) as person (name, credential);

-- A completed visit in March 2026; hours are UTC's, and the clinic is in Los Angeles.
create function pg_temp.visit(therapist text, client text, day integer, starts time, ends time, code text, groups uuid default null) returns void language sql as $$
  insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code, group_id)
  values (tests.id('clinic'), gen_random_uuid(), tests.id(therapist), tests.id(client), (date '2026-03-01' + day + starts) at time zone 'UTC',
    (date '2026-03-01' + day + ends) at time zone 'UTC', 'UTC', code, groups);
  update public.sessions set status = 'in_progress' where organization_id = tests.id('clinic') and status = 'scheduled' and start_time < '2026-05-01';
  update public.sessions set status = 'completed' where organization_id = tests.id('clinic') and status = 'in_progress' and start_time < '2026-05-01';
$$;
create function pg_temp.share(person text, wanted text, month date default '2026-03-01') returns jsonb language sql as $$
  select tests.call('admin', format(
    'select to_jsonb(share) -> %L from reports.supervision_share as share where therapist_name = %L and month = %L', wanted, person, month))
$$;
-- Who is beside whom: the payers allow it.
select tests.add_payers();
insert into public.payer_concurrency_rules (organization_id, payer_id, first_code, second_code, allowed, valid_from)
select tests.id('clinic'), tests.id('open'), first, second, true, '2020-01-01'
from (values ('97153', '97156'), ('97153', '97158'), ('97152', '97153'), ('97152', '97155'), ('97154', '97155'), ('97154', '97158')) as pair (first, second);
select tests.cover(client, 'open') from unnest(array['ann', 'ben', 'cat', 'dan']) as client;

-- Ten hours with ann, a BCBA beside for half an hour
select pg_temp.visit('rbt', 'ann', 2, '15:00', '20:00', '97153');
select pg_temp.visit('rbt', 'ann', 3, '15:00', '20:00', '97153');
select pg_temp.visit('bcba', 'ann', 2, '16:00', '16:30', '97155');
select is(pg_temp.share('rbt', 'direct_hours'), '10.00', 'direct hours are those attended');
select is(pg_temp.share('rbt', 'supervised_hours'), '0.50', 'supervised, those with a supervisor beside');
select is(pg_temp.share('rbt', 'supervised_percent'), '5.0', '5 %');
select is(pg_temp.share('rbt', 'is_sufficient'), 'false', 'in one contact are not enough');
select pg_temp.visit('bcba', 'ann', 2, '16:30', '17:00', '97155');
select is(pg_temp.share('rbt', 'contacts'), '1', 'the next half hour of the same supervisor is the same contact');
select pg_temp.visit('bcaba', 'ann', 3, '16:00', '16:30', '97155');
select is(pg_temp.share('rbt', 'contacts'), '2', 'an assistant supervises too');
select is(pg_temp.share('rbt', 'is_sufficient'), 'true', 'two contacts are enough');
select pg_temp.visit('bcba2', 'ann', 3, '16:15', '16:45', '97152');
select is(pg_temp.share('rbt', 'supervised_hours'), '1.75', 'two supervisors at once count once');
select is(pg_temp.share('rbt', 'contacts'), '3', 'but met them each');
select pg_temp.visit('bcba', 'ann', 3, '18:00', '19:00', '97156');
select is(pg_temp.share('rbt', 'supervised_hours'), '1.75', 'guidance of a family is no supervision');

-- A group is one hour of its technician's, and one of its supervisor's
insert into public.session_groups (organization_id, id, therapist_id, start_time, end_time)
values (tests.id('clinic'), tests.id('group'), tests.id('rbt2'), '2026-03-06T15:00Z', '2026-03-06T17:00Z');
select pg_temp.visit('rbt2', client, 5, '15:00', '17:00', '97154', tests.id('group')) from unnest(array['ann', 'ben', 'cat', 'dan']) as client;
select is(pg_temp.share('rbt2', 'direct_hours'), '2.00', 'a group of four is two hours, not eight');
select pg_temp.visit('bcba', 'ben', 5, '15:30', '16:00', '97155');
select is(pg_temp.share('rbt2', 'supervised_hours'), '0.50', 'half of it supervised');
select is(pg_temp.share('rbt2', 'individual_contacts'), '1', 'alone with the supervisor');
select pg_temp.visit('rbt', 'ben', 6, '15:00', '16:00', '97153');
select pg_temp.visit('rbt2', 'ben', 6, '15:00', '16:00', '97152');
select pg_temp.visit('bcba', 'ben', 6, '15:00', '16:00', '97155');
select is(pg_temp.share('rbt2', 'contacts'), '2', 'with another technician it is a contact too');
select is(pg_temp.share('rbt2', 'individual_contacts'), '1', 'but no individual one');

-- Actual times count, and the level of the day
insert into public.session_visits (organization_id, session_id, actual_start_time, actual_end_time, units)
select organization_id, id, start_time, end_time - interval '1 hour', 0 from public.sessions
where organization_id = tests.id('clinic') and therapist_id = tests.id('rbt') and start_time = '2026-03-03T15:00Z';
select is(pg_temp.share('rbt', 'direct_hours'), '10.00', 'of eleven hours booked, ten were attended');
update public.therapists set credential = 'BCBA' where organization_id = tests.id('clinic') and display_name = 'rbt';
select is(pg_temp.share('rbt', 'direct_hours'), '10.00', 'a technician who is promoted keeps the months before');
select is(
  (select array_agg(credential || ' ' || (valid_to is null) order by valid_from) from public.therapist_credentials where therapist_id = tests.id('rbt')),
  array['RBT false', 'BCBA true'], 'each credential with its days');
select is(private.credential_on(tests.id('clinic'), tests.id('rbt'), '2026-03-03'), 'RBT', 'what they were');

-- A visit is of the day on which it began, whichever it was booked for
create function pg_temp.took_place(therapist text, booked timestamptz, begun timestamptz, ended timestamptz) returns void language sql as $$
  insert into public.session_visits (organization_id, session_id, actual_start_time, actual_end_time, other_day_reason)
  select organization_id, id, begun, ended, 'a story' from public.sessions
  where organization_id = tests.id('clinic') and therapist_id = tests.id(therapist) and start_time = booked
$$;
select tests.add_user('rbt3');
insert into public.memberships (organization_id, user_id, role) values (tests.id('clinic'), tests.id('rbt3'), 'therapist');
insert into public.therapists (organization_id, id, display_name, credential, time_zone) values (tests.id('clinic'), tests.id('rbt3'), 'rbt3', 'RBT', 'UTC');
select pg_temp.visit('rbt3', 'dan', 9, '15:00', '17:00', '97153');
select is(pg_temp.share('rbt3', 'direct_hours'), '2.00', 'two hours booked in March');
select pg_temp.took_place('rbt3', '2026-03-10T15:00Z', '2026-04-02T15:00Z', '2026-04-02T18:00Z');
select is(pg_temp.share('rbt3', 'direct_hours'), null, 'that took place in April are none of March');
select is(pg_temp.share('rbt3', 'direct_hours', '2026-04-01'), '3.00', 'but of April');
select pg_temp.visit('bcba', 'dan', 20, '15:00', '16:00', '97155');
select pg_temp.took_place('bcba', '2026-03-21T15:00Z', '2026-04-02T15:30Z', '2026-04-02T16:30Z');
select is(pg_temp.share('rbt3', 'supervised_hours', '2026-04-01'), '1.00', 'as is the supervision that took place then');
-- Before the clinic's first session, and late on a month's last evening in its zone.
select pg_temp.visit('rbt3', 'dan', 10, '15:00', '16:00', '97153');
select pg_temp.took_place('rbt3', '2026-03-11T15:00Z', '2026-02-01T06:00Z', '2026-02-01T07:00Z');
select is(pg_temp.share('rbt3', 'direct_hours', '2026-01-01'), '1.00', 'a month has its visits though nothing was booked in it');
select is(
  (select array_agg(line.month || ' ' || line.units order by line.month) from reports.billable_visits as line where line.therapist_id = tests.id('rbt3')),
  array['2026-01-01 4', '2026-04-01 12'], 'so has the bill'
);
select is(
  (select array_agg(distinct month order by month) from reports.visit_problems where therapist_id = tests.id('rbt3') and problem = 'off_the_day'),
  array['2026-01-01', '2026-04-01']::date[], 'and the report of problems'
);

-- What is still needed
select is(
  tests.call('admin', $$select coalesce(jsonb_agg(therapist_name), '[]') from reports.supervision_needed where therapist_name = 'rbt'$$),
  '[]', 'who is no technician any more needs none');

-- Just below 5 % is not enough: twenty hours, of which two contacts of 25 minutes.
select pg_temp.visit('rbt', 'cat', day, '10:00', '20:00', '97153') from unnest(array[40, 41]) as day;
select pg_temp.visit('bcba', 'cat', day, '12:00', '12:25', '97155') from unnest(array[40, 41]) as day;
select is(pg_temp.share('rbt', 'contacts', '2026-04-01'), '2', 'in April there are two contacts');
select is(pg_temp.share('rbt', 'is_sufficient', '2026-04-01'), 'false', 'of 4.2 % together, which is not enough');
select pg_temp.visit('bcba', 'cat', 41, '14:00', '14:10', '97155');
select is(pg_temp.share('rbt', 'is_sufficient', '2026-04-01'), 'true', 'ten minutes more are 5 %');

select * from finish();
rollback;
