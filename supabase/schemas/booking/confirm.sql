-- Purpose: sessions-confirm. Turns a live hold into sessions, or into the moves it was made for.
-- Objects: private.parse_confirmation, private.confirm_sessions, public.confirm_sessions.
-- Watch for: a live hold confirms, always; an unconfirmed one at or after expires_at never does, swept or not. A new
--            session takes its hold's id, so its claims stay where they are and only lose their expiry. A move of a
--            group has a hold for each member; the one of the member that was named (client_id is null) stands for all.

create type private.confirmed_occurrence as (
  hold_key uuid,
  therapist_id uuid,
  client_id uuid,
  start_time timestamptz,
  end_time timestamptz,
  session_id uuid,
  session_type text,
  location_type text,
  cpt_code text,
  cpt_modifiers text[]
);
comment on type private.confirmed_occurrence is 'One occurrence as sessions-confirm describes it.';

create function private.session_issues(path text, session jsonb)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  if session is null or session = 'null' then
    return private.issue(path, 'is required');
  elsif jsonb_typeof(session) <> 'object' then
    return private.issue(path, 'must be an object');
  end if;
  return coalesce(private.uuid_issue(path || '.therapist_id', session -> 'therapist_id', true), '[]')
    || coalesce(private.uuid_issue(path || '.client_id', session -> 'client_id', true), '[]')
    || coalesce(private.instant_issue(path || '.start_time', session -> 'start_time'), '[]')
    || coalesce(private.instant_issue(path || '.end_time', session -> 'end_time'), '[]')
    || coalesce(private.uuid_issue(path || '.id', session -> 'id', false), '[]')
    || coalesce(private.text_issue(path || '.session_type', session -> 'session_type', false, 64), '[]')
    || coalesce(private.text_issue(path || '.location_type', session -> 'location_type', false, 64), '[]')
    || case
      when coalesce(session -> 'notes', 'null') <> 'null'
        then private.issue(path || '.notes', 'is not accepted here: notes are saved encrypted, through session-notes')
      else '[]'
    end;
end
$$;
comment on function private.session_issues(text, jsonb) is 'Issues of a session object of sessions-confirm.';

