-- A confirmation that differs from what was held changes nothing and leaves the hold alive.
begin;
select plan(45);
select tests.open_clinic();
select tests.open_clinic('other ');

create temporary table held on commit drop as
select tests.hold('rbt', tests.series('rbt', 'ann', array[tests.at(1), tests.at(2), tests.at(3)], 60,
  '{"cpt_code": "97153", "session_type": "individual"}')) as outcome;
create temporary table body on commit drop as select tests.confirmation(outcome, 'rbt', 'ann') as good from held;
create temporary table other on commit drop as
select tests.hold('rbt', tests.request('rbt', 'ann', tests.at(9))) as outcome;
create temporary table foreign_hold on commit drop as
select tests.hold('other rbt', tests.request('other rbt', 'other ann', tests.at(1))) as outcome;
create temporary table before on commit drop as select tests.footprint() as footprint;

select is(tests.confirm('admin', different.body) ->> 'code', different.code, different.what)
from body cross join lateral (values
  ('HOLD_MISMATCH', 'another therapist', jsonb_set(good, '{occurrences,0,session,therapist_id}', to_jsonb(tests.id('rbt2')))),
  ('HOLD_MISMATCH', 'another therapist at the top', jsonb_set(good, '{session,therapist_id}', to_jsonb(tests.id('rbt2')))),
  ('HOLD_MISMATCH', 'another start', jsonb_set(good, '{occurrences,1,session,start_time}', to_jsonb(tests.at(2, '10:15')))),
  ('HOLD_MISMATCH', 'a later end', jsonb_set(good, '{occurrences,2,session,end_time}', to_jsonb(tests.at(3, '11:15')))),
  ('HOLD_MISMATCH', 'another service', good || '{"cpt": {"code": "97155"}}'),
  ('HOLD_MISMATCH', 'another type', jsonb_set(good, '{occurrences,0,session,session_type}', '"group"')),
  ('HOLD_MISMATCH', 'a session id where nothing is moved', jsonb_set(good, '{occurrences,0,session,id}', to_jsonb(gen_random_uuid()))),
  ('HOLD_MISMATCH', 'one occurrence left out', good #- '{occurrences,1}'),
  ('HOLD_MISMATCH', 'only the window at the top', good || '{"occurrences": null}'),
  ('HOLD_MISMATCH', 'one twice', jsonb_insert(good #- '{occurrences,1}', '{occurrences,1}', good #> '{occurrences,0}')),
  ('HOLD_MISMATCH', 'one more than was held', jsonb_insert(good, '{occurrences,0}', good #> '{occurrences,0}')),
  ('HOLD_MISMATCH', 'two that have changed places', jsonb_set(jsonb_set(good,
    '{occurrences,0,hold_key}', good #> '{occurrences,1,hold_key}'), '{occurrences,1,hold_key}', good #> '{occurrences,0,hold_key}')),
  ('HOLD_MISMATCH', 'one of another hold', jsonb_set(good, '{occurrences,0,hold_key}', (select outcome #> '{body,holds,0,holdKey}' from other))),
  ('CLIENT_MISMATCH', 'another client', jsonb_set(good, '{occurrences,0,session,client_id}', to_jsonb(tests.id('ben')))),
  ('CLIENT_MISMATCH', 'another client at the top', jsonb_set(good, '{session,client_id}', to_jsonb(tests.id('ben')))),
  ('HOLD_NOT_FOUND', 'a hold that never was', jsonb_set(good, '{occurrences,0,hold_key}', to_jsonb(gen_random_uuid()))),
  ('HOLD_NOT_FOUND', 'a batch that never was', good || jsonb_build_object('hold_key', gen_random_uuid())),
  ('HOLD_NOT_FOUND', 'another clinic''s batch', good || jsonb_build_object('hold_key', (select outcome #> '{body,holdKey}' from foreign_hold))),
  ('HOLD_NOT_FOUND', 'another clinic''s hold among ours', jsonb_set(good, '{occurrences,0,hold_key}', (select outcome #> '{body,holds,0,holdKey}' from foreign_hold))),
  ('HOLD_NOT_FOUND', 'the id of a hold is no key', good || jsonb_build_object('hold_key', (select outcome #> '{body,holdId}' from held)))
) as different (code, what, body);
select is(tests.footprint(), footprint, 'nothing of it changed anything') from before;

select is(tests.confirm('rbt2', good) ->> 'code', 'HOLD_NOT_FOUND', 'a colleague''s hold is not there for another therapist') from body;
select is(tests.confirm('parent', good) ->> 'code', 'FORBIDDEN', 'a parent confirms nothing') from body;
select is(tests.confirm('other admin', good) ->> 'code', 'HOLD_NOT_FOUND', 'nor does another clinic''s admin') from body;

-- A mismatch is a 409 with the form of every 409.
select is(tests.confirm('rbt', good #- '{occurrences,1}') - array['detail'],
  '{"ok": false, "status": 409, "code": "HOLD_MISMATCH", "retryAfter": null, "retryAfterSeconds": null, "conflicts": [], "alternatives": []}',
  'a mismatch has every field of a 409') from body;
select is(tests.confirm('rbt', jsonb_set(good, '{occurrences,0,session,session_type}', '"INDIVIDUAL"')) ->> 'ok', 'true',
  'after all this the hold is alive; case does not matter') from body;
select is((select count(*) from public.sessions where organization_id = tests.id('clinic')), 3::bigint, 'and becomes its three sessions');
select is((select array_agg(distinct cpt_code) from public.sessions where organization_id = tests.id('clinic')), array['97153'],
  'of the service that was held');
select is(tests.confirm('rbt', good || '{"cpt": {"code": "97155"}}') ->> 'code', 'HOLD_MISMATCH',
  'a confirmed hold does not match another service either') from body;
select is((select array_agg(distinct cpt_code) from public.sessions where organization_id = tests.id('clinic')), array['97153'], 'and keeps its own');

-- A hold that named no service leaves it open, for a client whose services no payer limits.
create temporary table unnamed on commit drop as
select tests.hold('rbt', tests.request('rbt', 'ann', tests.at(11))) as outcome;
create temporary table open_body on commit drop as select tests.confirmation(outcome, 'rbt', 'ann') as good from unnamed;
select is(tests.confirm('rbt', good || '{"cpt": {"code": "97155"}}') ->> 'code', 'FORBIDDEN',
  'a technician does not render a professional''s service') from open_body;
select is(tests.confirm('rbt', good || '{"cpt": {"code": "97152", "modifiers": ["HM"]}}') ->> 'ok', 'true',
  'but may name one of her own when confirming') from open_body;
select is(
  (select array_agg(cpt_code || array_to_string(cpt_modifiers, '')) from public.sessions where organization_id = tests.id('clinic') and start_time = tests.at(11)),
  array['97152HM'], 'and that is what is stored');
select is(tests.confirm('rbt', good || '{"cpt": {"code": "97152"}}') ->> 'ok', 'true', 'confirming again answers the same') from open_body;

-- Whoever lost the right to book between holding and confirming.
select is(tests.rows('admin', format('delete from public.caseloads where therapist_id = %L and client_id = %L', tests.id('rbt'), tests.id('ann'))),
  1::bigint, 'the client is taken off the therapist''s caseload');
select is(tests.confirm('rbt', tests.confirmation(outcome, 'rbt', 'ann')) ->> 'code', 'FORBIDDEN', 'then she may not confirm her hold') from other;
select is(tests.confirm('admin', tests.confirmation(outcome, 'rbt', 'ann')) ->> 'ok', 'true', 'the hold lives, and an admin may') from other;
select is(tests.confirm('other admin', tests.confirmation(outcome, 'other rbt', 'other ann')) ->> 'ok', 'true', 'the other clinic''s hold lives too')
from foreign_hold;

-- A confirmation reads what was held before it has the locks, so nobody may change it: not the owner of the database either.
create temporary table lasting on commit drop as select tests.hold('rbt', tests.request('rbt', 'ben', tests.at(13))) as outcome;
select throws_ok(format('update public.hold_batches set %s where id = %L', change, outcome #>> '{body,holdId}'), '23514', null,
  'SQL does not change what a batch holds: ' || change)
from lasting, unnest(array['room_id = gen_random_uuid()', 'buffer_after_minutes = 15', 'is_move = true', 'cpt_code = ''97155''']) as change;
select throws_ok(format('update public.session_holds set %s where id = %L', change, outcome #>> '{body,holds,0,holdId}'), '23514', null,
  'nor where a hold stands: ' || change)
from lasting, unnest(array['start_time = start_time + interval ''1 hour''', 'lanes = ''{[1,2)}''']) as change;
select lives_ok(format('update public.hold_batches set expires_at = expires_at where id = %L', outcome #>> '{body,holdId}'),
  'only when it expires may be written') from lasting;

select * from finish();
rollback;
