-- Purpose: what has served its time goes, so that nothing grows without end.
-- Objects: private.sweep_idempotency_keys, private.sweep_drafts, private.sweep. Expired holds: booking/sweep.sql; what
--          calendar feeds have told: calendar_feed/calendar_feeds.sql.
-- Watch for: correctness never waits for any of it: expired holds block nobody, lapsed keys replay nothing. private.sweep does
--            all of it, a little at a time: by pg_cron where that is there, else by `npm run sweep` from any scheduler.

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
language sql
security definer
set search_path = ''
return jsonb_build_object(
  'expiredHolds', private.sweep_expired_holds(),
  'idempotencyKeys', private.sweep_idempotency_keys(),
  'offers', private.offer_all_freed_slots(),
  'drafts', private.sweep_drafts(),
  'calendarEvents', private.sweep_calendar_events(),
  'partitions', audit.ensure_partitions()
);
comment on function private.sweep() is
  'Everything that wants doing now and then, a limited amount of each: call it again until it returns zeros.';
