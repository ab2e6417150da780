-- Purpose: one table of claims that decides every overlap, and the holds that claim time for a few minutes.
-- Objects: hold_batches, session_holds, private.claims, the triggers that keep claims and sessions in step.
-- Watch for: a hold and the session it becomes share one id, so confirming keeps the claims where they are. A claim
--            with expires_at in the past claims nothing: whoever wants its place removes it, under the resource's lock.

create table public.hold_batches (
  organization_id uuid not null references public.organizations (id),
  id uuid not null default gen_random_uuid(),
  hold_key uuid not null default gen_random_uuid(),
  therapist_id uuid not null,
  client_id uuid not null,
  room_id uuid,
  group_id uuid,
  session_type text,
  cpt_code text,
  time_zone text not null references public.time_zones (name),
  buffer_before_minutes smallint not null default 0 check (buffer_before_minutes between 0 and 240),
  buffer_after_minutes smallint not null default 0 check (buffer_after_minutes between 0 and 240),
  recurrence_rule text,
  override_reason text,
  is_move boolean not null default false,
  expires_at timestamptz not null check (isfinite(expires_at)),
  created_by uuid not null,
  created_at timestamptz not null,
  primary key (organization_id, id),
  unique (organization_id, hold_key),
  foreign key (organization_id, therapist_id) references public.therapists (organization_id, id),
  foreign key (organization_id, client_id) references public.clients (organization_id, id),
  foreign key (organization_id, room_id) references public.rooms (organization_id, id),
  foreign key (organization_id, group_id) references public.session_groups (organization_id, id)
);
comment on table public.hold_batches is
  'What one call of sessions-hold asked for and got: one hold, or a whole series. Never deleted.';
comment on column public.hold_batches.hold_key is 'Whoever may book and knows the key may confirm or release the batch.';
comment on column public.hold_batches.is_move is 'The occurrences are new places for existing sessions.';
create index hold_batches_therapist_idx on public.hold_batches (organization_id, therapist_id);
create index hold_batches_client_idx on public.hold_batches (organization_id, client_id);
create index hold_batches_room_idx on public.hold_batches (organization_id, room_id) where room_id is not null;
create index hold_batches_group_idx on public.hold_batches (organization_id, group_id) where group_id is not null;
create index hold_batches_time_zone_idx on public.hold_batches (time_zone);

create table public.session_holds (
  organization_id uuid not null,
  id uuid not null default gen_random_uuid(),
  batch_id uuid not null,
  occurrence_index smallint not null check (occurrence_index between 0 and 365),
  hold_key uuid not null default gen_random_uuid(),
  start_time timestamptz not null,
  end_time timestamptz not null,
  time_zone text not null,
  session_id uuid,
  client_id uuid,
  group_id uuid,
  status public.hold_status not null default 'held',
  settled_at timestamptz,
  settled_xid xid8,
  primary key (organization_id, id),
  unique (organization_id, hold_key),
  unique (organization_id, batch_id, occurrence_index),
  foreign key (organization_id, batch_id) references public.hold_batches (organization_id, id),
  foreign key (organization_id, session_id) references public.sessions (organization_id, id),
  foreign key (organization_id, client_id) references public.clients (organization_id, id),
  check (end_time > start_time and end_time - start_time <= interval '12 hours'),
  check ((status = 'held') = (settled_at is null) and (settled_at is null) = (settled_xid is null))
);
comment on table public.session_holds is
  'One held occurrence. It lives while its status is held and its batch''s expires_at lies ahead. Never deleted.';
comment on column public.session_holds.session_id is 'The session this occurrence moves; null for a new booking.';
comment on column public.session_holds.client_id is 'The member of a group this hold is for; null: the batch''s client.';
comment on column public.session_holds.group_id is
  'The group of this occurrence: one that is there already, or one that confirming makes.';
