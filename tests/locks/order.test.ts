/** Who meets whom on the way to a booking waits their turn: no two of them ever wait for each other. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type Arena,
  alone,
  at,
  confirmationOf,
  confirming,
  type Held,
  holding,
  holdOf,
  nth,
  openArena,
} from '../races/rivals.ts';
import { type Claims, withConnection } from '../setup/db.ts';
import { brokenInvariants } from '../setup/invariants.ts';
import { type Actor, inLockStep } from '../setup/lockstep.ts';

let arena: Arena;
let admin: Claims;
let therapist: string;
let client: string;
beforeEach(async () => {
  arena = await openArena(2, 3);
  admin = { sub: arena.admin, org_id: arena.organizationId };
  therapist = nth(arena.therapists, 0);
  client = nth(arena.clients, 0);
});
afterEach(async () => {
  expect(await withConnection((db) => brokenInvariants(db, arena.organizationId))).toEqual([]);
});

const confirm = 'select public.confirm_sessions($1) as outcome';
const release = 'select public.release_hold($1) as outcome';
const cancel = 'select public.cancel_sessions($1) as outcome';
const write =
  "update public.sessions set location_type = 'home' where organization_id = $1 and id = $2 returning id";

/** A session, and a hold that moves it to the other therapist. */
async function movedSession(): Promise<{ id: string; held: Held; confirmation: string }> {
  const booked = await alone(arena, holding(holdOf(therapist, client, at(1, 600))));
  const { body } = await alone(arena, confirming(confirmationOf(therapist, client, booked.body)));
  const id = body.session.id as string;
  const other = nth(arena.therapists, 1);
  const moved = await alone(arena, holding(holdOf(other, client, at(2, 600), { session_id: id })));
  const held = moved.body as Held;
  return { id, held, confirmation: JSON.stringify(confirmationOf(other, client, held)) };
}

/** The sessions of a group of two. */
async function group(): Promise<[string, string]> {
  const clients = arena.clients.slice(0, 2);
  const booked = await alone(
    arena,
    holding(holdOf(therapist, client, at(1, 600), { client_ids: clients, cpt_code: '97154' })),
  );
  const { body } = await alone(
    arena,
    confirming({ ...confirmationOf(therapist, client, booked.body), cpt: { code: '97154', modifiers: [] } }),
  );
  const [first, second] = body.sessions as { id: string }[];
  return [first?.id ?? '', second?.id ?? ''];
}

/** Says whose rows a backend is about to write. */
async function names(backend: Actor): Promise<void> {
  await backend.does("select set_config('therapist_sessions.organization', $1, false)", [
    arena.organizationId,
  ]);
}

describe('a move that is confirmed, and a backend that writes its session', () => {
  it('the backend waits for the confirmation, and writes the session where it is then', async () => {
    const { id, confirmation } = await movedSession();
    await inLockStep({ booker: admin, backend: 'service_role' }, async ({ booker, backend }) => {
      await names(backend);
      await booker.does('begin');
      expect(await booker.does(confirm, [confirmation])).toMatchObject([{ outcome: { ok: true } }]);
      const waiting = await backend.waitsFor(booker, write, [arena.organizationId, id]);
      expect(waiting.on).toBe('advisory');
      await booker.does('commit');
      expect(await waiting.ends()).toMatchObject({ rows: [{ id }] });
    });
  });

  it('the confirmation waits for the backend, and confirms', async () => {
    const { id, confirmation } = await movedSession();
    await inLockStep({ booker: admin, backend: 'service_role' }, async ({ booker, backend }) => {
      await names(backend);
      await backend.does('begin');
      await backend.does(write, [arena.organizationId, id]);
      const waiting = await booker.waitsFor(backend, confirm, [confirmation]);
      expect(waiting.on).toBe('advisory');
      await backend.does('commit');
      expect(await waiting.ends()).toMatchObject({ rows: [{ outcome: { ok: true } }] });
    });
  });

  it('it waits for a backend that cancels the session too, and says that nothing can be moved any more', async () => {
    const { id, confirmation } = await movedSession();
    await inLockStep({ booker: admin, backend: 'service_role' }, async ({ booker, backend }) => {
      await names(backend);
      await backend.does('begin');
      await backend.does(
        "update public.sessions set status = 'cancelled' where organization_id = $1 and id = $2",
        [arena.organizationId, id],
      );
      const waiting = await booker.waitsFor(backend, confirm, [confirmation]);
      await backend.does('commit');
      expect(await waiting.ends()).toMatchObject({ rows: [{ outcome: { code: 'SESSION_NOT_MOVABLE' } }] });
    });
  });

  it('a backend that has the row already, and has not said whose it is, gives way', async () => {
    const { id, confirmation } = await movedSession();
    await inLockStep({ booker: admin, backend: 'service_role' }, async ({ booker, backend }) => {
      await backend.does('begin');
      await backend.does(
        'select from public.sessions where organization_id = $1 and id = $2 for no key update',
        [arena.organizationId, id],
      );
      const confirmed = await booker.waitsFor(backend, confirm, [confirmation]);
      expect(await backend.tries(write, [arena.organizationId, id])).toMatchObject({ sqlstate: 'PT503' });
      await backend.does('rollback');
      expect(await confirmed.ends()).toMatchObject({ rows: [{ outcome: { ok: true } }] });
    });
  });
});

