-- Purpose: sessions-confirm. Turns a live hold into sessions, or into the moves it was made for.
-- Objects: find_batch, holds_of_key, listing_issue, make_sessions, move_sessions, confirm_hold, confirm_sessions.
-- Watch for: a live hold confirms, always; an unconfirmed one at or after expires_at never does, swept or not. A new
--            session takes its hold's id, so its claims stay where they are and only lose their expiry. A move settles
--            whole: its places depend on each other.

create function private.find_batch(actor private.actor, hold_key uuid)
returns public.hold_batches
language plpgsql
stable
set search_path = ''
as $$
declare
  batch public.hold_batches;
begin
  select known.* into batch
  from public.hold_batches as known
  where known.organization_id = actor.organization_id and known.hold_key = find_batch.hold_key;
  if not found then
    select known.* into batch
    from (
      select hold.batch_id
      from public.session_holds as hold
      where hold.organization_id = actor.organization_id and hold.hold_key = find_batch.hold_key
      limit 1
    ) as named
    join public.hold_batches as known on known.organization_id = actor.organization_id and known.id = named.batch_id;
  end if;
  if not private.may_ask(actor, batch.therapist_id) then
    return null;
  end if;
  return batch;
end
$$;
comment on function private.find_batch(private.actor, uuid) is
  'The batch that this key, or one of its occurrences'' keys, belongs to; null when it is unknown, or not the caller''s to '
  'use. A batch never changes, but for its expiry (private.guard_hold_change) and for a move that is stopped.';

create function private.holds_of_key(
  batch public.hold_batches,
  hold_key uuid,
  as_of timestamptz,
  out holds public.session_holds[],
  out state text
)
language plpgsql
stable
set search_path = ''
as $$
begin
  select
    array_agg(hold order by hold.occurrence_index, hold.client_id),
    case
      when batch.stopped then case when batch.expires_at <= as_of then 'expired' else 'stopped' end
      when bool_and(hold.status = 'released') then 'released'
      when bool_or(hold.status = 'expired' or (hold.status = 'held' and batch.expires_at <= as_of)) then 'expired'
      when bool_or(hold.status = 'held') then 'live'
      else 'confirmed'
    end
  into holds, state
  from public.session_holds as hold
  where hold.organization_id = batch.organization_id and hold.batch_id = batch.id
    and (batch.hold_key = holds_of_key.hold_key or hold.hold_key = holds_of_key.hold_key or batch.is_move);
end
$$;
comment on function private.holds_of_key(public.hold_batches, uuid, timestamptz) is
  'The holds a key stands for, as they are now: a batch''s key for all, an occurrence''s for its own, except that a move is '
  'always whole. state: what became of them by now: stopped, released, expired, live (some of it is yet to be confirmed) or '
  'confirmed.';

create function private.is_listed_as_held(
  batch public.hold_batches,
  holds public.session_holds[],
  listed private.listing[],
  top private.session_request
)
returns boolean
language plpgsql
stable
set search_path = ''
as $$
declare
  named constant private.listing := listed[1];
  held constant public.session_holds := holds[1];
begin
  if cardinality(listed) = 1 and cardinality(holds) = 1 then
    return held.status <> 'released' and named.hold_key in (batch.hold_key, held.hold_key)
      and top.therapist_id = batch.therapist_id and named.therapist_id = batch.therapist_id
      and top.client_id = held.client_id and named.client_id = held.client_id
      and named.start_time = held.start_time and named.end_time = held.end_time and named.session_id is null
      and coalesce(named.session_type, batch.session_type) is not distinct from batch.session_type
      and coalesce(named.cpt_code, batch.cpt_code) is not distinct from batch.cpt_code;
  end if;
  return cardinality(listed) = cardinality(holds) and top.therapist_id = batch.therapist_id and array(
    select row(
      -- A lone occurrence may be listed by its batch's key.
      case when item.hold_key = batch.hold_key then holds[1].hold_key else item.hold_key end, item.client_id,
      item.therapist_id, item.start_time, item.end_time, item.session_id,
      coalesce(item.session_type, batch.session_type), coalesce(item.cpt_code, batch.cpt_code)
    )
    from unnest(listed) as item
    order by 1
  ) = array(
    select row(
      hold.hold_key, hold.client_id, batch.therapist_id, hold.start_time, hold.end_time, null::uuid, batch.session_type,
      batch.cpt_code
    )
    from unnest(holds) as hold
    where hold.status <> 'released'
    order by 1
  ) and top.client_id in (select hold.client_id from unnest(holds) as hold);
