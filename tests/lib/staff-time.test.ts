/** Time without a client, entered, changed and cancelled as an app does it, and what others see of it. */
import { beforeAll, describe, expect, it } from 'vitest';
import {
  addStaffTime,
  addTimeOff,
  cancelStaffTime,
  changeStaffTime,
  fetchReport,
  fetchStaffTimes,
  findOpenSlots,
  requestSessionHold,
  SessionsApiError,
} from '../../src/lib/index.ts';
import { call, holdOf, window } from '../functions/clinic.ts';
import { withConnection } from '../setup/db.ts';
import { type Clinic, clientOf, LA, openClinic } from './clinic.ts';

let clinic: Clinic;
let stranger: Clinic;
let admin: Awaited<ReturnType<typeof clientOf>>;
let rbt: Awaited<ReturnType<typeof clientOf>>;
beforeAll(async () => {
  [clinic, stranger] = await Promise.all([openClinic(), openClinic()]);
  [admin, rbt] = await Promise.all([clientOf(clinic.admin), clientOf(clinic.rbt)]);
});

/** Every test has a day of its own, of which it takes ten o'clock. */
let day = 10;
function nextHour() {
  day += 1;
  const { start_time, end_time } = window(day, 10);
  return { startTime: start_time, endTime: end_time, timeZone: 'UTC' };
}

const refusal = (work: Promise<unknown>) =>
  work.then(
    () => Promise.reject(new Error('it was not refused')),
    (error: unknown) => {
      expect(error).toBeInstanceOf(SessionsApiError);
      return error as SessionsApiError;
    },
  );
const holdAt = (
  at: { startTime: string; endTime: string },
  therapist = clinic.rbt,
  client = clinic.clients[0],
) =>
  call(
    'sessions-hold',
    clinic.admin,
    holdOf(therapist, client, {
      ...{ start_time: at.startTime, end_time: at.endTime },
      ...{ start_time_offset_minutes: 0, end_time_offset_minutes: 0 },
    }),
  );

