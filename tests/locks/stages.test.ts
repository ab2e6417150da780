/**
 * The order of locks that `supabase/schemas/calendar/locks.sql` states, call by call and lock by lock: while a call waits
 * for one of its locks, it has all that come before, and none that come after. Hold batches and claims are not here, for
 * nobody waits for them: whoever meets one that is taken passes it over.
 */
import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  type Arena,
  at,
  confirmationOf,
  type Held,
  holdOf,
  nth,
  type Outcome,
  openArena,
} from '../races/rivals.ts';
import { type Claims, connect, transactionAs } from '../setup/db.ts';
import { type Actor, inLockStep } from '../setup/lockstep.ts';
import type { Edit } from '../setup/sabotage.ts';
import { whileEdited } from '../setup/while-edited.ts';

let arena: Arena;
let admin: Claims;
const therapist = (number: number) => nth(arena.therapists, number);
const client = (number: number) => nth(arena.clients, number);
/** The admin, who prepares each situation: one connection, since each new one learns everything anew. */
let desk: pg.Client;
beforeAll(async () => {
  arena = await openArena(2, 4);
  admin = { sub: arena.admin, org_id: arena.organizationId };
  desk = await connect();
});
afterAll(() => desk?.end());

let day = 0;
beforeEach(() => {
  day += 1;
});

/** A lock: how somebody takes it, and waits for it if need be. */
interface Lock {
  name: string;
  /** The key of an advisory lock. */
  key?: string;
  /** The row of a table. */
  row?: [table: string, id: string];
}

/** What a call needs, in the order in which it is to take it. */
interface Situation {
  call: [sql: string, values: unknown[]];
  locks: Lock[];
}

async function keyOf(expression: string, values: unknown[]): Promise<string> {
  return (await desk.query(`select (${expression})::text as key`, values)).rows[0].key;
}

const organization = async (): Promise<Lock> => ({
  name: 'the organization',
  key: await keyOf('private.organization_lock_key($1)', [arena.organizationId]),
});
const idempotencyKey = async (endpoint: string, key: string): Promise<Lock> => ({
  name: 'the idempotency key',
  key: await keyOf(
    "hashtextextended(encode(sha256(convert_to(format('%s/%s/%s/%s', $1::uuid, $2::uuid, $3::text, $4::text), 'UTF8')), 'hex'), 1)",
    [arena.organizationId, arena.admin, endpoint, key],
  ),
});
const group = (id: string): Lock => ({ name: 'the group', row: ['session_groups', id] });
const sessions = (...ids: string[]): Lock[] =>
  ids.toSorted().map((id, index) => ({ name: `session ${index + 1}`, row: ['sessions', id] }));
/** Those of therapists and clients, ascending. */
async function resources(...ids: string[]): Promise<Lock[]> {
  const keys = await Promise.all(
    ids.map((id) =>
      keyOf("hashtextextended(encode(sha256(uuid_send($1::uuid) || uuid_send($2::uuid)), 'hex'), 0)", [
        arena.organizationId,
        id,
      ]),
    ),
  );
  return keys
    .toSorted((a, b) => (BigInt(a) < BigInt(b) ? -1 : 1))
    .map((key, index) => ({ name: `resource ${index + 1}`, key }));
}
/** At commit: the chain of the therapist whose time it is. */
async function head(id: string): Promise<Lock[]> {
  const { rowCount } = await desk.query(
    'select from audit.chains where organization_id = $1 and chain_id = $2',
    [arena.organizationId, id],
  );
  return rowCount === 1 ? [{ name: 'the head of the chain', row: ['chains', id] }] : [];
}

async function prepare(rpc: string, request: object): Promise<Outcome> {
  const { rows } = await transactionAs(desk, admin, () =>
    desk.query(`select public.${rpc}($1) as outcome`, [JSON.stringify(request)]),
  );
  return rows[0].outcome;
}
const hold = (request: object) => prepare('hold_sessions', request);
async function book(request: Record<string, unknown>, extra: object = {}) {
  const { therapist_id, client_id } = request as { therapist_id: string; client_id: string };
  const held = (await hold(request)).body as Held;
  const booked = await prepare('confirm_sessions', {
    ...confirmationOf(therapist_id, client_id, held),
    ...extra,
  });
  return booked.body.sessions as { id: string; group_id: string }[];
}
const ofGroup = { cpt_code: '97154' };
const bookGroup = () =>
  book(
    { ...holdOf(therapist(0), client(0), at(day, 600)), client_ids: [client(0), client(1)], ...ofGroup },
    { cpt: { code: '97154', modifiers: [] } },
  );

