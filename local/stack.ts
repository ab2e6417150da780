/**
 * The whole stack in one call: database, migrations, seed, REST, Auth, edge functions and one origin in front of them.
 * `npm start`, the tests, the demo and the benchmarks all start it here.
 */
import {
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  statfs,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir, userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { type FunctionsHost, startFunctions } from './functions.ts';
import { startGateway } from './gateway.ts';
import { applyBaseline, changedMigrations, migrate, schemaFingerprint } from './migrate.ts';
import { claimPort, StackError } from './ports.ts';
import {
  clearLeftovers,
  copyCluster,
  type DatabaseServer,
  giveToServer,
  initialise,
  isInitialised,
  startServer,
  syncCluster,
} from './postgres.ts';
import { databaseUrl, keys, projectRoot, readConfig } from './settings.ts';
import { buildWebApp } from './web.ts';

export { StackError } from './ports.ts';

/** How to start a stack. */
export interface StackOptions {
  /** Port of the API; 0 (the default) takes a free one. */
  apiPort?: number;
  /** Port of the database; 0 (the default) takes a free one. */
  dbPort?: number;
  /** Folder of the database; kept when given. Default: a temporary one, removed by `stop()`. */
  dataDir?: string;
  /** Commits wait for the disk, so that they outlive the machine. Default: whether `dataDir` is given. */
  durable?: boolean;
  /** Say nothing but errors. Default true. */
  quiet?: boolean;
  /** Run `supabase/seed.sql`. Default true. */
  seed?: boolean;
  /** Serve the API: REST, Auth and the edge functions. Default true; without it there is a database alone. */
  api?: boolean;
  /** Serve the edge functions. Default true, where there is an API. */
  functions?: boolean;
  /** Build the example web app and serve it at the API's origin. Default false. */
  web?: boolean;
  /** Limit callers as a deployed database does. Default false: tests and benchmarks are refused by the thousand. */
  rateLimits?: boolean;
  /** Variables for the edge functions, over those of `config.toml` and `supabase/functions/.env`. */
  functionsEnv?: Record<string, string>;
  /** End everything when the database or the functions crash. Default false: a test may want to restart them. */
  supervise?: boolean;
  /** Called with a sentence when a supervised child has crashed; the rest is stopping then. */
  onCrash?: (reason: string) => void;
  /** Folder that holds `supabase/`. Default: this repository. */
  root?: string;
  /** Receives every line the database and the functions log, quiet or not. */
  onLog?: (source: 'database' | 'functions', line: string) => void;
  /** Receives progress and, unless quiet, the logs. Default: standard output. */
  say?: (line: string) => void;
}

/** A running stack. */
export interface Stack {
  /** Origin of the API, e.g. `http://127.0.0.1:54321`. */
  apiUrl: string;
  /** Connection string of the database as `postgres`: owner of the schema, bypasses RLS, no superuser. */
  dbUrl: string;
  apiPort: number;
  dbPort: number;
  /** `sb_publishable_…`, for browsers. */
  publishableKey: string;
  /** `sb_secret_…`: acts as `service_role`. */
  secretKey: string;
  /** HS256 secret and id of the key that signs access tokens, for tests that forge them. */
  jwtSecret: string;
  jwtKeyId: string;
  /** Process ids at this moment. */
  readonly pids: { postgres: number; functions: number | null };
  /** Starts the database again after a test has killed it; data stays, open connections are gone. */
  restartDatabase(): Promise<void>;
  /** Starts the functions again after a test has killed them, or with changed code or variables. */
  restartFunctions(env?: Record<string, string>): Promise<void>;
  /** Stops everything; calling it again is harmless. */
  stop(): Promise<void>;
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

async function answers(port: number): Promise<boolean> {
  return new Promise((result) => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => result(true)).once('error', () => result(false));
    socket.once('connect', () => socket.destroy());
  });
}

/**
 * Fails when a stack is running on a data folder: two servers on one cluster would destroy it.
 * @throws StackError naming the running stack
 */
