-- Purpose: sessions-hold. Claims a slot, or a whole series, for a few minutes; or new places for existing sessions.
-- Objects: place_hold, the one way to a hold (new booking, series, group, join, move, offer), and its steps.
-- Watch for: every path reads top to bottom: read, lock, who, where, claims, units, write, answer. Everything decisive is
--            read behind the locks. A refusal gives up the claims that were tried, the one thing written before it.

create function private.new_batch(actor private.actor, wanted private.hold_request, is_move boolean)
returns public.hold_batches
language plpgsql
volatile
set search_path = ''
as $$
declare
  batch public.hold_batches;
begin
  batch.organization_id := actor.organization_id;
  batch.id := gen_random_uuid();
  batch.hold_key := gen_random_uuid();
  batch.therapist_id := wanted.therapist_id;
  batch.room_id := wanted.room_id;
  batch.session_type := wanted.session_type;
  batch.cpt_code := wanted.cpt_code;
  batch.time_zone := wanted.time_zone;
  batch.buffer_before_minutes := coalesce(wanted.buffer_before_minutes, 0);
  batch.buffer_after_minutes := coalesce(wanted.buffer_after_minutes, 0);
  if wanted.recurrence is distinct from null then
    batch.recurrence := jsonb_strip_nulls(to_jsonb(wanted.recurrence));
  end if;
  if wanted.override is distinct from null then
    batch.override_reason := private.tidy((wanted.override).reason);
    batch.override_rules := (wanted.override).rules::text[];
  end if;
  batch.is_move := is_move;
  -- A move of several clients' sessions names none.
  batch.keeps_places := is_move and wanted.client_id is null;
  batch.stopped := false;
  batch.created_by := coalesce(actor.user_id, wanted.therapist_id);
  return batch;
end
$$;
comment on function private.new_batch(private.actor, private.hold_request, boolean) is
  'The batch a request would make: what its occurrences have in common. When it begins and ends is known behind the locks.';

create function private.lock_moved(organization_id uuid, session_ids uuid[])
returns uuid[]
language plpgsql
set search_path = ''
as $$
declare
  group_ids uuid[] := array(
    select distinct session.group_id
    from unnest(session_ids) as named (id)
    join public.sessions as session on session.organization_id = lock_moved.organization_id and session.id = named.id
    where session.group_id is not null
    order by session.group_id
  );
begin
  -- A client who joins a group shares its row (lock_group) until they have: so the members are all there when it moves.
  perform from unnest(group_ids) as named (id)
  cross join lateral (
    select from public.session_groups as known
    where known.organization_id = lock_moved.organization_id and known.id = named.id
    for update
  ) as locked;
  perform private.lock_sessions(organization_id, session_ids || array(
    select member.id from public.sessions as member
    where member.organization_id = lock_moved.organization_id and member.group_id = any (group_ids)
  ));
  return array(
    select distinct resource.id
    from public.sessions as session
    left join public.session_groups as known
      on known.organization_id = session.organization_id and known.id = session.group_id
    cross join lateral unnest(array[session.therapist_id, session.client_id, session.room_id, known.room_id]) as resource (id)
    where session.organization_id = lock_moved.organization_id
      -- Who has left a group is not moved with it, and nobody waits for them.
      and (
        session.id = any (session_ids)
        or session.group_id = any (group_ids) and session.status not in ('cancelled', 'no_show')
      )
      and resource.id is not null
  );
end
$$;
comment on function private.lock_moved(uuid, uuid[]) is
  'Locks sessions that move, with the groups they are in: groups by id, then sessions by id. Returns whom and what they '
  'take now, to be locked next.';

create function private.lock_group(organization_id uuid, group_id uuid)
returns void
language plpgsql
set search_path = ''
as $$
begin
  -- Whoever moves the group takes its row whole before they look who is in it: a joiner must not slip in between.
  perform from public.session_groups as known
  where known.organization_id = lock_group.organization_id and known.id = lock_group.group_id
  for share;
end
$$;
comment on function private.lock_group(uuid, uuid) is 'Keeps a group where it is until the transaction ends.';

