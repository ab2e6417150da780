/** The packed library, installed in a project of its own, in Node, Deno and headless Chromium against the stack. */
import { execFile } from 'node:child_process';
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { rolldown } from 'rolldown';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { buildLibrary } from '../../scripts/build-library.ts';
import { launchBrowser, noBrowser } from '../setup/browser.ts';
import { stack } from '../setup/stack.ts';
import { type Clinic, openClinic, type Person } from './clinic.ts';

const run = promisify(execFile);
const root = fileURLToPath(new URL('../..', import.meta.url));

let project: string;
let clinic: Clinic;
let sizes: { bytes: number; gzipped: number };
let installed: string[];

/** Gives the app a version of supabase-js, by its name among the repository's packages. */
async function bring(name: string): Promise<void> {
  const link = join(project, 'node_modules/@supabase/supabase-js');
  await mkdir(join(link, '..'), { recursive: true });
  await rm(link, { force: true });
  await symlink(join(root, 'node_modules', name), link);
}

beforeAll(async () => {
  [clinic, sizes] = await Promise.all([openClinic(), buildLibrary()]);
  project = await mkdtemp(join(tmpdir(), 'library-app-'));
  await run('npm', ['pack', '--ignore-scripts', '--pack-destination', project], { cwd: root });
  const [tarball = ''] = (await readdir(project)).filter((name) => name.endsWith('.tgz'));
  await writeFile(
    join(project, 'package.json'),
    JSON.stringify({ name: 'app', private: true, type: 'module' }),
  );
  // Without its peer, which is the app's own: here the repository's, or an older one.
  const install = [
    'install',
    '--offline',
    '--legacy-peer-deps',
    '--no-audit',
    '--no-fund',
    '--ignore-scripts',
  ];
  await run('npm', [...install, `./${tarball}`], { cwd: project });
  installed = await readdir(join(project, 'node_modules'));
  await bring('@supabase/supabase-js');
  await copyFile(`${root}tests/lib/runtime-scenario.js`, join(project, 'scenario.js'));
}, 180_000);
afterAll(() => rm(project, { recursive: true, force: true }));

let week = 4;
/** Settings for one run; each has a month of its own. */
function configFor(person: Person) {
  week += 6;
  const monday = Math.floor(Date.now() / 604_800_000 + week) * 604_800_000 + 4 * 86_400_000;
  return {
    url: stack.apiUrl,
    publishableKey: stack.publishableKey,
    email: person.email,
    password: 'demo-password-1234',
    therapistId: person.id,
    clientId: clinic.clients[0],
    start: new Date(monday + 18 * 3_600_000).toISOString(),
  };
}

const EXPECTED = {
  booked: 3,
  units: 4,
  modifiers: ['95'],
  preview: [null, 'therapist', 'therapist', 'therapist'],
  refused: [409, 'THERAPIST_CONFLICT', true],
  filled: [1, 3],
  schedule: 4,
  cancelled: 4,
  aborted: 'AbortError',
  acrossTheChange: '2025-11-05T18:00:00.000Z',
  guard: 'admin,super_admin',
  code: '97153',
};

const main = (config: object) =>
  `import { scenario } from './scenario.js';\nconsole.log(JSON.stringify(await scenario(${JSON.stringify(config)})));\n`;

