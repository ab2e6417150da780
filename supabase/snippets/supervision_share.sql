-- Is every technician supervised enough?
-- The SQL editor runs as the operator, who sees every clinic: name yours below. Columns: docs/reports.md#supervision_share.
select month, therapist_name, direct_hours, supervised_hours, contacts, supervised_percent, is_sufficient
from reports.supervision_share
where organization_id = (select id from public.organizations where name = 'Bright Path ABA')
  and month >= date_trunc('month', current_date - 91)
order by month, therapist_name;
