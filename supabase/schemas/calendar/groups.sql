-- Purpose: groups keep their size, and move whole.
-- Objects: the limit of eight; who stays behind when a group moves; private.move_group, public.move_group.
-- Watch for: members join and leave one by one (cancelling one leaves the others), but therapist and times are the
--            group's, by a composite foreign key, so moving the group's row moves every member in the same statement.
--            A move through a hold (sessions-hold with a member's session_id) moves the same way when it is confirmed.

create function private.guard_group_size()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  -- Behind the therapist's lock, which every written session takes: two who join at once are counted one after the other.
  if exists (
    select 1
    from new_rows as joined
    join public.sessions as member
      on member.organization_id = joined.organization_id and member.group_id = joined.group_id
    where member.status not in ('cancelled', 'no_show')
    group by joined.organization_id, joined.group_id
    -- A place that is held is taken: its hold confirms, always.
    having count(distinct member.id)
      + private.group_joiners(joined.organization_id, joined.group_id, clock_timestamp()) > 8
  ) then
    raise exception using
      errcode = 'check_violation',
      constraint = 'group_of_at_most_eight',
      schema = 'public',
      table = 'sessions',
      message = 'a group has at most eight clients',
      hint = 'Make a second group, or wait until the places that are held have expired.';
  end if;
  return null;
end
$$;
comment on function private.guard_group_size() is 'Trigger: nobody joins a group that has eight clients.';
create trigger c_guard_group_size after insert on public.sessions
  referencing new table as new_rows
  for each statement execute function private.guard_group_size();

create function private.keep_ended_members()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  left_behind uuid;
begin
  -- Every member's row changes with the group's, and her claims with it. Locked one by one, by the foreign key, they
  -- would be met crosswise. Whoever cancels one of them may need this row next, so nobody waits for her here; the
  -- booking functions have these rows already.
  perform 1
  from public.sessions as member
  where member.organization_id = old.organization_id and member.group_id = old.id
  order by member.id
  for no key update nowait;
  -- Somebody who is joining would look for the group where it was when her place was held.
  perform private.lock_resources(
    old.organization_id,
    array[old.therapist_id, new.therapist_id] || array(
      select resource.id
      from public.sessions as member
      cross join lateral (values (member.client_id), (member.room_id)) as resource (id)
      where member.organization_id = old.organization_id
        and member.group_id = old.id
        and member.status not in ('cancelled', 'no_show')
        and resource.id is not null
    )
  );
  if private.group_joining_ends(new.organization_id, array[new.id], clock_timestamp()) is not null then
    raise exception using
      errcode = 'check_violation',
      constraint = 'group_being_joined',
      schema = 'public',
      table = 'session_groups',
      message = 'a place in the group is held: the group stays where it is until that hold ends',
      hint = 'Confirm or release the hold first, or wait until it has expired.';
  end if;

  if exists (
    select 1
    from public.sessions as member
    where member.organization_id = old.organization_id
      and member.group_id = old.id
      and member.status in ('cancelled', 'no_show')
  ) then
    insert into public.session_groups (organization_id, therapist_id, start_time, end_time)
    values (old.organization_id, old.therapist_id, old.start_time, old.end_time)
    returning id into left_behind;
    update public.sessions as member
    set group_id = left_behind
    where member.organization_id = old.organization_id
      and member.group_id = old.id
      and member.status in ('cancelled', 'no_show');
  end if;
  return new;
end
$$;
comment on function private.keep_ended_members() is
  'Trigger: who has cancelled or was missed stays where the group was, in a group of its own: when she was to come, and '
  'what notice she gave, is history.';
create trigger keep_ended_members before update on public.session_groups
  for each row when (
    (new.therapist_id, new.start_time, new.end_time) is distinct from (old.therapist_id, old.start_time, old.end_time)
  )
  execute function private.keep_ended_members();

create function private.refuse_group_move(
  actor private.actor,
  group_id uuid,
  member_ids uuid[],
  code text,
  detail text,
  retry_after timestamptz default null,
  conflicts jsonb default '[]'
)
returns jsonb
language plpgsql
set search_path = ''
as $$
begin
  perform private.record_event(
    actor.organization_id, 'group.refused', 'session', coalesce(member_ids, '{}'), clock_timestamp(),
    actor_role => actor.role::text,
    outcome => 'refused',
    code => refuse_group_move.code,
    details => jsonb_build_object('groupId', group_id, 'conflicts', conflicts)
  );
  return private.refusal(
    case refuse_group_move.code when 'FORBIDDEN' then 403 else 409 end, refuse_group_move.code, detail, retry_after, conflicts
  );
end
$$;
comment on function private.refuse_group_move(private.actor, uuid, uuid[], text, text, timestamptz, jsonb) is
  'The outcome of a refused move of a group, and its audit event.';

create function private.move_group(request jsonb, request_id text)
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
  found jsonb;
  known public.session_groups;
  lead record;
  member_ids uuid[];
  resource_ids uuid[];
  wanted private.booking_request;
  claims private.wanted_claim[];
  way record;
  outcome jsonb;
  demands private.unit_demand[];
  as_of timestamptz;
  held_until timestamptz;
begin
  perform set_config('therapist_sessions.request_id', coalesce(left(request_id, 128), ''), true);
  actor := private.require_actor();
  if request is null or jsonb_typeof(request) <> 'object' then
    perform private.raise_invalid(private.issue('', 'must be a JSON object'));
  end if;
  found := private.uuid_issue('group_id', request -> 'group_id', true);
  if found is not null then
    perform private.raise_invalid(found);
  end if;

  -- Who joins the group keeps its row until she has: it comes first, as on every path.
  perform 1
  from public.session_groups as candidate
  where candidate.organization_id = actor.organization_id and candidate.id = (request ->> 'group_id')::uuid
  for update;
  -- A member that is cancelled or started meanwhile would be moved as if it were not.
  perform 1
  from public.sessions as session
  where session.organization_id = actor.organization_id and session.group_id = (request ->> 'group_id')::uuid
  order by session.id
  for no key update;
  select candidate.* into known
  from public.session_groups as candidate
  where candidate.organization_id = actor.organization_id
    and candidate.id = (request ->> 'group_id')::uuid
    and (actor.role in ('admin', 'super_admin') or (actor.role = 'therapist' and candidate.therapist_id = actor.user_id));
  select session.id, session.client_id into lead
  from public.sessions as session
  where session.organization_id = actor.organization_id
    and session.group_id = known.id
    and session.status not in ('cancelled', 'no_show')
  order by session.id
  limit 1;
  if known.id is null or lead.id is null then
    return private.refuse_group_move(
      actor, (request ->> 'group_id')::uuid, null, 'FORBIDDEN', 'This group is not yours to move.'
    );
  end if;
  wanted := private.with_moved(actor.organization_id, private.parse_booking_request(
    (request - array['client_ids', 'occurrences', 'recurrence', 'group_id', 'cpt_code', 'session_type'])
    || jsonb_build_object(
      'therapist_id', coalesce(request -> 'therapist_id', to_jsonb(known.therapist_id)),
      'client_id', lead.client_id,
      'session_id', lead.id
    )
  ));
  member_ids := wanted.session_ids;
  if exists (
    select 1
    from public.sessions as member
    where member.organization_id = actor.organization_id
      and member.id = any (member_ids)
      and member.status <> 'scheduled'
  ) then
    return private.refuse_group_move(
      actor, known.id, member_ids, 'SESSION_NOT_MOVABLE', 'A session of the group has begun. Only a group that has not begun moves.'
    );
  elsif exists (
    select 1
    from public.sessions as member
    where member.organization_id = actor.organization_id
      and member.id = any (member_ids)
      and not (
        private.may_book(actor, wanted.therapist_id, member.client_id, wanted.room_id)
        and private.may_render(
          actor.organization_id, wanted.therapist_id, private.service_code(member.cpt_code, member.session_type)
        )
      )
  ) or (wanted.override_reason is not null and actor.role not in ('admin', 'super_admin'))
  then
    return private.refuse_group_move(
      actor, known.id, member_ids, 'FORBIDDEN', 'You may not book this therapist, these clients or this room.'
    );
  end if;

  -- Whoever claims the old place or the new one must find the group in one of them.
  select
    array_agg(member.client_id) || array_agg(member.room_id) || array[known.therapist_id, wanted.therapist_id, wanted.room_id]
  into resource_ids
  from public.sessions as member
  where member.organization_id = actor.organization_id and member.id = any (member_ids);
  perform private.lock_resources(actor.organization_id, resource_ids);
  as_of := clock_timestamp();
  perform private.require_bookable_window(wanted, as_of);
  if exists (
    select 1
    from public.sessions as member
    where member.organization_id = actor.organization_id
      and member.group_id = known.id
      and member.status not in ('cancelled', 'no_show')
      and member.id <> all (member_ids)
  ) then
    -- Somebody joined while this waited, and she is not locked.
    perform private.raise_busy();
  end if;
  held_until := private.group_move_ends(actor.organization_id, array[known.id], as_of);
  if held_until is not null then
    return private.refuse_group_move(
      actor, known.id, member_ids, 'SESSION_BEING_MOVED', 'Somebody is moving this group. Try again when their hold has ended.',
      held_until
    );
  end if;
  held_until := private.group_joining_ends(actor.organization_id, array[known.id], as_of);
  if held_until is not null then
    return private.refuse_group_move(
      actor, known.id, member_ids, 'THERAPIST_HOLD_CONFLICT', 'A place in this group is being booked. Retry at retryAfter.',
      held_until
    );
  end if;
  claims := private.wanted_claims(actor.organization_id, wanted, member_ids);
  select * into way from private.find_conflicts(actor.organization_id, claims, member_ids, as_of);
  if way.conflicts is not null then
    outcome := private.conflict_code(way.conflicts, way.concurrent_lanes);
    return private.refuse_group_move(
      actor, known.id, member_ids, outcome ->> 'code', outcome ->> 'detail', way.retry_after, way.conflicts
    );
  elsif wanted.override_reason is null and not private.is_open(actor.organization_id, wanted) then
    return private.refuse_group_move(
      actor, known.id, member_ids, 'OUTSIDE_AVAILABILITY', 'The therapist does not work then.'
    );
  end if;
  demands := private.ask_units(
    actor.organization_id, private.wanted_services(actor.organization_id, wanted, member_ids), as_of
  );
  if private.is_short(demands) then
    return private.refuse_group_move(
      actor, known.id, member_ids, 'AUTHORIZATION_EXCEEDED',
      'An authorization of one of the clients has too few units left, or does not cover the date.'
    );
  end if;

  if wanted.override_reason is not null then
    perform private.record_event(
      actor.organization_id, 'override.availability', 'session', member_ids, as_of,
      therapist_id => wanted.therapist_id,
      actor_role => actor.role::text,
      details => jsonb_build_object('groupId', known.id, 'reason', wanted.override_reason)
    );
  end if;
  -- Members first, all columns at once: triggers give them exactly their new claims and units.
  set constraints public.sessions_at_the_place_of_their_group deferred;
  update public.sessions as member
  set therapist_id = wanted.therapist_id, start_time = wanted.start_times[1], end_time = wanted.end_times[1],
    time_zone = wanted.time_zones[1], room_id = wanted.room_id,
    buffer_before_minutes = wanted.buffer_before_minutes, buffer_after_minutes = wanted.buffer_after_minutes
  where member.organization_id = actor.organization_id and member.id = any (member_ids);
  update public.session_groups as moved
  set therapist_id = wanted.therapist_id, start_time = wanted.start_times[1], end_time = wanted.end_times[1]
  where moved.organization_id = actor.organization_id and moved.id = known.id;
  set constraints public.sessions_at_the_place_of_their_group immediate;
  return private.success(jsonb_build_object('groupId', known.id, 'sessions', (
    select jsonb_agg(to_jsonb(session) order by session.id)
    from public.sessions as session
    where session.organization_id = actor.organization_id and session.id = any (member_ids)
  )));
exception
  when lock_not_available or deadlock_detected or serialization_failure or query_canceled then
    perform private.raise_busy();
end
$$;
comment on function private.move_group(jsonb, text) is 'See the public wrapper.';
grant execute on function private.move_group(jsonb, text) to authenticated;

create function public.move_group(request jsonb, request_id text default null)
returns jsonb
language sql
volatile
set search_path = ''
begin atomic
  select private.move_group(move_group.request, move_group.request_id);
end;
comment on function public.move_group(jsonb, text) is
  'Moves a group with all its clients, at once and without a hold. request is {group_id, start_time, end_time, '
  'start_time_offset_minutes, end_time_offset_minutes, time_zone, therapist_id?, room_id?, override?}. Outcome body: '
  '{groupId, sessions}. Refusals are those of sessions-hold.';
grant execute on function public.move_group(jsonb, text) to authenticated;
