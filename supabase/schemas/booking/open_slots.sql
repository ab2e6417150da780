-- Purpose: which times are free, before anybody holds anything.
-- Objects: find_open_slots.
-- Watch for: it is stable and can be called with GET, so it may be answered by a replica: a slot listed as free can be
--            gone a moment later, and only holding it decides. It sees exactly what a hold would see.

create function private.without_service(
  organization_id uuid,
  therapist_id uuid,
  starts tstzmultirange,
  client_ids uuid[],
  cpt_code text,
  duration interval,
  as_of timestamptz
)
returns tstzmultirange
language plpgsql
stable
set search_path = ''
as $$
declare
  days tstzrange[];
  places private.asked_place[];
  granted boolean[];
begin
  if cpt_code is null then
    return '{}';
  end if;
  -- Units and codes go by the date of service, so that one start stands for its day. First all days together: what is granted
  -- beside the days before it is granted alone. The others are asked one by one.
  select
    array_agg(day.during order by day.at, day.client_id),
    array_agg(
      row(
        0, day.client_id, without_service.cpt_code, day.start, day.start + duration, null, null
      )::private.asked_place
      order by day.at, day.client_id
    )
  into days, places
  from (
    select distinct on (member.id, date.at)
      member.id as client_id, date.at, date.during, lower(date.during * run.starts) as start
    from unnest(client_ids) as member (id)
    cross join lateral private.service_zone(without_service.organization_id, member.id) as zone
    cross join unnest(starts) as run (starts)
    cross join lateral (
      select local.at, tstzrange(
        private.start_of_day(local.at::date, zone), private.start_of_day(local.at::date + 1, zone), '[)'
      ) as during
      from generate_series(
        date_trunc('day', lower(run.starts) at time zone zone), upper(run.starts) at time zone zone, interval '1 day'
      ) as local (at)
    ) as date
    where date.during && run.starts
    order by member.id, date.at
  ) as day;
  granted := private.services_available(organization_id, therapist_id, places, as_of);
  return coalesce((
    select range_agg(asked.during)
    from unnest(days, granted) with ordinality as asked (during, granted, position)
    where not asked.granted
      and not (private.services_available(organization_id, therapist_id, array[places[asked.position]], as_of))[1]
  ), '{}');
end
$$;
comment on function private.without_service(uuid, uuid, tstzmultirange, uuid[], text, interval, timestamptz) is
  'The days, of those on which a booking may start, on which a client has too few units left for this service, or it is no '
  'service of this therapist.';

create function private.find_open_slots(
  therapist_id uuid,
  from_time timestamptz,
  to_time timestamptz,
  duration_minutes integer,
  client_id uuid default null,
  room_id uuid default null,
  time_zone text default null,
  buffer_before_minutes integer default 0,
  buffer_after_minutes integer default 0,
  cpt_code text default null,
  client_ids uuid[] default null
)
returns table (start_time timestamptz, end_time timestamptz)
language plpgsql
stable
security definer
set search_path = ''
set plan_cache_mode = 'force_generic_plan'
as $$
#variable_conflict use_column
declare
  actor private.actor := private.require_actor();
  members constant uuid[] := array(
    select distinct member.id
    from unnest(find_open_slots.client_ids || find_open_slots.client_id) as member (id)
    where member.id is not null
  );
  services constant public.service_codes[] := array(
    select service from public.service_codes as service
    where service.code = find_open_slots.cpt_code
      and (service.organization_id is null or service.organization_id = actor.organization_id)
  );
  as_of timestamptz := statement_timestamp();
  duration interval;
  zone text;
  asked private.asked_booking;
  span tstzrange;
  free tstzmultirange;
