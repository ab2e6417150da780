/** A clinic whose tables were never analysed, as after an import, is nearly as quick as one that was: plans need no statistics. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { book, createClinic, organizationId, therapistId, workingDays } from '../../bench/clinic.ts';
import { CODE } from '../../bench/requests.ts';
import type { Stack } from '../../local/stack.ts';
import { ExplainedConnection, fasterThanNLogN, moreThan, type Work, workOfOneBooking } from './plans.ts';
import { startQuietStack, withOwner } from './quiet-stack.ts';

const CLINIC = { therapists: 9, clientsPerTherapist: 8, withPayer: 5 };
const IMPORTS = [50, 100, 200];

let stack: Stack;

beforeAll(async () => {
  stack = await startQuietStack();
  await withOwner(stack, async (db) => {
    await createClinic(db, 0, CLINIC);
    for (let therapist = 0; therapist < CLINIC.therapists; therapist++)
      await book(db, 0, workingDays(therapist, [0, 1, 2, 3, 4, 5, 6, 7], 1, 100));
  });
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

it.each([
  ['on the day they were booked for', null],
  ['on another day', 'documented late'],
])('visits that took place %s are completed no faster than n log n', async (_, reason) => {
  const measured: { size: number; work: Work }[] = [];
  const connection = await ExplainedConnection.open(null, stack.dbPort);
  try {
    for (const [index, size] of IMPORTS.entries()) {
      const therapist = index + (reason === null ? 3 : 6);
      await withOwner(stack, (db) =>
        book(db, 0, workingDays(therapist, [0, 1, 2, 3, 4, 5, 6, 7], -400, size)),
      );
      const values = [organizationId(0), therapistId(0, therapist)];
      const { work } = await connection.count(async (client) => {
        const those = 'where organization_id = $1 and therapist_id = $2 and start_time < now()';
        await client.query(`update public.sessions set status = 'in_progress' ${those}`, values);
        await client.query(
          `insert into public.session_visits (organization_id, session_id, actual_start_time, actual_end_time, other_day_reason)
            select organization_id, id, start_time, end_time, $3 from public.sessions ${those}`,
          [...values, reason],
        );
        const { rowCount } = await client.query(
          `update public.sessions set status = 'completed' ${those}`,
          values,
        );
        expect(rowCount).toBe(size);
      });
      measured.push({ size, work });
    }
  } finally {
    await connection.end();
  }
  expect(fasterThanNLogN(measured)).toEqual([]);
});

it.each(['rendered_services', 'visit_problems'])(
  '%s of more visits grow no faster than n log n',
  async (name) => {
    const measured: { size: number; work: Work }[] = [];
    const connection = await ExplainedConnection.open(null, stack.dbPort);
    try {
      for (const [index, size] of IMPORTS.entries()) {
        const { result, work } = await connection.count((client) =>
          client.query(
            `select * from private.${name}($1, array(
            select id from public.sessions where organization_id = $1 and therapist_id = $2 and status = 'completed'))`,
            [organizationId(0), therapistId(0, index + 3)],
          ),
        );
        expect(result.rows.length).toBeGreaterThanOrEqual(size);
        measured.push({ size, work });
      }
    } finally {
      await connection.end();
    }
    expect(fasterThanNLogN(measured)).toEqual([]);
  },
);

it('a booking reads hardly more than when the tables have been analysed', async () => {
  const booking = { therapist: 3, client: 0, port: stack.dbPort };
  const never = await workOfOneBooking(0, booking, { cpt_code: CODE });
  await withOwner(stack, (db) => db.query('analyze'));
  const analysed = await workOfOneBooking(0, { ...booking, therapist: 4 }, { cpt_code: CODE });
  expect(moreThan(1.3, analysed, never)).toEqual([]);
});

it('a booking reads no more of a long ledger when the statistics say that every ledger is short', async () => {
  await withOwner(stack, async (db) => {
    await book(db, 0, workingDays(6, [0], 200, 400));
    await db.query(
      'alter table public.authorization_units alter column authorization_id set (n_distinct = -1)',
    );
    await db.query('analyze');
  });
  const short = await workOfOneBooking(
    0,
    { therapist: 5, client: 0, port: stack.dbPort },
    { cpt_code: CODE },
  );
  const long = await workOfOneBooking(0, { therapist: 6, client: 0, port: stack.dbPort }, { cpt_code: CODE });
  expect(moreThan(1.1, short, long)).toEqual([]);
});
