-- Purpose: a slot, or a place in a group, that a cancellation frees is offered to whoever waits for one, as a hold of its own.
-- Objects: waitlist_entries; private.offer_slot and the trigger that calls it.
-- Watch for: an offer is an ordinary hold (its hold_key is in hold_batches): confirming it books, and when it is released
--            or expires the entry waits again, swept or not. Nothing here waits for another client's lock: the canceller
--            holds locks already, so a client who is being booked this moment is passed over.

create table public.waitlist_entries (
  organization_id uuid not null references public.organizations (id),
  id uuid not null default gen_random_uuid(),
  client_id uuid not null,
  therapist_id uuid,
  cpt_code text not null check (cpt_code ~ '^[0-9A-Z]{5}$'),
  windows tstzmultirange not null check (not isempty(windows)),
  minutes smallint check (minutes between 15 and 720),
  priority smallint not null default 5 check (priority between 1 and 9),
  offered_batch_id uuid,
  offered_at timestamptz,
  closed_at timestamptz,
  created_at timestamptz not null default clock_timestamp(),
  primary key (organization_id, id),
  foreign key (organization_id, client_id) references public.clients (organization_id, id),
  foreign key (organization_id, therapist_id) references public.therapists (organization_id, id),
  foreign key (organization_id, offered_batch_id) references public.hold_batches (organization_id, id),
  check ((offered_batch_id is null) = (offered_at is null))
);
comment on table public.waitlist_entries is
  'Who would take a slot that becomes free: for which service, when, how urgently. Never deleted: closed.';
comment on column public.waitlist_entries.therapist_id is 'Null: any therapist who has the client on her caseload.';
comment on column public.waitlist_entries.windows is 'The instants within which a slot would suit.';
comment on column public.waitlist_entries.minutes is 'How long it should be; null: as long as the slot is.';
comment on column public.waitlist_entries.priority is '1 is asked first; among equals, who has waited longest.';
comment on column public.waitlist_entries.offered_batch_id is
  'The last offer. While that hold lives or once it is confirmed the entry does not wait; else it waits again.';
comment on column public.waitlist_entries.closed_at is 'Since when nobody waits any more.';
create index waitlist_entries_client_idx on public.waitlist_entries (organization_id, client_id);
create index waitlist_entries_therapist_idx on public.waitlist_entries (organization_id, therapist_id)
  where therapist_id is not null;
create index waitlist_entries_offered_batch_idx on public.waitlist_entries (organization_id, offered_batch_id)
  where offered_batch_id is not null;
create index waitlist_entries_open_idx on public.waitlist_entries (organization_id, priority, created_at)
  where closed_at is null;

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
  'Admins read the whole list, a therapist the entries of her caseload.';
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

create function private.offer_slot(freed public.sessions)
returns void
language plpgsql
set search_path = ''
as $$
declare
  entry public.waitlist_entries;
  wanted private.booking_request;
  new_hold_id uuid;
  new_batch_id uuid;
  claims private.wanted_claim[];
  services private.service[];
  demands private.unit_demand[];
  joined_id uuid;
  mate_ids uuid[];
  code text := private.service_code(freed.cpt_code, freed.session_type);
  way record;
  as_of timestamptz := clock_timestamp();
  held_until timestamptz := date_trunc('milliseconds', as_of) + interval '15 minutes';
  inserted bigint;
