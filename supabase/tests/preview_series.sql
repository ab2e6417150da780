-- Before holding a series one can see which of its dates are blocked, and by what. Looking changes nothing.
begin;
select plan(12);
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
