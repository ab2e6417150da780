-- This session of a series, this and the following ones, or all that are to come: each is a move of those sessions, in
-- civil time, and what has ended stays.
begin;
select plan(59);
select tests.open_clinic();
select tests.open_clinic('other ');

-- A weekly series of Los Angeles mornings, on Tuesdays, long enough to see the clocks change. tuesday(0) is the first.
create function tests.tuesday(week integer, clock text default '10:00') returns timestamptz language sql stable as $$
  select ((date_trunc('week', now())::date + 43 + 7 * week) + clock::time) at time zone 'America/Los_Angeles'
$$;
create function tests.clocks(session uuid) returns text language sql stable as $$
  select to_char(start_time at time zone 'America/Los_Angeles', 'dy HH24:MI') || '–'
    || to_char(end_time at time zone 'America/Los_Angeles', 'HH24:MI')
  from public.sessions where id = session
$$;
create function tests.weekly(therapist text, client text, weeks integer, extra jsonb default '{}') returns jsonb language sql stable as $$
  select tests.request(therapist, client, tests.tuesday(0)) || jsonb_build_object(
    'time_zone', 'America/Los_Angeles', 'start_time_offset_minutes', null, 'end_time_offset_minutes', null,
    'recurrence', jsonb_build_object('rule', 'FREQ=WEEKLY', 'count', weeks),
    'occurrences', (
      select jsonb_agg(jsonb_build_object('local_start', to_char(tests.tuesday(week) at time zone 'America/Los_Angeles', 'YYYY-MM-DD"T"HH24:MI:SS')) order by week)
      from generate_series(0, weeks - 1) as week
    )
  ) || extra
$$;
create function tests.change(series uuid, scope text, since timestamptz, change jsonb, extra jsonb default '{}') returns jsonb language sql stable as $$
  select jsonb_strip_nulls(jsonb_build_object('series', jsonb_build_object('series_id', series, 'scope', scope, 'from', since)))
    || extra || jsonb_build_object('series', jsonb_strip_nulls(jsonb_build_object('series_id', series, 'scope', scope, 'from', since))
    || jsonb_build_object('change', change))
