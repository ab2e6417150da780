-- Purpose: the days of what is booked follow the zone that they are counted in.
-- Objects: private.clients_of_other_days, private.follow_service_zone and the triggers that call it.
-- Watch for: the day of a service is local to the client, or to the organization for a client without a zone. Units, limits
--            and lanes were taken for that day, so another zone asks for them anew, completed visits included.

create function private.clients_of_other_days(organization_id uuid, client_ids uuid[], former_zone text, zone text)
returns uuid[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return array(
    select distinct service.client_id
    from (
      select hold.client_id, hold.start_time, hold.end_time from public.session_holds as hold
      where hold.organization_id = clients_of_other_days.organization_id and hold.client_id = any (client_ids)
        and hold.status = 'held'
      union all
      select session.client_id, instant.start_time, instant.end_time
      from public.sessions as session
      left join public.session_visits as visit
        on visit.organization_id = session.organization_id and visit.session_id = session.id
      cross join lateral (
        values (session.start_time, session.end_time),
          (coalesce(visit.actual_start_time, session.start_time), coalesce(visit.actual_end_time, session.end_time))
      ) as instant (start_time, end_time)
      where session.organization_id = clients_of_other_days.organization_id and session.client_id = any (client_ids)
        and session.status not in ('cancelled', 'no_show')
    ) as service
    where (service.start_time at time zone former_zone)::date <> (service.start_time at time zone zone)::date
      or (service.end_time at time zone former_zone)::date <> (service.end_time at time zone zone)::date
    order by service.client_id
  );
end
$$;
comment on function private.clients_of_other_days(uuid, uuid[], text, text) is
  'Those of these clients who have something held, booked or rendered whose first or last day is another in the new zone.';

create function private.follow_service_zone()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  former constant text := private.enter_booking();
  of_organization constant uuid := (to_jsonb(new) ->> case tg_table_name when 'clients' then 'organization_id' else 'id' end)::uuid;
  of_client constant uuid := case tg_table_name when 'clients' then (to_jsonb(new) ->> 'id')::uuid end;
  former_zone constant text := coalesce(old.time_zone, private.service_zone(of_organization, null));
  zone constant text := coalesce(new.time_zone, private.service_zone(of_organization, null));
  client_ids uuid[];
  moved_ids uuid[];
  client_id uuid;
begin
  -- A client without a payer has no units, and their services never run at once.
  client_ids := array(
    select client.id
    from public.clients as client
    where client.organization_id = of_organization
      and client.has_payer
      and (client.id = of_client or of_client is null and client.time_zone is null)
    order by client.id
  );
  moved_ids := private.clients_of_other_days(of_organization, client_ids, former_zone, zone);
  perform private.relane_clients(of_organization, moved_ids);
  foreach client_id in array moved_ids loop
    perform private.recount_units(of_organization, client_id, true);
  end loop;
  perform private.wake_slots_of(of_organization, client_ids);
  perform private.leave_booking(null, former);
  return null;
end
$$;
comment on function private.follow_service_zone() is
  'Trigger: what clients have booked is of the days of their new zone, or of their organization''s: lanes, units and the '
  'rounding of a day. Refused with restrict_violation (23001) where services would run at once that may not.';

create function private.guard_service_zone()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.take_row_organization(
    (to_jsonb(new) ->> case tg_table_name when 'clients' then 'organization_id' else 'id' end)::uuid, tg_table_name
  );
  return new;
end
$$;
comment on function private.guard_service_zone() is
  'Trigger: the zone of a client or of an organization changes with the organization to itself.';

select private.write_alone('{clients,organizations}', 'update of time_zone');
create trigger b_guard_service_zone before update of time_zone on public.clients
  for each row when (new.time_zone is distinct from old.time_zone)
  execute function private.guard_service_zone();
create trigger b_guard_service_zone before update of time_zone on public.organizations
  for each row when (new.time_zone is distinct from old.time_zone)
  execute function private.guard_service_zone();
create trigger c_follow_service_zone after update of time_zone on public.clients
  for each row when (new.time_zone is distinct from old.time_zone)
  execute function private.follow_service_zone();
create trigger c_follow_service_zone after update of time_zone on public.organizations
  for each row when (new.time_zone is distinct from old.time_zone)
  execute function private.follow_service_zone();
