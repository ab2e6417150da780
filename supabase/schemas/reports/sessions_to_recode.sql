-- Purpose: what is booked under a code that is not valid on its day.
-- Objects: reports.sessions_to_recode; docs/reports.md tells how to read it.

create view reports.sessions_to_recode
with (security_invoker = true)
as
select
  session.organization_id,
  session.start_time,
  day.date as service_date,
  session.id as session_id,
  session.therapist_id,
  session.therapist_name,
  session.client_id,
  session.client_reference,
  named.cpt_code,
  ended.valid_to as code_ended_on
from reports.named_sessions as session
cross join lateral (
  select private.service_date(session.organization_id, session.client_id, session.start_time) as date
) as day
cross join lateral (
  select private.service_code(session.organization_id, session.cpt_code, session.session_type, day.date) as cpt_code
) as named
left join lateral (
  select max(version.valid_to) as valid_to
  from public.service_codes as version
  where version.code = named.cpt_code
    and (version.organization_id is null or version.organization_id = session.organization_id)
    and version.valid_to < day.date
) as ended on true
where named.cpt_code is not null
  -- For those who may read both: not for parents, nor for a former therapist of the client.
  and (session.therapist_name, session.client_reference) is not null
  and session.status in ('scheduled', 'in_progress')
  -- What is older is not to be rendered any more.
  and session.start_time > now() - interval '60 days'
  and (private.service_code_on(session.organization_id, named.cpt_code, day.date)).code is null;
comment on view reports.sessions_to_recode is
  'Sessions still to be rendered (from 60 days ago on) whose code, or the code that their session type means, is not valid on their day: it has ended by then (code_ended_on), or it has not '
  'begun. They need another code before they can be completed or moved.';
grant select on reports.sessions_to_recode to authenticated, service_role;
