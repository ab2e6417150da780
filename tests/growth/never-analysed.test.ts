/** A clinic whose tables were never analysed, as after an import, is nearly as quick as one that was: plans need no statistics. */
import pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { book, createClinic, workingDays } from '../../bench/clinic.ts';
import { CODE } from '../../bench/requests.ts';
import { databaseUrl } from '../../local/settings.ts';
import { type Stack, startStack } from '../../local/stack.ts';
import { ExplainedConnection, fasterThanNLogN, moreThan, type Work, workOfOneBooking } from './plans.ts';

const CLINIC = { therapists: 9, clientsPerTherapist: 8, withPayer: 5 };
const IMPORTS = [100, 200, 400];

/** A stack of its own: others analyse, and this one's autovacuum is off. */
let stack: Stack;

beforeAll(async () => {
  stack = await startStack({ seed: false, functions: false });
  const admin = new pg.Client({ connectionString: databaseUrl(stack.dbPort, 'supabase_admin') });
  await admin.connect();
  try {
    await admin.query('alter system set autovacuum = off');
    await admin.query('select pg_reload_conf()');
    await createClinic(admin, 0, CLINIC);
    for (let therapist = 0; therapist < CLINIC.therapists; therapist++)
      await book(admin, 0, workingDays(therapist, [0, 1, 2, 3, 4, 5, 6, 7], 1, 100));
  } finally {
    await admin.end();
  }
});

afterAll(() => stack?.stop());

it('imports grow no faster than n log n', async () => {
  const measured: { size: number; work: Work }[] = [];
  const connection = await ExplainedConnection.open(null, stack.dbPort);
  try {
    for (const [therapist, size] of IMPORTS.entries()) {
      const past = workingDays(therapist, [0, 1, 2, 3, 4, 5, 6, 7], -200, size);
      const { work } = await connection.count((client) => book(client, 0, past));
      measured.push({ size, work });
    }
  } finally {
    await connection.end();
  }
  expect(fasterThanNLogN(measured)).toEqual([]);
});

it('a booking reads hardly more than when the tables have been analysed', async () => {
  const booking = { therapist: 3, client: 0, port: stack.dbPort };
  const never = await workOfOneBooking(0, booking, { cpt_code: CODE });
  const db = new pg.Client({ connectionString: stack.dbUrl });
  await db.connect();
  await db.query('analyze').finally(() => db.end());
  const analysed = await workOfOneBooking(0, { ...booking, therapist: 4 }, { cpt_code: CODE });
  expect(moreThan(1.3, analysed, never)).toEqual([]);
});
