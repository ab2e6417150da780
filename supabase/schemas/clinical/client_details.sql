-- Purpose: what identifies a client (name, birth date, contacts, guardians, address), sealed by the client-details edge
--          function, every version kept.
-- Objects: private.client_detail_versions; prepare_client_details, save_client_details, read_client_details,
--          read_client_names.
-- Watch for: no table grant; every read goes through a function that records it. Admins write; therapists read their
--            caseload's, users of role client their own.

create table private.client_detail_versions (
  organization_id uuid not null,
  client_id uuid not null,
  id uuid not null,
  version bigint not null check (version > 0),
  data_key_id uuid not null,
  ciphertext text not null,
  proof text not null,
  saved_by uuid not null,
  saved_at timestamptz not null default clock_timestamp(),
  primary key (organization_id, id),
  unique (organization_id, client_id, version),
  foreign key (organization_id, client_id) references public.clients (organization_id, id),
  foreign key (organization_id, data_key_id) references private.data_keys (organization_id, id),
  constraint client_detail_versions_sealed check (private.is_sealed(ciphertext, data_key_id))
);
comment on table private.client_detail_versions is
  'Every version of every client''s identifying details, sealed as one JSON. Rows are inserted and never changed.';
comment on column private.client_detail_versions.id is
  'Made before sealing: the envelope is bound to it, to the client, the organization and this column.';
comment on column private.client_detail_versions.proof is
  'Made by the edge function that sealed the content, over this row, its client, version, author and ciphertext.';
create index client_detail_versions_data_key_idx on private.client_detail_versions (organization_id, data_key_id);
alter table private.client_detail_versions enable row level security;
create policy deny_all on private.client_detail_versions using (false);

create function private.client_detail_statement(detail private.client_detail_versions)
returns text[]
language sql
immutable
set search_path = ''
return array[
  'client_detail_versions', detail.organization_id::text, detail.client_id::text, detail.id::text, detail.version::text,
  detail.saved_by::text, private.text_digest(detail.ciphertext)
];
comment on function private.client_detail_statement(private.client_detail_versions) is
  'What the proof of a version of a client''s details is made over.';

create function private.guard_client_detail_version()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  -- Two savers of one client's details would both take the next version.
  perform 1
  from public.clients as client
  where client.organization_id = new.organization_id and client.id = new.client_id
  for no key update;
  if new.version <> 1 + (
    select count(*)
    from private.client_detail_versions as earlier
    where earlier.organization_id = new.organization_id and earlier.client_id = new.client_id
  ) then
    raise exception using
      errcode = 'check_violation', message = 'versions of a client''s details follow one another without a gap';
  elsif not private.proof_holds(new.proof, private.client_detail_statement(new)) then
    raise exception using
      errcode = 'check_violation',
      constraint = 'client_detail_versions_proof',
      schema = 'private',
      table = 'client_detail_versions',
      message = 'a version of a client''s details needs the proof of the function that sealed it';
  end if;
  return new;
end
$$;
comment on function private.guard_client_detail_version() is 'Trigger: versions are 1, 2, 3 and so on for each client, each with its proof.';

create function private.client_detail_facts(detail private.client_detail_versions)
returns jsonb
language sql
immutable
set search_path = ''
return jsonb_build_object(
  'versionId', detail.id, 'version', detail.version, 'dataKeyId', detail.data_key_id,
  'sha256', encode(sha256(convert_to(detail.ciphertext, 'UTF8')), 'hex')
);
comment on function private.client_detail_facts(private.client_detail_versions) is
  'What the audit says of a version: which it is, and the SHA-256 of its ciphertext.';

create function private.record_client_detail_version()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  earlier private.client_detail_versions;
begin
  select * into earlier
  from private.client_detail_versions as detail
  where detail.organization_id = new.organization_id
    and detail.client_id = new.client_id
    and detail.version = new.version - 1;
  perform private.record_event(
    new.organization_id, 'client_details.saved', 'client', array[new.client_id, new.id], new.saved_at,
    before => case when earlier.id is not null then private.client_detail_facts(earlier) end,
    after => private.client_detail_facts(new) || jsonb_build_object('ciphertext', new.ciphertext)
  );
  return null;
