-- A slot that a cancellation frees is held for the first who waits for one like it; she is asked once at a time.
begin;
select plan(55);
select tests.open_clinic();
insert into public.clients (organization_id, id, reference) select tests.id('clinic'), tests.id(name), name from unnest(array['eve', 'fay']) as name;
insert into public.caseloads (organization_id, therapist_id, client_id)
select tests.id('clinic'), tests.id(therapist), tests.id(client) from unnest(array['rbt', 'bcba']) as therapist, unnest(array['eve', 'fay']) as client;

create function pg_temp.wait(client text, priority integer, extra text default 'null', code text default '97153') returns text language sql as $$
  select tests.error_code('admin', format(
    'insert into public.waitlist_entries (organization_id, client_id, cpt_code, windows, priority, minutes) values (%L, %L, %L, %L, %L, %s)',
    tests.id('clinic'), tests.id(client), code,
    format('{[%s,%s)}', tests.at(0), tests.at(30)), priority, extra))
$$;
-- For whom holds live, by offer.
create function pg_temp.offered() returns text language sql as $$
  select string_agg(client.reference, ' ' order by entry.offered_at)
  from public.waitlist_entries as entry
  join public.clients as client on client.id = entry.client_id
  join public.session_holds as hold on hold.batch_id = entry.offered_batch_id and hold.status = 'held'
  join public.hold_batches as batch on batch.id = hold.batch_id and batch.expires_at > clock_timestamp()
  where entry.organization_id = tests.id('clinic')
$$;
create function pg_temp.key_of(client text) returns text language sql as $$
  select batch.hold_key::text from public.waitlist_entries as entry join public.hold_batches as batch on batch.id = entry.offered_batch_id
  where entry.client_id = tests.id(client)
$$;
-- What the functions do once they have answered: freed slots are offered until none is left.
create function pg_temp.offer() returns void language plpgsql as $$
begin
  for round in 1..30 loop
    exit when (tests.call('admin', 'select public.offer_freed_slots()') ->> 'pending')::integer = 0;
  end loop;
end $$;
create function pg_temp.cancel(session uuid) returns text language plpgsql as $$
declare
  cancelled text := tests.cancel('admin', jsonb_build_object('session_ids', array[session])) #>> '{body,summary,cancelledCount}';
begin
  perform pg_temp.offer();
  return cancelled;
end $$;
create temporary table made on commit drop as
select tests.book('rbt', 'rbt', 'ann', tests.at(1)) as first_id, tests.book('rbt', 'rbt', 'ann', tests.at(2)) as second_id,
  tests.book('rbt', 'rbt', 'ann', tests.at(3)) as third_id, tests.book('rbt', 'rbt', 'ann', tests.at(4)) as fourth_id,
  tests.book('rbt', 'rbt', 'ann', tests.at(50)) as late_id;

select is(pg_temp.wait('eve', 5), null, 'an admin puts eve on the list');
select is(pg_temp.wait('fay', 2), null, 'and fay, who is more urgent');
select is(pg_temp.wait('ben', 1, 'null', '97155'), null, 'ben waits for a professional');
select is(pg_temp.wait('cat', 1), null, 'cat is on nobody''s caseload');
select is(
  tests.error_code('rbt', format('insert into public.waitlist_entries (organization_id, client_id, cpt_code, windows) values (%L, %L, %L, %L)',
    tests.id('clinic'), tests.id('ann'), '97153', '{[2030-01-01,2030-01-02)}')),
  '42501', 'a therapist does not'
);

select is(pg_temp.cancel(late_id), '1', 'a session outside everybody''s windows is cancelled') from made;
select is(pg_temp.offered(), null, 'and offered to nobody');
select is(pg_temp.cancel(first_id), '1', 'another is cancelled') from made;
select is(pg_temp.offered(), 'fay', 'and held for the most urgent whom it suits');
select is(tests.hold('admin', tests.request('rbt', 'ben', tests.at(1))) ->> 'code', 'THERAPIST_HOLD_CONFLICT', 'so nobody else gets it');
select is(pg_temp.cancel(second_id), '1', 'a further one is cancelled') from made;
select is(pg_temp.offered(), 'fay eve', 'fay has an offer, so the next in line gets one');
select is_empty('select * from tests.broken_claims()', 'offers claim what holds claim');

