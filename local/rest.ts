/**
 * `/rest/v1`: the embedded PostgREST-compatible API of `@supabase/lite`, made as strict as PostgREST.
 *
 * Where lite differs from PostgREST, and what is done about it:
 * - It grants every privilege on every table to the API roles as soon as one table has RLS. `PlatformConnection`
 *   replaces that code, so the migrations' grants are the only ones, and connects as `authenticator`, who owns nothing.
 * - It sets `request.jwt.claim.sub` and, on RPCs only, `request.headers`. Here each request's transaction begins with
 *   PostgREST's settings, the role's limits (`statement_timeout`) included, and a GET is read only.
 * - It reads the schema through `information_schema`, where `authenticator` sees nothing: another connection reads it.
 * - Exclusion violations, lock timeouts, deadlocks and plain `raise exception` become an opaque 500. Here every
 *   database error has PostgREST's documented status and body (`rest-errors.ts`).
 * - A bearer token that is no JWT makes it go on as `anon`; it looks users up in schema auth. Here a bad token is a 401
 *   and a good one is enough, as under PostgREST.
 * - JSON arguments of functions arrive as strings: calls of plain functions go their own way (`rpc.ts`).
 */
import { App } from '@supabase/lite';
import { Hono, type MiddlewareHandler } from 'hono';
import {
  type Caller,
  currentRequest,
  PlatformConnection,
  type RestRequest,
  SchemaUnavailable,
  schemaOf,
} from './rest-connection.ts';
import { answerError } from './rest-errors.ts';
import { callFunction, isTooDeep, tooDeep } from './rpc.ts';
import { keys, type ProjectConfig } from './settings.ts';
import { verifyAccessToken } from './tokens.ts';

const apiRoles = ['anon', 'authenticated', 'service_role'] as const;

/**
 * Keeps lite from checking the token again, and from looking its user up in schema auth, which `authenticator` may not
 * read. `PlatformConnection` knows the caller.
 */
const skipTokenCheck: MiddlewareHandler = async (context, next) => {
  context.set('ignoreAuthorization', true);
  await next();
};

/** Who makes a request: the gateway's and PostgREST's checks in one. */
async function identify(request: Request): Promise<Caller | Response> {
  const key = request.headers.get('apikey') ?? new URL(request.url).searchParams.get('apikey');
  if (!key)
    return Response.json(
      { message: 'No API key found in request', hint: 'No `apikey` request header or url param was found.' },
      { status: 401, headers: { 'access-control-allow-origin': '*' } },
    );
  if (key !== keys.publishable && key !== keys.secret)
    return Response.json(
      { message: 'Invalid API key', hint: 'Double check your Supabase `apikey`' },
      { status: 401, headers: { 'access-control-allow-origin': '*' } },
    );

  const bearer = /^Bearer\s+(.+)$/i.exec(request.headers.get('authorization') ?? '')?.[1];
  if (!bearer || bearer.startsWith('sb_')) {
    const role = key === keys.secret ? 'service_role' : 'anon';
    return { role, claims: { role } };
  }
  const { claims, refusal } = await verifyAccessToken(bearer);
  if (refusal) return answerError(401, refusal);
  // authenticator may become no other role.
  const role = apiRoles.find((allowed) => allowed === (claims.role ?? 'anon'));
  if (!role)
    return answerError(401, { code: '42501', message: `permission denied to set role "${claims.role}"` });
  return { role, claims: { role, ...claims } };
}

/** What PostgREST answers a browser that asks whether it may: anything, from anywhere. */
function preflight(request: Request): Response {
  return new Response(null, {
    status: 204,
    headers: {
      'access-control-allow-origin': '*',
      'access-control-allow-methods': 'GET, POST, PATCH, PUT, DELETE, OPTIONS, HEAD',
      'access-control-allow-headers': request.headers.get('access-control-request-headers') ?? '*',
      'access-control-max-age': '86400',
    },
  });
}

/** The `/rest/v1` routes. */
export interface RestApi {
  app: Hono;
  close(): Promise<void>;
}

/**
 * Makes the `/rest/v1` routes.
 * @param port of the database
 */
export function createRestApi(port: number, config: ProjectConfig): RestApi {
  const connection = new PlatformConnection(port, config);
  const lite = new App({
    connection,
    api: { enabled: true, schemas: config.api.schemas, max_rows: config.api.max_rows },
    // Only for checking keys and tokens: the routes under /auth/v1 are served by local/auth.ts.
    auth: {
      enabled: false,
      jwt_secret: keys.jwtSecret,
      publishable_key: keys.publishable,
      secret_key: keys.secret,
    },
    studio: { enabled: false },
    options: {
      server: { admin: false, disableStudio: true, disableFallback: true, middlewares: [skipTokenCheck] },
    },
  });

  const pass = (current: RestRequest, request: Request) =>
    currentRequest.run(current, () => lite.fetch(request, { peerAddress: null }));

  async function answer(current: RestRequest): Promise<Response> {
    const { method, headers, url } = current.request;
    const { pathname } = new URL(url);
    const body = current.request.body ? await current.request.text() : null;
    if (body !== null && isTooDeep(body)) return tooDeep();
    const request = new Request(url, { method, headers, body });
    const known = await connection.introspect();
    const { tables, views } = known;
    if (pathname.startsWith('/rest/v1/rpc/')) {
      const called = await callFunction(connection, config, current, method === 'POST' ? (body ?? '') : null);
      return called ?? pass({ ...current, schema: known }, request);
    }
    // lite says the same, after printing a stack trace.
    const schema = schemaOf(request, config);
    const relation = decodeURIComponent(pathname.slice('/rest/v1/'.length));
    const isKnown = [...tables, ...views].some((one) => one.schema === schema && one.name === relation);
    if (relation !== '' && config.api.schemas.includes(schema) && !isKnown)
      return answerError(404, {
        code: 'PGRST205',
        message: `Could not find the table '${schema}.${relation}' in the schema cache`,
      });
    return pass({ ...current, schema: known }, request);
  }

  const app = new Hono().all('/rest/v1/*', async (context) => {
    const request = context.req.raw;
    // A preflight carries no key. Lite would take one for a function's path as a call of it, and answer 404.
    if (request.method === 'OPTIONS') return preflight(request);
    const caller = await identify(request);
    if (caller instanceof Response) return caller;
    try {
      return await answer({ request, caller });
    } catch (error) {
      if (!(error instanceof SchemaUnavailable)) throw error;
      return answerError(503, {
        code: 'PGRST002',
        message: 'Could not query the database for the schema cache. Retrying.',
      });
    }
  });
  return { app, close: () => connection.close() };
}
