-- Purpose: what clinic admins ask of their data, as views they can query in Studio and over REST.
-- Objects: the views of schema reports; docs/reports.md has each one's question, columns and an example.
-- Watch for: every view is security_invoker and leads with organization_id, so a reader sees what the tables' policies
--            let her see: an admin her organization, a therapist her own, the operator (postgres) everybody's. Weeks and
--            months are the organization's, and come from a calendar joined to the data by instants: a filter on
--            week_start or month reads that span by index, not the table.

-- The calendar ---------------------------------------------------------------------------------------------------------

create view reports.weeks
with (security_invoker = true)
as
select
  organization.id as organization_id,
  week.start::date as week_start,
  week.start at time zone organization.time_zone as starts_at,
  (week.start + interval '7 days') at time zone organization.time_zone as ends_at
from public.organizations as organization
cross join lateral (
  select
    (
      select session.start_time
      from public.sessions as session
      where session.organization_id = organization.id
      order by session.start_time
      limit 1
    ) as first,
    (
      select session.start_time
      from public.sessions as session
      where session.organization_id = organization.id
      order by session.start_time desc
      limit 1
    ) as last
) as booked
cross join lateral generate_series(
  date_trunc('week', booked.first at time zone organization.time_zone),
  booked.last at time zone organization.time_zone,
  interval '1 week'
) as week (start);
comment on view reports.weeks is
  'The weeks, Monday to Sunday in the organization''s zone, from its first session to its last.';

create view reports.months
with (security_invoker = true)
as
select
  organization.id as organization_id,
  month.start::date as month,
  month.start at time zone organization.time_zone as starts_at,
  (month.start + interval '1 month') at time zone organization.time_zone as ends_at
from public.organizations as organization
cross join lateral (
  select
    (
      select session.start_time
      from public.sessions as session
      where session.organization_id = organization.id
      order by session.start_time
      limit 1
    ) as first,
    (
      select session.start_time
      from public.sessions as session
      where session.organization_id = organization.id
      order by session.start_time desc
      limit 1
    ) as last
) as booked
cross join lateral generate_series(
  date_trunc('month', booked.first at time zone organization.time_zone),
  booked.last at time zone organization.time_zone,
  interval '1 month'
) as month (start);
comment on view reports.months is
  'The months, in the organization''s zone, from its first session to its last; month is the first day.';

-- The work of therapists -----------------------------------------------------------------------------------------------

create view reports.therapist_utilization
with (security_invoker = true)
as
select
  week.organization_id,
  week.week_start,
  therapist.id as therapist_id,
  therapist.display_name as therapist_name,
  hours.available as available_hours,
  booked.hours as booked_hours,
  booked.attended_hours,
  round(100 * booked.hours / nullif(hours.available, 0), 1) as utilization_percent
from reports.weeks as week
join public.therapists as therapist on therapist.organization_id = week.organization_id
cross join lateral (
  select case
    when therapist.availability_hours is not null then coalesce((
      select round(sum(extract(epoch from upper(span) - lower(span))) / 3600, 2)
      from (
        select
          coalesce(range_agg(tstzrange(
            (day.date + (item.value ->> 'start')::time) at time zone therapist.time_zone,
            greatest(
              (day.date + (item.value ->> 'start')::time) at time zone therapist.time_zone,
              (day.date + (item.value ->> 'end')::time) at time zone therapist.time_zone
            ), '[)'
          )), '{}') as windows
        from generate_series(week.week_start, week.week_start + 6, interval '1 day') as day (date)
        cross join lateral jsonb_array_elements(
          therapist.availability_hours
            -> (array['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday'])
              [extract(isodow from day.date)::integer]
        ) as item (value)
      ) as weekly
      cross join lateral (
        select
          coalesce(range_agg(tstzrange(dated.starts_at, dated.ends_at)) filter (where dated.kind = 'extra_hours'), '{}')
            as extra,
          coalesce(range_agg(tstzrange(dated.starts_at, dated.ends_at)) filter (where dated.kind = 'time_off'), '{}')
            as off
        from public.availability_exceptions as dated
        where dated.organization_id = therapist.organization_id
          and dated.therapist_id = therapist.id
          and dated.ends_at > week.starts_at
          and dated.starts_at < week.ends_at
      ) as dated
      cross join lateral unnest(
        (weekly.windows + dated.extra * tstzmultirange(tstzrange(week.starts_at, week.ends_at))) - dated.off
      ) as span
    ), 0)
  end as available
) as hours
cross join lateral (
  select
    round(coalesce(sum(visit.hours), 0), 2) as hours,
    round(coalesce(sum(visit.hours) filter (where visit.is_attended), 0), 2) as attended_hours
  from (
    -- A group is one hour of its therapist's, however many clients come.
    select
      max(extract(epoch from session.end_time - session.start_time) / 3600) as hours,
      bool_or(session.status = 'completed') as is_attended
    from public.sessions as session
    where session.organization_id = week.organization_id
      and session.therapist_id = therapist.id
      and session.start_time >= week.starts_at
      and session.start_time < week.ends_at
      and session.status not in ('cancelled', 'no_show')
    group by session.group_key
  ) as visit
) as booked;
comment on view reports.therapist_utilization is
  'How much of the hours a therapist works is booked, and how much was attended, week by week.';

