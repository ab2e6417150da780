-- Purpose: session notes, sealed by the session-notes edge function, signed by the rendering provider, never changed.
-- Objects: private.session_note_versions, public.session_note_states; prepare_note, save_note_draft, sign_note,
--          amend_note, read_note, note_history.
-- Watch for: a note is its versions, and a version is inserted once: draft, draft, signed, amended, amended. There is no
--            table grant on them: every read goes through a function that records it. Only the rendering provider
--            writes; admins read. The triggers hold the rules against direct SQL as well.

create table private.session_note_versions (
  organization_id uuid not null,
  session_id uuid not null,
  id uuid not null,
  version bigint not null check (version > 0),
  status text not null check (status in ('draft', 'signed', 'amended')),
  data_key_id uuid not null,
  ciphertext text not null,
  proof text not null,
  saved_by uuid not null,
  saved_at timestamptz not null default clock_timestamp(),
  signed_at timestamptz,
  credential text,
  attested jsonb,
  primary key (organization_id, id),
  unique (organization_id, session_id, version),
  foreign key (organization_id, session_id) references public.sessions (organization_id, id),
  foreign key (organization_id, data_key_id) references private.data_keys (organization_id, id),
  foreign key (organization_id, saved_by) references public.therapists (organization_id, id),
  constraint session_note_versions_sealed check (private.is_sealed(ciphertext, data_key_id)),
  constraint session_note_versions_signature check (
    (status = 'draft') = (signed_at is null)
    and (status = 'draft') = (credential is null)
    and (status = 'draft') = (attested is null)
  )
);
comment on table private.session_note_versions is
  'Every version of every session note, sealed. Rows are inserted and never changed; drafts go 30 days after the signature. Contents, participants and reasons '
  'for amendments are inside the envelope.';
comment on column private.session_note_versions.id is
  'Made before sealing: the envelope is bound to it, to the session, the organization and this column.';
comment on column private.session_note_versions.proof is
  'Made by the edge function that sealed and, for a signature, checked the content: over this row, its session, status, '
  'version, author, attested facts and ciphertext. Checked before a row is kept, so random bytes are no signature.';
comment on column private.session_note_versions.signed_at is
  'When saved_by, the rendering provider, signed this version, with the credential she had then.';
comment on column private.session_note_versions.attested is
  'The facts of the visit that they signed for: private.facts_of_visit.';
create index session_note_versions_data_key_idx on private.session_note_versions (organization_id, data_key_id);
create index session_note_versions_saved_by_idx on private.session_note_versions (organization_id, saved_by);
alter table private.session_note_versions enable row level security;
create policy deny_all on private.session_note_versions using (false);

create table public.session_note_states (
  organization_id uuid not null,
  session_id uuid not null,
  version bigint not null,
  status text not null check (status in ('draft', 'signed', 'amended', 'needs_amendment')),
  signed_by uuid,
  credential text,
  signed_at timestamptz,
  updated_at timestamptz not null,
  primary key (organization_id, session_id),
  foreign key (organization_id, session_id) references public.sessions (organization_id, id),
  constraint session_note_states_signature check (
    (status = 'draft') = (signed_at is null) and (signed_at is null) = (signed_by is null)
  )
);
comment on table public.session_note_states is
  'Whether a session has a note, and whether it is signed; nothing of what it says. Kept by a trigger, for reports and '
  'for completing sessions. Apart from sessions, since clients may not read it.';
comment on column public.session_note_states.status is
  'That of its latest version; needs_amendment when the visit was corrected after that was signed.';
alter table public.session_note_states enable row level security;
create policy sessions_scoped_access on public.session_note_states for select to authenticated
  using (
    organization_id = (select private.active_organization_id())
    and (
      (select private.is_admin())
      or exists (
        select 1
        from public.sessions as session
        where session.organization_id = session_note_states.organization_id
          and session.id = session_note_states.session_id
          and session.therapist_id = (select auth.uid())
          and (select private.active_role()) = 'therapist'
      )
    )
  );
