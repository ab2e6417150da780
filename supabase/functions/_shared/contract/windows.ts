/** Rules about windows of time `[start, end)` that need no clock. */
import type { z } from 'zod';
import { offsetMinutesAt } from '../civil-time.ts';
import { RANGE } from './parsed.ts';

/** Most occurrences in one request: a daily session for a leap year. */
export const MAX_OCCURRENCES = 366;

/** Longest session, in hours. */
export const MAX_SESSION_HOURS = 12;

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
  const offset = (instant: string) => offsetMinutesAt(timeZone, Date.parse(instant));
  return {
    ...window,
    start_time_offset_minutes: window.start_time_offset_minutes ?? offset(window.start_time),
    end_time_offset_minutes: window.end_time_offset_minutes ?? offset(window.end_time),
  };
}

type Path = (string | number)[];
type Report = Pick<z.RefinementCtx, 'addIssue'>;

/**
 * Reports an end that is not after its start and, when `limitLength`, a session longer than 12 hours.
 *
 * @param path - where `start_time` and `end_time` are, for the issues' paths
 */
export function checkWindow(
  window: Pick<Window, 'start_time' | 'end_time'>,
  report: Report,
  path: Path,
  limitLength: boolean,
): void {
  const elapsed = Date.parse(window.end_time) - Date.parse(window.start_time);
  if (elapsed <= 0) {
    report.addIssue({
      code: 'custom',
      path: [...path, 'end_time'],
      message: 'must be after start_time',
      params: RANGE,
    });
  } else if (limitLength && elapsed > MAX_SESSION_HOURS * 3_600_000) {
    report.addIssue({
      code: 'custom',
      path: [...path, 'end_time'],
      message: `must be at most ${MAX_SESSION_HOURS} hours after start_time`,
    });
  }
}

/**
 * The first pair of windows that overlap, buffers included: a claim covers `[start − before, end + after)`, so
 * a series whose buffers meet would conflict with itself.
 *
 * @param bufferMinutes - minutes kept free before each start plus minutes kept free after each end
 * @returns the indexes of the pair, lower first, or null
 */
export function findSelfOverlap(
  windows: readonly Pick<Window, 'start_time' | 'end_time'>[],
  bufferMinutes: number,
): [number, number] | null {
  const sorted = windows
    .map((window, index) => ({
      index,
      start: Date.parse(window.start_time),
      end: Date.parse(window.end_time) + bufferMinutes * 60_000,
    }))
    .sort((a, b) => a.start - b.start || a.index - b.index);
  for (let i = 1; i < sorted.length; i++) {
    const [previous, current] = [sorted[i - 1], sorted[i]];
    if (previous && current && current.start < previous.end) {
      return previous.index < current.index
        ? [previous.index, current.index]
        : [current.index, previous.index];
    }
  }
  return null;
}
