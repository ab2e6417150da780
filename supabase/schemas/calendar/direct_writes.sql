-- Purpose: sessions, groups and what rules them, written directly (REST, SQL, Studio), obey the same rules as bookings.
-- Objects: session_change_issue (the status machine), prepare_session, settle_written and the triggers that call them.
-- Watch for: the triggers here are for direct writes only; the booking functions decide the same rules by the same
--            functions. Users (role authenticated) may write what they could book; service_role and SQL may also place
--            in the past and outside hours. Everything else holds for everybody.

create function private.refuse_write(rule text, message text, hint text)
returns void
language plpgsql
set search_path = ''
as $$
begin
  raise exception using
    errcode = 'check_violation',
    constraint = refuse_write.rule,
    schema = 'public',
    table = 'sessions',
    message = refuse_write.message,
    hint = refuse_write.hint;
end
$$;
comment on function private.refuse_write(text, text, text) is
  'Refuses a direct write with check_violation (23514), naming the rule as its constraint.';

create function private.session_change_issue(old public.sessions, new public.sessions)
returns private.broken_rule
language plpgsql
stable
set search_path = ''
as $$
declare
  broken private.broken_rule;
  moved constant boolean := (
    new.therapist_id, new.start_time, new.end_time, new.room_id, new.buffer_before_minutes, new.buffer_after_minutes,
    new.group_id
  ) is distinct from (
    old.therapist_id, old.start_time, old.end_time, old.room_id, old.buffer_before_minutes, old.buffer_after_minutes,
    old.group_id
  );
begin
  if (new.organization_id, new.id, new.client_id) is distinct from (old.organization_id, old.id, old.client_id) then
    broken.rule := 'session_identity';
    broken.message := 'organization_id, id and client_id of a session never change';
    broken.hint := 'Cancel this session and book another.';
  elsif new.status <> old.status and not (
    (old.status = 'scheduled' and new.status in ('in_progress', 'cancelled', 'no_show'))
    or (old.status = 'in_progress' and new.status in ('completed', 'cancelled', 'no_show'))
  ) then
    broken.rule := 'session_status';
    broken.message := format('a session cannot go from %s to %s', old.status, new.status);
    broken.hint := 'Allowed: scheduled -> in_progress -> completed; scheduled or in_progress -> cancelled or no_show.';
  elsif new.status <> old.status and new.status = 'in_progress' and old.start_time > clock_timestamp() + interval '12 hours' then
    broken.rule := 'session_not_today';
    broken.message := 'a session begins at most 12 hours before the time it is booked for';
    broken.hint := 'Move it first.';
  elsif new.status <> old.status and new.status = 'no_show' and old.start_time > clock_timestamp() then
    broken.rule := 'session_not_begun';
    broken.message := 'a session that has not begun cannot be missed yet';
    broken.hint := 'Cancel it.';
  elsif moved and old.status <> 'scheduled'
    -- A cancelled member goes where its group goes, by the foreign key, or stays behind in a group of its own.
    and not (old.status in ('cancelled', 'no_show') and new.group_id is not null) then
    broken.rule := 'session_not_movable';
    broken.message := format('a session that is %s cannot be moved', old.status);
    broken.hint := 'Only scheduled sessions move; book a new session instead.';
  elsif old.status = 'completed' and (
    new.cpt_code, new.cpt_modifiers, new.session_type, new.location_type, new.time_zone, new.lanes
  ) is distinct from (
    old.cpt_code, old.cpt_modifiers, old.session_type, old.location_type, old.time_zone, old.lanes
  ) then
    broken.rule := 'session_frozen';
    broken.message := 'the record of a completed session does not change';
    broken.hint := 'What was rendered is corrected, with a reason, through correct_visit.';
  end if;
  return broken;
end
$$;
comment on function private.session_change_issue(public.sessions, public.sessions) is
  'What forbids this change of a session: its identity, the status machine, or that it has begun or is completed.';

