-- Which booked sessions could not be booked any more as things stand now? A cause with 0 sessions: none for that.
-- The SQL editor runs as the operator, who sees every clinic: name yours in the first line. Columns: docs/reports.md#schedule_problems.
with parameters as (select 'Bright Path ABA' as clinic),
  clinic as (select organization.id from public.organizations as organization join parameters on parameters.clinic = organization.name)
select cause.problem, count(found.session_id) as sessions, min(found.local_start) as first,
  array_agg(distinct found.therapist_name) filter (where found.session_id is not null) as therapists
from clinic
cross join unnest(array[
  'client_archived', 'therapist_archived', 'therapist_left', 'room_archived', 'closure', 'time_off', 'outside_hours',
  'not_renderable', 'code_ended', 'no_coverage', 'not_authorized', 'over_limit', 'off_caseload'
]) with ordinality as cause (problem, position)
left join reports.schedule_problems as found
  on found.organization_id = clinic.id and found.problem = cause.problem
group by cause.position, cause.problem
order by cause.position;
