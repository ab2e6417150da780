-- Purpose: who joins, changes role and leaves; what people may do with their own rows; an event for each such change.
-- Objects: add_member, change_member, remove_member, my_organizations, own_therapists, set_availability_hours; the
--          guards of memberships; audit triggers on organizations, memberships, therapists, clients, caseloads,
--          client_users, rooms, availability_exceptions, organization_closures, session_groups.
-- Watch for: the triggers, not the functions, keep the rules and write the events, so direct SQL and REST leave exactly
--            the same trail.

-- Membership rules -------------------------------------------------------------------------------------------------

-- A membership stays one person's in one organization, so that its history is theirs.
create trigger guard_membership before update on public.memberships
  for each row
  when ((new.organization_id, new.user_id) is distinct from (old.organization_id, old.user_id))
  execute function private.refuse_write(
    'restrict_violation', 'organization_id and user_id of a membership never change', 'Remove this member and add the other.'
  );

create function private.keep_a_super_admin()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  affected uuid[];
begin
  affected := array(
    select distinct old_row.organization_id from old_rows as old_row where old_row.role = 'super_admin'
  );
  if affected = '{}' then
    return null;
  end if;

  -- Two super_admins who demote each other at the same moment would each still see the other one. Writing the
  -- organization's row lets the second wait, then look again (or fail with 40001 in stricter isolation).
  update public.organizations as organization
  set name = organization.name
  from (
    select locked.id from public.organizations as locked where locked.id = any (affected) order by locked.id for no key update
  ) as ordered
  where organization.id = ordered.id;

  if exists (
    select 1
    from unnest(affected) as organization (id)
    where not exists (
      select 1
      from public.memberships as membership
      where membership.organization_id = organization.id and membership.role = 'super_admin'
    )
  ) then
    raise exception using
      errcode = 'restrict_violation',
      constraint = 'memberships_keep_a_super_admin',
      schema = 'public',
      table = 'memberships',
      message = 'an organization keeps at least one super_admin',
      hint = 'Make somebody else super_admin first.';
  end if;
  return null;
end
$$;
comment on function private.keep_a_super_admin() is
  'Trigger: the last super_admin of an organization is neither removed nor demoted, also not by SQL.';
create trigger a_keep_a_super_admin_update after update on public.memberships
  referencing old table as old_rows
  for each statement execute function private.keep_a_super_admin();
create trigger a_keep_a_super_admin_delete after delete on public.memberships
  referencing old table as old_rows
  for each statement execute function private.keep_a_super_admin();
create trigger refuse_truncate before truncate on public.memberships
  for each statement execute function private.refuse_delete();
create trigger refuse_truncate before truncate on public.caseloads
  for each statement execute function private.refuse_delete();
create trigger refuse_truncate before truncate on public.client_users
  for each statement execute function private.refuse_delete();

-- Events -----------------------------------------------------------------------------------------------------------

create function private.row_ids(changed jsonb, id_columns text[])
returns uuid[]
language plpgsql
immutable
set search_path = ''
as $$
begin
  return array(
    select (changed ->> item.name)::uuid
    from unnest(id_columns) with ordinality as item (name, position)
    order by item.position
  );
end
$$;
comment on function private.row_ids(jsonb, text[]) is 'The values of a row''s id columns, in their order.';

create function private.audit_rows()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  entity text := tg_argv[0];
  id_columns text[] := string_to_array(tg_argv[1], ',');
  tenant_column text := case when tg_table_name = 'organizations' then 'id' else 'organization_id' end;
  changes jsonb;
