-- Purpose: a completed record changes in one way: corrected, with a reason, by an admin or soon after by its therapist.
-- Objects: visit_versions (what was before each correction), private.visit_version; correct_visit.
-- Watch for: the rows of session_visits and sessions are what holds now. A version says what they were before it, and
--            version 1 is what was completed first. Units follow in the same transaction, and a note that was signed for
--            something else waits to be amended.

create table public.visit_versions (
  organization_id uuid not null,
  session_id uuid not null,
  version integer not null check (version > 0),
  status public.session_status not null,
  therapist_id uuid not null,
  client_id uuid not null,
  actual_start_time timestamptz,
  actual_end_time timestamptz,
  units integer,
  other_day_reason text,
  overlap_reason text,
  cpt_code text,
  cpt_modifiers text[] not null,
  location_type text,
  undo text check (undo in ('completion', 'start', 'no_show')),
  reason_code text not null
    check (reason_code in (
      'wrong_time', 'wrong_service', 'wrong_place', 'wrong_people', 'by_mistake', 'payer_request', 'other'
    )),
  remark text check (length(remark) between 1 and 500),
  corrected_by uuid not null,
  corrected_at timestamptz not null,
  primary key (organization_id, session_id, version),
  foreign key (organization_id, session_id) references public.sessions (organization_id, id),
  foreign key (organization_id, therapist_id) references public.therapists (organization_id, id),
  foreign key (organization_id, client_id) references public.clients (organization_id, id)
);
create index visit_versions_therapist_idx on public.visit_versions (organization_id, therapist_id);
create index visit_versions_client_idx on public.visit_versions (organization_id, client_id);
comment on table public.visit_versions is
  'What a visit was before each correction, and why it was corrected. Rows are inserted by correct_visit and never change.';
comment on column public.visit_versions.undo is 'The step that was taken back; null when facts were corrected.';
alter table public.visit_versions enable row level security;
create policy sessions_scoped_access on public.visit_versions for select to authenticated
  using (
    organization_id = (select private.active_organization_id())
    and (
      (select private.is_admin())
      or exists (
        select 1
        from public.sessions as session
        where session.organization_id = visit_versions.organization_id
          and session.id = visit_versions.session_id
          and session.therapist_id = (select auth.uid())
          and (select private.active_role()) = 'therapist'
      )
    )
  );
comment on policy sessions_scoped_access on public.visit_versions is
  'Admins see their organization''s; therapists those of their own sessions.';
grant select on public.visit_versions to authenticated, service_role;
create trigger refuse_update before update on public.visit_versions
  for each row execute function private.refuse_update();
create trigger refuse_delete before delete or truncate on public.visit_versions
  for each statement execute function private.refuse_delete();

create function private.visit_version(organization_id uuid, session_id uuid)
returns integer
language sql
stable
set search_path = ''
return 1 + coalesce((
  select max(known.version) from public.visit_versions as known
  where known.organization_id = visit_version.organization_id and known.session_id = visit_version.session_id
), 0);
comment on function private.visit_version(uuid, uuid) is 'The version of a visit as it is now: 1 until it is corrected.';

create function private.ask_for_amendment()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  update public.session_note_states as note
  set status = 'needs_amendment', updated_at = new.corrected_at
  from public.sessions as session
  left join public.session_visits as visit
    on visit.organization_id = session.organization_id and visit.session_id = session.id
  where note.organization_id = new.organization_id and note.session_id = new.session_id
    and note.status in ('signed', 'amended')
    and session.organization_id = new.organization_id and session.id = new.session_id
    and (
      session.therapist_id, session.client_id, session.cpt_code, session.cpt_modifiers, session.location_type,
      visit.actual_start_time, visit.actual_end_time
    ) is distinct from (
      new.therapist_id, new.client_id, new.cpt_code, new.cpt_modifiers, new.location_type, new.actual_start_time,
      new.actual_end_time
    );
  return null;
end
$$;
comment on function private.ask_for_amendment() is
  'Trigger: a signed note stands for the facts of its visit. When a correction changed one, the note waits to be amended.';
