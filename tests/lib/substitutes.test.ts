/** Who could take a session, and which slots are open for a service, asked as an app asks. */
import { beforeAll, expect, it } from 'vitest';
import { bookSession, findOpenSlots, findSubstitutes, SessionsApiError } from '../../src/lib/index.ts';
import { type Clinic, clientOf, nextSession, openClinic } from './clinic.ts';

let clinic: Clinic;
let admin: Awaited<ReturnType<typeof clientOf>>;

beforeAll(async () => {
  clinic = await openClinic();
  admin = await clientOf(clinic.admin);
});

it('lists who is free and may render, those who know the client first', async () => {
  const { session } = await bookSession(admin, { session: nextSession(clinic), timeZone: 'UTC' });
  const sessionId = String(session.id);
  const everybody = await findSubstitutes(admin, { sessionId, includeOffCaseload: true });
  expect(everybody.map(({ therapistId }) => therapistId)).toEqual([clinic.bcba.id]);
  await bookSession(admin, {
    session: {
      ...nextSession(clinic),
      ...timesOf(session),
      therapist_id: clinic.bcba.id,
      client_id: otherClient(session),
    },
    timeZone: 'UTC',
  });
  expect(await findSubstitutes(admin, { sessionId, includeOffCaseload: true })).toEqual([]);
  const stranger = await clientOf((await openClinic()).admin);
  const refusal = await findSubstitutes(stranger, { sessionId }).catch((error: unknown) => error);
  expect(refusal).toBeInstanceOf(SessionsApiError);
  expect(refusal).toMatchObject({ status: 403, code: 'FORBIDDEN' });
});

it('finds open slots for a group, where all of its clients are free', async () => {
  const session = nextSession(clinic);
  const other = otherClient(session);
  await bookSession(admin, {
    session: { ...session, therapist_id: clinic.bcba.id, client_id: other },
    timeZone: 'UTC',
  });
  const query = {
    ...{ therapistId: session.therapist_id, minutes: 60 },
    ...{ from: session.start_time, to: new Date(Date.parse(session.end_time) + 3_600_000).toISOString() },
  };
  const starts = async (extra: object) =>
    (await findOpenSlots(admin, { ...query, ...extra })).map(({ startTime }) =>
      new Date(startTime).toISOString(),
    );
  const start = new Date(session.start_time).toISOString();
  expect(await starts({ clientId: session.client_id })).toContain(start);
  expect(await starts({ clientIds: [session.client_id, other], cptCode: '97154' })).toEqual([
    new Date(session.end_time).toISOString(),
  ]);
});

const timesOf = ({ start_time, end_time }: { start_time: unknown; end_time: unknown }) => ({
  start_time: String(start_time),
  end_time: String(end_time),
});

function otherClient({ client_id }: { client_id: unknown }): string {
  const other = clinic.clients.find((id) => id !== client_id);
  if (!other) throw new Error('the clinic has one client only');
  return other;
}
