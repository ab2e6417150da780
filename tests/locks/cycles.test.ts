/**
 * Pairs of ordinary calls that once deadlocked, each with two sessions, in either order: the second waits before it has
 * anything that the first still wants. With the locks of direct writes taken away, each of them fails at once.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  type Arena,
  alone,
  at,
  confirmationOf,
  confirming,
  holding,
  holdOf,
  nth,
  openArena,
} from '../races/rivals.ts';
import { type Claims, withConnection } from '../setup/db.ts';
import { brokenInvariants } from '../setup/invariants.ts';
import { type Ending, inLockStep } from '../setup/lockstep.ts';
import type { Edit } from '../setup/sabotage.ts';
import { whileEdited } from '../setup/while-edited.ts';

/** A statement with its values. */
type Step = [sql: string, values: unknown[]];
/** What somebody does in one transaction: first one thing, then another that the other session wants as well. */
type Party = { first: Step; next: Step };
type Pair = { one: Party; other: Party };

let arena: Arena;
let admin: Claims;
/** Therapists and clients, by number. */
const person = (number: number) => nth(arena.therapists, number);
const client = (number: number) => nth(arena.clients, number);
beforeEach(async () => {
  arena = await openArena(2, 6);
  admin = { sub: arena.admin, org_id: arena.organizationId };
});

let day = 0;
beforeEach(() => {
  day += 1;
});

/** Sessions inserted with one statement, as PostgREST inserts an array. */
const bulkSessions = (...rows: [therapist: number, client: number, minute: number][]): Step => [
  `insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone)
    select $1, item.therapist_id, item.client_id, item.start_time, item.end_time, 'UTC'
    from jsonb_to_recordset($2) as item (therapist_id uuid, client_id uuid, start_time timestamptz, end_time timestamptz)`,
  [
    arena.organizationId,
    JSON.stringify(
      rows.map(([therapist, who, minute]) => ({
        ...{ therapist_id: person(therapist), client_id: client(who), ...at(day, minute) },
      })),
    ),
  ],
];
const returningIds = (...rows: Parameters<typeof bulkSessions>): Step => {
  const [sql, values] = bulkSessions(...rows);
  return [`${sql} returning id`, values];
};
const groupHold = (therapist: number, clients: number[], minute: number): Step => [
  'select public.hold_sessions($1) as outcome',
  [
    JSON.stringify(
      holdOf(person(therapist), client(clients[0] ?? 0), at(day, minute), {
        ...{ client_ids: clients.map(client), cpt_code: '97154' },
      }),
    ),
  ],
];
const cancel = (...ids: string[]): Step => [
  'select public.cancel_sessions($1) as outcome',
  [JSON.stringify({ session_ids: ids })],
];
const update = (table: string, change: string, ...ids: string[]): Step => [
  `update public.${table} set ${change} where organization_id = $1 and id = any ($2)`,
  [arena.organizationId, ids],
];
const authorize = (...clients: number[]): Step => [
  `insert into public.authorizations (organization_id, client_id, payer_id, approved_units, starts_on, ends_on)
    select $1, client_id, (select id from public.payers where organization_id = $1 limit 1), 100, current_date, current_date + 90
    from unnest($2::uuid[]) as client_id`,
  [arena.organizationId, clients.map(client)],
];
const authorizeCode = (...clients: number[]): Step => [
  `insert into public.authorization_codes (organization_id, authorization_id, cpt_code)
    select organization_id, id, '97154' from public.authorizations where organization_id = $1 and client_id = any ($2)`,
  [arena.organizationId, clients.map(client)],
];
const cover = (...clients: number[]): Step => [
  `insert into public.client_coverages (organization_id, client_id, payer_id, valid_from)
    select $1, client_id, (select id from public.payers where organization_id = $1 limit 1), '2020-01-01'
    from unnest($2::uuid[]) as client_id`,
  [arena.organizationId, clients.map(client)],
];

async function givenPayer(): Promise<void> {
  await withConnection((db) =>
    db.query("insert into public.payers (organization_id, name) values ($1, 'Payer')", [
      arena.organizationId,
    ]),
  );
}

