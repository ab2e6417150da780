/** Forty visits that cannot all have happened are completed at once, or one is corrected, each over a connection of its own. */
import { randomUUID } from 'node:crypto';
import { expect, it } from 'vitest';
import { withConnection } from '../setup/db.ts';
import { brokenInvariants } from '../setup/invariants.ts';
import { signNotes } from '../setup/signing.ts';
import { type Arena, type Attempt, nth, openArena, type Result, race, tally } from './rivals.ts';

const rivals = 40;
const everyone = Array.from({ length: rivals }, (_, index) => index);
const hour = 3_600_000;
/** Some days ago, on a whole hour. */
const past = Math.floor(Date.now() / hour) * hour - 10 * 24 * hour;
/** When they say they really were: an hour each, seven minutes apart. */
const actual = (index: number) => ({
  actual_start_time: new Date(past + index * 7 * 60_000).toISOString(),
  actual_end_time: new Date(past + index * 7 * 60_000 + hour).toISOString(),
});

interface Visits {
  readonly arena: Arena;
  readonly ids: string[];
}

/** Forty sessions in progress, booked for different hours, over in the times they say, with their notes signed. */
async function openVisits(therapists: number, clients: number): Promise<Visits> {
  const arena = await openArena(therapists, clients);
  const ids = everyone.map(() => randomUUID());
  await withConnection(async (db) => {
    await db.query(
      `insert into public.sessions (organization_id, id, therapist_id, client_id, start_time, end_time, time_zone, cpt_code, location_type)
      select $1, made.id, made.therapist_id, made.client_id, $5::timestamptz + made.index * interval '1 hour',
        $5::timestamptz + (made.index + 1) * interval '1 hour', 'UTC', '97153', 'clinic'
      from unnest($2::uuid[], $3::uuid[], $4::uuid[]) with ordinality as made (id, therapist_id, client_id, index)`,
      [
        arena.organizationId,
        ids,
        everyone.map((index) => nth(arena.therapists, index)),
        everyone.map((index) => nth(arena.clients, index)),
        new Date(past - 60 * hour),
      ],
    );
    await db.query("update public.sessions set status = 'in_progress' where organization_id = $1", [
      arena.organizationId,
    ]);
    await db.query(
      `insert into public.session_visits (organization_id, session_id, actual_start_time, actual_end_time, other_day_reason)
      select $1, made.*, 'documented late' from unnest($2::uuid[], $3::timestamptz[], $4::timestamptz[]) as made`,
      [
        arena.organizationId,
        ids,
        everyone.map((index) => actual(index).actual_start_time),
        everyone.map((index) => actual(index).actual_end_time),
      ],
    );
    await signNotes(db, arena.organizationId, ids);
  });
  return { arena, ids };
}

const completing = ({ ids }: Visits, index: number): Attempt => ({
  sql: 'select public.complete_session($1) as outcome',
  values: [JSON.stringify({ session_id: nth(ids, index), other_day_reason: 'documented late' })],
});

/** Lets all of them go at once. Those whom a busy machine answers 503 ask again, as the library does. */
async function complete(visits: Visits, attempt: (index: number) => Attempt): Promise<Result[]> {
  const results = await race(visits.arena, everyone.map(attempt));
  for (;;) {
    const busy = everyone.filter((index) => nth(results, index).sqlstate === 'PT503');
    if (busy.length === 0) return results;
    const again = await race(visits.arena, busy.map(attempt));
    busy.forEach((index, position) => {
      results[index] = nth(again, position);
    });
  }
}