comment on policy sessions_scoped_access on public.session_note_states is
  'Admins see their organization''s; therapists those of their own sessions.';
grant select on public.session_note_states to authenticated, service_role;

create function private.note_statement(note private.session_note_versions)
returns text[]
language sql
immutable
set search_path = ''
return array[
  'session_note_versions', note.organization_id::text, note.session_id::text, note.id::text, note.status,
  note.version::text, note.saved_by::text, coalesce(private.text_digest(note.attested::text), 'draft'),
  private.text_digest(note.ciphertext)
];
comment on function private.note_statement(private.session_note_versions) is
  'What the proof of a version of a note is made over.';

create function private.facts_of_visit(session public.sessions, begun timestamptz, ended timestamptz)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return jsonb_build_object(
    'therapistId', session.therapist_id, 'clientId', session.client_id,
    'cptCode', private.service_code(
      session.organization_id, session.cpt_code, session.session_type,
      private.service_date(session.organization_id, session.client_id, coalesce(begun, session.start_time))
    ),
    'cptModifiers', session.cpt_modifiers, 'locationType', session.location_type, 'timeZone', session.time_zone,
    'actualStartTime', private.iso(begun), 'actualEndTime', private.iso(ended)
  );
end
$$;
comment on function private.facts_of_visit(public.sessions, timestamptz, timestamptz) is
  'What the signature of a note stands for: who rendered what to whom, where, from when until when.';

create function private.session_facts(session public.sessions)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
  visit record;
begin
  select known.actual_start_time, known.actual_end_time into visit
  from public.session_visits as known
  where known.organization_id = session.organization_id and known.session_id = session.id;
  if session.status = 'completed' and visit.actual_end_time is null then
    -- Completed by an operator who recorded no times: it went as it was booked.
    return private.facts_of_visit(session, session.start_time, session.end_time);
  end if;
  return private.facts_of_visit(session, visit.actual_start_time, visit.actual_end_time);
end
$$;
comment on function private.session_facts(public.sessions) is
  'private.facts_of_visit of a session''s visit as it is recorded now; times that are not known yet are null.';

create function private.attested_facts(organization_id uuid, session_id uuid)
returns jsonb
language sql
stable
set search_path = ''
return (
  select note.attested
  from private.session_note_versions as note
  where note.organization_id = attested_facts.organization_id and note.session_id = attested_facts.session_id
    and note.status <> 'draft'
  order by note.version desc
  limit 1
);
comment on function private.attested_facts(uuid, uuid) is 'What the latest signature of a session''s note stands for; null without one.';

create function private.differing_facts(attested jsonb, facts jsonb)
returns text[]
language sql
immutable
set search_path = ''
return array(
  -- The names of columns, by which requests call them.
  select lower(regexp_replace(fact.key, '([A-Z])', '_\1', 'g'))
  from jsonb_each(facts) as fact
  where fact.value is distinct from attested -> fact.key
  order by fact.key
);
comment on function private.differing_facts(jsonb, jsonb) is
  'Which facts of a visit are not as they were signed, by their columns'' names. Empty: all are.';

create function private.undocumentable(session public.sessions, status text)
returns text
language sql
stable
set search_path = ''
return case
  when status = 'draft' and session.status in ('cancelled', 'no_show')
    then format('The session is %s: it takes no notes.', session.status)
  when status = 'signed' and session.status not in ('in_progress', 'completed')
    then format('The session is %s: its note can be signed once the visit has ended.', session.status)
  when status <> 'draft' and session.status = 'in_progress'
    and private.session_facts(session) ->> 'actualEndTime' is null
    then 'When the visit ended is not recorded: end the session, then sign its note.'
end;
comment on function private.undocumentable(public.sessions, text) is
  'Why the note of a session takes no version of this status now; null when it does.';

create function private.guard_note_version()
returns trigger
language plpgsql
set search_path = ''
as $$
declare
  session public.sessions;
  latest record;
