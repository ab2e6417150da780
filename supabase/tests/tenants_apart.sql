-- Two clinics share a database and learn nothing of each other: not by reading, not by pointing, not by colliding.
-- (Who reads and writes what within a clinic is the access matrix's business: docs/access-matrix.md.)
begin;
select plan(45);
select tests.open_clinic();
select tests.open_clinic('other ');

-- The same day in both.
do $$
declare
  prefix text;
begin
  foreach prefix in array array['', 'other '] loop
    perform tests.book(prefix || 'rbt', prefix || 'rbt', prefix || 'ann', array[tests.at(1), tests.at(2)]);
    perform tests.cancel(prefix || 'rbt', jsonb_build_object('date', tests.at(2)::date, 'time_zone', 'UTC'));
    perform tests.hold(prefix || 'rbt', tests.request(prefix || 'rbt', prefix || 'ann', tests.at(3), 60, jsonb_build_object('room_id', tests.id(prefix || 'blue'))), 'k');
    insert into public.availability_exceptions (organization_id, therapist_id, kind, starts_at, ends_at)
    values (tests.id(prefix || 'clinic'), tests.id(prefix || 'rbt'), 'time_off', tests.at(9), tests.at(10));
    insert into public.session_groups (organization_id, therapist_id, start_time, end_time)
    values (tests.id(prefix || 'clinic'), tests.id(prefix || 'rbt'), tests.at(11), tests.at(11, '11:00'));
  end loop;
end $$;

-- Reading: every table and view of the API that knows of organizations, as everybody.
create temporary table readable on commit drop as
select format('%I.%I', class.relnamespace::regnamespace, class.relname) as relation
from pg_attribute as attribute
join pg_class as class on class.oid = attribute.attrelid
where attribute.attname = 'organization_id' and class.relkind in ('r', 'p', 'v', 'm') and not class.relispartition
  and class.relnamespace::regnamespace::text in ('public', 'audit', 'reports')
  and has_any_column_privilege('authenticated', class.oid, 'select');
select cmp_ok(count(*), '>=', 16::bigint, 'there are tables to read') from readable;
create function tests.foreign_rows(person text, claims jsonb default '{}') returns text[] language plpgsql as $$
declare
  relation text;
  seen text[] := '{}';
begin
  for relation in select readable.relation from readable loop
    if tests.rows(person, format('select organization_id from %s where organization_id = %L', relation, tests.id('other clinic')), claims) > 0 then
      seen := seen || relation;
    end if;
  end loop;
  return seen;
end $$;
select is(tests.foreign_rows(person), '{}', format('%s sees no row of the other clinic anywhere', person))
from unnest(array['super', 'admin', 'bcba', 'rbt', 'parent']) as person;
select is(tests.foreign_rows(person, jsonb_build_object('org_id', tests.id('other clinic'), 'user_role', 'super_admin')), '{}',
  format('%s sees none either when her token names that clinic', person)) from unnest(array['super', 'rbt', 'parent']) as person;
select cmp_ok(cardinality(tests.foreign_rows('other super')), '>=', 12, 'while its own people do');

-- Pointing: no row can name somebody of another clinic, whoever writes it.
select ok(tests.error_code('service_role', statement) in ('23503', '23514'), what)
from (values
  ('a caseload', format('insert into public.caseloads (organization_id, therapist_id, client_id) values (%L, %L, %L)', tests.id('clinic'), tests.id('rbt'), tests.id('other ann'))),
  ('a session with a foreign client', format('insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone) values (%L, %L, %L, %L, %L, ''UTC'')',
    tests.id('clinic'), tests.id('rbt'), tests.id('other ann'), tests.at(20), tests.at(20, '11:00'))),
  ('a session with a foreign therapist', format('insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone) values (%L, %L, %L, %L, %L, ''UTC'')',
    tests.id('clinic'), tests.id('other rbt'), tests.id('ann'), tests.at(20), tests.at(20, '11:00'))),
  ('a session in a foreign room', format('insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone, room_id) values (%L, %L, %L, %L, %L, ''UTC'', %L)',
    tests.id('clinic'), tests.id('rbt'), tests.id('ann'), tests.at(20), tests.at(20, '11:00'), tests.id('other blue'))),
  ('time off of a foreign therapist', format('insert into public.availability_exceptions (organization_id, therapist_id, kind, starts_at, ends_at) values (%L, %L, ''time_off'', %L, %L)',
    tests.id('clinic'), tests.id('other rbt'), tests.at(20), tests.at(21))),
  ('a parent of a foreign client', format('insert into public.client_users (organization_id, client_id, user_id) values (%L, %L, %L)', tests.id('clinic'), tests.id('other ann'), tests.id('parent'))),
  ('a group of a foreign therapist', format('insert into public.session_groups (organization_id, therapist_id, start_time, end_time) values (%L, %L, %L, %L)',
    tests.id('clinic'), tests.id('other rbt'), tests.at(20), tests.at(20, '11:00')))
) as attempt (what, statement);
select is_empty(
  $$ select conrelid::regclass, conname from pg_constraint
     where contype = 'f' and connamespace::regnamespace::text in ('public', 'private')
       and exists (select 1 from pg_attribute where attrelid = conrelid and attname = 'organization_id')
       and exists (select 1 from pg_attribute where attrelid = confrelid and attname = 'organization_id')
       and not exists (
         select 1 from pg_attribute as a join pg_attribute as b on b.attrelid = confrelid and b.attname = 'organization_id'
         where a.attrelid = conrelid and a.attname = 'organization_id' and a.attnum = conkey[1] and b.attnum = confkey[1]) $$,
  'every foreign key between tables of a clinic begins with the organization'
);
select is_empty(
  $$ select conrelid::regclass, conname from pg_constraint
     where contype in ('p', 'u', 'x') and connamespace::regnamespace::text in ('public', 'private', 'audit')
       -- A clinic's own service codes meet everybody's in their constraints, and no other clinic's; ids are made there.
       and conrelid::regclass::text not in ('organizations', 'private.active_organizations', 'service_codes')
       and exists (select 1 from pg_attribute where attrelid = conrelid and attname = 'organization_id')
       and not exists (select 1 from pg_attribute where attrelid = conrelid and attname = 'organization_id' and attnum = conkey[1]) $$,
  'every key and every exclusion too, so no constraint is a channel between clinics'
);

-- Writing: nobody writes into the other clinic. Each tries what she may do at home.
select is(tests.error_code(person, statement), '42501', format('%s cannot %s there', person, what))
from unnest(array['super', 'admin', 'rbt']) as person,
lateral (values
  ('book', format('insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone) values (%L, %L, %L, %L, %L, ''UTC'')',
    tests.id('other clinic'), tests.id('other rbt'), tests.id('other ann'), tests.at(20), tests.at(20, '11:00'))),
  ('make a client', format('insert into public.clients (organization_id, reference) values (%L, ''X'')', tests.id('other clinic'))),
  ('join', format('insert into public.memberships (organization_id, user_id, role) values (%L, %L, ''super_admin'')', tests.id('other clinic'), tests.id(person)))
) as deed (what, statement);
select is(tests.rows('super', statement), 0::bigint, 'no row there is touched by: ' || left(statement, 60))
from unnest(array[
  format('update public.sessions set status = ''cancelled'' where organization_id = %L', tests.id('other clinic')),
  format('update public.clients set deleted_at = now() where organization_id = %L', tests.id('other clinic')),
  format('update public.therapists set display_name = ''X'' where organization_id = %L', tests.id('other clinic')),
  format('update public.rooms set name = ''X'' where organization_id = %L', tests.id('other clinic')),
  format('update public.organizations set name = ''X'' where id = %L', tests.id('other clinic')),
  format('delete from public.caseloads where organization_id = %L', tests.id('other clinic')),
  format('delete from public.availability_exceptions where organization_id = %L', tests.id('other clinic'))
]) as statement;
select is(tests.error_code('super', format('update public.clients set organization_id = %L', tests.id('other clinic'))), '42501', 'nor can a row be carried over');

-- Colliding: one person in both clinics, the same ids, the same keys, the same names.
insert into public.memberships (organization_id, user_id, role) values (tests.id('other clinic'), tests.id('rbt2'), 'therapist');
insert into public.therapists (organization_id, id, display_name, time_zone) values (tests.id('other clinic'), tests.id('rbt2'), 'rbt2', 'UTC');
insert into public.clients (organization_id, id, reference) values (tests.id('other clinic'), tests.id('ann'), 'same id');
insert into public.rooms (organization_id, id, name) values (tests.id('other clinic'), tests.id('blue'), 'same id');
insert into public.caseloads (organization_id, therapist_id, client_id) values (tests.id('other clinic'), tests.id('rbt2'), tests.id('ann'));
create temporary table there on commit drop as select jsonb_build_object('org_id', tests.id('other clinic')) as claims;
create temporary table here_held on commit drop as
select tests.hold('rbt2', tests.request('rbt2', 'ann', tests.at(30), 60, jsonb_build_object('room_id', tests.id('blue'))), 'same key') as outcome;
create temporary table there_held on commit drop as
select tests.call('rbt2', format('select public.hold_sessions(%L, ''same key'')',
  tests.request('rbt2', 'ann', tests.at(30), 60, jsonb_build_object('room_id', tests.id('blue')))), claims) as outcome from there;
select is(jsonb_build_array(outcome -> 'ok', outcome -> 'replayed'), '[true, false]',
  'somebody who works for both can be held at the same time in both: overlaps across clinics are nobody''s to see') from there_held;
select is(tests.call('rbt2', format('select public.release_hold(%L)', jsonb_build_object('hold_key', here_held.outcome #> '{body,holdKey}')), claims) #>> '{body,released}', 'false',
  'a hold is not released from the other clinic, even by its owner') from here_held, there;
select is(tests.call('rbt2', format('select public.confirm_sessions(%L)', tests.confirmation(here_held.outcome, 'rbt2', 'ann')), claims) ->> 'code', 'HOLD_NOT_FOUND',
  'nor confirmed') from here_held, there;
select is((select count(*) from private.claims where resource_id = tests.id('rbt2')), 2::bigint, 'each clinic has its own claim');
select is(tests.confirm('rbt2', tests.confirmation(here_held.outcome, 'rbt2', 'ann')) ->> 'ok', 'true', 'at home it confirms') from here_held;
select is(tests.call('rbt2', format('select public.cancel_sessions(%L)', jsonb_build_object('session_ids', jsonb_build_array(outcome #> '{body,holds,0,holdId}'))), claims) ->> 'code', 'FORBIDDEN',
  'and cannot be cancelled from there') from here_held, there;
select is(tests.call('rbt2', 'select count(*) from public.sessions', claims), '0', 'nor seen') from there;
select is(tests.call('rbt2', format('select count(*) from public.find_open_slots(%L, %L, %L, 60)', tests.id('rbt2'), tests.at(30, '12:00'), tests.at(30, '13:00')), claims), '1',
  'free time is that of the clinic she works in now') from there;
select is_empty('select * from tests.broken_claims()', 'the claims are sound');

select * from finish();
rollback;
