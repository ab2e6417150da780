-- Purpose: bookings follow a change of payers' rules about services that may run at once.
-- Objects: let_beside; was_let_beside; relane_clients and the triggers that call it.
-- Watch for: a change is refused while bookings overlap that it would no longer allow: move or cancel those first, or let
--            the new version begin on a later day.

create table private.let_beside (
  organization_id uuid not null,
  session_id uuid not null,
  primary key (organization_id, session_id),
  foreign key (organization_id, session_id) references public.sessions (organization_id, id) on delete cascade
);
comment on table private.let_beside is
  'Sessions that an admin let run beside another service when they gave them another code. What was let when it was booked '
  'is in hold_batches; private.was_let_beside asks both.';
alter table private.let_beside enable row level security;
create policy deny_all on private.let_beside using (false);

create function private.was_let_beside(organization_id uuid, session_id uuid)
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  return exists (
    select
    from (
      select known.batch_id from public.session_holds as known
      where known.organization_id = was_let_beside.organization_id and known.id = was_let_beside.session_id
        and known.status = 'confirmed'
      union all
      select known.batch_id from public.session_holds as known
      where known.organization_id = was_let_beside.organization_id and known.session_id = was_let_beside.session_id
        and known.status = 'confirmed'
    ) as hold
    join public.hold_batches as batch on batch.organization_id = was_let_beside.organization_id and batch.id = hold.batch_id
    where private.overrides(batch, 'concurrency')
  ) or exists (
    select from private.let_beside as let
    where let.organization_id = was_let_beside.organization_id and let.session_id = was_let_beside.session_id
  );
end
$$;
comment on function private.was_let_beside(uuid, uuid) is
  'Whether an admin let a session run beside another service, with a reason: then it goes on as it was allowed.';

create function private.relane_clients(organization_id uuid, client_ids uuid[])
returns void
language plpgsql
security definer
set search_path = ''
as $$
declare
  former constant text := private.enter_booking();
  owner_ids uuid[];
begin
  with relaned as (
    update public.sessions as session
    set lanes = private.client_lanes(
      session.organization_id, session.client_id,
      private.service_code_at(
        session.organization_id, session.client_id, session.cpt_code, session.session_type, session.start_time
      ),
      session.start_time, session.end_time
    )
    where session.organization_id = relane_clients.organization_id
      and session.client_id = any (client_ids)
      and session.end_time > now()
      and session.status not in ('cancelled', 'no_show', 'completed')
      and not private.was_let_beside(session.organization_id, session.id)
    returning session.id
  ),
  held as (
    update public.session_holds as hold
    set lanes = private.client_lanes(
      hold.organization_id, hold.client_id,
      -- What is moved stays the service it is, unless the hold said otherwise.
      private.service_code_at(
        hold.organization_id, hold.client_id,
        coalesce(batch.cpt_code, (select moved.cpt_code from public.sessions as moved
          where moved.organization_id = hold.organization_id and moved.id = hold.session_id)),
        coalesce(batch.session_type, (select moved.session_type from public.sessions as moved
          where moved.organization_id = hold.organization_id and moved.id = hold.session_id)),
        hold.start_time
      ),
      hold.start_time, hold.end_time
    )
    from public.hold_batches as batch
    where hold.organization_id = relane_clients.organization_id
      and hold.client_id = any (client_ids)
      and hold.status = 'held'
      and batch.organization_id = hold.organization_id and batch.id = hold.batch_id
      and not private.overrides(batch, 'concurrency')
      and (hold.session_id is null or not private.was_let_beside(hold.organization_id, hold.session_id))
    returning hold.id, hold.batch_id
  )
  select array(select relaned.id from relaned union select held.id from held union select held.batch_id from held)
  into owner_ids;
  if not private.sync_claims(organization_id, owner_ids) then
    raise exception using
      errcode = 'restrict_violation',
      message = 'bookings of a client overlap that this change would no longer allow',
      hint = 'Move or cancel one of each pair first. A rule, a coverage or a version of a code may also begin on a later day.';
  end if;
  perform private.leave_booking(null, former);
end
$$;
comment on function private.relane_clients(uuid, uuid[]) is
  'Gives what these clients have ahead the lanes of today''s rules, or refuses with restrict_violation (23001).';

create function private.relane_after_change()
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
      and (tg_table_name <> 'client_coverages' or coverage.id = new.id)
  ));
  return null;
end
$$;
comment on function private.relane_after_change() is
  'Trigger: a client''s bookings follow their coverage, and those of a payer''s clients its rules.';
create trigger b_relane after insert or update on public.client_coverages
  for each row execute function private.relane_after_change();
select private.write_alone('{payer_concurrency_rules}');
create trigger b_keep_identity before update of organization_id, id, payer_id on public.payer_concurrency_rules
  for each row
  when ((new.organization_id, new.id, new.payer_id) is distinct from (old.organization_id, old.id, old.payer_id))
  execute function private.refuse_write('check_violation', 'organization_id, id and payer_id of a payer''s rule never change',
    'End this rule and enter another.');
create trigger a_guard_rule before insert or update on public.payer_concurrency_rules
  for each row execute function private.guard_coverage();
create trigger b_relane after insert or update on public.payer_concurrency_rules
  for each row execute function private.relane_after_change();
