/** Hold, confirm, move, release and cancel, as a web app does them. */
import { randomUUID } from 'node:crypto';
import { beforeAll, describe, expect, it } from 'vitest';
import {
  cancelData,
  confirmData,
  conflictProblem,
  holdData,
  releaseData,
} from '../../supabase/functions/_shared/contract/index.ts';
import { withConnection } from '../setup/db.ts';
import {
  addUser,
  type Clinic,
  call,
  confirmationOf,
  countRows,
  expire,
  hold,
  holdOf,
  openClinic,
  signIn,
  window,
} from './clinic.ts';

let clinic: Clinic;
let stranger: Clinic;

/** Every test books on a day of its own. */
let day = 0;
const nextDay = () => {
  day += 1;
  return day;
};

beforeAll(async () => {
  [clinic, stranger] = await Promise.all([openClinic(), openClinic()]);
});

const rbtHold = (at: ReturnType<typeof window>, extra: object = {}) =>
  holdOf(clinic.rbt, clinic.clients[0], at, extra);

async function book(at: ReturnType<typeof window>, body = rbtHold(at)) {
  const answer = await call(
    'sessions-confirm',
    clinic.admin,
    confirmationOf(body, await hold(clinic.admin, body)),
  );
  expect(answer.status).toBe(200);
  return confirmData.parse(answer.body.data);
}

function expectProblem(answer: Awaited<ReturnType<typeof call>>, status: number, code: string) {
  expect(answer.body).toMatchObject({ status, code, success: false });
  expect(answer.status).toBe(status);
}

