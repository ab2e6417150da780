/** Sessions of a series, changed together: this one, the following ones, or all that are to come; and a series that goes on. */
import { randomUUID } from 'node:crypto';
import { beforeEach, describe, expect, it } from 'vitest';
import { confirmData, conflictProblem, holdData } from '../../supabase/functions/_shared/contract/index.ts';
import { withConnection } from '../setup/db.ts';
import { stack } from '../setup/stack.ts';
import { type Answer, type Clinic, call, countRows, openClinic, type Person } from './clinic.ts';

let clinic: Clinic;

beforeEach(async () => {
  clinic = await openClinic();
});

const ZONE = 'America/Los_Angeles';
const DAY = 86_400_000;

/** A Tuesday some weeks ahead, as a civil date; each series begins in a year part of its own. */
function tuesday(weeks: number): string {
  const today = Math.floor(Date.now() / DAY);
  // 1 January 1970 was a Thursday.
  const next = today + ((5 - (today % 7) + 7) % 7);
  return new Date((next + 7 * weeks) * DAY).toISOString().slice(0, 10);
}

/** What the clocks of Los Angeles show: `Thu 16:00`. */
function clock(instant: string): string {
  return new Intl.DateTimeFormat('en-US', {
    ...{ timeZone: ZONE, weekday: 'short', hour: '2-digit', minute: '2-digit', hourCycle: 'h23' },
  })
    .format(new Date(instant))
    .replace(',', '');
}

interface Row {
  id: string;
  series_id: string;
  therapist_id: string;
  status: string;
  start_time: string;
  end_time: string;
  group_id: string | null;
}

/** The sessions of a series, by start. */
async function sessionsOf(seriesId: string): Promise<Row[]> {
  return withConnection(async (db) => {
    const { rows } = await db.query(
      `select id, series_id, therapist_id, client_id, status, private.iso(start_time) as start_time,
        private.iso(end_time) as end_time, group_id from public.sessions where series_id = $1 order by start_time, id`,
      [seriesId],
    );
    return rows;
  });
}

const clocksOf = async (seriesId: string) =>
  (await sessionsOf(seriesId)).map(({ start_time }) => clock(start_time));

/** Books Tuesdays at ten in Los Angeles; the series. */
async function bookWeekly(
  weeks: number,
  { first = 4, therapist = clinic.rbt, client = clinic.clients[0], extra = {} as object } = {},
): Promise<{ id: string; sessions: Row[] }> {
  const date = tuesday(first);
  const at = await withConnection(async (db) => {
    const { rows } = await db.query('select private.iso(($1::timestamp) at time zone $2) as start', [
      `${date} 10:00`,
      ZONE,
    ]);
    return Date.parse(rows[0].start);
  });
  const held = await call('sessions-hold', clinic.admin, {
    ...{ therapist_id: therapist.id, client_id: client, time_zone: ZONE },
    ...{ start_time: new Date(at).toISOString(), end_time: new Date(at + 3_600_000).toISOString() },
    ...{ recurrence: { rule: 'FREQ=WEEKLY;BYDAY=TU', count: weeks }, ...extra },
  });
  expect(held.body).toMatchObject({ success: true });
  const { holdKey, holds } = held.body.data;
  const session = ({ startTime, endTime }: { startTime: string; endTime: string }) => ({
    ...{ therapist_id: therapist.id, client_id: client, start_time: startTime, end_time: endTime },
  });
  const confirmed = await call('sessions-confirm', clinic.admin, {
    ...{ hold_key: holdKey, session: session(holds[0]), time_zone: ZONE },
    occurrences: holds.map((each: { holdKey: string; startTime: string; endTime: string }) => ({
      ...{ hold_key: each.holdKey, session: session(each) },
    })),
  });
  expect(confirmed.body).toMatchObject({ success: true });
  const id = confirmed.body.data.session.series_id;
  return { id, sessions: await sessionsOf(id) };
}

