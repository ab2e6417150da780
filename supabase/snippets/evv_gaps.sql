-- Which completed visits lack an element of electronic visit verification?
-- The SQL editor runs as the operator, who sees every clinic: name yours in the first line. Columns: docs/reports.md#evv_gaps.
-- One empty row: there is none.
with parameters as (select 'Bright Path ABA' as clinic),
  clinic as (select organization.id from public.organizations as organization join parameters on parameters.clinic = organization.name)
select service_date, therapist_name, client_reference, payer_name, missing, session_id
from clinic
left join reports.evv_gaps as found on found.organization_id = clinic.id
  and found.month >= date_trunc('month', current_date - 31)
order by service_date, therapist_name;
