-- Purpose: one table of claims that decides every overlap, and the functions that make it say what the rows say.
-- Objects: private.claims; claimed, places_of, claims_of; move_claims; sync_claims, take_claims, remove_stale, expire_batches.
-- Watch for: a claim is never an independent fact: it is what private.claims_of says of sessions, groups and holds. The
--            constraint has no key that exempts anybody. A hold that moves sessions claims only its new places minus what
--            its sessions have now, so nothing old is ever rewritten; whoever changes one of those sessions recomputes
--            both in the same transaction. A claim with expires_at in the past claims nothing: whoever wants its place
--            removes it, behind the lock of the resource.

create domain private.claimed_range as tstzrange
  check (not isempty(value) and isfinite(lower(value)) and isfinite(upper(value)));

create table private.claims (
  organization_id uuid not null,
  owner_id uuid not null,
  resource_kind public.resource_kind not null,
  resource_id uuid not null,
  during private.claimed_range not null,
  lanes public.claimed_lanes not null,
  expires_at timestamptz,
  primary key (organization_id, owner_id, resource_id, during),
  -- Never deferrable: "on conflict do nothing" needs an immediate arbiter.
  constraint claims_no_overlap exclude using gist (
    organization_id with =, resource_id with =, during with &&, resource_kind with =, lanes with &&
  )
) with (fillfactor = 80);
comment on table private.claims is
  'Time taken on a therapist, a client or a room, by a session or by a hold. This one constraint decides every overlap.';
comment on column private.claims.owner_id is
  'A session or a hold owns its client''s claim; its place (the group, else itself) the therapist''s and the room''s; the '
  'batch of a move what its new places take beyond what its sessions have.';
comment on column private.claims.during is 'The claimed instants, [start, end); a therapist''s includes the buffers.';
comment on column private.claims.lanes is
  'Two claims conflict when they share a lane. All lanes unless payer rules allow the services to run at once.';
comment on column private.claims.expires_at is 'Null for a session. A hold''s claim counts for nothing from here on.';
alter table private.claims enable row level security;
create policy deny_all on private.claims using (false);
create trigger refuse_derived_write
  before insert or delete or update of organization_id, owner_id, resource_kind, resource_id, during, lanes on private.claims
  for each statement
  when (private.is_direct_write())
  execute function private.refuse_derived_write();
create trigger refuse_truncate before truncate on private.claims
  for each statement execute function private.refuse_derived_write();

create type private.place as (
  owner_id uuid,
  place_id uuid,
  therapist_id uuid,
  room_id uuid,
  buffer_before_minutes smallint,
  buffer_after_minutes smallint,
  client_id uuid,
  lanes int4multirange,
  start_time timestamptz,
  end_time timestamptz,
  expires_at timestamptz
);
comment on type private.place is
  'What one booking stands on. owner_id owns the client''s claim (null: none), place_id the therapist''s and the room''s '
  '(null: somebody else of the group does).';

create function private.claimed(organization_id uuid, places private.place[])
returns private.claims[]
language plpgsql
immutable
set search_path = ''
as $$
begin
  return array(
    select row(
      claimed.organization_id, claim.owner_id, claim.resource_kind, claim.resource_id, claim.during, claim.lanes,
      place.expires_at
    )::private.claims
    from unnest(places) as place
    cross join lateral (
      values
        (
          'therapist'::public.resource_kind, place.place_id, place.therapist_id,
          tstzrange(
            place.start_time - make_interval(mins => place.buffer_before_minutes),
            place.end_time + make_interval(mins => place.buffer_after_minutes), '[)'
          ),
          '{[0,2147483647)}'::int4multirange
        ),
        ('room', place.place_id, place.room_id, tstzrange(place.start_time, place.end_time, '[)'), '{[0,2147483647)}'),
        ('client', place.owner_id, place.client_id, tstzrange(place.start_time, place.end_time, '[)'), place.lanes)
    ) as claim (resource_kind, owner_id, resource_id, during, lanes)
    where claim.owner_id is not null and claim.resource_id is not null
  );