create view reports.supervision_share
with (security_invoker = true)
as
select
  month.organization_id,
  month.month,
  therapist.id as therapist_id,
  therapist.display_name as therapist_name,
  round(direct.hours, 2) as direct_hours,
  round(direct.supervised_hours, 2) as supervised_hours,
  direct.contacts,
  round(100 * direct.supervised_hours / direct.hours, 1) as supervised_percent,
  direct.supervised_hours >= 0.05 * direct.hours and direct.contacts >= 2 as is_sufficient
from reports.months as month
join public.therapists as therapist
  on therapist.organization_id = month.organization_id and therapist.credential = 'RBT'
cross join lateral (
  select
    sum(extract(epoch from session.end_time - session.start_time)) / 3600 as hours,
    coalesce(sum(supervised.seconds), 0) / 3600 as supervised_hours,
    coalesce(sum(supervised.contacts), 0)::integer as contacts
  from public.sessions as session
  left join lateral (
    select
      count(*) as contacts,
      sum(extract(epoch from
        least(session.end_time, supervision.end_time) - greatest(session.start_time, supervision.start_time)
      )) as seconds
    from public.sessions as supervision
    join public.therapists as supervisor
      on supervisor.organization_id = supervision.organization_id and supervisor.id = supervision.therapist_id
    where supervision.organization_id = session.organization_id
      and supervision.client_id = session.client_id
      and supervision.start_time > session.start_time - interval '12 hours'
      and supervision.start_time < session.end_time
      and supervision.end_time > session.start_time
      and supervision.status = 'completed'
      and supervisor.credential in ('BCBA', 'BCBA-D')
  ) as supervised on true
  where session.organization_id = month.organization_id
    and session.therapist_id = therapist.id
    and session.start_time >= month.starts_at
    and session.start_time < month.ends_at
    and session.status = 'completed'
) as direct
where direct.hours > 0;
comment on view reports.supervision_share is
  'How much of a technician''s attended hours a BCBA was there too, with the same client. Enough is 5 % of the month''s '
  'direct hours in at least 2 contacts (BACB, RBT Ethics and supervision requirements).';

-- Attendance -----------------------------------------------------------------------------------------------------------

create view reports.attendance
with (security_invoker = true)
as
select
  month.organization_id,
  month.month,
  therapist.id as therapist_id,
  therapist.display_name as therapist_name,
  counted.*
from reports.months as month
join public.therapists as therapist on therapist.organization_id = month.organization_id
cross join lateral (
  select
    count(*)::integer as booked,
    (count(*) filter (where session.status = 'completed'))::integer as attended,
    (count(*) filter (where session.status in ('scheduled', 'in_progress')))::integer as open,
    (count(*) filter (where session.status = 'no_show'))::integer as no_shows,
    (count(*) filter (where session.status = 'cancelled'))::integer as cancelled,
    (count(*) filter (where cancellation.attribution = 'client'))::integer as cancelled_by_client,
    (count(*) filter (
      where cancellation.attribution = 'staff' and cancellation.cancelled_by = session.therapist_id
    ))::integer as cancelled_by_therapist,
    (count(*) filter (
      where cancellation.attribution = 'staff' and cancellation.cancelled_by is distinct from session.therapist_id
    ))::integer as cancelled_by_clinic,
    (count(*) filter (where cancellation.attribution = 'unknown'))::integer as cancelled_by_unknown,
    (count(*) filter (
      where cancellation.cancelled_at > session.start_time - interval '24 hours'
    ))::integer as cancelled_late
  from public.sessions as session
  left join public.session_cancellations as cancellation
    on cancellation.organization_id = session.organization_id
    and cancellation.session_id = session.id
    and session.status = 'cancelled'
  where session.organization_id = month.organization_id
    and session.therapist_id = therapist.id
    and session.start_time >= month.starts_at
    and session.start_time < month.ends_at
) as counted
where counted.booked > 0;
comment on view reports.attendance is
  'What became of the sessions that were booked: attended, missed, cancelled by whom, late (less than 24 hours'' notice).';

