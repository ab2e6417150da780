-- Purpose: a row that the API writes and that breaks a constraint is refused in words of our own, which name the field.
-- Objects: the triggers zz_refuse_broken_row and A_refuse_broken_reference on each table that an API role may write; the
--          words of each constraint, which are its comment.
-- Watch for: PostgREST passes the text of Postgres on, with the constraint's name and the row's values. So the triggers ask
--            what the constraints would ask, a moment earlier. The constraints still decide: of two writers at the same
--            instant the later one may meet the constraint itself. This file comes after every table and bound.
--            The owner of the tables (SQL, booking functions) meets the constraints alone: asked as shortly as can be, for
--            Postgres reads the condition anew for every statement.

create function private.refuse_row(state text, rule name, relation regclass, fields text, words text)
returns void
language plpgsql
set search_path = ''
as $$
declare
  written record;
begin
  select class.relname as name, class.relnamespace::regnamespace::text as schema into written
  from pg_catalog.pg_class as class
  where class.oid = relation;
  raise exception using
    errcode = state,
    constraint = rule,
    schema = written.schema,
    table = written.name,
    message = format('%s: %s', fields, words);
end
$$;
comment on function private.refuse_row(text, name, regclass, text, text) is
  'Refuses a row that breaks a constraint: "field: words". The constraint''s name is in the error for SQL, not in its text.';

create function private.fields_of(relation oid, numbers smallint[])
returns text
language sql
stable
set search_path = ''
return coalesce(
  (
    select string_agg(attribute.attname, ', ' order by numbered.place)
    from unnest(numbers) with ordinality as numbered (number, place)
    join pg_catalog.pg_attribute as attribute on attribute.attrelid = relation and attribute.attnum = numbered.number
    where attribute.attname <> 'organization_id' or cardinality(numbers) = 1
  ),
  'row'
);
comment on function private.fields_of(oid, smallint[]) is
  'Columns by their numbers, for people: the organization is left out where other columns say more.';

create function private.refuse_by(relation oid, rule_name name)
returns void
language plpgsql
set search_path = ''
as $$
begin
  perform private.refuse_row(
    case rule.contype when 'c' then '23514' when 'x' then '23P01' when 'f' then '23503' else '23505' end,
    rule.conname, rule.conrelid, private.fields_of(rule.conrelid, rule.conkey),
    case
      when rule.contype = 'f' then format('nothing in %s has this', target.relname)
      else coalesce(
        obj_description(rule.oid, 'pg_constraint'),
        case
          when rule.contype = 'c' then 'is not a value that is allowed here'
          else format('there is such a row in %s already', class.relname)
        end
      )
    end
  )
  from pg_catalog.pg_constraint as rule
  join pg_catalog.pg_class as class on class.oid = rule.conrelid
  left join pg_catalog.pg_class as target on target.oid = rule.confrelid
  where rule.conrelid = relation and rule.conname = rule_name;
end
$$;
comment on function private.refuse_by(oid, name) is 'Refuses a row that breaks this constraint, in its words.';

-- What the triggers ask is known when the table is: they are written once, from the catalog, two functions a table.

create function private.columns_of(prefix text, relation oid, numbers smallint[])
returns text
language sql
stable
set search_path = ''
return (
  select string_agg(format('%s.%I', prefix, attribute.attname), ', ' order by numbered.place)
  from unnest(numbers) with ordinality as numbered (number, place)
  join pg_catalog.pg_attribute as attribute on attribute.attrelid = relation and attribute.attnum = numbered.number
);
comment on function private.columns_of(text, oid, smallint[]) is 'Columns by their numbers, as SQL: prefix.a, prefix.b.';

create function private.has_changed(relation oid, numbers smallint[])
returns text
language sql
stable
set search_path = ''
return format(
  'tg_op = ''INSERT'' or (%s) is distinct from (%s)',
  private.columns_of('new', relation, numbers), private.columns_of('old', relation, numbers)
);
comment on function private.has_changed(oid, smallint[]) is
  'SQL of a trigger: whether the row is new, or one of these columns has changed.';

