/** Calling the database, as the caller. */
import { createContextClient } from '@supabase/server/core';
import type { SupabaseClient } from '@supabase/supabase-js';
import type { AuditedRpc, RpcCall } from './contract/parsed.ts';
import { env } from './env.ts';

/** Longest wait for the database, in milliseconds: above its own statement timeout, so that its answer comes first. */
const RPC_TIMEOUT_MS = 15_000;

/** Who asks, and under which request id. */
export type RpcContext = { token: string; requestId: string };

/** What came back through REST. `status` is 0 when nothing did. */
export type RpcAnswer = {
  status: number;
  data: unknown;
  error: { code?: string; message?: string; details?: string | null; hint?: string | null } | null;
};

let anonymous: { project: string; client: SupabaseClient } | undefined;

/**
 * One client for the isolate's life, since making one costs more than most calls. It is nobody: it holds no session, and
 * each call brings its caller's token in a header of its own.
 */
function client(): SupabaseClient {
  const project = `${env('SUPABASE_URL')} ${env('SUPABASE_PUBLISHABLE_KEYS')}`;
  if (anonymous?.project !== project) anonymous = { project, client: createContextClient() };
  return anonymous.client;
}

async function call(
  name: string,
  args: Record<string, unknown>,
  { token, requestId }: RpcContext,
  timeoutMs: number,
): Promise<RpcAnswer> {
  const abort = new AbortController();
  const timer = setTimeout(() => abort.abort(), timeoutMs);
  try {
    const { data, error, status } = await client()
      .rpc(name, args)
      .setHeader('Authorization', `Bearer ${token}`)
      .setHeader('X-Request-Id', requestId)
      .abortSignal(abort.signal);
    return { status, data, error };
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Calls a function over REST with the caller's own token, so that row security and the membership apply.
 * Never with the service role. Never retried here: the caller holds the idempotency key.
 */
export function callRpc(
  { rpc, request }: RpcCall,
  idempotencyKey: string | null,
  context: RpcContext,
): Promise<RpcAnswer> {
  const args = { request, idempotency_key: idempotencyKey, request_id: context.requestId };
  return call(rpc, args, context, RPC_TIMEOUT_MS);
}

/** Calls a function that keeps no answers under an idempotency key: it reads, or what it does is naturally repeatable. */
export function callAudited(
  rpc: AuditedRpc,
  request: Record<string, unknown>,
  context: RpcContext,
): Promise<RpcAnswer> {
  return call(rpc, { request, request_id: context.requestId }, context, RPC_TIMEOUT_MS);
}

/** Reads something with the caller's own token, giving up after `timeoutMs` milliseconds. */
export function readRpc(
  rpc: 'find_alternatives',
  request: Record<string, unknown>,
  context: RpcContext,
  timeoutMs: number,
): Promise<RpcAnswer> {
  return call(rpc, { request }, context, timeoutMs);
}

/** Offers one freed slot to the next on the waitlist; the answer says how many are left. */
export function offerRpc(context: RpcContext): Promise<RpcAnswer> {
  return call('offer_freed_slots', { request_id: context.requestId }, context, RPC_TIMEOUT_MS);
}
