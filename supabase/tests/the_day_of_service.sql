-- The day of service is the local day of the start in the clinic's zone, or the client's own, whatever zone the caller names;
-- and only an authorization of a payer who covers that day counts.
begin;
select plan(44);
select tests.open_clinic();
select tests.add_payers();

-- The clinic is in Los Angeles. The authorization lasts from day 10 to day 20 there.
create function pg_temp.la(day integer, clock text) returns timestamptz language sql stable as $$
  select (tests.at(day)::date + clock::time) at time zone 'America/Los_Angeles' $$;
create function pg_temp.ask(client text, starts timestamptz, zone text, code text default '97153') returns text language plpgsql as $$
declare
  answer jsonb := tests.hold('admin', jsonb_build_object('therapist_id', tests.id('rbt'), 'client_id', tests.id(client), 'cpt_code', code)
    || tests.occurrence(starts, 30, zone));
begin
  if answer ->> 'ok' = 'true' then perform tests.release('admin', answer #>> '{body,holdKey}'); end if;
  return coalesce(answer #>> '{shortages,0,limit}', answer ->> 'code', 'held');
end $$;
select tests.cover('ann', 'open');
select tests.authorize('ann', '{97153}', 100, tests.at(10)::date, tests.at(20)::date);
select is(pg_temp.ask('ann', pg_temp.la(day, clock), zone), told, format('day %s at %s in Los Angeles, asked in %s: %s', day, clock, zone, told))
from (values (9, '23:30', 'dates'), (10, '00:00', 'held'), (20, '17:00', 'held'), (20, '23:30', 'held'), (21, '00:00', 'dates')) as try (day, clock, told),
  unnest(array['UTC', 'Pacific/Kiritimati']) as zone;

-- Of a series each date has its own.
create function pg_temp.ask_series(starts timestamptz[]) returns text language plpgsql as $$
declare
  answer jsonb := tests.hold('admin', tests.series('rbt', 'ann', starts, 30, '{"cpt_code": "97153"}'));
begin
  if answer ->> 'ok' = 'true' then perform tests.release('admin', answer #>> '{body,holdKey}'); end if;
  return coalesce((select string_agg(concat_ws(' ', item ->> 'occurrenceIndex', item ->> 'limit', item ->> 'date'), ', ' order by item ->> 'occurrenceIndex')
    from jsonb_array_elements(answer -> 'shortages') as item), answer ->> 'code', 'held');
end $$;
select is(pg_temp.ask_series(array[pg_temp.la(10, '00:00'), pg_temp.la(20, '23:30')]), 'held', 'a series is held to the last evening');
select is(pg_temp.ask_series(array[pg_temp.la(9, '23:30'), pg_temp.la(10, '00:00'), pg_temp.la(21, '00:00')]),
  format('0 dates %s, 2 dates %s', tests.at(9)::date, tests.at(21)::date), 'and refused for the dates beside it, by the clinic''s days');

-- A client with a zone of their own.
select tests.cover('ben', 'open');
select tests.authorize('ben', '{97153}', 100, tests.at(10)::date, tests.at(20)::date);
update public.clients set time_zone = 'America/New_York' where id = tests.id('ben');
select is(pg_temp.ask('ben', starts, 'UTC'), told, 'in New York: ' || told || ' ' || (starts at time zone 'America/New_York')::time) from (values
  ((tests.at(21)::date + time '00:00') at time zone 'America/New_York', 'dates'), ((tests.at(20)::date + time '23:30') at time zone 'America/New_York', 'held'),
  ((tests.at(10)::date + time '00:00') at time zone 'America/New_York', 'held')) as try (starts, told);

-- Coverage moves from one payer to another, whose authorization there is not.
select tests.cover('cat', 'open');
update public.client_coverages set valid_to = tests.at(14)::date where client_id = tests.id('cat');
insert into public.client_coverages (organization_id, client_id, payer_id, priority, valid_from)
values (tests.id('clinic'), tests.id('cat'), tests.id('strict'), 1, tests.at(15)::date);
insert into public.payer_rules (organization_id, payer_id, authorization_required, valid_from) values (tests.id('clinic'), tests.id('strict'), true, '2020-01-01');
select tests.authorize('cat', '{97153}', 100, tests.at(0)::date, tests.at(60)::date);
select is(pg_temp.ask('cat', pg_temp.la(14, '23:30'), 'UTC'), 'held', 'the former payer''s authorization counts on the last day that they cover');
select is(pg_temp.ask('cat', pg_temp.la(15, '00:00'), 'UTC'), 'dates', 'and on no day after it, though it lasts');
insert into public.authorizations (organization_id, client_id, payer_id, approved_units, starts_on, ends_on)
values (tests.id('clinic'), tests.id('cat'), tests.id('strict'), 2, tests.at(0)::date, tests.at(60)::date);
insert into public.authorization_codes (organization_id, authorization_id, cpt_code)
select organization_id, id, '97153' from public.authorizations where payer_id = tests.id('strict');
select is(pg_temp.ask('cat', pg_temp.la(15, '00:00'), 'UTC'), 'held', 'until the new payer authorizes');
select is(pg_temp.ask('cat', pg_temp.la(14, '23:30'), 'UTC'), 'held', 'which changes nothing of the day before');
-- After the last coverage nobody pays.
update public.client_coverages set valid_to = tests.at(30)::date where client_id = tests.id('cat') and payer_id = tests.id('strict');
select is(pg_temp.ask('cat', pg_temp.la(30, '23:30'), 'UTC'), 'held', 'the last day of the last coverage');
select is(pg_temp.ask('cat', pg_temp.la(31, '00:00'), 'UTC'), 'coverage', 'then nobody pays');
-- Of two payers who cover the day, the second one's authorization counts as well.
select tests.cover('dan', 'strict', 1), tests.cover('dan', 'open', 2);
select is(pg_temp.ask('dan', pg_temp.la(15, '10:00'), 'UTC'), 'dates', 'the first payer asks for an authorization');
select tests.authorize('dan', '{97153}', 100, tests.at(10)::date, tests.at(20)::date);
select is(pg_temp.ask('dan', pg_temp.la(15, '10:00'), 'UTC'), 'held', 'and the second has given one');

-- A code is valid to its last day by the clinic's clocks, for each date of a series.
insert into public.service_codes (organization_id, code, description, levels, valid_from, valid_to)
values (tests.id('clinic'), 'H2020', 'Ends soon', '{technician,assistant,qhp}', '2020-01-01', tests.at(40)::date);
select is(tests.hold('admin', tests.series('rbt', 'ann', array[pg_temp.la(39, '23:30'), pg_temp.la(40, '23:30')], 30, '{"cpt_code": "H2020"}')) ->> 'ok', 'true', 'a series is held to the last evening of its code');
select is((tests.error('admin', format('select public.hold_sessions(%L)', tests.series('rbt', 'ann', array[pg_temp.la(40, '22:00'), pg_temp.la(41, '00:00')], 30, '{"cpt_code": "H2020"}')))
  ->> 'details')::jsonb #>> '{0,path}', 'occurrences.1', 'and not into the next day');

-- The zone of a client, or of the clinic, changes after something was booked: then its day is another one. Units, limits and
-- the payer are those of that day.
insert into public.clients (organization_id, id, reference) select tests.id('clinic'), tests.id(name), name from unnest(array['eve', 'fay']) as name;
select tests.cover(name, 'open'), tests.authorize(name, '{97153}', 100, tests.at(60)::date, tests.at(70)::date) from unnest(array['eve', 'fay']) as name;
create function pg_temp.entry(name text) returns text language sql as $$
  select string_agg(format('%s %s of %s', service_date - tests.at(70)::date, units, total_units), ', ' order by service_date, state)
  from public.authorization_units where client_id = tests.id(name) $$;
insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code)
select tests.id('clinic'), gen_random_uuid(), tests.id(therapist), tests.id(name), pg_temp.la(70, '22:00'), pg_temp.la(70, '23:00'), 'UTC', '97153'
from (values ('rbt', 'eve'), ('rbt2', 'fay')) as booked (therapist, name);
select tests.hold('admin', jsonb_build_object('therapist_id', tests.id('bcba'), 'client_id', tests.id('eve'), 'cpt_code', '97153') || tests.occurrence(pg_temp.la(70, '20:00'), 30, 'UTC'));
select is(pg_temp.entry(name), told, 'booked and held on the last day of the authorization: ' || name) from (values ('eve', '0 2 of 2, 0 4 of 4'), ('fay', '0 4 of 4')) as entry (name, told);
create function pg_temp.move_away(client text) returns text language sql as $$
  select format('update public.clients set time_zone = %L where id = %L', 'America/New_York', tests.id(client)) $$;
select is(tests.rows('rbt', pg_temp.move_away('eve')), 0::bigint, 'a therapist does not say where a client lives');
select is(tests.rows('admin', pg_temp.move_away('eve')), 1::bigint, 'an admin does');
select is(pg_temp.entry('eve'), '0 2 of 2, 1 0 of 4', 'where eve lives now, the session is of the day after it, and the hold still of the last one');
update public.organizations set time_zone = 'UTC' where id = tests.id('clinic');
select is(pg_temp.entry('fay'), '1 0 of 4', 'the clinic moves: so do the days of clients without a zone');
select is(pg_temp.entry('eve'), '0 2 of 2, 1 0 of 4', 'and of no others');
select is((select left_units from reports.authorization_balances where client_id = tests.id('fay')), 100, 'the authorization has its units back');
update public.organizations set time_zone = 'America/Los_Angeles' where id = tests.id('clinic');
update public.clients set time_zone = null where id = tests.id('eve');
select is(pg_temp.entry(name), told, 'and back: ' || name) from (values ('eve', '0 2 of 2, 0 4 of 4'), ('fay', '0 4 of 4')) as entry (name, told);
-- It may be said when the client is entered, in a name that the database knows.
select is(tests.error('admin', format('insert into public.clients (organization_id, id, reference, time_zone) values (%L, gen_random_uuid(), %L, %L)', tests.id('clinic'), 'far', 'Asia/Tokyo')),
  null, 'an admin enters a client with their zone');
select is(tests.error_code('admin', format('insert into public.clients (organization_id, id, reference, time_zone) values (%L, gen_random_uuid(), %L, %L)', tests.id('clinic'), 'nowhere', 'Mars/Olympus')),
  '23503', 'and not in a zone that there is not');
-- What is of the same day in both zones stays as it is, row by row.
insert into public.clients (organization_id, id, reference) values (tests.id('clinic'), tests.id('gus'), 'gus');
select tests.cover('gus', 'open'), tests.authorize('gus', '{97153}', 100, tests.at(60)::date, tests.at(70)::date);
insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code)
values (tests.id('clinic'), gen_random_uuid(), tests.id('bcba'), tests.id('gus'), pg_temp.la(69, '10:00'), pg_temp.la(69, '11:00'), 'UTC', '97153');
create temporary table entered on commit drop as select ctid as place, client_id from public.authorization_units where client_id in (tests.id('gus'), tests.id('fay'));
update public.organizations set time_zone = 'America/New_York' where id = tests.id('clinic');
select is((select ctid from public.authorization_units where client_id = tests.id('gus')), (select place from entered where client_id = tests.id('gus')),
  'the clinic moves: what keeps its day is not counted anew');
select is(pg_temp.entry('fay'), '1 0 of 4', 'what has another day is');
update public.organizations set time_zone = 'America/Los_Angeles' where id = tests.id('clinic');
-- Where a payer rounds by the day, visits that come to share a day are rounded together.
update public.payer_rules set rounding = 'midpoint_daily' where payer_id = tests.id('open');
insert into public.payer_rules (organization_id, payer_id, rounding, valid_from) select tests.id('clinic'), tests.id('open'), 'midpoint_daily', '2020-01-01'
where not exists (select from public.payer_rules where payer_id = tests.id('open'));
select tests.authorize('fay', '{97153}', 100, tests.at(-400)::date, tests.at(-300)::date);
insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code, location_type)
select tests.id('clinic'), gen_random_uuid(), tests.id('rbt'), tests.id('fay'), starts, starts + interval '23 minutes', 'UTC', '97153', 'home'
from (values (pg_temp.la(-350, '22:00')), (pg_temp.la(-349, '10:00'))) as visit (starts);
update public.sessions set status = status_ from unnest(array['in_progress', 'completed']::public.session_status[]) as status_ where client_id = tests.id('fay') and start_time < tests.at(-300) and status_ = 'in_progress';
select tests.record_visit(id, start_time, end_time) from public.sessions where client_id = tests.id('fay') and status = 'in_progress';
update public.sessions set status = 'completed' where client_id = tests.id('fay') and status = 'in_progress';
create function pg_temp.used() returns text language sql as $$
  select concat_ws(' ', (select sum(units) from public.authorization_units where client_id = tests.id('fay') and state = 'used'),
    (select sum(units) from reports.billable_visits where client_id = tests.id('fay')),
    (select sum(visit.units) from public.session_visits as visit join public.sessions as session on session.id = visit.session_id where session.client_id = tests.id('fay'))) $$;
select is(pg_temp.used(), '4 4 4', 'two visits of 23 minutes on two days are 2 and 2 units, in the ledger, on the bill and in their records');
update public.clients set time_zone = 'America/New_York' where id = tests.id('fay');
select is(pg_temp.used(), '3 3 3', 'on one day they are 3');

-- A client who has nothing but a hold, and one whose visit alone was near midnight.
insert into public.clients (organization_id, id, reference) select tests.id('clinic'), tests.id(name), name from unnest(array['hal', 'ida']) as name;
select tests.cover('hal', 'open'), tests.authorize('hal', '{97153}', 100, tests.at(60)::date, tests.at(70)::date);
select tests.hold('admin', jsonb_build_object('therapist_id', tests.id('bcba'), 'client_id', tests.id('hal'), 'cpt_code', '97153') || tests.occurrence(pg_temp.la(70, '22:00'), 60, 'UTC'));
select is(pg_temp.entry('hal'), '0 4 of 4', 'held on the last day of the authorization');
update public.clients set time_zone = 'America/New_York' where id = tests.id('hal');
select is(pg_temp.entry('hal'), '1 0 of 4', 'which is the next day where they live now');
select tests.cover('ida', 'open'), tests.authorize('ida', '{97153}', 100, tests.at(-400)::date, tests.at(-300)::date);
insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code, location_type)
values (tests.id('clinic'), tests.id('late visit'), tests.id('rbt'), tests.id('ida'), pg_temp.la(-360, '20:00'), pg_temp.la(-360, '20:30'), 'UTC', '97153', 'home');
update public.sessions set status = 'in_progress' where id = tests.id('late visit');
select tests.record_visit(tests.id('late visit'), pg_temp.la(-360, '22:00'), pg_temp.la(-360, '22:30'));
update public.sessions set status = 'completed' where id = tests.id('late visit');
create function pg_temp.visited() returns integer language sql as $$
  select service_date - (tests.at(-360) at time zone 'America/Los_Angeles')::date from public.authorization_units where owner_id = tests.id('late visit') $$;
create temporary table visited on commit drop as select pg_temp.visited() as day;
update public.clients set time_zone = 'America/New_York' where id = tests.id('ida');
select is(pg_temp.visited(), day + 1, 'a visit that was later than booked is of another day by itself') from visited;

select * from finish();
rollback;
