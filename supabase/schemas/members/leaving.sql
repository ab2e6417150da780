-- Purpose: whoever is archived, leaves or changes level says how many sessions to come they leave behind, and may cancel them.
-- Objects: sessions_to_come, touched_answer; archive, set_credential; touched_sessions, the list by page. change_member and
--          remove_member (members.sql) ask here too.
-- Watch for: writing the rows over REST or SQL does the same to what can be booked, and tells nothing:
--            reports.schedule_problems lists what remains.

create function private.sessions_to_come(organization_id uuid, therapist_id uuid, client_id uuid, room_id uuid)
returns uuid[]
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
  -- One of the three is given, and each has an index of its own.
  return array(
    select session.id
    from (
      select found.id, found.start_time from public.sessions as found
      where found.organization_id = sessions_to_come.organization_id and found.therapist_id = sessions_to_come.therapist_id
        and found.status = 'scheduled' and found.start_time > clock_timestamp()
      union all
      select found.id, found.start_time from public.sessions as found
      where found.organization_id = sessions_to_come.organization_id and found.client_id = sessions_to_come.client_id
        and found.status = 'scheduled' and found.start_time > clock_timestamp()
      union all
      select found.id, found.start_time from public.sessions as found
      where found.organization_id = sessions_to_come.organization_id and found.room_id = sessions_to_come.room_id
        and found.status = 'scheduled' and found.start_time > clock_timestamp()
      union all
      select member.id, member.start_time
      from public.session_groups as known
      join public.sessions as member on member.organization_id = known.organization_id and member.group_id = known.id
      where known.organization_id = sessions_to_come.organization_id and known.room_id = sessions_to_come.room_id
        and member.status = 'scheduled' and member.start_time > clock_timestamp()
    ) as session
    order by session.start_time, session.id
  );
end
$$;
comment on function private.sessions_to_come(uuid, uuid, uuid, uuid) is
  'The scheduled sessions that have not begun, of a therapist, a client or a room, the earliest first; members of a group in '
  'the room included.';

create function private.touched_answer(
  session_ids uuid[],
  cancels boolean,
  reason text,
  staff_time_ids uuid[] default '{}',
  leaving_id uuid default null
)
returns jsonb
language sql
set search_path = ''
return jsonb_build_object(
  'touched', cardinality(session_ids),
  'cancelled', case when cancels then private.cancel_touched(session_ids, private.tidy(reason)) else 0 end,
  'touchedSessionIds', to_jsonb(session_ids[1:100]),
  'touchedStaffTimes', cardinality(staff_time_ids),
  'cancelledStaffTimes', case when cancels then private.end_touched_staff_times(staff_time_ids, leaving_id) else 0 end,
  'touchedStaffTimeIds', to_jsonb(staff_time_ids[1:100])
);
comment on function private.touched_answer(uuid[], boolean, text, uuid[], uuid) is
  'How many sessions and staff times are touched, how many of them this cancels, and the first hundred of each. leaving_id: '
  'the therapist who is no longer there, while the others of a meeting go on without them.';

-- Archiving --------------------------------------------------------------------------------------------------------

create function private.archive(actor private.actor, request jsonb)
returns jsonb
language plpgsql
set search_path = ''
as $$
#variable_conflict use_column
declare
  wanted private.archive_request := private.read_request(request, null::private.archive_request);
  archived_at timestamptz;
  touched_ids uuid[];
  staff_time_ids uuid[] := '{}';
begin
  if num_nonnulls(wanted.client_id, wanted.therapist_id, wanted.room_id) <> 1 then
    perform private.raise_invalid(private.issue('client_id', 'or therapist_id or room_id is required: one of the three'));
  elsif actor.role not in ('admin', 'super_admin') then
    return private.refusal(403, 'FORBIDDEN', 'Only an admin archives.');
  end if;

  -- Alone, so that no booking is made meanwhile that this would not count.
  perform private.take_organization(actor.organization_id);
  perform private.require_same_role(actor);
  with client as (
    update public.clients as known set deleted_at = coalesce(known.deleted_at, clock_timestamp())
    where known.organization_id = actor.organization_id and known.id = wanted.client_id
    returning known.deleted_at
  ),
  therapist as (
    update public.therapists as known set deleted_at = coalesce(known.deleted_at, clock_timestamp())
    where known.organization_id = actor.organization_id and known.id = wanted.therapist_id
    returning known.deleted_at
  ),
  room as (
    update public.rooms as known set deleted_at = coalesce(known.deleted_at, clock_timestamp())
    where known.organization_id = actor.organization_id and known.id = wanted.room_id
    returning known.deleted_at
  )
  select archived.deleted_at into archived_at
  from (select * from client union all select * from therapist union all select * from room) as archived;
  if archived_at is null then
    return private.refusal(403, 'FORBIDDEN', 'There is no such client, therapist or room in your organization.');
  end if;
  touched_ids := private.sessions_to_come(
    actor.organization_id, wanted.therapist_id, wanted.client_id, wanted.room_id
  );
  if wanted.client_id is null then
    staff_time_ids := private.staff_times_to_come(actor.organization_id, wanted.therapist_id, wanted.room_id);
  end if;
  return private.success(
    jsonb_strip_nulls(jsonb_build_object(
      'clientId', wanted.client_id, 'therapistId', wanted.therapist_id, 'roomId', wanted.room_id,
      'archivedAt', private.iso(archived_at)
    )) || private.touched_answer(
      touched_ids, coalesce(wanted.cancel_sessions, false), wanted.reason, staff_time_ids, wanted.therapist_id
    )
  );
