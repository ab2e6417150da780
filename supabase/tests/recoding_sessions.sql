-- Sessions that are booked get another code, as when theirs ends: all or nothing, lanes and units asked anew.
begin;
select plan(59);
select tests.open_clinic();
select tests.add_payers();
create temporary table story (name text primary key, answer jsonb);
create function pg_temp.recode(person text, names text[], code text, override jsonb default null) returns jsonb language sql as $$
  select tests.call(person, format('select public.recode_sessions(%L)', jsonb_build_object('cpt_code', code, 'override', override, 'session_ids', (
    select jsonb_agg(answer) from story where name = any (names)))))
$$;
create function pg_temp.book(name text, therapist text, client text, starts timestamptz, code text) returns void language plpgsql as $$
declare
  held jsonb := tests.hold('admin', tests.request(therapist, client, starts, 60, jsonb_build_object('cpt_code', code)));
begin
  insert into story values (name, tests.confirm('admin', tests.confirmation(held, therapist, client)) #> '{body,session,id}');
end
$$;
create function pg_temp.code_of(session text) returns text language sql as $$
  select cpt_code || ' ' || cpt_modifiers::text from public.sessions where id = (select (answer #>> '{}')::uuid from story where name = session)
$$;
insert into public.client_coverages (organization_id, client_id, payer_id, valid_from) values (tests.id('clinic'), tests.id('ben'), tests.id('open'), '2020-01-01');
insert into public.payer_code_rules (organization_id, payer_id, cpt_code, modifiers, valid_from)
values (tests.id('clinic'), tests.id('open'), '97155', '{"qhp": ["HO"]}', '2020-01-01');
select tests.authorize('ben', '97153', 40), tests.authorize('ben', '97155', 10);

-- A code of the clinic's own that ends
insert into public.service_codes (organization_id, code, description, levels, valid_from) values (tests.id('clinic'), 'H2019', 'Skills', '{technician,qhp}', '2020-01-01');
select pg_temp.book('old', 'bcba', 'ann', tests.at(3), 'H2019'), pg_temp.book('older', 'bcba', 'ann', tests.at(2), 'H2019');
update public.service_codes set valid_to = tests.at(2)::date - 1 where code = 'H2019';
create function pg_temp.to_recode() returns bigint language sql as $$ select tests.rows('admin', 'select 1 from reports.sessions_to_recode') $$;
select is(pg_temp.to_recode(), 2::bigint, 'two sessions are booked beyond the end of their code');
select is(pg_temp.recode('admin', '{old,older}', '97155') #> '{body,recodedCount}', '2', 'both get another');
select is(pg_temp.to_recode(), 0::bigint, 'and are listed no longer');
select is(pg_temp.recode('admin', '{old}', '97153') #>> '{body,sessions,0,cpt_code}', '97153', 'the answer has the sessions as they are now');
select is(tests.error('admin', format('select public.recode_sessions(%L)', jsonb_build_object('session_ids', (select jsonb_agg(answer) from story), 'cpt_code', 'H2019'))) ->> 'code', 'PT400', 'a code that has ended is given to nobody');
select is(tests.error('admin', format('select public.recode_sessions(%L)', jsonb_build_object('session_ids', (select jsonb_agg(answer) from story), 'cpt_code', '97154'))) ->> 'code', 'PT400', 'nor a code of groups');
select is(((tests.error('admin', $$select public.recode_sessions('{"session_ids": []}')$$) ->> 'details')::jsonb), '[{"path": "cpt_code", "message": "is required"}, {"path": "session_ids", "message": "must have 1 to 1000 items"}]', 'the field that is wrong is named, and the one that is missing');
select is(((tests.error('admin', $$select public.recode_sessions('{}')$$) ->> 'details')::jsonb), '[{"path": "session_ids", "message": "is required"}, {"path": "cpt_code", "message": "is required"}]', 'and those that are missing');

-- Units
select pg_temp.book('first', 'bcba', 'ben', tests.at(4), '97153'), pg_temp.book('second', 'bcba', 'ben', tests.at(5), '97153'), pg_temp.book('third', 'bcba', 'ben', tests.at(6), '97153');
select is(tests.balance('ben') || ' ' || tests.balance('ben', '97155'), '0/12/0/28 0/0/0/10', 'three hours of treatment');
insert into story values ('refused', pg_temp.recode('admin', '{first,second,third}', '97155'));
select is(answer ->> 'code', 'AUTHORIZATION_EXCEEDED', 'are more than is authorized of another code') from story where name = 'refused';
select is((answer #> '{shortages,0}') - 'clientId'::text, jsonb_build_object('occurrenceIndex', 2, 'cptCode', '97155', 'date', (tests.at(6) at time zone 'America/Los_Angeles')::date,
  'limit', 'total', 'neededUnits', 4, 'leftUnits', 2, 'sessionId', (select answer from story where name = 'third')), 'the third is short') from story where name = 'refused';
select is(tests.balance('ben') || ' ' || tests.balance('ben', '97155'), '0/12/0/28 0/0/0/10', 'and nothing has changed');
select is(pg_temp.code_of('first'), '97153 {}', 'not even the first');
select is(pg_temp.recode('bcba', '{first,second}', '97155') ->> 'ok', 'true', 'two fit, and are their therapist''s to recode');
select is(tests.balance('ben') || ' ' || tests.balance('ben', '97155'), '0/4/0/36 0/8/0/2', 'their units move with the code');
select is(pg_temp.code_of('first'), '97155 {HO}', 'with the modifiers that the payer wants');
select is((select count(*) from audit.events where organization_id = tests.id('clinic') and action = 'session.changed'
  and after @> '[{"cpt_code": "97155"}]' and actor_user_id = tests.id('bcba')), 1::bigint, 'one event tells of both');

-- Lanes
select pg_temp.book('beside', 'rbt', 'ben', tests.at(7), '97153');
insert into public.payer_concurrency_rules (organization_id, payer_id, first_code, second_code, allowed, valid_from)
values (tests.id('clinic'), tests.id('open'), '97153', '97156', true, '2020-01-01');
select pg_temp.book('guidance', 'bcba', 'ben', tests.at(7), '97156');
select is(pg_temp.recode('admin', '{guidance}', '97152') ->> 'code', 'CONCURRENT_SERVICE_NOT_ALLOWED', 'what runs beside another service must be allowed to');
select is(pg_temp.code_of('guidance'), '97156 {}', 'else it stays what it is');

-- An admin sets the payers' rules aside, with a reason.
select pg_temp.book('beyond', 'bcba', 'ben', tests.at(30), '97153'), pg_temp.book('beyond too', 'bcba', 'ben', tests.at(31), '97153');
select is(pg_temp.recode('bcba', '{beyond,beyond too}', '97155', '{"reason": "Approved by telephone"}') ->> 'code', 'FORBIDDEN', 'a therapist overrides nothing');
select is(((tests.error('admin', format('select public.recode_sessions(%L)', jsonb_build_object('session_ids', array[tests.id('x')], 'cpt_code', '97155', 'override', '{}'::jsonb))) ->> 'details')::jsonb),
  '[{"path": "override.reason", "message": "is required"}]', 'nor does anybody without a reason');
select is(pg_temp.recode('admin', '{beyond,beyond too}', '97155', '{"reason": "Approved by telephone", "rules": ["concurrency"]}') ->> 'code', 'AUTHORIZATION_EXCEEDED', 'another rule sets no units aside');
insert into story values ('overridden', pg_temp.recode('admin', '{beyond,beyond too}', '97155', '{"reason": "Approved by telephone", "rules": ["authorization"]}'));
select is((answer -> 'body') - 'sessions'::text, '{"cptCode": "97155", "overridden": ["authorization"], "recodedCount": 2}', 'this one does') from story where name = 'overridden';
select is(tests.balance('ben', '97155'), '0/10/0/0', 'what is left is taken');
select is((select sum(total_units - units) from public.authorization_units as entry join story on entry.owner_id = (answer #>> '{}')::uuid where name in ('beyond', 'beyond too')), 6::bigint,
  'the rest is entered as beyond it');
select results_eq($$select action, details ->> 'reason', cardinality(entity_ids) from audit.events where organization_id = tests.id('clinic') and action like 'override.%' and entity = 'session'$$,
  $$values ('override.authorization', 'Approved by telephone', 2)$$, 'and the reason is kept');
insert into public.payer_code_rules (organization_id, payer_id, cpt_code, is_covered, valid_from) values (tests.id('clinic'), tests.id('open'), '97152', false, '2020-01-01');
select pg_temp.book('unpaid', 'bcba', 'ben', tests.at(32), '97153');
select is(tests.error('admin', format('select public.recode_sessions(%L)', jsonb_build_object('session_ids', array[(select answer from story where name = 'unpaid')], 'cpt_code', '97152'))) ->> 'code', 'PT400', 'what the payer does not pay for');
select is(pg_temp.recode('admin', '{unpaid}', '97152', '{"reason": "The family pays"}') #> '{body,overridden}', '["authorization"]', 'is overridden likewise');
select is(pg_temp.recode('admin', '{guidance}', '97152', '{"reason": "The family pays", "rules": ["authorization"]}') ->> 'code', 'CONCURRENT_SERVICE_NOT_ALLOWED', 'not what runs beside another service');
insert into story values ('both', pg_temp.recode('admin', '{guidance}', '97152', '{"reason": "The family pays"}'));
select is(answer #> '{body,overridden}', '["authorization","concurrency"]', 'unless that is set aside as well') from story where name = 'both';
select is((select count(*) from reports.double_bookings where organization_id = tests.id('clinic')), 0::bigint, 'it is no double booking');
select is_empty('select * from tests.broken_claims()', 'and the claims are sound');
create function pg_temp.is_let(session text) returns boolean language sql as $$
  select private.was_let_beside(tests.id('clinic'), (select (answer #>> '{}')::uuid from story where name = session)) $$;
select ok(pg_temp.is_let('guidance'), 'it was let run beside the other');
select lives_ok(format('insert into public.client_coverages (organization_id, client_id, payer_id, valid_from, valid_to) values (%L, %L, %L, %L, %L)',
  tests.id('clinic'), tests.id('ben'), tests.id('open'), '2018-01-01', '2018-12-31'), 'a coverage that is entered later finds it let');
select is(pg_temp.code_of('guidance'), '97152 {}', 'it stays what it is');
select tests.authorize('ben', '97151', 2);
insert into story values ('short', pg_temp.recode('admin', '{guidance}', '97151', '{"reason": "Approved by telephone", "rules": ["authorization"]}'));
select is(short.answer ->> 'code' || ' ' || (short.answer #>> '{shortages,0,sessionId}'), 'CONCURRENT_SERVICE_NOT_ALLOWED ' || (guidance.answer #>> '{}'),
  'where two rules forbid it, the shortage names its session as well') from story as short, story as guidance where short.name = 'short' and guidance.name = 'guidance';
select is(pg_temp.recode('admin', '{guidance}', '97156') ->> 'ok', 'true', 'a code that may run beside the other needs no admin');
select ok(not pg_temp.is_let('guidance'), 'nor is it let any longer');
-- Of several sessions, those are let that run beside another service, and no others.
select pg_temp.book('alone', 'bcba', 'ben', tests.at(33), '97153');
select is(pg_temp.recode('admin', '{guidance,alone}', '97152', '{"reason": "The family pays for both"}') #> '{body,overridden}', '["authorization","concurrency"]', 'two at once, of which one runs beside another service');
select is(pg_temp.is_let('guidance') || ' ' || pg_temp.is_let('alone'), 'true false', 'that one is let');
select is((select entity_ids from audit.events where organization_id = tests.id('clinic') and action = 'override.concurrency' and details ->> 'reason' = 'The family pays for both'),
  (select array[(answer #>> '{}')::uuid] from story where name = 'guidance'), 'and named in the event');
select is(pg_temp.recode('admin', '{third}', '97153', '{"reason": "Nothing to set aside"}') #> '{body,overridden}', '[]', 'a reason that was not needed is not kept');

-- Two that would be one service twice at once are both named. No payer's rule forbids that, so nothing sets it aside.
select pg_temp.recode('admin', '{guidance}', '97156');
insert into story select 'twice ' || override.name, pg_temp.recode('admin', '{beside,guidance}', '97153', override.given)
from (values ('asked', null::jsonb), ('overridden', '{"reason": "The family pays", "rules": ["concurrency", "authorization"]}')) as override (name, given);
select is(answer ->> 'code', 'CONCURRENT_SERVICE_NOT_ALLOWED', name) from story where name like 'twice %';
select is((select jsonb_agg(item.value -> 'sessionId') from jsonb_array_elements(answer -> 'conflicts') as item (value)) @> (select jsonb_agg(named.answer) from story as named where named.name in ('beside', 'guidance')),
  true, 'both sessions are named, ' || name) from story where name like 'twice %';
select is(
  (select string_agg(format('%s %s-%s', item.value ->> 'occurrenceIndex', substr(item.value ->> 'startTime', 12, 5), substr(item.value ->> 'endTime', 12, 5)), ', ' order by item.position)
    from jsonb_array_elements(private.conflicts_between(array(
      select jsonb_populate_record(null::public.sessions, jsonb_build_object('id', gen_random_uuid(), 'client_id', tests.id(given.client),
        'start_time', format('2026-03-02T%s:00Z', given.starts), 'end_time', format('2026-03-02T%s:00Z', given.ends)))
      from (values ('ben', '08', '12'), ('ben', '09', '10'), ('ann', '09', '10'), ('ben', '11', '13'), ('ben', '13', '14')) as given (client, starts, ends)
      order by given.starts, given.client desc
    ))) with ordinality as item (value, position)),
  '0 09:00-10:00, 1 09:00-10:00, 3 11:00-12:00', 'each with the time it shares: with one that began before and goes on, or with the next');

-- Who, and when not
select is(pg_temp.recode('rbt', '{third}', '97155') ->> 'code', 'FORBIDDEN', 'nobody recodes another therapist''s session');
select is(pg_temp.recode('rbt', '{beside}', '97155') ->> 'code', 'FORBIDDEN', 'nor to a code they may not render');
select is(pg_temp.recode('parent', '{third}', '97155') ->> 'code', 'FORBIDDEN', 'a parent recodes nothing');
select tests.hold('admin', tests.request('bcba', 'ben', tests.at(9), 60, jsonb_build_object('session_id', (select answer from story where name = 'third'))));
select is(pg_temp.recode('admin', '{third}', '97155') ->> 'code', 'SESSION_BEING_MOVED', 'what is being moved stays the service it is');
select isnt(pg_temp.recode('admin', '{third}', '97155') ->> 'retryAfter', null, 'until that hold has ended');
select tests.cancel('admin', jsonb_build_object('session_ids', jsonb_build_array((select answer from story where name = 'second'))));
select is(pg_temp.recode('admin', '{first,second}', '97153') ->> 'code', 'STATUS_NOT_ALLOWED', 'what is cancelled too');
select pg_temp.book('rendered', 'rbt', 'ann', tests.at(12), '97153');
select tests.bring_forward((answer #>> '{}')::uuid, '3 hours') from story where name = 'rendered';
update public.sessions set status = status.next::public.session_status from story, unnest(array['in_progress']) as status (next) where name = 'rendered' and id = (answer #>> '{}')::uuid;
select is(pg_temp.recode('admin', '{rendered}', '97152') ->> 'ok', 'true', 'what goes on may get another');
update public.sessions set status = 'completed' from story where name = 'rendered' and id = (answer #>> '{}')::uuid;
select is(pg_temp.recode('admin', '{rendered}', '97153') ->> 'code', 'STATUS_NOT_ALLOWED', 'what was rendered is corrected instead');
select pg_temp.book('missed', 'rbt', 'ann', tests.at(13), '97153');
select tests.bring_forward((answer #>> '{}')::uuid, '6 hours') from story where name = 'missed';
update public.sessions set status = 'no_show' from story where name = 'missed' and id = (answer #>> '{}')::uuid;
select is(pg_temp.recode('admin', '{missed}', '97152') ->> 'code', 'STATUS_NOT_ALLOWED', 'nor does what was missed');
-- Whoever is left alone of a group was treated alone, and is billed so.
create temporary table alone on commit drop as
select (session ->> 'id')::uuid as id, (session ->> 'client_id')::uuid as client_id
from jsonb_array_elements(tests.confirm('admin', tests.confirmation(tests.hold('admin', tests.request('bcba', 'ann', tests.at(300), 60,
  jsonb_build_object('cpt_code', '97158', 'client_ids', jsonb_build_array(tests.id('ann'), tests.id('dan')), 'override', '{"reason": "x"}'::jsonb))), 'bcba', 'ann')) #> '{body,sessions}') as session;
create function pg_temp.recoded(of_client text) returns text language sql as $$
  select coalesce(tests.error('admin', format('select public.recode_sessions(%L)', jsonb_build_object('session_ids', array[id], 'cpt_code', '97155'))) ->> 'code', 'ok')
  from alone where client_id = tests.id(of_client) $$;
select is(pg_temp.recoded('dan'), 'PT400', 'one of two in a group gets no code for one');
select tests.cancel('admin', jsonb_build_object('session_ids', jsonb_build_array(id))) from alone where client_id = tests.id('ann');
select is(pg_temp.recoded('dan'), 'ok', 'the one who is left does');
select is((select cpt_code from public.sessions join alone using (id) where alone.client_id = tests.id('dan')), '97155', 'and is billed for that');

select * from finish();
rollback;
