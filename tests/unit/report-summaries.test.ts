/** Reports in a sentence: what counts as late, as nearly used up, and as planned. */
import { expect, it } from 'vitest';
import { summarizeReport } from '../../src/lib/index.ts';

it('less than 24 hours of notice are late, 24 are not', () => {
  const rows = [23, 23.9, 24].map((notice_hours) => ({ cancelled_for: 'client', notice_hours }));
  const { sentence, pieces } = summarizeReport('cancellations', rows, '2026-12-01');
  expect(sentence).toBe('3 sessions were cancelled, 2 of them with less than 24 hours’ notice.');
  expect(pieces).toEqual([
    { bar: 'by the family', part: 'under 24 h', value: 2 },
    { bar: 'by the family', part: 'earlier', value: 1 },
  ]);
});

it('an authorization at 90 % is nearly used up, and what is held is planned', () => {
  const row = (taken: number) => ({
    ...{ client_reference: `K-${taken}`, cpt_codes: ['97153'], approved_units: 100, taken_percent: taken },
    ...{
      used_units: 40,
      scheduled_units: 30,
      held_units: 20,
      starts_on: '2026-12-01',
      ends_on: '2026-12-11',
    },
  });
  const { sentence, pieces, ticks } = summarizeReport(
    'authorization_balances',
    [row(90), row(89.9)],
    '2026-12-06',
  );
  expect(sentence).toBe('1 of 2 authorizations are at 90 % or more: K-90 97153.');
  expect(pieces[1]).toEqual({ bar: 'K-90 97153', part: 'planned', value: 50 });
  expect(ticks[0]).toEqual({ bar: 'K-90 97153', value: 50 });
});
