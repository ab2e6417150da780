-- Purpose: rules of the clinic that hold for every written session, however it is written.
-- Objects: the credential check; lanes that follow a change of payers' rules.
-- Watch for: a rule that changes refuses to, while bookings would break it: move or cancel those first, or let the new
--            version begin on a later day.

create function private.guard_rendering()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  if (
    tg_op = 'INSERT'
    or (new.therapist_id, new.cpt_code, new.session_type) is distinct from (old.therapist_id, old.cpt_code, old.session_type)
  ) and not private.may_render(
    new.organization_id, new.therapist_id, private.service_code(new.cpt_code, new.session_type)
  ) then
    raise exception using
      errcode = 'check_violation',
      constraint = 'technician_cannot_render',
      schema = 'public',
      table = 'sessions',
      message = 'a technician cannot render a service that is a qualified professional''s',
      hint = 'Book it with a BCBA, or book another service.';
  end if;
  return new;
end
$$;
comment on function private.guard_rendering() is
  'Trigger: a technician (RBT) renders no code of a qualified professional; see private.may_render.';
create trigger a_guard_rendering before insert or update on public.sessions
  for each row execute function private.guard_rendering();

create function private.relane_clients(organization_id uuid, client_ids uuid[])
returns void
language plpgsql
security definer
set search_path = ''
as $$
begin
  -- A booking made meanwhile by the old rules would keep lanes of its own time, and conflict with nothing.
  perform private.lock_resources(organization_id, client_ids);

  update private.claims as claim
  set lanes = booked.lanes
  from (
    select owner.id, private.client_lanes(
      relane_clients.organization_id, owner.client_id, owner.code, owner.start_time, owner.end_time
    ) - coalesce(override.lanes, '{}') as lanes
    from (
      select session.id, session.client_id, session.start_time, session.end_time,
        private.service_code(session.cpt_code, session.session_type) as code
      from public.sessions as session
      where session.organization_id = relane_clients.organization_id
        and session.client_id = any (client_ids)
        and session.end_time > now()
      union all
      select hold.id, coalesce(hold.client_id, batch.client_id), hold.start_time, hold.end_time,
        -- What is moved stays the service it is, unless the hold said otherwise.
        private.service_code(
          coalesce(batch.cpt_code, moved.cpt_code), coalesce(batch.session_type, moved.session_type)
        )
      from public.hold_batches as batch
      join public.session_holds as hold on hold.organization_id = batch.organization_id and hold.batch_id = batch.id
      left join public.sessions as moved
        on moved.organization_id = hold.organization_id and moved.id = hold.session_id
      where batch.organization_id = relane_clients.organization_id
        and coalesce(hold.client_id, batch.client_id) = any (client_ids)
        and hold.status = 'held'
    ) as owner (id, client_id, start_time, end_time, code)
    left join private.lane_overrides as override
      on override.organization_id = relane_clients.organization_id and override.owner_id = owner.id
  ) as booked
  where claim.organization_id = relane_clients.organization_id
    and claim.resource_kind = 'client'
    and claim.owner_id = booked.id
    and claim.lanes <> booked.lanes;
exception
  when exclusion_violation then
    raise exception using
      errcode = 'restrict_violation',
      message = 'bookings of a client overlap that this change would no longer allow',
      hint = 'Move or cancel one of each pair first, or let the change begin on a later day.';
end
$$;
comment on function private.relane_clients(uuid, uuid[]) is
  'Gives what these clients have ahead the lanes of today''s rules, or refuses with restrict_violation (23001).';

create function private.relane_after_coverage()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.relane_clients(new.organization_id, array[new.client_id]);
  return null;
end
$$;
comment on function private.relane_after_coverage() is 'Trigger: a client''s bookings follow her payers'' rules.';
create trigger b_relane after insert or update on public.client_coverages
  for each row execute function private.relane_after_coverage();

create function private.relane_after_rule()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.relane_clients(new.organization_id, array(
    select distinct coverage.client_id
    from public.client_coverages as coverage
    where coverage.organization_id = new.organization_id and coverage.payer_id = new.payer_id
  ));
  return null;
end
$$;
comment on function private.relane_after_rule() is 'Trigger: the bookings of a payer''s clients follow its rules.';
create trigger b_relane after insert or update on public.payer_concurrency_rules
  for each row execute function private.relane_after_rule();
