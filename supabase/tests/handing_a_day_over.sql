-- A therapist is ill, and their day goes to somebody else: every client at once, all or nothing or as many as can,
-- confirmed by one key. Times, rooms and buffers stay as they are.
begin;
select plan(58);
select tests.open_clinic();
select tests.open_clinic('other ');
insert into public.clients (organization_id, id, reference) select tests.id('clinic'), tests.id(name), name from unnest(array['eve', 'fay', 'gus']) as name;
insert into public.caseloads (organization_id, therapist_id, client_id)
select tests.id('clinic'), tests.id(therapist), tests.id(client)
from unnest(array['rbt', 'rbt2', 'bcba']) as therapist, unnest(array['eve', 'fay', 'gus']) as client;
update public.therapists set time_zone = 'UTC' where organization_id = tests.id('clinic');

create function tests.hand(person text, request jsonb, key text default null) returns jsonb language sql as $$
  select tests.call(person, format('select public.hold_reassignment(%L, %L)', request, key)) $$;
create function tests.day_of(therapist text, day integer, receiver text, extra jsonb default '{}') returns jsonb language sql as $$
  select jsonb_build_object('therapist_id', tests.id(therapist), 'from', private.iso(tests.at(day, '00:00')),
    'to', private.iso(tests.at(day + 1, '00:00')), 'to_therapist_id', tests.id(receiver)) || extra $$;
