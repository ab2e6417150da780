import { civilOf, instantOf } from './localTime.ts';

/** An instant: ISO 8601, a `Date`, or epoch milliseconds. */
type At = string | Date | number;

/** How times of one zone are written; see {@link clinicTimes}. */
export interface ClinicTimes {
  readonly timeZone: string;
  /** The city of the zone, such as `Los Angeles`. */
  readonly city: string;
  /** `Tue, Dec 1`, with the year unless it is this one. */
  day(at: At): string;
  /** `Tuesday, December 1`, with the year unless it is this one. */
  longDay(at: At): string;
  /** A calendar date, `YYYY-MM-DD`, as `Dec 1, 2026`. */
  date(date: string): string;
  /** `10:00 AM`. */
  clock(at: At): string;
  /** Day and clock: `Tue, Dec 1, 10:00 AM`. */
  moment(at: At): string;
  /** `10:00 – 11:00 AM`; over a change of clocks both with their zone: `1:30 AM PDT – 1:15 AM PST`. */
  range(from: At, to: At): string;
  /** Day and range. */
  dayRange(from: At, to: At): string;
  /** The zone's abbreviation at an instant, such as `PST`. */
  abbreviation(at: At): string;
  /** What a device of another zone shows at that instant; null where it shows the same. */
  onDevice(at: At): string | null;
  /** The local time of an instant, `YYYY-MM-DDTHH:mm:ss`. */
  civil(at: At): string;
  /** The instant of a local time. */
  instant(local: string): string;
  /** The local day of now, `YYYY-MM-DD`. */
  today(): string;
  /** The zone's offset at an instant, such as `-08:00`. */
  offset(at: At): string;
}

/** Thin and narrow spaces of `Intl` are replaced, so that a reader can search for what they see. */
const plain = (text: string) => text.replace(/[\u2009\u202f]/g, ' ');

/**
 * How times of a clinic are written and read, whatever the zone of the device is.
 *
 * @param timeZone - the clinic's IANA zone
 * @param locale - the language of days and clocks; the device's when absent
 * @returns what writes and reads times of that zone
 * @throws SessionsApiError 400 when the zone is unknown
 * @example
 * ```ts
 * const times = clinicTimes('America/Los_Angeles', 'en-US');
 * times.clock('2026-12-01T18:00:00Z'); // '10:00 AM'
 * times.instant('2026-12-01T10:00'); // '2026-12-01T18:00:00.000Z'
 * times.offset('2026-12-01T18:00:00Z'); // '-08:00'
 * ```
 */
export function clinicTimes(timeZone: string, locale?: string): ClinicTimes {
  const civil = (at: At) => civilOf(at, timeZone);
  const write = (options: Intl.DateTimeFormatOptions) =>
    new Intl.DateTimeFormat(locale, { timeZone, ...options });
  const clock = write({ hour: 'numeric', minute: '2-digit' });
  const named = write({ hour: 'numeric', minute: '2-digit', timeZoneName: 'short' });
  const withYear = (at: At, options: Intl.DateTimeFormatOptions) => {
    const isThisYear = civil(at).slice(0, 4) === civil(Date.now()).slice(0, 4);
    return plain(write(isThisYear ? options : { ...options, year: 'numeric' }).format(new Date(at)));
  };
  const day = (at: At) => withYear(at, { weekday: 'short', month: 'short', day: 'numeric' });
  const clockOf = (at: At) => plain(clock.format(new Date(at)));
  const abbreviation = (at: At) =>
    named.formatToParts(new Date(at)).find(({ type }) => type === 'timeZoneName')?.value ?? '';
  const range = (from: At, to: At) =>
    // A span over a clock change names both zones: 1:30 AM PDT to 1:15 AM PST would read as a mistake.
    abbreviation(from) === abbreviation(to)
      ? plain(clock.formatRange(new Date(from), new Date(to)))
      : plain(`${named.format(new Date(from))} – ${named.format(new Date(to))}`);
  return {
    timeZone,
    city: timeZone.split('/').at(-1)?.replaceAll('_', ' ') ?? timeZone,
    day,
    longDay: (at) => withYear(at, { weekday: 'long', month: 'long', day: 'numeric' }),
    date: (date) =>
      new Intl.DateTimeFormat(locale, { timeZone: 'UTC', dateStyle: 'medium' }).format(new Date(date)),
    clock: clockOf,
    moment: (at) => `${day(at)}, ${clockOf(at)}`,
    range,
    dayRange: (from, to) => `${day(from)}, ${range(from, to)}`,
    abbreviation,
    onDevice(at) {
      const options = { weekday: 'short', hour: 'numeric', minute: '2-digit' } as const;
      const here = new Intl.DateTimeFormat(locale, options).format(new Date(at));
      return here === write(options).format(new Date(at)) ? null : plain(here);
    },
    civil,
    instant: (local) => instantOf(local, timeZone).instant,
    today: () => civil(Date.now()).slice(0, 10),
    offset(at) {
      const minutes = Math.round((Date.parse(`${civil(at)}Z`) - new Date(at).getTime()) / 60_000);
      const two = (value: number) => String(value).padStart(2, '0');
      const absolute = Math.abs(minutes);
      return `${minutes < 0 ? '-' : '+'}${two(Math.floor(absolute / 60))}:${two(absolute % 60)}`;
    },
  };
}

/**
 * A local time some milliseconds later on the wall clock.
 *
 * @param civil - a local time, `YYYY-MM-DDTHH:mm:ss`
 * @param ms - milliseconds; negative for earlier
 * @returns the local time, `YYYY-MM-DDTHH:mm:ss`
 * @example
 * ```ts
 * shiftCivil('2026-12-01T10:00:00', 5_400_000); // '2026-12-01T11:30:00'
 * ```
 */
export function shiftCivil(civil: string, ms: number): string {
  return new Date(Date.parse(`${civil}Z`) + ms).toISOString().slice(0, 19);
}

/**
 * Minutes and seconds as a countdown shows them.
 *
 * @param seconds - whole seconds
 * @returns such as `4:05`
 * @example
 * ```ts
 * minutesAndSeconds(245); // '4:05'
 * ```
 */
export function minutesAndSeconds(seconds: number): string {
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}
