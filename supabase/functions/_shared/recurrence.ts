/**
 * Expands a recurring booking: RFC 5545 rules in local civil time, so that 10:00 stays 10:00 across clock changes.
 *
 * `rrule` steps from one week or month a rule visits to the next (it is fed "floating" dates: civil dates dressed as
 * UTC); which of their days count, where the rule ends and what instant each occurrence is are decided here. That is
 * because rrule looks at a rule's end only when a day matches, so a rule that never matches would run to the year 9999,
 * because it intersects `BYDAY=MO,2TU` instead of uniting them, and because it takes `UNTIL=20251231` for midnight.
 *
 * @module
 */
import * as rruleModule from 'rrule';
import {
  type CivilMillis,
  DAY_MS,
  fromCivil,
  isKnownTimeZone,
  parseTemporal,
  type ResolvedCivilTime,
  toCivil,
} from './civil-time.ts';

/** The most occurrences a rule may have, before exceptions: a year of days. */
export const MAX_OCCURRENCES = 366;
/** How many civil days after the first occurrence the last one may start. */
export const MAX_SERIES_DAYS = 730;
const MAX_INTERVAL = 1000;
const MAX_RULE_LENGTH = 1000;
/** A rule that has not ended 8 years on (two leap days) is given up on. */
const WALK_DAYS = 2922;

/** The window a rule starts from: two instants, in ISO 8601 with `Z` or an offset. */
export interface RecurrenceWindow {
  readonly startTime: string;
  readonly endTime: string;
}

/** A recurrence, as `sessions-hold` takes it (there in snake_case). */
export interface Recurrence {
  /** An RFC 5545 `RRULE` value such as `FREQ=WEEKLY;BYDAY=MO,WE;COUNT=12`, with or without the `RRULE:` before it. */
  readonly rule: string;
  /** The number of occurrences, counted before exceptions. Beside a `COUNT` in the rule, the smaller holds. */
  readonly count?: number | null;
  /**
   * The last moment an occurrence may start: a date (that whole civil day), a local date-time or an instant.
   * Beside an `UNTIL` in the rule, the earlier holds.
   */
  readonly until?: string | null;
  /**
   * Occurrences to leave out: a civil date (whatever starts that day), a local date-time or an instant. One that
   * meets no occurrence is ignored, so a clinic can pass its whole list of holidays.
   */
  readonly exceptions?: readonly string[] | null;
  /** The IANA zone whose clocks the rule follows. */
  readonly timeZone: string;
}

/** One occurrence of a series. */
export interface Occurrence {
  /** Its place in the result, from 0. It is the `occurrenceIndex` of a conflict. */
  readonly index: number;
  /** The start as an instant, e.g. `2025-11-05T18:00:00.000Z`. */
  readonly startTime: string;
  /** The end: the start plus the first window's elapsed time, so an occurrence is never longer for a clock change. */
  readonly endTime: string;
  /** Minutes east of UTC at the start: −480 for Los Angeles in winter. */
  readonly startOffsetMinutes: number;
  /** Minutes east of UTC at the end. */
  readonly endOffsetMinutes: number;
  /** The zone the offsets are of. */
  readonly timeZone: string;
  /** The clocks skip the rule's time on this day, so it starts later by the gap (02:30 → 03:30). */
  readonly nonexistent: boolean;
  /** The clocks show the rule's time twice on this day; it is the first of the two. */
  readonly ambiguous: boolean;
}

/** What {@link RecurrenceError.code} can be. */
export type RecurrenceErrorCode =
  | 'INVALID_WINDOW'
  | 'INVALID_TIME_ZONE'
  | 'INVALID_RULE'
  | 'UNSUPPORTED_RULE'
  | 'UNBOUNDED_RULE'
  | 'INVALID_COUNT'
  | 'INVALID_UNTIL'
  | 'INVALID_EXCEPTION'
  | 'TOO_MANY_OCCURRENCES'
  | 'SERIES_TOO_LONG';

