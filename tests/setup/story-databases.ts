/** Databases for the stories: migrated, seeded, touched by nobody else, without an API in front of them. */
import type { TestProject } from 'vitest/node';
import { provideStacks } from './global.ts';
import { installStoryHelpers } from './story.ts';

export default function setup(project: TestProject): Promise<() => Promise<void>> {
  return provideStacks(project, { api: false }, ({ dbUrl }) => installStoryHelpers(dbUrl), true);
}
