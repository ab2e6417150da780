/**
 * `npm run audit:checkpoint`: takes a checkpoint of the audit's chains, signs it, and puts it where an owner of the
 * database cannot reach; or compares the database with one that was kept. docs/audit-trail.md says why.
 *
 * Environment: `DATABASE_URL` (as the owner, `postgres`); `AUDIT_SIGNING_KEY`, an Ed25519 private key (PKCS #8 in base64).
 *
 * - `--new-key` prints a key pair and does nothing else.
 * - `--to <folder or https address>` keeps the checkpoint there, as `checkpoint-<time>.json`; with an address, by PUT, with
 *   `AUDIT_CHECKPOINT_AUTHORIZATION` as its Authorization header if that is set. Without `--to` it is printed.
 * - `--verify <file>` with `--public-key <key>` checks the file's signature, every chain, and the two against each other.
 *   Prints each finding, and exits 1 when there is one.
 */
import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  sign,
  verify,
} from 'node:crypto';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import type pg from 'pg';
import { connectAsOwner } from './owner-database.ts';

/** What is kept: the checkpoint as the text that was signed, since JSON can be written in many ways. */
interface SignedCheckpoint {
  checkpoint: string;
  algorithm: 'Ed25519';
  publicKey: string;
  signature: string;
}

interface Finding {
  organization_id: string | null;
  chain_id: string | null;
  seq: string | null;
  problem: string;
}

const publicText = (key: KeyObject) => key.export({ type: 'spki', format: 'der' }).toString('base64');

function newKey(): void {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  console.log(`AUDIT_SIGNING_KEY=${privateKey.export({ type: 'pkcs8', format: 'der' }).toString('base64')}`);
  console.log(`public key: ${publicText(publicKey)}`);
}

function signingKey(): KeyObject {
  const text = process.env.AUDIT_SIGNING_KEY;
  if (!text) throw new Error('AUDIT_SIGNING_KEY is not set; npm run audit:checkpoint -- --new-key makes one');
  try {
    return createPrivateKey({ key: Buffer.from(text, 'base64'), format: 'der', type: 'pkcs8' });
  } catch {
    throw new Error('AUDIT_SIGNING_KEY must be an Ed25519 private key, PKCS #8 in base64');
  }
}

async function query<Row extends pg.QueryResultRow>(text: string, values: unknown[] = []): Promise<Row[]> {
  const client = await connectAsOwner();
  try {
    return (await client.query<Row>(text, values)).rows;
  } finally {
    await client.end();
  }
}

async function take(): Promise<SignedCheckpoint> {
  const key = signingKey();
  const [row] = await query<{ checkpoint: string }>('select audit.checkpoint()::text as checkpoint');
  const checkpoint = row?.checkpoint ?? '';
  return {
    checkpoint,
    algorithm: 'Ed25519',
    publicKey: publicText(createPublicKey(key)),
    signature: sign(null, Buffer.from(checkpoint), key).toString('base64'),
  };
}

/** Why a file of an option could not be read or written, in words that name the option. */
function fileProblem(option: string, path: string, error: unknown): Error {
  const { code, message } = error as NodeJS.ErrnoException;
  const reasons: Record<string, string> = {
    ENOENT: 'there is no such file or folder',
    ENOTDIR: 'it is no folder',
    EISDIR: 'it is a folder',
    EACCES: 'you may not read or write there',
    EPERM: 'you may not read or write there',
    EROFS: 'it cannot be written to',
    ENOSPC: 'the disk is full',
    EEXIST: 'a checkpoint of the same second is there already',
  };
  return new Error(`${option} ${path}: ${reasons[code ?? ''] ?? message}`);
}

const isAddress = (to: string) => /^https?:/.test(to);

/** Asked first, so that no checkpoint is taken that cannot be kept. */
async function requireFolder(to: string): Promise<void> {
  const found = await stat(to).catch((error: unknown) => {
    throw fileProblem('--to', to, error);
  });
  if (!found.isDirectory()) throw fileProblem('--to', to, { code: 'ENOTDIR' });
}

