import type { ErrorCode } from '../../supabase/functions/_shared/contract/codes.ts';
import type {
  Alternative,
  Conflict,
  Issue,
  Problem,
  Shortage,
} from '../../supabase/functions/_shared/contract/types.ts';

/**
 * Codes this library adds to the endpoints' own.
 * - `NETWORK_ERROR`: no answer came, or not a whole one. Whether the request acted is unknown; repeating it with the
 *   same idempotency key tells.
 * - `UNAVAILABLE`: something in front of the endpoint answered 429, 502, 503 or 504 in its place.
 * - `UNEXPECTED_ANSWER`: something else answered that is not the endpoint, such as a proxy's page.
 * - `READ_FAILED`: a read over REST failed.
 */
export type LibraryErrorCode = 'NETWORK_ERROR' | 'UNAVAILABLE' | 'UNEXPECTED_ANSWER' | 'READ_FAILED';

/** A completed visit that would overlap the one that was refused. */
export interface VisitOverlap {
  /** Who would be in two places. */
  readonly resource: 'therapist' | 'client';
  /** The other session; null unless the caller may read it. */
  readonly sessionId: string | null;
  /** The time both would have taken, as instants. */
  readonly startTime: string;
  readonly endTime: string;
}

/** A session that cannot go to another therapist, and why. */
export interface BlockedSession {
  readonly sessionId: string;
  /** What weighs most of what is in the way, such as `THERAPIST_CONFLICT` or `OUTSIDE_AVAILABILITY`. */
  readonly code: ErrorCode;
  readonly detail: string;
  /** When the holds in its way have cleared (an instant); null when waiting would not help. */
  readonly retryAfter: string | null;
  readonly conflicts: readonly Conflict[];
}

/** What a {@link SessionsApiError} is made of. */
export interface SessionsApiErrorDetails {
  readonly status: number;
  readonly code: ErrorCode | LibraryErrorCode;
  readonly message: string;
  readonly retryAfter?: string | null;
  readonly retryAfterSeconds?: number | null;
  readonly conflicts?: readonly Conflict[];
  readonly alternatives?: readonly Alternative[];
  readonly shortages?: readonly Shortage[];
  readonly overlaps?: readonly VisitOverlap[];
  readonly blocked?: readonly BlockedSession[];
  readonly issues?: readonly Issue[];
  readonly requestId?: string | null;
  readonly cause?: unknown;
}

/**
 * The one error of this library: what an endpoint refused, what is wrong with the arguments (status 400, found before
 * anything was sent), or that no answer came (status 0). An abort is not one: it rejects with the signal's reason, as
 * `fetch` does.
 *
 * @example
 * ```ts
 * try {
 *   await bookSession(supabase, booking);
 * } catch (error) {
 *   if (!(error instanceof SessionsApiError)) throw error;
 *   if (error.retryAfterSeconds !== null) console.log(`Free in ${error.retryAfterSeconds} s, unless somebody books it`);
 *   else if (error.alternatives.length > 0) console.log('Free then:', error.alternatives);
 *   else console.log(error.message, error.issues, error.requestId);
 * }
 * ```
 */
export class SessionsApiError extends Error {
  override readonly name = 'SessionsApiError';
  /** The HTTP status; 400 also for arguments refused before sending, 0 when no answer came. */
  readonly status: number;
  /** What happened, by the table in `docs/codes.md`, or one of this library's own. */
  readonly code: ErrorCode | LibraryErrorCode;
  /** When all holds in the way have cleared (an instant); null when waiting would not help. */
  readonly retryAfter: string | null;
  /** Seconds to wait before trying again, from the answer or its `Retry-After`; null when none were named. */
  readonly retryAfterSeconds: number | null;
  /** What is in the way, one entry per occurrence and resource. Empty unless the status is 409. */
  readonly conflicts: readonly Conflict[];
  /** Starts nearby at which the same request would succeed. Empty unless the status is 409. */
  readonly alternatives: readonly Alternative[];
  /** Which units are not authorized, by occurrence, client and limit. Empty unless the code is `AUTHORIZATION_EXCEEDED`. */
  readonly shortages: readonly Shortage[];
  /** Which completed visits are in the way. Empty unless the code is `VISIT_OVERLAPS`. */
  readonly overlaps: readonly VisitOverlap[];
  /** Which sessions cannot go to the other therapist. Empty unless a hand-over was refused. */
  readonly blocked: readonly BlockedSession[];
  /** Which fields are wrong or missing, and why. Empty unless the status is 400 or the code `SESSION_INCOMPLETE`. */
  readonly issues: readonly Issue[];
  /** The request's id in logs and audit trail; null when nothing answered. */
  readonly requestId: string | null;

