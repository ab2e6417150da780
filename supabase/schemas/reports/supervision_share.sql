-- Purpose: is every technician supervised enough?
-- Objects: reports.supervision_share; docs/reports.md tells how to read it.

create view reports.supervision_share
with (security_invoker = true)
as
select
  month.organization_id,
  month.month,
  therapist.id as therapist_id,
  therapist.display_name as therapist_name,
  round(direct.hours, 2) as direct_hours,
  round(direct.supervised_hours, 2) as supervised_hours,
  direct.contacts,
  round(100 * direct.supervised_hours / direct.hours, 1) as supervised_percent,
  direct.supervised_hours >= 0.05 * direct.hours and direct.contacts >= 2 as is_sufficient
from reports.months as month
join public.therapists as therapist
  on therapist.organization_id = month.organization_id and therapist.credential = 'RBT'
cross join lateral (
  select
    sum(extract(epoch from session.end_time - session.start_time)) / 3600 as hours,
    coalesce(sum(supervised.seconds), 0) / 3600 as supervised_hours,
    coalesce(sum(supervised.contacts), 0)::integer as contacts
  from public.sessions as session
  left join lateral (
    select
      count(*) as contacts,
      sum(extract(epoch from
        least(session.end_time, supervision.end_time) - greatest(session.start_time, supervision.start_time)
      )) as seconds
    from public.sessions as supervision
    join public.therapists as supervisor
      on supervisor.organization_id = supervision.organization_id and supervisor.id = supervision.therapist_id
    where supervision.organization_id = session.organization_id
      and supervision.client_id = session.client_id
      and supervision.start_time > session.start_time - interval '12 hours'
      and supervision.start_time < session.end_time
      and supervision.end_time > session.start_time
      and supervision.status = 'completed'
      and supervisor.credential in ('BCBA', 'BCBA-D')
  ) as supervised on true
  where session.organization_id = month.organization_id
    and session.therapist_id = therapist.id
    and session.start_time >= month.starts_at
    and session.start_time < month.ends_at
    and session.status = 'completed'
) as direct
where direct.hours > 0;
comment on view reports.supervision_share is
  'How much of a technician''s attended hours a BCBA was there too, with the same client. Enough is 5 % of the month''s '
  'direct hours in at least 2 contacts (BACB, RBT Ethics and supervision requirements).';
grant select on reports.supervision_share to authenticated, service_role;