describe('a hold', () => {
  it('keeps one slot for the time asked, 300 seconds unless told', async () => {
    const at = window(nextDay(), 10);
    const asked = Date.now();
    const answer = await call('sessions-hold', clinic.rbt, rbtHold(at));
    const answered = Date.now();
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-type')).toBe('application/json');
    expect(answer.headers.get('idempotent-replay')).toBeNull();
    const data = holdData.parse(answer.body.data);
    expect(data.holds).toMatchObject([
      { startTime: at.start_time, endTime: at.end_time, expiresAt: data.expiresAt },
    ]);
    expect(data.holdKey).not.toBe(data.holds[0]?.holdKey);
    expect(Date.parse(data.expiresAt)).toBeGreaterThanOrEqual(asked + 300_000);
    expect(Date.parse(data.expiresAt)).toBeLessThanOrEqual(answered + 300_000);
  });

  it('of a recurrence keeps every date, in order, at the same local time across a clock change', async () => {
    const year = new Date().getUTCFullYear() + 1;
    // The Friday before clocks go forward in Los Angeles: the second Sunday of March.
    const march1 = new Date(Date.UTC(year, 2, 1)).getUTCDay();
    const friday = `${year}-03-${String(1 + ((7 - march1) % 7) + 5).padStart(2, '0')}`;
    const body = {
      ...rbtHold(window(0, 0)),
      start_time: `${friday}T10:00:00-08:00`,
      end_time: `${friday}T12:00:00-08:00`,
      start_time_offset_minutes: -480,
      end_time_offset_minutes: -480,
      time_zone: 'America/Los_Angeles',
      recurrence: { rule: 'FREQ=WEEKLY;COUNT=3' },
    };
    const { holds } = await hold(clinic.rbt, body);
    expect(holds.map(({ startTime }) => startTime.slice(11, 16))).toEqual(['18:00', '17:00', '17:00']);
  });

  it('of a series with one blocked date creates nothing and reports every blocked date', async () => {
    const days = Array.from({ length: 12 }, () => nextDay());
    await book(window(days[3] ?? 0, 10));
    await book(window(days[7] ?? 0, 10), holdOf(clinic.bcba, clinic.clients[0], window(days[7] ?? 0, 10)));
    const before = await countRows(clinic.organizationId);
    const occurrences = days.map((each) => window(each, 10));
    const answer = await call(
      'sessions-hold',
      clinic.rbt,
      rbtHold(window(days[0] ?? 0, 10), { occurrences }),
    );
    expectProblem(answer, 409, 'THERAPIST_CONFLICT');
    const { conflicts, retryAfter } = conflictProblem.parse(answer.body);
    expect(conflicts).toEqual([
      expect.objectContaining({ occurrenceIndex: 3, resource: 'therapist', blockedBy: 'session' }),
      expect.objectContaining({ occurrenceIndex: 3, resource: 'client', blockedBy: 'session' }),
      expect.objectContaining({ occurrenceIndex: 7, resource: 'client', blockedBy: 'session' }),
    ]);
    expect(retryAfter).toBeNull();
    expect(await countRows(clinic.organizationId)).toEqual(before);
  });

  it('that a session blocks names the session, gives no time to wait for, and offers others', async () => {
    const at = window(nextDay(), 10, 2);
    await book(at);
    const answer = await call(
      'sessions-hold',
      clinic.rbt,
      holdOf(clinic.rbt, clinic.clients[1], { ...at, ...window(day, 11, 2) }),
    );
    expectProblem(answer, 409, 'THERAPIST_CONFLICT');
    expect(answer.headers.get('retry-after')).toBeNull();
    const problem = conflictProblem.parse(answer.body);
    expect(problem.retryAfter).toBeNull();
    expect(problem.retryAfterSeconds).toBeNull();
    expect(problem.conflicts).toEqual([
      {
        occurrenceIndex: 0,
        resource: 'therapist',
        blockedBy: 'session',
        startTime: window(day, 11).start_time,
        endTime: at.end_time,
      },
    ]);
    expect(JSON.stringify(answer.body)).not.toContain(clinic.clients[0]);

    expect(problem.alternatives.length).toBeGreaterThan(0);
    const [first] = problem.alternatives;
    const instead = { ...window(0, 0), start_time: first?.startTime ?? '', end_time: first?.endTime ?? '' };
    expect(
      (await call('sessions-hold', clinic.rbt, holdOf(clinic.rbt, clinic.clients[1], instead))).status,
    ).toBe(200);
  });

  it('that only holds block says when all of them will have cleared', async () => {
    const at = window(nextDay(), 10);
    await hold(clinic.rbt, rbtHold(at, { hold_seconds: 300 }));
    const longer = await hold(clinic.bcba, holdOf(clinic.bcba, clinic.clients[1], at, { hold_seconds: 600 }));
    const until = () => Math.ceil((Date.parse(longer.expiresAt) - Date.now()) / 1000);
    const before = until();
    const answer = await call('sessions-hold', clinic.admin, holdOf(clinic.rbt, clinic.clients[1], at));
    const after = until();
    expectProblem(answer, 409, 'THERAPIST_HOLD_CONFLICT');
    const problem = conflictProblem.parse(answer.body);
    expect(problem.retryAfter).toBe(longer.expiresAt);
    expect(problem.conflicts.map(({ resource, blockedBy }) => [resource, blockedBy])).toEqual([
      ['therapist', 'hold'],
      ['client', 'hold'],
    ]);
    const seconds = Number(answer.headers.get('retry-after'));
    expect(seconds).toBe(problem.retryAfterSeconds);
    expect(seconds).toBeGreaterThanOrEqual(after);
    expect(seconds).toBeLessThanOrEqual(before);
  });

  it('has codes for the client and the room too', async () => {
    const at = window(nextDay(), 10);
    const otherTherapist = holdOf(clinic.bcba, clinic.clients[0], at);
    await hold(clinic.rbt, rbtHold(at, { room_id: clinic.room }));
    expectProblem(await call('sessions-hold', clinic.admin, otherTherapist), 409, 'CLIENT_HOLD_CONFLICT');
    const sameRoom = holdOf(clinic.bcba, clinic.clients[1], at, { room_id: clinic.room });
    expectProblem(await call('sessions-hold', clinic.admin, sameRoom), 409, 'ROOM_CONFLICT');
    const later = window(day, 14);
    await book(later);
    expectProblem(
      await call('sessions-hold', clinic.admin, holdOf(clinic.bcba, clinic.clients[0], later)),
      409,
      'CLIENT_CONFLICT',
    );
  });

  it('may follow another back to back, unless a buffer is in between', async () => {
    const at = window(nextDay(), 10);
    await hold(clinic.rbt, rbtHold(at));
    const next = window(day, 11);
    expectProblem(
      await call('sessions-hold', clinic.rbt, rbtHold(next, { buffer_before_minutes: 15 })),
      409,
      'THERAPIST_HOLD_CONFLICT',
    );
    expect((await call('sessions-hold', clinic.rbt, rbtHold(next))).status).toBe(200);
  });

  it('that has expired blocks nobody, with no sweeper running', async () => {
    const at = window(nextDay(), 10);
    const { holdId } = await hold(clinic.rbt, rbtHold(at));
    expectProblem(await call('sessions-hold', clinic.rbt, rbtHold(at)), 409, 'THERAPIST_HOLD_CONFLICT');
    await expire(holdId);
    expect((await call('sessions-hold', clinic.rbt, rbtHold(at))).status).toBe(200);
  });

  it('is for those who may book', async () => {
    const at = window(nextDay(), 10);
    const forbidden = [
      await call('sessions-hold', clinic.rbt, holdOf(clinic.bcba, clinic.clients[0], at)),
      await call('sessions-hold', clinic.rbt, holdOf(clinic.rbt, clinic.clients[2], at)),
      await call('sessions-hold', clinic.parent, rbtHold(at)),
      await call('sessions-hold', stranger.admin, rbtHold(at)),
      await call('sessions-hold', clinic.rbt, rbtHold(at, { override: { reason: 'I want to' } })),
    ];
    for (const answer of forbidden) expectProblem(answer, 403, 'FORBIDDEN');
    expect(
      (await call('sessions-hold', clinic.admin, holdOf(clinic.bcba, clinic.clients[3], at))).status,
    ).toBe(200);
  });

  it('outside the therapist’s hours needs an admin and a reason', async () => {
    const therapist = await openClinic();
    await withConnection((client) =>
      client.query('update public.therapists set availability_hours = $2 where organization_id = $1', [
        therapist.organizationId,
        { monday: [{ start: '00:00', end: '24:00' }] },
      ]),
    );
    const sunday = ((7 - new Date().getUTCDay()) % 7) + 6;
    const body = holdOf(therapist.rbt, therapist.clients[0], window(sunday, 20));
    const refused = await call('sessions-hold', therapist.rbt, body);
    expectProblem(refused, 409, 'OUTSIDE_AVAILABILITY');
    // Other times are offered, on the day the therapist works, and can be had.
    const { alternatives } = conflictProblem.parse(refused.body);
    expect(alternatives.length).toBeGreaterThan(0);
    for (const { startTime, endTime } of alternatives) {
      const weekday = new Date(startTime).toLocaleDateString('en', {
        timeZone: 'America/Los_Angeles',
        weekday: 'long',
      });
      expect(weekday).toBe('Monday');
      const instead = { ...body, start_time: startTime, end_time: endTime };
      const held = await call('sessions-hold', therapist.rbt, instead);
      expect(held.status).toBe(200);
      await call('sessions-cancel', therapist.rbt, { hold_key: held.body.data.holdKey });
    }
    const override = { override: { reason: 'Parent can only come on Sundays', rules: ['availability'] } };
    expect((await call('sessions-hold', therapist.admin, { ...body, ...override })).status).toBe(200);
  });

  describe('that is refused offers times that can be had:', () => {
    let payer: Clinic;
    const at = window(40, 10);

    beforeAll(async () => {
      payer = await openClinic();
      const [ann, ben] = payer.clients;
      await withConnection(async (client) => {
        const payerId = randomUUID();
        const parameters = [payer.organizationId, payerId];
        await client.query(
          "insert into public.payers (organization_id, id, name) values ($1, $2, 'Payer')",
          parameters,
        );
        await client.query(
          `insert into public.client_coverages (organization_id, client_id, payer_id, priority, valid_from)
           select $1, client_id, $2, 1, '2020-01-01' from unnest($3::uuid[]) as client_id`,
          [...parameters, [ann, ben]],
        );
        await client.query(
          `insert into public.payer_concurrency_rules (organization_id, payer_id, first_code, second_code, allowed, valid_from)
           values ($1, $2, '97153', '97155', false, '2020-01-01')`,
          parameters,
        );
        await client.query(
          `with made as (
             insert into public.authorizations (organization_id, client_id, payer_id, approved_units, starts_on, ends_on)
             values ($1, $3, $2, 100, '2020-01-01', $4) returning organization_id, id
           )
           insert into public.authorization_codes (organization_id, authorization_id, cpt_code)
           select organization_id, id, '97153' from made`,
          [...parameters, ben, window(38, 10).start_time.slice(0, 10)],
        );
      });
      // One therapist gives a client 97153 in the room.
      await hold(
        payer.rbt,
        holdOf(payer.rbt, ann, at, { cpt_code: '97153', room_id: payer.room, hold_seconds: 900 }),
      );
    });

    it.each([
      [
        'CONCURRENT_SERVICE_NOT_ALLOWED',
        () => holdOf(payer.bcba, payer.clients[0], at, { cpt_code: '97155' }),
      ],
      ['CLIENT_HOLD_CONFLICT', () => holdOf(payer.bcba, payer.clients[0], at)],
      ['THERAPIST_HOLD_CONFLICT', () => holdOf(payer.rbt, payer.clients[1], window(40, 10, 2))],
      ['ROOM_CONFLICT', () => holdOf(payer.bcba, payer.clients[1], at, { room_id: payer.room })],
      [
        'AUTHORIZATION_EXCEEDED',
        () => holdOf(payer.rbt, payer.clients[1], window(41, 10), { cpt_code: '97153' }),
      ],
    ])('%s', async (code, bodyOf) => {
      const body = bodyOf();
      const refused = await call('sessions-hold', payer.admin, body);
      expectProblem(refused, 409, code);
      const { alternatives } = conflictProblem.parse(refused.body);
      expect(alternatives.length).toBeGreaterThan(0);
      for (const { startTime, endTime } of alternatives) {
        const instead = { ...body, start_time: startTime, end_time: endTime };
        const held = await hold(payer.admin, instead);
        await call('sessions-cancel', payer.admin, { hold_key: held.holdKey });
      }
    });
  });
});

