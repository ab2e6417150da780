-- What people change of their own, what parents are told of therapists, and working in two clinics.
begin;
select plan(42);
select tests.open_clinic();
select tests.open_clinic('other ');

-- A therapist's hours are hers; the rest of her profile is the clinic's.
select is(tests.call('rbt', $$ select public.set_availability_hours('{"monday": [{"start": "09:00", "end": "12:00"}]}') $$) -> 'body',
  jsonb_build_object('therapistId', tests.id('rbt'), 'availabilityHours', '{"monday": [{"start": "09:00", "end": "12:00"}]}'::jsonb,
    'touched', 0, 'touchedSessionIds', '[]'::jsonb, 'touchedHolds', 0, 'touchedHoldsUntil', null),
  'a therapist sets her hours');
select is((select availability_hours from public.therapists where id = tests.id('rbt')), '{"monday": [{"start": "09:00", "end": "12:00"}]}',
  'they are kept');
select results_eq(
  $$ select action, actor_user_id, before #>> '{0,availability_hours}', after #>> '{0,availability_hours,monday,0,start}' from audit.events
     where organization_id = tests.id('clinic') and entity = 'therapist' and action <> 'therapist.added' $$,
  $$ values ('therapist.changed', tests.id('rbt'), null, '09:00') $$, 'in one event, from what to what');
select is(tests.call('rbt', 'select public.set_availability_hours(null)') -> 'ok', 'true', 'null is no limit');
select is(tests.error('rbt', 'select public.set_availability_hours(''{"someday": []}'')') ->> 'code', 'PT400', 'nonsense is refused');
select is(tests.call('rbt', format('select public.set_availability_hours(''{}'', %L)', tests.id('bcba'))) ->> 'code', 'FORBIDDEN',
  'a colleague''s hours are not hers');
select is((select array_agg(code) from audit.events where organization_id = tests.id('clinic') and action = 'therapist.refused'),
  array['FORBIDDEN'], 'the attempt is kept');
select is(tests.call('admin', format('select public.set_availability_hours(''{}'', %L)', tests.id('bcba'))) -> 'ok', 'true', 'an admin sets anybody''s');
select is(tests.call('parent', 'select public.set_availability_hours(''{}'')') ->> 'code', 'FORBIDDEN', 'a parent has none');
select is(tests.rows('rbt', 'update public.therapists set display_name = ''Doctor'', credential = ''BCBA-D'' where true'), 0::bigint,
  'a therapist does not promote herself');
select is(tests.rows('rbt', format($$ insert into public.availability_exceptions (organization_id, therapist_id, kind, starts_at, ends_at)
  values (%L, %L, 'time_off', '2030-01-01Z', '2030-01-02Z') $$, tests.id('clinic'), tests.id('rbt'))), 1::bigint, 'she takes a day off');
select is(tests.error_code('rbt', format($$ insert into public.availability_exceptions (organization_id, therapist_id, kind, starts_at, ends_at)
  values (%L, %L, 'time_off', '2030-01-01Z', '2030-01-02Z') $$, tests.id('clinic'), tests.id('bcba'))), '42501', 'but gives nobody one');
select is((select count(*) from audit.events where organization_id = tests.id('clinic') and action = 'availability_exception.added'), 1::bigint, 'one event');

-- What new hours touch: what is booked and held outside of them. Nights of the clinic are not worked.
create temporary table own on commit drop as select
  tests.book('admin', 'rbt2', 'ben', array[tests.at(3, '20:00'), tests.at(3, '08:00')]) as ids,
  tests.hold('admin', tests.series('rbt2', 'ben', array[tests.at(4, '20:00'), tests.at(4, '08:00'), tests.at(5, '08:00')])) as held;
create function pg_temp.hours(hours jsonb) returns jsonb language sql as $$
  select (tests.call('rbt2', format('select public.set_availability_hours(%L)', hours)) -> 'body') - 'therapistId' - 'availabilityHours' $$;
