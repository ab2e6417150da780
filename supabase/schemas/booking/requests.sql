-- Purpose: who is calling and what exactly she asks for, decided in the database also for direct RPC calls.
-- Objects: private.actor, require_actor, the booking request and its validation, outcomes.
-- Watch for: everything here that depends on the clock comes after the idempotency look-up, in the booking functions,
--            so that a replay still answers when its start has passed.

create type private.actor as (
  user_id uuid,
  organization_id uuid,
  role public.member_role
);
comment on type private.actor is 'The caller, from the JWT, and her role, from the membership row.';

create function private.require_actor()
returns private.actor
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  actor private.actor;
begin
  select auth.uid(), private.claimed_organization_id() into actor.user_id, actor.organization_id;
  if actor.user_id is null then
    perform private.raise_refusal(401, 'UNAUTHENTICATED', 'Sign in first: this call needs a user''s access token.');
  elsif actor.organization_id is null then
    perform private.raise_refusal(
      403, 'ORGANIZATION_REQUIRED', 'Your access token names no organization. Join or choose one and sign in again.'
    );
  end if;
  select membership.role into actor.role
  from public.memberships as membership
  where membership.organization_id = actor.organization_id and membership.user_id = actor.user_id;
  if actor.role is null then
    perform private.raise_refusal(403, 'FORBIDDEN', 'You are not a member of this organization.');
  end if;
  return actor;
end
$$;
comment on function private.require_actor() is
  'The caller, or PT401 UNAUTHENTICATED, PT403 ORGANIZATION_REQUIRED or PT403 FORBIDDEN.';

create function private.require_booker(
  therapist_id uuid,
  client_id uuid,
  out actor private.actor,
  out may_book boolean,
  out has_payer boolean
)
language plpgsql
stable
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  -- Read into variables first: inside the query each mention would read the token again.
  caller_id uuid := auth.uid();
  claimed_id uuid := private.claimed_organization_id();
  caller_role public.member_role;
begin
  select
    membership.role,
    therapist.id is not null and client.id is not null and (
      membership.role in ('admin', 'super_admin')
      or (membership.role = 'therapist' and therapist.id = caller_id and caseload.client_id is not null)
    ),
    exists (
      select 1
      from public.client_coverages as coverage
      where coverage.organization_id = claimed_id and coverage.client_id = require_booker.client_id
    ) or exists (
      select 1
      from public.authorizations as approval
      where approval.organization_id = claimed_id and approval.client_id = require_booker.client_id
    )
  into caller_role, require_booker.may_book, require_booker.has_payer
  from public.memberships as membership
  left join public.therapists as therapist
    on therapist.organization_id = claimed_id and therapist.id = require_booker.therapist_id and therapist.deleted_at is null
  left join public.clients as client
    on client.organization_id = claimed_id and client.id = require_booker.client_id and client.deleted_at is null
  left join public.caseloads as caseload
    on caseload.organization_id = claimed_id
    and caseload.therapist_id = therapist.id
    and caseload.client_id = client.id
  where membership.organization_id = claimed_id and membership.user_id = caller_id;
  if caller_role is null then
    -- Says whether it was the user, the organization or the membership.
    perform private.require_actor();
  end if;
  actor := row(caller_id, claimed_id, caller_role);
end
$$;
comment on function private.require_booker(uuid, uuid) is
  'The caller, as require_actor, and whether she may book this therapist with this client: therapists their own time for '
  'their caseload, admins anybody in the organization; nobody books the archived. has_payer: as private.has_payer says of '
  'this client now; what depends on it is asked again behind her lock.';

create function private.may_book(actor private.actor, therapist_id uuid, client_id uuid, room_id uuid default null)
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    select
      actor.role in ('admin', 'super_admin')
      or (actor.role = 'therapist' and therapist.id = actor.user_id and caseload.therapist_id is not null)
    from public.therapists as therapist
    join public.clients as client
      on client.organization_id = therapist.organization_id and client.id = may_book.client_id
    left join public.caseloads as caseload
      on caseload.organization_id = therapist.organization_id
      and caseload.therapist_id = therapist.id
      and caseload.client_id = client.id
    left join public.rooms as room
      on room.organization_id = therapist.organization_id and room.id = may_book.room_id and room.deleted_at is null
    where therapist.organization_id = actor.organization_id
      and therapist.id = may_book.therapist_id
      and therapist.deleted_at is null
      and client.deleted_at is null
      and (may_book.room_id is null or room.id is not null)
  ) is true;
end
$$;
comment on function private.may_book(private.actor, uuid, uuid, uuid) is
  'Therapists book their own time for their caseload, admins anybody in the organization; nobody books the archived.';

-- Outcomes ---------------------------------------------------------------------------------------------------------

