-- A request that is sent again with its Idempotency-Key has one effect and gets the first answer.
begin;
select plan(44);
select tests.open_clinic();
select tests.open_clinic('other ');

create temporary table held on commit drop as
select tests.request('rbt', 'ann', tests.at(1)) as request, tests.hold('rbt', tests.request('rbt', 'ann', tests.at(1)), 'a key') as outcome;
select is(tests.hold('rbt', request, 'a key'), outcome || '{"replayed": true}', 'the same key and request give the same answer, marked as a replay') from held;
select is(tests.events(), array['hold.acquired'], 'and have no second effect');
select is(tests.hold('rbt', request || '{"hold_seconds": 300, "occurrences": [], "room_id": null, "buffer_before_minutes": 0, "buffer_after_minutes": 0, "colour": "blue"}', 'a key'), outcome || '{"replayed": true}',
  'defaults, empty lists and unknown fields make no other request') from held;
select is(tests.hold('rbt', request || jsonb_build_object('occurrences', jsonb_build_array(request), 'start_time', null), 'a key'), outcome || '{"replayed": true}',
  'nor does the one window written as a list') from held;
select is(tests.hold('rbt', request || jsonb_build_object('start_time', to_char(tests.at(1) at time zone 'UTC' - interval '8 hours', 'YYYY-MM-DD"T"HH24:MI:SS') || '-08:00'), 'a key'),
  outcome || '{"replayed": true}', 'nor the same instant written with another offset') from held;
select is(tests.hold('rbt', request || change, 'a key') - 'detail', '{"ok": false, "status": 422, "code": "IDEMPOTENCY_KEY_REUSED"}', 'another request under the key: ' || change::text)
from held, unnest(array[jsonb_build_object('client_id', tests.id('ben')), '{"hold_seconds": 60}', '{"cpt_code": "97153"}',
  jsonb_build_object('room_id', tests.id('blue')), '{"recurrence": {"rule": "FREQ=DAILY;COUNT=1"}}']::jsonb[]) as change;
select is(tests.hold('rbt', request, 'another key') ->> 'code', 'THERAPIST_HOLD_CONFLICT', 'another key is another try') from held;

-- Whose key it is.
select is(tests.hold('admin', tests.request('rbt2', 'ben', tests.at(1)), 'a key') -> 'replayed', 'false', 'a colleague''s key of the same name is hers');
select is(tests.hold('other rbt', tests.request('other rbt', 'other ann', tests.at(1)), 'a key') -> 'replayed', 'false', 'so is another clinic''s');
create temporary table booked on commit drop as
select tests.confirmation(outcome, 'rbt', 'ann') as request, tests.confirm('rbt', tests.confirmation(outcome, 'rbt', 'ann'), 'a key') as outcome from held;
select is(outcome -> 'replayed', 'false', 'another endpoint''s too') from booked;
-- The same person in two clinics.
insert into public.memberships (organization_id, user_id, role) values (tests.id('other clinic'), tests.id('rbt'), 'admin');
select is(tests.call('rbt', format('select public.hold_sessions(%L, %L)', tests.request('other rbt2', 'other ben', tests.at(1)), 'a key'),
  jsonb_build_object('org_id', tests.id('other clinic'))) -> 'replayed', 'false', 'and that of the same person in another clinic');

