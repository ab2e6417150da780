/**
 * The database's clocks against Temporal's, at every change of clocks of 2026 to 2029 in every zone it accepts: the offset on
 * both sides, both passes of a repeated hour, and where civil times that are repeated or skipped land.
 *
 * The two may have different releases of the zone rules. A zone whose rules differ is left out, and there must be few.
 */
import { Temporal } from 'temporal-polyfill';
import { expect, it } from 'vitest';
import { withConnection } from '../setup/db.ts';

const from = Temporal.Instant.from('2026-01-01T00:00Z');
const until = Temporal.Instant.from('2030-01-01T00:00Z');
const MINUTE = 60_000;

/** A moment and the offset Temporal has for it, in minutes east of UTC. */
interface Moment {
  zone: string;
  instant: number;
  offset: number;
}
/** A civil time and the instant Temporal takes it for: the first of two, or later by the gap. */
interface Civil {
  zone: string;
  civil: string;
  instant: number;
  kind: 'unique' | 'repeated' | 'skipped';
}

function offsetAt(zone: string, instant: number): number {
  return (
    Temporal.Instant.fromEpochMilliseconds(instant).toZonedDateTimeISO(zone).offsetNanoseconds /
    (MINUTE * 1e6)
  );
}

/** When a zone's clocks change, as epoch milliseconds. */
function changesOf(zone: string): number[] {
  const changes: number[] = [];
  for (
    let next = from.toZonedDateTimeISO(zone).getTimeZoneTransition('next');
    next && next.epochMilliseconds < until.epochMilliseconds;
    next = next.getTimeZoneTransition('next')
  ) {
    changes.push(next.epochMilliseconds);
  }
  return changes;
}

/** Moments around a change: its last minute, itself, and quarter by quarter through a repeated stretch, both passes. */
function momentsAround(zone: string, change: number): Moment[] {
  const jump = Math.abs(offsetAt(zone, change) - offsetAt(zone, change - 1));
  const steps = [-jump - 15, -jump, -jump / 2, -1, 0, jump / 2, jump, jump + 15, -1_440, 1_440];
  return steps
    .map((minutes) => change + Math.round(minutes) * MINUTE)
    .map((instant) => ({ zone, instant, offset: offsetAt(zone, instant) }));
}

/** Civil times around a change: the ones it skips or repeats, and those just outside. */
function civilTimesAround(zone: string, change: number): Civil[] {
  const [before, after] = [offsetAt(zone, change - 1), offsetAt(zone, change)];
  const [first, last] = [
    change + Math.min(before, after) * MINUTE,
    change + Math.max(before, after) * MINUTE,
  ];
  const kind = after > before ? 'skipped' : 'repeated';
  const places: [number, Civil['kind']][] = [
    [first - 15 * MINUTE, 'unique'],
    [first, kind],
    [(first + last) / 2, kind],
    [last - MINUTE, kind],
    [last, 'unique'],
    [last + 480 * MINUTE, 'unique'],
  ];
  return places.map(([wall, kind]) => {
    const civil = new Date(wall).toISOString().slice(0, -1);
    const instant = Temporal.PlainDateTime.from(civil).toZonedDateTime(zone).epochMilliseconds;
    return { zone, civil, instant, kind };
  });
}

/** Moments across the four years, close enough together to see rules that only one of the two has. */
function moments(zone: string): Moment[] {
  const all: Moment[] = [];
  for (let at = from.epochMilliseconds; at < until.epochMilliseconds; at += 12 * 86_400_000)
    all.push({ zone, instant: at, offset: offsetAt(zone, at) });
  return all;
}

it('the clocks of all zones change as Temporal says, and civil times land where it says', {
  timeout: 240_000,
}, async () => {
  await withConnection(async (client) => {
    const { rows: zones } = await client.query('select name from public.time_zones order by name');
    const known = zones
      .map(({ name }) => name as string)
      .filter((zone) => {
        try {
          return from.toZonedDateTimeISO(zone) !== undefined;
        } catch {
          return false;
        }
      });
    const changes = known.flatMap((zone) => changesOf(zone).map((change) => ({ zone, change })));
    const probes = [
      ...known.flatMap(moments),
      ...changes.flatMap(({ zone, change }) => momentsAround(zone, change)),
    ];
    const { rows: differing } = await client.query(
      `select distinct probe.zone
       from unnest($1::text[], $2::float8[], $3::float8[]) as probe (zone, instant, "offset")
       where private.zone_offset(to_timestamp(probe.instant / 1000), probe.zone) <> probe."offset"`,
      [probes.map(({ zone }) => zone), probes.map(({ instant }) => instant), probes.map((p) => p.offset)],
    );
    const others = new Set(differing.map(({ zone }) => zone as string));
    expect(others.size + zones.length - known.length, [...others].join(' ')).toBeLessThan(30);

    const civils = changes
      .filter(({ zone }) => !others.has(zone))
      .flatMap(({ zone, change }) => civilTimesAround(zone, change));
    for (const kind of ['unique', 'repeated', 'skipped'] as const)
      expect(civils.filter((civil) => civil.kind === kind).length).toBeGreaterThan(500);
    const { rows: misplaced } = await client.query(
      `select probe.zone, probe.civil, probe.kind, to_timestamp(probe.instant / 1000) as expected,
         private.instant_at(probe.civil::timestamp, probe.zone) as landed
       from unnest($1::text[], $2::text[], $3::float8[], $4::text[]) as probe (zone, civil, instant, kind)
       where private.instant_at(probe.civil::timestamp, probe.zone) <> to_timestamp(probe.instant / 1000)`,
      [
        civils.map(({ zone }) => zone),
        civils.map(({ civil }) => civil),
        civils.map(({ instant }) => instant),
        civils.map(({ kind }) => kind),
      ],
    );
    expect(misplaced).toEqual([]);
  });
});
