-- How many holds become sessions, day by day?
-- The SQL editor runs as the operator, who sees every clinic: name yours below. Columns: docs/reports.md#hold_funnel.
select day, held, confirmed, released, expired, live, refused_requests, confirmed_percent
from reports.hold_funnel
where organization_id = (select id from public.organizations where name = 'Bright Path ABA')
  and day >= current_date - 30
order by day;
