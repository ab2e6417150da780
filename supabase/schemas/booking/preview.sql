-- Purpose: which dates of a series can be had, and what is in the way of the others.
-- Objects: preview_series.
-- Watch for: looking changes nothing, and holds nothing: another may book between the look and the hold.

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
  actor constant private.actor := private.require_actor();
  as_of constant timestamptz := statement_timestamp();
  asked constant private.asked_booking := private.asked_booking(actor, request);
  slots constant private.slot[] := private.with_lanes(actor.organization_id, asked.slots);
  conflicts constant jsonb := coalesce(case when not private.overrides(asked.override, 'availability') then
    private.availability_conflicts(actor.organization_id, asked.therapist_id, private.spans_of(slots))
  end, '[]') || coalesce((private.find_conflicts(
    slots, private.claimed(actor.organization_id, private.places_of_slots(asked.batch, slots, asked.is_fixed)),
    asked.own_ids, as_of, but_pairs => private.overrides(asked.override, 'concurrency')
  )).conflicts, '[]');
begin
  return jsonb_build_object('occurrences', (
    with reason as (
      select (met.value ->> 'occurrenceIndex')::integer as index, kind.*, met.value ->> 'startTime' as start_time,
        met.value ->> 'endTime' as end_time, met.value ->> 'expiresAt' as expires_at
      from jsonb_array_elements(conflicts) as met (value)
      cross join lateral (
        select case when met.value ->> 'blockedBy' in ('closure', 'availability') then met.value ->> 'blockedBy'
            else met.value ->> 'resource' end as what,
          case when met.value ->> 'blockedBy' in ('session', 'hold') then met.value ->> 'blockedBy' end as by
      ) as kind
      union all
      select place.occurrence_index, 'authorization', null, private.iso(place.start_time), private.iso(place.end_time), null
      from unnest(asked.places, private.services_available(actor.organization_id, asked.therapist_id, asked.places, as_of))
        as place (occurrence_index, client_id, cpt_code, start_time, end_time, time_zone, session_id, is_available)
      where not place.is_available and not private.overrides(asked.override, 'authorization')
    ),
    -- For each kind of reason one; of a day that is closed in several stretches the first.
    told as (
      select distinct on (reason.index, reason.what) reason.*, array_position(
        '{closure,availability,therapist session,client session,room session,therapist hold,client hold,room hold,authorization}',
        concat_ws(' ', reason.what, reason.by)
      ) as weight
      from reason
      order by reason.index, reason.what, reason.start_time
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
        select place.occurrence_index as index, place.start_time, place.end_time, null::jsonb as reason, null::integer as weight
        from unnest(asked.places) as place
        union all
        select told.index, null, null, jsonb_build_object(
          'what', told.what, 'by', told.by, 'startTime', told.start_time, 'endTime', told.end_time,
          'expiresAt', told.expires_at
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
