/**
 * Alternatives compared with the long way round: every quarter hour near a refused request is tried with a hold. What is
 * offered must be exactly the nearest that can be held. Within hours of a change of clocks a near one may be passed over,
 * but what is offered can be held there too.
 */
import fc from 'fast-check';
import type pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Arena, nth, openArena } from '../races/rivals.ts';
import { connect } from '../setup/db.ts';

const runs = Number(process.env.ALTERNATIVE_RUNS ?? 15);
/** How far from the request every start is tried, in hours: further off only the function looks. */
const reach = 8;

let client: pg.Client;
let arena: Arena;
/** Midnight, as an instant, of a day on which clocks change in the zone of the walk. */
let changes: { zone: string; midnight: Date }[];

beforeAll(async () => {
  client = await connect();
  arena = await openArena(2, 2);
  const { rows } = await client.query(
    `select zone, moment::timestamp at time zone zone as midnight
      from unnest(array['America/Los_Angeles', 'Australia/Lord_Howe', 'America/Havana']) as zone,
        generate_series(current_date::timestamp + interval '40 days', current_date::timestamp + interval '400 days', interval '1 day') as moment
      where (moment + interval '1 day') at time zone zone - moment at time zone zone <> interval '24 hours'`,
  );
  changes = rows;
  await client.query(`
    -- The request with its whole series shifted in civil time; null where that is a time clocks skip.
    create function pg_temp.shifted(request jsonb, shift interval) returns jsonb language sql as $$
      select case when bool_and(start at time zone zone = civil) then request || jsonb_build_object('occurrences', jsonb_agg(jsonb_build_object(
        'start_time', start, 'end_time', start + lasts, 'time_zone', zone,
        'start_time_offset_minutes', (extract(epoch from (start at time zone zone) - (start at time zone 'UTC')) / 60)::integer,
        'end_time_offset_minutes', (extract(epoch from ((start + lasts) at time zone zone) - ((start + lasts) at time zone 'UTC')) / 60)::integer
      ) order by position)) end
      from (
        select position, civil, civil at time zone zone as start, zone, lasts
        from (
          select position, item ->> 'time_zone' as zone, (item ->> 'start_time')::timestamptz at time zone (item ->> 'time_zone') + shift as civil,
            (item ->> 'end_time')::timestamptz - (item ->> 'start_time')::timestamptz as lasts
          from jsonb_array_elements(request -> 'occurrences') with ordinality as element (item, position)
        ) as wanted
      ) as moved $$;
    create function pg_temp.holdable(request jsonb) returns boolean language plpgsql as $$
      declare outcome jsonb;
      begin
        if request is null then return false; end if;
        begin
          outcome := public.hold_sessions(request);
          raise exception using errcode = 'ZZ001';
        exception when sqlstate 'ZZ001' then return (outcome ->> 'ok')::boolean;
        -- A series that a change of clocks would make overlap itself is malformed.
        when sqlstate 'PT400' then return false;
        end;
      end $$`);
});
afterAll(() => client?.end());

const quarter = 15 * 60_000;
/** A stretch of a few hours around the change, in quarters from two hours before its midnight. */
const stretch = fc.record({
  from: fc.integer({ min: 0, max: 60 }),
  quarters: fc.integer({ min: 1, max: 6 }),
  therapist: fc.boolean(),
});

const story = fc.record({
  change: fc.nat(),
  /** Three weeks later, when clocks are quiet. */
  quiet: fc.boolean(),
  taken: fc.array(stretch, { maxLength: 8 }),
  // 0 keeps no hours; else a window of civil time from that hour on.
  opens: fc.constantFrom(0, 0, 1, 2, 6),
  from: fc.integer({ min: 0, max: 50 }),
  minutes: fc.constantFrom(10, 15, 30, 45, 60, 90),
  offGrid: fc.constantFrom(0, 0, 5),
  every: fc.constantFrom(0, 0, 1, 7),
  buffer: fc.constantFrom(0, 0, 20),
});