/** Asks for a change of a series. */
function change(person: Person, series: object, extra: object = {}, headers: Record<string, string> = {}) {
  return call('sessions-hold', person, { series, ...extra }, headers);
}

/** The confirmation of a change, from nothing but the hold's answer. */
function confirmationOf({ body }: Answer) {
  const { holdKey, holds, series } = holdData.parse(body.data);
  const occurrences = holds.map((each) => ({
    hold_key: each.holdKey,
    session: {
      ...{ id: each.sessionId, therapist_id: series?.therapistId, client_id: series?.clientId },
      ...{ start_time: each.startTime, end_time: each.endTime },
    },
  }));
  return {
    ...{ hold_key: holdKey, session: occurrences[0]?.session, time_zone: holds[0]?.timeZone },
    occurrences,
  };
}

async function confirm(person: Person, held: Answer) {
  expect(held.body).toMatchObject({ success: true });
  const answer = await call('sessions-confirm', person, confirmationOf(held));
  expect(answer.body).toMatchObject({ success: true });
  return confirmData.parse(answer.body.data);
}

/** Calls a database function over REST. */
async function rpc(name: string, person: Person, args: object): Promise<Pick<Answer, 'status' | 'body'>> {
  const response = await fetch(`${stack.apiUrl}/rest/v1/rpc/${name}`, {
    method: 'POST',
    headers: {
      ...{ apikey: stack.publishableKey, authorization: `Bearer ${person.token}` },
      'content-type': 'application/json',
    },
    body: JSON.stringify(args),
  });
  return { status: response.status, body: await response.json() };
}

/** Reads rows over REST. */
async function rows(path: string, person: Person): Promise<Answer['body']> {
  const response = await fetch(`${stack.apiUrl}/rest/v1/${path}`, {
    headers: { apikey: stack.publishableKey, authorization: `Bearer ${person.token}` },
  });
  return await response.json();
}

const at = (sessions: Row[], index: number): Row => sessions[index] as Row;

describe('a series', () => {
  it('keeps what was asked: rule, count, until, exceptions, zone and civil start', async () => {
    const asked = {
      rule: 'FREQ=WEEKLY;BYDAY=TU',
      until: tuesday(8),
      exceptions: [tuesday(6)],
      time_zone: ZONE,
    };
    const { id, sessions } = await bookWeekly(4, { extra: { recurrence: asked } });
    expect(sessions).toHaveLength(4);
    const [row] = await rows(`session_series?id=eq.${id}`, clinic.rbt);
    expect(row).toMatchObject({
      recurrence_rule: 'FREQ=WEEKLY;BYDAY=TU',
      recurrence: asked,
      time_zone: ZONE,
      civil_start: `${tuesday(4)}T10:00:00`,
    });
  });
});

