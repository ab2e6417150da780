/**
 * Every kind of edit that somebody who owns the database can make to the audit, and what each check says of it. The test
 * beside this file makes each one; docs/audit-trail.md shows the same list as a table.
 *
 * The owner first switches the triggers off, or there is no edit. The chain is one therapist's, `{chain}` of `{clinic}`,
 * with five events of one session: two of early 2019, in a partition of their own, and three of the last minutes.
 * `{event:3}` is the id of its third.
 */

/** What a check says: one sentence for each finding, in order; none when it finds nothing. */
type Says = string[];

/** An edit and what becomes known of it. */
export type Edit = {
  /** What she does, for a reader. */
  what: string;
  sql: string;
  /** audit.verify(). */
  verify: Says;
  /** audit.verify_checkpoint() with a checkpoint taken before the edit, and kept elsewhere. */
  checkpoint: Says;
  /** The problems that session_history names beside the session's events. */
  history: Says;
};

const changed = 'the event was changed';
const missing = 'the event is missing';
const unsealed = 'the event is not sealed';
const gap = 'a seal before this one is missing';
const broken = 'the seal was changed';
const cut = 'the newest events of the chain are missing';
const headChanged = 'the head of the chain was changed';
const headless = 'the head of the chain is missing';
const otherTime = 'the event is not of the time when it was sealed';
const older = 'the seal is older than the one before it';
const elsewhere = 'the event is sealed in another chain';
const lost = 'events up to the checkpoint are missing';
const rewritten = 'the chain was rewritten';
const added = 'events from before the checkpoint were added after it';

const removeEvent = (seq: number) =>
  `delete from audit.events where organization_id = {clinic} and id = {event:${seq}}`;
const removeSeal = (seq: number) =>
  `delete from audit.seals where organization_id = {clinic} and chain_id = {chain} and seq = ${seq}`;
/** A further event, as the third with some columns of its own. */
const copy = (columns: string) =>
  `insert into audit.events select (jsonb_populate_record(event, ${columns})).* from audit.events as event
    where organization_id = {clinic} and id = {event:3}`;
const fresh = "jsonb_build_object('id', gen_random_uuid())";
const at = (time: string) =>
  `jsonb_build_object('id', gen_random_uuid(), 'recorded_at', ${time}, 'occurred_at', ${time})`;
/** Seals the copy at the end of its chain, as the trigger would have, at a time of her choice. */
const sealAtEnd = (sealedAt: string) => `;
  with planted as (
    select event.organization_id, event.chain_id, event.id, event.recorded_at, audit.digest(to_jsonb(event)) as digest,
      ${sealedAt} as sealed_at
    from audit.events as event
    where event.organization_id = {clinic} and not exists (
      select from audit.seals as seal where seal.organization_id = event.organization_id and seal.event_id = event.id)
  ), head as (
    insert into audit.chains as chain (organization_id, chain_id, seq, hash)
    select organization_id, chain_id, 1, audit.link(null, digest, sealed_at) from planted
    on conflict (organization_id, chain_id) do update set seq = chain.seq + 1,
      hash = (select audit.link(chain.hash, digest, sealed_at) from planted)
    returning seq, hash
  )
  insert into audit.seals (organization_id, chain_id, seq, event_id, event_recorded_at, sealed_at, digest, hash)
  select planted.organization_id, planted.chain_id, head.seq, planted.id, planted.recorded_at, planted.sealed_at,
    planted.digest, head.hash
  from planted, head`;
/** Computes every hash of the chain anew, so that it agrees with itself. */
export const reseal = `;
  delete from audit.seals where organization_id = {clinic} and chain_id = {chain};
  delete from audit.chains where organization_id = {clinic} and chain_id = {chain};
  with recursive event as (
    select row_number() over (order by recorded_at) as seq, id, recorded_at, audit.digest(to_jsonb(event)) as digest
    from audit.events as event where organization_id = {clinic} and chain_id = {chain}
  ), link as (
    select event.*, audit.link(null, digest, recorded_at) as hash from event where seq = 1
    union all
    select event.*, audit.link(link.hash, event.digest, event.recorded_at) from link join event on event.seq = link.seq + 1
  ), sealed as (
    insert into audit.seals select {clinic}, {chain}, seq, id, recorded_at, recorded_at, digest, hash from link
    returning seq, hash
  )
  insert into audit.chains select {clinic}, {chain}, seq, hash from sealed order by seq desc limit 1`;
const archive = (from: string, to: string) => `
  insert into audit.archives select ${from}, ${to}, now(), 's3://nowhere', span.* from audit.span_digest(${from}, ${to}) as span`;
