-- A therapist holds a free hour and confirms it: one hold, one session, and the hour is hers.
begin;
select plan(21);
select tests.open_clinic();

create temporary table held on commit drop as
select tests.hold('rbt', tests.request('rbt', 'ann', tests.at(1), 60, '{"session_type": " Individual ", "cpt_code": "97153"}')) as outcome, statement_timestamp() as asked_at;
alter table held add column answered_at timestamptz default clock_timestamp();

select is(outcome - 'body', '{"ok": true, "status": 200, "replayed": false}', 'a free hour can be held') from held;
select is(jsonb_array_length(outcome #> '{body,holds}'), 1, 'there is one hold') from held;
select isnt(outcome #>> '{body,holdKey}', outcome #>> '{body,holds,0,holdKey}', 'the batch and the hold have keys of their own') from held;
select is(
  (outcome #>> '{body,holds,0,startTime}')::timestamptz, tests.at(1), 'the answer repeats the start'
) from held;
select is(
  (outcome #>> '{body,holds,0,endTime}')::timestamptz, tests.at(1, '11:00'), 'the answer repeats the end'
) from held;
select ok(
  (outcome #>> '{body,expiresAt}')::timestamptz between asked_at + interval '299.999 seconds' and answered_at + interval '300 seconds',
  'it lasts 300 seconds when none are asked for'
) from held;
select is(outcome #> '{body,expiresAt}', outcome #> '{body,holds,0,expiresAt}', 'the batch and the hold end together') from held;
select ok(
  outcome #>> '{body,expiresAt}' ~ '^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$', 'times are written as toISOString writes them'
) from held;
select results_eq(
  $$ select resource_kind::text, resource_id, during::tstzrange from private.claims
     where organization_id = tests.id('clinic') order by resource_kind::text desc $$,
  $$ values
    ('therapist', tests.id('rbt'), tstzrange(tests.at(1), tests.at(1, '11:00'))),
    ('client', tests.id('ann'), tstzrange(tests.at(1), tests.at(1, '11:00'))) $$,
  'it claims the therapist and the client for that hour'
);
select is((select count(*) from public.sessions where organization_id = tests.id('clinic')), 0::bigint, 'a hold is no session yet');

create temporary table booked on commit drop as
select tests.confirm('rbt', tests.confirmation(outcome, 'rbt', 'ann', '{"occurrences": null}')
  || '{"cpt": {"code": "97153", "modifiers": ["hm", "HM", "95"]}}') as outcome
from held;

select is(outcome - 'body', '{"ok": true, "status": 200, "replayed": false}', 'the hold confirms') from booked;
select is(outcome #> '{body,session}', outcome #> '{body,sessions,0}', 'the answer has the session, and the list of it') from booked;
select is(outcome #> '{body,roundedDurationMinutes}', '60', 'and its duration in whole units') from booked;
select is(
  booked.outcome #>> '{body,session,id}', held.outcome #>> '{body,holds,0,holdId}', 'the session keeps the id of its hold'
) from booked, held;
select is(
  (select to_jsonb(session) from public.sessions as session where session.organization_id = tests.id('clinic')),
  outcome #> '{body,session}',
  'the answer is the row as stored'
) from booked;
select results_eq(
  $$ select status::text, therapist_id, client_id, start_time, end_time, session_type, cpt_code, cpt_modifiers, created_by
     from public.sessions where organization_id = tests.id('clinic') $$,
  $$ values ('scheduled', tests.id('rbt'), tests.id('ann'), tests.at(1), tests.at(1, '11:00'), 'Individual', '97153',
    array['HM', '95'], tests.id('rbt')) $$,
  'the session is what was asked for: trimmed, modifiers as a set'
);
select is(
  (select array_agg(distinct expires_at) from private.claims where organization_id = tests.id('clinic')),
  array[null::timestamptz],
  'its claims no longer end'
);
select is_empty('select * from tests.broken_claims()', 'the claims are sound');

select is(
  tests.hold('bcba', tests.request('bcba', 'ann', tests.at(1, '10:30'))) ->> 'code',
  'CLIENT_CONFLICT', 'the client is taken for every other therapist'
);
select is(
  tests.hold('rbt', tests.request('rbt', 'ben', tests.at(1, '11:00'))) ->> 'ok', 'true', 'back to back is allowed'
);
select is(
  tests.hold('rbt', tests.request('rbt', 'ben', tests.at(1, '09:00'))) ->> 'ok', 'true', 'on either side'
);

select * from finish();
rollback;
