/** After an answer that freed time: whoever waits for it is asked. */
import { z } from 'zod';
import { logError } from './log.ts';
import { errorClassOf } from './outcome.ts';
import { offerRpc, type RpcContext } from './rpc.ts';

/** A clinic's day frees many slots at once; what is left over, the schedule offers. */
const MOST_OFFERS = 50;

const progress = z.object({ pending: z.int().min(0) });

const freedOutcome = z.object({ freed: z.literal(true) });

/** What edge runtimes offer for work that goes on after the answer. */
declare const EdgeRuntime: { waitUntil(work: Promise<unknown>): void } | undefined;

/** Whether an outcome of the database left something for the waitlist. */
export function hasFreed(outcome: unknown): boolean {
  return freedOutcome.safeParse(outcome).success;
}

async function offerAll(context: RpcContext): Promise<void> {
  for (let offers = 0; offers < MOST_OFFERS; offers++) {
    const { data, error, status } = await offerRpc(context);
    const known = progress.safeParse(data);
    if (!known.success) return logError('no_offers', context.requestId, errorClassOf({ status, error }));
    if (known.data.pending === 0) return;
  }
}

/**
 * Offers what was freed, one slot a transaction, without making the caller wait. Whoever frees a slot never locks the
 * client it is offered to, so the offers are calls of their own.
 */
export function offerFreedSlots(context: RpcContext): void {
  const work = offerAll(context).catch((thrown: unknown) => {
    logError('no_offers', context.requestId, thrown instanceof Error ? thrown.name : 'Unknown');
  });
  if (typeof EdgeRuntime !== 'undefined') EdgeRuntime.waitUntil(work);
}
