/**
 * What is offered can be had, and what can be had is offered. Calendars are made at random, in zones whose clocks change
 * that day and in quiet ones: weekly hours, time off, extra hours, closures, sessions and holds, payers whose rules differ
 * by the day, authorizations that end. Then everything that `find_open_slots`, `find_alternatives` and `preview_series` say
 * is tried the long way round: each place of the grid is held, one by one, and let go.
 *
 * 1,500 places; `OFFERED_CASES` for another number, `OFFERED_SEED` for another walk; both are printed. `OFFERED_SHRINK=1`
 * looks for the smallest calendar that fails, for minutes.
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import fc from 'fast-check';
import type pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Arena, nth, openArena } from '../races/rivals.ts';
import { connect } from '../setup/db.ts';

/** How many places are tried with a hold, at least. */
const cases = Number(process.env.OFFERED_CASES ?? 1_500);
const seed = Number(process.env.OFFERED_SEED ?? 20_261_101);
/** How far from a request every start is tried: further off only the function looks. */
const reachHours = 5;
/** How long a stretch is whose open slots are tried, in hours. */
const stretchHours = 6;

let client: pg.Client;
let arena: Arena;
/** Midnight, as an instant, of a day on which clocks change in a zone, and one of a quiet day. */
let days: { zone: string; changing: Date; quiet: Date }[];
/** How often each answer of a hold came, to see that the calendars are neither empty nor full. */
const answers = new Map<string, number>();
const count = (verdicts: (string | null)[]) => {
  for (const verdict of verdicts) if (verdict) answers.set(verdict, (answers.get(verdict) ?? 0) + 1);
};
const tried = () => [...answers.values()].reduce((sum, times) => sum + times, 0);

beforeAll(async () => {
  client = await connect();
  arena = await openArena(2, 3);
  const { rows } = await client.query(
    `select zone, changing, changing + interval '21 days' as quiet
    from (
      select zone, moment::timestamp at time zone zone as changing
      from unnest(array['America/Los_Angeles', 'Australia/Lord_Howe', 'America/Havana', 'Europe/Berlin', 'Pacific/Chatham', 'Atlantic/Azores']) as zone,
        generate_series(current_date::timestamp + interval '40 days', current_date::timestamp + interval '400 days', interval '1 day') as moment
      where (moment + interval '1 day') at time zone zone - moment at time zone zone <> interval '24 hours'
      union all
      select 'Asia/Kolkata', (current_date::timestamp + interval '50 days') at time zone 'Asia/Kolkata'
    ) as change`,
  );
  days = rows;
  const therapists = arena.therapists;
  // They render everything.
  await client.query("update public.therapists set credential = 'BCBA' where id = any ($1)", [therapists]);
  await client.query('insert into public.rooms (organization_id, id, name) values ($1, $1, $2)', [
    arena.organizationId,
    'Room',
  ]);
  await client.query(
    `insert into public.payers (organization_id, id, name) select $1, id, id::text from unnest($2::uuid[]) as id`,
    [arena.organizationId, arena.clients],
  );
  await client.query(
    `insert into public.service_codes (organization_id, code, description, levels, valid_from)
      values ($1, 'H2019', 'The clinic''s own', '{technician,assistant,qhp}', '2020-01-01')`,
    [arena.organizationId],
  );
  // The first payer lets a supervisor in, the second on no day, the third says nothing.
  await client.query(
    `insert into public.payer_concurrency_rules (organization_id, payer_id, first_code, second_code, allowed, valid_from)
      values ($1, $2, '97153', '97155', true, '2020-01-01'), ($1, $3, '97153', '97155', false, '2020-01-01')`,
    [arena.organizationId, nth(arena.clients, 0), nth(arena.clients, 1)],
  );
  await client.query(readFileSync(fileURLToPath(new URL('./offered.sql', import.meta.url)), 'utf8'));
});
afterAll(() => client?.end());

const hours = [
  [],
  [
    ['08:00', '12:00'],
    ['12:00', '17:30'],
  ],
  [['00:00', '24:00']],
  [
    ['00:30', '02:15'],
    ['04:00', '23:00'],
  ],
  [
    ['22:00', '24:00'],
    ['00:00', '03:00'],
  ],
  [
    ['01:00', '02:00'],
    ['02:30', '06:10'],
  ],
] as const;
const weekdays = ['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday'];

