-- Purpose: how much each technician worked and was supervised, month by month.
-- Objects: reports.supervision_months, which supervision_share and supervision_needed read.
-- Watch for: a contact is time that a supervisor (BCaBA, BCBA, BCBA-D on that day) and a technician were with the same
--            client. A visit is of the month and the day on which it began, whichever it was booked for; the level is the
--            one of that day, see therapist_credentials.

create view reports.supervision_months
with (security_invoker = true)
as
select
  month.organization_id,
  month.month,
  therapist.id as therapist_id,
  therapist.display_name as therapist_name,
  round(direct.hours, 2) as direct_hours,
  round(direct.booked_hours, 2) as booked_hours,
  round(direct.supervised_hours, 2) as supervised_hours,
  direct.contacts,
  direct.observed_contacts,
  direct.individual_contacts,
  round(100 * direct.supervised_hours / nullif(direct.hours, 0), 1) as supervised_percent,
  direct.hours > 0
    and direct.supervised_hours >= 0.05 * direct.hours
    and direct.contacts >= 2
    and direct.observed_contacts >= 1
    and direct.individual_contacts >= 1 as is_sufficient
from reports.months as month
cross join lateral (
  with visit as materialized (
    select
      session.therapist_id,
      session.client_id,
      case
        when session.status <> 'completed' then tstzrange(session.start_time, session.end_time)
        else tstzrange(day.begun, coalesce(actual.actual_end_time, session.end_time))
      end as during,
      session.status = 'completed' as is_attended,
      known.level,
      day.begun >= month.starts_at and day.begun < month.ends_at as is_this_month,
      -- A supervisor who guides the family does not supervise whoever treats the child meanwhile.
      not exists (
        select 1
        from public.service_codes as service
        where not service.supervises
          and (
            service.code = session.cpt_code
            or (session.cpt_code is null and service.session_type = lower(btrim(session.session_type)))
          )
          and (service.organization_id is null or service.organization_id = session.organization_id)
          and day.date >= service.valid_from
          and day.date <= coalesce(service.valid_to, 'infinity')
      ) as supervises
    from public.organizations as organization
    cross join lateral (
      select unnest(private.visits_between(
        organization.id, month.starts_at - interval '1 day', month.ends_at + interval '1 day'
      )) as id
      union all
      select booked.id
      from public.sessions as booked
      where booked.organization_id = organization.id
        and booked.start_time >= month.starts_at
        and booked.start_time < month.ends_at
        and booked.status in ('scheduled', 'in_progress')
        and booked.end_time > now()
    ) as wanted
    -- One row by its key, whatever the planner believes of how many there are.
    cross join lateral (
      select known.* from public.sessions as known
      where known.organization_id = organization.id and known.id = wanted.id
      offset 0
    ) as session
    left join lateral (
      select known.actual_start_time, known.actual_end_time from public.session_visits as known
      where known.organization_id = organization.id and known.session_id = wanted.id
      offset 0
    ) as actual on actual.actual_end_time is not null and session.status = 'completed'
    cross join lateral (
      select started.begun, (started.begun at time zone organization.time_zone)::date as date
      from (select coalesce(actual.actual_start_time, session.start_time) as begun) as started
    ) as day
    join public.therapist_credentials as known
      on known.organization_id = session.organization_id
      and known.therapist_id = session.therapist_id
      and day.date >= known.valid_from
      and day.date <= coalesce(known.valid_to, 'infinity')
    where organization.id = month.organization_id
  ),
  attended as materialized (select visit.* from visit where visit.is_attended),
  -- While a supervisor and a technician were with the same client.
  beside as materialized (
    select treatment.therapist_id, supervision.therapist_id as supervisor_id, treatment.during * supervision.during as during
    from attended as treatment
    join attended as supervision on supervision.client_id = treatment.client_id and supervision.during && treatment.during
    where treatment.is_this_month
      and treatment.level = 'technician'
      and supervision.level in ('assistant', 'qhp')
      and supervision.supervises
  ),
  -- Times that touch are one contact.
  contact as (
    select met.therapist_id, met.supervisor_id, span.during
    from (
      select beside.therapist_id, beside.supervisor_id, range_agg(beside.during) as during
      from beside
      group by beside.therapist_id, beside.supervisor_id
    ) as met
    cross join lateral unnest(met.during) as span (during)
  ),
  counted as (
    select
      contact.therapist_id,
      count(*)::integer as contacts,
      count(*) filter (where not exists (
        select 1
        from beside
        where beside.supervisor_id = contact.supervisor_id
          and beside.therapist_id <> contact.therapist_id
          and beside.during && contact.during
      ))::integer as individual_contacts
    from contact
    group by contact.therapist_id
  ),
  worked as (
    select
      visit.therapist_id,
      coalesce(range_agg(visit.during) filter (where visit.is_attended), '{}') as during,
      coalesce(range_agg(visit.during) filter (where not visit.is_attended), '{}') as booked
    from visit
    where visit.is_this_month and visit.level = 'technician'
    group by visit.therapist_id
  ),
  supervised as (
    select beside.therapist_id, range_agg(beside.during) as during
    from beside
    group by beside.therapist_id
  )
  select
    worked.therapist_id,
    coalesce((
      select sum(extract(epoch from upper(span) - lower(span))) / 3600 from unnest(worked.during) as span
    ), 0) as hours,
    coalesce((
      select sum(extract(epoch from upper(span) - lower(span))) / 3600 from unnest(worked.booked) as span
    ), 0) as booked_hours,
    coalesce((
      select sum(extract(epoch from upper(span) - lower(span))) / 3600 from unnest(supervised.during) as span
    ), 0) as supervised_hours,
    coalesce(counted.contacts, 0) as contacts,
    -- Who is with the technician and their client sees them work.
    coalesce(counted.contacts, 0) as observed_contacts,
    coalesce(counted.individual_contacts, 0) as individual_contacts
  from worked
  left join supervised on supervised.therapist_id = worked.therapist_id
  left join counted on counted.therapist_id = worked.therapist_id
) as direct
join public.therapists as therapist
  on therapist.organization_id = month.organization_id and therapist.id = direct.therapist_id;
comment on view reports.supervision_months is
  'Each technician''s month: hours attended and still booked, hours and contacts supervised. A group, and two supervisors '
  'at once, count once; times that touch are one contact.';
grant select on reports.supervision_months to authenticated, service_role;
