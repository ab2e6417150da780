-- How much a technician was supervised: attended time once, contacts as they were, levels of the day.
begin;
select plan(20);
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

-- What is still needed
select is(
  tests.call('admin', $$select coalesce(jsonb_agg(therapist_name), '[]') from reports.supervision_needed where therapist_name = 'rbt'$$),
  '[]', 'who is no technician any more needs none');

select * from finish();
rollback;
