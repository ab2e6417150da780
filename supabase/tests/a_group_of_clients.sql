-- One therapist, two to eight clients, one time: held, confirmed and moved as one; each client may still cancel alone.
begin;
select plan(64);
select tests.open_clinic();
select tests.add_payers();
insert into public.clients (organization_id, id, reference)
select tests.id('clinic'), tests.id('client ' || number), 'client ' || number from generate_series(1, 9) as number;

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
create function pg_temp.clients(first integer, last integer) returns jsonb language sql as $$
  select jsonb_agg(tests.id('client ' || number) order by number) from generate_series(first, last) as number
$$;
-- A hold for clients first to last, on a day.
create function pg_temp.group_request(first integer, last integer, day integer, extra jsonb default '{}') returns jsonb language sql as $$
  select tests.request('rbt', 'client ' || first, tests.at(day), 60, jsonb_build_object(
    'client_ids', pg_temp.clients(first, last), 'session_type', 'group') || extra)
$$;
create function pg_temp.problem(request jsonb) returns text language sql as $$
  select (tests.error('admin', format('select public.hold_sessions(%L)', request)) ->> 'details')::jsonb -> 0 ->> 'path'
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

-- Sizes
select is(pg_temp.problem(pg_temp.group_request(1, 9, 0)), 'client_ids', 'nine clients are too many');
select is(pg_temp.problem(pg_temp.group_request(1, 1, 0)), 'session_type', 'one client is no group');
select is(pg_temp.problem(pg_temp.group_request(1, 2, 0, jsonb_build_object('client_id', tests.id('client 3')))), 'client_ids', 'client_id is among them');
select is(pg_temp.problem(pg_temp.group_request(1, 2, 0, jsonb_build_object('client_ids', jsonb_build_array(tests.id('client 1'), tests.id('client 1'))))), 'client_ids', 'nobody comes twice');
select is(pg_temp.problem(pg_temp.group_request(1, 2, 0, '{"client_ids": ["x", "y"]}')), 'client_ids.0', 'ids are UUIDs');
select is(pg_temp.problem(pg_temp.group_request(1, 2, 0, '{"cpt_code": "97153"}')), 'cpt_code', 'one-to-one treatment is for one');
select is(tests.hold('rbt', pg_temp.group_request(1, 2, 0)) ->> 'code', 'FORBIDDEN', 'a therapist books her own caseload only, each of them');

