-- Before holding a series one can see which of its dates are blocked, and by what. Looking changes nothing.
begin;
select plan(23);
select tests.open_clinic();

update public.therapists set time_zone = 'UTC', availability_hours = (
  select jsonb_object_agg(day, '[{"start": "08:00", "end": "16:00"}]'::jsonb)
  from unnest(array['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday']) as day)
where organization_id = tests.id('clinic') and id = tests.id('rbt');
insert into public.availability_exceptions (organization_id, therapist_id, kind, starts_at, ends_at)
values (tests.id('clinic'), tests.id('rbt'), 'time_off', tests.at(5, '00:00'), tests.at(6, '00:00'));
do $$ begin
  perform tests.book('rbt', 'rbt', 'ben', tests.at(1, '10:30'));
  perform tests.hold('rbt', tests.request('rbt', 'ben', tests.at(2)));
  perform tests.book('bcba', 'bcba', 'ann', tests.at(2, '10:30'));
  perform tests.hold('bcba', tests.request('bcba', 'ann', tests.at(3), 60, '{"hold_seconds": 900}'));
  perform tests.hold('rbt2', tests.request('rbt2', 'ben', tests.at(4), 60, jsonb_build_object('room_id', tests.id('blue'))));
end $$;

create temporary table before on commit drop as select tests.footprint() as footprint, tests.events() as events;
create temporary table asked on commit drop as
select tests.series('rbt', 'ann', array(select tests.at(day) from generate_series(0, 6) as day), 60, jsonb_build_object('room_id', tests.id('blue'))) as request;
create temporary table shown on commit drop as
select tests.call('rbt', format('select public.preview_series(%L)', request)) as preview from asked;

select is(
  (select array_agg(concat_ws(' ', item -> 'index', coalesce(item ->> 'blockedBy', 'free'), item ->> 'by') order by position)
   from jsonb_array_elements(preview -> 'occurrences') with ordinality as element (item, position)),
  array['0 free', '1 therapist session', '2 client session', '3 client hold', '4 room hold', '5 availability', '6 free'],
  'each date with what blocks it most: a session before a hold, the therapist before the client before the room') from shown;
