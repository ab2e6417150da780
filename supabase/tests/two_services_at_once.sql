-- A client may receive two services at the same time where every payer of hers allows that pair, and nowhere else.
begin;
select plan(99);
select tests.open_clinic();
select tests.add_payers();
select tests.cover('ann', 'open');
select tests.cover('ben', 'strict');
select tests.cover('cat', 'silent');

create temporary table story (name text primary key, answer jsonb);
create function pg_temp.remember(name text, answer jsonb) returns jsonb language sql as $$
  insert into story values (remember.name, remember.answer)
  on conflict (name) do update set answer = excluded.answer
  returning story.answer
$$;
create function pg_temp.remembered(name text) returns jsonb language sql as $$
  select answer from story where story.name = remembered.name
$$;
-- Holds a code for a client; 'held', or the code of the refusal.
create function pg_temp.try(therapist text, client text, code text, day integer, extra jsonb default '{}') returns text
language sql as $$
  select case when answer ->> 'ok' = 'true' then 'held' else answer ->> 'code' end
  from tests.hold('admin', tests.request(therapist, client, tests.at(day), 60, jsonb_build_object('cpt_code', code) || extra)) as answer
$$;
create function pg_temp.insert_session(therapist text, client text, code text, day integer) returns text language sql as $$
  select tests.error_code('admin', format(
    'insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code) '
    'values (%L, %L, %L, %L, %L, %L, %L)',
    tests.id('clinic'), tests.id(therapist), tests.id(client), tests.at(day), tests.at(day, '11:00'), 'UTC', code))
$$;

-- A technician's treatment, and a supervisor with the same client
select is(pg_temp.try('rbt', 'ann', '97153', 0), 'held', 'a technician treats ann');
select is(pg_temp.try('bcba', 'ann', '97155', 0), 'held', 'a BCBA modifies the protocol meanwhile: her payer allows the pair');
select is(pg_temp.try('rbt2', 'ann', '97153', 0), 'CLIENT_HOLD_CONFLICT', 'a second technician is not a pair, but a conflict');
select is(pg_temp.try('rbt2', 'ann', null, 0), 'CLIENT_HOLD_CONFLICT', 'nor may a service run that nobody named');
select is(
  tests.error('admin', format('select public.hold_sessions(%L)', tests.request('rbt2', 'ann', tests.at(0), 60, '{"cpt_code": "H2019"}'))) ->> 'code',
  'PT400', 'a code that is not known is no request'
);
select is(pg_temp.try('bcba', 'ben', '97153', 0), 'THERAPIST_HOLD_CONFLICT', 'a provider never renders two individual services at once');

select is(pg_temp.try('rbt', 'ben', '97153', 1), 'held', 'a technician treats ben');
select is(pg_temp.try('bcba', 'ben', '97155', 1), 'CONCURRENT_SERVICE_NOT_ALLOWED', 'his payer forbids the pair');
select is(pg_temp.try('rbt', 'cat', '97153', 2), 'held', 'a technician treats cat');
select is(pg_temp.try('bcba', 'cat', '97155', 2), 'CONCURRENT_SERVICE_NOT_ALLOWED', 'her payer says nothing of the pair');
select is(pg_temp.try('rbt', 'dan', '97153', 3), 'held', 'a technician treats dan');
select is(pg_temp.try('bcba', 'dan', '97155', 3), 'CONCURRENT_SERVICE_NOT_ALLOWED', 'his payer is not known');
select is(
  (select jsonb_build_object('retry', answer ->> 'retryAfter' is not null, 'conflicts', jsonb_path_query_array(answer, '$.conflicts[*].resource'))
    from tests.hold('admin', tests.request('bcba', 'dan', tests.at(3), 60, '{"cpt_code": "97155"}')) as answer),
  '{"retry": true, "conflicts": ["client"]}', 'the refusal says when the hold in the way ends'
);
select is(pg_temp.try('bcba', 'dan', '97155', 3, '{"session_type": "individual"}'), 'CONCURRENT_SERVICE_NOT_ALLOWED', 'the code counts before the type');