begin
  if tg_op = 'INSERT' then
    select jsonb_agg(jsonb_build_object('after', to_jsonb(new_row))) into changes from new_rows as new_row;
  elsif tg_op = 'DELETE' then
    select jsonb_agg(jsonb_build_object('before', to_jsonb(old_row))) into changes from old_rows as old_row;
  else
    select jsonb_agg(jsonb_build_object('before', to_jsonb(old_row), 'after', to_jsonb(new_row))) into changes
    from old_rows as old_row
    full join new_rows as new_row
      on to_jsonb(old_row) -> tenant_column = to_jsonb(new_row) -> tenant_column
      and private.row_ids(to_jsonb(old_row), id_columns) = private.row_ids(to_jsonb(new_row), id_columns)
    where to_jsonb(old_row) is distinct from to_jsonb(new_row);
  end if;

  perform private.record_event(
    event.organization_id, entity || '.' || event.kind, entity, event.ids, clock_timestamp(),
    -- A group is made and moved by bookings: its event, often their first, belongs in the chain of their therapist.
    therapist_id => case entity when 'session_group' then event.therapist_id end::uuid,
    before => event.before, after => event.after
  )
  from (
    select
      change.organization_id,
      change.kind,
      array(
        select distinct id.value
        from unnest(array_agg(change.sort_key)) as listed (ids)
        cross join lateral unnest(string_to_array(listed.ids, ',')::uuid[]) as id (value)
        order by id.value
      ) as ids,
      min(coalesce(change.after, change.before) ->> 'therapist_id') as therapist_id,
      nullif(jsonb_agg(change.before order by change.sort_key), '[null]') as before,
      nullif(jsonb_agg(change.after order by change.sort_key), '[null]') as after
    from (
      select
        (coalesce(item.value -> 'after', item.value -> 'before') ->> tenant_column)::uuid as organization_id,
        array_to_string(
          private.row_ids(coalesce(item.value -> 'after', item.value -> 'before'), id_columns), ','
        ) as sort_key,
        item.value -> 'before' as before,
        item.value -> 'after' as after,
        case
          when item.value -> 'before' is null then 'added'
          when item.value -> 'after' is null then 'removed'
          when item.value #>> '{before,deleted_at}' is null and item.value #>> '{after,deleted_at}' is not null
            then 'archived'
          when item.value #>> '{before,deleted_at}' is not null and item.value #>> '{after,deleted_at}' is null
            then 'restored'
          else 'changed'
        end as kind
      from jsonb_array_elements(changes) as item (value)
    ) as change
    group by change.organization_id, change.kind
  ) as event;
  return null;
end
$$;
comment on function private.audit_rows() is
  'Trigger: one event a statement, organization and kind (added, changed, archived, restored, removed), with the rows '
  'before and after. Arguments: the entity''s name, and the columns that name it beside the organization.';

do $$
declare
  audited record;
begin
  -- The same three triggers each; a list reads better than 27 statements.
  for audited in
    select *
    from (
      values
        ('organizations', 'organization', 'id'),
        ('memberships', 'membership', 'user_id'),
        ('therapists', 'therapist', 'id'),
        ('clients', 'client', 'id'),
        ('caseloads', 'caseload', 'therapist_id,client_id'),
        ('client_users', 'client_user', 'client_id,user_id'),
        ('rooms', 'room', 'id'),
        ('availability_exceptions', 'availability_exception', 'id'),
        ('organization_closures', 'organization_closure', 'id'),
        ('session_groups', 'session_group', 'id')
    ) as list (table_name, entity, id_columns)
  loop
    execute format(
      'create trigger z_audit_insert after insert on public.%I referencing new table as new_rows '
      'for each statement execute function private.audit_rows(%L, %L)',
      audited.table_name, audited.entity, audited.id_columns
    );
    execute format(
      'create trigger z_audit_update after update on public.%I referencing old table as old_rows new table as new_rows '
      'for each statement execute function private.audit_rows(%L, %L)',
      audited.table_name, audited.entity, audited.id_columns
    );
    execute format(
      'create trigger z_audit_delete after delete on public.%I referencing old table as old_rows '
      'for each statement execute function private.audit_rows(%L, %L)',
      audited.table_name, audited.entity, audited.id_columns
    );
  end loop;
end
$$;

-- Member management ------------------------------------------------------------------------------------------------

