-- Is every technician supervised enough?
-- The SQL editor runs as the operator, who sees every clinic: name yours in the first line. Columns: docs/reports.md#supervision_share.
with parameters as (select 'Bright Path ABA' as clinic),
  clinic as (select organization.id from public.organizations as organization join parameters on parameters.clinic = organization.name)
select month, therapist_name, direct_hours, supervised_hours, contacts, observed_contacts, individual_contacts, supervised_percent,
  is_sufficient
from reports.supervision_share
where organization_id = (select id from clinic)
  and month >= date_trunc('month', current_date - 91)
order by month, therapist_name;