create function private.with_moved(organization_id uuid, slots private.slot[])
returns private.slot[]
language plpgsql
volatile
set search_path = ''
as $$
begin
  -- Naming one member of a group stands for all who still come.
  return array(
    select row(
      case when member.id = slot.session_id then slot.hold_id else gen_random_uuid() end, slot.occurrence_index,
      slot.hold_key, member.client_id, null, member.id, slot.start_time, slot.end_time, slot.time_zone, slot.civil_start,
      slot.lanes, null, null, null
    )::private.slot
    from unnest(slots) as slot
    cross join lateral (
      select known.* from public.sessions as known
      where known.organization_id = with_moved.organization_id and known.id = slot.session_id offset 0
    ) as named
    cross join lateral (
      select named.id, named.client_id
      union
      select mate.id, mate.client_id
      from public.sessions as mate
      where mate.organization_id = with_moved.organization_id and mate.group_id = named.group_id
        and mate.status not in ('cancelled', 'no_show')
    ) as member
    order by slot.occurrence_index, member.id <> slot.session_id, member.id
  );
end
$$;
comment on function private.with_moved(uuid, private.slot[]) is
  'The slots of a move with one for each member of a group that moves, the named one first. Unknown sessions are left out.';

create function private.keep_place(
  batch public.hold_batches,
  wanted private.hold_request,
  names_room boolean,
  slots private.slot[]
)
returns public.hold_batches
language plpgsql
stable
set search_path = ''
as $$
declare
  has record;
  issues jsonb;
begin
  if batch.keeps_places then
    if cardinality(slots) > 366 then
      perform private.raise_invalid(private.issue('session_ids', 'must stand for at most 366 sessions, those of all members counted'));
    end if;
    return batch;
  end if;
  select
    (array_agg(coalesce(known.room_id, session.room_id)))[1] as room_id,
    count(distinct coalesce(known.room_id::text, session.room_id::text, '')) > 1 as rooms_differ,
    min(greatest(known.buffer_before_minutes, session.buffer_before_minutes)) as buffer_before,
    max(greatest(known.buffer_before_minutes, session.buffer_before_minutes)) as longest_before,
    min(greatest(known.buffer_after_minutes, session.buffer_after_minutes)) as buffer_after,
    max(greatest(known.buffer_after_minutes, session.buffer_after_minutes)) as longest_after
  into has
  from unnest(slots) as slot
  cross join lateral (
    select moved.* from public.sessions as moved
    where moved.organization_id = batch.organization_id and moved.id = slot.session_id offset 0
  ) as session
  left join public.session_groups as known
    on known.organization_id = session.organization_id and known.id = session.group_id;
  if not names_room then
    batch.room_id := has.room_id;
  end if;
  batch.buffer_before_minutes := coalesce(wanted.buffer_before_minutes, has.buffer_before, 0);
  batch.buffer_after_minutes := coalesce(wanted.buffer_after_minutes, has.buffer_after, 0);
  issues := case when not names_room and has.rooms_differ
      then private.issue('room_id', 'must be named, or null for none: the sessions are in different rooms') else '[]' end
    || case when wanted.buffer_before_minutes is null and has.buffer_before < has.longest_before
      then private.issue('buffer_before_minutes', 'must be named: the sessions'' differ') else '[]' end
    || case when wanted.buffer_after_minutes is null and has.buffer_after < has.longest_after
      then private.issue('buffer_after_minutes', 'must be named: the sessions'' differ') else '[]' end
    || case when cardinality(slots) > 366
      then private.issue('occurrences', 'must move at most 366 sessions, those of all members counted') else '[]' end;
  if issues = '[]' and batch.buffer_before_minutes + batch.buffer_after_minutes > 0 then
    issues := private.overlap_issues(
      array(
        select (array_agg(slot order by slot.client_id))[1]
        from unnest(slots) as slot group by slot.occurrence_index order by slot.occurrence_index
      ),
      batch.buffer_before_minutes + batch.buffer_after_minutes
    );
  end if;
  if issues <> '[]' then
    perform private.raise_invalid(issues);
  end if;
  return batch;
end
$$;
comment on function private.keep_place(public.hold_batches, private.hold_request, boolean, private.slot[]) is
  'What a move does not name stays as its sessions have it: room and buffers, where they agree; PT400 where they do not.';

create function private.with_services(organization_id uuid, slots private.slot[], cpt_code text, session_type text)
returns private.slot[]
language plpgsql
stable
set search_path = ''
as $$
declare
  zone text;