/** A call under an idempotency key of its own, with the locks that come behind those of the organization and the key. */
async function keyed(rpc: string, request: object, locks: Lock[]): Promise<Situation> {
  const endpoint = {
    hold_sessions: 'sessions-hold',
    confirm_sessions: 'sessions-confirm',
    release_hold: 'sessions-cancel',
    cancel_sessions: 'sessions-cancel',
  }[rpc];
  const key = randomUUID();
  const first = [await organization(), ...(endpoint ? [await idempotencyKey(endpoint, key)] : [])];
  return {
    call: [
      `select public.${rpc}(${endpoint ? '$1, $2' : '$1'}) as outcome`,
      endpoint ? [JSON.stringify(request), key] : [JSON.stringify(request)],
    ],
    locks: [...first, ...locks, ...(await head(therapist(0)))],
  };
}

const situations: Record<string, () => Promise<Situation>> = {
  'a hold': async () => {
    await book(holdOf(therapist(0), client(0), at(day, 900)));
    return keyed(
      'hold_sessions',
      holdOf(therapist(0), client(0), at(day, 600)),
      await resources(therapist(0), client(0)),
    );
  },
  'a hold of a place in a group': async () => {
    const [{ group_id } = { group_id: '' }] = await bookGroup();
    const request = { ...holdOf(therapist(0), client(2), at(day, 600)), group_id, ...ofGroup };
    return keyed('hold_sessions', request, [group(group_id), ...(await resources(therapist(0), client(2)))]);
  },
  'a hold that moves a session': async () => {
    const [{ id } = { id: '' }] = await book(holdOf(therapist(0), client(0), at(day, 600)));
    const request = holdOf(therapist(0), client(0), at(day, 900), { session_id: id });
    return keyed('hold_sessions', request, [...sessions(id), ...(await resources(therapist(0), client(0)))]);
  },
  'a hold that moves a group': async () => {
    const members = await bookGroup();
    const request = holdOf(therapist(0), client(0), at(day, 900), { session_id: members[0]?.id });
    return keyed('hold_sessions', request, [
      group(members[0]?.group_id ?? ''),
      ...sessions(...members.map(({ id }) => id)),
      ...(await resources(therapist(0), client(0), client(1))),
    ]);
  },
  'a confirmation': async () => {
    const held = await hold(holdOf(therapist(0), client(0), at(day, 600)));
    return keyed(
      'confirm_sessions',
      confirmationOf(therapist(0), client(0), held.body as Held),
      await resources(therapist(0), client(0)),
    );
  },
  'a confirmation of a place in a group': async () => {
    const [{ group_id } = { group_id: '' }] = await bookGroup();
    const held = await hold({ ...holdOf(therapist(0), client(2), at(day, 600)), group_id, ...ofGroup });
    return keyed('confirm_sessions', confirmationOf(therapist(0), client(2), held.body as Held), [
      group(group_id),
      ...(await resources(therapist(0), client(2))),
    ]);
  },
  'a confirmation that moves a group': async () => {
    const members = await bookGroup();
    const held = await hold(holdOf(therapist(0), client(0), at(day, 900), { session_id: members[0]?.id }));
    return keyed('confirm_sessions', confirmationOf(therapist(0), client(0), held.body as Held), [
      group(members[0]?.group_id ?? ''),
      ...sessions(...members.map(({ id }) => id)),
      ...(await resources(therapist(0), client(0), client(1))),
    ]);
  },
  'a release': async () => {
    const held = await hold(holdOf(therapist(0), client(0), at(day, 600)));
    return keyed(
      'release_hold',
      { hold_key: (held.body as Held).holdKey },
      await resources(therapist(0), client(0)),
    );
  },
  'a cancellation of two sessions': async () => {
    const [one] = await book(holdOf(therapist(0), client(0), at(day, 600)));
    const [other] = await book(holdOf(therapist(0), client(1), at(day, 700)));
    const ids = [one?.id ?? '', other?.id ?? ''];
    return keyed('cancel_sessions', { session_ids: ids.toSorted().reverse() }, [
      ...sessions(...ids),
      ...(await resources(therapist(0), client(0), client(1))),
    ]);
  },
  'a move of a group in one call': async () => {
    const members = await bookGroup();
    const { group_id } = nth(members, 0);
    return keyed('move_group', { group_id, ...at(day, 900), time_zone: 'UTC' }, [
      group(group_id),
      ...sessions(...members.map(({ id }) => id)),
      ...(await resources(therapist(0), client(0), client(1))),
    ]);
  },
};

