import { isBusy } from '../../supabase/functions/_shared/busy.ts';
import { type ErrorCode, isErrorCode } from '../../supabase/functions/_shared/contract/codes.ts';
import type { Issue } from '../../supabase/functions/_shared/contract/types.ts';
import { type LibraryErrorCode, SessionsApiError } from './sessionsApiError.ts';
import {
  type RestAnswer,
  type RestQuery,
  type RowsQuery,
  type RpcCaller,
  rpcOf,
  type SessionRefresher,
} from './supabaseClient.ts';

/** Whose token a read uses, and what ends it. */
export interface ReadOptions {
  /** The user's JWT, when it is not the client's own session that asks. */
  readonly accessToken?: string;
  /** Gives up: the read rejects with the signal's reason. */
  readonly signal?: AbortSignal;
}

/** Whose session a read uses: it is refreshed once when it has expired. */
type Session = { readonly auth?: SessionRefresher };

/**
 * Runs a query and returns its data, or throws what went wrong as a {@link SessionsApiError}.
 *
 * @param query - the query
 * @param options - token and signal
 * @param supabase - the client the query is of; given it, an expired session is refreshed once and the query repeated
 */
export async function read<Data>(
  query: RestQuery,
  { accessToken, signal }: ReadOptions,
  supabase: Session = {},
): Promise<Data> {
  let asked = query;
  if (accessToken) asked = asked.setHeader('Authorization', `Bearer ${accessToken}`);
  if (signal) asked = asked.abortSignal(signal);
  const ask = async (): Promise<RestAnswer> => {
    signal?.throwIfAborted();
    const answer = await asked;
    signal?.throwIfAborted();
    return answer;
  };
  const refresh = refresherOf(supabase);
  let answer = await ask();
  // Awaited again, a query is sent again, with the token of then.
  if (isUnauthenticated(answer) && !accessToken && (await refresh())) answer = await ask();
  if (answer.error) throw errorOfRead(answer.error, answer.status);
  return answer.data as Data;
}

function isUnauthenticated({ status, error }: RestAnswer): boolean {
  return error !== null && (status === 401 || error.code === 'PT401');
}

/** How often a client's session was refreshed here, and the refresh that is under way. */
interface Refreshes {
  count: number;
  running?: Promise<boolean>;
}
const refreshes = new WeakMap<object, Refreshes>();

/**
 * What a call needs when it is answered 401: made before it asks, it tells whether the session has been refreshed since,
 * by another call that was refused too, and refreshes it only if not.
 *
 * @returns asks for a session that is valid; answers whether there is one
 */
export function refresherOf({ auth }: Session): () => Promise<boolean> {
  if (typeof auth?.refreshSession !== 'function') return async () => false;
  const known: Refreshes = refreshes.get(auth) ?? { count: 0 };
  refreshes.set(auth, known);
  const before = known.count;
  return async () => {
    if (known.count > before) return true;
    known.running ??= Promise.resolve(auth.refreshSession())
      .then(
        ({ error }) => !error,
        () => false,
      )
      .then((isRefreshed) => {
        known.count += Number(isRefreshed);
        known.running = undefined;
        return isRefreshed;
      });
    return await known.running;
  };
}

/** Calls a database function that takes and returns JSON. */
export function callRpc<Data>(
  supabase: RpcCaller,
  name: string,
  args: object,
  options: ReadOptions,
): Promise<Data> {
  return read<Data>(rpcOf(supabase, name, args), options, supabase);
}

/**
 * A server may give fewer rows than were asked for (PostgREST's `max_rows`; 1000 here and on the platform), and does not
 * say so. No server is set to fewer than this, so an answer with fewer was not cut.
 */
export const LEAST_MAX_ROWS = 100;

/** Rows asked for at once: a page, and one more to know whether there are more. */
const MOST_AT_ONCE = 1001;

/**
 * Reads up to `limit` rows of an ordered query, however few of them the server gives at once.
 *
 * @param query - makes the query of the rows wanted, in order: all of them, or those after one
 * @param limit - rows wanted
 * @param options - token and signal
 * @param supabase - the client the query is of
 * @returns the rows, and whether there are more
 */
