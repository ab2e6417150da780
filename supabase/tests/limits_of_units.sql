-- Authorizations as payers write them: a set of codes, several at once, and limits of a day, a week, a month, a therapist.
begin;
select plan(87);
select tests.open_clinic();
select tests.add_payers();

-- Days are written as those of spring 2027 in Los Angeles, where clocks change on Sunday, 14 March. In later years they are
-- whole weeks later, so that all lie ahead. Only the date of a place is of interest.
create function pg_temp.later() returns integer language sql as $$
  select 364 * (extract(year from now())::integer + 1 - 2027)
$$;
create function pg_temp.on_day(date date, clock time default '10:00') returns timestamptz language sql as $$
  select (date + pg_temp.later() + clock) at time zone 'America/Los_Angeles'
$$;
create function pg_temp.authorize(client text, codes text[], units integer, starts date, ends date) returns uuid language sql as $$
  select tests.authorize(client, codes, units, starts + pg_temp.later(), ends + pg_temp.later())
$$;
create function pg_temp.client(name text) returns void language sql as $$
  insert into public.clients (organization_id, id, reference) values (tests.id('clinic'), tests.id(name), name);
$$;
create function pg_temp.limit(authorization_id uuid, codes text[], per public.limit_scope, period public.limit_period, units integer,
  week_starts_on integer default 7, effect public.limit_effect default 'refuse') returns void language sql as $$
  insert into public.unit_limits (organization_id, authorization_id, cpt_codes, per, period, max_units, week_starts_on, effect)
  values (tests.id('clinic'), authorization_id, codes, per, period, units, week_starts_on, effect)
$$;
create function pg_temp.hold(therapist text, client text, date date, units integer, code text default '97153', extra jsonb default '{}', clock time default '10:00')
returns jsonb language sql as $$
  select tests.hold('admin', jsonb_build_object('therapist_id', tests.id(therapist), 'client_id', tests.id(client), 'cpt_code', code)
    || tests.occurrence(pg_temp.on_day(date, clock), units * 15) || extra)
$$;
-- 'ok', or what is short: limit, needed, left.
create function pg_temp.told(outcome jsonb) returns text language sql as $$
  select case when (outcome ->> 'ok')::boolean then 'ok' else coalesce((
    select string_agg(concat_ws(' ', item ->> 'limit', item ->> 'neededUnits', item ->> 'leftUnits'), ', ' order by position)
    from jsonb_array_elements(outcome -> 'shortages') with ordinality as short (item, position)
  ), outcome::text) end
$$;
create temporary table story (name text primary key, answer jsonb);

-- 104 units of 97153 a week
select pg_temp.client('week');
select pg_temp.limit(pg_temp.authorize('week', '{97153}', 5000, '2027-01-01', '2027-06-30'), '{97153}', 'client', 'week', 104);
select is(pg_temp.told(pg_temp.hold('rbt', 'week', '2027-02-08'::date + day, 20)), 'ok', 'five hours on each working day')
from generate_series(0, 4) as day;
select is(pg_temp.told(pg_temp.hold('rbt', 'week', '2027-02-13', 5)), 'week 5 4', 'then 4 of the 104 are left for Saturday');
select is(pg_temp.told(pg_temp.hold('rbt', 'week', '2027-02-13', 4)), 'ok', 'which can be had');
select is(pg_temp.told(pg_temp.hold('rbt', 'week', '2027-02-14', 1)), 'ok', 'on Sunday another week begins');
select is(pg_temp.told(pg_temp.hold('rbt', 'week', '2027-02-15', 20)), 'ok', 'the same on the next Monday is held');
select is(pg_temp.told(pg_temp.hold('rbt', 'week', '2027-02-07', 1)), 'week 1 0', 'the Sunday before is of the full week');

