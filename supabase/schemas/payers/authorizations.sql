-- Purpose: what payers have authorized, and a ledger of the units that bookings take of it.
-- Objects: authorizations, authorization_units; private.ask_units and what reserves, schedules, uses and gives back.
-- Watch for: an authorization belongs to one client, and whoever takes units of it holds that client's advisory lock
--            (private.lock_resources). So sums are read behind the lock and stay true until commit, without a counter.
--            A hold's entry counts until its expires_at and not a moment longer, swept or not.

create table public.authorizations (
  organization_id uuid not null,
  id uuid not null default gen_random_uuid(),
  client_id uuid not null,
  payer_id uuid not null,
  reference text check (length(reference) between 1 and 64),
  cpt_code text not null check (cpt_code ~ '^[0-9A-Z]{5}$'),
  approved_units integer not null check (approved_units > 0),
  starts_on date not null check (isfinite(starts_on)),
  ends_on date not null check (isfinite(ends_on) and ends_on >= starts_on),
  created_at timestamptz not null default now(),
  primary key (organization_id, id),
  foreign key (organization_id, client_id) references public.clients (organization_id, id),
  foreign key (organization_id, payer_id) references public.payers (organization_id, id),
  constraint authorizations_one_a_day exclude using gist (
    organization_id with =, client_id with =, payer_id with =, cpt_code with =,
    daterange(starts_on, ends_on, '[]') with &&
  )
);
comment on table public.authorizations is
  'Units of a code that a payer grants a client between two dates, both included. Never deleted.';
comment on column public.authorizations.reference is 'The payer''s number of the authorization.';
create index authorizations_client_idx on public.authorizations (organization_id, client_id, cpt_code);
create index authorizations_payer_idx on public.authorizations (organization_id, payer_id);

create type public.unit_state as enum ('held', 'scheduled', 'used');
comment on type public.unit_state is 'A hold holds units, a confirmation schedules them, a completion uses them.';

create table public.authorization_units (
  organization_id uuid not null,
  owner_id uuid not null,
  client_id uuid not null,
  cpt_code text not null,
  start_time timestamptz not null,
  end_time timestamptz not null,
  service_date date not null,
  authorization_id uuid,
  total_units integer not null check (total_units >= 0),
  units integer not null check (units >= 0),
  state public.unit_state not null,
  expires_at timestamptz check (isfinite(expires_at)),
  primary key (organization_id, owner_id),
  foreign key (organization_id, client_id) references public.clients (organization_id, id),
  foreign key (organization_id, authorization_id) references public.authorizations (organization_id, id),
  check (units <= total_units),
  check (units = 0 or authorization_id is not null),
  check ((state = 'held') = (expires_at is not null))
);
comment on table public.authorization_units is
  'One entry for each booking of a client whose units are limited. approved = used + scheduled + held + left, always: '
  'what goes beyond, by an override, is in total_units and not in units. Given back: the entry is gone (the audit '
  'keeps what was).';
comment on column public.authorization_units.owner_id is 'The session or the hold, which share an id as claims do.';
comment on column public.authorization_units.total_units is 'What the service takes.';
comment on column public.authorization_units.units is
  'What counts against the authorization. For a hold that moves a session: what the move takes in addition to what the '
  'session has now, and is counted anew whenever the session changes.';
comment on column public.authorization_units.expires_at is 'A hold''s entry counts for nothing from here on.';
create index authorization_units_authorization_idx on public.authorization_units (organization_id, authorization_id);
create index authorization_units_client_idx on public.authorization_units (organization_id, client_id, cpt_code);

-- Asking for units -----------------------------------------------------------------------------------------------------

create type private.service as (
  owner_id uuid,
  client_id uuid,
  cpt_code text,
  start_time timestamptz,
  end_time timestamptz,
  time_zone text,
  replaces_id uuid,
  total_units integer
);
comment on type private.service is
  'One service of one client. replaces_id: the session a hold moves; total_units: when known better than by the times.';

