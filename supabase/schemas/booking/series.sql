-- Purpose: sessions of a series change together: this one, this and the following ones, or all that are to come.
-- Objects: series_changes, what was changed and by whom; read_series_request, series_sessions, changed_civil, series_move,
--          hold_series.
-- Watch for: a change is a move of these sessions through private.place_hold, and nothing else: here it is only worked out
--            which sessions go where. The hold's batch remembers what was asked, so a confirmed batch is the record of the
--            change. Which sessions those are is read again behind their locks.

create view public.series_changes with (security_invoker = true) as
select
  session.organization_id, session.series_id, batch.id as batch_id, batch.series_change as change,
  max(hold.settled_at) as changed_at, batch.created_by as changed_by
-- A group moves, and goes on, whole: what was asked of one client's series happened to those of the others.
from public.sessions as session
cross join lateral (
  select added.batch_id, added.settled_at from public.session_holds as added
  where added.organization_id = session.organization_id and added.id = session.id and added.status = 'confirmed'
  union all
  select moved.batch_id, moved.settled_at from public.session_holds as moved
  where moved.organization_id = session.organization_id and moved.session_id = session.id and moved.status = 'confirmed'
) as hold
-- By its key: joined, all batches of the clinic would be read.
cross join lateral (
  select known.id, known.series_change, known.created_by from public.hold_batches as known
  where known.organization_id = session.organization_id and known.id = hold.batch_id and known.series_id is not null
  offset 0
) as batch
where session.series_id is not null
group by session.organization_id, session.series_id, batch.id, batch.series_change, batch.created_by;
comment on view public.series_changes is
  'What was changed of series since they were booked, extensions among it: one row for each confirmed change and each series '
  'whose sessions it moved or added.';
comment on column public.series_changes.change is
  'As asked: {scope, from, shift_minutes, weekday, local_start, duration_minutes, therapist_id, room_id, cpt_code, '
  'session_type, buffer_before_minutes, buffer_after_minutes}, as far as it was named, or what '
  'extend_series was asked for.';
grant select on public.series_changes to authenticated, service_role;

create function private.read_series_request(request jsonb)
returns private.series_request
language plpgsql
stable
set search_path = ''
as $$
declare
  wanted private.series_request := private.read_request(request, null::private.series_request);
  part constant private.series_part := wanted.series;
  change constant private.series_change := part.change;
