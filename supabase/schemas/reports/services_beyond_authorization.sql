-- Purpose: what no authorization covers whole.
-- Objects: reports.services_beyond_authorization; docs/reports.md tells how to read it.

create index authorization_units_beyond_idx on public.authorization_units (organization_id, service_date)
  where units < total_units and needs_authorization and state <> 'held';

create view reports.services_beyond_authorization
with (security_invoker = true)
as
select
  entry.organization_id,
  entry.service_date,
  entry.owner_id as session_id,
  session.therapist_name,
  entry.client_id,
  client.reference as client_reference,
  entry.cpt_code,
  entry.state,
  entry.authorization_id,
  entry.total_units,
  entry.total_units - entry.units as units_beyond
from public.authorization_units as entry
left join public.clients as client on client.organization_id = entry.organization_id and client.id = entry.client_id
left join reports.named_sessions as session
  on session.organization_id = entry.organization_id and session.id = entry.owner_id
where entry.units < entry.total_units
  and entry.needs_authorization
  and entry.state <> 'held';
comment on view reports.services_beyond_authorization is
  'Booked or rendered services that no authorization covers whole: overridden, or longer than they were booked for.';
grant select on reports.services_beyond_authorization to authenticated, service_role;