end
$$;
comment on function private.record_client_detail_version() is
  'Trigger: one event for each version, with its ciphertext; of the version before, its id and digest.';

create trigger a_guard_client_detail_version before insert on private.client_detail_versions
  for each row execute function private.guard_client_detail_version();
create trigger record_client_detail_version after insert on private.client_detail_versions
  for each row execute function private.record_client_detail_version();
create trigger refuse_update before update on private.client_detail_versions
  for each row execute function private.refuse_update();
create trigger refuse_delete before delete or truncate on private.client_detail_versions
  for each statement execute function private.refuse_delete();

-- Requests -----------------------------------------------------------------------------------------------------------

create function private.refuse_client_details(
  actor private.actor, client_ids uuid[], attempted text, code text, detail text
)
returns jsonb
language sql
set search_path = ''
return private.refuse(
  actor, 'client_details.refused', client_ids, code, detail, details => jsonb_build_object('attempted', attempted),
  may_never => attempted = 'save' and actor.role not in ('admin', 'super_admin')
);
comment on function private.refuse_client_details(private.actor, uuid[], text, text, text) is
  'As private.refuse, of clients'' details, which only admins save.';

create function private.readable_client_ids(actor private.actor, client_ids uuid[])
returns uuid[]
language sql
stable
set search_path = ''
return array(
  select client.id
  from public.clients as client
  where client.organization_id = actor.organization_id
    and client.id = any (client_ids)
    and (
      actor.role in ('admin', 'super_admin')
      or client.id = any ((
        select case actor.role
          when 'therapist' then private.caseload_client_ids() when 'client' then private.own_client_ids()
        end
      )::uuid[])
    )
  order by array_position(client_ids, client.id)
);
comment on function private.readable_client_ids(private.actor, uuid[]) is
  'Which of these clients'' details the caller may read, in their order: admins all, therapists their caseload''s, clients '
  'their own.';

create function private.detail_answer(detail private.client_detail_versions)
returns jsonb
language sql
immutable
set search_path = ''
return jsonb_build_object(
  'clientId', detail.client_id, 'versionId', detail.id, 'version', detail.version,
  'savedAt', private.iso(detail.saved_at)
);
comment on function private.detail_answer(private.client_detail_versions) is
  'A version as it is answered, without its content. Not who saved it: parents read this too.';

create domain private.detail_client_ids as uuid[] check (cardinality(value) between 1 and 100);
comment on domain private.detail_client_ids is 'must have 1 to 100 items';

create type private.client_details_request as (
  client_id uuid,
  client_ids private.detail_client_ids,
  version private.record_version,
  id uuid,
  base_version private.base_version,
  ciphertext text,
  content_mac private.hex_digest,
  proof private.proof
);
comment on type private.client_details_request is 'A request about clients'' details, each field within its bounds.';
select private.make_readable('{client_details_request}');

create function private.prepare_client_details(request jsonb, request_id text default null)
returns jsonb
language plpgsql
security definer
set search_path = ''
set timezone = 'UTC'
as $$
declare
  actor private.actor := private.begin_request(request_id);
  wanted private.client_details_request :=
    private.read_request(request, null::private.client_details_request, '{client_id}');
begin
  if actor.role not in ('admin', 'super_admin')
    or cardinality(private.readable_client_ids(actor, array[wanted.client_id])) = 0
  then
    return private.refuse_client_details(
      actor, array[wanted.client_id], 'save', 'FORBIDDEN', 'Only admins save the details of their organization''s clients.'
    );
  end if;
  return private.success(jsonb_build_object(
    'organizationId', actor.organization_id,
    'authorId', actor.user_id,
    'key', private.active_data_key(actor.organization_id)
  ));
end
$$;
comment on function private.prepare_client_details(jsonb, text) is
  'What sealing a client''s details takes: the wrapped active key (null before an organization''s first). Admins only; '
  'others are refused, and that is recorded.';

