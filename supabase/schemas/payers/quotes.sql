-- Purpose: what a booking would take of authorizations, and which limits are in its way: the one computation of units.
-- Objects: quote_units and what it reads (asked_services, approvals_for, limits_for); shortages_of, unit_warnings.
-- Watch for: everything here runs behind the client's and the therapist's lock, or alone in the organization. What is
--            decisive is read in one statement for each kind, for all services together. It is granted in memory, one
--            service after the other: what a service gets is the least of several balances, each of which the earlier
--            ones have changed by what they got. No window function sums what depends on its own earlier rows.

create type private.service as (
  owner_id uuid,
  occurrence_index integer,
  client_id uuid,
  cpt_code text,
  start_time timestamptz,
  end_time timestamptz,
  replaces_id uuid,
  total_units integer,
  therapist_id uuid,
  service_date date
);
comment on type private.service is
  'One service of one client. replaces_id: the session a hold moves; total_units: when known better than by the times; '
  'service_date: when it is known already.';

create type private.drawn_units as (authorization_id uuid, units integer);
comment on type private.drawn_units is 'Units of an authorization: what a session has of it, or what is added to what is booked.';

create type private.asked_service as (
  owner_id uuid,
  occurrence_index integer,
  client_id uuid,
  therapist_id uuid,
  cpt_code text,
  start_time timestamptz,
  service_date date,
  replaces_id uuid,
  payer_id uuid,
  was_covered boolean,
  is_paid boolean,
  authorization_required boolean,
  total_units integer,
  own private.drawn_units[]
);
comment on type private.asked_service is
  'A service with what its payer says of it. was_covered: the client ever had a payer; is_paid: this payer pays for the code.';

create type private.approval as (
  id uuid,
  client_id uuid,
  payer_id uuid,
  cpt_codes text[],
  approved_units integer,
  left_units integer,
  starts_on date,
  ends_on date
);
comment on type private.approval is 'An authorization as a quote sees it.';

create type private.limit_use as (
  service_number integer,
  pool integer,
  authorization_id uuid,
  period text,
  effect public.limit_effect,
  max_units integer
);
comment on type private.limit_use is 'A limit that counts a service, in the pool of its period. period: as in shortages[].';

create type private.unit_shortage as (limit_name text, left_units integer);
comment on type private.unit_shortage is 'A limit that a service meets, and what is left for the service within it.';

create type private.exceeded_limit as (pool integer, limit_name text, max_units integer, units integer);
comment on type private.exceeded_limit is 'A limit that warns, and the units within it with this service.';

create type private.quote as (
  owner_id uuid,
  part integer,
  occurrence_index integer,
  client_id uuid,
  therapist_id uuid,
  payer_id uuid,
  cpt_code text,
  service_date date,
  authorization_id uuid,
  approved_units integer,
  left_units integer,
  needs_authorization boolean,
  service_units integer,
  total_units integer,
  granted_units integer,
  replaces_id uuid,
  shortages private.unit_shortage[],
  exceeded private.exceeded_limit[],
  warns boolean
);
comment on type private.quote is
  'What a service takes of an authorization (total; service_units is the whole service''s) and gets of it in addition to '
  'what a moved session has (granted). left_units: of the authorization, before the request. The first part has the '
  'service''s shortages, null when it gets all it needs, and the limits it is warned of. warns: of those, or because a tenth '
  'of the authorization is left, or less.';

create function private.was_ever_covered(organization_id uuid, client_id uuid)
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  return exists (
    select from public.client_coverages as ever
    where ever.organization_id = was_ever_covered.organization_id and ever.client_id = was_ever_covered.client_id
  );
end
$$;
comment on function private.was_ever_covered(uuid, uuid) is 'Whether a client has a coverage, of any dates.';

create function private.asked_services(organization_id uuid, services private.service[])
returns private.asked_service[]
language plpgsql
stable
set search_path = ''
as $$
declare
  asked private.asked_service[] := '{}';
  service private.service;
  client_id uuid;
  has_payer boolean;
  payer_id uuid;
  terms private.payer_terms;
  own private.drawn_units[];
