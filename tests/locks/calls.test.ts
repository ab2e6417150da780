/**
 * Every function that a user may call and that may write, from the catalog, with the calls of the access matrix: what holds
 * of its transaction, of who may make others wait, and of authority that ends while somebody waits. A new function is
 * covered when the matrix has its call, without which the matrix itself fails.
 */
import pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Stack, startStack } from '../../local/stack.ts';
import type { PersonName } from '../access/expectations.ts';
import { attempt, claims, makeWorld } from '../access/trials.ts';
import { calls, fill, id } from '../access/world.ts';
import { addPeople } from '../setup/clinics.ts';

/** A function, and somebody for whom it does what they ask. */
type Call = { signature: string; statement: string; person: PersonName };

let stack: Stack;
let holder: pg.Client;
let caller: pg.Client;
let pid: number;
const known: Call[] = [];

async function connect(): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: stack.dbUrl });
  await client.connect();
  return client;
}

beforeAll(async () => {
  stack = await startStack({ api: false, seed: false });
  holder = await connect();
  caller = await connect();
  const { rows } = await caller.query('select pg_backend_pid() as pid');
  pid = rows[0].pid;
  await makeWorld(holder);
  // The last super_admin could not be removed.
  await addPeople(holder, [{ id: id('second super'), email: 'second@locks.test' }]);
  await holder.query(
    "insert into public.memberships (organization_id, user_id, role) values ($1, $2, 'super_admin')",
    [id('here'), id('second super')],
  );
  // Types by their full names, as in the matrix.
  await holder.query("begin; set local search_path = ''");
  const { rows: signatures } = await holder.query<{ signature: string }>(
    `select format('public.%s(%s)', proname, (
        select string_agg(format_type(argument.type, null), ',' order by argument.position)
        from unnest(proargtypes::oid[]) with ordinality as argument (type, position)
      )) as signature
      from pg_proc
      where pronamespace = 'public'::regnamespace::oid and provolatile = 'v' and has_function_privilege('authenticated', oid, 'execute')
      order by 1`,
  );
  for (const { signature } of signatures) {
    const template =
      calls[signature]?.call ?? calls[signature.replace(/\bmember_role/, 'public.member_role')]?.call;
    if (template === undefined) throw new Error(`tests/access/world.ts has no call of ${signature}`);
    for (const person of ['therapist', 'admin', 'superAdmin'] as const) {
      const statement = fill(template, 'own', person);
      await holder.query('begin');
      const [outcome] = await attempt(holder, person, [
        { object: signature, command: 'call', scope: 'own', statement },
      ]);
      await holder.query('rollback');
      if (outcome !== 'ok') continue;
      known.push({ signature, statement, person });
      break;
    }
  }
  expect(known.map(({ signature }) => signature)).toEqual(signatures.map(({ signature }) => signature));
}, 240_000);

afterAll(async () => {
  await caller?.end();
  await holder?.end();
  await stack?.stop();
});

/** Becomes somebody until the transaction ends. */
async function become(who: object): Promise<void> {
  await caller.query(
    "select set_config('request.jwt.claims', $1, true), set_config('role', 'authenticated', true)",
    [JSON.stringify({ ...who, role: 'authenticated' })],
  );
}

/** How a call ended: what it answered, or the error. */
async function ending(statement: string): Promise<string> {
  return caller.query(`select (${statement})::text as answer`).then(
    ({ rows }) => rows[0].answer ?? 'nothing',
    ({ code, message }: pg.DatabaseError) => `${code} ${message}`,
  );
}

/** Has the organization alone, and every row of it that a call could want. */
async function holdEverything(): Promise<void> {
  await holder.query('begin');
  await holder.query('select private.take_organization($1)', [id('here')]);
  const { rows } = await holder.query<{ name: string }>(
    `select relation.oid::regclass as name from pg_class as relation
      join pg_attribute on attrelid = relation.oid and attname = 'organization_id' and not attisdropped
      where relnamespace in ('public'::regnamespace, 'private'::regnamespace) and relkind = 'r' order by 1`,
  );
  for (const { name } of rows)
    await holder.query(`select from ${name} where organization_id = $1 for update`, [id('here')]);
}

/** Starts a call, and says whether the holder is waited for. */
async function begin(statement: string): Promise<{ waits: boolean; ends: Promise<string> }> {
  let ended = false;
  const ends = ending(statement).finally(() => {
    ended = true;
  });
  while (!ended) {
    const { rows } = await holder.query('select cardinality(pg_blocking_pids($1)) > 0 as waits', [pid]);
    if (rows[0].waits) return { waits: true, ends };
  }
  return { waits: false, ends };
}

describe('every function that may write', () => {
  it.each(['repeatable read', 'serializable'])(
    'refuses to decide by the old snapshot of %s',
    async (level) => {
      const decided: Record<string, string> = {};
      for (const { signature, statement, person } of known) {
        await caller.query(`begin isolation level ${level}`);
        await become(claims[person]);
        const answer = await ending(statement);
        await caller.query('rollback');
        if (!/^PT400 .*READ COMMITTED/.test(answer)) decided[signature] = answer;
      }
      expect(decided).toEqual({});
    },
  );

  it.each([
    ['a parent', { sub: id('parent'), org_id: id('here') }],
    ['somebody of another clinic', { sub: id('foreign admin'), org_id: id('here') }],
  ])('refuses %s without waiting for a lock', async (_who, who) => {
    const waited: string[] = [];
    for (const { signature, statement } of known) {
      await caller.query('begin');
      await become(who);
      const answer = await ending(statement);
      await caller.query('rollback');
      // What they may do waits like everybody's.
      if (answer === 'ok') continue;
      await holdEverything();
      await caller.query('begin');
      await become(who);
      const { waits, ends } = await begin(statement);
      await holder.query('rollback');
      await ends;
      await caller.query('rollback');
      if (waits) waited.push(signature);
    }
    expect(waited).toEqual([]);
  });

  it('does nothing for somebody whose membership ended while they waited', async () => {
    const done: Record<string, string> = {};
    let waited = 0;
    for (const { signature, statement, person } of known) {
      const { sub } = claims[person];
      const { rows } = await holder.query(
        'select to_jsonb(member) as member from public.memberships as member where organization_id = $1 and user_id = $2',
        [id('here'), sub],
      );
      await holdEverything();
      await caller.query('begin');
      await become(claims[person]);
      const { waits, ends } = await begin(statement);
      if (waits) {
        waited++;
        await holder.query('delete from public.memberships where organization_id = $1 and user_id = $2', [
          id('here'),
          sub,
        ]);
      }
      await holder.query('commit');
      const answer = await ends;
      await caller.query('rollback');
      if (!waits) continue;
      // On a machine that stands still meanwhile they may be told to come again, which does nothing either.
      if (!/FORBIDDEN|^PT403|^PT503/.test(answer)) done[signature] = answer;
      await holder.query(
        'insert into public.memberships select (jsonb_populate_record(null::public.memberships, $1)).*',
        [rows[0].member],
      );
    }
    expect(done).toEqual({});
    // Or the test would prove nothing.
    expect(waited).toBeGreaterThan(8);
  });
});
