-- Kept answers and superseded drafts go when nobody can ask for them any more, with and without pg_cron.
begin;
select plan(12);
select tests.open_clinic();
select tests.prove_rows();
do $$ begin perform private.sweep(); end $$;

insert into private.idempotency_keys (organization_id, user_id, endpoint, idempotency_key, fingerprint, status, response, created_at)
select tests.id('clinic'), tests.id('rbt'), 'sessions-hold', age::text, '', 200, '{}', now() - age
from unnest(array[interval '1 hour', '24 hours', '26 hours', '30 days']) as age;
select is(private.sweep_idempotency_keys(1), 1, 'a little at a time');
select is(private.sweep_idempotency_keys(), 1, 'keys go when they have lapsed');
select is((select array_agg(created_at > now() - interval '25 hours') from private.idempotency_keys where user_id = tests.id('rbt')), array[true, true], 'not before');

-- A note with three drafts, signed; and one that is a draft.
insert into private.data_keys (organization_id, id, wrapped_key)
values (tests.id('clinic'), tests.id('clinic key'), 'twk1.m1.AAAAAAAAAAAAAAAA.' || repeat('A', 107));
create temporary table made on commit drop as
select tests.book('rbt', 'rbt', 'ann', tests.at(1)) as signed_id, tests.book('rbt', 'rbt', 'ann', tests.at(2)) as draft_id;
do $$ begin
  alter table public.sessions disable trigger user;
  update public.sessions set status = 'in_progress' where id = (select signed_id from made);
  alter table public.sessions enable trigger user;
end $$;
select tests.record_visit(signed_id, now() - interval '2 hours', now() - interval '1 hour') from made;
create function pg_temp.write(session uuid, version integer, status text, at timestamptz) returns void language sql as $$
  insert into private.session_note_versions (
    organization_id, session_id, id, version, status, data_key_id, ciphertext, saved_by, saved_at, signed_at, credential, attested
  )
  values (
    tests.id('clinic'), session, gen_random_uuid(), version, status, tests.id('clinic key'),
    concat_ws('.', 'tsb1', tests.id('clinic key'), 'AAAAAAAAAAAAAAAA', repeat('A', 32)), tests.id('rbt'), at,
    case status when 'signed' then at end, case status when 'signed' then 'RBT' end, case status when 'signed' then (
      select private.session_facts(known) from public.sessions as known where known.id = session
    ) end
  )
$$;
select pg_temp.write(draft_id, 1, 'draft', now() - interval '90 days'), pg_temp.write(draft_id, 2, 'draft', now() - interval '90 days') from made;
select pg_temp.write(signed_id, version, case version when 4 then 'signed' else 'draft' end, now() - interval '29 days')
from made, generate_series(1, 4) as version;
select is(private.sweep_drafts(), 0, 'a note signed within a month keeps its drafts, an unsigned one always');
select is(tests.error_code('postgres', format('delete from private.session_note_versions where session_id = %L', id)), '23001', 'also against SQL')
from made, unnest(array[signed_id, draft_id]) as id;

alter table private.session_note_versions disable trigger user;
update private.session_note_versions set signed_at = now() - interval '31 days' where status = 'signed' and session_id = (select signed_id from made);
alter table private.session_note_versions enable trigger user;
alter table public.session_note_states disable trigger user;
update public.session_note_states set signed_at = now() - interval '31 days' where session_id = (select signed_id from made);
alter table public.session_note_states enable trigger user;
select is(private.sweep_drafts(2), 2, 'after a month they go, a few at a time');
select is(private.sweep() ->> 'drafts', '1', 'or with everything else');
select is((select array_agg(version) from private.session_note_versions where session_id = signed_id), array[4]::bigint[], 'the signed version stays') from made;
select is((select count(*) from private.session_note_versions where session_id = draft_id), 2::bigint, 'and a note that is a draft') from made;
select is(
  (select sum(jsonb_array_length(before)) from audit.events where action = 'note.drafts_removed' and entity_ids[1] = (select signed_id from made)),
  3::bigint, 'with events that say which'
);
select is(tests.error_code('postgres', format('delete from private.session_note_versions where session_id = %L', signed_id)), '23001', 'the rest is a record')
from made;

select * from finish();
rollback;
