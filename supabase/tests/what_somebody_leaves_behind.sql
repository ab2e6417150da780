-- Whoever is archived, leaves or changes level leaves sessions behind: the answer says how many and which, and cancels them
-- when asked, in the same transaction.
begin;
select plan(51);
select tests.open_clinic();
select tests.open_clinic('other ');

create function tests.archive(person text, request jsonb) returns jsonb language sql as $$
  select tests.call(person, format('select public.archive(%L)', request)) $$;
create function tests.level(person text, request jsonb) returns jsonb language sql as $$
  select tests.call(person, format('select public.set_credential(%L)', request)) $$;
create function tests.touched(person text, request jsonb) returns jsonb language sql as $$
  select tests.call(person, format('select public.touched_sessions(%L)', request)) $$;
create function tests.scheduled(therapist text) returns bigint language sql as $$
  select count(*) from public.sessions where organization_id = tests.id('clinic') and therapist_id = tests.id(therapist) and status = 'scheduled' $$;
create function tests.in_room(therapist text, client text, starts timestamptz) returns uuid language sql as $$
  select (tests.confirm('admin', tests.confirmation(held, therapist, client)) #>> '{body,session,id}')::uuid
  from tests.hold('admin', tests.request(therapist, client, starts, 60, jsonb_build_object('room_id', tests.id('blue')))) as held
$$;
create temporary table booked on commit drop as
select tests.book('admin', 'rbt', 'ann', array[tests.at(1), tests.at(2), tests.at(3)]) as ann_ids, tests.book('admin', 'rbt', 'ben', tests.at(1, '14:00')) as ben_id,
  tests.in_room('bcba', 'ben', tests.at(5)) as room_id;
select tests.cancel('admin', jsonb_build_object('session_ids', array[tests.book('admin', 'rbt', 'ann', tests.at(4))]));
insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone)
values (tests.id('clinic'), tests.id('rbt'), tests.id('ann'), now() - interval '2 days', now() - interval '2 days' + interval '1 hour', 'UTC');

