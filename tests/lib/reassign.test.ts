/** The day of a therapist who is ill goes to somebody else, as an app does it. */
import { beforeEach, expect, it } from 'vitest';
import {
  bookSession,
  cancelSessions,
  confirmReassignment,
  fetchSchedule,
  holdReassignment,
  reassignSessions,
  SessionsApiError,
} from '../../src/lib/index.ts';
import { midnight } from '../setup/today.ts';
import { type Clinic, clientOf, openClinic } from './clinic.ts';

let clinic: Clinic;
let admin: Awaited<ReturnType<typeof clientOf>>;
beforeEach(async () => {
  clinic = await openClinic();
  admin = await clientOf(clinic.admin);
});

/** An hour of a day two months ahead, in UTC. */
const at = (hour: number) => new Date(midnight + 60 * 86_400_000 + hour * 3_600_000).toISOString();

/** Books an hour of the rbt, and returns the session's id. */
async function booked(client: string, hour: number, therapist = clinic.rbt.id): Promise<string> {
  const session = {
    ...{ therapist_id: therapist, client_id: client },
    ...{ start_time: at(hour), end_time: at(hour + 1) },
  };
  return String((await bookSession(admin, { session, timeZone: 'UTC' })).session.id);
}

const day = () => ({ therapistId: clinic.rbt.id, from: at(0), to: at(23) });

/** Who has the day's sessions, by time. */
async function therapists(): Promise<string[]> {
  const { sessions } = await fetchSchedule(admin, { from: at(0), to: at(23) });
  return sessions.filter(({ status }) => status !== 'cancelled').map(({ therapist_id }) => therapist_id);
}

it('all of it, by one key', async () => {
  const ids = [await booked(clinic.clients[0], 9), await booked(clinic.clients[1], 11)];
  const hold = await holdReassignment(admin, { ...day(), toTherapistId: clinic.bcba.id });
  expect(hold.holds.map(({ sessionId }) => sessionId)).toEqual(ids);
  expect(hold.skipped).toEqual([]);
  expect(await therapists()).toEqual([clinic.rbt.id, clinic.rbt.id]);
  const { sessions } = await confirmReassignment(admin, { hold, toTherapistId: clinic.bcba.id });
  expect(sessions.map(({ id }) => id)).toEqual(ids);
  expect(await therapists()).toEqual([clinic.bcba.id, clinic.bcba.id]);
});

it('nothing of it, when one session cannot go: it is named', async () => {
  await booked(clinic.clients[0], 9);
  const second = await booked(clinic.clients[1], 11);
  await booked(clinic.clients[0], 11, clinic.bcba.id);
  const refused = await holdReassignment(admin, { ...day(), toTherapistId: clinic.bcba.id }).catch(
    (error: unknown) => error,
  );
  expect(refused).toBeInstanceOf(SessionsApiError);
  expect(refused).toMatchObject({
    status: 409,
    code: 'THERAPIST_CONFLICT',
    retryAfter: null,
    blocked: [{ sessionId: second, code: 'THERAPIST_CONFLICT' }],
    conflicts: [{ resource: 'therapist', blockedBy: 'session', startTime: at(11), sessionId: second }],
  });
});

it('what can go, told to skip', async () => {
  const first = await booked(clinic.clients[0], 9);
  const second = await booked(clinic.clients[1], 11);
  await booked(clinic.clients[0], 11, clinic.bcba.id);
  const { sessions, skipped } = await reassignSessions(admin, {
    ...day(),
    toTherapistId: clinic.bcba.id,
    onConflict: 'skip',
  });
  expect(sessions.map(({ id }) => id)).toEqual([first]);
  expect(skipped).toMatchObject([{ sessionId: second, code: 'THERAPIST_CONFLICT' }]);
  expect((await therapists()).sort()).toEqual([clinic.bcba.id, clinic.bcba.id, clinic.rbt.id].sort());
});

it('nothing, when one of them is cancelled before it is confirmed', async () => {
  const first = await booked(clinic.clients[0], 9);
  await booked(clinic.clients[1], 11);
  const hold = await holdReassignment(admin, { ...day(), toTherapistId: clinic.bcba.id });
  await cancelSessions(admin, { sessionIds: [first] });
  await expect(confirmReassignment(admin, { hold, toTherapistId: clinic.bcba.id })).rejects.toMatchObject({
    status: 409,
    code: 'SESSION_NOT_MOVABLE',
  });
  expect(await therapists()).toEqual([clinic.rbt.id]);
});

it('by an admin alone', async () => {
  const id = await booked(clinic.clients[0], 9);
  const rbt = await clientOf(clinic.rbt);
  const asked = { sessionIds: [id], toTherapistId: clinic.bcba.id };
  await expect(reassignSessions(rbt, asked)).rejects.toMatchObject({ status: 403, code: 'FORBIDDEN' });
  const stranger = await clientOf((await openClinic()).admin);
  await expect(reassignSessions(stranger, asked)).rejects.toMatchObject({ status: 403, code: 'FORBIDDEN' });
  await expect(holdReassignment(admin, { ...day(), toTherapistId: clinic.rbt.id })).rejects.toMatchObject({
    status: 400,
    issues: [{ path: 'to_therapist_id' }],
  });
});
