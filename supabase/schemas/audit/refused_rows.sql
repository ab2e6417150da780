-- Purpose: a row that the API writes and that breaks a constraint is refused in words of our own, which name the field.
-- Objects: the triggers zz_refuse_broken_row and A_refuse_broken_reference on each table that an API role may write; the
--          words of each constraint, which are its comment.
-- Watch for: PostgREST passes the text of Postgres on, with the constraint's name and the row's values. So the triggers ask
--            what the constraints would ask, a moment earlier. The constraints still decide: of two writers at the same
--            instant the later one may meet the constraint itself. This file comes after every table and bound.
--            Writers that are not API roles (SQL, booking functions) meet the constraints alone.

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
language plpgsql
stable
set search_path = ''
as $$
begin
  return coalesce(
    (
      select string_agg(attribute.attname, ', ' order by numbered.place)
      from unnest(numbers) with ordinality as numbered (number, place)
      join pg_catalog.pg_attribute as attribute on attribute.attrelid = relation and attribute.attnum = numbered.number
      where attribute.attname <> 'organization_id' or cardinality(numbers) = 1
    ),
    'row'
  );
end
$$;
comment on function private.fields_of(oid, smallint[]) is
  'Columns by their numbers, for people: the organization is left out where other columns say more.';

create function private.collision_query(constraint_id oid)
returns text
language plpgsql
stable
set search_path = ''
as $$
declare
  keys text;
  meets text;
  primary_key text;
  same text;
  condition text;
  relation regclass;
begin
  select
    string_agg(format('%s as key_%s', pg_get_indexdef(known.conindid, key.place, true), key.place), ', '),
    string_agg(format('mine.key_%1$s operator(%2$s) theirs.key_%1$s', key.place, coalesce(
      (
        select format('%I.%s', operator.oprnamespace::regnamespace::text, operator.oprname)
        from pg_catalog.pg_operator as operator
        where operator.oid = known.conexclop[key.place]
      ),
      'pg_catalog.='
    )), ' and '),
    min(known.conrelid)::regclass,
    min(coalesce(pg_get_expr(index.indpred, index.indrelid), 'true'))
  into keys, meets, relation, condition
  from pg_catalog.pg_constraint as known
  join pg_catalog.pg_index as index on index.indexrelid = known.conindid
  cross join lateral generate_series(1, index.indnkeyatts::integer) as key (place)
  where known.oid = constraint_id;
  select string_agg(format('other.%I', attribute.attname), ', '), string_agg(format('($2).%I', attribute.attname), ', ')
  into primary_key, same
  from pg_catalog.pg_constraint as known
  join pg_catalog.pg_attribute as attribute on attribute.attrelid = known.conrelid and attribute.attnum = any (known.conkey)
  where known.conrelid = relation and known.contype = 'p';
  return format(
    'select exists (select from (select %1$s from (select ($1).*) as written where %2$s) as mine
      join (select %1$s from %3$s as other where (%2$s) and (%4$s) is distinct from (%5$s)) as theirs on %6$s)',
    keys, condition, relation, primary_key, same, meets
  );
end
$$;
comment on function private.collision_query(oid) is
  'The query that says whether a row ($1) meets another under a unique or exclusion constraint; $2 is the row itself as it '
  'stands in the table, null when it does not.';

create function private.refuse_broken_row()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  fields text;
  query text;
  broken oid;
  known record;
  is_met boolean;
  is_user constant boolean := coalesce(auth.role() = 'authenticated', false);
  -- An upsert means the row that is there; whatever else it may break is looked at all the same.
  is_upsert constant boolean := tg_op = 'INSERT'
    and coalesce(nullif(current_setting('request.headers', true), '')::jsonb ->> 'prefer', '') ~ 'resolution=';
