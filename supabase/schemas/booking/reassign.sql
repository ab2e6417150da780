-- Purpose: sessions of many clients go to another therapist together, as on the day somebody is ill.
-- Objects: hold_reassignment; read_reassignment_request, sessions_to_hand, reassignment_slots, reassignment_issues.
-- Watch for: it is a move of these sessions through private.place_hold, confirmed by sessions-confirm with one key. Here it
--            is only worked out which sessions go, and which of them cannot: by the functions that place_hold asks, behind
--            the locks that it takes. Times, rooms and buffers stay as they are, and groups go whole.

create function private.read_reassignment_request(request jsonb)
returns private.reassignment_request
language plpgsql
stable
set search_path = ''
as $$
declare
  wanted private.reassignment_request := private.read_request(request, null::private.reassignment_request);
begin
  perform private.require(array[
    row('to_therapist_id', 'is required', wanted.to_therapist_id is null),
    row('to_therapist_id', 'must be another therapist', wanted.to_therapist_id = wanted.therapist_id),
    row('session_ids', 'is required: give session_ids, or therapist_id with from and to',
      wanted.session_ids is null and wanted.therapist_id is null),
    row('session_ids', 'must not accompany therapist_id, from and to', wanted.session_ids is not null
      and num_nonnulls(wanted.therapist_id, wanted."from", wanted."to") > 0),
    row('from', 'is required with therapist_id', wanted.therapist_id is not null and wanted."from" is null),
    row('to', 'is required with therapist_id', wanted.therapist_id is not null and wanted."to" is null),
    row('to', 'must be after from', wanted."to"::timestamptz <= wanted."from"::timestamptz),
    row('override.reason', 'is required',
      wanted.override is distinct from null and (wanted.override).reason is null)
  ]::private.rule[]);
  wanted.hold_seconds := coalesce(wanted.hold_seconds, 300);
  wanted.on_conflict := coalesce(wanted.on_conflict, 'refuse');
  if wanted.session_ids is not null then
    wanted.session_ids := array(select distinct named.id from unnest(wanted.session_ids) as named (id) order by named.id);
  end if;
  return wanted;
end
$$;
comment on function private.read_reassignment_request(jsonb) is
  'Reads the request of hold_reassignment, defaulted: 300 seconds, refuse. PT400 names every field that is wrong.';

create function private.sessions_to_hand(organization_id uuid, wanted private.reassignment_request)
returns public.sessions[]
language plpgsql
volatile
set search_path = ''
as $$
begin
  -- One member stands for a group.
  return array(
    select session
    from (
      select distinct on (found.group_key) found.*
      from public.sessions as found
      where found.organization_id = sessions_to_hand.organization_id
        and case
          when wanted.session_ids is not null then found.id = any (wanted.session_ids)
          else found.therapist_id = wanted.therapist_id
            and found.start_time >= greatest(wanted."from"::timestamptz, clock_timestamp())
            and found.start_time < wanted."to"::timestamptz
            and found.status = 'scheduled'
        end
      order by found.group_key, found.status <> 'scheduled', found.id
    ) as session
    order by session.start_time, session.id
    limit 367
  );
end
$$;
comment on function private.sessions_to_hand(uuid, private.reassignment_request) is
  'The sessions a hand-over is of, by time: the named ones, or those to come of a therapist that start in a span.';

create function private.reassignment_slots(sessions public.sessions[])
returns private.slot[]
language plpgsql
volatile
set search_path = ''
as $$
begin
  return array(
    select row(
      gen_random_uuid(), session.position - 1, gen_random_uuid(), session.client_id, null, session.id, session.start_time,
      session.end_time, session.time_zone, session.civil_start, '{[0,2147483647)}', null, null, null
    )::private.slot
    from (
      select listed.*, row_number() over (order by listed.start_time, listed.id) as position
      from unnest(sessions) as listed
    ) as session
    order by session.position
  );
end
$$;
comment on function private.reassignment_slots(public.sessions[]) is 'One slot for each session, at the time that it has.';

create function private.reassignment_issues(
  actor private.actor,
  batch public.hold_batches,
  leads private.slot[],
  as_of timestamptz
)
returns table (occurrence_index integer, code text, detail text, retry_after timestamptz, conflicts jsonb, weight integer)
language plpgsql
volatile
set search_path = ''
as $$
#variable_conflict use_column
declare
  slots constant private.slot[] := private.with_lanes(actor.organization_id, private.with_services(
    actor.organization_id, private.with_moved(actor.organization_id, leads), null, null
  ));
  claims constant private.claims[] := private.claimed(actor.organization_id, private.places_of_slots(batch, slots, false));
  own_ids constant uuid[] := array(
    select unnest(array_remove(array[session.id, session.group_id], null))
    from unnest(slots) as slot
    join public.sessions as session on session.organization_id = batch.organization_id and session.id = slot.session_id
  );
  booker constant private.booker := row(actor.role, true, null);
