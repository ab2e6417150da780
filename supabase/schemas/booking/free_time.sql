-- Purpose: when a booking could start. What find_open_slots, find_alternatives and preview_series have in common.
-- Objects: private.asked_booking, private.free_starts, private.services_available.
-- Watch for: what is listed as free must be what a hold grants, and the other way round. Hours, time off and closures
--            are private.outside_availability's, lanes private.lanes_on's, units those of the hold: nothing of it is
--            judged anew here.

create type private.asked_place as (
  occurrence_index integer,
  client_id uuid,
  cpt_code text,
  start_time timestamptz,
  end_time timestamptz,
  time_zone text,
  session_id uuid
);
comment on type private.asked_place is
  'One occurrence for one client. cpt_code: the service that is named, or null; session_id: the session it moves.';

create type private.asked_booking as (
  therapist_id uuid,
  room_id uuid,
  buffer_before interval,
  buffer_after interval,
  own_ids uuid[],
  places private.asked_place[],
  is_fixed boolean,
  other_therapist_ids uuid[],
  override private.override_request,
  batch public.hold_batches,
  slots private.slot[]
);
comment on type private.asked_booking is
  'A booking that somebody asks about. own_ids: owners of claims that are not in its way; is_fixed: it has no other '
  'time, since the client joins a group at the group''s. other_therapist_ids: whose time it takes too, as a meeting does. '
  'override: what an admin would set aside for it. batch and slots: of a request of sessions-hold, what it would hold.';

create function private.asked_booking(actor private.actor, request jsonb)
returns private.asked_booking
language plpgsql
volatile
set search_path = ''
as $$
declare
  of_series constant boolean := request ? 'series' and private.changes_series(request);
  wanted private.hold_request := case
    when of_series then (private.asked_move(actor, request)).request else private.read_hold_request(request)
  end;
  slots private.slot[] := private.slots_of(wanted, clock_timestamp());
  named_ids constant uuid[] := array(select slot.session_id from unnest(slots) as slot where slot.session_id is not null);
  batch public.hold_batches := private.new_batch(actor, wanted, named_ids <> '{}');
  asked private.asked_booking;
begin
  if named_ids <> '{}' then
    slots := private.with_moved(actor.organization_id, slots);
    batch := private.keep_place(
      batch, wanted, case when of_series then private.names_room(request) else request ? 'room_id' end, slots
    );
  end if;
  slots := private.with_services(actor.organization_id, slots, wanted.cpt_code, wanted.session_type);
  asked.therapist_id := batch.therapist_id;
  asked.room_id := batch.room_id;
  asked.buffer_before := make_interval(mins => batch.buffer_before_minutes);
  asked.buffer_after := make_interval(mins => batch.buffer_after_minutes);
  asked.is_fixed := wanted.group_id is not null;
  asked.override := case when actor.role in ('admin', 'super_admin') then wanted.override end;
  asked.batch := batch;
  asked.slots := slots;
  asked.own_ids := array(
    select unnest(array_remove(array[session.id, session.group_id], null))
    from public.sessions as session
    where session.organization_id = actor.organization_id
      and session.id = any (array(select slot.session_id from unnest(slots) as slot))
    union
    -- A client who joins stands where the group stands.
    select wanted.group_id where wanted.group_id is not null
  );
  asked.places := array(
    select row(
      slot.occurrence_index, slot.client_id, slot.cpt_code, slot.start_time, slot.end_time, slot.time_zone, slot.session_id
    )::private.asked_place
    from unnest(slots) as slot
    order by slot.occurrence_index, slot.client_id
  );
  if not private.may_ask(actor, asked) or exists (
    select from unnest(named_ids) as named (id)
    where not exists (
      select from public.sessions as session
      where session.organization_id = actor.organization_id
        and session.id = named.id
        and (actor.role <> 'therapist' or session.therapist_id = actor.user_id)
    )
  ) then
    perform private.raise_refusal(403, 'FORBIDDEN', 'You may not book this therapist, client or room.');
  end if;
  if not private.may_render_named(
    actor.organization_id, asked.therapist_id,
    private.named_services(actor.organization_id, slots, wanted.cpt_code, wanted.session_type, asked.is_fixed)
  ) then
    perform private.raise_refusal(403, 'FORBIDDEN', 'You may not book this therapist, client or room.');
  end if;
  return asked;
