-- When a visit may begin and how long it may last, to the minute; and whose signature completes it.
begin;
select plan(18);
select tests.open_clinic();
select tests.add_payers();
select tests.prove_rows();

create function pg_temp.made(name text, starts timestamptz, therapist text default 'rbt', client text default 'ann') returns uuid language sql as $$
  insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code, location_type)
  values (tests.id('clinic'), tests.id(name), tests.id(therapist), tests.id(client), starts, starts + interval '1 hour', 'UTC', '97153', 'clinic') returning id $$;
create function pg_temp.ask(rpc text, name text, extra jsonb default '{}', person text default 'rbt') returns text language plpgsql as $$
declare
  answer jsonb;
begin
  answer := tests.call(person, format('select public.%I(%L)', rpc, jsonb_build_object('session_id', tests.id(name)) || extra));
  return coalesce(answer ->> 'code', 'ok');
exception when sqlstate 'PT400' then return sqlerrm;
end $$;
-- A time of a day long ago, by the clinic's clocks: the day is over everywhere.
create function pg_temp.clock(clock interval) returns timestamptz language sql stable as $$
  select (((now() at time zone 'America/Los_Angeles')::date - 5) + clock) at time zone 'America/Los_Angeles' $$;
create function pg_temp.times(begun interval, ended interval) returns jsonb language sql stable as $$
  select jsonb_strip_nulls(jsonb_build_object('actual_start_time', private.iso(pg_temp.clock(begun)), 'actual_end_time', private.iso(pg_temp.clock(ended)))) $$;

-- At most twelve hours early.
select pg_temp.made('late', date_trunc('minute', now()) + interval '12 hours 30 minutes'), pg_temp.made('soon', date_trunc('minute', now()) + interval '11 hours');
select is(pg_temp.ask('start_session', 'late', '{"other_day_reason": "the hour of this test"}'), 'NOT_TODAY', 'half an hour more than twelve ahead is too early');
select is(pg_temp.ask('start_session', 'soon', '{"other_day_reason": "the hour of this test"}'), 'ok', 'eleven hours are not');

-- Ends after it begins, by at most sixteen hours.
select pg_temp.made('long', pg_temp.clock('06:00'));
select is(pg_temp.ask('start_session', 'long', pg_temp.times('06:00', null)), 'ok', 'a visit that is documented late begins when it did');
select is(pg_temp.ask('end_session', 'long', pg_temp.times(null, ended)), told, format('from 06:00 to %s: %s', ended, told))
from (values
  (1, interval '06:00', 'actual_end_time: must be after actual_start_time, by at most 16 hours'), (2, '06:00:59', 'actual_end_time: must be after actual_start_time, by at most 16 hours'),
  (3, '22:01', 'actual_end_time: must be after actual_start_time, by at most 16 hours'), (4, '22:00', 'ok'), (5, '06:01', 'ok')
) as try (turn, ended, told) order by turn;
select is(pg_temp.ask('correct_visit', 'long', pg_temp.times(null, '22:30') || '{"base_version": 1, "reason_code": "wrong_time"}'), 'STATUS_NOT_ALLOWED', 'what is not completed is not corrected');

-- The day is that on which it begins.
select pg_temp.made('night', pg_temp.clock('22:30'));
select is(pg_temp.ask('start_session', 'night', pg_temp.times('23:30', null)), 'ok', 'it begins late, on the day it was booked for');
select is(pg_temp.ask('end_session', 'night', pg_temp.times(null, '24:30')), 'ok', 'and ends on the next, which needs no reason');
select pg_temp.made('other day', pg_temp.clock('22:30') - interval '1 day', 'rbt2', 'ben');
select is(pg_temp.ask('start_session', 'other day', pg_temp.times('00:10', null), 'rbt2') ~ '^other_day_reason', true, 'a visit that begins on the next day needs one');

-- The signature is the rendering provider's.
select tests.call('rbt', format('select public.end_session(%L)', jsonb_build_object('session_id', tests.id('long')) || pg_temp.times(null, '06:45')));
select tests.sign(tests.id('long'));
select is((select signed_by from public.session_note_states where session_id = tests.id('long')), tests.id('rbt'), 'its therapist has signed');
-- Nobody writes it so; an owner of the database might.
alter table public.session_note_states disable trigger user;
update public.session_note_states set signed_by = tests.id('bcba') where session_id = tests.id('long');
select is(pg_temp.ask('complete_session', 'long'), 'SESSION_INCOMPLETE', 'somebody else''s signature completes nothing');
update public.session_note_states set signed_by = tests.id('rbt') where session_id = tests.id('long');
select is(pg_temp.ask('complete_session', 'long'), 'ok', 'their own does');

-- A correction to another service has the modifiers that its payer wants.
select tests.cover('ann', 'silent');
insert into public.payer_code_rules (organization_id, payer_id, cpt_code, modifiers, valid_from)
values (tests.id('clinic'), tests.id('silent'), '97152', '{"technician": ["U7"]}', '2020-01-01');
select is(pg_temp.ask('correct_visit', 'long', '{"base_version": 1, "reason_code": "wrong_service", "cpt_code": "97152"}'), 'ok', 'another service was rendered');
select is((select cpt_modifiers from public.sessions where id = tests.id('long')), '{U7}', 'it has that service''s modifiers');
-- A begun minute is not billed.
select is(private.billable_minutes('2026-12-01T10:00:00Z', '2026-12-01T10:07:59Z'), 7, 'seconds are cut before anything rounds');

select * from finish();
rollback;