comment on column public.session_holds.settled_at is 'When it was confirmed, released, or first seen to have expired.';
comment on column public.session_holds.settled_xid is 'The transaction that settled it; the audit trigger matches by it.';
-- One move hold at a time for a session: two would each believe the old slot theirs to give up.
create unique index session_holds_one_live_move_idx
  on public.session_holds (organization_id, session_id) where session_id is not null and status = 'held';
create index session_holds_client_idx on public.session_holds (organization_id, client_id) where client_id is not null;
create index session_holds_session_idx on public.session_holds (organization_id, session_id) where session_id is not null;

create function private.guard_hold_change()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  if old.status <> 'held' or (
    new.organization_id, new.id, new.batch_id, new.occurrence_index, new.hold_key,
    new.start_time, new.end_time, new.time_zone, new.session_id, new.client_id, new.group_id
  ) is distinct from (
    old.organization_id, old.id, old.batch_id, old.occurrence_index, old.hold_key,
    old.start_time, old.end_time, old.time_zone, old.session_id, old.client_id, old.group_id
  ) then
    raise exception using
      errcode = 'check_violation',
      message = 'a hold changes only once: from held to confirmed, released or expired',
      hint = 'Release it and hold anew.';
  end if;
  return new;
end
$$;
comment on function private.guard_hold_change() is 'Trigger: a hold''s content is fixed, and it settles once.';

create trigger guard_hold_change before update on public.session_holds
  for each row execute function private.guard_hold_change();
create trigger refuse_delete before delete on public.session_holds
  for each row execute function private.refuse_delete();
create trigger refuse_truncate before truncate on public.session_holds
  for each statement execute function private.refuse_delete();
create trigger refuse_delete before delete on public.hold_batches
  for each row execute function private.refuse_delete();
create trigger refuse_truncate before truncate on public.hold_batches
  for each statement execute function private.refuse_delete();

create table private.claims (
  organization_id uuid not null,
  owner_id uuid not null,
  resource_kind public.resource_kind not null,
  resource_id uuid not null,
  during tstzrange not null,
  lanes int4multirange not null default '{[0,2147483647)}',
  group_key uuid not null,
  expires_at timestamptz check (isfinite(expires_at)),
  primary key (organization_id, owner_id, resource_kind),
  constraint claims_during_finite check (
    not isempty(during) and isfinite(lower(during)) and isfinite(upper(during))
    and not lower_inf(during) and not upper_inf(during)
  ),
  constraint claims_lanes_finite check (not isempty(lanes) and not lower_inf(lanes) and not upper_inf(lanes)),
  -- Never deferrable: "on conflict do nothing" needs an immediate arbiter.
  constraint claims_no_overlap exclude using gist (
    organization_id with =,
    resource_id with =,
    during with &&,
    resource_kind with =,
    group_key with <>,
    lanes with &&
  )
) with (fillfactor = 80);
comment on table private.claims is
  'Time taken on a therapist, a client or a room, by a session or by a hold. This one constraint decides every overlap.';
comment on column private.claims.owner_id is
  'The session or the hold. The two never share an id except where a hold became that session.';
comment on column private.claims.during is 'The claimed instants, [start, end); a therapist''s includes the buffers.';
comment on column private.claims.lanes is
  'Two claims conflict when they share a lane. All lanes unless payer rules allow the services to run at once.';
comment on column private.claims.group_key is
  'Claims with equal keys never conflict: therapist claims of one group, and everything of one live move.';
comment on column private.claims.expires_at is 'Null for a session. A hold''s claim counts for nothing from here on.';

alter table private.claims enable row level security;
create policy deny_all on private.claims using (false);

-- Locks and expiry -------------------------------------------------------------------------------------------------

