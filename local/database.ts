/**
 * Postgres connections of the embedded services.
 *
 * lite brings a driver of its own (postgres.js) that does not survive the end of its server in the middle of a
 * transaction: it writes to a socket that is gone, throws where nobody can catch it, and never gives the connection
 * back, so that later requests wait for ever. node-postgres reports the loss to whoever waits and forgets the
 * connection. What reaches and leaves the database stays as lite expects it. The package `postgres` must be installed
 * all the same: it is an optional peer of lite, and the module of lite's that is extended here imports it.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { inspect } from 'node:util';
import type { IntrospectResult } from '@supabase/lite';
import { PostgresConnection } from '@supabase/lite/postgres';
import { Kysely, PostgresDialect, type PostgresPoolClient, type PostgresQueryResult, sql } from 'kysely';
import pg from 'pg';
import { databaseUrl } from './settings.ts';

/** No connection, or one that broke: the database's word is not known. */
export class ConnectionFailure extends Error {
  override name = 'ConnectionFailure';
  /** All connections were busy for too long, as opposed to: there is none. */
  readonly isBusy: boolean;
  constructor(cause: Error) {
    super(cause.message, { cause });
    this.isBusy = cause.message.startsWith('timeout exceeded');
  }
  /** One line in a log: where it was noticed explains nothing. */
  [inspect.custom](): string {
    return String(this);
  }
}

/** PostgREST gives up waiting for one of its connections after this long. */
const ACQUISITION_TIMEOUT_MS = 10_000;

type Reader = (value: string) => unknown;

const asText: Reader = (value) => value;

/** `text[]`. */
const TEXT_ARRAY: number = 1009;

/** Splits an array of any type (`{a,b}`) into its elements' texts; nested ones stay nested. */
const splitArray = pg.types.getTypeParser(TEXT_ARRAY) as Reader;

function readArray(value: string, read: Reader): unknown {
  const each = (element: unknown): unknown =>
    Array.isArray(element) ? element.map(each) : typeof element === 'string' ? read(element) : element;
  return each(splitArray(value));
}

function safeInteger(value: string): number | bigint {
  const number = Number(value);
  return Number.isSafeInteger(number) ? number : BigInt(value);
}

function exactNumber(value: string): number | string {
  const number = Number(value);
  return Number.isFinite(number) && String(number) === value ? number : value;
}

/** How columns are read, by type; all others are text. */
const readers: Record<number, Reader> = {
  [pg.types.builtins.BOOL]: (value) => value === 't',
  [pg.types.builtins.INT2]: Number,
  [pg.types.builtins.INT4]: Number,
  [pg.types.builtins.OID]: Number,
  [pg.types.builtins.FLOAT4]: Number,
  [pg.types.builtins.FLOAT8]: Number,
  [pg.types.builtins.INT8]: safeInteger,
  [pg.types.builtins.NUMERIC]: exactNumber,
  [pg.types.builtins.JSON]: (value) => JSON.parse(value),
  [pg.types.builtins.JSONB]: (value) => JSON.parse(value),
};

const isJson = (type: number) => type === pg.types.builtins.JSON || type === pg.types.builtins.JSONB;

/** A value as text for a parameter of a type. */
function written(value: unknown, type: number, jsonIsText: boolean): unknown {
  if (value === null || value === undefined) return null;
  // A list or a text in JSON is no array and no text of Postgres.
  if (isJson(type)) return jsonIsText && typeof value === 'string' ? value : JSON.stringify(value);
  return value instanceof Date ? value.toISOString() : value;
}

/** What ended the connection is told apart from what the database says of a statement. */
function failure(error: unknown): unknown {
  const isAnswer = error instanceof pg.DatabaseError && error.severity !== 'FATAL';
  return isAnswer || !(error instanceof Error) ? error : new ConnectionFailure(error);
}

/** lite's connection to a Postgres, over node-postgres. */
export class LocalConnection extends PostgresConnection {
  readonly #pool: pg.Pool;
  /** Element type by array type; the same for all connections, and read with the first. */
  #elements: Promise<Map<number, number>> | undefined;
  #ended: Promise<void> | undefined;
  readonly #connect: () => Promise<pg.PoolClient>;
  readonly #parameterTypes = new Map<string, number[]>();
  readonly #jsonIsText: boolean;