-- The confirmation of all that was held.
create function tests.take(held jsonb, receiver text) returns jsonb language sql as $$
  with item as (
    select position, jsonb_build_object('hold_key', hold -> 'holdKey', 'time_zone', hold -> 'timeZone', 'session', jsonb_build_object(
      'id', hold -> 'sessionId', 'therapist_id', tests.id(receiver), 'client_id', hold -> 'clientId',
      'start_time', hold -> 'startTime', 'end_time', hold -> 'endTime')) as body
    from jsonb_array_elements(held #> '{body,holds}') with ordinality as element (hold, position)
  )
  select (select body from item where position = 1) || jsonb_build_object('hold_key', held #> '{body,holdKey}', 'occurrences', (select jsonb_agg(body order by position) from item))
$$;
-- Who renders what on a day: 'ann rbt', by time.
create function tests.rendered(day integer) returns text[] language sql as $$
  select array_agg(format('%s %s', client.reference, therapist.display_name) order by session.start_time, client.reference)
  from public.sessions as session
  join public.clients as client on client.organization_id = session.organization_id and client.id = session.client_id
  join public.therapists as therapist on therapist.organization_id = session.organization_id and therapist.id = session.therapist_id
  where session.organization_id = tests.id('clinic') and session.start_time::date = tests.at(day)::date and session.status = 'scheduled'
$$;
create function tests.booked(therapist text, client text, starts timestamptz, extra jsonb default '{}') returns uuid language plpgsql as $$
declare
  held jsonb := tests.hold('admin', tests.request(therapist, client, starts, 60, extra));
begin
  return (tests.confirm('admin', tests.confirmation(held, therapist, client)) #>> '{body,session,id}')::uuid;
end $$;

-- A whole day
create temporary table day_one on commit drop as
select tests.booked('rbt', 'ann', tests.at(1, '09:00'), jsonb_build_object('room_id', tests.id('blue'))) as ann,
  tests.booked('rbt', 'ben', tests.at(1, '11:00'), '{"buffer_before_minutes": 30}') as ben,
  tests.booked('rbt', 'eve', tests.at(1, '13:00'), jsonb_build_object('room_id', tests.id('green'))) as eve,
  tests.booked('rbt', 'ann', tests.at(2, '09:00')) as next_day;
select tests.cancel('admin', jsonb_build_object('session_ids', array[tests.booked('rbt', 'fay', tests.at(1, '15:00'))]));
create temporary table held on commit drop as select tests.hand('admin', tests.day_of('rbt', 1, 'rbt2'), 'day one') as outcome;
select is(jsonb_array_length(outcome #> '{body,holds}'), 3, 'the sessions to come of a day are held, whatever client and room') from held;
select is(outcome #> '{body,skipped}', '[]', 'all of them') from held;
select is(outcome #>> '{body,holds,0,sessionId}', ann::text, 'each with its session') from held, day_one;
select is(outcome #>> '{body,holds,1,clientId}', tests.id('ben')::text, 'its client') from held;
select is(outcome #>> '{body,holds,0,previousTherapistId}', tests.id('rbt')::text, 'and who had it') from held;
select is(tests.rendered(1), '{ann rbt,ben rbt,eve rbt}', 'until they are confirmed, nothing has moved');
select is(tests.hold('admin', tests.request('rbt2', 'gus', tests.at(1, '09:30'))) ->> 'code', 'THERAPIST_HOLD_CONFLICT', 'the other therapist''s time is held');
select is(tests.hold('admin', tests.request('rbt2', 'gus', tests.at(1, '10:30'), 30)) ->> 'code', 'THERAPIST_HOLD_CONFLICT', 'with the travel of each session');
select is(tests.hold('admin', tests.request('rbt2', 'gus', tests.at(1, '10:00'), 30)) ->> 'ok', 'true', 'and no more');
select is(tests.hand('admin', tests.day_of('rbt', 1, 'rbt2'), 'day one') ->> 'replayed', 'true', 'the same key answers the same hold');
select is(tests.hand('admin', tests.day_of('rbt', 1, 'bcba'), 'day one') ->> 'code', 'IDEMPOTENCY_KEY_REUSED', 'for another request it is refused');
select is(tests.hand('admin', tests.day_of('rbt', 1, 'bcba')) ->> 'code', 'SESSION_BEING_MOVED', 'nobody else gets the day meanwhile');
select is_empty('select * from tests.broken_claims()', 'the hold claims what its rows say');
select is(tests.confirm('admin', tests.take(outcome, 'rbt2')) ->> 'ok', 'true', 'one key confirms it') from held;
select is(tests.rendered(1), '{ann rbt2,ben rbt2,eve rbt2}', 'and everybody has gone over');
select results_eq(
  $$ select room_id, buffer_before_minutes from public.sessions, day_one where id in (ann, ben, eve) order by start_time $$,
  $$ values (tests.id('blue'), 0::smallint), (null, 30::smallint), (tests.id('green'), 0::smallint) $$, 'with the rooms and the travel that they had'
);
select is(tests.rendered(2), '{ann rbt}', 'the next day stays');
select is_empty('select * from tests.broken_claims()', 'the sessions claim what their rows say');
select is((select jsonb_array_length(after) from audit.events where organization_id = tests.id('clinic') and action = 'hold.confirmed' order by recorded_at desc limit 1), 3, 'one event tells of all three');
select is(tests.confirm('admin', tests.take(outcome, 'rbt2')) ->> 'ok', 'true', 'confirming again changes nothing') from held;

-- Somebody is in the way
select tests.booked('rbt', 'ann', tests.at(4, '09:00')), tests.booked('rbt', 'ben', tests.at(4, '11:00')), tests.booked('rbt', 'eve', tests.at(4, '13:00'));
select tests.booked('rbt2', 'fay', tests.at(4, '11:30'));
create temporary table busy on commit drop as select tests.hand('admin', tests.day_of('rbt', 4, 'rbt2')) as outcome;
select is(outcome ->> 'code', 'THERAPIST_CONFLICT', 'one that cannot go refuses all') from busy;
select is(jsonb_array_length(outcome -> 'blocked'), 1, 'with the one that cannot') from busy;
select is((outcome #> '{blocked,0}') - array['sessionId', 'detail'], jsonb_build_object('code', 'THERAPIST_CONFLICT', 'retryAfter', null, 'conflicts',
  jsonb_build_array(jsonb_build_object('occurrenceIndex', 1, 'resource', 'therapist', 'blockedBy', 'session', 'startTime', private.iso(tests.at(4, '11:30')), 'endTime', private.iso(tests.at(4, '12:00')),
    'sessionId', outcome #> '{blocked,0,sessionId}'))), 'why, and when') from busy;
select is((select count(*) from public.session_holds as hold where hold.organization_id = tests.id('clinic') and hold.status = 'held' and hold.session_id is not null), 0::bigint, 'nothing was held');
create temporary table partly on commit drop as select tests.hand('admin', tests.day_of('rbt', 4, 'rbt2', '{"on_conflict": "skip"}')) as outcome;
select is(jsonb_array_length(outcome #> '{body,holds}'), 2, 'told to skip, the others are held') from partly;
select is(outcome #>> '{body,skipped,0,code}', 'THERAPIST_CONFLICT', 'and the one is named') from partly;
select is(tests.confirm('admin', tests.take(outcome, 'rbt2')) ->> 'ok', 'true', 'they are confirmed together') from partly;
select is(tests.rendered(4), '{ann rbt2,ben rbt,fay rbt2,eve rbt2}', 'and the one stays where it was');
select is(tests.hand('admin', tests.day_of('rbt', 4, 'rbt2', '{"on_conflict": "skip"}')) ->> 'code', 'THERAPIST_CONFLICT', 'where none can go, skipping refuses too');

-- Hours, levels, groups
insert into public.availability_exceptions (organization_id, therapist_id, kind, starts_at, ends_at)
values (tests.id('clinic'), tests.id('bcba'), 'time_off', tests.at(4, '10:00'), tests.at(4, '12:00'));
select is(tests.hand('admin', tests.day_of('rbt', 4, 'bcba')) ->> 'code', 'OUTSIDE_AVAILABILITY', 'nor to whom is away');
select is(tests.hand('admin', tests.day_of('rbt', 4, 'bcba', '{"override": {"reason": "asked for"}}')) #> '{body,overridden}', '["availability"]', 'unless an admin overrides');
create temporary table guidance on commit drop as
select (tests.confirm('bcba', tests.confirmation(held, 'bcba', 'ann') || '{"cpt": {"code": "97155"}}') #>> '{body,session,id}')::uuid as id
from tests.hold('bcba', tests.request('bcba', 'ann', tests.at(6), 60, '{"cpt_code": "97155"}')) as held;
select is(tests.hand('admin', jsonb_build_object('session_ids', array[id], 'to_therapist_id', tests.id('rbt2'))) ->> 'code', 'FORBIDDEN', 'a technician takes nothing that only a professional may render') from guidance;
insert into public.session_groups (organization_id, id, therapist_id, start_time, end_time, room_id, buffer_after_minutes)
values (tests.id('clinic'), tests.id('group'), tests.id('rbt'), tests.at(8), tests.at(8, '11:00'), tests.id('blue'), 15);
insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone, group_id, session_type)
select tests.id('clinic'), tests.id('rbt'), tests.id(client), tests.at(8), tests.at(8, '11:00'), 'UTC', tests.id('group'), 'group' from unnest(array['ann', 'ben', 'eve']) as client;
select tests.booked('rbt', 'fay', tests.at(8, '12:00'));
create temporary table gathered on commit drop as select tests.hand('admin', tests.day_of('rbt', 8, 'rbt2')) as outcome;
select is(jsonb_array_length(outcome #> '{body,holds}'), 2, 'a group is one of the sessions of a day') from gathered;
select is(jsonb_array_length(outcome #> '{body,holds,0,clientIds}'), 3, 'with all its clients') from gathered;
select is(tests.hold('admin', tests.request('rbt2', 'gus', tests.at(8, '11:00'), 30)) ->> 'code', 'THERAPIST_HOLD_CONFLICT', 'its buffer is held') from gathered;
select is(tests.confirm('admin', tests.take(outcome, 'rbt2')) ->> 'ok', 'true', 'it is confirmed by one of them') from gathered;
select is(tests.rendered(8), '{ann rbt2,ben rbt2,eve rbt2,fay rbt2}', 'and goes whole');
select results_eq($$ select therapist_id, room_id, buffer_after_minutes from public.session_groups where id = tests.id('group') $$,
  $$ values (tests.id('rbt2'), tests.id('blue'), 15::smallint) $$, 'with its room and its buffer');
select is_empty('select * from tests.broken_claims()', 'and its claims');

-- Two therapists' sessions at one time
create temporary table two on commit drop as select tests.booked('rbt', 'ann', tests.at(10)) as first, tests.booked('rbt2', 'ben', tests.at(10, '10:30')) as second;
select is(tests.hand('admin', jsonb_build_object('session_ids', array[first, second], 'to_therapist_id', tests.id('bcba'), 'on_conflict', 'skip')) #>> '{body,skipped,0,sessionId}', second::text,
  'of two at one time the later one is skipped') from two;

-- Modifiers
select tests.add_payers();
insert into public.payer_rules (organization_id, payer_id, rounding, valid_from) values (tests.id('clinic'), tests.id('open'), 'midpoint', '2020-01-01');
insert into public.payer_code_rules (organization_id, payer_id, cpt_code, modifiers, valid_from)
values (tests.id('clinic'), tests.id('open'), '97153', '{"technician": ["HM"], "qhp": ["HO"]}', '2020-01-01');
select tests.cover('ann', 'open');
create temporary table billed on commit drop as
select tests.booked('rbt', 'ann', tests.at(12), '{"cpt_code": "97153"}') as id, tests.booked('rbt', 'ann', tests.at(12, '12:00'), '{"cpt_code": "97153"}') as chosen_id;
update public.sessions set cpt_modifiers = '{GT}' where id = (select chosen_id from billed);
select tests.confirm('admin', tests.take(tests.hand('admin', tests.day_of('rbt', 12, 'bcba')), 'bcba'));
select results_eq($$ select cpt_modifiers from public.sessions, billed where sessions.id in (billed.id, chosen_id) order by start_time $$, $$ values ('{HO}'::text[]), ('{GT}') $$,
  'the payer''s modifiers follow the level of who renders, those that somebody chose stay');

-- Who may, and what is no request
select is(tests.hand(person, tests.day_of('rbt', 2, 'rbt2')) ->> 'code', 'FORBIDDEN', format('%s hands nothing over', person)) from unnest(array['rbt', 'parent']) as person;
select is(tests.hand('other admin', jsonb_build_object('session_ids', array[next_day], 'to_therapist_id', tests.id('other rbt'))) ->> 'code', 'FORBIDDEN', 'nor another clinic') from day_one;
select is(tests.hand('admin', tests.day_of('rbt', 2, 'other rbt')) ->> 'code', 'FORBIDDEN', 'nor to somebody of another clinic');
select is(tests.hand('admin', tests.day_of('rbt', 3, 'rbt2')) ->> 'code', 'SESSION_NOT_MOVABLE', 'a day without sessions has nothing to hand over');
select is((tests.error('admin', format('select public.hold_reassignment(%L)', jsonb_build_object('to_therapist_id', tests.id('rbt2')) || wrong)) ->> 'details')::jsonb #>> '{0,path}', path, format('%s: %s', wrong, path))
from (values
  ('{"to_therapist_id": null, "session_ids": ["00000000-0000-4000-8000-000000000000"]}'::jsonb, 'to_therapist_id'), ('{}', 'session_ids'), ('{"session_ids": []}', 'session_ids'),
  ('{"session_ids": ["x"]}', 'session_ids.0'), (jsonb_build_object('therapist_id', tests.id('rbt')), 'from'),
  (tests.day_of('rbt', 2, 'rbt2') || '{"session_ids": ["00000000-0000-4000-8000-000000000000"]}', 'session_ids'), (tests.day_of('rbt', 2, 'rbt'), 'to_therapist_id'),
  (tests.day_of('rbt', 2, 'rbt2') || '{"from": "tomorrow"}', 'from'), (tests.day_of('rbt', 2, 'rbt2') || '{"to": "2020-01-01T00:00:00Z"}', 'to'),
  (tests.day_of('rbt', 2, 'rbt2') || '{"on_conflict": "maybe"}', 'on_conflict'), (tests.day_of('rbt', 2, 'rbt2') || '{"hold_seconds": 10}', 'hold_seconds'),
  (tests.day_of('rbt', 2, 'rbt2') || '{"override": {"rules": ["availability"]}}', 'override.reason')
) as try (wrong, path);

select * from finish();
rollback;