const thisQuarter = "(date_trunc('quarter', now() at time zone 'UTC') at time zone 'UTC')";
const silent = { checkpoint: [], history: [] };

export const edits: Edit[] = [
  { what: 'leaves it alone', sql: 'select', verify: [], ...silent },

  // Change
  {
    what: 'changes an event',
    sql: 'update audit.events set actor_user_id = gen_random_uuid() where organization_id = {clinic} and id = {event:3}',
    verify: [`3: ${changed}`],
    checkpoint: [],
    history: [changed],
  },
  {
    what: 'changes an event, and the digest in its seal',
    sql: `update audit.events set details = '{"planted": true}' where organization_id = {clinic} and id = {event:3};
      update audit.seals set digest = (select audit.digest(to_jsonb(event)) from audit.events as event where id = {event:3})
      where organization_id = {clinic} and chain_id = {chain} and seq = 3`,
    verify: [`3: ${broken}`],
    checkpoint: [],
    history: [broken],
  },
  {
    what: 'changes an event, and seals the whole chain anew',
    sql: `update audit.events set details = '{"planted": true}' where organization_id = {clinic} and id = {event:3} ${reseal}`,
    verify: [],
    checkpoint: [`5: ${rewritten}`],
    history: [],
  },
  {
    what: 'swaps two events',
    sql: `update audit.events as event set details = other.details
      from audit.events as other
      where event.organization_id = {clinic} and other.organization_id = {clinic}
        and (event.id, other.id) in (({event:3}, {event:4}), ({event:4}, {event:3}))`,
    verify: [`3: ${changed}`],
    checkpoint: [],
    history: [changed, changed],
  },
  {
    what: 'swaps two seals',
    sql: `update audit.seals set seq = 5 + seq where organization_id = {clinic} and chain_id = {chain} and seq in (2, 3);
      update audit.seals set seq = 10 - seq where organization_id = {clinic} and chain_id = {chain} and seq in (7, 8)`,
    verify: [`2: ${broken}`],
    checkpoint: [],
    history: [broken, broken, broken],
  },
  {
    what: 'moves the seals to a chain of another name',
    sql: 'update audit.seals set chain_id = {other} where organization_id = {clinic} and chain_id = {chain}',
    verify: [`-: ${cut}`, `1: ${elsewhere}`, `5: ${headless}`],
    checkpoint: [`1: ${added}`, `5: ${lost}`],
    history: [elsewhere, elsewhere, elsewhere, elsewhere, elsewhere],
  },

  // Delete
  ...[1, 3, 5].map((seq) => ({
    what: `deletes the ${{ 1: 'first', 3: 'middle', 5: 'last' }[seq]} event`,
    sql: removeEvent(seq),
    verify: [`${seq}: ${missing}`],
    ...silent,
  })),
  {
    what: 'deletes the first event and its seal',
    sql: `${removeEvent(1)}; ${removeSeal(1)}`,
    verify: [`2: ${gap}`],
    checkpoint: [],
    history: [gap],
  },
  {
    what: 'deletes a middle event and its seal',
    sql: `${removeEvent(3)}; ${removeSeal(3)}`,
    verify: [`4: ${gap}`],
    checkpoint: [],
    history: [gap],
  },
  {
    what: 'deletes the last event and its seal',
    sql: `${removeEvent(5)}; ${removeSeal(5)}`,
    verify: [`4: ${cut}`],
    checkpoint: [`5: ${lost}`],
    history: [],
  },
  {
    what: 'deletes the last event and its seal, and sets the head of the chain back',
    sql: `${removeEvent(5)}; ${removeSeal(5)}; update audit.chains as head set seq = seal.seq, hash = seal.hash from audit.seals as seal
      where head.organization_id = {clinic} and head.chain_id = {chain} and seal.organization_id = {clinic}
        and seal.chain_id = {chain} and seal.seq = 4`,
    verify: [],
    checkpoint: [`5: ${lost}`],
    history: [],
  },
  {
    what: 'deletes a seal',
    sql: removeSeal(3),
    verify: [`-: ${unsealed}`, `4: ${gap}`],
    checkpoint: [],
    history: [unsealed, gap],
  },
  {
    what: 'deletes a whole chain: events, seals and head',
    sql: `delete from audit.events where organization_id = {clinic} and chain_id = {chain};
      delete from audit.seals where organization_id = {clinic} and chain_id = {chain};
      delete from audit.chains where organization_id = {clinic} and chain_id = {chain}`,
    verify: [],
    checkpoint: [`5: ${lost}`],
    history: [],
  },
  {
    what: 'removes the head of a chain',
    sql: 'delete from audit.chains where organization_id = {clinic} and chain_id = {chain}',
    verify: [`5: ${headless}`],
    ...silent,
  },
  {
    what: 'changes the head of a chain',
    sql: "update audit.chains set hash = sha256('') where organization_id = {clinic} and chain_id = {chain}",
    verify: [`5: ${headChanged}`],
    ...silent,
  },
  {
    what: 'truncates a partition',
    sql: 'truncate audit.events_2019_q1',
    verify: [`1: ${missing}`],
    ...silent,
  },
  {
    what: 'detaches a partition',
    sql: 'alter table audit.events detach partition audit.events_2019_q1',
    verify: [`1: ${missing}`],
    ...silent,
  },

  // Insert
  {
    what: 'inserts an event',
    sql: copy(fresh),
    verify: [`-: ${unsealed}`],
    checkpoint: [],
    history: [unsealed],
  },
  {
    what: 'inserts an event with the id of a genuine one, at another time',
    sql: copy(
      "jsonb_build_object('recorded_at', event.recorded_at - interval '2 days', 'actor_role', 'admin')",
    ),
    verify: [`-: ${unsealed}`],
    checkpoint: [],
    history: [unsealed],
  },
  {
    what: 'inserts an event of years ago',
    sql: copy(at("now() - interval '3 years'")),
    verify: [`-: ${unsealed}`],
    checkpoint: [],
    history: [unsealed],
  },
  {
    what: 'inserts an event of years ahead',
    sql: copy(at("now() + interval '30 years'")),
    verify: [`-: ${unsealed}`],
    checkpoint: [],
    history: [unsealed],
  },
  {
    what: 'inserts an event of years ago, and seals it as of now',
    sql: `${copy(at("now() - interval '3 years'"))} ${sealAtEnd('now()')}`,
    verify: [`6: ${otherTime}`],
    checkpoint: [],
    history: [otherTime],
  },
  {
    what: 'inserts an event of years ago, and seals it as of then',
    sql: `${copy(at("now() - interval '3 years'"))} ${sealAtEnd("now() - interval '3 years'")}`,
    verify: [`6: ${older}`],
    checkpoint: [`6: ${added}`],
    history: [older],
  },
  {
    what: 'inserts an event of years ago in a chain of its own, and seals it as of then',
    sql: `${copy(`${at("now() - interval '3 years'")} || jsonb_build_object('chain_id', {other})`)} ${sealAtEnd("now() - interval '3 years'")}`,
    verify: [],
    checkpoint: [`1: ${added}`],
    history: [],
  },
  {
    what: "inserts an event of now, in anybody's name, and seals it",
    sql: `${copy(at('clock_timestamp()'))} ${sealAtEnd('clock_timestamp()')}`,
    verify: [],
    ...silent,
  },

  // Archives
  {
    what: 'deletes an event, and writes that all time was archived',
    sql: `alter table audit.archives drop constraint archives_one_past_quarter; ${removeEvent(3)};
      ${archive("'-infinity'::timestamptz", "'infinity'::timestamptz")}`,
    verify: [`-: the archive of -infinity does not account for its events`, `3: ${missing}`],
    ...silent,
  },
  {
    what: 'deletes an event, and writes that this quarter was archived',
    sql: `alter table audit.archives drop constraint archives_one_past_quarter; ${removeEvent(3)};
      ${archive(thisQuarter, `${thisQuarter} + interval '3 months'`)}`,
    verify: [`-: the archive of {quarter} does not account for its events`, `3: ${missing}`],
    ...silent,
  },
  {
    what: 'deletes an event of an earlier quarter, and writes that the quarter was archived',
    sql: `${removeEvent(2)}; ${archive("'2019-01-01Z'::timestamptz", "'2019-04-01Z'")}`,
    verify: [],
    ...silent,
  },

  // What no one planted
  {
    what: 'archives an earlier quarter as documented',
    sql: "alter table audit.archives enable trigger user; select audit.archive_quarter('2019-01-01', 's3://archive/2019_q1')",
    verify: [],
    ...silent,
  },
  {
    what: 'sets the clock back by ten minutes, and goes on working',
    sql: `${copy(at("now() - interval '10 minutes'"))} ${sealAtEnd("now() - interval '10 minutes'")}`,
    verify: [`6: ${older}`],
    checkpoint: [`6: ${added}`],
    history: [older],
  },
  {
    what: 'sets the clock ahead by an hour, and goes on working',
    sql: `${copy(at("now() + interval '1 hour'"))} ${sealAtEnd("now() + interval '1 hour'")}`,
    verify: [],
    ...silent,
  },
];
