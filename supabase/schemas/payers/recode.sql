-- Purpose: sessions that are booked get another service code, as when a code ends.
-- Objects: recode_sessions, its request, what forbids it and what writes it; reports.sessions_to_recode lists what needs it.
-- Watch for: all or nothing. The code decides lanes and units, so both are asked anew, by what a hold asks. What is completed
--            is corrected through correct_visit.

create type private.recode_request as (
  session_ids private.session_ids, cpt_code private.cpt_code, override private.override_request
);
comment on type private.recode_request is 'The request of recode_sessions, each field within its bounds.';
select private.make_readable('{recode_request}');

create function private.recoded_rows(organization_id uuid, session_ids uuid[], cpt_code text)
returns public.sessions[]
language plpgsql
stable
set search_path = ''
as $$
declare
  rows public.sessions[];
  on_date date;
begin
  rows := array(
    select session from public.sessions as session
    where session.organization_id = recoded_rows.organization_id and session.id = any (session_ids)
    order by session.start_time, session.id
  );
  for number in 1..cardinality(rows) loop
    on_date := private.service_date(organization_id, rows[number].client_id, rows[number].start_time);
    rows[number].cpt_code := recoded_rows.cpt_code;
    rows[number].lanes := private.client_lanes(
      organization_id, rows[number].client_id, recoded_rows.cpt_code, rows[number].start_time, rows[number].end_time
    );
    -- Another service has the modifiers its payer wants, as when it is booked.
    rows[number].cpt_modifiers := private.default_modifiers(
      organization_id, private.primary_payer(organization_id, rows[number].client_id, on_date), recoded_rows.cpt_code,
      private.credential_on(organization_id, rows[number].therapist_id, on_date), rows[number].location_type, on_date
    );
  end loop;
  return rows;
end
$$;
comment on function private.recoded_rows(uuid, uuid[], text) is
  'These sessions by their start, as they are with another code: its lanes, and the modifiers that the payer wants.';

create function private.recode_issue(
  organization_id uuid,
  changed public.sessions[],
  override private.override_request,
  as_of timestamptz,
  out cause private.cause,
  out shortages jsonb,
  out is_unpaid boolean
)
language plpgsql
stable
set search_path = ''
as $$
declare
  issues jsonb;
  found record;
  -- What an admin sets aside of the payers' rules.
  pays constant text := case when private.overrides(override, 'authorization') then 'session_paid' end;
begin
  select jsonb_agg(private.issue(
    format('session_ids.%s', session.number - 1), format('is a session that is %s', session.status)) order by session.number) into issues
  from (select each.*, row_number() over () as number from unnest(changed) as each) as session
  where session.status not in ('scheduled', 'in_progress');
  if issues is not null then
    cause.code := 'STATUS_NOT_ALLOWED';
    cause.detail := 'Only sessions that are not completed, cancelled or missed get another code. A completed one is corrected.';
    return;
  end if;
  cause.retry_after := private.live_move_of(organization_id, array(select each.id from unnest(changed) as each), as_of);
  if cause.retry_after is not null then
    cause.code := 'SESSION_BEING_MOVED';
    cause.detail := 'Somebody is moving one of these sessions. Try again when their hold has ended.';
    return;
  end if;
  select broken.session_id, (broken.issue).rule, (broken.issue).message, broken.is_unpaid into found
  from (
    select each.*, bool_or((each.issue).rule = pays) over () as is_unpaid
    from (
      select session.id as session_id, session.start_time, private.written_session_issue(session, before, false, true) as issue
      from unnest(changed) as session
      join public.sessions as before on before.organization_id = session.organization_id and before.id = session.id
    ) as each
  ) as broken
  where (broken.issue).rule is not null
  order by (broken.issue).rule is not distinct from pays, broken.start_time, broken.session_id
  limit 1;
  is_unpaid := coalesce(found.is_unpaid, false);
  if found.rule = 'technician_cannot_render' then
    cause.code := 'FORBIDDEN';
    cause.detail := found.message;
    return;
  elsif found.rule = 'session_being_moved' then
    cause.code := 'SESSION_BEING_MOVED';
    cause.detail := found.message;
    return;
  elsif found.rule <> coalesce(pays, '') then
    perform private.raise_invalid(private.issue('cpt_code', format('%s (session %s)', found.message, found.session_id)));
  end if;
  -- Each as if it were moved to where it is: what it has already, it need not ask for again.
  shortages := private.shortages_of(private.quote_units(organization_id, array(
    select row(
      session.id, (session.number - 1)::integer, session.client_id, session.cpt_code, session.start_time, session.end_time,
      session.id, null, session.therapist_id, null
    )::private.service
    from (select each.*, row_number() over () as number from unnest(changed) as each) as session
  ), as_of));
  if shortages is null then
    return;
  end if;
  shortages := private.told_by_session(jsonb_build_object('shortages', shortages), changed) -> 'shortages';
  if not private.overrides(override, 'authorization') then
    cause.code := 'AUTHORIZATION_EXCEEDED';
    cause.detail := 'The payer''s authorization has too few units left for this code, or does not cover the dates: see shortages.';
  end if;