create function private.collision_check(rule_id oid)
returns text
language sql
stable
set search_path = ''
return (
  with rule as (
    select known.*, index.indnkeyatts, coalesce(pg_get_expr(index.indpred, index.indrelid), 'true') as condition
    from pg_catalog.pg_constraint as known
    join pg_catalog.pg_index as index on index.indexrelid = known.conindid
    where known.oid = rule_id
  ),
  key as (
    select
      string_agg(format('%s as key_%s', pg_get_indexdef(rule.conindid, place, true), place), ', ') as keys,
      string_agg(format('mine.key_%1$s operator(%2$s) theirs.key_%1$s', place, coalesce(
        (
          select format('%I.%s', operator.oprnamespace::regnamespace::text, operator.oprname)
          from pg_catalog.pg_operator as operator
          where operator.oid = rule.conexclop[place]
        ),
        'pg_catalog.='
      )), ' and ') as meets
    from rule
    cross join lateral generate_series(1, rule.indnkeyatts::integer) as place
  )
  select format(
    $plpgsql$
  if %1$s then
    if exists (
      select from (select %2$s from (select new.*) as written where %3$s) as mine
      join (select %2$s from %4$s as other where (%3$s) and (%5$s) is distinct from (%6$s)) as theirs on %7$s
    ) then
      perform private.refuse_by(tg_relid, %8$L);
    end if;
  end if;$plpgsql$,
    private.has_changed(rule.conrelid, array(
      select distinct used.refobjsubid::smallint
      from pg_catalog.pg_depend as used
      where used.objid in (rule.conindid, rule.oid) and used.refobjid = rule.conrelid and used.refobjsubid > 0
    )),
    key.keys, rule.condition, rule.conrelid::regclass,
    private.columns_of('other', rule.conrelid, own.conkey),
    -- Asked before the row is written, the other is not its former self; asked after, not itself.
    private.columns_of(case when rule.condeferrable then 'new' else 'old' end, rule.conrelid, own.conkey),
    key.meets, rule.conname
  )
  from rule
  cross join key
  join pg_catalog.pg_constraint as own on own.conrelid = rule.conrelid and own.contype = 'p'
);
comment on function private.collision_check(oid) is
  'SQL of a trigger: refuses a row that meets another under this unique or exclusion constraint.';

create function private.row_checks(relation regclass)
returns text
language sql
stable
set search_path = ''
return concat(
  (
    select format(
      $plpgsql$
if num_nulls(%1$s) > 0 then
  perform private.refuse_row('23502', '', tg_relid, concat_ws(', ', %2$s), 'is missing');
end if;$plpgsql$,
      string_agg(format('new.%I', attribute.attname), ', ' order by attribute.attnum),
      string_agg(format('case when new.%1$I is null then %1$L end', attribute.attname), ', ' order by attribute.attnum)
    )
    from pg_catalog.pg_attribute as attribute
    where attribute.attrelid = relation and attribute.attnum > 0 and attribute.attnotnull and attribute.attgenerated = ''
      and not attribute.attisdropped
    having count(*) > 0
  ),
  (
    select format(
      $plpgsql$
broken_rule := (select case %s end from (select new.*) as written);
if broken_rule is not null then
  perform private.refuse_by(tg_relid, broken_rule);
end if;$plpgsql$,
      string_agg(
        format('when not (%s) then %L', pg_get_expr(rule.conbin, rule.conrelid), rule.conname), ' ' order by rule.conname
      )
    )
    from pg_catalog.pg_constraint as rule
    where rule.conrelid = relation and rule.contype = 'c'
    having count(*) > 0
  ),
  -- Row-level security has not judged the row yet. Nobody learns what another clinic has; and who may not read all of
  -- their own learns of an id at most, which they must have known.
  format(
    $plpgsql$
if is_user and (new.%s = private.active_organization_id()) is not true then
  return new;
end if;$plpgsql$,
    case when relation = 'public.organizations'::regclass then 'id' else 'organization_id' end
  ),
  (
    select string_agg(
      format(
        E'\n  if %s then%s\n  end if;',
        concat_ws(
          ' and ',
          case when rule.contype <> 'x' then 'not is_upsert' end,
          case when rule.contype = 'p' and private.fields_of(relation, rule.conkey) = 'id' then 'true'
            else '(not is_user or private.is_admin())' end
        ),
        private.collision_check(rule.oid)
      ),
      '' order by rule.conname
    )
    from pg_catalog.pg_constraint as rule
    where rule.conrelid = relation and rule.contype in ('p', 'u', 'x') and not rule.condeferrable
  )
);
comment on function private.row_checks(regclass) is
  'SQL of a trigger: what NOT NULL, checks, unique and exclusion constraints of this table ask.';

