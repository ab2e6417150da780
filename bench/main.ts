/**
 * `npm run bench`: how fast the booking core is, as ratios within one run, on a stack it starts itself.
 * `npm run bench -- --quick` takes under 90 seconds; the full run grows the tables to a million sessions.
 */
import { writeFile } from 'node:fs/promises';
import { cpus, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import Table from 'cli-table3';
import pg from 'pg';
import pc from 'picocolors';
import { startStack } from '../local/stack.ts';
import { type Aim, chart, type Line, meets } from './chart.ts';
import {
  adminId,
  createClinics,
  fillCalendars,
  organizationId,
  SIZE,
  settle,
  therapistId,
  wrongClaims,
} from './clinic.ts';
import { functionShare } from './functions.ts';
import { compare, openConnections, quantile } from './measure.ts';
import { memoryOf } from './memory.ts';
import {
  actAsAdminOf,
  bareInsert,
  floor,
  freeSlot,
  hold,
  holdAndConfirm,
  holdConfirmCancel,
  holdRequest,
  ownTherapist,
} from './operations.ts';
import { storm } from './storm.ts';

const { values: options } = parseArgs({ options: { quick: { type: 'boolean', default: false } } });
const quick = options.quick;
const lines: Line[] = [];
const started = performance.now();
const say = (text: string) =>
  console.log(`${pc.dim(`${((performance.now() - started) / 1000).toFixed(0).padStart(4)} s`)}  ${text}`);
const add = (what: string, measured: string, ratio: number | null = null, aim?: Aim) => {
  const met = aim && ratio !== null ? meets(ratio, aim) : null;
  lines.push({ what, measured, ratio, aim: aim ?? null, met });
  say(`${what}: ${measured}${aim ? ` ${met ? pc.green('meets') : pc.red('misses')} ${aim.text}` : ''}`);
};

/** Median milliseconds of one query, repeated on one prepared connection. */
async function median(run: () => Promise<unknown>, repeats: number): Promise<number> {
  for (let warm = 0; warm < 10; warm++) await run();
  const times: number[] = [];
  for (let repeat = 0; repeat < repeats; repeat++) {
    const start = performance.now();
    await run();
    times.push(performance.now() - start);
  }
  return quantile(times, 0.5);
}

say('Starting a stack on free ports');
const stack = await startStack({ seed: true });
const db = new pg.Client({ connectionString: stack.dbUrl });
try {
  await db.connect();
  const version = (await db.query('show server_version')).rows[0].server_version as string;

  say('Generating clinics and 8,000 sessions');
  await createClinics(db);
  await fillCalendars(db, 0, 1);
  const wrong = await wrongClaims(db);
  if (wrong > 0) throw new Error(`the generator made ${wrong} claims that the triggers would not have made`);
  // A table that is analysed while empty gets plans for an empty table.
  await actAsAdminOf(0)(db);
  for (let call = 0; call < 200; call++) await holdConfirmCancel(db, 600_000 + call);
  for (let call = 0; call < 200; call++) await hold(db, 640_000 + call);
  await settle(db);

  for (const connections of quick ? [1, 8] : [1, 8, 32]) {
    const seconds = quick ? 1.5 : 8;
    const prepare = actAsAdminOf(0);
    const result = await compare(
      stack.dbUrl,
      connections,
      {
        bare: { prepare, run: bareInsert },
        floor: { prepare, run: floor },
        hold: { prepare, run: hold },
        confirm: { prepare, run: holdAndConfirm },
        cancel: { prepare, run: holdConfirmCancel },
      },
      { seconds },
    );
    const rate = (name: keyof typeof result) =>
      `${result[name].perSecond.toFixed(0)}/s, p50 ${result[name].p50.toFixed(2)} ms, p95 ${result[name].p95.toFixed(2)} ms`;
    add(`bare insert into claims, ${connections} connections`, rate('bare'));
    add(`floor: the rows of a hold, ${connections} connections`, rate('floor'));
    const share = result.hold.perSecond / result.floor.perSecond;
    add(
      `hold, ${connections} connections`,
      `${rate('hold')} = ${share.toFixed(2)} × floor`,
      share,
      connections === 8 ? { text: '≥ 0.6 × floor', limit: 0.6, atLeast: true } : undefined,
    );
    add(
      `hold + confirm, ${connections} connections`,
      `${rate('confirm')} = ${(result.confirm.perSecond / result.floor.perSecond).toFixed(2)} × floor`,
      result.confirm.perSecond / result.floor.perSecond,
    );
    add(
      `hold + confirm + cancel, ${connections} connections`,
      `${rate('cancel')} = ${(result.cancel.perSecond / result.floor.perSecond).toFixed(2)} × floor`,
      result.cancel.perSecond / result.floor.perSecond,
    );
  }

  {
    const together = ownTherapist(false);
    const apart = ownTherapist(true);
    const result = await compare(stack.dbUrl, 8, { together, apart }, { seconds: quick ? 2 : 12, slices: 6 });
    const share = result.together.perSecond / result.apart.perSecond;
    add(
      '8 therapists of one organization, against 8 organizations',
      `${result.together.perSecond.toFixed(0)}/s = ${share.toFixed(2)} × ${result.apart.perSecond.toFixed(0)}/s`,
      share,
      { text: '≥ 0.9 ×', limit: 0.9, atLeast: true },
    );
  }

  {
    const [client] = await openConnections(stack.dbUrl, 1, actAsAdminOf(1));
    if (!client) throw new Error('no connection');
    let call = 0;
    const seriesTime = async (occurrences: number, stepDays: number, repeats: number) =>
      median(async () => {
        const { rows } = await client.query({
          name: 'series',
          text: 'select public.hold_sessions($1) as outcome',
          values: [holdRequest(freeSlot(call++, 1), occurrences, stepDays)],
        });
        if (!rows[0].outcome.ok) throw new Error(`series refused: ${rows[0].outcome.code}`);
      }, repeats);
    const one = await seriesTime(1, 7, 200);
    for (const [occurrences, stepDays, repeats] of [
      [12, 7, 60],
      [52, 7, 40],
      [366, 1, 10],
    ] as const) {
      const time = await seriesTime(occurrences, stepDays, repeats);
      add(
        `hold of a series of ${occurrences}`,
        `p50 ${time.toFixed(1)} ms = ${(time / one).toFixed(1)} × one hold (${one.toFixed(2)} ms)`,
        time / one,
        occurrences === 52 ? { text: '≤ 8 × one hold', limit: 8, atLeast: false } : undefined,
      );
    }
    await client.end();
  }
  say('Conflict storms: 60 fresh connections, one slot');
  for (const kind of ['bare', 'identical', 'staggered'] as const) {
    const result = await storm(stack.dbUrl, kind, quick ? 3 : 150, say);
    add(
      `storm, 60 fresh connections, ${kind === 'bare' ? 'bare insert' : `hold, ${kind} windows`}`,
      `worst ${result.worst.toFixed(0)} ms, p50 ${result.p50.toFixed(0)} ms of ${result.rounds} rounds, ` +
        `${result.deadlocks} deadlocks, ${result.wrong} rounds without exactly one winner`,
      // A deadlock, or a round without exactly one winner, is beyond any limit.
      result.deadlocks + result.wrong > 0 ? Number.POSITIVE_INFINITY : result.worst,
      kind === 'bare' ? undefined : { text: 'each within 300 ms, no deadlock', limit: 300, atLeast: false },
    );
  }

  {
    say('The edge function over its RPC');
    const share = await functionShare(stack, quick ? 60 : 300);
    add(
      'edge function over its RPC, one caller',
      `p50 ${share.functionP50.toFixed(1)} ms − ${share.rpcP50.toFixed(1)} ms = ${(share.functionP50 - share.rpcP50).toFixed(1)} ms`,
      share.functionP50 - share.rpcP50,
      { text: '≤ 3 ms', limit: 3, atLeast: false },
    );
  }

  {
    const [client] = await openConnections(stack.dbUrl, 1, actAsAdminOf(2));
    if (!client) throw new Error('no connection');
    let call = 0;
    const timeOfHold = () =>
      median(async () => {
        const { rows } = await client.query({
          name: 'growth',
          text: 'select public.hold_sessions($1) as outcome',
          values: [holdRequest(freeSlot(call++, 2))],
        });
        if (!rows[0].outcome.ok) throw new Error(`refused: ${rows[0].outcome.code}`);
      }, 400);
    const sessions = async () =>
      Number((await db.query('select count(*) from public.sessions')).rows[0].count);
    await settle(db);
    const smallCount = await sessions();
    const small = await timeOfHold();
    const days = quick ? 4 : 125;
    say(`Growing to ${((days * 8 * SIZE.therapists) / 1000).toFixed(0)},000 sessions`);
    for (let day = 1; day < days; day += 5) {
      await fillCalendars(db, day, Math.min(day + 5, days));
      if (day % 25 === 1) say(`  ${(await sessions()).toLocaleString('en')} sessions`);
    }
    await settle(db);
    const largeCount = await sessions();
    const large = await timeOfHold();
    add(
      `hold at ${largeCount.toLocaleString('en')} sessions`,
      `p50 ${large.toFixed(2)} ms = ${(large / small).toFixed(2)} × at ${smallCount.toLocaleString('en')} (${small.toFixed(2)} ms)`,
      large / small,
      { text: '≤ 1.3 ×', limit: 1.3, atLeast: false },
    );
    await client.end();

    const week = {
      name: 'week',
      text: `
        select * from public.sessions
        where organization_id = $1 and therapist_id = $2 and start_time >= $3 and start_time < $4
        order by start_time`,
      values: [
        organizationId(3),
        therapistId(3),
        new Date(Date.now() - 14 * 86_400_000),
        new Date(Date.now() - 7 * 86_400_000),
      ],
    };
    const day = {
      name: 'day',
      text: `
        select * from public.sessions
        where organization_id = $1 and start_time >= $2 and start_time < $3
        order by start_time`,
      values: [
        organizationId(3),
        new Date(Date.now() - 14 * 86_400_000),
        new Date(Date.now() - 13 * 86_400_000),
      ],
    };
    for (const [what, query, sub, target] of [
      ["a therapist's week", week, therapistId(3), 1.2],
      ["an organization's day", day, adminId(3), null],
    ] as const) {
      const asOwner = await openConnections(stack.dbUrl, 1);
      const asMember = await openConnections(stack.dbUrl, 1, async (member) => {
        await member.query("select set_config('request.jwt.claims', $1, false)", [
          JSON.stringify({ sub, org_id: organizationId(3), role: 'authenticated' }),
        ]);
        await member.query('set role authenticated');
      });
      const [owner, member] = [asOwner[0], asMember[0]];
      if (!owner || !member) throw new Error('no connection');
      const plain = await median(() => owner.query({ ...query, values: [...query.values] }), 300);
      const secured = await median(() => member.query({ ...query, values: [...query.values] }), 300);
      const plan = (
        await member.query(
          `explain ${query.text.replace(/\$(\d)/g, (_, index: string) => `'${toLiteral(query.values[Number(index) - 1])}'`)}`,
        )
      ).rows
        .map((row) => row['QUERY PLAN'] as string)
        .join('\n');
      const indexed = /Index Scan|Bitmap Index Scan/.test(plan) && !/Seq Scan on sessions/.test(plan);
      add(
        `${what} under RLS`,
        `p50 ${secured.toFixed(2)} ms = ${(secured / plain).toFixed(2)} × as owner (${plain.toFixed(2)} ms), ${indexed ? 'by index' : 'NOT by index'}`,
        indexed ? secured / plain : Number.POSITIVE_INFINITY,
        target ? { text: `≤ ${target} ×, by index`, limit: target, atLeast: false } : undefined,
      );
      await owner.end();
      await member.end();
    }
  }

  for (const [name, megabytes] of await memoryOf(stack))
    add(`memory, ${name}`, `${megabytes.toFixed(0)} MB`, megabytes);

  const table = new Table({
    head: ['What', 'Measured', 'Aim', ''],
    wordWrap: true,
    colWidths: [46, 62, 26, 8],
  });
  for (const line of lines)
    table.push([
      line.what,
      line.measured,
      line.aim?.text ?? '',
      line.met === null ? '' : line.met ? pc.green('yes') : pc.red('no'),
    ]);
  console.log(table.toString());

  const machine = `${cpus().length} × ${cpus()[0]?.model.trim() ?? 'CPU'}, ${(totalmem() / 2 ** 30).toFixed(0)} GiB`;
  const date = new Date().toISOString().slice(0, 10);
  const name = quick ? 'results-quick' : 'results';
  await writeFile(
    join(import.meta.dirname, `${name}.md`),
    [
      `# ${quick ? 'Quick benchmark' : 'Benchmark'} of ${date}`,
      '',
      `Postgres ${version}, Node ${process.versions.node}, ${machine}. Compare within this table only.`,
      '',
      '| What | Measured | Aim | Met |',
      '|---|---|---|---|',
      ...lines.map(
        (line) =>
          `| ${line.what} | ${line.measured} | ${line.aim?.text ?? ''} | ${line.met === null ? '' : line.met ? 'yes' : '**no**'} |`,
      ),
      '',
    ].join('\n'),
  );
  await writeFile(
    join(import.meta.dirname, `${name}.json`),
    `${JSON.stringify({ date, machine, postgres: version, node: process.versions.node, lines }, null, 2)}\n`,
  );
  await writeFile(join(import.meta.dirname, `${name}.svg`), chart(lines, `${date}, ${machine}`));
  say(`Written to bench/${name}.md, bench/${name}.json and bench/${name}.svg`);
} finally {
  await db.end().catch(() => undefined);
  await stack.stop();
}

function toLiteral(value: unknown): string {
  return value instanceof Date ? value.toISOString() : String(value);
}
