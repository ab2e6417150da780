-- An admin keeps who a client is; her therapists and her parents read it; nobody else does, and every look is recorded.
begin;
select plan(59);
select tests.open_clinic();
select tests.open_clinic('other ');

create function pg_temp.seal(content text) returns text
language sql as $$
  select concat_ws('.', 'tsb1', tests.id('clinic key'), 'AAAAAAAAAAAAAAAA',
    translate(encode(convert_to(content, 'UTF8') || decode(repeat('00', 16), 'hex'), 'base64'), E'+/=\n', '-_'))
$$;
create function pg_temp.save(person text, client text, base integer, content text, key text default null, proof text default null)
returns jsonb
language sql as $$
  select tests.call(person, format('select public.save_client_details(%L, %L, %L)', jsonb_build_object(
    'client_id', tests.id(client), 'base_version', base, 'id', made.id, 'ciphertext', pg_temp.seal(content),
    'content_mac', private.text_digest(content), 'proof', coalesce(proof, tests.proof(
      'client_detail_versions', tests.id('clinic')::text, tests.id(client)::text, made.id::text, (base + 1)::text,
      tests.id(person)::text, private.text_digest(pg_temp.seal(content))))), key, 'story'))
  from (select gen_random_uuid() as id) as made
$$;
create function pg_temp.read(person text, clients text[], extra jsonb default '{}') returns jsonb
language sql as $$
  select tests.call(person, format('select public.read_client_details(%L, %L)',
    jsonb_build_object('client_ids', array(select tests.id(name) from unnest(clients) as name)) || extra, 'story'))
$$;

select tests.prove_rows();
insert into private.data_keys (organization_id, id, wrapped_key)
values (tests.id('clinic'), tests.id('clinic key'), 'twk1.m1.AAAAAAAAAAAAAAAA.' || repeat('A', 107));

