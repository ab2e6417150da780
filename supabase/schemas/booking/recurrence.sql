-- Purpose: which days a recurrence rule means, for a series that goes on after it was booked.
-- Objects: rule_days, is_excepted.
-- Watch for: a new series is expanded by whoever calls the database (`functions/_shared/recurrence.ts`), which also refuses
--            rules it does not know. A property test compares the days of both.

create function private.rule_days(rule text, first_day date, span daterange)
returns date[]
language plpgsql
immutable
set search_path = ''
as $$
declare
  weekdays constant text[] := '{MO,TU,WE,TH,FR,SA,SU}';
  line constant text := regexp_replace(upper(regexp_replace(rule, '\s', '', 'g')), '^RRULE:', '');
  parts constant jsonb := (
    select jsonb_object_agg(split_part(piece.text, '=', 1), split_part(piece.text, '=', 2))
    from string_to_table(line, ';') as piece (text)
    where piece.text <> ''
  );
  frequency constant text := parts ->> 'FREQ';
  step integer;
  week_start constant integer := array_position(weekdays, coalesce(parts ->> 'WKST', 'MO'));
  by_day text[] := string_to_array(parts ->> 'BYDAY', ',');
  by_month_day integer[];
begin
  -- Here, where what is no number is caught.
  step := coalesce((parts ->> 'INTERVAL')::integer, 1);
  by_month_day := string_to_array(parts ->> 'BYMONTHDAY', ',')::integer[];
  if (frequency in ('DAILY', 'WEEKLY', 'MONTHLY') and step > 0 and week_start > 0) is not true
    -- A part that is not followed, such as BYSETPOS, would mean other days.
    or parts - array['FREQ', 'INTERVAL', 'BYDAY', 'BYMONTHDAY', 'COUNT', 'UNTIL', 'WKST'] <> '{}'
    or (frequency = 'WEEKLY' and by_month_day is not null)
  then
    return null;
  end if;
  -- What the rule does not say comes from the first day (RFC 5545, section 3.3.10).
  if frequency = 'WEEKLY' and by_day is null then
    by_day := array[weekdays[extract(isodow from first_day)::integer]];
  elsif frequency = 'MONTHLY' and by_day is null and by_month_day is null then
    by_month_day := array[extract(day from first_day)::integer];
  end if;
  return array(
    select day.date
    from generate_series(lower(span)::timestamp, (upper(span) - 1)::timestamp, interval '1 day') as moment (at)
    cross join lateral (
      select
        moment.at::date as date,
        extract(day from moment.at)::integer as from_start,
        extract(day from moment.at)::integer
          - extract(day from date_trunc('month', moment.at) + interval '1 month' - interval '1 day')::integer - 1 as from_end,
        weekdays[extract(isodow from moment.at)::integer] as weekday
    ) as day
    where day.date >= first_day
      and case frequency
        when 'DAILY' then (day.date - first_day) % step = 0
        -- 3 January 2000 was a Monday.
        when 'WEEKLY' then (
          floor((day.date - date '2000-01-03' - (week_start - 1)) / 7.0)
          - floor((first_day - date '2000-01-03' - (week_start - 1)) / 7.0)
        )::integer % step = 0
        else (
          (extract(year from day.date) - extract(year from first_day)) * 12
          + extract(month from day.date) - extract(month from first_day)
        )::integer % step = 0
      end
      and (by_month_day is null or day.from_start = any (by_month_day) or day.from_end = any (by_month_day))
      and (by_day is null or exists (
        select from unnest(by_day) as by (text)
        where right(by.text, 2) = day.weekday
          and coalesce(nullif(left(by.text, -2), '')::integer, 0)
            in (0, ceil(day.from_start / 7.0)::integer, -ceil(-day.from_end / 7.0)::integer)
      ))
    order by day.date
  );
exception
  when data_exception then
    return null;
end
$$;
comment on function private.rule_days(text, date, daterange) is
  'The days of a span that a rule means when it began on first_day; its COUNT and UNTIL are not looked at. Null: it is no '
  'rule of DAILY, WEEKLY or MONTHLY that can be read.';

create function private.is_excepted(exceptions jsonb, civil timestamp, zone text)
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  return exists (
    select from jsonb_array_elements_text(exceptions) as item (value)
    cross join lateral (select btrim(item.value) as text) as exception
    where case
      when exception.text ~ '^\d{4}-?\d\d-?\d\d$' then exception.text::date = civil::date
      -- A start that the clocks moved may be named by the rule's time or by the time it was moved to.
      when exception.text ~* '^[-\d]+t[\d:.]+$'
        then exception.text::timestamp in (civil, private.instant_at(civil, zone) at time zone zone)
      else exception.text::timestamptz = private.instant_at(civil, zone)
    end
  );
exception
  when data_exception then
    return false;
end
$$;
comment on function private.is_excepted(jsonb, timestamp, text) is
  'Whether the exceptions of a recurrence (dates, local times, instants) leave out a civil start.';
