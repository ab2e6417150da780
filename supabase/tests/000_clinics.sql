-- Makes clinics, for the stories, the other tests and the benchmarks: the one place that knows which columns a person, a
-- clinic and what belongs to it cannot be without. Runs first, by its name, and stays in the test database.
--
-- A caller names the rows and the columns that matter to it:
--
--   select tests.add_clinic(jsonb_build_object(
--     'id', …, 'time_zone', 'America/Los_Angeles',
--     'memberships', '[{"user_id": …, "role": "admin"}, {"user_id": …, "role": "therapist"}]',
--     'therapists', '[{"id": …, "credential": "BCBA"}]', 'clients', '[{"id": …}]'
--   ));

create schema if not exists tests;
comment on schema tests is 'Helpers of the tests. Only in databases that tests have run on.';

-- What a table insists on and a test need not care about, for a row that the test gives.
create or replace function tests.defaults(relation text, given jsonb) returns jsonb
language sql stable set search_path = ''
as $$
  select case relation
    when 'auth.users' then jsonb_build_object(
      'instance_id', '00000000-0000-0000-0000-000000000000', 'aud', 'authenticated', 'role', 'authenticated',
      'email', (given ->> 'id') || '@example.test',
      -- Auth insists on text where it has nothing to say.
      'confirmation_token', '', 'recovery_token', '', 'email_change', '', 'email_change_token_new', '',
      'raw_app_meta_data', '{"provider": "email", "providers": ["email"]}'::jsonb, 'raw_user_meta_data', '{}'::jsonb,
      'email_confirmed_at', now(), 'created_at', now(), 'updated_at', now()
    )
    when 'auth.identities' then jsonb_build_object(
      'provider', 'email', 'last_sign_in_at', now(), 'created_at', now(), 'updated_at', now()
    )
    when 'public.organizations' then '{"name": "Clinic", "time_zone": "UTC"}'
    when 'public.therapists' then '{"display_name": "T", "time_zone": "UTC"}'
    when 'public.clients' then jsonb_build_object('reference', given ->> 'id')
    when 'public.rooms' then jsonb_build_object('name', given ->> 'id')
    when 'public.payers' then jsonb_build_object('name', given ->> 'id')
    when 'public.payer_rules' then '{"valid_from": "2020-01-01"}'
    when 'public.payer_code_rules' then '{"valid_from": "2020-01-01"}'
    when 'public.payer_concurrency_rules' then '{"valid_from": "2020-01-01"}'
    when 'public.client_coverages' then '{"valid_from": "2020-01-01"}'
    else '{}'
  end
$$;

-- Inserts rows, given as JSON objects; columns that no row names get their defaults.
create or replace function tests.add(relation text, given jsonb) returns void
language plpgsql set search_path = ''
as $$
declare
  columns text;
  batch jsonb;
begin
  for columns, batch in
    select names.columns, jsonb_agg(row.value)
    from jsonb_array_elements(given) as item (value)
    cross join lateral (select tests.defaults(relation, item.value) || item.value as value) as row
    cross join lateral (
      select string_agg(quote_ident(key), ', ' order by key) as columns from jsonb_object_keys(row.value) as key
    ) as names
    group by names.columns
  loop
    execute format(
      'insert into %1$s (%2$s) select %2$s from jsonb_populate_recordset(null::%1$s, $1)', relation::regclass, columns
    ) using batch;
  end loop;
end
$$;

-- People as Auth has them: {id, email, password}. Only who has a password can sign in.
create or replace function tests.add_people(people jsonb) returns void
language plpgsql set search_path = ''
as $$
begin
  perform tests.add('auth.users', jsonb_agg(
    case when person.value ? 'password' then person.value - 'password' || jsonb_build_object(
      'encrypted_password', extensions.crypt(person.value ->> 'password', extensions.gen_salt('bf', 4))
    ) else person.value end
  ))
  from jsonb_array_elements(people) as person (value);
  perform tests.add('auth.identities', jsonb_agg(jsonb_build_object(
    'id', person.value ->> 'id', 'provider_id', person.value ->> 'id', 'user_id', person.value ->> 'id',
    'identity_data', jsonb_build_object('sub', person.value ->> 'id', 'email', person.value ->> 'email')
  )))
  from jsonb_array_elements(people) as person (value)
  where person.value ? 'password'
  having count(*) > 0;
end
$$;

-- A clinic: its own columns, and under the names of their tables the rows that belong to it. Members whom Auth does not
-- have yet are made.
create or replace function tests.add_clinic(clinic jsonb) returns void
language plpgsql set search_path = ''
as $$
declare
  -- In an order that foreign keys allow.
  belongings constant text[] := array['memberships', 'therapists', 'clients', 'caseloads', 'client_users', 'rooms',
    'payers', 'payer_rules', 'payer_code_rules', 'payer_concurrency_rules', 'client_coverages', 'authorizations',
    'authorization_codes', 'unit_limits'];
  organization jsonb := clinic - belongings;
  belonging text;
begin
  perform tests.add('public.organizations', jsonb_build_array(organization));
  perform tests.add_people(jsonb_agg(jsonb_build_object('id', member.value ->> 'user_id')))
  from jsonb_array_elements(clinic -> 'memberships') as member (value)
  where not exists (select 1 from auth.users as person where person.id = (member.value ->> 'user_id')::uuid)
  having count(*) > 0;
  foreach belonging in array belongings loop
    perform tests.add('public.' || belonging, jsonb_agg(
      jsonb_build_object('organization_id', clinic -> 'id') || row.value
    ))
    from jsonb_array_elements(clinic -> belonging) as row (value)
    having count(*) > 0;
  end loop;
end
$$;

begin;
create extension if not exists pgtap with schema extensions;
select plan(3);
select tests.add_clinic(jsonb_build_object(
  'id', '00000000-0000-4000-8000-00000000c11c',
  'memberships', '[{"user_id": "00000000-0000-4000-8000-000000000001", "role": "therapist"}]'::jsonb,
  'therapists', '[{"id": "00000000-0000-4000-8000-000000000001", "credential": "BCaBA"}]'::jsonb,
  'clients', '[{"id": "00000000-0000-4000-8000-000000000002"}]'::jsonb
));
select is(time_zone, 'UTC', 'a clinic has what nobody said') from public.organizations
where id = '00000000-0000-4000-8000-00000000c11c';
select is(credential, 'BCaBA', 'and what somebody said') from public.therapists
where id = '00000000-0000-4000-8000-000000000001';
select throws_ok(
  $$ select tests.add('public.clients', '[{"no_such_column": 1}]') $$, '42703', null, 'a misspelt column is an error'
);
select * from finish();
rollback;
