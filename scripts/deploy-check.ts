/**
 * `npm run deploy:check`: what would go wrong quietly, said before anything is pushed. Changes nothing, asks nobody.
 *
 * Reads `supabase/config.toml`, the project that `supabase link` chose, and the environment (docs/deploying.md).
 * `--project-ref <ref>` names another project than the linked one.
 */
import { readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { parse } from 'smol-toml';
import { readOptions } from '../local/options.ts';
import { parseMasterKeys } from '../supabase/functions/_shared/master-keys.ts';

const supabase = fileURLToPath(new URL('../supabase', import.meta.url));

interface Config {
  remotes?: Record<string, { project_id?: string }>;
}

async function remoteOf(projectRef: string): Promise<string[]> {
  const config = parse(await readFile(`${supabase}/config.toml`, 'utf8')) as Config;
  const known = Object.values(config.remotes ?? {}).some(({ project_id }) => project_id === projectRef);
  return known
    ? []
    : [
        `supabase/config.toml has no [remotes.…] with project_id "${projectRef}": config push would send development's ` +
          'site_url and no mail server',
      ];
}

/** Whether an address is one that people outside this machine can open. */
function isPublicAddress(value: string | undefined): boolean {
  const url = URL.canParse(value ?? '') ? new URL(value ?? '') : null;
  return url?.protocol === 'https:' && !/^(localhost|127\.|\[::1\])/.test(url.hostname);
}

async function secrets(env: NodeJS.ProcessEnv): Promise<string[]> {
  const problems: string[] = [];
  if (!isPublicAddress(env.SITE_URL)) problems.push('SITE_URL must be the https address of your app');
  const origins = (env.ALLOWED_ORIGINS ?? '').split(',').map((origin) => origin.trim());
  if (!origins.every(isPublicAddress))
    problems.push('ALLOWED_ORIGINS must list the https origins of your apps: unset, only localhost may call');
  for (const name of ['SMTP_HOST', 'SMTP_USER', 'SMTP_PASS', 'SMTP_ADMIN_EMAIL', 'DATABASE_URL'])
    if (!env[name]) problems.push(`${name} is not set`);
  try {
    const masters = await parseMasterKeys(env.PHI_MASTER_KEYS, env.PHI_MASTER_KEY_ID);
    if (masters.hasDevelopmentKey) problems.push('PHI_MASTER_KEYS has the development key, which is public');
  } catch (error) {
    problems.push((error as Error).message);
  }
  return problems;
}

const { values } = readOptions(() => parseArgs({ options: { 'project-ref': { type: 'string' } } }));
const linked =
  values['project-ref'] ?? (await readFile(`${supabase}/.temp/project-ref`, 'utf8').catch(() => '')).trim();
const problems = [
  ...(linked
    ? await remoteOf(linked)
    : ['no project is linked: npx supabase link --project-ref <project-ref>']),
  ...(await secrets(process.env)),
];
if (problems.length === 0) console.log(`Nothing stands in the way of deploying to ${linked}.`);
else {
  for (const problem of problems) console.error(`- ${problem}`);
  process.exitCode = 1;
}
