/** What somebody leaves behind who is archived, leaves or changes level, as an app reads it. */
import { beforeEach, expect, it } from 'vitest';
import {
  archive,
  bookSession,
  changeMember,
  fetchScheduleProblems,
  fetchTouchedSessions,
  reassignSessions,
  removeMember,
  setCredential,
} from '../../src/lib/index.ts';
import { type Clinic, clientOf, nextSession, openClinic } from './clinic.ts';

let clinic: Clinic;
let admin: Awaited<ReturnType<typeof clientOf>>;
let superAdmin: Awaited<ReturnType<typeof clientOf>>;
let sessionId: string;
beforeEach(async () => {
  clinic = await openClinic();
  [admin, superAdmin] = await Promise.all([clientOf(clinic.admin), clientOf(clinic.superAdmin)]);
  const session = { ...nextSession(clinic), therapist_id: clinic.rbt.id, client_id: clinic.clients[0] };
  sessionId = String((await bookSession(admin, { session, timeZone: 'UTC' })).session.id);
});

it('an archived client’s sessions are told, listed, and cancelled when asked', async () => {
  const asked = { clientId: clinic.clients[0] };
  expect(await archive(admin, asked)).toMatchObject({
    touched: 1,
    cancelled: 0,
    touchedSessionIds: [sessionId],
  });
  expect(await fetchTouchedSessions(admin, asked)).toMatchObject([{ sessionId, therapistId: clinic.rbt.id }]);
  expect(await fetchScheduleProblems(admin)).toMatchObject([{ problem: 'client_archived' }]);
  expect(await archive(admin, { ...asked, cancelSessions: true, reason: 'Moved away' })).toMatchObject({
    touched: 1,
    cancelled: 1,
  });
  expect(await fetchTouchedSessions(admin, asked)).toEqual([]);
});

it('who leaves hands over what is left', async () => {
  const { touchedSessionIds } = await removeMember(superAdmin, { userId: clinic.rbt.id });
  expect(touchedSessionIds).toEqual([sessionId]);
  expect(await fetchScheduleProblems(admin)).toMatchObject([{ problem: 'therapist_left' }]);
  await reassignSessions(admin, { sessionIds: touchedSessionIds, toTherapistId: clinic.bcba.id });
  expect(await fetchScheduleProblems(admin)).toEqual([]);
});

it('roles and levels tell what they touch', async () => {
  expect(await setCredential(admin, { therapistId: clinic.rbt.id, credential: 'BCBA' })).toMatchObject({
    touched: 0,
  });
  expect(await changeMember(superAdmin, { userId: clinic.rbt.id, role: 'client' })).toMatchObject({
    touched: 1,
    cancelled: 0,
  });
});

it('admins archive, super_admins manage members, and nobody else', async () => {
  const rbt = await clientOf(clinic.rbt);
  const refused = { status: 403, code: 'FORBIDDEN' };
  await expect(archive(rbt, { roomId: clinic.room })).rejects.toMatchObject(refused);
  await expect(fetchTouchedSessions(rbt, { roomId: clinic.room })).rejects.toMatchObject(refused);
  await expect(removeMember(admin, { userId: clinic.rbt.id })).rejects.toMatchObject(refused);
  await expect(
    setCredential(admin, { therapistId: clinic.rbt.id, credential: 'MD' as 'RBT' }),
  ).rejects.toMatchObject({ status: 400, issues: [{ path: 'credential' }] });
});
