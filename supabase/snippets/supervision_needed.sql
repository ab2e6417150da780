-- What supervision does each technician still need this month?
-- The SQL editor runs as the operator, who sees every clinic: name yours in the first line. Columns: docs/reports.md#supervision_needed.
with parameters as (select 'Bright Path ABA' as clinic),
  clinic as (select organization.id from public.organizations as organization join parameters on parameters.clinic = organization.name)
select therapist_name, direct_hours, booked_hours, supervised_hours, hours_needed, contacts_needed, needs_observed_contact,
  needs_individual_contact, days_left
from reports.supervision_needed
where organization_id = (select id from clinic)
order by hours_needed desc, therapist_name;
