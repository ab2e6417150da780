/** What is timed: the booking RPCs, and the floor below them. */
import type pg from 'pg';
import { adminId, clientId, organizationId, SIZE, therapistId } from './clinic.ts';
import type { Operation } from './measure.ts';

const MINUTE = 60_000;
/** Evenings: calendars are full from 08:00 to 16:00. Midnight UTC two weeks from now. */
const firstEvening = Math.ceil(Date.now() / 86_400_000 + 14) * 86_400_000 + 17 * 60 * MINUTE;

/** Makes a connection act as the admin of the organization a therapist belongs to. */
export function actAsAdminOf(organization: number): (client: pg.Client) => Promise<unknown> {
  return (client) =>
    client.query("select set_config('request.jwt.claims', $1, false)", [
      JSON.stringify({
        sub: adminId(organization),
        org_id: organizationId(organization),
        role: 'authenticated',
      }),
    ]);
}

/** The nth of many free half hours: therapists of one organization in turn, then the next evening slot. */
export function freeSlot(call: number, organization = 0): { therapist: number; start: Date; end: Date } {
  const perOrganization = SIZE.therapists / SIZE.organizations;
  const therapist = organization + SIZE.organizations * (call % perOrganization);
  const slot = Math.floor(call / perOrganization);
  const start = firstEvening + Math.floor(slot / 12) * 86_400_000 + (slot % 12) * 30 * MINUTE;
  return { therapist, start: new Date(start), end: new Date(start + 30 * MINUTE) };
}

/** Body of sessions-hold for a slot; with `occurrences` > 1 a weekly series from there. */
export function holdRequest(
  slot: ReturnType<typeof freeSlot>,
  occurrences = 1,
  stepDays = 7,
): Record<string, unknown> {
  const window = (index: number) => ({
    start_time: new Date(slot.start.getTime() + index * stepDays * 86_400_000).toISOString(),
    end_time: new Date(slot.end.getTime() + index * stepDays * 86_400_000).toISOString(),
    start_time_offset_minutes: 0,
    end_time_offset_minutes: 0,
  });
  return {
    therapist_id: therapistId(slot.therapist),
    client_id: clientId(slot.therapist, 0),
    time_zone: 'UTC',
    ...window(0),
    ...(occurrences > 1
      ? { occurrences: Array.from({ length: occurrences }, (_, index) => window(index)) }
      : {}),
  };
}

const expectOk = (outcome: { ok: boolean; code?: string }): void => {
  if (!outcome.ok) throw new Error(`refused: ${outcome.code}`);
};

/** hold_sessions for one slot. */
export const hold: Operation = async (client, call) => {
  const { rows } = await client.query({
    name: 'hold',
    text: 'select public.hold_sessions($1) as outcome',
    values: [holdRequest(freeSlot(call))],
  });
  expectOk(rows[0].outcome);
  return rows[0].outcome.body;
};

/** Body of sessions-confirm for a single hold. */
export function confirmRequest(slot: ReturnType<typeof freeSlot>, holdKey: string): Record<string, unknown> {
  return {
    hold_key: holdKey,
    time_zone: 'UTC',
    start_time_offset_minutes: 0,
    end_time_offset_minutes: 0,
    session: {
      therapist_id: therapistId(slot.therapist),
      client_id: clientId(slot.therapist, 0),
      start_time: slot.start.toISOString(),
      end_time: slot.end.toISOString(),
    },
  };
}

/** hold_sessions, then confirm_sessions. */
export const holdAndConfirm: Operation = async (client, call) => {
  const held = (await hold(client, call)) as { holdKey: string };
  const { rows } = await client.query({
    name: 'confirm',
    text: 'select public.confirm_sessions($1) as outcome',
    values: [confirmRequest(freeSlot(call), held.holdKey)],
  });
  expectOk(rows[0].outcome);
  return rows[0].outcome.body.session.id as string;
};

/** hold, confirm, then cancel_sessions. */
export const holdConfirmCancel: Operation = async (client, call) => {
  const id = await holdAndConfirm(client, call);
  const { rows } = await client.query({
    name: 'cancel',
    text: 'select public.cancel_sessions($1) as outcome',
    values: [{ session_ids: [id] }],
  });
  expectOk(rows[0].outcome);
};

