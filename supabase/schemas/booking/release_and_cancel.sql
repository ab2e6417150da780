-- Purpose: sessions-cancel. Lets a hold go, or cancels sessions.
-- Objects: private.release_hold, private.cancel_sessions and their public wrappers.
-- Watch for: an id out of scope refuses the whole request; the reason never touches clinical notes.

create function private.release_hold(request jsonb, idempotency_key text, request_id text)
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
  actor private.actor;
  found jsonb;
  asked_key uuid;
  fingerprint bytea;
  outcome jsonb;
  batch public.hold_batches;
  as_of timestamptz;
  released_ids uuid[];
  body jsonb;
begin
  perform set_config('therapist_sessions.request_id', coalesce(left(request_id, 128), ''), true);
  actor := private.require_actor();
  if request is null or jsonb_typeof(request) <> 'object' then
    perform private.raise_invalid(private.issue('', 'must be a JSON object'));
  end if;
  found := private.uuid_issue('hold_key', request -> 'hold_key', true);
  if found is not null then
    perform private.raise_invalid(found);
  end if;
  asked_key := (request ->> 'hold_key')::uuid;
  fingerprint := private.fingerprint(jsonb_build_object('holdKey', asked_key));

  outcome := private.find_replay(actor.organization_id, actor.user_id, 'sessions-cancel', idempotency_key, fingerprint);
  if outcome is not null then
    return outcome;
  end if;

  select candidate.* into batch
  from public.hold_batches as candidate
  where candidate.organization_id = actor.organization_id
    and (
      candidate.hold_key = asked_key
      or candidate.id = (
        select hold.batch_id
        from public.session_holds as hold
        where hold.organization_id = actor.organization_id and hold.hold_key = asked_key
      )
    )
    and (actor.role in ('admin', 'super_admin') or (actor.role = 'therapist' and candidate.therapist_id = actor.user_id));

  if batch.id is not null then
    -- Claims go only under their resources' locks: a claimant between check and insert must not lose its footing.
    perform private.lock_resources(
      actor.organization_id,
      array[batch.therapist_id, batch.client_id, batch.room_id] || array(
        select hold.client_id
        from public.session_holds as hold
        where hold.organization_id = actor.organization_id and hold.batch_id = batch.id and hold.client_id is not null
      ) || array(
        select resource.id
        from public.session_holds as hold
        join public.sessions as session
          on session.organization_id = hold.organization_id and session.id = hold.session_id
        cross join lateral unnest(array[session.therapist_id, session.room_id]) as resource (id)
        where hold.organization_id = actor.organization_id and hold.batch_id = batch.id
      )
    );
    -- A confirmation of the same hold would settle it while it is being released. Read again,
    -- for its end may have been moved while this waited.
    select locked.* into batch
    from public.hold_batches as locked
    where locked.organization_id = actor.organization_id and locked.id = batch.id
    for no key update;
    as_of := clock_timestamp();

    if batch.expires_at <= as_of then
      perform private.expire_batches(actor.organization_id, array[batch.id], as_of, batch.therapist_id);
    else
      with released as (
        update public.session_holds as hold
        set status = 'released', settled_at = as_of, settled_xid = pg_current_xact_id()
        where hold.organization_id = actor.organization_id
          and hold.batch_id = batch.id
          and hold.status = 'held'
          -- What was held to move together is let go together: its places depend on each other.
          and (batch.hold_key = asked_key or hold.hold_key = asked_key or batch.is_move)
        returning hold.id
      )
      select array_agg(released.id order by released.id) into released_ids from released;
    end if;
  end if;

  if released_ids is not null then
    delete from private.claims as claim
    where claim.organization_id = actor.organization_id and claim.owner_id = any (released_ids);
    delete from public.authorization_units as entry
    where entry.organization_id = actor.organization_id and entry.owner_id = any (released_ids);
    if batch.is_move then
      -- The sessions' claims lose the key they shared with it.
      perform private.sync_claims(actor.organization_id, array(
        select hold.session_id
        from public.session_holds as hold
        where hold.organization_id = actor.organization_id and hold.batch_id = batch.id
      ));
    end if;
    perform private.record_event(
      actor.organization_id, 'hold.released', 'hold', released_ids, as_of,
      therapist_id => batch.therapist_id,
      actor_role => actor.role::text,
      before => '{"status": "held"}', after => '{"status": "released"}',
      details => jsonb_build_object('batchId', batch.id)
    );
  end if;

  body := jsonb_build_object('released', released_ids is not null);
  if released_ids is not null then
    body := body || jsonb_build_object('hold', (
      select jsonb_build_object(
        'holdKey', asked_key,
        'holdId', case when batch.hold_key = asked_key then batch.id else (
          select asked.id
          from public.session_holds as asked
          where asked.organization_id = actor.organization_id and asked.hold_key = asked_key
        ) end,
        'holds', jsonb_agg(
          jsonb_build_object(
            'holdKey', hold.hold_key,
            'holdId', hold.id,
            'startTime', private.iso(hold.start_time),
            'endTime', private.iso(hold.end_time)
          )
          order by hold.occurrence_index
        )
      )
      from public.session_holds as hold
      where hold.organization_id = actor.organization_id
        and hold.id = any (released_ids)
        -- Where a group moves, the hold of the member that was named stands for all.
        and not (batch.is_move and hold.client_id is not null)
    ));
  end if;
  perform private.keep_answer(
    actor.organization_id, actor.user_id, 'sessions-cancel', idempotency_key, fingerprint, body
  );
  return private.success(body);
