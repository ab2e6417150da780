/** Holds, confirmations, refusals and cancellations: of clients with a payer, and of clients without to compare with. */
import type pg from 'pg';
import { at, clientId, SIXTY_MINUTES, therapistId } from './clinic.ts';
import {
  asAdminOf,
  bookOnce,
  compare,
  mustSucceed,
  openConnections,
  repeat,
  rpc,
  Times,
  withConnection,
} from './measure.ts';
import { atMost, type Report } from './report.ts';
import { CODE, confirmRequest, FreeTimes, holdRequest } from './requests.ts';
import { FULL, fullFrom, GROWTH, HOT, LEDGER, SERIES } from './world.ts';

/** Who is booked: a client with a payer, by a service the payer has authorized; or one without, by no certain service. */
const kinds = [
  ['payer', HOT.payerClient, { cpt_code: CODE }],
  ['no payer', HOT.plainClient, {}],
] as const;

const hotTimes = new FreeTimes(HOT.therapists);

/**
 * Bookings of a kind in a row before the next kind has its turn on its own connection. Two backends that take turns call by
 * call push each other out of the processor's caches: a hold took 2.8 ms so, 2.3 ms in slices of ten, 2.1 ms in slices of
 * a hundred and on one connection alone.
 */
const SLICE = 100;

/** Calls on one warm connection a kind. */
export async function warmCalls(url: string, report: Report, rounds: number): Promise<void> {
  const clients = await openConnections(url, kinds.length, asAdminOf(HOT.organization));
  const times = kinds.map(() => new Times());
  try {
    for (let slice = 0; slice < rounds / SLICE; slice++)
      for (const [index, [, client, service]] of kinds.entries())
        for (let call = -10; call < SLICE; call++)
          await bookOnce(
            clients[index] as pg.Client,
            HOT.organization,
            hotTimes.next(client),
            call < 0 ? new Times() : (times[index] as Times),
            { refuse: true, ...service },
          );
  } finally {
    await Promise.all(clients.map((client) => client.end()));
  }
  for (const step of ['hold', 'confirm', 'refused', 'cancel'])
    for (const [index, [kind]] of kinds.entries()) {
      const own = times[index] as Times;
      const hasAim = kind === 'payer' && (step === 'hold' || step === 'confirm');
      report.add(`${step}, ${kind}`, own.text(step), own.p50(step), hasAim ? atMost(2, 'ms') : undefined);
    }
}

/** Bookings a second on several connections; a row into a table of one exclusion constraint tells what the machine can. */
export async function throughput(
  url: string,
  report: Report,
  connections: number,
  seconds: number,
): Promise<void> {
  const cycle = ([, client, service]: (typeof kinds)[number]) => ({
    prepare: asAdminOf(HOT.organization),
    run: (connection: pg.Client, times: Times) =>
      bookOnce(connection, HOT.organization, hotTimes.next(client), times, service),
  });
  const result = await compare(
    url,
    connections,
    {
      bare: { prepare: async () => undefined, run: bareInsert },
      payer: cycle(kinds[0]),
      plain: cycle(kinds[1]),
    },
    { seconds },
  );
  report.add(
    `calibration: one row under an exclusion constraint, ${connections} connections`,
    `${result.bare.perSecond.toFixed(0)}/s, ${result.bare.times.text('row')}`,
  );
  for (const [kind, { times, perSecond }] of [
    ['payer', result.payer],
    ['no payer', result.plain],
  ] as const)
    report.add(
      `hold + confirm + cancel, ${kind}, ${connections} connections`,
      `${perSecond.toFixed(0)}/s; hold ${times.text('hold')}; confirm ${times.text('confirm')}`,
    );
}

const bareInsert = (client: pg.Client, times: Times): Promise<unknown> =>
  times.of('row', () =>
    client.query({
      name: 'bare',
      text: `insert into bench.rows (resource_id, during)
        select gen_random_uuid(), tstzrange(now(), now() + interval '1 hour')`,
    }),
  );

