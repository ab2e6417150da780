-- Purpose: what a request asks for, as rows: one slot for each client and occurrence of a hold, one listing for each
--          occurrence of a confirmation. Every rule across fields of a request is here, once, and every 400 names all that
--          is wrong.
-- Objects: private.slot, private.slots_of; private.listing, private.listed_of; private.read_cancel_request;
--          private.instant_at, private.zone_offset.
-- Watch for: the database is the only judge of zones: an offset that a caller sends is compared, never used. slots_of
--            looks at the clock, so it comes after the idempotency look-up.

create function private.zone_offset(instant timestamptz, zone text)
returns integer
language plpgsql
stable
set search_path = ''
as $$
begin
  return (extract(epoch from (instant at time zone zone) - (instant at time zone 'UTC')) / 60.0)::integer;
end
$$;
comment on function private.zone_offset(timestamptz, text) is
  'The zone''s offset at an instant in minutes east of UTC: Los Angeles in winter is -480.';

create function private.instant_at(civil timestamp, zone text)
returns timestamptz
language plpgsql
stable
set search_path = ''
as $$
declare
  -- Postgres moves a time that clocks skip forward by the gap, but takes the second of two.
  latest constant timestamptz := civil at time zone zone;
  day_before constant timestamptz := latest - interval '24 hours';
  earlier constant timestamptz :=
    (civil - ((day_before at time zone zone) - (day_before at time zone 'UTC'))) at time zone 'UTC';
begin
  return case when earlier < latest and earlier at time zone zone = civil then earlier else latest end;
end
$$;
comment on function private.instant_at(timestamp, text) is
  'The instant at which the clocks of a zone show a civil time: the first where they show it twice; where they skip it, '
  'the instant that is later by the gap (RFC 5545, section 3.3.5). No zone changes its clocks twice within 24 hours.';

create function private.offset_issue(path text, instant timestamptz, zone text)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
  expected constant integer := private.zone_offset(instant, zone);
begin
  return jsonb_build_array(jsonb_build_object(
    'path', path,
    'message', format('must be %s, the offset of %s then, in minutes east of UTC', expected, zone),
    'expected', expected
  ));
end
$$;
comment on function private.offset_issue(text, timestamptz, text) is
  'The issue of an offset that is not the zone''s, with the one that is (expected).';

-- sessions-hold --------------------------------------------------------------------------------------------------------

create type private.slot as (
  hold_id uuid,
  occurrence_index integer,
  hold_key uuid,
  client_id uuid,
  group_id uuid,
  session_id uuid,
  start_time timestamptz,
  end_time timestamptz,
  time_zone text,
  -- squawk-ignore prefer-timestamp-tz
  civil_start timestamp,
  lanes int4multirange,
  cpt_code text,
  service_date date,
  last_date date
);
comment on type private.slot is
  'One client of one occurrence of a hold. hold_key is the occurrence''s. civil_start is the local time that was meant: '
  'where clocks skip it, start_time is later. cpt_code, service_date and last_date (the day on which it ends, where the '
  'client receives care): what private.with_services says, null before.';

create function private.window_issues(
  slot private.slot,
  listed boolean,
  start_offset integer,
  end_offset integer,
  as_of timestamptz
)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
  issues jsonb;
  path constant text := case when listed then 'occurrences.' || slot.occurrence_index || '.' else '' end;
begin
  if slot.start_time is null and slot.civil_start is null then
    issues := private.issue(path || 'start_time', 'is required');
  elsif slot.start_time < as_of then
    issues := private.issue(path || 'start_time', 'is in the past');
  end if;
  if slot.end_time is null and (slot.civil_start is null or slot.time_zone is not null) then
    issues := coalesce(issues, '[]') || private.issue(path || 'end_time', 'is required');
  elsif slot.end_time <= slot.start_time then
    issues := coalesce(issues, '[]') || private.issue(path || 'end_time', 'must be after start_time');
  elsif slot.end_time - slot.start_time > interval '12 hours' then
    issues := coalesce(issues, '[]') || private.issue(path || 'end_time', 'must be at most 12 hours after start_time');
  elsif slot.end_time > as_of + interval '17520 hours' then
    issues := coalesce(issues, '[]') || private.issue(path || 'end_time', 'is more than 730 days ahead');
  end if;
  if start_offset is not null and start_offset <> private.zone_offset(slot.start_time, slot.time_zone) then
    issues := coalesce(issues, '[]')
      || private.offset_issue(path || 'start_time_offset_minutes', slot.start_time, slot.time_zone);
  end if;
  if end_offset is not null and end_offset <> private.zone_offset(slot.end_time, slot.time_zone) then
    issues := coalesce(issues, '[]')
      || private.offset_issue(path || 'end_time_offset_minutes', slot.end_time, slot.time_zone);
  end if;
  return issues;
