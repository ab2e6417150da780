-- Purpose: time of therapists without a client: meetings, supervision, drives, documentation, training, breaks.
-- Objects: staff_times, staff_time_members; who may see them; what a direct write of them obeys.
-- Watch for: one staff time owns the claims of all its therapists and of its room (private.places_of), under the one
--            constraint of private.claims. So a meeting of five blocks five or nobody. It has no text of its own: a title
--            would soon name a client. The RPCs that users call are in staff_time_booking.sql.

create type public.staff_time_kind as enum ('meeting', 'supervision', 'drive', 'documentation', 'training', 'break');
comment on type public.staff_time_kind is 'What therapists do when they are with no client. None of it is billed.';

create table public.staff_times (
  organization_id uuid not null references public.organizations (id),
  id uuid not null default gen_random_uuid(),
  kind public.staff_time_kind not null,
  start_time timestamptz not null,
  end_time timestamptz not null,
  time_zone text not null references public.time_zones (name),
  -- squawk-ignore prefer-timestamp-tz
  civil_start timestamp not null default '2000-01-01',
  room_id uuid,
  series_id uuid,
  cancelled_at timestamptz,
  created_by uuid default auth.uid(),
  created_at timestamptz not null default clock_timestamp(),
  updated_at timestamptz not null default clock_timestamp(),
  primary key (organization_id, id),
  foreign key (organization_id, room_id) references public.rooms (organization_id, id),
  constraint staff_times_times check (
    start_time >= '2000-01-01' and end_time < '2100-01-01' and end_time > start_time
    and end_time - start_time <= interval '12 hours'
  )
);
comment on table public.staff_times is
  'Time in which therapists are with no client. It blocks all of its members and its room. Never deleted: cancelled.';
comment on column public.staff_times.time_zone is 'The IANA zone it was entered in: its civil time is local to it.';
comment on column public.staff_times.civil_start is 'The civil start it was entered for, in time_zone.';
comment on column public.staff_times.series_id is 'Equal for all that were entered together; null for one alone.';
comment on column public.staff_times.cancelled_at is 'Since when it blocks nobody. A cancelled one stays as it is.';
create index staff_times_start_idx on public.staff_times (organization_id, start_time);
create index staff_times_room_idx on public.staff_times (organization_id, room_id) where room_id is not null;
create index staff_times_series_idx on public.staff_times (organization_id, series_id) where series_id is not null;
create index staff_times_time_zone_idx on public.staff_times (time_zone);

create table public.staff_time_members (
  organization_id uuid not null,
  staff_time_id uuid not null,
  therapist_id uuid not null,
  primary key (organization_id, staff_time_id, therapist_id),
  foreign key (organization_id, staff_time_id) references public.staff_times (organization_id, id),
  foreign key (organization_id, therapist_id) references public.therapists (organization_id, id)
);
comment on table public.staff_time_members is 'The therapists whose time a staff time takes.';
create index staff_time_members_therapist_idx on public.staff_time_members (organization_id, therapist_id);

create trigger refuse_delete before delete or truncate on public.staff_times
  for each statement execute function private.refuse_delete();
create trigger refuse_truncate before truncate on public.staff_time_members
  for each statement execute function private.refuse_delete();

alter table public.staff_time_members enable row level security;
create policy sessions_scoped_access on public.staff_time_members for select to authenticated
  using (
    organization_id = (select private.claimed_organization_id())
    and (
      (therapist_id = (select auth.uid()) and (select private.active_role()) = 'therapist')
      or (select private.is_admin())
    )
  );
comment on policy sessions_scoped_access on public.staff_time_members is
  'A therapist sees that they take part, and not who else does; admins see all.';
grant select on public.staff_time_members to authenticated;
grant select, insert, delete on public.staff_time_members to service_role;

alter table public.staff_times enable row level security;
create policy sessions_scoped_access on public.staff_times for select to authenticated
  using (
    organization_id = (select private.claimed_organization_id())
    and (
      (select private.is_admin())
      or (
        (select private.active_role()) = 'therapist'
        and exists (
          select 1
          from public.staff_time_members as member
          where member.organization_id = staff_times.organization_id
            and member.staff_time_id = staff_times.id
            and member.therapist_id = (select auth.uid())
        )
      )
    )
  );
comment on policy sessions_scoped_access on public.staff_times is
  'A therapist reads the staff times they take part in, admins all. Families read none.';
