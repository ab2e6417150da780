-- A completed visit tells what it took, and what of it a payer will object to: beyond a limit that warns, counted as the payer
-- rounds and with what is held, or beyond what is authorized.
begin;
select plan(9);
select tests.open_clinic();
select tests.prove_rows();
select tests.add_payers();
insert into public.payer_rules (organization_id, payer_id, rounding, valid_from) values (tests.id('clinic'), tests.id('open'), 'floor', '2020-01-01');
select tests.cover('ann', 'open');
select tests.authorize('ann', '97153', 30);
insert into public.unit_limits (organization_id, payer_id, cpt_codes, period, max_units, effect)
values (tests.id('clinic'), tests.id('open'), '{97153}', 'day', 5, 'warn');

create function pg_temp.at(hour integer) returns timestamptz language sql stable as $$
  select (((now() at time zone 'America/Los_Angeles')::date - 2) + make_time(hour, 0, 0)) at time zone 'America/Los_Angeles'
$$;
-- A visit of two days ago, of so many minutes, signed.
create function pg_temp.visit(name text, hour integer, minutes integer) returns jsonb language sql as $$
  insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code, location_type)
  values (tests.id('clinic'), tests.id(name), tests.id('rbt'), tests.id('ann'), pg_temp.at(hour), pg_temp.at(hour) + interval '15 minutes',
    'America/Los_Angeles', '97153', 'clinic');
  update public.sessions set status = 'in_progress' where id = tests.id(name);
  select tests.record_visit(tests.id(name), pg_temp.at(hour), pg_temp.at(hour) + make_interval(mins => minutes)), tests.sign(tests.id(name));
  select tests.call('rbt', format('select public.complete_session(%L)', jsonb_build_object('session_id', tests.id(name)))) -> 'body'
$$;

create temporary table answered on commit drop as select pg_temp.visit('first', 8, 44) as body;
select is(body ->> 'units', '2', 'the payer counts whole units only') from answered;
select is(body -> 'warnings', null, 'within limit and authorization nothing is told') from answered;
update answered set body = pg_temp.visit('second', 9, 59);
select is(body ->> 'units', '3', 'a second visit of the day') from answered;
select is(body -> 'warnings', null, 'reaches the limit of the day, as that payer rounds') from answered;

-- A hold of that day: it cannot be made for the past, so it is brought there.
create temporary table held on commit drop as
select (tests.hold('rbt', tests.request('rbt', 'ann', tests.at(3), 30, '{"cpt_code": "97153"}')) #>> '{body,holdId}')::uuid as batch_id;
select set_config('therapist_sessions.within', 'booking', true);
update public.authorization_units set service_date = pg_temp.at(8)::date
where owner_id in (select hold.id from public.session_holds as hold join held on held.batch_id = hold.batch_id);
select set_config('therapist_sessions.within', '', true);
select is(
  tests.call('rbt', format('select public.correct_visit(%L)', jsonb_build_object('session_id', tests.id('second'), 'base_version', 1,
    'reason_code', 'wrong_place', 'location_type', 'home'))) #> '{body,warnings}',
  jsonb_build_array(jsonb_build_object('code', 'UNIT_LIMIT_EXCEEDED', 'cptCode', '97153', 'date', pg_temp.at(8)::date, 'limit', 'day',
    'units', 7, 'maxUnits', 5)),
  'with what is held that day it is beyond, and a correction says so'
);
update answered set body = pg_temp.visit('third', 11, 60);
select is(body #>> '{warnings,0,units}', '11', 'as does a completion') from answered;

-- Beyond the authorization
update public.authorizations set approved_units = 12 where client_id = tests.id('ann');
update answered set body = pg_temp.visit('fourth', 13, 60);
select is(body ->> 'units', '4', 'what was rendered beyond what is authorized is completed') from answered;
select is(
  (select jsonb_agg(warning - 'clientId') from jsonb_array_elements(body -> 'warnings') as warning where warning ->> 'code' = 'AUTHORIZATION_EXCEEDED'),
  jsonb_build_array(jsonb_build_object('code', 'AUTHORIZATION_EXCEEDED', 'cptCode', '97153', 'date', pg_temp.at(13)::date,
    'limit', 'total', 'neededUnits', 4, 'leftUnits', 1)),
  'and the answer says how much was left'
) from answered;
select is(
  (select detail from reports.visit_problems where session_id = tests.id('fourth') and problem = 'units_beyond'), '3 of 4 units',
  'as the report does'
);

select * from finish();
rollback;