end
$$;
comment on function private.asked_booking(private.actor, jsonb) is
  'The body of sessions-hold as a question. Raises PT400 as the hold would, and PT403 where the caller may not hold it.';

create function private.may_ask(actor private.actor, asked private.asked_booking)
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  return not exists (
    select 1
    from (select distinct place.client_id from unnest(asked.places) as place) as member
    where not private.may_book(actor, asked.therapist_id, member.client_id, asked.room_id)
  );
end
$$;
comment on function private.may_ask(private.actor, private.asked_booking) is
  'Whether the caller may book this therapist with every one of these clients. Who may not book somebody does not learn '
  'when they are busy.';

-- Lanes by day -----------------------------------------------------------------------------------------------------

create function private.lane_periods(organization_id uuid, client_id uuid, cpt_code text, span tstzrange)
returns table (during tstzrange, lanes int4multirange)
language plpgsql
stable
rows 1
set search_path = ''
as $$
#variable_conflict use_column
declare
  zone text;
  days daterange;
begin
  if lane_periods.cpt_code is null then
    return query select tstzrange(null, null), '{[0,2147483647)}'::int4multirange;
    return;
  end if;
  zone := private.service_zone(organization_id, client_id);
  days := daterange((lower(span) at time zone zone)::date, (upper(span) at time zone zone)::date, '[]');

  return query
  with coverage as materialized (
    select known.payer_id, known.valid_from, known.valid_to
    from public.client_coverages as known
    where known.organization_id = lane_periods.organization_id and known.client_id = lane_periods.client_id
  ),
  first_day as (
    select lower(days) as day
    union
    select edge.day
    from (
      select unnest(array[coverage.valid_from, coverage.valid_to + 1]) as day
      from coverage
      union all
      select unnest(array[rule.valid_from, rule.valid_to + 1])
      from coverage
      join public.payer_concurrency_rules as rule
        on rule.organization_id = lane_periods.organization_id and rule.payer_id = coverage.payer_id
      where lane_periods.cpt_code in (rule.first_code, rule.second_code)
    ) as edge
    where edge.day > lower(days) and edge.day < upper(days)
  )
  select
    tstzrange(
      case when period.day > lower(days) then private.start_of_day(period.day, zone) end,
      private.start_of_day(period.next_day, zone), '[)'
    ),
    private.lanes_on(lane_periods.organization_id, lane_periods.client_id, lane_periods.cpt_code, period.day, period.day)
  from (
    select first_day.day, lead(first_day.day) over (order by first_day.day) as next_day from first_day
  ) as period;
end
$$;
comment on function private.lane_periods(uuid, uuid, text, tstzrange) is
  'The lanes of a service of one client, by stretches of days in which no coverage and no rule of its payers begins or '
  'ends. A booking has the lanes of every stretch it touches, its end included.';

-- Free starts ------------------------------------------------------------------------------------------------------