exception
  when lock_not_available or deadlock_detected or serialization_failure or query_canceled then
    perform private.raise_busy();
end
$$;
comment on function private.release_hold(jsonb, text, text) is
  'Lets a hold or a whole batch go: released is true the first time, then false; false too for a key that is unknown, '
  'foreign, expired or confirmed. Returns an outcome; raises PT400, PT401, PT403, PT503.';
grant execute on function private.release_hold(jsonb, text, text) to authenticated;

create function public.release_hold(request jsonb, idempotency_key text default null, request_id text default null)
returns jsonb
language sql
volatile
set search_path = ''
begin atomic
  select private.release_hold(release_hold.request, release_hold.idempotency_key, release_hold.request_id);
end;
comment on function public.release_hold(jsonb, text, text) is 'Lets a hold go. request is {hold_key}.';
grant execute on function public.release_hold(jsonb, text, text) to authenticated;

-- Cancelling sessions ----------------------------------------------------------------------------------------------------

create type private.cancellation_request as (
  session_ids uuid[],
  date date,
  time_zone text,
  therapist_id uuid,
  all_therapists boolean,
  reason text,
  attribution public.cancellation_attribution
);
comment on type private.cancellation_request is 'A validated request to cancel sessions. date is a local day in time_zone.';

create function private.parse_cancellation(request jsonb)
returns private.cancellation_request
language plpgsql
stable
set search_path = ''
as $$
declare
  parsed private.cancellation_request;
  found jsonb;
begin
  if request is null or jsonb_typeof(request) <> 'object' then
    perform private.raise_invalid(private.issue('', 'must be a JSON object'));
  end if;

  found := coalesce(private.uuid_issue('therapist_id', request -> 'therapist_id', false), '[]')
    || coalesce(private.zone_issue('time_zone', request -> 'time_zone', false), '[]')
    || coalesce(private.text_issue('reason', request -> 'reason', false, 500), '[]')
    || coalesce(private.text_issue(
      'cancellation_attribution', request -> 'cancellation_attribution', false, 16, '^(staff|client|unknown)$'), '[]')
    || coalesce(private.text_issue(
      'date', request -> 'date', false, 10, '^(19|2[0-9])\d{2}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$'), '[]')
    || case
      when coalesce(jsonb_typeof(request -> 'all_therapists'), 'null') not in ('boolean', 'null')
        then private.issue('all_therapists', 'must be true or false')
      else '[]'
    end;
  if coalesce(request -> 'session_ids', 'null') <> 'null' then
    if jsonb_typeof(request -> 'session_ids') <> 'array' then
      found := found || private.issue('session_ids', 'must be a list');
    elsif jsonb_array_length(request -> 'session_ids') not between 1 and 1000 then
      found := found || private.issue('session_ids', 'must have 1 to 1000 ids');
    else
      select found || coalesce(jsonb_agg(issue.value order by item.position), '[]') into found
      from jsonb_array_elements(request -> 'session_ids') with ordinality as item (value, position)
      cross join lateral jsonb_array_elements(
        private.uuid_issue('session_ids.' || (item.position - 1), item.value, true)
      ) as issue (value);
    end if;
  elsif coalesce(request -> 'date', 'null') = 'null' then
    found := found || private.issue('session_ids', 'is required unless date is given');
  end if;
  if coalesce(request -> 'date', 'null') <> 'null' and coalesce(request -> 'time_zone', 'null') = 'null' then
    found := found || private.issue('time_zone', 'is required with date');
  end if;
  if request ->> 'all_therapists' = 'true' and request ->> 'therapist_id' is not null then
    found := found || private.issue('all_therapists', 'excludes therapist_id');
  end if;
  if found <> '[]' then
    perform private.raise_invalid(found);
  end if;

  begin
    parsed.date := (request ->> 'date')::date;
  exception
    when datetime_field_overflow or invalid_datetime_format then
      perform private.raise_invalid(private.issue('date', 'is not a date that exists'));
  end;
  parsed.session_ids := (
    select array_agg(distinct item.value::uuid) from jsonb_array_elements_text(
      case jsonb_typeof(request -> 'session_ids') when 'array' then request -> 'session_ids' else '[]' end
    ) as item (value)
  );
  parsed.time_zone := request ->> 'time_zone';
  parsed.therapist_id := (request ->> 'therapist_id')::uuid;
  parsed.all_therapists := coalesce((request ->> 'all_therapists')::boolean, false);
  parsed.reason := private.trimmed(request ->> 'reason');
  parsed.attribution := coalesce(request ->> 'cancellation_attribution', 'unknown')::public.cancellation_attribution;
  return parsed;