it('what is offered is exactly the nearest that can be held', { timeout: runs * 30_000 }, async () => {
  await fc.assert(
    fc.asyncProperty(
      story,
      async ({ change, quiet, taken, opens, from, minutes, offGrid, every, buffer }) => {
        const { zone, midnight: changing } = nth(changes, change);
        const midnight = new Date(changing.getTime() + (quiet ? 21 * 86_400_000 : 0));
        const at = (quarters: number) => new Date(midnight.getTime() - 2 * 3_600_000 + quarters * quarter);
        const [therapist, other] = [nth(arena.therapists, 0), nth(arena.therapists, 1)];
        const [person, stranger] = [nth(arena.clients, 0), nth(arena.clients, 1)];
        await client.query('begin');
        try {
          await client.query(
            `update public.therapists set time_zone = $2, availability_hours = case when $3 > 0 then (
            select jsonb_object_agg(day, jsonb_build_array(jsonb_build_object('start', lpad($3::text, 2, '0') || ':00', 'end', lpad(($3 + 9)::text, 2, '0') || ':30')))
            from unnest(array['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday']) as day) end
          where id = $1`,
            [therapist, zone, opens],
          );
          // Sessions in the way: the therapist's with somebody else, or the client's with somebody else.
          for (const each of taken)
            await client.query(
              `with way as (select $1::uuid as organization_id, $2::uuid as therapist_id, $3::uuid as client_id, $4::timestamptz as start_time, $5::timestamptz as end_time)
            insert into public.sessions (organization_id, therapist_id, client_id, start_time, end_time, time_zone)
            select *, 'UTC' from way where not exists (
              select 1 from public.sessions as session where session.organization_id = way.organization_id
                and (session.therapist_id = way.therapist_id or session.client_id = way.client_id)
                and session.start_time < way.end_time and session.end_time > way.start_time)`,
              [
                arena.organizationId,
                ...(each.therapist ? [therapist, stranger] : [other, person]),
                ...[at(each.from), at(each.from + each.quarters)],
              ],
            );
          await client.query("select set_config('request.jwt.claims', $1, true)", [
            JSON.stringify({ sub: arena.admin, role: 'authenticated', org_id: arena.organizationId }),
          ]);
          const start = new Date(at(from).getTime() + offGrid * 60_000);
          const { rows: made } = await client.query(
            `select pg_temp.shifted(jsonb_build_object(
            'therapist_id', $1::uuid, 'client_id', $2::uuid, 'time_zone', $3::text, 'buffer_after_minutes', $7::integer, 'occurrences', (
              select jsonb_agg(jsonb_build_object('time_zone', $3::text,
                'start_time', (($4::timestamptz at time zone $3) + make_interval(days => number * $6::integer)) at time zone $3,
                'end_time', ((($4::timestamptz at time zone $3) + make_interval(days => number * $6::integer)) at time zone $3) + make_interval(mins => $5::integer)))
              from generate_series(0, case when $6::integer > 0 then 2 else 0 end) as number)), '0') as request`,
            [therapist, person, zone, start, minutes, every, buffer],
          );
          const request = made[0].request;
          if (request === null) return;
          const first = request.occurrences[0].start_time as string;

          const { rows: near } = await client.query(
            `select ((civil + shift) at time zone $2) as start
            from (select $3::timestamptz at time zone $2 as civil) as asked,
              generate_series(-$4::integer * 3600 - 900, $4::integer * 3600 + 900, 1) as seconds,
              lateral (select make_interval(secs => seconds) as shift) as candidate
            where extract(epoch from civil + shift)::bigint % 900 = 0 and abs(seconds) <= $4::integer * 3600
              and pg_temp.holdable(pg_temp.shifted($1, shift))
            order by abs(seconds), seconds`,
            [JSON.stringify(request), zone, first, reach],
          );
          const { rows: offered } = await client.query(
            `select (item ->> 'startTime')::timestamptz as start, abs(extract(epoch from
              ((item ->> 'startTime')::timestamptz at time zone $2) - ($3::timestamptz at time zone $2)))::integer as away
            from jsonb_array_elements(public.find_alternatives($1)) with ordinality as element (item, position) order by position`,
            [JSON.stringify(request), zone, first],
          );
          const within = offered.filter(({ away }) => away <= reach * 3600);
          const starts = (rows: { start: Date }[]) => rows.map(({ start: each }) => each.toISOString());
          if (quiet) expect(starts(within)).toEqual(starts(near).slice(0, 5));
          else expect(starts(near).filter((each) => starts(within).includes(each))).toEqual(starts(within));
        } finally {
          await client.query('rollback');
        }
      },
    ),
    { numRuns: runs },
  );
});
