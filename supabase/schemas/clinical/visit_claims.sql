-- Purpose: nobody renders two visits at once: completed visits claim the time they really took.
-- Objects: private.visit_claims; claims_of_visit, visit_claims_of, visits_in_the_way, sync_visit_claims.
-- Watch for: like private.claims, these follow from rows: from completed sessions and their visits. Bookings claim the
--            booked times in private.claims; here are the actual ones, so that a visit that ran long meets the next one
--            when it is completed, and not the booking of somebody else. A visit that an admin let overlap claims what
--            nobody else claims.

create table private.visit_claims (
  organization_id uuid not null,
  session_id uuid not null,
  group_key uuid not null,
  resource_kind public.resource_kind not null check (resource_kind in ('therapist', 'client')),
  resource_id uuid not null,
  during private.claimed_range not null,
  lanes public.claimed_lanes not null,
  primary key (organization_id, session_id, resource_kind, during, lanes),
  foreign key (organization_id, session_id) references public.sessions (organization_id, id),
  -- Never deferrable: "on conflict do nothing" needs an immediate arbiter.
  constraint visits_no_overlap exclude using gist (
    organization_id with =, resource_id with =, during with &&, resource_kind with =, lanes with &&, group_key with <>
  )
);
comment on table private.visit_claims is
  'The actual time of completed visits, on their therapist and their client. This one constraint decides that no two '
  'visits of one therapist overlap, and no two of one client in services that the payers forbid together.';
comment on column private.visit_claims.group_key is 'Equal for the members of one group, who share their therapist.';
comment on column private.visit_claims.during is
  'From its actual begin to its actual end, [begin, end); as it was booked where nobody recorded an end.';
comment on column private.visit_claims.lanes is
  'All lanes of a therapist; of a client private.visit_lanes: services that the payers allow at once share none.';
alter table private.visit_claims enable row level security;
create policy deny_all on private.visit_claims using (false);
create trigger refuse_derived_write before insert or update or delete on private.visit_claims
  for each statement
  when (private.is_direct_write())
  execute function private.refuse_derived_write();
create trigger refuse_truncate before truncate on private.visit_claims
  for each statement execute function private.refuse_derived_write();

create index session_visits_overlap_idx on public.session_visits (organization_id, session_id)
  where overlap_reason is not null;

create function private.visit_lanes(session public.sessions, begun timestamptz, ended timestamptz)
returns int4multirange
language plpgsql
stable
set search_path = ''
as $$
declare
  zone text;
begin
  if (begun, ended) = (session.start_time, session.end_time) then
    return session.lanes;
  end if;
  zone := private.service_zone(session.organization_id, session.client_id);
  if ((begun at time zone zone)::date, (ended at time zone zone)::date)
    = ((session.start_time at time zone zone)::date, (session.end_time at time zone zone)::date)
  then
    return session.lanes;
  end if;
  return private.client_lanes(
    session.organization_id, session.client_id,
    private.service_code_at(session.organization_id, session.client_id, session.cpt_code, session.session_type, begun),
    begun, ended
  );
end
$$;
comment on function private.visit_lanes(public.sessions, timestamptz, timestamptz) is
  'The lanes of a visit: the session''s, unless it was on other days than booked: then those of its own days, since payers '
  'and their rules may differ.';

create function private.claims_of_visit(session public.sessions, begun timestamptz, ended timestamptz)
returns private.visit_claims[]
language plpgsql
stable
set search_path = ''
as $$
declare
  during tstzrange;
begin
  if session.status <> 'completed' then
    return '{}';
  end if;
  during := case
    when ended is null then tstzrange(session.start_time, session.end_time, '[)') else tstzrange(begun, ended, '[)')
  end;
  return array[
    row(
      session.organization_id, session.id, session.group_key, 'therapist', session.therapist_id, during,
      '{[0,2147483647)}'::int4multirange
    ),
    row(
      session.organization_id, session.id, session.group_key, 'client', session.client_id, during,
      private.visit_lanes(session, lower(during), upper(during))
    )
  ]::private.visit_claims[];
end
$$;
comment on function private.claims_of_visit(public.sessions, timestamptz, timestamptz) is
  'What a visit claims: its therapist and its client, once it is completed. Without an end, the times it was booked for.';

