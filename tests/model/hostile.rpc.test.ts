/**
 * Good requests, spoiled at random, sent straight to the functions: past the edge functions and their checks. Whatever
 * comes, the answer is an outcome or a PT400 that names fields; no other error leaves the database, and a request that
 * was not accepted leaves no row.
 *
 * `FUZZ_RUNS=20000` searches longer.
 */
import fc from 'fast-check';
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { nasty, pathsIn, spoil } from '../functions/hostile.ts';
import {
  type Arena,
  alone,
  at,
  confirmationOf,
  confirming,
  type Held,
  holding,
  holdOf,
  nth,
  openArena,
} from '../races/rivals.ts';
import { connect } from '../setup/db.ts';
import { brokenInvariants } from '../setup/invariants.ts';

const runs = Number(process.env.FUZZ_RUNS ?? 60);

let arena: Arena;
let client: pg.Client;
let held: Held;
let seriesId: string;

beforeAll(async () => {
  arena = await openArena(2, 2);
  client = await connect();
  // Something to confirm, release and cancel.
  held = (await send('hold_sessions', good(3).hold_sessions)).outcome?.body as Held;
  // A series to change and to extend.
  const [therapist, person] = [nth(arena.therapists, 1), nth(arena.clients, 1)];
  const booking = holdOf(therapist, person, at(20, 600), {
    ...{ occurrences: [at(20, 600), at(21, 600)], recurrence: { rule: 'FREQ=DAILY', count: 2 } },
  });
  const { body } = await alone(arena, holding(booking));
  const booked = await alone(arena, confirming(confirmationOf(therapist, person, body)));
  seriesId = booked.body.session.series_id;
});
afterAll(() => client?.end());

/** Values that are nearly what they were: in a list, as text, with white space, in capitals. */
const twists: ((value: unknown) => unknown)[] = [
  (value) => [value],
  (value) => ({ value }),
  (value) => String(value),
  (value) => Number(value),
  (value) => `\t${value}\n`,
  (value) => `${value} `,
  (value) => String(value).toUpperCase(),
  (value) => [value, value],
  (value) => `{${value}}`,
  (value) => (typeof value === 'number' ? value + 0.5 : `${value}x`),
  () => undefined,
];

function valueAt(body: object, path: string[]): unknown {
  return path.reduce<unknown>((inner, key) => (inner as Record<string, unknown>)?.[key], body);
}

/** A request of each kind that would be accepted, for two days from this one on. */
function good(day: number): Record<string, object> {
  const [therapist, person] = [nth(arena.therapists, 0), nth(arena.clients, 0)];
  return {
    hold_sessions: {
      ...holdOf(therapist, person, at(day, 600)),
      ...{
        session_id: null,
        hold_seconds: 300,
        session_type: 'individual',
        cpt_code: '97153',
        room_id: null,
        group_id: null,
      },
      ...{ buffer_before_minutes: 0, buffer_after_minutes: 15, override: { reason: 'Because' } },
      occurrences: [at(day, 600), { ...at(day + 1, 600), time_zone: 'UTC', session_id: null }],
      recurrence: { rule: 'FREQ=DAILY;COUNT=2', time_zone: 'UTC' },
    },
    confirm_sessions: held
      ? { ...confirmationOf(therapist, person, held), cpt: { code: '97153', modifiers: ['HM', '95'] } }
      : {},
    release_hold: { hold_key: held?.holdKey },
    cancel_sessions: {
      ...{
        session_ids: held ? held.holds.map(({ holdId }) => holdId) : [],
        date: at(3, 0).start_time.slice(0, 10),
      },
      ...{
        time_zone: 'UTC',
        therapist_id: therapist,
        all_therapists: false,
        reason: 'Ill',
        cancellation_attribution: 'client',
      },
    },
    'hold_sessions of a series': {
      ...{ therapist_id: nth(arena.therapists, 1), client_id: nth(arena.clients, 1), time_zone: 'UTC' },
      ...{ hold_seconds: 300, buffer_after_minutes: 15, override: { reason: 'Because' } },
      series: {
        ...{ series_id: seriesId, scope: 'following', from: at(20, 600).start_time },
        change: { weekday: 'monday', local_start: '16:30', duration_minutes: 45, room_id: null },
      },
    },
    extend_series: {
      ...{ series_id: seriesId, count: 2, until: null, authorization_end: false, on_conflict: 'skip' },
      ...{ therapist_id: nth(arena.therapists, 1), override: { reason: 'Because', rules: ['availability'] } },
    },
  };
}

