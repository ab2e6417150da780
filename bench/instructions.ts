/**
 * How many instructions a warm backend executes for one call: a figure that a busy machine does not change, so that a
 * change which makes the core slower is seen at once. `npm run bench -- --instructions` counts and writes
 * `instructions.json`; with `--check` it compares with that file instead, and fails when a figure has grown.
 */
import { rmSync } from 'node:fs';
import { mkdtemp, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { giveToServer } from '../local/postgres.ts';
import { startStack } from '../local/stack.ts';
import { CountedBackend, whyNotCounted } from './backend.ts';
import {
  adminId,
  at,
  book,
  createClinic,
  midnight,
  organizationId,
  settle,
  therapistId,
  workingDays,
} from './clinic.ts';
import {
  CODE,
  confirmRequest,
  FreeTimes,
  type HoldRequest,
  holdRequest,
  type Outcome,
  sessionIds,
} from './requests.ts';
import { ROW_FUNCTIONS, rowsOf } from './rows.ts';

/** Figures that may be reached: millions of instructions for one call. */
const AIMS: Record<string, number> = {
  hold: 3.8,
  'hold, payer': 5,
  'hold, payer and code': 5,
  confirm: 4,
  'confirm, payer': 5,
  'confirm, payer and code': 5,
  refused: 3,
  'refused, payer': 3,
  'refused, payer and code': 3,
  cancel: 3.4,
  'cancel, payer': 3.4,
  'cancel, payer and code': 3.4,
};

/** A figure may grow by this much before the check fails. */
const TOLERANCE = 1.1;

/** Calls before counting: plans of cached statements settle after the sixth. */
const WARM = 12;
/** Calls of which a figure is the mean. */
const COUNTED = 40;

/** The same for series, of which each call is much. */
const WARM_SERIES = 8;
const COUNTED_SERIES = 8;

/** Ten therapists with hours, each with 400 sessions; the first three clients of each have a payer. */
const CLINIC = { therapists: 10, clientsPerTherapist: 8, withPayer: 3 };
/** Entries in the ledger of the client with a payer who is measured. */
const LEDGER = 300;
const MEASURED_PAYER_CLIENT = 0;
const MEASURED_PLAIN_CLIENT = 3;

interface Figures {
  postgres: string;
  architecture: string;
  /** Millions of instructions a call. */
  millions: Record<string, number>;
}

const file = join(import.meta.dirname, 'instructions.json');
const quote = (value: unknown): string => `'${JSON.stringify(value).replaceAll("'", "''")}'`;
const holding = (request: HoldRequest): string => `select public.hold_sessions(${quote(request)}) as outcome`;
const confirming = (request: HoldRequest, held: Outcome): string =>
  `select public.confirm_sessions(${quote(confirmRequest(request, held.body))}) as outcome`;
const cancelling = (made: Outcome): string =>
  `select public.cancel_sessions(${quote({ session_ids: sessionIds(made.body) })}) as outcome`;

async function makeClinic(url: string): Promise<string> {
  const db = new pg.Client({ connectionString: url });
  await db.connect();
  try {
    await createClinic(db, 0, CLINIC);
    const from = -Math.ceil(LEDGER / 8 / 5) * 7;
    for (let therapist = 0; therapist < CLINIC.therapists; therapist++)
      await book(db, 0, [
        ...workingDays(therapist, [MEASURED_PAYER_CLIENT], from, LEDGER),
        ...workingDays(therapist, [1, 2, 4, 5, 6, 7], 14, 100),
      ]);
    for (const statement of ROW_FUNCTIONS) await db.query(statement);
    await settle(db);
    return (await db.query('show server_version')).rows[0].server_version as string;
  } finally {
    await db.end();
  }
}

/** Millions of instructions a call of every kind. */
async function count(backend: CountedBackend, say: (text: string) => void): Promise<Record<string, number>> {
  const millions: Record<string, number> = {};
  const expectAll = (name: string, outcomes: Outcome[], ok: boolean): Outcome[] => {
    const odd = outcomes.find((outcome) => outcome.ok !== ok);
    if (odd) throw new Error(`${name}: ${JSON.stringify(odd)}`);
    return outcomes;
  };
  // What reading the counter and the statement that marks the end take.
  const empty = async () => {
    const before = await backend.instructions();
    await backend.run([]);
    return (await backend.instructions()) - before;
  };
  const counted = async <T>(name: string, statements: string[]): Promise<T[]> => {
    const overhead = await empty();
    const before = await backend.instructions();
    const outcomes = await backend.run<T>(statements);
    const total = (await backend.instructions()) - before - overhead;
    millions[name] = Number((total / statements.length / 1e6).toFixed(3));
    say(`${name}: ${millions[name].toFixed(2)} M`);
    return outcomes;
  };

  await backend.run([
    `select set_config('request.jwt.claims', ${quote({ sub: adminId(0), org_id: organizationId(0), role: 'authenticated' })}, false)`,
    'set role authenticated',
  ]);
  // Nothing vacuums a server in this mode, and dead rows of the calls before would be read again.
  const vacuum = () => backend.run(['reset role', 'vacuum', 'set role authenticated']);
  await empty();
  const times = new FreeTimes(Array.from({ length: CLINIC.therapists }, (_, index) => index));
  const request = (client: number, more: Parameters<typeof holdRequest>[2] = {}) =>
    holdRequest(0, times.next(client), more);

  {
    const first = request(MEASURED_PAYER_CLIENT, { cpt_code: CODE });
    const held = expectAll(
      'first',
      await counted<Outcome>('first hold of a connection, payer', [holding(first)]),
      true,
    );
    const made = await counted<Outcome>('first confirm, payer', [confirming(first, held[0] as Outcome)]);
    await counted<Outcome>('first cancel, payer', [cancelling(expectAll('first', made, true)[0] as Outcome)]);
  }

  for (const [suffix, client, more] of [
    ['', MEASURED_PLAIN_CLIENT, {}],
    [', payer', MEASURED_PAYER_CLIENT, {}],
    [', payer and code', MEASURED_PAYER_CLIENT, { cpt_code: CODE }],
  ] as const) {
    await vacuum();
    for (const calls of [WARM, COUNTED]) {
      const run = (name: string, statements: string[]) =>
        calls === WARM ? backend.run<Outcome>(statements) : counted<Outcome>(`${name}${suffix}`, statements);
      const requests = Array.from({ length: calls }, () => request(client, more));
      const held = expectAll('hold', await run('hold', requests.map(holding)), true);
      const confirmations = requests.map((body, index) => confirming(body, held[index] as Outcome));
      const made = expectAll('confirm', await run('confirm', confirmations), true);
      expectAll('refused', await run('refused', requests.map(holding)), false);
      expectAll('cancel', await run('cancel', made.map(cancelling)), true);
    }
  }

  await vacuum();
  await backend.run(['reset role']);
  for (const calls of [WARM, COUNTED]) {
    const run = (name: string, statements: string[]) =>
      calls === WARM ? backend.run<{ id: string }>(statements) : counted<{ id: string }>(name, statements);
    const places = Array.from({ length: calls }, () => times.next(MEASURED_PLAIN_CLIENT));
    const held = await run('the rows of a hold alone', places.map(rowsOf.hold));
    const ids = held.map(({ id }) => id);
    await run('the rows of a confirmation alone', ids.map(rowsOf.confirm));
    await run('the rows of a cancellation alone', ids.map(rowsOf.cancel));
  }
  await backend.run(['set role authenticated']);

  await vacuum();
  // A series takes an hour that nobody else has on any of its days.
  const series = (index: number, occurrences: number) =>
    holdRequest(
      0,
      {
        therapist: index % CLINIC.therapists,
        client: MEASURED_PAYER_CLIENT,
        start: at(21, 60 + Math.floor(index / CLINIC.therapists) * 60),
        end: at(21, 120 + Math.floor(index / CLINIC.therapists) * 60),
      },
      { occurrences, cpt_code: CODE },
    );
  for (const [offset, calls] of [
    [0, WARM_SERIES],
    [WARM_SERIES, COUNTED_SERIES],
  ] as const) {
    const requests = Array.from({ length: calls }, (_, index) => series(offset + index, 52));
    const run = (name: string, statements: string[]) =>
      offset === 0 ? backend.run<Outcome>(statements) : counted<Outcome>(name, statements);
    const held = expectAll('series', await run('hold of a series of 52, payer', requests.map(holding)), true);
    const confirmations = requests.map((body, index) => confirming(body, held[index] as Outcome));
    const made = expectAll('series', await run('confirm of a series of 52, payer', confirmations), true);
    expectAll('series', await run('cancel of a series of 52, payer', made.map(cancelling)), true);
  }

  const slots = `select count(*) from public.find_open_slots('${therapistId(0, 0)}', '${iso(midnight(14))}', '${iso(midnight(76))}', 60)`;
  await backend.run([slots]);
  await counted('open slots of 62 days', [slots]);
  return millions;
}

const iso = (time: number): string => new Date(time).toISOString();

/** Aligned table of the figures, beside what was committed and what is aimed at. */
function table(millions: Record<string, number>, committed: Record<string, number>): string {
  const rows = Object.entries(millions).map(([name, value]) => {
    const before = committed[name];
    const aim = AIMS[name];
    return [
      name,
      value.toFixed(2),
      before === undefined ? '' : before.toFixed(2),
      before === undefined ? '' : `${value < before ? '' : '+'}${((value / before - 1) * 100).toFixed(1)} %`,
      aim === undefined ? '' : `≤ ${aim}`,
      aim === undefined ? '' : value <= aim ? 'met' : 'missed',
    ];
  });
  const all = [['million instructions a call', 'now', 'committed', 'change', 'aim', ''], ...rows];
  const widths = all[0]?.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0))) ?? [];
  return all
    .map((row) =>
      row
        .map((cell, column) =>
          column === 0 ? cell.padEnd(widths[0] ?? 0) : cell.padStart(widths[column] ?? 0),
        )
        .join('  '),
    )
    .join('\n');
}

