/** Freed slots, and who is offered them when several are offered, let go and confirmed at once: none is ever lost. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
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
import { type Claims, connectAs, withConnection } from '../setup/db.ts';
import { brokenInvariants } from '../setup/invariants.ts';
import { inLockStep } from '../setup/lockstep.ts';

let arena: Arena;
let admin: Claims;
beforeEach(async () => {
  arena = await openArena(2, 4);
  admin = { sub: arena.admin, org_id: arena.organizationId };
  await withConnection((client) =>
    client.query(
      `insert into public.caseloads (organization_id, therapist_id, client_id)
        select $1, therapist, client from unnest($2::uuid[]) as therapist, unnest($3::uuid[]) as client`,
      [arena.organizationId, arena.therapists, arena.clients],
    ),
  );
});
afterEach(async () => {
  expect(await withConnection((client) => brokenInvariants(client, arena.organizationId))).toEqual([]);
});

const offer = 'select public.offer_freed_slots() as outcome';
const release = 'select public.release_hold($1) as outcome';
const confirm = 'select public.confirm_sessions($1) as outcome';

const therapist = (index: number) => nth(arena.therapists, index);
const client = (index: number) => nth(arena.clients, index);

/** Books the hour of a day, and cancels it once somebody waits: the slot is in the queue. */
async function free(day: number, of = therapist(0), minute = 600): Promise<void> {
  const held = await alone(arena, holding(holdOf(of, client(3), at(day, minute))));
  const booked = await alone(arena, confirming(confirmationOf(of, client(3), held.body)));
  await alone(arena, cancelling([booked.body.session.id]));
}

/** Puts a client on the list, for any time; the first who is put there is asked first. */
async function wait(who: string): Promise<void> {
  await withConnection((connection) =>
    connection.query(
      `insert into public.waitlist_entries (organization_id, client_id, cpt_code, windows)
        values ($1, $2, '97153', tstzmultirange(tstzrange(now(), now() + interval '700 days')))`,
      [arena.organizationId, who],
    ),
  );
}

interface Offered {
  client: string;
  therapist: string;
  start: string;
  key: string;
}

/** The offers that live. */
async function offers(): Promise<Offered[]> {
  return withConnection(async (connection) => {
    const { rows } = await connection.query<Offered>(
      `select hold.client_id as client, batch.therapist_id as therapist, batch.hold_key as key,
          private.iso(hold.start_time) as start
        from public.waitlist_entries as entry
        join public.hold_batches as batch
          on batch.organization_id = entry.organization_id and batch.id = entry.offered_batch_id
        join public.session_holds as hold on hold.organization_id = batch.organization_id and hold.batch_id = batch.id
        where entry.organization_id = $1 and entry.state = 'offered' and hold.status = 'held'
        order by hold.start_time`,
      [arena.organizationId],
    );
    return rows;
  });
}

/** Offers until nothing is pending, as the functions do once they have answered. */
async function offerAll(): Promise<void> {
  for (let pending = 1; pending > 0; ) {
    const outcome = await alone(arena, { sql: offer, values: [] });
    pending = (outcome as unknown as { pending: number }).pending;
  }
}

describe('two slots are offered at once, and only one client waits', () => {
  it('when the first offer is refused, the second slot is the one they get', async () => {
    await wait(client(0));
    await free(1);
    await free(2);
    // What keeps the client from the first slot: a session with somebody else.
    const held = await alone(arena, holding(holdOf(therapist(1), client(0), at(1, 600))));
    await alone(arena, confirming(confirmationOf(therapist(1), client(0), held.body)));
    await inLockStep({ first: admin, second: admin }, async ({ first, second }) => {
      await first.does('begin');
      const [refused] = (await first.does(offer)) as [{ outcome: { offered: boolean } }];
      expect(refused.outcome.offered).toBe(false);
      const waiting = await second.waitsFor(first, offer);
      await first.does('commit');
      expect(await waiting.ends()).toMatchObject({ rows: [{ outcome: { offered: true } }] });
    });
    await offerAll();
    expect(await offers()).toMatchObject([{ client: client(0), start: at(2, 600).start_time }]);
  });

  it('when the first offer is undone, both slots are still there', async () => {
    await wait(client(0));
    await free(1);
    await free(2);
    await inLockStep({ first: admin, second: admin }, async ({ first, second }) => {
      await first.does('begin');
      await first.does(offer);
      const waiting = await second.waitsFor(first, offer);
      await first.does('rollback');
      expect(await waiting.ends()).toMatchObject({ rows: [{ outcome: { offered: true } }] });
    });
    await wait(client(1));
    await offerAll();
    expect((await offers()).map(({ start }) => start)).toEqual([
      at(1, 600).start_time,
      at(2, 600).start_time,
    ]);
  });

  it('when they let the first go, the second is offered to them at once', async () => {
    await wait(client(0));
    await free(1);
    await free(2);
    await inLockStep({ first: admin, second: admin }, async ({ first, second }) => {
      await first.does('begin');
      await first.does(offer);
      const waiting = await second.waitsFor(first, offer);
      await first.does('commit');
      expect(await waiting.ends()).toMatchObject({ rows: [{ outcome: { offered: false, pending: 0 } }] });
    });
    const [first] = await offers();
    expect(first?.start).toBe(at(1, 600).start_time);
    const released = await alone(arena, { sql: release, values: [JSON.stringify({ hold_key: first?.key })] });
    expect(released).toMatchObject({ freed: true });
    await offerAll();
    expect(await offers()).toMatchObject([{ client: client(0), start: at(2, 600).start_time }]);
  });
});