create type private.unit_demand as (
  owner_id uuid,
  client_id uuid,
  cpt_code text,
  start_time timestamptz,
  end_time timestamptz,
  service_date date,
  authorization_id uuid,
  total_units integer,
  needed_units integer,
  granted_units integer
);
comment on type private.unit_demand is
  'What a service takes (total), asks of its authorization (needed: less by what a moved session has already), and gets.';

create function private.has_payer(organization_id uuid, client_ids uuid[])
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  return exists (
    select 1
    from public.client_coverages as coverage
    where coverage.organization_id = has_payer.organization_id and coverage.client_id = any (client_ids)
  ) or exists (
    select 1
    from public.authorizations as approval
    where approval.organization_id = has_payer.organization_id and approval.client_id = any (client_ids)
  );
end
$$;
comment on function private.has_payer(uuid, uuid[]) is
  'Whether any of these clients ever had a coverage or an authorization: without, no units are counted.';

create function private.ask_units(organization_id uuid, services private.service[], as_of timestamptz)
returns private.unit_demand[]
language plpgsql
stable
set search_path = ''
as $$
begin
  if not private.has_payer(organization_id, array(select service.client_id from unnest(services) as service)) then
    return '{}';
  end if;

  return array(
    with demand as (
      select
        service.owner_id, service.client_id, service.cpt_code, service.start_time, service.end_time, day.date,
        approval.id as authorization_id,
        taken.units as total_units,
        taken.units - case
          when replaced.authorization_id = approval.id then least(replaced.units, taken.units) else 0
        end as needed_units
      from unnest(services) as service
      cross join lateral (select (service.start_time at time zone service.time_zone)::date as date) as day
      cross join lateral (
        select private.primary_payer(ask_units.organization_id, service.client_id, day.date) as id
      ) as payer
      cross join lateral private.payer_rule(
        ask_units.organization_id, payer.id, service.cpt_code, day.date
      ) as rule
      cross join lateral (
        select coalesce(
          service.total_units,
          private.billable_units(extract(epoch from service.end_time - service.start_time) / 60, rule.rounding)
        ) as units
      ) as taken
      left join lateral (
        select candidate.id
        from public.authorizations as candidate
        where candidate.organization_id = ask_units.organization_id
          and candidate.client_id = service.client_id
          and candidate.cpt_code = service.cpt_code
          and day.date between candidate.starts_on and candidate.ends_on
        -- Whoever pays first authorizes; without a known payer, the authorization that ends first.
        order by candidate.payer_id = payer.id desc nulls last, candidate.ends_on, candidate.id
        limit 1
      ) as approval on true
      left join public.authorization_units as replaced
        on replaced.organization_id = ask_units.organization_id and replaced.owner_id = service.replaces_id
      where rule.authorization_required
        or exists (
          select 1
          from public.authorizations as any_date
          where any_date.organization_id = ask_units.organization_id
            and any_date.client_id = service.client_id
            and any_date.cpt_code = service.cpt_code
        )
    ),
    balance as (
      select
        approval.id,
        approval.approved_units - coalesce(sum(entry.units), 0)::integer as left_units
      from public.authorizations as approval
      left join public.authorization_units as entry
        on entry.organization_id = approval.organization_id
        and entry.authorization_id = approval.id
        and (entry.expires_at is null or entry.expires_at > as_of)
      where approval.organization_id = ask_units.organization_id
        and approval.id in (select demand.authorization_id from demand)
      group by approval.id, approval.approved_units
    )
    select row(
      demand.owner_id, demand.client_id, demand.cpt_code, demand.start_time, demand.end_time, demand.date,
      demand.authorization_id, demand.total_units, demand.needed_units,
      case
        when demand.authorization_id is null then 0
        else greatest(0, least(
          demand.needed_units,
          balance.left_units - coalesce(sum(demand.needed_units) over (
            partition by demand.authorization_id
            order by demand.start_time, demand.owner_id
            rows between unbounded preceding and 1 preceding
          ), 0)
        ))
      end
    )::private.unit_demand
    from demand
    left join balance on balance.id = demand.authorization_id
    order by demand.start_time, demand.owner_id
  );