/** Two sessions of two therapists. */
async function givenSessions(): Promise<[string, string]> {
  return withConnection(async (db) => {
    const { rows } = await db.query(...returningIds([0, 0, 600], [1, 1, 600]));
    const [one, two] = rows.map(({ id }) => id as string);
    return [one ?? '', two ?? ''];
  });
}

/** Two entries of the waiting list that the two sessions' slots would suit. */
async function givenEntries(): Promise<[string, string]> {
  return withConnection(async (db) => {
    const window = at(day, 540, 240);
    const { rows } = await db.query(
      `insert into public.waitlist_entries (organization_id, client_id, cpt_code, windows)
        select $1, client_id, '97153', tstzmultirange(tstzrange($3, $4)) from unnest($2::uuid[]) as client_id returning id`,
      [arena.organizationId, [client(2), client(3)], window.start_time, window.end_time],
    );
    const [one, two] = rows.map(({ id }) => id as string);
    return [one ?? '', two ?? ''];
  });
}

/** The pairs, by what meets. Each party's second step wants what the other's first has. */
const pairs: Record<string, () => Promise<Pair>> = {
  'two inserts of several sessions, crosswise': async () => ({
    one: { first: bulkSessions([0, 0, 600]), next: bulkSessions([1, 1, 600], [1, 2, 700]) },
    other: { first: bulkSessions([1, 2, 800]), next: bulkSessions([0, 3, 800]) },
  }),
  'an insert of several sessions, and a hold of a group': async () => ({
    one: { first: bulkSessions([0, 0, 600], [1, 1, 600]), next: bulkSessions([0, 2, 900]) },
    other: { first: groupHold(0, [1, 0], 700), next: groupHold(1, [0, 1], 800) },
  }),
  'a change of several sessions, and their cancellation': async () => {
    const [one, two] = await givenSessions();
    return {
      one: {
        first: update('sessions', "location_type = 'home'", two),
        next: update('sessions', "location_type = 'home'", one),
      },
      other: { first: cancel(one), next: cancel(two) },
    };
  },
  'authorizations of several clients, and a hold of a group of them': async () => {
    await givenPayer();
    return {
      one: { first: authorize(1), next: authorize(0) },
      other: { first: groupHold(0, [0, 1], 600), next: groupHold(1, [1, 0], 800) },
    };
  },
  'codes of several authorizations, and a hold of a group of their clients': async () => {
    await givenPayer();
    await withConnection((db) => db.query(...authorize(0, 1)));
    return {
      one: { first: authorizeCode(1), next: authorizeCode(0) },
      other: { first: groupHold(0, [0, 1], 600), next: groupHold(1, [1, 0], 800) },
    };
  },
  'coverages of several clients, and a hold of a group of them': async () => {
    await givenPayer();
    return {
      one: { first: cover(1), next: cover(0) },
      other: { first: groupHold(0, [0, 1], 600), next: groupHold(1, [1, 0], 800) },
    };
  },
  'two entries of the waiting list that are closed, and two sessions that are cancelled': async () => {
    const sessions = await givenSessions();
    const entries = await givenEntries();
    return {
      one: {
        first: update('waitlist_entries', 'closed_at = now()', entries[1]),
        next: update('waitlist_entries', 'closed_at = now()', entries[0]),
      },
      other: { first: cancel(sessions[0]), next: cancel(sessions[1]) },
    };
  },
};

const busy = (ending: Ending) => ending.sqlstate === '40P01' || ending.sqlstate === 'PT503';

/** One begins; the other waits for it, whatever it does next, and goes on when it has committed. */
async function meet(one: Party, other: Party): Promise<void> {
  await inLockStep({ anna: admin, ben: admin }, async ({ anna, ben }) => {
    await anna.does('begin');
    await ben.does('begin');
    await anna.does(...one.first);
    const waiting = await ben.waitsFor(anna, ...other.first);
    await anna.does(...one.next);
    await anna.does('commit');
    const ending = await waiting.ends();
    expect(busy(ending), JSON.stringify(ending)).toBe(false);
    // Had it been refused, the transaction would be over.
    if (ending.rows) await ben.does(...other.next);
    await ben.does('commit');
  });
}

/** A session of a group. */
type Member = { id: string; group_id: string; client_id: string };