describe('somebody lets an offer go while another slot is found to be for them alone', () => {
  it('the offer that is let go first is seen, and the slot goes to them', async () => {
    await wait(client(0));
    await free(1);
    await offerAll();
    await free(2);
    const [held] = await offers();
    await inLockStep({ family: admin, offerer: admin }, async ({ family, offerer }) => {
      await family.does('begin');
      await family.does(release, [JSON.stringify({ hold_key: held?.key })]);
      const waiting = await offerer.waitsFor(family, offer);
      await family.does('commit');
      expect(await waiting.ends()).toMatchObject({ rows: [{ outcome: { offered: false, pending: 2 } }] });
    });
    await offerAll();
    expect(await offers()).toMatchObject([{ client: client(0), start: at(2, 600).start_time }]);
  });

  it('the slot that is put to sleep first is woken by who lets the offer go', async () => {
    await wait(client(0));
    await free(1);
    await offerAll();
    await free(2);
    const [held] = await offers();
    await inLockStep({ family: admin, offerer: admin }, async ({ family, offerer }) => {
      await offerer.does('begin');
      await offerer.does(offer);
      const waiting = await family.waitsFor(offerer, release, [JSON.stringify({ hold_key: held?.key })]);
      await offerer.does('commit');
      expect(await waiting.ends()).toMatchObject({ rows: [{ outcome: { ok: true, freed: true } }] });
    });
    await offerAll();
    expect(await offers()).toMatchObject([{ client: client(0), start: at(2, 600).start_time }]);
  });
});

describe('an offer in its last moment', () => {
  it('is not offered to the next while somebody confirms it', async () => {
    await wait(client(0));
    await wait(client(1));
    await free(1);
    await offerAll();
    const [held] = await offers();
    if (!held) throw new Error('nothing was offered');
    const window = at(1, 600);
    const confirmation = JSON.stringify(
      confirmationOf(held.therapist, held.client, {
        holdKey: held.key,
        holdId: '',
        expiresAt: '',
        holds: [{ holdKey: held.key, holdId: '', startTime: window.start_time, endTime: window.end_time }],
      }),
    );
    await inLockStep({ family: admin, offerer: admin }, async ({ family, offerer }) => {
      await family.does('begin');
      await family.does(confirm, [confirmation]);
      // Its last moment passes, which changes no other row: as an update by hand it would wait for whoever confirms.
      const clock = await connectAs('supabase_admin');
      try {
        await clock.query("set session_replication_role = 'replica'");
        await clock.query(
          `update public.hold_batches set expires_at = clock_timestamp()
            where organization_id = $1 and hold_key = $2`,
          [arena.organizationId, held.key],
        );
      } finally {
        await clock.end();
      }
      const waiting = await offerer.waitsFor(family, offer);
      expect(waiting.on).toBe('advisory');
      await family.does('commit');
      expect(await waiting.ends()).toMatchObject({ rows: [{ outcome: { offered: false } }] });
    });
    await offerAll();
    expect(await offers()).toEqual([]);
    const states = await withConnection((connection) =>
      connection.query(
        'select state from public.waitlist_entries where organization_id = $1 order by created_at',
        [arena.organizationId],
      ),
    );
    expect(states.rows).toEqual([{ state: 'booked' }, { state: 'waiting' }]);
  });
});

describe('a closure is withdrawn while a slot is refused because of it', () => {
  it('the slot is offered', async () => {
    await wait(client(0));
    await free(1);
    const { rows } = await withConnection((connection) =>
      connection.query(
        `insert into public.organization_closures (organization_id, name, starts_at, ends_at)
          values ($1, 'Snow', $2, $3) returning id`,
        [arena.organizationId, at(1, 0).start_time, at(2, 0).start_time],
      ),
    );
    await inLockStep({ admins: admin, offerer: admin }, async ({ admins, offerer }) => {
      await offerer.does('begin');
      await offerer.does(offer);
      const waiting = await admins.waitsFor(
        offerer,
        'delete from public.organization_closures where organization_id = $1 and id = $2 returning name',
        [arena.organizationId, rows[0]?.id],
      );
      await offerer.does('commit');
      expect(await waiting.ends()).toEqual({ rows: [{ name: 'Snow' }] });
    });
    await offerAll();
    expect(await offers()).toMatchObject([{ client: client(0), start: at(1, 600).start_time }]);
  });
});
