/** Starts a stack without functions for the pgTAP files: migrated, seeded, touched by nobody else. */
import type { TestProject } from 'vitest/node';
import { provideStack } from './global.ts';

export default function setup(project: TestProject): Promise<() => Promise<void>> {
  return provideStack(project, { functions: false });
}
