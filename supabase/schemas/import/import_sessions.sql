-- Purpose: sessions from another system, history or to come: thousands in one call, all or what can be had.
-- Objects: private.imported_sessions; import_sessions and its steps: read, ask, claim, write, tell.
-- Watch for: a row obeys what a direct write obeys (private.written_session_issue), one to come also what an admin's booking
--            obeys, and all of them the one constraint of private.claims: they are claimed in the order of the rows. A dry
--            run does all of it and undoes it, so it tells what the real one would. Nothing here loops over rows: a round
--            takes all that are left, and there are few rounds.

create table private.imported_sessions (
  organization_id uuid not null,
  external_id text not null check (length(external_id) between 1 and 128),
  session_id uuid not null,
  fingerprint bytea not null,
  imported_at timestamptz not null,
  primary key (organization_id, external_id),
  foreign key (organization_id, session_id) references public.sessions (organization_id, id)
);
comment on table private.imported_sessions is
  'Which session a row of another system became. The same row imported again changes nothing.';
comment on column private.imported_sessions.external_id is 'The row''s own id there.';
comment on column private.imported_sessions.fingerprint is 'SHA-256 of what the row said when it was imported.';
create index imported_sessions_session_idx on private.imported_sessions (organization_id, session_id);
alter table private.imported_sessions enable row level security;
create policy deny_all on private.imported_sessions using (false);
comment on policy deny_all on private.imported_sessions is 'Read and written by functions only.';

-- Reading ------------------------------------------------------------------------------------------------------------------

create domain private.external_id as text check (length(value) <= 128 and (value is null or private.tidy(value) is not null));
comment on domain private.external_id is 'must be text of 1 to 128 characters';
create domain private.import_status as text check (value in ('scheduled', 'completed', 'cancelled', 'no_show'));
comment on domain private.import_status is 'must be "scheduled", "completed", "cancelled" or "no_show"';

create type private.import_row as (
  external_id private.external_id,
  therapist_id uuid,
  client_id uuid,
  start_time private.instant,
  end_time private.instant,
  time_zone private.zone_name,
  status private.import_status,
  session_type private.short_text,
  location_type private.short_text,
  cpt_code private.cpt_code,
  modifiers private.cpt_modifiers,
  room_id uuid,
  cancellation_attribution public.cancellation_attribution
);
comment on type private.import_row is 'One session to import, each field within its bounds.';

create type private.import_draft as (
  row_index integer,
  external_id text,
  fingerprint bytea,
  session public.sessions,
  attribution public.cancellation_attribution,
  known_id uuid,
  issues jsonb,
  conflicts jsonb
);
comment on type private.import_draft is
  'A row on its way. known_id: the session it became in an earlier import; issues and conflicts: why it cannot become one.';

select private.make_readable('{import_row}');

create function private.read_import_row(given jsonb, out wanted private.import_row, out issues jsonb)
language plpgsql
stable
set search_path = ''
as $$
declare
  found text;
begin
  wanted := private.read_request(given, null::private.import_row);
exception
  -- A row that cannot be read says so, and the others go on.
  when sqlstate 'PT400' then
    get stacked diagnostics found = pg_exception_detail;
    issues := found::jsonb;
end
$$;
comment on function private.read_import_row(jsonb) is 'One row as its type, or what is wrong with its fields.';

create function private.import_row_issues(wanted private.import_row, as_of timestamptz)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
  knows_zone constant boolean :=
    exists (select from public.time_zones as known where known.name = wanted.time_zone);
  starts constant timestamptz := wanted.start_time::timestamptz;
  ends constant timestamptz := wanted.end_time::timestamptz;
begin
  return (
    select jsonb_agg(jsonb_build_object('path', rule.path, 'message', rule.message))
    from (
      values
        ('external_id', 'is required: the row''s own id in the other system', wanted.external_id is null),
        ('therapist_id', 'is required', wanted.therapist_id is null),
        ('client_id', 'is required', wanted.client_id is null),
        ('start_time', 'is required', starts is null),
        ('end_time', 'is required', ends is null),
        ('time_zone', 'is required', wanted.time_zone is null),
        ('time_zone', 'must be a known IANA time zone, like America/Los_Angeles',
          wanted.time_zone is not null and not knows_zone),
        ('start_time', 'is in a zone that is not known', wanted.time_zone is not null and not knows_zone),
        ('start_time', 'must be of the years 2000 to 2099', ends >= '2100-01-01'),
        ('end_time', 'must be after start_time', ends <= starts),
        ('end_time', 'must be at most 12 hours after start_time', ends - starts > interval '12 hours'),
        ('end_time', 'is more than 730 days ahead', ends > as_of + interval '17520 hours'),
        ('status', 'must be scheduled or cancelled: the session is not over yet',
          wanted.status in ('completed', 'no_show') and ends > as_of),
        ('cancellation_attribution', 'goes with status cancelled',
          wanted.cancellation_attribution is not null and wanted.status is distinct from 'cancelled')
    ) as rule (path, message, is_broken)
    where rule.is_broken
  );
