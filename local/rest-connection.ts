/** Database connections of the embedded REST layer: requests as `authenticator`, the schema as `postgres`. */
import { AsyncLocalStorage } from 'node:async_hooks';
import type { ConnectionContextOptions, IntrospectResult, VarsContext } from '@supabase/lite';
import type { Kysely } from 'kysely';
import { sql } from 'kysely';
import pg, { escapeLiteral } from 'pg';
import { LocalConnection, listen } from './database.ts';
import { databaseErrorResponse } from './rest-errors.ts';
import { databaseUrl, type ProjectConfig } from './settings.ts';

/** Who a request is made by. */
export interface Caller {
  role: 'anon' | 'authenticated' | 'service_role';
  /** What `request.jwt.claims` holds. */
  claims: Record<string, unknown>;
}

/** A request with its caller; lite's router does not carry everything a transaction needs. */
export interface RestRequest {
  request: Request;
  caller: Caller;
  /** The schema it was begun with: the database may go away, or change, before lite asks. */
  schema?: IntrospectResult;
}

/** The request being served. */
export const currentRequest = new AsyncLocalStorage<RestRequest>();

/** The schema a request addresses (`Accept-Profile`, `Content-Profile`), or the first exposed one. */
export function schemaOf(request: Request, config: ProjectConfig): string {
  const header = readsOnly(request) ? 'accept-profile' : 'content-profile';
  return request.headers.get(header) ?? config.api.schemas[0] ?? 'public';
}

function readsOnly(request: Request): boolean {
  return request.method === 'GET' || request.method === 'HEAD';
}

/**
 * Values in JSON's form, as PostgREST writes them. lite writes instants as Postgres does (`2026-01-01 18:00:00+00`), and of
 * one numeric column some values as numbers and others, those with a zero at the end, as text.
 */
const readers = {
  [pg.types.builtins.NUMERIC]: Number,
  [pg.types.builtins.INT8]: Number,
  [pg.types.builtins.TIMESTAMPTZ]: (value: string) =>
    value.replace(/^(\d+-\d\d-\d\d) (.+[+-]\d\d)$/, '$1T$2:00'),
  [pg.types.builtins.TIMESTAMP]: (value: string) => value.replace(/^(\d+-\d\d-\d\d) /, '$1T'),
};

/** lite's Postgres connection with PostgREST's transaction settings, and without lite's grants. */
export class PlatformConnection extends LocalConnection {
  readonly #catalog: SchemaReader;
  readonly #config: ProjectConfig;

  constructor(port: number, config: ProjectConfig) {
    super(port, 'authenticator', { size: 16, readers });
    this.#catalog = new SchemaReader(port, () => this.forget());
    this.#config = config;
  }

  override async introspect(): Promise<IntrospectResult> {
    return currentRequest.getStore()?.schema ?? this.#catalog.read();
  }