begin
  if cardinality(services) > 1 then
    -- Earliest first, and by client, so that a client's authorizations are looked for once.
    services := array(
      select each from unnest(services) as each order by each.client_id, each.start_time, each.owner_id
    );
  end if;
  foreach service in array services loop
    if client_id is distinct from service.client_id then
      client_id := service.client_id;
      select known.has_payer into has_payer
      from public.clients as known
      where known.organization_id = asked_services.organization_id and known.id = service.client_id;
    end if;
    continue when has_payer is not true;
    service.service_date := coalesce(
      service.service_date, private.service_date(organization_id, service.client_id, service.start_time)
    );
    payer_id := private.primary_payer(organization_id, service.client_id, service.service_date);
    terms := private.payer_rule(organization_id, payer_id, service.cpt_code, service.service_date);
    own := null;
    if service.replaces_id is not null then
      -- By its key alone: nothing here may lead into an authorization's whole ledger.
      own := array(
        select row(entry.authorization_id, entry.units)::private.drawn_units
        from public.authorization_units as entry
        where entry.organization_id = asked_services.organization_id and entry.owner_id = service.replaces_id
          and entry.authorization_id is not null
      );
    end if;
    asked := asked || row(
      service.owner_id, service.occurrence_index, service.client_id, service.therapist_id, service.cpt_code,
      service.start_time, service.service_date, service.replaces_id, payer_id,
      payer_id is not null or private.was_ever_covered(organization_id, service.client_id),
      terms.is_covered, terms.authorization_required,
      coalesce(service.total_units, private.billable_units(
        private.billable_minutes(service.start_time, service.end_time), terms.rounding, terms.unit_minutes
      )),
      own
    )::private.asked_service;
  end loop;
  return asked;
end
$$;
comment on function private.asked_services(uuid, private.service[]) is
  'The services of clients who ever had a payer, by client, earliest first: their day, their payer and their units.';

create function private.approvals_for(organization_id uuid, asked private.asked_service[], as_of timestamptz)
returns private.approval[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return array(
    select row(
      approval.id, approval.client_id, approval.payer_id,
      array(
        select code.cpt_code from public.authorization_codes as code
        where code.organization_id = approvals_for.organization_id and code.authorization_id = approval.id
      ),
      approval.approved_units,
      -- Booked units stand on the authorization; of holds only the live ones are summed.
      approval.approved_units - approval.booked_units - (
        select coalesce(sum(held.units), 0)
        from public.authorization_units as held
        where held.organization_id = approvals_for.organization_id and held.authorization_id = approval.id
          and held.state = 'held' and held.expires_at > as_of
      ),
      approval.starts_on, approval.ends_on
    )::private.approval
    from (
      select service.client_id as id, min(service.service_date) as first_date, max(service.service_date) as last_date
      from unnest(asked) as service
      group by service.client_id
    ) as client
    cross join lateral (
      select known.* from public.authorizations as known
      where known.organization_id = approvals_for.organization_id and known.client_id = client.id
        and known.ends_on >= client.first_date and known.starts_on <= client.last_date
      offset 0
    ) as approval
    order by approval.client_id, approval.ends_on, approval.starts_on, approval.id
  );
end
$$;
comment on function private.approvals_for(uuid, private.asked_service[], timestamptz) is
  'The authorizations of the days of these services, by client, the one that ends first first.';

create function private.units_within(
  organization_id uuid,
  of_limit public.unit_limits,
  client_id uuid,
  therapist_id uuid,
  days daterange,
  except_ids uuid[],
  as_of timestamptz
)
returns integer
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    with counted as (
      select entry.owner_id, entry.total_units, entry.state, entry.replaces_id
      from (
        -- One of the two, by the index of its own.
        select known.* from public.authorization_units as known
        where units_within.client_id is not null and known.organization_id = units_within.organization_id
          and known.client_id = units_within.client_id
          and known.service_date >= lower(days) and known.service_date < upper(days)
        union all
        select known.* from public.authorization_units as known
        where units_within.client_id is null and known.organization_id = units_within.organization_id
          and known.therapist_id = units_within.therapist_id
          and known.service_date >= lower(days) and known.service_date < upper(days)
      ) as entry
      where (units_within.therapist_id is null or entry.therapist_id = units_within.therapist_id)
        and entry.cpt_code = any (of_limit.cpt_codes)
        and (entry.authorization_id = of_limit.authorization_id or entry.payer_id = of_limit.payer_id)
        and (entry.expires_at is null or entry.expires_at > as_of)
        and entry.owner_id <> all (except_ids)
    )
    select coalesce(sum(case
      -- A move takes its new place beside the old one: what is counted is the larger of the two.
      when counted.replaces_id is not null then greatest(0, counted.total_units - coalesce((
        select sum(former.total_units) from counted as former
        where former.owner_id = counted.replaces_id and former.state <> 'held'
      ), 0))
      else counted.total_units
    end), 0)
    from counted
  );
