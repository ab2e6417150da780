-- Purpose: a zone's law has changed; what was booked for 10:00 is at 10:00 again.
-- Objects: sessions_off_their_time, resync_obstacle, resync_shortages, resync_zone; reports.moved_by_zone_rules lists what it would move.
-- Watch for: what was meant is civil_start; start_time is what the rules of that day made of it. A session whose clocks show
--            its civil_start is right, and so is one whose civil_start clocks skip, moved on by the gap.

create type private.resynced_session as (
  id uuid, group_id uuid, start_time timestamptz, end_time timestamptz, new_start_time timestamptz, new_end_time timestamptz
);
comment on type private.resynced_session is 'A session that is off the civil time it was booked for, and where that time is now.';

create function private.sessions_off_their_time(organization_id uuid, zone text, as_of timestamptz)
returns private.resynced_session[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return array(
    select row(
      session.id, session.group_id, session.start_time, session.end_time, meant.start_time,
      meant.start_time + (session.end_time - session.start_time)
    )::private.resynced_session
    from public.sessions as session
    cross join lateral (
      select private.instant_at(session.civil_start, session.time_zone) as start_time offset 0
    ) as meant
    where session.organization_id = sessions_off_their_time.organization_id
      and session.time_zone = zone
      and session.start_time > as_of
      and session.status = 'scheduled'
      and session.start_time at time zone session.time_zone <> session.civil_start
      and meant.start_time <> session.start_time
    order by session.start_time, session.id
  );
end
$$;
comment on function private.sessions_off_their_time(uuid, text, timestamptz) is
  'The future sessions of a zone that no longer show the civil time they were booked for, and where it is.';

create function private.resync_obstacle(
  organization_id uuid,
  moved private.resynced_session[],
  as_of timestamptz
)
returns private.obstacle
language plpgsql
stable
set search_path = ''
as $$
declare
  session_ids constant uuid[] := array(select each.id from unnest(moved) as each order by each.new_start_time, each.id);
  owner_ids constant uuid[] := session_ids || array(
    select distinct each.group_id from unnest(moved) as each where each.group_id is not null
  );
  -- The first member of a group is told of its therapist and room: the last slot of several with one group counts.
  slots constant private.slot[] := array(
    select row(
      each.id, row_number() over (order by each.new_start_time, each.id) - 1, null, null, each.group_id, each.id,
      each.new_start_time, each.new_end_time, null, null, null, null, null, null
    )::private.slot
    from unnest(moved) as each
    order by each.new_start_time desc, each.id desc
  );
  obstacle private.obstacle :=
    private.find_conflicts(slots, private.claims_of(organization_id, owner_ids, as_of), owner_ids, as_of);
begin
  obstacle.conflicts := (
    select jsonb_agg(
      item.value || jsonb_build_object('sessionId', session_ids[(item.value ->> 'occurrenceIndex')::integer + 1])
      order by item.position
    )
    from jsonb_array_elements(obstacle.conflicts) with ordinality as item (value, position)
  );
  return obstacle;
end
$$;
comment on function private.resync_obstacle(uuid, private.resynced_session[], timestamptz) is
  'What is in the way of these sessions at their new places, where their rows already are: told as in a 409 of a hold, a '
  'conflict for each session and resource, with sessionId. occurrenceIndex counts the sessions by their new start.';

create function private.resync_issue(organization_id uuid, moved private.resynced_session[], as_of timestamptz)
returns private.cause
language plpgsql
stable
set search_path = ''
as $$
declare
  cause private.cause;
  session_ids constant uuid[] := array(select each.id from unnest(moved) as each);
begin
  select max(batch.expires_at) into cause.retry_after
  from public.session_holds as hold
  join public.hold_batches as batch on batch.organization_id = hold.organization_id and batch.id = hold.batch_id
  where hold.organization_id = resync_issue.organization_id
    and hold.status = 'held'
    and batch.expires_at > as_of
    and (hold.session_id = any (session_ids) or hold.group_id = any (array(select each.group_id from unnest(moved) as each)));
  if cause.retry_after is not null then
    cause.code := 'SESSION_BEING_MOVED';
    cause.detail := 'Somebody is moving one of these sessions, or joining its group. Try again when their hold has ended.';
    return cause;
  end if;
  -- A group is in one place: all who come are booked for the same civil time of this zone, or nobody moves.
  select jsonb_agg(jsonb_build_object(
    'occurrenceIndex', torn.number, 'sessionId', member.id, 'resource', 'client', 'blockedBy', 'session',
    'startTime', private.iso(member.start_time), 'endTime', private.iso(member.end_time)
  ) order by member.start_time, member.id) into cause.conflicts
  from (
    select mate.group_id, min(mate.number) as number
    from (
      select each.group_id, row_number() over (order by each.new_start_time, each.id) - 1 as number from unnest(moved) as each
    ) as mate
    where mate.group_id is not null
    group by mate.group_id
  ) as torn
  join public.sessions as member on member.group_id = torn.group_id
  where member.organization_id = resync_issue.organization_id
    and member.status not in ('cancelled', 'no_show')
    and not exists (
      select from unnest(moved) as each
      where each.id = member.id and each.new_start_time = all (
        select mate.new_start_time from unnest(moved) as mate where mate.group_id = member.group_id
      )
    );
  if cause.conflicts is not null then
    cause.code := 'SESSION_NOT_MOVABLE';
    cause.detail := 'A group has members who were booked for other civil times, or in another zone. Move it by hand first.';
  end if;
  return cause;
end
$$;
comment on function private.resync_issue(uuid, private.resynced_session[], timestamptz) is
  'What forbids these sessions to go back to their civil times: one is being moved, or a group would be torn apart.';

create function private.resync_shortages(organization_id uuid, moved private.resynced_session[], as_of timestamptz)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
  -- Only what goes to another day of service asks for units anew.
  others constant public.sessions[] := array(
    select session
    from unnest(moved) as each
    join public.sessions as session
      on session.organization_id = resync_shortages.organization_id and session.id = each.id
    where private.service_date(session.organization_id, session.client_id, each.new_start_time)
      <> private.service_date(session.organization_id, session.client_id, session.start_time)
    order by each.new_start_time, each.id
  );
begin
  return private.told_by_session(jsonb_build_object('shortages', coalesce(private.shortages_of(
    private.quote_units(organization_id, array(
      select row(
        session.id, (session.ordinality - 1)::integer, session.client_id, private.billed_code_at(
          session.organization_id, session.client_id, session.cpt_code, session.session_type, each.new_start_time
        ), each.new_start_time, each.new_end_time, session.id, null, session.therapist_id, null
      )::private.service
      from unnest(others) with ordinality as session
      join unnest(moved) as each on each.id = session.id
    ), as_of)
  ), '[]')), others) -> 'shortages';
end
$$;
comment on function private.resync_shortages(uuid, private.resynced_session[], timestamptz) is
  'What is short of units where these sessions belong, as in a 409 of a hold, with sessionId.';

create function private.resync_zone(actor private.actor, zone text)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  moved private.resynced_session[];
  session_ids uuid[];
  group_ids uuid[];
  before jsonb;
  conflicts jsonb;
  more jsonb := '{}';
  cause private.cause;
  as_of timestamptz;
begin
  if actor.role <> 'super_admin' then
    return private.refuse(actor, 'session.refused', '{}', 'FORBIDDEN', 'Only a super_admin moves a zone''s sessions.',
      details => '{"attempted": "resync_zone"}');
  elsif not exists (select from public.time_zones as known where known.name = resync_zone.zone) then
    perform private.raise_invalid(private.issue('zone', 'must be an IANA time zone'));
  end if;
  -- Alone, so that nothing is booked meanwhile that would be in the way, or by the old rules.
  perform private.take_organization(actor.organization_id);
  perform private.require_same_role(actor);
  as_of := clock_timestamp();
  moved := private.sessions_off_their_time(actor.organization_id, zone, as_of);
  session_ids := array(select each.id from unnest(moved) as each);
  group_ids := array(select distinct each.group_id from unnest(moved) as each where each.group_id is not null);
  perform private.lock_moved(actor.organization_id, session_ids);
  cause := private.resync_issue(actor.organization_id, moved, as_of);
  if cause.code is null then
    begin
      perform private.keep_ended_members(actor.organization_id, group_ids);
      before := private.rows_of_sessions(actor.organization_id, session_ids);
      set constraints public.sessions_no_therapist_overlap, public.sessions_at_the_place_of_their_group deferred;
      update public.sessions as session
      set start_time = each.new_start_time, end_time = each.new_end_time, updated_at = as_of,
        -- The day of service may become another.
        cpt_modifiers = private.followed_modifiers(
          session, jsonb_populate_record(session, jsonb_build_object('start_time', each.new_start_time))
        )
      from unnest(moved) as each
      where session.organization_id = actor.organization_id and session.id = each.id;
      update public.session_groups as known
      set start_time = each.new_start_time, end_time = each.new_end_time
      from unnest(moved) as each
      where known.organization_id = actor.organization_id and known.id = each.group_id;
      conflicts := (private.resync_obstacle(actor.organization_id, moved, as_of)).conflicts;
      if conflicts is not null then
        raise exclusion_violation;
      end if;
      set constraints public.sessions_no_therapist_overlap, public.sessions_at_the_place_of_their_group immediate;
      perform private.settle_written(actor.organization_id, session_ids, group_ids, session_ids);
      perform private.audit_written(actor.organization_id, before, private.rows_of_sessions(actor.organization_id, session_ids));
    exception
      when exclusion_violation then
        cause.code := private.conflict_code(coalesce(conflicts, '[]')) ->> 'code';
        cause.detail := 'Other bookings are where these sessions belong: see conflicts. Move or cancel them first.';
        cause.conflicts := conflicts;
      when check_violation then
        cause.code := 'AUTHORIZATION_EXCEEDED';
        cause.detail := 'A session would take units on a day on which none are left: see shortages. Move it by hand first.';
        more := jsonb_build_object('shortages', private.resync_shortages(actor.organization_id, moved, as_of));
    end;
  end if;
  if cause.code is not null then
    return private.refuse(actor, 'session.refused', session_ids, cause.code, cause.detail, retry_after => cause.retry_after,
      conflicts => cause.conflicts, details => jsonb_build_object('attempted', 'resync_zone', 'zone', zone), more => more);
  end if;
  perform private.record_event(actor.organization_id, 'session.zone_resynced', 'session', session_ids, as_of,
    actor_role => actor.role::text, details => jsonb_build_object('zone', zone, 'moved', cardinality(session_ids)));
  return private.success(jsonb_build_object(
    'zone', zone, 'movedCount', cardinality(session_ids), 'movedSessionIds', to_jsonb(session_ids)
  ));
end
$$;

select private.publish_booking('resync_zone',
  'For a super_admin, after the law of a zone has changed and the database knows: moves every future session of that zone '
  'back to the civil time it was booked for, its group with it; reports.moved_by_zone_rules lists them. All or nothing: '
  '409 with conflicts, each with sessionId, when something else is there, or with shortages. Hours and closures are not asked anew. Answers '
  '{zone, movedCount, movedSessionIds}; nothing to move is 0.'
);
