-- What is over and cannot be billed yet, and why?
-- The SQL editor runs as the operator, who sees every clinic: name yours in the first line. Columns: docs/reports.md#unbilled.
with parameters as (select 'Bright Path ABA' as clinic),
  clinic as (select organization.id from public.organizations as organization join parameters on parameters.clinic = organization.name)
select service_date, therapist_name, client_reference, reasons, days_waiting, session_id
from reports.unbilled
where organization_id = (select id from clinic)
  and month >= date_trunc('month', current_date - 31)
order by days_waiting desc, therapist_name;
