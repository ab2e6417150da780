import { configDefaults, defineConfig } from 'vitest/config';

const unit = ['tests/unit/**/*.test.ts', 'src/**/*.test.ts', 'supabase/functions/**/*.test.ts'];
const pgtap = ['tests/pgtap.test.ts'];

/** For tests against a stack: they share it, and some measure time, so their files run one after the other. */
const onStack = { maxWorkers: 1, testTimeout: 120_000, hookTimeout: 240_000 };

export default defineConfig({
  test: {
    reporters: ['default', 'junit', 'json'],
    outputFile: { junit: 'reports/junit.xml', json: 'reports/vitest.json' },
    projects: [
      { test: { name: 'unit', include: unit, sequence: { groupOrder: 0 } } },
      {
        test: {
          name: 'pgtap',
          include: pgtap,
          // A database of its own: the stories look at all of it, and other tests move its clocks.
          globalSetup: ['tests/setup/database.ts'],
          sequence: { groupOrder: 1 },
          ...onStack,
        },
      },
      {
        test: {
          name: 'stack',
          include: ['tests/**/*.test.ts'],
          exclude: [...configDefaults.exclude, ...unit, ...pgtap],
          globalSetup: ['tests/setup/global.ts'],
          sequence: { groupOrder: 2 },
          ...onStack,
        },
      },
    ],
  },
});
