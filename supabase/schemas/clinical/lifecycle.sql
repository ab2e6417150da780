-- Purpose: a session begins, ends and is billed by the times it really had; it completes only when its record is whole.
-- Objects: session_visits; private.whole_minute, told_visit, completion_gaps; start_session, end_session, complete_session,
--          mark_no_show.
-- Watch for: a visit begins, ends, is signed and is completed, in this order: what is signed is what was rendered, so the
--            end is known first. Users of the API complete a session only with what domain rules and its payer ask for, whether through
--            complete_session or by a direct update. Operators (SQL, service_role) may enter history as it was.

create function private.whole_minute(instant timestamptz)
returns timestamptz
language plpgsql
immutable
set search_path = ''
as $$
begin
  return date_bin('1 minute', instant, '2000-01-01T00:00:00Z');
end
$$;
comment on function private.whole_minute(timestamptz) is
  'An instant without its seconds: the times of a visit are whole minutes. They are cut before anything is rounded.';

create table public.session_visits (
  organization_id uuid not null,
  session_id uuid not null,
  actual_start_time timestamptz not null,
  actual_end_time timestamptz check (actual_end_time > actual_start_time),
  units integer check (units >= 0),
  other_day_reason text check (length(other_day_reason) between 1 and 500),
  overlap_reason text check (length(overlap_reason) between 1 and 500),
  started_by uuid,
  completed_by uuid,
  recorded_at timestamptz not null default clock_timestamp(),
  primary key (organization_id, session_id),
  foreign key (organization_id, session_id) references public.sessions (organization_id, id),
  constraint session_visits_units check (units is null or actual_end_time is not null),
  constraint session_visits_length check (actual_end_time - actual_start_time <= interval '16 hours')
);
comment on table public.session_visits is
  'When a session really began and ended: the begin and end that electronic visit verification asks for. Apart from '
  'sessions, since clients may not read it.';
comment on column public.session_visits.units is
  'Units of the actual minutes as the payer rounds, null until it is completed: of a payer who rounds by the day, this visit''s share of the day''s.';
comment on column public.session_visits.actual_start_time is 'When it began: a whole minute, like its end.';
comment on column public.session_visits.other_day_reason is
  'Why it began on another local day than it was booked for; null when it did not.';
comment on column public.session_visits.overlap_reason is
  'Why an admin let it overlap another visit of its therapist or client; null when it does not.';
alter table public.session_visits enable row level security;
create policy sessions_scoped_access on public.session_visits for select to authenticated
  using (
    organization_id = (select private.active_organization_id())
    and (
      (select private.is_admin())
      or exists (
        select 1
        from public.sessions as session
        where session.organization_id = session_visits.organization_id
          and session.id = session_visits.session_id
          and session.therapist_id = (select auth.uid())
          and (select private.active_role()) = 'therapist'
      )
    )
  );
comment on policy sessions_scoped_access on public.session_visits is
  'Admins see their organization''s; therapists those of their own sessions.';
grant select on public.session_visits to authenticated, service_role;
create trigger refuse_delete before delete on public.session_visits
  for each row
  -- correct_visit takes back a start, and keeps what was as a version.
  when (private.is_direct_write())
  execute function private.refuse_delete();
create trigger refuse_truncate before truncate on public.session_visits
  for each statement execute function private.refuse_delete();

create function private.guard_visit_times()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  session public.sessions;
begin
  new.actual_start_time := private.whole_minute(new.actual_start_time);
  new.actual_end_time := private.whole_minute(new.actual_end_time);
  if greatest(new.actual_start_time, new.actual_end_time) > clock_timestamp() then
    raise exception using
      errcode = 'check_violation', constraint = 'session_visits_past', schema = 'public', table = 'session_visits',
      message = 'a visit is recorded once it has begun, and its end once it has ended';
  end if;
  select known.* into session
  from public.sessions as known
  where known.organization_id = new.organization_id and known.id = new.session_id;
  if new.other_day_reason is null
    and private.service_date(session.organization_id, session.client_id, new.actual_start_time)
      <> private.service_date(session.organization_id, session.client_id, session.start_time)
  then
    raise exception using
      errcode = 'check_violation', constraint = 'session_visits_other_day', schema = 'public', table = 'session_visits',
      message = 'a visit begins on the local day it was booked for, or has a reason: other_day_reason';
  end if;
  return new;
