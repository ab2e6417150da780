/** When the demo's series takes place: always in the future, always across the next change of clocks. */
import { offsetMinutesAt } from '../../supabase/functions/_shared/civil-time.ts';

const DAY = 86_400_000;

/** A weekly series that begins before a change of clocks and goes on after it. */
export interface SeriesDates {
  /** Local date of the first occurrence, `YYYY-MM-DD`. */
  firstDate: string;
  /** Local date on which the clocks change. */
  changeDate: string;
  /** How far they change, in minutes: 60 in spring, -60 in autumn. */
  changeMinutes: number;
}

const dateOf = (instant: number) => new Date(instant).toISOString().slice(0, 10);

/**
 * The Tuesday twelve days before the next Sunday on which the clocks change. A change whose Tuesday has passed is left
 * to the next one, so that the series can be booked on any day of the year. (The seed books Mondays, Wednesdays and
 * Fridays.)
 * @param timeZone an IANA zone that changes its clocks on Sundays, such as `America/Los_Angeles`
 * @param now an instant, milliseconds since 1970
 * @throws Error when the clocks do not change within 400 days
 */
export function seriesAcrossClockChange(timeZone: string, now: number): SeriesDates {
  const offsetOn = (utcMidnight: number) => offsetMinutesAt(timeZone, utcMidnight + DAY / 2);
  const today = Date.parse(dateOf(now + offsetMinutesAt(timeZone, now) * 60_000));
  for (let day = today + 13 * DAY; day < today + 400 * DAY; day += DAY) {
    const changeMinutes = offsetOn(day) - offsetOn(day - DAY);
    if (changeMinutes !== 0)
      return { firstDate: dateOf(day - 12 * DAY), changeDate: dateOf(day), changeMinutes };
  }
  throw new Error(`The clocks of ${timeZone} do not change within 400 days.`);
}
