-- Purpose: will an authorization last until its end, and when must the next be asked for?
-- Objects: reports.authorization_pace; docs/reports.md tells how to read it.

create view reports.authorization_pace
with (security_invoker = true)
as
select
  balance.organization_id,
  balance.authorization_id,
  balance.client_id,
  balance.client_reference,
  balance.payer_name,
  balance.cpt_codes,
  balance.starts_on,
  balance.ends_on,
  balance.approved_units,
  balance.used_units,
  balance.scheduled_units,
  balance.held_units,
  balance.left_units,
  -- Used evenly, this much of it would be used by the end of today.
  round(
    balance.approved_units::numeric
    * greatest(0, least(today.date, balance.ends_on) - balance.starts_on + 1) / (balance.ends_on - balance.starts_on + 1)
  )::integer as expected_units,
  round(pace.units * 7.0 / recent.days, 1) as weekly_units,
  ahead.runs_out_on,
  balance.ends_on - today.date as days_to_end,
  alert.days as alert_days
from reports.authorization_balances as balance
cross join lateral (
  select private.service_date(balance.organization_id, null, now()) as date
) as today
-- One that began less than four weeks ago is judged by the days since, one of less than a week as if it were a week old.
cross join lateral (
  select greatest(7, least(28, today.date - balance.starts_on + 1)) as days
) as recent
cross join lateral (
  select coalesce(sum(entry.units), 0)::integer as units
  from public.authorization_units as entry
  where entry.organization_id = balance.organization_id
    and entry.authorization_id = balance.authorization_id
    and entry.state = 'used'
    and entry.service_date > today.date - recent.days
    and entry.service_date <= today.date
) as pace
cross join lateral (
  select case
    when balance.approved_units <= balance.used_units then today.date
    -- As many days from now as the rest lasts, at what these days used each; not told when that is after its end.
    when pace.units > 0
      and ceil((balance.approved_units - balance.used_units) * recent.days::numeric / pace.units) <= balance.ends_on - today.date
    then today.date + ceil((balance.approved_units - balance.used_units) * recent.days::numeric / pace.units)::integer
  end as runs_out_on
) as ahead
cross join lateral (
  select min(step.days) as days
  from (values (14), (30), (60)) as step (days)
  where least(balance.ends_on, ahead.runs_out_on) - today.date <= step.days
) as alert
where balance.ends_on >= today.date;
comment on view reports.authorization_pace is
  'Authorizations that have not ended: what is used and booked of each, what would be used by today at an even pace, the '
  'units a week of the last four weeks or since it began, the day it runs out at that pace, and an alert at 60, 30 and 14 days before it '
  'ends or runs out.';
grant select on reports.authorization_pace to authenticated, service_role;
