-- Purpose: days and hours on which a whole organization is closed.
-- Objects: organization_closures; add_closure and add_time_off, which say what they touch and may cancel it.
-- Watch for: what can be booked follows from these rows through private.outside_availability; nothing is copied.

create table public.organization_closures (
  organization_id uuid not null references public.organizations (id),
  id uuid not null default gen_random_uuid(),
  name text not null check (length(name) between 1 and 100 and name = btrim(name)),
  starts_at timestamptz not null,
  ends_at timestamptz not null,
  created_at timestamptz not null default now(),
  primary key (organization_id, id),
  -- Clocks may have changed twice one way and once the other.
  check (ends_at > starts_at and ends_at - starts_at <= interval '400 days 3 hours')
);
comment on table public.organization_closures is
  'A clinic is closed from starts_at until ends_at: nobody can be booked then, whatever their hours say.';
comment on column public.organization_closures.name is 'What staff call it, such as Winter break. No names of clients.';
create index organization_closures_ends_at_idx on public.organization_closures (organization_id, ends_at);

alter table public.organization_closures enable row level security;
create policy member_select on public.organization_closures for select to authenticated
  using (
    organization_id = (select private.active_organization_id()) and (select private.active_role()) is not null
  );
comment on policy member_select on public.organization_closures is
  'Every member reads when the organization is closed, families too.';
create policy member_select_insert on public.organization_closures for insert to authenticated
  with check (organization_id = (select private.organization_as('admin')));
comment on policy member_select_insert on public.organization_closures is 'Admins close the organization.';
create policy member_select_update on public.organization_closures for update to authenticated
  using (organization_id = (select private.organization_as('admin')))
  with check (organization_id = (select private.organization_as('admin')));
comment on policy member_select_update on public.organization_closures is 'Admins correct a closure.';
create policy member_select_delete on public.organization_closures for delete to authenticated
  using (organization_id = (select private.organization_as('admin')));
comment on policy member_select_delete on public.organization_closures is 'Admins withdraw a closure.';
grant select, insert (organization_id, id, name, starts_at, ends_at), update (name, starts_at, ends_at), delete
  on public.organization_closures to authenticated;
grant select, insert, update, delete on public.organization_closures to service_role;

-- Closing, and what it touches -------------------------------------------------------------------------------------

create domain private.closure_name as text check (length(value) <= 100 and (value is null or private.tidy(value) is not null));
comment on domain private.closure_name is 'must be text of 1 to 100 characters';

create type private.closing_request as (
  name private.closure_name,
  therapist_id uuid,
  from_date private.civil_date,
  to_date private.civil_date,
  start_time private.instant,
  end_time private.instant,
  cancel_sessions boolean,
  reason private.reason
);
comment on type private.closing_request is
  'The request of add_closure, and of add_time_off: a time in which nobody, or one therapist, is to be booked.';
select private.make_readable('{closing_request}');

create function private.closed_span(wanted private.closing_request, zone text)
returns tstzrange
language plpgsql
stable
set search_path = ''
as $$
declare
  by_days constant boolean := wanted.from_date is not null;
  starts_at timestamptz := wanted.start_time::timestamptz;
  ends_at timestamptz := wanted.end_time::timestamptz;
begin
  if by_days then
    starts_at := private.start_of_day(wanted.from_date::date, zone);
    ends_at := private.start_of_day(coalesce(wanted.to_date, wanted.from_date)::date + 1, zone);
  end if;
  perform private.require(array[
    row('start_time', 'excludes from_date: name days or instants',
      by_days and num_nonnulls(wanted.start_time, wanted.end_time) > 0),
    row('start_time', 'is required', starts_at is null),
    row('end_time', 'is required', ends_at is null),
    row(case when by_days then 'to_date' else 'end_time' end,
      case when by_days then 'must not be before from_date' else 'must be after start_time' end, ends_at <= starts_at),
    row(case when by_days then 'to_date' else 'end_time' end, 'must be at most 400 days later, and before the year 2100',
      case when by_days then ends_at > private.start_of_day(wanted.from_date::date + 400, zone)
        else ends_at > starts_at + interval '9600 hours' end or ends_at >= '2100-01-01')
  ]::private.rule[]);
  return tstzrange(starts_at, ends_at, '[)');
end
$$;
comment on function private.closed_span(private.closing_request, text) is
  'The time to be closed: from_date and to_date, whole local days of the zone, the last included; or start_time and '
  'end_time, instants. PT400 names what is wrong.';

