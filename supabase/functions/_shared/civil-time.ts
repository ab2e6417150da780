/**
 * Civil (wall-clock) time in an IANA time zone, and its way to instants and back.
 *
 * Two kinds of number are used here and never mixed:
 * - an **instant** is milliseconds since 1970-01-01T00:00Z, as `Date.now()` gives;
 * - a **civil** time is what a clock on the wall shows, written as the milliseconds a clock in UTC would have
 *   shown: 10:00 on 5 November 2025 is `Date.UTC(2025, 10, 5, 10)`, whatever the zone.
 *
 * @module
 */
import { toZonedTime } from 'date-fns-tz/toZonedTime';

/** A wall-clock reading, as the milliseconds a clock in UTC would show. See the module comment. */
export type CivilMillis = number;

/** Milliseconds in 24 hours. A civil day is always this long; a real one may have 23 or 25 hours. */
export const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;

/**
 * No zone has changed its clocks twice within 6.9 days since 1970 (Gaza comes nearest; a test looks at all of them),
 * so when both ends of a 5-day block have the same offset, every instant inside has it too.
 */
const BLOCK_MS = 5 * DAY_MS;

/** Longest name of a time zone, in characters. */
export const MAX_ZONE_NAME_LENGTH = 64;
const IANA_NAME = /^[A-Za-z][A-Za-z0-9_+-]+(?:\/[A-Za-z0-9_+-]+)*$/;
const knownZones = new Map<string, boolean>();

/**
 * Whether `name` is an IANA time zone this runtime knows, such as `America/Los_Angeles` or `UTC`.
 * Fixed offsets like `+05:00` are not: they have no daylight saving to be right about.
 *
 * @param name - the zone's name
 * @returns `true` for a known zone
 * @example
 * ```ts
 * isKnownTimeZone('Australia/Lord_Howe'); // true
 * isKnownTimeZone('foo3bar'); // false
 * ```
 */
export function isKnownTimeZone(name: unknown): name is string {
  if (typeof name !== 'string' || name.length > MAX_ZONE_NAME_LENGTH || !IANA_NAME.test(name)) return false;
  let known = knownZones.get(name);
  if (known === undefined) {
    known = !Number.isNaN(toZonedTime(0, name).getTime());
    if (knownZones.size > 2000) knownZones.clear();
    knownZones.set(name, known);
  }
  return known;
}

/**
 * The zone's offset from UTC at an instant, in minutes **east** of UTC: −480 for Los Angeles in winter, 660 for
 * Lord Howe in summer. (`Date.prototype.getTimezoneOffset` has the other sign, and knows the device's zone only.)
 *
 * @param timeZone - an IANA name; see {@link isKnownTimeZone}
 * @param instant - a `Date` or epoch milliseconds
 * @returns whole minutes east of UTC
 * @throws RangeError when the zone is unknown or the instant is not a valid date
 * @example
 * ```ts
 * offsetMinutesAt('America/Los_Angeles', new Date('2025-11-05T18:00:00Z')); // -480
 * ```
 */
export function offsetMinutesAt(timeZone: string, instant: Date | number): number {
  const at = Number(instant);
  assertZone(timeZone);
  if (Number.isNaN(new Date(at).getTime())) throw new RangeError('The instant is not a valid date');
  return Math.trunc(offsetAt(at, timeZone) / MINUTE_MS);
}

/**
 * What the clocks of a zone show at an instant.
 *
 * @param instant - a `Date` or epoch milliseconds
 * @param timeZone - an IANA name
 * @returns the civil time
 * @example
 * ```ts
 * formatCivil(toCivil(new Date('2025-11-05T18:00:00Z'), 'America/Los_Angeles')); // '2025-11-05T10:00:00'
 * ```
 */
export function toCivil(instant: Date | number, timeZone: string): CivilMillis {
  return Number(instant) + offsetAt(Number(instant), timeZone);
}

/** The answer of {@link fromCivil}: an instant and how the civil time relates to the zone's clock changes. */
export interface ResolvedCivilTime {
  /** Epoch milliseconds. */
  readonly instant: number;
  /** The zone's offset at that instant, in milliseconds east of UTC. */
  readonly offsetMs: number;
  /**
   * `unique`: clocks show this time once. `nonexistent`: they skip it, and the instant is later on the wall clock by
   * the length of the gap. `ambiguous`: they show it twice, and the instant is the first of the two.
   */
  readonly kind: 'unique' | 'nonexistent' | 'ambiguous';
}

