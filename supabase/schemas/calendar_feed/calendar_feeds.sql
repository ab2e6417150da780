-- Purpose: a therapist's or a parent's sessions for the calendar of their phone, behind a secret address.
-- Objects: calendar_feeds (who has one), private.calendar_tokens (its secret, hashed), private.calendar_events (what it has
--          told); create_calendar_feed, revoke_calendar_feed, read_calendar_feed.
-- Watch for: the address is the only key to it, so it tells no more than when: no name, no place, no note, no id of a
--            client. What it shows follows from the membership of now; a member who is removed loses the feed in the same
--            statement. The edge function `calendar` writes it as iCalendar (RFC 5545).

create table public.calendar_feeds (
  organization_id uuid not null,
  id uuid not null default gen_random_uuid(),
  user_id uuid not null,
  created_at timestamptz not null default clock_timestamp(),
  revoked_at timestamptz,
  primary key (organization_id, id),
  foreign key (organization_id, user_id) references public.memberships (organization_id, user_id) on delete cascade
);
comment on table public.calendar_feeds is
  'Secret addresses at which calendar programs read when somebody''s sessions are. Its secret is shown once and kept '
  'hashed, elsewhere. Goes with the membership.';
comment on column public.calendar_feeds.revoked_at is 'Since when it answers as one that never was.';
create index calendar_feeds_user_idx on public.calendar_feeds (organization_id, user_id);

alter table public.calendar_feeds enable row level security;
create policy role_scoped_select on public.calendar_feeds for select to authenticated
  using (
    organization_id = (select private.active_organization_id())
    and ((select private.is_admin()) or user_id = (select auth.uid()))
  );
comment on policy role_scoped_select on public.calendar_feeds is
  'Everybody sees which feeds of their own there are, admins all. Nobody sees a secret.';
grant select on public.calendar_feeds to authenticated, service_role;

create table private.calendar_tokens (
  organization_id uuid not null,
  feed_id uuid not null,
  token_hash bytea not null check (length(token_hash) = 32),
  read_on date,
  primary key (organization_id, feed_id),
  foreign key (organization_id, feed_id) references public.calendar_feeds (organization_id, id) on delete cascade
);
comment on table private.calendar_tokens is 'SHA-256 of the secret in a feed''s address. A secret has 256 random bits: no salt is needed.';
comment on column private.calendar_tokens.read_on is 'The last day (UTC) a read of it was written into the audit: one event a day.';
-- Not unique: a constraint across organizations would tell of others, and 256 random bits do not repeat.
create index calendar_tokens_hash_idx on private.calendar_tokens (token_hash);
alter table private.calendar_tokens enable row level security;
create policy deny_all on private.calendar_tokens using (false);
comment on policy deny_all on private.calendar_tokens is 'Read and written by functions only.';

create table private.calendar_events (
  organization_id uuid not null,
  feed_id uuid not null,
  id uuid not null,
  kind text not null,
  start_time timestamptz not null,
  end_time timestamptz not null,
  time_zone text not null,
  is_cancelled boolean not null,
  changed_at timestamptz not null,
  sequence integer not null default 0 check (sequence >= 0),
  primary key (organization_id, feed_id, id),
  foreign key (organization_id, feed_id) references public.calendar_feeds (organization_id, id) on delete cascade
);
comment on table private.calendar_events is
  'What a feed told last of each event. It is the difference to what is so now that makes an event''s number grow, no clock.';
comment on column private.calendar_events.id is 'The event''s UID: a session''s, a group''s or a staff time''s id.';
comment on column private.calendar_events.changed_at is
  'When it became what it is; of an event that left the feed: when a read found it gone.';
comment on column private.calendar_events.sequence is 'How many times the feed has told another thing of it.';
-- For the sweep.
create index calendar_events_start_idx on private.calendar_events (start_time);
alter table private.calendar_events enable row level security;
create policy deny_all on private.calendar_events using (false);
comment on policy deny_all on private.calendar_events is 'Read and written by functions only.';

create function private.hash_token(token text)
returns bytea
language sql
immutable
set search_path = ''
return sha256(convert_to(token, 'UTF8'));
comment on function private.hash_token(text) is 'What is kept of the secret of a feed.';

create function private.create_calendar_feed(request_id text default null)
returns jsonb
language plpgsql
security definer
set search_path = ''
set lock_timeout = '5s'
as $$
declare
  actor private.actor := private.begin_request(request_id);
  new_id uuid := gen_random_uuid();
  token text := translate(rtrim(encode(extensions.gen_random_bytes(32), 'base64'), '='), '+/', '-_');
