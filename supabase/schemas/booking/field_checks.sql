-- Purpose: checks of single fields, for the RPCs that read their requests field by field.
-- Objects: uuid_issue, text_issue, integer_issue, instant_issue, zone_issue.
-- Watch for: the booking requests do not use these; they are typed rows (request_types.sql).

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