end
$$;
comment on function private.guard_visit_times() is
  'Trigger: the times of a visit are whole minutes of the past, on the booked local day or with a reason, whoever enters them.';
create trigger a_guard_visit_times before insert or update of actual_start_time, actual_end_time, other_day_reason
  on public.session_visits
  for each row execute function private.guard_visit_times();

create function private.completion_gaps(session public.sessions, begun timestamptz, ended timestamptz)
returns jsonb
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  -- A visit is of the day on which it began, whichever it was booked for.
  date constant date := private.service_date(session.organization_id, session.client_id, coalesce(begun, session.start_time));
  code constant text := private.service_code(session.organization_id, session.cpt_code, session.session_type, date);
  service constant public.service_codes := private.service_code_on(session.organization_id, code, date);
  note public.session_note_states;
  differing text[];
begin
  select known.* into note
  from public.session_note_states as known
  where known.organization_id = session.organization_id and known.session_id = session.id;
  if note.status in ('signed', 'amended') and begun is not null and ended is not null then
    differing := private.differing_facts(
      private.attested_facts(session.organization_id, session.id), private.facts_of_visit(session, begun, ended)
    );
  end if;
  return (
    select jsonb_agg(
      jsonb_strip_nulls(jsonb_build_object('field', gap.field, 'message', gap.message, 'differs', gap.differs))
      order by gap.position
    )
    from (
      values
        (1, 'location_type', 'Where the session took place is not recorded.', session.location_type is null, null::text[]),
        (2, 'cpt_code', 'The session names no service.', code is null, null),
        (2, 'cpt_code', format('%s is no service code on %s: the session needs another code.', code, date),
          code is not null and service.code is null, null),
        (2, 'cpt_code', 'A technician cannot render a service that is a qualified professional''s.',
          service.code is not null and not private.may_render(session.organization_id, session.therapist_id, code, date), null),
        (3, 'note', 'The session has no note.', note.session_id is null, null),
        (4, 'signature', 'The note is not signed by the rendering provider, with their credential.',
          note.session_id is not null and (
            note.status = 'draft' or note.credential is null or note.signed_by is distinct from session.therapist_id
          ), null),
        (5, 'signature', 'The visit was corrected after its note was signed: the note must be amended.',
          note.status = 'needs_amendment', null),
        (6, 'signature',
          format('The note was signed for something else: %s. Amend the note, or correct the visit.', array_to_string(differing, ', ')),
          differing <> '{}', differing),
        (7, 'actual_start_time', 'When the visit began is not recorded.', begun is null, null),
        (8, 'actual_end_time', 'When the visit ended is not recorded.', ended is null, null),
        (9, 'clients', 'The service is for more clients, or fewer, than attend.', (
          select count(*)
          from public.sessions as member
          where member.organization_id = session.organization_id
            and member.status not in ('cancelled', 'no_show')
            and (member.id = session.id or member.group_id = session.group_id)
        ) not between service.min_clients and service.max_clients, null)
    ) as gap (position, field, message, is_open, differs)
    where gap.is_open
  );
end
$$;
comment on function private.completion_gaps(public.sessions, timestamptz, timestamptz) is
  'What a session still lacks to be completed with these times, as [{field, message, differs?}]; null when nothing. '
  'Participants, narrative, response and progress are in the note, which cannot be signed without them. differs: what is '
  'not as it was signed.';

create function private.guard_completion()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  visit public.session_visits;
  gaps jsonb;
begin
  if new.status = 'completed' and old.status <> 'completed' and auth.role() = 'authenticated' then
    select known.* into visit
    from public.session_visits as known
    where known.organization_id = new.organization_id and known.session_id = new.id;
    gaps := private.completion_gaps(new, visit.actual_start_time, visit.actual_end_time);
    if gaps is not null then
      raise exception using
        errcode = 'check_violation',
        constraint = 'session_incomplete',
        schema = 'public',
        table = 'sessions',
        message = 'the session cannot be completed yet: ' || (gaps -> 0 ->> 'message'),
        detail = gaps::text,
        hint = 'Call complete_session, which lists what is missing.';
    end if;
  end if;
  return new;
end
$$;
comment on function private.guard_completion() is 'Trigger: a user completes a session only when its record is whole.';
create trigger a_guard_completion before update of status on public.sessions
  for each row
  -- complete_session has asked already, for the times that it is given.
  when (private.is_direct_write())
  execute function private.guard_completion();