create function private.free_starts(
  organization_id uuid,
  asked private.asked_booking,
  client_ids uuid[],
  cpt_codes text[],
  duration interval,
  spans tstzmultirange,
  as_of timestamptz
)
returns tstzmultirange
language plpgsql
stable
set search_path = ''
set enable_seqscan = off
as $$
begin
  -- Each thing in the way rules out a stretch of starts. They are put together once and taken away once, so that the work
  -- grows with what stands in the calendar, not with the starts there could be.
  return spans - (
    with part as materialized (
      select
        span.starts,
        tstzrange(
          lower(span.starts) - asked.buffer_before, upper(span.starts) + duration + asked.buffer_after, '[]'
        ) as reach
      from unnest(spans) as span (starts)
    ),
    resource as materialized (
      select
        'therapist'::public.resource_kind as kind, asked.therapist_id as id,
        int4multirange(int4range(0, 2147483647)) as lanes, tstzrange(null, null) as during,
        asked.buffer_before as before, asked.buffer_after as after
      union all
      select 'therapist', other.id, int4multirange(int4range(0, 2147483647)), tstzrange(null, null), interval '0', interval '0'
      from unnest(asked.other_therapist_ids) as other (id)
      union all
      select 'room', asked.room_id, int4multirange(int4range(0, 2147483647)), tstzrange(null, null), interval '0', interval '0'
      where asked.room_id is not null
      union all
      select 'client', member.id, period.lanes, period.during, interval '0', interval '0'
      from unnest(client_ids, cpt_codes) as member (id, code)
      cross join lateral private.lane_periods(
        free_starts.organization_id, member.id, member.code,
        (select tstzrange(min(lower(part.reach)), max(upper(part.reach)), '[]') from part)
      ) as period
    ),
    blocked as (
      select
        tstzrange(lower(claim.during) - duration - resource.after, upper(claim.during) + resource.before, '()')
        -- Only starts whose booking touches the days of these lanes.
        * tstzrange(lower(resource.during) - duration, upper(resource.during), '[)') as starts
      from part
      cross join resource
      -- Kept apart, so that the index is asked for each stretch and person, whatever the planner expects of their number.
      cross join lateral (
        select busy.during
        from private.claims as busy
        where busy.organization_id = free_starts.organization_id
          and busy.resource_id = resource.id
          and busy.during && part.reach
          and busy.resource_kind = resource.kind
          and busy.lanes && resource.lanes
          and (busy.expires_at is null or busy.expires_at > as_of)
          and (asked.own_ids is null or busy.owner_id <> all (asked.own_ids))
        offset 0
      ) as claim
      union all
      select tstzrange(lower(closed.during) - duration, upper(closed.during), '()')
      from unnest(asked.therapist_id || asked.other_therapist_ids) as worker (id)
      cross join lateral private.outside_availability(
        free_starts.organization_id, worker.id,
        array(select tstzrange(lower(part.starts), upper(part.starts) + duration, '[)') from part)
      ) as closed
    )
    select coalesce(range_agg(blocked.starts), '{}') from blocked
  );
end
$$;
comment on function private.free_starts(uuid, private.asked_booking, uuid[], text[], interval, tstzmultirange, timestamptz) is
  'The starts within spans at which a booking of this length is in nobody''s way: claims, lanes, hours, time off and '
  'closures. client_ids and cpt_codes: whose time it takes and for which service each. Units are not looked at.';

-- Units and days of a service ----------------------------------------------------------------------------------------

create function private.services_available(
  organization_id uuid,
  therapist_id uuid,
  places private.asked_place[],
  as_of timestamptz
)
returns boolean[]
language plpgsql
stable
set search_path = ''
as $$
declare
  quotes private.quote[];
begin
  -- The one place where reading ahead asks for units: the same function that decides for a hold.
  quotes := private.quote_units(organization_id, array(
    select row(
      -- Owners in the order of the places: what is asked for first is granted first.
      ('00000000-0000-0000-0000-' || lpad(place.ordinality::text, 12, '0'))::uuid, place.occurrence_index,
      place.client_id, coalesce(place.cpt_code, '97153'), place.start_time, place.end_time, place.session_id, null,
      services_available.therapist_id, null
    )::private.service
    from unnest(places) with ordinality as place
    -- A booking that names no service takes its units when it is confirmed as one. What is moved has them.
    where place.cpt_code is not null or place.session_id is not null
  ), as_of);
  return array(
    with place as materialized (
      select asked.cpt_code, asked.ordinality,
        private.service_date(services_available.organization_id, asked.client_id, asked.start_time) as date
      from unnest(places) with ordinality as asked
    ),
    service as materialized (
      select named.cpt_code, named.date,
        private.may_render(
          services_available.organization_id, services_available.therapist_id, named.cpt_code, named.date
        ) as is_valid
      from (select distinct place.cpt_code, place.date from place where place.cpt_code is not null) as named
    )
    select coalesce(service.is_valid, true) and not exists (
      select from unnest(quotes) as quote
      where quote.owner_id = ('00000000-0000-0000-0000-' || lpad(place.ordinality::text, 12, '0'))::uuid
        and quote.shortages is not null
    )
    from place
    left join service on service.cpt_code = place.cpt_code and service.date = place.date
    order by place.ordinality
  );
end
$$;
comment on function private.services_available(uuid, uuid, private.asked_place[], timestamptz) is
  'Whether each of these places, all asked for together, would get its units now, and lies on a day on which its code is '
  'valid and the therapist''s to render.';
