import { afterEach, expect, it, vi } from 'vitest';

afterEach(() => {
  vi.unstubAllEnvs();
  vi.resetModules();
});

it.each([
  ['2027', '2027-02-03 Wed, Feb 3, 2027 until November 10'],
  ['2028', '2028-02-02 Wed, Feb 2, 2028 until November 8'],
  ['2029', '2029-01-31 Wed, Jan 31, 2029 until November 7'],
])('days of a test in a browser are as far from the changes of clocks in %s', async (year, text) => {
  vi.stubEnv('YEAR_OF_DAYS', year);
  const { on } = await import('../web/days.ts');
  expect(on`2027-02-03 Wed, Feb 3, 2027 until November 10`).toBe(text);
});
