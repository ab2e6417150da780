-- Purpose: how much of the hours a therapist works is booked.
-- Objects: reports.therapist_utilization; docs/reports.md tells how to read it.

create view reports.therapist_utilization
with (security_invoker = true)
as
select
  week.organization_id,
  week.week_start,
  therapist.id as therapist_id,
  therapist.display_name as therapist_name,
  hours.available as available_hours,
  booked.hours as booked_hours,
  booked.attended_hours,
  staff.hours as non_billable_hours,
  round(100 * booked.hours / nullif(hours.available, 0), 1) as utilization_percent
from reports.weeks as week
join public.therapists as therapist on therapist.organization_id = week.organization_id
cross join lateral (
  select case
    when therapist.availability_hours is not null then round(private.hours_worked(
      week.organization_id, therapist.id,
      -- Whoever was archived works no hours from then on.
      tstzrange(week.starts_at, greatest(least(week.ends_at, therapist.deleted_at), week.starts_at), '[)')
    ), 2)
  end as available
) as hours
cross join lateral (
  select
    round(coalesce(sum(visit.hours), 0), 2) as hours,
    round(coalesce(sum(visit.hours) filter (where visit.is_attended), 0), 2) as attended_hours
  from (
    -- A group is one hour of its therapist's, however many clients come.
    select
      max(extract(epoch from session.end_time - session.start_time) / 3600) as hours,
      bool_or(session.status = 'completed') as is_attended
    from public.sessions as session
    where session.organization_id = week.organization_id
      and session.therapist_id = therapist.id
      and session.start_time >= week.starts_at
      and session.start_time < week.ends_at
      and session.status not in ('cancelled', 'no_show')
    group by session.group_key
  ) as visit
) as booked
cross join lateral (
  select round(coalesce(sum(extract(epoch from taken.end_time - taken.start_time) / 3600), 0), 2) as hours
  from public.staff_times as taken
  join public.staff_time_members as member
    on member.organization_id = taken.organization_id
    and member.staff_time_id = taken.id
    and member.therapist_id = therapist.id
  where taken.organization_id = week.organization_id
    and taken.start_time >= week.starts_at
    and taken.start_time < week.ends_at
    and taken.cancelled_at is null
) as staff
where therapist.deleted_at is null
  or therapist.deleted_at > week.starts_at
  or booked.hours > 0
  or staff.hours > 0;
comment on view reports.therapist_utilization is
  'How much of the hours a therapist works is booked, how much was attended, and how much went to time without a client, '
  'which nobody pays for, week by week.';
grant select on reports.therapist_utilization to authenticated, service_role;
