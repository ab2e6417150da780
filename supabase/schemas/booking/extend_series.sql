-- Purpose: a series goes on: by its rule, and as it was changed since.
-- Objects: series_to_come, usual_session, series_pattern, extension_days, extended_series, extend_series.
-- Watch for: it is the hold and the confirmation of new sessions in one transaction, as of any others. The rule is followed
--            as it was asked for, and each of its days then meets every change of "following" or "all", in their order. So do
--            therapist, room and travel. A session that was changed by itself changes nothing of that: a substitute who
--            gives the last one does not go on with the series.

create type private.series_pattern as (
  rule text,
  exceptions jsonb,
  civil_start timestamp,
  time_zone text,
  through date,
  changes private.series_change[],
  change_zones text[],
  duration interval,
  usual public.sessions,
  client_ids uuid[]
);
comment on type private.series_pattern is
  'What a series does: its rule and what it makes of the rule''s days (changes, duration). change_zones: by whose clocks '
  'each change and all later ones are, null for those before. through: the last day of the rule '
  'that was booked; usual: who, where and for what its sessions are; client_ids: everybody of its group who is in a series.';

create function private.read_extend_request(request jsonb)
returns private.extend_request
language plpgsql
stable
set search_path = ''
as $$
declare
  wanted private.extend_request := private.read_request(request, null::private.extend_request);
begin
  perform private.require(array[
    row('series_id', 'is required', wanted.series_id is null),
    row('until', 'is required: give until, count, or authorization_end: true, and one of them',
      num_nonnulls(wanted.until, wanted.count, nullif(wanted.authorization_end, false)) <> 1),
    row('override.reason', 'is required', wanted.override is distinct from null and (wanted.override).reason is null)
  ]::private.rule[]);
  wanted.on_conflict := coalesce(wanted.on_conflict, 'refuse');
  return wanted;
end
$$;
comment on function private.read_extend_request(jsonb) is 'Reads the request of extend_series, or PT400.';

create function private.series_to_come(
  organization_id uuid,
  series_id uuid,
  out therapist_id uuid,
  out is_in_one_room boolean,
  out room_id uuid
)
language plpgsql
stable
set search_path = ''
as $$
begin
  -- One session alone may be the one that was changed.
  select
    case when count(distinct session.therapist_id) = 1 then min(session.therapist_id::text)::uuid end,
    count(distinct coalesce(place.room_id::text, '')) = 1,
    min(place.room_id::text)::uuid
  into therapist_id, is_in_one_room, room_id
  from public.sessions as session
  left join public.session_groups as known_group
    on known_group.organization_id = session.organization_id and known_group.id = session.group_id
  cross join lateral (select coalesce(known_group.room_id, session.room_id) as room_id) as place
  where session.organization_id = series_to_come.organization_id and session.series_id = series_to_come.series_id
    and session.status = 'scheduled' and session.start_time > clock_timestamp()
  having count(*) > 1;
end
$$;
comment on function private.series_to_come(uuid, uuid) is
  'Who renders all sessions of a series that are to come, and where all of them are, whoever asks; nulls where they differ, '
  'and for a single one.';

create function private.usual_session(
  organization_id uuid,
  series public.session_series,
  known public.sessions[],
  first public.hold_batches,
  changes jsonb,
  next_day date
)
returns public.sessions
language plpgsql
stable
set search_path = ''
as $$
declare
  usual public.sessions;
  now_with record;
  standing constant public.sessions[] := array(
    select session from unnest(known) as session where session.status not in ('cancelled', 'no_show')
  );
  to_come constant public.sessions[] := array(
    select session from unnest(standing) as session where session.start_time > clock_timestamp()
  );
  -- One session alone may be the one that was changed.
  many constant public.sessions[] := case
    when cardinality(to_come) > 1 then to_come
    when standing <> '{}' then standing
    else known
  end;
