/** Starts one stack for the whole run, on free ports, so that tests run beside `npm start`. */
import type { TestProject } from 'vitest/node';
import { type StackOptions, startStack } from '../../local/stack.ts';

/**
 * Starts a stack and tells the tests of a project about it (`tests/setup/stack.ts`).
 * @returns what stops it
 */
export async function provideStack(
  project: TestProject,
  options?: StackOptions,
): Promise<() => Promise<void>> {
  const stack = await startStack(options);
  const { apiUrl, dbUrl, apiPort, dbPort, publishableKey, secretKey, jwtSecret, jwtKeyId } = stack;
  project.provide('stack', {
    ...{ apiUrl, dbUrl, apiPort, dbPort },
    ...{ publishableKey, secretKey, jwtSecret, jwtKeyId },
  });
  return () => stack.stop();
}

export default function setup(project: TestProject): Promise<() => Promise<void>> {
  return provideStack(project);
}
