-- Purpose: sessions, the series and groups they belong to, and how they end.
-- Objects: session_groups, session_series, sessions, session_cancellations, and who may see and write them.
-- Watch for: a group owns the therapist, the room, the times and the buffers of all its members. Two sessions of one
--            therapist overlap only inside one group. The claims (claims.sql) decide the same for clients, rooms and
--            holds; the exclusion constraint here is the calendar's own.

create function private.refuse_lanes()
returns boolean
language plpgsql
set search_path = ''
as $$
begin
  raise check_violation using
    message = 'lanes: are derived from the service, and never empty or without an end', hint = 'Leave lanes out.';
end
$$;
comment on function private.refuse_lanes() is
  'Refuses lanes in words of our own: of a domain no trigger can ask before, and Postgres would tell the constraint''s name.';
grant execute on function private.refuse_lanes() to authenticated, service_role;

create domain public.claimed_lanes as int4multirange
  check (not isempty(value) and not lower_inf(value) and not upper_inf(value));
comment on domain public.claimed_lanes is
  'What of a client''s time a hold or a claim takes. A domain: Postgres reads the checks of a table anew for each statement.';

create domain public.session_lanes as int4multirange
  check (case when isempty(value) or lower_inf(value) or upper_inf(value) then private.refuse_lanes() else true end);
comment on domain public.session_lanes is
  'What of a client''s time a session takes: as public.claimed_lanes, and refused in words, which costs a look-up in each '
  'statement. In public: REST names the types of the columns it writes, and its callers may not look into private.';

create table public.session_groups (
  organization_id uuid not null,
  id uuid not null default gen_random_uuid(),
  therapist_id uuid not null,
  room_id uuid,
  start_time timestamptz not null,
  end_time timestamptz not null,
  buffer_before_minutes smallint not null default 0 check (buffer_before_minutes between 0 and 240),
  buffer_after_minutes smallint not null default 0 check (buffer_after_minutes between 0 and 240),
  created_at timestamptz not null default now(),
  primary key (organization_id, id),
  unique (organization_id, id, therapist_id, start_time, end_time),
  foreign key (organization_id, therapist_id) references public.therapists (organization_id, id),
  foreign key (organization_id, room_id) references public.rooms (organization_id, id),
  constraint session_groups_times check (
    start_time >= '2000-01-01' and end_time < '2100-01-01' and end_time > start_time
  )
);
comment on table public.session_groups is
  'A group session: one therapist at one time with several clients. Fixes therapist, room, buffers and times of all its '
  'members, and claims the therapist and the room for them.';
create index session_groups_therapist_idx on public.session_groups (organization_id, therapist_id);
create index session_groups_room_idx on public.session_groups (organization_id, room_id) where room_id is not null;

create table public.session_series (
  organization_id uuid not null,
  id uuid not null default gen_random_uuid(),
  therapist_id uuid not null,
  client_id uuid not null,
  recurrence_rule text check (length(recurrence_rule) <= 1000),
  recurrence jsonb check (jsonb_typeof(recurrence) = 'object'),
  -- squawk-ignore prefer-timestamp-tz
  civil_start timestamp,
  time_zone text not null references public.time_zones (name),
  created_by uuid,
  created_at timestamptz not null default now(),
  primary key (organization_id, id),
  foreign key (organization_id, therapist_id) references public.therapists (organization_id, id),
  foreign key (organization_id, client_id) references public.clients (organization_id, id)
);
comment on table public.session_series is 'Sessions that were booked together, and the rule they came from.';
comment on column public.session_series.recurrence_rule is
  'The RRULE as asked for (RFC 5545 section 3.3.10); null for a list of dates.';
comment on column public.session_series.recurrence is
  'The whole recurrence as asked for: {rule, count, until, exceptions, time_zone}; null for a list of dates.';
comment on column public.session_series.civil_start is 'The first start in civil time of time_zone.';
create index session_series_therapist_idx on public.session_series (organization_id, therapist_id);
create index session_series_client_idx on public.session_series (organization_id, client_id);
create index session_series_time_zone_idx on public.session_series (time_zone);

