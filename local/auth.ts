/**
 * `/auth/v1`: the embedded GoTrue-compatible service of `@supabase/lite`, with what the platform's tokens have.
 *
 * lite signs tokens without a key id, without the claims GoTrue always sets, and ignores auth hooks. Every answer that
 * carries an access token is therefore signed again: GoTrue's claims, then the project's access-token hook, called by
 * `supabase_auth_admin` exactly as on the platform, then a key id.
 */
import { App } from '@supabase/lite';
import { Hono } from 'hono';
import { cors } from 'hono/cors';
import { decodeJwt, type JWTPayload } from 'jose';
import { sql } from 'kysely';
import { LocalConnection } from './database.ts';
import { keys, type ProjectConfig } from './settings.ts';
import { publishedJwks, signAccessToken } from './tokens.ts';

/** GoTrue's error body. */
interface AuthError {
  code: number;
  error_code: string;
  msg: string;
}

/** How a session began, for the `amr` claim (RFC 8176). */
type AuthenticationMethod = 'password' | 'otp' | 'token_refresh';

class HookRefusal extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

/** Schema and name of the hook function in a `pg-functions://database/schema/name` address. */
function hookFunction(uri: string): { schema: string; name: string } {
  const [schema, name] = new URL(uri).pathname.split('/').filter(Boolean);
  if (!schema || !name) throw new Error(`Not a function's address: ${uri}`);
  return { schema, name };
}

/** The `/auth/v1` routes. */
export interface AuthApi {
  app: Hono;
  close(): Promise<void>;
}

/**
 * Makes the `/auth/v1` routes.
 * @param port of the database
 * @param apiUrl origin the stack is reached at, for the `iss` claim
 */
