-- Purpose: one order of locks for every way to a booking.
-- Objects: share_organization, can_share_organization, take_organization, lock_resources, lock_sessions, and the trigger function of direct writes.
-- Watch for: the order is  1 the organization   2 the idempotency key   3 groups by id   4 sessions by id
--            5 resources, ascending   6 hold batches by id   7 claims   8 audit heads, at commit.
--            Booking functions share the organization; a direct write (REST, SQL) takes it alone before it has locked a
--            row. So a direct write may lock rows and people in any order, and still nobody waits in a circle.

create function private.organization_lock_key(organization_id uuid)
returns bigint
language plpgsql
immutable
set search_path = ''
as $$
begin
  -- Of a SHA-256, so that nobody can choose an id whose lock is another organization's.
  return hashtextextended(encode(sha256(uuid_send(organization_id)), 'hex'), 2);
end
$$;
comment on function private.organization_lock_key(uuid) is 'The advisory lock of one organization.';

create function private.share_organization(organization_id uuid)
returns void
language plpgsql
set search_path = ''
as $$
begin
  -- Against direct writes, which meet rows and resources in any order. Booking functions share it among themselves.
  perform pg_advisory_xact_lock_shared(private.organization_lock_key(organization_id));
end
$$;
comment on function private.share_organization(uuid) is 'First lock of every booking function.';

create function private.can_share_organization(organization_id uuid)
returns boolean
language plpgsql
set search_path = ''
as $$
begin
  return pg_try_advisory_xact_lock_shared(private.organization_lock_key(organization_id));
end
$$;
comment on function private.can_share_organization(uuid) is
  'As private.share_organization, or false at once. For the sweepers, which serve several organizations in one transaction: '
  'while they waited for one, the others would wait for them.';

create function private.take_organization(organization_id uuid)
returns void
language plpgsql
set search_path = ''
as $$
begin
  -- Alone in the organization, a writer of many rows needs no lock for each of a thousand people.
  perform pg_advisory_xact_lock(private.organization_lock_key(organization_id));
end
$$;
comment on function private.take_organization(uuid) is 'First lock of a direct write, and of a cancellation of many sessions.';

create function private.lock_resources(organization_id uuid, resource_ids uuid[])
returns void
language plpgsql
set search_path = ''
as $$
begin
  -- Two claimants of one resource would wait for each other inside the exclusion check, crosswise for overlapping
  -- windows or for therapist and client: deadlocks, and rounds of a minute. One lock a resource, always ascending,
  -- lets them queue instead. Statements after this one see what the previous holder committed.
  perform pg_advisory_xact_lock(ascending.key)
  from (
    -- Of a SHA-256: ids that an admin of one clinic chooses cannot be aimed at the lock of another's therapist.
    select distinct hashtextextended(
      encode(sha256(uuid_send(lock_resources.organization_id) || uuid_send(resource.id)), 'hex'), 0
    ) as key
    from unnest(resource_ids) as resource (id)
    where resource.id is not null
    order by key
  ) as ascending;
end
$$;
comment on function private.lock_resources(uuid, uuid[]) is
  'Takes the transaction-scoped lock of each resource (therapists, clients, rooms), ascending; nulls are skipped.';

create function private.lock_sessions(organization_id uuid, session_ids uuid[])
returns void
language plpgsql
set search_path = ''
as $$
begin
  -- A second move, a cancellation or a start of the same session would act on a state that this one is changing.
  perform from (
    select distinct named.id from unnest(session_ids) as named (id) order by named.id
  ) as ordered
  cross join lateral (
    select from public.sessions as session
    where session.organization_id = lock_sessions.organization_id and session.id = ordered.id
    for no key update
  ) as locked;
end
$$;
comment on function private.lock_sessions(uuid, uuid[]) is 'Locks these sessions'' rows, by id; unknown ids are skipped.';

