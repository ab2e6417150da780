-- Somebody with the keys to the database edits the log all the same. The chains tell, and where.
begin;
select plan(19);
select tests.open_clinic();
select tests.open_clinic('other ');

create temporary table story on commit drop as
select tests.book('rbt', 'rbt', 'ann', tests.at(1)) as first, tests.book('rbt', 'rbt', 'ann', tests.at(2)) as second,
  tests.book('other rbt', 'other rbt', 'other ann', tests.at(1)) as elsewhere;
set constraints all immediate;

select is_empty(format('select * from audit.verify(%L)', tests.id('clinic')), 'what nobody touched verifies');
select results_eq(
  format('select count(*) from audit.seals where organization_id = %L', tests.id('clinic')),
  format('select count(*) from audit.events where organization_id = %L', tests.id('clinic')), 'every event is sealed once');
select is((select array_agg(distinct chain_id) from audit.events where organization_id = tests.id('clinic') and entity in ('hold', 'session')), array[tests.id('rbt')],
  'a booking''s events are in the chain of its therapist, whose lock it holds anyway');
select is((select array_agg(seq order by seq) from audit.seals where organization_id = tests.id('clinic') and chain_id = tests.id('rbt')), array[1, 2, 3, 4]::bigint[], 'one after the other');

create temporary table kept on commit drop as select audit.checkpoint() as checkpoint;
select is_empty('select checked.* from kept, audit.verify_checkpoint(checkpoint) as checked where "organization_id" = tests.id(''clinic'')', 'a checkpoint agrees');

-- What verify() finds after a change by the owner, who switches the triggers off first.
create function tests.found(change text) returns text language plpgsql as $$
declare
  finding record;
begin
  begin
    alter table audit.events disable trigger user;
    alter table audit.seals disable trigger user;
    alter table audit.chains disable trigger user;
    execute change;
    select string_agg(format('%s: %s', seq, problem), ', ' order by seq nulls last) as problems into finding from audit.verify(tests.id('clinic'));
    raise exception using errcode = 'ZZ001', message = coalesce(finding.problems, 'nothing');
  exception when sqlstate 'ZZ001' then
    return sqlerrm;
  end;
end $$;
select is(tests.found(change), found, what)
from (values
  ($$ update audit.events set actor_user_id = tests.id('bcba') where organization_id = tests.id('clinic') and action = 'hold.confirmed' $$,
    '2: the event was changed', 'another actor'),
  ($$ update audit.events set occurred_at = occurred_at - interval '1 second' where organization_id = tests.id('clinic') and action = 'hold.acquired' $$,
    '1: the event was changed', 'another time'),
  ($$ delete from audit.events where organization_id = tests.id('clinic') and action = 'hold.confirmed' $$, '2: the event is missing', 'an event taken out'),
  ($$ delete from audit.seals where organization_id = tests.id('clinic') and chain_id = tests.id('rbt') and seq = 3 $$, '4: a seal before this one is missing, : the event is not sealed', 'its seal taken out'),
  ($$ update audit.seals set digest = sha256('') where organization_id = tests.id('clinic') and chain_id = tests.id('rbt') and seq = 2 $$, '2: the seal was changed', 'a seal changed'),
  ($$ with gone as (delete from audit.seals where organization_id = tests.id('clinic') and chain_id = tests.id('rbt') and seq = 4 returning event_id)
      delete from audit.events where id in (select event_id from gone) $$, '3: the newest events of the chain are missing', 'the end cut off'),
  ($$ insert into audit.events select (jsonb_populate_record(event, jsonb_build_object('id', gen_random_uuid()))).* from audit.events as event
      where organization_id = tests.id('clinic') and chain_id = tests.id('rbt') limit 1 $$, ': the event is not sealed', 'an event slipped in'),
  ('select 1', 'nothing', 'nothing')
) as tampering (change, found, what);

-- A whole chain rewritten is consistent with itself; only a checkpoint kept elsewhere tells.
create function tests.rewritten() returns text[] language plpgsql as $$
declare
  answer text[];
begin
  begin
    alter table audit.events disable trigger user;
    alter table audit.seals disable trigger user;
    alter table audit.chains disable trigger user;
    update audit.events set code = null, details = '{}' where organization_id = tests.id('clinic') and chain_id = tests.id('rbt');
    perform tests.reseal(tests.id('clinic'), tests.id('rbt'));
    answer := array[
      (select count(*)::text from audit.verify(tests.id('clinic'))),
      (select problem from kept, audit.verify_checkpoint(checkpoint) as checked where checked.organization_id = tests.id('clinic'))
    ];
    raise exception using errcode = 'ZZ001';
  exception when sqlstate 'ZZ001' then
    return answer;
  end;
end $$;
set timezone = 'UTC';
select is(tests.rewritten(), array['0', 'the chain was rewritten'], 'a chain rewritten by the owner passes verify(), and fails the checkpoint');

-- The other clinic's chains are its own.
select is_empty(format('select * from audit.verify(%L)', tests.id('other clinic')), 'the other clinic''s chain is sound throughout');
select is(tests.rows('admin', 'select 1 from audit.seals'), (select count(*) from audit.seals where organization_id = tests.id('clinic')), 'an admin sees her clinic''s seals');
select is(tests.rows('rbt', 'select 1 from audit.chains'), 0::bigint, 'a therapist none');

-- A checkpoint of another clinic proves nothing here, and says so: it knows none of what was sealed before it.
select is(
  tests.call('super', format('select to_jsonb(count(*) > 0) from public.verify_audit(%L)', tests.call(person, 'select public.audit_checkpoint()') || jsonb_build_object('takenAt', now() + interval '10 minutes'))),
  to_jsonb(person = 'other super'), format('the checkpoint of %s', person))
from unnest(array['super', 'other super']) as person;

select * from finish();
rollback;