begin
  -- No place and no room count as any other: mode() leaves nulls out.
  select nullif(mode() within group (order by coalesce(session.location_type, '')), ''),
    nullif(mode() within group (order by coalesce(known_group.room_id::text, session.room_id::text, '')), '')::uuid,
    mode() within group (order by greatest(known_group.buffer_before_minutes, session.buffer_before_minutes)),
    mode() within group (order by greatest(known_group.buffer_after_minutes, session.buffer_after_minutes))
  into usual.location_type, usual.room_id, usual.buffer_before_minutes, usual.buffer_after_minutes
  from unnest(many) as session
  left join public.session_groups as known_group
    on known_group.organization_id = usual_session.organization_id and known_group.id = session.group_id;
  -- What was asked of the series, where that is known: a series that was written directly has no holds.
  if first.id is not null then
    usual.room_id := first.room_id;
    usual.buffer_before_minutes := first.buffer_before_minutes;
    usual.buffer_after_minutes := first.buffer_after_minutes;
  end if;
  if changes ? 'room_id' then
    usual.room_id := (changes ->> 'room_id')::uuid;
  end if;
  now_with := private.series_to_come(organization_id, series.id);
  if now_with.is_in_one_room then
    usual.room_id := now_with.room_id;
  end if;
  usual.buffer_before_minutes := coalesce((changes ->> 'buffer_before_minutes')::smallint, usual.buffer_before_minutes);
  usual.buffer_after_minutes := coalesce((changes ->> 'buffer_after_minutes')::smallint, usual.buffer_after_minutes);
  usual.organization_id := organization_id;
  usual.therapist_id := coalesce(now_with.therapist_id, (changes ->> 'therapist_id')::uuid, series.therapist_id);
  usual.client_id := series.client_id;
  -- Sessions get another code by themselves, too, and all of them when their code ends.
  select service.cpt_code, service.session_type into usual.cpt_code, usual.session_type
  from (
    select session.cpt_code, session.session_type, count(*) as number, max(session.start_time) as last_time
    from unnest(many) as session
    group by session.cpt_code, session.session_type
    union all
    select upper(changes ->> 'cpt_code'), changes ->> 'session_type', 1000, null
    where changes ?| '{cpt_code,session_type}'
  ) as service
  cross join lateral (
    select private.billed_code(usual_session.organization_id, service.cpt_code, service.session_type, next_day) as code
  ) as billed
  order by (private.service_code_on(usual_session.organization_id, billed.code, next_day)).code is null, service.number desc,
    service.last_time desc nulls last
  limit 1;
  return usual;
end
$$;
comment on function private.usual_session(
  uuid, public.session_series, public.sessions[], public.hold_batches, jsonb, date
) is
  'Who, where and for what the sessions of a series are, whatever became of a single one: as all of those to come are, else '
  'as it was booked first (first) and changed since (changes), else as most of its sessions are, of a service that is valid '
  'on next_day.';

create function private.series_pattern(actor private.actor, wanted private.extend_request)
returns private.series_pattern
language plpgsql
stable
set search_path = ''
as $$
declare
  pattern private.series_pattern;
  known constant public.sessions[] := private.series_sessions(actor, wanted.series_id);
  series public.session_series;
  first public.hold_batches;
  lasting jsonb;
  held record;