end
$$;
comment on function private.is_listed_as_held(
  public.hold_batches, public.session_holds[], private.listing[], private.session_request
) is
  'Whether a confirmation lists every client of every occurrence exactly as it was held. False says nothing: the same may '
  'be listed in other words, see private.listing_issue.';

create function private.listing_issue(
  batch public.hold_batches,
  holds public.session_holds[],
  listed private.listing[],
  top private.session_request
)
returns private.cause
language plpgsql
stable
set search_path = ''
as $$
declare
  cause private.cause;
  keys uuid[];
  fields text[];
begin
  if private.is_listed_as_held(batch, holds, listed, top) then
    return cause;
  end if;
  -- Something differs, or is described in other words.
  keys := array(select distinct hold.hold_key from unnest(holds) as hold where hold.status <> 'released');
  -- A lone occurrence may be listed by its batch's key.
  if cardinality(keys) = 1 then
    listed := array(
      select row(
        item.occurrence_index, case when item.hold_key = batch.hold_key then keys[1] else item.hold_key end,
        item.therapist_id, item.client_id, item.start_time, item.end_time, item.time_zone, item.session_id,
        item.session_type, item.location_type, item.cpt_code, item.cpt_modifiers
      )::private.listing
      from unnest(listed) as item
    );
  end if;
  if exists (
    select from unnest(listed) as item
    where item.hold_key <> all (keys || batch.hold_key) and not exists (
      select from public.session_holds as other
      where other.organization_id = batch.organization_id and other.hold_key = item.hold_key and other.status <> 'released'
    )
  ) then
    cause := row('HOLD_NOT_FOUND', 'An occurrence lists a hold that is not there, or was released. Hold the time again.', null, null);
    return cause;
  end if;

  select array_agg(distinct difference.field order by difference.field) into fields
  from unnest(listed) as item
  join unnest(holds) as hold on hold.hold_key = item.hold_key and hold.status <> 'released'
  left join lateral (
    select known.cpt_code, known.session_type from public.sessions as known
    where known.organization_id = batch.organization_id and known.id = hold.session_id offset 0
  ) as moved on true
  cross join lateral (
    select coalesce(batch.cpt_code, moved.cpt_code) as cpt_code, coalesce(batch.session_type, moved.session_type) as session_type
  ) as held
  cross join lateral (
    values
      ('therapist_id', item.therapist_id <> batch.therapist_id or top.therapist_id <> batch.therapist_id),
      ('start_time', item.start_time <> hold.start_time),
      ('end_time', item.end_time <> hold.end_time),
      ('id', item.session_id is not null and item.session_id is distinct from
        coalesce(hold.session_id, case when hold.status = 'confirmed' then hold.id end)),
      ('session_type', lower(item.session_type) <> lower(batch.session_type)),
      -- What was named when it was held stays so; a hold that named no service leaves the choice open.
      ('cpt', item.cpt_code <> batch.cpt_code
        or private.service_code_at(
          batch.organization_id, hold.client_id, coalesce(item.cpt_code, held.cpt_code),
          coalesce(item.session_type, held.session_type), hold.start_time
        ) <> private.service_code_at(
          batch.organization_id, hold.client_id, held.cpt_code, held.session_type, hold.start_time
        ))
  ) as difference (field, differs)
  where difference.differs
    and (difference.field <> 'id' or hold.client_id = item.client_id);
  if fields is not null then
    cause.code := 'HOLD_MISMATCH';
    cause.detail := format('What is confirmed differs from what was held in %s. Confirm it exactly as held.', array_to_string(fields, ', '));
  elsif exists (
    select from unnest(listed) as item
    where item.hold_key = any (keys) and not exists (
      select from unnest(holds) as hold where hold.hold_key = item.hold_key and hold.client_id = item.client_id
    )
  ) or top.client_id not in (select hold.client_id from unnest(holds) as hold) then
    cause.code := 'CLIENT_MISMATCH';
    cause.detail := 'The hold is for another client.';
  elsif (select count(distinct item.hold_key) from unnest(listed) as item where item.hold_key = any (keys)) < cardinality(keys)
    or (select count(distinct (item.hold_key, item.client_id)) from unnest(listed) as item) < cardinality(listed)
    or exists (select from unnest(listed) as item where item.hold_key <> all (keys))
  then
    cause.code := 'HOLD_MISMATCH';
    cause.detail := 'Confirm every occurrence of this hold, each once: occurrences lists too few, one of them twice, or another hold''s.';
  end if;
  return cause;
end
$$;
comment on function private.listing_issue(
  public.hold_batches, public.session_holds[], private.listing[], private.session_request
) is
  'Whether a confirmation lists what is held: every occurrence once (of a group one client or all), as it was held. The '
  'detail names the fields that differ.';

