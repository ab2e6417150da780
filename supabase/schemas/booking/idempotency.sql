-- Purpose: a retried request has one effect, and gets the first answer again.
-- Objects: private.idempotency_keys, private.find_replay, private.keep_answer, private.kept.
-- Watch for: a key is stored in the transaction of its effect, only when the request succeeded. Refusals keep no key.

create table private.idempotency_keys (
  organization_id uuid not null references public.organizations (id),
  user_id uuid not null,
  endpoint text not null check (endpoint in (
    'sessions-hold', 'sessions-confirm', 'sessions-cancel', 'session-notes', 'client-details', 'add-staff-time',
    'extend-series'
  )),
  idempotency_key text not null check (length(idempotency_key) between 1 and 255),
  fingerprint bytea not null,
  status smallint not null,
  response jsonb not null,
  hold_batch_id uuid,
  created_at timestamptz not null,
  primary key (organization_id, user_id, endpoint, idempotency_key)
);
comment on table private.idempotency_keys is
  'Answers to be replayed, scoped to organization, user and endpoint, for 24 hours. Holds no PHI.';
comment on column private.idempotency_keys.fingerprint is 'SHA-256 of the validated, defaulted, expanded request.';
comment on column private.idempotency_keys.hold_batch_id is
  'The batch a sessions-hold answer speaks of: the key lapses once any of that batch is released or expires unconfirmed.';
create index idempotency_keys_created_at_idx on private.idempotency_keys (created_at);
alter table private.idempotency_keys enable row level security;
create policy deny_all on private.idempotency_keys using (false);

create function private.fingerprint(request jsonb)
returns bytea
language plpgsql
immutable
set search_path = ''
as $$
begin
  return sha256(convert_to(request::text, 'UTF8'));
end
$$;
comment on function private.fingerprint(jsonb) is 'SHA-256 of a normalised request; jsonb text is canonical.';

create function private.find_replay(
  organization_id uuid,
  user_id uuid,
  endpoint text,
  idempotency_key text,
  fingerprint bytea
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  kept private.idempotency_keys;
  as_of timestamptz;
begin
  if idempotency_key is null then
    return null;
  end if;
  if length(idempotency_key) not between 1 and 255 then
    perform private.raise_invalid(private.issue('Idempotency-Key', 'must have 1 to 255 characters'));
  end if;

  -- Two duplicates in flight would both find no kept answer and both take effect: the second waits here until the
  -- first has committed, and then finds its answer. First lock of every path. Of a SHA-256: a caller chooses the key, and
  -- must not find one whose lock is another organization's.
  perform pg_advisory_xact_lock(
    hashtextextended(
      encode(sha256(convert_to(format('%s/%s/%s/%s', organization_id, user_id, endpoint, idempotency_key), 'UTF8')), 'hex'), 1
    )
  );
  as_of := clock_timestamp();

  select * into kept
  from private.idempotency_keys as candidate
  where candidate.organization_id = find_replay.organization_id
    and candidate.user_id = find_replay.user_id
    and candidate.endpoint = find_replay.endpoint
    and candidate.idempotency_key = find_replay.idempotency_key;
  if not found then
    return null;
  end if;

  if kept.created_at <= as_of - interval '24 hours'
    -- A replay never hands out a key that is over: once any of the hold was released or has expired, it is made anew.
    or (kept.hold_batch_id is not null and exists (
      select 1
      from public.session_holds as hold
      join public.hold_batches as batch
        on batch.organization_id = hold.organization_id and batch.id = hold.batch_id
      where hold.organization_id = kept.organization_id
        and hold.batch_id = kept.hold_batch_id
        and (hold.status in ('released', 'expired') or (hold.status = 'held' and batch.expires_at <= as_of))
    ))
  then
    delete from private.idempotency_keys as lapsed
    where lapsed.organization_id = kept.organization_id
      and lapsed.user_id = kept.user_id
      and lapsed.endpoint = kept.endpoint
      and lapsed.idempotency_key = kept.idempotency_key;
    return null;
  end if;

  if kept.fingerprint <> find_replay.fingerprint then
    return jsonb_build_object(
      'ok', false, 'status', 422, 'code', 'IDEMPOTENCY_KEY_REUSED',
      'detail', 'This Idempotency-Key was used for a different request. Send a new key with a new request.'
    );
  end if;
  return jsonb_build_object('ok', true, 'status', kept.status, 'replayed', true, 'body', kept.response);
end
$$;
comment on function private.find_replay(uuid, uuid, text, text, bytea) is
  'The kept answer for this key, the 422 outcome when the key belongs to another request, or null: then go on, and '
  'the key is locked until the transaction ends.';

create function private.keep_answer(
  organization_id uuid,
  user_id uuid,
  endpoint text,
  idempotency_key text,
  fingerprint bytea,
  response jsonb,
  hold_batch_id uuid default null
)
returns void
language plpgsql
set search_path = ''
as $$
#variable_conflict use_column
begin
  insert into private.idempotency_keys (
    organization_id, user_id, endpoint, idempotency_key, fingerprint, status, response, hold_batch_id, created_at
  )
  select keep_answer.organization_id, keep_answer.user_id, keep_answer.endpoint, keep_answer.idempotency_key,
    keep_answer.fingerprint, 200, keep_answer.response, keep_answer.hold_batch_id, clock_timestamp()
  where keep_answer.idempotency_key is not null;
end
$$;
comment on function private.keep_answer(uuid, uuid, text, text, bytea, jsonb, uuid) is
  'Stores a successful answer under its key, in the transaction of its effect. Without a key: nothing.';

create function private.kept(
  actor private.actor,
  endpoint text,
  idempotency_key text,
  fingerprint bytea,
  outcome jsonb
)
returns jsonb
language plpgsql
set search_path = ''
as $$
begin
  if idempotency_key is not null and (outcome ->> 'ok')::boolean then
    perform private.keep_answer(
      actor.organization_id, actor.user_id, endpoint, idempotency_key, fingerprint, outcome -> 'body',
      case when endpoint = 'sessions-hold' then (outcome #>> '{body,holdId}')::uuid end
    );
  end if;
  return outcome;
end
$$;
comment on function private.kept(private.actor, text, text, bytea, jsonb) is
  'The outcome, whose answer is kept under the key when it is one to be kept.';