end
$$;
comment on function private.window_issues(private.slot, boolean, integer, integer, timestamptz) is
  'What is wrong with when one occurrence is, as [{path, message}]; null when nothing is. 730 days are 17520 hours. listed: '
  'the slot is one of the request''s occurrences, not the window at its top.';

create function private.overlap_issues(slots private.slot[], buffer_minutes integer)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    select coalesce(jsonb_agg(
      jsonb_build_object(
        'path', format('occurrences.%s.start_time', item.occurrence_index),
        'message', 'overlaps another occurrence of the same request, buffers included'
      )
      order by item.occurrence_index
    ), '[]')
    from (
      select
        placed.occurrence_index,
        placed.start_time,
        max(placed.end_time) over (
          order by placed.start_time, placed.occurrence_index rows between unbounded preceding and 1 preceding
        ) + make_interval(mins => buffer_minutes) as busy_until
      from (
        select distinct slot.occurrence_index, slot.start_time, slot.end_time from unnest(slots) as slot
      ) as placed
    ) as item
    where item.busy_until > item.start_time
  );
end
$$;
comment on function private.overlap_issues(private.slot[], integer) is
  'The occurrences that overlap an earlier one of the same request: they would conflict with themselves. buffer_minutes is '
  'what is kept free before each start and after each end together.';

create function private.move_issues(session_id uuid, places private.occurrence_request[])
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
  issues jsonb;
begin
  select jsonb_agg(jsonb_build_object('path', item.path, 'message', case
    when item.session_id is null then 'is required: either every occurrence moves a session or none does'
    else 'must not repeat: one session has one place'
  end) order by item.position) into issues
  from (
    select
      place.ordinality as position, place.session_id,
      format('occurrences.%s.session_id', place.ordinality - 1) as path,
      count(place.session_id) over () as moves,
      row_number() over (partition by place.session_id order by place.ordinality) as turn
    from unnest(places) with ordinality as place
  ) as item
  where item.moves > 0 and (item.session_id is null or item.turn > 1)
    and (cardinality(places) > 1 or item.session_id is not null);
  return coalesce(issues, '[]') || case
    when session_id is null then '[]'
    when cardinality(places) > 1
      then private.issue('session_id', 'must be given per occurrence when there are several occurrences')
    when places[1].session_id <> session_id
      then private.issue('session_id', 'must not differ from occurrences.0.session_id')
    else '[]'
  end;
end
$$;
comment on function private.move_issues(uuid, private.occurrence_request[]) is
  'What is wrong with the sessions that listed occurrences move. session_id is the one at the top of the request.';

create function private.request_issues(wanted private.hold_request)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
  issues jsonb := '[]';
  places constant integer := coalesce(cardinality(wanted.occurrences), 1);
  members constant integer := coalesce(cardinality(wanted.client_ids), 1);
  moving boolean := wanted.session_id is not null;
