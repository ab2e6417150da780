import type { ErrorCode } from '../../supabase/functions/_shared/contract/codes.ts';
import { callRpc, type ReadOptions } from './readRest.ts';
import { type LibraryErrorCode, SessionsApiError, type VisitOverlap } from './sessionsApiError.ts';
import type { RpcCaller } from './supabaseClient.ts';

/** What the changing RPCs answer. */
interface Outcome<Body> {
  readonly ok: boolean;
  readonly status: number;
  readonly body: Body;
  readonly code?: ErrorCode | LibraryErrorCode;
  readonly detail?: string;
  readonly overlaps?: readonly VisitOverlap[];
  readonly missing?: readonly { readonly field: string; readonly message: string }[];
}

/** Calls an RPC that returns an outcome: its body, or its refusal as an error. */
export async function callOutcome<Body>(
  supabase: RpcCaller,
  name: string,
  args: object,
  { accessToken, signal }: ReadOptions,
): Promise<Body> {
  const outcome = await callRpc<Outcome<Body>>(supabase, name, args, { accessToken, signal });
  if (outcome.ok) return outcome.body;
  throw new SessionsApiError({
    status: outcome.status,
    code: outcome.code ?? 'UNEXPECTED_ANSWER',
    message: outcome.detail ?? `${name} was refused.`,
    overlaps: outcome.overlaps,
    issues: outcome.missing?.map(({ field, message }) => ({ path: field, message })),
  });
}
