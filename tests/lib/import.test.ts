/** Sessions of another system, imported as an app does it. */
import { beforeAll, describe, expect, it } from 'vitest';
import { importSessions, parseSessionsCsv, SessionsApiError } from '../../src/lib/index.ts';
import { call, holdOf, window } from '../functions/clinic.ts';
import { withConnection } from '../setup/db.ts';
import { type Clinic, clientOf, LA, openClinic } from './clinic.ts';

let clinic: Clinic;
let admin: Awaited<ReturnType<typeof clientOf>>;
beforeAll(async () => {
  clinic = await openClinic();
  admin = await clientOf(clinic.admin);
});

/** A row of an hour, some hours after a midnight well ahead or long ago. */
function rowAt(id: string, hours: number, of: Clinic = clinic, extra: object = {}) {
  const start = Date.parse(window(30, 0).start_time) + hours * 3_600_000;
  return {
    external_id: id,
    ...{ therapist_id: of.rbt.id, client_id: of.clients[0], time_zone: 'UTC' },
    start_time: new Date(start).toISOString(),
    end_time: new Date(start + 3_600_000).toISOString(),
    ...extra,
  };
}

const stateOf = (of: Clinic) =>
  withConnection(async (db) => {
    const { rows } = await db.query(
      `select
        (select count(*)::int from public.sessions where organization_id = $1) as sessions,
        (select count(*)::int from private.claims where organization_id = $1) as claims,
        (select count(*)::int from private.imported_sessions where organization_id = $1) as known,
        (select count(*)::int from audit.events where organization_id = $1 and action = 'session.imported') as events`,
      [of.organizationId],
    );
    return rows[0];
  });

describe('2,000 rows with three overlaps', () => {
  const planted = [500, 1000, 1999];
  it('are reported, imported but for those three, and change nothing a second time', {
    timeout: 120_000,
  }, async () => {
    const other = await openClinic();
    const staff = await clientOf(other.admin);
    // Half of it history that was completed, by two therapists with two clients.
    const rows = Array.from({ length: 2000 }, (_, nth) => {
      const bcba = nth % 2 === 1;
      const hours = Math.floor(nth / 2) - (nth < 1000 ? 2000 : 0);
      const people = bcba ? { therapist_id: other.bcba.id, client_id: other.clients[1] } : {};
      const status = nth < 1000 ? { status: 'completed', cpt_code: '97153' } : {};
      return rowAt(`row ${nth}`, hours, other, { ...people, ...status });
    });
    // Each stands half an hour into the row of the same therapist before it.
    for (const nth of planted) {
      const before = rows[nth - 2];
      if (!before) throw new Error('there is no row before it');
      const start = Date.parse(before.start_time) + 1_800_000;
      rows[nth] = {
        ...before,
        external_id: `row ${nth}`,
        start_time: new Date(start).toISOString(),
        end_time: new Date(start + 600_000).toISOString(),
      };
    }
    const dry = await importSessions(staff, { rows, dryRun: true, onConflict: 'skip' });
    expect(dry).toMatchObject({ dryRun: true, written: false, ok: 1997, withConflicts: 3, withIssues: 0 });
    const refused = dry.rows.filter(({ status }) => status === 'conflicts');
    expect(refused.map(({ row }) => row)).toEqual(planted);
    for (const { row, conflicts } of refused)
      expect(conflicts).toMatchObject([
        { resource: 'client', blockedBy: 'row', row: row - 2 },
        { resource: 'therapist', blockedBy: 'row', row: row - 2 },
      ]);
    expect(await stateOf(other)).toEqual({ sessions: 0, claims: 0, known: 0, events: 0 });

    expect(await importSessions(staff, { rows })).toMatchObject({ written: false, withConflicts: 3 });
    expect(await stateOf(other)).toEqual({ sessions: 0, claims: 0, known: 0, events: 0 });

    const done = await importSessions(staff, { rows, onConflict: 'skip' });
    expect(done).toMatchObject({ written: true, ok: 1997, unchanged: 0, withConflicts: 3 });
    const state = await stateOf(other);
    expect(state).toEqual({ sessions: 1997, claims: 3994, known: 1997, events: 1 });

    const again = await importSessions(staff, { rows, onConflict: 'skip' });
    expect(again).toMatchObject({ written: false, ok: 0, unchanged: 1997, withConflicts: 3 });
    expect(again.rows[0]?.sessionId).toBe(done.rows[0]?.sessionId);
    expect(await stateOf(other)).toEqual(state);
  });
});

it('a row that cannot be is told by its field, and nothing of the import is left', async () => {
  const rows = Array.from({ length: 20 }, (_, nth) => rowAt(`bad ${nth}`, 500 + nth));
  const with17 = (change: object) => rows.map((row, nth) => (nth === 17 ? { ...row, ...change } : row));
  const before = await stateOf(clinic);
  for (const [change, path] of [
    [{ start_time: '2030-03-04T10:00:00' }, 'rows.17.start_time'],
    [{ time_zone: 'Mars/Olympus' }, 'rows.17.start_time'],
    [{ client_id: '00000000-0000-4000-8000-000000000000' }, 'rows.17.therapist_id'],
    [{ external_id: 'bad 3' }, 'rows.17.external_id'],
  ] as const) {
    const result = await importSessions(admin, { rows: with17(change) });
    expect(result).toMatchObject({ written: false, ok: 19, withIssues: 1 });
    expect(result.rows[17]?.issues?.map((issue) => issue.path)).toContain(path);
  }
  expect(await stateOf(clinic)).toEqual(before);
});