begin
  if wanted.therapist_id is null then
    issues := issues || private.issue('therapist_id', 'is required');
  end if;
  if wanted.client_id is null then
    issues := issues || private.issue('client_id', 'is required');
  end if;
  if wanted.time_zone is null then
    issues := issues || private.issue('time_zone', 'is required');
  end if;
  if wanted.override is distinct from null and (wanted.override).reason is null then
    issues := issues || private.issue('override.reason', 'is required');
  end if;
  if wanted.recurrence is distinct from null and (wanted.recurrence).rule is null then
    issues := issues || private.issue('recurrence.rule', 'is required');
  end if;
  if wanted.occurrences is not null then
    if wanted.end_time::timestamptz <= wanted.start_time::timestamptz then
      issues := issues || private.issue('end_time', 'must be after start_time');
    end if;
    issues := issues || private.move_issues(wanted.session_id, wanted.occurrences);
    moving := moving or exists (select from unnest(wanted.occurrences) as place where place.session_id is not null);
  end if;
  if wanted.client_ids is not null then
    if (select count(distinct member.id) from unnest(wanted.client_ids) as member (id)) < members then
      issues := issues || private.issue('client_ids', 'must not name a client twice');
    end if;
    if wanted.client_id <> all (wanted.client_ids) then
      issues := issues || private.issue('client_ids', 'must have client_id among them');
    end if;
    if members * places > 366 then
      issues := issues || private.issue('client_ids', 'times the occurrences must be at most 366');
    end if;
    if moving then
      issues := issues || private.issue(
        'client_ids', 'is for new bookings: a group moves whole when one member''s session_id is named');
    end if;
  end if;
  if wanted.group_id is not null and (wanted.client_ids is not null or moving or places > 1) then
    issues := issues || private.issue('group_id', 'is for one client who joins one occurrence of a group');
  end if;
  return issues;
end
$$;
comment on function private.request_issues(private.hold_request) is
  'What is wrong with a hold beside when it is: fields that are missing, and fields that exclude each other.';

create function private.series_slots(
  wanted private.hold_request,
  zone text,
  as_of timestamptz,
  out slots private.slot[],
  out issues jsonb
)
language plpgsql
volatile
set search_path = ''
as $$
declare
  usual_length constant interval := wanted.end_time::timestamptz - wanted.start_time::timestamptz;
begin
  select
    array_agg(at.slot order by place.ordinality),
    jsonb_path_query_array(jsonb_agg(wrong.issues order by place.ordinality) filter (where wrong.issues <> '[]'), '$[*][*]')
  into slots, issues
  from unnest(wanted.occurrences) with ordinality as place
  cross join lateral (
    select case
      when place.time_zone is null or place.time_zone = zone then zone
      else (select known.name from public.time_zones as known where known.name = place.time_zone)
    end as name
    offset 0
  ) as own
  cross join lateral (
    select coalesce(place.start_time::timestamptz, private.instant_at(place.local_start::timestamp, own.name)) as start_time
    offset 0
  ) as begins
  cross join lateral (
    select row(
      gen_random_uuid(), place.ordinality - 1, gen_random_uuid(), wanted.client_id, wanted.group_id,
      coalesce(place.session_id, wanted.session_id), begins.start_time,
      coalesce(place.end_time::timestamptz, case when place.local_start is not null then begins.start_time + usual_length end),
      own.name, coalesce(place.local_start::timestamp, begins.start_time at time zone own.name), '{[0,2147483647)}',
      null, null, null
    )::private.slot as slot
    -- Not merged into the query, which would make another slot wherever it is mentioned.
    offset 0
  ) as at
  cross join lateral (
    select coalesce(private.window_issues(
        at.slot, true, place.start_time_offset_minutes, place.end_time_offset_minutes, as_of
      ), '[]')
      || case
        when place.time_zone is not null and own.name is null then private.issue(
          format('occurrences.%s.time_zone', place.ordinality - 1), 'must be a known IANA time zone, like America/Los_Angeles')
        else '[]'
      end
      || case
        when place.local_start is not null and place.start_time is not null then private.issue(
          format('occurrences.%s.start_time', place.ordinality - 1), 'must not accompany local_start')
        else '[]'
      end as issues
  ) as wrong;
end
$$;
comment on function private.series_slots(private.hold_request, text, timestamptz) is
  'The slots of listed occurrences for the request''s client, and what is wrong with when they are (null: nothing). One with '
  'a local_start and no end lasts as long as the window at the top. zone is the request''s own, null when it is unknown.';

