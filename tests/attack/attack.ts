/**
 * A standing attack: everybody in turn, against every table, view and function the API shows, with hostile values made from
 * the catalog. It knows nothing of the rules; what it looks for must never be, whatever is sent:
 *
 * - an answer of 500 and above that does not say "try again" (503), or that a key is missing;
 * - a word of Postgres in an answer of an edge function;
 * - a row of the other clinic in an answer, or a change of it;
 * - a sealed text anywhere but where it may be read;
 * - a broken invariant, a broken chain, a report that can no longer be read, a signature that nothing stands behind, a
 *   refusal that writes without end.
 */
import pg from 'pg';
import type { Stack } from '../../local/stack.ts';
import { brokenInvariants } from '../setup/invariants.ts';
import { type Random, random } from '../torture/random.ts';
import { bent, canaries, hostile } from './values.ts';

/** Something that must never be, and the request it was seen with. */
export type Finding = { what: string; request: string; answer: string };

/** What an attack did. */
export type AttackReport = {
  seed: number;
  requests: number;
  answers: Record<string, number>;
  findings: Finding[];
};

/** Who attacks. All of Bright Path but the stranger, who has no account, and nobody, who has no clinic. */
const attackers = ['', 'nobody@example.test', 'parent', 'rbt', 'rbt2', 'bcba', 'admin', 'super'].map(
  (name) => (name === '' || name.includes('@') ? name : `${name}@brightpath.test`),
);
/** Weighted towards those who may do something, and most towards those who may do little. */
const turns = [0, 1, 2, 2, 3, 3, 3, 4, 5, 6, 6, 7];

type Column = { name: string; type: string; insertable?: boolean; updatable?: boolean };
type Relation = { schema: string; name: string; columns: Column[]; kind: string; reachable: boolean };
type Routine = { name: string; arguments: Column[] };
type World = {
  relations: Relation[];
  routines: Routine[];
  ours: string[];
  theirs: string[];
  sessions: {
    id: string;
    therapist_id: string;
    client_id: string;
    facts_digest: string;
    therapist_email: string;
    version: number;
  }[];
  /** Bright Path's data key, which its therapists are told the id of. */
  keyId: string;
};

const BRIGHT = 'a0000000-0000-4000-8000-0000000000a0';
const HARBOR = 'b0000000-0000-4000-8000-0000000000b0';

async function readWorld(db: pg.Client): Promise<World> {
  const { rows: relations } = await db.query<Relation>(
    `select relation.relnamespace::regnamespace::text as schema, relation.relname as name, relation.relkind as kind,
        relation.relnamespace::regnamespace::text in ('public', 'reports') as reachable,
        json_agg(json_build_object('name', attname, 'type', format_type(atttypid, null),
          'insertable', has_column_privilege('authenticated', relation.oid, attnum, 'insert'),
          'updatable', has_column_privilege('authenticated', relation.oid, attnum, 'update')) order by attnum) as columns
      from pg_class as relation join pg_attribute on attrelid = relation.oid and attnum > 0 and not attisdropped
      where relation.relnamespace::regnamespace::text in ('public', 'reports', 'private', 'audit')
        and relation.relkind in ('r', 'p', 'v') and not relation.relispartition
      group by relation.oid order by 1, 2`,
  );
  const { rows: routines } = await db.query<Routine>(
    `select proname as name, coalesce((
        select json_agg(json_build_object('name', argument.name, 'type', format_type(argument.type, null)) order by argument.position)
        from unnest(proargnames, proargtypes::oid[]) with ordinality as argument (name, type, position)
        where argument.type is not null), '[]') as arguments
      from pg_proc where pronamespace = 'public'::regnamespace and has_function_privilege('authenticated', oid, 'execute')
      order by 1`,
  );
  const idsOf = async (clinic: string) => {
    const tables = [
      'clients',
      'sessions',
      'rooms',
      'payers',
      'authorizations',
      'hold_batches',
      'session_holds',
    ];
    const { rows } = await db.query<{ id: string }>(
      tables.map((table) => `select id from public.${table} where organization_id = $1`).join(' union ') +
        ' union select user_id from public.memberships where organization_id = $1 union select $1::uuid',
      [clinic],
    );
    return rows.map(({ id }) => id);
  };
  const { rows: sessions } = await db.query(
    `select session.id, therapist_id, client_id, email as therapist_email, private.text_digest(private.session_facts(session)::text) as facts_digest,
        coalesce((select state.version from public.session_note_states as state where state.session_id = session.id), 0)::integer as version
      from public.sessions as session join auth.users as person on person.id = therapist_id where organization_id = $1
      order by status in ('in_progress', 'completed') desc, start_time desc limit 60`,
    [BRIGHT],
  );
  return { relations, routines, ours: await idsOf(BRIGHT), theirs: await idsOf(HARBOR), sessions, keyId: '' };
}