create view reports.cancellations
with (security_invoker = true)
as
select
  session.organization_id,
  session.start_time,
  session.id as session_id,
  session.therapist_id,
  session.client_id,
  case
    when cancellation.attribution = 'client' then 'client'
    when cancellation.attribution = 'staff' and cancellation.cancelled_by = session.therapist_id then 'therapist'
    when cancellation.attribution = 'staff' then 'clinic'
    else 'unknown'
  end as cancelled_for,
  cancellation.cancelled_at,
  cancellation.cancelled_by,
  round((extract(epoch from session.start_time - cancellation.cancelled_at) / 3600)::numeric, 1) as notice_hours,
  cancellation.reason
from public.sessions as session
join public.session_cancellations as cancellation
  on cancellation.organization_id = session.organization_id and cancellation.session_id = session.id
where session.status = 'cancelled';
comment on view reports.cancellations is
  'Each cancelled session: on whose side, by whom, with how many hours'' notice (negative: after its start), and why.';

create view reports.no_show_rates
with (security_invoker = true)
as
select
  month.organization_id,
  month.month,
  client.id as client_id,
  client.reference as client_reference,
  counted.due,
  counted.no_shows,
  round(100.0 * counted.no_shows / counted.due, 1) as no_show_percent
from reports.months as month
join public.clients as client on client.organization_id = month.organization_id
cross join lateral (
  select
    count(*)::integer as due,
    (count(*) filter (where session.status = 'no_show'))::integer as no_shows
  from public.sessions as session
  where session.organization_id = month.organization_id
    and session.client_id = client.id
    and session.start_time >= month.starts_at
    and session.start_time < month.ends_at
    and session.status in ('completed', 'no_show')
) as counted
where counted.due > 0;
comment on view reports.no_show_rates is 'How often a client did not come to the sessions she was due at: those attended and those missed.';

