/**
 * `/rest/v1`: the embedded PostgREST-compatible API of `@supabase/lite`, made as strict as PostgREST.
 *
 * Where it differs from PostgREST, and what is done here:
 * - It grants every privilege on every table to the API roles as soon as one table has RLS: `PlatformConnection`
 *   replaces that code, so the grants in the migrations are the only ones, and connects as `authenticator`, who owns
 *   nothing.
 * - It sets `request.jwt.claim.sub` and, on RPCs only, `request.headers`: here each request's transaction begins with
 *   PostgREST's settings, all in one statement, role limits (`statement_timeout`) included, and a GET is read only.
 * - It reads the schema through `information_schema`, where `authenticator` sees nothing: a second connection reads it.
 * - Exclusion violations, lock timeouts, deadlocks and plain `raise exception` become an opaque 500: here every
 *   database error has PostgREST's documented status and body.
 * - A bearer token that is no JWT makes it go on as `anon`: here it is a 401.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import { App, type ConnectionContextOptions, type IntrospectResult, type VarsContext } from '@supabase/lite';
import { PostgresConnection } from '@supabase/lite/postgres';
import { Hono } from 'hono';
import { type Kysely, sql } from 'kysely';
import { databaseUrl, keys, type ProjectConfig } from './settings.ts';
import { verifyAccessToken } from './tokens.ts';

/** What PostgREST answers when something fails. */
interface RestError {
  code: string;
  message: string;
  details: string | null;
  hint: string | null;
}

/** A database error as the driver throws it. */
interface DatabaseError extends Error {
  code: string;
  detail?: string;
  hint?: string;
}

const apiRoles = new Set(['anon', 'authenticated', 'service_role']);

/** The request being served; lite hands its headers to a transaction for RPCs only. */
const currentRequest = new AsyncLocalStorage<Request>();

function answerError(status: number, error: RestError): Response {
  return Response.json(error, { status, headers: { 'access-control-allow-origin': '*' } });
}

/**
 * HTTP status of a database error. Source: the table at https://docs.postgrest.org/en/v14/references/errors.html
 * @param authenticated whether the caller is somebody else than `anon`: a missing privilege is then 403, not 401
 */
export function statusOfSqlState(code: string, message: string, authenticated: boolean): number {
  const raised = /^PT([1-5]\d\d)$/.exec(code);
  if (raised) return Number(raised[1]);
  switch (code) {
    case '23503':
    case '23505':
      return 409;
    case '25006':
      return 405;
    case '42883':
    case '42P01':
      return 404;
    case '42P17':
    case '53400':
      return 500;
    case '42501':
      return authenticated ? 403 : 401;
    case '21000':
      return message.endsWith('requires a WHERE clause') ? 400 : 500;
    case '57P01':
    case '57P02':
    case '57P03':
      return 503;
    case 'P0001':
      return 400;
  }
  const statusOfClass: Record<string, number> = {
    ...{ '08': 503, '09': 500, '0L': 403, '0P': 403, '25': 500, '28': 403, '2D': 500, '38': 500, '39': 500 },
    ...{ '3B': 500, '40': 500, '53': 503, '54': 500, '55': 500, '57': 500, '58': 500, F0: 500, HV: 500 },
    ...{ P0: 500, PT: 500, XX: 500 },
  };
  return statusOfClass[code.slice(0, 2)] ?? 400;
}