grant select on public.staff_times to authenticated;
grant select, insert, update on public.staff_times to service_role;

-- What holds of every staff time ----------------------------------------------------------------------------------------

create function private.staff_time_issue(
  organization_id uuid,
  therapist_ids uuid[],
  room_id uuid,
  out rule text,
  out message text
)
language plpgsql
stable
set search_path = ''
as $$
begin
  if exists (
    select from unnest(therapist_ids) as named (id)
    where not exists (
      select from public.therapists as therapist
      join public.memberships as member
        on member.organization_id = therapist.organization_id and member.user_id = therapist.id and member.role <> 'client'
      where therapist.organization_id = staff_time_issue.organization_id and therapist.id = named.id
        and therapist.deleted_at is null
    )
  ) then
    rule := 'staff_time_bookable';
    message := 'a therapist of this staff time is archived, or has no membership that renders';
  elsif staff_time_issue.room_id is not null and not exists (
    select from public.rooms as room
    where room.organization_id = staff_time_issue.organization_id and room.id = staff_time_issue.room_id
      and room.deleted_at is null
  ) then
    rule := 'staff_time_bookable';
    message := 'the room of this staff time is archived, or there is none';
  end if;
end
$$;
comment on function private.staff_time_issue(uuid, uuid[], uuid) is
  'What forbids these therapists and this room to be taken by a staff time, whoever writes it; no rule: nothing does.';

create function private.staff_time_facts(organization_id uuid, staff_time_ids uuid[])
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    select jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
      'id', known.id, 'kind', known.kind, 'start_time', known.start_time, 'end_time', known.end_time,
      'time_zone', known.time_zone, 'room_id', known.room_id, 'series_id', known.series_id,
      'cancelled_at', known.cancelled_at, 'therapist_ids', members.ids
    )) order by named.position)
    from unnest(staff_time_ids) with ordinality as named (id, position)
    cross join lateral (
      select found.* from public.staff_times as found
      where found.organization_id = staff_time_facts.organization_id and found.id = named.id offset 0
    ) as known
    cross join lateral (
      select jsonb_agg(member.therapist_id order by member.therapist_id) as ids
      from public.staff_time_members as member
      where member.organization_id = staff_time_facts.organization_id and member.staff_time_id = named.id
    ) as members
  );
end
$$;
comment on function private.staff_time_facts(uuid, uuid[]) is
  'What of these staff times belongs in an audit event, in the order of their ids, in which the event lists them.';

-- Direct writes (service_role, SQL) ---------------------------------------------------------------------------------------

create function private.prepare_staff_time()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.take_row_organization(new.organization_id, tg_table_name);
  if tg_op = 'INSERT' then
    if private.id_is_taken(new.organization_id, new.id, tg_table_name) then
      raise exception using
        errcode = 'unique_violation', message = 'id: belongs to another booking', hint = 'Leave the id out.';
    end if;
  elsif (new.organization_id, new.id) is distinct from (old.organization_id, old.id) or old.cancelled_at is not null then
    raise exception using
      errcode = 'check_violation', constraint = 'staff_time_identity', schema = 'public', table = 'staff_times',
      message = 'a staff time keeps its id, and a cancelled one stays as it is',
      hint = 'Enter another one.';
  else
    new.created_at := old.created_at;
    new.created_by := old.created_by;
    new.updated_at := clock_timestamp();
  end if;
  new.civil_start := case
    -- What stays where it is keeps the civil time it was entered for, also after its zone's law has changed.
    when tg_op = 'UPDATE' and (new.start_time, new.time_zone) = (old.start_time, old.time_zone) then old.civil_start
    -- The table's own checks refuse the others, and say why.
    when new.start_time >= '2000-01-01' and new.end_time < '2100-01-01'
      and new.time_zone in (select zone.name from public.time_zones as zone)
      then new.start_time at time zone new.time_zone
    else '2000-01-01'
  end;
  return new;
end
$$;
comment on function private.prepare_staff_time() is
  'Trigger: what a staff time that is written directly may be, and what is derived from it.';

create function private.prepare_staff_time_member()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  member public.staff_time_members := case when tg_op = 'DELETE' then old else new end;
begin
  perform private.take_row_organization(member.organization_id, tg_table_name);
  if tg_op = 'UPDATE' or exists (
    select from public.staff_times as known
    where known.organization_id = member.organization_id and known.id = member.staff_time_id
      and known.cancelled_at is not null
  ) then
    raise exception using
      errcode = 'check_violation', constraint = 'staff_time_identity', schema = 'public', table = 'staff_time_members',
      message = 'a member of a staff time is added or removed, and a cancelled staff time stays as it is',
      hint = 'Delete the row and insert another.';
  end if;
  return member;
