-- Whose notes are missing or not signed?
-- The SQL editor runs as the operator, who sees every clinic: name yours below. Columns: docs/reports.md#unsigned_notes.
select therapist_name, count(*) as sessions, max(days_overdue) as oldest_days
from reports.unsigned_notes
where organization_id = (select id from public.organizations where name = 'Bright Path ABA')
  and start_time >= now() - interval '91 days'
group by therapist_name
order by oldest_days desc;
