-- Did every series keep its hour across the change of clocks?
-- The SQL editor runs as the operator, who sees every clinic: name yours below. Columns: docs/reports.md#series_start_times.
-- One row a series is what you want to see; two offsets in it are summer and winter.
select series_id, time_zone, local_start, sessions, utc_offsets_minutes
from reports.series_start_times
where organization_id = (select id from public.organizations where name = 'Bright Path ABA')
order by series_id, sessions desc;
