-- Purpose: which elements of electronic visit verification a completed visit lacks.
-- Objects: reports.evv_gaps; docs/reports.md tells how to read it.

create view reports.evv_gaps
with (security_invoker = true)
as
select
  problem.organization_id,
  problem.month,
  problem.service_date,
  problem.session_id,
  problem.therapist_id,
  problem.therapist_name,
  problem.client_id,
  problem.client_reference,
  payer.name as payer_name,
  string_to_array(problem.detail, ', ') as missing
from reports.visit_problems as problem
left join public.payers as payer
  on payer.organization_id = problem.organization_id and payer.id = problem.payer_id
where problem.problem = 'evv_incomplete';
comment on view reports.evv_gaps is
  'Completed visits of payers who want electronic visit verification, and which of its elements they lack: service, '
  'location, begin, end. Individual, date and provider no session can be without.';
grant select on reports.evv_gaps to authenticated, service_role;
