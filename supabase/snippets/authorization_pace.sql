-- Which authorizations run out or end soon, and what must be asked for?
-- The SQL editor runs as the operator, who sees every clinic: name yours in the first line. Columns: docs/reports.md#authorization_pace.
with parameters as (select 'Bright Path ABA' as clinic),
  clinic as (select organization.id from public.organizations as organization join parameters on parameters.clinic = organization.name)
select client_reference, payer_name, cpt_codes, ends_on, approved_units, used_units, expected_units, weekly_units, scheduled_units,
  left_units, runs_out_on, alert_days
from reports.authorization_pace
where organization_id = (select id from clinic)
order by alert_days nulls last, ends_on, client_reference;