const quarter = 15 * 60_000;
/** Quarters from two hours before the midnight; around it more often, where days and payers change. */
const quarters = fc.oneof(
  fc.integer({ min: 0, max: 64 }),
  fc.integer({ min: 3, max: 9 }),
  fc.integer({ min: 9, max: 18 }),
);
const stretch = fc.record({ from: quarters, quarters: fc.integer({ min: 1, max: 7 }) });

const story = fc.record({
  day: fc.nat(),
  isQuiet: fc.constantFrom(false, false, true),
  // Null: the therapist keeps no hours. Else which windows each weekday has.
  week: fc.option(fc.array(fc.constantFrom(0, 1, 2, 2, 3, 4, 5), { minLength: 7, maxLength: 7 }), {
    freq: 1,
  }),
  therapistElsewhere: fc.boolean(),
  exceptions: fc.array(fc.tuple(fc.constantFrom('time_off', 'extra_hours'), stretch), { maxLength: 2 }),
  closure: fc.option(stretch, { freq: 1 }),
  taken: fc.array(
    fc.record({
      ...{ by: fc.constantFrom('therapist', 'client', 'room') },
      ...{ at: stretch, code: fc.constantFrom(null, '97153', '97153', '97155') },
    }),
    { maxLength: 6 },
  ),
  held: fc.option(stretch),
  /** The payer until the day, and the payer from the day on; null: nobody. */
  payers: fc.option(fc.tuple(fc.option(fc.nat({ max: 2 })), fc.option(fc.nat({ max: 2 }))), { freq: 3 }),
  authorization: fc.option(
    fc.record({
      /** Null: of the service that is asked for. */
      code: fc.constantFrom(null, null, null, '97153'),
      units: fc.constantFrom(1, 4, 5, 6, 8, 12, 200),
      from: fc.integer({ min: -9, max: 1 }),
      days: fc.integer({ min: 1, max: 30 }),
    }),
    { freq: 3 },
  ),
  from: quarters,
  offGrid: fc.constantFrom(0, 0, 5),
  minutes: fc.constantFrom(10, 15, 30, 45, 60, 90),
  every: fc.constantFrom(0, 0, 0, 1, 7),
  /** Which date of a series is the day of the calendar. */
  comes: fc.constantFrom(0, 1),
  buffers: fc.constantFrom([0, 0], [0, 0], [10, 20], [0, 45]),
  inRoom: fc.boolean(),
  // The clinic's own service ends on the day.
  service: fc.constantFrom(null, '97153', '97153', '97155', '97155', '97154', 'H2019'),
  /** Where the client and the clinic are, if not where the request says; the date of service is the client's. */
  clientZone: fc.constantFrom(null, null, null, 'Asia/Tokyo'),
  clinicZone: fc.constantFrom(null, null, null, 'America/New_York'),
  isMove: fc.boolean(),
});
type Story = typeof story extends fc.Arbitrary<infer Value> ? Value : never;