create function private.member_answer(member public.memberships, touched jsonb default '{}')
returns jsonb
language sql
stable
set search_path = ''
return private.success(jsonb_build_object(
  'organizationId', member.organization_id, 'userId', member.user_id, 'role', member.role,
  'permissions', member.permissions, 'createdAt', private.iso(member.created_at)
) || touched);
comment on function private.member_answer(public.memberships, jsonb) is
  'The outcome of a change of members: the row as it is now, and what it touches.';

create function private.refuse_member(actor private.actor, user_id uuid, code text, detail text)
returns jsonb
language sql
set search_path = ''
return private.refuse(
  actor, 'membership.refused', array_remove(array[user_id], null), code, detail, may_never => actor.role <> 'super_admin'
);
comment on function private.refuse_member(private.actor, uuid, text, text) is
  'As private.refuse, of a change of members, which only a super_admin makes.';

create function private.add_member(user_id uuid, role public.member_role, permissions text[] default '{}')
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
  actor private.actor := private.require_actor();
  member public.memberships;
begin
  if user_id is null or role is null then
    perform private.raise_invalid(
      private.issue(case when user_id is null then 'user_id' else 'role' end, 'is required'), 'MISSING_FIELDS'
    );
  elsif not private.words_are_valid(coalesce(add_member.permissions, '{}'), 20, '^[a-z][a-z_]{0,63}$') then
    perform private.raise_invalid(private.issue('permissions', 'must be at most 20 names such as view_audit'));
  elsif actor.role <> 'super_admin' then
    return private.refuse_member(actor, user_id, 'FORBIDDEN', 'Only a super_admin manages members.');
  elsif not exists (select 1 from auth.users as person where person.id = add_member.user_id) then
    return private.refuse_member(actor, null, 'USER_NOT_FOUND', 'There is no such user. Invite her first.');
  end if;

  insert into public.memberships as existing (organization_id, user_id, role, permissions)
  values (
    actor.organization_id, add_member.user_id, add_member.role, coalesce(add_member.permissions, '{}')
  )
  on conflict do nothing
  returning existing.* into member;
  if member.user_id is null then
    return private.refuse_member(actor, user_id, 'ALREADY_A_MEMBER', 'She is a member already: change her role.');
  end if;
  perform private.require_same_role(actor);
  return private.member_answer(member);
end
$$;

create function private.alter_member(
  leaves boolean,
  user_id uuid,
  role public.member_role default null,
  permissions text[] default null,
  cancel_sessions boolean default false,
  reason text default null
)
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
  actor private.actor := private.require_actor();
  member public.memberships;
  touched_ids uuid[] := '{}';
  staff_time_ids uuid[] := '{}';
  touched jsonb;
begin
  if user_id is null then
    perform private.raise_invalid(private.issue('user_id', 'is required'), 'MISSING_FIELDS');
  elsif not private.words_are_valid(coalesce(alter_member.permissions, '{}'), 20, '^[a-z][a-z_]{0,63}$') then
    perform private.raise_invalid(private.issue('permissions', 'must be at most 20 names such as view_audit'));
  elsif actor.role <> 'super_admin' then
    return private.refuse_member(actor, user_id, 'FORBIDDEN', 'Only a super_admin manages members.');
  end if;

  -- Alone, so that no booking is made meanwhile that this would not count.
  perform private.take_organization(actor.organization_id);
  if leaves or alter_member.role = 'client' then
    touched_ids := private.sessions_to_come(actor.organization_id, user_id, null, null);
    staff_time_ids := private.staff_times_to_come(actor.organization_id, user_id, null);
  end if;
  begin
    -- While the caller may cancel: it may be their own membership, or role.
    touched := private.touched_answer(
      touched_ids, coalesce(cancel_sessions, false), reason, staff_time_ids, user_id
    );
    if leaves then
      delete from public.memberships as existing
      where existing.organization_id = actor.organization_id and existing.user_id = alter_member.user_id
      returning existing.* into member;
    else
      update public.memberships as existing
      set
        role = coalesce(alter_member.role, existing.role),
        permissions = coalesce(alter_member.permissions, existing.permissions)
      where existing.organization_id = actor.organization_id and existing.user_id = alter_member.user_id
      returning existing.* into member;
    end if;
  exception
    when restrict_violation then
      return private.refuse_member(
        actor, user_id, 'LAST_SUPER_ADMIN', 'The organization needs a super_admin: appoint another one first.'
      );
  end;
  if member.user_id is null then
    return private.refuse_member(actor, user_id, 'MEMBER_NOT_FOUND', 'She is not a member of this organization.');
  end if;
  if user_id <> actor.user_id then
    perform private.require_same_role(actor);
  end if;
  return private.member_answer(member, touched);
