-- Years later: what happened to this session, who did it, and is that what was written down then?
begin;
select plan(32);
select tests.open_clinic();
select tests.open_clinic('other ');

create temporary table made (session_id uuid, sibling_id uuid) on commit drop;
insert into made select ids[1], ids[2] from tests.book('rbt', 'rbt', 'ann', array[tests.at(1), tests.at(2)]) as ids;
grant select on made to public;
create temporary table moved on commit drop as
select tests.hold('rbt', tests.request('rbt', 'ann', tests.at(3), 60, jsonb_build_object('session_id', session_id))) as held from made;
do $$
begin
  perform tests.confirm('rbt', tests.confirmation(held, 'rbt', 'ann', jsonb_build_object('session', jsonb_build_object(
    'id', session_id, 'therapist_id', tests.id('rbt'), 'client_id', tests.id('ann'), 'start_time', tests.at(3), 'end_time', tests.at(3, '11:00'))))
    #- '{occurrences}') from moved, made;
  perform tests.cancel('admin', jsonb_build_object('session_ids', array[session_id], 'reason', 'Ill')) from made;
end $$;
set constraints all immediate;

create function pg_temp.history(person text, id uuid) returns jsonb language sql as $$
  select tests.call(person, format('select coalesce(jsonb_agg(history), ''[]'') from public.session_history(%L) as history', id)) $$;

select is(jsonb_path_query_array(pg_temp.history('admin', session_id), '$[*].action'),
  '["hold.acquired", "hold.confirmed", "hold.acquired", "hold.confirmed", "session.cancelled"]',
  'held, confirmed, held for a move, moved, cancelled') from made;
select is(jsonb_path_query_array(pg_temp.history('admin', sibling_id), '$[*].action'), '["hold.acquired", "hold.confirmed"]',
  'its sibling has a history of its own') from made;
select results_eq(
  $$ select event ->> 'actor_role', (event ->> 'actor_user_id')::uuid, (event #>> '{before,start_time}')::timestamptz,
       (event #>> '{after,start_time}')::timestamptz, event ->> 'request_id'
     from made, jsonb_array_elements(pg_temp.history('admin', session_id)) with ordinality as item (event, position) where position = 4 $$,
  $$ values ('therapist', tests.id('rbt'), tests.at(1), tests.at(3), 'story') $$, 'who moved it, from when to when, for which request');
select is(pg_temp.history('admin', session_id) #>> '{1,after,id}', session_id::text, 'of a batch, this session''s part') from made;
select is(pg_temp.history('admin', sibling_id) #>> '{1,after,id}', sibling_id::text, 'or its sibling''s') from made;
select is((select count(distinct (event ->> 'chain_id', event ->> 'seq')) from jsonb_array_elements(pg_temp.history('admin', session_id)) as event),
  5::bigint, 'each event has its place in a chain') from made;

-- Of an event about several, each has its own part, in whatever order a request or a table names them: sessions that are
-- moved, the later one first; a schedule that is imported, the later row first; meetings of which one passes another.
create temporary table swapped (ids uuid[]) on commit drop;
insert into swapped select tests.book('rbt2', 'rbt2', 'ben', array[tests.at(41), tests.at(42)]);
select is(tests.confirm('rbt2', tests.confirmation(held, 'rbt2', 'ben')) ->> 'ok', 'true', 'two sessions move in one hold')
from swapped, tests.hold('rbt2', tests.request('rbt2', 'ben', tests.at(43), 60, jsonb_build_object('occurrences', jsonb_build_array(
  tests.occurrence(tests.at(43), 60, 'UTC', jsonb_build_object('session_id', ids[2])),
  tests.occurrence(tests.at(44), 60, 'UTC', jsonb_build_object('session_id', ids[1])))))) as held;
select is(tests.confirm('rbt2', tests.confirmation(held, 'rbt2', 'ben')) ->> 'ok', 'true', 'a series is booked, the later date first')
from tests.hold('rbt2', tests.series('rbt2', 'ben', array[tests.at(50), tests.at(49)])) as held;
select is(tests.confirm('admin', tests.confirmation(held, 'bcba', 'dan', '{"cpt": {"code": "97154"}}')) -> 'detail', null, 'so is a group')
from tests.hold('admin', tests.series('bcba', 'dan', array[tests.at(52), tests.at(51)], 60, jsonb_build_object('cpt_code', '97154', 'client_ids', array[tests.id('dan'), tests.id('ann'), tests.id('cat')]))) as held;
select tests.call('admin', format('select public.import_sessions(%L)', jsonb_build_object('rows', (select jsonb_agg(jsonb_build_object(
  'external_id', 'day ' || day, 'therapist_id', tests.id('rbt2'), 'client_id', tests.id('ben'), 'time_zone', 'UTC',
  'start_time', private.iso(tests.at(day)), 'end_time', private.iso(tests.at(day, '11:00'))) order by day desc) from unnest(array[45, 46]) as day))));
select tests.call('admin', format('select public.add_staff_time(%L)', jsonb_build_object('kind', 'meeting', 'therapist_ids', array[tests.id('bcba')], 'time_zone', 'UTC',
  'start_time', tests.at(47), 'end_time', tests.at(47, '11:00'), 'occurrences', (select jsonb_agg(tests.occurrence(tests.at(day)) order by day desc) from unnest(array[47, 48]) as day))));
select is(
  array(select distinct event.action from audit.events as event where event.organization_id = tests.id('clinic') and cardinality(event.entity_ids) > 1 and action !~ '[^e].added$' order by 1),
  array['hold.acquired', 'hold.confirmed', 'session.imported', 'staff_time.added'], 'there are such events'
);
select is_empty($$
  select event.action, place.position from audit.events as event
  cross join lateral unnest(event.entity_ids) with ordinality as place (id, position)
  cross join lateral (values (event.before), (event.after)) as part (list)
  where event.organization_id = tests.id('clinic') and jsonb_typeof(part.list) = 'array'
    and part.list -> (place.position - 1)::integer ->> 'id' <> place.id::text $$, 'each lists its parts in the order of its ids');
select is(
  (select array_agg((event #>> '{before,start_time}')::timestamptz || ' to ' || (event #>> '{after,start_time}')::timestamptz order by number)
   from swapped, unnest(ids) with ordinality as moved (id, number), jsonb_array_elements(pg_temp.history('admin', moved.id)) as event where event -> 'before' ? 'start_time'),
  array[tests.at(41) || ' to ' || tests.at(44), tests.at(42) || ' to ' || tests.at(43)], 'so each was moved from where it was'
);

-- Who may ask.
select is(tests.error(person, format('select * from public.session_history(%L)', session_id)) ->> 'hint', 'FORBIDDEN', format('not %s', person))
from made, unnest(array['rbt', 'parent']) as person;
select is(tests.error_code('anon', format('select * from public.session_history(%L)', session_id)), '42501', 'not anon') from made;
select is(pg_temp.history('other admin', session_id), '[]', 'elsewhere it has none') from made;
select is(tests.rows('rbt2', 'select from audit.events'), 0::bigint, 'a therapist reads no events');
update public.memberships set permissions = '{view_audit}' where user_id = tests.id('rbt2');
select is(jsonb_array_length(pg_temp.history('rbt2', session_id)), 5, 'a compliance officer has view_audit') from made;
select is(tests.rows('rbt2', 'select from audit.events') > 0, true, 'and reads the events themselves');
select is(tests.rows('rbt2', format('select from audit.events where organization_id = %L', tests.id('other clinic'))), 0::bigint, 'of her organization');
select is(tests.rows('rbt2', format('select from public.sessions where therapist_id = %L', tests.id('rbt'))), 0::bigint, 'and nothing else by it');

-- Proof, by the organization itself.
create temporary table kept on commit drop as select tests.call('super', 'select public.audit_checkpoint()') as checkpoint;
grant select on kept to public;
select is((select array_agg(distinct head ->> 'organizationId') from kept, jsonb_array_elements(checkpoint -> 'heads') as head), array[tests.id('clinic')::text],
  'a checkpoint has the heads of the organization''s own chains');
select is(tests.rows('super', format('select from public.verify_audit(%L)', checkpoint)), 0::bigint, 'what nobody touched verifies') from kept;
select is(tests.error(person, statement) ->> 'hint', 'FORBIDDEN', format('%s: %s', person, statement))
from unnest(array['admin', 'rbt']) as person, unnest(array['select * from public.verify_audit()', 'select public.audit_checkpoint()']) as statement;
select is(tests.error('super', 'select * from public.verify_audit(''{}'')') ->> 'code', 'PT400', 'nonsense is no checkpoint');

-- Each event says what is wrong with it.
select is(jsonb_path_query_array(pg_temp.history('admin', session_id), '$[*].problem'), '[null, null, null, null, null]', 'nothing is wrong') from made;

-- The newest events cut off, with their seals, and the heads set back: the chains alone cannot tell.
alter table audit.events disable trigger user;
alter table audit.seals disable trigger user;
delete from audit.events as event using audit.seals as seal
where seal.organization_id = tests.id('clinic') and seal.chain_id = tests.id('rbt') and seal.seq >= 4 and event.id = seal.event_id;
delete from audit.seals where organization_id = tests.id('clinic') and chain_id = tests.id('rbt') and seq >= 4;
update audit.chains as head set seq = seal.seq, hash = seal.hash from audit.seals as seal
where head.organization_id = tests.id('clinic') and head.chain_id = tests.id('rbt')
  and seal.organization_id = head.organization_id and seal.chain_id = head.chain_id and seal.seq = 3;
select is(tests.rows('super', 'select from public.verify_audit()'), 0::bigint, 'an end that was cut off cleanly passes');
select is(tests.call('super', format('select to_jsonb(problem) from public.verify_audit(%L)', checkpoint)), '"events up to the checkpoint are missing"',
  'but not against a checkpoint that was kept') from kept;
select is_empty(format('select * from audit.verify(%L)', tests.id('other clinic')), 'the other clinic''s chains know nothing of it');

select * from finish();
rollback;
