/** pgbouncer in transaction mode, when it is installed: what a pooler in production does to a connection. */
import { access, chmod, constants, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa, type ResultPromise } from 'execa';
import { claimPort } from '../../local/ports.ts';
import { databasePassword } from '../../local/settings.ts';

/** A running pooler. */
export interface Pooler {
  url: string;
  /** `kill -9`, then starts it again. */
  crash(): Promise<void>;
  stop(): Promise<void>;
}

/** The program: `PGBOUNCER`, or found in PATH and the system folders. */
export async function findPooler(): Promise<string | null> {
  const folders = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin'];
  const candidates = [process.env.PGBOUNCER ?? '', ...folders.map((folder) => join(folder, 'pgbouncer'))];
  for (const candidate of candidates.filter(Boolean))
    if (
      await access(candidate, constants.X_OK).then(
        () => true,
        () => false,
      )
    )
      return candidate;
  return null;
}

async function answers(port: number): Promise<boolean> {
  return new Promise((result) => {
    const socket = connect(port, '127.0.0.1');
    socket
      .once('connect', () => {
        socket.destroy();
        result(true);
      })
      .once('error', () => result(false));
  });
}

/**
 * Starts pgbouncer in front of a database, fewer server connections than clients.
 * @returns null when it is not installed
 */
export async function startPooler(dbPort: number, poolSize: number): Promise<Pooler | null> {
  const binary = await findPooler();
  if (!binary) return null;
  const port = await claimPort(0, 'pooler', 'POOLER_PORT');
  const folder = await mkdtemp(join(tmpdir(), 'torture-pooler-'));
  await chmod(folder, 0o755);
  const settings = join(folder, 'pgbouncer.ini');
  await writeFile(
    settings,
    `[databases]
postgres = host=127.0.0.1 port=${dbPort} dbname=postgres user=postgres password=${databasePassword}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = ${poolSize}
max_client_conn = 500
server_login_retry = 0.2
ignore_startup_parameters = extra_float_digits
log_connections = 0
log_disconnections = 0
`,
    { mode: 0o644 },
  );
  // It refuses to run as root.
  const asUser = process.getuid?.() === 0 ? ['-u', 'nobody'] : [];
  let child: ResultPromise;
  const start = async () => {
    child = execa(binary, ['-q', ...asUser, settings], { reject: false, stdin: 'ignore', buffer: false });
    for (let waited = 0; waited < 5000; waited += 50) {
      if (await answers(port)) return;
      await sleep(50);
    }
    throw new Error(`pgbouncer (${binary}) does not answer`);
  };
  await start();
  const end = async (signal: 'SIGKILL' | 'SIGTERM') => {
    child.kill(signal);
    await child;
  };
  return {
    url: `postgresql://postgres@127.0.0.1:${port}/postgres`,
    async crash() {
      await end('SIGKILL');
      await start();
    },
    async stop() {
      await end('SIGKILL');
      await rm(folder, { recursive: true, force: true });
    },
  };
}
