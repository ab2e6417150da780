/** What everybody wants at once: bookings that meet, retries, second thoughts, and writes past the booking functions. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Caller, Leak, type Target } from './callers.ts';
import type { Answer, Call, Endpoint, Kind, Tally, Transport } from './history.ts';
import { nameOf } from './history.ts';
import { type Random, random, weighted } from './random.ts';
import { type Actor, type Clinic, CONCURRENT_CODES, concurrentClient, DAYS, firstMidnight } from './world.ts';

/** A hold somebody got, as its answer told. */
interface KnownHold {
  actor: Actor;
  therapist: string;
  client: string;
  sessionIds: string[] | null;
  held: {
    holdKey: string;
    holdId: string;
    holds: { holdKey: string; holdId: string; startTime: string; endTime: string }[];
  };
}

/** A session somebody knows of. */
interface KnownSession {
  clinic: Clinic;
  id: string;
  therapist: string;
  client: string;
}

/** What all workers share. */
export interface Shared {
  seed: number;
  target: Target;
  clinics: Clinic[];
  http: boolean;
  pool: boolean;
  /** Calls over HTTP share one processor with everything else: their part of all calls. */
  history: Call[];
  tally: Tally;
  drops: Tally;
  holds: KnownHold[];
  sessions: KnownSession[];
  /** Sessions that were cancelled or ended, mostly left alone from then on. */
  over: Set<string>;
  /** Sentences that are violations by themselves. */
  alarms: string[];
  running: () => boolean;
  /** Called before each call; false ends the worker. */
  admit: () => boolean;
}

const MINUTE = 60_000;
const REMEMBERED = 300;

const endpoints: Partial<Record<Kind, Endpoint>> = {
  hold: 'sessions-hold',
  move: 'sessions-hold',
  confirm: 'sessions-confirm',
  release: 'sessions-cancel',
  cancel: 'sessions-cancel',
};

/** What a worker is about to do. */
interface Plan {
  kind: Kind;
  actor: Actor;
  request: Record<string, unknown>;
  key: string | null;
  /** How many do it at the same moment. */
  copies: number;
  /** The copies want overlapping times under keys of their own, instead of being one request. */
  rivals?: boolean;
  hold?: KnownHold;
  session?: KnownSession;
}

function anyActor(chance: Random, clinics: Clinic[]): Actor {
  const clinic = chance.pick(clinics);
  return chance.chance(0.75)
    ? { clinic, userId: clinic.admin, role: 'admin' }
    : { clinic, userId: chance.pick(clinic.therapists), role: 'therapist' };
}

function anyWindow(chance: Random, day = chance.integer(0, DAYS - 1)) {
  const start = firstMidnight() + day * 1440 * MINUTE + (8 * 60 + 15 * chance.integer(0, 39)) * MINUTE;
  return {
    start_time: new Date(start).toISOString(),
    end_time: new Date(start + chance.pick([30, 45, 60, 90, 120]) * MINUTE).toISOString(),
    start_time_offset_minutes: 0,
    end_time_offset_minutes: 0,
  };
}

/** The service of a booking: named for the client whose payer has rules about it. */
function serviceOf(chance: Random, clinic: Clinic, client: string): { cpt_code?: string } {
  return client === concurrentClient(clinic) && chance.chance(0.8)
    ? { cpt_code: chance.pick(CONCURRENT_CODES) }
    : {};
}

function keyOf(chance: Random): string | null {
  return chance.chance(0.75) ? chance.uuid() : null;
}

function planHold(chance: Random, shared: Shared): Plan {
  const actor = anyActor(chance, shared.clinics);
  const { clinic } = actor;
  const windows = chance.chance(0.3)
    ? Array.from({ length: chance.integer(2, DAYS) }, (_, day) => anyWindow(chance, day))
    : [anyWindow(chance)];
  const client = chance.pick(clinic.clients);
  return {
    kind: 'hold',
    actor,
    key: keyOf(chance),
    copies: 1,
    request: {
      therapist_id: actor.role === 'therapist' ? actor.userId : chance.pick(clinic.therapists),
      client_id: client,
      ...serviceOf(chance, clinic, client),
      time_zone: 'UTC',
      ...windows[0],
      ...(windows.length > 1 ? { occurrences: windows } : {}),
      hold_seconds: chance.pick([30, 30, 300, 900]),
      ...(chance.chance(0.2) ? { room_id: chance.pick(clinic.rooms) } : {}),
      ...(chance.chance(0.15)
        ? { buffer_before_minutes: 15, buffer_after_minutes: chance.pick([0, 30]) }
        : {}),
    },
  };
}