/**
 * The instant at which a zone's clocks show a civil time.
 *
 * A time the clocks skip moves forward by the gap (02:30 → 03:30 in spring); of a time they show twice, the first
 * instant is taken. That is RFC 5545 §3.3.5 and Temporal's `compatible`.
 *
 * @param civil - the wall-clock time
 * @param timeZone - an IANA name
 * @returns the instant and whether it had to be chosen
 * @example
 * ```ts
 * const { instant, kind } = fromCivil(Date.UTC(2026, 2, 8, 2, 30), 'America/Los_Angeles');
 * new Date(instant).toISOString(); // '2026-03-08T10:30:00.000Z', which is 03:30 there
 * kind; // 'nonexistent'
 * ```
 */
export function fromCivil(civil: CivilMillis, timeZone: string): ResolvedCivilTime {
  // Offsets lie within ±24 h, so the instant sought is between these two, and with it the only change that matters.
  const before = offsetAt(civil - DAY_MS, timeZone);
  const after = offsetAt(civil + DAY_MS, timeZone);
  const withBefore = civil - before;
  if (before === after) return { instant: withBefore, offsetMs: before, kind: 'unique' };

  const withAfter = civil - after;
  const fitsBefore = offsetAt(withBefore, timeZone) === before;
  const fitsAfter = offsetAt(withAfter, timeZone) === after;
  if (fitsBefore && fitsAfter) return { instant: withBefore, offsetMs: before, kind: 'ambiguous' };
  if (fitsBefore) return { instant: withBefore, offsetMs: before, kind: 'unique' };
  if (fitsAfter) return { instant: withAfter, offsetMs: after, kind: 'unique' };
  return { instant: withBefore, offsetMs: after, kind: 'nonexistent' };
}

/**
 * The instants a civil day begins and ends at: 23 or 25 hours apart when clocks change in it.
 *
 * @param date - the day as `YYYY-MM-DD`
 * @param timeZone - an IANA name
 * @returns epoch milliseconds, end exclusive
 * @throws RangeError when the date does not exist or the zone is unknown
 * @example
 * ```ts
 * const { start, end } = civilDayBounds('2025-11-02', 'America/Los_Angeles');
 * (end - start) / 3_600_000; // 25
 * ```
 */
export function civilDayBounds(date: string, timeZone: string): { start: number; end: number } {
  assertZone(timeZone);
  const parsed = parseTemporal(date);
  if (parsed?.kind !== 'date') throw new RangeError(`Not a date: ${date}`);
  // A day whose midnight is skipped begins at the change itself, which is where the skipped midnight lands.
  return {
    start: fromCivil(parsed.civil, timeZone).instant,
    end: fromCivil(parsed.civil + DAY_MS, timeZone).instant,
  };
}

/** A date or date-time read by {@link parseTemporal}. */
export type ParsedTemporal =
  | { readonly kind: 'instant'; readonly instant: number }
  | { readonly kind: 'local'; readonly civil: CivilMillis }
  | { readonly kind: 'date'; readonly civil: CivilMillis };

const TEMPORAL =
  /^(\d{4})(-?)(\d{2})\2(\d{2})(?:[Tt ](\d{2}):?(\d{2})(?::?(\d{2})(?:[.,](\d{1,9}))?)?(Z|z|[+-]\d{2}(?::?\d{2})?)?)?$/;

/**
 * Reads a date (`2025-11-05`), a local date-time (`2025-11-05T10:00`) or an instant (`2025-11-05T18:00:00Z`,
 * `2025-11-05T10:00:00-08:00`), in RFC 3339 or RFC 5545 spelling (`20251105T180000Z`). Days that do not exist are
 * refused, unlike by `Date.parse`, which takes 30 February for 2 March.
 *
 * @param text - the text to read
 * @returns what it says, or `null` when it is none of these or its year is outside 1970–9999
 * @example
 * ```ts
 * parseTemporal('20251105T180000Z'); // { kind: 'instant', instant: 1762365600000 }
 * parseTemporal('2025-02-30'); // null
 * ```
 */
