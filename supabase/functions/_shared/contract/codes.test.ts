import { readdirSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { ERROR_CODES } from './codes.ts';

const root = new URL('../../../../', import.meta.url);
const schemas = new URL('supabase/schemas/', root);

/** Codes of what a success still warns of; the contract of `sessions-hold` describes them. */
const WARNINGS = ['AUTHORIZATION_NEARLY_USED', 'UNIT_LIMIT_EXCEEDED'];

/** Every code in the database's functions: `'WORDS_LIKE_THIS'`. */
function codesInSql(): string[] {
  const files = readdirSync(schemas, { recursive: true, encoding: 'utf8' }).filter((name) =>
    name.endsWith('.sql'),
  );
  const found = files.flatMap((name) =>
    [...readFileSync(new URL(name, schemas), 'utf8').matchAll(/'([A-Z]+(?:_[A-Z]+)+)'/g)].map(
      ([, code = '']) => code,
    ),
  );
  return [...new Set(found)].sort();
}

it('every code that the database answers is in the table, with what the app should do about it', () => {
  const codes = codesInSql();
  expect(codes.length).toBeGreaterThan(20);
  expect(codes.filter((code) => !(code in ERROR_CODES) && !WARNINGS.includes(code))).toEqual([]);
});

it('docs/codes.md has every code of the table, and who answers it', () => {
  const documented = readFileSync(new URL('docs/codes.md', root), 'utf8');
  for (const [code, { endpoints, ...entry }] of Object.entries(ERROR_CODES)) {
    const [row = ''] = documented.match(new RegExp(`^.*\\| \`${code}\` \\|.*$`, 'm')) ?? [];
    expect(row, code).toContain(entry.meaning);
    const rpcs: readonly string[] = 'rpcs' in entry ? entry.rpcs : [];
    expect(endpoints.length + rpcs.length, `${code} is answered by nobody`).toBeGreaterThan(0);
    for (const name of rpcs) expect(row).toContain(`\`${name}\``);
  }
});
