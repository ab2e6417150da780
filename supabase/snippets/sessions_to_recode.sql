-- What is booked under a code that will have ended by then?
-- The SQL editor runs as the operator, who sees every clinic: name yours in the first line. Columns: docs/reports.md#sessions_to_recode.
with parameters as (select 'Bright Path ABA' as clinic),
  clinic as (select organization.id from public.organizations as organization join parameters on parameters.clinic = organization.name)
select service_date, therapist_name, client_reference, cpt_code, code_ended_on, session_id
from reports.sessions_to_recode
where organization_id = (select id from clinic)
order by service_date;