end
$$;
comment on function private.units_within(uuid, public.unit_limits, uuid, uuid, daterange, uuid[], timestamptz) is
  'The units that a limit counts on these days by now, live holds among them, without those of except_ids. Of a client, of '
  'a client with a therapist, or (client_id null) of a therapist.';

create function private.limits_for(
  organization_id uuid,
  asked private.asked_service[],
  approvals private.approval[],
  as_of timestamptz,
  out uses private.limit_use[],
  out pool_left integer[]
)
language plpgsql
stable
set search_path = ''
as $$
declare
  replaced_ids constant uuid[] := array(
    select service.replaces_id from unnest(asked) as service where service.replaces_id is not null
  );
begin
  with use as (
    select service.number, of_limit.entry,
      case when (of_limit.entry).per <> 'therapist' then service.client_id end as client_id,
      case when (of_limit.entry).per <> 'client' then service.therapist_id end as therapist_id,
      coalesce(
        private.limit_window((of_limit.entry).period, (of_limit.entry).week_starts_on, service.service_date),
        daterange(approval.starts_on, approval.ends_on, '[]')
      ) as days
    from (
      select each.*, row_number() over () as number from unnest(asked) as each
    ) as service
    join lateral (
      select named.id, named.starts_on, named.ends_on, null::uuid as payer_id
      from unnest(approvals) as named
      where named.client_id = service.client_id
        and service.service_date between named.starts_on and named.ends_on
      union all
      select null, null, null, service.payer_id
    ) as approval on true
    join lateral (
      select known as entry from public.unit_limits as known
      where known.organization_id = limits_for.organization_id and known.authorization_id = approval.id
      union all
      select known from public.unit_limits as known
      where known.organization_id = limits_for.organization_id and known.payer_id = approval.payer_id
    ) as of_limit on service.cpt_code = any ((of_limit.entry).cpt_codes)
      and service.service_date >= (of_limit.entry).valid_from
      and service.service_date <= coalesce((of_limit.entry).valid_to, 'infinity')
  ),
  numbered as (
    select use.*,
      dense_rank() over (order by (use.entry).id, use.client_id, use.therapist_id, use.days)::integer as pool
    from use
  ),
  pool as (
    select each.pool, (each.entry).max_units - private.units_within(
        limits_for.organization_id, each.entry, each.client_id, each.therapist_id, each.days, replaced_ids, as_of
      ) as left_units
    from (select distinct on (numbered.pool) numbered.* from numbered order by numbered.pool offset 0) as each
  )
  select
    array(
      select row(
        numbered.number, numbered.pool, (numbered.entry).authorization_id,
        case (numbered.entry).period when 'authorization' then 'total' else (numbered.entry).period::text end,
        (numbered.entry).effect, (numbered.entry).max_units
      )::private.limit_use
      from numbered
      order by numbered.number, numbered.pool
    ),
    array(select pool.left_units from pool order by pool.pool)
  into uses, pool_left;
end
$$;
comment on function private.limits_for(uuid, private.asked_service[], private.approval[], timestamptz) is
  'The limits that count these services, by service, and what is left in the pool of each: one for each limit, period and '
  'client, therapist or pair.';

create function private.can_draw(organization_id uuid, approval private.approval, service private.asked_service)
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  return approval.client_id = service.client_id
    and service.service_date between approval.starts_on and approval.ends_on
    and service.cpt_code = any (approval.cpt_codes)
    -- Of a payer who covers that date; of a client nobody ever covered, whatever was authorized.
    and (
      not service.was_covered or approval.payer_id is not distinct from service.payer_id
      or private.covers(organization_id, service.client_id, approval.payer_id, service.service_date)
    );