end
$$;
comment on function private.ask_units(uuid, private.service[], timestamptz) is
  'What these services ask of their clients'' authorizations and would get now, earliest first. Services without a limit '
  '(no authorization for the code, and a payer who requires none) are left out. Call it behind the clients'' locks.';

create function private.is_short(demands private.unit_demand[])
returns boolean
language plpgsql
immutable
set search_path = ''
as $$
begin
  return exists (
    select 1
    from unnest(demands) as demand
    where demand.granted_units < demand.needed_units
  );
end
$$;
comment on function private.is_short(private.unit_demand[]) is
  'Whether any service would go beyond its authorization, or has none for its date.';

create function private.reserve_units(
  organization_id uuid,
  demands private.unit_demand[],
  state public.unit_state,
  expires_at timestamptz default null
)
returns void
language plpgsql
set search_path = ''
as $$
#variable_conflict use_column
begin
  insert into public.authorization_units (
    organization_id, owner_id, client_id, cpt_code, start_time, end_time, service_date, authorization_id,
    total_units, units, state, expires_at
  )
  select
    reserve_units.organization_id, demand.owner_id, demand.client_id, demand.cpt_code, demand.start_time,
    demand.end_time, demand.service_date, demand.authorization_id, demand.total_units, demand.granted_units,
    reserve_units.state, reserve_units.expires_at
  from unnest(demands) as demand;
end
$$;
comment on function private.reserve_units(uuid, private.unit_demand[], public.unit_state, timestamptz) is
  'Enters what these services were granted.';

create function private.unit_warnings(organization_id uuid, demands private.unit_demand[], as_of timestamptz)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return coalesce((
    select jsonb_agg(
      jsonb_build_object(
        'code', 'AUTHORIZATION_NEARLY_USED',
        'authorizationId', balance.id,
        'cptCode', balance.cpt_code,
        'approvedUnits', balance.approved_units,
        'leftUnits', balance.approved_units - balance.taken
      )
      order by balance.ends_on, balance.id
    )
    from (
      select approval.id, approval.cpt_code, approval.approved_units, approval.ends_on, sum(entry.units) as taken
      from public.authorizations as approval
      join public.authorization_units as entry
        on entry.organization_id = approval.organization_id
        and entry.authorization_id = approval.id
        and (entry.expires_at is null or entry.expires_at > as_of)
      where approval.organization_id = unit_warnings.organization_id
        and approval.id in (select demand.authorization_id from unnest(demands) as demand)
      group by approval.id, approval.cpt_code, approval.approved_units, approval.ends_on
    ) as balance
    where balance.taken >= 0.9 * balance.approved_units
  ), '[]');
end
$$;
comment on function private.unit_warnings(uuid, private.unit_demand[], timestamptz) is
  'One warning for each authorization of these services that is 90 % or more taken, with them counted.';