begin
  return query
  select slot.occurrence_index, 'FORBIDDEN', 'The therapist may not take this client, or is not bookable.',
    null::timestamptz, null::jsonb, 1
  from unnest(slots) as slot
  where not private.may_book(actor, batch.therapist_id, slot.client_id)
  union all
  select slot.occurrence_index, 'SESSION_NOT_MOVABLE', 'The therapist has this session already.', null, null, 2
  from unnest(leads) as slot
  join public.sessions as session on session.organization_id = batch.organization_id and session.id = slot.session_id
  where session.therapist_id = batch.therapist_id
  union all
  select slot.occurrence_index, 'SESSION_NOT_MOVABLE', 'The session has begun.', null, null, 2
  from unnest(leads) as slot
  where slot.start_time < as_of
  union all
  select slot.occurrence_index, issue.code, issue.detail, issue.retry_after, issue.conflicts, 2
  from unnest(leads) as slot
  cross join lateral private.move_issue(actor, booker, null, array[slot.session_id], as_of) as issue
  where issue.code is not null
  union all
  select slot.occurrence_index, 'SESSION_NOT_MOVABLE',
    format('%s is no service code on %s: recode the session first.', slot.cpt_code, slot.service_date), null, null, 2
  from unnest(slots) as slot
  where slot.cpt_code is not null
    and (private.service_code_on(actor.organization_id, slot.cpt_code, slot.service_date)).code is null
  union all
  select slot.occurrence_index, 'FORBIDDEN', 'The therapist''s level may not render this service.', null, null, 3
  from unnest(slots) as slot
  where not private.may_render(actor.organization_id, batch.therapist_id, slot.cpt_code, slot.service_date)
  union all
  select (closed.value ->> 'occurrenceIndex')::integer, 'OUTSIDE_AVAILABILITY',
    'The therapist does not work then, or the clinic is closed.', null, jsonb_build_array(closed.value), 4
  from jsonb_array_elements(case when not private.overrides(batch, 'availability') then
    private.availability_conflicts(actor.organization_id, batch.therapist_id, private.spans_of(slots))
  end) as closed (value)
  union all
  select met.occurrence_index, met.told ->> 'code', met.told ->> 'detail', met.retry_after, met.conflicts,
    case when met.retry_after is null then 5 else 6 end
  from (
    select (found.value ->> 'occurrenceIndex')::integer as occurrence_index, jsonb_agg(found.value) as conflicts,
      private.conflict_code(jsonb_agg(found.value)) as told,
      case when bool_and(found.value ->> 'blockedBy' = 'hold') then max((found.value ->> 'expiresAt')::timestamptz) end
        as retry_after
    from jsonb_array_elements((private.find_conflicts(slots, claims, own_ids, as_of)).conflicts) as found (value)
    group by 1
  ) as met
  union all
  -- Sessions of two therapists at one time: the earlier one is taken.
  select placed.occurrence_index, 'THERAPIST_CONFLICT', 'Another of these sessions is at the same time.', null, null, 5
  from (
    select slot.occurrence_index as occurrence_index, lower(claim.during) as busy_from,
      max(upper(claim.during)) over (
        order by lower(claim.during), slot.occurrence_index rows between unbounded preceding and 1 preceding
      ) as busy_until
    from unnest(claims) as claim
    join unnest(slots) as slot on slot.hold_id = claim.owner_id
    where claim.resource_kind = 'therapist'
  ) as placed
  where placed.busy_until > placed.busy_from;
end
$$;
comment on function private.reassignment_issues(private.actor, public.hold_batches, private.slot[], timestamptz) is
  'What forbids each of these sessions to go to the batch''s therapist; the lightest weight weighs most. Units are asked by '
  'the hold itself.';

create function private.held_reassignment(body jsonb, sessions public.sessions[], skipped jsonb)
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
begin
  return body || jsonb_build_object(
    'skipped', skipped,
    'holds', (
      select jsonb_agg(held.value || jsonb_build_object(
        'sessionId', session.id, 'clientId', session.client_id, 'previousTherapistId', session.therapist_id,
        'timeZone', session.time_zone
      ) order by held.position)
      from jsonb_array_elements(body -> 'holds') with ordinality as held (value, position)
      cross join lateral (select (sessions[held.position::integer]).*) as session
    )
  );
