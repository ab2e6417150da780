/**
 * Every error code an edge function answers, and every code an RPC's outcome carries, once. `openapi.yaml` and `docs/codes.md` are generated from it.
 *
 * `title` is the short summary RFC 9457 §3.1.3 wants: the same each time. `meaning` says what happened, `action`
 * what the app should do about it.
 */
export type CodeEntry = {
  readonly status: number;
  readonly title: string;
  readonly meaning: string;
  readonly action: string;
  /** The endpoints that answer it; `all` when every one may. */
  readonly endpoints: 'all' | readonly Endpoint[];
  /** The database functions whose outcome carries it when an app calls them itself, over REST. */
  readonly rpcs?: readonly string[];
};

/** The edge functions. */
export type Endpoint =
  | 'sessions-hold'
  | 'sessions-confirm'
  | 'sessions-cancel'
  | 'session-notes'
  | 'client-details';

export const ERROR_CODES = {
  INVALID_JSON: {
    status: 400,
    title: 'The body is not JSON',
    meaning: 'The body is empty, is not UTF-8, is not JSON, or is not a JSON object.',
    action: 'Fix the call. Retrying the same body fails again.',
    endpoints: 'all',
  },
  VALIDATION_FAILED: {
    status: 400,
    title: 'The request is not valid',
    meaning: '`issues` names each field (`occurrences.0.start_time`) or header that is wrong, and why.',
    action: 'Show each message beside its field; a field the user cannot see is a bug in the app.',
    endpoints: 'all',
  },
  MISSING_FIELDS: {
    status: 400,
    title: 'Required fields are missing',
    meaning:
      'A field that confirming a hold, or signing a note, needs is absent, null or blank. `issues` names each.',
    action: 'Fill in what is missing and send it again; the hold or the note is untouched.',
    endpoints: ['sessions-confirm', 'session-notes'],
  },
  INVALID_RANGE: {
    status: 400,
    title: 'The end is not after the start',
    meaning: 'A session to confirm ends at or before its start.',
    action: 'Correct the times and confirm again; the hold is untouched.',
    endpoints: ['sessions-confirm'],
  },
  UNAUTHENTICATED: {
    status: 401,
    title: 'Sign in first',
    meaning: 'The access token is missing, expired, forged, or not a user’s.',
    action:
      'Refresh the session (`supabase.auth.refreshSession()`), repeat once, else send the user to sign in.',
    endpoints: 'all',
  },
  FORBIDDEN: {
    status: 403,
    title: 'Not allowed',
    meaning: 'The user’s role does not allow this, or the therapist, client or session is out of its scope.',
    action: 'Do not retry. Offer only what the user may do; reload if the role may have changed.',
    endpoints: 'all',
  },
  ORGANIZATION_REQUIRED: {
    status: 403,
    title: 'No active organization',
    meaning: 'The user belongs to no organization, or to none that is active in this session.',
    action:
      'Let the user choose or join an organization, then refresh the session so that the token names it.',
    endpoints: 'all',
  },
  NOTE_NOT_FOUND: {
    status: 404,
    title: 'There is no such note',
    meaning: 'The session has no note yet, or none in the version asked for.',
    action: 'Offer to write one, with `base_version` 0.',
    endpoints: ['session-notes'],
  },
  USER_NOT_FOUND: {
    status: 404,
    title: 'There is no such user',
    meaning: 'Nobody with that address or id has an account.',
    action: 'Invite them first, then add them.',
    endpoints: [],
    rpcs: ['add_member'],
  },
  MEMBER_NOT_FOUND: {
    status: 404,
    title: 'They are not a member',
    meaning: 'The user has no membership in this organization.',
    action: 'Reload the list of members.',
    endpoints: [],
    rpcs: ['change_member', 'remove_member'],
  },
  METHOD_NOT_ALLOWED: {
    status: 405,
    title: 'Only POST is allowed',
    meaning: 'The endpoint was called with another method than POST. `Allow` lists what it takes.',
    action: 'Fix the call.',
    endpoints: 'all',
  },
  THERAPIST_CONFLICT: {
    status: 409,
    title: 'The therapist has a session then',
    meaning: 'A booked session of the therapist is in the way. `retryAfter` is null: waiting does not help.',
    action: 'Offer `alternatives`, or let the user choose another time.',
    endpoints: ['sessions-hold'],
    rpcs: ['correct_visit', 'add_staff_time', 'change_staff_time', 'hold_reassignment'],
  },
  CLIENT_CONFLICT: {
    status: 409,
    title: 'The client has a session then',
    meaning: 'A booked session of the client is in the way. `retryAfter` is null: waiting does not help.',
    action: 'Offer `alternatives`, or let the user choose another time.',
    endpoints: ['sessions-hold'],
    rpcs: ['correct_visit', 'hold_reassignment'],
  },
  THERAPIST_HOLD_CONFLICT: {
    status: 409,
    title: 'Somebody is booking the therapist then',
    meaning: 'Only holds are in the way. All of them clear at `retryAfter`, unless they are confirmed first.',
    action: 'Offer `alternatives`, or "try again at" `retryAfter`.',
    endpoints: ['sessions-hold'],
    rpcs: ['correct_visit', 'add_staff_time', 'change_staff_time', 'hold_reassignment'],
  },
  CLIENT_HOLD_CONFLICT: {
    status: 409,
    title: 'Somebody is booking the client then',
    meaning: 'Only holds are in the way. All of them clear at `retryAfter`, unless they are confirmed first.',
    action: 'Offer `alternatives`, or "try again at" `retryAfter`.',
    endpoints: ['sessions-hold'],
    rpcs: ['correct_visit', 'hold_reassignment'],
  },
  ROOM_CONFLICT: {
    status: 409,
    title: 'The room is taken then',
    meaning: 'A session or a hold in that room is in the way; `conflicts` says which of the two.',
    action: 'Offer another room, `alternatives`, or, when it is not null, `retryAfter`.',
    endpoints: ['sessions-hold'],
    rpcs: ['correct_visit', 'add_staff_time', 'change_staff_time', 'hold_reassignment'],
  },
  OUTSIDE_AVAILABILITY: {
    status: 409,
    title: 'The therapist does not work then',
    meaning:
      'An occurrence is outside the therapist’s weekly hours, inside time off, or while the clinic is closed. `conflicts` says which.',
    action:
      'Offer `alternatives`. An admin may repeat the request with `override: {reason, rules: ["availability"]}`.',
    endpoints: ['sessions-hold'],
    rpcs: ['add_staff_time', 'change_staff_time', 'hold_reassignment'],
  },
  AUTHORIZATION_EXCEEDED: {
    status: 409,
    title: 'Not authorized by the payer',
    meaning:
      'The payer’s authorization has too few units left, or does not cover the dates. `shortages` says which occurrence, client and limit.',
    action:
      'Show `shortages` to the scheduler. An admin may hold with `override: {reason, rules: ["authorization"]}`. A hold that is refused at its confirmation stays alive.',
    endpoints: ['sessions-hold', 'sessions-confirm'],
    rpcs: ['hold_reassignment'],
  },
  CONCURRENT_SERVICE_NOT_ALLOWED: {
    status: 409,
    title: 'The payer does not allow both services at once',
    meaning: 'The client has another service at that time, and the payer does not cover that pair together.',
    action:
      'Offer `alternatives`. An admin may repeat the request with `override: {reason, rules: ["concurrency"]}`.',
    endpoints: ['sessions-hold'],
    rpcs: ['correct_visit'],
  },
  GROUP_FULL: {
    status: 409,
    title: 'The group is full',
    meaning: 'The group to join has eight clients, held places counted.',
    action:
      'Offer another group, or make a second one. `retryAfter`, when it is there, is the moment at which the first of the held places is free unless it is booked.',
    endpoints: ['sessions-hold'],
    rpcs: ['correct_visit'],
  },
  SESSION_BEING_MOVED: {
    status: 409,
    title: 'The session is already being moved',
    meaning: 'Another live hold is moving the same session, or the group it is in or would join.',
    action: 'Wait until that move is confirmed, released or expires (`retryAfter`), then reload the session.',
    endpoints: ['sessions-hold'],
    rpcs: ['hold_reassignment'],
  },
  HOLD_MISMATCH: {
    status: 409,
    title: 'The request differs from what was held',
    meaning:
      'Therapist, times, service or the list of occurrences are not those of the hold; `detail` names the fields. Nothing changed.',
    action: 'Confirm exactly what was held, or release the hold and hold what is wanted. The hold is alive.',
    endpoints: ['sessions-confirm'],
  },
  CLIENT_MISMATCH: {
    status: 409,
    title: 'The client is another one',
    meaning:
      'The client is not the one the slot is held for, or whose session is to be moved. Nothing changed.',
    action: 'Name the held or moved session’s own client. A hold to be confirmed is still alive.',
    endpoints: ['sessions-hold', 'sessions-confirm'],
  },
  SESSION_NOT_MOVABLE: {
    status: 409,
    title: 'The session can no longer be moved',
    meaning: 'The session to move has started, is over, or was cancelled since the hold was made.',
    action:
      'Reload the session, and hold anew if it is still wanted. A move whose session has ended is let go already.',
    endpoints: ['sessions-hold', 'sessions-confirm'],
    rpcs: ['change_staff_time', 'hold_reassignment'],
  },
  STATUS_NOT_ALLOWED: {
    status: 409,
    title: 'The session’s status does not allow it',
    meaning:
      'The session has already begun, is over or was cancelled; or it is called missed before its start.',
    action: 'Reload the session. Asked again after a lost answer: the first request has done it.',
    endpoints: [],
    rpcs: ['start_session', 'end_session', 'complete_session', 'mark_no_show', 'correct_visit'],
  },
  NOT_TODAY: {
    status: 409,
    title: 'The session is not today',
    meaning: 'A session begins at most 12 hours before the time it is booked for.',
    action: 'Move it to when it takes place, and start it then.',
    endpoints: [],
    rpcs: ['start_session'],
  },
  VISIT_VERSION_CONFLICT: {
    status: 409,
    title: 'Somebody has corrected the visit meanwhile',
    meaning: 'The visit is not at `base_version` any more.',
    action: 'Read the visit and its versions again, and correct what holds now.',
    endpoints: [],
    rpcs: ['correct_visit'],
  },
  VISIT_OVERLAPS: {
    status: 409,
    title: 'The visit overlaps another one',
    meaning:
      'The therapist, or the client in a service that excludes this one, has a completed visit at the same actual time. `overlaps` names each: `resource`, `sessionId` (null unless the caller may read it), `startTime`, `endTime`.',
    action:
      'Correct the times of one of the visits. An admin may let them overlap: the same request with `overlap_reason`.',
    endpoints: [],
    rpcs: ['complete_session', 'correct_visit'],
  },
  SESSION_INCOMPLETE: {
    status: 409,
    title: 'The session’s record lacks something',
    meaning:
      '`missing` names each thing that completing the session needs, by its field; `differs` of `signature` what is not as it was signed.',
    action: 'Show each message beside its field, and complete the session once they are there.',
    endpoints: [],
    rpcs: ['complete_session'],
  },
  ALREADY_A_MEMBER: {
    status: 409,
    title: 'They are a member already',
    meaning: 'The user already has a membership in this organization.',
    action: 'Offer to change their role.',
    endpoints: [],
    rpcs: ['add_member'],
  },
  LAST_SUPER_ADMIN: {
    status: 409,
    title: 'The organization needs a super_admin',
    meaning: 'The last super_admin would lose the role or the membership.',
    action: 'Appoint another super_admin first.',
    endpoints: [],
    rpcs: ['change_member', 'remove_member'],
  },
  NOTE_VERSION_CONFLICT: {
    status: 409,
    title: 'The note has changed meanwhile',
    meaning:
      'The note is not at `base_version`: somebody, perhaps another window, has saved since. Nothing changed.',
    action: 'Read the note, show both texts, and save again on top of the newest version.',
    endpoints: ['session-notes'],
  },
  NOTE_SIGNED: {
    status: 409,
    title: 'The note is signed',
    meaning: 'A signed note is not changed, and not signed twice.',
    action: 'Offer `amend`, which adds a version and keeps what was signed.',
    endpoints: ['session-notes'],
  },
  NOTE_NOT_SIGNED: {
    status: 409,
    title: 'The note is not signed yet',
    meaning: 'Only a signed note is amended; a draft is simply saved again.',
    action: 'Save a draft, or sign.',
    endpoints: ['session-notes'],
  },
  SESSION_NOT_DOCUMENTABLE: {
    status: 409,
    title: 'The session takes no note, or no signature yet',
    meaning: 'The session was cancelled or missed; or it is to be signed for and has not begun.',
    action: 'Reload the session. Start it before its note is signed.',
    endpoints: ['session-notes'],
  },
  DETAILS_VERSION_CONFLICT: {
    status: 409,
    title: 'The details have changed meanwhile',
    meaning: 'The client’s details are not at `base_version`: somebody has saved since. Nothing changed.',
    action: 'Read them again, show both, and save on top of the newest version.',
    endpoints: ['client-details'],
  },
  HOLD_NOT_FOUND: {
    status: 410,
    title: 'There is no such hold',
    meaning: 'The hold was released, never existed, or belongs to somebody else.',
    action: 'Hold the slot again.',
    endpoints: ['sessions-confirm'],
  },
  HOLD_EXPIRED: {
    status: 410,
    title: 'The hold has expired',
    meaning: 'The hold was not confirmed before `expiresAt`. The slot is free for anybody.',
    action: 'Hold the slot again, with a new idempotency key, and confirm sooner.',
    endpoints: ['sessions-confirm'],
  },
  BODY_TOO_LARGE: {
    status: 413,
    title: 'The body is too large',
    meaning: 'The body is over 1 MiB (1,048,576 bytes).',
    action: 'Send less. No valid request is that long.',
    endpoints: 'all',
  },
  IDEMPOTENCY_KEY_REUSED: {
    status: 422,
    title: 'The idempotency key belongs to another request',
    meaning: 'The same user used this `Idempotency-Key` on this endpoint for a different request.',
    action: 'Make a new key for each thing the user wants; repeat a key only with the same request.',
    endpoints: 'all',
  },
  TOO_MANY_REQUESTS: {
    status: 429,
    title: 'Too many requests',
    meaning: 'The user’s refused or costly requests came too fast. Nothing was done.',
    action: 'Wait `Retry-After` seconds, then send the same request with the same idempotency key.',
    endpoints: 'all',
  },
  INTERNAL_ERROR: {
    status: 500,
    title: 'Something went wrong',
    meaning: 'An error nobody foresaw. The log has it under `requestId`.',
    action: 'Retry with the same idempotency key at most once or twice; then show `requestId` to support.',
    endpoints: 'all',
  },
  CONTENT_UNREADABLE: {
    status: 500,
    title: 'The sealed content does not open',
    meaning:
      'The content is damaged or not where it was sealed for, or the key it needs is not among the functions’ secrets.',
    action: 'Do not retry. Show `requestId` to support: an operator has to look at keys or at the row.',
    endpoints: ['session-notes', 'client-details'],
  },
  DATABASE_BUSY: {
    status: 503,
    title: 'The database is busy',
    meaning:
      'The database was locked, overloaded, restarting, out of room, read-only for now or out of reach. Whether it acted may be unknown.',
    action: 'Retry after `Retry-After` seconds with the same idempotency key: it cannot act twice.',
    endpoints: 'all',
  },
} as const satisfies Record<string, CodeEntry>;

/** A code of the table. */
export type ErrorCode = keyof typeof ERROR_CODES;

/** Whether the table has this code. */
export function isErrorCode(code: unknown): code is ErrorCode {
  return typeof code === 'string' && Object.hasOwn(ERROR_CODES, code);
}

/**
 * The problem type of a code (RFC 9457 §3.1.1): an identifier to compare, not an address to open.
 *
 * @example problemType('HOLD_EXPIRED') // 'urn:problem-type:therapist-sessions:hold-expired'
 */
export function problemType(code: ErrorCode): string {
  return `urn:problem-type:therapist-sessions:${code.toLowerCase().replaceAll('_', '-')}`;
}
