import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vite';

const folder = fileURLToPath(new URL('.', import.meta.url));

export default defineConfig({
  root: folder,
  // In an app of its own this is the package from npm.
  resolve: {
    alias: [
      { find: /^therapist-sessions$/, replacement: `${folder}../../src/lib/index.ts` },
      { find: /^therapist-sessions\/react$/, replacement: `${folder}../../src/react/index.ts` },
      { find: /^therapist-sessions\/week-calendar.css$/, replacement: `${folder}../../src/react/week-calendar.css` },
      { find: /^therapist-sessions\/week-calendar$/, replacement: `${folder}../../src/react/weekCalendar.ts` },
    ],
  },
  build: {
    target: 'es2024',
    // Old enough for every current browser, new enough to leave `light-dark()` as it is: the theme switch needs it.
    cssTarget: ['chrome123', 'firefox120', 'safari17.5'],
    outDir: 'dist',
    emptyOutDir: true,
    manifest: true,
    chunkSizeWarningLimit: 700,
    modulePreload: { polyfill: false },
    rolldownOptions: {
      onLog(level, log, report) {
        // `use client` means nothing without a server of React's.
        if (log.code !== 'MODULE_LEVEL_DIRECTIVE') report(level, log);
      },
    },
  },
});
