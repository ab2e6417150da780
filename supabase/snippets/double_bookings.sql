-- Is anybody booked twice? An empty row is the proof that nobody is.
-- The SQL editor runs as the operator, who sees every clinic: name yours in the first line. Columns: docs/reports.md#double_bookings.
with parameters as (select 'Bright Path ABA' as clinic),
  clinic as (select organization.id from public.organizations as organization join parameters on parameters.clinic = organization.name)
select local_start, resource, resource_name, session_id, other_session_id, overlap_start, overlap_end
from clinic
left join reports.double_bookings as found on found.organization_id = clinic.id
  and found.start_time >= now() - interval '91 days'
order by start_time;
