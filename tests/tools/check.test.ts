/** Each check of `npm run check` finds what it is there for: drifts are planted in a copy of the project. */
import { readFile, rm, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { copyProject, type ProjectCopy } from '../setup/project-copy.ts';

// All checks take a quarter of a minute on an idle machine.
vi.setConfig({ testTimeout: 900_000 });

let copy: ProjectCopy;
beforeAll(async () => {
  copy = await copyProject();
});
afterAll(async () => {
  vi.resetConfig();
  await copy.remove();
});

const check = (...words: string[]) => copy.run('node', 'scripts/check.ts', ...words);

/** What each check said in a run of `check.ts`, by its name; of those that passed nothing. */
function failuresIn(output: string): Map<string, string> {
  const failures = new Map<string, string>();
  let said: string[] | undefined;
  for (const line of output.split('\n')) {
    const name = /^(✖|✔) (.*?) {2}[\d.]+ s/.exec(line);
    if (name) said = undefined;
    if (name?.[1] === '✖') failures.set(name[2] ?? '', '');
    if (name?.[1] === '✖') said = [name[2] ?? ''];
    else if (said?.[0] !== undefined) failures.set(said[0], `${failures.get(said[0])}${line}\n`);
  }
  return failures;
}

/** Changes or makes files of the copy; returns what puts them back. */
async function plant(changes: Record<string, (text: string) => string>): Promise<() => Promise<void>> {
  const undo: (() => Promise<void>)[] = [];
  for (const [name, change] of Object.entries(changes)) {
    const path = `${copy.root}/${name}`;
    const before = await readFile(path, 'utf8').catch(() => null);
    undo.push(() => (before === null ? rm(path) : writeFile(path, before)));
    await writeFile(path, change(before ?? ''));
  }
  return async () => {
    for (const step of undo) await step();
  };
}

const append = (line: string) => (text: string) => `${text}\n${line}\n`;

test('every check finds its drift, all are run whatever fails, and the exit code is 1', async () => {
  const putBack = await plant({
    'src/badly-formatted.ts': () => 'export   const unformatted = 1',
    'src/badly-typed.ts': () => "export const badlyTyped: number = 'text';\n",
    // The rest of the project takes ten times as long as what has the drift, and `npm run check` reads it all.
    'tsconfig.json': (text) => text.replace(/"include": \[.*\]/, '"include": ["src"]'),
    'examples/web/src/badly-typed-page.tsx': () => "export const badlyTyped: number = 'text';\n",
    'supabase/functions/sessions-hold/index.ts': append("export const badlyTypedForDeno: number = 'text';"),
    'src/lib/deadCode.ts': () => "export const nobodyUsesThis = 'dead';\n",
    'supabase/schemas/tenancy/tenancy.sql': append('-- The baseline does not have this line.'),
    'supabase/migrations/29990101000000_planted.sql': () =>
      `create table private.planted (name varchar(10));
create function private.planted() returns integer language sql as 'select 1';
`,
    'openapi.yaml': append('# Not in the contract.'),
    'docs/codes.md': append('Not in the contract.'),
    'src/lib/database.types.ts': append('export type NotInTheDatabase = never;'),
    'docs/access-matrix.md': append('Not in the expectations.'),
    'docs/rule-matrix.md': append('Not in the matrix.'),
    'docs/audit-trail.md': (text) => text.replace('<!-- /edits -->', '| planted |\n<!-- /edits -->'),
    'supabase/functions/_shared/service-codes.ts': append('// Not in the database.'),
  });
  try {
    const { exitCode, output } = await check();
    const failures = failuresIn(output);
    const said = (part: string) => [...failures].find(([name]) => name.includes(part))?.[1] ?? '';
    expect.soft(said('biome')).toContain('badly-formatted.ts');
    expect.soft(said('Node (tsc)')).toContain('badly-typed.ts');
    expect.soft(said('web app (tsc)')).toContain('badly-typed-page.tsx');
    expect.soft(said('deno check')).toContain('badlyTypedForDeno');
    expect.soft(said('knip')).toContain('deadCode.ts');
    expect.soft(said('baseline')).toContain('npm run migrations');
    expect.soft(said('squawk')).toContain('29990101000000_planted.sql');
    // Of level "warn" only: a function that does not fix its search_path.
    expect.soft(said('advisors')).toMatch(/function_search_path_mutable/i);
    expect.soft(said('openapi.yaml')).toContain('openapi.yaml differs');
    expect.soft(said('openapi.yaml')).toContain('docs/codes.md differs');
    expect.soft(said('database.types.ts')).toContain('npm run types');
    expect.soft(said('access-matrix')).toContain('npm run access-matrix');
    expect.soft(said('rule-matrix')).toContain('npm run rule-matrix');
    expect.soft(said('audit-trail')).toContain('npm run audit-docs');
    expect.soft(said('service-codes')).toContain('npm run service-codes');
    // A check that finds nothing here needs a drift above.
    const all = [...output.matchAll(/^[✖✔] (.*?) {2}/gm)].map(([, name]) => name);
    expect([...failures.keys()]).toEqual(all);
    expect(output).toContain(`${all.length} of ${all.length} checks failed`);
    expect(exitCode).toBe(1);
  } finally {
    await putBack();
  }
});

test('a schema file that config.toml does not list is a drift of the baseline', async () => {
  const putBack = await plant({
    'supabase/schemas/forgotten.sql': () => 'create table public.forgotten ();\n',
  });
  try {
    const { exitCode, output } = await check('baseline');
    expect(output).toContain('not in schema_paths of supabase/config.toml: schemas/forgotten.sql');
    expect(exitCode).toBe(1);
  } finally {
    await putBack();
  }
});

test('one failure among checks that pass is enough for exit code 1', async () => {
  const putBack = await plant({ 'docs/access-matrix.md': append('Not in the expectations.') });
  try {
    const { exitCode, output } = await check('baseline', 'access-matrix', 'squawk');
    expect([...failuresIn(output).keys()]).toEqual(['docs/access-matrix.md is the tested matrix']);
    expect(output).toContain('1 of 3 checks failed');
    expect(exitCode).toBe(1);
  } finally {
    await putBack();
  }
});

test('without a drift the exit code is 0; checks are chosen by words of their names', async () => {
  const { exitCode, output } = await check('baseline', 'access-matrix');
  expect(output).toContain('All 2 checks passed.');
  expect(exitCode).toBe(0);
  expect(await check('no-such-check')).toMatchObject({ exitCode: 1 });
});
