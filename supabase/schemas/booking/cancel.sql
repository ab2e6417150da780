-- Purpose: sessions-cancel. Cancels sessions by id, by series, by local days, or their intersection.
-- Objects: end_sessions, which no-shows use too; cancel_sessions.
-- Watch for: an id out of scope refuses the whole request; the reason never touches clinical notes.

create function private.start_of_day(day date, zone text)
returns timestamptz
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
  return private.instant_at(day::timestamp, zone);
end
$$;
comment on function private.start_of_day(date, text) is
  'The first instant of a local day: of two midnights (Havana, the Azores) the first, of none the moment after the gap. Runs '
  'as its owner, so that reports may call it.';
grant execute on function private.start_of_day(date, text) to authenticated, service_role;

create function private.facts_of_sessions(organization_id uuid, session_ids uuid[])
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    select jsonb_agg(private.facts_of_row(to_jsonb(session)) order by named.position)
    from unnest(session_ids) with ordinality as named (id, position)
    cross join lateral (
      select known.* from public.sessions as known
      where known.organization_id = facts_of_sessions.organization_id and known.id = named.id offset 0
    ) as session
  );
end
$$;
comment on function private.facts_of_sessions(uuid, uuid[]) is
  'What of these sessions belongs in an audit event, in the order of their ids, in which the event lists them.';

create function private.facts_of_row(session_row jsonb)
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
begin
  return jsonb_strip_nulls(
    session_row - array['organization_id', 'group_key', 'lanes', 'created_at', 'created_by', 'updated_at']
  );
end
$$;
comment on function private.facts_of_row(jsonb) is 'What of a session''s row belongs in an audit event.';

create function private.facts_of_rows(rows jsonb, session_ids uuid[])
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
begin
  if jsonb_array_length(rows) = 1 then
    return jsonb_build_array(private.facts_of_row(rows -> 0));
  end if;
  return (
    select jsonb_agg(private.facts_of_row(item.value) order by named.position)
    from jsonb_array_elements(rows) as item (value)
    join unnest(session_ids) with ordinality as named (id, position) on named.id = (item.value ->> 'id')::uuid
  );
end
$$;
comment on function private.facts_of_rows(jsonb, uuid[]) is
  'What of these rows of sessions belongs in an audit event, in the order of the ids, in which the event lists them.';

create function private.end_sessions(
  actor private.actor,
  session_ids uuid[],
  status public.session_status,
  as_of timestamptz,
  details jsonb default null
)
returns void
language plpgsql
set search_path = ''
as $$
declare
  ended_ids uuid[];
  after jsonb;
  before jsonb;
  therapist_id uuid;
  has_payer boolean;
  dependents uuid[];
begin
  if session_ids = '{}' then
    return;
  end if;
  with ended as (
    update public.sessions as session
    set status = end_sessions.status, updated_at = as_of
    from unnest(session_ids) as named (id)
    cross join lateral (
      select known.ctid, known.status, known.client_id from public.sessions as known
      where known.organization_id = actor.organization_id and known.id = named.id offset 0
    ) as was
    cross join lateral (
      select known.has_payer from public.clients as known
      where known.organization_id = actor.organization_id and known.id = was.client_id offset 0
    ) as client
    where session.ctid = was.ctid
    returning session.start_time, session.id, session.therapist_id, client.has_payer, was.status,
      private.facts_of_row(to_jsonb(session)) as facts
  )
  select
    array_agg(ended.id order by ended.start_time, ended.id),
    jsonb_agg(ended.facts order by ended.start_time, ended.id),
    jsonb_agg(ended.facts || jsonb_build_object('status', ended.status) order by ended.start_time, ended.id),
    min(ended.therapist_id::text)::uuid, bool_or(ended.has_payer)
  into ended_ids, after, before, therapist_id, has_payer
  from ended;

  dependents := private.claim_dependents(actor.organization_id, session_ids);
  perform private.drop_claims(actor.organization_id, session_ids, as_of);
  if dependents <> '{}' then
    perform private.stop_moves(actor.organization_id, session_ids, as_of, actor.role::text);
    if not private.sync_claims(actor.organization_id, dependents) then
      perform private.raise_busy();
    end if;
  end if;
  if has_payer then
    perform private.give_back_units(actor.organization_id, session_ids);
  end if;
  perform private.record_event(
    actor.organization_id, 'session.' || status, 'session', ended_ids, as_of,
    therapist_id => therapist_id,
    actor_role => actor.role::text,
    before => before,
    after => after,
    details => details
  );
end
$$;
comment on function private.end_sessions(private.actor, uuid[], public.session_status, timestamptz, jsonb) is
  'Cancels sessions, or marks them missed: their time is free at once, their units are given back, one event. Call it with '
  'rows and resources locked.';

