/** What a clinic does every day, over HTTP: it closes, somebody is off, series go on, and what cannot be any more is listed. */
import { randomUUID } from 'node:crypto';
import { beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { withConnection } from '../setup/db.ts';
import {
  type Answer,
  addUser,
  book,
  type Clinic,
  call,
  confirmationOf,
  hold,
  holdOf,
  openClinic,
  type Person,
  rest,
  rpc,
  signIn,
  window,
} from './clinic.ts';

const sql = (text: string, values: unknown[] = []) => withConnection((db) => db.query(text, values));
const statusOf = async (of: Person, id: string) =>
  (await rest(of, 'GET', `sessions?id=eq.${id}&select=status`)).body[0]?.status;
const days = (first: number, count: number) =>
  Array.from({ length: count }, (_, week) => window(first + 7 * week, 10));

/** Books an hour a week by its rule; the series. */
async function bookWeekly(clinic: Clinic, first: number, count: number, extra: object = {}): Promise<string> {
  const body = holdOf(clinic.rbt, clinic.clients[0], window(first, 10), {
    recurrence: { rule: `FREQ=WEEKLY;COUNT=${count}` },
    ...extra,
  });
  const held = await hold(clinic.admin, body);
  const booked = await call('sessions-confirm', clinic.admin, confirmationOf(body, held));
  expect(booked.status).toBe(200);
  return booked.body.data.session.series_id;
}

/** Confirms a change of a series from nothing but its hold. */
async function confirmChange(clinic: Clinic, { body }: Answer): Promise<Answer> {
  const { holdKey, holds, series } = body.data;
  const occurrences = holds.map(
    (each: { holdKey: string; sessionId: string; startTime: string; endTime: string }) => ({
      hold_key: each.holdKey,
      session: {
        ...{ id: each.sessionId, therapist_id: series.therapistId, client_id: series.clientId },
        ...{ start_time: each.startTime, end_time: each.endTime },
      },
    }),
  );
  return await call('sessions-confirm', clinic.admin, {
    ...{ hold_key: holdKey, time_zone: 'UTC', session: occurrences[0].session, occurrences },
  });
}

/** The client's payer, who wants an authorization, and one of so many units of 97153 until a day. */
async function authorize(
  clinic: Clinic,
  client: string,
  units: number | null,
  endsOn = '2099-12-31',
  coveredTo = '2099-12-31',
) {
  const payer = randomUUID();
  await sql('insert into public.payers (organization_id, id, name) values ($1, $2::uuid, $2::text)', [
    ...[clinic.organizationId, payer],
  ]);
  await sql(
    `insert into public.payer_rules (organization_id, payer_id, rounding, authorization_required, valid_from)
     values ($1, $2, 'midpoint', true, '2020-01-01')`,
    [clinic.organizationId, payer],
  );
  await sql(
    `insert into public.client_coverages (organization_id, client_id, payer_id, priority, valid_from, valid_to)
     values ($1, $2, $3, 1, '2020-01-01', $4)`,
    [clinic.organizationId, client, payer, coveredTo],
  );
  if (units !== null)
    await sql(
      `with granted as (
        insert into public.authorizations (organization_id, client_id, payer_id, approved_units, starts_on, ends_on)
        values ($1, $2, $3, $4, '2020-01-01', $5) returning organization_id, id
      )
      insert into public.authorization_codes (organization_id, authorization_id, cpt_code)
      select organization_id, id, '97153' from granted`,
      [clinic.organizationId, client, payer, units, endsOn],
    );
  return payer;
}

describe('a clinic that closes', () => {
  let clinic: Clinic;
  beforeAll(async () => {
    clinic = await openClinic();
  });

  it('has no slots then, refuses holds, and series go around it', async () => {
    const closed = window(27, 10);
    const { body } = await rpc(clinic.admin, 'add_closure', {
      request: { name: 'Winter break', start_time: closed.start_time, end_time: closed.end_time },
    });
    expect(body).toMatchObject({ ok: true, body: { touched: 0 } });

    const { body: slots } = await rpc(clinic.rbt, 'find_open_slots', {
      ...{
        therapist_id: clinic.rbt.id,
        from_time: window(27, 8).start_time,
        to_time: window(27, 13).start_time,
      },
      ...{ duration_minutes: 60, time_zone: 'UTC' },
    });
    expect(slots.length).toBeGreaterThan(0);
    const clash = ({ start_time, end_time }: { start_time: string; end_time: string }) =>
      Date.parse(start_time) < Date.parse(closed.end_time) &&
      Date.parse(end_time) > Date.parse(closed.start_time);
    expect(slots.filter(clash)).toEqual([]);

    const refused = await call('sessions-hold', clinic.rbt, holdOf(clinic.rbt, clinic.clients[0], closed));
    expect(refused.body).toMatchObject({
      ...{ status: 409, code: 'OUTSIDE_AVAILABILITY', retryAfter: null },
      conflicts: [{ blockedBy: 'closure', startTime: closed.start_time, endTime: closed.end_time }],
    });
    const [first] = refused.body.alternatives;
    expect(clash({ start_time: first.startTime, end_time: first.endTime })).toBe(false);

    // A series that is booked names the date, and can be booked without it.
    const series = holdOf(clinic.rbt, clinic.clients[0], window(13, 10), {
      recurrence: { rule: 'FREQ=WEEKLY;COUNT=3' },
    });
    const whole = await call('sessions-hold', clinic.rbt, series);
    expect(whole.body.conflicts).toMatchObject([{ occurrenceIndex: 2, blockedBy: 'closure' }]);
    const { body: seen } = await rpc(clinic.rbt, 'preview_series', {
      request: { ...series, occurrences: days(13, 3) },
    });
    expect(seen.occurrences.map((each: { blockedBy: string | null }) => each.blockedBy)).toEqual([
      ...[null, null, 'closure'],
    ]);
    // One that goes on skips it and says so.
    const id = await bookWeekly(clinic, 13, 2);
    const { body: extended } = await rpc(clinic.rbt, 'extend_series', {
      request: { series_id: id, count: 3, on_conflict: 'skip' },
    });
    expect(extended.body.sessions).toHaveLength(2);
    expect(extended.body.skipped).toMatchObject([{ startTime: closed.start_time, blockedBy: 'closure' }]);
    // An admin may override it with a reason.
    const override = { override: { reason: 'An emergency', rules: ['availability'] } };
    const own = holdOf(clinic.rbt, clinic.clients[1], closed, override);
    const granted = await call('sessions-hold', clinic.admin, own);
    expect(granted.body.data.overridden).toEqual(['availability']);
    expect((await call('sessions-hold', clinic.rbt, own)).status).toBe(403);
  });

  it('says what it touches, and cancels it in the same transaction when told so', async () => {
    const [early, late] = [
      await book(clinic.rbt, clinic.clients[0], window(40, 9)),
      await book(clinic.bcba, clinic.clients[1], window(40, 15)),
    ];
    const date = window(40, 0).start_time.slice(0, 10);
    // The day is the organization's: in Los Angeles both sessions lie in the morning.
    const told = await rpc(clinic.admin, 'add_closure', { request: { name: 'Snow', from_date: date } });
    expect(told.body.body).toMatchObject({ touched: 2, cancelled: 0, touchedSessionIds: [early, late] });
    expect([await statusOf(clinic.admin, early), await statusOf(clinic.admin, late)]).toEqual([
      ...['scheduled', 'scheduled'],
    ]);
    const { body } = await rpc(clinic.admin, 'add_closure', {
      request: { name: 'More snow', from_date: date, cancel_sessions: true, reason: 'Snow' },
    });
    expect(body.body).toMatchObject({ touched: 2, cancelled: 2 });
    expect([await statusOf(clinic.admin, early), await statusOf(clinic.admin, late)]).toEqual([
      ...['cancelled', 'cancelled'],
    ]);
    for (const person of [clinic.rbt, clinic.parent])
      expect(
        (await rpc(person, 'add_closure', { request: { name: 'Mine', from_date: date } })).body,
      ).toMatchObject({
        ...{ ok: false, status: 403, code: 'FORBIDDEN' },
      });
  });

  it('and a therapist who is off do the same', async () => {
    const { start_time, end_time } = window(50, 10);
    const mine = await book(clinic.rbt, clinic.clients[0], window(50, 10));
    const other = await book(clinic.bcba, clinic.clients[1], window(50, 10));
    const request = { start_time, end_time };
    expect((await rpc(clinic.rbt, 'add_time_off', { request })).body.body).toMatchObject({
      ...{ touched: 1, cancelled: 0, touchedSessionIds: [mine] },
    });
    const cancelled = await rpc(clinic.rbt, 'add_time_off', {
      request: { ...request, cancel_sessions: true },
    });
    expect(cancelled.body.body).toMatchObject({ touched: 1, cancelled: 1 });
    expect([await statusOf(clinic.admin, mine), await statusOf(clinic.admin, other)]).toEqual([
      ...['cancelled', 'scheduled'],
    ]);
    const refused = await call(
      'sessions-hold',
      clinic.rbt,
      holdOf(clinic.rbt, clinic.clients[0], window(50, 10)),
    );
    expect(refused.body).toMatchObject({
      code: 'OUTSIDE_AVAILABILITY',
      conflicts: [{ blockedBy: 'availability' }],
    });
  });

  it('a change of level says what may not be rendered any more, and cancels it when told so', async () => {
    const at = window(60, 10);
    const body = holdOf(clinic.bcba, clinic.clients[0], at, { cpt_code: '97155' });
    const held = await hold(clinic.bcba, body);
    const booked = await call(
      'sessions-confirm',
      clinic.bcba,
      confirmationOf(body, held, { cpt: { code: '97155' } }),
    );
    const { id } = booked.body.data.session;
    const request = { therapist_id: clinic.bcba.id, credential: 'RBT' };
    expect((await rpc(clinic.admin, 'set_credential', { request })).body.body).toMatchObject({
      ...{ touched: 1, cancelled: 0, touchedSessionIds: [id] },
    });
    const { body: told } = await rpc(clinic.admin, 'set_credential', {
      request: { ...request, cancel_sessions: true },
    });
    expect(told.body).toMatchObject({ touched: 1, cancelled: 1 });
    expect(await statusOf(clinic.admin, id)).toBe('cancelled');
  });
});

describe('a series', () => {
  let clinic: Clinic;
  beforeEach(async () => {
    clinic = await openClinic();
  });

  it('goes to another therapist, into a room and out of it, from one session on', async () => {
    const id = await bookWeekly(clinic, 3, 4);
    const all = async () =>
      (
        await rest(
          clinic.admin,
          'GET',
          `sessions?series_id=eq.${id}&order=start_time&select=start_time,therapist_id,room_id`,
        )
      ).body;
    const from = (await all())[2].start_time;
    const asked = (change: object) =>
      call('sessions-hold', clinic.admin, { series: { series_id: id, scope: 'following', from, change } });
    expect(
      (await confirmChange(clinic, await asked({ therapist_id: clinic.bcba.id, room_id: clinic.room })))
        .status,
    ).toBe(200);
    const people = async () =>
      (await all()).map(({ therapist_id }: { therapist_id: string }) => therapist_id);
    const rooms = async () => (await all()).map(({ room_id }: { room_id: string }) => room_id);
    expect(await people()).toEqual([clinic.rbt.id, clinic.rbt.id, clinic.bcba.id, clinic.bcba.id]);
    expect(await rooms()).toEqual([null, null, clinic.room, clinic.room]);
    expect((await confirmChange(clinic, await asked({ room_id: null }))).status).toBe(200);
    expect(await rooms()).toEqual([null, null, null, null]);
  });

  it('goes on as long as its authorization', async () => {
    const [client] = clinic.clients;
    const last = window(3 + 7 * 5, 10).start_time.slice(0, 10);
    await authorize(clinic, client, 100, last);
    const id = await bookWeekly(clinic, 3, 3, { cpt_code: '97153' });
    const request = { series_id: id, authorization_end: true };
    const { body } = await rpc(clinic.rbt, 'extend_series', { request });
    expect(
      body.body.sessions.map(({ start_time }: { start_time: string }) => start_time.slice(0, 10)),
    ).toEqual([3, 4, 5].map((week) => window(3 + 7 * week, 10).start_time.slice(0, 10)));
    const more = await rpc(clinic.rbt, 'extend_series', { request });
    expect(more.body).toMatchObject({ ok: false, status: 409, code: 'AUTHORIZATION_EXCEEDED' });
    expect(more.body.shortages).toMatchObject([{ limit: 'dates' }]);
  });
});

describe('somebody to take a session', () => {
  it('knows the client, is free, works then, may render it and has units left: and can have it', async () => {
    const clinic = await openClinic();
    const { admin, rbt, bcba, clients, organizationId } = clinic;
    const third = await addUser('third');
    await sql(
      "insert into public.memberships (organization_id, user_id, role) values ($1, $2, 'therapist')",
      [...[organizationId, third.id]],
    );
    await sql(
      `insert into public.therapists (organization_id, id, display_name, credential, time_zone)
       values ($1, $2, 'T', 'RBT', 'America/Los_Angeles')`,
      [organizationId, third.id],
    );
    const know = (client: string) =>
      sql('insert into public.caseloads (organization_id, therapist_id, client_id) values ($1, $2, $3)', [
        ...[organizationId, third.id, client],
      ]);
    const at = window(10, 16);
    const sessionId = await book(rbt, clients[0], at);
    const found = async (request: object = {}): Promise<string[]> =>
      (await rpc(admin, 'find_substitutes', { request: { session_id: sessionId, ...request } })).body.map(
        ({ therapistId }: { therapistId: string }) => therapistId,
      );
    const handed = async (to: Person) => {
      const request = { session_ids: [sessionId], to_therapist_id: to.id };
      const { body } = await rpc(admin, 'hold_reassignment', { request });
      if (body.ok) await rpc(admin, 'release_hold', { request: { hold_key: body.body.holdKey } });
      return body.ok ? 'ok' : body.code;
    };
    expect(await found()).toEqual([bcba.id]);
    expect(await found({ include_off_caseload: true })).toEqual([bcba.id, third.id]);
    await know(clients[0]);
    // The fewer clients, then the less to do.
    expect(await found()).toEqual([third.id, bcba.id]);
    const { start_time, end_time } = window(10, 20);
    const meeting = { kind: 'meeting', therapist_ids: [third.id], time_zone: 'UTC', start_time, end_time };
    expect((await rpc(admin, 'add_staff_time', { request: meeting })).body.ok).toBe(true);
    expect(await found()).toEqual([bcba.id, third.id]);
    for (const person of [bcba, third]) expect(await handed(person)).toBe('ok');

    // Busy, off, not at work.
    await book(bcba, clients[1], at);
    expect(await found()).toEqual([third.id]);
    expect(await handed(bcba)).toBe('THERAPIST_CONFLICT');
    const hours = { availability_hours: { sunday: [] }, therapist_id: third.id };
    await rpc(admin, 'set_availability_hours', hours);
    expect(await found()).toEqual([]);
    expect(await handed(third)).toBe('OUTSIDE_AVAILABILITY');
    await rpc(admin, 'set_availability_hours', { ...hours, availability_hours: null });
    expect(await found()).toEqual([third.id]);

    // Units: of a therapist and a day.
    const payer = await authorize(clinic, clients[0], 100);
    await sql(
      `insert into public.unit_limits (organization_id, payer_id, cpt_codes, per, period, max_units)
       values ($1, $2, '{97153}', 'therapist', 'day', 4)`,
      [organizationId, payer],
    );
    expect(await found()).toEqual([third.id]);
    await book(await signIn(third), clients[0], window(10, 18));
    expect(await found()).toEqual([]);
    expect(await handed(third)).toBe('AUTHORIZATION_EXCEEDED');
  });
});

describe('the problems of the schedule', () => {
  it('are a row for each session to come and each cause', async () => {
    const clinic = await openClinic();
    const { organizationId, admin, rbt, bcba } = clinic;
    const problems = async (person: Person = admin): Promise<string[]> => {
      const { body } = await rest(person, 'GET', 'schedule_problems?select=session_id,problem', undefined, {
        'accept-profile': 'reports',
      });
      return body
        .map((row: { session_id: string; problem: string }) => `${names.get(row.session_id)} ${row.problem}`)
        .sort();
    };
    const names = new Map<string, string>();
    let day = 2;
    async function booked(name: string, therapist: Person, extra: object = {}, cpt?: string) {
      const client = randomUUID();
      await rest(admin, 'POST', 'clients', { organization_id: organizationId, id: client, reference: name });
      await sql(
        'insert into public.caseloads (organization_id, therapist_id, client_id) values ($1, $2, $3)',
        [...[organizationId, therapist.id, client]],
      );
      day += 1;
      const at = window(day, 15);
      const body = holdOf(therapist, client, at, { ...extra, ...(cpt && { cpt_code: cpt }) });
      const held = await hold(admin, body);
      const answer = await call(
        'sessions-confirm',
        admin,
        confirmationOf(body, held, cpt ? { cpt: { code: cpt } } : {}),
      );
      expect(answer.status).toBe(200);
      names.set(answer.body.data.session.id, name);
      return { client, at, date: at.start_time.slice(0, 10), id: String(answer.body.data.session.id) };
    }
    await sql(
      `insert into public.service_codes (organization_id, code, description, levels, unit_minutes, valid_from)
       values ($1, 'H2019', 'Skills', '{technician,assistant,qhp}', 30, '2020-01-01')`,
      [organizationId],
    );
    const archived = await booked('archived', rbt);
    const roomless = await booked('room', rbt, { room_id: clinic.room });
    const off = await booked('off', rbt);
    const closed = await booked('closed', rbt);
    const strange = await booked('strange', rbt);
    const advice = await booked('advice', bcba, {}, '97155');
    const ended = await booked('ended', rbt, {}, 'H2019');
    const uncovered = await booked('uncovered', rbt, {}, '97153');
    const unauthorized = await booked('unauthorized', rbt, {}, '97153');
    const over = await booked('over', rbt, {}, '97153');
    const left = await booked('left', clinic.bcba);
    const late = await booked('late', rbt);
    expect(await problems()).toEqual([]);

    await rpc(admin, 'archive', { request: { client_id: archived.client } });
    await rpc(admin, 'archive', { request: { room_id: clinic.room } });
    await rpc(rbt, 'add_time_off', { request: { from_date: off.date } });
    await rpc(admin, 'add_closure', { request: { name: 'Snow', from_date: closed.date } });
    await sql('delete from public.caseloads where organization_id = $1 and client_id = $2', [
      ...[organizationId, strange.client],
    ]);
    await rpc(admin, 'set_credential', { request: { therapist_id: bcba.id, credential: 'RBT' } });
    await sql('update public.service_codes set valid_to = $2 where organization_id = $1', [
      ...[organizationId, new Date(Date.parse(ended.date) - 86_400_000).toISOString().slice(0, 10)],
    ]);
    await authorize(clinic, uncovered.client, 100, '2099-12-31', new Date().toISOString().slice(0, 10));
    await authorize(clinic, unauthorized.client, null);
    await authorize(clinic, over.client, 3);
    const weekday = ['sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday'];
    const others = Object.fromEntries(weekday.map((name) => [name, [{ start: '00:00', end: '24:00' }]]));
    // In Los Angeles it is the morning of the same day.
    const lateDay = weekday[new Date(late.at.start_time).getUTCDay()] as string;
    const hours = { ...others, [lateDay]: [{ start: '00:00', end: '01:00' }] };
    expect((await rpc(rbt, 'set_availability_hours', { availability_hours: hours })).body.ok).toBe(true);

    const outside = [roomless, archived, off, closed, strange, ended, uncovered, unauthorized, over, late]
      .filter(({ at }) => weekday[new Date(at.start_time).getUTCDay()] === lateDay)
      .map(({ id }) => `${names.get(id)} outside_hours`);
    const expected = [
      ...[
        'archived client_archived',
        'room room_archived',
        'off time_off',
        'closed closure',
        'strange off_caseload',
      ],
      ...['advice not_renderable', 'ended code_ended', 'uncovered no_coverage'],
      ...['unauthorized not_authorized', 'over over_limit', ...outside],
    ].sort();
    expect(outside).toContain('late outside_hours');
    expect(await problems()).toEqual(expected);
    // A therapist reads their own, a parent and another clinic none.
    expect(await problems(bcba)).toEqual(['advice not_renderable']);
    expect(await problems(clinic.parent)).toEqual([]);
    expect(await problems((await openClinic()).admin)).toEqual([]);

    await rpc(clinic.superAdmin, 'remove_member', { user_id: bcba.id });
    expect(await problems()).toEqual(
      [...expected, `${names.get(advice.id)} therapist_left`, `${names.get(left.id)} therapist_left`].sort(),
    );
    await rpc(admin, 'archive', { request: { therapist_id: bcba.id } });
    const now = (await problems()).filter((problem) => /^(advice|left) therapist/.test(problem));
    expect(now.filter((problem) => problem.endsWith('therapist_archived')).sort()).toEqual([
      ...['advice therapist_archived', 'left therapist_archived'],
    ]);
  });
});
