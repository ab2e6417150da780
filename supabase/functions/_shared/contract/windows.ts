/** Rules about windows of time `[start, end)` that need no clock. */
import type { z } from 'zod';
import { offsetMinutesAt } from '../civil-time.ts';
import { RANGE } from './parsed.ts';
import { microsecondsOf } from './primitives.ts';

/** Most occurrences in one request: a daily session for a leap year. */
export const MAX_OCCURRENCES = 366;

/** Longest session, in hours. */
export const MAX_SESSION_HOURS = 12;

/** A window in UTC with its zone's offsets, in minutes east of UTC. */
export type Window = {
  start_time: string;
  end_time: string;
  start_time_offset_minutes: number;
  end_time_offset_minutes: number;
};

type Path = (string | number)[];
type Report = Pick<z.RefinementCtx, 'addIssue'>;

/**
 * Reports an end that is not after its start, a session longer than 12 hours (when `limitLength`), and offsets the
 * zone does not have at those instants.
 *
 * @param timePath - where `start_time` and `end_time` are, for the issues' paths
 * @param offsetPath - where the offsets are
 */
export function checkWindow(
  window: Window,
  timeZone: string,
  report: Report,
  { timePath, offsetPath, limitLength }: { timePath: Path; offsetPath: Path; limitLength: boolean },
): void {
  const elapsed = microsecondsOf(window.end_time) - microsecondsOf(window.start_time);
  if (elapsed <= 0) {
    report.addIssue({
      code: 'custom',
      path: [...timePath, 'end_time'],
      message: 'must be after start_time',
      params: RANGE,
    });
  } else if (limitLength && elapsed > MAX_SESSION_HOURS * 3_600_000_000) {
    report.addIssue({
      code: 'custom',
      path: [...timePath, 'end_time'],
      message: `must be at most ${MAX_SESSION_HOURS} hours after start_time`,
    });
  }
  for (const edge of ['start', 'end'] as const) {
    const actual = offsetMinutesAt(timeZone, Math.floor(microsecondsOf(window[`${edge}_time`]) / 1000));
    if (window[`${edge}_time_offset_minutes`] !== actual) {
      report.addIssue({
        code: 'custom',
        path: [...offsetPath, `${edge}_time_offset_minutes`],
        message: `must be ${actual}, the offset of ${timeZone} at ${edge}_time, in minutes east of UTC`,
      });
    }
  }
}

/**
 * The first pair of windows that overlap, buffers included: a claim covers `[start − before, end + after)`, so
 * a series whose buffers meet would conflict with itself.
 *
 * @param bufferMinutes - minutes kept free before each start plus minutes kept free after each end
 * @returns the indexes of the pair, lower first, or null
 */
export function findSelfOverlap(windows: readonly Window[], bufferMinutes: number): [number, number] | null {
  const sorted = windows
    .map((window, index) => ({
      index,
      start: microsecondsOf(window.start_time),
      end: microsecondsOf(window.end_time) + bufferMinutes * 60_000_000,
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