end
$$;
comment on function private.can_draw(uuid, private.approval, private.asked_service) is
  'Whether a service may draw on an authorization: of its client, its day, its code, and a payer who covers that day.';

create function private.is_authorized_ever(organization_id uuid, client_id uuid, cpt_code text)
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  return exists (
    select from public.authorizations as approval
    join public.authorization_codes as granted
      on granted.organization_id = approval.organization_id and granted.authorization_id = approval.id
      and granted.cpt_code = is_authorized_ever.cpt_code
    where approval.organization_id = is_authorized_ever.organization_id and approval.client_id = is_authorized_ever.client_id
  );
end
$$;
comment on function private.is_authorized_ever(uuid, uuid, text) is
  'Whether a client has an authorization of a code, of any dates: then the code is held to it.';

create function private.short_limits(wanted integer, left_by integer[], is_bound boolean[], drawn integer)
returns private.unit_shortage[]
language plpgsql
immutable
set search_path = ''
as $$
declare
  names constant text[] := '{total,day,week,month}';
  found private.unit_shortage[] := '{}';
begin
  for each in 1..4 loop
    if left_by[each] < wanted then
      found := found || row(names[each], left_by[each])::private.unit_shortage;
    end if;
  end loop;
  if found <> '{}' then
    return found;
  end if;
  -- No limit alone is too small, but one of this authorization and another of that are.
  for each in 1..4 loop
    if is_bound[each] then
      found := found || row(names[each], drawn)::private.unit_shortage;
    end if;
  end loop;
  return found;
end
$$;
comment on function private.short_limits(integer, integer[], boolean[], integer) is
  'Which limits (total, day, week, month) leave less than is wanted. left_by: what each leaves of all authorizations '
  'together, null where it limits nothing; is_bound: which of them decided for an authorization.';

create function private.left_of_approval(
  approval private.approval,
  left_units integer,
  uses private.limit_use[],
  first_use integer,
  last_use integer,
  pool_left integer[]
)
returns integer[]
language plpgsql
immutable
set search_path = ''
as $$
declare
  left_of integer[] := array[greatest(0, left_units), null, null, null];
  place integer;
begin
  for use in first_use..last_use loop
    if uses[use].authorization_id = approval.id and uses[use].effect = 'refuse' then
      place := array_position('{total,day,week,month}', uses[use].period);
      left_of[place] := least(left_of[place], greatest(0, pool_left[uses[use].pool]));
    end if;
  end loop;
  return left_of;
end
$$;
comment on function private.left_of_approval(private.approval, integer, private.limit_use[], integer, integer, integer[]) is
  'What an authorization has left for a service: in all, and within its limits of the day, the week and the month (null '
  'where there is none). first_use, last_use: the service''s limits.';

create function private.quote_units(organization_id uuid, services private.service[], as_of timestamptz)
returns private.quote[]
language plpgsql
stable
set search_path = ''
as $$
declare
  asked constant private.asked_service[] := private.asked_services(organization_id, services);
  approvals private.approval[];
  approval_left integer[] := '{}';
  uses private.limit_use[] := '{}';
  pool_left integer[];
  quotes private.quote[] := '{}';
  first_approval integer := 1;
  first_use integer := 1;
  last_use integer := 0;
  none constant integer[] := '{}';
  -- Of the service at hand: the authorizations it may draw on, what it has of each already, and what it draws.
  service private.asked_service;
  approval private.approval;
  places integer[];
  own integer[];
  drawn integer[];
  left_of integer[];
  left_by integer[];
  is_bound boolean[];
  needs_authorization boolean;
  shortages private.unit_shortage[];
  exceeded private.exceeded_limit[];
  rest integer;
  took integer;
  pool integer;