begin
  -- What a member of a group frees is her place in it, as long as anybody else comes: for the same service and time.
  -- Once nobody does it is a slot like any other.
  select array_agg(mate.id) into mate_ids
  from public.sessions as mate
  where mate.organization_id = freed.organization_id
    and mate.group_id = freed.group_id
    and mate.status not in ('cancelled', 'no_show');
  if mate_ids is not null then
    joined_id := freed.group_id;
    if private.group_move_ends(freed.organization_id, array[joined_id], as_of) is not null
      or cardinality(mate_ids) + private.group_joiners(freed.organization_id, joined_id, as_of) >= 8
    then
      return;
    end if;
  end if;

  for entry in
    select candidate.*
    from public.waitlist_entries as candidate
    where candidate.organization_id = freed.organization_id
      and candidate.closed_at is null
      and candidate.client_id <> freed.client_id
      and (joined_id is null or not exists (
        select 1
        from public.sessions as mate
        where mate.organization_id = freed.organization_id
          and mate.id = any (mate_ids)
          and mate.client_id = candidate.client_id
      ))
      and coalesce(candidate.therapist_id, freed.therapist_id) = freed.therapist_id
      and coalesce(make_interval(mins => candidate.minutes), freed.end_time - freed.start_time)
        <= freed.end_time - freed.start_time
      and candidate.windows @> tstzrange(
        freed.start_time, coalesce(freed.start_time + make_interval(mins => candidate.minutes), freed.end_time), '[)'
      )
      and private.may_render(freed.organization_id, freed.therapist_id, candidate.cpt_code)
      and case
        when joined_id is not null then
          candidate.cpt_code = code
          and coalesce(make_interval(mins => candidate.minutes), freed.end_time - freed.start_time)
            = freed.end_time - freed.start_time
        else not exists (
          select 1
          from public.service_codes as service
          where service.code = candidate.cpt_code and service.min_clients > 1
        )
      end
      and exists (
        select 1
        from public.caseloads as caseload
        join public.clients as client
          on client.organization_id = caseload.organization_id and client.id = caseload.client_id
        join public.therapists as therapist
          on therapist.organization_id = caseload.organization_id and therapist.id = caseload.therapist_id
        where caseload.organization_id = freed.organization_id
          and caseload.therapist_id = freed.therapist_id
          and caseload.client_id = candidate.client_id
          and client.deleted_at is null
          and therapist.deleted_at is null
      )
    order by candidate.priority, candidate.created_at, candidate.id
    -- Two slots freed at once would both be offered to the first who waits: the second canceller waits here, and then
    -- sees that she has been asked. Always in one order; whoever holds these rows waits for nothing else.
    for update
  loop
    continue when exists (
      select 1
      from public.session_holds as hold
      join public.hold_batches as batch
        on batch.organization_id = hold.organization_id and batch.id = hold.batch_id
      where hold.organization_id = entry.organization_id
        and hold.batch_id = entry.offered_batch_id
        and (hold.status = 'confirmed' or (hold.status = 'held' and batch.expires_at > clock_timestamp()))
    );
    -- Somebody who books for her this moment may be waiting for the therapist that is locked here.
    continue when not pg_try_advisory_xact_lock(
      hashtextextended(entry.organization_id::text || entry.client_id::text, 0)
    );
    as_of := clock_timestamp();
    new_hold_id := gen_random_uuid();
    new_batch_id := gen_random_uuid();
    wanted := null;
    wanted.therapist_id := freed.therapist_id;
    wanted.client_id := entry.client_id;
    wanted.room_id := freed.room_id;
    wanted.time_zone := freed.time_zone;
    wanted.cpt_code := entry.cpt_code;
    wanted.buffer_before_minutes := freed.buffer_before_minutes;
    wanted.buffer_after_minutes := freed.buffer_after_minutes;
    wanted.start_times := array[freed.start_time];
    wanted.end_times := array[coalesce(freed.start_time + make_interval(mins => entry.minutes), freed.end_time)];
    wanted.time_zones := array[freed.time_zone];
    wanted.group_id := joined_id;
    if joined_id is not null then
      wanted.session_type := freed.session_type;
      wanted.slot_groups := array[joined_id];
    end if;

    claims := private.wanted_claims(entry.organization_id, wanted, array[new_hold_id]);
    select * into way from private.find_conflicts(entry.organization_id, claims, mate_ids, as_of);
    continue when way.conflicts is not null;
    services := private.wanted_services(entry.organization_id, wanted, array[new_hold_id]);
    demands := private.ask_units(entry.organization_id, services, as_of);
    continue when private.is_short(demands);

    delete from private.claims as stale
    where stale.organization_id = entry.organization_id
      and stale.owner_id = any (way.stale_owner_ids)
      and stale.resource_id in (freed.therapist_id, entry.client_id, freed.room_id)
      and stale.expires_at <= as_of;
    if joined_id is not null then
      -- A move of the group that came to nothing may have left its claims under another key than the group's.
      perform private.sync_claims(entry.organization_id, mate_ids);
    end if;
    insert into private.claims (
      organization_id, owner_id, resource_kind, resource_id, during, lanes, group_key, expires_at
    )
    select entry.organization_id, claim.owner_id, claim.resource_kind, claim.resource_id, claim.during, claim.lanes,
      claim.group_key, held_until
    from unnest(claims) as claim
    on conflict do nothing;
    get diagnostics inserted = row_count;
    if inserted < cardinality(claims) then
      delete from private.claims as claim
      where claim.organization_id = entry.organization_id and claim.owner_id = new_hold_id;
      continue;
    end if;

    insert into public.hold_batches (
      organization_id, id, therapist_id, client_id, room_id, group_id, session_type, cpt_code, time_zone,
      buffer_before_minutes, buffer_after_minutes, expires_at, created_by, created_at
    )
    values (
      entry.organization_id, new_batch_id, wanted.therapist_id, wanted.client_id, wanted.room_id, wanted.group_id,
      wanted.session_type, wanted.cpt_code, wanted.time_zone, wanted.buffer_before_minutes, wanted.buffer_after_minutes, held_until,
      coalesce(auth.uid(), freed.therapist_id), as_of
    );
    insert into public.session_holds (
      organization_id, id, batch_id, occurrence_index, start_time, end_time, time_zone, group_id
    )
    values (
      entry.organization_id, new_hold_id, new_batch_id, 0, wanted.start_times[1], wanted.end_times[1], wanted.time_zone,
      wanted.group_id
    );
    perform private.reserve_units(entry.organization_id, demands, 'held', held_until);
    perform private.record_event(
      entry.organization_id, 'hold.acquired', 'hold', array[new_hold_id], as_of,
      therapist_id => wanted.therapist_id,
      after => private.hold_facts(wanted),
      details => jsonb_build_object(
        'batchId', new_batch_id, 'expiresAt', private.iso(held_until), 'waitlistEntryId', entry.id, 'freedBy', freed.id
      )
    );
    update public.waitlist_entries as offered
    set offered_batch_id = new_batch_id, offered_at = as_of
    where offered.organization_id = entry.organization_id and offered.id = entry.id;
    return;
  end loop;
