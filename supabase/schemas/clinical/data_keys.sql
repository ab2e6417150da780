-- Purpose: the keys that seal PHI, as the database may know them: wrapped.
-- Objects: private.data_keys, private.is_sealed, private.active_data_key, private.unproven, start_data_key.
-- Watch for: edge functions seal and open; the database sees neither plaintext nor a usable key. A wrapped key opens only
--            with a master key from the functions' secrets. Keys are never deleted: old content, and the audit events
--            that hold its ciphertext, need them as long as they are kept (docs/key-rotation.md).

create table private.data_keys (
  organization_id uuid not null references public.organizations (id),
  id uuid not null,
  wrapped_key text not null,
  proof text not null,
  master_key_id text not null generated always as (split_part(wrapped_key, '.', 2)) stored,
  created_at timestamptz not null default clock_timestamp(),
  created_by uuid default auth.uid(),
  rewrapped_at timestamptz,
  retired_at timestamptz,
  primary key (organization_id, id),
  -- twk1.<master key id>.<96-bit nonce>.<64-byte key and 16-byte tag>, the last two in base64url without padding.
  constraint data_keys_wrapped check (wrapped_key ~ '^twk1\.[A-Za-z0-9_-]{1,64}\.[A-Za-z0-9_-]{16}\.[A-Za-z0-9_-]{107}$')
);
comment on table private.data_keys is
  'Each organization''s data keys, wrapped by a master key that this database never sees. One is active; retired ones '
  'still open what they sealed.';
comment on column private.data_keys.proof is
  'Made by whoever holds a master key, over organization, id and wrapped_key: nobody else starts or wraps a data key.';
comment on column private.data_keys.master_key_id is 'Which master key wraps it now.';
comment on column private.data_keys.retired_at is 'Since when it seals nothing new. Null: the active key.';
create unique index data_keys_active_idx on private.data_keys (organization_id) where retired_at is null;
comment on index private.data_keys_active_idx is
  'One active key for each organization: of two functions that make the first key at once, one wins.';
alter table private.data_keys enable row level security;
create policy deny_all on private.data_keys using (false);

create function private.data_key_statement(data_key private.data_keys)
returns text[]
language sql
immutable
set search_path = ''
return array['data_keys', data_key.organization_id::text, data_key.id::text, private.text_digest(data_key.wrapped_key)];
comment on function private.data_key_statement(private.data_keys) is 'What the proof of a data key is made over.';

create function private.guard_data_key()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  if (tg_op = 'INSERT' or (new.wrapped_key, new.proof) is distinct from (old.wrapped_key, old.proof))
    and not private.proof_holds(new.proof, private.data_key_statement(new))
  then
    raise exception using
      errcode = 'check_violation',
      constraint = 'data_keys_proof',
      schema = 'private',
      table = 'data_keys',
      message = 'a data key is started and wrapped by who holds a master key';
  elsif tg_op = 'INSERT' then
    return new;
  elsif (new.organization_id, new.id, new.created_at, new.created_by)
    is distinct from (old.organization_id, old.id, old.created_at, old.created_by)
  then
    raise exception using errcode = 'check_violation', message = 'a data key may only be wrapped anew or retired';
  elsif old.retired_at is not null and new.retired_at is distinct from old.retired_at then
    raise exception using errcode = 'check_violation', message = 'a retired data key stays retired';
  end if;
  return new;
end
$$;
comment on function private.guard_data_key() is 'Trigger: a data key comes with its proof, and is wrapped anew or retired; nothing else of it changes.';
create trigger guard_data_key before insert or update on private.data_keys
  for each row execute function private.guard_data_key();
create trigger refuse_delete before delete or truncate on private.data_keys
  for each statement execute function private.refuse_delete();

create function private.record_data_key_change()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  perform private.record_event(
    new.organization_id,
    case
      when tg_op = 'INSERT' then 'data_key.created'
      when new.retired_at is distinct from old.retired_at then 'data_key.retired'
      else 'data_key.rewrapped'
    end,
    'data_key', array[new.id], clock_timestamp(),
    before => case
      when tg_op = 'UPDATE' then jsonb_build_object('masterKeyId', old.master_key_id, 'retiredAt', old.retired_at)
    end,
    after => jsonb_build_object('masterKeyId', new.master_key_id, 'retiredAt', new.retired_at)
  );
  return null;
end
$$;
comment on function private.record_data_key_change() is
  'Trigger: one event for each key made, wrapped anew or retired. Not the key, wrapped or otherwise.';
create trigger record_data_key_change after insert or update on private.data_keys
  for each row execute function private.record_data_key_change();

create function private.is_sealed(ciphertext text, data_key_id uuid)
returns boolean
language plpgsql
immutable
set search_path = ''
as $$
begin
  return length(ciphertext) <= 400000
    and ciphertext ~ ('^tsb1\.' || data_key_id::text || '\.[A-Za-z0-9_-]{16}\.[A-Za-z0-9_-]{22,}$');
