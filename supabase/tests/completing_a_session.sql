-- A session begins, ends and is billed by the times it really had, once its record is whole.
begin;
select plan(62);
select tests.open_clinic();
select tests.open_clinic('other ');
select tests.add_payers();
select tests.prove_rows();
insert into private.data_keys (organization_id, id, wrapped_key)
values (tests.id('clinic'), tests.id('clinic key'), 'twk1.m1.AAAAAAAAAAAAAAAA.' || repeat('A', 107));
select tests.authorize('ann', '97153', 20);
insert into public.payer_rules (organization_id, payer_id, rounding, evv_required, valid_from)
values (tests.id('clinic'), tests.id('strict'), 'ceil', true, '2020-01-01');
select tests.cover('ben', 'strict');

create function pg_temp.ask(person text, rpc text, session uuid, extra jsonb default '{}') returns jsonb language sql as $$
  select tests.call(person, format('select public.%I(%L, %L)', rpc, jsonb_build_object('session_id', session, 'other_day_reason', 'the hour of this test') || extra, 'story'))
$$;
create function pg_temp.missing(answer jsonb) returns text language sql as $$
  select string_agg(item ->> 'field', ' ' order by position)
  from jsonb_array_elements(answer -> 'missing') with ordinality as gap (item, position)
$$;
create function pg_temp.draft(session uuid) returns void language sql as $$
  insert into private.session_note_versions (organization_id, session_id, id, version, status, data_key_id, ciphertext, saved_by)
  values (tests.id('clinic'), session, gen_random_uuid(), 1, 'draft', tests.id('clinic key'),
    concat_ws('.', 'tsb1', tests.id('clinic key'), 'AAAAAAAAAAAAAAAA', repeat('A', 32)), tests.id('rbt'))
$$;
create function pg_temp.ago(minutes integer) returns text language sql as $$
  select to_char((now() - make_interval(mins => minutes)) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
$$;

create temporary table made on commit drop as
select tests.book('rbt', 'rbt', 'ann', tests.at(1)) as session_id, tests.book('rbt', 'rbt', 'ann', tests.at(2)) as second_id,
  tests.book('rbt', 'rbt', 'ben', tests.at(3)) as evv_id;
grant select on made to public;

-- Beginning
select is(pg_temp.ask('rbt', 'start_session', session_id) ->> 'code', 'NOT_TODAY', 'a session does not begin weeks before its time') from made;
select is(pg_temp.ask('rbt2', 'start_session', session_id) ->> 'code', 'FORBIDDEN', 'another therapist cannot start it') from made;
select is(pg_temp.ask('parent', 'start_session', session_id) ->> 'code', 'FORBIDDEN', 'nor a parent') from made;
select is(pg_temp.ask('other admin', 'start_session', session_id) ->> 'code', 'FORBIDDEN', 'nor another clinic''s admin') from made;
select is(pg_temp.ask('rbt', 'complete_session', session_id) ->> 'code', 'STATUS_NOT_ALLOWED', 'what has not begun cannot be completed') from made;
select is(pg_temp.ask('rbt', 'mark_no_show', session_id) ->> 'code', 'STATUS_NOT_ALLOWED', 'nor missed before its time') from made;
select tests.bring_forward(session_id, '1 hour'), tests.bring_forward(second_id, '4 hours'), tests.bring_forward(evv_id, '7 hours') from made;
select is(
  tests.error('rbt', format('select public.start_session(%L)', jsonb_build_object('session_id', session_id, 'actual_start_time', 'tomorrow'))) ->> 'hint',
  'VALIDATION_FAILED', 'a time is an instant'
) from made;
select is(
  tests.error('rbt', format('select public.start_session(%L)', jsonb_build_object('session_id', session_id, 'actual_start_time', tests.at(0)))) ->> 'code',
  'PT400', 'and not ahead'
) from made;
select is(
  pg_temp.ask('rbt', 'start_session', session_id, jsonb_build_object('actual_start_time', pg_temp.ago(100))) #>> '{body,session,status}',
  'in_progress', 'her own therapist starts it'
) from made;
select is(pg_temp.ask('rbt', 'start_session', session_id) ->> 'code', 'STATUS_NOT_ALLOWED', 'once') from made;

-- What is missing
select is(
  pg_temp.ask('rbt', 'complete_session', session_id) - 'detail'::text,
  '{"ok": false, "status": 409, "code": "SESSION_INCOMPLETE", "retryAfter": null, "retryAfterSeconds": null, "conflicts": [],
    "alternatives": [], "missing": [
      {"field": "location_type", "message": "Where the session took place is not recorded."},
      {"field": "cpt_code", "message": "The session names no service."},
      {"field": "note", "message": "The session has no note."},
      {"field": "actual_end_time", "message": "When the visit ended is not recorded."}]}',
  'a refusal lists all that is missing'
) from made;
select is(
  (select details -> 'missing' -> 2 ->> 'field' from audit.events where code = 'SESSION_INCOMPLETE'), 'note', 'and is in the audit'
);
select is(
  tests.error_code('rbt', format('update public.sessions set status = %L where id = %L', 'completed', session_id)), '23514',
  'a direct update is held to the same'
) from made;
update public.sessions set location_type = 'clinic', session_type = 'individual' from made where id in (session_id, second_id, evv_id);
select pg_temp.draft(session_id) from made;
select is(pg_temp.missing(pg_temp.ask('rbt', 'complete_session', session_id)), 'signature actual_end_time', 'a draft is not signed') from made;
select matches(tests.error('postgres', format('select tests.sign(%L)', session_id)) ->> 'message', 'ended is not recorded',
  'and is not, before the end is known') from made;