export async function readRows<Row>(
  query: (after: Row | null) => RowsQuery,
  limit: number,
  options: ReadOptions,
  supabase: Session,
): Promise<{ rows: Row[]; more: boolean }> {
  const rows: Row[] = [];
  for (;;) {
    const wanted = Math.min(limit + 1 - rows.length, MOST_AT_ONCE);
    const got = await read<Row[]>(query(rows.at(-1) ?? null).limit(wanted), options, supabase);
    rows.push(...got);
    if (rows.length > limit) return { rows: rows.slice(0, limit), more: true };
    if (got.length < LEAST_MAX_ROWS && got.length < wanted) return { rows, more: false };
  }
}

/** Reads all rows of a query that is ordered by what `after` narrows it by; see {@link readRows}. */
export async function readAllRows<Row>(
  query: (after: Row | null) => RowsQuery,
  options: ReadOptions,
  supabase: Session,
): Promise<Row[]> {
  return (await readRows(query, Number.MAX_SAFE_INTEGER - 1, options, supabase)).rows;
}

/**
 * Reads all rows of a query with a fixed order by their place in it, however few of them the server gives at once: for
 * lists that are ordered by what a filter cannot name. A row that comes or goes meanwhile may shift another.
 */
export async function readWholeList<Row>(
  query: () => RowsQuery,
  options: ReadOptions,
  supabase: Session,
): Promise<Row[]> {
  const rows: Row[] = [];
  for (;;) {
    const page = query().range(rows.length, rows.length + MOST_AT_ONCE - 1);
    const got = await read<Row[]>(page, options, supabase);
    rows.push(...got);
    if (got.length < LEAST_MAX_ROWS) return rows;
  }
}

/** Ids in one URL: far below the 8 KB that proxies allow, however long the list. */
const IDS_AT_ONCE = 100;

/** Splits a list of ids, so that no URL grows with it. */
export function inChunks<Id>(ids: readonly Id[]): Id[][] {
  const chunks: Id[][] = [];
  for (let at = 0; at < ids.length; at += IDS_AT_ONCE) chunks.push(ids.slice(at, at + IDS_AT_ONCE));
  return chunks;
}

/** `PTnnn` errors carry the product's own code in `hint` and its issues in `details`; others are PostgREST's or Postgres'. */
function errorOfRead(error: NonNullable<RestAnswer['error']>, status: number): SessionsApiError {
  const known = /^PT\d{3}$/.test(error.code ?? '');
  if (!known && isBusy(error.code ?? '', status) && status !== 0) {
    const message = 'The database is busy. Try again.';
    return new SessionsApiError({
      status: 503,
      code: 'DATABASE_BUSY',
      message,
      retryAfterSeconds: 1,
      cause: error,
    });
  }
  const own = known ? Number(error.code?.slice(2)) : status;
  const code: ErrorCode | LibraryErrorCode = known && isErrorCode(error.hint) ? error.hint : readCode(own);
  return new SessionsApiError({
    status: own,
    code,
    // What Postgres says may quote values and constraints; it is there as the cause, for the developer.
    message: known ? error.message : messageOf(code),
    issues: known ? issuesOf(error.details) : [],
    retryAfterSeconds: own === 503 || own === 429 ? Number(error.details) || null : null,
    cause: error,
  });
}

function readCode(status: number): ErrorCode | LibraryErrorCode {
  switch (status) {
    case 0:
      return 'NETWORK_ERROR';
    case 401:
      return 'UNAUTHENTICATED';
    case 403:
      return 'FORBIDDEN';
    case 429:
      return 'TOO_MANY_REQUESTS';
    case 503:
      return 'DATABASE_BUSY';
    default:
      return 'READ_FAILED';
  }
}

function messageOf(code: ErrorCode | LibraryErrorCode): string {
  switch (code) {
    case 'NETWORK_ERROR':
      return 'No answer came.';
    case 'UNAUTHENTICATED':
      return 'The access token is missing, expired or not valid.';
    case 'FORBIDDEN':
      return 'You may not do this, or not with these rows.';
    default:
      return 'The request over REST was refused. Its cause says why.';
  }
}

function issuesOf(details: string | null | undefined): Issue[] {
  try {
    const parsed: unknown = JSON.parse(details ?? '[]');
    return Array.isArray(parsed) ? parsed : [];
  } catch {
    return [];
  }
}
