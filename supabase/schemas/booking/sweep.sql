-- Purpose: housekeeping of what has expired, and offers that nobody has looked at.
-- Objects: sweep_expired_holds.
-- Watch for: correctness never waits for it. Expired holds block nobody whether or not the sweeper runs.

-- Nearly free to maintain, since holds expire in the order they were made.
create index hold_batches_expires_at_idx on public.hold_batches using brin (expires_at);

create function private.sweep_expired_holds(most integer default 500, lookback interval default interval '1 day')
returns integer
language plpgsql
security definer
set search_path = ''
set lock_timeout = '100ms'
as $$
declare
  swept record;
  total integer := 0;
  former constant text := private.enter_booking();
begin
  -- What it has locked of one organization it keeps until it has been in all of them. So it waits for none that is being
  -- written: it comes again.
  for swept in
    select batch.organization_id, array_agg(distinct batch.id) as batch_ids,
      array_agg(distinct hold.id) || array_remove(array_agg(distinct hold.group_id), null) || array_agg(distinct batch.id) as owner_ids,
      array_agg(distinct batch.therapist_id) || array_agg(distinct batch.room_id) || array_agg(distinct hold.client_id) as resource_ids
    from (
      select candidate.organization_id, candidate.id, candidate.therapist_id, candidate.room_id
      from public.hold_batches as candidate
      where candidate.expires_at <= clock_timestamp()
        and candidate.expires_at > clock_timestamp() - lookback
        and exists (
          select from public.session_holds as hold
          where hold.organization_id = candidate.organization_id and hold.batch_id = candidate.id and hold.status = 'held'
        )
      order by candidate.expires_at
      limit most
    ) as batch
    join public.session_holds as hold on hold.organization_id = batch.organization_id and hold.batch_id = batch.id
    group by batch.organization_id
    order by batch.organization_id
  loop
    continue when not private.can_share_organization(swept.organization_id);
    begin
      -- Like any claimant, the sweeper removes claims only of resources it has locked.
      perform private.lock_resources(swept.organization_id, swept.resource_ids);
    exception
      when lock_not_available then
        continue;
    end;
    perform private.expire_batches(swept.organization_id, swept.batch_ids, clock_timestamp());
    perform private.sync_claims(swept.organization_id, swept.owner_ids);
    total := total + cardinality(swept.batch_ids);
  end loop;
  perform private.leave_booking(null, former);
  return total;
end
$$;
comment on function private.sweep_expired_holds(integer, interval) is
  'Writes down expiries nobody has met yet and removes their claims: keeps tables small and the audit complete. Optional. Looks '
  'back as far as lookback: run it with a longer one after a pause.';

create function private.offer_all_freed_slots(most integer default 100)
returns integer
language plpgsql
security definer
set search_path = ''
set timezone = 'UTC'
-- Here one transaction makes several offers, and locks people in no order. It gives way long before a deadlock is looked
-- for: what it could not have is offered at the next run.
set lock_timeout = '100ms'
as $$
declare
  former constant text := private.enter_booking();
  offered integer := 0;
  waiting record;
  step jsonb;
begin
  for waiting in
    select queue.organization_id
    from (select distinct slot.organization_id from private.freed_slots as slot) as queue
    order by random()
  loop
    continue when not private.can_share_organization(waiting.organization_id);
    for turn in 1..most loop
      begin
        step := private.offer_next(waiting.organization_id);
      exception
        when lock_not_available or deadlock_detected or sqlstate 'PT503' then
          step := '{"pending": 0}';
      end;
      offered := offered + case when (step ->> 'offered')::boolean then 1 else 0 end;
      exit when (step ->> 'pending')::integer = 0;
    end loop;
  end loop;
  perform private.leave_booking(null, former);
  return offered;
end
$$;
comment on function private.offer_all_freed_slots(integer) is
  'Freed slots of each organization, for a schedule: what REST, SQL, closures and time off freed, and offers that lapsed. '
  'most: how many steps for each organization. Returns how many offers it made.';
