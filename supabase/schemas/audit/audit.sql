-- Purpose: an append-only, tamper-evident record of who did what, when, to which rows, and with what outcome.
-- Objects: audit.events (partitioned by quarter), audit.seals, audit.chains, private.record_event, audit.verify,
--          audit.checkpoint, audit.verify_checkpoint, audit.ensure_partitions.
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
  outcome text not null default 'ok' check (outcome in ('ok', 'refused')),
  code text,
  before jsonb,
  after jsonb,
  details jsonb,
  request_id text,
  primary key (organization_id, recorded_at, id),
  check ((outcome = 'refused') = (code is not null))
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
  digest bytea not null,
  hash bytea not null,
  primary key (organization_id, chain_id, seq)
);
comment on table audit.seals is
  'The hash chains. digest is the SHA-256 of the event; hash is the SHA-256 of the previous hash and this digest. Kept '
  'when old events are archived, so that the chain stays whole.';
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
language plpgsql
immutable
set search_path = ''
as $$
begin
  return sha256(convert_to(event::text, 'UTF8'));
end
$$;
comment on function audit.digest(jsonb) is 'SHA-256 of an event''s row as jsonb (canonical text), instants in UTC.';

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
begin
  -- Runs when the transaction commits, after every other lock: whoever holds a head waits for nothing more, and a
  -- transaction has one chain only, so heads can neither hold up bookings nor deadlock with them.
  with head as (
    insert into audit.chains as chain (organization_id, chain_id, seq, hash)
    values (new.organization_id, new.chain_id, 1, sha256(event_digest))
    on conflict (organization_id, chain_id)
    do update set seq = chain.seq + 1, hash = sha256(chain.hash || event_digest)
    returning seq, hash
  )
  insert into audit.seals (organization_id, chain_id, seq, event_id, event_recorded_at, digest, hash)
  select new.organization_id, new.chain_id, head.seq, new.id, new.recorded_at, event_digest, head.hash
  from head;
  return null;
end
$$;
comment on function audit.seal_event() is 'Constraint trigger, at commit: links the event into its chain.';

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
    execute format(
      'create table audit.%I partition of audit.events for values from (%L) to (%L)',
      name, quarter::timestamp at time zone 'UTC', (quarter + interval '3 months')::timestamp at time zone 'UTC'
    );
    perform audit.guard_partition(name);
    created := created + 1;
  end loop;
  return created;
end
$$;
comment on function audit.ensure_partitions(integer) is
  'Creates the quarterly partitions from this quarter on, as far as they are missing. Run it once a quarter (pg_cron, or '
  'any scheduler); until it runs, events go to the default partition and no booking stops.';
select audit.ensure_partitions();

-- Proof ----------------------------------------------------------------------------------------------------------------

create function audit.verify(only_organization_id uuid default null)
returns table (organization_id uuid, chain_id uuid, seq bigint, event_id uuid, problem text)
language plpgsql
stable
set search_path = ''
set timezone = 'UTC'
as $$
#variable_conflict use_column
begin
  return query
  with link as (
    select
      seal.*,
      lag(seal.seq) over chain as previous_seq,
      lag(seal.hash) over chain as previous_hash
    from audit.seals as seal
    where only_organization_id is null or seal.organization_id = only_organization_id
    window chain as (partition by seal.organization_id, seal.chain_id order by seal.seq)
  ),
  finding as (
    select
      link.organization_id, link.chain_id, link.seq, link.event_id,
      case
        when link.seq <> coalesce(link.previous_seq, 0) + 1 then 'a seal before this one is missing'
        when link.hash <> sha256(coalesce(link.previous_hash, '') || link.digest) then 'the seal was changed'
        when event.id is null and not exists (
          select 1
          from audit.archives as archive
          where link.event_recorded_at >= archive.from_time and link.event_recorded_at < archive.to_time
        ) then 'the event is missing'
        when event.id is not null and audit.digest(to_jsonb(event)) <> link.digest then 'the event was changed'
      end as problem
    from link
    left join audit.events as event
      on event.organization_id = link.organization_id
      and event.recorded_at = link.event_recorded_at
      and event.id = link.event_id
    union all
    select
      head.organization_id, head.chain_id, head.seq, null,
      'the newest events of the chain are missing'
    from audit.chains as head
    where (only_organization_id is null or head.organization_id = only_organization_id)
      and not exists (
        select 1
        from audit.seals as seal
        where seal.organization_id = head.organization_id
          and seal.chain_id = head.chain_id
          and seal.seq = head.seq
          and seal.hash = head.hash
      )
    union all
    select event.organization_id, event.chain_id, null, event.id, 'the event is not sealed'
    from audit.events as event
    where (only_organization_id is null or event.organization_id = only_organization_id)
      and not exists (
        select 1
        from audit.seals as seal
        where seal.organization_id = event.organization_id and seal.event_id = event.id
      )
  )
  select distinct on (finding.organization_id, finding.chain_id)
    finding.organization_id, finding.chain_id, finding.seq, finding.event_id, finding.problem
  from finding
  where finding.problem is not null
  order by finding.organization_id, finding.chain_id, finding.seq nulls last;
