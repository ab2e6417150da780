-- Purpose: lets a hold go.
-- Objects: release_hold; stop_moves.
-- Watch for: a move is let go whole, since its places depend on each other.

create function private.release_hold(actor private.actor, request jsonb, idempotency_key text default null)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  wanted private.release_request := private.read_request(request, null::private.release_request, '{hold_key}');
  fingerprint constant bytea := private.fingerprint(jsonb_build_object('holdKey', wanted.hold_key));
  batch public.hold_batches;
  holds public.session_holds[];
  outcome jsonb;
  as_of timestamptz;
  released public.session_holds[];
  body jsonb := '{"released": false}';
begin
  if actor.role = 'client' then
    -- They hold nothing, and nobody waits for their asking.
    return private.success(body);
  end if;
  perform private.share_organization(actor.organization_id);
  outcome := private.find_replay(actor.organization_id, actor.user_id, 'sessions-cancel', idempotency_key, fingerprint);
  if outcome is not null then
    return outcome;
  end if;
  batch := private.find_batch(actor, wanted.hold_key);
  if batch.id is not null then
    holds := (private.holds_of_key(batch, wanted.hold_key, clock_timestamp())).holds;
    -- Claims go only under their resources' locks: a claimant between check and insert must not lose its footing. Moved
    -- sessions have clients of the batch, so that whoever changes them meets this here.
    perform private.lock_resources(
      batch.organization_id,
      array[batch.therapist_id, batch.room_id] || array(select each.client_id from unnest(holds) as each)
    );
    perform private.require_same_role(actor);
    as_of := clock_timestamp();
    perform private.expire_batches(batch.organization_id, array[batch.id], as_of);
    with gone as (
      update public.session_holds as each
      set status = 'released', settled_at = as_of, settled_xid = pg_current_xact_id()
      from public.hold_batches as known
      where each.organization_id = batch.organization_id
        and each.id = any (array(select named.id from unnest(holds) as named))
        and each.status = 'held'
        and known.organization_id = batch.organization_id and known.id = batch.id and known.expires_at > as_of
      returning each.*
    )
    select array_agg(row(gone.*)::public.session_holds order by gone.occurrence_index, gone.client_id) into released
    from gone;
  end if;

  if released is not null then
    if not private.sync_claims(batch.organization_id, batch.id || array(
      select unnest(array_remove(array[each.id, each.group_id], null)) from unnest(released) as each
    ), as_of) then
      perform private.raise_busy();
    end if;
    perform private.give_back_units(batch.organization_id, array(select each.id from unnest(released) as each));
    if batch.created_by = batch.therapist_id then
      perform private.reopen_waitlist_entry(batch.organization_id, batch.id);
    end if;
    perform private.record_event(
      actor.organization_id, 'hold.released', 'hold', array(select each.id from unnest(released) as each), as_of,
      therapist_id => batch.therapist_id,
      actor_role => actor.role::text,
      before => '{"status": "held"}', after => '{"status": "released"}',
      details => jsonb_build_object('batchId', batch.id)
    );
    body := jsonb_build_object('released', true, 'hold', private.released_answer(batch, released, wanted.hold_key));
  end if;
  return private.kept(actor, 'sessions-cancel', idempotency_key, fingerprint, private.success(body));
end
$$;
comment on function private.release_hold(private.actor, jsonb, text) is
  'Lets a hold or a whole batch go: released is true the first time, then false; false too for a key that is unknown, '
  'foreign, expired or confirmed. Returns an outcome; raises PT400, PT401, PT403, PT503.';

create function private.stop_moves(organization_id uuid, session_ids uuid[], as_of timestamptz, actor_role text default null)
returns void
language plpgsql
set search_path = ''
as $$
declare
  batch_ids constant uuid[] := array(
    select distinct hold.batch_id
    from unnest(session_ids) as named (id)
    cross join lateral (
      select known.batch_id from public.session_holds as known
      where known.organization_id = stop_moves.organization_id and known.session_id = named.id and known.status = 'held'
      offset 0
    ) as hold
  );
  stopped record;
begin
  if batch_ids = '{}' then
    return;
  end if;
  perform private.expire_batches(organization_id, batch_ids, as_of);
  for stopped in
    with batch as (
      update public.hold_batches as known
      set stopped = true
      where known.organization_id = stop_moves.organization_id and known.id = any (batch_ids) and known.expires_at > as_of
      returning known.id, known.therapist_id
    ),
    gone as (
      update public.session_holds as hold
      set status = 'released', settled_at = as_of, settled_xid = pg_current_xact_id()
      from batch
      where hold.organization_id = stop_moves.organization_id and hold.batch_id = batch.id and hold.status = 'held'
      returning hold.id, hold.batch_id, batch.therapist_id
    )
    select gone.batch_id, gone.therapist_id, array_agg(gone.id order by gone.id) as hold_ids
    from gone
    group by gone.batch_id, gone.therapist_id
    order by gone.batch_id
  loop
    perform private.give_back_units(organization_id, stopped.hold_ids);
    perform private.record_event(
      organization_id, 'hold.released', 'hold', stopped.hold_ids, as_of,
      therapist_id => stopped.therapist_id,
      actor_role => actor_role,
      before => '{"status": "held"}', after => '{"status": "released"}',
      details => jsonb_build_object('batchId', stopped.batch_id, 'because', 'SESSION_NOT_MOVABLE')
    );
  end loop;
  if not private.sync_claims(organization_id, batch_ids, as_of) then
    perform private.raise_busy();
  end if;
end
$$;
comment on function private.stop_moves(uuid, uuid[], timestamptz, text) is
  'Lets the live moves of sessions go that are not scheduled any more: a move settles whole, so it can never confirm, and '
  'its new places, its units and its other sessions are free at once. Call it with private.lock_targets of the sessions '
  'locked, or alone in the organization.';

create function private.released_answer(batch public.hold_batches, released public.session_holds[], hold_key uuid)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return jsonb_build_object(
    'holdKey', hold_key,
    'holdId', case when batch.hold_key = hold_key then batch.id else released[1].id end,
    'therapistId', batch.therapist_id,
    'clientId', released[1].client_id,
    'startTime', private.iso(released[1].start_time),
    'endTime', private.iso(released[1].end_time),
    'expiresAt', private.iso(batch.expires_at),
    'holds', (
      select jsonb_agg(
        jsonb_build_object(
          'holdKey', one.hold_key, 'holdId', one.id, 'startTime', private.iso(one.start_time),
          'endTime', private.iso(one.end_time)
        )
        order by one.occurrence_index
      )
      from (
        select distinct on (each.occurrence_index) each.* from unnest(released) as each
        order by each.occurrence_index, each.client_id
      ) as one
    )
  );
end
$$;
comment on function private.released_answer(public.hold_batches, public.session_holds[], uuid) is
  'The hold that was let go: key, id, therapist, client, first window, expiry, and each occurrence.';
