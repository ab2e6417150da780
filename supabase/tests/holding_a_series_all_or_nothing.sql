-- A series is held whole, or not at all, and a refusal names every date that is blocked.
begin;
select plan(19);
select tests.open_clinic();

create temporary table twelve on commit drop as
select tests.series('rbt', 'ann', array(select tests.at(day * 7) from generate_series(1, 12) as day), 120) as request;

-- Two dates are taken: one of the therapist's by a session, one of the client's by a hold.
select isnt(tests.book('bcba', 'bcba', 'ann', tests.at(4 * 7, '11:00')), null, 'the client has a session on one date');
create temporary table in_the_way on commit drop as
select tests.hold('rbt', tests.request('rbt', 'ben', tests.at(9 * 7, '09:30'))) as outcome;

create temporary table before on commit drop as select tests.footprint() as footprint;
create temporary table refused on commit drop as select tests.hold('rbt', request) as outcome from twelve;

select is(outcome ->> 'status', '409', 'a series of twelve with two blocked dates is refused') from refused;
select is(outcome ->> 'code', 'CLIENT_CONFLICT', 'for the session, which waiting will not clear') from refused;
select is(
  (select jsonb_agg(jsonb_build_array(conflict -> 'occurrenceIndex', conflict -> 'resource', conflict -> 'blockedBy'))
   from jsonb_array_elements(outcome -> 'conflicts') as conflict),
  '[[3, "client", "session"], [8, "therapist", "hold"]]', 'every blocked date is reported'
) from refused;
select is(tests.footprint(), footprint, 'nothing of it is left behind') from before;

-- Without them it is held, confirmed and stays together.
select is(tests.release('rbt', outcome #>> '{body,holdKey}') #>> '{body,released}', 'true', 'the hold in the way is released')
from in_the_way;
create temporary table held on commit drop as
select tests.hold('admin', jsonb_set(request, '{occurrences}', (request -> 'occurrences') - 3)
  || '{"recurrence": {"rule": "FREQ=WEEKLY;COUNT=12"}}') as outcome
from twelve;
select is(jsonb_array_length(outcome #> '{body,holds}'), 11, 'the other eleven are held') from held;
select is(
  (select array_agg((hold ->> 'startTime')::timestamptz order by position)
   from jsonb_array_elements(outcome #> '{body,holds}') with ordinality as item (hold, position)),
  array(select tests.at(day * 7) from generate_series(1, 12) as day where day <> 4),
  'in the order of the request'
) from held;
select is((select count(*) from private.claims where organization_id = tests.id('clinic') and expires_at is not null), 22::bigint,
  'each with the claims of its two people');

create temporary table booked on commit drop as
select tests.confirm('rbt', tests.confirmation(outcome, 'rbt', 'ann')) as outcome from held;
select is(jsonb_array_length(outcome #> '{body,sessions}'), 11, 'and confirmed in one go') from booked;
select is(outcome #> '{body,roundedDurationMinutes}', '120', 'the rounding is of one session, not of the series') from booked;
select results_eq(
  $$ select count(distinct series_id), count(*) from public.sessions where organization_id = tests.id('clinic') and series_id is not null $$,
  $$ values (1::bigint, 11::bigint) $$, 'they are one series'
);
select results_eq(
  $$ select recurrence_rule, time_zone, therapist_id, client_id from public.session_series where organization_id = tests.id('clinic') $$,
  $$ values ('FREQ=WEEKLY;COUNT=12', 'UTC', tests.id('rbt'), tests.id('ann')) $$, 'which knows the rule it came from'
);

-- One date of a series can be confirmed, or let go, by its own key.
create temporary table pair on commit drop as
select tests.hold('rbt', tests.series('rbt', 'ben', array[tests.at(100), tests.at(107), tests.at(114)])) as outcome;
select is(tests.release('rbt', outcome #>> '{body,holds,1,holdKey}') #>> '{body,hold,holds,0,holdId}',
  outcome #>> '{body,holds,1,holdId}', 'one date of three is let go') from pair;
select is(
  tests.confirm('rbt', tests.confirmation(outcome, 'rbt', 'ben')) ->> 'code', 'HOLD_NOT_FOUND',
  'naming it afterwards is naming no hold'
) from pair;
select is(
  jsonb_array_length(tests.confirm('rbt', tests.confirmation(jsonb_set(outcome, '{body,holds}', (outcome #> '{body,holds}') - 1), 'rbt', 'ben'))
    #> '{body,sessions}'),
  2, 'the batch''s key stands for the two that are left'
) from pair;

-- The longest series there may be, in one request.
create temporary table longest on commit drop as
select tests.hold('rbt2', tests.series('rbt2', 'ann', array(select tests.at(day, '23:00') from generate_series(0, 365) as day), 30)) as outcome;
select is(jsonb_array_length(outcome #> '{body,holds}'), 366, '366 occurrences can be held at once') from longest;
select is(
  jsonb_array_length(tests.confirm('rbt2', tests.confirmation(outcome, 'rbt2', 'ann')) #> '{body,sessions}'), 366,
  'and confirmed'
) from longest;
select is_empty('select * from tests.broken_claims()', 'the claims are sound');

select * from finish();
rollback;