function planMove(chance: Random, shared: Shared): Plan | null {
  const first = recent(chance, shared.sessions);
  if (!first) return null;
  const siblings = shared.sessions.filter(
    (other) => other.clinic === first.clinic && other.client === first.client && other.id !== first.id,
  );
  const moved = [first, ...(chance.chance(0.4) ? siblings.slice(-chance.integer(1, 3)) : [])];
  const windows = moved.map((_, day) => anyWindow(chance, day % DAYS));
  const therapist = chance.chance(0.7) ? first.therapist : chance.pick(first.clinic.therapists);
  return {
    kind: 'move',
    actor: { clinic: first.clinic, userId: first.clinic.admin, role: 'admin' },
    key: keyOf(chance),
    copies: 1,
    request: {
      therapist_id: therapist,
      client_id: first.client,
      time_zone: 'UTC',
      ...windows[0],
      occurrences: moved.map((session, index) => ({ ...windows[index], session_id: session.id })),
      hold_seconds: chance.pick([30, 300]),
    },
  };
}

function recent<T>(chance: Random, list: T[]): T | undefined {
  if (list.length === 0) return undefined;
  // Mostly what is new; now and then something old, settled long ago.
  const from = chance.chance(0.85) ? Math.max(0, list.length - 25) : 0;
  return list[chance.integer(from, list.length - 1)];
}

function planConfirm(chance: Random, shared: Shared): Plan | null {
  const hold = recent(chance, shared.holds);
  if (!hold) return null;
  const { held, therapist, client } = hold;
  // One of a series by its own key, sometimes.
  const holds =
    held.holds.length > 1 && chance.chance(0.15) ? [chance.pick(held.holds)] : [...held.holds].reverse();
  const occurrences = holds.map(({ holdKey, startTime, endTime }) => ({
    hold_key: holdKey,
    session: { therapist_id: therapist, client_id: client, start_time: startTime, end_time: endTime },
    start_time_offset_minutes: 0,
    end_time_offset_minutes: 0,
    time_zone: 'UTC',
  }));
  const [first] = occurrences;
  if (!first) return null;
  return {
    kind: 'confirm',
    actor: hold.actor,
    key: keyOf(chance),
    copies: 1,
    hold,
    request: {
      ...first,
      hold_key: holds.length === held.holds.length ? held.holdKey : first.hold_key,
      occurrences,
    },
  };
}

function planRelease(chance: Random, shared: Shared): Plan | null {
  const hold = recent(chance, shared.holds);
  if (!hold) return null;
  const hold_key = chance.chance(0.7) ? hold.held.holdKey : chance.pick(hold.held.holds).holdKey;
  return {
    kind: 'release',
    actor: hold.actor,
    key: keyOf(chance),
    copies: 1,
    hold,
    request: { hold_key },
  };
}

function planCancel(chance: Random, shared: Shared): Plan | null {
  const first = recent(chance, shared.sessions);
  if (!first) return null;
  const actor: Actor = { clinic: first.clinic, userId: first.clinic.admin, role: 'admin' };
  const key = keyOf(chance);
  if (chance.chance(0.1)) {
    const date = new Date(firstMidnight() + chance.integer(0, DAYS - 1) * 1440 * MINUTE)
      .toISOString()
      .slice(0, 10);
    const whose = chance.chance(0.7) ? { therapist_id: first.therapist } : { all_therapists: true };
    return {
      kind: 'cancel',
      actor,
      key,
      copies: 1,
      request: { date, time_zone: 'UTC', reason: 'torture', ...whose },
    };
  }
  const others = shared.sessions.filter((other) => other.clinic === first.clinic).slice(-40);
  const ids = new Set([first.id]);
  for (let more = chance.integer(0, 3); more > 0 && others.length > 0; more--)
    ids.add(chance.pick(others).id);
  return {
    kind: 'cancel',
    actor,
    key,
    copies: 1,
    request: { session_ids: [...ids], cancellation_attribution: 'client' },
  };
}