  /** Runs lite's statements for a request in one transaction. A database error becomes the answer. */
  override async withContext<T>(
    _vars: VarsContext | undefined,
    run: (db: Kysely<unknown>) => Promise<T>,
    _options?: ConnectionContextOptions,
  ): Promise<T> {
    const current = currentRequest.getStore();
    if (!current) throw new Error('The REST layer runs requests only');
    try {
      const settings = [...(await this.#settings(current))];
      return await this.kysely.transaction().execute(async (transaction) => {
        await sql`select ${sql.join(
          settings.map(([name, value]) => sql`set_config(${name}, ${value}, true)`),
        )}`.execute(transaction);
        return run(transaction as unknown as Kysely<unknown>);
      });
    } catch (error) {
      const response = databaseErrorResponse(error, current.caller.role);
      if (!response) throw error;
      // The only caller, lite's router, returns whatever comes back as its Response.
      return response as T;
    }
  }

  /**
   * Runs one statement for a request, in its own transaction with PostgREST's settings: both in one message, which
   * Postgres treats as one transaction, for each round trip costs more than the settings themselves.
   * @param statement a single statement with its literals in place
   */
  async runAs<Row>(current: RestRequest, statement: string): Promise<Row[]> {
    const settings = [...(await this.#settings(current))].map(
      ([name, value]) => `set_config(${escapeLiteral(name)}, ${escapeLiteral(value)}, true)`,
    );
    return this.runTogether<Row>(`select ${settings.join(', ')}; ${statement}`);
  }

  async #settings({ request, caller }: RestRequest): Promise<Map<string, string>> {
    const path = [schemaOf(request, this.#config), ...this.#config.api.extra_search_path];
    const { pathname } = new URL(request.url);
    const settings = new Map(await this.#catalog.roleSettings(caller.role));
    const timeout = await this.#catalog.timeoutOf(
      schemaOf(request, this.#config),
      /^\/rest\/v1\/rpc\/([^/]+)$/.exec(pathname)?.[1],
    );
    if (timeout !== undefined) settings.set('statement_timeout', timeout);
    settings.set('search_path', path.map((name) => `"${name.replaceAll('"', '""')}"`).join(', '));
    settings.set('request.jwt.claims', JSON.stringify(caller.claims));
    settings.set('request.method', request.method);
    settings.set('request.path', pathname.replace(/^\/rest\/v1/, ''));
    settings.set('request.headers', JSON.stringify(Object.fromEntries(request.headers)));
    if (readsOnly(request)) settings.set('transaction_read_only', 'on');
    settings.set('role', caller.role);
    return settings;
  }

  override async close(): Promise<void> {
    await Promise.all([super.close(), this.#catalog.close()]);
  }
}

/** The database could not be asked for its schema. */
export class SchemaUnavailable extends Error {
  override name = 'SchemaUnavailable';
}

/** Reads the schema, and reads it again when the database says it has changed (`notify pgrst`). */
class SchemaReader {
  readonly #connection: LocalConnection;
  readonly #stopListening: () => Promise<void>;
  #schema: Promise<IntrospectResult> | undefined;
  #roles: Promise<Map<string, Map<string, string>>> | undefined;
  #timeouts: Promise<Map<string, string>> | undefined;

  constructor(port: number, changed: () => void) {
    this.#connection = new LocalConnection(port, 'postgres', { size: 1 });
    this.#stopListening = listen(databaseUrl(port), 'pgrst', () => {
      this.#schema = undefined;
      this.#roles = undefined;
      this.#timeouts = undefined;
      this.#connection.forget();
      changed();
    });
  }

  /** @throws SchemaUnavailable when the database cannot be asked */
  read(): Promise<IntrospectResult> {
    this.#schema ??= this.#readSchema().catch((error) => {
      this.#schema = undefined;
      throw error;
    });
    return this.#schema;
  }

  async #readSchema(): Promise<IntrospectResult> {
    const schema = await this.#connection.introspect({ useCache: false }).catch((cause) => {
      throw new SchemaUnavailable('The database does not answer', { cause });
    });
    // lite answers an empty schema when the database goes away; that must be neither believed nor remembered.
    if (schema.tables.length === 0) throw new SchemaUnavailable('The database went away');
    return schema;
  }

  /** Settings of a role (`alter role … set`), which PostgREST applies when it becomes that role. */
  async roleSettings(role: string): Promise<Map<string, string>> {
    this.#roles ??= this.#readRoles().catch((error) => {
      this.#roles = undefined;
      throw error;
    });
    return (await this.#roles).get(role) ?? new Map();
  }

  async #readRoles(): Promise<Map<string, Map<string, string>>> {
    const { rows } = await sql<{ role: string; name: string; value: string }>`
      select r.rolname as role, split_part(c.entry, '=', 1) as name, substr(c.entry, strpos(c.entry, '=') + 1) as value
      from pg_catalog.pg_roles r
      cross join lateral unnest(r.rolconfig) as c (entry)
      where r.rolname in ('anon', 'authenticated', 'service_role')`.execute(this.#connection.kysely);
    const roles = new Map<string, Map<string, string>>();
    for (const { role, name, value } of rows)
      roles.set(role, (roles.get(role) ?? new Map()).set(name, value));
    return roles;
  }

  /** The time that a function sets for itself, which PostgREST gives the whole call (`db-hoisted-tx-settings`). */
  async timeoutOf(schema: string, name: string | undefined): Promise<string | undefined> {
    if (name === undefined) return undefined;
    this.#timeouts ??= this.#readTimeouts().catch((error) => {
      this.#timeouts = undefined;
      throw error;
    });
    return (await this.#timeouts).get(`${schema}.${name}`);
  }

  async #readTimeouts(): Promise<Map<string, string>> {
    const { rows } = await sql<{ name: string; value: string }>`
      select p.pronamespace::regnamespace || '.' || p.proname as name, split_part(c.entry, '=', 2) as value
      from pg_catalog.pg_proc p
      cross join lateral unnest(p.proconfig) as c (entry)
      where split_part(c.entry, '=', 1) = 'statement_timeout'`.execute(this.#connection.kysely);
    return new Map(rows.map(({ name, value }) => [name, value]));
  }

  async close(): Promise<void> {
    await Promise.all([this.#stopListening(), this.#connection.close()]);
  }
}
