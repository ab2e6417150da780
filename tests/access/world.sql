-- The people and rows that the access matrix is tried on. Runs in a transaction that is rolled back.
--
-- Clinic "here": super, admin, rbt (therapist of ann), bcba (therapist of ben), parent (of ann), other parent (of ben).
-- Clinic "there": foreign admin, foreign rbt (therapist of foreign ann), foreign parent.
-- Each table gets a row of rbt's (own), one of bcba's (other) and one there (foreign).

create schema access_matrix;
grant usage on schema access_matrix to anon, authenticated, service_role;

create function access_matrix.id(name text) returns uuid
language sql immutable set search_path = ''
as $$ select md5('access-matrix/' || name)::uuid $$;

-- Tries one statement and undoes it: ok, empty (no row), no grant, policy (row security refuses the row, or the trigger
-- that says more of why), refused (another trigger does), or the error.
create function access_matrix.attempt(statement text) returns text
language plpgsql set search_path = ''
as $$
declare
  touched bigint;
begin
  execute statement;
  get diagnostics touched = row_count;
  raise exception using errcode = 'ZZ000', message = touched;
exception
  when sqlstate 'ZZ000' then return case sqlerrm when '0' then 'empty' else 'ok' end;
  when insufficient_privilege then
    return case
      when sqlerrm like 'new row violates row-level security%' or sqlerrm like '%cannot be booked:%' then 'policy'
      else 'no grant'
    end;
  when restrict_violation then return 'refused';
  -- A view that gathers rows takes none, whoever writes.
  when object_not_in_prerequisite_state or wrong_object_type then return 'no grant';
  when others then return sqlstate || ' ' || sqlerrm;
end
$$;

-- Calls a function in an expression that yields a text, and undoes it: that text, 'raised <code>', or 'no grant'.
create function access_matrix.call(expression text) returns text
language plpgsql set search_path = ''
as $$
declare
  answer text;
  hint text;
begin
  execute 'select (' || expression || ')::text' into answer;
  raise exception using errcode = 'ZZ000', message = coalesce(answer, 'nothing');
exception
  when sqlstate 'ZZ000' then return sqlerrm;
  when insufficient_privilege then return 'no grant';
  when others then
    get stacked diagnostics hint = pg_exception_hint;
    return case when sqlstate like 'PT%' then 'raised ' || hint else sqlstate || ' ' || sqlerrm end;
end
$$;

-- What an outcome {ok, code, …} says: ok, or the code of the refusal.
create function access_matrix.outcome(answer jsonb) returns text
language sql immutable set search_path = ''
as $$ select case when answer -> 'ok' = 'true' then 'ok' else answer ->> 'code' end $$;

create function access_matrix.at(hours integer) returns timestamptz
language sql stable set search_path = ''
as $$ select date_trunc('day', now()) + make_interval(days => 40, hours => hours) $$;

grant execute on all functions in schema access_matrix to anon, authenticated, service_role;

create table access_matrix.scopes (scope text, clinic uuid, therapist uuid, client uuid, parent uuid, first_hour integer);
insert into access_matrix.scopes
select scope, access_matrix.id(clinic), access_matrix.id(therapist), access_matrix.id(client), access_matrix.id(parent), hour
from (
  values
    ('own', 'here', 'rbt', 'ann', 'parent', 0), ('other', 'here', 'bcba', 'ben', 'other parent', 0),
    ('foreign', 'there', 'foreign rbt', 'foreign ann', 'foreign parent', 0)
) as scope (scope, clinic, therapist, client, parent, hour);

select tests.add_people(jsonb_agg(jsonb_build_object('id', access_matrix.id(name), 'email', replace(name, ' ', '.') || '@matrix.test')))
from unnest(array['super', 'admin', 'rbt', 'bcba', 'parent', 'other parent', 'foreign admin', 'foreign rbt',
  'foreign parent', 'newcomer']) as name;
