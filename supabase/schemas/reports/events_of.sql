-- Purpose: finding the audit events of a record by index, also under row-level security.
-- Objects: private.events_of.

create function private.events_of(organization_id uuid, entity_ids uuid[])
returns table (recorded_at timestamptz, id uuid)
language plpgsql
stable
security definer
rows 50
set search_path = ''
set plan_cache_mode = 'force_custom_plan'
as $$
#variable_conflict use_column
begin
  -- Whom the events' own policy lets nothing through finds no keys either.
  if current_setting('role') in ('anon', 'authenticated') and not (
    organization_id = private.active_organization_id() and (private.is_admin() or private.has_permission('view_audit'))
  ) then
    return;
  end if;
  return query
  select event.recorded_at, event.id
  from audit.events as event
  where event.organization_id = events_of.organization_id
    and event.entity_ids && events_of.entity_ids;
end
$$;
comment on function private.events_of(uuid, uuid[]) is
  'The keys of the events that name any of these ids. Row security would keep a reader from their index: && is not '
  'leakproof, so it is tried only on what the policy has let through. Whoever uses the keys reads the events under it.';
grant execute on function private.events_of(uuid, uuid[]) to authenticated, service_role;
