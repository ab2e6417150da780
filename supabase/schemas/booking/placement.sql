-- Purpose: may this stand here? One answer for holds, moves, groups, offers and direct writes.
-- Objects: overrides; placement_issue; move_issue, join_issue; group_issue; written_session_issue.
-- Watch for: a new refusal of a placement is one more branch of placement_issue, and every path has it. Each function
--            returns no code when nothing stands in the way. Call them behind the locks.

create function private.overrides(batch public.hold_batches, rule text)
returns boolean
language plpgsql
immutable
set search_path = ''
as $$
begin
  return batch.override_reason is not null and (batch.override_rules is null or rule = any (batch.override_rules));
end
$$;
comment on function private.overrides(public.hold_batches, text) is
  'Whether an admin set this rule aside for the batch: availability, authorization or concurrency. Nothing asks it about '
  'credential and travel, which hold for everybody.';

create function private.overrides(override private.override_request, rule text)
returns boolean
language plpgsql
immutable
set search_path = ''
as $$
begin
  return override.reason is not null and (override.rules is null or rule = any (override.rules::text[]));
end
$$;
comment on function private.overrides(private.override_request, text) is
  'Whether a request that makes no hold, such as one for time without a client, sets this rule aside.';

create function private.group_size_limit()
returns integer
language plpgsql
stable
set search_path = ''
as $$
begin
  return (select max(service.max_clients) from public.service_codes as service);
end
$$;
comment on function private.group_size_limit() is 'How many clients a group may have: what the largest group service allows.';

create function private.service_issue(organization_id uuid, cpt_code text, on_date date, clients integer)
returns text
language plpgsql
stable
set search_path = ''
as $$
declare
  service public.service_codes := private.service_code_on(organization_id, cpt_code, on_date);
begin
  return case
    when service.code is null then format('%s is no service code on %s', cpt_code, on_date)
    when clients > 1 and service.max_clients = 1 then format('%s is a service for one client, not for a group', cpt_code)
    when clients = 1 and service.min_clients > 1 then format('%s is a service for a group, not for one client', cpt_code)
    when clients not between service.min_clients and service.max_clients
      then format('%s is for %s to %s clients', cpt_code, service.min_clients, service.max_clients)
  end;
end
$$;
comment on function private.service_issue(uuid, text, date, integer) is
  'What forbids this code on this day for so many clients at once; null: nothing.';

create type private.named_services as (paths text[], codes text[], dates date[], clients integer[], held boolean[]);
comment on type private.named_services is
  'Services that a request names, or is billed as: where it says so, the code, its day, and for how many clients at once '
  '(null: a moved session, which stays what it is). held: a live hold has it as this service. Null lists: it names none.';

create function private.may_render_named(organization_id uuid, therapist_id uuid, named private.named_services)
returns boolean
language plpgsql
stable
set search_path = ''
as $$
declare
  issues jsonb;
begin
  if named.codes is null
    or private.may_render_each(organization_id, therapist_id, named.codes, named.dates, named.clients)
  then
    return true;
  end if;
  select jsonb_agg(jsonb_build_object('path', found.path, 'message', found.issue) order by found.position) into issues
  from (
    -- The clients of a group have one service, and one issue.
    select service.path, wrong.issue, min(service.position) as position
    from unnest(named.paths, named.codes, named.dates, named.clients, named.held) with ordinality
      as service (path, code, date, clients, held, position)
    cross join lateral (
      select private.service_issue(may_render_named.organization_id, service.code, service.date, service.clients) as issue
    ) as wrong
    -- A code that has ended since takes nothing away from who holds it.
    where wrong.issue is not null and service.held is not true
    group by service.path, wrong.issue
  ) as found;
  if issues is not null then
    perform private.raise_invalid(jsonb_path_query_array(issues, '$[0 to 49]'));
  end if;
  return not exists (
    select from unnest(named.codes, named.dates, named.held) as service (code, date, held)
    where not case
      when service.held then private.may_render_held(organization_id, therapist_id, service.code, service.date)
      else private.may_render(organization_id, therapist_id, service.code, service.date)
    end
  );
end
$$;
comment on function private.may_render_named(uuid, uuid, private.named_services) is
  'Whether the therapist''s level may render these services; PT400 for each that is no service code on its day, or is for '
  'fewer or more clients. What is held was asked that when it was held: only the level counts.';

create function private.placement_issue(
  booker private.booker,
  actor private.actor,
  batch public.hold_batches,
  named private.named_services,
  spans tstzrange[]
)
returns private.cause
language plpgsql
stable
set search_path = ''
as $$
declare
  cause private.cause;
