-- Who read or changed a client's record?
-- The SQL editor runs as the operator, who sees every clinic: name yours below. Columns: docs/reports.md#client_record_access.
select occurred_at, action, outcome, actor_user_id, actor_role, database_user, entity, record_id
from reports.client_record_access
where organization_id = (select id from public.organizations where name = 'Bright Path ABA')
  and client_id = (
    select id from public.clients where reference = 'BP-0001' and organization_id = (select id from public.organizations where name = 'Bright Path ABA')
  )
order by occurred_at desc
limit 200;