-- Requests ---------------------------------------------------------------------------------------------------------------

create function private.record_status(actor private.actor, session public.sessions, before jsonb, as_of timestamptz)
returns void
language plpgsql
set search_path = ''
as $$
begin
  perform private.record_event(
    actor.organization_id, 'session.' || session.status, 'session', array[session.id], as_of,
    therapist_id => session.therapist_id, actor_role => actor.role::text,
    before => before, after => jsonb_build_array(private.facts_of_row(to_jsonb(session)))
  );
end
$$;
comment on function private.record_status(private.actor, public.sessions, jsonb, timestamptz) is
  'The audit event of a session that was started or completed.';

create function private.told_visit(
  session public.sessions,
  visit public.session_visits,
  begun timestamptz,
  ended timestamptz,
  other_day_reason text,
  as_of timestamptz
)
returns public.session_visits
language plpgsql
stable
set search_path = ''
as $$
declare
  booked_date constant date := private.service_date(session.organization_id, session.client_id, session.start_time);
  begun_date date;
begin
  begun := private.whole_minute(coalesce(begun, visit.actual_start_time));
  ended := private.whole_minute(coalesce(ended, visit.actual_end_time));
  other_day_reason := coalesce(other_day_reason, visit.other_day_reason);
  begun_date := private.service_date(session.organization_id, session.client_id, begun);
  if begun > as_of or ended > as_of then
    perform private.raise_invalid(
      private.issue(case when begun > as_of then 'actual_start_time' else 'actual_end_time' end, 'is in the future')
    );
  elsif ended <= begun or ended - begun > interval '16 hours' then
    perform private.raise_invalid(
      private.issue('actual_end_time', 'must be after actual_start_time, by at most 16 hours'), 'INVALID_RANGE'
    );
  elsif begun_date <> booked_date and other_day_reason is null then
    perform private.raise_invalid(private.issue(
      'other_day_reason',
      format('is required: the visit began on %s, and is booked for %s. Correct actual_start_time, or say why', begun_date, booked_date)
    ));
  end if;
  visit.organization_id := session.organization_id;
  visit.session_id := session.id;
  visit.actual_start_time := begun;
  visit.actual_end_time := ended;
  visit.other_day_reason := other_day_reason;
  return visit;
end
$$;
comment on function private.told_visit(
  public.sessions, public.session_visits, timestamptz, timestamptz, text, timestamptz
) is
  'The visit of a session with the times and the reason that are told, else those that it has, cut to whole minutes. PT400 '
  'unless it can have had these times: past, in order, at most 16 hours, begun on the local day it was booked for unless a '
  'reason is given. Unknown times (null) pass.';

create function private.visit_overlap_refusal(
  actor private.actor,
  session public.sessions,
  other_visits jsonb,
  attempted text,
  overlap_reason text
)
returns jsonb
language plpgsql
set search_path = ''
as $$
begin
  if overlap_reason is not null and actor.role not in ('admin', 'super_admin') then
    return private.refuse(
      actor, 'session.refused', array[session.id], 'FORBIDDEN', 'Only an admin lets visits overlap.', session.therapist_id,
      details => jsonb_build_object('attempted', attempted)
    );
  elsif other_visits is not null and overlap_reason is null then
    return private.refuse(
      actor, 'session.refused', array[session.id], 'VISIT_OVERLAPS',
      'The visit overlaps another one of the same therapist, or of the same client in services that exclude each other: see overlaps.',
      session.therapist_id, details => jsonb_build_object('attempted', attempted),
      more => jsonb_build_object('overlaps', other_visits)
    );
  end if;
  return null;
end
$$;
comment on function private.visit_overlap_refusal(private.actor, public.sessions, jsonb, text, text) is
  'The refusal of a visit that overlaps others without an admin''s reason; null when there is none.';

create function private.record_overlap(
  actor private.actor,
  session public.sessions,
  other_visits jsonb,
  overlap_reason text,
  as_of timestamptz
)
returns void
language plpgsql
set search_path = ''
as $$
begin
  perform private.record_event(
    actor.organization_id, 'override.visit_overlap', 'session', array[session.id], as_of,
    therapist_id => session.therapist_id, actor_role => actor.role::text,
    details => jsonb_build_object('reason', overlap_reason, 'overlaps', other_visits)
  );