end
$$;
comment on function private.prepare_staff_time_member() is
  'Trigger: who takes part in a staff time is written directly only while it is not cancelled.';

create function private.settle_staff_times(organization_id uuid, staff_time_ids uuid[])
returns void
language plpgsql
security definer
set search_path = ''
as $$
declare
  issue record;
  former text;
begin
  select found.rule, found.message into issue
  from unnest(staff_time_ids) as named (id)
  join public.staff_times as known
    on known.organization_id = settle_staff_times.organization_id and known.id = named.id and known.cancelled_at is null
  cross join lateral private.staff_time_issue(known.organization_id, array(
    select member.therapist_id from public.staff_time_members as member
    where member.organization_id = known.organization_id and member.staff_time_id = known.id
  ), known.room_id) as found
  where found.rule is not null
  limit 1;
  if issue.rule is not null then
    raise exception using
      errcode = 'check_violation', constraint = issue.rule, schema = 'public', table = 'staff_times',
      message = issue.message, hint = 'Only therapists and rooms that can be booked take part.';
  end if;
  former := private.enter_booking();
  if not private.sync_claims(organization_id, staff_time_ids) then
    raise exception using
      errcode = 'exclusion_violation', constraint = 'claims_no_overlap', schema = 'private', table = 'claims',
      message = 'the staff time overlaps a session, a hold or another staff time of one of its therapists or of its room',
      hint = 'Choose another time, or wait until the hold in the way has expired.';
  end if;
  perform private.leave_booking(null, former);
end
$$;
comment on function private.settle_staff_times(uuid, uuid[]) is
  'Gives staff times that were written directly exactly their claims, or raises, which undoes the write.';

create function private.settle_written_staff_times()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.settle_staff_times(written.organization_id, written.ids),
    private.record_event(
      written.organization_id, written.action, 'staff_time', written.ids, clock_timestamp(),
      after => private.staff_time_facts(written.organization_id, written.ids)
    )
  from (
    select known.organization_id, array_agg(known.id order by known.start_time, known.id) as ids, case
      when tg_op = 'INSERT' then 'staff_time.added'
      when known.cancelled_at is not null then 'staff_time.cancelled'
      else 'staff_time.changed'
    end as action
    from new_rows as known
    group by 1, 3
  ) as written;
  return null;
end
$$;
comment on function private.settle_written_staff_times() is
  'Trigger: staff times that were written directly claim their time, or fail; one audit event for each kind of change.';

create function private.settle_staff_time_members()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.settle_staff_times(written.organization_id, written.ids),
    private.record_event(
      written.organization_id, 'staff_time.changed', 'staff_time', written.ids, clock_timestamp(),
      after => private.staff_time_facts(written.organization_id, written.ids)
    )
  from (
    select member.organization_id, array_agg(distinct member.staff_time_id) as ids
    from member_rows as member
    group by member.organization_id
  ) as written;
  return null;
end
$$;
comment on function private.settle_staff_time_members() is
  'Trigger: who was added to a staff time directly is blocked by it, and who was removed is free.';

select private.write_alone('{staff_times}');
create trigger b_prepare_staff_time before insert or update on public.staff_times
  for each row
  when (private.is_direct_write())
  execute function private.prepare_staff_time();
create trigger c_settle_inserted after insert on public.staff_times
  referencing new table as new_rows for each statement
  when (private.is_direct_write())
  execute function private.settle_written_staff_times();
create trigger c_settle_updated after update on public.staff_times
  referencing new table as new_rows for each statement
  when (private.is_direct_write())
  execute function private.settle_written_staff_times();

select private.write_alone('{staff_time_members}', 'insert or update or delete');
create trigger b_prepare_member before insert or update or delete on public.staff_time_members
  for each row
  when (private.is_direct_write())
  execute function private.prepare_staff_time_member();
create trigger c_settle_inserted after insert on public.staff_time_members
  referencing new table as member_rows for each statement
  when (private.is_direct_write())
  execute function private.settle_staff_time_members();
create trigger c_settle_deleted after delete on public.staff_time_members
  referencing old table as member_rows for each statement
  when (private.is_direct_write())
  execute function private.settle_staff_time_members();