create function private.slots_of(wanted private.hold_request, as_of timestamptz)
returns private.slot[]
language plpgsql
volatile
set search_path = ''
as $$
declare
  issues jsonb := private.request_issues(wanted);
  zone text;
  slots private.slot[];
  one private.slot;
  found record;
begin
  select known.name into zone from public.time_zones as known where known.name = wanted.time_zone::text;
  if zone is null and wanted.time_zone is not null then
    issues := issues || private.issue('time_zone', 'must be a known IANA time zone, like America/Los_Angeles');
  end if;

  if wanted.occurrences is null then
    one := row(
      gen_random_uuid(), 0, gen_random_uuid(), wanted.client_id, wanted.group_id, wanted.session_id,
      wanted.start_time::timestamptz, wanted.end_time::timestamptz, zone, wanted.start_time::timestamptz at time zone zone,
      '{[0,2147483647)}', null, null, null
    )::private.slot;
    slots := array[one];
    issues := issues || coalesce(private.window_issues(
      one, false, wanted.start_time_offset_minutes, wanted.end_time_offset_minutes, as_of), '[]');
  else
    found := private.series_slots(wanted, zone, as_of);
    slots := found.slots;
    issues := issues || coalesce(found.issues, private.overlap_issues(
      slots, coalesce(wanted.buffer_before_minutes, 0) + coalesce(wanted.buffer_after_minutes, 0)));
  end if;
  if issues <> '[]' then
    perform private.raise_invalid(jsonb_path_query_array(issues, '$[0 to 49]'));
  end if;

  if cardinality(wanted.client_ids) > 1 then
    slots := array(
      select row(
        gen_random_uuid(), slot.occurrence_index, slot.hold_key, member.id, slot.group_id, slot.session_id,
        slot.start_time, slot.end_time, slot.time_zone, slot.civil_start, slot.lanes, null, null, null
      )::private.slot
      from (
        select
          place.occurrence_index, place.hold_key, gen_random_uuid() as group_id, place.session_id,
          place.start_time, place.end_time, place.time_zone, place.civil_start, place.lanes
        from unnest(slots) as place
        -- One group for all clients of an occurrence.
        offset 0
      ) as slot
      cross join unnest(wanted.client_ids) with ordinality as member (id, position)
      order by slot.occurrence_index, member.position
    );
  end if;
  return slots;
end
$$;
comment on function private.slots_of(private.hold_request, timestamptz) is
  'What a hold asks for: one slot for each occurrence and client, in request order, all lanes; a new group for each '
  'occurrence when there are several clients. PT400 names everything that is wrong, at most 50 issues. as_of is the clock, '
  'read after the idempotency look-up.';

-- sessions-confirm ------------------------------------------------------------------------------------------------------

create type private.listing as (
  occurrence_index smallint,
  hold_key uuid,
  therapist_id uuid,
  client_id uuid,
  start_time timestamptz,
  end_time timestamptz,
  time_zone text,
  session_id uuid,
  session_type text,
  location_type text,
  cpt_code text,
  cpt_modifiers text[]
);
comment on type private.listing is 'One occurrence as sessions-confirm describes it.';

create function private.listing_issues(
  path text, place private.confirm_occurrence, zone text, needs_zone boolean, out issues jsonb, out code text
)
language plpgsql
stable
set search_path = ''
as $$
declare
  session constant private.session_request := place.session;