end
$$;
comment on function private.record_overlap(private.actor, public.sessions, jsonb, text, timestamptz) is
  'The audit event of a visit that an admin let overlap others.';

create function private.begin_visit(
  actor private.actor, session public.sessions, wanted private.visit_request, as_of timestamptz
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  before constant jsonb := jsonb_build_array(private.facts_of_row(to_jsonb(session)));
  visit public.session_visits;
begin
  if session.start_time > as_of + interval '12 hours' then
    return private.refuse(
      actor, 'session.refused', array[session.id], 'NOT_TODAY',
      'A session begins at most 12 hours before the time it is booked for. Move it first.', session.therapist_id,
      details => '{"attempted": "start"}'
    );
  end if;
  visit := private.told_visit(
    session, null, coalesce(wanted.actual_start_time::timestamptz, as_of), null, wanted.other_day_reason, as_of
  );
  insert into public.session_visits (organization_id, session_id, actual_start_time, other_day_reason, started_by)
  values (actor.organization_id, session.id, visit.actual_start_time, visit.other_day_reason, actor.user_id);
  update public.sessions as changed
  set status = 'in_progress', updated_at = as_of
  where changed.organization_id = actor.organization_id and changed.id = session.id
  returning * into session;
  perform private.stop_moves(actor.organization_id, array[session.id], as_of, actor.role::text);
  perform private.record_status(actor, session, before, as_of);
  return private.success(jsonb_build_object('session', to_jsonb(session), 'actualStartTime', private.iso(visit.actual_start_time)));
end
$$;
comment on function private.begin_visit(private.actor, public.sessions, private.visit_request, timestamptz) is
  'What start_session does once the session and its people are locked.';

create function private.end_visit(
  actor private.actor, session public.sessions, wanted private.visit_request, as_of timestamptz
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  before public.session_visits;
  visit public.session_visits;
begin
  select known.* into before
  from public.session_visits as known
  where known.organization_id = actor.organization_id and known.session_id = session.id;
  if coalesce(wanted.actual_start_time::timestamptz, before.actual_start_time) is null then
    perform private.raise_invalid(private.issue('actual_start_time', 'is required: when the visit began is not recorded'));
  end if;
  visit := private.told_visit(
    session, before, wanted.actual_start_time::timestamptz, coalesce(wanted.actual_end_time::timestamptz, as_of),
    wanted.other_day_reason, as_of
  );
  visit.recorded_at := as_of;
  insert into public.session_visits select visit.*
  on conflict (organization_id, session_id) do update
  set actual_start_time = excluded.actual_start_time, actual_end_time = excluded.actual_end_time,
    other_day_reason = excluded.other_day_reason, recorded_at = excluded.recorded_at;
  perform private.record_event(
    actor.organization_id, 'visit.ended', 'session', array[session.id], as_of,
    therapist_id => session.therapist_id, actor_role => actor.role::text,
    before => private.visit_facts(session, before), after => private.visit_facts(session, visit)
  );
  return private.success(jsonb_build_object(
    'session', to_jsonb(session), 'actualStartTime', private.iso(visit.actual_start_time),
    'actualEndTime', private.iso(visit.actual_end_time)
  ));
end
$$;
comment on function private.end_visit(private.actor, public.sessions, private.visit_request, timestamptz) is
  'What end_session does once the session and its people are locked.';

create function private.finish_visit(
  actor private.actor, session public.sessions, wanted private.visit_request, as_of timestamptz
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  before constant jsonb := jsonb_build_array(private.facts_of_row(to_jsonb(session)));
  visit public.session_visits;
  missing jsonb;
  other_visits jsonb;
  refusal jsonb;
  completed public.sessions := session;
begin
  select candidate.* into visit
  from public.session_visits as candidate
  where candidate.organization_id = actor.organization_id and candidate.session_id = session.id;
  visit := private.told_visit(
    session, visit, wanted.actual_start_time::timestamptz, wanted.actual_end_time::timestamptz, wanted.other_day_reason, as_of
  );
  missing := private.completion_gaps(session, visit.actual_start_time, visit.actual_end_time);
  if missing is not null then
    return private.refuse(
      actor, 'session.refused', array[session.id], 'SESSION_INCOMPLETE', 'The session cannot be completed yet: see missing.',
      session.therapist_id, details => '{"attempted": "complete"}', more => jsonb_build_object('missing', missing)
    );
  end if;
  completed.status := 'completed';
  other_visits := private.visits_in_the_way(
    private.claims_of_visit(completed, visit.actual_start_time, visit.actual_end_time), actor
  );
  refusal := private.visit_overlap_refusal(actor, session, other_visits, 'complete', private.tidy(wanted.overlap_reason));
  if refusal is not null then
    return refusal;
  end if;

  visit.overlap_reason := case when other_visits is not null then private.tidy(wanted.overlap_reason) end;
  visit.completed_by := actor.user_id;
  visit.recorded_at := clock_timestamp();
  insert into public.session_visits select visit.*
  on conflict (organization_id, session_id) do update
  set actual_start_time = excluded.actual_start_time, actual_end_time = excluded.actual_end_time,
    other_day_reason = excluded.other_day_reason, overlap_reason = excluded.overlap_reason,
    completed_by = excluded.completed_by, recorded_at = excluded.recorded_at;
  update public.sessions as changed
  set status = 'completed', updated_at = as_of
  where changed.organization_id = actor.organization_id and changed.id = session.id
  returning * into completed;
  if not private.sync_visit_claims(actor.organization_id, array[session.id]) then
    -- Only a visit that was written without these locks; asked again, it is found above.
    raise exception using errcode = 'serialization_failure', message = 'a visit appeared that was not there before';
  end if;
  perform private.record_status(actor, completed, before, as_of);
  if visit.overlap_reason is not null then
    perform private.record_overlap(actor, completed, other_visits, visit.overlap_reason, as_of);
  end if;
  perform private.count_visits(actor.organization_id, array[session.id]);
  return private.success(jsonb_build_object(
    'session', to_jsonb(completed), 'actualStartTime', private.iso(visit.actual_start_time),
    'actualEndTime', private.iso(visit.actual_end_time),
    'units', (
      select counted.units from public.session_visits as counted
      where counted.organization_id = actor.organization_id and counted.session_id = session.id
    ),
    'version', private.visit_version(actor.organization_id, session.id)
  ) || private.warnings_in(private.warnings_of_sessions(actor.organization_id, array[session.id], as_of)));
end
$$;
comment on function private.finish_visit(private.actor, public.sessions, private.visit_request, timestamptz) is
  'What complete_session does once the session and its people are locked.';

create function private.lock_session(
  actor private.actor,
  session_id uuid,
  attempted text,
  other_ids uuid[],
  out session public.sessions,
  out refusal jsonb
)
language plpgsql
set search_path = ''
as $$
begin
  -- Asked before any lock, so that nobody makes others wait for what they may not do; and again with the session's row.
  if exists (
    select from public.sessions as candidate
    where candidate.organization_id = actor.organization_id and candidate.id = session_id
      and private.may_ask(actor, candidate.therapist_id)
  ) then
    perform private.share_organization(actor.organization_id);
    -- A cancellation, a move, a correction or a second completion would act on the state this one is changing.
    select candidate.* into session
    from public.sessions as candidate
    where candidate.organization_id = actor.organization_id and candidate.id = session_id
      and private.may_ask(actor, candidate.therapist_id)
    for no key update;
  end if;
  if session.id is null then
    refusal := private.refuse(
      actor, 'session.refused', array[session_id], 'FORBIDDEN',
      format('This session is not yours to %s.', case attempted when 'correct' then 'correct' else 'change' end),
      details => jsonb_build_object('attempted', attempted)
    );
    return;
  end if;
  -- A hold that reads the units left, or the free time, while these are given back or used, would read what is no longer
  -- so; and two visits of one person that overlap would both be completed.
  perform private.lock_resources(
    actor.organization_id, private.lock_targets(actor.organization_id, array[session.id]) || other_ids
  );
  perform private.require_same_role(actor);
end
$$;
comment on function private.lock_session(private.actor, uuid, text, uuid[]) is
  'A session whose therapist, or an admin, is about to say what became of it: its row and its people locked, with those of '
  'other_ids. For anybody else the refusal.';

create function private.change_lifecycle(action text, request jsonb, request_id text default null)
returns jsonb
language plpgsql
security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '5s'
as $$
declare
  actor private.actor := private.begin_booking(request_id);
  wanted private.visit_request := private.read_request(request, null::private.visit_request, '{session_id}');
  locked record;
  session public.sessions;
  as_of timestamptz;
begin
  locked := private.lock_session(actor, wanted.session_id, action, '{}');
  if locked.refusal is not null then
    return locked.refusal;
  end if;
  session := locked.session;
  as_of := clock_timestamp();

  if session.status::text <> (case when action in ('end', 'complete') then 'in_progress' else 'scheduled' end)
    and not (action = 'no_show' and session.status = 'in_progress')
  then
    return private.refuse(
      actor, 'session.refused', array[session.id], 'STATUS_NOT_ALLOWED',
      format('A session that is %s cannot do this. Reload it.', session.status),
      session.therapist_id, details => jsonb_build_object('attempted', action)
    );
  elsif action = 'no_show' and session.start_time > as_of then
    return private.refuse(
      actor, 'session.refused', array[session.id], 'STATUS_NOT_ALLOWED',
      'A session that has not begun cannot be missed yet: cancel it.', session.therapist_id,
      details => jsonb_build_object('attempted', action)
    );
  elsif action = 'no_show' then
    perform private.end_sessions(actor, array[session.id], 'no_show', as_of);
    return private.success(jsonb_build_object('session', (
      select to_jsonb(known) from public.sessions as known
      where known.organization_id = actor.organization_id and known.id = session.id
    )));
  end if;
  wanted.other_day_reason := private.tidy(wanted.other_day_reason);
  return case action
    when 'start' then private.begin_visit(actor, session, wanted, as_of)
    when 'end' then private.end_visit(actor, session, wanted, as_of)
    else private.finish_visit(actor, session, wanted, as_of)
  end;
exception
  when lock_not_available or deadlock_detected or serialization_failure or query_canceled then
    perform private.raise_busy(sqlstate, sqlerrm);
end
$$;
comment on function private.change_lifecycle(text, jsonb, text) is
  'Starts, ends or completes a session, or marks it missed. Returns an outcome; raises PT400, PT401, PT403, PT503.';

select private.publish_booking('start_session',
  'scheduled -> in_progress. request is {session_id, actual_start_time?, other_day_reason?}; without a time, now. Seconds '
  'are cut. Outcome body: {session, actualStartTime}. PT400 for a time ahead, or on another local day than booked without '
  'other_day_reason. 403 FORBIDDEN; 409 STATUS_NOT_ALLOWED, NOT_TODAY (over 12 hours before its time).',
  'change_lifecycle', 'start'
);

select private.publish_booking('end_session',
  'Records when the visit of a session in progress ended, so that its note can be signed. request is {session_id, '
  'actual_start_time?, actual_end_time?, other_day_reason?}; without an end, now; a visit documented late gives both times. '
  'Seconds are cut. May be repeated until the session is completed; a note that is signed by then must be amended. Outcome '
  'body: {session, actualStartTime, actualEndTime}. PT400 for times ahead, out of order, over 16 hours, or on another local '
  'day than booked without other_day_reason. 403 FORBIDDEN; 409 STATUS_NOT_ALLOWED.',
  'change_lifecycle', 'end'
);

select private.publish_booking('complete_session',
  'in_progress -> completed. request is {session_id, actual_start_time?, actual_end_time?, other_day_reason?, '
  'overlap_reason?}; times left out are those that start_session and end_session recorded. Outcome body: {session, '
  'actualStartTime, actualEndTime, units, version, warnings?}; warnings as of a hold, and AUTHORIZATION_EXCEEDED for what '
  'goes beyond an authorization: it happened, and is entered as beyond it. PT400 for times ahead, out of order, over 16 hours, or on another local '
  'day than booked without other_day_reason. 409 SESSION_INCOMPLETE lists in missing, as [{field, message, differs?}], what '
  'the record lacks: location_type, cpt_code, note, signature, actual_start_time, actual_end_time, clients; differs of '
  'signature names what is not as it was signed: therapist_id, client_id, cpt_code, cpt_modifiers, location_type, time_zone, '
  'actual_start_time, actual_end_time. 409 '
  'VISIT_OVERLAPS lists in overlaps, as [{resource, sessionId, startTime, endTime}], the completed visits of its therapist or '
  'client that it overlaps in actual time; an admin lets it overlap with overlap_reason.',
  'change_lifecycle', 'complete'
);

select private.publish_booking('mark_no_show',
  'The client did not come: scheduled or in_progress -> no_show, once the start has passed. request is {session_id}. '
  'Gives the units back.',
  'change_lifecycle', 'no_show'
);
