/**
 * The stack of this test run, as the tests see it.
 *
 * @example
 * import { stack } from '../setup/stack.ts';
 * const response = await fetch(`${stack.apiUrl}/rest/v1/sessions`, { headers: { apikey: stack.publishableKey } });
 */
import { inject } from 'vitest';
import type { Stack } from '../../local/stack.ts';

/** What a test may know of the shared stack. A test that kills processes starts its own with `startStack`. */
export type TestStack = Omit<Stack, 'pids' | 'restartDatabase' | 'restartFunctions' | 'stop'>;

declare module 'vitest' {
  interface ProvidedContext {
    stack: TestStack;
  }
}

/** The stack `tests/setup/global.ts` started for this run: migrated, seeded, on free ports. */
export const stack: TestStack = inject('stack');
