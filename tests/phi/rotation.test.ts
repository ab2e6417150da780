/** A rotation of the keys, as docs/key-rotation.md describes it: what was sealed before and after reads the same. */
import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { startStack } from '../../local/stack.ts';
import { Seeded } from './seeded.ts';

const rbt = 'rbt@brightpath.test';
const admin = 'admin@brightpath.test';
const root = fileURLToPath(new URL('../..', import.meta.url));
const master = { old: randomBytes(32).toString('base64'), new: randomBytes(32).toString('base64') };

const oldSecrets = { PHI_MASTER_KEYS: JSON.stringify({ old: master.old }), PHI_MASTER_KEY_ID: 'old' };
const bothSecrets = { PHI_MASTER_KEYS: JSON.stringify(master), PHI_MASTER_KEY_ID: 'new' };
const third = { ...master, third: randomBytes(32).toString('base64') };
const thirdSecrets = { PHI_MASTER_KEYS: JSON.stringify(third), PHI_MASTER_KEY_ID: 'third' };
const newSecrets = { PHI_MASTER_KEYS: JSON.stringify({ new: master.new }), PHI_MASTER_KEY_ID: 'new' };

let seeded: Seeded;
let sessions: { id: string; client_id: string }[];

/** Runs `npm run keys:rotate` with these secrets. */
async function rotate(secrets: typeof oldSecrets, ...args: string[]) {
  return execa(process.execPath, ['scripts/rotate-keys.ts', ...args], {
    cwd: root,
    env: { ...secrets, DATABASE_URL: seeded.stack.dbUrl },
    reject: false,
  });
}

async function save(index: number, progress: string): Promise<number> {
  const answer = await seeded.call(rbt, 'session-notes', {
    action: 'save_draft',
    session_id: sessions[index]?.id,
    base_version: 0,
    content: { progress },
  });
  return answer.status;
}

async function progressOf(index: number): Promise<string> {
  const answer = await seeded.call(admin, 'session-notes', {
    action: 'read',
    session_id: sessions[index]?.id,
  });
  return answer.body.data?.note.content.progress ?? answer.body.code;
}

beforeAll(async () => {
  seeded = new Seeded(await startStack({ functionsEnv: oldSecrets }));
  sessions = await seeded.pastSessions(rbt);
  expect((await rotate(oldSecrets, '--install')).stdout).toBe('Installed the attestation keys of old.');
  expect(sessions.length).toBeGreaterThan(3);
});
afterAll(() => seeded?.stack.stop());

test('old and new notes read correctly at every step, also when the old master key is gone', async () => {
  expect(await save(0, 'before')).toBe(200);
  const saved = await seeded.call(admin, 'client-details', {
    action: 'save',
    client_id: sessions[0]?.client_id,
    base_version: 0,
    details: { given_name: 'Ann', family_name: 'Example' },
  });
  expect(saved.status).toBe(200);

  // 1. The database learns to check the new key's proofs; then both keys are among the secrets, the new one active.
  const ahead = await rotate(bothSecrets, '--check');
  expect(ahead.exitCode).toBe(1);
  expect(ahead.stderr).toContain('master key new: its attestation key is not installed');
  expect((await rotate(bothSecrets, '--install')).exitCode).toBe(0);
  await seeded.stack.restartFunctions(bothSecrets);
  expect(await progressOf(0)).toBe('before');
  expect(await save(1, 'during')).toBe(200);

  // 2. Wrap anew, and start new data keys.
  const checked = await rotate(bothSecrets, '--check');
  expect(checked.stdout).toContain('All 1 data keys open: old wraps 1. New ones use new.');
  const rotated = await rotate(bothSecrets, '--new-data-keys');
  expect(rotated.stderr).toBe('');
  expect(rotated.stdout).toContain('Wrapped 1 data keys anew with new; started 1 new ones.');
  expect(rotated.stdout).toContain('In use now: new wraps 2.');
  expect(await progressOf(0)).toBe('before');
  expect(await save(2, 'after')).toBe(200);

  // 3. The old master key is removed.
  await seeded.stack.restartFunctions(newSecrets);
  expect([await progressOf(0), await progressOf(1), await progressOf(2)]).toEqual([
    'before',
    'during',
    'after',
  ]);
  const read = await seeded.call(rbt, 'client-details', {
    action: 'read',
    client_ids: [sessions[0]?.client_id],
  });
  expect(read.body.data.clients[0].details).toEqual({ given_name: 'Ann', family_name: 'Example' });

  const keys = await seeded.sql<{ data_key_id: string; retired: boolean }>(
    `select version.data_key_id, data_key.retired_at is not null as retired
      from private.session_note_versions as version
      join private.data_keys as data_key
        on data_key.organization_id = version.organization_id and data_key.id = version.data_key_id
      order by version.saved_at`,
  );
  expect(keys.map(({ retired }) => retired)).toEqual([true, true, false]);
  expect(new Set(keys.map(({ data_key_id }) => data_key_id)).size).toBe(2);
});

