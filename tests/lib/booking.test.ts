/** `bookSession` and its parts, against the real endpoints. */
import { beforeAll, describe, expect, it } from 'vitest';
import {
  bookSession,
  cancelSessionHold,
  cancelSessions,
  confirmSessionBooking,
  requestSessionHold,
  SessionsApiError,
} from '../../src/lib/index.ts';
import { withConnection } from '../setup/db.ts';
import {
  anonymousClient,
  type Clinic,
  clientOf,
  LA,
  nextSession,
  openClinic,
  plusDays,
  stateOf,
} from './clinic.ts';

let clinic: Clinic;
let supabase: Awaited<ReturnType<typeof clientOf>>;

beforeAll(async () => {
  clinic = await openClinic();
  supabase = await clientOf(clinic.rbt);
});

const hold = (session: ReturnType<typeof nextSession>, extra: object = {}) =>
  requestSessionHold(supabase, {
    therapistId: session.therapist_id,
    clientId: session.client_id,
    startTime: session.start_time,
    endTime: session.end_time,
    timeZone: LA,
    ...extra,
  });

async function refused(promise: Promise<unknown>): Promise<SessionsApiError> {
  const error = await promise.then(
    () => 'resolved',
    (reason: unknown) => reason,
  );
  if (!(error instanceof SessionsApiError))
    throw new Error(`expected a SessionsApiError, not ${String(error)}`);
  return error;
}

describe('holding and confirming', () => {
  it('makes a session of what was held', async () => {
    const session = nextSession(clinic);
    const held = await hold(session, { holdSeconds: 120 });
    expect(held.holds).toHaveLength(1);
    expect(held.secondsLeft).toBeLessThanOrEqual(120);

    const confirmed = await confirmSessionBooking(supabase, { holdKey: held.holdKey, session, timeZone: LA });
    expect(confirmed.session).toMatchObject({ status: 'scheduled', therapist_id: clinic.rbt.id });
    expect(Date.parse(String(confirmed.session.start_time))).toBe(Date.parse(session.start_time));
    expect(confirmed.roundedDurationMinutes).toBe(60);
  });

  it('gives a slot back, once', async () => {
    const held = await hold(nextSession(clinic));
    expect((await cancelSessionHold(supabase, { holdKey: held.holdKey })).released).toBe(true);
    expect((await cancelSessionHold(supabase, { holdKey: held.holdKey })).released).toBe(false);
  });

  it('uses the access token of the payload instead of the client’s session', async () => {
    const session = nextSession(clinic, { therapist: clinic.bcba });
    const request = {
      therapistId: clinic.bcba.id,
      clientId: session.client_id,
      startTime: session.start_time,
    };
    const rest = { endTime: session.end_time, timeZone: LA };
    expect((await refused(requestSessionHold(anonymousClient(), { ...request, ...rest }))).status).toBe(401);
    expect((await refused(requestSessionHold(supabase, { ...request, ...rest }))).code).toBe('FORBIDDEN');
    const held = await requestSessionHold(supabase, { ...request, ...rest, accessToken: clinic.bcba.token });
    expect(held.holds).toHaveLength(1);
  });

  it('answers the same hold for the same key', async () => {
    const session = nextSession(clinic);
    const idempotencyKey = crypto.randomUUID();
    expect(await hold(session, { idempotencyKey })).toEqual(await hold(session, { idempotencyKey }));
    expect((await refused(hold(nextSession(clinic), { idempotencyKey }))).code).toBe(
      'IDEMPOTENCY_KEY_REUSED',
    );
  });
});

describe('a refusal', () => {
  it('by a hold says when to come back and offers other times', async () => {
    const session = nextSession(clinic);
    await hold(session);
    const error = await refused(hold(session));
    expect(error).toMatchObject({ status: 409, code: 'THERAPIST_HOLD_CONFLICT' });
    expect(error.retryAfter).toBe(error.conflicts[0]?.expiresAt);
    expect(error.retryAfterSeconds).toBeGreaterThan(0);
    expect(error.conflicts[0]).toMatchObject({
      occurrenceIndex: 0,
      resource: 'therapist',
      blockedBy: 'hold',
    });
    expect(error.alternatives.length).toBeGreaterThan(0);
    expect(error.requestId).toMatch(/\S/);
  });

  it('by a session says that waiting is useless', async () => {
    const session = nextSession(clinic);
    await bookSession(supabase, { session, timeZone: LA });
    expect(await refused(hold(session))).toMatchObject({
      status: 409,
      code: 'THERAPIST_CONFLICT',
      retryAfter: null,
      retryAfterSeconds: null,
    });
  });

  it('of malformed input names the fields, before or after sending', async () => {
    const session = nextSession(clinic);
    const here = await refused(hold({ ...session, start_time: 'tomorrow' }));
    expect(here).toMatchObject({ status: 400, issues: [{ path: 'start_time' }] });
    const there = await refused(hold(session, { holdSeconds: 5 }));
    expect(there).toMatchObject({
      status: 400,
      code: 'VALIDATION_FAILED',
      issues: [{ path: 'hold_seconds' }],
    });
    const notes = { ...session, notes: 'private' };
    const confirm = confirmSessionBooking(supabase, {
      holdKey: crypto.randomUUID(),
      session: notes,
      timeZone: LA,
    });
    expect((await refused(confirm)).issues).toMatchObject([{ path: 'session.notes' }]);
  });
});

