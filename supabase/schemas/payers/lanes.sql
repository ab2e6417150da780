-- Purpose: which services one client may receive at the same time, as lanes of claims.
-- Objects: private.client_lanes.
-- Watch for: two claims of one client conflict exactly when their lanes meet; see private.pair_lanes.

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
  service record;
  zone text;
  allowed int4multirange;
begin
  if cpt_code is null then
    return '{[0,2147483647)}';
  end if;
  -- All versions of a code have one number, so any will do.
  select candidate.ordinal, candidate.lanes into service
  from public.service_codes as candidate
  where candidate.code = cpt_code
    and (candidate.organization_id is null or candidate.organization_id = client_lanes.organization_id)
  limit 1;
  if not found then
    return '{[0,2147483647)}';
  end if;
  -- Where no payer of the client ever lets the code run beside another, no day needs a look.
  if not exists (
    select from public.client_coverages as coverage
    join public.payer_concurrency_rules as rule
      on rule.organization_id = coverage.organization_id and rule.payer_id = coverage.payer_id
      and client_lanes.cpt_code in (rule.first_code, rule.second_code) and rule.allowed
    where coverage.organization_id = client_lanes.organization_id and coverage.client_id = client_lanes.client_id
  ) then
    return service.lanes;
  end if;

  -- All days it touches, so that two overlapping services look at one day in common.
  zone := private.service_zone(organization_id, client_id);
  -- A pair gives up its lane when, on each of the days, there is a payer and every payer of the client allows it.
  with payer as (
    select day.date::date, coverage.payer_id
    from generate_series(
      date_trunc('day', start_time at time zone zone), date_trunc('day', end_time at time zone zone), interval '1 day'
    ) as day (date)
    left join public.client_coverages as coverage
      on coverage.organization_id = client_lanes.organization_id
      and coverage.client_id = client_lanes.client_id
      and daterange(coverage.valid_from, coverage.valid_to, '[]') @> day.date::date
  )
  select range_agg(int4range(pair.lane, pair.lane + 1)) into allowed
  from (
    select least(service.ordinal, other.ordinal) * 100 + greatest(service.ordinal, other.ordinal) as lane
    from payer
    join public.payer_concurrency_rules as rule
      on rule.organization_id = client_lanes.organization_id and rule.payer_id = payer.payer_id
      and client_lanes.cpt_code in (rule.first_code, rule.second_code) and rule.allowed
      and daterange(rule.valid_from, rule.valid_to, '[]') @> payer.date
    cross join lateral (
      select known.ordinal from public.service_codes as known
      where known.code = case rule.first_code when client_lanes.cpt_code then rule.second_code else rule.first_code end
        and (known.organization_id is null or known.organization_id = client_lanes.organization_id)
      limit 1
    ) as other
    group by other.ordinal
    having count(*) = (select count(*) from payer)
  ) as pair;
  return service.lanes - coalesce(allowed, '{}');
end
$$;
comment on function private.client_lanes(uuid, uuid, text, timestamptz, timestamptz) is
  'The lanes of a client''s claim: those of the code''s pairs, but for pairs that every payer of the client allows. '
  'All lanes for a booking that names no known service: what it may run beside is not known. Without a payer nothing '
  'is allowed. Runs as its owner, so that reports may call it.';