-- A week that begins on Monday, over the change of clocks
select pg_temp.client('spring');
select pg_temp.limit(pg_temp.authorize('spring', '{97153}', 5000, '2027-01-01', '2027-06-30'), '{97153}', 'client', 'week', 10);
select is(pg_temp.told(pg_temp.hold('rbt2', 'spring', '2027-03-13', 10, clock => '18:00')), 'ok', 'the last day of a week from Sunday');
select is(pg_temp.told(pg_temp.hold('rbt2', 'spring', '2027-03-14', 10, clock => '00:30')), 'ok', 'and the first of the next, in its first hour, though clocks change that night');
select is(pg_temp.told(pg_temp.hold('rbt2', 'spring', '2027-03-20', 1, clock => '20:00')), 'week 1 0', 'a week of 167 hours ends on Saturday night');
select is(pg_temp.told(pg_temp.hold('rbt2', 'spring', '2027-03-21', 10, clock => '00:00')), 'ok', 'and not an hour early');
select pg_temp.client('monday');
select pg_temp.limit(pg_temp.authorize('monday', '{97153}', 5000, '2027-01-01', '2027-06-30'), '{97153}', 'client', 'week', 10, 1);
select is(pg_temp.told(pg_temp.hold('rbt2', 'monday', '2027-03-13', 6)), 'ok', 'a week that begins on Monday');
select is(pg_temp.told(pg_temp.hold('rbt2', 'monday', '2027-03-14', 6)), 'week 6 4', 'has Saturday and Sunday');

-- A set of codes
select pg_temp.client('set');
select pg_temp.authorize('set', '{97153,97154}', 100, '2027-01-01', '2027-06-30');
insert into story values ('sixty', pg_temp.hold('rbt', 'set', '2027-02-22', 30, extra => jsonb_build_object('occurrences', jsonb_build_array(
  tests.occurrence(pg_temp.on_day('2027-02-22', '12:00'), 450), tests.occurrence(pg_temp.on_day('2027-02-23', '12:00'), 450)))));
select is(pg_temp.told(answer), 'ok', 'sixty units of one code of a set') from story where name = 'sixty';
select pg_temp.client('mate');
select is(pg_temp.told(tests.hold('admin', tests.occurrence(pg_temp.on_day('2027-02-24'), 600) || jsonb_build_object(
  'therapist_id', tests.id('rbt'), 'client_id', tests.id('set'), 'client_ids', jsonb_build_array(tests.id('set'), tests.id('mate')), 'cpt_code', '97154'))), 'ok', 'and forty of the other');
select is(tests.balance('set'), '0/0/100/0', 'are the hundred');
select is(tests.balance('set', '97154'), '0/0/100/0', 'of both');
select is(pg_temp.told(pg_temp.hold('rbt', 'set', '2027-02-25', 1)), 'total 1 0', 'then there is neither the one');
select is(pg_temp.told(tests.hold('admin', tests.occurrence(pg_temp.on_day('2027-02-26'), 15) || jsonb_build_object(
  'therapist_id', tests.id('rbt'), 'client_id', tests.id('set'), 'client_ids', jsonb_build_array(tests.id('set'), tests.id('mate')), 'cpt_code', '97154'))), 'total 1 0', 'nor the other');
select is(pg_temp.told(pg_temp.hold('bcba', 'set', '2027-02-26', 4, '97155')), 'ok', 'a code outside the set is not of it');

-- Two that overlap: the one that ends first is drawn first, and a service may draw on both
select pg_temp.client('two');
select pg_temp.authorize('two', '{97153}', 40, '2027-01-01', '2027-06-30');
select pg_temp.authorize('two', '{97153}', 40, '2026-11-01', '2027-01-31');
create function pg_temp.taken(client text) returns text language sql as $$
  select string_agg(concat_ws('/', approval.ends_on - pg_temp.later(), balance.used_units, balance.scheduled_units, balance.held_units, balance.left_units), ' ' order by approval.ends_on)
  from public.authorizations as approval
  join reports.authorization_balances as balance on balance.authorization_id = approval.id
  where approval.client_id = tests.id(client)
