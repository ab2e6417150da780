-- What a payer or an auditor would object to in a visit is told by its name, and what cannot be billed yet waits with its
-- reasons. The visits are planted as history may have left them: what would refuse them today is not asked.
begin;
select plan(25);
select tests.open_clinic();
select tests.prove_rows();
select private.add_default_payers(tests.id('clinic'));
insert into public.client_coverages (organization_id, client_id, payer_id, valid_from, valid_to)
select tests.id('clinic'), tests.id(covered.client), payer.id, '2020-01-01', covered.valid_to::date
from (values ('ann', 'TRICARE', null), ('ben', 'Example Medicaid Program', null), ('cat', 'Default', '2026-03-31')) as covered (client, payer, valid_to)
join public.payers as payer on payer.organization_id = tests.id('clinic') and payer.name = covered.payer;
insert into public.service_codes (organization_id, code, description, levels, valid_from, valid_to)
values (tests.id('clinic'), 'H2019', 'Skills', '{technician}', '2020-01-01', '2026-03-31');

alter table public.sessions disable trigger user;
alter table public.session_visits disable trigger user;
-- A visit in the clinic's March or April of 2026, as its clocks show; by default it went as it was booked.
create function pg_temp.visit(
  name text, therapist text, client text, day date, starts time, ends time, code text default '97153', place text default 'clinic',
  begun timestamp default null, ended timestamp default null
) returns void language sql as $$
  insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code, cpt_modifiers, location_type, status)
  values (tests.id('clinic'), tests.id(name), tests.id(therapist), tests.id(client), (day + starts) at time zone 'America/Los_Angeles',
    (day + ends) at time zone 'America/Los_Angeles', 'America/Los_Angeles', code, '{}', place, 'completed');
  insert into public.session_visits (organization_id, session_id, actual_start_time, actual_end_time, units)
  values (tests.id('clinic'), tests.id(name), coalesce(begun, day + starts) at time zone 'America/Los_Angeles',
    coalesce(ended, day + ends) at time zone 'America/Los_Angeles', 0);
$$;
create function pg_temp.problems(name text) returns text language sql as $$
  select tests.call('admin', format($see$select to_jsonb(coalesce(string_agg(problem || ': ' || detail, '; ' order by problem), '')) from reports.visit_problems
    where session_id = %L and problem <> 'unsigned'$see$, tests.id(name))) #>> '{}'
$$;

select pg_temp.visit('fine', 'rbt', 'ann', '2026-03-02', '09:00', '11:00');
select is(pg_temp.problems('fine'), '', 'a visit as it should be has none');
select pg_temp.visit('late', 'rbt', 'ann', '2026-03-03', '09:00', '11:00', begun => '2026-03-03 09:16', ended => '2026-03-03 11:15');
select is(pg_temp.problems('late'), 'off_the_booking: began 16 and ended 15 minutes after it was booked for', '16 minutes are told');
select pg_temp.visit('punctual', 'rbt', 'ann', '2026-03-04', '09:00', '11:00', begun => '2026-03-04 08:45', ended => '2026-03-04 11:15');
select is(pg_temp.problems('punctual'), '', '15 minutes are not');
select pg_temp.visit('night', 'rbt', 'ann', '2026-03-05', '23:50', '23:59', begun => '2026-03-06 00:02', ended => '2026-03-06 00:10');
select is(pg_temp.problems('night'), 'off_the_day: began on 2026-03-06', 'the day is the clinic''s');
select pg_temp.visit('first', 'rbt', 'ann', '2026-03-09', '09:00', '10:00', ended => '2026-03-09 10:15');
select pg_temp.visit('second', 'rbt', 'dan', '2026-03-09', '10:00', '11:00');
select is(pg_temp.problems('first'), 'therapist_overlaps: with session ' || tests.id('second'), 'two visits of one therapist');
select is(pg_temp.problems('second'), 'therapist_overlaps: with session ' || tests.id('first'), 'are told of both');
update public.session_visits set overlap_reason = 'both were there' where session_id = tests.id('second');
select is(pg_temp.problems('first'), 'overlap_let: with session ' || tests.id('second'), 'and when an admin let them, it says so');
select is(
  tests.call('admin', format('select to_jsonb(reasons) from reports.unbilled where session_id = %L', tests.id('second'))),
  '["unsigned"]', 'which delays no bill');
