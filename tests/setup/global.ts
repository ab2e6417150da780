/** Starts one stack for the whole run, on free ports, so that tests run beside `npm start`. */
import type { TestProject } from 'vitest/node';
import { startStack } from '../../local/stack.ts';

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const stack = await startStack();
  const { apiUrl, dbUrl, apiPort, dbPort, publishableKey, secretKey, jwtSecret, jwtKeyId } = stack;
  project.provide('stack', {
    ...{ apiUrl, dbUrl, apiPort, dbPort },
    ...{ publishableKey, secretKey, jwtSecret, jwtKeyId },
  });
  return () => stack.stop();
}
