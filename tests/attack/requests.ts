/** What is asked: requests as an honest app makes them, or made from the catalog, and then bent. */
import type { Random } from '../torture/random.ts';
import { bent, crowdedWeek, DEEP_PATHS, deepJson, deepJsonOf, hostile } from './values.ts';
import {
  BRIGHT,
  type Column,
  HARBOR,
  type Relation,
  type SessionRow,
  SUCCESSOR,
  type World,
} from './world.ts';

/** A request. `headers` go beside those that name the caller. */
export type Ask = { method: string; path: string; body?: string; headers?: Record<string, string> };

/** The caller who has the secret key. */
export const BACKEND = 'service_role';

/** Mostly a session of her own, which is where a therapist gets further than a refusal. */
function sessionOf(world: World, email: string, chance: Random): SessionRow {
  const own = world.sessions.filter((session) => session.therapist_email === email);
  return chance.pick(own.length > 0 && chance.chance(0.8) ? own : world.sessions);
}

const instant = (at: number) => new Date(at).toISOString();

/** Fields that requests have in common, by name: whoever adds a function need not tell this. */
function fields(world: World, email: string, chance: Random) {
  const session = sessionOf(world, email, chance);
  const other = sessionOf(world, email, chance);
  const day = instant(Date.now() + chance.integer(1, 60) * 86_400_000).slice(0, 10);
  const times = {
    ...{ start_time: `${day}T18:00:00Z`, end_time: `${day}T19:00:00Z`, time_zone: 'UTC' },
    ...{ start_time_offset_minutes: 0, end_time_offset_minutes: 0 },
  };
  return {
    ...times,
    ...{ therapist_id: session.therapist_id, client_id: session.client_id, session_id: session.id },
    ...{ to_therapist_id: chance.pick(world.therapists), therapist_ids: world.therapists.slice(0, 2) },
    client_ids: [session.client_id, chance.pick(world.clients)].slice(0, chance.integer(1, 2)),
    ...{ session_ids: [session.id, other.id], hold_key: chance.uuid(), group_id: world.full.group_id },
    ...{ from_date: day, to_date: day, from: day, until: day, include_off_caseload: true },
    ...{ base_version: chance.pick([session.version, 1]), version: 1, purpose: 'x', attempted: 'sign' },
    ...{ reason: 'x', reason_code: 'wrong_time', remark: 'x', name: chance.uuid(), count: 3, scope: 'all' },
    ...{ undo: chance.pick(['completion', 'start', 'no_show']), cpt_code: '97153', location_type: 'home' },
    actual_start_time: session.start_time,
    actual_end_time: instant(Date.parse(session.start_time) + 3_600_000),
    override: { reason: 'x' },
    dry_run: chance.chance(0.5),
    on_conflict: chance.pick(['report', 'skip']),
    rows: [
      {
        ...times,
        therapist_id: session.therapist_id,
        client_id: session.client_id,
        external_id: chance.uuid(),
      },
    ],
  };
}

