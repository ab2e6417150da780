-- A row with an impossible date, or with a list without end, spoils what everybody else reads: no path lets it in.
begin;
select plan(32);
select tests.open_clinic();

create function pg_temp.constraint_of(person text, statement text) returns text language plpgsql as $$
declare
  name text;
begin
  perform tests.rows(person, statement);
  return 'accepted';
exception when others then
  get stacked diagnostics name = constraint_name;
  return coalesce(nullif(name, ''), sqlerrm);
end $$;

-- Dates.
select is(
  pg_temp.constraint_of(person, format(
    $$ insert into public.availability_exceptions (organization_id, therapist_id, kind, starts_at, ends_at) values (%L, %L, 'time_off', %L, %L) $$,
    tests.id('clinic'), tests.id('rbt'), starts, ends)), expected, format('time off of %s to %s by %s', starts, ends, person)
)
from unnest(array['rbt', 'admin', 'service_role', 'postgres']) as person
cross join (values
  ('294276-12-31T10:00Z', '294276-12-31T11:00Z', 'availability_exceptions_ends_at_in_reason'),
  ('1999-12-31T23:00Z', '2000-01-02T00:00Z', 'availability_exceptions_starts_at_in_reason'),
  ('2099-12-31T10:00Z', '2100-01-01T00:00Z', 'availability_exceptions_ends_at_in_reason')
) as item (starts, ends, expected);
select is(
  pg_temp.constraint_of('service_role', format('update public.clients set deleted_at = %L where id = %L', day, tests.id('ann'))),
  'clients_deleted_at_in_reason', 'archived as of ' || day
) from unnest(array['infinity', '9999-01-01', '1970-01-01']) as day;
select is(pg_temp.constraint_of('service_role', format('update public.clients set deleted_at = %L where id = %L', '2099-12-31', tests.id('dan'))), 'accepted', 'the last year is one');
select is_empty(
  $$
    select attribute.attrelid::regclass, attribute.attname
    from pg_attribute as attribute
    join pg_class as relation on relation.oid = attribute.attrelid
    where relation.relnamespace::regnamespace::text in ('public', 'private', 'audit') and relation.relkind in ('r', 'p')
      and not relation.relispartition and attnum > 0 and not attisdropped and attgenerated = ''
      and atttypid::regtype::text ~ '^(date|timestamp|tstz|datem?u?l?t?i?range)'
      and relation.oid <> 'audit.archives'::regclass
      -- Bounded by sessions_times, by what they follow from, or by the seal.
      and relation.oid not in (
        'public.sessions'::regclass, 'public.hold_batches'::regclass, 'public.session_holds'::regclass,
        'public.session_cancellations'::regclass, 'private.claims'::regclass, 'public.authorization_units'::regclass,
        'audit.events'::regclass, 'audit.seals'::regclass
      )
      and not exists (
        select from pg_constraint
        where conrelid = relation.oid and contype = 'c' and conkey @> array[attnum] and conname = relation.relname || '_' || attname || '_in_reason'
      )
  $$, 'every date of every table has its bounds'
);

-- Lists.
select is(
  pg_temp.constraint_of(person, format('update public.memberships set permissions = %L where user_id = %L', list, tests.id('rbt'))),
  'memberships_permissions_valid', format('%s permissions by %s', length(list::text), person)
)
from (values (array_fill('view_audit'::text, array[21])), (array['View Audit']), (array['']), (array_fill('view_audit'::text, array[2, 2]))) as item (list),
  unnest(array['super', 'service_role']) as person;
select is(
  tests.error('super', format('select public.change_member(%L, permissions => %L)', tests.id('rbt'), array_fill('view_audit'::text, array[21]))) #>> '{details}',
  '[{"path": "permissions", "message": "must be at most 20 names such as view_audit"}]', 'the function names the field'
);
select is(
  pg_temp.constraint_of('admin', format('update public.therapists set specialties = %L where id = %L', list, tests.id('rbt'))),
  'therapists_specialties_valid', 'specialties without end'
) from (values (array_fill('autism'::text, array[51])), (array[repeat('x', 101)])) as item (list);

select is_empty(
  $$
    select relation.oid::regclass, attribute.attname
    from pg_attribute as attribute
    join pg_class as relation on relation.oid = attribute.attrelid
    join pg_type as type on type.oid = attribute.atttypid
    where relation.relnamespace = 'public'::regnamespace and relation.relkind = 'r' and attnum > 0 and not attisdropped and attgenerated = ''
      -- Arrays, texts, documents and lists of ranges; enums and domains have their own bounds.
      and (type.typcategory in ('A', 'S') or type.typname in ('json', 'jsonb') or type.typtype = 'm') and type.typtype not in ('d', 'e')
      and exists (
        select from unnest(array['authenticated', 'service_role']) as role
        where has_column_privilege(role, relation.oid, attnum, 'insert') or has_column_privilege(role, relation.oid, attnum, 'update')
      )
      and not exists (
        select from pg_constraint as bound
        where bound.conrelid = relation.oid and bound.conkey @> array[attnum]
          and (bound.contype = 'f' or bound.contype = 'c' and bound.conname !~ '_in_reason$')
      )
  $$, 'every text, list and document that an API role may write has its bounds'
);

-- Weekly hours.
create function pg_temp.hours(windows integer, extra jsonb default '{}') returns jsonb language sql as $$
  select jsonb_build_object('monday', (
    select jsonb_agg(jsonb_build_object('start', '08:00', 'end', '09:00') || extra) from generate_series(1, windows)))
$$;
select is(
  tests.error('rbt', format('select public.set_availability_hours(%L)', hours)) ->> 'hint', expected, what
) from (values
  (pg_temp.hours(12), null, 'twelve windows a day are enough'), (pg_temp.hours(13), 'VALIDATION_FAILED', 'thirteen are not accepted'),
  (pg_temp.hours(1, jsonb_build_object('note', repeat('x', 100000))), 'VALIDATION_FAILED', 'nor anything else in them')
) as item (hours, expected, what);

select * from finish();
rollback;
