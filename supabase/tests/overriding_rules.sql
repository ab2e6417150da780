-- An admin sets rules aside: those that are named, or every one that can be. The answer lists those it really took.
begin;
select plan(25);
select tests.open_clinic();
select tests.add_payers();
select tests.cover('ann', 'strict');
-- Everything that can be set aside is in the way: nobody works then, 97155 may not run beside 97153, and nothing is authorized.
update public.therapists set availability_hours = '{}' where organization_id = tests.id('clinic') and id = tests.id('bcba');
insert into public.authorizations (organization_id, client_id, payer_id, approved_units, starts_on, ends_on)
values (tests.id('clinic'), tests.id('ann'), tests.id('strict'), 1, tests.at(-10)::date, tests.at(50)::date);
insert into public.authorization_codes (organization_id, authorization_id, cpt_code)
select organization_id, id, '97155' from public.authorizations where payer_id = tests.id('strict');
insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code)
values (tests.id('clinic'), tests.id('rbt'), tests.id('ann'), tests.at(2), tests.at(2, '11:00'), 'UTC', '97153');

create function pg_temp.told(answer jsonb) returns text language plpgsql as $$
begin
  if answer ->> 'ok' = 'true' then perform tests.release('admin', answer #>> '{body,holdKey}'); end if;
  return coalesce(answer ->> 'code', answer #>> '{body,overridden}');
end $$;
create function pg_temp.ask(rules text[], therapist text default 'bcba', day integer default 2, extra jsonb default '{"cpt_code": "97155"}') returns text language sql as $$
  select pg_temp.told(tests.hold('admin', tests.request(therapist, 'ann', tests.at(day), 60, extra || jsonb_build_object('override',
    jsonb_strip_nulls(jsonb_build_object('reason', 'The family asked', 'rules', to_jsonb(rules)))))))
$$;
select is(pg_temp.ask(rules), told, coalesce(array_to_string(rules, ', '), 'every rule') || ': ' || told) from (values
  (null::text[], '["availability", "authorization", "concurrency"]'),
  ('{availability,authorization,concurrency}', '["availability", "authorization", "concurrency"]'),
  ('{availability,authorization,concurrency,credential,travel}', '["availability", "authorization", "concurrency"]'),
  ('{authorization,concurrency}', 'OUTSIDE_AVAILABILITY'),
  ('{availability,concurrency}', 'AUTHORIZATION_EXCEEDED'),
  ('{availability,authorization}', 'CONCURRENT_SERVICE_NOT_ALLOWED'),
  ('{credential}', 'OUTSIDE_AVAILABILITY'), ('{travel}', 'OUTSIDE_AVAILABILITY')
) as try (rules, told);

-- Who may render, and travel, hold whatever is named.
create function pg_temp.all_rules() returns text[] language sql as $$ select '{availability,authorization,concurrency,credential,travel}'::text[] $$;
select is(pg_temp.ask(pg_temp.all_rules(), 'rbt', 5), 'FORBIDDEN', 'a technician renders no 97155 with any override');
select is(pg_temp.ask('{credential}', 'rbt', 5), 'FORBIDDEN', 'nor with one of credential alone');
select is(pg_temp.ask(null, 'rbt', 5), 'FORBIDDEN', 'nor with one of every rule');
insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone, buffer_after_minutes)
values (tests.id('clinic'), tests.id('rbt'), tests.id('ben'), tests.at(6), tests.at(6, '11:00'), 'UTC', 30);
select is(pg_temp.told(tests.hold('admin', tests.request('rbt', 'ann', tests.at(6, '11:15'), 60, jsonb_build_object('override',
  jsonb_build_object('reason', 'They live next door', 'rules', rules))))), 'THERAPIST_CONFLICT', 'travel is kept free, whatever is named: ' || rules::text)
from (values ('["travel"]'::jsonb), (to_jsonb(pg_temp.all_rules()))) as named (rules);
select is(pg_temp.told(tests.hold('admin', tests.request('rbt', 'ann', tests.at(7), 60, '{"override": {"reason": "To be sure", "rules": ["credential", "travel"]}}'))),
  '[]', 'rules that were not needed are accepted, and not listed');

-- Time without a client is limited to the rules that are named, too.
create function pg_temp.meet(rules jsonb) returns text language sql as $$
  select coalesce(answer ->> 'code', 'ok') from tests.call('admin', format('select public.add_staff_time(%L)', jsonb_strip_nulls(jsonb_build_object(
    'kind', 'training', 'therapist_ids', jsonb_build_array(tests.id('bcba')), 'time_zone', 'UTC', 'start_time', tests.at(8), 'end_time', tests.at(8, '11:00'),
    'override', jsonb_build_object('reason', 'A day of training', 'rules', rules))))) as answer
$$;
select is(pg_temp.meet('["authorization", "travel"]'), 'OUTSIDE_AVAILABILITY', 'hours are not set aside for a meeting by another rule');
select is(pg_temp.meet('["availability"]'), 'ok', 'but by their own');
select is(tests.call('admin', format('select public.change_staff_time(%L)', jsonb_build_object('staff_time_id', id, 'start_time', tests.at(8, '12:00'), 'end_time', tests.at(8, '13:00'),
  'override', jsonb_build_object('reason', 'Later', 'rules', rules)))) ->> 'code', code, 'a change of one: ' || rules::text)
from public.staff_times, (values (1, '["concurrency"]'::jsonb, 'OUTSIDE_AVAILABILITY'), (2, '["availability", "concurrency"]', null)) as try (turn, rules, code) order by turn;
select is((select array_agg(details ->> 'reason' order by recorded_at) from audit.events where action = 'override.availability' and entity = 'staff_time'),
  array['A day of training', 'Later'], 'the reasons of both are in the audit');

-- Names that are none.
select is(tests.error('admin', format('select public.hold_sessions(%L)', tests.request('rbt', 'ann', tests.at(9), 60, jsonb_build_object('override',
  jsonb_build_object('reason', 'x', 'rules', rules))))) ->> 'code', 'PT400', rules::text || ' is refused')
from (values ('["weather"]'::jsonb), ('["Travel"]'), ('[]'), ('"travel"'), ('["travel", "travel", "travel", "travel", "travel", "travel"]')) as bad (rules);

select is_empty('select * from tests.broken_claims()', 'the claims are sound');
select * from finish();
rollback;
