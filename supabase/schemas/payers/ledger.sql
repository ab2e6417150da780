-- Purpose: what bookings ask of authorizations, get, keep and give back.
-- Objects: quote_units (the one computation), shortages_of, warnings of units; enter, schedule, move, use, give back;
--          settle_units for direct writes; recount_units when an authorization or a coverage changes.
-- Watch for: everything here runs behind the client's lock, or alone in the organization. A quote is made once for a
--            request, and its entries are written from it. authorizations.booked_units moves with every entry that is
--            not a hold's.

create type private.service as (
  owner_id uuid,
  occurrence_index integer,
  client_id uuid,
  cpt_code text,
  start_time timestamptz,
  end_time timestamptz,
  replaces_id uuid,
  total_units integer
);
comment on type private.service is
  'One service of one client. replaces_id: the session a hold moves; total_units: when known better than by the times.';

create type private.quote as (
  owner_id uuid,
  occurrence_index integer,
  client_id uuid,
  cpt_code text,
  service_date date,
  authorization_id uuid,
  approved_units integer,
  left_units integer,
  total_units integer,
  needed_units integer,
  granted_units integer,
  shortage text,
  rounding public.unit_rounding,
  max_daily_units integer,
  replaces_id uuid
);
comment on type private.quote is
  'What a service takes (total), asks of its authorization (needed: less by what a moved session has already) and gets. '
  'left_units: of the authorization, before the request. shortage: which limit it meets, null when it gets all it needs.';

create type private.moved_session as (hold_id uuid, session_id uuid);
comment on type private.moved_session is 'A session, and the hold that moves it.';

