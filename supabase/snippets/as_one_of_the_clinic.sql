-- What does somebody of the clinic see? Runs a report with their role and their row-level security, and changes nothing.
begin;
select
  set_config('role', 'authenticated', true),
  set_config('request.jwt.claims', jsonb_build_object(
    'role', 'authenticated', 'sub', member.user_id, 'org_id', member.organization_id
  )::text, true)
from public.memberships as member
join auth.users as person on person.id = member.user_id
where person.email = 'admin@brightpath.test';

select client_reference, payer_name, cpt_codes, approved_units, left_units
from reports.authorization_balances
order by client_reference, cpt_codes;
rollback;
