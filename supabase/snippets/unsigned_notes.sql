-- Whose notes are missing or not signed?
-- The SQL editor runs as the operator, who sees every clinic: name yours in the first line. Columns: docs/reports.md#unsigned_notes.
with parameters as (select 'Bright Path ABA' as clinic),
  clinic as (select organization.id from public.organizations as organization join parameters on parameters.clinic = organization.name)
select therapist_name, count(*) as sessions, min(local_start) as oldest, max(days_overdue) as oldest_days
from reports.unsigned_notes
where organization_id = (select id from clinic)
  and start_time >= now() - interval '91 days'
group by therapist_name
order by oldest_days desc;
