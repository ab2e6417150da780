-- A therapist writes the note of her session, signs it, and amends it later. What she signed stays what it was.
begin;
select plan(69);
select tests.open_clinic();
select tests.open_clinic('other ');

-- Sealing is the edge function's work; here an envelope only has to look like one.
create function pg_temp.seal(organization text, content text) returns text
language sql as $$
  select concat_ws('.', 'tsb1', tests.id(organization || ' key'), 'AAAAAAAAAAAAAAAA',
    translate(encode(convert_to(content, 'UTF8') || decode(repeat('00', 16), 'hex'), 'base64'), E'+/=\n', '-_'))
$$;
create function pg_temp.wrapped(master text default 'm1') returns text
language sql as $$ select concat_ws('.', 'twk1', master, 'AAAAAAAAAAAAAAAA', repeat('A', 107)) $$;
create function pg_temp.write(
  person text, rpc text, session uuid, base integer, content text, key text default null, extra jsonb default '{}'
)
returns jsonb
language sql as $$
  select tests.call(person, format('select public.%I(%L, %L, %L)', rpc, jsonb_build_object(
    'session_id', session, 'base_version', base, 'id', made.id, 'ciphertext', pg_temp.seal('clinic', content),
    'content_mac', private.text_digest(content), 'facts_digest', made.facts, 'proof', tests.proof(
      'session_note_versions', tests.id('clinic')::text, session::text, made.id::text,
      case rpc when 'save_note_draft' then 'draft' when 'sign_note' then 'signed' else 'amended' end, (base + 1)::text,
      tests.id(person)::text, case rpc when 'save_note_draft' then 'draft' else made.facts end,
      private.text_digest(pg_temp.seal('clinic', content)))
  ) || extra, key, 'story'))
  from (
    select gen_random_uuid() as id, (
      select private.text_digest(private.session_facts(row)::text) from public.sessions as row where row.id = session
    ) as facts
  ) as made
$$;
create function pg_temp.key_request(key_id uuid, organization text default 'clinic') returns jsonb
language sql as $$
  select jsonb_build_object('key_id', key_id, 'wrapped_key', pg_temp.wrapped(), 'proof', tests.proof(
    'data_keys', tests.id(organization)::text, key_id::text, private.text_digest(pg_temp.wrapped())))
$$;
create function pg_temp.read(person text, rpc text, request jsonb) returns jsonb
language sql as $$ select tests.call(person, format('select public.%I(%L, %L)', rpc, request, 'story')) $$;

create temporary table made on commit drop as
select tests.book('rbt', 'rbt', 'ann', tests.at(1)) as session_id, tests.book('rbt', 'rbt', 'ann', tests.at(2)) as later_id;
grant select on made to public;

-- The organization's first data key.
select is(
  pg_temp.read('rbt', 'prepare_note', jsonb_build_object('session_id', session_id)) #> '{body,key}', 'null',
  'an organization begins without a data key'
) from made;
select is(
  pg_temp.read('parent', 'start_data_key', pg_temp.key_request(tests.id('parent key')))
    ->> 'code', 'FORBIDDEN', 'a parent cannot give it one'
);
select is(
  pg_temp.read('rbt', 'start_data_key', request) ->> 'code', expected, 'nor does ' || what
) from (values
  (pg_temp.key_request(tests.id('clinic key')) || jsonb_build_object('proof', 'tsp1.stories.' || repeat('A', 43)), 'FORBIDDEN',
    'a therapist who makes up a proof'),
  (pg_temp.key_request(tests.id('clinic key'), 'other clinic'), 'FORBIDDEN', 'one who has the proof of another clinic''s'),
  (pg_temp.key_request(tests.id('clinic key')) || jsonb_build_object('key_id', gen_random_uuid()), 'FORBIDDEN',
    'one who has the proof of another key'),
  (pg_temp.key_request(tests.id('clinic key')) || jsonb_build_object('proof', 'tsp1.unknown.' || repeat('A', 43)),
    'CONTENT_UNREADABLE', 'a function whose attestation key is not installed')
) as item (request, expected, what);
select is(
  pg_temp.read('rbt', 'start_data_key', pg_temp.key_request(tests.id('clinic key')))
    #>> '{body,key,keyId}', tests.id('clinic key')::text, 'the first to need it makes it'
);
select is(
  pg_temp.read('bcba', 'start_data_key', pg_temp.key_request(tests.id('a rival key')))
    #>> '{body,key,keyId}', tests.id('clinic key')::text, 'whoever comes second is given the first one''s'
);
select is(
  pg_temp.read('rbt', 'prepare_note', jsonb_build_object('session_id', session_id)) #>> '{body,key,wrappedKey}',
  pg_temp.wrapped(), 'and it seals from now on'
) from made;
select is(
  tests.error('rbt', format('select public.start_data_key(%L)', jsonb_build_object('key_id', 'x', 'wrapped_key', 'secret')))
    ->> 'hint', 'VALIDATION_FAILED', 'an unwrapped key is refused'
);