/**
 * Counts, prints, and writes or checks the committed figures.
 *
 * @returns whether all is well: with `check`, no figure has grown by more than a tenth
 */
export async function countInstructions(check: boolean, say: (text: string) => void): Promise<boolean> {
  const reason = await whyNotCounted();
  if (reason) {
    console.log(`Instructions are not counted: ${reason}.`);
    return process.env.CI !== 'true';
  }
  const folder = await mkdtemp(join(tmpdir(), 'therapist-sessions-'));
  const remove = () => rmSync(folder, { recursive: true, force: true });
  process.once('exit', remove);
  try {
    await giveToServer(folder);
    const dataDir = join(folder, 'pgdata');
    say('Making a clinic of 4,000 sessions');
    const stack = await startStack({ dataDir, seed: false, functions: false });
    const postgres = await makeClinic(stack.dbUrl).finally(() => stack.stop());
    say('Starting a backend under callgrind');
    const backend = await CountedBackend.start(dataDir, folder);
    const millions = await count(backend, say).finally(() => backend.end());
    const figures: Figures = { postgres, architecture: process.arch, millions };

    const committed = await readFile(file, 'utf8').then(
      (text) => JSON.parse(text) as Figures,
      () => null,
    );
    console.log(table(millions, committed?.millions ?? {}));
    if (!check) {
      await writeFile(file, `${JSON.stringify(figures, null, 2)}\n`);
      say('Written to bench/instructions.json');
      return true;
    }
    return compare(figures, committed);
  } finally {
    remove();
    process.off('exit', remove);
  }
}

