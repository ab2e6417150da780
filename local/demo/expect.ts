/** What the demo insists on. */
import { inspect } from 'node:util';
import { SessionsApiError } from '../../src/lib/index.ts';
import { DemoFailure } from './failure.ts';

/**
 * Goes on only when a fact holds.
 * @param fact what must be true
 * @param expected the sentence that is then true
 * @param got what came instead, for the message
 * @throws DemoFailure
 */
export function expectThat(fact: boolean, expected: string, got: unknown): asserts fact {
  if (fact) return;
  throw new DemoFailure(`Expected: ${expected}.\nCame: ${inspect(got, { depth: 8, breakLength: 110 })}`);
}

/**
 * Waits for a refusal and returns it.
 * @throws DemoFailure when the call succeeds, or is refused with another status or code
 */
export async function expectRefusal(
  call: Promise<unknown>,
  status: number,
  code: string,
): Promise<SessionsApiError> {
  const came = await call.catch((error: unknown) => error);
  expectThat(
    came instanceof SessionsApiError && came.status === status && came.code === code,
    `${status} ${code}`,
    came,
  );
  return came;
}