end
$$;
comment on function private.claimed(uuid, private.place[]) is
  'The one place that says what a booking claims: its therapist with buffers, its room, its client.';

create function private.places_of(organization_id uuid, owner_ids uuid[])
returns private.place[]
language plpgsql
stable
set search_path = ''
as $$
begin
  -- Each look-up is by primary key or by an index of one id, whatever the planner believes of the array's length. An id
  -- is a session, a hold, a staff time, or a group; of a group that confirming will make, the first member's hold speaks.
  return array(
    select row(
      session.id, case when session.group_id is null then session.id end, session.therapist_id, session.room_id,
      session.buffer_before_minutes, session.buffer_after_minutes, session.client_id, session.lanes,
      session.start_time, session.end_time, null
    )::private.place
    from unnest(owner_ids) as owner (id)
    cross join lateral (
      select known.* from public.sessions as known
      where known.organization_id = places_of.organization_id and known.id = owner.id offset 0
    ) as session
    where session.status not in ('cancelled', 'no_show')
    union all
    select row(
      null, known.id, known.therapist_id, known.room_id, known.buffer_before_minutes, known.buffer_after_minutes,
      null, null, known.start_time, known.end_time, lives.until
    )::private.place
    from unnest(owner_ids) as owner (id)
    cross join lateral (
      select found.* from public.session_groups as found
      where found.organization_id = places_of.organization_id and found.id = owner.id offset 0
    ) as known
    cross join lateral private.group_lives_until(places_of.organization_id, known.id) as lives (until)
    where lives.until > '-infinity'
    union all
    select row(
      hold.id, case when hold.group_id is null then hold.id end, batch.therapist_id, batch.room_id,
      batch.buffer_before_minutes, batch.buffer_after_minutes, hold.client_id, hold.lanes, hold.start_time, hold.end_time,
      batch.expires_at
    )::private.place
    from unnest(owner_ids) as owner (id)
    cross join lateral (
      select found.* from public.session_holds as found
      where found.organization_id = places_of.organization_id and found.id = owner.id
        and found.status = 'held' and found.session_id is null offset 0
    ) as hold
    cross join lateral (
      select known.* from public.hold_batches as known
      where known.organization_id = places_of.organization_id and known.id = hold.batch_id offset 0
    ) as batch
    union all
    select row(
      null, owner.id, batch.therapist_id, batch.room_id, batch.buffer_before_minutes, batch.buffer_after_minutes,
      null, null, hold.start_time, hold.end_time, batch.expires_at
    )::private.place
    from unnest(owner_ids) as owner (id)
    cross join lateral (
      -- Found first, then sorted: in the order of ids, the planner would read all holds there are for the first.
      select found.* from (
        select known.* from public.session_holds as known
        where known.organization_id = places_of.organization_id and known.group_id = owner.id and known.status = 'held'
          and not exists (
            select from public.session_groups as made
            where made.organization_id = places_of.organization_id and made.id = owner.id
          )
        offset 0
      ) as found
      order by found.id
      limit 1
    ) as hold
    cross join lateral (
      select known.* from public.hold_batches as known
      where known.organization_id = places_of.organization_id and known.id = hold.batch_id offset 0
    ) as batch
    union all
    -- A staff time takes each of its therapists, and its room once.
    select row(
      null, taken.id, member.therapist_id, case when member.is_first is not false then taken.room_id end, 0, 0, null, null,
      taken.start_time, taken.end_time, null
    )::private.place
    from unnest(owner_ids) as owner (id)
    cross join lateral (
      select known.* from public.staff_times as known
      where known.organization_id = places_of.organization_id and known.id = owner.id offset 0
    ) as taken
    left join lateral (
      select known.therapist_id, row_number() over (order by known.therapist_id) = 1 as is_first
      from public.staff_time_members as known
      where known.organization_id = places_of.organization_id and known.staff_time_id = owner.id
    ) as member on true
    where taken.cancelled_at is null
  );