begin
  if cardinality(slots) = 1 and slots[1].session_id is null then
    if cpt_code is not null or session_type is not null then
      zone := private.service_zone(organization_id, slots[1].client_id);
      slots[1].service_date := (slots[1].start_time at time zone zone)::date;
      slots[1].last_date := (slots[1].end_time at time zone zone)::date;
      slots[1].cpt_code := private.service_code(organization_id, cpt_code, session_type, slots[1].service_date);
    end if;
    return slots;
  end if;
  return array(
    with zone as materialized (
      select client.id, private.service_zone(with_services.organization_id, client.id) as name
      from (select distinct slot.client_id as id from unnest(slots) as slot) as client
    )
    select row(
      slot.hold_id, slot.occurrence_index, slot.hold_key, slot.client_id, slot.group_id, slot.session_id,
      slot.start_time, slot.end_time, slot.time_zone, slot.civil_start, slot.lanes,
      coalesce(
        private.service_code(with_services.organization_id, with_services.cpt_code, with_services.session_type, day.date),
        -- What is moved stays the service it is, unless the request says otherwise.
        (
          select private.service_code(moved.organization_id, moved.cpt_code, moved.session_type, day.date)
          from public.sessions as moved
          where moved.organization_id = with_services.organization_id and moved.id = slot.session_id
        )
      ),
      day.date, (slot.end_time at time zone zone.name)::date
    )::private.slot
    from unnest(slots) with ordinality as slot
    join zone on zone.id = slot.client_id
    cross join lateral (select (slot.start_time at time zone zone.name)::date as date offset 0) as day
    order by slot.ordinality
  );
end
$$;
comment on function private.with_services(uuid, private.slot[], text, text) is
  'The slots with the day of service, the day on which it ends, and the code that this code or session type means then; of '
  'a move, else what the moved session is. No code: the booking names no service.';

create function private.named_services(
  organization_id uuid,
  slots private.slot[],
  cpt_code text,
  session_type text,
  is_joining boolean
)
returns private.named_services
language plpgsql
stable
set search_path = ''
as $$
declare
  named private.named_services;
begin
  if cardinality(slots) = 1 then
    if slots[1].cpt_code is not null then
      named.paths := array[case when cpt_code is null and session_type is not null then 'session_type' else 'cpt_code' end];
      named.codes := array[slots[1].cpt_code];
      named.dates := array[slots[1].service_date];
      if slots[1].session_id is null
        or private.service_code(organization_id, cpt_code, session_type, slots[1].service_date) is not null
      then
        named.clients := array[case when is_joining then 2 else 1 end];
      end if;
    end if;
    return named;
  end if;
  select
    array_agg(case
      when slots[1].occurrence_index <> slots[cardinality(slots)].occurrence_index
        then format('occurrences.%s', slot.occurrence_index)
      -- Whoever named the service by its type alone knows no code.
      when named_services.cpt_code is null and named_services.session_type is not null then 'session_type'
      else 'cpt_code'
    end),
    array_agg(slot.cpt_code),
    array_agg(slot.service_date),
    -- What is moved stays the service it is, unless the request names one.
    array_agg(case when slot.session_id is null or private.service_code(
      named_services.organization_id, named_services.cpt_code, named_services.session_type, slot.service_date
    ) is not null then slot.members + case when is_joining then 1 else 0 end end)
  into named
  from (
    select each.*, (count(*) over (partition by each.occurrence_index))::integer as members
    from unnest(slots) as each
    where each.cpt_code is not null
  ) as slot;
  return named;
end
$$;
comment on function private.named_services(uuid, private.slot[], text, text, boolean) is
  'The services of a hold. A client who joins is one beside another. cpt_code and session_type: what the request names.';

create function private.with_lanes(organization_id uuid, slots private.slot[], lifted int4multirange default null)
returns private.slot[]
language plpgsql
stable
set search_path = ''
as $$
declare
  one private.slot := slots[1];
