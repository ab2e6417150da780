-- Purpose: proof that the edge functions made a row, which the database can check itself.
-- Objects: private.attestation_keys, private.proof_holds, private.knows_proof_key.
-- Watch for: the database cannot open what the functions seal, so it could not tell a sealed note from random bytes. A
--            proof is a MAC that only the functions, the operator and this table can make: its key is derived from a
--            master key, one way, and installed with `npm run keys:rotate -- --install`. No API role reads the table, and
--            nothing returns its keys. An owner of the database can read them: against her, see docs/audit-trail.md.

create table private.attestation_keys (
  id text primary key check (id ~ '^[A-Za-z0-9_-]{1,64}$'),
  key bytea not null check (length(key) = 32),
  installed_at timestamptz not null default clock_timestamp(),
  installed_by text not null default session_user,
  retired_at timestamptz
);
comment on table private.attestation_keys is
  'The keys of proofs, each derived from the master key of the same id by HKDF-SHA256. Never shown through the API.';
comment on column private.attestation_keys.retired_at is
  'Since when it proves nothing new. What it proved before stays. Null: in use.';
alter table private.attestation_keys enable row level security;
create policy deny_all on private.attestation_keys using (false);

create trigger guard_attestation_key before update on private.attestation_keys
  for each row
  when ((new.id, new.key, new.installed_at, new.installed_by)
    is distinct from (old.id, old.key, old.installed_at, old.installed_by))
  execute function private.refuse_write('check_violation', 'an attestation key is only retired, or used again');
create trigger refuse_delete before delete or truncate on private.attestation_keys
  for each statement execute function private.refuse_delete();

create function private.knows_proof_key(proof text)
returns boolean
language sql
stable
set search_path = ''
return exists (
  select 1
  from private.attestation_keys as candidate
  where candidate.id = split_part(proof, '.', 2) and candidate.retired_at is null
);
comment on function private.knows_proof_key(text) is
  'Whether the key that a proof names is installed and in use. If not, the operator has to install it.';

create function private.proof_holds(proof text, statement text[])
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  if proof is null or proof !~ '^tsp1\.[A-Za-z0-9_-]{1,64}\.[A-Za-z0-9_-]{43}$' or array_position(statement, null) > 0 then
    return false;
  end if;
  -- Digests are compared, so that the time of a comparison says nothing of the right MAC.
  return exists (
    select 1
    from private.attestation_keys as candidate
    where candidate.id = split_part(proof, '.', 2)
      and candidate.retired_at is null
      and sha256(extensions.hmac(convert_to(lower('tsp1|' || array_to_string(statement, '|')), 'UTF8'), candidate.key, 'sha256'))
        = sha256(decode(translate(split_part(proof, '.', 3), '-_', '+/') || '=', 'base64'))
  );
end
$$;
comment on function private.proof_holds(text, text[]) is
  'Whether a proof, tsp1.<key id>.<HMAC-SHA-256 in base64url>, is of this statement: the table, then what identifies and '
  'makes up the row, none of which may contain a |.';

create function private.text_digest(content text)
returns text
language sql
immutable
set search_path = ''
return encode(sha256(convert_to(content, 'UTF8')), 'hex');
comment on function private.text_digest(text) is 'SHA-256 of a text, in hex.';