end
$$;
comment on function private.places_of(uuid, uuid[]) is 'Where these sessions, holds and groups stand, as their rows say.';

create function private.group_lives_until(organization_id uuid, group_id uuid)
returns timestamptz
language plpgsql
stable
set search_path = ''
as $$
begin
  -- The place is the group's while one member is left; after that as long as somebody holds a place in it.
  if exists (
    select from public.sessions as member
    where member.organization_id = group_lives_until.organization_id and member.group_id = group_lives_until.group_id
      and member.status not in ('cancelled', 'no_show')
  ) then
    return 'infinity';
  end if;
  return coalesce((
    select max(batch.expires_at)
    from public.session_holds as hold
    join public.hold_batches as batch on batch.organization_id = hold.organization_id and batch.id = hold.batch_id
    where hold.organization_id = group_lives_until.organization_id and hold.group_id = group_lives_until.group_id
      and hold.status = 'held'
  ), '-infinity');
end
$$;
comment on function private.group_lives_until(uuid, uuid) is
  'infinity while the group has a member; else when the last hold of a place in it expires; -infinity when nobody is left.';

-- Moves ------------------------------------------------------------------------------------------------------------

create type private.cell as (resource_kind public.resource_kind, resource_id uuid, times tstzmultirange, lanes int4multirange);
comment on type private.cell is 'An area of one resource: all these times, on each of these lanes.';

create function private.cells_of(claims private.claims[])
returns private.cell[]
language plpgsql
immutable
set search_path = ''
as $$
begin
  return array(
    select row(claim.resource_kind, claim.resource_id, range_agg(claim.during::tstzrange), claim.lanes)::private.cell
    from unnest(claims) as claim
    group by claim.resource_kind, claim.resource_id, claim.lanes
  );
end
$$;
comment on function private.cells_of(private.claims[]) is 'Claims as areas, one for each resource and set of lanes.';

create function private.subtract_cells(wanted private.cell[], own private.cell[])
returns private.cell[]
language plpgsql
immutable
set search_path = ''
as $$
declare
  taken private.cell;
begin
  -- One pass for each distinct set of lanes of a resource, mostly one: ranges are subtracted whole, n log n in their number.
  foreach taken in array own loop
    wanted := array(
      select row(cell.resource_kind, cell.resource_id, part.times, part.lanes)::private.cell
      from unnest(wanted) as cell
      cross join lateral (
        select (cell.resource_kind, cell.resource_id) = (taken.resource_kind, taken.resource_id) as is_same
      ) as resource
      cross join lateral (
        values
          (case when resource.is_same then cell.times - taken.times else cell.times end, cell.lanes),
          (case when resource.is_same then cell.times * taken.times else '{}' end, cell.lanes - taken.lanes)
      ) as part (times, lanes)
      where not isempty(part.times) and not isempty(part.lanes)
    );
  end loop;
  return wanted;
end
$$;
comment on function private.subtract_cells(private.cell[], private.cell[]) is 'What of the wanted areas lies outside the own ones.';

create function private.move_claims(organization_id uuid, batch_ids uuid[])
returns private.claims[]
language plpgsql
stable
set search_path = ''
as $$
declare
  move record;
  claims private.claims[] := '{}';