/** What an app may write. */
const APP = `
import { createClient } from '@supabase/supabase-js';
import {
  bookSession, type BookSessionResult, createScheduleFeed, type Database, fetchClients, fetchNames, fetchPayerRules,
  fetchReport, fetchSchedule, fetchWaitlist, findOpenSlots, previewSeries, readNote, SessionsApiError, startSession,
} from 'therapist-sessions';
const supabase = createClient<Database>('http://127.0.0.1', 'key');
const plain = createClient('http://127.0.0.1', 'key');
const session = { therapist_id: 't', client_id: 'c', start_time: 's', end_time: 'e' };
const result: BookSessionResult = await bookSession(supabase, { session, timeZone: 'UTC', onConflict: 'skip' });
await bookSession(plain, { session, timeZone: 'UTC' });
const status: 'scheduled' | 'in_progress' | 'completed' | 'cancelled' | 'no_show' | undefined =
  (await fetchSchedule(supabase, { from: 'a', to: 'b' })).sessions[0]?.status;
// @ts-expect-error: a zone is needed
await bookSession(supabase, { session });
for (const client of [supabase, plain]) {
  createScheduleFeed(client, { query: { from: 'a', to: 'b' }, onChange: () => undefined }).close();
  const [waiting] = await fetchWaitlist(client);
  const expiry: string | undefined = waiting?.offer?.expiresAt;
  const units: number = (await previewSeries(client, { session, timeZone: 'UTC' })).length;
  await fetchPayerRules(client, { clientId: 'c', date: '2026-12-01' });
  await findOpenSlots(client, { therapistId: 't', from: 'a', to: 'b', minutes: 60 });
  await startSession(client, { sessionId: 's' });
  const progress: string | undefined = (await readNote(client, { sessionId: 's' }))?.content.progress;
  const names = await fetchNames(client, { clientIds: (await fetchClients(client)).map(({ id }) => id) });
  const rows: { week_start: string }[] = await fetchReport(client, 'therapist_utilization');
  console.log(expiry, units, progress, names.get('c')?.listed, rows.length);
}
const { data } = await supabase.schema('reports').from('therapist_utilization').select('therapist_id');
const therapist: string | null | undefined = data?.[0]?.therapist_id;
export const seconds: number | null = new SessionsApiError({ status: 0, code: 'NETWORK_ERROR', message: '' }).retryAfterSeconds;
export { result, status, therapist };
`;

