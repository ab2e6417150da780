/** Whatever is sent, nobody gets a 5xx, and what is refused leaves no row behind. */
import { randomUUID } from 'node:crypto';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { type Clinic, call, countRows, type FunctionName, holdOf, openClinic, window } from './clinic.ts';
import { nasty, pathsIn, spoil } from './hostile.ts';

let clinic: Clinic;
beforeAll(async () => {
  clinic = await openClinic();
});

function examples(): [FunctionName, object][] {
  const at = window(3, 10);
  const session = { therapist_id: clinic.rbt.id, client_id: clinic.clients[0], ...at };
  const texts = { session_type: 'individual', cpt_code: '97153', room_id: clinic.room };
  const numbers = { hold_seconds: 60, buffer_before_minutes: 5, buffer_after_minutes: 5 };
  const booking = holdOf(clinic.rbt, clinic.clients[0], at, {
    ...texts,
    ...numbers,
    override: { reason: 'x' },
  });
  const recurrence = {
    rule: 'FREQ=WEEKLY;COUNT=3',
    count: 2,
    until: '2027-01-01',
    exceptions: ['2026-12-14'],
  };
  const confirmation = {
    hold_key: randomUUID(),
    session: { ...session, session_type: 'individual', location_type: 'home', id: randomUUID() },
    cpt: { code: '97153', modifiers: ['U1'] },
    ...at,
    time_zone: 'UTC',
  };
  return [
    ['sessions-hold', booking],
    ['sessions-hold', { ...booking, occurrences: [{ ...at, time_zone: 'UTC' }, window(4, 10)] }],
    ['sessions-hold', { ...booking, recurrence }],
    ['sessions-confirm', { ...confirmation, occurrences: [confirmation] }],
    ['sessions-cancel', { hold_key: randomUUID() }],
    ['sessions-cancel', { session_ids: [randomUUID()], date: '2026-11-01', time_zone: 'UTC', reason: 'ill' }],
    ['session-notes', { action: 'read', session_id: randomUUID(), version: 1 }],
    [
      'session-notes',
      { action: 'sign', session_id: randomUUID(), base_version: 0, content: { progress: 'x' } },
    ],
    ['client-details', { action: 'read', client_ids: [clinic.clients[0]] }],
    [
      'client-details',
      {
        action: 'save',
        client_id: clinic.clients[0],
        base_version: 0,
        details: {
          given_name: 'x',
          family_name: 'y',
          birth_date: '2019-03-09',
          contacts: [{ kind: 'phone', value: '1' }],
        },
      },
    ],
  ];
}

const runs = Number(process.env.FUZZ_RUNS ?? 100);

describe('a spoiled request', { timeout: 60_000 + runs * 600 }, () => {
  it('gets an answer below 500, a problem when refused, and a trace of no row', async () => {
    const one = fc.record({ at: fc.nat(), value: nasty });
    const run = fc.record({ which: fc.nat(), changes: fc.array(one, { minLength: 1, maxLength: 3 }) });
    const cases = examples();
    await fc.assert(
      fc.asyncProperty(run, async ({ which, changes }) => {
        const [name, example] = cases[which % cases.length] as [FunctionName, object];
        const before = await countRows(clinic.organizationId);
        const answer = await call(name, clinic.admin, spoil(example, pathsIn(example), changes));
        expect(answer.status).toBeLessThan(500);
        if (answer.status === 200) return;
        expect(answer.headers.get('content-type')).toBe('application/problem+json');
        expect(answer.body).toMatchObject({ status: answer.status, success: false });
        if (answer.status === 400) expect(answer.body.issues.length).toBeGreaterThan(0);
        // Expired holds may be tidied up, but nothing is added.
        expect(await countRows(clinic.organizationId)).toEqual(before);
      }),
      { numRuns: runs },
    );
  });
});
