-- What happened to one session, and who did it?
-- The SQL editor runs as the operator, who sees every clinic: name yours below. Columns: docs/reports.md#session_audit_trail.
select occurred_at, action, outcome, actor_user_id, actor_role, database_user, before, after
from reports.session_audit_trail
where organization_id = (select id from public.organizations where name = 'Bright Path ABA')
  and session_id = (
    -- Or the id of the session in question.
    select id
    from public.sessions
    where organization_id = (select id from public.organizations where name = 'Bright Path ABA') and status = 'cancelled'
    order by start_time desc
    limit 1
  )
order by recorded_at;
