-- Purpose: everything that happened to one session.
-- Objects: reports.session_audit_trail; docs/reports.md tells how to read it.

create view reports.session_audit_trail
with (security_invoker = true)
as
select
  session.organization_id,
  session.id as session_id,
  event.occurred_at,
  event.occurred_at at time zone organization.time_zone as local_time,
  event.recorded_at,
  event.action,
  event.outcome,
  event.code,
  event.actor_user_id,
  actor.display_name as actor_name,
  event.actor_role,
  event.database_user,
  event.request_id,
  case when jsonb_typeof(event.before) = 'array' then event.before -> place.position else event.before end as before,
  case when jsonb_typeof(event.after) = 'array' then event.after -> place.position else event.after end as after,
  event.details
from public.sessions as session
join public.organizations as organization on organization.id = session.organization_id
cross join lateral private.events_of(session.organization_id, array[session.id]) as found
join audit.events as event
  on event.organization_id = session.organization_id
  and event.recorded_at = found.recorded_at
  and event.id = found.id
left join public.therapists as actor
  on actor.organization_id = session.organization_id and actor.id = event.actor_user_id
cross join lateral (select array_position(event.entity_ids, session.id) - 1 as position) as place;
comment on view reports.session_audit_trail is
  'Everything that happened to a session, from the hold it was booked through: who, when, what, from what to what. Of a '
  'batch''s event only what concerns this session. Filter by session_id.';
grant select on reports.session_audit_trail to authenticated, service_role;
