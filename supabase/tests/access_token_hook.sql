-- The token says which organization its user works in, and as what; her memberships decide which that may be.
begin;
select plan(19);
select tests.open_clinic();
select tests.open_clinic('other ');
do $$ begin perform tests.add_user('nobody'); end $$;

create function tests.token(person text, claims jsonb default '{"role": "authenticated", "aal": "aal1"}') returns jsonb language sql as $$
  select private.custom_access_token_hook(jsonb_build_object('user_id', tests.id(person), 'claims', claims, 'authentication_method', 'password')) $$;

select is(tests.token('rbt') -> 'claims', jsonb_build_object('role', 'authenticated', 'aal', 'aal1', 'org_id', tests.id('clinic'), 'user_role', 'therapist'),
  'org_id and user_role stand beside the role, which stays what it was');
select is(tests.token('rbt') - 'claims', jsonb_build_object('user_id', tests.id('rbt'), 'authentication_method', 'password'), 'the rest of the event is untouched');
select is(tests.token('nobody') -> 'claims', '{"role": "authenticated", "aal": "aal1"}', 'who belongs nowhere gets neither');
select is(tests.token('nobody', '{"org_id": "x", "user_role": "super_admin"}') -> 'claims', '{}', 'and keeps none she came with');
select is(tests.token('parent') #>> '{claims,user_role}', 'client', 'each member has her role');

-- Somebody in two clinics chooses.
insert into public.memberships (organization_id, user_id, role, created_at) values (tests.id('other clinic'), tests.id('rbt'), 'admin', now() + interval '1 minute');
select is(tests.token('rbt') #>> '{claims,org_id}', tests.id('clinic')::text, 'without a choice it is the earliest joined');
select is(tests.rows('rbt', format('select public.set_active_organization(%L)', tests.id('other clinic'))), 1::bigint, 'she chooses the other');
select is(tests.token('rbt') #>> '{claims,org_id}', tests.id('other clinic')::text, 'and her next token says so');
select is(tests.token('rbt') #>> '{claims,user_role}', 'admin', 'with the role she has there');
select is(tests.rows('rbt', format('select public.set_active_organization(%L)', tests.id('clinic'))), 1::bigint, 'she chooses again');
select is(tests.token('rbt') #>> '{claims,org_id}', tests.id('clinic')::text, 'and is back');
select is(tests.error_code('rbt2', format('select public.set_active_organization(%L)', tests.id('other clinic'))), 'PT403', 'nobody chooses a clinic she is not in');
select is(tests.error_code('rbt2', 'select public.set_active_organization(null)'), 'PT403', 'nor none');
select is(tests.error_code('anon', format('select public.set_active_organization(%L)', tests.id('clinic'))), '42501', 'anon chooses nothing');
select is(tests.rows('rbt', format('select public.set_active_organization(%L)', tests.id('other clinic'))), 1::bigint, 'she chooses the other once more');
delete from public.memberships where user_id = tests.id('rbt') and organization_id = tests.id('other clinic');
select is(tests.token('rbt') #>> '{claims,org_id}', tests.id('clinic')::text, 'and is removed from it: the choice goes with the membership');

select is(tests.error_code(who, format('select private.custom_access_token_hook(%L)', '{}')), '42501', format('%s cannot call the hook', who))
from unnest(array['anon', 'rbt', 'service_role']) as who;

select * from finish();
rollback;
