-- Purpose: the months that other reports count in.
-- Objects: reports.months.
-- Watch for: a visit on another day than it was booked for may be the only one of its month.

create view reports.months
with (security_invoker = true)
as
select
  organization.id as organization_id,
  month.start::date as month,
  month.start at time zone organization.time_zone as starts_at,
  (month.start + interval '1 month') at time zone organization.time_zone as ends_at
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
        select visit.actual_start_time
        from public.session_visits as visit
        where visit.organization_id = organization.id and visit.other_day_reason is not null
        order by visit.actual_start_time
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
        select visit.actual_start_time
        from public.session_visits as visit
        where visit.organization_id = organization.id and visit.other_day_reason is not null
        order by visit.actual_start_time desc
        limit 1
      )
    ) as last
) as begun
cross join lateral generate_series(
  date_trunc('month', begun.first at time zone organization.time_zone),
  begun.last at time zone organization.time_zone,
  interval '1 month'
) as month (start);
comment on view reports.months is
  'The months, in the organization''s zone, from its first session or visit to its last; month is the first day.';
grant select on reports.months to authenticated, service_role;