create table public.sessions (
  organization_id uuid not null,
  id uuid not null default gen_random_uuid(),
  therapist_id uuid not null,
  client_id uuid not null,
  start_time timestamptz not null,
  end_time timestamptz not null,
  status public.session_status not null default 'scheduled',
  time_zone text not null references public.time_zones (name),
  -- squawk-ignore prefer-timestamp-tz
  civil_start timestamp not null default '2000-01-01',
  session_type text check (length(session_type) between 1 and 64),
  location_type text check (length(location_type) between 1 and 64),
  cpt_code text check (cpt_code ~ '^[0-9A-Z]{5}$'),
  -- Null, so that a direct write that gives none is known from one that wants none.
  cpt_modifiers text[] not null default nullif('{}'::text[], '{}') check (cardinality(cpt_modifiers) <= 4),
  lanes public.session_lanes not null default '{[0,2147483647)}',
  series_id uuid,
  group_id uuid,
  group_key uuid not null generated always as (coalesce(group_id, id)) stored,
  room_id uuid,
  buffer_before_minutes smallint not null default 0,
  buffer_after_minutes smallint not null default 0,
  created_by uuid default auth.uid(),
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  primary key (organization_id, id),
  foreign key (organization_id, therapist_id) references public.therapists (organization_id, id),
  foreign key (organization_id, client_id) references public.clients (organization_id, id),
  foreign key (organization_id, room_id) references public.rooms (organization_id, id),
  foreign key (organization_id, series_id) references public.session_series (organization_id, id),
  -- Deferrable, so that a group and its members may change in two statements.
  constraint sessions_at_the_place_of_their_group
    foreign key (organization_id, group_id, therapist_id, start_time, end_time)
    references public.session_groups (organization_id, id, therapist_id, start_time, end_time)
    on update cascade deferrable initially immediate,
  constraint sessions_times check (
    start_time >= '2000-01-01' and end_time < '2100-01-01' and end_time > start_time
    and end_time - start_time <= interval '12 hours'
  ),
  constraint sessions_buffers check (
    buffer_before_minutes between 0 and 240 and buffer_after_minutes between 0 and 240
  ),
  -- The room and the buffers of a group stand on the group, once: copies in its members could disagree.
  constraint sessions_place_of_group check (
    group_id is null or (room_id is null and buffer_before_minutes = 0 and buffer_after_minutes = 0)
  ),
  -- Deferrable, so that one UPDATE may move a whole series onto places its siblings are leaving.
  constraint sessions_no_therapist_overlap exclude using gist (
    organization_id with =,
    therapist_id with =,
    -- Before group_key: the index orders a therapist's sessions by time, and a look at one hour reads few of them.
    tstzrange(start_time, end_time, '[)') with &&,
    group_key with <>
  ) where (status not in ('cancelled', 'no_show')) deferrable initially immediate
);
comment on table public.sessions is 'Appointments of one therapist with one client. Times are instants, [start, end).';
comment on column public.sessions.id is 'A session booked through a hold keeps the id of its hold.';
comment on column public.sessions.time_zone is 'The IANA zone the appointment was made in: its civil time is local to it.';
comment on column public.sessions.civil_start is
  'The civil start it was booked for, in time_zone: derived when it is written. When a law changes the zone, start_time '
  'shows another.';
comment on column public.sessions.cpt_modifiers is
  'In the payer''s order. A write that gives none, or null, stores those that the payer of the day wants for the code, the '
  'level of who renders and the place; an empty array stores none.';
comment on column public.sessions.lanes is
  'What of the client''s time it takes: two services that a payer lets run at once share no lane. Decided when service '
  'and time were chosen; a change of the payers'' rules writes it anew.';
comment on column public.sessions.group_key is
  'Equal for the members of one group, else the row''s own id: rows with equal keys may overlap for one therapist.';
comment on column public.sessions.room_id is 'Null for a member of a group: the room is the group''s.';
comment on column public.sessions.buffer_before_minutes is
  'Minutes before the start that the therapist needs, such as travel. 0 for a member of a group: see the group.';
comment on column public.sessions.buffer_after_minutes is
  'Minutes after the end that the therapist needs. 0 for a member of a group: see the group.';
create index sessions_therapist_start_idx on public.sessions (organization_id, therapist_id, start_time);
create index sessions_client_start_idx on public.sessions (organization_id, client_id, start_time);
create index sessions_start_idx on public.sessions (organization_id, start_time);
create index sessions_series_idx on public.sessions (organization_id, series_id) where series_id is not null;
create index sessions_room_idx on public.sessions (organization_id, room_id) where room_id is not null;
create index sessions_group_idx
  on public.sessions (organization_id, group_id, therapist_id, start_time, end_time) where group_id is not null;
create index sessions_time_zone_idx on public.sessions (time_zone);

create table public.session_cancellations (
  organization_id uuid not null,
  session_id uuid not null,
  attribution public.cancellation_attribution not null default 'unknown',
  reason text check (length(reason) between 1 and 500),
  cancelled_at timestamptz not null default clock_timestamp(),
  cancelled_by uuid,
  cancelled_by_role text,
  primary key (organization_id, session_id),
  foreign key (organization_id, session_id) references public.sessions (organization_id, id)
);
comment on table public.session_cancellations is
  'Why, by whom and when a session was cancelled. Apart from sessions, since clients may not read it.';

create trigger refuse_delete before delete or truncate on public.sessions
  for each statement execute function private.refuse_delete();
create trigger refuse_update before update on public.session_cancellations
  for each row execute function private.refuse_update();
create trigger refuse_delete before delete or truncate on public.session_cancellations
  for each statement execute function private.refuse_delete();

-- Row-level security -----------------------------------------------------------------------------------------------

