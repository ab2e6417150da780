-- Purpose: whether a therapist can be booked at a time: weekly hours, dated changes of them, closures of the clinic.
-- Objects: private.zone_periods; private.outside_availability, the one rule of placement in time; private.is_open, its
--          fast yes or no; private.hours_worked, for reports.
-- Watch for: weekly hours are civil time in the therapist's zone. 08:00 stays 08:00 across a change of clocks, an hour
--            that comes twice is worked twice, and an hour that clocks skip is not worked.

create function private.zone_periods(zone text, span tstzrange)
returns table (during tstzrange, utc_offset interval)
language plpgsql
stable
rows 3
set search_path = ''
as $$
begin
  return query
  with sample as (
    select
      moment.at,
      local.utc_offset,
      lag(local.utc_offset) over (order by moment.at) as earlier_offset
    from generate_series(
      date_bin('1 hour', lower(span), '2000-01-01 00:00+00'), upper(span) + interval '24 hours', interval '24 hours'
    ) as moment (at)
    cross join lateral (select (moment.at at time zone zone) - (moment.at at time zone 'UTC') as utc_offset) as local
  ),
  begin_of_period as (
    -- The last of the samples' hours, then of that hour's minutes, that still has the earlier offset, and one on.
    select minute.at, sample.utc_offset
    from sample
    cross join lateral (
      select min(hours.at) as at
      from generate_series(sample.at - interval '23 hours', sample.at, interval '1 hour') as hours (at)
      where (hours.at at time zone zone) - (hours.at at time zone 'UTC') = sample.utc_offset
    ) as hour
    cross join lateral (
      select min(minutes.at) as at
      from generate_series(hour.at - interval '59 minutes', hour.at, interval '1 minute') as minutes (at)
      where (minutes.at at time zone zone) - (minutes.at at time zone 'UTC') = sample.utc_offset
    ) as minute
    where sample.utc_offset <> sample.earlier_offset
    union all
    (select '-infinity'::timestamptz, sample.utc_offset from sample order by sample.at limit 1)
  )
  select
    tstzrange(
      nullif(period.at, '-infinity'), lead(period.at) over (order by period.at), '[)'
    ),
    period.utc_offset
  from begin_of_period as period;
end
$$;
comment on function private.zone_periods(text, tstzrange) is
  'The stretches of a span in which a zone keeps one offset, civil time minus UTC: one, or one more for each change of '
  'clocks. The first has no lower and the last no upper bound.';

create function private.civil_range(during tstzrange, utc_offset interval)
returns tsrange
language plpgsql
immutable
set search_path = ''
as $$
begin
  return tsrange(
    (lower(during) at time zone 'UTC') + utc_offset, (upper(during) at time zone 'UTC') + utc_offset,
    (case when lower_inc(during) then '[' else '(' end) || (case when upper_inc(during) then ']' else ')' end)
  );
end
$$;
comment on function private.civil_range(tstzrange, interval) is
  'A stretch of time by the clock on the wall, where one offset holds.';

create function private.outside_availability(organization_id uuid, therapist_id uuid, spans tstzrange[])
returns table (occurrence_index integer, what text, during tstzrange)
language plpgsql
stable
rows 10
set search_path = ''
as $$
#variable_conflict use_column
declare
  zone text;
  hours jsonb;
  whole tstzrange := (select range_merge(range_agg(span)) from unnest(spans) as span);
begin
  select therapist.time_zone, therapist.availability_hours into zone, hours
  from public.therapists as therapist
  where therapist.organization_id = outside_availability.organization_id
    and therapist.id = outside_availability.therapist_id;

  return query
  select (asked.position - 1)::integer, 'closure', asked.span * tstzrange(closure.starts_at, closure.ends_at, '[)')
  from unnest(spans) with ordinality as asked (span, position)
  join public.organization_closures as closure
    on closure.organization_id = outside_availability.organization_id
    and closure.ends_at > lower(asked.span)
    and closure.starts_at < upper(asked.span)
  union all
  select (asked.position - 1)::integer, 'time_off', asked.span * tstzrange(dated.starts_at, dated.ends_at, '[)')
  from unnest(spans) with ordinality as asked (span, position)
  join public.availability_exceptions as dated
    on dated.organization_id = outside_availability.organization_id
    and dated.therapist_id = outside_availability.therapist_id
    and dated.kind = 'time_off'
    and dated.ends_at > lower(asked.span)
    and dated.starts_at < upper(asked.span);

  if hours is null then
    return;
  end if;
  return query
  with period as materialized (
    select * from private.zone_periods(zone, whole)
  ),
  weekly as materialized (
    select
      array_position(
        array['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday'], day.name
      ) as isodow,
      (item.value ->> 'start')::time as from_time,
      (item.value ->> 'end')::time as to_time
    from jsonb_each(hours) as day (name, windows)
    cross join lateral jsonb_array_elements(day.windows) as item (value)
  )
  select (asked.position - 1)::integer, 'availability', closed.during
  from unnest(spans) with ordinality as asked (span, position)
  cross join lateral (
    select coalesce(range_agg(open.during), '{}') as during
    from (
      select part.during * tstzrange(
        (day.at + weekly.from_time - period.utc_offset) at time zone 'UTC',
        (day.at + weekly.to_time - period.utc_offset) at time zone 'UTC', '[)'
      ) as during
      from period
      cross join lateral (select period.during * asked.span as during) as part
      cross join lateral generate_series(
        date_trunc('day', (lower(part.during) at time zone 'UTC') + period.utc_offset),
        (upper(part.during) at time zone 'UTC') + period.utc_offset, interval '1 day'
      ) as day (at)
      join weekly on weekly.isodow = extract(isodow from day.at)
      union all
      select tstzrange(dated.starts_at, dated.ends_at, '[)')
      from public.availability_exceptions as dated
      where dated.organization_id = outside_availability.organization_id
        and dated.therapist_id = outside_availability.therapist_id
        and dated.kind = 'extra_hours'
        and dated.ends_at > lower(asked.span)
        and dated.starts_at < upper(asked.span)
    ) as open
  ) as worked
  cross join lateral unnest(tstzmultirange(asked.span) - worked.during) as closed (during);
