-- Purpose: the months that other reports count in.
-- Objects: reports.months.
-- Watch for: a visit on another day than it was booked for may be the only one of its month.

create view reports.months
with (security_invoker = true)
as
select
  organization.id as organization_id,
  month.start::date as month,
  private.start_of_day(month.start::date, organization.time_zone) as starts_at,
  private.start_of_day((month.start + interval '1 month')::date, organization.time_zone) as ends_at
from public.organizations as organization
cross join lateral (
  select min(session.start_time) as first, max(session.start_time) as last
  from public.sessions as session
  where session.organization_id = organization.id
) as booked
cross join lateral (
  select min(visit.actual_start_time) as first, max(visit.actual_start_time) as last
  from public.session_visits as visit
  where visit.organization_id = organization.id and visit.other_day_reason is not null
) as visited
cross join lateral generate_series(
  date_trunc('month', least(booked.first, visited.first) at time zone organization.time_zone),
  greatest(booked.last, visited.last) at time zone organization.time_zone,
  interval '1 month'
) as month (start);
comment on view reports.months is
  'The months, in the organization''s zone, from its first session or visit to its last; month is the first day.';
grant select on reports.months to authenticated, service_role;
