/**
 * `npm run mutants -- [words] [--quick]`: plants the mistakes of `tests/mutants/mutants.ts` in a copy of the project, one at
 * a time, and says which tests see each. Words choose mistakes by their name or file. Takes minutes; the exit code is 1 when
 * a mistake was seen by no test. With `--quick` only mistakes in functions, views, triggers and policies are tried, against the
 * stories alone: a second or two each.
 */
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import colors from 'picocolors';
import { type Mutant, mutants } from '../tests/mutants/mutants.ts';
import { tryQuickly } from '../tests/mutants/quick.ts';
import { copyProject, type ProjectCopy } from '../tests/setup/project-copy.ts';
import { writeBaseline } from './generate-migrations.ts';

/** What the tests said. */
interface Verdict {
  /** Full names of the tests that failed. */
  failed: string[];
  /** Of test files that did not run. */
  broken: string[];
}

/** The part of vitest's JSON report that is read here. */
interface Report {
  testResults: {
    name: string;
    status: string;
    message: string;
    assertionResults: { status: string; fullName: string }[];
  }[];
}

async function runTests(copy: ProjectCopy, filters: string[]): Promise<Verdict> {
  const reportFile = `${copy.root}/reports/mutants.json`;
  await rm(reportFile, { force: true });
  const { output } = await copy.run(
    ...(['vitest', 'run', ...filters, '--reporter=json', `--outputFile=${reportFile}`] as const),
    // It compares the list with the code, which is not the same while a mistake is in it.
    '--exclude=tests/unit/mutants.test.ts',
  );
  const text = await readFile(reportFile, 'utf8').catch(() => null);
  if (text === null) return { failed: [], broken: [output.slice(-2_000)] };
  const { testResults } = JSON.parse(text) as Report;
  return {
    failed: testResults.flatMap(({ assertionResults }) =>
      assertionResults.filter(({ status }) => status === 'failed').map(({ fullName }) => fullName.trim()),
    ),
    broken: testResults
      .filter(
        ({ status, assertionResults }) =>
          status === 'failed' && !assertionResults.some((each) => each.status === 'failed'),
      )
      .map(({ name, message }) => `${name.slice(copy.root.length + 1)}: ${message}`),
  };
}

/** Writes the migration from the schema files again, where one of them was changed. */
async function bringUpToDate(copy: ProjectCopy, { file }: Mutant): Promise<void> {
  if (file.startsWith('supabase/schemas/')) await copy.run('node', 'scripts/generate-migrations.ts');
}

async function plant(copy: ProjectCopy, mutant: Mutant): Promise<Verdict> {
  const path = `${copy.root}/${mutant.file}`;
  const text = await readFile(path, 'utf8');
  await writeFile(
    path,
    text.replace(mutant.from, () => mutant.to),
  );
  await bringUpToDate(copy, mutant);
  try {
    return await runTests(copy, mutant.tests);
  } finally {
    await writeFile(path, text);
    await bringUpToDate(copy, mutant);
  }
}

/** Prints what became of a mistake. @returns whether a test saw it */
function tell({ name, file }: Mutant, { failed, broken }: Verdict, seconds: number): boolean {
  const took = colors.dim(`${seconds.toFixed(0)} s`);
  if (failed.length > 0) {
    const others = failed.length > 1 ? ` and ${failed.length - 1} more` : '';
    console.log(`${colors.green('✔')} ${name}  ${took}\n    ${colors.dim(`${failed[0]}${others}`)}`);
    return true;
  }
  if (broken.length > 0) {
    console.log(`${colors.yellow('?')} ${name}  ${took}\n    the tests did not run: ${broken[0]}`);
    return false;
  }
  console.log(`${colors.red('✖')} ${name}  ${took}\n    seen by no test, in ${file}`);
  return false;
}

/** Tries mistakes on one database. @returns how many no story saw */
async function quickly(chosen: readonly Mutant[]): Promise<number> {
  await writeBaseline();
  let unseen = 0;
  const others = await tryQuickly(chosen, ({ mutant, seenBy, seconds }) => {
    if (!tell(mutant, { failed: seenBy === null ? [] : [seenBy], broken: [] }, seconds)) unseen += 1;
  });
  console.log(
    `\n${chosen.length - others.length - unseen} of ${chosen.length - others.length} mistakes seen by stories.`,
  );
  if (others.length > 0)
    console.log(colors.dim(`${others.length} others need a copy of the project: without --quick.`));
  return unseen;
}

async function main(): Promise<void> {
  const { positionals: words, values: options } = parseArgs({
    allowPositionals: true,
    options: { quick: { type: 'boolean', default: false } },
  });
  const chosen = mutants.filter(
    ({ name, file }) =>
      words.length === 0 || words.some((word) => name.includes(word) || file.includes(word)),
  );
  if (chosen.length === 0) throw new Error(`No mistake has ${words.join(' or ')} in its name or file.`);

  if (options.quick) process.exit((await quickly(chosen)) === 0 ? 0 : 1);

  const temporary = await mkdtemp(join(tmpdir(), 'mutants-'));
  // The database server of the copy may run as another user. Its templates are of no use to anybody else.
  await chmod(temporary, 0o755);
  process.env.TMPDIR = temporary;
  const copy = await copyProject();
  const stop = async (code: number) => {
    await copy.remove();
    await rm(temporary, { recursive: true, force: true });
    process.exit(code);
  };
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => void stop(1));

  console.log(`Running the tests without a mistake first …`);
  const before = await runTests(copy, [...new Set(chosen.flatMap(({ tests }) => tests))]);
  if (before.broken.length > 0) {
    console.error(colors.red(['These do not run:', ...before.broken].join('\n  ')));
    return stop(1);
  }
  // What fails anyway has seen nothing.
  const anyway = new Set(before.failed);
  if (anyway.size > 0)
    console.log(colors.yellow(['These fail without a mistake, too:', ...anyway].join('\n  ')));
  const unseen: Mutant[] = [];
  for (const mutant of chosen) {
    const began = performance.now();
    const { failed, broken } = await plant(copy, mutant);
    const verdict = { failed: failed.filter((name) => !anyway.has(name)), broken };
    if (!tell(mutant, verdict, (performance.now() - began) / 1000)) unseen.push(mutant);
  }
  console.log(`\n${chosen.length - unseen.length} of ${chosen.length} mistakes seen.`);
  for (const { name } of unseen) console.log(`  ${colors.red('✖')} ${name}`);
  return stop(unseen.length === 0 ? 0 : 1);
}

await main();
