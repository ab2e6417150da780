-- What the stories in this folder share: a clinic with people in it, and what those people do. Runs early, by its
-- name, and stays in the test database; every story itself is one transaction that is rolled back.
--
-- People act through tests.call and its friends, with the database role and the JWT claims they have over REST, so
-- that grants, policies and functions are met as a user meets them. 'postgres', 'service_role' and 'anon' are people
-- too. Ids come from names: tests.id('rbt') is the same in every story.

create extension if not exists pgtap with schema extensions;

create or replace function tests.id(name text) returns uuid
language sql immutable set search_path = ''
as $$ select md5('therapist-sessions/' || name)::uuid $$;

create or replace function tests.add_user(name text) returns uuid
language sql set search_path = ''
as $$
  select tests.add_people(jsonb_build_array(jsonb_build_object(
    'id', tests.id(name), 'email', replace(name, ' ', '.') || '@stories.test'
  )));
  select tests.id(name)
$$;

-- Staff super, admin, bcba, rbt and rbt2 (no weekly hours: any time can be booked); parent stands for ann. Clients ann
-- and ben are on every therapist's caseload, cat and dan on nobody's. A second clinic takes a prefix: 'other '.
create or replace function tests.open_clinic(prefix text default '') returns void
language plpgsql set search_path = ''
as $$
declare
  roles constant jsonb := '{"super": "super_admin", "admin": "admin", "bcba": "therapist", "rbt": "therapist",
    "rbt2": "therapist", "parent": "client"}';
  therapists constant text[] := array['bcba', 'rbt', 'rbt2'];
begin
  perform tests.add_user(prefix || name) from jsonb_object_keys(roles) as name;
  perform tests.add_clinic(jsonb_build_object(
    'id', tests.id(prefix || 'clinic'), 'name', prefix || 'clinic', 'time_zone', 'America/Los_Angeles',
    'memberships', (
      select jsonb_agg(jsonb_build_object('user_id', tests.id(prefix || name), 'role', role))
      from jsonb_each_text(roles) as person (name, role)
    ),
    'therapists', (
      select jsonb_agg(jsonb_build_object(
        'id', tests.id(prefix || name), 'display_name', name, 'time_zone', 'America/Los_Angeles',
        'credential', case name when 'bcba' then 'BCBA' else 'RBT' end
      ))
      from unnest(therapists) as name
    ),
    'clients', (
      select jsonb_agg(jsonb_build_object('id', tests.id(prefix || name), 'reference', name))
      from unnest(array['ann', 'ben', 'cat', 'dan']) as name
    ),
    'caseloads', (
      select jsonb_agg(jsonb_build_object('therapist_id', tests.id(prefix || therapist), 'client_id', tests.id(prefix || client)))
      from unnest(therapists) as therapist, unnest(array['ann', 'ben']) as client
    ),
    'client_users', jsonb_build_array(jsonb_build_object(
      'client_id', tests.id(prefix || 'ann'), 'user_id', tests.id(prefix || 'parent')
    )),
    'rooms', (
      select jsonb_agg(jsonb_build_object('id', tests.id(prefix || name), 'name', name))
      from unnest(array['blue', 'green']) as name
    )
  ));
  -- A clinic opens in a transaction of its own; what happens in the story is sealed in the chains of its people.
  perform set_config('therapist_sessions.audit_chain', '', true);
end
$$;

-- What the functions prove about the rows they seal. Stories seal nothing, they only prove: with a key of their own.
create or replace function tests.proof(variadic statement text[]) returns text
language sql set search_path = ''
as $$
  insert into private.attestation_keys (id, key) values ('stories', sha256('stories')) on conflict do nothing;
  select 'tsp1.stories.' || translate(
    rtrim(encode(extensions.hmac(convert_to(lower('tsp1|' || array_to_string(statement, '|')), 'UTF8'), sha256('stories'), 'sha256'), 'base64'), '='),
    '+/', '-_'
  )
$$;

-- From here on, and until the story ends, rows that SQL inserts without a proof are given one.
create or replace function tests.prove_row() returns trigger
language plpgsql set search_path = ''
as $$
begin
  if new.proof is not null then
    return new;
  elsif tg_table_name = 'data_keys' then
    new.proof := tests.proof(variadic private.data_key_statement(new));
  elsif tg_table_name = 'session_note_versions' then
    new.proof := tests.proof(variadic private.note_statement(new));
  else
    new.proof := tests.proof(variadic private.client_detail_statement(new));
  end if;
  return new;
