import type { ErrorCode } from '../../supabase/functions/_shared/contract/codes.ts';
import type { Conflict, Shortage } from '../../supabase/functions/_shared/contract/types.ts';
import { callRpc, type ReadOptions } from './readRest.ts';
import { type BlockedSession, type LibraryErrorCode, SessionsApiError } from './sessionsApiError.ts';
import type { RpcCaller } from './supabaseClient.ts';

/** What a changing RPC answers. */
interface Outcome<Body> {
  readonly ok: boolean;
  readonly status: number;
  readonly body: Body;
  readonly code?: ErrorCode | LibraryErrorCode;
  readonly detail?: string;
  readonly retryAfter?: string | null;
  readonly retryAfterSeconds?: number | null;
  readonly conflicts?: readonly Conflict[];
  readonly shortages?: readonly Shortage[];
  readonly blocked?: readonly BlockedSession[];
  /** Something was left for the waitlist. */
  readonly freed?: boolean;
}

/** How many freed slots are offered at once; what is left over, the schedule offers. */
const MOST_OFFERS = 10;

/**
 * Calls an RPC that returns an outcome. What it freed is offered to the waitlist.
 *
 * @param supabase - the client
 * @param name - the function
 * @param args - its arguments
 * @param options - token and signal
 * @returns its body
 * @throws SessionsApiError what it refused, as an edge function would say it
 */
export async function rpcOutcome<Body>(
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
  throw new SessionsApiError({
    status: outcome.status,
    code: outcome.code ?? 'UNEXPECTED_ANSWER',
    message: outcome.detail ?? `${name} was refused.`,
    retryAfter: outcome.retryAfter,
    retryAfterSeconds: outcome.retryAfterSeconds,
    conflicts: outcome.conflicts,
    shortages: outcome.shortages,
    blocked: outcome.blocked,
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
