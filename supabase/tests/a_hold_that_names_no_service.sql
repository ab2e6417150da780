-- A hold that names no service keeps everything else of the client away, and takes its units when it is confirmed as one.
begin;
select plan(10);
select tests.open_clinic();
select tests.add_payers();
select tests.authorize('ann', '97153', 4);

create temporary table held on commit drop as
select tests.hold('rbt', tests.request('rbt', 'ann', tests.at(1), 120)) as long,
  tests.hold('rbt', tests.request('rbt', 'ann', tests.at(2), 60)) as fitting;
select is(long ->> 'ok', 'true', 'two hours are held, though only one is authorized') from held;
select is(tests.balance('ann'), '0/0/0/4', 'a hold without a service reserves no units');
select is(
  tests.hold('rbt2', tests.request('rbt2', 'ann', tests.at(1), 60, '{"session_type": "individual"}')) ->> 'code',
  'CLIENT_HOLD_CONFLICT', 'nothing of the client is held beside it');

create temporary table refused on commit drop as
select tests.confirm('rbt', tests.confirmation(long, 'rbt', 'ann') || '{"cpt": {"code": "97153"}}') as outcome from held;
select is(outcome ->> 'code', 'AUTHORIZATION_EXCEEDED', 'confirmed as a service it takes more than is left') from refused;
select ok(jsonb_array_length(outcome -> 'shortages') > 0, 'and the answer says of what there is too little') from refused;
select is((select count(*) from public.sessions where organization_id = tests.id('clinic')), 0::bigint, 'nothing is booked');
select is(tests.release('rbt', long #>> '{body,holdKey}') #>> '{body,released}', 'true', 'and the hold is still alive') from held;

select is(
  tests.confirm('rbt', tests.confirmation(fitting, 'rbt', 'ann') || '{"cpt": {"code": "97153"}}') ->> 'ok', 'true',
  'what is authorized is confirmed') from held;
select is(tests.balance('ann'), '0/4/0/0', 'and takes its units then');
select is(tests.confirm('rbt', tests.confirmation(fitting, 'rbt', 'ann') || '{"cpt": {"code": "97153"}}') ->> 'ok', 'true',
  'confirming again answers the same') from held;

select * from finish();
rollback;
