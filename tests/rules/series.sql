-- How series change and go on, how sessions get another code, and how they go back to their civil times: see world.sql.

-- A weekly series of one session, made by the operator: at a place, some days after it.
create function rule_matrix.given_series(place jsonb, days integer) returns uuid
language plpgsql set search_path = ''
as $$
declare
  made uuid := gen_random_uuid();
  starts constant timestamptz := (place ->> 'start')::timestamptz + make_interval(days => days);
  session_id uuid;
begin
  insert into public.session_series (organization_id, id, therapist_id, client_id, recurrence_rule, time_zone, civil_start)
  values (rule_matrix.id('clinic'), made, rule_matrix.id(place ->> 'therapist'), rule_matrix.id(place ->> 'client'), 'FREQ=WEEKLY',
    'UTC', starts at time zone 'UTC');
  session_id := rule_matrix.given_session(place || jsonb_build_object(
    'start', starts, 'end', (place ->> 'end')::timestamptz + make_interval(days => days)));
  update public.sessions set series_id = made where id = session_id;
  return made;
end
$$;

-- A series that stands a week before the place goes on by one session. Who gives it may be another from then on.
create function rule_matrix.by_extend_series(person text, setup text, earlier jsonb, place jsonb) returns text
language plpgsql set search_path = ''
as $$
declare
  made uuid := rule_matrix.given_series(place || (earlier - 'start' - 'end'), -7);
begin
  perform rule_matrix.arrange(setup), rule_matrix.become(person);
  return rule_matrix.verdict(public.extend_series(jsonb_strip_nulls(jsonb_build_object('series_id', made, 'count', 1,
    'override', rule_matrix.override_of(place),
    'therapist_id', case when earlier ->> 'therapist' <> place ->> 'therapist' then rule_matrix.id(place ->> 'therapist') end))));
end
$$;

-- A series that stands after the place goes to it: all of it, or from its first session on.
create function rule_matrix.by_change_series(person text, setup text, earlier jsonb, place jsonb, scope text) returns text
language plpgsql set search_path = ''
as $$
declare
  days constant integer := case when (place ->> 'start')::timestamptz < now() then 20 else 1 end;
  minutes constant integer := extract(epoch from (place ->> 'end')::timestamptz - (place ->> 'start')::timestamptz) / 60;
  was constant jsonb := rule_matrix.lawful() || earlier || jsonb_build_object(
    'start', place -> 'start', 'end', (place ->> 'start')::timestamptz + interval '1 hour');
  made uuid := rule_matrix.given_series(was, days);
  held jsonb;
begin
  perform rule_matrix.arrange(setup), rule_matrix.become(person);
  held := public.hold_sessions(jsonb_strip_nulls(jsonb_build_object(
    'time_zone', place -> 'zone', 'cpt_code', place -> 'code', 'buffer_before_minutes', place -> 'before',
    'override', rule_matrix.override_of(place),
    'series', jsonb_build_object('series_id', made, 'scope', scope,
      'from', case scope when 'following' then rule_matrix.wire(((place ->> 'start')::timestamptz + make_interval(days => days))::text) end,
      'change', jsonb_build_object('shift_minutes', -1440 * days, 'duration_minutes', case when minutes <> 60 then minutes end,
        'therapist_id', case when was ->> 'therapist' <> place ->> 'therapist' then rule_matrix.id(place ->> 'therapist') end,
        'room_id', rule_matrix.id(place ->> 'room'))))));
  if held -> 'ok' is distinct from 'true' then
    return rule_matrix.verdict(held);
  end if;
  return rule_matrix.verdict(public.confirm_sessions(rule_matrix.confirm_body(held, place)));
end
$$;

-- The session at the place, of another code or of none, gets the place's.
create function rule_matrix.by_recode(person text, setup text, former_code text, place jsonb) returns text
language plpgsql set search_path = ''
as $$
declare
  session_id uuid := rule_matrix.given_session(jsonb_strip_nulls(place || jsonb_build_object('code', former_code)));
begin
  perform rule_matrix.arrange(setup), rule_matrix.become(person);
  return rule_matrix.verdict(public.recode_sessions(jsonb_build_object(
    'session_ids', jsonb_build_array(session_id), 'cpt_code', coalesce(place ->> 'code', '97153'),
    'override', rule_matrix.override_of(place))));
end
$$;

-- The session was booked for the place, and since the law of its zone changed stands an hour later.
create function rule_matrix.by_resync(person text, setup text, place jsonb) returns text
language plpgsql set search_path = ''
as $$
declare
  zone constant text := 'America/Vancouver';
  session_id uuid := rule_matrix.given_session(place || jsonb_build_object('zone', zone,
    'start', (place ->> 'start')::timestamptz + interval '1 hour', 'end', (place ->> 'end')::timestamptz + interval '1 hour'));
  answer jsonb;
begin
  update public.sessions set civil_start = civil_start - interval '1 hour' where id = session_id;
  perform rule_matrix.arrange(setup), rule_matrix.become(person);
  answer := public.resync_zone(zone);
  if answer -> 'ok' = 'true' and answer #> '{body,movedCount}' <> '1' then
    return 'could not be tried: ' || answer;
  end if;
  return rule_matrix.verdict(answer);
end
$$;
grant execute on all functions in schema rule_matrix to authenticated, service_role;
