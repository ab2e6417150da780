-- Purpose: the bodies of sessions-hold, sessions-confirm and sessions-cancel as typed rows. The domains are the bounds of
--          each field and stand nowhere else in SQL; the comment on a domain is the message of the 400.
-- Objects: the domains, private.hold_request, private.confirm_request, private.cancel_request and what they are made of;
--          private.read_request and the typed readers.
-- Watch for: a new field of a request is a new attribute of its type, and nothing more (of a type that stands already,
--            alter type ... add attribute and make_readable again: its readers were made of the fields it had). zod has the same bounds
--            (`functions/_shared/contract`); a property test sends the same bodies to both. Unknown fields are ignored,
--            null equals absent, and a blank text is not given. Rules across fields are in slots.sql.

create function private.tidy(value text)
returns text
language plpgsql
immutable
set search_path = ''
as $$
begin
  return nullif(btrim(value, U&' \0009\000A\000B\000C\000D\00A0\1680\2000\2001\2002\2003\2004\2005\2006\2007\2008\2009\200A\2028\2029\202F\205F\3000\FEFF'), '');
end
$$;
comment on function private.tidy(text) is
  'A text without the white space around it, null when nothing is left. White space is what JavaScript''s trim removes.';

create domain private.hold_seconds as integer check (value between 30 and 900);
comment on domain private.hold_seconds is 'must be a whole number from 30 to 900';

create domain private.buffer_minutes as smallint check (value between 0 and 240);
comment on domain private.buffer_minutes is 'must be a whole number from 0 to 240';

create domain private.offset_minutes as smallint check (value between -840 and 840);
comment on domain private.offset_minutes is 'must be a whole number from -840 to 840: minutes east of UTC';

create domain private.occurrence_count as smallint check (value between 1 and 366);
comment on domain private.occurrence_count is 'must be a whole number from 1 to 366';

create domain private.cpt_code as text check (value ~ '^[ \t\n\v\f\r]*[0-9A-Za-z]{5}[ \t\n\v\f\r]*$');
comment on domain private.cpt_code is 'must be a service code of five letters and digits, like 97153';

create domain private.cpt_modifier as text check (value ~ '^[ \t\n\v\f\r]*[0-9A-Za-z]{2}[ \t\n\v\f\r]*$');
comment on domain private.cpt_modifier is 'must be two letters or digits, like HQ';

create domain private.cpt_modifiers as private.cpt_modifier[] check (cardinality(value) <= 4);
comment on domain private.cpt_modifiers is 'must have at most 4 items';

create domain private.short_text as text check (length(value) <= 64);
comment on domain private.short_text is 'must be text of at most 64 characters';

create domain private.reason as text check (length(value) <= 500);
comment on domain private.reason is 'must be text of at most 500 characters';

create domain private.override_reason as text check (length(value) <= 500 and (value is null or private.tidy(value) is not null));
comment on domain private.override_reason is 'must be text of 1 to 500 characters';

create domain private.override_rule as text
  check (value in ('availability', 'authorization', 'concurrency', 'credential', 'travel'));
-- Who may render a service, and travel, are never set aside: naming them has no effect, and the answer does not list them.
comment on domain private.override_rule is
  'must be "availability", "authorization", "concurrency", "credential" or "travel"';

create domain private.override_rules as private.override_rule[] check (cardinality(value) between 1 and 5);
comment on domain private.override_rules is 'must have 1 to 5 items';

create domain private.no_text as text check (private.tidy(value) is null);
comment on domain private.no_text is 'is not accepted here: session notes are saved, encrypted, through session-notes';

