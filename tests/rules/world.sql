-- The clinic that the rule matrix is tried on, and the ways a row is written. Runs in a transaction that is rolled back,
-- after the clinic has been made.
--
-- A place is what would be booked, by name: {"therapist", "client", "clients", "room", "start", "end", "zone", "code",
-- "location", "group", "before"}; before is the buffer before the start, in minutes. Times are written for the database to read.

create schema rule_matrix;
grant usage on schema rule_matrix to authenticated, service_role;

create function rule_matrix.id(name text) returns uuid
language sql immutable set search_path = ''
as $$ select md5('rule-matrix/' || name)::uuid $$;

-- A Monday well ahead, at an hour that every zone of the world has.
create function rule_matrix.monday(clock text default '10:00', days integer default 0) returns timestamptz
language sql stable set search_path = ''
as $$
  select ((date_trunc('week', now() at time zone 'UTC') + interval '42 days')::date + days + clock::time) at time zone 'UTC'
$$;

create function rule_matrix.become(person text) returns void
language plpgsql set search_path = ''
as $$
begin
  if person = 'SQL' then
    perform set_config('request.jwt.claims', '', true), set_config('role', 'none', true);
  elsif person = 'service_role' then
    perform set_config('request.jwt.claims', '{"role": "service_role"}', true), set_config('role', 'service_role', true);
  else
    perform set_config('request.jwt.claims', jsonb_build_object(
      'sub', rule_matrix.id(person), 'role', 'authenticated', 'session_id', rule_matrix.id(person || ' laptop'),
      'org_id', rule_matrix.id('clinic'), 'user_role', case person when 'admin' then 'admin' when 'super' then 'super_admin' when 'parent' then 'client' else 'therapist' end
    )::text, true), set_config('role', 'authenticated', true);
  end if;
end
$$;

-- What an outcome says: allowed, or which refusal.
create function rule_matrix.verdict(answer jsonb) returns text
language sql immutable set search_path = ''
as $$ select case when answer -> 'ok' = 'true' then 'allowed' else 'refused ' || (answer ->> 'code') end $$;

-- A place as the columns of a session.
create function rule_matrix.columns_of(place jsonb) returns jsonb
language sql stable set search_path = ''
as $$
  select jsonb_strip_nulls(jsonb_build_object(
    'organization_id', rule_matrix.id('clinic'), 'therapist_id', rule_matrix.id(place ->> 'therapist'),
    'client_id', rule_matrix.id(place ->> 'client'), 'start_time', place -> 'start', 'end_time', place -> 'end',
    'time_zone', place -> 'zone', 'cpt_code', place -> 'code', 'location_type', place -> 'location', 'room_id', rule_matrix.id(place ->> 'room'),
    'group_id', rule_matrix.id(place ->> 'group'), 'buffer_before_minutes', place -> 'before', 'status', place -> 'status'))
$$;

-- Inserts a session with the columns that the place names, as whoever is acting.
create function rule_matrix.insert_session(place jsonb) returns bigint
language plpgsql set search_path = ''
as $$
declare
  columns text;
  written bigint;
begin
  select string_agg(quote_ident(key), ', ') into columns from jsonb_object_keys(rule_matrix.columns_of(place)) as key;
  execute format(
    'insert into public.sessions (%1$s) select %1$s from jsonb_populate_record(null::public.sessions, $1)', columns
  ) using rule_matrix.columns_of(place);
  get diagnostics written = row_count;
  return written;
end
$$;

-- Changes a session's columns to those that the place names otherwise, as whoever is acting.
create function rule_matrix.update_session(session_id uuid, from_place jsonb, place jsonb) returns bigint
language plpgsql set search_path = ''
as $$
declare
  changes text;
  written bigint;
begin
  select string_agg(format('%I = changed.%1$I', field.key), ', ') into changes
  from jsonb_each(rule_matrix.columns_of(place)) as field
  where field.value is distinct from rule_matrix.columns_of(from_place) -> field.key;
  execute format(
    'update public.sessions as session set %s from jsonb_populate_record(null::public.sessions, $1) as changed where session.id = $2', changes
  ) using rule_matrix.columns_of(place), session_id;
  get diagnostics written = row_count;
  return written;
