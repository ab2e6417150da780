-- Did every series keep its hour across the change of clocks? One row a series is what you want to see.
-- The SQL editor runs as the operator, who sees every clinic: name yours in the first line. Columns: docs/reports.md#series_start_times.
with parameters as (select 'Bright Path ABA' as clinic),
  clinic as (select organization.id from public.organizations as organization join parameters on parameters.clinic = organization.name)
select series_id, therapist_name, client_reference, time_zone, local_start, sessions, utc_offsets_minutes
from reports.series_start_times
where organization_id = (select id from clinic)
order by series_id, sessions desc;
