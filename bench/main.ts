/**
 * `npm run bench`: how fast the booking core is, side by side in one run, on a stack it starts itself; the full run grows
 * the tables to a million sessions. `-- --quick` takes under 90 seconds. `-- --instructions` counts instructions instead
 * of time, and with `--check` compares them with the committed ones.
 */
import { parseArgs } from 'node:util';
import pg from 'pg';
import { readOptions } from '../local/options.ts';
import { startStack } from '../local/stack.ts';
import {
  firstCalls,
  growthCalls,
  ledgerGrowth,
  openSlots,
  refusals,
  series,
  throughput,
  warmCalls,
} from './booking.ts';
import { settle } from './clinic.ts';
import { cancelDays } from './days.ts';
import { functionShare } from './functions.ts';
import { countInstructions } from './instructions.ts';
import type { Times } from './measure.ts';
import { atMost, Report } from './report.ts';
import { rivalsOnFreshConnections, rivalsOverPool } from './rivals.ts';
import { neverAnalysed } from './unanalysed.ts';
import { weekUnderRls } from './week.ts';
import { createWorld, grow, SIZE } from './world.ts';

const { values: options } = readOptions(() =>
  parseArgs({
    options: {
      quick: { type: 'boolean', default: false },
      instructions: { type: 'boolean', default: false },
      check: { type: 'boolean', default: false },
    },
  }),
);
const report = new Report();

if (options.instructions) {
  const isWell = await countInstructions(options.check, (text) => report.say(text));
  process.exitCode = isWell ? 0 : 1;
} else {
  await measure(options.quick);
}

async function measure(quick: boolean): Promise<void> {
  report.say('Starting a stack on free ports');
  const stack = await startStack({ seed: true, durable: true });
  const db = new pg.Client({ connectionString: stack.dbUrl });
  const url = stack.dbUrl;
  try {
    report.say('A clinic that was never analysed');
    const tellNeverAnalysed = await neverAnalysed(stack.dbPort, quick ? 60 : 400);

    await db.connect();
    const postgres = (await db.query('show server_version')).rows[0].server_version as string;
    report.say('Making clinics');
    await createWorld(db);
    await db.query(
      'create schema bench; create table bench.rows (resource_id uuid, during tstzrange, exclude using gist (resource_id with =, during with &&))',
    );
    await settle(db);
    report.say('Measuring');
    const sessions = async () =>
      Number((await db.query('select count(*) from public.sessions')).rows[0].count);
    const before = { sessions: await sessions(), times: quick ? null : await growthCalls(url, 400) };

    await warmCalls(url, report, quick ? 200 : 1000);
    for (const connections of quick ? [8] : [8, 32])
      await throughput(url, report, connections, quick ? 2 : 15);
    await ledgerGrowth(url, report, quick ? 80 : 500);
    await series(url, report, quick ? 4 : 20);
    await firstCalls(url, report, quick ? 12 : 60);
    await refusals(url, report);
    await openSlots(url, report);
    await cancelDays(url, db, report);
    await rivalsOverPool(url, report, quick ? 12 : 150);
    await rivalsOnFreshConnections(url, report, quick ? 3 : 150);
    tellNeverAnalysed(report);
    await weekUnderRls(url, report, quick ? 200 : 1000);
    await functionShare(stack, report, quick ? 60 : 300);
    if (before.times) await growth({ sessions: before.sessions, times: before.times });

    await report.write(
      quick ? 'results-quick' : 'results',
      quick ? 'Quick benchmark' : 'Benchmark',
      postgres,
    );

    /** Grows all organizations, two at a time, and measures the same calls again. */
    async function growth(small: { sessions: number; times: Times }): Promise<void> {
      report.say('Growing to a million sessions');
      const organizations = Array.from({ length: SIZE.organizations }, (_, organization) => organization);
      await Promise.all(
        [0, 1].map(async () => {
          const own = new pg.Client({ connectionString: url });
          await own.connect();
          try {
            for (let next = organizations.shift(); next !== undefined; next = organizations.shift()) {
              await grow(own, next, 125);
              report.say(`  ${(await sessions()).toLocaleString('en')} sessions`);
            }
          } finally {
            await own.end();
          }
        }),
      );
      await settle(db);
      const count = (await sessions()).toLocaleString('en');
      const large = await growthCalls(url, 400);
      for (const step of ['hold', 'confirm', 'cancel']) {
        const ratio = large.p50(step) / small.times.p50(step);
        report.add(
          `${step}, payer, at ${count} sessions`,
          `p50 ${large.p50(step).toFixed(2)} ms = ${ratio.toFixed(2)} × at ${small.sessions.toLocaleString('en')} (${small.times.p50(step).toFixed(2)} ms)`,
          ratio,
          atMost(1.3, '×'),
        );
      }
    }
  } finally {
    await db.end().catch(() => undefined);
    await stack.stop();
  }
}