const schema = (table: string) => (table === 'chains' ? 'audit' : 'public');
const rowOf = ([table]: [string, string]) =>
  `select from ${schema(table)}.${table} where organization_id = $1 and ${table === 'chains' ? 'chain_id' : 'id'} = $2 for no key update`;

async function take(actor: Actor, { key, row }: Lock): Promise<void> {
  if (row) await actor.does(rowOf(row), [arena.organizationId, row[1]]);
  else await actor.does('select pg_advisory_xact_lock($1)', [key]);
}

/** Whether nobody has it. */
async function isFree(actor: Actor, { key, row }: Lock): Promise<boolean> {
  await actor.does('begin');
  const ending = await (row
    ? actor.tries(`${rowOf(row)} nowait`, [arena.organizationId, row[1]])
    : actor.tries('select pg_try_advisory_xact_lock($1) as free', [key]));
  await actor.does('rollback');
  if (ending.sqlstate && ending.sqlstate !== '55P03')
    throw new Error(`${ending.sqlstate}: ${ending.message}`);
  return row ? ending.rows !== undefined : ending.rows?.[0].free === true;
}

/** Lets the call wait for each of its locks in turn, in situations of their own. */
async function expectOrder(name: string): Promise<void> {
  const situation = situations[name] as () => Promise<Situation>;
  await inLockStep(
    { holder: 'owner', caller: admin, looker: 'owner' },
    async ({ holder, caller, looker }) => {
      for (let stage = 0, stages = 1; stage < stages; stage++) {
        const { call, locks } = await situation();
        stages = locks.length;
        const lock = nth(locks, stage);
        await holder.does('begin');
        await take(holder, lock);
        const waiting = await caller.waitsFor(holder, ...call).catch((error: Error) => {
          throw new Error(`${lock.name}: ${error.message}`);
        });
        const free: string[] = [];
        for (const each of locks) if (await isFree(looker, each)) free.push(each.name);
        expect(free, `while it waits for ${lock.name}`).toEqual(
          locks.slice(stage + 1).map((each) => each.name),
        );
        await holder.does('rollback');
        expect(await waiting.ends()).toMatchObject({ rows: [{ outcome: { ok: true } }] });
        day += 1;
      }
    },
  );
}

describe('takes its locks in the order that is stated, and waits for each', () => {
  it.each(Object.keys(situations))('%s', expectOrder);
});

describe('an order that is broken fails at once', () => {
  const broken: [what: string, seenBy: string, edits: Edit[], says: RegExp][] = [
    [
      'nobody shares the organization',
      'a hold',
      [['private.share_organization', 'perform pg_advisory_xact_lock_shared', 'perform abs']],
      /did not wait/,
    ],
    [
      'people before the organization',
      'a hold',
      [
        [
          'private.hold_sessions(private.actor,jsonb,text)',
          'perform private.share_organization',
          'perform private.lock_resources(actor.organization_id, array[wanted.therapist_id]);\n  perform private.share_organization',
        ],
      ],
      /while it waits for the organization/,
    ],
    [
      'people before the key',
      'a release',
      [
        [
          'private.find_replay',
          'perform pg_advisory_xact_lock(',
          `perform private.lock_resources(organization_id, array(
            select id from public.therapists as known where known.organization_id = find_replay.organization_id));
          perform pg_advisory_xact_lock(`,
        ],
      ],
      /while it waits for the idempotency key/,
    ],
    [
      'members before their group',
      'a hold that moves a group',
      [
        [
          'private.lock_moved',
          /\bbegin\b/,
          'begin\n  perform private.lock_sessions(organization_id, session_ids);',
        ],
      ],
      /while it waits for the group/,
    ],
    [
      'people before sessions',
      'a cancellation of two sessions',
      [
        [
          'private.lock_targets',
          /\bbegin\b/,
          `begin
          perform private.lock_resources(organization_id, array(
            select client_id from public.sessions as known where known.id = any (session_ids)));`,
        ],
      ],
      /while it waits for session 1/,
    ],
    [
      'sessions by descending id',
      'a cancellation of two sessions',
      [['private.lock_sessions', 'order by named.id', 'order by named.id desc']],
      /while it waits for session/,
    ],
    [
      'people in descending order',
      'a hold',
      [['private.lock_resources', 'order by key', 'order by key desc']],
      /while it waits for resource/,
    ],
    [
      'a joiner who leaves the group unlocked',
      'a hold of a place in a group',
      [['private.lock_group', /\bbegin\b/, 'begin\n  return;']],
      /did not wait/,
    ],
  ];

  it.each(broken)('%s: %s', async (_what, seenBy, edits, says) => {
    await whileEdited(edits, () => expect(expectOrder(seenBy)).rejects.toThrow(says));
  });
});