select is(pg_temp.hours((select jsonb_object_agg(day, '[{"start": "08:00", "end": "18:00"}]'::jsonb) from unnest('{monday,tuesday,wednesday,thursday,friday,saturday,sunday}'::text[]) as day)),
  jsonb_build_object('touched', 1, 'touchedSessionIds', ids[2:2], 'touchedHolds', 2, 'touchedHoldsUntil', held #> '{body,expiresAt}'),
  'new hours tell which sessions lie outside of them, and of live holds') from own;
select is(tests.confirm('admin', tests.confirmation(held, 'rbt2', 'ben')) ->> 'ok', 'true', 'these confirm') from own;
select is(pg_temp.hours(null) - 'touchedSessionIds', '{"touched": 0, "touchedHolds": 0, "touchedHoldsUntil": null}', 'no limit touches nothing');

-- Parents.
select is(tests.rows('parent', 'select from public.therapists'), 0::bigint, 'a parent reads no profiles');
select results_eq('select name from jsonb_to_recordset(tests.call(''parent'',
    ''select jsonb_agg(jsonb_build_object(''''name'''', display_name)) from public.own_therapists()'')) as own (name text) order by 1',
  array['bcba', 'rbt', 'rbt2'], 'she reads the names of those who work with her child');
select is(tests.rows('rbt', 'select from public.own_therapists()'), 0::bigint, 'which is for parents only');
do $$ begin perform tests.book('rbt', 'rbt', 'ann', tests.at(1)); end $$;
delete from public.caseloads where client_id = tests.id('ann');
select is(tests.rows('parent', 'select from public.own_therapists() where id = ''' || tests.id('rbt') || ''''), 1::bigint,
  'and of those who did');
select is(tests.rows('parent', 'select from public.own_therapists()'), 1::bigint, 'only');
select is((select jsonb_array_length(before) from audit.events where organization_id = tests.id('clinic') and action = 'caseload.removed'), 3,
  'three assignments ended by one statement are one event that lists them');

-- Archived, not deleted.
select is(tests.error_code(person, format('delete from public.%I where id = %L', name, id)) in ('42501', '23001'), true, format('%s deletes no %s', person, name))
from unnest(array['super', 'postgres']) as person,
(values ('clients', tests.id('ann')), ('therapists', tests.id('rbt')), ('organizations', tests.id('clinic'))) as kept (name, id);
select is(tests.rows('admin', format('update public.clients set deleted_at = now() where id = %L', tests.id('ann'))), 1::bigint, 'an admin archives a client');
select is(tests.rows('admin', format('update public.clients set deleted_at = null where id = %L', tests.id('ann'))), 1::bigint, 'and takes it back');
select is(tests.rows('admin', format('update public.therapists set deleted_at = now() where id = %L', tests.id('rbt2'))), 1::bigint, 'and a therapist');
select is((select array_agg(action order by recorded_at) from audit.events where organization_id = tests.id('clinic')
  and action in ('client.archived', 'client.restored', 'therapist.archived', 'client.changed')),
  array['client.archived', 'client.restored', 'therapist.archived'], 'each is one event');
select is(tests.hold('admin', tests.request('rbt2', 'ben', tests.at(9))) ->> 'code', 'FORBIDDEN', 'nobody books the archived');
update public.clients set deleted_at = now() where id = tests.id('ben');
select is(tests.error_code('admin', format($$ insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone)
  values (%L, %L, %L, %L, %L, 'UTC') $$, tests.id('clinic'), tests.id(therapist), tests.id(client), tests.at(9), tests.at(9, '11:00'))), expected,
  format('over REST, %s and %s', therapist, client))
from (values ('rbt2', 'ann', '42501'), ('rbt', 'ben', '42501'), ('rbt', 'ann', null)) as booked (therapist, client, expected);

-- Two clinics, one person.
insert into public.memberships (organization_id, user_id, role) values (tests.id('other clinic'), tests.id('bcba'), 'admin');
select results_eq(
  format($$ select name, role, active from jsonb_to_recordset(tests.call('bcba',
    'select jsonb_agg(jsonb_build_object(''name'', name, ''role'', role, ''active'', is_active)) from public.my_organizations()',
    jsonb_build_object('org_id', %L))) as mine (name text, role text, active boolean) order by 1 $$, tests.id('clinic')),
  $$ values ('clinic', 'therapist', true), ('other clinic', 'admin', false) $$, 'somebody who works in two clinics sees both');
select is(tests.rows('bcba', 'select from public.clients', jsonb_build_object('org_id', tests.id(clinic))), seen, format('in the %s she sees its clients', clinic))
from (values ('clinic', 1::bigint), ('other clinic', 4)) as work (clinic, seen);
select is(tests.rows('bcba', format('select public.set_active_organization(%L)', tests.id('other clinic')), jsonb_build_object('org_id', tests.id('clinic'))),
  1::bigint, 'she changes over');
select is(private.custom_access_token_hook(jsonb_build_object('user_id', tests.id('bcba'), 'claims', '{}'::jsonb)) -> 'claims',
  jsonb_build_object('org_id', tests.id('other clinic'), 'user_role', 'admin'), 'and her next token says so');
delete from public.memberships where user_id = tests.id('bcba') and organization_id = tests.id('other clinic');
select is(private.custom_access_token_hook(jsonb_build_object('user_id', tests.id('bcba'), 'claims', '{}'::jsonb)) -> 'claims',
  jsonb_build_object('org_id', tests.id('clinic'), 'user_role', 'therapist'), 'until she leaves: then it is the other one again');

select * from finish();
rollback;
