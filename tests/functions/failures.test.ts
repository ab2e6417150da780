/** What a caller sees when the database cannot answer, and what it never sees. */
import { beforeAll, describe, expect, it } from 'vitest';
import { connect, withConnection } from '../setup/db.ts';
import { type Answer, type Clinic, call, hold, holdOf, openClinic, window } from './clinic.ts';

let clinic: Clinic;
beforeAll(async () => {
  clinic = await openClinic();
});

/** Words of Postgres, of its errors and of this schema. */
const INTERNAL =
  /postgres|sqlstate|pgrst|PT\d{3}|permission denied|violates|constraint|relation|private\.|42501|23P01|stack|at file:/i;

function expectNothingInternal({ body }: Answer) {
  expect(JSON.stringify(body)).not.toMatch(INTERNAL);
}

describe('an error nobody foresaw', () => {
  it('is a 500 that says nothing of the database', async () => {
    const signature = 'public.release_hold(jsonb, text, text)';
    await withConnection((client) =>
      client.query(`revoke execute on function ${signature} from authenticated`),
    );
    try {
      const answer = await call(
        'sessions-cancel',
        clinic.rbt,
        { hold_key: clinic.rbt.id },
        { 'x-request-id': 'e-1' },
      );
      expect(answer.status).toBe(500);
      expect(answer.body).toMatchObject({ code: 'INTERNAL_ERROR', requestId: 'e-1' });
      expectNothingInternal(answer);
    } finally {
      await withConnection((client) =>
        client.query(`grant execute on function ${signature} to authenticated`),
      );
    }
    expect((await call('sessions-cancel', clinic.rbt, { hold_key: clinic.rbt.id })).status).toBe(200);
  });
});

describe('a database that is busy', () => {
  it('is a 503 with a time to wait, and nothing has happened', async () => {
    const body = holdOf(clinic.rbt, clinic.clients[0], window(1, 10));
    const locker = await connect();
    try {
      await locker.query('begin');
      await locker.query('select private.lock_resources($1, $2)', [clinic.organizationId, [clinic.rbt.id]]);
      const answer = await call('sessions-hold', clinic.rbt, body, { 'idempotency-key': 'busy-1' });
      expect(answer.status).toBe(503);
      expect(answer.body).toMatchObject({ code: 'DATABASE_BUSY', success: false });
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
      expectNothingInternal(answer);
    } finally {
      await locker.query('rollback');
      await locker.end();
    }
    const retried = await call('sessions-hold', clinic.rbt, body, { 'idempotency-key': 'busy-1' });
    expect([retried.status, retried.headers.get('idempotent-replay')]).toEqual([200, null]);
  });
});

describe('a refusal', () => {
  it('shows nothing internal and nobody’s identity', async () => {
    const at = window(2, 10);
    const body = holdOf(clinic.rbt, clinic.clients[0], at);
    await hold(clinic.rbt, body);
    const answer = await call('sessions-hold', clinic.admin, holdOf(clinic.rbt, clinic.clients[1], at));
    expect(answer.status).toBe(409);
    expectNothingInternal(answer);
    for (const id of [...clinic.clients, clinic.rbt.id, clinic.organizationId]) {
      expect(JSON.stringify(answer.body)).not.toContain(id);
    }
  });
});

describe('the audit trail', () => {
  it('knows each answer by its request id, refusals included', async () => {
    const body = holdOf(clinic.rbt, clinic.clients[0], window(3, 10));
    await call('sessions-hold', clinic.rbt, body, { 'x-request-id': 'trace-acquired' });
    await call('sessions-hold', clinic.admin, body, { 'x-request-id': 'trace-refused' });
    const events = await withConnection(async (client) => {
      const { rows } = await client.query(
        `select request_id, action, outcome, code, actor_user_id, actor_role from audit.events
          where organization_id = $1 and request_id like 'trace-%' order by recorded_at`,
        [clinic.organizationId],
      );
      return rows;
    });
    expect(events).toEqual([
      {
        request_id: 'trace-acquired',
        action: 'hold.acquired',
        outcome: 'ok',
        code: null,
        actor_user_id: clinic.rbt.id,
        actor_role: 'therapist',
      },
      {
        request_id: 'trace-refused',
        action: 'hold.refused',
        outcome: 'refused',
        code: 'THERAPIST_HOLD_CONFLICT',
        actor_user_id: clinic.admin.id,
        actor_role: 'admin',
      },
    ]);
  });
});
