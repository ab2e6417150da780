-- Purpose: how much of each authorization is used, scheduled, held and left.
-- Objects: reports.authorization_balances; docs/reports.md tells how to read it.

create view reports.authorization_balances
with (security_invoker = true)
as
select
  approval.organization_id,
  approval.id as authorization_id,
  approval.client_id,
  client.reference as client_reference,
  payer.name as payer_name,
  array(
    select code.cpt_code from public.authorization_codes as code
    where code.organization_id = approval.organization_id and code.authorization_id = approval.id
    order by code.cpt_code
  ) as cpt_codes,
  approval.starts_on,
  approval.ends_on,
  approval.approved_units,
  taken.used_units,
  taken.scheduled_units,
  taken.held_units,
  approval.approved_units - taken.used_units - taken.scheduled_units - taken.held_units as left_units,
  round(100.0 * (taken.used_units + taken.scheduled_units + taken.held_units) / approval.approved_units, 1) as taken_percent
from public.authorizations as approval
join public.clients as client on client.organization_id = approval.organization_id and client.id = approval.client_id
join public.payers as payer on payer.organization_id = approval.organization_id and payer.id = approval.payer_id
cross join lateral (
  select
    coalesce(sum(entry.units) filter (where entry.state = 'used'), 0)::integer as used_units,
    coalesce(sum(entry.units) filter (where entry.state = 'scheduled'), 0)::integer as scheduled_units,
    (
      select coalesce(sum(held.units), 0)
      from public.authorization_units as held
      where held.organization_id = approval.organization_id and held.authorization_id = approval.id
        and held.state = 'held' and held.expires_at > clock_timestamp()
    )::integer as held_units
  from public.authorization_units as entry
  where entry.organization_id = approval.organization_id and entry.authorization_id = approval.id
    and entry.state <> 'held'
) as taken;
comment on view reports.authorization_balances is
  'How much of each authorization is used, scheduled, held and left. approved = used + scheduled + held + left.';
grant select on reports.authorization_balances to authenticated, service_role;