begin
  if known = '{}' then
    return null;
  end if;
  select each.* into series
  from public.session_series as each
  where each.organization_id = actor.organization_id and each.id = wanted.series_id;
  pattern.rule := coalesce(series.recurrence ->> 'rule', series.recurrence_rule);
  pattern.exceptions := series.recurrence -> 'exceptions';
  pattern.time_zone := coalesce(series.recurrence ->> 'time_zone', series.time_zone);
  -- What was held first is what was asked, wherever its sessions are now. A series that was written directly has no holds.
  select max(hold.civil_start)::date as through,
    (array_agg(hold.end_time - hold.start_time order by hold.civil_start desc))[1] as duration,
    (array_agg(batch order by hold.civil_start))[1] as batch
  into held
  from public.sessions as session
  join public.session_holds as hold on hold.organization_id = session.organization_id and hold.id = session.id
  join public.hold_batches as batch on batch.organization_id = hold.organization_id and batch.id = hold.batch_id
  where session.organization_id = actor.organization_id and session.series_id = wanted.series_id and batch.series_id is null;
  select
    greatest(held.through, max((change.change ->> 'through')::date)),
    coalesce(array_agg(
      jsonb_populate_record(null::private.series_change, change.change) order by change.changed_at
    ) filter (where change.lasts), '{}'),
    array_agg(change.change ->> 'time_zone' order by change.changed_at) filter (where change.lasts),
    -- An extension by another therapist is how the series goes on.
    (
      select jsonb_object_agg(field.key, field.value order by asked.changed_at)
      from public.series_changes as asked
      cross join lateral jsonb_each(asked.change) as field
      where asked.organization_id = actor.organization_id and asked.series_id = wanted.series_id
        and coalesce(asked.change ->> 'scope', 'following') <> 'this'
    )
  into pattern.through, pattern.changes, pattern.change_zones, lasting
  from (
    select known.change, known.changed_at, known.change ->> 'scope' in ('following', 'all') as lasts
    from public.series_changes as known
    where known.organization_id = actor.organization_id and known.series_id = wanted.series_id
  ) as change;
  pattern.through := coalesce(pattern.through, (select max(session.civil_start)::date from unnest(known) as session));
  pattern.civil_start := coalesce(series.civil_start, known[1].civil_start);
  pattern.duration := coalesce(
    (
      select make_interval(mins => change.duration_minutes)
      from unnest(pattern.changes) with ordinality as change
      where change.duration_minutes is not null
      order by change.ordinality desc
      limit 1
    ),
    held.duration, (select mode() within group (order by session.end_time - session.start_time) from unnest(known) as session)
  );
  first := held.batch;
  pattern.usual := private.usual_session(
    actor.organization_id, series, known, first, coalesce(lasting, '{}'), pattern.through + 1
  );
  -- Who misses the last session of a group comes to the next; who missed the last two has left it.
  pattern.client_ids := array(
    select distinct mate.client_id
    from (
      select session.group_id from unnest(known) as session
      where session.group_id is not null and session.status not in ('cancelled', 'no_show')
      order by session.start_time desc, session.id
      limit 2
    ) as late
    join public.sessions as mate on mate.organization_id = actor.organization_id and mate.group_id = late.group_id
    where mate.series_id is not null and mate.status not in ('cancelled', 'no_show')
    order by mate.client_id
  );
  return pattern;
end
$$;
comment on function private.series_pattern(private.actor, private.extend_request) is
  'What a series does, as far as it is the caller''s; null when it is not.';

create type private.extension_day as (day date, civil timestamp, start_time timestamptz, time_zone text);
comment on type private.extension_day is 'A day of a rule, and when the session of it begins, by whose clocks.';

create function private.extension_days(pattern private.series_pattern, as_of timestamptz)
returns private.extension_day[]
language plpgsql
stable
set search_path = ''
as $$
declare
  days constant date[] := private.rule_days(
    pattern.rule, pattern.civil_start::date,
    -- Nothing is left of what can be booked for a series that was written to its end, or beyond.
    daterange(pattern.through + 1, greatest(pattern.through + 1, (as_of at time zone pattern.time_zone)::date + 731))
  );
begin
  if days is null then
    return null;
  end if;
  return array(
    with recursive changed as (
      select day.date as day, day.date + pattern.civil_start::time as civil, pattern.time_zone as zone, 0 as changes
      from unnest(days) as day (date)
      where not private.is_excepted(pattern.exceptions, day.date + pattern.civil_start::time, pattern.time_zone)
      union all
      select changed.day, private.changed_civil(
        case when clocks.zone = changed.zone then changed.civil
          else private.instant_at(changed.civil, changed.zone) at time zone clocks.zone end,
        pattern.changes[changed.changes + 1]
      ), clocks.zone, changed.changes + 1
      from changed
      cross join lateral (
        select coalesce(pattern.change_zones[changed.changes + 1], changed.zone) as zone
      ) as clocks
      where changed.changes < cardinality(pattern.changes)
    )
    select row(changed.day, changed.civil, begins.at, changed.zone)::private.extension_day
    from changed
    cross join lateral (select private.instant_at(changed.civil, changed.zone) as at offset 0) as begins
    where changed.changes = cardinality(pattern.changes) and begins.at > as_of
    order by changed.day
  );
end
$$;
comment on function private.extension_days(private.series_pattern, timestamptz) is
  'The days on which a series would go on, within the time that can be booked. Null: it has no rule that can be read.';

