/** From a recurrence in a request to the windows it means, with errors that name the request's fields. */
import { expandRecurrence, RecurrenceError } from '../recurrence.ts';
import { type Issue, type Parsed, refuse } from './parsed.ts';
import type { Window } from './windows.ts';

/** A window and the zone its offsets belong to. */
export type ZonedWindow = Window & { time_zone: string };

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
 * Expands a rule in local civil time, beginning with the request's own window.
 *
 * @param first - the first window, in UTC
 * @param timeZone - the IANA zone whose clocks the rule follows
 */
export function expandRule(
  first: { start_time: string; end_time: string },
  rule: RuleInput,
  timeZone: string,
): Parsed<ZonedWindow[]> {
  try {
    const occurrences = expandRecurrence(
      { startTime: first.start_time, endTime: first.end_time },
      { ...rule, timeZone },
    );
    if (occurrences.length === 0) return refuse('recurrence.rule', 'must leave at least one occurrence');
    return {
      ok: true,
      value: occurrences.map((each) => ({
        start_time: each.startTime,
        end_time: each.endTime,
        start_time_offset_minutes: each.startOffsetMinutes,
        end_time_offset_minutes: each.endOffsetMinutes,
        time_zone: each.timeZone,
      })),
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
export function issueOfRule(
  occurrences: readonly Pick<Window, 'start_time'>[],
  first: string,
): (issue: Issue) => Issue {
  return (issue) => {
    const [, index, field = ''] = /^occurrences\.(\d+)(?:\.(\w+))?$/.exec(issue.path) ?? [];
    const occurrence = occurrences[Number(index)];
    if (!occurrence) return { ...issue, path: issue.path.replace(/^occurrences$/, 'recurrence.rule') };
    if (index === '0' && field && occurrence.start_time === first) return { ...issue, path: field };
    const message = `makes an occurrence at ${occurrence.start_time} whose ${field} ${issue.message}`;
    return { ...issue, path: field === 'time_zone' ? 'recurrence.time_zone' : 'recurrence.rule', message };
  };
}
