/** Callers hear only that the database is busy. The server's log names both statements: who waited, and beside whom. */
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { type Stack, startStack } from '../../local/stack.ts';
import { addClinic, members } from '../setup/clinics.ts';

const id = (last: number) => `00000000-0000-4000-8000-0000000000${String(last).padStart(2, '0')}`;
const [organization, admin, therapist, client] = [id(1), id(2), id(3), id(4)];

let stack: Stack;
let log = '';
const connections: pg.Client[] = [];

async function connect(role = 'postgres'): Promise<pg.Client> {
  const connection = new pg.Client({ connectionString: stack.dbUrl.replace('//postgres:', `//${role}:`) });
  connections.push(connection);
  await connection.connect();
  return connection;
}

beforeAll(async () => {
  stack = await startStack({
    ...{ api: false, seed: false },
    onLog: (_source, line) => {
      log += `${line}\n`;
    },
  });
  await addClinic(await connect(), {
    id: organization,
    memberships: [...members('admin', [admin]), ...members('therapist', [therapist])],
    therapists: [{ id: therapist }],
    clients: [{ id: client }],
  });
});
afterAll(async () => {
  for (const connection of connections) await connection.end();
  await stack?.stop();
});

/** The locks of the therapist and the client, ascending. */
async function keys(db: pg.Client): Promise<string[]> {
  const { rows } = await db.query(
    `select hashtextextended(encode(sha256(uuid_send($1::uuid) || uuid_send(id)), 'hex'), 0)::text as key
    from unnest($2::uuid[]) as id`,
    [organization, [therapist, client]],
  );
  return rows.map(({ key }) => key).sort((a, b) => (BigInt(a) < BigInt(b) ? -1 : 1));
}

/** Holds as the admin does, for the day after tomorrow. */
async function hold(): Promise<string> {
  const booker = await connect();
  const start = Math.ceil(Date.now() / 86_400_000 + 1) * 86_400_000;
  await booker.query(
    "select set_config('request.jwt.claims', $1, false), set_config('role', 'authenticated', false)",
    [JSON.stringify({ sub: admin, role: 'authenticated', org_id: organization })],
  );
  return booker
    .query('select public.hold_sessions($1) as outcome', [
      JSON.stringify({
        ...{ therapist_id: therapist, client_id: client, time_zone: 'UTC' },
        start_time: new Date(start).toISOString(),
        end_time: new Date(start + 3_600_000).toISOString(),
      }),
    ])
    .then(
      () => 'held',
      ({ code }: pg.DatabaseError) => code ?? 'unknown',
    );
}

it('a direct write that gives way: its statement, and whom it gave way to', async () => {
  log = '';
  const other = await connect();
  await other.query('begin');
  await other.query('select private.share_organization($1) as taken_by_a_booking', [organization]);
  const start = Math.ceil(Date.now() / 86_400_000 + 1) * 86_400_000;
  const written = await (await connect())
    .query(
      `insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone)
        values ($1, $2, $3, $4, $5, 'UTC')`,
      [organization, therapist, client, new Date(start), new Date(start + 3_600_000)],
    )
    .catch(({ code }: pg.DatabaseError) => code);
  expect(written).toBe('PT503');
  await other.query('rollback');
  await vi.waitFor(() => expect(log).toContain('gave way: '), { timeout: 60_000 });
  expect(log).toMatch(
    /gave way: 55P03 .* while running \[\d+\] insert into public.sessions[\s\S]*beside it .*taken_by_a_booking/,
  );
  expect(log).not.toContain(client);
});

describe('a hold that gives way', () => {
  it.each([
    ['a lock that it waited for too long', '55P03', false],
    ['a deadlock', '40P01', true],
  ])('because of %s', async (_what, state, crosswise) => {
    log = '';
    // Its own search for deadlocks would come too late: the hold is the one that gives way.
    const other = await connect('supabase_admin');
    await other.query("set deadlock_timeout = '1h'");
    const [first, second] = await keys(other);
    await other.query('begin');
    await other.query('select pg_advisory_xact_lock($1) as taken_by_somebody_else', [second]);
    const held = hold();
    let waiting: Promise<unknown> = Promise.resolve();
    if (crosswise) {
      await vi.waitFor(
        async () => {
          const { rows } = await other.query(
            'select from pg_catalog.pg_locks where not granted and pg_backend_pid() = any (pg_blocking_pids(pid))',
          );
          expect(rows).not.toEqual([]);
        },
        { timeout: 60_000, interval: 5 },
      );
      waiting = other.query('select pg_advisory_xact_lock($1) as taken_crosswise', [first]);
    }
    expect(await held).toBe('PT503');
    await waiting;
    await other.query('rollback');
    await vi.waitFor(() => expect(log).toContain('gave way: '), { timeout: 60_000 });
    const [, line = ''] = /gave way: (.*)/.exec(log) ?? [];
    // A machine so slow that the deadlock was looked for too early waits until it is too long.
    expect(line).toMatch(crosswise ? /^(40P01|55P03) / : new RegExp(`^${state} `));
    expect(line).toContain('select public.hold_sessions($1) as outcome');
    expect(line).toMatch(crosswise ? /beside it .*taken_crosswise/ : /beside it .*taken_by_somebody_else/);
    // Statements, and nothing of what they were called with.
    expect(log).not.toContain(client);
  });
});
