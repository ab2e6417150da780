-- Purpose: an append-only, tamper-evident record of who did what, when, to which rows, and with what outcome.
-- Objects: audit.events (partitioned by quarter), audit.seals, audit.chains, private.record_event,
--          audit.ensure_partitions. What proves them is in proof.sql, the list of all actions in actions.sql.
-- Watch for: events are written in the transaction of what they describe, and sealed into a hash chain when it commits.
--            Nothing here is granted for writing: only SECURITY DEFINER functions and triggers record, and they take
--            the actor from the JWT, never from a caller. The limit of the proof: an owner of the database can rewrite a
--            whole chain. Export checkpoints to where she cannot.

create table audit.events (
  organization_id uuid not null,
  id uuid not null default gen_random_uuid(),
  chain_id uuid not null,
  occurred_at timestamptz not null,
  recorded_at timestamptz not null default clock_timestamp(),
  actor_user_id uuid,
  actor_role text,
  actor_session_id text,
  database_user text not null default session_user,
  action text not null check (action ~ '^[a-z_]+\.[a-z_]+$'),
  entity text not null,
  entity_ids uuid[] not null,
  outcome text not null default 'ok',
  code text,
  before jsonb,
  after jsonb,
  details jsonb,
  request_id text,
  primary key (organization_id, recorded_at, id),
  check (outcome = case when code is null then 'ok' else 'refused' end)
) partition by range (recorded_at);
comment on table audit.events is
  'One event for each hold, refusal, confirmation, cancellation and change; a batch is one event that lists its ids. '
  'Events keep no foreign keys: they survive whatever they describe.';
comment on column audit.events.chain_id is
  'The hash chain that seals this event: the therapist whose time a booking has locked, else the actor.';
comment on column audit.events.occurred_at is 'When it happened; for an expiry, the hold''s expires_at.';
comment on column audit.events.recorded_at is 'When it was written down.';
comment on column audit.events.database_user is 'The login role of the connection: tells SQL sessions from the API.';
comment on column audit.events.request_id is 'The X-Request-Id of the call, for matching with logs.';
create index events_entity_ids_idx on audit.events using gin (entity_ids);

create table audit.seals (
  organization_id uuid not null,
  chain_id uuid not null,
  seq bigint not null check (seq > 0),
  event_id uuid not null,
  event_recorded_at timestamptz not null,
  sealed_at timestamptz not null,
  digest bytea not null,
  hash bytea not null,
  primary key (organization_id, chain_id, seq)
);
comment on table audit.seals is
  'The hash chains. digest is the SHA-256 of the event; hash is the SHA-256 of the previous hash, this digest and sealed_at. '
  'Kept when old events are archived, so that the chain stays whole.';
comment on column audit.seals.sealed_at is
  'When the transaction committed, by the database''s clock. An event that was recorded at another time was planted.';
create index seals_event_recorded_at_idx on audit.seals using brin (event_recorded_at);
create unique index seals_event_id_idx on audit.seals (organization_id, event_id);

create table audit.chains (
  organization_id uuid not null,
  chain_id uuid not null,
  seq bigint not null,
  hash bytea not null,
  primary key (organization_id, chain_id)
);
comment on table audit.chains is 'The head of each chain: its last seq and hash.';

create function audit.refuse_change()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  raise exception using
    errcode = 'restrict_violation',
    message = 'audit events are append-only',
    hint = 'Record a further event instead.';
end
$$;
comment on function audit.refuse_change() is 'Trigger: refuses UPDATE, DELETE and TRUNCATE of the audit, whoever asks.';

create trigger refuse_change before update or delete on audit.events
  for each row execute function audit.refuse_change();
create trigger refuse_truncate before truncate on audit.events
  for each statement execute function audit.refuse_change();
create trigger refuse_change before update or delete on audit.seals
  for each row execute function audit.refuse_change();
create trigger refuse_truncate before truncate on audit.seals
  for each statement execute function audit.refuse_change();
create trigger refuse_delete before delete on audit.chains
  for each row execute function audit.refuse_change();
create trigger refuse_truncate before truncate on audit.chains
  for each statement execute function audit.refuse_change();

create function audit.digest(event jsonb)
returns bytea
language sql
immutable
set search_path = ''
return sha256(convert_to(event::text, 'UTF8'));
comment on function audit.digest(jsonb) is 'SHA-256 of an event''s row as jsonb (canonical text), instants in UTC.';