create type private.confirmed_slot as (
  hold public.session_holds,
  cpt_code text,
  session_type text,
  location_type text,
  cpt_modifiers text[],
  path text,
  service_date date,
  last_date date,
  service_code text,
  is_service_held boolean,
  payment_gap text
);
comment on type private.confirmed_slot is
  'A hold to be confirmed, and what its session is to be: service_code is the service it names on its day, moved sessions '
  'those they have; service_date and last_date: the days on which it begins and ends, where the client receives care; '
  'is_service_held: it was held as this service, and is asked nothing more. path: where the request describes it. '
  'payment_gap: why the payer of its day does not pay for it, see private.coverage_gap.';

create function private.confirmed_slots(
  batch public.hold_batches,
  holds public.session_holds[],
  listed private.listing[],
  is_listed boolean,
  has_payer boolean
)
returns private.confirmed_slot[]
language plpgsql
stable
set search_path = ''
as $$
declare
  by_client jsonb;
  by_key jsonb;
begin
  -- A look into an object, not a search of the listing for each occurrence. Of a group one client may be listed for all.
  if cardinality(listed) > 1 then
    select jsonb_object_agg(listing.hold_key::text || listing.client_id::text, listing.ordinality),
      jsonb_object_agg(listing.hold_key, listing.ordinality)
    into by_client, by_key
    from unnest(listed) with ordinality as listing;
  end if;
  return array(
    select row(
      hold, service.cpt_code, service.session_type, place.location_type,
      coalesce(item.cpt_modifiers, case
        -- private.moved_modifiers decides for a move that names no code. Nobody asks for any but a payer, or a place.
        when (not batch.is_move or service.cpt_code is not null)
          and (confirmed_slots.has_payer or private.place_of(place.location_type) = 'telehealth')
        then private.default_modifiers(
          batch.organization_id, payer.id, coalesce(service.code, '97153'),
          private.credential_on(batch.organization_id, batch.therapist_id, day.date), place.location_type, day.date
        )
      end),
      case when is_listed then format('occurrences.%s.', item.occurrence_index) else '' end, day.date, day.last_date, service.code,
      -- A hold that names no service holds all lanes. A move that names none leaves the session what it is.
      hold.lanes <> '{[0,2147483647)}' or batch.is_move and service.code is null,
      case
        -- It stays what it is, on its day: whoever paid for it then is not asked anew.
        when batch.is_move and row(service.code, place.location_type, day.date) is not distinct from row(
          private.service_code(batch.organization_id, moved.cpt_code, moved.session_type, day.date), moved.location_type,
          private.service_date(batch.organization_id, hold.client_id, moved.start_time)
        ) then null
        when payer.id is not null then private.coverage_gap(
          batch.organization_id, payer.id, coalesce(service.code, '97153'), place.location_type, day.date
        )
      end
    )::private.confirmed_slot
    from unnest(holds) as hold
    cross join lateral (
      select listed[case when by_client is null then 1 else coalesce(
        by_client ->> (hold.hold_key::text || hold.client_id::text), by_client ->> (batch.hold_key::text || hold.client_id::text),
        by_key ->> hold.hold_key::text, by_key ->> batch.hold_key::text, '1'
      )::integer end] as listing
      offset 0
    ) as found
    cross join lateral (select (found.listing).*) as item
    cross join lateral (
      select (hold.start_time at time zone zone.name)::date as date, (hold.end_time at time zone zone.name)::date as last_date
      from private.service_zone(batch.organization_id, hold.client_id) as zone (name)
      offset 0
    ) as day
    left join lateral (
      select known.cpt_code, known.session_type, known.location_type, known.start_time from public.sessions as known
      where known.organization_id = batch.organization_id and known.id = hold.session_id offset 0
    ) as moved on true
    cross join lateral (
      select named.cpt_code, named.session_type, private.service_code(
        batch.organization_id, coalesce(named.cpt_code, moved.cpt_code), coalesce(named.session_type, moved.session_type),
        day.date
      ) as code
      from (
        select coalesce(item.cpt_code, batch.cpt_code) as cpt_code,
          coalesce(item.session_type, batch.session_type) as session_type
      ) as named
      offset 0
    ) as service
    cross join lateral (select coalesce(item.location_type, moved.location_type) as location_type) as place
    cross join lateral (
      select case when confirmed_slots.has_payer
        then private.primary_payer(batch.organization_id, hold.client_id, day.date) end as id
      offset 0
    ) as payer
    where hold.status = 'held'
    order by hold.occurrence_index, hold.client_id
  );
end
$$;
comment on function private.confirmed_slots(
  public.hold_batches, public.session_holds[], private.listing[], boolean, boolean
) is
  'What is to be confirmed, with the service each occurrence is confirmed as, and with modifiers where the caller gave '
  'none: what the payer of the day wants for the code, the credential of that day and the place. is_listed: the request '
  'lists occurrences. has_payer: a client of it ever had a payer.';

