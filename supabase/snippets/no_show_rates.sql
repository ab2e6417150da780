-- Which clients often do not come?
-- The SQL editor runs as the operator, who sees every clinic: name yours in the first line. Columns: docs/reports.md#no_show_rates.
with parameters as (select 'Bright Path ABA' as clinic),
  clinic as (select organization.id from public.organizations as organization join parameters on parameters.clinic = organization.name)
select month, client_reference, due, no_shows, no_show_percent
from reports.no_show_rates
where organization_id = (select id from clinic)
  and month >= date_trunc('month', current_date - 91)
  and no_shows > 0
order by no_show_percent desc, client_reference, month;
