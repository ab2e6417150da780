-- Purpose: did a series keep its hour when the clocks changed?
-- Objects: reports.series_start_times; docs/reports.md tells how to read it.

create view reports.series_start_times
with (security_invoker = true)
as
select
  session.organization_id,
  session.series_id,
  min(session.therapist_name) as therapist_name,
  min(session.client_reference) as client_reference,
  session.time_zone,
  (session.start_time at time zone session.time_zone)::time as local_start,
  count(*)::integer as sessions,
  array_agg(distinct (extract(epoch from
    (session.start_time at time zone session.time_zone) - (session.start_time at time zone 'UTC')) / 60)::integer)
    as utc_offsets_minutes
from reports.named_sessions as session
where session.series_id is not null
group by session.organization_id, session.series_id, session.time_zone,
  (session.start_time at time zone session.time_zone)::time;
comment on view reports.series_start_times is
  'The local times at which a series starts: one row for a series that kept its hour, with two offsets where it crossed a '
  'change of clocks. A second row is an occurrence that was moved.';
grant select on reports.series_start_times to authenticated, service_role;
