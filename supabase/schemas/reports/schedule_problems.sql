-- Purpose: booked sessions that could not be booked any more as things stand now.
-- Objects: private.schedule_problems, reports.schedule_problems; docs/reports.md tells how to read it.
-- Watch for: it asks the functions that a hold asks, once for a therapist or a day where that is enough. It runs as its
--            owner and is told only sessions that the reader may see, as private.visit_problems is.

create function private.unit_problems(organization_id uuid, session_ids uuid[])
returns table (session_id uuid, problem text, detail text)
language plpgsql
stable
set search_path = ''
as $$
#variable_conflict use_column
declare
  services private.service[];
begin
  -- Each stands where a move of it to its own time would stand: what it has already, it need not ask for again.
  services := array(
    select jsonb_populate_record(service, jsonb_build_object(
      'replaces_id', service.owner_id,
      'occurrence_index', row_number() over (order by service.start_time, service.owner_id) - 1
    ))
    from unnest(private.services_of_sessions(unit_problems.organization_id, unit_problems.session_ids)) as service
    order by service.start_time, service.owner_id
  );
  return query
  select services[1 + (shortage.value ->> 'occurrenceIndex')::integer].owner_id,
    case shortage.value ->> 'limit'
      when 'coverage' then 'no_coverage'
      when 'dates' then 'not_authorized'
      else 'over_limit'
    end,
    case shortage.value ->> 'limit'
      when 'coverage' then format('nobody covers the client on %s', shortage.value ->> 'date')
      when 'dates' then format('no authorization for %s on %s', shortage.value ->> 'cptCode', shortage.value ->> 'date')
      else format(
        '%s: %s units of %s are needed, %s are left', shortage.value ->> 'limit', shortage.value ->> 'neededUnits',
        shortage.value ->> 'cptCode', shortage.value ->> 'leftUnits'
      )
    end
  from jsonb_array_elements(private.shortages_of(
    private.quote_units(unit_problems.organization_id, services, clock_timestamp())
  )) as shortage (value);
end
$$;
comment on function private.unit_problems(uuid, uuid[]) is
  'Which of these sessions their clients'' payers do not pay for whole: by the same quote that a hold gets.';

