/**
 * The same hostile bodies to zod, which names the field for HTTP callers, and to the database's typed reader, which
 * decides: what one refuses the other refuses, field by field. Rules across fields, zones and the clock are the
 * database's alone, and not compared.
 *
 * `FUZZ_RUNS=20000` searches longer.
 */
import fc from 'fast-check';
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseCancel, releaseRequest } from '../../supabase/functions/_shared/contract/cancel.ts';
import { parseConfirm } from '../../supabase/functions/_shared/contract/confirm.ts';
import { parseHold } from '../../supabase/functions/_shared/contract/hold.ts';
import { type Parsed, parseWith } from '../../supabase/functions/_shared/contract/parsed.ts';
import { nasty, pathsIn, spoil } from '../functions/hostile.ts';
import { connect } from '../setup/db.ts';

const runs = Number(process.env.FUZZ_RUNS ?? 60);

let client: pg.Client;
beforeAll(async () => {
  client = await connect();
});
afterAll(() => client.end());

const id = (n: number) => `00000000-0000-4000-8000-${String(n).padStart(12, '0')}`;
const window = {
  start_time: '2027-02-01T18:00:00.000Z',
  end_time: '2027-02-01T19:00:00.000Z',
  start_time_offset_minutes: -480,
  end_time_offset_minutes: -480,
};
const zone = { time_zone: 'America/Los_Angeles' };
const session = {
  ...{
    id: id(4),
    therapist_id: id(1),
    client_id: id(2),
    session_type: 'individual',
    location_type: 'home',
    notes: '',
  },
  ...{ start_time: window.start_time, end_time: window.end_time },
};
const cpt = { code: '97153', modifiers: ['HM', '95'] };
const hold = {
  ...{ therapist_id: id(1), client_id: id(2), client_ids: [id(2), id(3)], group_id: id(4), room_id: id(5) },
  ...{ session_id: id(6), session_type: 'individual', cpt_code: '97153', hold_seconds: 300 },
  ...{ buffer_before_minutes: 0, buffer_after_minutes: 15 },
  ...window,
  ...zone,
  override: { reason: 'Because', rules: ['availability', 'travel'] },
};
const occurrences = [window, { ...window, ...zone, session_id: id(6) }];

/** Bodies that are accepted, the function of the contract and the expression of the database that read them. */
const requests: [string, object, (body: unknown) => Parsed<unknown>, string][] = [
  ['a hold', hold, parseHold, 'private.slots_of(private.read_hold_request($1), clock_timestamp())'],
  [
    'a hold of listed occurrences',
    { ...hold, occurrences },
    parseHold,
    'private.slots_of(private.read_hold_request($1), clock_timestamp())',
  ],
  [
    'a change of a series',
    {
      ...{ therapist_id: id(1), client_id: id(2), ...zone, session_type: 'individual', cpt_code: '97153' },
      ...{ hold_seconds: 300, buffer_before_minutes: 0, buffer_after_minutes: 15 },
      override: { reason: 'Because', rules: ['availability', 'concurrency'] },
      series: {
        ...{ series_id: id(6), scope: 'following', from: window.start_time },
        change: {
          ...{ weekday: 'thursday', local_start: '16:30', duration_minutes: 90 },
          ...{ therapist_id: id(1), room_id: id(5) },
        },
      },
    },
    parseHold,
    'case when private.changes_series($1) then private.read_series_request($1)::text else private.slots_of(private.read_hold_request($1), clock_timestamp())::text end',
  ],
  [
    'a change of all of a series',
    { series: { series_id: id(6), scope: 'all', change: { shift_minutes: -15, room_id: null } } },
    parseHold,
    'case when private.changes_series($1) then private.read_series_request($1)::text else private.slots_of(private.read_hold_request($1), clock_timestamp())::text end',
  ],
  [
    'a confirmation',
    {
      hold_key: id(7),
      session,
      cpt,
      ...zone,
      start_time_offset_minutes: -480,
      end_time_offset_minutes: -480,
      notes: null,
      occurrences: [
        {
          hold_key: id(8),
          session,
          cpt,
          start_time_offset_minutes: -480,
          end_time_offset_minutes: -480,
          ...zone,
          notes: ' ',
        },
      ],
    },
    parseConfirm,
    'private.listed_of(private.read_confirm_request($1))',
  ],
  [
    'a cancellation',
    {
      session_ids: [id(6), id(9)],
      date: '2027-02-01',
      ...zone,
      therapist_id: id(1),
      all_therapists: false,
      reason: 'Ill',
      cancellation_attribution: 'client',
    },
    parseCancel,
    'private.read_cancel_request($1)',
  ],
  [
    'a cancellation of a series',
    {
      ...{ series_id: id(6), from: window.start_time, from_date: '2027-02-01', to_date: '2027-03-01' },
      ...zone,
    },
    parseCancel,
    'private.read_cancel_request($1)',
  ],
  [
    'a release',
    { hold_key: id(7) },
    (body) => parseWith(releaseRequest, body),
    `private.read_request($1::jsonb, null::private.release_request, '{hold_key}')`,
  ],
];

/** What only the database says: about fields together, zones, and the clock. */
const judgements =
  /^(must be after|must be at most 12 hours|is in the past|is more than 730|must be a known|must be -?\d+, the offset|overlaps|must not (?:accompany|repeat|name|differ|be before|be true)|is required: either|must have client_id|times the|is for |must be given per|is required: from_date|is required with date|is required: give|is required: the start of|names nothing|goes with)/;

interface Verdict {
  refused: string[];
}