-- No check may be false of null: a field left out is null. isfinite fails for days that do not exist.
-- What Postgres itself reads as a time is far wider: now, tomorrow, infinity, or 10:00 in the zone of the server.
create domain private.instant as text check (
  case
    -- As JavaScript writes it. A regular expression would cost more than everything else that is read of a request.
    when translate(value, '123456789', '000000000') = '0000-00-00T00:00:00.000Z' then
      value >= '20' collate "C" and value < '22' collate "C"
      and substr(value, 12, 2) < '24' collate "C" and substr(value, 18, 2) < '60' collate "C"
    else value ~ '^2[01][0-9]{2}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,3}0{0,6})?)?(Z|[+-](0[0-9]|1[0-3])(:?[0-5][0-9])?|[+-]14(:?00)?)$'
  end
  and isfinite(value::timestamptz)
);
comment on domain private.instant is
  'must be an ISO 8601 instant that exists, of the years 2000 to 2199, to the millisecond at most, with Z or an explicit '
  'offset, like 2026-03-09T10:00:00-07:00';

create domain private.civil_time as text check (
  value ~ '^2[01][0-9]{2}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,3}0{0,6})?)?$'
  and isfinite(value::timestamp)
);
comment on domain private.civil_time is
  'must be a local date and time that exist, of the years 2000 to 2199, to the millisecond at most, without a zone, '
  'like 2026-03-09T10:00';

create domain private.civil_date as text check (value ~ '^2[01][0-9]{2}-[0-9]{2}-[0-9]{2}$' and isfinite(value::date));
comment on domain private.civil_date is 'must be a date that exists, of the years 2000 to 2199, like 2026-03-09';

-- Whether there is such a zone, public.time_zones says; see slots.sql.
create domain private.zone_name as text check (value ~ '^[A-Za-z]' and length(value) <= 64);
comment on domain private.zone_name is 'must be an IANA time zone, like America/Los_Angeles';

create domain private.recurrence_rule as text check (length(value) <= 1000 and (value is null or private.tidy(value) is not null));
comment on domain private.recurrence_rule is 'must be text of 1 to 1000 characters';

create domain private.recurrence_day as text check (length(value) <= 40 and (value is null or private.tidy(value) is not null));
comment on domain private.recurrence_day is 'must be text of 1 to 40 characters';

create domain private.recurrence_days as private.recurrence_day[] check (cardinality(value) <= 1000);
comment on domain private.recurrence_days is 'must have at most 1000 items';

create domain private.member_ids as uuid[] check (cardinality(value) <= 8);
comment on domain private.member_ids is 'must have at most 8 items';

create domain private.session_ids as uuid[] check (cardinality(value) between 1 and 1000);
comment on domain private.session_ids is 'must have 1 to 1000 items';

-- sessions-hold

create type private.occurrence_request as (
  start_time private.instant,
  end_time private.instant,
  start_time_offset_minutes private.offset_minutes,
  end_time_offset_minutes private.offset_minutes,
  time_zone private.zone_name,
  session_id uuid,
  local_start private.civil_time
);
comment on type private.occurrence_request is
  'One occurrence of sessions-hold: start_time and end_time, or local_start, the civil start in time_zone (left out: the '
  'request''s), which lasts as long as the window at the top.';

create domain private.occurrence_requests as private.occurrence_request[] check (cardinality(value) <= 366);
comment on domain private.occurrence_requests is 'must have at most 366 items';

create type private.override_request as (
  reason private.override_reason,
  rules private.override_rules
);
comment on type private.override_request is 'Why an admin books in spite of rules, and which; without rules: any.';

create type private.recurrence_request as (
  rule private.recurrence_rule,
  count private.occurrence_count,
  until private.recurrence_day,
  exceptions private.recurrence_days,
  time_zone private.zone_name
);
comment on type private.recurrence_request is
  'The rule that was asked for. Whoever calls the database expands it: what is booked are the occurrences beside it.';

create type private.hold_request as (
  therapist_id uuid,
  client_id uuid,
  client_ids private.member_ids,
  group_id uuid,
  room_id uuid,
  session_id uuid,
  cpt_code private.cpt_code,
  session_type private.short_text,
  time_zone private.zone_name,
  start_time private.instant,
  end_time private.instant,
  start_time_offset_minutes private.offset_minutes,
  end_time_offset_minutes private.offset_minutes,
  hold_seconds private.hold_seconds,
  buffer_before_minutes private.buffer_minutes,
  buffer_after_minutes private.buffer_minutes,
  occurrences private.occurrence_requests,
  recurrence private.recurrence_request,
  override private.override_request
);
comment on type private.hold_request is 'The body of sessions-hold, each field within its bounds.';