export async function refuseWhileRunning(dataDir: string): Promise<void> {
  const lock = await readFile(`${dataDir}.lock`, 'utf8').catch(() => null);
  if (lock === null) return;
  const [pid, port] = lock.split(' ').map(Number);
  // The lock of a stack that was killed stays behind.
  if (pid && pid !== process.pid && port && isAlive(pid) && (await answers(port)))
    throw new StackError(
      `This copy's stack is already running at http://127.0.0.1:${port} (process ${pid}). Stop it first, ` +
        'or start another copy of the project with API_PORT and DB_PORT set to other ports.',
    );
}

/** What the folder of a cluster that is thrown away begins with. */
const PREFIX = 'therapist-sessions-';

/** Marks a data folder as in use. */
async function claimDataDir(dataDir: string, apiPort: number): Promise<() => Promise<void>> {
  await refuseWhileRunning(dataDir);
  const lockFile = `${dataDir}.lock`;
  const folder = join(dataDir, '..');
  try {
    await mkdir(folder, { recursive: true });
    await writeFile(lockFile, `${process.pid} ${apiPort}`);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new StackError(`The database is kept in ${folder}, where nothing can be written (${code}).`);
  }
  return () => rm(lockFile, { force: true });
}

/** What a cluster is made of. */
type Making = { root: string; seed: boolean; say: (line: string) => void; log: (line: string) => void };

/** Makes the cluster of a new stack: roles and schemas of the platform, then migrations and seed. */
async function createCluster(dataDir: string, settings: Making): Promise<void> {
  const port = await claimPort(0, 'database', 'DB_PORT');
  await initialise(dataDir);
  const server = await startServer({ dataDir, port, durable: false, log: settings.log });
  try {
    await applyBaseline(port);
    await migrate({ root: settings.root, port, seed: settings.seed, say: settings.say });
  } finally {
    await server.stop();
  }
}

/** Templates kept: each is some 50 MB, and every edit of the schema makes one. */
const TEMPLATES_KEPT = 30;

/** Removes the templates that nobody has used for a day, and those used longest ago when there are many. */
async function removeOldTemplates(folder: string): Promise<void> {
  const templates = await Promise.all(
    (await readdir(folder)).map(async (name) => {
      const usedAt = await stat(join(folder, name)).then(
        (found) => found.mtimeMs,
        () => 0,
      );
      return { path: join(folder, name), usedAt };
    }),
  );
  templates.sort((a, b) => b.usedAt - a.usedAt);
  for (const [at, { path, usedAt }] of templates.entries())
    if (at >= TEMPLATES_KEPT || Date.now() - usedAt > 24 * 3_600_000)
      await rm(path, { recursive: true, force: true });
}

/** Templates that this process is making: stacks that start at the same time wait for one. */
const beingMade = new Map<string, Promise<void>>();

async function makeTemplate(template: string, making: Making): Promise<void> {
  await mkdir(dirname(template), { recursive: true, mode: 0o755 });
  await removeOldTemplates(dirname(template));
  const draft = `${template}-${process.pid}-${crypto.randomUUID()}`;
  try {
    await createCluster(draft, making);
    // Whoever is first wins; a rename is one step, so nobody ever copies a half-made template.
    await rename(draft, template).catch(() => {});
  } finally {
    await rm(draft, { recursive: true, force: true });
    beingMade.delete(template);
  }
}

/**
 * A fresh cluster, copied from one that was made earlier for the same baseline, migrations, seed and packages.
 * A change in any of them makes another template.
 */
async function copyOfTemplate(dataDir: string, making: Making): Promise<void> {
  // One folder per user: another user's could be neither written nor trusted.
  const templates = join(tmpdir(), `therapist-sessions-templates-${userInfo().uid}`);
  const template = join(templates, await schemaFingerprint(making.root, making.seed));
  if (!(await isInitialised(template))) {
    const started = beingMade.get(template) ?? makeTemplate(template, making);
    beingMade.set(template, started);
    await started;
  }
  await utimes(template, new Date(), new Date());
  await copyCluster(template, dataDir);
}

/** Linux's file system in memory: a cluster has more than a thousand files, which a disk takes a second to make. */
const MEMORY = '/dev/shm';
/** What must be free in it, in bytes: a cluster begins with 50 MB, and a long torture fills some hundreds. */
const ROOM = 4 * 1024 ** 3;

