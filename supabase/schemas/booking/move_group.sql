-- Purpose: moves a whole group in one call.
-- Objects: move_group: the hold and the confirmation of a move of one of its members, in one transaction.
-- Watch for: there is no second way to move a group; this is sessions-hold and sessions-confirm.

create type private.group_request as (group_id uuid);
comment on type private.group_request is 'Which group a request of move_group names; all else in it is a request of sessions-hold.';
select private.make_readable('{group_request}');

create function private.move_group(actor private.actor, request jsonb)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  wanted private.hold_request;
  named_id constant uuid := (private.read_request(request, null::private.group_request, '{group_id}')).group_id;
  lead record;
  outcome jsonb;
begin
  select known.therapist_id, member.id, member.client_id into lead
  from public.session_groups as known
  join public.sessions as member
    on member.organization_id = known.organization_id and member.group_id = known.id
    and member.status not in ('cancelled', 'no_show')
  where known.organization_id = actor.organization_id and known.id = named_id
    and private.may_ask(actor, known.therapist_id)
  order by member.id
  limit 1;
  if lead.id is null then
    return private.refuse(actor, 'hold.refused', '{}', 'FORBIDDEN', 'This group is not yours to move.');
  end if;
  wanted := private.read_hold_request(
    (request - array['client_ids', 'occurrences', 'recurrence', 'group_id', 'cpt_code', 'session_type'])
    || jsonb_build_object(
      'therapist_id', coalesce(request -> 'therapist_id', to_jsonb(lead.therapist_id)),
      'client_id', lead.client_id,
      'session_id', lead.id
    )
  );
  perform private.share_organization(actor.organization_id);
  outcome := private.place_hold(
    actor, wanted, private.slots_of(wanted, clock_timestamp()), request ? 'room_id'
  );
  if not (outcome ->> 'ok')::boolean then
    return outcome;
  end if;
  outcome := private.confirm_hold(actor, moved.request, private.listed_of(moved.request))
  from (
    select row(
      (outcome #>> '{body,holdKey}')::uuid,
      row(lead.id, wanted.therapist_id, wanted.client_id, wanted.start_time, wanted.end_time, null, null, null)::private.session_request,
      null, null, null, wanted.time_zone, null, null
    )::private.confirm_request as request
  ) as moved;
  if not (outcome ->> 'ok')::boolean then
    perform private.raise_busy();
  end if;
  return private.success(jsonb_build_object('groupId', named_id, 'sessions', outcome #> '{body,sessions}'));
end
$$;
comment on function private.move_group(private.actor, jsonb) is
  'Holds and confirms the move of a group in one transaction. Refusals are those of sessions-hold.';
