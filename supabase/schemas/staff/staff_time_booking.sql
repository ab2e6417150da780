-- Purpose: entering, changing and cancelling time without a client.
-- Objects: add_staff_time, change_staff_time, cancel_staff_time, and what they have in common.
-- Watch for: the times of a request are read by private.slots_of, the reader of sessions-hold, so zones, offsets and the
--            bounds of a booking are the same. A refusal comes before anything is written. Hours, time off and closures
--            count as for a session, and an admin may override them with a reason.

create domain private.staff_ids as uuid[] check (cardinality(value) between 1 and 100);
comment on domain private.staff_ids is 'must have 1 to 100 items';
create domain private.staff_time_ids as uuid[] check (cardinality(value) between 1 and 1000);
comment on domain private.staff_time_ids is 'must have 1 to 1000 items';

create type private.staff_time_request as (
  kind public.staff_time_kind,
  therapist_ids private.staff_ids,
  room_id uuid,
  time_zone private.zone_name,
  start_time private.instant,
  end_time private.instant,
  start_time_offset_minutes private.offset_minutes,
  end_time_offset_minutes private.offset_minutes,
  occurrences private.occurrence_requests,
  recurrence private.recurrence_request,
  override private.override_request
);
comment on type private.staff_time_request is 'The request of add_staff_time, each field within its bounds.';

create type private.staff_time_change as (
  staff_time_id uuid,
  scope private.series_scope,
  series_id uuid,
  "from" private.instant,
  kind public.staff_time_kind,
  therapist_ids private.staff_ids,
  room_id uuid,
  start_time private.instant,
  end_time private.instant,
  shift_minutes private.shift_minutes,
  weekday private.weekday,
  local_start private.time_of_day,
  duration_minutes private.session_minutes,
  override private.override_request
);
comment on type private.staff_time_change is 'The request of change_staff_time: which ones, and what of them changes.';

create type private.staff_time_end as (
  staff_time_ids private.staff_time_ids,
  staff_time_id uuid,
  scope private.series_scope,
  series_id uuid,
  "from" private.instant
);
comment on type private.staff_time_end is 'The request of cancel_staff_time.';

select private.make_readable('{staff_time_request,staff_time_change,staff_time_end}');

create type private.staff_plan as (
  id uuid,
  occurrence_index smallint,
  kind public.staff_time_kind,
  start_time timestamptz,
  end_time timestamptz,
  time_zone text,
  -- squawk-ignore prefer-timestamp-tz
  civil_start timestamp,
  room_id uuid,
  therapist_ids uuid[]
);
comment on type private.staff_plan is 'One staff time as it would be.';

-- What may be where ------------------------------------------------------------------------------------------------------

create function private.staff_claims(organization_id uuid, plans private.staff_plan[])
returns private.claims[]
language plpgsql
immutable
set search_path = ''
as $$
begin
  return private.claimed(organization_id, array(
    select row(
      null, plan.id, member.id, case when member.position = 1 then plan.room_id end, 0, 0, null, null, plan.start_time,
      plan.end_time, null
    )::private.place
    from unnest(plans) as plan
    cross join lateral unnest(plan.therapist_ids) with ordinality as member (id, position)
  ));
end
$$;
comment on function private.staff_claims(uuid, private.staff_plan[]) is
  'What staff times claim: each of their therapists, and their room once.';

create function private.plan_slots(plans private.staff_plan[])
returns private.slot[]
language plpgsql
immutable
set search_path = ''
as $$
begin
  return array(
    select row(
      plan.id, plan.occurrence_index, plan.id, null, null, null, plan.start_time, plan.end_time, plan.time_zone,
      plan.civil_start, '{[0,2147483647)}', null, null, null
    )::private.slot
    from unnest(plans) as plan
  );
end
$$;
comment on function private.plan_slots(private.staff_plan[]) is 'Staff times as what asks about bookings knows them.';

create function private.refuse_staff_time(
  actor private.actor,
  staff_time_ids uuid[],
  code text,
  detail text,
  retry_after timestamptz default null,
  conflicts jsonb default null,
  alternatives jsonb default '[]'
)
returns jsonb
language plpgsql
set search_path = ''
as $$
begin
  return coalesce(
    private.note_refusal(
      actor.organization_id, 'staff_time.refused', 'staff_time', staff_time_ids, code, actor.role::text,
      details => case when conflicts is not null
        then jsonb_build_object('conflicts', jsonb_path_query_array(conflicts, '$[0 to 19]')) end,
      may_never => actor.role = 'client'
    ),
    private.refusal(private.status_of(code), code, detail, retry_after, coalesce(conflicts, '[]'), alternatives)
  );
end
$$;
comment on function private.refuse_staff_time(private.actor, uuid[], text, text, timestamptz, jsonb, jsonb) is
  'Refuses a request about staff times: one audit event, and the outcome.';

