-- A super_admin adds members, changes what they are and removes them. The organization never loses its last super_admin,
-- nobody gives herself more than she has, and each change is one event, whichever way it was made.
begin;
select plan(47);
select tests.open_clinic();
select tests.open_clinic('other ');
do $$ begin perform tests.add_user('newcomer'), tests.add_user('second'); end $$;

create temporary table story on commit drop as select clock_timestamp() as opened;
grant select on story to public;
create function pg_temp.member(name text, clinic text default 'clinic') returns text
language sql stable as $$
  select concat_ws(' ', role, nullif(array_to_string(permissions, ' '), '')) from public.memberships
  where user_id = tests.id(name) and organization_id = tests.id(clinic) $$;
create function pg_temp.member_events() returns text[]
language sql stable as $$
  select coalesce(array_agg(concat_ws(' ', action, code, before #>> '{0,role}', after #>> '{0,role}') order by recorded_at), '{}')
  from audit.events where organization_id = tests.id('clinic') and entity in ('membership', 'client_user')
    and recorded_at > (select opened from story) $$;
create function pg_temp.begin_again() returns void language sql as $$ update story set opened = clock_timestamp() $$;

-- Adding.
select is(tests.call('super', format('select public.add_member(%L, ''therapist'')', tests.id('newcomer'))) -> 'ok', 'true',
  'a super_admin adds a member');
select is(pg_temp.member('newcomer'), 'therapist', 'with her role');
select is(tests.call('super', format('select public.add_member(%L, ''admin'')', tests.id('newcomer'))) ->> 'code',
  'ALREADY_A_MEMBER', 'once');
select is(tests.call('super', format('select public.add_member(%L, ''admin'')', tests.id('nobody at all'))) ->> 'code',
  'USER_NOT_FOUND', 'only somebody who exists');
select is(tests.call(person, format('select public.add_member(%L, ''admin'')', tests.id('second'))) ->> 'code', 'FORBIDDEN',
  format('%s adds nobody', person)) from unnest(array['admin', 'rbt', 'parent']) as person;
select is(tests.error('super', 'select public.add_member(null, ''admin'')') ->> 'hint', 'MISSING_FIELDS', 'a user is named');
select is(tests.error('anon', format('select public.add_member(%L, ''admin'')', tests.id('second'))) ->> 'code', '42501', 'anon may not ask');
select is(pg_temp.member_events(), array['membership.added therapist', 'membership.refused ALREADY_A_MEMBER',
  'membership.refused USER_NOT_FOUND', 'membership.refused FORBIDDEN', 'membership.refused FORBIDDEN', 'membership.refused FORBIDDEN'],
  'each attempt is one event');

-- Changing.
do $$ begin perform pg_temp.begin_again(); end $$;
select is(tests.call('super', format('select public.change_member(%L, permissions => ''{view_clients}'')', tests.id('newcomer'))) -> 'ok',
  'true', 'she is given a permission');
select is(pg_temp.member('newcomer'), 'therapist view_clients', 'and keeps her role');
select is(tests.call('super', format('select public.change_member(%L, ''admin'')', tests.id('newcomer'))) #>> '{body,role}',
  'admin', 'she is given another role');
select is(pg_temp.member('newcomer'), 'admin view_clients', 'and keeps her permission');
select is(tests.call('admin', format('select public.change_member(%L, ''super_admin'')', tests.id('admin'))) ->> 'code',
  'FORBIDDEN', 'an admin does not make herself super_admin');
select is(tests.rows('admin', format('update public.memberships set role = ''super_admin'' where user_id = %L', tests.id('admin'))),
  0::bigint, 'nor over REST');
select is(tests.error_code('admin', format('insert into public.memberships (organization_id, user_id, role) values (%L, %L, ''super_admin'')',
  tests.id('clinic'), tests.id('second'))), '42501', 'nor makes somebody else');
select is(tests.call('super', format('select public.change_member(%L, ''admin'')', tests.id('other rbt'))) ->> 'code',
  'MEMBER_NOT_FOUND', 'members of other organizations are not found');
select is(pg_temp.member('other rbt', 'other clinic'), 'therapist', 'and stay what they are');
select is(tests.rows('super', format('update public.memberships set role = ''therapist'' where user_id = %L', tests.id('newcomer'))),
  1::bigint, 'a super_admin does it over REST as well');
select is(tests.rows('super', format('update public.memberships set role = ''therapist'' where user_id = %L', tests.id('newcomer'))),
  1::bigint, 'a change that changes nothing');
select is(pg_temp.member_events(), array['membership.changed therapist therapist', 'membership.changed therapist admin',
  'membership.refused FORBIDDEN', 'membership.refused MEMBER_NOT_FOUND', 'membership.changed admin therapist'],
  'one event each, none for nothing');
select is(tests.error_code('postgres', format('update public.memberships set user_id = %L where user_id = %L', tests.id('second'), tests.id('newcomer'))),
  '23001', 'a membership is not passed on');

-- The last super_admin.
do $$ begin perform pg_temp.begin_again(); end $$;
select is(tests.call('super', format(statement, tests.id('super'))) ->> 'code', 'LAST_SUPER_ADMIN', 'the last super_admin stays: ' || statement)
from unnest(array['select public.remove_member(%L)', 'select public.change_member(%L, ''admin'')']) as statement;
select is(tests.error_code(person, format(statement, tests.id('super'))), '23001', format('%s: %s', person, statement))
from unnest(array['super', 'service_role', 'postgres']) as person,
unnest(array['delete from public.memberships where user_id = %L', 'update public.memberships set role = ''client'' where user_id = %L']) as statement;
select is(tests.error_code('postgres', format('delete from public.memberships where organization_id = %L', tests.id('clinic'))), '23001',
  'nor do all go at once');
select is(tests.error_code('postgres', 'truncate public.memberships cascade'), '23001', 'nor all of everywhere');
select is(tests.call('super', format('select public.add_member(%L, ''super_admin'')', tests.id('second'))) -> 'ok', 'true', 'with a second one');
select is(tests.call('super', format('select public.change_member(%L, ''admin'')', tests.id('super'))) -> 'ok', 'true', 'she may step down');
select is(pg_temp.member_events(), array['membership.refused LAST_SUPER_ADMIN', 'membership.refused LAST_SUPER_ADMIN',
  'membership.added super_admin', 'membership.changed super_admin admin'], 'what was refused and what happened');
select is(tests.call('super', format('select public.remove_member(%L)', tests.id('second'))) ->> 'code', 'FORBIDDEN', 'and is no longer asked');

-- Removing, and what becomes of the rest.
do $$ begin perform pg_temp.begin_again(); end $$;
select is(tests.call('second', format('select public.remove_member(%L)', tests.id('parent'))) -> 'ok', 'true', 'a parent is removed');
select is((select count(*) from public.client_users where user_id = tests.id('parent')), 0::bigint, 'her access to the client ends with it');
select is((select array_agg(item order by item) from unnest(pg_temp.member_events()) as item), array['client_user.removed', 'membership.removed client'],
  'both are events');
select is((select actor_user_id from audit.events where organization_id = tests.id('clinic') and action = 'client_user.removed'), tests.id('second'), 'with who did it');
select is(tests.error_code('postgres', format('delete from auth.users where id = %L', tests.id(name))), '23503',
  format('deleting the user %s is refused', name)) from unnest(array['rbt', 'admin', 'second']) as name;
select is(tests.call('second', format('select public.remove_member(%L)', tests.id('newcomer'))) -> 'ok', 'true', 'one who leaves no records');
select lives_ok(format('delete from auth.users where id = %L', tests.id('newcomer')), 'can be deleted afterwards');
select is((select count(*) from audit.events where organization_id = tests.id('clinic') and tests.id('newcomer') = any (entity_ids)), 6::bigint,
  'her history stays');

select * from finish();
rollback;
