-- What became of the sessions that were booked, by therapist and month?
-- The SQL editor runs as the operator, who sees every clinic: name yours in the first line. Columns: docs/reports.md#attendance.
with parameters as (select 'Bright Path ABA' as clinic),
  clinic as (select organization.id from public.organizations as organization join parameters on parameters.clinic = organization.name)
select month, therapist_name, booked, attended, open, no_shows, cancelled_by_client, cancelled_by_therapist, cancelled_by_clinic,
  cancelled_by_unknown, cancelled_late
from reports.attendance
where organization_id = (select id from clinic)
  and month >= date_trunc('month', current_date - 91)
order by month, therapist_name;
