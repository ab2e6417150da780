/**
 * What is sealed is nowhere else. Strings that exist nowhere but in notes and details go through everything the
 * functions do, failures included; then every table, every file of the database, every log and every answer that is
 * not an authorised read is searched for them.
 */
import { randomBytes, randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { startStack } from '../../local/stack.ts';
import { type Answer, Seeded } from './seeded.ts';

const rbt = 'rbt@brightpath.test';
const admin = 'admin@brightpath.test';
const parent = 'parent@brightpath.test';
const stranger = 'admin@harbor.test';

/** Not sealed: shows that the search finds what is there. */
const control = `control${randomBytes(9).toString('hex')}`;

const canaries = Object.fromEntries(
  [
    'narrative',
    'response',
    'progress',
    'participant',
    'location',
    'remarks',
    'reason',
    'name',
    'street',
    'phone',
  ].map((what) => [what, `canary${what}${randomBytes(9).toString('hex')}`]),
) as Record<string, string>;

/** A text, and the ways software writes it down without meaning to. Base64 has three, by where the text begins. */
function spellings(text: string): string[] {
  const base64 = [0, 1, 2].map((offset) =>
    // The first and last characters depend on the neighbours.
    Buffer.from('x'.repeat(offset) + text)
      .toString('base64')
      .slice(offset === 0 ? 0 : 4, -4),
  );
  return [text, text.toUpperCase(), Buffer.from(text).toString('hex'), ...base64];
}
const needles = Object.values(canaries).flatMap(spellings);

/**
 * Plaintext that a caller sends straight to the database, where an envelope belongs. It is refused and stays nowhere,
 * but the local REST service writes arguments into its statements, where PostgREST binds them: a log of all statements
 * has it here.
 */
const misplaced = `misplaced${randomBytes(9).toString('hex')}`;

/** Canaries found in a text. */
function found(text: string): string[] {
  return needles.filter((needle) => text.includes(needle));
}

const logs = { database: [] as string[], functions: [] as string[], stack: [] as string[] };
let seeded: Seeded;
/** Answers that may show content, by what they are. They are taken out of `seeded.answers`. */
const authorised: Answer[] = [];

async function authorisedRead(email: string, name: string, body: object): Promise<Answer> {
  const answer = await seeded.call(email, name, body);
  seeded.answers.pop();
  authorised.push(answer);
  return answer;
}

const content = {
  narratives: [{ cpt_code: '97153', narrative: canaries.narrative }],
  client_response: canaries.response,
  progress: canaries.progress,
  participants: [canaries.participant],
  location: canaries.location,
  remarks: canaries.remarks,
};
const details = {
  given_name: canaries.name,
  family_name: canaries.name,
  contacts: [{ kind: 'phone', value: canaries.phone }],
  guardians: [{ name: canaries.name, contacts: [{ kind: 'phone', value: canaries.phone }] }],
  address: { line1: canaries.street },
};

beforeAll(async () => {
  const stack = await startStack({
    quiet: false,
    say: (line) => logs.stack.push(line),
    onLog: (source, line) => logs[source].push(line),
  });
  seeded = new Seeded(stack);
  // The database logs all it may: statements, their durations, and errors with everything it knows of them.
  for (const setting of [
    "log_statement = 'all'",
    "log_error_verbosity = 'verbose'",
    'log_min_duration_statement = 0',
  ])
    await seeded.sql(`alter system set ${setting}`, [], 'supabase_admin');
  await seeded.sql('select pg_reload_conf()', [], 'supabase_admin');
  await seeded.sql('update public.rooms set name = $1 where id = (select id from public.rooms limit 1)', [
    control,
  ]);
  await seeded.sql(`select '${control}'`);

  const sessions = await seeded.pastSessions(rbt);
  const [{ id: session_id, client_id }, second] = sessions as [(typeof sessions)[0], (typeof sessions)[0]];
  const key = { 'idempotency-key': randomUUID() };
  const notes = (email: string, body: unknown, headers = {}) =>
    seeded.call(email, 'session-notes', body, headers);
  const clients = (email: string, body: unknown, headers = {}) =>
    seeded.call(email, 'client-details', body, headers);
  const statuses: number[] = [];
  const expectStatus = async (status: number, answer: Promise<Answer>) => {
    statuses.push(status);
    expect({ status: (await answer).status, step: statuses.length }).toEqual({
      status,
      step: statuses.length,
    });
  };

  // A note's life, with retries.
  const draft = { action: 'save_draft', session_id, base_version: 0, content };
  await expectStatus(200, notes(rbt, draft, key));
  await expectStatus(200, notes(rbt, draft, key));
  await expectStatus(422, notes(rbt, { ...draft, content: { remarks: canaries.remarks } }, key));
  await expectStatus(409, notes(rbt, draft));
  await expectStatus(200, notes(rbt, { action: 'sign', session_id, base_version: 1 }));
  await expectStatus(409, notes(rbt, { ...draft, base_version: 2 }));
  await expectStatus(
    200,
    notes(rbt, { action: 'amend', session_id, base_version: 2, content, reason: canaries.reason }),
  );
  await expectStatus(200, notes(admin, { action: 'history', session_id }));
  await expectStatus(
    400,
    notes(rbt, {
      action: 'sign',
      session_id: second.id,
      base_version: 0,
      content: { remarks: canaries.remarks, location: canaries.location },
    }),
  );

  // A client's.
  const saved = { action: 'save', client_id, base_version: 0, details };
  await expectStatus(200, clients(admin, saved, key));
  await expectStatus(200, clients(admin, saved, key));
  await expectStatus(409, clients(admin, saved));

  // Refused, malformed, too large, misdirected.
  for (const email of [admin, parent, stranger]) await expectStatus(403, notes(email, draft));
  for (const email of [parent, stranger])
    await expectStatus(403, notes(email, { action: 'read', session_id }));
  for (const email of [rbt, parent, stranger]) await expectStatus(403, clients(email, saved));
  await expectStatus(403, clients(stranger, { action: 'read', client_ids: [client_id] }));
  for (const call of [notes, clients]) {
    await expectStatus(400, call(rbt, `{"content": "${canaries.narrative}`));
    await expectStatus(400, call(rbt, `"${canaries.narrative}"`));
    await expectStatus(400, call(rbt, { action: canaries.narrative, session_id: canaries.narrative }));
    await expectStatus(413, call(rbt, { action: 'save', text: `${canaries.narrative} `.repeat(40_000) }));
  }
  for (const wrong of [
    { ...content, narratives: canaries.narrative },
    { ...content, narratives: [{ cpt_code: canaries.narrative, narrative: canaries.narrative }] },
    { ...content, progress: `${canaries.progress}\u0000` },
    { ...content, remarks: canaries.remarks?.repeat(1_000) },
    canaries.remarks,
  ])
    await expectStatus(400, notes(rbt, { ...draft, content: wrong }));
  for (const wrong of [
    { ...details, birth_date: canaries.name },
    { ...details, contacts: [{ kind: canaries.phone, value: canaries.phone }] },
    { given_name: canaries.name },
  ])
    await expectStatus(400, clients(admin, { ...saved, details: wrong }));
  await expectStatus(
    400,
    seeded.call(rbt, 'sessions-confirm', { hold_key: randomUUID(), notes: canaries.narrative }),
  );

  // Straight to the database, past the functions: plaintext where an envelope belongs.
  const direct = (email: string, rpc: string, request: object) =>
    seeded.request(email, `/rest/v1/rpc/${rpc}`, { method: 'POST', body: JSON.stringify({ request }) });
  const row = {
    base_version: 3,
    id: randomUUID(),
    ciphertext: misplaced,
    content_mac: misplaced,
    proof: misplaced,
  };
  await expectStatus(400, direct(rbt, 'amend_note', { session_id, ...row }));
  await expectStatus(400, direct(admin, 'save_client_details', { client_id, ...row }));
  await expectStatus(
    400,
    direct(admin, 'start_data_key', { key_id: misplaced, wrapped_key: misplaced, proof: misplaced }),
  );
  for (const [email, rpc, request] of [
    [admin, 'read_note', { session_id }],
    [admin, 'read_client_details', { client_ids: [client_id] }],
  ] as const)
    await expectStatus(200, direct(email, rpc, request));

  // What may be read, by whom it may be read.
  for (const email of [rbt, admin])
    await authorisedRead(email, 'session-notes', { action: 'read', session_id });
  for (const email of [rbt, admin])
    await authorisedRead(email, 'client-details', { action: 'read', client_ids: [client_id] });

  // Keys that are not there, a ciphertext that is damaged.
  await seeded.stack.restartFunctions({ PHI_MASTER_KEYS: '' });
  await expectStatus(500, notes(rbt, { action: 'read', session_id }));
  await expectStatus(500, clients(admin, { ...saved, base_version: 1 }));
  await seeded.stack.restartFunctions({});
  await seeded.sql(
    `begin;
    alter table private.client_detail_versions disable trigger user;
    update private.client_detail_versions set ciphertext = left(ciphertext, -2) || 'AA';
    alter table private.client_detail_versions enable trigger user;
    commit`,
  );
  await expectStatus(500, clients(admin, { action: 'read', client_ids: [client_id] }));
  await seeded.sql('analyze', [], 'supabase_admin');
  await seeded.sql('checkpoint', [], 'supabase_admin');
}, 120_000);
afterAll(() => seeded?.stack.stop());

test('whoever may read content gets it', () => {
  const [note, sameNote, client, sameClient] = authorised as [Answer, Answer, Answer, Answer];
  for (const { body } of [note, sameNote])
    expect(body.data.note).toMatchObject({ version: 3, content, reason: canaries.reason });
  for (const { body } of [client, sameClient]) expect(body.data.clients[0]).toMatchObject({ details });
});

describe('a search for content', () => {
  test('finds each canary in each of its spellings, whatever is around it', () => {
    for (const canary of Object.values(canaries))
      for (const prefix of ['', '1', '22', '333'])
        for (const encoding of ['utf8', 'hex', 'base64'] as const)
          expect(found(`…${Buffer.from(`${prefix}${canary}999`).toString(encoding)}…`)).not.toEqual([]);
  });

  test('in every row of every table finds nothing', async () => {
    const tables = await seeded.sql<{ name: string }>(
      `select format('%I.%I', namespace.nspname, class.relname) as name
        from pg_catalog.pg_class as class
        join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
        where class.relkind in ('r', 'm') and namespace.nspname <> 'pg_toast'`,
      [],
      'supabase_admin',
    );
    expect(tables.length).toBeGreaterThan(100);
    let dumped = '';
    for (const { name } of tables) {
      const rows = await seeded.sql<{ row: string }>(
        `select dumped::text as row from ${name} as dumped`,
        [],
        'supabase_admin',
      );
      const text = rows.map(({ row }) => row).join('\n');
      expect({ name, found: found(text) }).toEqual({ name, found: [] });
      dumped += text;
    }
    expect(dumped).not.toContain(misplaced);
    expect(dumped).toContain(control);
    expect(dumped).toContain('tsb1.');
  });

  test('in every file of the database, write-ahead log included, finds nothing', async () => {
    const [{ data_directory: folder }] = (await seeded.sql('show data_directory', [], 'supabase_admin')) as [
      { data_directory: string },
    ];
    let controls = 0;
    for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const bytes = readFileSync(join(entry.parentPath, entry.name)).toString('latin1');
      expect({ file: entry.name, found: found(bytes) }).toEqual({ file: entry.name, found: [] });
      if (bytes.includes(control)) controls++;
    }
    expect(controls).toBeGreaterThan(1);
  });

  test('in the database’s log, with every statement in it, finds nothing', () => {
    const text = logs.database.join('\n');
    expect(text).toContain(control);
    expect(text).toContain('save_note_draft');
    expect(found(text)).toEqual([]);
  });

  test('in the log of the functions finds nothing, though it has every failure', () => {
    const text = logs.functions.join('\n');
    expect(text.match(/content_unreadable/g)).toHaveLength(3);
    expect(found(text)).toEqual([]);
  });

  test('in what the stack prints finds nothing', () => {
    const text = logs.stack.join('\n');
    expect(text).toMatch(/\[functions\] .*content_unreadable/);
    expect(found(text)).toEqual([]);
  });

  test('in every other answer, headers included, finds nothing', () => {
    expect(seeded.answers.length).toBeGreaterThan(40);
    for (const answer of seeded.answers) {
      expect(found(answer)).toEqual([]);
      expect(answer).not.toContain(misplaced);
    }
  });
});
