/** What everybody wants at once: bookings that meet, retries, second thoughts, and writes past the booking functions. */
import { setTimeout as sleep } from 'node:timers/promises';
import { Caller, Leak, type Target } from './callers.ts';
import type { Answer, Call, Endpoint, Kind, Tally, Transport } from './history.ts';
import { nameOf } from './history.ts';
import { type Random, random, weighted } from './random.ts';
import {
  type Actor,
  type Clinic,
  CONCURRENT_CODES,
  concurrentClient,
  coveredClient,
  DAYS,
  firstMidnight,
  limitedClients,
  restlessTherapist,
} from './world.ts';

/** A hold somebody got, as its answer told. */
interface KnownHold {
  actor: Actor;
  therapist: string;
  client: string;
  /** A new booking in a group: no service is for one client. */
  isGrouped: boolean;
  held: {
    holdKey: string;
    holdId: string;
    /** `clientIds`: of a group, in the order they were named. */
    holds: { holdKey: string; holdId: string; startTime: string; endTime: string; clientIds?: string[] }[];
  };
}

/** A session somebody knows of. */
interface KnownSession {
  clinic: Clinic;
  id: string;
  therapist: string;
  client: string;
  isGrouped: boolean;
  /** The series it belongs to, and where it was when they saw it. */
  series: string | null;
  startTime: string;
}

/** A group somebody knows of, where it was when they saw it. */
interface KnownGroup {
  clinic: Clinic;
  id: string;
  therapist: string;
  startTime: string;
  endTime: string;
  /** How often somebody got a place in it. */
  joined: number;
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
  groups: KnownGroup[];
  /** Who waits for a slot, in which clinic. */
  waiting: { clinic: Clinic; entry: string }[];
  /** Therapists who have left, as far as anybody knows: organization and id. */
  away: Set<string>;
  /** Sessions that were cancelled or ended, mostly left alone from then on. */
  over: Set<string>;
  /** Sentences that are violations by themselves. */
  alarms: string[];
  running: () => boolean;
  /** Called before each call; false ends the worker. */
  admit: () => boolean;
  /** How many plans each worker has made. */
  numbers: number[];
}

const MINUTE = 60_000;
/** The service of every group: one for several clients. */
const GROUP_CODE = '97154';
const REMEMBERED = 300;
/** How many sessions a long series has: one a day, behind the days that everybody fights for. */
const LONG_SERIES = 52;

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
  /** The copies are wishes of their own that meet, instead of being one request: for other times or other clients. */
  rivals?: 'times' | 'clients';
  hold?: KnownHold;
  session?: KnownSession;
  group?: KnownGroup;
}

/** In no room, and without buffers. */
const plain = { room_id: null, buffer_before_minutes: 0, buffer_after_minutes: 0 };

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

/**
 * The service of a booking: named for the client whose payer has rules about it, and half of the time for those whose
 * units are limited: a hold that names none takes its units when it is confirmed.
 */
function serviceOf(chance: Random, clinic: Clinic, client: string): { cpt_code?: string } {
  if (client === concurrentClient(clinic))
    return chance.chance(0.8) ? { cpt_code: chance.pick(CONCURRENT_CODES) } : {};
  const hasPayer = limitedClients(clinic).includes(client) || client === coveredClient(clinic);
  return hasPayer && chance.chance(0.5) ? { cpt_code: '97153' } : {};
}

/** Whether a session lies behind the days that everybody fights for. */
function isLong({ startTime }: KnownSession): boolean {
  return Date.parse(startTime) >= firstMidnight() + DAYS * 1440 * MINUTE;
}

/** A window as long as another, so many minutes after a moment. */
function laterBy(window: ReturnType<typeof anyWindow>, moment: number, minutes: number) {
  const length = Date.parse(window.end_time) - Date.parse(window.start_time);
  const start = moment + minutes * MINUTE;
  return {
    ...window,
    ...{ start_time: new Date(start).toISOString(), end_time: new Date(start + length).toISOString() },
  };
}

function keyOf(chance: Random): string | null {
  return chance.chance(0.75) ? chance.uuid() : null;
}