select tests.add_clinic(jsonb_build_object('id', access_matrix.id(clinic), 'name', clinic, 'memberships', (
  select jsonb_agg(jsonb_build_object('user_id', access_matrix.id(name), 'role', role)) from jsonb_each_text(roles) as member (name, role)
)))
from (
  values
    ('here', '{"super": "super_admin", "admin": "admin", "rbt": "therapist", "bcba": "therapist", "parent": "client",
      "other parent": "client"}'::jsonb),
    ('there', '{"foreign admin": "admin", "foreign rbt": "therapist", "foreign parent": "client"}')
) as organization (clinic, roles);
select
  tests.add('public.therapists', jsonb_agg(tenant || jsonb_build_object('id', therapist, 'display_name', scope, 'credential', 'BCBA'))),
  tests.add('public.clients', jsonb_agg(tenant || jsonb_build_object('id', client, 'reference', scope))),
  tests.add('public.clients', jsonb_agg(tenant || jsonb_build_object('id', access_matrix.id(scope || ' spare'), 'reference', scope || ' spare'))),
  tests.add('public.caseloads', jsonb_agg(tenant || jsonb_build_object('therapist_id', therapist, 'client_id', client))),
  tests.add('public.client_users', jsonb_agg(tenant || jsonb_build_object('client_id', client, 'user_id', parent))),
  tests.add('public.rooms', jsonb_agg(tenant || jsonb_build_object('id', access_matrix.id(scope || ' room'), 'name', scope)))
from access_matrix.scopes
cross join lateral jsonb_build_object('organization_id', clinic) as tenant;
insert into public.availability_exceptions (organization_id, therapist_id, kind, starts_at, ends_at)
select clinic, therapist, 'time_off', '2020-01-01Z', '2020-01-02Z' from access_matrix.scopes;
insert into public.organization_closures (organization_id, name, starts_at, ends_at)
select distinct clinic, 'New year', timestamptz '2020-01-01Z', timestamptz '2020-01-02Z' from access_matrix.scopes;

-- Sessions: one to come, one under way, one cancelled; all of one series, and a group that nobody is in.
insert into public.session_series (organization_id, id, therapist_id, client_id, recurrence_rule, time_zone, civil_start)
select clinic, access_matrix.id(scope || ' series'), therapist, client, 'FREQ=WEEKLY;COUNT=3', 'UTC',
  access_matrix.at(0) at time zone 'UTC'
from access_matrix.scopes;
insert into public.session_groups (organization_id, id, therapist_id, start_time, end_time)
select clinic, access_matrix.id(scope || ' group'), therapist, access_matrix.at(30), access_matrix.at(31) from access_matrix.scopes;
insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, series_id)
select scope.clinic, access_matrix.id(scope.scope || ' ' || session.name), scope.therapist, scope.client,
  access_matrix.at(session.hour), access_matrix.at(session.hour + 1), 'UTC', access_matrix.id(scope.scope || ' series')
from access_matrix.scopes as scope, (values ('session', 0), ('running session', 1), ('cancelled session', 2)) as session (name, hour);
-- A session begins on its own day: the running one is brought to today.
update public.sessions set start_time = now() - interval '3 hours', end_time = now() - interval '1 hour'
where id in (select access_matrix.id(scope || ' running session') from access_matrix.scopes);
update public.sessions set status = 'in_progress'
where id in (select access_matrix.id(scope || ' running session') from access_matrix.scopes);
update public.sessions set status = 'cancelled'
where id in (select access_matrix.id(scope || ' cancelled session') from access_matrix.scopes);

-- Calendar feeds of therapists, whose secret is the id of a session, and of parents.
insert into public.calendar_feeds (organization_id, id, user_id)
select clinic, access_matrix.id(scope || ' feed'), therapist from access_matrix.scopes
union all
select clinic, access_matrix.id(scope || ' parent feed'), parent from access_matrix.scopes;
insert into private.calendar_tokens (organization_id, feed_id, token_hash)
select clinic, access_matrix.id(scope || ' feed'), private.hash_token(access_matrix.id(scope || ' session')::text) from access_matrix.scopes;

-- Time without a client: one of the therapist's, and one that nobody takes part in yet.
insert into public.staff_times (organization_id, id, kind, start_time, end_time, time_zone)
select scope.clinic, access_matrix.id(scope.scope || each.name), 'meeting', access_matrix.at(each.hour), access_matrix.at(each.hour + 1), 'UTC'
from access_matrix.scopes as scope, (values (' staff time', 60), (' empty staff time', 62)) as each (name, hour);
insert into public.staff_time_members (organization_id, staff_time_id, therapist_id)
select clinic, access_matrix.id(scope || ' staff time'), therapist from access_matrix.scopes;

-- Holds that live, with keys that are known.
insert into public.hold_batches (
  organization_id, id, hold_key, therapist_id, time_zone, expires_at, created_by, created_at
)
select clinic, access_matrix.id(scope || ' batch'), access_matrix.id(scope || ' hold key'), therapist, 'UTC',
  now() + interval '10 minutes', therapist, now()
