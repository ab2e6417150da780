/** The request headers the contract gives a meaning to. */

/** Visible ASCII, 1–255 characters. */
const IDEMPOTENCY_KEY = /^[\x21-\x7e]{1,255}$/;

/** A request id worth repeating in logs: nothing that could break a line or a header. */
const REQUEST_ID = /^[A-Za-z0-9._-]{1,128}$/;

/** What is wrong with a bad `Idempotency-Key`. */
export const IDEMPOTENCY_KEY_RULE = 'must have 1 to 255 visible ASCII characters, without spaces';

/**
 * Reads `Idempotency-Key`.
 *
 * @returns the key, or null when there is none, and whether what was given is acceptable
 */
export function readIdempotencyKey(headers: Headers): { key: string | null; valid: boolean } {
  const key = headers.get('idempotency-key');
  if (key === null) return { key: null, valid: true };
  return IDEMPOTENCY_KEY.test(key) ? { key, valid: true } : { key: null, valid: false };
}

/** The caller's `X-Request-Id` when it is a sane one, else a new UUID. */
export function readRequestId(headers: Headers): string {
  const given = headers.get('x-request-id');
  return given !== null && REQUEST_ID.test(given) ? given : crypto.randomUUID();
}
