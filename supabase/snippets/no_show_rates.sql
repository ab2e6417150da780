-- Which clients often do not come?
-- The SQL editor runs as the operator, who sees every clinic: name yours below. Columns: docs/reports.md#no_show_rates.
select month, client_reference, due, no_shows, no_show_percent
from reports.no_show_rates
where organization_id = (select id from public.organizations where name = 'Bright Path ABA')
  and month >= date_trunc('month', current_date - 91)
  and no_shows > 0
order by no_show_percent desc, client_reference, month;