/** Requests as an honest app makes them, to be bent. */
function honest(
  world: World,
  email: string,
  chance: Random,
): { path: string; body: Record<string, unknown>; method?: string }[] {
  const session = sessionOf(world, email, chance);
  const known = fields(world, email, chance);
  const times = {
    ...{ start_time: known.start_time, end_time: known.end_time, time_zone: 'UTC' },
    ...{ start_time_offset_minutes: 0, end_time_offset_minutes: 0 },
  };
  const booking = { therapist_id: session.therapist_id, client_id: session.client_id, ...times };
  const content = { narrative: 'x', participants: ['client'], response: 'y', progress: 'z' };
  const sealed = sealedNote(world, session, chance);
  const rpc = (name: string, request: object) => ({ path: `/rest/v1/rpc/${name}`, body: { request } });
  const edge = (name: string, body: Record<string, unknown>) => ({ path: `/functions/v1/${name}`, body });
  const change = (filter: string, body: Record<string, unknown>) => ({
    ...{ method: 'PATCH', path: `/rest/v1/sessions?${filter}`, body },
  });
  const one = `organization_id=eq.${BRIGHT}&id=eq.${session.id}`;
  const catalogued = chance.pick(
    world.routines.filter((routine) => routine.arguments.some(({ name }) => name === 'request')),
  );
  return [
    edge('sessions-hold', booking),
    edge('sessions-hold', { ...booking, recurrence: { rule: 'FREQ=WEEKLY', count: 5 } }),
    edge('sessions-hold', {
      series: { series_id: session.series_id, scope: 'all', change: { therapist_id: session.therapist_id } },
    }),
    edge('sessions-confirm', { hold_key: chance.uuid(), session: booking, ...times }),
    edge('sessions-cancel', { session_ids: [session.id], reason: 'x' }),
    edge('sessions-cancel', { hold_key: chance.uuid() }),
    edge('session-notes', { action: 'save_draft', session_id: session.id, base_version: 0, content }),
    edge('session-notes', { action: 'sign', session_id: session.id, base_version: 1, content }),
    edge('session-notes', { action: 'read', session_id: session.id }),
    edge('client-details', { action: 'read', client_ids: [session.client_id] }),
    edge('client-details', { action: 'names', client_ids: [session.client_id, chance.pick(world.clients)] }),
    edge('client-details', {
      ...{ action: 'save', client_id: session.client_id, base_version: 0 },
      details: { given_name: 'x', family_name: 'y' },
    }),
    rpc('hold_sessions', booking),
    rpc('confirm_sessions', { hold_key: chance.uuid(), session: booking, ...times }),
    rpc('cancel_sessions', { session_ids: [session.id] }),
    rpc('extend_series', { series_id: session.series_id, count: 1 }),
    rpc('find_alternatives', booking),
    ...['preview_series', 'find_alternatives', 'hold_sessions'].map((name) =>
      rpc(name, {
        ...booking,
        client_id: undefined,
        client_ids: [session.client_id, chance.pick(world.clients)],
      }),
    ),
    rpc('start_session', { session_id: session.id, actual_start_time: instant(Date.now()) }),
    rpc('end_session', { session_id: session.id }),
    rpc('complete_session', { session_id: session.id }),
    rpc('mark_no_show', { session_id: session.id }),
    rpc('prepare_note', { session_id: session.id }),
    // What a therapist would most like to have done without doing it.
    ...['save_note_draft', 'amend_note', ...Array(4).fill('sign_note')].map((name) => rpc(name, sealed)),
    rpc('save_client_details', { ...sealed, client_id: session.client_id }),
    rpc('read_client_details', { client_ids: [session.client_id] }),
    rpc('read_client_names', { client_ids: [session.client_id, chance.pick(world.clients)] }),
    rpc('start_data_key', dataKey(chance)),
    {
      path: '/rest/v1/rpc/set_availability_hours',
      body: { availability_hours: crowdedWeek(2) },
    },
    // Any function of the catalog, with what its own text says it reads.
    ...[1, 2, 3].map(() =>
      rpc(
        catalogued.name,
        Object.fromEntries(Object.entries(known).filter(([name]) => catalogued.fields.includes(name))),
      ),
    ),
    // What a session is, but for one thing.
    change(one, { therapist_id: chance.pick(world.therapists) }),
    change(one, { therapist_id: chance.pick(world.therapists) }),
    change(one, { status: chance.pick(['in_progress', 'no_show', 'cancelled', 'completed']) }),
    change(one, times),
    change(one, { cpt_code: chance.pick(['97155', '97153', '97156']) }),
    change(`therapist_id=eq.${session.therapist_id}`, { location_type: 'home' }),
    { method: 'PUT', path: '/auth/v1/user', body: { data: { a: chance.pick(['x', 1, null]) } } },
    ...['signup', 'otp'].map((way) => ({ path: `/auth/v1/${way}`, body: newcomer(chance) })),
  ];
}

