-- Purpose: the modifiers of what is booked follow what they are derived from: payer, code, level of who renders, place and day.
-- Objects: private.derived_modifiers, followed_modifiers and moved_modifiers; remembered_modifiers, remember_modifiers,
--          follow_modifiers and the triggers that call them.
-- Watch for: modifiers that somebody chose stay. Chosen are those that are not what is derived at that moment, so it is asked
--            before a change which sessions have theirs derived, and after it those get what is derived then. What is
--            completed is corrected through correct_visit alone.

create function private.derived_modifiers(session public.sessions)
returns text[]
language plpgsql
stable
set search_path = ''
as $$
declare
  on_date constant date := private.service_date(session.organization_id, session.client_id, session.start_time);
begin
  return coalesce(private.default_modifiers(
    session.organization_id, private.primary_payer(session.organization_id, session.client_id, on_date),
    private.billed_code(session.organization_id, session.cpt_code, session.session_type, on_date),
    private.credential_on(session.organization_id, session.therapist_id, on_date), session.location_type, on_date
  ), '{}');
end
$$;
comment on function private.derived_modifiers(public.sessions) is
  'The modifiers of a session when nobody chose any: those that the payer of its day wants for its code, its therapist''s '
  'level of that day and its place.';

create function private.followed_modifiers(former public.sessions, session public.sessions)
returns text[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return case
    when former.cpt_modifiers = private.derived_modifiers(former) then private.derived_modifiers(session)
    else former.cpt_modifiers
  end;
end
$$;
comment on function private.followed_modifiers(public.sessions, public.sessions) is
  'The modifiers of a session that becomes another: derived anew where they were derived, else those that somebody chose.';

create function private.moved_modifiers(session public.sessions, therapist_id uuid, slot private.confirmed_slot)
returns text[]
language plpgsql
stable
set search_path = ''
as $$
declare
  moved public.sessions := session;
begin
  moved.therapist_id := therapist_id;
  moved.start_time := (slot.hold).start_time;
  moved.location_type := coalesce(slot.location_type, session.location_type);
  moved.session_type := coalesce(slot.session_type, session.session_type);
  moved.cpt_code := coalesce(slot.cpt_code, session.cpt_code);
  if (moved.therapist_id, moved.location_type, moved.session_type, moved.cpt_code) is not distinct from
      (session.therapist_id, session.location_type, session.session_type, session.cpt_code)
    and slot.service_date = private.service_date(session.organization_id, session.client_id, session.start_time)
  then
    return session.cpt_modifiers;
  end if;
  return private.followed_modifiers(session, moved);
end
$$;
comment on function private.moved_modifiers(public.sessions, uuid, private.confirmed_slot) is
  'The modifiers of a session that moves, when the move names none: another therapist, day, place or service may want others.';

-- What they are derived from changes -------------------------------------------------------------------------------------

create function private.sessions_derived_from(table_name name, was jsonb, becomes jsonb)
returns uuid[]
language plpgsql
stable
set search_path = ''
as $$
declare
  of_organization constant uuid := (becomes ->> case table_name when 'organizations' then 'id' else 'organization_id' end)::uuid;
  -- A day is local somewhere.
  first_time constant timestamptz := least(
    (becomes ->> 'valid_from')::date, (was ->> 'valid_from')::date, case when not becomes ? 'valid_from' then '-infinity'::date end
  )::timestamptz - interval '1 day';
  last_time constant timestamptz := greatest(
    coalesce((becomes ->> 'valid_to')::date, 'infinity'), case when was is not null then coalesce((was ->> 'valid_to')::date, 'infinity') end
  )::timestamptz + interval '2 days';
  client_ids uuid[];
begin
  if table_name = 'therapists' then
    return private.sessions_to_come(of_organization, (becomes ->> 'id')::uuid, null, null);
  elsif table_name = 'service_codes' then
    return array(
      select session.id from public.sessions as session
      where session.organization_id = of_organization and session.start_time >= first_time
        and session.cpt_code is null and lower(btrim(session.session_type)) = becomes ->> 'session_type'
        and session.status in ('scheduled', 'in_progress')
    );
  elsif table_name = 'therapist_credentials' then
    return array(
      select session.id from public.sessions as session
      where session.organization_id = of_organization and session.therapist_id = (becomes ->> 'therapist_id')::uuid
        and session.start_time >= first_time and session.start_time < last_time
        and session.status in ('scheduled', 'in_progress')
    );
  end if;
  client_ids := case table_name
    when 'client_coverages' then array[(becomes ->> 'client_id')::uuid]
    when 'clients' then array[(becomes ->> 'id')::uuid]
    when 'organizations' then array(
      select client.id from public.clients as client
      where client.organization_id = of_organization and client.has_payer and client.time_zone is null)
    else array(
      select distinct coverage.client_id from public.client_coverages as coverage
      where coverage.organization_id = of_organization and coverage.payer_id = (becomes ->> 'payer_id')::uuid)
  end;
  return array(
    select session.id from public.sessions as session
    where session.organization_id = of_organization and session.client_id = any (client_ids)
      and session.start_time >= first_time and session.start_time < last_time
      and session.status in ('scheduled', 'in_progress')
      -- A rule of a code says nothing of the others, and a payer's rule only what telehealth has.
      and (table_name <> 'payer_code_rules' or session.cpt_code is null
        or session.cpt_code in (becomes ->> 'cpt_code', was ->> 'cpt_code'))
      and (table_name <> 'payer_rules' or private.place_of(session.location_type) = 'telehealth')
  );
end
$$;
comment on function private.sessions_derived_from(name, jsonb, jsonb) is
  'Sessions that are not completed and whose modifiers may depend on a row of this table, as it was or as it becomes.';

-- A statement empties it before it ends, so that no transaction ever sees another's rows.
create table private.remembered_modifiers (
  organization_id uuid not null,
  session_id uuid not null,
  primary key (organization_id, session_id)
);
comment on table private.remembered_modifiers is
  'Sessions with derived modifiers, from the moment when a statement is about to change what they are derived from until '
  'the end of that statement.';
alter table private.remembered_modifiers enable row level security;
create policy deny_all on private.remembered_modifiers using (false);

create function private.remember_modifiers()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  of_organization constant uuid := (to_jsonb(new) ->> case tg_table_name when 'organizations' then 'id' else 'organization_id' end)::uuid;
  was constant jsonb := case when tg_op = 'UPDATE' then to_jsonb(old) end;
  organization record;
begin
  -- Everybody's service code is of every organization.
  for organization in
    select known.id from public.organizations as known
    where known.id = of_organization or of_organization is null
    order by known.id
  loop
    if of_organization is null then
      perform private.take_row_organization(organization.id, tg_table_name);
    end if;
    -- Of each row of the statement, before it is changed: one session may depend on several, and is derived once.
    -- Found first, then derived: within the join every session of the organization would be.
    insert into private.remembered_modifiers (organization_id, session_id)
    select (asked.session).organization_id, (asked.session).id
    from (
      select session
      from unnest(private.sessions_derived_from(
        tg_table_name, was,
        to_jsonb(new) || case when of_organization is null then jsonb_build_object('organization_id', organization.id) else '{}' end
      )) as named (id)
      join public.sessions as session on session.organization_id = organization.id and session.id = named.id
      where not exists (
        select from private.remembered_modifiers as known
        where known.organization_id = organization.id and known.session_id = named.id
      )
      offset 0
    ) as asked
    where (asked.session).cpt_modifiers = private.derived_modifiers(asked.session)
    on conflict do nothing;
  end loop;
  return new;
end
$$;
comment on function private.remember_modifiers() is
  'Trigger: keeps which sessions have derived modifiers until private.follow_modifiers derives those anew.';

create function private.follow_modifiers()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  followed record;
  former text;
begin
  for followed in
    with remembered as (
      -- Whoever comes by REST may delete nothing without a condition.
      delete from private.remembered_modifiers as known
      where known.session_id is not null
      returning known.organization_id, known.session_id
    )
    select (asked.session).organization_id, array_agg((asked.session).id) as session_ids,
      jsonb_agg(to_jsonb(asked.session)) as before
    from (
      select session
      from remembered
      join public.sessions as session
        on session.organization_id = remembered.organization_id and session.id = remembered.session_id
      where session.status in ('scheduled', 'in_progress')
      offset 0
    ) as asked
    where (asked.session).cpt_modifiers <> private.derived_modifiers(asked.session)
    group by (asked.session).organization_id
    order by (asked.session).organization_id
  loop
    former := private.enter_booking();
    update public.sessions as session
    set cpt_modifiers = private.derived_modifiers(session), updated_at = clock_timestamp()
    where session.organization_id = followed.organization_id and session.id = any (followed.session_ids);
    perform private.audit_written(
      followed.organization_id, followed.before, private.rows_of_sessions(followed.organization_id, followed.session_ids)
    );
    perform private.leave_booking(null, former);
  end loop;
  return null;
end
$$;
comment on function private.follow_modifiers() is
  'Trigger: sessions whose modifiers were derived before this statement get those that are derived after it.';

create trigger d_remember_modifiers before insert or update on public.client_coverages
  for each row execute function private.remember_modifiers();
create trigger d_follow_modifiers after insert or update on public.client_coverages
  for each statement execute function private.follow_modifiers();
create trigger d_remember_modifiers before insert or update of telehealth_modifier, valid_from, valid_to
  on public.payer_rules
  for each row execute function private.remember_modifiers();
create trigger d_follow_modifiers after insert or update of telehealth_modifier, valid_from, valid_to
  on public.payer_rules
  for each statement execute function private.follow_modifiers();
create trigger d_remember_modifiers before insert or update of cpt_code, modifiers, valid_from, valid_to
  on public.payer_code_rules
  for each row execute function private.remember_modifiers();
create trigger d_follow_modifiers after insert or update of cpt_code, modifiers, valid_from, valid_to
  on public.payer_code_rules
  for each statement execute function private.follow_modifiers();
create trigger d_remember_modifiers before update of time_zone on public.clients
  for each row when (new.time_zone is distinct from old.time_zone)
  execute function private.remember_modifiers();
create trigger d_follow_modifiers after update of time_zone on public.clients
  for each statement execute function private.follow_modifiers();
create trigger d_remember_modifiers before update of time_zone on public.organizations
  for each row when (new.time_zone is distinct from old.time_zone)
  execute function private.remember_modifiers();
create trigger d_follow_modifiers after update of time_zone on public.organizations
  for each statement execute function private.follow_modifiers();
-- Alone, so that no session is confirmed meanwhile with the modifiers of the former level.
select private.write_alone('{therapists}', 'update of credential');
create trigger b_guard_credential before update of credential on public.therapists
  for each row when (new.credential is distinct from old.credential)
  execute function private.guard_coverage();
create trigger d_remember_modifiers before update of credential on public.therapists
  for each row when (new.credential is distinct from old.credential)
  execute function private.remember_modifiers();
create trigger d_follow_modifiers after update of credential on public.therapists
  for each statement execute function private.follow_modifiers();
-- An operator corrects the days of a credential; what follows from a change of therapists is followed there.
create trigger a_take_organization before insert or update on public.therapist_credentials
  for each statement when (pg_trigger_depth() = 0 and private.is_direct_write())
  execute function private.take_written_organization();
create trigger b_guard_credential before insert or update on public.therapist_credentials
  for each row when (pg_trigger_depth() = 0) execute function private.guard_coverage();
create trigger refuse_delete before delete or truncate on public.therapist_credentials
  for each statement
  execute function private.refuse_write('restrict_violation', 'a therapist''s credentials are records and cannot be deleted',
    'Correct the credential, or its days, with an update.');
create trigger d_remember_modifiers before insert or update on public.therapist_credentials
  for each row when (pg_trigger_depth() = 0) execute function private.remember_modifiers();
create trigger d_follow_modifiers after insert or update on public.therapist_credentials
  for each statement when (pg_trigger_depth() = 0) execute function private.follow_modifiers();
create trigger d_wake_slots after update on public.therapist_credentials
  referencing new table as changed_rows for each statement
  when (pg_trigger_depth() = 0) execute function private.wake_for_rules();
create trigger d_wake_slots_for_inserted after insert on public.therapist_credentials
  referencing new table as changed_rows for each statement
  when (pg_trigger_depth() = 0) execute function private.wake_for_rules();
