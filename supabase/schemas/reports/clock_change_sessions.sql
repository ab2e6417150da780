-- Purpose: sessions during which the clocks changed.
-- Objects: reports.clock_change_sessions; docs/reports.md tells how to read it.

create view reports.clock_change_sessions
with (security_invoker = true)
as
select
  session.organization_id,
  session.start_time,
  session.id as session_id,
  session.therapist_name,
  session.client_reference,
  session.time_zone,
  session.start_time at time zone session.time_zone as local_start,
  session.end_time at time zone session.time_zone as local_end,
  (extract(epoch from session.end_time - session.start_time) / 60)::integer as elapsed_minutes,
  (extract(epoch from (session.end_time at time zone session.time_zone) - (session.start_time at time zone session.time_zone))
    / 60)::integer as clock_minutes
from reports.named_sessions as session
where (session.end_time at time zone session.time_zone) - (session.start_time at time zone session.time_zone)
  <> session.end_time - session.start_time;
comment on view reports.clock_change_sessions is
  'Sessions during which the clocks changed, so that the time on the wall is not the time that passed. elapsed_minutes is '
  'what is billed.';
grant select on reports.clock_change_sessions to authenticated, service_role;
