-- Purpose: time that becomes free is offered to a client who waits for it, as a hold of its own.
-- Objects: waitlist_entries; freed_slots, the queue; queue_freed, wake_slots; offer_next; offer_freed_slots for the caller.
-- Watch for: whoever frees a place only writes it into the queue; the offer is made in a transaction of its own (called by
--            the edge functions after they have answered, by a schedule, by anybody of the staff). An offer made by the
--            canceller would lock the waiting client after the canceller's own people. An offer is an ordinary hold: it
--            obeys every rule, and confirming it books.
--            A slot leaves the queue when it is booked, begins, is taken by somebody else, or nobody is left who could
--            want it. While somebody may want it later it is asleep, and whatever may change that wakes it.
--            The locks of the queue: a slot, then entries. Nobody waits for a slot that is locked.

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
  blocked_ids uuid[] not null default '{}',
  blocked_until timestamptz,
  is_asleep boolean not null default false,
  offered_batch_id uuid,
  freed_at timestamptz not null default clock_timestamp(),
  primary key (organization_id, id)
);
comment on table private.freed_slots is
  'Time of a therapist, or a place in a group, that became free while somebody waits. private.offer_next drains it.';
comment on column private.freed_slots.declined_ids is
  'Entries that let this slot go, or cannot have it, because of another session of the therapist: they are not asked again.';
comment on column private.freed_slots.blocked_ids is
  'Entries that could not have it for now, because of a hold, of hours, of a closure, of units that are not left, of '
  'another session of their client, of a code or of who may render it: they are asked again.';
comment on column private.freed_slots.blocked_until is
  'When the last of the holds that were in the way expires; null: none was.';
comment on column private.freed_slots.is_asleep is
  'Nobody can have it now, somebody may later. It is not offered until something wakes it, or blocked_until has come.';
comment on column private.freed_slots.offered_batch_id is 'The last offer, which may have lapsed; null: to be offered.';
create index freed_slots_therapist_idx on private.freed_slots (organization_id, therapist_id);
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
select private.write_alone('{waitlist_entries}');

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
  with check (organization_id = (select private.organization_as('admin')));
create policy role_scoped_select_update on public.waitlist_entries for update to authenticated
  using (organization_id = (select private.organization_as('admin')))
  with check (organization_id = (select private.organization_as('admin')));
comment on policy role_scoped_select on public.waitlist_entries is
  'Admins read the whole list, a therapist the entries of their caseload.';
comment on policy role_scoped_select_insert on public.waitlist_entries is 'Admins put clients on the list.';
comment on policy role_scoped_select_update on public.waitlist_entries is 'Admins change what a client waits for, or close it.';
grant select,
  insert (organization_id, id, client_id, therapist_id, cpt_code, windows, minutes, priority),
  update (therapist_id, cpt_code, windows, minutes, priority, closed_at)
  on public.waitlist_entries to authenticated;
