/**
 * Somebody loses what they may do while they wait: no rule is left to policies that judge by the statement's start, and a
 * refusal is recorded.
 */
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

it('an import is refused, and the refusal recorded, of an admin who is a therapist by the time it is their turn', async () => {
  const { organizationId, admin, therapists, clients } = arena;
  const { start_time, end_time } = at(0, 60);
  const row = {
    external_id: 'a',
    therapist_id: nth(therapists, 0),
    client_id: nth(clients, 0),
    time_zone: 'UTC',
  };
  const request = JSON.stringify({ rows: [{ ...row, start_time, end_time }] });
  const importer: Claims = { sub: admin, org_id: organizationId };
  await inLockStep({ clinic: 'owner', importer }, async ({ clinic, importer: caller }) => {
    await clinic.does('begin');
    await clinic.does('select private.take_organization($1)', [organizationId]);
    await clinic.does(
      "update public.memberships set role = 'therapist' where organization_id = $1 and user_id = $2",
      [organizationId, admin],
    );
    const importing = await caller.waitsFor(clinic, 'select public.import_sessions($1) as outcome', [
      request,
    ]);
    await clinic.does('commit');
    expect(await importing.ends()).toMatchObject({
      rows: [{ outcome: { ok: false, status: 403, code: 'FORBIDDEN' } }],
    });
  });
  const { rows } = await withConnection((db) =>
    db.query(
      `select action, code, actor_role, (select count(*)::int from public.sessions where organization_id = $1) as sessions
        from audit.events where organization_id = $1 and action = 'import.refused'`,
      [organizationId],
    ),
  );
  expect(rows).toEqual([
    { action: 'import.refused', code: 'FORBIDDEN', actor_role: 'therapist', sessions: 0 },
  ]);
});