end
$$;
comment on function private.import_row_issues(private.import_row, timestamptz) is
  'What is wrong with a row beyond its single fields, as [{path, message}]; null: nothing.';

create function private.import_draft_of(
  organization_id uuid,
  row_index integer,
  wanted private.import_row,
  issues jsonb,
  as_of timestamptz,
  created_by uuid
)
returns private.import_draft
language plpgsql
volatile
set search_path = ''
as $$
declare
  draft private.import_draft;
  session public.sessions;
begin
  draft.row_index := row_index;
  draft.external_id := private.tidy(wanted.external_id);
  draft.issues := coalesce(issues, private.import_row_issues(wanted, as_of));
  if draft.issues is not null then
    return draft;
  end if;
  draft.attribution := coalesce(wanted.cancellation_attribution, 'unknown');
  session.organization_id := organization_id;
  session.id := gen_random_uuid();
  session.therapist_id := wanted.therapist_id;
  session.client_id := wanted.client_id;
  session.start_time := wanted.start_time::timestamptz;
  session.end_time := wanted.end_time::timestamptz;
  session.time_zone := wanted.time_zone;
  session.civil_start := session.start_time at time zone session.time_zone;
  session.status := coalesce(wanted.status, 'scheduled')::public.session_status;
  session.session_type := private.tidy(wanted.session_type);
  session.location_type := private.tidy(wanted.location_type);
  session.cpt_code := upper(private.tidy(wanted.cpt_code));
  session.cpt_modifiers := private.modifiers_of(row(wanted.cpt_code, wanted.modifiers));
  session.room_id := wanted.room_id;
  session.buffer_before_minutes := 0;
  session.buffer_after_minutes := 0;
  session.lanes := '{[0,2147483647)}';
  session.created_by := created_by;
  session.created_at := as_of;
  session.updated_at := as_of;
  draft.session := session;
  -- What it says, however it is written: a blank cell, or the same instant with another offset, is no other value.
  draft.fingerprint := private.fingerprint(jsonb_build_array(
    session.therapist_id, session.client_id, private.iso(session.start_time), private.iso(session.end_time),
    session.time_zone, session.status, session.session_type, session.location_type, session.cpt_code,
    session.cpt_modifiers, session.room_id, wanted.cancellation_attribution
  ));
  return draft;
end
$$;
comment on function private.import_draft_of(uuid, integer, private.import_row, jsonb, timestamptz, uuid) is
  'A row as the session it would become, with an id of its own; or with what is wrong with it.';

-- Asking -------------------------------------------------------------------------------------------------------------------

create function private.ask_import_draft(draft private.import_draft, as_of timestamptz)
returns private.import_draft
language plpgsql
stable
set search_path = ''
as $$
declare
  session public.sessions := draft.session;
  -- History happened, whatever the hours are now. What is to come is booked as an admin books it.
  is_ahead constant boolean := session.start_time >= as_of and session.status = 'scheduled';
  on_date constant date := private.service_date(session.organization_id, session.client_id, session.start_time);
  broken private.broken_rule;
begin
  broken := private.written_session_issue(session, null, true, is_ahead);
  if broken.rule = 'outside_availability' then
    draft.conflicts := (
      select jsonb_agg(item.value - 'occurrenceIndex' order by item.position)
      from jsonb_array_elements(private.availability_conflicts(
        session.organization_id, session.therapist_id, array[tstzrange(session.start_time, session.end_time, '[)')]
      )) with ordinality as item (value, position)
    );
  elsif broken.rule is not null then
    draft.issues := private.issue(
      case
        when broken.rule = 'session_bookable' then 'therapist_id'
        when broken.rule in ('session_service', 'technician_cannot_render', 'session_paid') then 'cpt_code'
        else 'start_time'
      end, broken.message
    );
  else
    session.lanes := private.client_lanes(
      session.organization_id, session.client_id,
      private.service_code_at(
        session.organization_id, session.client_id, session.cpt_code, session.session_type, session.start_time
      ),
      session.start_time, session.end_time
    );
    -- As a confirmation that names none.
    session.cpt_modifiers := coalesce(session.cpt_modifiers, private.derived_modifiers(session));
    draft.session := session;
  end if;
  return draft;
