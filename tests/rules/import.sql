-- How sessions are imported: see world.sql. A row that cannot be says why with an issue, by its field, or with a conflict,
-- by what is in the way; both are told here as the rule's codes are elsewhere.

create function rule_matrix.by_import(person text, setup text, place jsonb) returns text
language plpgsql set search_path = ''
as $$
declare
  answer jsonb;
  told jsonb;
begin
  perform rule_matrix.arrange(setup), rule_matrix.become(person);
  answer := public.import_sessions(jsonb_build_object('rows', jsonb_build_array(jsonb_strip_nulls(jsonb_build_object(
    'external_id', 'row', 'therapist_id', rule_matrix.id(place ->> 'therapist'), 'client_id', rule_matrix.id(place ->> 'client'),
    'room_id', rule_matrix.id(place ->> 'room'), 'start_time', rule_matrix.wire(place ->> 'start'),
    'end_time', rule_matrix.wire(place ->> 'end'), 'time_zone', place -> 'zone', 'cpt_code', place -> 'code',
    'location_type', place -> 'location'
  )))));
  told := answer #> '{body,rows,0}';
  return case
    when answer -> 'ok' <> 'true' then 'refused ' || (answer ->> 'code')
    when told ->> 'status' = 'ok' then 'allowed'
    when told ->> 'status' = 'issues' then 'refused ' || (told #>> '{issues,0,path}')
    else 'refused ' || (told #>> '{conflicts,0,resource}') || ' ' || (told #>> '{conflicts,0,blockedBy}')
  end;
end
$$;
grant execute on all functions in schema rule_matrix to authenticated, service_role;
