/**
 * The small types every request is made of. Each refuses with a sentence that completes the field's name:
 * "`client_id` must be a UUID".
 *
 * None of them looks at the clock: whether an instant is in the past, or too far away, is the database's to say,
 * after it has looked for an idempotency key.
 */
import { z } from 'zod';
import { MAX_ZONE_NAME_LENGTH } from '../civil-time.ts';

/** Any 8-4-4-4-12 UUID, whatever its version bits: Postgres accepts them all (RFC 9562 §4). */
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

/** RFC 3339 §5.6, with the seconds optional and ISO 8601's shorter offsets: `Z`, `±hh:mm`, `±hhmm` or `±hh`. */
const INSTANT =
  /^(\d{4})-(\d{2})-(\d{2})T(\d{2}):(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?(?:Z|([+-])(\d{2})(?::?(\d{2}))?)$/;

const CIVIL_DATE = /^(\d{4})-(\d{2})-(\d{2})$/;

/** Years a therapy session can plausibly be in. The database narrows this to the next 730 days. */
const FIRST_YEAR = 2000;
const LAST_YEAR = 2199;

type Missing = { readonly input?: unknown };

/** The message of a type error: absent values "is required", others say what was expected. */
export function expected(what: string): (issue: Missing) => string {
  return (issue) => (issue.input === undefined || issue.input === null ? 'is required' : `must be ${what}`);
}

/** A UUID in either case, handed on in lower case. */
export function uuid() {
  return z
    .string({ error: expected('a UUID') })
    .regex(UUID, { error: 'must be a UUID' })
    .toLowerCase()
    .meta({ format: 'uuid' });
}

/** Days in a month of the proleptic Gregorian calendar; 0 when there is no such month. */
function daysInMonth(year: number, month: number): number {
  return month >= 1 && month <= 12 ? new Date(Date.UTC(year, month, 0)).getUTCDate() : 0;
}

/**
 * Reads an instant and writes it in UTC, to the millisecond, so that two spellings of one instant are one request. Finer
 * ones are refused: JavaScript's clocks could not name the booking again.
 *
 * @returns the canonical text, or what is wrong with `text` as `{ problem }`
 * @example canonicalInstant('2026-03-08T10:00:00-07:00') // '2026-03-08T17:00:00.000Z'
 */
export function canonicalInstant(text: string): string | { problem: string } {
  const match = INSTANT.exec(text);
  if (!match) {
    return {
      problem: 'must be an ISO 8601 instant with Z or an explicit offset, like 2026-03-09T10:00:00-07:00',
    };
  }
  const [
    ,
    year,
    month,
    day,
    hour,
    minute,
    second = '0',
    fraction = '',
    sign,
    offsetHours = '0',
    offsetMinutes = '0',
  ] = match;
  if (Number(year) < FIRST_YEAR || Number(year) > LAST_YEAR) {
    return { problem: `must be in a year from ${FIRST_YEAR} to ${LAST_YEAR}` };
  }
  const isDate = Number(day) >= 1 && Number(day) <= daysInMonth(Number(year), Number(month));
  const isTime = Number(hour) <= 23 && Number(minute) <= 59 && Number(second) <= 59;
  if (!isDate || !isTime) return { problem: 'must be a date and time that exist' };
  const offset = Number(offsetHours) * 60 + Number(offsetMinutes);
  if (Number(offsetMinutes) > 59 || offset > 14 * 60)
    return { problem: 'must have an offset of at most 14:00' };
  if (Number(fraction.slice(3)) > 0) return { problem: 'must not be finer than a millisecond' };

  const wallClock = Date.UTC(
    Number(year),
    Number(month) - 1,
    Number(day),
    Number(hour),
    Number(minute),
    Number(second),
    Number(fraction.slice(0, 3).padEnd(3, '0')),
  );
  return new Date(wallClock - (sign === '-' ? -offset : offset) * 60_000).toISOString();
}

/** An instant: ISO 8601 with `Z` or an explicit offset. Handed on in UTC. */
export function instant() {
  return z
    .string({ error: expected('an ISO 8601 instant') })
    .transform((text, context) => {
      const canonical = canonicalInstant(text);
      if (typeof canonical === 'string') return canonical;
      context.addIssue({ code: 'custom', message: canonical.problem });
      return z.NEVER;
    })
    .meta({ format: 'date-time', inputExamples: ['2026-11-30T10:00:00-08:00'] });
}

/** A civil date `YYYY-MM-DD` that exists. */
export function civilDate() {
  return z
    .string({ error: expected('a date like 2026-03-09') })
    .refine(isCivilDate, { error: 'must be a date that exists, like 2026-03-09' })
    .meta({ format: 'date', examples: ['2026-11-30'] });
}

/** Whether `text` is a civil date that exists, in a plausible year. */
export function isCivilDate(text: string): boolean {
  const [, year, month, day] = CIVIL_DATE.exec(text) ?? [];
  return (
    Number(year) >= FIRST_YEAR &&
    Number(year) <= LAST_YEAR &&
    Number(day) >= 1 &&
    Number(day) <= daysInMonth(Number(year), Number(month))
  );
}

/**
 * An IANA time zone. Which zones there are the database alone knows: the rules of zones that this runtime came with may be
 * older or newer than the database's.
 */
export function timeZone() {
  const message = 'must be an IANA time zone, like America/Los_Angeles';
  return z
    .string({ error: expected('an IANA time zone') })
    .refine(
      (name) => /^[A-Za-z]/.test(name) && isStorable(name) && charactersOf(name) <= MAX_ZONE_NAME_LENGTH,
      {
        error: message,
      },
    )
    .meta({ examples: ['America/Los_Angeles'], maxLength: MAX_ZONE_NAME_LENGTH });
}

/** A zone's offset at an instant, in minutes east of UTC (Los Angeles in winter is −480). */
export function offsetMinutes() {
  return integer(-840, 840).meta({ examples: [-480] });
}

/** A whole number within bounds, both included. Numeric strings are refused. */
export function integer(min: number, max: number) {
  const range = `must be a whole number from ${min} to ${max}`;
  return z
    .int({ error: expected(`a whole number from ${min} to ${max}`) })
    .min(min, { error: range })
    .max(max, { error: range });
}

/** How many characters a text has, as Postgres and JSON Schema count them: 😀 is one, though two UTF-16 units. */
function charactersOf(text: string): number {
  // Longer than any bound either way: not worth counting.
  return text.length > 200_000 ? text.length : [...text].length;
}

/** Text Postgres can store: no NUL character, no half of a surrogate pair. */
function isStorable(text: string): boolean {
  return !text.includes('\u0000') && text.isWellFormed();
}

/** Trimmed, storable, non-blank text of at most `max` characters. */
export function text(max: number) {
  return z
    .string({ error: expected('text') })
    .refine((value) => charactersOf(value) <= max, { error: `must have at most ${max} characters` })
    .refine(isStorable, { error: 'must not contain a NUL character or half of a surrogate pair' })
    .trim()
    .min(1, { error: 'must not be blank' })
    .meta({ maxLength: max });
}

/** Like {@link text}, but absent, `null` and blank all mean "not given": forms send empty strings. */
export function optionalText(max: number) {
  return z
    .string({ error: expected('text') })
    .refine((value) => charactersOf(value) <= max, { error: `must have at most ${max} characters` })
    .refine(isStorable, { error: 'must not contain a NUL character or half of a surrogate pair' })
    .trim()
    .meta({ maxLength: max })
    .nullish()
    .transform((value) => value || undefined);
}

/** Whether a form would say of this value that nothing was entered. */
export function isBlank(value: unknown): boolean {
  return value === undefined || value === null || (typeof value === 'string' && value.trim() === '');
}

/** Lets blank text through as "not given", whatever the field is of: forms send `''` for what was left empty. */
function unlessBlank<Schema extends z.ZodType>(schema: Schema) {
  const blankIsAbsent = z.preprocess(
    (value) => (typeof value === 'string' && isBlank(value) ? undefined : value),
    schema.nullish(),
  );
  // What may be sent is still what the schema says: a blank is tolerated, not advertised.
  return blankIsAbsent.optional() as unknown as z.ZodOptional<z.ZodNullable<Schema>>;
}

/** Makes a field optional; `null` and blank text mean the same as leaving it out. */
export function optional<Schema extends z.ZodType>(schema: Schema) {
  return unlessBlank(schema).transform((value): z.output<Schema> | undefined => value ?? undefined);
}

/** Makes a field optional where `null` means something of its own. Blank text is left out. */
export function optionalOrNull<Schema extends z.ZodType>(schema: Schema) {
  return unlessBlank(schema);
}

/** Makes a field optional with a default, which `null` and blank text take too. */
export function withDefault<Schema extends z.ZodType>(schema: Schema, fallback: z.output<Schema>) {
  return unlessBlank(schema)
    .transform((value): z.output<Schema> => value ?? fallback)
    .meta({ inputDefault: fallback });
}

/**
 * A list whose length is checked before any of its items, so that a megabyte of wrong items costs one issue.
 */
export function list<Item extends z.ZodType>(item: Item, min: number, max: number) {
  return z.preprocess(
    (value, context) => {
      if (!Array.isArray(value) || value.length <= max) return value;
      context.addIssue({ code: 'custom', message: `must have at most ${max} items` });
      return z.NEVER;
    },
    z
      .array(item, { error: expected('a list') })
      .min(min, { error: `must have at least ${min} item${min === 1 ? '' : 's'}` })
      .max(max),
  );
}

/** A countdown must survive a wrong clock of the caller's. */
export function secondsLeft() {
  return z
    .int()
    .min(0)
    .meta({ description: 'Seconds until `expiresAt`, by our clock, when this was answered.' });
}
