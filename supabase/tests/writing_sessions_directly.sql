-- Studio, SQL and REST write sessions too. They meet the same rules as the booking functions: no overlap with any
-- session or hold of the same therapist, client or room; the status machine; nothing is deleted.
begin;
select plan(91);
select tests.open_clinic();

create function tests.insertion(therapist text, client text, starts timestamptz, ends timestamptz, extra text default '', vals text default '')
returns text language sql as $$
  select format(
    'insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone%s)
     values (%L, %L, %L, %L, %L, ''UTC''%s)',
    extra, tests.id('clinic'), tests.id(therapist), tests.id(client), starts, ends, vals)
$$;

create temporary table taken on commit drop as
select
  tests.book('rbt', 'rbt', 'ann', tests.at(1)) as session_id,
  tests.hold('rbt', tests.request('rbt', 'ann', tests.at(2), 60,
    jsonb_build_object('room_id', tests.id('blue'), 'buffer_after_minutes', 30))) as hold;

-- Overlaps, as the two roles that bypass row-level security and as a signed-in admin.
select is(tests.error_code(who.name, tests.insertion(rival.therapist, rival.client, rival.starts, rival.starts + interval '1 hour')),
  '23P01', format('%s cannot insert over a %s', who.name, rival.what))
from (values ('service_role'), ('postgres'), ('admin')) as who (name)
cross join (values
  ('session of the therapist', 'rbt', 'ben', tests.at(1, '10:30')),
  ('session of the client', 'bcba', 'ann', tests.at(1, '09:30')),
  ('hold of the therapist', 'rbt', 'ben', tests.at(2, '10:59')),
  ('hold''s buffer', 'rbt', 'ben', tests.at(2, '11:29')),
  ('hold of the client', 'bcba', 'ann', tests.at(2, '09:01'))
) as rival (what, therapist, client, starts);
select is(tests.error_code('service_role', tests.insertion('bcba', 'ben', tests.at(2, '10:30'), tests.at(2, '10:45'),
  ', room_id', format(', %L', tests.id('blue')))), '23P01', 'nor into a room that is held');
select is(tests.error_code('service_role', tests.insertion('bcba', 'ben', tests.at(3), tests.at(3, '11:00')) ||
  format(', (%L, %L, %L, %L, %L, ''UTC'')', tests.id('clinic'), tests.id('bcba'), tests.id('cat'), tests.at(3, '10:30'), tests.at(3, '12:00'))),
  '23P01', 'two rows of one statement block each other too');
select is(tests.error_code('service_role', tests.insertion('bcba', 'ben', tests.at(1, '11:00'), tests.at(1, '12:00'))), null,
  'beside it, a session goes in');
select is(tests.error_code('service_role', tests.insertion('rbt', 'ben', tests.at(2, '11:30'), tests.at(2, '12:00'))), null,
  'also right at the end of a buffer');
select is(tests.error_code('service_role', format('update public.sessions set start_time = %L, end_time = %L where id = %L',
  tests.at(2, '10:30'), tests.at(2, '11:30'), session_id)), '23P01', 'a session does not move onto a hold directly') from taken;
select is(tests.error_code('service_role', format('update public.sessions set buffer_after_minutes = 30, therapist_id = %L where id = %L',
  tests.id('bcba'), session_id)), '23P01', 'nor does its buffer grow into a neighbour') from taken;

-- Places change hands in one statement.
create temporary table pair on commit drop as
select tests.book('rbt2', 'rbt2', 'ben', array[tests.at(4), tests.at(4, '12:00')]) as ids;
select is(tests.error_code('service_role', format($$
  update public.sessions set
    start_time = case id when %1$L then %3$L::timestamptz else %4$L end,
    end_time = case id when %1$L then %3$L::timestamptz + interval '1 hour' else %4$L::timestamptz + interval '1 hour' end
  where id in (%1$L, %2$L) $$, ids[1], ids[2], tests.at(4, '12:00'), tests.at(4))), null,
  'two sessions swap places in one UPDATE') from pair;
select is((select array_agg(start_time order by position) from unnest(ids) with ordinality as item (id, position) join public.sessions using (id)),
  array[tests.at(4, '12:00'), tests.at(4)], 'and have swapped') from pair;
select is_empty('select * from tests.broken_claims()', 'with their claims');