create function private.live_move_of(organization_id uuid, session_ids uuid[], as_of timestamptz)
returns timestamptz
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    select max(batch.expires_at)
    from unnest(session_ids) as named (id)
    join public.session_holds as hold
      on hold.organization_id = live_move_of.organization_id and hold.session_id = named.id and hold.status = 'held'
    join public.hold_batches as batch on batch.organization_id = hold.organization_id and batch.id = hold.batch_id
    where batch.expires_at > as_of
  );
end
$$;
comment on function private.live_move_of(uuid, uuid[], timestamptz) is
  'When the live move of any of these sessions ends; null when none is being moved.';

create function private.id_is_taken(organization_id uuid, id uuid, table_name name)
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  -- In its own table the primary key says so, and an upsert finds the row that it is to change.
  if (case table_name
    when 'sessions' then exists (
      select from public.sessions as known
      where (known.organization_id, known.id) = (id_is_taken.organization_id, id_is_taken.id))
    when 'session_groups' then exists (
      select from public.session_groups as known
      where (known.organization_id, known.id) = (id_is_taken.organization_id, id_is_taken.id))
    else exists (
      select from public.staff_times as known
      where (known.organization_id, known.id) = (id_is_taken.organization_id, id_is_taken.id))
  end) then
    return false;
  end if;
  -- Claims are known by their owner's id: two owners of one id would share a claim, and could be booked at once.
  -- By the primary keys, whatever the planner believes: each look asks for a key's own columns, and for one row.
  return exists (
    (select known.organization_id, known.id from public.session_holds as known
      where (known.organization_id, known.id) = (id_is_taken.organization_id, id_is_taken.id) limit 1)
    union all
    (select known.organization_id, known.id from public.session_groups as known
      where (known.organization_id, known.id) = (id_is_taken.organization_id, id_is_taken.id) limit 1)
    union all
    (select known.organization_id, known.id from public.hold_batches as known
      where (known.organization_id, known.id) = (id_is_taken.organization_id, id_is_taken.id) limit 1)
    union all
    (select known.organization_id, known.id from public.sessions as known
      where (known.organization_id, known.id) = (id_is_taken.organization_id, id_is_taken.id) limit 1)
    union all
    (select known.organization_id, known.id from public.staff_times as known
      where (known.organization_id, known.id) = (id_is_taken.organization_id, id_is_taken.id) limit 1)
  );
end
$$;
comment on function private.id_is_taken(uuid, uuid, name) is
  'Whether a session, a group, a hold, a batch or a staff time of the organization has this id, which is to be of another '
  'kind: a row of this table.';

create function private.prepare_session()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  issue private.broken_rule;
  places_anew boolean := true;
  serves_anew boolean := true;
  is_elsewhere boolean := true;
