/**
 * From what the database answered to what the caller gets. Nothing of Postgres passes: no message, no SQLSTATE,
 * no constraint's name.
 *
 * The booking functions return an *outcome*, `{ok, status, body | code, …}`, for everything they decide, and raise
 * only for authentication, malformed input and infrastructure. Raised errors arrive as `PTnnn`, PostgREST's way to
 * choose a status.
 */
import { z } from 'zod';
import { isBusy } from './busy.ts';
import { ERROR_CODES, type ErrorCode, isErrorCode } from './contract/codes.ts';
import type { InputErrorCode, Issue } from './contract/parsed.ts';
import type { RpcAnswer } from './rpc.ts';

/** Seconds a caller waits before repeating when the database names no time. */
export const DEFAULT_RETRY_SECONDS = 1;

const MAX_RETRY_SECONDS = 3_600;

/** What the answer says, before it becomes HTTP. */
export type Answer =
  | { kind: 'success'; status: number; data: unknown; replayed: boolean }
  | { kind: 'invalid'; code: InputErrorCode | 'INVALID_JSON'; issues: Issue[] }
  | {
      kind: 'conflict';
      code: ErrorCode;
      detail: string;
      retryAfter: string | null;
      retryAfterSeconds: number | null;
      conflicts: unknown[];
      alternatives: unknown[];
      /** Of units, when that is what is short. */
      shortages?: unknown[];
    }
  | { kind: 'busy'; retryAfterSeconds: number }
  /** The caller asks too much. */
  | { kind: 'limited'; retryAfterSeconds: number }
  | { kind: 'refused'; code: ErrorCode; detail: string }
  /** `errorClass` is for the log only. */
  | { kind: 'unexpected'; errorClass: string };

const successOutcome = z.object({
  ok: z.literal(true),
  status: z.int().min(200).max(299),
  replayed: z.boolean().nullish(),
  body: z.unknown(),
});

const refusal = z.object({
  ok: z.literal(false),
  code: z.string(),
  detail: z.string().nullish(),
  retryAfter: z.string().nullish(),
  retryAfterSeconds: z.number().nullish(),
  conflicts: z.array(z.unknown()).nullish(),
  alternatives: z.array(z.unknown()).nullish(),
  shortages: z.array(z.unknown()).nullish(),
});

const issueList = z
  .array(z.object({ path: z.string(), message: z.string(), expected: z.int().nullish() }))
  .min(1);

/** Seconds as a whole number that a `Retry-After` header may carry (RFC 9110 §10.2.3). */
function wholeSeconds(value: number): number {
  return Number.isFinite(value)
    ? Math.min(Math.max(1, Math.ceil(value)), MAX_RETRY_SECONDS)
    : DEFAULT_RETRY_SECONDS;
}

function secondsUntil(instant: string, now: number): number | null {
  const moment = Date.parse(instant);
  return Number.isNaN(moment) ? null : wholeSeconds((moment - now) / 1000);
}

function fromRefusal(outcome: z.output<typeof refusal>, now: number): Answer {
  const { code } = outcome;
  if (!isErrorCode(code)) return { kind: 'unexpected', errorClass: 'UnknownOutcomeCode' };
  const { status, title } = ERROR_CODES[code];
  const detail = outcome.detail || title;
  if (status === 429)
    return { kind: 'limited', retryAfterSeconds: wholeSeconds(outcome.retryAfterSeconds ?? Number.NaN) };
  if (status !== 409) return { kind: 'refused', code, detail };
  const retryAfter = outcome.retryAfter ?? null;
  return {
    kind: 'conflict',
    code,
    detail,
    retryAfter,
    retryAfterSeconds:
      retryAfter === null
        ? null
        : typeof outcome.retryAfterSeconds === 'number'
          ? wholeSeconds(outcome.retryAfterSeconds)
          : secondsUntil(retryAfter, now),
    conflicts: outcome.conflicts ?? [],
    alternatives: outcome.alternatives ?? [],
    ...(outcome.shortages && { shortages: outcome.shortages }),
  };
}

function fromRaised(status: number, error: NonNullable<RpcAnswer['error']>): Answer {
  const { code = '', message = '', details, hint } = error;
  switch (code) {
    case 'PT400': {
      const issues = issueList.safeParse(parseJson(details));
      return {
        kind: 'invalid',
        code: hint === 'MISSING_FIELDS' || hint === 'INVALID_RANGE' ? hint : 'VALIDATION_FAILED',
        issues: issues.success
          ? issues.data.map(({ path, message, expected }) => ({
              path: path || 'body',
              message,
              ...(typeof expected === 'number' && { expected }),
            }))
          : [{ path: 'body', message: message || 'is not valid' }],
      };
    }
    case 'PT401':
      return {
        kind: 'refused',
        code: 'UNAUTHENTICATED',
        detail: message || ERROR_CODES.UNAUTHENTICATED.meaning,
      };
    case 'PT403':
      return {
        kind: 'refused',
        code: hint === 'ORGANIZATION_REQUIRED' ? hint : 'FORBIDDEN',
        detail: message || ERROR_CODES.FORBIDDEN.meaning,
      };
    case 'PT429':
      return {
        kind: 'limited',
        retryAfterSeconds: wholeSeconds(details ? Number(details) : DEFAULT_RETRY_SECONDS),
      };
    case 'PT503':
      return {
        kind: 'busy',
        retryAfterSeconds: wholeSeconds(details ? Number(details) : DEFAULT_RETRY_SECONDS),
      };
  }
  if (isBusy(code, status)) return { kind: 'busy', retryAfterSeconds: DEFAULT_RETRY_SECONDS };
  // PostgREST refuses a token that lapsed between our check and its own with 401 and PGRST30x.
  if (status === 401) {
    return { kind: 'refused', code: 'UNAUTHENTICATED', detail: ERROR_CODES.UNAUTHENTICATED.meaning };
  }
  return { kind: 'unexpected', errorClass: errorClassOf({ status, error }) };
}

/** What the log may say of a failed call: its SQLSTATE or PostgREST code, else the HTTP status; never its text. */
export function errorClassOf({ status, error }: Pick<RpcAnswer, 'status' | 'error'>): string {
  const code = error?.code ?? '';
  return /^[A-Z0-9]{3,10}$/.test(code) ? code : `HTTP ${status}`;
}

function parseJson(text: string | null | undefined): unknown {
  try {
    return JSON.parse(text ?? '');
  } catch {
    return null;
  }
}

/**
 * Reads an RPC's answer.
 *
 * @param answer - what REST gave back
 * @param now - milliseconds since 1970, for a retry time that came without its seconds
 */
export function interpret(answer: RpcAnswer, now: number = Date.now()): Answer {
  if (answer.error) return fromRaised(answer.status, answer.error);
  const success = successOutcome.safeParse(answer.data);
  if (success.success) {
    const { status, body, replayed } = success.data;
    return { kind: 'success', status, data: body, replayed: replayed === true };
  }
  const refused = refusal.safeParse(answer.data);
  return refused.success
    ? fromRefusal(refused.data, now)
    : { kind: 'unexpected', errorClass: 'MalformedOutcome' };
}