/** Makes the calendar of a story, in an open transaction. */
async function make(told: Story) {
  const { zone, changing, quiet } = nth(days, told.day);
  const midnight = told.isQuiet ? quiet : changing;
  const at = (quarters: number) => new Date(midnight.getTime() - 2 * 3_600_000 + quarters * quarter);
  const [therapist, other] = [nth(arena.therapists, 0), nth(arena.therapists, 1)];
  const [person, mate, stranger] = [nth(arena.clients, 0), nth(arena.clients, 1), nth(arena.clients, 2)];
  const { organizationId } = arena;
  await client.query('update public.organizations set time_zone = $2 where id = $1', [
    organizationId,
    told.clinicZone ?? zone,
  ]);
  await client.query('update public.clients set time_zone = $2 where id = $1', [person, told.clientZone]);
  await client.query(
    'update public.service_codes set valid_to = ($2::timestamptz at time zone $3)::date where organization_id = $1',
    [organizationId, midnight, zone],
  );
  const week = told.week?.map((which, at) => [
    weekdays[at],
    nth(hours, which).map(([start, end]) => ({ start, end })),
  ]);
  await client.query('update public.therapists set time_zone = $2, availability_hours = $3 where id = $1', [
    therapist,
    told.therapistElsewhere ? 'America/New_York' : zone,
    week ? JSON.stringify(Object.fromEntries(week)) : null,
  ]);
  for (const [kind, { from, quarters }] of told.exceptions)
    await client.query(
      'insert into public.availability_exceptions (organization_id, therapist_id, kind, starts_at, ends_at) values ($1, $2, $3, $4, $5)',
      [organizationId, therapist, kind, at(from), at(from + quarters)],
    );
  if (told.closure)
    await client.query(
      "insert into public.organization_closures (organization_id, name, starts_at, ends_at) values ($1, 'Closed', $2, $3)",
      [organizationId, at(told.closure.from), at(told.closure.from + told.closure.quarters)],
    );
  const payers = told.payers ?? [null, null];
  for (const [which, [since, until]] of [
    [payers[0], ['-infinity', '-1']],
    [payers[1], ['0', 'infinity']],
  ] as const)
    if (which !== null)
      await client.query(
        `insert into public.client_coverages (organization_id, client_id, payer_id, priority, valid_from, valid_to)
          select $1, $2, $3, 1, case when $5 = '-infinity' then '2020-01-01' else day end, case when $6 = '-1' then day - 1 end
          from (select ($4::timestamptz at time zone $7)::date as day) as changing`,
        [organizationId, person, nth(arena.clients, which), midnight, since, until, zone],
      );
  if (told.authorization)
    await client.query(
      `with granted as (
          insert into public.authorizations (organization_id, client_id, payer_id, approved_units, starts_on, ends_on)
          select $1, $2, $3, $5, day + $8::integer, day + $8::integer + $9::integer
          from (select ($6::timestamptz at time zone $7)::date as day) as changing
          returning organization_id, id
        )
        insert into public.authorization_codes (organization_id, authorization_id, cpt_code)
        select organization_id, id, $4 from granted`,
      [
        ...[
          organizationId,
          person,
          nth(arena.clients, payers[1] ?? payers[0] ?? 0),
          told.authorization.code ?? told.service ?? '97153',
        ],
        ...[told.authorization.units, midnight, zone, told.authorization.from, told.authorization.days],
      ],
    );

  // Sessions in the way, as far as they leave one another alone and units are left for them.
  const book = async (
    pair: string[],
    { from, quarters }: { from: number; quarters: number },
    code: string | null,
    room: string | null,
  ) => {
    await client.query('savepoint before');
    const booking = client.query<{ id: string }>(
      `with way as (select $1::uuid as organization_id, $2::uuid as therapist_id, $3::uuid as client_id, $4::timestamptz as start_time, $5::timestamptz as end_time, $6::text as cpt_code, $7::uuid as room_id)
      insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, cpt_code, room_id, time_zone)
      select *, 'UTC' from way where not exists (
        select 1 from public.sessions as session where session.organization_id = way.organization_id
          and (session.therapist_id = way.therapist_id or session.client_id = way.client_id or session.room_id = way.room_id)
          and session.start_time < way.end_time and session.end_time > way.start_time)
      returning id`,
      [organizationId, ...pair, at(from), at(from + quarters), code, room],
    );
    const { rows } = await booking.catch(async ({ constraint }: pg.DatabaseError) => {
      // Once the admin speaks, what they could not hold they cannot write either.
      expect(['authorization_exceeded', 'outside_availability']).toContain(constraint);
      await client.query('rollback to before');
      return { rows: [] };
    });
    return rows[0]?.id ?? null;
  };
  for (const { by, at: when, code } of told.taken) {
    if (by === 'therapist') await book([therapist, stranger], when, code, null);
    else if (by === 'client') await book([other, person], when, code, null);
    else await book([other, stranger], when, code, organizationId);
  }
  const isGroup = told.service === '97154';
  let sessionId: string | null = null;
  if (told.isMove && !isGroup) {
    sessionId = await book([therapist, person], { from: told.from + 2, quarters: 3 }, told.service, null);
  }
  await client.query("select set_config('request.jwt.claims', $1, true)", [
    JSON.stringify({ sub: arena.admin, role: 'authenticated', org_id: organizationId }),
  ]);
  if (told.held)
    await client.query(
      `select public.hold_sessions(jsonb_build_object('therapist_id', $1::uuid, 'client_id', $2::uuid, 'time_zone', 'UTC', 'override', '{"reason": "Busy"}'::jsonb,
        'occurrences', pg_temp.occurrences(array[$3::timestamptz], $4::timestamptz - $3::timestamptz, 'UTC', null)))`,
      [therapist, stranger, at(told.held.from), at(told.held.from + told.held.quarters)],
    );

  const [before, after] = told.buffers as [number, number];
  const request = {
    ...{ therapist_id: therapist, client_id: person, time_zone: zone, cpt_code: told.service },
    ...{ buffer_before_minutes: before, buffer_after_minutes: after },
    ...(isGroup && { client_ids: [person, mate] }),
    ...(told.inRoom && { room_id: organizationId }),
  };
  const lasts = `${told.minutes} minutes`;
  const first = new Date(at(told.from).getTime() + told.offGrid * 60_000);
  const { rows: wanted } = await client.query(
    `select array(
      select (select min(instant) from pg_temp.instants($1::timestamptz at time zone $2 + make_interval(days => (number - $4::integer) * $3::integer), $2) as instant)
      from generate_series(0, case when $3::integer > 0 then 2 else 0 end) as number) as starts`,
    [first, zone, sessionId ? 0 : told.every, told.comes],
  );
  const starts = wanted[0].starts as (Date | null)[];
  return { zone, at, request, lasts, sessionId, starts: starts.includes(null) ? null : (starts as Date[]) };
}