begin
  perform private.take_row_organization(new.organization_id, tg_table_name);
  new.updated_at := clock_timestamp();
  if tg_op = 'INSERT' then
    new.created_at := new.updated_at;
  end if;
  if tg_op = 'UPDATE' then
    issue := private.session_change_issue(old, new);
    places_anew := (
      new.therapist_id, new.client_id, new.start_time, new.end_time, new.room_id, new.group_id, new.time_zone,
      new.buffer_before_minutes, new.buffer_after_minutes
    ) is distinct from (
      old.therapist_id, old.client_id, old.start_time, old.end_time, old.room_id, old.group_id, old.time_zone,
      old.buffer_before_minutes, old.buffer_after_minutes
    );
    serves_anew := (new.cpt_code, new.session_type) is distinct from (old.cpt_code, old.session_type);
    is_elsewhere := new.location_type is distinct from old.location_type;
    new.created_at := old.created_at;
    new.created_by := old.created_by;
  elsif new.status <> 'scheduled' then
    perform private.refuse_write('session_status', format('a session begins as scheduled, not %s', new.status),
      'Insert it as scheduled, then change its status.');
  elsif private.id_is_taken(new.organization_id, new.id, tg_table_name) then
    raise exception using
      errcode = 'unique_violation', message = 'id: belongs to another booking', hint = 'Leave the id out.';
  end if;
  if (
    new.start_time >= '2000-01-01' and new.end_time < '2100-01-01' and new.end_time > new.start_time
    and num_nulls(new.therapist_id, new.client_id, new.buffer_before_minutes, new.buffer_after_minutes) = 0
    and exists (select from public.time_zones as known where known.name = new.time_zone)
  ) is not true then
    -- The table's own constraints refuse it, and say why.
    new.civil_start := '2000-01-01';
    new.lanes := '{[0,2147483647)}';
    new.cpt_modifiers := coalesce(new.cpt_modifiers, '{}');
    return new;
  end if;
  if issue.rule is not null then
    perform private.refuse_write(issue.rule, issue.message, issue.hint);
  end if;

  if (places_anew or serves_anew or is_elsewhere) and new.status not in ('cancelled', 'no_show') then
    issue := private.written_session_issue(
      new, case when tg_op = 'UPDATE' then old end, places_anew, auth.role() = 'authenticated'
    );
    if issue.rule = 'session_bookable' and auth.role() = 'authenticated' then
      raise exception using errcode = 'insufficient_privilege', message = issue.message, hint = issue.hint;
    elsif issue.rule is not null then
      perform private.refuse_write(issue.rule, issue.message, issue.hint);
    end if;
  end if;
  if places_anew or serves_anew then
    if tg_op = 'INSERT' or (new.start_time, new.time_zone) is distinct from (old.start_time, old.time_zone) then
      new.civil_start := new.start_time at time zone new.time_zone;
    end if;
    -- What keeps its client's time and its service keeps its lanes, those among them that an admin let run beside another.
    if tg_op = 'INSERT' or serves_anew or (new.start_time, new.end_time) is distinct from (old.start_time, old.end_time) then
      new.lanes := private.client_lanes(
        new.organization_id, new.client_id,
        private.service_code_at(new.organization_id, new.client_id, new.cpt_code, new.session_type, new.start_time),
        new.start_time, new.end_time
      );
    end if;
  end if;
  if new.cpt_modifiers is null then
    new.cpt_modifiers := private.derived_modifiers(new);
  elsif tg_op = 'UPDATE' and (places_anew or serves_anew or is_elsewhere) and new.cpt_modifiers = old.cpt_modifiers
    and new.status in ('scheduled', 'in_progress')
  then
    new.cpt_modifiers := private.followed_modifiers(old, new);
  end if;
  return new;
end
$$;
comment on function private.prepare_session() is
  'Trigger: the rules of a session that is written directly, and the facts that are derived from it.';

create function private.settle_written(
  organization_id uuid,
  moved_ids uuid[],
  former_group_ids uuid[],
  served_ids uuid[]
)
returns void
language plpgsql
security definer
set search_path = ''
as $$
declare
  former constant text := private.enter_booking();
begin
  if served_ids <> '{}' then
    perform private.stop_moves(organization_id, array(
      select session.id
      from unnest(served_ids) as named (id)
      cross join lateral (
        select known.id, known.status from public.sessions as known
        where known.organization_id = settle_written.organization_id and known.id = named.id offset 0
      ) as session
      where session.status <> 'scheduled'
    ), clock_timestamp());
  end if;
  if moved_ids <> '{}' and not private.sync_claims(
    organization_id, moved_ids || private.claim_dependents(organization_id, moved_ids, former_group_ids)
  ) then
    raise exception using
      errcode = 'exclusion_violation',
      constraint = 'claims_no_overlap',
      schema = 'private',
      table = 'claims',
      message = 'the session overlaps another booking or hold of the same therapist, client or room',
      hint = 'Choose another time, or wait until the hold in the way has expired.';
  end if;
  if served_ids <> '{}' then
    perform private.settle_units(organization_id, served_ids);
  end if;
  perform private.leave_booking(null, former);
end
$$;
comment on function private.settle_written(uuid, uuid[], uuid[], uuid[]) is
  'Gives sessions that were written directly exactly their claims and their units, or raises, which undoes the write. '
  'moved_ids: whose claims may have changed; served_ids: whose units may have.';