/** What somebody inside would most like to have done without being allowed to. */
function insiders(world: World, email: string, chance: Random): Ask[] {
  const own = world.sessions.filter((session) => session.therapist_email === email);
  // A visit that is over, and the session that is furthest ahead: what they are must not depend on the day.
  const over = own.filter(({ status }) => status === 'completed');
  const session = chance.pick(over.length > 0 ? over : world.sessions);
  const [scheduled = session] = own
    .filter(({ status }) => status === 'scheduled')
    .toSorted((a, b) => Number(new Date(b.start_time)) - Number(new Date(a.start_time)));
  const one = (id: string) => `/rest/v1/sessions?organization_id=eq.${BRIGHT}&id=eq.${id}`;
  const start = Date.now() + chance.integer(24, 1400) * 3_600_000;
  const times = { start_time: instant(start), end_time: instant(start + 3_600_000), time_zone: 'UTC' };
  const strangers = world.clients.filter((id) =>
    world.sessions.every(({ client_id, therapist_email }) => client_id !== id || therapist_email !== email),
  );
  const both = {
    ...{ therapist_id: session.therapist_id, client_id: session.client_id },
    ...{
      ...times,
      client_ids: [session.client_id, chance.pick(strangers.length > 0 ? strangers : world.clients)],
    },
  };
  const ask = (method: string, path: string, body: object): Ask => ({
    method,
    path,
    body: JSON.stringify(body),
  });
  const rpc = (name: string, body: object) => ask('POST', `/rest/v1/rpc/${name}`, body);
  const successor = email.includes('lakeside') ? SUCCESSOR : chance.pick(world.therapists);
  const away = { organization_id: BRIGHT, therapist_id: session.therapist_id, kind: 'time_off' };
  return [
    ask('PATCH', one(scheduled.id), { therapist_id: successor }),
    // All of one's own at once: the database asks fewer policies of a statement without a condition.
    ask('PATCH', '/rest/v1/sessions', { therapist_id: successor }),
    ...['no_show', 'in_progress'].map((status) => ask('PATCH', one(scheduled.id), { status })),
    rpc('mark_no_show', { request: { session_id: scheduled.id } }),
    ...['preview_series', 'find_alternatives'].map((name) => rpc(name, { request: both })),
    rpc('set_availability_hours', { availability_hours: crowdedWeek(700) }),
    rpc('set_availability_hours', { availability_hours: crowdedWeek(12) }),
    ...['294276-12-31T10:00:00Z', '9999-01-01T00:00:00Z', '1970-01-01T00:00:00Z'].map((starts_at) =>
      ask('POST', '/rest/v1/availability_exceptions', {
        ...{ ...away, starts_at, ends_at: starts_at.replace('00:00Z', '30:00Z') },
      }),
    ),
    rpc('sign_note', { request: sealedNote(world, session, chance) }),
    rpc('start_data_key', { request: dataKey(chance) }),
    ask('POST', '/functions/v1/sessions-cancel', {
      session_ids: Array.from({ length: 300 }, () => chance.uuid()),
    }),
    ask('PUT', '/auth/v1/user', { data: { a: 'x' } }),
    ...['signup', 'otp'].map((way) => ask('POST', `/auth/v1/${way}`, newcomer(chance))),
  ];
}

/** A note that nobody has sealed. */
function sealedNote(world: World, session: SessionRow, chance: Random): Record<string, unknown> {
  return {
    ...{ session_id: session.id, base_version: session.version, id: chance.uuid() },
    ...{ content_mac: '0'.repeat(64), facts_digest: session.facts_digest },
    ciphertext: `tsb1.${world.keyId}.AAAAAAAAAAAAAAAA.${'A'.repeat(40)}`,
    proof: `tsp1.local-development.${'A'.repeat(43)}`,
  };
}

/** A data key that nobody can open. */
function dataKey(chance: Random): Record<string, unknown> {
  return {
    ...{ key_id: chance.uuid(), wrapped_key: `twk1.x.AAAAAAAAAAAAAAAA.${'A'.repeat(107)}` },
    proof: `tsp1.local-development.${'A'.repeat(43)}`,
  };
}

function newcomer(chance: Random): Record<string, unknown> {
  return { email: `${chance.uuid()}@stranger.test`, password: 'long-enough-1234', create_user: true };
}

