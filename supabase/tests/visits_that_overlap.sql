-- Nobody renders two visits at once: completed visits do not overlap in actual time, on every way, unless an admin lets them.
begin;
select plan(43);
select tests.open_clinic();
select tests.prove_rows();
select tests.add_payers();
select tests.cover('ann', 'open');
select tests.cover('ben', 'strict');

-- A minute of a day long enough ago, at least three days.
create function pg_temp.minute(minutes integer) returns timestamptz language sql stable as $$
  select date_trunc('day', now() at time zone 'America/Los_Angeles') at time zone 'America/Los_Angeles'
    - interval '62 hours' + make_interval(mins => minutes)
$$;
-- A visit that has begun, with its note signed: booked for an hour of its own, really from one minute to another.
create function pg_temp.visit(name text, therapist text, client text, code text, hour integer, group_name text default null) returns void language sql as $$
  insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code, location_type, group_id)
  values (tests.id('clinic'), tests.id(name), tests.id(therapist), tests.id(client), pg_temp.minute(60 * hour),
    pg_temp.minute(60 * hour + 60), 'America/Los_Angeles', code, 'clinic', tests.id(group_name));
  update public.sessions set status = 'in_progress' where id = tests.id(name);
$$;
create function pg_temp.complete(person text, name text, begun integer, ended integer, reason text default null) returns jsonb language sql as $$
  select tests.call('admin', format('select public.end_session(%L)', jsonb_build_object(
    'session_id', tests.id(name), 'actual_start_time', pg_temp.minute(begun), 'actual_end_time', pg_temp.minute(ended))));
  select tests.sign(session.id) from public.sessions as session
  where session.id = tests.id(name)
    and private.attested_facts(session.organization_id, session.id) is distinct from private.session_facts(session);
  select tests.call(person, format('select public.complete_session(%L)', jsonb_build_object(
    'session_id', tests.id(name), 'overlap_reason', reason)))
$$;
create function pg_temp.correct(person text, name text, version integer, changes jsonb) returns jsonb language sql as $$
  select tests.call(person, format('select public.correct_visit(%L)', jsonb_build_object(
    'session_id', tests.id(name), 'base_version', version, 'reason_code', 'wrong_time') || changes))
$$;
create function pg_temp.said(answer jsonb) returns text language sql as $$
  select coalesce(answer ->> 'code', answer #>> '{body,session,status}')
$$;
grant execute on all functions in schema pg_temp to public;

-- One therapist
select pg_temp.visit('first', 'rbt', 'ann', '97153', 0);
select pg_temp.visit('second', 'rbt', 'ben', '97153', 1);
select pg_temp.visit('third', 'rbt', 'ben', '97153', 2);
select is(pg_temp.said(pg_temp.complete('rbt', 'first', 0, 75)), 'completed', 'a visit may last longer than it was booked for');
create temporary table refused on commit drop as select pg_temp.complete('rbt', 'second', 60, 120) as answer;
select is(answer ->> 'code', 'VISIT_OVERLAPS', 'the next one did not begin before it was over') from refused;
select is(answer ->> 'status', '409', 'which is a conflict') from refused;
select is(
  answer -> 'overlaps',
  jsonb_build_array(jsonb_build_object('resource', 'therapist', 'sessionId', tests.id('first'),
    'startTime', private.iso(pg_temp.minute(60)), 'endTime', private.iso(pg_temp.minute(75)))),
  'told with the other visit, and when both would have been'
) from refused;
select is((select status::text from public.sessions where id = tests.id('second')), 'in_progress', 'a refusal completes nothing');
select is_empty($$select from public.session_visits where session_id = tests.id('second') and units is not null$$, 'and takes no units');
select is((select details -> 'overlaps' -> 0 ->> 'sessionId' from audit.events where code = 'VISIT_OVERLAPS'), tests.id('first')::text,
  'the audit has what was in the way');
select is(pg_temp.said(pg_temp.complete('rbt', 'second', 75, 120)), 'completed', 'one visit may begin as the other ends');

-- One client
select pg_temp.visit('treated', 'rbt2', 'ben', '97153', 20);
select pg_temp.visit('modified', 'bcba', 'ben', '97155', 21);
select is(pg_temp.said(pg_temp.complete('rbt2', 'treated', 1200, 1270)), 'completed', 'a client is treated');
select is(
  pg_temp.complete('bcba', 'modified', 1260, 1320) -> 'overlaps',
  jsonb_build_array(jsonb_build_object('resource', 'client', 'sessionId', null,
    'startTime', private.iso(pg_temp.minute(1260)), 'endTime', private.iso(pg_temp.minute(1270)))),
  'not while a service goes on that the payer forbids beside; whose visit that is, is not told'
);
select is(
  pg_temp.complete('admin', 'modified', 1260, 1320) #>> '{overlaps,0,sessionId}', tests.id('treated')::text, 'but to an admin'
);
select pg_temp.visit('allowed', 'rbt2', 'ann', '97153', 24);
select pg_temp.visit('beside', 'bcba', 'ann', '97155', 25);
select is(pg_temp.said(pg_temp.complete('rbt2', 'allowed', 1440, 1510)), 'completed', 'where the payer allows the pair');
select is(pg_temp.said(pg_temp.complete('bcba', 'beside', 1490, 1560)), 'completed', 'both are rendered at once');

-- A group
insert into public.session_groups (organization_id, id, therapist_id, start_time, end_time)
values (tests.id('clinic'), tests.id('group'), tests.id('rbt'), pg_temp.minute(240), pg_temp.minute(300));
insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code, location_type, group_id)
select tests.id('clinic'), tests.id('group of ' || client), tests.id('rbt'), tests.id(client), pg_temp.minute(240), pg_temp.minute(300),
  'America/Los_Angeles', '97154', 'clinic', tests.id('group')