select pg_temp.visit('treated', 'rbt', 'ann', '2026-03-10', '09:00', '10:00');
select pg_temp.visit('modified', 'bcba', 'ann', '2026-03-10', '10:00', '11:00', '97155', begun => '2026-03-10 09:50');
select is(pg_temp.problems('modified'), 'client_overlaps: with session ' || tests.id('treated'), 'a pair that the payer forbids');
select pg_temp.visit('guided', 'bcba', 'ann', '2026-03-11', '10:00', '11:00', '97156');
select pg_temp.visit('meanwhile', 'rbt', 'ann', '2026-03-11', '10:00', '11:00');
select is(pg_temp.problems('guided'), '', 'but not one that it allows');
select pg_temp.visit('remote', 'rbt', 'ann', '2026-03-12', '09:00', '10:00', place => 'Tele-health');
select is(pg_temp.problems('remote'), 'place_not_covered: 97153 at Tele-health', 'what the payer does not pay for there');
select pg_temp.visit('assessed', 'rbt', 'ann', '2026-03-13', '09:00', '10:00', '97152');
select is(pg_temp.problems('assessed'), 'code_not_covered: 97152', 'or not at all');
select pg_temp.visit('covered', 'rbt', 'cat', '2026-03-31', '09:00', '10:00', 'H2019');
select pg_temp.visit('uncovered', 'rbt', 'cat', '2026-04-01', '09:00', '10:00', 'H2019');
select is(pg_temp.problems('covered'), '', 'on the last day of code and coverage nothing is wrong');
select is(pg_temp.problems('uncovered'), 'code_not_valid: H2019 is no code on 2026-04-01; no_coverage: nobody covers the client on 2026-04-01', 'on the next, both are');
select pg_temp.visit('verified', 'rbt', 'ben', '2026-03-16', '09:00', '10:00');
select is(pg_temp.problems('verified'), '', 'a Medicaid visit with place and times');
select pg_temp.visit('unverified', 'rbt', 'ben', '2026-03-17', '09:00', '10:00', place => null);
delete from public.session_visits where session_id = tests.id('unverified');
select is(pg_temp.problems('unverified'), 'evv_incomplete: location, begin, end', 'and without them');
select is(
  tests.call('admin', format('select to_jsonb(missing) from reports.evv_gaps where session_id = %L', tests.id('unverified'))),
  '["location", "begin", "end"]', 'element by element');
select is(tests.rows('rbt2', 'select 1 from reports.visit_problems'), 0::bigint, 'a therapist sees those of their own visits');
select is(tests.rows('parent', 'select 1 from reports.visit_problems'), 0::bigint, 'a parent none');

-- Signatures: of what the session says now
insert into private.data_keys (organization_id, id, wrapped_key)
values (tests.id('clinic'), tests.id('clinic key'), 'twk1.m1.AAAAAAAAAAAAAAAA.' || repeat('A', 107));
create function pg_temp.sign(name text) returns void language sql as $$
  insert into private.session_note_versions (
    organization_id, session_id, id, version, status, data_key_id, ciphertext, saved_by, signed_at, credential, attested
  )
  select tests.id('clinic'), session.id, gen_random_uuid(), step.version, step.status, tests.id('clinic key'),
    concat_ws('.', 'tsb1', tests.id('clinic key'), 'AAAAAAAAAAAAAAAA', repeat('A', 32)), tests.id('rbt'),
    case step.status when 'signed' then now() end, case step.status when 'signed' then 'RBT' end,
    case step.status when 'signed' then private.session_facts(session) end
  from public.sessions as session, (values (1, 'draft'), (2, 'signed')) as step (version, status)
  where session.id = tests.id(sign.name)
  order by step.version
$$;
select pg_temp.sign('fine');
select is(
  tests.call('admin', format('select coalesce(jsonb_agg(reasons), %L) from reports.unbilled where session_id = %L', '[]', tests.id('fine'))),
  '[]', 'what is signed waits for nothing');
update public.sessions set cpt_code = '97156' where id = tests.id('fine');
select is(pg_temp.problems('fine'), 'signature_differs: cpt_code', 'what is not as it was signed is named');
select is(
  tests.call('admin', format('select to_jsonb(reasons) from reports.unbilled where session_id = %L', tests.id('fine'))),
  '["signature_differs"]', 'what was changed since waits for a new signature');
select is(
  tests.call('admin', format('select to_jsonb(reasons) from reports.unbilled where session_id = %L', tests.id('late'))),
  '["unsigned"]', 'lateness delays no bill');
select pg_temp.visit('open', 'rbt', 'ann', '2026-03-20', '09:00', '10:00');
update public.sessions set status = 'in_progress' where id = tests.id('open');
select is(
  tests.call('admin', format('select to_jsonb(reasons) from reports.unbilled where session_id = %L', tests.id('open'))),
  '["not_completed"]', 'what was never completed waits too');

select is(
  tests.call('admin', format('select jsonb_agg(days_waiting order by service_date) from reports.unbilled where session_id in (%L, %L)', tests.id('late'), tests.id('open'))),
  (select jsonb_agg((now() at time zone 'America/Los_Angeles')::date - day order by day) from unnest(array['2026-03-03', '2026-03-20']::date[]) as day),
  'as many of the clinic''s days as have passed since');

select * from finish();
rollback;
