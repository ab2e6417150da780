/**
 * The parts of a supabase-js client that the library uses, by their shape alone: an app may bring any version of
 * supabase-js, and several in one project, without their types having to agree with those this was built with.
 *
 * Parameters are `never` and answers `unknown`, which every version's types satisfy; what is really passed and answered
 * is written down once, in the `*Of` functions below.
 */

/** Can call edge functions. With `auth`, an expired session is refreshed once and the call repeated. */
export interface FunctionsCaller {
  readonly functions: { invoke(name: never, options: never): PromiseLike<unknown> };
  readonly auth?: SessionRefresher;
}

/** Can call database functions. With `auth`, an expired session is refreshed once and the call repeated. */
export interface RpcCaller {
  rpc(name: never, args: never): unknown;
  readonly auth?: SessionRefresher;
}

/** Can read tables, and knows who is signed in. */
export interface TableReader {
  from(table: never): unknown;
  readonly auth: SessionHolder;
}

/** Can get a new access token for the session. */
export interface SessionRefresher {
  refreshSession(): PromiseLike<{ readonly error: unknown }>;
}

/** Knows the session of who is signed in. */
export interface SessionHolder extends SessionRefresher {
  getSession(): PromiseLike<{
    readonly data: { readonly session: { readonly access_token: string } | null };
  }>;
}

/** Can read another exposed schema, and knows who is signed in. */
export interface SchemaReader {
  schema(name: never): unknown;
  readonly auth: SessionHolder;
}

/** Can follow Realtime. */
export interface RealtimeFollower {
  channel(name: never, options: never): unknown;
  removeChannel(channel: never): PromiseLike<unknown>;
  readonly realtime: {
    setAuth(token: never): PromiseLike<unknown>;
    /** The WebSocket's address. */
    readonly endPoint?: string;
    readonly apiKey?: string | null;
  };
}

/** An answer of an edge function. Versions before 2.51 have the response in the error's `context` only. */
export interface InvokeAnswer {
  readonly data: unknown;
  readonly error: { readonly context?: unknown } | null;
  readonly response?: Response;
}

/** Calls an edge function. */
export function invokeOf(
  { functions }: FunctionsCaller,
  name: string,
  options: { body: object; headers: Record<string, string>; signal: AbortSignal },
): PromiseLike<InvokeAnswer> {
  const { invoke } = functions as {
    invoke(this: unknown, name: string, options: object): PromiseLike<InvokeAnswer>;
  };
  return invoke.call(functions, name, options);
}

/** An answer of PostgREST. */
export interface RestAnswer {
  readonly data: unknown;
  readonly error: { message: string; code?: string; details?: string | null; hint?: string | null } | null;
  readonly status: number;
}

/** A query that can still be given a header and a signal. */
export interface RestQuery extends PromiseLike<RestAnswer> {
  setHeader(name: string, value: string): this;
  abortSignal(signal: AbortSignal): this;
}

/** A query of rows that can still be narrowed. */
export interface RowsQuery extends RestQuery {
  eq(column: string, value: string): this;
  gt(column: string, value: string): this;
  gte(column: string, value: string): this;
  lt(column: string, value: string): this;
  lte(column: string, value: string): this;
  is(column: string, value: null): this;
  in(column: string, values: readonly string[]): this;
  or(filters: string): this;
  order(column: string): this;
  limit(rows: number): this;
  range(from: number, to: number): this;
}

/** A table or view. */
export interface RestTable {
  select(columns?: string): RowsQuery;
  insert(row: object): { select(): RowsQuery };
  update(row: object): Changed;
  delete(): Changed;
}

/** Rows about to be changed, narrowed until the changed rows are selected. */
interface Changed {
  eq(column: string, value: string): this;
  select(columns?: string): RowsQuery;
}

/** A table of the exposed schema. */
export function tableOf(supabase: Pick<TableReader, 'from'>, name: string): RestTable {
  return (supabase as { from(table: string): RestTable }).from(name);
}

/** A view of another exposed schema. */
export function viewOf(supabase: Pick<SchemaReader, 'schema'>, schema: string, name: string): RestTable {
  const client = supabase as { schema(name: string): { from(view: string): RestTable } };
  return client.schema(schema).from(name);
}

/** A call of a database function. */
export function rpcOf(supabase: Pick<RpcCaller, 'rpc'>, name: string, args: object): RestQuery {
  return (supabase as { rpc(name: string, args: object): RestQuery }).rpc(name, args);
}