create trigger ask_for_amendment after insert on public.visit_versions
  for each row execute function private.ask_for_amendment();

create function private.visit_facts(session public.sessions, visit public.session_visits)
returns jsonb
language sql
immutable
set search_path = ''
return jsonb_build_array(private.facts_of_row(to_jsonb(session) || jsonb_build_object(
  'actual_start_time', visit.actual_start_time, 'actual_end_time', visit.actual_end_time, 'units', visit.units
)));
comment on function private.visit_facts(public.sessions, public.session_visits) is 'What of a visit belongs in its audit event.';

create function private.rewrite_session(before public.sessions, after public.sessions, as_of timestamptz)
returns private.obstacle
language plpgsql
set search_path = ''
as $$
declare
  place private.place;
  slot private.slot;
  obstacle private.obstacle;
begin
  update public.sessions as session
  set status = after.status, therapist_id = after.therapist_id, client_id = after.client_id, cpt_code = after.cpt_code,
    cpt_modifiers = after.cpt_modifiers, location_type = after.location_type, lanes = after.lanes, updated_at = as_of
  where session.organization_id = after.organization_id and session.id = after.id;
  if (after.status, after.therapist_id, after.client_id, after.lanes)
      is distinct from (before.status, before.therapist_id, before.client_id, before.lanes)
    and not private.sync_claims(after.organization_id, after.id || private.claim_dependents(after.organization_id, array[after.id]))
  then
    raise exception using errcode = 'exclusion_violation';
  end if;
  return null;
exception
  when exclusion_violation then
    -- The update is undone; what is in its way is told as a booking would be.
    place := row(
      after.id, after.group_key, after.therapist_id, after.room_id, after.buffer_before_minutes, after.buffer_after_minutes,
      after.client_id, after.lanes, after.start_time, after.end_time, null
    );
    if after.group_id is not null then
      select known.room_id, known.buffer_before_minutes, known.buffer_after_minutes
      into place.room_id, place.buffer_before_minutes, place.buffer_after_minutes
      from public.session_groups as known
      where known.organization_id = after.organization_id and known.id = after.group_id;
    end if;
    slot.hold_id := after.id;
    slot.group_id := after.group_id;
    slot.occurrence_index := 0;
    obstacle := private.find_conflicts(
      array[slot], private.claimed(after.organization_id, array[place]), array[after.id, after.group_key], as_of
    );
    obstacle.conflicts := coalesce(obstacle.conflicts, '[]');
    return obstacle;
end
$$;
comment on function private.rewrite_session(public.sessions, public.sessions, timestamptz) is
  'Gives a session its corrected status, people, service and place, with the claims of those; or says what stands in its way, and '
  'leaves everything as it was. No conflicts: it is done. Call it with the row and the resources locked.';