from unnest(array['ann', 'ben']) as client;
update public.sessions set status = 'in_progress' where group_id = tests.id('group');
select is(pg_temp.said(pg_temp.complete('rbt', 'group of ann', 240, 300)), 'completed', 'a member of a group');
select is(pg_temp.said(pg_temp.complete('rbt', 'group of ben', 245, 310)), 'completed', 'shares the therapist with the others');
select pg_temp.visit('after the group', 'rbt', 'ann', '97153', 5);
select is(pg_temp.said(pg_temp.complete('rbt', 'after the group', 305, 360)), 'VISIT_OVERLAPS', 'until the last of them is over');

-- An admin lets visits overlap
select is(pg_temp.said(pg_temp.complete('rbt', 'after the group', 305, 360, 'they say so')), 'FORBIDDEN', 'a therapist gives no reason');
select is(pg_temp.said(pg_temp.complete('admin', 'after the group', 305, 360, 'the parent confirms both')), 'completed', 'an admin does');
select is((select overlap_reason from public.session_visits where session_id = tests.id('after the group')), 'the parent confirms both', 'it is kept');
select is(
  (select details ->> 'reason' from audit.events where action = 'override.visit_overlap'), 'the parent confirms both', 'and audited'
);
select is(
  (select array_agg(during::tstzrange::text) from private.visit_claims where session_id = tests.id('after the group') and resource_kind = 'therapist'),
  array[tstzrange(pg_temp.minute(310), pg_temp.minute(360))::text], 'it takes the time that nobody else had'
);
select pg_temp.visit('later', 'rbt', 'ben', '97153', 6);
select is(pg_temp.said(pg_temp.complete('rbt', 'later', 355, 420)), 'VISIT_OVERLAPS', 'the next visit does not overlap that one');
select is(pg_temp.said(pg_temp.complete('rbt', 'later', 360, 420)), 'completed', 'and comes after it');

-- Corrections
select is(pg_temp.said(pg_temp.correct('rbt', 'second', 1, jsonb_build_object('actual_start_time', pg_temp.minute(74)))), 'VISIT_OVERLAPS',
  'a correction does not make visits overlap');
select is((select count(*) from public.visit_versions), 0::bigint, 'and leaves nothing when it would');
select is(pg_temp.said(pg_temp.correct('rbt', 'first', 1, jsonb_build_object('actual_end_time', pg_temp.minute(70)))), 'completed', 'a shorter visit');
select is(pg_temp.said(pg_temp.correct('rbt', 'second', 1, jsonb_build_object('actual_start_time', pg_temp.minute(70)))), 'completed', 'leaves the rest to the next');
select is(
  pg_temp.said(pg_temp.correct('admin', 'second', 2, jsonb_build_object('actual_start_time', pg_temp.minute(65), 'overlap_reason', 'both were there'))),
  'completed', 'an admin corrects in spite of it'
);
select is(pg_temp.said(pg_temp.correct('rbt', 'second', 3, '{"location_type": "home"}')), 'completed', 'what was let overlap stays let');
select is(pg_temp.said(pg_temp.correct('rbt', 'second', 4, jsonb_build_object('actual_start_time', pg_temp.minute(64)))), 'VISIT_OVERLAPS',
  'but not at other times');