begin
  -- Two savers of one note would both take the next version, and a session could end while its note is being signed.
  select * into session
  from public.sessions as candidate
  where candidate.organization_id = new.organization_id and candidate.id = new.session_id
  for no key update;

  select max(note.version) as version, coalesce(bool_or(note.status <> 'draft'), false) as is_signed into latest
  from private.session_note_versions as note
  where note.organization_id = new.organization_id and note.session_id = new.session_id;

  if new.version <> coalesce(latest.version, 0) + 1 then
    raise exception using errcode = 'check_violation', message = 'versions of a note follow one another without a gap';
  elsif latest.is_signed and new.status <> 'amended' then
    raise exception using errcode = 'check_violation', message = 'a signed note is only amended';
  elsif not latest.is_signed and new.status = 'amended' then
    raise exception using errcode = 'check_violation', message = 'only a signed note is amended';
  elsif new.saved_by is distinct from session.therapist_id then
    raise exception using errcode = 'check_violation', message = 'only the rendering provider writes and signs a note';
  elsif private.undocumentable(session, new.status) is not null then
    raise exception using errcode = 'check_violation', message = private.undocumentable(session, new.status);
  elsif new.status <> 'draft' and new.attested is distinct from private.session_facts(session) then
    raise exception using errcode = 'check_violation', message = 'a signature attests the visit as it is recorded';
  elsif not private.proof_holds(new.proof, private.note_statement(new)) then
    raise exception using
      errcode = 'check_violation',
      constraint = 'session_note_versions_proof',
      schema = 'private',
      table = 'session_note_versions',
      message = 'a version of a note needs the proof of the function that sealed it';
  end if;
  return new;
end
$$;
comment on function private.guard_note_version() is
  'Trigger: drafts until signed, amendments after that, each by the session''s therapist and with its proof; '
  'signed once the end of the visit is known, and for the visit as it is recorded then.';

create function private.record_note_version()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  earlier private.session_note_versions;
begin
  insert into public.session_note_states as state (
    organization_id, session_id, version, status, signed_by, credential, signed_at, updated_at
  )
  values (
    new.organization_id, new.session_id, new.version, new.status,
    case when new.status <> 'draft' then new.saved_by end, new.credential, new.signed_at, new.saved_at
  )
  on conflict (organization_id, session_id) do update
  set version = excluded.version, status = excluded.status, signed_by = excluded.signed_by,
    credential = excluded.credential, signed_at = excluded.signed_at, updated_at = excluded.updated_at;

  select * into earlier
  from private.session_note_versions as note
  where note.organization_id = new.organization_id
    and note.session_id = new.session_id
    and note.version = new.version - 1;
  perform private.record_event(
    new.organization_id,
    case new.status when 'draft' then 'note.saved' when 'signed' then 'note.signed' else 'note.amended' end,
    'note', array[new.session_id, new.id], new.saved_at,
    before => case when earlier.id is not null then private.note_facts(earlier) end,
    after => private.note_facts(new) || jsonb_build_object('ciphertext', new.ciphertext)
  );
  return null;
end
$$;
comment on function private.record_note_version() is
  'Trigger: brings session_note_states up to date and records one event. The event keeps the new version''s ciphertext, '
  'and of the old one its id and digest, which its own event keeps in full.';

create function private.guard_note_removal()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  if old.status <> 'draft' or not exists (
    select 1
    from private.session_note_versions as note
    where note.organization_id = old.organization_id
      and note.session_id = old.session_id
      and note.status = 'signed'
      and note.signed_at < clock_timestamp() - interval '30 days'
  ) then
    raise exception using
      errcode = 'restrict_violation',
      message = 'versions of notes are records and cannot be deleted',
      hint = 'Only drafts go, when the note has been signed for 30 days: see private.sweep_drafts.';
  end if;
  return old;
end
$$;
comment on function private.guard_note_removal() is
  'Trigger: of a note''s versions only drafts are removed, 30 days after it was signed.';