create function private.staff_alternatives(organization_id uuid, plans private.staff_plan[], as_of timestamptz)
returns jsonb
language plpgsql
stable
set search_path = ''
set plan_cache_mode = 'force_generic_plan'
as $$
declare
  therapist_ids constant uuid[] := array(
    select distinct member.id from unnest(plans) as plan cross join lateral unnest(plan.therapist_ids) as member (id)
  );
  asked private.asked_booking;
begin
  -- Whoever asks for the time of so many has their locks, and others wait for them. What is in several rooms is not looked
  -- for: one room is asked for.
  if cardinality(therapist_ids) * cardinality(plans) > 400
    or exists (select from unnest(plans) as plan where plan.room_id is distinct from plans[1].room_id)
  then
    return '[]';
  end if;
  asked.therapist_id := therapist_ids[1];
  asked.other_therapist_ids := therapist_ids[2:];
  asked.room_id := plans[1].room_id;
  asked.buffer_before := '0';
  asked.buffer_after := '0';
  asked.own_ids := array(select plan.id from unnest(plans) as plan);
  asked.places := array(
    select row(
      row_number() over (order by plan.start_time, plan.id) - 1, null, null, plan.start_time, plan.end_time, plan.time_zone,
      null
    )::private.asked_place
    from unnest(plans) as plan
  );
  return private.alternatives_of(organization_id, asked, as_of);
end
$$;
comment on function private.staff_alternatives(uuid, private.staff_plan[], timestamptz) is
  'Up to five other times for staff times that are refused, shifted together, by the function that sessions-hold asks: '
  'everybody is free and works then, and the room is free. None for more than 400 times of a person, or several rooms.';

create function private.may_take_time(actor private.actor, therapist_ids uuid[])
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  return exists (
    select from public.memberships as member
    where member.organization_id = actor.organization_id and member.user_id = actor.user_id
      and (
        member.role in ('admin', 'super_admin')
        or (member.role = 'therapist' and therapist_ids <@ array[actor.user_id])
      )
  );
end
$$;
comment on function private.may_take_time(private.actor, uuid[]) is
  'Whether the caller disposes of the time of these therapists: a therapist of their own, an admin of everybody''s. Read '
  'from the membership row, behind the locks too.';

create function private.staff_availability(
  organization_id uuid,
  plans private.staff_plan[],
  out conflicts jsonb,
  out is_open boolean
)
language plpgsql
stable
set search_path = ''
as $$
begin
  select coalesce(bool_and(asked.is_open), true), jsonb_path_query_array(
    jsonb_agg(private.availability_conflicts(staff_availability.organization_id, asked.therapist_id, asked.spans))
      filter (where not asked.is_open), '$[*][*]'
  )
  into is_open, conflicts
  from (
    select wanted.therapist_id, wanted.spans,
      private.is_open(staff_availability.organization_id, wanted.therapist_id, wanted.spans) as is_open
    from (
      select member.id as therapist_id,
        array_agg(tstzrange(plan.start_time, plan.end_time, '[)') order by plan.occurrence_index) as spans
      from unnest(plans) as plan
      cross join lateral unnest(plan.therapist_ids) as member (id)
      group by member.id
    ) as wanted
  ) as asked;
end
$$;
comment on function private.staff_availability(uuid, private.staff_plan[]) is
  'Whether each therapist works when their staff times are, by the rule of bookings; conflicts says where not.';

create function private.staff_placement_issue(
  actor private.actor,
  plans private.staff_plan[],
  override private.override_request,
  as_of timestamptz
)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
  obstacle private.obstacle;
  availability record;
begin
  if exists (
    select from (
      select distinct plan.therapist_ids, plan.room_id from unnest(plans) as plan
    ) as wanted
    cross join lateral private.staff_time_issue(actor.organization_id, wanted.therapist_ids, wanted.room_id) as issue
    where issue.rule is not null or not private.may_take_time(actor, wanted.therapist_ids)
  ) or (override.reason is not null and actor.role not in ('admin', 'super_admin')) then
    return '{"code": "FORBIDDEN", "detail": "You may not take the time of these therapists, this room, or override."}';
  end if;
  availability := private.staff_availability(actor.organization_id, plans);
  if not availability.is_open and not private.overrides(override, 'availability') then
    return jsonb_build_object(
      'code', 'OUTSIDE_AVAILABILITY', 'conflicts', availability.conflicts,
      'detail', 'A therapist does not work then, or the clinic is closed. An admin may override with a reason.'
    );
  end if;
  obstacle := private.find_conflicts(
    private.plan_slots(plans), private.staff_claims(actor.organization_id, plans),
    array(select plan.id from unnest(plans) as plan), as_of, by_person => true
  );
  if obstacle.conflicts is not null then
    return private.conflict_code(obstacle.conflicts) || jsonb_build_object(
      'conflicts', jsonb_path_query_array(obstacle.conflicts, '$[0 to 999]'), 'retryAfter', obstacle.retry_after
    );
  end if;
  return jsonb_build_object('overridden', not availability.is_open);
