import {
  DAY_MS,
  formatCivil,
  fromCivil,
  isKnownTimeZone,
  parseTemporal,
  toCivil,
} from '../../supabase/functions/_shared/civil-time.ts';
import { invalidArgument } from './sessionsApiError.ts';

/** An instant, and how the local time that was asked for relates to the zone's clock changes. */
export interface LocalInstant {
  /** The instant, ISO 8601 in UTC. */
  readonly instant: string;
  /** Minutes east of UTC at that instant. */
  readonly offsetMinutes: number;
  /**
   * `unique`: clocks show this time once. `nonexistent`: they skip it, and the instant is later by the gap.
   * `ambiguous`: they show it twice, and the instant is the first of the two.
   */
  readonly kind: 'unique' | 'nonexistent' | 'ambiguous';
}

/**
 * The instant at which the clocks of a zone show a local time, whatever the zone of the device is.
 *
 * @param local - a local date-time without an offset, such as `2026-12-01T10:00`
 * @param timeZone - the IANA zone it is meant in
 * @returns the instant, its offset, and whether it had to be chosen
 * @throws SessionsApiError 400 when the text is no local date-time or the zone is unknown
 * @example
 * ```ts
 * instantOf('2026-12-01T10:00', 'America/Los_Angeles').instant; // '2026-12-01T18:00:00.000Z'
 * instantOf('2027-03-14T02:30', 'America/Los_Angeles').kind; // 'nonexistent': clocks go from 02:00 to 03:00
 * ```
 */
export function instantOf(local: string, timeZone: string): LocalInstant {
  requireZone(timeZone);
  const parsed = parseTemporal(local);
  if (parsed?.kind !== 'local') {
    const message = 'must be a local date-time without an offset, like 2026-12-01T10:00';
    throw invalidArgument([{ path: 'local', message }]);
  }
  const { instant, offsetMs, kind } = fromCivil(parsed.civil, timeZone);
  return { instant: new Date(instant).toISOString(), offsetMinutes: Math.trunc(offsetMs / 60_000), kind };
}

/**
 * What the clocks of a zone show at an instant.
 *
 * @param instant - an instant in ISO 8601, a `Date`, or epoch milliseconds
 * @param timeZone - an IANA zone
 * @returns the local time as `YYYY-MM-DDTHH:mm:ss`
 * @throws SessionsApiError 400 when the instant cannot be read or the zone is unknown
 * @example
 * ```ts
 * civilOf('2026-12-01T18:00:00Z', 'America/Los_Angeles'); // '2026-12-01T10:00:00'
 * ```
 */
export function civilOf(instant: string | Date | number, timeZone: string): string {
  requireZone(timeZone);
  const at = new Date(instant).getTime();
  if (Number.isNaN(at)) throw invalidArgument([{ path: 'instant', message: 'must be an instant' }]);
  return formatCivil(toCivil(at, timeZone));
}

/** A span of whole local days, as instants. */
export interface DaySpan {
  /** The first local day, `YYYY-MM-DD`. */
  readonly firstDay: string;
  /** Every local day of the span. */
  readonly days: readonly string[];
  /** When the first day begins (an instant). */
  readonly from: string;
  /** When the last day ends (an instant). */
  readonly to: string;
}

/**
 * The week a day is in, Monday to Sunday, as the instants at which its local days begin and end: 167, 168 or 169 hours.
 *
 * @param date - a local day, `YYYY-MM-DD`
 * @param timeZone - an IANA zone
 * @returns the days, and the instants to read a schedule by
 * @throws SessionsApiError 400 when the date does not exist or the zone is unknown
 * @example
 * ```ts
 * weekBounds('2026-11-05', 'America/Los_Angeles').firstDay; // '2026-11-02'
 * ```
 */
export function weekBounds(date: string, timeZone: string): DaySpan {
  const weekday = (new Date(dayMillis(date)).getUTCDay() + 6) % 7;
  return dayBounds(plusDays(date, -weekday), timeZone, 7);
}

/**
 * Some local days as instants.
 *
 * @param date - the first local day, `YYYY-MM-DD`
 * @param timeZone - an IANA zone
 * @param count - how many days; default 1
 * @returns the days, and the instants at which they begin and end
 * @throws SessionsApiError 400 when the date does not exist or the zone is unknown
 * @example
 * ```ts
 * const { from, to } = dayBounds('2026-11-01', 'America/Los_Angeles');
 * (Date.parse(to) - Date.parse(from)) / 3_600_000; // 25: the clocks go back
 * ```
 */
export function dayBounds(date: string, timeZone: string, count = 1): DaySpan {
  requireZone(timeZone);
  const first = dayMillis(date);
  const iso = (civil: number) => new Date(fromCivil(civil, timeZone).instant).toISOString();
  return {
    firstDay: date,
    days: Array.from({ length: count }, (_, day) => plusDays(date, day)),
    from: iso(first),
    to: iso(first + count * DAY_MS),
  };
}

/**
 * A local day some days later.
 *
 * @param date - a local day, `YYYY-MM-DD`
 * @param days - how many days; negative for earlier
 * @returns the day, `YYYY-MM-DD`
 * @throws SessionsApiError 400 when the date does not exist
 * @example
 * ```ts
 * plusDays('2026-02-27', 2); // '2026-03-01'
 * ```
 */
export function plusDays(date: string, days: number): string {
  return formatCivil(dayMillis(date) + days * DAY_MS).slice(0, 10);
}

function dayMillis(date: string): number {
  const parsed = parseTemporal(date);
  if (parsed?.kind !== 'date') {
    throw invalidArgument([{ path: 'date', message: 'must be a date that exists, like 2026-12-01' }]);
  }
  return parsed.civil;
}

function requireZone(timeZone: string): void {
  if (!isKnownTimeZone(timeZone)) {
    throw invalidArgument([{ path: 'timeZone', message: 'must be an IANA time zone' }]);
  }
}
