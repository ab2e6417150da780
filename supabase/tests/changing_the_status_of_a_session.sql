-- scheduled -> in_progress -> completed; scheduled or in_progress -> cancelled or no_show. The database refuses the rest,
-- whoever asks.
begin;
select plan(36);
select tests.open_clinic();

create temporary table allowed (was text, becomes text) on commit drop;
insert into allowed values ('scheduled', 'in_progress'), ('in_progress', 'completed'), ('scheduled', 'cancelled'),
  ('in_progress', 'cancelled'), ('scheduled', 'no_show'), ('in_progress', 'no_show');

-- One session for each pair of states, brought to the first of them on the way the rules allow.
create temporary table steps on commit drop as
select row_number() over (order by was, becomes)::integer as number, was::text, becomes::text, null::uuid as id
from unnest(enum_range(null::public.session_status)) as was
cross join unnest(enum_range(null::public.session_status)) as becomes
where was <> becomes;
update steps set id = tests.book('rbt', 'rbt', 'ann', tests.at(number));
select tests.bring_forward(id, number * interval '2 hours') from steps order by number;
update public.sessions set status = 'in_progress' from steps where steps.id = sessions.id and was in ('in_progress', 'completed');
update public.sessions set status = 'completed' from steps where steps.id = sessions.id and was = 'completed';
update public.sessions set status = was::public.session_status from steps where steps.id = sessions.id and was in ('cancelled', 'no_show');

select is(
  tests.error_code(case when number % 2 = 0 then 'postgres' else 'service_role' end,
    format('update public.sessions set status = %L where id = %L', becomes, id)),
  case when (was, becomes) not in (select * from allowed) then '23514' end,
  format('%s -> %s is %s', was, becomes, case when (was, becomes) in (select * from allowed) then 'allowed' else 'refused' end)
)
from steps order by number;
select is_empty('select * from tests.broken_claims()', 'claims follow the status');

-- Long before its time nothing has begun, nor been missed.
create temporary table ahead on commit drop as select tests.book('rbt', 'rbt', 'ann', tests.at(500)) as id;
select is(tests.error_code(who, format('update public.sessions set status = %L where id = %L', status, id)), '23514', format('%s does not make it %s a year ahead', who, status))
from ahead, unnest(array['service_role', 'postgres']) as who, unnest(array['in_progress', 'no_show']) as status;

-- What is fixed.
create temporary table settled on commit drop as
select
  (select id from steps where was = 'completed' limit 1) as completed,
  (select steps.id from steps join public.sessions using (id) where status = 'in_progress' limit 1) as started;
select is(tests.error_code('postgres', format('update public.sessions set start_time = start_time - interval ''1 hour'' where id = %L', id)),
  '23514', format('a %s session stays where it is', what))
from settled, lateral (values ('completed', completed), ('started', started)) as fixed (what, id);
select is(tests.error_code('postgres', format('update public.sessions set therapist_id = %L where id = %L', tests.id('rbt2'), completed)),
  '23514', 'and with whom it was') from settled;
select is(tests.error_code('postgres', format('update public.sessions set client_id = %L where id = %L', tests.id('ben'), id)), '23514',
  'a session never changes its client') from steps where was = 'scheduled' limit 1;
select is(tests.error_code('postgres', format('update public.sessions set id = gen_random_uuid() where id = %L', id)), '23514',
  'nor its id') from steps where was = 'scheduled' limit 1;
select is(tests.error_code(who, format('delete from public.sessions where id = %L', completed)) in ('23001', '42501'), true,
  format('%s cannot delete a session', who)) from settled, unnest(array['postgres', 'service_role', 'admin']) as who;
select is(tests.error_code('postgres', 'truncate public.sessions cascade'), '23001', 'nobody truncates sessions');
select is(tests.cancel('rbt', jsonb_build_object('session_ids', array[completed])) #>> '{body,summary,nonCancellableCount}', '1',
  'a completed session cannot be cancelled') from settled;
select is(tests.cancel('rbt', jsonb_build_object('session_ids', array[started])) #>> '{body,summary,cancelledCount}', '1',
  'one in progress can') from settled;

select * from finish();
rollback;
