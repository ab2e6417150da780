/** The same race through the whole stack: gateway, edge function, REST, database. */
import { beforeAll, describe, expect, it } from 'vitest';
import { conflictProblem } from '../../supabase/functions/_shared/contract/index.ts';
import { type Clinic, call, holdOf, openClinic, window } from '../functions/clinic.ts';
import { withConnection } from '../setup/db.ts';
import { brokenInvariants } from '../setup/invariants.ts';
import { crowd } from './rivals.ts';

let clinic: Clinic;

beforeAll(async () => {
  clinic = await openClinic();
});

/** Asks as a client does that is told the database is busy: again. A machine may be too busy for sixty at once. */
async function ask(...asked: Parameters<typeof call>): ReturnType<typeof call> {
  for (let tries = 1; ; tries++) {
    const answer = await call(...asked);
    if (answer.status !== 503 || tries === 30) return answer;
  }
}

const everyone = Array.from({ length: crowd }, (_, index) => index);

describe('sixty requests at once', () => {
  it('for one hour: one 200, the others 409 with a time to try again, whoever meets a busy database asks again', async () => {
    const answers = await Promise.all(
      everyone.map((index) =>
        ask(
          'sessions-hold',
          index % 2 ? clinic.admin : clinic.rbt,
          holdOf(clinic.rbt, clinic.clients[index % 4 === 0 ? 0 : 1], {
            ...window(1, 10),
            ...(index % 3 === 0 && { end_time: window(1, 11, 0.5).end_time }),
          }),
        ),
      ),
    );
    const won = answers.filter(({ status }) => status === 200);
    expect(won.length).toBe(1);
    const expiresAt = won.map(({ body }) => body.data.expiresAt).join();
    for (const { status, headers, body } of answers.filter((answer) => answer.status !== 200)) {
      expect(status).toBe(409);
      const problem = conflictProblem.parse(body);
      expect(problem.code).toBe('THERAPIST_HOLD_CONFLICT');
      expect(problem.retryAfter).toBe(expiresAt);
      expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
    }
    expect(await withConnection((client) => brokenInvariants(client, clinic.organizationId))).toEqual([]);
  });

  it('with one key: one hold, and its answer for all', async () => {
    const answers = await Promise.all(
      Array.from({ length: 20 }, () =>
        ask('sessions-hold', clinic.rbt, holdOf(clinic.rbt, clinic.clients[0], window(2, 10)), {
          'idempotency-key': 'twenty-times',
        }),
      ),
    );
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
    expect(answers.filter(({ headers }) => headers.get('idempotent-replay') === 'true').length).toBe(19);
    expect(new Set(answers.map(({ body }) => JSON.stringify(body))).size).toBe(1);
  });
});