create function private.authorization_end(
  actor private.actor,
  pattern private.series_pattern,
  next private.extension_day,
  as_of timestamptz,
  out ends_on date,
  out shortages jsonb
)
language plpgsql
stable
set search_path = ''
as $$
declare
  session constant public.sessions := pattern.usual;
  on_date constant date := private.service_date(actor.organization_id, session.client_id, next.start_time);
  quotes constant private.quote[] := private.quote_units(actor.organization_id, array[row(
    gen_random_uuid(), 0, session.client_id,
    private.billed_code(actor.organization_id, session.cpt_code, session.session_type, on_date),
    next.start_time, next.start_time + pattern.duration, null, null, session.therapist_id, on_date
  )::private.service], as_of);
begin
  select max(approval.ends_on) into ends_on
  from unnest(quotes) as quote
  join public.authorizations as approval
    on approval.organization_id = actor.organization_id and approval.id = quote.authorization_id;
  shortages := private.shortages_of(quotes);
end
$$;
comment on function private.authorization_end(private.actor, private.series_pattern, private.extension_day, timestamptz) is
  'The last day of the authorization that the next session of a series draws on, or what is short of it.';

create function private.extension_of(
  actor private.actor,
  wanted private.extend_request,
  pattern private.series_pattern,
  as_of timestamptz,
  out days private.extension_day[],
  out issue private.cause,
  out shortages jsonb
)
language plpgsql
stable
set search_path = ''
as $$
declare
  possible constant private.extension_day[] := private.extension_days(pattern, as_of);
  until date := wanted.until::date;
  found record;
begin
  if pattern.rule is null or possible is null then
    perform private.raise_invalid(private.issue('series_id', 'is a series without a rule that could go on: book the dates'));
  elsif until > (as_of at time zone pattern.time_zone)::date + 730 then
    perform private.raise_invalid(private.issue('until', 'is more than 730 days ahead'));
  elsif wanted.count > cardinality(possible) then
    perform private.raise_invalid(private.issue('count', format(
      'must be at most %s: more would be more than 730 days ahead', cardinality(possible))));
  elsif wanted.authorization_end and possible <> '{}' then
    found := private.authorization_end(actor, pattern, possible[1], as_of);
    until := found.ends_on;
    if until is null and found.shortages is not null then
      issue := row('AUTHORIZATION_EXCEEDED', 'No authorization covers the next session of this series: see shortages.', null, null);
      shortages := found.shortages;
      return;
    elsif until is null then
      perform private.raise_invalid(private.issue('authorization_end', 'must not be asked for: no authorization counts these sessions'));
    end if;
  end if;
  days := case when wanted.count is not null then possible[1:wanted.count::integer] else array(
    select row(next.*)::private.extension_day
    from unnest(possible) as next
    where next.civil::date <= until
    order by next.day
  ) end;
  if days = '{}' then
    perform private.raise_invalid(private.issue(
      case when wanted.until is null then 'series_id' else 'until' end, 'leaves nothing to add to the series'));
  elsif cardinality(days) * greatest(cardinality(pattern.client_ids), 1) > 366 then
    perform private.raise_invalid(private.issue(
      case when wanted.count is null then 'until' else 'count' end,
      'must add at most 366 sessions, those of all members of a group counted'));
  end if;
end
$$;
comment on function private.extension_of(private.actor, private.extend_request, private.series_pattern, timestamptz) is
  'The days that are to be added to a series, or why there are none; PT400 for what cannot be asked.';

create function private.extension_request(
  wanted private.extend_request,
  pattern private.series_pattern,
  days private.extension_day[]
)
returns private.hold_request
language plpgsql
stable
set search_path = ''
as $$
declare
  request private.hold_request;
begin
  request.therapist_id := coalesce(wanted.therapist_id, (pattern.usual).therapist_id);
  request.client_id := (pattern.usual).client_id;
  request.client_ids := case when cardinality(pattern.client_ids) > 1 then pattern.client_ids end;
  request.room_id := (pattern.usual).room_id;
  request.cpt_code := (pattern.usual).cpt_code;
  request.session_type := (pattern.usual).session_type;
  request.time_zone := days[1].time_zone;
  request.hold_seconds := 30;
  request.buffer_before_minutes := (pattern.usual).buffer_before_minutes;
  request.buffer_after_minutes := (pattern.usual).buffer_after_minutes;
  request.override := wanted.override;
  request.occurrences := array(
    select row(
      null, private.iso(day.start_time + pattern.duration), null, null, day.time_zone, null,
      to_char(day.civil, 'YYYY-MM-DD"T"HH24:MI:SS.MS')
    )::private.occurrence_request
    from unnest(days) as day
    order by day.day
  );
  return request;