end
$$;
comment on function private.alter_member(boolean, uuid, public.member_role, text[], boolean, text) is
  'What public.change_member does and, when the member leaves, private.remove_member.';

create function private.remove_member(user_id uuid, cancel_sessions boolean default false, reason text default null)
returns jsonb
language sql
security definer
set search_path = ''
return private.alter_member(true, user_id, cancel_sessions => cancel_sessions, reason => reason);

select private.publish('add_member',
  'A super_admin adds a user, whom an invitation has made, to her organization. Refused: FORBIDDEN, USER_NOT_FOUND, '
  'ALREADY_A_MEMBER. Takes an id, not an address, since looking addresses up would tell who uses other clinics.'
);

select private.publish_booking('change_member', function_name => 'alter_member', first_argument => 'false', about =>
  'A super_admin changes a member''s role or permissions; null leaves them. It holds from the member''s next statement. '
  'Answers the row and {touched, cancelled, touchedSessionIds}: the sessions to come of a member whose new role renders '
  'nothing, which cancel_sessions cancels, with reason. Refused: FORBIDDEN, MEMBER_NOT_FOUND, LAST_SUPER_ADMIN.'
);

select private.publish_booking('remove_member',
  'A super_admin removes a member: from their next statement on they read and write nothing here, whatever their token '
  'says. Their records stay; a parent''s access to clients ends with it. Answers {touched, cancelled, touchedSessionIds}: '
  'their sessions to come, which cancel_sessions cancels, with reason. Refused: FORBIDDEN, MEMBER_NOT_FOUND, '
  'LAST_SUPER_ADMIN.'
);

-- One's own ----------------------------------------------------------------------------------------------------------

create function private.my_organizations()
returns table (
  organization_id uuid, name text, time_zone text, role public.member_role, permissions text[], is_active boolean,
  as_of timestamptz
)
language plpgsql
stable
security definer
set search_path = ''
as $$
begin
  return query
  select organization.id, organization.name, organization.time_zone, membership.role, membership.permissions,
    coalesce(organization.id = private.claimed_organization_id(), false), statement_timestamp()
  from public.memberships as membership
  join public.organizations as organization on organization.id = membership.organization_id
  where membership.user_id = auth.uid()
  order by organization.name, organization.id;
end
$$;

select private.publish('my_organizations',
  'The caller''s organizations, to choose among with set_active_organization; is_active is the one her token names. as_of is '
  'the database''s clock, for an app on a device whose own is wrong.'
);

create function private.own_therapists()
returns table (id uuid, display_name text)
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  tenant uuid := private.active_organization_id();
  own uuid[] := case when private.active_role() = 'client' then private.own_client_ids() else '{}' end;
begin
  return query
  select therapist.id, therapist.display_name
  from public.therapists as therapist
  where therapist.organization_id = tenant
    and (
      exists (
        select 1
        from public.caseloads as caseload
        where caseload.organization_id = tenant
          and caseload.therapist_id = therapist.id
          and caseload.client_id = any (own)
      )
      or exists (
        select 1
        from public.sessions as session
        where session.organization_id = tenant
          and session.client_id = any (own)
          and session.therapist_id = therapist.id
      )
    )
  order by therapist.display_name, therapist.id;
end
$$;

select private.publish('own_therapists',
  'For a user of role client: the names of the therapists who work, or have worked, with the clients she stands for. '
  'Row-level security hides no columns, so parents read this rather than the table, which has more.'
);

