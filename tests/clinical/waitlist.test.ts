/** However many slots become free at once, one who waits is asked once. */
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
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
  patience,
  race,
  rounds,
} from '../races/rivals.ts';
import { withConnection } from '../setup/db.ts';
import { brokenInvariants } from '../setup/invariants.ts';

const crowd = 20;
let arena: Arena;
let day = 0;

beforeAll(async () => {
  arena = await openArena(crowd, crowd + 2);
  await withConnection((client) =>
    client.query(
      'insert into public.caseloads (organization_id, therapist_id, client_id) select $1, therapist, client from unnest($2::uuid[]) as therapist, unnest($3::uuid[]) as client',
      [arena.organizationId, arena.therapists, arena.clients.slice(crowd)],
    ),
  );
});
afterEach(async () => {
  expect(await withConnection((client) => brokenInvariants(client, arena.organizationId))).toEqual([]);
});

async function book(therapist: string, client: string, minute: number): Promise<string> {
  const held = await alone(arena, holding(holdOf(therapist, client, at(day, minute))));
  const booked = await alone(arena, confirming(confirmationOf(therapist, client, held.body)));
  return booked.body.session.id;
}

/** Puts clients on the list, the first most urgent, and forgets who waited before. */
async function wait(...clients: string[]): Promise<void> {
  await withConnection(async (connection) => {
    await connection.query(
      'update public.waitlist_entries set closed_at = now() where organization_id = $1',
      [arena.organizationId],
    );
    for (const [index, client] of clients.entries())
      await connection.query(
        `insert into public.waitlist_entries (organization_id, client_id, cpt_code, windows, priority)
          values ($1, $2, '97153', tstzmultirange(tstzrange(now(), now() + interval '700 days')), $3)`,
        [arena.organizationId, client, index + 1],
      );
  });
}

/** The clients of the holds that were made for the list since a moment. */
async function offered(since: Date): Promise<string[]> {
  return withConnection(async (connection) => {
    const { rows } = await connection.query(
      `select hold.client_id from public.hold_batches as batch
        join public.session_holds as hold on hold.organization_id = batch.organization_id and hold.batch_id = batch.id
        where batch.organization_id = $1 and batch.created_at > $2
          and exists (select from audit.events as event where event.details ->> 'batchId' = batch.id::text and event.details ? 'waitlistEntryId')`,
      [arena.organizationId, since],
    );
    return rows.map(({ client_id }) => client_id).sort();
  });
}

/** Offers what was freed until nothing is left, as the functions do once they have answered; two callers at once. */
async function offer(): Promise<void> {
  const one = { sql: 'select public.offer_freed_slots() as outcome', values: [] };
  for (let pending = 1; pending > 0; ) {
    const results = await race(arena, [one, one]);
    pending = Math.max(
      ...results.map(({ outcome }) => (outcome as unknown as { pending: number } | null)?.pending ?? 1),
    );
  }
}

describe('twenty cancellations at once', patience, () => {
  it('of one session: its slot goes to the first who waits, once', async () => {
    const waiting = arena.clients.slice(crowd);
    for (let round = 0; round < rounds; round++) {
      day += 1;
      const session = await book(nth(arena.therapists, 0), nth(arena.clients, 0), 600);
      await wait(...waiting);
      const since = new Date();
      await race(
        arena,
        Array.from({ length: crowd }, () => cancelling([session])),
      );
      await offer();
      expect(await offered(since)).toEqual(waiting.slice(0, 1));
    }
  });

  it('of twenty sessions: each who waits is asked once', async () => {
    const waiting = arena.clients.slice(crowd);
    for (let round = 0; round < Math.min(rounds, 3); round++) {
      day += 1;
      const sessions: string[] = [];
      for (const [index, therapist] of arena.therapists.entries())
        sessions.push(await book(therapist, nth(arena.clients, index), 30 * index));
      await wait(...waiting);
      const since = new Date();
      await race(
        arena,
        sessions.map((session) => cancelling([session])),
      );
      await offer();
      expect(await offered(since)).toEqual([...waiting].sort());
    }
  });
});