end
$$;
comment on function private.extension_request(private.extend_request, private.series_pattern, private.extension_day[]) is
  'The hold of the sessions that are to be added: who, where and for what as the series has it.';

create function private.extended_series(batch public.hold_batches, client_id uuid)
returns uuid
language plpgsql
stable
set search_path = ''
as $$
begin
  return coalesce((
    select mate.series_id
    from public.sessions as lead
    join public.sessions as mate on mate.organization_id = lead.organization_id and mate.group_id = lead.group_id
    where lead.organization_id = batch.organization_id and lead.series_id = batch.series_id
      and mate.client_id = extended_series.client_id and mate.series_id is not null
    order by lead.start_time desc
    limit 1
  ), batch.series_id);
end
$$;
comment on function private.extended_series(public.hold_batches, uuid) is
  'The series that a client''s new sessions belong to: in a group each client has a series of their own.';

create function private.book_extension(
  actor private.actor,
  wanted private.extend_request,
  pattern private.series_pattern,
  days private.extension_day[],
  skipped_days private.extension_day[]
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  request constant private.hold_request := private.extension_request(wanted, pattern, days);
  outcome jsonb;
  found text;
begin
  outcome := private.place_hold(
    actor, request, private.slots_of(request, clock_timestamp()), true, jsonb_build_object('seriesId', wanted.series_id)
  );
  if not (outcome ->> 'ok')::boolean then
    return outcome;
  end if;
  update public.hold_batches as batch
  set series_id = wanted.series_id, series_change = jsonb_strip_nulls(jsonb_build_object(
    'until', wanted.until, 'count', wanted.count, 'authorization_end', wanted.authorization_end,
    'therapist_id', wanted.therapist_id,
    'through', (select max(next.day) from unnest(days || skipped_days) as next)
  ))
  where batch.organization_id = actor.organization_id and batch.id = (outcome #>> '{body,holdId}')::uuid;
  outcome := private.confirm_hold(actor, confirmation.request, private.listed_of(confirmation.request))
  from (
    select row(
      (outcome #>> '{body,holdKey}')::uuid, (array_agg(place.session))[1], null, null, null, request.time_zone,
      array_agg(row(place.hold_key, place.session, null, null, null, null, null)::private.confirm_occurrence), null
    )::private.confirm_request as request
    from (
      select (held.value ->> 'holdKey')::uuid as hold_key, row(
        null, request.therapist_id, request.client_id, held.value ->> 'startTime', held.value ->> 'endTime', null,
        (pattern.usual).location_type, null
      )::private.session_request as session
      from jsonb_array_elements(outcome #> '{body,holds}') as held (value)
    ) as place
  ) as confirmation;
  if not (outcome ->> 'ok')::boolean then
    -- The hold is undone with its claims, as if it had never been.
    raise sqlstate 'PTUND';
  end if;
  return outcome;
exception
  when sqlstate 'PTUND' then
    return private.refuse(
      actor, 'hold.refused', '{}', outcome ->> 'code', outcome ->> 'detail', request.therapist_id,
      more => case when outcome ? 'shortages' then jsonb_build_object('shortages', outcome -> 'shortages') else '{}' end
    );
  when sqlstate 'PT400' then
    get stacked diagnostics found = pg_exception_detail;
    perform private.raise_invalid((
      select jsonb_agg(case when place.index is null then issue.value else jsonb_build_object(
        'path', 'series_id', 'message', format(
          'has a session on %s whose %s %s', days[place.index + 1].day, coalesce(place.field, 'service'),
          issue.value ->> 'message'
        )
      ) end)
      from jsonb_array_elements(found::jsonb) as issue (value)
      cross join lateral (
        select (part.found)[1]::integer as index, (part.found)[2] as field
        from (select regexp_match(issue.value ->> 'path', '^occurrences\.(\d+)(?:\.(\w+))?') as found) as part
      ) as place
    ));
end
$$;
comment on function private.book_extension(
  private.actor, private.extend_request, private.series_pattern, private.extension_day[], private.extension_day[]
) is
  'Holds and confirms the sessions that are added to a series, or refuses and leaves nothing. skipped_days: those that are '
  'left out.';

create function private.extend_series(actor private.actor, request jsonb, idempotency_key text default null)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  wanted constant private.extend_request := private.read_extend_request(request);
  pattern private.series_pattern;
  resource_ids uuid[];
  added record;
  blocked jsonb := '{}';
  skipped jsonb := '[]';
  days private.extension_day[];
  fingerprint constant bytea := private.fingerprint(to_jsonb(wanted));
  outcome jsonb;
begin
  if not private.may_change_series(actor, wanted.series_id) then
    return private.refuse(actor, 'hold.refused', '{}', 'FORBIDDEN', 'You may not book this therapist, client or room.');
  end if;
  perform private.share_organization(actor.organization_id);
  outcome := private.find_replay(actor.organization_id, actor.user_id, 'extend-series', idempotency_key, fingerprint);
  if outcome is not null then
    return outcome;
  end if;
  pattern := private.series_pattern(actor, wanted);
  if pattern is null or (pattern.usual).client_id is null then
    return private.refuse(actor, 'hold.refused', '{}', 'FORBIDDEN', 'You may not book this therapist, client or room.');
  end if;
  resource_ids := private.extension_resources(wanted, pattern);
  -- Another extension, or a change that is being confirmed, is over once these people are free: then it is looked again
  -- where the series ends.
  perform private.lock_resources(actor.organization_id, resource_ids);
  pattern := private.series_pattern(actor, wanted);
  if (pattern.usual).client_id is null or private.extension_resources(wanted, pattern) <> resource_ids then
    perform private.raise_busy();
  end if;
  added := private.extension_of(actor, wanted, pattern, clock_timestamp());
  if (added.issue).code is not null then
    return private.refuse(
      actor, 'hold.refused', '{}', (added.issue).code, (added.issue).detail, (pattern.usual).therapist_id,
      more => jsonb_build_object('shortages', added.shortages)
    );
  end if;
  days := added.days;
  if wanted.on_conflict = 'skip' then
    -- Which days are blocked, by their index, and by what.
    select coalesce(jsonb_object_agg(occurrence.value ->> 'index', occurrence.value - 'index'), '{}') into blocked
    from jsonb_array_elements(private.preview_series(
      jsonb_strip_nulls(to_jsonb(private.extension_request(wanted, pattern, days)))
    ) -> 'occurrences') as occurrence (value)
    where occurrence.value -> 'blockedBy' <> 'null';
    days := array(
      select row(day.day, day.civil, day.start_time, day.time_zone)::private.extension_day
      from unnest(added.days) with ordinality as day
      where not blocked ? (day.ordinality - 1)::text
      order by day.ordinality
    );
    select coalesce(jsonb_agg(one.value order by one.key::integer), '[]') into skipped from jsonb_each(blocked) as one;
  end if;
  outcome := private.book_extension(actor, wanted, pattern, case when days = '{}' then added.days else days end, added.days);
  if not (outcome ->> 'ok')::boolean then
    return outcome;
  end if;
  return private.kept(actor, 'extend-series', idempotency_key, fingerprint, private.success(jsonb_build_object(
    'seriesId', wanted.series_id, 'sessions', outcome #> '{body,sessions}', 'skipped', skipped
  )));
end
$$;
comment on function private.extend_series(private.actor, jsonb, text) is
  'Adds sessions to the end of a series, all or nothing, or those that are free. Returns an outcome; raises PT400, PT401, '
  'PT403, PT503.';

create function private.extension_resources(wanted private.extend_request, pattern private.series_pattern)
returns uuid[]
language plpgsql
immutable
set search_path = ''
as $$
begin
  return array_remove(
    array[coalesce(wanted.therapist_id, (pattern.usual).therapist_id), (pattern.usual).client_id, (pattern.usual).room_id]
      || pattern.client_ids, null
  );
end
$$;
comment on function private.extension_resources(private.extend_request, private.series_pattern) is
  'Whose time an extension takes.';
