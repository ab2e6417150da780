/** The examples of the docstrings compile, and those that need no stack give what their comments say. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { stripTypeScriptTypes } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import * as library from '../../src/lib/index.ts';
import * as civilTime from '../../supabase/functions/_shared/civil-time.ts';
import * as recurrence from '../../supabase/functions/_shared/recurrence.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const sources = [
  ...readdirSync(`${root}src/lib`)
    .filter((name) => name.endsWith('.ts') && name !== 'database.types.ts')
    .map((name) => `src/lib/${name}`),
  ...['civil-time', 'cpt', 'recurrence', 'units'].map((name) => `supabase/functions/_shared/${name}.ts`),
];

interface Docstring {
  /** The name that is documented. */
  name: string;
  text: string;
  example: string | null;
}

const docstrings: Docstring[] = sources.flatMap((source) => {
  const code = readFileSync(`${root}${source}`, 'utf8');
  const documented =
    /\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\s*(?:\/\/[^\n]*\s*)*export (?:async )?(?:function|const|class|interface|type) (\w+)/g;
  return [...code.matchAll(documented)].map(([, comment = '', name = '']) => {
    const text = comment.replace(/^\s*\* ?/gm, '');
    return { name, text, example: /```ts\n([\s\S]*?)```/.exec(text)?.[1] ?? null };
  });
});
/** The code of `docs/client-library.md`, by its place there. */
const guide = readFileSync(`${root}docs/client-library.md`, 'utf8');
const guideExamples = [...guide.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code = ''], index) => ({
  name: `guide-${index + 1}`,
  text: '',
  example: code.replace(/^import .*\n/gm, ''),
}));

const examples = docstrings.filter((each): each is Docstring & { example: string } => each.example !== null);

const extras = {
  civilTime: Object.keys(civilTime).filter((name) => !(name in library)),
  recurrence: Object.keys(recurrence).filter((name) => !(name in library)),
};

const isClass = (value: unknown) => typeof value === 'function' && /^class\b/.test(String(value));

const functions = Object.entries(library).filter(([, value]) => typeof value === 'function');

it.each(functions.map(([name]) => name))(
  '%s has a docstring with its parameters, answer, errors and an example',
  (name) => {
    const found = docstrings.find((each) => each.name === name);
    expect(found?.example, `the example of ${name}`).toBeTruthy();
    const [, value] = functions.find(([each]) => each === name) ?? [];
    if (isClass(value)) return;
    if (typeof value === 'function' && value.length > 0) expect(found?.text).toContain('@param');
    expect(found?.text).toMatch(/@returns|@throws/);
  },
);

it('every example compiles', () => {
  const folder = mkdtempSync(join(tmpdir(), 'examples-'));
  try {
    symlinkSync(`${root}node_modules`, join(folder, 'node_modules'));
    for (const { name, example } of [...examples, ...guideExamples]) {
      const own = (names: string[]) => names.filter((each) => new RegExp(`\\b${each}\\b`).test(example));
      const imports = [
        [own(Object.keys(library)), 'src/lib/index.ts'],
        [own(extras.civilTime), 'supabase/functions/_shared/civil-time.ts'],
        [own(extras.recurrence), 'supabase/functions/_shared/recurrence.ts'],
      ] as const;
      writeFileSync(
        join(folder, `${name}.ts`),
        [
          ...imports.map(([names, path]) =>
            names.length > 0 ? `import { ${names.join(', ')} } from '${root}${path}';` : '',
          ),
          `import type { SupabaseClient } from '@supabase/supabase-js';`,
          `import type { BookSessionRequest, Database, HoldResponse } from '${root}src/lib/index.ts';`,
          'declare const supabase: SupabaseClient<Database>;',
          'declare const therapistId: string, toTherapistId: string, clientId: string, sessionId: string, seriesId: string, booking: BookSessionRequest;',
          /const hold = /.test(example) ? '' : 'declare const hold: HoldResponse;',
          example,
        ].join('\n'),
      );
    }
    const config = { extends: `${root}tsconfig.json`, compilerOptions: { types: [] }, include: ['*.ts'] };
    writeFileSync(join(folder, 'tsconfig.json'), JSON.stringify(config));
    const compile = () =>
      execFileSync(`${root}node_modules/.bin/tsc`, ['-p', folder], { encoding: 'utf8', stdio: 'pipe' });
    try {
      compile();
    } catch (error) {
      throw new Error((error as { stdout: string }).stdout);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
  expect(examples.length).toBeGreaterThan(25);
}, 60_000);

const runnable = examples.filter(({ example }) => !/supabase|error\.|hold\./.test(example));

it.each(runnable.map(({ name, example }) => [name, example] as const))(
  'the example of %s is true',
  async (_, example) => {
    const checked = example
      // `expression; // value` and a value on the lines that follow
      .replace(/^([^\n;]+);\n((?:\/\/ [^\n]*\n)+)/gm, (_all, expression: string, comment: string) =>
        /^(const|let|import)\b|^\s*[}\])]/.test(expression)
          ? `${expression};`
          : `check(${expression}, \`${comment.replace(/^\/\/ ?/gm, '')}\`);\n`,
      )
      .replace(/^([^\n]+); \/\/ (.+)$/gm, (line, expression: string, value: string) =>
        /^(const|let)\b/.test(expression) ? line : `check(${expression}, ${JSON.stringify(value)});`,
      );
    let checks = 0;
    const check = (actual: unknown, comment: string) => {
      // What stands after a colon or an "is" is prose: '2026-…Z', which is 03:30 there.
      const literal = /^('[^']*'|-?\d+|true|false|null|[[{][\s\S]*[\]}])/.exec(comment.trim())?.[1];
      if (literal === undefined) return;
      checks += 1;
      expect(actual).toEqual(new Function(`return (${literal})`)());
    };
    const scope = { ...civilTime, ...recurrence, ...library, check, therapistId: 'T', clientId: 'C' };
    const body = stripTypeScriptTypes(`async function example() {\n${checked}\n}`);
    await new Function(...Object.keys(scope), `${body}\nreturn example();`)(...Object.values(scope));
    expect(checks === 0 && / \/\/ /.test(example)).toBe(false);
  },
);