-- Booking ----------------------------------------------------------------------------------------------------------------

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
    (
      select batch.created_at
      from public.hold_batches as batch
      where batch.organization_id = organization.id
      order by batch.created_at
      limit 1
    ),
    (
      select event.recorded_at
      from audit.events as event
      where event.organization_id = organization.id
      order by event.recorded_at
      limit 1
    )
  ) as first
) as begun
cross join lateral generate_series(
  date_trunc('day', begun.first at time zone organization.time_zone),
  now() at time zone organization.time_zone,
  interval '1 day'
) as day (start)
cross join lateral (
  select
    day.start at time zone organization.time_zone as starts_at,
    (day.start + interval '1 day') at time zone organization.time_zone as ends_at
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

grant execute on function
  private.client_lanes(uuid, uuid, text, timestamptz, timestamptz), private.service_code(text, text)
to authenticated, service_role;

create view reports.double_bookings
with (security_invoker = true)
as
select
  first.organization_id,
  first.start_time,
  overlap.resource,
  overlap.resource_id,
  first.id as session_id,
  overlap.id as other_session_id,
  overlap.start_time as overlap_start,
  least(first.end_time, overlap.end_time) as overlap_end
from public.sessions as first
cross join lateral (
  select 'therapist' as resource, first.therapist_id as resource_id, other.id, other.start_time, other.end_time
  from public.sessions as other
  where other.organization_id = first.organization_id
    and other.therapist_id = first.therapist_id
    and other.start_time >= first.start_time
    and other.start_time < first.end_time
    and (other.start_time, other.id) > (first.start_time, first.id)
    and other.group_key <> first.group_key
    and other.status not in ('cancelled', 'no_show')
  union all
  select 'client', first.client_id, other.id, other.start_time, other.end_time
  from public.sessions as other
  where other.organization_id = first.organization_id
    and other.client_id = first.client_id
    and other.start_time >= first.start_time
    and other.start_time < first.end_time
    and (other.start_time, other.id) > (first.start_time, first.id)
    and other.status not in ('cancelled', 'no_show')
    and private.client_lanes(
        first.organization_id, first.client_id, private.service_code(first.cpt_code, first.session_type),
        first.start_time, first.end_time
      ) && private.client_lanes(
        other.organization_id, other.client_id, private.service_code(other.cpt_code, other.session_type),
        other.start_time, other.end_time
      )
    and not exists (
      select 1
      from audit.events as event
      where event.organization_id = first.organization_id
        and event.entity_ids && array[first.id, other.id]
        and event.action = 'override.concurrency'
    )
  union all
  select 'room', first.room_id, other.id, other.start_time, other.end_time
  from public.sessions as other
  where other.organization_id = first.organization_id
    and other.room_id = first.room_id
    and other.start_time >= first.start_time
    and other.start_time < first.end_time
    and (other.start_time, other.id) > (first.start_time, first.id)
    and other.group_key <> first.group_key
    and other.status not in ('cancelled', 'no_show')
) as overlap
where first.status not in ('cancelled', 'no_show');
comment on view reports.double_bookings is
  'Proof that there are none: every two sessions of one therapist, client or room that overlap and may not. Members of a '
  'group share their therapist; a client''s services may run at once where her payers allow it or an admin overrode. '
  'Computed from the sessions alone, apart from the claims that prevent it.';

create view reports.clock_change_sessions
with (security_invoker = true)
as
select
  session.organization_id,
  session.start_time,
  session.id as session_id,
  session.time_zone,
  session.start_time at time zone session.time_zone as local_start,
  session.end_time at time zone session.time_zone as local_end,
  (extract(epoch from session.end_time - session.start_time) / 60)::integer as elapsed_minutes,
  (extract(epoch from (session.end_time at time zone session.time_zone) - (session.start_time at time zone session.time_zone))
    / 60)::integer as clock_minutes
from public.sessions as session
where (session.end_time at time zone session.time_zone) - (session.start_time at time zone session.time_zone)
  <> session.end_time - session.start_time;
comment on view reports.clock_change_sessions is
  'Sessions during which the clocks changed, so that the time on the wall is not the time that passed. elapsed_minutes is '
  'what is billed.';

create view reports.series_start_times
with (security_invoker = true)
as
select
  session.organization_id,
  session.series_id,
  session.time_zone,
  (session.start_time at time zone session.time_zone)::time as local_start,
  count(*)::integer as sessions,
  array_agg(distinct (extract(epoch from
    (session.start_time at time zone session.time_zone) - (session.start_time at time zone 'UTC')) / 60)::integer)
    as utc_offsets_minutes
from public.sessions as session
where session.series_id is not null
group by session.organization_id, session.series_id, session.time_zone,
  (session.start_time at time zone session.time_zone)::time;
comment on view reports.series_start_times is
  'The local times at which a series starts: one row for a series that kept its hour, with two offsets where it crossed a '
  'change of clocks. A second row is an occurrence that was moved.';

-- Billing ----------------------------------------------------------------------------------------------------------------

create view reports.units_by_code_and_payer
with (security_invoker = true)
as
select
  month.organization_id,
  month.month,
  billed.payer_name,
  billed.cpt_code,
  billed.sessions,
  billed.minutes,
  billed.units
from reports.months as month
cross join lateral (
  with visit as (
    select
      session.client_id,
      session.therapist_id,
      (session.start_time at time zone session.time_zone)::date as date,
      session.start_time,
      coalesce(session.cpt_code, typed.code, '97153') as cpt_code,
      floor(extract(epoch from
        coalesce(actual.actual_end_time, session.end_time) - coalesce(actual.actual_start_time, session.start_time)
      )::double precision / 60)::integer as minutes,
      coverage.payer_id
    from public.sessions as session
    left join public.service_codes as typed on typed.session_type = lower(btrim(session.session_type))
    left join public.session_visits as actual
      on actual.organization_id = session.organization_id
      and actual.session_id = session.id
      and actual.actual_end_time is not null
    left join lateral (
      select candidate.payer_id
      from public.client_coverages as candidate
      where candidate.organization_id = session.organization_id
        and candidate.client_id = session.client_id
        and daterange(candidate.valid_from, candidate.valid_to, '[]')
          @> (session.start_time at time zone session.time_zone)::date
      order by candidate.priority
      limit 1
    ) as coverage on true
    where session.organization_id = month.organization_id
      and session.start_time >= month.starts_at
      and session.start_time < month.ends_at
      and session.status = 'completed'
  ),
  ruled as (
    select visit.*, coalesce(code_rule.rounding, rule.rounding, 'midpoint') as rounding
    from visit
    left join public.payer_rules as rule
      on rule.organization_id = month.organization_id
      and rule.payer_id = visit.payer_id
      and daterange(rule.valid_from, rule.valid_to, '[]') @> visit.date
    left join public.payer_code_rules as code_rule
      on code_rule.organization_id = month.organization_id
      and code_rule.payer_id = visit.payer_id
      and code_rule.cpt_code = visit.cpt_code
      and daterange(code_rule.valid_from, code_rule.valid_to, '[]') @> visit.date
  ),
  rounded as (
    select
      ruled.payer_id, ruled.cpt_code, count(*) as sessions, sum(ruled.minutes) as minutes,
      sum(case ruled.rounding
        when 'floor' then ruled.minutes / 15
        when 'ceil' then (ruled.minutes + 14) / 15
        else (ruled.minutes + 7) / 15
      end) as units
    from ruled
    where ruled.rounding <> 'cms_pooled'
    group by ruled.payer_id, ruled.cpt_code
    union all
    -- The day's minutes of a client and provider rounded once; what is left goes to the codes with most minutes over.
    select
      day.payer_id, day.cpt_code, sum(day.sessions), sum(day.minutes),
      sum(day.minutes / 15 + case when day.place <= day.units_over then 1 else 0 end)
    from (
      select
        code.*,
        row_number() over (
          partition by code.payer_id, code.client_id, code.therapist_id, code.date
          order by code.minutes % 15 desc, code.first_start
        ) as place,
        (sum(code.minutes) over of_day + 7) / 15 - sum(code.minutes / 15) over of_day as units_over
      from (
        select
          ruled.payer_id, ruled.client_id, ruled.therapist_id, ruled.date, ruled.cpt_code,
          count(*) as sessions, sum(ruled.minutes)::integer as minutes, min(ruled.start_time) as first_start
        from ruled
        where ruled.rounding = 'cms_pooled'
        group by ruled.payer_id, ruled.client_id, ruled.therapist_id, ruled.date, ruled.cpt_code
      ) as code
      window of_day as (partition by code.payer_id, code.client_id, code.therapist_id, code.date)
    ) as day
    group by day.payer_id, day.cpt_code
  )
  select
    payer.name as payer_name,
    rounded.cpt_code,
    sum(rounded.sessions)::integer as sessions,
    sum(rounded.minutes)::integer as minutes,
    sum(rounded.units)::integer as units
  from rounded
  left join public.payers as payer on payer.organization_id = month.organization_id and payer.id = rounded.payer_id
  group by payer.name, rounded.cpt_code
) as billed;
comment on view reports.units_by_code_and_payer is
  'Attended sessions as units to be billed, by the actual times where they are known, rounded as each payer rounds on the '
  'day of service. payer_name is null for clients without a coverage.';

create view reports.authorization_balances
with (security_invoker = true)
as
select
  approval.organization_id,
  approval.id as authorization_id,
  approval.client_id,
  client.reference as client_reference,
  payer.name as payer_name,
  approval.cpt_code,
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
    coalesce(sum(entry.units) filter (where entry.state = 'held' and entry.expires_at > clock_timestamp()), 0)::integer
      as held_units
  from public.authorization_units as entry
  where entry.organization_id = approval.organization_id and entry.authorization_id = approval.id
) as taken;
comment on view reports.authorization_balances is
  'How much of each authorization is used, scheduled, held and left. approved = used + scheduled + held + left.';

