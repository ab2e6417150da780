/** An app whose zone rules are older than the database's: 12:00 stays 12:00 by the clocks of the zone as they are. */
import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { expect, it } from 'vitest';
import {
  bookSession,
  cancelSessions,
  fetchMovedByZoneRules,
  type ResyncConflict,
  requestSessionHold,
  resyncZone,
  SessionsApiError,
} from '../../src/lib/index.ts';
import { withConnection } from '../setup/db.ts';
import { stack } from '../setup/stack.ts';
import { clientOf, nextSession, openClinic } from './clinic.ts';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** What the database's clocks of a zone show at an instant, and how far they are ahead of UTC, in minutes. */
async function clockAt(instant: string, zone: string): Promise<{ shown: string; offset: number }> {
  const { rows } = await withConnection((client) =>
    client.query(
      `select to_char($1::timestamptz at time zone $2, 'HH24:MI') as shown,
        extract(epoch from ($1::timestamptz at time zone $2) - ($1::timestamptz at time zone 'UTC'))::int / 60 as offset`,
      [instant, zone],
    ),
  );
  return rows[0];
}

it('what an app books for noon is at noon by the database’s clocks, and it is told where the two differ', async () => {
  const clinic = await openClinic();
  // British Columbia keeps summer time since 2026: Deno's own data may not know, or may by now.
  const timeZone = 'America/Vancouver';
  const december = new Date();
  december.setUTCMonth(11, 15);
  if (december.getTime() < Date.now() + 2 * 86_400_000)
    december.setUTCFullYear(december.getUTCFullYear() + 1);
  const config = {
    ...{ url: stack.apiUrl, publishableKey: stack.publishableKey, timeZone },
    ...{ email: clinic.rbt.email, password: 'demo-password-1234' },
    ...{ therapistId: clinic.rbt.id, clientId: clinic.clients[0] },
    noonUtc: `${december.toISOString().slice(0, 10)}T12:00:00.000Z`,
  };
  const allow = [
    '--no-prompt',
    '--allow-net=127.0.0.1',
    '--allow-read',
    '--allow-env',
    '--node-modules-dir=manual',
  ];
  const { stdout } = await execa(
    'deno',
    ['run', ...allow, '--no-check', 'tests/lib/zone-scenario.ts', JSON.stringify(config)],
    { cwd: root, preferLocal: true, localDir: root },
  );
  const { offset, zoneRulesDiffer, starts, occurrence } = JSON.parse(stdout);
  const shown = await Promise.all(starts.map((start: string) => clockAt(start, timeZone)));
  expect(shown.map((clock) => clock.shown)).toEqual(['12:00', '20:00', '20:00', '20:00', '15:00', '17:00']);
  const differs = offset !== shown[0]?.offset;
  expect(zoneRulesDiffer).toEqual([differs, differs, differs]);
  expect(occurrence).toMatchObject({ startOffsetMinutes: shown[0]?.offset });
  expect(Date.parse(occurrence.startTime)).toBe(Date.parse(starts[0]));
});

it('an offset that the app itself claims is not corrected behind its back', async () => {
  const clinic = await openClinic();
  const supabase = await clientOf(clinic.rbt);
  const { start_time, end_time, therapist_id, client_id } = nextSession(clinic);
  const refused = requestSessionHold(supabase, {
    ...{ therapistId: therapist_id, clientId: client_id, startTime: start_time, endTime: end_time },
    ...{ timeZone: 'UTC', startTimeOffsetMinutes: 60 },
  });
  await expect(refused).rejects.toMatchObject({
    status: 400,
    issues: [{ path: 'start_time_offset_minutes', expected: 0 }],
  });
  const { zoneRulesDiffer } = await bookSession(supabase, { session: nextSession(clinic), timeZone: 'UTC' });
  expect(zoneRulesDiffer).toBe(false);
});

it('what a new law has moved is listed, and goes back to its time, all or nothing', async () => {
  const clinic = await openClinic();
  const [superAdmin, admin, rbt] = [
    await clientOf(clinic.superAdmin),
    await clientOf(clinic.admin),
    await clientOf(clinic.rbt),
  ];
  const timeZone = 'America/Vancouver';
  const first = nextSession(clinic);
  const { session } = await bookSession(rbt, { session: first, timeZone });
  const after = {
    ...first,
    client_id: clinic.clients[1],
    start_time: first.end_time,
    end_time: new Date(Date.parse(first.end_time) + 3_600_000).toISOString(),
  };
  const { session: inTheWay } = await bookSession(rbt, { session: after, timeZone: 'UTC' });
  expect(await fetchMovedByZoneRules(admin)).toEqual([]);
  // As of a law by which the clocks showed an hour more at that time than they do.
  await withConnection((client) =>
    client.query("update public.sessions set civil_start = civil_start + interval '1 hour' where id = $1", [
      session.id,
    ]),
  );
  expect(await fetchMovedByZoneRules(admin)).toMatchObject([
    { session_id: session.id, time_zone: timeZone, minutes_off: -60 },
  ]);

  const refusalOf = (promise: Promise<unknown>) => promise.catch((error: unknown) => error);
  expect(await refusalOf(resyncZone(admin, { zone: timeZone }))).toMatchObject({ code: 'FORBIDDEN' });
  expect(await refusalOf(resyncZone(superAdmin, { zone: 'Vancouver' }))).toMatchObject({
    ...{ status: 400, issues: [{ path: 'zone' }] },
  });
  const refusal = (await refusalOf(resyncZone(superAdmin, { zone: timeZone }))) as SessionsApiError;
  expect(refusal).toBeInstanceOf(SessionsApiError);
  expect(refusal).toMatchObject({ status: 409, code: 'THERAPIST_CONFLICT', retryAfter: null });
  const [conflict] = refusal.conflicts as readonly ResyncConflict[];
  expect(conflict).toMatchObject({ sessionId: session.id, resource: 'therapist', blockedBy: 'session' });

  await cancelSessions(rbt, { sessionIds: [inTheWay.id] });
  expect(await resyncZone(superAdmin, { zone: timeZone })).toEqual({
    ...{ zone: timeZone, movedCount: 1, movedSessionIds: [session.id] },
  });
  expect(await fetchMovedByZoneRules(admin)).toEqual([]);
});