end
$$;
comment on function private.staff_placement_issue(
  private.actor, private.staff_plan[], private.override_request, timestamptz
) is
  'What forbids staff times to be placed here, as {code, detail, conflicts, retryAfter}; no code: nothing does, and '
  'overridden says whether the reason set hours or closures aside. Call it behind the locks.';

create function private.write_staff_claims(organization_id uuid, plans private.staff_plan[], as_of timestamptz)
returns void
language plpgsql
set search_path = ''
as $$
begin
  if not private.sync_claims(organization_id, array(select plan.id from unnest(plans) as plan), as_of) then
    perform private.raise_busy();
  end if;
end
$$;
comment on function private.write_staff_claims(uuid, private.staff_plan[], timestamptz) is
  'Takes the claims of staff times whose rows are written and whose way was found free.';

create function private.staff_answer(organization_id uuid, staff_time_ids uuid[])
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return jsonb_build_object('staffTimes', (
    select coalesce(jsonb_agg(jsonb_build_object(
      'id', known.id, 'kind', known.kind, 'startTime', private.iso(known.start_time),
      'endTime', private.iso(known.end_time), 'seriesId', known.series_id
    ) order by named.position), '[]')
    from unnest(staff_time_ids) with ordinality as named (id, position)
    cross join lateral (
      select found.* from public.staff_times as found
      where found.organization_id = staff_answer.organization_id and found.id = named.id offset 0
    ) as known
  ));
end
$$;
comment on function private.staff_answer(uuid, uuid[]) is 'The body of an answer about staff times, in the order asked.';

-- Entering -----------------------------------------------------------------------------------------------------------------

create function private.read_staff_time_request(request jsonb, actor private.actor)
returns private.staff_time_request
language plpgsql
stable
set search_path = ''
as $$
declare
  wanted private.staff_time_request := private.read_request(request, null::private.staff_time_request);
begin
  if wanted.therapist_ids is null and actor.role = 'therapist' then
    wanted.therapist_ids := array[actor.user_id];
  end if;
  wanted.occurrences := nullif(wanted.occurrences, '{}');
  perform private.require(array[
    row('kind', 'is required', wanted.kind is null),
    row('therapist_ids', 'is required', wanted.therapist_ids is null),
    row('therapist_ids', 'must not name a therapist twice', (
      select count(distinct named.id) < count(*) from unnest(wanted.therapist_ids) as named (id)
    )),
    row('therapist_ids', 'times the occurrences must be at most 5000',
      cardinality(wanted.therapist_ids) * coalesce(cardinality(wanted.occurrences), 1) > 5000),
    row('occurrences', 'must not name sessions: nothing is moved',
      exists (select from unnest(wanted.occurrences) as place where place.session_id is not null))
  ]::private.rule[]);
  return wanted;
end
$$;
comment on function private.read_staff_time_request(jsonb, private.actor) is
  'Reads the request of add_staff_time, or PT400. A therapist who names nobody means themselves.';

create function private.staff_slots(wanted private.staff_time_request, as_of timestamptz)
returns private.slot[]
language plpgsql
volatile
set search_path = ''
as $$
begin
  -- A request of sessions-hold with the same times; it is read, not held. Who it is for does not matter here.
  return private.slots_of(jsonb_populate_record(null::private.hold_request, to_jsonb(wanted) || jsonb_build_object(
    'therapist_id', wanted.therapist_ids[1], 'client_id', wanted.therapist_ids[1]
  )), as_of);
end
$$;
comment on function private.staff_slots(private.staff_time_request, timestamptz) is
  'When the staff times of a request are: read as sessions-hold reads times, or PT400.';

create function private.add_staff_time(actor private.actor, request jsonb, idempotency_key text default null)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  wanted private.staff_time_request := private.read_staff_time_request(request, actor);
  reason constant text := private.tidy((wanted.override).reason);
  fingerprint constant bytea := private.fingerprint(to_jsonb(wanted));
  outcome jsonb;
  plans private.staff_plan[];
  new_ids uuid[];
  series_id uuid;
  issue jsonb;
  as_of timestamptz;