begin
  if cardinality(slots) = 1 then
    if one.session_id is not null then
      one.lanes := private.kept_lanes(organization_id, one.session_id, one.cpt_code, one.start_time, one.end_time);
    end if;
    if one.session_id is null or one.lanes is null then
      one.lanes := private.lanes_on(organization_id, one.client_id, one.cpt_code, one.service_date, one.last_date);
      if lifted is not null then
        one.lanes := one.lanes - lifted;
      end if;
    end if;
    return array[one];
  end if;
  return array(
    -- Lanes are the same for months: looked at once for each stretch of days, not for each occurrence.
    with period as materialized (
      select service.client_id, service.cpt_code, found.during, found.lanes
      from (
        select slot.client_id, slot.cpt_code, tstzrange(min(slot.start_time), max(slot.end_time), '[]') as span
        from unnest(slots) as slot
        group by slot.client_id, slot.cpt_code
      ) as service
      cross join lateral private.lane_periods(
        with_lanes.organization_id, service.client_id, service.cpt_code, service.span
      ) as found
    )
    select row(
      slot.hold_id, slot.occurrence_index, slot.hold_key, slot.client_id, slot.group_id, slot.session_id,
      slot.start_time, slot.end_time, slot.time_zone, slot.civil_start,
      coalesce(
        case when slot.session_id is not null then private.kept_lanes(
          with_lanes.organization_id, slot.session_id, slot.cpt_code, slot.start_time, slot.end_time
        ) end,
        (
          select range_agg(lane.range)
          from period
          cross join lateral unnest(period.lanes) as lane (range)
          where period.client_id = slot.client_id and period.cpt_code is not distinct from slot.cpt_code
            and period.during && tstzrange(slot.start_time, slot.end_time, '[]')
        ) - coalesce(lifted, '{}')
      ),
      slot.cpt_code, slot.service_date, slot.last_date
    )::private.slot
    from unnest(slots) as slot
  );
end
$$;
comment on function private.with_lanes(uuid, private.slot[], int4multirange) is
  'The slots with the lanes their clients'' payers leave them for their services, less those an admin lifts.';

create function private.places_of_slots(batch public.hold_batches, slots private.slot[], is_joining boolean)
returns private.place[]
language plpgsql
stable
set search_path = ''
as $$
declare
  one constant private.slot := slots[1];
begin
  if cardinality(slots) = 1 and not batch.keeps_places then
    return array[row(
      one.hold_id, case when not is_joining then coalesce(one.group_id, one.hold_id) end, batch.therapist_id,
      batch.room_id, batch.buffer_before_minutes, batch.buffer_after_minutes, one.client_id, one.lanes, one.start_time,
      one.end_time, batch.expires_at
    )::private.place];
  end if;
  return array(
    select row(
      slot.hold_id,
      -- The clients of one occurrence stand on one place.
      case when slot.is_first then coalesce(slot.group_id, slot.hold_id) end, batch.therapist_id,
      case when batch.keeps_places then kept.room_id else batch.room_id end,
      case when batch.keeps_places then kept.buffer_before_minutes else batch.buffer_before_minutes end,
      case when batch.keeps_places then kept.buffer_after_minutes else batch.buffer_after_minutes end,
      slot.client_id, slot.lanes, slot.start_time, slot.end_time, batch.expires_at
    )::private.place
    from (
      select each.*, row_number() over (partition by each.occurrence_index order by each.ordinality) = 1 as is_first
      from unnest(slots) with ordinality as each
    ) as slot
    left join lateral (
      select coalesce(known.room_id, session.room_id) as room_id,
        greatest(known.buffer_before_minutes, session.buffer_before_minutes) as buffer_before_minutes,
        greatest(known.buffer_after_minutes, session.buffer_after_minutes) as buffer_after_minutes
      from public.sessions as session
      left join public.session_groups as known
        on known.organization_id = session.organization_id and known.id = session.group_id
      where batch.keeps_places and session.organization_id = batch.organization_id and session.id = slot.session_id
      offset 0
    ) as kept on true
  );
end
$$;
comment on function private.places_of_slots(public.hold_batches, private.slot[], boolean) is
  'Where a request would stand. A client who joins a group takes nothing but their own time: the place is the group''s. '
  'Sessions of a batch that keeps places keep their rooms and buffers.';

create function private.spans_of(slots private.slot[])
returns tstzrange[]
language plpgsql
immutable
set search_path = ''
as $$
begin
  if cardinality(slots) = 1 then
    return array[tstzrange(slots[1].start_time, slots[1].end_time, '[)')];
  end if;
  return array(
    select tstzrange(min(slot.start_time), min(slot.end_time), '[)')
    from unnest(slots) as slot
    group by slot.occurrence_index
    order by slot.occurrence_index
  );
