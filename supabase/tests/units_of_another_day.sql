-- A visit counts on the day on which it began, whichever it was booked for and however it was completed: for that day's
-- payer, of that day's authorization, rounded with that day's visits. Units move with it, and never vanish.
begin;
select plan(32);
select tests.open_clinic();
select tests.prove_rows();
select tests.add_payers();

-- ann's insurance changed: open until three days ago, strict since.
create function pg_temp.day(back integer, clock time default '10:00') returns timestamptz language sql stable as $$
  select (((now() at time zone 'America/Los_Angeles')::date - back) + clock) at time zone 'America/Los_Angeles'
$$;
create function pg_temp.wire(back integer, clock time default '10:00') returns text language sql stable as $$
  select to_char(pg_temp.day(back, clock) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
$$;
insert into public.payer_rules (organization_id, payer_id, rounding, valid_from)
select tests.id('clinic'), tests.id(payer), rounding::public.unit_rounding, '2020-01-01'
from (values ('open', 'midpoint'), ('strict', 'midpoint_daily'), ('silent', 'cms_pooled')) as rule (payer, rounding);
insert into public.client_coverages (organization_id, client_id, payer_id, valid_from, valid_to)
values
  (tests.id('clinic'), tests.id('ann'), tests.id('open'), '2020-01-01', (now() at time zone 'America/Los_Angeles')::date - 3),
  (tests.id('clinic'), tests.id('ann'), tests.id('strict'), (now() at time zone 'America/Los_Angeles')::date - 2, null),
  (tests.id('clinic'), tests.id('ben'), tests.id('silent'), '2020-01-01', null);
create function pg_temp.authorize(client text, payer text, code text) returns void language plpgsql as $$
declare
  made uuid := tests.authorize(client, code, 20);
begin
  update public.authorizations set payer_id = tests.id(payer) where id = made;
end
$$;
select pg_temp.authorize('ann', 'strict', '97153'), pg_temp.authorize('ann', 'open', '97153'),
  pg_temp.authorize('ben', 'silent', '97155'), pg_temp.authorize('ben', 'silent', '97156');

-- What a client's services take of a payer's authorizations: scheduled, and used in the ledger, in the report, on the visits.
create function pg_temp.taken(client text, payer text, code text default '97153') returns text language sql as $$
  select concat_ws(' ', coalesce(sum(entry.units) filter (where entry.state = 'scheduled'), 0),
    coalesce(sum(entry.units) filter (where entry.state = 'used'), 0), (
      select coalesce(sum(line.units), 0) from reports.billable_visits as line
      where line.client_id = tests.id(client) and line.payer_id = tests.id(payer) and line.cpt_code = code
    ))
  from public.authorizations as approval
  left join public.authorization_units as entry
    on entry.organization_id = approval.organization_id and entry.authorization_id = approval.id and entry.cpt_code = code
  where approval.client_id = tests.id(client) and approval.payer_id = tests.id(payer)
$$;
create function pg_temp.session(name text, client text, code text, back integer, clock time, minutes integer) returns void language sql as $$
  insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code, location_type)
  values (tests.id('clinic'), tests.id(name), tests.id('bcba'), tests.id(client), pg_temp.day(back, clock),
    pg_temp.day(back, clock) + make_interval(mins => minutes), 'America/Los_Angeles', code, 'clinic');
$$;
create function pg_temp.ask(rpc text, name text, extra jsonb default '{}') returns jsonb language sql as $$
  select tests.call('bcba', format('select public.%I(%L)', rpc, jsonb_build_object('session_id', tests.id(name)) || extra))
$$;
create function pg_temp.correct(name text, version integer, changes jsonb) returns jsonb language sql as $$
  select pg_temp.ask('correct_visit', name, jsonb_build_object('base_version', version, 'reason_code', 'wrong_time') || changes)