type Tried = { start: Date; verdict: string; away: number };
const iso = (rows: { start: Date }[]) => rows.map(({ start }) => start.toISOString());

/** Every slot of a stretch is listed exactly when it can be held. */
async function trySlots(told: Story, { zone, at, request, lasts }: Awaited<ReturnType<typeof make>>) {
  const [since, until] = [at(told.from), at(told.from + 4 * stretchHours)];
  const { rows: listed } = await client.query<{ start: Date }>(
    `select start_time as start from public.find_open_slots($1, $2, $3, $4, client_id => $5, room_id => $6, time_zone => $7,
      buffer_before_minutes => $8, buffer_after_minutes => $9, cpt_code => $10, client_ids => $11) order by 1`,
    [
      ...[request.therapist_id, since, until, told.minutes, request.client_id, request.room_id ?? null, zone],
      ...[
        request.buffer_before_minutes,
        request.buffer_after_minutes,
        request.cpt_code,
        request.client_ids ?? null,
      ],
    ],
  );
  const { rows } = await client.query<Tried>('select * from pg_temp.slots($1, $2, $3, $4, $5)', [
    JSON.stringify(request),
    ...[zone, since, until, lasts],
  ]);
  count(rows.map(({ verdict }) => verdict));
  const heldOnly = rows.filter(({ verdict }) => verdict === 'ok');
  const surprising = rows.filter(
    ({ start, verdict }) => (verdict === 'ok') !== iso(listed).includes(start.toISOString()),
  );
  expect(surprising, 'open slots').toEqual([]);
  expect(iso(listed)).toEqual(iso(heldOnly));
}