end
$$;
comment on function private.held_reassignment(jsonb, public.sessions[], jsonb) is
  'The answer to a hand-over: which session each hold is of, with all that confirming asks for, and which were skipped.';

create function private.blocked_sessions(
  actor private.actor,
  batch public.hold_batches,
  sessions public.sessions[],
  as_of timestamptz
)
returns jsonb
language plpgsql
volatile
set search_path = ''
as $$
begin
  return (
    select coalesce(jsonb_agg(
      jsonb_build_object(
        'sessionId', sessions[worst.occurrence_index + 1].id,
        'occurrenceIndex', worst.occurrence_index,
        'code', worst.code,
        'detail', worst.detail,
        'retryAfter', private.iso(worst.retry_after),
        'conflicts', private.told_by_session(
          jsonb_build_object('conflicts', coalesce(worst.conflicts, '[]')), sessions
        ) -> 'conflicts'
      )
      order by worst.weight, worst.occurrence_index
    ), '[]')
    from (
      select issue.occurrence_index, (array_agg(issue.code order by issue.weight))[1] as code,
        (array_agg(issue.detail order by issue.weight))[1] as detail,
        case when bool_and(issue.retry_after is not null) then max(issue.retry_after) end as retry_after,
        jsonb_path_query_array(jsonb_agg(issue.conflicts) filter (where issue.conflicts is not null), '$[*][*]') as conflicts,
        min(issue.weight) as weight
      from private.reassignment_issues(actor, batch, private.reassignment_slots(sessions), as_of) as issue
      group by issue.occurrence_index
    ) as worst
  );
end
$$;
comment on function private.blocked_sessions(private.actor, public.hold_batches, public.sessions[], timestamptz) is
  'Those of the sessions that cannot go, each with the reason that weighs most and everything in its way.';

