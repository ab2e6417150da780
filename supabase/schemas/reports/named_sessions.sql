-- Purpose: sessions with the names that reports show beside their ids.
-- Objects: reports.named_sessions.
-- Watch for: a name is null for a reader who may not read its row: parents read no therapist.

create view reports.named_sessions
with (security_invoker = true)
as
select
  session.*,
  session.start_time at time zone organization.time_zone as local_start,
  therapist.display_name as therapist_name,
  client.reference as client_reference
from public.sessions as session
join public.organizations as organization on organization.id = session.organization_id
left join public.therapists as therapist
  on therapist.organization_id = session.organization_id and therapist.id = session.therapist_id
left join public.clients as client on client.organization_id = session.organization_id and client.id = session.client_id;
comment on view reports.named_sessions is
  'Sessions with the name of their therapist, the reference of their client and their start on the clocks of the clinic.';
grant select on reports.named_sessions to authenticated, service_role;
