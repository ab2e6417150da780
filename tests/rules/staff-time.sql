-- The ways time without a client is written: see world.sql. A place's client and service do not matter.

create function rule_matrix.staff_body(place jsonb) returns jsonb
language sql stable set search_path = ''
as $$
  select jsonb_strip_nulls(jsonb_build_object(
    'kind', 'meeting', 'therapist_ids', jsonb_build_array(rule_matrix.id(place ->> 'therapist')),
    'room_id', rule_matrix.id(place ->> 'room'), 'start_time', rule_matrix.wire(place ->> 'start'),
    'end_time', rule_matrix.wire(place ->> 'end'), 'time_zone', place -> 'zone'))
$$;

create function rule_matrix.by_staff_time(person text, setup text, place jsonb) returns text
language plpgsql set search_path = ''
as $$
begin
  perform rule_matrix.arrange(setup), rule_matrix.become(person);
  return rule_matrix.verdict(public.add_staff_time(rule_matrix.staff_body(place)));
end
$$;

create function rule_matrix.insert_staff_time(place jsonb) returns uuid
language plpgsql set search_path = ''
as $$
declare
  made uuid := gen_random_uuid();
begin
  insert into public.staff_times (organization_id, id, kind, start_time, end_time, time_zone, room_id)
  values (rule_matrix.id('clinic'), made, 'meeting', (place ->> 'start')::timestamptz, (place ->> 'end')::timestamptz,
    place ->> 'zone', rule_matrix.id(place ->> 'room'));
  insert into public.staff_time_members (organization_id, staff_time_id, therapist_id)
  values (rule_matrix.id('clinic'), made, rule_matrix.id(place ->> 'therapist'));
  return made;
end
$$;

create function rule_matrix.by_insert_staff_time(person text, setup text, place jsonb) returns text
language plpgsql set search_path = ''
as $$
begin
  perform rule_matrix.arrange(setup), rule_matrix.become(person);
  perform rule_matrix.insert_staff_time(place);
  return 'allowed';
end
$$;

-- One of the day after is changed to be at the place.
create function rule_matrix.by_change_staff_time(person text, setup text, from_place jsonb, place jsonb) returns text
language plpgsql set search_path = ''
as $$
declare
  made uuid := rule_matrix.insert_staff_time(from_place);
begin
  perform rule_matrix.arrange(setup), rule_matrix.become(person);
  return rule_matrix.verdict(public.change_staff_time(
    rule_matrix.staff_body(place) - 'time_zone' || jsonb_build_object('staff_time_id', made)));
end
$$;
-- A series of one, later on the same day, is changed to be at the place.
create function rule_matrix.by_change_staff_series(person text, setup text, earlier jsonb, place jsonb) returns text
language plpgsql set search_path = ''
as $$
declare
  made uuid := rule_matrix.insert_staff_time((place - 'room') || (earlier - 'start' - 'end') || jsonb_build_object(
    'start', (place ->> 'start')::timestamptz + interval '5 hours', 'end', (place ->> 'start')::timestamptz + interval '6 hours'));
  minutes constant integer := extract(epoch from (place ->> 'end')::timestamptz - (place ->> 'start')::timestamptz) / 60;
begin
  update public.staff_times set series_id = made where id = made;
  perform rule_matrix.arrange(setup), rule_matrix.become(person);
  return rule_matrix.verdict(public.change_staff_time(jsonb_strip_nulls(jsonb_build_object(
    'series_id', made, 'therapist_ids', jsonb_build_array(rule_matrix.id(place ->> 'therapist')), 'room_id', rule_matrix.id(place ->> 'room'),
    'local_start', to_char((place ->> 'start')::timestamptz at time zone 'UTC', 'HH24:MI'), 'duration_minutes', minutes))));
end
$$;
create function rule_matrix.by_update_staff_time(person text, setup text, from_place jsonb, place jsonb) returns text
language plpgsql set search_path = ''
as $$
declare
  made uuid := rule_matrix.insert_staff_time(from_place);
  written bigint;
begin
  perform rule_matrix.arrange(setup), rule_matrix.become(person);
  update public.staff_times
  set start_time = (place ->> 'start')::timestamptz, end_time = (place ->> 'end')::timestamptz, time_zone = place ->> 'zone',
    room_id = rule_matrix.id(place ->> 'room')
  where id = made;
  get diagnostics written = row_count;
  if place ->> 'therapist' <> from_place ->> 'therapist' then
    delete from public.staff_time_members where staff_time_id = made;
    insert into public.staff_time_members (organization_id, staff_time_id, therapist_id)
    values (rule_matrix.id('clinic'), made, rule_matrix.id(place ->> 'therapist'));
  end if;
  return case when written > 0 then 'allowed' else 'refused, no row' end;
end
$$;
grant execute on all functions in schema rule_matrix to authenticated, service_role;