/** A recurrence that cannot be booked. Its message is a sentence for the developer who wrote the rule. */
export class RecurrenceError extends Error {
  override readonly name = 'RecurrenceError';
  /** What is wrong. */
  readonly code: RecurrenceErrorCode;
  /**
   * The field that is wrong, by its name here: `startTime`, `endTime`, `rule`, `count`, `until`, `timeZone` or
   * `exceptions.<index>`.
   */
  readonly field: string;
  /** The part of the rule that is wrong, e.g. `BYSETPOS`, when `field` is `rule`. */
  readonly part: string | null;

  constructor(code: RecurrenceErrorCode, field: string, message: string, part: string | null = null) {
    super(message);
    this.code = code;
    this.field = field;
    this.part = part;
  }
}

/**
 * The occurrences of a recurring booking, in order.
 *
 * - The occurrences are the days the rule matches, from the window's start on (RFC 5545 §3.3.10). A start the rule
 *   does not match is no occurrence: from a Wednesday, `BYDAY=MO` begins on the Monday after.
 * - The window's own start keeps its exact instant, also when the clocks show that time twice.
 * - `MONTHLY` on the 31st skips shorter months, as RFC 5545 says of dates that do not exist.
 * - A rule whose occurrences are all excepted, or that ends before the start, gives an empty list.
 *
 * @param window - the first booking; its elapsed time is every occurrence's length
 * @param recurrence - the rule, its bounds, exceptions and zone
 * @returns 0 to {@link MAX_OCCURRENCES} occurrences
 * @throws RecurrenceError when a field is malformed, the rule has no end or an unsupported part (only `FREQ` `DAILY`,
 *   `WEEKLY`, `MONTHLY`; `INTERVAL`, `BYDAY`, `BYMONTHDAY`, `COUNT`, `UNTIL` and `WKST` are supported), there are more
 *   than {@link MAX_OCCURRENCES} occurrences, or one starts more than {@link MAX_SERIES_DAYS} days after the first
 * @example
 * ```ts
 * const [, second] = expandRecurrence(
 *   { startTime: '2025-10-29T10:00:00-07:00', endTime: '2025-10-29T11:00:00-07:00' },
 *   { rule: 'FREQ=WEEKLY;COUNT=2', timeZone: 'America/Los_Angeles' },
 * );
 * second?.startTime; // '2025-11-05T18:00:00.000Z': 10:00 again, now in winter time
 * ```
 */
export function expandRecurrence(window: RecurrenceWindow, recurrence: Recurrence): Occurrence[] {
  const { start, duration } = readWindow(window);
  const { timeZone } = recurrence;
  if (!isKnownTimeZone(timeZone)) {
    throw new RecurrenceError(
      'INVALID_TIME_ZONE',
      'timeZone',
      'The time zone is not a known IANA time zone.',
    );
  }
  const rule = parseRule(recurrence.rule);
  const count = readCount(recurrence.count, rule.count);
  const ends = [rule.until, readUntil(recurrence.until, 'until', null)].filter((end) => end !== null);
  if (count === Number.POSITIVE_INFINITY && ends.length === 0) {
    throw new RecurrenceError('UNBOUNDED_RULE', 'rule', 'The rule has no end: give COUNT or UNTIL.');
  }
  const isExcepted = readExceptions(recurrence.exceptions);

  const firstCivil = toCivil(start, timeZone);
  const firstDay = Math.floor(firstCivil / DAY_MS) * DAY_MS;
  const timeOfDay = firstCivil - firstDay;
  const matches = dayFilter(rule, firstDay);

  const occurrences: Occurrence[] = [];
  let counted = 0;
  let lastAllowedDay = firstDay + MAX_SERIES_DAYS * DAY_MS;
  let ended = false;

  const visit = (day: CivilMillis): boolean => {
    if (ends.every((end) => day <= lastDayOf(end))) {
      if (day > firstDay + WALK_DAYS * DAY_MS) throw tooLong(recurrence, counted);
      if (!matches(day)) return true;
      const civil = day + timeOfDay;
      const at = day === firstDay ? resolveFirst(start, civil, timeZone) : fromCivil(civil, timeZone);
      if (ends.every((end) => isWithin(end, day, civil, at.instant))) {
        if (counted === 0) lastAllowedDay = Math.max(lastAllowedDay, day + MAX_SERIES_DAYS * DAY_MS);
        if (day > lastAllowedDay) throw tooLong(recurrence, counted);
        counted += 1;
        if (counted > MAX_OCCURRENCES) throw tooMany(recurrence, rule);
        if (!isExcepted(day, civil, at.instant, timeZone)) {
          const end = at.instant + duration;
          occurrences.push({
            index: occurrences.length,
            startTime: new Date(at.instant).toISOString(),
            endTime: new Date(end).toISOString(),
            startOffsetMinutes: Math.trunc(at.offsetMs / 60_000),
            endOffsetMinutes: minutesEast(end, timeZone),
            timeZone,
            nonexistent: at.kind === 'nonexistent',
            ambiguous: at.kind === 'ambiguous',
          });
        }
        ended = counted === count;
        return !ended;
      }
    }
    ended = true;
    return false;
  };
  walkDays(rule, firstDay, visit);
  if (!ended) throw tooLong(recurrence, counted);
  return occurrences;
}