from access_matrix.scopes;
insert into public.session_holds (
  organization_id, id, batch_id, occurrence_index, hold_key, client_id, start_time, end_time, time_zone, civil_start, lanes
)
select clinic, access_matrix.id(scope || ' hold'), access_matrix.id(scope || ' batch'), 0,
  access_matrix.id(scope || ' occurrence key'), client, access_matrix.at(4), access_matrix.at(5), 'UTC',
  access_matrix.at(4) at time zone 'UTC', '{[0,2147483647)}'
from access_matrix.scopes;
-- A change of the series that was confirmed.
insert into public.hold_batches (
  organization_id, id, therapist_id, time_zone, is_move, series_id, series_change, expires_at, created_by, created_at
)
select clinic, access_matrix.id(scope || ' change'), therapist, 'UTC', true, access_matrix.id(scope || ' series'),
  '{"scope": "this", "shift_minutes": 15}', now(), therapist, now()
from access_matrix.scopes;
insert into public.session_holds (
  organization_id, id, batch_id, occurrence_index, hold_key, client_id, session_id, start_time, end_time, time_zone,
  civil_start, lanes, status, settled_at, settled_xid
)
select clinic, access_matrix.id(scope || ' changed'), access_matrix.id(scope || ' change'), 0,
  access_matrix.id(scope || ' changed key'), client, access_matrix.id(scope || ' session'), access_matrix.at(0),
  access_matrix.at(1), 'UTC', access_matrix.at(0) at time zone 'UTC', '{[0,2147483647)}', 'confirmed', now(), pg_current_xact_id()
from access_matrix.scopes;
-- Written as a booking writes them.
select set_config('therapist_sessions.within', 'booking', true);
insert into private.claims (organization_id, owner_id, resource_kind, resource_id, during, lanes, expires_at)
select scope.clinic, access_matrix.id(scope.scope || ' hold'), claim.kind::public.resource_kind, claim.id,
  tstzrange(access_matrix.at(4), access_matrix.at(5)), '{[0,2147483647)}', now() + interval '10 minutes'
from access_matrix.scopes as scope
cross join lateral (values ('therapist', scope.therapist), ('client', scope.client)) as claim (kind, id);
select set_config('therapist_sessions.within', '', true);

-- Sealed content: envelopes that only look like some, with proofs that hold.
insert into private.attestation_keys (id, key) values ('world', sha256('world'));
create function access_matrix.proof(statement text[]) returns text
language sql immutable set search_path = ''
as $$
  select 'tsp1.world.' || translate(rtrim(encode(
    extensions.hmac(convert_to(lower('tsp1|' || array_to_string(statement, '|')), 'UTF8'), sha256('world'), 'sha256'), 'base64'
  ), '='), '+/', '-_')
$$;
create function access_matrix.sealed(clinic uuid) returns text
language sql immutable set search_path = ''
as $$ select concat_ws('.', 'tsb1', access_matrix.id(clinic || ' key'), 'AAAAAAAAAAAAAAAA', repeat('A', 32)) $$;
grant execute on function access_matrix.sealed(uuid) to anon, authenticated, service_role;
create function access_matrix.prove() returns trigger
language plpgsql set search_path = ''
as $$
begin
  if tg_table_name = 'data_keys' then
    new.proof := access_matrix.proof(private.data_key_statement(new));
  elsif tg_table_name = 'session_note_versions' then
    new.proof := access_matrix.proof(private.note_statement(new));
  else
    new.proof := access_matrix.proof(private.client_detail_statement(new));
  end if;
  return new;
end $$;
create trigger a0_prove before insert on private.data_keys for each row execute function access_matrix.prove();
create trigger a0_prove before insert on private.session_note_versions for each row execute function access_matrix.prove();
create trigger a0_prove before insert on private.client_detail_versions for each row execute function access_matrix.prove();
insert into private.data_keys (organization_id, id, wrapped_key)
select distinct on (clinic) clinic, access_matrix.id(clinic || ' key'), 'twk1.m1.AAAAAAAAAAAAAAAA.' || repeat('A', 107)
from access_matrix.scopes;
insert into private.session_note_versions (organization_id, session_id, id, version, status, data_key_id, ciphertext, saved_by)
select clinic, access_matrix.id(scope || ' running session'), access_matrix.id(scope || ' note'), 1, 'draft',
  access_matrix.id(clinic || ' key'), access_matrix.sealed(clinic), therapist
