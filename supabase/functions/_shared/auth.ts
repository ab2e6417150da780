/** Who is calling. */
import { verifyCredentials } from '@supabase/server/core';

/** A caller whose access token was verified. */
export type Caller = { token: string; userId: string };

export type Authentication =
  | { ok: true; caller: Caller }
  /** `unauthenticated`: the token's fault. `keys-unreachable`, `misconfigured`: ours. */
  | { ok: false; reason: 'unauthenticated' | 'keys-unreachable' | 'misconfigured' };

/** The scheme's name is case-insensitive (RFC 9110 §11.1), which `verifyAuth` of @supabase/server overlooks. */
const BEARER = /^Bearer +([^\s]+)$/i;

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/**
 * Verifies the bearer token against the project's keys. Only an end user's token will do: its `role` must be
 * `authenticated`, and its audience where it has one, and its subject a user id, so a service role's token does not become
 * a user's.
 *
 * The token says who is calling, nothing more: what the user may do is the database's to decide, from the
 * membership, on each request.
 */
export async function authenticate(request: Request): Promise<Authentication> {
  const { headers } = request;
  const bearer = BEARER.exec(headers.get('authorization')?.trim() ?? '')?.[1] ?? null;
  const credentials = { token: bearer, apikey: headers.get('apikey') };
  const { data, error } = await verifyCredentials(credentials, { auth: 'user' });
  if (error) {
    if (error.code === 'JWKS_FETCH_FAILED') return { ok: false, reason: 'keys-unreachable' };
    if (error.code === 'JWKS_NOT_CONFIGURED' || error.status >= 500)
      return { ok: false, reason: 'misconfigured' };
    return { ok: false, reason: 'unauthenticated' };
  }
  const { token, userClaims, jwtClaims } = data;
  // Auth's tokens say whom they are for; one for another service, signed with the same key, is not for us.
  const audience = [jwtClaims?.aud ?? 'authenticated'].flat();
  if (
    !token ||
    !audience.includes('authenticated') ||
    userClaims?.role !== 'authenticated' ||
    !UUID.test(userClaims.id)
  ) {
    return { ok: false, reason: 'unauthenticated' };
  }
  return { ok: true, caller: { token, userId: userClaims.id } };
}