create function private.require_payment(slots private.confirmed_slot[])
returns void
language plpgsql
stable
set search_path = ''
as $$
declare
  issues jsonb;
begin
  select jsonb_agg(jsonb_build_object(
    'path', slot.path || case slot.payment_gap when 'place' then 'session.location_type' else 'cpt.code' end,
    'message', case slot.payment_gap
      when 'place' then format('is a place where the payer of that day does not pay for %s', service.code)
      else format('%s is a service that the payer of that day does not pay for', service.code)
    end
  )) into issues
  from unnest(slots) as slot
  cross join lateral (select coalesce(slot.service_code, '97153') as code) as service
  -- A service that was held was paid for when it was held: its hold confirms, whatever the payer has changed since.
  where slot.payment_gap = 'place' or slot.payment_gap is not null and not slot.is_service_held;
  if issues is not null then
    perform private.raise_invalid(jsonb_path_query_array(issues, '$[0 to 49]'));
  end if;
end
$$;
comment on function private.require_payment(private.confirmed_slot[]) is
  'PT400 for each occurrence that the payer of its day does not pay for: not at all (cpt.code), or not at its place '
  '(session.location_type).';

create function private.confirmed_services(batch public.hold_batches, slots private.confirmed_slot[])
returns private.named_services
language plpgsql
stable
set search_path = ''
as $$
declare
  named private.named_services;
  code text;
begin
  if cardinality(slots) = 1 and (slots[1].hold).group_id is null then
    code := coalesce(slots[1].service_code, case when not batch.is_move then '97153' end);
    if code is not null then
      named.paths := array[slots[1].path || case
        when slots[1].cpt_code is null and slots[1].session_type is not null then 'session.session_type' else 'cpt.code'
      end];
      named.codes := array[code];
      named.dates := array[slots[1].service_date];
      named.clients := array[case when not batch.is_move then 1 end];
      named.held := array[slots[1].is_service_held];
    end if;
    return named;
  end if;
  -- Whoever named the service by its type alone knows no code.
  select array_agg(service.path || case when service.is_by_type then 'session.session_type' else 'cpt.code' end),
    array_agg(service.code), array_agg(service.service_date),
    -- What is moved stays the service it is, and does not leave the days of its code.
    array_agg(case when not batch.is_move then service.members + case when service.group_id is not null and exists (
      select from public.session_groups as known
      where known.organization_id = batch.organization_id and known.id = service.group_id
    ) then 1 else 0 end end),
    array_agg(service.is_held)
  into named
  from (
    select billed.code, slot.service_date, (slot.hold).group_id,
      min(slot.path) over same as path, (count(*) over same)::integer as members,
      bool_and(slot.is_service_held) over same as is_held,
      bool_and(slot.cpt_code is null and slot.session_type is not null) over same as is_by_type
    from unnest(slots) as slot
    -- Without a name it is billed as one-to-one treatment, which no group is. A client who joins is one beside another.
    cross join lateral (
      select coalesce(slot.service_code, case when not batch.is_move then '97153' end) as code
    ) as billed
    where billed.code is not null
    window same as (partition by (slot.hold).occurrence_index, (slot.hold).group_id, billed.code)
  ) as service;
  return named;
end
$$;
comment on function private.confirmed_services(public.hold_batches, private.confirmed_slot[]) is
  'What is confirmed, as services.';

create function private.make_series(actor private.actor, batch public.hold_batches, holds public.session_holds[], as_of timestamptz)
returns boolean
language plpgsql
set search_path = ''
as $$
begin
  if batch.series_id is not null then
    return true;
  elsif (select count(distinct hold.occurrence_index) from public.session_holds as hold
    where hold.organization_id = batch.organization_id and hold.batch_id = batch.id) = 1 then
    return false;
  end if;
  insert into public.session_series (
    organization_id, id, therapist_id, client_id, recurrence_rule, recurrence, civil_start, time_zone, created_by, created_at
  )
  select batch.organization_id, private.series_id(batch.id, hold.client_id), batch.therapist_id, hold.client_id,
    batch.recurrence ->> 'rule', batch.recurrence, min(hold.civil_start), batch.time_zone, actor.user_id, as_of
  from unnest(holds) as hold
  group by hold.client_id
  on conflict do nothing;
  return true;
end
$$;
comment on function private.make_series(private.actor, public.hold_batches, public.session_holds[], timestamptz) is
  'One series for each client of a batch of several occurrences, with the rule that was asked for; a batch that extends a '
  'series makes none. False: there is none.';

