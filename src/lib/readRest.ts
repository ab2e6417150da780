import type { SupabaseClient } from '@supabase/supabase-js';
import type { ErrorCode, Issue } from '../../supabase/functions/_shared/contract/index.ts';
import { type LibraryErrorCode, SessionsApiError } from './sessionsApiError.ts';

/** An answer of PostgREST, as supabase-js gives it. */
interface RestAnswer {
  readonly data: unknown;
  readonly error: { message: string; code?: string; details?: string | null; hint?: string | null } | null;
  readonly status: number;
}

/** A supabase-js query that can still be given a header and a signal. */
interface RestQuery extends PromiseLike<RestAnswer> {
  setHeader(name: string, value: string): this;
  abortSignal(signal: AbortSignal): this;
}

/** Whose token a read uses, and what ends it. */
export interface ReadOptions {
  readonly accessToken?: string;
  readonly signal?: AbortSignal;
}

/** Runs a query and returns its data, or throws what went wrong as a {@link SessionsApiError}. */
export async function read<Data>(query: RestQuery, { accessToken, signal }: ReadOptions): Promise<Data> {
  signal?.throwIfAborted();
  let asked = query;
  if (accessToken) asked = asked.setHeader('Authorization', `Bearer ${accessToken}`);
  if (signal) asked = asked.abortSignal(signal);
  const { data, error, status } = await asked;
  signal?.throwIfAborted();
  if (error) throw errorOfRead(error, status);
  return data as Data;
}

/** Calls a reading RPC that takes and returns JSON. */
export function callRpc<Data>(
  supabase: Pick<SupabaseClient, 'rpc'>,
  name: string,
  args: object,
  options: ReadOptions,
): Promise<Data> {
  return read<Data>(supabase.rpc(name, args), options);
}

/** `PTnnn` errors carry the product's own code in `hint` and its issues in `details`; others are PostgREST's. */
function errorOfRead(error: NonNullable<RestAnswer['error']>, status: number): SessionsApiError {
  const known = /^PT\d{3}$/.test(error.code ?? '');
  const code: ErrorCode | LibraryErrorCode =
    known && error.hint ? (error.hint as ErrorCode) : status === 0 ? 'NETWORK_ERROR' : readCode(status);
  return new SessionsApiError({
    status: known ? Number(error.code?.slice(2)) : status,
    code,
    message: error.message,
    issues: known ? issuesOf(error.details) : [],
    retryAfterSeconds: code === 'DATABASE_BUSY' ? Number(error.details) || null : null,
    cause: error,
  });
}

function readCode(status: number): ErrorCode | LibraryErrorCode {
  if (status === 401) return 'UNAUTHENTICATED';
  return status === 403 ? 'FORBIDDEN' : 'READ_FAILED';
}

function issuesOf(details: string | null | undefined): Issue[] {
  try {
    const parsed: unknown = JSON.parse(details ?? '[]');
    return Array.isArray(parsed) ? parsed : [];
  } catch {
    return [];
  }
}