create function private.schedule_problems(organization_id uuid, session_ids uuid[])
returns table (session_id uuid, problem text, detail text)
language plpgsql
stable
security definer
set search_path = ''
set timezone = 'UTC'
set plan_cache_mode = 'force_custom_plan'
as $$
#variable_conflict use_column
begin
  if not private.is_staff() then
    return;
  end if;
  return query
  with client as materialized (
    select known.id, known.deleted_at, known.has_payer,
      private.service_zone(schedule_problems.organization_id, known.id) as zone
    from public.clients as known
    where known.organization_id = schedule_problems.organization_id
  ),
  booked as materialized (
    select session.id, session.therapist_id, session.client_id, session.start_time, session.end_time,
      session.cpt_code, session.session_type, coalesce(known.room_id, session.room_id) as room_id,
      client.deleted_at is not null as client_archived, client.has_payer,
      (session.start_time at time zone client.zone)::date as date
    from (select distinct named.id from unnest(session_ids) as named (id)) as named
    join public.sessions as session
      on session.organization_id = schedule_problems.organization_id and session.id = named.id
    join client on client.id = session.client_id
    left join public.session_groups as known
      on known.organization_id = session.organization_id and known.id = session.group_id
  ),
  service as materialized (
    select asked.*, named.code,
      named.code is not null
        and (private.service_code_on(schedule_problems.organization_id, named.code, asked.date)).code is null as has_ended
    from (select distinct booked.cpt_code, booked.session_type, booked.date from booked) as asked
    cross join lateral (
      select private.service_code(schedule_problems.organization_id, asked.cpt_code, asked.session_type, asked.date) as code
      offset 0
    ) as named
  ),
  placed as materialized (
    select booked.*, service.code, service.has_ended
    from booked
    join service on service.date = booked.date
      and coalesce(service.cpt_code, '') = coalesce(booked.cpt_code, '')
      and coalesce(service.session_type, '') = coalesce(booked.session_type, '')
  ),
  therapist as materialized (
    -- Most therapists have no session outside their hours or beyond their level: one look for all of theirs.
    select worked.id, worked.session_ids, worked.spans,
      private.is_open(schedule_problems.organization_id, worked.id, worked.spans) as is_open,
      private.may_render_each(schedule_problems.organization_id, worked.id, worked.codes, worked.dates) as renders_all
    from (
      select placed.therapist_id as id, array_agg(placed.id order by placed.id) as session_ids,
        array_agg(tstzrange(placed.start_time, placed.end_time, '[)') order by placed.id) as spans,
        array_agg(placed.code order by placed.id) filter (where not placed.has_ended) as codes,
        array_agg(placed.date order by placed.id) filter (where not placed.has_ended) as dates
      from placed
      group by placed.therapist_id
    ) as worked
  ),
  short as materialized (
    -- The ledger knows who is short, and whose units a limit counts. Where nothing was asked for, a rule may have changed.
    select placed.id, coalesce(entry.is_short or entry.is_limited, false) as is_known, placed.client_id, placed.date,
      coalesce(placed.code, '97153') as code
    from placed
    cross join lateral (
      select bool_and(part.needs_authorization) as is_needed,
        bool_or(part.needs_authorization and part.units < part.total_units) as is_short,
        bool_or(exists (
          select from public.unit_limits as known
          where known.organization_id = schedule_problems.organization_id and known.authorization_id = part.authorization_id
            and known.effect = 'refuse'
        ) or exists (
          select from public.unit_limits as known
          where known.organization_id = schedule_problems.organization_id and known.payer_id = part.payer_id
            and known.effect = 'refuse'
        )) as is_limited
      from public.authorization_units as part
      where part.organization_id = schedule_problems.organization_id and part.owner_id = placed.id
    ) as entry
    where placed.has_payer and (entry.is_needed is not true or entry.is_short or entry.is_limited)
  ),
  ruled as materialized (
    select payer.client_id, payer.date, payer.code
    from (
      select asked.client_id, asked.date, asked.code,
        private.primary_payer(schedule_problems.organization_id, asked.client_id, asked.date) as id
      from (select distinct short.client_id, short.date, short.code from short where not short.is_known) as asked
      offset 0
    ) as payer
    cross join lateral private.payer_rule(schedule_problems.organization_id, payer.id, payer.code, payer.date) as rule
    where rule.authorization_required or payer.id is null
  )
  select placed.id, simple.problem, simple.detail
  from placed
  left join public.therapists as known
    on known.organization_id = schedule_problems.organization_id and known.id = placed.therapist_id
  left join public.memberships as renders
    on renders.organization_id = schedule_problems.organization_id and renders.user_id = placed.therapist_id
    and renders.role <> 'client'
  left join public.rooms as room
    on room.organization_id = schedule_problems.organization_id and room.id = placed.room_id
  left join public.caseloads as caseload
    on caseload.organization_id = schedule_problems.organization_id and caseload.therapist_id = placed.therapist_id
    and caseload.client_id = placed.client_id
  cross join lateral (
    values
      ('client_archived', placed.client_archived, 'the client is archived'),
      ('therapist_archived', known.deleted_at is not null, 'the therapist is archived'),
      ('room_archived', room.deleted_at is not null, room.name || ' is archived'),
      ('therapist_left', renders.user_id is null, 'the therapist is no member any more, or is one who does not render'),
      ('code_ended', placed.has_ended, format('%s is no service code on %s', placed.code, placed.date)),
      ('off_caseload', caseload.client_id is null, 'the client is not on the therapist''s caseload')
  ) as simple (problem, is_so, detail)
  where simple.is_so
  union all
  select therapist.session_ids[1 + found.occurrence_index], problem.name,
    format('from %s to %s', private.iso(min(lower(found.during))), private.iso(max(upper(found.during))))
  from therapist
  cross join lateral private.outside_availability(schedule_problems.organization_id, therapist.id, therapist.spans) as found
  cross join lateral (select case found.what when 'availability' then 'outside_hours' else found.what end as name) as problem
  where not therapist.is_open
  group by 1, 2
  union all
  select placed.id, 'not_renderable', format('the therapist''s level may not render %s', placed.code)
  from placed
  join therapist on therapist.id = placed.therapist_id
  where case
    when therapist.renders_all or placed.code is null or placed.has_ended then false
    else not private.may_render(schedule_problems.organization_id, placed.therapist_id, placed.code, placed.date)
  end
  union all
  select found.session_id, found.problem, found.detail
  from (
    select array_agg(short.id) as session_ids
    from short
    where short.is_known or exists (
      select from ruled where (ruled.client_id, ruled.date, ruled.code) = (short.client_id, short.date, short.code)
    )
  ) as unpaid
  cross join lateral private.unit_problems(schedule_problems.organization_id, unpaid.session_ids) as found
  where unpaid.session_ids is not null;
end
$$;
comment on function private.schedule_problems(uuid, uuid[]) is
  'Why those of these sessions that are booked could not be booked any more, one row for each session and cause.';
grant execute on function private.schedule_problems(uuid, uuid[]) to authenticated, service_role;

create view reports.schedule_problems
with (security_invoker = true)
as
select
  organization.id as organization_id,
  booked.start_time,
  booked.local_start,
  found.session_id,
  booked.therapist_id,
  booked.therapist_name,
  booked.client_id,
  booked.client_reference,
  found.problem,
  found.detail
from public.organizations as organization
cross join lateral private.schedule_problems(organization.id, array(
  select session.id
  from public.sessions as session
  where session.organization_id = organization.id
    and session.start_time > now()
    and session.status = 'scheduled'
)) as found
cross join lateral (
  -- Looked up for each row that was found, not joined the other way round, which would look for problems once a session.
  select session.* from reports.named_sessions as session
  where session.organization_id = organization.id and session.id = found.session_id
  offset 0
) as booked;
comment on view reports.schedule_problems is
  'Sessions to come that could not be booked any more as things stand now, one row for each session and cause: client, '
  'therapist or room archived, therapist no member who renders, outside hours, time off, closure, not renderable, code '
  'ended, no coverage, not authorized, over a limit, off the caseload.';
grant select on reports.schedule_problems to authenticated, service_role;
