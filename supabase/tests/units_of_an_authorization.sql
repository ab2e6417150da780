-- A hold reserves units, a confirmation schedules them, a completion uses them; whatever ends otherwise gives them back.
begin;
select plan(101);
select tests.open_clinic();
select tests.add_payers();

create temporary table story (name text primary key, answer jsonb);
create function pg_temp.remember(name text, answer jsonb) returns jsonb language sql as $$
  insert into story values (remember.name, remember.answer)
  on conflict (name) do update set answer = excluded.answer
  returning story.answer
$$;
create function pg_temp.remembered(name text) returns jsonb language sql as $$
  select answer from story where story.name = remembered.name
$$;

-- In this story every request names its service, one-to-one treatment unless told: only then a hold takes units.
create or replace function tests.request(
  therapist text, client text, starts timestamptz, minutes integer default 60, extra jsonb default '{}'
) returns jsonb
language sql stable set search_path = ''
as $$
  select jsonb_build_object('therapist_id', tests.id(therapist), 'client_id', tests.id(client))
    || tests.occurrence(starts, minutes) || '{"session_type": "individual"}' || extra
$$;

select is(tests.hold('rbt', tests.request('rbt', 'ann', tests.at(0), 60)) ->> 'ok', 'true', 'without an authorization there is no limit');
select tests.authorize('ben', '97153', 20);
select is(tests.balance('ben'), '0/0/0/20', 'all twenty units are left');