-- sessions-hold, for sessions of a series

create domain private.series_scope as text check (value in ('this', 'following', 'all'));
comment on domain private.series_scope is 'must be "this", "following" or "all"';

create domain private.weekday as text
  check (value in ('monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday'));
comment on domain private.weekday is 'must be an English weekday in lower case, like "monday"';

create domain private.time_of_day as text check (value ~ '^([01][0-9]|2[0-3]):[0-5][0-9]$');
comment on domain private.time_of_day is 'must be a local time of day from 00:00 to 23:59, like 16:30';

create domain private.shift_minutes as integer check (value between -40320 and 40320);
comment on domain private.shift_minutes is 'must be a whole number from -40320 to 40320';

create domain private.session_minutes as integer check (value between 1 and 720);
comment on domain private.session_minutes is 'must be a whole number from 1 to 720';

create type private.series_change as (
  shift_minutes private.shift_minutes,
  weekday private.weekday,
  local_start private.time_of_day,
  duration_minutes private.session_minutes,
  therapist_id uuid,
  room_id uuid
);
comment on type private.series_change is
  'What becomes of sessions of a series; what is left out stays. A room_id of null, named, is no room.';

create type private.series_part as (
  series_id uuid,
  scope private.series_scope,
  "from" private.instant,
  change private.series_change
);
comment on type private.series_part is 'Which sessions of a series change, and how. from: the start of one of them.';

create type private.series_request as (
  therapist_id uuid,
  client_id uuid,
  time_zone private.zone_name,
  hold_seconds private.hold_seconds,
  session_type private.short_text,
  cpt_code private.cpt_code,
  buffer_before_minutes private.buffer_minutes,
  buffer_after_minutes private.buffer_minutes,
  override private.override_request,
  series private.series_part
);
comment on type private.series_request is
  'The body of sessions-hold that changes sessions of a series. therapist_id: only sessions of this therapist; time_zone: '
  'whose clocks the change is meant by, left out: those of each session.';

-- extend_series

create domain private.on_conflict as text check (value in ('refuse', 'skip'));
comment on domain private.on_conflict is 'must be "refuse" or "skip"';

create type private.extend_request as (
  series_id uuid,
  until private.civil_date,
  count private.occurrence_count,
  authorization_end boolean,
  on_conflict private.on_conflict,
  therapist_id uuid,
  override private.override_request
);
comment on type private.extend_request is 'The request of extend_series: how far a series goes on.';

-- sessions-confirm

create type private.session_request as (
  id uuid,
  therapist_id uuid,
  client_id uuid,
  start_time private.instant,
  end_time private.instant,
  session_type private.short_text,
  location_type private.short_text,
  notes private.no_text
);
comment on type private.session_request is 'A session as sessions-confirm describes it. id: the session being moved.';

create type private.cpt_request as (
  code private.cpt_code,
  modifiers private.cpt_modifiers
);
comment on type private.cpt_request is 'A service code and its modifiers, as sessions-confirm names them.';

create type private.confirm_occurrence as (
  hold_key uuid,
  session private.session_request,
  cpt private.cpt_request,
  start_time_offset_minutes private.offset_minutes,
  end_time_offset_minutes private.offset_minutes,
  time_zone private.zone_name,
  notes private.no_text
);
comment on type private.confirm_occurrence is 'One occurrence of sessions-confirm, by its own key.';

create domain private.confirm_occurrences as private.confirm_occurrence[] check (cardinality(value) <= 366);
comment on domain private.confirm_occurrences is 'must have at most 366 items';

create type private.confirm_request as (
  hold_key uuid,
  session private.session_request,
  cpt private.cpt_request,
  start_time_offset_minutes private.offset_minutes,
  end_time_offset_minutes private.offset_minutes,
  time_zone private.zone_name,
  occurrences private.confirm_occurrences,
  notes private.no_text
);
comment on type private.confirm_request is 'The body of sessions-confirm, each field within its bounds.';

-- sessions-cancel

