-- Purpose: when a therapist works, which times are free, and which other times a refused request could have.
-- Objects: private.open_windows, private.is_open, private.find_alternatives, public.find_open_slots.
-- Watch for: weekly hours are civil time in the therapist's zone; windows are computed for each local date, so that
--            08:00 stays 08:00 across a daylight-saving change.

create function private.open_windows(organization_id uuid, therapist_id uuid, spans tstzrange[])
returns tstzmultirange
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    select weekly.windows + dated.extra - dated.off
    from public.therapists as therapist
    cross join lateral (
      select coalesce(
        range_agg(tstzrange(span.starts, span.ends, '[)'))
          -- A window that lies whole inside a daylight-saving gap has no length.
          filter (where span.starts < span.ends),
        '{}'
      ) as windows
      from (
        select distinct day.date
        from unnest(spans) as asked
        cross join lateral generate_series(
          (lower(asked) at time zone therapist.time_zone)::date - 1, upper(asked) at time zone therapist.time_zone,
          interval '1 day'
        ) as day (date)
      ) as day
      cross join lateral jsonb_array_elements(
        therapist.availability_hours
          -> (array['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday'])
            [extract(isodow from day.date)::integer]
      ) as item (value)
      cross join lateral (
        select
          (day.date::date + (item.value ->> 'start')::time) at time zone therapist.time_zone as starts,
          (day.date::date + (item.value ->> 'end')::time) at time zone therapist.time_zone as ends
      ) as span
    ) as weekly
    -- Exceptions apply where they touch what was asked for.
    cross join lateral (
      select
        coalesce(range_agg(tstzrange(exception.starts_at, exception.ends_at, '[)'))
          filter (where exception.kind = 'extra_hours'), '{}') as extra,
        coalesce(range_agg(tstzrange(exception.starts_at, exception.ends_at, '[)'))
          filter (where exception.kind = 'time_off'), '{}') as off
      from public.availability_exceptions as exception
      where exception.organization_id = therapist.organization_id
        and exception.therapist_id = therapist.id
        and exception.ends_at > (select min(lower(asked)) from unnest(spans) as asked)
        and exception.starts_at < (select max(upper(asked)) from unnest(spans) as asked)
    ) as dated
    where therapist.organization_id = open_windows.organization_id
      and therapist.id = open_windows.therapist_id
      and therapist.availability_hours is not null
  );
end
$$;
comment on function private.open_windows(uuid, uuid, tstzrange[]) is
  'The instants around the given spans in which the therapist works: weekly hours plus extra hours minus time off. '
  'Null when she keeps no hours, and so has no limit.';

create function private.is_open(organization_id uuid, wanted private.booking_request)
returns boolean
language plpgsql
stable
set search_path = ''
as $$
declare
  windows tstzmultirange;
begin
  -- Most requests lie in one weekly window of their own day, and no time off touches them. Whatever does not is looked at
  -- closely below.
  if (
    select
      not exists (
        select 1
        from public.availability_exceptions as exception
        where exception.organization_id = therapist.organization_id
          and exception.therapist_id = therapist.id
          and exception.kind = 'time_off'
          and exception.ends_at > any (wanted.start_times)
          and exception.starts_at < any (wanted.end_times)
      ) and (
        select bool_and(exists (
          select 1
          from jsonb_array_elements(
            therapist.availability_hours
              -> (array['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday'])
                [extract(isodow from item.start_time at time zone therapist.time_zone)::integer]
          ) as weekly (span)
          where ((item.start_time at time zone therapist.time_zone)::date + (weekly.span ->> 'start')::time)
              at time zone therapist.time_zone <= item.start_time
            and ((item.start_time at time zone therapist.time_zone)::date + (weekly.span ->> 'end')::time)
              at time zone therapist.time_zone >= item.end_time
        ))
        from unnest(wanted.start_times, wanted.end_times) as item (start_time, end_time)
      )
    from public.therapists as therapist
    where therapist.organization_id = is_open.organization_id and therapist.id = wanted.therapist_id
  ) then
    return true;
  end if;

  windows := private.open_windows(organization_id, wanted.therapist_id, array(
    select tstzrange(item.start_time, item.end_time, '[)')
    from unnest(wanted.start_times, wanted.end_times) as item (start_time, end_time)
  ));
  return windows is null or (
    select bool_and(windows @> tstzrange(item.start_time, item.end_time, '[)'))
    from unnest(wanted.start_times, wanted.end_times) as item (start_time, end_time)
  );