-- Direct writes ----------------------------------------------------------------------------------------------------
-- A booking function says so with the setting therapist_sessions.within, and runs as the owner of the tables: triggers
-- of direct writes look at both, so that no other role can pass for a booking function. (A function cannot carry the
-- setting as its own SET clause: only a superuser may define one with a setting of the product's own.)

create function private.enter_booking()
returns text
language plpgsql
set search_path = ''
as $$
declare
  former constant text := coalesce(current_setting('therapist_sessions.within', true), '');
begin
  perform set_config('therapist_sessions.within', 'booking', true);
  return former;
end
$$;
comment on function private.enter_booking() is
  'From here on the triggers of direct writes stay quiet. Returns what to hand to private.leave_booking.';

create function private.leave_booking(outcome jsonb, former text default '')
returns jsonb
language plpgsql
set search_path = ''
as $$
begin
  perform set_config('therapist_sessions.within', former, true);
  if current_setting('therapist_sessions.freed', true) = 'yes' and outcome is not null then
    perform set_config('therapist_sessions.freed', '', true);
    outcome := outcome || '{"freed": true}';
  end if;
  return outcome;
end
$$;
comment on function private.leave_booking(jsonb, text) is
  'Ends what private.enter_booking began: later statements of the transaction are direct writes again. Passes the outcome '
  'on, with freed: true when it left something for the waitlist, so that the caller calls offer_freed_slots next.';
grant execute on function private.leave_booking(jsonb, text) to authenticated, service_role;

create function private.refuse_derived_write()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  raise exception using
    errcode = 'restrict_violation',
    message = format('rows of %I.%I follow from bookings and are written by them alone', tg_table_schema, tg_table_name),
    hint = 'Write the session, the group or the hold instead.';
end
$$;
comment on function private.refuse_derived_write() is
  'Trigger: refuses what the owner of the database writes to rows that are derived. Moving expires_at alone is allowed.';

create function private.refuse_derived_column()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  raise exception using
    errcode = 'restrict_violation',
    message = format('%s of %I.%I follows from bookings and is written by them alone', tg_argv[0], tg_table_schema, tg_table_name),
    hint = 'Write what it follows from instead.';
end
$$;
comment on function private.refuse_derived_column() is 'Trigger: refuses a direct write of what is derived. Argument: the columns.';

create function private.take_written_organization()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  organization_id uuid := coalesce(
    private.claimed_organization_id(), nullif(current_setting('therapist_sessions.organization', true), '')::uuid
  );
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    -- An older snapshot would not see what others have booked since.
    raise exception using
      errcode = 'invalid_transaction_state',
      message = 'sessions are written in READ COMMITTED',
      hint = 'Begin the transaction without an isolation level.';
  end if;
  -- Before the statement has locked a row. A writer without a token who names no organization is met row by row, in
  -- private.take_row_organization.
  if organization_id is not null then
    perform private.take_organization(organization_id);
  end if;
  return null;
end
$$;
comment on function private.take_written_organization() is
  'Trigger: a direct write has its organization to itself until it commits. Without a token (service_role, SQL) the '
  'organization may be named first: select set_config(''therapist_sessions.organization'', ''<id>'', true).';

create function private.write_alone(table_names text[], events text default 'insert or update')
returns void
language plpgsql
set search_path = ''
as $$
declare
  name text;
begin
  foreach name in array table_names loop
    execute format(
      'create trigger a_take_organization before %s on public.%I for each statement '
      'when (private.is_direct_write()) execute function private.take_written_organization()', events, name
    );
  end loop;
end
$$;
comment on function private.write_alone(text[], text) is
  'Lets direct writes of these tables take their organization alone, before they have locked a row.';

create function private.take_row_organization(organization_id uuid, table_name name)
returns void
language plpgsql
set search_path = ''
as $$
declare
  gives_way_at constant timestamptz := clock_timestamp() + interval '500 milliseconds';
begin
  if auth.role() = 'authenticated' then
    -- Nobody makes another clinic wait by naming it. Row-level security would not do alone: it judges by the start of the
    -- statement, and somebody may have been removed since.
    if (private.active_organization_id() = organization_id) is not true then
      raise insufficient_privilege using message = format('new row violates row-level security policy for table "%s"', table_name);
    end if;
    return;
  end if;
  if private.claimed_organization_id() is not distinct from organization_id then
    return;
  end if;
  -- A writer who updates has the row's lock by now, and whoever has the organization may wait for that row. The writer
  -- asks again and again, and does not queue: in the queue the two would be a deadlock, and the database looks for one on
  -- behalf of anybody who has waited for a second, so it would be a booking in the same queue that fails.
  while not pg_try_advisory_xact_lock(private.organization_lock_key(organization_id)) loop
    if clock_timestamp() >= gives_way_at then
      perform private.log_busy('55P03', 'the organization of a row stayed taken');
      raise exception using
        errcode = 'PT503',
        message = 'bookings of this organization are under way: repeat the statement',
        hint = 'To wait for them instead, name the organization first: select set_config(''therapist_sessions.organization'', ''<id>'', true)';
    end if;
    perform pg_sleep(0.001);
  end loop;
end
$$;
comment on function private.take_row_organization(uuid, name) is
  'The organization of a row that is written directly, for the writer alone; for a user it is that of the token, taken '
  'before the statement. Refuses a row of another organization as row-level security does.';