describe('a meeting', () => {
  it('blocks all who take part, or nobody', async () => {
    const at = nextHour();
    const therapistIds = [clinic.bcba.id, clinic.rbt.id];
    const held = await holdAt(at);
    expect(held.status).toBe(200);
    const refused = await refusal(addStaffTime(admin, { kind: 'meeting', therapistIds, ...at }));
    expect(refused).toMatchObject({ status: 409, code: 'THERAPIST_HOLD_CONFLICT' });
    expect(refused.retryAfter).toBe(held.body.data.expiresAt);
    expect(refused.conflicts).toMatchObject([
      { resource: 'therapist', therapistId: clinic.rbt.id, blockedBy: 'hold' },
    ]);
    await call('sessions-cancel', clinic.admin, { hold_key: held.body.data.holdKey });

    await addStaffTime(admin, { kind: 'meeting', therapistIds, roomId: clinic.room, ...at });
    for (const therapist of [clinic.bcba, clinic.rbt]) {
      const answer = await holdAt(at, therapist, clinic.clients[1]);
      expect(answer).toMatchObject({ status: 409, body: { code: 'THERAPIST_CONFLICT', retryAfter: null } });
      expect(answer.body.conflicts).toMatchObject([{ resource: 'therapist', blockedBy: 'session' }]);
      expect(JSON.stringify(answer.body)).not.toMatch(/meeting|staff/i);
      // What is offered can be had.
      const [first] = answer.body.alternatives;
      expect((await holdAt(first, therapist, clinic.clients[1])).status).toBe(200);
    }
    const slots = await findOpenSlots(rbt, {
      therapistId: clinic.rbt.id,
      minutes: 60,
      from: at.startTime,
      to: at.endTime,
    });
    expect(slots).toEqual([]);
  });

  it('meets rivals for the same hour: one of them has it, whole', async () => {
    const at = nextHour();
    const answers = await Promise.all(
      Array.from({ length: 12 }, (_, turn) =>
        turn % 2 === 0
          ? addStaffTime(admin, {
              kind: 'meeting',
              therapistIds: [clinic.rbt.id, clinic.bcba.id],
              ...at,
            }).then(
              () => 'meeting',
              (error: SessionsApiError) => error.code,
            )
          : holdAt(
              at,
              turn % 4 === 1 ? clinic.rbt : clinic.bcba,
              clinic.clients[turn % 4 === 1 ? 0 : 1],
            ).then(({ status, body }) => (status === 200 ? 'hold' : body.code)),
      ),
    );
    const won = answers.filter((answer) => ['meeting', 'hold'].includes(answer));
    // A hold of each therapist, or the meeting of both.
    expect([['meeting'], ['hold'], ['hold', 'hold']]).toContainEqual(won);
    expect(
      answers.filter((answer) => !/^(meeting|hold|(THERAPIST|CLIENT)_.*CONFLICT)$/.test(answer)),
    ).toEqual([]);
  });

  it('of a series keeps its local time when the clocks change, moves on its own old places, and is cancelled', async () => {
    const year = new Date().getUTCFullYear() + 1;
    const march1 = new Date(Date.UTC(year, 2, 1)).getUTCDay();
    // The Friday before clocks go forward in Los Angeles.
    const friday = `${year}-03-${String(1 + ((7 - march1) % 7) + 5).padStart(2, '0')}`;
    const { staffTimes, seriesId } = await addStaffTime(admin, {
      kind: 'training',
      therapistIds: [clinic.rbt.id],
      startTime: `${friday}T09:00:00-08:00`,
      endTime: `${friday}T10:00:00-08:00`,
      timeZone: LA,
      recurrence: { rule: 'FREQ=WEEKLY;COUNT=3' },
    });
    expect(staffTimes.map(({ startTime }) => startTime.slice(11, 16))).toEqual(['17:00', '16:00', '16:00']);
    if (!seriesId) throw new Error('it has no series');
    const from = staffTimes[0]?.startTime;
    const moved = await changeStaffTime(admin, {
      ...{ seriesId, from, weekday: 'thursday', localStart: '09:30', durationMinutes: 90 },
    });
    const thursday = (weeks: number) =>
      new Date(Date.parse(`${friday}T00:00:00Z`) + (7 * weeks - 1) * 86_400_000).toISOString().slice(0, 10);
    expect(moved.staffTimes.map(({ startTime }) => startTime.slice(0, 16))).toEqual([
      `${thursday(0)}T17:30`,
      `${thursday(1)}T16:30`,
      `${thursday(2)}T16:30`,
    ]);
    expect(
      await cancelStaffTime(admin, { seriesId, from: moved.staffTimes[0]?.startTime ?? null }),
    ).toMatchObject({ cancelledCount: 3 });
    expect(
      (
        await holdAt({
          startTime: moved.staffTimes[1]?.startTime ?? '',
          endTime: moved.staffTimes[1]?.endTime ?? '',
        })
      ).status,
    ).toBe(200);
  });

  it('of a series is changed alone, with those that follow, or with all, and cancelled likewise', async () => {
    const { staffTimes } = await addStaffTime(admin, {
      ...{ kind: 'meeting', therapistIds: [clinic.bcba.id, clinic.rbt.id], ...nextHour() },
      recurrence: { rule: 'FREQ=WEEKLY;COUNT=4' },
    });
    const ids = staffTimes.map(({ id }) => id);
    const nth = (position: number) => ids[position] ?? '';
    const hours = async () => {
      const from = staffTimes[0]?.startTime ?? '';
      const to = new Date(Date.parse(staffTimes[3]?.endTime ?? '') + 86_400_000).toISOString();
      const found = await fetchStaffTimes(admin, { from: `${from.slice(0, 10)}T00:00:00Z`, to });
      const start = new Map(found.map(({ id, start_time }) => [id, new Date(start_time).getUTCHours()]));
      return ids.map((id) => start.get(id));
    };
    await changeStaffTime(admin, { staffTimeId: nth(1), localStart: '11:00' });
    expect(await hours()).toEqual([10, 11, 10, 10]);
    await changeStaffTime(admin, { staffTimeId: nth(2), scope: 'following', localStart: '12:00' });
    expect(await hours()).toEqual([10, 11, 12, 12]);
    await changeStaffTime(admin, { staffTimeId: nth(3), scope: 'all', localStart: '13:00' });
    expect(await hours()).toEqual([13, 13, 13, 13]);
    await cancelStaffTime(admin, { staffTimeId: nth(2), scope: 'following' });
    expect(await hours()).toEqual([13, 13, undefined, undefined]);
    expect(await cancelStaffTime(admin, { staffTimeId: nth(3), scope: 'all' })).toMatchObject({
      ...{ cancelledCount: 2, alreadyCancelledCount: 2 },
    });
    expect(await hours()).toEqual([undefined, undefined, undefined, undefined]);
    const refused = await refusal(
      changeStaffTime(admin, { staffTimeId: nth(0), scope: 'some' as 'this', localStart: '09:00' }),
    );
    expect(refused).toMatchObject({ status: 400, issues: [{ path: 'scope' }] });
  });

  it('that cannot be is offered other times, which can', async () => {
    const at = nextHour();
    const therapistIds = [clinic.bcba.id, clinic.rbt.id];
    expect((await holdAt(at, clinic.rbt)).status).toBe(200);
    const refused = await refusal(addStaffTime(admin, { kind: 'meeting', therapistIds, ...at }));
    const [offered] = refused.alternatives;
    if (!offered) throw new Error('nothing is offered');
    const { staffTimes } = await addStaffTime(admin, {
      ...{ kind: 'meeting', therapistIds, ...offered, timeZone: 'UTC' },
    });
    expect(staffTimes).toMatchObject([offered]);
    const staffTimeId = staffTimes[0]?.id ?? '';
    const stays = await refusal(
      changeStaffTime(admin, { staffTimeId, startTime: at.startTime, endTime: at.endTime }),
    );
    expect(stays.code).toBe('THERAPIST_HOLD_CONFLICT');
    const [other] = stays.alternatives;
    if (!other) throw new Error('nothing is offered');
    const moved = await changeStaffTime(admin, { staffTimeId, ...other });
    expect(moved.staffTimes).toMatchObject([other]);
  });

  it('goes on without a therapist who is off that day, and ends when the clinic closes', async () => {
    const at = nextHour();
    const date = at.startTime.slice(0, 10);
    const { staffTimes } = await addStaffTime(admin, {
      ...{ kind: 'meeting', therapistIds: [clinic.bcba.id, clinic.rbt.id], ...at },
    });
    const staffTimeId = staffTimes[0]?.id;
    const off = { therapistId: clinic.rbt.id, fromDate: date };
    expect(await addTimeOff(admin, off)).toMatchObject({ touchedStaffTimes: 1, cancelledStaffTimes: 0 });
    expect(await addTimeOff(admin, { ...off, cancelSessions: true })).toMatchObject({
      ...{ touchedStaffTimes: 1, cancelledStaffTimes: 1 },
    });
    const [left] = await fetchStaffTimes(admin, { from: at.startTime, to: at.endTime });
    expect(left).toMatchObject({ id: staffTimeId, therapist_ids: [clinic.bcba.id] });
    const { data } = await admin.rpc('add_closure', {
      request: { name: 'Closed', from_date: date, cancel_sessions: true },
    });
    expect(data).toMatchObject({
      ok: true,
      body: { cancelledStaffTimes: 1, touchedStaffTimeIds: [staffTimeId] },
    });
    expect(await fetchStaffTimes(admin, { from: at.startTime, to: at.endTime })).toEqual([]);
  });

  it('is sent twice under one key and entered once', async () => {
    const meeting = {
      kind: 'meeting',
      therapistIds: [clinic.rbt.id],
      ...nextHour(),
      idempotencyKey: 'again',
    } as const;
    const first = await addStaffTime(admin, meeting);
    expect(await addStaffTime(admin, meeting)).toEqual(first);
  });
});