create function private.future_sessions(organization_id uuid, therapist_id uuid, span tstzrange)
returns uuid[]
language plpgsql
stable
set search_path = ''
-- One therapist's, or everybody's: a plan that knows which reads the calendars of nobody else.
set plan_cache_mode = 'force_custom_plan'
as $$
begin
  return array(
    select session.id
    from public.sessions as session
    where session.organization_id = future_sessions.organization_id
      and (future_sessions.therapist_id is null or session.therapist_id = future_sessions.therapist_id)
      -- No session is longer than 12 hours, so that the index on its start finds it.
      and session.start_time > greatest(lower(span) - interval '12 hours', clock_timestamp() - interval '12 hours')
      and session.start_time < upper(span)
      and session.end_time > greatest(lower(span), clock_timestamp())
      and session.status = 'scheduled'
    order by session.start_time, session.id
  );
end
$$;
comment on function private.future_sessions(uuid, uuid, tstzrange) is
  'The scheduled sessions, not over yet, that lie in a span at least in part, the earliest first: of one therapist, or with null '
  'of everybody.';

create function private.cancel_touched(session_ids uuid[], reason text)
returns integer
language plpgsql
set search_path = ''
as $$
declare
  asked_ids uuid[];
  outcome jsonb;
  cancelled integer := 0;
