import type { ErrorCode } from '../../supabase/functions/_shared/contract/codes.ts';
import type {
  Alternative,
  Conflict,
  Issue,
  OverridableRule,
  Shortage,
} from '../../supabase/functions/_shared/contract/types.ts';
import type { PreviewedOccurrence } from './previewSeries.ts';
import type { SessionStatus } from './scheduleQueries.ts';
import { type LibraryErrorCode, SessionsApiError } from './sessionsApiError.ts';
import type { StaffTimeKind } from './staffTime.ts';

/** A code an app may have to say something about. */
export type MessageCode = ErrorCode | LibraryErrorCode;

/** What to say for each code. */
export type Messages = Readonly<Record<MessageCode, string>>;

/**
 * What a user is told for each code, in plain English. An app that speaks another language gives its own to
 * {@link messageOf}; the type says when one is missing.
 */
export const englishMessages: Messages = {
  INVALID_JSON: 'This page sent something the server cannot read. Please reload it.',
  VALIDATION_FAILED: 'Something in the form is not right yet.',
  MISSING_FIELDS: 'Something is still missing.',
  INVALID_RANGE: 'The end must be after the start.',
  UNAUTHENTICATED: 'Please sign in again.',
  FORBIDDEN: 'You may not do this. Ask an administrator of your clinic.',
  ORGANIZATION_REQUIRED: 'Your account belongs to no clinic yet. Ask an administrator to add you.',
  NOTE_NOT_FOUND: 'There is no note yet.',
  METHOD_NOT_ALLOWED: 'This page is out of date. Please reload it.',
  THERAPIST_CONFLICT: 'The therapist has a session then.',
  CLIENT_CONFLICT: 'The client is busy then.',
  THERAPIST_HOLD_CONFLICT: 'Somebody is booking the therapist for this time.',
  CLIENT_HOLD_CONFLICT: 'Somebody is booking this time for the client.',
  ROOM_CONFLICT: 'The room is taken then.',
  OUTSIDE_AVAILABILITY: 'The therapist does not work then.',
  AUTHORIZATION_EXCEEDED: 'The authorization has too few units left, or does not cover the date.',
  CONCURRENT_SERVICE_NOT_ALLOWED:
    'The client has another service then, and the payer does not allow the two together.',
  GROUP_FULL: 'The group has eight clients.',
  SESSION_BEING_MOVED: 'Somebody is moving this session right now.',
  HOLD_MISMATCH: 'What you held has changed. Please hold it again.',
  CLIENT_MISMATCH: 'This time is held for another client.',
  SESSION_NOT_MOVABLE: 'This session has started, is over or was cancelled, so it stays where it is.',
  NOTE_VERSION_CONFLICT: 'Somebody has changed this note meanwhile. Nothing of yours is lost.',
  NOTE_SIGNED: 'This note is signed. It can be amended, not changed.',
  NOTE_NOT_SIGNED: 'Only a signed note is amended. Save the draft instead.',
  SESSION_NOT_DOCUMENTABLE: 'This session takes no note or signature in its present state.',
  DETAILS_VERSION_CONFLICT: 'Somebody has changed these details meanwhile.',
  HOLD_NOT_FOUND: 'This time is no longer held for you.',
  HOLD_EXPIRED: 'The hold has ended. The time may be gone.',
  BODY_TOO_LARGE: 'This is too much for one request.',
  IDEMPOTENCY_KEY_REUSED: 'This was already sent in another form. Please try once more.',
  INTERNAL_ERROR: 'Something went wrong on our side.',
  CONTENT_UNREADABLE: 'This text cannot be opened. Please tell your administrator.',
  TOO_MANY_REQUESTS: 'That was too fast. Please wait a moment and try again.',
  USER_NOT_FOUND: 'There is no account with this address. Invite them first.',
  MEMBER_NOT_FOUND: 'They do not belong to this clinic.',
  ALREADY_A_MEMBER: 'They belong to this clinic already.',
  LAST_SUPER_ADMIN: 'The clinic needs a super admin. Appoint another one first.',
  DATABASE_BUSY: 'We are very busy right now. Please try again in a moment.',
  NETWORK_ERROR: 'No answer came. Please check the connection and try again: nothing is done twice.',
  UNAVAILABLE: 'The service cannot be reached right now. Please try again in a moment.',
  UNEXPECTED_ANSWER: 'Something else answered in place of the service.',
  READ_FAILED: 'This could not be loaded.',
  STATUS_NOT_ALLOWED: 'The session is not in the right state for this any more.',
  NOT_TODAY: 'This session is booked for another day. Move it to now, then start it.',
  VISIT_VERSION_CONFLICT: 'Somebody has corrected this visit meanwhile.',
  VISIT_OVERLAPS: 'Another visit took place at the same time. One of the two has wrong times.',
  SESSION_INCOMPLETE: 'The record of this session is not complete yet.',
};