/** The nearest alternatives are the nearest places that can be held, two of each free stretch. */
async function tryAlternatives({
  zone,
  request,
  lasts,
  sessionId,
  starts,
}: Awaited<ReturnType<typeof make>>) {
  if (!starts) return;
  const { rows } = await client.query<Tried>(
    'select * from pg_temp.moves($1, $2, $3, $4, $5, make_interval(hours => $6))',
    [JSON.stringify(request), starts, zone, lasts, sessionId, reachHours],
  );
  count(rows.map(({ verdict }) => verdict));
  const { rows: asked } = await client.query<{ verdict: string }>(
    "select pg_temp.verdict($1::jsonb || jsonb_build_object('occurrences', pg_temp.occurrences($2, $3, $4, $5))) as verdict",
    [JSON.stringify(request), starts, lasts, zone, sessionId],
  );
  // What is malformed as it was asked for has no alternatives.
  if (asked[0]?.verdict === 'PT400') return;
  const alternatives = async (found: string) =>
    (
      await client.query<Tried>(
        `with asked as (select $1::jsonb || jsonb_build_object('occurrences', pg_temp.occurrences($4, $5, $2, $6)) as request)
        select (item ->> 'startTime')::timestamptz as start, extract(epoch from ((item ->> 'startTime')::timestamptz at time zone $2) - ($3::timestamptz at time zone $2))::integer as away
        from asked, jsonb_array_elements(${found}) with ordinality as element (item, position) order by position`,
        [JSON.stringify(request), zone, starts[0], starts, lasts, sessionId],
      )
    ).rows;
  const all = await alternatives('public.find_alternatives(request)');
  // They are looked for nearby first; that finds what looking everywhere would.
  const everywhere = `private.nearest_alternatives('${arena.organizationId}', private.asked_booking(private.require_actor(), request), '14 days', statement_timestamp())`;
  expect(iso(all)).toEqual(iso(await alternatives(everywhere)));
  const near = all.filter(({ away }) => Math.abs(away) <= reachHours * 3600);
  // A stretch is free where only units are short.
  const free = rows
    .filter(({ verdict }) => verdict === 'ok' || verdict === 'AUTHORIZATION_EXCEEDED')
    .map(({ start }) => start.getTime())
    .sort((a, b) => a - b);
  const stretchOf = new Map<number, number>();
  free.forEach((start, at) => {
    const before = free[at - 1];
    const number = at === 0 ? 0 : (stretchOf.get(before as number) as number);
    stretchOf.set(start, before !== undefined && start - before > quarter ? number + 1 : number);
  });
  const offered = new Map<number, number>();
  const expected = rows.filter(({ start, verdict }) => {
    const number = stretchOf.get(start.getTime());
    if (verdict !== 'ok' || number === undefined || (offered.get(number) ?? 0) >= 2) return false;
    offered.set(number, (offered.get(number) ?? 0) + 1);
    return true;
  });
  expect(iso(near), 'alternatives').toEqual(iso(expected.slice(0, 5)));
}

/** What a preview calls free can be held together, and of the rest nothing can be held but what only lacks units. */
async function tryPreview(
  told: Story,
  { zone, request, lasts, sessionId, starts: wanted }: Awaited<ReturnType<typeof make>>,
) {
  if (!wanted) return;
  const [first] = wanted as [Date];
  // One after the other, so that many places of the calendar are looked at.
  const step =
    Math.ceil((told.minutes + request.buffer_before_minutes + request.buffer_after_minutes) / 15) * quarter;
  const starts = sessionId
    ? wanted
    : Array.from({ length: 8 }, (_, index) => new Date(first.getTime() + index * step));
  const { rows } = await client.query<{
    blocked: (string | null)[] | null;
    together: string | null;
    alone: (string | null)[];
  }>('select * from pg_temp.preview($1, $2, $3, $4, $5)', [
    JSON.stringify(request),
    ...[starts, zone, lasts, sessionId],
  ]);
  const [{ blocked, together, alone }] = rows as [(typeof rows)[number]];
  count([together, ...alone]);
  if (together !== null) expect(together, `free of ${blocked}`).toBe(blocked ? 'ok' : 'PT400');
  expect(
    alone.filter((verdict) => verdict === 'ok'),
    `blocked of ${blocked}`,
  ).toEqual([]);
}

it('what is offered can be had, and what can be had is offered', {
  timeout: cases * 60 + 60_000,
}, async () => {
  let stories = 0;
  const property = fc.asyncProperty(story, async (told) => {
    stories += 1;
    await client.query('begin');
    try {
      const made = await make(told);
      await trySlots(told, made);
      await tryAlternatives(made);
      await tryPreview(told, made);
    } finally {
      await client.query('rollback');
    }
  });
  for (let round = 0; tried() < cases; round += 1)
    await fc.assert(property, { seed: seed + round, numRuns: 10, endOnFailure: !process.env.OFFERED_SHRINK });
  console.log(`${tried()} places in ${stories} calendars, seed ${seed}:`, Object.fromEntries(answers));
  expect([...answers.keys()]).toEqual(
    expect.arrayContaining(['ok', 'THERAPIST_CONFLICT', 'OUTSIDE_AVAILABILITY']),
  );
});
