-- Somebody presses the button twice, or her network does. There is one session, and the same answer.
begin;
select plan(12);
select tests.open_clinic();

create temporary table held on commit drop as
select tests.hold('rbt', tests.series('rbt', 'ann', array[tests.at(1), tests.at(2)])) as outcome;
create temporary table first on commit drop as
select tests.confirm('rbt', tests.confirmation(outcome, 'rbt', 'ann')) as outcome from held;
create temporary table second on commit drop as
select tests.confirm('rbt', tests.confirmation(outcome, 'rbt', 'ann')) as outcome from held;

select is(outcome ->> 'ok', 'true', 'the first confirmation books') from first;
select is(second.outcome, first.outcome, 'the second answers the same') from first, second;
select is((select count(*) from public.sessions where organization_id = tests.id('clinic')), 2::bigint, 'there are two sessions, not four');
select is(tests.events(), array['hold.acquired', 'hold.confirmed'], 'and one confirmation in the audit');

-- By another person who may, by the hold's own key, and in another order.
select is(tests.confirm('admin', tests.confirmation(held.outcome, 'rbt', 'ann')) #> '{body,sessions}', first.outcome #> '{body,sessions}',
  'an admin who confirms it again gets the same sessions') from held, first;
select is(
  tests.confirm('rbt', tests.confirmation(jsonb_set(held.outcome, '{body,holds}', (held.outcome #> '{body,holds}') - 0), 'rbt', 'ann')
    || jsonb_build_object('hold_key', held.outcome #> '{body,holds,1,holdKey}')) #> '{body,sessions}',
  jsonb_build_array(first.outcome #> '{body,sessions,1}'), 'one of its holds answers with its own session'
) from held, first;
select is(
  tests.confirm('rbt', jsonb_set(tests.confirmation(held.outcome, 'rbt', 'ann'), '{occurrences}', jsonb_build_array(
    tests.confirmation(held.outcome, 'rbt', 'ann') #> '{occurrences,1}', tests.confirmation(held.outcome, 'rbt', 'ann') #> '{occurrences,0}')))
    #> '{body,sessions}', first.outcome #> '{body,sessions}', 'the order of the list does not matter'
) from held, first;

-- After the hold's time is up, after a cancellation, after a release that came too late.
do $$ begin perform tests.expire(outcome) from held; end $$;
select is(tests.confirm('rbt', tests.confirmation(held.outcome, 'rbt', 'ann')), first.outcome, 'also after the hold would have expired')
from held, first;
select is(tests.release('rbt', outcome #>> '{body,holdKey}') #>> '{body,released}', 'false', 'a confirmed hold is not released') from held;
select is(tests.cancel('rbt', jsonb_build_object('session_ids', jsonb_build_array(outcome #> '{body,sessions,0,id}')))
  #>> '{body,summary,cancelledCount}', '1', 'one of the sessions is cancelled') from first;
select is(
  (select array_agg(session ->> 'status' order by position)
   from jsonb_array_elements(tests.confirm('rbt', tests.confirmation(outcome, 'rbt', 'ann')) #> '{body,sessions}') with ordinality as item (session, position)),
  array['cancelled', 'scheduled'], 'confirming again shows them as they are, and revives nothing'
) from held;
select is_empty('select * from tests.broken_claims()', 'the claims are sound');

select * from finish();
rollback;