begin
  issues := '[]';
  if place.session is not distinct from null then
    issues := private.issue(path || 'session', 'is required');
  else
    issues := case when session.therapist_id is null
        then private.issue(path || 'session.therapist_id', 'is required') else '[]' end
      || case when session.client_id is null then private.issue(path || 'session.client_id', 'is required') else '[]' end
      || case when session.start_time is null then private.issue(path || 'session.start_time', 'is required') else '[]' end
      || case when session.end_time is null then private.issue(path || 'session.end_time', 'is required') else '[]' end;
  end if;
  if place.hold_key is null then
    issues := private.issue(path || 'hold_key', 'is required') || issues;
  end if;
  if place.cpt is distinct from null and (place.cpt).code is null then
    issues := issues || private.issue(path || 'cpt.code', 'is required');
  end if;
  if needs_zone and place.time_zone is null then
    issues := issues || private.issue(path || 'time_zone', 'is required');
  end if;
  if issues <> '[]' then
    code := 'MISSING_FIELDS';
  end if;
  if place.time_zone is not null and zone is null then
    issues := issues || private.issue(path || 'time_zone', 'must be a known IANA time zone, like America/Los_Angeles');
  end if;
  if session.end_time::timestamptz <= session.start_time::timestamptz then
    issues := issues || private.issue(path || 'session.end_time', 'must be after start_time');
    code := coalesce(code, 'INVALID_RANGE');
  end if;
  if place.start_time_offset_minutes is not null
    and place.start_time_offset_minutes <> private.zone_offset(session.start_time::timestamptz, zone)
  then
    issues := issues
      || private.offset_issue(path || 'start_time_offset_minutes', session.start_time::timestamptz, zone);
  end if;
  if place.end_time_offset_minutes is not null
    and place.end_time_offset_minutes <> private.zone_offset(session.end_time::timestamptz, zone)
  then
    issues := issues || private.offset_issue(path || 'end_time_offset_minutes', session.end_time::timestamptz, zone);
  end if;
end
$$;
comment on function private.listing_issues(text, private.confirm_occurrence, text, boolean) is
  'What is wrong with one occurrence of a confirmation, and the code of its 400. zone is its zone when it is known.';

create function private.modifiers_of(cpt private.cpt_request)
returns text[]
language plpgsql
immutable
set search_path = ''
as $$
begin
  return case when cpt.modifiers is not null then array(
    select upper(private.tidy(modifier.value))
    from unnest(cpt.modifiers) with ordinality as modifier (value, position)
    group by 1
    order by min(modifier.position)
  ) end;
end
$$;
comment on function private.modifiers_of(private.cpt_request) is
  'The modifiers in upper case and in order, each once; null when they are not given. An empty list: none are wanted.';

create function private.listing_at(
  occurrence_index integer, hold_key uuid, session private.session_request, cpt private.cpt_request, zone text
)
returns private.listing
language plpgsql
stable
set search_path = ''
as $$
declare
  listing private.listing;
begin
  listing.occurrence_index := occurrence_index;
  listing.hold_key := hold_key;
  listing.therapist_id := session.therapist_id;
  listing.client_id := session.client_id;
  listing.start_time := session.start_time::timestamptz;
  listing.end_time := session.end_time::timestamptz;
  listing.time_zone := zone;
  listing.session_id := session.id;
  if session.session_type is not null then
    listing.session_type := private.tidy(session.session_type);
  end if;
  if session.location_type is not null then
    listing.location_type := private.tidy(session.location_type);
  end if;
  if cpt.code is not null then
    listing.cpt_code := upper(private.tidy(cpt.code));
    listing.cpt_modifiers := private.modifiers_of(cpt);
  end if;
  return listing;
end
$$;
comment on function private.listing_at(integer, uuid, private.session_request, private.cpt_request, text) is
  'One occurrence of a confirmation as it is compared with what was held.';

create function private.listed_of(wanted private.confirm_request)
returns private.listing[]
language plpgsql
stable
set search_path = ''
as $$
declare
  zone text;
  top constant private.confirm_occurrence := row(
    wanted.hold_key, wanted.session, wanted.cpt, wanted.start_time_offset_minutes, wanted.end_time_offset_minutes,
    wanted.time_zone, null
  )::private.confirm_occurrence;
  listed private.listing[];
  codes text[];
  wrong jsonb;
  found record;