$$;
-- Confirms from nothing but the hold's answer.
create function tests.confirm_held(person text, held jsonb) returns jsonb language sql as $$
  select tests.confirm(person, jsonb_build_object(
    'hold_key', held #> '{body,holdKey}', 'time_zone', held #> '{body,holds,0,timeZone}',
    'session', (items.list -> 0 -> 'session'), 'occurrences', items.list
  ))
  from (
    select jsonb_agg(jsonb_build_object('hold_key', hold.value -> 'holdKey', 'session', jsonb_build_object(
      'therapist_id', held #> '{body,series,therapistId}', 'client_id', held #> '{body,series,clientId}',
      'start_time', hold.value -> 'startTime', 'end_time', hold.value -> 'endTime', 'id', hold.value -> 'sessionId'
    )) order by hold.position) as list
    from jsonb_array_elements(held #> '{body,holds}') with ordinality as hold (value, position)
  ) as items
$$;

create temporary table series on commit drop as
with held as materialized (select tests.hold('rbt', tests.weekly('rbt', 'ann', 45)) as outcome)
select array(
  select (session ->> 'id')::uuid
  from held, jsonb_array_elements(tests.confirm('rbt', tests.confirmation(outcome, 'rbt', 'ann')) #> '{body,sessions}') as session
) as ids;
alter table series add id uuid;
update series set id = (select series_id from public.sessions where sessions.id = ids[1]);

select results_eq(
  $$ select recurrence, civil_start, time_zone from public.session_series where id = (select id from series) $$,
  $$ select '{"rule": "FREQ=WEEKLY", "count": 45}'::jsonb, tests.tuesday(0) at time zone 'America/Los_Angeles', 'America/Los_Angeles' $$,
  'a series keeps what was asked'
);

-- This.
create temporary table held on commit drop as
select tests.hold('rbt', tests.change(id, 'this', tests.tuesday(2), '{"shift_minutes": 45}')) as outcome from series;
select is(outcome ->> 'ok', 'true', 'one session of a series is held elsewhere') from held;
select is(
  (outcome #> '{body,holds,0}') - array['holdKey', 'holdId', 'expiresAt'],
  jsonb_build_object('sessionId', ids[3], 'timeZone', 'America/Los_Angeles',
    'startTime', private.iso(tests.tuesday(2, '10:45')), 'endTime', private.iso(tests.tuesday(2, '11:45')),
    'previousStartTime', private.iso(tests.tuesday(2)), 'previousEndTime', private.iso(tests.tuesday(2, '11:00'))),
  'the answer says which session goes where'
) from held, series;
select is(tests.confirm_held('rbt', outcome) ->> 'ok', 'true', 'and is all that confirming needs') from held;
select is(tests.clocks(ids[3]), 'tue 10:45–11:45', 'it moved') from series;
select is(tests.clocks(ids[2]) || tests.clocks(ids[4]), 'tue 10:00–11:00tue 10:00–11:00', 'and nothing else') from series;

-- Following, over a change of clocks; what is over stays.
select is(tests.cancel('rbt', jsonb_build_object('session_ids', jsonb_build_array(ids[7]))) ->> 'ok', 'true', 'one of them is cancelled') from series;
create temporary table following on commit drop as
select tests.hold('rbt', tests.change(id, 'following', tests.tuesday(5), '{"weekday": "thursday", "local_start": "16:00", "duration_minutes": 90}'), 'key') as outcome from series;
select is(jsonb_array_length(outcome #> '{body,holds}'), 39, 'this and the following ones, without the cancelled one') from following;
select is(tests.confirm_held('rbt', outcome) ->> 'ok', 'true', 'confirm as one') from following;
select is(
  (select array_agg(distinct tests.clocks(each.id)) from unnest(ids) with ordinality as each (id, position) where position > 5 and position <> 7),
  array['thu 16:00–17:30'], 'at the new time of the clocks, winter and summer'
) from series;
select ok(
  (select count(distinct extract(hour from start_time at time zone 'UTC')) from public.sessions where id = any (ids[8:])) = 2,
  'which is not always the same time of UTC'
) from series;
select is(
  (select array_agg(tests.clocks(id) order by position) from unnest(ids[:5] || ids[7]) with ordinality as each (id, position)),
  array['tue 10:00–11:00', 'tue 10:00–11:00', 'tue 10:45–11:45', 'tue 10:00–11:00', 'tue 10:00–11:00', 'tue 10:00–11:00'],
  'those before and the cancelled one stay'
) from series;
select is((select count(distinct series_id) from public.sessions where id = any (ids)), 1::bigint, 'it is one series still') from series;
select is(
  tests.hold('rbt', tests.change(id, 'following', tests.tuesday(5), '{"weekday": "thursday", "local_start": "16:00", "duration_minutes": 90}'), 'key') -> 'body',
  outcome -> 'body', 'the same request by its key is answered again, though it would mean other places by now'
) from series, following;
select is(
  tests.hold('rbt', tests.change(id, 'following', tests.tuesday(5), '{"weekday": "friday"}'), 'key') ->> 'code',
  'IDEMPOTENCY_KEY_REUSED', 'and another request by the key is not'
) from series;
select is_empty('select * from tests.broken_claims()', 'the claims are sound');
select results_eq(
  $$ select change - 'from' from public.series_changes where series_id = (select id from series) order by changed_at $$,
  $$ values ('{"scope": "this", "shift_minutes": 45}'::jsonb),
    ('{"scope": "following", "weekday": "thursday", "local_start": "16:00", "duration_minutes": 90}') $$,
  'what was changed of it can be read'
);

-- All, to another therapist and into a room.
create temporary table handed on commit drop as
select tests.hold('admin', tests.change(id, 'all', null, jsonb_build_object('therapist_id', tests.id('bcba'), 'room_id', tests.id('blue')))) as outcome from series;
select is(tests.confirm_held('admin', outcome) ->> 'ok', 'true', 'all go to another therapist') from handed;
select results_eq(
  $$ select therapist_id, room_id, count(*) from public.sessions where id = any ((select ids from series)::uuid[]) group by 1, 2 order by 3 $$,
  $$ values (tests.id('rbt'), null::uuid, 1::bigint), (tests.id('bcba'), tests.id('blue'), 44) $$,
  'but for the one that was cancelled'
);
select is((select array_agg(distinct tests.clocks(id)) from unnest(ids[:2]) as id), array['tue 10:00–11:00'], 'at the times they had') from series;
create temporary table unroomed on commit drop as
select tests.hold('bcba', tests.change(id, 'this', tests.tuesday(0), '{"room_id": null}')) as outcome from series;
select is(tests.confirm_held('bcba', outcome) ->> 'ok', 'true', 'no room is a change too') from unroomed;
select is((select room_id from public.sessions where id = ids[1]), null, 'and is none') from series;

-- Blocked: all or nothing, and each blocked session is named.
do $$ begin perform tests.book('rbt', 'rbt', 'ben', tests.tuesday(3, '14:00')); end $$;
do $$ begin perform tests.book('bcba', 'bcba', 'ben', tests.tuesday(4, '14:30')); end $$;
create temporary table blocked on commit drop as
select tests.hold('bcba', tests.change(id, 'all', null, '{"local_start": "14:00", "room_id": null}')) as outcome from series;
select is(outcome ->> 'code', 'THERAPIST_CONFLICT', 'what is in the way of one refuses all') from blocked;
select is(
  (select array_agg(item ->> 'sessionId') from jsonb_array_elements(outcome -> 'conflicts') as item), array[ids[5]::text],
  'and it is said of which session'
) from blocked, series;
select is((select array_agg(distinct tests.clocks(id)) from unnest(ids[:2]) as id), array['tue 10:00–11:00'], 'nothing has moved') from series;
select ok(jsonb_array_length(tests.call('bcba', format('select public.find_alternatives(%L)',
  tests.change(id, 'all', null, '{"local_start": "14:00", "room_id": null}')))) > 0, 'other times for all of them are found') from series;
select is(
  (select array_agg((item ->> 'index')::integer) from jsonb_array_elements(tests.call('bcba', format('select public.preview_series(%L)',
    tests.change(id, 'all', null, '{"local_start": "14:00", "room_id": null}'))) -> 'occurrences') as item where item -> 'blockedBy' <> 'null'),
  array[4], 'and it can be looked at without holding'
) from series;

-- One live move at a time.
create temporary table live on commit drop as
select tests.hold('bcba', tests.change(id, 'following', tests.tuesday(4), '{"shift_minutes": -15}')) as outcome from series;
select is(tests.hold('bcba', tests.change(id, 'all', null, '{"shift_minutes": 15, "room_id": null}')) ->> 'code', 'SESSION_BEING_MOVED',
  'while some of them are being moved, no other change') from series;
select is(tests.release('bcba', outcome #>> '{body,holdKey}') #>> '{body,released}', 'true', 'a change is let go like any hold') from live;

-- Who may.
select is(tests.hold('rbt', tests.change(id, 'this', tests.tuesday(6), '{"shift_minutes": 15}')) ->> 'code', 'SESSION_NOT_MOVABLE',
  'a therapist reaches the sessions that are theirs: here the cancelled one') from series;
select is(tests.hold('rbt', tests.change(id, 'all', null, '{"shift_minutes": 15, "room_id": null}')) ->> 'code', 'SESSION_NOT_MOVABLE',
  'of a series that others give by now nothing else is theirs') from series;
select is(tests.hold('rbt2', tests.change(id, 'all', null, '{"shift_minutes": 15}')) - 'detail', '{"ok": false, "code": "FORBIDDEN", "status": 403}',
  'a series without sessions of theirs is not theirs') from series;
select is(tests.hold('parent', tests.change(id, 'all', null, '{"shift_minutes": 15}')) ->> 'code', 'FORBIDDEN', 'nor a parent''s') from series;
select is(tests.hold('other admin', tests.change(id, 'all', null, '{"shift_minutes": 15}')),
  tests.hold('other admin', tests.change(gen_random_uuid(), 'all', null, '{"shift_minutes": 15}')),
  'of another clinic''s series an admin learns no more than of one that is not there') from series;
select is(tests.hold('bcba', tests.change(id, 'all', null, jsonb_build_object('therapist_id', tests.id('rbt2'), 'room_id', null))) ->> 'code', 'FORBIDDEN',
  'a therapist gives nothing to others') from series;
select is(tests.hold('admin', tests.change(id, 'all', null, '{"shift_minutes": 15, "room_id": null}', jsonb_build_object('client_id', tests.id('ben')))) ->> 'code',
  'CLIENT_MISMATCH', 'a client who is named is the series''') from series;

-- What cannot be asked. The field is named.
create function tests.wrong(series uuid, scope text, since timestamptz, change jsonb, extra jsonb default '{}') returns text language sql as $$
  select issue ->> 'path' || ' ' || (issue ->> 'message')
  from jsonb_array_elements((tests.error('bcba', format('select public.hold_sessions(%L)', tests.change(series, scope, since, change, extra))) ->> 'details')::jsonb) as issue
  limit 1
$$;
select is(tests.wrong(id, 'some', tests.tuesday(1), '{"shift_minutes": 15}'), 'series.scope must be "this", "following" or "all"', 'an unknown scope') from series;
select is(tests.wrong(id, 'following', tests.tuesday(60), '{"shift_minutes": 15}'), 'series.from is after the last session of the series', 'from after the last') from series;
select is(tests.wrong(id, 'this', tests.tuesday(1, '10:30'), '{"shift_minutes": 15}'), 'series.from is the start of no session of the series', 'from between two') from series;
select is(tests.wrong(id, 'this', null, '{"shift_minutes": 15}'), 'series.from is required: the start of the session, or of the first one, that changes', 'no from') from series;
select is(tests.wrong(id, 'all', tests.tuesday(1), '{"shift_minutes": 15}'), 'series.from must not accompany scope "all"', 'from with all') from series;
select is(tests.wrong(id, 'all', null, '{}'), 'series.change names nothing that changes', 'no change') from series;
select is(tests.wrong(id, 'all', null, '{"shift_minutes": 15, "weekday": "monday"}'), 'series.change.shift_minutes must not accompany weekday or local_start', 'two ways at once') from series;
select is(tests.wrong(id, 'all', null, '{"weekday": "Monday"}'), 'series.change.weekday must be an English weekday in lower case, like "monday"', 'no weekday') from series;
select is(tests.wrong(id, 'all', null, '{"local_start": "24:00"}'), 'series.change.local_start must be a local time of day from 00:00 to 23:59, like 16:30', 'no time of day') from series;
select is(tests.wrong(id, 'all', null, '{"shift_minutes": 15}', jsonb_build_object('start_time', tests.tuesday(1))), 'start_time must not accompany series', 'a window beside it') from series;
select is(tests.wrong(id, 'all', null, '{"shift_minutes": 15}', '{"time_zone": "Mars/Olympus"}'), 'time_zone must be a known IANA time zone, like America/Los_Angeles', 'no zone') from series;
select is(tests.wrong(null, 'all', null, '{"shift_minutes": 15}'), 'series.series_id is required', 'no series');
select is(tests.wrong(id, 'all', null, '{"shift_minutes": 15}'), 'series.change.room_id must be named, or null for none: the sessions are in different rooms', 'rooms that differ') from series;
select is(
  tests.wrong(id, 'all', null, '{"shift_minutes": -40320, "room_id": null}', '{"buffer_before_minutes": 240, "hold_seconds": 1000}'),
  'hold_seconds must be a whole number from 30 to 900', 'a field of any hold') from series;
select is(
  tests.wrong(id, 'this', tests.tuesday(0), '{"local_start": "10:00", "duration_minutes": 721}'),
  'series.change.duration_minutes must be a whole number from 1 to 720', 'too long') from series;
do $$ begin perform tests.bring_forward(ids[1], interval '-2 hours') from series; end $$;
select is(
  tests.wrong(id, 'this', (select start_time from public.sessions where sessions.id = ids[1]), '{"shift_minutes": -240}'),
  (select format('series.change puts the session at %s where its start_time is in the past', private.iso(start_time)) from public.sessions where sessions.id = ids[1]),
  'into the past: the session is named by its start') from series;

-- A Sunday on which clocks change is a day like any other; what began an hour ago stays.
do $$ begin perform tests.bring_forward(ids[2]) from series; end $$;
create temporary table sundays on commit drop as
select tests.hold('bcba', tests.change(id, 'following', tests.tuesday(2), '{"weekday": "sunday", "local_start": "10:00", "room_id": null}')) as outcome from series;
select is(
  (select array_agg(distinct to_char((held ->> 'startTime')::timestamptz at time zone 'America/Los_Angeles', 'dy HH24:MI')) from jsonb_array_elements(outcome #> '{body,holds}') as held),
  '{sun 10:00}', 'on each Sunday it is ten o''clock') from sundays;
do $$ begin perform tests.release('bcba', outcome #>> '{body,holdKey}') from sundays; end $$;
create temporary table rest on commit drop as
select tests.hold('bcba', tests.change(id, 'all', null, '{"shift_minutes": 20, "room_id": null}')) as outcome from series;
select is(
  (select count(*) from jsonb_array_elements(outcome #> '{body,holds}') as held where held ->> 'sessionId' in (ids[1]::text, ids[2]::text)),
  1::bigint, 'all are those that are to come') from rest, series;
do $$ begin perform tests.release('bcba', outcome #>> '{body,holdKey}') from rest; end $$;

-- Cancelling from a moment on.
select is(tests.cancel('other admin', jsonb_build_object('series_id', id)) ->> 'code', 'FORBIDDEN', 'another clinic''s series is not cancelled') from series;
select is(tests.error('bcba', format('select public.cancel_sessions(%L)', jsonb_build_object('series_id', id, 'from', tests.tuesday(60)))) ->> 'message',
  'from: is after the last session of the series', 'from after the last') from series;
select is(tests.cancel('bcba', jsonb_build_object('series_id', id, 'from', tests.tuesday(20))) #>> '{body,summary,cancelledCount}', '25',
  'a series is cancelled from a moment on') from series;
select is((select count(*) from public.sessions where series_id = series.id and status = 'scheduled'), 19::bigint, 'and stands before it') from series;
select is_empty('select * from tests.broken_claims()', 'the claims are sound to the end');
select * from finish();
rollback;