create function private.save_client_details(request jsonb, idempotency_key text default null, request_id text default null)
returns jsonb
language plpgsql
security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '5s'
as $$
declare
  actor private.actor := private.begin_request(request_id);
  wanted private.client_details_request := private.read_request(
    request, null::private.client_details_request, '{client_id,id,base_version,ciphertext,content_mac,proof}'
  );
  fingerprint bytea;
  outcome jsonb;
  latest_version integer;
  saved private.client_detail_versions;
begin
  perform private.require_sealed(wanted.ciphertext, actor.organization_id);
  if actor.role not in ('admin', 'super_admin')
    or cardinality(private.readable_client_ids(actor, array[wanted.client_id])) = 0
  then
    return private.refuse_client_details(
      actor, array[wanted.client_id], 'save', 'FORBIDDEN', 'Only admins save the details of their organization''s clients.'
    );
  end if;
  -- Each sealing gives another ciphertext: what makes two requests the same is the keyed digest of their content.
  fingerprint := private.fingerprint(jsonb_build_object(
    'clientId', wanted.client_id, 'baseVersion', wanted.base_version, 'contentMac', wanted.content_mac
  ));
  outcome := private.find_replay(actor.organization_id, actor.user_id, 'client-details', idempotency_key, fingerprint);
  if outcome is not null then
    return outcome;
  end if;

  -- Two savers of one client's details would both build on the same version.
  perform 1
  from public.clients as client
  where client.organization_id = actor.organization_id and client.id = wanted.client_id
  for no key update;
  -- Asked again: she may have been removed or demoted while this waited.
  actor := private.require_actor();
  if actor.role not in ('admin', 'super_admin')
    or cardinality(private.readable_client_ids(actor, array[wanted.client_id])) = 0
  then
    return private.refuse_client_details(
      actor, array[wanted.client_id], 'save', 'FORBIDDEN', 'Only admins save the details of their organization''s clients.'
    );
  end if;
  select coalesce(max(detail.version), 0) into latest_version
  from private.client_detail_versions as detail
  where detail.organization_id = actor.organization_id and detail.client_id = wanted.client_id;
  if wanted.base_version <> latest_version then
    return private.refuse_client_details(
      actor, array[wanted.client_id], 'save', 'DETAILS_VERSION_CONFLICT',
      format('The details are at version %s, not %s. Read them again and save on top.', latest_version, wanted.base_version)
    );
  end if;

  saved.organization_id := actor.organization_id;
  saved.client_id := wanted.client_id;
  saved.id := wanted.id;
  saved.version := latest_version + 1;
  saved.data_key_id := split_part(wanted.ciphertext, '.', 2)::uuid;
  saved.ciphertext := wanted.ciphertext;
  saved.proof := wanted.proof;
  saved.saved_by := actor.user_id;
  saved.saved_at := clock_timestamp();
  if not private.proof_holds(saved.proof, private.client_detail_statement(saved)) then
    outcome := private.unproven(saved.proof);
    return private.refuse_client_details(
      actor, array[wanted.client_id], 'save', outcome ->> 'code', outcome ->> 'detail'
    );
  end if;
  insert into private.client_detail_versions select saved.*;

  outcome := jsonb_build_object('client', private.detail_answer(saved));
  perform private.keep_answer(
    actor.organization_id, actor.user_id, 'client-details', idempotency_key, fingerprint, outcome
  );
  return private.success(outcome);
exception
  when unique_violation then
    perform private.raise_invalid(private.issue('id', 'is the id of an earlier version'));
  when lock_not_available or deadlock_detected or serialization_failure or query_canceled then
    perform private.raise_busy(sqlstate, sqlerrm);
end
$$;
comment on function private.save_client_details(jsonb, text, text) is
  'Adds a version to a client''s details. base_version is the version it builds on, 0 for none. Admins only. Returns an '
  'outcome; raises PT400, PT401, PT403, PT503.';

create function private.each_once(ids uuid[])
returns uuid[]
language sql
immutable
set search_path = ''
return array(
  select item.id from unnest(ids) with ordinality as item (id, position) group by item.id order by min(item.position)
);
comment on function private.each_once(uuid[]) is 'Ids, each once, in their order.';