describe('sixty rivals for one slot', () => {
  it('leave one winner and 59 conflicts', async () => {
    const at = window(nextDay(), 10);
    const answers = await Promise.all(
      Array.from({ length: 60 }, () => call('sessions-hold', clinic.rbt, rbtHold(at))),
    );
    const statuses = answers.map(({ status }) => status).sort();
    expect(statuses).toEqual([200, ...Array(59).fill(409)]);
  });
});

describe('a confirmation', () => {
  it('makes sessions of a hold, once, however often it is sent', async () => {
    const body = rbtHold(window(nextDay(), 10), { occurrences: [window(day, 10), window(day, 12)] });
    const held = await hold(clinic.rbt, body);
    const request = confirmationOf(body, held, { cpt: { code: '97153', modifiers: ['u1'] } });
    const answer = await call('sessions-confirm', clinic.rbt, request);
    expect(answer.status).toBe(200);
    const { session, sessions, roundedDurationMinutes } = confirmData.parse(answer.body.data);
    expect(sessions).toHaveLength(2);
    expect(session).toMatchObject({
      id: sessions[0]?.id,
      status: 'scheduled',
      therapist_id: clinic.rbt.id,
      client_id: clinic.clients[0],
      cpt_code: '97153',
      cpt_modifiers: ['U1'],
    });
    expect(Date.parse(session.start_time)).toBe(Date.parse(body.start_time));
    expect(roundedDurationMinutes).toBe(60);

    const again = await call('sessions-confirm', clinic.rbt, request);
    expect(again.status).toBe(200);
    expect(again.body.data.sessions.map(({ id }: { id: string }) => id)).toEqual(
      sessions.map(({ id }) => id),
    );
  });

  it('of a lone hold needs no list of occurrences', async () => {
    const body = rbtHold(window(nextDay(), 10));
    const held = await hold(clinic.rbt, body);
    const answer = await call(
      'sessions-confirm',
      clinic.rbt,
      confirmationOf(body, held, { occurrences: undefined }),
    );
    expect(answer.status).toBe(200);
  });

  it('that differs from the hold changes nothing and leaves it alive', async () => {
    const body = rbtHold(window(nextDay(), 10));
    const held = await hold(clinic.rbt, body);
    const good = confirmationOf(body, held, { occurrences: [] });
    const session = (change: object) => ({ ...good, session: { ...good.session, ...change } });
    expectProblem(
      await call('sessions-confirm', clinic.admin, session({ therapist_id: clinic.bcba.id })),
      409,
      'HOLD_MISMATCH',
    );
    expectProblem(
      await call('sessions-confirm', clinic.admin, session({ end_time: window(day, 10, 2).end_time })),
      409,
      'HOLD_MISMATCH',
    );
    expectProblem(
      await call('sessions-confirm', clinic.admin, session({ client_id: clinic.clients[1] })),
      409,
      'CLIENT_MISMATCH',
    );
    const mismatch = await call(
      'sessions-confirm',
      clinic.admin,
      session({ end_time: window(day, 10, 3).end_time }),
    );
    expect(conflictProblem.parse(mismatch.body)).toMatchObject({
      retryAfter: null,
      conflicts: [],
      alternatives: [],
    });
    expect((await call('sessions-confirm', clinic.rbt, good)).status).toBe(200);
  });

  it('names what is missing or impossible, and leaves the hold alive', async () => {
    const body = rbtHold(window(nextDay(), 10));
    const good = confirmationOf(body, await hold(clinic.rbt, body), { occurrences: [] });
    const missing = await call('sessions-confirm', clinic.rbt, { ...good, session: undefined });
    expectProblem(missing, 400, 'MISSING_FIELDS');
    expect(missing.body.issues).toEqual([{ path: 'session', message: 'is required' }]);
    const backwards = { ...good, session: { ...good.session, end_time: good.session.start_time } };
    expectProblem(await call('sessions-confirm', clinic.rbt, backwards), 400, 'INVALID_RANGE');
    const notes = { ...good, session: { ...good.session, notes: 'Played well' } };
    const refused = await call('sessions-confirm', clinic.rbt, notes);
    expectProblem(refused, 400, 'VALIDATION_FAILED');
    expect(refused.body.issues).toMatchObject([{ path: 'session.notes' }]);
    expect(JSON.stringify(refused.body)).not.toContain('Played well');
    expect((await call('sessions-confirm', clinic.rbt, good)).status).toBe(200);
  });

  it('of an expired hold is 410, and of a released, unknown or foreign one too', async () => {
    const body = rbtHold(window(nextDay(), 10));
    const held = await hold(clinic.rbt, body);
    const request = confirmationOf(body, held);
    expectProblem(await call('sessions-confirm', stranger.admin, request), 410, 'HOLD_NOT_FOUND');
    await expire(held.holdId);
    expectProblem(await call('sessions-confirm', clinic.rbt, request), 410, 'HOLD_EXPIRED');

    const other = await hold(clinic.rbt, body);
    expect((await call('sessions-cancel', clinic.rbt, { hold_key: other.holdKey })).body.data.released).toBe(
      true,
    );
    expectProblem(
      await call('sessions-confirm', clinic.rbt, confirmationOf(body, other)),
      410,
      'HOLD_NOT_FOUND',
    );
    const unknown = { ...request, hold_key: clinic.organizationId, occurrences: [] };
    expectProblem(await call('sessions-confirm', clinic.rbt, unknown), 410, 'HOLD_NOT_FOUND');
  });

  it('of a member who has left is refused, whatever her token says', async () => {
    const at = window(nextDay(), 10);
    const leaver = await addUser('leaver');
    await withConnection((client) =>
      client.query(
        "insert into public.memberships (organization_id, user_id, role) values ($1, $2, 'admin')",
        [clinic.organizationId, leaver.id],
      ),
    );
    const member = await signIn(leaver);
    const held = await hold(member, rbtHold(at));
    await withConnection((client) =>
      client.query('delete from public.memberships where user_id = $1', [leaver.id]),
    );
    expectProblem(
      await call('sessions-confirm', member, confirmationOf(rbtHold(at), held)),
      403,
      'FORBIDDEN',
    );
  });
});