/** An earlier request again, with its key; or another request with its key. */
function planRepeat(chance: Random, shared: Shared, other: boolean): Plan | null {
  const { history } = shared;
  // Mostly at once; now and then when the hold of the first answer may be over.
  const window = chance.chance(0.7) ? 150 : 2000;
  for (let attempt = 0; attempt < 20 && history.length > 0; attempt++) {
    const call = history[chance.integer(Math.max(0, history.length - window), history.length - 1)];
    if (!call?.key || !call.endpoint) continue;
    // Those whose answer got lost are repeated most: that is what keys are for.
    const unknown = call.answer.type === 'unknown' || call.answer.type === 'lost';
    if (!unknown && !chance.chance(0.3)) continue;
    const repeated: Plan = {
      kind: call.kind,
      actor: call.actor,
      key: call.key,
      copies: 1,
      request: call.request,
    };
    if (!other) return repeated;
    if (call.kind === 'hold')
      return {
        ...repeated,
        request: {
          ...planHold(chance, shared).request,
          therapist_id: call.request.therapist_id,
          client_id: call.request.client_id,
        },
      };
    if (call.kind === 'confirm') {
      const occurrences = (call.request.occurrences as { session: object }[]).map((item) => ({
        ...item,
        session: { ...item.session, location_type: 'clinic' },
      }));
      return { ...repeated, request: { ...call.request, occurrences } };
    }
  }
  return null;
}

function planInsert(chance: Random, shared: Shared): Plan {
  const clinic = chance.pick(shared.clinics);
  const { start_time, end_time } = anyWindow(chance);
  const client = chance.pick(clinic.clients);
  const session = {
    organization_id: clinic.organizationId,
    id: chance.uuid(),
    therapist_id: chance.pick(clinic.therapists),
    client_id: client,
    ...serviceOf(chance, clinic, client),
    ...{ start_time, end_time, time_zone: 'UTC' },
    ...(chance.chance(0.2) ? { room_id: chance.pick(clinic.rooms) } : {}),
  };
  return {
    kind: 'insert',
    actor: { clinic, userId: clinic.admin, role: 'admin' },
    key: null,
    copies: 1,
    request: session,
  };
}

function planUpdate(chance: Random, shared: Shared): Plan | null {
  const session = recent(chance, shared.sessions);
  if (!session) return null;
  const change = weighted(chance, { time: 5, therapist: 2, status: 3, label: 1 });
  const { start_time, end_time } = anyWindow(chance);
  const set = {
    time: { start_time, end_time },
    therapist: { therapist_id: chance.pick(session.clinic.therapists) },
    status: { status: chance.pick(['in_progress', 'completed', 'no_show', 'cancelled']) },
    label:
      session.client === concurrentClient(session.clinic)
        ? { cpt_code: chance.pick(CONCURRENT_CODES) }
        : { session_type: `type-${chance.integer(0, 99)}` },
  }[change];
  return {
    kind: 'update',
    actor: { clinic: session.clinic, userId: session.clinic.admin, role: 'admin' },
    key: null,
    copies: 1,
    session,
    request: set,
  };
}

function planExpire(chance: Random, shared: Shared): Plan | null {
  const hold = recent(chance, shared.holds);
  if (!hold) return null;
  return {
    kind: 'expire',
    actor: hold.actor,
    key: null,
    copies: 1,
    hold,
    request: { batch_id: hold.held.holdId },
  };
}

/** What a scheduler runs now and then, for all clinics. */
function planSweep({ clinics: [clinic] }: Shared): Plan | null {
  if (!clinic) return null;
  return {
    kind: 'sweep',
    actor: { clinic, userId: clinic.admin, role: 'admin' },
    key: null,
    copies: 1,
    request: {},
  };
}

function plan(chance: Random, shared: Shared): Plan {
  const kind = weighted(chance, {
    ...{ hold: 28, move: 8, confirm: 24, release: 6, cancel: 9 },
    ...{ repeat: 9, reuse: 2, insert: 7, update: 8, expire: 6, sweep: 1 },
  });
  const made = {
    hold: () => planHold(chance, shared),
    move: () => planMove(chance, shared),
    confirm: () => planConfirm(chance, shared),
    release: () => planRelease(chance, shared),
    cancel: () => planCancel(chance, shared),
    repeat: () => planRepeat(chance, shared, false),
    reuse: () => planRepeat(chance, shared, true),
    insert: () => planInsert(chance, shared),
    update: () => planUpdate(chance, shared),
    expire: () => planExpire(chance, shared),
    sweep: () => planSweep(shared),
  }[kind]();
  const chosen = made ?? planHold(chance, shared);
  if (chosen.kind === 'hold' && kind === 'hold' && chance.chance(0.15))
    return { ...chosen, copies: 3, rivals: true };
  if (endpoints[chosen.kind] && chosen.key && chance.chance(0.12)) chosen.copies = chance.integer(2, 3);
  return chosen;
}