-- Drafts.
select is(
  pg_temp.write('rbt', 'save_note_draft', session_id, 0, 'first draft', 'draft-1') #- '{body,note,savedAt}' #- '{body,note,versionId}',
  jsonb_build_object('ok', true, 'status', 200, 'replayed', false, 'body', jsonb_build_object('note', jsonb_build_object(
    'sessionId', session_id, 'version', 1, 'status', 'draft', 'savedBy', tests.id('rbt'), 'signature', null))),
  'she saves a draft, also before the session begins'
) from made;
select is(
  pg_temp.write('rbt', 'save_note_draft', session_id, 0, 'first draft', 'draft-1') ->> 'replayed', 'true',
  'a retry by key has the same answer, although it was sealed anew'
) from made;
select is(
  pg_temp.write('rbt', 'save_note_draft', session_id, 0, 'something else', 'draft-1') ->> 'code', 'IDEMPOTENCY_KEY_REUSED',
  'another content under the same key is refused'
) from made;
select is(
  pg_temp.write('rbt', 'save_note_draft', session_id, 0, 'typed elsewhere') ->> 'code', 'NOTE_VERSION_CONFLICT',
  'a draft that does not build on the newest is refused'
) from made;
select is(
  pg_temp.write('rbt', 'save_note_draft', session_id, 1, 'second draft') #>> '{body,note,version}', '2', 'one that does is kept'
) from made;
select is((select count(*) from private.session_note_versions where session_id = made.session_id), 2::bigint, 'every version is kept')
from made;
select is(
  pg_temp.write(person, rpc, session_id, 2, 'not mine') ->> 'code', 'FORBIDDEN', format('%s cannot %s', person, rpc)
)
from made
cross join unnest(array['bcba', 'admin', 'super', 'parent']) as person
cross join unnest(array['save_note_draft', 'sign_note']) as rpc;
select is(
  pg_temp.read('admin', 'prepare_note', jsonb_build_object('session_id', session_id, 'attempted', 'sign')) ->> 'code', 'FORBIDDEN',
  'an admin does not get as far as sealing'
) from made;

-- Signing.
create temporary table forgeries (rpc text, extra jsonb, what text) on commit drop;
insert into forgeries values
  ('sign_note', jsonb_build_object('proof', 'tsp1.stories.' || repeat('A', 43)), 'random bytes'),
  ('sign_note', jsonb_build_object('id', gen_random_uuid()), 'the proof of another row'),
  ('save_note_draft', jsonb_build_object('proof', 'tsp1.stories.' || repeat('A', 43)), 'random bytes');