create type private.release_request as (
  hold_key uuid
);
comment on type private.release_request is 'The body of sessions-cancel that lets a hold go.';

create type private.cancel_request as (
  session_ids private.session_ids,
  series_id uuid,
  "from" private.instant,
  date private.civil_date,
  from_date private.civil_date,
  to_date private.civil_date,
  time_zone private.zone_name,
  therapist_id uuid,
  all_therapists boolean,
  reason private.reason,
  cancellation_attribution public.cancellation_attribution
);
comment on type private.cancel_request is 'The body of sessions-cancel that names sessions, each field within its bounds.';

-- Reading ----------------------------------------------------------------------------------------------------------------

-- start_session, complete_session, mark_no_show

create type private.visit_request as (
  session_id uuid,
  actual_start_time private.instant,
  actual_end_time private.instant,
  other_day_reason private.reason,
  overlap_reason private.reason
);
comment on type private.visit_request is
  'What is recorded of a visit. other_day_reason: why it began on another local day than it was booked for; overlap_reason: '
  'why an admin lets it overlap another visit.';

-- correct_visit

create domain private.record_version as integer check (value between 1 and 1000000);
comment on domain private.record_version is 'must be a whole number from 1 to 1000000';

create domain private.correction_undo as text check (value in ('completion', 'start', 'no_show'));
comment on domain private.correction_undo is 'must be "completion", "start" or "no_show"';

create domain private.correction_reason as text
  check (value in ('wrong_time', 'wrong_service', 'wrong_place', 'wrong_people', 'by_mistake', 'payer_request', 'other'));
comment on domain private.correction_reason is
  'must be "wrong_time", "wrong_service", "wrong_place", "wrong_people", "by_mistake", "payer_request" or "other"';

create type private.correction_request as (
  session_id uuid,
  base_version private.record_version,
  actual_start_time private.instant,
  actual_end_time private.instant,
  other_day_reason private.reason,
  overlap_reason private.reason,
  therapist_id uuid,
  client_id uuid,
  cpt_code private.cpt_code,
  modifiers private.cpt_modifiers,
  location_type private.short_text,
  undo private.correction_undo,
  reason_code private.correction_reason,
  remark private.reason
);
comment on type private.correction_request is 'The request of correct_visit: what changes, on top of which version, and why.';

-- hold_reassignment

create domain private.handed_ids as uuid[] check (cardinality(value) between 1 and 366);
comment on domain private.handed_ids is 'must have 1 to 366 items';

create type private.reassignment_request as (
  session_ids private.handed_ids,
  therapist_id uuid,
  "from" private.instant,
  "to" private.instant,
  to_therapist_id uuid,
  on_conflict private.on_conflict,
  hold_seconds private.hold_seconds,
  override private.override_request
);
comment on type private.reassignment_request is 'The request of hold_reassignment, each field within its bounds.';

-- archive, set_credential, touched_sessions

create type private.archive_request as (
  client_id uuid,
  therapist_id uuid,
  room_id uuid,
  cancel_sessions boolean,
  reason private.reason
);
comment on type private.archive_request is 'Who or what is archived, and what becomes of its sessions to come.';

create domain private.credential as text check (value in ('RBT', 'BCaBA', 'BCBA', 'BCBA-D'));
comment on domain private.credential is 'must be "RBT", "BCaBA", "BCBA" or "BCBA-D"';

create type private.credential_request as (
  therapist_id uuid,
  credential private.credential,
  cancel_sessions boolean,
  reason private.reason
);
comment on type private.credential_request is 'A therapist''s new credential, and what becomes of what it may not render.';

create domain private.page_size as integer check (value between 1 and 500);
comment on domain private.page_size is 'must be a whole number from 1 to 500';

create type private.touched_request as (
  client_id uuid,
  therapist_id uuid,
  room_id uuid,
  after uuid,
  "limit" private.page_size
);
comment on type private.touched_request is 'Whose sessions to come are listed, and which page of them.';