begin
  if cardinality(asked) = 0 then
    return '{}';
  end if;
  approvals := private.approvals_for(organization_id, asked, as_of);
  for place in 1..cardinality(approvals) loop
    approval_left := approval_left || approvals[place].left_units;
  end loop;
  if exists (select from public.unit_limits as known where known.organization_id = quote_units.organization_id) then
    select limits.uses, limits.pool_left into uses, pool_left
    from private.limits_for(organization_id, asked, approvals, as_of) as limits;
  end if;

  for number in 1..cardinality(asked) loop
    service := asked[number];
    while first_approval <= cardinality(approvals) and approvals[first_approval].client_id < service.client_id loop
      first_approval := first_approval + 1;
    end loop;
    first_use := last_use + 1;
    while last_use < cardinality(uses) and uses[last_use + 1].service_number = number loop
      last_use := last_use + 1;
    end loop;
    places := none; own := none; drawn := none; left_by := array[0, 0, 0, 0]; is_bound := array[false, false, false, false];
    needs_authorization := true; shortages := null; exceeded := null;
    rest := service.total_units;

    -- What each authorization gives within its limits, the one that ends first first.
    for place in first_approval..cardinality(approvals) loop
      approval := approvals[place];
      exit when approval.client_id <> service.client_id;
      continue when not service.is_paid or not private.can_draw(organization_id, approval, service);
      took := 0;
      if service.own is not null then
        select coalesce(sum(had.units), 0) into took from unnest(service.own) as had where had.authorization_id = approval.id;
      end if;
      own := own || took;
      places := places || place;
      left_of := private.left_of_approval(approval, approval_left[place] + took, uses, first_use, last_use, pool_left);
      took := greatest(0, least(left_of[1], left_of[2], left_of[3], left_of[4]));
      drawn := drawn || least(rest, took);
      rest := rest - least(rest, took);
      exit when rest = 0;
      for each in 1..4 loop
        left_by[each] := left_by[each] + left_of[each];
        is_bound[each] := is_bound[each] or left_of[each] is not distinct from took;
      end loop;
    end loop;

    if not service.is_paid or service.payer_id is null and service.was_covered then
      shortages := array[row('coverage', 0)::private.unit_shortage];
    elsif cardinality(places) = 0 then
      needs_authorization := service.authorization_required
        or private.is_authorized_ever(organization_id, service.client_id, service.cpt_code);
      if needs_authorization then
        shortages := array[row('dates', 0)::private.unit_shortage];
      end if;
    elsif rest > 0 then
      shortages := private.short_limits(service.total_units, left_by, is_bound, service.total_units - rest);
    end if;
    -- What limits keep back is drawn all the same, for who overrides them: units that are there are never beyond.
    for each in 1..cardinality(places) loop
      exit when rest = 0;
      took := least(rest, greatest(0, approval_left[places[each]] + own[each] - drawn[each]));
      drawn[each] := drawn[each] + took;
      rest := rest - took;
    end loop;

    for use in first_use..last_use loop
      -- A payer's limit counts the service whole, an authorization's what is drawn of it.
      took := case when uses[use].authorization_id is null then service.total_units else 0 end;
      for each in 1..cardinality(places) loop
        if approvals[places[each]].id = uses[use].authorization_id then
          took := drawn[each] + case when each = cardinality(places) then rest else 0 end;
        end if;
      end loop;
      pool := uses[use].pool;
      if took > pool_left[pool] and uses[use].effect = 'warn' then
        exceeded := exceeded || row(
          pool, uses[use].period, uses[use].max_units, uses[use].max_units - pool_left[pool] + took
        )::private.exceeded_limit;
      elsif took > pool_left[pool] and uses[use].authorization_id is null then
        shortages := shortages || row(uses[use].period, greatest(0, pool_left[pool]))::private.unit_shortage;
      end if;
      pool_left[pool] := pool_left[pool] - took;
    end loop;

    for each in 1..greatest(1, cardinality(places)) loop
      -- An entry for each authorization that gives something; the last one has what goes beyond.
      took := case when each >= cardinality(places) then rest else 0 end;
      approval := approvals[places[each]];
      continue when drawn[each] = 0 and took = 0 and (each < cardinality(places) or service.total_units > 0);
      if cardinality(places) > 0 then
        approval_left[places[each]] := approval_left[places[each]] - greatest(0, drawn[each] - own[each]);
      end if;
      quotes := quotes || row(
        service.owner_id, each - 1, service.occurrence_index, service.client_id, service.therapist_id, service.payer_id,
        service.cpt_code, service.service_date, approval.id, approval.approved_units, approval.left_units,
        needs_authorization, service.total_units, coalesce(drawn[each], 0) + took,
        coalesce(greatest(0, drawn[each] - own[each]), 0), service.replaces_id,
        shortages, exceeded,
        -- Units are whole, so a tenth may be rounded down.
        exceeded is not null or coalesce(approval_left[places[each]] <= approval.approved_units / 10, false)
      )::private.quote;
      shortages := null; exceeded := null;
    end loop;
  end loop;
  return quotes;