/** Holds and confirmations of clients with few entries in their ledgers, and with many. */
export async function ledgerGrowth(url: string, report: Report, rounds: number): Promise<void> {
  const sizes = [
    [LEDGER.small, LEDGER.smallTherapists],
    [LEDGER.large, LEDGER.largeTherapists],
  ] as const;
  const clients = await openConnections(url, sizes.length, asAdminOf(LEDGER.organization));
  const times = sizes.map(() => new Times());
  const free = sizes.map(([, therapists]) => new FreeTimes(therapists));
  try {
    for (let round = -12; round < rounds; round++)
      for (const index of sizes.keys())
        await bookOnce(
          clients[index] as pg.Client,
          LEDGER.organization,
          (free[index] as FreeTimes).next(0),
          round < 0 ? new Times() : (times[index] as Times),
          { cpt_code: CODE },
        );
  } finally {
    await Promise.all(clients.map((client) => client.end()));
  }
  const [small, large] = times as [Times, Times];
  for (const step of ['hold', 'confirm'])
    report.add(
      `${step}, ${LEDGER.large} entries in the ledger`,
      `p50 ${large.p50(step).toFixed(2)} ms = ${(large.p50(step) / small.p50(step)).toFixed(2)} × with ${LEDGER.small} (${small.p50(step).toFixed(2)} ms)`,
      large.p50(step) / small.p50(step),
      atMost(1.2, '×'),
    );
}

/** Series against one hold, and confirmations of a series. */
export async function series(url: string, report: Report, rounds: number): Promise<void> {
  const lengths = [
    [1, 7],
    [12, 7],
    [52, 7],
    [183, 1],
    [366, 1],
  ] as const;
  const times = new Map<string, Times>();
  await withConnection(url, asAdminOf(SERIES.organization), async (client) => {
    for (let round = -6; round < rounds; round++)
      for (const [kind, who, service] of [
        ['payer', SERIES.payerClient, { cpt_code: CODE }],
        ['no payer', SERIES.plainClient, {}],
      ] as const)
        for (const [occurrences, stepDays] of lengths) {
          // Long series of clients without a payer say nothing more; the first rounds are for the plans.
          if (occurrences > 52 && (kind === 'no payer' || round < -1)) continue;
          const therapist = SERIES.therapists[(round + 6) % SERIES.therapists.length] ?? 0;
          const start = at(21, 60);
          const key = `${kind} ${occurrences}`;
          const own = times.get(key) ?? new Times();
          times.set(key, own);
          await bookOnce(
            client,
            SERIES.organization,
            { therapist, client: who, start, end: start + 30 * 60_000 },
            round < 0 ? new Times() : own,
            { occurrences, stepDays, ...service },
          );
        }
  });
  for (const kind of ['payer', 'no payer'])
    for (const occurrences of [12, 52, 366]) {
      const own = times.get(`${kind} ${occurrences}`);
      const one = times.get(`${kind} 1`)?.p50('hold') ?? Number.NaN;
      if (!own) continue;
      const ratio = own.p50('hold') / one;
      report.add(
        `hold of a series of ${occurrences}, ${kind}`,
        `p50 ${own.p50('hold').toFixed(1)} ms = ${ratio.toFixed(1)} × one hold (${one.toFixed(2)} ms)`,
        ratio,
        kind === 'payer' && occurrences === 52 ? atMost(6, '× one hold') : undefined,
      );
    }
  const half = times.get('payer 183')?.p50('confirm') ?? Number.NaN;
  const whole = times.get('payer 366')?.p50('confirm') ?? Number.NaN;
  report.add('confirm of a series of 366, payer', `p50 ${whole.toFixed(0)} ms`, whole, atMost(150, 'ms'));
  const growth = whole / 366 / (half / 183);
  report.add(
    'an occurrence of 366 confirmed, against one of 183',
    `${(whole / 366).toFixed(3)} ms = ${growth.toFixed(2)} × ${(half / 183).toFixed(3)} ms`,
    growth,
    atMost(1.3, '×'),
  );
}

