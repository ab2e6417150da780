/** `previewSeries` says what a hold would meet, and holds nothing. */
import { beforeAll, describe, expect, it } from 'vitest';
import { bookSession, previewSeries, requestSessionHold, SessionsApiError } from '../../src/lib/index.ts';
import { withConnection } from '../setup/db.ts';
import { type Clinic, clientOf, nextSession, openClinic, plusDays, stateOf } from './clinic.ts';

let clinic: Clinic;
let supabase: Awaited<ReturnType<typeof clientOf>>;
beforeAll(async () => {
  clinic = await openClinic();
  supabase = await clientOf(clinic.admin);
});

const shifted = (session: ReturnType<typeof nextSession>, days: number) => ({
  ...session,
  start_time: plusDays(session.start_time, days),
  end_time: plusDays(session.end_time, days),
});

describe('a preview', () => {
  it('says which occurrences are blocked, and by what', async () => {
    const session = nextSession(clinic);
    await bookSession(supabase, { session: shifted(session, 7), timeZone: 'UTC' });
    const other = { ...shifted(session, 14), therapist_id: clinic.bcba.id };
    await requestSessionHold(supabase, {
      therapistId: other.therapist_id,
      clientId: other.client_id,
      startTime: other.start_time,
      endTime: other.end_time,
      timeZone: 'UTC',
    });
    const before = await stateOf(clinic);
    const preview = await previewSeries(supabase, {
      session,
      recurrence: { rule: 'FREQ=WEEKLY;COUNT=4' },
      timeZone: 'UTC',
    });
    expect(preview.map(({ index, blockedBy, by }) => ({ index, blockedBy, by }))).toEqual([
      { index: 0, blockedBy: null, by: null },
      { index: 1, blockedBy: 'therapist', by: 'session' },
      { index: 2, blockedBy: 'client', by: 'hold' },
      { index: 3, blockedBy: null, by: null },
    ]);
    expect(preview[3]?.startTime).toBe(shifted(session, 21).start_time);
    expect(await stateOf(clinic)).toEqual(before);
  });

  it('knows the therapist’s hours, and skipping books inside them', async () => {
    const working = await openClinic();
    const window = '[{"start": "00:00", "end": "24:00"}]';
    const weekdays = ['monday', 'tuesday', 'wednesday', 'thursday', 'friday'].map(
      (day) => `"${day}": ${window}`,
    );
    await withConnection((client) =>
      client.query('update public.therapists set availability_hours = $2 where organization_id = $1', [
        working.organizationId,
        `{${weekdays.join(',')}}`,
      ]),
    );
    const rbt = await clientOf(working.rbt);
    const booking = {
      session: nextSession(working),
      recurrence: { rule: 'FREQ=DAILY;COUNT=7' },
      timeZone: 'America/Los_Angeles',
    };
    const preview = await previewSeries(rbt, booking);
    const outside = preview.filter(({ blockedBy }) => blockedBy === 'availability');
    expect(outside).toHaveLength(2);
    const { sessions, skipped } = await bookSession(rbt, { ...booking, onConflict: 'skip' });
    expect(sessions).toHaveLength(5);
    expect(skipped).toEqual(outside.map(({ reasons, ...occurrence }) => occurrence));
    expect(outside.map(({ reasons }) => reasons.map(({ what }) => what))).toEqual([
      ['availability'],
      ['availability'],
    ]);
  });

  it('of a session to be moved does not count that session as in the way', async () => {
    const { session } = await bookSession(supabase, { session: nextSession(clinic), timeZone: 'UTC' });
    const moved = {
      ...nextSession(clinic),
      id: session.id,
      start_time: new Date(Date.parse(String(session.start_time)) + 1_800_000).toISOString(),
      end_time: new Date(Date.parse(String(session.end_time)) + 1_800_000).toISOString(),
    };
    const blockedBy = async (extra: object) =>
      (await previewSeries(supabase, { session: { ...moved, ...extra }, timeZone: 'UTC' }))[0]?.blockedBy;
    expect(await blockedBy({})).toBeNull();
    expect(await blockedBy({ id: null })).toBe('therapist');
  });

  it('is refused to whom may not book, and for what cannot be booked', async () => {
    const session = nextSession(clinic);
    const of = (extra: object) =>
      previewSeries(supabase, { session, timeZone: 'UTC', ...extra }).catch((error: unknown) => error);
    const rbtForBcba = {
      session: { ...session, therapist_id: clinic.bcba.id },
      accessToken: clinic.rbt.token,
    };
    expect(await of(rbtForBcba)).toMatchObject({ status: 403, code: 'FORBIDDEN' });
    expect(await of({ session: shifted(session, -400) })).toMatchObject({
      status: 400,
      issues: expect.any(Array),
    });
    expect(await of({ recurrence: { rule: 'FREQ=WEEKLY' } })).toBeInstanceOf(SessionsApiError);
  });
});
