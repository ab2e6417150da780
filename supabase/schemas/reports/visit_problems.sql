-- Purpose: what a biller or an auditor would object to in a completed visit.
-- Objects: private.visit_overlaps, private.visit_problems, reports.visit_problems; docs/reports.md tells how to read it.
-- Watch for: a new problem is one more branch of private.visit_problems. It runs as its owner and is told only sessions
--            that the reader may see, as private.rendered_services is.

create function private.visit_overlaps(organization_id uuid, session_ids uuid[])
returns table (session_id uuid, other_session_id uuid, problem text)
language plpgsql
stable
set search_path = ''
set plan_cache_mode = 'force_custom_plan'
as $$
#variable_conflict use_column
begin
  return query
  with spanned as (
    -- From the first of these to the last, and a day around: none lasts longer.
    select min(visit.begun) - interval '1 day' as first_time, max(visit.begun) + interval '1 day' as last_time
    from unnest(visit_overlaps.session_ids) as named (id)
    cross join lateral (
      select coalesce((
        select actual.actual_start_time from public.session_visits as actual
        where actual.organization_id = visit_overlaps.organization_id and actual.session_id = named.id
          and actual.actual_end_time is not null
      ), (
        select session.start_time from public.sessions as session
        where session.organization_id = visit_overlaps.organization_id and session.id = named.id
      )) as begun
    ) as visit
  ),
  wanted as (
    select distinct named.id
    from spanned
    cross join lateral unnest(visit_overlaps.session_ids || private.visits_between(
      visit_overlaps.organization_id, spanned.first_time, spanned.last_time
    )) as named (id)
  ),
  visit as materialized (
    select
      session.id, session.therapist_id, session.client_id, session.group_id, session.cpt_code, session.session_type,
      tstzrange(
        coalesce(actual.actual_start_time, session.start_time), coalesce(actual.actual_end_time, session.end_time)
      ) as during,
      (coalesce(actual.actual_start_time, session.start_time) at time zone 'UTC')::date as day
    from wanted
    cross join lateral (
      select known.* from public.sessions as known
      where known.organization_id = visit_overlaps.organization_id and known.id = wanted.id
      offset 0
    ) as session
    left join lateral (
      select known.actual_start_time, known.actual_end_time from public.session_visits as known
      where known.organization_id = visit_overlaps.organization_id and known.session_id = wanted.id
      offset 0
    ) as actual on actual.actual_end_time is not null
    where session.status = 'completed'
  ),
  -- Visits that overlap begin on one day, or on days beside each other.
  asked as materialized (
    select visit.*, beside.day as other_day
    from visit
    cross join lateral (values (visit.day - 1), (visit.day), (visit.day + 1)) as beside (day)
    where visit.id in (select unnest(visit_overlaps.session_ids))
  )
  select asked.id, other.id, 'therapist_overlaps'
  from asked
  join visit as other
    on other.therapist_id = asked.therapist_id and other.day = asked.other_day and other.during && asked.during
  where other.id <> asked.id
    and (other.group_id is null or other.group_id is distinct from asked.group_id)
  union all
  select asked.id, other.id, 'client_overlaps'
  from asked
  join visit as other
    on other.client_id = asked.client_id and other.day = asked.other_day and other.during && asked.during
  where other.id <> asked.id
    and private.client_lanes(
      visit_overlaps.organization_id, asked.client_id,
      private.billed_code(
        visit_overlaps.organization_id, asked.cpt_code, asked.session_type,
        private.service_date(visit_overlaps.organization_id, asked.client_id, lower(asked.during))
      ), lower(asked.during), upper(asked.during)
    ) && private.client_lanes(
      visit_overlaps.organization_id, other.client_id,
      private.billed_code(
        visit_overlaps.organization_id, other.cpt_code, other.session_type,
        private.service_date(visit_overlaps.organization_id, other.client_id, lower(other.during))
      ), lower(other.during), upper(other.during)
    );