// --- The window -----------------------------------------------------------------------------------------------------

function readWindow(window: RecurrenceWindow): { start: number; duration: number } {
  const start = parseTemporal(window.startTime);
  if (start?.kind !== 'instant') throw notAnInstant('startTime');
  const end = parseTemporal(window.endTime);
  if (end?.kind !== 'instant') throw notAnInstant('endTime');
  if (end.instant <= start.instant) {
    throw new RecurrenceError('INVALID_WINDOW', 'endTime', 'The end must be after the start.');
  }
  return { start: start.instant, duration: end.instant - start.instant };
}

function notAnInstant(field: string): RecurrenceError {
  return new RecurrenceError(
    'INVALID_WINDOW',
    field,
    'The time must be an instant in ISO 8601, such as 2025-11-05T18:00:00Z.',
  );
}

/** The first start is an instant the caller chose: when the clocks show its time twice, it stays the one chosen. */
function resolveFirst(start: number, civil: CivilMillis, timeZone: string): ResolvedCivilTime {
  return { instant: start, offsetMs: civil - start, kind: fromCivil(civil, timeZone).kind };
}

function minutesEast(instant: number, timeZone: string): number {
  return Math.trunc((toCivil(instant, timeZone) - instant) / 60_000);
}

// --- The rule -------------------------------------------------------------------------------------------------------

type Frequency = 'DAILY' | 'WEEKLY' | 'MONTHLY';
/** `weekday` counts from Monday = 0, as rrule does; `ordinal` is 2 in `2TU`, −1 in `-1FR`, 0 when absent. */
type ByDay = { readonly weekday: number; readonly ordinal: number };
type End = { readonly kind: 'date' | 'local' | 'instant'; readonly at: number };

interface Rule {
  readonly frequency: Frequency;
  readonly interval: number;
  readonly weekStart: number;
  readonly byDay: readonly ByDay[];
  readonly byMonthDay: readonly number[];
  readonly count: number;
  readonly until: End | null;
}

const WEEKDAYS = ['MO', 'TU', 'WE', 'TH', 'FR', 'SA', 'SU'];
const UNSUPPORTED_FREQUENCIES = ['SECONDLY', 'MINUTELY', 'HOURLY', 'YEARLY'];
const UNSUPPORTED_PARTS = [
  'BYSETPOS',
  'BYHOUR',
  'BYMINUTE',
  'BYSECOND',
  'BYMONTH',
  'BYYEARDAY',
  'BYWEEKNO',
  'BYEASTER',
  'RSCALE',
  'SKIP',
  'DTSTART',
  'DTEND',
  'TZID',
  'RDATE',
  'EXDATE',
  'EXRULE',
];

function invalid(part: string, message: string): RecurrenceError {
  return new RecurrenceError('INVALID_RULE', 'rule', message, part);
}