create function audit.link(previous_hash bytea, digest bytea, sealed_at timestamptz)
returns bytea
language sql
immutable
set search_path = ''
return sha256(coalesce(previous_hash, '') || digest || timestamptz_send(sealed_at));
comment on function audit.link(bytea, bytea, timestamptz) is
  'The hash of a seal: of the hash before it (null for the first of a chain), the event''s digest and when it was sealed.';

create function audit.seal_event()
returns trigger
language plpgsql
security definer
set search_path = ''
set timezone = 'UTC'
as $$
#variable_conflict use_column
declare
  event_digest bytea := sha256(convert_to(to_jsonb(new)::text, 'UTF8'));  -- audit.digest, without a call
  sealed_at timestamptz := clock_timestamp();
  suffix bytea := event_digest || timestamptz_send(sealed_at);  -- audit.link, without a call
begin
  -- What is recorded is recorded now. A minute for clocks that are set meanwhile; an hour, since audit.verify counts it.
  if new.recorded_at not between now() - interval '1 minute' and sealed_at + interval '1 minute'
    or new.recorded_at < sealed_at - interval '1 hour'
    -- A hold that nobody looked at is told later, and dated to its expiry.
    or new.occurred_at not between timestamptz '2000-01-01 00:00Z' and sealed_at + interval '1 minute'
  then
    raise exception using
      errcode = 'restrict_violation',
      message = 'audit events are recorded as they happen',
      hint = 'Neither earlier nor later events can be written; split transactions that take longer than an hour.';
  end if;
  -- Runs when the transaction commits, after every other lock: whoever holds a head waits for nothing more, and a
  -- transaction has one chain only, so heads can neither hold up bookings nor deadlock with them.
  with head as (
    insert into audit.chains as chain (organization_id, chain_id, seq, hash)
    values (new.organization_id, new.chain_id, 1, sha256(suffix))
    on conflict (organization_id, chain_id)
    do update set seq = chain.seq + 1, hash = sha256(chain.hash || suffix)
    returning seq, hash
  )
  insert into audit.seals (
    organization_id, chain_id, seq, event_id, event_recorded_at, sealed_at, digest, hash
  )
  select new.organization_id, new.chain_id, head.seq, new.id, new.recorded_at, sealed_at, event_digest, head.hash
  from head;
  return null;
end
$$;
comment on function audit.seal_event() is
  'Constraint trigger, at commit: links the event into its chain, and refuses one that pretends to be of another time.';

create constraint trigger seal_event after insert on audit.events
  deferrable initially deferred
  for each row execute function audit.seal_event();

-- Partitions -----------------------------------------------------------------------------------------------------------

create function audit.guard_partition(partition_name text)
returns void
language plpgsql
set search_path = ''
as $$
begin
  -- TRUNCATE triggers and row security are not inherited: without these a partition could be emptied or read directly.
  execute format(
    'create trigger refuse_truncate before truncate on audit.%I for each statement execute function audit.refuse_change()',
    partition_name
  );
  execute format('alter table audit.%I enable row level security', partition_name);
  execute format('create policy deny_all on audit.%I using (false)', partition_name);
  execute format('comment on table audit.%I is %L', partition_name, 'A partition of audit.events.');
end
$$;
comment on function audit.guard_partition(text) is 'Gives a partition of events what it does not inherit.';

create table audit.events_default partition of audit.events default;
select audit.guard_partition('events_default');

create function audit.ensure_partitions(quarters_ahead integer default 2)
returns integer
language plpgsql
set search_path = ''
set lock_timeout = '100ms'
as $$
declare
  quarter date;
  name text;
  created integer := 0;