select is(
  pg_temp.write('rbt', 'amend_note', session_id, 2, 'too soon') ->> 'code', 'NOTE_NOT_SIGNED', 'a draft is not amended'
) from made;
select is(
  pg_temp.write('rbt', 'sign_note', session_id, 2, 'signed') ->> 'code', 'SESSION_NOT_DOCUMENTABLE',
  'a session that has not begun is not signed for'
) from made;
select tests.bring_forward(session_id) from made;
update public.sessions set status = 'in_progress' where id = (select session_id from made);
select is(
  pg_temp.write('rbt', 'sign_note', session_id, 2, 'signed') ->> 'code', 'SESSION_NOT_DOCUMENTABLE',
  'nor is a visit whose end is not known'
) from made;
select tests.record_visit(session_id) from made;
select is(
  pg_temp.write('rbt', rpc, session_id, 2, 'forged', null, extra) ->> 'code', 'FORBIDDEN', format('%s: %s is refused', rpc, what)
) from made cross join forgeries;
select is(
  pg_temp.write('rbt', 'sign_note', session_id, 2, 'forged', null, jsonb_build_object('ciphertext', pg_temp.seal('clinic', 'other words')))
    ->> 'code', 'FORBIDDEN', 'the proof of other words is refused'
) from made;
select is(
  pg_temp.write('rbt', 'sign_note', session_id, 2, 'forged', null, jsonb_build_object('proof', tests.proof(
    'session_note_versions', tests.id('clinic')::text, session_id::text, gen_random_uuid()::text, 'draft', '3',
    tests.id('rbt')::text, 'draft', private.text_digest(pg_temp.seal('clinic', 'forged'))))) ->> 'code', 'FORBIDDEN',
  'the proof of a draft is no signature'
) from made;
select is(
  pg_temp.write('rbt', 'sign_note', session_id, 2, 'forged', null, jsonb_build_object('facts_digest', repeat('0', 64))) ->> 'code',
  'NOTE_VERSION_CONFLICT', 'a note checked against other facts of the session is refused'
) from made;
select is(
  tests.error_code('postgres', format(
    $$ insert into private.session_note_versions (organization_id, session_id, id, version, status, data_key_id, ciphertext, proof,
         saved_by, signed_at, credential, attested)
       values (%L, %L, gen_random_uuid(), 3, 'signed', %L, %L, 'tsp1.stories.' || repeat('A', 43), %L, now(), 'RBT', '{}') $$,
    tests.id('clinic'), session_id, tests.id('clinic key'), pg_temp.seal('clinic', 'x'), tests.id('rbt'))), '23514',
  'nor does SQL sign without a proof'
) from made;
select is(
  pg_temp.write('rbt', 'sign_note', session_id, 2, 'signed') #- '{body,note,savedAt}' #- '{body,note,versionId}'
    #- '{body,note,signature,signedAt}' #- '{body,note,signature,attested}' #> '{body,note}',
  jsonb_build_object('sessionId', session_id, 'version', 3, 'status', 'signed', 'savedBy', tests.id('rbt'),
    'signature', jsonb_build_object('signedBy', tests.id('rbt'), 'credential', 'RBT')),
  'its therapist signs it, with her credential'
) from made;
select is(
  (select attested from private.session_note_versions where session_id = made.session_id and version = 3),
  jsonb_build_object('therapistId', tests.id('rbt'), 'clientId', tests.id('ann'),
    'actualStartTime', private.iso(date_trunc('minute', now()) - interval '1 hour'),
    'actualEndTime', private.iso(date_trunc('minute', now())), 'timeZone', 'UTC',
    'cptCode', null, 'cptModifiers', '[]'::jsonb, 'locationType', null),
  'for these times, this client, this service and place'
) from made;
select is(
  (select to_jsonb(state) - 'updated_at' - 'signed_at' from public.session_note_states as state where session_id = made.session_id),
  jsonb_build_object('organization_id', tests.id('clinic'), 'session_id', session_id, 'version', 3, 'status', 'signed',
    'signed_by', tests.id('rbt'), 'credential', 'RBT'),
  'the session''s state says so'
) from made;
select is(
  pg_temp.write('rbt', rpc, session_id, 3, 'again') ->> 'code', 'NOTE_SIGNED', 'after that, no ' || rpc
) from made cross join unnest(array['save_note_draft', 'sign_note']) as rpc;
select is(
  pg_temp.write('rbt', 'amend_note', session_id, 3, 'amended') #>> '{body,note,status}', 'amended', 'but she may amend it'
) from made;
select is(
  (select array_agg(status order by version) from private.session_note_versions where session_id = made.session_id),
  array['draft', 'draft', 'signed', 'amended'], 'which is a further version'
) from made;

