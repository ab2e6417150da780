-- Purpose: which dates of a series can be had, and what is in the way of the others.
-- Objects: preview_series.
-- Watch for: looking changes nothing, and holds nothing: another may book between the look and the hold.

create function private.claims_in_the_way(organization_id uuid, asked private.asked_booking, as_of timestamptz)
returns table (occurrence_index integer, resource_kind public.resource_kind, during tstzrange, expires_at timestamptz)
language plpgsql
stable
set search_path = ''
set enable_seqscan = off
as $$
#variable_conflict use_column
begin
  return query
  with place as materialized (
    select * from unnest(asked.places)
  ),
  lane as materialized (
    select service.client_id, service.cpt_code, period.during, period.lanes
    from (
      select place.client_id, place.cpt_code, tstzrange(min(place.start_time), max(place.end_time), '[]') as span
      from place
      group by place.client_id, place.cpt_code
    ) as service
    cross join lateral private.lane_periods(
      claims_in_the_way.organization_id, service.client_id, service.cpt_code, service.span
    ) as period
  ),
  needed as (
    select distinct place.occurrence_index, 'therapist'::public.resource_kind as kind, asked.therapist_id as id,
      tstzrange(place.start_time - asked.buffer_before, place.end_time + asked.buffer_after, '[)') as during,
      '{[0,2147483647)}'::int4multirange as lanes
    from place
    union all
    select distinct place.occurrence_index, 'room'::public.resource_kind, asked.room_id, tstzrange(place.start_time, place.end_time, '[)'),
      '{[0,2147483647)}'::int4multirange
    from place
    where asked.room_id is not null
    union all
    select place.occurrence_index, 'client', place.client_id, tstzrange(place.start_time, place.end_time, '[)'),
      coalesce(case when place.session_id is not null then private.kept_lanes(
        claims_in_the_way.organization_id, place.session_id, place.cpt_code, place.start_time, place.end_time
      ) end, lane.lanes)
    from place
    join lane
      on lane.client_id = place.client_id
      and lane.cpt_code is not distinct from place.cpt_code
      and lane.during && tstzrange(place.start_time, place.end_time, '[]')
  )
  select needed.occurrence_index, needed.kind, claim.during * needed.during, claim.expires_at
  from needed
  cross join lateral (
    select busy.during, busy.expires_at
    from private.claims as busy
    where busy.organization_id = claims_in_the_way.organization_id
      and busy.resource_id = needed.id
      and busy.during && needed.during
      and busy.resource_kind = needed.kind
      and busy.lanes && needed.lanes
      and not (
        needed.kind = 'client' and private.overrides(asked.override, 'concurrency')
        and private.is_pair(busy.lanes * needed.lanes)
      )
      and (busy.expires_at is null or busy.expires_at > as_of)
      and busy.owner_id <> all (asked.own_ids)
    offset 0
  ) as claim;
end
$$;
comment on function private.claims_in_the_way(uuid, private.asked_booking, timestamptz) is
  'What sessions and live holds take of the time that is asked for, by occurrence; expires_at is null for a session.';

create function private.preview_series(request jsonb)
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
  as_of timestamptz := statement_timestamp();
  asked private.asked_booking;
begin
  asked := private.asked_booking(actor, request);
  return jsonb_build_object('occurrences', (
    with occurrence as (
      select distinct place.occurrence_index as index, place.start_time, place.end_time from unnest(asked.places) as place
    ),
    reason as (
      select closed.occurrence_index as index,
        case closed.what when 'closure' then 'closure' else 'availability' end as what,
        null as by, closed.during, null::timestamptz as expires_at,
        case closed.what when 'closure' then 1 else 2 end as weight
      from private.outside_availability(actor.organization_id, asked.therapist_id, array(
        select tstzrange(occurrence.start_time, occurrence.end_time, '[)') from occurrence order by occurrence.index
      )) as closed
      where not private.overrides(asked.override, 'availability')
      union all
      select claim.occurrence_index, claim.resource_kind::text,
        case when claim.expires_at is null then 'session' else 'hold' end, claim.during, claim.expires_at,
        case when claim.expires_at is null then 3 else 6 end
          + case claim.resource_kind when 'therapist' then 0 when 'client' then 1 else 2 end
      from private.claims_in_the_way(actor.organization_id, asked, as_of) as claim
      union all
      select place.occurrence_index, 'authorization', null, tstzrange(place.start_time, place.end_time, '[)'), null, 9
      from unnest(asked.places, private.services_available(actor.organization_id, asked.therapist_id, asked.places, as_of))
        as place (occurrence_index, client_id, cpt_code, start_time, end_time, time_zone, session_id, is_available)
      where not place.is_available and not private.overrides(asked.override, 'authorization')
    ),
    -- For each kind of reason one: a session before a hold, else the hold that expires last.
    told as (
      select distinct on (reason.index, reason.what) reason.*
      from reason
      order by reason.index, reason.what, reason.weight, reason.expires_at desc, lower(reason.during)
    )
    select jsonb_agg(
      jsonb_build_object(
        'index', occurrence.index,
        'startTime', private.iso(occurrence.start_time),
        'endTime', private.iso(occurrence.end_time),
        'blockedBy', occurrence.reasons #> '{0,what}',
        'by', occurrence.reasons #> '{0,by}',
        'reasons', occurrence.reasons
      )
      order by occurrence.index
    )
    from (
      -- Occurrences meet their reasons by grouping: a join would be planned for few of both.
      select line.index, min(line.start_time) as start_time, min(line.end_time) as end_time,
        coalesce(jsonb_agg(line.reason order by line.weight) filter (where line.reason is not null), '[]') as reasons
      from (
        select occurrence.index, occurrence.start_time, occurrence.end_time, null::jsonb as reason, null::integer as weight
        from occurrence
        union all
        select told.index, null, null, jsonb_build_object(
          'what', told.what, 'by', told.by,
          'startTime', private.iso(lower(told.during)), 'endTime', private.iso(upper(told.during)),
          'expiresAt', private.iso(told.expires_at)
        ), told.weight
        from told
      ) as line
      group by line.index
    ) as occurrence
  ));
end
$$;

select private.publish('preview_series',
  'For the body of sessions-hold, without holding: {occurrences: [{index, startTime, endTime, blockedBy, by, reasons}]}. '
  'reasons: [{what, by, startTime, endTime, expiresAt}], the worst first, what being closure, availability, therapist, '
  'client, room or authorization (too few units are left, those of the dates before counted), by session or hold, and '
  'the times the part of the occurrence; what an admin''s override sets aside is none. blockedBy and by are those of the first, null when the date is free.'
);
