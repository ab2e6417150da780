-- A clinic brings its schedule from another system: history and what is to come, once, whole or as far as it can be.
begin;
select plan(53);
select tests.open_clinic();
select tests.open_clinic('other ');

create function tests.import(rows jsonb, extra jsonb default '{}', person text default 'admin') returns jsonb language sql as $$
  select tests.call(person, format('select public.import_sessions(%L)', jsonb_build_object('rows', rows) || extra)) $$;
create function tests.row(name text, starts timestamptz, extra jsonb default '{}', therapist text default 'rbt', client text default 'ann') returns jsonb language sql as $$
  select jsonb_build_object('external_id', name, 'therapist_id', tests.id(therapist), 'client_id', tests.id(client), 'time_zone', 'UTC',
    'start_time', private.iso(starts), 'end_time', private.iso(starts + interval '1 hour')) || extra $$;
create function tests.statuses(outcome jsonb) returns text language sql as $$
  select string_agg(item ->> 'status', ' ' order by (item ->> 'row')::integer) from jsonb_array_elements(outcome #> '{body,rows}') as item $$;

-- A schedule with one overlap.
create temporary table plan_ (rows jsonb) on commit drop;
insert into plan_ select jsonb_build_array(tests.row('a', tests.at(1)), tests.row('b', tests.at(1, '10:30')), tests.row('c', tests.at(2)),
  tests.row('d', tests.at(-400), '{"status": "completed", "cpt_code": "97153", "modifiers": ["hm"]}'), tests.row('e', tests.at(-400, '12:00'), '{"status": "cancelled", "cancellation_attribution": "client"}'),
  tests.row('f', tests.at(-400, '12:00'), '{"status": "no_show"}'), tests.row('g', tests.at(-400, '12:00')));
create temporary table dry on commit drop as select tests.import(rows, '{"dry_run": true, "on_conflict": "skip"}') as outcome from plan_;
select is(tests.statuses(outcome), 'ok conflicts ok ok ok ok ok', 'a dry run says of each row what would become of it') from dry;
select is(outcome #> '{body,rows,1,conflicts}', jsonb_build_array(
    jsonb_build_object('resource', 'client', 'blockedBy', 'row', 'row', 0, 'startTime', private.iso(tests.at(1, '10:30')), 'endTime', private.iso(tests.at(1, '11:00'))),
    jsonb_build_object('resource', 'therapist', 'blockedBy', 'row', 'row', 0, 'startTime', private.iso(tests.at(1, '10:30')), 'endTime', private.iso(tests.at(1, '11:00')))),
  'and which row is in the way') from dry;
