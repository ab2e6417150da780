-- Purpose: sessions that are written directly leave the same record as bookings.
-- Objects: audit_written, rows_of_sessions; what a direct cancellation stores.
-- Watch for: one event for each statement, organization and kind of change. The booking functions write their own.

create function private.audit_written(organization_id uuid, before jsonb, after jsonb)
returns void
language plpgsql
security definer
set search_path = ''
as $$
begin
  insert into public.session_cancellations (organization_id, session_id, cancelled_by, cancelled_by_role)
  select audit_written.organization_id, changed.id, auth.uid(), coalesce(private.active_role()::text, session_user)
  from private.changed_sessions(audit_written.before, audit_written.after) as changed
  where changed.action = 'session.cancelled'
  on conflict do nothing;

  perform private.record_event(
    audit_written.organization_id, changed.action, 'session', array_agg(changed.id order by changed.start_time, changed.id),
    clock_timestamp(),
    therapist_id => min(changed.therapist_id)::uuid,
    before => case when audit_written.before <> '[]' then jsonb_agg(changed.before order by changed.start_time, changed.id) end,
    after => jsonb_agg(changed.after order by changed.start_time, changed.id)
  )
  from private.changed_sessions(audit_written.before, audit_written.after) as changed
  group by changed.action;
end
$$;
comment on function private.audit_written(uuid, jsonb, jsonb) is
  'Records what a direct statement did to sessions: one event for each kind of change, before -> after.';

create function private.rows_of_sessions(organization_id uuid, session_ids uuid[])
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    select coalesce(jsonb_agg(to_jsonb(session)), '[]')
    from public.sessions as session
    where session.organization_id = rows_of_sessions.organization_id and session.id = any (session_ids)
  );
end
$$;
comment on function private.rows_of_sessions(uuid, uuid[]) is 'These sessions as they are now, for private.audit_written.';

create function private.changed_sessions(old_rows jsonb, new_rows jsonb)
returns table (id uuid, action text, therapist_id text, start_time text, before jsonb, after jsonb)
language plpgsql
immutable
set search_path = ''
as $$
#variable_conflict use_column
begin
  -- Rows meet by grouping, sorted or hashed: a join would be planned for the few rows of the first statement.
  return query
  with version as (
    select item.value ->> 'id' as id, jsonb_agg(item.value) filter (where not item.is_after) -> 0 as before,
      jsonb_agg(item.value) filter (where item.is_after) -> 0 as after
    from (
      select each.value, false as is_after from jsonb_array_elements(changed_sessions.old_rows) as each (value)
      union all
      select each.value, true from jsonb_array_elements(changed_sessions.new_rows) as each (value)
    ) as item
    group by item.value ->> 'id'
  )
  select version.id::uuid,
    case
      when version.before is null then 'session.inserted'
      when version.after ->> 'status' <> version.before ->> 'status' then 'session.' || (version.after ->> 'status')
      when place.after is distinct from place.before then 'session.moved'
      else 'session.changed'
    end,
    version.after ->> 'therapist_id', version.after ->> 'start_time', facts.before, facts.after
  from version
  cross join lateral (
    select
      private.facts_of_row(version.before) as before,
      private.facts_of_row(version.after) as after
  ) as facts
  cross join lateral (
    select
      array[version.before ->> 'therapist_id', version.before ->> 'start_time', version.before ->> 'end_time', version.before ->> 'room_id'] as before,
      array[version.after ->> 'therapist_id', version.after ->> 'start_time', version.after ->> 'end_time', version.after ->> 'room_id'] as after
  ) as place
  where version.before is null or facts.before is distinct from facts.after;
end
$$;
comment on function private.changed_sessions(jsonb, jsonb) is
  'What a statement changed: each session with its facts before and after, and what to call it. Unchanged ones are left out.';
