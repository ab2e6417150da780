/** Somebody is removed while their direct write waits: no rule is left to policies that judge by the statement's start. */
import { afterEach, beforeEach, expect, it } from 'vitest';
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
beforeEach(async () => {
  arena = await openArena(2, 2);
});
afterEach(async () => {
  expect(await withConnection((db) => brokenInvariants(db, arena.organizationId))).toEqual([]);
});

it('a cancelled session is not revived by its therapist, who was removed meanwhile', async () => {
  const [therapist, client] = [nth(arena.therapists, 0), nth(arena.clients, 0)];
  const held = await alone(arena, holding(holdOf(therapist, client, at(0, 60))));
  const { id } = (await alone(arena, confirming(confirmationOf(therapist, client, held.body)))).body.session;
  const leaver: Claims = { sub: therapist, org_id: arena.organizationId };
  await inLockStep({ clinic: 'owner', leaver }, async ({ clinic, leaver: writer }) => {
    await clinic.does("update public.sessions set status = 'cancelled' where id = $1", [id]);
    await clinic.does('begin');
    await clinic.does('select private.take_organization($1)', [arena.organizationId]);
    await clinic.does('delete from public.memberships where organization_id = $1 and user_id = $2', [
      arena.organizationId,
      therapist,
    ]);
    const writing = await writer.waitsFor(
      clinic,
      "update public.sessions set status = 'in_progress' where id = $1 returning id",
      [id],
    );
    await clinic.does('commit');
    expect(await writing.ends()).toMatchObject({ sqlstate: '42501' });
  });
  const { rows } = await withConnection((db) =>
    db.query('select status from public.sessions where id = $1', [id]),
  );
  expect(rows).toEqual([{ status: 'cancelled' }]);
});
