-- Purpose: what is held for a few minutes, and by which keys it is confirmed or let go.
-- Objects: hold_batches (one call of sessions-hold), session_holds (one client of one occurrence).
-- Watch for: a hold and the session it becomes share one id. Rows are never deleted; a hold past its batch's expires_at is
--            expired whether or not anybody has written it down.

create table public.hold_batches (
  organization_id uuid not null,
  id uuid not null default gen_random_uuid(),
  hold_key uuid not null default gen_random_uuid(),
  therapist_id uuid not null,
  room_id uuid,
  session_type text,
  cpt_code text,
  time_zone text not null,
  buffer_before_minutes smallint not null default 0,
  buffer_after_minutes smallint not null default 0,
  recurrence jsonb,
  override_reason text,
  override_rules text[],
  is_move boolean not null default false,
  keeps_places boolean not null default false,
  stopped boolean not null default false,
  series_id uuid,
  series_change jsonb,
  expires_at timestamptz not null check (isfinite(expires_at)),
  created_by uuid not null,
  created_at timestamptz not null,
  primary key (organization_id, id),
  unique (organization_id, hold_key),
  foreign key (organization_id, therapist_id) references public.therapists (organization_id, id),
  foreign key (organization_id, room_id) references public.rooms (organization_id, id),
  foreign key (organization_id, series_id) references public.session_series (organization_id, id)
);
comment on table public.hold_batches is
  'What one call of sessions-hold asked for and got: one hold, or a whole series. Never deleted.';
comment on column public.hold_batches.hold_key is 'Whoever may book and knows the key may confirm or release the batch.';
comment on column public.hold_batches.recurrence is 'The recurrence as asked for: {rule, count, until, exceptions, time_zone}.';
comment on column public.hold_batches.override_rules is
  'Which rules an admin set aside, with override_reason; null with a reason: all that can be. concurrency is one of them only '
  'where another service was in the way.';
comment on column public.hold_batches.keeps_places is
  'A move that leaves each session its own room and buffers: only the therapist changes.';
comment on column public.hold_batches.is_move is 'Every occurrence is a new place for an existing session. A move settles whole.';
comment on column public.hold_batches.stopped is
  'A move that was let go because one of its sessions was started, cancelled, missed or completed: it can never confirm.';
comment on column public.hold_batches.series_id is 'The series that the batch changes or extends; see booking/series.sql.';
comment on column public.hold_batches.series_change is
  'What was asked of that series: {scope, from, …} of a change, {until, count, through, …} of an extension.';
create index hold_batches_series_idx on public.hold_batches (organization_id, series_id) where series_id is not null;
create index hold_batches_therapist_idx on public.hold_batches (organization_id, therapist_id);
create index hold_batches_room_idx on public.hold_batches (organization_id, room_id) where room_id is not null;

create table public.session_holds (
  organization_id uuid not null,
  id uuid not null default gen_random_uuid(),
  batch_id uuid not null,
  occurrence_index smallint not null,
  hold_key uuid not null,
  client_id uuid not null,
  group_id uuid,
  session_id uuid,
  start_time timestamptz not null,
  end_time timestamptz not null,
  time_zone text not null,
  -- squawk-ignore prefer-timestamp-tz
  civil_start timestamp not null,
  lanes public.claimed_lanes not null,
  status public.hold_status not null default 'held',
  settled_at timestamptz,
  settled_xid xid8,
  primary key (organization_id, id),
  unique (organization_id, batch_id, occurrence_index, client_id),
  foreign key (organization_id, batch_id) references public.hold_batches (organization_id, id),
  foreign key (organization_id, client_id) references public.clients (organization_id, id),
  foreign key (organization_id, session_id) references public.sessions (organization_id, id),
  constraint session_holds_shape check (
    end_time > start_time and occurrence_index between 0 and 365
    and (status = 'held') = (settled_at is null) and (settled_at is null) = (settled_xid is null)
  )
);
comment on table public.session_holds is
  'One client of one held occurrence. It lives while its status is held and its batch''s expires_at lies ahead. Its id '
  'becomes the session''s. Never deleted.';
comment on column public.session_holds.hold_key is 'The key of the occurrence: all its clients have the same.';
comment on column public.session_holds.group_id is
  'The group to join, or the one that confirming makes. A move names none: its sessions keep theirs.';
comment on column public.session_holds.session_id is 'The session this moves; null for a new booking.';
comment on column public.session_holds.civil_start is 'The civil start that was asked for, in time_zone.';
comment on column public.session_holds.settled_at is 'When it was confirmed, released, or first seen to have expired.';
comment on column public.session_holds.settled_xid is 'The transaction that settled it.';
create index session_holds_key_idx on public.session_holds (organization_id, hold_key);
create index session_holds_client_idx on public.session_holds (organization_id, client_id);
create index session_holds_group_idx on public.session_holds (organization_id, group_id) where group_id is not null;
create index session_holds_session_idx on public.session_holds (organization_id, session_id) where session_id is not null;
-- One move hold at a time for a session: two would each believe the old slot theirs to give up.
create unique index session_holds_one_live_move_idx
  on public.session_holds (organization_id, session_id) where session_id is not null and status = 'held';

create function private.guard_hold_change()
returns trigger
language plpgsql
set search_path = ''
as $$
begin
  if to_jsonb(old) ->> 'status' <> 'held' or to_jsonb(new) - tg_argv::text[] <> to_jsonb(old) - tg_argv::text[] then
    raise exception using
      errcode = 'check_violation',
      message = 'what was held never changes: a hold settles once, as confirmed, released or expired',
      hint = 'Release it and hold anew.';
  end if;
  return new;
end
$$;
comment on function private.guard_hold_change() is
  'Trigger: what a hold and its batch are of is fixed (all but the columns that are its arguments), so a confirmation may '
  'read the batch before its locks; and a hold settles once. The booking functions only settle, so it is asked of others.';
create trigger guard_hold_change before update on public.session_holds
  for each row
  when (private.is_direct_write())
  execute function private.guard_hold_change('status', 'settled_at', 'settled_xid');
create trigger guard_hold_change before update on public.hold_batches
  for each row
  when (private.is_direct_write())
  execute function private.guard_hold_change('expires_at');
create trigger refuse_delete before delete or truncate on public.session_holds
  for each statement execute function private.refuse_delete();
create trigger refuse_delete before delete or truncate on public.hold_batches
  for each statement execute function private.refuse_delete();

alter table public.hold_batches enable row level security;
create policy sessions_scoped_access on public.hold_batches for select to authenticated
  using (
    organization_id = (select private.claimed_organization_id())
    and (
      (therapist_id = (select auth.uid()) and (select private.active_role()) = 'therapist')
      or (select private.is_admin())
    )
  );
comment on policy sessions_scoped_access on public.hold_batches is 'A therapist reads their own holds, admins all.';
grant select on public.hold_batches to authenticated, service_role;

alter table public.session_holds enable row level security;
create policy sessions_scoped_access on public.session_holds for select to authenticated
  using (
    organization_id = (select private.active_organization_id())
    and (
      -- For an admin that is all of them: no need to look at each one's batch.
      (select private.is_admin())
      or exists (
        select 1
        from public.hold_batches as batch
        where batch.organization_id = session_holds.organization_id and batch.id = session_holds.batch_id
      )
    )
  );
comment on policy sessions_scoped_access on public.session_holds is 'Whoever may see the batch may see its holds.';
grant select on public.session_holds to authenticated, service_role;
