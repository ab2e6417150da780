import { refresherOf } from './readRest.ts';
import { errorOfResponse, noAnswer, SessionsApiError } from './sessionsApiError.ts';
import {
  type FunctionsCaller,
  type InvokeAnswer,
  invokeOf,
  type SessionRefresher,
} from './supabaseClient.ts';

export type { FunctionsCaller } from './supabaseClient.ts';

/** How often and how patiently a call is repeated. See {@link callEdge} for what is repeated at all. */
export interface RetryOptions {
  /** Attempts in all, the first included. Default 4; 1 never repeats. */
  readonly attempts?: number;
  /** The first pause, in milliseconds; each further one is twice as long, and all are jittered. Default 250. */
  readonly baseDelayMs?: number;
  /** The longest pause, in milliseconds. An endpoint that asks for a longer one is not called again. Default 10 000. */
  readonly maxDelayMs?: number;
  /** How long one attempt may take before it counts as lost, in milliseconds. Default 30 000. */
  readonly attemptTimeoutMs?: number;
}

/** An attempt that failed and will be repeated. */
export interface RetryNotice {
  /** Which attempt failed, from 1. */
  readonly attempt: number;
  /** Milliseconds until the next one; 0 when only the session had to be refreshed. */
  readonly delayMs: number;
  readonly error: SessionsApiError;
}

/** What every call of an endpoint can be given. */
export interface CallOptions {
  /** The user's JWT, when it is not the client's own session that calls. */
  readonly accessToken?: string;
  /**
   * Names the intent, 1–255 characters, so that a repeat acts once and answers the same. Made up when absent, and
   * then used for all attempts of this one call. Use one of your own to be able to repeat the call later.
   */
  readonly idempotencyKey?: string;
  /** Gives up: the call rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  readonly retry?: RetryOptions;
  /** Told before each repeat, so that an app can say why it takes long. */
  readonly onRetry?: (notice: RetryNotice) => void;
}

/** The endpoints of the product. */
export type EndpointName =
  | 'sessions-hold'
  | 'sessions-confirm'
  | 'sessions-cancel'
  | 'session-notes'
  | 'client-details';

/**
 * Statuses of which the same request may get another answer at once. 502 and 504 are the gateway's, for an answer it
 * did not get. A 409 is not among them: what is in the way is the user's to decide about.
 */
const REPEATABLE = new Set([0, 429, 502, 503, 504]);

/**
 * Posts a body to an edge function and returns the `data` of its answer. Network failures and the statuses 429, 502,
 * 503 and 504 are tried again with the same idempotency key, after a jittered pause that is never shorter than
 * `Retry-After`. After a 401 the client's session is refreshed, once.
 *
 * @param supabase - a supabase-js client
 * @param endpoint - the function's name
 * @param body - the JSON body
 * @param options - token, key, signal and patience
 * @returns the answer's `data`
 * @throws SessionsApiError for any other answer, or when the attempts are used up
 * @throws the signal's reason when aborted
 */
export async function callEdge<Data>(
  supabase: FunctionsCaller,
  endpoint: EndpointName,
  body: object,
  options: CallOptions & { readonly idempotencyKey: string },
): Promise<Data> {
  return await repeated(supabase, () => post<Data>(supabase, endpoint, body, options), options);
}

