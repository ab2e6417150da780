/**
 * The edge functions, under the Deno that npm installed. One process serves them all: memory is scarcer on a laptop
 * than on the platform, and one isolate serves many requests there too.
 */
import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseEnv } from 'node:util';
import { execa } from 'execa';
import { endWithParent } from './children.ts';
import { StackError } from './ports.ts';
import { databaseUrl, keys, type ProjectConfig, packageFolder, projectRoot } from './settings.ts';
import { functionsJwks } from './tokens.ts';

/** The process that serves the functions. */
export interface FunctionsHost {
  /** Process id. */
  readonly pid: number;
  /** Port on 127.0.0.1; paths are `/<function name>`. */
  readonly port: number;
  /** Resolves when the process has ended, for whatever reason, with a sentence about how. */
  readonly exited: Promise<string>;
  stop(): Promise<void>;
}

/** Names of the functions: folders of `supabase/functions` with an `index.ts`, unless `config.toml` disables them. */
export async function functionNames(root: string, config: ProjectConfig): Promise<string[]> {
  const folder = join(root, 'supabase', 'functions');
  const entries = await readdir(folder, { withFileTypes: true }).catch(() => []);
  return entries
    .filter((entry) => entry.isDirectory() && !entry.name.startsWith('_') && !entry.name.startsWith('.'))
    .map((entry) => entry.name)
    .filter((name) => config.functions[name]?.enabled !== false && existsSync(join(folder, name, 'index.ts')))
    .sort();
}

/**
 * The functions' `deno.json` files as one import map. On the platform each function is bundled with its own; here they
 * share a process, so one specifier must mean one thing.
 * @throws StackError naming two functions that disagree
 */
async function mergedImports(folder: string, names: string[]): Promise<Record<string, string>> {
  const merged = new Map<string, { target: string; from: string }>();
  for (const name of names) {
    const text = await readFile(join(folder, name, 'deno.json'), 'utf8').catch(() => '{}');
    const { imports = {} } = JSON.parse(text) as { imports?: Record<string, string> };
    for (const [specifier, value] of Object.entries(imports)) {
      const target = value.startsWith('.') ? `file://${resolve(folder, name, value)}` : value;
      const known = merged.get(specifier);
      if (known && known.target !== target)
        throw new StackError(
          `Functions ${known.from} and ${name} import different things as "${specifier}" (deno.json): ${known.target} and ${target}.`,
        );
      merged.set(specifier, { target, from: name });
    }
  }
  return Object.fromEntries([...merged].map(([specifier, { target }]) => [specifier, target]));
}

/**
 * Environment of the functions: the project's own `.env`, or the development secrets of `.env.example` where there is
 * none; what the caller of the stack sets; and what the platform provides.
 */
async function environment(
  options: { root: string; env: Record<string, string> },
  apiUrl: string,
  dbPort: number,
): Promise<Record<string, string>> {
  const folder = join(options.root, 'supabase', 'functions');
  const file = await readFile(join(folder, '.env'), 'utf8')
    .catch(() => readFile(join(folder, '.env.example'), 'utf8'))
    .catch(() => '');
  return {
    ...(parseEnv(file) as Record<string, string>),
    ...options.env,
    SUPABASE_URL: apiUrl,
    SUPABASE_PUBLISHABLE_KEYS: JSON.stringify({ default: keys.publishable }),
    SUPABASE_SECRET_KEYS: JSON.stringify({ default: keys.secret }),
    SUPABASE_JWKS: JSON.stringify(functionsJwks),
    SUPABASE_DB_URL: databaseUrl(dbPort),
    SB_REGION: 'local',
  };
}

function denoPath(): string {
  const name = process.platform === 'win32' ? 'deno.exe' : 'deno';
  const folder = packageFolder('deno/package.json');
  const binary = join(folder, name);
  return existsSync(binary) ? binary : join(folder, '..', '.bin', 'deno');
}

/**
 * Starts the functions and waits until they answer.
 * @param options.apiUrl origin the functions call REST and Auth at
 * @param options.log receives what they print, line by line
 */
export async function startFunctions(options: {
  root: string;
  config: ProjectConfig;
  apiUrl: string;
  dbPort: number;
  /** Further variables for the functions. */
  env?: Record<string, string>;
  log: (line: string) => void;
}): Promise<FunctionsHost> {
  const { root, config } = options;
  const folder = join(root, 'supabase', 'functions');
  const names = await functionNames(root, config);
  const working = join(root, '.local');
  await mkdir(working, { recursive: true });
  const importMap = join(working, 'functions-imports.json');
  // Another stack of this project may be reading it: there is a whole file at any moment.
  const draft = `${importMap}-${randomUUID()}`;
  await writeFile(draft, JSON.stringify({ imports: await mergedImports(folder, names) }, null, 2));
  await rename(draft, importMap);
  const env = await environment({ root, env: options.env ?? {} }, options.apiUrl, options.dbPort);

  const child = execa(
    denoPath(),
    [
      ...['run', '--no-config', '--no-lock', '--no-check', '--no-prompt', '--quiet', '--cached-only'],
      // npm: specifiers come from the project's node_modules, so nothing is downloaded or compiled at the first start.
      ...['--node-modules-dir=manual', `--import-map=${importMap}`],
      ...['--allow-net=127.0.0.1,localhost', `--allow-read=${folder},${join(projectRoot, 'node_modules')}`],
      // A request's signal means that the caller has gone, not that the answer was sent.
      '--unstable-no-legacy-abort',
      // Libraries probe for variables; only those below exist.
      '--allow-env',
      fileURLToPath(new URL('./functions-host.ts', import.meta.url)),
      ...[folder, ...names],
    ],
    {
      cwd: root,
      env: {
        ...env,
        HOME: process.env.HOME ?? root,
        PATH: process.env.PATH ?? '',
        DENO_NO_UPDATE_CHECK: '1',
        NO_COLOR: '1',
      },
      // Nothing of the developer's shell reaches the functions, as on the platform.
      extendEnv: false,
      reject: false,
      buffer: false,
      stdin: 'pipe',
      detached: true,
    },
  );
  const exited = child.then((result) =>
    result.signal ? `were ended by ${result.signal}` : `exited with code ${result.exitCode ?? 'unknown'}`,
  );
  endWithParent(child.pid, 'SIGTERM', exited);
  const output: string[] = [];
  const port = await new Promise<number>((found, failed) => {
    const read = (chunk: string) => {
      for (const line of chunk.split('\n').filter(Boolean)) {
        const listening = /^listening (\d+)$/.exec(line);
        if (listening) found(Number(listening[1]));
        else {
          if (output.push(line) > 40) output.shift();
          options.log(line);
        }
      }
    };
    child.stdout?.setEncoding('utf8').on('data', read);
    child.stderr?.setEncoding('utf8').on('data', read);
    void exited.then((how) => failed(new StackError(`The edge functions ${how}:\n${output.join('\n')}`)));
  });
  return {
    pid: child.pid ?? 0,
    port,
    exited,
    async stop() {
      child.kill('SIGTERM');
      await exited;
    },
  };
}
