-- Whose authorizations run out?
-- The SQL editor runs as the operator, who sees every clinic: name yours below. Columns: docs/reports.md#authorization_balances.
select client_reference, payer_name, cpt_code, ends_on, approved_units, used_units, scheduled_units, held_units, left_units,
  taken_percent
from reports.authorization_balances
where organization_id = (select id from public.organizations where name = 'Bright Path ABA')
  and ends_on >= current_date
order by taken_percent desc, client_reference;