/** Those that got through: no two overlap, and each of the others overlaps one of them. */
async function expectNoTwoAtOnce(
  { arena, ids }: Visits,
  got = "status = 'completed'",
  ...values: unknown[]
): Promise<void> {
  const done = await withConnection(async (db) => {
    expect(await brokenInvariants(db, arena.organizationId)).toEqual([]);
    const { rows } = await db.query(`select id from public.sessions where organization_id = $1 and ${got}`, [
      arena.organizationId,
      ...values,
    ]);
    return rows.map(({ id }) => ids.indexOf(id));
  });
  const overlap = (one: number, other: number) => one !== other && Math.abs(one - other) * 7 < 60;
  expect(done.length).toBeGreaterThan(0);
  for (const index of everyone)
    expect(done.some((other) => overlap(index, other))).toBe(!done.includes(index));
}

it.each([
  ['one technician says to have treated forty clients', 1, rivals],
  ['forty technicians say to have treated one client', rivals, 1],
])('%s: no two of the visits overlap', { timeout: 240_000 }, async (_, therapists, clients) => {
  const visits = await openVisits(therapists, clients);
  const results = await complete(visits, (index) => completing(visits, index));
  for (const { outcome, sqlstate } of results)
    expect(sqlstate ?? (outcome?.ok ? 'ok' : outcome?.code)).toMatch(/^(ok|VISIT_OVERLAPS)$/);
  await expectNoTwoAtOnce(visits);
});

it('a backend that completes sessions directly meets the same rule', { timeout: 240_000 }, async () => {
  const visits = await openVisits(1, rivals);
  const direct = (index: number) => index % 2 === 0;
  const results = await complete(visits, (index) =>
    direct(index)
      ? {
          sql: "update public.sessions set status = 'completed' where id = $1",
          values: [nth(visits.ids, index)],
          role: 'service_role',
        }
      : completing(visits, index),
  );
  for (const { outcome, sqlstate } of results)
    expect(sqlstate ?? (outcome === undefined || outcome.ok ? 'ok' : outcome.code)).toMatch(
      /^(ok|VISIT_OVERLAPS|23P01)$/,
    );
  await expectNoTwoAtOnce(visits);
});

it('forty visits are corrected to one technician at once: no two of theirs overlap', {
  timeout: 240_000,
}, async () => {
  const visits = await openVisits(rivals, rivals);
  const { arena, ids } = visits;
  await withConnection((db) =>
    db.query("update public.sessions set status = 'completed' where organization_id = $1", [
      arena.organizationId,
    ]),
  );
  const [technician] = arena.therapists;
  const results = await complete(visits, (index) => ({
    sql: 'select public.correct_visit($1) as outcome',
    values: [
      JSON.stringify({
        ...{ session_id: nth(ids, index), base_version: 1, reason_code: 'wrong_people' },
        // The one that is theirs already is corrected to where it took place.
        ...(index === 0 ? { location_type: 'home' } : { therapist_id: technician }),
      }),
    ],
  }));
  for (const { outcome, sqlstate } of results)
    expect(sqlstate ?? (outcome?.ok ? 'ok' : outcome?.code)).toMatch(/^(ok|VISIT_OVERLAPS)$/);
  await expectNoTwoAtOnce(visits, 'therapist_id = $2', technician);
});

it('forty corrections of one version: one is made, the others are told', { timeout: 240_000 }, async () => {
  const visits = await openVisits(1, rivals);
  const [id] = visits.ids;
  await withConnection((db) =>
    db.query("update public.sessions set status = 'completed' where id = $1", [id]),
  );
  const results = await complete(visits, (index) => ({
    sql: 'select public.correct_visit($1) as outcome',
    values: [
      JSON.stringify({
        ...{
          session_id: id,
          base_version: 1,
          reason_code: 'wrong_time',
          other_day_reason: 'documented late',
        },
        actual_end_time: new Date(past + (index + 1) * 60_000).toISOString(),
      }),
    ],
  }));
  expect(tally(results)).toEqual({ ok: 1, VISIT_VERSION_CONFLICT: rivals - 1 });
  const { rows } = await withConnection((db) =>
    db.query('select version from public.visit_versions where session_id = $1', [id]),
  );
  expect(rows).toEqual([{ version: 1 }]);
});
