-- How many units are to be billed, by payer and code?
-- The SQL editor runs as the operator, who sees every clinic: name yours in the first line. Columns: docs/reports.md#units_by_code_and_payer.
with parameters as (select 'Bright Path ABA' as clinic),
  clinic as (select organization.id from public.organizations as organization join parameters on parameters.clinic = organization.name)
select month, coalesce(payer_name, 'no payer') as payer, cpt_code, sessions, minutes, units
from reports.units_by_code_and_payer
where organization_id = (select id from clinic)
  and month >= date_trunc('month', current_date - 91)
order by month, payer, cpt_code;
