/** A session's life, the waitlist and the payers' rules, as an app calls them. */
import { beforeAll, describe, expect, it, vi } from 'vitest';
import {
  bookSession,
  cancelSessions,
  completeSession,
  confirmSessionBooking,
  correctVisit,
  deriveCptMetadata,
  endSession,
  fetchPayerRules,
  fetchVisitVersions,
  fetchWaitlist,
  joinWaitlist,
  leaveWaitlist,
  markNoShow,
  recodeSessions,
  SessionsApiError,
  startSession,
} from '../../src/lib/index.ts';
import { call } from '../functions/clinic.ts';
import { withConnection } from '../setup/db.ts';
import { type Clinic, clientOf, nextSession, openClinic } from './clinic.ts';

/** The functions offer a freed slot after their answer: a loaded machine may need long, and an idle one does not wait. */
const PATIENTLY = { timeout: 60_000 };

let clinic: Clinic;
let rbt: Awaited<ReturnType<typeof clientOf>>;
let admin: Awaited<ReturnType<typeof clientOf>>;
beforeAll(async () => {
  clinic = await openClinic();
  [rbt, admin] = await Promise.all([clientOf(clinic.rbt), clientOf(clinic.admin)]);
});

async function refusal(promise: Promise<unknown>): Promise<SessionsApiError> {
  const error = await promise.then(
    () => null,
    (reason: unknown) => reason,
  );
  if (!(error instanceof SessionsApiError)) throw error ?? new Error('it was not refused');
  return error;
}

/** A session that began an hour ago; the endpoints book ahead only. */
async function pastSession(): Promise<string> {
  const { session } = await bookSession(rbt, { session: nextSession(clinic), timeZone: 'UTC' });
  hours += 2;
  await withConnection((client) =>
    client.query(
      `update public.sessions set start_time = now() - make_interval(hours => $2), end_time = now() - make_interval(hours => $2 - 1)
        where id = $1`,
      [session.id, hours],
    ),
  );
  return session.id;
}
let hours = 0;

/** The sessions here lie some hours back, on a clock that may have passed midnight since. */
const otherDayReason = 'documented late';

const minutesAgo = (minutes: number) => new Date(Date.now() - minutes * 60_000).toISOString();
const hour = () => ({
  actualStartTime: minutesAgo(60),
  actualEndTime: minutesAgo(0),
});

const wholeNote = {
  narratives: [{ cpt_code: '97153', narrative: 'Ten trials of requesting.' }],
  ...{ client_response: 'Calm throughout.', progress: 'Eight of ten.' },
  ...{ participants: ['Client', 'Technician'], location: 'Clinic' },
};

