-- Whatever the units of a booking depend on, one change of it counts them anew: each column that decides, alone. Every
-- change is tried and undone. It has to change something, and to leave what a fresh count of everything would find.
begin;
select plan(30);
select tests.open_clinic();
select tests.add_payers();

-- The rules of ann's payer last until a day on which a session is at eight in the evening: that is the next day in UTC. The
-- rule of ben's payer begins on a day on which a session is at eight in the morning in Auckland: the day before in UTC.
create function pg_temp.day(further integer default 0) returns date language sql stable as $$
  select (now() at time zone 'America/Los_Angeles')::date + 50 + further
$$;
create function pg_temp.instant(clock time, further integer default 0, zone text default 'America/Los_Angeles') returns timestamptz language sql stable as $$
  select (pg_temp.day(further) + clock) at time zone zone
$$;
update public.clients set time_zone = 'Pacific/Auckland' where id = tests.id('ben');
insert into public.client_coverages (organization_id, id, client_id, payer_id, priority, valid_from)
values
  (tests.id('clinic'), tests.id('coverage'), tests.id('ann'), tests.id('open'), 1, '2020-01-01'),
  (tests.id('clinic'), gen_random_uuid(), tests.id('ann'), tests.id('strict'), 2, '2020-01-01'),
  (tests.id('clinic'), gen_random_uuid(), tests.id('ben'), tests.id('silent'), 1, '2020-01-01');
insert into public.payer_rules (organization_id, id, payer_id, rounding, valid_from, valid_to)
values
  (tests.id('clinic'), tests.id('rule'), tests.id('open'), 'ceil', '2020-01-01', pg_temp.day(2)),
  (tests.id('clinic'), gen_random_uuid(), tests.id('strict'), 'floor', '2020-01-01', null),
  (tests.id('clinic'), tests.id('rule of ben'), tests.id('silent'), 'ceil', pg_temp.day(), null);
insert into public.payer_code_rules (organization_id, id, payer_id, cpt_code, rounding, valid_from, valid_to)
values (tests.id('clinic'), tests.id('code rule'), tests.id('open'), '97155', 'floor', '2020-01-01', pg_temp.day(2));
insert into public.authorizations (organization_id, id, client_id, payer_id, approved_units, starts_on, ends_on)
select tests.id('clinic'), tests.id(name), tests.id('ann'), tests.id('open'), 40, starts_on, ends_on
from (values
  ('now', pg_temp.day(-90), pg_temp.day(30)), ('before', pg_temp.day(-90), pg_temp.day(-1)), ('after', pg_temp.day(1), pg_temp.day(20))
) as approval (name, starts_on, ends_on);
insert into public.authorization_codes (organization_id, authorization_id, cpt_code)
select tests.id('clinic'), tests.id(named.name), named.code
from (values ('now', '97153'), ('before', '97153'), ('after', '97153')) as named (name, code);

create function pg_temp.session(name text, client text, therapist text, starts timestamptz, minutes integer, code text default '97153')
returns void language sql as $$
  insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code)
  values (tests.id('clinic'), tests.id(name), tests.id(therapist), tests.id(client), starts,
    starts + make_interval(mins => minutes), 'America/Los_Angeles', code)
$$;
select pg_temp.session('morning', 'ann', 'rbt', pg_temp.instant('10:00'), 50),
  pg_temp.session('evening', 'ann', 'rbt', pg_temp.instant('20:00', 2), 50),
  pg_temp.session('guided', 'ann', 'bcba', pg_temp.instant('14:00'), 50, '97155'),
  pg_temp.session('abroad', 'ben', 'rbt', pg_temp.instant('08:00', 0, 'Pacific/Auckland'), 50);
select is(
  tests.hold('admin', tests.request('rbt2', 'ann', pg_temp.instant('17:00'), 50, '{"cpt_code": "97153"}')) ->> 'ok', 'true',
  'a hold of its own'
);
select is(
  tests.hold('admin', tests.request('rbt', 'ann', pg_temp.instant('10:00', 3), 110,
    jsonb_build_object('session_id', tests.id('morning')))) ->> 'ok',
  'true', 'and a move to a day that the first rule does not reach'
);

-- The ledger, without the order in which it was written.
create function pg_temp.ledger() returns text language sql as $$
  select string_agg(concat_ws(' ', entry.owner_id, entry.part, entry.payer_id, entry.cpt_code, entry.service_date,
    entry.authorization_id, entry.needs_authorization, entry.total_units, entry.units, entry.state), E'\n'
    order by entry.owner_id, entry.part)
  from public.authorization_units as entry
  where entry.organization_id = tests.id('clinic')
$$;
create function pg_temp.counted_anew() returns text language plpgsql as $$
declare
  former constant text := private.enter_booking();
begin
  perform private.recount_units(tests.id('clinic'), client_id, true)
  from unnest(array[tests.id('ann'), tests.id('ben')]) as client_id;
  perform private.leave_booking(null, former);
  return pg_temp.ledger();
end
$$;
create function pg_temp.after(change text) returns text language plpgsql as $$
declare
  before constant text := pg_temp.ledger();
  found text;
  former text;
begin
  execute change;
  found := case when pg_temp.ledger() = before then 'nothing is counted anew' else 'counted anew' end;
  former := pg_temp.ledger();
  if pg_temp.counted_anew() <> former then
    found := 'counted otherwise';
  end if;
  raise exception sqlstate 'PTEND' using message = found;