/** Removes what stacks have left in memory that were killed: a quarter of an hour old, and without a server. */
async function clearMemory(): Promise<void> {
  for (const name of await readdir(MEMORY)) {
    if (!name.startsWith(PREFIX)) continue;
    const folder = join(MEMORY, name);
    const pid = Number.parseInt(
      await readFile(join(folder, 'pgdata', 'postmaster.pid'), 'utf8').catch(() => ''),
      10,
    );
    const madeAt = await stat(folder).then(({ mtimeMs }) => mtimeMs, Date.now);
    if (Date.now() - madeAt > 15 * 60_000 && !(pid > 0 && isAlive(pid)))
      // Another user's stays: only they may remove it.
      await rm(folder, { recursive: true, force: true }).catch(() => {});
  }
}

/** Where a cluster is kept that is thrown away: in memory where there is room, unless it must be durable. */
async function folderOfCopies(durable: boolean): Promise<string> {
  const free = await statfs(MEMORY).then(
    ({ bavail, bsize }) => bavail * bsize,
    () => 0,
  );
  if (durable || free < ROOM) return tmpdir();
  await clearMemory();
  return MEMORY;
}

/** Lets a caller be refused, and read, as often as the tables allow. */
async function liftRateLimits(port: number): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl(port) });
  await client.connect();
  try {
    await client.query('update private.rate_limits set per_minute = 1000000');
  } finally {
    await client.end();
  }
}

/**
 * Starts a stack and waits until all of it answers.
 *
 * @example
 * const stack = await startStack();
 * const supabase = createClient(stack.apiUrl, stack.publishableKey);
 * await stack.stop();
 *
 * @throws StackError with a sentence for the person at the terminal: a port in use, a failing migration
 */