select is(
  pg_temp.said(pg_temp.correct('rbt', 'first', 2, '{"undo": "completion", "reason_code": "by_mistake"}')), 'in_progress', 'a completion that is undone'
);
select is(
  (select range_agg(during::tstzrange)::text from private.visit_claims where session_id = tests.id('second') and resource_kind = 'therapist'),
  tstzmultirange(tstzrange(pg_temp.minute(65), pg_temp.minute(120)))::text, 'leaves its time to the visit that overlapped it'
);

-- Every other way
select pg_temp.visit('direct', 'rbt', 'ben', '97153', 8), pg_temp.visit('ran into it', 'rbt', 'ann', '97153', 9);
update public.sessions set status = 'completed' where id = tests.id('direct');
select is(pg_temp.said(pg_temp.complete('rbt', 'ran into it', 530, 600)), 'VISIT_OVERLAPS', 'without a record a visit took the booked time');
select is(pg_temp.said(pg_temp.complete('rbt', 'ran into it', 540, 610)), 'completed', 'which another respects');
select pg_temp.visit('met', 'rbt', 'ben', '97153', 10);
select is(
  (select string_agg(tests.error_code(person, format('update public.sessions set status = %L where id = %L', 'completed', tests.id('met'))), ' ')
    from unnest(array['service_role', 'postgres']) as person),
  '23P01 23P01', 'nor is one completed by a direct update'
);
select is(
  tests.error_code('postgres', format(
    'insert into public.session_visits (organization_id, session_id, actual_start_time, actual_end_time, units) values (%L, %L, %L, %L, 4)',
    tests.id('clinic'), tests.id('direct'), pg_temp.minute(490), pg_temp.minute(550))),
  '23P01', 'nor recorded by hand'
);

-- Another day than booked: what counts is what the payer of that day allows.
insert into public.client_coverages (organization_id, client_id, payer_id, valid_from, valid_to)
select tests.id('clinic'), tests.id(client), tests.id(payer), starts, ends
from unnest(array['cat', 'dan']) as client,
  lateral (select (pg_temp.minute(0) at time zone 'America/Los_Angeles')::date as allowed_on) as day,
  lateral (values ('open', date '2020-01-01', allowed_on), ('strict', allowed_on + 1, null)) as cover (payer, starts, ends);
create function pg_temp.complete_elsewhere(name text, begun integer, ended integer) returns jsonb language sql as $$
  select tests.call('admin', format('select public.end_session(%L)', jsonb_build_object('session_id', tests.id(name),
    'actual_start_time', pg_temp.minute(begun), 'actual_end_time', pg_temp.minute(ended), 'other_day_reason', 'a story')));
  select tests.sign(tests.id(name));
  select tests.call('admin', format('select public.complete_session(%L)', jsonb_build_object('session_id', tests.id(name))))
$$;
select pg_temp.visit('treats cat', 'rbt', 'cat', '97153', 30), pg_temp.visit('modifies cat', 'bcba', 'cat', '97155', 6),
  pg_temp.visit('treats dan', 'rbt', 'dan', '97153', 11), pg_temp.visit('modifies dan', 'bcba', 'dan', '97155', 31);
select is(pg_temp.said(pg_temp.complete('rbt', 'treats cat', 1800, 1860)), 'completed', 'on a day on which the payer forbids the pair');
select is(pg_temp.complete_elsewhere('modifies cat', 1830, 1890) #>> '{overlaps,0,resource}', 'client',
  'a visit that was booked for a day on which it is allowed does not overlap another');
select is(pg_temp.said(pg_temp.complete('rbt', 'treats dan', 660, 720)), 'completed', 'on a day on which the payer allows the pair');
select is(pg_temp.said(pg_temp.complete_elsewhere('modifies dan', 690, 750)), 'completed',
  'a visit that was booked for a day on which it is forbidden goes on beside another');
select is_empty(
  $$select problem from reports.visit_problems where client_id = tests.id('dan') and problem = 'client_overlaps'$$,
  'and no report calls that an overlap'
);
select is(tests.error_code('postgres', 'delete from private.visit_claims'), '23001', 'what visits claim follows from them');
select is_empty('select * from tests.broken_claims()', 'claims are sound');

select * from finish();
rollback;
