/**
 * `npm start` runs the stack until Ctrl-C; `npm run reset` throws the local data away and makes it anew.
 *
 * Environment: `API_PORT` and `DB_PORT` choose other ports than those of `supabase/config.toml`; 0 takes a free one.
 */
import { watch } from 'node:fs';
import { rm } from 'node:fs/promises';
import colors from 'picocolors';
import { functionNames } from './functions.ts';
import { fillClinics } from './living-clinic.ts';
import { persistentDataDir } from './postgres.ts';
import { projectRoot, readConfig } from './settings.ts';
import { refuseWhileRunning, type Stack, StackError, startStack } from './stack.ts';

/** Users of `supabase/seed.sql` worth trying first; all have the same password. */
const seedLogins = [
  ['super@brightpath.test', 'super_admin'],
  ['admin@brightpath.test', 'admin'],
  ['bcba@brightpath.test', 'therapist'],
  ['rbt@brightpath.test', 'therapist'],
  ['rbt2@brightpath.test', 'therapist'],
  ['parent@brightpath.test', 'client'],
  ['admin@harbor.test', 'admin, of the other organization'],
  ['bcba@harbor.test', 'therapist, of the other organization'],
  ['rbt@harbor.test', 'therapist, of the other organization'],
  ['parent@harbor.test', 'client, of the other organization'],
  ['nobody@example.test', 'no membership'],
] as const;
const seedPassword = 'demo-password-1234';

function portFrom(variable: string, fallback: number): number {
  const value = process.env[variable];
  if (value === undefined || value === '') return fallback;
  const port = Number(value);
  if (!Number.isInteger(port) || port < 0 || port > 65535)
    throw new StackError(`${variable} must be a port number (0 to 65535), not "${value}".`);
  return port;
}

async function banner(stack: Stack): Promise<string> {
  const names = await functionNames(projectRoot, readConfig());
  const rows: [string, string][] = [
    ['Web app', stack.apiUrl],
    ['API', stack.apiUrl],
    ['REST', `${stack.apiUrl}/rest/v1`],
    ['Functions', names.map((name) => `${stack.apiUrl}/functions/v1/${name}`).join(`\n${' '.repeat(18)}`)],
    ['Database', stack.dbUrl],
    ['Publishable key', stack.publishableKey],
    ['Secret key', stack.secretKey],
  ];
  const width = Math.max(...seedLogins.map(([email]) => email.length));
  return [
    '',
    ...rows.map(([name, value]) => `  ${colors.bold(name.padEnd(15))} ${value}`),
    '',
    `  ${colors.bold('Logins')}, password ${colors.cyan(seedPassword)}`,
    ...seedLogins.map(([email, role]) => `  ${email.padEnd(width)}  ${colors.dim(role)}`),
    '',
  ].join('\n');
}

/** Starts the functions again when their code changes, as `supabase functions serve` does. */
function watchFunctions(stack: Stack): void {
  let pending: NodeJS.Timeout | undefined;
  const watcher = watch(`${projectRoot}/supabase/functions`, { recursive: true }, () => {
    clearTimeout(pending);
    pending = setTimeout(async () => {
      console.log('The functions have changed: starting them again …');
      await stack.restartFunctions().catch((error: Error) => console.error(colors.red(error.message)));
    }, 300).unref();
  });
  watcher.on('error', () => watcher.close()).unref();
}

async function main(): Promise<void> {
  const config = readConfig();
  const reset = process.argv.includes('--reset');
  const dataDir = await persistentDataDir();
  let stack: Stack | undefined;
  let ending = false;

  const end = async (code: number) => {
    if (ending) return;
    ending = true;
    await stack?.stop();
    process.exit(code);
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
    process.on(signal, () => {
      if (!ending) console.log('Stopping …');
      void end(0);
    });

  // npm that is killed outright (kill -9) cannot pass the signal on.
  const parent = process.ppid;
  if (process.env.npm_lifecycle_event) setInterval(() => process.ppid !== parent && void end(0), 500).unref();

  if (reset) await refuseWhileRunning(dataDir);
  if (reset) await rm(dataDir, { recursive: true, force: true });

  const starting = startStack({
    apiPort: reset ? 0 : portFrom('API_PORT', config.api.port),
    dbPort: reset ? 0 : portFrom('DB_PORT', config.db.port),
    dataDir,
    quiet: false,
    functions: !reset,
    web: !reset,
    supervise: true,
    rateLimits: true,
    onCrash: (reason) => {
      console.error(colors.red(`${reason}; stopping the rest.`));
      void end(1);
    },
  });
  stack = await starting;
  if (ending) return void stack.stop();
  if (reset) {
    console.log('The local database is new. Run npm start.');
    return end(0);
  }
  await fillClinics(stack).catch((error: Error) => {
    // The stack is of use without it, and a developer may have changed or removed the seed's people.
    console.error(colors.yellow(`The seed's names and notes are not complete: ${error.message}`));
  });
  watchFunctions(stack);
  console.log(await banner(stack));
  console.log(`ready ${stack.apiUrl}`);
  console.log(colors.dim('\nCtrl-C stops it.'));
}

main().catch((error) => {
  console.error(error instanceof StackError ? colors.red(error.message) : error);
  process.exit(1);
});