create function private.daily_limit_warnings(organization_id uuid, services private.service[])
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return coalesce((
    select jsonb_agg(
      jsonb_build_object(
        'code', 'DAILY_LIMIT_EXCEEDED', 'cptCode', given.cpt_code, 'date', given.date,
        'units', given.units, 'maxDailyUnits', given.max_daily_units
      )
      order by given.date, given.client_id
    )
    from (
      select
        asked.client_id, asked.cpt_code, asked.date, rule.max_daily_units,
        asked.units + coalesce((
          select sum(private.billable_units(extract(epoch from session.end_time - session.start_time) / 60, rule.rounding))
          from public.sessions as session
          where session.organization_id = daily_limit_warnings.organization_id
            and session.client_id = asked.client_id
            and session.start_time >= asked.date::timestamp at time zone asked.time_zone
            and session.start_time < (asked.date + 1)::timestamp at time zone asked.time_zone
            and session.status not in ('cancelled', 'no_show')
            and private.billed_code(session.cpt_code, session.session_type) = asked.cpt_code
            and session.id <> all (asked.replaced_ids)
        ), 0) as units
      from (
        select
          service.client_id, service.cpt_code, day.date, min(service.time_zone) as time_zone,
          sum(private.billable_units(extract(epoch from service.end_time - service.start_time) / 60))::integer as units,
          array_remove(array_agg(service.replaces_id), null) as replaced_ids
        from unnest(services) as service
        cross join lateral (select (service.start_time at time zone service.time_zone)::date as date) as day
        group by service.client_id, service.cpt_code, day.date
      ) as asked
      cross join lateral private.payer_rule(
        daily_limit_warnings.organization_id,
        private.primary_payer(daily_limit_warnings.organization_id, asked.client_id, asked.date),
        asked.cpt_code, asked.date
      ) as rule
      where rule.max_daily_units is not null
    ) as given
    where given.units > given.max_daily_units
  ), '[]');
end
$$;
comment on function private.daily_limit_warnings(uuid, private.service[]) is
  'One warning for each client, day and code that would exceed the payer''s daily limit. Limits warn, they do not block.';

-- Sessions and their units ---------------------------------------------------------------------------------------------

create function private.sync_units(organization_id uuid, session_ids uuid[])
returns void
language plpgsql
security definer
set search_path = ''
as $$
declare
  services private.service[];
  demands private.unit_demand[];
begin
  -- Without a payer no units are counted: most statements end here.
  if not private.has_payer(organization_id, array(
    select distinct session.client_id
    from public.sessions as session
    where session.organization_id = sync_units.organization_id and session.id = any (session_ids)
  )) then
    return;
  end if;

  -- Cancelled and missed sessions give their units back; the others keep what they have, as long as it is for the
  -- service they are now.
  delete from public.authorization_units as entry
  using public.sessions as session
  where session.organization_id = sync_units.organization_id
    and session.id = any (session_ids)
    and entry.organization_id = session.organization_id
    and entry.owner_id = session.id
    and (
      session.status in ('cancelled', 'no_show')
      or (entry.start_time, entry.end_time, entry.service_date, entry.cpt_code) is distinct from (
        session.start_time, session.end_time, (session.start_time at time zone session.time_zone)::date,
        private.billed_code(session.cpt_code, session.session_type)
      )
    );
  update public.authorization_units as entry
  set state = kept.state, expires_at = null
  from (
    select session.id, case session.status when 'completed' then 'used' else 'scheduled' end::public.unit_state as state
    from public.sessions as session
    where session.organization_id = sync_units.organization_id and session.id = any (session_ids)
  ) as kept
  where entry.organization_id = sync_units.organization_id and entry.owner_id = kept.id and entry.state <> kept.state;

  services := array(
    select row(
      session.id, session.client_id, private.billed_code(session.cpt_code, session.session_type),
      session.start_time, session.end_time, session.time_zone, null, null
    )::private.service
    from public.sessions as session
    where session.organization_id = sync_units.organization_id
      and session.id = any (session_ids)
      and session.status in ('scheduled', 'in_progress')
      and not exists (
        select 1
        from public.authorization_units as entry
        where entry.organization_id = session.organization_id and entry.owner_id = session.id
      )
  );
  if services = '{}' then
    return;
  end if;
  demands := private.ask_units(organization_id, services, clock_timestamp());
  -- A live hold confirms, always: what an authorization made since then does not cover is entered as beyond it.
  if private.is_short(array(
    select demand
    from unnest(demands) as demand
    where not exists (
      select 1
      from public.session_holds as hold
      where hold.organization_id = sync_units.organization_id
        and demand.owner_id in (hold.id, hold.session_id)
        and (demand.start_time, demand.end_time) = (hold.start_time, hold.end_time)
        and hold.settled_xid = pg_current_xact_id()
    )
  )) then
    raise exception using
      errcode = 'check_violation',
      constraint = 'authorization_exceeded',
      schema = 'public',
      table = 'authorization_units',
      message = 'the payer''s authorization has too few units left, or does not cover the date',
      hint = 'Book through sessions-hold, where an admin may override with a reason.';
  end if;
  perform private.reserve_units(organization_id, demands, 'scheduled');