test('a second rotation finds nothing to do', async () => {
  const again = await rotate(newSecrets);
  expect(again.stdout).toContain('Wrapped 0 data keys anew with new; started 0 new ones.');
});

test('a rotation without the old master key changes no data key and says which are missing', async () => {
  const stranger = { PHI_MASTER_KEYS: JSON.stringify({ other: master.old }), PHI_MASTER_KEY_ID: 'other' };
  const before = await seeded.sql('select * from private.data_keys order by id');
  for (const args of [['--check'], []]) {
    const failed = await rotate(stranger, ...args);
    expect(failed.exitCode).toBe(1);
    expect(failed.stderr.match(/wrapped by an unknown master key/g)).toHaveLength(2);
    expect(failed.stderr).not.toContain(master.old);
  }
  expect(await seeded.sql('select * from private.data_keys order by id')).toEqual(before);
  // What wraps data keys goes on proving, since the secrets given were not all there are; the stranger is retired.
  expect((await rotate(newSecrets)).exitCode).toBe(0);
  expect(
    await seeded.sql('select id, retired_at is null as used from private.attestation_keys order by id'),
  ).toEqual([
    { id: 'local-development', used: false },
    { id: 'new', used: true },
    { id: 'old', used: false },
    { id: 'other', used: false },
  ]);
});

test('what cannot be done for one clinic is reported at the end, and done for every other', async () => {
  const harbor = 'b0000000-0000-4000-8000-0000000000b0';
  const junk = `twk1.new.AAAAAAAAAAAAAAAA.${'A'.repeat(107)}`;
  await seeded.sql(`begin;
    alter table private.data_keys disable trigger guard_data_key;
    insert into private.data_keys (organization_id, id, wrapped_key, proof) values ('${harbor}', gen_random_uuid(), '${junk}', 'tsp1');
    alter table private.data_keys enable trigger guard_data_key;
    commit`);
  const rotated = await rotate(thirdSecrets, '--new-data-keys');
  expect(rotated.exitCode).toBe(1);
  expect(rotated.stdout).toContain('Wrapped 2 data keys anew with third; started 1 new ones.');
  expect(rotated.stderr).toContain(`organization ${harbor}: data key`);
  expect(rotated.stderr).toContain('does not open');
  // The retired ones too: old notes stay readable without the master keys of their time.
  const onlyThird = { PHI_MASTER_KEYS: JSON.stringify({ third: third.third }), PHI_MASTER_KEY_ID: 'third' };
  await seeded.stack.restartFunctions(onlyThird);
  expect([await progressOf(0), await progressOf(1), await progressOf(2)]).toEqual([
    'before',
    'during',
    'after',
  ]);
  // Set aside by the operator, it is in nobody's way.
  await seeded.sql(
    'update private.data_keys set retired_at = clock_timestamp() where organization_id = $1 and wrapped_key = $2',
    [harbor, junk],
  );
  await seeded.stack.restartFunctions(thirdSecrets);
});

