-- Purpose: sessions that are over and have no signed note.
-- Objects: reports.unsigned_notes; docs/reports.md tells how to read it.

create view reports.unsigned_notes
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
  session.status as session_status,
  coalesce(note.status, 'none') as note_status,
  greatest(0, floor(extract(epoch from now() - session.end_time) / 86400))::integer as days_overdue
from reports.named_sessions as session
left join public.session_note_states as note
  on note.organization_id = session.organization_id and note.session_id = session.id
where session.end_time < now()
  -- Not for parents.
  and session.therapist_name is not null
  and session.status in ('scheduled', 'in_progress', 'completed')
  and coalesce(note.status, 'none') not in ('signed', 'amended');
comment on view reports.unsigned_notes is
  'Sessions whose time is over and whose note is missing or not signed, with the days since.';
grant select on reports.unsigned_notes to authenticated, service_role;
