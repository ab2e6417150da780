-- Time that becomes free stays in the queue as long as anybody may want it: it is offered to the next when an offer is
-- declined or lapses, when a closure is withdrawn, when what was in the way is gone, and at the latest by the schedule.
begin;
select plan(73);
select tests.open_clinic();
insert into public.clients (organization_id, id, reference) select tests.id('clinic'), tests.id(name), name from unnest(array['eve', 'fay']) as name;
insert into public.caseloads (organization_id, therapist_id, client_id)
select tests.id('clinic'), tests.id(therapist), tests.id(client) from unnest(array['rbt', 'bcba']) as therapist, unnest(array['eve', 'fay']) as client;

-- Ids go down, so that it is not by them that whoever has waited longest is first.
create sequence pg_temp.waiting;
create function pg_temp.wait(client text, extra jsonb default '{}') returns void language sql as $$
  insert into public.waitlist_entries (organization_id, id, client_id, cpt_code, windows, therapist_id, minutes, created_at)
  values (tests.id('clinic'), format('%s-0000-4000-8000-000000000000', 99999999 - nextval('pg_temp.waiting'))::uuid, tests.id(client), '97153', tstzmultirange(tstzrange(now(), now() + interval '200 days')),
    (extra ->> 'therapist_id')::uuid, (extra ->> 'minutes')::smallint, clock_timestamp())
$$;
-- Which slots are offered to whom now: 'eve 1' is the slot of day 1.
create function pg_temp.offered() returns text language sql as $$
  select string_agg(format('%s %s', client.reference, hold.start_time::date - tests.at(0)::date), ', ' order by hold.start_time, client.reference)
  from public.waitlist_entries as entry
  join public.clients as client on client.id = entry.client_id
  join public.session_holds as hold on hold.batch_id = entry.offered_batch_id and hold.status = 'held'
  join public.hold_batches as batch on batch.id = hold.batch_id and batch.expires_at > clock_timestamp()
  where entry.organization_id = tests.id('clinic') and entry.state in ('offered', 'closed')
$$;
create function pg_temp.key_of(client text) returns text language sql as $$
  select batch.hold_key::text from public.waitlist_entries as entry join public.hold_batches as batch on batch.id = entry.offered_batch_id
  where entry.client_id = tests.id(client) and entry.state in ('offered', 'closed') order by entry.created_at desc limit 1
$$;
create function pg_temp.lapse(client text) returns void language sql as $$
  update public.hold_batches set expires_at = clock_timestamp() where hold_key = pg_temp.key_of(client)::uuid
$$;
create function pg_temp.queued() returns bigint language sql as $$
  select count(*) from private.freed_slots where organization_id = tests.id('clinic')
$$;
create function pg_temp.cancelled(day integer, therapist text default 'rbt') returns void language plpgsql as $$
begin
  perform tests.cancel('admin', jsonb_build_object('session_ids', array[tests.book('admin', therapist, 'ann', tests.at(day))]));
end $$;
-- What a schedule does.
create function pg_temp.sweep() returns void language plpgsql as $$
begin
  perform private.sweep_expired_holds();
  perform private.offer_all_freed_slots();
end $$;

