-- Therapists book their own time for their caseload, admins anybody in the clinic; everybody else nobody.
begin;
select plan(56);
select tests.open_clinic();
select tests.open_clinic('other ');
do $$ begin perform tests.add_user('nobody'); end $$;

create function tests.verdict(person text, therapist text, client text, day integer, extra jsonb default '{}', claims jsonb default '{}')
returns text language plpgsql as $$
declare
  outcome jsonb;
begin
  outcome := tests.call(person, format('select public.hold_sessions(%L)', tests.request(therapist, client, tests.at(day), 60, extra)), claims);
  return coalesce(outcome ->> 'code', 'held');
exception when others then
  declare hint text; begin get stacked diagnostics hint = pg_exception_hint; return sqlstate || coalesce(' ' || nullif(hint, ''), ''); end;
end $$;

select is(tests.verdict(person, therapist, client, row_number() over ()::integer), verdict, format('%s, for %s with %s: %s', person, therapist, client, verdict))
from (values
  ('rbt', 'rbt', 'ann', 'held'), ('rbt', 'rbt', 'cat', 'FORBIDDEN'), ('rbt', 'rbt2', 'ann', 'FORBIDDEN'),
  ('bcba', 'bcba', 'ben', 'held'), ('bcba', 'rbt', 'ben', 'FORBIDDEN'),
  ('admin', 'rbt', 'ann', 'held'), ('admin', 'rbt', 'cat', 'held'), ('super', 'rbt2', 'dan', 'held'),
  ('parent', 'rbt', 'ann', 'FORBIDDEN'), ('parent', 'parent', 'ann', 'FORBIDDEN'),
  ('admin', 'other rbt', 'other ann', 'FORBIDDEN'), ('admin', 'rbt', 'other ann', 'FORBIDDEN'), ('admin', 'other rbt', 'ann', 'FORBIDDEN'),
  ('other admin', 'rbt', 'ann', 'FORBIDDEN'), ('admin', 'admin', 'ann', 'FORBIDDEN'), ('admin', 'rbt', 'nobody', 'FORBIDDEN')
) as try (person, therapist, client, verdict);
select is(tests.verdict('nobody', 'rbt', 'ann', 40), 'PT403 ORGANIZATION_REQUIRED', 'who belongs nowhere is told to choose an organization');
select is(tests.verdict('nobody', 'rbt', 'ann', 40, claims => jsonb_build_object('org_id', tests.id('clinic'), 'user_role', 'super_admin')),
  'PT403 FORBIDDEN', 'a token that claims an organization makes nobody a member');
select is(tests.verdict('rbt', 'rbt2', 'ann', 40, claims => '{"user_role": "super_admin"}'), 'FORBIDDEN', 'nor does a claimed role give rights');
select is(tests.verdict('rbt', 'other rbt', 'other ann', 40, claims => jsonb_build_object('org_id', tests.id('other clinic'), 'user_role', 'admin')),
  'PT403 FORBIDDEN', 'nor a claimed other clinic');
select is(tests.verdict('rbt', 'rbt', 'ann', 40, claims => jsonb_build_object('org_id', garbage)), 'PT403 ORGANIZATION_REQUIRED',
  format('an organization called %s is none', garbage::text))
from unnest(array['"x"', '7', '[]', '{}', '""', '"00000000-0000-0000-0000-00000000000g"']::jsonb[]) as garbage;
select is(tests.verdict('rbt', 'rbt', 'ann', 40, claims => '{"sub": null}'), 'PT401 UNAUTHENTICATED', 'a token without a user is no user''s');
select is(tests.verdict('service_role', 'rbt', 'ann', 40), '42501', 'the service role has no user to book for: no grant');
select is(tests.verdict('anon', 'rbt', 'ann', 40), '42501', 'and anon none at all');
select is(tests.verdict('postgres', 'rbt', 'ann', 40), 'PT401 UNAUTHENTICATED', 'the owner has no user either');

-- All functions ask.
select is(tests.error_code(person, format('select public.%s', call)), code, format('%s, %s: %s', person, split_part(call, '(', 1), code))
from (values ('anon', '42501'), ('nobody', 'PT403')) as who (person, code),
unnest(array['confirm_sessions(''{}'')', 'release_hold(''{}'')', 'cancel_sessions(''{}'')', 'preview_series(''{}'')', 'find_alternatives(''{}'')',
  format('find_open_slots(%L, %L, %L, 60)', tests.id('rbt'), tests.at(1), tests.at(2))]) as call;
select is(tests.error_code('rbt', 'select private.hold_sessions(''{}'', null, null)'), '42501', 'the private schema is closed');
select is(tests.error_code('rbt', format('select private.record_event(%L, ''hold.acquired'', ''hold'', ''{}'', now())', tests.id('clinic'))), '42501',
  'nobody writes events with an actor of her choice');

-- Archived people and places.
update public.clients set deleted_at = now() where id = tests.id('ben');
select is(tests.verdict('admin', 'rbt', 'ben', 41), 'FORBIDDEN', 'nobody books an archived client');
update public.therapists set deleted_at = now() where id = tests.id('rbt2');
select is(tests.verdict('admin', 'rbt2', 'ann', 41), 'FORBIDDEN', 'nor an archived therapist');
select is(tests.verdict('rbt2', 'rbt2', 'ann', 41), 'FORBIDDEN', 'not even herself');
update public.rooms set deleted_at = now() where id = tests.id('green');
select is(tests.verdict('admin', 'rbt', 'ann', 41, jsonb_build_object('room_id', tests.id(room))), verdict, format('a room (%s): %s', room, verdict))
from (values ('green', 'FORBIDDEN'), ('other blue', 'FORBIDDEN'), ('nowhere', 'FORBIDDEN'), ('blue', 'held')) as rooms (room, verdict);

-- Overrides are for admins.
select is(tests.verdict('rbt', 'rbt', 'ann', 42, '{"override": {"reason": "Parent asked"}}'), 'FORBIDDEN', 'a therapist cannot override');
select is(tests.verdict('admin', 'rbt', 'ann', 42, '{"override": {"reason": "Parent asked"}}'), 'held', 'an admin can');

-- Removing the membership takes effect at once, whatever the token says.
create temporary table held on commit drop as select tests.hold('rbt', tests.request('rbt', 'ann', tests.at(50))) as outcome;
create temporary table her_token on commit drop as select jsonb_build_object('org_id', tests.id('clinic'), 'user_role', 'therapist') as claims;
delete from public.memberships where user_id = tests.id('rbt');
select is(tests.verdict('rbt', 'rbt', 'ann', 51, claims => claims), 'PT403 FORBIDDEN', 'a removed member holds nothing') from her_token;
select is(tests.error_code('rbt', format('select public.confirm_sessions(%L)', tests.confirmation(outcome, 'rbt', 'ann')), claims), 'PT403',
  'confirms nothing') from held, her_token;
select is(tests.rows('rbt', 'select 1 from public.session_holds', claims), 0::bigint, 'and sees nothing') from her_token;

select * from finish();
rollback;