create function private.reference_checks(relation regclass)
returns text
language sql
stable
set search_path = ''
return concat(
  (
    select string_agg(
      format(
        $plpgsql$
if tg_op <> 'DELETE' and (%1$s) then
  if num_nulls(%2$s) = 0 and not exists (select from %3$s as known where (%4$s) = (%2$s)) then
    perform private.refuse_by(tg_relid, %5$L);
  end if;
end if;$plpgsql$,
        private.has_changed(relation, rule.conkey), private.columns_of('new', relation, rule.conkey),
        rule.confrelid::regclass, private.columns_of('known', rule.confrelid, rule.confkey), rule.conname
      ),
      '' order by rule.conname
    )
    from pg_catalog.pg_constraint as rule
    where rule.conrelid = relation and rule.contype = 'f'
  ),
  (
    select string_agg(
      format(E'\n  if tg_op <> ''DELETE'' then%s\n  end if;', private.collision_check(rule.oid)), '' order by rule.conname
    )
    from pg_catalog.pg_constraint as rule
    where rule.conrelid = relation and rule.contype = 'x' and rule.condeferrable
  ),
  (
    select string_agg(
      format(
        $plpgsql$
if %1$s then
  if exists (select from %2$s as known where (%3$s) = (%4$s)) then
    perform private.refuse_row('23503', %5$L, tg_relid, %6$L, 'other records still name this row');
  end if;
end if;$plpgsql$,
        concat_ws(
          ' or ',
          case when rule.confdeltype in ('a', 'r') then 'tg_op = ''DELETE''' end,
          case when rule.confupdtype in ('a', 'r') then format(
            'tg_op = ''UPDATE'' and (%s) is distinct from (%s)',
            private.columns_of('new', relation, rule.confkey), private.columns_of('old', relation, rule.confkey)
          ) end
        ),
        rule.conrelid::regclass, private.columns_of('known', rule.conrelid, rule.conkey),
        private.columns_of('old', relation, rule.confkey), rule.conname, private.fields_of(relation, rule.confkey)
      ),
      '' order by rule.conname
    )
    from pg_catalog.pg_constraint as rule
    where rule.confrelid = relation and rule.contype = 'f'
      and (rule.confdeltype in ('a', 'r') or rule.confupdtype in ('a', 'r'))
  )
);
comment on function private.reference_checks(regclass) is
  'SQL of a trigger: what foreign keys, to and from a row of this table, and deferrable exclusion constraints ask.';

-- The triggers ---------------------------------------------------------------------------------------------------------
-- zz: after the triggers that derive columns. A: in the order of names before those of Postgres itself, whose names begin
-- with RI and Unique. References are looked at as the owner, as foreign keys are; row-level security has admitted the row
-- by then.

do $$
declare
  written regclass;
  name text;