begin
  perform private.require(array[
    row('therapist_id', 'is required', find_open_slots.therapist_id is null),
    row('from_time', 'is required', from_time is null or not isfinite(from_time)),
    row('to_time', 'is required', to_time is null or not isfinite(to_time)),
    row('to_time', 'must be after from_time', isfinite(to_time) and to_time <= from_time),
    row('duration_minutes', 'must be between 1 and 720', coalesce(duration_minutes, 0) not between 1 and 720),
    row('buffer_before_minutes', 'must be between 0 and 240', buffer_before_minutes not between 0 and 240),
    row('buffer_after_minutes', 'must be between 0 and 240', buffer_after_minutes not between 0 and 240),
    row('client_ids', 'must be at most 8 clients', cardinality(members) > 8),
    row('cpt_code', 'is no service code that is known here', find_open_slots.cpt_code is not null and services = '{}'),
    row('client_ids', 'are fewer or more clients than this service is for',
      services <> '{}' and members <> '{}' and not exists (
        select from unnest(services) as service
        where cardinality(members) between service.min_clients and service.max_clients
      )),
    row('time_zone', 'must be a known IANA time zone, like America/Los_Angeles',
      find_open_slots.time_zone not in (select known.name from public.time_zones as known)),
    row('client_ids', 'must not be null', array_position(find_open_slots.client_ids, null) is not null)
  ]::private.rule[]);
  select coalesce(find_open_slots.time_zone, therapist.time_zone) into zone
  from public.therapists as therapist
  -- Whoever has left renders nothing any more.
  join public.memberships as membership
    on membership.organization_id = therapist.organization_id
    and membership.user_id = therapist.id
    and membership.role <> 'client'
  where therapist.organization_id = actor.organization_id
    and therapist.id = find_open_slots.therapist_id
    and therapist.deleted_at is null
    and (actor.role in ('admin', 'super_admin') or (actor.role = 'therapist' and therapist.id = actor.user_id));
  if zone is null then
    perform private.raise_refusal(403, 'FORBIDDEN', 'You may not see this therapist''s calendar.');
  end if;
  -- Days of the grid's zone, or of 24 hours: whoever counts either way across a change of clocks is right.
  perform private.require(array[
    row('to_time', 'must be at most 62 days after from_time', to_time > greatest(
      from_time + interval '1488 hours', (from_time at time zone zone + interval '62 days') at time zone zone
    ))
  ]::private.rule[]);
  asked.therapist_id := find_open_slots.therapist_id;
  asked.room_id := find_open_slots.room_id;
  asked.buffer_before := make_interval(mins => coalesce(buffer_before_minutes, 0));
  asked.buffer_after := make_interval(mins => coalesce(buffer_after_minutes, 0));
  asked.places := array(
    select row(0, member.id, find_open_slots.cpt_code, null, null, null, null)::private.asked_place
    from unnest(members) as member (id)
  );
  if not private.may_ask(actor, asked)
    or (members <> '{}' and not private.may_render(actor.organization_id, asked.therapist_id, find_open_slots.cpt_code, null))
    or (room_id is not null and not exists (
    select 1
    from public.rooms as room
    where room.organization_id = actor.organization_id and room.id = find_open_slots.room_id and room.deleted_at is null
  )) then
    perform private.raise_refusal(403, 'FORBIDDEN', 'You may not book this client, room or service.');
  end if;

  -- What a hold would refuse is not listed: the past, and what lies more than 730 days ahead.
  duration := make_interval(mins => duration_minutes);
  if greatest(from_time, as_of) > least(to_time, as_of + interval '730 days') - duration then
    return;
  end if;
  span := tstzrange(greatest(from_time, as_of), least(to_time, as_of + interval '730 days') - duration, '[]');
  free := private.free_starts(
    actor.organization_id, asked, members, array_fill(find_open_slots.cpt_code, array[cardinality(members)]),
    duration, tstzmultirange(span), as_of
  );
  free := free - private.without_service(
    actor.organization_id, asked.therapist_id, free, members, find_open_slots.cpt_code, duration, as_of
  );

  -- An hour that comes twice has its quarters twice, one that clocks skip has none.
  return query
  select slot.at, slot.at + duration
  from private.zone_periods(zone, span) as period
  join unnest(free) as run (starts) on run.starts && period.during
  cross join lateral (select period.during * run.starts as starts) as part
  cross join lateral (select private.civil_range(part.starts, period.utc_offset) as starts) as civil
  cross join lateral generate_series(
    date_bin('15 minutes', lower(civil.starts), '2000-01-01'), upper(civil.starts), interval '15 minutes'
  ) as grid (at)
  cross join lateral (select (grid.at - period.utc_offset) at time zone 'UTC' as at) as slot
  where grid.at <@ civil.starts
  order by slot.at;
end
$$;

select private.publish('find_open_slots',
  'Every start on the 15-minute civil grid between two instants (at most 62 days apart) at which a hold of '
  'duration_minutes would be granted to the therapist and, when given, the client or clients (client_ids: a group), the '
  'room and the service (cpt_code: what may run beside it, and whose units). time_zone is the grid''s, by default the '
  'therapist''s.'
);
