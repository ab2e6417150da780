-- What was cancelled, missed, released or let run out takes no time from anybody, and does not come back to life.
begin;
select plan(19);
select tests.open_clinic();

create temporary table sessions_made on commit drop as
select tests.book('rbt', 'rbt', 'ann', tests.at(1)) as cancelled, tests.book('rbt', 'rbt', 'ann', tests.at(2)) as missed;

select is(
  tests.cancel('rbt', jsonb_build_object('session_ids', array[cancelled], 'reason', 'Snow', 'cancellation_attribution', 'staff'))
    #> '{body,summary,cancelledSessionIds}',
  to_jsonb(array[cancelled]), 'a session is cancelled'
) from sessions_made;
select is_empty(
  format('select 1 from private.claims where owner_id = %L', cancelled), 'a cancelled session claims nothing'
) from sessions_made;
select is(
  tests.hold('bcba', tests.request('bcba', 'ann', tests.at(1))) ->> 'ok', 'true',
  'the client can be booked in the same place at once'
);
select is(
  tests.hold('rbt', tests.request('rbt', 'ben', tests.at(1))) ->> 'ok', 'true', 'and so can the therapist'
);

select tests.bring_forward(missed) from sessions_made;
select is(tests.rows('rbt', format('update public.sessions set status = ''no_show'' where id = %L', missed)), 1::bigint,
  'a therapist may note that nobody came') from sessions_made;
select is(
  tests.error_code('service_role', format(
    $$ insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone)
       select organization_id, therapist_id, client_id, start_time, end_time, time_zone from public.sessions where id = %L $$, missed)),
  null, 'the same two can be booked over a no-show'
) from sessions_made;

-- Directly too, without any hold.
select is(
  tests.rows('service_role', format(
    $$ insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone)
       values (%L, %L, %L, %L, %L, 'UTC') $$,
    tests.id('clinic'), tests.id('rbt2'), tests.id('ben'), tests.at(3), tests.at(3, '11:00'))),
  1::bigint, 'a session is inserted directly'
);
select is(
  tests.rows('rbt2', $$ update public.sessions set status = 'cancelled' where therapist_id = auth.uid() $$),
  1::bigint, 'cancelled directly'
);
select is(
  tests.rows('service_role', format(
    $$ insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone)
       values (%L, %L, %L, %L, %L, 'UTC') $$,
    tests.id('clinic'), tests.id('rbt2'), tests.id('ben'), tests.at(3), tests.at(3, '11:00'))),
  1::bigint, 'and inserted again in the same place'
);
select results_eq(
  $$ select cancelled_by, cancelled_by_role, attribution::text, reason
     from public.session_cancellations where organization_id = tests.id('clinic') order by cancelled_by_role, reason $$,
  $$ select * from (values
    (tests.id('rbt'), 'therapist', 'staff', 'Snow'),
    (tests.id('rbt2'), 'therapist', 'unknown', null)) as expected $$,
  'who cancelled, on whose side and why is kept, however it was done'
);

-- Nothing is revived.
select is(
  tests.error_code('service_role', format('update public.sessions set status = %L where id = %L', revived.status, made.id)),
  '23514', format('a %s session does not become %s', made.was, revived.status)
)
from sessions_made
cross join lateral (values ('cancelled', cancelled), ('no-show', missed)) as made (was, id)
cross join (values ('scheduled'), ('in_progress'), ('completed')) as revived (status);

select is(
  tests.cancel('rbt', jsonb_build_object('session_ids', array[cancelled, missed])) #> '{body,summary}',
  jsonb_build_object(
    'cancelledSessionIds', '[]'::jsonb, 'cancelledCount', 0, 'alreadyCancelledCount', 1, 'nonCancellableCount', 1, 'totalCount', 2,
    'alreadyCancelledSessionIds', array[cancelled], 'nonCancellableSessionIds', array[missed]
  ),
  'cancelling again says so, and a no-show cannot be cancelled'
) from sessions_made;
select is(
  (select reason from public.session_cancellations where session_id = cancelled), 'Snow', 'the first reason stays'
) from sessions_made;
select is_empty('select * from tests.broken_claims()', 'the claims are sound');

select * from finish();
rollback;
