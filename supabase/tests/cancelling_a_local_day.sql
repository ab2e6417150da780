-- Snow: cancel everything on a day, as the day is where the clinic is, also when it has 23 or 25 hours.
begin;
select plan(31);
select tests.open_clinic();
select tests.open_clinic('other ');

-- The next days on which clocks change in Los Angeles, found by looking rather than by rule.
create temporary table change on commit drop as
select
  min(day) filter (where tests.offset_of((day + 1) at time zone zone, zone) > tests.offset_of(day at time zone zone, zone)) as spring,
  min(day) filter (where tests.offset_of((day + 1) at time zone zone, zone) < tests.offset_of(day at time zone zone, zone)) as autumn
from (select 'America/Los_Angeles' as zone) as here, generate_series(current_date + 10, current_date + 390, interval '1 day') as days (moment),
lateral (select moment::timestamp::date as day) as the;
create function tests.local(day date, clock text) returns timestamptz language sql stable as $$
  select (day + clock::time) at time zone 'America/Los_Angeles' $$;
select is((select tests.local(spring + 1, '00:00') - tests.local(spring, '00:00') from change), interval '23 hours', 'a day in spring has 23 hours');
select is((select tests.local(autumn + 1, '00:00') - tests.local(autumn, '00:00') from change), interval '25 hours', 'one in autumn has 25');

-- Sessions right at the edges of those days. 23:30 and 00:00 on either side.
create temporary table made (name text, id uuid) on commit drop;
insert into made
select format('%s %s%s', season, clock, case shift when 0 then '' else ' next day' end),
  tests.book('rbt', 'rbt', 'ann', tests.local(day + shift, clock), 30)
from change cross join lateral (values ('spring', spring), ('autumn', autumn)) as days (season, day)
cross join (values ('00:00', 0), ('23:30', 0), ('00:00', 1)) as edges (clock, shift);
insert into made select season || ' 23:30 day before', tests.book('rbt', 'rbt', 'ann', tests.local(day - 1, '23:30'), 30)
from change cross join lateral (values ('spring', spring), ('autumn', autumn)) as days (season, day);
-- A colleague and another clinic on the same day.
insert into made select 'colleague', tests.book('admin', 'rbt2', 'ben', tests.local(autumn, '12:00'), 30) from change;
insert into made select 'other clinic', tests.book('other admin', 'other rbt', 'other ann', tests.local(autumn, '12:00'), 30) from change;

create function tests.names(ids jsonb) returns text[] language sql as $$
  select array_agg(name order by name) from made where to_jsonb(id) <@ ids $$;
create function tests.day(day date, extra jsonb default '{}') returns jsonb language sql as $$
  select jsonb_build_object('date', day, 'time_zone', 'America/Los_Angeles') || extra $$;

