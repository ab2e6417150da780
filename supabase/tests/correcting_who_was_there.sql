-- An admin corrects who rendered a visit and whom it was for: units, claims, lanes and modifiers go along, what was before is
-- kept, and the note, which attests people, waits for the one who was there.
begin;
select plan(55);
select tests.open_clinic();
select tests.open_clinic('other ');
select tests.prove_rows();
select tests.add_payers();
insert into public.payer_rules (organization_id, payer_id, rounding, valid_from)
select tests.id('clinic'), tests.id(payer), rounding::public.unit_rounding, '2020-01-01'
from (values ('open', 'midpoint_daily'), ('strict', 'ceil')) as rule (payer, rounding);
insert into public.payer_code_rules (organization_id, payer_id, cpt_code, modifiers, valid_from)
values (tests.id('clinic'), tests.id('open'), '97153', '{"technician": ["HM"], "qhp": ["HO"]}', '2020-01-01');
select tests.cover('ann', 'open'), tests.cover('ben', 'strict');
select tests.authorize('ann', '97153', 20);
select tests.authorize('ben', '97153', 20);
update public.authorizations set payer_id = tests.id('strict') where client_id = tests.id('ben');

-- Two days ago in the clinic's time.
create function pg_temp.at(clock time) returns timestamptz language sql stable as $$
  select (((now() at time zone 'America/Los_Angeles')::date - 2) + clock) at time zone 'America/Los_Angeles'
$$;
create function pg_temp.session(name text, therapist text, client text, starts time, code text default '97153', groups uuid default null) returns void language sql as $$
  insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code, cpt_modifiers, location_type, group_id)
  values (tests.id('clinic'), tests.id(name), tests.id(therapist), tests.id(client), pg_temp.at(starts), pg_temp.at(starts) + interval '1 hour',
    'America/Los_Angeles', code, case when client = 'ann' then '{HM}'::text[] else '{}' end, 'clinic', groups)
$$;
create function pg_temp.complete(name text, minutes integer) returns void language sql as $$
  update public.sessions set status = 'in_progress' where id = tests.id(name);
  select tests.record_visit(tests.id(name), session.start_time, session.start_time + make_interval(mins => minutes)), tests.sign(tests.id(name))
  from public.sessions as session where session.id = tests.id(name);
  update public.sessions set status = 'completed' where id = tests.id(name);
$$;
create function pg_temp.request(name text, version integer, extra jsonb) returns text language sql as $$
  select format('select public.correct_visit(%L)', jsonb_build_object(
    'session_id', tests.id(name), 'base_version', version, 'reason_code', 'wrong_people') || extra)
$$;
create function pg_temp.correct(person text, name text, version integer, extra jsonb) returns jsonb language sql as $$
  select tests.call(person, pg_temp.request(name, version, extra))
$$;
create function pg_temp.to_therapist(name text) returns jsonb language sql as $$ select jsonb_build_object('therapist_id', tests.id(name)) $$;
create function pg_temp.to_client(name text) returns jsonb language sql as $$ select jsonb_build_object('client_id', tests.id(name)) $$;
-- therapist, client, modifiers, status of the note
create function pg_temp.shown(name text) returns text language sql as $$
  select concat_ws(' ', therapist.display_name, client.reference, session.cpt_modifiers, note.status)
  from public.sessions as session
  join public.therapists as therapist on therapist.id = session.therapist_id
  join public.clients as client on client.id = session.client_id
  left join public.session_note_states as note on note.session_id = session.id
  where session.id = tests.id(name)
$$;
create function pg_temp.billed(client text) returns text language sql as $$
  select string_agg(line.minutes || ':' || line.units, ' ' order by line.minutes) from reports.billable_visits as line where line.client_id = tests.id(client)
$$;

select pg_temp.session('visit', 'rbt', 'ann', '09:00'), pg_temp.session('second', 'rbt', 'ann', '12:00');
select pg_temp.complete('visit', 23), pg_temp.complete('second', 23);
select is(tests.balance('ann'), '3/0/0/17', '23 and 23 minutes of a day are three units of a payer who adds them');

