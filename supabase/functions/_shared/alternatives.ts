/** Other times to offer when a hold is refused. */
import { z } from 'zod';
import { alternative } from './contract/problem.ts';
import { logError } from './log.ts';
import { type Answer, errorClassOf } from './outcome.ts';
import { type RpcContext, readRpc } from './rpc.ts';

/** Longest wait for them, in milliseconds: a refusal without alternatives is better than a late one. */
const TIMEOUT_MS = 3_000;

/** Refusals that another time would mend. */
const MENDED_BY_ANOTHER_TIME = new Set([
  'THERAPIST_CONFLICT',
  'CLIENT_CONFLICT',
  'THERAPIST_HOLD_CONFLICT',
  'CLIENT_HOLD_CONFLICT',
  'ROOM_CONFLICT',
  'OUTSIDE_AVAILABILITY',
  'AUTHORIZATION_EXCEEDED',
  'CONCURRENT_SERVICE_NOT_ALLOWED',
]);

const alternatives = z.array(alternative).max(5);

/**
 * Adds alternatives to the refusal of a hold: up to 5 of the nearest times at which the same request would succeed.
 * They are looked for after the hold's transaction has ended, so that no rival waits for its locks meanwhile. When
 * they cannot be had, the refusal stands without.
 *
 * @param answer - what `hold_sessions` answered
 * @param request - its `request`
 */
export async function withAlternatives(
  answer: Answer,
  request: Record<string, unknown>,
  context: RpcContext,
): Promise<Answer> {
  if (answer.kind !== 'conflict' || !MENDED_BY_ANOTHER_TIME.has(answer.code)) return answer;
  const { data, error, status } = await readRpc('find_alternatives', request, context, TIMEOUT_MS);
  const found = alternatives.safeParse(data);
  if (found.success) return { ...answer, alternatives: found.data };
  logError('no_alternatives', context.requestId, errorClassOf({ status, error }));
  return answer;
}
