/** The mistakes of `npm run mutants` still fit the code. */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { mutants } from '../mutants/mutants.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));

it.each(mutants)('"$name": its text occurs exactly once in $file', ({ file, from, to }) => {
  const text = readFileSync(`${root}/${file}`, 'utf8');
  // When the code has changed, change `from` and `to` with it, or take the mistake out of the list.
  expect(text.split(from)).toHaveLength(2);
  expect(to).not.toBe(from);
});

it('has each name once', () => {
  const names = mutants.map(({ name }) => name);
  expect(new Set(names).size).toBe(names.length);
});
