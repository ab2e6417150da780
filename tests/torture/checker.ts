/**
 * Proves from the tables and the history that nothing went wrong. It believes neither the claims nor the constraints:
 * the calendar of every moment is rebuilt from the audit trail, and every answer is held against what it left behind.
 */
import { createHmac } from 'node:crypto';
import type pg from 'pg';
import { brokenInvariants } from '../setup/invariants.ts';
import type { Outage } from './faults.ts';
import { type Call, canonical, nameOf, namesOrganization } from './history.ts';
import {
  type Clinic,
  CONCURRENT_CODES,
  concurrentClient,
  coveredClient,
  limitedClients,
  restlessTherapist,
} from './world.ts';

/** A rule that was broken, with the first few cases. */
export interface Violation {
  rule: string;
  count: number;
  examples: string[];
}

/** Facts of a session as its audit events tell them. */
interface Facts {
  id: string;
  status: string;
  therapist_id: string;
  client_id: string;
  room_id?: string;
  group_id?: string;
  cpt_code?: string;
  start_time: string;
  end_time: string;
  buffer_before_minutes: number;
  buffer_after_minutes: number;
}

interface Event {
  id: string;
  organization_id: string;
  actor_user_id: string | null;
  action: string;
  entity: string;
  entity_ids: string[];
  outcome: 'ok' | 'refused';
  before: Facts[] | null;
  after: Facts[] | null;
  details: { batchId?: string; waitlistEntryId?: string; because?: string } | null;
  request_id: string | null;
  /** Microseconds since the epoch, as all instants below. */
  recorded: number;
}

interface Batch {
  organization_id: string;
  id: string;
  therapist_id: string;
  room_id: string | null;
  cpt_code: string | null;
  before: number;
  after: number;
  created: number;
  expires: number;
  stopped: boolean;
}

interface Hold {
  organization_id: string;
  id: string;
  batch_id: string;
  status: 'held' | 'confirmed' | 'released' | 'expired';
  occurrence_index: number;
  session_id: string | null;
  client_id: string;
  group_id: string | null;
  starts: number;
  ends: number;
  settled: number | null;
}

/** Somebody who waits for a slot. */
interface Entry {
  organization_id: string;
  id: string;
  client_id: string;
  therapist_id: string | null;
  cpt_code: string;
  offered_batch_id: string | null;
  closed: number | null;
  minutes: number | null;
  /** Microseconds, from and to. */
  windows: [number, number][];
}

interface Session {
  organization_id: string;
  id: string;
  facts: Facts;
}

/** All there is in the clinics. */
interface Tables {
  events: Event[];
  batches: Map<string, Batch>;
  holds: Hold[];
  sessions: Map<string, Session>;
  entries: Map<string, Entry>;
}

/** Somebody's time, taken from one moment to another. */
interface Taken {
  resource: string;
  owner: string;
  /** The batch of a hold that moves, and the sessions it moves: they do not stand in each other's way. */
  moves: Set<string> | null;
  since: number;
  until: number;
  starts: number;
  ends: number;
  /** The service, for a client who may be in two at once; `any` of a move, which keeps the session's. */
  service?: string;
  /** Whose members share a therapist and a room. */
  group?: string;
  /** What a batch moves to one place: the members of a group, whichever group that is. */
  place?: string;
  /** Takes no units yet: it is not known for which service it will be confirmed. */
  isUnnamed?: boolean;
}

const micros = (column: string) => `(extract(epoch from ${column}) * 1000000)::bigint`;
const place = (organizationId: string, id: string) => `${organizationId}/${id}`;
const instant = (text: string) => Date.parse(text) * 1000;

async function readTables(db: pg.ClientBase, clinics: Clinic[]): Promise<Tables> {
  const organizations = [clinics.map(({ organizationId }) => organizationId)];
  const rows = async <T>(text: string): Promise<T[]> => {
    const { rows: found } = await db.query(text, organizations);
    // bigint arrives as text; every instant fits a number.
    for (const row of found)
      for (const name of ['recorded', 'created', 'expires', 'starts', 'ends', 'settled', 'closed'])
        if (typeof row[name] === 'string') row[name] = Number(row[name]);
    return found as T[];
  };
  const events = await rows<Event>(`
    select id, organization_id, actor_user_id, action, entity, entity_ids, outcome, before, after, details, request_id,
      ${micros('recorded_at')} as recorded
    from audit.events where organization_id = any ($1) order by recorded_at, id`);
  const batches = await rows<Batch>(`
    select organization_id, id, therapist_id, room_id, cpt_code, buffer_before_minutes::integer as before,
      buffer_after_minutes::integer as after, ${micros('created_at')} as created, ${micros('expires_at')} as expires, stopped
    from public.hold_batches where organization_id = any ($1)`);
  const holds = await rows<Hold>(`
    select organization_id, id, batch_id, status, occurrence_index::integer, session_id, client_id, group_id,
      ${micros('start_time')} as starts,
      ${micros('end_time')} as ends, ${micros('settled_at')} as settled
    from public.session_holds where organization_id = any ($1)`);
  const sessions = await rows<Session>(`
    select session.organization_id, session.id, private.facts_of_row(to_jsonb(session)) as facts
    from public.sessions as session where session.organization_id = any ($1)`);
  const entries = await rows<Entry>(`
    select organization_id, id, client_id, therapist_id, cpt_code, minutes::integer, offered_batch_id, ${micros('closed_at')} as closed,
      (select jsonb_agg(jsonb_build_array(${micros('lower(part)')}, ${micros('upper(part)')})) from unnest(windows) as part)
        as windows
    from public.waitlist_entries where organization_id = any ($1)`);
  return {
    events,
    entries: new Map(entries.map((entry) => [place(entry.organization_id, entry.id), entry])),
    batches: new Map(batches.map((batch) => [place(batch.organization_id, batch.id), batch])),
    holds,
    sessions: new Map(sessions.map((session) => [place(session.organization_id, session.id), session])),
  };
}

