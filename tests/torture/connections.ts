/**
 * What connections cost and what one therapist's calendar can take, side by side in one run:
 * `node tests/torture/connections.ts [seconds per measurement]`. The figures of `docs/scaling.md` come from here.
 */
import { readFile } from 'node:fs/promises';
import { cpus, totalmem } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { startStack } from '../../local/stack.ts';
import { signAccessToken } from '../../local/tokens.ts';
import { claimsOf } from './callers.ts';
import { startPooler } from './pooler.ts';
import { createWorld } from './world.ts';

const seconds = Number(process.argv[2] ?? 5);
const SERVER_CONNECTIONS = 8;

/** Calls `call` from so many callers at once and says how it went. */
async function measure(
  name: string,
  callers: number,
  prepare: (caller: number) => Promise<() => Promise<unknown>>,
): Promise<void> {
  const calls = await Promise.all(Array.from({ length: callers }, (_, caller) => prepare(caller)));
  const times: number[] = [];
  const started = performance.now();
  await Promise.all(
    calls.map(async (call) => {
      while (performance.now() - started < seconds * 1000) {
        const from = performance.now();
        await call();
        times.push(performance.now() - from);
      }
    }),
  );
  const took = (performance.now() - started) / 1000;
  times.sort((a, b) => a - b);
  const at = (part: number) => (times[Math.floor(part * times.length)] ?? 0).toFixed(1);
  console.log(
    `${name.padEnd(62)} ${(times.length / took).toFixed(0).padStart(6)}/s  p50 ${at(0.5)} ms  p99 ${at(0.99)} ms`,
  );
}

/** Memory of a process that nothing else shares, in MiB. Linux only. */
async function privateMemory(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/smaps_rollup`, 'utf8').catch(() => '');
  const kilobytes = [...text.matchAll(/^Private_\w+:\s+(\d+) kB/gm)].reduce(
    (sum, [, size]) => sum + Number(size),
    0,
  );
  return kilobytes / 1024;
}

const stack = await startStack();
const pooler = await startPooler(stack.dbPort, SERVER_CONNECTIONS);
try {
  const setUp = new pg.Client({ connectionString: stack.dbUrl });
  await setUp.connect();
  const [clinic] = await createWorld(setUp, 1);
  if (!clinic) throw new Error('no clinic');
  // Therapists and clients enough for everybody to book without meeting anybody.
  const { rows: people } = await setUp.query(
    `with person as (select gen_random_uuid() as id, gen_random_uuid() as client from generate_series(1, 64)),
      users as (insert into auth.users (id, email) select id, id || '@torture.test' from person),
      members as (insert into public.memberships (organization_id, user_id, role) select $1, id, 'therapist' from person),
      therapists as (insert into public.therapists (organization_id, id, display_name, time_zone) select $1, id, 'T', 'UTC' from person),
      clients as (insert into public.clients (organization_id, id, reference) select $1, client, client::text from person)
    select id as therapist, client from person`,
    [clinic.organizationId],
  );
  const claims = JSON.stringify(claimsOf({ clinic, userId: clinic.admin, role: 'admin' }));
  await setUp.query('vacuum analyze');

  let slots = 0;
  const start = Math.ceil(Date.now() / 86_400_000 + 1) * 86_400_000;
  /** A hold of a quarter of an hour nobody else wants; it is let go of with the transaction's end or soon after. */
  const request = (caller: number) => {
    const slot = slots++;
    const from = start + (slot % 60_000) * 900_000;
    const who = people[caller % people.length];
    return JSON.stringify({
      ...{ therapist_id: who.therapist, client_id: who.client, time_zone: 'UTC', hold_seconds: 30 },
      ...{ start_time: new Date(from).toISOString(), end_time: new Date(from + 900_000).toISOString() },
      ...{ start_time_offset_minutes: 0, end_time_offset_minutes: 0 },
    });
  };
  // One message, as PostgREST's transactions are few: settings and call in one transaction.
  const hold = (client: pg.Client, caller: number) =>
    client.query(
      `begin; select set_config('request.jwt.claims', ${pg.escapeLiteral(claims)}, true), set_config('role', 'authenticated', true);
        select public.hold_sessions(${pg.escapeLiteral(request(caller))}); commit`,
    );
  const connect = async (url: string) => {
    const client = new pg.Client({ connectionString: url });
    client.on('error', () => {});
    await client.connect();
    return client;
  };

  console.log(
    `${cpus().length} × ${cpus()[0]?.model}, ${(totalmem() / 2 ** 30).toFixed(0)} GiB, Node ${process.versions.node}, ${seconds} s each; ${pooler ? `pgbouncer with ${SERVER_CONNECTIONS} server connections` : 'pgbouncer is not installed'}`,
  );
  const ways: [string, string][] = [
    ['direct', stack.dbUrl],
    ...(pooler ? ([['pooled', pooler.url]] as [string, string][]) : []),
  ];
  const open: pg.Client[] = [];
  for (const callers of [8, 64])
    for (const [way, url] of ways)
      await measure(`hold, ${callers} ${way} connections kept open`, callers, async (caller) => {
        const client = await connect(url);
        open.push(client);
        return () => hold(client, caller);
      });
  const { rows: backends } = await setUp.query(
    "select pid from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid() and query like '%hold_sessions%'",
  );
  const memory = await Promise.all(backends.map(({ pid }) => privateMemory(pid)));
  memory.sort((a, b) => a - b);
  console.log(
    `memory of a connection that has booked: ${memory[Math.floor(memory.length / 2)]?.toFixed(1)} MiB of its own (median of ${memory.length}), ${memory.at(-1)?.toFixed(1)} at most`,
  );
  await Promise.all(open.splice(0).map((client) => client.end()));

  for (const [way, url] of ways)
    await measure(
      `hold, 32 callers, a new ${way} connection for each call`,
      32,
      async (caller) => async () => {
        const client = await connect(url);
        await hold(client, caller);
        await client.end();
      },
    );

  for (const therapists of [8, 1])
    await measure(
      `hold, 8 direct connections, ${therapists} therapist${therapists > 1 ? 's' : ''} in all`,
      8,
      async (caller) => {
        const client = await connect(stack.dbUrl);
        open.push(client);
        return () => hold(client, caller % therapists);
      },
    );
  await Promise.all(open.splice(0).map((client) => client.end()));

  const now = Math.floor(Date.now() / 1000);
  const token = await signAccessToken({
    ...JSON.parse(claims),
    aud: 'authenticated',
    iat: now,
    exp: now + 3600,
  });
  let most = 0;
  let watching = true;
  const watcher = (async () => {
    while (watching) {
      const { rows } = await setUp.query(
        "select count(*)::integer as open from pg_stat_activity where usename = 'authenticator'",
      );
      most = Math.max(most, rows[0].open);
      await sleep(100);
    }
  })();
  await measure('sessions-hold, 64 callers over HTTP', 64, async (caller) => async () => {
    const response = await fetch(`${stack.apiUrl}/functions/v1/sessions-hold`, {
      method: 'POST',
      headers: {
        apikey: stack.publishableKey,
        authorization: `Bearer ${token}`,
        'content-type': 'application/json',
      },
      body: request(caller),
    });
    await response.text();
    if (response.status !== 200 && response.status !== 503) throw new Error(`HTTP ${response.status}`);
  });
  watching = false;
  await watcher;
  console.log(`database connections open for those 64 callers: ${most} at most`);
  await setUp.end();
} finally {
  await pooler?.stop();
  await stack.stop();
}