/** The same wish a quarter of an hour later for each copy: equal windows would prove nothing. */
function rivalOf(planned: Plan, copy: number, key: string): Plan {
  const later = <T extends { start_time: string; end_time: string }>(window: T): T => ({
    ...window,
    start_time: new Date(Date.parse(window.start_time) + copy * 15 * MINUTE).toISOString(),
    end_time: new Date(Date.parse(window.end_time) + copy * 15 * MINUTE).toISOString(),
  });
  type Wish = {
    start_time: string;
    end_time: string;
    occurrences?: { start_time: string; end_time: string }[];
  };
  const wish = planned.request as unknown as Wish;
  const occurrences = wish.occurrences?.map(later);
  return {
    ...planned,
    key: planned.key && key,
    request: { ...later(wish), ...(occurrences ? { occurrences } : {}) },
  };
}

/**
 * Moves a hold's end into the past, as time would, without waiting for it: under the locks behind which expiry is
 * judged, and only while nothing of it is settled.
 */
function expiring(plan: Plan): { text: string; values: unknown[] }[] {
  const organization = plan.actor.clinic.organizationId;
  const batch = plan.hold?.held.holdId;
  return [
    {
      text: `select private.lock_resources($1, array[batch.therapist_id, batch.client_id, batch.room_id] || array(
          select session.therapist_id from public.session_holds as hold
          join public.sessions as session on session.organization_id = hold.organization_id and session.id = hold.session_id
          where hold.organization_id = $1 and hold.batch_id = $2))
        from public.hold_batches as batch where batch.organization_id = $1 and batch.id = $2`,
      values: [organization, batch],
    },
    {
      text: `with ended as (
          update public.hold_batches as batch set expires_at = clock_timestamp() - interval '1 millisecond'
          where batch.organization_id = $1 and batch.id = $2 and batch.expires_at > clock_timestamp()
            and not exists (
              select 1 from public.session_holds as hold
              where hold.organization_id = $1 and hold.batch_id = $2 and hold.status <> 'held'
            )
          returning batch.id, batch.expires_at
        ),
        counted as (
          update public.authorization_units as entry set expires_at = ended.expires_at
          from ended join public.session_holds as hold on hold.organization_id = $1 and hold.batch_id = ended.id
          where entry.organization_id = $1 and entry.owner_id = hold.id and entry.expires_at is not null
        )
        update private.claims as claim set expires_at = ended.expires_at
        from ended join public.session_holds as hold on hold.organization_id = $1 and hold.batch_id = ended.id
        where claim.organization_id = $1 and claim.owner_id = hold.id and claim.expires_at is not null
        returning claim.owner_id`,
      values: [organization, batch],
    },
  ];
}

function inserting(request: Record<string, unknown>): { text: string; values: unknown[] } {
  const names = Object.keys(request);
  return {
    text: `insert into public.sessions (${names.join(', ')}) values (${names.map((_, index) => `$${index + 1}`).join(', ')}) returning id`,
    values: Object.values(request),
  };
}

function updating({ request, session, actor }: Plan): { text: string; values: unknown[] } {
  const names = Object.keys(request);
  return {
    text: `update public.sessions set ${names.map((name, index) => `${name} = $${index + 3}`).join(', ')}
      where organization_id = $1 and id = $2 returning id`,
    values: [actor.clinic.organizationId, session?.id, ...Object.values(request)],
  };
}

function transportOf(chance: Random, shared: Shared, kind: Kind): Transport {
  if (kind === 'expire' || kind === 'sweep') return 'sql';
  const http = shared.http && kind !== 'update' ? 2 : 0;
  return weighted(chance, { sql: 5, pool: shared.pool ? 4 : 0, http });
}

