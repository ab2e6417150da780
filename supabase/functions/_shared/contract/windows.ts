/** Windows of time `[start, end)`. What is wrong with one, the database says. */
import { isKnownTimeZone, offsetMinutesAt } from '../civil-time.ts';

/** Most occurrences in one request: a daily session for a leap year. */
export const MAX_OCCURRENCES = 366;

/**
 * A window in UTC and, when the caller believes in some, its zone's offsets in minutes east of UTC. Whether they are right
 * is the database's to say: the rules of zones that this runtime came with may be older or newer than the database's.
 */
export type Window = {
  start_time: string;
  end_time: string;
  start_time_offset_minutes?: number | undefined;
  end_time_offset_minutes?: number | undefined;
};

/**
 * A window with the offsets that were left out. The database does not derive them yet; it still judges them, so that where
 * this runtime's rules for the zone are older, the request is refused rather than booked an hour off.
 */
export function withOffsets<Given extends Window>(window: Given, timeZone: string): Given {
  // Of a zone that this runtime does not know, the database says whether there is one.
  if (!isKnownTimeZone(timeZone)) return window;
  const offset = (instant: string) => offsetMinutesAt(timeZone, Date.parse(instant));
  return {
    ...window,
    start_time_offset_minutes: window.start_time_offset_minutes ?? offset(window.start_time),
    end_time_offset_minutes: window.end_time_offset_minutes ?? offset(window.end_time),
  };
}
