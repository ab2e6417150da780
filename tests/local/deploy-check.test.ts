/** npm run deploy:check says what would go wrong quietly. */
import { randomBytes } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
/** The reference that stands in config.toml until somebody puts theirs there. */
const placeholder = 'abcdefghijklmnopqrst';
const right = {
  SITE_URL: 'https://app.example.org',
  ALLOWED_ORIGINS: 'https://app.example.org, https://other.example.org',
  ...{ SMTP_HOST: 'smtp.example.org', SMTP_USER: 'u', SMTP_PASS: 'p', SMTP_ADMIN_EMAIL: 'a@example.org' },
  DATABASE_URL: 'postgresql://postgres@db.example.org/postgres',
  PHI_MASTER_KEYS: JSON.stringify({ mine: randomBytes(32).toString('base64') }),
};
const development = Buffer.from(Array.from({ length: 32 }, (_, index) => index)).toString('base64');

const check = (env: Record<string, string>, projectRef: string) =>
  execa(process.execPath, ['scripts/deploy-check.ts', '--project-ref', projectRef], {
    cwd: root,
    env,
    extendEnv: false,
    reject: false,
  });

it('is content when nothing is missing', async () => {
  const { stdout, stderr, exitCode } = await check(right, placeholder);
  expect([stderr, exitCode]).toEqual(['', 0]);
  expect(stdout).toContain(placeholder);
});

it.each([
  ['another project than the configured one', {}, 'tsrqponmlkjihgfedcba', 'would send development'],
  ['the address of a developer', { SITE_URL: 'http://127.0.0.1:3000' }, placeholder, 'SITE_URL'],
  ['no origins', { ALLOWED_ORIGINS: '' }, placeholder, 'ALLOWED_ORIGINS'],
  ['no mail server', { SMTP_HOST: '' }, placeholder, 'SMTP_HOST'],
  ['no master key', { PHI_MASTER_KEYS: '' }, placeholder, 'PHI_MASTER_KEYS is not set'],
  [
    'the development key under another name',
    { PHI_MASTER_KEYS: JSON.stringify({ mine: development }) },
    placeholder,
    'which is public',
  ],
])('is not content with %s', async (_what, wrong, projectRef, said) => {
  const { stderr, exitCode } = await check({ ...right, ...wrong }, projectRef);
  expect(exitCode).toBe(1);
  expect(stderr).toContain(said);
  expect(stderr).not.toContain(development);
});