export function createAuthApi(port: number, apiUrl: string, config: ProjectConfig): AuthApi {
  const connection = new LocalConnection(port, 'supabase_auth_admin', { size: 6, jsonIsText: true });
  const database = connection.kysely;
  const { auth } = config;
  const hook = auth.hook?.custom_access_token;

  const lite = new App({
    connection,
    api: { enabled: false },
    auth: {
      ...{ enabled: true, enable_signup: auth.enable_signup, site_url: auth.site_url },
      ...{ jwt_secret: keys.jwtSecret, publishable_key: keys.publishable, secret_key: keys.secret },
      jwt_expiry: auth.jwt_expiry,
      minimum_password_length: auth.minimum_password_length,
      enable_refresh_token_rotation: auth.enable_refresh_token_rotation,
      refresh_token_reuse_interval: auth.refresh_token_reuse_interval,
      ...(auth.sessions ? { sessions: auth.sessions } : {}),
    },
    studio: { enabled: false },
    options: { server: { admin: false, disableStudio: true, disableFallback: true } },
  });

  /** Claims GoTrue sets on every token. */
  async function platformClaims(claims: JWTPayload, method: AuthenticationMethod): Promise<JWTPayload> {
    const {
      rows: [row],
    } = await sql<{
      email: string | null;
      phone: string | null;
      app: unknown;
      user: unknown;
      anonymous: boolean;
      began: number;
    }>`
      select u.email, u.phone, u.raw_app_meta_data as app, u.raw_user_meta_data as user, u.is_anonymous as anonymous,
             extract(epoch from coalesce(s.created_at, now()))::integer as began
      from auth.users u
      left join auth.sessions s on s.user_id = u.id and s.id = ${String(claims.session_id ?? '')}::uuid
      where u.id = ${String(claims.sub)}::uuid`.execute(database);
    return {
      iss: `${apiUrl}/auth/v1`,
      sub: claims.sub,
      aud: claims.aud,
      exp: claims.exp,
      iat: claims.iat,
      email: row?.email ?? '',
      phone: row?.phone ?? '',
      app_metadata: row?.app ?? {},
      user_metadata: row?.user ?? {},
      role: claims.role,
      aal: 'aal1',
      amr: [
        { method: method === 'token_refresh' ? 'password' : method, timestamp: row?.began ?? claims.iat },
      ],
      session_id: claims.session_id,
      is_anonymous: row?.anonymous ?? false,
    };
  }

  /** Asks the project's hook for the final claims. */
  async function hookedClaims(claims: JWTPayload, method: AuthenticationMethod): Promise<JWTPayload> {
    if (!hook?.enabled) return claims;
    const { schema, name } = hookFunction(hook.uri);
    const event = { user_id: claims.sub, claims, authentication_method: method };
    type Answer = { claims?: JWTPayload; error?: { http_code?: number; message?: string } };
    const answer = await database.transaction().execute(async (transaction) => {
      // GoTrue gives a hook two seconds.
      await sql`set local statement_timeout = '2s'`.execute(transaction);
      const { rows } = await sql<{ answer: Answer }>`
        select ${sql.id(schema, name)}(${JSON.stringify(event)}::text::jsonb) as answer`.execute(transaction);
      return rows[0]?.answer ?? {};
    });
    if (answer.error)
      throw new HookRefusal(answer.error.http_code ?? 500, answer.error.message ?? 'Hook failed');
    if (!answer.claims) throw new HookRefusal(500, 'The access token hook returned no claims');
    return answer.claims;
  }

  async function signAgain(response: Response, method: AuthenticationMethod): Promise<Response> {
    if (!response.ok || !response.headers.get('content-type')?.includes('json')) return response;
    const body = (await response.clone().json()) as { access_token?: unknown } | null;
    if (typeof body?.access_token !== 'string') return response;
    const headers = new Headers(response.headers);
    headers.delete('content-length');
    try {
      const claims = await platformClaims(decodeJwt(body.access_token), method);
      const token = await signAccessToken(await hookedClaims(claims, method));
      return Response.json({ ...body, access_token: token }, { status: response.status, headers });
    } catch (error) {
      const status = error instanceof HookRefusal ? error.status : 500;
      const message = error instanceof HookRefusal ? error.message : 'Error running hook URI';
      if (!(error instanceof HookRefusal)) console.error(`The access token hook failed: ${String(error)}`);
      const answer: AuthError = { code: status, error_code: 'unexpected_failure', msg: message };
      return Response.json(answer, { status, headers });
    }
  }

  /** Whether a request would make a user, although nobody signs up here: lite closes `/signup` alone. */
  async function wouldSignUp(request: Request): Promise<boolean> {
    const way = new URL(request.url).pathname.slice('/auth/v1/'.length);
    if (auth.enable_signup || request.method !== 'POST' || !['signup', 'otp', 'magiclink'].includes(way))
      return false;
    const body: unknown = await request
      .clone()
      .json()
      .catch(() => null);
    const { email, phone } = (body ?? {}) as { email?: unknown; phone?: unknown };
    const { rows } = await sql`
      select from auth.users
      where lower(email) = lower(${typeof email === 'string' ? email.trim() : ''}) or phone = ${typeof phone === 'string' ? phone : ''}`.execute(
      database,
    );
    return way === 'signup' || rows.length === 0;
  }

  const textFields = ['email', 'phone', 'password', 'token', 'token_hash', 'refresh_token', 'type'];

  /** Whether lite would answer 500 for a body: no object, metadata that is none, fields that are no text or cannot be stored. */
  async function isUnusable(request: Request): Promise<boolean> {
    const body = await request.clone().text();
    let found = false;
    const look = (text: unknown) => {
      if (typeof text === 'string' && (text.includes('\0') || !text.isWellFormed())) found = true;
    };
    try {
      const value: unknown = JSON.parse(body, (name, inner) => {
        look(name);
        look(inner);
        return inner;
      });
      const isObject = (known: unknown) =>
        typeof known === 'object' && known !== null && !Array.isArray(known);
      const fields = (isObject(value) ? value : {}) as Record<string, unknown>;
      const { data } = fields;
      if (!isObject(value) || (data !== undefined && data !== null && !isObject(data))) found = true;
      if (textFields.some((name) => !['string', 'undefined'].includes(typeof (fields[name] ?? undefined))))
        found = true;
    } catch {
      // lite says what is wrong with it.
    }
    return found;
  }

  const app = new Hono()
    // lite's preflight allows no headers, so that no browser could send `apikey`.
    .use(
      cors({
        origin: '*',
        exposeHeaders: ['X-Total-Count', 'Link', 'X-Supabase-Api-Version'],
        maxAge: 86_400,
      }),
    )
    .get('/auth/v1/.well-known/jwks.json', (context) => context.json(publishedJwks))
    .get('/auth/v1/health', (context) =>
      context.json({
        version: 'local',
        name: 'GoTrue',
        description: 'GoTrue is a user registration and authentication API',
      }),
    )
    .all('/auth/v1/*', async (context) => {
      const grant = context.req.query('grant_type');
      const method =
        grant === 'refresh_token'
          ? 'token_refresh'
          : context.req.path.endsWith('/token')
            ? 'password'
            : 'otp';
      // lite would print a stack trace for each request.
      const isUp = await connection.ping().then(
        () => true,
        () => false,
      );
      if (!isUp) {
        const answer: AuthError = {
          ...{ code: 503, error_code: 'unexpected_failure' },
          msg: 'The database cannot be reached',
        };
        return context.json(answer, 503);
      }
      if (await isUnusable(context.req.raw)) {
        const answer: AuthError = {
          ...{ code: 400, error_code: 'validation_failed' },
          msg: 'The body must be a JSON object, of text that can be stored',
        };
        return context.json(answer, 400);
      }
      if (await wouldSignUp(context.req.raw)) {
        const answer: AuthError = {
          ...{ code: 422, error_code: 'signup_disabled' },
          msg: 'Signups not allowed for this instance',
        };
        return context.json(answer, 422);
      }
      return signAgain(await lite.fetch(context.req.raw, { peerAddress: null }), method);
    });
  return { app, close: () => connection.close() };
}
