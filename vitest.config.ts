import { configDefaults, defineConfig } from 'vitest/config';

const unit = ['tests/unit/**/*.test.ts', 'src/**/*.test.ts', 'supabase/functions/**/*.test.ts'];

export default defineConfig({
  test: {
    reporters: ['default', 'junit', 'json'],
    outputFile: { junit: 'reports/junit.xml', json: 'reports/vitest.json' },
    projects: [
      {
        test: {
          name: 'unit',
          include: unit,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: 'stack',
          include: ['tests/**/*.test.ts'],
          exclude: [...configDefaults.exclude, ...unit],
          globalSetup: ['tests/setup/global.ts'],
          // All files share one stack, and some measure time: one after the other, after the unit tests.
          maxWorkers: 1,
          sequence: { groupOrder: 1 },
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
    ],
  },
});
