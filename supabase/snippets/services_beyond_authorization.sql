-- What was booked or rendered that no authorization covers?
-- The SQL editor runs as the operator, who sees every clinic: name yours in the first line. Columns: docs/reports.md#services_beyond_authorization.
-- One empty row: there is none.
with parameters as (select 'Bright Path ABA' as clinic),
  clinic as (select organization.id from public.organizations as organization join parameters on parameters.clinic = organization.name)
select service_date, therapist_name, client_reference, cpt_code, state, total_units, units_beyond, session_id
from clinic
left join reports.services_beyond_authorization as found on found.organization_id = clinic.id
  and found.service_date >= current_date - 91
order by service_date;