/** The fields the database refuses; its judgements left out. */
async function readByDatabase(expression: string, body: unknown): Promise<Verdict> {
  try {
    await client.query(`select ${expression}`, [JSON.stringify(body)]);
    return { refused: [] };
  } catch (error) {
    const { code, detail, message } = error as pg.DatabaseError;
    if (code !== 'PT400') throw new Error(`${code} ${message} for ${JSON.stringify(body)}`);
    const issues = JSON.parse(detail ?? '[]') as { path: string; message: string }[];
    expect(issues.length).toBeGreaterThan(0);
    return {
      refused: issues.filter(({ message }) => !judgements.test(message)).map(({ path }) => path),
    };
  }
}

/** Values near a bound, and spellings that one reader might take and the other not. */
const near = fc.constantFrom<unknown>(
  ...[29, 30, 900, 901, 30.5, '300', -840, -841, 840, 841, 0, 240, 241, 1e10, -1],
  ...['97153', ' 97153 ', '\u00a097153', 'h2019', 'ß1234', '9715', 97153, 'hq', ' HQ', 'H', 'ǰ'],
  ...[
    '',
    ' ',
    '\u00a0',
    '\u3000',
    'x'.repeat(64),
    'x'.repeat(65),
    '😀'.repeat(64),
    '😀'.repeat(65),
    'x'.repeat(501),
  ],
  ...[
    '2027-02-01T18:00Z',
    '2027-02-01T18:00:00.1Z',
    '2027-02-01T18:00:00.123000Z',
    '2027-02-01T18:00:00.1234Z',
  ],
  ...[
    '2027-02-01T18:00:00+00',
    '2027-02-01T18:00:00+0530',
    '2027-02-01T18:00:00-14:00',
    '2027-02-01T18:00:00+14:30',
  ],
  ...[
    '2027-02-29T18:00:00.000Z',
    '2028-02-29T18:00:00.000Z',
    '2027-02-01T24:00:00.000Z',
    '2027-02-01T23:59:60.000Z',
  ],
  ...[
    '1999-12-31T23:59:59.999Z',
    '2000-01-01T00:00:00.000Z',
    '2199-12-31T23:59:59.999Z',
    '2200-01-01T00:00:00.000Z',
  ],
  ...['2027-02-01 18:00:00Z', '2027-02-01t18:00:00z', 'now', 'infinity', '2027-02-01T18:00:00.000Z '],
  ...['2027-02-01', '2027-02-29', '27-02-01', 'tomorrow', '2027-2-1'],
  ...[
    id(1).toUpperCase(),
    `{${id(1)}}`,
    id(1).replaceAll('-', ''),
    `${id(1)} `,
    id(1).slice(0, -1),
    [id(1)],
    [[id(1)]],
  ],
  ...['Europe/London', 'Mars/Olympus_Mons', '+01:00', 'A'.repeat(64), 'A'.repeat(65)],
  ...[true, 'true', 'staff', 'Staff', null, [], {}, [null], [''], { reason: ' ' }, { code: '97153' }],
);

/** Each of these is tried in every field: a bound, and spellings that Postgres would take. */
const everywhere: unknown[] = [0, '', `{${id(1)}}`, '2027-02-01T18:00:00.1234Z'];

const twists: ((value: unknown) => unknown)[] = [
  (value) => [value],
  (value) => String(value),
  (value) => Number(value),
  (value) => `${value} `,
  (value) => String(value).toUpperCase(),
  (value) => (typeof value === 'number' ? value + 0.5 : `${value}x`),
  (value) => (Array.isArray(value) ? [...value, ...value, ...value, ...value, ...value] : undefined),
  () => undefined,
];

describe('zod and the database accept the same fields of', () => {
  it.each(requests)('%s', { timeout: 180_000 + runs * 1000 }, async (_, body, parse, expression) => {
    expect(parse(body)).toMatchObject({ ok: true });
    expect(await readByDatabase(expression, body)).toEqual({ refused: [] });
    const paths = pathsIn(body);
    const examples = paths.flatMap((_path, at) =>
      everywhere.map((value): [{ at: number; value: unknown }[]] => [[{ at, value }]]),
    );
    let refusals = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.oneof(
            fc.record({ at: fc.nat(), value: fc.oneof({ weight: 3, arbitrary: near }, nasty) }),
            fc.record({ at: fc.nat(), twist: fc.constantFrom(...twists) }),
          ),
          { minLength: 1, maxLength: 2 },
        ),
        async (changes) => {
          const valueAt = (path: string[]) =>
            path.reduce<unknown>((inner, key) => (inner as Record<string, unknown>)?.[key], body);
          const spoiled = spoil(
            body,
            paths,
            changes.map((change) =>
              'twist' in change
                ? { at: change.at, value: change.twist(valueAt(paths[change.at % paths.length] ?? [])) }
                : change,
            ),
          );
          const text = JSON.stringify(spoiled);
          // JSON that is no jsonb reaches no reader: the REST layer refuses it.
          if (/\\u0000|\\ud[89a-f]/i.test(text)) return;
          // As it arrives: undefined is left out, NaN is null.
          const sent = JSON.parse(text) as unknown;
          const parsed = parse(sent);
          const read = await readByDatabase(expression, sent);
          const byZod = parsed.ok ? [] : parsed.issues.filter(({ message }) => !judgements.test(message));
          if (byZod.length > 0) refusals++;
          expect(
            read.refused.length > 0,
            `${text}\nzod: ${JSON.stringify(byZod)}\ndatabase: ${read.refused.join(' ')}`,
          ).toBe(byZod.length > 0);
        },
      ),
      // Examples are counted as runs.
      { numRuns: runs + examples.length, examples },
    );
    expect(refusals).toBeGreaterThan(runs / 10);
  });
});
