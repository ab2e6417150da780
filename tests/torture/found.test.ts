/** Defects met by the torture, or while it was written, each made small; README.md says which was found how. */
import { describe, expect, test } from 'vitest';
import {
  alone,
  at,
  cancelling,
  confirmationOf,
  confirming,
  type Held,
  holding,
  holdOf,
  inserting,
  nth,
  openArena,
  race,
} from '../races/rivals.ts';
import { withConnection } from '../setup/db.ts';

test('a live move confirms, though its session was made longer meanwhile and has more units than the move takes', async () => {
  const arena = await openArena(1, 1);
  const [therapist, client] = [nth(arena.therapists, 0), nth(arena.clients, 0)];
  const { organizationId } = arena;
  await withConnection(async (db) => {
    await db.query(
      "insert into public.payers (organization_id, id, name) values ($1, gen_random_uuid(), 'Payer')",
      [organizationId],
    );
    await db.query(
      `with granted as (
          insert into public.authorizations (organization_id, client_id, payer_id, approved_units, starts_on, ends_on)
          select $1, $2, id, 40, current_date, current_date + 60 from public.payers where organization_id = $1
          returning organization_id, id
        )
        insert into public.authorization_codes (organization_id, authorization_id, cpt_code)
        select organization_id, id, '97153' from granted`,
      [organizationId, client],
    );
    const before = at(1, 480, 30);
    const { rows } = await db.query(
      `insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone)
        values ($1, $2, $3, $4, $5, 'UTC') returning id`,
      [organizationId, therapist, client, before.start_time, before.end_time],
    );
    const moved = await alone(
      arena,
      holding(holdOf(therapist, client, at(1, 720, 60), { session_id: rows[0].id })),
    );
    await db.query('update public.sessions set end_time = $3 where organization_id = $1 and id = $2', [
      organizationId,
      rows[0].id,
      at(1, 480, 120).end_time,
    ]);

    const confirmed = await alone(arena, confirming(confirmationOf(therapist, client, moved.body as Held)));

    expect(confirmed).toMatchObject({ ok: true, status: 200 });
    const { rows: taken } = await db.query(
      'select state, units, total_units from public.authorization_units where organization_id = $1',
      [organizationId],
    );
    expect(taken).toEqual([{ state: 'scheduled', units: 4, total_units: 4 }]);
  });
});

test('a session moves beside another of its client where the payer allows the two services at once', async () => {
  const arena = await openArena(2, 1);
  const client = nth(arena.clients, 0);
  const { organizationId } = arena;
  await withConnection(async (db) => {
    await db.query(
      "insert into public.payers (organization_id, id, name) values ($1, gen_random_uuid(), 'Payer')",
      [organizationId],
    );
    await db.query(
      `with payer as (select id from public.payers where organization_id = $1),
        rule as (
          insert into public.payer_concurrency_rules (organization_id, payer_id, first_code, second_code, allowed, valid_from)
          select $1, id, '97153', '97155', true, '2020-01-01' from payer
        )
        insert into public.client_coverages (organization_id, client_id, payer_id, valid_from)
        select $1, $2, id, '2020-01-01' from payer`,
      [organizationId, client],
    );
    await db.query("update public.therapists set credential = 'BCBA' where organization_id = $1", [
      organizationId,
    ]);
    const write = async (therapist: number, minute: number, code: string) => {
      const { start_time, end_time } = at(1, minute);
      const { rows } = await db.query(
        `insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code)
          values ($1, $2, $3, $4, $5, 'UTC', $6) returning id`,
        [organizationId, nth(arena.therapists, therapist), client, start_time, end_time, code],
      );
      return rows[0].id as string;
    };
    await write(0, 600, '97153');
    const moved = await write(1, 720, '97155');
    const alike = await write(1, 840, '97153');
    const onto = (session: string) =>
      alone(arena, holding(holdOf(nth(arena.therapists, 1), client, at(1, 600), { session_id: session })));

    expect(await onto(alike)).toMatchObject({ ok: false });
    const held = await onto(moved);
    expect(held).toMatchObject({ ok: true });
    // Its own service may be named, another not: units and lanes were taken for the one it has.
    const confirm = (code: string | null) =>
      alone(
        arena,
        confirming({
          ...confirmationOf(nth(arena.therapists, 1), client, held.body as Held),
          ...(code ? { cpt: { code, modifiers: [] } } : {}),
        }),
      );
    expect(await confirm('97153')).toMatchObject({ ok: false, status: 409, code: 'HOLD_MISMATCH' });
    const confirmed = await confirm('97155');
    expect(confirmed).toMatchObject({ ok: true, body: { session: { id: moved, cpt_code: '97155' } } });
  });
});

test('a session moves although an expired move of it and a sibling left a claim on its place', async () => {
  const arena = await openArena(2, 1);
  const [first, second] = [nth(arena.therapists, 0), nth(arena.therapists, 1)];
  const client = nth(arena.clients, 0);
  const { organizationId } = arena;
  await withConnection(async (db) => {
    const write = async (minute: number) => {
      const { start_time, end_time } = at(1, minute);
      const { rows } = await db.query(
        `insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone)
          values ($1, $2, $3, $4, $5, 'UTC') returning id`,
        [organizationId, first, client, start_time, end_time],
      );
      return rows[0].id as string;
    };
    const [moved, sibling] = [await write(600), await write(700)];
    const together = await alone(
      arena,
      holding(
        holdOf(first, client, at(1, 800), {
          occurrences: [
            { ...at(1, 800), session_id: moved },
            { ...at(1, 600), session_id: sibling },
          ],
        }),
      ),
    );
    expect(together).toMatchObject({ ok: true });
    for (const table of ['public.hold_batches', 'private.claims'])
      await db.query(
        `update ${table} set expires_at = clock_timestamp() - interval '1 second' where organization_id = $1 and expires_at is not null`,
        [organizationId],
      );
    // Somebody else meets it on the client only, and writes down that it has expired.
    expect(await alone(arena, holding(holdOf(second, client, at(1, 800))))).toMatchObject({ ok: true });

    expect(
      await alone(arena, holding(holdOf(first, client, at(1, 900), { session_id: moved }))),
    ).toMatchObject({ ok: true });
  });
});

