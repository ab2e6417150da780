-- Purpose: who read or changed a client's record.
-- Objects: reports.client_record_access; docs/reports.md tells how to read it.

create view reports.client_record_access
with (security_invoker = true)
as
select
  client.organization_id,
  client.id as client_id,
  client.reference as client_reference,
  event.occurred_at,
  event.occurred_at at time zone organization.time_zone as local_time,
  event.action,
  event.outcome,
  event.actor_user_id,
  actor.display_name as actor_name,
  event.actor_role,
  event.database_user,
  event.entity,
  record.id as record_id,
  event.request_id
from public.clients as client
join public.organizations as organization on organization.id = client.organization_id
cross join lateral (
  select array_append(array_agg(session.id), client.id) as ids
  from public.sessions as session
  where session.organization_id = client.organization_id and session.client_id = client.id
) as own
cross join lateral private.events_of(client.organization_id, own.ids) as found
join audit.events as event
  on event.organization_id = client.organization_id
  and event.recorded_at = found.recorded_at
  and event.id = found.id
left join public.therapists as actor
  on actor.organization_id = client.organization_id and actor.id = event.actor_user_id
cross join lateral (
  select named.id
  from unnest(event.entity_ids) as named (id)
  where named.id = any (own.ids)
) as record;
comment on view reports.client_record_access is
  'Who read or changed anything of a client''s record: the details, the sessions, their notes (45 CFR 164.312(b)). Filter '
  'by client_id.';
grant select on reports.client_record_access to authenticated, service_role;
