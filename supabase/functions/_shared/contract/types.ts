/**
 * The contract's answers as plain types, for code that must not depend on zod: an app that uses the client library does
 * not have it. A test compares each with the schema it restates.
 */
import type { ErrorCode } from './codes.ts';

/**
 * One thing wrong with a request. `path` is dotted: `occurrences.0.start_time`. `expected` is the right value where the
 * database knows it: minutes east of UTC, of an offset.
 */
export type Issue = { path: string; message: string; expected?: number | undefined };

/** What is in the way (409): one entry per occurrence and resource. Times are the overlap with the request. */
export type Conflict = {
  occurrenceIndex: number;
  resource: 'therapist' | 'client' | 'room';
  /** Of time without a client: which of the therapists that were asked for. */
  therapistId?: string | null | undefined;
  blockedBy: 'hold' | 'session' | 'availability' | 'closure';
  startTime: string;
  endTime: string;
  /** When the hold in the way lapses. */
  expiresAt?: string | null | undefined;
  /** Seconds until `expiresAt`, by the server's clock. */
  secondsLeft?: number | null | undefined;
  /** Of a series that changes: the session this occurrence moves. */
  sessionId?: string | null | undefined;
};

/** What a payer does not authorize (409 `AUTHORIZATION_EXCEEDED`): one entry per occurrence, client and limit. */
export type Shortage = {
  occurrenceIndex: number;
  /** In a group: whose. */
  clientId?: string | null | undefined;
  cptCode: string;
  /** The local day of service. */
  date: string;
  limit: 'dates' | 'coverage' | 'total' | 'day' | 'week' | 'month';
  neededUnits: number;
  leftUnits: number;
  /** Of a series that changes: the session this occurrence moves. */
  sessionId?: string | null | undefined;
};

/** A nearby start at which the same request, the whole series shifted, would succeed (409). */
export type Alternative = { startTime: string; endTime: string };

/** The body of a failure (RFC 9457). */
export type Problem = {
  type: string;
  title: string;
  status: number;
  detail: string;
  success: false;
  error: string;
  code: ErrorCode;
  requestId: string;
  issues?: Issue[] | undefined;
  retryAfter?: string | null | undefined;
  retryAfterSeconds?: number | null | undefined;
  conflicts?: Conflict[] | undefined;
  alternatives?: Alternative[] | undefined;
  shortages?: Shortage[] | undefined;
};

/** Rules that an admin sets aside, each by its name. */
export type OverridableRule = 'availability' | 'authorization' | 'concurrency';

/** Rules that an override may name. `credential` (who may render a service) and `travel` (buffers) hold all the same. */
export type OverrideRule = OverridableRule | 'credential' | 'travel';

/** One held occurrence. */
export type HeldSlot = {
  /** Confirms or releases this occurrence. */
  holdKey: string;
  holdId: string;
  startTime: string;
  endTime: string;
  expiresAt: string;
  /** Seconds until `expiresAt` when this was answered, by the server's clock. */
  secondsLeft: number;
  /** In a group: the clients this hold is for, in the order they were named. */
  clientIds?: string[] | undefined;
  /** In a group: the group. */
  groupId?: string | undefined;
  /** Of a series that changes: the session that goes here. */
  sessionId?: string | undefined;
  /** Likewise: the zone of its clocks. */
  timeZone?: string | undefined;
  /** Likewise: where it was. */
  previousStartTime?: string | undefined;
  previousEndTime?: string | undefined;
};

/** What a hold may still be told of, though it succeeded. */
export type HoldWarning =
  | {
      code: 'AUTHORIZATION_NEARLY_USED';
      authorizationId: string;
      cptCode: string;
      approvedUnits: number;
      leftUnits: number;
    }
  | {
      code: 'UNIT_LIMIT_EXCEEDED';
      cptCode: string;
      date: string;
      limit: 'total' | 'day' | 'week' | 'month';
      units: number;
      maxUnits: number;
    };