begin
  select known.name into zone from public.time_zones as known where known.name = wanted.time_zone::text;
  found := private.listing_issues('', top, zone, true);
  wrong := found.issues;
  codes := array[found.code];
  if wanted.occurrences is null then
    listed := array[private.listing_at(0, wanted.hold_key, wanted.session, wanted.cpt, zone)];
  else
    select
      array_agg(private.listing_at(
        (place.ordinality - 1)::integer, place.hold_key, place.session,
        case when place.cpt is distinct from null then place.cpt else wanted.cpt end, coalesce(known.name, zone)
      ) order by place.ordinality),
      wrong || jsonb_path_query_array(jsonb_agg(of.issues order by place.ordinality), '$[*][*]'),
      codes || array_agg(of.code)
    into listed, wrong, codes
    from unnest(wanted.occurrences) with ordinality as place
    left join public.time_zones as known on known.name = place.time_zone
    cross join lateral private.listing_issues(
      format('occurrences.%s.', place.ordinality - 1),
      row(
        place.hold_key, place.session, place.cpt, place.start_time_offset_minutes, place.end_time_offset_minutes,
        place.time_zone, null
      ),
      case when place.time_zone is null then zone else known.name end, false
    ) as of;
  end if;
  if wrong <> '[]' then
    perform private.raise_invalid(jsonb_path_query_array(wrong, '$[0 to 49]'), case
      when 'MISSING_FIELDS' = any (codes) then 'MISSING_FIELDS'
      when 'INVALID_RANGE' = any (codes) then 'INVALID_RANGE'
      else 'VALIDATION_FAILED'
    end);
  end if;
  return listed;
end
$$;
comment on function private.listed_of(private.confirm_request) is
  'What a confirmation lists: its occurrences in request order, or the one session at the top; a service named at the top '
  'counts for those that name none. PT400 with code MISSING_FIELDS, INVALID_RANGE or VALIDATION_FAILED names everything '
  'that is wrong, at most 50 issues. Looks at no clock.';

-- sessions-cancel -------------------------------------------------------------------------------------------------------

create function private.read_cancel_request(request jsonb)
returns private.cancel_request
language plpgsql
stable
set search_path = ''
as $$
declare
  wanted private.cancel_request := private.read_request(request, null::private.cancel_request);
  by_days constant boolean := wanted.date is not null or wanted.from_date is not null or wanted.to_date is not null;
  issues jsonb := '[]';
begin
  if wanted.session_ids is null and wanted.series_id is null and not by_days then
    issues := issues || private.issue('session_ids', 'is required: give session_ids, series_id, date, or from_date and to_date');
  end if;
  if wanted."from" is not null and wanted.series_id is null then
    issues := issues || private.issue('from', 'goes with series_id');
  end if;
  if wanted.date is not null and (wanted.from_date is not null or wanted.to_date is not null) then
    issues := issues || private.issue('date', 'must not accompany from_date and to_date');
  end if;
  if (wanted.from_date is null) <> (wanted.to_date is null) then
    issues := issues || private.issue(
      case when wanted.from_date is null then 'from_date' else 'to_date' end, 'is required: from_date and to_date go together');
  elsif wanted.to_date::date < wanted.from_date::date then
    issues := issues || private.issue('to_date', 'must not be before from_date');
  elsif wanted.to_date::date - wanted.from_date::date > 366 then
    issues := issues || private.issue('to_date', 'must be at most 366 days after from_date');
  end if;
  if by_days and wanted.time_zone is null then
    issues := issues || private.issue('time_zone', 'is required with date, and with from_date and to_date');
  elsif wanted.time_zone is not null
    and not exists (select from public.time_zones as known where known.name = wanted.time_zone)
  then
    issues := issues || private.issue('time_zone', 'must be a known IANA time zone, like America/Los_Angeles');
  end if;
  if wanted.all_therapists and wanted.therapist_id is not null then
    issues := issues || private.issue('all_therapists', 'must not be true when therapist_id names one therapist');
  end if;
  if issues <> '[]' then
    perform private.raise_invalid(issues);
  end if;

  wanted.all_therapists := coalesce(wanted.all_therapists, false);
  wanted.cancellation_attribution := coalesce(wanted.cancellation_attribution, 'unknown');
  if wanted.reason is not null then
    wanted.reason := private.tidy(wanted.reason);
  end if;
  if wanted.session_ids is not null then
    wanted.session_ids := array(select distinct named.id from unnest(wanted.session_ids) as named (id) order by named.id);
  end if;
  return wanted;
end
$$;
comment on function private.read_cancel_request(jsonb) is
  'Reads the body of sessions-cancel that names sessions, each id once; attribution unknown and all_therapists false when '
  'they are left out. PT400 names every field that is wrong.';