export function parseTemporal(text: unknown): ParsedTemporal | null {
  if (typeof text !== 'string' || text.length > 40) return null;
  const match = TEMPORAL.exec(text.trim());
  if (!match) return null;
  const [, year, , month, day, hour, minute, second, fraction, zone] = match;
  const y = Number(year);
  const midnight = Date.UTC(y, Number(month) - 1, Number(day));
  const readBack = new Date(midnight);
  if (y < 1970 || y > 9999) return null;
  if (readBack.getUTCMonth() + 1 !== Number(month) || readBack.getUTCDate() !== Number(day)) return null;
  if (hour === undefined) return { kind: 'date', civil: midnight };

  const [h, m, s] = [Number(hour), Number(minute), Number(second ?? 0)];
  if (h > 23 || m > 59 || s > 59) return null;
  const millis = fraction ? Math.trunc(Number(`0.${fraction}`) * 1000) : 0;
  const civil = midnight + ((h * 60 + m) * 60 + s) * 1000 + millis;
  if (zone === undefined) return { kind: 'local', civil };
  if (zone === 'Z' || zone === 'z') return { kind: 'instant', instant: civil };
  const [zh, zm] = [Number(zone.slice(1, 3)), Number(zone.replace(':', '').slice(3) || 0)];
  if (zh > 23 || zm > 59) return null;
  return { kind: 'instant', instant: civil - (zone[0] === '-' ? -1 : 1) * (zh * 60 + zm) * MINUTE_MS };
}

/**
 * Writes a civil time as `YYYY-MM-DDTHH:mm:ss`, without a zone.
 *
 * @param civil - the wall-clock time
 * @returns the text
 * @example
 * ```ts
 * formatCivil(Date.UTC(2025, 10, 5, 10)); // '2025-11-05T10:00:00'
 * ```
 */
export function formatCivil(civil: CivilMillis): string {
  return new Date(civil).toISOString().slice(0, 19);
}

function assertZone(timeZone: string): void {
  if (!isKnownTimeZone(timeZone))
    throw new RangeError(`Unknown time zone: ${String(timeZone).slice(0, MAX_ZONE_NAME_LENGTH)}`);
}

const blockOffsets = new Map<string, Map<number, number>>();

/** Milliseconds east of UTC at an instant, remembered by block so that a year's series asks for some 70 readings. */
function offsetAt(instant: number, timeZone: string): number {
  const block = Math.floor(instant / BLOCK_MS);
  const atStart = offsetAtBlock(block, timeZone);
  return atStart === offsetAtBlock(block + 1, timeZone) ? atStart : readOffset(instant, timeZone);
}

function offsetAtBlock(block: number, timeZone: string): number {
  let blocks = blockOffsets.get(timeZone);
  if (!blocks) {
    if (blockOffsets.size > 600) blockOffsets.clear();
    blocks = new Map();
    blockOffsets.set(timeZone, blocks);
  }
  let offset = blocks.get(block);
  if (offset === undefined) {
    if (blocks.size > 2000) blocks.clear();
    offset = readOffset(block * BLOCK_MS, timeZone);
    blocks.set(block, offset);
  }
  return offset;
}

/**
 * The one place that asks for an offset, and why it asks this way (date-fns-tz 3.2):
 * - `getTimezoneOffset` reads the date's fields in the *device's* zone, so it errs near changes on most laptops;
 * - `fromZonedTime` moves skipped times backward and takes either instant of a repeated one;
 * - `formatInTimeZone` is exact, but importing it loads all of date-fns (2 s in Node);
 * - `toZonedTime` is exact unless the wall-clock time it must put into a `Date` is one the device's own zone skips.
 *   Just after a change of the device's clock its answer is therefore read from Intl instead.
 */
function readOffset(instant: number, timeZone: string): number {
  const wall = toZonedTime(instant, timeZone);
  const deviceJustSkipped =
    new Date(wall.getTime() - 25 * 3_600_000).getTimezoneOffset() > wall.getTimezoneOffset();
  const civil = deviceJustSkipped ? wallFromIntl(instant, timeZone) : fieldsOf(wall);
  if (Number.isNaN(civil)) throw new RangeError(`Unknown time zone: ${timeZone}`);
  const inSecond = ((instant % 1000) + 1000) % 1000;
  return Math.floor(civil / 1000) * 1000 + inSecond - instant;
}

function fieldsOf(date: Date): CivilMillis {
  return Date.UTC(
    date.getFullYear(),
    date.getMonth(),
    date.getDate(),
    date.getHours(),
    date.getMinutes(),
    date.getSeconds(),
  );
}

const wallClocks = new Map<string, Intl.DateTimeFormat>();

function wallFromIntl(instant: number, timeZone: string): CivilMillis {
  let clock = wallClocks.get(timeZone);
  if (!clock) {
    clock = new Intl.DateTimeFormat('en-US', {
      timeZone,
      calendar: 'iso8601',
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    });
    wallClocks.set(timeZone, clock);
  }
  const field: Record<string, number> = {};
  for (const { type, value } of clock.formatToParts(instant)) field[type] = Number(value);
  return Date.UTC(
    field.year ?? Number.NaN,
    (field.month ?? Number.NaN) - 1,
    field.day,
    field.hour,
    field.minute,
    field.second,
  );
}