describe('a change of a series', () => {
  it('of this one moves it alone, and the answer says which session goes where', async () => {
    const { id, sessions } = await bookWeekly(3);
    const second = at(sessions, 1);
    const series = { series_id: id, scope: 'this', from: second.start_time, change: { shift_minutes: 90 } };
    const held = await change(clinic.rbt, series);
    const data = holdData.parse(held.body.data);
    expect(data.series).toEqual({
      ...{ seriesId: id, scope: 'this', therapistId: clinic.rbt.id, clientId: clinic.clients[0] },
    });
    expect(data.holds).toMatchObject([
      {
        ...{ sessionId: second.id, timeZone: ZONE },
        ...{ previousStartTime: second.start_time, previousEndTime: second.end_time },
      },
    ]);
    expect(await clocksOf(id)).toEqual(['Tue 10:00', 'Tue 10:00', 'Tue 10:00']);
    expect((await confirm(clinic.rbt, held)).session.id).toBe(second.id);
    expect(await clocksOf(id)).toEqual(['Tue 10:00', 'Tue 11:30', 'Tue 10:00']);
  });

  it('of the following ones keeps its civil time across a change of clocks', async () => {
    const { id, sessions } = await bookWeekly(45);
    const series = {
      ...{ series_id: id, scope: 'following', from: at(sessions, 2).start_time },
      change: { weekday: 'thursday', local_start: '16:00', duration_minutes: 45 },
    };
    await confirm(clinic.rbt, await change(clinic.rbt, series));
    const moved = await sessionsOf(id);
    expect(moved.map(({ start_time }) => clock(start_time))).toEqual([
      ...['Tue 10:00', 'Tue 10:00'],
      ...Array.from({ length: 43 }, () => 'Thu 16:00'),
    ]);
    expect(new Set(moved.slice(2).map(({ start_time }) => start_time.slice(11))).size).toBe(2);
    expect(
      new Set(
        moved.slice(2).map(({ start_time, end_time }) => Date.parse(end_time) - Date.parse(start_time)),
      ),
    ).toEqual(new Set([45 * 60_000]));
  });

  it('of all leaves what is completed or cancelled as it is', async () => {
    const { id, sessions } = await bookWeekly(5);
    await call('sessions-cancel', clinic.rbt, { session_ids: [at(sessions, 3).id] });
    await withConnection(async (db) => {
      await db.query(
        `update public.sessions set start_time = date_trunc('hour', now()) - interval '26 hours',
          end_time = date_trunc('hour', now()) - interval '25 hours' where id = $1`,
        [at(sessions, 0).id],
      );
      for (const status of ['in_progress', 'completed'])
        await db.query('update public.sessions set status = $2 where id = $1', [at(sessions, 0).id, status]);
    });
    const before = await sessionsOf(id);
    const held = await change(clinic.rbt, { series_id: id, scope: 'all', change: { local_start: '13:15' } });
    await confirm(clinic.rbt, held);
    const after = await sessionsOf(id);
    const changed = after.filter(({ id: each, start_time }) =>
      before.some((row) => row.id === each && row.start_time !== start_time),
    );
    expect(changed.map(({ id: each }) => each)).toEqual([1, 2, 4].map((index) => at(sessions, index).id));
    expect(changed.map(({ start_time }) => clock(start_time))).toEqual([
      'Tue 13:15',
      'Tue 13:15',
      'Tue 13:15',
    ]);
  });

  it('moves groups whole', async () => {
    const members = clinic.clients.slice(0, 3);
    const { id } = await bookWeekly(2, { extra: { client_ids: members, cpt_code: '97154' } });
    const held = await change(clinic.admin, {
      series_id: id,
      scope: 'all',
      change: { weekday: 'wednesday' },
    });
    await confirm(clinic.admin, held);
    const all = await rows(
      `sessions?group_id=in.(${(await sessionsOf(id)).map((row) => row.group_id)})`,
      clinic.admin,
    );
    expect(all.map(({ start_time }: Row) => clock(start_time))).toEqual(
      Array.from({ length: 6 }, () => 'Wed 10:00'),
    );
    expect(new Set(all.map((row: { client_id: string }) => row.client_id))).toEqual(new Set(members));
  });

  it('names what is blocked by its session, leaves nothing, and offers other times', async () => {
    const { id, sessions } = await bookWeekly(4);
    const rival = await bookWeekly(1, {
      first: 6,
      client: clinic.clients[1],
      extra: {
        ...{ start_time: new Date(Date.parse(at(sessions, 2).start_time) + 3 * 3_600_000).toISOString() },
        ...{
          end_time: new Date(Date.parse(at(sessions, 2).start_time) + 4 * 3_600_000).toISOString(),
          recurrence: null,
        },
      },
    });
    expect(rival.id).toBeNull();
    const before = await countRows(clinic.organizationId);
    const answer = await change(clinic.rbt, {
      series_id: id,
      scope: 'all',
      change: { local_start: '13:30' },
    });
    expect(answer.body).toMatchObject({ status: 409, code: 'THERAPIST_CONFLICT', retryAfter: null });
    const { conflicts, alternatives } = conflictProblem.parse(answer.body);
    expect(conflicts).toMatchObject([
      { occurrenceIndex: 2, sessionId: at(sessions, 2).id, blockedBy: 'session' },
    ]);
    expect(alternatives.length).toBeGreaterThan(0);
    expect(await countRows(clinic.organizationId)).toEqual(before);
    const shift = Date.parse(alternatives[0]?.startTime ?? '') - Date.parse(at(sessions, 0).start_time);
    const offered = { series_id: id, scope: 'all', change: { shift_minutes: shift / 60_000 } };
    await confirm(clinic.rbt, await change(clinic.rbt, offered));
  });

  it('names what is short of units by its session', async () => {
    const client = clinic.clients[1];
    const { id, sessions } = await bookWeekly(3, { client, extra: { cpt_code: '97153' } });
    const payer = randomUUID();
    await withConnection(async (db) => {
      await db.query(
        "insert into public.payers (organization_id, id, name) values ($1, $2, 'Example Payer')",
        [...[clinic.organizationId, payer]],
      );
      await db.query(
        `insert into public.client_coverages (organization_id, client_id, payer_id, priority, valid_from)
          values ($1, $2, $3, 1, '2020-01-01')`,
        [clinic.organizationId, client, payer],
      );
      await db.query(
        `with granted as (
            insert into public.authorizations (organization_id, client_id, payer_id, approved_units, starts_on, ends_on)
            values ($1, $2, $3, 100, now()::date - 1, $4)
            returning organization_id, id
          )
          insert into public.authorization_codes (organization_id, authorization_id, cpt_code)
          select organization_id, id, '97153' from granted`,
        [clinic.organizationId, client, payer, tuesday(6)],
      );
    });
    const series = {
      ...{ series_id: id, scope: 'following', from: at(sessions, 1).start_time },
      change: { weekday: 'wednesday' },
    };
    const answer = await change(clinic.rbt, series);
    expect(answer.body).toMatchObject({ status: 409, code: 'AUTHORIZATION_EXCEEDED' });
    expect(conflictProblem.parse(answer.body).shortages).toMatchObject([
      { occurrenceIndex: 1, sessionId: at(sessions, 2).id, limit: 'dates' },
    ]);
  });

  it('repeated by its Idempotency-Key answers again, also when it has moved the sessions since', async () => {
    const { id } = await bookWeekly(3);
    const series = { series_id: id, scope: 'all', change: { shift_minutes: 30 } };
    const key = { 'Idempotency-Key': `change-${id}` };
    const first = await change(clinic.rbt, series, {}, key);
    await confirm(clinic.rbt, first);
    const again = await change(clinic.rbt, series, {}, key);
    expect(again.headers.get('idempotent-replay')).toBe('true');
    expect({ ...again.body.data, secondsLeft: null, holds: null }).toEqual({
      ...{ ...first.body.data, secondsLeft: null, holds: null },
    });
    expect((await change(clinic.rbt, { ...series, change: { shift_minutes: 45 } }, {}, key)).body.code).toBe(
      'IDEMPOTENCY_KEY_REUSED',
    );
    await confirm(clinic.rbt, again);
    expect(await clocksOf(id)).toEqual(['Tue 10:30', 'Tue 10:30', 'Tue 10:30']);
  });

  it('that the database cannot take names the field', async () => {
    const { id, sessions } = await bookWeekly(3, { first: 1 });
    const { start_time } = at(sessions, 0);
    const later = new Date(Date.parse(at(sessions, 2).start_time) + 60_000).toISOString();
    const shift = { shift_minutes: 15 };
    const cases: [object, object, string][] = [
      [{ scope: 'some', from: start_time, change: shift }, {}, 'series.scope'],
      [{ scope: 'following', from: later, change: shift }, {}, 'series.from'],
      [{ scope: 'this', from: later, change: shift }, {}, 'series.from'],
      [{ scope: 'following', change: shift }, {}, 'series.from'],
      [{ scope: 'all', change: {} }, {}, 'series.change'],
      [{ scope: 'all' }, {}, 'series.change'],
      [
        { scope: 'all', change: { weekday: 'tuesday', shift_minutes: 15 } },
        {},
        'series.change.shift_minutes',
      ],
      [{ scope: 'all', change: { local_start: '4 pm' } }, {}, 'series.change.local_start'],
      [{ scope: 'all', change: { duration_minutes: 721 } }, {}, 'series.change.duration_minutes'],
      [{ scope: 'all', change: { shift_minutes: -40_320 } }, {}, 'series.change'],
      [{ scope: 'all', change: shift }, { occurrences: [{ start_time }] }, 'occurrences'],
      [{ scope: 'all', change: shift }, { time_zone: 'Mars/Olympus_Mons' }, 'time_zone'],
    ];
    for (const [series, extra, path] of cases) {
      const answer = await change(clinic.rbt, { series_id: id, ...series }, extra);
      expect([answer.status, answer.body.issues?.[0]?.path], JSON.stringify({ series, extra })).toEqual([
        400,
        path,
      ]);
    }
    expect(await sessionsOf(id)).toEqual(sessions);
  });

  it('of more than 366 sessions is refused', async () => {
    const { id, sessions } = await bookWeekly(2);
    await withConnection((db) =>
      db.query(
        `insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone, series_id)
          select organization_id, therapist_id, client_id, start_time + interval '200 days' + number * interval '30 minutes',
            start_time + interval '200 days' + number * interval '30 minutes' + interval '30 minutes', time_zone, series_id
          from public.sessions, generate_series(1, 366) as number where id = $1`,
        [at(sessions, 0).id],
      ),
    );
    const answer = await change(clinic.rbt, { series_id: id, scope: 'all', change: { shift_minutes: 15 } });
    expect([answer.status, answer.body.issues[0].path]).toEqual([400, 'series.scope']);
  });

  it('of a series of another clinic is 403, as of one that is not there', async () => {
    const [{ id }, stranger] = await Promise.all([bookWeekly(2), openClinic()]);
    const asked = (series_id: string) => ({ series_id, scope: 'all', change: { shift_minutes: 15 } });
    const told = ({ status, body }: Answer) => ({ status, code: body.code, detail: body.detail });
    const foreign = told(await change(stranger.admin, asked(id)));
    expect(foreign).toMatchObject({ status: 403, code: 'FORBIDDEN' });
    expect(told(await change(stranger.admin, asked(randomUUID())))).toEqual(foreign);
    expect(told(await change(clinic.bcba, asked(id)))).toEqual(foreign);
    expect(told(await change(clinic.parent, asked(id)))).toEqual(foreign);
    for (const person of [stranger.admin, clinic.bcba, clinic.parent]) {
      expect((await call('sessions-cancel', person, { series_id: id })).status).toBe(403);
      const extended = await rpc('extend_series', person, { request: { series_id: id, count: 1 } });
      expect(extended.body).toMatchObject({ ok: false, status: 403, code: 'FORBIDDEN' });
    }
  });
});