export async function startStack(options: StackOptions = {}): Promise<Stack> {
  const root = options.root ?? projectRoot;
  const config = readConfig(root);
  const quiet = options.quiet ?? true;
  const say = quiet ? () => {} : (options.say ?? ((line: string) => console.log(line)));
  const databaseLog = (line: string) => {
    options.onLog?.('database', line);
    // The server ends its clients' connections when it stops, and says so for each.
    if (
      !quiet &&
      /FATAL|PANIC/.test(line) &&
      !/terminating connection|starting up|shutting down|not yet accepting/.test(line)
    )
      say(`[database] ${line}`);
  };
  const functionsLog = (line: string) => {
    options.onLog?.('functions', line);
    // Tests are quiet, but a function that does not even load explains all their failures.
    if (!quiet || line.includes(' does not load: ')) (options.say ?? console.log)(`[functions] ${line}`);
  };

  say('Starting the database, REST, Auth and the edge functions …');
  if (options.dataDir) {
    await refuseWhileRunning(options.dataDir);
    // A server left over by kill -9 would hold the port.
    await clearLeftovers(options.dataDir, say);
  }
  if (options.apiPort && options.apiPort === options.dbPort)
    throw new StackError(
      `API_PORT and DB_PORT are both ${options.apiPort}. Set one of them to another port.`,
    );
  const apiPort = await claimPort(options.apiPort ?? 0, 'API', 'API_PORT');
  const dbPort = await claimPort(options.dbPort ?? 0, 'database', 'DB_PORT');
  const apiUrl = `http://127.0.0.1:${apiPort}`;
  const cleanUp: (() => Promise<unknown>)[] = [];
  const undo = async () => {
    for (const step of cleanUp.splice(0).reverse()) await step();
  };

  let database: DatabaseServer;
  let functions: FunctionsHost | null = null;
  let webFolder: string | null = null;
  let functionsEnv = options.functionsEnv;
  let stopping: Promise<void> | undefined;
  let expectedExits = 0;

  const handle: Stack = {
    apiUrl,
    dbUrl: databaseUrl(dbPort),
    apiPort,
    dbPort,
    publishableKey: keys.publishable,
    secretKey: keys.secret,
    jwtSecret: keys.jwtSecret,
    jwtKeyId: keys.jwtKeyId,
    get pids() {
      return { postgres: database?.pid ?? 0, functions: functions?.pid ?? null };
    },
    async restartDatabase() {
      await expectExit(() => database.stop());
      await bootDatabase();
    },
    async restartFunctions(env = functionsEnv) {
      functionsEnv = env;
      const old = functions;
      functions = null;
      await expectExit(async () => old?.stop());
      await bootFunctions();
    },
    stop() {
      stopping ??= undo();
      return stopping;
    },
  };

  async function expectExit(step: () => Promise<unknown>): Promise<void> {
    expectedExits++;
    try {
      await step();
    } finally {
      expectedExits--;
    }
  }

  function watch(what: string, exited: Promise<string>): void {
    void exited.then(async (how) => {
      if (!options.supervise || stopping || expectedExits > 0) return;
      // A signal to the whole group reaches a child before this process has begun to stop.
      await sleep(200);
      if (stopping) return;
      options.onCrash?.(`${what} ${how}`);
      await handle.stop();
    });
  }

  const durable = options.durable ?? options.dataDir !== undefined;
  let dataDir = options.dataDir ?? '';
  async function bootDatabase(): Promise<void> {
    database = await startServer({ dataDir, port: dbPort, durable, log: databaseLog });
    watch('The database', database.exited);
  }
  async function bootFunctions(): Promise<void> {
    const host = await startFunctions({ root, config, apiUrl, dbPort, env: functionsEnv, log: functionsLog });
    functions = host;
    watch('The edge functions', host.exited);
  }

  // Loading the REST and Auth service and the functions takes as long as the database: all at the same time.
  const api = options.api ?? true;
  const services = api ? Promise.all([import('./rest.ts'), import('./auth.ts')]) : Promise.resolve(null);
  const functionsUp = api && (options.functions ?? true) ? bootFunctions() : Promise.resolve();
  cleanUp.push(async () => {
    await functionsUp.catch(() => {});
    await functions?.stop();
  });
  const webBuilt = options.web ? buildWebApp() : Promise.resolve(null);
  for (const early of [services, functionsUp, webBuilt]) early.catch(() => {});

  try {
    const seed = options.seed ?? true;
    const making = { root, seed, say, log: databaseLog };
    if (options.dataDir) {
      cleanUp.push(await claimDataDir(dataDir, apiPort));
      if (!(await isInitialised(dataDir))) {
        say('Making the database …');
        // Made aside and moved when complete: a start that is interrupted leaves nothing half-made behind.
        const draft = `${dataDir}.new`;
        await clearLeftovers(draft);
        await rm(draft, { recursive: true, force: true });
        await createCluster(draft, making);
        if (durable) await syncCluster(draft);
        await rename(draft, dataDir);
      }
    } else {
      const folder = await mkdtemp(join(await folderOfCopies(durable), PREFIX));
      await giveToServer(folder);
      cleanUp.push(() => rm(folder, { recursive: true, force: true }));
      dataDir = join(folder, 'pgdata');
      await copyOfTemplate(dataDir, making);
    }

    await bootDatabase();
    cleanUp.push(() => database.stop());
    if (options.dataDir)
      for (const name of await changedMigrations(root, dbPort))
        say(
          `${name} has changed since this database was made, which stays as it was: npm run reset makes it anew.`,
        );
    await migrate({ root, port: dbPort, seed, say });
    if (!options.rateLimits) await liftRateLimits(dbPort);

    const loaded = await services;
    if (!loaded) return handle;
    const [{ createRestApi }, { createAuthApi }] = loaded;
    const rest = createRestApi(dbPort, config);
    cleanUp.push(() => rest.close());
    const auth = createAuthApi(dbPort, apiUrl, config);
    cleanUp.push(() => auth.close());
    cleanUp.push(
      await startGateway(apiPort, {
        rest: rest.app,
        auth: auth.app,
        functionsPort: () => functions?.port ?? null,
        webFolder: () => webFolder,
      }),
    );
    await functionsUp;
    // Without the app the stack is still of use.
    webFolder = await webBuilt.catch((error: Error) => {
      say(`The web app could not be built: ${error.message}`);
      return null;
    });
    return handle;
  } catch (error) {
    await handle.stop();
    throw error;
  }
}