describe('booking', () => {
  it('a weekly series keeps its local hour, across the change of the clocks too', async () => {
    // From the first Monday of next October: the sixth occurrence is in winter time.
    const year = new Date().getUTCMonth() < 9 ? new Date().getUTCFullYear() : new Date().getUTCFullYear() + 1;
    const monday = Date.UTC(year, 9, 1 + ((8 - new Date(Date.UTC(year, 9, 1)).getUTCDay()) % 7), 17);
    const result = await bookSession(supabase, {
      session: {
        ...nextSession(clinic, { therapist: clinic.bcba, client: clinic.clients[1] }),
        start_time: new Date(monday).toISOString(),
        end_time: new Date(monday + 3_600_000).toISOString(),
        location_type: 'telehealth',
      },
      recurrence: { rule: 'FREQ=WEEKLY;COUNT=6' },
      timeZone: LA,
      accessToken: clinic.bcba.token,
    });
    expect(result.sessions).toHaveLength(6);
    const hours = result.sessions.map(({ start_time }) =>
      new Intl.DateTimeFormat('en-US', { timeZone: LA, hour: 'numeric', hourCycle: 'h23' }).format(
        new Date(String(start_time)),
      ),
    );
    expect(new Set(hours)).toEqual(new Set(['10']));
    expect(new Set(result.occurrences.map(({ startOffsetMinutes }) => startOffsetMinutes))).toEqual(
      new Set([-420, -480]),
    );
    expect(result.cpt).toMatchObject({ code: '97153', modifiers: ['95'], units: 4 });
    expect(result.sessions[0]).toMatchObject({
      cpt_code: '97153',
      cpt_modifiers: ['95'],
      location_type: 'telehealth',
    });
    expect(result.hold.holds).toHaveLength(6);
    expect(result.skipped).toEqual([]);
  });

  it('with the same key again answers the same sessions', async () => {
    const booking = {
      session: nextSession(clinic),
      recurrence: { rule: 'FREQ=DAILY;COUNT=1' },
      timeZone: LA,
      idempotencyKey: crypto.randomUUID(),
    };
    const before = await stateOf(clinic);
    const [first, second] = [await bookSession(supabase, booking), await bookSession(supabase, booking)];
    expect(second.sessions).toEqual(first.sessions);
    expect((await stateOf(clinic)).sessions).toBe(before.sessions + 1);
  });

  it('refuses a series with a blocked date, books nothing and holds nothing', async () => {
    const session = nextSession(clinic);
    const blocked = {
      ...session,
      start_time: plusDays(session.start_time, 14),
      end_time: plusDays(session.end_time, 14),
    };
    await bookSession(supabase, { session: blocked, timeZone: 'UTC' });
    const before = await stateOf(clinic);
    const error = await refused(
      bookSession(supabase, { session, recurrence: { rule: 'FREQ=WEEKLY;COUNT=4' }, timeZone: 'UTC' }),
    );
    expect(error.conflicts.map(({ occurrenceIndex }) => occurrenceIndex)).toContain(2);
    expect(await stateOf(clinic)).toEqual(before);
  });

  it('skips the blocked dates when told to, and says which and why', async () => {
    const session = nextSession(clinic);
    const at = (days: number) => ({
      ...session,
      start_time: plusDays(session.start_time, days),
      end_time: plusDays(session.end_time, days),
    });
    await bookSession(supabase, { session: at(7), timeZone: 'UTC' });
    await hold(at(21));
    const result = await bookSession(supabase, {
      session,
      recurrence: { rule: 'FREQ=WEEKLY;COUNT=5' },
      timeZone: 'UTC',
      onConflict: 'skip',
    });
    expect(result.sessions).toHaveLength(3);
    expect(result.occurrences.map(({ index }) => index)).toEqual([0, 1, 2]);
    expect(result.skipped).toMatchObject([
      { index: 1, blockedBy: 'therapist', by: 'session', startTime: at(7).start_time },
      { index: 3, blockedBy: 'therapist', by: 'hold', startTime: at(21).start_time },
    ]);
  });

  it('skipping throws the refusal when nothing is left', async () => {
    const session = nextSession(clinic);
    await bookSession(supabase, { session, timeZone: LA });
    const error = await refused(bookSession(supabase, { session, timeZone: LA, onConflict: 'skip' }));
    expect(error).toMatchObject({ status: 409, code: 'THERAPIST_CONFLICT' });
  });

  it('moves a session', async () => {
    const { session } = await bookSession(supabase, { session: nextSession(clinic), timeZone: LA });
    const target = nextSession(clinic);
    const moved = await bookSession(supabase, { session: { ...target, id: session.id }, timeZone: LA });
    expect(moved.session.id).toBe(session.id);
    expect(Date.parse(String(moved.session.start_time))).toBe(Date.parse(target.start_time));
  });

  it('moves a session without touching its service: code, modifiers, type and units stay', async () => {
    const { session } = await bookSession(supabase, {
      session: nextSession(clinic, { therapist: clinic.bcba }),
      timeZone: LA,
      overrides: { cptCode: '97155', modifiers: ['U1', '95'] },
      accessToken: clinic.bcba.token,
    });
    const { start_time, end_time } = nextSession(clinic);
    // By id, people and times alone; and as an app that passes the row with the type it was booked for.
    for (const extra of [{}, { session_type: 'individual' }]) {
      const moved = await bookSession(supabase, {
        session: {
          id: session.id,
          therapist_id: session.therapist_id,
          client_id: session.client_id,
          start_time: plusDays(start_time, 'session_type' in extra ? 1 : 0),
          end_time: plusDays(end_time, 'session_type' in extra ? 1 : 0),
          ...extra,
        },
        timeZone: LA,
        accessToken: clinic.bcba.token,
      });
      const { cpt_code, cpt_modifiers, session_type } = session;
      expect(moved.session).toMatchObject({ id: session.id, cpt_code, cpt_modifiers, session_type });
      expect(moved.session.cpt_modifiers).toEqual(['U1', '95']);
      expect(moved.cpt).toMatchObject({ code: '97155', modifiers: ['U1', '95'], units: 4 });
    }
  });

  it('moves a session to another service when it is told to', async () => {
    const { session } = await bookSession(supabase, {
      session: nextSession(clinic, { therapist: clinic.bcba }),
      timeZone: LA,
      accessToken: clinic.bcba.token,
    });
    const moved = await bookSession(supabase, {
      session: { ...nextSession(clinic, { therapist: clinic.bcba }), id: session.id, session_type: null },
      timeZone: LA,
      overrides: { cptCode: '97155' },
      accessToken: clinic.bcba.token,
    });
    expect(session.cpt_code).toBe('97153');
    expect(moved.session).toMatchObject({ id: session.id, cpt_code: '97155' });
  });

  it('books a new group: a session for each client and occurrence, and moves it whole', async () => {
    const session = nextSession(clinic);
    const clientIds = [clinic.clients[0], clinic.clients[1]];
    const booked = await bookSession(supabase, {
      session: { ...session, session_type: 'group' },
      clientIds,
      recurrence: { rule: 'FREQ=WEEKLY;COUNT=2' },
      timeZone: 'UTC',
    });
    const places = (rows: readonly { client_id: string; start_time: string }[]) =>
      rows.map(({ client_id, start_time }) => `${client_id} ${new Date(start_time).toISOString()}`).sort();
    const at = (days: number) => clientIds.map((client) => `${client} ${plusDays(session.start_time, days)}`);
    expect(places(booked.sessions)).toEqual([...at(0), ...at(7)].sort());
    expect(booked.occurrences).toHaveLength(2);
    expect(new Set(booked.sessions.map(({ group_id }) => group_id)).size).toBe(2);

    const [member] = booked.sessions.filter(({ client_id }) => client_id === clinic.clients[0]);
    const moved = await bookSession(supabase, {
      session: {
        id: member?.id,
        therapist_id: session.therapist_id,
        client_id: session.client_id,
        start_time: plusDays(session.start_time, 1),
        end_time: plusDays(session.end_time, 1),
      },
      timeZone: 'UTC',
    });
    expect(places(moved.sessions)).toEqual(at(1).sort());
  });

  it('keeps the rule of a series, also when dates of it are skipped', async () => {
    const session = nextSession(clinic);
    const recurrence = { rule: 'FREQ=WEEKLY;COUNT=3' };
    const { hold: held } = await bookSession(supabase, { session, recurrence, timeZone: 'UTC' });
    const rule = await withConnection(async (client) => {
      const { rows } = await client.query(
        'select to_jsonb(batch) as kept from public.hold_batches as batch where id = $1',
        [held.holdId],
      );
      return rows[0]?.kept.recurrence_rule ?? rows[0]?.kept.recurrence?.rule;
    });
    expect(rule).toBe('FREQ=WEEKLY;COUNT=3');
  });

  it('holds for half a minute: it confirms at once, and a rival is not told to wait for five', async () => {
    const { hold: held } = await bookSession(supabase, { session: nextSession(clinic), timeZone: LA });
    expect(held.secondsLeft).toBeLessThanOrEqual(30);
    const { secondsLeft, holds } = await hold(nextSession(clinic), { holdSeconds: 900 });
    expect(secondsLeft).toBeGreaterThan(30);
    expect(holds[0]?.secondsLeft).toBe(secondsLeft);
  });

  it('moves a series, each session onto the place of the next', async () => {
    const made = await bookSession(supabase, {
      session: nextSession(clinic),
      recurrence: { rule: 'FREQ=WEEKLY;COUNT=3' },
      timeZone: 'UTC',
    });
    const occurrences = made.sessions.map((row) => ({
      startTime: plusDays(String(row.start_time), 7),
      endTime: plusDays(String(row.end_time), 7),
      sessionId: row.id,
    }));
    const [first] = occurrences;
    const moved = await bookSession(supabase, {
      session: {
        ...nextSession(clinic),
        start_time: first?.startTime ?? '',
        end_time: first?.endTime ?? '',
      },
      occurrences,
      timeZone: 'UTC',
    });
    expect(moved.sessions.map(({ id }) => id)).toEqual(made.sessions.map(({ id }) => id));
    expect(moved.sessions.map(({ start_time }) => new Date(String(start_time)).toISOString())).toEqual(
      occurrences.map(({ startTime }) => startTime),
    );
  });

  it('finds out what is wrong before sending anything', async () => {
    const session = nextSession(clinic);
    const attempt = (extra: object) => refused(bookSession(supabase, { session, timeZone: LA, ...extra }));
    expect(await attempt({ session: { ...session, client_id: '' } })).toMatchObject({
      code: 'MISSING_FIELDS',
      issues: [{ path: 'session.client_id' }],
    });
    expect(await attempt({ session: { ...session, end_time: session.start_time } })).toMatchObject({
      code: 'INVALID_RANGE',
    });
    expect(await attempt({ recurrence: { rule: 'FREQ=WEEKLY' } })).toMatchObject({
      status: 400,
      issues: [{ path: 'recurrence.rule' }],
    });
    expect(await attempt({ startTimeOffsetMinutes: 480 })).toMatchObject({
      issues: [{ path: 'start_time_offset_minutes' }],
    });
    expect(await attempt({ recurrence: { rule: 'FREQ=DAILY;UNTIL=20000101' } })).toMatchObject({
      issues: [{ path: 'recurrence.rule' }],
    });
    // One id is one session: a series is moved by its occurrences, each with its own.
    const moved = { ...session, id: crypto.randomUUID() };
    expect(await attempt({ session: moved, recurrence: { rule: 'FREQ=WEEKLY;COUNT=2' } })).toMatchObject({
      status: 400,
      issues: [{ path: 'session.id' }],
    });
  });
});

