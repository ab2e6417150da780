-- A completed visit is corrected with a reason: versions are kept, units move along, a signed note waits to be amended, and
-- steps made by mistake are taken back.
begin;
select plan(53);
select tests.open_clinic();
select tests.open_clinic('other ');
select tests.add_payers();
select tests.prove_rows();
select tests.authorize('ann', '97153', 10);

create function pg_temp.correct(person text, session uuid, version integer, extra jsonb) returns jsonb language sql as $$
  select tests.call(person, format('select public.correct_visit(%L)', jsonb_build_object(
    'session_id', session, 'base_version', version, 'reason_code', 'wrong_time') || extra))
$$;
create function pg_temp.refused(extra jsonb) returns jsonb language sql as $$
  select tests.error('rbt', format('select public.correct_visit(%L)', jsonb_build_object(
    'session_id', tests.id('visit'), 'base_version', 1, 'reason_code', 'wrong_time') || extra))
$$;
create function pg_temp.minute(minutes integer) returns text language sql as $$
  select to_char(((select start_time from public.sessions where id = tests.id('visit')) + make_interval(mins => minutes)) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
$$;
create function pg_temp.note_status() returns text language sql as $$
  select status from public.session_note_states where session_id = tests.id('visit')
$$;
grant execute on all functions in schema pg_temp to public;

insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code, location_type)
select tests.id('clinic'), tests.id(name), tests.id('rbt'), tests.id('ann'), date_trunc('minute', now()) - ago,
  date_trunc('minute', now()) - ago + interval '1 hour', 'UTC', '97153', 'clinic'
from (values ('visit', interval '5 hours'), ('missed', interval '8 hours')) as made (name, ago);
select is(tests.balance('ann'), '0/8/0/2', 'two hours are scheduled');
select tests.call('rbt', format('select public.start_session(%L)', jsonb_build_object(
  'session_id', tests.id('visit'), 'actual_start_time', pg_temp.minute(0), 'other_day_reason', 'the hour of this test')));
select tests.call('rbt', format('select public.end_session(%L)', jsonb_build_object(
  'session_id', tests.id('visit'), 'actual_end_time', pg_temp.minute(60))));
