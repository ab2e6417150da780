/** What commands say of options and of a database that they cannot use. */
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { expect, test } from 'vitest';
import { numberOption } from '../../local/options.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

test('a number that is none is refused by the name of its option', () => {
  for (const text of ['', ' ', 'abc', 'NaN', 'Infinity', '-1', '0', '1e999'])
    expect(() => numberOption('--minutes', text, { least: 0.01, whole: false })).toThrow(
      /^--minutes must be/,
    );
  for (const text of ['1.5', '9007199254740993'])
    expect(() => numberOption('--seed', text, { least: 0, whole: true })).toThrow(/^--seed must be/);
  expect(numberOption('--minutes', '0.5', { least: 0.01, whole: false })).toBe(0.5);
  expect(numberOption('--seed', '0', { least: 0, whole: true })).toBe(0);
});

test.each([
  ['tests/attack/main.ts', '--minutes', 'abc'],
  ['tests/attack/main.ts', '--plant', 'nothing'],
  ['tests/torture/main.ts', '--minutes', 'abc'],
  ['tests/torture/main.ts', '--plant', 'nothing'],
  ['bench/main.ts', '--fast', ''],
])('%s says in a line what is wrong with %s %s', async (script, option, text) => {
  const { exitCode, stderr } = await execa(process.execPath, [script, `${option}=${text}`], {
    ...{ cwd: root, reject: false },
  });
  expect(exitCode).toBe(2);
  expect(stderr).toMatch(/^[^\n]+$/);
  expect(stderr).toContain(option);
});

/** The one in `.env.example`: bytes 0 to 31. */
const developmentKey = Buffer.from(Array.from({ length: 32 }, (_, byte) => byte)).toString('base64');

test.each([
  ['scripts/sweep.ts', undefined, /is not set/],
  ['scripts/sweep.ts', 'xyz', /must be an address/],
  ['scripts/sweep.ts', 'postgresql://postgres:secret@127.0.0.1:1/postgres', /no connection.*ECONNREFUSED/],
  [
    'scripts/sweep.ts',
    'postgresql://postgres:secret@/postgres?host=/no/such/folder',
    /no connection.*ENOENT/,
  ],
  ['scripts/sweep.ts', 'postgresql://postgres:%c3@127.0.0.1/postgres', /no connection/],
  ['scripts/audit-checkpoint.ts', 'https://example.test', /must be an address/],
  ['scripts/rotate-keys.ts', undefined, /is not set/],
])('%s says in a line what is wrong with DATABASE_URL %s', async (script, url, words) => {
  const { privateKey } = await import('node:crypto').then(({ generateKeyPairSync }) =>
    generateKeyPairSync('ed25519'),
  );
  const { exitCode, stderr } = await execa(process.execPath, [script], {
    cwd: root,
    env: {
      DATABASE_URL: url,
      PHI_MASTER_KEYS: JSON.stringify({ development: developmentKey }),
      AUDIT_SIGNING_KEY: privateKey.export({ type: 'pkcs8', format: 'der' }).toString('base64'),
    },
    reject: false,
  });
  expect(exitCode).toBe(1);
  expect(stderr).toMatch(/^DATABASE_URL[^\n]*$/);
  expect(stderr).toMatch(words);
  expect(stderr).not.toContain('secret');
});