create function private.refuse_reassignment(
  actor private.actor,
  wanted private.reassignment_request,
  sessions public.sessions[],
  blocked jsonb
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  retry_after timestamptz;
begin
  select case when bool_and(item.value ->> 'retryAfter' is not null) then max((item.value ->> 'retryAfter')::timestamptz) end
  into retry_after
  from jsonb_array_elements(blocked) as item (value);
  return private.refuse(
    actor, 'hold.refused', array(select session.id from unnest(sessions) as session), blocked #>> '{0,code}',
    format('%s of %s sessions cannot go to this therapist; nothing was held. %s', jsonb_array_length(blocked),
      cardinality(sessions), blocked #>> '{0,detail}'),
    wanted.to_therapist_id, retry_after,
    jsonb_path_query_array(blocked, '$[*].conflicts[*]'),
    jsonb_build_object('toTherapistId', wanted.to_therapist_id),
    jsonb_build_object('blocked', (
      select jsonb_agg(item.value - 'occurrenceIndex' order by item.position)
      from jsonb_array_elements(blocked) with ordinality as item (value, position)
    ))
  );
end
$$;
comment on function private.refuse_reassignment(private.actor, private.reassignment_request, public.sessions[], jsonb) is
  'The outcome of a hand-over that is refused whole: the reason that weighs most, and blocked, each session with its own.';

create function private.place_reassignment(
  actor private.actor,
  wanted private.reassignment_request,
  sessions public.sessions[]
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  hold private.hold_request;
  batch public.hold_batches;
  blocked jsonb;
  outcome jsonb;
  as_of timestamptz;
begin
  hold.therapist_id := wanted.to_therapist_id;
  hold.hold_seconds := wanted.hold_seconds;
  hold.override := wanted.override;
  hold.time_zone := sessions[1].time_zone;
  -- Those locks that the hold itself will take, and in its order: what is decided here still holds there.
  perform private.lock_resources(actor.organization_id, wanted.to_therapist_id || private.lock_moved(
    actor.organization_id, array(select session.id from unnest(sessions) as session)
  ));
  as_of := clock_timestamp();
  sessions := array(
    select known
    from unnest(sessions) as session
    join public.sessions as known on known.organization_id = actor.organization_id and known.id = session.id
    -- What another call has handed over, moved away or cancelled meanwhile is not of this day any more.
    where wanted.session_ids is not null or (
      known.therapist_id = wanted.therapist_id and known.status = 'scheduled'
      and known.start_time >= wanted."from"::timestamptz and known.start_time < wanted."to"::timestamptz
    )
    order by known.start_time, known.id
  );
  batch := private.new_batch(actor, hold, true);
  blocked := private.blocked_sessions(actor, batch, sessions, as_of);
  loop
    if blocked <> '[]' and wanted.on_conflict = 'refuse' or jsonb_array_length(blocked) >= cardinality(sessions) then
      if sessions = '{}' then
        blocked := '[{"code": "SESSION_NOT_MOVABLE", "detail": "There is nothing to hand over.", "conflicts": []}]';
      end if;
      return private.refuse_reassignment(actor, wanted, sessions, blocked);
    end if;
    outcome := private.place_hold(
      actor, hold, private.reassignment_slots(private.sessions_but(sessions, blocked)), true,
      jsonb_build_object('fromTherapistId', wanted.therapist_id)
    );
    exit when (outcome ->> 'ok')::boolean or outcome -> 'shortages' is null;
    -- Units are what only the hold itself asks for, all together. What is short does not go.
    outcome := private.told_by_session(outcome, private.sessions_but(sessions, blocked));
    exit when wanted.on_conflict = 'refuse';
    blocked := blocked || (
      select jsonb_agg(distinct jsonb_build_object(
        'sessionId', item.value -> 'sessionId', 'code', 'AUTHORIZATION_EXCEEDED',
        'detail', 'Too few units are left for this service.', 'retryAfter', null, 'conflicts', jsonb_build_array()
      ))
      from jsonb_array_elements(outcome -> 'shortages') as item (value)
    );
  end loop;
  if not (outcome ->> 'ok')::boolean then
    return outcome;
  end if;
  return jsonb_set(outcome, '{body}', private.held_reassignment(
    outcome -> 'body', private.sessions_but(sessions, blocked), (
      select coalesce(jsonb_agg(item.value - 'occurrenceIndex' order by item.position), '[]')
      from jsonb_array_elements(blocked) with ordinality as item (value, position)
    )
  ));
end
$$;
comment on function private.place_reassignment(private.actor, private.reassignment_request, public.sessions[]) is
  'Holds the sessions for the other therapist: all of them, or with skip those that can go.';

create function private.sessions_but(sessions public.sessions[], blocked jsonb)
returns public.sessions[]
language plpgsql
immutable
set search_path = ''
as $$
begin
  return array(
    select session
    from unnest(sessions) as session
    where not exists (
      select from jsonb_array_elements(blocked) as item (value) where item.value ->> 'sessionId' = session.id::text
    )
    order by session.start_time, session.id
  );
end
$$;
comment on function private.sessions_but(public.sessions[], jsonb) is 'The sessions but those that cannot go, by time.';

create function private.hold_reassignment(actor private.actor, request jsonb, idempotency_key text default null)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  wanted private.reassignment_request := private.read_reassignment_request(request);
  fingerprint constant bytea := private.fingerprint(to_jsonb(wanted));
  sessions public.sessions[];
  outcome jsonb;
begin
  if actor.role not in ('admin', 'super_admin') then
    return private.refuse(actor, 'hold.refused', '{}', 'FORBIDDEN', 'Only an admin hands sessions over.');
  end if;
  perform private.share_organization(actor.organization_id);
  outcome := private.find_replay(actor.organization_id, actor.user_id, 'sessions-hold', idempotency_key, fingerprint);
  if outcome is not null then
    return outcome;
  end if;
  sessions := private.sessions_to_hand(actor.organization_id, wanted);
  if cardinality(wanted.session_ids) > (
    select count(*) from public.sessions as known
    where known.organization_id = actor.organization_id and known.id = any (wanted.session_ids)
  ) then
    return private.refuse(
      actor, 'hold.refused', '{}', 'FORBIDDEN', 'A session to be handed over does not exist or is not yours.'
    );
  elsif cardinality(sessions) > 366 then
    perform private.raise_invalid(private.issue('to', 'must leave at most 366 sessions: hand over a shorter time'));
  end if;
  return private.kept(
    actor, 'sessions-hold', idempotency_key, fingerprint, private.place_reassignment(actor, wanted, sessions)
  );
end
$$;

select private.publish_booking('hold_reassignment',
  'Holds sessions of one or many clients for another therapist, for admins: {session_ids} or {therapist_id, from, to} (the '
  'sessions to come that start in this span), and {to_therapist_id, on_conflict?, hold_seconds?, override?}. Times, rooms '
  'and buffers stay, groups go whole. Answers as sessions-hold, with sessionId, clientId, clientIds and timeZone of each '
  'hold; sessions-confirm with the one holdKey carries it out. A session that cannot go refuses all (409, blocked says which '
  'and why), or with on_conflict "skip" is left out and listed in skipped.'
);
