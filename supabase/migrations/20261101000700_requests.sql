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
  actor.user_id := auth.uid();
  if actor.user_id is null then
    perform private.raise_refusal(401, 'UNAUTHENTICATED', 'Sign in first: this call needs a user''s access token.');
  end if;
  actor.organization_id := private.claimed_organization_id();
  if actor.organization_id is null then
    perform private.raise_refusal(
      403, 'ORGANIZATION_REQUIRED', 'Your access token names no organization. Join or choose one and sign in again.'
    );
  end if;
  select membership.role into actor.role
  from public.memberships as membership
  where membership.organization_id = actor.organization_id and membership.user_id = actor.user_id;
  if not found then
    perform private.raise_refusal(403, 'FORBIDDEN', 'You are not a member of this organization.');
  end if;
  return actor;
end
$$;
comment on function private.require_actor() is
  'The caller, or PT401 UNAUTHENTICATED, PT403 ORGANIZATION_REQUIRED or PT403 FORBIDDEN.';

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
    when btrim(value #>> '{}') = '' then private.issue(path, 'must not be empty')
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
  if jsonb_typeof(value) <> 'string' or (value #>> '{}') !~
    '^(19|2[0-9])\d{2}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d{1,9})?)?(Z|[+-](0\d|1[0-5]):?[0-5]\d)$'
  then
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
  start_times timestamptz[],
  end_times timestamptz[],
  time_zones text[],
  session_ids uuid[]
);
comment on type private.booking_request is
  'A validated, defaulted request of sessions-hold. The arrays run in request order, one element for each occurrence; '
  'session_ids is null when nothing is moved.';

create function private.parse_booking_request(request jsonb)
returns private.booking_request
language plpgsql
stable
set search_path = ''
as $$
declare
  parsed private.booking_request;
  occurrences jsonb;
  found jsonb;
begin
  if request is null or jsonb_typeof(request) <> 'object' then
    perform private.raise_invalid(private.issue('', 'must be a JSON object'));
  end if;

  occurrences := nullif(nullif(request -> 'occurrences', 'null'), '[]');
  if occurrences is null then
    occurrences := jsonb_build_array(jsonb_build_object(
      'start_time', request -> 'start_time', 'end_time', request -> 'end_time',
      'start_time_offset_minutes', request -> 'start_time_offset_minutes',
      'end_time_offset_minutes', request -> 'end_time_offset_minutes'
    ));
  elsif jsonb_typeof(occurrences) <> 'array' then
    perform private.raise_invalid(private.issue('occurrences', 'must be a list'));
  elsif jsonb_array_length(occurrences) > 366 then
    perform private.raise_invalid(private.issue('occurrences', 'must have at most 366 occurrences'));
  end if;

  -- First what can be seen without converting anything.
  select jsonb_agg(issue.value) into found
  from (
    values
      (private.uuid_issue('therapist_id', request -> 'therapist_id', true)),
      (private.uuid_issue('client_id', request -> 'client_id', true)),
      (private.uuid_issue('room_id', request -> 'room_id', false)),
      (private.uuid_issue('group_id', request -> 'group_id', false)),
      (private.uuid_issue('session_id', request -> 'session_id', false)),
      (private.zone_issue('time_zone', request -> 'time_zone', true)),
      (private.text_issue('session_type', request -> 'session_type', false, 64)),
      (private.text_issue('cpt_code', request -> 'cpt_code', false, 5, '^\s*[0-9A-Za-z]{5}\s*$')),
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
      when coalesce(nullif(request -> 'occurrences', 'null'), '[]') = '[]' then ''
      else format('occurrences.%s.', item.position - 1)
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
    perform private.raise_invalid(found);
  end if;

  parsed.therapist_id := (request ->> 'therapist_id')::uuid;
  parsed.client_id := (request ->> 'client_id')::uuid;
  parsed.room_id := (request ->> 'room_id')::uuid;
  parsed.group_id := (request ->> 'group_id')::uuid;
  parsed.time_zone := request ->> 'time_zone';
  parsed.session_type := btrim(request ->> 'session_type');
  parsed.cpt_code := upper(btrim(request ->> 'cpt_code'));
  parsed.hold_seconds := coalesce((request ->> 'hold_seconds')::integer, 300);
  parsed.buffer_before_minutes := coalesce((request ->> 'buffer_before_minutes')::smallint, 0);
  parsed.buffer_after_minutes := coalesce((request ->> 'buffer_after_minutes')::smallint, 0);
  parsed.recurrence_rule := request #>> '{recurrence,rule}';
  parsed.override_reason := btrim(request #>> '{override,reason}');

  select
    array_agg((item.value ->> 'start_time')::timestamptz order by item.position),
    array_agg((item.value ->> 'end_time')::timestamptz order by item.position),
    array_agg(coalesce(item.value ->> 'time_zone', parsed.time_zone) order by item.position),
    array_agg((item.value ->> 'session_id')::uuid order by item.position)
  into parsed.start_times, parsed.end_times, parsed.time_zones, parsed.session_ids
  from jsonb_array_elements(occurrences) with ordinality as item (value, position);

  if cardinality(parsed.start_times) = 1 and parsed.session_ids[1] is null then
    parsed.session_ids := array[(request ->> 'session_id')::uuid];
  elsif request ->> 'session_id' is not null and request ->> 'session_id' is distinct from parsed.session_ids[1]::text then
    found := found || private.issue(
      'session_id', 'names one session but there are several occurrences: name each occurrence''s own session_id'
    );
  end if;
  if array_position(parsed.session_ids, null) is null then
    if cardinality(parsed.session_ids) <> (select count(distinct moved.id) from unnest(parsed.session_ids) as moved (id)) then
      found := found || private.issue('occurrences', 'name one session more than once (session_id)');
    end if;
  elsif cardinality(array_remove(parsed.session_ids, null)) = 0 then
    parsed.session_ids := null;
  else
    found := found || private.issue('occurrences', 'must all name a session_id, or none of them');
  end if;

  -- Then what the values mean.
  select found || coalesce(jsonb_agg(issue.value order by occurrence.index), '[]') into found
  from (
    select
      item.position - 1 as index,
      case
        when coalesce(nullif(request -> 'occurrences', 'null'), '[]') = '[]' then ''
        else format('occurrences.%s.', item.position - 1)
      end as path,
      item.start_time,
      item.end_time,
      item.time_zone,
      (occurrences -> (item.position::integer - 1) ->> 'start_time_offset_minutes')::integer as start_offset,
      (occurrences -> (item.position::integer - 1) ->> 'end_time_offset_minutes')::integer as end_offset,
      max(item.end_time + make_interval(mins => parsed.buffer_before_minutes + parsed.buffer_after_minutes))
        over (order by item.start_time, item.position rows between unbounded preceding and 1 preceding) as busy_until
    from unnest(parsed.start_times, parsed.end_times, parsed.time_zones)
      with ordinality as item (start_time, end_time, time_zone, position)
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
          then private.issue(occurrence.path || 'start_time_offset_minutes', format(
            'does not match %s, which is %s minutes east of UTC at start_time',
            occurrence.time_zone, private.offset_minutes(occurrence.start_time, occurrence.time_zone)))
        else '[]'
      end
      || case
        when private.offset_minutes(occurrence.end_time, occurrence.time_zone) <> occurrence.end_offset
          then private.issue(occurrence.path || 'end_time_offset_minutes', format(
            'does not match %s, which is %s minutes east of UTC at end_time',
            occurrence.time_zone, private.offset_minutes(occurrence.end_time, occurrence.time_zone)))
        else '[]'
      end as issues
  ) as checked
  cross join lateral jsonb_array_elements(checked.issues) as issue (value);
  if found <> '[]' then
    perform private.raise_invalid(found);
  end if;
  return parsed;
end
$$;
comment on function private.parse_booking_request(jsonb) is
  'Reads the body of sessions-hold (recurrence already expanded to occurrences). Raises PT400 with every issue found. '
  'Unknown fields are ignored. Looks at no clock.';

create function private.window_issues(wanted private.booking_request, as_of timestamptz)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    select jsonb_agg(jsonb_build_object(
      'path', case when cardinality(wanted.start_times) = 1 then '' else format('occurrences.%s.', item.position - 1) end
        || case when item.start_time < as_of then 'start_time' else 'end_time' end,
      'message', case
        when item.start_time < as_of then 'is in the past'
        else 'is more than 730 days ahead'
      end
    ) order by item.position)
    from unnest(wanted.start_times, wanted.end_times) with ordinality as item (start_time, end_time, position)
    where item.start_time < as_of or item.end_time > as_of + interval '730 days'
  );
end
$$;
comment on function private.window_issues(private.booking_request, timestamptz) is
  'What depends on the clock: nothing in the past, nothing beyond 730 days. Null when there is nothing to say.';

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

create function private.wanted_claims(wanted private.booking_request, owner_ids uuid[], shared_key uuid default null)
returns private.wanted_claim[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return array(
    select row(
      occurrence.position - 1, occurrence.owner_id, claim.resource_kind, claim.resource_id, claim.during,
      '{[0,2147483647)}'::int4multirange, claim.group_key
    )::private.wanted_claim
    from unnest(owner_ids, wanted.start_times, wanted.end_times)
      with ordinality as occurrence (owner_id, start_time, end_time, position)
    cross join lateral (
      values
        (
          'therapist'::public.resource_kind, wanted.therapist_id,
          tstzrange(
            occurrence.start_time - make_interval(mins => wanted.buffer_before_minutes),
            occurrence.end_time + make_interval(mins => wanted.buffer_after_minutes), '[)'
          ),
          coalesce(shared_key, wanted.group_id, occurrence.owner_id)
        ),
        (
          'client', wanted.client_id, tstzrange(occurrence.start_time, occurrence.end_time, '[)'),
          coalesce(shared_key, occurrence.owner_id)
        ),
        (
          'room', wanted.room_id, tstzrange(occurrence.start_time, occurrence.end_time, '[)'),
          coalesce(shared_key, wanted.group_id, occurrence.owner_id)
        )
    ) as claim (resource_kind, resource_id, during, group_key)
    where claim.resource_id is not null
  );
end
$$;
comment on function private.wanted_claims(private.booking_request, uuid[], uuid) is
  'The claims of a request: owner_ids are its holds'' ids in order; shared_key is the batch of a move, whose claims do '
  'not conflict with those of the sessions it moves.';

create function private.find_conflicts(
  organization_id uuid,
  wanted_claims private.wanted_claim[],
  moved_session_ids uuid[],
  as_of timestamptz
)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    select jsonb_agg(
      jsonb_build_object(
        'occurrenceIndex', found.occurrence_index,
        'resource', found.resource_kind,
        'blockedBy', case when found.expires_at is null then 'session' else 'hold' end,
        'startTime', private.iso(lower(found.overlap)),
        'endTime', private.iso(upper(found.overlap))
      ) || case
        when found.expires_at is null then '{}'::jsonb
        else jsonb_build_object('expiresAt', private.iso(found.expires_at))
      end
      order by found.occurrence_index, found.resource_kind
    )
    from (
      select distinct on (wanted.occurrence_index, wanted.resource_kind)
        wanted.occurrence_index, wanted.resource_kind, claim.expires_at, claim.during * wanted.during as overlap
      from unnest(wanted_claims) as wanted
      join private.claims as claim
        on claim.organization_id = find_conflicts.organization_id
        and claim.resource_id = wanted.resource_id
        and claim.during && wanted.during
        and claim.resource_kind = wanted.resource_kind
        and claim.group_key <> wanted.group_key
        and claim.lanes && wanted.lanes
      where (claim.expires_at is null or claim.expires_at > as_of)
        and claim.owner_id <> all (coalesce(moved_session_ids, '{}'))
      order by wanted.occurrence_index, wanted.resource_kind, (claim.expires_at is null) desc, claim.expires_at desc
    ) as found
  );
end
$$;
comment on function private.find_conflicts(uuid, private.wanted_claim[], uuid[], timestamptz) is
  'What is in the way: one conflict for each occurrence and resource, a session before a hold, else the hold that '
  'expires last. Times are the overlap with the request; never whose booking it is. Null when nothing is.';

create function private.conflict_code(conflicts jsonb)
returns text
language plpgsql
immutable
set search_path = ''
as $$
begin
  return case
    when conflicts @> '[{"resource": "therapist", "blockedBy": "session"}]' then 'THERAPIST_CONFLICT'
    when conflicts @> '[{"resource": "client", "blockedBy": "session"}]' then 'CLIENT_CONFLICT'
    when conflicts @> '[{"resource": "therapist", "blockedBy": "hold"}]' then 'THERAPIST_HOLD_CONFLICT'
    when conflicts @> '[{"resource": "client", "blockedBy": "hold"}]' then 'CLIENT_HOLD_CONFLICT'
    else 'ROOM_CONFLICT'
  end;
end
$$;
comment on function private.conflict_code(jsonb) is 'The code of a set of conflicts: sessions before holds, therapist before client.';

create function private.conflict_detail(code text)
returns text
language plpgsql
immutable
set search_path = ''
as $$
begin
  return case code
    when 'THERAPIST_CONFLICT' then 'The therapist already has a session then. Choose one of the alternatives.'
    when 'CLIENT_CONFLICT' then 'The client already has a session then. Choose one of the alternatives.'
    when 'THERAPIST_HOLD_CONFLICT' then 'Somebody is booking this therapist for that time. Retry at retryAfter, or choose an alternative.'
    when 'CLIENT_HOLD_CONFLICT' then 'Somebody is booking this client for that time. Retry at retryAfter, or choose an alternative.'
    when 'ROOM_CONFLICT' then 'The room is taken then. Choose another room or one of the alternatives.'
  end;
end
$$;
comment on function private.conflict_detail(text) is 'A sentence for the app''s developer about a conflict code.';

create function private.hold_facts(wanted private.booking_request)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return jsonb_strip_nulls(jsonb_build_object(
    'therapistId', wanted.therapist_id,
    'clientId', wanted.client_id,
    'roomId', wanted.room_id,
    'sessionIds', wanted.session_ids,
    'occurrences', (
      select jsonb_agg(
        jsonb_build_array(private.iso(item.start_time), private.iso(item.end_time)) order by item.position
      )
      from unnest(wanted.start_times, wanted.end_times) with ordinality as item (start_time, end_time, position)
    )
  ));
end
$$;
comment on function private.hold_facts(private.booking_request) is 'What of a hold belongs in an audit event: no PHI.';
