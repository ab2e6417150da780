/** The sweepers serve all clinics in one transaction: they wait for none, so that no clinic waits for another through them. */
import { beforeEach, describe, expect, it } from 'vitest';
import {
  type Arena,
  alone,
  at,
  cancelling,
  confirmationOf,
  confirming,
  holding,
  holdOf,
  nth,
  openArena,
} from '../races/rivals.ts';
import { type Claims, withConnection } from '../setup/db.ts';
import { type Actor, inLockStep } from '../setup/lockstep.ts';

let quiet: Arena;
let busy: Arena;
beforeEach(async () => {
  quiet = await openArena(1, 2);
  busy = await openArena(1, 2);
});

const therapistOf = (arena: Arena) => nth(arena.therapists, 0);
const hold = (arena: Arena, client: number, day: number) =>
  alone(arena, holding(holdOf(therapistOf(arena), nth(arena.clients, client), at(day, 600))));

/** A hold that is over, and nobody has seen it. @returns its id */
async function expired(arena: Arena): Promise<string> {
  const { body } = await hold(arena, 0, 1);
  await withConnection((db) =>
    db.query('update public.hold_batches set expires_at = clock_timestamp() where id = $1', [body.holdId]),
  );
  return body.holdId;
}

/** What became of holds, in their order. */
async function states(batches: string[]): Promise<string[]> {
  const { rows } = await withConnection((db) =>
    db.query(
      `select hold.status from unnest($1::uuid[]) with ordinality as asked (id, position)
      join public.session_holds as hold on hold.batch_id = asked.id order by position`,
      [batches],
    ),
  );
  return rows.map(({ status }) => status);
}

/** An hour that was cancelled, which a client of the clinic waits for. */
async function freed(arena: Arena): Promise<void> {
  const [waiting, booked] = [nth(arena.clients, 0), nth(arena.clients, 1)];
  await withConnection(async (db) => {
    await db.query(
      'insert into public.caseloads (organization_id, therapist_id, client_id) select $1, $2, unnest($3::uuid[])',
      [arena.organizationId, therapistOf(arena), arena.clients],
    );
    await db.query(
      `insert into public.waitlist_entries (organization_id, client_id, cpt_code, windows)
      values ($1, $2, '97153', tstzmultirange(tstzrange(now(), now() + interval '700 days')))`,
      [arena.organizationId, waiting],
    );
  });
  const { body } = await hold(arena, 1, 2);
  const { session } = (await alone(arena, confirming(confirmationOf(therapistOf(arena), booked, body)))).body;
  await alone(arena, cancelling([session.id]));
}

/** How many clients of the clinic were offered something. */
async function offersOf(arena: Arena): Promise<number> {
  const { rows } = await withConnection((db) =>
    db.query(
      "select count(*)::integer as offers from public.waitlist_entries where organization_id = $1 and state = 'offered'",
      [arena.organizationId],
    ),
  );
  return rows[0].offers;
}

const inTheWay: Readonly<Record<string, (clinic: Actor) => Promise<unknown>>> = {
  'a bulk write': (clinic) => clinic.does('select private.take_organization($1)', [busy.organizationId]),
  'a booking of the same people': (clinic) =>
    clinic.does('select private.share_organization($1), private.lock_resources($1, array[$2::uuid])', [
      busy.organizationId,
      therapistOf(busy),
    ]),
};

describe.each(Object.entries(inTheWay))('a clinic with %s under way', (_what, stand) => {
  it('is passed over by the sweep of holds, which serves the others', async () => {
    const holds = [await expired(quiet), await expired(busy)];
    const booker: Claims = { sub: quiet.admin, org_id: quiet.organizationId };
    await inLockStep({ clinic: 'owner', sweeper: 'owner', booker }, async ({ clinic, sweeper, booker }) => {
      await clinic.does('begin');
      await stand(clinic);
      const sweep = await sweeper.tries('select private.sweep_expired_holds()');
      expect(sweep.sqlstate).toBeUndefined();
      expect(await states(holds)).toEqual(['expired', 'held']);
      await booker.does('select public.hold_sessions($1)', [
        JSON.stringify(holdOf(therapistOf(quiet), nth(quiet.clients, 0), at(1, 600))),
      ]);
      await clinic.does('commit');
      await sweeper.does('select private.sweep_expired_holds()');
    });
    expect(await states(holds)).toEqual(['expired', 'expired']);
  });

  it('is passed over by the sweep of offers', async () => {
    await freed(quiet);
    await freed(busy);
    await inLockStep({ clinic: 'owner', sweeper: 'owner' }, async ({ clinic, sweeper }) => {
      await clinic.does('begin');
      await stand(clinic);
      const sweep = await sweeper.tries('select private.offer_all_freed_slots()');
      expect(sweep.sqlstate).toBeUndefined();
      expect([await offersOf(quiet), await offersOf(busy)]).toEqual([1, 0]);
      await clinic.does('commit');
      await sweeper.does('select private.offer_all_freed_slots()');
    });
    expect([await offersOf(quiet), await offersOf(busy)]).toEqual([1, 1]);
  });
});

describe('partitions of the audit trail', () => {
  it('are made beside bookings: neither waits for the other', async () => {
    const users = [quiet, busy].map((arena): Claims => ({ sub: arena.admin, org_id: arena.organizationId }));
    const request = (arena: Arena) => [
      JSON.stringify(holdOf(therapistOf(arena), nth(arena.clients, 0), at(1, 600))),
    ];
    await inLockStep(
      { early: users[0] as Claims, late: users[1] as Claims, sweeper: 'owner' },
      async ({ early, late, sweeper }) => {
        await early.does('begin');
        await early.does('select public.hold_sessions($1)', request(quiet));
        await sweeper.does('begin');
        const [made] = await sweeper.does('select audit.ensure_partitions(40) as partitions');
        expect(made.partitions).toBeGreaterThan(0);
        await late.does('select public.hold_sessions($1)', request(busy));
        await early.does('commit');
        await sweeper.does('rollback');
      },
    );
  });

  it('are left for later while somebody reads where they would go', async () => {
    const user: Claims = { sub: quiet.admin, org_id: quiet.organizationId };
    await inLockStep({ reader: user, sweeper: 'owner' }, async ({ reader, sweeper }) => {
      await reader.does('begin');
      await reader.does('select count(*) from audit.events');
      const made = await sweeper.tries('select audit.ensure_partitions(40) as partitions');
      expect(made).toEqual({ rows: [{ partitions: 0 }] });
      await reader.does('commit');
    });
  });
});