describe('a move', () => {
  it('keeps the old place until it is confirmed, and lets a series take places its siblings leave', async () => {
    const first = window(nextDay(), 10);
    const second = window(day, 11);
    const { sessions } = await book(first, rbtHold(first, { occurrences: [first, second] }));
    const [a, b] = sessions;
    const body = rbtHold(second, {
      occurrences: [
        { ...second, session_id: a?.id },
        { ...window(day, 12), session_id: b?.id },
      ],
    });
    const held = await hold(clinic.rbt, body);
    expectProblem(
      await call('sessions-hold', clinic.admin, holdOf(clinic.rbt, clinic.clients[1], first)),
      409,
      'THERAPIST_CONFLICT',
    );
    expectProblem(await call('sessions-hold', clinic.rbt, body), 409, 'SESSION_BEING_MOVED');

    const answer = await call('sessions-confirm', clinic.rbt, confirmationOf(body, held));
    expect(answer.status).toBe(200);
    expect(answer.body.data.sessions.map(({ id }: { id: string }) => id)).toEqual([a?.id, b?.id]);
    expect(Date.parse(answer.body.data.session.start_time)).toBe(Date.parse(second.start_time));
    expect(
      (await call('sessions-hold', clinic.admin, holdOf(clinic.rbt, clinic.clients[1], first))).status,
    ).toBe(200);
  });

  it('of one member of a group takes the whole group along, with its room, or nobody', async () => {
    const at = window(nextDay(), 10);
    const members = clinic.clients.slice(0, 3);
    const asked = rbtHold(at, { client_ids: members, session_type: 'group', room_id: clinic.room });
    const made = await call('sessions-hold', clinic.admin, asked);
    expect(made.body.data.holds).toEqual([expect.objectContaining({ clientIds: members })]);
    const all = confirmationOf(asked, made.body.data);
    const { body: group } = await call('sessions-confirm', clinic.admin, all);
    const roomOf = async () => {
      const { rows } = await withConnection((client) =>
        client.query('select room_id from public.session_groups where id = $1', [
          group.data.session.group_id,
        ]),
      );
      return rows[0].room_id;
    };
    const ids = members.map(
      (client) => group.data.sessions.find(({ client_id }: { client_id: string }) => client_id === client).id,
    );

    const body = holdOf(clinic.rbt, members[1] ?? '', window(day, 11), { session_id: ids[1] });
    const held = await hold(clinic.admin, body);
    expect(held.holds).toEqual([expect.objectContaining({ groupId: group.data.session.group_id })]);
    expectProblem(
      await call('sessions-hold', clinic.admin, rbtHold(window(day, 12), { session_id: ids[0] })),
      409,
      'SESSION_BEING_MOVED',
    );
    const answer = await call('sessions-confirm', clinic.admin, confirmationOf(body, held));
    const moved = confirmData.parse(answer.body.data);
    expect(moved.session.id).toBe(ids[1]);
    expect(moved.sessions.map(({ id }) => id).sort()).toEqual([...ids].sort());
    expect(moved.sessions).toEqual(
      members.map(() => expect.objectContaining({ group_id: group.data.session.group_id })),
    );
    // The room is the group's, not each member's.
    expect(await roomOf()).toBe(clinic.room);
    expect(new Set(moved.sessions.map(({ start_time }) => Date.parse(start_time)))).toEqual(
      new Set([Date.parse(body.start_time)]),
    );

    // Named, and null: the room is given up.
    const out = holdOf(clinic.rbt, members[0] ?? '', window(day, 13), { session_id: ids[0], room_id: null });
    const { body: left } = await call(
      'sessions-confirm',
      clinic.admin,
      confirmationOf(out, await hold(clinic.admin, out)),
    );
    expect(left.data.sessions).toHaveLength(ids.length);
    expect(await roomOf()).toBeNull();
  });

  it('of a session that was cancelled meanwhile is refused', async () => {
    const { session } = await book(window(nextDay(), 10));
    const body = rbtHold(window(day, 14), { session_id: session.id });
    const held = await hold(clinic.rbt, body);
    await call('sessions-cancel', clinic.rbt, { session_ids: [session.id] });
    expectProblem(
      await call('sessions-confirm', clinic.rbt, confirmationOf(body, held)),
      409,
      'SESSION_NOT_MOVABLE',
    );
  });
});