exception
  when sqlstate 'PTEND' then
    return found;
end
$$;
create function pg_temp.follows(name text, change text) returns text language sql as $$
  select is(pg_temp.after(change), 'counted anew', name)
$$;

select is(pg_temp.ledger(), pg_temp.counted_anew(), 'what was booked and held is what a fresh count finds');

-- An authorization
select pg_temp.follows('an authorization that ends before',
  format('update public.authorizations set ends_on = %L where id = %L', pg_temp.day(-1), tests.id('now')));
select pg_temp.follows('an authorization that lasts longer',
  format('update public.authorizations set ends_on = %L where id = %L', pg_temp.day(1), tests.id('before')));
select pg_temp.follows('an authorization that begins later',
  format('update public.authorizations set starts_on = %L where id = %L', pg_temp.day(1), tests.id('now')));
select pg_temp.follows('an authorization that begins earlier',
  format('update public.authorizations set starts_on = %L where id = %L', pg_temp.day(-1), tests.id('after')));
select pg_temp.follows('an authorization of a payer who does not cover the client',
  format('update public.authorizations set payer_id = %L where id = %L', tests.id('silent'), tests.id('now')));
select pg_temp.follows('an authorization of fewer units',
  format('update public.authorizations set approved_units = 6 where id = %L', tests.id('now')));
select pg_temp.follows('an authorization that gets a code',
  format('insert into public.authorization_codes (organization_id, authorization_id, cpt_code) values (%L, %L, ''97155'')',
    tests.id('clinic'), tests.id('now')));

-- A coverage
select pg_temp.follows('a coverage that ends before',
  format('update public.client_coverages set valid_to = %L where id = %L', pg_temp.day(-1), tests.id('coverage')));
select pg_temp.follows('a coverage that begins later',
  format('update public.client_coverages set valid_from = %L where id = %L', pg_temp.day(1), tests.id('coverage')));
select pg_temp.follows('a coverage that pays after another',
  format('update public.client_coverages set priority = 3 where id = %L', tests.id('coverage')));
select pg_temp.follows('a coverage of another payer',
  format('update public.client_coverages set payer_id = %L where id = %L', tests.id('silent'), tests.id('coverage')));

-- A payer's rule
select pg_temp.follows('a rule that rounds otherwise',
  format('update public.payer_rules set rounding = ''floor'' where id = %L', tests.id('rule')));
select pg_temp.follows('a rule that ends before',
  format('update public.payer_rules set valid_to = %L where id = %L', pg_temp.day(-1), tests.id('rule')));
select pg_temp.follows('a rule that lasts longer',
  format('update public.payer_rules set valid_to = %L where id = %L', pg_temp.day(3), tests.id('rule')));
select pg_temp.follows('a rule that begins later',
  format('update public.payer_rules set valid_from = %L where id = %L', pg_temp.day(1), tests.id('rule')));
select pg_temp.follows('a rule that wants an authorization',
  format('update public.payer_rules set authorization_required = true where id = %L', tests.id('rule')));
select pg_temp.follows('a rule whose first day is in Auckland the day before in UTC',
  format('update public.payer_rules set rounding = ''floor'' where id = %L', tests.id('rule of ben')));

-- A payer's rule for a code
select pg_temp.follows('a rule for a code that rounds otherwise',
  format('update public.payer_code_rules set rounding = ''ceil'' where id = %L', tests.id('code rule')));
select pg_temp.follows('a rule for a code that is not paid for',
  format('update public.payer_code_rules set is_covered = false where id = %L', tests.id('code rule')));
select pg_temp.follows('a rule for a code that wants an authorization',
  format('update public.payer_code_rules set authorization_required = true where id = %L', tests.id('code rule')));
select pg_temp.follows('a rule that is for another code',
  format('update public.payer_code_rules set cpt_code = ''97153'' where id = %L', tests.id('code rule')));
select pg_temp.follows('a rule for a code that ends before',
  format('update public.payer_code_rules set valid_to = %L where id = %L', pg_temp.day(-1), tests.id('code rule')));
select pg_temp.follows('a rule for a code that begins later',
  format('update public.payer_code_rules set valid_from = %L where id = %L', pg_temp.day(1), tests.id('code rule')));

-- Zones
select pg_temp.follows('another zone of the client',
  format('update public.clients set time_zone = ''America/Los_Angeles'' where id = %L', tests.id('ben')));
select pg_temp.follows('another zone of the clinic',
  'update public.organizations set time_zone = ''Pacific/Auckland'' where id = ' || quote_literal(tests.id('clinic')));

-- A hold that has run out, and that nobody has swept
select tests.authorize('cat', '97153', 8);
create temporary table held as select tests.hold('admin', tests.request('rbt2', 'cat', tests.at(20), 120, '{"cpt_code": "97153"}')) as outcome;
select tests.expire((select outcome from held));
select is(
  tests.hold('admin', tests.request('rbt2', 'cat', tests.at(21), 120, '{"cpt_code": "97153"}')) ->> 'ok', 'true',
  'what a hold that ran out had is held by another'
);
update public.authorizations set ends_on = ends_on + 1 where client_id = tests.id('cat');
select is(tests.balance('cat'), '0/0/8/0', 'and stays theirs when everything is counted anew');

select * from finish();
rollback;
