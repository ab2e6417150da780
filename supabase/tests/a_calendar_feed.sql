-- A therapist or a parent has their sessions in the calendar of their phone: by a secret address that tells when, and no more.
begin;
select plan(71);
select tests.open_clinic();
select tests.open_clinic('other ');

create temporary table feeds (person text primary key, answer jsonb) on commit drop;
insert into feeds
select person, tests.call(person, 'select public.create_calendar_feed()') from unnest(array['rbt', 'bcba', 'parent', 'admin', 'other rbt']) as person;
create function tests.feed(person text) returns jsonb language sql as $$
  select tests.call('service_role', format('select public.read_calendar_feed(%L)', answer #>> '{body,token}')) from feeds where feeds.person = feed.person $$;
create function tests.event(person text, session_id uuid) returns jsonb language sql as $$
  select item from jsonb_array_elements(tests.feed(person) -> 'events') as item where item ->> 'uid' = session_id::text $$;

select is(answer ->> 'ok', case person when 'admin' then 'false' else 'true' end, format('%s may have one: %s', person, answer ->> 'ok')) from feeds;
select is((select count(*) from private.calendar_tokens where token_hash = sha256(convert_to(answer #>> '{body,token}', 'UTF8'))), 1::bigint, 'the secret is kept hashed') from feeds where person = 'rbt';
select is((select count(*) from private.calendar_tokens as secret where position(answer #>> '{body,token}' in secret::text) > 0), 0::bigint, 'and nowhere in clear') from feeds where person = 'rbt';
select matches(answer #>> '{body,token}', '^[A-Za-z0-9_-]{43}$', 'it has 256 bits') from feeds where person = 'rbt';

create temporary table booked on commit drop as select tests.book('rbt', 'rbt', 'ann', tests.at(1)) as id, tests.book('bcba', 'bcba', 'ben', tests.at(1)) as other_id;
select is(tests.event('rbt', id) - 'changedAt' - 'sequence', jsonb_build_object('uid', id, 'kind', 'session', 'timeZone', 'UTC', 'cancelled', false,
  'startTime', private.iso(tests.at(1)), 'endTime', private.iso(tests.at(1, '11:00')), 'start', to_char(tests.at(1) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS'),
  'end', to_char(tests.at(1, '11:00') at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS')), 'it says when, and nothing else') from booked;
select isnt(tests.event('parent', id), null, 'a parent reads those of whom they stand for') from booked;
select is(tests.event('parent', other_id), null, 'and no others') from booked;
select is(tests.event('rbt', other_id), null, 'a therapist none of another') from booked;
select is(jsonb_array_length(tests.feed('other rbt') -> 'events'), 0, 'another clinic none');
select is(tests.feed('parent')::text ~ concat_ws('|', tests.id('ann'), tests.id('rbt'), tests.id('clinic')), false, 'no id of anybody is in it');

-- It moves and is cancelled.
create temporary table before on commit drop as select (tests.event('parent', id) ->> 'sequence')::integer as sequence from booked;
update public.sessions set start_time = tests.at(2), end_time = tests.at(2, '11:00') where id = (select id from booked);
select is(tests.event('parent', id) ->> 'startTime', private.iso(tests.at(2)), 'what moves keeps its id') from booked;
select is((tests.event('parent', id) ->> 'sequence')::integer, sequence + 1, 'and its number grows by one') from booked, before;
update public.sessions set start_time = start_time + interval '1 minute' where id = (select id from booked);
select is((tests.event('parent', id) ->> 'sequence')::integer, sequence + 2, 'at once again, by one more') from booked, before;
do $$ begin
  perform private.enter_booking();
  update public.sessions set start_time = start_time - interval '1 minute', updated_at = created_at - interval '1 day' where id = (select id from booked);
  perform private.leave_booking(null);
end $$;
select is((tests.event('parent', id) ->> 'sequence')::integer, sequence + 3, 'also when the clock went back') from booked, before;
select cmp_ok((tests.event('parent', id) ->> 'changedAt')::timestamptz, '>', (select created_at from public.sessions where sessions.id = booked.id), 'when it changed is never told earlier than before') from booked;
update public.sessions set end_time = end_time + interval '15 minutes' where id = (select id from booked);
select is((tests.event('parent', id) ->> 'sequence')::integer, sequence + 4, 'its end alone') from booked, before;
update public.sessions set time_zone = 'America/New_York' where id = (select id from booked);
select is((tests.event('parent', id) ->> 'sequence')::integer, sequence + 5, 'and its zone alone make it grow') from booked, before;
update public.sessions set end_time = end_time - interval '15 minutes', time_zone = 'UTC' where id = (select id from booked);
select tests.feed('parent');
create temporary table told on commit drop as select told, told.ctid as place from private.calendar_events as told;
select tests.feed('parent');
update public.sessions set session_type = 'other' where id = (select id from booked);
select is((tests.event('parent', id) ->> 'sequence')::integer, sequence + 6, 'what the feed does not tell makes no number grow') from booked, before;
select is_empty('select told, told.ctid from private.calendar_events as told except select told, place from told', 'and a read that finds nothing new writes nothing');
select tests.cancel('rbt', jsonb_build_object('session_ids', jsonb_build_array(id))) from booked;
select is(tests.event('parent', id) ->> 'cancelled', 'true', 'a cancelled one is shown as such') from booked;
select is((tests.event('parent', id) ->> 'sequence')::integer, sequence + 7, 'with a number that grew') from booked, before;
update private.calendar_events set changed_at = now() - interval '29 days';
select isnt(tests.event('parent', id), null, 'for 30 days') from booked;
update private.calendar_events set changed_at = now() - interval '31 days';
do $$ begin
  perform private.enter_booking();
  update public.sessions set updated_at = now() - interval '31 days' where id = (select id from booked);
  perform private.leave_booking(null);
end $$;
select is(tests.event('parent', id), null, 'and no longer') from booked;

-- It is handed over.
create temporary table handed on commit drop as select tests.book('rbt', 'rbt', 'ann', tests.at(3)) as id;
select is(tests.event('rbt', id) ->> 'cancelled', 'false') from handed;
update public.sessions set therapist_id = tests.id('bcba') where id = (select id from handed);
select is(tests.event('rbt', id) - 'changedAt', jsonb_build_object('uid', id, 'kind', 'session', 'timeZone', 'UTC', 'cancelled', true, 'sequence', 1,
  'startTime', private.iso(tests.at(3)), 'endTime', private.iso(tests.at(3, '11:00')), 'start', to_char(tests.at(3) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS'),
  'end', to_char(tests.at(3, '11:00') at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS')), 'what another therapist took over is cancelled in the feed of the first') from handed;
select is(tests.event('bcba', id) ->> 'cancelled', 'false', 'and new in the feed of the other') from handed;
select is(tests.event('parent', id) - 'changedAt' ->> 'cancelled', 'false', 'and to the family nothing happened') from handed;
update private.calendar_events set changed_at = now() - interval '31 days' where is_cancelled;
select is(tests.event('rbt', id), null, 'after 30 days it is gone') from handed;
update public.sessions set therapist_id = tests.id('rbt') where id = (select id from handed);
select is(tests.event('rbt', id) ->> 'sequence', '2', 'if it comes back its number goes on') from handed;

-- A group, and time without a client.
insert into public.session_groups (organization_id, id, therapist_id, start_time, end_time) values (tests.id('clinic'), tests.id('group'), tests.id('rbt'), tests.at(5), tests.at(5, '11:00'));
insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code, group_id)
select tests.id('clinic'), tests.id('rbt'), tests.id(client), tests.at(5), tests.at(5, '11:00'), 'UTC', '97154', tests.id('group') from unnest(array['ann', 'ben']) as client;
select isnt(tests.event('rbt', tests.id('group')), null, 'a group is one event of its therapist''s');
select is((select count(*) from jsonb_array_elements(tests.feed('rbt') -> 'events') as item where item ->> 'startTime' = private.iso(tests.at(5))), 1::bigint, 'however many come');
select is((select count(*) from jsonb_array_elements(tests.feed('parent') -> 'events') as item where item ->> 'startTime' = private.iso(tests.at(5))), 1::bigint, 'and one of each family''s');
update public.sessions set status = 'cancelled' where id = (select min(id::text)::uuid from public.sessions where group_id = tests.id('group'));
update public.session_groups set start_time = tests.at(5, '12:00'), end_time = tests.at(5, '13:00') where id = tests.id('group');
select is(tests.event('rbt', tests.id('group')) ->> 'startTime', private.iso(tests.at(5, '12:00')), 'a group that moves without a member who cancelled keeps its id');
select is((select count(*) from jsonb_array_elements(tests.feed('rbt') -> 'events') as item where item ->> 'startTime' = private.iso(tests.at(5))), 0::bigint, 'and nothing is left at the old time');
select tests.call('rbt', format('select public.add_staff_time(%L)', '{"kind": "drive"}'::jsonb || tests.occurrence(tests.at(6))));
select is((select item ->> 'kind' from jsonb_array_elements(tests.feed('rbt') -> 'events') as item where item ->> 'startTime' = private.iso(tests.at(6))), 'drive', 'time without a client is in a therapist''s');

-- Zones.
select is(jsonb_path_query_array(tests.feed('rbt') -> 'zones', '$[*].name'), '["UTC"]', 'it has the zones of its events');

-- Reads are recorded once a day.
select is((select count(*) from audit.events where action = 'calendar_feed.read' and entity_ids = array[(answer #>> '{body,feedId}')::uuid]), 1::bigint, 'many reads of a day are one event') from feeds where person = 'parent';
update private.calendar_tokens set read_on = read_on - 1;
select isnt(tests.feed('parent'), null);
select is((select count(*) from audit.events where action = 'calendar_feed.read' and entity_ids = array[(answer #>> '{body,feedId}')::uuid]), 2::bigint, 'the next day another') from feeds where person = 'parent';

-- Who reads and ends them.
select is(tests.error_code(person, 'select public.read_calendar_feed(''x'')'), '42501', format('%s cannot read by the secret alone', person)) from unnest(array['anon', 'rbt', 'admin']) as person;
select is(tests.rows(person, 'select from public.calendar_feeds'), seen, format('%s sees %s feeds', person, seen)) from (values ('rbt', 1::bigint), ('admin', 3), ('other admin', 1)) as try (person, seen);
select is(tests.call(other, format('select public.revoke_calendar_feed(%L)', jsonb_build_object('feed_id', answer #>> '{body,feedId}'))) ->> 'code', 'FORBIDDEN', format('%s does not end it', other))
from feeds, unnest(array['bcba', 'parent', 'other admin']) as other where feeds.person = 'rbt';
select is(tests.call(case person when 'rbt' then 'rbt' else 'admin' end, format('select public.revoke_calendar_feed(%L)', jsonb_build_object('feed_id', answer #>> '{body,feedId}'))) ->> 'ok', 'true',
  format('%s''s is ended', person)) from feeds where person in ('rbt', 'parent');
select is(tests.feed('rbt'), null, 'then it answers as a wrong one');
select is((select count(*) from private.calendar_events as told where told.feed_id = (answer #>> '{body,feedId}')::uuid), 0::bigint, 'and what it told is forgotten') from feeds where person = 'rbt';

-- What was told of events long past goes.
select tests.feed('bcba');
update private.calendar_events set changed_at = now() - interval '32 days';
select is(private.sweep() ->> 'calendarEvents', '0', 'events to come are remembered');
update private.calendar_events set start_time = now() - interval '32 days', changed_at = now();
select is(private.sweep() ->> 'calendarEvents', '0', 'so are those that changed of late');
update private.calendar_events set changed_at = now() - interval '32 days', is_cancelled = false;
select tests.feed('bcba');
select is((select count(*) from private.calendar_events as told where told.is_cancelled and told.start_time < now() - interval '31 days'), 0::bigint, 'what is merely past was not cancelled');
select is((private.sweep() ->> 'calendarEvents')::bigint > 0, true, 'those long past are swept');
delete from public.memberships where user_id = tests.id('bcba');
select is(tests.feed('bcba'), null, 'and so does that of a member who left');

-- Ten at a time.
select is((select count(*) from generate_series(2, 10) where tests.call('parent', 'select public.create_calendar_feed()') ->> 'ok' = 'true'), 9::bigint, 'more of them, up to ten');
select is((select count(*) from public.calendar_feeds where user_id = tests.id('parent') and revoked_at is null), 9::bigint, 'the first was ended');
select is(tests.call('parent', 'select public.create_calendar_feed()') ->> 'ok', 'true', 'the tenth');
select is((tests.error('parent', 'select public.create_calendar_feed()') ->> 'details')::jsonb #>> '{0,message}', 'revoke a calendar feed first: 10 are the most', 'an eleventh is refused');

-- A family's events are their own: of a group, the session of their child, and nothing once the child is archived.
update public.calendar_feeds set revoked_at = now() where user_id = tests.id('parent');
update feeds set answer = tests.call('parent', 'select public.create_calendar_feed()') where person = 'parent';
insert into public.session_groups (organization_id, id, therapist_id, start_time, end_time) values (tests.id('clinic'), tests.id('club'), tests.id('rbt'), tests.at(15), tests.at(15, '11:00'));
insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code, group_id)
select tests.id('clinic'), tests.id(client || ' in the club'), tests.id('rbt'), tests.id(client), tests.at(15), tests.at(15, '11:00'), 'UTC', '97154', tests.id('club') from unnest(array['ann', 'ben']) as client;
select isnt(tests.event('parent', tests.id('ann in the club')), null, 'a family reads their own session of a group');
select is(tests.event('parent', tests.id('club')), null, 'and learns nothing of the group');
update public.clients set deleted_at = now() where id = tests.id('ann');
select is((select count(*) from jsonb_array_elements(tests.feed('parent') -> 'events') as item where item ->> 'cancelled' = 'false'), 0::bigint, 'of a child who is archived nothing stands');

-- It reaches back thirty days.
insert into feeds select 'rbt again', tests.call('rbt', 'select public.create_calendar_feed()');
insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone)
select tests.id('clinic'), tests.id(name), tests.id('rbt'), tests.id('ben'), date_trunc('minute', now()) - ago, date_trunc('minute', now()) - ago + interval '30 minutes', 'UTC'
from (values ('just within', interval '29 days 12 hours'), ('just beyond', interval '30 days 12 hours')) as past (name, ago);
select isnt(tests.event('rbt again', tests.id('just within')), null, 'what began twenty-nine days ago is shown');
select is(tests.event('rbt again', tests.id('just beyond')), null, 'what began more than thirty days ago is not');


-- Whoever is archived gives no sessions any more, and reads of none.
update public.therapists set deleted_at = now() where id = tests.id('rbt');
select is(tests.feed('rbt again'), null, 'a therapist who is archived has no calendar');

select * from finish();
rollback;
