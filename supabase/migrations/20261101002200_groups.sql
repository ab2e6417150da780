-- Purpose: groups keep their size, and move whole.
-- Objects: the limit of eight; private.move_group, public.move_group.
-- Watch for: members join and leave one by one (cancelling one leaves the others), but therapist and times are the
--            group's, by a composite foreign key, so moving the group's row moves every member in the same statement.

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
    having count(distinct member.id) > 8
  ) then
    raise exception using
      errcode = 'check_violation',
      constraint = 'group_of_at_most_eight',
      schema = 'public',
      table = 'sessions',
      message = 'a group has at most eight clients',
      hint = 'Make a second group.';
  end if;
  return null;
end
$$;
comment on function private.guard_group_size() is 'Trigger: nobody joins a group that has eight clients.';
create trigger c_guard_group_size after insert on public.sessions
  referencing new table as new_rows
  for each statement execute function private.guard_group_size();

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
  members record;
  wanted private.booking_request;
  claims private.wanted_claim[];
  way record;
  outcome jsonb;
  demands private.unit_demand[];
  as_of timestamptz;
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
  select
    array_agg(session.id order by session.id) as ids,
    array_agg(session.client_id order by session.id) as client_ids,
    bool_and(session.status = 'scheduled') as all_movable,
    (array_agg(session.room_id))[1] as room_id,
    max(session.buffer_before_minutes) as buffer_before,
    max(session.buffer_after_minutes) as buffer_after,
    (array_agg(private.service_code(session.cpt_code, session.session_type)))[1] as cpt_code
  into members
  from public.sessions as session
  where session.organization_id = actor.organization_id
    and session.group_id = known.id
    and session.status not in ('cancelled', 'no_show');
  if known.id is null or members.ids is null then
    return private.refuse_group_move(
      actor, (request ->> 'group_id')::uuid, null, 'FORBIDDEN', 'This group is not yours to move.'
    );
  elsif not members.all_movable then
    return private.refuse_group_move(
      actor, known.id, members.ids, 'SESSION_NOT_MOVABLE', 'A session of the group has begun. Only a group that has not begun moves.'
    );
  end if;

  wanted := private.parse_booking_request(
    (request - array['session_id', 'client_ids', 'occurrences', 'recurrence', 'group_id'])
    || jsonb_build_object(
      'therapist_id', coalesce(request -> 'therapist_id', to_jsonb(known.therapist_id)),
      'client_id', members.client_ids[1],
      'room_id', coalesce(request -> 'room_id', to_jsonb(members.room_id)),
      'buffer_before_minutes', members.buffer_before, 'buffer_after_minutes', members.buffer_after,
      'cpt_code', members.cpt_code
    )
  );
  if exists (
    select 1
    from unnest(members.client_ids) as member (client_id)
    where not private.may_book(actor, wanted.therapist_id, member.client_id, wanted.room_id)
  ) or not private.may_render(actor.organization_id, wanted.therapist_id, members.cpt_code)
    or (wanted.override_reason is not null and actor.role not in ('admin', 'super_admin'))
  then
    return private.refuse_group_move(
      actor, known.id, members.ids, 'FORBIDDEN', 'You may not book this therapist, these clients or this room.'
    );
  end if;
  wanted.client_ids := members.client_ids;
  wanted.session_ids := members.ids;
  wanted.slot_clients := members.client_ids;
  wanted.slot_groups := array(select known.id from unnest(members.ids));
  wanted.start_times := array(select wanted.start_times[1] from unnest(members.ids));
  wanted.end_times := array(select wanted.end_times[1] from unnest(members.ids));
  wanted.time_zones := array(select wanted.time_zones[1] from unnest(members.ids));

  -- Whoever claims the old place or the new one must find the group in one of them.
  perform private.lock_resources(
    actor.organization_id,
    members.client_ids || array[known.therapist_id, wanted.therapist_id, members.room_id, wanted.room_id]
  );
  as_of := clock_timestamp();
  perform private.require_bookable_window(wanted, as_of);
  claims := private.wanted_claims(actor.organization_id, wanted, members.ids);
  select * into way from private.find_conflicts(actor.organization_id, claims, members.ids, as_of);
  if way.conflicts is not null then
    outcome := private.conflict_code(way.conflicts, way.concurrent_lanes);
    return private.refuse_group_move(
      actor, known.id, members.ids, outcome ->> 'code', outcome ->> 'detail', way.retry_after, way.conflicts
    );
  elsif wanted.override_reason is null and not private.is_open(actor.organization_id, wanted) then
    return private.refuse_group_move(
      actor, known.id, members.ids, 'OUTSIDE_AVAILABILITY', 'The therapist does not work then.'
    );
  end if;
  demands := private.ask_units(
    actor.organization_id, private.wanted_services(actor.organization_id, wanted, members.ids), as_of
  );
  if private.is_short(demands) then
    return private.refuse_group_move(
      actor, known.id, members.ids, 'AUTHORIZATION_EXCEEDED',
      'An authorization of one of the clients has too few units left, or does not cover the date.'
    );
  end if;

  if wanted.override_reason is not null then
    perform private.record_event(
      actor.organization_id, 'override.availability', 'session', members.ids, as_of,
      therapist_id => wanted.therapist_id,
      actor_role => actor.role::text,
      details => jsonb_build_object('groupId', known.id, 'reason', wanted.override_reason)
    );
  end if;
  -- One statement moves every member, by the foreign key; triggers move their claims and units.
  update public.session_groups as moved
  set therapist_id = wanted.therapist_id, start_time = wanted.start_times[1], end_time = wanted.end_times[1]
  where moved.organization_id = actor.organization_id and moved.id = known.id;
  if wanted.room_id is distinct from members.room_id then
    update public.sessions as session
    set room_id = wanted.room_id
    where session.organization_id = actor.organization_id and session.id = any (members.ids);
  end if;
  return private.success(jsonb_build_object('groupId', known.id, 'sessions', (
    select jsonb_agg(to_jsonb(session) order by session.id)
    from public.sessions as session
    where session.organization_id = actor.organization_id and session.id = any (members.ids)
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
  '{groupId, sessions}. Refusals are those of sessions-hold, and SESSION_NOT_MOVABLE.';
grant execute on function public.move_group(jsonb, text) to authenticated;
