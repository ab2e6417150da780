/**
 * What must be true of the tables at any moment, whoever did what: read it after races, random walks, crashes and
 * torture. Each rule is one query that returns the rows which break it.
 */
import type pg from 'pg';

interface Rule {
  /** The sentence that is not true when the query returns rows. */
  name: string;
  /** $1 is the organization, or null for all; $2 the instant by which expiry, and what is over, is judged. */
  query: string;
}

/** Sessions that take place, with the room and the buffers of their group where they are in one. */
const taking = `
  taking as materialized (
    select session.organization_id, session.id, session.client_id, session.therapist_id, session.group_id,
      session.start_time, session.end_time, session.cpt_code, session.session_type, session.status, session.lanes,
      coalesce(known.room_id, session.room_id) as room_id,
      session.start_time - greatest(known.buffer_before_minutes, session.buffer_before_minutes) * interval '1 minute' as busy_from,
      session.end_time + greatest(known.buffer_after_minutes, session.buffer_after_minutes) * interval '1 minute' as busy_until
    from public.sessions as session
    left join public.session_groups as known
      on known.organization_id = session.organization_id and known.id = session.group_id
    where session.status not in ('cancelled', 'no_show') and ($1::uuid is null or session.organization_id = $1)
  )`;

/** Those sessions with the lanes that they must have. */
const ruled = `
  ruled as materialized (
    select session.organization_id, session.id, session.client_id, session.start_time, session.end_time,
      case
        when session.end_time <= $2 or session.status = 'completed' or exists (
          select from public.session_holds as hold
          join public.hold_batches as batch on batch.organization_id = hold.organization_id and batch.id = hold.batch_id
          where hold.organization_id = session.organization_id and session.id in (hold.id, hold.session_id)
            and hold.status = 'confirmed' and private.overrides(batch, 'concurrency')
        ) then session.lanes
        else private.client_lanes(
          session.organization_id, session.client_id,
          private.service_code_at(
            session.organization_id, session.client_id, session.cpt_code, session.session_type, session.start_time
          ),
          session.start_time, session.end_time
        )
      end as lanes
    from taking as session
  )`;

/** Live holds, each with its batch's therapist, room and buffers. */
const live = `
  live as materialized (
    select hold.organization_id, hold.id, hold.batch_id, hold.client_id, hold.group_id, hold.session_id, hold.lanes,
      hold.start_time, hold.end_time, batch.therapist_id, batch.room_id, batch.is_move,
      hold.start_time - case when batch.keeps_places
        then greatest(known.buffer_before_minutes, moved.buffer_before_minutes) else batch.buffer_before_minutes
      end * interval '1 minute' as busy_from,
      hold.end_time + case when batch.keeps_places
        then greatest(known.buffer_after_minutes, moved.buffer_after_minutes) else batch.buffer_after_minutes
      end * interval '1 minute' as busy_until
    from public.session_holds as hold
    join public.hold_batches as batch on batch.organization_id = hold.organization_id and batch.id = hold.batch_id
    left join public.sessions as moved
      on moved.organization_id = hold.organization_id and moved.id = hold.session_id
    left join public.session_groups as known
      on known.organization_id = moved.organization_id and known.id = moved.group_id
    where hold.status = 'held' and batch.expires_at > $2 and ($1::uuid is null or hold.organization_id = $1)
  )`;