create function private.lock_resources(organization_id uuid, resource_ids uuid[])
returns void
language plpgsql
set search_path = ''
as $$
begin
  -- Two claimants of one resource would wait for each other inside the exclusion check, crosswise for overlapping
  -- windows or for therapist and client: deadlocks, and rounds of a minute. One lock a resource, always ascending,
  -- lets them queue instead. Statements after this one see what the previous holder committed.
  perform pg_advisory_xact_lock(ascending.key)
  from (
    select distinct hashtextextended(lock_resources.organization_id::text || resource.id::text, 0) as key
    from unnest(resource_ids) as resource (id)
    where resource.id is not null
    order by key
  ) as ascending;
end
$$;
comment on function private.lock_resources(uuid, uuid[]) is
  'Takes the transaction-scoped lock of each resource (therapists, clients, rooms), ascending; nulls are skipped.';

create function private.expire_batches(
  organization_id uuid,
  batch_ids uuid[],
  as_of timestamptz,
  locked_therapist_id uuid default null
)
returns void
language sql
security definer
set search_path = ''
begin atomic
  with stale as (
    select batch.id, batch.expires_at
    from public.hold_batches as batch
    where batch.organization_id = expire_batches.organization_id
      and batch.id = any (expire_batches.batch_ids)
      and batch.expires_at <= expire_batches.as_of
    order by batch.id
    -- Two claimants may meet one stale hold on different resources, each holding what the other wants next: whoever
    -- comes second passes over what the first is already writing down, rather than wait for it.
    for update skip locked
  ),
  expired as (
    update public.session_holds as hold
    set status = 'expired', settled_at = expire_batches.as_of, settled_xid = pg_current_xact_id()
    from stale
    where hold.organization_id = expire_batches.organization_id
      and hold.batch_id = stale.id
      and hold.status = 'held'
    returning hold.id, hold.batch_id, stale.expires_at
  ),
  given_back as (
    delete from public.authorization_units as entry
    using expired
    where entry.organization_id = expire_batches.organization_id and entry.owner_id = expired.id
  ),
  observed as (
    select expired.batch_id, expired.expires_at, array_agg(expired.id order by expired.id) as hold_ids
    from expired
    group by expired.batch_id, expired.expires_at
  )
  select private.record_event(
    expire_batches.organization_id, 'hold.expired', 'hold', observed.hold_ids, observed.expires_at,
    therapist_id => expire_batches.locked_therapist_id,
    before => '{"status": "held"}', after => '{"status": "expired"}',
    details => jsonb_build_object('batchId', observed.batch_id)
  )
  from observed;
end;
comment on function private.expire_batches(uuid, uuid[], timestamptz, uuid) is
  'Writes down that these batches have expired, where they have: once each, with one event dated to the expiry. The '
  'event''s actor is whoever first observed it.';

-- Sessions and their claims ------------------------------------------------------------------------------------------

create table private.lane_overrides (
  organization_id uuid not null,
  owner_id uuid not null,
  lanes int4multirange not null check (not isempty(lanes)),
  primary key (organization_id, owner_id)
);
comment on table private.lane_overrides is
  'Lanes of pairs of services that an admin let one hold, and the session it became, run beside. The reason is in the '
  'audit (override.concurrency).';
alter table private.lane_overrides enable row level security;
create policy deny_all on private.lane_overrides using (false);

create view private.expected_claims
with (security_invoker = true)
as
select
  session.organization_id,
  session.id as owner_id,
  claim.resource_kind,
  claim.resource_id,
  claim.during,
  claim.lanes,
  claim.group_key
from public.sessions as session
left join private.lane_overrides as override
  on override.organization_id = session.organization_id and override.owner_id = session.id
cross join lateral (
  values
    (
      'therapist'::public.resource_kind, session.therapist_id,
      tstzrange(
        session.start_time - make_interval(mins => session.buffer_before_minutes),
        session.end_time + make_interval(mins => session.buffer_after_minutes), '[)'
      ),
      '{[0,2147483647)}'::int4multirange, session.group_key
    ),
    (
      'client', session.client_id, tstzrange(session.start_time, session.end_time, '[)'),
      private.client_lanes(
        session.organization_id, session.client_id, private.service_code(session.cpt_code, session.session_type),
        session.start_time, session.end_time
      ) - coalesce(override.lanes, '{}'),
      session.id
    ),
    (
      'room', session.room_id, tstzrange(session.start_time, session.end_time, '[)'),
      '{[0,2147483647)}', session.group_key
    )
) as claim (resource_kind, resource_id, during, lanes, group_key)
where session.status not in ('cancelled', 'no_show')
  and claim.resource_id is not null;