end
$$;
comment on function private.offer_slot(public.sessions) is
  'Holds the time of a cancelled session, or the place in its group, for the first entry of the waitlist that it suits '
  'and that can have it, for 15 minutes. Its therapist and room are locked by whoever cancelled.';

create function private.offer_freed_slots()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  -- Each slot locks those it suits, in one order; several slots of one statement would lock them in as many orders, and
  -- two cancellers wait for each other. So all who wait come first.
  if (select count(*) from new_rows as new_row where new_row.status = 'cancelled') > 1 then
    perform 1
    from public.waitlist_entries as entry
    where entry.organization_id in (select new_row.organization_id from new_rows as new_row)
      and entry.closed_at is null
    order by entry.priority, entry.created_at, entry.id
    for update;
  end if;
  perform private.offer_slot(new_row)
  from new_rows as new_row
  join old_rows as old_row on old_row.organization_id = new_row.organization_id and old_row.id = new_row.id
  where new_row.status = 'cancelled'
    and old_row.status <> 'cancelled'
    and new_row.start_time > clock_timestamp()
    and exists (
      select 1
      from public.waitlist_entries as entry
      where entry.organization_id = new_row.organization_id and entry.closed_at is null
    )
  order by new_row.start_time, new_row.id;
  return null;
end
$$;
comment on function private.offer_freed_slots() is 'Trigger: what a cancellation frees is offered to who waits for it.';
create trigger f_offer_freed_slots after update on public.sessions
  referencing old table as old_rows new table as new_rows
  for each statement execute function private.offer_freed_slots();
