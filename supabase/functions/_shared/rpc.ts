/** Calling the database, as the caller. */
import { createContextClient } from '@supabase/server/core';
import type { RpcCall } from './contract/parsed.ts';

/** Longest wait for the database, in milliseconds: above its own statement timeout, so that its answer comes first. */
const RPC_TIMEOUT_MS = 15_000;

/** What came back through REST. `status` is 0 when nothing did. */
export type RpcAnswer = {
  status: number;
  data: unknown;
  error: { code?: string; message?: string; details?: string | null; hint?: string | null } | null;
};

/**
 * Calls a booking function over REST with the caller's own token, so that row security and the membership apply.
 * Never with the service role. Never retried here: the caller holds the idempotency key.
 */
export async function callRpc(
  { rpc, request }: RpcCall,
  { token, idempotencyKey, requestId }: { token: string; idempotencyKey: string | null; requestId: string },
): Promise<RpcAnswer> {
  const client = createContextClient({
    auth: { token },
    supabaseOptions: { global: { headers: { 'X-Request-Id': requestId } } },
  });
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), RPC_TIMEOUT_MS);
  try {
    const { data, error, status } = await client
      .rpc(rpc, { request, idempotency_key: idempotencyKey, request_id: requestId })
      .abortSignal(abort.signal);
    return { status, data, error };
  } finally {
    clearTimeout(timer);
  }
}