describe('cancelling sessions', () => {
  it('by id, with a reason', async () => {
    const { session } = await bookSession(supabase, { session: nextSession(clinic), timeZone: LA });
    const { summary } = await cancelSessions(supabase, {
      sessionIds: [session.id],
      reason: 'Therapist ill',
      cancellationAttribution: 'staff',
    });
    expect(summary).toMatchObject({ cancelledCount: 1, cancelledSessionIds: [session.id] });
    const again = await cancelSessions(supabase, { sessionIds: [session.id] });
    expect(again.summary).toMatchObject({ cancelledCount: 0, alreadyCancelledCount: 1 });
    const stored = await withConnection(async (client) => {
      const { rows } = await client.query(
        'select * from public.session_cancellations where session_id = $1',
        [session.id],
      );
      return rows[0];
    });
    expect(stored).toMatchObject({ reason: 'Therapist ill', attribution: 'staff' });
  });

  it('by local day', async () => {
    const quiet = await openClinic();
    const own = await clientOf(quiet.rbt);
    const { session } = await bookSession(own, { session: nextSession(quiet), timeZone: LA });
    const date = new Intl.DateTimeFormat('en-CA', { timeZone: LA }).format(new Date(session.start_time));
    const { summary } = await cancelSessions(own, { date, timeZone: LA });
    expect(summary.cancelledSessionIds).toEqual([session.id]);
  });
});