create function private.record_note_removal()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
begin
  perform private.record_event(
    removed.organization_id, 'note.drafts_removed', 'note', array[removed.session_id] || removed.ids, clock_timestamp(),
    before => removed.facts
  )
  from (
    select draft.organization_id, draft.session_id, array_agg(draft.id order by draft.version) as ids,
      jsonb_agg(jsonb_build_object('versionId', draft.id, 'version', draft.version, 'sha256', private.text_digest(draft.ciphertext))
        order by draft.version) as facts
    from old_rows as draft
    group by draft.organization_id, draft.session_id
  ) as removed;
  return null;
end
$$;
comment on function private.record_note_removal() is
  'Trigger: one event for each note whose drafts were removed. Their ciphertext is in the events of their saving.';

create function private.note_facts(note private.session_note_versions)
returns jsonb
language sql
immutable
set search_path = ''
return jsonb_build_object(
  'versionId', note.id, 'version', note.version, 'status', note.status, 'dataKeyId', note.data_key_id,
  'sha256', encode(sha256(convert_to(note.ciphertext, 'UTF8')), 'hex')
) || case
  when note.status = 'draft' then '{}'::jsonb
  else jsonb_build_object(
    'signedBy', note.saved_by, 'credential', note.credential, 'signedAt', private.iso(note.signed_at),
    'attested', note.attested
  )
end;
comment on function private.note_facts(private.session_note_versions) is
  'What the audit says of a version: which it is, the SHA-256 of its ciphertext, and its signature.';

create trigger a_guard_note_version before insert on private.session_note_versions
  for each row execute function private.guard_note_version();
create trigger record_note_version after insert on private.session_note_versions
  for each row execute function private.record_note_version();
create trigger refuse_update before update on private.session_note_versions
  for each row execute function private.refuse_update();
create trigger refuse_delete before delete on private.session_note_versions
  for each row execute function private.guard_note_removal();
create trigger record_note_removal after delete on private.session_note_versions
  referencing old table as old_rows
  for each statement execute function private.record_note_removal();
create trigger refuse_truncate before truncate on private.session_note_versions
  for each statement execute function private.refuse_delete();
-- Nobody writes the state of a note by hand, so that "signed" always means that there is a signed version: only the
-- triggers on the versions, and of a correction, do.
create trigger guard_note_state before insert or update on public.session_note_states
  for each row
  when (pg_trigger_depth() = 0)
  execute function private.refuse_write(
    'restrict_violation', 'the state of a note follows its versions', 'Save, sign or amend the note.'
  );
create trigger refuse_delete before delete or truncate on public.session_note_states
  for each statement execute function private.refuse_delete();

-- Requests -----------------------------------------------------------------------------------------------------------

create function private.refuse_note(actor private.actor, session_id uuid, attempted text, code text, detail text)
returns jsonb
language sql
set search_path = ''
return private.refuse(
  actor, 'note.refused', array[session_id], code, detail, details => jsonb_build_object('attempted', attempted)
);
comment on function private.refuse_note(private.actor, uuid, text, text, text) is 'As private.refuse, of a note.';

create function private.note_session(actor private.actor, session_id uuid, writing boolean)
returns public.sessions
language plpgsql
stable
set search_path = ''
as $$
declare
  session public.sessions;
begin
  select candidate.* into session
  from public.sessions as candidate
  where candidate.organization_id = actor.organization_id
    and candidate.id = note_session.session_id
    and actor.role <> 'client'
    and (candidate.therapist_id = actor.user_id or (actor.role in ('admin', 'super_admin') and not writing))
    and (not writing or exists (
      select 1
      from public.therapists as therapist
      where therapist.organization_id = actor.organization_id
        and therapist.id = actor.user_id
        and therapist.deleted_at is null
    ));
  return session;
end
$$;
comment on function private.note_session(private.actor, uuid, boolean) is
  'The session, if the caller may read its note (her own session, or any as admin) or write it (her own only, whatever '
  'her role). A row of nulls otherwise: whether the session exists is not told.';

