-- Purpose: when a visit counts, and the units it takes: by its own day, whichever way it was completed or changed.
-- Objects: private.visits_between, count_visits.
-- Watch for: the day of a completed visit is the one on which it began. A visit on another day than booked has a reason, so
--            those are found by it, and all others by their booked start.

create index session_visits_other_day_idx on public.session_visits (organization_id, actual_start_time)
  where other_day_reason is not null;

create function private.visits_between(organization_id uuid, from_time timestamptz, until_time timestamptz)
returns uuid[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return array(
    select session.id
    from public.sessions as session
    where session.organization_id = visits_between.organization_id
      and session.start_time >= from_time and session.start_time < until_time
      and session.status = 'completed'
      and not exists (
        select from public.session_visits as visit
        where visit.organization_id = session.organization_id and visit.session_id = session.id
          and visit.other_day_reason is not null and visit.actual_end_time is not null
      )
    union all
    select session.id
    from public.session_visits as visit
    cross join lateral (
      select known.id, known.status from public.sessions as known
      where known.organization_id = visit.organization_id and known.id = visit.session_id offset 0
    ) as session
    where visit.organization_id = visits_between.organization_id
      and visit.other_day_reason is not null and visit.actual_end_time is not null
      and visit.actual_start_time >= from_time and visit.actual_start_time < until_time
      and session.status = 'completed'
  );
end
$$;
comment on function private.visits_between(uuid, timestamptz, timestamptz) is
  'The completed sessions whose visits began between these instants, of those that the reader may see; without recorded '
  'times they began as booked.';
grant execute on function private.visits_between(uuid, timestamptz, timestamptz) to authenticated, service_role;

create function private.count_visits(
  organization_id uuid,
  session_ids uuid[],
  former_dates date[] default '{}',
  hold_ids uuid[] default '{}',
  former_client_ids uuid[] default '{}'
)
returns void
language plpgsql
set search_path = ''
as $$
#variable_conflict use_column
declare
  changed_ids uuid[];
begin
  -- Where a payer rounds by the day, one visit may change the units of the others of that day.
  with day as (
    select client.id as client_id, dated.date
    from unnest(count_visits.session_ids) as named (id)
    cross join lateral (
      select known.client_id, known.start_time from public.sessions as known
      where known.organization_id = count_visits.organization_id and known.id = named.id offset 0
    ) as session
    left join lateral (
      select known.actual_start_time, known.actual_end_time from public.session_visits as known
      where known.organization_id = count_visits.organization_id and known.session_id = named.id offset 0
    ) as visit on visit.actual_end_time is not null
    cross join lateral (
      select private.service_date(
        count_visits.organization_id, session.client_id, coalesce(visit.actual_start_time, session.start_time)
      ) as date
      union
      select unnest(count_visits.former_dates)
    ) as dated
    cross join lateral (
      select session.client_id as id
      union
      select unnest(count_visits.former_client_ids)
    ) as client
    group by client.id, dated.date
  ),
  counted as materialized (
    select visit.session_id, visit.units
    from private.visit_units(
      count_visits.organization_id, array(select day.client_id from day order by day.client_id, day.date),
      array(select day.date from day order by day.client_id, day.date)
    ) as visit
  ),
  written as (
    update public.session_visits as visit
    set units = counted.units
    from counted
    cross join lateral (
      select known.ctid, known.units from public.session_visits as known
      where known.organization_id = count_visits.organization_id and known.session_id = counted.session_id offset 0
    ) as found
    where visit.ctid = found.ctid and found.units is distinct from counted.units
  )
  select coalesce(array_agg(counted.session_id), '{}') into changed_ids
  from counted
  where counted.units <> (
    select sum(entry.total_units) from public.authorization_units as entry
    where entry.organization_id = count_visits.organization_id and entry.owner_id = counted.session_id
  );
  -- Together, so that those that take find what others give back. What was rendered beyond what is left is entered as
  -- beyond it: it happened.
  perform private.reenter_units(
    count_visits.organization_id, array(select unnest(session_ids) union select unnest(changed_ids)), hold_ids
  );
end
$$;
comment on function private.count_visits(uuid, uuid[], date[], uuid[], uuid[]) is
  'Gives the visits of these sessions their units, and the other visits of their clients'' days theirs, in session_visits '
  'and in the ledger, as reports.units_by_code_and_payer counts them. former_dates: days that a visit has left; hold_ids: '
  'live moves of these sessions; former_client_ids: whose visits they were before.';