/** The first calls of a new connection of a pool. */
export async function firstCalls(url: string, report: Report, rounds: number): Promise<void> {
  const times = new Times();
  for (let round = 0; round < rounds; round++)
    for (const [kind, who, service] of kinds)
      await withConnection(url, asAdminOf(HOT.organization), async (client) => {
        const request = holdRequest(HOT.organization, hotTimes.next(who), service);
        const held = await times.of(`hold, ${kind}`, () => mustSucceed(client, 'hold_sessions', request));
        const confirmation = confirmRequest(request, held);
        await times.of(`confirm, ${kind}`, () => mustSucceed(client, 'confirm_sessions', confirmation));
      });
  for (const call of ['hold, payer', 'hold, no payer', 'confirm, payer', 'confirm, no payer'])
    report.add(
      `first ${call}, new connection`,
      times.text(call),
      times.p50(call),
      call === 'hold, payer' ? atMost(25, 'ms') : undefined,
    );
}

/** A refusal with its alternatives, as the edge function answers it: therapist and clients are booked for a year. */
export async function refusals(url: string, report: Report): Promise<void> {
  await withConnection(url, asAdminOf(FULL.organization), async (client) => {
    for (const [occurrences, limit] of [
      [1, 5],
      [52, 100],
    ] as const) {
      const times = new Times();
      const request = holdRequest(
        FULL.organization,
        { therapist: FULL.therapist, client: 0, start: fullFrom(), end: fullFrom() + SIXTY_MINUTES },
        { occurrences, cpt_code: CODE },
      );
      const call = (own: Times) =>
        own.of('409', async () => {
          const refused = await own.of('refused', () => rpc(client, 'hold_sessions', request));
          if (refused.ok) throw new Error('a full calendar was held');
          await own.of('alternatives', () => rpc(client, 'find_alternatives', request));
        });
      await repeat(() => call(new Times()), { atMost: 8, seconds: 2 });
      await repeat(() => call(times), { atMost: 60, seconds: 3 });
      report.add(
        occurrences === 1 ? 'a 409 with alternatives' : `a 409 with alternatives, series of ${occurrences}`,
        `p50 ${times.p50('409').toFixed(1)} ms (refusal ${times.p50('refused').toFixed(1)}, alternatives ${times.p50('alternatives').toFixed(1)})`,
        times.p50('409'),
        atMost(limit, 'ms'),
      );
    }
  });
}

/** Open slots of 62 days, of a therapist without appointments and of one who is full. */
export async function openSlots(url: string, report: Report): Promise<void> {
  await withConnection(url, asAdminOf(FULL.organization), async (client) => {
    for (const [what, therapist] of [
      ['free therapist', FULL.freeTherapist],
      ['full calendar', FULL.therapist],
    ] as const) {
      const times = new Times();
      const call = (own: Times) =>
        own.of('slots', () =>
          client.query({
            name: 'slots',
            text: 'select * from public.find_open_slots($1, $2, $3, 60, $4)',
            values: [
              therapistId(FULL.organization, therapist),
              new Date(at(14, 0)),
              new Date(at(76, 0)),
              clientId(FULL.organization, therapist, 0),
            ],
          }),
        );
      await repeat(() => call(new Times()), { atMost: 6, seconds: 1 });
      await repeat(() => call(times), { atMost: 60, seconds: 2 });
      report.add(`open slots of 62 days, ${what}`, times.text('slots'), times.p50('slots'), atMost(20, 'ms'));
    }
  });
}

/** Bookings of the same clients, to be measured before the tables grow and after. */
export async function growthCalls(url: string, rounds: number): Promise<Times> {
  const times = new Times();
  await withConnection(url, asAdminOf(GROWTH.organization), async (client) => {
    for (let round = -12; round < rounds; round++)
      await bookOnce(client, GROWTH.organization, growthTimes.next(0), round < 0 ? new Times() : times, {
        cpt_code: CODE,
      });
  });
  return times;
}
const growthTimes = new FreeTimes(GROWTH.therapists);
