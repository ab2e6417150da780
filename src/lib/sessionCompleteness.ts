import { parseTemporal } from '../../supabase/functions/_shared/civil-time.ts';
import type { Issue } from '../../supabase/functions/_shared/contract/types.ts';
import { providerLevel, type ServiceCode, serviceCode } from '../../supabase/functions/_shared/cpt.ts';
import { invalidArgument } from './sessionsApiError.ts';

/** A session that may still lack what booking it needs. */
export interface DraftSession {
  readonly therapist_id?: string | null;
  readonly client_id?: string | null;
  /** The start, an instant in ISO 8601. */
  readonly start_time?: string | null;
  /** The end, an instant in ISO 8601. */
  readonly end_time?: string | null;
}

/** What else is known, and then checked too. */
export interface ServiceContext {
  readonly cptCode?: string | null;
  /** The rendering provider's credential, such as `RBT` or `BCBA`. */
  readonly credential?: string | null;
  /** How many clients (for 97157: families) take part. */
  readonly clientCount?: number | null;
  /** The local day of service, `YYYY-MM-DD`: codes begin and end. */
  readonly date?: string | null;
  /** The organization's own codes; see {@link fetchServiceCodes}. */
  readonly ownCodes?: readonly ServiceCode[] | null;
}

const REQUIRED = ['therapist_id', 'client_id', 'start_time', 'end_time'] as const;
const MAX_HOURS = 12;

/**
 * Makes sure a session has what booking needs, before anything is sent: therapist, client, and a start and end that are
 * instants, the end after the start by at most 12 hours. Given a service, also that its code is known and valid on the
 * day, that the provider may render it, and that it is for as many clients as take part.
 *
 * @param session - the session to be booked
 * @param service - the code, credential, number of clients, day and own codes, as far as known
 * @throws SessionsApiError 400 `MISSING_FIELDS`, `INVALID_RANGE` or `VALIDATION_FAILED`, with an issue for each field
 * @example
 * ```ts
 * assertSessionCompleteness(
 *   { therapist_id: therapistId, client_id: clientId, start_time: '2026-12-01T18:00:00Z', end_time: '2026-12-01T19:00:00Z' },
 *   { cptCode: '97153', credential: 'RBT', clientCount: 1 },
 * );
 * ```
 */
export function assertSessionCompleteness<Session extends DraftSession>(
  session: Session | null | undefined,
  service: ServiceContext = {},
): asserts session is Session & Record<(typeof REQUIRED)[number], string> {
  const missing = REQUIRED.filter((field) => !session?.[field]?.toString().trim());
  if (missing.length > 0) {
    throw invalidArgument(
      missing.map((field) => ({ path: `session.${field}`, message: 'is required' })),
      'MISSING_FIELDS',
    );
  }
  const start = parseTemporal(session?.start_time);
  const end = parseTemporal(session?.end_time);
  const malformed = [
    ...(start?.kind === 'instant' ? [] : ['session.start_time']),
    ...(end?.kind === 'instant' ? [] : ['session.end_time']),
  ];
  if (start?.kind !== 'instant' || end?.kind !== 'instant') {
    const message = 'must be an ISO 8601 instant with Z or an explicit offset';
    throw invalidArgument(malformed.map((path) => ({ path, message })));
  }
  if (end.instant <= start.instant) {
    throw invalidArgument(
      [{ path: 'session.end_time', message: 'must be after start_time' }],
      'INVALID_RANGE',
    );
  }
  if (end.instant - start.instant > MAX_HOURS * 3_600_000) {
    throw invalidArgument([
      { path: 'session.end_time', message: `must be at most ${MAX_HOURS} hours after start_time` },
    ]);
  }
  const issues = serviceIssues(service);
  if (issues.length > 0) throw invalidArgument(issues);
}

function serviceIssues({ cptCode, credential, clientCount, date, ownCodes }: ServiceContext): Issue[] {
  if (!cptCode) return [];
  const service = serviceCode(cptCode, { date, ownCodes });
  if (!service) {
    const message = date ? `is no service code on ${date}` : 'is no service code';
    return [{ path: 'cpt.code', message }];
  }
  const issues: Issue[] = [];
  const level = credential ? providerLevel(credential) : null;
  if (level && !service.levels.includes(level)) {
    issues.push({
      path: 'cpt.code',
      message: `${service.code} is not rendered by this level: ${level}`,
    });
  }
  const { min, max } = service.clients;
  if (clientCount !== null && clientCount !== undefined && (clientCount < min || clientCount > max)) {
    const size = min === max ? `${min}` : `${min} to ${max}`;
    issues.push({
      path: 'group_id',
      message: `${service.code} is for ${size} at a time, not ${clientCount}`,
    });
  }
  return issues;
}
