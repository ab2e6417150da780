-- Purpose: what is in the way of a request, and how it is told.
-- Objects: is_pair, find_conflicts, conflict_code.
-- Watch for: conflicts say when and by which kind of booking, never whose.

create type private.obstacle as (
  conflicts jsonb,
  retry_after timestamptz,
  has_stale boolean,
  concurrent_lanes int4multirange
);
comment on type private.obstacle is 'What private.find_conflicts says.';

create function private.is_pair(shared int4multirange)
returns boolean
language plpgsql
immutable
set search_path = ''
as $$
begin
  return upper(shared) - lower(shared) = 1 and lower(shared) / 100 <> lower(shared) % 100;
end
$$;
comment on function private.is_pair(int4multirange) is
  'Whether these lanes are the one of a pair of different services, which an admin may set aside; see private.pair_lanes.';

create function private.find_conflicts(
  slots private.slot[],
  wanted private.claims[],
  own_ids uuid[],
  as_of timestamptz,
  by_person boolean default false,
  but_pairs boolean default false
)
returns private.obstacle
language plpgsql
stable
set search_path = ''
as $$
declare
  obstacle private.obstacle;
  -- By id, so that what is found is not compared with every occurrence.
  indexes constant jsonb := (
    select jsonb_object_agg(owner.id, slot.occurrence_index)
    from unnest(slots) as slot
    cross join lateral (values (slot.hold_id), (slot.group_id)) as owner (id)
    where owner.id is not null
  );
begin
  -- One look at everything in the way: what lives is a conflict, what has expired is to be removed.
  select
    jsonb_agg(
      jsonb_strip_nulls(jsonb_build_object(
        'occurrenceIndex', found.occurrence_index,
        'resource', found.resource_kind,
        'therapistId', case when by_person and found.resource_kind = 'therapist' then found.resource_id end,
        'blockedBy', case when found.expires_at is null then 'session' else 'hold' end,
        -- As private.iso, without a call for each.
        'startTime', to_char(lower(found.overlap) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
        'endTime', to_char(upper(found.overlap) at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'),
        'expiresAt', to_char(found.expires_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
      ))
      order by found.occurrence_index, found.resource_kind, found.resource_id
    ) filter (where found.is_alive and found.place = 1),
    case when bool_and(found.expires_at is not null) filter (where found.is_alive)
      then max(found.expires_at) filter (where found.is_alive)
    end,
    coalesce(bool_or(not found.is_alive), false),
    case when bool_and(found.is_pair) filter (where found.is_alive)
      then range_agg(found.lanes) filter (where found.is_alive)
    end
  into obstacle.conflicts, obstacle.retry_after, obstacle.has_stale, obstacle.concurrent_lanes
  from (
    select
      shared.lanes,
      private.is_pair(shared.lanes) as is_pair,
      owner.occurrence_index,
      want.resource_kind,
      want.resource_id,
      claim.expires_at,
      claim.during::tstzrange * want.during::tstzrange as overlap,
      claim.expires_at is null or claim.expires_at > as_of as is_alive,
      row_number() over (
        partition by owner.occurrence_index, want.resource_kind, case when by_person then want.resource_id end
        order by claim.expires_at is null or claim.expires_at > as_of desc, claim.expires_at desc nulls first, claim.during
      ) as place
    from unnest(wanted) as want
    cross join lateral (
      select known.* from private.claims as known
      where known.organization_id = want.organization_id
        and known.resource_id = want.resource_id
        and known.during && want.during
        and known.resource_kind = want.resource_kind
        and known.lanes && want.lanes
        and known.owner_id <> all (own_ids)
    ) as claim
    cross join lateral (select claim.lanes::int4multirange * want.lanes::int4multirange as lanes offset 0) as shared
    cross join lateral (select (indexes ->> want.owner_id::text)::integer as occurrence_index offset 0) as owner
    where owner.occurrence_index is not null and not (but_pairs and private.is_pair(shared.lanes))
  ) as found;
  return obstacle;
end
$$;
comment on function private.find_conflicts(private.slot[], private.claims[], uuid[], timestamptz, boolean, boolean) is
  'What is in the way of these claims, apart from what own_ids own. conflicts: one for each occurrence and resource, a '
  'session before a hold, else the hold that expires last; times are the overlap with the request; null when nothing is. '
  'retry_after: when all of them clear, null when a session is among them. has_stale: something expired is in the way. '
  'concurrent_lanes: when nothing but other services of the client is, the lanes of those pairs. by_person: one for each of '
  'several therapists, with the therapistId that was asked for. but_pairs: without other services of the client that an '
  'admin sets aside.';

create function private.conflict_code(conflicts jsonb, concurrent_lanes int4multirange default null)
returns jsonb
language plpgsql
immutable
set search_path = ''
as $$
begin
  return case
    when concurrent_lanes is not null then
      '{"code": "CONCURRENT_SERVICE_NOT_ALLOWED",
        "detail": "The client has another service then, and not every payer of theirs is known to allow the two at once."}'
    when conflicts @> '[{"resource": "therapist", "blockedBy": "session"}]' then
      '{"code": "THERAPIST_CONFLICT", "detail": "The therapist already has a session then. Choose an alternative."}'
    when conflicts @> '[{"resource": "client", "blockedBy": "session"}]' then
      '{"code": "CLIENT_CONFLICT", "detail": "The client already has a session then. Choose an alternative."}'
    when conflicts @> '[{"resource": "therapist", "blockedBy": "hold"}]' then
      '{"code": "THERAPIST_HOLD_CONFLICT",
        "detail": "The therapist''s time is held by another booking. Retry at retryAfter, or choose an alternative."}'
    when conflicts @> '[{"resource": "client", "blockedBy": "hold"}]' then
      '{"code": "CLIENT_HOLD_CONFLICT",
        "detail": "The client''s time is held by another booking. Retry at retryAfter, or choose an alternative."}'
    else
      '{"code": "ROOM_CONFLICT", "detail": "The room is taken then. Choose another room or an alternative."}'
  end::jsonb;
end
$$;
comment on function private.conflict_code(jsonb, int4multirange) is
  'Code and detail for a set of conflicts: sessions before holds, therapist before client.';