begin
  if booker.allowed is not true then
    cause.code := 'FORBIDDEN';
    cause.detail := 'You may not book this therapist, client or room.';
  elsif batch.override_reason is not null and booker.role not in ('admin', 'super_admin') then
    cause.code := 'FORBIDDEN';
    cause.detail := 'Only an admin may override.';
  elsif not private.may_render_named(actor.organization_id, batch.therapist_id, named) then
    cause.code := 'FORBIDDEN';
    cause.detail := 'A technician may not render this service: it is a qualified professional''s.';
  elsif not private.overrides(batch, 'availability')
    and not private.is_open(actor.organization_id, batch.therapist_id, spans)
  then
    cause.code := 'OUTSIDE_AVAILABILITY';
    cause.detail := 'The therapist does not work then, or the clinic is closed. Choose an alternative, or have an admin override.';
    cause.conflicts := private.availability_conflicts(actor.organization_id, batch.therapist_id, spans);
  end if;
  return cause;
end
$$;
comment on function private.placement_issue(
  private.booker, private.actor, public.hold_batches, private.named_services, tstzrange[]
) is
  'What forbids these spans to be booked, the most important first. booker: what private.who_may_book says.';

create function private.availability_conflicts(organization_id uuid, therapist_id uuid, spans tstzrange[])
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    select jsonb_agg(
      jsonb_build_object(
        'occurrenceIndex', blocked.occurrence_index,
        'resource', 'therapist',
        'blockedBy', blocked.by,
        'startTime', private.iso(lower(stretch.during)),
        'endTime', private.iso(upper(stretch.during))
      )
      order by blocked.occurrence_index, stretch.during, blocked.by
    )
    from (
      -- Time off that was entered twice is told once.
      select closed.occurrence_index, case closed.what when 'closure' then 'closure' else 'availability' end as by,
        range_agg(closed.during) as stretches
      from private.outside_availability(organization_id, therapist_id, spans) as closed
      group by 1, 2
    ) as blocked
    cross join lateral unnest(blocked.stretches) as stretch (during)
  );
end
$$;
comment on function private.availability_conflicts(uuid, uuid, tstzrange[]) is
  'The conflicts[] of a request outside hours, in time off or in a closure, one for each occurrence and stretch.';

create function private.move_issue(
  actor private.actor,
  booker private.booker,
  client_id uuid,
  named_ids uuid[],
  as_of timestamptz
)
returns private.cause
language plpgsql
stable
set search_path = ''
as $$
declare
  cause private.cause;
  moved record;
begin
  select
    count(session.id) as count,
    bool_and(session.client_id = coalesce(move_issue.client_id, session.client_id)) as of_client,
    bool_and(booker.role <> 'therapist' or session.therapist_id = actor.user_id) as in_scope,
    array_agg(session.group_id) filter (where session.group_id is not null) as group_ids
  into moved
  from unnest(named_ids) as named (id)
  cross join lateral (
    select known.* from public.sessions as known
    where known.organization_id = actor.organization_id and known.id = named.id offset 0
  ) as session;
  if moved.count < cardinality(named_ids) or not moved.in_scope then
    cause.code := 'FORBIDDEN';
    cause.detail := 'A session to be moved does not exist or is not yours.';
    return cause;
  elsif not moved.of_client then
    cause.code := 'CLIENT_MISMATCH';
    cause.detail := 'A session to be moved belongs to another client.';
    return cause;
  end if;

  select
    bool_and(session.status = 'scheduled') as all_scheduled,
    max(batch.expires_at) filter (where batch.expires_at > as_of) as moved_until
  into moved
  from (
    select unnest(named_ids) as id
    union
    select member.id
    from public.sessions as member
    where member.organization_id = actor.organization_id and member.group_id = any (moved.group_ids)
      and member.status not in ('cancelled', 'no_show')
  ) as named
  cross join lateral (
    select known.* from public.sessions as known
    where known.organization_id = actor.organization_id and known.id = named.id offset 0
  ) as session
  left join public.session_holds as hold
    on hold.organization_id = session.organization_id and hold.session_id = session.id and hold.status = 'held'
  left join public.hold_batches as batch on batch.organization_id = hold.organization_id and batch.id = hold.batch_id;
  if not moved.all_scheduled then
    cause.code := 'SESSION_NOT_MOVABLE';
    cause.detail := 'Only scheduled sessions can be moved. Reload them and try again.';
    return cause;
  elsif moved.moved_until is not null then
    cause.code := 'SESSION_BEING_MOVED';
    cause.detail := 'Somebody is moving this session. Try again when their hold has ended.';
    cause.retry_after := moved.moved_until;
    return cause;
  end if;

  select max(batch.expires_at) into cause.retry_after
  from public.sessions as session
  join public.session_holds as hold
    on hold.organization_id = session.organization_id and hold.group_id = session.group_id and hold.status = 'held'
  join public.hold_batches as batch on batch.organization_id = hold.organization_id and batch.id = hold.batch_id
  where session.organization_id = actor.organization_id and session.id = any (named_ids) and batch.expires_at > as_of;
  if cause.retry_after is not null then
    cause.code := 'THERAPIST_HOLD_CONFLICT';
    cause.detail := 'A place in this group is being booked. Retry at retryAfter.';
  end if;
  return cause;
