-- Purpose: which services one client may receive at the same time, as lanes of claims.
-- Objects: private.lanes_on, client_lanes, kept_lanes.
-- Watch for: two claims of one client conflict exactly when their lanes meet; see private.pair_lanes.

create function private.lanes_on(
  organization_id uuid,
  client_id uuid,
  cpt_code text,
  first_date date,
  last_date date
)
returns int4multirange
language plpgsql
stable
set search_path = ''
as $$
declare
  service record;
  on_date date := first_date;
  payer_ids uuid[];
  allowed int4multirange;
  lanes int4multirange := int4multirange();
begin
  if cpt_code is null then
    return '{[0,2147483647)}';
  end if;
  -- All versions of a code have one number, so any will do.
  select candidate.ordinal, candidate.lanes into service
  from public.service_codes as candidate
  where candidate.code = cpt_code
    and (candidate.organization_id is null or candidate.organization_id = lanes_on.organization_id)
  limit 1;
  if not found then
    return '{[0,2147483647)}';
  end if;
  -- All days it touches, so that two overlapping services look at one day in common. A pair gives up its lane when, on
  -- each of the days, there is a payer and every payer of the client allows it.
  loop
    payer_ids := array(
      select distinct coverage.payer_id
      from public.client_coverages as coverage
      where coverage.organization_id = lanes_on.organization_id and coverage.client_id = lanes_on.client_id
        and on_date >= coverage.valid_from and on_date <= coalesce(coverage.valid_to, 'infinity')
    );
    allowed := (
      select range_agg(int4range(pair.lane, pair.lane + 1))
      from (
        select least(service.ordinal, other.ordinal) * 100 + greatest(service.ordinal, other.ordinal) as lane
        from public.payer_concurrency_rules as rule
        cross join lateral (
          select known.ordinal from public.service_codes as known
          where known.code = case rule.first_code when lanes_on.cpt_code then rule.second_code else rule.first_code end
            and (known.organization_id is null or known.organization_id = lanes_on.organization_id)
          limit 1
        ) as other
        where rule.organization_id = lanes_on.organization_id and rule.payer_id = any (payer_ids) and rule.allowed
          and lanes_on.cpt_code in (rule.first_code, rule.second_code)
          and on_date >= rule.valid_from and on_date <= coalesce(rule.valid_to, 'infinity')
        group by other.ordinal
        having count(*) = cardinality(payer_ids)
      ) as pair
    );
    lanes := lanes + (service.lanes - coalesce(allowed, '{}'));
    exit when on_date >= last_date;
    on_date := on_date + 1;
  end loop;
  return lanes;
end
$$;
comment on function private.lanes_on(uuid, uuid, text, date, date) is
  'The lanes of a client''s claim from the day it begins to the day it ends, where the client receives care: those of the '
  'code''s pairs, but for pairs that every payer of the client allows. All lanes for a booking that names no known service: '
  'what it may run beside is not known. Without a payer nothing is allowed.';

create function private.client_lanes(
  organization_id uuid,
  client_id uuid,
  cpt_code text,
  start_time timestamptz,
  end_time timestamptz
)
returns int4multirange
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  -- Without a service the day does not matter.
  zone constant text := case when cpt_code is not null then private.service_zone(organization_id, client_id) end;
begin
  return private.lanes_on(
    organization_id, client_id, cpt_code, (start_time at time zone zone)::date, (end_time at time zone zone)::date
  );
end
$$;
comment on function private.client_lanes(uuid, uuid, text, timestamptz, timestamptz) is
  'private.lanes_on of the days of these times. Runs as its owner, so that reports may call it.';

create function private.kept_lanes(
  organization_id uuid,
  session_id uuid,
  cpt_code text,
  start_time timestamptz,
  end_time timestamptz
)
returns int4multirange
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    select session.lanes
    from public.sessions as session
    where session.organization_id = kept_lanes.organization_id and session.id = kept_lanes.session_id
      and (session.start_time, session.end_time) = (kept_lanes.start_time, kept_lanes.end_time)
      and private.service_code_at(
        session.organization_id, session.client_id, session.cpt_code, session.session_type, session.start_time
      ) is not distinct from kept_lanes.cpt_code
  );
end
$$;
comment on function private.kept_lanes(uuid, uuid, text, timestamptz, timestamptz) is
  'The lanes of a session that goes to another therapist or room, and keeps its time and its service: what an admin let run '
  'beside it, with a reason, is not asked anew. Null when its client''s time or service changes.';
