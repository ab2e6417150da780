-- Are future sessions still at the time they were booked for, in each zone? Where minutes_off is not empty, resync_zone moves them.
-- The SQL editor runs as the operator, who sees every clinic: name yours in the first line. Columns: docs/reports.md#moved_by_zone_rules.
with parameters as (select 'Bright Path ABA' as clinic),
  clinic as (select organization.id from public.organizations as organization join parameters on parameters.clinic = organization.name)
select session.time_zone, count(*) as future_sessions, count(moved.session_id) as off_their_time,
  array_agg(distinct moved.minutes_off) filter (where moved.session_id is not null) as minutes_off
from public.sessions as session
left join reports.moved_by_zone_rules as moved
  on moved.organization_id = session.organization_id and moved.session_id = session.id
where session.organization_id = (select id from clinic) and session.start_time > now() and session.status = 'scheduled'
group by session.time_zone
order by session.time_zone;
