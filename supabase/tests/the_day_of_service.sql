-- The day of service is the local day of the start in the clinic's zone, or the client's own, whatever zone the caller names;
-- and only an authorization of a payer who covers that day counts.
begin;
select plan(25);
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

select * from finish();
rollback;
