/** Access tokens: HS256, with a key id, as a hosted project that has not moved to asymmetric keys issues them. */
import { errors, type JWTPayload, jwtVerify, SignJWT } from 'jose';
import { keys } from './settings.ts';

const secret = new TextEncoder().encode(keys.jwtSecret);

/** Imported once: jose would import raw bytes again for every token. */
const key = await crypto.subtle.importKey('raw', secret, { name: 'HMAC', hash: 'SHA-256' }, false, [
  'sign',
  'verify',
]);

/** The key set edge functions verify tokens with (`SUPABASE_JWKS`). It holds the secret: never serve it. */
export const functionsJwks = {
  keys: [
    {
      kty: 'oct',
      k: Buffer.from(secret).toString('base64url'),
      alg: 'HS256',
      kid: keys.jwtKeyId,
      use: 'sig',
      key_ops: ['verify'],
    },
  ],
};

/**
 * What `/auth/v1/.well-known/jwks.json` answers: like the platform, only public keys, so nothing for a symmetric one.
 * `supabase-js` then asks `/auth/v1/user` instead.
 */
export const publishedJwks = { keys: [] };

/**
 * Signs an access token.
 * @param claims as they should stand in the token, `iat` and `exp` (seconds) included
 */
export function signAccessToken(claims: JWTPayload): Promise<string> {
  return new SignJWT(claims)
    .setProtectedHeader({ alg: 'HS256', kid: keys.jwtKeyId, typ: 'JWT' })
    .sign(secret);
}

/** Why a token was refused, in PostgREST's words and codes. */
export interface TokenRefusal {
  code: 'PGRST301' | 'PGRST303';
  message: string;
}

/** Tokens verified lately; PostgREST keeps such a cache too. */
const verified = new Map<string, JWTPayload>();

/**
 * Verifies a bearer token.
 * @returns its claims, or why it is refused
 */
export async function verifyAccessToken(
  token: string,
): Promise<{ claims: JWTPayload; refusal?: undefined } | { claims?: undefined; refusal: TokenRefusal }> {
  const known = verified.get(token);
  if (known && typeof known.exp === 'number' && known.exp > Date.now() / 1000) return { claims: known };
  verified.delete(token);
  const parts = token.split('.');
  if (parts.length !== 3)
    return { refusal: { code: 'PGRST301', message: `Expected 3 parts in JWT; got ${parts.length}` } };
  try {
    const { payload } = await jwtVerify(token, key, { algorithms: ['HS256'] });
    if (verified.size >= 1000) verified.clear();
    verified.set(token, payload);
    return { claims: payload };
  } catch (error) {
    if (error instanceof errors.JWTExpired) return { refusal: { code: 'PGRST303', message: 'JWT expired' } };
    if (error instanceof errors.JWTClaimValidationFailed)
      return { refusal: { code: 'PGRST303', message: `JWT claim "${error.claim}" is not valid` } };
    return { refusal: { code: 'PGRST301', message: 'No suitable key or wrong key type' } };
  }
}
