/**
 * `npm run rule-matrix`: writes docs/rule-matrix.md from tests/rules/matrix.ts, which the tests hold against the database.
 * With `--check` it only says whether the file is up to date.
 */
import { readFile, writeFile } from 'node:fs/promises';
import { holes } from '../tests/rules/holes.ts';
import {
  type Cell,
  expectedCell,
  functions,
  paths,
  placementRules,
  recordRules,
  tables,
} from '../tests/rules/matrix.ts';

const path = new URL('../docs/rule-matrix.md', import.meta.url);

const row = (...cells: string[]) => `| ${cells.join(' | ')} |`;
const table = (header: string[], rows: string[][]) =>
  [row(...header), row(...header.map(() => '---')), ...rows.map((cells) => row(...cells))].join('\n');

/** Reasons, each with a number of its own. */
const reasons: string[] = [];
function signOf(cell: Cell): string {
  if (typeof cell === 'string') return cell;
  if (!reasons.includes(cell.because)) reasons.push(cell.because);
  return `n. a. (${reasons.indexOf(cell.because) + 1})`;
}
/** A cell that does not hold yet. */
const marked = (name: string, sign: string) => (holes.has(name) ? `**not yet** ${sign}` : sign);

const users = paths.filter(
  ({ person, way }) => !['service_role', 'SQL'].includes(person) && way !== 'insert' && way !== 'update',
);
const writers = paths.filter((each) => !users.includes(each));
const placements = (columns: typeof paths) =>
  table(
    ['rule', ...columns.map(({ title }) => title)],
    placementRules.map((rule) => [
      rule.title,
      ...columns.map((each) => marked(`${rule.name} | ${each.id}`, signOf(expectedCell(rule, each)))),
    ]),
  );

const booking = placements(users);
const writing = placements(writers);
const records = table(
  ['rule', 'tried', 'therapist', 'admin', 'service_role', 'SQL'],
  recordRules.flatMap(({ name, title, trials }) => {
    const statements = [...new Set(trials.map((trial) => `${trial.title}\n${trial.statement}`))];
    return statements.map((key, at) => {
      const [what = '', statement = ''] = key.split('\n');
      return [
        at === 0 ? title : '',
        statement.startsWith('update')
          ? `\`${/set (.*) where/.exec(statement)?.[1] ?? what}\``
          : `\`${what}\``,
        ...(['rbt', 'admin', 'service_role', 'SQL'] as const).map((who) => {
          const trial = trials.find((each) => each.who === who && each.statement === statement);
          return trial ? marked(`${name} | ${what} · ${who}`, trial.outcome) : '';
        }),
      ];
    });
  }),
);
const none = (ways: Readonly<Record<string, unknown>>) =>
  Object.entries(ways)
    .filter(([, way]) => typeof way === 'string')
    .map(([name, way]) => `- \`${name}\`: ${way}`)
    .join('\n');

const text = `# Which rule holds on which way

Every rule about a booking, by every way to write one. This page is written by \`npm run rule-matrix\` from
[\`tests/rules/matrix.ts\`](../tests/rules/matrix.ts); [\`matrix.test.ts\`](../tests/rules/matrix.test.ts) tries each cell on the
database, and fails when the catalog has a function or a table that is not here.

*refused*: what breaks the rule is not written. *allowed*: it is. *n. a.*: the question does not arise, for the reason below the
tables. **not yet**: the cell says what should come of it, and it does not yet.

Users may write by REST what they may book. \`service_role\` and SQL may place a session in the past and outside hours; all else
holds for them too.

## Booking

${booking}

## Writing rows

\`insert\` and \`update\` are of \`sessions\`, \`update a group\` is of \`session_groups\`.

${writing}

## What becomes of a session

${records}

## Reasons

${reasons.map((reason, at) => `${at + 1}. ${reason}`).join('\n')}

## No way to a booking

Functions:

${none(functions)}

Tables:

${none(tables)}
`;

if (process.argv.includes('--check')) {
  const current = await readFile(path, 'utf8').catch(() => '');
  if (current !== text) {
    console.error('docs/rule-matrix.md is not what tests/rules/matrix.ts says: run npm run rule-matrix');
    process.exitCode = 1;
  }
} else {
  await writeFile(path, text);
}