create function private.iso(instant timestamptz)
returns text
language plpgsql
immutable
set search_path = ''
as $$
begin
  return to_char(instant at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"');
end
$$;
comment on function private.iso(timestamptz) is 'An instant as JavaScript''s toISOString writes it: UTC, milliseconds.';

create function private.refusal(
  status integer,
  code text,
  detail text,
  retry_after timestamptz default null,
  conflicts jsonb default '[]',
  alternatives jsonb default '[]'
)
returns jsonb
language plpgsql
volatile
set search_path = ''
as $$
begin
  return jsonb_build_object('ok', false, 'status', status, 'code', code, 'detail', detail)
    || case
      when status = 409 then jsonb_build_object(
        'retryAfter', private.iso(retry_after),
        'retryAfterSeconds', case
          when retry_after is not null
            then greatest(1, ceil(extract(epoch from retry_after - clock_timestamp())))::integer
        end,
        'conflicts', conflicts,
        'alternatives', alternatives
      )
      else '{}'::jsonb
    end;
end
$$;
comment on function private.refusal(integer, text, text, timestamptz, jsonb, jsonb) is
  'A business refusal as it is returned, never raised. retry_after is when all holds in the way will have cleared.';

create function private.success(body jsonb)
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
begin
  return jsonb_build_object('ok', true, 'status', 200, 'replayed', false, 'body', body);
end
$$;
comment on function private.success(jsonb) is 'A successful outcome; body is the data of the HTTP answer.';

create function private.raise_busy()
returns void
language plpgsql
set search_path = ''
as $$
begin
  perform private.raise_refusal(503, 'DATABASE_BUSY', 'The database is busy. Send the same request again.', '1');
end
$$;
comment on function private.raise_busy() is
  'What lock time-outs (55P03), deadlocks (40P01), serialization failures (40001) and cancelled statements (57014) '
  'leave as: PT503, with the seconds to wait as its detail. Nothing of the request has happened.';

create function private.trimmed(value text)
returns text
language plpgsql
immutable
set search_path = ''
as $$
begin
  return btrim(value, E' \t\n\r\f\v');
end
$$;
comment on function private.trimmed(text) is 'A text without the white space around it; btrim alone takes only spaces away.';

-- Field checks: each returns an array of issues, or null when the field is well-formed ----------------------------------

create function private.uuid_issue(path text, value jsonb, required boolean)
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
begin
  return case
    when value is null or value = 'null' then case when required then private.issue(path, 'is required') end
    when jsonb_typeof(value) <> 'string'
      or (value #>> '{}') !~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
      then private.issue(path, 'must be a UUID')
  end;
end
$$;

create function private.text_issue(path text, value jsonb, required boolean, max_length integer, pattern text default null)
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
begin
  return case
    when value is null or value = 'null' then case when required then private.issue(path, 'is required') end
    when jsonb_typeof(value) <> 'string' then private.issue(path, 'must be a string')
    when private.trimmed(value #>> '{}') = '' then private.issue(path, 'must not be empty')
    when length(value #>> '{}') > max_length then private.issue(path, format('must have at most %s characters', max_length))
    when (value #>> '{}') !~ pattern then private.issue(path, 'has a form that is not accepted')
  end;
end
$$;

create function private.integer_issue(path text, value jsonb, required boolean, minimum integer, maximum integer)
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
begin
  return case
    when value is null or value = 'null' then case when required then private.issue(path, 'is required') end
    when jsonb_typeof(value) <> 'number' or (value #>> '{}') !~ '^-?[0-9]{1,9}$'
      then private.issue(path, 'must be a whole number')
    when (value #>> '{}')::integer not between minimum and maximum
      then private.issue(path, format('must be between %s and %s', minimum, maximum))
  end;
end
$$;

create function private.instant_pattern()
returns text
language plpgsql
immutable
set search_path = ''
as $$
begin
  return '^(19|2[0-9])\d{2}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,9})?)?(Z|[+-](0\d|1[0-5]):?[0-5]\d)$';
end
$$;
comment on function private.instant_pattern() is
  'ISO 8601 instants with an explicit offset. Postgres itself would also read now, tomorrow or infinity.';

create function private.instant_issue(path text, value jsonb)
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
begin
  if value is null or value = 'null' then
    return private.issue(path, 'is required');
  end if;
  if jsonb_typeof(value) <> 'string' or (value #>> '{}') !~ private.instant_pattern() then
    return private.issue(path, 'must be an ISO 8601 instant with Z or an offset, such as 2026-03-02T18:00:00Z');
  end if;
  -- What is left are days that do not exist, such as 30 February.
  perform (value #>> '{}')::timestamptz;
  return null;
exception
  when datetime_field_overflow or invalid_datetime_format then
    return private.issue(path, 'is not a date that exists');
end
$$;
comment on function private.uuid_issue(text, jsonb, boolean) is 'Issues of a UUID field; null when it has none.';
comment on function private.text_issue(text, jsonb, boolean, integer, text) is 'Issues of a text field; null when it has none.';
comment on function private.integer_issue(text, jsonb, boolean, integer, integer) is 'Issues of a whole number; null when it has none.';
comment on function private.instant_issue(text, jsonb) is
  'Issues of an instant; null when it has none. Only explicit offsets: Postgres would read now, tomorrow or infinity.';

create function private.zone_issue(path text, value jsonb, required boolean)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return case
    when value is null or value = 'null' then case when required then private.issue(path, 'is required') end
    when jsonb_typeof(value) <> 'string'
      or not exists (select 1 from public.time_zones as zone where zone.name = value #>> '{}')
      then private.issue(path, 'must be an IANA time zone, such as America/Los_Angeles')
  end;
end
$$;
comment on function private.zone_issue(text, jsonb, boolean) is 'Issues of a time zone name; null when it has none.';

create function private.offset_minutes(instant timestamptz, zone text)
returns integer
language plpgsql
stable
set search_path = ''
as $$
begin
  return (extract(epoch from (instant at time zone zone) - (instant at time zone 'UTC')) / 60)::integer;
end
$$;
comment on function private.offset_minutes(timestamptz, text) is
  'The zone''s offset at an instant in minutes east of UTC: Los Angeles in winter is -480.';

-- The booking request ------------------------------------------------------------------------------------------------

create type private.booking_request as (
  therapist_id uuid,
  client_id uuid,
  client_ids uuid[],
  room_id uuid,
  group_id uuid,
  time_zone text,
  session_type text,
  cpt_code text,
  buffer_before_minutes smallint,
  buffer_after_minutes smallint,
  hold_seconds integer,
  recurrence_rule text,
  override_reason text,
  session_id uuid,
  start_times timestamptz[],
  end_times timestamptz[],
  time_zones text[],
  session_ids uuid[],
  slot_clients uuid[],
  slot_groups uuid[],
  slot_indexes integer[],
  keeps_room boolean
);
comment on type private.booking_request is
  'A validated, defaulted request of sessions-hold. The arrays run in request order, one element for each occurrence; '
  'session_ids is null when nothing is moved. For groups (with_members, with_moved) there is one for each occurrence and '
  'client, and slot_indexes says of which occurrence. keeps_room: a move that names no room_id; null buffers: a move that '
  'names none.';

create function private.members_issue(request jsonb)
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
declare
  members jsonb := coalesce(nullif(request -> 'client_ids', 'null'), '[]');
  occurrences jsonb := private.booking_occurrences(request);
  moves constant boolean := jsonb_path_exists(occurrences, 'lax $[*].session_id ? (@ != null)')
    or request ->> 'session_id' is not null;
begin
  return case
    when jsonb_typeof(members) <> 'array' then private.issue('client_ids', 'must be a list')
    when coalesce(request -> 'group_id', 'null') <> 'null' and (members <> '[]' or moves or jsonb_array_length(occurrences) > 1)
      then private.issue('group_id', 'is for one client who joins one occurrence of a group')
    when members = '[]' then null
    when jsonb_array_length(members) not between 2 and 8 then private.issue('client_ids', 'must have 2 to 8 clients')
    when exists (
      select 1
      from jsonb_array_elements(members) as member (value)
      where private.uuid_issue('client_ids', member.value, true) is not null
    ) then private.issue('client_ids', 'must be UUIDs')
    when (select count(distinct member.value) from jsonb_array_elements(members) as member (value)) < jsonb_array_length(members)
      then private.issue('client_ids', 'must not name a client twice')
    when not members @> jsonb_build_array(request -> 'client_id')
      then private.issue('client_ids', 'must have client_id among them')
    when moves then private.issue('client_ids', 'is for new bookings: a group moves whole when one member''s session_id is named')
    when jsonb_array_length(members) * jsonb_array_length(occurrences) > 366
      then private.issue('client_ids', 'times the occurrences must be at most 366')
  end;
end
$$;
comment on function private.members_issue(jsonb) is
  'Issues of client_ids and group_id, which make a request one for a group; null when there is none.';

create function private.booking_request_issues(request jsonb)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
  occurrences jsonb := private.booking_occurrences(request);
  listed boolean := coalesce(nullif(request -> 'occurrences', 'null'), '[]') <> '[]';
  buffers interval;
  found jsonb;
begin
  if jsonb_typeof(request) is distinct from 'object' then
    return private.issue('', 'must be a JSON object');
  elsif jsonb_typeof(occurrences) <> 'array' then
    return private.issue('occurrences', 'must be a list');
  elsif jsonb_array_length(occurrences) > 366 then
    return private.issue('occurrences', 'must have at most 366 occurrences');
  end if;

  -- First what can be seen without converting anything.
  select jsonb_agg(issue.value) into found
  from (
    values
      (private.uuid_issue('therapist_id', request -> 'therapist_id', true)),
      (private.uuid_issue('client_id', request -> 'client_id', true)),
      (private.uuid_issue('room_id', request -> 'room_id', false)),
      (private.uuid_issue('group_id', request -> 'group_id', false)),
      (private.members_issue(request)),
      (case when listed then private.uuid_issue('session_id', request -> 'session_id', false) end),
      (private.zone_issue('time_zone', request -> 'time_zone', true)),
      (private.text_issue('session_type', request -> 'session_type', false, 64)),
      (private.text_issue('cpt_code', request -> 'cpt_code', false, 16, '^\s*[0-9A-Za-z]{5}\s*$')),
      (private.integer_issue('hold_seconds', request -> 'hold_seconds', false, 30, 900)),
      (private.integer_issue('buffer_before_minutes', request -> 'buffer_before_minutes', false, 0, 240)),
      (private.integer_issue('buffer_after_minutes', request -> 'buffer_after_minutes', false, 0, 240)),
      (
        case
          when coalesce(request -> 'override', 'null') = 'null' then null
          when jsonb_typeof(request -> 'override') <> 'object' then private.issue('override', 'must be an object')
          else private.text_issue('override.reason', request #> '{override,reason}', true, 500)
        end
      ),
      (
        case
          when coalesce(request -> 'recurrence', 'null') = 'null' then null
          when jsonb_typeof(request -> 'recurrence') <> 'object' then private.issue('recurrence', 'must be an object')
          else private.text_issue('recurrence.rule', request #> '{recurrence,rule}', true, 1000)
        end
      )
  ) as field (issues)
  cross join lateral jsonb_array_elements(field.issues) as issue (value);

  select coalesce(found, '[]') || coalesce(jsonb_agg(issue.value order by item.position), '[]') into found
  from jsonb_array_elements(occurrences) with ordinality as item (value, position)
  cross join lateral (
    select case
      when listed then format('occurrences.%s.', item.position - 1)
      else ''
    end as path
  ) as at
  cross join lateral (
    select case
      when jsonb_typeof(item.value) <> 'object' then private.issue(rtrim(at.path, '.'), 'must be an object')
      else coalesce(private.instant_issue(at.path || 'start_time', item.value -> 'start_time'), '[]')
        || coalesce(private.instant_issue(at.path || 'end_time', item.value -> 'end_time'), '[]')
        || coalesce(private.integer_issue(
          at.path || 'start_time_offset_minutes', item.value -> 'start_time_offset_minutes', true, -1440, 1440), '[]')
        || coalesce(private.integer_issue(
          at.path || 'end_time_offset_minutes', item.value -> 'end_time_offset_minutes', true, -1440, 1440), '[]')
        || coalesce(private.uuid_issue(at.path || 'session_id', item.value -> 'session_id', false), '[]')
        || coalesce(private.zone_issue(at.path || 'time_zone', item.value -> 'time_zone', false), '[]')
    end as issues
  ) as checked
  cross join lateral jsonb_array_elements(checked.issues) as issue (value);
  if found <> '[]' then
    return found;
  end if;

  select found
    || case
      when count(*) > 1 and count(moved.id) = 0 and request ->> 'session_id' is not null then private.issue(
        'session_id', 'names one session but there are several occurrences: name each occurrence''s own session_id')
      else '[]'
    end
    || case
      when count(moved.id) not in (0, count(*))
        then private.issue('occurrences', 'must all name a session_id, or none of them')
      else '[]'
    end
    || case
      when count(moved.id) <> count(distinct moved.id)
        then private.issue('occurrences', 'name one session more than once (session_id)')
      else '[]'
    end
  into found
  from jsonb_array_elements(occurrences) as item (value)
  cross join lateral (select (item.value ->> 'session_id')::uuid as id) as moved;

  buffers := make_interval(mins =>
    coalesce((request ->> 'buffer_before_minutes')::integer, 0) + coalesce((request ->> 'buffer_after_minutes')::integer, 0));
  -- Then what the values mean.
  select found || coalesce(jsonb_agg(issue.value order by occurrence.index), '[]') into found
  from (
    select
      item.position - 1 as index,
      case when listed then format('occurrences.%s.', item.position - 1) else '' end as path,
      at.start_time,
      at.end_time,
      at.time_zone,
      (item.value ->> 'start_time_offset_minutes')::integer as start_offset,
      (item.value ->> 'end_time_offset_minutes')::integer as end_offset,
      max(at.end_time + buffers)
        over (order by at.start_time, item.position rows between unbounded preceding and 1 preceding) as busy_until
    from jsonb_array_elements(occurrences) with ordinality as item (value, position)
    cross join lateral (
      select
        (item.value ->> 'start_time')::timestamptz as start_time,
        (item.value ->> 'end_time')::timestamptz as end_time,
        coalesce(item.value ->> 'time_zone', request ->> 'time_zone') as time_zone
    ) as at
  ) as occurrence
  cross join lateral (
    select
      case
        when occurrence.end_time <= occurrence.start_time
          then private.issue(occurrence.path || 'end_time', 'must be after start_time')
        when occurrence.end_time - occurrence.start_time > interval '12 hours'
          then private.issue(occurrence.path || 'end_time', 'must be at most 12 hours after start_time')
        when occurrence.busy_until > occurrence.start_time
          then private.issue(occurrence.path || 'start_time', 'overlaps another occurrence of the same request')
        else '[]'
      end
      || case
        when private.offset_minutes(occurrence.start_time, occurrence.time_zone) <> occurrence.start_offset
          then private.offset_issue(
            occurrence.path || 'start_time_offset_minutes', occurrence.start_time, occurrence.time_zone)
        else '[]'
      end
      || case
        when private.offset_minutes(occurrence.end_time, occurrence.time_zone) <> occurrence.end_offset
          then private.offset_issue(
            occurrence.path || 'end_time_offset_minutes', occurrence.end_time, occurrence.time_zone)
        else '[]'
      end as issues
  ) as checked
  cross join lateral jsonb_array_elements(checked.issues) as issue (value);
  return nullif(found, '[]');
end
$$;
comment on function private.booking_request_issues(jsonb) is
  'Every issue of the body of sessions-hold as [{path, message}], or null when there is none. Looks at no clock.';

create function private.booking_occurrences(request jsonb)
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
begin
  return case
    when coalesce(nullif(request -> 'occurrences', 'null'), '[]') <> '[]' then request -> 'occurrences'
    else jsonb_build_array(jsonb_build_object(
      'start_time', request -> 'start_time',
      'end_time', request -> 'end_time',
      'start_time_offset_minutes', request -> 'start_time_offset_minutes',
      'end_time_offset_minutes', request -> 'end_time_offset_minutes',
      'session_id', request -> 'session_id'
    ))
  end;
end
$$;
comment on function private.booking_occurrences(jsonb) is
  'The occurrences of a request: those listed, else the one window at its top.';

create type private.requested_occurrence as (
  start_time timestamptz,
  end_time timestamptz,
  start_time_offset_minutes numeric,
  end_time_offset_minutes numeric,
  time_zone text,
  session_id uuid
);
comment on type private.requested_occurrence is 'One occurrence as sessions-hold describes it.';

create function private.read_occurrence(value jsonb, default_zone text)
returns private.requested_occurrence
language plpgsql
stable
set search_path = ''
as $$
declare
  read private.requested_occurrence;
begin
  read := jsonb_populate_record(null::private.requested_occurrence, value);
  read.time_zone := coalesce(read.time_zone, default_zone);
  if (
    (value ->> 'start_time') ~ private.instant_pattern()
    and (value ->> 'end_time') ~ private.instant_pattern()
    and jsonb_typeof(value -> 'start_time_offset_minutes') = 'number'
    and jsonb_typeof(value -> 'end_time_offset_minutes') = 'number'
    and read.end_time > read.start_time
    and read.end_time - read.start_time <= interval '12 hours'
    and extract(epoch from (read.start_time at time zone read.time_zone) - (read.start_time at time zone 'UTC'))
      = read.start_time_offset_minutes * 60
    and extract(epoch from (read.end_time at time zone read.time_zone) - (read.end_time at time zone 'UTC'))
      = read.end_time_offset_minutes * 60
  ) is not true then
    raise data_exception;
  end if;
  return read;
end
$$;
comment on function private.read_occurrence(jsonb, text) is
  'Reads one occurrence, or raises a data exception (class 22) without saying what is wrong: booking_request_issues does.';

create function private.parse_booking_request(request jsonb)
returns private.booking_request
language plpgsql
stable
set search_path = ''
as $$
declare
  parsed private.booking_request;
  listed jsonb := coalesce(nullif(request -> 'occurrences', 'null'), '[]');
  occurrence private.requested_occurrence;
  valid boolean;
begin
  -- A request is checked as a whole first, which is quick. Only one that fails is looked at field by field.
  begin
    if request @@ '
      $.type() == "object"
      && $.therapist_id.type() == "string" && $.client_id.type() == "string" && $.time_zone.type() == "string"
      && (!exists($.room_id) || $.room_id == null || $.room_id.type() == "string")
      && (!exists($.group_id) || $.group_id == null || $.group_id.type() == "string")
      && (!exists($.client_ids) || $.client_ids.type() == "array" || $.client_ids == null)
      && (!exists($.session_id) || $.session_id == null || $.session_id.type() == "string")
      && (!exists($.session_type) || $.session_type == null || $.session_type.type() == "string")
      && (!exists($.cpt_code) || $.cpt_code == null || $.cpt_code.type() == "string"
        && $.cpt_code like_regex "^\\s*[0-9A-Za-z]{5}\\s*$")
      && (!exists($.hold_seconds) || $.hold_seconds == null || $.hold_seconds.type() == "number"
        && $.hold_seconds >= 30 && $.hold_seconds <= 900 && $.hold_seconds.floor() == $.hold_seconds)
      && (!exists($.buffer_before_minutes) || $.buffer_before_minutes == null
        || $.buffer_before_minutes.type() == "number" && $.buffer_before_minutes >= 0
        && $.buffer_before_minutes <= 240 && $.buffer_before_minutes.floor() == $.buffer_before_minutes)
      && (!exists($.buffer_after_minutes) || $.buffer_after_minutes == null
        || $.buffer_after_minutes.type() == "number" && $.buffer_after_minutes >= 0
        && $.buffer_after_minutes <= 240 && $.buffer_after_minutes.floor() == $.buffer_after_minutes)
      && (!exists($.override) || $.override == null || $.override.type() == "object"
        && $.override.reason.type() == "string")
      && (!exists($.recurrence) || $.recurrence == null || $.recurrence.type() == "object"
        && $.recurrence.rule.type() == "string")
      && (!exists($.occurrences) || $.occurrences == null || $.occurrences.type() == "array"
        && $.occurrences.size() <= 366)
    ' then
      parsed := jsonb_populate_record(null::private.booking_request, request - array[
        'recurrence_rule', 'override_reason', 'start_times', 'end_times', 'time_zones', 'session_ids', 'slot_clients',
        'slot_groups', 'slot_indexes', 'keeps_room'
      ]);
      parsed.client_ids := nullif(parsed.client_ids, '{}');
      -- As private.trimmed, without a call for each.
      parsed.session_type := btrim(parsed.session_type, E' \t\n\r\f\v');
      parsed.cpt_code := upper(btrim(parsed.cpt_code, E' \t\n\r\f\v'));
      parsed.hold_seconds := coalesce(parsed.hold_seconds, 300);
      parsed.recurrence_rule := request #>> '{recurrence,rule}';
      parsed.override_reason := btrim(request #>> '{override,reason}', E' \t\n\r\f\v');

      valid := (length(parsed.session_type) between 1 and 64) is not false
        and (length(parsed.override_reason) between 1 and 500) is not false
        and (length(btrim(parsed.recurrence_rule, E' \t\n\r\f\v')) between 1 and 1000) is not false;

      if jsonb_array_length(listed) <= 1 then
        occurrence := private.read_occurrence(coalesce(listed -> 0, request), parsed.time_zone);
        parsed.start_times := array[occurrence.start_time];
        parsed.end_times := array[occurrence.end_time];
        parsed.time_zones := array[occurrence.time_zone];
        parsed.session_ids := array_remove(array[coalesce(occurrence.session_id, parsed.session_id)], null);
      else
        select
          array_agg(item.start_time order by element.position),
          array_agg(item.end_time order by element.position),
          array_agg(item.time_zone order by element.position),
          array_remove(array_agg(item.session_id order by element.position), null),
          valid and count(item.session_id) in (0, count(*)) and count(item.session_id) = count(distinct item.session_id)
            and (count(item.session_id) > 0 or parsed.session_id is null)
        into parsed.start_times, parsed.end_times, parsed.time_zones, parsed.session_ids, valid
        from jsonb_array_elements(listed) with ordinality as element (value, position)
        cross join lateral private.read_occurrence(element.value, parsed.time_zone) as item;

        select valid and bool_and(item.start_time >= item.busy_until) is not false into valid
        from (
          select
            placed.start_time,
            max(placed.end_time + make_interval(
              mins => coalesce(parsed.buffer_before_minutes, 0) + coalesce(parsed.buffer_after_minutes, 0)
            ))
              over (order by placed.start_time rows between unbounded preceding and 1 preceding) as busy_until
          from unnest(parsed.start_times, parsed.end_times) as placed (start_time, end_time)
        ) as item;
      end if;
      parsed.session_ids := nullif(parsed.session_ids, '{}');
      parsed.session_id := null;
      if parsed.session_ids is null then
        parsed.buffer_before_minutes := coalesce(parsed.buffer_before_minutes, 0);
        parsed.buffer_after_minutes := coalesce(parsed.buffer_after_minutes, 0);
      else
        -- What a move does not name is taken from the sessions; see with_moved.
        parsed.keeps_room := not request ? 'room_id';
      end if;
      if (parsed.client_ids is not null or parsed.group_id is not null) and private.members_issue(request) is not null then
        valid := false;
      end if;

      -- Most requests speak of one zone; Postgres has accepted its name by now, but accepts nonsense too.
      valid := valid and exists (select 1 from public.time_zones as zone where zone.name = parsed.time_zone);
      if valid and parsed.time_zone <> any (parsed.time_zones) then
        select count(*) = count(zone.name) into valid
        from (select distinct used.name from unnest(parsed.time_zones) as used (name)) as used
        left join public.time_zones as zone on zone.name = used.name;
      end if;
    end if;
  exception
    when data_exception then valid := false;
  end;

  if valid then
    return parsed;
  end if;
  perform private.raise_invalid(coalesce(
    private.booking_request_issues(request), private.issue('', 'is not a request this endpoint accepts')
  ));
end
$$;
comment on function private.parse_booking_request(jsonb) is
  'Reads the body of sessions-hold (recurrence already expanded to occurrences). Raises PT400 with every issue found. '
  'Unknown fields are ignored. Looks at no clock.';

create function private.with_members(wanted private.booking_request)
returns private.booking_request
language plpgsql
volatile
set search_path = ''
as $$
declare
  spread private.booking_request := wanted;
begin
  if wanted.group_id is not null then
    spread.slot_groups := array[wanted.group_id];
  elsif wanted.client_ids is not null then
    select
      array_agg(occurrence.start_time order by occurrence.position, member.position),
      array_agg(occurrence.end_time order by occurrence.position, member.position),
      array_agg(occurrence.time_zone order by occurrence.position, member.position),
      array_agg(member.client_id order by occurrence.position, member.position),
      array_agg(occurrence.group_id order by occurrence.position, member.position),
      array_agg(occurrence.position - 1 order by occurrence.position, member.position)
    into spread.start_times, spread.end_times, spread.time_zones, spread.slot_clients, spread.slot_groups,
      spread.slot_indexes
    from (
      select item.*, gen_random_uuid() as group_id
      from unnest(wanted.start_times, wanted.end_times, wanted.time_zones)
        with ordinality as item (start_time, end_time, time_zone, position)
    ) as occurrence
    cross join unnest(wanted.client_ids) with ordinality as member (client_id, position);
  end if;
  return spread;
end
$$;
comment on function private.with_members(private.booking_request) is
  'A request for a group with one element for each occurrence and client, occurrence by occurrence, and a group for each '
  'occurrence (slot_clients, slot_groups). Any other request as it is.';

create function private.with_moved(organization_id uuid, wanted private.booking_request)
returns private.booking_request
language plpgsql
stable
set search_path = ''
as $$
declare
  spread private.booking_request := wanted;
  moved record;
  found jsonb;
begin
  if wanted.session_ids is null then
    return wanted;
  end if;

  -- Naming one member of a group stands for all who still come: she first, the others after her.
  with named as (
    select item.position, session.*
    from unnest(wanted.session_ids) with ordinality as item (id, position)
    join public.sessions as session
      on session.organization_id = with_moved.organization_id
      and session.id = item.id
      and session.client_id = wanted.client_id
  ),
  member as (
    select named.position, true as leads, named.id, named.client_id, named.group_id,
      named.room_id, named.buffer_before_minutes, named.buffer_after_minutes
    from named
    union all
    select named.position, false, mate.id, mate.client_id, mate.group_id,
      mate.room_id, mate.buffer_before_minutes, mate.buffer_after_minutes
    from named
    join public.sessions as mate
      on mate.organization_id = named.organization_id and mate.group_id = named.group_id and mate.id <> named.id
    where mate.status not in ('cancelled', 'no_show')
  )
  select
    count(*) as count,
    (array_agg(member.room_id))[1] as room_id,
    min(member.buffer_before_minutes) as buffer_before,
    min(member.buffer_after_minutes) as buffer_after,
    count(distinct coalesce(member.room_id::text, '')) > 1 as rooms_differ,
    min(member.buffer_before_minutes) < max(member.buffer_before_minutes) as buffers_before_differ,
    min(member.buffer_after_minutes) < max(member.buffer_after_minutes) as buffers_after_differ,
    bool_or(member.group_id is not null) as has_groups,
    array_agg(member.id order by member.position, member.leads desc, member.id) as ids,
    array_agg(case when not member.leads then member.client_id end order by member.position, member.leads desc, member.id)
      as slot_clients,
    array_agg(member.group_id order by member.position, member.leads desc, member.id) as slot_groups,
    array_agg((member.position - 1)::integer order by member.position, member.leads desc, member.id) as slot_indexes,
    array_agg(distinct member.client_id) as client_ids
  into moved
  from member;

  -- What the request does not name stays as it is, where it is the same for all.
  if wanted.keeps_room then
    spread.room_id := moved.room_id;
  end if;
  spread.buffer_before_minutes := coalesce(wanted.buffer_before_minutes, moved.buffer_before, 0);
  spread.buffer_after_minutes := coalesce(wanted.buffer_after_minutes, moved.buffer_after, 0);
  found := case
      when wanted.keeps_room and moved.rooms_differ
        then private.issue('room_id', 'must be named, or null for none: the sessions are in different rooms')
      else '[]'
    end
    || case
      when wanted.buffer_before_minutes is null and moved.buffers_before_differ
        then private.issue('buffer_before_minutes', 'must be named: the sessions'' differ')
      else '[]'
    end
    || case
      when wanted.buffer_after_minutes is null and moved.buffers_after_differ
        then private.issue('buffer_after_minutes', 'must be named: the sessions'' differ')
      else '[]'
    end;
  if found = '[]' and spread.buffer_before_minutes + spread.buffer_after_minutes > 0 then
    select coalesce(jsonb_agg(issue.value order by item.position), '[]') into found
    from (
      select
        placed.position, placed.start_time,
        max(placed.end_time + make_interval(mins => spread.buffer_before_minutes + spread.buffer_after_minutes))
          over (order by placed.start_time rows between unbounded preceding and 1 preceding) as busy_until
      from unnest(wanted.start_times, wanted.end_times) with ordinality as placed (start_time, end_time, position)
    ) as item
    cross join lateral jsonb_array_elements(private.issue(
      format('occurrences.%s.start_time', item.position - 1),
      'overlaps another occurrence of the same request, with the buffers the sessions have'
    )) as issue (value)
    where item.busy_until > item.start_time;
  end if;
  if found = '[]' and moved.count > 366 then
    found := private.issue('occurrences', 'must move at most 366 sessions, those of all members counted');
  end if;
  if found <> '[]' then
    perform private.raise_invalid(found);
  end if;

  if moved.has_groups then
    spread.session_ids := moved.ids;
    spread.slot_clients := moved.slot_clients;
    spread.slot_groups := moved.slot_groups;
    spread.slot_indexes := moved.slot_indexes;
    spread.client_ids := moved.client_ids;
    spread.start_times := array(
      select wanted.start_times[slot.index + 1] from unnest(moved.slot_indexes) with ordinality as slot (index, position)
      order by slot.position
    );
    spread.end_times := array(
      select wanted.end_times[slot.index + 1] from unnest(moved.slot_indexes) with ordinality as slot (index, position)
      order by slot.position
    );
    spread.time_zones := array(
      select wanted.time_zones[slot.index + 1] from unnest(moved.slot_indexes) with ordinality as slot (index, position)
      order by slot.position
    );
  end if;
  return spread;
end
$$;
comment on function private.with_moved(uuid, private.booking_request) is
  'A move with what its sessions have and it does not name: room, buffers, and the other members of their groups. Raises '
  'PT400 where the sessions disagree. slot_clients is null for the member that was named. Any other request as it is.';

create function private.require_bookable_window(wanted private.booking_request, as_of timestamptz)
returns void
language plpgsql
stable
set search_path = ''
as $$
begin
  if as_of <= all (wanted.start_times) and as_of + interval '730 days' >= all (wanted.end_times) then
    return;
  end if;
  perform private.raise_invalid(jsonb_agg(
    jsonb_build_object(
      'path', case when cardinality(wanted.start_times) = 1 then '' else format('occurrences.%s.', item.position - 1) end
        || case when item.start_time < as_of then 'start_time' else 'end_time' end,
      'message', case when item.start_time < as_of then 'is in the past' else 'is more than 730 days ahead' end
    )
    order by item.position
  ))
  from unnest(wanted.start_times, wanted.end_times) with ordinality as item (start_time, end_time, position)
  where item.start_time < as_of or item.end_time > as_of + interval '730 days';
end
$$;
comment on function private.require_bookable_window(private.booking_request, timestamptz) is
  'What depends on the clock: PT400 when an occurrence starts in the past or ends more than 730 days ahead.';

-- What a request would claim ------------------------------------------------------------------------------------------

create type private.wanted_claim as (
  occurrence_index integer,
  owner_id uuid,
  resource_kind public.resource_kind,
  resource_id uuid,
  during tstzrange,
  lanes int4multirange,
  group_key uuid
);
comment on type private.wanted_claim is 'A claim that a request needs, before it is tried.';

create function private.wanted_claims(
  organization_id uuid,
  wanted private.booking_request,
  owner_ids uuid[],
  shared_key uuid default null
)
returns private.wanted_claim[]
language plpgsql
stable
set search_path = ''
as $$
declare
  code text := case
    when wanted.cpt_code is not null or wanted.session_type is not null
      then private.service_code(wanted.cpt_code, wanted.session_type)
  end;
  all_lanes constant int4multirange := int4multirange '{[0,2147483647)}';
  claims private.wanted_claim[];
  span tstzrange;
  key uuid;
begin
  if cardinality(owner_ids) = 1 and wanted.slot_clients is null and wanted.session_ids is null then
    -- A single hold needs no query.
    key := coalesce(shared_key, wanted.slot_groups[1], owner_ids[1]);
    span := tstzrange(wanted.start_times[1], wanted.end_times[1], '[)');
    claims := array[
      row(
        0, owner_ids[1], 'therapist', wanted.therapist_id,
        tstzrange(
          wanted.start_times[1] - make_interval(mins => wanted.buffer_before_minutes),
          wanted.end_times[1] + make_interval(mins => wanted.buffer_after_minutes), '[)'
        ),
        all_lanes, key
      )::private.wanted_claim,
      row(
        0, owner_ids[1], 'client', wanted.client_id, span,
        private.client_lanes(organization_id, wanted.client_id, code, wanted.start_times[1], wanted.end_times[1]),
        coalesce(shared_key, owner_ids[1])
      )::private.wanted_claim
    ];
    if wanted.room_id is not null then
      claims := claims || row(0, owner_ids[1], 'room', wanted.room_id, span, all_lanes, key)::private.wanted_claim;
    end if;
    return claims;
  end if;

  return array(
    select row(
      coalesce(wanted.slot_indexes[occurrence.position], occurrence.position - 1), occurrence.owner_id,
      claim.resource_kind, claim.resource_id, claim.during, claim.lanes, claim.group_key
    )::private.wanted_claim
    from unnest(
      owner_ids, wanted.start_times, wanted.end_times, wanted.slot_clients, wanted.slot_groups, wanted.session_ids
    ) with ordinality as occurrence (owner_id, start_time, end_time, client_id, group_id, session_id, position)
    cross join lateral (
      values
        (
          'therapist'::public.resource_kind, wanted.therapist_id,
          tstzrange(
            occurrence.start_time - make_interval(mins => wanted.buffer_before_minutes),
            occurrence.end_time + make_interval(mins => wanted.buffer_after_minutes), '[)'
          ),
          '{[0,2147483647)}'::int4multirange, coalesce(shared_key, occurrence.group_id, occurrence.owner_id)
        ),
        (
          'client', coalesce(occurrence.client_id, wanted.client_id),
          tstzrange(occurrence.start_time, occurrence.end_time, '[)'),
          private.client_lanes(
            wanted_claims.organization_id, coalesce(occurrence.client_id, wanted.client_id),
            -- What is moved stays the service it is, unless the request says otherwise.
            case when occurrence.session_id is null then code else (
              select private.service_code(
                coalesce(wanted.cpt_code, moved.cpt_code), coalesce(wanted.session_type, moved.session_type)
              )
              from public.sessions as moved
              where moved.organization_id = wanted_claims.organization_id and moved.id = occurrence.session_id
            ) end,
            occurrence.start_time, occurrence.end_time
          ),
          coalesce(shared_key, occurrence.owner_id)
        ),
        (
          'room', wanted.room_id, tstzrange(occurrence.start_time, occurrence.end_time, '[)'),
          '{[0,2147483647)}', coalesce(shared_key, occurrence.group_id, occurrence.owner_id)
        )
    ) as claim (resource_kind, resource_id, during, lanes, group_key)
    where claim.resource_id is not null
  );
end
$$;
comment on function private.wanted_claims(uuid, private.booking_request, uuid[], uuid) is
  'The claims of a request: owner_ids are its holds'' ids in order; shared_key is the secret of a move, whose claims do '
  'not conflict with those of the sessions it moves.';

create function private.wanted_services(organization_id uuid, wanted private.booking_request, owner_ids uuid[])
returns private.service[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return array(
    select row(
      occurrence.owner_id, coalesce(occurrence.client_id, wanted.client_id),
      private.billed_code(
        coalesce(wanted.cpt_code, moved.cpt_code), coalesce(wanted.session_type, moved.session_type)
      ),
      occurrence.start_time, occurrence.end_time, occurrence.time_zone, occurrence.session_id, null
    )::private.service
    from unnest(
      owner_ids, wanted.start_times, wanted.end_times, wanted.time_zones, wanted.session_ids, wanted.slot_clients
    ) as occurrence (owner_id, start_time, end_time, time_zone, session_id, client_id)
    left join public.sessions as moved
      on moved.organization_id = wanted_services.organization_id and moved.id = occurrence.session_id
  );
end
$$;
comment on function private.wanted_services(uuid, private.booking_request, uuid[]) is
  'The services of a request, for its units: owner_ids are its holds'' ids in order. A move that names no service is of '
  'the session''s own.';

create function private.find_conflicts(
  organization_id uuid,
  wanted_claims private.wanted_claim[],
  moved_session_ids uuid[],
  as_of timestamptz,
  out conflicts jsonb,
  out retry_after timestamptz,
  out stale_owner_ids uuid[],
  out concurrent_lanes int4multirange
)
language plpgsql
stable
set search_path = ''
as $$
begin
  -- One look at everything in the way: what lives is a conflict, what has expired is to be removed.
  select
    jsonb_agg(
      jsonb_strip_nulls(jsonb_build_object(
        'occurrenceIndex', found.occurrence_index,
        'resource', found.resource_kind,
        'blockedBy', case when found.expires_at is null then 'session' else 'hold' end,
        'startTime', private.iso(lower(found.overlap)),
        'endTime', private.iso(upper(found.overlap)),
        'expiresAt', private.iso(found.expires_at)
      ))
      order by found.occurrence_index, found.resource_kind
    ) filter (where found.live and found.place = 1),
    case when bool_and(found.expires_at is not null) filter (where found.live)
      then max(found.expires_at) filter (where found.live)
    end,
    array_agg(found.owner_id) filter (where not found.live),
    case when bool_and(found.is_pair) filter (where found.live)
      then range_agg(found.lanes) filter (where found.live)
    end
  into conflicts, retry_after, stale_owner_ids, concurrent_lanes
  from (
    select
      claim.lanes * wanted.lanes as lanes,
      -- Two different services share the lane of their pair and no other; see private.pair_lanes.
      upper(claim.lanes * wanted.lanes) - lower(claim.lanes * wanted.lanes) = 1
        and lower(claim.lanes * wanted.lanes) / 100 <> lower(claim.lanes * wanted.lanes) % 100 as is_pair,
      wanted.occurrence_index,
      wanted.resource_kind,
      claim.owner_id,
      claim.expires_at,
      claim.during * wanted.during as overlap,
      at.live,
      row_number() over (
        partition by wanted.occurrence_index, wanted.resource_kind
        order by at.live desc, claim.expires_at desc nulls first
      ) as place
    from unnest(wanted_claims) as wanted
    join private.claims as claim
      on claim.organization_id = find_conflicts.organization_id
      and claim.resource_id = wanted.resource_id
      and claim.during && wanted.during
      and claim.resource_kind = wanted.resource_kind
      and claim.group_key <> wanted.group_key
      and claim.lanes && wanted.lanes
    cross join lateral (select claim.expires_at is null or claim.expires_at > as_of as live) as at
    where moved_session_ids is null or claim.owner_id <> all (moved_session_ids)
  ) as found;
end
$$;
comment on function private.find_conflicts(uuid, private.wanted_claim[], uuid[], timestamptz) is
  'What is in the way. conflicts: one for each occurrence and resource, a session before a hold, else the hold that '
  'expires last; times are the overlap with the request; never whose booking it is; null when nothing is. retry_after: '
  'when all of them clear, null when a session is among them. stale_owner_ids: holds whose time has run out. '
  'concurrent_lanes: when nothing is in the way but other services of the client, the lanes of those pairs.';

create function private.conflict_code(conflicts jsonb, concurrent_lanes int4multirange default null)
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
begin
  return case
    when concurrent_lanes is not null then
      '{"code": "CONCURRENT_SERVICE_NOT_ALLOWED",
        "detail": "The client has another service then, and not every payer of hers is known to allow the two at once."}'
    when conflicts @> '[{"resource": "therapist", "blockedBy": "session"}]' then
      '{"code": "THERAPIST_CONFLICT", "detail": "The therapist already has a session then. Choose an alternative."}'
    when conflicts @> '[{"resource": "client", "blockedBy": "session"}]' then
      '{"code": "CLIENT_CONFLICT", "detail": "The client already has a session then. Choose an alternative."}'
    when conflicts @> '[{"resource": "therapist", "blockedBy": "hold"}]' then
      '{"code": "THERAPIST_HOLD_CONFLICT",
        "detail": "This therapist''s time is being booked. Retry at retryAfter, or choose an alternative."}'
    when conflicts @> '[{"resource": "client", "blockedBy": "hold"}]' then
      '{"code": "CLIENT_HOLD_CONFLICT",
        "detail": "This client''s time is being booked. Retry at retryAfter, or choose an alternative."}'
    else
      '{"code": "ROOM_CONFLICT", "detail": "The room is taken then. Choose another room or an alternative."}'
  end::jsonb;
end
$$;
comment on function private.conflict_code(jsonb, int4multirange) is
  'Code and detail for a set of conflicts: sessions before holds, therapist before client.';

create function private.hold_facts(wanted private.booking_request)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
  occurrences jsonb;
begin
  if cardinality(wanted.start_times) = 1 then
    occurrences := jsonb_build_array(
      jsonb_build_array(private.iso(wanted.start_times[1]), private.iso(wanted.end_times[1]))
    );
  else
    -- As private.iso, without a call for each.
    select jsonb_agg(
      jsonb_build_array(
        to_char(item.start_time at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
        to_char(item.end_time at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
      )
      order by item.position
    )
    into occurrences
    from unnest(wanted.start_times, wanted.end_times) with ordinality as item (start_time, end_time, position);
  end if;
  return jsonb_strip_nulls(jsonb_build_object(
    'therapistId', wanted.therapist_id,
    'clientId', wanted.client_id,
    'clientIds', wanted.client_ids,
    'groupId', wanted.group_id,
    'roomId', wanted.room_id,
    'sessionIds', wanted.session_ids,
    'occurrences', occurrences
  ));
end
$$;
comment on function private.hold_facts(private.booking_request) is 'What of a hold belongs in an audit event: no PHI.';