begin
  perform private.require(array(
    select row(field.key, 'must not accompany series', field.value not in ('null', '""', '[]'))::private.rule
    from jsonb_each(request) as field
    where field.key in ('start_time', 'end_time', 'start_time_offset_minutes', 'end_time_offset_minutes', 'session_id',
      'client_ids', 'group_id', 'room_id', 'occurrences', 'recurrence')
  ) || array[
    row('series.series_id', 'is required', part.series_id is null),
    row('series.scope', 'is required', part.scope is null),
    row('series.from', 'is required: the start of the session, or of the first one, that changes',
      part."from" is null and part.scope in ('this', 'following')),
    row('series.from', 'must not accompany scope "all"', part."from" is not null and part.scope = 'all'),
    row('series.change', 'is required', jsonb_typeof(request #> '{series,change}') is distinct from 'object'),
    row('series.change', 'names nothing that changes',
      jsonb_typeof(request #> '{series,change}') = 'object' and not private.names_room(request) and num_nonnulls(change.shift_minutes, change.weekday, change.local_start,
        change.duration_minutes, change.therapist_id) = 0),
    row('series.change.shift_minutes', 'must not accompany weekday or local_start',
      change.shift_minutes is not null and num_nonnulls(change.weekday, change.local_start) > 0),
    row('override.reason', 'is required', wanted.override is distinct from null and (wanted.override).reason is null),
    row('time_zone', 'must be a known IANA time zone, like America/Los_Angeles',
      not exists (select from public.time_zones as known where known.name = wanted.time_zone) and wanted.time_zone is not null)
  ]::private.rule[]);
  wanted.hold_seconds := coalesce(wanted.hold_seconds, 300);
  wanted.cpt_code := upper(private.tidy(wanted.cpt_code));
  wanted.session_type := private.tidy(wanted.session_type);
  return wanted;
end
$$;
comment on function private.read_series_request(jsonb) is
  'Reads the body of sessions-hold that changes sessions of a series, or PT400.';

create function private.changes_series(request jsonb)
returns boolean
language plpgsql
immutable
set search_path = ''
as $$
begin
  return jsonb_typeof(request) = 'object' and jsonb_typeof(request -> 'series') <> 'null'
    and private.tidy(request ->> 'series') is not null;
end
$$;
comment on function private.changes_series(jsonb) is
  'Whether a body of sessions-hold changes a series. Null and blank are not given.';

create function private.names_room(request jsonb)
returns boolean
language plpgsql
immutable
set search_path = ''
as $$
begin
  return case when jsonb_typeof(request #> '{series,change}') = 'object'
    then request #> '{series,change}' ? 'room_id' else false end;
end
$$;
comment on function private.names_room(jsonb) is 'Whether a change of a series says which room: null is none.';

create function private.changed_civil(civil timestamp, change private.series_change)
returns timestamp
language plpgsql
immutable
set search_path = ''
as $$
declare
  day date := civil::date;
begin
  if change.shift_minutes is not null then
    return civil + make_interval(mins => change.shift_minutes);
  end if;
  if change.weekday is not null then
    day := date_trunc('week', civil)::date - 1 + array_position(
      '{monday,tuesday,wednesday,thursday,friday,saturday,sunday}'::text[], change.weekday::text
    );
  end if;
  return day + coalesce(change.local_start::time, civil::time);
end
$$;
comment on function private.changed_civil(timestamp, private.series_change) is
  'Where a change puts a civil start. A weekday is that of the same week, which begins on Monday (ISO 8601).';

create function private.series_sessions(actor private.actor, series_id uuid, therapist_id uuid default null)
returns public.sessions[]
language plpgsql
stable
set search_path = ''
as $$
begin
  if actor.role = 'client' then
    return '{}';
  end if;
  return array(
    select session
    from public.sessions as session
    where session.organization_id = actor.organization_id and session.series_id = series_sessions.series_id
      and (actor.role <> 'therapist' or session.therapist_id = actor.user_id)
      and (series_sessions.therapist_id is null or session.therapist_id = series_sessions.therapist_id)
    order by session.start_time, session.id
  );
end
$$;
comment on function private.series_sessions(private.actor, uuid, uuid) is
  'The sessions of a series that are the caller''s to change, whatever became of them, by time; of one therapist when one '
  'is named. Empty for a series that is not theirs, of another organization, or unknown.';

create function private.may_change_series(actor private.actor, series_id uuid)
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  return actor.role <> 'client' and exists (
    select from public.sessions as session
    where session.organization_id = actor.organization_id and session.series_id = may_change_series.series_id
      and (actor.role <> 'therapist' or session.therapist_id = actor.user_id)
  );
end
$$;
comment on function private.may_change_series(private.actor, uuid) is
  'Whether any session of a series is the caller''s to change. Asked before any lock is taken.';

create type private.series_move as (
  issue private.cause,
  request private.hold_request,
  sessions public.sessions[]
);
comment on type private.series_move is
  'A change of a series, worked out: the move of sessions that it is, one occurrence for each, by time. issue: why it is '
  'none.';

create function private.series_move(
  actor private.actor,
  wanted private.series_request,
  among uuid[] default null
)
returns private.series_move
language plpgsql
stable
set search_path = ''
as $$
declare
  part constant private.series_part := wanted.series;
  since constant timestamptz := part."from"::timestamptz;
  known public.sessions[] := private.series_sessions(actor, part.series_id, wanted.therapist_id);
  move private.series_move;
  request private.hold_request;
  as_of constant timestamptz := clock_timestamp();
begin
  if known = '{}' then
    move.issue := row('FORBIDDEN', 'You may not book this therapist, client or room.', null, null);
    return move;
  elsif since > known[cardinality(known)].start_time then
    perform private.raise_invalid(private.issue('series.from', 'is after the last session of the series'));
  elsif part.scope = 'this' and not exists (select from unnest(known) as session where session.start_time = since) then
    perform private.raise_invalid(private.issue('series.from', 'is the start of no session of the series'));
  end if;
  -- What has begun, ended or been cancelled stays as it is.
  move.sessions := array(
    select session
    from unnest(known) as session
    where session.status = 'scheduled' and (among is null or session.id = any (among))
      and case part.scope
        when 'this' then session.start_time = since
        when 'following' then session.start_time >= greatest(since, as_of)
        else session.start_time >= as_of
      end
    order by session.start_time, session.id
  );
  if move.sessions = '{}' then
    move.issue := row('SESSION_NOT_MOVABLE', 'None of these sessions can be moved any more. Reload them and try again.', null, null);
    return move;
  elsif cardinality(move.sessions) > 366 then
    perform private.raise_invalid(private.issue('series.scope', 'must not be more than 366 sessions: begin with a later one'));
  elsif (part.change).therapist_id is null and (
    select count(distinct session.therapist_id) from unnest(move.sessions) as session
  ) > 1 then
    perform private.raise_invalid(private.issue(
      'series.change.therapist_id', 'must be named, or therapist_id at the top: the sessions are with different therapists'));
  end if;

  request.therapist_id := coalesce((part.change).therapist_id, move.sessions[1].therapist_id);
  request.client_id := coalesce(wanted.client_id, move.sessions[1].client_id);
  request.room_id := (part.change).room_id;
  request.cpt_code := wanted.cpt_code;
  request.session_type := wanted.session_type;
  request.time_zone := coalesce(wanted.time_zone, move.sessions[1].time_zone);
  request.hold_seconds := wanted.hold_seconds;
  request.buffer_before_minutes := wanted.buffer_before_minutes;
  request.buffer_after_minutes := wanted.buffer_after_minutes;
  request.override := wanted.override;
  request.occurrences := private.changed_occurrences(move.sessions, part.change, wanted.time_zone);
  move.request := request;
  return move;
end
$$;
comment on function private.series_move(private.actor, private.series_request, uuid[]) is
  'Works out a change of a series: the sessions that change and the move they make. among: only those. PT400 where the '
  'series has no such sessions, or they do not go together.';

create function private.changed_occurrences(sessions public.sessions[], change private.series_change, time_zone text)
returns private.occurrence_requests
language plpgsql
stable
set search_path = ''
as $$
begin
  return array(
    select row(
      -- Of a time that clocks show twice or skip, the instant that it is.
      case when private.instant_at(becomes.civil, zone.name) <> begins.at then private.iso(begins.at) end,
      private.iso(begins.at + coalesce(make_interval(mins => change.duration_minutes), session.end_time - session.start_time)),
      null, null, zone.name, session.id,
      case when private.instant_at(becomes.civil, zone.name) = begins.at
        then to_char(becomes.civil, 'YYYY-MM-DD"T"HH24:MI:SS.MS') end
    )::private.occurrence_request
    from unnest(sessions) as session
    cross join lateral (select coalesce(changed_occurrences.time_zone, session.time_zone) as name) as zone
    cross join lateral (
      select case when zone.name = session.time_zone then session.civil_start
        else session.start_time at time zone zone.name end as civil
    ) as was
    cross join lateral (select private.changed_civil(was.civil, change) as civil offset 0) as becomes
    cross join lateral (
      select case when becomes.civil = was.civil then session.start_time
        else private.instant_at(becomes.civil, zone.name) end as at
      offset 0
    ) as begins
    order by session.start_time, session.id
  );
end
$$;
comment on function private.changed_occurrences(public.sessions[], private.series_change, text) is
  'New places of sessions, in civil time: 16:00 stays 16:00 across a change of clocks. A time that does not change keeps its '
  'instant. time_zone: whose clocks count; null: those of each session.';

create function private.series_issues(issues jsonb, sessions public.sessions[])
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
begin
  return (
    select jsonb_agg(case
      when place.index is not null then jsonb_build_object('path', 'series.change', 'message', format(
        'puts the session at %s where its %s %s', private.iso(sessions[place.index::integer + 1].start_time),
        coalesce(place.field, 'service'), issue.value ->> 'message'
      ))
      when issue.value ->> 'path' in ('room_id', 'therapist_id')
        then issue.value || jsonb_build_object('path', 'series.change.' || (issue.value ->> 'path'))
      when issue.value ->> 'path' = 'occurrences' then issue.value || '{"path": "series.scope"}'
      else issue.value
    end order by issue.position)
    from jsonb_array_elements(issues) with ordinality as issue (value, position)
    cross join lateral (
      select found.part[1] as index, found.part[2] as field
      from (select regexp_match(issue.value ->> 'path', '^occurrences\.(\d+)(?:\.(\w+))?') as part) as found
    ) as place
  );
end
$$;
comment on function private.series_issues(jsonb, public.sessions[]) is
  'Names what is wrong with a move by what was asked of the series: the caller has sent no occurrences.';

create function private.hold_move(
  actor private.actor,
  move private.series_move,
  names_room boolean,
  details jsonb
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  found text;
begin
  return private.place_hold(
    actor, move.request, private.slots_of(move.request, clock_timestamp()), names_room, details
  );
exception
  when sqlstate 'PT400' then
    get stacked diagnostics found = pg_exception_detail;
    perform private.raise_invalid(private.series_issues(found::jsonb, move.sessions));
end
$$;
comment on function private.hold_move(private.actor, private.series_move, boolean, jsonb) is
  'Holds the move that a change of a series is.';

create function private.told_by_session(outcome jsonb, sessions public.sessions[])
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
declare
  name text;
begin
  foreach name in array array['conflicts', 'shortages'] loop
    if jsonb_typeof(outcome -> name) = 'array' then
      outcome := jsonb_set(outcome, array[name], (
        select coalesce(jsonb_agg(
          item.value || jsonb_build_object('sessionId', session.id) order by item.position
        ), '[]')
        from jsonb_array_elements(outcome -> name) with ordinality as item (value, position)
        join unnest(sessions) with ordinality as session
          on session.ordinality = (item.value ->> 'occurrenceIndex')::integer + 1
      ));
    end if;
  end loop;
  return outcome;
end
$$;
comment on function private.told_by_session(jsonb, public.sessions[]) is
  'A refusal whose conflicts and shortages name the sessions they are about.';

create function private.held_series(body jsonb, move private.series_move, part private.series_part)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return body || jsonb_build_object(
    'series', jsonb_build_object(
      'seriesId', part.series_id, 'scope', part.scope, 'therapistId', (move.request).therapist_id,
      'clientId', (move.request).client_id
    ),
    'holds', (
      select jsonb_agg(held.value || jsonb_build_object(
        'sessionId', session.id,
        'timeZone', place.time_zone,
        'previousStartTime', private.iso(session.start_time),
        'previousEndTime', private.iso(session.end_time)
      ) order by held.position)
      from jsonb_array_elements(body -> 'holds') with ordinality as held (value, position)
      join unnest(move.sessions) with ordinality as session on session.ordinality = held.position
      join unnest((move.request).occurrences) with ordinality as place on place.ordinality = held.position
    )
  );
end
$$;
comment on function private.held_series(jsonb, private.series_move, private.series_part) is
  'The answer to a change of a series: which session goes where, with all that confirming asks for.';

create function private.hold_series(actor private.actor, request jsonb, idempotency_key text)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  wanted constant private.series_request := private.read_series_request(request);
  part constant private.series_part := wanted.series;
  names_room constant boolean := private.names_room(request);
  change constant jsonb := jsonb_strip_nulls(to_jsonb(part.change))
    || case when names_room then jsonb_build_object('room_id', (part.change).room_id) else '{}' end;
  -- Of what was asked: once it is confirmed, the same request would mean other places.
  fingerprint constant bytea := private.fingerprint(to_jsonb(wanted) || jsonb_build_object('change', change));
  outcome jsonb;
  move private.series_move;
begin
  if not private.may_change_series(actor, part.series_id) then
    return private.refuse(actor, 'hold.refused', '{}', 'FORBIDDEN', 'You may not book this therapist, client or room.');
  end if;
  perform private.share_organization(actor.organization_id);
  outcome := private.find_replay(actor.organization_id, actor.user_id, 'sessions-hold', idempotency_key, fingerprint);
  if outcome is not null then
    return outcome;
  end if;
  move := private.series_move(actor, wanted);
  if (move.issue).code is null then
    -- Another change, or a cancellation, may be under way: where the sessions are is read once it is over. A session that
    -- comes into reach meanwhile is not among those that are locked, and stays.
    perform private.lock_moved(actor.organization_id, private.ids_of(move.sessions));
    move := private.series_move(actor, wanted, private.ids_of(move.sessions));
  end if;
  if (move.issue).code is not null then
    return private.refuse(actor, 'hold.refused', '{}', (move.issue).code, (move.issue).detail);
  end if;
  outcome := private.hold_move(
    actor, move, names_room, jsonb_build_object('seriesId', part.series_id, 'scope', part.scope)
  );
  if not (outcome ->> 'ok')::boolean then
    return private.told_by_session(outcome, move.sessions);
  end if;
  update public.hold_batches as batch
  set series_id = part.series_id,
    series_change = jsonb_strip_nulls(jsonb_build_object(
      'scope', part.scope, 'from', private.iso(part."from"::timestamptz), 'time_zone', wanted.time_zone,
      'cpt_code', wanted.cpt_code, 'session_type', wanted.session_type,
      'buffer_before_minutes', wanted.buffer_before_minutes, 'buffer_after_minutes', wanted.buffer_after_minutes
    )) || change
  where batch.organization_id = actor.organization_id and batch.id = (outcome #>> '{body,holdId}')::uuid;
  return private.kept(
    actor, 'sessions-hold', idempotency_key, fingerprint,
    jsonb_set(outcome, '{body}', private.held_series(outcome -> 'body', move, part))
  );
end
$$;
comment on function private.hold_series(private.actor, jsonb, text) is
  'sessions-hold with series: holds new places for this session of a series, this and the following ones, or all that are '
  'to come. All or nothing; confirmed as a move.';

create function private.ids_of(sessions public.sessions[])
returns uuid[]
language plpgsql
immutable
set search_path = ''
as $$
begin
  return array(select session.id from unnest(sessions) as session);
end
$$;
comment on function private.ids_of(public.sessions[]) is 'The ids of sessions.';

create function private.asked_move(actor private.actor, request jsonb)
returns private.series_move
language plpgsql
stable
set search_path = ''
as $$
declare
  move private.series_move := private.series_move(actor, private.read_series_request(request));
begin
  if (move.issue).code = 'FORBIDDEN' then
    perform private.raise_refusal(403, 'FORBIDDEN', (move.issue).detail);
  elsif (move.issue).code is not null then
    perform private.raise_invalid(private.issue('series', 'has no session that can be moved any more'));
  end if;
  return move;
end
$$;
comment on function private.asked_move(private.actor, jsonb) is
  'The move that a change of a series would be, for who asks whether it can be had.';