/** The sessions of a group of the first clients, by id. */
async function givenGroup(...clients: number[]): Promise<Member[]> {
  const booked = await alone(arena, {
    sql: 'select public.hold_sessions($1) as outcome',
    values: groupHold(0, clients, 600)[1],
  });
  const { body } = await alone(
    arena,
    confirming({
      ...confirmationOf(person(0), client(0), booked.body),
      cpt: { code: '97154', modifiers: [] },
    }),
  );
  return (body.sessions as Member[]).toSorted((a, b) => (a.id < b.id ? -1 : 1));
}

const hold = (request: object): Step => [
  'select public.hold_sessions($1) as outcome',
  [JSON.stringify(request)],
];
const moveGroup = (group: string | undefined): Step => [
  'select public.move_group($1) as outcome',
  [JSON.stringify({ group_id: group, ...at(day, 900), time_zone: 'UTC' })],
];
const ok = { rows: [{ outcome: { ok: true } }] };
const joining = (group: string | undefined) =>
  holdOf(person(0), client(3), at(day, 600), { group_id: group, cpt_code: '97154' });

/** Meetings of three, or with an end of their own, by what happens. */
const meetings: Record<string, () => Promise<void>> = {
  'a member is cancelled while the group moves, then another': async () => {
    // Two stay, the one whose session stands for the group among them.
    const [, , third, fourth] = await givenGroup(0, 1, 2, 3);
    await inLockStep({ mover: admin, canceller: admin }, async ({ mover, canceller }) => {
      await canceller.does('begin');
      await canceller.does(...cancel(third?.id ?? ''));
      const moving = await mover.waitsFor(canceller, ...moveGroup(third?.group_id));
      await canceller.does(...cancel(fourth?.id ?? ''));
      await canceller.does('commit');
      expect(await moving.ends()).toMatchObject(ok);
    });
  },
  'a member is cancelled while the group moves, then somebody else, and a slot is offered': async () => {
    const [, , third] = await givenGroup(0, 1, 2);
    const [other] = await withConnection(async (db) => {
      const { rows } = await db.query(...returningIds([1, 4, 900]));
      const window = at(day, 540, 240);
      await db.query(
        `insert into public.caseloads (organization_id, therapist_id, client_id) values ($1, $2, $3)`,
        [arena.organizationId, person(0), client(5)],
      );
      await db.query(
        `insert into public.waitlist_entries (organization_id, client_id, cpt_code, windows)
          values ($1, $2, '97154', tstzmultirange(tstzrange($3, $4)))`,
        [arena.organizationId, client(5), window.start_time, window.end_time],
      );
      return rows as { id: string }[];
    });
    await inLockStep(
      { mover: admin, canceller: admin, offerer: admin },
      async ({ mover, canceller, offerer }) => {
        await canceller.does('begin');
        await canceller.does(...cancel(third?.id ?? ''));
        const moving = await mover.waitsFor(canceller, ...moveGroup(third?.group_id));
        await canceller.does('select public.cancel_sessions($1, $2) as outcome', [
          JSON.stringify({ session_ids: [other?.id] }),
          `cancelled on day ${day}`,
        ]);
        // Who offers needs neither of them.
        await offerer.does('select public.offer_freed_slots() as outcome');
        await canceller.does('commit');
        expect(await moving.ends()).toMatchObject(ok);
      },
    );
  },
  'a group moves, and a member is cancelled meanwhile': async () => {
    const [, , third] = await givenGroup(0, 1, 2);
    await inLockStep({ mover: admin, canceller: admin }, async ({ mover, canceller }) => {
      await mover.does('begin');
      expect(await mover.does(...moveGroup(third?.group_id))).toMatchObject(ok.rows);
      const waiting = await canceller.waitsFor(mover, ...cancel(third?.id ?? ''));
      await mover.does('commit');
      expect(await waiting.ends()).toMatchObject({
        rows: [{ outcome: { body: { summary: { cancelledCount: 1 } } } }],
      });
    });
  },
  'a group moves, and somebody joins it': async () => {
    const [member] = await givenGroup(0, 1);
    const joined = joining(member?.group_id);
    await inLockStep({ mover: admin, joiner: admin }, async ({ mover, joiner }) => {
      await mover.does('begin');
      const moved = await mover.does(
        ...hold(holdOf(person(0), member?.client_id ?? '', at(day, 900), { session_id: member?.id })),
      );
      expect(moved).toMatchObject(ok.rows);
      const waiting = await joiner.waitsFor(mover, ...hold(joined));
      // For the group itself: behind its therapist it would be too late to look who is in it.
      expect(waiting.on).toBe('transactionid');
      await mover.does('commit');
      expect(await waiting.ends()).toMatchObject({ rows: [{ outcome: { ok: false, status: 409 } }] });
    });
    expect(await alone(arena, holding(joined))).toMatchObject({ ok: false });
  },
  'somebody joins a group, and it is to move': async () => {
    const [member] = await givenGroup(0, 1);
    await inLockStep({ mover: admin, joiner: admin }, async ({ mover, joiner }) => {
      await joiner.does('begin');
      expect(await joiner.does(...hold(joining(member?.group_id)))).toMatchObject(ok.rows);
      const waiting = await mover.waitsFor(
        joiner,
        ...hold(holdOf(person(0), member?.client_id ?? '', at(day, 900), { session_id: member?.id })),
      );
      await joiner.does('commit');
      // Whoever holds a place in it can have that place.
      expect(await waiting.ends()).toMatchObject({ rows: [{ outcome: { ok: false, status: 409 } }] });
    });
  },
};