describe('a session', () => {
  it('gets another code, which its therapist may render, or stays as it is', async () => {
    const { session } = await bookSession(rbt, { session: nextSession(clinic), timeZone: 'UTC' });
    const recode = (cptCode: string, id: string = session.id) =>
      recodeSessions(rbt, { sessionIds: [id], cptCode });
    expect(await recode('97152')).toMatchObject({
      ...{ cptCode: '97152', recodedCount: 1 },
      sessions: [{ id: session.id, cpt_code: '97152' }],
    });
    expect(await refusal(recode('97155'))).toMatchObject({ status: 403, code: 'FORBIDDEN' });
    expect(await refusal(recode('97153', clinic.organizationId))).toMatchObject({ status: 403 });
    expect(await refusal(recode('97154'))).toMatchObject({ status: 400, issues: [{ path: 'cpt_code' }] });
  });

  it('begins, and is not completed before its record is whole', async () => {
    const sessionId = await pastSession();
    const { session, actualStartTime } = await startSession(rbt, { sessionId, otherDayReason });
    expect(session).toMatchObject({ id: sessionId, status: 'in_progress' });
    expect(Date.parse(actualStartTime)).toBeLessThanOrEqual(Date.now());
    expect(await refusal(startSession(rbt, { sessionId }))).toMatchObject({
      ...{ status: 409, code: 'STATUS_NOT_ALLOWED', issues: [] },
    });
    expect(await endSession(rbt, { sessionId, otherDayReason, ...hour() })).toMatchObject({
      session: { status: 'in_progress' },
    });
    const incomplete = await refusal(completeSession(rbt, { sessionId }));
    expect(incomplete).toMatchObject({ status: 409, code: 'SESSION_INCOMPLETE' });
    expect(incomplete.issues.map(({ path }) => path)).toEqual(['note']);
    expect(incomplete.issues[0]?.message).toMatch(/note/);
  });

  it('is completed with the units of its actual minutes', async () => {
    const sessionId = await pastSession();
    await startSession(rbt, {
      sessionId,
      otherDayReason,
      actualStartTime: minutesAgo(40),
    });
    const note = { session_id: sessionId, base_version: 0, action: 'save_draft', content: wholeNote };
    expect((await call('session-notes', clinic.rbt, note)).status).toBe(200);
    const signature = { session_id: sessionId, base_version: 1, action: 'sign' };
    expect((await call('session-notes', clinic.rbt, signature)).body.code).toBe('SESSION_NOT_DOCUMENTABLE');
    await endSession(rbt, { sessionId, actualEndTime: minutesAgo(10) });
    expect((await call('session-notes', clinic.rbt, signature)).status).toBe(200);
    await endSession(rbt, { sessionId, actualEndTime: minutesAgo(0) });
    expect((await refusal(completeSession(rbt, { sessionId }))).issues).toEqual([
      { path: 'signature', message: expect.stringMatching(/actual_end_time/) },
    ]);
    const amended = { session_id: sessionId, base_version: 2, content: wholeNote, reason: 'It took longer.' };
    expect((await call('session-notes', clinic.rbt, { action: 'amend', ...amended })).status).toBe(200);
    const done = await completeSession(rbt, { sessionId });
    expect(done).toMatchObject({ session: { status: 'completed' }, units: 3, version: 1 });

    const actualEndTime = minutesAgo(20);
    const correction = { sessionId, baseVersion: 1, actualEndTime, reasonCode: 'wrong_time' } as const;
    expect(await correctVisit(rbt, correction)).toMatchObject({
      ...{ version: 2, units: 1, noteStatus: 'needs_amendment', session: { status: 'completed' } },
    });
    expect(await refusal(correctVisit(rbt, correction))).toMatchObject({
      ...{ status: 409, code: 'VISIT_VERSION_CONFLICT' },
    });
    // It was the BCBA who was there: an admin says so, and the BCBA amends the note.
    const people = {
      sessionId,
      baseVersion: 2,
      reasonCode: 'wrong_people',
      therapistId: clinic.bcba.id,
    } as const;
    expect(await refusal(correctVisit(rbt, people))).toMatchObject({ status: 403, code: 'FORBIDDEN' });
    expect(await refusal(correctVisit(admin, { ...people, therapistId: clinic.clients[0] }))).toMatchObject({
      status: 400,
      issues: [{ path: 'therapist_id' }],
    });
    expect(await correctVisit(admin, people)).toMatchObject({
      ...{ version: 3, units: 1, session: { therapist_id: clinic.bcba.id } },
    });
    const theirs = { session_id: sessionId, base_version: 3, content: wholeNote, reason: 'I was there.' };
    expect((await call('session-notes', clinic.rbt, { action: 'amend', ...theirs })).status).toBe(403);
    expect((await call('session-notes', clinic.bcba, { action: 'amend', ...theirs })).status).toBe(200);
    const versions = await fetchVisitVersions(await clientOf(clinic.bcba), { sessionId });
    expect(versions.map(({ version, therapist_id }) => [version, therapist_id])).toEqual([
      [1, clinic.rbt.id],
      [2, clinic.rbt.id],
    ]);
    const undone = { sessionId, baseVersion: 3, undo: 'completion', reasonCode: 'by_mistake' } as const;
    expect(await correctVisit(admin, undone)).toMatchObject({
      units: null,
      version: 4,
      noteStatus: 'amended',
    });
  });

  it('was missed, once its start has passed, and only by those whose it is', async () => {
    const sessionId = await pastSession();
    const stranger = await clientOf(clinic.bcba);
    expect(await refusal(markNoShow(stranger, { sessionId }))).toMatchObject({
      status: 403,
      code: 'FORBIDDEN',
    });
    expect((await markNoShow(rbt, { sessionId })).session.status).toBe('no_show');
    const { session } = await bookSession(rbt, { session: nextSession(clinic), timeZone: 'UTC' });
    expect(await refusal(markNoShow(rbt, { sessionId: session.id }))).toMatchObject({
      code: 'STATUS_NOT_ALLOWED',
    });
    expect(await refusal(startSession(rbt, { sessionId: 'no id' }))).toMatchObject({
      ...{
        status: 400,
        code: 'VALIDATION_FAILED',
        issues: [{ path: 'session_id', message: 'must be a UUID' }],
      },
    });
  });
});

