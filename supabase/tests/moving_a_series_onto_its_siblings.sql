-- Rescheduling: what moves does not block itself, a series may move onto places its siblings leave, and nobody loses
-- the old place before the new one is confirmed.
begin;
select plan(50);
select tests.open_clinic();

create function tests.moving(ids uuid[], starts timestamptz[], therapist text default 'rbt', client text default 'ann', extra jsonb default '{}')
returns jsonb language sql as $$
  select tests.request(therapist, client, starts[1]) || jsonb_build_object('occurrences', (
    select jsonb_agg(tests.occurrence(start, 60, 'UTC', jsonb_build_object('session_id', id)) order by position)
    from unnest(ids, starts) with ordinality as item (id, start, position)
  )) || extra
$$;

create temporary table series on commit drop as
select tests.book('rbt', 'rbt', 'ann', array[tests.at(1), tests.at(2), tests.at(3), tests.at(4)]) as ids;

-- Each goes where the next one was: by an hour's overlap or exactly.
create temporary table held on commit drop as
select tests.hold('rbt', tests.moving(ids, array[tests.at(2), tests.at(3), tests.at(4), tests.at(5)])) as outcome from series;
select is(outcome ->> 'ok', 'true', 'a series is held onto its siblings'' places') from held;
select is(
  (select array_agg(start_time order by start_time) from public.sessions where id = any (ids)),
  array[tests.at(1), tests.at(2), tests.at(3), tests.at(4)], 'nothing has moved yet'
) from series;
select is(tests.hold('bcba', tests.request('bcba', 'ann', tests.at(1))) ->> 'code', 'CLIENT_CONFLICT',
  'the old place is kept until the move confirms');
select is(tests.hold('bcba', tests.request('bcba', 'ann', tests.at(5))) ->> 'code', 'CLIENT_HOLD_CONFLICT',
  'and the new one is held against everybody else');
select is(tests.hold('rbt', tests.moving(array[ids[1]], array[tests.at(9)])) ->> 'code', 'SESSION_BEING_MOVED',
  'a session has one live move at a time') from series;