async function perform(
  caller: Caller,
  planned: Plan,
  id: string,
  transport: Transport,
  drop: number | null,
  autocommit: boolean,
): Promise<Answer> {
  const endpoint = endpoints[planned.kind];
  if (endpoint)
    return caller.book(transport, planned.actor, { ...planned, endpoint, id }, { drop, autocommit });
  if (planned.kind === 'insert' && transport === 'http') return caller.insertOverRest(planned.request);
  const sql = transport === 'http' ? 'sql' : transport;
  if (planned.kind === 'expire')
    return caller.write(sql, 'postgres', id, expiring(planned), { drop: null, autocommit: false });
  if (planned.kind === 'sweep') {
    const sweep = { text: 'select private.sweep_expired_holds()', values: [] };
    return caller.write(sql, 'postgres', id, [sweep], { drop, autocommit });
  }
  const statement = planned.kind === 'insert' ? inserting(planned.request) : updating(planned);
  return caller.write(sql, 'service_role', id, [statement], { drop, autocommit });
}

function remember(shared: Shared, { kind, actor, request, session }: Plan, answer: Answer): void {
  if (answer.type !== 'ok') return;
  const { clinic } = actor;
  const over =
    kind === 'update' && session && 'status' in request
      ? [session.id]
      : kind === 'cancel'
        ? (answer.body.summary as { cancelledSessionIds: string[] }).cancelledSessionIds
        : [];
  if (over.length > 0) {
    // What is over is asked for now and then only.
    for (const id of over) if (!/[0-2]$/.test(id)) shared.over.add(id);
    shared.sessions = shared.sessions.filter(({ id }) => !shared.over.has(id));
  }
  if (kind === 'hold' || kind === 'move') {
    shared.holds.push({
      actor,
      therapist: request.therapist_id as string,
      client: request.client_id as string,
      sessionIds: null,
      held: answer.body as unknown as KnownHold['held'],
    });
    if (shared.holds.length > REMEMBERED) shared.holds.splice(0, shared.holds.length - REMEMBERED);
  }
  const found =
    kind === 'confirm'
      ? (answer.body.sessions as { id: string; therapist_id: string; client_id: string }[])
      : kind === 'insert'
        ? [request as unknown as { id: string; therapist_id: string; client_id: string }]
        : [];
  for (const { id, therapist_id, client_id } of found) {
    if (shared.over.has(id) || shared.sessions.some((known) => known.id === id)) continue;
    shared.sessions.push({ clinic, id, therapist: therapist_id, client: client_id });
  }
  if (shared.sessions.length > REMEMBERED) shared.sessions.splice(0, shared.sessions.length - REMEMBERED);
}

/** Works until told to stop: plans a call, sends it (or several copies at once), remembers what it learns. */
export async function work(shared: Shared, worker: number): Promise<void> {
  const callers = Array.from({ length: 3 }, () => new Caller(shared.target));
  try {
    for (let number = 0; shared.running(); number++) {
      const chance = random(shared.seed, 'worker', worker, 'call', number);
      const plans = plan(chance, shared);
      let broken = false;
      await Promise.all(
        callers.slice(0, plans.copies).map(async (caller, copy) => {
          if (!shared.admit()) return;
          const dice = random(shared.seed, 'worker', worker, 'call', number, 'copy', copy);
          const planned = plans.rivals ? rivalOf(plans, copy, dice.uuid()) : plans;
          const transport = transportOf(dice, shared, planned.kind);
          const drop = dice.chance(0.04) ? dice.integer(0, 12) : null;
          const id = dice.uuid();
          if (dice.chance(0.05) && transport !== 'http') await caller.hangUp(transport);
          const startedAt = Date.now();
          let answer: Answer;
          try {
            answer = await perform(caller, planned, id, transport, drop, dice.chance(0.5));
          } catch (error) {
            if (!(error instanceof Leak)) throw error;
            shared.alarms.push(error.message);
            return;
          }
          const { kind, actor, key, request } = planned;
          const call: Call = {
            ...{ id, kind, transport, actor, key, request, startedAt, answer },
            endpoint: endpoints[kind] ?? null,
            endedAt: Date.now(),
          };
          shared.history.push(call);
          shared.tally.add(`${kind} ${transport} ${nameOf(answer)}`);
          const gone = answer.type === 'lost' || answer.type === 'unknown';
          if (gone && drop !== null) shared.drops.add(transport);
          else broken ||= gone;
          remember(shared, planned, answer);
        }),
      );
      // Something is down: no use in asking a thousand times a second.
      if (broken) await sleep(100);
    }
  } finally {
    await Promise.all(callers.map((caller) => caller.close()));
  }
}