create index authorization_units_beyond_idx on public.authorization_units (organization_id, service_date)
  where units < total_units and state <> 'held';

create view reports.services_beyond_authorization
with (security_invoker = true)
as
select
  entry.organization_id,
  entry.service_date,
  entry.owner_id as session_id,
  entry.client_id,
  entry.cpt_code,
  entry.state,
  entry.authorization_id,
  entry.total_units,
  entry.total_units - entry.units as units_beyond
from public.authorization_units as entry
where entry.units < entry.total_units
  and entry.state <> 'held';
comment on view reports.services_beyond_authorization is
  'Booked or rendered services that no authorization covers whole: overridden, or longer than they were booked for.';

-- Records ----------------------------------------------------------------------------------------------------------------

create view reports.unsigned_notes
with (security_invoker = true)
as
select
  session.organization_id,
  session.start_time,
  session.id as session_id,
  session.therapist_id,
  therapist.display_name as therapist_name,
  session.client_id,
  session.status as session_status,
  coalesce(note.status, 'none') as note_status,
  greatest(0, floor(extract(epoch from now() - session.end_time) / 86400))::integer as days_overdue
from public.sessions as session
join public.therapists as therapist
  on therapist.organization_id = session.organization_id and therapist.id = session.therapist_id
left join public.session_note_states as note
  on note.organization_id = session.organization_id and note.session_id = session.id