begin
  if actor.role <> 'client' and not exists (
    select from public.therapists as therapist
    where therapist.organization_id = actor.organization_id and therapist.id = actor.user_id
      and therapist.deleted_at is null
  ) then
    return private.refusal(403, 'FORBIDDEN', 'A calendar feed is for therapists and families.');
  end if;
  -- Two at once would both find the ninth: the second waits until the first is there.
  perform from public.memberships as member
  where member.organization_id = actor.organization_id and member.user_id = actor.user_id
  for no key update;
  perform private.require_same_role(actor);
  if (
    select count(*) from public.calendar_feeds as feed
    where feed.organization_id = actor.organization_id and feed.user_id = actor.user_id and feed.revoked_at is null
  ) >= 10 then
    perform private.raise_invalid(private.issue('', 'revoke a calendar feed first: 10 are the most'));
  end if;
  insert into public.calendar_feeds (organization_id, id, user_id)
  values (actor.organization_id, new_id, actor.user_id);
  insert into private.calendar_tokens (organization_id, feed_id, token_hash)
  values (actor.organization_id, new_id, private.hash_token(token));
  perform private.record_event(
    actor.organization_id, 'calendar_feed.created', 'calendar_feed', array[new_id], clock_timestamp(),
    actor_role => actor.role::text
  );
  return private.success(jsonb_build_object(
    'feedId', new_id, 'token', token, 'path', format('/functions/v1/calendar/%s.ics', token)
  ));
exception
  when lock_not_available or deadlock_detected or serialization_failure or query_canceled then
    perform private.raise_busy(sqlstate, sqlerrm);
end
$$;

select private.publish('create_calendar_feed',
  'Makes a secret address for the caller''s own sessions, for therapists and families: outcome body {feedId, token, path}. '
  'The token is told this once. At most 10 at a time.'
);

create type private.feed_request as (feed_id uuid);
comment on type private.feed_request is 'The request of revoke_calendar_feed.';
select private.make_readable('{feed_request}');

create function private.revoke_calendar_feed(request jsonb, request_id text default null)
returns jsonb
language plpgsql
security definer
set search_path = ''
set lock_timeout = '5s'
as $$
declare
  actor private.actor := private.begin_request(request_id);
  wanted private.feed_request := private.read_request(request, null::private.feed_request, '{feed_id}');
  feed public.calendar_feeds;
begin
  -- Revoked twice at once, it is one event.
  select known.* into feed from public.calendar_feeds as known
  where known.organization_id = actor.organization_id and known.id = wanted.feed_id
    and (known.user_id = actor.user_id or actor.role in ('admin', 'super_admin'))
  for no key update;
  if feed.id is null then
    return private.refusal(403, 'FORBIDDEN', 'There is no such calendar feed, or it is not yours to revoke.');
  elsif feed.revoked_at is null then
    update public.calendar_feeds as known
    set revoked_at = clock_timestamp()
    where known.organization_id = feed.organization_id and known.id = feed.id
    returning known.revoked_at into feed.revoked_at;
    delete from private.calendar_events as told
    where told.organization_id = feed.organization_id and told.feed_id = feed.id;
    perform private.record_event(
      actor.organization_id, 'calendar_feed.revoked', 'calendar_feed', array[feed.id], feed.revoked_at,
      actor_role => actor.role::text, details => jsonb_build_object('userId', feed.user_id)
    );
  end if;
  return private.success(jsonb_build_object('feedId', feed.id, 'revokedAt', private.iso(feed.revoked_at)));
exception
  when lock_not_available or deadlock_detected or serialization_failure or query_canceled then
    perform private.raise_busy(sqlstate, sqlerrm);
end
$$;

select private.publish('revoke_calendar_feed',
  'Ends a calendar feed at once: {feed_id}, of the caller or, for admins, of anybody. Outcome body {feedId, revokedAt}. '
  'From then on its address answers as one that never was.'
);

-- Reading ------------------------------------------------------------------------------------------------------------------

create function private.feed_entries(feed public.calendar_feeds, role public.member_role, as_of timestamptz)
returns setof private.calendar_events
language plpgsql
stable
set search_path = ''
as $$
declare
  since constant timestamptz := as_of - interval '30 days';
  client_ids constant uuid[] := array(
    select client.id
    from public.client_users as of_user
    join public.clients as client
      on client.organization_id = of_user.organization_id and client.id = of_user.client_id and client.deleted_at is null
    where of_user.organization_id = feed.organization_id and of_user.user_id = feed.user_id and role = 'client'
  );