begin
  if not private.may_take_time(actor, wanted.therapist_ids) then
    return private.refuse_staff_time(actor, '{}', 'FORBIDDEN', 'You may not take the time of these therapists.');
  end if;
  perform private.share_organization(actor.organization_id);
  outcome := private.find_replay(actor.organization_id, actor.user_id, 'add-staff-time', idempotency_key, fingerprint);
  if outcome is not null then
    return outcome;
  end if;
  plans := array(
    select row(
      slot.hold_id, slot.occurrence_index, wanted.kind, slot.start_time, slot.end_time, slot.time_zone, slot.civil_start,
      wanted.room_id, wanted.therapist_ids
    )::private.staff_plan
    from unnest(private.staff_slots(wanted, clock_timestamp())) as slot
    order by slot.occurrence_index
  );
  -- A rival for any of these people, or the room, waits here and then finds what this has taken.
  perform private.lock_resources(actor.organization_id, wanted.therapist_ids || wanted.room_id);
  as_of := clock_timestamp();
  issue := private.staff_placement_issue(actor, plans, wanted.override, as_of);
  if issue ? 'code' then
    return private.refuse_staff_time(
      actor, '{}', issue ->> 'code', issue ->> 'detail', (issue ->> 'retryAfter')::timestamptz, issue -> 'conflicts',
      case when issue ? 'conflicts' then private.staff_alternatives(actor.organization_id, plans, as_of) else '[]' end
    );
  end if;

  new_ids := array(select plan.id from unnest(plans) as plan);
  series_id := case when cardinality(plans) > 1 then gen_random_uuid() end;
  insert into public.staff_times (
    organization_id, id, kind, start_time, end_time, time_zone, civil_start, room_id, series_id, created_by, created_at,
    updated_at
  )
  select actor.organization_id, plan.id, plan.kind, plan.start_time, plan.end_time, plan.time_zone, plan.civil_start,
    plan.room_id, series_id, actor.user_id, as_of, as_of
  from unnest(plans) as plan;
  insert into public.staff_time_members (organization_id, staff_time_id, therapist_id)
  select actor.organization_id, plan.id, member.id
  from unnest(plans) as plan
  cross join lateral unnest(plan.therapist_ids) as member (id);
  perform private.write_staff_claims(actor.organization_id, plans, as_of);
  perform private.record_event(
    actor.organization_id, 'staff_time.added', 'staff_time', new_ids, as_of,
    actor_role => actor.role::text,
    after => private.staff_time_facts(actor.organization_id, new_ids),
    details => nullif(jsonb_strip_nulls(jsonb_build_object('recurrence', to_jsonb(wanted.recurrence))), '{}')
  );
  if (issue -> 'overridden')::boolean then
    perform private.record_event(
      actor.organization_id, 'override.availability', 'staff_time', new_ids, as_of,
      actor_role => actor.role::text, details => jsonb_build_object('reason', reason)
    );
  end if;
  return private.kept(actor, 'add-staff-time', idempotency_key, fingerprint, private.success(
    private.staff_answer(actor.organization_id, new_ids) || jsonb_build_object('seriesId', series_id)
  ));
end
$$;

select private.publish_booking('add_staff_time',
  'Enters time without a client, one or a series, for one therapist or several, all or nothing: {kind, therapist_ids?, '
  'room_id?, time_zone, start_time, end_time, occurrences?, recurrence?, override?}. kind is meeting, supervision, drive, '
  'documentation, training or break; therapist_ids are up to 100, left out: the caller; times are those of sessions-hold, '
  'with recurrence expanded into occurrences. Outcome body: {staffTimes: [{id, kind, startTime, endTime, seriesId}], '
  'seriesId}. 409 as sessions-hold with alternatives, each conflict with the therapistId that was asked for.'
);

-- Changing and cancelling --------------------------------------------------------------------------------------------------

