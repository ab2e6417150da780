-- Purpose: what supervision does each technician still need this month?
-- Objects: reports.supervision_needed; docs/reports.md tells how to read it.

create view reports.supervision_needed
with (security_invoker = true)
as
select
  supervision.organization_id,
  supervision.month,
  supervision.therapist_id,
  supervision.therapist_name,
  supervision.direct_hours,
  supervision.booked_hours,
  supervision.supervised_hours,
  greatest(0, round(
    0.05 * (supervision.direct_hours + supervision.booked_hours) - supervision.supervised_hours, 2
  )) as hours_needed,
  greatest(0, 2 - supervision.contacts) as contacts_needed,
  supervision.observed_contacts = 0 as needs_observed_contact,
  supervision.individual_contacts = 0 as needs_individual_contact,
  (supervision.month + interval '1 month')::date - today.date - 1 as days_left
from public.organizations as organization
cross join lateral (select (now() at time zone organization.time_zone)::date as date) as today
join reports.supervision_months as supervision
  on supervision.organization_id = organization.id
  and supervision.month = date_trunc('month', today.date::timestamp)::date
join public.therapists as therapist
  on therapist.organization_id = supervision.organization_id and therapist.id = supervision.therapist_id
where therapist.deleted_at is null
  and therapist.credential = 'RBT';
comment on view reports.supervision_needed is
  'What each technician still needs this month if the rest of it goes as booked: hours to 5 % of attended and booked time, '
  'contacts to 2, an observed and an individual one.';
grant select on reports.supervision_needed to authenticated, service_role;