/** What is said when an error is none of this library's. */
const UNKNOWN = 'Something went wrong. Please try again.';

/**
 * What to tell a user about an error.
 *
 * @param error - what a call of this library threw
 * @param messages - other words for some codes, or for all
 * @returns a sentence
 * @example
 * ```ts
 * const refusal = new SessionsApiError({ status: 410, code: 'HOLD_EXPIRED', message: 'for the developer' });
 * messageOf(refusal); // 'The hold has ended. The time may be gone.'
 * messageOf(refusal, { HOLD_EXPIRED: 'Zu spät.' }); // 'Zu spät.'
 * ```
 */
export function messageOf(error: unknown, messages: Partial<Messages> = {}): string {
  if (!(error instanceof SessionsApiError)) return UNKNOWN;
  return messages[error.code] ?? englishMessages[error.code] ?? UNKNOWN;
}

/** What users call the states of a session. */
export const statusWords: Readonly<Record<SessionStatus, string>> = {
  scheduled: 'booked',
  in_progress: 'in progress',
  completed: 'completed',
  cancelled: 'cancelled',
  no_show: 'did not come',
};

/** What users call time without a client. */
export const staffTimeWords: Readonly<Record<StaffTimeKind, string>> = {
  meeting: 'Meeting',
  supervision: 'Supervision',
  drive: 'Drive',
  documentation: 'Documentation',
  training: 'Training',
  break: 'Break',
};

/**
 * What is wrong with a field, as a sentence.
 *
 * @param issue - one of an error's `issues`
 * @returns the field's last name and what is wrong with it
 * @example
 * ```ts
 * issueSentence({ path: 'occurrences.0.start_time', message: 'is in the past' }); // 'start time is in the past.'
 * ```
 */
export function issueSentence({ path, message }: Issue): string {
  const text = `${(path.split('.').at(-1) ?? '').replaceAll('_', ' ')} ${message}`.trim();
  return text.endsWith('.') ? text : `${text}.`;
}

const ruleOfCode: Readonly<Partial<Record<MessageCode, OverridableRule>>> = {
  OUTSIDE_AVAILABILITY: 'availability',
  AUTHORIZATION_EXCEEDED: 'authorization',
  CONCURRENT_SERVICE_NOT_ALLOWED: 'concurrency',
};

/**
 * The rule that refused a booking, when an admin may book in spite of it; never for what is taken already.
 *
 * @param error - the 409
 * @returns the rule for `override.rules`, or null
 * @example
 * ```ts
 * const refusal = new SessionsApiError({ status: 409, code: 'OUTSIDE_AVAILABILITY', message: 'for the developer' });
 * overridableRule(refusal); // 'availability'
 * ```
 */
export function overridableRule(error: SessionsApiError): OverridableRule | null {
  return ruleOfCode[error.code] ?? null;
}

/**
 * Why a date of a series is not free, in words.
 *
 * @param occurrence - a date, from `previewSeries`
 * @param therapistName - who is to come
 * @returns a phrase, `free` when nothing is in the way
 * @example
 * ```ts
 * explainBlocked({ blockedBy: 'client', by: 'session' }); // 'the client is busy'
 * ```
 */
export function explainBlocked(
  { blockedBy, by }: Pick<PreviewedOccurrence, 'blockedBy' | 'by'>,
  therapistName = 'the therapist',
): string {
  if (blockedBy === null) return 'free';
  if (by === 'hold') return 'somebody is holding this time';
  return {
    therapist: `${therapistName} has a session`,
    client: 'the client is busy',
    room: 'the room is taken',
    availability: `${therapistName} does not work then`,
    closure: 'the clinic is closed',
    authorization: 'not authorized, or too few units are left',
  }[blockedBy];
}

/** What {@link explainRefusal} needs to name things and to write times. */
export interface RefusalContext {
  /** The zone times are written in. */
  readonly timeZone: string;
  /** The language of times; the device's when absent. */
  readonly locale?: string;
  readonly therapistName?: string;
  /** The name of a therapist by their id, where several were asked for. */
  therapistNameOf?(therapistId: string): string | undefined;
  readonly roomName?: string;
  readonly messages?: Partial<Messages>;
}

/** A refused booking in words. */
export interface RefusalExplanation {
  /** What it is about, such as `This time is taken`. */
  readonly heading: string;
  /** What is in the way, one sentence each, no two the same. */
  readonly reasons: readonly string[];
  /** How many of the dates of a series are blocked. */
  readonly blockedDates: number;
  /** Seconds after which trying again may help; null when waiting is of no use. */
  readonly retryAfterSeconds: number | null;
}