end
$$;
comment on function private.recode_issue(uuid, public.sessions[], private.override_request, timestamptz) is
  'What forbids these sessions their new code: their status, a live move, the code''s days, who may render it, the payer, or '
  'units. PT400 names what is wrong with the code. shortages without a code, and is_unpaid: what an admin sets aside.';

create function private.write_recoded(
  actor private.actor,
  changed public.sessions[],
  override private.override_request,
  is_short boolean,
  as_of timestamptz,
  out conflicts jsonb,
  out lifted_ids uuid[]
)
language plpgsql
set search_path = ''
as $$
declare
  session_ids constant uuid[] := private.ids_of(changed);
  places constant private.resynced_session[] := array(
    select row(each.id, each.group_id, each.start_time, each.end_time, each.start_time, each.end_time)::private.resynced_session
    from unnest(changed) as each
  );
  before constant jsonb := private.rows_of_sessions(actor.organization_id, session_ids);
  obstacle private.obstacle;
begin
  update public.sessions as session
  set cpt_code = each.cpt_code, cpt_modifiers = each.cpt_modifiers, lanes = each.lanes, updated_at = as_of
  from unnest(changed) as each
  where session.organization_id = actor.organization_id and session.id = each.id;
  -- Their rows have the new lanes by now: what is in the way is another service of the client.
  obstacle := private.resync_obstacle(actor.organization_id, places, as_of);
  delete from private.let_beside as let
  where let.organization_id = actor.organization_id and let.session_id = any (session_ids);
  if obstacle.concurrent_lanes is not null and private.overrides(override, 'concurrency') then
    lifted_ids := array(
      select distinct (item.value ->> 'sessionId')::uuid from jsonb_array_elements(obstacle.conflicts) as item
    );
    update public.sessions as session
    set lanes = session.lanes - obstacle.concurrent_lanes
    where session.organization_id = actor.organization_id and session.id = any (lifted_ids);
    insert into private.let_beside (organization_id, session_id)
    select actor.organization_id, lifted.id from unnest(lifted_ids) as lifted (id);
    obstacle := private.resync_obstacle(actor.organization_id, places, as_of);
  end if;
  conflicts := obstacle.conflicts;
  if conflicts is not null then
    return;
  end if;
  perform private.settle_written(actor.organization_id, session_ids, array(
    select distinct each.group_id from unnest(changed) as each where each.group_id is not null
  ), case when is_short then '{}' else session_ids end);
  if is_short then
    perform private.reenter_units(actor.organization_id, session_ids, '{}');
  end if;
  perform private.audit_written(actor.organization_id, before, private.rows_of_sessions(actor.organization_id, session_ids));
end
$$;
comment on function private.write_recoded(
  private.actor, public.sessions[], private.override_request, boolean, timestamptz
) is
  'Writes sessions with their new code, lanes and units, or says what is in the way; then the caller undoes it. is_short: an '
  'admin has set missing units aside, which are entered as beyond the authorization. lifted_ids: those that an admin lets run beside another service.';

create function private.conflicts_between(changed public.sessions[])
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    select coalesce(jsonb_agg(jsonb_build_object(
      'occurrenceIndex', conflict.number - 1, 'resource', 'client', 'blockedBy', 'session',
      'startTime', private.iso(case when conflict.begins_within then conflict.start_time else conflict.next_starts end),
      'endTime', private.iso(
        least(conflict.end_time, case when conflict.begins_within then conflict.former_ends else conflict.next_ends end)
      ),
      'sessionId', conflict.id
    ) order by conflict.number), '[]')
    from (
      -- By their order: who recodes a thousand sessions of a client has a million pairs.
      select each.*, coalesce(each.former_ends > each.start_time, false) as begins_within
      from (
        select session.id, session.start_time, session.end_time, session.number,
          max(session.end_time) over (in_order rows between unbounded preceding and 1 preceding) as former_ends,
          lead(session.start_time) over in_order as next_starts, lead(session.end_time) over in_order as next_ends
        from (select given.*, row_number() over () as number from unnest(changed) as given) as session
        window in_order as (partition by session.client_id order by session.start_time, session.id)
      ) as each
    ) as conflict
    where conflict.begins_within or conflict.next_starts < conflict.end_time
  );
end
$$;
comment on function private.conflicts_between(public.sessions[]) is
  'Which of these sessions, ordered by their start, forbid each other: a client would have the same service twice at once. One '
  'conflict for each, as private.resync_obstacle tells it.';

