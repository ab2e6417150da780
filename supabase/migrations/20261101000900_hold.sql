-- Purpose: sessions-hold. Claims a slot, or a whole series, for a few minutes; or new places for existing sessions.
-- Objects: private.may_book, private.hold_sessions, public.hold_sessions.
-- Watch for: the lock order of every path (idempotency key; sessions by id; resources ascending; holds; claims), and
--            that expiry is judged once, after locking, by clock_timestamp().

create function private.may_book(actor private.actor, therapist_id uuid, client_id uuid)
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
      actor.role in ('admin', 'super_admin')
      or (
        actor.role = 'therapist'
        and may_book.therapist_id = actor.user_id
        and exists (
          select 1
          from public.caseloads as caseload
          where caseload.organization_id = actor.organization_id
            and caseload.therapist_id = actor.user_id
            and caseload.client_id = may_book.client_id
        )
      )
    )
    and exists (
      select 1
      from public.therapists as therapist
      where therapist.organization_id = actor.organization_id
        and therapist.id = may_book.therapist_id
        and therapist.deleted_at is null
    )
    and exists (
      select 1
      from public.clients as client
      where client.organization_id = actor.organization_id
        and client.id = may_book.client_id
        and client.deleted_at is null
    );
end
$$;
comment on function private.may_book(private.actor, uuid, uuid) is
  'Therapists book their own time for their caseload, admins anybody in the organization; nobody books the archived.';

create function private.claim_for_hold(
  organization_id uuid,
  claims private.wanted_claim[],
  held_until timestamptz,
  as_of timestamptz,
  out complete boolean,
  out stale_batch_ids uuid[]
)
language plpgsql
set search_path = ''
as $$
#variable_conflict use_column
declare
  missing bigint := cardinality(claims);
  inserted bigint;
  removed_owner_ids uuid[];
begin
  for attempt in 1..2 loop
    -- The constraint decides. "on conflict do nothing" neither raises nor stalls; what is missing tells.
    insert into private.claims (
      organization_id, owner_id, resource_kind, resource_id, during, lanes, group_key, expires_at
    )
    select claim_for_hold.organization_id, wanted.owner_id, wanted.resource_kind, wanted.resource_id, wanted.during,
      wanted.lanes, wanted.group_key, claim_for_hold.held_until
    from unnest(claim_for_hold.claims) as wanted
    on conflict do nothing;
    get diagnostics inserted = row_count;
    missing := missing - inserted;
    exit when missing = 0 or attempt = 2;

    -- Something is in the way. What has expired goes, now that its resource is locked; the rest is a conflict.
    with removed as (
      delete from private.claims as stale
      using unnest(claim_for_hold.claims) as wanted
      where stale.organization_id = claim_for_hold.organization_id
        and stale.resource_id = wanted.resource_id
        and stale.resource_kind = wanted.resource_kind
        and stale.during && wanted.during
        and stale.expires_at <= claim_for_hold.as_of
      returning stale.owner_id
    )
    select array_agg(distinct removed.owner_id) into removed_owner_ids from removed;
    exit when removed_owner_ids is null;

    select array_agg(distinct hold.batch_id) into stale_batch_ids
    from public.session_holds as hold
    where hold.organization_id = claim_for_hold.organization_id and hold.id = any (removed_owner_ids);
  end loop;
  complete := missing = 0;
end
$$;
comment on function private.claim_for_hold(uuid, private.wanted_claim[], timestamptz, timestamptz) is
  'Tries to claim everything wanted, removing expired claims in the way once. complete is false when something live '
  'remains; stale_batch_ids are the batches whose expiry was met on the way. The resources must be locked.';

create function private.hold_sessions(request jsonb, idempotency_key text, request_id text)
returns jsonb
language plpgsql
security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '5s'
as $$
#variable_conflict use_column
declare
  actor private.actor;
  wanted private.booking_request;
  fingerprint bytea;
  outcome jsonb;
  body jsonb;
  issues jsonb;
  moving boolean;
  moved record;
  resource_ids uuid[];
  open boolean;
  as_of timestamptz;
  held_until timestamptz;
  new_batch_id uuid := gen_random_uuid();
  new_batch_key uuid := gen_random_uuid();
  hold_ids uuid[];
  hold_keys uuid[];
  claims private.wanted_claim[];
  claimed record;
  stale_batch_ids uuid[];
  conflicts jsonb;
  refused_code text;
  refused_detail text;
  retry_after timestamptz;
  other_times_help boolean := false;
