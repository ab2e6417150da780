-- A payer may round the minutes of a day together. The ledger and the report of units count such a day alike, whichever visit
-- is completed first.
begin;
select plan(10);
select tests.open_clinic();
select tests.add_payers();
select tests.prove_rows();
insert into public.payer_rules (organization_id, payer_id, rounding, valid_from)
values (tests.id('clinic'), tests.id('open'), 'midpoint_daily', '2020-01-01'), (tests.id('clinic'), tests.id('strict'), 'cms_pooled', '2020-01-01');
insert into public.client_coverages (organization_id, client_id, payer_id, valid_from)
select tests.id('clinic'), tests.id(client), tests.id(payer), '2020-01-01' from (values ('ann', 'open'), ('ben', 'strict')) as covered (client, payer);
with approved as (
  select * from (values ('ann', 'open', '97153', 4), ('ben', 'strict', '97155', 4), ('ben', 'strict', '97156', 4)) as approved (client, payer, code, units)
), entered as (
  insert into public.authorizations (organization_id, id, client_id, payer_id, approved_units, starts_on, ends_on)
  select tests.id('clinic'), tests.id(client || code), tests.id(client), tests.id(payer), units, '2020-01-01', '2099-12-31' from approved
)
insert into public.authorization_codes (organization_id, authorization_id, cpt_code)
select tests.id('clinic'), tests.id(client || code), code from approved;

-- A visit of the day before yesterday; completing it begins, ends and signs it.
create function pg_temp.visit(name text, client text, code text, clock time, minutes integer) returns void language plpgsql as $$
declare
  at timestamptz := (((now() at time zone 'America/Los_Angeles')::date - 2) + clock) at time zone 'America/Los_Angeles';
begin
  insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code, location_type)
  values (tests.id('clinic'), tests.id(name), tests.id('bcba'), tests.id(client), at, at + make_interval(mins => minutes), 'America/Los_Angeles', code, 'clinic');
end
$$;
create function pg_temp.complete(name text) returns text language plpgsql as $$
declare
  starts timestamptz := (select start_time from public.sessions where id = tests.id(name));
  outcome jsonb := tests.call('bcba', format('select public.start_session(%L)', jsonb_build_object('session_id', tests.id(name), 'actual_start_time', starts)));
begin
  perform tests.record_visit(tests.id(name)), tests.sign(tests.id(name));
  outcome := tests.call('bcba', format('select public.complete_session(%L)', jsonb_build_object('session_id', tests.id(name))));
  return coalesce(outcome #>> '{body,units}', outcome::text);
end
$$;
create function pg_temp.used(client text, code text) returns text language sql as $$
  select concat_ws(' ', (
    select sum(total_units) from public.authorization_units
    where client_id = tests.id(client) and cpt_code = code and state = 'used'
  ), (
    select sum(units) from reports.billable_visits where client_id = tests.id(client) and cpt_code = code
  ), (
    select sum(visit.units) from public.session_visits as visit join public.sessions as session on session.id = visit.session_id
    where session.client_id = tests.id(client) and session.cpt_code = code
  ))
$$;

-- 23 and 23 minutes are 46: 3 units, not 4.
select pg_temp.visit('early', 'ann', '97153', '09:00', 23), pg_temp.visit('late', 'ann', '97153', '13:00', 23);
select is(tests.balance('ann'), '0/4/0/0', 'a booking asks for the units of its own minutes');
select is(pg_temp.complete('late'), '2', 'alone the late visit has 2 units');
select is(pg_temp.complete('early'), '2', 'and the early one has 2');
select is(pg_temp.used('ann', '97153'), '3 3 3', 'both together have 3: in the ledger, in the report and on the visits');
select is(tests.balance('ann'), '3/0/0/1', 'what the late visit gave back is free');

-- 7 and 7 minutes of two codes are 14: 1 unit, the earlier code's.
select pg_temp.visit('advice', 'ben', '97156', '14:00', 7), pg_temp.visit('change', 'ben', '97155', '10:00', 7);
select is(pg_temp.complete('advice'), '0', 'alone 7 minutes are nothing');
select is(pg_temp.complete('change'), '1', 'pooled with another code they are a unit');
select is(pg_temp.used('ben', '97155') || ', ' || pg_temp.used('ben', '97156'), '1 1 1, 0 0 0', 'of the code that was rendered first');
select is(
  (select array_agg(cpt_code || ' ' || units order by cpt_code) from reports.units_by_code_and_payer where organization_id = tests.id('clinic')),
  array['97153 3', '97155 1', '97156 0'], 'as the month is billed');

-- A rule that is to begin later leaves the visits of the days before it to what else is agreed.
update public.payer_rules set valid_from = (now() at time zone 'America/Los_Angeles')::date where organization_id = tests.id('clinic') and payer_id = tests.id('open');
select is(pg_temp.used('ann', '97153'), '4 4 4', 'which then round one by one, everywhere');

select * from finish();
rollback;