end
$$;
comment on function private.move_issue(private.actor, private.booker, uuid, uuid[], timestamptz) is
  'What forbids these sessions to be moved: they are somebody else''s, not scheduled any more, being moved, or of a group '
  'that somebody is joining. named_ids: those the request names, one for each occurrence. client_id null: of several clients.';

create function private.join_issue(
  actor private.actor,
  slot private.slot,
  therapist_id uuid,
  as_of timestamptz
)
returns private.cause
language plpgsql
stable
set search_path = ''
as $$
declare
  cause private.cause;
  member_ids uuid[];
begin
  member_ids := array(
    select member.id
    from public.session_groups as known
    join public.sessions as member
      on member.organization_id = known.organization_id and member.group_id = known.id
      and member.status not in ('cancelled', 'no_show')
    where known.organization_id = actor.organization_id
      and known.id = slot.group_id
      and known.therapist_id = join_issue.therapist_id
      and known.start_time = slot.start_time
      and known.end_time = slot.end_time
  );
  if member_ids = '{}' then
    perform private.raise_invalid(private.issue('group_id', 'names no group of this therapist at this time'));
  end if;
  cause.retry_after := private.live_move_of(actor.organization_id, member_ids, as_of);
  if cause.retry_after is not null then
    cause.code := 'SESSION_BEING_MOVED';
    cause.detail := 'Somebody is moving this group. Try again when their hold has ended.';
  elsif cardinality(member_ids) + private.group_joiners(actor.organization_id, slot.group_id, as_of)
    >= private.group_size_limit()
  then
    cause.code := 'GROUP_FULL';
    cause.detail := format('The group has %s clients already.', private.group_size_limit());
    -- A place that is only held is free again when the first of these holds ends.
    if cardinality(member_ids) < private.group_size_limit() then
      cause.retry_after := private.first_joiner_until(actor.organization_id, slot.group_id, as_of);
      cause.detail := 'Places in this group are being booked, and no other is left. Retry at retryAfter.';
    end if;
  end if;
  return cause;
end
$$;
comment on function private.join_issue(private.actor, private.slot, uuid, timestamptz) is
  'What forbids one more client to join this group: it is being moved, or full, places that are held counted; retry_after is '
  'when the first of those is free. PT400 when there is no such group of the therapist at this time.';

create function private.group_joiners(organization_id uuid, group_id uuid, as_of timestamptz)
returns integer
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    select count(*)
    from public.session_holds as hold
    join public.hold_batches as batch on batch.organization_id = hold.organization_id and batch.id = hold.batch_id
    where hold.organization_id = group_joiners.organization_id
      and hold.group_id = group_joiners.group_id
      and hold.status = 'held'
      and batch.expires_at > as_of
  );
end
$$;
comment on function private.group_joiners(uuid, uuid, timestamptz) is 'How many live holds there are of places in this group.';

create function private.first_joiner_until(organization_id uuid, group_id uuid, as_of timestamptz)
returns timestamptz
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    select min(batch.expires_at)
    from public.session_holds as hold
    join public.hold_batches as batch on batch.organization_id = hold.organization_id and batch.id = hold.batch_id
    where hold.organization_id = first_joiner_until.organization_id
      and hold.group_id = first_joiner_until.group_id
      and hold.status = 'held'
      and batch.expires_at > as_of
  );
end
$$;
comment on function private.first_joiner_until(uuid, uuid, timestamptz) is
  'When the first of the live holds of places in this group ends.';

create type private.broken_rule as (rule text, message text, hint text);
comment on type private.broken_rule is 'Why a direct write is refused; no rule: it is not. The rule is the constraint of the error.';

create function private.written_session_issue(
  written public.sessions,
  before public.sessions,
  places_anew boolean,
  by_user boolean
)
returns private.broken_rule
language plpgsql
stable
set search_path = ''
as $$
declare
  broken private.broken_rule;
  -- service_role and SQL are asked what holds for everybody, as if the clinic itself booked.
  actor constant private.actor := row(
    case when by_user then auth.uid() end, written.organization_id, case when by_user then private.active_role() end
  );
  on_date constant date := private.service_date(written.organization_id, written.client_id, written.start_time);
  code constant text := private.service_code(
    written.organization_id, written.cpt_code, written.session_type, on_date
  );
  -- Without a name it is billed as one-to-one treatment, which no group is. The members come one by one: two at least.
  billed constant text := private.billed_code(
    written.organization_id, written.cpt_code, written.session_type, on_date
  );
  companions integer := case when written.group_id is null then 1 else 2 end;
  as_of constant timestamptz := clock_timestamp();
  room_id uuid := written.room_id;
  members integer := 0;
  payment_gap text;