create domain private.note_purpose as text check (value in ('reading', 'signing'));
comment on domain private.note_purpose is 'must be "reading" or "signing"';

create domain private.note_attempt as text check (value in ('save_draft', 'sign', 'amend'));
comment on domain private.note_attempt is 'must be "save_draft", "sign" or "amend"';

create type private.note_request as (
  session_id uuid,
  version private.record_version,
  purpose private.note_purpose,
  attempted private.note_attempt,
  id uuid,
  base_version private.base_version,
  ciphertext text,
  content_mac private.hex_digest,
  facts_digest private.hex_digest,
  proof private.proof
);
comment on type private.note_request is 'A request about a note, each field within its bounds.';
select private.make_readable('{note_request}');

create function private.note_answer(note private.session_note_versions)
returns jsonb
language sql
immutable
set search_path = ''
return jsonb_build_object(
  'sessionId', note.session_id, 'versionId', note.id, 'version', note.version, 'status', note.status,
  'savedBy', note.saved_by, 'savedAt', private.iso(note.saved_at),
  'signature', case
    when note.status <> 'draft' then jsonb_build_object(
      'signedBy', note.saved_by, 'credential', note.credential, 'signedAt', private.iso(note.signed_at),
      'attested', note.attested
    )
  end
);
comment on function private.note_answer(private.session_note_versions) is 'A version as it is answered, without its content.';

create function private.prepare_note(request jsonb, request_id text default null)
returns jsonb
language plpgsql
security definer
set search_path = ''
set timezone = 'UTC'
as $$
declare
  actor private.actor := private.begin_request(request_id);
  wanted private.note_request := private.read_request(request, null::private.note_request, '{session_id}');
  session public.sessions;
begin
  session := private.note_session(actor, wanted.session_id, true);
  if session.id is null then
    return private.refuse_note(
      actor, wanted.session_id, coalesce(wanted.attempted, 'write'), 'FORBIDDEN',
      'Only the session''s therapist writes and signs its note.'
    );
  end if;
  return private.success(jsonb_build_object(
    'organizationId', actor.organization_id,
    'authorId', actor.user_id,
    'session', private.session_facts(session),
    'factsDigest', private.text_digest(private.session_facts(session)::text),
    'key', private.active_data_key(actor.organization_id)
  ));
end
$$;
comment on function private.prepare_note(jsonb, text) is
  'What sealing a note takes: the wrapped active key (null before an organization''s first), the facts of the session and '
  'their digest, which a signature stands for, and who signs. '
  'Only for the session''s therapist; others are refused, and that is recorded.';

create function private.save_note(
  status text, request jsonb, idempotency_key text default null, request_id text default null
)
returns jsonb
language plpgsql
security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '5s'
as $$
declare
  actor private.actor := private.begin_request(request_id);
  wanted private.note_request := private.read_request(
    request, null::private.note_request, '{session_id,id,base_version,ciphertext,content_mac,proof}'
  );
  attempted text := case save_note.status when 'draft' then 'save_draft' when 'signed' then 'sign' else 'amend' end;
  fingerprint bytea;
  outcome jsonb;
  session public.sessions;
  latest private.session_note_versions;
  saved private.session_note_versions;
  as_of timestamptz;
