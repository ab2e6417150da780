-- Purpose: what is free, before anybody holds anything.
-- Objects: find_open_slots, find_alternatives, preview_series.
-- Watch for: all are stable and can be called with GET, so they may be answered by a replica: a slot listed as free
--            can be gone a moment later, and only holding it decides. They see exactly what a hold would see.

create function private.find_open_slots(
  therapist_id uuid,
  from_time timestamptz,
  to_time timestamptz,
  duration_minutes integer,
  client_id uuid,
  room_id uuid,
  time_zone text,
  buffer_before_minutes integer,
  buffer_after_minutes integer
)
returns table (start_time timestamptz, end_time timestamptz)
language plpgsql
stable
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  actor private.actor := private.require_actor();
  found jsonb;
  span tstzrange;
  zone text;
  as_of timestamptz := statement_timestamp();
  free tstzmultirange;
begin
  found := case when therapist_id is null then private.issue('therapist_id', 'is required') else '[]' end
    || case
      when from_time is null or not isfinite(from_time) then private.issue('from_time', 'is required')
      else '[]'
    end
    || case
      when to_time is null or not isfinite(to_time) then private.issue('to_time', 'is required')
      when to_time <= from_time then private.issue('to_time', 'must be after from_time')
      when isfinite(from_time) and to_time > from_time + interval '62 days'
        then private.issue('to_time', 'must be at most 62 days after from_time')
      else '[]'
    end
    || case
      when coalesce(duration_minutes, 0) not between 1 and 720
        then private.issue('duration_minutes', 'must be between 1 and 720')
      else '[]'
    end
    || case
      when coalesce(buffer_before_minutes, 0) not between 0 and 240
        then private.issue('buffer_before_minutes', 'must be between 0 and 240')
      else '[]'
    end
    || case
      when coalesce(buffer_after_minutes, 0) not between 0 and 240
        then private.issue('buffer_after_minutes', 'must be between 0 and 240')
      else '[]'
    end
    || coalesce(private.zone_issue('time_zone', to_jsonb(time_zone), false), '[]');
  if found <> '[]' then
    perform private.raise_invalid(found);
  end if;

  select coalesce(find_open_slots.time_zone, therapist.time_zone) into zone
  from public.therapists as therapist
  where therapist.organization_id = actor.organization_id
    and therapist.id = find_open_slots.therapist_id
    and therapist.deleted_at is null
    and (actor.role in ('admin', 'super_admin') or (actor.role = 'therapist' and therapist.id = actor.user_id));
  if zone is null then
    perform private.raise_refusal(403, 'FORBIDDEN', 'You may not see this therapist''s calendar.');
  elsif not (case
    when client_id is not null
      then private.may_book(actor, find_open_slots.therapist_id, find_open_slots.client_id, find_open_slots.room_id)
    when room_id is not null then exists (
      select 1
      from public.rooms as room
      where room.organization_id = actor.organization_id and room.id = find_open_slots.room_id and room.deleted_at is null
    )
    else true
  end) then
    perform private.raise_refusal(403, 'FORBIDDEN', 'You may not book this client or room.');
  end if;

  -- What a hold would refuse is not listed: the past, and what lies more than 730 days ahead.
  if greatest(from_time, as_of) >= least(to_time, as_of + interval '730 days') then
    return;
  end if;
  span := tstzrange(greatest(from_time, as_of), least(to_time, as_of + interval '730 days'), '[)');
  free := coalesce(
    private.open_windows(actor.organization_id, find_open_slots.therapist_id, array[span]),
    tstzmultirange(tstzrange(lower(span) - interval '1 day', upper(span) + interval '1 day'))
  );

  return query
  with busy as (
    select
      coalesce(range_agg(claim.during) filter (where claim.resource_kind = 'therapist'), '{}') as therapist,
      coalesce(range_agg(claim.during) filter (where claim.resource_kind <> 'therapist'), '{}') as others
    from private.claims as claim
    where claim.organization_id = actor.organization_id
      and claim.during && tstzrange(lower(span) - interval '5 hours', upper(span) + interval '17 hours', '[)')
      and (claim.expires_at is null or claim.expires_at > as_of)
      and (
        (claim.resource_kind = 'therapist' and claim.resource_id = find_open_slots.therapist_id)
        or (claim.resource_kind = 'client' and claim.resource_id = find_open_slots.client_id)
        or (claim.resource_kind = 'room' and claim.resource_id = find_open_slots.room_id)
      )
  ),
  candidate as (
    select grid.civil at time zone zone as starts, grid.civil
    from generate_series(
      date_bin('15 minutes', lower(span) at time zone zone, timestamp '2000-01-01'),
      upper(span) at time zone zone,
      interval '15 minutes'
    ) as grid (civil)
  )
  select candidate.starts, candidate.starts + make_interval(mins => duration_minutes)
  from candidate
  cross join busy
  where candidate.starts >= lower(span)
    and candidate.starts + make_interval(mins => duration_minutes) <= upper(span)
    and candidate.starts at time zone zone = candidate.civil
    and free @> tstzrange(candidate.starts, candidate.starts + make_interval(mins => duration_minutes), '[)')
    and not busy.others && tstzrange(candidate.starts, candidate.starts + make_interval(mins => duration_minutes), '[)')
    and not busy.therapist && tstzrange(
      candidate.starts - make_interval(mins => coalesce(buffer_before_minutes, 0)),
      candidate.starts + make_interval(mins => duration_minutes + coalesce(buffer_after_minutes, 0)), '[)'
    )
  order by candidate.starts;