from access_matrix.scopes;
insert into private.client_detail_versions (organization_id, client_id, id, version, data_key_id, ciphertext, saved_by)
select clinic, client, access_matrix.id(scope || ' details'), 1, access_matrix.id(clinic || ' key'), access_matrix.sealed(clinic),
  therapist
from access_matrix.scopes;
drop trigger a0_prove on private.data_keys;
drop trigger a0_prove on private.session_note_versions;
drop trigger a0_prove on private.client_detail_versions;

-- What the functions would send for whoever is calling, proof included.
create function access_matrix.note_request(clinic uuid, session_id uuid, status text) returns jsonb
language plpgsql security definer set search_path = ''
as $$
declare
  facts text := (
    select private.text_digest(private.session_facts(session)::text)
    from public.sessions as session
    where session.id = note_request.session_id
  );
  id uuid := gen_random_uuid();
begin
  return jsonb_build_object(
    'session_id', session_id, 'base_version', 1, 'id', id, 'ciphertext', access_matrix.sealed(clinic),
    'content_mac', repeat('0', 64), 'facts_digest', facts, 'proof', access_matrix.proof(array[
      'session_note_versions', clinic::text, session_id::text, id::text, status, '2', coalesce(auth.uid()::text, ''),
      case status when 'draft' then 'draft' else facts end, private.text_digest(access_matrix.sealed(clinic))
    ])
  );
end $$;
create function access_matrix.details_request(clinic uuid, client_id uuid) returns jsonb
language plpgsql security definer set search_path = ''
as $$
declare
  id uuid := gen_random_uuid();
begin
  return jsonb_build_object(
    'client_id', client_id, 'base_version', 1, 'id', id, 'ciphertext', access_matrix.sealed(clinic),
    'content_mac', repeat('0', 64), 'proof', access_matrix.proof(array[
      'client_detail_versions', clinic::text, client_id::text, id::text, '2', coalesce(auth.uid()::text, ''),
      private.text_digest(access_matrix.sealed(clinic))
    ])
  );
end $$;
create function access_matrix.key_request(clinic uuid) returns jsonb
language plpgsql security definer set search_path = ''
as $$
declare
  id uuid := gen_random_uuid();
  wrapped text := 'twk1.m1.AAAAAAAAAAAAAAAA.' || repeat('A', 107);
begin
  return jsonb_build_object('key_id', id, 'wrapped_key', wrapped, 'proof', access_matrix.proof(array[
    'data_keys', clinic::text, id::text, private.text_digest(wrapped)
  ]));
end $$;
grant execute on function
  access_matrix.note_request(uuid, uuid, text), access_matrix.details_request(uuid, uuid), access_matrix.key_request(uuid)
to anon, authenticated, service_role;

-- A group with a member.
insert into public.session_groups (organization_id, id, therapist_id, start_time, end_time)
select clinic, access_matrix.id(scope || ' manned group'), therapist, now() - interval '5 hours', now() - interval '4 hours'
from access_matrix.scopes;
insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, group_id, session_type)
select clinic, access_matrix.id(scope || ' member session'), therapist, client, now() - interval '5 hours', now() - interval '4 hours',
  'UTC', access_matrix.id(scope || ' manned group'), 'group'
from access_matrix.scopes;
update public.sessions set status = 'in_progress'
where id in (select access_matrix.id(scope || ' member session') from access_matrix.scopes);

insert into public.waitlist_entries (organization_id, client_id, cpt_code, windows)
select clinic, client, '97153', '{[2030-01-01,2030-01-02)}' from access_matrix.scopes;