async function keep(signed: SignedCheckpoint, to: string | undefined): Promise<void> {
  const text = `${JSON.stringify(signed, null, 2)}\n`;
  if (to === undefined) {
    process.stdout.write(text);
    return;
  }
  const { takenAt } = JSON.parse(signed.checkpoint) as { takenAt: string };
  const name = `checkpoint-${new Date(takenAt)
    .toISOString()
    .replaceAll(/[:.]/g, '')
    .replace(/\d{3}Z$/, 'Z')}.json`;
  if (!isAddress(to)) {
    // Never over one that is there already.
    await writeFile(join(to, name), text, { flag: 'wx' }).catch((error: unknown) => {
      throw fileProblem('--to', to, error);
    });
    return;
  }
  const authorization = process.env.AUDIT_CHECKPOINT_AUTHORIZATION;
  const response = await fetch(new URL(name, to.endsWith('/') ? to : `${to}/`), {
    method: 'PUT',
    headers: {
      'Content-Type': 'application/json',
      ...(authorization ? { Authorization: authorization } : {}),
    },
    body: text,
  }).catch((error: Error) => {
    const { code } = (error.cause ?? {}) as NodeJS.ErrnoException;
    throw new Error(`--to ${to}: nobody answers there (${code ?? error.message})`);
  });
  if (!response.ok) throw new Error(`The checkpoint was not kept: ${to} answered ${response.status}`);
}

async function keptCheckpoint(file: string): Promise<SignedCheckpoint> {
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    throw fileProblem('--verify', file, error);
  });
  try {
    const kept = JSON.parse(text) as SignedCheckpoint;
    if (typeof kept.checkpoint === 'string' && typeof kept.signature === 'string') return kept;
  } catch {
    // Said below, as of a file that is JSON and no checkpoint.
  }
  throw new Error(`--verify ${file}: it is no checkpoint that this command has written`);
}

function verifyingKey(text: string): KeyObject {
  try {
    return createPublicKey({ key: Buffer.from(text, 'base64'), format: 'der', type: 'spki' });
  } catch {
    throw new Error('--public-key must be an Ed25519 public key, SPKI in base64, as --new-key prints it');
  }
}

/** What is wrong with a kept checkpoint, with the chains, and with the two together. */
async function findings(file: string, publicKey: string): Promise<string[]> {
  const { checkpoint, signature } = await keptCheckpoint(file);
  const key = verifyingKey(publicKey);
  if (!verify(null, Buffer.from(checkpoint), key, Buffer.from(signature, 'base64')))
    return ['the checkpoint is not signed with this key, or was changed'];
  const found = await query<Finding>(
    `select organization_id, chain_id, seq, problem from audit.verify()
      union all
      select organization_id, chain_id, seq, problem from audit.verify_checkpoint($1)`,
    [checkpoint],
  );
  return found.map(({ organization_id, chain_id, seq, problem }) =>
    organization_id === null
      ? problem
      : `organization ${organization_id}, chain ${chain_id}, seal ${seq ?? '-'}: ${problem}`,
  );
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      'new-key': { type: 'boolean', default: false },
      to: { type: 'string' },
      verify: { type: 'string' },
      'public-key': { type: 'string' },
    },
  });
  if (values['new-key']) return newKey();
  if (values.verify === undefined) {
    if (values.to !== undefined && !isAddress(values.to)) await requireFolder(values.to);
    return keep(await take(), values.to);
  }
  if (!values['public-key'])
    throw new Error('--verify needs --public-key, the one you kept when the key was made');
  const found = await findings(values.verify, values['public-key']);
  if (found.length === 0) {
    console.log('Every chain is as it was when the checkpoint was taken.');
    return;
  }
  for (const finding of found) console.error(finding);
  process.exitCode = 1;
}

try {
  await main();
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 1;
}
