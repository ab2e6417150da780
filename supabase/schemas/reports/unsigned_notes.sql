-- Purpose: sessions that are over and have no signed note.
-- Objects: reports.unsigned_notes; docs/reports.md tells how to read it.

create view reports.unsigned_notes
with (security_invoker = true)
as
select
  session.organization_id,
  session.start_time,
  session.start_time at time zone organization.time_zone as local_start,
  session.id as session_id,
  session.therapist_id,
  therapist.display_name as therapist_name,
  session.client_id,
  client.reference as client_reference,
  session.status as session_status,
  coalesce(note.status, 'none') as note_status,
  greatest(0, floor(extract(epoch from now() - session.end_time) / 86400))::integer as days_overdue
from public.sessions as session
join public.organizations as organization on organization.id = session.organization_id
left join public.clients as client on client.organization_id = session.organization_id and client.id = session.client_id
join public.therapists as therapist
  on therapist.organization_id = session.organization_id and therapist.id = session.therapist_id
left join public.session_note_states as note
  on note.organization_id = session.organization_id and note.session_id = session.id
where session.end_time < now()
  and session.status in ('scheduled', 'in_progress', 'completed')
  and coalesce(note.status, 'none') not in ('signed', 'amended');
comment on view reports.unsigned_notes is
  'Sessions whose time is over and whose note is missing or not signed, with the days since.';
grant select on reports.unsigned_notes to authenticated, service_role;