describe('a release', () => {
  it('frees the slot at once, and is true only the first time', async () => {
    const body = rbtHold(window(nextDay(), 10));
    const { holdKey } = await hold(clinic.rbt, body);
    const first = await call('sessions-cancel', clinic.rbt, { hold_key: holdKey });
    expect(first.status).toBe(200);
    expect(releaseData.parse(first.body.data)).toMatchObject({ released: true, hold: { holdKey } });
    expect((await call('sessions-cancel', clinic.rbt, { hold_key: holdKey })).body.data).toMatchObject({
      released: false,
    });
    expect((await call('sessions-hold', clinic.rbt, body)).status).toBe(200);
  });

  it('of a foreign or unknown key is false', async () => {
    const { holdKey } = await hold(clinic.rbt, rbtHold(window(nextDay(), 10)));
    for (const [person, key] of [
      [stranger.admin, holdKey],
      [clinic.rbt, clinic.organizationId],
    ] as const) {
      const answer = await call('sessions-cancel', person, { hold_key: key });
      expect([answer.status, answer.body.data.released]).toEqual([200, false]);
    }
  });

  it('may let one occurrence of a series go', async () => {
    const body = rbtHold(window(nextDay(), 10), { occurrences: [window(day, 10), window(day, 12)] });
    const held = await hold(clinic.rbt, body);
    await call('sessions-cancel', clinic.rbt, { hold_key: held.holds[1]?.holdKey });
    expect((await call('sessions-hold', clinic.rbt, rbtHold(window(day, 12)))).status).toBe(200);
    expectProblem(
      await call('sessions-hold', clinic.rbt, rbtHold(window(day, 10))),
      409,
      'THERAPIST_HOLD_CONFLICT',
    );
  });
});

