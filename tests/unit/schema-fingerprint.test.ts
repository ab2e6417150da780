/** The name of a template database stands for everything that its content comes from. */
import { appendFile, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { schemaFingerprint } from '../../local/migrate.ts';

const sources = [
  'supabase/migrations/1_first.sql',
  'supabase/migrations/2_second.sql',
  'supabase/config.toml',
  'supabase/seed.sql',
  'package-lock.json',
];

let root: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'fingerprint-'));
  await mkdir(join(root, 'supabase/migrations'), { recursive: true });
  for (const path of sources) await writeFile(join(root, path), path);
});
afterAll(() => rm(root, { recursive: true, force: true }));

it('is the same for the same files', async () => {
  expect(await schemaFingerprint(root, true)).toBe(await schemaFingerprint(root, true));
});

it.each(sources)('changes with %s', async (path) => {
  const before = await schemaFingerprint(root, true);
  await appendFile(join(root, path), ' ');
  expect(await schemaFingerprint(root, true)).not.toBe(before);
});

it('changes with a new migration, with the seed left out, and every day, for the seed follows the calendar', async () => {
  const before = await schemaFingerprint(root, true);
  expect(await schemaFingerprint(root, false)).not.toBe(before);
  vi.useFakeTimers({ now: Date.now() + 86_400_000, toFake: ['Date'] });
  expect(await schemaFingerprint(root, true)).not.toBe(before);
  vi.useRealTimers();
  await writeFile(join(root, 'supabase/migrations/3_third.sql'), '');
  expect(await schemaFingerprint(root, true)).not.toBe(before);
});