/** Where an attack begins: what each of these people would most like, once, as it is, and a look at everything. */
export function opening(world: World, emails: string[], chance: Random): { email: string; ask: Ask }[] {
  return [
    ...emails.flatMap((email) => insiders(world, email, chance).map((ask) => ({ email, ask }))),
    ...backendAsks(world, chance).map((ask) => ({ email: BACKEND, ask })),
    ...world.relations.flatMap(({ schema, name }) => {
      const headers: Record<string, string> = schema === 'public' ? {} : { 'accept-profile': schema };
      const ask: Ask = { method: 'GET', path: `/rest/v1/${name}?limit=200`, headers };
      return emails.map((email) => ({ email, ask }));
    }),
    ...DEEP_PATHS.flatMap((path) =>
      [6_500, 100_000].map((levels) => ({ email: emails[0] ?? '', ask: deepJsonOf(path, levels) })),
    ),
  ];
}

/** Requests that only a backend may make; it writes rows of one clinic, whatever they become. */
function backendAsks(world: World, chance: Random): Ask[] {
  const session = chance.pick(world.sessions);
  const ahead = chance.pick(world.sessions.filter(({ status }) => status === 'scheduled'));
  const one = (id: string) => `/rest/v1/sessions?organization_id=eq.${BRIGHT}&id=eq.${id}`;
  const change = (path: string, body: object): Ask => ({ method: 'PATCH', path, body: JSON.stringify(body) });
  return [
    ...world.joiners.map((id) => change(one(id), { ...world.full })),
    change(one(ahead.id), { status: chance.pick(['in_progress', 'no_show', 'completed']) }),
    change(one(session.id), { status: chance.pick(['in_progress', 'cancelled', 'scheduled']) }),
    change(one(session.id), { therapist_id: chance.pick(world.therapists) }),
    change(one(session.id), { time_zone: 'America/New_York' }),
    change(one(session.id), { cpt_code: '97155' }),
    change(one(session.id), { start_time: '9999-01-01T10:00:00Z', end_time: '9999-01-01T11:00:00Z' }),
    change(`/rest/v1/clients?organization_id=eq.${BRIGHT}&id=eq.${session.client_id}`, {
      deleted_at: '2026-01-01',
    }),
  ];
}

/** A row that an honest app could insert, as far as its columns go by common names. */
function honestRow(world: World, email: string, columns: Column[], chance: Random): Record<string, unknown> {
  const session = sessionOf(world, email, chance);
  const start = Date.now() + chance.integer(1, 900) * 3_600_000;
  const instant = (at: number) => new Date(at).toISOString();
  const known: Record<string, unknown> = {
    ...{ organization_id: BRIGHT, therapist_id: session.therapist_id, client_id: session.client_id },
    ...{
      start_time: instant(start),
      end_time: instant(start + 3_600_000),
      time_zone: 'UTC',
      kind: 'time_off',
    },
    ...{
      starts_at: instant(start),
      ends_at: instant(start + 3_600_000),
      reference: chance.uuid(),
      name: chance.uuid(),
    },
    ...{ valid_from: '2026-01-01', starts_on: '2026-01-01', ends_on: '2027-12-31', approved_units: 10 },
    ...{
      cpt_code: '97153',
      location_type: 'clinic',
      priority: 1,
      windows: `{[${instant(start)},${instant(start + 7_200_000)})}`,
    },
  };
  return Object.fromEntries(
    columns.filter(({ name }) => name in known).map(({ name }) => [name, known[name]]),
  );
}

/**
 * One request that began honest or from the catalog, and is bent.
 *
 * @param chosen - receives every id that the caller chose for a row: from here on it is no sign of the other clinic's
 */
