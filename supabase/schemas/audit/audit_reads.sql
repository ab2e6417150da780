-- Purpose: the audit, for those who must read and prove it: compliance officers, admins, super_admins.
-- Objects: session_history, verify_audit, audit_checkpoint.
-- Watch for: schema audit is not exposed. These functions are the way to it over REST, each for the caller's
--            organization only; the views of schema reports read the same events under their own policies.

create function private.session_history(session_id uuid)
returns table (
  occurred_at timestamptz,
  recorded_at timestamptz,
  action text,
  outcome text,
  code text,
  actor_user_id uuid,
  actor_role text,
  actor_session_id text,
  database_user text,
  request_id text,
  before jsonb,
  after jsonb,
  details jsonb,
  event_id uuid,
  chain_id uuid,
  seq bigint,
  hash text,
  problem text
)
language plpgsql
stable
security definer
set search_path = ''
set timezone = 'UTC'
as $$
#variable_conflict use_column
declare
  actor private.actor := private.require_actor();
  names uuid[];
begin
  if not private.is_admin() and not private.has_permission('view_audit') then
    perform private.raise_refusal(403, 'FORBIDDEN', 'Only admins and members with view_audit read the audit.');
  end if;
  perform private.require_rate('refusals');

  -- A session keeps the id of the hold it was booked through; the holds that moved it have ids of their own.
  names := session_history.session_id || array(
    select hold.id
    from public.session_holds as hold
    where hold.organization_id = actor.organization_id and hold.session_id = session_history.session_id
  );

  return query
  select
    event.occurred_at, event.recorded_at, event.action, event.outcome, event.code,
    event.actor_user_id, event.actor_role, event.actor_session_id, event.database_user, event.request_id,
    case when jsonb_typeof(event.before) = 'array' then event.before -> place.position else event.before end,
    case when jsonb_typeof(event.after) = 'array' then event.after -> place.position else event.after end,
    event.details, event.id, event.chain_id, seal.seq, encode(seal.hash, 'hex'),
    case
      when seal.seq is null then 'the event is not sealed'
      else audit.seal_problem(seal, previous, event, false)
    end
  from audit.events as event
  cross join lateral (
    -- A batch's event lists its ids, and what became of each, in the same order.
    select (array_position(event.entity_ids, session_history.session_id) - 1) as position
  ) as place
  left join audit.seals as seal
    on seal.organization_id = event.organization_id
    and seal.event_id = event.id
    and seal.event_recorded_at = event.recorded_at
  left join audit.seals as previous
    on previous.organization_id = seal.organization_id
    and previous.chain_id = seal.chain_id
    and previous.seq = seal.seq - 1
  where event.organization_id = actor.organization_id
    and event.entity_ids && names
  order by event.recorded_at, event.id;
end
$$;

select private.publish('session_history',
  'Everything that happened to a session, oldest first: its hold, confirmation, moves, status changes, notes saved, '
  'signed and read, refusals. before and after are this session''s part of the event; notes appear as ciphertext. seq and '
  'hash are the event''s place in its chain; problem says what is wrong with the event or its seal, null when nothing is. '
  'For admins and members with the permission view_audit. An id of another organization has no history here.'
);

create function private.audit_checkpoint()
returns jsonb
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  actor private.actor := private.require_actor();
begin
  if actor.role <> 'super_admin' then
    perform private.raise_refusal(403, 'FORBIDDEN', 'Only a super_admin exports a checkpoint of the audit.');
  end if;
  return audit.checkpoint(actor.organization_id);
end
$$;

select private.publish('audit_checkpoint',
  'The heads of all of the organization''s audit chains, for a super_admin to keep outside this database. '
  'verify_audit compares with it.'
);

create function private.verify_audit(checkpoint jsonb default null)
returns table (chain_id uuid, seq bigint, event_id uuid, problem text)
language plpgsql
stable
security definer
set search_path = ''
as $$
#variable_conflict use_column
declare
  actor private.actor := private.require_actor();
begin
  if actor.role <> 'super_admin' then
    perform private.raise_refusal(403, 'FORBIDDEN', 'Only a super_admin verifies the audit.');
  elsif checkpoint is not null and audit.checkpoint_is_valid(checkpoint) is not true then
    perform private.raise_invalid(private.issue('checkpoint', 'must be what audit_checkpoint returned'));
  end if;
  return query
  select found.chain_id, found.seq, found.event_id, found.problem
  from audit.verify(actor.organization_id) as found
  union all
  select compared.chain_id, compared.seq, null::uuid, compared.problem
  from (
    -- Of her organization only, whatever it was taken of.
    select verify_audit.checkpoint || jsonb_build_object('organizationId', actor.organization_id) as kept
    where verify_audit.checkpoint is not null
  ) as given
  cross join lateral audit.verify_checkpoint(given.kept) as compared
  where compared.organization_id = actor.organization_id
  order by 1, 2;
end
$$;

select private.publish('verify_audit',
  'Recomputes every chain of the organization''s audit and names the first bad event of each; with a checkpoint that was '
  'kept elsewhere, also what was cut off or rewritten before it. No row: all is as it was written. For a super_admin.'
);