select is(outcome #> '{body,written}', 'false', 'nothing is written') from dry;
select is((select count(*) from public.sessions where organization_id = tests.id('clinic')), 0::bigint, 'no session');
select is_empty('select * from tests.broken_claims()', 'no claim');
select is((select count(*) from audit.events where organization_id = tests.id('clinic') and action like '%import%'), 0::bigint, 'no event');

select is(tests.import(rows) #>> '{body,written}', 'false', 'with report one conflict keeps all out') from plan_;
select is((select count(*) from public.sessions where organization_id = tests.id('clinic')), 0::bigint, 'again nothing');
create temporary table done on commit drop as select tests.import(rows, '{"on_conflict": "skip"}') as outcome from plan_;
select is((outcome -> 'body') - 'rows', '{"dryRun": false, "written": true, "ok": 6, "unchanged": 0, "withIssues": 0, "withConflicts": 1}', 'with skip the others are imported') from done;
select is(tests.statuses(done.outcome), tests.statuses(dry.outcome), 'as the dry run said') from done, dry;
select results_eq($$ select known.external_id, session.status::text from public.sessions as session join private.imported_sessions as known on known.session_id = session.id order by 1 $$,
  $$ values ('a', 'scheduled'), ('c', 'scheduled'), ('d', 'completed'), ('e', 'cancelled'), ('f', 'no_show'), ('g', 'scheduled') $$, 'history with what became of it');
select results_eq($$ select cpt_code, cpt_modifiers from public.sessions where status = 'completed' and organization_id = tests.id('clinic') $$, $$ values ('97153', '{HM}'::text[]) $$, 'with code and modifiers');
select results_eq($$ select cancellation.attribution::text from public.session_cancellations as cancellation where organization_id = tests.id('clinic') $$, $$ values ('client') $$, 'and on whose side it was cancelled');
select is_empty('select * from tests.broken_claims()', 'claims are what the rows say');
select is((select count(*) from private.visit_claims where organization_id = tests.id('clinic')), 2::bigint, 'a completed one claims its visit');
select results_eq($$ select action, actor_role, cardinality(entity_ids), jsonb_array_length(after) from audit.events where organization_id = tests.id('clinic') and action like '%import%' $$,
  $$ values ('session.imported', 'admin', 6, 6) $$, 'it is one event');
create temporary table again on commit drop as select tests.import(rows, '{"on_conflict": "skip"}') as outcome from plan_;
select is(tests.statuses(outcome), 'unchanged conflicts unchanged unchanged unchanged unchanged unchanged', 'a second time changes nothing') from again;
select is(again.outcome #> '{body,rows,0,sessionId}', done.outcome #> '{body,rows,0,sessionId}', 'and tells which sessions they became') from again, done;
select is(again.outcome #>> '{body,rows,1,conflicts,0,sessionId}', done.outcome #>> '{body,rows,0,sessionId}', 'what is in the way is a session now') from again, done;
select is((select count(*) from audit.events where organization_id = tests.id('clinic') and action like '%import%'), 1::bigint, 'no further event');

-- What was imported is a session like any other.
select is(tests.hold('rbt', tests.request('rbt', 'ben', tests.at(2))) ->> 'code', 'THERAPIST_CONFLICT', 'it blocks');
select is(tests.error('postgres', $$ update public.sessions set cpt_code = '97155' where status = 'completed' $$) ->> 'code', '23514', 'a completed one is frozen');

-- A row whose way becomes free when another has to go.
select is(tests.statuses(tests.import(jsonb_build_array(tests.row('h', tests.at(5), '{}', 'rbt', 'ann'), tests.row('i', tests.at(5), '{}', 'rbt2', 'ann'), tests.row('j', tests.at(5, '10:30'), '{}', 'rbt2', 'ben')), '{"on_conflict": "skip"}')),
  'ok conflicts ok', 'a row that is refused blocks no other');

-- What cannot be.
create temporary table wrong on commit drop as
select tests.import(jsonb_build_array(value), '{"on_conflict": "skip"}') as outcome, path, number
from (values
  (1, tests.row('x', tests.at(20), '{"start_time": "2026-03-02T10:00:00"}'), 'rows.0.start_time'),
  (2, tests.row('x', tests.at(20), '{"time_zone": "Mars/Olympus"}'), 'rows.0.start_time'),
  (3, tests.row('x', tests.at(20), '{"external_id": null}'), 'rows.0.external_id'),
  (4, tests.row('x', tests.at(20), '{"therapist_id": 7}'), 'rows.0.therapist_id'),
  (5, tests.row('x', tests.at(20), '{"status": "completed"}'), 'rows.0.status'),
  (6, tests.row('x', tests.at(20), '{"end_time": "2020-01-01T00:00:00Z"}'), 'rows.0.end_time'),
  (7, tests.row('x', tests.at(20), '{"cpt_code": "ZZZZZ"}'), 'rows.0.cpt_code'),
  (8, tests.row('x', tests.at(20), '{"cpt_code": "97155"}'), 'rows.0.cpt_code'),
  (9, tests.row('x', tests.at(20), '{}', 'rbt', 'other ann'), 'rows.0.therapist_id'),
  (10, tests.row('x', tests.at(20), '{}', 'other rbt'), 'rows.0.therapist_id'),
  (11, tests.row('x', tests.at(900)), 'rows.0.end_time'),
  (12, '"a row"', 'rows.0'),
  (13, tests.row('a', tests.at(20)), 'rows.0.external_id')
) as try (number, value, path);
select ok(outcome #> '{body,rows,0,issues}' @> jsonb_build_array(jsonb_build_object('path', path)), format('%s: %s', number, outcome #> '{body,rows,0}')) from wrong order by number;
select is(outcome #>> '{body,rows,0,sessionId}', (select session_id::text from private.imported_sessions where external_id = 'a'), 'a row that has changed since says which session it became') from wrong where number = 13;
select is((select count(*) from public.sessions where organization_id = tests.id('clinic')), 8::bigint, 'none of them is written');
select is(tests.statuses(tests.import(jsonb_build_array(tests.row('k', tests.at(21)), tests.row('k', tests.at(22))), '{"dry_run": true}')), 'ok issues', 'an id is that of one row');
select is((tests.error('admin', format('select public.import_sessions(%L)', request)) ->> 'details')::jsonb #>> '{0,path}', path, format('%s: %s', left(request::text, 40), path))
from (values ('{}'::jsonb, 'rows'), ('{"rows": []}', 'rows'), ('{"rows": [{}], "dry_run": "yes"}', 'dry_run'), ('{"rows": [{}], "on_conflict": "replace"}', 'on_conflict')) as try (request, path);
select is(tests.import('[{}]', '{}', person) ->> 'code', 'FORBIDDEN', format('%s imports nothing', person)) from unnest(array['rbt', 'parent']) as person;

-- Modifiers, as a confirmation has them.
select tests.import(jsonb_build_array(tests.row('t', tests.at(-200), '{"status": "completed", "cpt_code": "97153", "location_type": "telehealth"}'),
  tests.row('u', tests.at(-201), '{"status": "completed", "cpt_code": "97153", "location_type": "telehealth", "modifiers": []}')));
select results_eq($$ select known.external_id, session.cpt_modifiers from public.sessions as session join private.imported_sessions as known on known.session_id = session.id where location_type = 'telehealth' order by 1 $$,
  $$ values ('t', '{95}'::text[]), ('u', '{}') $$, 'modifiers that a row does not name are the payer''s');

-- Hours, holds.
update public.therapists set availability_hours = '{}' where organization_id = tests.id('clinic') and id = tests.id('bcba');
select is(tests.import(jsonb_build_array(tests.row('l', tests.at(25), '{}', 'bcba'))) #>> '{body,rows,0,conflicts,0,blockedBy}', 'availability', 'what is to come is within hours');
select is(tests.statuses(tests.import(jsonb_build_array(tests.row('m', tests.at(-300), '{"status": "completed"}', 'bcba')))), 'ok', 'history is not asked for them');
select tests.hold('rbt', tests.request('rbt', 'ben', tests.at(26)));
select is(tests.import(jsonb_build_array(tests.row('n', tests.at(26)))) #>> '{body,rows,0,conflicts,0,blockedBy}', 'hold', 'what is held is not taken');

-- What was rendered is not asked for units; what is to come is.
select tests.add_payers();
select tests.cover('ben', 'open');
select tests.authorize('ben', array['97153'], 4, tests.at(-500)::date, tests.at(200)::date);
create temporary table many on commit drop as select tests.import(jsonb_build_array(
  tests.row('r1', tests.at(-150), '{"status": "completed", "cpt_code": "97153"}', 'rbt', 'ben'), tests.row('r2', tests.at(-151), '{"status": "completed", "cpt_code": "97153"}', 'rbt', 'ben'),
  tests.row('r3', tests.at(60), '{"cpt_code": "97153"}', 'rbt', 'ben')), '{"on_conflict": "skip"}') as outcome;
select is(tests.statuses(outcome), 'ok ok conflicts', 'what was rendered happened, whatever was authorized') from many;
select is(outcome #>> '{body,rows,2,conflicts,0,blockedBy}', 'authorization', 'what is to come has no units left') from many;

-- A visit that ran long is in the way of one that was rendered in its time.
insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code)
values (tests.id('clinic'), tests.id('long'), tests.id('rbt'), tests.id('ann'), tests.at(-160), tests.at(-160, '11:00'), 'UTC', '97153');
insert into public.session_visits (organization_id, session_id, actual_start_time, actual_end_time) values (tests.id('clinic'), tests.id('long'), tests.at(-160), tests.at(-160, '12:00'));
update public.sessions set status = 'in_progress' where id = tests.id('long');
update public.sessions set status = 'completed' where id = tests.id('long');
select is(tests.import(jsonb_build_array(tests.row('s', tests.at(-160, '11:30'), '{"status": "completed"}', 'rbt', 'ben'))) #> '{body,rows,0,conflicts}', jsonb_build_array(jsonb_build_object(
  'resource', 'therapist', 'blockedBy', 'session', 'sessionId', tests.id('long'), 'startTime', private.iso(tests.at(-160, '11:30')), 'endTime', private.iso(tests.at(-160, '12:00')))),
  'two visits at once are not imported, though the bookings were one after the other');

select is((tests.error('admin', format('select public.import_sessions(jsonb_build_object(''rows'', (select jsonb_agg(''{}''::jsonb) from generate_series(1, %s))))', 5001)) ->> 'details')::jsonb #>> '{0,message}',
  'must have 1 to 5000 items', '5,001 rows are too many');

select * from finish();
rollback;
