-- Purpose: sessions-hold. Claims a slot, or a whole series, for a few minutes; or new places for existing sessions.
-- Objects: private.take_claims, private.hold_sessions, public.hold_sessions.
-- Watch for: the lock order of every path (idempotency key; sessions by id; resources ascending; holds; claims); that
--            expiry is judged once, after locking, by clock_timestamp(); and that a refusal gives up the claims that were
--            tried, the one thing written before it, so that a refused request leaves nothing but its audit event.
--            The booking functions keep their plans for a connection's life, by index and loop only: a sequential scan,
--            or a join that reads a whole table, chosen while that was small would go on as it grows.

create function private.refuse_hold(
  actor private.actor,
  wanted private.booking_request,
  code text,
  detail text,
  retry_after timestamptz default null,
  conflicts jsonb default null,
  locked_therapist_id uuid default null
)
returns jsonb
language plpgsql
set search_path = ''
as $$
begin
  perform private.record_event(
    actor.organization_id, 'hold.refused', 'hold', coalesce(wanted.session_ids, '{}'), clock_timestamp(),
    therapist_id => locked_therapist_id,
    actor_role => actor.role::text,
    outcome => 'refused',
    code => code,
    details => jsonb_build_object('request', private.hold_facts(wanted), 'conflicts', conflicts)
  );
  return private.refusal(
    case code when 'FORBIDDEN' then 403 else 409 end, code, detail, retry_after, coalesce(conflicts, '[]')
  );
end
$$;
comment on function private.refuse_hold(private.actor, private.booking_request, text, text, timestamptz, jsonb, uuid) is
  'The outcome of a refused hold, and its audit event.';

