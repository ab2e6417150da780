-- Purpose: proof that nobody is booked twice.
-- Objects: reports.double_bookings; reports.staff_time_resources; docs/reports.md tells how to read it.

grant execute on function
  private.client_lanes(uuid, uuid, text, timestamptz, timestamptz), private.service_code(uuid, text, text, date),
  private.service_code_at(uuid, uuid, text, text, timestamptz)
to authenticated, service_role;

create view reports.staff_time_resources
with (security_invoker = true)
as
select known.organization_id, known.id, known.start_time, known.end_time, 'therapist' as resource, member.therapist_id as resource_id
from public.staff_times as known
join public.staff_time_members as member
  on member.organization_id = known.organization_id and member.staff_time_id = known.id
where known.cancelled_at is null
union all
select known.organization_id, known.id, known.start_time, known.end_time, 'room', known.room_id
from public.staff_times as known
where known.cancelled_at is null and known.room_id is not null;
comment on view reports.staff_time_resources is
  'What time without a client takes: a row for each therapist and for the room. Cancelled ones take nothing.';
grant select on reports.staff_time_resources to authenticated, service_role;

create view reports.double_bookings
with (security_invoker = true)
as
select
  first.organization_id,
  first.start_time,
  first.start_time at time zone organization.time_zone as local_start,
  overlap.resource,
  overlap.resource_id,
  coalesce(therapist.display_name, client.reference, room.name) as resource_name,
  first.id as session_id,
  overlap.id as other_session_id,
  overlap.start_time as overlap_start,
  least(first.end_time, overlap.end_time) as overlap_end
from public.sessions as first
join public.organizations as organization on organization.id = first.organization_id
cross join lateral (
  select 'therapist' as resource, first.therapist_id as resource_id, other.id, other.start_time, other.end_time
  from public.sessions as other
  where other.organization_id = first.organization_id
    and other.therapist_id = first.therapist_id
    and other.start_time >= first.start_time
    and other.start_time < first.end_time
    and (other.start_time, other.id) > (first.start_time, first.id)
    and other.group_key <> first.group_key
    and other.status not in ('cancelled', 'no_show')
  union all
  select 'client', first.client_id, other.id, other.start_time, other.end_time
  from public.sessions as other
  where other.organization_id = first.organization_id
    and other.client_id = first.client_id
    and other.start_time >= first.start_time
    and other.start_time < first.end_time
    and (other.start_time, other.id) > (first.start_time, first.id)
    and other.status not in ('cancelled', 'no_show')
    and private.client_lanes(
        first.organization_id, first.client_id,
        private.service_code_at(first.organization_id, first.client_id, first.cpt_code, first.session_type, first.start_time),
        first.start_time, first.end_time
      ) && private.client_lanes(
        other.organization_id, other.client_id,
        private.service_code_at(other.organization_id, other.client_id, other.cpt_code, other.session_type, other.start_time),
        other.start_time, other.end_time
      )
    and not exists (
      select 1
      from audit.events as event
      where event.organization_id = first.organization_id
        and event.entity_ids && array[first.id, other.id]
        and event.action = 'override.concurrency'
    )
  union all
  select 'room', first.room_id, other.id, other.start_time, other.end_time
  from public.sessions as other
  where other.organization_id = first.organization_id
    and other.room_id = first.room_id
    and other.start_time >= first.start_time
    and other.start_time < first.end_time
    and (other.start_time, other.id) > (first.start_time, first.id)
    and other.group_key <> first.group_key
    and other.status not in ('cancelled', 'no_show')
  union all
  select taken.resource, taken.resource_id, taken.id, greatest(taken.start_time, first.start_time), taken.end_time
  from reports.staff_time_resources as taken
  where taken.organization_id = first.organization_id
    and taken.resource_id in (first.therapist_id, first.room_id)
    -- None is longer than 12 hours.
    and taken.start_time > first.start_time - interval '12 hours'
    and taken.start_time < first.end_time
    and taken.end_time > first.start_time
) as overlap
left join public.therapists as therapist
  on overlap.resource = 'therapist' and therapist.organization_id = first.organization_id
  and therapist.id = overlap.resource_id
left join public.clients as client
  on overlap.resource = 'client' and client.organization_id = first.organization_id and client.id = overlap.resource_id
left join public.rooms as room
  on overlap.resource = 'room' and room.organization_id = first.organization_id and room.id = overlap.resource_id
where first.status not in ('cancelled', 'no_show')
union all
select
  first.organization_id,
  first.start_time,
  first.start_time at time zone organization.time_zone,
  first.resource,
  first.resource_id,
  coalesce(therapist.display_name, room.name),
  first.id,
  other.id,
  other.start_time,
  least(first.end_time, other.end_time)
from reports.staff_time_resources as first
join public.organizations as organization on organization.id = first.organization_id
join reports.staff_time_resources as other
  on other.organization_id = first.organization_id
  and other.resource_id = first.resource_id
  and other.start_time >= first.start_time
  and other.start_time < first.end_time
  and (other.start_time, other.id) > (first.start_time, first.id)
left join public.therapists as therapist
  on therapist.organization_id = first.organization_id and therapist.id = first.resource_id
left join public.rooms as room on room.organization_id = first.organization_id and room.id = first.resource_id;
comment on view reports.double_bookings is
  'Proof that there are none: every two sessions of one therapist, client or room that overlap and may not. Members of a '
  'group share their therapist; a client''s services may run at once where the payers allow it or an admin overrode. '
  'Time without a client is looked at too. Computed from the rows alone, apart from the claims that prevent it.';
grant select on reports.double_bookings to authenticated, service_role;
