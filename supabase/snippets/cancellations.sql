-- Which sessions were cancelled with less than a day's notice?
-- The SQL editor runs as the operator, who sees every clinic: name yours below. Columns: docs/reports.md#cancellations.
select start_time, therapist_id, client_id, cancelled_for, notice_hours, reason
from reports.cancellations
where organization_id = (select id from public.organizations where name = 'Bright Path ABA')
  and start_time >= now() - interval '91 days'
  and notice_hours < 24
order by start_time;