/** The ledger of authorized units against the bookings it is for. */
const ledger: { rule: string; query: string }[] = [
  {
    rule: 'no authorization is ever taken beyond what was approved',
    query: `
      select approval.organization_id, approval.id, approval.approved_units, sum(entry.units) as taken,
        jsonb_agg(jsonb_build_array(entry.owner_id, entry.state, entry.units)) as entries
      from public.authorizations as approval
      join public.authorization_units as entry
        on entry.organization_id = approval.organization_id and entry.authorization_id = approval.id
        and (entry.expires_at is null or entry.expires_at > clock_timestamp())
      where approval.organization_id = any ($1)
      group by approval.organization_id, approval.id, approval.approved_units
      having sum(entry.units) > approval.approved_units`,
  },
  {
    rule: 'every session of a limited client has taken its units, once',
    query: `
      select session.id, session.status, entry.state, entry.units, entry.total_units
      from public.sessions as session
      join public.authorizations as approval
        on approval.organization_id = session.organization_id and approval.client_id = session.client_id
      join public.authorization_codes as granted
        on granted.organization_id = approval.organization_id and granted.authorization_id = approval.id
        and granted.cpt_code = private.billed_code_at(
          session.organization_id, session.client_id, session.cpt_code, session.session_type, session.start_time)
      left join public.authorization_units as entry
        on entry.organization_id = session.organization_id and entry.owner_id = session.id
      where session.organization_id = any ($1)
        and (session.status in ('cancelled', 'no_show')) = (
          entry.owner_id is not null and entry.units = entry.total_units
          and entry.service_date = private.service_date(session.organization_id, session.client_id, session.start_time)
          -- Every booking here takes whole quarters of an hour.
          and entry.units = extract(epoch from session.end_time - session.start_time) / 900
          and (entry.state = 'used') = (session.status = 'completed') and entry.state <> 'held'
        )`,
  },
  {
    rule: 'every live hold of a named service for a limited client has taken its units, and a move at most as many',
    query: `
      select hold.id, entry.state, entry.units, entry.total_units
      from public.session_holds as hold
      join public.hold_batches as batch on batch.organization_id = hold.organization_id and batch.id = hold.batch_id
      left join public.sessions as moved
        on moved.organization_id = hold.organization_id and moved.id = hold.session_id
      join public.authorizations as approval
        on approval.organization_id = hold.organization_id
        and approval.client_id = hold.client_id
      join public.authorization_codes as granted
        on granted.organization_id = approval.organization_id and granted.authorization_id = approval.id
        and granted.cpt_code = private.billed_code_at(
          hold.organization_id, hold.client_id, coalesce(batch.cpt_code, moved.cpt_code), moved.session_type, hold.start_time)
      left join public.authorization_units as entry
        on entry.organization_id = hold.organization_id and entry.owner_id = hold.id
      where hold.organization_id = any ($1) and hold.status = 'held' and batch.expires_at > clock_timestamp()
        -- A hold that names no service takes its units when it is confirmed.
        and (batch.is_move or batch.cpt_code is not null)
        -- A session that is not to come any more has nothing to move, and its move takes nothing.
        and coalesce(moved.status, 'scheduled') = 'scheduled'
        and not coalesce(
          entry.state = 'held' and entry.expires_at = batch.expires_at
          and entry.total_units = extract(epoch from hold.end_time - hold.start_time) / 900
          and (entry.units = entry.total_units or (batch.is_move and entry.units <= entry.total_units)),
          false)`,
  },
  {
    rule: 'no units are taken by nobody',
    query: `
      select entry.owner_id, entry.state, hold.status
      from public.authorization_units as entry
      left join public.sessions as session on session.organization_id = entry.organization_id and session.id = entry.owner_id
      left join public.session_holds as hold on hold.organization_id = entry.organization_id and hold.id = entry.owner_id
      left join public.hold_batches as batch on batch.organization_id = hold.organization_id and batch.id = hold.batch_id
      where entry.organization_id = any ($1) and case
        when entry.state = 'held' then hold.status is distinct from 'held' or batch.expires_at is distinct from entry.expires_at
        else session.id is null or session.status in ('cancelled', 'no_show')
      end`,
  },
];

