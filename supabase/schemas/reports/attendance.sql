-- Purpose: what became of the sessions that were booked.
-- Objects: reports.attendance; docs/reports.md tells how to read it.

create view reports.attendance
with (security_invoker = true)
as
select
  month.organization_id,
  month.month,
  therapist.id as therapist_id,
  therapist.display_name as therapist_name,
  counted.*
from reports.months as month
join public.therapists as therapist on therapist.organization_id = month.organization_id
cross join lateral (
  select
    count(*)::integer as booked,
    (count(*) filter (where session.status = 'completed'))::integer as attended,
    (count(*) filter (where session.status in ('scheduled', 'in_progress')))::integer as open,
    (count(*) filter (where session.status = 'no_show'))::integer as no_shows,
    (count(*) filter (where session.status = 'cancelled'))::integer as cancelled,
    (count(*) filter (where cancellation.attribution = 'client'))::integer as cancelled_by_client,
    (count(*) filter (
      where cancellation.attribution = 'staff' and cancellation.cancelled_by = session.therapist_id
    ))::integer as cancelled_by_therapist,
    (count(*) filter (
      where cancellation.attribution = 'staff' and cancellation.cancelled_by is distinct from session.therapist_id
    ))::integer as cancelled_by_clinic,
    (count(*) filter (where cancellation.attribution = 'unknown'))::integer as cancelled_by_unknown,
    (count(*) filter (
      where cancellation.cancelled_at > session.start_time - interval '24 hours'
    ))::integer as cancelled_late
  from public.sessions as session
  left join public.session_cancellations as cancellation
    on cancellation.organization_id = session.organization_id
    and cancellation.session_id = session.id
    and session.status = 'cancelled'
  where session.organization_id = month.organization_id
    and session.therapist_id = therapist.id
    and session.start_time >= month.starts_at
    and session.start_time < month.ends_at
) as counted
where counted.booked > 0;
comment on view reports.attendance is
  'What became of the sessions that were booked: attended, missed, cancelled by whom, late (less than 24 hours'' notice).';
grant select on reports.attendance to authenticated, service_role;