begin
  -- One pass for each batch, mostly one: its new places minus what its sessions have now.
  for move in
    select found.batch, held.slots, held.own_ids
    from unnest(batch_ids) as named (id)
    cross join lateral (
      select known as batch from public.hold_batches as known
      where known.organization_id = move_claims.organization_id and known.id = named.id and known.is_move offset 0
    ) as found
    cross join lateral (
      select
        array_agg(row(
          hold.id, hold.occurrence_index, hold.hold_key, hold.client_id, null, hold.session_id, hold.start_time, hold.end_time,
          hold.time_zone, hold.civil_start, hold.lanes, null, null, null
        )::private.slot order by hold.occurrence_index, hold.id) as slots,
        array_agg(session.id) || array_agg(distinct session.group_id) filter (where session.group_id is not null) as own_ids
      from (
        select known.* from public.session_holds as known
        where known.organization_id = move_claims.organization_id and known.batch_id = named.id and known.status = 'held'
        offset 0
      ) as hold
      cross join lateral (
        select known.id, known.group_id from public.sessions as known
        where known.organization_id = move_claims.organization_id and known.id = hold.session_id offset 0
      ) as session
    ) as held
    where held.slots is not null
  loop
    claims := claims || array(
      select row(
        move_claims.organization_id, (move.batch).id, cell.resource_kind, cell.resource_id, piece.during, cell.lanes,
        (move.batch).expires_at
      )::private.claims
      from unnest(private.subtract_cells(
        private.cells_of(private.claimed(organization_id, private.places_of_slots(move.batch, move.slots, false))),
        private.cells_of(private.claimed(organization_id, private.places_of(organization_id, move.own_ids)))
      )) as cell
      cross join lateral unnest(cell.times) as piece (during)
    );
  end loop;
  return claims;
end
$$;
comment on function private.move_claims(uuid, uuid[]) is
  'What the moves of these batches claim: their new places minus what their sessions claim now.';

-- Keeping the table true -------------------------------------------------------------------------------------------