comment on view private.expected_claims is
  'The claims each session must have: its therapist with buffers, its client, its room. Cancelled and no-show: none.';

create function private.lock_group(organization_id uuid, group_id uuid)
returns void
language plpgsql
set search_path = ''
as $$
begin
  -- Who joins a group and who moves it meet here. Without it the mover, who has the group's row, would wait for the
  -- therapist, and who joins, with the therapist, for the group's row, when her session's foreign key is checked.
  perform 1
  from public.session_groups as known
  where known.organization_id = lock_group.organization_id and known.id = lock_group.group_id
  for key share;
end
$$;
comment on function private.lock_group(uuid, uuid) is
  'Keeps a group where it is until the transaction ends. Taken with the sessions'' rows, before any resource.';

create function private.lock_session_resources()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  -- A session written directly (REST, SQL, Studio) queues with the holds and bookings of the same people, instead
  -- of meeting them crosswise inside the exclusion checks. Booking functions hold these locks already.
  if new.group_id is not null and (tg_op = 'INSERT' or new.group_id is distinct from old.group_id) then
    perform private.lock_group(new.organization_id, new.group_id);
  end if;
  if tg_op = 'INSERT' then
    perform private.lock_resources(new.organization_id, array[new.therapist_id, new.client_id, new.room_id]);
  elsif old.status in ('cancelled', 'no_show') and new.status = old.status then
    -- It claims nothing, where it is and where its group takes it: a lock here would come after those of the others.
    return new;
  elsif (new.therapist_id, new.start_time, new.end_time, new.room_id, new.group_id, new.status,
      new.buffer_before_minutes, new.buffer_after_minutes, new.cpt_code, new.session_type)
    is distinct from (old.therapist_id, old.start_time, old.end_time, old.room_id, old.group_id, old.status,
      old.buffer_before_minutes, old.buffer_after_minutes, old.cpt_code, old.session_type) then
    perform private.lock_resources(
      new.organization_id, array[old.therapist_id, old.client_id, old.room_id, new.therapist_id, new.room_id]
    );
  end if;
  return new;
end
$$;
comment on function private.lock_session_resources() is 'Trigger: locks whatever a written session claims or gives up.';

create trigger b_lock_session_resources before insert or update on public.sessions
  for each row execute function private.lock_session_resources();

create function private.group_move_ends(organization_id uuid, group_ids uuid[], as_of timestamptz)
returns timestamptz
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    select max(batch.expires_at)
    from public.sessions as member
    join public.session_holds as hold
      on hold.organization_id = member.organization_id and hold.session_id = member.id and hold.status = 'held'
    join public.hold_batches as batch on batch.organization_id = hold.organization_id and batch.id = hold.batch_id
    where member.organization_id = group_move_ends.organization_id
      and member.group_id = any (group_ids)
      and batch.expires_at > as_of
  );
end
$$;
comment on function private.group_move_ends(uuid, uuid[], timestamptz) is
  'When the live move of any of these groups ends; null when none is being moved.';

create function private.group_joining_ends(organization_id uuid, group_ids uuid[], as_of timestamptz)
returns timestamptz
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    select max(batch.expires_at)
    from public.hold_batches as batch
    join public.session_holds as hold
      on hold.organization_id = batch.organization_id and hold.batch_id = batch.id and hold.status = 'held'
    where batch.organization_id = group_joining_ends.organization_id
      and batch.group_id = any (group_ids)
      and batch.expires_at > as_of
  );
