-- Nobody needs the sweeper; where it runs, it writes down what nobody has met yet, once.
begin;
select plan(8);

select set_config('request.jwt.claims', '{"sub": "a0000000-0000-4000-8000-000000000002", "org_id": "a0000000-0000-4000-8000-0000000000a0", "role": "authenticated"}', true);
create temp table held as
select public.hold_sessions(jsonb_build_object(
  'therapist_id', 'a0000000-0000-4000-8000-000000000004', 'client_id', 'a0000000-0000-4000-8000-000000000101',
  'time_zone', 'UTC', 'start_time', to_char(day, 'YYYY-MM-DD') || 'T20:00:00Z', 'end_time', to_char(day, 'YYYY-MM-DD') || 'T21:00:00Z',
  'start_time_offset_minutes', 0, 'end_time_offset_minutes', 0
)) as outcome
from (select date_trunc('week', now())::date + 29 as day) as tuesday;
select is(outcome ->> 'ok', 'true', 'a hold is taken') from held;
select is(private.sweep_expired_holds(), 0, 'a live hold is not swept');

update public.hold_batches set expires_at = clock_timestamp() - interval '1 minute' where id = (select (outcome #>> '{body,holdId}')::uuid from held);
update private.claims set expires_at = clock_timestamp() - interval '1 minute' where owner_id = (select (outcome #>> '{body,holds,0,holdId}')::uuid from held);
select is(private.sweep_expired_holds(lookback => '30 seconds'), 0, 'one that expired longer ago than asked is not looked at');
select is(private.sweep_expired_holds(), 1, 'an expired one is');
select is(status::text, 'expired', 'its status says so') from public.session_holds where id = (select (outcome #>> '{body,holds,0,holdId}')::uuid from held);
select is_empty(
  format('select 1 from private.claims where owner_id = %L', (select outcome #>> '{body,holds,0,holdId}' from held)),
  'its claims are gone'
);
select is(
  (select count(*)::integer from audit.events where action = 'hold.expired' and entity_ids @> array[(select (outcome #>> '{body,holds,0,holdId}')::uuid from held)]),
  1, 'with one event'
);
select is(private.sweep_expired_holds(), 0, 'sweeping again finds nothing');

select * from finish();
rollback;
