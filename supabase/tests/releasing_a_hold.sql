-- Letting a hold go: at once, once, and only one's own.
begin;
select plan(23);
select tests.open_clinic();
select tests.open_clinic('other ');

create temporary table series on commit drop as
select tests.hold('rbt', tests.series('rbt', 'ann', array[tests.at(1), tests.at(2), tests.at(3)])) as outcome;

-- Not by others.
select is(tests.release(person, outcome #>> '{body,holdKey}') - 'replayed', '{"ok": true, "status": 200, "body": {"released": false}}',
  format('%s cannot release it, and does not learn that it exists', person))
from series, unnest(array['rbt2', 'parent', 'other admin', 'other rbt']) as person;
select is(tests.release('rbt', gen_random_uuid()::text) #> '{body}', '{"released": false}', 'an unknown key is answered the same way');
select is((select count(*) from public.session_holds where organization_id = tests.id('clinic') and status = 'held'), 3::bigint, 'all three are held still');

-- One of three.
create temporary table released on commit drop as
select tests.release('rbt', outcome #>> '{body,holds,1,holdKey}') as outcome from series;
select is(released.outcome #> '{body}', jsonb_build_object('released', true, 'hold',
    (series.outcome #> '{body,holds,1}') || jsonb_build_object('therapistId', tests.id('rbt'), 'clientId', tests.id('ann'),
      'holds', jsonb_build_array((series.outcome #> '{body,holds,1}') - 'expiresAt'))),
  'a hold''s own key lets go of that hold') from series, released;
select is(tests.hold('rbt2', tests.request('rbt2', 'ann', tests.at(2))) ->> 'ok', 'true', 'its place is free at once');
select is(tests.hold('rbt2', tests.request('rbt2', 'ann', tests.at(1))) ->> 'code', 'CLIENT_HOLD_CONFLICT', 'the others are held still');
select is(tests.release('rbt', outcome #>> '{body,holds,1,holdKey}') #> '{body}', '{"released": false}', 'the second time there is nothing to release') from series;

-- The rest, by an admin, by the batch's key.
select is(jsonb_array_length(tests.release('admin', outcome #>> '{body,holdKey}') #> '{body,hold,holds}'), 2, 'the batch''s key lets go of all that is left') from series;
select is(tests.release('admin', outcome #>> '{body,holdKey}') #> '{body}', '{"released": false}', 'once') from series;
select is((select count(*) from private.claims where organization_id = tests.id('clinic')), 2::bigint, 'only the colleague''s hold claims anything');
select is(tests.confirm('rbt', tests.confirmation(outcome, 'rbt', 'ann')) ->> 'code', 'HOLD_NOT_FOUND', 'what was released cannot be confirmed') from series;
do $$ begin perform tests.expire(outcome) from series; end $$;
select is(tests.confirm('rbt', tests.confirmation(outcome, 'rbt', 'ann')) ->> 'code', 'HOLD_NOT_FOUND', 'also after it would have expired') from series;
select is((select array_agg(distinct status::text) from public.session_holds where batch_id = (outcome #>> '{body,holdId}')::uuid), array['released'],
  'the rows are kept, as released') from series;
select is(tests.events(), array['hold.acquired', 'hold.released', 'hold.acquired', 'hold.refused CLIENT_HOLD_CONFLICT', 'hold.released',
  'confirmation.refused HOLD_NOT_FOUND', 'confirmation.refused HOLD_NOT_FOUND'], 'each release is one event');

-- Rows of holds are records.
select is(tests.error_code(who, format('%s public.%I %s', change.verb, change.relation, change.rest)) in ('23001', '42501', '23514'), true,
  format('%s cannot %s %s', who, change.verb, change.relation))
from unnest(array['postgres']) as who
cross join (values ('delete from', 'session_holds', ''), ('delete from', 'hold_batches', ''), ('truncate', 'session_holds', 'cascade'),
  ('update', 'session_holds', 'set status = ''held''')) as change (verb, relation, rest);
select is_empty('select * from tests.broken_claims()', 'the claims are sound');

-- A whole batch.
create temporary table whole on commit drop as select tests.hold('rbt', tests.series('rbt', 'ben', array[tests.at(30), tests.at(31)])) as outcome;
select is((tests.release('rbt', outcome #>> '{body,holdKey}') #> '{body,hold}') - array['therapistId', 'clientId'], (outcome -> 'body') - 'holds' || jsonb_build_object(
    'startTime', outcome #> '{body,holds,0,startTime}', 'endTime', outcome #> '{body,holds,0,endTime}',
    'holds', (select jsonb_agg(item - 'expiresAt') from jsonb_array_elements(outcome #> '{body,holds}') as item)),
  'the batch''s key answers the batch: its key, its id, its first window and each of its holds') from whole;

select * from finish();
rollback;