end
$$;
comment on function private.sync_units(uuid, uuid[]) is
  'Gives these sessions the units they take now, or raises check_violation (23514), which undoes the write.';

create function private.schedule_units()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.sync_units(inserted.organization_id, inserted.session_ids)
  from (
    select new_row.organization_id, array_agg(new_row.id) as session_ids
    from new_rows as new_row
    group by new_row.organization_id
  ) as inserted;
  return null;
end
$$;
comment on function private.schedule_units() is 'Trigger: inserted sessions take their units, or fail.';

create function private.reserve_for_holds(organization_id uuid, hold_ids uuid[])
returns void
language plpgsql
set search_path = ''
as $$
#variable_conflict use_column
declare
  services private.service[];
begin
  services := array(
    select row(
      hold.id, coalesce(hold.client_id, batch.client_id),
      private.billed_code(
        coalesce(batch.cpt_code, moved.cpt_code), coalesce(batch.session_type, moved.session_type)
      ),
      hold.start_time, hold.end_time, hold.time_zone, hold.session_id, null
    )::private.service
    from public.session_holds as hold
    join public.hold_batches as batch on batch.organization_id = hold.organization_id and batch.id = hold.batch_id
    left join public.sessions as moved on moved.organization_id = hold.organization_id and moved.id = hold.session_id
    where hold.organization_id = reserve_for_holds.organization_id and hold.id = any (hold_ids)
  );
  insert into public.authorization_units (
    organization_id, owner_id, client_id, cpt_code, start_time, end_time, service_date, authorization_id,
    total_units, units, state, expires_at
  )
  select
    hold.organization_id, demand.owner_id, demand.client_id, demand.cpt_code, demand.start_time, demand.end_time,
    demand.service_date, demand.authorization_id, demand.total_units, demand.granted_units, 'held', batch.expires_at
  from unnest(private.ask_units(reserve_for_holds.organization_id, services, clock_timestamp())) as demand
  join public.session_holds as hold
    on hold.organization_id = reserve_for_holds.organization_id and hold.id = demand.owner_id
  join public.hold_batches as batch on batch.organization_id = hold.organization_id and batch.id = hold.batch_id;
end
$$;
comment on function private.reserve_for_holds(uuid, uuid[]) is
  'Enters anew what these live holds take, after what they depend on has changed: as much of it as is left.';

create function private.reschedule_units()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  updated record;
  move_ids uuid[];
begin
  for updated in
    select new_row.organization_id, array_agg(new_row.id) as session_ids
    from new_rows as new_row
    join old_rows as old_row on old_row.organization_id = new_row.organization_id and old_row.id = new_row.id
    where (
      new_row.start_time, new_row.end_time, new_row.time_zone, new_row.status, new_row.cpt_code, new_row.session_type
    ) is distinct from (
      old_row.start_time, old_row.end_time, old_row.time_zone, old_row.status, old_row.cpt_code, old_row.session_type
    )
    group by new_row.organization_id
  loop
    -- What a live move takes is the difference to what its session has, and that is changing: the two are counted anew
    -- together. A move whose session is no longer scheduled cannot confirm and takes nothing.
    with taken_back as (
      delete from public.authorization_units as entry
      using public.session_holds as hold
      where hold.organization_id = updated.organization_id
        and hold.session_id = any (updated.session_ids)
        and hold.status = 'held'
        and entry.organization_id = hold.organization_id
        and entry.owner_id = hold.id
        and entry.expires_at > clock_timestamp()
      returning hold.id, hold.session_id
    )
    select array_agg(taken_back.id) into move_ids
    from taken_back
    join public.sessions as session
      on session.organization_id = updated.organization_id and session.id = taken_back.session_id
    where session.status = 'scheduled';
    perform private.sync_units(updated.organization_id, updated.session_ids);
    if move_ids is not null then
      perform private.reserve_for_holds(updated.organization_id, move_ids);
    end if;
  end loop;
  return null;
