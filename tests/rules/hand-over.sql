-- The place's session is another therapist's, a professional's, and is handed to the place's therapist.
create function rule_matrix.by_hand_over(person text, setup text, place jsonb) returns text
language plpgsql set search_path = ''
as $$
declare
  session_id uuid := rule_matrix.given_session(place || '{"therapist": "bcba"}');
  held jsonb;
begin
  perform rule_matrix.arrange(setup), rule_matrix.become(person);
  held := public.hold_reassignment(jsonb_strip_nulls(jsonb_build_object('override', rule_matrix.override_of(place),
    'session_ids', jsonb_build_array(session_id), 'to_therapist_id', rule_matrix.id(place ->> 'therapist'))));
  if held -> 'ok' is distinct from 'true' then
    return rule_matrix.verdict(held);
  end if;
  return rule_matrix.verdict(public.confirm_sessions(rule_matrix.confirm_body(held, place)));
end
$$;