test('functions without the master key seal and open nothing, and say no more than that', async () => {
  await seeded.stack.restartFunctions(oldSecrets);
  const read = await seeded.call(admin, 'session-notes', { action: 'read', session_id: sessions[0]?.id });
  expect(read).toMatchObject({ status: 500, body: { code: 'CONTENT_UNREADABLE' } });
  expect(read.text).not.toMatch(/master|wrapped|old/);
  expect(await save(3, 'never')).toBe(500);
  await seeded.stack.restartFunctions({ PHI_MASTER_KEYS: '', PHI_MASTER_KEY_ID: '' });
  expect(await progressOf(0)).toBe('CONTENT_UNREADABLE');
});

test('every key made, wrapped anew and retired is in the audit trail, which is whole', async () => {
  const events = await seeded.sql<{ action: string }>(
    "select action from audit.events where entity = 'data_key' order by recorded_at",
  );
  expect(events.map(({ action }) => action)).toEqual([
    ...['data_key.created', 'data_key.rewrapped', 'data_key.retired', 'data_key.created'],
    // The junk, the second rotation, and the junk set aside.
    ...[
      'data_key.created',
      'data_key.rewrapped',
      'data_key.rewrapped',
      'data_key.retired',
      'data_key.created',
    ],
    'data_key.retired',
  ]);
  expect(await seeded.sql('select * from audit.verify()')).toEqual([]);
});

test('notes that are saved while data keys are wrapped anew and replaced all read as they were saved', async () => {
  await seeded.stack.restartFunctions(thirdSecrets);
  const note = (action: string, more: object) =>
    seeded.call(rbt, 'session-notes', { action, session_id: sessions[0]?.id, ...more });
  let version = (await note('read', {})).body.data.note.version as number;
  const saved: { version: number; progress: string }[] = [];
  let isRotating = true;
  const saving = (async () => {
    // At least once more when it is over.
    for (let isLast = false; !isLast; ) {
      isLast = !isRotating;
      const progress = `during the rotation, ${saved.length}`;
      const answer = await note('save_draft', { base_version: version, content: { progress } });
      expect(answer).toMatchObject({ status: 200 });
      version = answer.body.data.note.version;
      saved.push({ version, progress });
    }
  })();
  const rotations: string[] = [];
  for (let round = 0; round < 3; round++)
    rotations.push((await rotate(thirdSecrets, '--new-data-keys')).stdout);
  isRotating = false;
  await saving;
  for (const said of rotations) expect(said).toContain('started 1 new ones.');
  const read: typeof saved = [];
  for (const { version } of saved) {
    const { body } = await seeded.call(admin, 'session-notes', {
      ...{ action: 'read', session_id: sessions[0]?.id, version },
    });
    read.push({ version, progress: body.data?.note.content.progress ?? body.code });
  }
  expect(read).toEqual(saved);
  const keys = await seeded.sql(
    'select distinct data_key_id from private.session_note_versions where session_id = $1 and version = any ($2)',
    [sessions[0]?.id, saved.map(({ version }) => version)],
  );
  expect(keys.length).toBeGreaterThan(1);
});

test('an organization that is none is refused in words that name the option', async () => {
  for (const [given, said] of [
    ['xyz', 'must be the id of an organization, a UUID, not "xyz"'],
    ['', 'must be the id of an organization, a UUID, not ""'],
    ["' or true --", 'must be the id of an organization'],
    ['00000000-0000-4000-8000-00000000dead', 'there is no organization 00000000-0000-4000-8000-00000000dead'],
  ] as const) {
    const refused = await rotate(newSecrets, '--check', '--organization', given);
    expect(refused.exitCode).toBe(1);
    expect(refused.stderr).toContain('--organization');
    expect(refused.stderr).toContain(said);
    expect(refused.stderr.split('\n')).toHaveLength(1);
  }
});
