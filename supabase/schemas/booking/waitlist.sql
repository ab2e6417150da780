-- Purpose: time that becomes free is offered to a client who waits for it, as a hold of its own.
-- Objects: waitlist_entries; freed_slots, the queue; queue_freed, offer_freed_slot; offer_freed_slots for the caller.
-- Watch for: whoever frees a place only writes it into the queue; the offer is made in a transaction of its own (called by
--            the edge functions after they have answered, by a schedule, by anybody of the staff). An offer made by the
--            canceller would lock the waiting client after the canceller's own people. An offer is an ordinary hold: it
--            obeys every rule, and confirming it books.

create table public.waitlist_entries (
  organization_id uuid not null references public.organizations (id),
  id uuid not null default gen_random_uuid(),
  client_id uuid not null,
  therapist_id uuid,
  cpt_code text not null check (cpt_code ~ '^[0-9A-Z]{5}$'),
  windows tstzmultirange not null,
  minutes smallint check (minutes between 15 and 720),
  priority smallint not null default 5 check (priority between 1 and 9),
  state text not null default 'waiting' check (state in ('waiting', 'offered', 'booked', 'closed')),
  offered_batch_id uuid,
  offered_at timestamptz,
  closed_at timestamptz,
  created_at timestamptz not null default clock_timestamp(),
  primary key (organization_id, id),
  foreign key (organization_id, client_id) references public.clients (organization_id, id),
  foreign key (organization_id, therapist_id) references public.therapists (organization_id, id),
  foreign key (organization_id, offered_batch_id) references public.hold_batches (organization_id, id),
  constraint waitlist_entries_windows check (
    not isempty(windows) and not lower_inf(windows) and not upper_inf(windows)
    and lower(windows) >= '2000-01-01' and upper(windows) <= '2100-01-01'
  ),
  constraint waitlist_entries_state check (
    (offered_batch_id is null) = (offered_at is null)
    and (state in ('booked', 'closed')) = (closed_at is not null)
    and (state not in ('offered', 'booked') or offered_batch_id is not null)
  )
);
comment on table public.waitlist_entries is
  'Who would take a slot that becomes free: for which service, when, how urgently. Never deleted: closed.';
comment on column public.waitlist_entries.therapist_id is 'Null: any therapist who has the client on their caseload.';
comment on column public.waitlist_entries.windows is 'The instants within which a slot would suit.';
comment on column public.waitlist_entries.minutes is 'How long it should be; null: as long as the slot is.';
comment on column public.waitlist_entries.priority is '1 is asked first; among equals, who has waited longest.';
comment on column public.waitlist_entries.state is
  'waiting; offered (a hold lives for it); booked (the offer was confirmed) and closed, which nobody offers to any more.';
comment on column public.waitlist_entries.offered_batch_id is 'The last offer.';
comment on column public.waitlist_entries.closed_at is 'Since when nobody waits any more.';
create index waitlist_entries_client_idx on public.waitlist_entries (organization_id, client_id);
create index waitlist_entries_therapist_idx on public.waitlist_entries (organization_id, therapist_id)
  where therapist_id is not null;
create index waitlist_entries_offered_batch_idx on public.waitlist_entries (organization_id, offered_batch_id)
  where offered_batch_id is not null;
create index waitlist_entries_open_idx on public.waitlist_entries (organization_id, priority, created_at)
  where state in ('waiting', 'offered');

create table private.freed_slots (
  organization_id uuid not null,
  id bigint generated always as identity,
  therapist_id uuid not null,
  room_id uuid,
  group_id uuid,
  start_time timestamptz not null,
  end_time timestamptz not null check (end_time > start_time),
  declined_ids uuid[] not null default '{}',
  offered_batch_id uuid,
  freed_at timestamptz not null default clock_timestamp(),
  primary key (organization_id, id)
);
comment on table private.freed_slots is
  'Time of a therapist, or a place in a group, that became free while somebody waits. private.offer_freed_slot drains it.';
comment on column private.freed_slots.declined_ids is
  'Entries that let this slot go, or could not have it: the next in line is asked.';
comment on column private.freed_slots.offered_batch_id is 'The offer that lives for it; null: to be offered.';
create index freed_slots_offered_batch_idx on private.freed_slots (organization_id, offered_batch_id)
  where offered_batch_id is not null;
alter table private.freed_slots enable row level security;
create policy deny_all on private.freed_slots using (false);