end
$$;
comment on function private.group_joining_ends(uuid, uuid[], timestamptz) is
  'When the last live hold for a place in any of these groups ends; null when nobody is joining.';

create function private.group_joiners(organization_id uuid, group_id uuid, as_of timestamptz)
returns bigint
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    select count(*)
    from public.hold_batches as batch
    join public.session_holds as hold
      on hold.organization_id = batch.organization_id and hold.batch_id = batch.id and hold.status = 'held'
    where batch.organization_id = group_joiners.organization_id
      and batch.group_id = group_joiners.group_id
      and batch.expires_at > as_of
  );
end
$$;
comment on function private.group_joiners(uuid, uuid, timestamptz) is 'How many live holds there are for places in this group.';

create function private.guard_live_move()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  if tg_op = 'INSERT' then
    -- Behind the therapist's lock, which a move of the group takes too: it sees this member, or this sees the move.
    if private.group_move_ends(new.organization_id, array[new.group_id], clock_timestamp()) is not null then
      raise exception using
        errcode = 'check_violation',
        constraint = 'session_being_moved',
        schema = 'public',
        table = 'sessions',
        message = 'the group is being moved: nobody joins it until that hold ends',
        hint = 'Confirm or release the hold first, or wait until it has expired.';
    end if;
    return new;
  end if;

  -- The row is locked by now, and holding it for a move locks it too: no move can begin between this look and the write.
  if exists (
    select 1
    from public.session_holds as hold
    join public.hold_batches as batch on batch.organization_id = hold.organization_id and batch.id = hold.batch_id
    where hold.organization_id = new.organization_id
      and hold.session_id = new.id
      and hold.status = 'held'
      and batch.expires_at > clock_timestamp()
  ) then
    raise exception using
      errcode = 'check_violation',
      constraint = 'session_being_moved',
      schema = 'public',
      table = 'sessions',
      message = 'the session is being moved: its service and its group stay as they are until that hold ends',
      hint = 'Confirm or release the hold first, or wait until it has expired.';
  end if;
  return new;
end
$$;
comment on function private.guard_live_move() is
  'Trigger: a live move holds lanes and units for the service its session has, and places for its whole group: neither '
  'service nor group changes meanwhile. Times, room and buffers may; the move then starts from there.';

create trigger c_guard_live_move before insert on public.sessions
  for each row when (new.group_id is not null) execute function private.guard_live_move();
create trigger c_guard_live_move_update before update on public.sessions
  for each row when (
    (new.cpt_code, new.session_type, new.group_id) is distinct from (old.cpt_code, old.session_type, old.group_id)
  )
  execute function private.guard_live_move();

create function private.sync_claims(organization_id uuid, session_ids uuid[])
returns void
language plpgsql
security definer
set search_path = ''
as $$
declare
  -- Computed once: for a statement that writes thousands of sessions every further look at the view would cost as much.
  expected private.expected_claims[];
  missing bigint;
  inserted bigint;
  stale_batch_ids uuid[];
  mate_ids uuid[];
  as_of timestamptz := clock_timestamp();