begin
  perform private.require_sealed(wanted.ciphertext, actor.organization_id);
  session := private.note_session(actor, wanted.session_id, true);
  if session.id is null then
    return private.refuse_note(
      actor, wanted.session_id, attempted, 'FORBIDDEN', 'Only the session''s therapist writes and signs its note.'
    );
  end if;
  -- Each sealing gives another ciphertext: what makes two requests the same is the keyed digest of their content.
  fingerprint := private.fingerprint(jsonb_build_object(
    'attempted', attempted, 'sessionId', wanted.session_id, 'baseVersion', wanted.base_version, 'contentMac', wanted.content_mac
  ));
  outcome := private.find_replay(actor.organization_id, actor.user_id, 'session-notes', idempotency_key, fingerprint);
  if outcome is not null then
    return outcome;
  end if;

  -- Two savers of one note would both build on the same version, and a session could be cancelled while it is signed for.
  perform 1
  from public.sessions as candidate
  where candidate.organization_id = actor.organization_id and candidate.id = wanted.session_id
  for no key update;
  as_of := clock_timestamp();
  -- Asked again: she may have been removed, or the session given to somebody else, while this waited.
  actor := private.require_actor();
  session := private.note_session(actor, wanted.session_id, true);
  if session.id is null then
    return private.refuse_note(
      actor, wanted.session_id, attempted, 'FORBIDDEN', 'Only the session''s therapist writes and signs its note.'
    );
  end if;
  select * into latest
  from private.session_note_versions as note
  where note.organization_id = actor.organization_id and note.session_id = wanted.session_id
  order by note.version desc
  limit 1;

  if latest.status in ('signed', 'amended') and save_note.status <> 'amended' then
    return private.refuse_note(
      actor, wanted.session_id, attempted, 'NOTE_SIGNED', 'The note is signed and no longer changes. Amend it instead.'
    );
  elsif latest.status is distinct from 'signed' and latest.status is distinct from 'amended'
    and save_note.status = 'amended'
  then
    return private.refuse_note(
      actor, wanted.session_id, attempted, 'NOTE_NOT_SIGNED', 'Only a signed note is amended. Save a draft, or sign it.'
    );
  elsif wanted.base_version <> coalesce(latest.version, 0) then
    return private.refuse_note(
      actor, wanted.session_id, attempted, 'NOTE_VERSION_CONFLICT',
      format('The note is at version %s, not %s. Read it again and save on top of it.', coalesce(latest.version, 0), wanted.base_version)
    );
  elsif private.undocumentable(session, save_note.status) is not null then
    return private.refuse_note(
      actor, wanted.session_id, attempted, 'SESSION_NOT_DOCUMENTABLE', private.undocumentable(session, save_note.status)
    );
  end if;

  saved.organization_id := actor.organization_id;
  saved.session_id := wanted.session_id;
  saved.id := wanted.id;
  saved.version := coalesce(latest.version, 0) + 1;
  saved.status := save_note.status;
  saved.data_key_id := split_part(wanted.ciphertext, '.', 2)::uuid;
  saved.ciphertext := wanted.ciphertext;
  saved.proof := wanted.proof;
  saved.saved_by := actor.user_id;
  saved.saved_at := as_of;
  if save_note.status <> 'draft' then
    saved.signed_at := as_of;
    saved.credential := (
      select therapist.credential
      from public.therapists as therapist
      where therapist.organization_id = actor.organization_id and therapist.id = actor.user_id
    );
    saved.attested := private.session_facts(session);
    if wanted.facts_digest is distinct from private.text_digest(saved.attested::text) then
      return private.refuse_note(
        actor, wanted.session_id, attempted, 'NOTE_VERSION_CONFLICT',
        'The session has changed since the note was checked against it. Read both again, then sign.'
      );
    end if;
  end if;
  if not private.proof_holds(saved.proof, private.note_statement(saved)) then
    outcome := private.unproven(saved.proof);
    return private.refuse_note(
      actor, wanted.session_id, attempted, outcome ->> 'code', outcome ->> 'detail'
    );
  end if;
  insert into private.session_note_versions select saved.*;

  outcome := jsonb_build_object('note', private.note_answer(saved));
  perform private.keep_answer(
    actor.organization_id, actor.user_id, 'session-notes', idempotency_key, fingerprint, outcome
  );
  return private.success(outcome);
exception
  when unique_violation then
    perform private.raise_invalid(private.issue('id', 'is the id of an earlier version'));
  when lock_not_available or deadlock_detected or serialization_failure or query_canceled then
    perform private.raise_busy(sqlstate, sqlerrm);
end
$$;
comment on function private.save_note(text, jsonb, text, text) is
  'Adds a version to a note: a draft, the signed one, or an amendment, which is signed as it is made. base_version is the '
  'version it builds on, 0 for none. Returns an outcome; raises PT400, PT401, PT403, PT503.';