select is(
  pg_temp.save('admin', 'ann', 0, 'Ann, first', 'ann-1') #- '{body,client,savedAt}' #- '{body,client,versionId}' -> 'body',
  jsonb_build_object('client', jsonb_build_object('clientId', tests.id('ann'), 'version', 1)), 'an admin saves details'
);
select is(pg_temp.save('admin', 'ann', 0, 'Ann, first', 'ann-1') ->> 'replayed', 'true', 'a retry by key has one effect');
select is(pg_temp.save('admin', 'ben', 0, 'Ann, first', 'ann-1') ->> 'code', 'IDEMPOTENCY_KEY_REUSED', 'with that key nothing is saved of another client');
select is(pg_temp.save('super', 'ann', 0, 'Ann, other') ->> 'code', 'DETAILS_VERSION_CONFLICT', 'a stale save is refused');
select is(pg_temp.save('super', 'ann', 1, 'Ann, second') #>> '{body,client,version}', '2', 'the next version is kept beside it');
select is(
  pg_temp.save(person, 'ann', 2, 'not mine') ->> 'code', 'FORBIDDEN', format('%s cannot save', person)
) from unnest(array['rbt', 'parent', 'other admin']) as person where person <> 'other admin';
select is(
  tests.call(person, format('select public.prepare_client_details(%L)', jsonb_build_object('client_id', tests.id('ann')))) ->> 'code',
  expected, format('%s and sealing', person)
) from (values ('admin', null), ('rbt', 'FORBIDDEN'), ('parent', 'FORBIDDEN'), ('other admin', 'FORBIDDEN')) as item (person, expected);
select is(
  tests.error('other admin', format('select public.save_client_details(%L)', jsonb_build_object(
    'client_id', tests.id('ann'), 'base_version', 2, 'id', gen_random_uuid(), 'ciphertext', pg_temp.seal('x'),
    'content_mac', repeat('0', 64), 'proof', tests.proof('x')))) ->> 'code', 'PT400', 'another clinic''s envelope is not accepted'
);


-- What no function sealed is not kept.
select is(
  pg_temp.save('admin', 'ann', 2, 'not sealed', null, proof) ->> 'code', expected, 'a proof ' || what || ' is refused'
) from (values
  ('tsp1.stories.' || repeat('A', 43), 'FORBIDDEN', 'made up'),
  (tests.proof('client_detail_versions', tests.id('clinic')::text, tests.id('ben')::text), 'FORBIDDEN', 'of something else'),
  ('tsp1.elsewhere.' || repeat('A', 43), 'CONTENT_UNREADABLE', 'whose key is not installed')
) as item (proof, expected, what);

select is(
  pg_temp.read(person, array['ann']) #>> '{body,clients,0,ciphertext}', pg_temp.seal('Ann, second'), format('%s reads Ann', person)
) from unnest(array['admin', 'super', 'rbt', 'bcba', 'parent']) as person;
select is(
  pg_temp.read('rbt', array['ann'], '{"version": 1}') #>> '{body,clients,0,ciphertext}', pg_temp.seal('Ann, first'),
  'an earlier version stays readable'
);
select is(
  jsonb_path_query_array(pg_temp.read('rbt', array['ben', 'ann', 'ben']), '$.body.clients[*].version'), '[null, 2]',
  'several at once, in the order asked, nothing where nothing was saved'
);
select is(
  pg_temp.read('rbt', array['ben']) #> '{body,keys}', '[]', 'no key is handed out without something for it to open'
);
select is(
  pg_temp.read(person, clients) ->> 'code', 'FORBIDDEN', format('%s does not read %s', person, clients)
) from (values
  ('rbt', array['cat']), ('rbt', array['ann', 'cat']), ('parent', array['ben']), ('parent', array['ann', 'ben']),
  ('other admin', array['ann']), ('other rbt', array['ann'])
) as item (person, clients);

-- Names for a schedule: whoever is out of reach hides nobody else.
create function pg_temp.names(person text, clients text[]) returns jsonb
language sql as $$
  select tests.call(person, format('select public.read_client_names(%L, %L)',
    jsonb_build_object('client_ids', array(select tests.id(name) from unnest(clients) as name)), 'story')) -> 'body'
$$;
select is(
  jsonb_build_array(
    jsonb_path_query_array(pg_temp.names(person, array['cat', 'ann', 'ben', 'ann']), '$.clients[*].clientId'),
    pg_temp.names(person, array['cat', 'ann', 'ben', 'ann']) -> 'notReadable'
  ),
  jsonb_build_array(
    to_jsonb(array(select tests.id(name) from unnest(readable) as name)),
    to_jsonb(array(select tests.id(name) from unnest(others) as name))
  ),
  format('%s is answered %s, and that %s are not readable', person, readable, others)
) from (values
  ('admin', array['cat', 'ann', 'ben'], '{}'::text[]), ('rbt', array['ann', 'ben'], array['cat']),
  ('parent', array['ann'], array['cat', 'ben']), ('other admin', '{}', array['cat', 'ann', 'ben'])
) as item (person, readable, others);
select results_eq(
  $$ select entity_ids, details ->> 'notReadable' from audit.events
     where actor_user_id = tests.id('parent') and action = 'client_names.read' order by recorded_at limit 1 $$,
  $$ values (array[tests.id('ann')], '2') $$, 'and it is recorded, with how many were not readable'
);
select is(
  tests.error('admin', format('select public.read_client_names(%L)', request)) ->> 'code', 'PT400', format('names for %s are refused', request)
) from unnest(array['{}', '{"client_ids": []}', '{"client_ids": ["x"]}', '{"client_ids": "x"}', '[]']) as request;
delete from public.caseloads where therapist_id = tests.id('rbt') and client_id = tests.id('ann');
select is(pg_temp.read('rbt', array['ann']) ->> 'code', 'FORBIDDEN', 'nor does a therapist whose caseload she has left');
delete from public.memberships where user_id = tests.id('bcba');
select is(
  tests.error('bcba', format('select public.read_client_details(%L)', jsonb_build_object('client_ids', array[tests.id('ann')])),
    jsonb_build_object('org_id', tests.id('clinic'))) ->> 'code',
  'PT403', 'nor a former member'
);
select is(
  tests.error('admin', format('select public.read_client_details(%L)', request)) ->> 'code', 'PT400', format('%s is refused', request)
) from unnest(array['{}', '{"client_ids": []}', '{"client_ids": ["x"]}', '{"client_ids": "x"}', '[]']) as request;

-- The table itself.
select is(
  tests.error_code('postgres', format(
    $$ insert into private.client_detail_versions (organization_id, client_id, id, version, data_key_id, ciphertext, saved_by)
       values (%L, %L, gen_random_uuid(), 3, %L, %L, %L) $$,
    tests.id('clinic'), tests.id('ann'), tests.id('clinic key'), content, tests.id('admin'))),
  '23514', format('"%s" is refused, to the owner of the table too', left(content, 20))
) from unnest(array['Ann Smith, 2019-05-01', '{"given_name": "Ann"}', 'tsb1.' || tests.id('clinic key') || '.AAAAAAAAAAAAAAAA.Ann Smith']) as content;
select is(tests.error_code('service_role', 'select from private.client_detail_versions'), '42501', 'service_role does not reach the table');
select is(tests.error_code('postgres', statement), '23001', statement)
from unnest(array[
  'update private.client_detail_versions set ciphertext = ciphertext', 'delete from private.client_detail_versions',
  'truncate private.client_detail_versions'
]) as statement;

select is(
  (select jsonb_agg(details -> 'attempted') from audit.events
    where organization_id = tests.id('clinic') and action = 'client_details.refused' and code = 'DETAILS_VERSION_CONFLICT'),
  '["save"]', 'a refused save is recorded'
);
select results_eq(
  $$ select actor_role, entity_ids, before ->> 'version', after ->> 'version', after ->> 'ciphertext'
     from audit.events where organization_id = tests.id('clinic') and action = 'client_details.saved' order by recorded_at $$,
  $$ select role, array[tests.id('ann'), id], before, version::text, ciphertext
     from private.client_detail_versions
     join (values (1, 'admin', null), (2, 'super_admin', '1')) as saver (number, role, before) on number = version
     where organization_id = tests.id('clinic') order by version $$,
  'every save leaves what it replaced and what it wrote, as ciphertext'
);

-- Bounds.
select is(tests.error_code('admin', format('select public.%I(%L)', read, jsonb_build_object('client_ids', (select jsonb_agg(gen_random_uuid()) from generate_series(1, many))))), expected,
  format('%s of %s', read, many))
from (values ('read_client_names', 100, null), ('read_client_names', 101, 'PT400'), ('read_client_details', 101, 'PT400')) as asked (read, many, expected);
select is(tests.error_code('postgres', format(
  'insert into private.client_detail_versions (organization_id, client_id, id, version, data_key_id, ciphertext, saved_by) values (%L, %L, gen_random_uuid(), 7, %L, %L, %L)',
  tests.id('clinic'), tests.id('dan'), tests.id('clinic key'), pg_temp.seal('x'), tests.id('admin'))), '23514', 'no version is left out');

select * from finish();
rollback;