-- The life of an entry
select pg_temp.remember('first', tests.hold('rbt', tests.request('rbt', 'ben', tests.at(1), 60)));
select is(tests.balance('ben'), '0/0/4/16', 'a hold reserves its units');
select tests.release('rbt', pg_temp.remembered('first') #>> '{body,holdKey}');
select is(tests.balance('ben'), '0/0/0/20', 'a release gives them back');

select pg_temp.remember('second', tests.hold('rbt', tests.request('rbt', 'ben', tests.at(1), 60)));
select tests.expire(pg_temp.remembered('second'));
select is(tests.balance('ben'), '0/0/0/20', 'an expired hold holds nothing, though nobody swept it');

select pg_temp.remember('third', tests.hold('rbt', tests.request('rbt', 'ben', tests.at(1), 60)));
select pg_temp.remember('booked', tests.confirm('rbt', tests.confirmation(pg_temp.remembered('third'), 'rbt', 'ben')));
select is(tests.balance('ben'), '0/4/0/16', 'a confirmation schedules them');
select tests.confirm('rbt', tests.confirmation(pg_temp.remembered('third'), 'rbt', 'ben'));
select is(tests.balance('ben'), '0/4/0/16', 'confirming twice schedules them once');

select is(tests.hold('rbt', tests.request('rbt', 'ben', tests.at(2), 67)) #>> '{body,warnings}', null, 'no warning while little is taken');
select is(tests.balance('ben'), '0/4/4/12', 'sixty-seven minutes are four units by midpoint');
select is(tests.hold('rbt', tests.request('rbt', 'ben', tests.at(3), 68)) ->> 'ok', 'true', 'sixty-eight minutes are five');
select is(tests.balance('ben'), '0/4/9/7', 'and are counted so');

-- Refusals
select pg_temp.remember('refused', tests.hold('rbt', tests.series('rbt', 'ben', array[tests.at(4), tests.at(5)], 60)));
select is(
  pg_temp.remembered('refused') - array['detail', 'shortages'],
  '{"ok": false, "status": 409, "code": "AUTHORIZATION_EXCEEDED", "retryAfter": null, "retryAfterSeconds": null,
    "conflicts": [], "alternatives": []}',
  'a series that needs more than is left is refused whole'
);
select is(tests.balance('ben'), '0/4/9/7', 'and takes nothing');
select is(
  tests.hold('rbt', tests.request('rbt', 'ben', tests.at(100), 60)) ->> 'code', 'AUTHORIZATION_EXCEEDED',
  'nor is a date after the authorization''s end'
);
select is(
  tests.hold('bcba', tests.request('bcba', 'ben', tests.at(6), 60, '{"cpt_code": "97155"}')) ->> 'ok', 'true',
  'a code without an authorization has no limit, when the payer asks for none'
);
select is(
  tests.hold('rbt', tests.request('rbt', 'ben', tests.at(4), 60, '{"override": {"reason": "please"}}')) ->> 'code',
  'FORBIDDEN', 'a therapist cannot override'
);

-- Near the end
select pg_temp.remember('more', tests.hold('rbt', tests.request('rbt', 'ben', tests.at(4), 60)));
select is(pg_temp.remembered('more') #> '{body,warnings}', null, 'with 3 of 20 units left a hold says nothing');
select tests.release('rbt', pg_temp.remembered('more') #>> '{body,holdKey}');
select pg_temp.remember('tenth', tests.hold('rbt', tests.request('rbt', 'ben', tests.at(4), 75)));
select is(pg_temp.remembered('tenth') #>> '{body,warnings,0,leftUnits}', '2', 'with the last tenth left it does');
select tests.release('rbt', pg_temp.remembered('tenth') #>> '{body,holdKey}');
select pg_temp.remember('last', tests.hold('rbt', tests.request('rbt', 'ben', tests.at(4), 90)));
select is(
  (pg_temp.remembered('last') #> '{body,warnings,0}') - 'authorizationId'::text,
  '{"code": "AUTHORIZATION_NEARLY_USED", "cptCode": "97153", "approvedUnits": 20, "leftUnits": 1}',
  'from 90 % on a hold says so'
);

-- Overrides
select pg_temp.remember('beyond', tests.hold('admin',
  tests.request('rbt', 'ben', tests.at(5), 60, '{"override": {"reason": "The family was promised this hour"}}')));
select is(pg_temp.remembered('beyond') ->> 'ok', 'true', 'an admin overrides with a reason');
select is(tests.balance('ben'), '0/4/16/0', 'what is left is taken, what is beyond is not counted against it');
select is(
  (select array[total_units, units] from public.authorization_units
    where owner_id = (pg_temp.remembered('beyond') #>> '{body,holds,0,holdId}')::uuid),
  array[4, 1], 'the ledger shows both'
);
select is(
  (select details ->> 'reason' from audit.events where action = 'override.authorization'),
  'The family was promised this hour', 'and the audit has the reason'
);
select is(
  tests.confirm('admin', tests.confirmation(pg_temp.remembered('beyond'), 'rbt', 'ben')) ->> 'ok', 'true',
  'it confirms as any other'
);
select is(tests.balance('ben'), '0/5/15/0', 'and stays what it was');

-- Giving back
select is(
  tests.cancel('rbt', jsonb_build_object('session_ids', jsonb_build_array(pg_temp.remembered('booked') #> '{body,session,id}')))
    #>> '{body,summary,cancelledCount}',
  '1', 'a scheduled session is cancelled'
);
select is(tests.balance('ben'), '0/1/15/4', 'which gives its units back');

-- Using
select pg_temp.remember('used', to_jsonb(tests.book('admin', 'rbt', 'ben', tests.at(7), 30)));
select is(tests.balance('ben'), '0/3/15/2', 'two units more are scheduled');
select tests.bring_forward((pg_temp.remembered('used') #>> '{}')::uuid);
update public.sessions set status = 'in_progress' where id = (pg_temp.remembered('used') #>> '{}')::uuid;
select is(tests.balance('ben'), '0/3/15/2', 'a session that has begun is still scheduled');
update public.sessions set status = 'completed' where id = (pg_temp.remembered('used') #>> '{}')::uuid;
select is(tests.balance('ben'), '2/1/15/2', 'one that is completed uses them');
select pg_temp.remember('missed', to_jsonb(tests.book('admin', 'rbt', 'ben', tests.at(8), 30)));
select tests.bring_forward((pg_temp.remembered('missed') #>> '{}')::uuid, '3 hours');
update public.sessions set status = 'no_show' where id = (pg_temp.remembered('missed') #>> '{}')::uuid;
select is(tests.balance('ben'), '2/1/15/2', 'a no-show gives them back');

-- Moving
select tests.release('rbt', pg_temp.remembered('last') #>> '{body,holdKey}');
select pg_temp.remember('movable', to_jsonb(tests.book('admin', 'rbt', 'ben', tests.at(9), 120)));
select is(tests.balance('ben'), '2/9/9/0', 'eight units of a session take the last of them');
select pg_temp.remember('move', tests.hold('rbt', tests.request('rbt', 'ben', tests.at(10), 120,
  jsonb_build_object('session_id', pg_temp.remembered('movable')))));
select is(pg_temp.remembered('move') ->> 'ok', 'true', 'moving it needs none, since it has them');
select is(tests.balance('ben'), '2/9/9/0', 'and takes none');
select is(
  tests.hold('rbt', tests.request('rbt', 'ben', tests.at(11), 135, jsonb_build_object('session_id', pg_temp.remembered('movable')))) ->> 'code',
  'SESSION_BEING_MOVED', 'one move at a time'
);
select tests.confirm('rbt', tests.confirmation(pg_temp.remembered('move'), 'rbt', 'ben'));
select is(tests.balance('ben'), '2/9/9/0', 'moved, it has what it had');
select is(
  tests.hold('rbt', tests.request('rbt', 'ben', tests.at(11), 135, jsonb_build_object('session_id', pg_temp.remembered('movable')))) ->> 'code',
  'AUTHORIZATION_EXCEEDED', 'a move that makes it longer asks for the difference'
);
select pg_temp.remember('shorter', tests.hold('rbt', tests.request('rbt', 'ben', tests.at(11), 60,
  jsonb_build_object('session_id', pg_temp.remembered('movable')))));
select tests.confirm('rbt', tests.confirmation(pg_temp.remembered('shorter'), 'rbt', 'ben'));
select is(tests.balance('ben'), '2/5/9/4', 'one that makes it shorter gives the difference back');

-- A session that is changed directly while its move is held: the two are counted anew together
insert into public.clients (organization_id, id, reference) values (tests.id('clinic'), tests.id('cleo'), 'C-3');
select tests.authorize('cleo', '97153', 20);
select pg_temp.remember('roving', to_jsonb(tests.book('admin', 'rbt', 'cleo', tests.at(40), 120)));
create function pg_temp.rewrite(minutes integer) returns text language sql as $$
  select tests.error_code('service_role', format(
    'update public.sessions set end_time = start_time + make_interval(mins => %s) where id = %L',
    minutes, pg_temp.remembered('roving') #>> '{}'))
$$;
create function pg_temp.move_to(day integer, minutes integer) returns jsonb language sql as $$
  select pg_temp.remember('roaming', tests.hold('admin', tests.request('rbt', 'cleo', tests.at(day), minutes,
    jsonb_build_object('session_id', pg_temp.remembered('roving')))))
$$;
select pg_temp.move_to(41, 120);
select is(tests.balance('cleo'), '0/8/0/12', 'a move to a place as long takes nothing in addition');
select is(pg_temp.rewrite(45), null, 'its session is made shorter meanwhile');
select is(tests.balance('cleo'), '0/3/5/12', 'then the move takes the difference');
select is(pg_temp.rewrite(300), null, 'or longer than the move');
select is(tests.balance('cleo'), '0/20/0/0', 'then it takes none');
select is(pg_temp.rewrite(315), '23514', 'beyond the authorization it cannot be made');
select is(tests.balance('cleo'), '0/20/0/0', 'which changes nothing');
select is(pg_temp.rewrite(15), null, 'and shorter again');
select is(tests.confirm('admin', tests.confirmation(pg_temp.remembered('roaming'), 'rbt', 'cleo')) ->> 'ok', 'true', 'the move confirms');
select is(tests.balance('cleo'), '0/8/0/12', 'and takes what its place needs');
select pg_temp.move_to(42, 240);
select is(pg_temp.rewrite(60), null, 'a move that runs out');
select tests.expire(pg_temp.remembered('roaming'));
select is(tests.balance('cleo'), '0/4/0/16', 'leaves the session what it needs');
select pg_temp.move_to(43, 240);
select is(pg_temp.rewrite(75), null, 'one that is released');
select tests.release('admin', pg_temp.remembered('roaming') #>> '{body,holdKey}');
select is(tests.balance('cleo'), '0/5/0/15', 'as well');
select pg_temp.move_to(44, 240);
select is(
  tests.error_code('service_role', format('update public.sessions set cpt_code = ''97152'' where id = %L', pg_temp.remembered('roving') #>> '{}')),
  '23514', 'its service stays what the move was held for'
);
update public.authorizations set approved_units = 6 where client_id = tests.id('cleo');
select is(tests.balance('cleo'), '0/5/1/0', 'an authorization that shrinks covers the session first, then its move');
update public.authorizations set approved_units = 30 where client_id = tests.id('cleo');
select is(tests.balance('cleo'), '0/5/11/14', 'one that grows covers both');
select tests.bring_forward((pg_temp.remembered('roving') #>> '{}')::uuid, '6 hours');
update public.sessions set status = 'in_progress' where id = (pg_temp.remembered('roving') #>> '{}')::uuid;
select is(tests.balance('cleo'), '0/5/0/25', 'a move that can no longer confirm takes nothing');
select is(
  tests.confirm('admin', tests.confirmation(pg_temp.remembered('roaming'), 'rbt', 'cleo')) ->> 'code', 'SESSION_NOT_MOVABLE', 'nor does it'
);
select tests.release('admin', pg_temp.remembered('roaming') #>> '{body,holdKey}');
select is(
  tests.error_code('service_role', format('update public.sessions set cpt_code = ''97152'' where id = %L', pg_temp.remembered('roving') #>> '{}')),
  null, 'once the move has ended the service can change'
);
select is(tests.balance('cleo'), '0/0/0/30', 'and is another authorization''s, if it has one');

-- Whoever writes directly meets the same limit
select is(
  tests.error_code('admin', format(
    'insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone) values (%L, %L, %L, %L, %L, %L)',
    tests.id('clinic'), tests.id('rbt2'), tests.id('ben'), tests.at(12), tests.at(12, '11:15'), 'UTC')),
  '23514', 'a direct insert cannot take more than is left'
);
select is(
  tests.error_code('admin', format(
    'insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone) values (%L, %L, %L, %L, %L, %L)',
    tests.id('clinic'), tests.id('rbt2'), tests.id('ben'), tests.at(12), tests.at(12, '11:00'), 'UTC')),
  null, 'but what is left it can'
);
select is(tests.balance('ben'), '2/9/9/0', 'and takes it');
select is(
  tests.error_code('service_role', 'update public.authorization_units set units = 0'), '42501',
  'nobody writes the ledger, service_role included'
);

-- An authorization that comes later, or shrinks
select tests.book('admin', 'rbt2', 'ann', array[tests.at(20), tests.at(21), tests.at(22)], 60);
select tests.authorize('ann', '97153', 10);
select is(tests.balance('ann'), '0/10/0/0', 'bookings there are already count, earliest first');
update public.authorizations set approved_units = 24 where client_id = tests.id('ann');
select is(tests.balance('ann'), '0/12/4/8', 'more units cover all of them, and the hold of the beginning, which is still alive');
select is(
  tests.rows('rbt', 'select 1 from reports.authorization_balances') , 2::bigint, 'a therapist sees her caseload''s balances'
);
select is(tests.rows('parent', 'select 1 from reports.authorization_balances'), 0::bigint, 'a parent sees none');
select results_eq(
  'select problem from reports.authorization_balances cross join lateral (select approved_units = used_units + scheduled_units + held_units + left_units as problem) as sums where client_id in (tests.id(''ann''), tests.id(''ben''))',
  'values (true), (true)', 'used + scheduled + held + left = approved'
);

-- Its first and its last day are authorized, the days beside them are not.
insert into public.clients (organization_id, id, reference) values (tests.id('clinic'), tests.id('zoe'), 'zoe');
select tests.authorize('zoe', array['97153'], 100, tests.at(200)::date, tests.at(202)::date);
create function pg_temp.on_day(day integer) returns text language sql as $$
  select coalesce(answer #>> '{shortages,0,limit}', answer ->> 'ok')
  from tests.hold('admin', tests.request('rbt2', 'zoe', tests.at(day, '20:00'), 30)) as answer
$$;
select is(pg_temp.on_day(day), verdict, format('day %s of days 200 to 202: %s', day, verdict))
from (values (199, 'dates'), (200, 'true'), (202, 'true'), (203, 'dates')) as asked (day, verdict);
select is((select count(*) from public.authorization_units where client_id = tests.id('zoe')), 2::bigint, 'both take their units of it');

-- A session that is cancelled while it moves gives back what the move takes, too.
insert into public.clients (organization_id, id, reference) values (tests.id('clinic'), tests.id('yan'), 'yan');
select tests.authorize('yan', array['97153'], 20, tests.at(200)::date, tests.at(210)::date);
create temporary table longer on commit drop as
select (tests.confirm('admin', tests.confirmation(held, 'rbt2', 'yan')) #>> '{body,session,id}')::uuid as id
from tests.hold('admin', tests.request('rbt2', 'yan', tests.at(204), 60, '{"cpt_code": "97153"}')) as held;
select is(tests.hold('admin', tests.request('rbt2', 'yan', tests.at(205), 120, jsonb_build_object('session_id', id))) ->> 'ok', 'true', 'it is to become longer') from longer;
select is(tests.balance('yan'), '0/4/4/12', 'which takes as much again');
select is(tests.cancel('admin', jsonb_build_object('session_ids', array[id])) #>> '{body,summary,cancelledCount}', '1', 'it is cancelled instead') from longer;
select is(tests.balance('yan'), '0/0/0/20', 'and takes nothing any more');

-- What was allowed once, or was rendered, is not refused when something else is written.
select tests.authorize('dan', '97153', 4);
create temporary table beyond on commit drop as
select (tests.confirm('admin', tests.confirmation(held, 'rbt2', 'dan')) #>> '{body,session,id}')::uuid as id
from tests.hold('admin', tests.request('rbt2', 'dan', tests.at(60), 120, '{"override": {"reason": "The payer agreed"}}')) as held;
select is(tests.error_code('service_role', format('update public.sessions set session_type = ''one to one'' where id = %L', id)), null, 'what an admin booked beyond an authorization may be written on') from beyond;
select is(tests.error_code('service_role', format('update public.sessions set end_time = end_time + interval ''1 hour'' where id = %L', id)), '23514', 'but takes no more') from beyond;
select tests.cancel('admin', jsonb_build_object('session_ids', array[id])) from beyond;
create temporary table outlasted on commit drop as select tests.book('admin', 'rbt2', 'dan', tests.at(61)) as id;
select tests.bring_forward(id, '5 hours') from outlasted;
update public.sessions set status = 'in_progress' where id = (select id from outlasted);
select tests.record_visit(id, start_time, start_time + interval '2 hours') from public.sessions where id = (select id from outlasted);
select is(tests.error_code('service_role', format('update public.sessions set status = ''completed'' where id = %L', id)), null, 'what was rendered beyond it happened') from outlasted;
select is(tests.balance('dan'), '4/0/0/0', 'and takes what was left') from outlasted;

-- A payer changes how minutes become units, and whether an authorization is required, from a day to come: what is booked and
-- held from that day on is counted anew, and what was booked before it stays.
insert into public.clients (organization_id, id, reference) values (tests.id('clinic'), tests.id('gil'), 'gil');
insert into public.payers (organization_id, id, name) values (tests.id('clinic'), tests.id('changing'), 'changing');
insert into public.payer_rules (organization_id, payer_id, rounding, authorization_required, valid_from) values (tests.id('clinic'), tests.id('changing'), 'midpoint', false, '2020-01-01');
select tests.cover('gil', 'changing');
insert into public.authorizations (organization_id, id, client_id, payer_id, approved_units, starts_on, ends_on)
values (tests.id('clinic'), tests.id('gil''s'), tests.id('gil'), tests.id('changing'), 100, tests.at(0)::date, tests.at(80)::date);
insert into public.authorization_codes (organization_id, authorization_id, cpt_code) values (tests.id('clinic'), tests.id('gil''s'), '97153');
select tests.confirm('admin', tests.confirmation(held, 'bcba', 'gil', format('{"cpt": {"code": "%s"}}', code)::jsonb #- '{cpt}'))
from (values (70, '97153'), (75, '97153'), (76, '97156')) as booked (day, code),
  lateral tests.hold('admin', tests.request('bcba', 'gil', tests.at(day), 37, jsonb_build_object('cpt_code', code))) as held;
select tests.hold('admin', tests.request('bcba', 'gil', tests.at(77), 37, '{"cpt_code": "97153"}'));
select is(tests.balance('gil'), '0/4/2/94', '37 minutes are two units');
select is((select array_agg(needs_authorization) from public.authorization_units where client_id = tests.id('gil') and cpt_code = '97156'), array[false], 'a code without an authorization');
update public.payer_rules set valid_to = tests.at(72)::date where payer_id = tests.id('changing');
insert into public.payer_rules (organization_id, payer_id, rounding, authorization_required, valid_from) values (tests.id('clinic'), tests.id('changing'), 'ceil', true, tests.at(73)::date);
select is(tests.balance('gil'), '0/5/3/92', 'from the day on which the payer rounds up they are three');
select is((select array_agg(needs_authorization) from public.authorization_units where client_id = tests.id('gil') and cpt_code = '97156'), array[true], 'and one is required');
update public.payer_rules set authorization_required = false where payer_id = tests.id('changing');
select is((select array_agg(needs_authorization) from public.authorization_units where client_id = tests.id('gil') and cpt_code = '97156'), array[false], 'or not any more');
insert into public.payer_code_rules (organization_id, payer_id, cpt_code, rounding, valid_from) values (tests.id('clinic'), tests.id('changing'), '97153', 'floor', tests.at(76)::date);
select is(tests.balance('gil'), '0/5/2/93', 'a rule of one code alike');
-- Units follow a rule that is corrected: what it covers, which code it is about, and whose it is.
update public.payer_code_rules set is_covered = false where payer_id = tests.id('changing') and cpt_code = '97153';
select is(tests.balance('gil'), '0/5/0/95', 'what the payer does not pay for any more takes nothing');
update public.payer_code_rules set is_covered = true where payer_id = tests.id('changing') and cpt_code = '97153';
select is(tests.balance('gil'), '0/5/2/93', 'until that is corrected');
update public.payer_code_rules set cpt_code = '97156' where payer_id = tests.id('changing') and cpt_code = '97153';
select is(tests.balance('gil'), '0/5/3/92', 'a rule that is another code''s by now leaves this one to the payer''s');
update public.payer_code_rules set cpt_code = '97153' where payer_id = tests.id('changing') and cpt_code = '97156';
-- Whose something is never changes: it would leave the former's bookings as they were counted.
select is(tests.error('service_role', format('update public.%I set %I = %L where %s', kept.of_table, kept.of_column, gen_random_uuid(), kept.rows)) ->> 'code', '23514',
  format('%s of %s stays', kept.of_column, kept.of_table))
from (values
  ('payer_rules', 'payer_id', format('payer_id = %L', tests.id('changing'))), ('payer_rules', 'id', format('payer_id = %L', tests.id('changing'))),
  ('payer_code_rules', 'payer_id', format('payer_id = %L', tests.id('changing'))), ('payer_concurrency_rules', 'payer_id', format('organization_id = %L', tests.id('clinic'))),
  ('payer_concurrency_rules', 'id', format('organization_id = %L', tests.id('clinic'))), ('client_coverages', 'client_id', format('client_id = %L', tests.id('gil'))),
  ('client_coverages', 'id', format('client_id = %L', tests.id('gil'))), ('authorizations', 'client_id', format('client_id = %L', tests.id('gil')))
) as kept (of_table, of_column, rows);
select is_empty('select * from tests.broken_claims()', 'the claims are sound');

-- Two clinics may have an authorization of the same id.
select tests.open_clinic('other ');
insert into public.payers (organization_id, id, name) values (tests.id('other clinic'), tests.id('open'), 'open');
insert into public.clients (organization_id, id, reference) values (tests.id('other clinic'), tests.id('dan'), 'dan too');
insert into public.authorizations (organization_id, id, client_id, payer_id, approved_units, starts_on, ends_on)
select tests.id('other clinic'), id, client_id, payer_id, 100, starts_on, ends_on from public.authorizations
where organization_id = tests.id('clinic') and client_id = tests.id('dan');
update public.authorizations set approved_units = 40 where organization_id = tests.id('clinic') and client_id = tests.id('dan');
select is(tests.hold('admin', tests.request('rbt2', 'dan', tests.at(62))) ->> 'ok', 'true', 'a booking in one of them');
select tests.confirm('admin', tests.confirmation(held, 'rbt2', 'dan')) from tests.hold('admin', tests.request('rbt2', 'dan', tests.at(63))) as held;
select is((select booked_units from public.authorizations where organization_id = tests.id('other clinic')), 0, 'takes nothing of the other''s');

select * from finish();
rollback;