create function private.cpt_issues(path text, cpt jsonb)
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
begin
  if cpt is null or cpt = 'null' then
    return '[]';
  elsif jsonb_typeof(cpt) <> 'object' then
    return private.issue(path, 'must be an object');
  end if;
  return coalesce(private.text_issue(path || '.code', cpt -> 'code', true, 16, '^\s*[0-9A-Za-z]{5}\s*$'), '[]')
    || case
      when coalesce(cpt -> 'modifiers', 'null') = 'null' then '[]'
      when jsonb_typeof(cpt -> 'modifiers') <> 'array' then private.issue(path || '.modifiers', 'must be a list')
      when jsonb_array_length(cpt -> 'modifiers') > 4
        then private.issue(path || '.modifiers', 'must have at most 4 modifiers')
      when exists (
        select 1
        from jsonb_array_elements(cpt -> 'modifiers') as modifier (value)
        where jsonb_typeof(modifier.value) <> 'string' or (modifier.value #>> '{}') !~ '^\s*[0-9A-Za-z]{2}\s*$'
      ) then private.issue(path || '.modifiers', 'must be two-character modifiers')
      else '[]'
    end;
end
$$;
comment on function private.cpt_issues(text, jsonb) is 'Issues of a cpt object of sessions-confirm.';

create function private.confirmation_issues(request jsonb)
returns void
language plpgsql
stable
set search_path = ''
as $$
declare
  items jsonb;
  listed boolean;
  found jsonb;
begin
  if request is null or jsonb_typeof(request) <> 'object' then
    perform private.raise_invalid(private.issue('', 'must be a JSON object'));
  end if;
  items := nullif(nullif(request -> 'occurrences', 'null'), '[]');
  listed := items is not null;
  if listed and jsonb_typeof(items) <> 'array' then
    perform private.raise_invalid(private.issue('occurrences', 'must be a list'));
  elsif listed and jsonb_array_length(items) > 366 then
    perform private.raise_invalid(private.issue('occurrences', 'must have at most 366 occurrences'));
  end if;

  found := coalesce(private.uuid_issue('hold_key', request -> 'hold_key', true), '[]')
    || private.session_issues('session', request -> 'session')
    || private.cpt_issues('cpt', request -> 'cpt')
    || coalesce(private.zone_issue('time_zone', request -> 'time_zone', true), '[]')
    || coalesce(private.integer_issue(
      'start_time_offset_minutes', request -> 'start_time_offset_minutes', true, -1440, 1440), '[]')
    || coalesce(private.integer_issue(
      'end_time_offset_minutes', request -> 'end_time_offset_minutes', true, -1440, 1440), '[]')
    || case
      when coalesce(request -> 'notes', 'null') <> 'null'
        then private.issue('notes', 'is not accepted here: notes are saved encrypted, through session-notes')
      else '[]'
    end;
  if listed then
    select found || coalesce(jsonb_agg(issue.value order by item.position), '[]') into found
    from jsonb_array_elements(items) with ordinality as item (value, position)
    cross join lateral (select 'occurrences.' || (item.position - 1) as path) as at
    cross join lateral (
      select case
        when jsonb_typeof(item.value) <> 'object' then private.issue(at.path, 'must be an object')
        else coalesce(private.uuid_issue(at.path || '.hold_key', item.value -> 'hold_key', true), '[]')
          || private.session_issues(at.path || '.session', item.value -> 'session')
          || private.cpt_issues(at.path || '.cpt', item.value -> 'cpt')
          || coalesce(private.zone_issue(at.path || '.time_zone', item.value -> 'time_zone', false), '[]')
          || coalesce(private.integer_issue(at.path || '.start_time_offset_minutes',
            item.value -> 'start_time_offset_minutes', true, -1440, 1440), '[]')
          || coalesce(private.integer_issue(at.path || '.end_time_offset_minutes',
            item.value -> 'end_time_offset_minutes', true, -1440, 1440), '[]')
          || case
            when coalesce(item.value -> 'notes', 'null') <> 'null' then private.issue(
              at.path || '.notes', 'is not accepted here: notes are saved encrypted, through session-notes')
            else '[]'
          end
      end as issues
    ) as checked
    cross join lateral jsonb_array_elements(checked.issues) as issue (value);
  else
    items := jsonb_build_array(request);
  end if;
  if found <> '[]' then
    perform private.raise_invalid(
      found, case when found @> '[{"message": "is required"}]' then 'MISSING_FIELDS' else 'VALIDATION_FAILED' end
    );
  end if;

  select jsonb_agg(issue.value order by item.position) into found
  from jsonb_array_elements(items) with ordinality as item (value, position)
  cross join lateral (
    select
      case when listed then format('occurrences.%s.', item.position - 1) else '' end as path,
      (item.value #>> '{session,start_time}')::timestamptz as start_time,
      (item.value #>> '{session,end_time}')::timestamptz as end_time,
      coalesce(item.value ->> 'time_zone', request ->> 'time_zone') as time_zone
  ) as at
  cross join lateral (
    select case
        when at.end_time <= at.start_time then private.issue(at.path || 'session.end_time', 'must be after start_time')
        else '[]'
      end
      || case
        when private.offset_minutes(at.start_time, at.time_zone)
            <> (item.value ->> 'start_time_offset_minutes')::integer
          then private.offset_issue(at.path || 'start_time_offset_minutes', at.start_time, at.time_zone)
        else '[]'
      end
      || case
        when private.offset_minutes(at.end_time, at.time_zone) <> (item.value ->> 'end_time_offset_minutes')::integer
          then private.offset_issue(at.path || 'end_time_offset_minutes', at.end_time, at.time_zone)
        else '[]'
      end as issues
  ) as checked
  cross join lateral jsonb_array_elements(checked.issues) as issue (value);
  if found is not null then
    perform private.raise_invalid(
      found, case when found @> '[{"message": "must be after start_time"}]' then 'INVALID_RANGE' else 'VALIDATION_FAILED' end
    );
  end if;

end
$$;
comment on function private.confirmation_issues(jsonb) is
  'Raises PT400 with every issue of the body of sessions-confirm: code MISSING_FIELDS, INVALID_RANGE or '
  'VALIDATION_FAILED. Returns when there is none. Looks at no clock.';

create function private.parse_confirmation(request jsonb)
returns private.confirmed_occurrence[]
language plpgsql
stable
set search_path = ''
as $$
declare
  -- What every occurrence must have, and the request itself: as confirmation_issues, without saying what is wrong. Types
  -- are named besides patterns, since a pattern also fits a list of texts that fit it.
  well_formed constant jsonpath := jsonpath '
    $.type() == "object"
    && $.hold_key.type() == "string"
    && $.session.therapist_id.type() == "string" && $.session.client_id.type() == "string"
    && $.hold_key like_regex "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
    && $.session.type() == "object"
    && $.session.therapist_id like_regex "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
    && $.session.client_id like_regex "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
    && $.session.start_time.type() == "string" && $.session.end_time.type() == "string"
    && (!exists($.session.id) || $.session.id == null || $.session.id.type() == "string")
    && (!exists($.session.session_type) || $.session.session_type == null || $.session.session_type.type() == "string")
    && (!exists($.session.location_type) || $.session.location_type == null || $.session.location_type.type() == "string")
    && (!exists($.session.notes) || $.session.notes == null)
    && (!exists($.notes) || $.notes == null)
    && (!exists($.time_zone) || $.time_zone == null || $.time_zone.type() == "string")
    && $.start_time_offset_minutes.type() == "number" && $.end_time_offset_minutes.type() == "number"
    && (!exists($.cpt) || $.cpt == null || $.cpt.type() == "object" && $.cpt.code.type() == "string"
      && $.cpt.code like_regex "^\\s*[0-9A-Za-z]{5}\\s*$"
      && (!exists($.cpt.modifiers) || $.cpt.modifiers == null || $.cpt.modifiers.type() == "array"
        && $.cpt.modifiers.size() <= 4
        && !($.cpt.modifiers[*].type() != "string")
        && !exists($.cpt.modifiers[*] ? (!(@ like_regex "^\\s*[0-9A-Za-z]{2}\\s*$")))))';
  items jsonb := coalesce(nullif(nullif(request -> 'occurrences', 'null'), '[]'), jsonb_build_array(request));
  parsed private.confirmed_occurrence[];
  valid boolean;
begin
  begin
    select
      array_agg(
        row(
          item.hold_key, item.therapist_id, item.client_id, item.start_time, item.end_time, item.session_id,
          item.session_type, item.location_type, item.cpt_code, item.cpt_modifiers
        )::private.confirmed_occurrence
        order by item.position
      ),
      (request @@ well_formed) and count(*) <= 366 and bool_and(
        item.value @@ well_formed
        and item.start_text ~ private.instant_pattern() and item.end_text ~ private.instant_pattern()
        and item.start_time < item.end_time
        and (length(item.session_type) between 1 and 64) is not false
        and (length(item.location_type) between 1 and 64) is not false
        and exists (select 1 from public.time_zones as zone where zone.name = item.time_zone)
        and extract(epoch from (item.start_time at time zone item.time_zone) - (item.start_time at time zone 'UTC'))
          = (item.value ->> 'start_time_offset_minutes')::numeric * 60
        and extract(epoch from (item.end_time at time zone item.time_zone) - (item.end_time at time zone 'UTC'))
          = (item.value ->> 'end_time_offset_minutes')::numeric * 60
      )
    into parsed, valid
    from (
      select
        element.position,
        element.value,
        (element.value ->> 'hold_key')::uuid as hold_key,
        (session.value ->> 'therapist_id')::uuid as therapist_id,
        (session.value ->> 'client_id')::uuid as client_id,
        session.value ->> 'start_time' as start_text,
        session.value ->> 'end_time' as end_text,
        (session.value ->> 'start_time')::timestamptz as start_time,
        (session.value ->> 'end_time')::timestamptz as end_time,
        (session.value ->> 'id')::uuid as session_id,
        btrim(session.value ->> 'session_type', E' \t\n\r\f\v') as session_type,
        btrim(session.value ->> 'location_type', E' \t\n\r\f\v') as location_type,
        coalesce(element.value ->> 'time_zone', request ->> 'time_zone') as time_zone,
        upper(btrim(chosen.cpt ->> 'code', E' \t\n\r\f\v')) as cpt_code,
        array(
          select upper(btrim(modifier.value, E' \t\n\r\f\v'))
          from jsonb_array_elements_text(coalesce(nullif(chosen.cpt -> 'modifiers', 'null'), '[]'))
            with ordinality as modifier (value, position)
          group by 1
          order by min(modifier.position)
        ) as cpt_modifiers
      from jsonb_array_elements(items) with ordinality as element (value, position)
      cross join lateral (select element.value -> 'session' as value) as session
      -- One cpt for the whole series may stand at the top.
      cross join lateral (
        select coalesce(nullif(element.value -> 'cpt', 'null'), nullif(request -> 'cpt', 'null')) as cpt
      ) as chosen
    ) as item;
  exception
    when data_exception then valid := false;
  end;

  if valid is not true then
    perform private.confirmation_issues(request);
    perform private.raise_invalid(private.issue('', 'is not a request this endpoint accepts'));
  end if;
  return parsed;
end
$$;
comment on function private.parse_confirmation(jsonb) is
  'Reads the body of sessions-confirm: its occurrences in order, or the one session at the top. Raises PT400 with code '
  'MISSING_FIELDS, INVALID_RANGE or VALIDATION_FAILED. Looks at no clock.';

create function private.rounded_minutes(start_time timestamptz, end_time timestamptz)
returns integer
language plpgsql
immutable
set search_path = ''
as $$
begin
  return floor((extract(epoch from end_time - start_time) / 60 + 7) / 15)::integer * 15;
end
$$;
comment on function private.rounded_minutes(timestamptz, timestamptz) is
  'A duration in minutes, rounded to 15-minute units by midpoint: 0-7 -> 0, 8-22 -> 15, 23-37 -> 30 (CMS, Medicare '
  'Claims Processing Manual, chapter 5, section 20.2).';

create function private.series_id(batch_id uuid, member_id uuid, client_id uuid)
returns uuid
language plpgsql
immutable
set search_path = ''
as $$
begin
  return case
    when member_id is null or member_id = client_id then batch_id
    else md5(batch_id::text || member_id::text)::uuid
  end;
end
$$;
comment on function private.series_id(uuid, uuid, uuid) is
  'The series of one client of a batch: the batch''s id, or for the other members of a group one made of both ids.';

create function private.refuse_confirmation(
  actor private.actor,
  batch_id uuid,
  hold_ids uuid[],
  status integer,
  code text,
  detail text
)
returns jsonb
language plpgsql
set search_path = ''
as $$
begin
  perform private.record_event(
    actor.organization_id, 'confirmation.refused', 'hold', coalesce(hold_ids, '{}'), clock_timestamp(),
    actor_role => actor.role::text,
    outcome => 'refused',
    code => code,
    details => case when batch_id is not null then jsonb_build_object('batchId', batch_id) end
  );
  return private.refusal(status, code, detail);
end
$$;
comment on function private.refuse_confirmation(private.actor, uuid, uuid[], integer, text, text) is
  'The outcome of a refused confirmation, and its audit event.';

create function private.confirm_sessions(request jsonb, idempotency_key text, request_id text)
returns jsonb
language plpgsql
security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '5s'
set plan_cache_mode = 'force_generic_plan'
set enable_seqscan = off
set enable_hashjoin = off
set enable_mergejoin = off
as $$
#variable_conflict use_column
declare
  actor private.actor;
  listed private.confirmed_occurrence[];
  asked_key uuid;
  fingerprint bytea;
  outcome jsonb;
  batch public.hold_batches;
  top_session jsonb;
  hold_ids uuid[];
  moved_session_ids uuid[];
  held_claims private.claims[];
  group_ids uuid[];
  resource_ids uuid[];
  as_of timestamptz;
  state record;
  listing record;
  new_series_id uuid;
  session_ids uuid[];
  body jsonb;
  rounded_minutes integer;
begin
  perform set_config('therapist_sessions.request_id', coalesce(left(request_id, 128), ''), true);
  actor := private.require_actor();
  listed := private.parse_confirmation(request);
  asked_key := (request ->> 'hold_key')::uuid;
  top_session := request -> 'session';
  if idempotency_key is not null then
    fingerprint := private.fingerprint(jsonb_build_object(
      'holdKey', asked_key, 'occurrences', to_jsonb(listed),
      'therapistId', (top_session ->> 'therapist_id')::uuid, 'clientId', (top_session ->> 'client_id')::uuid
    ));
    outcome := private.find_replay(actor.organization_id, actor.user_id, 'sessions-confirm', idempotency_key, fingerprint);
    if outcome is not null then
      return outcome;
    end if;
  end if;

  -- Which holds the key stands for. Nothing is decided here: what matters is read again behind the locks.
  select found.* into batch
  from public.hold_batches as found
  where found.organization_id = actor.organization_id
    and (
      found.hold_key = asked_key
      or found.id = (
        select hold.batch_id
        from public.session_holds as hold
        where hold.organization_id = actor.organization_id and hold.hold_key = asked_key
      )
    )
    and (actor.role <> 'therapist' or found.therapist_id = actor.user_id);
  if actor.role = 'client' then
    return private.refuse_confirmation(
      actor, batch.id, hold_ids, 403, 'FORBIDDEN', 'Your role may not book sessions.'
    );
  elsif batch.id is null then
    return private.refuse_confirmation(
      actor, batch.id, hold_ids, 410, 'HOLD_NOT_FOUND', 'There is no such hold. Hold the time again.'
    );
  end if;

  select
    array_agg(hold.id) filter (
      where (batch.hold_key = asked_key or hold.hold_key = asked_key) and not (batch.is_move and hold.client_id is not null)
    ),
    array_agg(hold.session_id)
  into hold_ids, moved_session_ids
  from public.session_holds as hold
  where hold.organization_id = actor.organization_id and hold.batch_id = batch.id;

  resource_ids := array[batch.therapist_id, batch.client_id, batch.room_id] || array(
    select hold.client_id
    from public.session_holds as hold
    where hold.organization_id = actor.organization_id and hold.batch_id = batch.id and hold.client_id is not null
  );
  if batch.group_id is not null then
    perform private.lock_group(actor.organization_id, batch.group_id);
  end if;
  if batch.is_move then
    -- Who joins a group that moves keeps its row until she has.
    perform 1
    from public.session_groups as known
    where known.organization_id = actor.organization_id
      and known.id in (
        select member.group_id
        from public.sessions as member
        where member.organization_id = actor.organization_id and member.id = any (moved_session_ids)
      )
    order by known.id
    for update;
    -- A cancellation or start of a session to be moved would change it between our look and our write.
    perform 1
    from public.sessions as session
    where session.organization_id = actor.organization_id
      and session.id = any (moved_session_ids || array(
        select mate.id
        from public.sessions as named
        join public.sessions as mate
          on mate.organization_id = named.organization_id and mate.group_id = named.group_id
        where named.organization_id = actor.organization_id and named.id = any (moved_session_ids)
      ))
    order by session.id
    for no key update;
    select resource_ids || array_agg(session.therapist_id) || array_agg(session.room_id) into resource_ids
    from public.sessions as session
    where session.organization_id = actor.organization_id and session.id = any (moved_session_ids);
  end if;
  -- Whoever claims this time once the hold has expired must see either the hold or the sessions, never neither.
  perform private.lock_resources(actor.organization_id, resource_ids);
  -- A release, or a second confirmation, of the same hold would settle it twice. Read again,
  -- for its end may have been moved while this waited.
  select locked.* into batch
  from public.hold_batches as locked
  where locked.organization_id = actor.organization_id and locked.id = batch.id
  for no key update;
  as_of := clock_timestamp();

  select
    count(*) filter (where hold.status <> 'released') as addressed,
    count(*) filter (where hold.status = 'confirmed') as confirmed,
    bool_or(hold.status = 'expired' or (hold.status = 'held' and batch.expires_at <= as_of)) as expired,
    bool_or(hold.client_id is not null) as of_members
  into state
  from public.session_holds as hold
  where hold.organization_id = actor.organization_id and hold.id = any (hold_ids);

  if state.addressed = 0 or exists (
    select 1
    from unnest(listed) as item
    where item.hold_key <> batch.hold_key
      and not exists (
        select 1
        from public.session_holds as hold
        join public.hold_batches as owner on owner.organization_id = hold.organization_id and owner.id = hold.batch_id
        where hold.organization_id = actor.organization_id
          and hold.hold_key = item.hold_key
          and hold.status <> 'released'
          and (actor.role <> 'therapist' or owner.therapist_id = actor.user_id)
      )
  ) then
    return private.refuse_confirmation(
      actor, batch.id, hold_ids, 410, 'HOLD_NOT_FOUND', 'There is no such hold, or it was released. Hold the time again.'
    );
  elsif state.expired then
    perform private.expire_batches(actor.organization_id, array[batch.id], as_of, batch.therapist_id);
    return private.refuse_confirmation(
      actor, batch.id, hold_ids, 410, 'HOLD_EXPIRED', 'The hold has expired. Hold the time again.'
    );
  end if;

  -- Every addressed hold listed exactly once, as it was held. A lone hold may be listed by its batch's key.
  select
    bool_or(
      item.hold_key is null
      or (item.therapist_id, item.start_time, item.end_time)
        is distinct from (batch.therapist_id, hold.start_time, hold.end_time)
      or (item.session_id is not null and item.session_id is distinct from coalesce(hold.session_id,
        case when hold.status = 'confirmed' then hold.id end))
      or (lower(item.session_type) <> lower(batch.session_type)) is true
      or (item.cpt_code <> batch.cpt_code) is true
      -- Where a payer limits services, units and lanes were taken for the one that was held: individual treatment when
      -- none was named. Else a hold that named none leaves the choice open.
      or (
        (
          batch.session_type is not null
          or batch.cpt_code is not null
          or private.has_payer(actor.organization_id, array[coalesce(hold.client_id, batch.client_id)])
        )
        -- What is moved stays the service it is.
        and private.billed_code(
          coalesce(item.cpt_code, batch.cpt_code, moved.cpt_code),
          coalesce(item.session_type, batch.session_type, moved.session_type)
        ) <> private.billed_code(
          coalesce(batch.cpt_code, moved.cpt_code), coalesce(batch.session_type, moved.session_type)
        )
      )
    ) as differs,
    bool_or(item.client_id <> coalesce(hold.client_id, batch.client_id)) as of_other_client
  into listing
  from public.session_holds as hold
  left join unnest(listed) as item
    on item.hold_key = hold.hold_key or (state.addressed = 1 and item.hold_key = batch.hold_key)
  left join public.sessions as moved
    on moved.organization_id = hold.organization_id and moved.id = hold.session_id
  where hold.organization_id = actor.organization_id
    and hold.id = any (hold_ids)
    and hold.status <> 'released';
  if cardinality(listed) <> state.addressed or listing.differs
    or (top_session ->> 'therapist_id')::uuid <> batch.therapist_id
  then
    return private.refuse_confirmation(
      actor, batch.id, hold_ids, 409, 'HOLD_MISMATCH', 'The request differs from what was held. Confirm every held occurrence once, exactly as held.'
    );
  elsif listing.of_other_client or (top_session ->> 'client_id')::uuid <> batch.client_id then
    return private.refuse_confirmation(
      actor, batch.id, hold_ids, 409, 'CLIENT_MISMATCH', 'The hold is for another client.'
    );
  end if;

  if state.confirmed < state.addressed then
    if exists (
      select 1
      from (
        select distinct coalesce(hold.client_id, batch.client_id) as client_id
        from public.session_holds as hold
        where hold.organization_id = actor.organization_id
          and hold.batch_id = batch.id
          and (batch.is_move or hold.id = any (hold_ids))
      ) as booked
      where not private.may_book(actor, batch.therapist_id, booked.client_id)
    ) then
      return private.refuse_confirmation(
        actor, batch.id, hold_ids, 403, 'FORBIDDEN', 'You may no longer book this therapist or client.'
      );
    elsif exists (
      select 1
      from unnest(listed) as item
      where not private.may_render(
        actor.organization_id, batch.therapist_id,
        private.service_code(
          coalesce(item.cpt_code, batch.cpt_code), coalesce(item.session_type, batch.session_type)
        )
      )
    ) or exists (
      select 1
      from public.sessions as moved
      where moved.organization_id = actor.organization_id
        and moved.id = any (moved_session_ids)
        and not private.may_render(
          actor.organization_id, batch.therapist_id,
          private.service_code(
            coalesce(batch.cpt_code, moved.cpt_code), coalesce(batch.session_type, moved.session_type)
          )
        )
    ) then
      return private.refuse_confirmation(
        actor, batch.id, hold_ids, 403, 'FORBIDDEN',
        'A technician may not render this service: it is a qualified professional''s.'
      );
    elsif batch.is_move and exists (
      select 1
      from public.sessions as session
      where session.organization_id = actor.organization_id
        and session.id = any (moved_session_ids)
        and session.status <> 'scheduled'
    ) then
      return private.refuse_confirmation(
        actor, batch.id, hold_ids, 409, 'SESSION_NOT_MOVABLE', 'A session to be moved has been started, cancelled or completed meanwhile.'
      );
    elsif batch.is_move and state.addressed < (
      select count(*)
      from public.session_holds as hold
      where hold.organization_id = actor.organization_id and hold.batch_id = batch.id and hold.client_id is null
    ) then
      return private.refuse_confirmation(
        actor, batch.id, hold_ids, 409, 'HOLD_MISMATCH', 'What was held to move together moves together: confirm the whole batch by its holdKey.'
      );
    elsif state.of_members and exists (
      select 1
      from public.session_holds as hold
      where hold.organization_id = actor.organization_id
        and hold.batch_id = batch.id
        and hold.client_id is not null
        and hold.status <> 'released'
      group by hold.group_id
      having count(*) < 2 or not bool_and(hold.id = any (hold_ids))
    ) then
      return private.refuse_confirmation(
        actor, batch.id, hold_ids, 409, 'HOLD_MISMATCH', 'A group is confirmed whole, by its batch''s holdKey, with two clients at least.'
      );
    end if;

    select array_agg(hold.id) into hold_ids
    from public.session_holds as hold
    where hold.organization_id = actor.organization_id
      and hold.batch_id = batch.id
      and (batch.is_move or hold.id = any (hold_ids))
      and hold.status = 'held';

    update public.session_holds as hold
    set status = 'confirmed', settled_at = as_of, settled_xid = pg_current_xact_id()
    where hold.organization_id = actor.organization_id and hold.id = any (hold_ids);

    if batch.is_move then
      -- The old places go and the new ones become the sessions', all behind their resources' locks. Taken out and put
      -- back, since the members of a group would conflict while some have the group's key and some still the move's.
      delete from private.claims as claim
      where claim.organization_id = actor.organization_id and claim.owner_id = any (moved_session_ids);
      with taken_out as (
        delete from private.claims as claim
        where claim.organization_id = actor.organization_id and claim.owner_id = any (hold_ids)
        returning claim.*
      )
      select array_agg(row(taken_out.*)::private.claims) into held_claims from taken_out;
      insert into private.claims (organization_id, owner_id, resource_kind, resource_id, during, lanes, group_key)
      select held.organization_id, hold.session_id, held.resource_kind, held.resource_id, held.during, held.lanes,
        case held.resource_kind when 'client' then hold.session_id else coalesce(hold.group_id, hold.session_id) end
      from unnest(held_claims) as held
      join public.session_holds as hold
        on hold.organization_id = actor.organization_id and hold.id = held.owner_id;
      -- What the holds took in addition goes; the sessions ask for all of it as they move.
      delete from public.authorization_units as entry
      where entry.organization_id = actor.organization_id and entry.owner_id = any (hold_ids);
      delete from private.lane_overrides as override
      where override.organization_id = actor.organization_id and override.owner_id = any (moved_session_ids);
      update private.lane_overrides as override
      set owner_id = hold.session_id
      from public.session_holds as hold
      where override.organization_id = actor.organization_id
        and override.owner_id = hold.id
        and hold.organization_id = actor.organization_id
        and hold.id = any (hold_ids);

      select array_agg(distinct hold.group_id) into group_ids
      from public.session_holds as hold
      where hold.organization_id = actor.organization_id and hold.id = any (hold_ids) and hold.group_id is not null;
      if group_ids is not null then
        -- The members first, and then their groups: one look at the end at whether they fit.
        set constraints public.sessions_at_the_place_of_their_group deferred;
      end if;
      update public.sessions as session
      set
        therapist_id = batch.therapist_id,
        start_time = hold.start_time,
        end_time = hold.end_time,
        time_zone = hold.time_zone,
        room_id = batch.room_id,
        buffer_before_minutes = batch.buffer_before_minutes,
        buffer_after_minutes = batch.buffer_after_minutes,
        session_type = coalesce(item.session_type, batch.session_type, session.session_type),
        location_type = coalesce(item.location_type, session.location_type),
        cpt_code = coalesce(item.cpt_code, batch.cpt_code, session.cpt_code),
        cpt_modifiers = case when item.cpt_code is null then session.cpt_modifiers else item.cpt_modifiers end
      from public.session_holds as hold
      cross join lateral (
        select case when hold.client_id is null then hold.hold_key else (
          select other.hold_key
          from public.session_holds as other
          where other.organization_id = hold.organization_id
            and other.batch_id = hold.batch_id
            and other.group_id = hold.group_id
            and other.client_id is null
        ) end as hold_key
      ) as named
      join unnest(listed) as item on item.hold_key = named.hold_key or item.hold_key = batch.hold_key
      where hold.organization_id = actor.organization_id
        and hold.id = any (hold_ids)
        and session.organization_id = actor.organization_id
        and session.id = hold.session_id;
      if group_ids is not null then
        update public.session_groups as moved
        set therapist_id = batch.therapist_id, start_time = hold.start_time, end_time = hold.end_time
        from public.session_holds as hold
        where moved.organization_id = actor.organization_id
          and moved.id = any (group_ids)
          and hold.organization_id = actor.organization_id
          and hold.id = any (hold_ids)
          and hold.group_id = moved.id
          and hold.client_id is null;
        set constraints public.sessions_at_the_place_of_their_group immediate;
      end if;
    else
      update private.claims as claim
      set expires_at = null
      where claim.organization_id = actor.organization_id and claim.owner_id = any (hold_ids);

      if state.of_members then
        insert into public.session_groups (organization_id, id, therapist_id, start_time, end_time)
        select distinct actor.organization_id, hold.group_id, batch.therapist_id, hold.start_time, hold.end_time
        from public.session_holds as hold
        where hold.organization_id = actor.organization_id and hold.id = any (hold_ids) and hold.client_id is not null;
      end if;

      if exists (
        select 1
        from public.session_holds as hold
        where hold.organization_id = actor.organization_id and hold.batch_id = batch.id
        having count(distinct hold.start_time) > 1
      ) then
        new_series_id := batch.id;
        -- One series for each client: the batch's own has the batch's id.
        insert into public.session_series (
          organization_id, id, therapist_id, client_id, recurrence_rule, time_zone, created_by, created_at
        )
        select distinct
          actor.organization_id, private.series_id(batch.id, hold.client_id, batch.client_id), batch.therapist_id,
          coalesce(hold.client_id, batch.client_id), batch.recurrence_rule, batch.time_zone, actor.user_id, as_of
        from public.session_holds as hold
        where hold.organization_id = actor.organization_id and hold.id = any (hold_ids)
        on conflict do nothing;
      end if;

      insert into public.sessions (
        organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, session_type, location_type,
        cpt_code, cpt_modifiers, series_id, group_id, room_id, buffer_before_minutes, buffer_after_minutes,
        created_by, created_at, updated_at
      )
      select
        actor.organization_id, hold.id, batch.therapist_id, coalesce(hold.client_id, batch.client_id),
        hold.start_time, hold.end_time, hold.time_zone, coalesce(item.session_type, batch.session_type),
        item.location_type, coalesce(item.cpt_code, batch.cpt_code), item.cpt_modifiers,
        case when new_series_id is not null then private.series_id(batch.id, hold.client_id, batch.client_id) end,
        hold.group_id, batch.room_id,
        batch.buffer_before_minutes, batch.buffer_after_minutes, actor.user_id, as_of, as_of
      from public.session_holds as hold
      join unnest(listed) as item on item.hold_key = hold.hold_key or item.hold_key = batch.hold_key
      where hold.organization_id = actor.organization_id and hold.id = any (hold_ids);
    end if;
  end if;

  select array_agg(coalesce(hold.session_id, hold.id) order by hold.occurrence_index) into session_ids
  from public.session_holds as hold
  where hold.organization_id = actor.organization_id
    and hold.batch_id = batch.id
    and hold.status = 'confirmed'
    and (batch.hold_key = asked_key or hold.hold_key = asked_key or batch.is_move);

  select
    jsonb_build_object('sessions', jsonb_agg(to_jsonb(session) order by asked.position)),
    private.rounded_minutes(
      min(session.start_time) filter (where asked.position = 1), min(session.end_time) filter (where asked.position = 1)
    )
  into body, rounded_minutes
  from unnest(session_ids) with ordinality as asked (id, position)
  join public.sessions as session on session.organization_id = actor.organization_id and session.id = asked.id;
  body := body || jsonb_build_object('session', body #> '{sessions,0}', 'roundedDurationMinutes', rounded_minutes);

  if idempotency_key is not null then
    perform private.keep_answer(
      actor.organization_id, actor.user_id, 'sessions-confirm', idempotency_key, fingerprint, body
    );
  end if;
  return private.success(body);
exception
  when lock_not_available or deadlock_detected or serialization_failure or query_canceled then
    perform private.raise_busy();
end
$$;
comment on function private.confirm_sessions(jsonb, text, text) is
  'Turns every hold the key stands for into a session, or carries out its move, or changes nothing. Confirming again '
  'answers with the same sessions. Returns an outcome; raises PT400, PT401, PT403, PT503.';
grant execute on function private.confirm_sessions(jsonb, text, text) to authenticated;

create function public.confirm_sessions(request jsonb, idempotency_key text default null, request_id text default null)
returns jsonb
language sql
volatile
set search_path = ''
begin atomic
  select private.confirm_sessions(confirm_sessions.request, confirm_sessions.idempotency_key, confirm_sessions.request_id);
end;
comment on function public.confirm_sessions(jsonb, text, text) is
  'Turns a live hold into sessions. request is the body of sessions-confirm.';
grant execute on function public.confirm_sessions(jsonb, text, text) to authenticated;
