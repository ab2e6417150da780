-- Purpose: the days of what is booked follow the zone that they are counted in.
-- Objects: private.follow_service_zone and the triggers that call it.
-- Watch for: the day of a service is local to the client, or to the organization for a client without a zone. Units, limits
--            and lanes were taken for that day, so another zone asks for them anew, completed visits included.

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
  client_ids uuid[];
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
  perform private.relane_clients(of_organization, client_ids);
  foreach client_id in array client_ids loop
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