-- Declined, lapsed, closed
select pg_temp.wait('eve'), pg_temp.wait('fay');
select pg_temp.cancelled(1), pg_temp.cancelled(2), pg_temp.cancelled(3);
select pg_temp.sweep();
select is(pg_temp.offered(), 'eve 1, fay 2', 'a schedule offers every slot, to everybody who waits, one each');
select is(pg_temp.queued(), 3::bigint, 'the slot that nobody can be asked for now stays in the queue');
select is(tests.call('admin', 'select public.offer_freed_slots()') -> 'pending', '0', 'asleep: there is nothing to do');
select is(tests.release('rbt', pg_temp.key_of('fay')) ->> 'freed', 'true', 'an offer that is let go leaves something to offer');
select pg_temp.sweep();
select is(pg_temp.offered(), 'eve 1, fay 3', 'the next slot goes to who let one go; eve has an offer, so the slot waits for them');
select pg_temp.lapse('eve');
select pg_temp.sweep();
select is(pg_temp.offered(), 'eve 2, fay 3', 'and is theirs when that lapses; what lapsed waits for fay, who has another');
update public.waitlist_entries set closed_at = now() where client_id = tests.id('fay');
select is((select state from public.waitlist_entries where client_id = tests.id('fay')), 'closed', 'an entry is closed while it has an offer');
select tests.release('rbt', pg_temp.key_of('fay'));
select pg_temp.lapse('eve');
select pg_temp.sweep();
select is(pg_temp.offered(), 'eve 3', 'its slot goes on to the next');
select is((select state from public.waitlist_entries where client_id = tests.id('fay')), 'closed', 'and the closed entry does not wait again');
select is(
  tests.confirm('rbt', tests.occurrence(tests.at(3)) || jsonb_build_object('hold_key', pg_temp.key_of('eve'), 'session', jsonb_build_object(
    'therapist_id', tests.id('rbt'), 'client_id', tests.id('eve'), 'start_time', tests.at(3), 'end_time', tests.at(3, '11:00')))) ->> 'ok',
  'true', 'the last offer is confirmed'
);
select results_eq(
  $$ select client.reference, entry.state, entry.closed_at is not null from public.waitlist_entries as entry join public.clients as client on client.id = entry.client_id
    where entry.organization_id = tests.id('clinic') order by 1 $$,
  $$ values ('eve', 'booked', true), ('fay', 'closed', true) $$, 'a booked entry is closed'
);
select is(pg_temp.queued(), 1::bigint, 'what is booked has left the queue');
select pg_temp.wait('eve');
select pg_temp.sweep();
select is(pg_temp.offered(), 'eve 1', 'who comes on the list later is offered what is still free');
select tests.release('rbt', pg_temp.key_of('eve'));
select pg_temp.sweep();
select is(pg_temp.queued(), 0::bigint, 'and what nobody is left for leaves it');

-- Closures, time off, hours
select tests.call('admin', format('select public.add_closure(%L)', jsonb_build_object(
  'name', 'Snow', 'start_time', tests.at(5, '00:00'), 'end_time', tests.at(6, '00:00'), 'cancel_sessions', true)))
from (select tests.book('admin', 'rbt', 'ann', tests.at(5))) as booked;
select pg_temp.sweep();
select is(pg_temp.offered(), null, 'what a closure frees is offered to nobody while the clinic is closed');
select is(tests.rows('admin', $$ delete from public.organization_closures where name = 'Snow' $$), 1::bigint, 'the closure is withdrawn');
select pg_temp.sweep();
select is(pg_temp.offered(), 'eve 5', 'then it is offered');
select tests.release('rbt', pg_temp.key_of('eve'));
insert into public.availability_exceptions (organization_id, therapist_id, kind, starts_at, ends_at)
values (tests.id('clinic'), tests.id('rbt'), 'time_off', tests.at(7, '00:00'), tests.at(8, '00:00'));
select pg_temp.cancelled(8);
do $$ begin perform tests.call('admin', 'select public.hold_sessions($q$' || (tests.request('rbt', 'ann', tests.at(7)) || '{"override": {"reason": "asked for"}}')::text || '$q$)'); end $$;
select tests.release('rbt', (select hold_key::text from public.hold_batches where override_reason is not null));
select pg_temp.sweep();
select is(pg_temp.offered(), 'eve 8', 'what lies in time off is passed over, what comes after it is not');
select tests.release('rbt', pg_temp.key_of('eve'));
delete from public.availability_exceptions where organization_id = tests.id('clinic');
select pg_temp.sweep();
select is(pg_temp.offered(), 'eve 7', 'and offered when the time off is withdrawn');

