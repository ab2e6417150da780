-- Purpose: sessions that are over and cannot be billed yet, and why.
-- Objects: reports.unbilled; docs/reports.md tells how to read it.

create view reports.unbilled
with (security_invoker = true)
as
select
  month.organization_id,
  month.month,
  day.date as service_date,
  session.id as session_id,
  session.therapist_id,
  session.therapist_name,
  session.client_id,
  session.client_reference,
  array['not_completed'] as reasons,
  -- Where the client lives it may be tomorrow already.
  greatest(0, today.date - day.date) as days_waiting
from reports.months as month
cross join lateral (select private.service_date(month.organization_id, null, now()) as date) as today
cross join lateral (
  select session.id, session.start_time as begun
  from public.sessions as session
  where session.organization_id = month.organization_id
    and session.start_time >= month.starts_at and session.start_time < month.ends_at
    and session.status in ('scheduled', 'in_progress')
    and not exists (
      select from public.session_visits as visit
      where visit.organization_id = session.organization_id and visit.session_id = session.id
        and visit.other_day_reason is not null
    )
  union all
  -- A visit is of the day on which it began, whichever it was booked for, and before it is completed too.
  select visit.session_id, visit.actual_start_time
  from public.session_visits as visit
  where visit.organization_id = month.organization_id and visit.other_day_reason is not null
    and visit.actual_start_time >= month.starts_at and visit.actual_start_time < month.ends_at
) as open
cross join lateral (
  select known.* from reports.named_sessions as known
  where known.organization_id = month.organization_id and known.id = open.id offset 0
) as session
cross join lateral (
  select private.service_date(session.organization_id, session.client_id, open.begun) as date offset 0
) as day
where session.status in ('scheduled', 'in_progress')
  and session.end_time < now()
union all
select
  problem.organization_id, problem.month, problem.service_date, problem.session_id, problem.therapist_id,
  problem.therapist_name, problem.client_id, problem.client_reference,
  array_agg(distinct problem.problem order by problem.problem),
  greatest(0, private.service_date(problem.organization_id, null, now()) - problem.service_date)
from reports.visit_problems as problem
-- These are explained, and nothing to wait for.
where problem.problem not in ('off_the_booking', 'off_the_day', 'overlap_let')
group by
  problem.organization_id, problem.month, problem.service_date, problem.session_id, problem.therapist_id,
  problem.therapist_name, problem.client_id, problem.client_reference;
comment on view reports.unbilled is
  'Sessions whose time is over and that cannot be billed yet: not completed, or completed with something a payer would '
  'object to (see visit_problems), with the days since.';
grant select on reports.unbilled to authenticated, service_role;