  constructor(details: SessionsApiErrorDetails) {
    super(details.message, details.cause === undefined ? undefined : { cause: details.cause });
    this.status = details.status;
    this.code = details.code;
    this.retryAfter = details.retryAfter ?? null;
    this.retryAfterSeconds = details.retryAfterSeconds ?? null;
    this.conflicts = details.conflicts ?? [];
    this.alternatives = details.alternatives ?? [];
    this.shortages = details.shortages ?? [];
    this.overlaps = details.overlaps ?? [];
    this.blocked = details.blocked ?? [];
    this.issues = details.issues ?? [];
    this.requestId = details.requestId ?? null;
  }
}

/** An argument that cannot be sent, reported as the endpoint would. */
export function invalidArgument(
  issues: readonly Issue[],
  code: 'VALIDATION_FAILED' | 'MISSING_FIELDS' | 'INVALID_RANGE' = 'VALIDATION_FAILED',
  cause?: unknown,
): SessionsApiError {
  const message = issues.map(({ path, message }) => `${path} ${message}`).join('; ');
  return new SessionsApiError({ status: 400, code, message, issues, cause });
}

/** Refuses a payload that is none, or lacks what is looked into before anything is sent: its reader learns which. */
export function checkGiven(payload: unknown, ...fields: readonly string[]): void {
  if (typeof payload !== 'object' || payload === null) {
    const message = 'must be an object with the fields of the request';
    throw invalidArgument([{ path: 'payload', message }], 'MISSING_FIELDS');
  }
  const missing = fields.filter(
    (name) => typeof Object(payload)[name] !== 'object' || !Object(payload)[name],
  );
  if (missing.length === 0) return;
  const issues = missing.map((path) => ({ path, message: 'is required' }));
  throw invalidArgument(issues, 'MISSING_FIELDS');
}

/** The error a problem+json answer stands for; also what a gateway answered instead of the endpoint. */
export async function errorOfResponse(response: Response): Promise<SessionsApiError> {
  const answer: unknown = await response.json().catch((cause: unknown) => {
    // JSON that ends early is a lost answer; a page of another kind is somebody else's answer.
    if (isJson(response)) throw noAnswer(cause);
    return null;
  });
  const problem = isProblem(answer) ? answer : null;
  const { status, headers } = response;
  return new SessionsApiError({
    status,
    code: problem?.code ?? codeOfGateway(status),
    message:
      problem?.detail ?? `The endpoint did not answer; something in front of it did, with status ${status}.`,
    retryAfter: problem?.retryAfter,
    retryAfterSeconds: problem?.retryAfterSeconds ?? retryAfterSeconds(headers.get('Retry-After')),
    conflicts: problem?.conflicts,
    alternatives: problem?.alternatives,
    shortages: problem?.shortages,
    issues: problem?.issues,
    requestId: problem?.requestId ?? headers.get('X-Request-Id'),
  });
}

function isProblem(answer: unknown): answer is Problem {
  if (typeof answer !== 'object' || answer === null) return false;
  const { code, detail } = answer as Partial<Problem>;
  return typeof code === 'string' && typeof detail === 'string';
}

function codeOfGateway(status: number): ErrorCode | LibraryErrorCode {
  if (status === 401) return 'UNAUTHENTICATED';
  return [429, 502, 503, 504].includes(status) ? 'UNAVAILABLE' : 'UNEXPECTED_ANSWER';
}

/** No answer came, or its end is missing. */
export function noAnswer(cause: unknown): SessionsApiError {
  return new SessionsApiError({
    status: 0,
    code: 'NETWORK_ERROR',
    message: 'No answer came from the endpoint. Whether it acted is unknown.',
    cause,
  });
}

function isJson(response: Response): boolean {
  return /\bjson\b/i.test(response.headers.get('Content-Type') ?? '');
}

/**
 * `Retry-After` in seconds from now: it is a number of seconds or an HTTP date (RFC 9110 §10.2.3).
 *
 * @param header - the header's value, or null
 * @returns whole seconds, 0 or more, or null when absent or malformed
 */
export function retryAfterSeconds(header: string | null): number | null {
  const value = header?.trim() ?? '';
  if (/^\d{1,9}$/.test(value)) return Number(value);
  const date = /[a-z]/i.test(value) ? Date.parse(value) : Number.NaN;
  return Number.isNaN(date) ? null : Math.max(0, Math.ceil((date - Date.now()) / 1000));
}
