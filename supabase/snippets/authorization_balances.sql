-- How much of each authorization is used, scheduled, held and left?
-- The SQL editor runs as the operator, who sees every clinic: name yours in the first line. Columns: docs/reports.md#authorization_balances.
with parameters as (select 'Bright Path ABA' as clinic),
  clinic as (select organization.id from public.organizations as organization join parameters on parameters.clinic = organization.name)
select client_reference, payer_name, cpt_codes, ends_on, approved_units, used_units, scheduled_units, held_units, left_units,
  taken_percent
from reports.authorization_balances
where organization_id = (select id from clinic)
  and ends_on >= current_date
order by taken_percent desc, client_reference;
