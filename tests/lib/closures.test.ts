/** A clinic closes, and opens again, as an app does it. */
import { beforeAll, expect, it } from 'vitest';
import {
  addClosure,
  bookSession,
  extendSeries,
  fetchClosures,
  findOpenSlots,
  removeClosure,
  SessionsApiError,
} from '../../src/lib/index.ts';
import { type Clinic, clientOf, nextSession, openClinic } from './clinic.ts';

let clinic: Clinic;
let admin: Awaited<ReturnType<typeof clientOf>>;
beforeAll(async () => {
  clinic = await openClinic();
  admin = await clientOf(clinic.admin);
});

const later = (instant: string, days: number) =>
  new Date(Date.parse(instant) + days * 86_400_000).toISOString();

it('series go around it and say so, and it can be taken back', async () => {
  const session = nextSession(clinic);
  const third = { from: later(session.start_time, 14), to: later(session.end_time, 14) };
  const closure = await addClosure(admin, { name: 'Winter break', ...third });
  expect(closure).toMatchObject({ startsAt: third.from, endsAt: third.to, touched: 0, touchedStaffTimes: 0 });
  const rbt = await clientOf(clinic.rbt);
  expect(await fetchClosures(rbt, third)).toMatchObject([{ id: closure.closureId, name: 'Winter break' }]);
  expect(await fetchClosures(rbt, { from: later(third.to, 1), to: later(third.to, 2) })).toEqual([]);

  const booked = await bookSession(rbt, {
    ...{ session, timeZone: 'UTC', recurrence: { rule: 'FREQ=WEEKLY;COUNT=4' }, onConflict: 'skip' },
  });
  expect(booked.sessions).toHaveLength(3);
  expect(booked.skipped).toMatchObject([{ index: 2, startTime: third.from }]);
  const slots = { therapistId: session.therapist_id, minutes: 60, ...third };
  expect(await findOpenSlots(rbt, slots)).toEqual([]);
  await removeClosure(admin, { closureId: closure.closureId });
  expect(await findOpenSlots(rbt, slots)).toHaveLength(1);
  const seriesId = String(booked.session.series_id);
  expect((await extendSeries(rbt, { seriesId, count: 1 })).sessions).toHaveLength(1);
});

it('whole days are the clinic’s own, and what is booked there is told, or cancelled', async () => {
  const session = nextSession(clinic);
  const { session: row } = await bookSession(admin, { session, timeZone: 'UTC' });
  const fromDate = new Intl.DateTimeFormat('en-CA', { timeZone: 'America/Los_Angeles' }).format(
    new Date(session.start_time),
  );
  expect(await addClosure(admin, { name: 'Snow', fromDate })).toMatchObject({
    ...{ touched: 1, cancelled: 0, touchedSessionIds: [row.id] },
  });
  const told = await addClosure(admin, { name: 'Snow', fromDate, toDate: fromDate, cancelSessions: true });
  expect(told).toMatchObject({ touched: 1, cancelled: 1 });
});

it('is an admin’s alone, and bad days are named', async () => {
  const refusal = (work: Promise<unknown>) =>
    work.then(
      () => null,
      (error: unknown) => error,
    );
  const rbt = await clientOf(clinic.rbt);
  const asked = { name: 'Mine', fromDate: '2030-01-01' };
  expect(await refusal(addClosure(rbt, asked))).toMatchObject({ status: 403, code: 'FORBIDDEN' });
  const wrong = await refusal(addClosure(admin, { ...asked, toDate: '2029-12-31' }));
  expect(wrong).toBeInstanceOf(SessionsApiError);
  expect(wrong).toMatchObject({ status: 400, issues: [{ path: 'to_date' }] });
});