create function private.staff_targets(
  actor private.actor,
  staff_time_ids uuid[],
  scope text,
  of_series uuid,
  from_time timestamptz
)
returns uuid[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return array(
    select known.id from public.staff_times as known
    where known.organization_id = actor.organization_id and known.id = any (staff_time_ids)
    union
    -- One of a series stands for those that follow it, or for all that are to come.
    select mate.id from public.staff_times as named
    join public.staff_times as mate
      on mate.organization_id = named.organization_id and mate.series_id = named.series_id
      and mate.start_time >= case when scope = 'following' then named.start_time else from_time end
    where named.organization_id = actor.organization_id and named.id = any (staff_time_ids)
      and scope in ('following', 'all')
    union
    select known.id from public.staff_times as known
    where known.organization_id = actor.organization_id and known.series_id = of_series and known.start_time >= from_time
  );
end
$$;
comment on function private.staff_targets(private.actor, uuid[], text, uuid, timestamptz) is
  'The staff times that are named, those of their series in this scope, or those of a series from a moment on.';

create function private.lock_staff_times(organization_id uuid, staff_time_ids uuid[], more_ids uuid[] default '{}')
returns void
language plpgsql
set search_path = ''
as $$
begin
  -- Two changes of one staff time would each compute its new place from the old one: the second waits, and reads anew.
  perform from (
    select distinct named.id from unnest(staff_time_ids) as named (id) order by named.id
  ) as ordered
  cross join lateral (
    select from public.staff_times as known
    where known.organization_id = lock_staff_times.organization_id and known.id = ordered.id
    for no key update
  ) as locked;
  -- Whoever waits for this time must find either the staff time or the slot it left.
  perform private.lock_resources(organization_id, more_ids || array(
    select member.therapist_id from public.staff_time_members as member
    where member.organization_id = lock_staff_times.organization_id and member.staff_time_id = any (staff_time_ids)
    union
    select known.room_id from public.staff_times as known
    where known.organization_id = lock_staff_times.organization_id and known.id = any (staff_time_ids)
  ));
end
$$;
comment on function private.lock_staff_times(uuid, uuid[], uuid[]) is
  'Locks staff times by id, then the therapists and rooms they take now, and more_ids.';

create function private.may_change_staff_times(actor private.actor, staff_time_ids uuid[])
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  return private.may_take_time(actor, array(
    select distinct member.therapist_id from public.staff_time_members as member
    where member.organization_id = actor.organization_id and member.staff_time_id = any (staff_time_ids)
  ));
end
$$;
comment on function private.may_change_staff_times(private.actor, uuid[]) is
  'Whether all these staff times are the caller''s to change: a therapist changes what they alone take part in.';

create function private.read_staff_time_change(request jsonb)
returns private.staff_time_change
language plpgsql
stable
set search_path = ''
as $$
declare
  wanted private.staff_time_change := private.read_request(request, null::private.staff_time_change);
begin
  perform private.require(array[
    row('staff_time_id', 'is required, or series_id: one of them', num_nonnulls(wanted.staff_time_id, wanted.series_id) <> 1),
    row('from', 'goes with series_id', wanted."from" is not null and wanted.series_id is null),
    row('scope', 'goes with staff_time_id', wanted.scope is not null and wanted.staff_time_id is null),
    row('start_time', 'is for one staff time: name local_start for a series',
      wanted.start_time is not null and (wanted.series_id is not null or wanted.scope <> 'this')),
    row('shift_minutes', 'must not accompany weekday or local_start',
      wanted.shift_minutes is not null and num_nonnulls(wanted.weekday, wanted.local_start) > 0),
    row('end_time', 'goes with start_time', (wanted.start_time is null) <> (wanted.end_time is null)),
    row('start_time', 'must not accompany shift_minutes, weekday, local_start or duration_minutes',
      wanted.start_time is not null
      and num_nonnulls(wanted.shift_minutes, wanted.weekday, wanted.local_start, wanted.duration_minutes) > 0),
    row('therapist_ids', 'must not name a therapist twice', (
      select count(distinct named.id) < count(*) from unnest(wanted.therapist_ids) as named (id)
    )),
    row('override.reason', 'is required', wanted.override is distinct from null and (wanted.override).reason is null),
    row('', 'names nothing to change', not request ?| array[
      'kind', 'therapist_ids', 'room_id', 'start_time', 'end_time', 'shift_minutes', 'weekday', 'local_start',
      'duration_minutes'])
  ]::private.rule[]);
  return wanted;
end
$$;
comment on function private.read_staff_time_change(jsonb) is 'Reads the request of change_staff_time, or PT400.';

create function private.changed_plans(
  organization_id uuid,
  staff_time_ids uuid[],
  wanted private.staff_time_change,
  names_room boolean
)
returns private.staff_plan[]
language plpgsql
stable
set search_path = ''
as $$
declare
  -- The times of a series change as those of sessions do: see private.changed_civil.
  change constant private.series_change := row(
    wanted.shift_minutes, wanted.weekday, wanted.local_start, wanted.duration_minutes, null, null
  );
begin
  return array(
    select row(
      known.id, row_number() over (order by known.start_time, known.id) - 1, coalesce(wanted.kind, known.kind),
      begins.at, coalesce(wanted.end_time::timestamptz, begins.at + coalesce(
        make_interval(mins => wanted.duration_minutes), known.end_time - known.start_time
      )),
      known.time_zone,
      case when wanted.start_time is not null then begins.at at time zone known.time_zone else becomes.civil end,
      case when names_room then wanted.room_id else known.room_id end,
      coalesce(wanted.therapist_ids::uuid[], array(
        select member.therapist_id from public.staff_time_members as member
        where member.organization_id = known.organization_id and member.staff_time_id = known.id
        order by member.therapist_id
      ))
    )::private.staff_plan
    from public.staff_times as known
    cross join lateral (select private.changed_civil(known.civil_start, change) as civil offset 0) as becomes
    cross join lateral (
      select coalesce(wanted.start_time::timestamptz, case
        when becomes.civil = known.civil_start then known.start_time
        else private.instant_at(becomes.civil, known.time_zone)
      end) as at
      offset 0
    ) as begins
    where known.organization_id = changed_plans.organization_id and known.id = any (staff_time_ids)
      and known.cancelled_at is null
    order by known.start_time, known.id
  );
end
$$;
comment on function private.changed_plans(uuid, uuid[], private.staff_time_change, boolean) is
  'The staff times as they would be; of a change that is null, as they are. A new weekday or local_start is civil time of '
  'each one''s own zone, so 09:00 stays 09:00 when clocks change; a time that does not change keeps its instant.';

create function private.require_staff_windows(moved private.staff_plan[], plans private.staff_plan[], as_of timestamptz)
returns void
language plpgsql
stable
set search_path = ''
as $$
declare
  slots constant private.slot[] := private.plan_slots(plans);
  issues jsonb;
begin
  select jsonb_path_query_array(jsonb_agg(wrong.issues), '$[*][*]') into issues
  from unnest(slots) as slot
  cross join lateral (select private.window_issues(slot, cardinality(plans) > 1, null, null, as_of) as issues) as wrong
  where wrong.issues is not null and slot.hold_id = any (array(select plan.id from unnest(moved) as plan));
  if cardinality(plans) > 1 then
    issues := coalesce(issues, '[]') || private.overlap_issues(slots, 0);
  end if;
  if issues <> '[]' then
    perform private.raise_invalid(jsonb_path_query_array(issues, '$[0 to 49]'));
  end if;
end
$$;
comment on function private.require_staff_windows(private.staff_plan[], private.staff_plan[], timestamptz) is
  'PT400 when what is moved would be in the past, too long or too far ahead, or the series would overlap itself.';

create function private.change_alternatives(
  organization_id uuid,
  plans private.staff_plan[],
  keeps_day boolean,
  as_of timestamptz
)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    select coalesce(jsonb_agg(found.value order by found.position), '[]')
    from jsonb_array_elements(private.staff_alternatives(organization_id, plans, as_of))
      with ordinality as found (value, position)
    where not keeps_day
      or ((found.value ->> 'startTime')::timestamptz at time zone plans[1].time_zone)::date = plans[1].civil_start::date
  );