create function private.payer_modifiers(session public.sessions, cpt_code text, on_date date)
returns text[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return private.default_modifiers(
    session.organization_id, private.primary_payer(session.organization_id, session.client_id, on_date), cpt_code,
    private.credential_on(session.organization_id, session.therapist_id, on_date), session.location_type, on_date
  );
end
$$;
comment on function private.payer_modifiers(public.sessions, text, date) is
  'The modifiers that the payer of a day wants of a session''s people and place, for this code.';

create function private.people_issue(former public.sessions, session public.sessions, cpt_code text, on_date date)
returns jsonb
language sql
stable
set search_path = ''
return (
  select private.issue(rule.field, rule.message)
  from (
    values
      (1, 'therapist_id', 'is no therapist of this organization', not exists (
        select from public.therapists as known
        where known.organization_id = session.organization_id and known.id = session.therapist_id
      )),
      (2, 'client_id', 'is no client of this organization', not exists (
        select from public.clients as known
        where known.organization_id = session.organization_id and known.id = session.client_id
      )),
      (3, 'therapist_id', 'is that of the whole group: the therapist of one member is not corrected',
        session.group_id is not null and session.therapist_id <> former.therapist_id),
      (4, 'client_id', 'is in this group already', session.client_id <> former.client_id and exists (
        select from public.sessions as member
        where member.organization_id = session.organization_id and member.group_id = session.group_id
          and member.client_id = session.client_id and member.status not in ('cancelled', 'no_show')
      )),
      (5, case when session.therapist_id <> former.therapist_id then 'therapist_id' else 'cpt_code' end,
        'a technician cannot render a service that is a qualified professional''s',
        not private.may_render(session.organization_id, session.therapist_id, people_issue.cpt_code, on_date))
  ) as rule (position, field, message, is_broken)
  where rule.is_broken
  order by rule.position
  limit 1
);
comment on function private.people_issue(public.sessions, public.sessions, text, date) is
  'Why these people cannot have had this service on that day; null when they can. Whoever has left the clinic since still '
  'rendered or received it.';

create function private.corrected_session(
  session public.sessions, visit public.session_visits, wanted private.correction_request
)
returns public.sessions
language plpgsql
stable
set search_path = ''
as $$
declare
  former constant public.sessions := session;
  former_date constant date := private.service_date(
    session.organization_id, session.client_id, coalesce(visit.actual_start_time, session.start_time)
  );
  on_date constant date := private.service_date(
    session.organization_id, coalesce(wanted.client_id, session.client_id),
    coalesce(wanted.actual_start_time::timestamptz, visit.actual_start_time, session.start_time)
  );
  former_code text;
  code text;
  members integer := 1;
  issue jsonb;
  wanted_modifiers text[];
begin
  if wanted.undo is not null then
    session.status := case
      when wanted.undo = 'completion' then 'in_progress'
      when wanted.undo = 'no_show' and exists (
        select from public.session_visits as recorded
        where recorded.organization_id = session.organization_id and recorded.session_id = session.id
      ) then 'in_progress'
      else 'scheduled'
    end;
    if wanted.undo = 'no_show' and not private.was_let_beside(session.organization_id, session.id) then
      -- The payers' rules may have changed while it claimed nothing.
      session.lanes := private.client_lanes(
        session.organization_id, session.client_id,
        private.service_code(session.organization_id, session.cpt_code, session.session_type, on_date),
        session.start_time, session.end_time
      );
    end if;
    return session;
  end if;
  session.therapist_id := coalesce(wanted.therapist_id, session.therapist_id);
  session.client_id := coalesce(wanted.client_id, session.client_id);
  session.cpt_code := coalesce(upper(private.tidy(wanted.cpt_code)), session.cpt_code);
  session.location_type := coalesce(private.tidy(wanted.location_type), session.location_type);
  former_code := private.service_code(session.organization_id, former.cpt_code, session.session_type, former_date);
  code := private.service_code(session.organization_id, session.cpt_code, session.session_type, on_date);
  if (session.therapist_id, session.client_id, session.cpt_code, on_date)
    is distinct from (former.therapist_id, former.client_id, former.cpt_code, former_date)
  then
    if session.group_id is not null then
      members := (
        select count(*) from public.sessions as member
        where member.organization_id = session.organization_id and member.group_id = session.group_id
          and member.status not in ('cancelled', 'no_show')
      );
    end if;
    issue := coalesce(
      (
        select private.issue('cpt_code', found.message)
        from (
          select private.service_issue(session.organization_id, session.cpt_code, on_date, members) as message
          where session.cpt_code is not null
            and (session.cpt_code, on_date) is distinct from (former.cpt_code, former_date)
        ) as found
        where found.message is not null
      ),
      private.people_issue(former, session, code, on_date)
    );
    if issue is not null then
      perform private.raise_invalid(issue);
    end if;
    if (session.client_id, session.cpt_code) is distinct from (former.client_id, former.cpt_code) then
      session.lanes := private.client_lanes(
        session.organization_id, session.client_id, code, session.start_time, session.end_time
      );
    end if;
  end if;
  -- Those its payer wants, as when it is booked, where the payer wants others than it did; and always for another service.
  wanted_modifiers := private.payer_modifiers(session, code, on_date);
  if session.cpt_code is distinct from former.cpt_code
    or wanted_modifiers <> private.payer_modifiers(former, former_code, former_date)
  then
    session.cpt_modifiers := wanted_modifiers;
  end if;
  session.cpt_modifiers := coalesce(
    private.modifiers_of(row(wanted.cpt_code, wanted.modifiers)), session.cpt_modifiers, '{}'
  );
  return session;
end
$$;
comment on function private.corrected_session(public.sessions, public.session_visits, private.correction_request) is
  'The session as a correction wants it; PT400 for people or a service that cannot have been.';

create function private.corrected_visit(
  session public.sessions,
  visit public.session_visits,
  wanted private.correction_request,
  as_of timestamptz
)
returns public.session_visits
language plpgsql
stable
set search_path = ''
as $$
begin
  if wanted.undo = 'start' then
    return null;
  elsif wanted.undo is not null then
    -- When it ended stays: what was signed still is.
    visit.units := null;
    visit.overlap_reason := null;
    return visit;
  end if;
  -- When it was first recorded, for the days within which the therapist may correct it.
  visit.recorded_at := coalesce(visit.recorded_at, session.end_time);
  return private.told_visit(
    session, visit, coalesce(wanted.actual_start_time::timestamptz, visit.actual_start_time, session.start_time),
    coalesce(wanted.actual_end_time::timestamptz, visit.actual_end_time, session.end_time),
    private.tidy(wanted.other_day_reason), as_of
  );
end
$$;
comment on function private.corrected_visit(public.sessions, public.session_visits, private.correction_request, timestamptz) is
  'The visit as a correction wants it, but for its units; null when its start is undone. session: corrected already. PT400 for '
  'times it cannot have had.';

create function private.correction_issue(
  actor private.actor,
  session public.sessions,
  visit public.session_visits,
  wanted private.correction_request,
  as_of timestamptz
)
returns private.cause
language plpgsql
stable
set search_path = ''
as $$
declare
  cause private.cause;
  days constant integer := (
    select organization.correction_days from public.organizations as organization
    where organization.id = session.organization_id
  );
  version constant integer := private.visit_version(session.organization_id, session.id);
begin
  if actor.role = 'therapist' and as_of > days * interval '1 day' + (
    case when visit.actual_end_time is not null then visit.recorded_at else session.end_time end
  ) then
    cause.code := 'FORBIDDEN';
    cause.detail := format('After %s days only an admin corrects a visit.', days);
  elsif actor.role = 'therapist' and (
    wanted.therapist_id <> session.therapist_id or wanted.client_id <> session.client_id
  ) then
    cause.code := 'FORBIDDEN';
    cause.detail := 'Only an admin corrects who rendered a visit, and whom it was for.';
  elsif wanted.base_version <> version then
    cause.code := 'VISIT_VERSION_CONFLICT';
    cause.detail := format('The visit is at version %s, not %s. Read it again, then correct it.', version, wanted.base_version);
  elsif session.status::text <> (
    case wanted.undo when 'start' then 'in_progress' when 'no_show' then 'no_show' else 'completed' end
  ) then
    cause.code := 'STATUS_NOT_ALLOWED';
    cause.detail := format('A session that is %s cannot be corrected like this. Reload it.', session.status);
  elsif wanted.undo = 'no_show' and session.group_id is not null and private.group_size_limit() < 1
    + private.group_joiners(session.organization_id, session.group_id, as_of) + (
      select count(*) from public.sessions as member
      where member.organization_id = session.organization_id and member.group_id = session.group_id
        and member.status not in ('cancelled', 'no_show')
    )
  then
    cause.code := 'GROUP_FULL';
    cause.detail := 'The place in the group was given away.';
  end if;
  return cause;
end
$$;
comment on function private.correction_issue(
  private.actor, public.sessions, public.session_visits, private.correction_request, timestamptz
) is 'Who may not correct a visit any more, or not in the state it is in. No code: nothing stands in the way.';

create function private.write_correction(
  actor private.actor,
  session public.sessions,
  visit public.session_visits,
  corrected public.session_visits,
  wanted private.correction_request,
  as_of timestamptz
)
returns integer
language plpgsql
set search_path = ''
as $$
begin
  if corrected.session_id is null then
    delete from public.session_visits as known
    where known.organization_id = session.organization_id and known.session_id = session.id;
  else
    insert into public.session_visits select corrected.*
    on conflict (organization_id, session_id) do update
    set actual_start_time = excluded.actual_start_time, actual_end_time = excluded.actual_end_time,
      units = excluded.units, other_day_reason = excluded.other_day_reason, overlap_reason = excluded.overlap_reason;
  end if;
  -- After the rows have changed: its trigger compares what was with what is.
  insert into public.visit_versions (
    organization_id, session_id, version, status, therapist_id, client_id, actual_start_time, actual_end_time, units,
    other_day_reason, overlap_reason, cpt_code, cpt_modifiers, location_type, undo, reason_code, remark, corrected_by,
    corrected_at
  )
  values (
    session.organization_id, session.id, wanted.base_version, session.status, session.therapist_id, session.client_id,
    visit.actual_start_time, visit.actual_end_time, visit.units, visit.other_day_reason, visit.overlap_reason, session.cpt_code,
    session.cpt_modifiers, session.location_type, wanted.undo, wanted.reason_code, private.tidy(wanted.remark), actor.user_id, as_of
  );
  -- What a live move takes is the difference to what its session has: both are counted anew.
  perform private.count_visits(
    session.organization_id, array[session.id],
    array[private.service_date(
      session.organization_id, session.client_id, coalesce(visit.actual_start_time, session.start_time)
    )],
    array(
      select hold.id from public.session_holds as hold
      where hold.organization_id = session.organization_id and hold.session_id = session.id and hold.status = 'held'
    ),
    array[session.client_id]
  );
  return (
    select counted.units from public.session_visits as counted
    where counted.organization_id = session.organization_id and counted.session_id = session.id
  );
end
$$;
comment on function private.write_correction(
  private.actor, public.sessions, public.session_visits, public.session_visits, private.correction_request, timestamptz
) is
  'Writes a corrected visit, keeps what was before as a version, and counts its units anew: what goes beyond the '
  'authorization is entered as beyond it. Returns its units, null when it is not completed any more.';

create function private.correct_visit(actor private.actor, request jsonb)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  wanted private.correction_request := private.read_correction_request(request);
  locked record;
  session public.sessions;
  after public.sessions;
  visit public.session_visits;
  corrected public.session_visits;
  cause private.cause;
  obstacle private.obstacle;
  claims private.visit_claims[];
  other_visits jsonb;
  refusal jsonb;
  as_of timestamptz;
begin
  locked := private.lock_session(actor, wanted.session_id, 'correct', array[wanted.therapist_id, wanted.client_id]);
  if locked.refusal is not null then
    return locked.refusal;
  end if;
  session := locked.session;
  as_of := clock_timestamp();
  select known.* into visit
  from public.session_visits as known
  where known.organization_id = actor.organization_id and known.session_id = session.id;
  cause := private.correction_issue(actor, session, visit, wanted, as_of);
  if cause.code is not null then
    return private.refuse(
      actor, 'session.refused', array[session.id], cause.code, cause.detail, session.therapist_id,
      details => '{"attempted": "correct"}'
    );
  end if;

  after := private.corrected_session(session, visit, wanted);
  corrected := private.corrected_visit(after, visit, wanted, as_of);
  if after = session and corrected is not distinct from visit and wanted.undo is null then
    perform private.raise_invalid(private.issue('', 'changes nothing: the visit is recorded like this already'));
  end if;
  -- What an admin let overlap stays let while its time, its people and its service stay.
  claims := private.claims_of_visit(after, corrected.actual_start_time, corrected.actual_end_time);
  if claims <> private.claims_of_visit(session, visit.actual_start_time, visit.actual_end_time) then
    other_visits := private.visits_in_the_way(claims, actor);
    refusal := private.visit_overlap_refusal(actor, session, other_visits, 'correct', private.tidy(wanted.overlap_reason));
    if refusal is not null then
      return refusal;
    end if;
    corrected.overlap_reason := case when other_visits is not null then private.tidy(wanted.overlap_reason) end;
  end if;
  obstacle := private.rewrite_session(session, after, as_of);
  if obstacle.concurrent_lanes is not null and private.tidy(wanted.overlap_reason) is not null
    and actor.role in ('admin', 'super_admin')
  then
    -- The pairs in the way give up their lanes, as for what an admin books beside them.
    after.lanes := after.lanes - obstacle.concurrent_lanes;
    obstacle := private.rewrite_session(session, after, as_of);
    if obstacle.conflicts is null then
      perform private.record_event(
        actor.organization_id, 'override.concurrency', 'session', array[session.id], as_of,
        therapist_id => session.therapist_id, actor_role => actor.role::text,
        details => jsonb_build_object('reason', private.tidy(wanted.overlap_reason))
      );
    end if;
  end if;
  if obstacle.conflicts is not null then
    cause := jsonb_populate_record(null::private.cause, private.conflict_code(obstacle.conflicts, obstacle.concurrent_lanes));
    return private.refuse(
      actor, 'session.refused', array[session.id], cause.code, cause.detail, session.therapist_id, obstacle.retry_after,
      obstacle.conflicts, details => '{"attempted": "correct"}'
    );
  end if;
  corrected.units := private.write_correction(actor, session, visit, corrected, wanted, as_of);
  if not private.sync_visit_claims(actor.organization_id, array[session.id]) then
    -- Only a visit that was written without these locks; asked again, it is found above.
    raise exception using errcode = 'serialization_failure', message = 'a visit appeared that was not there before';
  elsif other_visits is not null then
    perform private.record_overlap(actor, after, other_visits, corrected.overlap_reason, as_of);
  end if;
  after.updated_at := as_of;
  perform private.record_event(
    actor.organization_id, 'visit.corrected', 'session', array[session.id], as_of,
    therapist_id => session.therapist_id, actor_role => actor.role::text,
    before => private.visit_facts(session, visit), after => private.visit_facts(after, corrected),
    details => jsonb_strip_nulls(jsonb_build_object(
      'version', wanted.base_version + 1, 'reasonCode', wanted.reason_code, 'undo', wanted.undo
    ))
  );
  return private.success(jsonb_build_object(
    'session', (
      select to_jsonb(known) from public.sessions as known
      where known.organization_id = actor.organization_id and known.id = session.id
    ), 'version', wanted.base_version + 1,
    'actualStartTime', private.iso(corrected.actual_start_time), 'actualEndTime', private.iso(corrected.actual_end_time),
    'units', corrected.units, 'noteStatus', (
      select note.status from public.session_note_states as note
      where note.organization_id = actor.organization_id and note.session_id = session.id
    )
  ) || case
    when after.status = 'completed'
      then private.warnings_in(private.warnings_of_sessions(actor.organization_id, array[session.id], as_of))
    else '{}'
  end);
end
$$;

select private.publish_booking('correct_visit',
  'Corrects a completed visit, or takes one step back. request is {session_id, base_version, actual_start_time?, '
  'actual_end_time?, other_day_reason?, overlap_reason?, therapist_id?, client_id?, cpt_code?, modifiers?, location_type?, '
  'undo?: "completion" | "start" | "no_show", reason_code: "wrong_time" | "wrong_service" | "wrong_place" | "wrong_people" | '
  '"by_mistake" | "payer_request" | "other", remark?}; undo '
  'stands without other changes, "other" needs a remark. therapist_id and client_id are an admin''s to correct; of a group, '
  'only the client. base_version: 1 until the visit is corrected, then the version of '
  'the last answer. An admin, or its therapist within organizations.correction_days of completion. Outcome body: {session, '
  'version, actualStartTime, actualEndTime, units, noteStatus, warnings?}; warnings as of complete_session; noteStatus needs_amendment: a signed fact has changed. 403 '
  'FORBIDDEN; 409 VISIT_VERSION_CONFLICT, STATUS_NOT_ALLOWED, VISIT_OVERLAPS as complete_session, and, where another person '
  'has a booking at the booked time or the time of an undone no-show was given away, the conflicts of a booking, or GROUP_FULL.'
);