create temporary table spring on commit drop as
select tests.cancel('rbt', tests.day(spring, '{"reason": " Snow ", "cancellation_attribution": "staff"}')) as outcome from change;
select is(tests.names(outcome #> '{body,summary,cancelledSessionIds}'), array['spring 00:00', 'spring 23:30'], 'the sessions that start on the 23-hour day')
from spring;
create temporary table autumn on commit drop as select tests.cancel('rbt', tests.day(autumn)) as outcome from change;
select is(tests.names(outcome #> '{body,summary,cancelledSessionIds}'), array['autumn 00:00', 'autumn 23:30'], 'and on the 25-hour day, her own only')
from autumn;
select is(outcome #> '{body,summary,totalCount}', '2', 'the summary counts them') from autumn;
select is(tests.cancel('rbt', tests.day(autumn)) #> '{body,summary}', jsonb_build_object(
  'cancelledCount', 0, 'alreadyCancelledCount', 2, 'nonCancellableCount', 0, 'totalCount', 2, 'cancelledSessionIds', '[]'::jsonb,
  'alreadyCancelledSessionIds', outcome #> '{body,summary,cancelledSessionIds}', 'nonCancellableSessionIds', '[]'::jsonb),
  'the second time they are cancelled already') from change, autumn;
select results_eq(
  $$ select attribution::text, reason, cancelled_by, cancelled_by_role from public.session_cancellations
     join made on made.id = session_id where name like 'spring%' $$,
  $$ values ('staff', 'Snow', tests.id('rbt'), 'therapist'), ('staff', 'Snow', tests.id('rbt'), 'therapist') $$,
  'reason, side, actor and role are stored'
);
select is(tests.cancel('rbt', '{"date": "2027-06-01", "time_zone": "UTC"}') #> '{body,summary,totalCount}', '0', 'an empty day is no error');
select is((select count(*) from made join public.sessions using (id) where status = 'cancelled'), 4::bigint, 'nothing else was cancelled');

-- Whose day.
select is(tests.cancel('rbt', tests.day(autumn, '{"all_therapists": true}')) ->> 'code', 'FORBIDDEN', 'a therapist has no say over all') from change;
select is(tests.cancel('rbt', tests.day(autumn, jsonb_build_object('therapist_id', tests.id('rbt2')))) ->> 'code', 'FORBIDDEN', 'nor over a colleague') from change;
select is(tests.cancel('parent', tests.day(autumn)) ->> 'code', 'FORBIDDEN', 'a parent cancels nothing here') from change;
select is(tests.cancel('admin', tests.day(autumn, jsonb_build_object('therapist_id', tests.id('other rbt')))) ->> 'code', 'FORBIDDEN',
  'another clinic''s therapist is nobody''s here') from change;
select is(tests.names(tests.cancel('admin', tests.day(autumn, jsonb_build_object('therapist_id', tests.id('rbt2')))) #> '{body,summary,cancelledSessionIds}'),
  array['colleague'], 'an admin cancels a therapist''s day') from change;
select is(tests.names(tests.cancel('admin', tests.day(spring + 1, '{"all_therapists": true}')) #> '{body,summary,cancelledSessionIds}'),
  array['spring 00:00 next day'], 'or everybody''s') from change;
select is(tests.names(tests.cancel('other admin', tests.day(autumn, '{"all_therapists": true}')) #> '{body,summary,cancelledSessionIds}'),
  array['other clinic'], 'in her own clinic') from change;

-- The day as it is in the zone that is named.
create temporary table zones on commit drop as
select tests.book('rbt', 'rbt', 'ben', '2027-03-01T14:30:00Z'::timestamptz + (extract(year from now()) - 2026) * interval '1 year') as id;
select is(tests.cancel('rbt', jsonb_build_object('date', (start_time at time zone zone)::date, 'time_zone', zone, 'session_ids', array[gen_random_uuid()]))
  ->> 'code', 'FORBIDDEN', 'an id that does not exist refuses the whole request')
from zones join public.sessions using (id), unnest(array['Pacific/Kiritimati']) as zone;
select is(tests.cancel('rbt', jsonb_build_object('date', '2031-01-01', 'time_zone', 'UTC', 'session_ids', array[id])) #> '{body,summary,totalCount}', '0',
  'ids and a day mean those that are in both') from zones;
select is(tests.cancel('rbt', jsonb_build_object('date', (start_time at time zone 'UTC')::date, 'time_zone', 'Pacific/Kiritimati')) #> '{body,summary,totalCount}', '0',
  'it is tomorrow already on Kiritimati') from zones join public.sessions using (id);
select is(tests.cancel('rbt', jsonb_build_object('date', (start_time at time zone 'UTC')::date + 1, 'time_zone', 'Pacific/Kiritimati',
  'session_ids', array[id])) #> '{body,summary,cancelledSessionIds}', jsonb_build_array(id),
  'where it starts on the next day') from zones join public.sessions using (id);

-- By id.
create temporary table mixed on commit drop as
select tests.book('rbt', 'rbt', 'ben', tests.at(60)) as mine, tests.book('admin', 'rbt2', 'ben', tests.at(61)) as hers,
  tests.book('other rbt', 'other rbt', 'other ben', tests.at(60)) as theirs;
create temporary table before on commit drop as select tests.footprint() as footprint;
select is(tests.cancel('rbt', jsonb_build_object('session_ids', ids)) - 'detail', '{"ok": false, "status": 403, "code": "FORBIDDEN"}', what)
from mixed cross join lateral (values
  (array[mine, hers], 'one of a colleague''s among hers refuses all'),
  (array[mine, theirs], 'so does one of another clinic''s'),
  (array[mine, gen_random_uuid()], 'and one that does not exist')) as request (ids, what);
select is(tests.cancel('admin', jsonb_build_object('session_ids', array[mine, theirs])) ->> 'code', 'FORBIDDEN', 'for an admin too') from mixed;
select is(tests.cancel('parent', jsonb_build_object('session_ids', array[mine])) ->> 'code', 'FORBIDDEN', 'a parent may not') from mixed;
select is(tests.footprint(), footprint, 'nothing was cancelled by any of these') from before;
select is(tests.cancel('rbt', jsonb_build_object('session_ids', array[mine, mine])) #> '{body,summary}' -> 'totalCount', '1', 'the same id twice is one session') from mixed;
select is(tests.cancel('admin', jsonb_build_object('session_ids', array[hers], 'therapist_id', tests.id('rbt'))) #> '{body,summary,totalCount}', '0',
  'an id and another''s day have nothing in common') from mixed;
select is(tests.cancel('admin', jsonb_build_object('session_ids', array[hers])) #> '{body,summary,cancelledSessionIds}', jsonb_build_array(hers),
  'an admin cancels by id') from mixed;
select hasnt_column('public'::name, 'sessions'::name, 'notes'::name, 'there are no notes on a session that a reason could overwrite');
select is_empty('select * from tests.broken_claims()', 'the claims are sound');

select * from finish();
rollback;
