-- What is booked under a code that will have ended by then?
-- The SQL editor runs as the operator, who sees every clinic: name yours below. Columns: docs/reports.md#sessions_to_recode.
select service_date, therapist_name, client_reference, cpt_code, code_ended_on, session_id
from reports.sessions_to_recode
where organization_id = (select id from public.organizations where name = 'Bright Path ABA')
order by service_date;