create function private.recode_sessions(actor private.actor, request jsonb)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  wanted constant private.recode_request :=
    private.read_request(request, null::private.recode_request, '{session_ids,cpt_code}');
  cpt_code constant text := upper(private.tidy(wanted.cpt_code));
  session_ids constant uuid[] := array(select distinct named.id from unnest(wanted.session_ids) as named (id) order by 1);
  changed public.sessions[];
  found record;
  written record;
  cause private.cause;
  overridden text[];
  as_of timestamptz;
begin
  perform private.require(array[row('override.reason', 'is required',
    wanted.override is distinct from null and (wanted.override).reason is null)]::private.rule[]);
  if actor.role not in ('therapist', 'admin', 'super_admin')
    or (wanted.override).reason is not null and actor.role = 'therapist'
  then
    return private.refuse(actor, 'session.refused', session_ids, 'FORBIDDEN', case
      when actor.role = 'therapist' then 'Only an admin may override.' else 'These sessions are not yours to change.'
    end, details => '{"attempted": "recode_sessions"}');
  end if;
  -- Alone, as any writer of many rows: nothing is booked meanwhile beside the new lanes, or from the same units.
  perform private.take_organization(actor.organization_id);
  perform private.require_same_role(actor);
  as_of := clock_timestamp();
  changed := private.recoded_rows(actor.organization_id, session_ids, cpt_code);
  if cardinality(changed) < cardinality(session_ids)
    or exists (select from unnest(changed) as session where not private.may_ask(actor, session.therapist_id))
  then
    return private.refuse(actor, 'session.refused', session_ids, 'FORBIDDEN', 'One of these sessions is not yours to change.',
      details => '{"attempted": "recode_sessions"}');
  end if;
  found := private.recode_issue(actor.organization_id, changed, wanted.override, as_of);
  cause := found.cause;
  if cause.code is null then
    select null::jsonb as conflicts, null::uuid[] as lifted_ids into written;
    begin
      written := private.write_recoded(actor, changed, wanted.override, found.shortages is not null, as_of);
      if written.conflicts is not null then
        raise exclusion_violation;
      end if;
    exception
      when exclusion_violation then
        cause.code := 'CONCURRENT_SERVICE_NOT_ALLOWED';
        cause.detail := 'A client has another service then, and not every payer of theirs is known to allow the two at once.';
        cause.conflicts := coalesce(written.conflicts, '[]') || (
          select coalesce(jsonb_agg(item.value), '[]')
          from jsonb_array_elements(private.conflicts_between(changed)) as item (value)
          where not exists (
            select from jsonb_array_elements(written.conflicts) as told (value)
            where told.value ->> 'sessionId' = item.value ->> 'sessionId'
          )
        );
    end;
  end if;
  if cause.code is not null then
    return private.refuse(
      actor, 'session.refused', session_ids, cause.code, cause.detail, retry_after => cause.retry_after,
      conflicts => cause.conflicts, details => jsonb_build_object('attempted', 'recode_sessions', 'cptCode', cpt_code),
      more => case when found.shortages is null then '{}' else jsonb_build_object('shortages', found.shortages) end
    );
  end if;
  overridden := array_remove(array[
    case when found.shortages is not null or found.is_unpaid then 'authorization' end,
    case when written.lifted_ids is not null then 'concurrency' end
  ], null);
  perform private.record_event(actor.organization_id, 'override.' || rule.name, 'session',
    case rule.name when 'concurrency' then written.lifted_ids else session_ids end, as_of,
    actor_role => actor.role::text, details => jsonb_build_object('reason', private.tidy((wanted.override).reason))
  ) from unnest(overridden) as rule (name);
  return private.success(jsonb_build_object(
    'cptCode', cpt_code, 'recodedCount', cardinality(session_ids), 'overridden', overridden,
    'sessions', (
      select jsonb_agg(to_jsonb(session) order by session.start_time, session.id)
      from public.sessions as session
      where session.organization_id = actor.organization_id and session.id = any (session_ids)
    )
  ));
end
$$;

select private.publish_booking('recode_sessions',
  'Gives sessions that are scheduled or in progress another service code: {session_ids (1 to 1000), cpt_code, '
  'override? {reason, rules?}}. All or nothing. The code must be valid on each day, for so many clients, the therapist''s to render and paid for by the payer: '
  'else 400 names it, or 403. Units and what the client may have at the same time are asked anew: 409 '
  'AUTHORIZATION_EXCEEDED with shortages, each with sessionId; CONCURRENT_SERVICE_NOT_ALLOWED with conflicts, each with '
  'sessionId, those among them that would be one service twice at once, which nobody overrides; SESSION_BEING_MOVED with retryAfter; STATUS_NOT_ALLOWED. An admin''s override sets authorization (units, and '
  'what the payer pays for) and concurrency aside, with a reason that is audited. Modifiers become those of the payer. '
  'Therapists recode their own sessions, admins all. Outcome body {cptCode, recodedCount, overridden, sessions}.'
);
