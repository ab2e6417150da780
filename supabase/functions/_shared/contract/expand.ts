/** From a recurrence in a request to the windows it means, with errors that name the request's fields. */
import { formatCivil, isKnownTimeZone, offsetMinutesAt, toCivil } from '../civil-time.ts';
import { expandRecurrence, RecurrenceError } from '../recurrence.ts';
import { type Issue, type Parsed, refuse } from './parsed.ts';
import type { Window } from './windows.ts';

/** An occurrence of a rule: the request's own window, or a local time that the database turns into an instant. */
export type RuleOccurrence =
  | (Window & { time_zone: string })
  | { start_time?: undefined; local_start: string; time_zone: string };

/** `sessions-hold`'s `recurrence`, validated as far as its types go. */
export type RuleInput = {
  rule: string;
  count?: number | undefined;
  until?: string | undefined;
  exceptions?: string[] | undefined;
};

const WINDOW_FIELDS: Readonly<Record<string, string>> = { startTime: 'start_time', endTime: 'end_time' };

/** `exceptions.3` → `recurrence.exceptions.3`, `timeZone` → `recurrence.time_zone`, `startTime` → `start_time`. */
function pathOf(field: string): string {
  return WINDOW_FIELDS[field] ?? `recurrence.${field === 'timeZone' ? 'time_zone' : field}`;
}

/**
 * Expands a rule in local civil time, beginning with the request's own window. Only that window is an instant: what the
 * clocks of later dates are, the database knows best.
 *
 * @param first - the request's own window, in UTC; its offset says what its clocks are believed to show
 * @param timeZone - the IANA zone whose clocks the rule follows
 */
export function expandRule(first: Window, rule: RuleInput, timeZone: string): Parsed<RuleOccurrence[]> {
  try {
    const start = Date.parse(first.start_time);
    const own = isKnownTimeZone(timeZone) ? offsetMinutesAt(timeZone, start) : 0;
    const believed = first.start_time_offset_minutes ?? own;
    // From here on the caller's clocks count: expanded is the local time that was meant.
    const meant = (instant: string) =>
      new Date(Date.parse(instant) + (believed - own) * 60_000).toISOString();
    const from = meant(first.start_time);
    const occurrences = expandRecurrence(
      { startTime: from, endTime: meant(first.end_time) },
      { ...rule, timeZone },
    );
    if (occurrences.length === 0) return refuse('recurrence.rule', 'must leave at least one occurrence');
    return {
      ok: true,
      value: occurrences.map(({ startTime }) =>
        startTime === from
          ? { ...first, start_time_offset_minutes: believed, time_zone: timeZone }
          : { local_start: formatCivil(toCivil(Date.parse(startTime), timeZone)), time_zone: timeZone },
      ),
    };
  } catch (thrown) {
    if (thrown instanceof RecurrenceError)
      return refuse(pathOf(thrown.field), `cannot be used: ${thrown.message}`);
    throw thrown;
  }
}

/**
 * Names an issue about an expanded occurrence by what was sent: the rule, or for the first occurrence, where it is the
 * request's own window, that window's field.
 *
 * @param occurrences - what the rule was expanded to
 * @param first - the start of the request's own window
 */
export function issueOfRule(occurrences: readonly RuleOccurrence[], first: string): (issue: Issue) => Issue {
  return (issue) => {
    const [, index, field = ''] = /^occurrences\.(\d+)(?:\.(\w+))?$/.exec(issue.path) ?? [];
    const occurrence = occurrences[Number(index)];
    if (!occurrence) return { ...issue, path: issue.path.replace(/^occurrences$/, 'recurrence.rule') };
    if (index === '0' && field && occurrence.start_time === first) return { ...issue, path: field };
    const at = occurrence.start_time ?? occurrence.local_start;
    const message = `makes an occurrence at ${at} whose ${field} ${issue.message}`;
    return { ...issue, path: field === 'time_zone' ? 'recurrence.time_zone' : 'recurrence.rule', message };
  };
}