end
$$;
comment on function private.is_sealed(text, uuid) is
  'Whether a text is an envelope sealed with this data key: tsb1.<data key id>.<96-bit nonce>.<ciphertext and tag>, the '
  'last two in base64url without padding. What a column of sealed content admits; never plaintext.';

create function private.active_data_key(organization_id uuid)
returns jsonb
language sql
stable
set search_path = ''
return (
  select jsonb_build_object('keyId', data_key.id, 'wrappedKey', data_key.wrapped_key)
  from private.data_keys as data_key
  where data_key.organization_id = active_data_key.organization_id and data_key.retired_at is null
);
comment on function private.active_data_key(uuid) is
  'The wrapped key that seals an organization''s new content, {keyId, wrappedKey}; null before the first is made.';

create function private.require_sealed(ciphertext text, organization_id uuid)
returns void
language plpgsql
stable
set search_path = ''
as $$
begin
  if not exists (
    select from private.data_keys as data_key
    where data_key.organization_id = require_sealed.organization_id
      -- A request that fetched the key just before it was retired may still finish.
      and (data_key.retired_at is null or data_key.retired_at > clock_timestamp() - interval '1 minute')
      and data_key.id::text = split_part(ciphertext, '.', 2)
      and private.is_sealed(ciphertext, data_key.id)
  ) then
    perform private.raise_invalid(private.issue('ciphertext', 'must be sealed with the organization''s active data key'));
  end if;
end
$$;
comment on function private.require_sealed(text, uuid) is 'PT400 unless this is an envelope of the organization.';

create function private.unproven(proof text)
returns jsonb
language sql
stable
set search_path = ''
return case
  when private.knows_proof_key(proof) then private.refusal(
    403, 'FORBIDDEN', 'Sealed content is saved through the edge functions, which prove that they sealed it.'
  )
  else private.refusal(
    500, 'CONTENT_UNREADABLE', 'The attestation key of these functions is not installed in the database: run keys:rotate.'
  )
end;
comment on function private.unproven(text) is
  'The outcome of a request whose proof does not hold: 403, or 500 when the operator has not installed its key.';

create domain private.wrapped_key as text
  check (value ~ '^twk1\.[A-Za-z0-9_-]{1,64}\.[A-Za-z0-9_-]{16}\.[A-Za-z0-9_-]{107}$');
comment on domain private.wrapped_key is 'must be a wrapped data key';

create domain private.proof as text check (value ~ '^tsp1\.[A-Za-z0-9_-]{1,64}\.[A-Za-z0-9_-]{43}$');
comment on domain private.proof is 'must be a proof of the edge functions';

create domain private.hex_digest as text check (value ~ '^[0-9a-f]{64}$');
comment on domain private.hex_digest is 'must be 64 hexadecimal digits in lower case';

create domain private.base_version as integer check (value between 0 and 1000000);
comment on domain private.base_version is 'must be a whole number from 0 to 1000000';

create type private.data_key_request as (key_id uuid, wrapped_key private.wrapped_key, proof private.proof);
comment on type private.data_key_request is 'The request of start_data_key.';
select private.make_readable('{data_key_request}');

create function private.start_data_key(request jsonb, request_id text default null)
returns jsonb
language plpgsql
security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '5s'
as $$
declare
  actor private.actor := private.begin_request(request_id);
  wanted private.data_key_request :=
    private.read_request(request, null::private.data_key_request, '{key_id,wrapped_key,proof}');
  made private.data_keys;
  unproven jsonb;
begin
  if actor.role = 'client' then
    return private.refuse(actor, 'data_key.refused', '{}', 'FORBIDDEN', 'Only staff seal content.');
  end if;
  made.organization_id := actor.organization_id;
  made.id := wanted.key_id;
  made.wrapped_key := wanted.wrapped_key;
  made.proof := wanted.proof;
  if not private.proof_holds(made.proof, private.data_key_statement(made)) then
    unproven := private.unproven(made.proof);
    return private.refuse(actor, 'data_key.refused', '{}', unproven ->> 'code', unproven ->> 'detail');
  end if;

  -- Two functions that need an organization's first key would each seal with their own: the second waits here for the
  -- first, inserts nothing, and is given the first one's key.
  insert into private.data_keys (organization_id, id, wrapped_key, proof)
  values (made.organization_id, made.id, made.wrapped_key, made.proof)
  on conflict do nothing;
  return private.success(jsonb_build_object('key', private.active_data_key(actor.organization_id)));
exception
  when lock_not_available or deadlock_detected or serialization_failure or query_canceled then
    perform private.raise_busy(sqlstate, sqlerrm);
end
$$;
comment on function private.start_data_key(jsonb, text) is
  'Keeps an organization''s first data key, and answers the one that seals from now on: this one, or another function''s '
  'that was sooner. Staff only, and only with the proof of the functions. An organization that has an active key keeps it: keys:rotate starts the next.';

select private.publish('start_data_key',
  'For the edge functions: keeps an organization''s first data key, wrapped. request is {key_id, wrapped_key, proof}.'
);
