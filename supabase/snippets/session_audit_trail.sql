-- What happened to one session, and who did it?
-- The SQL editor runs as the operator, who sees every clinic: name yours in the first line, and the session; without one,
-- the latest that was cancelled. Columns: docs/reports.md#session_audit_trail.
with parameters as (select 'Bright Path ABA' as clinic, null::uuid as session),
  session as (
    select session.organization_id, session.id
    from public.sessions as session
    join public.organizations as organization on organization.id = session.organization_id
    join parameters on parameters.clinic = organization.name
    where session.id = coalesce(parameters.session, session.id)
      and (parameters.session is not null or session.status = 'cancelled')
    order by session.start_time desc
    limit 1
  )
select local_time, action, outcome, actor_name, actor_user_id, actor_role, database_user, before, after
from reports.session_audit_trail
where organization_id = (select organization_id from session)
  and session_id = (select id from session)
order by recorded_at;