end
$$;
comment on function private.change_alternatives(uuid, private.staff_plan[], boolean, timestamptz) is
  'Other times for a change that is refused. keeps_day: only those of the same day, since a series changes its time of day.';

create function private.write_staff_change(actor private.actor, plans private.staff_plan[], as_of timestamptz)
returns void
language plpgsql
set search_path = ''
as $$
begin
  update public.staff_times as known
  set kind = plan.kind, start_time = plan.start_time, end_time = plan.end_time, civil_start = plan.civil_start,
    room_id = plan.room_id, updated_at = as_of
  from unnest(plans) as plan
  where known.organization_id = actor.organization_id and known.id = plan.id;
  delete from public.staff_time_members as member
  using unnest(plans) as plan
  where member.organization_id = actor.organization_id and member.staff_time_id = plan.id
    and member.therapist_id <> all (plan.therapist_ids);
  insert into public.staff_time_members (organization_id, staff_time_id, therapist_id)
  select actor.organization_id, plan.id, member.id
  from unnest(plans) as plan
  cross join lateral unnest(plan.therapist_ids) as member (id)
  on conflict do nothing;
  perform private.write_staff_claims(actor.organization_id, plans, as_of);
end
$$;
comment on function private.write_staff_change(private.actor, private.staff_plan[], timestamptz) is
  'Writes staff times as they are to be, their members and their claims.';

create function private.change_staff_time(actor private.actor, request jsonb)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  wanted private.staff_time_change := private.read_staff_time_change(request);
  reason constant text := private.tidy((wanted.override).reason);
  from_time constant timestamptz := coalesce(wanted."from"::timestamptz, clock_timestamp());
  target_ids uuid[] := private.staff_targets(
    actor, array[wanted.staff_time_id], wanted.scope, wanted.series_id, from_time
  );
  plans private.staff_plan[];
  moved private.staff_plan[];
  before jsonb;
  issue jsonb := '{}';
  as_of timestamptz;
