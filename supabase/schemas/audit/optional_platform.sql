-- Purpose: what the platform offers beyond Postgres, used where it is present and needed nowhere.
-- Objects: private.sweep_expired_holds; a Realtime publication of sessions; pg_cron schedules.
-- Watch for: correctness never waits for any of it. Expired holds block nobody whether or not the sweeper runs.

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

do $$
begin
  -- Sessions carry no PHI; row security decides who receives which change.
  if exists (select 1 from pg_catalog.pg_publication where pubname = 'supabase_realtime')
    and not exists (
      select 1
      from pg_catalog.pg_publication_tables
      where pubname = 'supabase_realtime' and schemaname = 'public' and tablename = 'sessions'
    )
  then
    alter publication supabase_realtime add table public.sessions;
  end if;

  if exists (select 1 from pg_catalog.pg_extension where extname = 'pg_cron') then
    perform cron.schedule('sweep-expired-holds', '* * * * *', 'select private.sweep_expired_holds()');
    perform cron.schedule('audit-partitions', '15 3 1 * *', 'select audit.ensure_partitions()');
  end if;
end
$$;