end
$$;

select private.publish_booking('archive',
  'Archives a client, a therapist or a room, for admins: {client_id}, {therapist_id} or {room_id}. Nobody books them from '
  'then on; what is booked stays, unless cancel_sessions is true: then it is cancelled in the same transaction, with reason. '
  'Answers {archivedAt, touched, cancelled, touchedSessionIds, touchedStaffTimes, cancelledStaffTimes, touchedStaffTimeIds}: '
  'how many sessions, and how many staff times of a therapist or in a room, are to come, and the first hundred; the other '
  'sessions with touched_sessions. A meeting goes on without a therapist who leaves it. Restored by clearing deleted_at. '
  'Refused: FORBIDDEN.'
);

-- Levels -----------------------------------------------------------------------------------------------------------

create function private.set_credential(actor private.actor, request jsonb)
returns jsonb
language plpgsql
set search_path = ''
as $$
#variable_conflict use_column
declare
  wanted private.credential_request :=
    private.read_request(request, null::private.credential_request, '{therapist_id,credential}');
  changed uuid;
  touched_ids uuid[];
begin
  if actor.role not in ('admin', 'super_admin') then
    return private.refusal(403, 'FORBIDDEN', 'Only an admin changes a credential.');
  end if;

  -- Alone, so that no booking is made meanwhile that this would not count.
  perform private.take_organization(actor.organization_id);
  perform private.require_same_role(actor);
  update public.therapists as known
  set credential = wanted.credential
  where known.organization_id = actor.organization_id and known.id = wanted.therapist_id
  returning known.id into changed;
  if changed is null then
    return private.refusal(403, 'FORBIDDEN', 'There is no such therapist in your organization.');
  end if;
  touched_ids := array(
    select session.id
    from unnest(private.sessions_to_come(actor.organization_id, wanted.therapist_id, null, null))
      with ordinality as named (id, position)
    join public.sessions as session on session.organization_id = actor.organization_id and session.id = named.id
    cross join lateral (
      select private.service_date(session.organization_id, session.client_id, session.start_time) as date offset 0
    ) as day
    where not private.may_render(
      session.organization_id, session.therapist_id,
      private.service_code(session.organization_id, session.cpt_code, session.session_type, day.date), day.date
    )
    order by named.position
  );
  return private.success(
    jsonb_build_object('therapistId', changed, 'credential', wanted.credential)
    || private.touched_answer(touched_ids, coalesce(wanted.cancel_sessions, false), wanted.reason)
  );
end
$$;

select private.publish_booking('set_credential',
  'Changes a therapist''s credential, for admins, from today on: {therapist_id, credential, cancel_sessions?, reason?}. '
  'Answers {therapistId, credential, touched, cancelled, touchedSessionIds}: touched are the sessions to come that the new '
  'level may not render. Refused: FORBIDDEN.'
);

-- Which they are ---------------------------------------------------------------------------------------------------

create function private.touched_sessions(request jsonb)
returns jsonb
language plpgsql
stable
security definer
set search_path = ''
set timezone = 'UTC'
as $$
declare
  actor private.actor := private.require_actor();
  wanted private.touched_request := private.read_request(request, null::private.touched_request);
  most constant integer := coalesce(wanted."limit", 100);
  listed uuid[];
  page uuid[];
begin
  if num_nonnulls(wanted.client_id, wanted.therapist_id, wanted.room_id) <> 1 then
    perform private.raise_invalid(private.issue('client_id', 'or therapist_id or room_id is required: one of the three'));
  elsif actor.role not in ('admin', 'super_admin') then
    perform private.raise_refusal(403, 'FORBIDDEN', 'Only an admin reads what somebody leaves behind.');
  end if;
  listed := private.sessions_to_come(actor.organization_id, wanted.therapist_id, wanted.client_id, wanted.room_id);
  -- After a session that is there no more, the page begins with the next one.
  page := array(
    select session.id
    from unnest(listed) as named (id)
    join public.sessions as session on session.organization_id = actor.organization_id and session.id = named.id
    left join public.sessions as last on last.organization_id = actor.organization_id and last.id = wanted.after
    where last.id is null or (session.start_time, session.id) > (last.start_time, last.id)
    order by session.start_time, session.id
    limit most + 1
  );
  return jsonb_build_object(
    'total', cardinality(listed),
    'sessions', coalesce((
      select jsonb_agg(jsonb_build_object(
        'sessionId', session.id, 'startTime', private.iso(session.start_time), 'endTime', private.iso(session.end_time),
        'therapistId', session.therapist_id, 'clientId', session.client_id
      ) order by session.start_time, session.id)
      from unnest(page[1:most]) as named (id)
      join public.sessions as session on session.organization_id = actor.organization_id and session.id = named.id
    ), '[]'),
    'next', case when cardinality(page) > most then page[most] end
  );
end
$$;

select private.publish('touched_sessions',
  'The sessions to come of a client, a therapist or a room, by page, for admins: {client_id} or {therapist_id} or {room_id}, '
  'and {after?, limit?} (1 to 500, by default 100). Answers {total, sessions: [{sessionId, startTime, endTime, therapistId, '
  'clientId}], next}: give next as after for the next page; null: there is none.'
);
