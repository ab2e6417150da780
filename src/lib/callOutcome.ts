import type { ErrorCode } from '../../supabase/functions/_shared/contract/codes.ts';
import type { Conflict, Shortage } from '../../supabase/functions/_shared/contract/types.ts';
import { callRpc, type ReadOptions } from './readRest.ts';
import { type LibraryErrorCode, SessionsApiError, type VisitOverlap } from './sessionsApiError.ts';
import type { RpcCaller } from './supabaseClient.ts';

/** What the database functions answer that change something: what was done, or why it was refused. */
interface Outcome<Body> {
  readonly ok: boolean;
  readonly status: number;
  readonly body: Body;
  readonly code?: ErrorCode | LibraryErrorCode;
  readonly detail?: string;
  readonly missing?: readonly { readonly field: string; readonly message: string }[];
  readonly retryAfter?: string | null;
  readonly retryAfterSeconds?: number | null;
  readonly conflicts?: readonly Conflict[];
  readonly shortages?: readonly Shortage[];
  readonly overlaps?: readonly VisitOverlap[];
}

/** Calls a database function that returns an outcome: its body, or its refusal as an error. */
export async function callOutcome<Body>(
  supabase: RpcCaller,
  name: string,
  args: object,
  { accessToken, signal }: ReadOptions,
): Promise<Body> {
  const outcome = await callRpc<Outcome<Body>>(supabase, name, args, { accessToken, signal });
  if (outcome.ok) return outcome.body;
  const { status, code, detail, missing, ...hints } = outcome;
  throw new SessionsApiError({
    status,
    code: code ?? 'UNEXPECTED_ANSWER',
    message: detail ?? `${name} was refused.`,
    issues: missing?.map(({ field, message }) => ({ path: field, message })),
    retryAfter: hints.retryAfter,
    retryAfterSeconds: hints.retryAfterSeconds,
    conflicts: hints.conflicts,
    shortages: hints.shortages,
    overlaps: hints.overlaps,
  });
}
