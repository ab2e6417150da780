-- Which completed visits lack an element of electronic visit verification?
-- The SQL editor runs as the operator, who sees every clinic: name yours in the first line. Columns: docs/reports.md#evv_gaps.
with parameters as (select 'Bright Path ABA' as clinic),
  clinic as (select organization.id from public.organizations as organization join parameters on parameters.clinic = organization.name)
select service_date, therapist_name, client_reference, payer_name, missing, session_id
from reports.evv_gaps
where organization_id = (select id from clinic)
  and month >= date_trunc('month', current_date - 31)
order by service_date, therapist_name;