create function private.visit_claims_of(organization_id uuid, session_ids uuid[])
returns private.visit_claims[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return array(
    select claim
    from unnest(session_ids) as named (id)
    cross join lateral (
      select known from public.sessions as known
      where known.organization_id = visit_claims_of.organization_id and known.id = named.id offset 0
    ) as session
    left join lateral (
      select known.actual_start_time, known.actual_end_time from public.session_visits as known
      where known.organization_id = visit_claims_of.organization_id and known.session_id = named.id offset 0
    ) as visit on true
    cross join lateral unnest(private.claims_of_visit(
      session.known, visit.actual_start_time, visit.actual_end_time
    )) as claim
  );
end
$$;
comment on function private.visit_claims_of(uuid, uuid[]) is 'What the visits of these sessions claim, as their rows say.';

create function private.visits_in_the_way(wanted private.visit_claims[], actor private.actor)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    select jsonb_agg(
      jsonb_build_object(
        'resource', claim.resource_kind,
        -- Two therapists may treat one client: which visit of somebody else it is, is not told.
        'sessionId', case when actor.role in ('admin', 'super_admin') or session.therapist_id = actor.user_id then other.session_id end,
        'startTime', private.iso(greatest(lower(claim.during), lower(other.during))),
        'endTime', private.iso(least(upper(claim.during), upper(other.during)))
      )
      order by claim.resource_kind, lower(other.during), other.session_id
    )
    from unnest(wanted) as claim
    cross join lateral (
      select known.session_id, known.during from private.visit_claims as known
      where known.organization_id = claim.organization_id
        and known.resource_id = claim.resource_id
        and known.resource_kind = claim.resource_kind
        and known.during && claim.during
        and known.lanes && claim.lanes
        and known.group_key <> claim.group_key
      offset 0
    ) as other
    join public.sessions as session
      on session.organization_id = claim.organization_id and session.id = other.session_id
  );
end
$$;
comment on function private.visits_in_the_way(private.visit_claims[], private.actor) is
  'The visits that overlap these claims, as [{resource, sessionId, startTime, endTime}]: which person would be in two '
  'places, and when. sessionId is null unless the caller may read that session. Null: nothing is in the way.';

create function private.claim_leftovers(organization_id uuid, session_ids uuid[], resource_ids uuid[])
returns void
language plpgsql
set search_path = ''
as $$
declare
  wanted record;
begin
  -- One by one, since two that were let overlap may want the same time; there are few of them.
  for wanted in
    select claim.session_id, claim.group_key, array_agg(row(
      claim.resource_kind, claim.resource_id, tstzmultirange(claim.during::tstzrange), claim.lanes
    )::private.cell) as cells
    from unnest(private.visit_claims_of(organization_id, session_ids)) as claim
    where claim.resource_id = any (resource_ids)
    group by claim.session_id, claim.group_key
    order by claim.session_id
  loop
    insert into private.visit_claims
    select claim_leftovers.organization_id, wanted.session_id, wanted.group_key, cell.resource_kind, cell.resource_id,
      piece.during, cell.lanes
    from unnest(private.subtract_cells(wanted.cells, array(
      select row(known.resource_kind, known.resource_id, tstzmultirange(known.during::tstzrange), known.lanes)::private.cell
      from unnest(wanted.cells) as cell
      join private.visit_claims as known
        on known.organization_id = claim_leftovers.organization_id
        and known.resource_id = cell.resource_id
        and known.resource_kind = cell.resource_kind
        and known.during && range_merge(cell.times)
      where known.group_key <> wanted.group_key or known.session_id = wanted.session_id
    ))) as cell
    cross join lateral unnest(cell.times) as piece (during);
  end loop;
end
$$;
comment on function private.claim_leftovers(uuid, uuid[], uuid[]) is
  'Visits that an admin let overlap claim what nobody else claims of these people''s time.';

create function private.sync_visit_claims(organization_id uuid, session_ids uuid[])
returns boolean
language plpgsql
security definer
set search_path = ''
as $$
declare
  wanted private.visit_claims[];
  former private.visit_claims[];
  let_overlap uuid[];
  taken bigint;
begin
  with gone as (
    delete from private.visit_claims as claim
    using (select distinct named.id from unnest(session_ids) as named (id)) as owner
    where claim.organization_id = sync_visit_claims.organization_id and claim.session_id = owner.id
    returning claim.*
  )
  select array_agg(row(gone.*)::private.visit_claims) into former from gone;

  let_overlap := array(
    select visit.session_id from public.session_visits as visit
    where visit.organization_id = sync_visit_claims.organization_id and visit.overlap_reason is not null
      and visit.session_id = any (session_ids)
  );
  wanted := private.visit_claims_of(organization_id, array(
    select unnest(session_ids) except select unnest(let_overlap)
  ));
  -- The constraint decides, whatever was seen before.
  insert into private.visit_claims select claim.* from unnest(wanted) as claim on conflict do nothing;
  get diagnostics taken = row_count;
  if taken < cardinality(wanted) then
    return false;
  end if;
  if let_overlap <> '{}' then
    perform private.claim_leftovers(organization_id, let_overlap, array(
      select claim.resource_id from unnest(private.visit_claims_of(organization_id, let_overlap)) as claim
    ));
  end if;
  if former is not null then
    -- What others were let overlap with may be gone: the time is theirs now.
    perform private.claim_leftovers(
      sync_visit_claims.organization_id, array_agg(visit.session_id),
      array(select gone.resource_id from unnest(former) as gone)
    )
    from public.session_visits as visit
    join public.sessions as session
      on session.organization_id = visit.organization_id and session.id = visit.session_id
    where visit.organization_id = sync_visit_claims.organization_id
      and visit.overlap_reason is not null
      and visit.session_id <> all (session_ids)
      and exists (
        select from unnest(former) as gone
        where gone.resource_id in (session.therapist_id, session.client_id)
          and gone.during && tstzrange(visit.actual_start_time, visit.actual_end_time, '[)')
      )
    having count(*) > 0;
  end if;
  return true;