create function private.series_id(batch_id uuid, client_id uuid)
returns uuid
language plpgsql
immutable
set search_path = ''
as $$
begin
  return md5(batch_id::text || client_id::text)::uuid;
end
$$;
comment on function private.series_id(uuid, uuid) is 'The series of one client of a batch.';

create function private.make_sessions(
  actor private.actor,
  batch public.hold_batches,
  slots private.confirmed_slot[],
  as_of timestamptz
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  has_groups constant boolean := (slots[1].hold).group_id is not null;
  in_series constant boolean := (slots[1].hold).occurrence_index > 0 or cardinality(slots) > 1 or batch.series_id is not null;
  is_series boolean := false;
  made jsonb;
begin
  if in_series then
    is_series := private.make_series(actor, batch, array(select (slot.hold) from unnest(slots) as slot), as_of);
  end if;
  if has_groups then
    insert into public.session_groups (
      organization_id, id, therapist_id, room_id, start_time, end_time, buffer_before_minutes, buffer_after_minutes
    )
    select distinct batch.organization_id, (slot.hold).group_id, batch.therapist_id, batch.room_id,
      (slot.hold).start_time, (slot.hold).end_time, batch.buffer_before_minutes, batch.buffer_after_minutes
    from unnest(slots) as slot
    on conflict do nothing;
  end if;
  with written as (
    insert into public.sessions (
      organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, civil_start, session_type,
      location_type, cpt_code, cpt_modifiers, lanes, series_id, group_id, room_id, buffer_before_minutes,
      buffer_after_minutes, created_by, created_at, updated_at
    )
    select
      batch.organization_id, (slot.hold).id, batch.therapist_id, (slot.hold).client_id, (slot.hold).start_time,
      (slot.hold).end_time, (slot.hold).time_zone, (slot.hold).civil_start, slot.session_type, slot.location_type,
      slot.cpt_code, coalesce(slot.cpt_modifiers, '{}'),
      case when slot.is_service_held then (slot.hold).lanes else private.lanes_on(
        batch.organization_id, (slot.hold).client_id, slot.service_code, slot.service_date, slot.last_date
      ) end,
      case
        when batch.series_id is not null then private.extended_series(batch, (slot.hold).client_id)
        when is_series then private.series_id(batch.id, (slot.hold).client_id)
      end,
      (slot.hold).group_id,
      case when not has_groups then batch.room_id end,
      case when has_groups then 0 else batch.buffer_before_minutes end,
      case when has_groups then 0 else batch.buffer_after_minutes end,
      actor.user_id, as_of, as_of
    from unnest(slots) as slot
    returning *
  ),
  kept as (
    -- The claims stay where they are: they lose their expiry, and the client's the lanes that the service leaves free.
    update private.claims as claim
    set expires_at = null, lanes = case when claim.resource_kind = 'client' then written.lanes else claim.lanes end
    from written
    cross join lateral (
      select known.ctid from private.claims as known
      where known.organization_id = batch.organization_id and known.owner_id in (written.id, written.group_id)
        and (known.resource_kind <> 'client' or known.owner_id = written.id)
        and known.expires_at is not null
      offset 0
    ) as found
    where claim.ctid = found.ctid
  )
  select jsonb_agg(to_jsonb(written) order by written.start_time, written.client_id) into made from written;
  return made;
end
$$;
comment on function private.make_sessions(private.actor, public.hold_batches, private.confirmed_slot[], timestamptz) is
  'Writes the sessions of held occurrences, their groups and series. Returns their rows.';

create function private.move_sessions(batch public.hold_batches, slots private.confirmed_slot[], as_of timestamptz)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  session_ids uuid[] := array(select (slot.hold).session_id from unnest(slots) as slot);
  group_ids uuid[] := array(
    select distinct session.group_id from public.sessions as session
    where session.organization_id = batch.organization_id and session.id = any (session_ids) and session.group_id is not null
  );
begin
  if group_ids <> '{}' then
    perform private.keep_ended_members(batch.organization_id, group_ids);
  end if;
  set constraints public.sessions_no_therapist_overlap, public.sessions_at_the_place_of_their_group deferred;
  update public.sessions as session
  set
    therapist_id = batch.therapist_id,
    start_time = (slot.hold).start_time,
    end_time = (slot.hold).end_time,
    time_zone = (slot.hold).time_zone,
    civil_start = (slot.hold).civil_start,
    lanes = (slot.hold).lanes,
    room_id = case
      when batch.keeps_places then session.room_id
      when session.group_id is null then batch.room_id
    end,
    buffer_before_minutes = case
      when batch.keeps_places then session.buffer_before_minutes
      when session.group_id is null then batch.buffer_before_minutes else 0
    end,
    buffer_after_minutes = case
      when batch.keeps_places then session.buffer_after_minutes
      when session.group_id is null then batch.buffer_after_minutes else 0
    end,
    session_type = coalesce(slot.session_type, session.session_type),
    location_type = coalesce(slot.location_type, session.location_type),
    cpt_code = coalesce(slot.cpt_code, session.cpt_code),
    cpt_modifiers = coalesce(slot.cpt_modifiers, private.moved_modifiers(session, batch.therapist_id, slot)),
    updated_at = as_of
  from unnest(slots) as slot
  where session.organization_id = batch.organization_id and session.id = (slot.hold).session_id;
  if group_ids <> '{}' then
    update public.session_groups as known
    set therapist_id = batch.therapist_id, start_time = place.start_time, end_time = place.end_time,
      room_id = case when batch.keeps_places then known.room_id else batch.room_id end,
      buffer_before_minutes =
        case when batch.keeps_places then known.buffer_before_minutes else batch.buffer_before_minutes end,
      buffer_after_minutes = case when batch.keeps_places then known.buffer_after_minutes else batch.buffer_after_minutes end
    from (
      select distinct session.group_id, session.start_time, session.end_time
      from public.sessions as session
      where session.organization_id = batch.organization_id and session.id = any (session_ids)
    ) as place
    where known.organization_id = batch.organization_id and known.id = place.group_id;
  end if;
  set constraints public.sessions_no_therapist_overlap, public.sessions_at_the_place_of_their_group immediate;
  if not private.sync_claims(
    batch.organization_id, session_ids || private.claim_dependents(batch.organization_id, session_ids, group_ids) || batch.id
  ) then
    perform private.raise_busy();
  end if;
  return (
    select jsonb_agg(to_jsonb(session) order by session.start_time, session.client_id)
    from public.sessions as session
    where session.organization_id = batch.organization_id and session.id = any (session_ids)
  );
end
$$;
comment on function private.move_sessions(public.hold_batches, private.confirmed_slot[], timestamptz) is
  'Carries out a move: sessions and groups go to the places that were held, with their claims. Returns the rows.';

create function private.services_named_late(batch public.hold_batches, slots private.confirmed_slot[])
returns private.service[]
language plpgsql
immutable
set search_path = ''
as $$
begin
  return array(
    select row(
      (slot.hold).id, (slot.hold).occurrence_index, (slot.hold).client_id, coalesce(slot.service_code, '97153'),
      (slot.hold).start_time, (slot.hold).end_time, null, null, batch.therapist_id, slot.service_date
    )::private.service
    from unnest(slots) as slot
    where not slot.is_service_held
  );
end
$$;
comment on function private.services_named_late(public.hold_batches, private.confirmed_slot[]) is
  'The services that the hold did not name and the confirmation does: their units are taken now.';

create function private.confirm_hold(
  actor private.actor,
  wanted private.confirm_request,
  listed private.listing[]
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  batch public.hold_batches := private.find_batch(actor, wanted.hold_key);
  held record;
  present record;
  holds public.session_holds[];
  resource_ids uuid[] := '{}';
  booker private.booker;
  cause private.cause;
  slots private.confirmed_slot[];
  hold_ids uuid[];
  session_ids uuid[];
  services private.service[];
  quotes private.quote[];
  before jsonb;
  made jsonb;
  as_of timestamptz;
begin
  if batch.id is null then
    return private.refuse(actor, 'confirmation.refused', '{}', 'HOLD_NOT_FOUND', 'There is no such hold. Hold the time again.');
  end if;
  select array_agg(distinct hold.client_id) as client_ids, bool_or(hold.group_id is not null) as has_groups into held
  from public.session_holds as hold
  where hold.organization_id = batch.organization_id and hold.batch_id = batch.id;
  if batch.is_move then
    resource_ids := private.lock_moved(batch.organization_id, array(
      select hold.session_id from public.session_holds as hold
      where hold.organization_id = batch.organization_id and hold.batch_id = batch.id
    ));
  elsif held.has_groups then
    perform private.lock_group(batch.organization_id, named.id)
    from (
      select distinct hold.group_id as id from public.session_holds as hold
      where hold.organization_id = batch.organization_id and hold.batch_id = batch.id and hold.group_id is not null
      order by id offset 0
    ) as named;
  end if;
  -- Whoever claims this time once the hold has expired must see either the hold or the sessions, never neither.
  perform private.lock_resources(
    batch.organization_id, held.client_ids || resource_ids || array[batch.therapist_id, batch.room_id]
  );
  as_of := clock_timestamp();
  -- A release, or another confirmation, may have settled it while this waited; an operator may have brought its end forward.
  select known.expires_at, known.stopped into batch.expires_at, batch.stopped
  from public.hold_batches as known
  where known.organization_id = batch.organization_id and known.id = batch.id;
  present := private.holds_of_key(batch, wanted.hold_key, as_of);
  holds := present.holds;

  case present.state
    when 'stopped' then
      cause := row('SESSION_NOT_MOVABLE', 'A session to be moved has been started, cancelled or completed meanwhile.', null, null);
    when 'released' then
      cause := row('HOLD_NOT_FOUND', 'The hold was released. Hold the time again.', null, null);
    when 'expired' then
      perform private.expire_batches(batch.organization_id, array[batch.id], as_of);
      cause := row('HOLD_EXPIRED', 'The hold has expired. Hold the time again.', null, null);
    when 'confirmed' then
      cause := private.listing_issue(batch, holds, listed, wanted.session);
      if cause.code is null then
        select jsonb_agg(to_jsonb(session)) into made
        from unnest(holds) as hold
        join public.sessions as session
          on session.organization_id = hold.organization_id and session.id = coalesce(hold.session_id, hold.id)
        where hold.status = 'confirmed';
        return private.success(private.confirmed_body(made, holds, (wanted.session).client_id));
      end if;
    else
      booker := private.who_may_book(actor, batch.therapist_id, held.client_ids, batch.room_id);
      if booker.allowed is not true then
        cause := row('FORBIDDEN', 'You may no longer book this therapist, client or room.', null, null);
      else
        cause := private.listing_issue(batch, holds, listed, wanted.session);
      end if;
  end case;
  if cause.code is null then
    slots := private.confirmed_slots(batch, holds, listed, wanted.occurrences is not null, booker.has_payer);
    if not private.may_render_named(batch.organization_id, batch.therapist_id, private.confirmed_services(batch, slots)) then
      cause := row('FORBIDDEN', 'A technician may not render this service: it is a qualified professional''s.', null, null);
    end if;
  end if;
  if cause.code is not null then
    return private.refuse_confirmation(actor, batch, holds, cause);
  end if;

  if booker.has_payer and not private.overrides(batch, 'authorization') then
    perform private.require_payment(slots);
  end if;
  if booker.has_payer and not batch.is_move then
    services := private.services_named_late(batch, slots);
  end if;
  if cardinality(services) > 0 then
    quotes := private.quote_units(batch.organization_id, services, as_of);
    if private.shortages_of(quotes) is not null and not private.overrides(batch, 'authorization') then
      cause := row('AUTHORIZATION_EXCEEDED',
        'The payer''s authorization has too few units left for this service, or does not cover the dates: see shortages. '
        'The hold stands; an admin may hold anew with an override.', null, null);
      return private.refuse_confirmation(
        actor, batch, holds, cause, jsonb_build_object('shortages', private.shortages_of(quotes))
      );
    end if;
  end if;

  hold_ids := array(select (slot.hold).id from unnest(slots) as slot);
  session_ids := hold_ids;
  update public.session_holds as each
  set status = 'confirmed', settled_at = as_of, settled_xid = pg_current_xact_id()
  where each.organization_id = batch.organization_id and each.id = any (hold_ids);
  if batch.is_move then
    session_ids := array(select (slot.hold).session_id from unnest(slots) as slot);
    before := private.facts_of_sessions(batch.organization_id, session_ids);
    made := private.move_sessions(batch, slots, as_of);
    if booker.has_payer then
      perform private.move_units(batch.organization_id, array(
        select row((slot.hold).id, (slot.hold).session_id)::private.moved_session from unnest(slots) as slot
      ));
    end if;
  else
    made := private.make_sessions(actor, batch, slots, as_of);
    if quotes is not null then
      perform private.enter_units(batch.organization_id, quotes, 'scheduled');
    end if;
    if booker.has_payer and cardinality(services) < cardinality(slots) then
      perform private.schedule_units(batch.organization_id, hold_ids);
    end if;
  end if;
  -- The waitlist's offers are made in the name of their therapist: see private.new_batch.
  if batch.created_by = batch.therapist_id then
    perform private.close_waitlist_entry(batch.organization_id, batch.id, as_of);
  end if;
  perform private.record_event(
    batch.organization_id, 'hold.confirmed', 'session', session_ids, as_of,
    therapist_id => batch.therapist_id,
    actor_role => actor.role::text,
    before => before,
    after => private.facts_of_rows(made, session_ids),
    details => jsonb_build_object('batchId', batch.id)
  );
  return private.success(private.confirmed_body(made, holds, (wanted.session).client_id));
end
$$;
comment on function private.confirm_hold(private.actor, private.confirm_request, private.listing[]) is
  'Confirms what the key stands for, or refuses and changes nothing.';

create function private.refuse_confirmation(
  actor private.actor,
  batch public.hold_batches,
  holds public.session_holds[],
  cause private.cause,
  more jsonb default '{}'
)
returns jsonb
language plpgsql
set search_path = ''
as $$
begin
  return private.refuse(
    actor, 'confirmation.refused', array(select hold.id from unnest(holds) as hold), cause.code, cause.detail,
    batch.therapist_id, details => jsonb_build_object('batchId', batch.id), more => more
  );
end
$$;
comment on function private.refuse_confirmation(
  private.actor, public.hold_batches, public.session_holds[], private.cause, jsonb
) is 'The outcome of a refused confirmation, and its audit event. The hold stays as it is.';

create function private.rounded_minutes(start_time timestamptz, end_time timestamptz)
returns integer
language plpgsql
immutable
set search_path = ''
as $$
begin
  return floor((extract(epoch from end_time - start_time) / 60 + 7) / 15)::integer * 15;
end
$$;
comment on function private.rounded_minutes(timestamptz, timestamptz) is
  'A duration in minutes, rounded to 15-minute units by midpoint: 0-7 -> 0, 8-22 -> 15, 23-37 -> 30 (CMS, Medicare '
  'Claims Processing Manual, chapter 5, section 20.2).';

create function private.confirmed_body(made jsonb, holds public.session_holds[], named_id uuid)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
  sessions jsonb := made;
begin
  if jsonb_array_length(made) > 1 then
    -- In the order in which they were asked for; of a group, the client that was named first.
    select jsonb_agg(item.value order by hold.occurrence_index, hold.client_id <> named_id, hold.client_id) into sessions
    from jsonb_array_elements(made) as item (value)
    join unnest(holds) as hold on coalesce(hold.session_id, hold.id)::text = item.value ->> 'id';
  end if;
  return jsonb_build_object(
    'sessions', sessions,
    'session', sessions -> 0,
    'roundedDurationMinutes', private.rounded_minutes(
      (sessions #>> '{0,start_time}')::timestamptz, (sessions #>> '{0,end_time}')::timestamptz
    )
  );
end
$$;
comment on function private.confirmed_body(jsonb, public.session_holds[], uuid) is 'The body of a confirmation, its rows in request order.';

create function private.listed_by_batch(organization_id uuid, batch_key uuid, listed private.listing[])
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  if cardinality(listed) = 1 and (listed[1]).hold_key <> batch_key and exists (
    select from public.session_holds as hold
    join public.hold_batches as batch on batch.organization_id = hold.organization_id and batch.id = hold.batch_id
    where hold.organization_id = listed_by_batch.organization_id and hold.hold_key = (listed[1]).hold_key
      and batch.hold_key = batch_key
  ) then
    return jsonb_build_array(to_jsonb(listed[1]) || jsonb_build_object('hold_key', batch_key));
  end if;
  return to_jsonb(listed);
end
$$;
comment on function private.listed_by_batch(uuid, uuid, private.listing[]) is
  'What a confirmation lists, for its fingerprint: the only occurrence of a hold is the same by its own key, by the key of '
  'the batch, and when it is not listed at all.';

create function private.confirm_sessions(actor private.actor, request jsonb, idempotency_key text default null)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  wanted private.confirm_request := private.read_confirm_request(request);
  listed private.listing[] := private.listed_of(wanted);
  fingerprint bytea;
  outcome jsonb;
begin
  if actor.role = 'client' then
    return private.refuse(actor, 'confirmation.refused', '{}', 'FORBIDDEN', 'Your role may not book sessions.');
  end if;
  perform private.share_organization(actor.organization_id);
  if idempotency_key is not null then
    fingerprint := private.fingerprint(jsonb_build_object(
      'holdKey', wanted.hold_key, 'occurrences', private.listed_by_batch(actor.organization_id, wanted.hold_key, listed),
      'therapistId', (wanted.session).therapist_id,
      'clientId', (wanted.session).client_id
    ));
    outcome := private.find_replay(actor.organization_id, actor.user_id, 'sessions-confirm', idempotency_key, fingerprint);
    if outcome is not null then
      return outcome;
    end if;
  end if;
  return private.kept(
    actor, 'sessions-confirm', idempotency_key, fingerprint, private.confirm_hold(actor, wanted, listed)
  );
end
$$;
comment on function private.confirm_sessions(private.actor, jsonb, text) is
  'Turns every hold the key stands for into a session, or carries out its move, or changes nothing. Confirming again '
  'answers with the same sessions. Returns an outcome; raises PT400, PT401, PT403, PT503.';
