/** Sixty people who want one therapist's time at the same moment: over a warm pool, and on fresh connections. */
import pg from 'pg';
import { adminId, at, claimsOf, SIXTY_MINUTES } from './clinic.ts';
import { asAdminOf, openConnections, Times } from './measure.ts';
import { atMost, type Report } from './report.ts';
import { CODE, holdRequest, type Outcome } from './requests.ts';
import { RIVALS, SIZE } from './world.ts';

const COUNT = RIVALS.count;
const MINUTE = 60_000;

/** What a number of rounds came to. */
interface Rounds {
  times: Times;
  rounds: number;
  deadlocks: number;
  /** Rounds that did not end with exactly one winner. */
  wrong: number;
}

/** What one rival asks for, and by whose claims. */
interface Wish {
  claims: string;
  request: unknown;
}

/**
 * What is asked for in one round: overlapping hours that start 0, 15, 30 or 45 minutes later, each rival with a client.
 * Each rival is a person of their own, as the limit of refusals counts those of one caller.
 */
function wishes(organization: number, round: number): Wish[] {
  const therapist = round % SIZE.therapists;
  const base = at(20 + Math.floor(round / SIZE.therapists), 18 * 60);
  return Array.from({ length: COUNT }, (_, rival) => {
    const start = base + (rival % 4) * 15 * MINUTE;
    const client = rival % SIZE.clientsPerTherapist;
    const wanted = { therapist, client, start, end: start + SIXTY_MINUTES };
    return {
      claims: claimsOf(organization, adminId(organization, rival)),
      request: holdRequest(organization, wanted, { cpt_code: CODE }),
    };
  });
}

/** Holds as one of the rivals, over a connection that others use too: claims and call in one statement. */
async function holdAs(client: pg.Client, { claims, request }: Wish): Promise<Outcome> {
  const { rows } = await client.query({
    name: 'hold as',
    text: `with caller as materialized (select set_config('request.jwt.claims', $1, false))
      select public.hold_sessions($2) as outcome from caller`,
    values: [claims, request],
  });
  return rows[0].outcome as Outcome;
}

async function contend(clients: pg.Client[], wanted: Wish[], result: Rounds): Promise<void> {
  let winners = 0;
  let next = 0;
  await result.times.of('round', () =>
    Promise.all(
      clients.map(async (client) => {
        while (next < wanted.length) {
          const wish = wanted[next++];
          if (!wish) return;
          try {
            if ((await holdAs(client, wish)).ok) winners++;
          } catch (error) {
            if (!(error instanceof pg.DatabaseError && error.code === '40P01')) throw error;
            result.deadlocks++;
          }
        }
      }),
    ),
  );
  if (winners !== 1) result.wrong++;
}

const outcome = ({ times, rounds, deadlocks, wrong }: Rounds): string =>
  `p50 ${times.p50('round').toFixed(0)} ms, p95 ${times.p95('round').toFixed(0)} ms, worst ${times.worst('round').toFixed(0)} ms ` +
  `of ${rounds} rounds; ${deadlocks} deadlocks, ${wrong} rounds without exactly one winner`;

/** A deadlock, or a round without exactly one winner, is beyond any limit. */
const unless = ({ deadlocks, wrong }: Rounds, value: number): number =>
  deadlocks + wrong > 0 ? Number.POSITIVE_INFINITY : value;

/** Rivals over the connections of a pool, as REST keeps them: until all sixty are answered. */
export async function rivalsOverPool(url: string, report: Report, rounds: number): Promise<void> {
  let round = 0;
  for (const size of [10, 20]) {
    const result: Rounds = { times: new Times(), rounds, deadlocks: 0, wrong: 0 };
    const clients = await openConnections(url, size, asAdminOf(RIVALS.pool));
    try {
      const warming: Rounds = { times: new Times(), rounds: 0, deadlocks: 0, wrong: 0 };
      for (let turn = 0; turn < 6; turn++) await contend(clients, wishes(RIVALS.pool, round++), warming);
      for (let turn = 0; turn < rounds; turn++) await contend(clients, wishes(RIVALS.pool, round++), result);
    } finally {
      await Promise.all(clients.map((client) => client.end()));
    }
    report.add(
      `${COUNT} rivals over a warm pool of ${size}`,
      outcome(result),
      unless(result, result.times.p95('round')),
      { ...atMost(150, 'ms'), text: 'p95 ≤ 150 ms, one winner, no deadlock' },
    );
  }
}

/** Rivals of whom each has a connection of their own, opened a moment before. */
export async function rivalsOnFreshConnections(url: string, report: Report, rounds: number): Promise<void> {
  const result: Rounds = { times: new Times(), rounds, deadlocks: 0, wrong: 0 };
  for (let round = 0; round < rounds; round++) {
    const clients = await openConnections(url, COUNT, asAdminOf(RIVALS.fresh));
    await contend(clients, wishes(RIVALS.fresh, round), result);
    await Promise.all(clients.map((client) => client.end()));
    if (round % 25 === 24) report.say(`  round ${round + 1} of ${rounds}`);
  }
  report.add(
    `${COUNT} rivals on fresh connections`,
    outcome(result),
    unless(result, result.times.worst('round')),
    { ...atMost(3000, 'ms'), text: 'worst ≤ 3 s, one winner, no deadlock' },
  );
}
