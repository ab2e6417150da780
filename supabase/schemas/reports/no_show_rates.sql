-- Purpose: how often a client did not come.
-- Objects: reports.no_show_rates; docs/reports.md tells how to read it.

create view reports.no_show_rates
with (security_invoker = true)
as
select
  month.organization_id,
  month.month,
  client.id as client_id,
  client.reference as client_reference,
  counted.due,
  counted.no_shows,
  round(100.0 * counted.no_shows / counted.due, 1) as no_show_percent
from reports.months as month
join public.clients as client on client.organization_id = month.organization_id
cross join lateral (
  select
    count(*)::integer as due,
    (count(*) filter (where session.status = 'no_show'))::integer as no_shows
  from public.sessions as session
  where session.organization_id = month.organization_id
    and session.client_id = client.id
    and session.start_time >= month.starts_at
    and session.start_time < month.ends_at
    and session.status in ('completed', 'no_show')
) as counted
where counted.due > 0;
comment on view reports.no_show_rates is 'How often a client did not come to the sessions they were due at: those attended and those missed.';
grant select on reports.no_show_rates to authenticated, service_role;
