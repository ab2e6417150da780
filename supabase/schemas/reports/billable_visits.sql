-- Purpose: attended visits as lines of a claim.
-- Objects: reports.billable_visits; docs/reports.md tells how to read it.

create view reports.billable_visits
with (security_invoker = true)
as
select
  month.organization_id,
  month.month,
  line.service_date,
  line.session_id,
  line.therapist_id,
  line.client_id,
  line.payer_id,
  line.cpt_code,
  line.minutes,
  line.units
from reports.months as month
cross join lateral private.day_units(array(
  select row(
    service.session_id, service.client_id, service.therapist_id, service.service_date, service.payer_id,
    service.cpt_code, service.start_time, service.minutes, service.rounding, service.unit_minutes
  )::private.rendered_service
  from reports.rendered_services as service
  where service.organization_id = month.organization_id
    and service.start_time >= month.starts_at
    and service.start_time < month.ends_at
)) as line;
comment on view reports.billable_visits is
  'Attended sessions as lines of a claim: payer of the day, code, whole minutes and units, rounded as that payer rounds. '
  'Where a payer rounds by the day, a visit has its share of the day''s units.';
grant select on reports.billable_visits to authenticated, service_role;