end
$$;
comment on function private.find_open_slots(
  uuid, timestamptz, timestamptz, integer, uuid, uuid, text, integer, integer
) is 'See the public wrapper.';
grant execute on function private.find_open_slots(
  uuid, timestamptz, timestamptz, integer, uuid, uuid, text, integer, integer
) to authenticated;

create function public.find_open_slots(
  therapist_id uuid,
  from_time timestamptz,
  to_time timestamptz,
  duration_minutes integer,
  client_id uuid default null,
  room_id uuid default null,
  time_zone text default null,
  buffer_before_minutes integer default 0,
  buffer_after_minutes integer default 0
)
returns table (start_time timestamptz, end_time timestamptz)
language sql
stable
set search_path = ''
begin atomic
  select slot.start_time, slot.end_time
  from private.find_open_slots(
    find_open_slots.therapist_id, find_open_slots.from_time, find_open_slots.to_time,
    find_open_slots.duration_minutes, find_open_slots.client_id, find_open_slots.room_id,
    find_open_slots.time_zone, find_open_slots.buffer_before_minutes, find_open_slots.buffer_after_minutes
  ) as slot;
end;
comment on function public.find_open_slots(
  uuid, timestamptz, timestamptz, integer, uuid, uuid, text, integer, integer
) is
  'Every start on the 15-minute civil grid between two instants (at most 62 days apart) at which duration_minutes are '
  'free for the therapist and, when given, the client and the room. time_zone is the grid''s, by default the therapist''s.';
grant execute on function public.find_open_slots(
  uuid, timestamptz, timestamptz, integer, uuid, uuid, text, integer, integer
) to authenticated;

create function private.find_alternatives(request jsonb)
returns jsonb
language plpgsql
stable
security definer
set search_path = ''
set timezone = 'UTC'
as $$
declare
  actor private.actor := private.require_actor();
  wanted private.booking_request := private.parse_booking_request(request);
begin
  if not private.may_book(actor, wanted.therapist_id, wanted.client_id, wanted.room_id) then
    perform private.raise_refusal(403, 'FORBIDDEN', 'You may not book this therapist, client or room.');
  end if;
  return private.find_alternatives(
    actor.organization_id, private.with_moved(actor.organization_id, wanted), statement_timestamp()
  );
end
$$;
comment on function private.find_alternatives(jsonb) is 'See the public wrapper.';
grant execute on function private.find_alternatives(jsonb) to authenticated;

create function public.find_alternatives(request jsonb)
returns jsonb
language sql
stable
set search_path = ''
begin atomic
  select private.find_alternatives(find_alternatives.request);
end;
comment on function public.find_alternatives(jsonb) is
  'For the body of a refused sessions-hold: [{startTime, endTime}], at most five other first windows, nearest first, at '
  'which the same request would succeed right now. Apart from the hold, so that no rival waits while it is computed.';
grant execute on function public.find_alternatives(jsonb) to authenticated;

create function private.preview_series(request jsonb)
returns jsonb
language plpgsql
stable
security definer
set search_path = ''
set timezone = 'UTC'
as $$
declare
  actor private.actor := private.require_actor();
  wanted private.booking_request := private.parse_booking_request(request);
  spread private.booking_request;
  as_of timestamptz := statement_timestamp();
  windows tstzmultirange;
  conflicts jsonb;
begin
  perform private.require_bookable_window(wanted, as_of);
  if not private.may_book(actor, wanted.therapist_id, wanted.client_id, wanted.room_id) then
    perform private.raise_refusal(403, 'FORBIDDEN', 'You may not book this therapist or client.');
  end if;
  spread := private.with_moved(actor.organization_id, private.with_members(wanted));
  windows := private.open_windows(actor.organization_id, wanted.therapist_id, array(
    select tstzrange(item.start_time, item.end_time, '[)')
    from unnest(wanted.start_times, wanted.end_times) as item (start_time, end_time)
  ));
  select found.conflicts into conflicts
  from private.find_conflicts(
    actor.organization_id,
    private.wanted_claims(
      actor.organization_id, spread, array(select gen_random_uuid() from unnest(spread.start_times))
    ),
    spread.session_ids,
    as_of
  ) as found;

  return jsonb_build_object('occurrences', (
    select jsonb_agg(
      jsonb_build_object(
        'index', item.position - 1,
        'startTime', private.iso(item.start_time),
        'endTime', private.iso(item.end_time),
        'blockedBy', case
          when not windows @> tstzrange(item.start_time, item.end_time, '[)') then 'availability'
          else worst.value ->> 'resource'
        end,
        'by', case
          when windows @> tstzrange(item.start_time, item.end_time, '[)') is not false then worst.value ->> 'blockedBy'
        end
      )
      order by item.position
    )
    from unnest(wanted.start_times, wanted.end_times) with ordinality as item (start_time, end_time, position)
    left join lateral (
      select conflict.value
      from jsonb_array_elements(conflicts) as conflict (value)
      where (conflict.value ->> 'occurrenceIndex')::integer = item.position - 1
      order by conflict.value ->> 'blockedBy' = 'hold', conflict.value ->> 'resource' <> 'therapist',
        conflict.value ->> 'resource' <> 'client'
      limit 1
    ) as worst on true
  ));
end
$$;
comment on function private.preview_series(jsonb) is 'See the public wrapper.';
grant execute on function private.preview_series(jsonb) to authenticated;

create function public.preview_series(request jsonb)
returns jsonb
language sql
stable
set search_path = ''
begin atomic
  select private.preview_series(preview_series.request);
end;
comment on function public.preview_series(jsonb) is
  'For the body of sessions-hold, without holding: {occurrences: [{index, startTime, endTime, blockedBy: null | '
  'therapist | client | room | availability, by: null | session | hold}]}, by as a hold would decide it now.';
grant execute on function public.preview_series(jsonb) to authenticated;