select tests.sign(tests.id('visit'));
select is(tests.call('rbt', format('select public.complete_session(%L)', jsonb_build_object('session_id', tests.id('visit'))))
  #>> '{body,version}', '1', 'it is completed');
select is(tests.balance('ann'), '4/4/0/2', 'and has used four units');

-- Requests
select is(pg_temp.refused('{}') ->> 'hint', 'VALIDATION_FAILED', 'nothing to correct is refused');
select matches(pg_temp.refused('{"reason_code": "whim", "location_type": "home"}') ->> 'details', 'reason_code', 'so is a reason that is none');
select matches(pg_temp.refused('{"reason_code": "other", "location_type": "home"}') ->> 'details', 'remark', 'another reason is told in words');
select matches(pg_temp.refused('{"undo": "completion", "location_type": "home"}') ->> 'details', 'undo', 'a step back stands alone');
select matches(pg_temp.refused('{"cpt_code": "97155"}') ->> 'details', 'cpt_code', 'a technician did not render a professional''s service');
select matches(pg_temp.refused('{"cpt_code": "97154"}') ->> 'details', 'cpt_code', 'one client was no group');
select is(pg_temp.refused(jsonb_build_object('actual_end_time', pg_temp.minute(-1))) ->> 'hint', 'INVALID_RANGE', 'it ended after it began');
select is(pg_temp.refused('{"location_type": "clinic"}') ->> 'hint', 'VALIDATION_FAILED', 'what is so already is no correction');
select is(
  (select array_agg(pg_temp.correct(person, tests.id('visit'), 1, '{"location_type": "home"}') ->> 'code' order by person)
    from unnest(array['rbt2', 'parent', 'other admin']) as person),
  array['FORBIDDEN', 'FORBIDDEN', 'FORBIDDEN'], 'it is nobody else''s to correct'
);
select is((select count(*) from public.visit_versions), 0::bigint, 'refusals leave no version');
select is(
  tests.error_code('postgres', format('update public.sessions set cpt_code = %L where id = %L', '97152', tests.id('visit'))),
  '23514', 'on every other way the record is frozen'
);

-- Facts
create temporary table answer on commit drop as
select pg_temp.correct('rbt', tests.id('visit'), 1, jsonb_build_object('actual_end_time', pg_temp.minute(30))) as first;
select is((select array[first #>> '{body,version}', first #>> '{body,units}', first #>> '{body,noteStatus}'] from answer),
  array['2', '2', 'needs_amendment'], 'its therapist corrects when it ended');
select is(tests.balance('ann'), '2/4/0/4', 'the units that were too many are given back');
select is(
  (select array[status::text, units::text, cpt_code, reason_code] from public.visit_versions where session_id = tests.id('visit') and version = 1),
  array['completed', '4', '97153', 'wrong_time'], 'what was before is kept'
);
select is(pg_temp.correct('rbt', tests.id('visit'), 1, '{"location_type": "home"}') ->> 'code', 'VISIT_VERSION_CONFLICT',
  'who has not seen the correction corrects nothing');
select tests.sign(tests.id('visit'));
select is(pg_temp.note_status(), 'amended', 'amended, the note attests anew');
select is(
  pg_temp.correct('admin', tests.id('visit'), 2, jsonb_build_object('actual_end_time', pg_temp.minute(240), 'other_day_reason', 'x')) #>> '{body,units}',
  '16', 'an admin corrects it too'
);
select is(tests.balance('ann'), '6/4/0/0', 'what is left is used');
select is((select array[total_units, units] from public.authorization_units where owner_id = tests.id('visit')), array[16, 6],
  'the rest is entered as beyond the authorization');
select is(
  pg_temp.correct('rbt', tests.id('visit'), 3, jsonb_build_object('cpt_code', '97152', 'modifiers', '["hm"]'::jsonb, 'actual_end_time', pg_temp.minute(60))) #>> '{body,session,cpt_modifiers,0}',
  'HM', 'a service is corrected with its modifiers'
);
select is(tests.balance('ann'), '0/4/0/6', 'no units of the former service are left used');
select is((select pg_temp.correct('rbt', tests.id('visit'), 4, '{"cpt_code": "97153"}') #>> '{body,units}'), '4', 'and back');
select is(tests.balance('ann'), '4/4/0/2', 'used again');
select results_eq(
  $$select details ->> 'version', before -> 0 ->> 'units', after -> 0 ->> 'units' from audit.events
    where action = 'visit.corrected' order by recorded_at$$,
  $$values ('2', '4', '2'), ('3', '2', '16'), ('4', '16', '4'), ('5', '4', '4')$$, 'each correction is one event'
);

-- Steps back
select is(pg_temp.correct('rbt', tests.id('visit'), 5, '{"undo": "start", "reason_code": "by_mistake"}') ->> 'code',
  'STATUS_NOT_ALLOWED', 'steps are taken back one by one');
select is(pg_temp.correct('rbt', tests.id('visit'), 5, '{"undo": "completion", "reason_code": "by_mistake"}') #>> '{body,session,status}',
  'in_progress', 'a completion');
select is(tests.balance('ann'), '0/8/0/2', 'whose units are scheduled again');
select is((select units from public.visit_versions where session_id = tests.id('visit') and version = 5), 4, 'and are kept with what was before');
select is(
  tests.call('rbt', format('select public.complete_session(%L)', jsonb_build_object(
    'session_id', tests.id('visit'), 'actual_end_time', pg_temp.minute(60)))) #>> '{missing,0,message}',
  'The visit was corrected after its note was signed: the note must be amended.', 'it completes with an amended note only'
);
select is(pg_temp.correct('rbt', tests.id('visit'), 6, '{"undo": "start", "reason_code": "by_mistake"}') #>> '{body,session,status}',
  'scheduled', 'a start');
select is_empty($$select from public.session_visits where session_id = tests.id('visit')$$, 'which leaves no visit');
select is(tests.call('rbt', format('select public.mark_no_show(%L)', jsonb_build_object('session_id', tests.id('missed')))) ->> 'ok',
  'true', 'a client did not come');
select is(pg_temp.correct('rbt', tests.id('missed'), 1, '{"undo": "no_show", "reason_code": "by_mistake"}') #>> '{body,session,status}',
  'scheduled', 'or did');
select is(tests.balance('ann'), '0/8/0/2', 'its units are scheduled again');
select tests.call('rbt', format('select public.mark_no_show(%L)', jsonb_build_object('session_id', tests.id('missed'))));
insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone)
select organization_id, therapist_id, tests.id('ben'), start_time, end_time, 'UTC' from public.sessions where id = tests.id('missed');
select is(
  (select array[answer ->> 'code', answer #>> '{conflicts,0,resource}'] from pg_temp.correct('rbt', tests.id('missed'), 2, '{"undo": "no_show", "reason_code": "by_mistake"}') as answer),
  array['THERAPIST_CONFLICT', 'therapist'], 'unless its time was given away'
);
select is((select status::text from public.sessions where id = tests.id('missed')), 'no_show', 'then it stays missed');

-- What was signed stays signed
insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code, location_type)
values (tests.id('clinic'), tests.id('kept'), tests.id('rbt'), tests.id('ben'), date_trunc('minute', now()) - interval '20 hours',
  date_trunc('minute', now()) - interval '19 hours', 'UTC', '97153', 'clinic');
update public.sessions set status = 'in_progress' where id = tests.id('kept');
select tests.record_visit(tests.id('kept')), tests.sign(tests.id('kept'));
select tests.call('rbt', format('select public.complete_session(%L)', jsonb_build_object('session_id', tests.id('kept'))));
select is(
  (select array[answer #>> '{body,session,status}', answer #>> '{body,units}', answer #>> '{body,noteStatus}']
    from pg_temp.correct('rbt', tests.id('kept'), 1, '{"undo": "completion", "reason_code": "by_mistake"}') as answer),
  array['in_progress', null, 'signed'], 'a completion that is undone leaves the signature: no fact has changed'
);
select is(tests.call('rbt', format('select public.complete_session(%L)', jsonb_build_object('session_id', tests.id('kept')))) #>> '{body,version}',
  '2', 'and the session is completed again');
select is(pg_temp.correct('rbt', tests.id('kept'), 2, '{"location_type": "home"}') #>> '{body,noteStatus}', 'needs_amendment', 'a fact that was signed');

select tests.sign(tests.id('kept'));
select is(pg_temp.correct('rbt', tests.id('kept'), 3, '{"modifiers": ["HM"]}') #>> '{body,noteStatus}', 'needs_amendment', 'so are modifiers alone');
select tests.sign(tests.id('kept'));
select is(pg_temp.correct('admin', tests.id('kept'), 4, jsonb_build_object('therapist_id', tests.id('rbt2'))) #>> '{body,noteStatus}', 'needs_amendment',
  'and a therapist alone');

-- A client who left
insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code, location_type)
values (tests.id('clinic'), tests.id('left'), tests.id('rbt'), tests.id('ben'), date_trunc('minute', now()) - interval '26 hours',
  date_trunc('minute', now()) - interval '25 hours', 'UTC', '97153', 'clinic');
select tests.call('rbt', format('select public.start_session(%L)', jsonb_build_object(
  'session_id', tests.id('left'), 'actual_start_time', date_trunc('minute', now()) - interval '26 hours', 'other_day_reason', 'the hour of this test')));
select tests.call('rbt', format('select public.mark_no_show(%L)', jsonb_build_object('session_id', tests.id('left'))));
select is((select status::text from public.sessions where id = tests.id('left')), 'no_show', 'a session that was begun is missed after all');
select is(pg_temp.correct('rbt', tests.id('left'), 1, '{"undo": "no_show", "reason_code": "by_mistake"}') #>> '{body,session,status}',
  'in_progress', 'undone, it goes on where it was');

-- A place in a group
select tests.add('public.clients', (
  select jsonb_agg(jsonb_build_object('organization_id', tests.id('clinic'), 'id', tests.id('member ' || number), 'reference', 'member ' || number))
  from generate_series(1, 9) as number
));
insert into public.session_groups (organization_id, id, therapist_id, start_time, end_time)
values (tests.id('clinic'), tests.id('group'), tests.id('bcba'), date_trunc('minute', now()) - interval '20 hours', date_trunc('minute', now()) - interval '19 hours');
create function pg_temp.join(number integer) returns void language sql as $$
  insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code, group_id)
  select organization_id, tests.id('place ' || number), therapist_id, tests.id('member ' || number), start_time, end_time, 'UTC', '97154', id
  from public.session_groups where id = tests.id('group')
$$;
select pg_temp.join(number) from generate_series(1, 8) as number;
update public.sessions set status = 'no_show' where id in (tests.id('place 1'), tests.id('place 2'));
select is(pg_temp.correct('admin', tests.id('place 2'), 1, '{"undo": "no_show", "reason_code": "by_mistake"}') #>> '{body,session,status}',
  'scheduled', 'a member who did come has their place');
select pg_temp.join(9);
select is(pg_temp.correct('admin', tests.id('place 1'), 1, '{"undo": "no_show", "reason_code": "by_mistake"}') ->> 'code',
  'GROUP_FULL', 'unless it was given away');
select is((select status::text from public.sessions where id = tests.id('place 1')), 'no_show', 'then they stay missed');

-- Until when
insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code, location_type)
values (tests.id('clinic'), tests.id('late'), tests.id('rbt'), tests.id('ben'), date_trunc('minute', now()) - interval '20 days',
  date_trunc('minute', now()) - interval '20 days' + interval '1 hour', 'UTC', '97153', 'clinic');
update public.organizations set correction_days = 14 where id = tests.id('clinic');
update public.sessions set status = 'in_progress' where id = tests.id('late');
select tests.record_visit(tests.id('late')), tests.sign(tests.id('late'));
select tests.call('rbt', format('select public.complete_session(%L)', jsonb_build_object('session_id', tests.id('late'))));
select is(pg_temp.correct('rbt', tests.id('late'), 1, '{"location_type": "home"}') #>> '{body,version}', '2', 'its days begin when a visit is recorded');
update public.organizations set correction_days = 0 where id = tests.id('clinic');
select is(pg_temp.correct('rbt', tests.id('missed'), 2, '{"undo": "no_show", "reason_code": "by_mistake"}') ->> 'code',
  'FORBIDDEN', 'after its days only an admin corrects');
select is(tests.error_code('postgres', 'delete from public.visit_versions') || tests.error_code('postgres', 'update public.visit_versions set units = 0'),
  '2300123001', 'versions stay as they are');
select is_empty('select * from tests.broken_claims()', 'claims are sound');

select * from finish();
rollback;
