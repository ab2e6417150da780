-- Which lines stand on this month's claims?
-- The SQL editor runs as the operator, who sees every clinic: name yours in the first line. Columns: docs/reports.md#billable_visits.
with parameters as (select 'Bright Path ABA' as clinic),
  clinic as (select organization.id from public.organizations as organization join parameters on parameters.clinic = organization.name)
select service_date, client_reference, therapist_name, payer_name, cpt_code, cpt_modifiers, location_type, minutes, units
from reports.billable_visits
where organization_id = (select id from clinic)
  and month = date_trunc('month', current_date)
order by service_date, client_reference, cpt_code;
