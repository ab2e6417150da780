-- Purpose: billable units: whole minutes, and how a payer rounds them.
-- Objects: unit_rounding; private.billable_minutes, private.billable_units, private.day_units.
-- Watch for: seconds are cut once, by private.billable_minutes, before anything is rounded. The functions here are pure
--            arithmetic and the same as units.ts. A booking asks for units by itself (private.billable_units); what was
--            rendered is rounded by the day where the payer says so (private.day_units). Nothing else rounds.

create type public.unit_rounding as enum ('midpoint', 'midpoint_daily', 'floor', 'ceil', 'cms_pooled');
comment on type public.unit_rounding is
  'How a payer rounds minutes to units. midpoint: each visit by itself, from the 8th minute of a 15-minute unit on; '
  'midpoint_daily: the minutes of one client, provider, code and day together, then midpoint; floor: only whole units; '
  'ceil: every begun unit; cms_pooled: the minutes of all codes of one client, provider and day together.';

create function private.billable_minutes(start_time timestamptz, end_time timestamptz)
returns integer
language plpgsql
immutable
set search_path = ''
as $$
begin
  -- Both numeric: a connection's first call finds that operator at once, and searches all of "/" for a mixed one.
  return floor(extract(epoch from end_time - start_time) / 60::numeric);
end
$$;
comment on function private.billable_minutes(timestamptz, timestamptz) is
  'The whole minutes between two instants: seconds are cut, never rounded.';

create function private.billable_units(
  minutes numeric,
  rounding public.unit_rounding default 'midpoint',
  unit_minutes integer default 15
)
returns integer
language plpgsql
immutable
set search_path = ''
as $$
declare
  whole constant integer := floor(minutes);
begin
  -- As text: a connection's first call finds its "=" at once, and searches all of them for an enum's.
  return case rounding::text
    when 'floor' then whole / unit_minutes
    when 'ceil' then (whole + unit_minutes - 1) / unit_minutes
    else (whole + (unit_minutes - 1) / 2) / unit_minutes
  end;
end
$$;
comment on function private.billable_units(numeric, public.unit_rounding, integer) is
  'The units of one service''s minutes, as the only one of its day. Begun minutes do not count. The same as billableUnits '
  'in units.ts, by one table of cases.';

create type private.rendered_service as (
  session_id uuid,
  client_id uuid,
  therapist_id uuid,
  service_date date,
  payer_id uuid,
  cpt_code text,
  start_time timestamptz,
  minutes integer,
  rounding public.unit_rounding,
  unit_minutes integer
);
comment on type private.rendered_service is
  'One client''s service as it was rendered: whole minutes, and how the payer of that day rounds them.';

create function private.day_units(services private.rendered_service[])
returns table (
  session_id uuid,
  client_id uuid,
  therapist_id uuid,
  service_date date,
  payer_id uuid,
  cpt_code text,
  minutes integer,
  units integer
)
language sql
immutable
set search_path = ''
begin atomic
  with service as (
    select
      item.*,
      -- Only a payer's 15-minute codes are pooled: the rule is of those.
      item.rounding = 'cms_pooled' and item.unit_minutes = 15 as is_pooled,
      sum(item.minutes) over (
        partition by item.client_id, item.therapist_id, item.service_date, item.cpt_code, item.rounding, item.unit_minutes
        order by item.start_time, item.session_id
        rows unbounded preceding
      ) as minutes_so_far
    from unnest(day_units.services) as item
  ),
  pooled as (
    select
      code.*,
      code.minutes / 15 + case
        when row_number() over (
          partition by code.client_id, code.therapist_id, code.service_date
          order by code.minutes % 15 desc, code.first_start, code.cpt_code collate "C"
        ) <= private.billable_units(sum(code.minutes) over of_day) - sum(code.minutes / 15) over of_day
        then 1
        else 0
      end as units
    from (
      select
        service.client_id, service.therapist_id, service.service_date, service.cpt_code,
        sum(service.minutes)::integer as minutes, min(service.start_time) as first_start
      from service
      where service.is_pooled
      group by service.client_id, service.therapist_id, service.service_date, service.cpt_code
    ) as code
    window of_day as (partition by code.client_id, code.therapist_id, code.service_date)
  )
  select
    service.session_id, service.client_id, service.therapist_id, service.service_date, service.payer_id,
    service.cpt_code, service.minutes,
    -- What the visit adds to the visits of its code before it that day.
    case
      when service.is_pooled then
        case
          when service.minutes_so_far = pooled.minutes then pooled.units
          else least(pooled.units, private.billable_units(service.minutes_so_far))
        end
        - case
          when service.minutes_so_far - service.minutes = pooled.minutes then pooled.units
          else least(pooled.units, private.billable_units(service.minutes_so_far - service.minutes))
        end
      when service.rounding = 'midpoint_daily' then
        private.billable_units(service.minutes_so_far, service.rounding, service.unit_minutes)
        - private.billable_units(service.minutes_so_far - service.minutes, service.rounding, service.unit_minutes)
      else private.billable_units(service.minutes, service.rounding, service.unit_minutes)
    end
  from service
  left join pooled
    on service.is_pooled
    and pooled.client_id = service.client_id
    and pooled.therapist_id = service.therapist_id
    and pooled.service_date = service.service_date
    and pooled.cpt_code = service.cpt_code;
end;
comment on function private.day_units(private.rendered_service[]) is
  'The units of each rendered service: by itself, or, for midpoint_daily and cms_pooled, its share of the day''s, so that '
  'the shares add up to the day''s units. Give it whole days. Pooled as CMS says (Medicare Claims Processing Manual, '
  'chapter 5, section 20.2): all minutes rounded once, each code gets its whole units, what is left goes to those with '
  'the most minutes over, then to the earliest. The same as dayUnits in units.ts.';

grant execute on function
  private.billable_units(numeric, public.unit_rounding, integer),
  private.day_units(private.rendered_service[])
to authenticated, service_role;
