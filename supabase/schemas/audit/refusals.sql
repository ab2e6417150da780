-- Purpose: refused requests, and reads of what is sealed, leave a bounded trace and come at a bounded rate.
-- Objects: private.rate_limits, private.note_refusal, private.check_rate, private.require_rate, private.trace_ids.
-- Watch for: the audit itself is what is counted: a caller's refusals, or reads, of the last minute, by an index that has
--            nothing else. A booking that succeeds neither writes nor reads anything for it. Calls that raise (malformed
--            input, no membership) leave nothing and are not counted; limits before the database are the gateway's.

create table private.rate_limits (
  kind text primary key check (kind in ('refusals', 'reads')),
  per_minute integer not null check (per_minute between 1 and 1000000)
);
comment on table private.rate_limits is
  'How many a caller may have in any 60 seconds: refused requests, reads of sealed content. The operator changes them.';
insert into private.rate_limits (kind, per_minute) values ('refusals', 1000), ('reads', 300);
alter table private.rate_limits enable row level security;
create policy deny_all on private.rate_limits using (false);
comment on policy deny_all on private.rate_limits is 'Read by functions, written by the operator.';

create index events_refusals_idx on audit.events (actor_user_id, recorded_at) where outcome = 'refused';
create index events_reads_idx on audit.events (actor_user_id, recorded_at)
  where action in ('note.read', 'note.history_read', 'client_details.read', 'client_names.read');

create function private.check_rate(kind text)
returns jsonb
language plpgsql
stable
set search_path = ''
as $$
declare
  caller_id uuid := auth.uid();
  as_of timestamptz := clock_timestamp();
  most integer;
  earliest timestamptz;
begin
  -- Nobody who signs in: SQL and the secret key are not limited.
  if caller_id is null then
    return null;
  end if;
  select rate_limit.per_minute into most from private.rate_limits as rate_limit where rate_limit.kind = check_rate.kind;
  -- The most-th newest of the last minute: once it is a minute old, there is room for one more. Bounded on both sides, so
  -- that no partition of later events is looked at.
  if check_rate.kind = 'refusals' then
    select event.recorded_at into earliest
    from audit.events as event
    where event.actor_user_id = caller_id
      and event.outcome = 'refused'
      and event.recorded_at > as_of - interval '1 minute' and event.recorded_at <= as_of
    order by event.recorded_at desc
    offset most - 1
    limit 1;
  else
    select event.recorded_at into earliest
    from audit.events as event
    where event.actor_user_id = caller_id
      and event.action in ('note.read', 'note.history_read', 'client_details.read', 'client_names.read')
      and event.recorded_at > as_of - interval '1 minute' and event.recorded_at <= as_of
    order by event.recorded_at desc
    offset most - 1
    limit 1;
  end if;
  if earliest is null then
    return null;
  end if;
  return jsonb_build_object(
    'ok', false, 'status', 429, 'code', 'TOO_MANY_REQUESTS',
    'detail', 'Too many requests of yours were refused, or read sealed content, in the last minute.',
    'retryAfterSeconds', greatest(1, ceil(extract(epoch from earliest + interval '1 minute' - as_of)))::integer
  );
end
$$;
comment on function private.check_rate(text) is
  'The outcome TOO_MANY_REQUESTS, with the seconds to wait, for a caller who had too many refusals or reads (the argument) '
  'in the last minute; null for everybody else.';

create function private.require_rate(kind text)
returns void
language plpgsql
stable
set search_path = ''
as $$
declare
  exceeded jsonb := private.check_rate(kind);
begin
  if exceeded is not null then
    perform private.raise_refusal(429, exceeded ->> 'code', exceeded ->> 'detail', exceeded ->> 'retryAfterSeconds');
  end if;
end
$$;
comment on function private.require_rate(text) is
  'As private.check_rate, for functions that return rows: raises PT429, with the seconds to wait as its detail.';

create function private.trace_ids(ids uuid[])
returns uuid[]
language plpgsql
immutable
set search_path = ''
as $$
begin
  return coalesce(ids[1:5], '{}');
end
$$;
comment on function private.trace_ids(uuid[]) is 'The first few ids of a refused request: enough to find it by.';

create function private.note_refusal(
  organization_id uuid,
  action text,
  entity text,
  entity_ids uuid[],
  code text,
  actor_role text default null,
  therapist_id uuid default null,
  details jsonb default null,
  may_never boolean default false
)
returns jsonb
language plpgsql
security definer
set search_path = ''
as $$
declare
  exceeded jsonb := private.check_rate('refusals');
  named integer := coalesce(cardinality(entity_ids), 0);
  kept uuid[] := case when may_never then '{}' else private.trace_ids(entity_ids) end;
begin
  if exceeded is not null then
    return exceeded;
  end if;
  perform private.record_event(
    note_refusal.organization_id, note_refusal.action, note_refusal.entity, kept, clock_timestamp(),
    therapist_id => note_refusal.therapist_id,
    actor_role => note_refusal.actor_role,
    outcome => 'refused',
    code => note_refusal.code,
    details => case
      when named > cardinality(kept) then coalesce(note_refusal.details, '{}') || jsonb_build_object('named', named)
      else note_refusal.details
    end
  );
  return null;
end
$$;
comment on function private.note_refusal(uuid, text, text, uuid[], text, text, uuid, jsonb, boolean) is
  'Writes the event of a refused request, with at most five of the ids it named and how many there were; none of a role '
  'that may never do this (may_never). Null, or the outcome TOO_MANY_REQUESTS to answer instead: then nothing is written. '
  'Use it as: return coalesce(private.note_refusal(…), private.refusal(…)).';
