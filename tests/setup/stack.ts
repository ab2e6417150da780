/**
 * The stack of this test file's worker, as the tests see it.
 *
 * @example
 * import { stack } from '../setup/stack.ts';
 * const response = await fetch(`${stack.apiUrl}/rest/v1/sessions`, { headers: { apikey: stack.publishableKey } });
 */
import { inject } from 'vitest';
import type { Stack } from '../../local/stack.ts';

/** What a test may know of its stack. A test that kills processes starts its own with `startStack`. */
export type TestStack = Omit<Stack, 'pids' | 'restartDatabase' | 'restartFunctions' | 'stop'>;

declare module 'vitest' {
  interface ProvidedContext {
    stacksUrl: string;
  }
}

/** `VITEST_POOL_ID` counts the workers that run at the same time, from 1. */
const answer = await fetch(`${inject('stacksUrl')}/${process.env.VITEST_POOL_ID}`);
if (!answer.ok) throw new Error(`The stack did not start:\n${await answer.text()}`);

/** The stack `tests/setup/global.ts` started for this worker: migrated, seeded, on free ports. */
export const stack = (await answer.json()) as TestStack;