describe('a cancellation', () => {
  it('frees the slot at once, counts what it did, and keeps the reason beside the session', async () => {
    const { session } = await book(window(nextDay(), 10));
    const request = {
      session_ids: [session.id],
      reason: 'Family is ill',
      cancellation_attribution: 'client',
    };
    const answer = await call('sessions-cancel', clinic.rbt, request);
    expect(answer.status).toBe(200);
    expect(cancelData.parse(answer.body.data).summary).toEqual({
      cancelledCount: 1,
      alreadyCancelledCount: 0,
      nonCancellableCount: 0,
      totalCount: 1,
      cancelledSessionIds: [session.id],
      alreadyCancelledSessionIds: [],
      nonCancellableSessionIds: [],
    });
    expect((await call('sessions-cancel', clinic.rbt, request)).body.data.summary).toMatchObject({
      cancelledCount: 0,
      alreadyCancelledCount: 1,
    });
    const kept = await withConnection(async (client) => {
      const { rows } = await client.query(
        'select reason, attribution::text, cancelled_by from public.session_cancellations where session_id = $1',
        [session.id],
      );
      return rows[0];
    });
    expect(kept).toEqual({ reason: 'Family is ill', attribution: 'client', cancelled_by: clinic.rbt.id });
    expect((await call('sessions-hold', clinic.rbt, rbtHold(window(day, 10)))).status).toBe(200);
  });

  it('of a day takes the sessions that start in that local day, of the therapist who asks', async () => {
    const evening = window(nextDay(), 23);
    const nextMorning = window(nextDay(), 1);
    const inDay = await book(evening);
    const afterwards = await book(nextMorning);
    const others = await book(evening, holdOf(clinic.bcba, clinic.clients[1], evening));
    const date = evening.start_time.slice(0, 10);
    const answer = await call('sessions-cancel', clinic.rbt, { date, time_zone: 'UTC' });
    expect(answer.body.data.summary).toMatchObject({
      totalCount: 1,
      cancelledSessionIds: [inDay.session.id],
    });

    const missing = await call('sessions-cancel', clinic.admin, { date, time_zone: 'UTC' });
    expectProblem(missing, 400, 'VALIDATION_FAILED');
    expect(missing.body.issues).toMatchObject([{ path: 'therapist_id' }]);
    const everybody = {
      date,
      time_zone: 'UTC',
      all_therapists: true,
      session_ids: [others.session.id, afterwards.session.id],
    };
    expect((await call('sessions-cancel', clinic.admin, everybody)).body.data.summary).toMatchObject({
      totalCount: 1,
      cancelledSessionIds: [others.session.id],
    });
  });

  it('is refused whole when one of the sessions is out of scope', async () => {
    const mine = await book(window(nextDay(), 10));
    const other = await book(window(day, 12), holdOf(clinic.bcba, clinic.clients[1], window(day, 12)));
    const answer = await call('sessions-cancel', clinic.rbt, {
      session_ids: [mine.session.id, other.session.id],
    });
    expectProblem(answer, 403, 'FORBIDDEN');
    expect(
      (await call('sessions-cancel', clinic.rbt, { session_ids: [mine.session.id] })).body.data.summary,
    ).toMatchObject({
      cancelledCount: 1,
    });
    for (const person of [clinic.parent, stranger.admin]) {
      expectProblem(
        await call('sessions-cancel', person, { session_ids: [other.session.id] }),
        403,
        'FORBIDDEN',
      );
    }
  });
});