end
$$;
comment on function private.is_open(uuid, private.booking_request) is
  'Whether every occurrence lies inside the therapist''s hours. Buffers may reach outside them.';

create function private.find_alternatives(organization_id uuid, wanted private.booking_request, as_of timestamptz)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
  -- Shifts are seconds of civil time from the first occurrence as asked for.
  furthest constant integer := 14 * 86400;
  step constant integer := 15 * 60;
  first_start timestamp := wanted.start_times[1] at time zone wanted.time_zones[1];
  first_step integer := -furthest - extract(epoch from first_start)::bigint % step;
  windows tstzmultirange := private.open_windows(organization_id, wanted.therapist_id, array(
    select tstzrange(item.start_time - interval '15 days', item.end_time + interval '15 days', '[)')
    from unnest(wanted.start_times, wanted.end_times) as item (start_time, end_time)
  ));
  shifts integer[];
begin
  -- Each claim in the way of an occurrence rules out a range of shifts, and so does each hour off: what is left on
  -- the grid is tried exactly, nearest first. The work grows with the claims around, not with the grid.
  with occurrence as (
    select
      item.start_time at time zone item.time_zone as starts,
      (item.start_time at time zone item.time_zone) + (item.end_time - item.start_time) as ends,
      item.start_time, item.end_time, item.time_zone
    from unnest(wanted.start_times, wanted.end_times, wanted.time_zones) as item (start_time, end_time, time_zone)
  ),
  resource as (
    select needed.*
    from (
      values
        ('therapist'::public.resource_kind, wanted.therapist_id,
          wanted.buffer_before_minutes * 60, wanted.buffer_after_minutes * 60),
        ('room', wanted.room_id, 0, 0)
    ) as needed (kind, id, before, after)
    where needed.id is not null
    union all
    select 'client', member.id, 0, 0
    from unnest(coalesce(wanted.client_ids, array[wanted.client_id])) as member (id)
  ),
  taken as materialized (
    -- A claim in the hour that comes twice may end, by the clock on the wall, before it begins.
    select coalesce(range_agg(int4range(least(edge.from_shift, edge.to_shift), edge.to_shift)), '{}') as shifts
    from occurrence
    cross join resource
    join private.claims as claim
      on claim.organization_id = find_alternatives.organization_id
      and claim.resource_id = resource.id
      and claim.resource_kind = resource.kind
      and claim.during && tstzrange(
        occurrence.start_time - interval '15 days', occurrence.end_time + interval '15 days', '[)'
      )
    cross join lateral (
      select
        extract(epoch from (lower(claim.during) at time zone occurrence.time_zone) - occurrence.ends)::integer
          - resource.after + 1 as from_shift,
        extract(epoch from (upper(claim.during) at time zone occurrence.time_zone) - occurrence.starts)::integer
          + resource.before as to_shift
    ) as edge
    where (claim.expires_at is null or claim.expires_at > as_of)
      and claim.owner_id <> all (coalesce(wanted.session_ids, '{}'))
  ),
  open as materialized (
    select range_intersect_agg(possible.shifts) as shifts
    from (
      select coalesce(
        range_agg(int4range(
          extract(epoch from (lower(span) at time zone occurrence.time_zone) - occurrence.starts)::integer,
          extract(epoch from (upper(span) at time zone occurrence.time_zone) - occurrence.ends)::integer + 1
        )) filter (
          where (upper(span) at time zone occurrence.time_zone) - occurrence.ends
            >= (lower(span) at time zone occurrence.time_zone) - occurrence.starts
        ),
        '{}'
      ) as shifts
      from occurrence
      left join unnest(windows) as span
        on span && tstzrange(
          occurrence.start_time - interval '15 days', occurrence.end_time + interval '15 days', '[)'
        )
      group by occurrence.starts
    ) as possible
  )
  select array(
    select candidate.shift
    from generate_series(first_step, furthest, step) as candidate (shift)
    cross join taken
    cross join open
    cross join (
      select min(occurrence.start_time) as first_start, max(occurrence.end_time) as last_end from occurrence
    ) as bounds
    where abs(candidate.shift) <= furthest
      and not taken.shifts @> candidate.shift
      and (windows is null or open.shifts @> candidate.shift)
      -- Roughly, for clocks may change on the way: what is tried exactly must not be used up by what is past or too far.
      and as_of <= bounds.first_start + make_interval(secs => candidate.shift + 7200)
      and as_of + interval '730 days' >= bounds.last_end + make_interval(secs => candidate.shift - 7200)
    order by abs(candidate.shift), candidate.shift
    limit 16
  ) into shifts;

  return coalesce((
    select jsonb_agg(
      jsonb_build_object('startTime', private.iso(free.start_time), 'endTime', private.iso(free.end_time))
      order by free.position
    )
    from (
      select
        candidate.position,
        (array_agg(shifted.start_time order by shifted.position))[1] as start_time,
        (array_agg(shifted.end_time order by shifted.position))[1] as end_time
      from unnest(shifts) with ordinality as candidate (shift, position)
      cross join lateral (
        select
          (item.start_time at time zone item.time_zone + make_interval(secs => candidate.shift))
            as civil_start,
          (item.start_time at time zone item.time_zone + make_interval(secs => candidate.shift))
            at time zone item.time_zone as start_time,
          (item.start_time at time zone item.time_zone + make_interval(secs => candidate.shift))
            at time zone item.time_zone + (item.end_time - item.start_time) as end_time,
          item.time_zone,
          item.position
        from unnest(wanted.start_times, wanted.end_times, wanted.time_zones)
          with ordinality as item (start_time, end_time, time_zone, position)
      ) as shifted
      group by candidate.position
      having bool_and(
        shifted.start_time >= as_of
        and shifted.end_time <= as_of + interval '730 days'
        -- A civil time that daylight saving skips would come out as another.
        and shifted.start_time at time zone shifted.time_zone = shifted.civil_start
        and (windows is null or windows @> tstzrange(shifted.start_time, shifted.end_time, '[)'))
        and not exists (
          select 1
          from private.claims as claim
          where claim.organization_id = find_alternatives.organization_id
            and (claim.expires_at is null or claim.expires_at > as_of)
            and claim.owner_id <> all (coalesce(wanted.session_ids, '{}'))
            and (
              (claim.resource_id = wanted.therapist_id and claim.resource_kind = 'therapist' and claim.during && tstzrange(
                shifted.start_time - make_interval(mins => wanted.buffer_before_minutes),
                shifted.end_time + make_interval(mins => wanted.buffer_after_minutes), '[)'))
              or (claim.resource_id = any (coalesce(wanted.client_ids, array[wanted.client_id])) and claim.resource_kind = 'client'
                and claim.during && tstzrange(shifted.start_time, shifted.end_time, '[)'))
              or (claim.resource_id = wanted.room_id and claim.resource_kind = 'room'
                and claim.during && tstzrange(shifted.start_time, shifted.end_time, '[)'))
            )
        )
      )
      order by candidate.position
      limit 5
    ) as free
  ), '[]');
end
$$;
comment on function private.find_alternatives(uuid, private.booking_request, timestamptz) is
  'Up to five other first windows, nearest start first, on a 15-minute civil grid within 14 days, at which the whole '
  'request, shifted in civil time, would succeed right now. [] when there is none.';
