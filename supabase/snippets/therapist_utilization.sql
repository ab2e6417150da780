-- How much of each therapist's hours is booked, in the last quarter and the weeks ahead?
-- The SQL editor runs as the operator, who sees every clinic: name yours in the first line. Columns: docs/reports.md#therapist_utilization.
with parameters as (select 'Bright Path ABA' as clinic),
  clinic as (select organization.id from public.organizations as organization join parameters on parameters.clinic = organization.name)
select week_start, therapist_name, available_hours, booked_hours, attended_hours, utilization_percent
from reports.therapist_utilization
where organization_id = (select id from clinic)
  and week_start >= current_date - 91
order by week_start, therapist_name;