const rules: Rule[] = [
  {
    name: 'no two live claims of one therapist, client or room overlap',
    query: `
      select a.resource_kind, a.resource_id, a.owner_id, b.owner_id as other_owner_id
      from private.claims as a
      join private.claims as b
        on b.organization_id = a.organization_id and b.resource_kind = a.resource_kind and b.resource_id = a.resource_id
        and b.during && a.during and b.lanes && a.lanes and (b.owner_id, b.during) > (a.owner_id, a.during)
      where ($1::uuid is null or a.organization_id = $1)
        and (a.expires_at is null or a.expires_at > $2) and (b.expires_at is null or b.expires_at > $2)`,
  },
  {
    // Knows nothing of claims: it reads the rows themselves.
    name: 'no two sessions of one therapist, room or client overlap, unless they are one group or the payers allow both at once',
    query: `
      with ${taking}, ${ruled}
      select 'therapist' as resource, a.id, b.id as other_id
      from taking as a
      join taking as b
        on b.organization_id = a.organization_id and b.therapist_id = a.therapist_id and b.id > a.id
        and b.busy_from < a.busy_until and a.busy_from < b.busy_until
        and (a.group_id is null or b.group_id is distinct from a.group_id)
      union all
      select 'room', a.id, b.id
      from taking as a
      join taking as b
        on b.organization_id = a.organization_id and b.room_id = a.room_id and b.id > a.id
        and b.start_time < a.end_time and a.start_time < b.end_time
        and (a.group_id is null or b.group_id is distinct from a.group_id)
      union all
      -- The rules of today for what lies ahead, which follows each change of them; what is over, or was let run beside
      -- another service with a reason, by the rules of its time, which its lanes keep.
      select 'client', a.id, b.id
      from ruled as a
      join ruled as b
        on b.organization_id = a.organization_id and b.client_id = a.client_id and b.id > a.id
        and b.start_time < a.end_time and a.start_time < b.end_time
        and b.lanes && a.lanes`,
  },
  {
    // Of the rows alone, as the one above.
    name: 'no two completed visits of one therapist, or of one client in services that exclude each other, overlap in actual time',
    query: `
      with visit as materialized (
        select session.*, case when actual.actual_end_time is null then tstzrange(session.start_time, session.end_time)
          else tstzrange(actual.actual_start_time, actual.actual_end_time) end as during
        from public.sessions as session
        left join public.session_visits as actual
          on actual.organization_id = session.organization_id and actual.session_id = session.id
        where session.status = 'completed' and actual.overlap_reason is null
          and ($1::uuid is null or session.organization_id = $1)
      )
      select a.id, b.id as other_id
      from visit as a
      join visit as b
        on b.organization_id = a.organization_id and b.id > a.id and b.during && a.during and b.group_key <> a.group_key
        and (b.therapist_id = a.therapist_id or (b.client_id = a.client_id and b.lanes && a.lanes))`,
  },
  {
    name: 'no live hold is of time that a session or another live hold has: each of them can be confirmed',
    query: `
      with ${taking}, ${live}
      select 'session' as taken_by, hold.id, session.id as other_id
      from live as hold
      join taking as session
        on session.organization_id = hold.organization_id and session.therapist_id = hold.therapist_id
        and session.busy_from < hold.busy_until and hold.busy_from < session.busy_until
      where session.group_id is distinct from coalesce(hold.group_id, '00000000-0000-0000-0000-000000000000')
        -- A move is not in its own sessions' way.
        and not exists (
          select from public.session_holds as sibling
          join public.sessions as moved on moved.organization_id = sibling.organization_id and moved.id = sibling.session_id
          where sibling.organization_id = hold.organization_id and sibling.batch_id = hold.batch_id
            and (moved.id = session.id or moved.group_id = session.group_id)
        )
      union all
      select 'hold', a.id, b.id
      from live as a
      join live as b
        on b.organization_id = a.organization_id and b.therapist_id = a.therapist_id and b.id > a.id
        and b.busy_from < a.busy_until and a.busy_from < b.busy_until
      where (a.batch_id <> b.batch_id or not a.is_move and a.start_time <> b.start_time)
        and (a.group_id is null or a.group_id is distinct from b.group_id)`,
  },
  {
    name: 'claims are what the rows say: sessions, groups, live holds, live moves',
    query: `
      with owner as (
        select organization_id, id from public.sessions
        union select organization_id, id from public.session_groups
        union select organization_id, id from public.staff_times
        union select organization_id, unnest(array_remove(array[id, group_id, batch_id], null)) from public.session_holds
      ),
      expected as materialized (
        select claim.*
        from (
          select organization_id, array_agg(id) as ids from owner
          where $1::uuid is null or organization_id = $1 group by organization_id
        ) as owners
        cross join lateral unnest(private.claims_of(owners.organization_id, owners.ids, $2)) as claim
      ),
      claimed as materialized (
        select * from private.claims
        where (expires_at is null or expires_at > $2) and ($1::uuid is null or organization_id = $1)
      )
      select * from (
        (select 'missing' as problem, * from expected except select 'missing', * from claimed)
        union all
        (select 'surplus', * from claimed except select 'surplus', * from expected)
      ) as difference
      -- What expires this moment may be counted by one and not by the other.
      where expires_at is null or expires_at > $2::timestamptz + interval '200 milliseconds'`,
  },
  {
    name: 'each place a live move wants is covered by its claims and those of its sessions',
    query: `
      with ${live}
      select hold.id, wanted.kind
      from live as hold
      cross join lateral (
        values ('therapist', hold.therapist_id, tstzrange(hold.busy_from, hold.busy_until)),
          ('room', hold.room_id, tstzrange(hold.start_time, hold.end_time))
      ) as wanted (kind, id, during)
      where hold.is_move and wanted.id is not null
        and not coalesce((
          select range_agg(claim.during::tstzrange)
          from private.claims as claim
          where claim.organization_id = hold.organization_id and claim.resource_id = wanted.id
            and claim.owner_id in (
              select hold.batch_id
              union
              select unnest(array[moved.id, moved.group_id])
              from public.session_holds as sibling
              join public.sessions as moved on moved.organization_id = sibling.organization_id and moved.id = sibling.session_id
              where sibling.organization_id = hold.organization_id and sibling.batch_id = hold.batch_id
            )
        ), '{}') @> wanted.during`,
  },
  {
    name: 'a series is held whole',
    query: `
      select batch.id, count(distinct hold.occurrence_index), max(hold.occurrence_index)
      from public.hold_batches as batch
      left join public.session_holds as hold on hold.organization_id = batch.organization_id and hold.batch_id = batch.id
      where $1::uuid is null or batch.organization_id = $1
      group by batch.id
      having count(hold.id) = 0 or count(distinct hold.occurrence_index) <> max(hold.occurrence_index) + 1`,
  },
  {
    name: 'a confirmed hold is a session',
    query: `
      select hold.id, hold.session_id
      from public.session_holds as hold
      left join public.sessions as session
        on session.organization_id = hold.organization_id and session.id = coalesce(hold.session_id, hold.id)
      where ($1::uuid is null or hold.organization_id = $1) and (
        (hold.status = 'confirmed' and session.id is null)
        or (hold.status <> 'confirmed' and hold.session_id is null and session.id is not null)
      )`,
  },
  {
    name: 'every batch has the event that made it, every settled hold the event that settled it, once',
    query: `
      with told as materialized (
        select organization_id, split_part(action, '.', 2) as status, (details ->> 'batchId')::uuid as batch_id, entity_ids
        from audit.events
        where action in ('hold.acquired', 'hold.confirmed', 'hold.released', 'hold.expired')
          and outcome = 'ok' and ($1::uuid is null or organization_id = $1)
      ),
      told_of_batch as materialized (
        select organization_id, batch_id, status, count(*) as events from told group by 1, 2, 3
      ),
      told_of_hold as materialized (
        select told.organization_id, told.batch_id, told.status, hold.id, count(*) as events
        from told cross join unnest(told.entity_ids) as hold (id)
        where told.status in ('released', 'expired')
        group by 1, 2, 3, 4
      )
      select batch.id, 'acquired' as status, coalesce(told.events, 0) as events
      from public.hold_batches as batch
      left join told_of_batch as told
        on told.organization_id = batch.organization_id and told.batch_id = batch.id and told.status = 'acquired'
      where ($1::uuid is null or batch.organization_id = $1) and coalesce(told.events, 0) <> 1
      union all
      select hold.id, hold.status::text, coalesce(batch.events, each.events, 0)
      from public.session_holds as hold
      left join told_of_batch as batch
        on batch.organization_id = hold.organization_id and batch.batch_id = hold.batch_id
        and batch.status = hold.status::text and hold.status = 'confirmed'
      left join told_of_hold as each
        on each.organization_id = hold.organization_id and each.batch_id = hold.batch_id
        and each.status = hold.status::text and each.id = hold.id
      where hold.status <> 'held' and ($1::uuid is null or hold.organization_id = $1)
        and case when hold.status = 'confirmed' then batch.events is null else each.events is distinct from 1 end`,
  },
  {
    name: 'an event about several lists what became of each in the order of their ids',
    query: `
      select event.id, event.action, place.id as entity_id
      from audit.events as event
      cross join lateral unnest(event.entity_ids) with ordinality as place (id, position)
      cross join lateral (values (event.before), (event.after)) as part (list)
      where ($1::uuid is null or event.organization_id = $1)
        and cardinality(event.entity_ids) > 1 and jsonb_typeof(part.list) = 'array'
        and part.list -> (place.position - 1)::integer ->> 'id' <> place.id::text`,
  },
  {
    name: 'the chains of the audit are whole',
    query: 'select * from audit.verify($1)',
  },
  {
    name: 'no authorization has more units taken than approved',
    query: `
      select approval.id, approval.approved_units, sum(entry.units) as taken_units
      from public.authorizations as approval
      join public.authorization_units as entry
        on entry.organization_id = approval.organization_id and entry.authorization_id = approval.id
        and (entry.expires_at is null or entry.expires_at > $2)
      where $1::uuid is null or approval.organization_id = $1
      group by approval.id, approval.approved_units
      having sum(entry.units) > approval.approved_units`,
  },
  {
    // What an entry takes may be less than its service needs: beyond an authorization, or for a move what it adds.
    name: 'the ledger has an entry for each session and live hold of an authorized service, as it is now, and no other',
    query: `
      with owned as materialized (
        select session.organization_id, session.id as owner_id, session.client_id,
          private.billed_code_at(
            session.organization_id, session.client_id, session.cpt_code, session.session_type, session.start_time) as cpt_code
        from public.sessions as session
        where session.status not in ('cancelled', 'no_show') and ($1::uuid is null or session.organization_id = $1)
        union all
        select hold.organization_id, hold.id, hold.client_id,
          private.billed_code_at(
            hold.organization_id, hold.client_id, coalesce(batch.cpt_code, moved.cpt_code),
            coalesce(batch.session_type, moved.session_type), hold.start_time
          )
        from public.session_holds as hold
        join public.hold_batches as batch on batch.organization_id = hold.organization_id and batch.id = hold.batch_id
        left join public.sessions as moved
          on moved.organization_id = hold.organization_id and moved.id = hold.session_id
        where hold.status = 'held' and batch.expires_at > $2 and coalesce(moved.status, 'scheduled') = 'scheduled'
          -- One that names no service takes its units when it is confirmed as one.
          and (hold.session_id is not null or batch.cpt_code is not null or batch.session_type is not null)
          and ($1::uuid is null or hold.organization_id = $1)
      ),
      authorized as (
        select owned.* from owned
        where exists (
          select 1 from public.authorizations as approval
          join public.authorization_codes as granted
            on granted.organization_id = approval.organization_id and granted.authorization_id = approval.id
          where approval.organization_id = owned.organization_id and approval.client_id = owned.client_id
            and granted.cpt_code = owned.cpt_code
        )
      ),
      entered as (
        select organization_id, owner_id, client_id, cpt_code
        from public.authorization_units
        where (expires_at is null or expires_at > $2) and ($1::uuid is null or organization_id = $1)
      )
      (select 'missing' as problem, * from authorized except select 'missing', * from entered)
      union all
      (select 'surplus', * from entered except select 'surplus', * from owned)`,
  },
  {
    name: 'the booked units of an authorization are those of its entries that are not holds',
    query: `
      select approval.id, approval.booked_units, coalesce(sum(entry.units), 0) as entered
      from public.authorizations as approval
      left join public.authorization_units as entry
        on entry.organization_id = approval.organization_id and entry.authorization_id = approval.id and entry.state <> 'held'
      where $1::uuid is null or approval.organization_id = $1
      group by approval.organization_id, approval.id, approval.booked_units
      having approval.booked_units <> coalesce(sum(entry.units), 0)`,
  },
  {
    name: 'a kept answer speaks of a hold that exists',
    query: `
      select kept.endpoint, kept.idempotency_key
      from private.idempotency_keys as kept
      where ($1::uuid is null or kept.organization_id = $1) and kept.hold_batch_id is not null
        and not exists (
          select 1 from public.hold_batches as batch
          where batch.organization_id = kept.organization_id and batch.id = kept.hold_batch_id
        )`,
  },
];