/** Collects violations by rule. */
class Findings {
  readonly #found = new Map<string, Violation>();
  add(rule: string, example: string): void {
    const known = this.#found.get(rule) ?? { rule, count: 0, examples: [] };
    this.#found.set(rule, known);
    known.count++;
    if (known.examples.length < 12) known.examples.push(example);
  }
  list(): Violation[] {
    return [...this.#found.values()];
  }
}

function claimsOfFacts(
  organizationId: string,
  facts: Facts,
): { resource: string; from: number; to: number }[] {
  const starts = instant(facts.start_time);
  const ends = instant(facts.end_time);
  const minute = 60_000_000;
  return [
    {
      resource: `${organizationId} therapist ${facts.therapist_id}`,
      from: starts - facts.buffer_before_minutes * minute,
      to: ends + facts.buffer_after_minutes * minute,
    },
    { resource: `${organizationId} client ${facts.client_id}`, from: starts, to: ends },
    ...(facts.room_id
      ? [{ resource: `${organizationId} room ${facts.room_id}`, from: starts, to: ends }]
      : []),
  ];
}

/** Replays each session's events: they must connect, begin once, and end at the row as it is. */
function replaySessions(tables: Tables, findings: Findings): Taken[] {
  const trails = new Map<string, { event: Event; before: Facts | null; after: Facts }[]>();
  for (const event of tables.events) {
    if (event.entity !== 'session' || event.outcome !== 'ok') continue;
    for (const after of event.after ?? []) {
      const key = place(event.organization_id, after.id);
      const before = event.before?.find(({ id }) => id === after.id) ?? null;
      const trail = trails.get(key) ?? [];
      trails.set(key, trail);
      trail.push({ event, before, after });
    }
  }
  const taken: Taken[] = [];
  for (const [key, trail] of trails) {
    const row = tables.sessions.get(key);
    if (!row) findings.add('no event without its effect', `session ${key}: events, but no row`);
    let current: Facts | null = null;
    trail.forEach(({ event, before, after }, index) => {
      if (canonical(before) !== canonical(current))
        findings.add(
          'every effect on a session is audited exactly once',
          `session ${key}: ${event.action} at ${event.recorded} does not follow from what came before`,
        );
      current = after;
      if (after.status === 'cancelled' || after.status === 'no_show') return;
      for (const { resource, from, to } of claimsOfFacts(event.organization_id, after))
        taken.push({
          service: after.cpt_code ?? '',
          ...(after.group_id ? { group: after.group_id } : {}),
          ...{ resource, owner: after.id, moves: null, starts: from, ends: to },
          since: event.recorded,
          until: trail[index + 1]?.event.recorded ?? Number.POSITIVE_INFINITY,
        });
    });
    if (row && canonical(current) !== canonical(row.facts))
      findings.add(
        'every effect on a session is audited exactly once',
        `session ${key}: the row is ${canonical(row.facts)}, its last event says ${canonical(current)}`,
      );
  }
  for (const key of tables.sessions.keys())
    if (!trails.has(key))
      findings.add('every effect on a session is audited exactly once', `session ${key} has no event`);
  return taken;
}

/** The time each hold took, from when it was acquired until it was settled or expired. */
function takenByHolds(tables: Tables): Taken[] {
  const moved = new Map<string, Set<string>>();
  for (const { batch_id, session_id } of tables.holds)
    if (session_id) moved.set(batch_id, (moved.get(batch_id) ?? new Set()).add(session_id));
  return tables.holds.flatMap((hold) => {
    const batch = tables.batches.get(place(hold.organization_id, hold.batch_id));
    if (!batch) return [];
    const settled = hold.status === 'confirmed' || hold.status === 'released';
    const until = settled ? (hold.settled ?? 0) : batch.expires;
    if (until <= batch.created) return [];
    const facts: Facts = {
      ...{ id: hold.id, status: 'held', therapist_id: batch.therapist_id },
      client_id: hold.client_id,
      ...(batch.room_id ? { room_id: batch.room_id } : {}),
      ...{
        start_time: new Date(hold.starts / 1000).toISOString(),
        end_time: new Date(hold.ends / 1000).toISOString(),
      },
      ...{ buffer_before_minutes: batch.before, buffer_after_minutes: batch.after },
    };
    return claimsOfFacts(hold.organization_id, facts).map(({ resource, from, to }) => ({
      ...(hold.group_id ? { group: hold.group_id } : {}),
      ...(hold.session_id ? { place: `${hold.batch_id} ${hold.occurrence_index}` } : {}),
      isUnnamed: batch.cpt_code === null && hold.session_id === null,
      service: batch.cpt_code ?? (moved.has(hold.batch_id) ? 'any' : ''),
      ...{ resource, owner: hold.id, moves: moved.get(hold.batch_id) ?? null, starts: from, ends: to },
      ...{ since: batch.created, until },
    }));
  });
}

/** Nobody was in two places at any moment of the run, also where it was undone later. */
function checkOverlaps(taken: Taken[], clinics: Clinic[], findings: Findings): void {
  const inTwo = new Set(
    clinics.map((clinic) => `${clinic.organizationId} client ${concurrentClient(clinic)}`),
  );
  const allowed = (a: Taken, b: Taken) =>
    a.resource.includes(' client ') &&
    inTwo.has(a.resource) &&
    (a.service === 'any' ||
      b.service === 'any' ||
      (a.service !== b.service && [a, b].every(({ service }) => CONCURRENT_CODES.includes(service ?? ''))));
  const byResource = Map.groupBy(taken, ({ resource }) => resource);
  for (const [resource, all] of byResource) {
    all.sort((a, b) => a.since - b.since);
    let live: Taken[] = [];
    for (const next of all) {
      live = live.filter(({ until }) => until > next.since);
      const isTogether = (other: Taken) =>
        (next.group !== undefined && other.group === next.group) ||
        (next.place !== undefined && other.place === next.place);
      // Where a group is to move to its members come along: they are counted once, where they are.
      const members = new Set(
        [next, ...live].filter((one) => isTogether(one) && !one.moves).map(({ owner }) => owner),
      );
      if (resource.includes(' therapist ') && members.size > 8)
        findings.add(
          'a group has at most eight clients',
          `${resource}: group ${next.group} has ${members.size}`,
        );
      for (const other of live)
        if (
          other.owner !== next.owner &&
          !(isTogether(other) && !resource.includes(' client ')) &&
          other.starts < next.ends &&
          next.starts < other.ends &&
          !other.moves?.has(next.owner) &&
          !next.moves?.has(other.owner) &&
          !allowed(other, next)
        )
          findings.add(
            'nobody is ever booked twice at one time',
            `${resource}: ${other.owner} and ${next.owner} at ${new Date(next.since / 1000).toISOString()}`,
          );
      live.push(next);
    }
  }
}

/** What an event of this kind is the effect of. */
const effects: Record<string, (action: string) => boolean> = {
  hold: (action) => action === 'hold.acquired',
  move: (action) => action === 'hold.acquired',
  confirm: (action) => action === 'hold.confirmed',
  release: (action) => action === 'hold.released',
  cancel: (action) => action === 'session.cancelled',
  regroup: (action) => action === 'hold.confirmed',
  insert: (action) => action === 'session.inserted',
  update: (action) => action.startsWith('session.'),
  wait: (action) => action === 'waitlist_entry.created' || action === 'waitlist_entry.changed',
  authorize: (action) => action === 'authorization.changed',
  leave: (action) => action === 'membership.removed',
  return: (action) => action === 'membership.added',
  close: (action) => action === 'organization_closure.added',
  open: (action) => action === 'organization_closure.removed',
  coverage: (action) => action === 'coverage.changed',
  // They have no request id: the row itself is looked at.
  post: () => false,
  patch: () => false,
  look: () => false,
  offer: () => false,
  expire: () => false,
  sweep: () => false,
};

/** A move is let go because a session of it has ended or begun. */
function isStopping({ action, details, organization_id }: Event, tables: Tables): boolean {
  return (
    action === 'hold.released' &&
    details?.because === 'SESSION_NOT_MOVABLE' &&
    tables.batches.get(place(organization_id, details.batchId ?? ''))?.stopped === true
  );
}

/** What happens beside the move of a group: its row changes, and who has cancelled stays where they were to come. */
function isRegrouping({ entity, action, after }: Event): boolean {
  if (entity === 'session_group') return true;
  const isOver = ({ status }: Facts) => status === 'cancelled' || status === 'no_show';
  return action === 'session.changed' && (after ?? []).every((facts) => isOver(facts) && facts.group_id);
}

/**
 * What is done for those who wait: an offer, its end, or an offer that somebody could not have. The functions offer what
 * a call has freed once they have answered it, under the same request id.
 */
function isOffer({ action, outcome, details }: Event, { kind }: Call): boolean {
  const holds = kind === 'hold' || kind === 'move' || kind === 'regroup';
  return (
    (action === 'waitlist_entry.changed' && kind !== 'wait') ||
    (action === 'hold.acquired' && details?.waitlistEntryId !== undefined) ||
    (action === 'hold.refused' && outcome === 'refused' && !holds)
  );
}

interface Told {
  effects: Event[];
  /** To those who wait for what this freed. */
  offers: Event[];
  refusals: Event[];
}

/** Every answer against the events of its request id. */
function checkAnswers(history: Call[], tables: Tables, findings: Findings): Map<string, Told> {
  const told = new Map<string, Told>();
  const calls = new Map(history.map((call) => [call.id, call]));
  for (const event of tables.events) {
    if (event.request_id === null || event.action === 'hold.expired') continue;
    const call = calls.get(event.request_id);
    const bad = (why: string) =>
      findings.add(
        'every event belongs to one call of its actor',
        `${event.action} ${event.request_id}: ${why}`,
      );
    if (!call) {
      bad('nobody made such a call');
      continue;
    }
    if (event.organization_id !== call.actor.clinic.organizationId) bad('it is in another organization');
    if (
      (call.endpoint || call.kind === 'regroup' || call.kind === 'offer') &&
      event.actor_user_id !== call.actor.userId
    )
      bad('it names another actor');
    const entry = told.get(call.id) ?? { effects: [], offers: [], refusals: [] };
    told.set(call.id, entry);
    if (isOffer(event, call)) entry.offers.push(event);
    else if (event.outcome === 'refused') entry.refusals.push(event);
    // A group is moved by a hold that is confirmed at once.
    else if (call.kind === 'regroup' && event.action === 'hold.acquired') continue;
    // A group comes and goes with its sessions, in the same transaction.
    else if (isRegrouping(event) && /^(confirm|regroup|update)$/.test(call.kind)) continue;
    // A session that ends or begins lets go of its move.
    else if (isStopping(event, tables) && /^(cancel|update)$/.test(call.kind)) continue;
    else if (effects[call.kind]?.(event.action)) entry.effects.push(event);
    else bad(`a ${call.kind} has no such effect`);
  }
  for (const call of history) {
    const {
      effects: done,
      refusals,
      offers,
    } = told.get(call.id) ?? { effects: [], refusals: [], offers: [] };
    const bad = (rule: string, why: string) =>
      findings.add(rule, `${call.kind} ${call.transport} ${call.id} (${nameOf(call.answer)}): ${why}`);
    if (done.length > 1)
      bad('every effect is audited exactly once', `${done.length} effects under one request id`);
    const { answer } = call;
    switch (answer.type) {
      case 'refused':
        if (done.length > 0) bad('a refused call has no effect', 'it has one');
        // 403 is returned or raised; 400 and 401 are raised, 422 keeps nothing.
        if ((answer.status === 409 || answer.status === 410) && refusals.length !== 1)
          bad('every refusal is audited exactly once', `${refusals.length} events`);
        break;
      case 'raised':
      case 'lost':
        if (done.length + refusals.length + offers.length > 0)
          bad('what was not committed leaves nothing', 'it has events');
        break;
      case 'ok':
        checkSuccess(call, answer.replayed, answer.body, done[0], tables, bad);
        break;
      case 'unknown':
        break;
    }
    if (call.kind === 'insert' && call.answer.type !== 'unknown') {
      const present = tables.sessions.has(place(call.actor.clinic.organizationId, call.request.id as string));
      if (present !== (call.answer.type === 'ok'))
        bad('every acknowledged booking is there, and no other', present ? 'the row is there' : 'no row');
    }
  }
  return told;
}

function checkSuccess(
  call: Call,
  replayed: boolean,
  body: Record<string, unknown>,
  effect: Event | undefined,
  tables: Tables,
  bad: (rule: string, why: string) => void,
): void {
  const organization = call.actor.clinic.organizationId;
  const there = 'every acknowledged booking is there, and no other';
  if (replayed) {
    if (effect) bad('a replay has no effect', 'it has one');
    return;
  }
  if (call.kind === 'hold' || call.kind === 'move') {
    const batch = tables.batches.get(place(organization, body.holdId as string));
    if (!batch) bad(there, `no batch ${body.holdId}`);
    if (effect?.details?.batchId !== body.holdId)
      bad('every effect is audited exactly once', 'no event for it');
  } else if (call.kind === 'confirm') {
    for (const session of body.sessions as Facts[]) {
      if (!tables.sessions.has(place(organization, session.id))) bad(there, `no session ${session.id}`);
      // Without an event of its own it confirmed what was confirmed already.
      const recorded = effect?.after?.find(({ id }) => id === session.id);
      if (
        recorded &&
        (instant(recorded.start_time) !== instant(session.start_time) ||
          recorded.therapist_id !== session.therapist_id)
      )
        bad('every effect is audited exactly once', `its event tells another story of ${session.id}`);
    }
  } else if (call.kind === 'regroup') {
    for (const session of body.sessions as Facts[]) {
      const recorded = effect?.after?.find(({ id }) => id === session.id);
      // Without an event it was there already.
      const isTold = recorded
        ? instant(recorded.start_time) === instant(session.start_time) &&
          recorded.therapist_id === session.therapist_id
        : effect === undefined;
      if (!isTold)
        bad('every effect is audited exactly once', `its event tells another story of ${session.id}`);
    }
  } else if (call.kind === 'release') {
    if (Boolean(effect) !== body.released)
      bad('every effect is audited exactly once', `released ${body.released}`);
  } else if (call.kind === 'cancel') {
    const { cancelledSessionIds } = body.summary as { cancelledSessionIds: string[] };
    if (canonical([...(effect?.entity_ids ?? [])].sort()) !== canonical([...cancelledSessionIds].sort()))
      bad('every effect is audited exactly once', 'its event lists other sessions');
    for (const id of cancelledSessionIds)
      if (tables.sessions.get(place(organization, id))?.facts.status !== 'cancelled')
        bad('a cancelled session stays cancelled', id);
  }
}

/** A call under a key that took effect, or may have. */
interface First {
  call: Call;
  /** Microseconds: when the answer it left is certain to be seen by whoever asks then. */
  since: number;
  /** Microseconds: when its key lapses. */
  until: number;
  batchId: string | null;
  known: boolean;
}

/** One effect a key; the same answer for the same request; 422 for another. */
function checkKeys(history: Call[], tables: Tables, told: Map<string, Told>, findings: Findings): void {
  const holdsOfBatch = Map.groupBy(tables.holds, (hold) => place(hold.organization_id, hold.batch_id));
  // A key lapses once any of its hold was released or has expired, whatever became of the rest.
  const deadAt = (organization: string, batchId: string): number => {
    const holds = holdsOfBatch.get(place(organization, batchId)) ?? [];
    const expires = tables.batches.get(place(organization, batchId))?.expires ?? 0;
    return Math.min(
      ...holds
        .filter(({ status }) => status !== 'confirmed')
        .map(({ status, settled }) => (status === 'released' ? (settled ?? 0) : expires)),
    );
  };
  // When whoever ended a hold had been told so; a natural end has no such moment.
  const buried = new Map<string, number>();
  for (const { id, kind, actor, request, answer, endedAt } of history) {
    if (answer.type !== 'ok' || answer.replayed) continue;
    const batchId =
      kind === 'expire' && (answer.body.rows as unknown[]).length > 0
        ? (request.batch_id as string)
        : kind === 'release'
          ? told.get(id)?.effects[0]?.details?.batchId
          : undefined;
    if (!batchId) continue;
    const key = place(actor.clinic.organizationId, batchId);
    buried.set(key, Math.min(endedAt, buried.get(key) ?? endedAt));
  }
  const keyed = history.filter(({ key, endpoint }) => key !== null && endpoint !== null);
  const groups = Map.groupBy(
    keyed,
    ({ actor, endpoint, key }) => `${actor.clinic.organizationId}/${actor.userId}/${endpoint}/${key}`,
  );
  for (const calls of groups.values()) {
    const bad = (rule: string, call: Call, why: string) =>
      findings.add(rule, `${call.kind} ${call.transport} key ${call.key} (${nameOf(call.answer)}): ${why}`);
    const firsts: First[] = [];
    for (const call of calls) {
      const effect = told.get(call.id)?.effects[0];
      const known = call.answer.type === 'ok' && !call.answer.replayed;
      if (!known && !(call.answer.type === 'unknown' && effect)) continue;
      const batchId = call.endpoint === 'sessions-hold' ? (effect?.details?.batchId ?? null) : null;
      firsts.push({
        call,
        // A call whose answer got lost may have committed a little after the caller gave up.
        since: known ? call.endedAt * 1000 : Math.max(call.endedAt * 1000, effect?.recorded ?? 0) + 2_000_000,
        until: batchId ? deadAt(call.actor.clinic.organizationId, batchId) : Number.POSITIVE_INFINITY,
        batchId,
        known,
      });
    }
    firsts.sort((a, b) => a.since - b.since);

    const ordered = firsts
      .filter(({ batchId }) => batchId !== null)
      .map((first) => ({
        first,
        created: tables.batches.get(place(first.call.actor.clinic.organizationId, first.batchId ?? ''))
          ?.created,
      }))
      .sort((a, b) => (a.created ?? 0) - (b.created ?? 0));
    ordered.forEach(({ created }, index) => {
      const previous = ordered[index - 1]?.first;
      if (previous && previous.until > (created ?? 0))
        bad('one effect a key', previous.call, 'a second hold while the first was alive');
    });
    const [once, twice] = firsts.filter(({ batchId }) => batchId === null);
    if (once && twice) bad('one effect a key', twice.call, 'two first answers');

    // Calls under one key wait for each other, so what the audit recorded later came later, however close together.
    for (const { call, until } of firsts) {
      const effect = told.get(call.id)?.effects[0];
      for (const other of calls) {
        if (!effect || other === call || canonical(other.request) !== canonical(call.request)) continue;
        for (const refusal of told.get(other.id)?.refusals ?? [])
          if (refusal.recorded > effect.recorded && refusal.recorded < until)
            bad('a repeated request gets the first answer', other, `refused behind the effect of ${call.id}`);
      }
    }

    const answersOf = new Map<string, string>();
    for (const call of calls) {
      const { answer } = call;
      const request = canonical(call.request);
      const same = firsts.filter((first) => canonical(first.call.request) === request);
      const others = firsts.filter((first) => canonical(first.call.request) !== request);
      if (answer.type === 'ok' && answer.replayed) {
        // Which first answer it repeats: a batch is named in it; otherwise there is only one.
        const body = canonical(answer.body);
        const source = answersOf.get(body);
        const equal = same.find(
          ({ call: first }) => first.answer.type === 'ok' && canonical(first.answer.body) === body,
        );
        // A cancellation or a repeated confirmation may have kept an answer without an effect to see.
        const lost = calls.some(
          (other) => other.answer.type === 'unknown' && canonical(other.request) === request,
        );
        const named = same.find(({ batchId }) => batchId !== null && batchId === answer.body.holdId);
        if (!equal && !named && !source && !lost)
          bad('a replay equals the first answer', call, 'nobody got that answer first');
        if (named && !equal && named.known)
          bad('a replay equals the first answer', call, 'it names the hold, but differs');
        const buriedAt = buried.get(place(call.actor.clinic.organizationId, named?.batchId ?? ''));
        const until = (named?.until ?? Number.POSITIVE_INFINITY) / 1000;
        const over = buriedAt !== undefined && until <= buriedAt ? buriedAt : until + 2000;
        if (over < call.startedAt) bad('a key lapses with its hold', call, 'it replays a hold that was dead');
        if (!equal && !named && call.endpoint !== 'sessions-hold') {
          const [[seen] = []] = answersOf;
          if (seen !== undefined && seen !== body)
            bad('a replay equals the first answer', call, 'two replays differ');
        }
        answersOf.set(body, call.id);
        continue;
      }
      if (answer.type === 'unknown' || answer.type === 'lost') continue;
      const code = nameOf(answer);
      if (code === 'PT503') continue;
      // Who has left is told nothing any more; over HTTP the refusal that was raised has the code FORBIDDEN.
      if (/^(PT403|FORBIDDEN)$/.test(code) && call.actor.userId === restlessTherapist(call.actor.clinic))
        continue;
      const binding = (first: First) =>
        first.call !== call &&
        first.since <= call.startedAt * 1000 &&
        first.until > call.endedAt * 1000 + 5000;
      const bound = same.find(binding);
      if (bound) bad('a repeated request gets the first answer', call, `${code} after ${bound.call.id}`);
      if (code !== 'IDEMPOTENCY_KEY_REUSED' && others.some(binding))
        bad('a key used for another request is refused', call, code);
      if (
        code === 'IDEMPOTENCY_KEY_REUSED' &&
        !calls.some(
          (other) =>
            canonical(other.request) !== request &&
            other.startedAt <= call.endedAt &&
            (other.answer.type === 'unknown' || other.answer.type === 'ok'),
        )
      )
        bad('a key used for another request is refused', call, 'nobody had used it');
    }
  }
}

/** A confirmation comes before the hold's end, and each hold is settled by one event. */
function checkHolds(tables: Tables, findings: Findings): void {
  const settling = new Map<string, number>();
  for (const { action, outcome, details, entity_ids, organization_id } of tables.events) {
    if (outcome !== 'ok' || !/^hold\.(released|expired|confirmed)$/.test(action) || !details?.batchId)
      continue;
    for (const id of entity_ids) {
      const key = `${place(organization_id, id)} ${action}${action === 'hold.confirmed' ? details.batchId : ''}`;
      settling.set(key, (settling.get(key) ?? 0) + 1);
    }
  }
  for (const [key, count] of settling)
    if (count > 1) findings.add('every hold is settled once', `${key}: ${count} events`);
  for (const hold of tables.holds) {
    const batch = tables.batches.get(place(hold.organization_id, hold.batch_id));
    if (!batch) continue;
    if (hold.status === 'confirmed' && (hold.settled ?? 0) >= batch.expires)
      findings.add('an expired hold never confirms', `hold ${hold.id} of batch ${batch.id}`);
    if (hold.status === 'expired' && (hold.settled ?? 0) < batch.expires)
      findings.add('a live hold is never written down as expired', `hold ${hold.id}`);
    const event =
      hold.status === 'held' ||
      (settling.get(
        hold.status === 'confirmed'
          ? `${place(hold.organization_id, hold.session_id ?? hold.id)} hold.confirmed${batch.id}`
          : `${place(hold.organization_id, hold.id)} hold.${hold.status}`,
      ) ?? 0) === 1;
    if (!event)
      findings.add('every hold is settled once', `hold ${hold.id} is ${hold.status} without an event`);
  }
}

/** Members who take part are with the group's therapist at the group's time, at every moment: they move as one. */
function checkGroups(tables: Tables, findings: Findings): void {
  const groups = new Map<string, Map<string, Facts>>();
  for (const { entity, outcome, organization_id, after, action, recorded } of tables.events) {
    if (entity !== 'session' || outcome !== 'ok') continue;
    const touched = new Set<string>();
    for (const facts of after ?? []) {
      if (!facts.group_id) continue;
      const key = place(organization_id, facts.group_id);
      groups.set(key, (groups.get(key) ?? new Map<string, Facts>()).set(facts.id, facts));
      touched.add(key);
    }
    for (const key of touched) {
      const present = [...(groups.get(key)?.values() ?? [])].filter(
        ({ status }) => status !== 'cancelled' && status !== 'no_show',
      );
      const places = new Set(
        present.map(({ therapist_id, start_time, end_time }) =>
          [therapist_id, instant(start_time), instant(end_time)].join(' '),
        ),
      );
      if (places.size > 1)
        findings.add(
          'a group is in one place',
          `group ${key} after ${action} at ${recorded}: ${places.size} places`,
        );
    }
  }
}

/** What was offered to those who wait: something that suits them, while they wait, and one thing at a time. */
function checkWaitlist(tables: Tables, findings: Findings): void {
  const holds = Map.groupBy(tables.holds, (hold) => place(hold.organization_id, hold.batch_id));
  const offers = tables.events.filter(
    ({ action, outcome, details }) =>
      action === 'hold.acquired' && outcome === 'ok' && details?.waitlistEntryId !== undefined,
  );
  for (const { organization_id, details } of offers) {
    const at = (id: string | undefined) => place(organization_id, id ?? '');
    const bad = (why: string) =>
      findings.add('an offer is what somebody waits for', `batch ${details?.batchId}: ${why}`);
    const entry = tables.entries.get(at(details?.waitlistEntryId));
    const batch = tables.batches.get(at(details?.batchId));
    const hold = holds.get(at(details?.batchId))?.[0];
    if (!entry || !batch || !hold) {
      bad('there is no such entry or hold');
      continue;
    }
    if (entry.therapist_id && entry.therapist_id !== batch.therapist_id) bad('another therapist was wanted');
    if (hold.client_id !== entry.client_id) bad('it is for another client');
    if (batch.cpt_code !== entry.cpt_code) bad('it is of another service');
    if (entry.minutes !== null && hold.ends - hold.starts !== entry.minutes * 60_000_000)
      bad('it is longer or shorter');
    if (!entry.windows.some(([from, to]) => from <= hold.starts && hold.ends <= to)) bad('it does not suit');
    if (entry.closed !== null && entry.closed < batch.created) bad('nobody waited any more');
  }

  const byEntry = Map.groupBy(offers, ({ organization_id, details }) =>
    place(organization_id, details?.waitlistEntryId ?? ''),
  );
  for (const [key, made] of byEntry) {
    const lives = made
      .map(({ organization_id, details }) => {
        const batch = tables.batches.get(place(organization_id, details?.batchId ?? ''));
        const hold = holds.get(place(organization_id, details?.batchId ?? ''))?.[0];
        // Once it is confirmed nobody waits any more.
        const until =
          hold?.status === 'confirmed'
            ? Number.POSITIVE_INFINITY
            : hold?.status === 'released'
              ? (hold.settled ?? 0)
              : (batch?.expires ?? 0);
        return { id: details?.batchId, since: batch?.created ?? 0, until };
      })
      .sort((a, b) => a.since - b.since);
    lives.forEach(({ id, since }, index) => {
      const previous = lives[index - 1];
      if (previous && previous.until > since)
        findings.add('whoever waits has one offer at a time', `entry ${key}: ${previous.id} and ${id}`);
    });
    if (tables.entries.get(key)?.offered_batch_id !== lives.at(-1)?.id)
      findings.add('an entry names its last offer', `entry ${key}`);
  }
}

/** Bookings of a limited client never took more units than were approved at that moment, as the audit tells it. */
function checkUnits(taken: Taken[], tables: Tables, clinics: Clinic[], findings: Findings): void {
  const approvals = tables.events.flatMap(({ entity, organization_id, after, recorded }) => {
    if (entity !== 'authorization') return [];
    const { client_id, approved_units } = after as unknown as { client_id: string; approved_units: number };
    return [{ resource: `${organization_id} client ${client_id}`, since: recorded, units: approved_units }];
  });
  for (const clinic of clinics)
    for (const client of limitedClients(clinic)) {
      const resource = `${clinic.organizationId} client ${client}`;
      // A move takes its difference only, which is left out: what is proven is a little less than what is kept.
      const bookings = taken
        .filter(
          (one) =>
            one.resource === resource &&
            !one.moves &&
            !one.isUnnamed &&
            (!one.service || one.service === '97153'),
        )
        .sort((a, b) => a.since - b.since);
      let live: Taken[] = [];
      for (const next of bookings) {
        live = [...live.filter(({ until, owner }) => until > next.since && owner !== next.owner), next];
        const units = live.reduce((sum, { starts, ends }) => sum + (ends - starts) / 900_000_000, 0);
        const approved = approvals
          .filter((approval) => approval.resource === resource && approval.since <= next.since)
          .reduce((most, approval) => Math.max(most, approval.units), 0);
        if (units > approved)
          findings.add(
            'no booking ever went beyond what was approved',
            `${resource}: ${units} of ${approved} units at ${new Date(next.since / 1000).toISOString()}`,
          );
      }
    }
}

/**
 * Whether a call wrote past the booking functions without saying whose rows it writes. Then it does not wait long for
 * the bookings under way, and may be told to try again.
 */
function givesWay({ kind, transport, id }: Call): boolean {
  return (
    /^(insert|update|wait|authorize|post|patch|close|open|coverage)$/.test(kind) &&
    (transport === 'http' || !namesOrganization(id))
  );
}

/** SQLSTATEs a caller may see, by kind of call. */
function isExpected(call: Call, sqlstate: string): boolean {
  // A group may be gone, or elsewhere, when somebody joins it.
  if (call.request.group_id && /^(PT400|23503)$/.test(sqlstate)) return true;
  // A series may have been moved since somebody saw where its sessions are.
  if ((call.request.series || call.request.series_id) && sqlstate === 'PT400') return true;
  if (call.endpoint || /^(regroup|offer|leave|return)$/.test(call.kind))
    return /^PT(401|403|503)$/.test(sqlstate);
  // A user may not write everything that a backend may.
  if (/^(post|patch)$/.test(call.kind) && sqlstate === '42501') return true;
  return /^(23P01|23514|PT503|PT409|409)$/.test(sqlstate);
}

/** From when on a call's effect was certain to be seen, until when it may have been undone: milliseconds. */
interface Span {
  call: Call;
  from: number;
  to: number;
}

/** Spans in which what one kind of call did was there for certain: no call of the other kind had begun. */
function certain(
  history: Call[],
  does: (call: Call) => boolean,
  undoes: (undoing: Call, done: Call) => boolean,
): Span[] {
  return history
    .filter((call) => does(call) && call.answer.type === 'ok')
    .map((call) => ({
      call,
      from: call.endedAt,
      to: Math.min(
        ...history
          .filter((other) => other.endedAt > call.startedAt && undoes(other, call))
          .map(({ startedAt }) => startedAt),
      ),
    }))
    .filter(({ from, to }) => from < to);
}

/** The windows a request asks for, in milliseconds. */
function windowsOf({ request }: Call): { from: number; to: number }[] {
  type Window = { start_time?: string; end_time?: string; session?: Window };
  const wish = request as Window & { occurrences?: Window[] };
  return (wish.occurrences ?? [wish]).flatMap((item) => {
    const { start_time, end_time } = item.session ?? item;
    return start_time && end_time ? [{ from: Date.parse(start_time), to: Date.parse(end_time) }] : [];
  });
}

/**
 * While a therapist is gone, the clinic closed or a client not covered, for certain and for a whole call, nobody books what
 * that forbids: neither by the functions nor over REST.
 */
function checkTimes(history: Call[], tables: Tables, told: Map<string, Told>, findings: Findings): void {
  const moves = tables.events.filter(({ action }) => action === 'session.moved');
  // What is written over REST has no request id. A change to what was there already moves nothing.
  const hasMoved = ({ actor, startedAt, endedAt }: Call, rows: { id: string }[]) =>
    moves.some(
      ({ organization_id, actor_user_id, entity_ids, recorded }) =>
        organization_id === actor.clinic.organizationId &&
        actor_user_id === actor.userId &&
        rows.some(({ id }) => entity_ids.includes(id)) &&
        recorded > (startedAt - 50) * 1000 &&
        recorded < (endedAt + 50) * 1000,
    );
  const booked = history.filter(
    (call) =>
      call.answer.type === 'ok' &&
      !call.answer.replayed &&
      (/^(hold|move|insert|post)$/.test(call.kind) ||
        (/^(confirm|regroup)$/.test(call.kind) && (told.get(call.id)?.effects.length ?? 0) > 0) ||
        (call.kind === 'update' && told.get(call.id)?.effects[0]?.action === 'session.moved') ||
        (call.kind === 'patch' && hasMoved(call, call.answer.body.rows as { id: string }[]))),
  );
  const during = (spans: Span[], call: Call) =>
    spans.filter(
      (span) =>
        span.call.actor.clinic.organizationId === call.actor.clinic.organizationId &&
        call.startedAt > span.from &&
        call.endedAt < span.to,
    );
  const sameClinic = (a: Call, b: Call) => a.actor.clinic.organizationId === b.actor.clinic.organizationId;
  const say = (rule: string, { kind, transport, id }: Call, why: string) =>
    findings.add(rule, `${kind} ${transport} ${id}: ${why}`);

  const away = certain(
    history,
    ({ kind }) => kind === 'leave',
    (other, left) => other.kind === 'return' && sameClinic(other, left),
  );
  const there = certain(
    history,
    ({ kind }) => kind === 'return',
    (other, came) => other.kind === 'leave' && sameClinic(other, came),
  );
  for (const call of booked) {
    const { therapist_id = (call.request.session as { therapist_id?: string } | undefined)?.therapist_id } =
      call.request as { therapist_id?: string };
    for (const { call: left } of during(away, call))
      if (therapist_id === left.request.user_id)
        say('nobody books a therapist who has left', call, `${therapist_id} had left by ${left.id}`);
  }
  for (const call of history)
    for (const { call: came } of during(there, call))
      if (
        call.actor.userId === came.request.user_id &&
        call.request.therapist_id === call.actor.userId &&
        (call.answer.type === 'raised' ? call.answer.sqlstate === 'PT403' : false)
      )
        say('whoever has come back books again', call, `${call.actor.userId} came back by ${came.id}`);

  const closed = certain(
    history,
    ({ kind }) => kind === 'close',
    (other, closing) => other.kind === 'open' && sameClinic(other, closing),
  );
  for (const call of booked) {
    // What is held already is confirmed, and a backend may write what it likes there.
    if (!/^(hold|move|regroup|post|patch)$/.test(call.kind)) continue;
    for (const { call: closing } of during(closed, call)) {
      const [from, to] = [closing.request.starts_at, closing.request.ends_at].map((time) =>
        Date.parse(time as string),
      );
      if (windowsOf(call).some((window) => window.from < (to ?? 0) && window.to > (from ?? 0)))
        say('nobody books while the clinic is closed', call, `it was closed by ${closing.id}`);
    }
  }

  const covered = certain(
    history,
    ({ kind }) => kind === 'coverage',
    (other, changed) => other.kind === 'coverage' && other !== changed && sameClinic(other, changed),
  );
  for (const call of history) {
    const client = coveredClient(call.actor.clinic);
    const { client_id, client_ids, cpt_code } = call.request as {
      client_id?: string;
      client_ids?: unknown;
      cpt_code?: string;
    };
    if (client_id !== client || client_ids) continue;
    for (const { call: change } of during(covered, call)) {
      const { valid_to } = change.request as { valid_to: string | null };
      const isBeyond = (window: { from: number }) =>
        valid_to !== null && window.from >= Date.parse(valid_to) + 86_400_000;
      // What a hold has named it has: it confirms.
      const isAsked =
        (call.kind === 'hold' && cpt_code !== undefined && !call.request.group_id) ||
        /^(insert|post)$/.test(call.kind);
      if (isAsked && booked.includes(call) && windowsOf(call).some(isBeyond))
        say('nobody books what no payer covers', call, `covered until ${valid_to} by ${change.id}`);
      if (
        call.kind === 'hold' &&
        call.answer.type === 'refused' &&
        call.answer.code === 'AUTHORIZATION_EXCEEDED' &&
        !windowsOf(call).some(isBeyond)
      )
        say(
          'what is covered is not refused',
          call,
          `covered until ${valid_to ?? 'further notice'} by ${change.id}`,
        );
    }
  }

  // Over REST people write their own, in their own name.
  const inserted = new Map(
    tables.events
      .filter(({ action }) => action === 'session.inserted')
      .flatMap((event) => event.entity_ids.map((id) => [place(event.organization_id, id), event] as const)),
  );
  for (const call of history) {
    if (!/^(post|patch)$/.test(call.kind) || call.answer.type !== 'ok') continue;
    const rows = call.answer.body.rows as { id: string; therapist_id: string }[];
    const { clinic, userId, role } = call.actor;
    if (role === 'client' && rows.length > 0) say('a parent writes nothing', call, `${rows.length} rows`);
    for (const { id, therapist_id } of rows) {
      if (role === 'therapist' && therapist_id !== userId)
        say('a therapist writes their own sessions', call, `${id} is of ${therapist_id}`);
      if (call.kind === 'post' && inserted.get(place(clinic.organizationId, id))?.actor_user_id !== userId)
        say('what is written over REST is audited in the name of its writer', call, id);
    }
  }
}

/** Nothing but the product's own words reaches a caller, and nobody waits or is turned away for no reason. */
function checkManners(history: Call[], outages: Outage[], findings: Findings): void {
  const troubled = ({ startedAt, endedAt }: Call) =>
    outages.some(({ from, to }) => startedAt < to + 10_000 && endedAt > from - 500);
  for (const call of history) {
    const { answer, kind, transport, id } = call;
    const where = `${kind} ${transport} ${id}`;
    if (answer.type === 'raised' && !isExpected(call, answer.sqlstate))
      findings.add(
        answer.sqlstate === '40P01' ? 'nobody deadlocks' : 'no raw error reaches a caller',
        `${where}: ${answer.sqlstate} ${answer.message}`,
      );
    if (
      answer.type === 'refused' &&
      (answer.status === 400 || answer.status === 401) &&
      !call.request.group_id &&
      !call.request.series &&
      !call.request.series_id
    )
      findings.add('no valid request is called malformed', `${where}: ${answer.status} ${answer.code}`);
    // Whoever has waited five seconds for a lock gives up, and should: the machine is too slow for so many.
    if (troubled(call) || call.endedAt - call.startedAt >= 5000) continue;
    if (givesWay(call)) continue;
    if (answer.type === 'unknown' && answer.why.startsWith('HTTP 5'))
      findings.add('no 5xx while nothing is broken', `${where}: ${answer.why}`);
    if (answer.type === 'raised' && answer.sqlstate === 'PT503')
      findings.add('nobody is turned away as busy while nothing is broken', where);
  }
}

/** What nobody may have done, whatever the calls were: rows that must not be, by rule. $1 is the organizations. */
const authority: { rule: string; query: string }[] = [
  {
    rule: 'nobody acts whose membership has ended',
    query: `
      select event.action, event.actor_user_id, event.request_id
      from audit.events as event
      join audit.events as removal
        on removal.organization_id = event.organization_id and removal.action = 'membership.removed'
        and removal.entity_ids @> array[event.actor_user_id] and removal.recorded_at < event.recorded_at
      where event.organization_id = any ($1) and event.outcome = 'ok'
        and not exists (
          select from audit.events as again
          where again.organization_id = event.organization_id and again.action = 'membership.added'
            and again.entity_ids @> array[event.actor_user_id]
            and again.recorded_at > removal.recorded_at and again.recorded_at < event.recorded_at)`,
  },
  {
    rule: 'only staff book and cancel',
    query: `
      select action, actor_user_id, request_id from audit.events
      where organization_id = any ($1) and outcome = 'ok' and entity in ('hold', 'session') and actor_role = 'client'`,
  },
  {
    rule: 'a therapist changes their own sessions only',
    query: `
      select event.action, event.actor_user_id, item.value ->> 'id' as session_id
      from audit.events as event
      cross join lateral jsonb_array_elements(
        case jsonb_typeof(event.before) when 'array' then event.before else '[]' end
        || case jsonb_typeof(event.after) when 'array' then event.after else '[]' end
      ) as item (value)
      where event.organization_id = any ($1) and event.outcome = 'ok' and event.entity = 'session'
        and event.actor_role = 'therapist' and item.value ->> 'therapist_id' <> event.actor_user_id::text`,
  },
  {
    rule: 'a therapist books their caseload only',
    query: `
      select hold.id, hold.client_id, batch.created_by
      from public.session_holds as hold
      join public.hold_batches as batch on batch.organization_id = hold.organization_id and batch.id = hold.batch_id
      join public.memberships as member
        on member.organization_id = batch.organization_id and member.user_id = batch.created_by and member.role = 'therapist'
      where hold.organization_id = any ($1)
        and not exists (
          select from public.caseloads as known
          where known.organization_id = hold.organization_id and known.therapist_id = batch.created_by
            and known.client_id = hold.client_id)`,
  },
  {
    rule: 'a group has at most eight clients',
    query: `
      select group_id, count(*) from public.sessions
      where organization_id = any ($1) and group_id is not null and status not in ('cancelled', 'no_show')
      group by group_id having count(*) > 8`,
  },
];

/** Whether what is sealed was sealed by the functions: the proofs are made anew, here. */
async function checkProofs(db: pg.ClientBase, organizations: string[], findings: Findings): Promise<void> {
  const { rows: keys } = await db.query<{ id: string; key: Buffer }>(
    'select id, key from private.attestation_keys',
  );
  const { rows } = await db.query<{ row: string; proof: string; statement: string[] }>(
    `select 'note ' || note.id as row, note.proof, private.note_statement(note) as statement
      from private.session_note_versions as note where note.organization_id = any ($1)
      union all
      select 'data key ' || data_key.id, data_key.proof, private.data_key_statement(data_key)
      from private.data_keys as data_key where data_key.organization_id = any ($1)`,
    [organizations],
  );
  for (const { row, proof, statement } of rows) {
    const [, id, mac] = proof.split('.');
    const key = keys.find((known) => known.id === id)?.key;
    const right =
      key &&
      createHmac('sha256', key)
        .update(`tsp1|${statement.join('|')}`.toLowerCase())
        .digest('base64url');
    if (mac !== right) findings.add('what is sealed was sealed by the functions', row);
  }
}

/**
 * Whether an event is of a call that was under way when its actor left: authority is read once, behind the locks. What is
 * written over REST has no request id: any such call of theirs at that moment may be it, and `checkTimes` looks closer.
 */
function leftMeanwhile(row: object, history: Call[]): boolean {
  const { actor_user_id, request_id } = row as { actor_user_id?: string; request_id?: string | null };
  if (!actor_user_id) return false;
  const calls = history.filter(({ id, kind, actor }) =>
    request_id ? id === request_id : /^(post|patch)$/.test(kind) && actor.userId === actor_user_id,
  );
  return history.some(
    (left) =>
      left.kind === 'leave' &&
      left.request.user_id === actor_user_id &&
      calls.some(
        (call) =>
          call.actor.clinic.organizationId === left.actor.clinic.organizationId &&
          left.startedAt <= call.endedAt &&
          left.endedAt >= call.startedAt,
      ),
  );
}

/**
 * All checks, after everybody has stopped.
 *
 * @returns the rules that were broken; none when all is well
 */
export async function check(options: {
  db: pg.ClientBase;
  clinics: Clinic[];
  history: Call[];
  outages: Outage[];
  deadlocks: { count: number; reports: string[] };
  alarms: string[];
}): Promise<Violation[]> {
  const { db, clinics, history, outages, deadlocks, alarms } = options;
  const findings = new Findings();
  for (const clinic of clinics)
    for (const { rule, rows } of await brokenInvariants(db, clinic.organizationId))
      for (const row of rows) findings.add(rule, JSON.stringify(row));
  const organizations = clinics.map(({ organizationId }) => organizationId);
  for (const { rule, query } of [...ledger, ...authority]) {
    const { rows } = await db.query(query, [organizations]);
    for (const row of rows) if (!leftMeanwhile(row, history)) findings.add(rule, JSON.stringify(row));
  }
  await checkProofs(db, organizations, findings);
  const { rows: bad } = await db.query('select * from audit.verify()');
  for (const row of bad) findings.add('audit.verify() finds nothing', JSON.stringify(row));

  const tables = await readTables(db, clinics);
  const taken = [...replaySessions(tables, findings), ...takenByHolds(tables)];
  checkOverlaps(taken, clinics, findings);
  checkHolds(tables, findings);
  checkGroups(tables, findings);
  checkWaitlist(tables, findings);
  checkUnits(taken, tables, clinics, findings);
  const told = checkAnswers(history, tables, findings);
  checkKeys(history, tables, told, findings);
  checkTimes(history, tables, told, findings);
  checkManners(history, outages, findings);
  if (deadlocks.count > 0) {
    findings.add('nobody deadlocks', `${deadlocks.count} counted by the database`);
    for (const report of deadlocks.reports) findings.add('nobody deadlocks', report);
  }
  for (const alarm of alarms) findings.add('a pooled connection carries nothing over', alarm);
  return findings.list();
}