end
$$;
comment on function audit.verify(uuid) is
  'Checks every chain, or those of one organization, and names the first bad event of each. No row: nothing was changed, '
  'as far as the chains themselves can tell; compare with an exported checkpoint for the rest.';

create function audit.checkpoint(only_organization_id uuid default null)
returns jsonb
language plpgsql
stable
set search_path = ''
set timezone = 'UTC'
as $$
begin
  return jsonb_build_object(
    'takenAt', now(),
    'heads', coalesce((
      select jsonb_agg(
        jsonb_build_object(
          'organizationId', head.organization_id, 'chainId', head.chain_id, 'seq', head.seq,
          'hash', encode(head.hash, 'hex')
        )
        order by head.organization_id, head.chain_id
      )
      from audit.chains as head
      where only_organization_id is null or head.organization_id = only_organization_id
    ), '[]')
  );
end
$$;
comment on function audit.checkpoint(uuid) is
  'All chain heads, or those of one organization, to be kept where an owner of this database cannot reach: what came '
  'before them can then no longer be removed or rewritten unnoticed.';

create function audit.verify_checkpoint(checkpoint jsonb)
returns table (organization_id uuid, chain_id uuid, seq bigint, problem text)
language plpgsql
stable
set search_path = ''
as $$
#variable_conflict use_column
begin
  return query
  select
    head."organizationId", head."chainId", head.seq,
    case when seal.seq is null then 'events up to the checkpoint are missing' else 'the chain was rewritten' end
  from jsonb_to_recordset(checkpoint -> 'heads') as head ("organizationId" uuid, "chainId" uuid, seq bigint, hash text)
  left join audit.seals as seal
    on seal.organization_id = head."organizationId" and seal.chain_id = head."chainId" and seal.seq = head.seq
  where seal.seq is null or encode(seal.hash, 'hex') <> head.hash
  order by 1, 2;
end
$$;
comment on function audit.verify_checkpoint(jsonb) is
  'Compares the chains with an exported checkpoint. No row: everything up to it is as it was.';

create table audit.archives (
  from_time timestamptz not null,
  to_time timestamptz not null check (to_time > from_time),
  archived_at timestamptz not null default now(),
  location text not null,
  primary key (from_time)
);
comment on table audit.archives is
  'Spans whose events were moved to an archive, and where. Their seals stay. Keep events at least six years (45 CFR '
  '164.316(b)(2)(i)), longer where a state asks for it.';

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
alter table audit.archives enable row level security;
create policy deny_all on audit.archives using (false);
comment on policy deny_all on audit.archives is 'Written by whoever archives, as the owner.';
create trigger refuse_change before update or delete on audit.archives
  for each row execute function audit.refuse_change();
create trigger refuse_truncate before truncate on audit.archives
  for each statement execute function audit.refuse_change();
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