where session.end_time < now()
  and session.status in ('scheduled', 'in_progress', 'completed')
  and coalesce(note.status, 'none') not in ('signed', 'amended');
comment on view reports.unsigned_notes is
  'Sessions whose time is over and whose note is missing or not signed, with the days since.';

create function private.events_of(organization_id uuid, entity_ids uuid[])
returns table (recorded_at timestamptz, id uuid)
language plpgsql
stable
security definer
rows 50
set search_path = ''
set plan_cache_mode = 'force_custom_plan'
as $$
#variable_conflict use_column
begin
  -- Whom the events' own policy lets nothing through finds no keys either.
  if current_setting('role') in ('anon', 'authenticated') and not (
    organization_id = private.active_organization_id() and (private.is_admin() or private.has_permission('view_audit'))
  ) then
    return;
  end if;
  return query
  select event.recorded_at, event.id
  from audit.events as event
  where event.organization_id = events_of.organization_id
    and event.entity_ids && events_of.entity_ids;
end
$$;
comment on function private.events_of(uuid, uuid[]) is
  'The keys of the events that name any of these ids. Row security would keep a reader from their index: && is not '
  'leakproof, so it is tried only on what the policy has let through. Whoever uses the keys reads the events under it.';
grant execute on function private.events_of(uuid, uuid[]) to authenticated, service_role;

create view reports.session_audit_trail
with (security_invoker = true)
as
select
  session.organization_id,
  session.id as session_id,
  event.occurred_at,
  event.recorded_at,
  event.action,
  event.outcome,
  event.code,
  event.actor_user_id,
  event.actor_role,
  event.database_user,
  event.request_id,
  case when jsonb_typeof(event.before) = 'array' then event.before -> place.position else event.before end as before,
  case when jsonb_typeof(event.after) = 'array' then event.after -> place.position else event.after end as after,
  event.details
from public.sessions as session
cross join lateral private.events_of(session.organization_id, array[session.id]) as found
join audit.events as event
  on event.organization_id = session.organization_id
  and event.recorded_at = found.recorded_at
  and event.id = found.id
cross join lateral (select array_position(event.entity_ids, session.id) - 1 as position) as place;
comment on view reports.session_audit_trail is
  'Everything that happened to a session, from the hold it was booked through: who, when, what, from what to what. Of a '
  'batch''s event only what concerns this session. Filter by session_id.';

create view reports.client_record_access
with (security_invoker = true)
as
select
  client.organization_id,
  client.id as client_id,
  client.reference as client_reference,
  event.occurred_at,
  event.action,
  event.outcome,
  event.actor_user_id,
  event.actor_role,
  event.database_user,
  event.entity,
  record.id as record_id,
  event.request_id
from public.clients as client
cross join lateral (
  select array_append(array_agg(session.id), client.id) as ids
  from public.sessions as session
  where session.organization_id = client.organization_id and session.client_id = client.id
) as own
cross join lateral private.events_of(client.organization_id, own.ids) as found
join audit.events as event
  on event.organization_id = client.organization_id
  and event.recorded_at = found.recorded_at
  and event.id = found.id
cross join lateral (
  select named.id
  from unnest(event.entity_ids) as named (id)
  where named.id = any (own.ids)
) as record;
comment on view reports.client_record_access is
  'Who read or changed anything of a client''s record: her details, her sessions, their notes (45 CFR 164.312(b)). Filter '
  'by client_id.';

grant select on all tables in schema reports to authenticated, service_role;
