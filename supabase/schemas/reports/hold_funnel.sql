-- Purpose: what became of the holds made on a day.
-- Objects: reports.hold_funnel; docs/reports.md tells how to read it.

create index hold_batches_created_at_idx on public.hold_batches (organization_id, created_at);
create index events_refused_holds_idx on audit.events (organization_id, recorded_at) where action = 'hold.refused';

create view reports.hold_funnel
with (security_invoker = true)
as
select
  organization.id as organization_id,
  day.start::date as day,
  counted.held,
  counted.confirmed,
  counted.released,
  counted.expired,
  counted.live,
  refused.requests as refused_requests,
  round(100.0 * counted.confirmed / nullif(counted.held, 0), 1) as confirmed_percent
from public.organizations as organization
cross join lateral (
  select least(
    (select min(batch.created_at) from public.hold_batches as batch where batch.organization_id = organization.id),
    (select min(event.recorded_at) from audit.events as event where event.organization_id = organization.id)
  ) as first
) as begun
cross join lateral generate_series(
  date_trunc('day', begun.first at time zone organization.time_zone),
  now() at time zone organization.time_zone,
  interval '1 day'
) as day (start)
cross join lateral (
  select
    private.start_of_day(day.start::date, organization.time_zone) as starts_at,
    private.start_of_day(day.start::date + 1, organization.time_zone) as ends_at
) as span
cross join lateral (
  select
    count(*)::integer as held,
    (count(*) filter (where hold.status = 'confirmed'))::integer as confirmed,
    (count(*) filter (where hold.status = 'released'))::integer as released,
    (count(*) filter (
      where hold.status = 'expired' or (hold.status = 'held' and batch.expires_at <= clock_timestamp())
    ))::integer as expired,
    (count(*) filter (where hold.status = 'held' and batch.expires_at > clock_timestamp()))::integer as live
  from public.hold_batches as batch
  join public.session_holds as hold on hold.organization_id = batch.organization_id and hold.batch_id = batch.id
  where batch.organization_id = organization.id
    and batch.created_at >= span.starts_at
    and batch.created_at < span.ends_at
) as counted
cross join lateral (
  select count(*)::integer as requests
  from audit.events as event
  where event.organization_id = organization.id
    and event.recorded_at >= span.starts_at
    and event.recorded_at < span.ends_at
    and event.action = 'hold.refused'
) as refused
where counted.held > 0 or refused.requests > 0;
comment on view reports.hold_funnel is
  'What became of the holds made on a day, occurrence by occurrence, and how many requests for a hold were refused.';
grant select on reports.hold_funnel to authenticated, service_role;
