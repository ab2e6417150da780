-- Purpose: sessions, the series and groups they belong to, and how they end.
-- Objects: session_groups, session_series, sessions, session_cancellations; the status machine.
-- Watch for: no two sessions of one therapist overlap, unless they are members of one group. The claims of the next
--            migration decide the same for clients, rooms and holds; the constraint here is the calendar's own.

create table public.session_groups (
  organization_id uuid not null references public.organizations (id),
  id uuid not null default gen_random_uuid(),
  therapist_id uuid not null,
  start_time timestamptz not null,
  end_time timestamptz not null,
  created_at timestamptz not null default now(),
  primary key (organization_id, id),
  unique (organization_id, id, therapist_id, start_time, end_time),
  foreign key (organization_id, therapist_id) references public.therapists (organization_id, id),
  check (isfinite(start_time) and isfinite(end_time) and end_time > start_time)
);
comment on table public.session_groups is
  'A group session: one therapist at one time with several clients. Fixes therapist and times of all its members.';
create index session_groups_therapist_idx on public.session_groups (organization_id, therapist_id);

create table public.session_series (
  organization_id uuid not null references public.organizations (id),
  id uuid not null default gen_random_uuid(),
  therapist_id uuid not null,
  client_id uuid not null,
  recurrence_rule text check (length(recurrence_rule) <= 1000),
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
create index session_series_therapist_idx on public.session_series (organization_id, therapist_id);
create index session_series_client_idx on public.session_series (organization_id, client_id);
create index session_series_time_zone_idx on public.session_series (time_zone);

create table public.sessions (
  organization_id uuid not null references public.organizations (id),
  id uuid not null default gen_random_uuid(),
  therapist_id uuid not null,
  client_id uuid not null,
  start_time timestamptz not null,
  end_time timestamptz not null,
  status public.session_status not null default 'scheduled',
  time_zone text not null references public.time_zones (name),
  session_type text check (length(session_type) between 1 and 64),
  location_type text check (length(location_type) between 1 and 64),
  cpt_code text check (cpt_code ~ '^[0-9A-Z]{5}$'),
  cpt_modifiers text[] not null default '{}' check (cardinality(cpt_modifiers) <= 4),
  series_id uuid,
  group_id uuid,
  group_key uuid not null generated always as (coalesce(group_id, id)) stored,
  room_id uuid,
  buffer_before_minutes smallint not null default 0 check (buffer_before_minutes between 0 and 240),
  buffer_after_minutes smallint not null default 0 check (buffer_after_minutes between 0 and 240),
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
  constraint sessions_finite check (isfinite(start_time) and isfinite(end_time)),
  constraint sessions_end_after_start check (end_time > start_time),
  -- Postgres 15 cannot subtract an infinite instant; sessions_finite speaks for those.
  constraint sessions_at_most_12_hours check (
    case when isfinite(start_time) and isfinite(end_time) then end_time - start_time <= interval '12 hours' else true end
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
comment on column public.sessions.group_key is
  'Equal for the members of one group, else the row''s own id: rows with equal keys may overlap for one therapist.';
comment on column public.sessions.buffer_before_minutes is 'Minutes before the start that the therapist needs, such as travel.';
comment on column public.sessions.buffer_after_minutes is 'Minutes after the end that the therapist needs.';
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

-- The status machine -----------------------------------------------------------------------------------------------

create function private.guard_session_change()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  if tg_op = 'INSERT' then
    if new.status <> 'scheduled' then
      raise exception using
        errcode = 'check_violation',
        message = format('a session begins as scheduled, not %s', new.status),
        hint = 'Insert it as scheduled, then change its status.';
    end if;
    return new;
  end if;

  if (new.organization_id, new.id, new.client_id) is distinct from (old.organization_id, old.id, old.client_id) then
    raise exception using
      errcode = 'check_violation',
      message = 'organization_id, id and client_id of a session never change',
      hint = 'Cancel this session and book another.';
  end if;

  if new.status <> old.status and not (
    (old.status = 'scheduled' and new.status in ('in_progress', 'cancelled', 'no_show'))
    or (old.status = 'in_progress' and new.status in ('completed', 'cancelled', 'no_show'))
  ) then
    raise exception using
      errcode = 'check_violation',
      message = format('a session cannot go from %s to %s', old.status, new.status),
      hint = 'Allowed: scheduled -> in_progress -> completed; scheduled or in_progress -> cancelled or no_show.';
  end if;

  if old.status <> 'scheduled' and (
    (
      new.therapist_id, new.start_time, new.end_time, new.room_id, new.buffer_before_minutes, new.buffer_after_minutes
    ) is distinct from (
      old.therapist_id, old.start_time, old.end_time, old.room_id, old.buffer_before_minutes, old.buffer_after_minutes
    )
    -- Who has cancelled stays behind when her group moves: see private.keep_ended_members.
    or (
      new.group_id is distinct from old.group_id
      and not (new.group_id is not null and old.status in ('cancelled', 'no_show'))
    )
  ) then
    raise exception using
      errcode = 'check_violation',
      message = format('a session that is %s cannot be moved', old.status),
      hint = 'Only scheduled sessions move; book a new session instead.';
  end if;

  new.created_at := old.created_at;
  new.created_by := old.created_by;
  new.updated_at := clock_timestamp();
  return new;
end
$$;
comment on function private.guard_session_change() is 'Trigger: the status machine of SPEC "Status", and what may still move.';

create trigger a_guard_session_change before insert or update on public.sessions
  for each row execute function private.guard_session_change();
create trigger refuse_delete before delete on public.sessions
  for each row execute function private.refuse_delete();
create trigger refuse_truncate before truncate on public.sessions
  for each statement execute function private.refuse_delete();
create trigger refuse_delete before delete on public.session_cancellations
  for each row execute function private.refuse_delete();
create trigger refuse_truncate before truncate on public.session_cancellations
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
      (therapist_id = (select auth.uid()) and (select private.active_role()) = 'therapist')
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
grant select, insert (organization_id, id, therapist_id, start_time, end_time)
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
