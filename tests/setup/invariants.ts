/**
 * What must be true of the tables at any moment, whoever did what: read it after races, random walks, crashes and
 * torture. Each rule is one query that returns the rows which break it.
 */
import type pg from 'pg';

interface Rule {
  /** The sentence that is not true when the query returns rows. */
  name: string;
  /** $1 is the organization, or null for all; $2 the instant by which expiry is judged. */
  query: string;
}

const rules: Rule[] = [
  {
    name: 'no two live claims of one therapist, client or room overlap',
    query: `
      select a.resource_kind, a.resource_id, a.owner_id, b.owner_id as other_owner_id, a.during * b.during as overlap
      from private.claims as a
      join private.claims as b
        on b.organization_id = a.organization_id and b.resource_kind = a.resource_kind and b.resource_id = a.resource_id
        and b.during && a.during and b.lanes && a.lanes and b.group_key <> a.group_key and b.owner_id > a.owner_id
      where ($1::uuid is null or a.organization_id = $1)
        and (a.expires_at is null or a.expires_at > $2) and (b.expires_at is null or b.expires_at > $2)`,
  },
  {
    // Sees also what claims could hide: two sessions of one live move share a key only until they have moved.
    name: 'no two sessions of one therapist or client overlap, unless they are one group or the payers allow both at once',
    query: `
      with active as (
        select * from public.sessions
        where ($1::uuid is null or organization_id = $1) and status not in ('cancelled', 'no_show')
      )
      select 'therapist' as resource, a.id, b.id as other_id
      from active as a
      join active as b
        on b.organization_id = a.organization_id and b.therapist_id = a.therapist_id and b.id > a.id
        and b.start_time < a.end_time and a.start_time < b.end_time
        and (a.group_id is null or b.group_id is distinct from a.group_id)
      union all
      select 'client', a.id, b.id
      from active as a
      join active as b
        on b.organization_id = a.organization_id and b.client_id = a.client_id and b.id > a.id
        and b.start_time < a.end_time and a.start_time < b.end_time
      where private.client_lanes(a.organization_id, a.client_id, private.service_code(a.cpt_code, a.session_type), a.start_time, a.end_time)
        && private.client_lanes(b.organization_id, b.client_id, private.service_code(b.cpt_code, b.session_type), b.start_time, b.end_time)`,
  },
  {
    name: 'every session that takes place has exactly its claims, for ever',
    query: `
      with expected as materialized (
        select organization_id, owner_id, resource_kind, resource_id, during, lanes
        from private.expected_claims where $1::uuid is null or organization_id = $1
      ),
      claimed as materialized (
        select organization_id, owner_id, resource_kind, resource_id, during, lanes
        from private.claims where expires_at is null and ($1::uuid is null or organization_id = $1)
      )
      (select 'missing' as problem, * from expected except select 'missing', * from claimed)
      union all
      (select 'surplus', * from claimed except select 'surplus', * from expected)`,
  },
  {
    name: 'every live hold has exactly its claims, which end when it does',
    query: `
      with held as (
        select hold.organization_id, hold.id as owner_id, claim.kind as resource_kind, claim.id as resource_id, claim.during, batch.expires_at
        from public.session_holds as hold
        join public.hold_batches as batch on batch.organization_id = hold.organization_id and batch.id = hold.batch_id
        cross join lateral (
          values
            ('therapist'::public.resource_kind, batch.therapist_id, tstzrange(
              hold.start_time - make_interval(mins => batch.buffer_before_minutes),
              hold.end_time + make_interval(mins => batch.buffer_after_minutes))),
            ('client', coalesce(hold.client_id, batch.client_id), tstzrange(hold.start_time, hold.end_time)),
            ('room', batch.room_id, tstzrange(hold.start_time, hold.end_time))
        ) as claim (kind, id, during)
        where hold.status = 'held' and batch.expires_at > $2 and claim.id is not null
          and ($1::uuid is null or hold.organization_id = $1)
      ),
      claimed as (
        select organization_id, owner_id, resource_kind, resource_id, during, expires_at from private.claims
        where expires_at > $2 and ($1::uuid is null or organization_id = $1)
      )
      (select 'missing' as problem, * from held except select 'missing', * from claimed)
      union all
      (select 'surplus', * from claimed except select 'surplus', * from held)`,
  },
  {
    name: 'no claim belongs to nobody: each is of a session that takes place or of a hold that was never settled otherwise',
    query: `
      select claim.owner_id, claim.resource_kind, claim.expires_at
      from private.claims as claim
      left join public.sessions as session on session.organization_id = claim.organization_id and session.id = claim.owner_id
      left join public.session_holds as hold on hold.organization_id = claim.organization_id and hold.id = claim.owner_id
      where ($1::uuid is null or claim.organization_id = $1)
        and not (session.id is not null and session.status not in ('cancelled', 'no_show'))
        and not (hold.id is not null and hold.status in ('held', 'expired') and claim.expires_at is not null)`,
  },
  {
    name: 'a series is held whole',
    query: `
      select batch.id, count(hold.id), max(hold.occurrence_index)
      from public.hold_batches as batch
      left join public.session_holds as hold on hold.organization_id = batch.organization_id and hold.batch_id = batch.id
      where $1::uuid is null or batch.organization_id = $1
      group by batch.id
      having count(hold.id) = 0 or count(hold.id) <> max(hold.occurrence_index) + 1`,
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
          private.billed_code(session.cpt_code, session.session_type) as cpt_code, session.start_time, session.end_time
        from public.sessions as session
        where session.status not in ('cancelled', 'no_show') and ($1::uuid is null or session.organization_id = $1)
        union all
        select hold.organization_id, hold.id, coalesce(hold.client_id, batch.client_id),
          private.billed_code(
            coalesce(batch.cpt_code, moved.cpt_code), coalesce(batch.session_type, moved.session_type)
          ), hold.start_time, hold.end_time
        from public.session_holds as hold
        join public.hold_batches as batch on batch.organization_id = hold.organization_id and batch.id = hold.batch_id
        left join public.sessions as moved
          on moved.organization_id = hold.organization_id and moved.id = hold.session_id
        where hold.status = 'held' and batch.expires_at > $2 and coalesce(moved.status, 'scheduled') = 'scheduled'
          and ($1::uuid is null or hold.organization_id = $1)
      ),
      authorized as (
        select owned.* from owned
        where exists (
          select 1 from public.authorizations as approval
          where approval.organization_id = owned.organization_id and approval.client_id = owned.client_id
            and approval.cpt_code = owned.cpt_code
        )
      ),
      entered as (
        select organization_id, owner_id, client_id, cpt_code, start_time, end_time
        from public.authorization_units
        where (expires_at is null or expires_at > $2) and ($1::uuid is null or organization_id = $1)
      )
      (select 'missing' as problem, * from authorized except select 'missing', * from entered)
      union all
      (select 'surplus', * from entered except select 'surplus', * from owned)`,
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
  // One snapshot and one instant for all rules: others may be booking meanwhile.
  await client.query('begin isolation level repeatable read');
  try {
    const { rows: clock } = await client.query('select clock_timestamp() as now');
    for (const { name, query } of rules) {
      const parameters = query.includes('$2')
        ? [organizationId ?? null, clock[0].now]
        : [organizationId ?? null];
      const { rows } = await client.query(query, parameters);
      if (rows.length > 0) broken.push({ rule: name, rows: rows.slice(0, 5) });
    }
  } finally {
    await client.query('rollback');
  }
  return broken;
}
