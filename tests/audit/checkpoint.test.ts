/** A checkpoint that is kept elsewhere: signed, sent, and compared with the database later. */
import { createPrivateKey, randomUUID, sign } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { stack } from '../setup/stack.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const keys = { private: '', public: '' };
let folder: string;
let kept: string;

function checkpoint(...args: string[]) {
  return execa(process.execPath, ['scripts/audit-checkpoint.ts', ...args], {
    cwd: root,
    env: { DATABASE_URL: stack.dbUrl, AUDIT_SIGNING_KEY: keys.private },
    reject: false,
  });
}

const verified = (file: string, key = keys.public) => checkpoint('--verify', file, '--public-key', key);

async function makeKey(): Promise<typeof keys> {
  const { stdout } = await checkpoint('--new-key');
  const [, secret = '', shown = ''] = /AUDIT_SIGNING_KEY=(\S+)\npublic key: (\S+)/.exec(stdout) ?? [];
  return { private: secret, public: shown };
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'checkpoints-'));
  Object.assign(keys, await makeKey());
  expect((await checkpoint('--to', folder)).stderr).toBe('');
  const [name = ''] = await readdir(folder);
  expect(name).toMatch(/^checkpoint-\d{4}-\d\d-\d\dT\d{6}Z\.json$/);
  kept = join(folder, name);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

it('agrees with a database that nobody edited', async () => {
  const { stdout, exitCode } = await verified(kept);
  expect([stdout, exitCode]).toEqual(['Every chain is as it was when the checkpoint was taken.', 0]);
});

it('that was changed, or signed with another key, is refused', async () => {
  const text = await readFile(kept, 'utf8');
  const changed = join(folder, 'changed.json');
  await writeFile(
    changed,
    text.replace(/\\"seq\\": (\d)/, (_, digit) => `\\"seq\\": ${digit === '9' ? 8 : 9}`),
  );
  const another = await makeKey();
  for (const attempt of [verified(changed), verified(kept, another.public)]) {
    const { stderr, exitCode } = await attempt;
    expect([stderr, exitCode]).toEqual(['the checkpoint is not signed with this key, or was changed', 1]);
  }
});

it('of a chain that is gone from the database is a finding', async () => {
  // As if the chain had been removed since: a checkpoint, signed with the same key, that knows one more.
  const chain = randomUUID();
  const signed = JSON.parse(await readFile(kept, 'utf8'));
  const known = JSON.parse(signed.checkpoint);
  known.heads.push({ organizationId: chain, chainId: chain, seq: 1, hash: '0'.repeat(64) });
  const checkpointText = JSON.stringify(known);
  const key = createPrivateKey({ key: Buffer.from(keys.private, 'base64'), format: 'der', type: 'pkcs8' });
  const signature = sign(null, Buffer.from(checkpointText), key).toString('base64');
  const file = join(folder, 'earlier.json');
  await writeFile(file, JSON.stringify({ ...signed, checkpoint: checkpointText, signature }));
  const { stderr, exitCode } = await verified(file);
  expect([stderr, exitCode]).toEqual([
    `organization ${chain}, chain ${chain}, seal 1: events up to the checkpoint are missing`,
    1,
  ]);
});

it('is sent to an address, and a refusal there makes the command fail', async () => {
  const received: string[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (chunk) => {
      body += chunk;
    });
    request.on('end', () => {
      received.push(`${request.method} ${request.url} ${JSON.parse(body).algorithm}`);
      response.writeHead(request.url?.startsWith('/kept/') ? 201 : 403).end();
    });
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  try {
    expect((await checkpoint('--to', `${origin}/kept`)).exitCode).toBe(0);
    expect(received).toEqual([expect.stringMatching(/^PUT \/kept\/checkpoint-\S+\.json Ed25519$/)]);
    const refused = await checkpoint('--to', `${origin}/closed/`);
    expect(refused.exitCode).toBe(1);
    expect(refused.stderr).toContain('answered 403');
  } finally {
    server.close();
  }
});

it.each([
  [
    'a folder that is not there',
    ['--to', '/nowhere/at/all'],
    '--to /nowhere/at/all: there is no such file or folder',
  ],
  ['a file for a folder', ['--to', 'package.json'], '--to package.json: it is no folder'],
  [
    'an address where nobody answers',
    ['--to', 'http://127.0.0.1:1/'],
    '--to http://127.0.0.1:1/: nobody answers there',
  ],
  [
    'a checkpoint that is not there',
    ['--verify', 'gone.json', '--public-key', 'x'],
    '--verify gone.json: there is no such file',
  ],
  ['a folder for a checkpoint', ['--verify', 'tests', '--public-key', 'x'], '--verify tests: it is a folder'],
  [
    'something else for a checkpoint',
    ['--verify', 'package.json', '--public-key', 'x'],
    '--verify package.json: it is no checkpoint',
  ],
  [
    'prose for a checkpoint',
    ['--verify', 'README.md', '--public-key', 'x'],
    '--verify README.md: it is no checkpoint',
  ],
])('names the option and what is wrong with it: %s', async (_, args, message) => {
  const { stderr, exitCode } = await checkpoint(...args);
  expect([stderr.startsWith(message), exitCode, stderr]).toEqual([true, 1, stderr]);
});

it('names the key that is none', async () => {
  const { stderr, exitCode } = await verified(kept, 'x');
  expect([stderr, exitCode]).toEqual([
    '--public-key must be an Ed25519 public key, SPKI in base64, as --new-key prints it',
    1,
  ]);
});
