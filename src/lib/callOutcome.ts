import type { ErrorCode } from '../../supabase/functions/_shared/contract/codes.ts';
import type { Alternative, Conflict, Shortage } from '../../supabase/functions/_shared/contract/types.ts';
import { callRpc, type ReadOptions } from './readRest.ts';
import {
  type BlockedSession,
  type LibraryErrorCode,
  SessionsApiError,
  type VisitOverlap,
} from './sessionsApiError.ts';
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
  readonly alternatives?: readonly Alternative[];
  readonly shortages?: readonly Shortage[];
  readonly overlaps?: readonly VisitOverlap[];
  readonly blocked?: readonly BlockedSession[];
  /** Something was left for the waitlist. */
  readonly freed?: boolean;
}

/** How many freed slots are offered at once; what is left over, the schedule offers. */
const MOST_OFFERS = 10;

/** Calls a database function that returns an outcome: its body, or its refusal as an error. What it freed is offered. */
export async function callOutcome<Body>(
  supabase: RpcCaller,
  name: string,
  args: object,
  { accessToken, signal }: ReadOptions,
): Promise<Body> {
  const outcome = await callRpc<Outcome<Body>>(supabase, name, args, { accessToken, signal });
  if (outcome.ok) {
    if (outcome.freed) await offerFreed(supabase, { accessToken, signal });
    return outcome.body;
  }
  const { status, code, detail, missing, ...hints } = outcome;
  throw new SessionsApiError({
    status,
    code: code ?? 'UNEXPECTED_ANSWER',
    message: detail ?? `${name} was refused.`,
    issues: missing?.map(({ field, message }) => ({ path: field, message })),
    retryAfter: hints.retryAfter,
    retryAfterSeconds: hints.retryAfterSeconds,
    conflicts: hints.conflicts,
    alternatives: hints.alternatives,
    shortages: hints.shortages,
    overlaps: hints.overlaps,
    blocked: hints.blocked,
  });
}

/** The change is made whatever comes of the offers: a failed one is made by the schedule. */
async function offerFreed(supabase: RpcCaller, options: ReadOptions): Promise<void> {
  try {
    for (let offers = 0; offers < MOST_OFFERS; offers++) {
      const { pending } = await callRpc<{ pending: number }>(supabase, 'offer_freed_slots', {}, options);
      if (!(pending > 0)) return;
    }
  } catch {
    return;
  }
}
