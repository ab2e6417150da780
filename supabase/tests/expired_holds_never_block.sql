-- No sweeper runs in this product. A hold whose time is up blocks nobody, and is answered the same way whoever saw it
-- first.
begin;
select plan(29);
select tests.open_clinic();

create temporary table series on commit drop as
select tests.hold('rbt', tests.series('rbt', 'ann', array[tests.at(1), tests.at(2), tests.at(3)]), 'first try') as outcome;
do $$ begin perform tests.expire(outcome) from series; end $$;

select is((select count(*) from private.claims where organization_id = tests.id('clinic')), 6::bigint,
  'nobody has swept: the stale claims are still there');
select is(tests.call('rbt', format('select count(*) from public.find_open_slots(%L, %L, %L, 60, %L)',
  tests.id('rbt'), tests.at(1), tests.at(1, '11:00'), tests.id('ann'))), '1', 'the slot is listed as free');

create temporary table rival on commit drop as
select tests.hold('rbt2', tests.request('rbt2', 'ann', tests.at(2, '10:30'))) as outcome;
select is(outcome ->> 'ok', 'true', 'another therapist takes the client''s time') from rival;
select is_empty('select * from tests.broken_claims()', 'what lives is sound');
select is(
  (select array_agg(status::text) from public.session_holds where batch_id = (outcome #>> '{body,holdId}')::uuid),
  array['expired', 'expired', 'expired'], 'the whole stale batch is written down as expired'
) from series;
select is(
  (select array_agg(occurred_at) from audit.events where action = 'hold.expired' and organization_id = tests.id('clinic')),
  (select array_agg(expires_at) from public.hold_batches where id = (outcome #>> '{body,holdId}')::uuid),
  'with one event, dated to the expiry'
) from series;

select is(tests.confirm('rbt', tests.confirmation(outcome, 'rbt', 'ann')) - 'detail',
  '{"ok": false, "status": 410, "code": "HOLD_EXPIRED"}', 'its owner is told it has expired, though others saw it first')
from series;
select is(tests.release('rbt', outcome #>> '{body,holdKey}') #> '{body}', '{"released": false}', 'there is nothing left to release')
from series;
select is(tests.hold('rbt', tests.series('rbt', 'ann', array[tests.at(1), tests.at(2), tests.at(3)]), 'first try') ->> 'code',
  'CLIENT_HOLD_CONFLICT', 'the same key does not answer with dead hold keys');

-- Confirming first, before anybody has seen the expiry.
create temporary table alone on commit drop as
select tests.hold('rbt', tests.request('rbt', 'ben', tests.at(5))) as outcome;
do $$ begin perform tests.expire(outcome, clock_timestamp()) from alone; end $$;
select is(tests.confirm('rbt', tests.confirmation(outcome, 'rbt', 'ben')) ->> 'code', 'HOLD_EXPIRED',
  'a hold at its very end has expired, seen before or not') from alone;
select is(tests.confirm('rbt', tests.confirmation(outcome, 'rbt', 'ben')) ->> 'code', 'HOLD_EXPIRED', 'and stays so') from alone;
select is((select count(*) from audit.events where action = 'hold.expired' and organization_id = tests.id('clinic')), 2::bigint,
  'each expiry is recorded once');
select is((select count(*) from public.sessions where organization_id = tests.id('clinic')), 0::bigint, 'no session was made');

-- Releasing first.
create temporary table let_go on commit drop as
select tests.hold('rbt', tests.request('rbt', 'ben', tests.at(6))) as outcome;
do $$ begin perform tests.expire(outcome) from let_go; end $$;
select is(tests.release('rbt', outcome #>> '{body,holdKey}') #> '{body}', '{"released": false}', 'an expired hold is not released')
from let_go;
select is(tests.confirm('rbt', tests.confirmation(outcome, 'rbt', 'ben')) ->> 'code', 'HOLD_EXPIRED', 'but answered as expired')
from let_go;

-- A session written directly takes an expired hold's place too.
create temporary table stale on commit drop as
select tests.hold('rbt', tests.request('rbt', 'ben', tests.at(7), 60, jsonb_build_object('room_id', tests.id('blue')))) as outcome;
do $$ begin perform tests.expire(outcome) from stale; end $$;
select is(tests.rows('service_role', format(
  $$ insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone, room_id)
     values (%L, %L, %L, %L, %L, 'UTC', %L) $$,
  tests.id('clinic'), tests.id('bcba'), tests.id('ann'), tests.at(7, '10:30'), tests.at(7, '11:30'), tests.id('blue'))),
  1::bigint, 'a session is inserted over the room of an expired hold');
select is(tests.hold('rbt', tests.request('rbt', 'ben', tests.at(7))) ->> 'ok', 'true', 'and the rest of that hold blocks nobody');
select is((select count(*) from audit.events where action = 'hold.expired' and organization_id = tests.id('clinic')), 4::bigint,
  'still one event for each expired batch');

-- A direct move onto an expired hold's place.
create temporary table stale_again on commit drop as
select tests.hold('rbt2', tests.request('rbt2', 'ben', tests.at(8))) as outcome;
do $$ begin perform tests.expire(outcome) from stale_again; end $$;
select is(tests.rows('service_role', format($$ update public.sessions set start_time = %L, end_time = %L where organization_id = %L $$,
  tests.at(8), tests.at(8, '11:00'), tests.id('clinic'))), 1::bigint, 'a session moves to another day directly');
select is(tests.rows('service_role', format($$ update public.sessions set therapist_id = %L where organization_id = %L $$,
  tests.id('rbt2'), tests.id('clinic'))), 1::bigint, 'and onto the time of a therapist whose hold has expired');
select is_empty('select * from tests.broken_claims()', 'the claims are sound');

-- A live hold, by contrast, blocks until its last moment.
create temporary table live on commit drop as
select tests.hold('rbt', tests.request('rbt', 'ann', tests.at(9), 60, '{"hold_seconds": 30}')) as outcome;
do $$ begin perform tests.expire(outcome, clock_timestamp() + interval '20 seconds') from live; end $$;
select is(tests.hold('rbt', tests.request('rbt', 'ben', tests.at(9))) ->> 'code', 'THERAPIST_HOLD_CONFLICT',
  'a hold with seconds left still blocks');
select is(tests.confirm('rbt', tests.confirmation(outcome, 'rbt', 'ann')) ->> 'ok', 'true', 'and still confirms') from live;
do $$ begin perform tests.expire(outcome) from live; end $$;
select is(tests.confirm('rbt', tests.confirmation(outcome, 'rbt', 'ann')) ->> 'ok', 'true',
  'a confirmed hold answers with its session also after its expiry') from live;

-- Whoever brings the end of a hold forward writes one row.
create temporary table brought_forward on commit drop as
select tests.hold('rbt', tests.request('rbt', 'ben', tests.at(4))) as outcome;
update public.hold_batches set expires_at = clock_timestamp() - interval '1 second'
from brought_forward where id = (outcome #>> '{body,holdId}')::uuid;
select is_empty('select * from tests.broken_claims()', 'what it claims ends with it');
select is(tests.hold('rbt', tests.request('rbt', 'ben', tests.at(4))) ->> 'ok', 'true', 'its slot is free');
select is(tests.confirm('rbt', tests.confirmation(outcome, 'rbt', 'ben')) ->> 'code', 'HOLD_EXPIRED', 'and it is over')
from brought_forward;
select lives_ok(
  format('update public.hold_batches set expires_at = clock_timestamp() where id = %L', outcome #>> '{body,holdId}'),
  'what is over may be said to have ended at another moment'
) from brought_forward;
select throws_ok(
  format('update public.hold_batches set expires_at = clock_timestamp() + interval ''1 hour'' where id = %L',
    outcome #>> '{body,holdId}'),
  '23514', 'a hold is not extended', 'nobody revives a hold whose slot another has'
) from brought_forward;
select * from finish();
rollback;
