-- Whoever is refused again and again is told to wait, and leaves a trace that has an end.
begin;
select plan(24);
select tests.open_clinic();
update private.rate_limits set per_minute = 3;

create function pg_temp.refused(person text) returns jsonb language sql as $$
  select tests.call(person, format('select public.change_member(%L, ''admin'')', tests.id('bcba')))
$$;
create function pg_temp.events_of(person text) returns bigint language sql as $$
  select count(*) from audit.events where actor_user_id = tests.id(person) and outcome = 'refused'
$$;

select is(pg_temp.refused('rbt') ->> 'code', 'FORBIDDEN', format('refusal %s', number)) from generate_series(1, 3) as number;
select is(pg_temp.refused('rbt') - 'retryAfterSeconds' - 'detail', '{"ok": false, "status": 429, "code": "TOO_MANY_REQUESTS"}', 'the next one is too many');
select is((pg_temp.refused('rbt') ->> 'retryAfterSeconds')::integer between 1 and 60, true, 'and says when to come again');
create temporary table told on commit drop as select pg_temp.refused('rbt') as answer;
select cmp_ok((answer ->> 'retryAfterSeconds')::numeric, '>=', (
    select extract(epoch from min(recorded_at) + interval '1 minute' - clock_timestamp()) from audit.events where actor_user_id = tests.id('rbt') and outcome = 'refused'),
  'rounded up, so that there is room again by then') from told;
select is(pg_temp.events_of('rbt'), 3::bigint, 'it leaves no event');
select is(
  tests.call('rbt', format('select public.prepare_note(%L)', jsonb_build_object('session_id', tests.id('nothing')))) ->> 'code',
  'TOO_MANY_REQUESTS', 'nor does another kind of refusal'
);
select is(pg_temp.refused('rbt2') ->> 'code', 'FORBIDDEN', 'somebody else is not held up by it');
select is(tests.hold('rbt', tests.request('rbt', 'ann', tests.at(1))) ->> 'ok', 'true', 'what she may do, she does');

-- A minute later.
set constraints all immediate;
alter table audit.events disable trigger user;
alter table audit.seals disable trigger user;
update audit.events set recorded_at = recorded_at - interval '61 seconds' where actor_user_id = tests.id('rbt');
alter table audit.events enable trigger user;
alter table audit.seals enable trigger user;
select is(pg_temp.refused('rbt') ->> 'code', 'FORBIDDEN', 'a minute later she is refused as before');
select is(tests.error('super', 'select * from public.session_history(gen_random_uuid())') ->> 'code', null, 'whoever is not refused reads on');
update private.rate_limits set per_minute = 1;
select is(
  tests.error('super', format('select public.add_member(%L, ''admin'')', gen_random_uuid())) ->> 'code', null, 'a super_admin is refused once'
);
select tests.call('super', format('select public.add_member(%L, ''admin'')', gen_random_uuid()));
select is(tests.error('super', 'select * from public.session_history(gen_random_uuid())') ->> 'code', 'PT429', 'then reading rows is too much as well');

-- Reads of what is sealed.
update private.rate_limits set per_minute = 2 where kind = 'reads';
update private.rate_limits set per_minute = 1000 where kind = 'refusals';
select is(
  tests.call('bcba', format('select public.%I(%L)', read, jsonb_build_object('client_ids', array[tests.id('ann')]))) ->> 'code',
  expected, format('read %s', number)
) from (values
  (1, 'read_client_details', null), (2, 'read_client_names', null), (3, 'read_client_names', 'TOO_MANY_REQUESTS'),
  (4, 'read_client_details', 'TOO_MANY_REQUESTS')
) as item (number, read, expected);

-- What is kept of a refusal.
select tests.call('rbt2', format('select public.read_client_details(%L)', jsonb_build_object(
  'client_ids', (select array_agg(gen_random_uuid()) from generate_series(1, 100)))));
select is(
  (select jsonb_build_array(cardinality(entity_ids), details -> 'named') from audit.events
    where actor_user_id = tests.id('rbt2') and action = 'client_details.refused'),
  '[5, 100]', 'of a hundred ids it names five, and how many there were'
);
select is((select sum(cardinality(entity_ids)) from audit.events where actor_user_id = tests.id('rbt') and action = 'membership.refused'), 0::bigint,
  'of somebody who may never do it, none');
select is(
  tests.call('super', format('select public.change_member(%L, ''admin'')', tests.id('parent two'))) ->> 'code', 'MEMBER_NOT_FOUND', 'of somebody who may'
);
select is((select entity_ids from audit.events where code = 'MEMBER_NOT_FOUND'), array[tests.id('parent two')], 'the ids she named');

-- Nobody is let off, nobody else can set it.
select is(tests.error_code(person, 'update private.rate_limits set per_minute = 1000'), '42501', format('%s does not set the limits', person))
from unnest(array['super', 'service_role']) as person;

select * from finish();
rollback;