-- Confirm, cancel, release.
select is(tests.confirm('rbt', request, 'a key'), outcome || '{"replayed": true}', 'a confirmation replays') from booked;
select is(tests.confirm('rbt', request || '{"cpt": {"code": "97153"}}', 'a key') ->> 'code', 'IDEMPOTENCY_KEY_REUSED', 'for the same request only') from booked;
select is((select count(*) from public.sessions where organization_id = tests.id('clinic')), 1::bigint, 'there is one session');
create temporary table cancelled on commit drop as
select jsonb_build_object('session_ids', jsonb_build_array(outcome #> '{body,session,id}'), 'reason', 'Ill') as request,
  tests.cancel('rbt', jsonb_build_object('session_ids', jsonb_build_array(outcome #> '{body,session,id}'), 'reason', 'Ill'), 'bye') as outcome
from booked;
select is(tests.cancel('rbt', request, 'bye'), outcome || '{"replayed": true}', 'a cancellation replays: cancelled, not already cancelled') from cancelled;
select is(tests.cancel('rbt', request || '{"reason": "Well"}', 'bye') ->> 'code', 'IDEMPOTENCY_KEY_REUSED', 'for the same reason only') from cancelled;
select is(tests.confirm('rbt', request, 'a key') #>> '{body,session,status}', 'scheduled', 'the replayed confirmation answers as it did then') from booked;
select is(tests.hold('rbt', request, 'a key'), outcome || '{"replayed": true}', 'a hold''s key lives on when the hold was confirmed') from held;

create temporary table brief on commit drop as
select tests.hold('rbt', tests.request('rbt', 'ann', tests.at(2)), 'brief') as outcome;
create temporary table let_go on commit drop as
select tests.release('rbt', outcome #>> '{body,holdKey}', 'let go') as outcome from brief;
select is(tests.release('rbt', brief.outcome #>> '{body,holdKey}', 'let go'), let_go.outcome || '{"replayed": true}', 'a release replays: released, not "nothing to release"')
from brief, let_go;
select is(tests.release('rbt', gen_random_uuid()::text, 'let go') ->> 'code', 'IDEMPOTENCY_KEY_REUSED', 'for the same hold only');
select is(tests.cancel('rbt', request, 'let go') ->> 'code', 'IDEMPOTENCY_KEY_REUSED', 'release and cancel are one endpoint, with one set of keys') from cancelled;

-- When a key lapses.
create temporary table again on commit drop as
select tests.hold('rbt', tests.request('rbt', 'ann', tests.at(2)), 'brief') as outcome;
select is(again.outcome -> 'replayed', 'false', 'a released hold''s key is free: a replay would give dead hold keys') from again;
select isnt(again.outcome #> '{body,holdKey}', brief.outcome #> '{body,holdKey}', 'the hold is a new one') from again, brief;
do $$ begin perform tests.expire(outcome) from again; end $$;
select is(tests.hold('rbt', tests.request('rbt', 'ben', tests.at(3)), 'brief') -> 'replayed', 'false',
  'an expired hold''s key is free, even for another request');
create temporary table three on commit drop as
select tests.hold('rbt', tests.series('rbt', 'ben', array[tests.at(4), tests.at(5)]), 'half') as outcome;
do $$ begin perform tests.release('rbt', outcome #>> '{body,holds,0,holdKey}') from three; end $$;
select is(tests.hold('rbt', tests.series('rbt', 'ben', array[tests.at(4), tests.at(5)]), 'half') -> 'replayed', 'false',
  'once a part of it is let go the key is free: a replay would hand out a dead key') from (select tests.release('rbt', outcome #>> '{body,holdKey}') from three) as rest;

update private.idempotency_keys set created_at = clock_timestamp() - interval '24 hours' + interval '1 minute'
where organization_id = tests.id('clinic') and endpoint = 'sessions-confirm';
select is(tests.confirm('rbt', request, 'a key') -> 'replayed', 'true', 'just within 24 hours a key replays') from booked;
update private.idempotency_keys set created_at = clock_timestamp() - interval '24 hours' where organization_id = tests.id('clinic');
select is(tests.confirm('rbt', request, 'a key') -> 'replayed', 'false', 'at 24 hours it has lapsed, swept or not') from booked;
select is(tests.confirm('rbt', request, 'a key') -> 'replayed', 'true', 'and counts anew') from booked;
select is(tests.cancel('rbt', request, 'bye') #> '{body,summary,alreadyCancelledCount}', '1', 'a lapsed cancellation is looked at again') from cancelled;

-- Refusals keep no key.
select is(tests.hold('rbt2', tests.request('rbt2', 'ben', tests.at(5)), 'refused') ->> 'code', 'CLIENT_HOLD_CONFLICT', 'a hold is refused');
select is(tests.hold('rbt2', tests.request('rbt2', 'ben', tests.at(6)), 'refused') ->> 'ok', 'true', 'its key can be used again, for anything');
select is(tests.cancel('rbt2', jsonb_build_object('session_ids', array[gen_random_uuid()]), 'mine') ->> 'code', 'FORBIDDEN', 'so it is with a cancellation');
select is(tests.cancel('rbt2', jsonb_build_object('date', '2027-01-01', 'time_zone', 'UTC'), 'mine') ->> 'ok', 'true', 'that was refused');
select is(tests.confirm('rbt2', request, 'theirs') ->> 'code', 'HOLD_NOT_FOUND', 'and with a confirmation') from booked;
select is_empty($$ select 1 from private.idempotency_keys where idempotency_key = 'theirs' $$, 'no key is kept for it');

-- What depends on the clock comes after the look-up.
create temporary table soon (request jsonb, outcome jsonb) on commit drop;
do $$
declare
  later timestamptz;
begin
  -- As soon as this machine is quick enough to hold before it has passed.
  for tries in 0..9 loop
    later := date_trunc('milliseconds', clock_timestamp()) + interval '0.1 seconds' * 2 ^ tries;
    begin
      insert into soon
      select request, tests.hold('rbt2', request, 'soon') from tests.request('rbt2', 'ann', later) as request;
      perform pg_sleep_until(later);
      return;
    exception when others then
      if sqlstate <> 'PT400' then raise; end if;
    end;
  end loop;
end $$;
select is(tests.hold('rbt2', request, 'soon'), outcome || '{"replayed": true}', 'a hold replays although its start has passed') from soon;
select is(tests.error('rbt2', format('select public.hold_sessions(%L, ''too late'')', request)) #>> '{details}',
  '[{"path": "start_time", "message": "is in the past"}]', 'while a new one is refused') from soon;

-- How long a key is.
select is(tests.error_code('rbt', format('select public.hold_sessions(%L, %L)', tests.request('rbt', 'ann', tests.at(20)), repeat('k', length))), expected, format('a key of %s characters', length))
from (values (255, null), (256, 'PT400'), (0, 'PT400')) as key (length, expected);

select * from finish();
rollback;