end
$$;
comment on function private.parse_cancellation(jsonb) is 'Reads the body of sessions-cancel that names sessions. Raises PT400.';

create function private.start_of_day(day date, zone text)
returns timestamptz
language plpgsql
stable
set search_path = ''
as $$
begin
  -- Where midnight comes twice (Havana, the Azores), Postgres would take the second; where clocks skip it, it takes the
  -- moment after the gap.
  return (
    select min(candidate.instant)
    from unnest(array['0', '30 minutes', '1 hour', '2 hours']::interval[]) as earlier (shift)
    cross join lateral (select (day::timestamp at time zone zone) - earlier.shift as instant) as candidate
    where earlier.shift = interval '0' or candidate.instant at time zone zone = day::timestamp
  );
end
$$;
comment on function private.start_of_day(date, text) is 'The first instant of a local day.';

create function private.refuse_cancellation(actor private.actor, session_ids uuid[])
returns jsonb
language plpgsql
set search_path = ''
as $$
begin
  perform private.record_event(
    actor.organization_id, 'cancellation.refused', 'session', coalesce(session_ids, '{}'), clock_timestamp(),
    actor_role => actor.role::text,
    outcome => 'refused',
    code => 'FORBIDDEN'
  );
  return private.refusal(
    403, 'FORBIDDEN', 'You may not cancel every session this names. Nothing was cancelled.'
  );
end
$$;
comment on function private.refuse_cancellation(private.actor, uuid[]) is
  'The outcome of a refused cancellation, and its audit event.';

create function private.cancel_sessions(request jsonb, idempotency_key text, request_id text)
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
  actor private.actor;
  wanted private.cancellation_request;
  fingerprint bytea;
  outcome jsonb;
  day tstzrange;
  target_ids uuid[];
  resource_ids uuid[];
  as_of timestamptz;
  summary jsonb;