create function private.base_type(type_id oid)
returns pg_catalog.pg_type
language sql
stable
set search_path = ''
begin atomic
  with recursive unwrapped as (
    select t.oid, t.typbasetype from pg_catalog.pg_type as t where t.oid = base_type.type_id
    union all
    select t.oid, t.typbasetype from unwrapped join pg_catalog.pg_type as t on t.oid = unwrapped.typbasetype
  )
  select t from pg_catalog.pg_type as t join unwrapped on unwrapped.oid = t.oid where unwrapped.typbasetype = 0;
end;
comment on function private.base_type(oid) is 'The type below the domains over it.';

create function private.json_type(type_id oid)
returns text
language sql
stable
set search_path = ''
begin atomic
  select case
    when base.typtype = 'c' then 'object'
    when base.typcategory = 'A' then 'array'
    when base.typcategory = 'N' then 'number'
    when base.typcategory = 'B' then 'boolean'
    else 'string'
  end
  from private.base_type(json_type.type_id) as base;
end;
comment on function private.json_type(oid) is 'The JSON type that a value of this type is written as.';

create function private.mistyped_fields(type_id oid, path text default '@')
returns text
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    select string_agg(found.condition, ' || ' order by field.attnum)
    from private.base_type(type_id) as base
    join pg_catalog.pg_attribute as field on field.attrelid = base.typrelid and not field.attisdropped
    cross join lateral private.base_type(field.atttypid) as of
    cross join lateral (
      select format('%s."%s"', path, field.attname) as path, private.json_type(field.atttypid) as type
    ) as at
    -- The elements of a list, else the field itself.
    cross join lateral (
      select
        case when at.type = 'array' then of.typelem else field.atttypid end as type_id,
        case when at.type = 'array' then at.path || '[*]' else at.path end as path
    ) as item
    cross join lateral (
      select concat_ws(
        ' || ',
        case when at.type = 'array' then format('%s.type() != "array"', at.path) end,
        format('%s.type() != "%s"', item.path, private.json_type(item.type_id)),
        case when item.type_id = 'pg_catalog.uuid'::regtype
          -- Postgres also reads braces, and hyphens elsewhere: what it reads, with hyphens at these places and none after
          -- them, is written as it should be. A longer expression costs more to compile, and each time it is tried.
          then format('exists(%s ? (!(@ like_regex "^.{8}-.{4}-.{4}-.{4}-[^-]*$")))', item.path) end,
        private.mistyped_fields(item.type_id, item.path)
      ) as condition
    ) as found
  );
end
$$;
comment on function private.mistyped_fields(oid, text) is
  'The part of a jsonpath that finds a field of this composite type whose JSON type is not the type''s: null for other types. '
  'jsonb_populate_record alone would take "300" for 300 and 97153 for a text.';

create function private.value_issues(path text, given jsonb, type_id oid)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
  base pg_catalog.pg_type := private.base_type(type_id);
  message constant text := coalesce(
    case when type_id <> base.oid then obj_description(type_id, 'pg_type') end,
    case
      when base.oid = 'pg_catalog.uuid'::regtype then 'must be a UUID'
      when base.typtype = 'e' then 'must be ' || (
        select string_agg(format('"%s"', label.enumlabel), ' or ' order by label.enumsortorder)
        from pg_catalog.pg_enum as label where label.enumtypid = base.oid
      )
      when private.json_type(type_id) = 'boolean' then 'must be true or false'
      else 'is not acceptable'
    end
  );
  found jsonb;
