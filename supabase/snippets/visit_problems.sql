-- What would a payer or an auditor object to in the visits of this month and the last?
-- The SQL editor runs as the operator, who sees every clinic: name yours in the first line. Columns: docs/reports.md#visit_problems.
with parameters as (select 'Bright Path ABA' as clinic),
  clinic as (select organization.id from public.organizations as organization join parameters on parameters.clinic = organization.name)
select problem, count(*) as visits, min(service_date) as first_day, array_agg(distinct therapist_name) as therapists
from reports.visit_problems
where organization_id = (select id from clinic)
  and month >= date_trunc('month', current_date - 31)
group by problem
order by visits desc;