/** Codes of the driver, for a connection that could not be made or that broke. */
const connectionFailures = new Set([
  ...['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'CONNECT_TIMEOUT'],
  ...['CONNECTION_CLOSED', 'CONNECTION_ENDED', 'CONNECTION_DESTROYED'],
]);

/** PostgREST's answer to an error of the database, or null for an error of another kind. */
function databaseErrorResponse(error: unknown, role: string): Response | null {
  if (!(error instanceof Error) || !('code' in error) || typeof error.code !== 'string') return null;
  if (connectionFailures.has(error.code))
    return answerError(503, {
      ...{ code: 'PGRST001', message: 'Could not connect with the database due to an internal error.' },
      ...{ details: null, hint: null },
    });
  // RAISE SQLSTATE 'PGRST' carries status and headers as JSON; lite reads that as PostgREST does.
  if (error.name !== 'PostgresError' || error.code === 'PGRST') return null;
  const { code, message, detail, hint } = error as DatabaseError;
  return answerError(statusOfSqlState(code, message, role !== 'anon'), {
    ...{ code, message, details: detail ?? null, hint: hint ?? null },
  });
}

/** lite's Postgres connection with PostgREST's transaction settings, and without lite's grants. */
class PlatformConnection extends PostgresConnection {
  readonly #catalog: SchemaReader;
  readonly #config: ProjectConfig;

  constructor(port: number, config: ProjectConfig) {
    super({
      url: databaseUrl(port, 'authenticator'),
      // A broken connection is tried again soon: the database restarts in a second here.
      postgresOptions: {
        max: 16,
        backoff: () => 0.25,
        idle_timeout: 60,
        connect_timeout: 5,
        onnotice: () => {},
      },
    });
    this.#catalog = new SchemaReader(port);
    this.#config = config;
  }

  override introspect(): Promise<IntrospectResult> {
    return this.#catalog.read();
  }

  /** Runs a request's statements in one transaction, as the caller's role. A database error becomes the answer. */
  override async withContext<T>(
    vars: VarsContext | undefined,
    run: (db: Kysely<unknown>) => Promise<T>,
    options?: ConnectionContextOptions,
  ): Promise<T> {
    const claims = (vars?.auth as { jwt?: Record<string, unknown> } | undefined)?.jwt ?? { role: 'anon' };
    const role = typeof claims.role === 'string' ? claims.role : 'anon';
    const request = currentRequest.getStore();
    if (!request || !apiRoles.has(role) || options?.transaction || options?.forceRollback)
      throw new Error('The REST layer runs requests of the API roles only');
    try {
      const settings = this.#settings(request, role, claims, await this.#catalog.roleSettings(role));
      return await this.kysely.transaction().execute(async (transaction) => {
        await sql`select ${sql.join(
          [...settings].map(([name, value]) => sql`set_config(${name}, ${value}, true)`),
        )}`.execute(transaction);
        return run(transaction as unknown as Kysely<unknown>);
      });
    } catch (error) {
      const response = databaseErrorResponse(error, role);
      if (!response) throw error;
      // The caller, lite's router, returns whatever comes back as its Response.
      return response as T;
    }
  }

  #settings(
    request: Request,
    role: string,
    claims: Record<string, unknown>,
    roleSettings: Map<string, string>,
  ): Map<string, string> {
    const { method, headers } = request;
    const reads = method === 'GET' || method === 'HEAD';
    const schema =
      headers.get(reads ? 'accept-profile' : 'content-profile') ?? this.#config.api.schemas[0] ?? 'public';
    const path = [schema, ...this.#config.api.extra_search_path].map(
      (name) => `"${name.replaceAll('"', '""')}"`,
    );
    const settings = new Map(roleSettings);
    settings.set('search_path', path.join(', '));
    settings.set('role', role);
    settings.set('request.jwt.claims', JSON.stringify(claims));
    settings.set('request.method', method);
    settings.set('request.path', new URL(request.url).pathname.replace(/^\/rest\/v1/, ''));
    settings.set('request.headers', JSON.stringify(Object.fromEntries(headers)));
    if (reads) settings.set('transaction_read_only', 'on');
    return settings;
  }

  override async close(): Promise<void> {
    await Promise.all([this.driver.end({ timeout: 2 }), this.#catalog.close()]);
  }
}

/** Reads the schema, and reads it again when the database says it has changed (`notify pgrst`). */
class SchemaReader {
  readonly #connection: PostgresConnection;
  #schema: Promise<IntrospectResult> | undefined;
  #roles: Promise<Map<string, Map<string, string>>> | undefined;

  constructor(port: number) {
    this.#connection = new PostgresConnection({
      url: databaseUrl(port),
      postgresOptions: {
        max: 1,
        backoff: () => 0.25,
        idle_timeout: 20,
        connect_timeout: 5,
        onnotice: () => {},
      },
    });
    this.#connection.driver
      .listen(
        'pgrst',
        () => this.#forget(),
        () => this.#forget(),
      )
      .catch(() => {});
  }

  #forget(): void {
    this.#schema = undefined;
    this.#roles = undefined;
  }

  read(): Promise<IntrospectResult> {
    this.#schema ??= this.#connection.introspect({ useCache: false }).then((schema) => {
      // lite answers an empty schema when the database cannot be reached; that must not be remembered.
      if (schema.tables.length === 0) this.#schema = undefined;
      return schema;
    });
    return this.#schema;
  }

  /** Settings of a role (`alter role … set`), which PostgREST applies when it becomes that role. */
  async roleSettings(role: string): Promise<Map<string, string>> {
    this.#roles ??= this.#connection.driver<{ rolname: string; rolconfig: string[] }[]>`
      select rolname, rolconfig from pg_catalog.pg_roles
      where rolconfig is not null and rolname in ('anon', 'authenticated', 'service_role')`
      .then((rows) => {
        const pairs = (config: string[]) =>
          config.map((entry) => entry.split(/=(.*)/s).slice(0, 2) as [string, string]);
        return new Map(rows.map((row) => [row.rolname, new Map(pairs(row.rolconfig))]));
      })
      .catch((error) => {
        this.#roles = undefined;
        throw error;
      });
    return (await this.#roles).get(role) ?? new Map();
  }

  close(): Promise<void> {
    return this.#connection.driver.end({ timeout: 2 });
  }
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
    options: { server: { admin: false, disableStudio: true, disableFallback: true } },
  });

  const app = new Hono().all('/rest/v1/*', async (context) => {
    const request = context.req.raw;
    const bearer = /^Bearer\s+(.+)$/i.exec(request.headers.get('authorization') ?? '')?.[1];
    if (bearer && !bearer.startsWith('sb_')) {
      const { claims, refusal } = await verifyAccessToken(bearer);
      if (refusal) return answerError(401, { ...refusal, details: null, hint: null });
      // PostgREST connects as authenticator, who may become no other role.
      const role = claims.role ?? 'anon';
      if (typeof role !== 'string' || !apiRoles.has(role))
        return answerError(401, {
          ...{
            code: '42501',
            message: `permission denied to set role "${String(role)}"`,
            details: null,
            hint: null,
          },
        });
    }
    return currentRequest.run(request, () => lite.fetch(request, { peerAddress: null }));
  });
  return { app, close: () => connection.close() };
}