create function private.settle_inserted()
returns trigger
language plpgsql
security definer
set search_path = ''
set plan_cache_mode = 'force_generic_plan'
as $$
begin
  perform private.settle_written(written.organization_id, written.ids, '{}', written.ids),
    private.audit_written(written.organization_id, '[]', written.rows)
  from (
    select session.organization_id, array_agg(session.id) as ids, jsonb_agg(to_jsonb(session)) as rows
    from new_rows as session
    group by session.organization_id
  ) as written;
  return null;
end
$$;
comment on function private.settle_inserted() is 'Trigger: sessions inserted directly claim their time and take their units, or fail.';

create function private.settle_updated()
returns trigger
language plpgsql
security definer
set search_path = ''
set plan_cache_mode = 'force_generic_plan'
as $$
begin
  -- Old and new rows meet by set operations, sorted or hashed: a join would be planned for the few rows of the first
  -- statement, and grow with the square of a clinic's day.
  perform private.settle_written(
      written.organization_id, array(
        select moved.id
        from (
          select session.id, session.therapist_id, session.start_time, session.end_time, session.room_id, session.group_id,
            session.buffer_before_minutes, session.buffer_after_minutes, session.lanes,
            session.status in ('cancelled', 'no_show') as has_ended
          from new_rows as session
          where session.organization_id = written.organization_id
          except
          select session.id, session.therapist_id, session.start_time, session.end_time, session.room_id, session.group_id,
            session.buffer_before_minutes, session.buffer_after_minutes, session.lanes,
            session.status in ('cancelled', 'no_show')
          from old_rows as session
          where session.organization_id = written.organization_id
        ) as moved
      ),
      written.group_ids,
      array(
        select served.id
        from (
          select session.id, session.therapist_id, session.start_time, session.end_time, session.status, session.cpt_code,
            session.session_type
          from new_rows as session
          where session.organization_id = written.organization_id
          except
          select session.id, session.therapist_id, session.start_time, session.end_time, session.status, session.cpt_code,
            session.session_type
          from old_rows as session
          where session.organization_id = written.organization_id
        ) as served
      )
    ),
    private.audit_written(written.organization_id, written.before, (
      select jsonb_agg(to_jsonb(session)) from new_rows as session where session.organization_id = written.organization_id
    ))
  from (
    select session.organization_id, jsonb_agg(to_jsonb(session)) as before,
      coalesce(array_agg(distinct session.group_id) filter (where session.group_id is not null), '{}') as group_ids
    from old_rows as session
    group by session.organization_id
  ) as written;
  return null;
end
$$;
comment on function private.settle_updated() is 'Trigger: sessions changed directly claim their new time or none; units follow.';

create function private.guard_group()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.take_row_organization(new.organization_id, tg_table_name);
  if (tg_op = 'INSERT' or new.id <> old.id) and private.id_is_taken(new.organization_id, new.id, tg_table_name) then
    raise exception using
      errcode = 'unique_violation', message = 'id: belongs to another booking', hint = 'Leave the id out.';
  elsif tg_op = 'UPDATE' and exists (
    select from public.session_holds as hold
    join public.hold_batches as batch on batch.organization_id = hold.organization_id and batch.id = hold.batch_id
    where hold.organization_id = new.organization_id
      and hold.status = 'held'
      and batch.expires_at > clock_timestamp()
      and (hold.group_id = new.id or hold.session_id in (
        select member.id from public.sessions as member
        where member.organization_id = new.organization_id and member.group_id = new.id
      ))
  ) then
    perform private.refuse_write('group_being_booked',
      'a place in the group is held, or the group is being moved: it stays where it is until that hold ends',
      'Confirm or release the hold first, or wait until it has expired.');
  end if;
  return new;
end
$$;
comment on function private.guard_group() is 'Trigger: a group that is being joined or moved through a hold is not moved directly.';

create function private.keep_ended_members(organization_id uuid, group_ids uuid[])
returns void
language plpgsql
security definer
set search_path = ''
as $$
declare
  before jsonb;
  former text;