end
$$;
comment on function private.ask_import_draft(private.import_draft, timestamptz) is
  'Whether the session may stand here: by the rules of a direct write, and of an admin''s booking when it is to come.';

create function private.import_visit_obstacles(organization_id uuid, drafts private.import_draft[])
returns private.import_draft[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return array(
    select row(
      draft.row_index, draft.external_id, draft.fingerprint, draft.session, draft.attribution, draft.known_id, draft.issues,
      coalesce(draft.conflicts, found.conflicts)
    )::private.import_draft
    from unnest(drafts) as draft
    left join (
      select claim.session_id, jsonb_agg(distinct jsonb_build_object(
        'resource', claim.resource_kind, 'blockedBy', 'session', 'sessionId', other.session_id,
        'startTime', private.iso(lower(claim.during::tstzrange * other.during::tstzrange)),
        'endTime', private.iso(upper(claim.during::tstzrange * other.during::tstzrange))
      )) as conflicts
      from unnest(drafts) as completed
      cross join lateral unnest(private.claims_of_visit(completed.session, null, null)) as claim
      cross join lateral (
        select known.session_id, known.during from private.visit_claims as known
        where known.organization_id = claim.organization_id
          and known.resource_id = claim.resource_id
          and known.during && claim.during
          and known.resource_kind = claim.resource_kind
          and known.lanes && claim.lanes
        offset 0
      ) as other
      where (completed.session).status = 'completed' and completed.issues is null and completed.known_id is null
      group by claim.session_id
    ) as found on found.session_id = (draft.session).id
    order by draft.row_index
  );
end
$$;
comment on function private.import_visit_obstacles(uuid, private.import_draft[]) is
  'The rows, completed ones with the visits that were rendered in their time by the same therapist or to the same client.';

create function private.read_imports(actor private.actor, rows jsonb, as_of timestamptz)
returns private.import_draft[]
language plpgsql
volatile
set search_path = ''
as $$
begin
  return array(
    select private.import_draft_of(
      actor.organization_id, (item.position - 1)::integer, read.wanted, read.issues, as_of, actor.user_id
    )
    from jsonb_array_elements(rows) with ordinality as item (value, position)
    cross join lateral private.read_import_row(item.value) as read
    order by item.position
  );
end
$$;
comment on function private.read_imports(private.actor, jsonb, timestamptz) is
  'The rows as sessions, or with what is wrong with their fields: what no lock decides.';

create function private.import_drafts(actor private.actor, drafts private.import_draft[], as_of timestamptz)
returns private.import_draft[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return array(
    select case
      when (item.named).issues is not null or (item.named).known_id is not null then item.named
      else private.ask_import_draft(item.named, as_of)
    end
    from (
      select row(
        draft.row_index, draft.external_id, draft.fingerprint, draft.session, draft.attribution, known.session_id,
        case
          when draft.issues is not null then draft.issues
          when draft.turn > 1 then private.issue('external_id', 'is that of an earlier row')
          when known.fingerprint <> draft.fingerprint
            then private.issue(
              'external_id', 'was imported before with other values: change its session here, or leave the row out'
            )
        end, null
      )::private.import_draft as named, draft.row_index
      from (
        select each.*, row_number() over (partition by each.external_id order by each.row_index) as turn
        from unnest(drafts) as each
      ) as draft
      left join private.imported_sessions as known
        on known.organization_id = actor.organization_id and known.external_id = draft.external_id
      offset 0
    ) as item
    order by item.row_index
  );
end
$$;
comment on function private.import_drafts(private.actor, private.import_draft[], timestamptz) is
  'The rows, asked everything but whether their time is free and their units are left.';

-- Writing ------------------------------------------------------------------------------------------------------------------

create function private.import_claims(organization_id uuid, drafts private.import_draft[])
returns private.claims[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return private.claimed(organization_id, array(
    select row(
      (draft.session).id, (draft.session).id, (draft.session).therapist_id, (draft.session).room_id, 0, 0,
      (draft.session).client_id, (draft.session).lanes, (draft.session).start_time, (draft.session).end_time, null
    )::private.place
    from unnest(drafts) as draft
    where (draft.session).status not in ('cancelled', 'no_show')
    order by draft.row_index
  ));
end
$$;
comment on function private.import_claims(uuid, private.import_draft[]) is 'What these rows would claim, in their order.';

create function private.claim_imports(organization_id uuid, drafts private.import_draft[])
returns uuid[]
language plpgsql
set search_path = ''
as $$
declare
  wanted constant private.claims[] := private.import_claims(organization_id, drafts);
  lost_ids uuid[];
begin
  -- Row by row, as they stand: the constraint gives a time that two rows want to the first of them.
  with taken as (
    insert into private.claims
    select claim.organization_id, claim.owner_id, claim.resource_kind, claim.resource_id, claim.during, claim.lanes, null
    from unnest(wanted) with ordinality as claim
    order by claim.ordinality
    on conflict do nothing
    returning owner_id
  )
  select array_agg(owner.id) into lost_ids
  from (
    select each.owner_id as id
    from (
      select claim.owner_id, 1 as wanted, 0 as taken from unnest(wanted) as claim
      union all
      select taken.owner_id, 0, 1 from taken
    ) as each
    group by each.owner_id
    having sum(each.wanted) > sum(each.taken)
  ) as owner;
  if lost_ids is not null then
    delete from private.claims as claim
    where claim.organization_id = claim_imports.organization_id and claim.owner_id = any (lost_ids);
  end if;
  return coalesce(lost_ids, '{}');
end
$$;
comment on function private.claim_imports(uuid, private.import_draft[]) is
  'Claims the time of these rows, the earlier row first. Returns the ids of those that did not get all of theirs, and '
  'have none of it.';

create function private.import_obstacles(organization_id uuid, drafts private.import_draft[], all_drafts private.import_draft[])
returns private.import_draft[]
language plpgsql
stable
set search_path = ''
as $$
declare
  rows_of constant jsonb := (
    select jsonb_object_agg((draft.session).id, draft.row_index) from unnest(all_drafts) as draft
    where (draft.session).id is not null
  );
begin
  return array(
    select row(
      draft.row_index, draft.external_id, draft.fingerprint, draft.session, draft.attribution, draft.known_id, draft.issues,
      found.conflicts
    )::private.import_draft
    from unnest(drafts) as draft
    left join (
      select want.owner_id, jsonb_agg(distinct jsonb_strip_nulls(jsonb_build_object(
        'resource', want.resource_kind,
        'blockedBy', case
          when claim.expires_at is not null then 'hold' when rows_of ? claim.owner_id::text then 'row' else 'session'
        end,
        'row', rows_of -> claim.owner_id::text,
        'sessionId', case when not rows_of ? claim.owner_id::text and claim.expires_at is null then coalesce(
          (select session.id from public.sessions as session
            where session.organization_id = claim.organization_id and session.id = claim.owner_id),
          (select min(member.id::text)::uuid from public.sessions as member
            where member.organization_id = claim.organization_id and member.group_id = claim.owner_id
              and member.status not in ('cancelled', 'no_show'))
        ) end,
        'startTime', private.iso(lower(claim.during::tstzrange * want.during::tstzrange)),
        'endTime', private.iso(upper(claim.during::tstzrange * want.during::tstzrange)),
        'expiresAt', private.iso(claim.expires_at)
      ))) as conflicts
      from unnest(private.import_claims(organization_id, drafts)) as want
      cross join lateral (
        select known.* from private.claims as known
        where known.organization_id = want.organization_id
          and known.resource_id = want.resource_id
          and known.during && want.during
          and known.resource_kind = want.resource_kind
          and known.lanes && want.lanes
          and known.owner_id <> want.owner_id
        offset 0
      ) as claim
      group by want.owner_id
    ) as found on found.owner_id = (draft.session).id
  );
end
$$;
comment on function private.import_obstacles(uuid, private.import_draft[], private.import_draft[]) is
  'These rows with what is in the way of each now, as conflicts: a row of the import, or a session, a hold or time without '
  'a client. Null: nothing any more.';

create function private.import_shortages(organization_id uuid, drafts private.import_draft[], quotes private.quote[])
returns private.import_draft[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return array(
    select row(
      draft.row_index, draft.external_id, draft.fingerprint, draft.session, draft.attribution, draft.known_id, draft.issues,
      short.conflicts
    )::private.import_draft
    from unnest(drafts) as draft
    join (
      select item.owner_id, (
        select jsonb_agg(each.value - 'occurrenceIndex' - 'clientId' || '{"resource": "client", "blockedBy": "authorization"}'
          order by each.position)
        from jsonb_array_elements(item.shortages) with ordinality as each (value, position)
      ) as conflicts
      from (
        select quote.owner_id, private.shortages_of(array_agg(quote)) as shortages
        from unnest(quotes) as quote
        where quote.shortages is not null
        group by quote.owner_id
      ) as item
    ) as short on short.owner_id = (draft.session).id and short.conflicts is not null
    -- What was rendered happened, whatever was authorized.
    where (draft.session).status = 'scheduled'
  );
end
$$;
comment on function private.import_shortages(uuid, private.import_draft[], private.quote[]) is
  'Those of these rows whose units are not left, with which limit is in the way as a conflict.';

create function private.import_services(drafts private.import_draft[])
returns private.service[]
language plpgsql
stable
set search_path = ''
as $$
begin
  return array(
    select row(
      (draft.session).id, draft.row_index, (draft.session).client_id,
      private.billed_code_at(
        (draft.session).organization_id, (draft.session).client_id, (draft.session).cpt_code, (draft.session).session_type,
        (draft.session).start_time
      ),
      (draft.session).start_time, (draft.session).end_time, null, null, (draft.session).therapist_id, null
    )::private.service
    from unnest(drafts) as draft
    where (draft.session).status in ('scheduled', 'completed')
  );
end
$$;
comment on function private.import_services(private.import_draft[]) is 'What these rows take of authorizations.';

create function private.write_imports(actor private.actor, drafts private.import_draft[], as_of timestamptz)
returns void
language plpgsql
set search_path = ''
as $$
begin
  insert into public.sessions (
    organization_id, id, therapist_id, client_id, start_time, end_time, status, time_zone, civil_start, session_type,
    location_type, cpt_code, cpt_modifiers, lanes, room_id, created_by, created_at, updated_at
  )
  select session.organization_id, session.id, session.therapist_id, session.client_id, session.start_time, session.end_time,
    session.status, session.time_zone, session.civil_start, session.session_type, session.location_type, session.cpt_code,
    session.cpt_modifiers, session.lanes, session.room_id, session.created_by, as_of, as_of
  from unnest(drafts) as draft
  cross join lateral (select (draft.session).*) as session;
  insert into public.session_cancellations (
    organization_id, session_id, attribution, cancelled_at, cancelled_by, cancelled_by_role
  )
  select actor.organization_id, (draft.session).id, draft.attribution, as_of, actor.user_id, actor.role::text
  from unnest(drafts) as draft
  where (draft.session).status = 'cancelled';
  insert into private.imported_sessions (organization_id, external_id, session_id, fingerprint, imported_at)
  select actor.organization_id, draft.external_id, (draft.session).id, draft.fingerprint, as_of
  from unnest(drafts) as draft;
  if not private.sync_visit_claims(actor.organization_id, array(
    select (draft.session).id from unnest(drafts) as draft where (draft.session).status = 'completed'
  )) then
    perform private.raise_busy();
  end if;
end
$$;
comment on function private.write_imports(private.actor, private.import_draft[], timestamptz) is
  'Writes rows whose time is claimed as sessions. Completed ones claim their visits too.';

create function private.place_imports(actor private.actor, read private.import_draft[], as_of timestamptz)
returns private.import_draft[]
language plpgsql
set search_path = ''
as $$
declare
  drafts constant private.import_draft[] := private.import_visit_obstacles(
    actor.organization_id, private.import_drafts(actor, read, as_of)
  );
  left_over private.import_draft[];
  tried private.import_draft[];
  refused private.import_draft[];
  quotes private.quote[];
  lost_ids uuid[];
  settled private.import_draft[] := '{}';
begin
  left_over := array(
    select draft from unnest(drafts) as draft
    where draft.issues is null and draft.conflicts is null and draft.known_id is null
  );
  perform private.remove_stale(actor.organization_id, private.import_claims(actor.organization_id, left_over), as_of);
  -- A round lets in all that fit, the earlier row first. Another follows for rows whose way has become free since: it was
  -- a row's that had to go itself. Each round lets one in at least, and hardly ever is there a third.
  for round in 1 .. 10 loop
    lost_ids := private.claim_imports(actor.organization_id, left_over);
    tried := array(select draft from unnest(left_over) as draft where (draft.session).id <> all (lost_ids));
    -- Units can stand in the way of what is to come alone.
    quotes := case
      when exists (select from unnest(tried) as draft where (draft.session).status = 'scheduled')
        then private.quote_units(actor.organization_id, private.import_services(tried), as_of)
    end;
    refused := private.import_shortages(actor.organization_id, tried, quotes);
    if refused <> '{}' then
      delete from private.claims as claim
      where claim.organization_id = actor.organization_id
        and claim.owner_id = any (array(select (draft.session).id from unnest(refused) as draft));
      tried := array(
        select draft from unnest(tried) as draft
        where draft.row_index <> all (array(select gone.row_index from unnest(refused) as gone))
      );
    end if;
    perform private.write_imports(actor, tried, as_of);
    if quotes is null or refused <> '{}' or exists (select from unnest(tried) as draft where (draft.session).status = 'completed') then
      -- A visit's units depend on the other visits of its day, and what is refused takes none.
      quotes := private.quote_units(actor.organization_id, private.services_of_sessions(
        actor.organization_id, array(select (draft.session).id from unnest(tried) as draft)
      ), as_of);
    end if;
    perform private.enter_sessions(actor.organization_id, quotes);
    settled := settled || tried;
    refused := refused || private.import_obstacles(actor.organization_id, array(
      select draft from unnest(left_over) as draft where (draft.session).id = any (lost_ids)
    ), drafts);
    left_over := array(
      select draft from unnest(refused) as draft
      where draft.conflicts is null or draft.conflicts @> '[{"blockedBy": "authorization"}]'
      order by draft.row_index
    );
    settled := settled || array(
      select draft from unnest(refused) as draft
      where draft.conflicts is not null and not draft.conflicts @> '[{"blockedBy": "authorization"}]'
    );
    exit when left_over = '{}' or tried = '{}';
  end loop;
  return array(
    select draft from unnest(settled || left_over || array(
      select draft from unnest(drafts) as draft
      where draft.issues is not null or draft.conflicts is not null or draft.known_id is not null
    )) as draft
    order by draft.row_index
  );
end
$$;
comment on function private.place_imports(private.actor, private.import_draft[], timestamptz) is
  'Imports every row that can be, and returns all of them with what became of each. Call it alone in the organization.';

-- The call -----------------------------------------------------------------------------------------------------------------

create function private.import_answer(drafts private.import_draft[], written boolean, dry_run boolean)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
begin
  return (
    select jsonb_build_object(
      'dryRun', dry_run,
      'written', written,
      'ok', count(*) filter (where item.status = 'ok'),
      'unchanged', count(*) filter (where item.status = 'unchanged'),
      'withIssues', count(*) filter (where item.status = 'issues'),
      'withConflicts', count(*) filter (where item.status = 'conflicts'),
      'rows', coalesce(jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
        'row', item.row_index, 'externalId', item.external_id, 'status', item.status,
        'sessionId', case when item.status = 'ok' then case when written then item.id end else item.known_id end,
        'issues', (
          select jsonb_agg(issue.value || jsonb_build_object(
            'path', concat_ws('.', 'rows', item.row_index, nullif(issue.value ->> 'path', ''))
          ) order by issue.position)
          from jsonb_array_elements(item.issues) with ordinality as issue (value, position)
        ),
        'conflicts', item.conflicts
      )) order by item.row_index), '[]')
    )
    from (
      select draft.row_index, draft.external_id, draft.known_id, draft.issues, draft.conflicts, (draft.session).id as id, case
        when draft.issues is not null then 'issues'
        when draft.conflicts is not null then 'conflicts'
        when draft.known_id is not null then 'unchanged'
        else 'ok'
      end as status
      from unnest(drafts) as draft
    ) as item
  );
end
$$;
comment on function private.import_answer(private.import_draft[], boolean, boolean) is 'The body of import_sessions.';

create function private.require_import(request jsonb)
returns void
language plpgsql
stable
set search_path = ''
as $$
declare
  is_list constant boolean := coalesce(jsonb_typeof(request -> 'rows') = 'array', false);
begin
  if jsonb_typeof(request) is distinct from 'object' then
    perform private.raise_invalid(private.issue('', 'must be a JSON object'));
  end if;
  perform private.require(array[
    row('rows', 'must be a list', not is_list),
    row('rows', 'must have 1 to 5000 items',
      jsonb_array_length(case when is_list then request -> 'rows' end) not between 1 and 5000),
    row('dry_run', 'must be true or false',
      coalesce(jsonb_typeof(request -> 'dry_run'), 'null') not in ('boolean', 'null')),
    row('on_conflict', 'must be "report" or "skip"',
      coalesce(request -> 'on_conflict', 'null') not in ('null', '"report"', '"skip"'))
  ]::private.rule[]);
end
$$;
comment on function private.require_import(jsonb) is
  'PT400 for a request of import_sessions that is none. What is wrong with a row is told of the row.';

create function private.import_sessions(actor private.actor, request jsonb)
returns jsonb
language plpgsql
set search_path = ''
set enable_seqscan = off
as $$
declare
  dry_run boolean;
  skips boolean;
  read private.import_draft[];
  drafts private.import_draft[];
  session_ids uuid[];
  as_of timestamptz;
begin
  if actor.role not in ('admin', 'super_admin') then
    return private.refuse(actor, 'import.refused', '{}', 'FORBIDDEN', 'Only an admin imports sessions.');
  end if;
  perform private.require_import(request);
  dry_run := coalesce(nullif(request -> 'dry_run', 'null')::boolean, false);
  skips := coalesce(request ->> 'on_conflict' = 'skip', false);
  -- Before the lock, so that nobody waits for it.
  read := private.read_imports(actor, request -> 'rows', clock_timestamp());
  -- Alone in the organization: thousands of rows need no lock for each of their people, and meet no booking half-way.
  perform private.take_organization(actor.organization_id);
  actor := private.require_actor();
  if actor.role not in ('admin', 'super_admin') then
    return private.refuse(actor, 'import.refused', '{}', 'FORBIDDEN', 'Only an admin imports sessions.');
  end if;
  as_of := clock_timestamp();
  begin
    drafts := private.place_imports(actor, read, as_of);
    session_ids := array(
      select (draft.session).id from unnest(drafts) as draft
      where draft.issues is null and draft.conflicts is null and draft.known_id is null
      order by draft.row_index
    );
    if dry_run or (not skips and exists (
      select from unnest(drafts) as draft where draft.issues is not null or draft.conflicts is not null
    )) then
      -- Undoes the rows, and keeps what became of them.
      raise exception using errcode = 'ZZIMP';
    end if;
  exception
    when sqlstate 'ZZIMP' then
      return private.success(private.import_answer(drafts, false, dry_run));
  end;
  if session_ids <> '{}' then
    perform private.record_event(
      actor.organization_id, 'session.imported', 'session', session_ids, as_of,
      actor_role => actor.role::text,
      after => private.facts_of_sessions(actor.organization_id, session_ids),
      details => jsonb_build_object('rows', cardinality(drafts), 'imported', cardinality(session_ids))
    );
  end if;
  return private.success(private.import_answer(drafts, session_ids <> '{}', false));
end
$$;

select private.publish_booking('import_sessions',
  'Imports sessions of another system, history or to come, for admins: {rows, dry_run?, on_conflict?}. rows: up to 5000 '
  '{external_id, therapist_id, client_id, start_time, end_time, time_zone, status?, session_type?, location_type?, '
  'cpt_code?, modifiers?, room_id?, cancellation_attribution?}; status is scheduled unless it says completed, cancelled or '
  'no_show. on_conflict: report (the default) imports all or none, skip what can be. dry_run writes nothing. Outcome body: '
  '{dryRun, written, ok, unchanged, withIssues, withConflicts, rows: [{row, externalId, status, sessionId?, issues?, '
  'conflicts?}]}; status is ok, unchanged (imported before), issues or conflicts, each with which row or session.'
);
-- PostgREST gives the call the time that is set here, rather than that of its role: thousands of rows on a busy day.
alter function public.import_sessions(jsonb, text) set statement_timeout = '60s';