function compare(now: Figures, committed: Figures | null): boolean {
  if (!committed) {
    console.log('There is no bench/instructions.json to compare with. Run npm run bench -- --instructions.');
    return false;
  }
  if (now.postgres !== committed.postgres || now.architecture !== committed.architecture) {
    console.log(
      `The committed figures are of Postgres ${committed.postgres} on ${committed.architecture}, these of ` +
        `${now.postgres} on ${now.architecture}. Run npm run bench -- --instructions and commit what it writes.`,
    );
    return process.env.CI !== 'true';
  }
  const names = [...new Set([...Object.keys(committed.millions), ...Object.keys(now.millions)])];
  const grown = names.filter((name) => {
    const before = committed.millions[name];
    const after = now.millions[name];
    // A row that has no figure to compare with is a row that nobody watches.
    return before === undefined || after === undefined || after > before * TOLERANCE;
  });
  for (const name of grown)
    console.log(
      `${name}: ${committed.millions[name] ?? 'not committed'} → ${now.millions[name] ?? 'not counted'} M`,
    );
  if (grown.length > 0)
    console.log(
      'These calls cost over a tenth more than committed. Make them cheaper; or, when the cost is meant, run ' +
        'npm run bench -- --instructions and commit bench/instructions.json with the reason.',
    );
  return grown.length === 0;
}