begin
  if written.group_id is not null then
    select known.room_id into room_id
    from public.session_groups as known
    where known.organization_id = written.organization_id and known.id = written.group_id;
    select count(*) into members
    from public.sessions as member
    where member.organization_id = written.organization_id
      and member.group_id = written.group_id
      and member.id <> written.id
      and member.status not in ('cancelled', 'no_show');
    -- Who alone came to a group was treated alone.
    if before.group_id = written.group_id and members = 0
      and private.service_issue(written.organization_id, billed, on_date, 1) is null
    then
      companions := 1;
    end if;
  end if;
  if before is null or (on_date, billed, written.location_type) is distinct from (
    private.service_date(before.organization_id, before.client_id, before.start_time),
    private.billed_code(before.organization_id, before.cpt_code, before.session_type, on_date), before.location_type
  ) then
    payment_gap := private.coverage_gap(
      written.organization_id, private.primary_payer(written.organization_id, written.client_id, on_date), billed,
      written.location_type, on_date
    );
  end if;

  if (places_anew or before is null)
    and (private.who_may_book(actor, written.therapist_id, array[written.client_id], room_id)).allowed is not true
  then
    broken.rule := 'session_bookable';
    broken.message := 'this therapist, client or room cannot be booked: archived, without a membership that renders, or not the caller''s to book';
    broken.hint := 'Therapists book their own time for their caseload; admins anybody who is not archived.';
  elsif private.service_issue(written.organization_id, billed, on_date, companions) is not null then
    broken.rule := 'session_service';
    broken.message := private.service_issue(written.organization_id, billed, on_date, companions);
    broken.hint := 'Group services are booked with a group_id, other services without; a code is valid between its dates.';
  elsif code is not null and not private.may_render(written.organization_id, written.therapist_id, code, on_date) then
    broken.rule := 'technician_cannot_render';
    broken.message := 'a technician cannot render a service that is a qualified professional''s';
    broken.hint := 'Book it with a BCBA, or book another service.';
  elsif payment_gap is not null then
    broken.rule := 'session_paid';
    broken.message := case payment_gap
      when 'place' then format('the payer of that day does not pay for %s at this place', billed)
      else format('the payer of that day does not pay for %s', billed)
    end;
    broken.hint := 'Book through sessions-hold, where an admin may override with a reason.';
  elsif written.group_id is not null
    and members + 1 + private.group_joiners(written.organization_id, written.group_id, as_of) > private.group_size_limit()
  then
    -- A place that is held is taken: its hold confirms, always.
    broken.rule := 'group_of_at_most_eight';
    broken.message := format('a group has at most %s clients', private.group_size_limit());
    broken.hint := 'Make a second group, or wait until the places that are held have expired.';
  elsif (
    before is null or (written.cpt_code, written.session_type, written.group_id)
      is distinct from (before.cpt_code, before.session_type, before.group_id)
  ) and private.live_move_of(written.organization_id, written.id || array(
    select member.id from public.sessions as member
    where member.organization_id = written.organization_id and member.group_id = written.group_id
  ), as_of) is not null
  then
    broken.rule := 'session_being_moved';
    broken.message := 'the session, or its group, is being moved: service and members stay as they are until that hold ends';
    broken.hint := 'Confirm or release the hold first, or wait until it has expired.';
  elsif by_user and places_anew and (
    written.start_time < as_of or written.end_time > as_of + interval '730 days'
  ) then
    broken.rule := 'session_in_bookable_time';
    broken.message := 'a session is booked from now on, at most 730 days ahead';
    broken.hint := 'Choose another time. What was rendered already is entered by an operator or an import.';
  elsif by_user and places_anew and not private.is_open(
    written.organization_id, written.therapist_id, array[tstzrange(written.start_time, written.end_time, '[)')]
  ) then
    broken.rule := 'outside_availability';
    broken.message := 'the therapist does not work then, or the clinic is closed';
    broken.hint := 'Book through sessions-hold, where an admin may override with a reason.';
  end if;
  return broken;
end
$$;
comment on function private.written_session_issue(public.sessions, public.sessions, boolean, boolean) is
  'What forbids this session to be written directly. before: the row it replaces, null for a new one. by_user: written by '
  'a signed-in user, who may also not place it in the past, too far ahead, or outside hours. No rule: nothing does.';
