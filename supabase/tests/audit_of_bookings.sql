-- Who did what, when, and what came of it: one event for each change of state, refusals included, that nobody can edit.
begin;
select plan(66);
select tests.open_clinic();
select tests.open_clinic('other ');

create function tests.last_event() returns audit.events language sql stable as $$
  select events from audit.events where organization_id in (tests.id('clinic'), tests.id('other clinic'))
  order by recorded_at desc limit 1 $$;

-- A booking from hold to cancellation, with its detours.
create temporary table held on commit drop as
select tests.hold('rbt', tests.series('rbt', 'ann', array[tests.at(1), tests.at(2)])) as outcome;
select results_eq(
  $$ select action, outcome, code, actor_user_id, actor_role, actor_session_id, entity, request_id from tests.last_event() $$,
  $$ values ('hold.acquired', 'ok', null, tests.id('rbt'), 'therapist', tests.id('rbt at her laptop')::text, 'hold', 'story') $$,
  'a hold: by whom, in which role and session, for which request'
);
select is((tests.last_event()).entity_ids, array(select (hold ->> 'holdId')::uuid from jsonb_array_elements(outcome #> '{body,holds}') as hold),
  'a batch is one event that lists its ids') from held;
select is(tests.hold('rbt', tests.request('rbt', 'ben', tests.at(1))) ->> 'code', 'THERAPIST_HOLD_CONFLICT', 'a rival is refused');
select results_eq($$ select action, entity, outcome, code from tests.last_event() $$, $$ values ('hold.refused', 'hold', 'refused', 'THERAPIST_HOLD_CONFLICT') $$,
  'the refusal is kept, though nothing else of it is');
select is(tests.hold('rbt', tests.request('rbt2', 'ben', tests.at(1))) ->> 'code', 'FORBIDDEN', 'somebody tries what she may not');
select results_eq($$ select action, outcome, code, actor_user_id from tests.last_event() $$,
  $$ values ('hold.refused', 'refused', 'FORBIDDEN', tests.id('rbt')) $$, 'that is kept too');

create temporary table booked on commit drop as
select tests.confirm('admin', tests.confirmation(outcome, 'rbt', 'ann')) as outcome from held;
select results_eq(
  $$ select action, entity, actor_role, details ->> 'batchId', jsonb_array_length(after) from tests.last_event() $$,
  $$ select 'hold.confirmed', 'session', 'admin', outcome #>> '{body,holdId}', 2 from held $$, 'a confirmation is one event with both sessions'
);
select is(tests.cancel('rbt', jsonb_build_object('session_ids', jsonb_build_array(outcome #> '{body,session,id}'), 'reason', 'Ill')) ->> 'ok', 'true',
  'one is cancelled') from booked;
select results_eq($$ select action, before #>> '{0,status}', after #>> '{0,status}' from tests.last_event() $$,
  $$ values ('session.cancelled', 'scheduled', 'cancelled') $$, 'before and after are kept');
select is((select array_agg(key order by key) from jsonb_object_keys((tests.last_event()).after -> 0) as key),
  '{buffer_after_minutes,buffer_before_minutes,civil_start,client_id,cpt_modifiers,end_time,id,series_id,start_time,status,therapist_id,time_zone}',
  'of what a session is, not of how its row is kept');
select tests.bring_forward(id) from public.sessions where organization_id = tests.id('clinic') and status = 'scheduled';
select is(tests.rows('rbt', $$ update public.sessions set status = 'in_progress' where status = 'scheduled' $$), 1::bigint, 'the other begins');
select results_eq($$ select action, actor_user_id, actor_role, before #>> '{0,status}' from tests.last_event() $$,
  $$ values ('session.in_progress', tests.id('rbt'), 'therapist', 'scheduled') $$, 'a change of status over REST has its event');
select is(tests.cancel('rbt', jsonb_build_object('session_ids', array[gen_random_uuid()])) ->> 'code', 'FORBIDDEN', 'a cancellation is refused');
select results_eq($$ select action, entity, outcome, code from tests.last_event() $$, $$ values ('cancellation.refused', 'session', 'refused', 'FORBIDDEN') $$, 'and kept');
select is(tests.confirm('rbt', tests.confirmation(outcome, 'rbt', 'ann') #- '{occurrences,0}') ->> 'code', 'HOLD_MISMATCH', 'so with a confirmation') from held;
select results_eq($$ select action, entity, outcome, code from tests.last_event() $$, $$ values ('confirmation.refused', 'hold', 'refused', 'HOLD_MISMATCH') $$, 'that is refused');

create temporary table second on commit drop as select tests.hold('rbt', tests.request('rbt', 'ann', tests.at(5))) as outcome;
select is(tests.release('admin', outcome #>> '{body,holdKey}') #>> '{body,released}', 'true', 'a hold is released') from second;
select results_eq($$ select action, before ->> 'status', after ->> 'status', actor_user_id from tests.last_event() $$,
  $$ values ('hold.released', 'held', 'released', tests.id('admin')) $$, 'by an admin');
create temporary table third on commit drop as select tests.hold('rbt', tests.request('rbt', 'ann', tests.at(5))) as outcome;
do $$ begin perform tests.expire(outcome, clock_timestamp() - interval '3 hours') from third; end $$;
select is(tests.hold('rbt2', tests.request('rbt2', 'ann', tests.at(5))) ->> 'ok', 'true', 'another runs out and somebody takes its place');
select results_eq(
  $$ select occurred_at < clock_timestamp() - interval '2 hours', recorded_at > clock_timestamp() - interval '1 minute', actor_user_id, entity_ids
     from audit.events where organization_id = tests.id('clinic') and action = 'hold.expired' $$,
  $$ select true, true, tests.id('rbt2'), array[(outcome #>> '{body,holds,0,holdId}')::uuid] from third $$,
  'the expiry is dated to when it was, written down by who saw it'
);

-- By SQL, without a token.
select is(tests.rows('postgres', format($$ insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone)
  values (%L, %L, %L, %L, %L, 'UTC') $$, tests.id('clinic'), tests.id('rbt2'), tests.id('ben'), tests.at(8), tests.at(8, '11:00'))), 1::bigint, 'somebody inserts by SQL');
select is((tests.last_event()).database_user, session_user::text, 'the database user is kept');
select is((tests.last_event()).actor_user_id, null, 'where there is no other');
select is(tests.rows('service_role', format('update public.sessions set start_time = %L, end_time = %L where organization_id = %L and start_time = %L',
  tests.at(9), tests.at(9, '11:00'), tests.id('clinic'), tests.at(8))), 1::bigint, 'a backend moves it');
select results_eq($$ select action, (before #>> '{0,start_time}')::timestamptz, (after #>> '{0,start_time}')::timestamptz from tests.last_event() $$,
  $$ values ('session.moved', tests.at(8), tests.at(9)) $$, 'from where to where');
select is(tests.rows('service_role', format('update public.sessions set location_type = ''clinic'' where organization_id = %L and start_time = %L',
  tests.id('clinic'), tests.at(9))), 1::bigint, 'and changes where it takes place');
select is((tests.last_event()).action, 'session.changed', 'any other change is an event as well');
create temporary table so_far on commit drop as select cardinality(tests.events()) as count;
select is(tests.rows('service_role', format('update public.sessions set location_type = ''clinic'' where organization_id = %L and start_time = %L',
  tests.id('clinic'), tests.at(9))), 1::bigint, 'an update that changes nothing');
select is(cardinality(tests.events()), count, 'is no event') from so_far;

-- A replay is no second event, nor is a release that had nothing to release.
select is(tests.events(), array['hold.acquired', 'hold.refused THERAPIST_HOLD_CONFLICT', 'hold.refused FORBIDDEN', 'hold.confirmed', 'session.cancelled',
  'session.moved', 'session.in_progress', 'cancellation.refused FORBIDDEN', 'confirmation.refused HOLD_MISMATCH', 'hold.acquired', 'hold.released', 'hold.acquired',
  'hold.expired', 'hold.acquired', 'session.inserted', 'session.moved', 'session.changed'], 'exactly one event for each thing that happened');

-- Nobody edits the log. What is sealed at commit is sealed now.
set constraints all immediate;
select is(tests.error_code(who, statement), case who when 'postgres' then '23001' else '42501' end, format('%s cannot: %s', who, statement))
from unnest(array['postgres', 'service_role', 'admin']) as who,
unnest(array['update audit.events set code = null', 'delete from audit.events', 'truncate audit.events', 'truncate audit.events cascade',
  'update audit.seals set hash = digest', 'delete from audit.seals', 'truncate audit.seals', 'delete from audit.chains', 'truncate audit.chains']) as statement;
select is(tests.error_code('postgres', format('truncate %s', partition.inhrelid::regclass)), '23001', format('nor empties %s', partition.inhrelid::regclass))
from pg_inherits as partition where inhparent = 'audit.events'::regclass and inhrelid::regclass::text ~ ('(default|' || to_char(now(), 'YYYY_"q"Q') || ')$');
select is(tests.error_code('admin', format($$ insert into audit.events (organization_id, occurred_at, action, entity, entity_ids)
  values (%L, now(), 'hold.acquired', 'hold', '{}') $$, tests.id('clinic'))), '42501', 'nor adds to it');

-- Who reads it.
select is(tests.rows('admin', 'select 1 from audit.events'), (select count(*) from audit.events where organization_id = tests.id('clinic')),
  'an admin reads her clinic''s events');
select is(tests.rows(person, format('select 1 from audit.events where organization_id = %L', tests.id('clinic'))), 0::bigint, format('%s reads none', person)) from unnest(array['rbt', 'parent', 'other admin']) as person;
select is(tests.error_code('anon', 'select 1 from audit.events'), '42501', 'anon may not ask');

select is((select count(distinct chain_id) from audit.events where organization_id = tests.id('clinic') and action !~ '\.added$'), 1::bigint,
  'all of one transaction are in one chain, so that transactions cannot wait for each other''s chains in a circle');
select * from finish();
rollback;
