-- Which lines stand on this month's claims?
-- The SQL editor runs as the operator, who sees every clinic: name yours below. Columns: docs/reports.md#billable_visits.
select service_date, client_id, therapist_id, cpt_code, minutes, units
from reports.billable_visits
where organization_id = (select id from public.organizations where name = 'Bright Path ABA')
  and month = date_trunc('month', current_date)
order by service_date, client_id;