function unsupported(part: string, message = `${part} is not supported.`): RecurrenceError {
  return new RecurrenceError('UNSUPPORTED_RULE', 'rule', message, part);
}

function parseRule(text: string): Rule {
  if (typeof text !== 'string' || text.trim() === '' || text.length > MAX_RULE_LENGTH) {
    throw new RecurrenceError(
      'INVALID_RULE',
      'rule',
      'The rule must be an RFC 5545 RRULE of at most 1000 characters.',
    );
  }
  // Calendars fold long lines: a line break and one blank in the middle of a line (RFC 5545 §3.1).
  const value = text
    .trim()
    .replace(/\r?\n[ \t]/g, '')
    .replace(/^RRULE:/i, '');
  const otherProperty = /(?:^|[\r\n])\s*(RDATE|EXDATE|EXRULE|DTSTART|DTEND)\b/i
    .exec(value)?.[1]
    ?.toUpperCase();
  if (otherProperty) {
    throw unsupported(otherProperty, `${otherProperty} is not supported: pass one RRULE value only.`);
  }

  const parts = new Map<string, string>();
  for (const piece of value.replace(/;$/, '').split(';')) {
    const equals = piece.indexOf('=');
    const name = piece.slice(0, equals).trim().toUpperCase();
    if (equals < 1 || !/^[A-Z-]+$/.test(name))
      throw invalid('RRULE', 'The rule is not a list of NAME=VALUE parts.');
    if (parts.has(name)) throw invalid(name, `${name} occurs twice in the rule.`);
    parts.set(
      name,
      piece
        .slice(equals + 1)
        .trim()
        .toUpperCase(),
    );
  }

  const known = ['FREQ', 'INTERVAL', 'BYDAY', 'BYMONTHDAY', 'COUNT', 'UNTIL', 'WKST'];
  for (const name of parts.keys()) {
    if (known.includes(name)) continue;
    throw UNSUPPORTED_PARTS.includes(name) || name.startsWith('X-')
      ? unsupported(name)
      : invalid(name, `${name.slice(0, 32)} is not a part of an RRULE.`);
  }

  const frequency = parseFrequency(parts.get('FREQ'));
  return {
    frequency,
    interval: parseNumber('INTERVAL', parts.get('INTERVAL') ?? '1', MAX_INTERVAL),
    weekStart: parseWeekday('WKST', parts.get('WKST') ?? 'MO'),
    byDay: parseByDay(parts.get('BYDAY'), frequency),
    byMonthDay: parseByMonthDay(parts.get('BYMONTHDAY'), frequency),
    count: parts.has('COUNT')
      ? parseNumber('COUNT', parts.get('COUNT') ?? '', Number.MAX_SAFE_INTEGER)
      : Number.POSITIVE_INFINITY,
    until: readUntil(parts.get('UNTIL'), 'rule', 'UNTIL'),
  };
}

function parseFrequency(value: string | undefined): Frequency {
  if (value === 'DAILY' || value === 'WEEKLY' || value === 'MONTHLY') return value;
  if (value !== undefined && UNSUPPORTED_FREQUENCIES.includes(value)) {
    throw unsupported('FREQ', `FREQ=${value} is not supported: use DAILY, WEEKLY or MONTHLY.`);
  }
  throw invalid('FREQ', 'The rule needs FREQ=DAILY, WEEKLY or MONTHLY.');
}

function parseNumber(part: string, value: string, max: number): number {
  const number = /^\+?\d{1,9}$/.test(value) ? Number(value) : 0;
  if (number < 1 || number > max) {
    throw invalid(part, `${part} must be a whole number from 1${max === MAX_INTERVAL ? ` to ${max}` : ''}.`);
  }
  return number;
}

function parseWeekday(part: string, value: string): number {
  const weekday = WEEKDAYS.indexOf(value);
  if (weekday < 0) throw invalid(part, `${part} must name weekdays by MO, TU, WE, TH, FR, SA, SU.`);
  return weekday;
}

