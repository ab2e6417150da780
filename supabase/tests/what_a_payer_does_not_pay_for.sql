-- A payer may not pay for a code, or not at a place. A confirmation of it is refused with the field to change, unless an admin
-- held it with a reason.
begin;
select plan(11);
select tests.open_clinic();
select private.add_default_payers(tests.id('clinic'));
update public.payer_code_rules set authorization_required = false where organization_id = tests.id('clinic');
update public.payer_rules set authorization_required = false where organization_id = tests.id('clinic');
insert into public.client_coverages (organization_id, client_id, payer_id, valid_from)
select tests.id('clinic'), tests.id('ann'), id, '2020-01-01' from public.payers where organization_id = tests.id('clinic') and name = 'TRICARE';

create temporary table held (day integer, outcome jsonb) on commit drop;
create function pg_temp.confirmation(day integer, code text, place text) returns jsonb language sql as $$
  select jsonb_set(jsonb_set(body, '{occurrences,0,session,location_type}', to_jsonb(place)), '{occurrences,0,cpt}', jsonb_build_object('code', code))
  from held cross join lateral tests.confirmation(outcome, 'bcba', 'ann') as body where held.day = confirmation.day
$$;
create function pg_temp.paths(body jsonb) returns text language sql as $$
  select string_agg(issue ->> 'path', ' ')
  from jsonb_array_elements((tests.error('admin', format('select public.confirm_sessions(%L)', body)) ->> 'details')::jsonb) as issue
$$;
insert into held select day, tests.hold('admin', tests.request('bcba', 'ann', tests.at(day))) from generate_series(1, 3) as day;
insert into held select 4, tests.hold('admin', tests.request('bcba', 'ann', tests.at(4), 60,
  '{"override": {"reason": "The family pays", "rules": ["authorization"]}}'));
create temporary table before on commit drop as select tests.footprint() as footprint;

select is(pg_temp.paths(pg_temp.confirmation(1, '97153', 'Tele-health')), 'occurrences.0.session.location_type', 'not at this place');
select is(pg_temp.paths(pg_temp.confirmation(1, '97152', 'clinic')), 'occurrences.0.cpt.code', 'not this code');
select is(tests.footprint(), footprint, 'nothing is left of it') from before;
select is(tests.confirm('admin', pg_temp.confirmation(1, '97153', 'clinic')) ->> 'ok', 'true', 'the hold is alive, and another place is paid for');
select is(tests.confirm('admin', pg_temp.confirmation(2, '97156', 'telehealth')) ->> 'ok', 'true', 'as another code is there');
select is(tests.confirm('admin', pg_temp.confirmation(4, '97153', 'telehealth')) ->> 'ok', 'true', 'an admin may have a reason');

-- A move asks for its new place.
update held set outcome = tests.hold('admin', tests.request('bcba', 'ann', tests.at(5), 60, jsonb_build_object('session_id', (
  select id from public.sessions where client_id = tests.id('ann') and start_time = tests.at(1))))) where day = 1;
select is(pg_temp.paths(jsonb_set(tests.confirmation(outcome, 'bcba', 'ann'), '{occurrences,0,session,location_type}', '"virtual"')),
  'occurrences.0.session.location_type', 'a move to such a place is refused') from held where day = 1;
select is(tests.confirm('admin', tests.confirmation(outcome, 'bcba', 'ann')) ->> 'ok', 'true', 'one that keeps its place is not') from held where day = 1;

-- What was held as a service, and what stays as it was booked, is not asked anew.
insert into held select 6, tests.hold('admin', tests.request('bcba', 'ann', tests.at(6), 60, '{"cpt_code": "97155"}'));
update public.payer_code_rules set is_covered = false where organization_id = tests.id('clinic') and cpt_code = '97155';
select is(tests.confirm('admin', pg_temp.confirmation(6, '97155', 'clinic')) ->> 'ok', 'true', 'a hold confirms, whatever its payer has changed since');
create temporary table remote on commit drop as select id from public.sessions where client_id = tests.id('ann') and start_time = tests.at(4);
insert into held select 7, tests.call('admin', format('select public.hold_reassignment(%L)', jsonb_build_object('session_ids', array[id], 'to_therapist_id', tests.id('rbt')))) from remote;
select is(tests.confirm('admin', tests.confirmation(outcome, 'rbt', 'ann')) ->> 'ok', 'true', 'what an admin let take place there is handed over') from held where day = 7;
insert into held select 8, tests.hold('admin', tests.request('rbt', 'ann', tests.at(8), 60, jsonb_build_object('session_id', id))) from remote;
select is(pg_temp.paths(tests.confirmation(outcome, 'rbt', 'ann')), 'occurrences.0.session.location_type', 'for another day it is asked anew') from held where day = 8;

select * from finish();
rollback;