-- Overrides
select is(
  (select answer ->> 'code' from tests.hold('bcba', tests.request('bcba', 'ben', tests.at(1), 60,
    '{"cpt_code": "97155", "override": {"reason": "please"}}')) as answer),
  'FORBIDDEN', 'a therapist cannot override'
);
select pg_temp.remember('treated', tests.hold('admin', tests.request('rbt', 'dan', tests.at(4), 60, '{"cpt_code": "97153"}')));
select pg_temp.remember('beside', tests.hold('admin', tests.request('bcba', 'dan', tests.at(4), 60,
  '{"cpt_code": "97155", "override": {"reason": "The payer agreed by phone"}}')));
select is(pg_temp.remembered('beside') ->> 'ok', 'true', 'an admin overrides with a reason');
select is(
  (select details ->> 'reason' from audit.events where action = 'override.concurrency'),
  'The payer agreed by phone', 'which the audit has'
);
select is(
  tests.confirm('admin', tests.confirmation(pg_temp.remembered('beside'), 'bcba', 'dan')) ->> 'ok', 'true', 'it confirms'
);
select is(
  tests.confirm('admin', tests.confirmation(pg_temp.remembered('treated'), 'rbt', 'dan')) ->> 'ok', 'true', 'and so does the other'
);
select is_empty('select * from tests.broken_claims()', 'the claims are what they should be');
select is(pg_temp.try('rbt2', 'dan', '97153', 4), 'CLIENT_CONFLICT', 'an override opens nothing to a third');
select is(
  pg_temp.try('bcba', 'dan', '97155', 5, jsonb_build_object(
    'session_id', pg_temp.remembered('beside') #> '{body,holds,0,holdId}')),
  'held', 'the overridden session can move'
);
select is(
  pg_temp.try('rbt2', 'ann', '97153', 0, '{"override": {"reason": "Two technicians"}}'), 'CLIENT_HOLD_CONFLICT',
  'no override puts one service on itself'
);

-- Written directly, the same constraint decides
select is(pg_temp.insert_session('rbt', 'ann', '97153', 10), null, 'a session of ann written directly');
select is(pg_temp.insert_session('bcba', 'ann', '97155', 10), null, 'another beside it, as her payer allows');
select is(pg_temp.insert_session('rbt', 'ben', '97153', 11), null, 'a session of ben');
select is(pg_temp.insert_session('bcba', 'ben', '97155', 11), '23P01', 'nothing beside it');
select is(
  tests.error_code('admin', format('update public.sessions set cpt_code = %L where client_id = %L and cpt_code = %L', '97153', tests.id('ann'), '97155')),
  '23P01', 'nor can a session become the service that is there already'
);

-- Several payers, and payers that change their mind
select is(
  (select tests.error_code('postgres', format('select tests.cover(%L, %L, 2)', 'ann', 'strict'))), '23001',
  'a second payer who forbids the pair is refused while bookings overlap'
);
select is(tests.error('postgres', format('select tests.cover(%L, %L, 2)', 'ann', 'strict')) ->> 'hint', 'Move or cancel one of each pair first. A rule, a coverage or a version of a code may also begin on a later day.', 'and its hint fits a new zone as well');
update public.sessions set status = 'cancelled' where client_id = tests.id('ann') and cpt_code = '97155';
select is(
  (select tests.error_code('postgres', format('select tests.cover(%L, %L, 2)', 'ann', 'strict'))), '23001', 'as long as one of them is held, too'
);
select tests.release('admin', batch.hold_key::text) from public.hold_batches as batch
join public.session_holds as hold on hold.batch_id = batch.id where hold.client_id = tests.id('ann') and batch.cpt_code = '97155';
select lives_ok('select tests.cover(''ann'', ''strict'', 2)', 'without them it is entered');
select is(pg_temp.try('bcba', 'ann', '97155', 10), 'CONCURRENT_SERVICE_NOT_ALLOWED', 'one payer who forbids is enough');
update public.payer_concurrency_rules set valid_to = tests.at(10)::date where payer_id = tests.id('strict');
insert into public.payer_concurrency_rules (organization_id, payer_id, first_code, second_code, allowed, valid_from)
values (tests.id('clinic'), tests.id('strict'), '97153', '97155', true, tests.at(11)::date);
select is(pg_temp.try('bcba', 'ben', '97155', 1), 'CONCURRENT_SERVICE_NOT_ALLOWED', 'a rule that ends later still holds');
select is(pg_temp.try('bcba', 'ben', '97155', 11), 'held', 'from the new rule''s first day the pair is allowed, also beside what was there');
select is(tests.error_code('postgres', format('update public.client_coverages set valid_to = %L where client_id = %L', tests.at(10)::date, tests.id('ben'))), '23001',
  'a coverage does not end before what only its payer allows');
select throws_ok(
  format('insert into public.payer_concurrency_rules (organization_id, payer_id, first_code, second_code, allowed, valid_from) values (%L, %L, %L, %L, true, %L)',
    tests.id('clinic'), tests.id('strict'), '97153', '97155', '2021-01-01'),
  '23P01', null, 'two versions of one rule cannot share a day'
);
select is_empty('select * from tests.broken_claims()', 'the claims are still what they should be');

-- TRICARE's matrix, every pair, held and written directly
select private.add_default_payers(tests.id('clinic'));
update public.therapists set credential = 'BCBA' where id = tests.id('rbt');
insert into public.clients (organization_id, id, reference) values (tests.id('clinic'), tests.id('eve'), 'eve'),
  (tests.id('clinic'), tests.id('with eve at rbt'), 'with eve at rbt'), (tests.id('clinic'), tests.id('with eve at bcba'), 'with eve at bcba');
-- A group service is held for eve and one client more.
create function pg_temp.company(therapist text, code text) returns jsonb language sql as $$
  select case when code in ('97154', '97157', '97158')
    then jsonb_build_object('client_ids', array[tests.id('eve'), tests.id('with eve at ' || therapist)]) else '{}' end
$$;
insert into public.client_coverages (organization_id, client_id, payer_id, valid_from)
select organization_id, tests.id('eve'), id, '2020-01-01' from public.payers
where organization_id = tests.id('clinic') and name = 'TRICARE';
update public.payer_rules set authorization_required = false where organization_id = tests.id('clinic');
-- Which pairs may be at once is asked of all codes, also of those that TRICARE does not pay for.
update public.payer_code_rules set is_covered = true where organization_id = tests.id('clinic');

create temporary table pair as
select
  first.code as first_code, second.code as second_code, 100 + row_number() over (order by first.code, second.code) as day,
  (first.code, second.code) in (
    ('97151', '97153'), ('97151', '97156'), ('97153', '97156'), ('97155', '97156'), ('97151', '97157'),
    ('97153', '97157'), ('97155', '97157'), ('97151', '97158'), ('97156', '97158'), ('97157', '97158')
  ) as allowed
from public.service_codes as first
join public.service_codes as second on second.code > first.code
where second.code like '97%' and first.code like '97%';

select is(
  (select array_agg(distinct pg_temp.try('rbt', 'eve', first_code, day::integer, pg_temp.company('rbt', first_code))) from pair), array['held'], 'the first of each pair is held'
);
select is(
  pg_temp.try('bcba', 'eve', second_code, day::integer, pg_temp.company('bcba', second_code)),
  case when allowed then 'held' else 'CONCURRENT_SERVICE_NOT_ALLOWED' end,
  format('%s beside %s is %s', second_code, first_code, case when allowed then 'allowed' else 'refused' end)
) from pair order by day;
select is(
  concat_ws('/', pg_temp.insert_session('rbt', 'eve', first_code, day::integer + 100), pg_temp.insert_session('bcba', 'eve', second_code, day::integer + 100)),
  case when allowed then '' else '23P01' end,
  format('%s beside %s, written directly, is %s', second_code, first_code, case when allowed then 'allowed' else 'refused' end)
) from pair where first_code not in ('97154', '97157', '97158') and second_code not in ('97154', '97157', '97158') order by day;

-- Credentials
select is(pg_temp.try('rbt2', 'ann', '97155', 30), 'FORBIDDEN', 'a technician renders no code of a qualified professional');
select is(pg_temp.try('rbt2', 'ann', null, 30, '{"session_type": "Assessment"}'), 'FORBIDDEN', 'nor by its type');
select is(pg_temp.insert_session('rbt2', 'ann', '97155', 30), '23514', 'nor written directly');
select is(pg_temp.try('rbt2', 'ann', '97152', 30), 'held', 'her own she renders');
select is(pg_temp.try('bcba', 'ann', '97153', 31), 'held', 'and a professional may treat');
select is(
  (select answer ->> 'code' from tests.hold('admin', tests.request('rbt2', 'dan', tests.at(32), 60,
    jsonb_build_object('session_id', pg_temp.remembered('beside') #> '{body,holds,0,holdId}'))) as answer),
  'FORBIDDEN', 'a professional''s session cannot move to a technician'
);

-- The day that decides is the client's: where dan lives, it is midnight and the first day of the coverage.
update public.clients set time_zone = 'Pacific/Kiritimati' where id = tests.id('dan');
select tests.add('public.client_coverages', jsonb_build_array(jsonb_build_object(
  'organization_id', tests.id('clinic'), 'client_id', tests.id('dan'), 'payer_id', tests.id('open'), 'priority', 1,
  'valid_from', (tests.at(71) at time zone 'UTC')::date
)));
select is(pg_temp.try('rbt', 'dan', '97153', 70), 'held', 'a technician treats dan, whom his new payer covers from midnight on');
select is(pg_temp.try('bcba', 'dan', '97155', 70), 'held', 'and the payer of his day allows the pair, whatever day it is elsewhere');

-- What an admin let run beside another, with a reason, goes on so while its client's time and its service stay.
create function pg_temp.booked(therapist text, code text, extra jsonb default '{}') returns uuid language sql as $$
  select (tests.confirm('admin', tests.confirmation(held, therapist, 'cat')) #>> '{body,session,id}')::uuid
  from tests.hold('admin', tests.request(therapist, 'cat', tests.at(400), 60, jsonb_build_object('cpt_code', code) || extra)) as held
$$;
create function pg_temp.hand(session_id uuid, receiver text) returns jsonb language sql as $$
  select tests.call('admin', format('select public.hold_reassignment(%L)', jsonb_build_object('session_ids', array[session_id], 'to_therapist_id', tests.id(receiver))))
$$;
create temporary table let on commit drop as
select pg_temp.booked('rbt2', '97153') as treated, pg_temp.booked('bcba', '97155', '{"override": {"reason": "The payer agreed by phone", "rules": ["concurrency"]}}') as id;
select is(tests.confirm('admin', tests.confirmation(pg_temp.hand(id, 'rbt'), 'rbt', 'cat')) ->> 'ok', 'true', 'it is handed over without a new reason') from let;
select is(tests.error('admin', format('update public.sessions set room_id = %L where id = %L', tests.id('blue'), id)), null, 'it goes to a room') from let;
select is(
  tests.hold('admin', tests.request('rbt', 'cat', tests.at(400, '10:15'), 60, jsonb_build_object('session_id', id))) ->> 'code',
  'CONCURRENT_SERVICE_NOT_ALLOWED', 'another time beside the other is asked anew') from let;
select pg_temp.remember('back', pg_temp.hand(id, 'bcba')) from let;
select is(tests.error('postgres', format('update public.client_coverages set priority = 2 where client_id = %L', tests.id('cat'))), null, 'while that is held, its payers may change');
select is(tests.confirm('admin', tests.confirmation(pg_temp.remembered('back'), 'bcba', 'cat')) ->> 'ok', 'true', 'and it is confirmed');
do $$ begin
  perform private.enter_booking();
  update public.sessions set start_time = date_trunc('minute', now()) - interval '2 hours', end_time = date_trunc('minute', now()) - interval '1 hour'
  from let where sessions.id in (let.treated, let.id);
  perform private.sync_claims(tests.id('clinic'), array[let.treated, let.id]) from let;
  perform private.leave_booking(null);
end $$;
select is(tests.call('admin', format('select public.mark_no_show(%L)', jsonb_build_object('session_id', id))) ->> 'ok', 'true', 'it was missed, they say') from let;
select is(tests.call('admin', format('select public.correct_visit(%L)', jsonb_build_object('session_id', id, 'base_version', 1, 'undo', 'no_show', 'reason_code', 'by_mistake'))) ->> 'ok',
  'true', 'which is undone, beside the other as before') from let;
update public.sessions set status = 'in_progress' from let where sessions.id in (let.treated, let.id);
update public.sessions set status = 'completed' from let where sessions.id in (let.treated, let.id);
select is((select array_agg(problem) from reports.visit_problems, let where session_id in (treated, id) and problem like '%overlap%'), '{overlap_let,overlap_let}',
  'what was booked beside another with a reason is no problem of the visits');
create function pg_temp.correct(extra jsonb) returns text language sql as $$
  select coalesce(answer ->> 'code', 'ok') from let cross join lateral tests.call('admin', format('select public.correct_visit(%L)', jsonb_build_object(
    'session_id', id, 'base_version', 2, 'cpt_code', '97156', 'reason_code', 'wrong_service') || extra)) as answer $$;
select is(pg_temp.correct('{}'), 'VISIT_OVERLAPS', 'corrected to another service, it is asked anew');
select is(pg_temp.correct('{"overlap_reason": "Both were there"}'), 'ok', 'and an admin may have a reason again');
select is((select array_agg(action order by action) from audit.events where details ->> 'reason' = 'Both were there'), '{override.concurrency,override.visit_overlap}', 'which the audit has');
select is_empty('select * from tests.broken_claims()', 'the claims are sound to the end');

-- A reason that was needed for something else lets nothing run beside it.
insert into public.payers (organization_id, id, name) values (tests.id('clinic'), tests.id('lenient'), 'lenient');
insert into public.payer_concurrency_rules (organization_id, payer_id, first_code, second_code, allowed, valid_from)
values (tests.id('clinic'), tests.id('lenient'), '97153', '97155', true, '2020-01-01');
select tests.cover('with eve at rbt', 'lenient');
update public.therapists set availability_hours = '{}' where id = tests.id('bcba');
create temporary table late on commit drop as
select tests.hold('admin', tests.request('rbt2', 'with eve at rbt', tests.at(410), 60, '{"cpt_code": "97153"}')) as treated,
  tests.hold('admin', tests.request('bcba', 'with eve at rbt', tests.at(410), 60, '{"cpt_code": "97155", "override": {"reason": "In the evening"}}')) as beside;
select is(beside #> '{body,overridden}', '["availability"]', 'an hour that nobody works is set aside, for a pair that is allowed') from late;
select tests.confirm('admin', tests.confirmation(treated, 'rbt2', 'with eve at rbt')), tests.confirm('admin', tests.confirmation(beside, 'bcba', 'with eve at rbt')) from late;
select is(tests.error_code('postgres', format('update public.payer_concurrency_rules set allowed = false where payer_id = %L', tests.id('lenient'))), '23001',
  'the payer does not forbid the pair while it is booked');

select * from finish();
rollback;