end
$$;

-- A session at a place, made by the operator; and a group with these members, of the group service unless the place says
-- otherwise.
create function rule_matrix.given_session(place jsonb) returns uuid
language plpgsql set search_path = ''
as $$
declare
  made uuid;
begin
  perform rule_matrix.insert_session(place);
  select session.id into made from public.sessions as session
  where session.organization_id = rule_matrix.id('clinic') and session.therapist_id = rule_matrix.id(place ->> 'therapist')
    and session.client_id = rule_matrix.id(place ->> 'client') and session.start_time = (place ->> 'start')::timestamptz;
  return made;
end
$$;
create function rule_matrix.given_group(name text, place jsonb, clients text[]) returns void
language plpgsql set search_path = ''
as $$
begin
  insert into public.session_groups (organization_id, id, therapist_id, start_time, end_time)
  values (rule_matrix.id('clinic'), rule_matrix.id(name), rule_matrix.id(place ->> 'therapist'), (place ->> 'start')::timestamptz, (place ->> 'end')::timestamptz);
  perform rule_matrix.insert_session('{"code": "97154"}' || place || jsonb_build_object('client', client, 'group', name)) from unnest(clients) as client;
end
$$;

-- The therapist has completed another visit, booked from one time to another, which really ended at a third.
create function rule_matrix.given_visit(starts text, ends text, ended text) returns void
language plpgsql set search_path = ''
as $$
declare
  made uuid := rule_matrix.given_session(rule_matrix.placed(jsonb_build_object('client', 'ben', 'start', starts, 'end', ends, 'code', '97153')));
begin
  insert into public.session_visits (organization_id, session_id, actual_start_time, actual_end_time, units)
  values (rule_matrix.id('clinic'), made, rule_matrix.time_of(starts), rule_matrix.time_of(ended), 4);
  update public.sessions set status = 'in_progress' where id = made;
  update public.sessions set status = 'completed' where id = made;
end
$$;
-- A session's record as it is complete: its place, its times as booked, and its note signed. The proof of the functions is not asked for.
create function rule_matrix.given_note(session_id uuid) returns void
language plpgsql set search_path = ''
as $$
begin
  update public.sessions set location_type = 'clinic' where id = given_note.session_id;
  insert into public.session_visits (organization_id, session_id, actual_start_time, actual_end_time)
  select organization_id, id, start_time, end_time from public.sessions where id = given_note.session_id;
  alter table private.data_keys disable trigger user;
  insert into private.data_keys (organization_id, id, wrapped_key, proof)
  values (rule_matrix.id('clinic'), rule_matrix.id('key'), 'twk1.m1.AAAAAAAAAAAAAAAA.' || repeat('A', 107), 'none');
  alter table private.data_keys enable trigger user;
  alter table private.session_note_versions disable trigger a_guard_note_version;
  insert into private.session_note_versions (
    organization_id, session_id, id, version, status, data_key_id, ciphertext, proof, saved_by, signed_at, credential, attested
  )
  select session.organization_id, session.id, gen_random_uuid(), 1, 'signed', rule_matrix.id('key'),
    concat_ws('.', 'tsb1', rule_matrix.id('key'), 'AAAAAAAAAAAAAAAA', repeat('A', 32)), 'none', session.therapist_id, now(), 'RBT',
    private.session_facts(session)
  from public.sessions as session where session.id = given_note.session_id;
  alter table private.session_note_versions enable trigger a_guard_note_version;
end
$$;

