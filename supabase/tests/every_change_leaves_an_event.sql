-- Whatever a user may change in a row leaves one event with the value before and after: each column by itself, so that no
-- trigger overlooks one.
begin;
select plan(71);
select tests.open_clinic();
select tests.add_payers();
select tests.cover('ann', 'open');
insert into public.payer_rules (organization_id, payer_id, valid_from) values (tests.id('clinic'), tests.id('open'), '2020-01-01');
insert into public.payer_code_rules (organization_id, payer_id, cpt_code, valid_from) values (tests.id('clinic'), tests.id('open'), '97153', '2020-01-01');
select tests.authorize('ann', '97153', 40);
insert into public.unit_limits (organization_id, payer_id, cpt_codes, period, max_units) values (tests.id('clinic'), tests.id('open'), '{97153}', 'week', 40);
insert into public.service_codes (organization_id, code, description, levels, valid_from) values (tests.id('clinic'), 'H2019', 'Skills', '{qhp}', '2020-01-01');
insert into public.organization_closures (organization_id, name, starts_at, ends_at) values (tests.id('clinic'), 'Closed', tests.at(80), tests.at(81));
insert into public.waitlist_entries (organization_id, client_id, cpt_code, windows)
values (tests.id('clinic'), tests.id('ben'), '97153', tstzmultirange(tstzrange(tests.at(1), tests.at(2))));
insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code)
values (tests.id('clinic'), tests.id('bcba'), tests.id('dan'), tests.at(3), tests.at(3, '11:00'), 'UTC', '97153');

-- Which row of a table is changed, and what each column becomes.
create temporary table changed_row (table_name text, condition text) on commit drop;
insert into changed_row values
  ('authorizations', 'true'), ('client_coverages', 'true'), ('clients', $$ reference = 'cat' $$), ('memberships', format('user_id = %L', tests.id('rbt2'))),
  ('organization_closures', 'true'), ('organizations', 'true'), ('payer_code_rules', 'true'), ('payer_concurrency_rules', format('payer_id = %L', tests.id('open'))),
  ('payer_rules', 'true'), ('payers', $$ name = 'silent' $$), ('rooms', $$ name = 'green' $$), ('service_codes', $$ code = 'H2019' $$), ('sessions', 'true'),
  ('therapists', format('id = %L', tests.id('rbt2'))), ('unit_limits', 'true'), ('waitlist_entries', 'true');