end
$$;
comment on function private.sync_visit_claims(uuid, uuid[]) is
  'Makes the claims of these sessions'' visits what their rows say. False: another visit is in the way, and the caller '
  'undoes what it wrote. Call it with the resources locked, or alone in the organization.';

create function private.settle_visits(organization_id uuid, session_ids uuid[], former_dates date[] default '{}')
returns void
language plpgsql
security definer
set search_path = ''
as $$
declare
  former constant text := private.enter_booking();
begin
  if not private.sync_visit_claims(organization_id, session_ids) then
    raise exception using
      errcode = 'exclusion_violation',
      constraint = 'visits_no_overlap',
      schema = 'private',
      table = 'visit_claims',
      message = 'the visit overlaps another completed visit of the same therapist or client in actual time',
      hint = 'Correct the times of one of them. An admin may let them overlap, with a reason, through complete_session or correct_visit.';
  end if;
  perform private.count_visits(settle_visits.organization_id, array_agg(session.id), former_dates)
  from public.sessions as session
  where session.organization_id = settle_visits.organization_id and session.id = any (session_ids)
    and session.status = 'completed'
  having count(*) > 0;
  perform private.leave_booking(null, former);
end
$$;
comment on function private.settle_visits(uuid, uuid[], date[]) is
  'Gives visits that were written directly exactly their claims and their units, or raises exclusion_violation (23P01), '
  'which undoes the write.';

create function private.settle_completed()
returns trigger
language plpgsql
security definer
set search_path = ''
set plan_cache_mode = 'force_generic_plan'
as $$
begin
  perform private.settle_visits(written.organization_id, written.ids)
  from (
    select completed.organization_id, array_agg(completed.id) as ids
    from (
      select session.organization_id, session.id from new_rows as session where session.status = 'completed'
      except
      select session.organization_id, session.id from old_rows as session where session.status = 'completed'
    ) as completed
    group by completed.organization_id
  ) as written;
  return null;
end
$$;
comment on function private.settle_completed() is 'Trigger: sessions completed directly claim the time of their visits, or fail.';
create trigger d_settle_completed after update on public.sessions
  referencing old table as old_rows new table as new_rows for each statement
  when (private.is_direct_write())
  execute function private.settle_completed();

create function private.guard_visit()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  if (new.organization_id, new.session_id) is distinct from (old.organization_id, old.session_id) and tg_op = 'UPDATE' then
    raise exception using
      errcode = 'check_violation', message = 'organization_id and session_id of a visit never change',
      hint = 'Correct the visit through correct_visit.';
  end if;
  perform private.take_row_organization(new.organization_id, tg_table_name);
  return new;
end
$$;
comment on function private.guard_visit() is
  'Trigger: a visit that is written directly stays its session''s, and its organization is the writer''s alone.';
select private.write_alone('{session_visits}');
create trigger refuse_counted before update of units, started_by, completed_by on public.session_visits
  for each row
  when (
    (new.units, new.started_by, new.completed_by) is distinct from (old.units, old.started_by, old.completed_by)
    and private.is_direct_write()
  )
  execute function private.refuse_derived_column('what was counted, and by whom');
create trigger b_guard_visit before insert or update on public.session_visits
  for each row
  when (private.is_direct_write())
  execute function private.guard_visit();

create function private.settle_written_visits()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.settle_visits(written.organization_id, written.ids, written.former_dates)
  from (
    select visit.organization_id, array_agg(visit.session_id) as ids,
      array_agg(distinct private.service_date(session.organization_id, session.client_id, visit.actual_start_time)) as former_dates
    from written_rows as visit
    join public.sessions as session
      on session.organization_id = visit.organization_id and session.id = visit.session_id
    group by visit.organization_id
  ) as written;
  return null;
end
$$;
comment on function private.settle_written_visits() is
  'Trigger: visits that are written directly claim their times, or fail. written_rows: what an insert has written, or what '
  'an update has changed, whose days are counted anew.';
create trigger c_settle_inserted after insert on public.session_visits
  referencing new table as written_rows for each statement
  when (private.is_direct_write())
  execute function private.settle_written_visits();
create trigger c_settle_updated after update on public.session_visits
  referencing old table as written_rows for each statement
  when (private.is_direct_write())
  execute function private.settle_written_visits();