describe('the package', () => {
  it('is small: under 60 kB gzipped for a browser, without supabase-js', () => {
    expect(sizes.gzipped).toBeLessThan(60_000);
    expect(sizes.gzipped).toBeGreaterThan(5_000);
  });

  it('imports nothing but what the app has', async () => {
    const code = await readFile(join(project, 'node_modules/therapist-sessions/dist/index.js'), 'utf8');
    // Statements only: minified, `from` also ends a method chain like `.from(…)`.
    expect(
      code.match(/(?:^|[;}])(?:import|export)[^;]*?\bfrom\s*["'`][^"'`]+["'`]|\bimport\s*\(/g),
    ).toBeNull();
  });

  it('brings nothing along: supabase-js is the app’s own', async () => {
    expect(installed.filter((name) => !name.startsWith('.'))).toEqual(['therapist-sessions']);
    const types = join(project, 'node_modules/therapist-sessions/dist/types');
    for (const name of await readdir(types, { recursive: true })) {
      // The hooks for React are of an app that has React.
      if (!name.endsWith('.d.ts') || name.startsWith('src/react/')) continue;
      const declarations = await readFile(join(types, name), 'utf8');
      expect(declarations.match(/from ['"](?!\.)[^'"]+['"]/g), name).toBeNull();
    }
  });

  it('has hooks for an app with React, which import the library and bring no second copy of it', async () => {
    for (const [name, most] of [
      ['react', 15_000],
      ['week-calendar', 5_000],
    ] as const) {
      const code = await readFile(join(project, `node_modules/therapist-sessions/dist/${name}.js`), 'utf8');
      const imported = [...code.matchAll(/(?:^|[;}])import[^;]*?\bfrom\s*["'`]([^"'`]+)["'`]/g)].map(
        ([, module]) => module,
      );
      expect(imported).toContain('./index.js');
      expect(
        imported.filter(
          (module) =>
            !/^(\.\/index\.js|react|@tanstack\/react-query|@event-calendar\/core)$/.test(module ?? ''),
        ),
      ).toEqual([]);
      expect(code.length).toBeLessThan(most * 3);
    }
  });

  it('contains no source of the backend', async () => {
    const files = await readdir(join(project, 'node_modules/therapist-sessions'));
    expect(files.sort()).toEqual(expect.arrayContaining(['dist', 'package.json']));
    expect(files).not.toContain('supabase');
    expect(files).not.toContain('src');
  });

  describe.each(['@supabase/supabase-js', 'supabase-js-2.100', 'supabase-js-2.75', 'supabase-js-2.49'])(
    'has types for an app on %s',
    (version) => {
      beforeAll(() => bring(version));
      afterAll(() => bring('@supabase/supabase-js'));

      it.each(['bundler', 'nodenext'])('by module resolution %s', async (resolution) => {
        await writeFile(join(project, 'app.ts'), APP);
        await writeFile(
          join(project, 'tsconfig.json'),
          JSON.stringify({
            compilerOptions: {
              target: 'es2023',
              lib: ['es2023', 'dom', 'dom.iterable'],
              module: resolution === 'nodenext' ? 'nodenext' : 'esnext',
              moduleResolution: resolution,
              strict: true,
              noEmit: true,
              types: [],
            },
            files: ['app.ts'],
          }),
        );
        const { stdout } = await run(`${root}node_modules/.bin/tsc`, [
          '-p',
          project,
          '--singleThreaded',
        ]).catch((error) => error);
        // Not what supabase-js's own declarations lack under these settings.
        expect(stdout.split('\n').filter((line: string) => /^app\.ts|therapist-sessions/.test(line))).toEqual(
          [],
        );
      });
    },
  );
});

describe('the same file runs', () => {
  it('in Node', async () => {
    await writeFile(join(project, 'node-main.js'), main(configFor(clinic.rbt)));
    const { stdout } = await run(process.execPath, ['node-main.js'], { cwd: project });
    expect(JSON.parse(stdout)).toEqual(EXPECTED);
  });

  it('in Node on the oldest supabase-js that will do', async () => {
    await bring('supabase-js-2.49');
    try {
      await writeFile(join(project, 'node-main.js'), main(configFor(clinic.rbt)));
      const { stdout } = await run(process.execPath, ['node-main.js'], { cwd: project });
      expect(JSON.parse(stdout)).toEqual(EXPECTED);
    } finally {
      await bring('@supabase/supabase-js');
    }
  });

  it('in Deno', async () => {
    await writeFile(join(project, 'deno-main.js'), main(configFor(clinic.rbt)));
    const args = [
      'run',
      '--no-prompt',
      '--allow-net=127.0.0.1',
      '--allow-read',
      '--allow-env',
      '--node-modules-dir=manual',
    ];
    const { stdout } = await run(`${root}node_modules/.bin/deno`, [...args, 'deno-main.js'], {
      cwd: project,
    });
    expect(JSON.parse(stdout)).toEqual(EXPECTED);
  });

  it.skipIf(noBrowser !== '')(`in headless Chromium${noBrowser}`, async () => {
    const server = await serve(configFor(clinic.rbt));
    const browser = await launchBrowser();
    try {
      const page = await browser.newPage();
      const complaints: string[] = [];
      page.on('pageerror', (error) => complaints.push(String(error)));
      await page.goto(`http://localhost:${(server.address() as AddressInfo).port}/`);
      await page.waitForFunction('window.result !== undefined || window.failure !== undefined', undefined, {
        timeout: 90_000,
      });
      expect(await page.evaluate('window.failure ?? null')).toBeNull();
      expect(await page.evaluate('window.result')).toEqual(EXPECTED);
      expect(complaints).toEqual([]);
    } finally {
      await browser.close();
      server.close();
    }
  });
});

/** A page that runs the scenario: the packed module as it is, supabase-js bundled as an app's tool would. */
async function serve(config: object): Promise<Server> {
  const bundle = await rolldown({
    input: join(project, 'node_modules/@supabase/supabase-js'),
    platform: 'browser',
    onLog: () => undefined,
  });
  await mkdir(join(project, 'web'), { recursive: true });
  await bundle.write({ file: join(project, 'web/supabase.js'), format: 'esm' });
  await bundle.close();
  const files: Record<string, [string, string]> = {
    '/supabase.js': ['text/javascript', await readFile(join(project, 'web/supabase.js'), 'utf8')],
    '/library.js': [
      'text/javascript',
      await readFile(join(project, 'node_modules/therapist-sessions/dist/index.js'), 'utf8'),
    ],
    '/scenario.js': ['text/javascript', await readFile(join(project, 'scenario.js'), 'utf8')],
    '/': [
      'text/html',
      `<!doctype html><meta charset="utf-8"><title>Library</title><link rel="icon" href="data:,">
      <script type="importmap">${JSON.stringify({ imports: { '@supabase/supabase-js': '/supabase.js', 'therapist-sessions': '/library.js' } })}</script>
      <script type="module">
        try {
          const { scenario } = await import('/scenario.js');
          window.result = await scenario(${JSON.stringify(config)});
        } catch (error) {
          window.failure = String(error?.stack ?? error);
        }
      </script>`,
    ],
  };
  const server = createServer((request, response) => {
    const file = files[request.url ?? ''];
    response.writeHead(file ? 200 : 404, { 'content-type': file?.[0] ?? 'text/plain' }).end(file?.[1] ?? '');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}
