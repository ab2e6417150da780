-- What somebody may do in one clinic says nothing of another that they are a member of as well.
begin;
select plan(6);
select tests.open_clinic(), tests.open_clinic('other ');
insert into public.memberships (organization_id, user_id, role, permissions)
values (tests.id('other clinic'), tests.id('rbt'), 'therapist', '{view_audit}');
create temporary table there on commit drop as select jsonb_build_object('org_id', tests.id('other clinic')) as claims;

select isnt(tests.rows('rbt', 'select from audit.events', claims), 0::bigint,
  'with a permission for it they read the audit of the clinic that gave it') from there;
select is(tests.rows('rbt', 'select from audit.events'), 0::bigint, 'and not that of the other');
select is(tests.rows('rbt', 'select from audit.events', claims || jsonb_build_object('org_id', tests.id('clinic'))), 0::bigint,
  'whichever the token names') from there;

-- A profile is of a member: an admin makes none for somebody whom only the other clinic knows.
create function pg_temp.profile_of(person text) returns text
language sql
as $$
  select format('insert into public.therapists (organization_id, id, display_name, time_zone) values (%L, %L, ''P'', ''UTC'')',
    tests.id('clinic'), tests.id(person))
$$;
select is(tests.error_code('admin', pg_temp.profile_of('other bcba')), '42501', 'an admin makes no profile for a stranger');
insert into public.memberships (organization_id, user_id, role) values (tests.id('clinic'), tests.id('other bcba'), 'therapist');
select is(tests.error_code('admin', pg_temp.profile_of('other bcba')), null, 'but for a member');
select is(tests.error_code('other admin', pg_temp.profile_of('other bcba')), '42501', 'the admin of another clinic makes none here');
select * from finish();
rollback;
