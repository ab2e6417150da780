-- A group moves whole: naming one member holds new places for all who still come, and confirming moves them at once.
begin;
select plan(80);
select tests.open_clinic();
select tests.add_payers();
insert into public.clients (organization_id, id, reference)
select tests.id('clinic'), tests.id('client ' || number), 'client ' || number from generate_series(1, 12) as number;
insert into public.caseloads (organization_id, therapist_id, client_id)
select tests.id('clinic'), tests.id('rbt'), tests.id('client ' || number) from generate_series(1, 7) as number;

create temporary table story (name text primary key, answer jsonb);
grant all on story to public;
create function pg_temp.remember(name text, answer jsonb) returns jsonb language sql as $$
  insert into story values (remember.name, remember.answer)
  on conflict (name) do update set answer = excluded.answer
  returning story.answer
$$;
create function pg_temp.remembered(name text) returns jsonb language sql as $$
  select answer from story where story.name = remembered.name
$$;
-- Confirms each occurrence by the first of its clients.
create function pg_temp.confirmation(held jsonb) returns jsonb language sql as $$
  with item as (
    select hold.position, jsonb_build_object(
      'hold_key', hold.value -> 'holdKey',
      'session', jsonb_build_object('therapist_id', tests.id('rbt'), 'client_id', hold.value #> '{clientIds,0}',
        'start_time', hold.value -> 'startTime', 'end_time', hold.value -> 'endTime'),
      'start_time_offset_minutes', 0, 'end_time_offset_minutes', 0, 'time_zone', 'UTC') as body
    from jsonb_array_elements(held #> '{body,holds}') with ordinality as hold (value, position)
  )
  select (array_agg(item.body order by item.position))[1]
    || jsonb_build_object('hold_key', held #> '{body,holdKey}', 'occurrences', jsonb_agg(item.body order by item.position))
  from item
$$;
-- Books a group of clients first to last on each of the days.
create function pg_temp.book_group(name text, first integer, last integer, days integer[], extra jsonb default '{}') returns jsonb
language sql as $$
  select pg_temp.remember(name, tests.confirm('admin', pg_temp.confirmation(tests.hold('admin',
    tests.request('rbt', 'client ' || first, tests.at(days[1]), 60, jsonb_build_object(
      'client_ids', (select jsonb_agg(tests.id('client ' || number) order by number) from generate_series(first, last) as number),
      'session_type', 'group',
      'occurrences', (select jsonb_agg(tests.occurrence(tests.at(day))) from unnest(days) as day)
    ) || extra)))) #> '{body,sessions}')
$$;
-- The session of a client on a day.
create function pg_temp.session_of(client integer, day integer) returns uuid language sql as $$
  select id from public.sessions
  where client_id = tests.id('client ' || client) and start_time::date = tests.at(day)::date
    and (status not in ('cancelled', 'no_show') or not exists (
      select 1 from public.sessions as other
      where other.client_id = sessions.client_id and other.start_time::date = tests.at(day)::date
        and other.status not in ('cancelled', 'no_show')))
$$;
create function pg_temp.move(person text, client integer, session uuid, start timestamptz, extra jsonb default '{}') returns jsonb
language sql as $$
  select pg_temp.remember('move', tests.hold(person, tests.request('rbt', 'client ' || client, start, 60,
    jsonb_build_object('session_id', session) || extra)))
$$;
create function pg_temp.confirm_move(client integer) returns jsonb language sql as $$
  select tests.confirm('admin', tests.confirmation(pg_temp.remembered('move'), 'rbt', 'client ' || client))
$$;
-- How many of the group are on a day, of those who come.
create function pg_temp.present(day integer) returns bigint language sql as $$
  select count(*) from public.sessions
  where therapist_id = tests.id('rbt') and start_time = tests.at(day) and status = 'scheduled'
$$;

select pg_temp.book_group('eight', 1, 8, array[1], jsonb_build_object('room_id', tests.id('blue'), 'buffer_before_minutes', 15));
select pg_temp.remember('group', pg_temp.remembered('eight') #> '{0,group_id}');
select is(pg_temp.present(1), 8::bigint, 'eight come');

-- Held
select is(pg_temp.move('admin', 3, pg_temp.session_of(3, 1), tests.at(2)) ->> 'ok', 'true', 'one member is named');
select is(jsonb_array_length(pg_temp.remembered('move') #> '{body,holds}'), 1, 'and stands for all in the answer');
select is(
  pg_temp.remembered('move') #> '{body,holds,0}' ->> 'groupId', pg_temp.remembered('group') #>> '{}', 'which says of which group'
);
select is(
  pg_temp.remembered('move') #>> '{body,holds,0,clientIds,0}', tests.id('client 3')::text, 'and who was named'
);
select is(
  (select count(*) from public.session_holds where batch_id = (pg_temp.remembered('move') #>> '{body,holdId}')::uuid), 8::bigint,
  'each member has a hold'
);
select is(
  (select count(*) from private.claims where expires_at is not null), 10::bigint, 'on the therapist, the room and each client''s time'
);
select is_empty('select * from tests.broken_claims()', 'claims are sound while a move of a group is held');
select is(tests.hold('admin', tests.request('rbt2', 'client 8', tests.at(2))) ->> 'code', 'CLIENT_HOLD_CONFLICT',
  'every member''s new time is held');
select is(tests.hold('admin', tests.request('rbt2', 'client 8', tests.at(1))) ->> 'code', 'CLIENT_CONFLICT', 'and the old one kept');
select is(tests.hold('admin', tests.request('rbt', 'client 9', tests.at(2), 60, '{}')) ->> 'code', 'THERAPIST_HOLD_CONFLICT',
  'so is the therapist''s');
select is(tests.hold('admin', tests.request('bcba', 'client 9', tests.at(2), 60, jsonb_build_object('room_id', tests.id('blue')))) ->> 'code',
  'ROOM_CONFLICT', 'and the room, which nobody named');
select is(
  tests.hold('admin', tests.request('rbt', 'client 5', tests.at(3), 60, jsonb_build_object('session_id', pg_temp.session_of(5, 1)))) ->> 'code',
  'SESSION_BEING_MOVED', 'another member cannot be moved elsewhere'
);
select is(
  tests.call('admin', format('select public.move_group(%L)', tests.occurrence(tests.at(4)) || jsonb_build_object('group_id', pg_temp.remembered('group')))) ->> 'code',
  'SESSION_BEING_MOVED', 'nor the group at once'
);
select is(
  tests.hold('admin', tests.request('rbt', 'client 9', tests.at(1), 60, jsonb_build_object('group_id', pg_temp.remembered('group'), 'session_type', 'group'))) ->> 'code',
  'SESSION_BEING_MOVED', 'nobody joins meanwhile'
);
select is(
  tests.error_code('service_role', format(
    'insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone, group_id, session_type) values (%L, %L, %L, %L, %L, %L, %L, ''group'')',
    tests.id('clinic'), tests.id('rbt'), tests.id('client 9'), tests.at(1), tests.at(1, '11:00'), 'UTC', pg_temp.remembered('group') #>> '{}')),
  '23514', 'nor directly'
);
select is(
  tests.error_code('service_role', format('update public.sessions set cpt_code = ''97153'' where id = %L', pg_temp.session_of(6, 1))),
  '23514', 'no member changes her service'
);
select is(pg_temp.present(1), 8::bigint, 'until it is confirmed nobody has moved');

-- Confirmed
select is(
  (select pg_temp.confirm_move(9) ->> 'code'), 'CLIENT_MISMATCH', 'it is confirmed for a member of the group'
);
select pg_temp.remember('moved', pg_temp.confirm_move(3));
select is(jsonb_array_length(pg_temp.remembered('moved') #> '{body,sessions}'), 8, 'all eight sessions are in the answer');
select is(pg_temp.remembered('moved') #> '{body,session}' ->> 'client_id', tests.id('client 3')::text, 'the named member''s first');
select is(pg_temp.present(2), 8::bigint, 'all eight are there');
select is(
  (select count(distinct (session.group_id, known.room_id, known.buffer_before_minutes)) || ' ' || min(session.group_id::text) from public.sessions as session
    join public.session_groups as known on known.id = session.group_id and known.room_id = tests.id('blue') and known.buffer_before_minutes = 15
    where session.start_time = tests.at(2)),
  '1 ' || (pg_temp.remembered('group') #>> '{}'), 'one group still, with its room and its buffer'
);
select is(
  (select start_time from public.session_groups where id = (pg_temp.remembered('group') #>> '{}')::uuid), tests.at(2), 'the group knows its place'
);
select is_empty('select * from tests.broken_claims()', 'claims are sound');
select is(
  (select count(distinct owner_id) from private.claims where resource_kind = 'therapist' and during @> tests.at(2)), 1::bigint,
  'the therapist''s are the group''s again'
);
select is(tests.hold('admin', tests.request('rbt', 'client 9', tests.at(1))) ->> 'ok', 'true', 'the old place is free');
select is(pg_temp.confirm_move(3) #> '{body,sessions}', pg_temp.remembered('moved') #> '{body,sessions}', 'confirming twice moves once');
select is((select count(*) from audit.events where action = 'hold.confirmed' and details ->> 'batchId' = pg_temp.remembered('move') #>> '{body,holdId}'),
  1::bigint, 'one event tells of it');

-- Over its own place, with the hold's own key
select is(pg_temp.move('admin', 1, pg_temp.session_of(1, 2), tests.at(2, '10:15')) ->> 'ok', 'true', 'a group moves by minutes, over its own place');
select is(
  jsonb_array_length(tests.confirm('admin', tests.confirmation(pg_temp.remembered('move'), 'rbt', 'client 1')
    || jsonb_build_object('hold_key', pg_temp.remembered('move') #> '{body,holds,0,holdKey}')) #> '{body,sessions}'), 8,
  'confirmed by the one hold''s key, whole'
);
select is_empty('select * from tests.broken_claims()', 'claims are sound after it');

-- Whoever is in the way of one
select tests.hold('admin', tests.request('rbt2', 'client 7', tests.at(4)));
select is(pg_temp.move('admin', 1, pg_temp.session_of(1, 2), tests.at(4)) ->> 'code', 'CLIENT_HOLD_CONFLICT', 'what one member has refuses all');
select is(pg_temp.remembered('move') #>> '{conflicts,0,occurrenceIndex}', '0', 'and is said of the occurrence');
select is(pg_temp.move('rbt', 1, pg_temp.session_of(1, 2), tests.at(5)) ->> 'code', 'FORBIDDEN',
  'a therapist moves a group when she may book every client of it');
select is(
  (tests.call('admin', format('select public.preview_series(%L)', tests.request('rbt', 'client 1', tests.at(4), 60,
    jsonb_build_object('session_id', pg_temp.session_of(1, 2))))) #>> '{occurrences,0,blockedBy}'), 'client', 'a preview sees the other members'
);
select is(
  (select count(*) from jsonb_array_elements(tests.call('admin', format('select public.find_alternatives(%L)', tests.request('rbt', 'client 1',
    tests.at(4), 60, jsonb_build_object('session_id', pg_temp.session_of(1, 2))))) ) as free
    where (free ->> 'startTime')::timestamptz < tests.at(4, '11:00') and (free ->> 'endTime')::timestamptz > tests.at(4)),
  0::bigint, 'as alternatives do'
);

-- A member who has cancelled
select tests.cancel('admin', jsonb_build_object('session_ids', jsonb_build_array(pg_temp.session_of(8, 2))));
select pg_temp.remember('left', to_jsonb(pg_temp.session_of(8, 2)));
select is(pg_temp.move('rbt', 2, pg_temp.session_of(2, 2), tests.at(6)) ->> 'ok', 'true', 'one has cancelled; the therapist may book the seven');
select is(jsonb_array_length(pg_temp.confirm_move(2) #> '{body,sessions}'), 7, 'the seven move');
select is(pg_temp.present(6), 7::bigint, 'and are there');
select is(
  (select start_time || ' ' || status from public.sessions where id = (pg_temp.remembered('left') #>> '{}')::uuid),
  tests.at(2, '10:15') || ' cancelled', 'who has cancelled stays where she was'
);
select isnt(
  (select group_id from public.sessions where id = (pg_temp.remembered('left') #>> '{}')::uuid), (pg_temp.remembered('group') #>> '{}')::uuid,
  'in a group of its own'
);
select is(
  (select after #>> '{0,group_id}' from audit.events
    where action = 'session.changed' and entity_ids = array[(pg_temp.remembered('left') #>> '{}')::uuid]),
  (select group_id::text from public.sessions where id = (pg_temp.remembered('left') #>> '{}')::uuid), 'which the audit tells'
);
select is(tests.hold('admin', tests.request('rbt', 'client 8', tests.at(6), 60,
  jsonb_build_object('group_id', pg_temp.remembered('group'), 'session_type', 'group', 'buffer_before_minutes', 15))) ->> 'ok', 'true', 'and may join again');
select is(pg_temp.move('admin', 2, pg_temp.session_of(2, 6), tests.at(7)) ->> 'code', 'THERAPIST_HOLD_CONFLICT',
  'while somebody joins, the group does not move');
select is(
  tests.error_code('service_role', format('update public.session_groups set start_time = start_time + interval ''1 day'', end_time = end_time + interval ''1 day'' where id = %L',
    pg_temp.remembered('group') #>> '{}')), '23514', 'nor directly'
);

-- Cancelled while it is being moved, released, expired
select pg_temp.book_group('three', 9, 11, array[20]);
select is(pg_temp.move('admin', 9, pg_temp.session_of(9, 20), tests.at(21)) ->> 'ok', 'true', 'a group of three is being moved');
select tests.cancel('admin', jsonb_build_object('session_ids', jsonb_build_array(pg_temp.session_of(11, 20))));
select is(pg_temp.confirm_move(9) ->> 'code', 'SESSION_NOT_MOVABLE', 'a member cancels meanwhile: then nobody moves');
select is(pg_temp.present(20), 2::bigint, 'the two are where they were');
select is((select count(*) from public.session_holds where batch_id = (pg_temp.remembered('move') #>> '{body,holdId}')::uuid and status = 'held'),
  0::bigint, 'it is let go whole');
select is((select count(*) from private.claims where expires_at is not null and during && tstzrange(tests.at(21), tests.at(21, '11:00'))), 0::bigint,
  'and gives every place back');
select is_empty('select * from tests.broken_claims()', 'claims are sound after a release');
select is(
  (select count(distinct owner_id) from private.claims where resource_kind = 'therapist' and during @> tests.at(20)), 1::bigint, 'and the group''s again'
);
select pg_temp.move('admin', 10, pg_temp.session_of(10, 20), tests.at(21));
select tests.expire(pg_temp.remembered('move'));
select is(pg_temp.confirm_move(10) ->> 'code', 'HOLD_EXPIRED', 'a move can run out');
select pg_temp.move('admin', 9, pg_temp.session_of(9, 20), tests.at(22));
select tests.expire(pg_temp.remembered('move'));
select pg_temp.remember('joining', tests.hold('admin', tests.request('rbt', 'client 12', tests.at(20), 60,
  jsonb_build_object('group_id', pg_temp.remembered('three') #> '{0,group_id}', 'session_type', 'group'))));
select is(pg_temp.remembered('joining') ->> 'ok', 'true', 'when it has, a third can join, though nobody swept');
select is(tests.confirm('admin', tests.confirmation(pg_temp.remembered('joining'), 'rbt', 'client 12')) ->> 'ok', 'true', 'and is a member');
select is_empty('select * from tests.broken_claims()', 'claims are sound');
select pg_temp.move('admin', 9, pg_temp.session_of(9, 20), tests.at(22));
select tests.expire(pg_temp.remembered('move'));
select is(
  tests.error_code('service_role', format(
    'insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone, group_id, session_type) values (%L, %L, %L, %L, %L, %L, %L, ''group'')',
    tests.id('clinic'), tests.id('rbt'), tests.id('client 11'), tests.at(20), tests.at(20, '11:00'), 'UTC', pg_temp.remembered('three') #>> '{0,group_id}')),
  null, 'directly too'
);
select is_empty('select * from tests.broken_claims()', 'claims are sound');
select is(pg_temp.move('admin', 9, pg_temp.session_of(9, 20), tests.at(22)) ->> 'ok', 'true', 'and the group can be moved again');
select is(jsonb_array_length(pg_temp.confirm_move(9) #> '{body,sessions}'), 4, 'with all four');

-- A series of groups, onto each other's places, with a session of her own in between
select pg_temp.book_group('weekly', 1, 3, array[40, 41, 42]);
select pg_temp.remember('alone', to_jsonb(tests.book('admin', 'rbt', 'client 1', tests.at(43))));
select pg_temp.remember('move', tests.hold('admin', tests.request('rbt', 'client 1', tests.at(41)) || jsonb_build_object('occurrences',
  jsonb_build_array(
    tests.occurrence(tests.at(41), 60, 'UTC', jsonb_build_object('session_id', pg_temp.session_of(1, 40))),
    tests.occurrence(tests.at(42), 60, 'UTC', jsonb_build_object('session_id', pg_temp.session_of(1, 41))),
    tests.occurrence(tests.at(43), 60, 'UTC', jsonb_build_object('session_id', pg_temp.session_of(1, 42))),
    tests.occurrence(tests.at(40), 60, 'UTC', jsonb_build_object('session_id', pg_temp.remembered('alone')))))));
select is(jsonb_array_length(pg_temp.remembered('move') #> '{body,holds}'), 4, 'three groups and a session: four holds in the answer');
select is(jsonb_array_length(pg_temp.confirm_move(1) #> '{body,sessions}'), 10, 'ten sessions move at once');
select is(pg_temp.present(40) || ' ' || pg_temp.present(41) || ' ' || pg_temp.present(42) || ' ' || pg_temp.present(43), '1 3 3 3', 'each to its place');
select is_empty('select * from tests.broken_claims()', 'claims are sound');

-- Units are each member's own
select pg_temp.book_group('pair', 1, 2, array[50]);
select tests.authorize('client 2', '{97154}', 20, tests.at(0)::date, tests.at(99)::date);
select is(tests.balance('client 2', '97154'), '0/20/0/0', 'the second has no units left');
select is(
  tests.hold('admin', tests.request('rbt', 'client 1', tests.at(51), 75, jsonb_build_object('session_id', pg_temp.session_of(1, 50)))) ->> 'code',
  'AUTHORIZATION_EXCEEDED', 'a longer place for the first needs units of the second'
);
select is(
  tests.hold('admin', tests.request('rbt', 'client 1', tests.at(51), 45, jsonb_build_object('session_id', pg_temp.session_of(1, 50)))) ->> 'ok',
  'true', 'a shorter one none'
);

-- move_group into another room, where the old one is taken
select tests.hold('admin', tests.request('bcba', 'client 12', tests.at(8), 60, jsonb_build_object('room_id', tests.id('blue'))));
select tests.release('admin', (select hold_key::text from public.session_holds where group_id = (pg_temp.remembered('group') #>> '{}')::uuid and status = 'held' limit 1));
select is(
  jsonb_array_length(tests.call('admin', format('select public.move_group(%L)', tests.occurrence(tests.at(8)) || jsonb_build_object(
    'group_id', pg_temp.remembered('group'), 'room_id', tests.id('green')))) #> '{body,sessions}'), 7, 'move_group changes place and room at once'
);
select is_empty('select * from tests.broken_claims()', 'claims are sound in the end');

-- Changed directly while it is being moved, and to another therapist
select pg_temp.book_group('four', 3, 6, array[60], jsonb_build_object('room_id', tests.id('blue')));
select is(
  tests.hold('admin', tests.request('rbt', 'client 3', tests.at(60), 60, jsonb_build_object('group_id', pg_temp.remembered('four') #> '{0,group_id}', 'session_type', 'group'))) ->> 'code',
  'CLIENT_CONFLICT', 'who is a member does not join once more'
);
select pg_temp.remember('move', tests.hold('admin', tests.request('rbt2', 'client 4', tests.at(60, '10:30'), 60,
  jsonb_build_object('session_id', pg_temp.session_of(4, 60)))));
select is(pg_temp.remembered('move') ->> 'ok', 'true', 'to another therapist, half an hour later');
select is(
  tests.error_code('service_role', format('update public.sessions set room_id = %L where id = %L', tests.id('green'), pg_temp.session_of(5, 60))),
  '23514', 'a member has no room of its own: it is the group''s'
);
select is(
  tests.error_code('service_role', format('update public.session_groups set start_time = %L, end_time = %L where id = %L',
    tests.at(61), tests.at(61, '11:00'), pg_temp.remembered('four') #>> '{0,group_id}')),
  '23514', 'the group is not moved directly meanwhile'
);
select is(pg_temp.present(60), 4::bigint, 'all four are where they were');
select is_empty('select * from tests.broken_claims()', 'claims are sound');
select is(
  jsonb_array_length(tests.confirm('admin', tests.confirmation(pg_temp.remembered('move'), 'rbt2', 'client 4')) #> '{body,sessions}'), 4,
  'the move confirms from there'
);
select is(
  (select string_agg(distinct concat_ws(' ', session.therapist_id = tests.id('rbt2'), session.start_time = tests.at(60, '10:30'), known.room_id = tests.id('blue')), ',')
    from public.sessions as session join public.session_groups as known on known.id = session.group_id where session.group_id = (pg_temp.remembered('four') #>> '{0,group_id}')::uuid),
  't t t', 'to its therapist, time and room'
);
select is(tests.hold('admin', tests.request('rbt', 'client 9', tests.at(60))) ->> 'ok', 'true', 'what it left is free');
select is_empty('select * from tests.broken_claims()', 'claims are sound');

select * from finish();
rollback;