create function private.close_with_date()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  if new.closed_at is not null and new.state in ('waiting', 'offered') then
    new.state := 'closed';
  elsif new.state = 'closed' and new.closed_at is null then
    new.closed_at := clock_timestamp();
  end if;
  return new;
end
$$;
comment on function private.close_with_date() is 'Trigger: an entry that gets a closing date is closed.';
create trigger b_close_with_date before insert or update on public.waitlist_entries
  for each row execute function private.close_with_date();
create trigger a_take_organization before insert or update on public.waitlist_entries
  for each statement
  when (current_setting('therapist_sessions.within', true) is distinct from 'booking' or current_user <> 'postgres')
  execute function private.take_written_organization();

alter table public.waitlist_entries enable row level security;
create policy role_scoped_select on public.waitlist_entries for select to authenticated
  using (
    organization_id = (select private.active_organization_id())
    and (
      (select private.is_admin())
      or (
        (select private.active_role()) = 'therapist'
        and client_id = any ((select private.caseload_client_ids())::uuid[])
      )
    )
  );
create policy role_scoped_select_insert on public.waitlist_entries for insert to authenticated
  with check (organization_id = (select private.active_organization_id()) and (select private.is_admin()));
create policy role_scoped_select_update on public.waitlist_entries for update to authenticated
  using (organization_id = (select private.active_organization_id()) and (select private.is_admin()))
  with check (organization_id = (select private.active_organization_id()) and (select private.is_admin()));
comment on policy role_scoped_select on public.waitlist_entries is
  'Admins read the whole list, a therapist the entries of their caseload.';
comment on policy role_scoped_select_insert on public.waitlist_entries is 'Admins put clients on the list.';
comment on policy role_scoped_select_update on public.waitlist_entries is 'Admins change what a client waits for, or close it.';
grant select,
  insert (organization_id, id, client_id, therapist_id, cpt_code, windows, minutes, priority),
  update (therapist_id, cpt_code, windows, minutes, priority, closed_at)
  on public.waitlist_entries to authenticated;
grant select, insert, update on public.waitlist_entries to service_role;
create trigger refuse_delete before delete on public.waitlist_entries
  for each row execute function private.refuse_delete();
create trigger refuse_truncate before truncate on public.waitlist_entries
  for each statement execute function private.refuse_delete();
create trigger z_audit after insert or update on public.waitlist_entries
  for each row execute function private.audit_rule_change('waitlist_entry');

-- The queue --------------------------------------------------------------------------------------------------------

create function private.queue_freed(
  organization_id uuid,
  surplus private.claims[],
  missing private.claims[],
  as_of timestamptz
)
returns void
language plpgsql
set search_path = ''
as $$
begin
  if surplus = '{}' or not exists (
    select from public.waitlist_entries as entry
    where entry.organization_id = queue_freed.organization_id and entry.state in ('waiting', 'offered')
  ) then
    return;
  end if;
  insert into private.freed_slots (organization_id, therapist_id, room_id, start_time, end_time)
  select queue_freed.organization_id, gone.resource_id, room.resource_id, lower(slot.during), upper(slot.during)
  from unnest(surplus) as gone
  left join lateral (
    select other.resource_id from unnest(surplus) as other
    where other.owner_id = gone.owner_id and other.resource_kind = 'room' limit 1
  ) as room on true
  left join public.sessions as session
    on session.organization_id = queue_freed.organization_id and session.id = gone.owner_id
  cross join lateral (
    -- The time that was booked: what was claimed less the travel around it.
    select tstzrange(
      lower(gone.during) + coalesce(session.buffer_before_minutes, 0) * interval '1 minute',
      greatest(upper(gone.during) - coalesce(session.buffer_after_minutes, 0) * interval '1 minute', lower(gone.during)), '[)'
    ) as during
  ) as slot
  where gone.resource_kind = 'therapist' and lower(gone.during) > as_of and not isempty(slot.during)
    and not exists (
      select from unnest(missing) as kept where kept.resource_id = gone.resource_id and kept.during @> gone.during
    )
    -- An offer that is let go has its slot in the queue already.
    and not exists (
      select from public.session_holds as hold
      join private.freed_slots as slot
        on slot.organization_id = hold.organization_id and slot.offered_batch_id = hold.batch_id
      where hold.organization_id = queue_freed.organization_id and hold.id = gone.owner_id
    );
  -- A member who leaves a group that goes on frees a place in it.
  insert into private.freed_slots (organization_id, therapist_id, room_id, group_id, start_time, end_time)
  select queue_freed.organization_id, known.therapist_id, known.room_id, known.id, known.start_time, known.end_time
  from unnest(surplus) as gone
  join public.sessions as session
    on session.organization_id = queue_freed.organization_id and session.id = gone.owner_id
  join public.session_groups as known
    on known.organization_id = session.organization_id and known.id = session.group_id
  where gone.resource_kind = 'client' and known.start_time > as_of and session.status = 'cancelled'
    and private.group_lives_until(queue_freed.organization_id, known.id) = 'infinity';
  perform set_config('therapist_sessions.freed', 'yes', true);