-- An offer that is let go, one that lapses, and one that is taken
select tests.release('rbt', pg_temp.key_of('fay'));
select pg_temp.offer();
select is(pg_temp.offered(), 'eve', 'fay lets hers go: nobody else is left who could have it, and she is not asked for it again');
select is(pg_temp.cancel(third_id), '1', 'the next session is cancelled') from made;
select is(pg_temp.offered(), 'eve fay', 'and for that one she is asked');
select is(
  tests.confirm('rbt', tests.occurrence(tests.at(3)) || jsonb_build_object('hold_key', pg_temp.key_of('fay'), 'session', jsonb_build_object(
    'therapist_id', tests.id('rbt'), 'client_id', tests.id('fay'), 'start_time', tests.at(3), 'end_time', tests.at(3, '11:00')))) ->> 'ok',
  'true', 'an offer is confirmed as any hold'
);
select is(pg_temp.cancel(fourth_id), '1', 'one more is cancelled') from made;
select is(pg_temp.offered(), 'eve', 'who has been served does not wait any more');
select is((select state from public.waitlist_entries where client_id = tests.id('fay')), 'booked', 'their entry is booked, and closed');
select ok(
  exists (select from audit.events where action = 'hold.acquired' and details ? 'waitlistEntryId'), 'the audit says which entry an offer was for'
);
select is(tests.rows('bcba', 'select from public.waitlist_entries'), 3::bigint, 'a therapist sees her caseload''s entries');
select is(tests.rows('parent', 'select from public.waitlist_entries'), 0::bigint, 'a parent none');

-- A place in a group
insert into public.clients (organization_id, id, reference)
select tests.id('clinic'), tests.id(name), name from unnest(array['gus', 'hal', 'ida', 'jon', 'kim']) as name;
insert into public.caseloads (organization_id, therapist_id, client_id)
select tests.id('clinic'), tests.id('rbt'), tests.id(client) from unnest(array['gus', 'hal', 'ida', 'jon', 'kim']) as client;
create temporary table gathered on commit drop as
select gen_random_uuid() as group_id, tests.at(10) as start_time;
insert into public.session_groups (organization_id, id, therapist_id, start_time, end_time)
select tests.id('clinic'), group_id, tests.id('rbt'), start_time, start_time + interval '1 hour' from gathered;
insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone, group_id, session_type)
select tests.id('clinic'), tests.id('rbt'), tests.id(client), start_time, start_time + interval '1 hour', 'UTC', group_id, 'group'
from gathered, unnest(array['gus', 'hal', 'ida']) as client;
create function pg_temp.member(client text) returns uuid language sql as $$
  select session.id from public.sessions as session join gathered using (group_id) where session.client_id = tests.id(client)
$$;
select tests.release('rbt', pg_temp.key_of('eve'));
update public.waitlist_entries set closed_at = now() where client_id in (tests.id('eve'), tests.id('fay'));
-- Slots that ben waits for, until somebody of another level may render there.
delete from private.freed_slots where organization_id = tests.id('clinic');
select pg_temp.offer();
select is(pg_temp.wait('eve', 1), null, 'eve waits for an hour of her own');
select is(pg_temp.wait('jon', 5, 'null', '97154'), null, 'jon for a group');
select is(pg_temp.wait('kim', 3, '30', '97154'), null, 'kim for half an hour of one');
select is(pg_temp.cancel(pg_temp.member('gus')), '1', 'one of three cancels');
select is(pg_temp.offered(), 'jon', 'and her place is held for who waits for a group as long');
select is(
  (select count(*) from public.session_holds as hold join gathered using (group_id) where hold.status = 'held'), 1::bigint, 'in that group'
);
select is_empty('select * from tests.broken_claims()', 'the offer claims what a hold for the group claims');
select is(
  tests.confirm('rbt', tests.occurrence(tests.at(10)) || jsonb_build_object('hold_key', pg_temp.key_of('jon'), 'session', jsonb_build_object(
    'therapist_id', tests.id('rbt'), 'client_id', tests.id('jon'), 'start_time', tests.at(10), 'end_time', tests.at(10, '11:00'))))
    #>> '{body,session,group_id}',
  (select group_id::text from gathered), 'confirmed, jon is a member'
);
select is(
  (select array_agg(pg_temp.cancel(session.id) order by session.id) from public.sessions as session join gathered using (group_id)
    where session.status = 'scheduled' and session.client_id <> tests.id('ida')),
  array['1', '1'], 'two more cancel: nobody else waits for a group'
);
select is(pg_temp.offered(), null, 'and eve does not want to join one');
select is(pg_temp.cancel(pg_temp.member('ida')), '1', 'the last cancels too');
select is(pg_temp.offered(), 'eve', 'then the hour is anybody''s');