end
$$;
comment on function private.quote_units(uuid, private.service[], timestamptz) is
  'What these services ask of their clients'' authorizations and would get now: for each service of a client who ever had '
  'a payer a row for each authorization it draws on, or one without. An authorization counts when its payer covers the '
  'client on the date of service and its codes have the service''s; of several the one that ends first is drawn first. '
  'Limits of authorizations and of payers are kept within the request too. A code that the payer of that day does not pay '
  'for is not covered.';

create function private.shortages_of(quotes private.quote[])
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
declare
  short private.quote;
begin
  foreach short in array quotes loop
    exit when short.shortages is not null;
  end loop;
  if short.shortages is null then
    return null;
  end if;
  return (
    select jsonb_agg(
      jsonb_build_object(
        'occurrenceIndex', quote.occurrence_index, 'clientId', quote.client_id, 'cptCode', quote.cpt_code,
        'date', quote.service_date, 'limit', met.limit_name, 'neededUnits', quote.service_units,
        'leftUnits', met.left_units
      )
      order by quote.occurrence_index, quote.client_id, array_position('{coverage,dates,total,day,week,month}', met.limit_name)
    )
    from unnest(quotes) as quote
    cross join lateral (
      -- Of an authorization and of its payer there may be a limit each: what is left is the less.
      select each.limit_name, min(each.left_units) as left_units from unnest(quote.shortages) as each group by each.limit_name
    ) as met
  );
end
$$;
comment on function private.shortages_of(private.quote[]) is
  'The shortages[] of AUTHORIZATION_EXCEEDED, null when every service gets what it needs. leftUnits: what is left for it '
  'after the earlier occurrences.';

create function private.unit_warnings(quotes private.quote[])
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
declare
  warned private.quote;
begin
  foreach warned in array quotes loop
    exit when warned.warns;
  end loop;
  if warned.warns is not true then
    return '[]';
  end if;
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
    where balance.left_units <= balance.approved_units / 10
  ), '[]') || coalesce((
    select jsonb_agg(
      jsonb_build_object(
        'code', 'UNIT_LIMIT_EXCEEDED', 'cptCode', beyond.cpt_code, 'date', beyond.service_date, 'limit', beyond.limit_name,
        'units', beyond.units, 'maxUnits', beyond.max_units
      )
      order by beyond.service_date, beyond.client_id, beyond.pool
    )
    from (
      -- Of each limit and period the last service, with which all are counted.
      select distinct on (passed.pool) passed.*, quote.cpt_code, quote.service_date, quote.client_id
      from unnest(quotes) as quote
      cross join lateral unnest(quote.exceeded) as passed
      order by passed.pool, passed.units desc
    ) as beyond
  ), '[]');
end
$$;
comment on function private.unit_warnings(private.quote[]) is
  'One warning for each authorization that is 90 % or more taken with these services, and for each limit that warns and is '
  'exceeded with them, in each of its periods.';

create function private.warnings_of_sessions(organization_id uuid, session_ids uuid[], as_of timestamptz)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
  -- As if each were moved to where it is: its own units are counted once.
  quotes constant private.quote[] := private.quote_units(organization_id, array(
    select row(
      service.owner_id, service.occurrence_index, service.client_id, service.cpt_code, service.start_time, service.end_time,
      service.owner_id, service.total_units, service.therapist_id, service.service_date
    )::private.service
    from unnest(private.services_of_sessions(organization_id, session_ids)) as service
  ), as_of);
begin
  return private.unit_warnings(quotes) || coalesce((
    select jsonb_agg('{"code": "AUTHORIZATION_EXCEEDED"}' || (shortage.value - 'occurrenceIndex') order by shortage.position)
    from jsonb_array_elements(private.shortages_of(quotes)) with ordinality as shortage (value, position)
  ), '[]');
end
$$;
comment on function private.warnings_of_sessions(uuid, uuid[], timestamptz) is
  'The warnings of unit_warnings for sessions that have their units, such as one that has just been completed; and what of '
  'them goes beyond an authorization or a limit, as in shortages[].';
