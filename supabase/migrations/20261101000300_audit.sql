-- Purpose: an append-only record of who did what, when, to which rows, and with what outcome.
-- Objects: audit.events, private.record_event, the triggers that refuse change.
-- Watch for: events are written in the transaction of what they describe. Nothing here is granted for writing: only
--            SECURITY DEFINER functions and triggers record, and they take the actor from the JWT, never from a caller.

create table audit.events (
  organization_id uuid not null,
  id uuid not null default gen_random_uuid(),
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
  primary key (organization_id, id),
  check ((outcome = 'refused') = (code is not null))
);
comment on table audit.events is
  'One event for each hold, refusal, confirmation, cancellation and change; a batch is one event that lists its ids. '
  'Events keep no foreign keys: they survive whatever they describe.';
comment on column audit.events.occurred_at is 'When it happened; for an expiry, the hold''s expires_at.';
comment on column audit.events.recorded_at is 'When it was written down.';
comment on column audit.events.database_user is 'The login role of the connection: tells SQL sessions from the API.';
comment on column audit.events.request_id is 'The X-Request-Id of the call, for matching with logs.';
create index events_recorded_at_idx on audit.events (organization_id, recorded_at);
create index events_entity_ids_idx on audit.events using gin (entity_ids);

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
comment on function audit.refuse_change() is 'Trigger: refuses UPDATE, DELETE and TRUNCATE of events, whoever asks.';

create trigger refuse_change before update or delete on audit.events
  for each row execute function audit.refuse_change();
create trigger refuse_truncate before truncate on audit.events
  for each statement execute function audit.refuse_change();

alter table audit.events enable row level security;
create policy role_scoped_select on audit.events for select to authenticated
  using (organization_id = (select private.active_organization_id()) and (select private.is_admin()));
comment on policy role_scoped_select on audit.events is 'Admins read their organization''s events.';
grant select on audit.events to authenticated, service_role;

create function private.record_event(
  organization_id uuid,
  action text,
  entity text,
  entity_ids uuid[],
  occurred_at timestamptz,
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
begin
  insert into audit.events (
    organization_id, occurred_at, actor_user_id, actor_role, actor_session_id,
    action, entity, entity_ids, outcome, code, before, after, details, request_id
  )
  values (
    record_event.organization_id, record_event.occurred_at, auth.uid(),
    coalesce(
      record_event.actor_role,
      (
        select membership.role::text
        from public.memberships as membership
        where membership.organization_id = record_event.organization_id and membership.user_id = auth.uid()
      ),
      auth.role()
    ),
    auth.jwt() ->> 'session_id',
    record_event.action, record_event.entity, record_event.entity_ids, record_event.outcome, record_event.code,
    record_event.before, record_event.after, record_event.details,
    nullif(current_setting('therapist_sessions.request_id', true), '')
  );
end
$$;
comment on function private.record_event(uuid, text, text, uuid[], timestamptz, text, text, text, jsonb, jsonb, jsonb) is
  'Writes one event in the current transaction. The actor is the JWT''s user, role and session; for SQL connections '
  'the database user. The request id is informative only.';