begin
  select jsonb_agg(to_jsonb(member)) into before
  from public.sessions as member
  where member.organization_id = keep_ended_members.organization_id and member.group_id = any (group_ids)
    and member.status in ('cancelled', 'no_show');
  if before is null then
    return;
  end if;
  former := private.enter_booking();
  -- Reports keep the time a cancelled member was booked for, and what notice was given: the ended members of a group that
  -- moves are split off into a group of their own, at the old time.
  with ended as (
    select moved.id, gen_random_uuid() as former_id
    from public.session_groups as moved
    where moved.organization_id = keep_ended_members.organization_id and moved.id = any (group_ids)
      and exists (
        select from public.sessions as member
        where member.organization_id = moved.organization_id and member.group_id = moved.id
          and member.status in ('cancelled', 'no_show')
      )
  ),
  former as (
    insert into public.session_groups (
      organization_id, id, therapist_id, room_id, start_time, end_time, buffer_before_minutes, buffer_after_minutes
    )
    select moved.organization_id, ended.former_id, moved.therapist_id, moved.room_id, moved.start_time, moved.end_time,
      moved.buffer_before_minutes, moved.buffer_after_minutes
    from ended
    join public.session_groups as moved
      on moved.organization_id = keep_ended_members.organization_id and moved.id = ended.id
  )
  update public.sessions as member
  set group_id = ended.former_id
  from ended
  where member.organization_id = keep_ended_members.organization_id
    and member.group_id = ended.id
    and member.status in ('cancelled', 'no_show');
  perform private.audit_written(organization_id, before, (
    select jsonb_agg(to_jsonb(member))
    from jsonb_array_elements(before) as item (value)
    join public.sessions as member
      on member.organization_id = keep_ended_members.organization_id and member.id = (item.value ->> 'id')::uuid
  ));
  perform private.leave_booking(null, former);
end
$$;
comment on function private.keep_ended_members(uuid, uuid[]) is
  'Before these groups move: their cancelled and missed members stay behind, in a group at the old time.';

create function private.leave_ended_members()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.keep_ended_members(new.organization_id, array[new.id]);
  return new;
end
$$;
comment on function private.leave_ended_members() is 'Trigger: see private.keep_ended_members.';

create function private.settle_groups()
returns trigger
language plpgsql
security definer
set search_path = ''
set plan_cache_mode = 'force_generic_plan'
as $$
begin
  perform private.settle_written(written.organization_id, array(
    select member.id from public.sessions as member
    where member.organization_id = written.organization_id and member.group_id = any (written.ids)
  ), written.ids, '{}')
  from (
    select known.organization_id, array_agg(known.id) as ids from new_rows as known group by known.organization_id
  ) as written;
  return null;
end
$$;
comment on function private.settle_groups() is 'Trigger: a group that was moved directly claims its new place, with its members.';

select private.write_alone('{sessions,session_groups}');
create trigger b_prepare_session before insert or update on public.sessions
  for each row
  when (private.is_direct_write())
  execute function private.prepare_session();
create trigger c_settle_inserted after insert on public.sessions
  referencing new table as new_rows for each statement
  when (private.is_direct_write())
  execute function private.settle_inserted();
create trigger c_settle_updated after update on public.sessions
  referencing old table as old_rows new table as new_rows for each statement
  when (private.is_direct_write())
  execute function private.settle_updated();

create trigger b_guard_group before insert or update on public.session_groups
  for each row
  when (private.is_direct_write())
  execute function private.guard_group();
create trigger c_leave_ended_members before update on public.session_groups
  for each row
  when (
    private.is_direct_write()
    and (new.therapist_id, new.start_time, new.end_time) is distinct from (old.therapist_id, old.start_time, old.end_time)
  )
  execute function private.leave_ended_members();
create trigger d_settle_groups after update on public.session_groups
  referencing new table as new_rows for each statement
  when (private.is_direct_write())
  execute function private.settle_groups();