/** One broken rule, with a few of the rows that break it. */
export interface Broken {
  rule: string;
  rows: Record<string, unknown>[];
}

/**
 * The rules that do not hold now: expect it to equal `[]`.
 *
 * @param client a connection as `postgres`, outside any transaction of the story
 * @param organizationId only this clinic; all of them when left out
 *
 * @example
 * expect(await brokenInvariants(client, clinic.organizationId)).toEqual([]);
 */
export async function brokenInvariants(client: pg.ClientBase, organizationId?: string): Promise<Broken[]> {
  const broken: Broken[] = [];
  const isOne = organizationId !== undefined;
  // One snapshot and one instant for all rules: others may be booking meanwhile. Of one clinic each rule is planned once
  // a connection: walks ask after every step, and planning takes longer than looking.
  await client.query(
    `begin isolation level repeatable read${isOne ? '; set local plan_cache_mode = force_generic_plan' : ''}`,
  );
  try {
    const { rows: clock } = await client.query('select clock_timestamp() as now');
    for (const [index, { name, query }] of rules.entries()) {
      const values = query.includes('$2') ? [organizationId ?? null, clock[0].now] : [organizationId ?? null];
      const { rows } = await client.query(
        isOne
          ? { name: `invariant ${index}`, text: query.replaceAll('$1::uuid is null or ', ''), values }
          : { text: query, values },
      );
      if (rows.length > 0) broken.push({ rule: name, rows: rows.slice(0, 5) });
    }
  } finally {
    await client.query('rollback');
  }
  return broken;
}