end
$$;
create or replace function tests.prove_rows() returns void
language sql set search_path = ''
as $$
  create trigger a0_prove before insert on private.data_keys for each row execute function tests.prove_row();
  create trigger a0_prove before insert on private.session_note_versions for each row execute function tests.prove_row();
  create trigger a0_prove before insert on private.client_detail_versions for each row execute function tests.prove_row();
$$;

-- Computes a chain's seals and head anew, in the order of its events, each sealed when it was recorded: what an owner of the
-- database can do to it, and how stories make chains of long ago. Switch the triggers of the audit off first.
create or replace function tests.reseal(clinic uuid, chain uuid) returns void
language sql set search_path = '' set timezone = 'UTC'
as $$
  delete from audit.seals where organization_id = clinic and chain_id = chain;
  delete from audit.chains where organization_id = clinic and chain_id = chain;
  with recursive event as (
    select row_number() over (order by recorded_at) as seq, id, recorded_at, audit.digest(to_jsonb(event)) as digest
    from audit.events as event where organization_id = clinic and chain_id = chain
  ), link as (
    select event.*, audit.link(null, digest, recorded_at) as hash from event where seq = 1
    union all
    select event.*, audit.link(link.hash, event.digest, event.recorded_at) from link join event on event.seq = link.seq + 1
  ), sealed as (
    insert into audit.seals select clinic, chain, seq, id, recorded_at, recorded_at, digest, hash from link returning seq, hash
  )
  insert into audit.chains select clinic, chain, seq, hash from sealed order by seq desc limit 1;
$$;

-- Takes on somebody's role and claims for the rest of the transaction, or of the enclosing function call.
create or replace function tests.become(person text, claims jsonb default '{}') returns void
language plpgsql set search_path = ''
as $$
begin
  if person = 'postgres' then
    perform set_config('request.jwt.claims', '', true), set_config('role', 'none', true);
  elsif person in ('anon', 'service_role') then
    perform set_config('request.jwt.claims', (jsonb_build_object('role', person) || claims)::text, true);
    perform set_config('role', person, true);
  else
    perform set_config('request.jwt.claims', (jsonb_strip_nulls(jsonb_build_object(
      'sub', tests.id(person), 'role', 'authenticated', 'session_id', tests.id(person || ' at her laptop'),
      -- Who is a member of two clinics speaks for the one she joined first.
      'org_id', (select organization_id from public.memberships where user_id = tests.id(person)
        order by organization_id <> tests.id('clinic') limit 1),
      'user_role', (select role from public.memberships where user_id = tests.id(person)
        order by organization_id <> tests.id('clinic') limit 1)
    )) || claims)::text, true);
    perform set_config('role', 'authenticated', true);
  end if;
end
$$;

-- What a statement gives somebody: its first column as JSON.
create or replace function tests.call(person text, statement text, claims jsonb default '{}') returns jsonb
language plpgsql set search_path = ''
as $$
declare
  answer jsonb;
begin
  perform tests.become(person, claims);
  execute statement into answer;
  perform set_config('role', 'none', true), set_config('request.jwt.claims', '', true);
  -- tests/setup/story.ts listens, and holds it against openapi.yaml.
  if substring(statement from '^select public\.(\w+)\(') is not null then
    raise debug 'answered %', jsonb_build_object('name', substring(statement from '^select public\.(\w+)\('), 'answer', answer);
  end if;
  return answer;
end
$$;

-- How many rows a statement reads or changes for somebody.
create or replace function tests.rows(person text, statement text, claims jsonb default '{}') returns bigint
language plpgsql set search_path = ''
as $$
declare
  touched bigint;
begin
  perform tests.become(person, claims);
  execute statement;
  get diagnostics touched = row_count;
  perform set_config('role', 'none', true), set_config('request.jwt.claims', '', true);
  return touched;
end
$$;

-- What a statement fails with, {code, message, hint, details}; null when it succeeds. Its effects are undone when it
-- fails, and stay when it does not.
create or replace function tests.error(person text, statement text, claims jsonb default '{}') returns jsonb
language plpgsql set search_path = ''
as $$
declare
  message text;
  hint text;
  details text;
begin
  perform tests.rows(person, statement, claims);
  -- A constraint that may wait until commit speaks up now.
  set constraints all immediate;
  return null;
exception
  when others then
    get stacked diagnostics message = message_text, hint = pg_exception_hint, details = pg_exception_detail;
    return jsonb_build_object('code', sqlstate, 'message', message, 'hint', hint, 'details', details);
end
$$;