begin
  select string_agg(attribute.attname, ', ' order by attribute.attnum) into fields
  from pg_catalog.pg_attribute as attribute
  where attribute.attrelid = tg_relid and attribute.attnum > 0 and attribute.attnotnull and attribute.attgenerated = ''
    and not attribute.attisdropped and to_jsonb(new) ->> attribute.attname is null;
  if fields is not null then
    perform private.refuse_row('23502', '', tg_relid, fields, 'is missing');
  end if;

  select format('select (case %s end)::oid from (select ($1).*) as written', string_agg(
    format('when not (%s) then %s', pg_get_expr(rule.conbin, rule.conrelid), rule.oid), ' ' order by rule.conname
  )) into query
  from pg_catalog.pg_constraint as rule
  where rule.conrelid = tg_relid and rule.contype = 'c'
  having count(*) > 0;
  if query is not null then
    execute query into broken using new;
  end if;
  if broken is not null then
    perform private.refuse_row('23514', rule.conname, tg_relid, private.fields_of(tg_relid, rule.conkey),
      coalesce(obj_description(rule.oid, 'pg_constraint'), 'is not a value that is allowed here'))
    from pg_catalog.pg_constraint as rule
    where rule.oid = broken;
  end if;

  -- Row-level security has not judged the row yet. Nobody learns what another clinic has; and who may not read all of their
  -- own learns of an id at most, which they must have known.
  if is_user and (
    coalesce(to_jsonb(new) ->> 'organization_id', to_jsonb(new) ->> 'id') = private.active_organization_id()::text
  ) is not true then
    return new;
  end if;
  for known in
    select rule.oid, rule.conname, rule.contype, rule.conkey, private.fields_of(tg_relid, rule.conkey) as fields,
      obj_description(rule.oid, 'pg_constraint') as words
    from pg_catalog.pg_constraint as rule
    where rule.conrelid = tg_relid and rule.contype in ('p', 'u', 'x') and not rule.condeferrable
      and not (is_upsert and rule.contype in ('p', 'u'))
      and (not is_user or rule.contype = 'p' and private.fields_of(tg_relid, rule.conkey) = 'id' or private.is_admin())
  loop
    execute private.collision_query(known.oid) into is_met using new, case when tg_op = 'UPDATE' then old end;
    if is_met then
      perform private.refuse_row(case when known.contype = 'x' then '23P01' else '23505' end, known.conname, tg_relid,
        known.fields, coalesce(known.words, format('there is such a row in %s already', tg_table_name)));
    end if;
  end loop;
  return new;
end
$$;
comment on function private.refuse_broken_row() is
  'Trigger: refuses in plain words what NOT NULL, a check, or a unique or exclusion constraint of the table would refuse.';

-- As the owner, as foreign keys are checked; row-level security has admitted the row by now.
create function private.refuse_broken_reference()
returns trigger
language plpgsql
security definer
set search_path = ''
as $$
declare
  known record;
  is_broken boolean;
begin
  for known in
    select rule.conname, private.fields_of(tg_relid, rule.conkey) as fields, rule.confrelid::regclass as target,
      string_agg(format('($1).%I', here.attname), ', ' order by key.place) as named,
      string_agg(format('known.%I', there.attname), ', ' order by key.place) as known
    from pg_catalog.pg_constraint as rule
    cross join lateral unnest(rule.conkey, rule.confkey) with ordinality as key (here, there, place)
    join pg_catalog.pg_attribute as here on here.attrelid = rule.conrelid and here.attnum = key.here
    join pg_catalog.pg_attribute as there on there.attrelid = rule.confrelid and there.attnum = key.there
    where rule.conrelid = tg_relid and rule.contype = 'f' and tg_op <> 'DELETE'
    group by rule.oid
  loop
    execute format('select num_nulls(%1$s) = 0 and not exists (select from %2$s as known where (%3$s) = (%1$s))',
      known.named, known.target, known.known) into is_broken using new;
    if is_broken then
      perform private.refuse_row('23503', known.conname, tg_relid, known.fields,
        format('nothing in %s has this', (parse_ident(known.target::text))[2]));
    end if;
  end loop;

  for known in
    select rule.oid, rule.conname, private.fields_of(tg_relid, rule.conkey) as fields,
      obj_description(rule.oid, 'pg_constraint') as words
    from pg_catalog.pg_constraint as rule
    where rule.conrelid = tg_relid and rule.contype = 'x' and rule.condeferrable and tg_op <> 'DELETE'
  loop
    execute private.collision_query(known.oid) into is_broken using new, new;
    if is_broken then
      perform private.refuse_row('23P01', known.conname, tg_relid, known.fields, known.words);
    end if;
  end loop;

  for known in
    select rule.conname, private.fields_of(tg_relid, rule.confkey) as fields, rule.conrelid::regclass as child,
      string_agg(format('known.%I', there.attname), ', ' order by key.place) as named,
      string_agg(format('($1).%I', here.attname), ', ' order by key.place) as former,
      string_agg(format('($2).%I', here.attname), ', ' order by key.place) as latter
    from pg_catalog.pg_constraint as rule
    cross join lateral unnest(rule.confkey, rule.conkey) with ordinality as key (here, there, place)
    join pg_catalog.pg_attribute as here on here.attrelid = rule.confrelid and here.attnum = key.here
    join pg_catalog.pg_attribute as there on there.attrelid = rule.conrelid and there.attnum = key.there
    where rule.confrelid = tg_relid and rule.contype = 'f' and tg_op <> 'INSERT'
      and case tg_op when 'DELETE' then rule.confdeltype else rule.confupdtype end in ('a', 'r')
    group by rule.oid
  loop
    execute format(
      case
        when tg_op = 'DELETE' then 'select exists (select from %1$s as known where (%2$s) = (%3$s))'
        else 'select (%3$s) is distinct from (%4$s) and exists (select from %1$s as known where (%2$s) = (%3$s))'
      end,
      known.child, known.named, known.former, known.latter
    ) into is_broken using old, case when tg_op = 'DELETE' then old else new end;
    if is_broken then
      perform private.refuse_row('23503', known.conname, tg_relid, known.fields, 'other records still name this row');
    end if;
  end loop;
  return null;
