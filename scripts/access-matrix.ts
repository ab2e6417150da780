/**
 * `npm run access-matrix`: writes docs/access-matrix.md from tests/access/expectations.ts, which the tests hold against
 * the database. With `--check` it only says whether the file is up to date.
 */
import { readFile, writeFile } from 'node:fs/promises';
import {
  functions,
  type PersonName,
  people,
  type Reach,
  type Reaches,
  relations,
  titles,
} from '../tests/access/expectations.ts';

const path = new URL('../docs/access-matrix.md', import.meta.url);

const signs: Record<Reach, string> = {
  'no grant': '–',
  none: 'nothing',
  own: 'own',
  clinic: 'clinic',
  theirs: 'theirs',
  all: 'all',
};

const row = (...cells: string[]) => `| ${cells.join(' | ')} |`;
const header = (...first: string[]) => {
  const cells = [...first, ...people.map((person) => titles[person])];
  return [row(...cells), row(...cells.map(() => '---'))];
};
const reachesOf = (reaches: Reaches) => reaches.map((reach) => signs[reach]);

function relationRows(): string[] {
  return Object.entries(relations).flatMap(([name, expectation]) => {
    const commands = (['select', 'insert', 'update', 'delete', 'truncate'] as const).filter((command) =>
      expectation[command].some((reach) => reach !== 'no grant'),
    );
    if (commands.length === 0) return [];
    return commands.map((command, at) =>
      row(at === 0 ? `\`${name}\`` : '', command, ...reachesOf(expectation[command])),
    );
  });
}

const closed = Object.entries(relations)
  .filter(([, each]) =>
    [each.select, each.insert, each.update, each.delete, each.truncate].every((reaches) =>
      reaches.every((reach) => reach === 'no grant'),
    ),
  )
  .map(([name]) => `\`${name}\``);

function functionRows(): string[] {
  return Object.entries(functions).map(([signature, { reaches, refusal, told = {} }]) => {
    const name = signature.slice(signature.indexOf('.') + 1, signature.indexOf('('));
    const others = (Object.entries(told) as [PersonName, string][])
      .filter(([person]) => person !== 'nobody')
      .map(([person, code]) => `${titles[person]}: ${code}`);
    return row(`\`${name}\``, ...reachesOf(reaches), [refusal, ...others].join('; '));
  });
}

function columnLists(): string[] {
  return Object.entries(relations).flatMap(([name, { insertable, updatable }]) => {
    const list = (columns: readonly string[]) => columns.map((column) => `\`${column}\``).join(', ');
    const parts = [
      ...(insertable ? [`insert ${list(insertable)}`] : []),
      ...(updatable ? [`update ${list(updatable)}`] : []),
    ];
    return parts.length === 0 ? [] : [`- \`${name}\`: ${parts.join('; ')}`];
  });
}

const [functionHeader = '', functionRule = ''] = header('function');

const text = `# Who may do what

Every table, view and function, every role, every command. This page is written by \`npm run access-matrix\` from
[\`tests/access/expectations.ts\`](../tests/access/expectations.ts); [\`matrix.test.ts\`](../tests/access/matrix.test.ts)
tries each cell on the database, on a row of the person's own, of another therapist's and of another organization's, and
fails when the catalog has anything that is not here.

| word | meaning | what a refusal looks like |
| --- | --- | --- |
| – | no privilege | an error: SQLSTATE 42501, HTTP 401 or 403 |
| nothing | the command is granted, no row is within reach | an empty result; for an insert an error (42501) |
| own | her own rows, or those of the clients she stands for | as above for all other rows |
| clinic | all rows of her organization | as above for other organizations' |
| theirs | the other tenant's admin: all rows of her organization, none of this one | as above for this one's |
| all | every row of every organization | |

*no membership* is somebody whose membership has just ended, with rows of her own and a token that is still valid and
still names the organization and her role. *service_role* is the secret key: it bypasses row-level security, not the
grants, constraints and triggers.

## Tables and views

${[...header('table or view', 'command'), ...relationRows()].join('\n')}

No API role has any privilege on ${closed.join(', ')}. Commands that are not listed are granted to nobody.

Signed-in people write these columns only:

${columnLists().join('\n')}

## Functions

What is listed is called through the API (\`/rest/v1/rpc/…\`). All are SECURITY INVOKER; what they do with more privileges
is in the function of the same name in schema \`private\`, which no API role can call. No other function of \`private\` and
\`audit\` can be called by any of them. The last column says what is told to people whom the row is out of reach for;
people without membership are told \`raised FORBIDDEN\`.

${[`${functionHeader} refusal |`, `${functionRule} --- |`, ...functionRows()].join('\n')}
`;

if (process.argv.includes('--check')) {
  const current = await readFile(path, 'utf8').catch(() => '');
  if (current !== text) {
    console.error(
      'docs/access-matrix.md is not what tests/access/expectations.ts says: run npm run access-matrix',
    );
    process.exitCode = 1;
  }
} else {
  await writeFile(path, text);
}