begin
  -- A call takes a thousand ids.
  for asked_ids in
    select array_agg(asked.id order by asked.id)
    from unnest(session_ids) with ordinality as asked (id, position)
    group by (asked.position - 1) / 1000
    order by (asked.position - 1) / 1000
  loop
    outcome := private.cancel_sessions(
      jsonb_build_object('session_ids', asked_ids, 'reason', reason, 'cancellation_attribution', 'staff'), null,
      current_setting('therapist_sessions.request_id', true)
    );
    cancelled := cancelled + (outcome #>> '{body,summary,cancelledCount}')::integer;
  end loop;
  return cancelled;
end
$$;
comment on function private.cancel_touched(uuid[], text) is
  'Cancels what a closing touches, for the caller, by the clinic. Returns how many.';

create function private.held_in(organization_id uuid, therapist_id uuid, closed tstzmultirange, as_of timestamptz)
returns jsonb
language plpgsql
stable
set search_path = ''
set plan_cache_mode = 'force_custom_plan'
as $$
begin
  return (
    select jsonb_build_object(
      'touchedHolds', coalesce(sum(touched.number), 0),
      'touchedHoldsUntil', private.iso(max(touched.expires_at)),
      'keys', coalesce(jsonb_path_query_array(jsonb_agg(touched.keys), '$[*][*]'), '[]')
    )
    from (
      select batch.expires_at, count(*) filter (where part.is_in) as number,
        -- A move is let go whole, and so is a batch of which nothing would be left.
        case when batch.is_move or bool_and(part.is_in) then array[batch.hold_key]
          else array_agg(distinct hold.hold_key) filter (where part.is_in) end as keys
      from public.hold_batches as batch
      join public.session_holds as hold on hold.organization_id = batch.organization_id and hold.batch_id = batch.id
      cross join lateral (
        select tstzrange(hold.start_time, hold.end_time, '[)') && closed as is_in
      ) as part
      where batch.organization_id = held_in.organization_id and batch.expires_at > as_of
        and (held_in.therapist_id is null or batch.therapist_id = held_in.therapist_id)
        and hold.status = 'held'
      group by batch.organization_id, batch.id
      having bool_or(part.is_in)
    ) as touched
  );
end
$$;
comment on function private.held_in(uuid, uuid, tstzmultirange, timestamptz) is
  'How many live holds lie in closed time at least in part, as many as the sessions they would become, until when the last of '
  'them can be confirmed, and the keys by which they are let go: of one therapist, or with null of everybody.';

create function private.touched_holds(actor private.actor, therapist_id uuid, span tstzrange, releases boolean)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  -- After the sessions are cancelled: that lets go whatever would move them.
  held constant jsonb := private.held_in(actor.organization_id, therapist_id, tstzmultirange(span), clock_timestamp());
  hold_key text;
begin
  if releases then
    for hold_key in select jsonb_array_elements_text(held -> 'keys') loop
      perform private.release_hold(actor, jsonb_build_object('hold_key', hold_key));
    end loop;
  end if;
  return (held - 'keys') || jsonb_build_object('releasedHolds', case when releases then held -> 'touchedHolds' else '0' end);
end
$$;
comment on function private.touched_holds(private.actor, uuid, tstzrange, boolean) is
  'The live holds that a closing touches, as part of its answer. They confirm, since the time was free when it was held; '
  'releases: they are let go instead, with the sessions that are cancelled.';

create function private.close_time(
  actor private.actor,
  wanted private.closing_request,
  zone text,
  absent_id uuid default null
)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  span constant tstzrange := private.closed_span(wanted, zone);
  new_id constant uuid := gen_random_uuid();
begin
  -- Alone, so that no booking is made meanwhile that this would not count.
  perform private.take_organization(actor.organization_id);
  perform private.require_same_role(actor);
  if absent_id is null then
    insert into public.organization_closures (organization_id, id, name, starts_at, ends_at)
    values (actor.organization_id, new_id, private.tidy(wanted.name), lower(span), upper(span));
  else
    insert into public.availability_exceptions (organization_id, id, therapist_id, kind, starts_at, ends_at)
    values (actor.organization_id, new_id, absent_id, 'time_off', lower(span), upper(span));
  end if;
  return private.success(
    jsonb_build_object(
      case when absent_id is null then 'closureId' else 'exceptionId' end, new_id,
      'startsAt', private.iso(lower(span)), 'endsAt', private.iso(upper(span))
    ) || private.touched_answer(
      private.future_sessions(actor.organization_id, absent_id, span), coalesce(wanted.cancel_sessions, false),
      private.tidy(wanted.reason), private.staff_times_to_come(actor.organization_id, absent_id, null, span), absent_id
    ) || private.touched_holds(actor, absent_id, span, coalesce(wanted.cancel_sessions, false))
  );
end
$$;
comment on function private.close_time(private.actor, private.closing_request, text, uuid) is
  'Enters a closure of the organization, or time off of a therapist, and says what lies in it. zone: whose days are meant.';

create function private.add_closure(actor private.actor, request jsonb)
returns jsonb
language plpgsql
set search_path = ''
as $$
begin
  if actor.role not in ('admin', 'super_admin') then
    return private.refusal(403, 'FORBIDDEN', 'Only an admin may close the organization.');
  end if;
  return private.close_time(actor, private.read_request(request, null::private.closing_request, '{name}'), (
    select organization.time_zone from public.organizations as organization where organization.id = actor.organization_id
  ));
end
$$;

select private.publish_booking('add_closure',
  'Closes the organization, for admins: {name, from_date, to_date?} for whole days of its zone, the last included, or '
  '{name, start_time, end_time} for instants; cancel_sessions: true also cancels the sessions and staff times there, with '
  'reason. Answers {closureId, startsAt, endsAt, touched, cancelled, touchedSessionIds, touchedStaffTimes, '
  'cancelledStaffTimes, touchedStaffTimeIds, touchedHolds, touchedHoldsUntil, releasedHolds}: touched is how many future '
  'sessions lie in it, with the first hundred; staff times likewise. touchedHolds are live holds there, which can still be '
  'confirmed until touchedHoldsUntil (null: there is none); cancel_sessions lets them go.'
);

create function private.add_time_off(actor private.actor, request jsonb)
returns jsonb
language plpgsql
set search_path = ''
as $$
declare
  wanted constant private.closing_request := private.read_request(request, null::private.closing_request);
  absent_id constant uuid := coalesce(wanted.therapist_id, actor.user_id);
  zone text;
begin
  select therapist.time_zone into zone
  from public.therapists as therapist
  where therapist.organization_id = actor.organization_id
    and therapist.id = absent_id
    and private.may_ask(actor, therapist.id);
  if zone is null then
    return private.refusal(403, 'FORBIDDEN', 'You may not enter time off for this therapist.');
  end if;
  return private.close_time(actor, wanted, zone, absent_id);
end
$$;

select private.publish_booking('add_time_off',
  'Enters time off of a therapist (therapist_id; left out: the caller): {from_date, to_date?} for whole days of their '
  'zone, the last included, or {start_time, end_time} for instants; cancel_sessions: true also cancels their sessions '
  'and staff times there, with reason; a meeting goes on without them. Answers {exceptionId, startsAt, endsAt, touched, '
  'cancelled, touchedSessionIds, touchedStaffTimes, cancelledStaffTimes, touchedStaffTimeIds, touchedHolds, '
  'touchedHoldsUntil, releasedHolds}, as add_closure.'
);