$$;
insert into story values ('split', pg_temp.hold('rbt', 'two', '2027-01-11', 48, clock => '07:00'));
select is(pg_temp.taken('two'), '2027-01-31/0/0/40/0 2027-06-30/0/0/8/32', 'twelve hours take 40 units of the one that ends first, and 8 of the other');
select is(
  (select array_agg(array[part, total_units, units] order by part) from public.authorization_units where client_id = tests.id('two')),
  array[array[0, 40, 40], array[1, 8, 8]], 'in two entries of one service'
);
select is(pg_temp.told(pg_temp.hold('rbt', 'two', '2027-01-12', 36)), 'total 36 32', 'what both have left together is what is left');
select is(pg_temp.told(pg_temp.hold('rbt', 'two', '2027-02-19', 12)), 'ok', 'in February the other is alone: 60 in January would be 40 and 20');
select is(pg_temp.taken('two'), '2027-01-31/0/0/40/0 2027-06-30/0/0/20/20', 'and were');
insert into story select 'booked', tests.confirm('admin', tests.confirmation(answer, 'rbt', 'two')) from story where name = 'split';
select is(pg_temp.taken('two'), '2027-01-31/0/40/0/0 2027-06-30/0/8/12/20', 'a confirmation schedules both parts');
-- A move keeps what it has, and asks for what is more
insert into story select 'moved', pg_temp.hold('rbt', 'two', '2027-01-13', 44, clock => '07:00', extra => jsonb_build_object('session_id', answer #> '{body,session,id}'))
from story where name = 'booked';
select is(pg_temp.taken('two'), '2027-01-31/0/40/0/0 2027-06-30/0/8/12/20', 'a move that is shorter takes nothing in addition');
insert into story select 'moved there', tests.confirm('admin', tests.confirmation(answer, 'rbt', 'two')) from story where name = 'moved';
select is(pg_temp.taken('two'), '2027-01-31/0/40/0/0 2027-06-30/0/4/12/24', 'and gives back the difference, of the one that ends last');
insert into story select 'into february', pg_temp.hold('rbt', 'two', '2027-02-16', 20, clock => '07:00', extra => jsonb_build_object('session_id', answer #> '{body,session,id}'))
from story where name = 'moved there';
select is(pg_temp.taken('two'), '2027-01-31/0/40/0/0 2027-06-30/0/4/28/8', 'a move into February draws on the other alone, but for what it has of it');
select tests.confirm('admin', tests.confirmation(answer, 'rbt', 'two')) from story where name = 'into february';
select is(pg_temp.taken('two'), '2027-01-31/0/0/0/40 2027-06-30/0/20/12/8', 'and gives January''s back');

-- The first one's limit keeps units back, the second gives them
select pg_temp.client('both');
select pg_temp.limit(pg_temp.authorize('both', '{97153}', 100, '2027-01-01', '2027-03-31'), '{97153}', 'client', 'day', 8);
select pg_temp.authorize('both', '{97153}', 10, '2027-01-01', '2027-06-30');
select is(pg_temp.told(pg_temp.hold('rbt2', 'both', '2027-02-01', 12)), 'ok', 'a service draws on a supplemental authorization beyond a limit of the day');
select is(pg_temp.taken('both'), '2027-03-31/0/0/8/92 2027-06-30/0/0/4/6', 'eight and four');
select is(pg_temp.told(pg_temp.hold('rbt2', 'both', '2027-02-01', 8, clock => '15:00')), 'total 8 6, day 8 6', 'where one is kept back by the day and the other by its units, both are told');
insert into story values ('over', pg_temp.hold('rbt2', 'both', '2027-02-01', 8, clock => '15:00', extra => '{"override": {"reason": "Promised", "rules": ["authorization"]}}'));
select is(pg_temp.told(answer), 'ok', 'an admin may override a limit') from story where name = 'over';
select is(pg_temp.taken('both'), '2027-03-31/0/0/10/90 2027-06-30/0/0/10/0', 'then units that are there are drawn all the same');

-- A month, a day, several at once
select pg_temp.client('month');
insert into story values ('month', to_jsonb(pg_temp.authorize('month', '{97153,97154}', 30, '2027-01-01', '2027-06-30')));
select pg_temp.limit((answer #>> '{}')::uuid, '{97153}', 'client', 'month', 16), pg_temp.limit((answer #>> '{}')::uuid, '{97153,97154}', 'client', 'day', 8)
from story where name = 'month';
select is(pg_temp.told(pg_temp.hold('rbt', 'month', '2027-01-12', 8)), 'ok', 'a day''s limit exactly reached');
select is(pg_temp.told(pg_temp.hold('rbt', 'month', '2027-01-12', 1, clock => '15:00')), 'day 1 0', 'and passed');
select is(pg_temp.told(pg_temp.hold('rbt', 'month', '2027-01-13', 12)), 'day 12 8, month 12 8', 'all limits that are too small are told');
select is(pg_temp.told(pg_temp.hold('rbt', 'month', '2027-02-17', 8)), 'ok', 'another month');
select is(pg_temp.told(pg_temp.hold('rbt', 'month', '2027-02-18', 8)), 'ok', 'is full too');
select is(pg_temp.told(pg_temp.hold('rbt', 'month', '2027-03-09', 10)), 'total 10 6, day 10 8', 'and then the authorization');
-- A series counts itself
select pg_temp.client('series');
select pg_temp.limit(pg_temp.authorize('series', '{97153}', 300, '2027-01-01', '2027-06-30'), '{97153}', 'client', 'week', 20);
select is(pg_temp.told(pg_temp.hold('rbt2', 'series', '2027-04-05', 8, extra => jsonb_build_object('occurrences', (
  select jsonb_agg(tests.occurrence(pg_temp.on_day('2027-04-05'::date + day), 120)) from unnest(array[0, 1, 2, 7, 8]) as day)))),
  'week 8 4', 'the third day of a week is one too many, the next week begins anew');
select is(
  (select count(*) from jsonb_array_elements(tests.call('admin', format('select public.preview_series(%L)',
    jsonb_build_object('therapist_id', tests.id('rbt2'), 'client_id', tests.id('series'), 'cpt_code', '97153') || tests.occurrence(pg_temp.on_day('2027-04-05'), 120)
    || jsonb_build_object('occurrences', (select jsonb_agg(tests.occurrence(pg_temp.on_day('2027-04-05'::date + day), 120)) from unnest(array[0, 1, 2, 7, 8]) as day))))
    -> 'occurrences') as each where each ->> 'blockedBy' = 'authorization'), 1::bigint, 'a preview says so');

-- Per pair, per therapist
select pg_temp.client('pair');
select pg_temp.limit(pg_temp.authorize('pair', '{97153}', 300, '2027-01-01', '2027-06-30'), '{97153}', 'client_and_therapist', 'day', 4);
select is(pg_temp.told(pg_temp.hold('rbt', 'pair', '2027-05-03', 4)), 'ok', 'a limit for each pair');
select is(pg_temp.told(pg_temp.hold('rbt', 'pair', '2027-05-03', 1, clock => '15:00')), 'day 1 0', 'of client and therapist');
select is(pg_temp.told(pg_temp.hold('rbt2', 'pair', '2027-05-03', 4, clock => '15:00')), 'ok', 'leaves another therapist theirs');
insert into public.client_coverages (organization_id, client_id, payer_id, valid_from) values (tests.id('clinic'), tests.id('ann'), tests.id('open'), '2020-01-01'), (tests.id('clinic'), tests.id('ben'), tests.id('open'), '2020-01-01');
insert into public.unit_limits (organization_id, payer_id, cpt_codes, per, period, max_units) values (tests.id('clinic'), tests.id('open'), '{97153}', 'therapist', 'day', 20);
select is(pg_temp.told(pg_temp.hold('rbt', 'ann', '2027-05-10', 16)), 'ok', 'a payer may limit a therapist''s day');
select is(pg_temp.told(pg_temp.hold('rbt', 'ben', '2027-05-10', 8, clock => '15:00')), 'day 8 4', 'with all clients together');
select is(pg_temp.told(pg_temp.hold('rbt2', 'ben', '2027-05-10', 8, clock => '15:00')), 'ok', 'not another''s');
insert into story select 'ann', to_jsonb(tests.book('admin', 'rbt', 'ann', pg_temp.on_day('2027-05-11'), 240));
select is(
  tests.error_code('service_role', format(
    'insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code) values (%L, %L, %L, %L, %L, %L, %L)',
    tests.id('clinic'), tests.id('rbt'), tests.id('ben'), pg_temp.on_day('2027-05-11', '15:00'), pg_temp.on_day('2027-05-11', '17:00'), 'America/Los_Angeles', '97153')),
  '23514', 'nor may who writes directly');
insert into story select 'ben', to_jsonb(tests.book('admin', 'rbt2', 'ben', pg_temp.on_day('2027-05-11', '15:00'), 120));
select is(
  tests.error_code('service_role', format('update public.sessions set therapist_id = %L where id = %L', tests.id('rbt'), answer #>> '{}')),
  '23514', 'nor hand a session over') from story where name = 'ben';

-- Warnings
insert into public.unit_limits (organization_id, payer_id, cpt_codes, period, max_units, effect) values (tests.id('clinic'), tests.id('open'), '{97153,97154}', 'week', 40, 'warn');
insert into story values ('reached', pg_temp.hold('rbt2', 'ann', '2027-05-12', 8));
select is(answer #> '{body,warnings}', null, 'a limit that warns is silent when it is just reached') from story where name = 'reached';
insert into story values ('by one', pg_temp.hold('rbt2', 'ann', '2027-05-13', 1));
select is((answer #> '{body,warnings,0}') - 'date'::text, '{"code": "UNIT_LIMIT_EXCEEDED", "cptCode": "97153", "limit": "week", "units": 41, "maxUnits": 40}', 'and speaks when it is passed by one') from story where name = 'by one';
insert into story values ('passed', pg_temp.hold('rbt2', 'ann', '2027-05-14', 2, extra => jsonb_build_object('occurrences', jsonb_build_array(
  tests.occurrence(pg_temp.on_day('2027-05-14'), 30), tests.occurrence(pg_temp.on_day('2027-05-15'), 45)))));
select is(
  answer #> '{body,warnings}', jsonb_build_array(jsonb_build_object('code', 'UNIT_LIMIT_EXCEEDED', 'cptCode', '97153',
    'date', date '2027-05-15' + pg_temp.later(), 'limit', 'week', 'units', 46, 'maxUnits', 40)),
  'and says, once for each period, how far it is passed') from story where name = 'passed';

-- What cannot be entered
select is(tests.error_code('admin', format(
  'insert into public.unit_limits (organization_id, authorization_id, cpt_codes, period, max_units) values (%L, %L, %L, %L, 5)',
  tests.id('clinic'), (select answer #>> '{}' from story where name = 'month'), '{97153,97155}', 'week')), '23514', 'a limit is of codes that its authorization has');
select is(tests.error_code('super', format(
  'insert into public.unit_limits (organization_id, payer_id, cpt_codes, period, max_units) values (%L, %L, %L, %L, 5)',
  tests.id('clinic'), tests.id('open'), '{00000}', 'week')), '23514', 'or, a payer''s, of codes that are known');
select is(tests.error_code('super', format(
  'insert into public.unit_limits (organization_id, payer_id, cpt_codes, period, max_units) values (%L, %L, %L, %L, 5)',
  tests.id('clinic'), tests.id('open'), '{97153}', 'authorization')), '23514', 'all of an authorization is no period of a payer');
select is(tests.error_code('admin', format(
  'insert into public.unit_limits (organization_id, payer_id, cpt_codes, period, max_units) values (%L, %L, %L, %L, 5)',
  tests.id('clinic'), tests.id('open'), '{97153}', 'week')), '42501', 'a payer''s limits are a super_admin''s to enter');
select is(tests.error_code('admin', format(
  'update public.unit_limits set max_units = 0 where authorization_id = %L', (select answer #>> '{}' from story where name = 'month'))), '23514', 'a limit of nothing is none');
select is(tests.error_code('postgres', 'update public.unit_limits set cpt_codes = ''{97155}'''), '23514', 'and a limit stays of what it is');
select is(tests.error_code('admin', format(
  'insert into public.authorization_codes (organization_id, authorization_id, cpt_code) values (%L, %L, %L)',
  tests.id('clinic'), (select answer #>> '{}' from story where name = 'month'), '00000')), '23503', 'nobody authorizes a code that is unknown');
select is((select count(*) from audit.events where action = 'authorization.code_added' and organization_id = tests.id('clinic')), 13::bigint, 'each code is in the audit');

-- What ran out, what moves, and the last day of a limit
select pg_temp.client('busy');
insert into story values ('busy', to_jsonb(pg_temp.authorize('busy', '{97153}', 5000, '2027-01-01', '2027-06-30')));
select pg_temp.limit((answer #>> '{}')::uuid, '{97153}', 'client', 'week', 16) from story where name = 'busy';
insert into story values ('ran out', pg_temp.hold('rbt', 'busy', '2027-04-05', 16, clock => '13:00'));
select tests.expire(answer) from story where name = 'ran out';
insert into story values ('stands', pg_temp.hold('rbt', 'busy', '2027-04-06', 8, clock => '13:00'));
select is(pg_temp.told(answer), 'ok', 'what a hold that ran out had can be had again') from story where name = 'stands';
insert into story select 'moving', tests.confirm('admin', tests.confirmation(answer, 'rbt', 'busy')) from story where name = 'stands';
select is(pg_temp.told(pg_temp.hold('rbt', 'busy', '2027-04-07', 8, clock => '13:00', extra => jsonb_build_object('session_id', answer #> '{body,session,id}'))), 'ok', 'while a session moves within a week')
from story where name = 'moving';
select is(pg_temp.told(pg_temp.hold('rbt', 'busy', '2027-04-08', 9, clock => '13:00')), 'week 9 8', 'it counts once');
select is(pg_temp.told(pg_temp.hold('rbt', 'busy', '2027-04-08', 8, clock => '13:00')), 'ok', 'and the rest of the week can be had');
update public.unit_limits set valid_to = date '2027-04-09' + pg_temp.later() where authorization_id = (select (answer #>> '{}')::uuid from story where name = 'busy');
select is(pg_temp.told(pg_temp.hold('rbt', 'busy', '2027-04-09', 1, clock => '13:00')), 'week 1 0', 'on its last day a limit holds');
select is(pg_temp.told(pg_temp.hold('rbt', 'busy', '2027-04-10', 1, clock => '13:00')), 'ok', 'on the day after it does not');

-- A full limit, and its first day
select pg_temp.client('full');
select pg_temp.limit(pg_temp.authorize('full', '{97153}', 5000, '2027-01-01', '2027-06-30'), '{97153}', 'client', 'day', 8);
insert into story select 'full', tests.confirm('admin', tests.confirmation(held, 'rbt2', 'full')) from pg_temp.hold('rbt2', 'full', '2027-06-01', 8) as held;
select is(pg_temp.told(pg_temp.hold('rbt2', 'full', '2027-06-01', 8, clock => '14:00', extra => jsonb_build_object('session_id', answer #> '{body,session,id}'))), 'ok',
  'a session moves within the day that it fills') from story where name = 'full';
update public.unit_limits set valid_from = date '2027-06-03' + pg_temp.later() where authorization_id = (select id from public.authorizations where client_id = tests.id('full'));
select is(pg_temp.told(pg_temp.hold('rbt2', 'full', '2027-06-02', 9)), 'ok', 'on the day before its first a limit does not hold');
select is(pg_temp.told(pg_temp.hold('rbt2', 'full', '2027-06-03', 9)), 'day 9 8', 'on its first day it does');

-- A whole authorization that moves in one hold
select pg_temp.client('whole');
select pg_temp.authorize('whole', '{97153}', 8, '2027-01-01', '2027-06-30');
insert into story select 'whole', tests.confirm('admin', tests.confirmation(held, 'rbt2', 'whole'))
from pg_temp.hold('rbt2', 'whole', '2027-06-07', 4, extra => jsonb_build_object('occurrences', jsonb_build_array(
  tests.occurrence(pg_temp.on_day('2027-06-07')), tests.occurrence(pg_temp.on_day('2027-06-08'))))) as held;
select is(pg_temp.told(pg_temp.hold('rbt2', 'whole', '2027-06-07', 4, clock => '14:00', extra => jsonb_build_object('occurrences', (
    select jsonb_agg(tests.occurrence(start_time + interval '4 hours', extra => jsonb_build_object('session_id', id)) order by start_time)
    from public.sessions where client_id = tests.id('whole'))))), 'ok', 'two sessions that have all of an authorization move in one hold');

-- Whose payer it is, and whose limit is the less
select pg_temp.client('second'), tests.cover('second', 'silent', 1), tests.cover('second', 'strict', 2), pg_temp.authorize('second', '{97153}', 20, '2027-01-01', '2027-06-30');
update public.authorizations set payer_id = tests.id('strict') where client_id = tests.id('second');
select is(pg_temp.told(pg_temp.hold('rbt2', 'second', '2027-06-09', 8)), 'ok', 'the payer who pays second has authorized it');
select is(pg_temp.taken('second'), '2027-06-30/0/0/8/12', 'and their units are drawn');
insert into public.unit_limits (organization_id, id, payer_id, cpt_codes, period, max_units) values (tests.id('clinic'), tests.id('of silent'), tests.id('silent'), '{97153}', 'day', 10);
select pg_temp.limit((select id from public.authorizations where client_id = tests.id('second')), '{97153}', 'client', 'day', 6);
select is(pg_temp.told(pg_temp.hold('rbt2', 'second', '2027-06-10', 11)), 'day 11 6', 'of a limit of the payer and one of the authorization the less is left');
update public.unit_limits set max_units = 4 where id = tests.id('of silent');
select is(pg_temp.told(pg_temp.hold('rbt2', 'second', '2027-06-09', 2, clock => '15:00')), 'day 2 0', 'less than nothing is nothing');
select pg_temp.client('warned');
select pg_temp.limit(pg_temp.authorize('warned', '{97153}', 50, '2027-01-01', '2027-06-30'), '{97153}', 'client', 'day', 8, effect => 'warn');
insert into story values ('warned', pg_temp.hold('rbt2', 'warned', '2027-06-11', 9));
select is(pg_temp.told(answer) || ' ' || (answer #>> '{body,warnings,0,code}'), 'ok UNIT_LIMIT_EXCEEDED', 'a limit of an authorization that warns keeps nothing back')
from story where name = 'warned';

-- Units of another length
select pg_temp.client('own');
insert into public.service_codes (organization_id, code, description, levels, unit_minutes, valid_from)
values (tests.id('clinic'), 'H2019', 'Own service', '{technician,assistant,qhp}', 30, '2020-01-01');
select pg_temp.authorize('own', '{H2019}', 3, '2027-01-01', '2027-06-30');
select is(pg_temp.told(pg_temp.hold('rbt', 'own', '2027-04-12', 8, 'H2019')), 'total 4 3', 'two hours of half-hour units are four');
select is(pg_temp.told(pg_temp.hold('rbt', 'own', '2027-04-12', 6, 'H2019')), 'ok', 'an hour and a half is three');

-- Whose limit it is, and of what, never changes.
insert into public.unit_limits (organization_id, id, payer_id, cpt_codes, period, max_units) values (tests.id('clinic'), tests.id('kept'), tests.id('open'), '{97153}', 'week', 40);
select is(tests.error_code('service_role', format('update public.unit_limits set %s where id = %L', change, tests.id('kept'))), '23514', format('nobody writes %s', change))
from unnest(array['cpt_codes = ''{97155}''', 'per = ''therapist''', 'period = ''month''', format('payer_id = %L', tests.id('strict')), 'id = gen_random_uuid()']) as change;

select * from finish();
rollback;
