-- The bounds of a visit, to the minute: when it may begin, how long it may be, which code counts on its day, and until when
-- its therapist corrects it.
begin;
select plan(25);
select tests.open_clinic();
select tests.prove_rows();

create function pg_temp.session(name text, starts timestamptz, code text default '97153') returns void language sql as $$
  insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code, location_type)
  values (tests.id('clinic'), tests.id(name), tests.id('rbt'), tests.id('ann'), starts, starts + interval '30 minutes', 'UTC', code, 'clinic')
$$;
create function pg_temp.ask(rpc text, name text, extra jsonb default '{}', person text default 'rbt') returns jsonb language sql as $$
  select tests.call(person, format('select public.%I(%L)', rpc, jsonb_build_object('session_id', tests.id(name), 'other_day_reason', 'the hour of this test') || extra))
$$;
create function pg_temp.refused(rpc text, name text, extra jsonb) returns text language sql as $$
  select answer ->> 'code' || ' ' || (answer ->> 'hint') || ' ' || (answer #>> '{details}')
  from tests.error('rbt', format('select public.%I(%L)', rpc, jsonb_build_object('session_id', tests.id(name), 'other_day_reason', 'the hour of this test') || extra)) as answer
$$;
create function pg_temp.wire(instant timestamptz) returns text language sql as $$
  select to_char(instant at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
$$;
create function pg_temp.times(begun timestamptz, ended timestamptz) returns jsonb language sql as $$
  select jsonb_build_object('actual_start_time', pg_temp.wire(begun), 'actual_end_time', pg_temp.wire(ended))
$$;

-- Twelve hours before its time
select pg_temp.session('early', now() + interval '12 hours 10 minutes');
select is(pg_temp.ask('start_session', 'early') ->> 'code', 'NOT_TODAY', 'over twelve hours before its time a session does not begin');
select pg_temp.session('in time', now() + interval '11 hours 25 minutes');
select is(pg_temp.ask('start_session', 'in time') #>> '{body,session,status}', 'in_progress', 'within twelve hours it does');

-- Its length
select pg_temp.session('long', date_trunc('minute', now()) - interval '20 hours');
select pg_temp.ask('start_session', 'long', jsonb_build_object('actual_start_time', pg_temp.wire(date_trunc('minute', now()) - interval '20 hours')));
create function pg_temp.lasting(minutes integer) returns jsonb language sql as $$
  select pg_temp.times(date_trunc('minute', now()) - interval '20 hours', date_trunc('minute', now()) - interval '20 hours' + make_interval(mins => minutes))
$$;
select matches(pg_temp.refused('end_session', 'long', pg_temp.lasting(0)), '^PT400 INVALID_RANGE .*actual_end_time', 'a visit of no minute is none');
select matches(pg_temp.refused('end_session', 'long', pg_temp.lasting(16 * 60 + 1)), '^PT400 INVALID_RANGE .*actual_end_time', 'nor is one of sixteen hours and a minute');
select is(pg_temp.ask('end_session', 'long', pg_temp.lasting(1)) ->> 'ok', 'true', 'one of a minute is');
select is(pg_temp.ask('end_session', 'long', pg_temp.lasting(16 * 60)) ->> 'ok', 'true', 'and one of sixteen hours');
select matches(
  pg_temp.refused('end_session', 'long', jsonb_build_object('actual_end_time', pg_temp.wire(now() + interval '1 hour'))),
  '^PT400 VALIDATION_FAILED .*actual_end_time.*future', 'it does not end ahead'
);
select matches(
  pg_temp.refused('end_session', 'long', jsonb_build_object('actual_start_time', pg_temp.wire(now() + interval '1 hour'))),
  '^PT400 VALIDATION_FAILED .*actual_start_time.*future', 'nor begin ahead'
);
select matches(
  pg_temp.refused('complete_session', 'long', pg_temp.lasting(16 * 60 + 1)), '^PT400 INVALID_RANGE', 'nor is it completed longer');
select is(
  (pg_temp.ask('end_session', 'long', jsonb_build_object(
    'actual_start_time', to_char((date_trunc('minute', now()) - interval '2 hours') at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI":59.999Z"'),
    'actual_end_time', to_char((date_trunc('minute', now()) - interval '1 hour') at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI":01Z"'))) -> 'body') - 'session',
  jsonb_build_object('actualStartTime', private.iso(date_trunc('minute', now()) - interval '2 hours'),
    'actualEndTime', private.iso(date_trunc('minute', now()) - interval '1 hour')), 'seconds are cut from both its times'
);

-- The code of its day
insert into public.service_codes (organization_id, code, description, levels, valid_from, valid_to)
values (tests.id('clinic'), 'H2019', 'Skills', '{technician,qhp}', '2020-01-01', null), (tests.id('clinic'), 'H2020', 'Plans', '{technician,qhp}', '2020-01-01', null);
select pg_temp.session('ended code', date_trunc('minute', now()) - interval '30 hours', 'H2019'),
  pg_temp.session('higher code', date_trunc('minute', now()) - interval '32 hours', 'H2020');
update public.service_codes set valid_to = private.service_date(tests.id('clinic'), tests.id('ann'), now() - interval '30 hours') - 1 where code = 'H2019';
update public.service_codes set levels = '{qhp}' where code = 'H2020';
create function pg_temp.open(name text, begun timestamptz) returns void language sql as $$
  select pg_temp.ask('start_session', name, jsonb_build_object('actual_start_time', pg_temp.wire(begun)));
  select pg_temp.ask('end_session', name, pg_temp.times(begun, begun + interval '30 minutes'));
  select tests.sign(tests.id(name));
$$;
select pg_temp.open('ended code', date_trunc('minute', now()) - interval '30 hours'), pg_temp.open('higher code', date_trunc('minute', now()) - interval '32 hours');
select matches(
  (pg_temp.ask('complete_session', 'ended code') #> '{missing}')::text, '^\[{"field": "cpt_code", "message": "H2019 is no service code on [0-9-]+: the session needs another code."}\]$',
  'a session whose code has ended is not completed'
);
select is(tests.error_code('rbt', format('update public.sessions set status = %L where id = %L', 'completed', tests.id('ended code'))), '23514', 'nor over REST');
select is(
  pg_temp.ask('complete_session', 'higher code') #> '{missing}',
  '[{"field": "cpt_code", "message": "A technician cannot render a service that is a qualified professional''s."}]',
  'nor one that its therapist''s level does not render'
);
select is(
  tests.call('admin', format('select public.recode_sessions(%L)', jsonb_build_object('session_ids', jsonb_build_array(tests.id('ended code'), tests.id('higher code')), 'cpt_code', '97153'))) #>> '{body,recodedCount}',
  '2', 'they get another code'
);
select is(pg_temp.ask('complete_session', 'ended code') #>> '{missing,0,differs,0}', 'cpt_code', 'and are signed for it');
select tests.sign(tests.id('ended code'));
select is(pg_temp.ask('complete_session', 'ended code') #>> '{body,units}', '2', 'then they are completed');
-- It began on a day on which its code was valid, or was not any more.
select pg_temp.session('another day', date_trunc('minute', now()) - interval '52 hours', '97153');
insert into public.service_codes (organization_id, code, description, levels, valid_from)
values (tests.id('clinic'), 'H2021', 'Coaching', '{technician}', private.service_date(tests.id('clinic'), tests.id('ann'), now() - interval '52 hours'));
update public.sessions set cpt_code = 'H2021' where id = tests.id('another day');
select pg_temp.open('another day', date_trunc('minute', now()) - interval '100 hours');
select matches((pg_temp.ask('complete_session', 'another day') -> 'missing')::text, 'H2021 is no service code', 'the day is the one on which the visit began');
select pg_temp.ask('end_session', 'another day', pg_temp.times(date_trunc('minute', now()) - interval '52 hours', date_trunc('minute', now()) - interval '51 hours'));
select tests.sign(tests.id('another day'));
select is(pg_temp.ask('complete_session', 'another day') ->> 'ok', 'true', 'on a day of its code it is completed');

-- Until when its therapist corrects it: three days after it was completed, unless the clinic says otherwise
create function pg_temp.correct(person text, name text, place text, version integer) returns text language sql as $$
  select coalesce(answer ->> 'code', 'ok') from tests.call(person, format('select public.correct_visit(%L)', jsonb_build_object(
    'session_id', tests.id(name), 'base_version', version, 'reason_code', 'wrong_place', 'location_type', place))) as answer
$$;
create function pg_temp.completed_ago(name text, ago interval) returns void language sql as $$
  update public.session_visits set recorded_at = clock_timestamp() - ago where session_id = tests.id(name)
$$;
select pg_temp.completed_ago('ended code', '2 days 23 hours 50 minutes');
select is(pg_temp.correct('rbt', 'ended code', 'home', 1), 'ok', 'its therapist corrects a visit for three days');
select pg_temp.completed_ago('ended code', '3 days 10 minutes');
select is(pg_temp.correct('rbt', 'ended code', 'school', 2), 'FORBIDDEN', 'and not after that');
select is(pg_temp.correct('admin', 'ended code', 'school', 2), 'ok', 'but an admin does');
update public.organizations set correction_days = 5 where id = tests.id('clinic');
select is(pg_temp.correct('rbt', 'ended code', 'home', 3), 'ok', 'or for as many days as the clinic says');

-- What cannot be taken back
select pg_temp.session('cancelled', date_trunc('minute', now()) - interval '60 hours');
update public.sessions set status = 'cancelled' where id = tests.id('cancelled');
select is(
  (select array_agg(tests.call('admin', format('select public.correct_visit(%L)', jsonb_build_object(
    'session_id', tests.id('cancelled'), 'base_version', 1, 'reason_code', 'by_mistake', 'undo', step))) ->> 'code' order by step)
    from unnest(array['completion', 'no_show', 'start']) as step),
  array['STATUS_NOT_ALLOWED', 'STATUS_NOT_ALLOWED', 'STATUS_NOT_ALLOWED'], 'a cancelled session stays cancelled'
);
select is(pg_temp.correct('admin', 'cancelled', 'home', 1), 'STATUS_NOT_ALLOWED', 'and has no visit to correct');
select is_empty('select * from tests.broken_claims()', 'claims are sound');

select * from finish();
rollback;
