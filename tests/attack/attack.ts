/**
 * A standing attack: everybody in turn, against every table, view and function the API shows, with hostile values made from
 * the catalog. It knows nothing of the rules; what it looks for must never be, whatever is sent:
 *
 * - an answer of 500 and above that does not say "try again" (503), or that a key is missing;
 * - a word of Postgres in an answer of an edge function;
 * - a row of the other clinic in an answer, or a change of it;
 * - a sealed text anywhere but where it may be read;
 * - afterwards (oracles.ts): a broken invariant, a broken chain, a report that can no longer be read, a signature that
 *   nothing stands behind, a refusal that writes without end, somebody else's session changed;
 * - and what somebody with SQL or a second connection could do (probes.ts).
 */
import pg from 'pg';
import type { Stack } from '../../local/stack.ts';
import { type Random, random } from '../torture/random.ts';
import { lookAfterwards, type Send, stateBefore, type Told } from './oracles.ts';
import { probe } from './probes.ts';
import { type Ask, BACKEND, nextAsk, opening } from './requests.ts';
import { canaries } from './values.ts';
import { prepareWorld, readWorld, type World } from './world.ts';

/** Something that must never be, and the request it was seen with. */
export type Finding = { what: string; request: string; answer: string };

/** What an attack did. */
export type AttackReport = {
  seed: number;
  requests: number;
  answers: Record<string, number>;
  findings: Finding[];
};

const bright = (name: string) => `${name}@brightpath.test`;
/**
 * Who attacks: all of Bright Path, their backend, a therapist of a clinic that has no data key yet, a stranger without an
 * account, and somebody without a clinic. Weighted towards those who may do something, and most towards those who may do
 * little.
 */
const attackers = [
  ...['', 'nobody@example.test', 'rbt@lakeside.test', BACKEND],
  ...['parent', 'parent', 'rbt', 'rbt', 'rbt', 'rbt2', 'bcba', 'admin', 'admin', 'super'].map(bright),
];

/** The words of Postgres that an edge function must not repeat. */
const POSTGRES =
  /violates|constraint "|relation "|SQLSTATE|syntax error at|pg_catalog|PL\/pgSQL|private\.\w+/;

/** What only the other clinic's rows say. */
const HARBORS_WORDS = /Harbor Behavioral|Lighthouse|HB-000|Morgan Shaw|Casey Lind|harbor\.test/;

const UUID = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g;

/** What shows events, which keep the ids that a refused request named. */
const TRAILS = /audit|history|record_access/;

/** What an attack has seen. */
class Judge {
  readonly findings: Finding[] = [];
  readonly answers: Record<string, number> = {};
  readonly told: Told[] = [];
  /** Ids that rows were given by a caller, and ids that anybody has ever named. */
  readonly chosen = new Set<string>();
  readonly named = new Set<string>();

  found = (what: string, request: string, answer: unknown): void => {
    const text = typeof answer === 'string' ? answer : JSON.stringify(answer);
    // A hole is told a few times, whichever rows it shows, so that it hides no other.
    const kind = what.replace(/\(.*\)/, '');
    if (this.findings.filter((finding) => finding.what.startsWith(kind)).length < 3)
      this.findings.push({ what, request: request.slice(0, 1500), answer: text.slice(0, 400) });
  };

  /** Before a request is sent: others may see what it names before its answer comes. */
  remember({ method, path, body }: Ask): void {
    if (method !== 'GET') for (const [id] of `${path} ${body ?? ''}`.matchAll(UUID)) this.named.add(id);
  }

  look(world: World, email: string, ask: Ask, status: number, text: string): void {
    const { path, body = '' } = ask;
    const line = `${email || 'a stranger'} ${ask.method} ${path} ${body}`;
    this.answers[`${status}`] = (this.answers[`${status}`] ?? 0) + 1;
    const edge = path.startsWith('/functions/');
    // PostgREST itself answers 500 for a filter that Postgres finds too complex (54*), before anything else is asked.
    const isPostgrests = path.startsWith('/rest/v1/') && !path.includes('/rpc/') && /"code":"54/.test(text);
    if (status >= 500 && status !== 503 && !text.includes('CONTENT_UNREADABLE') && !isPostgrests)
      this.found(`answered ${status}`, line, text);
    if (edge && POSTGRES.test(text)) this.found('an edge function repeats Postgres', line, text);
    if (Object.values(canaries).some((canary) => text.includes(canary))) {
      const mayRead = edge && !['', 'nobody@example.test'].includes(email);
      if (!mayRead) this.found('a sealed text came out', line, text);
    }
    // Somebody may have been made a member of this clinic by an admin who guessed their id.
    for (const [id] of `${path} ${body}`.matchAll(UUID))
      if (status < 300 && ask.method !== 'GET') this.chosen.add(id);
    if (email === BACKEND) return;
    const known = TRAILS.test(path) ? this.named : this.chosen;
    const leaked = world.theirs.find((id) => text.includes(id) && !line.includes(id) && !known.has(id));
    if (leaked) this.found(`a row of the other clinic came out (${leaked})`, line, text);
    const word = HARBORS_WORDS.exec(text)?.[0];
    if (word && !line.includes(word)) this.found(`a row of the other clinic came out (${word})`, line, text);
    this.listen(email, ask, line, status, text);
  }

