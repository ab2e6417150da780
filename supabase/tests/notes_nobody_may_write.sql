-- Notes that are not written by anybody: a draft over a signed note, by whatever way; any by a therapist who has left.
begin;
select plan(18);
select tests.open_clinic();
select tests.prove_rows();
insert into private.data_keys (organization_id, id, wrapped_key)
values (tests.id('clinic'), tests.id('clinic key'), 'twk1.m1.AAAAAAAAAAAAAAAA.' || repeat('A', 107));
create temporary table made on commit drop as
select tests.book('rbt', 'rbt', 'ann', tests.at(1)) as signed_id, tests.book('rbt', 'rbt', 'ann', tests.at(2)) as later_id;
do $$ begin
  alter table public.sessions disable trigger user;
  update public.sessions set status = 'in_progress' where id = (select signed_id from made);
  alter table public.sessions enable trigger user;
end $$;
select tests.record_visit(signed_id, now() - interval '2 hours', now() - interval '1 hour') from made;

create function pg_temp.version(session uuid, version integer, status text) returns text
language sql
as $$
  select format(
    'insert into private.session_note_versions (
      organization_id, session_id, id, version, status, data_key_id, ciphertext, saved_by, signed_at, credential, attested
    ) values (%L, %L, gen_random_uuid(), %s, %L, %L, %L, %L, %s)',
    tests.id('clinic'), session, version, status, tests.id('clinic key'),
    concat_ws('.', 'tsb1', tests.id('clinic key'), 'AAAAAAAAAAAAAAAA', repeat('A', 32)), tests.id('rbt'),
    case status when 'draft' then 'null, null, null' else (
      select format('now(), ''RBT'', %L', private.session_facts(known)) from public.sessions as known where known.id = session
    ) end
  )
$$;
select is(tests.error_code('postgres', pg_temp.version(signed_id, 2, 'draft')), '23514', 'a version that leaves one out') from made;
select is(tests.error_code('postgres', pg_temp.version(signed_id, 1, 'signed')), null, 'a note is signed') from made;
select is(tests.error('postgres', pg_temp.version(signed_id, 2, status)) ->> 'message', 'a signed note is only amended', status || ' over it')
from made, unnest(array['draft', 'signed']) as status;

-- What no function sealed is no note, however well it looks.
select is(tests.error('postgres', format('insert into private.session_note_versions (organization_id, session_id, id, version, status, data_key_id, ciphertext, saved_by, proof)
  values (%L, %L, gen_random_uuid(), 1, ''draft'', %L, %L, %L, %L)', tests.id('clinic'), later_id, tests.id('clinic key'),
  concat_ws('.', 'tsb1', tests.id('clinic key'), 'AAAAAAAAAAAAAAAA', repeat('A', 32)), tests.id('rbt'), proof)) ->> 'message',
  'a version of a note needs the proof of the function that sealed it', format('a note with the proof %s', proof))
from made, unnest(array['tsp1.stories.' || repeat('A', 43), tests.proof('session_note_versions', tests.id('clinic')::text), 'x']) as proof;

create function pg_temp.prepare(session uuid) returns jsonb
language sql
as $$ select tests.call('rbt', format('select public.prepare_note(%L, ''story'')', jsonb_build_object('session_id', session))) $$;
select is(pg_temp.prepare(later_id) -> 'ok', 'true', 'a therapist writes the note of their session') from made;
update public.therapists set deleted_at = now() where id = tests.id('rbt');
select is(pg_temp.prepare(later_id) ->> 'code', 'FORBIDDEN', 'and not after they have left') from made;
update public.therapists set deleted_at = null where id = tests.id('rbt');
select is(pg_temp.prepare(later_id) -> 'ok', 'true', 'until they come back') from made;

-- With a data key that has been retired nobody seals anything, but for a request that was under way then.
create function pg_temp.seal_after(age interval) returns void
language sql
as $$
  update private.data_keys set retired_at = clock_timestamp() - age where id = tests.id(age || ' key');
  select private.require_sealed(
    concat_ws('.', 'tsb1', tests.id(age || ' key'), 'AAAAAAAAAAAAAAAA', repeat('A', 32)), tests.id('clinic'))
$$;
update private.data_keys set retired_at = now() where id = tests.id('clinic key');
insert into private.data_keys (organization_id, id, wrapped_key)
values (tests.id('clinic'), tests.id('00:00:30 key'), 'twk1.m1.AAAAAAAAAAAAAAAA.' || repeat('A', 107));
select lives_ok($$ select pg_temp.seal_after('30 seconds') $$, 'half a minute ago is under way');
insert into private.data_keys (organization_id, id, wrapped_key)
values (tests.id('clinic'), tests.id('00:02:00 key'), 'twk1.m1.AAAAAAAAAAAAAAAA.' || repeat('A', 107));
select throws_ok($$ select pg_temp.seal_after('2 minutes') $$, 'PT400', null, 'two minutes ago is not');
-- A key of proofs is retired, and never another.
select is(tests.error_code('postgres', format('update private.attestation_keys set %s where id = ''stories''', change)), expected, change)
from (values ('key = sha256(''another'')', '23514'), ('installed_by = ''nobody''', '23514'), ('retired_at = null', null)) as edit (change, expected);
create temporary table proven on commit drop as select tests.proof('a row', '1') as proof;
select ok(private.proof_holds(proof, array['a row', '1']), 'a key in use proves') from proven;
select ok(not private.proof_holds(proof, array['a row', '2']), 'what it was made for') from proven;
update private.attestation_keys set retired_at = now() where id = 'stories';
select ok(not private.proof_holds(proof, array['a row', '1']), 'retired it proves nothing new') from proven;

select * from finish();
rollback;
