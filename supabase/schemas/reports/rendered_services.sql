-- Purpose: what was rendered, in whole minutes, and how its payer rounds: the rows that units are computed from.
-- Objects: reports.rendered_services; private.visit_units.
-- Watch for: the report of units and the ledger both read this view, so that they cannot differ.

create view reports.rendered_services
with (security_invoker = true)
as
select
  session.organization_id,
  session.start_time,
  day.date as service_date,
  session.id as session_id,
  session.therapist_id,
  session.client_id,
  payer.id as payer_id,
  service.cpt_code,
  service.minutes,
  rule.rounding,
  coalesce((private.service_code_on(session.organization_id, service.cpt_code, day.date)).unit_minutes, 15)::integer
    as unit_minutes
from public.sessions as session
left join public.session_visits as actual
  on actual.organization_id = session.organization_id
  and actual.session_id = session.id
  and actual.actual_end_time is not null
cross join lateral (
  select private.service_date(session.organization_id, session.client_id, session.start_time) as date
) as day
cross join lateral (
  select
    private.billed_code(session.organization_id, session.cpt_code, session.session_type, day.date) as cpt_code,
    private.billable_minutes(
      coalesce(actual.actual_start_time, session.start_time), coalesce(actual.actual_end_time, session.end_time)
    ) as minutes
) as service
cross join lateral (
  select private.primary_payer(session.organization_id, session.client_id, day.date) as id
) as payer
cross join lateral private.payer_rule(session.organization_id, payer.id, service.cpt_code, day.date) as rule
where session.status = 'completed';
comment on view reports.rendered_services is
  'Completed sessions: the code, the whole minutes (the actual ones where they are recorded), the payer of the local day '
  'and that payer''s rounding.';
grant select on reports.rendered_services to authenticated, service_role;

create function private.visit_units(organization_id uuid, client_id uuid, service_date date)
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
    select row(
      service.session_id, service.client_id, service.therapist_id, service.service_date, service.payer_id,
      service.cpt_code, service.start_time, service.minutes, service.rounding, service.unit_minutes
    )::private.rendered_service
    from reports.rendered_services as service
    where service.organization_id = visit_units.organization_id
      and service.client_id = visit_units.client_id
      and service.start_time >= (visit_units.service_date - 1)::timestamptz
      and service.start_time < (visit_units.service_date + 2)::timestamptz
      and service.service_date = visit_units.service_date
  )) as day;
end
$$;
comment on function private.visit_units(uuid, uuid, date) is
  'The units of each completed visit of a client on a local day. A completion or correction may change those of the other '
  'visits of the day too, where the payer rounds by the day.';
