-- A confirmation that gives no modifiers gets those the payer of that day wants, by code, credential and place. An empty list
-- is a choice: none.
begin;
select plan(22);
select tests.open_clinic();
select private.add_default_payers(tests.id('clinic'));
select tests.add('public.client_coverages', jsonb_build_array(jsonb_build_object(
  'organization_id', tests.id('clinic'), 'client_id', tests.id('ann'), 'payer_id', (
    select id from public.payers where organization_id = tests.id('clinic') and name = 'Example Commercial Plan'
  ), 'valid_from', tests.at(-50)::date
)));
update public.payer_code_rules set authorization_required = false where organization_id = tests.id('clinic');
update public.payer_rules set authorization_required = false where organization_id = tests.id('clinic');

-- The modifiers that a confirmation stores, and answers.
create function pg_temp.stored(therapist text, client text, day integer, cpt jsonb, place text default 'clinic') returns text language plpgsql as $$
declare
  held jsonb := tests.hold('admin', tests.request(therapist, client, tests.at(day)));
  body jsonb := tests.confirmation(held, therapist, client);
  answer jsonb;
begin
  body := jsonb_set(jsonb_set(body, '{occurrences,0,session,location_type}', to_jsonb(place)), '{occurrences,0,cpt}', cpt);
  answer := tests.confirm('admin', body);
  return coalesce(answer ->> 'code', (answer #> '{body,session,cpt_modifiers}')::text);
end
$$;

select is(pg_temp.stored('rbt', 'ann', 1, '{"code": "97153"}'), '["HM"]', 'a technician''s');
select is(pg_temp.stored('bcba', 'ann', 2, '{"code": "97153"}'), '["HO"]', 'a professional''s');
select is(pg_temp.stored('bcba', 'ann', 3, '{"code": "97153", "modifiers": null}'), '["HO"]', 'null is not given');
select is(pg_temp.stored('bcba', 'ann', 4, '{"code": "97153", "modifiers": []}'), '[]', 'an empty list is none');
select is(pg_temp.stored('bcba', 'ann', 5, '{"code": "97153", "modifiers": ["u1"]}'), '["U1"]', 'what is given is stored');
select is(pg_temp.stored('bcba', 'ann', 6, '{"code": "97153"}', 'Tele-health'), '["HO", "95"]', 'then the place''s');
select is(pg_temp.stored('bcba', 'ben', 7, '{"code": "97153"}', 'virtual'), '["95"]', 'without a payer only the place''s');
select is(pg_temp.stored('bcba', 'ben', 8, 'null'), '[]', 'or none');
select is((select cpt_modifiers from public.sessions where client_id = tests.id('ann') and start_time = tests.at(1)), array['HM'], 'what is answered is stored');

-- The credential is the day's.
update public.therapist_credentials set valid_to = tests.at(19)::date where therapist_id = tests.id('rbt');
insert into public.therapist_credentials (organization_id, therapist_id, credential, valid_from)
values (tests.id('clinic'), tests.id('rbt'), 'BCaBA', tests.at(20)::date);
select is(pg_temp.stored('rbt', 'ann', 19, '{"code": "97153"}'), '["HM"]', 'on the last day of a credential');
select is(pg_temp.stored('rbt', 'ann', 20, '{"code": "97153"}'), '["HN"]', 'and on the first of the next');

-- Of two payers it is the one who pays first.
select tests.add('public.payers', jsonb_build_array(jsonb_build_object('organization_id', tests.id('clinic'), 'id', tests.id('second'), 'name', 'second')));
select tests.add('public.payer_code_rules', jsonb_build_array(jsonb_build_object(
  'organization_id', tests.id('clinic'), 'payer_id', tests.id('second'), 'cpt_code', '97153', 'modifiers', '{"qhp": ["U9"]}'::jsonb, 'valid_from', tests.at(-50)::date)));
select tests.cover('ann', 'second', 2);
select is(pg_temp.stored('bcba', 'ann', 21, '{"code": "97153"}'), '["HO"]', 'a payer who pays second has no say');
update public.client_coverages set valid_to = tests.at(21)::date where client_id = tests.id('ann') and priority = 1;
select is(pg_temp.stored('bcba', 'ann', 22, '{"code": "97153"}'), '["U9"]', 'until they pay first');
update public.client_coverages set valid_to = null where client_id = tests.id('ann') and priority = 1;

-- A move keeps what it does not name.
create function pg_temp.moved(day integer, service jsonb) returns text language plpgsql as $$
declare
  held jsonb := tests.hold('admin', tests.request('bcba', 'ann', tests.at(day, '14:00'), 60, service || jsonb_build_object(
    'session_id', (select id from public.sessions where client_id = tests.id('ann') and start_time = tests.at(day)))));
begin
  return tests.confirm('admin', tests.confirmation(held, 'bcba', 'ann')) #> '{body,session,cpt_modifiers}';
end
$$;
select is(pg_temp.moved(5, '{}'), '["U1"]', 'a move keeps the modifiers');
select is(pg_temp.moved(1, '{"cpt_code": "97153"}'), '["HO"]', 'one that names the service has those of who renders it now');

-- A therapist is promoted: what is to come gets the modifiers of the new level, but for those that somebody chose.
create function pg_temp.of_rbt2() returns jsonb language sql as $$
  select jsonb_agg(cpt_modifiers order by start_time) from public.sessions where organization_id = tests.id('clinic') and therapist_id = tests.id('rbt2') $$;
select pg_temp.stored('rbt2', 'ann', 40, '{"code": "97153"}'), pg_temp.stored('rbt2', 'ann', 41, '{"code": "97153", "modifiers": ["u1"]}'),
  pg_temp.stored('rbt2', 'ann', 42, '{"code": "97153"}', 'telehealth'), pg_temp.stored('rbt2', 'ben', 43, '{"code": "97153"}'), pg_temp.stored('rbt2', 'ann', 44, '{"code": "97153"}');
select tests.bring_forward(id, '2 days') from public.sessions where therapist_id = tests.id('rbt2') and start_time = tests.at(44);
select is(pg_temp.of_rbt2(), '[["HM"], ["HM"], ["U1"], ["HM", "95"], []]', 'booked as a technician');
create temporary table moving on commit drop as select tests.hold('admin', tests.request('rbt2', 'ann', tests.at(50), 60, jsonb_build_object(
  'session_id', (select id from public.sessions where therapist_id = tests.id('rbt2') and start_time = tests.at(40))))) as held;
select is(tests.call('admin', format('select public.set_credential(%L)', jsonb_build_object('therapist_id', tests.id('rbt2'), 'credential', 'BCBA'))) ->> 'ok', 'true', 'and promoted');
select is(pg_temp.of_rbt2(), '[["HM"], ["HO"], ["U1"], ["HO", "95"], []]', 'a professional''s from today on; what has begun, what was chosen and what has no payer stays');
select is((select jsonb_build_array(jsonb_array_length(before), before #> '{0,cpt_modifiers}', after #> '{0,cpt_modifiers}', actor_user_id) from audit.events
  where organization_id = tests.id('clinic') and action = 'session.changed' and actor_user_id is not null), jsonb_build_array(2, array['HM'], array['HO'], tests.id('admin')), 'one event says which, and by whom');
select is(tests.confirm('admin', tests.confirmation(held, 'rbt2', 'ann')) #> '{body,session,cpt_modifiers}', '["HO"]', 'a move that was held before confirms, with the new ones') from moving;
update public.therapists set credential = 'BCaBA' where organization_id = tests.id('clinic') and id = tests.id('rbt2');
select is(pg_temp.of_rbt2(), '[["HM"], ["U1"], ["HN", "95"], [], ["HN"]]', 'it is the same when an operator writes it');
select is_empty('select * from tests.broken_claims()', 'the claims are sound');

select * from finish();
rollback;