describe('two backends that write two members of one group, each the other one next', () => {
  it('the second waits for the first from its first statement on', async () => {
    const [one, two] = await group();
    await inLockStep({ first: 'service_role', second: 'service_role' }, async ({ first, second }) => {
      await names(first);
      await names(second);
      await first.does('begin');
      await second.does('begin');
      await first.does(write, [arena.organizationId, one]);
      const waiting = await second.waitsFor(first, write, [arena.organizationId, two]);
      expect(waiting.on).toBe('advisory');
      await first.does(write, [arena.organizationId, two]);
      await first.does('commit');
      expect(await waiting.ends()).toMatchObject({ rows: [{ id: two }] });
      await second.does(write, [arena.organizationId, one]);
      await second.does('commit');
    });
  });

  it('one that has not said whose rows they are gives way', async () => {
    const [one, two] = await group();
    await inLockStep({ first: 'service_role', second: 'service_role' }, async ({ first, second }) => {
      await first.does('begin');
      await first.does(write, [arena.organizationId, one]);
      await second.does('begin');
      expect(await second.tries(write, [arena.organizationId, two])).toMatchObject({ sqlstate: 'PT503' });
      await second.does('rollback');
      await first.does(write, [arena.organizationId, two]);
      await first.does('commit');
    });
  });
});

describe('a move that is let go, and a cancellation of its session', () => {
  it('the cancellation waits for the release', async () => {
    const { id, held } = await movedSession();
    await inLockStep({ booker: admin, canceller: admin }, async ({ booker, canceller }) => {
      await booker.does('begin');
      await booker.does(release, [JSON.stringify({ hold_key: held.holdKey })]);
      const waiting = await canceller.waitsFor(booker, cancel, [JSON.stringify({ session_ids: [id] })]);
      expect(waiting.on).toBe('advisory');
      await booker.does('commit');
      expect(await waiting.ends()).toMatchObject({
        rows: [{ outcome: { body: { summary: { cancelledCount: 1 } } } }],
      });
    });
  });

  it('the release waits for the cancellation, which has let the move go', async () => {
    const { id, held } = await movedSession();
    await inLockStep({ booker: admin, canceller: admin }, async ({ booker, canceller }) => {
      await canceller.does('begin');
      await canceller.does(cancel, [JSON.stringify({ session_ids: [id] })]);
      const waiting = await booker.waitsFor(canceller, release, [JSON.stringify({ hold_key: held.holdKey })]);
      expect(waiting.on).toBe('advisory');
      await canceller.does('commit');
      expect(await waiting.ends()).toMatchObject({ rows: [{ outcome: { body: { released: false } } }] });
    });
  });
});