create function private.read_client_details(only_names boolean, request jsonb, request_id text default null)
returns jsonb
language plpgsql
security definer
set search_path = ''
set timezone = 'UTC'
as $$
declare
  actor private.actor := private.begin_request(request_id);
  wanted private.client_details_request :=
    private.read_request(request, null::private.client_details_request, '{client_ids}');
  wanted_ids uuid[] := private.each_once(wanted.client_ids);
  readable_ids uuid[];
  other_ids uuid[];
  exceeded jsonb;
  body jsonb;
begin
  if wanted.version is not null and cardinality(wanted.client_ids) > 1 and not only_names then
    perform private.raise_invalid(private.issue('version', 'goes with one client'));
  end if;
  exceeded := private.check_rate('reads');
  if exceeded is not null then
    return exceeded;
  end if;
  readable_ids := private.readable_client_ids(actor, wanted_ids);
  other_ids := array(
    select item.client_id
    from unnest(wanted_ids) with ordinality as item (client_id, position)
    where item.client_id <> all (readable_ids)
    order by item.position
  );
  if other_ids <> '{}' and not only_names then
    return private.refuse_client_details(
      actor, wanted_ids, 'read', 'FORBIDDEN', 'You may not read the details of every client this names.'
    );
  end if;

  with chosen as (
    select item.position, item.client_id, detail
    from unnest(readable_ids) with ordinality as item (client_id, position)
    left join lateral (
      select kept.*
      from private.client_detail_versions as kept
      where kept.organization_id = actor.organization_id
        and kept.client_id = item.client_id
        and (wanted.version is null or only_names or kept.version = wanted.version)
      order by kept.version desc
      limit 1
    ) as detail on true
  )
  select jsonb_build_object(
    'organizationId', actor.organization_id,
    'clients', coalesce(jsonb_agg(
      jsonb_build_object(
        'clientId', chosen.client_id, 'versionId', (chosen.detail).id, 'version', (chosen.detail).version,
        'savedAt', private.iso((chosen.detail).saved_at), 'ciphertext', (chosen.detail).ciphertext
      )
      order by chosen.position
    ), '[]'),
    'keys', coalesce((
      select jsonb_agg(jsonb_build_object('keyId', data_key.id, 'wrappedKey', data_key.wrapped_key))
      from private.data_keys as data_key
      where data_key.organization_id = actor.organization_id
        and data_key.id in (select (used.detail).data_key_id from chosen as used)
    ), '[]')
  ) into body
  from chosen;
  perform private.record_event(
    actor.organization_id, case when only_names then 'client_names.read' else 'client_details.read' end, 'client',
    readable_ids, clock_timestamp(),
    actor_role => actor.role::text,
    details => jsonb_build_object('versionIds', jsonb_path_query_array(body, '$.clients[*].versionId')) || case
      when only_names then jsonb_build_object(
        'notReadable', cardinality(other_ids), 'notReadableIds', private.trace_ids(other_ids)
      )
      else '{}'
    end
  );
  return private.success(body || case
    when only_names then jsonb_build_object('notReadable', to_jsonb(other_ids)) else '{}'
  end);
end
$$;
comment on function private.read_client_details(boolean, jsonb, text) is
  'The details of 1 to 100 clients, sealed, with the wrapped keys that open them: of one version, or the newest of each; '
  'nulls where none were saved. One id out of scope refuses the whole request; only_names, for the edge function to answer '
  'names alone, lists ids out of scope and ids of nobody as notReadable instead. Recorded, refusals included.';

-- What the edge function calls ---------------------------------------------------------------------------------------

select private.publish('prepare_client_details',
  'For the edge function: what sealing a client''s details takes. request is {client_id}.'
);
select private.publish('save_client_details',
  'For the edge function: keeps a version of a client''s details, sealed. request is {client_id, base_version, id, '
  'ciphertext, content_mac, proof}.'
);
select private.publish('read_client_details', first_argument => 'false', about =>
  'For the edge function: clients'' details, sealed. request is {client_ids, version?}. Recorded.'
);
select private.publish('read_client_names', function_name => 'read_client_details', first_argument => 'true', about =>
  'For the edge function: the details of those of some clients whom the caller may read, sealed, of which it answers the '
  'names; the others'' ids. request is {client_ids}. Recorded.'
);