begin
  if target_ids = '{}' or not private.may_change_staff_times(actor, target_ids) then
    return private.refuse_staff_time(actor, array_remove(array[wanted.staff_time_id], null), 'FORBIDDEN',
      'There is no such staff time, or it is not yours to change.');
  end if;
  perform private.share_organization(actor.organization_id);
  perform private.lock_staff_times(
    actor.organization_id, target_ids, coalesce(wanted.therapist_ids::uuid[], '{}') || wanted.room_id
  );
  as_of := clock_timestamp();
  plans := private.changed_plans(actor.organization_id, target_ids, wanted, request ? 'room_id');
  if plans = '{}' then
    return private.refuse_staff_time(actor, target_ids, 'SESSION_NOT_MOVABLE', 'This staff time is cancelled.');
  elsif not private.may_change_staff_times(actor, target_ids) then
    return private.refuse_staff_time(actor, target_ids, 'FORBIDDEN', 'This staff time is not yours to change any more.');
  end if;
  -- Those that would take another time, therapist or room than they do now.
  moved := array(
    select plan
    from unnest(plans) as plan
    join unnest(private.changed_plans(actor.organization_id, target_ids, null, false)) as known on known.id = plan.id
    where (known.start_time, known.end_time, known.room_id) is distinct from (plan.start_time, plan.end_time, plan.room_id)
      or not (known.therapist_ids @> plan.therapist_ids and known.therapist_ids <@ plan.therapist_ids)
  );
  perform private.require_staff_windows(moved, plans, as_of);
  if moved <> '{}' then
    issue := private.staff_placement_issue(actor, moved, wanted.override, as_of);
    if issue ? 'code' then
      return private.refuse_staff_time(
        actor, target_ids, issue ->> 'code', issue ->> 'detail', (issue ->> 'retryAfter')::timestamptz, issue -> 'conflicts',
        private.change_alternatives(actor.organization_id, plans, cardinality(target_ids) > 1, as_of)
      );
    end if;
  end if;
  target_ids := array(select plan.id from unnest(plans) as plan order by plan.occurrence_index);
  before := private.staff_time_facts(actor.organization_id, target_ids);
  perform private.write_staff_change(actor, plans, as_of);
  perform private.record_event(
    actor.organization_id, 'staff_time.changed', 'staff_time', target_ids, as_of,
    actor_role => actor.role::text,
    before => before,
    after => private.staff_time_facts(actor.organization_id, target_ids)
  );
  if (issue -> 'overridden')::boolean then
    perform private.record_event(
      actor.organization_id, 'override.availability', 'staff_time', target_ids, as_of,
      actor_role => actor.role::text, details => jsonb_build_object('reason', reason)
    );
  end if;
  return private.success(private.staff_answer(actor.organization_id, target_ids));
end
$$;

select private.publish_booking('change_staff_time',
  'Changes one staff time, or those of a series: {staff_time_id, scope?} (this, the default; following; all to come) or '
  '{series_id, from?} (left out: from now), and any of {kind, therapist_ids, room_id, shift_minutes, or weekday and '
  'local_start (HH:MM), duration_minutes, override}, as in the series.change of sessions-hold; start_time and end_time for one '
  'alone. All or nothing. Outcome body: {staffTimes: [{id, '
  'kind, startTime, endTime, seriesId}]}. 409 as add_staff_time; alternatives of a series are of the same day.'
);

create function private.end_staff_times(actor private.actor, staff_time_ids uuid[], as_of timestamptz)
returns uuid[]
language plpgsql
set search_path = ''
as $$
declare
  ended_ids constant uuid[] := array(
    select known.id from public.staff_times as known
    where known.organization_id = actor.organization_id and known.id = any (staff_time_ids) and known.cancelled_at is null
    order by known.start_time, known.id
  );
  before jsonb;
begin
  if ended_ids = '{}' then
    return '{}';
  end if;
  before := private.staff_time_facts(actor.organization_id, ended_ids);
  update public.staff_times as known
  set cancelled_at = as_of, updated_at = as_of
  where known.organization_id = actor.organization_id and known.id = any (ended_ids);
  perform private.sync_claims(actor.organization_id, ended_ids, as_of);
  perform private.record_event(
    actor.organization_id, 'staff_time.cancelled', 'staff_time', ended_ids, as_of,
    actor_role => actor.role::text,
    before => before,
    after => private.staff_time_facts(actor.organization_id, ended_ids)
  );
  return ended_ids;
end
$$;
comment on function private.end_staff_times(private.actor, uuid[], timestamptz) is
  'Cancels those of these staff times that are not cancelled yet, whose locks the caller has; which they were.';

create function private.staff_times_to_come(
  organization_id uuid,
  therapist_id uuid,
  room_id uuid,
  closed tstzrange default null
)
returns uuid[]
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  -- Whoever leaves is missed at what has not begun; a closing touches also what is going on.
  span constant tstzrange := coalesce(closed, tstzrange(clock_timestamp(), null, '()'));
begin
  return array(
    select known.id
    from public.staff_times as known
    where known.organization_id = staff_times_to_come.organization_id
      -- No staff time is longer than 12 hours, so that the index on its start finds it.
      and known.start_time > case
        when closed is null then lower(span)
        else greatest(lower(span), clock_timestamp()) - interval '12 hours'
      end
      and known.start_time < coalesce(upper(span), 'infinity')
      and known.end_time > greatest(lower(span), clock_timestamp())
      and known.cancelled_at is null
      and (staff_times_to_come.room_id is null or known.room_id = staff_times_to_come.room_id)
      and (staff_times_to_come.therapist_id is null or exists (
        select from public.staff_time_members as member
        where member.organization_id = known.organization_id and member.staff_time_id = known.id
          and member.therapist_id = staff_times_to_come.therapist_id
      ))
    order by known.start_time, known.id
  );