begin
  return query
    with own as (
      select session.*
      from public.sessions as session
      where role <> 'client'
        and session.organization_id = feed.organization_id and session.therapist_id = feed.user_id
        and session.start_time >= since
      union all
      select session.*
      from unnest(client_ids) as client (id)
      cross join lateral (
        select known.* from public.sessions as known
        where known.organization_id = feed.organization_id and known.client_id = client.id
          and known.start_time >= since
        offset 0
      ) as session
    ),
    entry as (
      -- For a therapist a group is one event; for a family it is theirs among others'.
      select case when role = 'client' then own.id else own.group_key end as id, min(own.start_time) as start_time,
        min(own.end_time) as end_time, min(own.time_zone) as time_zone, bool_and(own.status = 'cancelled') as is_cancelled,
        max(own.updated_at) as changed_at,
        role <> 'client' and bool_and(own.group_id is not null and own.status in ('cancelled', 'no_show')) as is_ended_group
      from own
      group by 1
    )
    select feed.organization_id, feed.id, entry.id, 'session', entry.start_time, entry.end_time, entry.time_zone,
      entry.is_cancelled, entry.changed_at, 0
    from entry
    where (not entry.is_cancelled or entry.changed_at >= since)
      -- The members who had cancelled before a group moved are a group of their own since: nobody was told of it.
      and not (entry.is_ended_group and not exists (
        select from private.calendar_events as told
        where told.organization_id = feed.organization_id and told.feed_id = feed.id and told.id = entry.id
      ))
    union all
    select feed.organization_id, feed.id, taken.id, taken.kind::text, taken.start_time, taken.end_time, taken.time_zone,
      taken.cancelled_at is not null, taken.updated_at, 0
    from public.staff_time_members as member
    join public.staff_times as taken on taken.organization_id = member.organization_id and taken.id = member.staff_time_id
    where role <> 'client'
      and member.organization_id = feed.organization_id and member.therapist_id = feed.user_id
      and taken.start_time >= since
      and (taken.cancelled_at is null or taken.cancelled_at >= since);
end
$$;
comment on function private.feed_entries(public.calendar_feeds, public.member_role, timestamptz) is
  'What a feed shows: what begins from 30 days ago on; cancelled ones for 30 days after they were cancelled.';

create function private.feed_changes(feed public.calendar_feeds, role public.member_role, as_of timestamptz)
returns private.calendar_events[]
language sql
stable
set search_path = ''
return array(
  with found as materialized (select * from private.feed_entries(feed, role, as_of))
  select row(
    feed.organization_id, feed.id, found.id, found.kind, found.start_time, found.end_time, found.time_zone,
    found.is_cancelled, found.changed_at, 0
  )::private.calendar_events
  from found
  left join private.calendar_events as told
    on told.organization_id = feed.organization_id and told.feed_id = feed.id and told.id = found.id
  where (told.kind, told.start_time, told.end_time, told.time_zone, told.is_cancelled)
    is distinct from (found.kind, found.start_time, found.end_time, found.time_zone, found.is_cancelled)
  union all
  -- It was deleted, or is somebody else's now. A program that only learns of it no more may keep it for ever.
  select row(
    feed.organization_id, feed.id, told.id, told.kind, told.start_time, told.end_time, told.time_zone, true, as_of, 0
  )::private.calendar_events
  from private.calendar_events as told
  where told.organization_id = feed.organization_id and told.feed_id = feed.id and not told.is_cancelled
    and told.start_time >= as_of - interval '30 days'
    and told.id not in (select found.id from found)
);
comment on function private.feed_changes(public.calendar_feeds, public.member_role, timestamptz) is
  'The events that are no longer, or not yet, what a feed has told of them, as they are now.';

create function private.readable_feed(token text, out feed public.calendar_feeds, out role public.member_role)
language plpgsql
stable
set search_path = ''
as $$
begin
  -- One look for a secret that is wrong, revoked, or of somebody who may no longer read: none tells which it is.
  select known.* into feed
  from private.calendar_tokens as secret
  join public.calendar_feeds as known
    on known.organization_id = secret.organization_id and known.id = secret.feed_id and known.revoked_at is null
  where secret.token_hash = private.hash_token(token);
  select member.role into role
  from public.memberships as member
  left join public.therapists as therapist
    on therapist.organization_id = member.organization_id and therapist.id = member.user_id and therapist.deleted_at is null
  where member.organization_id = feed.organization_id and member.user_id = feed.user_id
    and (member.role = 'client' or therapist.id is not null);
end
$$;
comment on function private.readable_feed(text) is
  'The feed of a secret, and as whom it is read; no role: by nobody.';