it('a row whose values have changed since names the session it became, and changes nothing', async () => {
  const row = rowAt('changed since', 550);
  const [made] = (await importSessions(admin, { rows: [row] })).rows;
  const before = await stateOf(clinic);
  for (const change of [
    { cpt_code: '97153' },
    { location_type: 'home' },
    { status: 'cancelled' },
    { time_zone: LA },
  ]) {
    const rows = [{ ...row, ...change }, rowAt('beside it', 552)];
    const kept = await importSessions(admin, { rows });
    expect(kept).toMatchObject({ written: false, ok: 1, unchanged: 0, withIssues: 1 });
    expect(kept.rows[0]).toMatchObject({
      ...{ status: 'issues', sessionId: made?.sessionId, issues: [{ path: 'rows.0.external_id' }] },
    });
  }
  expect(await stateOf(clinic)).toEqual(before);
  // White space, blank cells and the order of fields are no other values.
  const { client_id, ...rest } = row;
  const again = await importSessions(admin, {
    rows: [{ session_type: ' ', ...rest, client_id, start_time: row.start_time.replace('.000Z', '+00:00') }],
  });
  expect(again.rows).toMatchObject([{ status: 'unchanged', sessionId: made?.sessionId }]);
});

it('rows meet what is booked and held, and block what comes after', async () => {
  const held = holdOf(clinic.rbt, clinic.clients[1], {
    ...{ start_time: rowAt('', 600).start_time, end_time: rowAt('', 600).end_time },
    ...{ start_time_offset_minutes: 0, end_time_offset_minutes: 0 },
  });
  const { body } = await call('sessions-hold', clinic.admin, held);
  const result = await importSessions(admin, {
    rows: [rowAt('held', 600), rowAt('free', 602)],
    onConflict: 'skip',
  });
  expect(result.rows).toMatchObject([
    {
      status: 'conflicts',
      conflicts: [{ resource: 'therapist', blockedBy: 'hold', expiresAt: body.data.expiresAt }],
    },
    { status: 'ok' },
  ]);
  const later = await call('sessions-hold', clinic.admin, {
    ...held,
    ...{ start_time: rowAt('', 602).start_time, end_time: rowAt('', 602).end_time },
  });
  expect(later).toMatchObject({ status: 409, body: { code: 'THERAPIST_CONFLICT' } });
  const second = await importSessions(admin, { rows: [rowAt('other', 602)] });
  expect(second.rows[0]?.conflicts?.[0]).toMatchObject({
    blockedBy: 'session',
    sessionId: result.rows[1]?.sessionId,
  });
});

it('is an admin’s alone', async () => {
  for (const person of [clinic.rbt, clinic.parent]) {
    const refused = await importSessions(await clientOf(person), { rows: [rowAt('x', 700)] }).catch(
      (error: unknown) => error,
    );
    expect(refused).toBeInstanceOf(SessionsApiError);
    expect(refused).toMatchObject({ status: 403, code: 'FORBIDDEN' });
  }
  const none = await importSessions(admin, { rows: [] }).catch((error: unknown) => error);
  expect(none).toMatchObject({ status: 400, issues: [{ path: 'rows' }] });
});

describe('a table of another system', () => {
  it('becomes rows: columns by their headings, names as ids, local times in their zone', async () => {
    const text = [
      '\uFEFFNo;Therapist;Client;Start;End;Code;Mod;State',
      '1;"Reyes; J";A-1;2031-03-07 10:00;2031-03-07 11:00;97153;hm u1;planned',
      '2;"Reyes; J";A-1;2031-03-14T10:00;2031-03-14T11:00;97153;;planned',
      '',
      '3;"Reyes; J";A-1;2031-03-14T12:00:00Z;2031-03-14T13:00:00Z;97153;;planned',
    ].join('\r\n');
    const { rows, issues } = parseSessionsCsv(text, {
      timeZone: LA,
      columns: {
        ...{ external_id: 'No', therapist_id: 'Therapist', client_id: 'Client', start_time: 'Start' },
        ...{ end_time: 'End', cpt_code: 'Code', modifiers: 'Mod', status: 'State' },
      },
      values: {
        therapist_id: { 'Reyes; J': clinic.rbt.id },
        client_id: { 'A-1': clinic.clients[0] },
        status: { planned: 'scheduled' },
      },
    });
    expect(issues).toEqual([]);
    // 10:00 on both sides of a clock change.
    expect(rows.map(({ start_time }) => start_time)).toEqual([
      ...['2031-03-07T18:00:00.000Z', '2031-03-14T17:00:00.000Z', '2031-03-14T12:00:00Z'],
    ]);
    expect(rows[0]).toMatchObject({
      ...{ external_id: '1', therapist_id: clinic.rbt.id, client_id: clinic.clients[0], time_zone: LA },
      ...{ status: 'scheduled', modifiers: ['hm', 'u1'] },
    });
    const result = await importSessions(admin, { rows, dryRun: true });
    // It is too far ahead, which the import tells of each row by its field.
    expect(result.rows.map((row) => row.issues?.map(({ path }) => path))).toEqual(
      [0, 1, 2].map((nth) => [`rows.${nth}.end_time`]),
    );
  });

  it('hands on what it cannot read, and says which rows have too few cells', async () => {
    const { rows, issues } = parseSessionsCsv('external_id,start_time\n7,tomorrow\n8', {
      timeZone: 'UTC',
      minutes: 30,
    });
    expect(rows).toEqual([
      { external_id: '7', start_time: 'tomorrow', time_zone: 'UTC' },
      { external_id: '8', time_zone: 'UTC' },
    ]);
    expect(issues).toEqual([{ path: 'rows.1', message: 'has 1 cells under 2 headings' }]);
    expect(() => parseSessionsCsv('a,b', { timeZone: 'Mars/Olympus' })).toThrow(SessionsApiError);
  });
});