-- Ending
select is(
  tests.error('rbt', format('select public.end_session(%L)', jsonb_build_object(
    'session_id', session_id, 'actual_start_time', pg_temp.ago(10), 'actual_end_time', pg_temp.ago(20)))) ->> 'hint',
  'INVALID_RANGE', 'it ends after it begins'
) from made;
select is(pg_temp.ask('rbt2', 'end_session', session_id) ->> 'code', 'FORBIDDEN', 'another therapist does not end it') from made;
select is(
  pg_temp.ask('rbt', 'end_session', session_id, jsonb_build_object('actual_end_time', pg_temp.ago(50))) #>> '{body,actualEndTime}',
  private.iso(date_trunc('minute', now() - interval '50 minutes')), 'its own records when it ended'
) from made;
select is(pg_temp.missing(pg_temp.ask('rbt', 'complete_session', session_id)), 'signature', 'then it can be signed') from made;
select tests.sign(session_id) from made;

-- The signature is of the visit
select is(
  (select array[answer ->> 'code', answer #>> '{missing,0,field}', answer #>> '{missing,0,differs}']
    from pg_temp.ask('rbt', 'complete_session', session_id, jsonb_build_object('actual_end_time', pg_temp.ago(53))) as answer),
  array['SESSION_INCOMPLETE', 'signature', '["actual_end_time"]'], 'a visit that ended at another time than was signed is not completed'
) from made;
update public.sessions set session_type = null, cpt_code = '97152', location_type = 'home', cpt_modifiers = '{HM}' from made where id = session_id;
select is(
  pg_temp.ask('rbt', 'complete_session', session_id) #>> '{missing,0,differs}', '["cpt_code", "cpt_modifiers", "location_type"]',
  'nor is another service, or at another place'
) from made;
select matches(
  tests.error('rbt', format('update public.sessions set status = %L where id = %L', 'completed', session_id)) ->> 'details',
  'cpt_modifiers', 'not by a direct update either'
) from made;
update public.sessions set session_type = 'individual', cpt_code = null, location_type = 'clinic', cpt_modifiers = '{}' from made where id = session_id;
select is(
  pg_temp.ask('rbt', 'end_session', session_id, jsonb_build_object('actual_end_time', pg_temp.ago(53))) ->> 'ok', 'true', 'the end is put right'
) from made;
select is(pg_temp.ask('rbt', 'complete_session', session_id) #>> '{missing,0,differs}', '["actual_end_time"]', 'and the signature is of the former') from made;
select tests.sign(session_id) from made;
select is(tests.balance('ann'), '0/8/0/12', 'two hours are scheduled');
select is(
  (select array[answer #>> '{body,session,status}', answer #>> '{body,units}']
    from pg_temp.ask('rbt', 'complete_session', session_id) as answer),
  array['completed', '3'], 'amended, it completes, with the units of its forty-seven minutes'
) from made;
select is(tests.balance('ann'), '3/4/0/13', 'which it uses; the rest is given back');
select is(pg_temp.ask('rbt', 'complete_session', session_id) ->> 'code', 'STATUS_NOT_ALLOWED', 'it completes once') from made;
select is(tests.error_code('postgres', format('update public.session_visits set %s where session_id = %L', change, session_id)), '23001', 'nobody writes its ' || change)
from made, unnest(array['units = 99', 'completed_by = null', 'started_by = null']) as change;

update public.authorizations set approved_units = 9 where client_id = tests.id('ann');
select is(pg_temp.ask('rbt', 'start_session', second_id, jsonb_build_object('actual_start_time', pg_temp.ago(283))) ->> 'ok', 'true', 'another begins') from made;
select is(pg_temp.ask('admin', 'end_session', second_id, jsonb_build_object('actual_end_time', pg_temp.ago(103))) ->> 'ok', 'true', 'ends') from made;
select tests.sign(second_id) from made;
select is(
  pg_temp.ask('admin', 'complete_session', second_id) #>> '{body,units}',
  '12', 'and takes three hours'
) from made;
select is(tests.balance('ann'), '9/0/0/0', 'which use what is left, and never more');
select is(
  (select array[total_units, units] from public.authorization_units, made where owner_id = second_id), array[12, 6],
  'what was rendered beyond is in the ledger as beyond'
);

-- Electronic visit verification
select is(pg_temp.ask('admin', 'start_session', evv_id, jsonb_build_object('actual_start_time', pg_temp.ago(31))) ->> 'ok', 'true', 'a visit of a payer with EVV') from made;
select is(pg_temp.missing(pg_temp.ask('rbt', 'complete_session', evv_id)), 'note actual_end_time', 'does not end by its booked end') from made;
create temporary table ending on commit drop as
select date_trunc('minute', clock_timestamp()) as begun, pg_temp.ask('rbt', 'end_session', evv_id) #>> '{body,actualEndTime}' as answer from made;
select ok(answer in (private.iso(begun), private.iso(date_trunc('minute', clock_timestamp()))), 'but now') from ending;
select is(
  pg_temp.ask('rbt', 'end_session', evv_id, jsonb_build_object('actual_end_time', pg_temp.ago(0))) ->> 'ok', 'true', 'or when it is told'
) from made;
select tests.sign(evv_id) from made;
select is(pg_temp.ask('rbt', 'complete_session', evv_id) #>> '{body,units}', '3', 'and that payer rounds up') from made;

-- Whole minutes of the booked day
insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, session_type, location_type)
values (tests.id('clinic'), tests.id('late session'), tests.id('rbt'), tests.id('ben'),
  date_trunc('minute', now()) - interval '80 hours', date_trunc('minute', now()) - interval '79 hours', 'UTC', 'individual', 'clinic');
create function pg_temp.refused(rpc text, extra jsonb) returns jsonb language sql as $$
  select tests.error('rbt', format('select public.%I(%L)', rpc, jsonb_build_object('session_id', tests.id('late session')) || extra))
$$;
select matches(
  pg_temp.refused('start_session', '{}') ->> 'details', 'other_day_reason.*is required', 'days later it does not begin without a reason'
);
select matches(
  pg_temp.refused('start_session', jsonb_build_object('actual_start_time', '2026-03-02 10:00')) ->> 'details', 'actual_start_time',
  'a time without an offset is named'
);
select is(
  pg_temp.ask('rbt', 'start_session', tests.id('late session'), jsonb_build_object(
    'actual_start_time', to_char((date_trunc('minute', now()) - interval '80 hours') at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI":59Z"'))) #>> '{body,actualStartTime}',
  private.iso(date_trunc('minute', now()) - interval '80 hours'), 'its own time it may be given later, to the minute: seconds are cut'
);
select is(
  pg_temp.missing(pg_temp.ask('rbt', 'complete_session', tests.id('late session'))), 'note actual_end_time',
  'what it still needs is told before its times are judged'
);
select is(
  pg_temp.refused('end_session', jsonb_build_object('actual_end_time', pg_temp.ago(10))) ->> 'hint', 'INVALID_RANGE',
  'no visit lasts over sixteen hours'
);
select is(
  pg_temp.refused('end_session', jsonb_build_object('actual_start_time', pg_temp.ago(80), 'actual_end_time', pg_temp.ago(-5))) ->> 'hint',
  'VALIDATION_FAILED', 'nor does it end ahead'
);
select is(
  pg_temp.ask('rbt', 'end_session', tests.id('late session'), jsonb_build_object(
    'actual_start_time', pg_temp.ago(52), 'actual_end_time', pg_temp.ago(32))) ->> 'ok', 'true', 'documented late it gives both'
);
select tests.sign(tests.id('late session'));
select is(
  (select array[answer #>> '{body,actualStartTime}', answer #>> '{body,units}']
    from pg_temp.ask('rbt', 'complete_session', tests.id('late session')) as answer),
  array[private.iso(date_trunc('minute', now() - interval '52 minutes')), '2'],
  'and is completed by them, of another day with a reason'
);
select is(
  (select other_day_reason from public.session_visits where session_id = tests.id('late session')), 'the hour of this test',
  'which is kept'
);

-- Written by hand
select is(
  tests.error('postgres', format('update public.session_visits set actual_start_time = %L, actual_end_time = %L where session_id = %L',
    now() + interval '1 hour', now() + interval '2 hours', tests.id('late session'))) ->> 'message',
  'a visit is recorded once it has begun, and its end once it has ended', 'nobody records what is ahead'
);
select is(
  tests.error('postgres', format('update public.session_visits set other_day_reason = null where session_id = %L', tests.id('late session')))
    ->> 'message',
  'a visit begins on the local day it was booked for, or has a reason: other_day_reason', 'nor another day without a reason'
);

-- No-show
insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone)
values (tests.id('clinic'), tests.id('missed session'), tests.id('rbt'), tests.id('ben'), now() - interval '10 hours', now() - interval '9 hours', 'UTC');
select is(pg_temp.ask('rbt', 'mark_no_show', tests.id('missed session')) #>> '{body,session,status}', 'no_show', 'once its time has come a session can be missed');
select is(pg_temp.ask('rbt', 'mark_no_show', tests.id('missed session')) ->> 'code', 'STATUS_NOT_ALLOWED', 'once');
select results_eq(
  $$select action from audit.events where entity_ids = array[tests.id('missed session')] and outcome = 'ok' order by recorded_at$$,
  $$values ('session.inserted'), ('session.no_show')$$, 'the audit has it'
);

-- Who sees the visits
select is(tests.rows('rbt', 'select from public.session_visits'), 4::bigint, 'her therapist sees the visits');
select is(tests.rows('rbt2', 'select from public.session_visits'), 0::bigint, 'another does not');
select is(tests.rows('parent', 'select from public.session_visits'), 0::bigint, 'a parent does not');
select is(tests.rows('other admin', 'select from public.session_visits'), 0::bigint, 'another clinic does not');
select is(tests.error_code('service_role', 'update public.session_visits set units = 0'), '42501', 'nobody rewrites them');
select is(tests.error_code('postgres', 'delete from public.session_visits'), '23001', 'nobody deletes them');
select is_empty('select * from tests.broken_claims()', 'claims are sound');

select * from finish();
rollback;