create function private.feed_zones(entries private.calendar_events[])
returns jsonb
language sql
stable
set search_path = ''
return (
  select coalesce(jsonb_agg(jsonb_build_object(
    'name', zone.name,
    'periods', (
      select jsonb_agg(jsonb_build_object(
        'from', to_char(coalesce(lower(period.during), zone.first) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS'),
        'offsetMinutes', (extract(epoch from period.utc_offset) / 60)::integer
      ) order by lower(period.during) nulls first)
      from private.zone_periods(zone.name, tstzrange(zone.first, zone.last, '[]')) as period
    )
  ) order by zone.name), '[]')
  from (
    select entry.time_zone as name, min(entry.start_time) - interval '1 day' as first, max(entry.end_time) as last
    from unnest(entries) as entry
    group by entry.time_zone
  ) as zone
);
comment on function private.feed_zones(private.calendar_events[]) is
  'The zones of these events, each with the offsets it has in their time: from (an instant in UTC) and minutes east of UTC. '
  'The database''s own rules, so that a reader gets back the same instants.';

create function private.read_calendar_feed(token text, request_id text default null)
returns jsonb
language plpgsql
security definer
set search_path = ''
set timezone = 'UTC'
set lock_timeout = '5s'
as $$
declare
  as_of constant timestamptz := clock_timestamp();
  reader record;
  feed public.calendar_feeds;
  entries private.calendar_events[];
begin
  perform set_config('therapist_sessions.request_id', coalesce(left(request_id, 128), ''), true);
  reader := private.readable_feed(token);
  if reader.role is null then
    return null;
  end if;
  feed := reader.feed;

  if private.feed_changes(feed, reader.role, as_of) <> '{}' then
    -- Two reads at once would give two changes one number: the second sees what the first has told.
    perform from public.calendar_feeds as known
    where known.organization_id = feed.organization_id and known.id = feed.id
    for no key update;
    reader := private.readable_feed(token);
    if reader.role is null then
      return null;
    end if;
    insert into private.calendar_events as told
    select change.* from unnest(private.feed_changes(feed, reader.role, as_of)) as change
    on conflict on constraint calendar_events_pkey do update
    set kind = excluded.kind, start_time = excluded.start_time, end_time = excluded.end_time,
      time_zone = excluded.time_zone, is_cancelled = excluded.is_cancelled,
      changed_at = greatest(told.changed_at, excluded.changed_at), sequence = told.sequence + 1;
  end if;
  entries := array(
    select told
    from private.calendar_events as told
    where told.organization_id = feed.organization_id and told.feed_id = feed.id
      and told.start_time >= as_of - interval '30 days'
      and (not told.is_cancelled or told.changed_at >= as_of - interval '30 days')
    order by told.start_time, told.id
  );
  -- Calendar programs poll for years: a read a day is recorded, however often they ask.
  update private.calendar_tokens as secret
  set read_on = as_of::date
  where secret.organization_id = feed.organization_id and secret.feed_id = feed.id
    and (secret.read_on is null or secret.read_on < as_of::date);
  if found then
    perform private.record_event(
      feed.organization_id, 'calendar_feed.read', 'calendar_feed', array[feed.id], as_of,
      details => jsonb_build_object('userId', feed.user_id, 'events', cardinality(entries))
    );
  end if;
  return jsonb_build_object(
    'zones', private.feed_zones(entries),
    'events', (
      select coalesce(jsonb_agg(jsonb_build_object(
        'uid', entry.id,
        'kind', entry.kind,
        'start', to_char(entry.start_time at time zone entry.time_zone, 'YYYY-MM-DD"T"HH24:MI:SS'),
        'end', to_char(entry.end_time at time zone entry.time_zone, 'YYYY-MM-DD"T"HH24:MI:SS'),
        'startTime', private.iso(entry.start_time),
        'endTime', private.iso(entry.end_time),
        'timeZone', entry.time_zone,
        'cancelled', entry.is_cancelled,
        'sequence', entry.sequence,
        'changedAt', private.iso(entry.changed_at)
      ) order by entry.start_time, entry.id), '[]')
      from unnest(entries) as entry
    )
  );
exception
  when lock_not_available or deadlock_detected or serialization_failure or query_canceled then
    perform private.raise_busy(sqlstate, sqlerrm);
end
$$;

select private.publish('read_calendar_feed',
  'What the edge function calendar writes as iCalendar: {zones, events}; null for a token that is wrong, revoked or of '
  'somebody who is no member any more, alike. Called with the secret key only.', caller => 'service_role'
);

create function private.sweep_calendar_events(most integer default 10000)
returns integer
language plpgsql
security definer
set search_path = ''
as $$
declare
  removed integer;
begin
  delete from private.calendar_events as past
  where past.ctid = any (array(
    select candidate.ctid
    from private.calendar_events as candidate
    -- By then no feed tells of them. A cancelled event that is still to come stays: if it comes back, its number goes on.
    where candidate.start_time < clock_timestamp() - interval '31 days'
      and candidate.changed_at < clock_timestamp() - interval '31 days'
    order by candidate.start_time
    limit most
    for update skip locked
  ));
  get diagnostics removed = row_count;
  return removed;
end
$$;
comment on function private.sweep_calendar_events(integer) is 'Removes what feeds have told of events long past.';
