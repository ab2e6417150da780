-- Which sessions ran over a change of clocks, and are they as long as they should be?
-- The SQL editor runs as the operator, who sees every clinic: name yours below. Columns: docs/reports.md#clock_change_sessions.
select local_start, local_end, time_zone, elapsed_minutes, clock_minutes, session_id
from reports.clock_change_sessions
where organization_id = (select id from public.organizations where name = 'Bright Path ABA')
  and start_time >= now() - interval '2 years'
order by start_time;
