-- Modifiers that nobody chose follow whatever they are derived from, on every way, until the session is completed. Modifiers
-- that somebody chose stay.
begin;
select plan(43);
select tests.open_clinic();
select tests.add('public.payers', jsonb_build_array(
  jsonb_build_object('organization_id', tests.id('clinic'), 'id', tests.id('lake')),
  jsonb_build_object('organization_id', tests.id('clinic'), 'id', tests.id('hill'))));
insert into public.payer_rules (organization_id, payer_id, telehealth_modifier, valid_from)
values (tests.id('clinic'), tests.id('lake'), '95', '2020-01-01'), (tests.id('clinic'), tests.id('hill'), 'GT', '2020-01-01');
insert into public.payer_code_rules (organization_id, payer_id, cpt_code, modifiers, valid_from)
select tests.id('clinic'), tests.id(rule.payer), rule.code, rule.modifiers, '2020-01-01'
from (values ('lake', '97153', '{"technician": ["HM"], "qhp": ["HO"]}'::jsonb), ('hill', '97153', '{"technician": ["U1"], "qhp": ["U2"]}'),
  ('lake', '97155', '{"qhp": ["HP"]}')) as rule (payer, code, modifiers);
select tests.cover('ann', 'lake');

create function pg_temp.insertion(starts timestamptz, extra jsonb default '{}') returns text language sql as $$
  select format('insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone%s) values (%L, %L, %L, %L, %L, ''UTC''%s)',
    (select coalesce(string_agg(', ' || key, ''), '') from jsonb_each_text(extra)), tests.id('clinic'), tests.id('rbt'), tests.id('ann'), starts,
    starts + interval '1 hour', (select coalesce(string_agg(', ' || coalesce(quote_literal(value), 'null'), ''), '') from jsonb_each_text(extra))) $$;
create function pg_temp.at(starts timestamptz) returns text language sql as $$
  select cpt_modifiers::text from public.sessions where client_id = tests.id('ann') and start_time = starts $$;

-- A write that gives none
select is(tests.error_code(who.name, pg_temp.insertion(tests.at(who.day), '{"cpt_code": "97153"}')), null, format('%s inserts a session without modifiers', who.name))
from (values ('rbt', 1), ('admin', 2), ('service_role', 3), ('postgres', 4)) as who (name, day);
select is((select array_agg(distinct cpt_modifiers::text) from public.sessions where client_id = tests.id('ann')), array['{HM}'], 'each has those of its payer');
select is(tests.error_code('admin', pg_temp.insertion(tests.at(5), '{"cpt_modifiers": null}')), null, 'null may be written');
select is(pg_temp.at(tests.at(5)), '{HM}', 'it is as not given, and no code is treatment');
select is(tests.error_code('admin', pg_temp.insertion(tests.at(6), '{"cpt_modifiers": "{}"}')), null, 'an empty array is given');
select is(pg_temp.at(tests.at(6)), '{}', 'and wants none');
select is(tests.error_code('admin', pg_temp.insertion(tests.at(7), '{"cpt_modifiers": "{U7}"}')), null, 'others are chosen');
select is(tests.error_code('admin', pg_temp.insertion(tests.at(8), '{"location_type": "telehealth"}')), null, 'and one is elsewhere');

create function pg_temp.all() returns text language sql as $$
  select string_agg(array_to_string(cpt_modifiers, '+', '-'), ' ' order by start_time) from public.sessions
  where client_id = tests.id('ann') and start_time between tests.at(4) and tests.at(9) $$;
select is(pg_temp.all(), 'HM HM  U7 HM+95', 'as they were written');

