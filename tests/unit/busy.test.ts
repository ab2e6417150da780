/** Which failures of the database mean "not now": the functions answer 503 for them, and the library tries again. */
import { describe, expect, it } from 'vitest';
import { isBusy } from '../../supabase/functions/_shared/busy.ts';

describe('a failed call of the database', () => {
  it.each([
    ['55P03', 'a lock that was not got in time'],
    ['40P01', 'a deadlock'],
    ['57P03', 'a database that is starting'],
    ['08006', 'a connection that was lost'],
    ['25006', 'a database that only reads for now'],
    ['53000', 'something that is used up'],
    ['53100', 'a disk that is full'],
    ['53200', 'no memory left'],
    ['53300', 'no connection left'],
    ['58030', 'a disk that fails'],
    ['PGRST003', 'no connection in the pool'],
  ])('%s may be repeated: %s', (code) => {
    expect(isBusy(code, 500)).toBe(true);
  });

  it.each(['', '23505', '22P02', '25001', '42501', '42883', '53400', 'P0001', 'PGRST202'])(
    '%j may not',
    (code) => {
      expect(isBusy(code, 500)).toBe(false);
    },
  );

  it.each([0, 408, 429, 502, 503, 504])('the status %i alone may be repeated', (status) => {
    expect(isBusy('', status)).toBe(true);
  });
});