describe('the waitlist', () => {
  it('offers a freed slot as a hold that is confirmed by its key', async () => {
    const booked = nextSession(clinic);
    const { session } = await bookSession(rbt, { session: booked, timeZone: 'UTC' });
    const waiting = {
      clientId: clinic.clients[1],
      cptCode: '97153',
      windows: [{ from: booked.start_time, to: booked.end_time }],
    };
    expect(await refusal(joinWaitlist(admin, { ...waiting, windows: [] }))).toMatchObject({ status: 400 });
    expect(await refusal(joinWaitlist(rbt, waiting))).toMatchObject({ status: 403 });
    const entry = await joinWaitlist(admin, { ...waiting, priority: 2 });
    expect(entry).toMatchObject({ client_id: waiting.clientId, priority: 2, closed_at: null });
    expect(await fetchWaitlist(rbt)).toEqual([{ entry, offer: null }]);

    await cancelSessions(admin, { sessionIds: [session.id] });
    // The next in line is asked once the cancellation has been answered.
    const offer = await vi.waitFor(async () => {
      const [waits] = await fetchWaitlist(rbt);
      expect(waits?.offer).toMatchObject({ therapistId: clinic.rbt.id, groupId: null });
      return waits?.offer;
    }, PATIENTLY);
    if (!offer) return;
    const { session: served } = await confirmSessionBooking(rbt, {
      holdKey: offer.holdKey,
      session: { ...booked, client_id: waiting.clientId },
      timeZone: offer.timeZone,
    });
    expect(served.client_id).toBe(waiting.clientId);

    expect(await refusal(leaveWaitlist(rbt, { entryId: entry.id }))).toMatchObject({ status: 403 });
    expect((await leaveWaitlist(admin, { entryId: entry.id })).closed_at).not.toBeNull();
    expect(await fetchWaitlist(admin)).toEqual([]);
  });
});

describe('the payer’s rules', () => {
  it('are those of who pays first that day, and feed the billing', async () => {
    await withConnection((client) =>
      client.query(
        `with payer as (
          insert into public.payers (organization_id, id, name)
          values ($1, gen_random_uuid(), 'First'), ($1, gen_random_uuid(), 'Second') returning id, name
        ),
        rules as (
          insert into public.payer_rules (organization_id, payer_id, rounding, telehealth_modifier, valid_from, valid_to)
          select $1, id, 'floor', 'GT', '2026-01-01', '2026-12-31' from payer where name = 'First'
        ),
        code_rules as (
          insert into public.payer_code_rules (organization_id, payer_id, cpt_code, modifiers, valid_from)
          select $1, id, '97153', '{"technician": ["HM"]}', '2026-01-01' from payer where name = 'First'
        ),
        limits as (
          insert into public.unit_limits (organization_id, payer_id, cpt_codes, period, max_units, valid_from)
          select $1, id, cpt_codes, 'day', units, '2026-01-01'
          from payer cross join (values ('{97153}'::text[], 32), ('{97153,97154}', 30)) as day (cpt_codes, units)
          where name = 'First'
        )
        insert into public.client_coverages (organization_id, client_id, payer_id, priority, valid_from)
        select $1, $2, id, case name when 'First' then 1 else 2 end, '2026-01-01' from payer`,
        [clinic.organizationId, clinic.clients[0]],
      ),
    );
    const clientId = clinic.clients[0];
    const payerRules = await fetchPayerRules(rbt, { clientId, date: '2026-12-01' });
    expect(payerRules).toEqual({
      rounding: 'floor',
      telehealthModifier: 'GT',
      codes: { '97153': { modifiers: { technician: ['HM'] }, maxDailyUnits: 32 } },
    });
    const session = {
      ...{ start_time: '2026-12-01T18:00:00Z', end_time: '2026-12-01T18:40:00Z' },
      ...{ session_type: 'individual', location_type: 'telehealth' },
    };
    expect(deriveCptMetadata({ session, payerRules, credential: 'RBT' })).toMatchObject({
      ...{ units: 2, modifiers: ['HM', 'GT'] },
    });

    // Another version of the rules; a day nobody pays for; a client of nobody's caseload.
    expect(await fetchPayerRules(rbt, { clientId, date: '2027-01-01' })).toEqual({
      codes: { '97153': { modifiers: { technician: ['HM'] }, maxDailyUnits: 32 } },
    });
    expect(await fetchPayerRules(rbt, { clientId, date: '2025-12-31' })).toBeNull();
    expect(await fetchPayerRules(rbt, { clientId: clinic.clients[3], date: '2026-12-01' })).toBeNull();
    expect(await refusal(fetchPayerRules(rbt, { clientId, date: 'today' }))).toMatchObject({ status: 400 });
  });
});
