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
  visit.therapist_name,
  line.client_id,
  visit.client_reference,
  line.payer_id,
  (
    select payer.name from public.payers as payer
    where payer.organization_id = month.organization_id and payer.id = line.payer_id
  ) as payer_name,
  line.cpt_code,
  visit.cpt_modifiers,
  visit.location_type,
  line.minutes,
  line.units
from reports.months as month
cross join lateral private.day_units(array(
  select service::private.rendered_service
  from private.rendered_services(
    month.organization_id, private.visits_between(month.organization_id, month.starts_at, month.ends_at)
  ) as service
)) as line
-- One row by its key, whatever the planner believes of how many there are.
cross join lateral (
  select session.* from reports.named_sessions as session
  where session.organization_id = month.organization_id and session.id = line.session_id
  offset 0
) as visit;
comment on view reports.billable_visits is
  'Attended sessions as lines of a claim: payer of the day, code, modifiers, place, whole minutes and units, rounded as '
  'that payer rounds. Where a payer rounds by the day, a visit has its share of the day''s units.';
grant select on reports.billable_visits to authenticated, service_role;