-- Eight as one
select pg_temp.remember('held', tests.hold('admin', pg_temp.group_request(1, 8, 1, jsonb_build_object('room_id', tests.id('blue')))));
select is(jsonb_array_length(pg_temp.remembered('held') #> '{body,holds,0,clientIds}'), 8, 'eight clients are held at once, with one key');
select is(pg_temp.remembered('held') #> '{body,holds,0,clientIds}', pg_temp.clients(1, 8), 'in the order in which they were named');
select is(
  (select count(distinct (group_id, hold_key)) from public.session_holds where batch_id = (pg_temp.remembered('held') #>> '{body,holdId}')::uuid), 1::bigint,
  'in one group'
);
select is(tests.hold('admin', tests.request('rbt', 'client 9', tests.at(1))) ->> 'code', 'THERAPIST_HOLD_CONFLICT', 'who is not in it cannot have the therapist');
select is(tests.hold('admin', tests.request('rbt2', 'client 3', tests.at(1))) ->> 'code', 'CLIENT_HOLD_CONFLICT', 'nor can a member be elsewhere');
select is(tests.hold('admin', tests.request('rbt2', 'client 9', tests.at(1), 60, jsonb_build_object('room_id', tests.id('blue')))) ->> 'code', 'ROOM_CONFLICT', 'nor can anybody have the room');
select is(
  tests.confirm('admin', jsonb_insert(pg_temp.confirmation(pg_temp.remembered('held')), '{occurrences,0}',
    pg_temp.confirmation(pg_temp.remembered('held')) #> '{occurrences,0}')) ->> 'code',
  'HOLD_MISMATCH', 'one client is not listed twice'
);
select is(
  tests.confirm('admin', jsonb_set(pg_temp.confirmation(pg_temp.remembered('held')), '{occurrences,0,session,client_id}', to_jsonb(tests.id('client 9')))) ->> 'code',
  'CLIENT_MISMATCH', 'nor another client in a member''s place'
);
select pg_temp.remember('booked', tests.confirm('admin', pg_temp.confirmation(pg_temp.remembered('held'))));
select is(jsonb_array_length(pg_temp.remembered('booked') #> '{body,sessions}'), 8, 'eight sessions are confirmed at once');
select is(
  (select count(distinct (session.group_id, session.therapist_id, session.start_time, known.room_id)) from public.sessions as session
    join public.session_groups as known on known.id = session.group_id and known.room_id = tests.id('blue') where session.therapist_id = tests.id('rbt')), 1::bigint,
  'of one group, therapist, time and room'
);
select is_empty('select * from tests.broken_claims()', 'with the claims they should have');
select is(
  tests.confirm('admin', pg_temp.confirmation(pg_temp.remembered('held'))) #> '{body,sessions}', pg_temp.remembered('booked') #> '{body,sessions}',
  'confirming twice makes one group'
);

-- A ninth
select pg_temp.remember('group', pg_temp.remembered('booked') #> '{body,session,group_id}');
select is(
  tests.hold('admin', tests.request('rbt', 'client 9', tests.at(1), 60, jsonb_build_object('group_id', pg_temp.remembered('group')))) ->> 'code',
  'GROUP_FULL', 'a ninth cannot join'
);
select is(
  tests.hold('admin', tests.request('rbt', 'client 9', tests.at(1), 60, jsonb_build_object('group_id', pg_temp.remembered('group')))) -> 'retryAfter',
  'null', 'and waiting does not help: all eight are booked'
);
select is(
  tests.error_code('service_role', format(
    'insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone, group_id, session_type) values (%L, %L, %L, %L, %L, %L, %L, ''group'')',
    tests.id('clinic'), tests.id('rbt'), tests.id('client 9'), tests.at(1), tests.at(1, '11:00'), 'UTC', pg_temp.remembered('group') #>> '{}')),
  '23514', 'nor written directly'
);
insert into public.session_groups (organization_id, id, therapist_id, start_time, end_time)
values (tests.id('clinic'), tests.id('beside'), tests.id('rbt2'), tests.at(1), tests.at(1, '11:00'));
insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, group_id, session_type)
values (tests.id('clinic'), tests.id('ninth'), tests.id('rbt2'), tests.id('client 9'), tests.at(1), tests.at(1, '11:00'), 'UTC', tests.id('beside'), 'group');
select is(
  tests.error('service_role', format('update public.sessions set group_id = %L, therapist_id = %L where id = %L',
    pg_temp.remembered('group') #>> '{}', tests.id('rbt'), tests.id('ninth'))) ->> 'code',
  '23514', 'nor moved into it from another group'
);
update public.sessions set status = 'cancelled' where id = tests.id('ninth');

-- Moving
create function pg_temp.move(person text, day integer, extra jsonb default '{}') returns jsonb language sql as $$
  select tests.call(person, format('select public.move_group(%L, %L)',
    tests.occurrence(tests.at(day)) || jsonb_build_object('group_id', pg_temp.remembered('group')) || extra, 'story'))
$$;
select is(pg_temp.move('rbt2', 2) ->> 'code', 'FORBIDDEN', 'another therapist does not move it');
select tests.hold('admin', tests.request('rbt2', 'client 5', tests.at(2)));
select is(pg_temp.move('admin', 2) ->> 'code', 'CLIENT_HOLD_CONFLICT', 'where one member has something else, none goes');
select is(
  (select count(distinct start_time) from public.sessions where group_id = (pg_temp.remembered('group') #>> '{}')::uuid and start_time = tests.at(1)), 1::bigint,
  'and all stay'
);
select is(jsonb_array_length(pg_temp.move('admin', 3) #> '{body,sessions}'), 8, 'where all can, all go');
select is(
  (select count(*) from public.sessions where group_id = (pg_temp.remembered('group') #>> '{}')::uuid and start_time = tests.at(3)), 8::bigint,
  'each of them'
);
select is_empty('select * from tests.broken_claims()', 'and their claims with them');
select is(tests.hold('admin', tests.request('rbt', 'client 9', tests.at(1))) ->> 'ok', 'true', 'the old place is free');

-- Leaving and joining
select is(
  tests.cancel('admin', jsonb_build_object('session_ids', jsonb_build_array(pg_temp.remembered('booked') #> '{body,sessions,7,id}'))) #>> '{body,summary,cancelledCount}',
  '1', 'one member cancels'
);
select is(
  (select count(*) from public.sessions where group_id = (pg_temp.remembered('group') #>> '{}')::uuid and status = 'scheduled'), 7::bigint, 'seven are left'
);
select is(jsonb_array_length(pg_temp.move('admin', 4) #> '{body,sessions}'), 7, 'the seven can still move');
select pg_temp.remember('joining', tests.hold('admin', tests.request('rbt', 'client 9', tests.at(4), 60,
  jsonb_build_object('group_id', pg_temp.remembered('group'), 'session_type', 'group', 'room_id', tests.id('blue')))));
select is(pg_temp.remembered('joining') ->> 'ok', 'true', 'an eighth can join again');
select pg_temp.remember('full', tests.hold('admin', tests.request('rbt', 'client 8', tests.at(4), 60,
  jsonb_build_object('group_id', pg_temp.remembered('group'), 'session_type', 'group'))));
select is(pg_temp.remembered('full') ->> 'code', 'GROUP_FULL', 'one more cannot, while that place is held');
select is(pg_temp.remembered('full') ->> 'retryAfter', pg_temp.remembered('joining') #>> '{body,expiresAt}', 'and is told when it would be free');
select cmp_ok((pg_temp.remembered('full') ->> 'retryAfterSeconds')::integer, '>', 0, 'in seconds too');
select is(
  tests.error_code('service_role', format(
    'insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone, group_id, session_type) values (%L, %L, %L, %L, %L, %L, %L, ''group'')',
    tests.id('clinic'), tests.id('rbt'), tests.id('client 8'), tests.at(4), tests.at(4, '11:00'), 'UTC', pg_temp.remembered('group') #>> '{}')),
  '23514', 'her place is taken while it is held, for who is written directly too'
);
select is(tests.confirm('admin', pg_temp.confirmation(pg_temp.remembered('joining'))) #>> '{body,session,group_id}', pg_temp.remembered('group') #>> '{}', 'and is in the group');
select is_empty('select * from tests.broken_claims()', 'claims are sound');
select is(
  tests.error('admin', format('select public.hold_sessions(%L)', tests.request('rbt', 'client 8', tests.at(9), 60, jsonb_build_object('group_id', pg_temp.remembered('group'))))) ->> 'code',
  'PT400', 'a group is joined at its own time'
);

-- Units are each client's own; a series of groups
select tests.authorize('client 2', '{97154}', 8, tests.at(0)::date, tests.at(99)::date);
select is(
  tests.hold('admin', pg_temp.group_request(1, 3, 20, jsonb_build_object('occurrences', (
    select jsonb_agg(tests.occurrence(tests.at(20 + week * 7))) from generate_series(0, 2) as week)))) ->> 'code',
  'AUTHORIZATION_EXCEEDED', 'one member without the units stops the series for all'
);
select pg_temp.remember('series', tests.hold('admin', pg_temp.group_request(3, 5, 20, jsonb_build_object('occurrences', (
  select jsonb_agg(tests.occurrence(tests.at(20 + week * 7))) from generate_series(0, 2) as week)))));
select is(jsonb_array_length(pg_temp.remembered('series') #> '{body,holds}'), 3, 'three clients, three weeks, a key for each week');
select is(
  (select count(distinct item ->> 'series_id') || ' series, ' || count(distinct item ->> 'group_id') || ' groups'
    from jsonb_array_elements(tests.confirm('admin', pg_temp.confirmation(pg_temp.remembered('series'))) #> '{body,sessions}') as item),
  '3 series, 3 groups', 'a series for each client, a group for each week'
);

-- Releasing
select pg_temp.remember('pair', tests.hold('admin', pg_temp.group_request(1, 2, 40)));
select is(
  tests.release('admin', pg_temp.remembered('pair') #>> '{body,holds,0,holdKey}') #>> '{body,released}', 'true', 'a group is let go whole, by its key'
);
select is(tests.hold('admin', pg_temp.group_request(1, 2, 40)) ->> 'ok', 'true', 'released, it can be held again');
select is_empty('select * from tests.broken_claims()', 'and claims are sound');

-- Utilization counts the therapist's hour once
select is(
  (select sum(booked_hours) from reports.therapist_utilization where therapist_id = tests.id('rbt')), 4.00, 'four hours of the therapist''s, whoever came'
);

-- Each of them has to be one whom the therapist may book.
create function pg_temp.with_ann(other text) returns text language sql as $$
  select coalesce(answer ->> 'code', 'held') from tests.hold('rbt', tests.request('rbt', 'ann', tests.at(60), 60, jsonb_build_object(
    'client_ids', array[tests.id('ann'), tests.id(other)], 'session_type', 'group'))) as answer
$$;
select is(pg_temp.with_ann('cat'), 'FORBIDDEN', 'a therapist books no group with a client of nobody''s caseload, whoever else is in it');
update public.clients set deleted_at = now() where organization_id = tests.id('clinic') and id = tests.id('ben');
select is(pg_temp.with_ann('ben'), 'FORBIDDEN', 'nor one with somebody who is archived');
update public.clients set deleted_at = null where organization_id = tests.id('clinic') and id = tests.id('ben');
select is(pg_temp.with_ann('ben'), 'held', 'but one with two of their own');

-- Two hold places in a group that everybody else leaves; one of the holds ends early.
select pg_temp.remember('emptied', tests.confirm('admin', pg_temp.confirmation(tests.hold('admin', pg_temp.group_request(5, 6, 12)))));
select pg_temp.remember('emptied group', pg_temp.remembered('emptied') #> '{body,session,group_id}');
select pg_temp.remember('place ' || number, tests.hold('admin', tests.request('rbt', 'client ' || number, tests.at(12), 60,
  jsonb_build_object('group_id', pg_temp.remembered('emptied group'), 'session_type', 'group'))))
from generate_series(7, 8) as number;
select is(pg_temp.remembered('place 7') ->> 'ok' || (pg_temp.remembered('place 8') ->> 'ok'), 'truetrue', 'two hold a place');
select is(tests.cancel('admin', jsonb_build_object('session_ids', (
  select jsonb_agg(session -> 'id') from jsonb_array_elements(pg_temp.remembered('emptied') #> '{body,sessions}') as session
))) #>> '{body,summary,cancelledCount}', '2', 'both have left');
do $$ begin perform tests.expire(pg_temp.remembered('place 7')); end $$;
select is_empty('select * from tests.broken_claims()', 'the group''s place lives as long as the other');
select is(tests.hold('admin', tests.request('rbt', 'client 9', tests.at(12))) ->> 'code', 'THERAPIST_HOLD_CONFLICT', 'and nobody else has it');

-- What is wrong is named by the field that was sent.
select is(
  pg_temp.problem(tests.request('rbt', 'client 9', tests.at(11), 60, sent)), path,
  'a group service for one client, named by ' || path
)
from (values ('{"session_type": "group"}'::jsonb, 'session_type'), ('{"cpt_code": "97154"}', 'cpt_code')) as wrong (sent, path);
select is(
  tests.error('admin', format('select public.confirm_sessions(%L)', jsonb_set(
    tests.confirmation(tests.hold('admin', tests.request('rbt', 'client 9', tests.at(11))), 'rbt', 'client 9'),
    '{occurrences,0,session,session_type}', '"group"'
  ))) ->> 'message',
  'occurrences.0.session.session_type: 97154 is a service for a group, not for one client', 'likewise at its confirmation'
);

-- A place that ran out is free; who joins is there as long as the others, and nobody joins what is being moved.
insert into public.clients (organization_id, id, reference) select tests.id('clinic'), tests.id('mate ' || number), 'mate ' || number from generate_series(1, 9) as number;
insert into public.session_groups (organization_id, id, therapist_id, start_time, end_time) values (tests.id('clinic'), tests.id('seven'), tests.id('bcba'), tests.at(130), tests.at(130, '11:00'));
insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, group_id, cpt_code)
select tests.id('clinic'), tests.id('seven ' || number), tests.id('bcba'), tests.id('mate ' || number), tests.at(130), tests.at(130, '11:00'), 'UTC', tests.id('seven'), '97154' from generate_series(1, 7) as number;
create function pg_temp.joining(client integer, minutes integer default 60) returns jsonb language sql as $$
  select tests.request('bcba', 'mate ' || client, tests.at(130), minutes, jsonb_build_object('group_id', tests.id('seven'), 'cpt_code', '97154'))
$$;
select is(pg_temp.problem(pg_temp.joining(8, 90)), 'group_id', 'nobody joins for half an hour longer');
select pg_temp.remember('eighth', tests.hold('admin', pg_temp.joining(8)));
select is(tests.hold('admin', pg_temp.joining(9)) ->> 'code', 'GROUP_FULL', 'a place that is held is taken');
select tests.expire(pg_temp.remembered('eighth'));
select pg_temp.remember('ninth', tests.hold('admin', pg_temp.joining(9)));
select is(pg_temp.remembered('ninth') ->> 'ok', 'true', 'until that hold has run out, swept or not');
select tests.release('admin', pg_temp.remembered('ninth') #>> '{body,holdKey}');
select is(tests.hold('admin', tests.request('bcba', 'mate 1', tests.at(131), 60, jsonb_build_object('session_id', tests.id('seven 1')))) ->> 'ok', 'true', 'the seven are being moved');
select matches(tests.error('service_role', format(
  'insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone, group_id, cpt_code) values (%L, %L, %L, %L, %L, ''UTC'', %L, ''97154'')',
  tests.id('clinic'), tests.id('bcba'), tests.id('mate 9'), tests.at(130), tests.at(130, '11:00'), tests.id('seven'))) ->> 'message', 'being moved', 'meanwhile nobody is written into it');
select matches(tests.error('service_role', format(
  'with made as (insert into public.session_groups (organization_id, id, therapist_id, start_time, end_time) values (%1$L, %2$L, %3$L, %4$L, %5$L) returning id)
   insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone, group_id, cpt_code) select %1$L, %3$L, %6$L, %4$L, %5$L, ''UTC'', id, ''97153'' from made',
  tests.id('clinic'), tests.id('of one'), tests.id('rbt2'), tests.at(132), tests.at(132, '11:00'), tests.id('mate 9'))) ->> 'message', 'for one client, not for a group', 'nor is a service for one written as a group''s first');

select * from finish();
rollback;
