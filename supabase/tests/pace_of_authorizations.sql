-- How far an authorization is used, beside an even pace; when it runs out at the pace of the last four weeks; and alerts 60,
-- 30 and 14 days before it ends or runs out.
begin;
select plan(10);
select tests.open_clinic();
select tests.add_payers();
create temporary table today on commit drop as select private.service_date(tests.id('clinic'), null, now()) as date;
grant select on today to public;

alter table public.authorizations disable trigger user;
alter table public.authorization_codes disable trigger user;
alter table public.authorization_units disable trigger user;
create function pg_temp.authorize(code text, units integer, from_days integer, to_days integer) returns void language sql as $$
  insert into public.authorizations (organization_id, id, client_id, payer_id, approved_units, starts_on, ends_on)
  select tests.id('clinic'), tests.id(code), tests.id('ann'), tests.id('open'), units, today.date + from_days, today.date + to_days
  from today;
  insert into public.authorization_codes (organization_id, authorization_id, cpt_code) values (tests.id('clinic'), tests.id(code), code)
$$;
create function pg_temp.use(code text, days_ago integer, units integer) returns void language sql as $$
  insert into public.authorization_units (
    organization_id, owner_id, client_id, therapist_id, cpt_code, service_date, authorization_id, total_units, units, state
  )
  select tests.id('clinic'), gen_random_uuid(), tests.id('ann'), tests.id('rbt'), code, today.date - days_ago, tests.id(code), units, units, 'used'
  from today
$$;
create function pg_temp.pace(code text) returns text language sql as $$
  select tests.call('admin', format(
    $see$select to_jsonb(concat_ws(' ', used_units, expected_units, weekly_units, coalesce((runs_out_on - today.date)::text, '-'), days_to_end,
      coalesce(alert_days::text, '-')))
    from reports.authorization_pace, today where %L = any (cpt_codes)$see$, code)) #>> '{}'
$$;

-- 100 days, 49 of them over with today: used, expected, a week, runs out in, ends in, alert
select pg_temp.authorize('97153', 400, -48, 51);
select is(pg_temp.pace('97153'), '0 196 0.0 - 51 60', 'unused: half of it should be used; it ends in less than 60 days');
select pg_temp.use('97153', days_ago, 10) from unnest(array[0, 7, 14, 27]) as days_ago;
select is(pg_temp.pace('97153'), '40 196 10.0 - 51 60', '10 a week last beyond its end');
select pg_temp.use('97153', 28, 200);
select is(pg_temp.pace('97153'), '240 196 10.0 - 51 60', 'what is older than four weeks is used, but is not the pace');
select pg_temp.use('97153', 1, 120);
select is(pg_temp.pace('97153'), '360 196 40.0 7 51 14', 'at 40 a week the last 40 last 7 days');
select pg_temp.use('97153', 1, 40);
select is(pg_temp.pace('97153'), '400 196 50.0 0 51 14', 'used up is used up today');
select pg_temp.authorize('97155', 90, 0, 89);
select is(pg_temp.pace('97155'), '0 1 0.0 - 89 -', 'one that begins today is a day old, and far from its end');
select pg_temp.authorize('97151', 32, -180, -1);
select is(pg_temp.pace('97151'), null, 'one that has ended is no longer listed');
select pg_temp.authorize('97156', 10, -10, 30);
select is(pg_temp.pace('97156'), '0 3 0.0 - 30 30', 'thirty days before its end the second alert begins');
select pg_temp.authorize('97154', 100, -13, 76);
select pg_temp.use('97154', days_ago, 20) from unnest(array[2, 9]) as days_ago;
select is(pg_temp.pace('97154'), '40 16 20.0 21 76 30', 'two weeks after its begin, 20 units a week are what the two weeks used');
select pg_temp.authorize('97157', 80, -1, 58);
select pg_temp.use('97157', 0, 8);
select is(pg_temp.pace('97157'), '8 3 8.0 - 58 60', 'a first visit is the first week''s');

select * from finish();
rollback;
