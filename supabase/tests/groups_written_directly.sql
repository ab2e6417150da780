-- A group that SQL moves takes along who still comes, and waits for nobody's hold; its place is free when nobody is left.
begin;
select plan(15);
select tests.open_clinic();

create function pg_temp.grouped(name text, day integer, clients text[]) returns void language sql as $$
  insert into public.session_groups (organization_id, id, therapist_id, start_time, end_time, room_id)
  values (tests.id('clinic'), tests.id(name), tests.id('rbt'), tests.at(day), tests.at(day, '11:00'), tests.id('blue'));
  insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, group_id, cpt_code)
  select tests.id('clinic'), tests.id(name || ' ' || client), tests.id('rbt'), tests.id(client), tests.at(day), tests.at(day, '11:00'), 'UTC', tests.id(name), '97154'
  from unnest(clients) as client $$;
create function pg_temp.starts(name text) returns timestamptz language sql as $$ select start_time from public.sessions where id = tests.id(name) $$;
create function pg_temp.move(name text, day integer) returns text language sql as $$
  select tests.error_code('service_role', format('update public.session_groups set start_time = %L, end_time = %L where id = %L', tests.at(day), tests.at(day, '11:00'), tests.id(name))) $$;
create function pg_temp.taken(resource text, day integer) returns boolean language sql as $$
  select exists (select from private.claims where organization_id = tests.id('clinic') and resource_id = tests.id(resource) and during @> tests.at(day)) $$;

-- Who has cancelled stays where they were booked.
select pg_temp.grouped('skills', 1, '{ann,ben,cat}');
select tests.cancel('admin', jsonb_build_object('session_ids', array[tests.id('skills cat')]));
select is(pg_temp.move('skills', 2), null, 'a group is moved by SQL');
select is(array[pg_temp.starts('skills ann'), pg_temp.starts('skills ben')], array[tests.at(2), tests.at(2)], 'with all who come');
select is(pg_temp.starts('skills cat'), tests.at(1), 'whoever has cancelled was booked for the old time');
select is(array[pg_temp.taken('rbt', 1), pg_temp.taken('blue', 1), pg_temp.taken('ann', 1)], '{f,f,f}', 'the old place is free');
select is(array[pg_temp.taken('rbt', 2), pg_temp.taken('blue', 2), pg_temp.taken('ann', 2)], '{t,t,t}', 'the new one is taken');

-- A place in it is held: it stays until that hold ends.
create temporary table joining on commit drop as
select tests.hold('admin', tests.request('rbt', 'dan', tests.at(2), 60, jsonb_build_object('group_id', tests.id('skills'), 'cpt_code', '97154', 'room_id', tests.id('blue')))) as held;
select is(held ->> 'ok', 'true', 'somebody is about to join') from joining;
select is(pg_temp.move('skills', 3), '23514', 'meanwhile it stays') from joining;
select tests.release('admin', held #>> '{body,holdKey}') from joining;
select is(pg_temp.move('skills', 3), null, 'then it moves');

-- Nobody is left.
select pg_temp.grouped('empty', 5, '{ann,ben}');
create temporary table leaving on commit drop as
select tests.hold('admin', tests.request('rbt', 'dan', tests.at(5), 60, jsonb_build_object('group_id', tests.id('empty'), 'cpt_code', '97154', 'room_id', tests.id('blue')))) as held;
select tests.cancel('admin', jsonb_build_object('session_ids', array[tests.id('empty ann'), tests.id('empty ben')]));
select is(array[pg_temp.taken('rbt', 5), pg_temp.taken('blue', 5)], '{t,t}', 'while a place is held the group has its own');
select tests.release('admin', held #>> '{body,holdKey}') from leaving;
select is(array[pg_temp.taken('rbt', 5), pg_temp.taken('blue', 5)], '{f,f}', 'without it nobody is left, and its place is free');

-- A group moves whichever of its members has cancelled.
create temporary table first on commit drop as select min(id::text)::uuid as id from public.sessions where group_id = tests.id('skills');
select tests.cancel('admin', jsonb_build_object('session_ids', array[id])) from first;
select is(tests.call('admin', format('select public.move_group(%L)', tests.occurrence(tests.at(6)) || jsonb_build_object('group_id', tests.id('skills')))) ->> 'ok', 'true', 'the one that is left moves');
select is((select count(*) from public.sessions where group_id = tests.id('skills') and start_time = tests.at(6)), 1::bigint, 'alone');
select is(tests.call('bcba', format('select public.move_group(%L)', tests.occurrence(tests.at(7)) || jsonb_build_object('group_id', tests.id('skills')))) ->> 'code', 'FORBIDDEN', 'nobody moves the group of another therapist');
select is((select start_time from public.session_groups where id = tests.id('skills')), tests.at(6), 'which stays');
select is_empty('select * from tests.broken_claims()', 'claims are what the rows say');

select * from finish();
rollback;