-- The bodies of the booking functions.
create function rule_matrix.wire(instant text) returns text
language sql stable set search_path = ''
as $$ select to_char(instant::timestamptz at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') $$;
-- Every rule that an override may name.
create function rule_matrix.override_of(place jsonb) returns jsonb
language sql stable set search_path = ''
as $$
  select case when (place -> 'override')::boolean then
    '{"reason": "They asked", "rules": ["availability", "authorization", "concurrency", "credential", "travel"]}'::jsonb end
$$;
create function rule_matrix.hold_body(place jsonb, extra jsonb default '{}') returns jsonb
language sql stable set search_path = ''
as $$
  select jsonb_strip_nulls(jsonb_build_object(
    'therapist_id', rule_matrix.id(place ->> 'therapist'), 'client_id', rule_matrix.id(place ->> 'client'),
    'client_ids', (select jsonb_agg(rule_matrix.id(name)) from jsonb_array_elements_text(place -> 'clients') as name),
    'group_id', rule_matrix.id(place ->> 'group'), 'room_id', rule_matrix.id(place ->> 'room'),
    'start_time', rule_matrix.wire(place ->> 'start'), 'end_time', rule_matrix.wire(place ->> 'end'), 'time_zone', place -> 'zone',
    'cpt_code', place -> 'code', 'buffer_before_minutes', place -> 'before',
    'start_time_offset_minutes', 0, 'end_time_offset_minutes', 0, 'override', rule_matrix.override_of(place))) || extra
$$;
create function rule_matrix.confirm_body(held jsonb, place jsonb, extra jsonb default '{}') returns jsonb
language sql stable set search_path = ''
as $$
  with item as (
    select position, jsonb_build_object('hold_key', hold.value -> 'holdKey', 'time_zone', 'UTC',
      'start_time_offset_minutes', 0, 'end_time_offset_minutes', 0, 'session', jsonb_build_object(
        'therapist_id', rule_matrix.id(place ->> 'therapist'),
        'client_id', coalesce(hold.value -> 'clientId', to_jsonb(rule_matrix.id(place ->> 'client'))),
        'start_time', hold.value -> 'startTime', 'end_time', hold.value -> 'endTime', 'location_type', place -> 'location')) || extra as body
    from jsonb_array_elements(held #> '{body,holds}') with ordinality as hold (value, position)
  )
  select (array_agg(body order by position))[1] || jsonb_build_object('hold_key', held #> '{body,holdKey}', 'occurrences', jsonb_agg(body order by position))
  from item
$$;

-- The ways ----------------------------------------------------------------------------------------------------------

-- 2 once an attempt is arranged. A sequence, for it outlives an attempt that fails.
create sequence rule_matrix.stage;

-- Runs as the operator what makes the place break its rule.
create function rule_matrix.arrange(setup text) returns void
language plpgsql set search_path = ''
as $$
begin
  perform rule_matrix.become('SQL');
  if setup <> '' then
    execute setup;
  end if;
  perform setval('rule_matrix.stage', 2);
end
$$;

create function rule_matrix.by_hold(person text, setup text, place jsonb) returns text
language plpgsql set search_path = ''
as $$
begin
  perform rule_matrix.arrange(setup), rule_matrix.become(person);
  return rule_matrix.verdict(public.hold_sessions(rule_matrix.hold_body(place)));
end
$$;

-- The hold is made while all is well, without a service; the rule is broken before it is confirmed.
create function rule_matrix.by_confirm(person text, setup text, place jsonb) returns text
language plpgsql set search_path = ''
as $$
declare
  held jsonb;
begin
  perform rule_matrix.become(person);
  held := public.hold_sessions(rule_matrix.hold_body(place - 'code'));
  if held -> 'ok' is distinct from 'true' then
    return 'could not be tried: the hold was ' || rule_matrix.verdict(held);
  end if;
  perform rule_matrix.arrange(setup), rule_matrix.become(person);
  return rule_matrix.verdict(public.confirm_sessions(rule_matrix.confirm_body(held, place, case
    when place ? 'code' then jsonb_build_object('cpt', jsonb_build_object('code', place -> 'code')) else '{}' end)));
end
$$;

-- A session of the day after is moved to the place.
create function rule_matrix.by_move(person text, setup text, from_place jsonb, place jsonb) returns text
language plpgsql set search_path = ''
as $$
declare
  session_id uuid := rule_matrix.given_session(from_place);
  held jsonb;
begin
  perform rule_matrix.arrange(setup), rule_matrix.become(person);
  held := public.hold_sessions(rule_matrix.hold_body(place, jsonb_build_object('session_id', session_id)));
  if held -> 'ok' is distinct from 'true' then
    return rule_matrix.verdict(held);
  end if;
  return rule_matrix.verdict(public.confirm_sessions(rule_matrix.confirm_body(held, place)));
end
$$;

-- A group of the day after, with the place's client and another, is moved to the place.
create function rule_matrix.by_move_group(person text, setup text, from_place jsonb, place jsonb) returns text
language plpgsql set search_path = ''
as $$
begin
  perform rule_matrix.given_group('moving group', from_place - 'code', array[from_place ->> 'client', 'eve']);
  perform rule_matrix.arrange(setup), rule_matrix.become(person);
  return rule_matrix.verdict(public.move_group(
    (rule_matrix.hold_body(place) - 'client_id') || jsonb_build_object('group_id', rule_matrix.id('moving group'))));
end
$$;
create function rule_matrix.by_update_group(person text, setup text, from_place jsonb, place jsonb) returns text
language plpgsql set search_path = ''
as $$
declare
  written bigint;
begin
  perform rule_matrix.given_group('moving group', from_place - 'code', array[from_place ->> 'client', 'eve']);
  perform rule_matrix.arrange(setup), rule_matrix.become(person);
  update public.session_groups
  set therapist_id = rule_matrix.id(place ->> 'therapist'), start_time = (place ->> 'start')::timestamptz, end_time = (place ->> 'end')::timestamptz
  where id = rule_matrix.id('moving group');
  get diagnostics written = row_count;
  return case when written > 0 then 'allowed' else 'refused, no row' end;
end
$$;

-- Somebody else is booked at the place and cancels; the place's client waits for it.
create function rule_matrix.by_offer(setup text, place jsonb) returns text
language plpgsql set search_path = ''
as $$
declare
  session_id uuid := rule_matrix.given_session((place - 'code') || '{"client": "eve"}');
  cancelled jsonb;
begin
  insert into public.waitlist_entries (organization_id, client_id, therapist_id, cpt_code, windows)
  values (rule_matrix.id('clinic'), rule_matrix.id(place ->> 'client'), rule_matrix.id(place ->> 'therapist'), coalesce(place ->> 'code', '97153'),
    tstzmultirange(tstzrange((place ->> 'start')::timestamptz - interval '1 day', (place ->> 'end')::timestamptz + interval '1 day')));
  perform rule_matrix.arrange(setup), rule_matrix.become('admin');
  cancelled := public.cancel_sessions(jsonb_build_object('session_ids', jsonb_build_array(session_id)));
  if cancelled #> '{body,summary,cancelledCount}' <> '1' then
    return 'could not be tried: ' || cancelled;
  end if;
  if to_regprocedure('public.offer_freed_slots(text)') is not null then
    execute 'select public.offer_freed_slots(), public.offer_freed_slots(), public.offer_freed_slots()';
  end if;
  perform rule_matrix.become('SQL');
  return case when exists (
    select from public.session_holds as hold
    where hold.organization_id = rule_matrix.id('clinic') and hold.status = 'held' and hold.start_time = (place ->> 'start')::timestamptz
  ) then 'allowed' else 'refused, no offer' end;
end
$$;

create function rule_matrix.by_insert(person text, setup text, place jsonb) returns text
language plpgsql set search_path = ''
as $$
begin
  perform rule_matrix.arrange(setup), rule_matrix.become(person);
  perform rule_matrix.insert_session(place);
  return 'allowed';
end
$$;

-- A session of the day after is changed to be at the place.
create function rule_matrix.by_update(person text, setup text, from_place jsonb, place jsonb) returns text
language plpgsql set search_path = ''
as $$
declare
  session_id uuid := rule_matrix.given_session(from_place);
begin
  perform rule_matrix.arrange(setup), rule_matrix.become(person);
  return case when rule_matrix.update_session(session_id, from_place, place) > 0 then 'allowed' else 'refused, no row' end;
end
$$;

-- A record: a session in some state, and a statement or a call that would change it. {session} stands for its id.
create function rule_matrix.by_statement(person text, setup text, place jsonb, statement text) returns text
language plpgsql set search_path = ''
as $$
declare
  session_id uuid := rule_matrix.given_session(place);
  answer jsonb;
  written bigint;
begin
  perform rule_matrix.arrange(replace(setup, '{session}', quote_literal(session_id))), rule_matrix.become(person);
  if statement ~ '^select ' then
    execute replace(statement, '{session}', quote_literal(session_id)) into answer;
    return rule_matrix.verdict(answer);
  end if;
  execute replace(statement, '{session}', quote_literal(session_id));
  get diagnostics written = row_count;
  return case when written > 0 then 'allowed' else 'refused, no row' end;
end
$$;

-- Tries an expression that yields a verdict and undoes it all: a refusal that is raised is one, too.
create function rule_matrix.try(expression text) returns text
language plpgsql set search_path = ''
as $$
declare
  verdict text;
  hint text;
  rule text;
begin
  perform setval('rule_matrix.stage', 1);
  execute 'select ' || expression into verdict;
  -- Constraints that may wait until commit speak up now, to whoever would commit.
  set constraints all immediate;
  raise exception using errcode = 'ZZ000', message = verdict;
exception
  when sqlstate 'ZZ000' then return sqlerrm;
  when others then
    get stacked diagnostics hint = pg_exception_hint, rule = constraint_name;
    return case
      -- What makes a place break its rule is lawful itself: its failure is no refusal of what is tried.
      when (select last_value from rule_matrix.stage) < 2 then format('not arranged %s %s', sqlstate, sqlerrm)
      when sqlstate = '42501' then 'refused, no privilege'
      when sqlstate like 'PT%' then 'refused ' || hint
      when sqlstate like '23%' then 'refused ' || coalesce(nullif(rule, ''), sqlstate)
      else format('error %s %s', sqlstate, sqlerrm)
    end;
end
$$;
grant execute on all functions in schema rule_matrix to authenticated, service_role;

create function rule_matrix.lawful() returns jsonb
language sql stable set search_path = ''
as $$
  select jsonb_build_object('therapist', 'rbt', 'client', 'ann', 'zone', 'UTC',
    'start', rule_matrix.monday('10:00'), 'end', rule_matrix.monday('11:00'))
$$;

-- A time as the matrix writes it: an instant, monday 10:00, days 3 10:00 or minutes 30 from now.
create function rule_matrix.time_of(written text) returns timestamptz
language sql stable set search_path = ''
as $$
  select case split_part(written, ' ', 1)
    when 'monday' then rule_matrix.monday(split_part(written, ' ', 2))
    when 'days' then ((now() at time zone 'UTC')::date + split_part(written, ' ', 2)::integer + split_part(written, ' ', 3)::time) at time zone 'UTC'
    when 'minutes' then date_trunc('minute', now()) + make_interval(mins => split_part(written, ' ', 2)::integer)
    else written::timestamptz
  end
$$;

-- The lawful place, some days later, with these changes.
create function rule_matrix.placed(changes jsonb, days integer default 0) returns jsonb
language sql stable set search_path = ''
as $$
  select rule_matrix.lawful()
    || jsonb_build_object('start', rule_matrix.monday('10:00', days), 'end', rule_matrix.monday('11:00', days))
    || changes
    || jsonb_strip_nulls(jsonb_build_object('start', rule_matrix.time_of(changes ->> 'start'), 'end', rule_matrix.time_of(changes ->> 'end')))
$$;

create function rule_matrix.authorize(client text, payer text, code text, units integer) returns void
language plpgsql set search_path = ''
as $$
declare
  made uuid;
begin
  insert into public.authorizations (organization_id, client_id, payer_id, approved_units, starts_on, ends_on)
  values (rule_matrix.id('clinic'), rule_matrix.id(client), rule_matrix.id(payer), units, '2020-01-01', '2030-01-01')
  returning id into made;
  insert into public.authorization_codes (organization_id, authorization_id, cpt_code)
  values (rule_matrix.id('clinic'), made, code);
end
$$;
grant execute on all functions in schema rule_matrix to authenticated, service_role;
