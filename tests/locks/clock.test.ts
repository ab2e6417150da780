/** The clock is read behind the locks: who has waited acts at the moment the wait is over, not when they asked. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
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
import { inLockStep } from '../setup/lockstep.ts';

let arena: Arena;
let admin: Claims;
beforeEach(async () => {
  arena = await openArena(2, 2);
  admin = { sub: arena.admin, org_id: arena.organizationId };
});
afterEach(async () => {
  expect(await withConnection((db) => brokenInvariants(db, arena.organizationId))).toEqual([]);
});

const therapist = () => nth(arena.therapists, 0);
const client = () => nth(arena.clients, 0);
const hold = () => alone(arena, holding(holdOf(therapist(), client(), at(1, 600))));
const book = async () =>
  (await alone(arena, confirming(confirmationOf(therapist(), client(), (await hold()).body)))).body.session
    .id;

/** A call, and where the moment stands that it acted at. */
interface Call {
  statement: string;
  values: unknown[];
  moment: string;
}

const calls: Readonly<Record<string, () => Promise<Call>>> = {
  'a hold': async () => ({
    statement: 'select public.hold_sessions($1) as outcome',
    values: [JSON.stringify(holdOf(therapist(), client(), at(1, 600)))],
    moment: 'select max(created_at) as moment from public.hold_batches where organization_id = $1',
  }),
  'a confirmation': async () => ({
    statement: 'select public.confirm_sessions($1) as outcome',
    values: [JSON.stringify(confirmationOf(therapist(), client(), (await hold()).body))],
    moment: 'select max(settled_at) as moment from public.session_holds where organization_id = $1',
  }),
  'a move that confirms': async () => {
    const session_id = await book();
    const held = await alone(arena, holding(holdOf(therapist(), client(), at(2, 600), { session_id })));
    return {
      statement: 'select public.confirm_sessions($1) as outcome',
      values: [JSON.stringify(confirmationOf(therapist(), client(), held.body))],
      moment: `select max(settled_at) as moment from public.session_holds where organization_id = $1`,
    };
  },
  'a release': async () => ({
    statement: 'select public.release_hold($1) as outcome',
    values: [JSON.stringify({ hold_key: (await hold()).body.holdKey })],
    moment: 'select max(settled_at) as moment from public.session_holds where organization_id = $1',
  }),
  'a cancellation': async () => ({
    statement: 'select public.cancel_sessions($1) as outcome',
    values: [JSON.stringify({ session_ids: [await book()] })],
    moment: 'select max(cancelled_at) as moment from public.session_cancellations where organization_id = $1',
  }),
};

describe('behind the locks reads the clock:', () => {
  it.each(Object.keys(calls))('%s', async (name) => {
    const call = await calls[name]?.();
    if (!call) throw new Error(name);
    await inLockStep({ keeper: 'owner', caller: admin }, async ({ keeper, caller }) => {
      await keeper.does('begin');
      await keeper.does('select private.lock_resources($1, array[$2::uuid])', [
        arena.organizationId,
        therapist(),
      ]);
      const waiting = await caller.waitsFor(keeper, call.statement, call.values);
      // It has asked, and does not act before this moment.
      const [{ now }] = (await keeper.does('select clock_timestamp()::text as now')) as [{ now: string }];
      await keeper.does('commit');
      expect(await waiting.ends()).toMatchObject({ rows: [{ outcome: { ok: true } }] });
      const late = await withConnection((db) =>
        db.query(`select moment >= $2::timestamptz as is_late from (${call.moment}) as acted`, [
          arena.organizationId,
          now,
        ]),
      );
      expect(late.rows).toEqual([{ is_late: true }]);
    });
  });
});

it('a confirmation that waited goes by the end that an operator has set meanwhile', async () => {
  const held = await hold();
  await inLockStep({ operator: 'owner', caller: admin }, async ({ operator, caller }) => {
    await operator.does('begin');
    await operator.does('select private.lock_resources($1, array[$2::uuid])', [
      arena.organizationId,
      therapist(),
    ]);
    const waiting = await caller.waitsFor(operator, 'select public.confirm_sessions($1) as outcome', [
      JSON.stringify(confirmationOf(therapist(), client(), held.body)),
    ]);
    await operator.does('update public.hold_batches set expires_at = clock_timestamp() where id = $1', [
      held.body.holdId,
    ]);
    await operator.does('commit');
    expect(await waiting.ends()).toMatchObject({ rows: [{ outcome: { code: 'HOLD_EXPIRED' } }] });
  });
});