end
$$;
comment on function private.reschedule_units() is
  'Trigger: sessions that moved, changed service or ended take or give back units, and their live moves with them.';

create trigger c_schedule_units after insert on public.sessions
  referencing new table as new_rows
  for each statement execute function private.schedule_units();
create trigger c_reschedule_units after update on public.sessions
  referencing old table as old_rows new table as new_rows
  for each statement execute function private.reschedule_units();

-- Changes of authorizations ----------------------------------------------------------------------------------------------

create function private.lock_authorized_client()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  if tg_op = 'UPDATE' and (new.organization_id, new.id, new.client_id, new.cpt_code)
    is distinct from (old.organization_id, old.id, old.client_id, old.cpt_code)
  then
    raise exception using
      errcode = 'check_violation',
      message = 'organization_id, id, client_id and cpt_code of an authorization never change',
      hint = 'End this authorization and enter another.';
  end if;
  -- A hold that has read what is left would take units that this change takes away.
  perform private.lock_resources(new.organization_id, array[new.client_id]);
  return new;
end
$$;
comment on function private.lock_authorized_client() is 'Trigger: an authorization changes behind its client''s lock.';

create function private.reallocate_units()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  services private.service[];
  hold_ids uuid[];
begin
  services := array(
    select row(
      session.id, session.client_id, new.cpt_code, session.start_time, session.end_time, session.time_zone, null,
      case entry.state when 'used' then entry.total_units end
    )::private.service
    from public.sessions as session
    left join public.authorization_units as entry
      on entry.organization_id = session.organization_id and entry.owner_id = session.id
    where session.organization_id = new.organization_id
      and session.client_id = new.client_id
      and session.status not in ('cancelled', 'no_show')
      and private.billed_code(session.cpt_code, session.session_type) = new.cpt_code
  );
  hold_ids := array(
    select hold.id
    from (
      select own.organization_id, own.id
      from public.hold_batches as own
      where own.organization_id = new.organization_id and own.client_id = new.client_id
      union
      select member.organization_id, member.batch_id
      from public.session_holds as member
      where member.organization_id = new.organization_id and member.client_id = new.client_id
    ) as of_client
    join public.hold_batches as batch
      on batch.organization_id = of_client.organization_id and batch.id = of_client.id
    join public.session_holds as hold on hold.organization_id = batch.organization_id and hold.batch_id = batch.id
    left join public.sessions as moved
      on moved.organization_id = hold.organization_id and moved.id = hold.session_id
    where coalesce(hold.client_id, batch.client_id) = new.client_id
      and hold.status = 'held'
      and batch.expires_at > clock_timestamp()
      and coalesce(moved.status, 'scheduled') = 'scheduled'
      and private.billed_code(
        coalesce(batch.cpt_code, moved.cpt_code), coalesce(batch.session_type, moved.session_type)
      ) = new.cpt_code
  );
  delete from public.authorization_units as entry
  using (
    select service.owner_id from unnest(services) as service
    union all
    select hold_id from unnest(hold_ids) as hold_id
  ) as counted
  where entry.organization_id = new.organization_id and entry.owner_id = counted.owner_id;
  perform private.reserve_units(
    new.organization_id, private.ask_units(new.organization_id, services, clock_timestamp()), 'scheduled'
  );
  update public.authorization_units as entry
  set state = 'used'
  from public.sessions as session
  where session.organization_id = new.organization_id
    and session.client_id = new.client_id
    and session.status = 'completed'
    and entry.organization_id = session.organization_id
    and entry.owner_id = session.id;
  perform private.reserve_for_holds(new.organization_id, hold_ids);
  return null;
