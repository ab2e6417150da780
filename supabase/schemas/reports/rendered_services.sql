-- Purpose: what was rendered, in whole minutes, and how its payer rounds: what units are computed from.
-- Objects: private.is_staff, private.rendered_services, private.visit_units.
-- Watch for: the report of units and the ledger both ask private.rendered_services, so that they cannot differ. It runs as
--            its owner, since row security would ask who is calling in every look-up of a rule; a view that calls it
--            passes only the sessions that its reader may see, and readers cannot call it themselves.

create function private.is_staff()
returns boolean
language sql
stable
security definer
set search_path = ''
return current_setting('role') not in ('anon', 'authenticated') or coalesce(private.active_role() <> 'client', false);
comment on function private.is_staff() is
  'Whether the reader works in a clinic, or is the operator: what payers pay for, and actual times, are staff''s.';

create function private.rendered_services(organization_id uuid, session_ids uuid[])
returns setof private.rendered_service
language plpgsql
stable
security definer
set search_path = ''
as $$
#variable_conflict use_column
begin
  if not private.is_staff() then
    return;
  end if;
  return query
  -- No query is joined to another: nobody knows beforehand how many visits there are, and a guess of a few would make the
  -- time grow with the square of them. What visits have in common is asked for the first of them.
  with visit as (
    select
      session.id, session.client_id, session.therapist_id, began.start_time, day.date,
      coalesce(
        session.cpt_code,
        private.billed_code(rendered_services.organization_id, null, session.session_type, day.date)
      ) as code,
      private.billable_minutes(began.start_time, coalesce(actual.actual_end_time, session.end_time)) as minutes
    from unnest(rendered_services.session_ids) as wanted (id)
    cross join lateral (
      select known.* from public.sessions as known
      where known.organization_id = rendered_services.organization_id and known.id = wanted.id
      offset 0
    ) as session
    left join lateral (
      select known.actual_start_time, known.actual_end_time from public.session_visits as known
      where known.organization_id = rendered_services.organization_id and known.session_id = wanted.id
      offset 0
    ) as actual on actual.actual_end_time is not null
    cross join lateral (select coalesce(actual.actual_start_time, session.start_time) as start_time) as began
    cross join lateral (
      select private.service_date(rendered_services.organization_id, session.client_id, began.start_time) as date
    ) as day
    where session.status = 'completed'
  ),
  numbered as (
    select visit.*, row_number() over (partition by visit.client_id, visit.date) as number from visit
  ),
  paid as (
    select
      numbered.*,
      first_value(case when numbered.number = 1 then
        private.primary_payer(rendered_services.organization_id, numbered.client_id, numbered.date)
      end) over (partition by numbered.client_id, numbered.date order by numbered.number) as payer_id
    from numbered
  ),
  ordered as (
    select paid.*, row_number() over (partition by paid.payer_id, paid.code, paid.date) as place from paid
  ),
  ruled as (
    select
      ordered.*,
      first_value(case when ordered.place = 1 then (
        select rule.rounding
        from private.payer_rule(rendered_services.organization_id, ordered.payer_id, ordered.code, ordered.date) as rule
      ) end) over alike as rounding,
      first_value(case when ordered.place = 1 then coalesce(
        (private.service_code_on(rendered_services.organization_id, ordered.code, ordered.date)).unit_minutes, 15
      )::integer end) over alike as unit_minutes
    from ordered
    window alike as (partition by ordered.payer_id, ordered.code, ordered.date order by ordered.place)
  )
  select
    ruled.id, ruled.client_id, ruled.therapist_id, ruled.date, ruled.payer_id, ruled.code, ruled.start_time, ruled.minutes,
    ruled.rounding, ruled.unit_minutes
  from ruled;
end
$$;
comment on function private.rendered_services(uuid, uuid[]) is
  'Those of these sessions that are completed, with what private.day_units needs: the local day on which it began, who pays first that day, '
  'the code, the whole minutes (the actual ones where they are recorded) and how that payer rounds.';
grant execute on function private.rendered_services(uuid, uuid[]) to authenticated, service_role;

create function private.visit_units(organization_id uuid, client_ids uuid[], service_dates date[])
returns table (session_id uuid, units integer)
language plpgsql
stable
set search_path = ''
as $$
#variable_conflict use_column
begin
  return query
  select day.session_id, day.units
  from private.day_units(array(
    select service::private.rendered_service
    from private.rendered_services(visit_units.organization_id, array(
      select session.id
      from unnest(visit_units.client_ids, visit_units.service_dates) as asked (client_id, date)
      cross join lateral (
        select known.id
        from public.sessions as known
        where known.organization_id = visit_units.organization_id
          and known.client_id = asked.client_id
          and known.start_time >= (asked.date - 1)::timestamptz
          and known.start_time < (asked.date + 2)::timestamptz
        offset 0
      ) as session
      union
      -- Those that were booked for another day.
      select visit.session_id
      from (select distinct asked.date from unnest(visit_units.service_dates) as asked (date)) as day
      cross join lateral (
        select known.session_id
        from public.session_visits as known
        where known.organization_id = visit_units.organization_id
          and known.other_day_reason is not null
          and known.actual_start_time >= (day.date - 1)::timestamptz
          and known.actual_start_time < (day.date + 2)::timestamptz
        offset 0
      ) as visit
      where (
        select session.client_id from public.sessions as session
        where session.organization_id = visit_units.organization_id and session.id = visit.session_id
      ) in (select unnest(visit_units.client_ids))
    )) as service
    where (service.client_id, service.service_date) in (
      select asked.client_id, asked.date from unnest(visit_units.client_ids, visit_units.service_dates) as asked (client_id, date)
    )
  )) as day;
end
$$;
comment on function private.visit_units(uuid, uuid[], date[]) is
  'The units of each completed visit of these clients on these local days: a client for each day. A completion or correction '
  'may change those of the other visits of the day too, where the payer rounds by the day.';