end
$$;
comment on function private.refuse_broken_reference() is
  'Trigger: refuses in plain words what a foreign key, to or from the row, or a deferrable exclusion constraint would refuse.';

-- The triggers ---------------------------------------------------------------------------------------------------------
-- zz: after the triggers that derive columns. A: in the order of names before those of Postgres itself, whose names begin
-- with RI and Unique.

do $$
declare
  written regclass;
begin
  for written in
    select class.oid::regclass
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
      'create trigger zz_refuse_broken_row before insert or update on %s for each row
        when (current_user in (''authenticated'', ''service_role'')) execute function private.refuse_broken_row()', written
    );
    execute format(
      'create trigger "A_refuse_broken_reference" after insert or update or delete on %s for each row
        when (current_user in (''authenticated'', ''service_role'')) execute function private.refuse_broken_reference()', written
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
    select *
    from (values
      ('authorization_codes', 'authorization_codes_cpt_code_check', 'five digits or capital letters'),
      ('authorizations', 'authorizations_approved_units_check', 'more than 0'),
      ('authorizations', 'authorizations_booked_units_check', '0 or more'),
      ('authorizations', 'authorizations_check', 'an authorization ends on its first day or later'),
      ('authorizations', 'authorizations_reference_check', '1 to 64 characters'),
      ('authorizations', 'authorizations_starts_on_check', 'lies between 2000 and 2100'),
      ('availability_exceptions', 'availability_exceptions_check', 'the end comes after the start'),
      ('availability_exceptions', 'availability_exceptions_ends_at_check', 'lies between 2000 and 2100'),
      ('availability_exceptions', 'availability_exceptions_starts_at_check', 'lies between 2000 and 2100'),
      ('client_coverages', 'client_coverages_check', 'a coverage ends on its first day or later'),
      ('client_coverages', 'client_coverages_priority_check', '1 to 9'),
      ('client_coverages', 'client_coverages_valid_from_check', 'lies between 2000 and 2100'),
      ('client_coverages', 'client_coverages_one_a_priority_and_day', 'the client has another coverage of this priority on one of these days'),
      ('clients', 'clients_reference_check', '1 to 64 characters'),
      ('memberships', 'memberships_permissions_valid', 'at most 20 words of small letters and underscores'),
      ('organization_closures', 'organization_closures_check', 'the end comes after the start, by at most 400 days'),
      ('organization_closures', 'organization_closures_ends_at_check', 'lies between 2000 and 2100'),
      ('organization_closures', 'organization_closures_name_check', '1 to 100 characters, without spaces around them'),
      ('organization_closures', 'organization_closures_starts_at_check', 'lies between 2000 and 2100'),
      ('organizations', 'organizations_correction_days_check', '0 to 365'),
      ('organizations', 'organizations_name_check', '1 to 200 characters'),
      ('payer_code_rules', 'payer_code_rules_check', 'a rule ends on its first day or later'),
      ('payer_code_rules', 'payer_code_rules_cpt_code_check', 'five digits or capital letters'),
      ('payer_code_rules', 'payer_code_rules_excluded_places_check', 'a list of places, each once'),
      ('payer_code_rules', 'payer_code_rules_modifiers_check', 'lists of modifiers for technician, assistant and qhp'),
      ('payer_code_rules', 'payer_code_rules_valid_from_check', 'lies between 2000 and 2100'),
      ('payer_code_rules', 'payer_code_rules_one_version_a_day', 'the payer has another rule for this code on one of these days'),
      ('payer_concurrency_rules', 'payer_concurrency_rules_check', 'a rule ends on its first day or later'),
      ('payer_concurrency_rules', 'payer_concurrency_rules_check1', 'two different codes, the smaller one first'),
      ('payer_concurrency_rules', 'payer_concurrency_rules_first_code_check', 'five digits or capital letters'),
      ('payer_concurrency_rules', 'payer_concurrency_rules_second_code_check', 'five digits or capital letters'),
      ('payer_concurrency_rules', 'payer_concurrency_rules_valid_from_check', 'lies between 2000 and 2100'),
      ('payer_concurrency_rules', 'payer_concurrency_rules_one_version_a_day', 'the payer has another rule for these codes on one of these days'),
      ('payer_rules', 'payer_rules_check', 'a rule ends on its first day or later'),
      ('payer_rules', 'payer_rules_telehealth_modifier_check', 'two digits or capital letters'),
      ('payer_rules', 'payer_rules_valid_from_check', 'lies between 2000 and 2100'),
      ('payer_rules', 'payer_rules_one_version_a_day', 'the payer has another rule on one of these days'),
      ('payers', 'payers_name_check', '1 to 200 characters'),
      ('rooms', 'rooms_name_check', '1 to 100 characters'),
      ('service_codes', 'service_codes_check', 'a version ends on its first day or later'),
      ('service_codes', 'service_codes_check1', 'max_clients is at least min_clients'),
      ('service_codes', 'service_codes_code_check', 'five digits or capital letters'),
      ('service_codes', 'service_codes_description_check', '1 to 200 characters'),
      ('service_codes', 'service_codes_levels_check', 'at least one level, and no null'),
      ('service_codes', 'service_codes_min_clients_check', '1 or more'),
      ('service_codes', 'service_codes_ordinal_check', '1 to 99'),
      ('service_codes', 'service_codes_session_type_check', 'small letters, not blank'),
      ('service_codes', 'service_codes_unit_minutes_check', '1 to 480'),
      ('service_codes', 'service_codes_valid_from_check', 'lies between 2000 and 2100'),
      ('service_codes', 'service_codes_one_code_a_session_type', 'another code has this session type on one of these days'),
      ('service_codes', 'service_codes_one_code_an_ordinal', 'another code has this ordinal'),
      ('service_codes', 'service_codes_one_ordinal_a_code', 'the code has another ordinal already'),
      ('service_codes', 'service_codes_one_version_a_day', 'the code has another version on one of these days'),
      ('session_groups', 'session_groups_buffer_after_minutes_check', '0 to 240'),
      ('session_groups', 'session_groups_buffer_before_minutes_check', '0 to 240'),
      ('session_groups', 'session_groups_times', 'the end comes after the start, and both lie between 2000 and 2100'),
      ('sessions', 'sessions_buffers', '0 to 240'),
      ('sessions', 'sessions_cpt_code_check', 'five digits or capital letters'),
      ('sessions', 'sessions_cpt_modifiers_check', 'at most 4'),
      ('sessions', 'sessions_lanes', 'follows from the service, and is not written'),
      ('sessions', 'sessions_location_type_check', '1 to 64 characters'),
      ('sessions', 'sessions_place_of_group', 'the group has the room and the buffers, its members have none'),
      ('sessions', 'sessions_session_type_check', '1 to 64 characters'),
      ('sessions', 'sessions_times', 'the end comes after the start, by at most 12 hours, and both lie between 2000 and 2100'),
      ('sessions', 'sessions_no_therapist_overlap', 'the session overlaps another booking of the same therapist'),
      ('staff_times', 'staff_times_times', 'the end comes after the start, by at most 12 hours, and both lie between 2000 and 2100'),
      ('therapists', 'availability_hours_valid', 'for each weekday a list of {start, end} as HH:MM, in order, at most 12 a day'),
      ('therapists', 'therapists_credential_check', 'RBT, BCaBA, BCBA or BCBA-D'),
      ('therapists', 'therapists_display_name_check', '1 to 200 characters'),
      ('therapists', 'therapists_specialties_valid', 'at most 50 texts of 1 to 100 characters'),
      ('unit_limits', 'unit_limits_check', 'a limit ends on its first day or later'),
      ('unit_limits', 'unit_limits_cpt_codes_check', '1 to 50 codes'),
      ('unit_limits', 'unit_limits_max_units_check', 'more than 0'),
      ('unit_limits', 'unit_limits_of_one', 'exactly one of the two'),
      ('unit_limits', 'unit_limits_period_of_authorization', 'this period is for limits of an authorization'),
      ('unit_limits', 'unit_limits_valid_from_check', 'lies between 2000 and 2100'),
      ('unit_limits', 'unit_limits_week_starts_on_check', '1 (Monday) to 7'),
      ('waitlist_entries', 'waitlist_entries_cpt_code_check', 'five digits or capital letters'),
      ('waitlist_entries', 'waitlist_entries_minutes_check', '15 to 720'),
      ('waitlist_entries', 'waitlist_entries_priority_check', '1 to 9'),
      ('waitlist_entries', 'waitlist_entries_state', 'an offer has its hold and its time, and a closed entry its end'),
      ('waitlist_entries', 'waitlist_entries_state_check', 'waiting, offered, booked or closed'),
      ('waitlist_entries', 'waitlist_entries_windows', 'ranges of time between 2000 and 2100')
    ) as rule (table_name, constraint_name, words)
  loop
    execute format(
      'comment on constraint %I on public.%I is %L', spoken.constraint_name, spoken.table_name, spoken.words
    );
  end loop;
end
$$;