describe('who may', () => {
  it('a therapist enters their own, and reads what they take part in', async () => {
    const at = nextHour();
    const { staffTimes } = await addStaffTime(rbt, { kind: 'drive', ...at });
    const range = { from: at.startTime, to: at.endTime };
    expect(await fetchStaffTimes(rbt, range)).toMatchObject([
      { id: staffTimes[0]?.id, therapist_ids: [clinic.rbt.id] },
    ]);
    expect(await fetchStaffTimes(admin, { ...range, therapistId: clinic.rbt.id })).toHaveLength(1);
    for (const person of [clinic.bcba, clinic.parent, stranger.admin])
      expect(await fetchStaffTimes(await clientOf(person), range)).toEqual([]);
  });

  it.each([
    ['a therapist the time of another', () => rbt, () => clinic.bcba.id],
    ['an admin the time of another clinic’s', () => admin, () => stranger.rbt.id],
  ])('never %s', async (_, person, therapist) => {
    const refused = await refusal(
      addStaffTime(person(), { kind: 'break', therapistIds: [therapist()], ...nextHour() }),
    );
    expect(refused).toMatchObject({ status: 403, code: 'FORBIDDEN' });
  });

  it('names the field that cannot be', async () => {
    const at = nextHour();
    const wrong = await refusal(
      addStaffTime(admin, { kind: 'party' as 'break', therapistIds: ['nobody'], ...at }),
    );
    expect(wrong).toMatchObject({ status: 400, code: 'VALIDATION_FAILED' });
    expect(wrong.issues.map(({ path }) => path)).toEqual(['kind', 'therapist_ids.0']);
  });

  it('in a closure an admin needs a reason', async () => {
    const at = nextHour();
    await withConnection((db) =>
      db.query(
        'insert into public.organization_closures (organization_id, name, starts_at, ends_at) values ($1, $2, $3, $4)',
        [clinic.organizationId, 'Training day', at.startTime, at.endTime],
      ),
    );
    const training = { kind: 'training', therapistIds: [clinic.rbt.id], ...at } as const;
    const refused = await refusal(addStaffTime(admin, training));
    expect(refused).toMatchObject({ code: 'OUTSIDE_AVAILABILITY', conflicts: [{ blockedBy: 'closure' }] });
    await addStaffTime(admin, { ...training, overrideReason: 'All staff' });
  });
});