begin
  if jsonb_typeof(given) <> private.json_type(type_id) then
    return private.issue(path, case private.json_type(type_id)
      when 'array' then 'must be a list'
      when 'object' then 'must be an object'
      else message
    end);
  elsif base.typtype = 'c' then
    select jsonb_agg(issue.value order by field.attnum) into found
    from pg_catalog.pg_attribute as field
    cross join lateral jsonb_array_elements(private.value_issues(
      concat_ws('.', nullif(path, ''), field.attname), given -> field.attname, field.atttypid
    )) as issue (value)
    where field.attrelid = base.typrelid and not field.attisdropped and given -> field.attname <> 'null';
    return coalesce(found, '[]');
  elsif base.oid = 'pg_catalog.uuid'::regtype and (given #>> '{}') !~ '^.{8}-.{4}-.{4}-.{4}-.{12}$' then
    return private.issue(path, message);
  elsif base.typcategory = 'A' then
    if type_id <> base.oid and jsonb_array_length(given) > 0 then
      -- Too many items are refused before anybody looks at each of them: as many nulls break the same bound.
      begin
        execute format(
          'select array_fill(null::%s, array[%s])::%s', format_type(base.typelem, null), jsonb_array_length(given),
          format_type(type_id, null)
        );
      exception
        when check_violation then
          return private.issue(path, message);
      end;
    end if;
    select jsonb_agg(issue.value order by item.position) into found
    from jsonb_array_elements(given) with ordinality as item (value, position)
    cross join lateral jsonb_array_elements(
      private.value_issues(concat_ws('.', path, item.position - 1), item.value, base.typelem)
    ) as issue (value);
    if found is not null then
      return found;
    end if;
  end if;
  begin
    execute format(
      'select x.value from jsonb_to_record($1) as x (value %s)', format_type(type_id, null)
    ) using jsonb_build_object('value', given);
    return '[]';
  exception
    when data_exception or integrity_constraint_violation then
      return private.issue(path, message);
  end;
end
$$;
comment on function private.value_issues(text, jsonb, oid) is
  'What keeps a JSON value from being of this type, as [{path, message}]. Slow: only on the way to a 400.';

create function private.name_bad_fields(request jsonb, base anyelement, required text[] default '{}')
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  if jsonb_typeof(request) is distinct from 'object' then
    return private.issue('', 'must be a JSON object');
  end if;
  return jsonb_path_query_array(coalesce((
    select jsonb_agg(jsonb_build_object('path', missing.name, 'message', 'is required') order by missing.position)
    from unnest(required) with ordinality as missing (name, position)
    where not request ? missing.name
  ), '[]') || private.value_issues('', request, pg_typeof(base)), '$[0 to 49]');
end
$$;
comment on function private.name_bad_fields(jsonb, anyelement, text[]) is
  'The fields that keep a request from being of this type: at most 50, which is enough to mend a form.';

create function private.without_blanks(given jsonb, depth integer default 0)
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
begin
  return case
    -- Nothing that a request has lies deeper.
    when depth > 4 then given
    when jsonb_typeof(given) = 'object' then (
      select coalesce(jsonb_object_agg(field.key, private.without_blanks(field.value, depth + 1)), '{}')
      from jsonb_each(given) as field
      where jsonb_typeof(field.value) <> 'string' or private.tidy(field.value #>> '{}') is not null
    )
    when jsonb_typeof(given) = 'array' then (
      select coalesce(jsonb_agg(private.without_blanks(item.value, depth + 1) order by item.position), '[]')
      from jsonb_array_elements(given) with ordinality as item (value, position)
    )
    else given
  end;
end
$$;
comment on function private.without_blanks(jsonb, integer) is
  'A request without fields of blank text, whatever they are of: forms send an empty text for what was left empty.';

create function private.read_again(request jsonb, base anyelement, required text[])
returns anyelement
language plpgsql
stable
set search_path = ''
as $$
declare
  fewer constant jsonb := private.without_blanks(request);
begin
  if fewer <> request then
    return private.read_request(fewer, base, required);
  end if;
  perform private.raise_invalid(private.name_bad_fields(request, base, required));
end
$$;
comment on function private.read_again(jsonb, anyelement, text[]) is
  'A request that could not be read: without its blank fields, or PT400 that names what is wrong.';

create function private.make_readable(type_names text[])
returns void
language plpgsql
set search_path = ''
as $$
declare
  name text;
begin
  foreach name in array type_names loop
    execute format(
      $function$
        create or replace function private.mistyped(private.%1$I) returns jsonpath
        language plpgsql immutable set search_path = '' as $body$ begin return %2$L::jsonpath; end $body$;
        comment on function private.mistyped(private.%1$I) is %3$L;
        create or replace function private.read_request(request jsonb, base private.%1$I, required text[] default '{}')
        returns private.%1$I language plpgsql stable set search_path = '' as $body$
        begin
          begin
            request := jsonb_strip_nulls(request);
            if jsonb_typeof(request) = 'object' and request ?& required and not request @? private.mistyped(null::private.%1$I) then
              -- Not into null: then each domain would be asked about each field that is not there.
              return jsonb_populate_record(%5$L::private.%1$I, request);
            end if;
          exception
            when data_exception or integrity_constraint_violation or statement_too_complex then null;
          end;
          return private.read_again(request, base, required);
        end
        $body$;
        comment on function private.read_request(jsonb, private.%1$I, text[]) is %4$L;
      $function$,
      name, format('$ ? (%s)', private.mistyped_fields(format('private.%I', name)::regtype)),
      'Finds a field of this type whose JSON type is wrong. Made from the type.',
      'A request as the row of its type, or PT400 that names the fields: those that are out of their bounds, and the '
      'required ones that are not given.',
      (select format('(%s)', string_agg('', ',')) from pg_catalog.pg_attribute as field
        where field.attrelid = format('private.%I', name)::regclass)
    );
  end loop;
end
$$;
comment on function private.make_readable(text[]) is
  'Makes private.read_request for these types. The jsonpath of each is made once from the catalog: making it for each '
  'request would cost more than the request, and so would a look-up that is not a constant. After alter type ... add '
  'attribute it is called again.';

select private.make_readable(array[
  'hold_request', 'series_request', 'extend_request', 'confirm_request', 'release_request', 'cancel_request',
  'visit_request', 'correction_request', 'reassignment_request', 'archive_request', 'credential_request',
  'touched_request'
]);

create function private.read_hold_request(request jsonb)
returns private.hold_request
language plpgsql
stable
set search_path = ''
as $$
declare
  wanted private.hold_request := private.read_request(request, null::private.hold_request);
begin
  wanted.hold_seconds := coalesce(wanted.hold_seconds, 300);
  if wanted.cpt_code is not null then
    wanted.cpt_code := upper(private.tidy(wanted.cpt_code));
  end if;
  if wanted.session_type is not null then
    wanted.session_type := private.tidy(wanted.session_type);
  end if;
  if cardinality(wanted.client_ids) = 0 then
    wanted.client_ids := null;
  end if;
  if cardinality(wanted.occurrences) = 0 then
    wanted.occurrences := null;
  end if;
  return wanted;
end
$$;
comment on function private.read_hold_request(jsonb) is
  'Reads the body of sessions-hold, defaulted: 300 seconds, codes in upper case, blank texts and empty lists null. PT400 '
  'names every field that is out of its bounds.';

create function private.read_confirm_request(request jsonb)
returns private.confirm_request
language plpgsql
stable
set search_path = ''
as $$
declare
  wanted private.confirm_request := private.read_request(request, null::private.confirm_request);
begin
  if cardinality(wanted.occurrences) = 0 then
    wanted.occurrences := null;
  end if;
  return wanted;
end
$$;
comment on function private.read_confirm_request(jsonb) is
  'Reads the body of sessions-confirm. PT400 names every field that is out of its bounds.';

create function private.read_correction_request(request jsonb)
returns private.correction_request
language plpgsql
stable
set search_path = ''
as $$
declare
  wanted private.correction_request :=
    private.read_request(request, null::private.correction_request, '{session_id,base_version,reason_code}');
  changes constant boolean := num_nonnulls(
    wanted.actual_start_time, wanted.actual_end_time, wanted.other_day_reason, wanted.therapist_id, wanted.client_id,
    wanted.cpt_code, wanted.modifiers, wanted.location_type
  ) > 0;
begin
  perform private.require(array[
    row('remark', 'is required when reason_code is "other"',
      wanted.reason_code = 'other' and private.tidy(wanted.remark) is null),
    row('undo', 'stands alone: correct other facts in a request of their own', wanted.undo is not null and changes),
    row('', 'names nothing to correct', wanted.undo is null and not changes)
  ]::private.rule[]);
  return wanted;
end
$$;
comment on function private.read_correction_request(jsonb) is 'Reads the request of correct_visit, or PT400.';