-- A place that is gone
update public.waitlist_entries set closed_at = now() where closed_at is null;
update gathered set group_id = gen_random_uuid(), start_time = tests.at(12);
insert into public.session_groups (organization_id, id, therapist_id, start_time, end_time)
select tests.id('clinic'), group_id, tests.id('rbt'), start_time, start_time + interval '1 hour' from gathered;
insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone, group_id, session_type)
select tests.id('clinic'), tests.id('rbt'), tests.id(client), start_time, start_time + interval '1 hour', 'UTC', group_id, 'group'
from gathered, unnest(array['gus', 'hal', 'ida']) as client;
create temporary table behind on commit drop as select tests.book('rbt', 'rbt', 'ann', tests.at(13)) as session_id;
insert into public.waitlist_entries (organization_id, client_id, cpt_code, windows)
values
  (tests.id('clinic'), tests.id('jon'), '97154', tstzmultirange(tstzrange(tests.at(12), tests.at(13)))),
  (tests.id('clinic'), tests.id('fay'), '97153', tstzmultirange(tstzrange(tests.at(13), tests.at(14))));
update public.sessions set status = 'cancelled' where id = pg_temp.member('gus');
update public.session_groups set start_time = tests.at(12, '14:00'), end_time = tests.at(12, '15:00')
where id = (select group_id from gathered);
select is(pg_temp.cancel(session_id), '1', 'one of a group cancels, the group moves, and somebody else cancels') from behind;
select is(pg_temp.offered(), 'eve fay', 'the place that is gone keeps nobody from being offered what is free');

-- Units: what could not be held is not offered.
insert into public.clients (organization_id, id, reference) values (tests.id('clinic'), tests.id('lou'), 'lou');
insert into public.caseloads (organization_id, therapist_id, client_id) values (tests.id('clinic'), tests.id('rbt'), tests.id('lou'));
update public.waitlist_entries set closed_at = now() where closed_at is null;
update public.organizations set time_zone = 'UTC' where id = tests.id('clinic');
select tests.add_payers();
select tests.cover('lou', 'open');
select tests.authorize('lou', '97153', 3);
select is(pg_temp.wait('lou', 1), null, 'lou waits, with too few units for an hour');
create temporary table scarce on commit drop as select tests.book('rbt', 'rbt', 'ann', tests.at(21)) as session_id;
select is(pg_temp.cancel(session_id), '1', 'an hour is cancelled') from scarce;
select is((select count(*) from public.session_holds where start_time = tests.at(21) and client_id = tests.id('lou')), 0::bigint, 'and is not offered to them');
select tests.authorize('lou', '97153', 4);
select pg_temp.offer();
select is((select count(*) from public.session_holds where start_time = tests.at(21) and client_id = tests.id('lou') and status = 'held'), 1::bigint, 'until more is authorized');

-- A session of their own in the way
update public.waitlist_entries set closed_at = now() where closed_at is null;
create temporary table own on commit drop as
select tests.book('rbt', 'rbt', 'ann', tests.at(22)) as freed_id, tests.book('bcba', 'bcba', 'eve', tests.at(22)) as session_id;
select is(pg_temp.wait('eve', 1), null, 'eve waits');
select pg_temp.cancel(freed_id) from own;
select is((select count(*) from public.session_holds where start_time = tests.at(22) and client_id = tests.id('eve') and status = 'held'), 0::bigint, 'an hour in which they have a session is not offered to them');
select pg_temp.cancel(session_id) from own;
select is((select batch.therapist_id from public.waitlist_entries as entry join public.hold_batches as batch on batch.id = entry.offered_batch_id
  where entry.client_id = tests.id('eve') and entry.state = 'offered'), tests.id('rbt'), 'until that is cancelled');