end
$$;
comment on function private.queue_freed(uuid, private.claims[], private.claims[], timestamptz) is
  'Queues what a change of claims set free, if anybody waits in this organization.';

create function private.close_waitlist_entry(organization_id uuid, batch_id uuid, as_of timestamptz)
returns void
language plpgsql
set search_path = ''
as $$
begin
  update public.waitlist_entries as entry
  set state = 'booked', closed_at = as_of
  where entry.organization_id = close_waitlist_entry.organization_id
    and entry.offered_batch_id = close_waitlist_entry.batch_id
    and entry.state = 'offered';
  if found then
    delete from private.freed_slots as slot
    where slot.organization_id = close_waitlist_entry.organization_id
      and slot.offered_batch_id = close_waitlist_entry.batch_id;
  end if;
end
$$;
comment on function private.close_waitlist_entry(uuid, uuid, timestamptz) is 'An offer that is confirmed ends the waiting.';

create function private.reopen_waitlist_entry(organization_id uuid, batch_id uuid)
returns void
language plpgsql
set search_path = ''
as $$
begin
  update public.waitlist_entries as entry
  set state = 'waiting'
  where entry.organization_id = reopen_waitlist_entry.organization_id
    and entry.offered_batch_id = reopen_waitlist_entry.batch_id
    and entry.state = 'offered';
  if found then
    -- The slot goes to the next in line.
    update private.freed_slots as slot
    set offered_batch_id = null, declined_ids = slot.declined_ids || array(
      select entry.id from public.waitlist_entries as entry
      where entry.organization_id = slot.organization_id and entry.offered_batch_id = slot.offered_batch_id
    )
    where slot.organization_id = reopen_waitlist_entry.organization_id
      and slot.offered_batch_id = reopen_waitlist_entry.batch_id;
    perform set_config('therapist_sessions.freed', 'yes', true);
  end if;
end
$$;
comment on function private.reopen_waitlist_entry(uuid, uuid) is
  'An offer that was let go, or has lapsed: the client waits again, and the slot is offered to the next.';

create function private.next_in_line(slot private.freed_slots)
returns public.waitlist_entries
language plpgsql
volatile
set search_path = ''
as $$
declare
  entry public.waitlist_entries;
begin
  select candidate.* into entry
  from public.waitlist_entries as candidate
  cross join lateral (
    select tstzrange(
      slot.start_time, coalesce(slot.start_time + candidate.minutes * interval '1 minute', slot.end_time), '[)'
    ) as during
  ) as suits
  where candidate.organization_id = slot.organization_id
    and candidate.state = 'waiting'
    and candidate.id <> all (slot.declined_ids)
    and coalesce(candidate.therapist_id, slot.therapist_id) = slot.therapist_id
    and upper(suits.during) <= slot.end_time
    and candidate.windows @> suits.during
    and (slot.group_id is null or upper(suits.during) = slot.end_time)
    and exists (
      select from public.caseloads as caseload
      where caseload.organization_id = slot.organization_id and caseload.therapist_id = slot.therapist_id
        and caseload.client_id = candidate.client_id
    )
    -- A place in a group is of the group's service, a slot of its own of one that is for one client.
    and case
      when slot.group_id is null then private.service_issue(
        slot.organization_id, candidate.cpt_code,
        private.service_date(slot.organization_id, candidate.client_id, slot.start_time), 1
      ) is null
      else candidate.cpt_code = (
        select private.billed_code_at(
          mate.organization_id, candidate.client_id, mate.cpt_code, mate.session_type, mate.start_time
        )
        from public.sessions as mate
        where mate.organization_id = slot.organization_id and mate.group_id = slot.group_id
          and mate.status not in ('cancelled', 'no_show')
        limit 1
      )
    end
  order by candidate.priority, candidate.created_at, candidate.id
  limit 1
  -- Two slots freed at once would both be offered to whoever waits longest.
  for no key update skip locked;
  return entry;
end
$$;
comment on function private.next_in_line(private.freed_slots) is
  'Who is asked for this slot: whom it suits, by priority and then by how long they have waited. Locks the entry.';

