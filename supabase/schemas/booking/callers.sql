-- Purpose: who is calling, and whom they may book.
-- Objects: private.actor, require_read_committed, require_actor, require_same_role, begin_request, begin_booking, who_may_book, may_book.
-- Watch for: the JWT only chooses the organization; the membership row decides. What decides a booking is read behind the
--            locks, authority included: a member who is removed while they wait no longer books.

create type private.actor as (
  user_id uuid,
  organization_id uuid,
  role public.member_role
);
comment on type private.actor is 'The caller, from the JWT, and their role, from the membership row.';

create function private.require_read_committed()
returns void
language plpgsql
set search_path = ''
as $$
begin
  if current_setting('transaction_isolation') <> 'read committed' and current_setting('transaction_read_only') = 'off' then
    -- An older snapshot would not see what the previous holder of a lock has committed: units could be taken twice.
    perform private.raise_refusal(400, 'VALIDATION_FAILED', 'Requests run in READ COMMITTED, one transaction each.');
  end if;
end
$$;
comment on function private.require_read_committed() is
  'PT400 in a transaction of another isolation level that may write.';

create function private.require_actor()
returns private.actor
language plpgsql
stable
security definer
set search_path = ''
as $$
declare
  actor private.actor;
begin
  perform private.require_read_committed();
  actor.user_id := auth.uid();
  actor.organization_id := private.claimed_organization_id();
  if actor.user_id is null then
    perform private.raise_refusal(401, 'UNAUTHENTICATED', 'Sign in first: this call needs a user''s access token.');
  elsif actor.organization_id is null then
    perform private.raise_refusal(
      403, 'ORGANIZATION_REQUIRED', 'Your access token names no organization. Join or choose one and sign in again.'
    );
  end if;
  select membership.role into actor.role
  from public.memberships as membership
  where membership.organization_id = actor.organization_id and membership.user_id = actor.user_id;
  if actor.role is null then
    perform private.raise_refusal(403, 'FORBIDDEN', 'You are not a member of this organization.');
  end if;
  return actor;
end
$$;
comment on function private.require_actor() is
  'First of every function that a user calls: the caller, or PT401 UNAUTHENTICATED, PT403 ORGANIZATION_REQUIRED or PT403 '
  'FORBIDDEN; PT400 outside READ COMMITTED, unless the transaction only reads.';

create function private.require_same_role(actor private.actor)
returns void
language plpgsql
set search_path = ''
as $$
begin
  if not exists (
    select from public.memberships as member
    where member.organization_id = actor.organization_id and member.user_id = actor.user_id and member.role = actor.role
  ) then
    perform private.raise_refusal(403, 'FORBIDDEN', 'You are not a member of this organization, or no longer what you were.');
  end if;
end
$$;
comment on function private.require_same_role(private.actor) is
  'Behind the locks: PT403 for a caller who was removed, or whose role changed, while they waited. Undoes what was written.';

create function private.begin_request(request_id text)
returns private.actor
language plpgsql
set search_path = ''
as $$
begin
  perform set_config('therapist_sessions.request_id', coalesce(left(request_id, 128), ''), true);
  return private.require_actor();
end
$$;
comment on function private.begin_request(text) is
  'The caller, and the id of their request for the audit; see private.require_actor.';

create function private.begin_booking(request_id text)
returns private.actor
language plpgsql
set search_path = ''
as $$
begin
  perform private.enter_booking();
  return private.begin_request(request_id);
end
$$;
comment on function private.begin_booking(text) is
  'The caller of a booking function, before it takes any lock; see private.require_actor. Called by what '
  'private.publish_booking makes, which sees to its end.';

create function private.may_ask(actor private.actor, therapist_id uuid)
returns boolean
language plpgsql
immutable
set search_path = ''
as $$
begin
  return actor.role in ('admin', 'super_admin') or (actor.role = 'therapist' and actor.user_id = therapist_id);
end
$$;
comment on function private.may_ask(private.actor, uuid) is
  'Whether the caller may book this therapist at all. Asked before any lock is taken, so that nobody makes others wait for '
  'what they may not do; private.who_may_book asks again behind the locks.';

create type private.booker as (
  role public.member_role,
  allowed boolean,
  has_payer boolean
);
comment on type private.booker is 'What private.who_may_book says.';

create function private.who_may_book(actor private.actor, therapist_id uuid, client_ids uuid[], room_id uuid)
returns private.booker
language plpgsql
stable
set search_path = ''
as $$
declare
  booker private.booker;
begin
  -- One small statement for each question, and none for a question that does not arise: a connection plans each once, and
  -- a join of all of them costs more to plan, and to begin, than its parts.
  booker.role := 'admin';
  if actor.user_id is not null then
    select member.role into booker.role
    from public.memberships as member
    where member.organization_id = actor.organization_id and member.user_id = actor.user_id;
    if not found then
      -- They were a member when the call began.
      perform private.raise_refusal(403, 'FORBIDDEN', 'You are not a member of this organization.');
    end if;
  end if;
  select bool_and(client.id is not null) as all_there, bool_or(client.has_payer) into booker.allowed, booker.has_payer
  from unnest(client_ids) as asked (id)
  left join lateral (
    select known.id, known.has_payer from public.clients as known
    where known.organization_id = actor.organization_id and known.id = asked.id and known.deleted_at is null offset 0
  ) as client on true;
  booker.allowed := booker.allowed and exists (
    select from public.therapists as therapist
    join public.memberships as renders
      on renders.organization_id = actor.organization_id and renders.user_id = therapist.id and renders.role <> 'client'
    where therapist.organization_id = actor.organization_id and therapist.id = who_may_book.therapist_id
      and therapist.deleted_at is null
  );
  if room_id is not null then
    booker.allowed := booker.allowed and exists (
      select from public.rooms as room
      where room.organization_id = actor.organization_id and room.id = who_may_book.room_id and room.deleted_at is null
    );
  end if;
  if booker.role = 'therapist' then
    booker.allowed := booker.allowed and therapist_id = actor.user_id and (
      select bool_and(caseload.client_id is not null) as all_on_caseload
      from unnest(client_ids) as asked (id)
      left join lateral (
        select known.client_id from public.caseloads as known
        where known.organization_id = actor.organization_id and known.therapist_id = who_may_book.therapist_id
          and known.client_id = asked.id
        offset 0
      ) as caseload on true
    );
  elsif booker.role = 'client' then
    booker.allowed := false;
  end if;
  return booker;
end
$$;
comment on function private.who_may_book(private.actor, uuid, uuid[], uuid) is
  'Whether the caller may book this therapist with these clients in this room. Therapists book their own time '
  'for their caseload, admins anybody; nobody books the archived, or a therapist whose membership ended or does not '
  'render. An actor without a user is the clinic itself (the waitlist). has_payer: whether units may be counted for any '
  'of the clients.';

create function private.may_book(actor private.actor, therapist_id uuid, client_id uuid, room_id uuid default null)
returns boolean
language plpgsql
stable
set search_path = ''
as $$
begin
  return coalesce((private.who_may_book(actor, therapist_id, array[client_id], room_id)).allowed, false);
end
$$;
comment on function private.may_book(private.actor, uuid, uuid, uuid) is 'As private.who_may_book, for one client.';
