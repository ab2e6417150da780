-- How much of each therapist's hours is booked, in the last quarter and the weeks ahead?
-- The SQL editor runs as the operator, who sees every clinic: name yours below. Columns: docs/reports.md#therapist_utilization.
select week_start, therapist_name, available_hours, booked_hours, attended_hours, utilization_percent
from reports.therapist_utilization
where organization_id = (select id from public.organizations where name = 'Bright Path ABA')
  and week_start >= current_date - 91
order by week_start, therapist_name;