end
$$;
comment on function private.outside_availability(uuid, uuid, tstzrange[]) is
  'Where these spans cannot be booked with the therapist, and why: the clinic is closed (closure), time off (time_off), '
  'outside weekly and extra hours (availability). occurrence_index counts the spans from 0; during is the part of the '
  'span. No row: all of it can. A therapist without weekly hours has no limit by hours, yet has time off and closures. '
  'Time off wins over extra hours, a closure over everything. Buffers may reach outside.';

create function private.is_open(organization_id uuid, therapist_id uuid, spans tstzrange[])
returns boolean
language plpgsql
stable
set search_path = ''
as $$
declare
  weekly_hours jsonb;
  zone text;
begin
  -- Most requests lie in one weekly window of their own day, and nothing dated touches them: three short looks, without
  -- the periods of a zone. Whatever is less plain is looked at closely.
  if not exists (
    select from public.availability_exceptions as dated
    join unnest(spans) as asked (span) on dated.ends_at > lower(asked.span) and dated.starts_at < upper(asked.span)
    where dated.organization_id = is_open.organization_id
      and dated.therapist_id = is_open.therapist_id
      -- As text: a connection's first call finds its "=" at once, and searches all of them for an enum's.
      and dated.kind::text = 'time_off'
  ) and not exists (
    select from public.organization_closures as closure
    join unnest(spans) as asked (span) on closure.ends_at > lower(asked.span) and closure.starts_at < upper(asked.span)
    where closure.organization_id = is_open.organization_id
  ) then
    select therapist.availability_hours, therapist.time_zone into weekly_hours, zone
    from public.therapists as therapist
    where therapist.organization_id = is_open.organization_id and therapist.id = is_open.therapist_id;
    if found and (weekly_hours is null or not exists (
      select from unnest(spans) as asked (span)
      cross join lateral (
        select lower(asked.span) at time zone zone as starts, upper(asked.span) at time zone zone as ends
      ) as civil
      -- Clocks that change in between make it longer or shorter than it is.
      where civil.ends - civil.starts <> upper(asked.span) - lower(asked.span)
        or not exists (
          select from jsonb_array_elements(
            weekly_hours
              -> (array['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday'])
                [extract(isodow from civil.starts)::integer]
          ) as weekly (span)
          where civil.starts::time >= (weekly.span ->> 'start')::time
            and civil.starts::date + (weekly.span ->> 'end')::time >= civil.ends
        )
    )) then
      return true;
    end if;
  end if;
  return not exists (
    select from private.outside_availability(is_open.organization_id, is_open.therapist_id, spans)
  );
end
$$;
comment on function private.is_open(uuid, uuid, tstzrange[]) is
  'Whether private.outside_availability has nothing to say of these spans, at a fraction of its cost when that is so.';

create function private.hours_worked(organization_id uuid, therapist_id uuid, span tstzrange)
returns numeric
language plpgsql
stable
security definer
set search_path = ''
set plan_cache_mode = 'force_generic_plan'
as $$
begin
  return (
    select coalesce(sum(extract(epoch from upper(open.during) - lower(open.during))) / 3600, 0)
    from unnest(tstzmultirange(span) - (
      select coalesce(range_agg(closed.during), '{}')
      from private.outside_availability(hours_worked.organization_id, hours_worked.therapist_id, array[span]) as closed
    )) as open (during)
  );
end
$$;
comment on function private.hours_worked(uuid, uuid, tstzrange) is
  'How many hours of a span can be booked with a therapist: an hour that comes twice counts twice, one that clocks skip not '
  'at all. Runs as its owner, so that reports may call it for a therapist whom their reader may read.';
grant execute on function private.hours_worked(uuid, uuid, tstzrange) to authenticated, service_role;