select is(
  (tests.hold('rbt', tests.moving(array[ids[1]], array[tests.at(9)])) ->> 'retryAfter')::timestamptz,
  (outcome #>> '{body,expiresAt}')::timestamptz, 'and it is said when that one ends'
) from series, held;

create temporary table moved on commit drop as
select tests.confirm('rbt', tests.confirmation(outcome, 'rbt', 'ann')) as outcome from held;
select is(outcome ->> 'ok', 'true', 'the move confirms') from moved;
select is(
  (select array_agg((session ->> 'id')::uuid order by position)
   from jsonb_array_elements(outcome #> '{body,sessions}') with ordinality as item (session, position)),
  ids, 'the same sessions, in the order of the request'
) from moved, series;
select is(
  (select array_agg(start_time order by position) from unnest(ids) with ordinality as item (id, position) join public.sessions using (id)),
  array[tests.at(2), tests.at(3), tests.at(4), tests.at(5)], 'each in its new place'
) from series;
select is(
  (select count(distinct series_id) from public.sessions where id = any (ids)), 1::bigint, 'still one series'
) from series;
select is_empty('select * from tests.broken_claims()', 'the claims are sound after the move');
select is(tests.hold('bcba', tests.request('bcba', 'ann', tests.at(1))) ->> 'ok', 'true', 'the place that was left is free at once');
select is(
  tests.confirm('rbt', tests.confirmation(held.outcome, 'rbt', 'ann')) #> '{body,sessions}', moved.outcome #> '{body,sessions}',
  'confirming the move twice moves once'
) from held, moved;

-- Two sessions change places.
create temporary table swap on commit drop as
select tests.hold('rbt', tests.moving(array[ids[1], ids[2]], array[tests.at(3), tests.at(2)])) as outcome from series;
select is(tests.confirm('rbt', tests.confirmation(outcome, 'rbt', 'ann')) ->> 'ok', 'true', 'two sessions change places') from swap;
select is(
  (select array_agg(start_time order by position) from unnest(ids) with ordinality as item (id, position) join public.sessions using (id)),
  array[tests.at(3), tests.at(2), tests.at(4), tests.at(5)], 'as asked'
) from series;

-- A few minutes later, over its own old place.
create temporary table nudge on commit drop as
select tests.hold('rbt', tests.moving(array[ids[1]], array[tests.at(3, '10:15')])) as outcome from series;
select is(outcome ->> 'ok', 'true', 'a session may move by minutes, over its own old place') from nudge;
select is(tests.confirm('rbt', tests.confirmation(outcome, 'rbt', 'ann')) ->> 'ok', 'true', 'and confirm') from nudge;

-- A sibling that stays is in the way like anybody.
select is(tests.hold('rbt', tests.moving(array[ids[1]], array[tests.at(2)])) ->> 'code', 'THERAPIST_CONFLICT',
  'a sibling that does not move is in the way') from series;

-- Letting the move go puts nothing back, for nothing had changed.
create temporary table abandoned on commit drop as
select tests.hold('rbt', tests.moving(array[ids[1], ids[2]], array[tests.at(2), tests.at(3, '10:15')])) as outcome from series;
select is(tests.release('rbt', outcome #>> '{body,holds,0,holdKey}') #>> '{body,released}', 'true',
  'letting one part of a move go') from abandoned;
select is(
  tests.confirm('rbt', tests.confirmation(outcome, 'rbt', 'ann')) ->> 'code', 'HOLD_NOT_FOUND', 'lets all of it go'
) from abandoned;
select is_empty('select * from tests.broken_claims()', 'the claims are sound after a move that was let go');
select is(tests.hold('rbt', tests.moving(array[ids[1]], array[tests.at(2)])) ->> 'code', 'THERAPIST_CONFLICT',
  'and the two block each other as before') from series;

-- A move that runs out.
create temporary table late on commit drop as
select tests.hold('rbt', tests.moving(array[ids[1], ids[2]], array[tests.at(2), tests.at(8)])) as outcome from series;
do $$ begin perform tests.expire(outcome) from late; end $$;
select is(tests.confirm('rbt', tests.confirmation(outcome, 'rbt', 'ann')) ->> 'code', 'HOLD_EXPIRED', 'a move can run out') from late;
select is(tests.hold('bcba', tests.request('bcba', 'ann', tests.at(8))) ->> 'ok', 'true', 'its new place is free') from late;
select is(tests.hold('bcba', tests.request('bcba', 'ann', tests.at(3, '10:15'))) ->> 'code', 'CLIENT_CONFLICT',
  'the old one still taken');
select is(tests.hold('rbt', tests.moving(array[ids[1]], array[tests.at(11)])) ->> 'ok', 'true',
  'and the session can be moved again, though nobody swept') from series;

-- To another therapist, by an admin; part of a move cannot be confirmed by itself.
create temporary table handed_over on commit drop as
select tests.hold('admin', tests.moving(array[ids[3], ids[4]], array[tests.at(4), tests.at(6)], 'rbt2')) as outcome from series;
select is(
  tests.confirm('admin', (tests.confirmation(jsonb_set(outcome, '{body,holds}', (outcome #> '{body,holds}') - 1), 'rbt2', 'ann'))
    || jsonb_build_object('hold_key', outcome #> '{body,holds,0,holdKey}')) ->> 'code',
  'HOLD_MISMATCH', 'what was held to move together moves together'
) from handed_over;
select is(tests.confirm('admin', tests.confirmation(outcome, 'rbt2', 'ann')) ->> 'ok', 'true', 'an admin hands two sessions over')
from handed_over;
select is((select array_agg(distinct therapist_id) from public.sessions where id in (ids[3], ids[4])), array[tests.id('rbt2')],
  'to the other therapist') from series;
select is(tests.hold('rbt', tests.request('rbt', 'ben', tests.at(4))) ->> 'ok', 'true', 'whose colleague is free then');
select is_empty('select * from tests.broken_claims()', 'the claims are sound after a change of therapist');

-- Who may, and what can.
select is(tests.hold('rbt', tests.moving(array[ids[3]], array[tests.at(20)])) ->> 'code', 'FORBIDDEN',
  'a therapist moves her own sessions only') from series;
select is(tests.hold('rbt', tests.moving(array[gen_random_uuid()], array[tests.at(20)])) ->> 'code', 'FORBIDDEN',
  'a session that does not exist is answered like one that is not hers');
select is(tests.hold('rbt2', tests.moving(array[ids[3]], array[tests.at(20)], 'rbt2', 'ben')) ->> 'code', 'CLIENT_MISMATCH',
  'a session does not move to another client') from series;

create temporary table cancelled_meanwhile on commit drop as
select tests.hold('rbt2', tests.moving(array[ids[3], ids[4]], array[tests.at(21), tests.at(22)], 'rbt2')) as outcome from series;
select is(tests.cancel('rbt2', jsonb_build_object('session_ids', array[ids[4]])) #>> '{body,summary,cancelledCount}', '1',
  'a session is cancelled while it is being moved') from series;
select is(tests.confirm('rbt2', tests.confirmation(outcome, 'rbt2', 'ann')) ->> 'code', 'SESSION_NOT_MOVABLE',
  'then the move does not confirm') from cancelled_meanwhile;
select is((select start_time from public.sessions where id = ids[3]), tests.at(4), 'and moves nothing') from series;
select is(tests.release('rbt2', outcome #>> '{body,holdKey}') #>> '{body,released}', 'false', 'it is let go already') from cancelled_meanwhile;
select is(tests.hold('rbt2', tests.moving(array[ids[4]], array[tests.at(23)], 'rbt2')) ->> 'code', 'SESSION_NOT_MOVABLE',
  'a cancelled session cannot be moved') from series;

-- Rooms and buffers go along.
create temporary table roomy on commit drop as
select tests.hold('bcba', tests.request('bcba', 'ben', tests.at(30), 60,
  jsonb_build_object('room_id', tests.id('blue'), 'buffer_before_minutes', 15))) as outcome;
create temporary table roomy_session on commit drop as
select (tests.confirm('bcba', tests.confirmation(outcome, 'bcba', 'ben')) #>> '{body,session,id}')::uuid as id from roomy;
create temporary table roomy_move on commit drop as
select tests.hold('bcba', tests.request('bcba', 'ben', tests.at(30, '11:00'), 60, jsonb_build_object('session_id', id,
  'room_id', tests.id('green'), 'buffer_before_minutes', 30))) as outcome from roomy_session;
select is(tests.confirm('bcba', tests.confirmation(outcome, 'bcba', 'ben', '{"occurrences": []}')) #>> '{body,session,room_id}',
  tests.id('green')::text, 'a session moves to another room, with another buffer') from roomy_move;
-- What a move does not name stays as it is.
create function pg_temp.move_roomy(starts timestamptz, extra jsonb) returns text language plpgsql as $$
declare
  held jsonb := tests.hold('bcba', tests.request('bcba', 'ben', starts, 60,
    jsonb_build_object('session_id', (select id from roomy_session)) || extra));
  session jsonb := tests.confirm('bcba', tests.confirmation(held, 'bcba', 'ben')) #> '{body,session}';
begin
  return concat_ws(' ', coalesce((select room.name from public.rooms as room where room.id = (session ->> 'room_id')::uuid), 'no room'),
    session ->> 'buffer_before_minutes', session ->> 'buffer_after_minutes');
end
$$;
select matches(pg_temp.move_roomy(tests.at(31), '{}'), '(?i)green.* 30 0', 'a move that names neither keeps room and buffers');
select matches(pg_temp.move_roomy(tests.at(32), '{"buffer_before_minutes": 0, "buffer_after_minutes": 10}'), '(?i)green.* 0 10',
  'buffers that are named win');
select matches(pg_temp.move_roomy(tests.at(33), jsonb_build_object('room_id', tests.id('blue'))), '(?i)blue.* 0 10', 'so does a room');
select is(
  tests.hold('bcba', tests.request('bcba', 'ann', tests.at(34, '11:00'))) ->> 'ok', 'true', 'somebody has the next hour'
);
select is(
  tests.hold('bcba', tests.request('bcba', 'ben', tests.at(34), 60, jsonb_build_object('session_id', (select id from roomy_session)))) ->> 'code',
  'THERAPIST_HOLD_CONFLICT', 'a buffer that is kept needs its time'
);
select is(pg_temp.move_roomy(tests.at(34), '{"room_id": null, "buffer_after_minutes": 0}'), 'no room 0 0', 'null is no room, 0 no buffer');
create temporary table furnished on commit drop as
select array[
  (select id from roomy_session),
  (tests.confirm('bcba', tests.confirmation(tests.hold('bcba', tests.request('bcba', 'ben', tests.at(35), 60,
    jsonb_build_object('room_id', tests.id('blue'), 'buffer_after_minutes', 20))), 'bcba', 'ben')) #>> '{body,session,id}')::uuid
] as ids;
create function pg_temp.move_both(extra jsonb) returns jsonb language sql as $$
  select tests.moving(ids, array[tests.at(36), tests.at(36, '11:00')], 'bcba', 'ben', extra) from furnished
$$;
select is(
  (select array_agg(issue ->> 'path') from jsonb_array_elements((tests.error('bcba', format('select public.hold_sessions(%L)',
    pg_temp.move_both('{}'))) ->> 'details')::jsonb) as issue),
  array['room_id', 'buffer_after_minutes'], 'sessions that differ say what must be named'
);
select is(
  ((tests.error('bcba', format('select public.hold_sessions(%L)', pg_temp.move_both('{"room_id": null, "buffer_after_minutes": 20}')))
    ->> 'details')::jsonb #>> '{0,path}'),
  'occurrences.1.start_time', 'with their buffers they would overlap'
);
select is(tests.hold('bcba', pg_temp.move_both(jsonb_build_object('room_id', tests.id('blue'), 'buffer_after_minutes', 0))) ->> 'ok', 'true',
  'what is named is for all of them');
select is_empty('select * from tests.broken_claims()', 'the claims are sound in the end');

select * from finish();
rollback;