/** The `data` of a 200 answer of `sessions-hold`. */
export type HoldData = {
  /** The batch key: stands for all occurrences. */
  holdKey: string;
  holdId: string;
  /** From this moment the slots are free again. */
  expiresAt: string;
  /** Seconds until `expiresAt` when this was answered, by the server's clock. */
  secondsLeft: number;
  /** One per occurrence, in request order; that of a group stands for all its clients. */
  holds: HeldSlot[];
  warnings?: HoldWarning[] | undefined;
  /** The rules that would have refused this hold, but for `override`. */
  overridden?: OverridableRule[] | undefined;
  /** Of a series that changes. With `holds`, all that confirming asks for. */
  series?: SeriesMove | undefined;
};

/** How much of a series changes: one session, it and those after it, or all that are to come. */
export type SeriesScope = 'this' | 'following' | 'all';

/** A held change of a series. */
export type SeriesMove = {
  seriesId: string;
  scope: SeriesScope;
  /** With whom the sessions will be. */
  therapistId: string;
  clientId: string;
};

/** The `data` of a 200 answer of `sessions-cancel` that released a hold. */
export type ReleaseData = {
  /** False when there was nothing left to give back. */
  released: boolean;
  hold?: ReleasedHold | null | undefined;
};

/** What was let go: all of a batch, or one occurrence of it. */
export type ReleasedHold = {
  /** The key that was given. */
  holdKey: string;
  holdId: string;
  /** The first window that was held. */
  startTime: string;
  endTime: string;
  therapistId: string;
  /** Of a group: the first of its clients. */
  clientId: string;
  /** Until when it would have been kept. */
  expiresAt: string;
  secondsLeft: number;
  /** Each occurrence that was released. */
  holds: { holdKey: string; holdId: string; startTime: string; endTime: string }[];
};

/** The `data` of a 200 answer of `sessions-cancel` that cancelled sessions. */
export type CancelData = {
  summary: {
    cancelledCount: number;
    alreadyCancelledCount: number;
    nonCancellableCount: number;
    totalCount: number;
    cancelledSessionIds: string[];
    alreadyCancelledSessionIds: string[];
    nonCancellableSessionIds: string[];
  };
};

/** What a session's note says. A draft may be incomplete. */
export type NoteContent = {
  /** What was done, for each service code. */
  narratives?: { cpt_code: string; narrative: string }[] | undefined;
  client_response?: string | undefined;
  progress?: string | undefined;
  participants?: string[] | undefined;
  /** Where, when the session itself does not say. */
  location?: string | undefined;
  remarks?: string | undefined;
};

/** A version of a note, without its content. */
export type NoteVersion = {
  sessionId: string;
  versionId: string;
  version: number;
  /** `amended`: a later version of a signed note, itself signed. */
  status: 'draft' | 'signed' | 'amended';
  savedBy: string;
  savedAt: string;
  signature: {
    signedBy: string;
    credential: string;
    signedAt: string;
    /** The facts of the session that were signed for. */
    attested: { [key: string]: unknown };
  } | null;
};

/** A version of a note, as it was saved. */
export type NoteWithContent = NoteVersion & {
  content: NoteContent;
  /** Why it was amended. */
  reason: string | null;
};

type Contact = { kind: 'phone' | 'email' | 'other'; value: string; label?: string | undefined };

/** Who a client is. */
export type ClientDetails = {
  given_name: string;
  family_name: string;
  preferred_name?: string | undefined;
  birth_date?: string | undefined;
  contacts?: Contact[] | undefined;
  guardians?:
    | { name: string; relationship?: string | undefined; contacts?: Contact[] | undefined }[]
    | undefined;
  address?:
    | {
        line1: string;
        line2?: string | undefined;
        city?: string | undefined;
        region?: string | undefined;
        postal_code?: string | undefined;
        country?: string | undefined;
      }
    | undefined;
  insurance_member_ids?: string[] | undefined;
  remarks?: string | undefined;
};

/** The `data` of read client details, in the order asked for. Nulls where nothing was saved. */
export type DetailsReadData = {
  clients: {
    clientId: string;
    versionId: string | null;
    version: number | null;
    savedAt: string | null;
    details: ClientDetails | null;
  }[];
};

/** The `data` of read names, in the order asked for. Null where nothing was saved. */
export type NamesReadData = {
  clients: {
    clientId: string;
    name: Pick<ClientDetails, 'given_name' | 'family_name' | 'preferred_name'> | null;
  }[];
  /** Of the ids asked for those that answer no name, for whatever reason. */
  notReadable: string[];
};