describe('these queue, whichever comes first', () => {
  it.each(Object.keys(pairs))('%s', async (name) => {
    const { one, other } = await (pairs[name] as () => Promise<Pair>)();
    await meet(one, other);
    expect(await withConnection((db) => brokenInvariants(db, arena.organizationId))).toEqual([]);
  });

  it.each(Object.keys(pairs))('the other first: %s', async (name) => {
    const { one, other } = await (pairs[name] as () => Promise<Pair>)();
    await meet(other, one);
    expect(await withConnection((db) => brokenInvariants(db, arena.organizationId))).toEqual([]);
  });

  it.each(Object.keys(meetings))('%s', async (name) => {
    await (meetings[name] as () => Promise<void>)();
    expect(await withConnection((db) => brokenInvariants(db, arena.organizationId))).toEqual([]);
  });
});

describe('in another order of locks this fails at once', () => {
  const broken: [what: string, meeting: string, edit: Edit, says: RegExp][] = [
    [
      'members by descending id',
      'a member is cancelled while the group moves, then another',
      ['private.lock_sessions', 'order by named.id', 'order by named.id desc'],
      /canceller had to wait for mover/,
    ],
    [
      'a slot is offered by whoever frees it',
      'a member is cancelled while the group moves, then somebody else, and a slot is offered',
      [
        'private.cancel_sessions(private.actor,jsonb,text)',
        'return private.kept(',
        `if idempotency_key is not null then
          perform private.offer_next(actor.organization_id);
        end if;
        return private.kept(`,
      ],
      /canceller had to wait for mover/,
    ],
    [
      'a joiner leaves the group unlocked',
      'a group moves, and somebody joins it',
      ['private.lock_group', /\bbegin\b/, 'begin\n  return;'],
      /expected 'advisory' to be 'transactionid'/,
    ],
  ];

  it.each(broken)('%s: %s', async (_what, name, edit, says) => {
    await whileEdited([edit], () => expect((meetings[name] as () => Promise<void>)()).rejects.toThrow(says));
  });
});

describe('without the locks of direct writes', () => {
  const tables = [
    'sessions',
    'authorizations',
    'authorization_codes',
    'client_coverages',
    'waitlist_entries',
  ];
  const set = async (state: 'enable' | 'disable') => {
    await withConnection(async (db) => {
      for (const table of tables)
        await db.query(`alter table public.${table} ${state} trigger a_take_organization`);
    });
  };
  beforeAll(() => set('disable'));
  afterAll(() => set('enable'));

  it.each(Object.keys(pairs))('this fails at once: %s', async (name) => {
    const { one, other } = await (pairs[name] as () => Promise<Pair>)();
    await expect(meet(one, other)).rejects.toThrow(/did not wait|had to wait/);
  });
});