end
$$;
comment on function private.reallocate_units() is
  'Trigger: bookings that are there already count against a new or changed authorization, earliest first, and after them '
  'live holds. What it does not cover stays booked, or held, and is entered as beyond it.';

create trigger a_lock_authorized_client before insert or update on public.authorizations
  for each row execute function private.lock_authorized_client();
create trigger b_reallocate_units after insert or update on public.authorizations
  for each row execute function private.reallocate_units();
create trigger refuse_delete before delete on public.authorizations
  for each row execute function private.refuse_delete();
create trigger refuse_truncate before truncate on public.authorizations
  for each statement execute function private.refuse_delete();
create trigger refuse_delete before delete on public.client_coverages
  for each row execute function private.refuse_delete();
create trigger refuse_truncate before truncate on public.client_coverages
  for each statement execute function private.refuse_delete();

-- Audit of what rules bookings ------------------------------------------------------------------------------------------

create function private.audit_rule_change()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  entity constant text := tg_argv[0];
begin
  perform private.record_event(
    new.organization_id,
    entity || case tg_op when 'INSERT' then '.created' else '.changed' end,
    entity, array[new.id], clock_timestamp(),
    before => case when tg_op = 'UPDATE' then to_jsonb(old) - 'organization_id' end,
    after => to_jsonb(new) - 'organization_id'
  );
  return null;
end
$$;
comment on function private.audit_rule_change() is
  'Trigger: one event for each payer, rule, coverage or authorization that is entered or changed.';

create trigger z_audit after insert or update on public.payers
  for each row execute function private.audit_rule_change('payer');
create trigger z_audit after insert or update on public.payer_rules
  for each row execute function private.audit_rule_change('payer_rule');
create trigger z_audit after insert or update on public.payer_code_rules
  for each row execute function private.audit_rule_change('payer_code_rule');
create trigger z_audit after insert or update on public.payer_concurrency_rules
  for each row execute function private.audit_rule_change('payer_concurrency_rule');
create trigger z_audit after insert or update on public.client_coverages
  for each row execute function private.audit_rule_change('coverage');
create trigger z_audit after insert or update on public.authorizations
  for each row execute function private.audit_rule_change('authorization');

-- Row-level security -----------------------------------------------------------------------------------------------------

alter table public.authorizations enable row level security;
create policy role_scoped_select on public.authorizations for select to authenticated
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
create policy role_scoped_select_insert on public.authorizations for insert to authenticated
  with check (organization_id = (select private.active_organization_id()) and (select private.is_admin()));
create policy role_scoped_select_update on public.authorizations for update to authenticated
  using (organization_id = (select private.active_organization_id()) and (select private.is_admin()))
  with check (organization_id = (select private.active_organization_id()) and (select private.is_admin()));
comment on policy role_scoped_select on public.authorizations is
  'Admins read all authorizations, a therapist those of her caseload.';
comment on policy role_scoped_select_insert on public.authorizations is 'Admins enter authorizations.';
comment on policy role_scoped_select_update on public.authorizations is 'Admins change units and dates; what is booked is counted anew.';
grant select,
  insert (organization_id, id, client_id, payer_id, reference, cpt_code, approved_units, starts_on, ends_on),
  update (reference, approved_units, starts_on, ends_on)
  on public.authorizations to authenticated;
grant select, insert, update on public.authorizations to service_role;

alter table public.authorization_units enable row level security;
create policy role_scoped_select on public.authorization_units for select to authenticated
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
comment on policy role_scoped_select on public.authorization_units is
  'As authorizations. Nobody writes the ledger but the booking functions and triggers.';
grant select on public.authorization_units to authenticated, service_role;