begin
  expected := array(
    select row(wanted.*)::private.expected_claims
    from private.expected_claims as wanted
    where wanted.organization_id = sync_claims.organization_id and wanted.owner_id = any (session_ids)
  );

  delete from private.claims as claim
  where claim.organization_id = sync_claims.organization_id
    and claim.owner_id = any (session_ids)
    and not exists (
      select 1
      from unnest(expected) as wanted
      where wanted.owner_id = claim.owner_id
        and wanted.resource_kind = claim.resource_kind
        and wanted.resource_id = claim.resource_id
        and wanted.during = claim.during
        and wanted.lanes = claim.lanes
        and wanted.group_key = claim.group_key
        and claim.expires_at is null
    );

  -- What is left of their claims is as expected.
  select cardinality(expected) - count(*) into missing
  from private.claims as claim
  where claim.organization_id = sync_claims.organization_id and claim.owner_id = any (session_ids);

  for attempt in 1..2 loop
    exit when missing = 0;
    insert into private.claims (organization_id, owner_id, resource_kind, resource_id, during, lanes, group_key)
    select wanted.organization_id, wanted.owner_id, wanted.resource_kind, wanted.resource_id, wanted.during,
      wanted.lanes, wanted.group_key
    from unnest(expected) as wanted
    on conflict do nothing;
    get diagnostics inserted = row_count;
    missing := missing - inserted;
    exit when missing = 0 or attempt = 2;

    -- Something is in the way. If it has expired it goes, now that its resource is locked.
    with removed as (
      delete from private.claims as stale
      using unnest(expected) as wanted
      where stale.organization_id = wanted.organization_id
        and stale.resource_kind = wanted.resource_kind
        and stale.resource_id = wanted.resource_id
        and stale.during && wanted.during
        and stale.lanes && wanted.lanes
        and stale.expires_at <= as_of
      returning stale.owner_id
    )
    select array_agg(distinct hold.batch_id) into stale_batch_ids
    from removed
    join public.session_holds as hold
      on hold.organization_id = sync_claims.organization_id and hold.id = removed.owner_id;
    exit when stale_batch_ids is null;
    perform private.expire_batches(sync_claims.organization_id, stale_batch_ids, as_of);
  end loop;

  if missing > 0 then
    -- A move of their group that came to nothing has left the other members' claims under the key they shared for it.
    select array_agg(mate.id) into mate_ids
    from public.sessions as session
    join public.sessions as mate
      on mate.organization_id = session.organization_id and mate.group_id = session.group_id
    where session.organization_id = sync_claims.organization_id
      and session.id = any (session_ids)
      and mate.status not in ('cancelled', 'no_show')
      and mate.id <> all (session_ids);
    if mate_ids is not null then
      perform private.sync_claims(organization_id, session_ids || mate_ids);
      return;
    end if;

    raise exception using
      errcode = 'exclusion_violation',
      constraint = 'claims_no_overlap',
      schema = 'private',
      table = 'claims',
      message = 'the session overlaps another booking or hold of the same therapist, client or room',
      hint = 'Choose another time, or wait until the hold in the way has expired.';
  end if;
end
$$;
comment on function private.sync_claims(uuid, uuid[]) is
  'Gives these sessions exactly their expected claims, or raises exclusion_violation (23P01), which undoes the write.';

create function private.claim_inserted_sessions()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  -- Without this a direct insert could take over a live hold's claims by taking its id.
  if exists (
    select 1
    from new_rows as new_row
    join public.session_holds as hold on hold.organization_id = new_row.organization_id and hold.id = new_row.id
    where hold.settled_xid is distinct from pg_current_xact_id() or hold.status <> 'confirmed'
  ) then
    raise exception using
      errcode = 'unique_violation',
      message = 'this id belongs to a hold',
      hint = 'Leave the id out, or confirm the hold.';
  end if;

  if exists (
    select 1
    from new_rows as new_row
    join public.session_groups as other on other.organization_id = new_row.organization_id and other.id = new_row.id
  ) then
    raise exception using
      errcode = 'unique_violation',
      message = 'this id belongs to a group',
      hint = 'Leave the id out. To join the group, name it as group_id.';
  end if;

  perform private.sync_claims(inserted.organization_id, inserted.session_ids)
  from (
    select new_row.organization_id, array_agg(new_row.id) as session_ids
    from new_rows as new_row
    group by new_row.organization_id
  ) as inserted;
  return null;
end
$$;
comment on function private.claim_inserted_sessions() is 'Trigger: inserted sessions claim their time, or fail.';

