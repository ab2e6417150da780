-- Purpose: which future sessions are no longer at the time they were booked for, since a zone's law has changed?
-- Objects: reports.moved_by_zone_rules; docs/reports.md tells how to read it.

create view reports.moved_by_zone_rules
with (security_invoker = true)
as
select
  session.organization_id,
  session.start_time,
  session.id as session_id,
  session.therapist_name,
  session.client_reference,
  session.time_zone,
  session.civil_start as booked_for,
  session.start_time at time zone session.time_zone as shows_now,
  (extract(epoch from (session.start_time at time zone session.time_zone) - session.civil_start) / 60)::integer as minutes_off
from reports.named_sessions as session
where session.start_time > now()
  and session.status = 'scheduled'
  and session.start_time at time zone session.time_zone <> session.civil_start
  -- A time that clocks skip is moved on by the gap, as it was when it was booked.
  and session.civil_start at time zone session.time_zone <> session.start_time;
comment on view reports.moved_by_zone_rules is
  'Future sessions whose clocks no longer show the civil time they were booked for: the law of their zone has changed since. '
  'resync_zone moves them back.';
grant select on reports.moved_by_zone_rules to authenticated, service_role;
