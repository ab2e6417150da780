-- Purpose: is every technician supervised enough?
-- Objects: reports.supervision_share; docs/reports.md tells how to read it.
-- Watch for: the rule is the BACB's (RBT Handbook, ongoing supervision): at least 5 % of the month's direct hours, in at
--            least two real-time contacts, one of them seeing the technician work, one of them for this technician alone.

create view reports.supervision_share
with (security_invoker = true)
as
select
  supervision.organization_id,
  supervision.month,
  supervision.therapist_id,
  supervision.therapist_name,
  supervision.direct_hours,
  supervision.supervised_hours,
  supervision.contacts,
  supervision.observed_contacts,
  supervision.individual_contacts,
  supervision.supervised_percent,
  supervision.is_sufficient
from reports.supervision_months as supervision
where supervision.direct_hours > 0;
comment on view reports.supervision_share is
  'How much of a technician''s attended time a BCaBA, BCBA or BCBA-D was there too, with the same client. A group, and two '
  'supervisors at once, count once. Enough is 5 % of the month in at least 2 contacts, one observed and one individual.';
grant select on reports.supervision_share to authenticated, service_role;