/** Asks until there is an answer, as {@link callEdge} does. What is asked must act once, however often it is asked. */
export async function repeated<Data>(
  supabase: { readonly auth?: SessionRefresher },
  ask: () => Promise<Data>,
  options: CallOptions,
): Promise<Data> {
  const { signal, accessToken, onRetry } = options;
  const { attempts = 4, baseDelayMs = 250, maxDelayMs = 10_000 } = options.retry ?? {};
  let mayRefresh = accessToken === undefined;
  const refresh = refresherOf(supabase);
  for (let attempt = 1; ; attempt += 1) {
    signal?.throwIfAborted();
    try {
      return await ask();
    } catch (error) {
      signal?.throwIfAborted();
      if (!(error instanceof SessionsApiError)) throw error;
      if (error.status === 401 && mayRefresh) {
        mayRefresh = false;
        if (!(await refresh())) throw error;
        onRetry?.({ attempt, delayMs: 0, error });
        continue;
      }
      if (!REPEATABLE.has(error.status) || attempt >= attempts) throw error;
      const asked = (error.retryAfterSeconds ?? 0) * 1000;
      if (asked > maxDelayMs) throw error;
      const backoff = Math.min(maxDelayMs, baseDelayMs * 2 ** (attempt - 1));
      // Half of the pause is random, so that callers turned away together do not come back together.
      const delayMs = Math.round(asked + backoff * (0.5 + Math.random() / 2));
      onRetry?.({ attempt, delayMs, error });
      await pause(delayMs, signal);
    }
  }
}

async function post<Data>(
  supabase: FunctionsCaller,
  endpoint: EndpointName,
  body: object,
  { accessToken, idempotencyKey, signal, retry }: CallOptions & { readonly idempotencyKey: string },
): Promise<Data> {
  const timeout = AbortSignal.timeout(retry?.attemptTimeoutMs ?? 30_000);
  const ended = signal ? AbortSignal.any([signal, timeout]) : timeout;
  const asked = invokeOf(supabase, endpoint, {
    body: { ...body },
    headers: {
      'Idempotency-Key': idempotencyKey,
      ...(accessToken ? { Authorization: `Bearer ${accessToken}` } : {}),
    },
    signal: ended,
  });
  const { data, error, response = responseOf(error) } = await orAborted(asked, ended);
  if (error) throw response ? await errorOfResponse(response) : noAnswer(error);
  if (!isSuccess<Data>(data)) {
    throw new SessionsApiError({
      status: response?.status ?? 0,
      code: 'UNEXPECTED_ANSWER',
      message: `Something other than ${endpoint} answered.`,
      requestId: response?.headers.get('X-Request-Id') ?? null,
    });
  }
  return data.data;
}

function responseOf(error: InvokeAnswer['error']): Response | undefined {
  const context = error?.context as Partial<Response> | undefined;
  return typeof context?.json === 'function' && typeof context.status === 'number'
    ? (context as Response)
    : undefined;
}

/** Stops waiting when the signal says so, also where supabase-js is too old to know of signals. */
async function orAborted(asked: PromiseLike<InvokeAnswer>, signal: AbortSignal): Promise<InvokeAnswer> {
  const stop = new AbortController();
  const aborted = new Promise<InvokeAnswer>((resolve) => {
    const giveUp = () => resolve({ data: null, error: signal.reason ?? {} });
    if (signal.aborted) giveUp();
    signal.addEventListener('abort', giveUp, { once: true, signal: stop.signal });
  });
  try {
    return await Promise.race([asked, aborted]);
  } finally {
    stop.abort();
  }
}

function isSuccess<Data>(answer: unknown): answer is { success: true; data: Data } {
  return typeof answer === 'object' && answer !== null && 'success' in answer && answer.success === true;
}

/** Waits, unless the signal ends the wait, which then rejects with its reason. */
export function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const timer = setTimeout(done, milliseconds);
    signal?.addEventListener('abort', done, { once: true });
    function done() {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      if (signal?.aborted) reject(signal.reason);
      else resolve();
    }
  });
}

/** A fresh idempotency key. `crypto.randomUUID` is missing from pages that are not served over HTTPS. */
export function newIdempotencyKey(): string {
  if (typeof crypto.randomUUID === 'function') return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, '0'),
  ).join('');
}

/** Whether an error leaves open if the request acted. */
export function outcomeIsUnknown(error: unknown): boolean {
  if (!(error instanceof SessionsApiError)) return true;
  return error.status === 0 || error.status >= 500 || error.code === 'UNEXPECTED_ANSWER';
}