-- Archiving
savepoint before;
create temporary table archived on commit drop as select tests.archive('admin', jsonb_build_object('client_id', tests.id('ann'))) as outcome;
select is(outcome #> '{body,touched}', '3', 'archiving a client says how many sessions are to come: not what is cancelled or over') from archived;
select is(outcome #> '{body,touchedSessionIds}', to_jsonb(ann_ids), 'and which, the earliest first') from archived, booked;
select is(outcome #> '{body,cancelled}', '0', 'they stay') from archived;
select is(tests.scheduled('rbt'), 5::bigint, 'as they were');
select is((select array_agg(problem) from reports.schedule_problems where organization_id = tests.id('clinic')), array['client_archived', 'client_archived', 'client_archived'], 'as problems of the schedule');
select is(tests.hold('admin', tests.request('rbt', 'ann', tests.at(9))) ->> 'code', 'FORBIDDEN', 'nobody books the client any more');
select is((tests.archive('admin', jsonb_build_object('client_id', tests.id('ann'), 'cancel_sessions', true, 'reason', 'Moved away')) #> '{body}') - array['archivedAt', 'clientId', 'touchedSessionIds', 'touchedStaffTimeIds'],
  '{"touched": 3, "cancelled": 3, "touchedStaffTimes": 0, "cancelledStaffTimes": 0}', 'asked again, it may cancel them');
select results_eq($$ select session.status::text, cancellation.reason, cancellation.attribution::text from public.sessions as session
  join public.session_cancellations as cancellation on cancellation.session_id = session.id where session.id = any ((select ann_ids from booked)::uuid[]) $$,
  $$ values ('cancelled', 'Moved away', 'staff'), ('cancelled', 'Moved away', 'staff'), ('cancelled', 'Moved away', 'staff') $$, 'by the clinic, with the reason');
select is_empty('select * from tests.broken_claims()', 'and their time is free');
select is((select count(*) from audit.events where organization_id = tests.id('clinic') and action = 'client.archived'), 1::bigint, 'one event says that the client was archived');
select is((select deleted_at is not null from public.clients where organization_id = tests.id('clinic') and id = tests.id('ann')), true, 'which they are');
rollback to before;
select is(tests.archive('admin', jsonb_build_object('therapist_id', tests.id('rbt'), 'cancel_sessions', true)) #> '{body,cancelled}', '4', 'a therapist''s sessions are cancelled whatever the client');
select is(tests.scheduled('rbt'), 1::bigint, 'but for what is over');
select is(tests.hold('admin', tests.request('rbt', 'ann', tests.at(9))) ->> 'code', 'FORBIDDEN', 'and nobody books the therapist any more');
rollback to before;
insert into public.session_groups (organization_id, id, therapist_id, start_time, end_time, room_id)
values (tests.id('clinic'), tests.id('group'), tests.id('rbt'), tests.at(8), tests.at(8, '11:00'), tests.id('blue'));
insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone, group_id, session_type)
select tests.id('clinic'), tests.id('rbt'), tests.id(client), tests.at(8), tests.at(8, '11:00'), 'UTC', tests.id('group'), 'group' from unnest(array['ann', 'ben']) as client;
select is(tests.archive('admin', jsonb_build_object('room_id', tests.id('blue'))) #> '{body,touched}', '3', 'a room''s are those in it, the members of groups too');
rollback to before;
select is(tests.archive(person, jsonb_build_object('client_id', tests.id('ann'))) ->> 'code', 'FORBIDDEN', format('%s archives nobody', person)) from unnest(array['rbt', 'parent', 'other admin']) as person;
select is((select deleted_at from public.clients where organization_id = tests.id('clinic') and id = tests.id('ann')), null, 'and has not');

-- Leaving
select is((tests.call('super', format('select public.remove_member(%L)', tests.id('rbt'))) #> '{body}') - array['organizationId', 'userId', 'role', 'permissions', 'createdAt', 'touchedSessionIds', 'touchedStaffTimeIds'],
  '{"touched": 4, "cancelled": 0, "touchedStaffTimes": 0, "cancelledStaffTimes": 0}', 'who leaves is told of as well');
select is(tests.scheduled('rbt'), 5::bigint, 'and what they leave stays');
rollback to before;
select is(tests.call('super', format('select public.remove_member(%L, true, %L)', tests.id('rbt'), 'Left us')) #> '{body,cancelled}', '4', 'or is cancelled');
select is((select count(*) from public.memberships where organization_id = tests.id('clinic') and user_id = tests.id('rbt')), 0::bigint, 'with the membership');
rollback to before;
select is(tests.call('super', format('select public.remove_member(%L, true)', tests.id('super'))) ->> 'code', 'LAST_SUPER_ADMIN', 'what is refused cancels nothing');
select is(tests.call('super', format('select public.remove_member(%L)', tests.id('parent'))) #> '{body,touched}', '0', 'a parent leaves nothing');
rollback to before;
select is(tests.call('super', format('select public.change_member(%L, %L)', tests.id('rbt'), 'admin')) #> '{body,touched}', '0', 'a role that renders touches nothing');
select is(tests.call('super', format('select public.change_member(%L, %L)', tests.id('rbt'), 'client')) #> '{body,touched}', '4', 'one that does not, all that is to come');
select is(tests.call('super', format('select public.change_member(%L, %L, null, true, %L)', tests.id('rbt'), 'client', 'Left us')) #> '{body,cancelled}', '4', 'and cancels it when asked');
select is(tests.call('admin', format('select public.remove_member(%L, true)', tests.id('rbt2'))) ->> 'code', 'FORBIDDEN', 'an admin removes nobody');
rollback to before;

-- Levels
create temporary table guidance on commit drop as
select (tests.confirm('bcba', tests.confirmation(held, 'bcba', 'ann') || '{"cpt": {"code": "97155"}}') #>> '{body,session,id}')::uuid as id
from tests.hold('bcba', tests.request('bcba', 'ann', tests.at(10), 60, '{"cpt_code": "97155"}')) as held;
savepoint guided;
select is(tests.level('admin', jsonb_build_object('therapist_id', tests.id('bcba'), 'credential', 'RBT')) #> '{body,touchedSessionIds}', jsonb_build_array(id), 'a level that may not render what is booked touches it') from guidance;
select is((select credential from public.therapists where organization_id = tests.id('clinic') and id = tests.id('bcba')), 'RBT', 'and is the therapist''s from now on');
rollback to guided;
select is(tests.level('admin', jsonb_build_object('therapist_id', tests.id('bcba'), 'credential', 'RBT', 'cancel_sessions', true)) #> '{body,cancelled}', '1', 'which cancels it when asked');
select is(tests.scheduled('bcba'), 1::bigint, 'and no more than that');
rollback to guided;
select is(tests.level('admin', jsonb_build_object('therapist_id', tests.id('rbt'), 'credential', 'BCBA')) #> '{body,touched}', '0', 'a higher level touches nothing');
select is(tests.level(person, jsonb_build_object('therapist_id', tests.id('bcba'), 'credential', 'RBT')) ->> 'code', 'FORBIDDEN', format('%s changes no level', person)) from unnest(array['bcba', 'other admin']) as person;

-- What has begun is not to come; archiving again changes no date.
savepoint begun;
insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone, room_id)
values (tests.id('clinic'), tests.id('rbt2'), tests.id('ann'), now() - interval '10 minutes', now() + interval '50 minutes', 'UTC', tests.id('green'));
select is(tests.archive('admin', whose) #> '{body,touched}', '0', format('what has begun is not touched: %s', whose))
from unnest(array[jsonb_build_object('therapist_id', tests.id('rbt2')), jsonb_build_object('room_id', tests.id('green'))]) as whose;
select is(tests.archive('admin', jsonb_build_object('client_id', tests.id('ann'))) #> '{body,touched}', '4', 'of a client neither');
update public.clients set deleted_at = '2026-01-01T00:00:00Z' where organization_id = tests.id('clinic') and id = tests.id('ann');
select is(tests.archive('admin', jsonb_build_object('client_id', tests.id('ann'))) #>> '{body,archivedAt}', '2026-01-01T00:00:00.000Z', 'archived again, a client is archived since then');
rollback to begun;

-- By page
create temporary table page on commit drop as select tests.touched('admin', jsonb_build_object('therapist_id', tests.id('rbt'), 'limit', 3)) as first;
select is(array[first -> 'total', to_jsonb(jsonb_array_length(first -> 'sessions'))], array['4', '3']::jsonb[], 'they are listed by page') from page;
select is(tests.touched('admin', jsonb_build_object('therapist_id', tests.id('rbt'), 'limit', 3, 'after', first -> 'next')) #>> '{sessions,0,sessionId}', ann_ids[3]::text, 'the next page begins where the last one ended') from page, booked;
select is(tests.touched('admin', jsonb_build_object('therapist_id', tests.id('rbt'), 'limit', 3, 'after', first -> 'next')) -> 'next', 'null', 'and the last has no next') from page;
select is(tests.touched('admin', jsonb_build_object('therapist_id', tests.id('rbt'), 'limit', 4)) -> 'next', 'null', 'nor has one that just holds all of them');
select is(tests.error_code('rbt', format('select public.touched_sessions(%L)', jsonb_build_object('therapist_id', tests.id('rbt')))), 'PT403', 'for admins');

-- No request
select is((tests.error('admin', format('select public.%s(%L)', called, wrong)) ->> 'details')::jsonb #>> '{0,path}', path, format('%s %s: %s', called, wrong, path))
from (values
  ('archive', '{}'::jsonb, 'client_id'), ('archive', jsonb_build_object('client_id', tests.id('ann'), 'room_id', tests.id('blue')), 'client_id'),
  ('archive', jsonb_build_object('client_id', tests.id('ann'), 'cancel_sessions', 'yes'), 'cancel_sessions'), ('set_credential', '{"credential": "RBT"}', 'therapist_id'),
  ('set_credential', jsonb_build_object('therapist_id', tests.id('rbt'), 'credential', 'MD'), 'credential'), ('touched_sessions', jsonb_build_object('client_id', tests.id('ann'), 'limit', 0), 'limit')
) as try (called, wrong, path);

select * from finish();
rollback;
