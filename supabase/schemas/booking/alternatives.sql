-- Purpose: which other times a refused request could have.
-- Objects: shift_candidates, nearest_alternatives, find_alternatives.
-- Watch for: it is asked after the hold was refused and its locks are gone, so that no rival waits while it is computed.

create type private.shift_candidate as (
  start_time timestamptz,
  shift interval,
  run bigint,
  service_days integer
);
comment on type private.shift_candidate is
  'Another first start. shift: how far the whole series moves in civil time; run: the free stretch it lies in; '
  'service_days: equal for shifts that leave every occurrence on the same day of service, and so take the same units.';

create function private.shifted_places(places private.asked_place[], shift interval, first_start timestamptz)
returns private.asked_place[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return array(
    select row(
      place.occurrence_index, place.client_id, place.cpt_code, at.start_time,
      at.start_time + (place.end_time - place.start_time), place.time_zone, place.session_id
    )::private.asked_place
    from unnest(places) with ordinality as place
    cross join lateral (
      select case
        when place.occurrence_index = 0 then first_start
        else private.instant_at((place.start_time at time zone place.time_zone) + shift, place.time_zone)
      end as start_time
    ) as at
    order by place.ordinality
  );
end
$$;
comment on function private.shifted_places(private.asked_place[], interval, timestamptz) is
  'A series moved in civil time; as long as before, each. Its first start is given, for clocks may show it twice.';

create function private.overlaps_itself(places private.asked_place[], buffers interval)
returns boolean
language plpgsql
immutable
set search_path = ''
as $$
begin
  return exists (
    select 1
    from (
      select item.start_time, max(item.end_time) over (
        order by item.start_time rows between unbounded preceding and 1 preceding
      ) as busy_until
      from (select distinct place.occurrence_index, place.start_time, place.end_time from unnest(places) as place) as item
    ) as ordered
    where ordered.busy_until + buffers > ordered.start_time
  );
end
$$;
comment on function private.overlaps_itself(private.asked_place[], interval) is
  'Whether two occurrences of one request overlap, with the buffers between them: a hold of it is malformed.';

create function private.service_day_edges(organization_id uuid, asked private.asked_booking, reach interval)
returns timestamp[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return array(
    with place as materialized (
      select distinct item.start_time, item.time_zone, item.client_id from unnest(asked.places) as item
    ),
    zone as materialized (
      select distinct private.service_zone(service_day_edges.organization_id, member.client_id) as name
      from (select distinct place.client_id from place) as member
    ),
    occurrence as (
      select distinct place.start_time, place.time_zone from place
    ),
    -- The first instant of each day of the zone, by number from the first.
    day as materialized (
      select zone.name as zone, min(local.at)::date as first_day,
        array_agg(private.start_of_day(local.at::date, zone.name) order by local.at) as starts
      from zone
      cross join (
        select min(occurrence.start_time) - reach as since, max(occurrence.start_time) + reach as until from occurrence
      ) as span
      cross join lateral generate_series(
        date_trunc('day', span.since at time zone zone.name), span.until at time zone zone.name, interval '1 day'
      ) as local (at)
      group by zone.name
    )
    select distinct timestamp '2000-01-01'
      + ((day.starts[near.day - day.first_day + 1] at time zone occurrence.time_zone)
        - (occurrence.start_time at time zone occurrence.time_zone))
    from day
    cross join occurrence
    cross join lateral (
      select ((occurrence.start_time - reach) at time zone day.zone)::date + number as day
      from generate_series(0, 2 * extract(day from reach)::integer) as number
    ) as near
    where near.day >= day.first_day
      and near.day - day.first_day < cardinality(day.starts)
    order by 1
  );
end
$$;
comment on function private.service_day_edges(uuid, private.asked_booking, interval) is
  'The shifts, as timestamps from 2000 on, at which an occurrence comes to another date of service.';

create function private.shift_candidates(
  organization_id uuid,
  asked private.asked_booking,
  service_day_edges timestamp[],
  reach interval,
  as_of timestamptz
)
returns setof private.shift_candidate
language plpgsql
stable
rows 100
set search_path = ''
set enable_mergejoin = off
as $$
declare
  -- Shifts are written as timestamps, counted from here: ranges of them are exact, and Postgres knows how to intersect them.
  origin constant timestamp := '2000-01-01';
  all_shifts constant tsrange := tsrange(origin - reach, origin + reach, '[]');
  is_tight boolean := private.overlaps_itself(asked.places, interval '3 hours');
begin
  return query
  with occurrence as materialized (
    select
      place.occurrence_index as index, place.start_time, place.end_time - place.start_time as duration, place.time_zone,
      place.start_time at time zone place.time_zone as civil,
      array_agg(place.client_id order by place.client_id) as client_ids,
      array_agg(place.cpt_code order by place.client_id) as cpt_codes
    from unnest(asked.places) as place
    group by place.occurrence_index, place.start_time, place.end_time, place.time_zone
  ),
  -- Occurrences that differ in nothing but their time are free at the same starts.
  alike as materialized (
    select occurrence.duration, occurrence.client_ids, occurrence.cpt_codes, range_agg(tstzrange(
      greatest(occurrence.start_time - reach - interval '3 hours', as_of),
      least(occurrence.start_time + reach + interval '3 hours', as_of + interval '730 days' - occurrence.duration), '[]'
    )) as spans
    from occurrence
    where occurrence.start_time + reach + interval '3 hours' >= as_of
      and occurrence.start_time - reach - interval '3 hours' <= as_of + interval '730 days' - occurrence.duration
    group by occurrence.duration, occurrence.client_ids, occurrence.cpt_codes
  ),
  free as materialized (
    select alike.duration, alike.client_ids, alike.cpt_codes, run.starts
    from alike
    cross join lateral unnest(private.free_starts(
      shift_candidates.organization_id, asked, alike.client_ids, alike.cpt_codes, alike.duration, alike.spans, as_of
    )) as run (starts)
  ),
  period as materialized (
    select
      zone.name, part.during, part.utc_offset,
      -- Where an hour comes twice, the second passes are left to the first occurrence; see below.
      greatest(
        lower(part.during),
        ((lag(upper(part.during)) over by_time at time zone 'UTC') + lag(part.utc_offset) over by_time - part.utc_offset)
          at time zone 'UTC'
      ) as first_pass
    from (
      select occurrence.time_zone as name, tstzrange(
        min(occurrence.start_time) - reach - interval '3 hours', max(occurrence.start_time) + reach + interval '3 hours'
      ) as span
      from occurrence
      group by occurrence.time_zone
    ) as zone
    cross join lateral private.zone_periods(zone.name, zone.span) as part
    window by_time as (partition by zone.name order by lower(part.during) nulls first)
  ),
  possible as materialized (
    select occurrence.index, found.*
    from occurrence
    left join lateral (
      select shifted.shifts, period.utc_offset
      from free
      join period
        on period.name = occurrence.time_zone
        and period.during && free.starts
      cross join lateral (
        select free.starts * case
          when occurrence.index = 0 then period.during
          else tstzrange(period.first_pass, upper(period.during), '[)')
        end as starts
      ) as part
      cross join lateral (select private.civil_range(part.starts, period.utc_offset) as starts) as civil
      cross join lateral (
        select all_shifts * tsrange(
          origin + (lower(civil.starts) - occurrence.civil), origin + (upper(civil.starts) - occurrence.civil),
          (case when lower_inc(civil.starts) then '[' else '(' end) || (case when upper_inc(civil.starts) then ']' else ')' end)
        ) as shifts
      ) as shifted
      where free.duration = occurrence.duration
        and free.client_ids = occurrence.client_ids
        and free.cpt_codes is not distinct from occurrence.cpt_codes
        and free.starts && tstzrange(
          occurrence.start_time - reach - interval '3 hours', occurrence.start_time + reach + interval '3 hours'
        )
        and not isempty(part.starts)
        and not isempty(shifted.shifts)
    ) as found on true
  ),
  others as materialized (
    select coalesce(range_intersect_agg(each.shifts), tsmultirange(all_shifts)) as shifts
    from (
      select coalesce(range_agg(possible.shifts), '{}') as shifts
      from possible
      where possible.index > 0
      group by possible.index
    ) as each
  ),
  -- The quarter hours of the first occurrence, in every pass of an hour.
  start as (
    select
      (grid.civil - possible.utc_offset) at time zone 'UTC' as start_time,
      grid.civil - occurrence.civil as shift
    from possible
    join occurrence on occurrence.index = 0
    cross join others
    cross join lateral unnest(others.shifts * tsmultirange(possible.shifts)) as run (shifts)
    cross join lateral generate_series(
      date_bin('15 minutes', occurrence.civil + (lower(run.shifts) - origin), '2000-01-01'),
      occurrence.civil + (upper(run.shifts) - origin), interval '15 minutes'
    ) as grid (civil)
    where possible.index = 0
      and origin + (grid.civil - occurrence.civil) <@ run.shifts
  ),
  numbered as (
    select start.*, sum(start.begins_run) over (order by start.start_time) as run,
      coalesce(width_bucket(origin + start.shift, nullif(service_day_edges, '{}')), 0) as service_days
    from (
      select start.*, case
        when start.start_time - lag(start.start_time) over (order by start.start_time) <= interval '15 minutes' then 0
        else 1
      end as begins_run
      from start
    ) as start
  ),
  ranked as (
    select numbered.*, row_number() over (
      partition by numbered.run, numbered.service_days
      order by greatest(numbered.shift, -numbered.shift), numbered.shift, numbered.start_time
    ) as place
    from numbered
  )
  select ranked.start_time, ranked.shift, ranked.run, ranked.service_days
  from ranked
  where ranked.place <= 2 or is_tight
  order by greatest(ranked.shift, -ranked.shift), ranked.shift, ranked.start_time;
end
$$;
comment on function private.shift_candidates(uuid, private.asked_booking, timestamp[], interval, timestamptz) is
  'Where the whole series could be moved, by up to reach in civil time, as far as people, room, hours and closures go: nearest first, the nearest two '
  'of each free stretch and each choice of days (all of them where occurrences lie so near that a change of clocks could '
  'make them overlap). Every start that a claim, an hour off or a gap of the clocks rules out for one occurrence is taken '
  'away as a range of shifts, so that the work grows with what stands in the calendar, not with the grid.';

create function private.nearest_alternatives(
  organization_id uuid,
  asked private.asked_booking,
  reach interval,
  as_of timestamptz
)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
  buffers interval := asked.buffer_before + asked.buffer_after;
  duration interval;
  -- A service has its units and its days; without one nothing depends on the day.
  by_day boolean := exists (
    select from unnest(asked.places) as place where place.cpt_code is not null or place.session_id is not null
  );
  edges timestamp[];
  candidate private.shift_candidate;
  places private.asked_place[];
  -- What is known by now of the services on a choice of days, and how many of a run were offered.
  available jsonb := '{}';
  offered jsonb := '{}';
  found jsonb := '[]';
begin
  select place.end_time - place.start_time into duration
  from unnest(asked.places) as place
  where place.occurrence_index = 0
  limit 1;
  if by_day then
    edges := private.service_day_edges(organization_id, asked, reach + '1 day');
  end if;
  -- A little further than is offered: a stretch that the edge cuts in two, where clocks go back, would count as two.
  for candidate in
    select * from private.shift_candidates(organization_id, asked, edges, reach + '3 hours', as_of)
  loop
    exit when greatest(candidate.shift, -candidate.shift) > reach;
    continue when (offered ->> candidate.run::text)::integer >= 2
      or available -> candidate.service_days::text = 'false';
    places := private.shifted_places(asked.places, candidate.shift, candidate.start_time);
    continue when private.overlaps_itself(places, buffers);
    if by_day and not available ? candidate.service_days::text then
      available := available || jsonb_build_object(
        candidate.service_days, true = all (private.services_available(organization_id, asked.therapist_id, places, as_of))
      );
      continue when available -> candidate.service_days::text = 'false';
    end if;
    offered := offered || jsonb_build_object(candidate.run, coalesce((offered ->> candidate.run::text)::integer, 0) + 1);
    found := found || jsonb_build_object(
      'startTime', private.iso(candidate.start_time), 'endTime', private.iso(candidate.start_time + duration)
    );
    exit when jsonb_array_length(found) = 5;
  end loop;
  return found;
end
$$;
comment on function private.nearest_alternatives(uuid, private.asked_booking, interval, timestamptz) is
  'Up to five other first windows within reach of the one that was asked for, in civil time; nearest start first.';

create function private.alternatives_of(organization_id uuid, asked private.asked_booking, as_of timestamptz)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
  found jsonb := '[]';
begin
  if asked.is_fixed then
    return found;
  end if;
  -- The nearest are wanted, and mostly near: a few days cost a fifth of four weeks.
  found := private.nearest_alternatives(organization_id, asked, '3 days', as_of);
  if jsonb_array_length(found) < 5 then
    found := private.nearest_alternatives(organization_id, asked, '14 days', as_of);
  end if;
  return found;
end
$$;
comment on function private.alternatives_of(uuid, private.asked_booking, timestamptz) is
  'Up to five other first windows, nearest start first, on a 15-minute civil grid within 14 days, at which the whole '
  'request, shifted in civil time, would succeed right now; at most two of one free stretch. [] when there is none.';

create function private.find_alternatives(request jsonb)
returns jsonb
language plpgsql
stable
security definer
set search_path = ''
set plan_cache_mode = 'force_generic_plan'
set timezone = 'UTC'
as $$
declare
  actor private.actor := private.require_actor();
begin
  return private.alternatives_of(actor.organization_id, private.asked_booking(actor, request), statement_timestamp());
end
$$;

select private.publish('find_alternatives',
  'For the body of a refused sessions-hold: [{startTime, endTime}], at most five other first windows, nearest first and '
  'at most two of one free stretch, at which the same request would succeed right now. A series moves whole, in civil '
  'time; a civil time that clocks show twice is the first, but for the first occurrence, whose instant is given.'
);
