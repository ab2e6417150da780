/** `npm run torture`: see `docs/no-double-booking.md`. */
import { mkdtemp, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { nameOption, numberOption, readOptions } from '../../local/options.ts';
import { plants } from './plants.ts';
import { type Options, type Report, torture } from './run.ts';

const HELP = `npm run torture -- [--minutes 1] [--seed 1] [--workers 12] [--calls n] [--plant bug]
                    [--no-faults] [--no-http] [--no-pool]
npm run torture -- --plants [--calls 4000]

Random concurrent bookings on a stack of its own, while processes are killed, then a proof that nothing went wrong.
The same seed makes the same choices and the same faults; who is faster is left to the machine.
--plant breaks the database of this run first: ${Object.keys(plants).join(', ')}.
--plants does so with each of them in turn, and fails when one is not caught.`;

function print(lines: string[]): void {
  console.log(lines.join('\n'));
}

function table(counts: Map<string, number>): string[] {
  return [...counts]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, count]) => `  ${String(count).padStart(7)}  ${name}`);
}

/** `hold sql ok` → by kind and answer, the transports together. */
function byKind(answers: Map<string, number>): Map<string, number> {
  const counts = new Map<string, number>();
  for (const [name, count] of answers) {
    const [kind, , answer] = name.split(' ');
    const short = `${kind} ${answer}`;
    counts.set(short, (counts.get(short) ?? 0) + count);
  }
  return counts;
}

function byTransport(answers: Map<string, number>): Map<string, number> {
  const counts = new Map<string, number>();
  for (const [name, count] of answers) {
    const transport = name.split(' ')[1] ?? '';
    counts.set(transport, (counts.get(transport) ?? 0) + count);
  }
  return counts;
}

function summary(report: Report): void {
  const { calls, seconds, latency, tables, pooler, deadlocks, checkSeconds } = report;
  print([
    '',
    `${calls} calls in ${seconds.toFixed(0)} s (${(calls / seconds).toFixed(0)} a second), by answer:`,
    ...table(byKind(report.answers)),
    'by transport:',
    ...table(byTransport(report.answers)),
    pooler === null ? '  (no pooler: pgbouncer is not installed)' : '',
    'connections cut in the middle of a statement:',
    ...table(report.drops),
    'faults:',
    ...table(report.faults),
    `calls a second, minute by minute: ${report.pace.map((pace) => pace.toFixed(0)).join(' ')}`,
    `deadlocks: ${deadlocks}`,
    `answers that no fault touched: half within ${latency.p50} ms, 99 % within ${latency.p99} ms, the slowest ${latency.worst} ms`,
    `checked in ${checkSeconds.toFixed(1)} s: ${Object.entries(tables)
      .map(([name, count]) => `${count} ${name}`)
      .join(', ')}`,
    '',
  ]);
}

/** Plants every bug in a run of its own, over SQL and without faults, and says what caught it, and how soon. */
async function sweep(options: Options): Promise<number> {
  let missed = 0;
  const rows: string[] = [];
  for (const [name, { what, caughtBy }] of Object.entries(plants)) {
    const report = await torture({ ...options, plant: name, faults: false, http: false, pool: false });
    const caught = report.violations.find(({ rule }) => caughtBy.test(rule));
    if (!caught) missed++;
    const { calls, seconds, deadlocks } = report;
    print([
      `${caught ? 'caught' : 'MISSED'}  ${name}: ${what} (${calls} calls, ${seconds.toFixed(0)} s, ${deadlocks} deadlocks)`,
      ...report.violations.map(({ rule, count }) => `          ${count} × ${rule}`),
    ]);
    rows.push(`| \`${name}\` | ${calls} | ${seconds.toFixed(0)} | ${caught?.rule ?? 'MISSED'} |`);
  }
  print(['', '| Bug | Calls | Seconds | Caught by |', '|---|--:|--:|---|', ...rows]);
  return missed === 0 ? 0 : 1;
}

/** What was asked for, as text and as what it means. */
function asked() {
  const { values } = parseArgs({
    options: {
      minutes: { type: 'string', default: '1' },
      seed: { type: 'string', default: '1' },
      workers: { type: 'string', default: '12' },
      calls: { type: 'string' },
      plant: { type: 'string' },
      plants: { type: 'boolean', default: false },
      'no-faults': { type: 'boolean', default: false },
      'no-http': { type: 'boolean', default: false },
      'no-pool': { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const options: Options = {
    seed: numberOption('--seed', values.seed, { least: 0, whole: true }),
    seconds: numberOption('--minutes', values.minutes, { least: 0.01, whole: false }) * 60,
    workers: numberOption('--workers', values.workers, { least: 1, whole: true }),
    ...(values.calls === undefined
      ? {}
      : { calls: numberOption('--calls', values.calls, { least: 1, whole: true }) }),
    ...(values.plant === undefined
      ? {}
      : { plant: nameOption('--plant', values.plant, Object.keys(plants)) }),
    faults: !values['no-faults'],
    http: !values['no-http'],
    pool: !values['no-pool'],
    say: (line) => console.log(line),
  };
  return { values, options };
}

async function main(): Promise<number> {
  const { values, options } = readOptions(asked);
  if (values.help) {
    print([HELP]);
    return 0;
  }
  if (values.plants)
    return sweep({
      ...{ seed: options.seed, seconds: options.seconds, workers: options.workers ?? 12 },
      ...{ calls: options.calls ?? 4000, checkEvery: 250 },
    });
  const report = await torture(options);
  summary(report);
  if (report.violations.length === 0) {
    print([
      'No violation: nobody was ever booked twice, every acknowledged booking is there once, every effect is audited once.',
    ]);
    return 0;
  }
  for (const { rule, count, examples } of report.violations)
    print([`VIOLATED (${count}): ${rule}`, ...examples.map((example) => `    ${example}`)]);
  const file = join(await mkdtemp(join(tmpdir(), 'torture-')), 'history.jsonl');
  await writeFile(file, report.history.map((call) => JSON.stringify(call)).join('\n'));
  print([
    '',
    `Every call: ${file}`,
    `Again: npm run torture -- --seed ${options.seed} --minutes ${values.minutes} --workers ${values.workers}${values.plant ? ` --plant ${values.plant}` : ''}`,
  ]);
  return 1;
}

process.exitCode = await main().catch((error) => {
  console.error(error);
  return 2;
});