create function private.guard_group_id()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  -- A group's members share its id as their group_key, an ungrouped session or hold has its own: one id for both would
  -- let a therapist be booked twice.
  if exists (
    select 1 from public.sessions as session
    where session.organization_id = new.organization_id and session.id = new.id
  ) or exists (
    select 1 from public.session_holds as hold
    where hold.organization_id = new.organization_id and hold.id = new.id
  ) then
    raise exception using
      errcode = 'unique_violation',
      message = 'this id belongs to a session or a hold',
      hint = 'Leave the id out.';
  end if;
  return new;
end
$$;
comment on function private.guard_group_id() is 'Trigger: no group shares its id with a session or a hold.';

create trigger guard_group_id before insert or update of organization_id, id on public.session_groups
  for each row execute function private.guard_group_id();

create function private.claim_updated_sessions()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.sync_claims(updated.organization_id, updated.session_ids)
  from (
    select new_row.organization_id, array_agg(new_row.id) as session_ids
    from new_rows as new_row
    join old_rows as old_row on old_row.organization_id = new_row.organization_id and old_row.id = new_row.id
    where (
      new_row.therapist_id, new_row.start_time, new_row.end_time, new_row.room_id, new_row.group_id,
      new_row.buffer_before_minutes, new_row.buffer_after_minutes, new_row.status in ('cancelled', 'no_show'),
      new_row.cpt_code, new_row.session_type
    ) is distinct from (
      old_row.therapist_id, old_row.start_time, old_row.end_time, old_row.room_id, old_row.group_id,
      old_row.buffer_before_minutes, old_row.buffer_after_minutes, old_row.status in ('cancelled', 'no_show'),
      old_row.cpt_code, old_row.session_type
    )
    group by new_row.organization_id
  ) as updated;
  return null;
end
$$;
comment on function private.claim_updated_sessions() is
  'Trigger: sessions that moved or ended claim their new time or none; a move into somebody''s way fails.';

create trigger c_claim_inserted_sessions after insert on public.sessions
  referencing new table as new_rows
  for each statement execute function private.claim_inserted_sessions();
create trigger c_claim_updated_sessions after update on public.sessions
  referencing old table as old_rows new table as new_rows
  for each statement execute function private.claim_updated_sessions();

-- Cancellations and audit of sessions ------------------------------------------------------------------------------

create function private.record_cancellations()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  -- sessions-cancel has stored reason and attribution before it changes the status; a direct change leaves the rest.
  insert into public.session_cancellations (organization_id, session_id, cancelled_by, cancelled_by_role)
  select new_row.organization_id, new_row.id, auth.uid(), coalesce(private.active_role()::text, session_user)
  from new_rows as new_row
  join old_rows as old_row on old_row.organization_id = new_row.organization_id and old_row.id = new_row.id
  where new_row.status = 'cancelled' and old_row.status <> 'cancelled'
  on conflict do nothing;
  return null;
end
$$;
comment on function private.record_cancellations() is 'Trigger: who cancelled and when is stored however it was done.';

create function private.audit_inserted_sessions()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.record_event(
    inserted.organization_id,
    case when inserted.batch_id is null then 'session.inserted' else 'hold.confirmed' end,
    'session', inserted.session_ids, clock_timestamp(),
    therapist_id => inserted.therapist_id,
    after => inserted.facts,
    details => case when inserted.batch_id is not null then jsonb_build_object('batchId', inserted.batch_id) end
  )
  from (
    select
      new_row.organization_id,
      hold.batch_id,
      (array_agg(new_row.therapist_id order by new_row.therapist_id))[1] as therapist_id,
      array_agg(new_row.id order by new_row.start_time, new_row.id) as session_ids,
      jsonb_agg(private.session_facts(to_jsonb(new_row)) order by new_row.start_time, new_row.id) as facts
    from new_rows as new_row
    left join public.session_holds as hold on hold.organization_id = new_row.organization_id and hold.id = new_row.id
    group by new_row.organization_id, hold.batch_id
  ) as inserted;
  return null;
end
$$;