-- The token's organization is enough in these policies: every branch below asks the membership row for a role.
alter table public.sessions enable row level security;
create policy sessions_scoped_access on public.sessions for select to authenticated
  using (
    organization_id = (select private.claimed_organization_id())
    and (
      (therapist_id = (select auth.uid()) and (select private.active_role()) = 'therapist')
      or (select private.is_admin())
      or ((select private.active_role()) = 'client' and client_id = any ((select private.own_client_ids())::uuid[]))
    )
  );
create policy sessions_scoped_access_insert on public.sessions for insert to authenticated
  with check (
    organization_id = (select private.active_organization_id())
    and (
      (select private.is_admin())
      or (
        (select private.active_role()) = 'therapist'
        and therapist_id = (select auth.uid())
        and client_id = any ((select private.caseload_client_ids())::uuid[])
      )
    )
    and exists (
      select 1
      from public.therapists as therapist
      join public.clients as client on client.organization_id = therapist.organization_id
      where therapist.organization_id = sessions.organization_id
        and therapist.id = sessions.therapist_id
        and client.id = sessions.client_id
        and therapist.deleted_at is null
        and client.deleted_at is null
    )
  );
create policy sessions_scoped_access_update on public.sessions for update to authenticated
  using (
    organization_id = (select private.claimed_organization_id())
    and (
      (therapist_id = (select auth.uid()) and (select private.active_role()) = 'therapist')
      or (select private.is_admin())
    )
  )
  with check (
    organization_id = (select private.claimed_organization_id())
    and (
      (therapist_id = (select auth.uid()) and (select private.active_role()) = 'therapist')
      or (select private.is_admin())
    )
  );
grant select,
  insert (organization_id, therapist_id, client_id, start_time, end_time, time_zone, session_type, location_type,
    cpt_code, cpt_modifiers, group_id, room_id, buffer_before_minutes, buffer_after_minutes),
  update (therapist_id, start_time, end_time, time_zone, session_type, location_type, status,
    cpt_code, cpt_modifiers, room_id, buffer_before_minutes, buffer_after_minutes)
  on public.sessions to authenticated;
grant select, insert, update on public.sessions to service_role;

alter table public.session_series enable row level security;
create policy sessions_scoped_access on public.session_series for select to authenticated
  using (
    organization_id = (select private.claimed_organization_id())
    and (
      ((select private.active_role()) = 'therapist' and (
        therapist_id = (select auth.uid())
        -- Sessions change hands; the series they came from does not.
        or exists (
          select 1
          from public.sessions as session
          where session.organization_id = session_series.organization_id
            and session.series_id = session_series.id
            and session.therapist_id = (select auth.uid())
        )
      ))
      or (select private.is_admin())
      or ((select private.active_role()) = 'client' and client_id = any ((select private.own_client_ids())::uuid[]))
    )
  );
grant select on public.session_series to authenticated, service_role;

alter table public.session_groups enable row level security;
create policy sessions_scoped_access on public.session_groups for select to authenticated
  using (
    organization_id = (select private.claimed_organization_id())
    and (
      (therapist_id = (select auth.uid()) and (select private.active_role()) = 'therapist')
      or (select private.is_admin())
    )
  );
create policy sessions_scoped_access_insert on public.session_groups for insert to authenticated
  with check (
    organization_id = (select private.claimed_organization_id())
    and (
      (therapist_id = (select auth.uid()) and (select private.active_role()) = 'therapist')
      or (select private.is_admin())
    )
  );
grant select, insert (organization_id, id, therapist_id, room_id, start_time, end_time, buffer_before_minutes, buffer_after_minutes)
  on public.session_groups to authenticated;
grant select, insert, update on public.session_groups to service_role;

alter table public.session_cancellations enable row level security;
create policy sessions_scoped_access on public.session_cancellations for select to authenticated
  using (
    organization_id = (select private.active_organization_id())
    and (
      (select private.is_admin())
      or exists (
        select 1
        from public.sessions as session
        where session.organization_id = session_cancellations.organization_id
          and session.id = session_cancellations.session_id
          and session.therapist_id = (select auth.uid())
          and (select private.active_role()) = 'therapist'
      )
    )
  );
grant select on public.session_cancellations to authenticated, service_role;

comment on policy sessions_scoped_access on public.sessions is
  'A therapist reads her own sessions, a parent those of the clients she stands for, admins all of the organization.';
comment on policy sessions_scoped_access_insert on public.sessions is
  'A therapist books her own time for her caseload, admins anybody''s; nobody books the archived.';
comment on policy sessions_scoped_access_update on public.sessions is
  'A therapist changes her own sessions, and gives none away; admins all of the organization.';
comment on policy sessions_scoped_access on public.session_series is 'Whoever may see the sessions may see their series.';
comment on policy sessions_scoped_access on public.session_groups is 'A therapist reads her own groups, admins all.';
comment on policy sessions_scoped_access_insert on public.session_groups is 'A therapist makes her own groups, admins anybody''s.';
comment on policy sessions_scoped_access on public.session_cancellations is
  'A therapist reads why her own sessions were cancelled, admins all; clients do not.';