create or replace function tests.error_code(person text, statement text, claims jsonb default '{}') returns text
language sql set search_path = ''
as $$ select tests.error(person, statement, claims) ->> 'code' $$;

-- Times and requests ---------------------------------------------------------------------------------------------

-- A time on a day of its own, well ahead: day 0 is forty days from now. Clocks are UTC's, so offsets are 0.
create or replace function tests.at(day integer, clock text default '10:00') returns timestamptz
language sql stable set search_path = ''
as $$ select (((now() at time zone 'UTC')::date + 40 + day) + clock::time) at time zone 'UTC' $$;

create or replace function tests.offset_of(instant timestamptz, zone text) returns integer
language sql stable set search_path = ''
as $$ select (extract(epoch from (instant at time zone zone) - (instant at time zone 'UTC')) / 60)::integer $$;

-- One window as a request writes it, with the offsets its zone has.
create or replace function tests.occurrence(
  starts timestamptz, minutes integer default 60, zone text default 'UTC', extra jsonb default '{}'
) returns jsonb
language sql stable set search_path = ''
as $$
  select jsonb_build_object(
    'start_time', starts, 'end_time', starts + make_interval(mins => minutes),
    'start_time_offset_minutes', tests.offset_of(starts, zone),
    'end_time_offset_minutes', tests.offset_of(starts + make_interval(mins => minutes), zone),
    'time_zone', zone
  ) || extra
$$;

-- The body of sessions-hold for one window.
create or replace function tests.request(
  therapist text, client text, starts timestamptz, minutes integer default 60, extra jsonb default '{}'
) returns jsonb
language sql stable set search_path = ''
as $$
  select jsonb_build_object('therapist_id', tests.id(therapist), 'client_id', tests.id(client))
    || tests.occurrence(starts, minutes) || extra
$$;

-- The body of sessions-hold for a series.
create or replace function tests.series(
  therapist text, client text, starts timestamptz[], minutes integer default 60, extra jsonb default '{}'
) returns jsonb
language sql stable set search_path = ''
as $$
  select tests.request(therapist, client, starts[1], minutes)
    || jsonb_build_object('occurrences', jsonb_agg(tests.occurrence(start, minutes) order by position))
    || extra
  from unnest(starts) with ordinality as item (start, position)
$$;