$$;
create function pg_temp.times(back integer, clock time, minutes integer) returns jsonb language sql as $$
  select jsonb_build_object('actual_start_time', pg_temp.wire(back, clock), 'other_day_reason', 'a story',
    'actual_end_time', to_char((pg_temp.day(back, clock) + make_interval(mins => minutes)) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'))
$$;

-- Completed on another day than booked
select pg_temp.session('visit', 'ann', '97153', 2, '10:00', 60);
select is(pg_temp.taken('ann', 'strict'), '4 0 0', 'what is booked is scheduled of the payer of that day');
select pg_temp.ask('start_session', 'visit', jsonb_build_object('actual_start_time', pg_temp.wire(4), 'other_day_reason', 'a story'));
select pg_temp.ask('end_session', 'visit', pg_temp.times(4, '10:00', 45));
select tests.sign(tests.id('visit'));
select is(pg_temp.ask('complete_session', 'visit') #>> '{body,units}', '3', 'it took place two days before, and is completed');
select is(pg_temp.taken('ann', 'strict'), '0 0 0', 'of the payer of the booked day nothing is left taken');
select is(pg_temp.taken('ann', 'open'), '0 3 3', 'the payer of its own day pays for it');
select is((select service_date from reports.billable_visits where session_id = tests.id('visit')), pg_temp.day(4)::date, 'it is billed on its own day');
select is((select service_date from public.authorization_units where owner_id = tests.id('visit')), pg_temp.day(4)::date, 'and stands there in the ledger');
select is(
  (select string_agg(problem || ': ' || detail, '; ' order by problem) from reports.visit_problems where session_id = tests.id('visit')
    and problem in ('off_the_day', 'signature_differs')),
  'off_the_day: began on ' || pg_temp.day(4)::date, 'which the report of problems tells'
);

-- Corrected to another day, another service, other minutes
select is(pg_temp.correct('visit', 1, pg_temp.times(2, '10:00', 53)) #>> '{body,units}', '4', 'corrected to the booked day');
select is(pg_temp.taken('ann', 'open'), '0 0 0', 'its units leave the former payer');
select is(pg_temp.taken('ann', 'strict'), '0 4 4', 'for the payer of that day');
select is(pg_temp.correct('visit', 2, '{"cpt_code": "97155"}') #>> '{body,units}', '4', 'corrected to a service without an authorization');
select is(pg_temp.taken('ann', 'strict'), '0 0 0', 'it takes none of the other');
select is(
  (select sum(units) from reports.units_by_code_and_payer where organization_id = tests.id('clinic') and cpt_code = '97155'), 4::bigint,
  'but is billed all the same: units never vanish'
);
select is(pg_temp.correct('visit', 3, '{"cpt_code": "97153"}') ->> 'ok', 'true', 'and back');
select is(pg_temp.taken('ann', 'strict'), '0 4 4', 'it has what it had');
insert into public.service_codes (organization_id, code, description, levels, valid_from, valid_to)
values (tests.id('clinic'), 'H2019', 'Skills', '{qhp}', '2020-01-01', pg_temp.day(3)::date);
select is(
  tests.error('bcba', format('select public.correct_visit(%L)', jsonb_build_object('session_id', tests.id('visit'), 'base_version', 4,
    'reason_code', 'wrong_service', 'cpt_code', 'H2019'))) ->> 'hint', 'VALIDATION_FAILED', 'a code is corrected to one that was valid that day'
);
select is(pg_temp.correct('visit', 4, '{"cpt_code": "H2019"}' || pg_temp.times(4, '10:00', 60)) ->> 'ok', 'true', 'its own day is the corrected one');
select is(
  tests.error('bcba', format('select public.correct_visit(%L)', jsonb_build_object('session_id', tests.id('visit'), 'base_version', 5,
    'reason_code', 'wrong_time') || pg_temp.times(2, '10:00', 60))) ->> 'hint', 'VALIDATION_FAILED', 'nor does a day go beyond its code'
);

-- A payer who rounds by the day
select pg_temp.correct('visit', 5, '{"cpt_code": "97153"}' || pg_temp.times(2, '10:00', 23));
select pg_temp.session('second', 'ann', '97153', 2, '14:00', 23);
select pg_temp.ask('start_session', 'second', pg_temp.times(2, '14:00', 23) - 'actual_end_time');
select pg_temp.ask('end_session', 'second', pg_temp.times(2, '14:00', 23));
select tests.sign(tests.id('second'));
select is(pg_temp.ask('complete_session', 'second') #>> '{body,units}', '1', '23 minutes beside 23 minutes are the third unit');
select is(pg_temp.taken('ann', 'strict'), '0 3 3', 'of three in all');
select is(pg_temp.correct('visit', 6, pg_temp.times(1, '10:00', 23)) #>> '{body,units}', '2', 'moved to another day the one has two');
select is((select units from public.session_visits where session_id = tests.id('second')), 2, 'and so has the other');
select is(pg_temp.taken('ann', 'strict'), '0 4 4', 'four in all');
select is(pg_temp.correct('visit', 7, pg_temp.times(2, '10:00', 23)) #>> '{body,units}', '2', 'moved back');
select is(pg_temp.taken('ann', 'strict'), '0 3 3', 'the day is rounded once');
select is(pg_temp.correct('visit', 8, '{"undo": "completion", "reason_code": "by_mistake"}') ->> 'ok', 'true', 'a completion that is undone');
select is(pg_temp.taken('ann', 'strict'), '4 2 2', 'leaves the day to the other, and is scheduled as it was booked');

-- Completed directly
update public.sessions set status = 'completed' where id = tests.id('visit');
select is(pg_temp.taken('ann', 'strict'), '0 3 3', 'a direct completion counts by the day too, and by the recorded times');
select pg_temp.session('advice', 'ben', '97156', 2, '17:00', 7), pg_temp.session('change', 'ben', '97155', 2, '16:00', 7);
update public.sessions set status = 'in_progress' where client_id = tests.id('ben');
update public.sessions set status = 'completed' where client_id = tests.id('ben');
select is(
  pg_temp.taken('ben', 'silent', '97155') || ', ' || pg_temp.taken('ben', 'silent', '97156'), '0 1 1, 0 0 0',
  'without recorded times as it was booked: 7 and 7 minutes of two codes, pooled, are a unit'
);
update public.session_visits set actual_end_time = actual_start_time + interval '40 minutes' where session_id = tests.id('second');
select is(pg_temp.taken('ann', 'strict'), '0 4 4', 'and times that SQL writes are counted: 63 minutes');
select is_empty('select * from tests.broken_claims()', 'claims are sound');

-- A visit that is not completed waits under the day on which it began.
select pg_temp.session('begun', 'ben', '97153', 3, '12:00', 60);
select pg_temp.ask('start_session', 'begun', jsonb_build_object('actual_start_time', pg_temp.wire(45), 'other_day_reason', 'a story'));
select results_eq(
  $$ select month, service_date, days_waiting from reports.unbilled where session_id = tests.id('begun') $$,
  $$ select date_trunc('month', pg_temp.day(45) at time zone 'America/Los_Angeles')::date, (pg_temp.day(45) at time zone 'America/Los_Angeles')::date, 45 $$,
  'a visit in progress is unbilled since the day on which it began');

select * from finish();
rollback;
