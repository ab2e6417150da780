import {
  isKnownTimeZone,
  offsetMinutesAt,
  parseTemporal,
} from '../../supabase/functions/_shared/civil-time.ts';
import {
  expandRecurrence,
  type Occurrence,
  RecurrenceError,
} from '../../supabase/functions/_shared/recurrence.ts';
import { invalidArgument } from './sessionsApiError.ts';

/** A recurrence: an RFC 5545 rule, its bounds, its exceptions and the zone whose clocks it follows. */
export interface RecurrenceInput {
  /** Such as `FREQ=WEEKLY;BYDAY=MO,WE`, with or without `RRULE:` in front. */
  readonly rule: string;
  /** The number of occurrences, counted before exceptions. Beside a `COUNT` in the rule, the smaller holds. */
  readonly count?: number | null;
  /** The last date, local date-time or instant an occurrence may start at. Beside an `UNTIL`, the earlier holds. */
  readonly until?: string | null;
  /** Dates, local date-times or instants to leave out. One that meets no occurrence is ignored. */
  readonly exceptions?: readonly string[] | null;
  /** The IANA zone of the rule; the options' own when absent. */
  readonly timeZone?: string | null;
}

/** How {@link generateOccurrences} is to read the session. */
export interface OccurrenceOptions {
  /** The IANA zone whose clocks the series follows, unless the recurrence names one. */
  readonly timeZone: string;
  /** Minutes east of UTC at the session's start, to be checked against the zone. */
  readonly startOffsetMinutes?: number | null;
  /** Minutes east of UTC at the session's end, to be checked against the zone. */
  readonly endOffsetMinutes?: number | null;
}

/**
 * The occurrences of a session: itself, or all of its recurrence, expanded in local civil time, so that 10:00 stays
 * 10:00 when the clocks change.
 *
 * The first occurrence is the session's own start when the rule matches it; else, as in RFC 5545's own examples of
 * `BYDAY`, the first later day the rule does match. Every occurrence lasts as long as the session, in elapsed time. A
 * local time that the clocks skip moves forward by the gap (`nonexistent`); of one they show twice it is the first
 * (`ambiguous`).
 *
 * @param session - the first booking: `start_time` and `end_time` as ISO 8601 instants
 * @param recurrence - the rule, or null for the session alone
 * @param options - the zone, and offsets to check
 * @returns at most 366 occurrences within 730 days, in order; none when the exceptions leave none
 * @throws SessionsApiError 400 `VALIDATION_FAILED` with an issue naming the field (`recurrence.rule`, `recurrence.until`,
 *   `start_time_offset_minutes` …): malformed input, a rule without end, an unsupported part, too many or too far
 * @example
 * ```ts
 * const occurrences = generateOccurrences(
 *   { start_time: '2025-10-29T10:00:00-07:00', end_time: '2025-10-29T11:00:00-07:00' },
 *   { rule: 'FREQ=WEEKLY;COUNT=2' },
 *   { timeZone: 'America/Los_Angeles' },
 * );
 * occurrences[1]?.startTime; // '2025-11-05T18:00:00.000Z'
 * occurrences[1]?.startOffsetMinutes; // -480
 * ```
 */
export function generateOccurrences(
  session: { readonly start_time: string; readonly end_time: string },
  recurrence: RecurrenceInput | null | undefined,
  options: OccurrenceOptions,
): Occurrence[] {
  checkOffsets(session, options);
  const window = { startTime: session.start_time, endTime: session.end_time };
  const timeZone = recurrence?.timeZone ?? options.timeZone;
  try {
    // The session alone is a daily rule of one: the same checks, the same flags.
    return expandRecurrence(
      window,
      recurrence ? { ...recurrence, timeZone } : { rule: 'FREQ=DAILY;COUNT=1', timeZone },
    );
  } catch (error) {
    if (!(error instanceof RecurrenceError)) throw error;
    throw invalidArgument(
      [{ path: pathOf(error.field, recurrence), message: error.message }],
      'VALIDATION_FAILED',
      error,
    );
  }
}

const PATHS: Readonly<Record<string, string>> = {
  startTime: 'session.start_time',
  endTime: 'session.end_time',
};

function pathOf(field: string, recurrence: RecurrenceInput | null | undefined): string {
  if (field === 'timeZone') return recurrence?.timeZone ? 'recurrence.time_zone' : 'time_zone';
  return PATHS[field] ?? `recurrence.${field}`;
}

function checkOffsets(session: { start_time: string; end_time: string }, options: OccurrenceOptions): void {
  if (!isKnownTimeZone(options.timeZone)) return;
  for (const edge of ['start', 'end'] as const) {
    const given = options[`${edge}OffsetMinutes`];
    const at = parseTemporal(session[`${edge}_time`]);
    if (given === null || given === undefined || at?.kind !== 'instant') continue;
    const actual = offsetMinutesAt(options.timeZone, at.instant);
    if (given !== actual) {
      const message = `must be ${actual}, the offset of ${options.timeZone} at ${edge}_time, in minutes east of UTC`;
      throw invalidArgument([{ path: `${edge}_time_offset_minutes`, message }]);
    }
  }
}
