-- Who read or changed a client's record?
-- The SQL editor runs as the operator, who sees every clinic: name yours and the client in the first line.
-- Columns: docs/reports.md#client_record_access.
with parameters as (select 'Bright Path ABA' as clinic, 'BP-0001' as client),
  client as (
    select client.organization_id, client.id
    from public.clients as client
    join public.organizations as organization on organization.id = client.organization_id
    join parameters on parameters.clinic = organization.name and parameters.client = client.reference
  )
select local_time, action, outcome, actor_name, actor_user_id, actor_role, database_user, entity, record_id
from reports.client_record_access
where organization_id = (select organization_id from client)
  and client_id = (select id from client)
order by occurred_at desc
limit 200;