end
$$;
comment on function private.visit_overlaps(uuid, uuid[]) is
  'Which completed sessions these overlap in actual time: of one therapist, but for members of one group, and of one client '
  'where the payers do not allow the two services at once.';

create function private.visit_problems(organization_id uuid, session_ids uuid[])
returns table (session_id uuid, service_date date, payer_id uuid, problem text, detail text)
language plpgsql
stable
security definer
set search_path = ''
set plan_cache_mode = 'force_custom_plan'
as $$
#variable_conflict use_column
begin
  if not private.is_staff() then
    return;
  end if;
  return query
  with visit as materialized (
    select
      session.*, service.service_date, service.payer_id, service.cpt_code as billed_code,
      actual.actual_start_time is not null as has_begin, actual.actual_end_time is not null as has_end,
      case when actual.actual_end_time is null then session.start_time else actual.actual_start_time end as begun,
      coalesce(actual.actual_end_time, session.end_time) as ended,
      coalesce(note.status, 'none') as note_status
    from private.rendered_services(visit_problems.organization_id, visit_problems.session_ids) as service
    join public.sessions as session
      on session.organization_id = visit_problems.organization_id and session.id = service.session_id
    left join public.session_visits as actual
      on actual.organization_id = session.organization_id and actual.session_id = session.id
    left join public.session_note_states as note
      on note.organization_id = session.organization_id and note.session_id = session.id
  ),
  ruled as materialized (
    select
      asked.*, rule.evv_required,
      private.coverage_gap(
        visit_problems.organization_id, asked.payer_id, asked.billed_code, asked.location_type, asked.service_date
      ) as gap,
      (private.service_code_on(visit_problems.organization_id, asked.billed_code, asked.service_date)).code is not null
        as is_valid,
      private.service_code(
        visit_problems.organization_id, asked.cpt_code, asked.session_type, asked.service_date
      ) is not null as is_named
    from (
      select distinct
        visit.payer_id, visit.billed_code, visit.location_type, visit.service_date, visit.cpt_code, visit.session_type
      from visit
    ) as asked
    cross join lateral private.payer_rule(
      visit_problems.organization_id, asked.payer_id, asked.billed_code, asked.service_date
    ) as rule
  ),
  judged as materialized (
    select
      visit.*, ruled.gap, ruled.is_valid,
      case when ruled.evv_required then array_remove(array[
        -- The elements of the 21st Century Cures Act, section 12006; individual, date and provider no session can lack.
        case when not ruled.is_named then 'service' end,
        case when visit.location_type is null then 'location' end,
        case when not visit.has_begin then 'begin' end,
        case when not visit.has_end then 'end' end
      ], null) else '{}' end as missing,
      round(extract(epoch from visit.begun - visit.start_time) / 60)::integer as late_minutes,
      round(extract(epoch from visit.ended - visit.end_time) / 60)::integer as over_minutes,
      private.service_date(visit.organization_id, visit.client_id, visit.start_time) as booked_on
    from visit
    join ruled on (
      ruled.payer_id, ruled.billed_code, ruled.location_type, ruled.service_date, ruled.cpt_code, ruled.session_type
    ) is not distinct from (
      visit.payer_id, visit.billed_code, visit.location_type, visit.service_date, visit.cpt_code, visit.session_type
    ) and ruled.service_date = visit.service_date and ruled.billed_code = visit.billed_code
  )
  select judged.id, judged.service_date, judged.payer_id,
    case when let.is_let then 'overlap_let' else overlap.problem end, 'with session ' || overlap.other_session_id
  from private.visit_overlaps(visit_problems.organization_id, visit_problems.session_ids) as overlap
  join judged on judged.id = overlap.session_id
  cross join lateral (
    select exists (
      select from public.session_visits as visit
      where visit.organization_id = visit_problems.organization_id
        and visit.session_id in (overlap.session_id, overlap.other_session_id)
        and visit.overlap_reason is not null
    ) or overlap.problem = 'client_overlaps' and (
      private.was_let_beside(visit_problems.organization_id, overlap.session_id)
      or private.was_let_beside(visit_problems.organization_id, overlap.other_session_id)
    ) as is_let
  ) as let
  union all
  select judged.id, judged.service_date, judged.payer_id, simple.problem, simple.detail
  from judged
  cross join lateral (
    values
      ('off_the_day', judged.booked_on <> judged.service_date, 'began on ' || judged.service_date),
      ('off_the_booking', abs(judged.late_minutes) > 15 or abs(judged.over_minutes) > 15,
        format('began %s and ended %s minutes after it was booked for', judged.late_minutes, judged.over_minutes)),
      ('unsigned', judged.note_status in ('none', 'draft'), 'note: ' || judged.note_status),
      ('code_not_covered', judged.gap = 'code', judged.billed_code),
      ('place_not_covered', judged.gap = 'place', judged.billed_code || ' at ' || judged.location_type),
      ('code_not_valid', not judged.is_valid, judged.billed_code || ' is no code on ' || judged.service_date),
      ('evv_incomplete', judged.missing <> '{}', array_to_string(judged.missing, ', '))
  ) as simple (problem, is_so, detail)
  where simple.is_so
  union all
  select judged.id, judged.service_date, judged.payer_id, 'signature_differs',
    coalesce(nullif(array_to_string(signed.differing, ', '), ''), 'corrected since, and not amended')
  from judged
  join public.sessions as session on session.organization_id = judged.organization_id and session.id = judged.id
  cross join lateral (
    select case when judged.note_status not in ('none', 'draft') then private.differing_facts(
      private.attested_facts(judged.organization_id, judged.id), private.session_facts(session)
    ) end as differing
  ) as signed
  where signed.differing <> '{}' or judged.note_status = 'needs_amendment'
  union all
  select judged.id, judged.service_date, judged.payer_id, 'units_beyond',
    format('%s of %s units', sum(entry.total_units) - sum(entry.units), sum(entry.total_units))
  from judged
  join public.authorization_units as entry on entry.organization_id = judged.organization_id and entry.owner_id = judged.id
  where entry.needs_authorization
  group by judged.id, judged.service_date, judged.payer_id
  having sum(entry.units) < sum(entry.total_units)
  union all
  select judged.id, judged.service_date, judged.payer_id, 'no_coverage', 'nobody covers the client on ' || judged.service_date
  from judged
  where judged.payer_id is null
    and exists (
      select 1
      from public.client_coverages as any_date
      where any_date.organization_id = judged.organization_id and any_date.client_id = judged.client_id
    );
end
$$;
comment on function private.visit_problems(uuid, uuid[]) is 'What a payer or an auditor would object to in those of these sessions that are completed.';
grant execute on function private.visit_problems(uuid, uuid[]) to authenticated, service_role;

create view reports.visit_problems
with (security_invoker = true)
as
select
  month.organization_id,
  month.month,
  found.service_date,
  found.session_id,
  visit.therapist_id,
  visit.therapist_name,
  visit.client_id,
  visit.client_reference,
  found.payer_id,
  found.problem,
  found.detail
from reports.months as month
cross join lateral private.visit_problems(
  month.organization_id, private.visits_between(month.organization_id, month.starts_at, month.ends_at)
) as found
cross join lateral (
  select session.* from reports.named_sessions as session
  where session.organization_id = month.organization_id and session.id = found.session_id
  offset 0
) as visit;
comment on view reports.visit_problems is
  'Completed visits that a payer or an auditor would object to, one row a problem: overlaps, times off the day or off the '
  'booking (more than 15 minutes), missing or differing signatures, units beyond the authorization, what is not covered, '
  'and missing elements of electronic visit verification.';
grant select on reports.visit_problems to authenticated, service_role;