create function private.held_answer(
  wanted private.booking_request,
  hold_ids uuid[],
  hold_keys uuid[],
  held_until timestamptz
)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  -- A single hold needs no query.
  if cardinality(hold_ids) = 1 and wanted.slot_groups is null then
    return jsonb_build_array(jsonb_build_object(
      'holdKey', hold_keys[1],
      'holdId', hold_ids[1],
      'startTime', private.iso(wanted.start_times[1]),
      'endTime', private.iso(wanted.end_times[1]),
      'expiresAt', private.iso(held_until)
    ));
  end if;
  return (
    select jsonb_agg(
      jsonb_build_object(
        'holdKey', held.hold_key,
        'holdId', held.hold_id,
        -- As private.iso, without a call for each.
        'startTime', to_char(held.start_time at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
        'endTime', to_char(held.end_time at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
        'expiresAt', until
      ) || case
        when held.group_id is not null
          then jsonb_build_object('clientId', coalesce(held.client_id, wanted.client_id), 'groupId', held.group_id)
        else '{}'::jsonb
      end
      order by held.position
    )
    from unnest(hold_ids, hold_keys, wanted.start_times, wanted.end_times, wanted.slot_clients, wanted.slot_groups)
      with ordinality as held (hold_id, hold_key, start_time, end_time, client_id, group_id, position)
    cross join (select private.iso(held_until) as until) as batch
    -- Where a group moves, the hold of the member that was named stands for all.
    where not (wanted.session_ids is not null and held.client_id is not null)
  );
end
$$;
comment on function private.held_answer(private.booking_request, uuid[], uuid[], timestamptz) is
  'The holds[] of an answer, in request order.';

create function private.take_claims(
  organization_id uuid,
  claims private.wanted_claim[],
  expires_at timestamptz
)
returns bigint
language plpgsql
set search_path = ''
as $$
#variable_conflict use_column
declare
  taken bigint;
begin
  -- The constraint decides, whatever was seen before: "on conflict do nothing" neither raises nor stalls.
  insert into private.claims (
    organization_id, owner_id, resource_kind, resource_id, during, lanes, group_key, expires_at
  )
  select take_claims.organization_id, wanted_claim.owner_id, wanted_claim.resource_kind, wanted_claim.resource_id,
    wanted_claim.during, wanted_claim.lanes, wanted_claim.group_key, take_claims.expires_at
  from unnest(claims) as wanted_claim
  on conflict do nothing;
  get diagnostics taken = row_count;
  return taken;
end
$$;
comment on function private.take_claims(uuid, private.wanted_claim[], timestamptz) is
  'Takes what of these claims is free, behind the locks of their resources. Returns how many.';

create function private.give_up_claims(organization_id uuid, owner_ids uuid[])
returns void
language plpgsql
set search_path = ''
as $$
begin
  delete from private.claims as claim
  where claim.organization_id = give_up_claims.organization_id and claim.owner_id = any (owner_ids);
end
$$;
comment on function private.give_up_claims(uuid, uuid[]) is 'Undoes private.take_claims, for a request that is refused.';

create function private.hold_sessions(request jsonb, idempotency_key text, request_id text)
returns jsonb
language plpgsql
security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '5s'
set plan_cache_mode = 'force_generic_plan'
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
  booker record;
  allowed boolean;
  asked_code text;
  actor private.actor;
  wanted private.booking_request;
  fingerprint bytea;
  outcome jsonb;
  body jsonb;
  moving boolean;
  moved record;
  resource_ids uuid[];
  open boolean;
  as_of timestamptz := clock_timestamp();
  held_until timestamptz;
  new_batch_id uuid := gen_random_uuid();
  batch_key uuid := gen_random_uuid();
  -- Told to nobody: a row made with a key that is known would share the lane of this move.
  move_key uuid := gen_random_uuid();
  hold_ids uuid[];
  hold_keys uuid[];
  client_ids uuid[];
  member_ids uuid[];
  own_ids uuid[];
  claims private.wanted_claim[];
  services private.service[];
  demands private.unit_demand[];
  short boolean := false;
  overridden_lanes int4multirange;
  warnings jsonb;
  found record;
  stale_owner_ids uuid[];
  stale_batch_ids uuid[];
  own_claims private.claims[];
  taken bigint := 0;
begin
  perform set_config('therapist_sessions.request_id', left(request_id, 128), true);
  if auth.uid() is null then
    perform private.require_actor();
  end if;
  wanted := private.parse_booking_request(request);
  booker := private.require_booker(wanted.therapist_id, wanted.client_id);
  actor := booker.actor;
  moving := wanted.session_ids is not null;

  if idempotency_key is not null then
    fingerprint := private.fingerprint(to_jsonb(wanted));
    outcome := private.find_replay(actor.organization_id, actor.user_id, 'sessions-hold', idempotency_key, fingerprint);
    if outcome is not null then
      return outcome;
    end if;
    as_of := clock_timestamp();
  end if;
  perform private.require_bookable_window(wanted, as_of);

  allowed := booker.may_book;
  if wanted.client_ids is not null then
    allowed := allowed and not exists (
      select 1
      from unnest(wanted.client_ids) as member (client_id)
      where not private.may_book(actor, wanted.therapist_id, member.client_id)
    );
  end if;
  if wanted.room_id is not null then
    allowed := allowed and exists (
      select 1
      from public.rooms as room
      where room.organization_id = actor.organization_id and room.id = wanted.room_id and room.deleted_at is null
    );
  end if;
  if wanted.override_reason is not null then
    allowed := allowed and actor.role in ('admin', 'super_admin');
  end if;
  if not allowed then
    return private.refuse_hold(
      actor, wanted, 'FORBIDDEN', 'You may not book this therapist, client or room, or you may not override.'
    );
  end if;

  if wanted.cpt_code is not null or wanted.session_type is not null then
    asked_code := private.service_code(wanted.cpt_code, wanted.session_type);
  end if;
  if asked_code is not null and not private.may_render(actor.organization_id, wanted.therapist_id, asked_code) then
    return private.refuse_hold(
      actor, wanted, 'FORBIDDEN', 'A technician may not render this service: it is a qualified professional''s.'
    );
  end if;

  if wanted.client_ids is not null then
    if exists (
      select 1
      from public.service_codes as service
      where service.code = asked_code
        and cardinality(wanted.client_ids) not between service.min_clients and service.max_clients
    ) then
      perform private.raise_invalid(private.issue('client_ids', 'are more clients than this service may have'));
    end if;
    wanted := private.with_members(wanted);
  elsif wanted.group_id is not null then
    wanted := private.with_members(wanted);
    perform private.lock_group(actor.organization_id, wanted.group_id);
  end if;
  client_ids := coalesce(wanted.client_ids, array[wanted.client_id]);
  resource_ids := client_ids || array[wanted.therapist_id, wanted.room_id];
  if moving then
    -- A second move, a cancellation or a start of the same session would act on a state this one is changing.
    perform 1
    from public.sessions as session
    where session.organization_id = actor.organization_id
      and session.id = any (wanted.session_ids || array(
        select mate.id
        from public.sessions as named
        join public.sessions as mate
          on mate.organization_id = named.organization_id and mate.group_id = named.group_id
        where named.organization_id = actor.organization_id and named.id = any (wanted.session_ids)
      ))
    order by session.id
    for no key update;

    select
      count(*) as count,
      bool_and(session.client_id = wanted.client_id) as all_of_client,
      bool_and(actor.role <> 'therapist' or session.therapist_id = actor.user_id) as all_in_scope
    into moved
    from public.sessions as session
    where session.organization_id = actor.organization_id and session.id = any (wanted.session_ids);
    if moved.count < cardinality(wanted.session_ids) or not moved.all_in_scope then
      return private.refuse_hold(
        actor, wanted, 'FORBIDDEN', 'A session to be moved does not exist or is not yours.'
      );
    elsif not moved.all_of_client then
      return private.refuse_hold(actor, wanted, 'CLIENT_MISMATCH', 'A session to be moved belongs to another client.');
    end if;

    wanted := private.with_moved(actor.organization_id, wanted);
    client_ids := coalesce(wanted.client_ids, client_ids);
    select
      bool_and(session.status = 'scheduled') as all_movable,
      bool_and(session.client_id = wanted.client_id or private.may_book(actor, wanted.therapist_id, session.client_id))
        as all_bookable,
      bool_and(private.may_render(
        actor.organization_id, wanted.therapist_id,
        private.service_code(coalesce(wanted.cpt_code, session.cpt_code), coalesce(wanted.session_type, session.session_type))
      )) as all_renderable,
      array_agg(session.therapist_id) || array_agg(session.room_id) as resource_ids
    into moved
    from public.sessions as session
    where session.organization_id = actor.organization_id and session.id = any (wanted.session_ids);
    if not moved.all_movable then
      return private.refuse_hold(
        actor, wanted, 'SESSION_NOT_MOVABLE', 'Only scheduled sessions can be moved. Reload them and try again.'
      );
    end if;
    if not moved.all_bookable then
      return private.refuse_hold(
        actor, wanted, 'FORBIDDEN', 'A group moves whole, and you may not book every client of this one.'
      );
    elsif not moved.all_renderable then
      return private.refuse_hold(
        actor, wanted, 'FORBIDDEN', 'A technician may not render this service: it is a qualified professional''s.'
      );
    elsif wanted.slot_indexes is not null and asked_code is not null and exists (
      select 1
      from public.service_codes as service
      where service.code = asked_code
        and service.max_clients < any (
          select count(*) from unnest(wanted.slot_indexes) as slot (index) group by slot.index
        )
    ) then
      perform private.raise_invalid(private.issue('cpt_code', 'is for fewer clients than the group has'));
    end if;
    resource_ids := resource_ids || client_ids || wanted.room_id || moved.resource_ids;
  end if;

  if cardinality(wanted.start_times) = 1 then
    hold_ids := array[gen_random_uuid()];
    hold_keys := array[gen_random_uuid()];
  else
    select array_agg(gen_random_uuid()), array_agg(gen_random_uuid()) into hold_ids, hold_keys
    from unnest(wanted.start_times);
  end if;
  if booker.has_payer then
    -- A first look, so that a new connection makes its plans here, and not behind the lock where every rival would wait
    -- for it. Nothing is decided: all of it is read again below.
    perform private.client_lanes(
      actor.organization_id, wanted.client_id, asked_code,
      wanted.start_times[1], wanted.end_times[1]
    );
    services := private.wanted_services(actor.organization_id, wanted, hold_ids);
    demands := private.ask_units(actor.organization_id, services, as_of);
    perform private.unit_warnings(actor.organization_id, demands, as_of),
      private.daily_limit_warnings(actor.organization_id, services);
    services := null;
    demands := null;
  end if;

  -- Rivals for any of these people, whatever their windows, queue here instead of deadlocking on each other.
  perform private.lock_resources(actor.organization_id, resource_ids);
  as_of := clock_timestamp();

  if moving then
    select
      max(batch.expires_at) filter (where batch.expires_at > as_of) as until,
      array_agg(distinct batch.id) filter (where batch.expires_at <= as_of) as stale_batch_ids
    into found
    from public.session_holds as hold
    join public.hold_batches as batch on batch.organization_id = hold.organization_id and batch.id = hold.batch_id
    where hold.organization_id = actor.organization_id
      and hold.session_id = any (wanted.session_ids)
      and hold.status = 'held';
    if found.until is not null then
      return private.refuse_hold(
        actor, wanted, 'SESSION_BEING_MOVED', 'Somebody is moving this session. Try again when their hold has ended.',
        found.until, locked_therapist_id => wanted.therapist_id
      );
    end if;
    stale_batch_ids := found.stale_batch_ids;
    if wanted.slot_groups is not null then
      if exists (
        select 1
        from public.sessions as member
        where member.organization_id = actor.organization_id
          and member.group_id = any (wanted.slot_groups)
          and member.status not in ('cancelled', 'no_show')
          and member.id <> all (wanted.session_ids)
      ) then
        -- Somebody joined while this waited, and she is not locked.
        perform private.raise_busy();
      end if;
      held_until := private.group_joining_ends(actor.organization_id, wanted.slot_groups, as_of);
      if held_until is not null then
        return private.refuse_hold(
          actor, wanted, 'THERAPIST_HOLD_CONFLICT', 'A place in this group is being booked. Retry at retryAfter.',
          held_until, locked_therapist_id => wanted.therapist_id
        );
      end if;
    end if;
  end if;

  if wanted.group_id is not null then
    -- Behind the therapist's lock: two clients who each see one place left would both take it.
    select array_agg(member.id) into member_ids
    from public.sessions as member
    where member.organization_id = actor.organization_id
      and member.group_id = wanted.group_id
      and member.therapist_id = wanted.therapist_id
      and member.start_time = wanted.start_times[1]
      and member.end_time = wanted.end_times[1]
      and member.status not in ('cancelled', 'no_show');
    if member_ids is null then
      perform private.raise_invalid(private.issue('group_id', 'names no group of this therapist at this time'));
    end if;
    held_until := private.group_move_ends(actor.organization_id, array[wanted.group_id], as_of);
    if held_until is not null then
      return private.refuse_hold(
        actor, wanted, 'SESSION_BEING_MOVED', 'Somebody is moving this group. Try again when their hold has ended.',
        held_until, locked_therapist_id => wanted.therapist_id
      );
    elsif cardinality(member_ids) + private.group_joiners(actor.organization_id, wanted.group_id, as_of) >= 8 then
      return private.refuse_hold(
        actor, wanted, 'GROUP_FULL', 'The group has eight clients already.',
        locked_therapist_id => wanted.therapist_id
      );
    end if;
  end if;

  claims := private.wanted_claims(actor.organization_id, wanted, hold_ids, case when moving then move_key end);
  own_ids := wanted.session_ids;
  if member_ids is not null then
    -- Whoever is in the group already stands in her own way.
    own_ids := array(
      select member.id
      from public.sessions as member
      where member.organization_id = actor.organization_id
        and member.id = any (member_ids)
        and member.client_id <> wanted.client_id
    );
  end if;
  held_until := date_trunc('milliseconds', as_of) + make_interval(secs => wanted.hold_seconds);
  -- Mostly nothing at all is in the way, and trying is how to know. What is in the way, alive or expired, is looked at
  -- closely; so is the way of those who stand in their own.
  if not moving and member_ids is null then
    taken := private.take_claims(actor.organization_id, claims, held_until);
  end if;
  if taken < cardinality(claims) then
    if taken > 0 then
      perform private.give_up_claims(actor.organization_id, hold_ids);
    end if;
    select * into found
    from private.find_conflicts(actor.organization_id, claims, own_ids, as_of);
    if found.concurrent_lanes is not null and wanted.override_reason is not null then
      -- The pairs in the way give up their lanes, for this hold only: everything else still blocks it.
      overridden_lanes := found.concurrent_lanes;
      claims := array(
        select row(
          claim.occurrence_index, claim.owner_id, claim.resource_kind, claim.resource_id, claim.during,
          case claim.resource_kind when 'client' then claim.lanes - overridden_lanes else claim.lanes end,
          claim.group_key
        )::private.wanted_claim
        from unnest(claims) as claim
      );
      select * into found
      from private.find_conflicts(actor.organization_id, claims, own_ids, as_of);
    end if;
    if found.conflicts is not null then
      outcome := private.conflict_code(found.conflicts, found.concurrent_lanes);
      return private.refuse_hold(
        actor, wanted, outcome ->> 'code', outcome ->> 'detail', found.retry_after, found.conflicts, wanted.therapist_id
      );
    end if;
    stale_owner_ids := found.stale_owner_ids;
    taken := 0;
  end if;
  open := private.is_open(actor.organization_id, wanted);
  if not open and wanted.override_reason is null then
    perform private.give_up_claims(actor.organization_id, hold_ids);
    return private.refuse_hold(
      actor, wanted, 'OUTSIDE_AVAILABILITY',
      'The therapist does not work then. Choose an alternative, or have an admin override.',
      locked_therapist_id => wanted.therapist_id
    );
  end if;

  -- Two holds that each read 4 units left would both take them: the client's lock, taken above, makes them queue, and
  -- the second reads what the first has entered. Expired holds count for nothing here, swept or not.
  if private.has_payer(actor.organization_id, client_ids) then
    services := private.wanted_services(actor.organization_id, wanted, hold_ids);
    demands := private.ask_units(actor.organization_id, services, as_of);
    short := private.is_short(demands);
  end if;
  if short and wanted.override_reason is null then
    perform private.give_up_claims(actor.organization_id, hold_ids);
    return private.refuse_hold(
      actor, wanted, 'AUTHORIZATION_EXCEEDED',
      'The payer''s authorization has too few units left, or does not cover the dates. An admin may override.',
      locked_therapist_id => wanted.therapist_id
    );
  end if;

  -- Nothing stands in the way. From here on everything is written, or, by an error, nothing.
  if stale_owner_ids is not null or stale_batch_ids is not null then
    select stale_batch_ids || array_agg(distinct hold.batch_id) into stale_batch_ids
    from public.session_holds as hold
    where hold.organization_id = actor.organization_id and hold.id = any (stale_owner_ids);
    -- What has expired goes, as far as its resources are locked here.
    delete from private.claims as stale
    using public.session_holds as hold
    where hold.organization_id = actor.organization_id
      and hold.batch_id = any (stale_batch_ids)
      and stale.organization_id = hold.organization_id
      and stale.owner_id = hold.id
      and stale.resource_id = any (resource_ids)
      and stale.expires_at <= as_of;
    perform private.expire_batches(actor.organization_id, stale_batch_ids, as_of, wanted.therapist_id);
  end if;
  if wanted.group_id is not null then
    -- A move of the group that came to nothing may have left its claims under another key than the group's.
    perform private.sync_claims(actor.organization_id, member_ids);
  end if;
  if moving then
    -- An earlier move that expired may have left a claim on a place these sessions have, allowed there by the key they
    -- shared: it would be in the way of the new key.
    delete from private.claims as stale
    using private.claims as own
    where own.organization_id = actor.organization_id
      and own.owner_id = any (wanted.session_ids)
      and stale.organization_id = own.organization_id
      and stale.resource_kind = own.resource_kind
      and stale.resource_id = own.resource_id
      and stale.during && own.during
      and stale.expires_at <= as_of;
    -- What moves together does not block itself, even onto a place that a sibling leaves. Taken out and put back, since
    -- the members of a group would conflict while some have the new key and some the old.
    with taken_out as (
      delete from private.claims as claim
      where claim.organization_id = actor.organization_id and claim.owner_id = any (wanted.session_ids)
      returning claim.*
    )
    select array_agg(row(taken_out.*)::private.claims) into own_claims from taken_out;
    insert into private.claims (organization_id, owner_id, resource_kind, resource_id, during, lanes, group_key)
    select own.organization_id, own.owner_id, own.resource_kind, own.resource_id, own.during, own.lanes, move_key
    from unnest(own_claims) as own;
  end if;

  if taken = 0 then
    taken := private.take_claims(actor.organization_id, claims, held_until);
    if taken < cardinality(claims) then
      perform private.raise_busy();
    end if;
  end if;
  with batch as (
    insert into public.hold_batches (
      organization_id, id, hold_key, therapist_id, client_id, room_id, group_id, session_type, cpt_code, time_zone,
      buffer_before_minutes, buffer_after_minutes, recurrence_rule, override_reason, is_move, expires_at,
      created_by, created_at
    )
    values (
      actor.organization_id, new_batch_id, batch_key, wanted.therapist_id, wanted.client_id, wanted.room_id,
      wanted.group_id, wanted.session_type, wanted.cpt_code, wanted.time_zone,
      wanted.buffer_before_minutes, wanted.buffer_after_minutes, wanted.recurrence_rule, wanted.override_reason,
      moving, held_until, actor.user_id, as_of
    )
  )
  insert into public.session_holds (
    organization_id, id, batch_id, hold_key, occurrence_index, start_time, end_time, time_zone, session_id, client_id,
    group_id
  )
  select actor.organization_id, occurrence.hold_id, new_batch_id, occurrence.hold_key, occurrence.position - 1,
    occurrence.start_time, occurrence.end_time, occurrence.time_zone, occurrence.session_id, occurrence.client_id,
    occurrence.group_id
  from unnest(
    hold_ids, hold_keys, wanted.start_times, wanted.end_times, wanted.time_zones, wanted.session_ids,
    wanted.slot_clients, wanted.slot_groups
  ) with ordinality as occurrence (
    hold_id, hold_key, start_time, end_time, time_zone, session_id, client_id, group_id, position
  );
  body := jsonb_build_object(
    'holdKey', batch_key,
    'holdId', new_batch_id,
    'expiresAt', private.iso(held_until),
    'holds', private.held_answer(wanted, hold_ids, hold_keys, held_until)
  );

  if services is not null then
    perform private.reserve_units(actor.organization_id, demands, 'held', held_until);
    warnings := private.unit_warnings(actor.organization_id, demands, as_of)
      || private.daily_limit_warnings(actor.organization_id, services);
    if warnings <> '[]' then
      body := body || jsonb_build_object('warnings', warnings);
    end if;
  end if;
  if overridden_lanes is not null then
    insert into private.lane_overrides (organization_id, owner_id, lanes)
    select actor.organization_id, hold_id, overridden_lanes from unnest(hold_ids) as hold_id;
  end if;

  perform private.record_event(
    actor.organization_id, 'hold.acquired', 'hold', hold_ids, as_of,
    therapist_id => wanted.therapist_id,
    actor_role => actor.role::text,
    after => private.hold_facts(wanted),
    details => jsonb_build_object('batchId', new_batch_id, 'expiresAt', private.iso(held_until))
  );
  if wanted.override_reason is not null then
    perform private.record_event(
      actor.organization_id, override.action, 'hold', hold_ids, as_of,
      therapist_id => wanted.therapist_id,
      actor_role => actor.role::text,
      details => jsonb_build_object('batchId', new_batch_id, 'reason', wanted.override_reason)
    )
    from (
      values
        ('override.availability', not open),
        ('override.authorization', short),
        ('override.concurrency', overridden_lanes is not null)
    ) as override (action, needed)
    where override.needed;
  end if;

  if idempotency_key is not null then
    perform private.keep_answer(
      actor.organization_id, actor.user_id, 'sessions-hold', idempotency_key, fingerprint, body, new_batch_id
    );
  end if;
  return private.success(body);
exception
  when lock_not_available or deadlock_detected or serialization_failure or query_canceled then
    perform private.raise_busy();
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