-- A payer, her rules, and an authorization that the one session which has been attended went beyond: over the night the
-- clocks were put back. Her therapist is a technician by now.
insert into public.payers (organization_id, id, name)
select distinct clinic, access_matrix.id(clinic || ' payer'), 'Payer' from access_matrix.scopes;
insert into public.payer_rules (organization_id, payer_id, valid_from, valid_to)
select distinct clinic, access_matrix.id(clinic || ' payer'), date '2020-01-01', date '2020-12-31' from access_matrix.scopes;
insert into public.payer_code_rules (organization_id, payer_id, cpt_code, valid_from, valid_to)
select distinct clinic, access_matrix.id(clinic || ' payer'), '97153', date '2020-01-01', date '2020-12-31'
from access_matrix.scopes;
insert into public.payer_concurrency_rules (organization_id, payer_id, first_code, second_code, allowed, valid_from, valid_to)
select distinct clinic, access_matrix.id(clinic || ' payer'), '97153', '97155', true, date '2020-01-01', date '2020-12-31'
from access_matrix.scopes;
insert into public.client_coverages (organization_id, client_id, payer_id, valid_from)
select clinic, client, access_matrix.id(clinic || ' payer'), date '2020-01-01' from access_matrix.scopes;
insert into public.sessions (
  organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code
)
select clinic, access_matrix.id(scope || ' attended session'), therapist, client,
  '2025-11-02T00:30-07:00', '2025-11-02T02:30-08:00', 'America/Los_Angeles', '97155'
from access_matrix.scopes;
update public.sessions set status = 'in_progress'
where id in (select access_matrix.id(scope || ' attended session') from access_matrix.scopes);
update public.sessions set status = 'completed'
where id in (select access_matrix.id(scope || ' attended session') from access_matrix.scopes);
insert into public.session_visits (organization_id, session_id, actual_start_time, actual_end_time, units)
select clinic, access_matrix.id(scope || ' running session'), now() - interval '2 hours', now() - interval '1 hour', 4
from access_matrix.scopes;
insert into public.visit_versions (
  organization_id, session_id, version, status, therapist_id, client_id, cpt_modifiers, reason_code, corrected_by, corrected_at
)
select clinic, access_matrix.id(scope || ' running session'), 1, 'in_progress', therapist, client, '{}', 'wrong_time', therapist, now()
from access_matrix.scopes;
insert into public.authorizations (
  organization_id, id, client_id, payer_id, approved_units, starts_on, ends_on
)
select clinic, access_matrix.id(scope || ' authorization'), client, access_matrix.id(clinic || ' payer'), 1,
  date '2025-01-01', date '2025-12-31'
from access_matrix.scopes;
insert into public.authorization_codes (organization_id, authorization_id, cpt_code)
select clinic, access_matrix.id(scope || ' authorization'), '97155' from access_matrix.scopes;
insert into public.unit_limits (organization_id, authorization_id, cpt_codes, period, max_units)
select clinic, access_matrix.id(scope || ' authorization'), '{97155}', 'week', 1000 from access_matrix.scopes;
-- A code of each clinic's own, which has ended before a session that is booked.
insert into public.service_codes (organization_id, code, description, levels, valid_from)
select distinct clinic, 'H2019', 'Skills', '{qhp}'::public.provider_level[], date '2020-01-01' from access_matrix.scopes;
insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code)
select clinic, therapist, client, access_matrix.at(50), access_matrix.at(51), 'UTC', 'H2019' from access_matrix.scopes;
update public.service_codes set valid_to = '2020-12-31' where code = 'H2019';
-- An authorization that lasts, a payer who wants visits verified on the day that was attended, and a session now.
insert into public.authorizations (
  organization_id, id, client_id, payer_id, approved_units, starts_on, ends_on
)
select clinic, access_matrix.id(scope || ' lasting authorization'), client, access_matrix.id(clinic || ' payer'), 1,
  date '2026-01-01', date '2099-12-31'
from access_matrix.scopes;
insert into public.authorization_codes (organization_id, authorization_id, cpt_code)
select clinic, access_matrix.id(scope || ' lasting authorization'), '97151' from access_matrix.scopes;
insert into public.payer_rules (organization_id, payer_id, evv_required, valid_from, valid_to)
select distinct clinic, access_matrix.id(clinic || ' payer'), true, date '2025-11-01', date '2025-11-30' from access_matrix.scopes;
insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone)
select clinic, therapist, client, greatest(date_trunc('month', now(), 'UTC'), now() - interval '10 minutes'), now() + interval '10 minutes',
  'UTC'
from access_matrix.scopes;
update public.therapists set credential = 'RBT' where id in (select therapist from access_matrix.scopes);
update public.therapist_credentials set credential = 'RBT' where therapist_id in (select therapist from access_matrix.scopes);

-- A session whose clocks showed another time when it was booked.
update public.sessions set civil_start = civil_start + interval '1 hour'
where id in (select access_matrix.id(scope || ' session') from access_matrix.scopes);

-- What is sealed at commit is sealed now.
set constraints all immediate;
