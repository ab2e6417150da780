/** PostgREST's answers to what goes wrong, for the embedded REST layer. */
import pg from 'pg';
import { ConnectionFailure } from './database.ts';

/** Body of every error PostgREST answers. */
export interface RestError {
  code: string;
  message: string;
  details?: string | null;
  hint?: string | null;
}

/** An error answer; readable by a page of another origin, as on the platform. */
export function answerError(status: number, error: RestError): Response {
  const { code, details = null, hint = null, message } = error;
  return Response.json(
    { code, details, hint, message },
    { status, headers: { 'access-control-allow-origin': '*' } },
  );
}

/** Statuses of whole classes of SQLSTATEs (their first two characters). */
const statusOfClass: Record<string, number> = {
  '08': 503,
  '09': 500,
  '0L': 403,
  '0P': 403,
  '25': 500,
  '28': 403,
  '2D': 500,
  '38': 500,
  '39': 500,
  '3B': 500,
  '40': 500,
  '53': 503,
  '54': 500,
  '55': 500,
  '57': 500,
  '58': 500,
  F0: 500,
  HV: 500,
  P0: 500,
  PT: 500,
  XX: 500,
};

/** Statuses of single SQLSTATEs, before their class. */
const statusOfCode: Record<string, number> = {
  '23503': 409,
  '23505': 409,
  '25006': 405,
  '42883': 404,
  '42P01': 404,
  '42P17': 500,
  '53400': 500,
  // The server is stopping or starting: PostgREST has no connection then, and says so.
  '57P01': 503,
  '57P02': 503,
  '57P03': 503,
  P0001: 400,
};

/**
 * HTTP status of a database error. Source: https://docs.postgrest.org/en/v14/references/errors.html#http-status-codes
 * Mind that an exclusion violation (23P01) is a 400 there, and a deadlock or a lock timeout a 500: whoever wants
 * better raises `PTnnn`.
 * @param authenticated whether the caller is somebody else than `anon`: a missing privilege is then 403, not 401
 */
export function statusOfSqlState(code: string, authenticated: boolean): number {
  const raised = /^PT([1-5]\d\d)$/.exec(code);
  if (raised) return Number(raised[1]);
  if (code === '42501') return authenticated ? 403 : 401;
  return statusOfCode[code] ?? statusOfClass[code.slice(0, 2)] ?? 400;
}

/**
 * PostgREST's answer to an error of the database.
 * @returns null for an error of another kind, and for `raise sqlstate 'PGRST'`, which carries its own answer
 */
export function databaseErrorResponse(error: unknown, role: string): Response | null {
  if (error instanceof ConnectionFailure)
    return error.isBusy
      ? answerError(504, {
          code: 'PGRST003',
          message: 'Timed out acquiring connection from connection pool.',
        })
      : answerError(503, {
          code: 'PGRST001',
          message: 'Could not connect with the database due to an internal error.',
        });
  if (!(error instanceof pg.DatabaseError) || error.code === undefined || error.code === 'PGRST') return null;
  const { code, message, detail, hint } = error;
  return answerError(statusOfSqlState(code, role !== 'anon'), {
    ...{ code, message, details: detail ?? null, hint: hint ?? null },
  });
}
