-- A session that is being moved is started, cancelled or missed: its move can never confirm. It is let go at once, whole, on
-- every path, so that its new places, its units and its other sessions wait for nobody.
begin;
select plan(55);
select tests.open_clinic();
select tests.add_payers();
select tests.cover('ben', 'open');
select tests.authorize('ben', '97153', 100);

create temporary table kept (what text primary key, moved uuid[], held jsonb) on commit drop;

-- Two sessions, the first of them an hour ago, are to move to another therapist, one day later each.
create function pg_temp.being_moved(what text, day integer, client text default 'ann') returns void language plpgsql as $$
declare
  ids uuid[] := array[
    tests.book('admin', 'rbt', client, tests.at(day)), tests.book('admin', 'rbt', client, tests.at(day + 1))
  ];
begin
  perform tests.bring_forward(ids[1], day * interval '2 hours');
  insert into kept values (what, ids, tests.hold('admin', tests.request('rbt2', client, tests.at(day + 2)) || jsonb_build_object(
    'occurrences', jsonb_build_array(
      tests.occurrence(tests.at(day + 2), 60, 'UTC', jsonb_build_object('session_id', ids[1])),
      tests.occurrence(tests.at(day + 3), 60, 'UTC', jsonb_build_object('session_id', ids[2]))
    ))));
end
$$;
create function pg_temp.confirmed(what text, client text default 'ann') returns text language sql as $$
  select tests.confirm('admin', tests.confirmation(held, 'rbt2', client)) ->> 'code' from kept where kept.what = confirmed.what
$$;
-- What must be so once the first session has ended, whichever way it did.
create function pg_temp.let_go(what text, day integer, client text default 'ann') returns setof text language plpgsql as $$
#variable_conflict use_column
declare
  case_ kept := (select kept from kept where kept.what = let_go.what);
  batch uuid := case_.held #>> '{body,holdId}';
  again jsonb;
begin
  return next is(case_.held ->> 'ok', 'true', what || ': it was being moved');
  return next is((select count(*) from private.claims where owner_id = batch), 0::bigint, what || ': the move claims nothing any more');
  return next is((select array_agg(distinct status::text) from public.session_holds where batch_id = batch), array['released'],
    what || ': it is let go whole');
  return next is(
    (select count(*) from audit.events
      where action = 'hold.released' and details ->> 'batchId' = batch::text and details ->> 'because' = 'SESSION_NOT_MOVABLE'),
    1::bigint, what || ': one event says so and why');
  return next is(pg_temp.confirmed(what, client), 'SESSION_NOT_MOVABLE', what || ': whoever confirms it is told why not');
  return next is(tests.release('admin', case_.held #>> '{body,holdKey}') #>> '{body,released}', 'false', what || ': and has nothing to release');
  again := tests.hold('bcba', tests.request('bcba', client, tests.at(day + 3)));
  return next is(again ->> 'ok', 'true', what || ': somebody else has the new place of its sibling');
  again := tests.hold('admin', tests.request('rbt', client, tests.at(day + 4)) || jsonb_build_object('session_id', case_.moved[2]));
  return next is(again ->> 'ok', 'true', what || ': and its sibling can be moved elsewhere');
  return next is_empty('select * from tests.broken_claims()', what || ': claims are sound');
end
$$;

select pg_temp.being_moved('cancelled by RPC', 2);
select is(tests.hold('bcba', tests.request('bcba', 'ann', tests.at(5))) ->> 'code', 'CLIENT_HOLD_CONFLICT', 'while it lives, its places are held');
select tests.cancel('admin', jsonb_build_object('session_ids', array[moved[1]])) from kept where what = 'cancelled by RPC';
select pg_temp.let_go('cancelled by RPC', 2);

select pg_temp.being_moved('missed', 12);
select tests.call('admin', format('select public.mark_no_show(%L)', jsonb_build_object('session_id', moved[1]))) from kept where what = 'missed';
select pg_temp.let_go('missed', 12);

select pg_temp.being_moved('started', 22);
select tests.call('rbt', format('select public.start_session(%L)', jsonb_build_object('session_id', moved[1], 'other_day_reason', 'late')))
from kept where what = 'started';
select pg_temp.let_go('started', 22);
select is(
  tests.call('admin', format('select public.correct_visit(%L)', jsonb_build_object(
    'session_id', moved[1], 'base_version', 1, 'undo', 'start', 'reason_code', 'by_mistake'))) ->> 'ok',
  'true', 'a start is undone') from kept where what = 'started';
select is(pg_temp.confirmed('started'), 'SESSION_NOT_MOVABLE', 'and the move that it stopped stays stopped');

select pg_temp.being_moved('cancelled over REST', 32);
select is(tests.rows('rbt', format('update public.sessions set status = ''cancelled'' where id = %L', moved[1])), 1::bigint,
  'a therapist cancels over REST') from kept where what = 'cancelled over REST';
select pg_temp.let_go('cancelled over REST', 32);

-- With units: what the sibling's new place took is given back as well.
select is(tests.balance('ben'), '0/0/0/100', 'nothing is taken yet');
select pg_temp.being_moved('cancelled in SQL', 42, 'ben');
create function pg_temp.entries_of_move() returns bigint language sql as $$
  select count(*) from public.authorization_units as entry join public.session_holds as hold on hold.id = entry.owner_id
  where hold.batch_id = (select (held #>> '{body,holdId}')::uuid from kept where what = 'cancelled in SQL')
$$;
select is(pg_temp.entries_of_move(), 2::bigint, 'a move takes its units while it lives');
update public.sessions set status = 'cancelled' where id = (select moved[1] from kept where what = 'cancelled in SQL');
select is(pg_temp.entries_of_move(), 0::bigint, 'the move takes no units any more');
select pg_temp.let_go('cancelled in SQL', 42, 'ben');

-- One that has run out is written down as expired, and answered so.
select pg_temp.being_moved('expired', 52);
select tests.expire(held) from kept where what = 'expired';
select tests.cancel('admin', jsonb_build_object('session_ids', array[moved[1]])) from kept where what = 'expired';
select is((select array_agg(distinct status::text) from public.session_holds where batch_id = (held #>> '{body,holdId}')::uuid), array['expired'],
  'a move that had expired before stays expired') from kept where what = 'expired';
select is(pg_temp.confirmed('expired'), 'HOLD_EXPIRED', 'and is answered as expired');
-- One that was released before its session ended stays released.
select pg_temp.being_moved('released', 62);
select tests.release('admin', held #>> '{body,holdKey}') from kept where what = 'released';
select tests.cancel('admin', jsonb_build_object('session_ids', array[moved[1]])) from kept where what = 'released';
select is(pg_temp.confirmed('released'), 'HOLD_NOT_FOUND', 'a released move stays unknown when its session ends afterwards');
select * from finish();
rollback;