begin
  for written, name in
    select class.oid::regclass, class.relname
    from pg_catalog.pg_class as class
    where class.relnamespace = 'public'::regnamespace and class.relkind in ('r', 'p') and not class.relispartition
      and exists (
        select
        from unnest(array['authenticated', 'service_role']) as role (name)
        cross join unnest(array['INSERT', 'UPDATE']) as command (name)
        where has_any_column_privilege(role.name, class.oid, command.name)
      )
    order by 1
  loop
    execute format(
      $function$
        create function private.%1$I() returns trigger language plpgsql security definer set search_path = '' as $body$
#variable_conflict use_column
declare
  broken_rule name;
  is_user constant boolean := coalesce(auth.role() = 'authenticated', false);
  -- An upsert means the row that is there; whatever else it may break is looked at all the same.
  is_upsert constant boolean := tg_op = 'INSERT'
    and coalesce(nullif(current_setting('request.headers', true), '')::jsonb ->> 'prefer', '') ~ 'resolution=';
begin%2$s
  return new;
end $body$;
        comment on function private.%1$I() is %3$L;
        create trigger zz_refuse_broken_row before insert or update on %4$s for each row
          when (current_user <> 'postgres') execute function private.%1$I()
      $function$,
      'refuse_broken_row_of_' || name, private.row_checks(written),
      format('Trigger: refuses in plain words what NOT NULL, a check, or a unique or exclusion constraint of %s would.', name),
      written
    );
    execute format(
      $function$
        create function private.%1$I() returns trigger language plpgsql security definer set search_path = '' as $body$
#variable_conflict use_column
begin%2$s
  return null;
end $body$;
        comment on function private.%1$I() is %3$L;
        create trigger "A_refuse_broken_reference" after insert or update or delete on %4$s for each row
          when (current_user <> 'postgres') execute function private.%1$I()
      $function$,
      'refuse_broken_reference_of_' || name, private.reference_checks(written),
      format('Trigger: refuses in plain words what foreign keys, to and from rows of %s, would.', name),
      written
    );
  end loop;
end
$$;

-- The words ------------------------------------------------------------------------------------------------------------

do $$
declare
  spoken record;