interface Answer {
  outcome?: { ok: boolean; status: number; code?: string; body?: unknown };
  error?: { code?: string; message: string; detail?: string; hint?: string };
}

/** Calls a function as the admin and keeps what it did only if it was accepted. */
async function send(name: string, body: unknown): Promise<Answer> {
  const claims = JSON.stringify({ sub: arena.admin, role: 'authenticated', org_id: arena.organizationId });
  await client.query('begin');
  try {
    await client.query(
      "select set_config('request.jwt.claims', $1, true), set_config('role', 'authenticated', true)",
      [claims],
    );
    const { rows } = await client.query(`select public.${name}($1) as outcome`, [JSON.stringify(body)]);
    // What is only checked at the end is checked here.
    await client.query('set constraints all immediate');
    await client.query(name === 'hold_sessions' && !held ? 'commit' : 'rollback');
    return rows[0];
  } catch (error) {
    await client.query('rollback');
    const { code, message, detail, hint } = error as pg.DatabaseError;
    return { error: { ...(code && { code }), message, ...(detail && { detail }), ...(hint && { hint }) } };
  }
}

describe('a spoiled request', { timeout: 240_000 + runs * 1000 }, () => {
  for (const name of [
    'hold_sessions',
    'confirm_sessions',
    'release_hold',
    'cancel_sessions',
    'preview_series',
    'find_alternatives',
    'hold_sessions of a series',
    'extend_series',
  ]) {
    it(`to ${name} gets an outcome, or is told which field is wrong`, async () => {
      const body = good(13)[name] ?? good(13).hold_sessions ?? {};
      const paths = pathsIn(body);
      await fc.assert(
        fc.asyncProperty(
          fc.array(
            fc.oneof(
              fc.record({ at: fc.nat(), value: nasty }),
              fc.record({ at: fc.nat(), twist: fc.constantFrom(...twists) }),
            ),
            { minLength: 1, maxLength: 3 },
          ),
          async (changes) => {
            const spoiled = spoil(
              body,
              paths,
              changes.map((change) =>
                'twist' in change
                  ? { at: change.at, value: change.twist(valueAt(body, nth(paths, change.at))) }
                  : change,
              ),
            );
            const text = JSON.stringify(spoiled);
            // JSON that is no jsonb never reaches a function: the REST layer refuses it.
            if (/\\u0000|\\ud[89a-f]/i.test(text)) return;
            const { outcome, error } = await send(name.split(' ')[0] ?? '', spoiled);
            if (error) {
              expect(error, text).toMatchObject({ code: expect.stringMatching(/^PT(400|403)$/) });
              if (error.code === 'PT400') {
                const issues = JSON.parse(error.detail ?? 'null') as { path: string; message: string }[];
                expect(issues.length).toBeGreaterThan(0);
                for (const { path, message } of issues) {
                  expect(typeof path).toBe('string');
                  expect(message).toMatch(/\S/);
                }
                // Only a request that is no object has no field to name.
                expect(
                  issues.map(({ path }) => path),
                  text,
                ).not.toContain('');
              }
            } else if (name.endsWith('s') && outcome && 'ok' in outcome)
              expect([200, 403, 409, 410, 422]).toContain(outcome.status);
          },
        ),
        { numRuns: runs },
      );
      expect(await brokenInvariants(client, arena.organizationId)).toEqual([]);
    });
  }
});
