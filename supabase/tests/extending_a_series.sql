-- A series goes on by its rule, as it was changed since: to a day, by a number of sessions, or while an authorization lasts.
begin;
select plan(87);
select tests.open_clinic();
select tests.open_clinic('other ');

create function tests.day(index integer, clock text default '10:00') returns timestamptz language sql stable as $$
  select ((date_trunc('week', now())::date + 42 + index) + clock::time) at time zone 'America/Los_Angeles'
$$;
-- Mondays and Wednesdays: week 0 on days 0 and 2.
create function tests.book_rule(therapist text, client text, days integer[], recurrence jsonb, extra jsonb default '{}') returns uuid language plpgsql as $$
declare
  held jsonb := tests.hold('admin', tests.request(therapist, client, tests.day(0)) || jsonb_build_object(
    'time_zone', 'America/Los_Angeles', 'start_time_offset_minutes', null, 'end_time_offset_minutes', null, 'recurrence', recurrence,
    'occurrences', (select jsonb_agg(jsonb_build_object('local_start', to_char(tests.day(day) at time zone 'America/Los_Angeles', 'YYYY-MM-DD"T"HH24:MI:SS')) order by day) from unnest(days) as day)
  ) || extra);
  booked jsonb := tests.confirm('admin', tests.confirmation(held, therapist, client));
