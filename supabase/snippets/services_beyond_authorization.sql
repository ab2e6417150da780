-- What was booked or rendered that no authorization covers?
-- The SQL editor runs as the operator, who sees every clinic: name yours below. Columns: docs/reports.md#services_beyond_authorization.
select service_date, session_id, client_id, cpt_code, state, total_units, units_beyond
from reports.services_beyond_authorization
where organization_id = (select id from public.organizations where name = 'Bright Path ABA')
  and service_date >= current_date - 91
order by service_date;
