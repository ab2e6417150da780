/** `previewSeries` says what a hold would meet, and holds nothing. */
import { randomUUID } from 'node:crypto';
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

  it('knows the service: what may run beside it is free, what is not authorized is not, and skipping agrees', async () => {
    const paid = await openClinic();
    const client = paid.clients[0];
    const session = { ...nextSession(paid, { therapist: paid.bcba, client }), session_type: 'supervision' };
    await withConnection(async (db) => {
      const payer = randomUUID();
      await db.query("insert into public.payers (organization_id, id, name) values ($1, $2, 'Payer')", [
        paid.organizationId,
        payer,
      ]);
      await db.query(
        `insert into public.client_coverages (organization_id, client_id, payer_id, priority, valid_from)
         values ($1, $2, $3, 1, '2020-01-01')`,
        [paid.organizationId, client, payer],
      );
      await db.query(
        `insert into public.payer_concurrency_rules (organization_id, payer_id, first_code, second_code, allowed, valid_from)
         values ($1, $2, '97153', '97155', true, '2020-01-01')`,
        [paid.organizationId, payer],
      );
      // The first three of four weeks are authorized.
      await db.query(
        `with made as (
           insert into public.authorizations (organization_id, client_id, payer_id, approved_units, starts_on, ends_on)
           values ($1, $2, $3, 100, '2020-01-01', ($4::timestamptz at time zone 'America/Los_Angeles')::date) returning organization_id, id
         )
         insert into public.authorization_codes (organization_id, authorization_id, cpt_code)
         select organization_id, id, '97155' from made`,
        [paid.organizationId, client, payer, shifted(session, 14).start_time],
      );
    });
    const admin = await clientOf(paid.admin);
    // The client's own 97153 in the second week is allowed beside 97155.
    const beside = { ...shifted(session, 7), therapist_id: paid.rbt.id, session_type: 'individual' };
    await bookSession(admin, { session: beside, timeZone: 'UTC' });
    const rule = { recurrence: { rule: 'FREQ=WEEKLY;COUNT=4' }, timeZone: 'UTC' };
    const reasonsOf = async (cptCode: string) =>
      (await previewSeries(admin, { session, ...rule, cptCode })).map(({ blockedBy }) => blockedBy);
    expect(await reasonsOf('97155')).toEqual([null, null, null, 'authorization']);
    expect(await reasonsOf('97153')).toEqual([null, 'client', null, null]);
    const { sessions, skipped } = await bookSession(admin, {
      session,
      ...rule,
      overrides: { cptCode: '97155' },
      onConflict: 'skip',
    });
    expect(sessions.map(({ cpt_code }) => cpt_code)).toEqual(['97155', '97155', '97155']);
    expect(skipped).toMatchObject([{ index: 3, blockedBy: 'authorization' }]);
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
