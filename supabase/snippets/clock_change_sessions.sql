-- Which sessions ran over a change of clocks, and are they as long as they should be?
-- The SQL editor runs as the operator, who sees every clinic: name yours in the first line. Columns: docs/reports.md#clock_change_sessions.
-- One empty row: there is none.
with parameters as (select 'Bright Path ABA' as clinic),
  clinic as (select organization.id from public.organizations as organization join parameters on parameters.clinic = organization.name)
select local_start, local_end, time_zone, therapist_name, client_reference, elapsed_minutes, clock_minutes, session_id
from clinic
left join reports.clock_change_sessions as found on found.organization_id = clinic.id
  and found.start_time >= now() - interval '2 years'
order by start_time;
