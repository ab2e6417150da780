-- Which sessions were cancelled with less than a day's notice?
-- The SQL editor runs as the operator, who sees every clinic: name yours in the first line. Columns: docs/reports.md#cancellations.
with parameters as (select 'Bright Path ABA' as clinic),
  clinic as (select organization.id from public.organizations as organization join parameters on parameters.clinic = organization.name)
select local_start, therapist_name, client_reference, cancelled_for, notice_hours, reason
from reports.cancellations
where organization_id = (select id from clinic)
  and start_time >= now() - interval '91 days'
  and notice_hours < 24
order by start_time;