describe('offsets and rules', () => {
  /** What the database's clocks say of a zone, in minutes east of UTC. */
  async function offsetOf(zone: string, instant: string): Promise<number> {
    const { rows } = await withConnection((client) =>
      client.query(
        "select extract(epoch from ($1::timestamptz at time zone $2) - ($1::timestamptz at time zone 'UTC'))::int / 60 as minutes",
        [instant, zone],
      ),
    );
    return rows[0].minutes;
  }

  it('only the database judges offsets: a zone whose law has changed since the functions’ runtime was made', async () => {
    const zone = 'America/Vancouver'; // no longer changes its clocks, as of 2026: newer data says -7 in winter
    const year = new Date().getUTCFullYear() + (new Date().getUTCMonth() === 11 ? 1 : 0);
    const at = { start_time: `${year}-12-31T20:00:00.000Z`, end_time: `${year}-12-31T21:00:00.000Z` };
    const offset = await offsetOf(zone, at.start_time);
    const asked = (minutes: number) =>
      call('sessions-hold', clinic.rbt, {
        ...{ therapist_id: clinic.rbt.id, client_id: clinic.clients[0], time_zone: zone, ...at },
        ...{ start_time_offset_minutes: minutes, end_time_offset_minutes: minutes },
      });
    const wrong = await asked(offset - 60);
    expect(wrong.status).toBe(400);
    expect(wrong.body.issues.map(({ path }: { path: string }) => path)).toEqual([
      'start_time_offset_minutes',
      'end_time_offset_minutes',
    ]);
    const right = await asked(offset);
    expect(right.status).toBe(200);
    await call('sessions-cancel', clinic.rbt, { hold_key: right.body.data.holdKey });
  });

  it('may be left out, in a hold and in its confirmation', async () => {
    const { start_time, end_time } = window(41, 4);
    const who = { therapist_id: clinic.rbt.id, client_id: clinic.clients[0] };
    const time_zone = 'America/Los_Angeles';
    const held = await call('sessions-hold', clinic.rbt, { ...who, start_time, end_time, time_zone });
    expect(held.status).toBe(200);
    const confirmed = await call('sessions-confirm', clinic.rbt, {
      hold_key: held.body.data.holdKey,
      session: { ...who, start_time, end_time },
      time_zone,
    });
    expect(confirmed.status).toBe(200);
    expect(confirmed.body.data.session).toMatchObject({ time_zone });
  });

  it.each([
    ['start_time', 'a series that has begun', window(-3, 4), {}],
    ['recurrence.rule', 'a series that goes too far', window(700, 4), {}],
    ['start_time_offset_minutes', 'an offset of the first', window(42, 4), { start_time_offset_minutes: 60 }],
  ])('%s is what %s is refused at, not an occurrence that nobody sent', async (path, _, at, extra) => {
    const recurrence = { rule: 'FREQ=WEEKLY;COUNT=9' };
    const body = holdOf(clinic.rbt, clinic.clients[0], at, { recurrence, ...extra });
    const { status, body: problem } = await call('sessions-hold', clinic.rbt, body);
    expect(status).toBe(400);
    const paths = problem.issues.map((issue: { path: string }) => issue.path);
    expect(paths).toContain(path);
    expect(paths.filter((each: string) => each.startsWith('occurrences'))).toEqual([]);
  });
});