select is((preview #>> '{occurrences,0,startTime}')::timestamptz, tests.at(0), 'and its times') from shown;
select is(tests.footprint(), footprint, 'looking leaves no rows') from before;
select is(tests.events(), events, 'and is no event') from before;
select is(
  tests.hold('rbt', jsonb_set(request, '{occurrences}', jsonb_build_array(request #> '{occurrences,0}', request #> '{occurrences,6}'))) ->> 'ok', 'true',
  'what is shown as free can be held') from asked;
select is(tests.hold('rbt', jsonb_set(request, '{occurrences}', jsonb_build_array(request #> ('{occurrences,' || index || '}')::text[]))) ->> 'ok', 'false',
  format('what is shown as blocked cannot (%s)', index)) from asked, generate_series(1, 3) as index;

-- Everything in the way is told, and the days the clinic is closed.
insert into public.organization_closures (organization_id, name, starts_at, ends_at) values (tests.id('clinic'), 'Closed', tests.at(1, '10:15'), tests.at(1, '10:45'));
select is(tests.call('rbt', format('select public.preview_series(%L)', request)) #> '{occurrences,1,reasons}', jsonb_build_array(
    jsonb_build_object('what', 'closure', 'by', null, 'startTime', private.iso(tests.at(1, '10:15')), 'endTime', private.iso(tests.at(1, '10:45')), 'expiresAt', null),
    jsonb_build_object('what', 'therapist', 'by', 'session', 'startTime', private.iso(tests.at(1, '10:30')), 'endTime', private.iso(tests.at(1, '11:00')), 'expiresAt', null)),
  'with all reasons, the worst first, and the part of the date each is about') from asked;

-- The service: its lanes, and its units.
update public.organizations set time_zone = 'UTC' where id = tests.id('clinic');
select tests.add_payers();
select tests.cover('ben', 'open');
select tests.authorize('ben', '97155', 8, 14);
do $$ begin
  perform tests.confirm('rbt', tests.confirmation(held, 'rbt', 'ben') || '{"cpt": {"code": "97153"}}')
  from tests.hold('rbt', tests.request('rbt', 'ben', tests.at(10), 60, '{"cpt_code": "97153"}')) as held;
end $$;
create temporary table weekly on commit drop as
select tests.series('bcba', 'ben', array(select tests.at(day) from unnest(array[10, 11, 12, 13, 14]) as day), 60, '{"cpt_code": "97155"}') as request;
create function tests.told(request jsonb) returns text[] language sql as $$
  select array_agg(coalesce(item ->> 'blockedBy', 'free') order by position)
  from jsonb_array_elements(tests.call('bcba', format('select public.preview_series(%L)', request)) -> 'occurrences') with ordinality as element (item, position) $$;
select is(tests.told(request), '{free,free,authorization,authorization,authorization}', 'what may run beside another service is free, and dates for which no units are left are not') from weekly;
select is(tests.hold('bcba', jsonb_set(request, '{occurrences}', (request -> 'occurrences') - 4 - 3 - 2)) ->> 'ok', 'true', 'those that are free can be held together') from weekly;
select is(tests.told(request), '{therapist,therapist,authorization,authorization,authorization}', 'and then none is left') from weekly;
select is((tests.told(request || '{"cpt_code": "97153"}'))[1], 'client', 'the same service may not run beside it, and a session is told before a hold') from weekly;

-- Who may not book one of a group learns nothing of it.
select is(tests.error_code('rbt', format('select public.preview_series(%L)', tests.request('rbt', 'ann', tests.at(30), 60,
  jsonb_build_object('client_ids', jsonb_build_array(tests.id('ann'), tests.id('cat')))))), 'PT403', 'nobody sees whether a client is free whom they may not book');

-- Buffers count, and of several holds the one that lasts longest is told.
do $$ begin
  perform tests.book('rbt2', 'rbt2', 'ben', tests.at(22, '09:00'));
  perform tests.hold('rbt2', tests.request('rbt2', 'ben', tests.at(23, '09:30'), 60, '{"hold_seconds": 60}'));
  perform tests.hold('rbt2', tests.request('rbt2', 'ann', tests.at(23, '10:30'), 60, '{"hold_seconds": 900}'));
end $$;
create function tests.shown(request jsonb) returns jsonb language sql as $$
  select tests.call('rbt2', format('select public.preview_series(%L)', request)) #> '{occurrences,0,reasons}' $$;
select is(tests.shown(tests.request('rbt2', 'ann', tests.at(22, '10:00'), 60, jsonb_build_object('buffer_before_minutes', buffer))) #>> '{0,what}', blocked,
  format('%s minutes before it', buffer)) from (values (0, null), (15, 'therapist')) as try (buffer, blocked);
select is(tests.shown(tests.request('rbt2', 'ann', tests.at(22, '08:00'), 60, jsonb_build_object('buffer_after_minutes', buffer))) #>> '{0,what}', blocked,
  format('%s minutes after it', buffer)) from (values (0, null), (15, 'therapist')) as try (buffer, blocked);
select is(tests.shown(tests.request('rbt2', 'ann', tests.at(23, '10:00'))) #>> '{0,startTime}', private.iso(tests.at(23, '10:30')), 'of two holds the one that ends last is told');

-- A move does not block itself.
create temporary table mine on commit drop as select tests.book('rbt2', 'rbt2', 'ann', tests.at(20)) as id;
select is(tests.call('rbt2', format('select public.preview_series(%L)', tests.request('rbt2', 'ann', tests.at(20, '10:15'), 60, jsonb_build_object('session_id', id))))
  #>> '{occurrences,0,blockedBy}', null, 'a session does not block its own move') from mine;

select is(tests.error_code(person, format('select public.preview_series(%L)', request)), 'PT403', format('%s may not look', person))
from asked, unnest(array['rbt2', 'parent']) as person;
select is((tests.error('rbt', format('select public.preview_series(%L)', request || '{"time_zone": "foo3bar"}')) ->> 'details')::jsonb #>> '{0,path}', 'time_zone',
  'a malformed question is told so') from asked;

select * from finish();
rollback;
