-- What somebody may change she may not make somebody else's, in her clinic or another; what she may do in one clinic she may
-- not do in the next; who was archived writes no more.
begin;
select plan(14);
select tests.open_clinic();
select tests.open_clinic('other ');
select tests.prove_rows();

-- An UPDATE without WHERE reaches all one's own rows; none may leave her reach by it.
create temporary table made on commit drop as
select tests.book('rbt2', 'rbt2', 'ben', tests.at(1)) as session_id, tests.book('rbt', 'rbt', 'ann', tests.at(2)) as hers;
grant select on made to public;
select is(tests.rows('rbt2', 'update public.sessions set location_type = ''clinic'''), 1::bigint, 'a therapist reaches her own session');
select is(
  tests.error_code('rbt2', format('update public.sessions set therapist_id = %L', tests.id('bcba'))), '42501',
  'and does not hand it over'
);
select is((select therapist_id from public.sessions where id = session_id), tests.id('rbt2'), 'it stays hers') from made;
select is_empty(
  $$ select format('%s on %s', polname, polrelid::regclass) from pg_policy where polcmd = 'w' and polwithcheck is null $$,
  'every update policy says what a row may become'
);
select is_empty(
  $$
    select format('%s.%s by %s', relation.oid::regclass, attname, role)
    from pg_class as relation
    join pg_attribute on attrelid = relation.oid and attname = 'organization_id' and not attisdropped
    cross join unnest(array['authenticated']) as role
    where relation.relnamespace::regnamespace::text in ('public', 'private', 'audit', 'reports')
      and has_column_privilege(role, relation.oid, attnum, 'update')
  $$, 'no row changes its clinic'
);

-- One person, two clinics.
insert into public.memberships (organization_id, user_id, role, permissions) values
  (tests.id('other clinic'), tests.id('rbt2'), 'therapist', '{}');
insert into public.therapists (organization_id, id, display_name, credential, time_zone)
values (tests.id('other clinic'), tests.id('rbt2'), 'rbt2', 'RBT', 'UTC');
update public.memberships set permissions = '{view_audit}' where organization_id = tests.id('clinic') and user_id = tests.id('rbt2');
create temporary table there on commit drop as select jsonb_build_object('org_id', tests.id('other clinic')) as claims;
select is(tests.rows('rbt2', 'select from audit.events') > 0, true, 'with a permission here she reads the audit here');
select is(tests.rows('rbt2', 'select from audit.events', claims), 0::bigint, 'not there') from there;
select is(
  tests.error('rbt2', format('select * from public.session_history(%L)', session_id), claims) ->> 'hint', 'FORBIDDEN', 'by no function either'
) from there, made;
update public.memberships set role = 'super_admin' where organization_id = tests.id('clinic') and user_id = tests.id('rbt2');
select is(
  tests.call('rbt2', format('select public.change_member(%L, ''admin'')', tests.id('other rbt')), claims) ->> 'code', 'FORBIDDEN',
  'a role here is no role there'
) from there;

-- A data key that was retired long ago seals nothing new, even with a proof.
insert into private.data_keys (organization_id, id, wrapped_key, retired_at)
select tests.id('clinic'), tests.id(name), 'twk1.m1.AAAAAAAAAAAAAAAA.' || repeat('A', 107), retired_at
from (values ('old key', now() - interval '2 minutes'), ('late key', clock_timestamp() - interval '10 seconds'), ('key', null)) as data_key (name, retired_at);
create function pg_temp.save(key_name text) returns jsonb language sql as $$
  select tests.error('rbt', format('select public.save_note_draft(%L)', jsonb_build_object(
    'session_id', hers, 'base_version', 0, 'id', tests.id('version'), 'content_mac', repeat('0', 64), 'ciphertext', envelope,
    'proof', tests.proof('session_note_versions', tests.id('clinic')::text, hers::text, tests.id('version')::text, 'draft', '1',
      tests.id('rbt')::text, 'draft', private.text_digest(envelope)))))
  from made, concat_ws('.', 'tsb1', tests.id(key_name), 'AAAAAAAAAAAAAAAA', repeat('A', 32)) as envelope
$$;
select is(
  pg_temp.save('old key') ->> 'details', '[{"path": "ciphertext", "message": "must be sealed with the organization''s active data key"}]',
  'sealed with a key that was retired minutes ago'
);
select is(pg_temp.save('late key'), null, 'one that was retired while the request was under way is taken');

-- Archived, she neither writes nor signs; her admin still reads.
update public.therapists set deleted_at = now() where organization_id = tests.id('clinic') and id = tests.id('rbt');
select is(tests.call('rbt', format('select public.prepare_note(%L)', jsonb_build_object('session_id', hers))) ->> 'code', 'FORBIDDEN', 'archived, she writes no notes')
from made;
select is(
  tests.call('rbt', format('select public.save_note_draft(%L)', jsonb_build_object(
    'session_id', hers, 'base_version', 1, 'id', gen_random_uuid(), 'content_mac', repeat('0', 64),
    'ciphertext', concat_ws('.', 'tsb1', tests.id('key'), 'AAAAAAAAAAAAAAAA', repeat('A', 32)), 'proof', tests.proof('x')))) ->> 'code',
  'FORBIDDEN', 'nor past the function that prepares'
) from made;
select is(
  tests.call('admin', format('select public.note_history(%L)', jsonb_build_object('session_id', hers))) ->> 'ok', 'true', 'her admin reads on'
) from made;

select * from finish();
rollback;