create function private.quote_units(organization_id uuid, services private.service[], as_of timestamptz)
returns private.quote[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return array(
    with asked as (
      select service.owner_id, service.occurrence_index, service.client_id, service.cpt_code, service.start_time,
        service.replaces_id, day.date, payer.id as payer_id, rule.rounding, rule.max_daily_units, rule.authorization_required,
        rule.is_covered,
        coalesce(service.total_units, private.billable_units(
          floor(extract(epoch from service.end_time - service.start_time) / 60), rule.rounding
        )) as total_units
      from unnest(services) as service
      cross join lateral (
        select from public.clients as known
        where known.organization_id = quote_units.organization_id and known.id = service.client_id and known.has_payer
        offset 0
      ) as client
      cross join lateral (
        select private.service_date(quote_units.organization_id, service.client_id, service.start_time) as date
      ) as day
      cross join lateral (
        select private.primary_payer(quote_units.organization_id, service.client_id, day.date) as id
      ) as payer
      cross join lateral private.payer_rule(quote_units.organization_id, payer.id, service.cpt_code, day.date) as rule
    ),
    -- Subselects and limits, not joins: each is one look into an index, whatever the planner believes of the array's length.
    found as (
      select asked.*, approval.id as authorization_id, approval.approved_units,
        approval.approved_units - approval.booked_units - (
          select coalesce(sum(held.units), 0)
          from public.authorization_units as held
          where held.organization_id = quote_units.organization_id and held.authorization_id = approval.id
            and held.state = 'held' and held.expires_at > as_of
        ) as left_units,
        asked.total_units - coalesce((
          select least(replaced.units, asked.total_units)
          from (
            -- By its key alone: nothing here may lead into the authorization's whole ledger.
            select entry.units, entry.authorization_id
            from public.authorization_units as entry
            where entry.organization_id = quote_units.organization_id and entry.owner_id = asked.replaces_id
            offset 0
          ) as replaced
          where replaced.authorization_id = approval.id
        ), 0) as needed_units,
        case
          when asked.payer_id is null and exists (
            select from public.client_coverages as ever
            where ever.organization_id = quote_units.organization_id and ever.client_id = asked.client_id
          ) then 'coverage'
          when not asked.is_covered then 'coverage'
          when approval.id is null and (asked.authorization_required or exists (
            select from public.authorizations as any_date
            where any_date.organization_id = quote_units.organization_id and any_date.client_id = asked.client_id
              and any_date.cpt_code = asked.cpt_code
          )) then 'dates'
        end as shortage
      from asked
      left join lateral (
        select candidate.id, candidate.approved_units, candidate.booked_units
        from public.authorizations as candidate
        where candidate.organization_id = quote_units.organization_id
          and candidate.client_id = asked.client_id
          and candidate.cpt_code = asked.cpt_code
          and asked.date between candidate.starts_on and candidate.ends_on
          -- Of a payer who covers that date; of a client nobody ever covered, whatever was authorized.
          and (candidate.payer_id = asked.payer_id or exists (
            select from public.client_coverages as coverage
            where coverage.organization_id = quote_units.organization_id and coverage.client_id = asked.client_id
              and coverage.payer_id = candidate.payer_id
              and asked.date between coverage.valid_from and coalesce(coverage.valid_to, 'infinity')
          ) or not exists (
            select from public.client_coverages as ever
            where ever.organization_id = quote_units.organization_id and ever.client_id = asked.client_id
          ))
        order by candidate.ends_on, candidate.id
        limit 1
      ) as approval on true
    ),
    granted as (
      select found.*, case when found.authorization_id is null or found.shortage = 'coverage' then 0 else greatest(0, least(
        found.needed_units,
        found.left_units - coalesce(sum(found.needed_units) over (
          partition by found.authorization_id order by found.start_time, found.owner_id
          rows between unbounded preceding and 1 preceding
        ), 0)
      )) end::integer as granted_units
      from found
    )
    select row(
      granted.owner_id, granted.occurrence_index, granted.client_id, granted.cpt_code, granted.date,
      granted.authorization_id, granted.approved_units, granted.left_units, granted.total_units,
      case when granted.authorization_id is null and granted.shortage is null then 0 else granted.needed_units end,
      granted.granted_units,
      coalesce(granted.shortage, case
        when granted.authorization_id is not null and granted.granted_units < granted.needed_units then 'total'
      end),
      granted.rounding, granted.max_daily_units, granted.replaces_id
    )::private.quote
    from granted
    order by granted.start_time, granted.owner_id
  );
end
$$;
comment on function private.quote_units(uuid, private.service[], timestamptz) is
  'What these services ask of their clients'' authorizations and would get now, earliest first: one row for each service '
  'of a client who ever had a payer. An authorization counts when its payer covers the client on the date of service; '
  'of several the one that ends first. A code that the payer of that day does not pay for is not covered. Booked units stand on the authorization; only live holds are summed. Services '
  'without a limit need and get 0.';

create function private.shortages_of(quotes private.quote[])
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
begin
  return (
    select jsonb_agg(
      jsonb_build_object(
        'occurrenceIndex', quote.occurrence_index, 'clientId', quote.client_id, 'cptCode', quote.cpt_code,
        'date', quote.service_date, 'limit', quote.shortage, 'neededUnits', quote.needed_units,
        'leftUnits', quote.granted_units
      )
      order by quote.occurrence_index, quote.client_id
    )
    from unnest(quotes) as quote
    where quote.shortage is not null
  );
end
$$;
comment on function private.shortages_of(private.quote[]) is
  'The shortages[] of AUTHORIZATION_EXCEEDED, null when every service gets what it needs. leftUnits: what is left for it '
  'after the earlier occurrences.';

create function private.unit_warnings(organization_id uuid, quotes private.quote[], as_of timestamptz)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return coalesce((
    select jsonb_agg(
      jsonb_build_object(
        'code', 'AUTHORIZATION_NEARLY_USED', 'authorizationId', balance.authorization_id, 'cptCode', balance.cpt_code,
        'approvedUnits', balance.approved_units, 'leftUnits', balance.left_units
      )
      order by balance.first_date, balance.authorization_id
    )
    from (
      select quote.authorization_id, min(quote.cpt_code) as cpt_code, min(quote.approved_units) as approved_units,
        min(quote.left_units) - sum(quote.granted_units) as left_units, min(quote.service_date) as first_date
      from unnest(quotes) as quote
      where quote.authorization_id is not null
      group by quote.authorization_id
    ) as balance
    where balance.left_units <= 0.1 * balance.approved_units
  ), '[]') || case
    when exists (select from unnest(quotes) as quote where quote.max_daily_units is not null)
      then private.daily_limit_warnings(organization_id, quotes, as_of)
    else '[]'
  end;
end
$$;
comment on function private.unit_warnings(uuid, private.quote[], timestamptz) is
  'One warning for each authorization that is 90 % or more taken with these services, and for each client, day and code '
  'beyond a payer''s daily limit. Limits of a day warn, they do not block.';

create function private.daily_limit_warnings(organization_id uuid, quotes private.quote[], as_of timestamptz)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return coalesce((
    select jsonb_agg(
      jsonb_build_object(
        'code', 'DAILY_LIMIT_EXCEEDED', 'cptCode', given.cpt_code, 'date', given.service_date,
        'units', given.units, 'maxDailyUnits', given.max_daily_units
      )
      order by given.service_date, given.client_id
    )
    from (
      select asked.*, asked.asked_units + private.units_of_day(
        daily_limit_warnings.organization_id, asked.client_id, asked.cpt_code, asked.service_date, asked.rounding,
        asked.own_ids, as_of
      ) as units
      from (
        select quote.client_id, quote.cpt_code, quote.service_date, min(quote.max_daily_units) as max_daily_units,
          min(quote.rounding) as rounding, sum(quote.total_units)::integer as asked_units,
          array_agg(quote.owner_id) || array_remove(array_agg(quote.replaces_id), null) as own_ids
        from unnest(quotes) as quote
        where quote.max_daily_units is not null
        group by quote.client_id, quote.cpt_code, quote.service_date
      ) as asked
    ) as given
    where given.units > given.max_daily_units
  ), '[]');
end
$$;
comment on function private.daily_limit_warnings(uuid, private.quote[], timestamptz) is
  'One warning for each client, day and code of these services that would exceed the payer''s daily limit.';

create function private.has_payer(organization_id uuid, client_ids uuid[])
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  return exists (
    select from public.clients as client
    where client.organization_id = has_payer.organization_id and client.id = any (client_ids) and client.has_payer
  );
end
$$;
comment on function private.has_payer(uuid, uuid[]) is
  'Whether any of these clients ever had a coverage or an authorization: without, no units are counted.';

create function private.units_of_day(
  organization_id uuid,
  client_id uuid,
  cpt_code text,
  service_date date,
  rounding public.unit_rounding,
  except_ids uuid[],
  as_of timestamptz
)
returns integer
language plpgsql
stable
set search_path = ''
as $$
declare
  zone constant text := private.service_zone(organization_id, client_id);
  day constant tstzrange := tstzrange(private.start_of_day(service_date, zone), private.start_of_day(service_date + 1, zone), '[)');
begin
  return (
    select coalesce(sum(private.billable_units(
      floor(extract(epoch from booked.end_time - booked.start_time) / 60), units_of_day.rounding
    )), 0)
    from (
      select session.start_time, session.end_time
      from public.sessions as session
      where session.organization_id = units_of_day.organization_id
        and session.client_id = units_of_day.client_id
        and session.start_time >= lower(day) and session.start_time < upper(day)
        and session.status not in ('cancelled', 'no_show')
        and private.billed_code(
          units_of_day.organization_id, session.cpt_code, session.session_type, units_of_day.service_date
        ) = units_of_day.cpt_code
        and session.id <> all (except_ids)
      union all
      select hold.start_time, hold.end_time
      from public.session_holds as hold
      join public.hold_batches as batch on batch.organization_id = hold.organization_id and batch.id = hold.batch_id
      where hold.organization_id = units_of_day.organization_id
        and hold.client_id = units_of_day.client_id
        and hold.start_time >= lower(day) and hold.start_time < upper(day)
        and hold.status = 'held' and batch.expires_at > as_of and hold.session_id is null
        and private.service_code(
          units_of_day.organization_id, batch.cpt_code, batch.session_type, units_of_day.service_date
        ) = units_of_day.cpt_code
        and hold.id <> all (except_ids)
    ) as booked
  );
end
$$;
comment on function private.units_of_day(uuid, uuid, text, date, public.unit_rounding, uuid[], timestamptz) is
  'Units of a code that a client has on a local day, live holds counted, apart from those in except_ids.';

-- The ledger -------------------------------------------------------------------------------------------------------

create function private.add_booked_units(organization_id uuid, entries public.authorization_units[], factor integer)
returns void
language plpgsql
set search_path = ''
as $$
begin
  update public.authorizations as approval
  set booked_units = approval.booked_units + factor * changed.units
  from (
    select entry.authorization_id as id, sum(entry.units) as units
    from unnest(entries) as entry
    where entry.state <> 'held' and entry.units > 0
    group by entry.authorization_id
  ) as changed
  where approval.organization_id = add_booked_units.organization_id and approval.id = changed.id;
end
$$;
comment on function private.add_booked_units(uuid, public.authorization_units[], integer) is
  'Adds (factor 1) or takes away (-1) the units of these entries, those of holds excepted, from their authorizations.';

create function private.enter_units(
  organization_id uuid,
  quotes private.quote[],
  state public.unit_state,
  expires_at timestamptz default null
)
returns void
language plpgsql
set search_path = ''
as $$
declare
  entries public.authorization_units[];
begin
  entries := array(
    select row(
      enter_units.organization_id, quote.owner_id, quote.client_id, quote.cpt_code, quote.service_date,
      quote.authorization_id, quote.total_units, quote.granted_units, enter_units.state, enter_units.expires_at
    )::public.authorization_units
    from unnest(quotes) as quote
    where quote.authorization_id is not null or quote.shortage is not null
  );
  if entries <> '{}' then
    insert into public.authorization_units select entry.* from unnest(entries) as entry;
    if state <> 'held' then
      perform private.add_booked_units(organization_id, entries, 1);
    end if;
  end if;
end
$$;
comment on function private.enter_units(uuid, private.quote[], public.unit_state, timestamptz) is
  'Enters what these services were granted; what goes beyond, by an override, is in total_units only.';

create function private.give_back_units(organization_id uuid, owner_ids uuid[])
returns public.authorization_units[]
language plpgsql
set search_path = ''
as $$
declare
  entries public.authorization_units[];
begin
  with gone as (
    delete from public.authorization_units as entry
    using (select distinct named.id from unnest(owner_ids) as named (id)) as owner
    cross join lateral (
      select known.ctid from public.authorization_units as known
      where known.organization_id = give_back_units.organization_id and known.owner_id = owner.id offset 0
    ) as found
    where entry.ctid = found.ctid
    returning entry.*
  )
  select array_agg(row(gone.*)::public.authorization_units) into entries from gone;
  if entries is not null then
    perform private.add_booked_units(organization_id, entries, -1);
  end if;
  return coalesce(entries, '{}');
end
$$;
comment on function private.give_back_units(uuid, uuid[]) is
  'Deletes the entries of these sessions and holds, and returns them; the audit keeps what was.';

create function private.schedule_units(organization_id uuid, hold_ids uuid[])
returns void
language plpgsql
set search_path = ''
as $$
declare
  entries public.authorization_units[];
begin
  with taken as (
    update public.authorization_units as entry
    set state = 'scheduled', expires_at = null
    from (select distinct named.id from unnest(hold_ids) as named (id)) as owner
    cross join lateral (
      select known.ctid from public.authorization_units as known
      where known.organization_id = schedule_units.organization_id and known.owner_id = owner.id offset 0
    ) as found
    where entry.ctid = found.ctid and entry.state = 'held'
    returning entry.*
  )
  select array_agg(row(taken.*)::public.authorization_units) into entries from taken;
  if entries is not null then
    perform private.add_booked_units(organization_id, entries, 1);
  end if;
end
$$;
comment on function private.schedule_units(uuid, uuid[]) is 'What these holds held, their sessions have scheduled.';

create function private.move_units(organization_id uuid, moved private.moved_session[])
returns void
language plpgsql
set search_path = ''
as $$
declare
  before public.authorization_units[];
  held public.authorization_units[];
begin
  -- What the hold took in addition, and what the session had: together they are what the session has now.
  with gone as (
    delete from public.authorization_units as entry
    using unnest(moved) as one
    cross join lateral (values (one.hold_id), (one.session_id)) as owner (id)
    cross join lateral (
      select known.ctid from public.authorization_units as known
      where known.organization_id = move_units.organization_id and known.owner_id = owner.id offset 0
    ) as found
    where entry.ctid = found.ctid
    returning entry.*
  )
  select
    array_agg(row(gone.*)::public.authorization_units) filter (where gone.state <> 'held'),
    array_agg(row(gone.*)::public.authorization_units) filter (where gone.state = 'held')
  into before, held
  from gone;
  if before is not null then
    perform private.add_booked_units(organization_id, before, -1);
  end if;
  if held is null then
    return;
  end if;
  held := array(
    select row(
      entry.organization_id, one.session_id, entry.client_id, entry.cpt_code, entry.service_date, entry.authorization_id,
      entry.total_units,
      entry.units + case when former.authorization_id = entry.authorization_id
        then least(former.units, entry.total_units) else 0 end,
      'scheduled', null
    )::public.authorization_units
    from unnest(held) as entry
    join unnest(moved) as one on one.hold_id = entry.owner_id
    left join unnest(before) as former on former.owner_id = one.session_id
  );
  insert into public.authorization_units select entry.* from unnest(held) as entry;
  perform private.add_booked_units(organization_id, held, 1);
end
$$;
comment on function private.move_units(uuid, private.moved_session[]) is
  'The units of sessions that a hold moves: what the hold took for them, in addition to what they had.';

create function private.use_units(organization_id uuid, session_id uuid, used_units integer)
returns void
language plpgsql
set search_path = ''
as $$
declare
  entry public.authorization_units;
  left_units integer;
begin
  select known.* into entry
  from public.authorization_units as known
  where known.organization_id = use_units.organization_id and known.owner_id = use_units.session_id;
  if not found then
    return;
  end if;
  perform private.give_back_units(organization_id, array[session_id]);
  -- What was rendered beyond what is left is entered as beyond it: it happened.
  select approval.approved_units - approval.booked_units - coalesce((
    select sum(held.units) from public.authorization_units as held
    where held.organization_id = approval.organization_id and held.authorization_id = approval.id
      and held.state = 'held' and held.expires_at > clock_timestamp()
  ), 0) into left_units
  from public.authorizations as approval
  where approval.organization_id = use_units.organization_id and approval.id = entry.authorization_id;
  entry.total_units := used_units;
  entry.units := case when entry.authorization_id is null then 0 else greatest(0, least(used_units, left_units)) end;
  entry.state := 'used';
  entry.expires_at := null;
  insert into public.authorization_units values (entry.*);
  perform private.add_booked_units(organization_id, array[entry], 1);
end
$$;
comment on function private.use_units(uuid, uuid, integer) is
  'A completed session uses the units of its actual minutes: fewer give the rest back, more take what is left.';

create function private.use_units_of_day(completed public.sessions)
returns integer
language plpgsql
set search_path = ''
as $$
declare
  day record;
  taken integer;
begin
  -- Where a payer rounds by the day, a completed visit may change the units of the others. Those that give back come first,
  -- so that those that take find what is left.
  for day in
    select visit.session_id, visit.units
    from private.visit_units(
      completed.organization_id, completed.client_id,
      private.service_date(completed.organization_id, completed.client_id, completed.start_time)
    ) as visit
    left join public.authorization_units as entry
      on entry.organization_id = completed.organization_id and entry.owner_id = visit.session_id
    left join public.session_visits as recorded
      on recorded.organization_id = completed.organization_id and recorded.session_id = visit.session_id
    where visit.session_id = completed.id or visit.units <> entry.total_units or visit.units <> recorded.units
    order by visit.units - entry.total_units, visit.session_id
  loop
    update public.session_visits as visit
    set units = day.units
    where visit.organization_id = completed.organization_id and visit.session_id = day.session_id
      and visit.units <> day.units;
    perform private.use_units(completed.organization_id, day.session_id, day.units);
    if day.session_id = completed.id then
      taken := day.units;
    end if;
  end loop;
  return taken;
end
$$;
comment on function private.use_units_of_day(public.sessions) is
  'A session that has just been completed uses its units, and the client''s other completed visits of that day have theirs '
  'corrected, as reports.units_by_code_and_payer counts them. Returns the session''s own.';

-- When rows change under the ledger ----------------------------------------------------------------------------------

create function private.services_of_sessions(organization_id uuid, session_ids uuid[])
returns private.service[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return array(
    select row(
      session.id, 0, session.client_id,
      private.billed_code_at(
        session.organization_id, session.client_id, session.cpt_code, session.session_type, session.start_time
      ),
      session.start_time, session.end_time, null, visit.units
    )::private.service
    from unnest(session_ids) as named (id)
    cross join lateral (
      select known.* from public.sessions as known
      where known.organization_id = services_of_sessions.organization_id and known.id = named.id offset 0
    ) as session
    left join public.session_visits as visit
      on visit.organization_id = session.organization_id and visit.session_id = session.id
      and session.status = 'completed'
    where session.status not in ('cancelled', 'no_show')
  );
end
$$;
comment on function private.services_of_sessions(uuid, uuid[]) is
  'What these sessions take: by their times, or, once completed, by what was rendered.';

create function private.services_of_holds(organization_id uuid, hold_ids uuid[])
returns private.service[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return array(
    select row(
      hold.id, hold.occurrence_index, hold.client_id,
      private.billed_code_at(
        hold.organization_id, hold.client_id, coalesce(batch.cpt_code, moved.cpt_code),
        coalesce(batch.session_type, moved.session_type), hold.start_time
      ),
      hold.start_time, hold.end_time, hold.session_id, null
    )::private.service
    from unnest(hold_ids) as named (id)
    join public.session_holds as hold
      on hold.organization_id = services_of_holds.organization_id and hold.id = named.id
    join public.hold_batches as batch on batch.organization_id = hold.organization_id and batch.id = hold.batch_id
    left join public.sessions as moved
      on moved.organization_id = hold.organization_id and moved.id = hold.session_id
    where hold.status = 'held' and batch.expires_at > clock_timestamp()
      -- A hold that names no service takes its units when it is confirmed; a move whose session has begun cannot confirm.
      and (moved.status = 'scheduled' or hold.session_id is null
        and (batch.cpt_code is not null or batch.session_type is not null))
  );
end
$$;
comment on function private.services_of_holds(uuid, uuid[]) is 'What these live holds take.';

create function private.enter_sessions(organization_id uuid, quotes private.quote[])
returns void
language plpgsql
set search_path = ''
as $$
begin
  perform private.enter_units(enter_sessions.organization_id, array_agg(quote order by quote.owner_id), entry.state)
  from unnest(quotes) as quote
  join public.sessions as session
    on session.organization_id = enter_sessions.organization_id and session.id = quote.owner_id
  cross join lateral (
    select case session.status when 'completed' then 'used' else 'scheduled' end::public.unit_state as state
  ) as entry
  group by entry.state;
end
$$;
comment on function private.enter_sessions(uuid, private.quote[]) is
  'Enters what sessions take: used once completed, else scheduled.';

create function private.enter_holds_anew(organization_id uuid, hold_ids uuid[])
returns void
language plpgsql
set search_path = ''
as $$
declare
  quotes private.quote[];
begin
  quotes := private.quote_units(
    organization_id, private.services_of_holds(organization_id, hold_ids), clock_timestamp()
  );
  perform private.enter_units(enter_holds_anew.organization_id, array_agg(quote), 'held', batch.expires_at)
  from unnest(quotes) as quote
  join public.session_holds as hold
    on hold.organization_id = enter_holds_anew.organization_id and hold.id = quote.owner_id
  join public.hold_batches as batch on batch.organization_id = hold.organization_id and batch.id = hold.batch_id
  group by batch.id, batch.expires_at;
end
$$;
comment on function private.enter_holds_anew(uuid, uuid[]) is
  'Enters what these live holds take, after what they depend on has changed: as much of it as is left.';

create function private.settle_units(organization_id uuid, session_ids uuid[])
returns void
language plpgsql
security definer
set search_path = ''
as $$
declare
  move_ids uuid[];
  former public.authorization_units[];
  quotes private.quote[];
begin
  -- Without a payer no units are counted: most statements end here.
  if not exists (
    select from unnest(session_ids) as named (id)
    cross join lateral (
      select known.client_id from public.sessions as known
      where known.organization_id = settle_units.organization_id and known.id = named.id offset 0
    ) as session
    cross join lateral (
      select known.has_payer from public.clients as known
      where known.organization_id = settle_units.organization_id and known.id = session.client_id offset 0
    ) as client
    where client.has_payer
  ) then
    return;
  end if;
  -- What a live move takes is the difference to what its session has, and that is changing: both are counted anew.
  move_ids := array(
    select hold.id from public.session_holds as hold
    where hold.organization_id = settle_units.organization_id
      and hold.session_id = any (session_ids) and hold.status = 'held'
  );
  former := private.give_back_units(organization_id, session_ids || move_ids);
  quotes := private.quote_units(
    organization_id, private.services_of_sessions(organization_id, session_ids), clock_timestamp()
  );
  if private.shortages_of(array(
    select quote from unnest(quotes) as quote
    join public.sessions as session
      on session.organization_id = settle_units.organization_id and session.id = quote.owner_id
    -- What was rendered happened, whatever was authorized; and what an admin booked beyond it goes on as it was.
    where session.status <> 'completed' and not exists (
      select from unnest(former) as entry
      where (entry.owner_id, entry.cpt_code, entry.service_date, entry.total_units)
        = (quote.owner_id, quote.cpt_code, quote.service_date, quote.total_units)
    )
  )) is not null then
    raise exception using
      errcode = 'check_violation',
      constraint = 'authorization_exceeded',
      schema = 'public',
      table = 'authorization_units',
      message = 'the payer''s authorization has too few units left, or does not cover the date',
      hint = 'Book through sessions-hold, where an admin may override with a reason.';
  end if;
  perform private.enter_sessions(organization_id, quotes);
  if move_ids <> '{}' then
    perform private.enter_holds_anew(organization_id, move_ids);
  end if;
end
$$;
comment on function private.settle_units(uuid, uuid[]) is
  'Gives sessions that were written directly the units they take now, or raises check_violation (23514), which undoes the write.';

create function private.reenter_units(organization_id uuid, session_ids uuid[], hold_ids uuid[])
returns void
language plpgsql
set search_path = ''
as $$
begin
  perform private.give_back_units(organization_id, session_ids || hold_ids);
  perform private.enter_sessions(organization_id, private.quote_units(
    organization_id, private.services_of_sessions(organization_id, session_ids), clock_timestamp()
  ));
  perform private.enter_holds_anew(organization_id, hold_ids);
end
$$;
comment on function private.reenter_units(uuid, uuid[], uuid[]) is
  'Counts what these sessions take anew, earliest first, and live holds after them. What is not covered is entered as beyond it.';

create function private.recount_units(organization_id uuid, client_id uuid)
returns void
language plpgsql
security definer
set search_path = ''
as $$
declare
  session_ids uuid[];
  hold_ids uuid[];
begin
  session_ids := array(
    select session.id
    from public.sessions as session
    where session.organization_id = recount_units.organization_id
      and session.client_id = recount_units.client_id
      and session.status not in ('cancelled', 'no_show')
  );
  hold_ids := array(
    select hold.id from public.session_holds as hold
    where hold.organization_id = recount_units.organization_id
      and hold.client_id = recount_units.client_id
      and hold.status = 'held'
  );
  perform private.reenter_units(organization_id, session_ids, hold_ids);
end
$$;
comment on function private.recount_units(uuid, uuid) is
  'Counts what a client has booked anew, earliest first, and live holds after it, when an authorization or a coverage '
  'changed. What is not covered stays booked, or held, and is entered as beyond it.';

create function private.recount_after_change()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  former constant text := private.enter_booking();
begin
  update public.clients as client
  set has_payer = true
  where client.organization_id = new.organization_id and client.id = new.client_id and not client.has_payer;
  perform private.recount_units(new.organization_id, new.client_id);
  perform private.leave_booking(null, former);
  return null;
end
$$;
comment on function private.recount_after_change() is 'Trigger: a client''s units follow their authorizations and coverages.';

create function private.guard_authorization()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  if not private.take_row_organization(new.organization_id) then
    return new;
  end if;
  if tg_op = 'UPDATE' and (new.organization_id, new.id, new.client_id, new.cpt_code)
    is distinct from (old.organization_id, old.id, old.client_id, old.cpt_code)
  then
    raise exception using
      errcode = 'check_violation',
      message = 'organization_id, id, client_id and cpt_code of an authorization never change',
      hint = 'End this authorization and enter another.';
  end if;
  return new;
end
$$;
comment on function private.guard_authorization() is 'Trigger: an authorization changes with its organization to itself.';

create function private.guard_coverage()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  if not private.take_row_organization(new.organization_id) then
    return new;
  end if;
  return new;
end
$$;
comment on function private.guard_coverage() is 'Trigger: a coverage changes with its organization to itself.';

create trigger a_take_organization before insert or update on public.authorizations
  for each statement
  when (private.is_direct_write())
  execute function private.take_written_organization();
create trigger b_guard_authorization before insert or update of organization_id, id, client_id, cpt_code, payer_id,
  approved_units, starts_on, ends_on on public.authorizations
  for each row execute function private.guard_authorization();
create trigger c_recount after insert or update of approved_units, starts_on, ends_on, payer_id on public.authorizations
  for each row execute function private.recount_after_change();
create trigger a_take_organization before insert or update on public.client_coverages
  for each statement
  when (private.is_direct_write())
  execute function private.take_written_organization();
create trigger b_guard_coverage before insert or update on public.client_coverages
  for each row execute function private.guard_coverage();
create trigger c_recount after insert or update on public.client_coverages
  for each row execute function private.recount_after_change();

create trigger refuse_derived_write
  before insert or delete or update of organization_id, owner_id, client_id, cpt_code, service_date, authorization_id, total_units,
    units, state on public.authorization_units
  for each statement
  when (private.is_direct_write())
  execute function private.refuse_derived_write();
create trigger refuse_truncate before truncate on public.authorization_units
  for each statement execute function private.refuse_derived_write();
