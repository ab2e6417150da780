/**
 * Builds the client library for `npm pack`: one ES module for browsers, Node and Deno, two more for React that import it,
 * and their types.
 *
 * Its dependencies are bundled in, as they are small and rrule's packaging differs between runtimes; supabase-js is not,
 * because the app brings its own client and only its types are needed.
 */
import { execFile } from 'node:child_process';
import { copyFile, readFile, rm } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import { rolldown } from 'rolldown';

const root = fileURLToPath(new URL('..', import.meta.url));
/** The most a browser is to load for the library, gzipped. */
const MAX_GZIP_BYTES = 60_000;

/** Bundles one module into `dist/`; what is `external` is the app's own. */
async function bundle(input: string, name: string, external: RegExp[]): Promise<void> {
  const built = await rolldown({
    input: `${root}${input}`,
    platform: 'neutral',
    resolve: { mainFields: ['module', 'main'] },
    external,
    plugins: [
      {
        name: 'library',
        resolveId: (source) =>
          source === '../lib/index.ts' ? { id: './index.js', external: 'relative' } : null,
      },
    ],
    onLog(level, log, report) {
      if (level === 'warn') throw new Error(`${log.code}: ${log.message}`);
      report(level, log);
    },
  });
  await built.write({ file: `${root}dist/${name}.js`, format: 'esm', minify: true, sourcemap: true });
  await built.close();
}

/** Builds into `dist/` and returns the bundle's sizes in bytes. */
export async function buildLibrary(): Promise<{ bytes: number; gzipped: number }> {
  await rm(`${root}dist`, { recursive: true, force: true });
  await bundle('src/lib/index.ts', 'index', [/^@supabase\//]);
  // One copy of the library, whose errors are of one class.
  for (const [input, name] of [
    ['src/react/index.ts', 'react'],
    ['src/react/weekCalendar.ts', 'week-calendar'],
  ] as const)
    await bundle(input, name, [/^react$/, /^@tanstack\//, /^@event-calendar\//]);
  await copyFile(`${root}src/react/week-calendar.css`, `${root}dist/week-calendar.css`);
  await promisify(execFile)('tsc', ['--project', `${root}tsconfig.build.json`], { cwd: root }).catch(
    (error: Error & { stdout?: string }) => {
      throw new Error(error.stdout || error.message);
    },
  );
  const code = await readFile(`${root}dist/index.js`);
  const sizes = { bytes: code.length, gzipped: gzipSync(code).length };
  if (sizes.gzipped > MAX_GZIP_BYTES) throw new Error(`The bundle is ${sizes.gzipped} bytes gzipped`);
  return sizes;
}

if (import.meta.main) {
  const { bytes, gzipped } = await buildLibrary();
  console.log(`dist/index.js: ${bytes} bytes, ${gzipped} gzipped`);
}