begin
  perform set_config('therapist_sessions.request_id', coalesce(left(request_id, 128), ''), true);
  actor := private.require_actor();
  wanted := private.parse_booking_request(request);
  moving := wanted.session_ids is not null;
  resource_ids := array[wanted.therapist_id, wanted.client_id, wanted.room_id];
  fingerprint := private.fingerprint(to_jsonb(wanted));

  outcome := private.find_replay(actor.organization_id, actor.user_id, 'sessions-hold', idempotency_key, fingerprint);
  if outcome is not null then
    return outcome;
  end if;

  issues := private.window_issues(wanted, clock_timestamp());
  if wanted.group_id is not null then
    issues := coalesce(issues, '[]') || private.issue('group_id', 'names no group of this organization');
  end if;
  if issues is not null then
    perform private.raise_invalid(issues);
  end if;

  -- A refusal leaves this block by TS000: that undoes what it wrote and frees its locks, before the audit event and
  -- the search for other times, so that nobody waits for those.
  begin
    if not private.may_book(actor, wanted.therapist_id, wanted.client_id)
      or (wanted.override_reason is not null and actor.role not in ('admin', 'super_admin'))
      or (wanted.room_id is not null and not exists (
        select 1
        from public.rooms as room
        where room.organization_id = actor.organization_id and room.id = wanted.room_id and room.deleted_at is null
      ))
    then
      refused_code := 'FORBIDDEN';
      refused_detail := 'You may not book this therapist, client or room, or you may not override.';
      raise sqlstate 'TS000';
    end if;

    if moving then
      -- A second move, a cancellation or a start of the same session would act on a state this one is changing.
      perform 1
      from public.sessions as session
      where session.organization_id = actor.organization_id and session.id = any (wanted.session_ids)
      order by session.id
      for no key update;

      select
        count(*) as count,
        bool_and(session.client_id = wanted.client_id) as all_of_client,
        bool_and(actor.role <> 'therapist' or session.therapist_id = actor.user_id) as all_in_scope,
        bool_and(session.status = 'scheduled' and session.group_id is null) as all_movable,
        array_agg(session.therapist_id) || array_agg(session.room_id) as resource_ids
      into moved
      from public.sessions as session
      where session.organization_id = actor.organization_id and session.id = any (wanted.session_ids);

      if moved.count < cardinality(wanted.session_ids) or not moved.all_in_scope then
        refused_code := 'FORBIDDEN';
        refused_detail := 'A session to be moved does not exist or is not yours.';
        raise sqlstate 'TS000';
      elsif not moved.all_of_client then
        refused_code := 'CLIENT_MISMATCH';
        refused_detail := 'A session to be moved belongs to another client.';
        raise sqlstate 'TS000';
      elsif not moved.all_movable then
        refused_code := 'SESSION_NOT_MOVABLE';
        refused_detail := 'Only scheduled sessions can be moved, and groups only as a whole. Reload and try again.';
        raise sqlstate 'TS000';
      end if;
      resource_ids := resource_ids || moved.resource_ids;
    end if;

    -- Rivals for any of these people, whatever their windows, queue here instead of deadlocking on each other.
    perform private.lock_resources(actor.organization_id, resource_ids);
    as_of := clock_timestamp();
    held_until := date_trunc('milliseconds', as_of) + make_interval(secs => wanted.hold_seconds);

    open := private.is_open(actor.organization_id, wanted);
    if not open and wanted.override_reason is null then
      refused_code := 'OUTSIDE_AVAILABILITY';
      refused_detail := 'The therapist does not work then. Choose an alternative, or have an admin override.';
      other_times_help := true;
      raise sqlstate 'TS000';
    end if;

    if moving then
      select
        max(batch.expires_at) filter (where batch.expires_at > as_of),
        array_agg(distinct batch.id) filter (where batch.expires_at <= as_of)
      into retry_after, stale_batch_ids
      from public.session_holds as hold
      join public.hold_batches as batch on batch.organization_id = hold.organization_id and batch.id = hold.batch_id
      where hold.organization_id = actor.organization_id
        and hold.session_id = any (wanted.session_ids)
        and hold.status = 'held';
      if retry_after is not null then
        refused_code := 'SESSION_BEING_MOVED';
        refused_detail := 'Somebody is moving this session right now. Try again when their hold has ended.';
        raise sqlstate 'TS000';
      end if;
      if stale_batch_ids is not null then
        -- An abandoned move's claims share a key with the sessions' own: they go before that key changes.
        delete from private.claims as stale
        using public.session_holds as hold
        where hold.organization_id = actor.organization_id
          and hold.batch_id = any (stale_batch_ids)
          and stale.organization_id = hold.organization_id
          and stale.owner_id = hold.id
          and stale.expires_at <= as_of
          and stale.resource_id = any (resource_ids);
        perform private.expire_batches(actor.organization_id, stale_batch_ids, as_of);
      end if;
      -- What moves together does not block itself, even onto a place that a sibling leaves.
      update private.claims as claim
      set group_key = new_batch_id
      where claim.organization_id = actor.organization_id and claim.owner_id = any (wanted.session_ids);
    end if;

    hold_ids := array(select gen_random_uuid() from generate_series(1, cardinality(wanted.start_times)));
    hold_keys := array(select gen_random_uuid() from generate_series(1, cardinality(wanted.start_times)));
    claims := private.wanted_claims(wanted, hold_ids, case when moving then new_batch_id end);
    select * into claimed from private.claim_for_hold(actor.organization_id, claims, held_until, as_of);
    stale_batch_ids := claimed.stale_batch_ids;
    if not claimed.complete then
      conflicts := private.find_conflicts(actor.organization_id, claims, wanted.session_ids, as_of);
      refused_code := private.conflict_code(conflicts);
      other_times_help := true;
      raise sqlstate 'TS000';
    end if;
    if stale_batch_ids is not null then
      perform private.expire_batches(actor.organization_id, stale_batch_ids, as_of);
    end if;

    insert into public.hold_batches (
      organization_id, id, hold_key, therapist_id, client_id, room_id, group_id, session_type, cpt_code, time_zone,
      buffer_before_minutes, buffer_after_minutes, recurrence_rule, override_reason, is_move, expires_at,
      created_by, created_at
    )
    values (
      actor.organization_id, new_batch_id, new_batch_key, wanted.therapist_id, wanted.client_id, wanted.room_id,
      wanted.group_id, wanted.session_type, wanted.cpt_code, wanted.time_zone,
      wanted.buffer_before_minutes, wanted.buffer_after_minutes, wanted.recurrence_rule, wanted.override_reason,
      moving, held_until, actor.user_id, as_of
    );
    insert into public.session_holds (
      organization_id, id, batch_id, occurrence_index, hold_key, start_time, end_time, time_zone, session_id
    )
    select actor.organization_id, occurrence.hold_id, new_batch_id, occurrence.position - 1, occurrence.hold_key,
      occurrence.start_time, occurrence.end_time, occurrence.time_zone, occurrence.session_id
    from unnest(hold_ids, hold_keys, wanted.start_times, wanted.end_times, wanted.time_zones, wanted.session_ids)
      with ordinality as occurrence (hold_id, hold_key, start_time, end_time, time_zone, session_id, position);

    perform private.record_event(
      actor.organization_id, 'hold.acquired', 'hold', hold_ids, as_of,
      actor_role => actor.role::text,
      after => private.hold_facts(wanted) || jsonb_build_object('expiresAt', private.iso(held_until)),
      details => jsonb_build_object('batchId', new_batch_id)
    );
    if not open then
      perform private.record_event(
        actor.organization_id, 'override.availability', 'hold', hold_ids, as_of,
        actor_role => actor.role::text,
        details => jsonb_build_object('batchId', new_batch_id, 'reason', wanted.override_reason)
      );
    end if;

    body := jsonb_build_object(
      'holdKey', new_batch_key,
      'holdId', new_batch_id,
      'expiresAt', private.iso(held_until),
      'holds', (
        select jsonb_agg(
          jsonb_build_object(
            'holdKey', occurrence.hold_key,
            'holdId', occurrence.hold_id,
            'startTime', private.iso(occurrence.start_time),
            'endTime', private.iso(occurrence.end_time),
            'expiresAt', private.iso(held_until)
          )
          order by occurrence.position
        )
        from unnest(hold_ids, hold_keys, wanted.start_times, wanted.end_times)
          with ordinality as occurrence (hold_id, hold_key, start_time, end_time, position)
      )
    );
    perform private.keep_answer(
      actor.organization_id, actor.user_id, 'sessions-hold', idempotency_key, fingerprint, body, new_batch_id
    );
    return private.success(body);
  exception
    when sqlstate 'TS000' then null;
    when lock_not_available or deadlock_detected or serialization_failure or query_canceled then
      perform private.raise_busy();
  end;

  as_of := clock_timestamp();
  if stale_batch_ids is not null then
    perform private.expire_batches(actor.organization_id, stale_batch_ids, as_of);
  end if;
  if conflicts is not null and not conflicts @> '[{"blockedBy": "session"}]' then
    select max((conflict.value ->> 'expiresAt')::timestamptz) into retry_after
    from jsonb_array_elements(conflicts) as conflict (value);
  end if;
  perform private.record_event(
    actor.organization_id, 'hold.refused', 'hold', coalesce(wanted.session_ids, '{}'), as_of,
    actor_role => actor.role::text,
    outcome => 'refused',
    code => refused_code,
    details => private.hold_facts(wanted) || jsonb_build_object('conflicts', coalesce(conflicts, '[]'))
  );
  return private.refusal(
    case when refused_code = 'FORBIDDEN' then 403 else 409 end,
    refused_code,
    coalesce(refused_detail, private.conflict_detail(refused_code)),
    retry_after,
    coalesce(conflicts, '[]'),
    case when other_times_help then private.find_alternatives(actor.organization_id, wanted, as_of) else '[]' end
  );
end
$$;
comment on function private.hold_sessions(jsonb, text, text) is
  'Holds every occurrence of the request, or none. Returns an outcome; see docs/codes.md for its codes. Raises PT400 '
  'for malformed input, PT401 and PT403 for the caller, PT503 when the database is busy.';
grant execute on function private.hold_sessions(jsonb, text, text) to authenticated;

create function public.hold_sessions(request jsonb, idempotency_key text default null, request_id text default null)
returns jsonb
language sql
volatile
set search_path = ''
begin atomic
  select private.hold_sessions(hold_sessions.request, hold_sessions.idempotency_key, hold_sessions.request_id);
end;
comment on function public.hold_sessions(jsonb, text, text) is
  'Claims a slot or a series for a few minutes. request is the body of sessions-hold with recurrence expanded.';
grant execute on function public.hold_sessions(jsonb, text, text) to authenticated;