begin
  for quarter in
    select series.quarter::date
    from generate_series(
      date_trunc('quarter', now() at time zone 'UTC'),
      date_trunc('quarter', now() at time zone 'UTC') + make_interval(months => 3 * quarters_ahead),
      interval '3 months'
    ) as series (quarter)
  loop
    name := 'events_' || to_char(quarter, 'YYYY_"q"Q');
    continue when to_regclass('audit.' || name) is not null;
    -- Postgres makes no partition whose rows lie elsewhere already. What was written while this quarter had none stays in
    -- the default partition, and with it the rest of the quarter; the following ones get theirs.
    continue when exists (
      select 1
      from audit.events_default as stray
      where stray.recorded_at >= quarter::timestamp at time zone 'UTC'
        and stray.recorded_at < (quarter + interval '3 months')::timestamp at time zone 'UTC'
    );
    begin
      -- Made first and attached then: made as a partition it would wait for every booking under way, and every booking of
      -- any clinic for it.
      execute format('create table audit.%I (like audit.events including defaults including constraints)', name);
      execute format(
        'alter table audit.events attach partition audit.%I for values from (%L) to (%L)',
        name, quarter::timestamp at time zone 'UTC', (quarter + interval '3 months')::timestamp at time zone 'UTC'
      );
      perform audit.guard_partition(name);
    exception
      when lock_not_available then
        -- Somebody reads the default partition, which is locked for a moment. The next run comes again.
        return created;
    end;
    created := created + 1;
  end loop;
  return created;
end
$$;
comment on function audit.ensure_partitions(integer) is
  'Creates the quarterly partitions from this quarter on, as far as they are missing. Run it once a quarter (pg_cron, or '
  'any scheduler), beside bookings; until it runs, events go to the default partition and no booking stops.';
select audit.ensure_partitions();

-- Access and recording -------------------------------------------------------------------------------------------------

alter table audit.events enable row level security;
create policy role_scoped_select on audit.events for select to authenticated
  using (
    organization_id = (select private.active_organization_id())
    and ((select private.is_admin()) or (select private.has_permission('view_audit')))
  );
comment on policy role_scoped_select on audit.events is
  'Admins, and members with the permission view_audit, read their organization''s events.';
alter table audit.seals enable row level security;
create policy role_scoped_select on audit.seals for select to authenticated
  using (
    organization_id = (select private.active_organization_id())
    and ((select private.is_admin()) or (select private.has_permission('view_audit')))
  );
comment on policy role_scoped_select on audit.seals is
  'Admins, and members with the permission view_audit, read their organization''s seals.';
alter table audit.chains enable row level security;
create policy role_scoped_select on audit.chains for select to authenticated
  using (
    organization_id = (select private.active_organization_id())
    and ((select private.is_admin()) or (select private.has_permission('view_audit')))
  );
comment on policy role_scoped_select on audit.chains is
  'Admins, and members with the permission view_audit, read their organization''s chain heads.';
grant select on audit.events, audit.seals, audit.chains to authenticated, service_role;

create function private.record_event(
  organization_id uuid,
  action text,
  entity text,
  entity_ids uuid[],
  occurred_at timestamptz,
  therapist_id uuid default null,
  actor_role text default null,
  outcome text default 'ok',
  code text default null,
  before jsonb default null,
  after jsonb default null,
  details jsonb default null
)
returns void
language plpgsql
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  actor_id uuid := auth.uid();
  chain_id uuid := coalesce(
    nullif(current_setting('therapist_sessions.audit_chain', true), '')::uuid,
    record_event.therapist_id, actor_id, '00000000-0000-0000-0000-000000000000'
  );
begin
  if actor_role is null and actor_id is not null then
    select membership.role::text into actor_role
    from public.memberships as membership
    where membership.organization_id = record_event.organization_id and membership.user_id = actor_id;
  end if;
  -- The first event of a transaction chooses its chain, for all of them.
  perform set_config('therapist_sessions.audit_chain', chain_id::text, true);
  insert into audit.events (
    organization_id, chain_id, occurred_at, actor_user_id, actor_role, actor_session_id,
    action, entity, entity_ids, outcome, code, before, after, details, request_id
  )
  values (
    record_event.organization_id, chain_id, record_event.occurred_at, actor_id,
    coalesce(record_event.actor_role, auth.role()),
    auth.jwt() ->> 'session_id',
    record_event.action, record_event.entity, record_event.entity_ids, record_event.outcome, record_event.code,
    record_event.before, record_event.after, record_event.details,
    nullif(current_setting('therapist_sessions.request_id', true), '')
  );
end
$$;
comment on function private.record_event(
  uuid, text, text, uuid[], timestamptz, uuid, text, text, text, jsonb, jsonb, jsonb
) is
  'Writes one event in the current transaction. The actor is the JWT''s user, role and session; for SQL connections '
  'the database user. therapist_id names the therapist whose lock is held, whose chain then takes the event.';