end
$$;
comment on function private.staff_times_to_come(uuid, uuid, uuid, tstzrange) is
  'The staff times to come that are not cancelled, the earliest first: of a therapist, in a room, or with null of everybody; '
  'closed: only those that lie in it at least in part, also when they have begun.';

create function private.end_touched_staff_times(staff_time_ids uuid[], leaving_id uuid)
returns integer
language plpgsql
set search_path = ''
as $$
declare
  actor constant private.actor := private.require_actor();
  former text;
  left_ids uuid[];
  before jsonb;
  as_of constant timestamptz := clock_timestamp();
begin
  if staff_time_ids = '{}' then
    return 0;
  end if;
  former := private.enter_booking();
  -- A meeting of others goes on without whoever is away.
  left_ids := array(
    select named.id from unnest(staff_time_ids) as named (id)
    where exists (
      select from public.staff_time_members as member
      where member.organization_id = actor.organization_id and member.staff_time_id = named.id
        and member.therapist_id <> leaving_id
    )
  );
  if left_ids <> '{}' then
    before := private.staff_time_facts(actor.organization_id, left_ids);
    delete from public.staff_time_members as member
    where member.organization_id = actor.organization_id and member.staff_time_id = any (left_ids)
      and member.therapist_id = leaving_id;
    perform private.sync_claims(actor.organization_id, left_ids, as_of);
    perform private.record_event(
      actor.organization_id, 'staff_time.changed', 'staff_time', left_ids, as_of,
      actor_role => actor.role::text,
      before => before,
      after => private.staff_time_facts(actor.organization_id, left_ids)
    );
  end if;
  perform private.end_staff_times(actor, array(
    select named.id from unnest(staff_time_ids) as named (id) where named.id <> all (left_ids)
  ), as_of);
  perform private.leave_booking(null, former);
  return cardinality(staff_time_ids);
end
$$;
comment on function private.end_touched_staff_times(uuid[], uuid) is
  'Takes a therapist out of these staff times, and cancels those that nobody else takes part in; with null all of them. For '
  'a caller who is alone in the organization. Returns how many.';

create function private.cancel_staff_time(actor private.actor, request jsonb)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  wanted private.staff_time_end := private.read_request(request, null::private.staff_time_end);
  from_time constant timestamptz := coalesce(wanted."from"::timestamptz, clock_timestamp());
  named_ids uuid[];
  target_ids uuid[];
  cancelled_ids uuid[];
  as_of timestamptz;
begin
  perform private.require(array[
    row('staff_time_ids', 'is required, or staff_time_id, or series_id: one of them',
      num_nonnulls(wanted.staff_time_ids, wanted.staff_time_id, wanted.series_id) <> 1),
    row('from', 'goes with series_id', wanted."from" is not null and wanted.series_id is null),
    row('scope', 'goes with staff_time_id', wanted.scope is not null and wanted.staff_time_id is null)
  ]::private.rule[]);
  named_ids := coalesce(wanted.staff_time_ids::uuid[], array_remove(array[wanted.staff_time_id], null));
  target_ids := private.staff_targets(actor, named_ids, wanted.scope, wanted.series_id, from_time);
  if target_ids = '{}' or not target_ids @> named_ids or not private.may_change_staff_times(actor, target_ids) then
    return private.refuse_staff_time(actor, named_ids, 'FORBIDDEN',
      'You may not cancel every staff time this names. Nothing was cancelled.');
  end if;
  perform private.share_organization(actor.organization_id);
  perform private.lock_staff_times(actor.organization_id, target_ids);
  as_of := clock_timestamp();
  if not private.may_change_staff_times(actor, target_ids) then
    return private.refuse_staff_time(actor, target_ids, 'FORBIDDEN',
      'You may not cancel every staff time this names. Nothing was cancelled.');
  end if;
  cancelled_ids := private.end_staff_times(actor, target_ids, as_of);
  return private.success(jsonb_build_object(
    'cancelledCount', cardinality(cancelled_ids),
    'alreadyCancelledCount', cardinality(target_ids) - cardinality(cancelled_ids),
    'cancelledIds', to_jsonb(cancelled_ids)
  ));
end
$$;

select private.publish_booking('cancel_staff_time',
  'Cancels staff times: {staff_time_ids}, {staff_time_id, scope?} (this, the default; following; all to come) or '
  '{series_id, from?} (left out: from now). Their time is free at once. Outcome body: {cancelledCount, '
  'alreadyCancelledCount, cancelledIds}.'
);