create temporary table change (table_name text, column_name text, value text, action text) on commit drop;
insert into change values
  ('authorizations', 'approved_units', '50', 'authorization.changed'), ('authorizations', 'ends_on', '2098-01-01', 'authorization.changed'),
  ('authorizations', 'reference', 'A-1', 'authorization.changed'), ('authorizations', 'starts_on', '2020-01-01', 'authorization.changed'),
  ('client_coverages', 'priority', '2', 'coverage.changed'), ('client_coverages', 'valid_from', '2021-01-01', 'coverage.changed'),
  ('client_coverages', 'valid_to', '2098-01-01', 'coverage.changed'),
  ('clients', 'deleted_at', '2026-01-01', 'client.archived'), ('clients', 'reference', 'K-1', 'client.changed'), ('clients', 'time_zone', 'UTC', 'client.changed'),
  ('memberships', 'permissions', '{view_audit}', 'membership.changed'), ('memberships', 'role', 'admin', 'membership.changed'),
  ('organization_closures', 'ends_at', tests.at(82)::text, 'organization_closure.changed'), ('organization_closures', 'name', 'Snow', 'organization_closure.changed'),
  ('organization_closures', 'starts_at', tests.at(79)::text, 'organization_closure.changed'),
  ('organizations', 'correction_days', '5', 'organization.changed'), ('organizations', 'name', 'Renamed', 'organization.changed'),
  ('organizations', 'time_zone', 'UTC', 'organization.changed'),
  ('payer_code_rules', 'authorization_required', 'true', 'payer_code_rule.changed'), ('payer_code_rules', 'excluded_places', '{home}', 'payer_code_rule.changed'),
  ('payer_code_rules', 'is_covered', 'false', 'payer_code_rule.changed'), ('payer_code_rules', 'modifiers', '{"qhp": ["HO"]}', 'payer_code_rule.changed'),
  ('payer_code_rules', 'rounding', 'floor', 'payer_code_rule.changed'), ('payer_code_rules', 'valid_from', '2021-01-01', 'payer_code_rule.changed'),
  ('payer_code_rules', 'valid_to', '2098-01-01', 'payer_code_rule.changed'),
  ('payer_concurrency_rules', 'allowed', 'false', 'payer_concurrency_rule.changed'), ('payer_concurrency_rules', 'valid_from', '2021-01-01', 'payer_concurrency_rule.changed'),
  ('payer_concurrency_rules', 'valid_to', '2098-01-01', 'payer_concurrency_rule.changed'),
  ('payer_rules', 'authorization_required', 'true', 'payer_rule.changed'), ('payer_rules', 'evv_required', 'true', 'payer_rule.changed'),
  ('payer_rules', 'rounding', 'floor', 'payer_rule.changed'), ('payer_rules', 'telehealth_modifier', null, 'payer_rule.changed'),
  ('payer_rules', 'valid_from', '2021-01-01', 'payer_rule.changed'), ('payer_rules', 'valid_to', '2098-01-01', 'payer_rule.changed'),
  ('payers', 'deleted_at', '2026-01-01', 'payer.changed'), ('payers', 'name', 'Renamed', 'payer.changed'),
  ('rooms', 'deleted_at', '2026-01-01', 'room.archived'), ('rooms', 'name', 'Renamed', 'room.changed'),
  ('service_codes', 'description', 'Renamed', 'service_code.changed'), ('service_codes', 'levels', '{technician}', 'service_code.changed'),
  ('service_codes', 'valid_to', '2098-01-01', 'service_code.changed'),
  ('sessions', 'buffer_after_minutes', '5', 'session.changed'), ('sessions', 'buffer_before_minutes', '5', 'session.changed'),
  ('sessions', 'cpt_code', '97155', 'session.changed'), ('sessions', 'cpt_modifiers', '{HO}', 'session.changed'),
  ('sessions', 'end_time', tests.at(3, '12:00')::text, 'session.moved'), ('sessions', 'location_type', 'home', 'session.changed'),
  ('sessions', 'room_id', tests.id('blue')::text, 'session.moved'), ('sessions', 'session_type', 'group talk', 'session.changed'),
  ('sessions', 'start_time', tests.at(3, '09:00')::text, 'session.moved'), ('sessions', 'status', 'cancelled', 'session.cancelled'),
  ('sessions', 'therapist_id', tests.id('rbt')::text, 'session.moved'), ('sessions', 'time_zone', 'America/New_York', 'session.changed'),
  ('therapists', 'availability_hours', '{"monday": [{"start": "08:00", "end": "16:00"}]}', 'therapist.changed'),
  ('therapists', 'credential', 'BCBA', 'therapist.changed'), ('therapists', 'deleted_at', '2026-01-01', 'therapist.archived'),
  ('therapists', 'display_name', 'Renamed', 'therapist.changed'), ('therapists', 'specialties', '{sleep}', 'therapist.changed'),
  ('therapists', 'time_zone', 'UTC', 'therapist.changed'),
  ('unit_limits', 'effect', 'warn', 'unit_limit.changed'), ('unit_limits', 'max_units', '41', 'unit_limit.changed'),
  ('unit_limits', 'valid_from', '2021-01-01', 'unit_limit.changed'), ('unit_limits', 'valid_to', '2098-01-01', 'unit_limit.changed'),
  ('unit_limits', 'week_starts_on', '1', 'unit_limit.changed'),
  ('waitlist_entries', 'closed_at', '2026-01-01', 'waitlist_entry.changed'), ('waitlist_entries', 'cpt_code', '97155', 'waitlist_entry.changed'),
  ('waitlist_entries', 'minutes', '60', 'waitlist_entry.changed'), ('waitlist_entries', 'priority', '1', 'waitlist_entry.changed'),
  ('waitlist_entries', 'therapist_id', tests.id('bcba')::text, 'waitlist_entry.changed'),
  ('waitlist_entries', 'windows', tstzmultirange(tstzrange(tests.at(4), tests.at(5)))::text, 'waitlist_entry.changed');

select bag_eq(
  'select table_name, column_name from change',
  $$ select table_name::text, column_name::text from information_schema.column_privileges
     where grantee = 'authenticated' and privilege_type = 'UPDATE' and table_schema = 'public' $$,
  'every column that a user may change is here'
);

-- The events of a super_admin's change in which the column has another value than before, with how many they are.
create function pg_temp.recorded(table_name text, column_name text, value text, condition text) returns text language plpgsql as $$
declare
  known uuid[] := array(select id from audit.events);
  found text;
begin
  begin
    perform tests.rows('super', format('update public.%I set %I = %L where %s = %L and %s', table_name, column_name, value,
      case table_name when 'organizations' then 'id' else 'organization_id' end, tests.id('clinic'), condition));
    select string_agg(action, ', ') into found
    from audit.events
    where id <> all (known) and actor_user_id = tests.id('super')
      and coalesce(before #> array['0', column_name], before -> column_name) is distinct from coalesce(after #> array['0', column_name], after -> column_name);
    raise exception using errcode = 'ZZ001', message = coalesce(found, 'nothing');
  exception when sqlstate 'ZZ001' then
    return sqlerrm;
  end;
end $$;
select is(pg_temp.recorded(table_name, column_name, value, condition), action, format('%s.%s', table_name, column_name))
from change join changed_row using (table_name) order by table_name, column_name;

select * from finish();
rollback;