/**
 * The floor: one statement, one transaction, that writes the rows of a hold (batch, hold, two claims, audit event) and
 * nothing else. Their constraints, foreign keys and triggers run as in the RPC; no check, no lock, no answer.
 */
export const floor: Operation = async (client, call) => {
  const slot = freeSlot(call);
  await client.query({
    name: 'floor',
    text: `
      with batch as (
        insert into public.hold_batches (
          organization_id, therapist_id, client_id, time_zone, expires_at, created_by, created_at
        )
        values ($1, $2, $3, 'UTC', now() + interval '5 minutes', $4, now())
        returning id
      ),
      held as (
        insert into public.session_holds (
          organization_id, batch_id, occurrence_index, start_time, end_time, time_zone
        )
        select $1, batch.id, 0, $5, $6, 'UTC' from batch
        returning id
      ),
      claimed as (
        insert into private.claims (
          organization_id, owner_id, resource_kind, resource_id, during, group_key, expires_at
        )
        select $1, held.id, claim.kind, claim.id, tstzrange($5, $6), held.id, now() + interval '5 minutes'
        from held
        cross join (values ('therapist'::public.resource_kind, $2::uuid), ('client', $3)) as claim (kind, id)
        on conflict do nothing
      )
      insert into audit.events (
        organization_id, chain_id, occurred_at, actor_user_id, actor_role, action, entity, entity_ids, after, details
      )
      select $1, $2, now(), $4, 'admin', 'hold.acquired', 'hold', array[held.id],
        jsonb_build_object('therapistId', $2, 'clientId', $3, 'occurrences', jsonb_build_array(jsonb_build_array($5, $6))),
        jsonb_build_object('batchId', held.id, 'expiresAt', $6)
      from held`,
    values: [
      organizationId(0),
      therapistId(slot.therapist),
      clientId(slot.therapist, 0),
      adminId(0),
      slot.start,
      slot.end,
    ],
  });
};

/** One row into the exclusion-constrained table: the constraint's own limit. */
export const bareInsert: Operation = async (client, call) => {
  const slot = freeSlot(call);
  await client.query({
    name: 'bare',
    text: `
      insert into private.claims (organization_id, owner_id, resource_kind, resource_id, during, group_key, expires_at)
      values ($1, gen_random_uuid(), 'therapist', $2, tstzrange($3, $4), gen_random_uuid(), now() + interval '5 minutes')
      on conflict do nothing`,
    values: [organizationId(0), therapistId(slot.therapist), slot.start, slot.end],
  });
};

/**
 * Holds in which every connection books a therapist of its own: `spread` puts each in an organization of her own, else
 * all work for the first. What the audit's chains cost between them shows in the difference.
 */
export function ownTherapist(spread: boolean): {
  prepare: (client: pg.Client) => Promise<unknown>;
  run: Operation;
} {
  const numbers = new WeakMap<pg.Client, number>();
  let next = 0;
  let calls = 0;
  return {
    prepare: (client) => {
      const number = next++ % SIZE.organizations;
      numbers.set(client, number);
      return actAsAdminOf(spread ? number : 0)(client);
    },
    run: async (client) => {
      const number = numbers.get(client) ?? 0;
      const slot = freeSlot(calls++ * (SIZE.therapists / SIZE.organizations));
      // At night, when nobody else here books; the ninth therapist from the last is the one who works apart.
      const fromLast = spread ? 9 : 1 + number;
      const therapist = SIZE.therapists - SIZE.organizations * fromLast + (spread ? number : 0);
      const night = {
        start: new Date(slot.start.getTime() - 16 * 60 * MINUTE),
        end: new Date(slot.end.getTime() - 16 * 60 * MINUTE),
      };
      const { rows } = await client.query({
        name: 'own',
        text: 'select public.hold_sessions($1) as outcome',
        values: [holdRequest({ ...night, therapist })],
      });
      expectOk(rows[0].outcome);
    },
  };
}