create function private.cancel_targets(actor private.actor, wanted private.cancel_request, day tstzrange)
returns uuid[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return array(
    select session.id
    from public.sessions as session
    where session.organization_id = actor.organization_id
      and session.start_time >= lower(day) and session.start_time < upper(day)
      and (wanted.all_therapists or session.therapist_id = wanted.therapist_id or wanted.series_id is not null)
      and (wanted.therapist_id is null or session.therapist_id = wanted.therapist_id)
      -- It may have been given to somebody else while this waited.
      and (actor.role <> 'therapist' or session.therapist_id = actor.user_id)
      and (wanted.series_id is null or session.series_id = wanted.series_id)
  );
end
$$;
comment on function private.cancel_targets(private.actor, private.cancel_request, tstzrange) is
  'The sessions of a therapist''s days, or of a series, that start in a span.';

create function private.cancel_sessions(actor private.actor, request jsonb, idempotency_key text default null)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  wanted private.cancel_request := private.read_cancel_request(request);
  fingerprint bytea;
  outcome jsonb;
  day tstzrange := tstzrange('-infinity', 'infinity', '[)');
  target_ids uuid[];
  cancelled_ids uuid[];
  ended_ids uuid[];
  as_of timestamptz;
  summary jsonb;
begin
  if actor.role = 'therapist' and wanted.therapist_id is null and not wanted.all_therapists
    and (wanted.date is not null or wanted.from_date is not null or wanted.series_id is not null)
  then
    wanted.therapist_id := actor.user_id;
  elsif actor.role in ('admin', 'super_admin') and wanted.session_ids is null and wanted.series_id is null
    and wanted.therapist_id is null and not wanted.all_therapists
  then
    perform private.raise_invalid(private.issue('therapist_id', 'is required with date, unless all_therapists is true'));
  end if;
  if actor.role = 'client'
    or (actor.role = 'therapist' and (wanted.all_therapists or wanted.therapist_id <> actor.user_id))
    or (wanted.therapist_id is not null and not exists (
      select from public.therapists as therapist
      where therapist.organization_id = actor.organization_id and therapist.id = wanted.therapist_id
    ))
    or (wanted.series_id is not null and not private.may_change_series(actor, wanted.series_id))
  then
    return private.refuse_cancellation(actor, wanted.session_ids);
  end if;
  if wanted."from" is not null and not exists (
    select from unnest(private.series_sessions(actor, wanted.series_id)) as session
    where session.start_time >= wanted."from"::timestamptz
  ) then
    perform private.raise_invalid(private.issue('from', 'is after the last session of the series'));
  end if;
  if wanted.date is not null or wanted.from_date is not null then
    -- Local days, 23 or 25 hours long where clocks change.
    day := tstzrange(
      private.start_of_day(coalesce(wanted.date, wanted.from_date)::date, wanted.time_zone),
      private.start_of_day(coalesce(wanted.date, wanted.to_date)::date + 1, wanted.time_zone), '[)'
    );
  end if;
  if wanted."from" is not null then
    day := day * tstzrange(wanted."from"::timestamptz, 'infinity', '[)');
  end if;

  -- Which sessions a day has is looked at once before the locks, to know which locks; what is written, again behind them.
  target_ids := coalesce(wanted.session_ids, private.cancel_targets(actor, wanted, day));
  if cardinality(target_ids) > 200 then
    -- A clinic's day: alone in the organization it needs no lock for each of a thousand people.
    perform private.take_organization(actor.organization_id);
  else
    perform private.share_organization(actor.organization_id);
  end if;
  if idempotency_key is not null then
    fingerprint := private.fingerprint(to_jsonb(wanted));
    outcome := private.find_replay(actor.organization_id, actor.user_id, 'sessions-cancel', idempotency_key, fingerprint);
    if outcome is not null then
      return outcome;
    end if;
  end if;
  if cardinality(target_ids) > 200 then
    perform private.lock_sessions(actor.organization_id, target_ids);
  else
    -- A claimant waiting for this time must find either the session or its freed slot.
    perform private.lock_resources(actor.organization_id, private.lock_targets(actor.organization_id, target_ids));
  end if;
  as_of := clock_timestamp();
  if not private.may_cancel(actor, wanted.session_ids) then
    return private.refuse_cancellation(actor, wanted.session_ids);
  end if;

  with target as (
    select session.id, session.status
    from unnest(target_ids) as named (id)
    cross join lateral (
      select known.* from public.sessions as known
      where known.organization_id = actor.organization_id and known.id = named.id offset 0
    ) as session
    where session.start_time <@ day
      and (wanted.therapist_id is null or session.therapist_id = wanted.therapist_id)
      -- It may have been given to somebody else while this waited.
      and (actor.role <> 'therapist' or session.therapist_id = actor.user_id)
      and (wanted.series_id is null or session.series_id = wanted.series_id)
  )
  select
    coalesce(array_agg(target.id order by target.id) filter (where target.status in ('scheduled', 'in_progress')), '{}'),
    coalesce(array_agg(target.id order by target.id) filter (where target.status = 'cancelled'), '{}'),
    coalesce(array_agg(target.id order by target.id) filter (where target.status in ('completed', 'no_show')), '{}')
  into target_ids, cancelled_ids, ended_ids
  from target;
  summary := jsonb_build_object(
    'cancelledCount', cardinality(target_ids), 'alreadyCancelledCount', cardinality(cancelled_ids),
    'nonCancellableCount', cardinality(ended_ids),
    'totalCount', cardinality(target_ids) + cardinality(cancelled_ids) + cardinality(ended_ids),
    'cancelledSessionIds', target_ids, 'alreadyCancelledSessionIds', cancelled_ids, 'nonCancellableSessionIds', ended_ids
  );

  insert into public.session_cancellations (
    organization_id, session_id, attribution, reason, cancelled_at, cancelled_by, cancelled_by_role
  )
  select actor.organization_id, named.id, wanted.cancellation_attribution, wanted.reason, as_of, actor.user_id, actor.role::text
  from unnest(target_ids) as named (id);
  perform private.end_sessions(actor, target_ids, 'cancelled', as_of);

  return private.kept(
    actor, 'sessions-cancel', idempotency_key, fingerprint, private.success(jsonb_build_object('summary', summary))
  );
end
$$;
comment on function private.cancel_sessions(private.actor, jsonb, text) is
  'Cancels the named sessions, those of a series from a moment on, those of local days, or their intersection, as far as '
  'they are scheduled or in progress, and says which were not. Returns an outcome; raises PT400, PT401, PT403, PT503.';

create function private.lock_targets(organization_id uuid, session_ids uuid[])
returns uuid[]
language plpgsql
set search_path = ''
as $$
begin
  perform private.lock_sessions(organization_id, session_ids);
  return array(
    select distinct resource.id
    from unnest(session_ids) as named (id)
    cross join lateral (
      select known.* from public.sessions as known
      where known.organization_id = lock_targets.organization_id and known.id = named.id offset 0
    ) as session
    left join public.session_groups as of_group
      on of_group.organization_id = session.organization_id and of_group.id = session.group_id
    cross join lateral (
      select unnest(array[session.therapist_id, session.client_id, session.room_id, of_group.room_id])
      union all
      -- The live move of one of them is let go with it: see private.stop_moves.
      select unnest(array[batch.therapist_id, batch.room_id, sibling.client_id])
      from (
        select known.batch_id from public.session_holds as known
        where known.organization_id = lock_targets.organization_id and known.session_id = named.id and known.status = 'held'
        offset 0
      ) as hold
      join public.hold_batches as batch
        on batch.organization_id = lock_targets.organization_id and batch.id = hold.batch_id
      join public.session_holds as sibling
        on sibling.organization_id = lock_targets.organization_id and sibling.batch_id = hold.batch_id
    ) as resource (id)
    where resource.id is not null
  );
end
$$;
comment on function private.lock_targets(uuid, uuid[]) is
  'Locks the rows of sessions that are to end, and returns whose time they and their live moves take, to be locked next.';

create function private.may_cancel(actor private.actor, session_ids uuid[])
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  -- Behind the locks, the membership again: who was removed meanwhile cancels nothing.
  return exists (
    select from public.memberships as member
    where member.organization_id = actor.organization_id and member.user_id = actor.user_id and member.role = actor.role
  ) and (session_ids is null or not exists (
    select from unnest(session_ids) as named (id)
    where not exists (
      select from (
        select known.therapist_id from public.sessions as known
        where known.organization_id = actor.organization_id and known.id = named.id offset 0
      ) as session
      where actor.role <> 'therapist' or session.therapist_id = actor.user_id
    )
  ));
end
$$;
comment on function private.may_cancel(private.actor, uuid[]) is
  'Whether every session that is named exists and is the caller''s to cancel.';

create function private.refuse_cancellation(actor private.actor, session_ids uuid[])
returns jsonb
language plpgsql
set search_path = ''
as $$
begin
  return private.refuse(
    actor, 'cancellation.refused', session_ids, 'FORBIDDEN',
    'You may not cancel every session this names. Nothing was cancelled.'
  );
end
$$;
comment on function private.refuse_cancellation(private.actor, uuid[]) is
  'The outcome of a refused cancellation, and its audit event.';
