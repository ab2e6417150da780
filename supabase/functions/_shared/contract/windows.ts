/** Windows of time `[start, end)`. What is wrong with one, the database says. */

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
