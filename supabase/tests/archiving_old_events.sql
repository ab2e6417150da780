-- After the years that the law asks for, a span of events moves to an archive. The chains stay whole, and what was moved
-- can still be proved.
begin;
select plan(24);
select tests.open_clinic();

-- A partition of long ago, as there will be one day, with events of then and a chain that goes on until today.
create table audit.events_2019_q1 partition of audit.events for values from ('2019-01-01Z') to ('2019-04-01Z');
do $$ begin perform audit.guard_partition('events_2019_q1'); end $$;
set constraints all immediate;
alter table audit.events disable trigger user;
alter table audit.seals disable trigger user;
alter table audit.chains disable trigger user;
insert into audit.events (organization_id, chain_id, occurred_at, recorded_at, action, entity, entity_ids)
select tests.id('clinic'), tests.id('rbt'), day, day, 'session.changed', 'session', array[gen_random_uuid()]
from generate_series('2019-01-10Z'::timestamptz, '2019-01-12Z', '1 day') as day;
do $$ begin perform tests.reseal(tests.id('clinic'), tests.id('rbt')); end $$;
alter table audit.events enable trigger user;
alter table audit.seals enable trigger user;
alter table audit.chains enable trigger user;
do $$ begin perform tests.book('rbt', 'rbt', 'ann', tests.at(1)); end $$;
set constraints all immediate;
select is((select array_agg(seq order by seq) from audit.seals where organization_id = tests.id('clinic') and chain_id = tests.id('rbt')),
  array[1, 2, 3, 4, 5]::bigint[], 'one chain, old events and new');
select is_empty(format('select * from audit.verify(%L)', tests.id('clinic')), 'it verifies');

-- Nobody writes a partition, whatever its age.
select is(tests.error_code(who, statement), case who when 'postgres' then '23001' else '42501' end, format('%s cannot: %s', who, statement))
from unnest(array['postgres', 'service_role', 'admin']) as who,
unnest(array['update audit.events_2019_q1 set details = ''{}''', 'delete from audit.events_2019_q1', 'truncate audit.events_2019_q1']) as statement;
select is(tests.error_code('admin', 'select from audit.events_2019_q1'), '42501', 'nor reads it past the policies');

-- A head that the owner turns is named.
create function pg_temp.turned() returns text language plpgsql as $$
declare
  found text;
begin
  update audit.chains set hash = sha256('') where organization_id = tests.id('clinic') and chain_id = tests.id('rbt');
  select problem into strict found from audit.verify(tests.id('clinic'));
  raise exception using errcode = 'ZZ001', message = found;
exception when sqlstate 'ZZ001' then
  return sqlerrm;
end $$;
select is(pg_temp.turned(), 'the head of the chain was changed', 'a head that was changed is named');
select is(tests.error_code('service_role', 'update audit.chains set seq = 1'), '42501', 'service_role changes none');

-- Moved away without a word, it is missed, and cannot be put on record afterwards.
create temporary table kept on commit drop as select audit.checkpoint() as checkpoint;
create function pg_temp.gone() returns text language plpgsql as $$
declare
  found text;
begin
  alter table audit.events detach partition audit.events_2019_q1;
  select format('%s: %s', seq, problem) into strict found from audit.verify(tests.id('clinic'));
  begin
    insert into audit.archives (from_time, to_time, location) values ('2019-01-01Z', '2019-04-01Z', 's3://archive/events_2019_q1');
  exception when restrict_violation then
    found := found || ', and stays so';
  end;
  raise exception using errcode = 'ZZ001', message = found;
exception when sqlstate 'ZZ001' then
  return sqlerrm;
end $$;
select is(pg_temp.gone(), '1: the event is missing, and stays so', 'a span that is gone is missed');
select is(audit.archive_quarter('2019-01-01', 's3://archive/events_2019_q1'), 'audit.events_2019_q1', 'archived as it should be, it is detached');
select results_eq('select events from audit.archives', array[3::bigint], 'and its events are counted');
select is_empty(format('select * from audit.verify(%L)', tests.id('clinic')), 'unless it is on record where it went');
select is_empty('select checked.* from kept, audit.verify_checkpoint(checkpoint) as checked where organization_id = tests.id(''clinic'')', 'the chain is as it was');
select is(tests.error_code('postgres', statement), '23001', 'that record stays: ' || statement)
from unnest(array['update audit.archives set to_time = now()', 'delete from audit.archives', 'truncate audit.archives']) as statement;

-- Brought back, or beside its seals, each event proves itself.
select is((select bool_and(audit.digest(to_jsonb(archived)) = seal.digest) from audit.events_2019_q1 as archived
  join audit.seals as seal on seal.organization_id = archived.organization_id and seal.event_id = archived.id), true, 'an archived event matches its seal');

-- A quarter that began without a partition does not stop the next ones from being made.
alter table audit.events disable trigger user;
insert into audit.events (organization_id, chain_id, occurred_at, recorded_at, action, entity, entity_ids)
select tests.id('clinic'), tests.id('rbt'), now(), now() + interval '15 months', 'session.changed', 'session', '{}';
select is(audit.ensure_partitions(8) > 0, true, 'later partitions are made, although one quarter''s events are in the default one');

select * from finish();
rollback;
