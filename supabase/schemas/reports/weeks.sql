-- Purpose: the weeks that other reports count in.
-- Objects: reports.weeks.
-- Watch for: every report is security_invoker and leads with organization_id, so a reader sees what the tables' policies
--            let them see: an admin their organization, a therapist their own, the operator (postgres) everybody's. Weeks
--            and months are the organization's, and come from a calendar joined to the data by instants: a filter on
--            week_start or month reads that span by index, not the table.

create view reports.weeks
with (security_invoker = true)
as
select
  organization.id as organization_id,
  week.start::date as week_start,
  private.start_of_day(week.start::date, organization.time_zone) as starts_at,
  private.start_of_day(week.start::date + 7, organization.time_zone) as ends_at
from public.organizations as organization
cross join lateral (
  select min(session.start_time) as first, max(session.start_time) as last
  from public.sessions as session
  where session.organization_id = organization.id
) as booked
cross join lateral (
  select min(taken.start_time) as first, max(taken.start_time) as last
  from public.staff_times as taken
  where taken.organization_id = organization.id
) as staff
cross join lateral generate_series(
  date_trunc('week', least(booked.first, staff.first) at time zone organization.time_zone),
  greatest(booked.last, staff.last) at time zone organization.time_zone,
  interval '1 week'
) as week (start);
comment on view reports.weeks is
  'The weeks, Monday to Sunday in the organization''s zone, from its first session or staff time to its last.';
grant select on reports.weeks to authenticated, service_role;