function planHold(chance: Random, shared: Shared): Plan {
  const actor = anyActor(chance, shared.clinics);
  const { clinic } = actor;
  // Some want the time of a long series, or the time it may go to.
  const long = chance.chance(0.15) ? recent(chance, shared.sessions.filter(isLong)) : undefined;
  const windows = long
    ? [laterBy(anyWindow(chance, 0), Date.parse(long.startTime), 15 * chance.integer(-3, 12))]
    : chance.chance(0.3)
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

/** A hold for a session a day, on as many days as a weekly series has in a year. */
function planLongSeries(chance: Random, shared: Shared): Plan {
  const planned = planHold(chance, shared);
  const { start_time, end_time } = anyWindow(chance, DAYS);
  const later = (instant: string, days: number) =>
    new Date(Date.parse(instant) + days * 1440 * MINUTE).toISOString();
  const occurrences = Array.from({ length: LONG_SERIES }, (_, days) => ({
    ...{ start_time: later(start_time, days), end_time: later(end_time, days) },
    ...{ start_time_offset_minutes: 0, end_time_offset_minutes: 0 },
  }));
  const { therapist_id } = planned.request;
  const request = {
    ...{ therapist_id, client_id: chance.pick(planned.actor.clinic.crowd.slice(1)), time_zone: 'UTC' },
    ...{ ...occurrences[0], occurrences, hold_seconds: 300 },
  };
  return { ...planned, request };
}

/** This session of a series, the following ones or all are to be elsewhere. */
function planChange(chance: Random, shared: Shared): Plan | null {
  const session = recent(
    chance,
    shared.sessions.filter(({ series }) => series !== null),
  );
  if (!session) return null;
  const { clinic, series, startTime } = session;
  const scope = chance.pick(['this', 'following', 'following', 'all']);
  const change = weighted(chance, { shift: 6, therapist: 2, duration: 1 });
  return {
    kind: 'move',
    actor: { clinic, userId: clinic.admin, role: 'admin' },
    key: keyOf(chance),
    copies: 1,
    request: {
      series: {
        ...{ series_id: series, scope, ...(scope === 'all' ? {} : { from: startTime }) },
        change: {
          room_id: null,
          ...{
            shift: { shift_minutes: 15 * chance.pick([-8, -2, -1, 1, 2, 5, 9]) },
            therapist: {},
            duration: { duration_minutes: chance.pick([30, 45, 60]) },
          }[change],
          // Whoever was moved alone may be with somebody else.
          therapist_id: change === 'therapist' ? chance.pick(clinic.therapists) : session.therapist,
        },
      },
      ...{ buffer_before_minutes: 0, buffer_after_minutes: 0, hold_seconds: chance.pick([30, 300]) },
    },
  };
}

/** So many of a list, in its order, beginning anywhere. */
function several<T>(chance: Random, list: readonly T[], count: number): T[] {
  const from = chance.integer(0, list.length - 1);
  return Array.from({ length: count }, (_, index) => list[(from + index) % list.length] as T);
}

/** A hold for a new group. */
function planGroup(chance: Random, shared: Shared): Plan {
  const actor = anyActor(chance, shared.clinics);
  const { clinic } = actor;
  const members = several(chance, clinic.crowd, chance.integer(2, 5));
  // One of those whom everybody else wants too.
  if (chance.chance(0.4)) members.push(chance.pick(clinic.clients.slice(0, 3)));
  const windows = Array.from({ length: chance.chance(0.2) ? 2 : 1 }, (_, day) =>
    chance.chance(0.5) ? anyWindow(chance, day) : anyWindow(chance, DAYS - 2 + day),
  );
  return {
    kind: 'hold',
    actor,
    key: keyOf(chance),
    copies: 1,
    request: {
      therapist_id: actor.role === 'therapist' ? actor.userId : chance.pick(clinic.therapists),
      client_id: members[0],
      client_ids: members,
      ...(chance.chance(0.5) ? { cpt_code: GROUP_CODE } : {}),
      time_zone: 'UTC',
      ...windows[0],
      ...(windows.length > 1 ? { occurrences: windows } : {}),
      hold_seconds: chance.pick([30, 300, 900]),
      ...(chance.chance(0.2) ? { room_id: chance.pick(clinic.rooms) } : {}),
    },
  };
}

/** A hold for somebody who joins a group; several at once, for the last places. */
function planJoin(chance: Random, shared: Shared): Plan | null {
  const newest = shared.groups.slice(-6);
  // Mostly the fullest, so that its last place is fought for.
  const group = chance.chance(0.8) ? newest.sort((a, b) => b.joined - a.joined)[0] : recent(chance, newest);
  if (!group) return null;
  const { clinic, therapist, startTime, endTime } = group;
  return {
    kind: 'hold',
    actor: { clinic, userId: clinic.admin, role: 'admin' },
    key: keyOf(chance),
    copies: chance.integer(1, 3),
    rivals: 'clients',
    request: {
      ...{ therapist_id: therapist, client_id: chance.pick(clinic.crowd), group_id: group.id },
      ...{ start_time: startTime, end_time: endTime, time_zone: 'UTC' },
      ...{ start_time_offset_minutes: 0, end_time_offset_minutes: 0 },
      ...(chance.chance(0.5) ? { cpt_code: GROUP_CODE } : {}),
      hold_seconds: chance.pick([30, 300]),
    },
  };
}

function planRegroup(chance: Random, shared: Shared): Plan | null {
  const group = recent(chance, shared.groups);
  if (!group) return null;
  const { clinic } = group;
  return {
    kind: 'regroup',
    actor: { clinic, userId: clinic.admin, role: 'admin' },
    key: null,
    copies: 1,
    group,
    request: {
      ...{ group_id: group.id, ...anyWindow(chance), time_zone: 'UTC' },
      ...(chance.chance(0.3) ? { therapist_id: chance.pick(clinic.therapists) } : {}),
      ...plain,
    },
  };
}

/** Somebody waits for a slot, or does not any more. */
function planWait(chance: Random, shared: Shared): Plan {
  const clinic = chance.pick(shared.clinics);
  const actor: Actor = { clinic, userId: clinic.admin, role: 'admin' };
  const base = { kind: 'wait', actor, key: null, copies: 1 } as const;
  const waiting = shared.waiting.filter((other) => other.clinic === clinic);
  if (waiting.length > 8) return { ...base, request: { closed: chance.pick(waiting).entry } };
  const day = firstMidnight() + chance.integer(0, DAYS - 1) * 1440 * MINUTE;
  const instant = (time: number) => new Date(time).toISOString();
  return {
    ...base,
    request: {
      ...{ organization_id: clinic.organizationId, id: chance.uuid() },
      // One of the two: a place in a group that somebody leaves.
      cpt_code: chance.pick(['97153', '97153', GROUP_CODE]),
      client_id: chance.pick([...clinic.clients.slice(0, 3), ...clinic.crowd]),
      windows: chance.chance(0.7)
        ? `{[${instant(firstMidnight())},${instant(firstMidnight() + DAYS * 1440 * MINUTE)})}`
        : `{[${instant(day)},${instant(day + 1440 * MINUTE)})}`,
      priority: chance.integer(1, 9),
      ...(chance.chance(0.5) ? { therapist_id: chance.pick(clinic.therapists) } : {}),
      ...(chance.chance(0.5) ? { minutes: chance.pick([15, 30, 45]) } : {}),
    },
  };
}

/** What was offered lately, as the web application would ask for it. */
function planLook(chance: Random, shared: Shared): Plan {
  const clinic = chance.pick(shared.clinics);
  return {
    kind: 'look',
    actor: { clinic, userId: clinic.admin, role: 'admin' },
    key: null,
    copies: 1,
    request: {},
  };
}

/** What became free is offered to those who wait, as the functions do once they have answered. */
function planOffer(chance: Random, shared: Shared): Plan {
  return { ...planLook(chance, shared), kind: 'offer' };
}

/** A payer approves a little more: what is booked is counted anew. */
function planAuthorize(chance: Random, shared: Shared): Plan {
  const clinic = chance.pick(shared.clinics);
  return {
    kind: 'authorize',
    actor: { clinic, userId: clinic.admin, role: 'admin' },
    key: null,
    copies: 1,
    request: { client_id: chance.pick(limitedClients(clinic)), units: chance.integer(2, 8) },
  };
}

function planMove(chance: Random, shared: Shared): Plan | null {
  const first = recent(chance, shared.sessions);
  if (!first) return null;
  // A group moves whole, by another function; now and then somebody tries.
  const siblings = shared.sessions.filter(
    (other) =>
      other.clinic === first.clinic &&
      other.client === first.client &&
      other.id !== first.id &&
      !other.isGrouped,
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
      // What differs among the moved must be named; so must what may differ among the members of a group.
      ...(moved.length > 1 || first.isGrouped || chance.chance(0.5) ? plain : {}),
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
  // Of a group one client may be listed for all, or each of them.
  const listsAll = chance.chance(0.3);
  const occurrences = holds.flatMap(({ holdKey, startTime, endTime, clientIds }) =>
    (listsAll && clientIds ? clientIds : [client]).map((client_id) => ({
      hold_key: holdKey,
      session: { ...{ therapist_id: therapist, client_id }, ...{ start_time: startTime, end_time: endTime } },
      start_time_offset_minutes: 0,
      end_time_offset_minutes: 0,
      time_zone: 'UTC',
    })),
  );
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
      session: { ...first.session, client_id: client },
      ...(hold.isGrouped ? { cpt: { code: GROUP_CODE, modifiers: [] } } : {}),
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
  if (first.series && chance.chance(0.1))
    return {
      ...{ kind: 'cancel', actor, key, copies: 1 },
      request: { series_id: first.series, from: first.startTime, cancellation_attribution: 'staff' },
    };
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
  const group = chance.chance(0.2) ? shared.groups.findLast((known) => known.clinic === clinic) : undefined;
  if (group)
    Object.assign(session, {
      ...{ group_id: group.id, therapist_id: group.therapist, client_id: chance.pick(clinic.crowd) },
      cpt_code: GROUP_CODE,
      ...{ start_time: group.startTime, end_time: group.endTime },
    });
  return {
    kind: 'insert',
    actor: { clinic, userId: clinic.admin, role: 'admin' },
    key: null,
    copies: 1,
    request: session,
  };
}

function planUpdate(chance: Random, shared: Shared): Plan | null {
  const { start_time, end_time } = anyWindow(chance);
  const group = chance.chance(0.1) ? recent(chance, shared.groups) : undefined;
  if (group) {
    const { clinic } = group;
    const request = chance.chance(0.8)
      ? { start_time, end_time }
      : { therapist_id: chance.pick(clinic.therapists) };
    return {
      kind: 'update',
      actor: { clinic, userId: clinic.admin, role: 'admin' },
      key: null,
      copies: 1,
      group,
      request,
    };
  }
  const session = recent(chance, shared.sessions);
  if (!session) return null;
  // Where and when a member of a group is, her group says.
  const change = session.isGrouped
    ? weighted(chance, { status: 3, label: 1 })
    : weighted(chance, { time: 5, therapist: 2, status: 3, label: 1 });
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

/** A user of any role, with a token of their own. */
function anyUser(chance: Random, clinic: Clinic): Actor {
  return {
    admin: { clinic, userId: clinic.admin, role: 'admin' } as const,
    therapist: { clinic, userId: chance.pick(clinic.therapists), role: 'therapist' } as const,
    client: { clinic, userId: clinic.parent, role: 'client' } as const,
  }[weighted(chance, { admin: 4, therapist: 5, client: 1 })];
}

/** A user writes a session over REST: mostly what they may, now and then somebody else's. */
function planPost(chance: Random, shared: Shared): Plan {
  const { actor, ...planned } = planInsert(chance, shared);
  const user = anyUser(chance, actor.clinic);
  const own =
    user.role === 'therapist' && !planned.request.group_id && chance.chance(0.8)
      ? { therapist_id: user.userId }
      : {};
  // Users do not choose ids.
  const { id: _, ...session } = planned.request;
  return { ...planned, kind: 'post', actor: user, request: { ...session, ...own } };
}

/** A user changes a session over REST, whosever it is. */
function planPatch(chance: Random, shared: Shared): Plan | null {
  const planned = planUpdate(chance, shared);
  if (!planned?.session) return null;
  const { clinic, therapist } = planned.session;
  const user = anyUser(chance, clinic);
  const own = user.role === 'therapist' && chance.chance(0.6) ? { userId: therapist } : {};
  return { ...planned, kind: 'patch', actor: { ...user, ...own } };
}

/** A therapist leaves, with sessions to come; or comes back. */
function planMember(chance: Random, shared: Shared): Plan {
  const clinic = chance.pick(shared.clinics);
  const user_id = restlessTherapist(clinic);
  return {
    kind: shared.away.has(`${clinic.organizationId} ${user_id}`) ? 'return' : 'leave',
    actor: { clinic, userId: clinic.superAdmin, role: 'super_admin' },
    key: null,
    copies: 1,
    request: { user_id },
  };
}

/** The clinic closes for a day of the calendar, or opens again. */
function planClosure(chance: Random, shared: Shared): Plan {
  const clinic = chance.pick(shared.clinics);
  const base = { actor: { clinic, userId: clinic.admin, role: 'admin' }, key: null, copies: 1 } as const;
  if (chance.chance(0.5)) return { ...base, kind: 'open', request: {} };
  const day = firstMidnight() + chance.integer(0, DAYS - 1) * 1440 * MINUTE;
  return {
    ...base,
    kind: 'close',
    request: {
      ...{ organization_id: clinic.organizationId, id: chance.uuid(), name: 'Snow day' },
      ...{ starts_at: new Date(day).toISOString(), ends_at: new Date(day + 1440 * MINUTE).toISOString() },
    },
  };
}

/** The payer of one client pays until a day of the calendar, or on. */
function planCoverage(chance: Random, shared: Shared): Plan {
  const clinic = chance.pick(shared.clinics);
  const last = new Date(firstMidnight() + chance.integer(0, DAYS - 2) * 1440 * MINUTE);
  return {
    kind: 'coverage',
    actor: { clinic, userId: clinic.admin, role: 'admin' },
    key: null,
    copies: 1,
    request: {
      client_id: coveredClient(clinic),
      valid_to: chance.chance(0.5) ? last.toISOString().slice(0, 10) : null,
    },
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
    ...{ hold: 24, group: 5, join: 4, move: 7, regroup: 3, confirm: 26, release: 6, cancel: 9 },
    ...{ repeat: 9, reuse: 2, insert: 7, update: 8, wait: 3, look: 3, offer: 4 },
    ...{ authorize: 0.5, expire: 6, sweep: 1, series: 0.5, change: 5 },
    ...{ post: 4, patch: 4, member: 0.7, closure: 0.6, coverage: 0.5 },
  });
  const made = {
    hold: () => planHold(chance, shared),
    group: () => planGroup(chance, shared),
    join: () => planJoin(chance, shared),
    move: () => planMove(chance, shared),
    regroup: () => planRegroup(chance, shared),
    confirm: () => planConfirm(chance, shared),
    release: () => planRelease(chance, shared),
    cancel: () => planCancel(chance, shared),
    repeat: () => planRepeat(chance, shared, false),
    reuse: () => planRepeat(chance, shared, true),
    insert: () => planInsert(chance, shared),
    update: () => planUpdate(chance, shared),
    wait: () => planWait(chance, shared),
    look: () => planLook(chance, shared),
    offer: () => planOffer(chance, shared),
    authorize: () => planAuthorize(chance, shared),
    expire: () => planExpire(chance, shared),
    sweep: () => planSweep(shared),
    series: () => planLongSeries(chance, shared),
    change: () => planChange(chance, shared),
    post: () => (shared.http ? planPost(chance, shared) : null),
    patch: () => (shared.http ? planPatch(chance, shared) : null),
    member: () => planMember(chance, shared),
    closure: () => planClosure(chance, shared),
    coverage: () => planCoverage(chance, shared),
  }[kind]();
  const chosen = made ?? planHold(chance, shared);
  if (chosen.kind === 'hold' && kind === 'hold' && chance.chance(0.15))
    return { ...chosen, copies: 3, rivals: 'times' };
  if (endpoints[chosen.kind] && chosen.key && !chosen.rivals && chance.chance(0.15))
    chosen.copies = chance.integer(2, 3);
  return chosen;
}

/** The same wish of another client, or a quarter of an hour later: equal windows would prove nothing. */
function rivalOf(planned: Plan, copy: number, key: string): Plan {
  if (planned.rivals === 'clients') {
    const { crowd } = planned.actor.clinic;
    const client = crowd[(crowd.indexOf(planned.request.client_id as string) + copy) % crowd.length];
    return { ...planned, key: planned.key && key, request: { ...planned.request, client_id: client } };
  }
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
function expiring(plan: Plan): Statement[] {
  const organization = plan.actor.clinic.organizationId;
  const batch = plan.hold?.held.holdId;
  return [
    {
      text: `select private.share_organization($1),
        private.lock_resources($1, array[batch.therapist_id, batch.room_id] || array(
          select hold.client_id from public.session_holds as hold
          where hold.organization_id = $1 and hold.batch_id = $2) || array(
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
          returning entry.owner_id
        )
        select owner_id from counted`,
      values: [organization, batch],
    },
    {
      // A group lives until the last of those who hold a place in it.
      text: `
        update private.claims as claim
        set expires_at = case when claim.owner_id = hold.group_id
          then private.group_lives_until($1, hold.group_id) else batch.expires_at end
        from public.hold_batches as batch
        join public.session_holds as hold on hold.organization_id = batch.organization_id and hold.batch_id = batch.id
        where batch.organization_id = $1 and batch.id = $2 and batch.xmin::text = pg_current_xact_id()::xid::text
          and claim.organization_id = $1 and claim.owner_id in (hold.id, hold.group_id, hold.batch_id)
          and claim.expires_at is not null
        returning claim.owner_id`,
      values: [organization, batch],
    },
  ];
}

interface Statement {
  text: string;
  values: unknown[];
}

function inserting(table: string, request: Record<string, unknown>): Statement {
  const names = Object.keys(request);
  return {
    text: `insert into ${table} (${names.join(', ')}) values (${names.map((_, index) => `$${index + 1}`).join(', ')}) returning id`,
    values: Object.values(request),
  };
}

function updating({ request, session, group, actor }: Plan): Statement {
  const names = Object.keys(request);
  return {
    text: `update ${group ? 'public.session_groups' : 'public.sessions'} set ${names.map((name, index) => `${name} = $${index + 3}`).join(', ')}
      where organization_id = $1 and id = $2 returning id`,
    values: [actor.clinic.organizationId, group?.id ?? session?.id, ...Object.values(request)],
  };
}

function waiting({ request, actor }: Plan): Statement {
  if (!('closed' in request)) return inserting('public.waitlist_entries', request);
  return {
    text: `update public.waitlist_entries set closed_at = clock_timestamp()
      where organization_id = $1 and id = $2 and closed_at is null returning id`,
    values: [actor.clinic.organizationId, request.closed],
  };
}

function authorizing({ request, actor }: Plan): Statement {
  return {
    text: `update public.authorizations set approved_units = approved_units + $3
      where organization_id = $1 and client_id = $2 returning id`,
    values: [actor.clinic.organizationId, request.client_id, request.units],
  };
}

function covering({ request, actor }: Plan): Statement {
  return {
    text: `update public.client_coverages set valid_to = $3 where organization_id = $1 and client_id = $2 returning id`,
    values: [actor.clinic.organizationId, request.client_id, request.valid_to],
  };
}

function opening({ actor }: Plan): Statement {
  return {
    text: `delete from public.organization_closures where organization_id = $1 and id = (
      select id from public.organization_closures where organization_id = $1 order by id limit 1) returning id`,
    values: [actor.clinic.organizationId],
  };
}

/** The newest offers that are alive, as answers of sessions-hold would tell them. */
function looking({ actor }: Plan): Statement {
  return {
    text: `select batch.therapist_id, held.client_id, held.group_id is not null as is_grouped, jsonb_build_object(
          'holdKey', batch.hold_key, 'holdId', batch.id, 'holds', (
            select jsonb_agg(jsonb_build_object('holdKey', hold.hold_key, 'holdId', hold.id,
              'startTime', private.iso(hold.start_time), 'endTime', private.iso(hold.end_time)))
            from public.session_holds as hold
            where hold.organization_id = batch.organization_id and hold.batch_id = batch.id
          )) as held
      from public.waitlist_entries as entry
      join public.hold_batches as batch
        on batch.organization_id = entry.organization_id and batch.id = entry.offered_batch_id
      join public.session_holds as held
        on held.organization_id = batch.organization_id and held.batch_id = batch.id
      where entry.organization_id = $1 and batch.expires_at > clock_timestamp()
      order by entry.offered_at desc limit 3`,
    values: [actor.clinic.organizationId],
  };
}

function transportOf(chance: Random, shared: Shared, kind: Kind): Transport {
  if (/^(expire|sweep|look)$/.test(kind)) return 'sql';
  if (/^(post|patch)$/.test(kind)) return 'http';
  if (kind === 'offer') return shared.pool && chance.chance(0.4) ? 'pool' : 'sql';
  const http =
    shared.http && !/^(update|wait|authorize|leave|return|close|open|coverage)$/.test(kind) ? 2 : 0;
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
  if (planned.kind === 'regroup')
    return caller.call(transport, planned.actor, 'move_group', { ...planned, id }, { drop, autocommit });
  if (planned.kind === 'insert' && transport === 'http') return caller.insertOverRest(planned.request);
  if (planned.kind === 'post' || planned.kind === 'patch')
    return caller.writeOverRest(planned.actor, planned.request, planned.session?.id ?? null);
  const sql = transport === 'http' ? 'sql' : transport;
  const { organizationId } = planned.actor.clinic;
  if (planned.kind === 'leave' || planned.kind === 'return')
    return caller.member(sql, planned.actor, planned.kind, { ...planned, id }, { drop, autocommit });
  if (planned.kind === 'offer') return caller.offer(sql, planned.actor, id, { drop, autocommit });
  if (planned.kind === 'expire')
    return caller.write(sql, 'postgres', id, organizationId, expiring(planned), {
      drop: null,
      autocommit: false,
    });
  if (planned.kind === 'sweep') {
    const sweep = { text: 'select private.sweep_expired_holds()', values: [] };
    return caller.write(sql, 'postgres', id, organizationId, [sweep], { drop, autocommit });
  }
  if (planned.kind === 'look')
    return caller.write(sql, 'postgres', id, organizationId, [looking(planned)], {
      drop: null,
      autocommit: false,
    });
  const statement = {
    insert: () => inserting('public.sessions', planned.request),
    update: () => updating(planned),
    wait: () => waiting(planned),
    authorize: () => authorizing(planned),
    coverage: () => covering(planned),
    close: () => inserting('public.organization_closures', planned.request),
    open: () => opening(planned),
  }[planned.kind as 'insert' | 'update' | 'wait' | 'authorize' | 'coverage' | 'close' | 'open']();
  return caller.write(sql, 'service_role', id, organizationId, [statement], { drop, autocommit });
}

/** Adds to a list that is kept short. */
function keep<T>(list: T[], ...more: T[]): void {
  list.push(...more);
  if (list.length > REMEMBERED) list.splice(0, list.length - REMEMBERED);
}

interface BookedRow {
  id: string;
  therapist_id: string;
  client_id: string;
  start_time: string;
  end_time: string;
  group_id?: string | null;
  series_id?: string | null;
}

function remember(shared: Shared, { kind, actor, request, session, group }: Plan, answer: Answer): void {
  const { clinic } = actor;
  // Who is told that there is no such member, or one already, knows as much.
  if (answer.type === 'ok' || answer.type === 'refused') {
    if (kind === 'leave') shared.away.add(`${clinic.organizationId} ${request.user_id}`);
    else if (kind === 'return') shared.away.delete(`${clinic.organizationId} ${request.user_id}`);
  }
  if (answer.type !== 'ok') return;
  if (kind === 'wait') {
    const { closed, id } = request;
    shared.waiting = shared.waiting.filter(({ entry }) => entry !== closed);
    if (id) shared.waiting.push({ clinic, entry: id as string });
  } else if (kind === 'look') {
    for (const { therapist_id, client_id, is_grouped, held } of answer.body.rows as {
      therapist_id: string;
      client_id: string;
      is_grouped: boolean;
      held: KnownHold['held'];
    }[])
      if (!shared.holds.some((known) => known.held.holdId === held.holdId))
        keep(shared.holds, {
          ...{ actor, therapist: therapist_id, client: client_id },
          ...{ isGrouped: is_grouped, held },
        });
  } else if (kind === 'regroup' || (kind === 'update' && group)) {
    const {
      therapist_id = group?.therapist,
      start_time = group?.startTime,
      end_time = group?.endTime,
    } = request as Partial<BookedRow>;
    if (group) Object.assign(group, { therapist: therapist_id, startTime: start_time, endTime: end_time });
  }
  const over =
    (kind === 'update' || kind === 'patch') && session && 'status' in request
      ? (answer.body.rows as unknown[]).length > 0
        ? [session.id]
        : []
      : kind === 'cancel'
        ? (answer.body.summary as { cancelledSessionIds: string[] }).cancelledSessionIds
        : [];
  if (over.length > 0) {
    // What is over is asked for now and then only.
    for (const id of over) if (!/[0-2]$/.test(id)) shared.over.add(id);
    shared.sessions = shared.sessions.filter(({ id }) => !shared.over.has(id));
  }
  const joined = shared.groups.find(({ id }) => id === request.group_id);
  if (joined) joined.joined++;
  const changed = answer.body.series as { therapistId: string; clientId: string } | undefined;
  if (kind === 'hold' || kind === 'move')
    keep(shared.holds, {
      actor,
      therapist: changed?.therapistId ?? (request.therapist_id as string),
      client: changed?.clientId ?? (request.client_id as string),
      isGrouped: kind === 'hold' && ('client_ids' in request || 'group_id' in request),
      held: answer.body as unknown as KnownHold['held'],
    });
  const found =
    kind === 'confirm'
      ? (answer.body.sessions as BookedRow[])
      : kind === 'insert'
        ? [request as unknown as BookedRow]
        : kind === 'post'
          ? (answer.body.rows as object[]).map((row) => ({ ...request, ...row }) as unknown as BookedRow)
          : [];
  for (const { id, therapist_id, client_id, start_time, end_time, group_id, series_id } of found) {
    const known = shared.sessions.find((other) => other.id === id && other.clinic === clinic);
    if (known)
      Object.assign(known, { therapist: therapist_id, startTime: new Date(start_time).toISOString() });
    if (known || shared.over.has(id)) continue;
    const isGrouped = typeof group_id === 'string';
    keep(shared.sessions, {
      ...{ clinic, id, therapist: therapist_id, client: client_id, isGrouped },
      ...{ series: series_id ?? null, startTime: new Date(start_time).toISOString() },
    });
    if (isGrouped && !shared.groups.some((known) => known.id === group_id))
      keep(shared.groups, {
        ...{ clinic, id: group_id, therapist: therapist_id },
        ...{ startTime: start_time, endTime: end_time, joined: 0 },
      });
  }
}

/** Works until told to stop: plans a call, sends it (or several copies at once), remembers what it learns. */
export async function work(shared: Shared, worker: number): Promise<void> {
  const callers = Array.from({ length: 3 }, () => new Caller(shared.target));
  try {
    while (shared.running()) {
      const number = shared.numbers[worker] ?? 0;
      shared.numbers[worker] = number + 1;
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