begin
  if booked -> 'ok' is distinct from 'true' then
    raise exception 'not booked: % %', held, booked;
  end if;
  return (booked #>> '{body,session,series_id}')::uuid;
end $$;
create function tests.extend(person text, series uuid, extra jsonb, key text default null) returns jsonb language sql as $$
  select tests.call(person, format('select public.extend_series(%L, %L)', jsonb_build_object('series_id', series) || extra, key))
$$;
create function tests.refused(series uuid, extra jsonb) returns text language sql as $$
  select tests.error('admin', format('select public.extend_series(%L)', jsonb_strip_nulls(jsonb_build_object('series_id', series)) || extra)) ->> 'message'
$$;
-- Where the sessions of a series are: their days and clocks.
create function tests.places(series uuid, since integer default 0) returns text[] language sql stable as $$
  select coalesce(array_agg(((start_time at time zone 'America/Los_Angeles')::date - (date_trunc('week', now())::date + 42))
    || to_char(start_time at time zone 'America/Los_Angeles', ' HH24:MI') order by start_time), '{}')
  from public.sessions where series_id = series and status = 'scheduled' and start_time >= tests.day(since, '00:00')
$$;

create temporary table series on commit drop as
select tests.book_rule('rbt', 'ann', '{0,2,7,9}', jsonb_build_object('rule', 'FREQ=WEEKLY;BYDAY=MO,WE', 'count', 4, 'exceptions', array[
  (tests.day(16) at time zone 'America/Los_Angeles')::date::text])) as id;
select is(tests.places(id), '{0 10:00,2 10:00,7 10:00,9 10:00}', 'as it was booked') from series;

create temporary table first on commit drop as select tests.extend('rbt', id, '{"count": 3}', 'key') as outcome from series;
select is(outcome ->> 'ok', 'true', 'a series is extended by a number of sessions') from first;
select is(tests.places(id, 10), '{14 10:00,21 10:00,23 10:00}', 'on the days of its rule, but for its exceptions') from series;
select is(jsonb_array_length(outcome #> '{body,sessions}'), 3, 'the answer has the sessions') from first;
select is((select array_agg(distinct item ->> 'series_id') from jsonb_array_elements(outcome #> '{body,sessions}') as item), array[id::text],
  'they are of the series') from first, series;
select is(tests.extend('rbt', id, '{"count": 3}', 'key') -> 'body', outcome -> 'body', 'asked again by its key, it answers again') from series, first;
select is(tests.extend('rbt', id, '{"count": 4}', 'key') ->> 'code', 'IDEMPOTENCY_KEY_REUSED', 'and extends no further') from series;
select is(cardinality(tests.places(id)), 7, 'there are seven') from series;

-- It goes on as it was changed.
create temporary table held on commit drop as
select tests.hold('rbt', jsonb_build_object('series', jsonb_build_object('series_id', id, 'scope', 'following', 'from', tests.day(14),
  'change', '{"local_start": "16:30", "duration_minutes": 45}'::jsonb))) as outcome from series;
do $$ begin
  perform tests.confirm('rbt', tests.confirmation(outcome, 'rbt', 'ann')) from held;
  -- By itself.
  perform tests.confirm('rbt', tests.confirmation(tests.hold('rbt', jsonb_build_object('series', jsonb_build_object('series_id', id,
    'scope', 'this', 'from', tests.day(23, '16:30'), 'change', '{"shift_minutes": 1440}'::jsonb))), 'rbt', 'ann')) from series;
end $$;
select is(tests.places(id, 10), '{14 16:30,21 16:30,24 16:30}', 'two changes: of the following ones, and of one alone') from series;
select is(tests.extend('rbt', id, jsonb_build_object('until', (tests.day(30) at time zone 'America/Los_Angeles')::date)) ->> 'ok', 'true', 'extended until a day') from series;
select is(tests.places(id, 25), '{28 16:30,30 16:30}', 'this included, as the following ones were changed, and not as the one alone') from series;
select is((select distinct end_time - start_time from public.sessions where series_id = series.id and start_time >= tests.day(28)), interval '45 minutes', 'as long') from series;
select is(tests.refused(id, jsonb_build_object('until', (tests.day(30) at time zone 'America/Los_Angeles')::date)), 'until: leaves nothing to add to the series', 'and there is nothing more until then') from series;
-- Whatever became of its last session, the series goes on after it.
do $$ begin perform tests.cancel('rbt', jsonb_build_object('series_id', id, 'from', tests.day(30))) from series; end $$;
select is(tests.extend('rbt', id, '{"count": 1}') ->> 'ok', 'true', 'after a cancelled end') from series;
select is(tests.places(id, 29), '{35 16:30}', 'it goes on behind it') from series;
select results_eq(
  $$ select change - 'through' from public.series_changes where series_id = (select id from series) and change ? 'through' order by changed_at $$,
  format($$ values ('{"count": 3}'::jsonb), ('{"until": "%s"}'), ('{"count": 1}') $$, (tests.day(30) at time zone 'America/Los_Angeles')::date),
  'the extensions can be read');
select is((select recurrence ->> 'count' from public.session_series where session_series.id = series.id), '4', 'and what was asked first is as it was') from series;
select is_empty('select * from tests.broken_claims()', 'the claims are sound');

-- Blocked.
do $$ begin perform tests.book('rbt', 'rbt', 'ben', tests.day(42, '16:00')); end $$;
create temporary table before on commit drop as select tests.footprint() as seen;
create temporary table blocked on commit drop as select tests.extend('rbt', id, '{"count": 3}') as outcome from series;
select is(outcome ->> 'code', 'THERAPIST_CONFLICT', 'what blocks one date refuses all') from blocked;
select is((select array_agg((item ->> 'occurrenceIndex')::integer) from jsonb_array_elements(outcome -> 'conflicts') as item), '{1}', 'which one is said') from blocked;
select is(tests.footprint(), seen, 'and nothing is left') from before;
create temporary table skipping on commit drop as select tests.extend('rbt', id, '{"count": 3, "on_conflict": "skip"}') as outcome from series;
select is(tests.places(id, 36), '{37 16:30,44 16:30}', 'or the free ones are booked') from series;
select is(
  (select array_agg((item ->> 'startTime')::timestamptz || ' ' || (item ->> 'blockedBy')) from jsonb_array_elements(outcome #> '{body,skipped}') as item),
  array[tests.day(42, '16:30') || ' therapist'], 'and the others are named') from skipping;
select is(tests.extend('rbt', id, '{"count": 1}') ->> 'ok', 'true', 'then it goes on') from series;
select is(tests.places(id, 45), '{49 16:30}', 'behind all of them') from series;
do $$ begin perform tests.book('rbt', 'rbt', 'ben', tests.day(51, '16:30')); end $$;
select is(tests.extend('rbt', id, '{"count": 1, "on_conflict": "skip"}') ->> 'code', 'THERAPIST_CONFLICT', 'when nothing is free, that is refused') from series;
do $$ begin
  perform tests.extend('rbt', id, '{"count": 2, "on_conflict": "skip"}') from series;
  perform tests.book('rbt', 'rbt', 'ben', tests.day(63, '16:30'));
  perform tests.extend('rbt', id, '{"count": 2, "on_conflict": "skip"}'), tests.extend('rbt', id, '{"count": 1}') from series;
end $$;
select is(tests.places(id, 50), '{56 16:30,58 16:30,65 16:30}', 'what was left out at the end is not offered again') from series;

-- Who may, and what cannot be asked.
select is(tests.extend('rbt2', id, '{"count": 1}') ->> 'code', 'FORBIDDEN', 'somebody else''s series') from series;
select is(tests.extend('parent', id, '{"count": 1}') ->> 'code', 'FORBIDDEN', 'a parent') from series;
select is(tests.extend('other admin', id, '{"count": 1}'), tests.extend('other admin', gen_random_uuid(), '{"count": 1}'), 'another clinic''s tells nothing') from series;
select is(tests.refused(id, '{}'), 'until: is required: give until, count, or authorization_end: true, and one of them', 'no end') from series;
select is(tests.refused(id, '{"count": 1, "authorization_end": true}'), 'until: is required: give until, count, or authorization_end: true, and one of them', 'two ends') from series;
select is(tests.refused(id, '{"count": 367}'), 'count: must be a whole number from 1 to 366', 'more than 366') from series;
select matches(tests.refused(id, '{"count": 300}'), '^count: must be at most \d+: more would be more than 730 days ahead$', 'beyond what can be booked') from series;
select is(tests.refused(id, '{"until": "2120-01-01"}'), 'until: is more than 730 days ahead', 'a day beyond it') from series;
select is(tests.refused(id, '{"authorization_end": true}'), 'authorization_end: must not be asked for: no authorization counts these sessions', 'without an authorization') from series;
create temporary table listed on commit drop as
with booked as materialized (select tests.book('rbt', 'rbt', 'ben', array[tests.at(200), tests.at(201)]) as ids)
select series_id from booked join public.sessions on id = ids[1];
select is(tests.refused(series_id, '{"count": 1}'), 'series_id: is a series without a rule that could go on: book the dates', 'a list of dates') from listed;

-- As long as the authorization lasts.
select tests.add_payers(), tests.cover('ben', 'open');
select tests.authorize('ben', '97153', 24, (tests.day(17)::date - tests.at(0)::date));
create temporary table authorized on commit drop as
select tests.book_rule('bcba', 'ben', '{0,7}', '{"rule": "FREQ=WEEKLY", "count": 2}', '{"cpt_code": "97153"}') as id;
select is(tests.extend('bcba', id, '{"authorization_end": true}') ->> 'ok', 'true', 'to the end of the authorization') from authorized;
select is(tests.places(id), '{0 10:00,7 10:00,14 10:00}', 'there is one more') from authorized;
create temporary table short on commit drop as select tests.extend('bcba', id, '{"authorization_end": true}') as outcome from authorized;
select is(outcome ->> 'code' || ' ' || (outcome #>> '{shortages,0,limit}'), 'AUTHORIZATION_EXCEEDED dates', 'after that none covers it') from short;
select is(tests.extend('bcba', id, '{"count": 1}') ->> 'code', 'AUTHORIZATION_EXCEEDED', 'however it is asked for') from authorized;

-- A group goes on whole, each client in a series of their own.
create temporary table grouped on commit drop as
select tests.book_rule('rbt2', 'ann', '{0,7}', '{"rule": "FREQ=WEEKLY", "count": 2}', jsonb_build_object(
  'cpt_code', '97154', 'client_ids', jsonb_build_array(tests.id('ann'), tests.id('cat')), 'start_time', tests.day(0, '20:00'),
  'end_time', tests.day(0, '21:00'), 'occurrences', jsonb_build_array(
    jsonb_build_object('local_start', to_char(tests.day(0, '20:00') at time zone 'America/Los_Angeles', 'YYYY-MM-DD"T"HH24:MI')),
    jsonb_build_object('local_start', to_char(tests.day(7, '20:00') at time zone 'America/Los_Angeles', 'YYYY-MM-DD"T"HH24:MI'))))) as id;
select is(tests.extend('admin', id, '{"count": 2}') ->> 'ok', 'true', 'a group is extended') from grouped;
select is(
  (select array_agg(number order by number) from (
    select count(*) || ' of ' || count(distinct group_id) || ' groups' as number from public.sessions
    where therapist_id = tests.id('rbt2') and series_id is not null group by series_id) as each),
  array['4 of 4 groups', '4 of 4 groups'], 'each client has four in their series');
select is_empty('select * from tests.broken_claims()', 'the claims are sound to the end');

-- A series that an operator wrote to the end of what can be booked, or beyond.
insert into public.session_series (organization_id, id, therapist_id, client_id, recurrence_rule, time_zone, civil_start)
values (tests.id('clinic'), tests.id('far series'), tests.id('rbt'), tests.id('ann'), 'FREQ=WEEKLY', 'UTC', tests.at(700) at time zone 'UTC');
insert into public.sessions (organization_id, series_id, therapist_id, client_id, start_time, end_time, time_zone)
values (tests.id('clinic'), tests.id('far series'), tests.id('rbt'), tests.id('ann'), tests.at(700), tests.at(700, '11:00'), 'UTC');
select is(tests.refused(tests.id('far series'), '{"count": 1}'), 'count: must be at most 0: more would be more than 730 days ahead', 'a series beyond what can be booked does not go on');

select is(tests.refused(tests.id('far series'), jsonb_build_object('until', (now() at time zone 'UTC')::date + 732)), 'until: is more than 730 days ahead', 'nor to a day just beyond it');

-- Room and travel go on, too.
create temporary table roomed on commit drop as
select tests.book_rule('rbt2', 'dan', '{100,107}', '{"rule": "FREQ=WEEKLY", "count": 2}', jsonb_build_object('room_id', tests.id('blue'), 'buffer_before_minutes', 15, 'buffer_after_minutes', 20,
  'start_time', tests.day(100), 'end_time', tests.day(100, '11:00'))) as id;
select is(tests.extend('admin', id, '{"count": 1}') ->> 'ok', 'true', 'a series in a room, with travel, goes on') from roomed;
select is((select array_agg(distinct (room_id, buffer_before_minutes, buffer_after_minutes)::text) from public.sessions join roomed on series_id = roomed.id),
  array[format('(%s,15,20)', tests.id('blue'))], 'in its room, with the same travel');

-- What happened to a group by one client's series happened to the series of the others.
create temporary table mates on commit drop as
select tests.book_rule('rbt', 'ann', '{300,307}', '{"rule": "FREQ=WEEKLY", "count": 2}', jsonb_build_object(
  'cpt_code', '97154', 'client_ids', jsonb_build_array(tests.id('ann'), tests.id('dan')), 'start_time', tests.day(300), 'end_time', tests.day(300, '11:00'))) as id;
create temporary table mate on commit drop as select distinct series_id as id from public.sessions where client_id = tests.id('dan') and group_id is not null;
do $$ begin
  perform tests.confirm('admin', tests.confirmation(tests.hold('admin', jsonb_build_object('series', jsonb_build_object('series_id', id, 'scope', 'following',
    'from', tests.day(307), 'change', '{"shift_minutes": 1440}'::jsonb))), 'rbt', 'ann')) from mates;
  perform tests.extend('admin', id, '{"count": 1}') from mate;
end $$;
select is(tests.places(id, 300), '{300 10:00,308 10:00,315 10:00}', 'extended by a mate''s series, as it was changed by the first') from mates;
select is(tests.extend('admin', id, '{"count": 1}') ->> 'ok', 'true', 'then by the first') from mates;
select is(tests.places(id, 300), '{300 10:00,308 10:00,315 10:00,322 10:00}', 'it goes on behind what the mate''s has added') from mate;

-- A change by the clocks of another zone stays so.
create temporary table eastern on commit drop as select tests.book_rule('bcba', 'cat', '{400,407}', '{"rule": "FREQ=WEEKLY", "count": 2}', jsonb_build_object(
  'start_time', tests.day(400), 'end_time', tests.day(400, '11:00'))) as id;
do $$ begin
  perform tests.confirm('admin', tests.confirmation(tests.hold('admin', jsonb_build_object('time_zone', 'America/New_York', 'series', jsonb_build_object(
    'series_id', id, 'scope', 'following', 'from', tests.day(407), 'change', '{"local_start": "15:00"}'::jsonb))), 'bcba', 'cat')) from eastern;
  perform tests.extend('admin', id, '{"count": 1}') from eastern;
end $$;
select is(tests.places(id, 400), '{400 10:00,407 12:00,414 12:00}', '15:00 in New York is noon in Los Angeles, also of what is added') from eastern;

-- Skipping leaves out what an override does not set aside.
select tests.book('admin', 'rbt', 'cat', tests.day(421, '12:30'));
insert into public.availability_exceptions (organization_id, therapist_id, kind, starts_at, ends_at)
values (tests.id('clinic'), tests.id('bcba'), 'time_off', tests.day(428, '00:00'), tests.day(429, '00:00'));
create temporary table overridden on commit drop as
select tests.extend('admin', id, '{"count": 3, "on_conflict": "skip", "override": {"reason": "Asked for", "rules": ["availability"]}}') as outcome from eastern;
select is(tests.places(id, 415), '{428 12:00,435 12:00}', 'a day off that an admin sets aside is booked') from eastern;
select is(jsonb_path_query_array(outcome, '$.body.skipped[*].blockedBy'), '["client"]', 'and not among what is left out') from overridden;
select is_empty('select * from tests.broken_claims()', 'the claims are sound to the very end');

-- What happened to one session alone does not go on: a substitute, another room, another service, place or length.
create function tests.change(series uuid, scope text, since timestamptz, change jsonb, extra jsonb default '{}') returns void language plpgsql as $$
declare
  held jsonb := tests.hold('admin', jsonb_build_object('series', jsonb_strip_nulls(jsonb_build_object('series_id', series, 'scope', scope, 'from', since)) || jsonb_build_object('change', change)) || extra);
  booked jsonb := tests.confirm('admin', tests.confirmation(held, 'rbt', 'dan') || jsonb_build_object('occurrences', (
    select jsonb_agg(jsonb_build_object('hold_key', hold -> 'holdKey', 'time_zone', 'UTC', 'session', jsonb_build_object('therapist_id', held #> '{body,series,therapistId}', 'client_id', held #> '{body,series,clientId}',
      'start_time', hold -> 'startTime', 'end_time', hold -> 'endTime'))) from jsonb_array_elements(held #> '{body,holds}') as hold),
    'session', jsonb_build_object('therapist_id', held #> '{body,series,therapistId}', 'client_id', held #> '{body,series,clientId}', 'start_time', held #> '{body,holds,0,startTime}', 'end_time', held #> '{body,holds,0,endTime}')));
begin
  if booked -> 'ok' is distinct from 'true' then
    raise exception 'not changed: % %', held, booked;
  end if;
end $$;
-- Who, where and for what the session of a day is.
create function tests.session_on(series uuid, day integer) returns text language sql stable as $$
  select concat_ws(' ', (select display_name from public.therapists where therapists.id = therapist_id), (select name from public.rooms where rooms.id = room_id),
    buffer_after_minutes, cpt_code, location_type, extract(epoch from end_time - start_time)::integer / 60)
  from public.sessions where series_id = series and status <> 'cancelled' and start_time between tests.day(day, '00:00') and tests.day(day, '23:59')
$$;
create temporary table usual on commit drop as
select tests.book_rule('bcba', 'dan', '{500,507,514}', '{"rule": "FREQ=WEEKLY", "count": 3}', jsonb_build_object('cpt_code', '97155', 'room_id', tests.id('blue'), 'buffer_after_minutes', 20,
  'start_time', tests.day(500), 'end_time', tests.day(500, '11:00'))) as id;
update public.sessions set location_type = 'clinic' from usual where series_id = usual.id;
-- The substitute renders the same service, so the last one becomes a technician's first.
select tests.call('admin', format('select public.recode_sessions(%L)', jsonb_build_object('cpt_code', '97153', 'session_ids', (
  select jsonb_agg(session.id) from public.sessions as session join usual on series_id = usual.id where start_time = tests.day(514)))));
select tests.change(id, 'this', tests.day(514), jsonb_build_object('therapist_id', tests.id('rbt2'), 'room_id', tests.id('green'), 'duration_minutes', 90), '{"buffer_after_minutes": 5}') from usual;
select tests.change(id, 'this', tests.day(507), jsonb_build_object('room_id', tests.id('green')), '{"buffer_after_minutes": 5}') from usual;
update public.sessions set location_type = 'home' from usual where series_id = usual.id and start_time = tests.day(514);
select is(tests.session_on(id, 514), 'rbt2 green 5 97153 home 90', 'a substitute gives the last session, elsewhere, longer, and another service') from usual;
select is(tests.extend('rbt2', id, '{"count": 1}') ->> 'code', 'FORBIDDEN', 'they do not book the series'' own therapist') from usual;
select is(tests.extend('admin', id, '{"count": 1}') ->> 'ok', 'true', 'an admin goes on with the series') from usual;
select is(tests.session_on(id, 521), 'bcba blue 20 97155 clinic 60', 'as it was booked') from usual;

-- What was changed for good does.
select tests.change(id, 'following', tests.day(521), jsonb_build_object('room_id', null), '{"buffer_after_minutes": 10}') from usual;
select is(tests.extend('admin', id, '{"count": 1}') ->> 'ok', 'true', 'once more') from usual;
select is(tests.session_on(id, 528), 'bcba 10 97155 clinic 60', 'after a change of this and the following: in no room, with less travel') from usual;
select tests.call('admin', format('select public.recode_sessions(%L)', jsonb_build_object('cpt_code', '97153', 'session_ids', (
  select jsonb_agg(session.id) from public.sessions as session join usual on series_id = usual.id where status = 'scheduled'))));
select is(tests.extend('admin', id, jsonb_build_object('count', 1, 'therapist_id', tests.id('rbt'))) ->> 'ok', 'true', 'another therapist may be named') from usual;
select is(tests.extend('admin', id, '{"count": 1}') ->> 'ok', 'true', 'and then') from usual;
select is(tests.session_on(id, 542), 'rbt 10 97153 clinic 60', 'they go on with it, as the service that all its sessions have by now') from usual;
insert into public.service_codes (organization_id, code, description, levels, valid_from) values (tests.id('clinic'), 'H2019', 'Skills', '{technician,qhp}', '2020-01-01');
create temporary table ended on commit drop as select tests.book_rule('bcba', 'dan', '{600,607,614}', '{"rule": "FREQ=WEEKLY", "count": 3}', jsonb_build_object('cpt_code', 'H2019',
  'start_time', tests.day(600), 'end_time', tests.day(600, '11:00'))) as id;
update public.service_codes set valid_to = tests.day(610)::date where code = 'H2019';
select tests.call('admin', format('select public.recode_sessions(%L)', jsonb_build_object('cpt_code', '97155', 'session_ids', (
  select jsonb_agg(session.id) from public.sessions as session join ended on series_id = ended.id where start_time = tests.day(614)))));
select is(tests.extend('admin', id, '{"count": 1}') ->> 'ok', 'true', 'a series whose code has ended goes on') from ended;
select is(tests.session_on(id, 621), 'bcba 0 97155 60', 'as the service that is valid then') from ended;

-- Whoever was handed all sessions to come goes on with the series, in the room they are all in by now; without a place, as most.
create function tests.hand_over(series uuid, giver text, receiver text, since integer, until integer) returns void language plpgsql as $$
declare
  held jsonb := tests.call('admin', format('select public.hold_reassignment(%L)', jsonb_build_object('therapist_id', tests.id(giver), 'to_therapist_id', tests.id(receiver),
    'from', private.iso(tests.day(since, '00:00')), 'to', private.iso(tests.day(until, '23:59')))));
  booked jsonb := tests.confirm('admin', jsonb_build_object('hold_key', held #> '{body,holdKey}') || (
    select (jsonb_agg(item order by position) -> 0) || jsonb_build_object('hold_key', held #> '{body,holdKey}', 'occurrences', jsonb_agg(item order by position))
    from jsonb_array_elements(held #> '{body,holds}') with ordinality as element (hold, position)
    cross join lateral (select jsonb_build_object('hold_key', hold -> 'holdKey', 'time_zone', hold -> 'timeZone', 'session', jsonb_build_object('id', hold -> 'sessionId',
      'therapist_id', tests.id(receiver), 'client_id', hold -> 'clientId', 'start_time', hold -> 'startTime', 'end_time', hold -> 'endTime')) as item) as listed));
begin
  if booked -> 'ok' is distinct from 'true' then
    raise exception 'not handed over: % %', held, booked;
  end if;
end $$;
insert into public.caseloads (organization_id, therapist_id, client_id) values (tests.id('clinic'), tests.id('rbt2'), tests.id('dan')) on conflict do nothing;
create temporary table handed on commit drop as select tests.book_rule('rbt', 'dan', '{630,637,644}', '{"rule": "FREQ=WEEKLY", "count": 3}', jsonb_build_object('cpt_code', '97153', 'room_id', tests.id('blue'),
  'start_time', tests.day(630), 'end_time', tests.day(630, '11:00'))) as id;
select tests.hand_over(id, 'rbt', 'rbt2', 637, 644) from handed;
update public.sessions set location_type = 'telehealth' from handed where series_id = handed.id and start_time = tests.day(637);
select is(tests.extend('rbt2', id, '{"count": 1}') ->> 'code', 'FORBIDDEN', 'who was handed most sessions of a series does not go on with it') from handed;
select is(tests.extend('admin', id, '{"count": 1}') ->> 'ok', 'true', 'an admin does') from handed;
select is(tests.session_on(id, 651), 'rbt blue 0 97153 60', 'with whom it was booked, and with no place, as most sessions have none') from handed;
select tests.hand_over(id, 'rbt', 'rbt2', 630, 651) from handed;
select is(tests.extend('rbt', id, '{"count": 1}') ->> 'code', 'FORBIDDEN', 'once all to come are handed over, the giver does not go on') from handed;
select is(tests.extend('rbt2', id, '{"count": 1}') ->> 'ok', 'true', 'the receiver does') from handed;
select is(tests.session_on(id, 658), 'rbt2 blue 0 97153 60', 'with themselves') from handed;
update public.sessions set room_id = tests.id('green') from handed where series_id = handed.id and start_time < tests.day(658);
select is(tests.extend('rbt2', id, '{"count": 1}') ->> 'ok', 'true', 'some were moved to another room by themselves') from handed;
select is(tests.session_on(id, 665), 'rbt2 blue 0 97153 60', 'which is not the series'' room') from handed;
update public.sessions set room_id = tests.id('green') from handed where series_id = handed.id and status = 'scheduled';
select is(tests.extend('rbt2', id, '{"count": 1}') ->> 'ok', 'true', 'then all were') from handed;
select is(tests.session_on(id, 672), 'rbt2 green 0 97153 60', 'so it is') from handed;
update public.sessions set room_id = null from handed where series_id = handed.id and status = 'scheduled';
select is(tests.extend('rbt2', id, '{"count": 1}') ->> 'ok', 'true', 'and no room is as good as any') from handed;
select is(tests.session_on(id, 679), 'rbt2 0 97153 60', 'when all to come have none') from handed;

-- A series that was written directly has no room that was asked for: most of its sessions have none.
insert into public.session_series (organization_id, id, therapist_id, client_id, recurrence_rule, time_zone, civil_start)
values (tests.id('clinic'), tests.id('written'), tests.id('rbt2'), tests.id('cat'), 'FREQ=WEEKLY', 'America/Los_Angeles', tests.day(630, '17:00') at time zone 'America/Los_Angeles');
insert into public.sessions (organization_id, series_id, therapist_id, client_id, start_time, end_time, time_zone, room_id)
select tests.id('clinic'), tests.id('written'), tests.id('rbt2'), tests.id('cat'), tests.day(day, '17:00'), tests.day(day, '18:00'), 'America/Los_Angeles', case when day = 644 then tests.id('blue') end
from unnest('{630,637,644}'::integer[]) as day;
select tests.extend('admin', tests.id('written'), '{"count": 1}');
select is(tests.session_on(tests.id('written'), 651), 'rbt2 0 60', 'and it goes on in none');

-- Who misses a session of a group comes to the next.
do $$ begin perform tests.cancel('admin', jsonb_build_object('session_ids', jsonb_build_array((
  select id from public.sessions where series_id = (select id from mate) and start_time = tests.day(322))))); end $$;
select is(tests.extend('admin', id, '{"count": 1}') ->> 'ok', 'true', 'a group goes on after one client has missed its last session') from mates;
select is(tests.places(id, 300), '{300 10:00,308 10:00,315 10:00,329 10:00}', 'with that client') from mate;
-- Of two changes of the length the last counts.
create temporary table longer on commit drop as select tests.book_rule('bcba', 'cat', '{200,207}', '{"rule": "FREQ=WEEKLY", "count": 2}', jsonb_build_object(
  'start_time', tests.day(200), 'end_time', tests.day(200, '11:00'))) as id;
select tests.change(id, 'following', tests.day(200), '{"duration_minutes": 45}'), tests.change(id, 'following', tests.day(207), '{"duration_minutes": 75}') from longer;
select tests.extend('admin', id, '{"count": 1}') from longer;
select is((select array_agg(extract(epoch from end_time - start_time)::integer / 60 order by start_time) from public.sessions join longer on series_id = longer.id), '{45,75,75}', 'it goes on as long as it was changed last');

-- A session that draws on two authorizations: to the end of the one that ends last.
select tests.cover('cat', 'open'), tests.authorize('cat', '{97153}', 10, tests.day(230)::date, tests.day(260)::date), tests.authorize('cat', '{97153}', 40, tests.day(230)::date, tests.day(275)::date);
create temporary table split on commit drop as select tests.book_rule('bcba', 'cat', '{240,247}', '{"rule": "FREQ=WEEKLY", "count": 2}', jsonb_build_object('cpt_code', '97153',
  'start_time', tests.day(240), 'end_time', tests.day(240, '11:00'))) as id;
select is(tests.extend('admin', id, '{"authorization_end": true}') ->> 'ok', 'true', 'two units are left of the first authorization, two are of the next') from split;
select is(tests.places(id, 250), '{254 10:00,261 10:00,268 10:00,275 10:00}', 'it goes on to the last day of the next') from split;

-- A series that nobody has gone on with for weeks: not on days that are over. In a zone where it is about noon, so that no midnight is near.
create temporary table noon on commit drop as
select name as zone, (now() at time zone name)::date + time '12:00' as civil from public.time_zones
where (now() at time zone name)::time between '11:00' and '13:00' and name like 'Etc/GMT%' limit 1;
insert into public.session_series (organization_id, id, therapist_id, client_id, recurrence_rule, time_zone, civil_start)
select tests.id('clinic'), tests.id('resting'), tests.id('rbt2'), tests.id('ben'), 'FREQ=WEEKLY', zone, civil - interval '34 days' from noon;
insert into public.sessions (organization_id, series_id, therapist_id, client_id, start_time, end_time, time_zone)
select tests.id('clinic'), tests.id('resting'), tests.id('rbt2'), tests.id('ben'), starts, starts + interval '1 hour', zone
from noon cross join lateral (select (civil - weeks * interval '7 days' + interval '1 day') at time zone zone as starts from unnest('{4,5}'::integer[]) as weeks) as former;
select is(tests.refused(tests.id('resting'), jsonb_build_object('until', civil::date + 731)), 'until: is more than 730 days ahead', 'not beyond 730 days') from noon;
select is(tests.extend('admin', tests.id('resting'), '{"count": 1}') ->> 'ok', 'true', 'a series that has rested is extended');
select is((select max(start_time) from public.sessions where series_id = tests.id('resting')), (civil + interval '1 day') at time zone zone, 'from its next day on') from noon;
select is_empty('select * from tests.broken_claims()', 'the claims are sound at last');

select * from finish();
rollback;
