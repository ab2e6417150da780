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
  ['scripts/sweep.ts', undefined],
  ['scripts/sweep.ts', 'xyz'],
  ['scripts/sweep.ts', 'postgresql://postgres:secret@127.0.0.1:1/postgres'],
  ['scripts/audit-checkpoint.ts', 'https://example.test'],
])('%s says in a line what is wrong with DATABASE_URL %s', async (script, url) => {
  const { privateKey } = await import('node:crypto').then(({ generateKeyPairSync }) =>
    generateKeyPairSync('ed25519'),
  );
  const { exitCode, stderr } = await execa(process.execPath, [script], {
    cwd: root,
    env: {
      DATABASE_URL: url,
      AUDIT_SIGNING_KEY: privateKey.export({ type: 'pkcs8', format: 'der' }).toString('base64'),
    },
    reject: false,
  });
  expect(exitCode).toBe(1);
  expect(stderr).toMatch(/^DATABASE_URL[^\n]*$/);
  expect(stderr).not.toContain('secret');
});
