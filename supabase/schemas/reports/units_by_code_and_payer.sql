-- Purpose: how many units are to be billed, by month, payer and code.
-- Objects: reports.units_by_code_and_payer; docs/reports.md tells how to read it.

create view reports.units_by_code_and_payer
with (security_invoker = true)
as
select
  visit.organization_id,
  visit.month,
  visit.payer_name,
  visit.cpt_code,
  count(*)::integer as sessions,
  sum(visit.minutes)::integer as minutes,
  sum(visit.units)::integer as units
from reports.billable_visits as visit
group by visit.organization_id, visit.month, visit.payer_id, visit.payer_name, visit.cpt_code;
comment on view reports.units_by_code_and_payer is
  'Attended sessions as units to be billed, by the actual times where they are known, rounded as each payer rounds on the '
  'day of service. payer_name is null for clients without a coverage.';
grant select on reports.units_by_code_and_payer to authenticated, service_role;
