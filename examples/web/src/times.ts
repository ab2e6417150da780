/** Every time on screen is the clinic's; the device's own zone is shown as a hint only. */
import { civilOf, instantOf } from 'therapist-sessions';

/** Thin and narrow spaces of `Intl` are replaced, so that a reader can search for what they see. */
const plain = (text: string) => text.replace(/[\u2009\u202f]/g, ' ');
const sameYear = (instant: Date, timeZone: string) =>
  civilOf(instant, timeZone).slice(0, 4) === civilOf(Date.now(), timeZone).slice(0, 4);

/** How times of one zone are written. */
export function timesOf(timeZone: string) {
  const write = (options: Intl.DateTimeFormatOptions) => new Intl.DateTimeFormat(undefined, { timeZone, ...options });
  const clock = write({ hour: 'numeric', minute: '2-digit' });
  const named = write({ hour: 'numeric', minute: '2-digit', timeZoneName: 'short' });
  const shortDay = { weekday: 'short', month: 'short', day: 'numeric' } as const;
  const longDay = { weekday: 'long', month: 'long', day: 'numeric' } as const;
  const withYear = (at: Date, options: Intl.DateTimeFormatOptions) =>
    plain(write(sameYear(at, timeZone) ? options : { ...options, year: 'numeric' }).format(at));
  const abbreviation = (at: Date | string) =>
    write({ timeZoneName: 'short' })
      .formatToParts(new Date(at))
      .find(({ type }) => type === 'timeZoneName')?.value ?? '';

  const range = (from: string, to: string) =>
    // A span over a clock change names both zones: 1:30 AM PDT to 1:15 AM PST would read as a mistake.
    abbreviation(from) === abbreviation(to)
      ? plain(clock.formatRange(new Date(from), new Date(to)))
      : plain(`${named.format(new Date(from))} – ${named.format(new Date(to))}`);
  const day = (at: string | Date) => withYear(new Date(at), shortDay);
  return {
    timeZone,
    day,
    longDay: (at: string | Date) => withYear(new Date(at), longDay),
    date: (date: string) => new Intl.DateTimeFormat(undefined, { timeZone: 'UTC', dateStyle: 'medium' }).format(new Date(date)),
    clock: (at: string | Date) => plain(clock.format(new Date(at))),
    range,
    dayRange: (from: string, to: string) => `${day(from)}, ${range(from, to)}`,
    abbreviation,
    city: timeZone.split('/').at(-1)?.replaceAll('_', ' ') ?? timeZone,
    civil: (at: string | Date | number) => civilOf(at, timeZone),
    instant: (local: string) => instantOf(local, timeZone).instant,
    today: () => civilOf(Date.now(), timeZone).slice(0, 10),
  };
}
export type Times = ReturnType<typeof timesOf>;

/** A local time some milliseconds later on the wall clock. */
export const shiftCivil = (civil: string, ms: number) => new Date(Date.parse(`${civil}Z`) + ms).toISOString().slice(0, 19);

export const minutesBetween = (from: string, to: string) => (Date.parse(to) - Date.parse(from)) / 60_000;

/** What the reader's own clock shows, when it is not the clinic's; else null. */
export function ownClock(at: string, times: Times): string | null {
  const own = new Date(at);
  const options = { weekday: 'short', hour: 'numeric', minute: '2-digit' } as const;
  const here = new Intl.DateTimeFormat(undefined, options);
  const there = new Intl.DateTimeFormat(undefined, { ...options, timeZone: times.timeZone });
  return here.format(own) === there.format(own) ? null : plain(here.format(own));
}

/** Minutes and seconds, such as 4:05. */
export const minutesSeconds = (seconds: number) => `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