-- Whoever has let a slot go is not asked for it again, however many do.
update public.waitlist_entries set closed_at = now() where closed_at is null;
insert into public.clients (organization_id, id, reference) select tests.id('clinic'), tests.id(name), name from unnest(array['mia', 'noa']) as name;
insert into public.caseloads (organization_id, therapist_id, client_id) select tests.id('clinic'), tests.id('rbt'), tests.id(name) from unnest(array['mia', 'noa']) as name;
select is(pg_temp.wait('mia', 1), null, 'mia waits');
select is(pg_temp.wait('noa', 2), null, 'so does noa');
create function pg_temp.asked(day integer) returns text language sql as $$
  select string_agg(client.reference, ' ') from public.session_holds as hold join public.clients as client on client.id = hold.client_id
  where hold.start_time = tests.at(day) and hold.status = 'held'
$$;
create temporary table wanted on commit drop as select tests.book('rbt', 'rbt', 'ann', tests.at(24)) as session_id;
select is(pg_temp.cancel(session_id), '1', 'an hour is cancelled') from wanted;
select is(pg_temp.asked(24), 'mia', 'mia is asked');
select tests.release('rbt', pg_temp.key_of('mia'));
select pg_temp.offer();
select is(pg_temp.asked(24), 'noa', 'then noa');
select tests.release('rbt', pg_temp.key_of('noa'));
select pg_temp.offer();
select is(pg_temp.asked(24), null, 'and nobody twice');

-- Whoever waits for half of a slot leaves the rest to the next.
update public.waitlist_entries set closed_at = now() where closed_at is null;
create temporary table halves on commit drop as select tests.book('rbt', 'rbt', 'ann', tests.at(27)) as session_id;
select is(concat(pg_temp.wait('mia', 1, '30'), pg_temp.wait('noa', 2, '30')), '', 'mia and noa wait for half an hour each');
select pg_temp.cancel(session_id) from halves;
select is(
  tests.confirm('rbt', tests.occurrence(tests.at(27), 30) || jsonb_build_object('hold_key', (
      select batch.hold_key from public.waitlist_entries as entry join public.hold_batches as batch on batch.id = entry.offered_batch_id
      where entry.client_id = tests.id('mia') and entry.state = 'offered'),
    'session', jsonb_build_object('therapist_id', tests.id('rbt'), 'client_id', tests.id('mia'), 'start_time', tests.at(27), 'end_time', tests.at(27, '10:30')))) ->> 'freed',
  'true', 'mia takes the first half, and the rest is free');
select pg_temp.offer();
select is((select client.reference from public.session_holds as hold join public.clients as client on client.id = hold.client_id
  where hold.start_time = tests.at(27, '10:30') and hold.end_time = tests.at(27, '11:00') and hold.status = 'held'), 'noa', 'noa is offered the other');

-- A place in a group that has begun is no place.
insert into public.session_groups (organization_id, id, therapist_id, start_time, end_time)
values (tests.id('clinic'), tests.id('begun'), tests.id('rbt'), date_trunc('minute', now()) - interval '10 minutes', date_trunc('minute', now()) + interval '50 minutes');
insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, group_id, session_type)
select tests.id('clinic'), tests.id(client || ' begun'), tests.id('rbt'), tests.id(client), date_trunc('minute', now()) - interval '10 minutes', date_trunc('minute', now()) + interval '50 minutes', 'UTC', tests.id('begun'), 'group'
from unnest(array['gus', 'hal', 'ida']) as client;
create temporary table queued on commit drop as select count(*) as number from private.freed_slots;
select is(tests.cancel('admin', jsonb_build_object('session_ids', array[tests.id('gus begun')])) #>> '{body,summary,cancelledCount}', '1', 'one of a group that has begun cancels');
select is((select count(*) from private.freed_slots), number, 'their place is not offered') from queued;

select * from finish();
rollback;
