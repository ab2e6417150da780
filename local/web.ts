/** The example web app: built when its sources are newer than the last build, and served at the API's own origin. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { extname, join } from 'node:path';
import { execa } from 'execa';
import { projectRoot } from './settings.ts';

const app = join(projectRoot, 'examples', 'web');
/** What the build reads: its own sources, the library's, what the library shares with the functions, and the packages. */
const sources = ['examples/web', 'src', 'supabase/functions/_shared', 'package-lock.json', 'local/web.ts'];
const ignored = /(^|\/)(dist|node_modules)(\/|$)|\.test\.ts$/;

async function filesIn(path: string): Promise<string[]> {
  const absolute = join(projectRoot, path);
  if (!(await stat(absolute)).isDirectory()) return [path];
  const names = await readdir(absolute, { recursive: true, withFileTypes: true });
  return names
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(projectRoot.length + 1))
    .filter((name) => !ignored.test(name));
}

async function fingerprint(): Promise<string> {
  const hash = createHash('sha256');
  const names = (await Promise.all(sources.map(filesIn))).flat().sort();
  for (const name of names) hash.update(name).update(await readFile(join(projectRoot, name)));
  return hash.digest('hex');
}

let building: Promise<string> | undefined;

/**
 * Builds the web app, unless the last build was of the same sources.
 * @returns the folder to serve
 */
export function buildWebApp(): Promise<string> {
  building ??= buildOnce().finally(() => {
    building = undefined;
  });
  return building;
}

async function buildOnce(): Promise<string> {
  const folder = join(app, 'dist');
  const stamp = join(folder, '.fingerprint');
  const wanted = await fingerprint();
  if ((await readFile(stamp, 'utf8').catch(() => '')) === wanted) return folder;
  // Made aside and moved when complete: another process may be serving or building it.
  const draft = join(folder, `.draft-${process.pid}`);
  const options = ['build', app, '--outDir', draft, '--logLevel', 'warn'];
  // In a process of its own: what a test runner puts into NODE_ENV would make it React's development build.
  await execa('vite', options, {
    preferLocal: true,
    localDir: projectRoot,
    env: { NODE_ENV: 'production' },
    all: true,
  });
  await mkdir(folder, { recursive: true });
  for (const name of await readdir(draft)) {
    await rm(join(folder, name), { recursive: true, force: true });
    await rename(join(draft, name), join(folder, name));
  }
  await rm(draft, { recursive: true, force: true });
  await writeFile(stamp, wanted);
  return folder;
}

const types: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};

/** Nothing but what the app itself brings: no script or style from elsewhere, and no frame around it. */
const headers = {
  'content-security-policy':
    "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'",
  'referrer-policy': 'no-referrer',
  'x-content-type-options': 'nosniff',
};

/**
 * Answers a request for a page or a file of the web app.
 * @returns false when it is not the web app's to answer
 */
export async function serveWebApp(
  folder: string,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
): Promise<boolean> {
  if (incoming.method !== 'GET' && incoming.method !== 'HEAD') return false;
  const path = (incoming.url ?? '/').split('?', 1)[0] ?? '/';
  const isFile = /^\/(assets\/)?[\w-]+(\.[\w-]+)+$/.test(path);
  // A browser asks for pages as HTML; the address that `npm start` prints answers whatever asks.
  const isPage = path === '/' || (!isFile && (incoming.headers.accept ?? '').includes('text/html'));
  if (!isFile && !isPage) return false;
  const file = join(folder, isPage ? 'index.html' : path);
  const found = await stat(file).catch(() => null);
  const type = types[extname(file)];
  if (!found?.isFile() || !type) return false;
  outgoing.writeHead(200, {
    ...headers,
    'content-type': type,
    'content-length': found.size,
    // Names of assets carry a hash of what is in them.
    'cache-control': path.startsWith('/assets/') ? 'public, max-age=31536000, immutable' : 'no-cache',
  });
  if (incoming.method === 'HEAD') outgoing.end();
  else createReadStream(file).pipe(outgoing);
  return true;
}
