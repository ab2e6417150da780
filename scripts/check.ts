/**
 * `npm run check`: everything that can be known without running a test. All checks run, whatever fails; the failures
 * are listed at the end, and the exit code is 1 when there are any. `npm run check -- squawk biome` runs those whose
 * name has one of the words.
 */
import { readdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { createSpinner } from 'nanospinner';
import colors from 'picocolors';
import { startStack } from '../local/stack.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Commands write into a pipe here; they are told what this terminal can show. */
const colouring: Record<string, string> = colors.isColorSupported ? { FORCE_COLOR: '1' } : { NO_COLOR: '1' };

/** What a check found: nothing, or what to print. */
interface Finding {
  ok: boolean;
  output: string;
}

/** Something to check, and the command that puts right what can be put right by a command. */
interface Check {
  name: string;
  run(): Promise<Finding>;
  remedy?: string;
}

/** Runs a command of the project's own `node_modules/.bin`, in the project's folder. */
async function command(name: string, ...args: string[]): Promise<Finding> {
  const result = await execa(name, args, {
    cwd: root,
    preferLocal: true,
    localDir: root,
    reject: false,
    all: true,
    stdin: 'ignore',
    env: {
      ...colouring,
      SUPABASE_TELEMETRY_DISABLED: '1',
      DO_NOT_TRACK: '1',
    },
  });
  return { ok: !result.failed, output: result.all || (result.message ?? '') };
}

async function filesIn(folder: string, pattern: RegExp): Promise<string[]> {
  const names = await readdir(`${root}/${folder}`, { recursive: true });
  return names
    .filter((name) => pattern.test(name))
    .sort()
    .map((name) => `${folder}/${name}`);
}

/** The platform's own advisors, on a database made from the migrations alone. */
async function advisors(): Promise<Finding> {
  const stack = await startStack({ api: false, seed: false });
  try {
    return await command(
      'supabase',
      'db',
      'advisors',
      `--remote=${stack.dbUrl}`,
      '--level=warn',
      '--fail-on=warn',
    );
  } finally {
    await stack.stop();
  }
}

const checks: Check[] = [
  {
    name: 'format and lint (biome)',
    run: () => command('biome', 'check', '--error-on-warnings', '.'),
    remedy: 'npx biome check --write .',
  },
  { name: 'types, Node (tsc)', run: () => command('tsc', '--noEmit', '--singleThreaded') },
  { name: 'dead code and unused packages (knip)', run: () => command('knip', '--no-progress') },
  {
    name: 'types, web app (tsc)',
    run: () => command('tsc', '--noEmit', '--singleThreaded', '--project', 'examples/web'),
  },
  {
    name: 'types, edge functions (deno check)',
    run: async () =>
      command('deno', 'check', '--quiet', ...(await filesIn('supabase/functions', /^[^_][^/]*\/index\.ts$/))),
  },
  {
    name: 'the baseline migration is supabase/schemas',
    run: () => command('node', 'scripts/generate-migrations.ts', '--check'),
    remedy: 'npm run migrations',
  },
  {
    name: 'migrations (squawk)',
    run: async () => command('squawk', ...(await filesIn('supabase/migrations', /\.sql$/))),
  },
  { name: 'security and performance (supabase db advisors)', run: advisors },
  {
    name: 'openapi.yaml and docs/codes.md are the contract’s',
    run: () => command('node', 'scripts/generate-openapi.ts', '--check'),
    remedy: 'npm run openapi',
  },
  {
    name: 'database.types.ts and docs/rpc.md are the migrations’',
    run: () => command('node', 'scripts/generate-types.ts', '--check'),
    remedy: 'npm run types',
  },
  {
    name: 'service-codes.ts is public.service_codes',
    run: () => command('node', 'scripts/generate-service-codes.ts', '--check'),
    remedy: 'npm run service-codes',
  },
  {
    name: 'docs/access-matrix.md is the tested matrix',
    run: () => command('node', 'scripts/access-matrix.ts', '--check'),
    remedy: 'npm run access-matrix',
  },
  {
    name: 'docs/audit-trail.md has the tables of the tests',
    run: () => command('node', 'scripts/audit-docs.ts', '--check'),
    remedy: 'npm run audit-docs',
  },
  {
    name: 'docs/rule-matrix.md is the tested matrix',
    run: () => command('node', 'scripts/rule-matrix.ts', '--check'),
    remedy: 'npm run rule-matrix',
  },
];

const words = process.argv.slice(2);
const chosen = checks.filter(({ name }) => words.length === 0 || words.some((word) => name.includes(word)));
const unknown = words.filter((word) => !checks.some(({ name }) => name.includes(word)));
if (unknown.length > 0) {
  console.error(colors.red(`No check is called ${unknown.join(' or ')}. There are:`));
  for (const { name } of checks) console.error(`  ${name}`);
  process.exit(1);
}

const failures: Check[] = [];
for (const check of chosen) {
  const spinner = createSpinner(check.name, { stream: process.stdout }).start();
  const began = performance.now();
  const finding = await check.run().catch((error: unknown) => ({
    ok: false,
    output: error instanceof Error ? (error.stack ?? error.message) : String(error),
  }));
  const took = colors.dim(`${((performance.now() - began) / 1000).toFixed(1)} s`);
  if (finding.ok) {
    spinner.success({ text: `${check.name}  ${took}` });
  } else {
    spinner.error({ text: `${check.name}  ${took}` });
    console.log(finding.output.trimEnd().replace(/^/gm, '  '));
    failures.push(check);
  }
}

if (failures.length === 0) {
  console.log(colors.green(`\nAll ${chosen.length} checks passed.`));
} else {
  console.log(colors.red(`\n${failures.length} of ${chosen.length} checks failed:`));
  for (const { name, remedy } of failures)
    console.log(`  ${colors.red('✖')} ${name}${remedy ? colors.dim(`  try: ${remedy}`) : ''}`);
  process.exitCode = 1;
}
