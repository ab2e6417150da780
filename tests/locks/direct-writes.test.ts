/** Rows that are written directly, while somebody books: who waits, and who is told to come again. */
import { beforeAll, describe, expect, it } from 'vitest';
import { type Arena, at, holdOf, nth, openArena, type Window } from '../races/rivals.ts';
import { asUser, type Claims, withConnection } from '../setup/db.ts';
import { inLockStep } from '../setup/lockstep.ts';

let arena: Arena;
let admin: Claims;
beforeAll(async () => {
  arena = await openArena(2, 2);
  admin = { sub: arena.admin, org_id: arena.organizationId };
});

const hold = 'select public.hold_sessions($1) as outcome';
const insert = `insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone)
  values ($1, $2, $3, $4, $5, 'UTC') returning status`;
const name = "select set_config('therapist_sessions.organization', $1, true)";

/** A hold of the first therapist, and a session of the second, who have nothing to do with each other. */
function bookingAndRow(day: number): { booking: [string]; row: unknown[] } {
  const window: Window = at(day, 600);
  return {
    booking: [JSON.stringify(holdOf(nth(arena.therapists, 0), nth(arena.clients, 0), window))],
    row: [
      arena.organizationId,
      nth(arena.therapists, 1),
      nth(arena.clients, 1),
      window.start_time,
      window.end_time,
    ],
  };
}

describe('a row that is written directly', () => {
  it('waits for a booking of its organization, when its writer is a user', async () => {
    const { booking, row } = bookingAndRow(1);
    await inLockStep({ booker: admin, writer: admin }, async ({ booker, writer }) => {
      await booker.does('begin');
      await booker.does(hold, booking);
      const waiting = await writer.waitsFor(booker, insert, row);
      expect(waiting.on).toBe('advisory');
      await booker.does('commit');
      expect(await waiting.ends()).toEqual({ rows: [{ status: 'scheduled' }] });
    });
  });

  it('waits for a booking of the organization that its writer without a token has named', async () => {
    const { booking, row } = bookingAndRow(2);
    await inLockStep({ booker: admin, writer: 'service_role' }, async ({ booker, writer }) => {
      await booker.does('begin');
      await booker.does(hold, booking);
      await writer.does('begin');
      await writer.does(name, [arena.organizationId]);
      const waiting = await writer.waitsFor(booker, insert, row);
      expect(waiting.on).toBe('advisory');
      await booker.does('commit');
      expect(await waiting.ends()).toEqual({ rows: [{ status: 'scheduled' }] });
      await writer.does('commit');
    });
  });

  it('makes a booking wait until it has committed', async () => {
    const { booking, row } = bookingAndRow(3);
    await inLockStep({ booker: admin, writer: 'owner' }, async ({ booker, writer }) => {
      await writer.does('begin');
      await writer.does(name, [arena.organizationId]);
      await writer.does(insert, row);
      const waiting = await booker.waitsFor(writer, hold, booking);
      await writer.does('commit');
      expect(await waiting.ends()).toMatchObject({ rows: [{ outcome: { ok: true } }] });
    });
  });

  it('is to be repeated, when its writer has neither a token nor named the organization, and somebody books', async () => {
    const { booking, row } = bookingAndRow(4);
    await withConnection(async (booker) => {
      await booker.query('begin');
      await asUser(booker, admin);
      await booker.query(hold, booking);
      await withConnection(async (writer) => {
        await expect(writer.query(insert, row)).rejects.toMatchObject({
          code: 'PT503',
          hint: expect.stringContaining('therapist_sessions.organization'),
        });
        await booker.query('commit');
        const { rows } = await writer.query(insert, row);
        expect(rows).toEqual([{ status: 'scheduled' }]);
      });
    });
  });

  it('is given up by a writer without a name, and no booking that waits beside takes that for its own deadlock', async () => {
    const { booking, row } = bookingAndRow(6);
    const set = (to: string) =>
      `update public.sessions set session_type = '${to}' where id = $1 returning session_type`;
    await inLockStep(
      { first: 'owner', user: admin, booker: 'owner', nameless: 'service_role' },
      async ({ first, user, booker, nameless }) => {
        const [session] = await first.does(`${insert}, id`, row);
        const id = [session.id];
        // The booker looks for a deadlock while the user, who has the organization, waits for the nameless writer's row.
        await booker.does("set deadlock_timeout = '300ms'");
        await booker.does(
          "select set_config('request.jwt.claims', $1, false), set_config('role', 'authenticated', false)",
          [JSON.stringify({ role: 'authenticated', ...admin })],
        );
        await first.does('begin');
        await first.does('select private.take_organization($1)', [arena.organizationId]);
        const updating = await user.waitsFor(first, set('user'), id);
        const holding = await booker.waitsFor(first, hold, booking);
        const giving = nameless.tries(set('nameless'), id);
        // Until it has the row, or has given way already, on a machine that is busy.
        let gaveWay = false;
        void giving.then(() => {
          gaveWay = true;
        });
        for (let free = [{}]; free.length > 0 && !gaveWay; ) {
          await first.does('savepoint look');
          free = await first.does('select from public.sessions where id = $1 for update skip locked', id);
          await first.does('rollback to savepoint look');
        }
        await first.does('commit');
        expect(await giving).toMatchObject({ sqlstate: 'PT503' });
        expect(await updating.ends()).toEqual({ rows: [{ session_type: 'user' }] });
        expect(await holding.ends()).toMatchObject({ rows: [{ outcome: { ok: true } }] });
      },
    );
  });

  it.each(['repeatable read', 'serializable'])('is refused in %s, and so is a booking', async (isolation) => {
    const { booking, row } = bookingAndRow(5);
    await withConnection(async (client) => {
      await client.query(`begin isolation level ${isolation}`);
      await expect(client.query(insert, row)).rejects.toMatchObject({ code: '25000' });
      await client.query('rollback');
      await client.query(`begin isolation level ${isolation}`);
      await asUser(client, admin);
      await expect(client.query(hold, booking)).rejects.toMatchObject({ code: 'PT400' });
      await client.query('rollback');
    });
  });
});