create function private.outside_hours(organization_id uuid, therapist_id uuid, as_of timestamptz)
returns tstzmultirange
language plpgsql
stable
set search_path = ''
as $$
declare
  spans constant tstzrange[] := array(
    select tstzrange(session.start_time, session.end_time, '[)')
    from public.sessions as session
    where session.organization_id = outside_hours.organization_id and session.therapist_id = outside_hours.therapist_id
      and session.status = 'scheduled' and session.start_time > as_of
    union
    select tstzrange(hold.start_time, hold.end_time, '[)')
    from public.hold_batches as batch
    join public.session_holds as hold on hold.organization_id = batch.organization_id and hold.batch_id = batch.id
    where batch.organization_id = outside_hours.organization_id and batch.therapist_id = outside_hours.therapist_id
      and batch.expires_at > as_of and hold.status = 'held'
  );
begin
  return (
    select coalesce(range_agg(closed.during), '{}')
    from private.outside_availability(organization_id, therapist_id, spans) as closed
    where closed.what = 'availability'
  );
end
$$;
comment on function private.outside_hours(uuid, uuid, timestamptz) is
  'The parts of a therapist''s sessions to come and live holds that lie outside their weekly and extra hours.';

create function private.set_availability_hours(
  actor private.actor,
  availability_hours jsonb,
  therapist_id uuid default null
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  wanted uuid := coalesce(set_availability_hours.therapist_id, actor.user_id);
  hours jsonb := nullif(set_availability_hours.availability_hours, 'null');
  changed uuid;
  as_of timestamptz;
  outside tstzmultirange;
  touched_ids uuid[];
begin
  if not private.availability_hours_are_valid(hours) then
    perform private.raise_invalid(private.issue(
      'availability_hours',
      'must be null or {"monday": [{"start": "08:00", "end": "18:00"}], ...}, with at most 12 windows a day'
    ));
  end if;
  if actor.role in ('admin', 'super_admin') or (actor.role = 'therapist' and wanted = actor.user_id) then
    -- Alone, so that no booking is made meanwhile that this would not count.
    perform private.take_organization(actor.organization_id);
    perform private.require_same_role(actor);
    update public.therapists as therapist
    set availability_hours = hours
    where therapist.organization_id = actor.organization_id and therapist.id = wanted and therapist.deleted_at is null
    returning therapist.id into changed;
  end if;
  if changed is null then
    return private.refuse(
      actor, 'therapist.refused', array[wanted], 'FORBIDDEN', 'You may not change this therapist''s hours.'
    );
  end if;
  -- One moment for what is counted: a session may begin, or a hold run out, meanwhile.
  as_of := clock_timestamp();
  outside := private.outside_hours(actor.organization_id, changed, as_of);
  touched_ids := array(
    select session.id
    from unnest(private.sessions_to_come(actor.organization_id, changed, null, null)) with ordinality as named (id, position)
    join public.sessions as session on session.organization_id = actor.organization_id and session.id = named.id
    where tstzrange(session.start_time, session.end_time, '[)') && outside
    order by named.position
  );
  return private.success(
    jsonb_build_object(
      'therapistId', changed, 'availabilityHours', hours,
      'touched', cardinality(touched_ids), 'touchedSessionIds', to_jsonb(touched_ids[1:100])
    ) || (private.held_in(actor.organization_id, changed, outside, as_of) - 'keys')
  );
end
$$;

select private.publish_booking('set_availability_hours',
  'A therapist sets their own weekly hours (civil time of their zone; null for no limit), an admin anybody''s. The only '
  'columns of their profile that a therapist writes. Answers {therapistId, availabilityHours, touched, touchedSessionIds, '
  'touchedHolds, touchedHoldsUntil}: touched are the sessions to come that lie outside the hours, with the first hundred; '
  'they stay until somebody moves or cancels them. touchedHolds are live holds there, which can still be confirmed until '
  'touchedHoldsUntil (null: there is none). Refused: FORBIDDEN.'
);
