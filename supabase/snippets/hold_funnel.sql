-- How many holds become sessions, day by day?
-- The SQL editor runs as the operator, who sees every clinic: name yours in the first line. Columns: docs/reports.md#hold_funnel.
-- One empty row: nothing was held.
with parameters as (select 'Bright Path ABA' as clinic),
  clinic as (select organization.id from public.organizations as organization join parameters on parameters.clinic = organization.name)
select day, held, confirmed, released, expired, live, refused_requests, confirmed_percent
from clinic
left join reports.hold_funnel as found on found.organization_id = clinic.id
  and found.day >= current_date - 30
order by day;
