-- A refused request says what is in the way and when it clears: never whose it is, and no time when waiting is useless.
begin;
select plan(23);
select tests.open_clinic();
select tests.open_clinic('other ');

-- Two holds of different length on one slot's two people, and a third beside.
create temporary table holds on commit drop as
select
  tests.hold('rbt', tests.request('rbt', 'ben', tests.at(1, '10:00'), 60, '{"hold_seconds": 60}')) as early,
  tests.hold('rbt', tests.request('rbt', 'ben', tests.at(1, '11:00'), 60, '{"hold_seconds": 120}')) as middle,
  tests.hold('bcba', tests.request('bcba', 'ann', tests.at(1, '11:30'), 60, '{"hold_seconds": 600}')) as late;
create temporary table refused on commit drop as
select tests.hold('rbt', tests.request('rbt', 'ann', tests.at(1, '10:30'), 120)) as outcome, statement_timestamp() as asked_at;
alter table refused add column answered_at timestamptz default clock_timestamp();

select is(outcome ->> 'code', 'THERAPIST_HOLD_CONFLICT', 'only holds are in the way, the therapist''s first') from refused;
select is(outcome -> 'conflicts', jsonb_build_array(
    jsonb_build_object('occurrenceIndex', 0, 'resource', 'therapist', 'blockedBy', 'hold',
      'startTime', middle #> '{body,holds,0,startTime}', 'endTime', middle #> '{body,holds,0,endTime}', 'expiresAt', middle #> '{body,expiresAt}'),
    jsonb_build_object('occurrenceIndex', 0, 'resource', 'client', 'blockedBy', 'hold',
      'startTime', late #> '{body,holds,0,startTime}', 'endTime', late #> '{body,holds,0,endTime}', 'expiresAt', late #> '{body,expiresAt}')),
  'one conflict for each person, the hold that expires last, its overlap with the request') from refused, holds;
select is(outcome -> 'retryAfter', late #> '{body,expiresAt}', 'retryAfter is when all of them have cleared') from refused, holds;
select ok((outcome ->> 'retryAfterSeconds')::integer between ceil(extract(epoch from (outcome ->> 'retryAfter')::timestamptz - answered_at))
  and ceil(extract(epoch from (outcome ->> 'retryAfter')::timestamptz - asked_at)), 'in whole seconds, rounded up') from refused;
select is(outcome -> 'alternatives', '[]', 'alternatives are looked for apart') from refused;
select is(tests.hold('bcba', tests.request('bcba', 'ann', tests.at(1, '09:30'), 120)) ->> 'code', 'CLIENT_HOLD_CONFLICT', 'a client''s hold alone has its own code')
from (select tests.hold('rbt2', tests.request('rbt2', 'ann', tests.at(1, '09:00')))) as first;

-- A session among them.
select isnt(tests.book('rbt', 'rbt', 'ben', tests.at(1, '12:00')), null, 'a session stands behind the holds');
create temporary table with_session on commit drop as
select tests.hold('rbt', tests.request('rbt', 'ann', tests.at(1, '10:30'), 120)) as outcome;
select is(outcome ->> 'code', 'THERAPIST_CONFLICT', 'a session is reported before any hold') from with_session;
select is((select array_agg((conflict ->> 'resource') || ' ' || (conflict ->> 'blockedBy')) from jsonb_array_elements(outcome -> 'conflicts') as conflict),
  array['therapist session', 'client hold'], 'and hides the hold of the same person') from with_session;
select is(outcome #> '{conflicts,0}' ? 'expiresAt', false, 'a session does not expire') from with_session;
select is(outcome #> '{conflicts,0,startTime}', to_jsonb(private.iso(tests.at(1, '12:00'))), 'its overlap is what counts') from with_session;
select is(jsonb_build_array(outcome -> 'retryAfter', outcome -> 'retryAfterSeconds'), '[null, null]', 'there is no time at which to try again') from with_session;

-- A series whose holds clear at different times, and rooms.
create temporary table room_hold on commit drop as
select tests.hold('bcba', tests.request('bcba', 'ben', tests.at(9), 60, jsonb_build_object('room_id', tests.id('blue'), 'hold_seconds', 900))) as outcome;
create temporary table series on commit drop as
select tests.hold('rbt', tests.series('rbt', 'ann', array[tests.at(8), tests.at(9), tests.at(1, '11:30')], 30, jsonb_build_object('room_id', tests.id('blue')))) as outcome;
select is((select array_agg(concat_ws(' ', conflict ->> 'occurrenceIndex', conflict ->> 'resource', conflict ->> 'blockedBy'))
  from jsonb_array_elements(outcome -> 'conflicts') as conflict),
  array['1 room hold', '2 therapist hold', '2 client hold'], 'every occurrence of a series is reported by its place in the request') from series;
select is(series.outcome -> 'retryAfter', room_hold.outcome #> '{body,expiresAt}', 'retryAfter waits for the last of all occurrences') from series, room_hold;
select is(tests.hold('rbt2', tests.request('rbt2', 'ann', tests.at(9), 60, jsonb_build_object('room_id', tests.id('blue')))) ->> 'code', 'ROOM_CONFLICT',
  'a room alone is ROOM_CONFLICT');

-- Session of the client, hold of the therapist: sessions first.
select isnt(tests.book('bcba', 'bcba', 'ann', tests.at(20)), null, 'the client has a session');
select is(tests.hold('rbt', tests.request('rbt', 'ben', tests.at(20))) ->> 'ok', 'true', 'the therapist a hold');
select is(tests.hold('rbt', tests.request('rbt', 'ann', tests.at(20))) ->> 'code', 'CLIENT_CONFLICT', 'a client''s session comes before a therapist''s hold');

-- Nobody's name, nothing of another clinic.
select isnt(tests.book('other rbt', 'other rbt', 'other ann', tests.at(21)), null, 'another clinic is busy then');
select is(tests.hold('rbt', tests.request('rbt', 'ann', tests.at(21))) ->> 'ok', 'true', 'which is no conflict here');
select is(with_session.outcome::text || refused.outcome::text || series.outcome::text ~ concat_ws('|', tests.id('ann'), tests.id('ben'), tests.id('bcba'),
  tests.id('rbt'), holds.early #>> '{body,holdKey}', holds.middle #>> '{body,holdKey}', holds.middle #>> '{body,holds,0,holdKey}',
  holds.middle #>> '{body,holds,0,holdId}'), false, 'no answer says whose the time is, nor holds a key')
from with_session, refused, series, holds;

-- The same person works in another clinic too: what they have there is in nobody's way here.
insert into public.memberships (organization_id, user_id, role) values (tests.id('other clinic'), tests.id('rbt'), 'therapist');
insert into public.therapists (organization_id, id, display_name, credential, time_zone) values (tests.id('other clinic'), tests.id('rbt'), 'rbt', 'RBT', 'UTC');
insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone)
values (tests.id('other clinic'), tests.id('rbt'), tests.id('other ann'), tests.at(30, '08:00'), tests.at(30, '13:00'), 'UTC');
create temporary table held_here on commit drop as select tests.hold('rbt', tests.request('rbt', 'ben', tests.at(30, '10:00'))) as outcome;
create temporary table refused_here on commit drop as select tests.hold('rbt', tests.request('rbt', 'ann', tests.at(30, '10:30'))) as outcome;
select is(refused.outcome ->> 'code' || ' ' || (refused.outcome ->> 'retryAfter'), 'THERAPIST_HOLD_CONFLICT ' || (held.outcome #>> '{body,expiresAt}'),
  'only the hold of this clinic is told') from refused_here as refused, held_here as held;
select is(outcome -> 'conflicts' -> 0 ->> 'endTime', private.iso(tests.at(30, '11:00')), 'with its own times') from refused_here;

select * from finish();
rollback;