create function private.audit_updated_sessions()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.record_event(
    updated.organization_id, updated.action, 'session', updated.session_ids, clock_timestamp(),
    therapist_id => updated.therapist_id,
    before => updated.before,
    after => updated.after,
    details => case when updated.batch_id is not null then jsonb_build_object('batchId', updated.batch_id) end
  )
  from (
    select
      changed.organization_id,
      changed.action,
      changed.batch_id,
      (array_agg(changed.therapist_id order by changed.therapist_id))[1] as therapist_id,
      array_agg(changed.id order by changed.start_time, changed.id) as session_ids,
      jsonb_agg(changed.before order by changed.start_time, changed.id) as before,
      jsonb_agg(changed.after order by changed.start_time, changed.id) as after
    from (
      select
        new_row.organization_id,
        new_row.id,
        new_row.therapist_id,
        new_row.start_time,
        move.batch_id,
        case
          when new_row.status <> old_row.status then 'session.' || new_row.status
          when move.batch_id is not null then 'hold.confirmed'
          when (new_row.therapist_id, new_row.start_time, new_row.end_time, new_row.room_id)
            is distinct from (old_row.therapist_id, old_row.start_time, old_row.end_time, old_row.room_id)
            then 'session.moved'
          else 'session.changed'
        end as action,
        private.session_facts(to_jsonb(old_row)) as before,
        private.session_facts(to_jsonb(new_row)) as after
      from new_rows as new_row
      join old_rows as old_row on old_row.organization_id = new_row.organization_id and old_row.id = new_row.id
      left join public.session_holds as move
        on move.organization_id = new_row.organization_id
        and move.session_id = new_row.id
        and move.status = 'confirmed'
        and move.settled_xid = pg_current_xact_id()
    ) as changed
    where changed.before is distinct from changed.after
    group by changed.organization_id, changed.action, changed.batch_id
  ) as updated;
  return null;
end
$$;

create function private.session_facts(session jsonb)
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
begin
  return jsonb_strip_nulls(session - array['organization_id', 'group_key', 'created_at', 'created_by', 'updated_at']);
end
$$;
comment on function private.session_facts(jsonb) is 'What of a session''s row belongs in an audit event.';
comment on function private.audit_inserted_sessions() is
  'Trigger: one event a statement and kind: hold.confirmed for a booking through a hold, else session.inserted.';
comment on function private.audit_updated_sessions() is
  'Trigger: one event a statement and kind, before -> after: moves, status changes, other changes.';

create trigger d_record_cancellations after update on public.sessions
  referencing old table as old_rows new table as new_rows
  for each statement execute function private.record_cancellations();
create trigger e_audit_inserted_sessions after insert on public.sessions
  referencing new table as new_rows
  for each statement execute function private.audit_inserted_sessions();
create trigger e_audit_updated_sessions after update on public.sessions
  referencing old table as old_rows new table as new_rows
  for each statement execute function private.audit_updated_sessions();

-- Row-level security -----------------------------------------------------------------------------------------------

alter table public.hold_batches enable row level security;
create policy sessions_scoped_access on public.hold_batches for select to authenticated
  using (
    organization_id = (select private.claimed_organization_id())
    and (
      (therapist_id = (select auth.uid()) and (select private.active_role()) = 'therapist')
      or (select private.is_admin())
    )
  );
comment on policy sessions_scoped_access on public.hold_batches is 'A therapist reads her own holds, admins all.';
grant select on public.hold_batches to authenticated, service_role;

alter table public.session_holds enable row level security;
create policy sessions_scoped_access on public.session_holds for select to authenticated
  using (
    organization_id = (select private.active_organization_id())
    and (
      -- For an admin that is all of them: no need to look at each one's batch.
      (select private.is_admin())
      or exists (
        select 1
        from public.hold_batches as batch
        where batch.organization_id = session_holds.organization_id and batch.id = session_holds.batch_id
      )
    )
  );
comment on policy sessions_scoped_access on public.session_holds is 'Whoever may see the batch may see its holds.';
grant select on public.session_holds to authenticated, service_role;
