/**
 * `npm run story -- <name> … [--watch]`: runs single pgTAP stories of `supabase/tests`, by name or by a part of it, on a
 * database of their own that has today's `supabase/schemas`.
 *
 * The baseline migration is written anew first, so that edited schema files count at once. With `--watch` the stories
 * run again whenever one of them, a schema file or the seed changes; Ctrl-C ends it.
 */
import { watch } from 'node:fs';
import { parseArgs } from 'node:util';
import colors from 'picocolors';
import { readOptions } from '../local/options.ts';
import { projectRoot } from '../local/settings.ts';
import { type Stack, startStack } from '../local/stack.ts';
import { installStoryHelpers, runStory, storiesNamed, storyFiles } from '../tests/setup/story.ts';
import { writeBaseline } from './generate-migrations.ts';

const { positionals: names, values: options } = readOptions(() =>
  parseArgs({
    allowPositionals: true,
    options: { watch: { type: 'boolean', short: 'w', default: false } },
  }),
);

/** The stories that were asked for; a name that means none ends the command. */
async function chosenStories(): Promise<string[]> {
  const files = await storyFiles();
  const unknown = names.filter((name) => storiesNamed(name, files).length === 0);
  if (names.length > 0 && unknown.length === 0)
    return [...new Set(names.flatMap((name) => storiesNamed(name, files)))];
  const complaint =
    unknown.length > 0
      ? `No story is called ${unknown.join(' or ')}.`
      : 'Which story? npm run story -- <name>';
  throw new Error([complaint, ...files.map((file) => `  ${file.replace(/\.sql$/, '')}`)].join('\n'));
}

let stack: Stack | undefined;

/** Starts a database that has the schema files as they are now. */
async function openDatabase(): Promise<void> {
  await stack?.stop();
  stack = undefined;
  if (await writeBaseline()) console.log(colors.dim('The baseline migration is new.'));
  stack = await startStack({ api: false });
  await installStoryHelpers(stack.dbUrl);
}

/** Runs one story and prints what is wrong with it. @returns whether all is well */
async function tell(dbUrl: string, file: string): Promise<boolean> {
  const began = performance.now();
  const { assertions, planned, bailout, error } = await runStory(dbUrl, file);
  const took = colors.dim(`${((performance.now() - began) / 1000).toFixed(1)} s`);
  const failed = assertions.filter(({ result }) => !result.ok && !result.todo && !result.skip);
  const problems = [
    ...failed.map(({ result, comments }) => `not ok ${result.id} ${result.name}\n${comments.join('\n')}`),
    ...(bailout === null ? [] : [`Bail out! ${bailout}`]),
    ...(error === null ? [] : [error]),
    ...(assertions.length === planned ? [] : [`${assertions.length} tests of ${planned ?? 'no'} planned`]),
  ];
  const sign = problems.length === 0 ? colors.green('✔') : colors.red('✖');
  console.log(`${sign} ${file.replace(/\.sql$/, '')}  ${assertions.length - failed.length} ok  ${took}`);
  for (const problem of problems) console.log(problem.trimEnd().replace(/^/gm, '  '));
  return problems.length === 0;
}

/** Runs the chosen stories. @returns whether all is well */
async function tellAll(): Promise<boolean> {
  let well = true;
  for (const file of await chosenStories()) if (stack) well = (await tell(stack.dbUrl, file)) && well;
  return well;
}

/** Runs the chosen stories, on a new database if the schema has changed. @returns whether all is well */
async function round(schemaChanged: boolean): Promise<boolean> {
  try {
    if (schemaChanged || !stack) await openDatabase();
    else await installStoryHelpers(stack.dbUrl);
    return await tellAll();
  } catch (error) {
    console.log(colors.red(error instanceof Error ? error.message : String(error)));
    return false;
  }
}

/** Watches until the process is told to end. */
function watchFiles(): void {
  let schemaChanged = false;
  let pending: NodeJS.Timeout | undefined;
  let running: Promise<unknown> = Promise.resolve();
  const changed = (isSchema: boolean) => {
    schemaChanged ||= isSchema;
    clearTimeout(pending);
    // An editor that saves writes more than once.
    pending = setTimeout(() => {
      const isNew = schemaChanged;
      schemaChanged = false;
      running = running.then(() => round(isNew));
    }, 100);
  };
  const supabase = `${projectRoot}/supabase`;
  watch(`${supabase}/tests`, () => changed(false));
  watch(`${supabase}/schemas`, { recursive: true }, () => changed(true));
  watch(supabase, (_, name) => {
    if (name === 'seed.sql' || name === 'config.toml') changed(true);
  });
  console.log(colors.dim('Watching; Ctrl-C ends it.'));
}

async function end(code: number): Promise<never> {
  await stack?.stop();
  process.exit(code);
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => void end(0));
await chosenStories().catch((error: Error) => {
  console.error(colors.red(error.message));
  return end(1);
});
const well = await round(true);
if (options.watch) watchFiles();
else await end(well ? 0 : 1);