create function private.claims_of(organization_id uuid, owner_ids uuid[], as_of timestamptz)
returns private.claims[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return array(
    select row(
      claim.organization_id, claim.owner_id, claim.resource_kind, claim.resource_id, claim.during, claim.lanes,
      nullif(claim.expires_at, 'infinity')
    )::private.claims
    from unnest(
      private.claimed(organization_id, private.places_of(organization_id, owner_ids))
      || private.move_claims(organization_id, owner_ids)
    ) as claim
    where claim.expires_at is null or claim.expires_at > as_of
  );
end
$$;
comment on function private.claims_of(uuid, uuid[], timestamptz) is
  'What the rows of these owners claim: a pure function of them and of the time.';

create function private.claim_dependents(organization_id uuid, session_ids uuid[], former_group_ids uuid[] default '{}')
returns uuid[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return former_group_ids || array(
    select distinct dependent.id
    from unnest(session_ids) as named (id)
    cross join lateral (
      select known.group_id as id from public.sessions as known
      where known.organization_id = claim_dependents.organization_id and known.id = named.id
      union all
      -- A move that gives up one of these places claims what it wants beyond them.
      select hold.batch_id from public.session_holds as hold
      where hold.organization_id = claim_dependents.organization_id and hold.session_id = named.id and hold.status = 'held'
      offset 0
    ) as dependent
    where dependent.id is not null
  );
end
$$;
comment on function private.claim_dependents(uuid, uuid[], uuid[]) is
  'Whose claims depend on these sessions beside their own: their groups (the former ones too) and their live moves.';

create function private.take_claims(claims private.claims[])
returns bigint
language plpgsql
set search_path = ''
as $$
declare
  taken bigint;
begin
  -- The constraint decides, whatever was seen before: "on conflict do nothing" neither raises nor stalls.
  insert into private.claims select claim.* from unnest(claims) as claim on conflict do nothing;
  get diagnostics taken = row_count;
  return taken;
end
$$;
comment on function private.take_claims(private.claims[]) is
  'Inserts the claims that conflict with nothing and returns their number. Call it with the resources locked.';

create function private.give_up_claims(claims private.claims[])
returns void
language plpgsql
set search_path = ''
as $$
begin
  delete from private.claims as claim
  using unnest(claims) as given
  where claim.organization_id = given.organization_id and claim.owner_id = given.owner_id
    and claim.resource_id = given.resource_id and claim.during = given.during
    -- A joiner's group has a claim of its own with the same owner: only what was taken just now goes.
    and claim.expires_at is not distinct from given.expires_at;
end
$$;
comment on function private.give_up_claims(private.claims[]) is 'Undoes private.take_claims, for a request that is refused.';

create function private.expire_batches(organization_id uuid, batch_ids uuid[], as_of timestamptz)
returns void
language plpgsql
security definer
set search_path = ''
as $$
declare
  observed record;
begin
  for observed in
    with stale as (
      select batch.id, batch.expires_at
      from public.hold_batches as batch
      where batch.organization_id = expire_batches.organization_id
        and batch.id = any (expire_batches.batch_ids)
        and batch.expires_at <= as_of
      order by batch.id
      -- Two claimants may meet one stale hold on different resources, each holding what the other wants next: whoever
      -- comes second passes over what the first is already writing down, rather than wait for it.
      for update skip locked
    ),
    expired as (
      update public.session_holds as hold
      set status = 'expired', settled_at = as_of, settled_xid = pg_current_xact_id()
      from stale
      where hold.organization_id = expire_batches.organization_id and hold.batch_id = stale.id and hold.status = 'held'
      returning hold.id, hold.batch_id, stale.expires_at
    ),
    given_back as (
      delete from public.authorization_units as entry
      using expired
      cross join lateral (
        select known.ctid from public.authorization_units as known
        where known.organization_id = expire_batches.organization_id and known.owner_id = expired.id offset 0
      ) as found
      where entry.ctid = found.ctid
    )
    select expired.batch_id, expired.expires_at, array_agg(expired.id order by expired.id) as hold_ids
    from expired
    group by expired.batch_id, expired.expires_at
  loop
    perform private.record_event(
      organization_id, 'hold.expired', 'hold', observed.hold_ids, observed.expires_at,
      before => '{"status": "held"}', after => '{"status": "expired"}',
      details => jsonb_build_object('batchId', observed.batch_id)
    );
  end loop;
end
$$;
comment on function private.expire_batches(uuid, uuid[], timestamptz) is
  'Writes down that these batches have expired, where they have: once each, with one event dated to the expiry. The '
  'event''s actor is whoever first observed it. Their claims go when somebody wants their place, or with the sweep.';

create function private.follow_expiry()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  if new.expires_at > greatest(old.expires_at, clock_timestamp()) then
    raise exception using
      errcode = 'check_violation', message = 'a hold is not extended', hint = 'Release it and hold anew.';
  end if;
  -- Claims and units repeat when their hold ends: with the old time there the slot would stay taken by a hold that is over.
  -- Somebody who settles the hold at this moment has locked them, and decides what becomes of them: nobody waits for that.
  update private.claims as claim set expires_at = ended.expires_at
  from (
    select held.ctid as place, case
      -- A group lives until the last of those who hold a place in it.
      when held.owner_id = hold.group_id then private.group_lives_until(new.organization_id, hold.group_id)
      else new.expires_at
    end as expires_at
    from public.session_holds as hold
    join private.claims as held
      on held.organization_id = hold.organization_id and held.owner_id in (hold.id, hold.group_id, hold.batch_id)
    where hold.organization_id = new.organization_id and hold.batch_id = new.id and hold.status = 'held'
      and held.expires_at is not null
    for update of held skip locked
  ) as ended
  where claim.ctid = ended.place;
  update public.authorization_units as entry set expires_at = new.expires_at
  where entry.ctid = any (array(
    select held.ctid
    from public.session_holds as hold
    join public.authorization_units as held on held.organization_id = hold.organization_id and held.owner_id = hold.id
    where hold.organization_id = new.organization_id and hold.batch_id = new.id and held.state = 'held'
    for update of held skip locked
  ));
  return null;
end
$$;
comment on function private.follow_expiry() is
  'Trigger: a hold whose end an operator brings forward ends everywhere. No booking function changes an expiry.';
create trigger follow_expiry after update of expires_at on public.hold_batches
  for each row
  when (new.expires_at <> old.expires_at)
  execute function private.follow_expiry();

create function private.remove_stale(organization_id uuid, claims private.claims[], as_of timestamptz)
returns boolean
language plpgsql
set search_path = ''
as $$
declare
  owner_ids uuid[];
begin
  -- Only what lies on resources that the caller has locked: that is where the wanted claims are.
  with gone as (
    delete from private.claims as stale
    using unnest(claims) as wanted
    where stale.organization_id = remove_stale.organization_id
      and stale.resource_id = wanted.resource_id
      and stale.resource_kind = wanted.resource_kind
      and stale.during && wanted.during
      and stale.lanes && wanted.lanes
      and stale.expires_at <= as_of
    returning stale.owner_id
  )
  select array_agg(distinct gone.owner_id) into owner_ids from gone;
  if owner_ids is null then
    return false;
  end if;
  perform private.expire_batches(organization_id, owner_ids || array(
    select hold.batch_id
    from unnest(owner_ids) as owner (id)
    cross join lateral (
      select held.batch_id from public.session_holds as held
      where held.organization_id = remove_stale.organization_id and held.id = owner.id
      union all
      select held.batch_id from public.session_holds as held
      where held.organization_id = remove_stale.organization_id and held.group_id = owner.id and held.status = 'held'
    ) as hold
  ), as_of);
  return true;
end
$$;
comment on function private.remove_stale(uuid, private.claims[], timestamptz) is
  'Removes expired claims that stand where these are wanted, and writes down that their holds have expired. False: none.';

create function private.drop_claims(organization_id uuid, owner_ids uuid[], as_of timestamptz)
returns void
language plpgsql
set search_path = ''
as $$
declare
  freed private.claims[];
begin
  with gone as (
    delete from private.claims as claim
    using unnest(owner_ids) as owner (id)
    cross join lateral (
      select known.ctid from private.claims as known
      where known.organization_id = drop_claims.organization_id and known.owner_id = owner.id offset 0
    ) as found
    where claim.ctid = found.ctid
    returning claim.*
  )
  select coalesce(array_agg(row(gone.*)::private.claims), '{}') into freed from gone;
  perform private.queue_freed(organization_id, freed, '{}', as_of);
end
$$;
comment on function private.drop_claims(uuid, uuid[], timestamptz) is
  'Removes the claims of owners that have ended: they claim nothing, as private.claims_of would say.';

create function private.sync_claims(organization_id uuid, owner_ids uuid[], as_of timestamptz default clock_timestamp())
returns boolean
language plpgsql
security definer
set search_path = ''
as $$
declare
  expected private.claims[] := private.claims_of(organization_id, owner_ids, as_of);
  current private.claims[];
  surplus private.claims[];
  missing private.claims[];
begin
  current := array(
    select row(claim.*)::private.claims
    from (select distinct named.id from unnest(owner_ids) as named (id)) as owner
    cross join lateral (
      select known.* from private.claims as known
      where known.organization_id = sync_claims.organization_id and known.owner_id = owner.id offset 0
    ) as claim
  );
  -- Differences of whole rows, sorted or hashed: n log n in their number.
  surplus := array(select claim from unnest(current) as claim except select claim from unnest(expected) as claim);
  missing := array(select claim from unnest(expected) as claim except select claim from unnest(current) as claim);
  perform private.give_up_claims(surplus);
  perform private.queue_freed(organization_id, surplus, missing, as_of);
  if missing = '{}' or private.take_claims(missing) = cardinality(missing) then
    return true;
  end if;
  -- Something is in the way. If it has expired it goes, now that its resource is locked.
  perform private.remove_stale(organization_id, missing, as_of);
  perform private.take_claims(missing);
  return not exists (
    select from unnest(missing) as claim
    -- A move that expires just now may already be making room for somebody, on people who are not locked here.
    where (claim.expires_at is null or claim.expires_at > clock_timestamp())
      and not exists (
        select from private.claims as known
        where known.organization_id = claim.organization_id and known.owner_id = claim.owner_id
          and known.resource_id = claim.resource_id and known.during = claim.during
      )
  );
end
$$;
comment on function private.sync_claims(uuid, uuid[], timestamptz) is
  'Makes the claims of these owners what their rows say. False: somebody alive is in the way, and the caller refuses. '
  'Call it with the resources locked, or alone in the organization.';