  /** A technician who was answered about clients: whether those are theirs is looked up when all is over. */
  private listen(email: string, { path, body }: Ask, request: string, status: number, text: string): void {
    if (status !== 200 || !/rbt2?@brightpath|bcba@brightpath/.test(email)) return;
    if (!/preview_series|find_alternatives|hold_sessions|sessions-hold/.test(path)) return;
    if (!/^\[|"occurrences"|"ok":\s*true|"success":\s*true/.test(text)) return;
    const clientIds = [...(body ?? '').matchAll(/"client_ids?":\s*(\[[^\]]*\]|"[^"]*")/g)].flatMap(
      ([field]) => [...field.matchAll(UUID)],
    );
    if (clientIds.length > 0 && this.told.length < 20_000)
      this.told.push({ email, clientIds: clientIds.map(([id]) => id), request });
  }
}

/** Sends requests as whoever has signed in. */
async function signedIn(stack: Stack, emails: Iterable<string>): Promise<Send> {
  const tokens = new Map<string, string>();
  const send: Send = async (email, method, path, body, headers = {}) => {
    const token = tokens.get(email);
    const response = await fetch(`${stack.apiUrl}${path}`, {
      method,
      ...(body === undefined ? {} : { body }),
      headers: {
        apikey: email === BACKEND ? stack.secretKey : stack.publishableKey,
        'content-type': 'application/json',
        ...(token ? { authorization: `Bearer ${token}` } : {}),
        ...headers,
      },
    });
    return { status: response.status, text: await response.text() };
  };
  for (const email of emails) {
    const body = JSON.stringify({ email, password: 'demo-password-1234' });
    const { text } = await send('', 'POST', '/auth/v1/token?grant_type=password', body);
    tokens.set(email, JSON.parse(text).access_token);
  }
  return send;
}

/**
 * Attacks a stack of its own for a while: with what an insider would try first, and then at random.
 *
 * @param stack - seeded, with functions; it is not fit for anything else afterwards
 * @param seed - chooses every request
 * @param end - milliseconds since 1970 at which the last request is made, or how many each of six workers makes; and
 *   whether only those that are random are made
 */
export async function attack(
  stack: Stack,
  seed: number,
  end: { until: number } | { turns: number; withoutOpening?: boolean },
): Promise<AttackReport> {
  const db = new pg.Client({ connectionString: stack.dbUrl });
  await db.connect();
  // The embedded services print a stack trace for every filter they cannot read, and every mail they do not send.
  const { error, log } = console;
  console.error = () => {};
  console.log = () => {};
  const judge = new Judge();
  let requests = 0;
  try {
    await prepareWorld(db);
    const emails = new Set([...attackers, 'admin@harbor.test', 'admin@lakeside.test']);
    const send = await signedIn(
      stack,
      [...emails].filter((email) => email.includes('@')),
    );
    await plantCanaries(send, await readWorld(db));
    const world = await readWorld(db);
    await probe(db, world, judge.found, stack);
    const before = await stateBefore(db, world.relations);
    const go = async (email: string, ask: Ask) => {
      judge.remember(ask);
      requests++;
      await send(email, ask.method, ask.path, ask.body, ask.headers).then(
        ({ status, text }) => judge.look(world, email, ask, status, text),
        (failure: Error) => judge.found('no answer', `${email} ${ask.method} ${ask.path}`, failure.message),
      );
    };
    const people = ['parent', 'rbt', 'bcba', 'admin'].map(bright).concat('rbt@lakeside.test');
    const first = 'turns' in end && end.withoutOpening ? [] : opening(world, people, random(seed, 'opening'));
    for (const { email, ask } of first) await go(email, ask);
    const worker = async (number: number) => {
      for (let turn = 0; 'turns' in end ? turn < end.turns : Date.now() < end.until; turn++) {
        const chance: Random = random(seed, 'attack', number, turn);
        const email = chance.pick(attackers);
        await go(email, nextAsk(world, email, judge.chosen, chance));
      }
    };
    await Promise.all(Array.from({ length: 6 }, (_, number) => worker(number)));
    await lookAfterwards(db, world, before, judge.told, judge.found, send);
  } finally {
    console.error = error;
    console.log = log;
    await db.end();
  }
  return { seed, requests, answers: judge.answers, findings: judge.findings };
}

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
