/**
 * A streaming replica of a stack's database, without `pg_basebackup`, which the embedded server does not bring: its
 * files are copied between `pg_backup_start` and `pg_backup_stop`, and the write-ahead log is streamed from then on.
 */
import { readdir, readlink, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execa } from 'execa';
import pg from 'pg';
import { claimPort } from '../../local/ports.ts';
import { databasePassword, databaseUrl } from '../../local/settings.ts';
import type { Stack } from '../../local/stack.ts';

/** A running replica. */
export interface Replica {
  /** Connection string as `postgres`. */
  url: string;
  port: number;
  /** Ends the replication: from now on it takes writes of its own. */
  promote(): Promise<void>;
  stop(): Promise<void>;
}

async function asSuperuser<T>(port: number, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: databaseUrl(port, 'supabase_admin') });
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}

async function copyOnline(dbPort: number, to: string): Promise<void> {
  await asSuperuser(dbPort, async (client) => {
    const { rows } = await client.query('show data_directory');
    // Keeps the log from being recycled before the replica has it.
    await client.query("select pg_create_physical_replication_slot('replica', true)");
    await client.query("select pg_backup_start('replica', true)");
    // Files may change or vanish meanwhile; the log repairs them.
    await execa('cp', ['-a', rows[0].data_directory, to], { reject: false });
    const { rows: stopped } = await client.query('select labelfile from pg_backup_stop(false)');
    await writeFile(join(to, 'backup_label'), stopped[0].labelfile);
  });
  for (const name of ['postmaster.pid', 'postmaster.opts']) await rm(join(to, name), { force: true });
  for (const name of await readdir(join(to, 'pg_wal')))
    if (/^[0-9A-F]{24}/.test(name)) await rm(join(to, 'pg_wal', name));
}

/** Copies a running stack's database and follows it. Linux only: it asks /proc for the server's program. */
export async function startReplica(stack: Stack): Promise<Replica> {
  const program = await readlink(`/proc/${stack.pids.postgres}/exe`);
  const port = await claimPort(0, 'replica', 'REPLICA_PORT');
  const folder = await asSuperuser(stack.dbPort, async (client) => {
    const { rows } = await client.query('show data_directory');
    return join(dirname(rows[0].data_directory), 'replica');
  });
  await copyOnline(stack.dbPort, folder);
  const { uid, gid } = await stat(folder);
  await writeFile(join(folder, 'standby.signal'), '');
  await writeFile(
    join(folder, 'postgresql.auto.conf'),
    `primary_conninfo = 'host=127.0.0.1 port=${stack.dbPort} user=supabase_admin password=${databasePassword}'
primary_slot_name = 'replica'
`,
  );
  for (const name of ['standby.signal', 'postgresql.auto.conf', 'backup_label'])
    await execa('chown', [`${uid}:${gid}`, join(folder, name)]);
  const flags = [
    ...[`port=${port}`, 'listen_addresses=127.0.0.1', 'unix_socket_directories=', 'timezone=UTC'],
    // At least the primary's, or the replica refuses to start.
    'max_connections=200',
  ];
  const root = process.getuid?.() === 0;
  const lines: string[] = [];
  const child = execa(program, ['-D', folder, ...flags.flatMap((flag) => ['-c', flag])], {
    ...(root ? { uid, gid } : {}),
    ...{ reject: false, stdin: 'ignore', stdout: 'ignore', buffer: false, cwd: tmpdir() },
    env: { LC_ALL: 'C', TZ: 'UTC' },
  });
  child.stderr?.setEncoding('utf8').on('data', (chunk: string) => lines.push(chunk));
  let ended = false;
  void child.finally(() => {
    ended = true;
  });
  const stop = async () => {
    child.kill('SIGINT');
    await child;
    await rm(folder, { recursive: true, force: true });
  };
  for (let waited = 0; ; waited += 100) {
    try {
      await asSuperuser(port, (client) => client.query('select 1'));
      break;
    } catch {
      if (waited < 20_000 && !ended) {
        await sleep(100);
        continue;
      }
      await stop();
      throw new Error(`the replica did not start:\n${lines.slice(-20).join('')}`);
    }
  }
  return {
    url: databaseUrl(port),
    port,
    async promote() {
      await asSuperuser(port, (client) => client.query('select pg_promote(true, 30)'));
    },
    stop,
  };
}