-- Who pays
select tests.cover('ann', 'hill', 2);
select is(pg_temp.all(), 'HM HM  U7 HM+95', 'a payer who pays second has no say');
update public.client_coverages set valid_to = tests.at(4)::date where client_id = tests.id('ann') and payer_id = tests.id('lake');
select is(pg_temp.all(), 'HM U1  U7 U1+GT', 'the next payer''s from their first day on; what was chosen stays');
select is((select jsonb_build_array(jsonb_array_length(before), before #> '{0,cpt_modifiers}', after #> '{0,cpt_modifiers}') from audit.events
  where organization_id = tests.id('clinic') and action = 'session.changed'), '[2, ["HM"], ["U1"]]', 'one event says which');
update public.client_coverages set priority = case payer_id when tests.id('hill') then 3 else 1 end, valid_to = null where client_id = tests.id('ann');
select is(pg_temp.all(), 'HM HM  U7 HM+95', 'and back, several coverages at once');

-- What the payer wants
update public.payer_code_rules set modifiers = '{"technician": ["U5"], "qhp": ["HO"]}' where payer_id = tests.id('lake') and cpt_code = '97153';
select is(pg_temp.all(), 'U5 U5  U7 U5+95', 'of a code');
update public.payer_rules set telehealth_modifier = null where payer_id = tests.id('lake');
select is(pg_temp.all(), 'U5 U5  U7 U5', 'of a place');
update public.payer_code_rules set valid_to = tests.at(6)::date where payer_id = tests.id('lake') and cpt_code = '97153';
select is(pg_temp.all(), 'U5 U5  U7 ', 'for how long');
insert into public.payer_code_rules (organization_id, payer_id, cpt_code, modifiers, valid_from)
values (tests.id('clinic'), tests.id('lake'), '97153', '{"technician": ["U6"], "qhp": ["U8"]}', tests.at(7)::date);
select is(pg_temp.all(), 'U5 U5  U7 U6', 'a new version of it');

-- Whom, what, when and where
create function pg_temp.change(change text, day integer) returns text language sql as $$
  select tests.error_code('service_role', format('update public.sessions set %s where client_id = %L and start_time = %L', change, tests.id('ann'), tests.at(day))) $$;
select is(pg_temp.change(format('therapist_id = %L', tests.id('bcba')), 8), null, 'another therapist is written');
select is(pg_temp.change(format('therapist_id = %L', tests.id('bcba')), 7), null, 'also where modifiers were chosen');
select is(pg_temp.all(), 'U5 U5  U7 U8', 'a professional''s');
select is(pg_temp.change(format('cpt_code = %L', '97155'), 8), null, 'another code');
select is(pg_temp.all(), 'U5 U5  U7 HP', 'is that code''s');
select is(pg_temp.change(format('start_time = %L, end_time = %L', tests.at(8, '12:00'), tests.at(8, '13:00')), 5), null, 'another day');
select is(pg_temp.at(tests.at(8, '12:00')), '{U6}', 'is that day''s');
create temporary table held on commit drop as select tests.hold('admin', tests.request('rbt', 'ann', tests.at(5, '12:00'), 60, jsonb_build_object('session_id', (
  select id from public.sessions where client_id = tests.id('ann') and start_time = tests.at(8, '12:00'))))) as answer;
select is(tests.confirm('admin', tests.confirmation(answer, 'rbt', 'ann')) #> '{body,session,cpt_modifiers}', '["U5"]', 'a move to another day is the same') from held;

-- The zone that a day is of, and the level
update public.payer_code_rules set valid_to = tests.at(4)::date where payer_id = tests.id('lake') and cpt_code = '97153' and valid_to is not null;
insert into public.payer_code_rules (organization_id, payer_id, cpt_code, modifiers, valid_from, valid_to)
values (tests.id('clinic'), tests.id('lake'), '97153', '{"technician": ["U3"], "qhp": ["U4"]}', tests.at(5)::date, tests.at(5)::date);
select is(pg_temp.at(tests.at(5, '12:00')), '{U3}', 'a day of a rule');
update public.organizations set time_zone = 'Pacific/Kiritimati' where id = tests.id('clinic');
select is(pg_temp.at(tests.at(5, '12:00')), '{}', 'is another day in another zone');
update public.organizations set time_zone = 'UTC' where id = tests.id('clinic');
select is(pg_temp.at(tests.at(5, '12:00')), '{U3}', 'and back');
update public.therapist_credentials set credential = 'BCBA' where therapist_id = tests.id('rbt');
select is(pg_temp.at(tests.at(5, '12:00')), '{U4}', 'a corrected credential is followed');

-- Several rows of one statement, and what is not written after all
select tests.add('public.payers', jsonb_build_array(jsonb_build_object('organization_id', tests.id('clinic'), 'id', tests.id('bay'))));
insert into public.payer_code_rules (organization_id, payer_id, cpt_code, modifiers, valid_from, valid_to)
select tests.id('clinic'), tests.id('bay'), rule.code, rule.modifiers, coalesce(tests.at(rule.first)::date, '2020-01-01'), tests.at(rule.last)::date
from (values ('97153', '{"technician": ["W1"]}'::jsonb, null::integer, 14), ('97153', '{"technician": ["W7"]}', 15, null),
  ('97154', '{"technician": ["G1"]}', null, 12), ('97154', '{"technician": ["G2"]}', 13, null), ('97155', '{"qhp": ["W5"]}', null, null)) as rule (code, modifiers, first, last);
select tests.cover('ben', 'bay');
create function pg_temp.made(name text, therapist text, starts timestamptz, code text, extra jsonb default '{}') returns void language sql as $$
  insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code, session_type, group_id)
  values (tests.id('clinic'), tests.id(name), tests.id(therapist), tests.id('ben'), starts, starts + interval '1 hour', coalesce(extra ->> 'zone', 'UTC'), code,
    extra ->> 'type', (extra ->> 'group')::uuid) $$;
create function pg_temp.of(variadic names text[]) returns text language sql as $$
  select string_agg(array_to_string(cpt_modifiers, '+', '-'), ' ' order by named.number) from unnest(names) with ordinality as named (name, number)
  join public.sessions as session on session.id = tests.id(named.name) $$;
select pg_temp.made('treated', 'rbt2', tests.at(10), '97153'), pg_temp.made('supervised', 'bcba', tests.at(10, '12:00'), '97155'),
  pg_temp.made('rendered', 'rbt2', now() - interval '3 days', '97153'), pg_temp.made('begun', 'rbt2', now() - interval '2 days', '97153');
update public.sessions set status = 'in_progress' where id in (tests.id('rendered'), tests.id('begun'));
update public.sessions set status = 'completed' where id = tests.id('rendered');
update public.payer_code_rules set modifiers = case cpt_code when '97153' then '{"technician": ["W2"]}' else '{"qhp": ["W6"]}'::jsonb end
where payer_id = tests.id('bay') and (cpt_code = '97155' or valid_to is not null and cpt_code = '97153');
select is(pg_temp.of('treated', 'supervised'), 'W2 W6', 'two rules of one payer at once');
select is(pg_temp.of('begun', 'rendered'), 'W2 W1', 'what has begun follows, what is completed does not');
insert into public.client_coverages (organization_id, id, client_id, payer_id, valid_from)
select organization_id, id, client_id, payer_id, valid_from from public.client_coverages where client_id = tests.id('ben') on conflict do nothing;
update public.sessions set cpt_modifiers = '{U9}' where id = tests.id('treated');
update public.client_coverages set priority = 2 where client_id = tests.id('ben');
select is(pg_temp.of('treated'), 'U9', 'a coverage that was there already leaves what is chosen later');
select is_empty('select * from private.remembered_modifiers', 'no statement leaves anything remembered');

-- Days that are not written to the session itself
insert into public.session_groups (organization_id, id, therapist_id, start_time, end_time)
values (tests.id('clinic'), tests.id('group'), tests.id('rbt2'), tests.at(12), tests.at(12, '11:00'));
select pg_temp.made('together', 'rbt2', tests.at(12), '97154', jsonb_build_object('group', tests.id('group')));
update public.session_groups set start_time = tests.at(13), end_time = tests.at(13, '11:00') where id = tests.id('group');
select is(pg_temp.of('together'), 'G2', 'a group moves to another day');
select pg_temp.made('late', 'rbt2', tests.at(14, '23:30'), '97153', '{"zone": "America/Vancouver"}');
update public.sessions set civil_start = civil_start + interval '1 hour' where id = tests.id('late');
select is(tests.call('super', $$ select public.resync_zone('America/Vancouver') $$) #>> '{body,movedCount}', '1', 'a session goes back to its civil time');
select is(pg_temp.of('late'), 'W7', 'on the next day');

-- What everybody has, and what is never deleted
select pg_temp.made('evening', 'rbt2', tests.at(16), null, '{"type": "evening"}');
select is(pg_temp.of('evening'), 'W7', 'a session type that is unknown means treatment');
insert into public.service_codes (code, description, levels, valid_from, session_type) values ('T1024', 'A service', '{technician}', tests.at(16)::date, 'evening');
select is(pg_temp.of('evening'), '', 'until everybody has a code that it means');
select is(tests.error_code('postgres', format('delete from public.therapist_credentials where therapist_id = %L', tests.id('rbt2'))), '23001', 'a credential is corrected, not deleted');

select is_empty('select * from tests.broken_claims()', 'the claims are sound');
select * from finish();
rollback;
