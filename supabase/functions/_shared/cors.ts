/** Which web pages may call the functions, and what they may send and read (Fetch standard §3.2). */
import { corsHeaders } from '@supabase/supabase-js/cors';
import { env } from './env.ts';

const ALLOWED_METHODS = 'POST, OPTIONS';

/**
 * Every header an app's supabase-js may send: its own list, so that a later version's further headers are allowed when
 * the package is updated; `x-region`, which `functions.invoke` sends but the list lacks; and the contract's own.
 */
const ALLOWED_HEADERS = [
  corsHeaders['Access-Control-Allow-Headers'],
  ...['x-region', 'idempotency-key', 'x-request-id', 'x-correlation-id'],
].join(', ');

/** `Date` lets a page measure how far its own clock is off. */
const EXPOSED_HEADERS = 'Date, Retry-After, Idempotency-Key, Idempotent-Replay, X-Request-Id';

/** Seconds a browser may remember a preflight. */
const PREFLIGHT_MAX_AGE = '600';

/** A page served from the developer's own machine, on any port. */
const LOCAL_ORIGIN = /^https?:\/\/(?:localhost|127\.0\.0\.1|\[::1\])(?::\d{1,5})?$/;

/**
 * Whether a page of this origin may call.
 *
 * @param origin - the `Origin` header
 * @param allowList - `ALLOWED_ORIGINS`: origins divided by commas, compared exactly. Unset or blank means
 *   development: only localhost origins.
 */
export function isAllowedOrigin(origin: string, allowList: string | undefined): boolean {
  if (!allowList?.trim()) return LOCAL_ORIGIN.test(origin);
  return allowList.split(',').some((entry) => entry.trim().replace(/\/$/, '') === origin);
}

/** Sets the CORS headers of any answer. `Vary` is always there, so that no cache serves one origin's answer to another. */
export function setCorsHeaders(headers: Headers, request: Request): void {
  headers.append('Vary', 'Origin');
  const origin = request.headers.get('origin');
  if (origin === null || !isAllowedOrigin(origin, env('ALLOWED_ORIGINS'))) return;
  headers.set('Access-Control-Allow-Origin', origin);
  headers.set('Access-Control-Expose-Headers', EXPOSED_HEADERS);
}

/** Sets the further headers of the answer to a preflight from an allowed origin. */
export function setPreflightHeaders(headers: Headers): void {
  if (!headers.has('Access-Control-Allow-Origin')) return;
  headers.set('Access-Control-Allow-Methods', ALLOWED_METHODS);
  headers.set('Access-Control-Allow-Headers', ALLOWED_HEADERS);
  headers.set('Access-Control-Max-Age', PREFLIGHT_MAX_AGE);
}