/**
 * A refused booking in words: what is in the way, and whether waiting helps. Never whose it is.
 *
 * @param error - the 409
 * @param context - the zone, and names the user may know
 * @returns heading and reasons
 * @example
 * ```ts
 * const refusal = new SessionsApiError({ status: 409, code: 'OUTSIDE_AVAILABILITY', message: 'for the developer' });
 * explainRefusal(refusal, { timeZone: 'America/Los_Angeles' }).heading; // 'Outside working hours'
 * ```
 */
export function explainRefusal(error: SessionsApiError, context: RefusalContext): RefusalExplanation {
  const { therapistName = 'The therapist', roomName } = context;
  const time = new Intl.DateTimeFormat(context.locale, {
    ...{ hour: 'numeric', minute: '2-digit', timeZone: context.timeZone },
  });
  const sentence = ({ resource, therapistId, blockedBy, startTime, endTime, expiresAt }: Conflict) => {
    const subject = {
      therapist: (therapistId && context.therapistNameOf?.(therapistId)) || therapistName,
      client: 'The client',
      room: roomName ? `Room ${roomName}` : 'The room',
    };
    const span = time.formatRange(new Date(startTime), new Date(endTime));
    if (blockedBy === 'hold') {
      // Therapist, client and room are held together: one sentence, whichever of them it is.
      return expiresAt
        ? `Somebody is holding this time until ${time.format(new Date(expiresAt))}.`
        : 'Somebody is holding this time.';
    }
    if (blockedBy === 'closure') return `The clinic is closed, ${span}.`;
    if (blockedBy === 'availability') return `${subject.therapist} does not work then, ${span}.`;
    if (resource === 'therapist') return `${subject.therapist} has a session, ${span}.`;
    return `${subject[resource] ?? subject.therapist} is ${resource === 'room' ? 'taken' : 'busy'}, ${span}.`;
  };
  const reasons = [...new Set([...error.conflicts.map(sentence), ...error.shortages.map(shortageSentence)])];
  return {
    heading: headingOf(error),
    reasons: reasons.length > 0 ? reasons : [messageOf(error, context.messages)],
    blockedDates: new Set(
      [...error.conflicts, ...error.shortages].map(({ occurrenceIndex }) => occurrenceIndex),
    ).size,
    retryAfterSeconds: error.retryAfterSeconds,
  };
}

/** What of an authorization is short, on which day. */
function shortageSentence({ cptCode, date, limit, neededUnits, leftUnits }: Shortage): string {
  if (limit === 'dates') return `${cptCode} is not authorized on ${date}.`;
  if (limit === 'coverage') return `No coverage on ${date}.`;
  const period = limit === 'total' ? '' : ` in the ${limit} of ${date}`;
  return `${cptCode}: ${leftUnits} units left${period}, ${neededUnits} needed.`;
}

function headingOf({ code, retryAfterSeconds }: SessionsApiError): string {
  if (code === 'OUTSIDE_AVAILABILITY') return 'Outside working hours';
  if (code === 'AUTHORIZATION_EXCEEDED') return 'Not authorized';
  if (code === 'CONCURRENT_SERVICE_NOT_ALLOWED') return 'Not together with another service';
  if (code === 'SESSION_BEING_MOVED' || retryAfterSeconds !== null) return 'This time is being held';
  return code.includes('CONFLICT') ? 'This time is taken' : 'This could not be booked';
}

/** Starts that follow each other closely, as one choice. */
export interface AlternativeRange {
  /** The starts, in order; the first and the last are the range. */
  readonly starts: readonly Alternative[];
}

const GRID_MS = 15 * 60_000;

/**
 * Alternatives as choices: starts that are 15 minutes apart are one free run, not several.
 *
 * @param alternatives - those of a 409
 * @returns the runs, in the order of their nearest start
 * @example
 * ```ts
 * const starts = ['16:00', '16:15', '18:00'].map((time) => ({
 *   startTime: `2026-12-01T${time}:00Z`,
 *   endTime: `2026-12-01T${time.replace('16:', '17:').replace('18:', '19:')}:00Z`,
 * }));
 * rangesOf(starts).map((range) => range.starts.length); // [2, 1]
 * ```
 */
export function rangesOf(alternatives: readonly Alternative[]): AlternativeRange[] {
  const byStart = [...alternatives].sort((a, b) => Date.parse(a.startTime) - Date.parse(b.startTime));
  const runs: Alternative[][] = [];
  for (const alternative of byStart) {
    const run = runs.at(-1);
    const last = run?.at(-1);
    const follows = last && Date.parse(alternative.startTime) - Date.parse(last.startTime) <= GRID_MS;
    if (run && follows) run.push(alternative);
    else runs.push([alternative]);
  }
  const rank = (run: Alternative[]) => Math.min(...run.map((one) => alternatives.indexOf(one)));
  return runs.sort((a, b) => rank(a) - rank(b)).map((starts) => ({ starts }));
}
