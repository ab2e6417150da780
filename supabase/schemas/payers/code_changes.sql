-- Purpose: bookings follow a change of what a service code is.
-- Objects: what of a version never changes; private.recount_after_code and its triggers.
-- Watch for: a version is ended, and another entered. What is booked on the days of a new one has its minutes of a unit, and
--            a session type means its code: units, lanes and modifiers are asked anew, as after a payer's rule.

create function private.clients_of_code(organization_id uuid, code public.service_codes)
returns uuid[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return array(
    select client.id
    from public.clients as client
    where client.organization_id = clients_of_code.organization_id and client.has_payer
      and (
        exists (
          select from public.sessions as session
          where session.organization_id = client.organization_id and session.client_id = client.id
            -- A day is local somewhere.
            and session.start_time > code.valid_from::timestamptz - interval '1 day'
            and session.status not in ('cancelled', 'no_show')
            -- Also without a code: as which it is billed by now, as the ledger asks.
            and (session.cpt_code = code.code or session.cpt_code is null and private.billed_code_at(
              session.organization_id, session.client_id, null, session.session_type, session.start_time
            ) = code.code)
        ) or exists (
          select from public.session_holds as hold
          join public.hold_batches as batch on batch.organization_id = hold.organization_id and batch.id = hold.batch_id
          left join public.sessions as moved
            on moved.organization_id = hold.organization_id and moved.id = hold.session_id
          where hold.organization_id = client.organization_id and hold.client_id = client.id and hold.status = 'held'
            and coalesce(batch.cpt_code, moved.cpt_code, private.billed_code_at(
              hold.organization_id, hold.client_id, null, coalesce(batch.session_type, moved.session_type), hold.start_time
            )) = code.code
        )
      )
    order by client.id
  );
end
$$;
comment on function private.clients_of_code(uuid, public.service_codes) is
  'Clients with a payer who have something booked, rendered or held that is billed as this code since the version''s first '
  'day: by its code, by its session type, or as what names neither.';

create function private.recount_after_code()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  former constant text := private.enter_booking();
  organization record;
  client_ids uuid[];
  client_id uuid;
begin
  for organization in
    select known.id from public.organizations as known
    where known.id = new.organization_id or new.organization_id is null
    order by known.id
  loop
    -- First alone, then read: what is booked meanwhile of everybody's code would be missed.
    perform private.take_row_organization(organization.id, tg_table_name);
    client_ids := private.clients_of_code(organization.id, new);
    continue when client_ids = '{}';
    if new.session_type is not null then
      perform private.relane_clients(organization.id, client_ids);
    end if;
    foreach client_id in array client_ids loop
      perform private.recount_units(organization.id, client_id, true);
    end loop;
  end loop;
  perform private.leave_booking(null, former);
  return null;
end
$$;
comment on function private.recount_after_code() is
  'Trigger: where a version of a code is entered, or ends on another day, what is booked, held or was rendered is counted by '
  'its minutes of a unit, and a session type that means it by its rules. Refused with restrict_violation (23001) where '
  'services would run at once that may not.';

create trigger b_keep_identity before update of organization_id, id, code, ordinal, unit_minutes, session_type, valid_from
  on public.service_codes
  for each row
  when (
    (new.organization_id, new.id, new.code, new.ordinal, new.unit_minutes, new.session_type, new.valid_from)
      is distinct from (old.organization_id, old.id, old.code, old.ordinal, old.unit_minutes, old.session_type, old.valid_from)
  )
  execute function private.refuse_write('check_violation',
    'code, ordinal, unit_minutes, session_type and valid_from of a service code''s version never change',
    'End it with valid_to and enter another version. recode_sessions gives what is booked another code.');
select private.write_alone('{service_codes}');
create trigger b_guard_code before insert or update of valid_to on public.service_codes
  for each row when (new.organization_id is not null)
  execute function private.guard_coverage();
create trigger c_recount_inserted after insert on public.service_codes
  for each row when (new.session_type is not null or new.unit_minutes <> 15)
  execute function private.recount_after_code();
-- Beyond its last day a code has units of 15 minutes.
create trigger c_recount_ended after update of valid_to on public.service_codes
  for each row when (new.valid_to is distinct from old.valid_to and new.unit_minutes <> 15)
  execute function private.recount_after_code();
create trigger d_remember_modifiers before insert on public.service_codes
  for each row when (new.session_type is not null) execute function private.remember_modifiers();
create trigger d_follow_modifiers after insert on public.service_codes
  for each statement execute function private.follow_modifiers();