-- Reading.
select is(
  pg_temp.read(person, 'read_note', jsonb_build_object('session_id', session_id)) #>> '{body,ciphertext}',
  pg_temp.seal('clinic', 'amended'), format('%s reads the newest version, sealed', person)
) from made cross join unnest(array['rbt', 'admin', 'super']) as person;
select is(
  pg_temp.read('admin', 'read_note', jsonb_build_object('session_id', session_id, 'version', 3)) #>> '{body,ciphertext}',
  pg_temp.seal('clinic', 'signed'), 'and what was signed then, word for word'
) from made;
select is(
  pg_temp.read(person, rpc, jsonb_build_object('session_id', session_id)) ->> 'code', 'FORBIDDEN',
  format('%s gets nothing from %s', person, rpc)
)
from made
cross join unnest(array['bcba', 'parent', 'other admin']) as person
cross join unnest(array['read_note', 'note_history']) as rpc;
select is(
  pg_temp.read('rbt', 'read_note', jsonb_build_object('session_id', later_id)) ->> 'code', 'NOTE_NOT_FOUND', 'no note is no note'
) from made;
select is(
  jsonb_path_query_array(pg_temp.read('admin', 'note_history', jsonb_build_object('session_id', session_id)), '$.body.versions[*].status'),
  '["draft", "draft", "signed", "amended"]', 'the history lists every version'
) from made;
select is(
  tests.rows(person, 'select from public.session_note_states'), seen, format('%s sees the state of %s note', person, seen)
) from (values ('rbt', 1::bigint), ('admin', 1), ('bcba', 0), ('parent', 0), ('other admin', 0)) as expected (person, seen);

-- What is sealed cannot be anything else, whoever writes it.
select is(
  tests.error_code('postgres', format(
    $$ insert into private.session_note_versions (organization_id, session_id, id, version, status, data_key_id, ciphertext, proof, saved_by)
       values (%L, %L, gen_random_uuid(), 1, 'draft', %L, 'Ann cried today', 'tsp1', %L) $$,
    tests.id('clinic'), later_id, tests.id('clinic key'), tests.id('rbt'))),
  '23514', 'plaintext is refused, to the owner of the table too'
) from made;
select is(tests.error_code('service_role', 'select from private.session_note_versions'), '42501', 'service_role does not reach the table');
select is(
  tests.error_code('postgres', statement), '23001', statement
)
from unnest(array[
  'update private.session_note_versions set ciphertext = ciphertext', 'delete from private.session_note_versions',
  'truncate private.session_note_versions', 'delete from public.session_note_states',
  'update public.session_note_states set version = version', 'delete from private.data_keys'
]) as statement;
select is(
  tests.error('postgres', format(
    $$ insert into private.session_note_versions (organization_id, session_id, id, version, status, data_key_id, ciphertext, proof, saved_by)
       values (%L, %L, gen_random_uuid(), 1, 'draft', %L, %L, 'tsp1', %L) $$,
    tests.id('clinic'), later_id, tests.id('clinic key'), pg_temp.seal('clinic', 'x'), tests.id('bcba'))) ->> 'message',
  'only the rendering provider writes and signs a note', 'another therapist''s note is refused, also to direct SQL'
) from made;

-- The record. The booking's own events come first.
select is(
  (select array_agg(event order by position) from unnest(tests.events()) with ordinality as item (event, position)
    where event ~ '^(note|data_key)'),
  array['data_key.refused FORBIDDEN', 'data_key.refused FORBIDDEN', 'data_key.refused FORBIDDEN', 'data_key.refused FORBIDDEN',
    'data_key.refused CONTENT_UNREADABLE', 'data_key.created', 'note.saved', 'note.refused NOTE_VERSION_CONFLICT', 'note.saved']
    || array_fill('note.refused FORBIDDEN'::text, array[9])
    || array['note.refused NOTE_NOT_SIGNED', 'note.refused SESSION_NOT_DOCUMENTABLE', 'note.refused SESSION_NOT_DOCUMENTABLE']
    || array_fill('note.refused FORBIDDEN'::text, array[5])
    || array['note.refused NOTE_VERSION_CONFLICT', 'note.signed', 'note.refused NOTE_SIGNED',
      'note.refused NOTE_SIGNED', 'note.amended', 'note.read', 'note.read', 'note.read', 'note.read']
    || array_fill('note.refused FORBIDDEN'::text, array[6])
    || array['note.refused NOTE_NOT_FOUND', 'note.history_read'],
  'each of these left one event; a replay none'
);

select * from finish();
rollback;