end
$$;
comment on function private.spans_of(private.slot[]) is 'The windows of the occurrences, in order.';

create function private.services_of_slots(slots private.slot[], therapist_id uuid)
returns private.service[]
language plpgsql
immutable
set search_path = ''
as $$
declare
  services private.service[] := '{}';
  slot private.slot;
begin
  foreach slot in array slots loop
    if slot.cpt_code is not null or slot.session_id is not null then
      services := services || row(
        slot.hold_id, slot.occurrence_index, slot.client_id, coalesce(slot.cpt_code, '97153'), slot.start_time,
        slot.end_time, slot.session_id, null, therapist_id, slot.service_date
      )::private.service;
    end if;
  end loop;
  return services;
end
$$;
comment on function private.services_of_slots(private.slot[], uuid) is
  'The services of a request, for its units. A hold that names no service takes its units when it is confirmed as one.';

create function private.held_answer(batch public.hold_batches, slots private.slot[])
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
  one constant private.slot := slots[1];
  until constant text := private.iso(batch.expires_at);
  holds jsonb;
begin
  if cardinality(slots) = 1 and one.group_id is null then
    holds := jsonb_build_array(jsonb_build_object(
      'holdKey', one.hold_key, 'holdId', one.hold_id, 'startTime', private.iso(one.start_time),
      'endTime', private.iso(one.end_time), 'expiresAt', until
    ));
  else
    select jsonb_agg(held.answer order by held.occurrence_index) into holds
    from (
      select slot.occurrence_index,
        -- As they were asked for: the client that was named first.
        jsonb_build_object(
          'holdKey', min(slot.hold_key::text), 'holdId', (array_agg(slot.hold_id order by slot.ordinality))[1],
          -- As private.iso, without a call for each.
          'startTime', to_char(min(slot.start_time) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
          'endTime', to_char(min(slot.end_time) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
          'expiresAt', until
        ) || case
          when min(coalesce(slot.group_id, moved.group_id)::text) is not null then jsonb_build_object(
            'groupId', min(coalesce(slot.group_id, moved.group_id)::text),
            'clientIds', jsonb_agg(slot.client_id order by slot.ordinality)
          )
          else '{}'::jsonb
        end as answer
      from unnest(slots) with ordinality as slot
      left join public.sessions as moved
        on moved.organization_id = batch.organization_id and moved.id = slot.session_id
      group by slot.occurrence_index
    ) as held;
  end if;
  return jsonb_build_object('holdKey', batch.hold_key, 'holdId', batch.id, 'expiresAt', until, 'holds', holds);
end
$$;
comment on function private.held_answer(public.hold_batches, private.slot[]) is
  'The body of a hold: one of holds[] for each occurrence, in request order; that of a group lists its clients.';

create function private.hold_facts(wanted private.hold_request, slots private.slot[])
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
  occurrences jsonb;
  session_ids uuid[];
begin
  if cardinality(slots) = 1 then
    occurrences := jsonb_build_array(jsonb_build_array(private.iso(slots[1].start_time), private.iso(slots[1].end_time)));
  else
    occurrences := (
      select jsonb_agg(distinct jsonb_build_array(
        to_char(slot.start_time at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
        to_char(slot.end_time at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
      ))
      from unnest(slots) as slot
    );
  end if;
  if slots[1].session_id is not null then
    session_ids := array(select slot.session_id from unnest(slots) as slot);
  end if;
  return jsonb_strip_nulls(jsonb_build_object(
    'therapistId', wanted.therapist_id, 'clientId', wanted.client_id, 'clientIds', wanted.client_ids,
    'groupId', wanted.group_id, 'roomId', wanted.room_id, 'occurrences', occurrences, 'sessionIds', session_ids
  ));
end
$$;
comment on function private.hold_facts(private.hold_request, private.slot[]) is
  'What of a hold belongs in an audit event: no PHI.';

create function private.claim_slots(
  batch public.hold_batches,
  slots private.slot[],
  is_joining boolean,
  as_of timestamptz,
  out lifted int4multirange,
  out placed private.slot[],
  out obstacle private.obstacle
)
language plpgsql
set search_path = ''
as $$
declare
  own_ids uuid[] := '{}';
  claims private.claims[];
  taken bigint;
begin
  placed := private.with_lanes(batch.organization_id, slots);
  claims := private.claimed(batch.organization_id, private.places_of_slots(batch, placed, is_joining));
  if batch.is_move then
    -- A move takes its claims when its rows are there: what it wants beyond what its sessions have.
    own_ids := array(
      select unnest(array[session.id, session.group_id])
      from unnest(slots) as slot
      join public.sessions as session on session.organization_id = batch.organization_id and session.id = slot.session_id
    );
  else
    taken := private.take_claims(claims);
    if taken = cardinality(claims) then
      return;
    elsif taken > 0 then
      perform private.give_up_claims(claims);
    end if;
  end if;

  obstacle := private.find_conflicts(placed, claims, array_remove(own_ids, null), as_of);
  if obstacle.concurrent_lanes is not null and private.overrides(batch, 'concurrency') then
    -- The pairs in the way give up their lanes, for this hold only: everything else still blocks it.
    lifted := obstacle.concurrent_lanes;
    placed := private.with_lanes(batch.organization_id, slots, lifted);
    claims := private.claimed(batch.organization_id, private.places_of_slots(batch, placed, is_joining));
    obstacle := private.find_conflicts(placed, claims, array_remove(own_ids, null), as_of);
  end if;
  if obstacle.conflicts is not null then
    return;
  end if;
  if obstacle.has_stale then
    perform private.remove_stale(batch.organization_id, claims, as_of);
  end if;
  if not batch.is_move and private.take_claims(claims) < cardinality(claims) then
    perform private.raise_busy();
  end if;
end
$$;
comment on function private.claim_slots(public.hold_batches, private.slot[], boolean, timestamptz) is
  'Takes the claims of a request, or says what is in the way (obstacle.conflicts). placed: the slots with their lanes; '
  'lifted: the lanes an admin set aside for them.';

create function private.place_hold(
  actor private.actor,
  wanted private.hold_request,
  slots private.slot[],
  names_room boolean default true,
  details jsonb default '{}'
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  moving constant boolean := slots[1].session_id is not null;
  joining constant boolean := wanted.group_id is not null;
  named_ids uuid[] := '{}';
  client_ids uuid[] := coalesce(wanted.client_ids, array[wanted.client_id]);
  resource_ids uuid[] := '{}';
  batch public.hold_batches := private.new_batch(actor, wanted, moving);
  booker private.booker;
  issue private.cause;
  claim record;
  services private.service[];
  quotes private.quote[];
  shortages jsonb;
  overridden text[] := '{}';
  body jsonb;
  as_of timestamptz;
begin
  if moving then
    named_ids := array(select slot.session_id from unnest(slots) as slot);
    resource_ids := private.lock_moved(actor.organization_id, named_ids);
    slots := private.with_moved(actor.organization_id, slots);
    client_ids := case when batch.keeps_places then '{}' else client_ids end
      || array(select slot.client_id from unnest(slots) as slot);
    batch := private.keep_place(batch, wanted, names_room, slots);
  elsif joining then
    perform private.lock_group(actor.organization_id, wanted.group_id);
  end if;
  perform private.lock_resources(
    actor.organization_id, client_ids || resource_ids || array[wanted.therapist_id, batch.room_id]
  );
  as_of := clock_timestamp();
  batch.expires_at := date_trunc('milliseconds', as_of) + make_interval(secs => wanted.hold_seconds);
  batch.created_at := as_of;

  booker := private.who_may_book(actor, wanted.therapist_id, client_ids, batch.room_id);
  slots := private.with_services(actor.organization_id, slots, wanted.cpt_code, wanted.session_type);
  issue := private.placement_issue(
    booker, actor, batch,
    private.named_services(actor.organization_id, slots, wanted.cpt_code, wanted.session_type, joining), private.spans_of(slots)
  );
  if issue.code is null and moving then
    issue := private.move_issue(actor, booker, wanted.client_id, named_ids, as_of);
  elsif issue.code is null and joining then
    issue := private.join_issue(actor, slots[1], wanted.therapist_id, as_of);
  end if;
  if issue.code is not null then
    return private.refuse(
      actor, 'hold.refused', named_ids, issue.code, issue.detail, wanted.therapist_id,
      issue.retry_after, issue.conflicts,
      jsonb_build_object('request', private.hold_facts(wanted, slots))
    );
  end if;
  claim := private.claim_slots(batch, slots, joining, as_of);
  if (claim.obstacle).conflicts is not null then
    body := private.conflict_code((claim.obstacle).conflicts, (claim.obstacle).concurrent_lanes);
    return private.refuse(
      actor, 'hold.refused', named_ids, body ->> 'code', body ->> 'detail', wanted.therapist_id,
      (claim.obstacle).retry_after, (claim.obstacle).conflicts,
      jsonb_build_object('request', private.hold_facts(wanted, slots))
    );
  end if;
  slots := claim.placed;
  if batch.override_reason is not null and claim.lifted is null then
    -- Nothing was let run beside it: the payers' rules go on to count for it.
    batch.override_rules := array_remove(
      coalesce(batch.override_rules, '{availability,authorization,concurrency}'), 'concurrency'
    );
  end if;

  services := case when booker.has_payer then private.services_of_slots(slots, wanted.therapist_id) end;
  if cardinality(services) > 0 then
    quotes := private.quote_units(actor.organization_id, services, as_of);
    shortages := private.shortages_of(quotes);
  end if;
  if shortages is not null and not private.overrides(batch, 'authorization') then
    if not moving then
      perform private.give_up_claims(
        private.claimed(actor.organization_id, private.places_of_slots(batch, slots, joining))
      );
    end if;
    return private.refuse(
      actor, 'hold.refused', named_ids, 'AUTHORIZATION_EXCEEDED',
      'The payer''s authorization has too few units left, or does not cover the dates: see shortages. An admin may override.',
      wanted.therapist_id,
      details => jsonb_build_object('request', private.hold_facts(wanted, slots)),
      more => jsonb_build_object('shortages', shortages)
    );
  end if;

  if moving then
    -- An expired move of these sessions still stands as held, if nobody has looked at it since.
    perform private.expire_batches(actor.organization_id, array(
      select hold.batch_id from public.session_holds as hold
      where hold.organization_id = actor.organization_id
        and hold.session_id = any (array(select slot.session_id from unnest(slots) as slot)) and hold.status = 'held'
    ), as_of);
  end if;
  with written as (insert into public.hold_batches values (batch.*))
  insert into public.session_holds (
    organization_id, id, batch_id, occurrence_index, hold_key, client_id, group_id, session_id, start_time, end_time,
    time_zone, civil_start, lanes
  )
  select batch.organization_id, slot.hold_id, batch.id, slot.occurrence_index, slot.hold_key, slot.client_id,
    slot.group_id, slot.session_id, slot.start_time, slot.end_time, slot.time_zone, slot.civil_start, slot.lanes
  from unnest(slots) as slot;
  if moving and not private.sync_claims(actor.organization_id, array[batch.id], as_of) then
    perform private.raise_busy();
  end if;
  body := private.held_answer(batch, slots);
  if quotes is not null then
    perform private.enter_units(actor.organization_id, quotes, 'held', batch.expires_at);
    body := body || private.warnings_in(private.unit_warnings(quotes));
  end if;

  perform private.record_event(
    actor.organization_id, 'hold.acquired', 'hold', array(select slot.hold_id from unnest(slots) as slot), as_of,
    therapist_id => wanted.therapist_id,
    actor_role => actor.role::text,
    after => private.hold_facts(wanted, slots),
    details => details || jsonb_build_object('batchId', batch.id, 'expiresAt', private.iso(batch.expires_at))
  );
  if batch.override_reason is not null then
    overridden := private.record_overrides(actor, batch, slots, shortages is not null, claim.lifted is not null, as_of);
    body := body || jsonb_build_object('overridden', overridden);
  end if;
  return private.success(body);
end
$$;
comment on function private.place_hold(private.actor, private.hold_request, private.slot[], boolean, jsonb) is
  'The one way to a hold: sessions-hold, moves, groups, joining and the waitlist''s offers. Holds every slot or none.';

create function private.warnings_in(warnings jsonb)
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
begin
  return case when warnings = '[]' then '{}'::jsonb else jsonb_build_object('warnings', warnings) end;
end
$$;
comment on function private.warnings_in(jsonb) is 'Warnings as they stand in an answer: left out when there are none.';

create function private.record_overrides(
  actor private.actor,
  batch public.hold_batches,
  slots private.slot[],
  over_units boolean,
  over_lanes boolean,
  as_of timestamptz
)
returns text[]
language plpgsql
set search_path = ''
as $$
declare
  actions text[] := array_remove(array[
    case when private.overrides(batch, 'availability')
      and not private.is_open(batch.organization_id, batch.therapist_id, private.spans_of(slots)) then 'override.availability' end,
    case when over_units then 'override.authorization' end,
    case when over_lanes then 'override.concurrency' end
  ], null);
begin
  perform private.record_event(
    batch.organization_id, rule.action, 'hold', array(select slot.hold_id from unnest(slots) as slot), as_of,
    therapist_id => batch.therapist_id,
    actor_role => actor.role::text,
    details => jsonb_build_object('batchId', batch.id, 'reason', batch.override_reason)
  )
  from unnest(actions) as rule (action);
  return array(select split_part(rule.action, '.', 2) from unnest(actions) as rule (action));
end
$$;
comment on function private.record_overrides(
  private.actor, public.hold_batches, private.slot[], boolean, boolean, timestamptz
) is 'Which rules the hold really set aside, one audit event for each.';

create function private.hold_fingerprint(wanted private.hold_request, names_room boolean)
returns bytea
language plpgsql
volatile
set search_path = ''
as $$
declare
  is_move constant boolean := wanted.session_id is not null or exists (
    select from unnest(wanted.occurrences) as place where place.session_id is not null
  );
begin
  -- Of what it means, not of how it is written: the slots, without asking the clock, and what is not in them.
  return private.fingerprint(
    to_jsonb(wanted) - array['occurrences', 'start_time', 'end_time', 'start_time_offset_minutes',
      'end_time_offset_minutes', 'time_zone', 'session_id']
    || jsonb_build_object(
      -- A move that does not name a room or a buffer keeps the sessions' own; anything else has none.
      'keepsRoom', not names_room and is_move,
      'buffer_before_minutes', case when is_move then wanted.buffer_before_minutes else coalesce(wanted.buffer_before_minutes, 0) end,
      'buffer_after_minutes', case when is_move then wanted.buffer_after_minutes else coalesce(wanted.buffer_after_minutes, 0) end,
      'slots', (
      select jsonb_agg(
        jsonb_build_array(slot.client_id, slot.session_id, slot.start_time, slot.end_time, slot.time_zone)
        order by slot.occurrence_index, slot.client_id
      )
      from unnest(private.slots_of(wanted, null)) as slot
      )
    )
  );
end
$$;
comment on function private.hold_fingerprint(private.hold_request, boolean) is
  'The fingerprint of a hold: the same for the same request, however its times are written.';

create function private.hold_sessions(actor private.actor, request jsonb, idempotency_key text default null)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  wanted private.hold_request;
  names_room constant boolean := request ? 'room_id';
  fingerprint bytea;
  outcome jsonb;
begin
  if request ? 'series' and private.changes_series(request) then
    return private.hold_series(actor, request, idempotency_key);
  end if;
  wanted := private.read_hold_request(request);
  if not private.may_ask(actor, wanted.therapist_id) then
    return private.refuse(actor, 'hold.refused', '{}', 'FORBIDDEN', 'You may not book this therapist, client or room.');
  end if;
  perform private.share_organization(actor.organization_id);
  if idempotency_key is not null then
    fingerprint := private.hold_fingerprint(wanted, names_room);
    outcome := private.find_replay(actor.organization_id, actor.user_id, 'sessions-hold', idempotency_key, fingerprint);
  end if;
  if outcome is not null then
    return outcome;
  end if;
  return private.kept(actor, 'sessions-hold', idempotency_key, fingerprint, private.place_hold(
    actor, wanted, private.slots_of(wanted, clock_timestamp()), names_room
  ));
end
$$;
comment on function private.hold_sessions(private.actor, jsonb, text) is
  'Holds every occurrence of the request, or none. Returns an outcome; see docs/codes.md for its codes. Raises PT400 '
  'for malformed input, PT401 and PT403 for the caller, PT503 when the database is busy.';
