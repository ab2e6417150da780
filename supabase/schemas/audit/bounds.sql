-- Purpose: every date and time in the database is one that can be: from 2000 until 2100.
-- Objects: a check constraint <table>_<column>_in_reason on each column of a date, time or range of them.
-- Watch for: one session in the year 294276 breaks every report of its clinic. This file comes last, so that a new table has
--            its bounds without being told; bounds_of_rows.sql fails if a column has none. Narrower windows, such as how far
--            ahead somebody may book, are rules of their own. Every check of a table is read again by every statement that
--            writes it, so what follows from bounded facts, or from the clock, is not checked twice.

do $$
declare
  found record;
begin
  for found in
    select
      relation.relnamespace::regnamespace as schema_name, relation.relname as table_name, attribute.attname as column_name,
      attribute.atttypid::regtype::text as type
    from pg_catalog.pg_attribute as attribute
    join pg_catalog.pg_class as relation on relation.oid = attribute.attrelid
    where relation.relnamespace::regnamespace::text in ('public', 'private', 'audit')
      and relation.relkind in ('r', 'p')
      and not relation.relispartition
      and attribute.attnum > 0
      and not attribute.attisdropped
      and attribute.attgenerated = ''
      and attribute.atttypid::regtype::text in (
        'date', 'timestamp with time zone', 'timestamp without time zone', 'tstzrange', 'tstzmultirange', 'daterange',
        'datemultirange'
      )
      -- A quarter, and nothing else.
      and relation.oid <> 'audit.archives'::regclass
      -- sessions_times bounds a session; the rest of its times follow from these, and from the clock.
      and relation.oid <> 'public.sessions'::regclass
      -- Nobody but the booking functions writes them.
      and relation.oid not in (
        'public.hold_batches'::regclass, 'public.session_holds'::regclass, 'public.session_cancellations'::regclass,
        'private.claims'::regclass, 'public.authorization_units'::regclass
      )
      -- The seal of an event is refused unless its times are those of now; see audit.seal_event.
      and relation.oid not in ('audit.events'::regclass, 'audit.seals'::regclass)
    order by 1, 2, attribute.attnum
  loop
    execute format(
      case
        when found.type like '%range' then 'alter table %1$s.%2$I add constraint %3$I check (%4$I <@ %5$s(%6$L, %7$L))'
        else 'alter table %1$s.%2$I add constraint %3$I check (%4$I >= %6$L and %4$I < %7$L)'
      end,
      found.schema_name, found.table_name, found.table_name || '_' || found.column_name || '_in_reason', found.column_name,
      replace(found.type, 'multirange', 'range'),
      case when found.type like '%stamp%' or found.type like 'tstz%' then '2000-01-01T00:00:00Z' else '2000-01-01' end,
      case when found.type like '%stamp%' or found.type like 'tstz%' then '2100-01-01T00:00:00Z' else '2100-01-01' end
    );
    execute format(
      'comment on constraint %I on %I.%I is %L', found.table_name || '_' || found.column_name || '_in_reason',
      found.schema_name, found.table_name, 'lies between 2000 and 2100'
    );
  end loop;
end
$$;