-- Ids cannot be used to slip into somebody else's claims.
select is(tests.error_code('service_role', tests.insertion('rbt', 'ann', tests.at(2), tests.at(2, '11:00'), ', id',
  format(', %L', hold #>> '{body,holds,0,holdId}'))), '23505', 'a session cannot take the id of a live hold') from taken;
select is(tests.error_code('postgres', format($$
  insert into public.session_groups (organization_id, id, therapist_id, start_time, end_time) values (%L, %L, %L, %L, %L) $$,
  tests.id('clinic'), session_id, tests.id('rbt'), tests.at(1), tests.at(1, '11:00'))), '23505',
  'a group cannot take the id of a session, whose lane it would share') from taken;
select isnt(tests.error_code('rbt', format($$
  insert into public.session_groups (organization_id, id, therapist_id, start_time, end_time) values (%L, %L, %L, %L, %L) $$,
  tests.id('clinic'), hold #>> '{body,holds,0,holdId}', tests.id('rbt'), tests.at(2), tests.at(2, '11:00'))), null,
  'nor the id of a hold') from taken;
create temporary table moving on commit drop as
select tests.hold('rbt', tests.request('rbt', 'ann', tests.at(5), 60, jsonb_build_object('session_id', session_id))) as outcome from taken;
select is(tests.error_code('service_role', tests.insertion('rbt', 'ben', tests.at(5), tests.at(5, '11:00'), ', id',
  format(', %L', outcome #>> '{body,holdId}'))), '23505', 'the id of a move is no way onto its new place') from moving;
create temporary table lone_group on commit drop as select gen_random_uuid() as id;
select is(tests.error_code('service_role', format($$
  insert into public.session_groups (organization_id, id, therapist_id, start_time, end_time) values (%L, %L, %L, %L, %L) $$,
  tests.id('clinic'), id, tests.id('rbt2'), tests.at(6), tests.at(6, '11:00'))), null, 'a group is made') from lone_group;
select is(tests.error_code('service_role', tests.insertion('rbt2', 'dan', tests.at(6), tests.at(6, '11:00'), ', id', format(', %L', id))),
  '23505', 'a session that is not in it cannot take its id') from lone_group;

-- A group: one therapist, several clients at once; everything else still conflicts.
select is(tests.error_code('service_role', tests.insertion('rbt2', client, tests.at(6), tests.at(6, '11:00'), ', group_id, session_type', format(', %L, ''group''', id))),
  null, format('%s joins the group', client)) from lone_group, unnest(array['ann', 'ben']) as client;
select is(tests.error_code('service_role', tests.insertion('rbt2', 'cat', tests.at(6), tests.at(6, '11:00'))), '23P01',
  'who is not in the group cannot have its therapist');
select is(tests.error_code('service_role', tests.insertion('rbt2', 'ann', tests.at(6), tests.at(6, '11:00'), ', group_id, session_type', format(', %L, ''group''', id))),
  '23P01', 'nobody is in it twice') from lone_group;
select is(tests.error_code('service_role', tests.insertion('rbt2', 'cat', tests.at(6), tests.at(6, '11:30'), ', group_id, session_type', format(', %L, ''group''', id))),
  '23503', 'the group fixes its times for all') from lone_group;
select is(tests.error_code('service_role', tests.insertion('rbt', 'cat', tests.at(6), tests.at(6, '11:00'), ', group_id, session_type', format(', %L, ''group''', id))),
  '23503', 'and its therapist') from lone_group;
select is(tests.hold('rbt2', tests.request('rbt2', 'cat', tests.at(6))) ->> 'code', 'FORBIDDEN', 'cat is on nobody''s caseload');
select is(tests.hold('admin', tests.request('rbt2', 'cat', tests.at(6))) ->> 'code', 'THERAPIST_CONFLICT', 'a hold meets the group as a session');
select is(tests.error_code('service_role', format('update public.session_groups set start_time = %L, end_time = %L where id = %L',
  tests.at(7), tests.at(7, '11:00'), id)), null, 'the group moves') from lone_group;
select is((select array_agg(distinct start_time) from public.sessions as member where member.group_id = lone_group.id), array[tests.at(7)], 'whole') from lone_group;
select is_empty('select * from tests.broken_claims()', 'with its claims');

-- Shape and status.
select is(tests.error_code('postgres', tests.insertion('rbt', 'ann', wrong.starts, wrong.ends)), '23514', wrong.what)
from (values
  ('an end before its start is refused', tests.at(8), tests.at(8, '09:00')),
  ('an empty session is refused', tests.at(8), tests.at(8)),
  ('a session has at most 12 hours', tests.at(8), tests.at(8, '22:01')),
  ('a session ends some day', tests.at(8), 'infinity'::timestamptz)
) as wrong (what, starts, ends);
select is(tests.error_code(who, tests.insertion('rbt', 'ann', starts, starts + interval '1 hour')), '23514', format('%s books nothing in %s', who, extract(year from starts)))
from unnest(array['rbt', 'service_role', 'postgres']) as who, unnest(array['9999-12-31T10:00Z', '294276-12-31T10:00Z']::timestamptz[]) as starts;
select is(tests.error_code('postgres', tests.insertion('rbt', 'ann', tests.at(8), tests.at(8, '11:00'), ', status', format(', %L', status))),
  '23514', 'a session does not begin as ' || status) from unnest(array['in_progress', 'completed', 'cancelled', 'no_show']) as status;

-- What follows from rows, nobody writes.
select is(tests.error_code('postgres', statement), '23001', statement) from unnest(array[
  'delete from private.claims',
  'update private.claims set resource_id = gen_random_uuid()',
  'delete from public.authorization_units',
  'update public.authorization_units set units = 0',
  'truncate private.claims'
]) as statement;

-- What follows from one column alone.
insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone)
values (tests.id('clinic'), tests.id('alone'), tests.id('rbt2'), tests.id('ann'), tests.at(90), tests.at(90, '11:00'), 'UTC');
create function pg_temp.claimed() returns tstzrange language sql as $$
  select during::tstzrange from private.claims where owner_id = tests.id('alone') and resource_kind = 'therapist'
$$;
update public.sessions set buffer_after_minutes = 30 where id = tests.id('alone');
select is(pg_temp.claimed(), tstzrange(tests.at(90), tests.at(90, '11:30')), 'a longer buffer after it is claimed');
update public.sessions set buffer_before_minutes = 15 where id = tests.id('alone');
select is(pg_temp.claimed(), tstzrange(tests.at(90, '09:45'), tests.at(90, '11:30')), 'and one before it');
update public.sessions set time_zone = 'Asia/Tokyo' where id = tests.id('alone');
select is((select civil_start from public.sessions where id = tests.id('alone')), tests.at(90)::date + time '19:00', 'its civil start is that of its zone');

-- The date of service follows the zone of the clinic, not that of the session.
select tests.add_payers();
select tests.cover('ann', 'open');
select tests.authorize('ann', '97153', 40);
insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code)
values (tests.id('clinic'), tests.id('night'), tests.id('rbt2'), tests.id('ann'), tests.at(91, '02:00'), tests.at(91, '03:00'), 'Asia/Tokyo', '97153');
select is((select service_date from public.authorization_units where owner_id = tests.id('night')), tests.at(90)::date, 'at night in UTC it is the evening before in Los Angeles');
update public.sessions set time_zone = 'UTC' where id = tests.id('night');
select is((select service_date from public.authorization_units where owner_id = tests.id('night')), tests.at(90)::date, 'whatever zone the session says');

-- Whoever cancels directly is who cancelled, and on whose side is not guessed.
select is(tests.rows(person, format('update public.sessions set status = ''cancelled'' where id = %L', session.id)), 1::bigint, format('%s cancels %s', person, session.who))
from (values ('admin', 'night'), ('service_role', 'alone')) as cancelling (person, who), lateral (select tests.id(cancelling.who) as id, cancelling.who) as session;
select is((select array_agg(concat_ws(' ', cancelled_by, cancelled_by_role, attribution) order by cancelled_by nulls last) from public.session_cancellations
    where session_id in (tests.id('night'), tests.id('alone'))), array[tests.id('admin') || ' admin unknown', session_user || ' unknown'],
  'an admin who cancels directly is named, not the therapist; the backend by its database user');

-- An UPDATE without WHERE hands nothing over either.
select is(tests.error_code('rbt', format('update public.sessions set therapist_id = %L', tests.id('bcba'))), '42501', 'a therapist does not hand all their sessions over at once');

-- Nor is what follows from bookings in a table of its own right.
select is(tests.error_code(who, statement), '23001', format('%s does not %s', who, statement))
from unnest(array['service_role', 'postgres']) as who, unnest(array[
  'update public.authorizations set booked_units = booked_units + 1',
  format('insert into public.authorizations (organization_id, client_id, payer_id, approved_units, booked_units, starts_on, ends_on)
    select organization_id, client_id, payer_id, 8, 8, starts_on, ends_on from public.authorizations where organization_id = %L', tests.id('clinic'))
]) as statement;
select is(tests.error('service_role', 'update public.authorizations set booked_units = booked_units'), null, 'who writes a row back as it is, changes nothing');
update public.sessions set status = 'cancelled' where id = (select id from public.sessions where organization_id = tests.id('clinic') and status = 'scheduled' limit 1);
select is(tests.error_code('postgres', 'update public.session_cancellations set reason = ''another'''), '23001', 'why and by whom a session was cancelled stays as it was');

-- An upsert of a backend, as PostgREST makes it of Prefer: resolution=merge-duplicates, changes the session that is there,
-- however it was booked. Users name no id.
insert into public.clients (organization_id, id, reference) values (tests.id('clinic'), tests.id('uma'), 'uma');
insert into public.caseloads (organization_id, therapist_id, client_id) values (tests.id('clinic'), tests.id('rbt'), tests.id('uma'));
create temporary table there on commit drop as
select tests.book('rbt', 'rbt', 'uma', tests.at(300)) as booked, tests.id('written there') as written;
insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone)
select tests.id('clinic'), written, tests.id('rbt'), tests.id('uma'), tests.at(301), tests.at(301, '11:00'), 'UTC' from there;
create function pg_temp.put(person text, id uuid, day integer, otherwise text) returns text language sql as $$
  select tests.error_code(person, format('insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone) values (%L, %L, %L, %L, %L, %L, ''UTC'') %s',
    tests.id('clinic'), id, tests.id('rbt'), tests.id('uma'), tests.at(day), tests.at(day, '11:00'), otherwise)) $$;
create function pg_temp.upsert(person text, id uuid, day integer) returns text language sql as $$
  select set_config('request.headers', '{"prefer": "resolution=merge-duplicates"}', true);
  select pg_temp.put(person, id, day, 'on conflict (organization_id, id) do update set therapist_id = excluded.therapist_id, client_id = excluded.client_id,
    start_time = excluded.start_time, end_time = excluded.end_time, time_zone = excluded.time_zone') $$;
select is(pg_temp.upsert(person, id, day), null, format('%s moves a session by an upsert, day %s', person, day))
from there, lateral (values ('service_role', booked, 302), ('service_role', written, 303), ('postgres', booked, 304)) as put (person, id, day);
select is((select array_agg(start_time order by start_time) from public.sessions, there where id in (booked, written)), array[tests.at(303), tests.at(304)], 'there are still two');
select is((select array_agg(action order by recorded_at) from audit.events, there where booked = any (entity_ids) and entity = 'session'), array['hold.confirmed', 'session.moved', 'session.moved'], 'each is a move');
select is(pg_temp.upsert('admin', booked, 305), '42501', 'a user does not') from there;
select is(pg_temp.upsert('service_role', booked, 303), '23P01', 'onto another it does not go') from there;
select set_config('request.headers', '', true);
select is(pg_temp.put('service_role', id, 305, ''), '23505', 'a second row of one id there is not') from there, unnest(array[booked, written]) as id;
select is(pg_temp.upsert('service_role', (select batch_id from public.session_holds where id = booked), 305), '23505', 'nor one with the id of a hold''s batch') from there;
select is_empty('select * from tests.broken_claims()', 'the claims are sound');

-- Lanes are derived. What cannot be lanes is refused in words, without a constraint's name.
select is(tests.error('service_role', tests.insertion('bcba', 'ben', tests.at(90), tests.at(90, '11:00'), ', lanes', format(', %L', given.lanes))) ->> 'message',
  'lanes: are derived from the service, and never empty or without an end', 'no lanes ' || given.lanes)
from (values ('{}'), ('{[1,)}'), ('{(,5)}')) as given (lanes);

-- How far ahead a user books is told by when it ends.
create function pg_temp.far(minutes integer) returns text language sql as $$
  select tests.error('admin', tests.insertion('rbt2', 'ben', now() + interval '730 days' - make_interval(mins => minutes), now() + interval '730 days' + interval '60 minutes' - make_interval(mins => minutes))) ->> 'message'
$$;
select matches(pg_temp.far(30), 'at most 730 days ahead', 'a session that ends half an hour beyond 730 days');
select is(pg_temp.far(60), null, 'one that ends with them');

select * from finish();
rollback;