export function nextAsk(world: World, email: string, chosen: Set<string>, chance: Random): Ask {
  if (email === BACKEND) {
    const ask = chance.pick(backendAsks(world, chance));
    return chance.chance(0.3) ? bendBody(ask, world.ours, chance) : ask;
  }
  const ids = [...world.ours, ...world.theirs];
  const kind = chance.integer(0, 99);
  if (kind < 1) return deepJson(chance);
  if (kind < 13) {
    const ask = chance.pick(insiders(world, email, chance));
    return chance.chance(0.3) ? bendBody(ask, ids, chance) : ask;
  }
  if (kind < 50) {
    const { path, body, method = 'POST' } = chance.pick(honest(world, email, chance));
    const times = chance.pick([0, 0, 1, 1, 2]);
    let request: unknown = body;
    for (let time = 0; time < times; time++) request = bent(request, ids, chance);
    return { method, path, body: JSON.stringify(request) };
  }
  if (kind < 60) {
    const routine = chance.pick(world.routines);
    const given = Object.fromEntries(
      routine.arguments
        .filter(() => chance.chance(0.9))
        .map(({ name, type }) => [name, hostile(type, ids, chance)]),
    );
    return { method: 'POST', path: `/rest/v1/rpc/${routine.name}`, body: JSON.stringify(given) };
  }
  // Writes go where something may be written, most of the time; reads go everywhere.
  const writes = kind >= 80 && email !== '';
  const writable = world.relations.filter(({ columns }) => columns.some(({ insertable }) => insertable));
  return askRelation(
    world,
    email,
    chance.pick(writes && chance.chance(0.9) ? writable : world.relations),
    writes,
    chosen,
    chance,
  );
}

function bendBody(ask: Ask, ids: readonly string[], chance: Random): Ask {
  return { ...ask, body: JSON.stringify(bent(JSON.parse(ask.body ?? '{}'), ids, chance)) };
}

function askRelation(
  world: World,
  email: string,
  relation: Relation,
  writes: boolean,
  chosen: Set<string>,
  chance: Random,
): Ask {
  const ids = [...world.ours, ...world.theirs];
  const headers: Record<string, string> =
    relation.schema === 'public'
      ? {}
      : { 'accept-profile': relation.schema, 'content-profile': relation.schema };
  const path = `/rest/v1/${relation.name}`;
  const column = chance.pick(relation.columns);
  const filter = () => {
    if (chance.chance(0.5)) return `organization_id=eq.${chance.pick([BRIGHT, BRIGHT, HARBOR])}`;
    const value = hostile(column.type, ids, chance);
    const text = typeof value === 'string' ? value : JSON.stringify(value);
    const operator = chance.pick(['eq', 'eq', 'gt', 'like', 'in', 'is', 'ov', 'cs', 'not.eq', 'fts']);
    return `${column.name}=${operator}.${encodeURIComponent(text.slice(0, 500).toWellFormed())}`;
  };
  // Nobody writes a view; PostgREST makes a 500 of the attempt.
  if (!writes || relation.kind === 'v')
    return { method: 'GET', path: `${path}?${chance.chance(0.5) ? 'limit=50' : filter()}`, headers };
  const method = chance.pick(['POST', 'POST', 'PATCH', 'PATCH', 'PATCH', 'DELETE']);
  if (method === 'DELETE') return { method, path: `${path}?${filter()}`, headers };
  const allowed = relation.columns.filter(({ insertable, updatable }) =>
    method === 'POST' ? insertable : updatable,
  );
  const candidates = allowed.length > 0 && chance.chance(0.9) ? allowed : relation.columns;
  const row: Record<string, unknown> = {};
  if (method === 'POST') Object.assign(row, honestRow(world, email, candidates, chance));
  // One or two things are wrong with it.
  for (let wrong = chance.integer(0, 2); wrong >= 0; wrong--) {
    const { name, type } = chance.pick(candidates);
    if (wrong > 0 || method === 'PATCH') row[name] = hostile(type, ids, chance);
  }
  // An id may be chosen, also one that the other clinic has: from here on it is no sign of theirs.
  for (const value of Object.values(row)) if (typeof value === 'string') chosen.add(value);
  const body = JSON.stringify(method === 'POST' && chance.chance(0.2) ? [row, row] : row);
  return { method, path: method === 'PATCH' ? `${path}?${filter()}` : path, body, headers };
}