describe('a group', () => {
  const joining = async (minute: number) => {
    const arena = await openArena(1, 4);
    const [therapist, first, second, third, fourth] = [nth(arena.therapists, 0), ...arena.clients];
    const booked = await alone(
      arena,
      holding(
        holdOf(therapist, first ?? '', at(1, minute), {
          ...{ client_ids: [first, second, third], cpt_code: '97154' },
        }),
      ),
    );
    const confirmation = confirmationOf(therapist, first ?? '', booked.body as Held);
    const { sessions } = (await alone(arena, confirming(confirmation))).body;
    return { arena, therapist, groupId: sessions[0].group_id as string, sessions, joiner: fourth ?? '' };
  };
  const moving = (groupId: string, minute: number) => ({
    sql: 'select public.move_group($1) as outcome',
    values: [JSON.stringify({ group_id: groupId, ...at(1, minute), time_zone: 'UTC' })],
  });

  test('does not move away from somebody who holds a place in it: a live hold confirms', async () => {
    const { arena, therapist, groupId, joiner } = await joining(600);
    const held = await alone(
      arena,
      holding(holdOf(therapist, joiner, at(1, 600), { group_id: groupId, cpt_code: '97154' })),
    );

    const refused = await alone(arena, moving(groupId, 900));
    const [written] = await race(arena, [
      {
        sql: 'update public.session_groups set start_time = $2, end_time = $3 where id = $1',
        values: [groupId, at(1, 900).start_time, at(1, 900).end_time],
        role: 'service_role',
      },
    ]);
    const confirmed = await alone(arena, confirming(confirmationOf(therapist, joiner, held.body as Held)));

    expect(refused).toMatchObject({
      ok: false,
      status: 409,
      code: 'THERAPIST_HOLD_CONFLICT',
      retryAfter: (held.body as Held).expiresAt,
    });
    expect(written?.sqlstate).toBe('23514');
    expect(confirmed).toMatchObject({ ok: true, body: { session: { group_id: groupId } } });
    expect(await alone(arena, moving(groupId, 900))).toMatchObject({ ok: true });
  });

  test('is not joined by somebody who is in it: they stand in their own way, and are told so', async () => {
    const { arena, therapist, groupId, sessions } = await joining(600);
    expect(
      await alone(
        arena,
        holding(
          holdOf(therapist, sessions[1].client_id, at(1, 600), { group_id: groupId, cpt_code: '97154' }),
        ),
      ),
    ).toMatchObject({ ok: false, status: 409, code: 'CLIENT_CONFLICT', retryAfter: null });
  });

  test('moves without waiting for a client who has left it', async () => {
    const { arena, groupId, sessions } = await joining(600);
    await alone(arena, cancelling([sessions[2].id]));
    await withConnection(async (other) => {
      await other.query('begin');
      await other.query('select private.lock_resources($1, array[$2::uuid])', [
        arena.organizationId,
        sessions[2].client_id,
      ]);

      expect(await alone(arena, moving(groupId, 900))).toMatchObject({ ok: true });
      await other.query('rollback');
    });
  });
});

test('whoever frees several slots waits for nobody who waits for them: the slots are offered afterwards', async () => {
  const arena = await openArena(1, 3);
  const { organizationId } = arena;
  const [therapist, client] = [nth(arena.therapists, 0), nth(arena.clients, 0)];
  await withConnection(async (db) => {
    await db.query(
      `insert into public.caseloads (organization_id, therapist_id, client_id)
        select $1, $2, client from unnest($3::uuid[]) as client`,
      [organizationId, therapist, arena.clients],
    );
    const [early, late] = [at(1, 600), at(1, 720)];
    // The early slot suits the less urgent only, the late one the most urgent only.
    for (const [waiting, window, priority] of [
      [nth(arena.clients, 1), early, 9],
      [nth(arena.clients, 2), late, 1],
    ] as const)
      await db.query(
        `insert into public.waitlist_entries (organization_id, client_id, cpt_code, windows, priority)
          values ($1, $2, '97153', tstzmultirange(tstzrange($3, $4)), $5)`,
        [organizationId, waiting, window.start_time, window.end_time, priority],
      );
    for (const window of [early, late])
      await race(arena, [inserting(organizationId, therapist, client, window)]);
    const { rows } = await db.query('select id from public.sessions where organization_id = $1', [
      organizationId,
    ]);
    await db.query('begin');
    await db.query('select from public.waitlist_entries where organization_id = $1 for update', [
      organizationId,
    ]);

    const cancelled = await alone(arena, cancelling(rows.map(({ id }) => id)));
    await db.query('commit');

    expect(cancelled).toMatchObject({ ok: true, freed: true, body: { summary: { cancelledCount: 2 } } });
    const offering = { sql: 'select public.offer_freed_slots() as outcome' };
    const offers = [await race(arena, [offering]), await race(arena, [offering])];
    expect(offers.map(([offer]) => offer?.outcome)).toEqual([
      { offered: true, pending: 1 },
      { offered: true, pending: 0 },
    ]);
  });
});