describe('a cancellation of a series', () => {
  it('from a moment on leaves what is before it, and what has ended', async () => {
    const { id, sessions } = await bookWeekly(5);
    await call('sessions-cancel', clinic.rbt, { session_ids: [at(sessions, 3).id] });
    const answer = await call('sessions-cancel', clinic.rbt, {
      ...{ series_id: id, from: at(sessions, 2).start_time, reason: 'Moved away' },
    });
    expect(answer.body.data.summary).toMatchObject({
      ...{ cancelledCount: 2, alreadyCancelledCount: 1, nonCancellableCount: 0, totalCount: 3 },
    });
    expect((await sessionsOf(id)).map(({ status }) => status)).toEqual([
      ...['scheduled', 'scheduled', 'cancelled', 'cancelled', 'cancelled'],
    ]);
    const after = new Date(Date.parse(at(sessions, 4).start_time) + 1).toISOString();
    const late = await call('sessions-cancel', clinic.rbt, { series_id: id, from: after });
    expect([late.status, late.body.issues[0].path]).toEqual([400, 'from']);
    await call('sessions-cancel', clinic.rbt, { series_id: id });
    expect((await sessionsOf(id)).filter(({ status }) => status !== 'cancelled')).toEqual([]);
  });
});

describe('a series goes on', () => {
  it('by a number, to a day and as it was changed, once for a key', async () => {
    const { id, sessions } = await bookWeekly(2);
    const args = { request: { series_id: id, count: 2 }, idempotency_key: `more-${id}` };
    const first = await rpc('extend_series', clinic.rbt, args);
    expect(first.body).toMatchObject({ ok: true, body: { seriesId: id, skipped: [] } });
    expect(first.body.body.sessions).toHaveLength(2);
    expect(await rpc('extend_series', clinic.rbt, args)).toMatchObject({
      body: { ok: true, replayed: true, body: first.body.body },
    });
    const following = {
      ...{ series_id: id, scope: 'following', from: at(sessions, 1).start_time },
      change: { weekday: 'friday', local_start: '08:30' },
    };
    await confirm(clinic.rbt, await change(clinic.rbt, following));
    const until = new Date(Date.parse(tuesday(4 + 5)) + 3 * DAY).toISOString().slice(0, 10);
    expect((await rpc('extend_series', clinic.rbt, { request: { series_id: id, until } })).body.ok).toBe(
      true,
    );
    expect(await clocksOf(id)).toEqual(['Tue 10:00', ...Array.from({ length: 5 }, () => 'Fri 08:30')]);
    expect((await sessionsOf(id)).at(-1)?.start_time.slice(0, 10)).toBe(until);
  });

  it('skips what is blocked, when told so, and says what', async () => {
    const { id, sessions } = await bookWeekly(2);
    const rival = await bookWeekly(2, { first: 7, client: clinic.clients[1] });
    const refused = await rpc('extend_series', clinic.rbt, { request: { series_id: id, count: 3 } });
    expect(refused.body).toMatchObject({ ok: false, status: 409, code: 'THERAPIST_CONFLICT' });
    expect(await sessionsOf(id)).toEqual(sessions);
    const request = { series_id: id, count: 3, on_conflict: 'skip' };
    const { body } = await rpc('extend_series', clinic.rbt, { request });
    expect(body).toMatchObject({ ok: true });
    expect(body.body.sessions).toHaveLength(1);
    expect(body.body.skipped).toMatchObject([
      { startTime: at(rival.sessions, 0).start_time, blockedBy: 'therapist', by: 'session' },
      { startTime: at(rival.sessions, 1).start_time, blockedBy: 'therapist', by: 'session' },
    ]);
  });

  it('and bad input is 400 with the field', async () => {
    const { id } = await bookWeekly(2);
    for (const [request, path] of [
      [{ series_id: id }, 'until'],
      [{ series_id: id, count: 367 }, 'count'],
      [{ series_id: id, until: tuesday(120) }, 'until'],
      [{ series_id: id, until: tuesday(2) }, 'until'],
      [{ series_id: id, count: 1, on_conflict: 'maybe' }, 'on_conflict'],
      [{ count: 1 }, 'series_id'],
    ] as [object, string][]) {
      const { status, body } = await rpc('extend_series', clinic.rbt, { request });
      expect([status, JSON.parse(body.details)[0].path], JSON.stringify(request)).toEqual([400, path]);
    }
  });
});