begin
  perform set_config('therapist_sessions.request_id', coalesce(left(request_id, 128), ''), true);
  actor := private.require_actor();
  wanted := private.parse_cancellation(request);
  if actor.role = 'therapist' and wanted.date is not null and wanted.therapist_id is null and not wanted.all_therapists then
    wanted.therapist_id := actor.user_id;
  elsif actor.role in ('admin', 'super_admin') and wanted.session_ids is null
    and wanted.therapist_id is null and not wanted.all_therapists
  then
    perform private.raise_invalid(
      private.issue('therapist_id', 'is required with date, unless all_therapists is true')
    );
  end if;
  if idempotency_key is not null then
    fingerprint := private.fingerprint(to_jsonb(wanted));
    outcome := private.find_replay(actor.organization_id, actor.user_id, 'sessions-cancel', idempotency_key, fingerprint);
    if outcome is not null then
      return outcome;
    end if;
  end if;

  if actor.role = 'client'
    or (actor.role = 'therapist' and (wanted.all_therapists or wanted.therapist_id <> actor.user_id))
    or (wanted.therapist_id is not null and not exists (
      select 1
      from public.therapists as therapist
      where therapist.organization_id = actor.organization_id and therapist.id = wanted.therapist_id
    ))
  then
    return private.refuse_cancellation(actor, wanted.session_ids);
  end if;

  if wanted.date is not null then
    -- The local day, 23 or 25 hours long where clocks change.
    day := tstzrange(
      private.start_of_day(wanted.date, wanted.time_zone), private.start_of_day(wanted.date + 1, wanted.time_zone), '[)'
    );
  end if;

  target_ids := wanted.session_ids;
  if target_ids is null then
    target_ids := array(
      select session.id
      from public.sessions as session
      where session.organization_id = actor.organization_id
        and session.start_time >= lower(day)
        and session.start_time < upper(day)
        and (wanted.all_therapists or session.therapist_id = wanted.therapist_id)
    );
  end if;
  -- Two cancellations, or a cancellation and a move, of one session would each act on what the other is changing.
  with locked as (
    select session.id, session.therapist_id, session.client_id, session.room_id
    from public.sessions as session
    where session.organization_id = actor.organization_id and session.id = any (target_ids)
    order by session.id
    for no key update
  )
  select
    array_agg(locked.id),
    array_agg(locked.therapist_id) || array_agg(locked.client_id) || array_agg(locked.room_id)
  into target_ids, resource_ids
  from locked;

  if wanted.session_ids is not null and (
    coalesce(cardinality(target_ids), 0) < cardinality(wanted.session_ids)
    or exists (
      select 1
      from public.sessions as session
      where session.organization_id = actor.organization_id
        and session.id = any (wanted.session_ids)
        and actor.role = 'therapist' and session.therapist_id <> actor.user_id
    )
  ) then
    return private.refuse_cancellation(actor, wanted.session_ids);
  end if;

  -- A claimant waiting for this time must find either the session or its freed slot.
  perform private.lock_resources(actor.organization_id, resource_ids);
  as_of := clock_timestamp();

  with target as (
    select session.id, session.status
    from public.sessions as session
    where session.organization_id = actor.organization_id
      and session.id = any (target_ids)
      and (day is null or session.start_time <@ day)
      and (wanted.therapist_id is null or session.therapist_id = wanted.therapist_id)
  )
  select jsonb_build_object(
    'cancelledCount', count(*) filter (where target.status in ('scheduled', 'in_progress')),
    'alreadyCancelledCount', count(*) filter (where target.status = 'cancelled'),
    'nonCancellableCount', count(*) filter (where target.status in ('completed', 'no_show')),
    'totalCount', count(*),
    'cancelledSessionIds',
      coalesce(jsonb_agg(target.id order by target.id) filter (where target.status in ('scheduled', 'in_progress')), '[]'),
    'alreadyCancelledSessionIds',
      coalesce(jsonb_agg(target.id order by target.id) filter (where target.status = 'cancelled'), '[]'),
    'nonCancellableSessionIds',
      coalesce(jsonb_agg(target.id order by target.id) filter (where target.status in ('completed', 'no_show')), '[]')
  ) into summary
  from target;

  insert into public.session_cancellations (
    organization_id, session_id, attribution, reason, cancelled_at, cancelled_by, cancelled_by_role
  )
  select actor.organization_id, item.value::uuid, wanted.attribution, wanted.reason, as_of, actor.user_id, actor.role::text
  from jsonb_array_elements_text(summary -> 'cancelledSessionIds') as item (value);
  update public.sessions as session
  set status = 'cancelled'
  from jsonb_array_elements_text(summary -> 'cancelledSessionIds') as item (value)
  where session.organization_id = actor.organization_id and session.id = item.value::uuid;

  if idempotency_key is not null then
    perform private.keep_answer(
      actor.organization_id, actor.user_id, 'sessions-cancel', idempotency_key, fingerprint,
      jsonb_build_object('summary', summary)
    );
  end if;
  return private.success(jsonb_build_object('summary', summary));
exception
  when lock_not_available or deadlock_detected or serialization_failure or query_canceled then
    perform private.raise_busy();
end
$$;
comment on function private.cancel_sessions(jsonb, text, text) is
  'Cancels the named sessions, those of a local day, or their intersection, as far as they are scheduled or in '
  'progress, and says which were not. Returns an outcome; raises PT400, PT401, PT403, PT503.';
grant execute on function private.cancel_sessions(jsonb, text, text) to authenticated;

create function public.cancel_sessions(request jsonb, idempotency_key text default null, request_id text default null)
returns jsonb
language sql
volatile
set search_path = ''
begin atomic
  select private.cancel_sessions(cancel_sessions.request, cancel_sessions.idempotency_key, cancel_sessions.request_id);
end;
comment on function public.cancel_sessions(jsonb, text, text) is
  'Cancels sessions by id and/or by local day. request is the body of sessions-cancel.';
grant execute on function public.cancel_sessions(jsonb, text, text) to authenticated;
