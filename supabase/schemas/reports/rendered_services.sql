-- Purpose: what was rendered, in whole minutes, and how its payer rounds: what units are computed from.
-- Objects: private.is_staff, private.rendered_services, private.visit_units.
-- Watch for: the report of units and the ledger both ask private.rendered_services, so that they cannot differ. It runs as
--            its owner, since row security would ask who is calling in every look-up of a rule; a view that calls it
--            passes only the sessions that its reader may see, and readers cannot call it themselves.

create function private.is_staff()
returns boolean
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
  return current_setting('role') not in ('anon', 'authenticated') or coalesce(private.active_role() <> 'client', false);
end
$$;
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
  with visit as materialized (
    select
      session.id, session.client_id, session.therapist_id,
      coalesce(actual.actual_start_time, session.start_time) as start_time, day.date,
      coalesce(
        session.cpt_code,
        private.billed_code(session.organization_id, null, session.session_type, day.date)
      ) as code,
      private.billable_minutes(
        coalesce(actual.actual_start_time, session.start_time), coalesce(actual.actual_end_time, session.end_time)
      ) as minutes
    from unnest(rendered_services.session_ids) as wanted (id)
    join public.sessions as session
      on session.organization_id = rendered_services.organization_id and session.id = wanted.id
    left join public.session_visits as actual
      on actual.organization_id = session.organization_id
      and actual.session_id = session.id
      and actual.actual_end_time is not null
    cross join lateral (
      select private.service_date(
        session.organization_id, session.client_id, coalesce(actual.actual_start_time, session.start_time)
      ) as date
    ) as day
    where session.status = 'completed'
  ),
  paid as materialized (
    select
      day.client_id, day.date,
      private.primary_payer(rendered_services.organization_id, day.client_id, day.date) as payer_id
    from (select distinct visit.client_id, visit.date from visit) as day
  ),
  service as materialized (
    select visit.*, paid.payer_id
    from visit
    join paid on paid.client_id = visit.client_id and paid.date = visit.date
  ),
  ruled as materialized (
    select
      asked.payer_id, asked.code, asked.date, rule.rounding,
      coalesce((
        private.service_code_on(rendered_services.organization_id, asked.code, asked.date)
      ).unit_minutes, 15)::integer as unit_minutes
    from (select distinct service.payer_id, service.code, service.date from service) as asked
    cross join lateral private.payer_rule(
      rendered_services.organization_id, asked.payer_id, asked.code, asked.date
    ) as rule
  )
  select
    service.id, service.client_id, service.therapist_id, service.date, service.payer_id, service.code,
    service.start_time, service.minutes, ruled.rounding, ruled.unit_minutes
  from service
  join ruled
    on ruled.code = service.code
    and ruled.date = service.date
    and ruled.payer_id is not distinct from service.payer_id;
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
      from unnest(visit_units.client_ids, visit_units.service_dates) as asked (client_id, date)
      cross join lateral (
        select known.session_id
        from public.session_visits as known
        where known.organization_id = visit_units.organization_id
          and known.other_day_reason is not null
          and known.actual_start_time >= (asked.date - 1)::timestamptz
          and known.actual_start_time < (asked.date + 2)::timestamptz
        offset 0
      ) as visit
      where (
        select session.client_id from public.sessions as session
        where session.organization_id = visit_units.organization_id and session.id = visit.session_id
      ) = asked.client_id
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
