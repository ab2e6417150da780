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
  week.start at time zone organization.time_zone as starts_at,
  (week.start + interval '7 days') at time zone organization.time_zone as ends_at
from public.organizations as organization
cross join lateral (
  select
    least(
      (
        select session.start_time
        from public.sessions as session
        where session.organization_id = organization.id
        order by session.start_time
        limit 1
      ),
      (
        select taken.start_time
        from public.staff_times as taken
        where taken.organization_id = organization.id
        order by taken.start_time
        limit 1
      )
    ) as first,
    greatest(
      (
        select session.start_time
        from public.sessions as session
        where session.organization_id = organization.id
        order by session.start_time desc
        limit 1
      ),
      (
        select taken.start_time
        from public.staff_times as taken
        where taken.organization_id = organization.id
        order by taken.start_time desc
        limit 1
      )
    ) as last
) as booked
cross join lateral generate_series(
  date_trunc('week', booked.first at time zone organization.time_zone),
  booked.last at time zone organization.time_zone,
  interval '1 week'
) as week (start);
comment on view reports.weeks is
  'The weeks, Monday to Sunday in the organization''s zone, from its first session or staff time to its last.';
grant select on reports.weeks to authenticated, service_role;