-- The body of sessions-confirm that takes a hold exactly as it was held.
create or replace function tests.confirmation(held jsonb, therapist text, client text, extra jsonb default '{}')
returns jsonb
language sql stable set search_path = ''
as $$
  with item as (
    select hold.position, jsonb_build_object(
      'hold_key', hold.value -> 'holdKey',
      'session', jsonb_build_object(
        'therapist_id', tests.id(therapist), 'client_id', tests.id(client),
        'start_time', hold.value -> 'startTime', 'end_time', hold.value -> 'endTime'
      ),
      'start_time_offset_minutes', 0, 'end_time_offset_minutes', 0, 'time_zone', 'UTC'
    ) as body
    from jsonb_array_elements(held #> '{body,holds}') with ordinality as hold (value, position)
  )
  select (array_agg(item.body order by item.position))[1]
    || jsonb_build_object('hold_key', held #> '{body,holdKey}', 'occurrences', jsonb_agg(item.body order by item.position))
    || extra
  from item
$$;

-- Payers: 'open' lets 97155 run beside 97153, 'strict' says no, 'silent' says nothing. Ann's payer is `payer`.
create or replace function tests.add_payers() returns void
language sql set search_path = ''
as $$
  select tests.add('public.payers', jsonb_agg(jsonb_build_object(
    'organization_id', tests.id('clinic'), 'id', tests.id(name), 'name', name
  )))
  from unnest(array['open', 'strict', 'silent']) as name;
  select tests.add('public.payer_concurrency_rules', jsonb_agg(jsonb_build_object(
    'organization_id', tests.id('clinic'), 'payer_id', tests.id(payer), 'first_code', '97153', 'second_code', '97155',
    'allowed', payer = 'open'
  )))
  from unnest(array['open', 'strict']) as payer
$$;

create or replace function tests.cover(client text, payer text, priority integer default 1) returns void
language sql set search_path = ''
as $$
  select tests.add('public.client_coverages', jsonb_build_array(jsonb_build_object(
    'organization_id', tests.id('clinic'), 'client_id', tests.id(client), 'payer_id', tests.id(payer),
    'priority', cover.priority
  )))
$$;

-- An authorization that began two months ago, until a hundred days after day 0 unless told.
-- Units of a set of codes, between two dates, of the payer who wants no authorization.
create or replace function tests.authorize(client text, codes text[], units integer, starts date, ends date) returns uuid
language plpgsql set search_path = ''
as $$
declare
  made uuid;
begin
  insert into public.authorizations (organization_id, client_id, payer_id, approved_units, starts_on, ends_on)
  values (tests.id('clinic'), tests.id(client), tests.id('open'), units, starts, ends)
  returning id into made;
  insert into public.authorization_codes (organization_id, authorization_id, cpt_code)
  select tests.id('clinic'), made, code from unnest(codes) as code;
  return made;
end
$$;

create or replace function tests.authorize(client text, code text, units integer, days integer default 100) returns uuid
language sql set search_path = ''
as $$
  select tests.authorize(
    client, array[code], units, tests.at(-100)::date, (tests.at(days) - interval '1 day')::date
  )
$$;

-- used/scheduled/held/left of an authorization.
create or replace function tests.balance(client text, code text default '97153') returns text
language sql stable set search_path = ''
as $$
  select format('%s/%s/%s/%s', used_units, scheduled_units, held_units, left_units)
  from reports.authorization_balances
  where client_id = tests.id(client) and code = any (cpt_codes)
$$;

-- What people do ---------------------------------------------------------------------------------------------------

create or replace function tests.hold(person text, request jsonb, key text default null) returns jsonb
language sql set search_path = ''
as $$ select tests.call(person, format('select public.hold_sessions(%L, %L, %L)', request, key, 'story')) $$;

create or replace function tests.confirm(person text, request jsonb, key text default null) returns jsonb
language sql set search_path = ''
as $$ select tests.call(person, format('select public.confirm_sessions(%L, %L, %L)', request, key, 'story')) $$;

create or replace function tests.release(person text, hold_key text, key text default null) returns jsonb
language sql set search_path = ''
as $$
  select tests.call(person, format(
    'select public.release_hold(%L, %L, %L)', jsonb_build_object('hold_key', hold_key), key, 'story'))
$$;

create or replace function tests.cancel(person text, request jsonb, key text default null) returns jsonb
language sql set search_path = ''
as $$ select tests.call(person, format('select public.cancel_sessions(%L, %L, %L)', request, key, 'story')) $$;

-- Holds and confirms; the ids of the sessions.
create or replace function tests.book(person text, therapist text, client text, starts timestamptz[], minutes integer default 60)
returns uuid[]
language plpgsql set search_path = ''
as $$
declare
  held jsonb := tests.hold(person, tests.series(therapist, client, starts, minutes));
  booked jsonb := tests.confirm(person, tests.confirmation(held, therapist, client));
begin
  if booked -> 'ok' is distinct from 'true' then
    raise exception 'could not book: % %', held, booked;
  end if;
  return array(select (session ->> 'id')::uuid from jsonb_array_elements(booked #> '{body,sessions}') as session);
end
$$;

create or replace function tests.book(person text, therapist text, client text, start timestamptz, minutes integer default 60)
returns uuid
language sql set search_path = ''
as $$ select (tests.book(person, therapist, client, array[start], minutes))[1] $$;

-- Lets a hold run out, a second ago unless told: the clock cannot be moved, so its expiry is.
create or replace function tests.expire(held jsonb, expired_at timestamptz default clock_timestamp() - interval '1 second')
returns void
language sql set search_path = ''
as $$
  update public.hold_batches set expires_at = expired_at where id = (held #>> '{body,holdId}')::uuid
$$;

-- Brings a session to where it began some time ago: the clock cannot be moved, so the session is.
create or replace function tests.bring_forward(session_id uuid, ago interval default '1 hour') returns void
language sql set search_path = ''
as $$
  update public.sessions
  set start_time = date_trunc('minute', now()) - ago, end_time = date_trunc('minute', now()) - ago + (end_time - start_time)
  where id = session_id
$$;

-- Records when a visit began and ended, as an operator: as it was booked unless told.
create or replace function tests.record_visit(session_id uuid, begun timestamptz default null, ended timestamptz default null) returns void
language sql set search_path = ''
as $$
  insert into public.session_visits (organization_id, session_id, actual_start_time, actual_end_time, other_day_reason)
  select session.organization_id, session.id, coalesce(begun, session.start_time), coalesce(ended, session.end_time), 'a story'
  from public.sessions as session where session.id = record_visit.session_id
  on conflict on constraint session_visits_pkey do update
  set actual_start_time = excluded.actual_start_time, actual_end_time = excluded.actual_end_time
$$;

-- Signs a session's note as its therapist, as session-notes would once it is sealed. Call tests.prove_rows first.
create or replace function tests.sign(session_id uuid) returns void
language plpgsql set search_path = ''
as $$
declare
  session public.sessions;
  former record;
begin
  insert into private.data_keys (organization_id, id, wrapped_key)
  values (tests.id('clinic'), tests.id('clinic key'), 'twk1.m1.AAAAAAAAAAAAAAAA.' || repeat('A', 107))
  on conflict do nothing;
  select candidate.* into session from public.sessions as candidate where candidate.id = sign.session_id;
  select coalesce(max(note.version), 0) as version, coalesce(bool_or(note.status <> 'draft'), false) as is_signed into former
  from private.session_note_versions as note where note.session_id = sign.session_id;
  insert into private.session_note_versions (
    organization_id, session_id, id, version, status, data_key_id, ciphertext, saved_by, signed_at, credential, attested
  )
  values (
    session.organization_id, session.id, gen_random_uuid(), former.version + 1,
    case when former.is_signed then 'amended' else 'signed' end,
    tests.id('clinic key'), concat_ws('.', 'tsb1', tests.id('clinic key'), 'AAAAAAAAAAAAAAAA', repeat('A', 32)),
    session.therapist_id, now(), 'RBT', private.session_facts(session)
  );
end
$$;

-- What is there ------------------------------------------------------------------------------------------------------

-- How many rows bookings have left, to see that a refused request leaves none. Audit events are counted apart.
create or replace function tests.footprint() returns jsonb
language sql stable set search_path = ''
as $$
  select jsonb_build_object(
    'batches', (select count(*) from public.hold_batches), 'holds', (select count(*) from public.session_holds),
    'sessions', (select count(*) from public.sessions), 'series', (select count(*) from public.session_series),
    'cancellations', (select count(*) from public.session_cancellations), 'claims', (select count(*) from private.claims),
    'keys', (select count(*) from private.idempotency_keys)
  )
$$;

-- The events of the story so far but for the opening of its clinics, oldest first: 'action', or 'action CODE' for refusals.
create or replace function tests.events() returns text[]
language sql stable set search_path = ''
as $$
  select coalesce(array_agg(concat_ws(' ', action, code) order by recorded_at), '{}')
  from audit.events
  where organization_id in (tests.id('clinic'), tests.id('other clinic'))
    and action !~ '\.added$'
$$;

-- Claims that should not be, or are missing, by what their rows say. Empty when all is well.
create or replace function tests.broken_claims() returns table (problem text, owner_id uuid, resource_kind public.resource_kind)
language sql stable set search_path = ''
as $$
  with owner as (
    select organization_id, id from public.sessions
    union select organization_id, id from public.session_groups
    union select organization_id, id from public.staff_times
    union select organization_id, unnest(array_remove(array[id, group_id, batch_id], null)) from public.session_holds
  ),
  expected as (
    select claim.*
    from (select organization_id, array_agg(id) as ids from owner group by organization_id) as owners
    cross join lateral unnest(private.claims_of(owners.organization_id, owners.ids, clock_timestamp())) as claim
  ),
  actual as (
    select * from private.claims where expires_at is null or expires_at > clock_timestamp()
  )
  select 'a claim that no row explains', surplus.owner_id, surplus.resource_kind
  from (select * from actual except select * from expected) as surplus
  union all
  select 'a claim that is missing', missing.owner_id, missing.resource_kind
  from (select * from expected except select * from actual) as missing
  union all
  select 'a visit''s claim that is missing, or that no visit explains', visit.session_id, visit.resource_kind
  from (
    -- What an admin let overlap claims what is left.
    select claim.*
    from (select organization_id, array_agg(id) as ids from public.sessions group by organization_id) as clinic
    cross join lateral unnest(private.visit_claims_of(clinic.organization_id, clinic.ids)) as claim
    where claim.session_id not in (select session_id from public.session_visits where overlap_reason is not null)
    except
    select * from private.visit_claims
    union all
    (
      select claim.* from private.visit_claims as claim
      where not exists (
        select from unnest(private.visit_claims_of(claim.organization_id, array[claim.session_id])) as said
        where said.resource_id = claim.resource_id and said.during @> claim.during and said.lanes @> claim.lanes
      )
    )
  ) as visit
$$;

begin;
select plan(2);
select has_schema('tests');
select is_empty('select * from tests.broken_claims()', 'the claims of the database as it stands are sound');
select * from finish();
rollback;