function parseByDay(value: string | undefined, frequency: Frequency): ByDay[] {
  if (value === undefined) return [];
  return value.split(',').map((item) => {
    const match = /^([+-]?\d{1,2})?([A-Z]{2})$/.exec(item.trim());
    const weekday = parseWeekday('BYDAY', match?.[2] ?? '');
    if (match?.[1] === undefined) return { weekday, ordinal: 0 };
    const ordinal = Number(match[1]);
    if (frequency !== 'MONTHLY') {
      throw invalid('BYDAY', 'A numbered weekday such as 2TU is possible with FREQ=MONTHLY only.');
    }
    if (ordinal === 0 || Math.abs(ordinal) > 5) {
      throw invalid('BYDAY', 'The number before a weekday must be 1 to 5 or -1 to -5.');
    }
    return { weekday, ordinal };
  });
}

function parseByMonthDay(value: string | undefined, frequency: Frequency): number[] {
  if (value === undefined) return [];
  if (frequency === 'WEEKLY') throw invalid('BYMONTHDAY', 'BYMONTHDAY is not possible with FREQ=WEEKLY.');
  return value.split(',').map((item) => {
    const day = /^[+-]?\d{1,2}$/.test(item.trim()) ? Number(item) : 0;
    if (day === 0 || Math.abs(day) > 31)
      throw invalid('BYMONTHDAY', 'BYMONTHDAY must be 1 to 31 or -1 to -31.');
    return day;
  });
}

/** Which of the walked days the rule means (RFC 5545 §3.3.10: missing parts come from the start). */
function dayFilter(rule: Rule, firstDay: CivilMillis): (day: CivilMillis) => boolean {
  const first = new Date(firstDay);
  let { byDay, byMonthDay } = rule;
  if (rule.frequency === 'WEEKLY' && byDay.length === 0) byDay = [{ weekday: weekdayOf(first), ordinal: 0 }];
  if (rule.frequency === 'MONTHLY' && byDay.length === 0 && byMonthDay.length === 0) {
    byMonthDay = [first.getUTCDate()];
  }
  const everyNthDay = rule.frequency === 'DAILY' ? rule.interval * DAY_MS : DAY_MS;
  return (day) => {
    if ((day - firstDay) % everyNthDay !== 0) return false;
    if (byDay.length === 0 && byMonthDay.length === 0) return true;
    const date = new Date(day);
    const dayOfMonth = date.getUTCDate();
    const monthLength = new Date(Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 0)).getUTCDate();
    const fromEnd = dayOfMonth - monthLength - 1;
    if (byMonthDay.length > 0 && !byMonthDay.includes(dayOfMonth) && !byMonthDay.includes(fromEnd))
      return false;
    if (byDay.length === 0) return true;
    const weekday = weekdayOf(date);
    return byDay.some(
      (by) =>
        by.weekday === weekday &&
        (by.ordinal === 0 ||
          by.ordinal === Math.ceil(dayOfMonth / 7) ||
          by.ordinal === -Math.ceil(-fromEnd / 7)),
    );
  };
}

function weekdayOf(date: Date): number {
  return (date.getUTCDay() + 6) % 7;
}

// rrule is CommonJS: Node and Deno give its exports as `default`, bundlers as names.
const { RRule } = (Reflect.get(rruleModule, 'default') ?? rruleModule) as typeof rruleModule;

const EVERY_WEEKDAY = [0, 1, 2, 3, 4, 5, 6];
const EVERY_MONTH_DAY = Array.from({ length: 31 }, (_, index) => index + 1);

/**
 * Every day, from the first, of the weeks or months the rule visits, until `visit` says stop. Which periods those are
 * rrule knows; where they are all, there is nothing to ask (and its `DAILY` makes a year-long array for each day).
 */