it('utilization shows it as time that is not billed', async () => {
  const other = await openClinic();
  const staff = await clientOf(other.admin);
  const monday = (weeks: number) => {
    const at = new Date();
    at.setUTCHours(18, 0, 0, 0);
    at.setUTCDate(at.getUTCDate() - ((at.getUTCDay() + 6) % 7) + 7 * weeks);
    return at.getTime();
  };
  const times = (hour: number) => ({
    startTime: new Date(monday(2) + hour * 3_600_000).toISOString(),
    endTime: new Date(monday(2) + (hour + 1) * 3_600_000).toISOString(),
    timeZone: 'UTC',
  });
  await addStaffTime(staff, { kind: 'meeting', therapistIds: [other.rbt.id, other.bcba.id], ...times(0) });
  await addStaffTime(staff, { kind: 'documentation', therapistIds: [other.rbt.id], ...times(1) });
  const { staffTimes } = await addStaffTime(staff, {
    kind: 'break',
    therapistIds: [other.rbt.id],
    ...times(2),
  });
  await cancelStaffTime(staff, { staffTimeIds: staffTimes.map(({ id }) => id) });
  await requestSessionHold(staff, { ...holdRequest(other, times(3)) }).then((held) =>
    call('sessions-confirm', other.admin, {
      hold_key: held.holdKey,
      session: {
        therapist_id: other.rbt.id,
        client_id: other.clients[0],
        start_time: times(3).startTime,
        end_time: times(3).endTime,
      },
      ...{ start_time_offset_minutes: 0, end_time_offset_minutes: 0, time_zone: 'UTC' },
    }),
  );
  const rows = await fetchReport<{ therapist_id: string; booked_hours: number; non_billable_hours: number }>(
    staff,
    'therapist_utilization',
  );
  const of = (id: string) => rows.find(({ therapist_id }) => therapist_id === id);
  expect(of(other.rbt.id)).toMatchObject({ booked_hours: 1, non_billable_hours: 2 });
  expect(of(other.bcba.id)).toMatchObject({ booked_hours: 0, non_billable_hours: 1 });
});

const holdRequest = (of: Clinic, at: { startTime: string; endTime: string; timeZone: string }) => ({
  therapistId: of.rbt.id,
  clientId: of.clients[0],
  ...at,
});