create function private.read_note(attempted text, request jsonb, request_id text default null)
returns jsonb
language plpgsql
security definer
set search_path = ''
set timezone = 'UTC'
as $$
declare
  actor private.actor := private.begin_request(request_id);
  wanted private.note_request := private.read_request(request, null::private.note_request, '{session_id}');
  exceeded jsonb := private.check_rate('reads');
  session public.sessions;
  note private.session_note_versions;
begin
  if exceeded is not null then
    return exceeded;
  end if;
  session := private.note_session(actor, wanted.session_id, false);
  if session.id is null then
    return private.refuse_note(
      actor, wanted.session_id, attempted, 'FORBIDDEN', 'Notes are read by the session''s therapist and by admins.'
    );
  elsif attempted = 'history' then
    perform private.record_event(
      actor.organization_id, 'note.history_read', 'note', array[wanted.session_id], clock_timestamp(),
      actor_role => actor.role::text
    );
    return private.success(jsonb_build_object(
      'sessionId', wanted.session_id,
      'versions', coalesce((
        select jsonb_agg(private.note_answer(kept) order by kept.version)
        from private.session_note_versions as kept
        where kept.organization_id = actor.organization_id and kept.session_id = wanted.session_id
      ), '[]')
    ));
  end if;
  select * into note
  from private.session_note_versions as candidate
  where candidate.organization_id = actor.organization_id
    and candidate.session_id = wanted.session_id
    and (wanted.version is null or candidate.version = wanted.version)
  order by candidate.version desc
  limit 1;
  if note.id is null then
    return private.refuse_note(
      actor, wanted.session_id, 'read', 'NOTE_NOT_FOUND', 'The session has no note, or not in that version.'
    );
  end if;
  perform private.record_event(
    actor.organization_id, 'note.read', 'note', array[wanted.session_id, note.id], clock_timestamp(),
    actor_role => actor.role::text,
    details => jsonb_build_object('version', note.version, 'purpose', coalesce(wanted.purpose, 'reading'))
  );
  return private.success(jsonb_build_object(
    'organizationId', actor.organization_id,
    'note', private.note_answer(note),
    'ciphertext', note.ciphertext,
    'keys', (
      select jsonb_agg(jsonb_build_object('keyId', data_key.id, 'wrappedKey', data_key.wrapped_key))
      from private.data_keys as data_key
      where data_key.organization_id = actor.organization_id and data_key.id = note.data_key_id
    )
  ));
end
$$;
comment on function private.read_note(text, jsonb, text) is
  'attempted = read: a version of a note, the newest unless told, sealed, with the wrapped key that opens it. history: its '
  'versions, oldest first, without what they say. Recorded, refusals included.';

-- What the edge function calls ---------------------------------------------------------------------------------------

select private.publish('prepare_note',
  'For the edge function: what sealing a note takes. request is {session_id, attempted?}.'
);
select private.publish('save_note_draft', function_name => 'save_note', first_argument => 'draft', about =>
  'For the edge function: keeps a sealed draft. request is {session_id, base_version, id, ciphertext, '
  'content_mac, facts_digest, proof}.'
);
select private.publish('sign_note', function_name => 'save_note', first_argument => 'signed', about =>
  'For the edge function: keeps the signed version. request is {session_id, base_version, id, ciphertext, '
  'content_mac, facts_digest, proof}.'
);
select private.publish('amend_note', function_name => 'save_note', first_argument => 'amended', about =>
  'For the edge function: keeps an amendment. request is {session_id, base_version, id, ciphertext, '
  'content_mac, facts_digest, proof}.'
);
select private.publish('read_note', first_argument => 'read', about =>
  'For the edge function: a version of a note, sealed. request is {session_id, version?, purpose?}. Recorded.'
);
select private.publish('note_history', function_name => 'read_note', first_argument => 'history', about =>
  'The versions of a session''s note, without their content. request is {session_id}. Recorded.'
);
