-- Purpose: what has served its time goes, so that nothing grows without end.
-- Objects: private.sweep_expired_holds, private.sweep_idempotency_keys, private.sweep_drafts, private.sweep.
-- Watch for: correctness never waits for any of it: expired holds block nobody, lapsed keys replay nothing. private.sweep does
--            all of it, a little at a time: by pg_cron where that is there, else by `npm run sweep` from any scheduler.

-- Nearly free to maintain, since holds expire in the order they were made.
create index hold_batches_expires_at_idx on public.hold_batches using brin (expires_at);

create function private.sweep_expired_holds(most integer default 500, lookback interval default interval '1 day')
returns integer
language plpgsql
security definer
set search_path = ''
as $$
declare
  swept record;
  as_of timestamptz;
  total integer := 0;
begin
  for swept in
    select batch.organization_id, array_agg(batch.id) as batch_ids,
      array_agg(batch.therapist_id) || array_agg(batch.client_id) || array_agg(batch.room_id) as resource_ids
    from (
      select candidate.organization_id, candidate.id, candidate.therapist_id, candidate.client_id, candidate.room_id
      from public.hold_batches as candidate
      where candidate.expires_at <= clock_timestamp()
        and candidate.expires_at > clock_timestamp() - lookback
        and exists (
          select 1
          from public.session_holds as hold
          where hold.organization_id = candidate.organization_id
            and hold.batch_id = candidate.id
            and hold.status = 'held'
        )
      order by candidate.expires_at
      limit most
    ) as batch
    group by batch.organization_id
  loop
    -- Like any claimant, the sweeper removes claims only of resources it has locked.
    perform private.lock_resources(swept.organization_id, swept.resource_ids || array(
      select hold.client_id
      from public.session_holds as hold
      where hold.organization_id = swept.organization_id
        and hold.batch_id = any (swept.batch_ids)
        and hold.client_id is not null
    ));
    as_of := clock_timestamp();
    delete from private.claims as stale
    using public.session_holds as hold
    where hold.organization_id = swept.organization_id
      and hold.batch_id = any (swept.batch_ids)
      and stale.organization_id = hold.organization_id
      and stale.owner_id = hold.id
      and stale.expires_at <= as_of;
    perform private.expire_batches(swept.organization_id, swept.batch_ids, as_of);
    total := total + cardinality(swept.batch_ids);
  end loop;
  return total;
end
$$;
comment on function private.sweep_expired_holds(integer, interval) is
  'Writes down expiries nobody has met yet and removes their claims: keeps tables small and the audit complete. Optional. Looks '
  'back as far as lookback: run it with a longer one after a pause.';

create function private.sweep_idempotency_keys(most integer default 10000)
returns integer
language plpgsql
security definer
set search_path = ''
as $$
declare
  removed integer;
begin
  delete from private.idempotency_keys as lapsed
  where lapsed.ctid = any (array(
    select candidate.ctid
    from private.idempotency_keys as candidate
    -- They replay for 24 hours; an hour more for requests on their way.
    where candidate.created_at < clock_timestamp() - interval '25 hours'
    order by candidate.created_at
    limit most
    for update skip locked
  ));
  get diagnostics removed = row_count;
  return removed;
end
$$;
comment on function private.sweep_idempotency_keys(integer) is 'Removes kept answers that are replayed no longer.';

create function private.sweep_drafts(most integer default 1000, older_than interval default interval '30 days')
returns integer
language plpgsql
security definer
set search_path = ''
as $$
declare
  removed integer;
begin
  delete from private.session_note_versions as draft
  where (draft.organization_id, draft.id) in (
    select candidate.organization_id, candidate.id
    from private.session_note_versions as candidate
    join public.session_note_states as state
      on state.organization_id = candidate.organization_id and state.session_id = candidate.session_id
    where candidate.status = 'draft'
      and state.status <> 'draft'
      -- The trigger on the versions asks for no less.
      and state.signed_at < clock_timestamp() - greatest(older_than, interval '30 days')
    limit most
    for update of candidate skip locked
  );
  get diagnostics removed = row_count;
  return removed;
end
$$;
comment on function private.sweep_drafts(integer, interval) is
  'Removes the drafts of notes that were signed long ago, 30 days at least. The audit keeps their ciphertext.';

create function private.sweep()
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
begin
  return jsonb_build_object(
    'expiredHolds', private.sweep_expired_holds(),
    'idempotencyKeys', private.sweep_idempotency_keys(),
    'drafts', private.sweep_drafts(),
    'partitions', audit.ensure_partitions()
  );
end
$$;
comment on function private.sweep() is
  'Everything that wants doing now and then, a limited amount of each: call it again until it returns zeros.';