-- What is in the way for now
select tests.release('rbt', pg_temp.key_of('eve'));
create temporary table blocking on commit drop as select tests.hold('admin', tests.request('bcba', 'eve', tests.at(10))) as held;
select pg_temp.cancelled(10);
select pg_temp.sweep();
select is(pg_temp.offered(), null, 'who is held elsewhere then is not asked');
select is(tests.release('admin', held #>> '{body,holdKey}') ->> 'freed', 'true', 'the hold in the way is let go') from blocking;
select pg_temp.sweep();
select is(pg_temp.offered(), 'eve 10', 'then they are');

-- Moves, rooms
create function pg_temp.booked(therapist text, client text, day integer) returns uuid language sql as $$
  select (tests.confirm('admin', tests.confirmation(held, therapist, client)) #>> '{body,session,id}')::uuid
  from tests.hold('admin', tests.request(therapist, client, tests.at(day), 60, jsonb_build_object('room_id', tests.id('blue')))) as held
$$;
select pg_temp.wait('fay', jsonb_build_object('therapist_id', tests.id('rbt')));
create temporary table moved on commit drop as select pg_temp.booked('rbt', 'ann', 12) as id;
select tests.confirm('admin', tests.confirmation(held, 'rbt', 'ann') || jsonb_build_object('session',
  (tests.confirmation(held, 'rbt', 'ann') -> 'session') || jsonb_build_object('id', id))) ->> 'ok'
from moved, tests.hold('admin', tests.request('rbt', 'ann', tests.at(12, '10:30'), 60, jsonb_build_object('session_id', (select id from moved)))) as held;
select pg_temp.sweep();
select is(pg_temp.offered(), 'eve 10, fay 12', 'a move frees its old time');
select is((select upper(tstzrange(hold.start_time, hold.end_time)) from public.session_holds as hold where hold.batch_id in (select id from public.hold_batches where hold_key = pg_temp.key_of('fay')::uuid)),
  tests.at(12, '10:30'), 'as far as the move leaves it');
select tests.release('rbt', pg_temp.key_of('fay'));
create temporary table roomed on commit drop as select pg_temp.booked('rbt', 'ann', 14) as id;
select tests.cancel('admin', jsonb_build_object('session_ids', array[id])) from roomed;
select pg_temp.booked('bcba', 'ben', 14);
select pg_temp.sweep();
select is(pg_temp.offered(), 'eve 10, fay 14', 'a slot whose room is taken meanwhile is offered without it');
select is(pg_temp.queued(), (select count(*) from private.freed_slots where offered_batch_id is not null or is_asleep), 'what is not offered is asleep');
create temporary table elsewhere on commit drop as select pg_temp.booked('rbt', 'ann', 16) as id;
select tests.release('rbt', pg_temp.key_of('fay'));
select tests.cancel('admin', jsonb_build_object('session_ids', array[id])) from elsewhere;
update public.rooms set deleted_at = now() where id = tests.id('blue');
select pg_temp.sweep();
select is(pg_temp.offered(), 'eve 10, fay 16', 'so is one whose room has been archived');
select pg_temp.lapse('fay'), pg_temp.lapse('eve');
select is(private.sweep() ->> 'offers', '2', 'one call of the sweep reopens what has lapsed and offers it');
select is_empty('select * from tests.broken_claims()', 'and every offer claims what a hold claims');

-- What is offered is time that is to come, and the session's own: not the travel around it.
delete from private.freed_slots where organization_id = tests.id('clinic');
do $$ begin
  perform pg_temp.wait('eve');
  insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone)
  values (tests.id('clinic'), tests.id('begun'), tests.id('rbt2'), tests.id('ann'), now() - interval '10 minutes', now() + interval '50 minutes', 'UTC');
  insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, buffer_before_minutes, buffer_after_minutes)
  values (tests.id('clinic'), tests.id('far off'), tests.id('rbt2'), tests.id('ann'), tests.at(70), tests.at(70, '11:00'), 'UTC', 45, 30);
  perform tests.cancel('admin', jsonb_build_object('session_ids', array[tests.id('begun'), tests.id('far off')]));
end $$;
select is((select array_agg(tstzrange(start_time, end_time)) from private.freed_slots where organization_id = tests.id('clinic')),
  array[tstzrange(tests.at(70), tests.at(70, '11:00'))], 'a session that has begun frees nothing to offer, and travel is none');

-- What the payer would not have, and then does.
update public.waitlist_entries set closed_at = now() where organization_id = tests.id('clinic') and closed_at is null;
update public.hold_batches set expires_at = clock_timestamp() where organization_id = tests.id('clinic') and expires_at > clock_timestamp();
select pg_temp.sweep();
delete from private.freed_slots where organization_id = tests.id('clinic');
select tests.add_payers(), tests.cover('eve', 'strict');
insert into public.unit_limits (organization_id, id, payer_id, cpt_codes, period, max_units) values (tests.id('clinic'), tests.id('limit'), tests.id('strict'), '{97153}', 'day', 2);
select pg_temp.wait('eve');
select pg_temp.cancelled(80);
select pg_temp.sweep();
select is(pg_temp.offered(), null, 'a limit of a day keeps a slot from its entry');
update public.unit_limits set max_units = 8 where id = tests.id('limit');
select pg_temp.sweep();
select is(pg_temp.offered(), 'eve 80', 'until it is raised');
select tests.release('rbt', pg_temp.key_of('eve'));
insert into public.payer_code_rules (organization_id, id, payer_id, cpt_code, is_covered, valid_from) values (tests.id('clinic'), tests.id('rule'), tests.id('strict'), '97153', false, '2020-01-01');
select pg_temp.cancelled(81);
select pg_temp.sweep();
select is(pg_temp.offered(), null, 'a service that the payer does not pay for');
update public.payer_code_rules set is_covered = true where id = tests.id('rule');
select pg_temp.sweep();
select is(pg_temp.offered(), 'eve 81', 'is offered once they do');
select tests.release('rbt', pg_temp.key_of('eve'));
insert into public.payer_rules (organization_id, id, payer_id, authorization_required, valid_from) values (tests.id('clinic'), tests.id('terms'), tests.id('strict'), true, '2020-01-01');
select pg_temp.cancelled(82);
select pg_temp.sweep();
select is(pg_temp.offered(), null, 'one that needs an authorization');
insert into public.payer_code_rules (organization_id, payer_id, cpt_code, authorization_required, valid_from, valid_to)
select tests.id('clinic'), tests.id('strict'), '97152', false, '2020-01-01', '2020-12-31';
update public.payer_rules set authorization_required = false where id = tests.id('terms');
select pg_temp.sweep();
select is(pg_temp.offered(), 'eve 82', 'once it needs none');
select is_empty('select * from tests.broken_claims()', 'and every offer claims what a hold claims, still');

-- Whom nobody may serve for now: by level, by a code's days, by leaving.
update public.waitlist_entries set closed_at = now() where organization_id = tests.id('clinic') and closed_at is null;
update public.hold_batches set expires_at = clock_timestamp() where organization_id = tests.id('clinic') and expires_at > clock_timestamp();
select pg_temp.sweep();
delete from private.freed_slots where organization_id = tests.id('clinic');
insert into public.waitlist_entries (organization_id, client_id, cpt_code, windows)
values (tests.id('clinic'), tests.id('fay'), '97155', tstzmultirange(tstzrange(tests.at(83), tests.at(84))));
select pg_temp.cancelled(83);
select pg_temp.sweep();
select is(pg_temp.offered(), null, 'a professional''s service is not offered with a technician');
update public.therapists set credential = 'BCBA' where organization_id = tests.id('clinic') and id = tests.id('rbt');
select pg_temp.sweep();
select is(pg_temp.offered(), 'fay 83', 'until they are promoted');
select tests.release('rbt', pg_temp.key_of('fay'));
insert into public.service_codes (organization_id, code, description, levels, valid_from) values (tests.id('clinic'), 'H2019', 'Skills', '{technician}', '2020-01-01');
insert into public.waitlist_entries (organization_id, client_id, cpt_code, windows)
values (tests.id('clinic'), tests.id('eve'), 'H2019', tstzmultirange(tstzrange(tests.at(86), tests.at(87))));
select pg_temp.cancelled(86);
select pg_temp.sweep();
select is(pg_temp.offered(), null, 'nor a technician''s with a professional');
update public.service_codes set levels = '{technician,qhp}' where organization_id = tests.id('clinic') and code = 'H2019';
select pg_temp.sweep();
select is(pg_temp.offered(), 'eve 86', 'until the code says so');
select tests.release('rbt', pg_temp.key_of('eve'));
update public.clients set deleted_at = now() where organization_id = tests.id('clinic') and id = tests.id('fay');
insert into public.waitlist_entries (organization_id, client_id, cpt_code, windows)
values (tests.id('clinic'), tests.id('fay'), '97155', tstzmultirange(tstzrange(tests.at(87), tests.at(88))));
select pg_temp.cancelled(87);
select pg_temp.sweep();
select is(pg_temp.offered(), null, 'nobody is offered anything while they are archived');
update public.clients set deleted_at = null where organization_id = tests.id('clinic') and id = tests.id('fay');
select pg_temp.sweep();
select is(pg_temp.offered(), 'fay 87', 'but once they are back');
select tests.release('rbt', pg_temp.key_of('fay'));
update public.therapist_credentials set credential = 'RBT' where organization_id = tests.id('clinic') and therapist_id = tests.id('rbt');
insert into public.waitlist_entries (organization_id, client_id, cpt_code, windows)
values (tests.id('clinic'), tests.id('eve'), '97155', tstzmultirange(tstzrange(tests.at(88), tests.at(89))));
select pg_temp.cancelled(88);
select pg_temp.sweep();
select is(pg_temp.offered(), null, 'nor while their level of the day is entered wrong');
update public.therapist_credentials set credential = 'BCBA' where organization_id = tests.id('clinic') and therapist_id = tests.id('rbt');
select pg_temp.sweep();
select is(pg_temp.offered(), 'eve 88', 'but once it is corrected');
select is_empty('select * from tests.broken_claims()', 'soundly');
update public.therapists set credential = 'RBT' where organization_id = tests.id('clinic') and id = tests.id('rbt');

-- Whose window begins inside a slot has the part of it that suits; what is left before and after goes on.
update public.waitlist_entries set closed_at = now() where organization_id = tests.id('clinic') and closed_at is null;
update public.hold_batches set expires_at = clock_timestamp() where organization_id = tests.id('clinic') and expires_at > clock_timestamp();
select pg_temp.sweep();
delete from private.freed_slots where organization_id = tests.id('clinic');
insert into public.waitlist_entries (organization_id, client_id, cpt_code, windows, minutes)
values (tests.id('clinic'), tests.id('fay'), '97153', tstzmultirange(tstzrange(tests.at(90, '10:30'), tests.at(90, '11:45')), tstzrange(tests.at(91, '10:30'), tests.at(91, '12:00'))), 60),
  (tests.id('clinic'), tests.id('eve'), '97153', tstzmultirange(tstzrange(tests.at(92, '10:30'), tests.at(92, '11:00'))), 60);
do $$ begin
  perform tests.cancel('admin', jsonb_build_object('session_ids', array[tests.book('admin', 'rbt', 'ann', tests.at(day), 120)])) from unnest(array[90, 92]) as day;
end $$;
select pg_temp.sweep();
create function pg_temp.offers() returns text[] language sql as $$
  select array_agg(to_char(hold.start_time at time zone 'UTC', 'HH24:MI') || to_char(hold.end_time at time zone 'UTC', '-HH24:MI') order by hold.start_time)
  from public.session_holds as hold join public.waitlist_entries as entry on entry.offered_batch_id = hold.batch_id and entry.state = 'offered'
  where entry.organization_id = tests.id('clinic')
$$;
select is(pg_temp.offers(), '{10:30-11:30}', 'it begins where the window does, as long as is waited for; a window that is too short gets nothing');
select is(tests.confirm('rbt', tests.occurrence(tests.at(90, '10:30')) || jsonb_build_object('hold_key', pg_temp.key_of('fay'), 'session', jsonb_build_object(
  'therapist_id', tests.id('rbt'), 'client_id', tests.id('fay'), 'start_time', tests.at(90, '10:30'), 'end_time', tests.at(90, '11:30')))) ->> 'ok', 'true', 'it is booked');
select is((select array_agg(tstzrange(start_time, end_time) order by start_time) from private.freed_slots where organization_id = tests.id('clinic') and start_time::date = tests.at(90)::date),
  array[tstzrange(tests.at(90), tests.at(90, '10:30')), tstzrange(tests.at(90, '11:30'), tests.at(90, '12:00'))], 'what is left on both sides is in the queue');
insert into public.waitlist_entries (organization_id, client_id, cpt_code, windows, minutes)
values (tests.id('clinic'), tests.id('fay'), '97153', tstzmultirange(tstzrange(tests.at(90), tests.at(91))), 30);
select pg_temp.sweep();
select is(pg_temp.offers(), '{10:00-10:30}', 'and is offered to the next');
select is_empty('select * from tests.broken_claims()', 'all of it soundly');

-- A quarter of an hour that is left is offered, less is not; and a session that is handed over frees its therapist.
create function pg_temp.left_of(day integer, minutes integer) returns text[] language plpgsql as $$
declare
  ends constant timestamptz := tests.at(day) + make_interval(mins => minutes);
begin
  update public.waitlist_entries set closed_at = now() where organization_id = tests.id('clinic') and closed_at is null;
  perform pg_temp.wait('fay', jsonb_build_object('minutes', minutes)), pg_temp.cancelled(day), pg_temp.sweep();
  perform tests.confirm('rbt', tests.occurrence(tests.at(day), minutes) || jsonb_build_object('hold_key', pg_temp.key_of('fay'), 'session',
    jsonb_build_object('therapist_id', tests.id('rbt'), 'client_id', tests.id('fay'), 'start_time', tests.at(day), 'end_time', ends)));
  return array(
    select to_char(start_time at time zone 'UTC', 'HH24:MI') || to_char(end_time at time zone 'UTC', '-HH24:MI')
    from private.freed_slots where organization_id = tests.id('clinic') and start_time::date = tests.at(day)::date
  );
end $$;
delete from private.freed_slots where organization_id = tests.id('clinic') and offered_batch_id is null;
select is(pg_temp.left_of(110, 45), '{10:45-11:00}', 'a quarter of an hour is left');
select is(pg_temp.left_of(111, 50), '{}', 'ten minutes are not');
select pg_temp.wait('eve', jsonb_build_object('therapist_id', tests.id('rbt')));
create temporary table handed on commit drop as select tests.book('admin', 'rbt', 'ann', tests.at(112)) as id;
update public.sessions set therapist_id = tests.id('rbt2') where id = (select id from handed);
select pg_temp.sweep();
select is((select client_id from public.session_holds where start_time = tests.at(112) and status = 'held'), tests.id('eve'), 'eve is offered the hour that another therapist took over');

-- However many rules are written at once, each slot is woken once.
insert into private.freed_slots (organization_id, therapist_id, start_time, end_time)
select tests.id('clinic'), tests.id('rbt'), tests.at(day), tests.at(day, '11:00') from unnest(array[84, 85]) as day;
create temporary table woken (day integer) on commit drop;
create function pg_temp.note_woken() returns trigger language plpgsql as $$
begin
  insert into woken values (new.start_time::date - tests.at(0)::date);
  return null;
end $$;
create trigger z_note_woken after update on private.freed_slots for each row execute function pg_temp.note_woken();
create function pg_temp.wakes(statement text) returns text language plpgsql as $$
begin
  truncate woken;
  execute statement;
  return (select string_agg(format('%s: %s', each.day, each.number), ', ' order by each.day)
    from (select day, count(*) as number from woken where day in (84, 85) group by day) as each);
end $$;
select is(pg_temp.wakes(statement), expected, name)
from (values
  (1, 'three new rules of a payer wake each slot once', format($$ insert into public.payer_rules (organization_id, payer_id, valid_from, valid_to)
    select %L, %L, day, day from unnest('{2019-01-01,2019-01-02,2019-01-03}'::date[]) as day $$, tests.id('clinic'), tests.id('strict')), '84: 1, 85: 1'),
  (2, 'so do changes of all rules', format($$ update public.payer_rules set valid_to = valid_to where organization_id = %L $$, tests.id('clinic')), '84: 1, 85: 1'),
  (3, 'and new hours of all therapists', format($$ update public.therapists set availability_hours = coalesce(availability_hours, '{}') || '{"sunday": []}' where organization_id = %L $$, tests.id('clinic')), '84: 1, 85: 1'),
  (4, 'their names wake none', format($$ update public.therapists set display_name = display_name where organization_id = %L $$, tests.id('clinic')), null),
  (5, 'nor does new time off', format($$ insert into public.availability_exceptions (organization_id, therapist_id, kind, starts_at, ends_at)
    select %L, %L, 'time_off', day, day + interval '1 hour' from unnest(array[tests.at(95), tests.at(96)]) as day $$, tests.id('clinic'), tests.id('rbt2')), null),
  (6, 'time off that is changed does, once', format($$ update public.availability_exceptions set ends_at = starts_at + interval '30 minutes' where organization_id = %L and starts_at in (tests.at(95), tests.at(96)) $$, tests.id('clinic')), '84: 1, 85: 1'),
  (7, 'and when it is withdrawn', format($$ delete from public.availability_exceptions where organization_id = %L and starts_at in (tests.at(95), tests.at(96)) $$, tests.id('clinic')), '84: 1, 85: 1'),
  (8, 'extra hours', format($$ insert into public.availability_exceptions (organization_id, therapist_id, kind, starts_at, ends_at)
    select %L, %L, 'extra_hours', day, day + interval '1 hour' from unnest(array[tests.at(95), tests.at(96)]) as day $$, tests.id('clinic'), tests.id('rbt2')), '84: 1, 85: 1'),
  (9, 'another zone of a therapist, whose hours are others then', format($$ update public.therapists set time_zone = 'America/Denver' where organization_id = %L $$, tests.id('clinic')), '84: 1, 85: 1'),
  (10, 'a new closure wakes none', format($$ insert into public.organization_closures (organization_id, name, starts_at, ends_at)
    values (%L, 'Storm', tests.at(97), tests.at(98)) $$, tests.id('clinic')), null),
  (11, 'a closure that is changed', format($$ update public.organization_closures set ends_at = ends_at - interval '1 hour' where organization_id = %L and name = 'Storm' $$, tests.id('clinic')), '84: 1, 85: 1'),
  (12, 'rules of a payer for codes', format($$ insert into public.payer_code_rules (organization_id, payer_id, cpt_code, valid_from, valid_to)
    select %L, %L, '97156', day, day from unnest('{2019-01-01,2019-01-02}'::date[]) as day $$, tests.id('clinic'), tests.id('strict')), '84: 1, 85: 1'),
  (13, 'rules of a payer for two services at once', format($$ insert into public.payer_concurrency_rules (organization_id, payer_id, first_code, second_code, allowed, valid_from)
    select %L, %L, code, '97154', true, '2019-01-01' from unnest('{97151,97153}'::text[]) as code $$, tests.id('clinic'), tests.id('strict')), '84: 1, 85: 1'),
  (14, 'and changes of these', format($$ update public.payer_concurrency_rules set allowed = not allowed where organization_id = %L and payer_id = %L $$, tests.id('clinic'), tests.id('strict')), '84: 1, 85: 1'),
  (15, 'permissions of a member wake none', format($$ update public.memberships set permissions = '{billing}' where organization_id = %L $$, tests.id('clinic')), null),
  (16, 'nor does what a code is called', format($$ update public.service_codes set description = 'Other skills' where organization_id = %L $$, tests.id('clinic')), null),
  (17, 'who may render it does', format($$ update public.service_codes set levels = '{qhp}' where organization_id = %L $$, tests.id('clinic')), '84: 1, 85: 1'),
  (18, 'clients who are restored wake each slot once', format($$ update public.clients set deleted_at = now() where organization_id = %1$L and id in (%2$L, %3$L);
    update public.clients set deleted_at = null where organization_id = %1$L and id in (%2$L, %3$L) $$, tests.id('clinic'), tests.id('cat'), tests.id('dan')), '84: 1, 85: 1')
) as try (position, name, statement, expected) order by position;
-- Another zone gives a client's services other days, which may be authorized.
select pg_temp.wait('eve');
update private.freed_slots set is_asleep = true, blocked_ids = array(select id from public.waitlist_entries where client_id = tests.id('eve') and state = 'waiting')
where organization_id = tests.id('clinic') and start_time in (tests.at(84), tests.at(85));
select is(pg_temp.wakes(format($$ update public.clients set time_zone = 'Pacific/Auckland' where id = %L $$, tests.id('eve'))), '84: 1, 85: 1', 'another zone of a client wakes what they could not have');
drop trigger z_note_woken on private.freed_slots;

select * from finish();
rollback;