create function private.offer_freed_slot(organization_id uuid)
returns jsonb
language plpgsql
security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '5s'
set plan_cache_mode = 'force_generic_plan'
as $$
declare
  slot private.freed_slots;
  entry public.waitlist_entries;
  wanted private.hold_request;
  outcome jsonb;
begin
  perform private.enter_booking();
  perform private.share_organization(organization_id);
  perform private.reopen_waitlist_entry(offer_freed_slot.organization_id, lapsed.offered_batch_id)
  from (
    select offered.offered_batch_id
    from private.freed_slots as offered
    join public.hold_batches as batch
      on batch.organization_id = offered.organization_id and batch.id = offered.offered_batch_id
    where offered.organization_id = offer_freed_slot.organization_id and batch.expires_at <= clock_timestamp()
    for update of offered skip locked
  ) as lapsed;
  delete from private.freed_slots as past
  where past.organization_id = offer_freed_slot.organization_id and past.start_time <= clock_timestamp();

  select queued.* into slot
  from private.freed_slots as queued
  where queued.organization_id = offer_freed_slot.organization_id and queued.offered_batch_id is null
  order by queued.id
  limit 1
  for update skip locked;
  if slot.id is null then
    return '{"offered": false, "pending": 0}';
  end if;
  entry := private.next_in_line(slot);
  if entry.id is null then
    delete from private.freed_slots as unwanted where unwanted.organization_id = slot.organization_id and unwanted.id = slot.id;
  else
    -- One entry's row, then one place's people, in the order of every path. Whoever cannot have the slot is passed over,
    -- and the next is asked in a transaction of their own.
    wanted.therapist_id := slot.therapist_id;
    wanted.client_id := entry.client_id;
    wanted.room_id := case when slot.group_id is null then slot.room_id end;
    wanted.group_id := slot.group_id;
    wanted.cpt_code := entry.cpt_code;
    wanted.time_zone := (select known.time_zone from public.organizations as known where known.id = slot.organization_id);
    wanted.start_time := private.iso(slot.start_time);
    wanted.end_time := private.iso(coalesce(slot.start_time + entry.minutes * interval '1 minute', slot.end_time));
    wanted.hold_seconds := 900;
    begin
      outcome := private.place_hold(
        row(null, slot.organization_id, 'admin')::private.actor, wanted, private.slots_of(wanted, clock_timestamp()),
        details => jsonb_build_object('waitlistEntryId', entry.id)
      );
    exception
      -- The group has moved or ended since, or the service is none any more: nobody made a malformed request, and a slot
      -- that cannot be had must not keep the slots behind it from being offered.
      when sqlstate 'PT400' then
        outcome := '{"ok": false}';
    end;
    if (outcome ->> 'ok')::boolean then
      update public.waitlist_entries as offered
      set state = 'offered', offered_batch_id = (outcome #>> '{body,holdId}')::uuid, offered_at = clock_timestamp()
      where offered.organization_id = entry.organization_id and offered.id = entry.id;
      update private.freed_slots as offered
      set offered_batch_id = (outcome #>> '{body,holdId}')::uuid
      where offered.organization_id = slot.organization_id and offered.id = slot.id;
    else
      update private.freed_slots as passed
      set declined_ids = passed.declined_ids || entry.id
      where passed.organization_id = slot.organization_id and passed.id = slot.id;
    end if;
  end if;
  return jsonb_build_object(
    'offered', coalesce((outcome ->> 'ok')::boolean, false),
    'pending', (
      select count(*) from private.freed_slots as queued
      where queued.organization_id = offer_freed_slot.organization_id and queued.offered_batch_id is null
    )
  );
exception
  when lock_not_available or deadlock_detected or serialization_failure or query_canceled then
    perform private.raise_busy(sqlstate, sqlerrm);
end
$$;
comment on function private.offer_freed_slot(uuid) is
  'Offers one freed slot to the next in line, or passes over who cannot have it: {offered, pending}. Call it until pending '
  'is 0, each time in a transaction of its own.';

create function private.offer_freed_slots(request_id text)
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
  actor private.actor := private.begin_booking(request_id);
begin
  if actor.role = 'client' then
    perform private.raise_refusal(403, 'FORBIDDEN', 'Only staff offer freed slots.');
  end if;
  return private.offer_freed_slot(actor.organization_id);
end
$$;
comment on function private.offer_freed_slots(text) is 'As private.offer_freed_slot, for the caller''s organization.';
grant execute on function private.offer_freed_slots(text) to authenticated;
