/** The body of every failure: RFC 9457 problem details, `application/problem+json`. */
import { z } from 'zod';
import { ERROR_CODES, type ErrorCode } from './codes.ts';

const isoInstant = () => z.iso.datetime({ offset: true });

/** One thing that is wrong with a request (400). */
export const issue = z
  .object({
    path: z
      .string()
      .meta({ description: 'The field, dotted, or the header.', examples: ['occurrences.0.start_time'] }),
    message: z.string().meta({ examples: ['must be after start_time'] }),
    expected: z
      .int()
      .optional()
      .meta({
        description: 'The right value, of an offset that is not the zone’s: minutes east of UTC.',
        examples: [-420],
      }),
  })
  .meta({ id: 'Issue' });

/**
 * What is in the way (409): one entry per occurrence and resource. Never whose it is. Times are the overlap with
 * the request.
 */
export const conflict = z
  .object({
    occurrenceIndex: z.number().int().min(0).meta({ description: 'Which requested occurrence, from 0.' }),
    resource: z.enum(['therapist', 'client', 'room']),
    therapistId: z.string().nullish().meta({
      format: 'uuid',
      description: 'Of time without a client: which of the therapists that were asked for.',
    }),
    blockedBy: z.enum(['hold', 'session', 'availability', 'closure']).meta({
      description:
        'A hold may yet lapse; a session does not. `availability`: outside the therapist’s hours or in time off; `closure`: the organization is closed.',
    }),
    startTime: isoInstant(),
    endTime: isoInstant(),
    expiresAt: isoInstant()
      .nullish()
      .meta({ description: 'When the hold in the way lapses. Only for holds.' }),
    secondsLeft: z.int().min(0).nullish().meta({ description: 'Seconds until `expiresAt`, by our clock.' }),
    sessionId: z
      .string()
      .nullish()
      .meta({ format: 'uuid', description: 'Of a series that changes: the session this occurrence moves.' }),
  })
  .meta({ id: 'Conflict' });

/** What a payer does not authorize (409 `AUTHORIZATION_EXCEEDED`): one entry per occurrence, client and limit. */
export const shortage = z
  .object({
    occurrenceIndex: z.int().min(0).meta({ description: 'Which requested occurrence, from 0.' }),
    clientId: z.string().nullish().meta({ format: 'uuid', description: 'In a group: whose.' }),
    cptCode: z.string(),
    date: z.iso.date().meta({ description: 'The local day of service.' }),
    limit: z.enum(['dates', 'coverage', 'total', 'day', 'week', 'month']).meta({
      description:
        'What runs out. `dates`: no authorization covers that day; `coverage`: no payer does; `total`: the authorization’s units; `day`, `week`, `month`: a limit of that period.',
    }),
    neededUnits: z.number(),
    leftUnits: z.number(),
    sessionId: z
      .string()
      .nullish()
      .meta({ format: 'uuid', description: 'Of a series that changes: the session this occurrence moves.' }),
  })
  .meta({ id: 'Shortage' });

/** A nearby start at which the same request, the whole series shifted, would succeed right now (409). */
export const alternative = z
  .object({ startTime: isoInstant(), endTime: isoInstant() })
  .meta({ id: 'Alternative' });

/** What every failure has. */
export const problem = z
  .object({
    type: z.string().meta({ description: 'Identifies the kind of problem; one per `code`.' }),
    title: z.string().meta({ description: 'Short summary of the kind, always the same.' }),
    status: z.number().int(),
    detail: z.string().meta({ description: 'What happened this time, for the developer.' }),
    success: z.literal(false),
    error: z.string().meta({ description: 'The same text as `detail`.' }),
    code: z.enum(Object.keys(ERROR_CODES) as [ErrorCode, ...ErrorCode[]]),
    requestId: z
      .string()
      .meta({ description: 'Also in `X-Request-Id`; find it in the logs and the audit trail.' }),
    retryAfterSeconds: z
      .number()
      .int()
      .nullish()
      .meta({ description: 'With 429 and 503: how long to wait, as `Retry-After` says it.' }),
  })
  .meta({ id: 'Problem' });

/** A 400. */
export const invalidRequestProblem = problem
  .extend({ issues: z.array(issue).min(1) })
  .meta({ id: 'InvalidRequestProblem' });

/** A 409. `retryAfter` is set when only holds are in the way: the moment when all of them have cleared. */
export const conflictProblem = problem
  .extend({
    retryAfter: isoInstant().nullable(),
    retryAfterSeconds: z.number().int().nullable().meta({ description: 'Seconds until `retryAfter`.' }),
    conflicts: z.array(conflict),
    alternatives: z.array(alternative).max(5),
    shortages: z.array(shortage).optional().meta({ description: 'Only with `AUTHORIZATION_EXCEEDED`.' }),
  })
  .meta({ id: 'ConflictProblem' });

export type Conflict = z.output<typeof conflict>;
export type Shortage = z.output<typeof shortage>;
export type Alternative = z.output<typeof alternative>;
export type Problem = z.output<typeof problem> &
  Partial<Omit<z.output<typeof invalidRequestProblem>, keyof z.output<typeof problem>>> &
  Partial<Omit<z.output<typeof conflictProblem>, keyof z.output<typeof problem>>>;