/** A digest of everything of the other clinic. */
async function stateOf(db: pg.Client, relations: Relation[]): Promise<string> {
  const tables = relations.filter(
    ({ kind, columns, schema }) =>
      kind !== 'v' && schema !== 'audit' && columns.some(({ name }) => name === 'organization_id'),
  );
  const parts: string[] = [];
  for (const { schema, name } of tables) {
    const { rows } = await db.query(
      `select md5(coalesce(string_agg(line, '' order by line), '')) as digest
        from (select to_jsonb(rows)::text as line from ${schema}.${name} as rows where organization_id = $1) as lines`,
      [HARBOR],
    );
    parts.push(`${schema}.${name} ${rows[0].digest}`);
  }
  return parts.join('\n');
}

/** Mostly a session of her own, which is where a therapist gets further than a refusal. */
function sessionOf(world: World, email: string, chance: Random) {
  const own = world.sessions.filter((session) => session.therapist_email === email);
  return chance.pick(own.length > 0 && chance.chance(0.8) ? own : world.sessions);
}

/** Requests as an honest app makes them, to be bent. */
function honest(
  world: World,
  email: string,
  chance: Random,
): { path: string; body: Record<string, unknown> }[] {
  const session = sessionOf(world, email, chance);
  const day = new Date(Date.now() + chance.integer(1, 60) * 86_400_000).toISOString().slice(0, 10);
  const times = {
    ...{ start_time: `${day}T18:00:00Z`, end_time: `${day}T19:00:00Z`, time_zone: 'UTC' },
    ...{ start_time_offset_minutes: 0, end_time_offset_minutes: 0 },
  };
  const booking = { therapist_id: session.therapist_id, client_id: session.client_id, ...times };
  const content = { narrative: 'x', participants: ['client'], response: 'y', progress: 'z' };
  const sealed = {
    ...{ session_id: session.id, base_version: session.version, id: chance.uuid() },
    content_mac: '0'.repeat(64),
    ...{
      ciphertext: `tsb1.${chance.uuid()}.AAAAAAAAAAAAAAAA.${'A'.repeat(40)}`,
      facts_digest: '0'.repeat(64),
    },
    proof: `tsp1.local-development.${'A'.repeat(43)}`,
  };
  const rpc = (name: string, request: object) => ({ path: `/rest/v1/rpc/${name}`, body: { request } });
  const edge = (name: string, body: Record<string, unknown>) => ({ path: `/functions/v1/${name}`, body });
  return [
    edge('sessions-hold', booking),
    edge('sessions-hold', { ...booking, recurrence: { rule: 'FREQ=WEEKLY', count: 5 } }),
    edge('sessions-confirm', { hold_key: chance.uuid(), session: booking, ...times }),
    edge('sessions-cancel', { session_ids: [session.id], reason: 'x' }),
    edge('sessions-cancel', { hold_key: chance.uuid() }),
    edge('session-notes', { action: 'save_draft', session_id: session.id, base_version: 0, content }),
    edge('session-notes', { action: 'sign', session_id: session.id, base_version: 1, content }),
    edge('session-notes', { action: 'read', session_id: session.id }),
    edge('client-details', { action: 'read', client_ids: [session.client_id] }),
    edge('client-details', {
      ...{ action: 'save', client_id: session.client_id, base_version: 0 },
      details: { given_name: 'x', family_name: 'y' },
    }),
    rpc('hold_sessions', booking),
    rpc('confirm_sessions', { hold_key: chance.uuid(), session: booking, ...times }),
    rpc('cancel_sessions', { session_ids: [session.id] }),
    rpc('find_alternatives', booking),
    rpc('preview_series', { ...booking, client_ids: [session.client_id] }),
    rpc('start_session', { session_id: session.id, actual_start_time: new Date().toISOString() }),
    rpc('end_session', { session_id: session.id }),
    rpc('complete_session', { session_id: session.id }),
    rpc('mark_no_show', { session_id: session.id }),
    rpc('prepare_note', { session_id: session.id }),
    // What a therapist would most like to have done without doing it.
    ...['save_note_draft', 'amend_note', ...Array(8).fill('sign_note')].map((name) => rpc(name, sealed)),
    rpc('save_client_details', { ...sealed, client_id: session.client_id }),
    rpc('read_client_details', { client_ids: [session.client_id] }),
    rpc('start_data_key', {
      ...{ key_id: chance.uuid(), wrapped_key: `twk1.x.AAAAAAAAAAAAAAAA.${'A'.repeat(107)}` },
      proof: sealed.proof,
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

/** The words of Postgres that an edge function must not repeat. */
const POSTGRES =
  /violates|constraint "|relation "|SQLSTATE|syntax error at|pg_catalog|PL\/pgSQL|private\.\w+/;

/**
 * Attacks a stack of its own for a while.
 *
 * @param stack - seeded, with functions; it is not fit for anything else afterwards
 * @param seed - chooses every request
 * @param end - milliseconds since 1970 at which the last request is made, or how many each of six workers makes
 */
export async function attack(
  stack: Stack,
  seed: number,
  end: { until: number } | { turns: number },
): Promise<AttackReport> {
  const db = new pg.Client({ connectionString: stack.dbUrl });
  await db.connect();
  // The embedded REST service prints a stack trace for every filter it cannot read.
  const { error } = console;
  console.error = () => {};
  const tokens = new Map<string, string>();
  const findings: Finding[] = [];
  const answers: Record<string, number> = {};
  const chosen = new Set<string>();
  let requests = 0;

  async function send(email: string, method: string, path: string, body?: string, headers = {}) {
    const token = tokens.get(email);
    const response = await fetch(`${stack.apiUrl}${path}`, {
      method,
      ...(body === undefined ? {} : { body }),
      headers: {
        ...{ apikey: stack.publishableKey, 'content-type': 'application/json' },
        ...(token ? { authorization: `Bearer ${token}` } : {}),
        ...headers,
      },
    });
    return { status: response.status, text: await response.text() };
  }

  async function signIn(email: string): Promise<void> {
    const body = JSON.stringify({ email, password: 'demo-password-1234' });
    const { text } = await send('', 'POST', '/auth/v1/token?grant_type=password', body);
    tokens.set(email, JSON.parse(text).access_token);
  }

  const found = (what: string, request: string, answer: string) => {
    if (findings.length < 200)
      findings.push({ what, request: request.slice(0, 1500), answer: answer.slice(0, 400) });
  };

  /** One request that began honest or from the catalog, and is bent. */
  function next(world: World, email: string, chance: Random) {
    const ids = [...world.ours, ...world.theirs];
    const kind = chance.integer(0, 9);
    if (kind < 4) {
      const { path, body } = chance.pick(honest(world, email, chance));
      const times = chance.pick([0, 0, 1, 1, 2]);
      let request: unknown = body;
      for (let time = 0; time < times; time++) request = bent(request, ids, chance);
      return { method: 'POST', path, body: JSON.stringify(request) };
    }
    if (kind < 5) {
      const routine = chance.pick(world.routines);
      const given = Object.fromEntries(
        routine.arguments
          .filter(() => chance.chance(0.9))
          .map(({ name, type }) => [name, hostile(type, ids, chance)]),
      );
      return { method: 'POST', path: `/rest/v1/rpc/${routine.name}`, body: JSON.stringify(given) };
    }
    // Writes go where something may be written, most of the time; reads go everywhere.
    const writes = kind >= 7 && email !== '';
    const writable = world.relations.filter(({ columns }) => columns.some(({ insertable }) => insertable));
    const relation = chance.pick(writes && chance.chance(0.9) ? writable : world.relations);
    const profile =
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
      return {
        method: 'GET',
        path: `${path}?${chance.chance(0.5) ? 'limit=50' : filter()}`,
        headers: profile,
      };
    const method = chance.pick(['POST', 'POST', 'PATCH', 'PATCH', 'PATCH', 'DELETE']);
    if (method === 'DELETE') return { method, path: `${path}?${filter()}`, headers: profile };
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
    return { method, path: method === 'PATCH' ? `${path}?${filter()}` : path, body, headers: profile };
  }

  function judge(
    email: string,
    line: string,
    path: string,
    status: number,
    text: string,
    theirs: string[],
  ): void {
    answers[`${status}`] = (answers[`${status}`] ?? 0) + 1;
    const edge = path.startsWith('/functions/');
    if (status >= 500 && status !== 503 && !text.includes('CONTENT_UNREADABLE'))
      found(`answered ${status}`, line, text);
    if (edge && POSTGRES.test(text)) found('an edge function repeats Postgres', line, text);
    if (Object.values(canaries).some((canary) => text.includes(canary))) {
      const mayRead = edge && !['', 'nobody@example.test'].includes(email);
      if (!mayRead) found('a sealed text came out', line, text);
    }
    const leaked = theirs.find((id) => text.includes(id) && !line.includes(id) && !chosen.has(id));
    if (leaked) found(`a row of the other clinic came out (${leaked})`, line, text);
  }

  try {
    for (const email of attackers) if (email !== '') await signIn(email);
    await signIn('admin@harbor.test');
    await plantCanaries(send, await readWorld(db));
    const world = await readWorld(db);
    const { rows: keys } = await db.query<{ id: string }>(
      'select id from private.data_keys where organization_id = $1 and retired_at is null',
      [BRIGHT],
    );
    world.keyId = keys[0]?.id ?? '';
    const before = await stateOf(db, world.relations);
    const worker = async (number: number) => {
      for (let turn = 0; 'turns' in end ? turn < end.turns : Date.now() < end.until; turn++) {
        const chance = random(seed, 'attack', number, turn);
        const email = attackers[chance.pick(turns)] ?? '';
        const { method, path, body, headers } = next(world, email, chance);
        const line = `${email || 'a stranger'} ${method} ${path} ${body ?? ''}`;
        requests++;
        const answer = await send(email, method, path, body, headers ?? {}).catch((error: Error) => ({
          status: 0,
          text: error.message,
        }));
        if (answer.status === 0) found('no answer', line, answer.text);
        else judge(email, line, path, answer.status, answer.text, world.theirs);
      }
    };
    await Promise.all(Array.from({ length: 6 }, (_, number) => worker(number)));
    await afterwards(db, world, before, found, send);
  } finally {
    console.error = error;
    await db.end();
  }
  return { seed, requests, answers, findings };
}

type Send = (
  email: string,
  method: string,
  path: string,
  body?: string,
  headers?: object,
) => Promise<{ status: number; text: string }>;

async function plantCanaries(send: Send, world: World): Promise<void> {
  const save = (email: string, name: string, body: object) =>
    send(email, 'POST', `/functions/v1/${name}`, JSON.stringify(body));
  for (const { id, client_id } of world.sessions.slice(0, 20)) {
    const note = {
      action: 'save_draft',
      session_id: id,
      base_version: 0,
      content: { narrative: canaries.narrative },
    };
    for (const email of ['rbt@brightpath.test', 'bcba@brightpath.test'])
      await save(email, 'session-notes', note);
    const details = { given_name: canaries.name, family_name: 'x' };
    await save('admin@brightpath.test', 'client-details', {
      action: 'save',
      client_id,
      base_version: 0,
      details,
    });
  }
}

/** What must be true when all is over. */
async function afterwards(
  db: pg.Client,
  world: World,
  before: string,
  found: (what: string, request: string, answer: string) => void,
  send: Send,
): Promise<void> {
  for (const { rule, rows } of await brokenInvariants(db)) found(`broken: ${rule}`, '', JSON.stringify(rows));
  const { rows: chains } = await db.query('select * from audit.verify()');
  if (chains.length > 0) found('the audit’s chains are broken', '', JSON.stringify(chains));
  if ((await stateOf(db, world.relations)) !== before) found('the other clinic was changed', '', '');
  for (const { schema, name } of world.relations.filter(({ schema }) => schema === 'reports'))
    for (const email of ['admin@brightpath.test', 'admin@harbor.test']) {
      const { status, text } = await send(email, 'GET', `/rest/v1/${name}?limit=5`, undefined, {
        'accept-profile': schema,
      });
      if (status !== 200) found(`report ${name} answers ${status}`, email, text);
    }
  for (const { schema, name, columns, kind } of world.relations)
    for (const { name: column, type } of columns)
      if (kind !== 'v' && schema !== 'audit' && /^(date|timestamp)/.test(type)) {
        const { rows } = await db.query(
          `select "${column}"::text as value from ${schema}.${name} where "${column}" < '2000-01-01' or "${column}" >= '2100-01-01' limit 1`,
        );
        if (rows.length > 0)
          found(`${schema}.${name}.${column} has a date that cannot be`, '', rows[0].value);
      }
  const { rows: large } = await db.query(
    "select action, length(to_jsonb(events)::text) as characters from audit.events where outcome = 'refused' and length(to_jsonb(events)::text) > 8192",
  );
  if (large.length > 0) found('a refusal wrote without end', '', JSON.stringify(large.slice(0, 5)));
  const { rows: signed } = await db.query<{ session_id: string }>(
    "select session_id from public.session_note_states where organization_id = $1 and status <> 'draft'",
    [BRIGHT],
  );
  for (const { session_id } of signed) {
    const body = JSON.stringify({ action: 'read', session_id });
    const { status, text } = await send('admin@brightpath.test', 'POST', '/functions/v1/session-notes', body);
    if (status !== 200) found('a signed note does not open', session_id, text);
  }
}
