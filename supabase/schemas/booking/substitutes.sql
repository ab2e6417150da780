-- Purpose: who could take a session when its therapist cannot.
-- Objects: find_substitutes, private.booked_minutes.
-- Watch for: it only looks. Whoever is listed is held like anybody else, by moving the session to them.

create function private.booked_minutes(organization_id uuid, therapist_id uuid, span tstzrange)
returns integer
language plpgsql
stable
set search_path = ''
as $$
begin
  -- The members of a group are one hour of work. Time without a client is work too.
  return (
    select coalesce(sum(extract(epoch from upper(work.during) - lower(work.during)) / 60), 0)::integer
    from (
      select unnest(range_agg(tstzrange(taken.start_time, taken.end_time, '[)'))) as during
      from (
        select session.start_time, session.end_time
        from public.sessions as session
        where session.organization_id = booked_minutes.organization_id
          and session.therapist_id = booked_minutes.therapist_id
          and session.start_time >= lower(span)
          and session.start_time < upper(span)
          and session.status not in ('cancelled', 'no_show')
        union all
        select meeting.start_time, meeting.end_time
        from public.staff_time_members as member
        join public.staff_times as meeting
          on meeting.organization_id = member.organization_id and meeting.id = member.staff_time_id
        where member.organization_id = booked_minutes.organization_id
          and member.therapist_id = booked_minutes.therapist_id
          and meeting.start_time >= lower(span)
          and meeting.start_time < upper(span)
          and meeting.cancelled_at is null
      ) as taken
    ) as work
  );
end
$$;
comment on function private.booked_minutes(uuid, uuid, tstzrange) is
  'The minutes for which a therapist is booked, sessions and time without a client, of what begins in a span.';

create type private.substitutes_request as (session_id uuid, include_off_caseload boolean);
comment on type private.substitutes_request is 'The request of find_substitutes.';
select private.make_readable('{substitutes_request}');

create function private.find_substitutes(request jsonb)
returns jsonb
language plpgsql
stable
security definer
set search_path = ''
set timezone = 'UTC'
as $$
declare
  actor private.actor := private.require_actor();
  wanted private.substitutes_request := private.read_request(request, null::private.substitutes_request, '{session_id}');
  as_of timestamptz := statement_timestamp();
  absent public.sessions;
  code text;
  on_date date;
  client_ids uuid[];
  span tstzrange;
  busy tstzrange;
  week tstzrange;
  places private.asked_place[];
begin
  select session.* into absent
  from public.sessions as session
  where session.organization_id = actor.organization_id
    and session.id = wanted.session_id
    and (actor.role in ('admin', 'super_admin') or (actor.role = 'therapist' and session.therapist_id = actor.user_id));
  if absent.id is null then
    perform private.raise_refusal(403, 'FORBIDDEN', 'You may not look for somebody to take this session.');
  elsif absent.status <> 'scheduled' or absent.start_time < as_of then
    return '[]';
  end if;

  on_date := private.service_date(absent.organization_id, absent.client_id, absent.start_time);
  code := private.service_code(absent.organization_id, absent.cpt_code, absent.session_type, on_date);
  -- A group goes over whole, with everybody who still comes.
  places := array(
    select row(
      0, member.client_id, private.service_code(member.organization_id, member.cpt_code, member.session_type, on_date),
      member.start_time, member.end_time, member.time_zone, member.id
    )::private.asked_place
    from public.sessions as member
    where member.organization_id = absent.organization_id
      and (member.id = absent.id or member.group_id = absent.group_id)
      and member.status not in ('cancelled', 'no_show')
    order by member.client_id
  );
  client_ids := array(select place.client_id from unnest(places) as place);
  span := tstzrange(absent.start_time, absent.end_time, '[)');
  -- The buffers of a group stand on the group.
  select tstzrange(
    absent.start_time - make_interval(mins => greatest(absent.buffer_before_minutes, max(known.buffer_before_minutes))),
    absent.end_time + make_interval(mins => greatest(absent.buffer_after_minutes, max(known.buffer_after_minutes))), '[)'
  ) into busy
  from public.session_groups as known
  where known.organization_id = absent.organization_id and known.id = absent.group_id;
  select tstzrange(
    private.start_of_day(local.monday, organization.time_zone),
    private.start_of_day(local.monday + 7, organization.time_zone), '[)'
  ) into week
  from public.organizations as organization
  cross join lateral (
    select date_trunc('week', absent.start_time at time zone organization.time_zone)::date as monday
  ) as local
  where organization.id = absent.organization_id;

  return coalesce((
    select jsonb_agg(
      jsonb_build_object(
        'therapistId', candidate.id,
        'name', candidate.display_name,
        'credential', candidate.credential,
        'onCaseload', candidate.knows_all,
        'caseload', candidate.caseload,
        'bookedMinutes', candidate.booked_minutes
      )
      order by candidate.knows_all desc, candidate.booked_minutes, candidate.caseload, candidate.display_name, candidate.id
    )
    from (
      select
        therapist.id, therapist.display_name, therapist.credential,
        (
          select count(*)
          from public.caseloads as caseload
          where caseload.organization_id = therapist.organization_id
            and caseload.therapist_id = therapist.id
            and caseload.client_id = any (client_ids)
        ) = cardinality(client_ids) as knows_all,
        (
          select count(*)
          from public.caseloads as caseload
          join public.clients as client
            on client.organization_id = caseload.organization_id and client.id = caseload.client_id
          where caseload.organization_id = therapist.organization_id
            and caseload.therapist_id = therapist.id
            and client.deleted_at is null
        ) as caseload,
        private.booked_minutes(therapist.organization_id, therapist.id, week) as booked_minutes
      from public.therapists as therapist
      join public.memberships as membership
        on membership.organization_id = therapist.organization_id
        and membership.user_id = therapist.id
        and membership.role <> 'client'
      where therapist.organization_id = absent.organization_id
        and therapist.id <> absent.therapist_id
        and therapist.deleted_at is null
        and private.may_render(therapist.organization_id, therapist.id, code, on_date)
        and not exists (
          select 1
          from private.claims as claim
          where claim.organization_id = therapist.organization_id
            and claim.resource_id = therapist.id
            and claim.during && busy
            and claim.resource_kind = 'therapist'
            and (claim.expires_at is null or claim.expires_at > as_of)
        )
        and private.is_open(therapist.organization_id, therapist.id, array[span])
      -- Units are asked of whoever is left: a limit may be of a therapist, or of a client with a therapist.
      offset 0
    ) as candidate
    where (candidate.knows_all or wanted.include_off_caseload)
      and true = all (private.services_available(absent.organization_id, candidate.id, places, as_of))
  ), '[]');
end
$$;

select private.publish('find_substitutes',
  'Who could take a session to come: {session_id, include_off_caseload?} gives [{therapistId, name, credential, onCaseload, '
  'caseload, bookedMinutes}]. Therapists who are free then, buffers included, work then, may render the service, have units '
  'left for it, and have the client on their caseload, all clients of a group; with include_off_caseload the others too, '
  'after them. Whoever has less booked that week, time without a client included, comes first, then whoever has fewer '
  'clients. For admins, and for the therapist of the session.'
);