  /**
   * @param role login role
   * @param options.size connections at most
   * @param options.readers how columns of further types are read
   * @param options.jsonIsText whether texts given for JSON are JSON already, as they are in lite's Auth
   */
  constructor(
    port: number,
    role: string,
    options: { size: number; readers?: Record<number, Reader>; jsonIsText?: boolean },
  ) {
    // The other driver is made, but never asked for anything: it connects with its first query.
    super({ url: databaseUrl(port, role) });
    this.#jsonIsText = options.jsonIsText ?? false;
    const allReaders = { ...readers, ...options.readers };
    let elements = new Map<number, number>();
    this.#pool = new pg.Pool({
      connectionString: databaseUrl(port, role),
      max: options.size,
      connectionTimeoutMillis: ACQUISITION_TIMEOUT_MS,
      idleTimeoutMillis: 60_000,
      types: {
        getTypeParser: (type: number) => {
          const element = elements.get(type);
          if (element === undefined) return allReaders[type] ?? asText;
          return (value: string) => readArray(value, allReaders[element] ?? asText);
        },
      } as pg.CustomTypesConfig,
    });
    // Whoever uses the connection is told by their query; nobody else needs to know.
    this.#pool.on('error', () => {}).on('connect', (client) => client.on('error', () => {}));
    this.#connect = async () => {
      const client = await this.#pool.connect().catch((error) => Promise.reject(failure(error)));
      try {
        this.#elements ??= elementTypes(client);
        elements = await this.#elements;
        return client;
      } catch (error) {
        this.#elements = undefined;
        client.release(true);
        throw failure(error);
      }
    };
    this.kysely = new Kysely({
      dialect: new PostgresDialect({
        pool: { connect: async () => this.#client(await this.#connect()), end: () => this.close() },
      }),
    });
  }

  /** What Kysely asks of a connection, with parameters written by their types. */
  #client(client: pg.PoolClient): PostgresPoolClient {
    const query = async <Row>(
      text: string,
      values: readonly unknown[],
    ): Promise<PostgresQueryResult<Row>> => {
      try {
        const types = values.length > 0 ? await this.#typesOf(client, text) : [];
        const parameters = values.map((value, index) => written(value, types[index] ?? 0, this.#jsonIsText));
        return (await client.query(text, parameters)) as unknown as PostgresQueryResult<Row>;
      } catch (error) {
        throw failure(error);
      }
    };
    return { query: query as PostgresPoolClient['query'], release: () => client.release() };
  }

  /** Types the server expects of a statement's parameters. */
  async #typesOf(client: pg.PoolClient, text: string): Promise<number[]> {
    const known = this.#parameterTypes.get(text);
    if (known) return known;
    const results = (await client.query(
      `prepare lite_statement as ${text};
        select parameter_types::oid[]::text as types from pg_catalog.pg_prepared_statements where name = 'lite_statement';
        deallocate lite_statement`,
    )) as unknown as pg.QueryResult<{ types: string }>[];
    const types = readArray(results[1]?.rows[0]?.types ?? '{}', Number) as number[];
    if (this.#parameterTypes.size > 1000) this.#parameterTypes.clear();
    this.#parameterTypes.set(text, types);
    return types;
  }

  /** Forgets what it knows of the schema, which has changed. */
  forget(): void {
    this.#parameterTypes.clear();
    this.#elements = undefined;
  }

  /** Runs at least two statements without parameters in one message, which is one transaction. Rows of the last one. */
  async runTogether<Row>(statements: string): Promise<Row[]> {
    const client = await this.#connect();
    try {
      const results = (await client.query(statements)) as unknown as pg.QueryResult[];
      return results.at(-1)?.rows as Row[];
    } catch (error) {
      throw failure(error);
    } finally {
      client.release();
    }
  }

  /** Asks for something trivial. @throws ConnectionFailure when there is no database */
  override async ping(): Promise<void> {
    await sql`select`.execute(this.kysely);
  }

  /** lite answers an empty schema when there is no database, after printing a stack trace. */
  override async introspect(options?: { useCache?: boolean }): Promise<IntrospectResult> {
    await this.ping();
    return super.introspect(options);
  }

  /** Waits a moment for what is being done; the server ends the rest when it stops. */
  override async close(): Promise<void> {
    this.#ended ??= this.#pool.end();
    await Promise.race([this.#ended, sleep(2000, undefined, { ref: false })]);
  }
}

async function elementTypes(client: pg.PoolClient): Promise<Map<number, number>> {
  const { rows } = await client.query<{ array: number; element: number }>(
    'select typarray as array, oid as element from pg_catalog.pg_type where typarray <> 0',
  );
  return new Map(rows.map(({ array, element }) => [array, element]));
}

/**
 * Listens to a channel, and goes on listening when the database comes back.
 * @param heard called with each notification, and whenever some may have been missed
 * @returns a function that stops listening
 */
export function listen(url: string, channel: string, heard: () => void): () => Promise<void> {
  let client: pg.Client | undefined;
  let again: NodeJS.Timeout | undefined;
  let stopped = false;
  const start = async () => {
    const connecting = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5000 });
    client = connecting;
    connecting.on('error', () => {}).on('notification', heard);
    connecting.once('end', () => {
      if (!stopped) again = setTimeout(start, 250).unref();
    });
    try {
      await connecting.connect();
      await connecting.query(`listen ${pg.escapeIdentifier(channel)}`);
      heard();
    } catch {
      await connecting.end().catch(() => {});
    }
  };
  void start();
  return async () => {
    stopped = true;
    clearTimeout(again);
    await client?.end().catch(() => {});
  };
}