function walkDays(rule: Rule, firstDay: CivilMillis, visit: (day: CivilMillis) => boolean): void {
  const { frequency, interval, weekStart } = rule;
  if (frequency === 'DAILY' || interval === 1) {
    let day = firstDay;
    while (visit(day)) day += DAY_MS;
    return;
  }
  const periods =
    frequency === 'WEEKLY'
      ? { freq: RRule.WEEKLY, byweekday: EVERY_WEEKDAY, wkst: weekStart }
      : { freq: RRule.MONTHLY, bymonthday: EVERY_MONTH_DAY };
  new RRule({ ...periods, interval, dtstart: new Date(firstDay) }, true).all((day) => visit(day.getTime()));
}

// --- Its end --------------------------------------------------------------------------------------------------------

function readCount(option: number | null | undefined, inRule: number): number {
  if (option === null || option === undefined) return inRule;
  if (!Number.isInteger(option) || option < 1) {
    throw new RecurrenceError('INVALID_COUNT', 'count', 'The count must be a whole number from 1.');
  }
  return Math.min(option, inRule);
}

function readUntil(value: string | null | undefined, field: string, part: string | null): End | null {
  if (value === null || value === undefined) return null;
  const parsed = parseTemporal(value);
  if (!parsed) {
    throw new RecurrenceError(
      part ? 'INVALID_RULE' : 'INVALID_UNTIL',
      field,
      `${part ?? 'until'} must be a date, a local date-time or an instant, such as 20251231, 20251231T100000 or 20251231T180000Z.`,
      part,
    );
  }
  return { kind: parsed.kind, at: parsed.kind === 'instant' ? parsed.instant : parsed.civil };
}

/** The last civil day on which a start can still lie within an end. An instant's civil day is one off at most. */
function lastDayOf(end: End): CivilMillis {
  return end.kind === 'instant' ? end.at + DAY_MS : end.at;
}

function isWithin(end: End, day: CivilMillis, civil: CivilMillis, instant: number): boolean {
  if (end.kind === 'date') return day <= end.at;
  return (end.kind === 'local' ? civil : instant) <= end.at;
}

function tooMany(recurrence: Recurrence, rule: Rule): RecurrenceError {
  return new RecurrenceError(
    'TOO_MANY_OCCURRENCES',
    endingField(recurrence),
    `A series has at most ${MAX_OCCURRENCES} occurrences.`,
    rule.count < Number.POSITIVE_INFINITY ? 'COUNT' : rule.until ? 'UNTIL' : null,
  );
}

function tooLong(recurrence: Recurrence, counted: number): RecurrenceError {
  return new RecurrenceError(
    'SERIES_TOO_LONG',
    endingField(recurrence),
    `A series may not go beyond ${MAX_SERIES_DAYS} days after its first occurrence; within them this rule has ${counted}.`,
  );
}

/** The field that was meant to end the series, so that the error points where the change is to be made. */
function endingField(recurrence: Recurrence): 'count' | 'until' | 'rule' {
  if (/(^|[;:])\s*(COUNT|UNTIL)\s*=/i.test(recurrence.rule)) return 'rule';
  return recurrence.count !== null && recurrence.count !== undefined ? 'count' : 'until';
}

// --- Exceptions -----------------------------------------------------------------------------------------------------

function readExceptions(exceptions: readonly string[] | null | undefined) {
  const instants = new Set<number>();
  const civils = new Set<CivilMillis>();
  const days = new Set<CivilMillis>();
  for (const [index, text] of (exceptions ?? []).entries()) {
    const parsed = parseTemporal(text);
    if (!parsed) {
      throw new RecurrenceError(
        'INVALID_EXCEPTION',
        `exceptions.${index}`,
        'An exception must be a date, a local date-time or an instant, such as 2025-12-25 or 2025-12-25T18:00:00Z.',
      );
    }
    if (parsed.kind === 'instant') instants.add(parsed.instant);
    else (parsed.kind === 'date' ? days : civils).add(parsed.civil);
  }
  // A start that the clocks moved can be named by the rule's time or by the time it was moved to.
  return (day: CivilMillis, civil: CivilMillis, instant: number, timeZone: string): boolean =>
    days.has(day) ||
    instants.has(instant) ||
    (civils.size > 0 && (civils.has(civil) || civils.has(toCivil(instant, timeZone))));
}
