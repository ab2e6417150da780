-- Purpose: each cancelled session, and how much notice was given.
-- Objects: reports.cancellations; docs/reports.md tells how to read it.

create view reports.cancellations
with (security_invoker = true)
as
select
  session.organization_id,
  session.start_time,
  session.local_start,
  session.id as session_id,
  session.therapist_id,
  session.therapist_name,
  session.client_id,
  session.client_reference,
  case
    when cancellation.attribution = 'client' then 'client'
    when cancellation.attribution = 'staff' and cancellation.cancelled_by = session.therapist_id then 'therapist'
    when cancellation.attribution = 'staff' then 'clinic'
    else 'unknown'
  end as cancelled_for,
  cancellation.cancelled_at,
  cancellation.cancelled_by,
  round((extract(epoch from session.start_time - cancellation.cancelled_at) / 3600)::numeric, 1) as notice_hours,
  cancellation.reason
from reports.named_sessions as session
join public.session_cancellations as cancellation
  on cancellation.organization_id = session.organization_id and cancellation.session_id = session.id
where session.status = 'cancelled';
comment on view reports.cancellations is
  'Each cancelled session: on whose side, by whom, with how many hours'' notice (negative: after its start), and why.';
grant select on reports.cancellations to authenticated, service_role;