-- Who may, and what cannot be
select is(pg_temp.correct('rbt', 'visit', 1, pg_temp.to_therapist('rbt2')) ->> 'code', 'FORBIDDEN', 'its therapist does not hand a visit to another');
select is(pg_temp.correct('rbt', 'visit', 1, pg_temp.to_client('ben')) ->> 'code', 'FORBIDDEN', 'nor to another client');
select is(pg_temp.correct('rbt', 'visit', 1, pg_temp.to_client('ann') || '{"location_type": "home"}') #>> '{body,version}', '2', 'naming who it is changes nothing of it');
select is(
  (select array_agg(tests.error('admin', pg_temp.request('visit', 2, extra)) #>> '{details}' order by position)
    from (values (1, pg_temp.to_therapist('other rbt')), (2, pg_temp.to_client('other ann')), (3, pg_temp.to_therapist('ann')),
      (4, jsonb_build_object('client_id', 'ann'))) as wrong (position, extra)),
  array['[{"path": "therapist_id", "message": "is no therapist of this organization"}]', '[{"path": "client_id", "message": "is no client of this organization"}]',
    '[{"path": "therapist_id", "message": "is no therapist of this organization"}]', '[{"path": "client_id", "message": "must be a UUID"}]'],
  'people are the clinic''s'
);
select matches(tests.error('admin', pg_temp.request('visit', 2, pg_temp.to_therapist('rbt') || '{"undo": "completion"}')) ->> 'details', 'undo', 'a step back stands alone');
select pg_temp.session('modified', 'bcba', 'ann', '15:00', '97155');
select pg_temp.complete('modified', 60);
select matches(tests.error('admin', pg_temp.request('modified', 1, pg_temp.to_therapist('rbt'))) ->> 'details', '"therapist_id".*technician', 'a technician did not render a professional''s service');
select is(pg_temp.shown('modified'), 'bcba ann {HM} signed', 'which stays as it was');

-- Another therapist
select is(
  (select array[answer #>> '{body,version}', answer #>> '{body,noteStatus}', answer #>> '{body,units}']
    from pg_temp.correct('admin', 'visit', 2, pg_temp.to_therapist('bcba')) as answer),
  array['3', 'needs_amendment', '2'], 'an admin corrects who rendered it: of another provider, its minutes are rounded by themselves'
);
select is(pg_temp.shown('visit'), 'bcba ann {HO} needs_amendment', 'the modifiers are those of their level');
select is(tests.balance('ann'), '4/0/0/16', 'and the other visit of the day is, too');
select is((select units from public.session_visits where session_id = tests.id('second')), 2, 'in its own record');
select is(pg_temp.billed('ann'), '23:2 23:2 60:4', 'as they are billed');
select is(
  (select array_agg(concat_ws(' ', version, (select display_name from public.therapists where id = therapist_id), reason_code) order by version)
    from public.visit_versions where session_id = tests.id('visit')),
  array['1 rbt wrong_people', '2 rbt wrong_people'], 'what was before is kept'
);
select is(
  (select array[before -> 0 ->> 'therapist_id', after -> 0 ->> 'therapist_id'] from audit.events
    where action = 'visit.corrected' and details ->> 'version' = '3' and entity_ids = array[tests.id('visit')]),
  array[tests.id('rbt')::text, tests.id('bcba')::text], 'and in the audit'
);
select is(tests.rows('bcba', 'select from public.visit_versions'), 2::bigint, 'they read what was corrected');
select is(tests.rows('rbt', 'select from public.visit_versions'), 0::bigint, 'the former therapist does not any more');
select is(pg_temp.correct('rbt', 'visit', 3, '{"location_type": "clinic"}') ->> 'code', 'FORBIDDEN', 'nor corrects it');
select is(
  (select string_agg(problem || ': ' || detail, '; ' order by problem) from reports.visit_problems
    where session_id = tests.id('visit') and problem <> 'off_the_booking'),
  'signature_differs: cpt_modifiers, location_type, therapist_id', 'what was signed is told to differ'
);
select tests.sign(tests.id('visit'));
select is(pg_temp.shown('visit'), 'bcba ann {HO} amended', 'the one who was there amends the note');
select is_empty($$select from reports.visit_problems where session_id = tests.id('visit') and problem <> 'off_the_booking'$$, 'then nothing is wrong with it');

-- Another client
select is(pg_temp.correct('admin', 'visit', 3, pg_temp.to_client('ben')) #>> '{body,units}', '2', 'it was another client''s');
select is(pg_temp.shown('visit'), 'bcba ben {} needs_amendment', 'whose payer wants no modifiers');
select is(tests.balance('ann') || ' ' || tests.balance('ben'), '2/0/0/18 2/0/0/18', 'the one has the units back, the other has used them');
select is(pg_temp.billed('ann') || ', ' || pg_temp.billed('ben'), '23:2 60:4, 23:2', 'each is billed to their payer');
select is(pg_temp.correct('admin', 'second', 1, pg_temp.to_client('ben') || pg_temp.to_therapist('bcba')) #>> '{body,units}', '2', 'both at once');
select is(tests.balance('ann') || ' ' || tests.balance('ben'), '0/0/0/20 4/0/0/16', 'that payer rounds each visit up');
select is(pg_temp.correct('admin', 'visit', 4, pg_temp.to_client('ann') || pg_temp.to_therapist('rbt')) #>> '{body,units}', '2', 'and back');
select is(pg_temp.correct('admin', 'second', 2, pg_temp.to_client('ann') || pg_temp.to_therapist('rbt')) #>> '{body,units}', '1', 'the day is rounded once again');
select is(tests.balance('ann') || ' ' || tests.balance('ben'), '3/0/0/17 0/0/0/20', 'units moved, and none vanished');
update public.authorizations set approved_units = 1 where client_id = tests.id('ben');
select is(
  (select array[answer #>> '{body,units}', (select string_agg(warning ->> 'code', ' ' order by warning ->> 'code') from jsonb_array_elements(answer #> '{body,warnings}') as warning)]
    from pg_temp.correct('admin', 'visit', 5, pg_temp.to_client('ben')) as answer),
  array['2', 'AUTHORIZATION_EXCEEDED AUTHORIZATION_NEARLY_USED'], 'beyond what the other client has left it is told'
);
select is(tests.balance('ben'), '1/0/0/0', 'and never taken twice');
select is(tests.balance('ann'), '2/0/0/18', 'whom it was not for has a day of one visit again');
select pg_temp.correct('admin', 'visit', 6, pg_temp.to_client('ann'));
update public.authorizations set approved_units = 20 where client_id = tests.id('ben');

-- Where they were already
select pg_temp.session('theirs', 'rbt2', 'ben', '09:30');
select is(
  (select array[answer ->> 'code', answer #>> '{conflicts,0,resource}', answer #>> '{conflicts,0,blockedBy}']
    from pg_temp.correct('admin', 'visit', 7, pg_temp.to_therapist('rbt2')) as answer),
  array['THERAPIST_CONFLICT', 'therapist', 'session'], 'nobody is corrected into a time that they are booked for'
);
select is(pg_temp.correct('admin', 'visit', 7, pg_temp.to_client('ben')) ->> 'code', 'CLIENT_CONFLICT', 'nor a client');
select is(pg_temp.shown('visit'), 'rbt ann {HM} needs_amendment', 'it stays as it was');
update public.sessions set status = 'cancelled' where id = tests.id('theirs');
select pg_temp.session('ran long', 'rbt2', 'ben', '08:00');
select pg_temp.complete('ran long', 75);
select is(
  (select array[answer ->> 'code', answer #>> '{overlaps,0,resource}'] from pg_temp.correct('admin', 'visit', 7, pg_temp.to_therapist('rbt2')) as answer),
  array['VISIT_OVERLAPS', 'therapist'], 'nor into another visit that ran into it'
);
select is(pg_temp.correct('admin', 'visit', 7, pg_temp.to_therapist('rbt2') || '{"overlap_reason": "they say so"}') #>> '{body,version}', '8', 'unless with a reason');
select is(pg_temp.correct('admin', 'visit', 8, pg_temp.to_therapist('rbt')) #>> '{body,version}', '9', 'and away again');
select is((select overlap_reason from public.session_visits where session_id = tests.id('visit')), null, 'where nothing overlaps');
select is((select overlap_reason from public.visit_versions where session_id = tests.id('visit') and version = 8), 'they say so', 'the reason is kept with what was before');

-- What may run beside it is the right client's to say
select pg_temp.session('beside', 'bcba', 'ben', '21:00', '97155'), pg_temp.session('treated', 'rbt', 'ann', '21:00');
select pg_temp.complete('beside', 60);
select is(pg_temp.correct('admin', 'beside', 1, pg_temp.to_client('ann')) #>> '{body,version}', '2', 'a client''s payer allows the two services at once');
select is(pg_temp.shown('beside'), 'bcba ann {} needs_amendment', 'so it was theirs');
select pg_temp.session('treated too', 'rbt2', 'ben', '15:00');
select is(pg_temp.correct('admin', 'modified', 1, pg_temp.to_client('ben')) ->> 'code', 'CONCURRENT_SERVICE_NOT_ALLOWED', 'another''s does not');
select is(pg_temp.shown('modified'), 'bcba ann {HM} signed', 'and it stays as it was');
select is(pg_temp.correct('bcba', 'beside', 2, '{"cpt_code": "97156", "overlap_reason": "they say so"}') ->> 'code', 'FORBIDDEN',
  'its therapist makes it no service that the payer forbids beside');
select is(pg_temp.correct('admin', 'beside', 2, '{"cpt_code": "97156", "overlap_reason": "they say so"}') #>> '{body,version}', '3', 'an admin does, with a reason');

-- A group
select tests.cover('cat', 'silent');
insert into public.session_groups (organization_id, id, therapist_id, start_time, end_time)
values (tests.id('clinic'), tests.id('group'), tests.id('rbt'), pg_temp.at('18:00'), pg_temp.at('19:00'));
select pg_temp.session('group of ' || client, 'rbt', client, '18:00', '97154', tests.id('group')) from unnest(array['ann', 'ben']) as client;
select pg_temp.complete('group of ann', 60), pg_temp.complete('group of ben', 60);
select is(
  tests.error('admin', pg_temp.request('group of ann', 1, pg_temp.to_therapist('rbt2'))) ->> 'details',
  '[{"path": "therapist_id", "message": "is that of the whole group: the therapist of one member is not corrected"}]', 'a group keeps its therapist'
);
select matches(tests.error('admin', pg_temp.request('group of ann', 1, pg_temp.to_client('ben'))) ->> 'details', 'in this group already', 'nobody is in it twice');
select is(pg_temp.correct('admin', 'group of ann', 1, pg_temp.to_client('cat')) #>> '{body,version}', '2', 'but who was there is corrected');
select is(pg_temp.shown('group of ann'), 'rbt cat {HM} needs_amendment', 'as another client of the group');
select pg_temp.session('club of ' || client, 'rbt2', client, '06:00', '97154', tests.id('club'))
from (select tests.add('public.session_groups', jsonb_build_array(jsonb_build_object('organization_id', tests.id('clinic'), 'id', tests.id('club'),
  'therapist_id', tests.id('rbt2'), 'start_time', pg_temp.at('06:00'), 'end_time', pg_temp.at('07:00'))))) as club, unnest(array['ann', 'ben', 'dan']) as client;
update public.sessions set status = 'cancelled' where id in (tests.id('club of ben'), tests.id('club of dan'));
select pg_temp.complete('club of ann', 60);
select is(pg_temp.correct('admin', 'club of ann', 1, pg_temp.to_client('ben')) #>> '{body,version}', '2', 'also as one who had cancelled');
select is(pg_temp.correct('admin', 'club of ann', 2, '{"cpt_code": "97153"}') #>> '{body,version}', '3', 'who came alone was treated alone');

-- Every other way
select is(
  (select string_agg(tests.error_code(person, format('update public.sessions set %s where id = %L', change, tests.id('visit'))), ' ' order by person, change)
    from unnest(array['postgres', 'service_role']) as person,
      unnest(array[format('client_id = %L', tests.id('ben')), format('therapist_id = %L', tests.id('rbt2'))]) as change),
  '23514 23514 23514 23514', 'on every other way people are frozen'
);
select is_empty('select * from tests.broken_claims()', 'claims are sound');

select * from finish();
rollback;
