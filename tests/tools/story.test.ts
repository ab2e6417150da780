/** `npm run story`, on a copy of the project. */
import { appendFile, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { copyProject, type ProjectCopy } from '../setup/project-copy.ts';
import { storiesNamed } from '../setup/story.ts';

const passing = "begin; select plan(1); select ok(true, 'all is well'); select * from finish(); rollback;";

let copy: ProjectCopy;
beforeAll(async () => {
  copy = await copyProject();
  await writeFile(`${copy.root}/supabase/tests/an_example.sql`, passing);
});
afterAll(() => copy.remove());

const story = (...args: string[]) => copy.run('node', 'scripts/story.ts', ...args);

test('a name means the story of that name, else those that begin with it, else those that have it inside', () => {
  const files = ['a_group.sql', 'a_group_moves.sql', 'moving_a_group.sql'];
  expect(storiesNamed('a_group', files)).toEqual(['a_group.sql']);
  expect(storiesNamed('a_g', files)).toEqual(['a_group.sql', 'a_group_moves.sql']);
  expect(storiesNamed('moving', files)).toEqual(['moving_a_group.sql']);
  expect(storiesNamed('group', files)).toEqual(files);
  expect(storiesNamed('supabase/tests/a_group.sql', files)).toEqual(['a_group.sql']);
  expect(storiesNamed('nothing', files)).toEqual([]);
});

test('runs the named stories and no other', async () => {
  const { exitCode, output } = await story('an_example');
  expect(output).toMatch(/✔ an_example {2}1 ok/);
  expect(output.match(/[✔✖]/g)).toHaveLength(1);
  expect(exitCode).toBe(0);
});

test('fails with the assertion that failed, the error, or the tests that are missing', async () => {
  await writeFile(
    `${copy.root}/supabase/tests/wrong.sql`,
    passing.replace("ok(true, 'all is well')", "is(1, 2, 'one is two')"),
  );
  await writeFile(
    `${copy.root}/supabase/tests/wrong_sql.sql`,
    passing.replace('select *', 'select nonsense'),
  );
  await writeFile(`${copy.root}/supabase/tests/wrong_plan.sql`, passing.replace('plan(1)', 'plan(2)'));
  const { exitCode, output } = await story('wrong_', 'wrong');
  expect(output).toContain('not ok 1 one is two');
  expect(output).toContain('column "nonsense" does not exist');
  expect(output).toContain('1 tests of 2 planned');
  expect(exitCode).toBe(1);
});

test('a name that no story has ends with the names there are', async () => {
  const { exitCode, output } = await story('an_example', 'no_such_story');
  expect(output).toContain('No story is called no_such_story.');
  expect(output).toContain('expired_holds_never_block');
  expect(exitCode).toBe(1);
});

test('with --watch it runs again when the story changes, and on a new database when the schema does', async () => {
  let said = '';
  let look = () => {};
  const watching = copy.start(
    (text) => {
      said += text;
      look();
    },
    ...(['node', 'scripts/story.ts', 'an_example', '--watch'] as const),
  );
  const hears = (text: string) =>
    new Promise<void>((heard, failed) => {
      look = () => said.includes(text) && heard();
      look();
      void watching.ended.then(() => failed(new Error(`ended without saying "${text}":\n${said}`)));
    });
  try {
    await hears('Watching');
    said = '';
    const asking = passing.replace("ok(true, 'all is well')", "has_table('public', 'added', 'is there')");
    await writeFile(`${copy.root}/supabase/tests/an_example.sql`, asking);
    await hears('not ok 1 is there');
    said = '';
    await appendFile(
      `${copy.root}/supabase/schemas/tenancy/tenancy.sql`,
      '\ncreate table public.added ();\n',
    );
    await hears('✔ an_example');
  } finally {
    expect((await watching.end()).exitCode).toBe(0);
  }
});