grant select, insert, update on public.waitlist_entries to service_role;
create trigger refuse_delete before delete or truncate on public.waitlist_entries
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
  -- The time that was booked: what was claimed less the travel around it, and less what the same change claims anew.
  cross join lateral unnest(
    tstzmultirange(tstzrange(
      lower(gone.during) + coalesce(session.buffer_before_minutes, 0) * interval '1 minute',
      greatest(upper(gone.during) - coalesce(session.buffer_after_minutes, 0) * interval '1 minute', lower(gone.during)), '[)'
    )) - coalesce((
      select range_agg(kept.during::tstzrange) from unnest(missing) as kept where kept.resource_id = gone.resource_id
    ), '{}')
  ) as slot (during)
  where gone.resource_kind = 'therapist' and lower(slot.during) > as_of
    -- An offer that is let go, and time that is to be offered anyway, are in the queue already.
    and not exists (
      select from private.freed_slots as known
      left join public.session_holds as hold
        on hold.organization_id = known.organization_id and hold.batch_id = known.offered_batch_id
      where known.organization_id = queue_freed.organization_id and known.therapist_id = gone.resource_id
        and known.start_time <= lower(slot.during) and known.end_time >= upper(slot.during) and known.group_id is null
        and (known.offered_batch_id is null or hold.id = gone.owner_id)
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
  perform private.wake_slots_of(organization_id, array(
    select gone.resource_id from unnest(surplus) as gone where gone.resource_kind <> 'room'
  ));
  perform set_config('therapist_sessions.freed', 'yes', true);
end
$$;
comment on function private.queue_freed(uuid, private.claims[], private.claims[], timestamptz) is
  'Queues what a change of claims set free, if anybody waits in this organization.';

create function private.wake_slots_of(organization_id uuid, resource_ids uuid[])
returns void
language plpgsql
set search_path = ''
as $$
begin
  update private.freed_slots as slot
  set is_asleep = false, blocked_ids = '{}', blocked_until = null
  from (
    select asleep.id
    from private.freed_slots as asleep
    where asleep.organization_id = wake_slots_of.organization_id and asleep.is_asleep and asleep.blocked_ids <> '{}'
      and (
        asleep.therapist_id = any (resource_ids)
        or exists (
          select from public.waitlist_entries as entry
          where entry.organization_id = asleep.organization_id and entry.id = any (asleep.blocked_ids)
            and entry.client_id = any (resource_ids)
        )
      )
    -- An offer that has a slot in hand waits for the locks of the people that are freed here, then looks itself.
    for no key update skip locked
  ) as awake
  where slot.organization_id = wake_slots_of.organization_id and slot.id = awake.id;
end
$$;
comment on function private.wake_slots_of(uuid, uuid[]) is
  'Time of these therapists and clients, or units, are free again: slots that somebody could not have for now are offered '
  'anew.';

create function private.close_waitlist_entry(organization_id uuid, batch_id uuid, as_of timestamptz)
returns void
language plpgsql
set search_path = ''
as $$
declare
  slot private.freed_slots;
  booked tstzrange;
begin
  -- Nobody else may offer or change the slot between this look and its deletion.
  select known.* into slot
  from private.freed_slots as known
  where known.organization_id = close_waitlist_entry.organization_id
    and known.offered_batch_id = close_waitlist_entry.batch_id
  for update;
  if found then
    select tstzrange(min(hold.start_time), max(hold.end_time)) into booked
    from public.session_holds as hold
    where hold.organization_id = slot.organization_id and hold.batch_id = slot.offered_batch_id;
    delete from private.freed_slots as known
    where known.organization_id = slot.organization_id and known.id = slot.id;
    -- Whoever waited for less leaves the rest, before and after, which the next may want.
    insert into private.freed_slots (organization_id, therapist_id, room_id, start_time, end_time)
    select slot.organization_id, slot.therapist_id, slot.room_id, lower(rest.during), upper(rest.during)
    from unnest(tstzmultirange(tstzrange(slot.start_time, slot.end_time)) - tstzmultirange(booked)) as rest (during)
    where slot.group_id is null and upper(rest.during) >= lower(rest.during) + interval '15 minutes';
    if found then
      perform set_config('therapist_sessions.freed', 'yes', true);
    end if;
    update public.waitlist_entries as entry
    set state = 'booked', closed_at = coalesce(entry.closed_at, as_of)
    where entry.organization_id = close_waitlist_entry.organization_id
      and entry.offered_batch_id = close_waitlist_entry.batch_id;
  end if;
end
$$;
comment on function private.close_waitlist_entry(uuid, uuid, timestamptz) is
  'An offer that is confirmed ends the waiting; what is left of its slot is queued.';

create function private.reopen_waitlist_entry(organization_id uuid, batch_id uuid)
returns void
language plpgsql
set search_path = ''
as $$
begin
  -- The slot goes to the next in line, also when its entry has been closed meanwhile.
  update private.freed_slots as slot
  set offered_batch_id = null, declined_ids = slot.declined_ids || array(
    select entry.id from public.waitlist_entries as entry
    where entry.organization_id = slot.organization_id and entry.offered_batch_id = slot.offered_batch_id
  )
  where slot.organization_id = reopen_waitlist_entry.organization_id
    and slot.offered_batch_id = reopen_waitlist_entry.batch_id;
  if found then
    update public.waitlist_entries as entry
    set state = 'waiting'
    where entry.organization_id = reopen_waitlist_entry.organization_id
      and entry.offered_batch_id = reopen_waitlist_entry.batch_id
      and entry.state = 'offered';
    perform set_config('therapist_sessions.freed', 'yes', true);
  end if;
end
$$;
comment on function private.reopen_waitlist_entry(uuid, uuid) is
  'An offer that was let go, or has lapsed: the client waits again, and the slot is offered to the next.';

create function private.wake_for_entry()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  update private.freed_slots as slot
  set is_asleep = false
  from (
    select asleep.id
    from private.freed_slots as asleep
    where asleep.organization_id = new.organization_id and asleep.is_asleep
      and new.id <> all (asleep.declined_ids)
      and private.entry_suits(asleep, new)
    -- An offer that has a slot in hand locks the entries before it puts the slot to sleep: it sees what is written here.
    for no key update skip locked
  ) as awake
  where slot.organization_id = new.organization_id and slot.id = awake.id;
  return null;
end
$$;
comment on function private.wake_for_entry() is
  'Trigger: who begins to wait, or waits for something else, may want a slot that nobody could have.';

create function private.wake_slots(organization_ids uuid[])
returns void
language plpgsql
set search_path = ''
as $$
begin
  -- Also a slot that an offer has in hand, which was refused by the rules as they were: this waits for the offer to end.
  update private.freed_slots as slot
  set is_asleep = false, blocked_ids = '{}', blocked_until = null
  from (
    select queued.organization_id, queued.id
    from private.freed_slots as queued
    where queued.organization_id = any (organization_ids) and queued.offered_batch_id is null
    order by queued.id
    for no key update
  ) as awake
  where slot.organization_id = awake.organization_id and slot.id = awake.id;
end
$$;
comment on function private.wake_slots(uuid[]) is 'What could not be offered in these organizations is looked at again.';

create function private.wake_for_rules()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.wake_slots(array(select distinct changed.organization_id from changed_rows as changed));
  return null;
end
$$;
comment on function private.wake_for_rules() is
  'Trigger: a closure or time off that is withdrawn, a limit that is raised or ends, a payer''s other rule, a client who '
  'comes on a caseload, a member who is added, and a credential that is corrected may open time that could not be offered.';

create function private.wake_for_role()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.wake_slots(array(
    select distinct changed.organization_id
    from changed_rows as changed
    left join old_rows as former on former.organization_id = changed.organization_id and former.user_id = changed.user_id
    where changed.role is distinct from former.role
  ));
  return null;
end
$$;
comment on function private.wake_for_role() is
  'Trigger: a member with another role may render again, which may open time that could not be offered.';

create function private.wake_for_extra_hours()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.wake_slots(array(
    select distinct added.organization_id from changed_rows as added where added.kind = 'extra_hours'
  ));
  return null;
end
$$;
comment on function private.wake_for_extra_hours() is 'Trigger: extra hours may open time that could not be offered.';

create function private.wake_for_hours()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.wake_slots(array(
    select distinct changed.organization_id
    from changed_rows as changed
    join old_rows as former on former.organization_id = changed.organization_id and former.id = changed.id
    where (changed.availability_hours, changed.time_zone, changed.credential, changed.deleted_at)
      is distinct from (former.availability_hours, former.time_zone, former.credential, former.deleted_at)
  ));
  return null;
end
$$;
comment on function private.wake_for_hours() is
  'Trigger: a therapist''s new hours, or another credential of theirs, may open time that could not be offered; so may a '
  'therapist who is restored.';

create function private.wake_for_codes()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  -- Everybody's codes are everybody's.
  perform private.wake_slots(array(
    select distinct slot.organization_id
    from private.freed_slots as slot
    join changed_rows as changed on coalesce(changed.organization_id, slot.organization_id) = slot.organization_id
  ));
  return null;
end
$$;
comment on function private.wake_for_codes() is 'Trigger: a code that is entered may open time that could not be offered.';

create function private.wake_for_changed_codes()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.wake_slots(array(
    select distinct slot.organization_id
    from private.freed_slots as slot
    join changed_rows as changed on coalesce(changed.organization_id, slot.organization_id) = slot.organization_id
    join old_rows as former on former.id = changed.id
    where (changed.levels, changed.min_clients, changed.max_clients, changed.valid_to)
      is distinct from (former.levels, former.min_clients, former.max_clients, former.valid_to)
  ));
  return null;
end
$$;
comment on function private.wake_for_changed_codes() is
  'Trigger: a code that goes on, is for other numbers of clients, or may be rendered by others may open time that could not '
  'be offered.';

create function private.wake_for_restored()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.wake_slots(array(
    select distinct changed.organization_id
    from changed_rows as changed
    join old_rows as former on former.organization_id = changed.organization_id and former.id = changed.id
    where changed.deleted_at is null and former.deleted_at is not null
  ));
  return null;
end
$$;
comment on function private.wake_for_restored() is
  'Trigger: clients who are restored may have what could not be offered to them.';

create trigger d_wake_slots after update on public.organization_closures
  referencing new table as changed_rows for each statement execute function private.wake_for_rules();
create trigger d_wake_slots_for_deleted after delete on public.organization_closures
  referencing old table as changed_rows for each statement execute function private.wake_for_rules();
create trigger d_wake_slots after update on public.availability_exceptions
  referencing new table as changed_rows for each statement execute function private.wake_for_rules();
create trigger d_wake_slots_for_deleted after delete on public.availability_exceptions
  referencing old table as changed_rows for each statement execute function private.wake_for_rules();
create trigger d_wake_slots_for_extra_hours after insert on public.availability_exceptions
  referencing new table as changed_rows for each statement execute function private.wake_for_extra_hours();
create trigger d_wake_slots after update on public.therapists
  referencing old table as old_rows new table as changed_rows for each statement execute function private.wake_for_hours();
create trigger d_wake_slots after update on public.clients
  referencing old table as old_rows new table as changed_rows for each statement execute function private.wake_for_restored();
create trigger d_wake_slots_for_inserted after insert on public.caseloads
  referencing new table as changed_rows for each statement execute function private.wake_for_rules();
create trigger d_wake_slots after update on public.memberships
  referencing old table as old_rows new table as changed_rows for each statement execute function private.wake_for_role();
create trigger d_wake_slots_for_inserted after insert on public.memberships
  referencing new table as changed_rows for each statement execute function private.wake_for_rules();
create trigger d_wake_slots after update on public.service_codes
  referencing old table as old_rows new table as changed_rows for each statement
  execute function private.wake_for_changed_codes();
create trigger d_wake_slots_for_inserted after insert on public.service_codes
  referencing new table as changed_rows for each statement execute function private.wake_for_codes();
-- A new limit only takes; any other rule of a payer may also give.
create trigger d_wake_slots after update on public.unit_limits
  referencing new table as changed_rows for each statement execute function private.wake_for_rules();
create trigger d_wake_slots after update on public.payer_rules
  referencing new table as changed_rows for each statement execute function private.wake_for_rules();
create trigger d_wake_slots_for_inserted after insert on public.payer_rules
  referencing new table as changed_rows for each statement execute function private.wake_for_rules();
create trigger d_wake_slots after update on public.payer_code_rules
  referencing new table as changed_rows for each statement execute function private.wake_for_rules();
create trigger d_wake_slots_for_inserted after insert on public.payer_code_rules
  referencing new table as changed_rows for each statement execute function private.wake_for_rules();
create trigger d_wake_slots after update on public.payer_concurrency_rules
  referencing new table as changed_rows for each statement execute function private.wake_for_rules();
create trigger d_wake_slots_for_inserted after insert on public.payer_concurrency_rules
  referencing new table as changed_rows for each statement execute function private.wake_for_rules();

-- Offers -----------------------------------------------------------------------------------------------------------

create function private.entry_place(slot private.freed_slots, entry public.waitlist_entries)
returns tstzrange
language plpgsql
immutable
set search_path = ''
as $$
declare
  whole constant tstzrange := tstzrange(slot.start_time, slot.end_time, '[)');
  duration constant interval := coalesce(entry.minutes * interval '1 minute', slot.end_time - slot.start_time);
begin
  -- A place in a group is at the group's time.
  if slot.group_id is not null then
    return case when entry.windows @> whole and slot.start_time + duration = slot.end_time then whole end;
  end if;
  return (
    select tstzrange(lower(part.during), lower(part.during) + duration, '[)')
    from unnest(entry.windows * tstzmultirange(whole)) as part (during)
    where lower(part.during) + duration <= upper(part.during)
    order by part.during
    limit 1
  );
end
$$;
comment on function private.entry_place(private.freed_slots, public.waitlist_entries) is
  'Where in a slot an entry would have its time: the earliest that its windows leave, as long as it waits for. Null: nowhere.';

create function private.entry_suits(slot private.freed_slots, entry public.waitlist_entries)
returns boolean
language plpgsql
stable
set search_path = ''
as $$
declare
  during constant tstzrange := private.entry_place(slot, entry);
begin
  return during is not null
    and coalesce(entry.therapist_id, slot.therapist_id) = slot.therapist_id
    and exists (
      select from public.caseloads as caseload
      where caseload.organization_id = slot.organization_id and caseload.therapist_id = slot.therapist_id
        and caseload.client_id = entry.client_id
    )
    -- A place in a group is of the group's service, a slot of its own of one that is for one client.
    and case
      when slot.group_id is null then private.service_issue(
        slot.organization_id, entry.cpt_code,
        private.service_date(slot.organization_id, entry.client_id, lower(during)), 1
      ) is null
      else entry.cpt_code = (
        select private.billed_code_at(
          mate.organization_id, entry.client_id, mate.cpt_code, mate.session_type, mate.start_time
        )
        from public.sessions as mate
        where mate.organization_id = slot.organization_id and mate.group_id = slot.group_id
          and mate.status not in ('cancelled', 'no_show')
        limit 1
      )
    end;
end
$$;
comment on function private.entry_suits(private.freed_slots, public.waitlist_entries) is
  'Whether a slot is what an entry waits for: its therapist, its time, its service, on the caseload.';
create trigger d_wake_slots after insert or update on public.waitlist_entries
  for each row when (new.state = 'waiting') execute function private.wake_for_entry();

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
  where candidate.organization_id = slot.organization_id
    and candidate.state = 'waiting'
    and candidate.id <> all (slot.declined_ids || slot.blocked_ids)
    and private.entry_suits(slot, candidate)
  order by candidate.priority, candidate.created_at, candidate.id
  limit 1
  -- Two slots freed at once would both be offered to whoever waits longest. The second offer waits for the first to end
  -- rather than pass over its entry: the first may be refused, and this slot be the one they get.
  for no key update;
  return entry;
end
$$;
comment on function private.next_in_line(private.freed_slots) is
  'Who is asked for this slot: whom it suits, by priority and then by how long they have waited. Locks the entry.';

create function private.who_may_want(slot private.freed_slots)
returns text[]
language plpgsql
volatile
set search_path = ''
as $$
declare
  states text[];
begin
  -- Shared until this transaction ends: whoever lets one of these offers go waits, then finds the slot asleep and wakes it.
  select array_agg(locked.state) into states
  from (
    select candidate.state
    from public.waitlist_entries as candidate
    where candidate.organization_id = slot.organization_id
      and candidate.state in ('waiting', 'offered')
      and candidate.id <> all (slot.declined_ids || slot.blocked_ids)
      and private.entry_suits(slot, candidate)
    order by candidate.id
    for share
  ) as locked;
  return coalesce(states, '{}');
end
$$;
comment on function private.who_may_want(private.freed_slots) is
  'The states of the entries that a slot would suit: offered, while they have another offer; waiting, for those who began '
  'to wait just now.';

create function private.reopen_lapsed_offers(organization_id uuid, most integer default 50)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  lapsed record;
begin
  select array_agg(distinct batch.id) as batch_ids,
    array_agg(distinct batch.therapist_id) || array_agg(distinct batch.room_id) || array_agg(distinct hold.client_id) as resource_ids
  into lapsed
  from (
    select slot.offered_batch_id as id
    from private.freed_slots as slot
    join public.hold_batches as known
      on known.organization_id = slot.organization_id and known.id = slot.offered_batch_id
    where slot.organization_id = reopen_lapsed_offers.organization_id and known.expires_at <= clock_timestamp()
    limit most
  ) as offer
  join public.hold_batches as batch
    on batch.organization_id = reopen_lapsed_offers.organization_id and batch.id = offer.id
  join public.session_holds as hold on hold.organization_id = batch.organization_id and hold.batch_id = batch.id;
  if lapsed.batch_ids is null then
    return false;
  end if;
  -- Who confirms an offer in its last moment has these locks until the slot has left the queue and the entry is booked.
  perform private.lock_resources(organization_id, lapsed.resource_ids);
  perform private.expire_batches(organization_id, lapsed.batch_ids, clock_timestamp());
  perform private.reopen_waitlist_entry(reopen_lapsed_offers.organization_id, batch.id)
  from unnest(lapsed.batch_ids) as batch (id);
  return true;
end
$$;
comment on function private.reopen_lapsed_offers(uuid, integer) is
  'Offers that nobody took in time: their slots are to be offered to the next. Locks the people of the offers, so it is a '
  'transaction of its own. False: there are none.';

create function private.offer_slot(slot private.freed_slots, entry public.waitlist_entries)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  place constant tstzrange := private.entry_place(slot, entry);
  wanted private.hold_request;
  outcome jsonb;
  batch_id uuid;
begin
  wanted.therapist_id := slot.therapist_id;
  wanted.client_id := entry.client_id;
  wanted.room_id := case when slot.group_id is null then (
    select room.id from public.rooms as room
    where room.organization_id = slot.organization_id and room.id = slot.room_id and room.deleted_at is null
  ) end;
  wanted.group_id := slot.group_id;
  wanted.cpt_code := entry.cpt_code;
  wanted.time_zone := (select known.time_zone from public.organizations as known where known.id = slot.organization_id);
  wanted.start_time := private.iso(lower(place));
  wanted.end_time := private.iso(upper(place));
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
      outcome := '{"ok": false, "code": "VALIDATION_FAILED"}';
  end;

  if (outcome ->> 'ok')::boolean then
    batch_id := (outcome #>> '{body,holdId}')::uuid;
    update public.waitlist_entries as offered
    set state = 'offered', offered_batch_id = batch_id, offered_at = clock_timestamp()
    where offered.organization_id = entry.organization_id and offered.id = entry.id;
    update private.freed_slots as offered
    set offered_batch_id = batch_id
    where offered.organization_id = slot.organization_id and offered.id = slot.id;
    return true;
  elsif outcome ->> 'code' = 'ROOM_CONFLICT' and outcome ->> 'retryAfter' is null then
    -- The room is somebody else's by now, the therapist's time may still be had.
    slot.room_id := null;
  elsif outcome ->> 'retryAfter' is not null or outcome ->> 'code' in (
    'OUTSIDE_AVAILABILITY', 'CLIENT_CONFLICT', 'CONCURRENT_SERVICE_NOT_ALLOWED', 'AUTHORIZATION_EXCEEDED',
    -- Somebody may be archived, or of another level, and a code not be valid: all of that may change.
    'FORBIDDEN', 'VALIDATION_FAILED'
  ) then
    slot.blocked_ids := slot.blocked_ids || entry.id;
    slot.blocked_until := greatest(slot.blocked_until, (outcome ->> 'retryAfter')::timestamptz);
  else
    slot.declined_ids := slot.declined_ids || entry.id;
  end if;
  update private.freed_slots as passed
  set room_id = slot.room_id, blocked_ids = slot.blocked_ids, blocked_until = slot.blocked_until,
    declined_ids = slot.declined_ids
  where passed.organization_id = slot.organization_id and passed.id = slot.id;
  return false;
end
$$;
comment on function private.offer_slot(private.freed_slots, public.waitlist_entries) is
  'Holds a slot for an entry, by the ordinary way to a hold, or passes over the entry: for now when what is in the way may '
  'go, else for good. Both rows are locked by the caller.';

create function private.is_to_offer(slot private.freed_slots)
returns boolean
language plpgsql
volatile
set search_path = ''
as $$
begin
  return slot.offered_batch_id is null
    and (not slot.is_asleep or coalesce(slot.blocked_until <= clock_timestamp(), false));
end
$$;
comment on function private.is_to_offer(private.freed_slots) is
  'Whether a slot is to be offered now: it has no offer, and is not asleep, or what was in its way has expired.';

create function private.offer_next(organization_id uuid)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  slot private.freed_slots;
  entry public.waitlist_entries;
  wanted_by text[];
  offered boolean := false;
begin
  perform private.share_organization(organization_id);
  if not private.reopen_lapsed_offers(organization_id) then
    delete from private.freed_slots as past
    using (
      select begun.id from private.freed_slots as begun
      where begun.organization_id = offer_next.organization_id and begun.offered_batch_id is null
        and begun.start_time <= clock_timestamp()
      for update skip locked
    ) as over
    where past.organization_id = offer_next.organization_id and past.id = over.id;

    select queued.* into slot
    from private.freed_slots as queued
    where queued.organization_id = offer_next.organization_id and private.is_to_offer(queued)
    order by queued.id
    limit 1
    for update skip locked;
  end if;
  if slot.id is not null then
    if slot.blocked_until <= clock_timestamp() then
      slot.blocked_ids := '{}';
      slot.blocked_until := null;
    end if;
    -- One entry's row, then one place's people, in the order of every path. Whoever cannot have the slot is passed over,
    -- and the next is asked in a transaction of their own.
    entry := private.next_in_line(slot);
    if entry.id is null then
      wanted_by := private.who_may_want(slot);
    end if;
    if wanted_by = '{}' and slot.blocked_ids = '{}' then
      delete from private.freed_slots as unwanted
      where unwanted.organization_id = slot.organization_id and unwanted.id = slot.id;
    else
      update private.freed_slots as known
      set is_asleep = entry.id is null and 'waiting' <> all (wanted_by), blocked_ids = slot.blocked_ids,
        blocked_until = slot.blocked_until
      where known.organization_id = slot.organization_id and known.id = slot.id;
    end if;
    if entry.id is not null then
      offered := private.offer_slot(slot, entry);
    end if;
  end if;
  return jsonb_build_object('offered', offered, 'pending', (
    select count(*)
    from private.freed_slots as queued
    left join public.hold_batches as batch
      on batch.organization_id = queued.organization_id and batch.id = queued.offered_batch_id
    where queued.organization_id = offer_next.organization_id
      and (private.is_to_offer(queued) or batch.expires_at <= clock_timestamp())
  ));
end
$$;
comment on function private.offer_next(uuid) is
  'One step of the queue: offers that lapsed are reopened, or one freed slot is offered to the next in line, put to sleep '
  'or given up. Call it in a transaction of its own.';

create function private.offer_freed_slots(actor private.actor)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  outcome jsonb;
begin
  if actor.role = 'client' then
    perform private.raise_refusal(403, 'FORBIDDEN', 'Only staff offer freed slots.');
  end if;
  outcome := private.offer_next(actor.organization_id);
  perform private.require_same_role(actor);
  return outcome;
end
$$;
comment on function private.offer_freed_slots(private.actor) is
  'One step of the queue of the caller''s organization: {offered, pending}. Call it until pending is 0, each time in a '
  'transaction of its own.';
