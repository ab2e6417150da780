import { configDefaults, defineConfig } from 'vitest/config';
import { LongestFirst } from './tests/setup/longest-first.ts';

const unit = ['tests/unit/**/*.test.ts', 'src/**/*.test.ts', 'supabase/functions/**/*.test.ts'];

/** Files that load the machine until other tests would starve, or kill things: they run after all others. */
const alone = [
  'tests/attack/**/*.test.ts',
  'tests/crash/**/*.test.ts',
  'tests/local/crash.test.ts',
  'tests/races/**/*.test.ts',
  'tests/torture/**/*.test.ts',
];

const setupFiles = ['tests/setup/random-cases.ts'];

/** A machine that is busy with others is no failure. */
const patient = { setupFiles, testTimeout: 120_000, hookTimeout: 240_000 };

/** Makes each pgTAP file a test file of its own, so that a filter runs one and workers share them out. */
const stories = {
  name: 'stories',
  load(id: string) {
    const file = /\/supabase\/tests\/([^/?]+\.sql)(\?|$)/.exec(id)?.[1];
    if (file === undefined) return;
    return `
      import { describeStory } from '/tests/setup/describe-story.ts';
      await describeStory(${JSON.stringify(file)});`;
  },
};

export default defineConfig({
  test: {
    reporters: ['default', 'junit', 'json'],
    outputFile: { junit: 'reports/junit.xml', json: 'reports/vitest.json' },
    sequence: { sequencer: LongestFirst },
    projects: [
      {
        test: {
          name: 'unit',
          include: unit,
          sequence: { groupOrder: 0 },
          maxWorkers: 2,
          isolate: false,
          ...patient,
        },
      },
      {
        plugins: [stories],
        test: {
          name: 'pgtap',
          include: ['supabase/tests/*.sql'],
          // Databases of their own: the stories look at all of it, and other tests move its clocks.
          globalSetup: ['tests/setup/story-databases.ts'],
          sequence: { groupOrder: 1 },
          maxWorkers: 2,
          // A story leaves nothing behind, neither in its database nor in its worker.
          isolate: false,
          ...patient,
        },
      },
      {
        test: {
          name: 'stack',
          include: ['tests/**/*.test.ts'],
          exclude: [...configDefaults.exclude, ...unit, ...alone],
          globalSetup: ['tests/setup/global.ts'],
          sequence: { groupOrder: 2 },
          // A third has the processor while two wait: for a browser, a lock, or until something is asked again.
          maxWorkers: 3,
          // A file makes its own clinic and leaves nothing in its worker. To load the modules anew costs a second a file.
          isolate: false,
          ...patient,
        },
      },
      {
        test: {
          name: 'alone',
          include: alone,
          globalSetup: ['tests/setup/global.ts'],
          sequence: { groupOrder: 3 },
          // A third has the processor while two wait for what they have killed.
          maxWorkers: 3,
          isolate: false,
          ...patient,
        },
      },
    ],
  },
});