begin
  for spoken in
    -- What is written alike is said alike.
    select false as is_listed, rule.conrelid::regclass as relation, rule.conname as name,
      regexp_replace(pg_get_constraintdef(rule.oid), '^CHECK \(+' || alike.form || '\)+$', alike.words) as words
    from pg_catalog.pg_constraint as rule
    join (values
      ('length\(\w+\) >= (\d+)\) AND \(length\(\w+\) <= (\d+)', '\1 to \2 characters'),
      ('\w+ >= (\d+)\) AND \(\w+ <= (\d+)', '\1 to \2'),
      ('\w+ > (\d+)', 'more than \1'),
      ('\w+ >= (\d+)', '\1 or more'),
      ('\w+ ~ ''\^\[0-9A-Z\]\{5\}\$''::text', 'five digits or capital letters')
    ) as alike (form, words) on pg_get_constraintdef(rule.oid) ~ ('^CHECK \(+' || alike.form || '\)+$')
    where rule.contype = 'c' and rule.connamespace = 'public'::regnamespace
    union all
    select true, format('public.%I', listed.table_name)::regclass, listed.constraint_name, listed.words
    from (values
      ('authorizations', 'authorizations_check', 'an authorization ends on its first day or later'),
      ('availability_exceptions', 'availability_exceptions_check', 'the end comes after the start'),
      ('client_coverages', 'client_coverages_check', 'a coverage ends on its first day or later'),
      ('client_coverages', 'client_coverages_one_a_priority_and_day', 'the client has another coverage of this priority on one of these days'),
      ('memberships', 'memberships_permissions_valid', 'at most 20 words of small letters and underscores'),
      ('organization_closures', 'organization_closures_check', 'the end comes after the start, by at most 400 days'),
      ('organization_closures', 'organization_closures_name_check', '1 to 100 characters, without spaces around them'),
      ('payer_code_rules', 'payer_code_rules_check', 'a rule ends on its first day or later'),
      ('payer_code_rules', 'payer_code_rules_excluded_places_check', 'a list of places, each once'),
      ('payer_code_rules', 'payer_code_rules_modifiers_check', 'lists of modifiers for technician, assistant and qhp'),
      ('payer_code_rules', 'payer_code_rules_one_version_a_day', 'the payer has another rule for this code on one of these days'),
      ('payer_concurrency_rules', 'payer_concurrency_rules_check', 'a rule ends on its first day or later'),
      ('payer_concurrency_rules', 'payer_concurrency_rules_check1', 'two different codes, the smaller one first'),
      ('payer_concurrency_rules', 'payer_concurrency_rules_one_version_a_day', 'the payer has another rule for these codes on one of these days'),
      ('payer_rules', 'payer_rules_check', 'a rule ends on its first day or later'),
      ('payer_rules', 'payer_rules_telehealth_modifier_check', 'two digits or capital letters'),
      ('payer_rules', 'payer_rules_one_version_a_day', 'the payer has another rule on one of these days'),
      ('service_codes', 'service_codes_check', 'a version ends on its first day or later'),
      ('service_codes', 'service_codes_check1', 'max_clients is at least min_clients'),
      ('service_codes', 'service_codes_levels_check', 'at least one level, and no null'),
      ('service_codes', 'service_codes_session_type_check', 'small letters, not blank'),
      ('service_codes', 'service_codes_one_code_a_session_type', 'another code has this session type on one of these days'),
      ('service_codes', 'service_codes_one_code_an_ordinal', 'another code has this ordinal'),
      ('service_codes', 'service_codes_one_ordinal_a_code', 'the code has another ordinal already'),
      ('service_codes', 'service_codes_one_version_a_day', 'the code has another version on one of these days'),
      ('session_groups', 'session_groups_times', 'the end comes after the start, and both lie between 2000 and 2100'),
      ('sessions', 'sessions_buffers', '0 to 240'),
      ('sessions', 'sessions_cpt_modifiers_check', 'at most 4'),
      ('sessions', 'sessions_place_of_group', 'the group has the room and the buffers, its members have none'),
      ('sessions', 'sessions_times', 'the end comes after the start, by at most 12 hours, and both lie between 2000 and 2100'),
      ('sessions', 'sessions_no_therapist_overlap', 'the session overlaps another booking of the same therapist'),
      ('staff_times', 'staff_times_times', 'the end comes after the start, by at most 12 hours, and both lie between 2000 and 2100'),
      ('therapists', 'availability_hours_valid', 'for each weekday a list of {start, end} as HH:MM, in order, at most 12 a day'),
      ('therapists', 'therapists_credential_check', 'RBT, BCaBA, BCBA or BCBA-D'),
      ('therapists', 'therapists_specialties_valid', 'at most 50 texts of 1 to 100 characters'),
      ('unit_limits', 'unit_limits_check', 'a limit ends on its first day or later'),
      ('unit_limits', 'unit_limits_cpt_codes_check', '1 to 50 codes'),
      ('unit_limits', 'unit_limits_of_one', 'exactly one of the two'),
      ('unit_limits', 'unit_limits_period_of_authorization', 'this period is for limits of an authorization'),
      ('unit_limits', 'unit_limits_week_starts_on_check', '1 (Monday) to 7'),
      ('waitlist_entries', 'waitlist_entries_state', 'an offer has its hold and its time, and a closed entry its end'),
      ('waitlist_entries', 'waitlist_entries_state_check', 'waiting, offered, booked or closed'),
      ('waitlist_entries', 'waitlist_entries_windows', 'ranges of time between 2000 and 2100')
    ) as listed (table_name, constraint_name, words)
    order by is_listed
  loop
    execute format('comment on constraint %I on %s is %L', spoken.name, spoken.relation, spoken.words);
  end loop;
end
$$;
